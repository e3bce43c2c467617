#include "crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

namespace shardlog {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;

using SliceTables = std::array<std::array<uint32_t, 256>, 8>;

constexpr SliceTables make_slice_tables() {
  SliceTables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    for (size_t slice = 1; slice < 8; ++slice) {
      const uint32_t previous = tables[slice - 1][byte];
      tables[slice][byte] = (previous >> 8) ^ tables[0][previous & 0xff];
    }
  }
  return tables;
}

constexpr SliceTables kSlices = make_slice_tables();

// Reflected product of two polynomials modulo the CRC's: bit 31 is x^0.
constexpr uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t mask = 0x80000000u; mask != 0; mask >>= 1) {
    if (a & mask) product ^= b;
    b = (b >> 1) ^ ((b & 1) ? kPolynomial : 0);
  }
  return product;
}

// x^(8 * 2^i) for i in 0..63, so that any length is a product of at most 64 of them.
constexpr std::array<uint32_t, 64> make_byte_powers() {
  std::array<uint32_t, 64> powers{};
  uint32_t power = 0x80000000u >> 8;  // x^8
  for (auto& entry : powers) {
    entry = power;
    power = multiply(power, power);
  }
  return powers;
}

constexpr std::array<uint32_t, 64> kBytePowers = make_byte_powers();

constexpr uint32_t x_to_bytes(uint64_t bytes) {
  uint32_t power = 0x80000000u;  // x^0
  for (size_t i = 0; bytes != 0; ++i, bytes >>= 1) {
    if (bytes & 1) power = multiply(power, kBytePowers[i]);
  }
  return power;
}

uint64_t load64(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// Multiplying by a fixed polynomial is linear, so four tables of 256 do it for any 32-bit value.
using ShiftTables = std::array<std::array<uint32_t, 256>, 4>;

constexpr ShiftTables make_shift_tables(uint64_t bytes) {
  ShiftTables tables{};
  const uint32_t power = x_to_bytes(bytes);
  for (uint32_t slice = 0; slice < 4; ++slice) {
    for (uint32_t bit = 0; bit < 8; ++bit) {
      const uint32_t product = multiply(1u << (8 * slice + bit), power);
      for (uint32_t byte = 0; byte < 256; ++byte) {
        if (byte & (1u << bit)) tables[slice][byte] ^= product;
      }
    }
  }
  return tables;
}

constexpr size_t kLongStream = 4096;
constexpr size_t kShortStream = 256;
[[maybe_unused]] constexpr ShiftTables kLongShift = make_shift_tables(kLongStream);
[[maybe_unused]] constexpr ShiftTables kShortShift = make_shift_tables(kShortStream);

[[maybe_unused]] uint32_t shift(const ShiftTables& tables, uint32_t crc) {
  return tables[0][crc & 0xff] ^ tables[1][(crc >> 8) & 0xff] ^ tables[2][(crc >> 16) & 0xff] ^
         tables[3][crc >> 24];
}

// SHARDLOG_CRC32C_PORTABLE leaves the instructions out, so that tests can run on the portable form.
#if defined(SHARDLOG_CRC32C_PORTABLE)
#elif defined(__x86_64__)
#define SHARDLOG_CRC_TARGET __attribute__((target("sse4.2")))
SHARDLOG_CRC_TARGET inline uint32_t step64(uint32_t crc, uint64_t word) {
  return static_cast<uint32_t>(_mm_crc32_u64(crc, word));
}
SHARDLOG_CRC_TARGET inline uint32_t step8(uint32_t crc, uint8_t byte) {
  return _mm_crc32_u8(crc, byte);
}
#elif defined(__aarch64__)
#define SHARDLOG_CRC_TARGET __attribute__((target("+crc")))
SHARDLOG_CRC_TARGET inline uint32_t step64(uint32_t crc, uint64_t word) {
  return __crc32cd(crc, word);
}
SHARDLOG_CRC_TARGET inline uint32_t step8(uint32_t crc, uint8_t byte) { return __crc32cb(crc, byte); }
#endif

#if defined(SHARDLOG_CRC_TARGET)
// One CRC instruction has a latency of three cycles and a throughput of one: three independent
// streams keep the unit busy; their results are joined by a shift through `tables`.
template <size_t kStream>
SHARDLOG_CRC_TARGET uint32_t three_streams(uint32_t crc, const uint8_t*& at, size_t& left,
                                           const ShiftTables& tables) {
  while (left >= 3 * kStream) {
    uint32_t second = 0;
    uint32_t third = 0;
    for (size_t i = 0; i < kStream; i += 8) {
      crc = step64(crc, load64(at + i));
      second = step64(second, load64(at + kStream + i));
      third = step64(third, load64(at + 2 * kStream + i));
    }
    crc = shift(tables, crc) ^ second;
    crc = shift(tables, crc) ^ third;
    at += 3 * kStream;
    left -= 3 * kStream;
  }
  return crc;
}
#endif

}  // namespace

uint32_t crc32c_portable(uint32_t seed, std::span<const uint8_t> data) {
  uint32_t crc = ~seed;
  const uint8_t* at = data.data();
  size_t left = data.size();
  for (; left >= 8; at += 8, left -= 8) {
    const uint64_t word = load64(at) ^ crc;
    crc = kSlices[7][word & 0xff] ^ kSlices[6][(word >> 8) & 0xff] ^
          kSlices[5][(word >> 16) & 0xff] ^ kSlices[4][(word >> 24) & 0xff] ^
          kSlices[3][(word >> 32) & 0xff] ^ kSlices[2][(word >> 40) & 0xff] ^
          kSlices[1][(word >> 48) & 0xff] ^ kSlices[0][word >> 56];
  }
  for (; left > 0; ++at, --left) crc = (crc >> 8) ^ kSlices[0][(crc ^ *at) & 0xff];
  return ~crc;
}

#if defined(SHARDLOG_CRC_TARGET)
SHARDLOG_CRC_TARGET uint32_t crc32c_hardware(uint32_t seed, std::span<const uint8_t> data) {
  uint32_t crc = ~seed;
  const uint8_t* at = data.data();
  size_t left = data.size();
  crc = three_streams<kLongStream>(crc, at, left, kLongShift);
  crc = three_streams<kShortStream>(crc, at, left, kShortShift);
  for (; left >= 8; at += 8, left -= 8) crc = step64(crc, load64(at));
  for (; left > 0; ++at, --left) crc = step8(crc, *at);
  return ~crc;
}

bool crc32c_has_hardware() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("sse4.2") != 0;
#else
  return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#endif
}
#else
uint32_t crc32c_hardware(uint32_t seed, std::span<const uint8_t> data) {
  return crc32c_portable(seed, data);
}
bool crc32c_has_hardware() { return false; }
#endif

uint32_t crc32c(uint32_t seed, std::span<const uint8_t> data) {
  static const bool hardware = crc32c_has_hardware();
  return hardware ? crc32c_hardware(seed, data) : crc32c_portable(seed, data);
}

uint32_t crc32c_combine(uint32_t first, uint32_t second, uint64_t second_bytes) {
  return multiply(x_to_bytes(second_bytes), first) ^ second;
}

const char* crc32c_implementation() {
  if (!crc32c_has_hardware()) return "portable";
#if defined(__x86_64__)
  return "sse4.2";
#else
  return "armv8";
#endif
}

}  // namespace shardlog
