// Copies a message without its record payloads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace shardlog {

/// What `copy_produce_head` and `copy_fetch_head` return instead of a number of bytes.
constexpr int64_t kMalformed = -1;
constexpr int64_t kTooSmall = -2;

/// Walks a frame, copying what it passes over; `ok` turns false at the first impossible length.
class HeadCopier {
 public:
  HeadCopier(std::span<const uint8_t> frame, std::span<uint8_t> out) : frame_(frame), out_(out) {}

  bool ok() const { return ok_; }

  void copy(size_t bytes) {
    if (!ok_ || bytes > frame_.size() - at_) {
      ok_ = false;
      return;
    }
    if (bytes > out_.size() - copied_) {
      overflowed_ = true;
      ok_ = false;
      return;
    }
    std::memcpy(out_.data() + copied_, frame_.data() + at_, bytes);
    copied_ += bytes;
    at_ += bytes;
  }

  void skip(size_t bytes) {
    if (!ok_ || bytes > frame_.size() - at_) {
      ok_ = false;
      return;
    }
    at_ += bytes;
  }

  int32_t fixed(size_t bytes) {
    if (!ok_ || bytes > frame_.size() - at_) {
      ok_ = false;
      return 0;
    }
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value = value << 8 | frame_[at_ + i];
    copy(bytes);
    if (bytes == 2) return static_cast<int16_t>(value);
    return static_cast<int32_t>(value);
  }

  uint32_t unsigned_varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      if (!ok_ || at_ >= frame_.size()) break;
      const uint8_t byte = frame_[at_];
      copy(1);
      value |= uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) == 0) {
        if (value > UINT32_MAX) break;
        return static_cast<uint32_t>(value);
      }
    }
    ok_ = false;
    return 0;
  }

  void nullable_string(bool compact) {
    const int64_t bytes = compact ? int64_t{unsigned_varint()} - 1 : fixed(2);
    if (bytes > 0) copy(static_cast<size_t>(bytes));
  }

  void records(bool compact) {
    const int64_t bytes = compact ? int64_t{unsigned_varint()} - 1 : fixed(4);
    if (bytes < -1) ok_ = false;
    if (bytes > 0) skip(static_cast<size_t>(bytes));
  }

  uint32_t array(bool compact) {
    const int64_t count = compact ? int64_t{unsigned_varint()} - 1 : fixed(4);
    return count > 0 ? static_cast<uint32_t>(count) : 0;
  }

  void tagged_fields(bool flexible) {
    if (!flexible) return;
    const uint32_t count = unsigned_varint();
    for (uint32_t i = 0; i < count && ok_; ++i) {
      unsigned_varint();
      copy(unsigned_varint());
    }
  }

  /// How the walk ended: bytes copied, kMalformed, or kTooSmall.
  int64_t outcome() const {
    if (overflowed_) return kTooSmall;
    return ok_ ? static_cast<int64_t>(copied_) : kMalformed;
  }

  void rest() { copy(frame_.size() - at_); }

 private:
  const std::span<const uint8_t> frame_;
  const std::span<uint8_t> out_;
  size_t at_ = 0;
  size_t copied_ = 0;
  bool ok_ = true;
  bool overflowed_ = false;
};

}  // namespace shardlog
