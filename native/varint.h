// The zigzag varints inside records of format 2.
#pragma once

#include <cstdint>
#include <type_traits>

namespace shardlog {

/// A value and what follows it; null when the bytes are no varint.
template <typename T>
struct Varint {
  T value;
  const uint8_t* next;
};

/// A zigzag varint of any length up to `kBytesMax` bytes.
template <typename T, int kBytesMax>
[[gnu::noinline]] inline Varint<T> decode_long_varint(const uint8_t* at, const uint8_t* end) {
  using Raw = std::make_unsigned_t<T>;
  constexpr int kBits = 8 * sizeof(T);
  Raw raw = 0;
  for (int shift = 0; shift < 7 * kBytesMax; shift += 7) {
    if (at == end) return {0, nullptr};
    const uint8_t byte = *at++;
    raw |= static_cast<Raw>(byte & 0x7fu) << (shift < kBits ? shift : kBits - 1);
    if (byte < 0x80) return {static_cast<T>(raw >> 1) ^ -static_cast<T>(raw & 1), at};
  }
  return {0, nullptr};
}

/// The same; most are of one byte or two, and are decoded where they are needed.
template <typename T, int kBytesMax>
[[gnu::always_inline]] inline Varint<T> decode_varint(const uint8_t* at, const uint8_t* end) {
  if (end - at >= 2) [[likely]] {
    const uint32_t low = at[0];
    if (low < 0x80) return {static_cast<T>(low >> 1) ^ -static_cast<T>(low & 1), at + 1};
    const uint32_t high = at[1];
    if (high < 0x80) {
      const uint32_t raw = (low & 0x7f) | high << 7;
      return {static_cast<T>(raw >> 1) ^ -static_cast<T>(raw & 1), at + 2};
    }
  }
  return decode_long_varint<T, kBytesMax>(at, end);
}

/// Reads a zigzag varlong at `*at`, which moves behind it. False when it runs past `end` or is
/// longer than ten bytes.
inline bool read_varlong(const uint8_t** at, const uint8_t* end, int64_t* value) {
  const auto found = decode_varint<int64_t, 10>(*at, end);
  if (found.next == nullptr) return false;
  *at = found.next;
  *value = found.value;
  return true;
}

/// Reads a zigzag varint of at most five bytes.
inline bool read_varint(const uint8_t** at, const uint8_t* end, int32_t* value) {
  const auto found = decode_varint<int32_t, 5>(*at, end);
  if (found.next == nullptr) return false;
  *at = found.next;
  *value = found.value;
  return true;
}

}  // namespace shardlog
