// Finds the record payloads in a Fetch response without decoding the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "head_copier.h"

namespace shardlog {

/// Copies a Fetch response (from its correlation id on, versions 12 to 17) to `out` without the
/// record payloads: each records field keeps its length prefix and loses its bytes.
///
/// Returns the bytes copied, kMalformed, or kTooSmall when `out` does not hold them.
/// Layout: Apache Kafka protocol guide.
[[nodiscard]] int64_t copy_fetch_head(std::span<const uint8_t> frame, int version,
                                      std::span<uint8_t> out);

}  // namespace shardlog
