// Zigzag varints: known encodings, all lengths, truncations, the longest legal form.
#include "../varint.h"

#include <random>
#include <vector>

#include "check.h"
#include "fixtures.h"

namespace shardlog {
namespace {

bool read(const std::vector<uint8_t>& bytes, int64_t* value, size_t* used) {
  const uint8_t* at = bytes.data();
  const bool ok = read_varlong(&at, bytes.data() + bytes.size(), value);
  *used = static_cast<size_t>(at - bytes.data());
  return ok;
}

TEST(varint_reads_known_encodings) {
  const std::vector<std::pair<int64_t, std::vector<uint8_t>>> known = {
      {0, {0x00}},
      {-1, {0x01}},
      {1, {0x02}},
      {-64, {0x7f}},
      {64, {0x80, 0x01}},
      {300, {0xd8, 0x04}},
      {INT64_MAX, {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
      {INT64_MIN, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
  };
  for (const auto& [value, bytes] : known) {
    int64_t got = 7;
    size_t used = 0;
    CHECK(read(bytes, &got, &used));
    CHECK(got == value);
    CHECK(used == bytes.size());
  }
}

TEST(varint_round_trips_and_refuses_every_truncation) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<int64_t>(random() >> (random() % 64)) * (i % 2 == 0 ? 1 : -1);
    std::vector<uint8_t> bytes;
    test::put_varlong(bytes, value);
    int64_t got = 0;
    size_t used = 0;
    CHECK(read(bytes, &got, &used) && got == value && used == bytes.size());
    const std::vector<uint8_t> cut(bytes.begin(), bytes.end() - 1);
    CHECK(!read(cut, &got, &used));
    CHECK(used == 0);
  }
}

TEST(varint_of_32_bits_is_at_most_five_bytes) {
  for (const int32_t value : {0, -1, 1, 63, -64, 64, 1 << 20, INT32_MAX, INT32_MIN}) {
    std::vector<uint8_t> bytes;
    test::put_varlong(bytes, value);
    const uint8_t* at = bytes.data();
    int32_t got = 0;
    CHECK(read_varint(&at, bytes.data() + bytes.size(), &got) && got == value);
    CHECK(at == bytes.data() + bytes.size());
  }
  const std::vector<uint8_t> endless(12, 0x80);
  const uint8_t* at = endless.data();
  int32_t narrow = 0;
  int64_t wide = 0;
  CHECK(!read_varint(&at, endless.data() + endless.size(), &narrow));
  CHECK(!read_varlong(&at, endless.data() + endless.size(), &wide));
  CHECK(at == endless.data());
}

}  // namespace
}  // namespace shardlog
