// A byte stream in pieces of any size, through both ways in: the same frames come out.
#include <cstring>

#include "../frame_reader.h"
#include "fuzz_seeds.h"

using namespace shardlog;

namespace {

constexpr size_t kFrameMax = 1 << 20;

class Collector : public FrameSink {
 public:
  explicit Collector(uint8_t stubborn) : stubborn_(stubborn) {}
  bool on_frame(FrameBuffer frame) override {
    frames.emplace_back(frame.data(), frame.data() + frame.size());
    return stubborn_ == 0 || frames.size() % stubborn_ != 0;
  }
  std::vector<std::vector<uint8_t>> frames;

 private:
  const uint8_t stubborn_;
};

}  // namespace

/// The first bytes say how to cut the rest: piece size, when the sink declines.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t piece = size_t{data[0]} + 1;
  Collector fed(data[1] % 5);
  Collector read(data[1] % 7);
  const std::span<const uint8_t> stream(data + 2, size - 2);

  FrameReader feeder(kFrameMax);
  auto fed_status = FrameReader::Status::kOk;
  for (size_t at = 0; at < stream.size() && fed_status == FrameReader::Status::kOk;) {
    const size_t n = std::min(piece, stream.size() - at);
    fed_status = feeder.consume(stream.subspan(at, n), fed);
    at += n;
    while (fed_status == FrameReader::Status::kOk && feeder.has_kept_bytes()) {
      fed_status = feeder.resume(fed);
    }
  }

  FrameReader reader(kFrameMax);
  std::vector<uint8_t> scratch(piece);
  auto read_status = FrameReader::Status::kOk;
  for (size_t at = 0; at < stream.size() && read_status == FrameReader::Status::kOk;) {
    iovec vectors[2];
    const int count = reader.prepare(vectors, scratch);
    size_t done = 0;
    for (int i = 0; i < count; ++i) {
      const size_t n = std::min(vectors[i].iov_len, stream.size() - at);
      std::memcpy(vectors[i].iov_base, stream.data() + at, n);
      at += n;
      done += n;
      if (n < vectors[i].iov_len) break;
    }
    read_status = reader.advance(done, scratch, read);
    while (read_status == FrameReader::Status::kOk && reader.has_kept_bytes()) {
      read_status = reader.resume(read);
    }
  }

  if (fed_status != read_status || fed.frames != read.frames) __builtin_trap();
  if (FramePool::instance().received_bytes() > static_cast<int64_t>(2 * size)) __builtin_trap();
  return 0;
}

std::vector<std::vector<uint8_t>> fuzz_seeds() {
  std::vector<uint8_t> stream{16, 3};
  for (const size_t size : {8, 9, 100, 300, 8}) {
    uint8_t prefix[4];
    store_be<int32_t>(prefix, static_cast<int32_t>(size));
    stream.insert(stream.end(), prefix, prefix + 4);
    stream.insert(stream.end(), size, static_cast<uint8_t>(size));
  }
  return {stream, {0, 0, 0, 16, 0, 0, 1, 2}};
}
