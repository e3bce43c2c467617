// What replication does to a log: append what a leader wrote, cut off what it did not.
#include <dirent.h>
#include <errno.h>

#include <algorithm>
#include <mutex>

#include "log_recovery.h"
#include "partition_log.h"

namespace shardlog {
namespace {

constexpr int16_t kOffsetOutOfRange = 1;
constexpr int16_t kCorruptMessage = 2;
constexpr int16_t kStorageError = 56;

}  // namespace

StageResult PartitionLog::stage_as_follower(std::span<uint8_t> records, int64_t now_ms) {
  if (offline_ || closed_) return refuse(kStorageError);
  StageResult result;
  result.log_start = log_start();
  int64_t expected = next_offset_;
  size_t whole = 0;
  while (whole < records.size()) {
    BatchHeader header;
    const BatchCheck check = check_batch(records.subspan(whole), &header);
    if (check == BatchCheck::kTruncated) break;  // A fetch may end in the middle of a batch.
    if (check != BatchCheck::kOk) return refuse(kCorruptMessage);
    if (header.base_offset < expected || header.last_offset() == INT64_MAX) {
      return refuse(kOffsetOutOfRange);
    }
    if (result.base_offset < 0) result.base_offset = header.base_offset;
    result.last_offset = header.last_offset();
    expected = header.last_offset() + 1;
    whole += static_cast<size_t>(header.size);
  }
  size_t batches = 0;
  for (size_t at = 0; at < whole;) {
    const BatchHeader header = read_batch_header(records.data() + at);
    StagedBatch batch;
    batch.bytes = records.subspan(at, static_cast<size_t>(header.size));
    batch.offset_before = next_offset_;
    batch.base_offset = header.base_offset;
    batch.last_offset = header.last_offset();
    batch.max_timestamp = header.max_timestamp;
    batch.leader_epoch = header.leader_epoch;
    batch.producer_mark = producers_.mark();
    batch.now_ms = now_ms;
    if (header.producer_id >= 0) producers_.stage(header, header.base_offset);
    staged_.push_back(batch);
    next_offset_ = batch.last_offset + 1;
    at += static_cast<size_t>(header.size);
    ++batches;
  }
  result.batches = batches;
  return result;
}

int PartitionLog::take_producer_snapshot() {
  if (offline_ || closed_) return EIO;
  if (!staged_.empty()) return EBUSY;
  return save_snapshot(next_offset_, producers_.mark());
}

/// Makes a segment end at `size`, a batch boundary, with its indexes. 0 or an errno.
int PartitionLog::cut_segment(Segment& segment, int64_t size) {
  {
    std::unique_lock lock(mutex_);
    // Before the file, so that no reader is sent behind its end.
    segment.size = segment.allocated = size;
    std::erase_if(segment.index, [size](const IndexEntry& item) { return item.position >= size; });
    std::erase_if(segment.recent, [size](const BatchPlace& item) { return item.position >= size; });
    const int32_t kept = segment.index.empty() ? -1 : segment.index.back().relative_offset;
    std::erase_if(segment.time_index,
                  [kept](const TimeEntry& item) { return item.relative_offset > kept; });
    segment.max_timestamp = segment.max_timestamp_offset = -1;
    if (!segment.time_index.empty()) {
      const TimeEntry& last = segment.time_index.back();
      segment.max_timestamp = last.timestamp;
      segment.max_timestamp_offset = segment.base_offset + last.relative_offset;
    }
    segment.bytes_since_index = size - (segment.index.empty() ? 0 : segment.index.back().position);
    // Written anew, whole, at the next roll or clean close.
    segment.index_saved = segment.time_index_saved = 0;
    if (size == 0) segment.first_timestamp = -1;
    segment.dirty = true;
  }
  int error = segment.file->truncate(size);
  for (const char* suffix : {".index", ".timeindex"}) {
    if (error == 0) error = remove_file(path_of(segment.base_offset, suffix));
  }
  int64_t end = 0;
  if (error == 0) error = read_last_offset(segment, &end);  // And the largest timestamp with it.
  if (error == 0) error = read_first_timestamp(segment);
  return error;
}

int PartitionLog::truncate_to(int64_t offset) {
  if (offline_ || closed_) return EIO;
  if (!staged_.empty()) return EBUSY;
  if (offset >= next_offset_) {
    // An epoch that was begun here and got no batch may contradict the leader's history.
    if (!epochs_.truncate_from_end(offset)) return 0;
    publish(kLastEpoch, epochs_.latest());
    return epochs_.save();
  }
  if (offset <= segments_.front()->base_offset) return start_at(offset);
  size_t last = segment_of(offset);
  // A segment that would be left empty at its very beginning is dropped with what follows it.
  if (segments_[last]->base_offset == offset) --last;
  Segment& segment = *segments_[last];
  int error = load_index(segment);
  bool cold = false;
  int64_t batch_size = 0;
  int64_t size = 0;
  int64_t end = offset;
  if (error == 0) {
    size = position_of(segment, offset, Lookup::kAnywhere, &cold, &error, &batch_size);
  }
  if (error == 0 && batch_size > 0) {
    uint8_t bytes[kBatchHeaderBytes];
    const int64_t n = segment.file->read_at(bytes, size);
    if (n == kBatchHeaderBytes) {
      end = std::min(offset, read_batch_header(bytes).base_offset);
    } else {
      error = n < 0 ? static_cast<int>(-n) : EIO;
    }
  }
  // Nothing has been changed so far.
  if (error != 0) return error;

  ++truncations_;
  next_offset_ = end;
  recovery_point_ = std::min(recovery_point_, end);
  publish(kHighWatermark, std::min(high_watermark(), end));
  publish(kLastStable, std::min(published(kLastStable), end));
  publish(kLogEnd, end);
  publish(kLogStart, std::min(log_start(), end));
  {
    std::unique_lock lock(mutex_);
    committed_end_ = end;
  }
  // From the end, so that a crash in between leaves a log without a hole.
  while (error == 0 && segments_.size() > last + 1) error = drop_segment(segments_.size() - 1);
  if (error == 0) error = cut_segment(segment, size);
  if (error == 0 && epochs_.truncate_from_end(end)) error = epochs_.save();
  publish(kLastEpoch, epochs_.latest());
  if (error == 0) error = restore_producers();
  if (error == 0) error = sync_directory(directory_);
  publish(kSizeBytes, size_bytes());
  if (error != 0) go_offline();
  return error;
}

int PartitionLog::truncate_fully_and_start_at(int64_t offset) {
  if (offline_ || closed_) return EIO;
  if (!staged_.empty()) return EBUSY;
  if (offset < 0) return EINVAL;
  return start_at(offset);
}

/// Empties the log, whatever state it is in. 0 or an errno, which takes it offline.
int PartitionLog::start_at(int64_t offset) {
  ++truncations_;
  next_offset_ = offset;
  recovery_point_ = std::min(recovery_point_, offset);
  publish(kLogStart, offset);
  publish(kLogEnd, offset);
  publish(kHighWatermark, offset);
  publish(kLastStable, offset);
  const int64_t now_ms = segments_.back()->created_ms;
  int error = 0;
  while (error == 0 && !segments_.empty()) error = drop_segment(segments_.size() - 1);
  epochs_.truncate_from_end(0);
  publish(kLastEpoch, epochs_.latest());
  if (error == 0) error = epochs_.save();
  // Nor may a snapshot survive: its producers wrote what is gone.
  producers_.clear();
  std::vector<int64_t> snapshots;
  if (error == 0) error = list_snapshots(&snapshots);
  for (size_t i = 0; i < snapshots.size() && error == 0; ++i) {
    error = remove_file(path_of(snapshots[i], ".snapshot"));
  }
  if (error == 0) error = open_segment(offset, true, now_ms);
  if (error == 0) error = sync_directory(directory_);
  {
    std::unique_lock lock(mutex_);
    committed_end_ = offset;
  }
  publish(kSizeBytes, size_bytes());
  if (error != 0) go_offline();
  return error;
}

}  // namespace shardlog
