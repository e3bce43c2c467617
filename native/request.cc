#include "request.h"

#include "big_endian.h"
#include "transport.h"

namespace shardlog {
namespace {

void store_big_endian(std::vector<uint8_t>& bytes, int32_t position, uint64_t value, int width) {
  if (position < 0 || static_cast<size_t>(position + width) > bytes.size()) return;
  for (int i = 0; i < width; ++i) {
    bytes[static_cast<size_t>(position + i)] =
        static_cast<uint8_t>(value >> (8 * (width - 1 - i)));
  }
}

}  // namespace

Request::Request(Connection* connection, uint64_t sequence, FrameBuffer frame)
    : connection_(connection),
      sequence_(sequence),
      api_version_(frame.size() < 4 ? int16_t{0} : load_be<int16_t>(frame.data() + 2)),
      frame_(std::move(frame)),
      frame_bytes_(frame_.size()) {
  connection_->ref();
}

Request::~Request() {
  if (!frame_.empty()) {
    frame_.release();
    connection_->frame_released(frame_bytes_);
  }
  connection_->unref();
}

void Request::release_frame() {
  if (frame_holders_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  frame_.release();
  connection_->frame_released(frame_bytes_);
}

std::span<const uint8_t> Request::bytes_of_step(uint32_t step) const {
  const size_t cut = step / 2;
  const size_t begin = cut == 0 ? 0 : cuts[cut - 1];
  const size_t end = cut < cuts.size() ? cuts[cut] : head.size();
  return {head.data() + begin, end - begin};
}

void Request::fill_holes() {
  for (size_t i = 0; i < results.size(); ++i) {
    const SliceResult& result = results[i];
    const SliceHoles& hole = holes[i];
    store_big_endian(head, hole.error, static_cast<uint16_t>(result.error), 2);
    store_big_endian(head, hole.base_offset, static_cast<uint64_t>(result.base_offset), 8);
    store_big_endian(head, hole.append_time, static_cast<uint64_t>(result.append_time), 8);
    store_big_endian(head, hole.log_start, static_cast<uint64_t>(result.log_start), 8);
  }
}

}  // namespace shardlog
