// A shard's native side: the bounded queue into it and the work it does on its logs.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "event_queue.h"
#include "partition_log.h"
#include "request.h"

namespace shardlog {

class Connection;
class Shard;
struct ShardLog;

/// One partition of one Produce request on its way into a log.
struct Slice {
  Request* request = nullptr;  // Holds a reference, and a hold on its frame until appended.
  uint32_t index = 0;          // Into the request's results and holes.
  uint32_t position = 0;       // Of the records, in the frame.
  uint32_t length = 0;
  int32_t leader_epoch = -1;
  int64_t now_ms = 0;
  int64_t deadline_ms = INT64_MAX;   // Of the clock that expire_parked is told, for acks=-1.
  bool is_follower = false;          // Batches that the leader of that epoch wrote.
  int64_t high_watermark = -1;       // The leader's, which came with them.
};

/// An append, or something that changes what appends may do; all in one order.
struct ShardRecord {
  enum class Kind : uint8_t {
    kSlice,
    kLeadership,
    kHighWatermark,
    kFailParked,
    kConfig,
    kFollow,
    kExpireParked,
    kInSync,
  };
  Kind kind = Kind::kSlice;
  std::shared_ptr<ShardLog> log;
  Slice slice;
  // kLeadership: leader epoch (-1: no leader) and followers; kFollow: epoch of the leader followed;
  // kHighWatermark: offset and epoch; kFailParked: error code; kExpireParked: the wall clock, ms;
  // kInSync: how many replicas are in sync, and how many acks=-1 asks for.
  int64_t value = 0;
  int32_t epoch = 0;
  std::shared_ptr<LogConfig> config;
};

/// A log with what its shard keeps beside it. Owned by the shard's thread but for `log->locate`
/// and the published row.
struct ShardLog {
  struct Staged {
    Slice slice;
    SliceResult result;
    int64_t last_offset = -1;
    size_t batches = 1;
  };

  ShardLog() = default;
  ~ShardLog();
  ShardLog(const ShardLog&) = delete;
  ShardLog& operator=(const ShardLog&) = delete;

  // Counted: a queued record may be the last to know of a shard that died and was forgotten.
  std::shared_ptr<Shard> shard;
  uint32_t row = 0;
  std::atomic<bool> row_is_free{false};  // Once nobody looks at this log any more.
  uint64_t handle = 0;
  std::shared_ptr<PartitionLog> log;

  bool touched = false;             // Has staged slices in the running batch.
  int32_t following_epoch = -1;     // -1: follows nobody.
  int32_t in_sync = 1;              // Replicas, with the leader.
  int32_t in_sync_min = 1;          // For acks=-1.
  bool held = false;                // A slice is in the slow lane: later ones wait in `waiting`.
  std::vector<Staged> staged;
  std::deque<ShardRecord> waiting;
  Slice slow;                       // The slice in the slow lane.
  std::deque<Staged> parked;        // Appended with acks=-1, waiting for the high watermark.
};

/// Process-wide table of open logs: a handle is row + generation * 2^20.
class LogTable {
 public:
  static constexpr uint32_t kRows = 1u << 18;
  static constexpr uint32_t kRowWords = 8;
  static LogTable& instance();

  /// The published rows of all logs: kRows * kRowWords 64-bit words, zero where unused.
  int64_t* rows();

  /// Reserves a row; the log is found under the returned handle once `set` was called. 0: full.
  uint64_t add(std::shared_ptr<ShardLog> log);
  std::shared_ptr<ShardLog> find(uint64_t handle) const;
  void remove(uint64_t handle);
  uint32_t reserve_row();
  void give_back_row(uint32_t row);

 private:
  LogTable();
  mutable std::mutex mutex_;
  int64_t* rows_ = nullptr;
  std::vector<std::shared_ptr<ShardLog>> logs_;
  std::vector<uint32_t> generations_;
  std::vector<uint32_t> free_rows_;
};

/// The queue into one shard, and the batch handler that its owner thread runs.
///
/// One sender (the main thread), one owner. With `attach_loop` the owner is a worker thread woken
/// through its loop; without, the main thread calls `drain` itself at the end of a turn.
class Shard : public std::enable_shared_from_this<Shard> {
 public:
  static constexpr size_t kQueueRecordsMax = 4096;
  static constexpr int64_t kQueueBytesMax = 64 << 20;

  /// `main` gets results, wake-ups and errors; outlives the shard.
  Shard(int index, std::shared_ptr<EventQueue> main) : index_(index), main_(std::move(main)) {}

  int index() const { return index_; }

  // --- Owner thread.
  /// Takes the shard over: `slow` receives SLOW_SLICE events for JavaScript of this thread.
  void attach(uv_loop_t* loop, std::shared_ptr<EventQueue> owner_events);
  /// The owner leaves, in order or not: everything queued fails with NOT_LEADER_OR_FOLLOWER, logs
  /// leave the table. `closed` runs when the loop's handle is gone.
  void detach(std::function<void()> closed);
  /// Works off what is queued. Returns false when nothing was.
  bool drain();
  /// Ends a slice's stay in the slow lane. `bytes` are the records to append (they may be the
  /// original ones); an `error` other than 0 fails the slice.
  void finish_slow(ShardLog& log, int16_t error, int32_t record_index, std::span<uint8_t> bytes);
  void add_log(const std::shared_ptr<ShardLog>& log);
  void remove_log(const std::shared_ptr<ShardLog>& log);
  /// Cuts a log that does not lead at `offset`, or empties it to begin there. 0; EPERM for one that
  /// leads; ESTALE for one that does not follow that epoch (-1: any); EBUSY while the slow lane holds
  /// it, with everything that was queued behind; or an errno.
  int truncate(ShardLog& log, int64_t offset, bool fully, int32_t leader_epoch);
  /// Moves the start of a log, behind what is queued for it, and wakes who has to tell of it. A
  /// protocol error code.
  int16_t delete_records(ShardLog& log, int64_t offset);

  // --- Main thread.
  /// Fails a slice whose log is gone, with the retriable NOT_LEADER_OR_FOLLOWER.
  static void fail_unposted(Slice& slice, EventQueue& main);
  bool attached() const { return attached_.load(std::memory_order_acquire); }
  bool has_room(size_t records, int64_t bytes);
  void post(std::vector<ShardRecord>& records);
  void signal();
  bool direct() const { return direct_; }

 private:
  void run(std::vector<ShardRecord>& batch);
  void run_one(ShardRecord& record);
  void stage(ShardLog& log, Slice slice);
  void stage_as_follower(ShardLog& log, Slice slice, std::span<uint8_t> records);
  void commit(ShardLog& log);
  void settle(ShardLog& log, ShardLog::Staged& staged);
  void advance_parked(ShardLog& log);
  static void confirm(const ShardLog& log, SliceResult* result);
  void fail_parked(ShardLog& log, int16_t error);
  void expire_parked(ShardLog& log, int64_t now_ms);
  void finish_slice(Slice& slice, const SliceResult& result);
  static bool record_result(Slice& slice, const SliceResult& result, EventQueue& main);
  void refuse(Slice& slice, int16_t error, int32_t record_index);
  void publish_wake(ShardLog& log);
  void flush_connections();
  void run_waiting(ShardLog& log);

  const int index_;
  const std::shared_ptr<EventQueue> main_;
  std::shared_ptr<EventQueue> owner_events_;

  std::mutex mutex_;
  std::vector<ShardRecord> queue_;
  int64_t queue_bytes_ = 0;
  bool signalled_ = false;
  bool sender_waits_ = false;
  uv_async_t* async_ = nullptr;
  std::atomic<bool> attached_{false};
  std::atomic<bool> direct_{false};

  // Owner thread.
  std::vector<ShardRecord> batch_;
  std::vector<ShardLog*> touched_;
  std::vector<Connection*> flush_;
  std::unordered_map<uint64_t, std::shared_ptr<ShardLog>> logs_;
};

}  // namespace shardlog
