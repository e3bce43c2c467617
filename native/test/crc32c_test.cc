#include "../crc32c.h"

#include <cstring>
#include <random>
#include <vector>

#include "check.h"

namespace shardlog {
namespace {

std::span<const uint8_t> bytes_of(const char* text) {
  return {reinterpret_cast<const uint8_t*>(text), std::strlen(text)};
}

TEST(crc32c_gives_the_standard_check_value) {
  CHECK(crc32c(0, bytes_of("123456789")) == 0xe3069283);
  CHECK(crc32c_portable(0, bytes_of("123456789")) == 0xe3069283);
  CHECK(crc32c(0, {}) == 0);
}

TEST(crc32c_forms_agree_at_every_length_and_alignment) {
  std::mt19937 random(20260101);
  std::vector<uint8_t> data(40'000);
  for (auto& byte : data) byte = static_cast<uint8_t>(random());
  for (size_t length = 0; length < 2000; ++length) {
    const std::span<const uint8_t> piece(data.data() + random() % 16, length);
    const uint32_t seed = static_cast<uint32_t>(random());
    CHECK(crc32c(seed, piece) == crc32c_portable(seed, piece));
  }
  for (int i = 0; i < 200; ++i) {
    const std::span<const uint8_t> piece(data.data() + random() % 16, random() % 39'000);
    CHECK(crc32c(0, piece) == crc32c_portable(0, piece));
  }
}

TEST(crc32c_pieces_chain_and_combine) {
  std::mt19937 random(7);
  std::vector<uint8_t> data(20'000);
  for (auto& byte : data) byte = static_cast<uint8_t>(random());
  for (int i = 0; i < 300; ++i) {
    const std::span<const uint8_t> whole(data.data(), random() % data.size());
    const size_t cut = whole.empty() ? 0 : random() % whole.size();
    const uint32_t head = crc32c(0, whole.first(cut));
    CHECK(crc32c(head, whole.subspan(cut)) == crc32c(0, whole));
    const uint32_t tail = crc32c(0, whole.subspan(cut));
    CHECK(crc32c_combine(head, tail, whole.size() - cut) == crc32c(0, whole));
  }
}

}  // namespace
}  // namespace shardlog
