// Feeds a fuzz target without libFuzzer: sound inputs, mutated, and random bytes, for a number of
// seconds. Arguments: seconds, seed. The same seed feeds the same inputs in the same order.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "fuzz_seeds.h"

namespace {

std::mt19937_64 generator;

std::vector<uint8_t> mutate(std::vector<uint8_t> bytes) {
  for (uint64_t n = 1 + generator() % 8; n > 0; --n) {
    if (bytes.empty()) bytes.push_back(0);
    const size_t at = generator() % bytes.size();
    const auto place = bytes.begin() + static_cast<ptrdiff_t>(at);
    switch (generator() % 6) {
      case 0:
        bytes[at] = static_cast<uint8_t>(generator());
        break;
      case 1:
        bytes[at] ^= static_cast<uint8_t>(1 << generator() % 8);
        break;
      case 2:
        bytes[at] = static_cast<uint8_t>(generator() % 2 == 0 ? 0xff : 0x7f);
        break;
      case 3:
        bytes.resize(at);
        break;
      case 4:
        bytes.insert(place, 1 + generator() % 16, static_cast<uint8_t>(generator()));
        break;
      default:
        bytes.insert(bytes.end(), bytes.begin(), place);
        if (bytes.size() > 8'192) bytes.resize(8'192);
    }
  }
  return bytes;
}

std::vector<uint8_t> random_bytes() {
  std::vector<uint8_t> bytes(generator() % 400);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(generator());
  return bytes;
}

}  // namespace

int main(int count, char** arguments) {
  const int seconds = count > 1 ? std::atoi(arguments[1]) : 10;
  const uint64_t seed = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 1;
  generator.seed(seed);
  std::vector<std::vector<uint8_t>> corpus = fuzz_seeds();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  uint64_t inputs = 0;
  while (std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < 500; ++i, ++inputs) {
      const auto input =
          generator() % 10 == 0 ? random_bytes() : mutate(corpus[generator() % corpus.size()]);
      LLVMFuzzerTestOneInput(input.data(), input.size());
      // Some descendants breed on.
      if (generator() % 100 == 0 && corpus.size() < 2'000) corpus.push_back(input);
    }
  }
  std::printf("fuzz: %llu inputs, seed %llu, nothing found\n",
              static_cast<unsigned long long>(inputs), static_cast<unsigned long long>(seed));
  return 0;
}
