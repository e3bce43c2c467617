// One request of a connection, from its frame to the last byte of its response.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "frame_pool.h"
#include "segment_file.h"

namespace shardlog {

class Connection;

/// Bytes of a segment file that are part of a response. Holds the file open until they are sent.
struct FileRegion {
  SegmentRef file;
  int64_t position = 0;
  int64_t length = 0;
  bool cold = false;  // Not in the page cache when it was located.
};

/// Outcome of one partition of a Produce request, as the answer needs it.
struct SliceResult {
  int32_t ordinal = 0;  // Place of the partition in the answer, counted over all topics.
  int16_t error = 0;
  int32_t record_index = -1;
  int64_t base_offset = -1;
  int64_t append_time = -1;
  int64_t log_start = -1;
};

/// Where a slice's fixed-width fields are in the encoded answer; -1 for one that it lacks.
struct SliceHoles {
  int32_t error = -1;
  int32_t base_offset = -1;
  int32_t append_time = -1;
  int32_t log_start = -1;
};

/// The ordered response slot of a connection together with the frame it answers. Counted: the
/// connection's slot queue holds one reference, every slice in a shard another.
class Request {
 public:
  Request(Connection* connection, uint64_t sequence, FrameBuffer frame);
  ~Request();
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  void ref() { references_.fetch_add(1, std::memory_order_relaxed); }
  void unref() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  Connection* connection() const { return connection_; }
  uint64_t sequence() const { return sequence_; }
  int16_t api_version() const { return api_version_; }
  FrameBuffer& frame() { return frame_; }

  /// The dispatcher and every slice hold the frame; the last to let go frees it.
  void hold_frame(int holders) { frame_holders_.fetch_add(holders, std::memory_order_relaxed); }
  void release_frame();
  /// The dispatcher's own hold, once. Loop thread.
  void release_dispatcher() {
    if (std::exchange(dispatcher_holds_, false)) release_frame();
  }

  // Guarded by the connection's mutex once the slot is queued.
  bool ready = false;
  bool answered = true;  // False for acks=0: the slot leaves without a byte.
  bool internal = false;  // JavaScript takes the results, nothing is sent: see `submit`.
  bool received = false;  // The answer of another broker, on an outbound connection.

  // The answer: `head`, with a region inserted at each cut (a position in `head`).
  std::vector<uint8_t> head;
  std::vector<uint32_t> cuts;
  std::vector<FileRegion> regions;
  // How far it is sent: step 2k is the bytes before cut k, step 2k+1 is region k.
  uint32_t step = 0;
  int64_t step_sent = 0;

  // Produce only.
  int16_t acks = 0;
  std::atomic<int32_t> slices_left{0};
  std::atomic<bool> failed{false};
  std::vector<SliceResult> results;
  std::vector<SliceHoles> holes;

  uint32_t steps() const { return static_cast<uint32_t>(cuts.size()) * 2 + 1; }
  /// The bytes of an even step.
  std::span<const uint8_t> bytes_of_step(uint32_t step) const;
  int64_t size_of_step(uint32_t step) const {
    return step % 2 == 1 ? regions[step / 2].length
                         : static_cast<int64_t>(bytes_of_step(step).size());
  }
  /// Bytes of the answer not yet sent that are held in memory.
  size_t head_bytes() const { return head.size(); }
  /// Writes every result into its holes of `head`.
  void fill_holes();

 private:
  Connection* const connection_;
  const uint64_t sequence_;
  const int16_t api_version_;
  FrameBuffer frame_;
  size_t frame_bytes_;
  bool dispatcher_holds_ = true;
  std::atomic<int32_t> references_{1};
  std::atomic<int32_t> frame_holders_{1};
};

}  // namespace shardlog
