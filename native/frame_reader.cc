#include "frame_reader.h"

#include <algorithm>
#include <cstring>

namespace shardlog {

bool FrameReader::make_room() {
  if (frame_.size() < frame_.capacity()) return true;
  return frame_.reserve(std::min(frame_size_, frame_.capacity() * 2));
}

int FrameReader::prepare(iovec out[2], std::span<uint8_t> scratch) {
  prepared_ = 0;
  int count = 0;
  if (in_frame()) {
    if (!make_room()) return 0;
    prepared_ = std::min(frame_.capacity(), frame_size_) - frame_.size();
    out[count++] = {frame_.data() + frame_.size(), prepared_};
    // Bytes behind the vector belong to this frame too: they would have to be copied into it.
    if (frame_.size() + prepared_ < frame_size_) return count;
  }
  out[count++] = {scratch.data(), scratch.size()};
  return count;
}

FrameReader::Status FrameReader::advance(size_t bytes, std::span<uint8_t> scratch,
                                         FrameSink& sink) {
  const size_t in_place = std::min(bytes, prepared_);
  prepared_ = 0;
  if (in_place > 0) {
    frame_.grow_size(in_place);
    if (frame_.size() == frame_size_) {
      proven_ = std::max(proven_, frame_size_);
      if (!sink.on_frame(std::move(frame_))) {
        const size_t rest = bytes - in_place;
        if (rest == 0) return Status::kOk;
        kept_ = FramePool::instance().take(rest);
        if (kept_.empty()) return Status::kNoMemory;
        std::memcpy(kept_.data(), scratch.data(), rest);
        kept_.grow_size(rest);
        return Status::kOk;
      }
    }
  }
  return consume(scratch.first(bytes - in_place), sink);
}

FrameReader::Status FrameReader::consume(std::span<const uint8_t> bytes, FrameSink& sink) {
  if (!kept_.empty()) {
    // The sink still declines: what arrives meanwhile waits behind what is kept.
    const size_t kept = kept_.size();
    if (!kept_.reserve(kept + bytes.size())) return Status::kNoMemory;
    if (!bytes.empty()) std::memcpy(kept_.data() + kept, bytes.data(), bytes.size());
    kept_.grow_size(bytes.size());
    return Status::kOk;
  }
  bool wanted = true;
  while (!bytes.empty() && wanted) {
    if (!in_frame()) {
      const size_t n = std::min(bytes.size(), sizeof prefix_ - prefix_bytes_);
      std::memcpy(prefix_ + prefix_bytes_, bytes.data(), n);
      prefix_bytes_ += n;
      bytes = bytes.subspan(n);
      if (prefix_bytes_ < sizeof prefix_) break;
      prefix_bytes_ = 0;
      const uint32_t size = uint32_t{prefix_[0]} << 24 | uint32_t{prefix_[1]} << 16 |
                            uint32_t{prefix_[2]} << 8 | uint32_t{prefix_[3]};
      // Nothing shorter than an api key, a version and a correlation id can be a request.
      if (size < 8 || size > frame_bytes_max_) return Status::kBadLength;
      frame_size_ = size;
      const size_t trusted = std::max(kFirstCapacity, std::min(proven_, kProvenCapacityMax));
      frame_ = FramePool::instance().take(std::min(frame_size_, trusted));
      if (frame_.empty()) return Status::kNoMemory;
    }
    while (!bytes.empty() && frame_.size() < frame_size_) {
      if (!make_room()) return Status::kNoMemory;
      const size_t room = std::min(frame_.capacity(), frame_size_) - frame_.size();
      const size_t n = std::min(bytes.size(), room);
      std::memcpy(frame_.data() + frame_.size(), bytes.data(), n);
      frame_.grow_size(n);
      bytes = bytes.subspan(n);
    }
    if (frame_.size() == frame_size_) {
      proven_ = std::max(proven_, frame_size_);
      wanted = sink.on_frame(std::move(frame_));
    }
  }
  if (bytes.empty() || wanted) return Status::kOk;
  FrameBuffer rest = FramePool::instance().take(bytes.size());
  if (rest.empty()) return Status::kNoMemory;
  std::memcpy(rest.data(), bytes.data(), bytes.size());
  rest.grow_size(bytes.size());
  kept_ = std::move(rest);
  return Status::kOk;
}

FrameReader::Status FrameReader::resume(FrameSink& sink) {
  FrameBuffer kept = std::move(kept_);
  return consume({kept.data(), kept.size()}, sink);
}

}  // namespace shardlog
