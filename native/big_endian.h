// Fixed-width integers as Kafka writes them: most significant byte first.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace shardlog {

template <typename T>
inline T load_be(const uint8_t* from) {
  static_assert(std::endian::native == std::endian::little);
  T value;
  std::memcpy(&value, from, sizeof value);
  if constexpr (sizeof value == 2) return static_cast<T>(__builtin_bswap16(static_cast<uint16_t>(value)));
  if constexpr (sizeof value == 4) return static_cast<T>(__builtin_bswap32(static_cast<uint32_t>(value)));
  if constexpr (sizeof value == 8) return static_cast<T>(__builtin_bswap64(static_cast<uint64_t>(value)));
}

template <typename T>
inline void store_be(uint8_t* to, T value) {
  if constexpr (sizeof value == 2) value = static_cast<T>(__builtin_bswap16(static_cast<uint16_t>(value)));
  if constexpr (sizeof value == 4) value = static_cast<T>(__builtin_bswap32(static_cast<uint32_t>(value)));
  if constexpr (sizeof value == 8) value = static_cast<T>(__builtin_bswap64(static_cast<uint64_t>(value)));
  std::memcpy(to, &value, sizeof value);
}

}  // namespace shardlog
