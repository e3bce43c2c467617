// Finds the record payloads in a Produce request without decoding the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "head_copier.h"

namespace shardlog {

/// Copies a Produce request frame (from its api key on, any version) to `out` without the record
/// payloads: each records field keeps its length prefix and loses its bytes.
///
/// Returns the bytes copied, kMalformed, or kTooSmall when `out` does not hold them.
/// Layout: Apache Kafka protocol guide, Produce versions 0 to 13.
[[nodiscard]] int64_t copy_produce_head(std::span<const uint8_t> frame, std::span<uint8_t> out);

}  // namespace shardlog
