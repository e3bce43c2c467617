// Splits the byte stream of one connection into length-prefixed frames. No system calls.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "frame_pool.h"

namespace shardlog {

/// Receives the frames of one connection.
class FrameSink {
 public:
  /// A whole frame, without its length prefix. Returns false to take no further frame for now.
  virtual bool on_frame(FrameBuffer frame) = 0;

 protected:
  ~FrameSink() = default;
};

/// The state between two reads: a partial length prefix or a partial frame.
///
/// A large frame is received in place. Its buffer starts at 64 KiB, or at what this connection has
/// once filled before, and doubles as bytes arrive: an announced length alone costs nothing.
class FrameReader {
 public:
  enum class Status { kOk, kBadLength, kNoMemory };

  explicit FrameReader(size_t frame_bytes_max) : frame_bytes_max_(frame_bytes_max) {}

  /// Fills `out` with where the next bytes belong: the room in the current frame's buffer if there
  /// is one, then `scratch`. Returns how many vectors were set (1 or 2), 0 when memory is exhausted.
  int prepare(iovec out[2], std::span<uint8_t> scratch);

  /// Takes note of `bytes` read into the vectors that `prepare` gave. Frames go to `sink`; when it
  /// declines more, the bytes behind are kept (they are at most a scratch) until `resume`.
  Status advance(size_t bytes, std::span<uint8_t> scratch, FrameSink& sink);

  /// The same for bytes that come from elsewhere (an encrypted connection).
  Status consume(std::span<const uint8_t> bytes, FrameSink& sink);

  /// Goes on with bytes that were kept when the sink declined.
  Status resume(FrameSink& sink);

  bool has_kept_bytes() const { return !kept_.empty(); }
  bool at_boundary() const { return prefix_bytes_ == 0 && frame_.empty() && kept_.empty(); }
  bool in_frame() const { return !frame_.empty(); }
  /// Bytes of the current frame that have not arrived yet.
  size_t remaining() const { return in_frame() ? frame_size_ - frame_.size() : 0; }
  size_t announced() const { return frame_size_; }

 private:
  static constexpr size_t kFirstCapacity = 64 * 1024;
  static constexpr size_t kProvenCapacityMax = 4 * 1024 * 1024;

  [[nodiscard]] bool make_room();

  const size_t frame_bytes_max_;
  uint8_t prefix_[4] = {};
  size_t prefix_bytes_ = 0;
  size_t frame_size_ = 0;
  size_t proven_ = 0;  // The largest frame that this connection has completed.
  size_t prepared_ = 0;  // Room given out in the frame's buffer by the last `prepare`.
  FrameBuffer frame_;
  FrameBuffer kept_;
};

}  // namespace shardlog
