// Produce requests from anywhere: what is copied fits and begins as the request does.
#include <cstring>

#include "../produce_layout.h"
#include "fuzz_seeds.h"
#include "produce_requests.h"

using namespace shardlog;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Of their own sizes, so that a step outside either is seen.
  const std::vector<uint8_t> frame(data, data + size);
  std::vector<uint8_t> out(size);
  const int64_t n = copy_produce_head(frame, out);
  if (n == kMalformed) return 0;
  if (n < 8 || n > static_cast<int64_t>(size)) __builtin_trap();
  if (std::memcmp(out.data(), frame.data(), 8) != 0) __builtin_trap();
  std::vector<uint8_t> tight(static_cast<size_t>(n) - 1);
  if (copy_produce_head(frame, tight) != kTooSmall) __builtin_trap();
  return 0;
}

std::vector<std::vector<uint8_t>> fuzz_seeds() {
  std::vector<std::vector<uint8_t>> seeds;
  for (int16_t version = 0; version <= 13; ++version) {
    seeds.push_back(test::produce_request(version, {{3, 40}, {}, {5}}));
  }
  return seeds;
}
