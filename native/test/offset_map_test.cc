// The map of keys to offsets: its hash against published results, its content against std::map,
// its memory against its limit.
#include "../offset_map.h"

#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "check.h"

namespace shardlog::test {
namespace {

constexpr std::array<uint64_t, 2> kSecret{0x0706050403020100, 0x0f0e0d0c0b0a0908};

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(hash_gives_the_results_of_its_authors) {
  // The first entries of vectors_sip128 of the reference implementation.
  const std::array<uint8_t, 16> empty{0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6,
                                      0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
  const std::array<uint8_t, 16> one{0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44,
                                    0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45};
  const auto same = [](const Hash128& hash, const std::array<uint8_t, 16>& wanted) {
    return std::memcmp(&hash.low, wanted.data(), 8) == 0 &&
           std::memcmp(&hash.high, wanted.data() + 8, 8) == 0;
  };
  CHECK(same(siphash128(kSecret, {}), empty));
  const uint8_t zero = 0;
  CHECK(same(siphash128(kSecret, {&zero, 1}), one));
}

TEST(offset_map_holds_what_a_plain_map_holds) {
  std::mt19937_64 random(7);
  for (const size_t limit : {size_t{1} << 10, size_t{1} << 20, size_t{64} << 20}) {
    OffsetMap map(limit, 0.9, kSecret);
    std::map<std::string, int64_t> model;
    for (int64_t offset = 0; offset < 50'000; ++offset) {
      const std::string key(random() % 40, static_cast<char>('a' + random() % 26));
      const std::string whole = key + std::to_string(random() % 20'000);
      const bool known = model.contains(whole);
      if (map.put(bytes_of(whole), offset)) {
        model[whole] = offset;
      } else {
        CHECK(!known);  // A key that is there can always be moved on.
      }
      CHECK(map.bytes() <= limit);
    }
    CHECK(map.size() == model.size());
    for (const auto& [key, offset] : model) CHECK(map.get(bytes_of(key)) == offset);
    CHECK(map.get(bytes_of("never put")) == -1);
    map.clear();
    CHECK(map.size() == 0 && map.bytes() == 0);
    CHECK(map.get(bytes_of(model.begin()->first)) == -1);
  }
}

TEST(offset_map_takes_memory_by_need_and_most_of_what_it_may) {
  constexpr size_t kLimit = 8 << 20;
  OffsetMap map(kLimit, 0.9, kSecret);
  CHECK(map.bytes() == 0);
  CHECK(map.put(bytes_of("a"), 0));
  CHECK(map.bytes() < 1000);
  int64_t keys = 1;
  while (map.put(bytes_of(std::to_string(keys)), keys)) ++keys;
  CHECK(map.bytes() <= kLimit);
  CHECK(map.bytes() > kLimit / 10 * 9);
  CHECK(keys > static_cast<int64_t>(kLimit / 24 / 10 * 8));
}

TEST(offset_map_of_the_smallest_size_and_any_load_works) {
  for (const double load : {-1.0, 0.0, 0.5, 1.0, 7.0}) {
    OffsetMap map(0, load, kSecret);
    int64_t keys = 0;
    while (map.put(bytes_of(std::to_string(keys)), keys)) ++keys;
    CHECK(keys >= 1 && keys < 16);
    for (int64_t i = 0; i < keys; ++i) CHECK(map.get(bytes_of(std::to_string(i))) == i);
    CHECK(map.get(bytes_of("x")) == -1);
  }
}

}  // namespace
}  // namespace shardlog::test
