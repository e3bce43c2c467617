// The segments of one partition: append, locate, roll, recover, delete.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string>
#include <vector>

#include "batch_scan.h"
#include "leader_epoch_cache.h"
#include "producer_state.h"
#include "segment_file.h"

namespace shardlog {

/// The topic's settings that the log itself acts on. Times in ms, sizes in bytes.
struct LogConfig {
  int64_t segment_bytes = 1073741824;
  int64_t segment_ms = 604800000;
  int64_t segment_jitter_ms = 0;
  int64_t segment_index_bytes = 10485760;
  int64_t index_interval_bytes = 4096;
  int64_t message_max_bytes = 1048588;
  bool log_append_time = false;
  int64_t timestamp_before_max_ms = INT64_MAX;
  int64_t timestamp_after_max_ms = INT64_MAX;
  int compression = -1;              // As the producer sent it, or a codec.
  int64_t retention_ms = 604800000;  // -1: no limit.
  int64_t retention_bytes = -1;      // -1: no limit.
  bool compacted = false;
  bool deletes = true;
  int64_t producer_expiration_ms = 86400000;
};

/// The words of a log's published row: stored by the owner, loaded by anyone, both sequentially
/// consistent (weaker orders lose wake-ups).
enum PublishedWord : uint32_t {
  kLogStart = 0,
  kLogEnd = 1,
  kHighWatermark = 2,
  kLastStable = 3,
  kWaiters = 4,
  kOffline = 5,
  kSizeBytes = 6,
  kLastEpoch = 7,
};

struct LogOpenOptions {
  std::string directory;
  LogConfig config;
  int64_t* row = nullptr;
  bool clean_shutdown = false;
  int64_t recovery_point = 0;
  int64_t log_start = 0;
  int64_t high_watermark = 0;
  int64_t now_ms = 0;
};

/// What opening found and did.
struct RecoveryReport {
  int64_t bytes_truncated = 0;
  std::string reason;
  int32_t segments_scanned = 0;
  int32_t indexes_rebuilt = 0;
};

struct StageOptions {
  int32_t leader_epoch = -1;  // Negative: not checked.
  int64_t now_ms = 0;
  bool validated = false;         // The slow lane has looked inside already.
  bool from_coordinator = false;  // May write control and transactional batches.
};

struct StageResult {
  int16_t error = 0;  // A Kafka error code.
  bool needs_slow_lane = false;
  bool duplicate = false;  // Of a batch in the log, or staged: nothing will be written.
  size_t batches = 1;      // How many `commit` counts for it.
  int32_t record_index = -1;
  int64_t base_offset = -1;  // Also of a duplicate when it is not remembered where the original is.
  int64_t last_offset = -1;
  int64_t append_time_ms = -1;
  int64_t log_start = -1;
};

struct CommitResult {
  int error = 0;         // An errno value.
  size_t committed = 0;  // How many of the staged batches are in the log, in order.
};

struct LocateResult {
  int16_t error = 0;  // OFFSET_OUT_OF_RANGE 1, KAFKA_STORAGE_ERROR 56.
  bool cold = false;  // Not in the page cache: `warm` it on a thread that may block.
  SegmentRef file;
  int64_t position = 0;
  int64_t length = 0;
};

/// One segment as it stands.
struct SegmentDescription {
  int64_t base_offset = 0;
  int64_t size = 0;
  int64_t max_timestamp = -1;  // -1 as well while its index has not been read.
};

/// What it takes to decide whether a log is to be cleaned, and to say later what was cleaned.
struct CleaningState {
  struct Segment {
    int64_t base_offset = 0;
    int64_t size = 0;
    int64_t largest_timestamp = -1;  // Of its records, or else of its file.
    int64_t first_timestamp = -1;    // Of its first batch.
  };
  int error = 0;
  std::vector<Segment> segments;  // The last one is the active one.
  uint64_t truncations = 0;
};

/// Files and descriptors of segments that others have replaced.
struct ReplacedSegments {
  std::string directory;
  std::vector<std::string> paths;
  std::vector<SegmentRef> files;
};

/// Answer of a look-up by timestamp. A compressed batch is given by its place: its records must be
/// decoded to find the one.
struct TimestampResult {
  int error = 0;
  bool found = false;
  bool compressed = false;
  int64_t offset = -1;
  int64_t timestamp = -1;
  int32_t leader_epoch = -1;
  std::vector<uint8_t> batch;
};

/// One partition's log, in Apache Kafka's layout and formats.
///
/// Owned by one shard's thread, which alone changes it. `locate` may be called by any thread.
/// After a crash, opening scans from the recovery point, cuts the log at the first bad batch and
/// rebuilds what is derived. No error ends the process: a log that cannot be kept consistent goes
/// offline and answers KAFKA_STORAGE_ERROR.
class PartitionLog {
 public:
  struct OpenResult {
    std::shared_ptr<PartitionLog> log;
    int error = 0;
    std::string what;
    RecoveryReport report;
  };
  static OpenResult open(const LogOpenOptions& options);
  ~PartitionLog();

  /// Checks a slice and takes it for the next `commit`. `records` must live until then; base
  /// offset and leader epoch are written into it.
  StageResult stage(std::span<uint8_t> records, const StageOptions& options);
  /// Takes the whole batches in `records` as their leader wrote them, offsets and epochs included;
  /// an incomplete batch at the end is left off. All or none: CORRUPT_MESSAGE 2, or
  /// OFFSET_OUT_OF_RANGE 1 for offsets that do not follow the log end.
  StageResult stage_as_follower(std::span<uint8_t> records, int64_t now_ms);
  /// Writes what is staged. On an error the rest is undone, as if it had never been staged.
  CommitResult commit();

  /// Any thread. Bytes from the batch that holds `offset`, below `limit_offset`, of one segment;
  /// at most `max_bytes`, but with `min_one_batch` at least that batch.
  LocateResult locate(int64_t offset, int64_t max_bytes, int64_t limit_offset,
                      bool min_one_batch) const;
  /// Any thread. Where an epoch ended, as far as appends are committed; see LeaderEpochCache.
  LeaderEpochCache::EndOffset epoch_end(int32_t epoch) const {
    return epochs_.end_offset(epoch, published(kLogEnd));
  }
  /// Brings a region into the page cache. Blocks.
  static void warm(const SegmentRef& file, int64_t position, int64_t length);

  void set_config(const LogConfig& config) { config_ = config; }
  const LogConfig& config() const { return config_; }
  /// The epoch in which this broker leads, -1 when it does not; without followers the high
  /// watermark is the log end. An epoch that is new begins at the log end, which is on disk with
  /// its first batch: without one it says nothing that a restart needs.
  void set_leadership(int32_t epoch, int32_t followers);
  void set_high_watermark(int64_t offset, int32_t epoch);
  /// What the leader that is followed says, as far as this log reaches.
  void follow_high_watermark(int64_t offset);

  int64_t log_start() const { return published(kLogStart); }
  int64_t log_end() const { return next_offset_; }
  int64_t high_watermark() const { return published(kHighWatermark); }
  int64_t recovery_point() const { return recovery_point_; }
  int64_t size_bytes() const;
  bool offline() const { return offline_; }
  bool leads() const { return leader_epoch_ >= 0; }
  int32_t segment_count() const { return static_cast<int32_t>(segments_.size()); }
  std::vector<SegmentDescription> segments() const;
  const LeaderEpochCache& leader_epochs() const { return epochs_; }
  const ProducerState& producers() const { return producers_; }

  TimestampResult offset_for_timestamp(int64_t timestamp, int64_t limit_offset);
  /// The record with the largest timestamp (ListOffsets -3).
  TimestampResult max_timestamp();

  struct DeleteResult {
    int error = 0;
    int32_t segments = 0;
    int64_t bytes = 0;
  };
  /// Deletes what retention by time, size and log start allows. Readers finish undisturbed.
  DeleteResult delete_old_segments(int64_t now_ms);
  /// Moves the log start (DeleteRecords): 0, or OFFSET_OUT_OF_RANGE 1 above the high watermark.
  int16_t delete_records_to(int64_t offset);
  size_t expire_producers(int64_t now_ms);

  /// Cuts off every batch that reaches `offset` or beyond, with its index entries, epochs and
  /// producer state. 0, EBUSY while something is staged, or an errno; one that leaves the log
  /// half cut takes it offline.
  int truncate_to(int64_t offset);
  /// Empties the log: the next record gets `offset`. Errors as in `truncate_to`.
  int truncate_fully_and_start_at(int64_t offset);

  /// With `times` the segments' timestamps are looked up as well: a few bytes of each from the disk.
  CleaningState cleaning_state(bool times);
  /// Puts the cleaned segment that begins at the first of `bases`, and whose files are complete and
  /// on the disk under the suffix `.cleaned`, in the place of the segments of `bases`. 0; ESTALE when
  /// these are not what stands there, or something was cut off since `truncations`; or an errno. On
  /// any error the cleaned files are gone and the log is as it was, unless it is offline. What was
  /// replaced goes to `replaced`, for `discard`.
  int replace_segments(std::span<const int64_t> bases, uint64_t truncations,
                       ReplacedSegments* replaced);
  /// Any thread. Makes the replacement durable, then removes what was replaced. 0 or an errno.
  static int discard(const ReplacedSegments& replaced);

  /// What must reach the disk for `recovery_point` to move to `offset`.
  struct FlushJob {
    std::vector<SegmentRef> files;
    std::vector<std::string> indexes;
    std::string directory;  // Not empty: the folder itself is new.
    int64_t offset = 0;
    uint64_t truncations = 0;
  };
  FlushJob begin_flush();
  /// Any thread: 0 or an errno.
  static int run_flush(const FlushJob& job);
  /// Takes the outcome of `run_flush`. After an error nobody knows what is on the disk: the log
  /// goes offline.
  void finish_flush(const FlushJob& job, int error);

  /// Starts a new segment. 0, EBUSY while something is staged, or an errno.
  int roll(int64_t now_ms);
  /// Writes the producer state as of the log end. Errors as in `roll`.
  int take_producer_snapshot();
  /// Flushes, writes indexes and the producer snapshot. With `clean` the next open may trust them,
  /// but not after an error, which a log that is offline always gives.
  int close(bool clean);

 private:
  struct IndexEntry {
    int32_t relative_offset;
    int32_t position;
  };
  struct TimeEntry {
    int64_t timestamp;
    int32_t relative_offset;
  };
  /// Where a batch is that was appended lately.
  struct BatchPlace {
    int64_t base_offset;
    int64_t last_offset;
    int64_t position;
    int64_t size;
  };
  struct Segment {
    int64_t base_offset = 0;
    SegmentRef file;
    int64_t size = 0;
    std::atomic<bool> index_loaded{false};
    std::vector<IndexEntry> index;
    std::vector<TimeEntry> time_index;
    size_t index_saved = 0;  // Entries that are in the file.
    size_t time_index_saved = 0;
    /// The last batches: whoever reads along finds his place without looking into the file.
    std::vector<BatchPlace> recent;
    int64_t bytes_since_index = 0;
    int64_t max_timestamp = -1;
    int64_t max_timestamp_offset = -1;
    int64_t first_timestamp = -1;  // Of the first batch, -1 unknown.
    int64_t created_ms = 0;
    int64_t allocated = 0;
    int64_t next_step = 0;
    bool dirty = false;
  };
  struct StagedBatch {
    std::span<uint8_t> bytes;   // Empty for a duplicate.
    int64_t offset_before = 0;  // The log end that an undo restores.
    int64_t base_offset = 0;
    int64_t last_offset = 0;
    int64_t max_timestamp = -1;
    int32_t leader_epoch = -1;
    size_t producer_mark = 0;
    bool new_epoch = false;
    int64_t now_ms = 0;
  };

  PartitionLog(const LogOpenOptions& options);

  int64_t published(PublishedWord word) const;
  void publish(PublishedWord word, int64_t value);
  std::string path_of(int64_t base_offset, const char* suffix) const;
  int open_segment(int64_t base_offset, bool create, int64_t now_ms);
  int load_segments(RecoveryReport* report);
  int recover(const LogOpenOptions& options, RecoveryReport* report);
  int scan_segment(size_t index, RecoveryReport* report, bool* cut);
  int read_index(Segment& segment, const char* suffix) const;
  int rebuild_index(Segment& segment) const;
  int load_index(Segment& segment) const;
  int make_index(Segment& segment, const char* suffix) const;
  int adopt_cleaned(int64_t base_offset, int64_t end, std::shared_ptr<Segment>* adopted);
  void remove_cleaned(int64_t base_offset);
  int settle_replacement(std::span<const std::shared_ptr<Segment>> old, int64_t base_offset,
                         ReplacedSegments* replaced);
  int save_index(Segment& segment);
  int list_snapshots(std::vector<int64_t>* snapshots) const;
  int restore_producers();
  int cut_segment(Segment& segment, int64_t size);
  int start_at(int64_t offset);
  template <typename Visit>
  int for_each_header(int64_t from, const Visit& visit);
  int save_snapshot(int64_t offset, size_t producer_mark);
  int roll_at(int64_t base_offset, size_t producer_mark, int64_t now_ms);
  int read_first_timestamp(Segment& segment);
  void go_offline();
  void end_time_index(Segment& segment);
  int read_last_offset(Segment& segment, int64_t* next_offset);
  int drop_segment(size_t index);
  bool must_roll(const Segment& active, const StagedBatch& next, int64_t pending_bytes) const;
  int write_run(size_t first, size_t last);
  static void note_batch(Segment& segment, int64_t interval, int64_t position, int64_t size,
                         int64_t last_offset, int64_t max_timestamp);
  static void note_recent(Segment& segment, const BatchPlace& place);
  static const BatchPlace* find_recent(const Segment& segment, int64_t offset);
  void undo_from(size_t first);
  void advance_watermark();
  size_t segment_of(int64_t offset) const;
  enum class Lookup { kCached, kAnywhere };
  int64_t position_of(const Segment& segment, int64_t offset, Lookup lookup, bool* cold, int* error,
                      int64_t* batch_size) const;
  int64_t largest_timestamp(Segment& segment);
  StageResult refuse(int16_t error, int32_t record_index = -1) const;

  const std::string directory_;
  LogConfig config_;
  int64_t* const row_;
  int64_t next_offset_ = 0;  // With what is staged.
  int64_t recovery_point_ = 0;
  int32_t leader_epoch_ = 0;
  int32_t followers_ = 0;
  uint64_t truncations_ = 0;
  bool offline_ = false;
  bool closed_ = false;
  LeaderEpochCache epochs_;
  bool epochs_dirty_ = false;     // The file lacks something.
  bool epochs_synced_ = true;     // The file is on the disk as it is.
  bool directory_synced_ = true;  // The folder's own entries are on the disk.
  ProducerState producers_;
  std::vector<StagedBatch> staged_;
  std::vector<iovec> vectors_;

  // Guards what follows against `locate` of other threads; the owner reads without it.
  mutable std::shared_mutex mutex_;
  std::vector<std::shared_ptr<Segment>> segments_;
  int64_t committed_end_ = 0;  // Behind the last batch in them.
};

}  // namespace shardlog
