// The zigzag varints inside records of format 2.
#pragma once

#include <cstdint>

namespace shardlog {

/// Reads a zigzag varlong at `*at`, which moves behind it. False when it runs past `end` or is
/// longer than ten bytes.
inline bool read_varlong(const uint8_t** at, const uint8_t* end, int64_t* value) {
  const uint8_t* p = *at;
  uint64_t raw = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (p == end) return false;
    const uint8_t byte = *p++;
    raw |= uint64_t{byte & 0x7fu} << (shift < 64 ? shift : 63);
    if (byte < 0x80) {
      *at = p;
      *value = static_cast<int64_t>(raw >> 1) ^ -static_cast<int64_t>(raw & 1);
      return true;
    }
  }
  return false;
}

/// Reads a zigzag varint of at most five bytes.
inline bool read_varint(const uint8_t** at, const uint8_t* end, int32_t* value) {
  const uint8_t* p = *at;
  uint32_t raw = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    if (p == end) return false;
    const uint8_t byte = *p++;
    raw |= static_cast<uint32_t>(byte & 0x7fu) << shift;
    if (byte < 0x80) {
      *at = p;
      *value = static_cast<int32_t>(raw >> 1) ^ -static_cast<int32_t>(raw & 1);
      return true;
    }
  }
  return false;
}

}  // namespace shardlog
