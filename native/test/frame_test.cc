// Frame pool and frame reader: any split of a stream gives the same frames; a sink that declines
// loses nothing; an announced length costs nothing.
#include <cstring>
#include <deque>
#include <random>

#include "../frame_reader.h"
#include "check.h"
#include "fixtures.h"

namespace shardlog {
namespace {

using Bytes = std::vector<uint8_t>;
constexpr size_t kFrameMax = 8 << 20;

class Collector : public FrameSink {
 public:
  bool on_frame(FrameBuffer frame) override {
    frames.emplace_back(frame.data(), frame.data() + frame.size());
    if (keep) held.push_back(std::move(frame));
    return accept_all || --budget > 0;
  }
  std::vector<Bytes> frames;
  std::vector<FrameBuffer> held;
  bool accept_all = true;
  bool keep = false;
  int budget = 0;
};

Bytes prefixed(const std::vector<Bytes>& frames) {
  Bytes stream;
  for (const Bytes& frame : frames) {
    uint8_t prefix[4];
    store_be<int32_t>(prefix, static_cast<int32_t>(frame.size()));
    stream.insert(stream.end(), prefix, prefix + 4);
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  return stream;
}

std::vector<Bytes> random_frames(std::mt19937& random, size_t count, size_t largest) {
  std::vector<Bytes> frames;
  for (size_t i = 0; i < count; ++i) {
    Bytes frame(8 + random() % (random() % 3 == 0 ? largest : 64));
    for (auto& byte : frame) byte = static_cast<uint8_t>(random());
    frames.push_back(std::move(frame));
  }
  return frames;
}

TEST(frame_pool_counts_what_was_received_until_it_is_released) {
  FramePool& pool = FramePool::instance();
  CHECK(pool.received_bytes() == 0);
  FrameBuffer a = pool.take(1000);
  CHECK(a.capacity() == 1024 && a.size() == 0 && pool.received_bytes() == 0);
  a.grow_size(600);
  CHECK(pool.received_bytes() == 600);
  std::memset(a.data(), 0x5a, 600);
  CHECK(a.reserve(5000));
  CHECK(a.capacity() == 8192 && a.size() == 600 && a.data()[599] == 0x5a);
  CHECK(pool.received_bytes() == 600);
  FrameBuffer b = std::move(a);
  CHECK(a.empty() && b.size() == 600 && pool.received_bytes() == 600);
  FrameBuffer c = pool.take(1);
  CHECK(c.capacity() == 512);
  c.grow_size(1);
  c = std::move(b);
  CHECK(pool.received_bytes() == 600);
  c.release();
  CHECK(c.empty() && pool.received_bytes() == 0);
  c.release();
  CHECK(pool.received_bytes() == 0);
}

TEST(frame_pool_reuses_the_buffer_freed_last_and_refuses_the_impossible) {
  FramePool& pool = FramePool::instance();
  FrameBuffer a = pool.take(4096);
  const uint8_t* data = a.data();
  a.release();
  CHECK(pool.take(4096).data() == data);
  CHECK(pool.take(size_t{1} << 40).empty());
  CHECK(pool.take(SIZE_MAX).empty());
}

TEST(frames_are_the_same_for_every_split_of_the_stream) {
  std::mt19937 random(21);
  for (int round = 0; round < 300; ++round) {
    const auto frames = random_frames(random, 1 + random() % 12, 200'000);
    const Bytes stream = prefixed(frames);
    Collector sink;
    FrameReader reader(kFrameMax);
    for (size_t at = 0; at < stream.size();) {
      const size_t n =
          std::min<size_t>(stream.size() - at, 1 + random() % (round % 2 ? 7'000 : 90'000));
      CHECK(reader.consume({stream.data() + at, n}, sink) == FrameReader::Status::kOk);
      at += n;
    }
    CHECK(sink.frames == frames);
    CHECK(reader.at_boundary());
  }
  CHECK(FramePool::instance().received_bytes() == 0);
}

TEST(frames_are_the_same_byte_by_byte) {
  std::mt19937 random(22);
  const auto frames = random_frames(random, 30, 300);
  const Bytes stream = prefixed(frames);
  Collector sink;
  FrameReader reader(kFrameMax);
  for (const uint8_t byte : stream) {
    CHECK(reader.consume({&byte, 1}, sink) == FrameReader::Status::kOk);
  }
  CHECK(sink.frames == frames && reader.at_boundary());
}

/// Reads as a connection does: into the vectors of `prepare`, any number of bytes at a time.
FrameReader::Status read_some(FrameReader& reader, const Bytes& stream, size_t* at, size_t most,
                              std::span<uint8_t> scratch, FrameSink& sink) {
  iovec vectors[2];
  const int count = reader.prepare(vectors, scratch);
  CHECK(count > 0);
  size_t left = std::min(most, stream.size() - *at);
  size_t done = 0;
  for (int i = 0; i < count && left > 0; ++i) {
    const size_t n = std::min(left, vectors[i].iov_len);
    std::memcpy(vectors[i].iov_base, stream.data() + *at + done, n);
    done += n;
    left -= n;
  }
  *at += done;
  return reader.advance(done, scratch, sink);
}

TEST(frames_read_in_place_are_the_same_and_a_declining_sink_loses_none) {
  std::mt19937 random(23);
  for (int round = 0; round < 300; ++round) {
    const auto frames = random_frames(random, 1 + random() % 20, 400'000);
    const Bytes stream = prefixed(frames);
    Bytes scratch(1 + random() % 65'536);
    Collector sink;
    sink.accept_all = round % 3 == 0;
    sink.budget = 1;
    FrameReader reader(kFrameMax);
    size_t at = 0;
    while (at < stream.size() || reader.has_kept_bytes()) {
      if (reader.has_kept_bytes() || sink.budget <= 0) {
        sink.budget = 1 + static_cast<int>(random() % 3);
        CHECK(reader.resume(sink) == FrameReader::Status::kOk);
        continue;
      }
      CHECK(read_some(reader, stream, &at, 1 + random() % 200'000, scratch, sink) ==
            FrameReader::Status::kOk);
    }
    CHECK(sink.frames == frames);
    CHECK(reader.at_boundary());
  }
  CHECK(FramePool::instance().received_bytes() == 0);
}

TEST(bytes_that_arrive_while_the_sink_declines_wait_in_order) {
  std::mt19937 random(24);
  const auto frames = random_frames(random, 40, 5'000);
  const Bytes stream = prefixed(frames);
  Collector sink;
  sink.accept_all = false;
  sink.budget = 1;
  FrameReader reader(kFrameMax);
  for (size_t at = 0; at < stream.size();) {
    const size_t n = std::min<size_t>(stream.size() - at, 1 + random() % 3'000);
    CHECK(reader.consume({stream.data() + at, n}, sink) == FrameReader::Status::kOk);
    at += n;
  }
  CHECK(sink.frames.size() == 1);
  while (reader.has_kept_bytes()) {
    sink.budget = 1;
    CHECK(reader.resume(sink) == FrameReader::Status::kOk);
  }
  CHECK(sink.frames == frames && reader.at_boundary());
}

TEST(frame_lengths_outside_the_limits_are_refused) {
  for (const uint32_t length :
       {0u, 7u, uint32_t{kFrameMax} + 1, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    uint8_t prefix[4];
    store_be<uint32_t>(prefix, length);
    Collector sink;
    FrameReader reader(kFrameMax);
    CHECK(reader.consume(prefix, sink) == FrameReader::Status::kBadLength);
    CHECK(sink.frames.empty());
  }
}

TEST(an_announced_length_costs_nothing_until_bytes_arrive) {
  uint8_t prefix[4];
  store_be<uint32_t>(prefix, 100 << 20);
  std::vector<FrameReader> readers;
  Collector sink;
  for (int i = 0; i < 200; ++i) {
    FrameReader& reader = readers.emplace_back(size_t{100} << 20);
    CHECK(reader.consume(prefix, sink) == FrameReader::Status::kOk);
    CHECK(reader.in_frame() && reader.announced() == size_t{100} << 20);
    CHECK(reader.remaining() == size_t{100} << 20);
  }
  CHECK(FramePool::instance().received_bytes() == 0);
  // The room that a reader offers in place is at most twice what it has, from 64 KiB on.
  FrameReader& reader = readers.front();
  Bytes scratch(65'536);
  size_t received = 0;
  while (received < (3u << 20)) {
    iovec vectors[2];
    CHECK(reader.prepare(vectors, scratch) == 1);
    CHECK(vectors[0].iov_len <= std::max<size_t>(64 << 10, received));
    const size_t n = std::min<size_t>(vectors[0].iov_len, 50'000);
    std::memset(vectors[0].iov_base, 1, n);
    CHECK(reader.advance(n, scratch, sink) == FrameReader::Status::kOk);
    received += n;
    CHECK(FramePool::instance().received_bytes() == static_cast<int64_t>(received));
  }
  readers.clear();
  CHECK(FramePool::instance().received_bytes() == 0);
}

}  // namespace
}  // namespace shardlog
