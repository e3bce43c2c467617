#include "frame_pool.h"

#include <bit>
#include <cstdlib>
#include <cstring>

namespace shardlog {

void FrameBuffer::grow_size(size_t bytes) {
  size_ += bytes;
  FramePool::instance().received_bytes_.fetch_add(static_cast<int64_t>(bytes),
                                                  std::memory_order_relaxed);
}

bool FrameBuffer::reserve(size_t capacity) {
  if (capacity <= capacity_) return true;
  FrameBuffer larger = FramePool::instance().take(capacity);
  if (larger.empty()) return false;
  if (size_ > 0) std::memcpy(larger.data_, data_, size_);
  FramePool::instance().give_back(data_, capacity_);
  data_ = std::exchange(larger.data_, nullptr);
  capacity_ = std::exchange(larger.capacity_, 0);
  return true;
}

void FrameBuffer::release() {
  if (data_ == nullptr) return;
  FramePool& pool = FramePool::instance();
  pool.received_bytes_.fetch_sub(static_cast<int64_t>(size_), std::memory_order_relaxed);
  pool.give_back(data_, capacity_);
  data_ = nullptr;
  capacity_ = 0;
  size_ = 0;
}

FramePool& FramePool::instance() {
  // Never destroyed: shard threads may still give frames back while the process exits.
  static FramePool* pool = new FramePool();
  return *pool;
}

FrameBuffer FramePool::take(size_t capacity) {
  size_t bits = capacity <= 1 ? 0 : static_cast<size_t>(std::bit_width(capacity - 1));
  if (bits < kMinClassBits) bits = kMinClassBits;
  FrameBuffer buffer;
  if (bits >= kClasses) return buffer;
  const size_t size = size_t{1} << bits;
  {
    std::lock_guard lock(mutex_);
    std::vector<uint8_t*>& free = free_[bits];
    if (!free.empty()) {
      buffer.data_ = free.back();
      free.pop_back();
      (bits > kLargeClassBits ? large_cached_bytes_ : small_cached_bytes_) -= size;
    }
  }
  if (buffer.data_ == nullptr) buffer.data_ = static_cast<uint8_t*>(std::malloc(size));
  if (buffer.data_ != nullptr) buffer.capacity_ = size;
  return buffer;
}

void FramePool::give_back(uint8_t* data, size_t capacity) {
  if (data == nullptr) return;
  const size_t bits = static_cast<size_t>(std::bit_width(capacity) - 1);
  const bool large = bits > kLargeClassBits;
  {
    std::lock_guard lock(mutex_);
    size_t& cached = large ? large_cached_bytes_ : small_cached_bytes_;
    if (cached + capacity <= (large ? kLargeCachedBytesMax : kSmallCachedBytesMax)) {
      free_[bits].push_back(data);
      cached += capacity;
      return;
    }
  }
  std::free(data);
}

}  // namespace shardlog
