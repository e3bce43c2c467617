#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace shardlog {

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), the checksum of record batches v2.
/// `seed` is the CRC of the bytes before `data`, 0 at the start, so that pieces can be chained.
/// The fastest form that the CPU has is chosen at the first call.
[[nodiscard]] uint32_t crc32c(uint32_t seed, std::span<const uint8_t> data);

/// The form that needs no CPU support: slicing by eight.
[[nodiscard]] uint32_t crc32c_portable(uint32_t seed, std::span<const uint8_t> data);

/// The CPU's own CRC instructions, three streams at once; false from `crc32c_has_hardware` forbids it.
[[nodiscard]] uint32_t crc32c_hardware(uint32_t seed, std::span<const uint8_t> data);
[[nodiscard]] bool crc32c_has_hardware();

/// CRC of `first ++ second` from their CRCs and the length of the second in bytes.
[[nodiscard]] uint32_t crc32c_combine(uint32_t first, uint32_t second, uint64_t second_bytes);

/// "sse4.2", "armv8" or "portable".
[[nodiscard]] const char* crc32c_implementation();

}  // namespace shardlog
