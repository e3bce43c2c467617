// Buffers for inbound frames, recycled by size class, and the one place where their memory is
// counted.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace shardlog {

/// A move-only piece of memory from the FramePool; gives itself back when it dies.
class FrameBuffer {
 public:
  FrameBuffer() = default;
  FrameBuffer(FrameBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        capacity_(std::exchange(other.capacity_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  FrameBuffer& operator=(FrameBuffer&& other) noexcept {
    if (this != &other) {
      release();
      data_ = std::exchange(other.data_, nullptr);
      capacity_ = std::exchange(other.capacity_, 0);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ~FrameBuffer() { release(); }

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return data_ == nullptr; }

  /// Counts `bytes` more as received; they must fit the capacity.
  void grow_size(size_t bytes);
  /// Moves the content to a buffer of at least `capacity` bytes. False when memory is exhausted.
  [[nodiscard]] bool reserve(size_t capacity);
  void release();

 private:
  friend class FramePool;
  uint8_t* data_ = nullptr;
  size_t capacity_ = 0;
  size_t size_ = 0;
};

/// Free lists of frame buffers, powers of two from 512 B, last freed first reused so that hot
/// cache lines stay in use. Buffers above 1 MiB are kept only up to a total of 64 MiB. Any thread.
class FramePool {
 public:
  static FramePool& instance();

  /// Bytes received into frames that are still held, in the whole process.
  int64_t received_bytes() const { return received_bytes_.load(std::memory_order_relaxed); }

  /// A buffer of at least `capacity` bytes; empty when memory is exhausted.
  FrameBuffer take(size_t capacity);

 private:
  friend class FrameBuffer;
  static constexpr size_t kMinClassBits = 9;
  static constexpr size_t kLargeClassBits = 20;
  static constexpr size_t kClasses = 32;
  static constexpr size_t kSmallCachedBytesMax = 16u << 20;
  static constexpr size_t kLargeCachedBytesMax = 64u << 20;

  void give_back(uint8_t* data, size_t capacity);

  std::atomic<int64_t> received_bytes_{0};
  std::mutex mutex_;
  std::vector<uint8_t*> free_[kClasses];
  size_t small_cached_bytes_ = 0;
  size_t large_cached_bytes_ = 0;
};

}  // namespace shardlog
