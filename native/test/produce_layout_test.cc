// Produce requests without their payloads: all versions, truncations, damage.
#include "../produce_layout.h"

#include <random>

#include "check.h"
#include "produce_requests.h"

namespace shardlog {
namespace {

using Bytes = std::vector<uint8_t>;
const std::vector<std::vector<size_t>> kTopics = {{0, 1, 100}, {}, {127, 128, 20'000}};

TEST(produce_head_is_the_request_without_payloads_in_every_version) {
  for (int16_t version = 0; version <= 13; ++version) {
    const Bytes request = test::produce_request(version, kTopics);
    const Bytes expected = test::produce_request(version, kTopics, false);
    Bytes out(request.size());
    const int64_t n = copy_produce_head(request, out);
    CHECK(n == static_cast<int64_t>(expected.size()));
    out.resize(static_cast<size_t>(n));
    CHECK(out == expected);
    // Exactly enough room is enough, a byte less is not.
    Bytes tight(expected.size());
    CHECK(copy_produce_head(request, tight) == n);
    tight.pop_back();
    CHECK(copy_produce_head(request, tight) == kTooSmall);
    CHECK(copy_produce_head(request, {}) == kTooSmall);
  }
}

TEST(produce_head_refuses_every_truncation) {
  for (int16_t version = 0; version <= 13; ++version) {
    const Bytes request = test::produce_request(version, {{3, 40}, {5}});
    for (size_t length = 0; length < request.size(); ++length) {
      const Bytes cut(request.begin(), request.begin() + static_cast<int64_t>(length));
      Bytes out(request.size());
      CHECK(copy_produce_head(cut, out) == kMalformed);
    }
  }
}

TEST(produce_head_survives_damage) {
  std::mt19937 random(31);
  for (int i = 0; i < 40'000; ++i) {
    Bytes request = test::produce_request(static_cast<int16_t>(random() % 14), {{3, 40}, {5}});
    for (size_t n = 1 + random() % 4; n > 0; --n) {
      request[4 + random() % (request.size() - 4)] =
          static_cast<uint8_t>(random() % 3 == 0 ? 0xff : random());
    }
    request.resize(request.size() - random() % 8);
    request.shrink_to_fit();
    Bytes out(random() % (request.size() + 1));
    const int64_t n = copy_produce_head(request, out);
    CHECK(n == kMalformed || n == kTooSmall || (n >= 0 && n <= static_cast<int64_t>(out.size())));
  }
}

}  // namespace
}  // namespace shardlog
