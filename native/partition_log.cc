#include "partition_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "big_endian.h"
#include "crc32c.h"
#include "log_recovery.h"

namespace shardlog {
namespace {

constexpr int16_t kOffsetOutOfRange = 1;
constexpr int16_t kCorruptMessage = 2;
constexpr int16_t kNotLeaderOrFollower = 6;
constexpr int16_t kMessageTooLarge = 10;
constexpr int16_t kInvalidTimestamp = 32;
constexpr int16_t kTransactionalIdAuthorizationFailed = 53;
constexpr int16_t kStorageError = 56;
constexpr int16_t kInvalidRecord = 87;

constexpr size_t kIndexEntryBytes = 8;
constexpr size_t kTimeEntryBytes = 12;
constexpr int64_t kFirstStep = 64 << 10;
constexpr int64_t kLargestStep = 16 << 20;
constexpr size_t kScanBytes = 1 << 20;
constexpr size_t kLookupBytes = 8 << 10;
// A longer segment without index entries has its batches looked at.
constexpr int64_t kUnindexedBytes = 16 << 10;
constexpr int64_t kDefaultIndexInterval = 4096;
constexpr size_t kRecentBatches = 8;
// What was appended last is in the page cache: not worth a probe.
constexpr int64_t kHotTailBytes = 8 << 20;
constexpr int64_t kProbeEveryBytes = 128 << 10;
// A region whose first batch could not be looked at without the disk holds at least this much.
constexpr int64_t kColdBytesMin = 1 << 20;

bool is_cached(const SegmentFile& file, int64_t position, int64_t length) {
  uint8_t byte;
  const int64_t last = position + length - 1;
  for (int64_t at = position;; at = std::min(last, at + kProbeEveryBytes)) {
    if (file.read_cached({&byte, 1}, at) == -EAGAIN) return false;
    if (at == last) return true;
    if (length <= 2 * kProbeEveryBytes) at = std::max(at, last - kProbeEveryBytes);
  }
}

/// Whether a header from the disk can be a batch of a segment with `left` bytes from its place on.
bool plausible(const BatchHeader& header, int64_t left) {
  return header.magic == 2 && header.size >= kBatchHeaderBytes && header.size <= left &&
         header.base_offset >= 0 && header.last_offset_delta >= 0 &&
         header.base_offset < INT64_MAX - header.last_offset_delta;
}

/// Checks the batches of a file one after the other, in a buffer of fixed size: a length that the
/// file announces costs nothing.
class BatchReader {
 public:
  BatchReader(const SegmentFile& file, int64_t size)
      : file_(file), size_(size), buffer_(kScanBytes) {}

  /// The batch at `position`: 0 with what `check_batch` would say of it, or an errno.
  [[nodiscard]] int read(int64_t position, BatchHeader* header, BatchCheck* check) {
    int error = fill(position, std::min(kBatchHeaderBytes, size_ - position));
    if (error != 0) return error;
    *check = check_batch(window(position), header);
    const bool has_header = header->magic == 2 && size_ - position >= kBatchHeaderBytes;
    if (*check != BatchCheck::kTruncated || !has_header || header->size > size_ - position) {
      return 0;
    }
    if (header->size > static_cast<int64_t>(buffer_.size())) {
      return read_in_pieces(position, *header, check);
    }
    error = fill(position, header->size);
    if (error == 0) *check = check_batch(window(position), header);
    return error;
  }

 private:
  std::span<const uint8_t> window(int64_t position) const {
    return std::span(buffer_).subspan(static_cast<size_t>(position - begin_),
                                      static_cast<size_t>(end_ - position));
  }

  /// Makes [position, position + wanted) part of the window, and more behind it if it can.
  [[nodiscard]] int fill(int64_t position, int64_t wanted) {
    if (position >= begin_ && position + wanted <= end_) return 0;
    const int64_t n = file_.read_at(buffer_, position);
    if (n < 0) return static_cast<int>(-n);
    if (n < wanted) return EIO;  // The file is shorter than it was when it was opened.
    begin_ = position;
    end_ = position + std::min(n, size_ - position);
    return 0;
  }

  [[nodiscard]] int read_in_pieces(int64_t position, const BatchHeader& header, BatchCheck* check) {
    uint32_t crc = 0;
    const int64_t end = position + header.size;
    for (int64_t at = position + kBatchChecksummedAt; at < end;) {
      const int64_t piece = std::min(end - at, static_cast<int64_t>(buffer_.size()));
      const int error = fill(at, piece);
      if (error != 0) return error;
      crc = crc32c(crc, window(at).first(static_cast<size_t>(piece)));
      at += piece;
    }
    *check = crc != header.crc                ? BatchCheck::kBadCrc
             : plausible(header, header.size) ? BatchCheck::kOk
                                              : BatchCheck::kBadHeader;
    return 0;
  }

  const SegmentFile& file_;
  const int64_t size_;
  std::vector<uint8_t> buffer_;
  int64_t begin_ = 0;
  int64_t end_ = 0;
};

int read_whole_file(const std::string& path, std::vector<uint8_t>* out) {
  const auto opened = SegmentFile::open(path, false);
  if (opened.error != 0) return opened.error;
  out->resize(static_cast<size_t>(opened.size));
  const int64_t n = opened.file->read_at(*out, 0);
  if (n < 0) return static_cast<int>(-n);
  out->resize(static_cast<size_t>(n));
  return 0;
}

}  // namespace

// --- Opening

PartitionLog::PartitionLog(const LogOpenOptions& options)
    : directory_(options.directory),
      config_(options.config),
      row_(options.row),
      epochs_(options.directory + "/leader-epoch-checkpoint") {}

PartitionLog::~PartitionLog() {
  if (!closed_) static_cast<void>(close(false));
}

int64_t PartitionLog::published(PublishedWord word) const {
  return std::atomic_ref(row_[word]).load();
}

void PartitionLog::publish(PublishedWord word, int64_t value) {
  std::atomic_ref(row_[word]).store(value);
}

std::string PartitionLog::path_of(int64_t base_offset, const char* suffix) const {
  char name[32];
  std::snprintf(name, sizeof name, "/%020lld", static_cast<long long>(base_offset));
  return directory_ + name + suffix;
}

PartitionLog::OpenResult PartitionLog::open(const LogOpenOptions& options) {
  OpenResult result;
  if (::mkdir(options.directory.c_str(), 0755) != 0 && errno != EEXIST) {
    result.error = errno;
    result.what = "mkdir " + options.directory;
    return result;
  }
  std::shared_ptr<PartitionLog> log(new PartitionLog(options));
  log->closed_ = true;  // Until it is whole, its destructor leaves the files alone.
  result.error = log->recover(options, &result.report);
  if (result.error != 0) {
    result.what = "open " + options.directory;
    return result;
  }
  log->closed_ = false;
  result.log = std::move(log);
  return result;
}

int PartitionLog::open_segment(int64_t base_offset, bool create, int64_t now_ms) {
  auto opened = SegmentFile::open(path_of(base_offset, ".log"), create);
  if (opened.error != 0) return opened.error;
  if (create && opened.size > 0) {
    // Left by a deletion that failed half-way.
    const int error = opened.file->truncate(0);
    if (error != 0) return error;
    opened.size = 0;
  }
  auto segment = std::make_shared<Segment>();
  segment->base_offset = base_offset;
  segment->file = opened.file;
  segment->size = segment->allocated = opened.size;
  segment->next_step = kFirstStep;
  segment->created_ms = now_ms;
  segment->index_loaded = create;
  std::unique_lock lock(mutex_);
  segments_.push_back(std::move(segment));
  return 0;
}

int PartitionLog::load_segments(RecoveryReport* report) {
  if (const int error = finish_interrupted_changes(directory_); error != 0) return error;
  DIR* directory = ::opendir(directory_.c_str());
  if (directory == nullptr) return errno;
  std::vector<int64_t> bases;
  std::vector<int64_t> indexes;
  while (const dirent* entry = ::readdir(directory)) {
    int64_t base = 0;
    if (parse_base_offset(entry->d_name, ".log", &base)) bases.push_back(base);
    if (parse_base_offset(entry->d_name, ".index", &base) ||
        parse_base_offset(entry->d_name, ".timeindex", &base) ||
        parse_base_offset(entry->d_name, ".txnindex", &base)) {
      indexes.push_back(base);
    }
  }
  ::closedir(directory);
  std::sort(bases.begin(), bases.end());
  for (const int64_t base : indexes) {
    if (std::binary_search(bases.begin(), bases.end(), base)) continue;
    for (const char* suffix : {".index", ".timeindex", ".txnindex"}) {
      if (const int error = remove_file(path_of(base, suffix)); error != 0) return error;
    }
  }
  for (const int64_t base : bases) {
    const int error = open_segment(base, false, 0);
    if (error != 0) {
      report->reason = "cannot open segment " + std::to_string(base);
      return error;
    }
  }
  return 0;
}

int PartitionLog::recover(const LogOpenOptions& options, RecoveryReport* report) {
  int error = load_segments(report);
  if (error != 0) return error;
  error = epochs_.load();
  const bool epochs_damaged = error == EBADMSG;
  if (error != 0 && !epochs_damaged) return error;
  if (segments_.empty()) {
    error = open_segment(std::max<int64_t>(options.log_start, 0), true, options.now_ms);
    if (error != 0) return error;
    // A thousand logs may be made at once; they are on the disk with what is flushed first.
    directory_synced_ = false;
  }
  int64_t recovery_point = std::max(options.recovery_point, segments_.front()->base_offset);
  if (!options.clean_shutdown) {
    size_t first = 0;
    for (size_t i = 0; i < segments_.size(); ++i) {
      if (segments_[i]->base_offset <= recovery_point) first = i;
    }
    for (size_t i = first; i < segments_.size(); ++i) {
      bool cut = false;
      error = scan_segment(i, report, &cut);
      if (error != 0) return error;
      if (!cut) continue;
      // Everything behind a cut hangs in the air.
      while (segments_.size() > i + 1) {
        report->bytes_truncated += segments_.back()->size;
        error = drop_segment(segments_.size() - 1);
        if (error != 0) return error;
      }
    }
  }
  for (auto& segment : segments_) segment->created_ms = options.now_ms;
  Segment& active = *segments_.back();
  error = load_index(active);
  if (error == 0) error = read_last_offset(active, &next_offset_);
  if (error == EBADMSG) {
    // What a clean stop left is trusted, but not against the evidence.
    bool cut = false;
    error = scan_segment(segments_.size() - 1, report, &cut);
    if (error == 0) error = read_last_offset(active, &next_offset_);
  }
  if (error == 0) error = read_first_timestamp(active);
  if (error != 0) return error;
  recovery_point_ = options.clean_shutdown ? next_offset_ : std::min(recovery_point, next_offset_);
  if (options.log_start > next_offset_) {
    // Records were deleted on request, and a crash took what came before the end: offsets below
    // the start must not be given out again.
    for (const auto& segment : segments_) report->bytes_truncated += segment->size;
    report->reason = "the log ended at offset " + std::to_string(next_offset_) +
                     ", below its start " + std::to_string(options.log_start);
    publish(kOffline, 0);
    return start_at(options.log_start);
  }
  committed_end_ = next_offset_;
  const int64_t log_start = std::max(options.log_start, segments_.front()->base_offset);
  if (epochs_damaged) {
    // Derived from the log: every batch has its epoch.
    epochs_ = LeaderEpochCache(directory_ + "/leader-epoch-checkpoint");
    error = for_each_header(0, [this](const BatchHeader& header) {
      epochs_.assign(header.leader_epoch, header.base_offset);
    });
    epochs_.truncate_from_start(log_start);
    if (error == 0) error = epochs_.save();
    if (error != 0) return error;
  }
  if (epochs_.truncate_from_end(next_offset_ + 1)) {
    error = epochs_.save();
    if (error != 0) return error;
  }
  error = restore_producers();
  if (error != 0) return error;
  publish(kLastEpoch, epochs_.latest());
  publish(kLogStart, log_start);
  publish(kLogEnd, next_offset_);
  publish(kHighWatermark, std::clamp(options.high_watermark, log_start, next_offset_));
  publish(kLastStable, published(kHighWatermark));
  publish(kOffline, 0);
  publish(kSizeBytes, size_bytes());
  return 0;
}

/// Walks a segment from its start, rebuilds its indexes, and cuts it at the first bad batch.
int PartitionLog::scan_segment(size_t index, RecoveryReport* report, bool* cut) {
  Segment& segment = *segments_[index];
  report->segments_scanned += 1;
  report->indexes_rebuilt += 1;
  segment.index.clear();
  segment.time_index.clear();
  segment.index_saved = segment.time_index_saved = 0;
  segment.bytes_since_index = 0;
  segment.max_timestamp = segment.max_timestamp_offset = segment.first_timestamp = -1;
  segment.index_loaded = true;
  for (const char* suffix : {".index", ".timeindex"}) {
    if (const int error = remove_file(path_of(segment.base_offset, suffix)); error != 0) {
      return error;
    }
  }
  const int64_t limit =
      index + 1 < segments_.size() ? segments_[index + 1]->base_offset : INT64_MAX;
  BatchReader reader(*segment.file, segment.size);
  int64_t position = 0;
  int64_t expected = segment.base_offset;
  const char* why = nullptr;
  while (position < segment.size) {
    BatchHeader header;
    BatchCheck check = BatchCheck::kOk;
    const int error = reader.read(position, &header, &check);
    if (error != 0) return error;
    if (check == BatchCheck::kOk &&
        (header.base_offset < expected || header.last_offset() >= limit ||
         header.last_offset() - segment.base_offset > INT32_MAX)) {
      check = BatchCheck::kBadHeader;
    }
    if (check == BatchCheck::kBadMagic) {
      bool old = false;
      const int failed = find_old_message(*segment.file, position, segment.size - position, &old);
      if (failed != 0) return failed;
      if (old) {
        // Sound records, if not for this log to read, are not a tail to cut off.
        report->reason =
            "messages of format 0 or 1 in segment " + std::to_string(segment.base_offset);
        return ENOTSUP;
      }
    }
    if (check != BatchCheck::kOk) {
      why = check == BatchCheck::kTruncated   ? "an incomplete batch"
            : check == BatchCheck::kBadCrc    ? "a batch with a wrong CRC"
            : check == BatchCheck::kBadMagic  ? "a batch of an unknown format"
            : check == BatchCheck::kBadLength ? "a batch with an impossible length"
                                              : "a batch with impossible offsets";
      break;
    }
    note_batch(segment, config_.index_interval_bytes, position, header.size, header.last_offset(),
               header.max_timestamp);
    if (epochs_.assign(header.leader_epoch, header.base_offset)) epochs_dirty_ = true;
    expected = header.last_offset() + 1;
    position += header.size;
  }
  *cut = why != nullptr;
  if (why != nullptr) {
    report->bytes_truncated += segment.size - position;
    report->reason = std::string(why) + " at position " + std::to_string(position) +
                     " of segment " + std::to_string(segment.base_offset);
    const int error = segment.file->truncate(position);
    if (error != 0) return error;
    segment.size = segment.allocated = position;
  }
  segment.dirty = true;
  if (epochs_dirty_) {
    const int error = epochs_.save();
    if (error != 0) return error;
    epochs_dirty_ = false;
  }
  if (index + 1 < segments_.size()) end_time_index(segment);
  return save_index(segment);
}

/// Reads the index files, which may have a suffix, into `segment`, which nobody shares. EBADMSG when
/// they do not fit it.
int PartitionLog::read_index(Segment& segment, const char* suffix) const {
  std::vector<uint8_t> bytes;
  int error = read_whole_file(path_of(segment.base_offset, ".index") + suffix, &bytes);
  if (error == ENOENT) {
    // Written at the first entry: a short segment has none.
    if (segment.size > kUnindexedBytes) return EBADMSG;
    error = 0;
  }
  if (error != 0) return error;
  std::vector<IndexEntry> index;
  for (size_t at = 0; at + kIndexEntryBytes <= bytes.size(); at += kIndexEntryBytes) {
    const IndexEntry entry{load_be<int32_t>(bytes.data() + at),
                           load_be<int32_t>(bytes.data() + at + 4)};
    const bool first = index.empty();
    // Zeros behind the last entry: the file of a broker that was killed is longer than its content.
    if (!first && entry.relative_offset == 0) break;
    if (first && entry.relative_offset == 0 && entry.position == 0) break;
    if (entry.relative_offset < 0 || entry.position < 0 || entry.position >= segment.size ||
        (!first && (entry.relative_offset <= index.back().relative_offset ||
                    entry.position <= index.back().position))) {
      return EBADMSG;
    }
    index.push_back(entry);
  }
  bytes.clear();
  error = read_whole_file(path_of(segment.base_offset, ".timeindex") + suffix, &bytes);
  if (error != 0 && error != ENOENT) return error;
  std::vector<TimeEntry> times;
  bool damaged = bytes.size() % kTimeEntryBytes != 0;
  for (size_t at = 0; at + kTimeEntryBytes <= bytes.size() && !damaged; at += kTimeEntryBytes) {
    const TimeEntry entry{load_be<int64_t>(bytes.data() + at),
                          load_be<int32_t>(bytes.data() + at + 8)};
    if (entry.timestamp == 0 && entry.relative_offset == 0) break;
    damaged = entry.timestamp < 0 || entry.relative_offset < 0 ||
              (!times.empty() && (entry.timestamp < times.back().timestamp ||
                                  entry.relative_offset < times.back().relative_offset));
    times.push_back(entry);
  }
  if (damaged) return EBADMSG;
  if (!index.empty()) {
    // The last entry stands for all: it fits its batch, and had a time to go with it or not.
    uint8_t header_bytes[kBatchHeaderBytes];
    const int64_t at = index.back().position;
    const int64_t n = segment.file->read_at(header_bytes, at);
    if (n < 0) return static_cast<int>(-n);
    if (n < kBatchHeaderBytes) return EBADMSG;
    const BatchHeader header = read_batch_header(header_bytes);
    if (!plausible(header, segment.size - at) ||
        header.last_offset() - segment.base_offset != index.back().relative_offset ||
        (times.empty() && header.max_timestamp >= 0)) {
      return EBADMSG;
    }
  }
  segment.index = std::move(index);
  segment.time_index = std::move(times);
  segment.index_saved = segment.index.size();
  segment.time_index_saved = segment.time_index.size();
  if (!segment.time_index.empty()) {
    segment.max_timestamp = segment.time_index.back().timestamp;
    segment.max_timestamp_offset = segment.base_offset + segment.time_index.back().relative_offset;
  }
  return 0;
}

/// Makes the indexes of `segment`, which nobody shares, from its batches. EBADMSG when these are
/// damaged as well.
int PartitionLog::rebuild_index(Segment& segment) const {
  uint8_t buffer[kLookupBytes];
  for (int64_t position = 0; position < segment.size;) {
    const int64_t n = segment.file->read_at(buffer, position);
    if (n < 0) return static_cast<int>(-n);
    if (n < kBatchHeaderBytes) return EBADMSG;
    int64_t at = 0;
    while (at + kBatchHeaderBytes <= n && position + at < segment.size) {
      const BatchHeader header = read_batch_header(buffer + at);
      if (!plausible(header, segment.size - position - at) ||
          header.base_offset < segment.base_offset ||
          header.last_offset() - segment.base_offset > INT32_MAX) {
        return EBADMSG;
      }
      note_batch(segment, kDefaultIndexInterval, position + at, header.size, header.last_offset(),
                 header.max_timestamp);
      at += header.size;
    }
    position += at;
  }
  return 0;
}

/// Takes the indexes of `segment`, which nobody shares, from its files, whose names may have a
/// suffix, or makes them anew. EBADMSG when that is impossible, too.
int PartitionLog::make_index(Segment& segment, const char* suffix) const {
  int error = read_index(segment, suffix);
  if (error != EBADMSG) return error;
  error = rebuild_index(segment);
  if (error == 0 && segment.max_timestamp >= 0 &&
      (segment.time_index.empty() || segment.time_index.back().timestamp < segment.max_timestamp)) {
    segment.time_index.push_back(
        {segment.max_timestamp,
         static_cast<int32_t>(segment.max_timestamp_offset - segment.base_offset)});
  }
  return error;
}

/// Any thread. Indexes that are missing or do not fit are made anew in memory; EBADMSG when that
/// is impossible, too.
int PartitionLog::load_index(Segment& segment) const {
  if (segment.index_loaded) return 0;
  Segment loaded;
  {
    std::shared_lock lock(mutex_);
    loaded.base_offset = segment.base_offset;
    loaded.file = segment.file;
    loaded.size = segment.size;
  }
  if (const int error = make_index(loaded, ""); error != 0) return error;
  std::unique_lock lock(mutex_);
  if (segment.index_loaded) return 0;  // Another thread was first.
  segment.index = std::move(loaded.index);
  segment.time_index = std::move(loaded.time_index);
  segment.index_saved = loaded.index_saved;
  segment.time_index_saved = loaded.time_index_saved;
  segment.max_timestamp = loaded.max_timestamp;
  segment.max_timestamp_offset = loaded.max_timestamp_offset;
  segment.index_loaded = true;
  return 0;
}

int PartitionLog::save_index(Segment& segment) {
  const auto append = [](const std::string& path, size_t first_byte,
                         std::vector<uint8_t>& bytes) -> int {
    if (bytes.empty()) return 0;
    const auto opened = SegmentFile::open(path, true);
    if (opened.error != 0) return opened.error;
    iovec vector{bytes.data(), bytes.size()};
    const int error = opened.file->write_at({&vector, 1}, static_cast<int64_t>(first_byte));
    if (error != 0) return error;
    return opened.file->truncate(static_cast<int64_t>(first_byte + bytes.size()));
  };
  std::vector<uint8_t> bytes;
  for (size_t i = segment.index_saved; i < segment.index.size(); ++i) {
    bytes.resize(bytes.size() + kIndexEntryBytes);
    uint8_t* at = bytes.data() + bytes.size() - kIndexEntryBytes;
    store_be<int32_t>(at, segment.index[i].relative_offset);
    store_be<int32_t>(at + 4, segment.index[i].position);
  }
  int error =
      append(path_of(segment.base_offset, ".index"), segment.index_saved * kIndexEntryBytes, bytes);
  if (error != 0) return error;
  segment.index_saved = segment.index.size();
  bytes.clear();
  for (size_t i = segment.time_index_saved; i < segment.time_index.size(); ++i) {
    bytes.resize(bytes.size() + kTimeEntryBytes);
    uint8_t* at = bytes.data() + bytes.size() - kTimeEntryBytes;
    store_be<int64_t>(at, segment.time_index[i].timestamp);
    store_be<int32_t>(at + 8, segment.time_index[i].relative_offset);
  }
  error = append(path_of(segment.base_offset, ".timeindex"),
                 segment.time_index_saved * kTimeEntryBytes, bytes);
  if (error != 0) return error;
  segment.time_index_saved = segment.time_index.size();
  return 0;
}

/// Finds the offset behind the last batch, from the last index entry on. EBADMSG when index and
/// batches contradict each other or the last batch is not whole.
int PartitionLog::read_last_offset(Segment& segment, int64_t* next_offset) {
  int64_t next = segment.base_offset;
  int64_t position = segment.index.empty() ? 0 : segment.index.back().position;
  bool at_entry = !segment.index.empty();
  uint8_t bytes[kBatchHeaderBytes];
  while (position < segment.size) {
    const int64_t n = segment.file->read_at(bytes, position);
    if (n < 0) return static_cast<int>(-n);
    if (n < kBatchHeaderBytes) return EBADMSG;
    const BatchHeader header = read_batch_header(bytes);
    if (!plausible(header, segment.size - position) || header.base_offset < next) return EBADMSG;
    if (at_entry &&
        header.last_offset() - segment.base_offset != segment.index.back().relative_offset) {
      return EBADMSG;
    }
    at_entry = false;
    next = header.last_offset() + 1;
    if (header.max_timestamp > segment.max_timestamp) {
      segment.max_timestamp = header.max_timestamp;
      segment.max_timestamp_offset = header.last_offset();
    }
    position += header.size;
  }
  *next_offset = next;
  return 0;
}

/// Reads what the roll by time goes by: the time of the first batch.
int PartitionLog::read_first_timestamp(Segment& segment) {
  if (segment.first_timestamp >= 0 || segment.size == 0) return 0;
  uint8_t bytes[kBatchHeaderBytes];
  const int64_t n = segment.file->read_at(bytes, 0);
  if (n < kBatchHeaderBytes) return n < 0 ? static_cast<int>(-n) : EBADMSG;
  segment.first_timestamp = read_batch_header(bytes).max_timestamp;
  return 0;
}

/// The offsets of the producer snapshots in the folder, ascending.
int PartitionLog::list_snapshots(std::vector<int64_t>* snapshots) const {
  DIR* directory = ::opendir(directory_.c_str());
  if (directory == nullptr) return errno;
  while (const dirent* entry = ::readdir(directory)) {
    int64_t offset = 0;
    if (parse_base_offset(entry->d_name, ".snapshot", &offset)) snapshots->push_back(offset);
  }
  ::closedir(directory);
  std::sort(snapshots->begin(), snapshots->end());
  return 0;
}

/// The producers as of the log end: from the newest sound snapshot and the batches behind it.
int PartitionLog::restore_producers() {
  producers_.clear();
  std::vector<int64_t> snapshots;
  if (const int error = list_snapshots(&snapshots); error != 0) return error;
  int64_t from = segments_.front()->base_offset;
  while (!snapshots.empty()) {
    const int64_t offset = snapshots.back();
    snapshots.pop_back();
    std::vector<uint8_t> bytes;
    if (offset <= next_offset_ && read_whole_file(path_of(offset, ".snapshot"), &bytes) == 0 &&
        producers_.decode(bytes)) {
      from = offset;
      break;
    }
    // Of a tail that was cut, or damaged: of no use to anybody.
    if (const int error = remove_file(path_of(offset, ".snapshot")); error != 0) return error;
  }
  // Each clean close leaves one; those of segments are kept for a cut that may come.
  for (const int64_t offset : snapshots) {
    if (segments_[segment_of(offset)]->base_offset == offset) continue;
    if (const int error = remove_file(path_of(offset, ".snapshot")); error != 0) return error;
  }
  if (from >= next_offset_) return 0;
  return for_each_header(from, [this](const BatchHeader& header) { producers_.replay(header); });
}

/// Visits the headers of the batches from offset `from` on. 0 or an errno.
template <typename Visit>
int PartitionLog::for_each_header(int64_t from, const Visit& visit) {
  uint8_t bytes[kBatchHeaderBytes];
  for (size_t i = segment_of(from); i < segments_.size(); ++i) {
    Segment& segment = *segments_[i];
    for (int64_t position = 0; position < segment.size;) {
      const int64_t n = segment.file->read_at(bytes, position);
      if (n < 0) return static_cast<int>(-n);
      if (n < kBatchHeaderBytes) break;
      const BatchHeader header = read_batch_header(bytes);
      if (!plausible(header, segment.size - position)) break;
      if (header.base_offset >= from) visit(header);
      position += header.size;
    }
  }
  return 0;
}

int PartitionLog::save_snapshot(int64_t offset, size_t producer_mark) {
  return replace_file(path_of(offset, ".snapshot"), producers_.encode(producer_mark));
}

// --- Appending

StageResult PartitionLog::refuse(int16_t error, int32_t record_index) const {
  StageResult result;
  result.error = error;
  result.record_index = record_index;
  result.log_start = log_start();
  return result;
}

StageResult PartitionLog::stage(std::span<uint8_t> records, const StageOptions& options) {
  if (offline_ || closed_) return refuse(kStorageError);
  if (options.leader_epoch >= 0 && options.leader_epoch != leader_epoch_) {
    return refuse(kNotLeaderOrFollower);
  }
  if (records.size() < 17) return refuse(kInvalidRecord);
  if (!options.validated && records[16] < 2) {
    StageResult slow;
    slow.needs_slow_lane = true;
    return slow;
  }
  BatchHeader header;
  switch (check_batch(records, &header)) {
    case BatchCheck::kOk:
      break;
    case BatchCheck::kTruncated:
      return refuse(kInvalidRecord);
    case BatchCheck::kBadHeader:
      return refuse(kInvalidRecord);
    default:
      return refuse(kCorruptMessage);
  }
  if (static_cast<size_t>(header.size) != records.size()) return refuse(kInvalidRecord);
  if (header.size > config_.message_max_bytes) return refuse(kMessageTooLarge);
  if (header.base_offset != 0 || header.record_count == 0 ||
      header.last_offset_delta != header.record_count - 1 || header.compression() > 4 ||
      (header.is_control() && !options.from_coordinator)) {
    return refuse(kInvalidRecord);
  }
  if (header.is_transactional() && !options.from_coordinator)
    return refuse(kTransactionalIdAuthorizationFailed);
  if (header.producer_id >= 0 && !header.is_control() &&
      (header.base_sequence < 0 || header.producer_epoch < 0)) {
    return refuse(kInvalidRecord);
  }
  const bool recompress = config_.compression >= 0 && config_.compression != header.compression();
  // What a producer says of append time is refused or taken back there, as in Apache Kafka.
  const bool says_append_time = header.is_log_append_time() && !options.from_coordinator;
  if (!options.validated && (header.compression() != 0 || recompress || says_append_time)) {
    StageResult slow;
    slow.needs_slow_lane = true;
    return slow;
  }
  int64_t max_timestamp = header.max_timestamp;
  if (header.compression() == 0 && !options.validated) {
    RecordRules rules;
    rules.key_required = config_.compacted;
    if (!config_.log_append_time) {
      if (__builtin_sub_overflow(options.now_ms, config_.timestamp_before_max_ms,
                                 &rules.timestamp_min)) {
        rules.timestamp_min = INT64_MIN;
      }
      if (__builtin_add_overflow(options.now_ms, config_.timestamp_after_max_ms,
                                 &rules.timestamp_max)) {
        rules.timestamp_max = INT64_MAX;
      }
    }
    const RecordCheck check = check_records(records, header, rules);
    if (check.kind == RecordCheck::Kind::kBadTimestamp) {
      return refuse(kInvalidTimestamp, check.index);
    }
    if (check.kind != RecordCheck::Kind::kOk) return refuse(kInvalidRecord, check.index);
    max_timestamp = check.max_timestamp;
  }

  StageResult result;
  result.log_start = log_start();
  if (header.producer_id >= 0 && !header.is_control()) {
    const ProducerState::Check producer = producers_.check(header);
    if (producer.error != 0) return refuse(producer.error);
    if (producer.duplicate) {
      result.duplicate = true;
      result.base_offset = producer.base_offset;
      result.last_offset = producer.last_offset;
      StagedBatch duplicate;
      duplicate.offset_before = next_offset_;
      duplicate.producer_mark = producers_.mark();
      staged_.push_back(duplicate);
      return result;
    }
  }
  if (config_.log_append_time) {
    stamp_append_time(records, options.now_ms);
    max_timestamp = options.now_ms;
    result.append_time_ms = options.now_ms;
  } else if (max_timestamp != header.max_timestamp) {
    stamp_max_timestamp(records, max_timestamp);
  }
  const int32_t epoch = std::max(leader_epoch_, 0);
  stamp_batch(records.data(), next_offset_, epoch);

  StagedBatch batch;
  batch.bytes = records;
  batch.offset_before = batch.base_offset = next_offset_;
  batch.last_offset = next_offset_ + header.last_offset_delta;
  batch.max_timestamp = max_timestamp;
  batch.leader_epoch = epoch;
  batch.producer_mark = producers_.mark();
  batch.now_ms = options.now_ms;
  if (header.producer_id >= 0) {
    header.max_timestamp = max_timestamp;
    producers_.stage(header, next_offset_);
  }
  staged_.push_back(batch);
  result.base_offset = batch.base_offset;
  result.last_offset = batch.last_offset;
  next_offset_ = batch.last_offset + 1;
  return result;
}

bool PartitionLog::must_roll(const Segment& active, const StagedBatch& next,
                             int64_t pending_bytes) const {
  const int64_t size = active.size + pending_bytes;
  if (size == 0) return false;
  if (size + static_cast<int64_t>(next.bytes.size()) > config_.segment_bytes) return true;
  if (next.last_offset - active.base_offset > INT32_MAX) return true;
  if ((active.index.size() + 1) * kIndexEntryBytes >
          static_cast<size_t>(config_.segment_index_bytes) ||
      (active.time_index.size() + 1) * kTimeEntryBytes >
          static_cast<size_t>(config_.segment_index_bytes)) {
    return true;
  }
  // As Kafka: by the records' own time when they have one, else by the age of the segment.
  const bool by_records = active.first_timestamp >= 0 && next.max_timestamp >= 0;
  const int64_t waited =
      by_records ? next.max_timestamp - active.first_timestamp : next.now_ms - active.created_ms;
  return waited > config_.segment_ms - config_.segment_jitter_ms;
}

void PartitionLog::note_batch(Segment& segment, int64_t interval, int64_t position, int64_t size,
                              int64_t last_offset, int64_t max_timestamp) {
  if (segment.first_timestamp < 0) segment.first_timestamp = max_timestamp;
  if (max_timestamp > segment.max_timestamp) {
    segment.max_timestamp = max_timestamp;
    segment.max_timestamp_offset = last_offset;
  }
  if (segment.bytes_since_index > interval) {
    segment.index.push_back(
        {static_cast<int32_t>(last_offset - segment.base_offset), static_cast<int32_t>(position)});
    const auto relative = static_cast<int32_t>(segment.max_timestamp_offset - segment.base_offset);
    if (segment.max_timestamp >= 0 &&
        (segment.time_index.empty() ||
         segment.max_timestamp > segment.time_index.back().timestamp)) {
      segment.time_index.push_back({segment.max_timestamp, relative});
    }
    segment.bytes_since_index = 0;
  }
  segment.bytes_since_index += size;
}

void PartitionLog::note_recent(Segment& segment, const BatchPlace& place) {
  std::vector<BatchPlace>& recent = segment.recent;
  if (recent.size() == kRecentBatches) recent.erase(recent.begin());
  recent.push_back(place);
}

/// The batch that holds `offset`, or the first behind it, if it is surely one of the last.
const PartitionLog::BatchPlace* PartitionLog::find_recent(const Segment& segment, int64_t offset) {
  const std::vector<BatchPlace>& recent = segment.recent;
  if (recent.empty() || offset < recent.front().base_offset) return nullptr;
  for (const BatchPlace& place : recent) {
    if (place.last_offset >= offset) return &place;
  }
  return nullptr;
}

/// Writes the staged batches [first, last) to the active segment. 0 or an errno.
int PartitionLog::write_run(size_t first, size_t last) {
  Segment& active = *segments_.back();
  vectors_.clear();
  int64_t bytes = 0;
  for (size_t i = first; i < last; ++i) {
    if (staged_[i].bytes.empty()) continue;
    vectors_.push_back({staged_[i].bytes.data(), staged_[i].bytes.size()});
    bytes += static_cast<int64_t>(staged_[i].bytes.size());
  }
  if (vectors_.empty()) return 0;
  if (active.size + bytes > active.allocated) {
    const int64_t end =
        std::max(active.size + bytes + active.next_step, active.allocated + active.next_step);
    active.file->preallocate(active.allocated,
                             std::min(end, std::max(config_.segment_bytes, active.size + bytes)));
    active.allocated = end;
    active.next_step = std::min(active.next_step * 2, kLargestStep);
  }
  const int error = active.file->write_at(vectors_, active.size);
  if (error != 0) {
    if (active.file->truncate(active.size) != 0) {
      // What the file holds behind the committed end is unknown now.
      // Closing tries once more.
      active.allocated = active.size + bytes;
      go_offline();
    } else {
      active.allocated = active.size;
    }
    return error;
  }
  std::unique_lock lock(mutex_);
  for (size_t i = first; i < last; ++i) {
    if (staged_[i].bytes.empty()) continue;
    const auto size = static_cast<int64_t>(staged_[i].bytes.size());
    note_batch(active, config_.index_interval_bytes, active.size, size, staged_[i].last_offset,
               staged_[i].max_timestamp);
    note_recent(active,
                {staged_[i].base_offset, staged_[i].last_offset, active.size, size});
    active.size += size;
    committed_end_ = staged_[i].last_offset + 1;
  }
  active.dirty = true;
  return 0;
}

void PartitionLog::go_offline() {
  offline_ = true;
  if (!closed_) publish(kOffline, 1);
}

void PartitionLog::undo_from(size_t first) {
  if (first >= staged_.size()) return;
  producers_.roll_back(staged_[first].producer_mark);
  // A roll may have begun its segment behind a gap in a follower's offsets.
  next_offset_ = std::max(staged_[first].offset_before, segments_.back()->base_offset);
  if (epochs_.truncate_from_end(next_offset_ + 1)) epochs_dirty_ = true;
}

CommitResult PartitionLog::commit() {
  CommitResult result;
  if (staged_.empty()) return result;
  if (offline_ || closed_) {
    undo_from(0);
    staged_.clear();
    producers_.commit();
    result.error = EIO;
    return result;
  }
  size_t written = 0;
  int64_t pending = 0;
  int error = 0;
  for (size_t i = 0; i < staged_.size() && error == 0; ++i) {
    const StagedBatch& batch = staged_[i];
    if (batch.bytes.empty()) continue;
    if (epochs_.assign(batch.leader_epoch, batch.base_offset)) epochs_dirty_ = true;
    if (epochs_dirty_) {
      // A failure is made good by the next batch: the epoch itself is no news then.
      // Every batch has its epoch: what a crash takes of the file is found again behind the
      // recovery point. After an election a thousand logs have a new one at once.
      error = epochs_.save(false);
      epochs_dirty_ = error != 0;
      epochs_synced_ = false;
    }
    if (error == 0 && must_roll(*segments_.back(), batch, pending)) {
      error = write_run(written, i);
      if (error == 0) {
        written = i;
        pending = 0;
        // Behind a gap that is too wide for relative offsets the segment begins at the batch.
        const bool wide = batch.last_offset - batch.offset_before > INT32_MAX;
        error = roll_at(wide ? batch.base_offset : batch.offset_before, batch.producer_mark,
                        batch.now_ms);
      }
    }
    pending += static_cast<int64_t>(batch.bytes.size());
  }
  if (error == 0) {
    error = write_run(written, staged_.size());
    if (error == 0) written = staged_.size();
  }
  if (error != 0) undo_from(written);
  result.error = error;
  result.committed = written;
  staged_.clear();
  producers_.commit();
  if (written > 0) {
    publish(kSizeBytes, size_bytes());
    publish(kLastEpoch, epochs_.latest());
    publish(kLogEnd, next_offset_);
    advance_watermark();
  }
  return result;
}

void PartitionLog::advance_watermark() {
  if (followers_ > 0 || leader_epoch_ < 0) return;
  publish(kHighWatermark, published(kLogEnd));
  publish(kLastStable, published(kLogEnd));
}

void PartitionLog::set_leadership(int32_t epoch, int32_t followers) {
  leader_epoch_ = epoch;
  followers_ = followers;
  if (epoch < 0) return;
  if (epochs_.assign(epoch, next_offset_)) {
    epochs_dirty_ = true;
    publish(kLastEpoch, epochs_.latest());
  }
  advance_watermark();
}

void PartitionLog::set_high_watermark(int64_t offset, int32_t epoch) {
  if (epoch != leader_epoch_ || offset <= high_watermark()) return;
  publish(kHighWatermark, std::min(offset, published(kLogEnd)));
  publish(kLastStable, published(kHighWatermark));
}

void PartitionLog::follow_high_watermark(int64_t offset) {
  if (leader_epoch_ >= 0) return;
  const int64_t known = std::min(offset, published(kLogEnd));
  if (known <= high_watermark()) return;
  publish(kHighWatermark, known);
  publish(kLastStable, known);
}

/// A segment that gets no more batches ends its time index with its largest time: who opens it
/// later takes it from there.
void PartitionLog::end_time_index(Segment& segment) {
  if (segment.max_timestamp < 0 || (!segment.time_index.empty() &&
                                    segment.time_index.back().timestamp >= segment.max_timestamp)) {
    return;
  }
  std::unique_lock lock(mutex_);
  segment.time_index.push_back(
      {segment.max_timestamp,
       static_cast<int32_t>(segment.max_timestamp_offset - segment.base_offset)});
}

int PartitionLog::roll(int64_t now_ms) {
  if (offline_ || closed_) return EIO;
  if (!staged_.empty()) return EBUSY;
  return roll_at(next_offset_, producers_.mark(), now_ms);
}

/// Starts the segment of `base_offset`; what producers staged behind `producer_mark` is not in the
/// log yet and stays out of the snapshot.
int PartitionLog::roll_at(int64_t base_offset, size_t producer_mark, int64_t now_ms) {
  Segment& active = *segments_.back();
  if (active.size == 0 && active.base_offset == base_offset) return 0;
  end_time_index(active);
  int error = save_index(active);
  if (error != 0) return error;
  error = active.file->truncate(active.size);  // Gives preallocated blocks back.
  if (error != 0) return error;
  active.allocated = active.size;
  {
    std::unique_lock lock(mutex_);
    active.recent = {};
  }
  error = save_snapshot(base_offset, producer_mark);
  if (error != 0) return error;
  error = open_segment(base_offset, true, now_ms);
  if (error != 0) return error;
  return sync_directory(directory_);
}

// --- Reading

size_t PartitionLog::segment_of(int64_t offset) const {
  size_t low = 0;
  size_t high = segments_.size();
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    (segments_[middle]->base_offset <= offset ? low : high) = middle;
  }
  return low;
}

/// Position of the batch that holds `offset` (or the first behind it); the segment's size when
/// there is none. `cold` is set, and the position of the nearest index entry returned, when the
/// search would have to wait for the disk.
int64_t PartitionLog::position_of(const Segment& segment, int64_t offset, Lookup lookup, bool* cold,
                                  int* error, int64_t* batch_size) const {
  if (const BatchPlace* place = find_recent(segment, offset)) {
    *batch_size = place->size;
    return place->position;
  }
  *batch_size = 0;
  const auto relative =
      static_cast<int32_t>(std::clamp<int64_t>(offset - segment.base_offset, -1, INT32_MAX));
  // An entry holds the last offset of the batch at its position.
  auto entry = std::upper_bound(
      segment.index.begin(), segment.index.end(), relative,
      [](int32_t wanted, const IndexEntry& item) { return wanted < item.relative_offset; });
  int64_t position = entry == segment.index.begin() ? 0 : std::prev(entry)->position;
  bool by_index = position > 0;
  uint8_t buffer[kLookupBytes];
  while (position < segment.size) {
    const auto wanted = static_cast<size_t>(
        std::min<int64_t>(static_cast<int64_t>(sizeof buffer), segment.size - position));
    const int64_t n = lookup == Lookup::kCached
                          ? segment.file->read_cached({buffer, wanted}, position)
                          : segment.file->read_at({buffer, wanted}, position);
    // Of a region of which only the beginning is cached, only that is read.
    const bool in_part = n >= 0 && n < kBatchHeaderBytes && n < static_cast<int64_t>(wanted);
    if (n == -EAGAIN || (in_part && lookup == Lookup::kCached)) {
      *cold = true;
      return position;
    }
    if (n < 0 || in_part) {
      *error = n < 0 ? static_cast<int>(-n) : EIO;
      return position;
    }
    int64_t at = 0;
    while (at == 0 || at + kBatchHeaderBytes <= n) {
      const BatchHeader header =
          at + kBatchHeaderBytes <= n ? read_batch_header(buffer + at) : BatchHeader{};
      if (!plausible(header, segment.size - position - at)) {
        if (!by_index) {
          *error = EBADMSG;
          return position;
        }
        // The index lies: the batches themselves show the way.
        by_index = false;
        position = at = 0;
        break;
      }
      if (header.last_offset() >= offset) {
        *batch_size = header.size;
        return position + at;
      }
      at += header.size;
    }
    position += at;
  }
  return segment.size;
}

LocateResult PartitionLog::locate(int64_t offset, int64_t max_bytes, int64_t limit_offset,
                                  bool min_one_batch) const {
  LocateResult result;
  if (published(kOffline) != 0) {
    result.error = kStorageError;
    return result;
  }
  std::shared_lock lock(mutex_);
  const auto in_range = [&] {
    return offset >= published(kLogStart) && offset <= published(kLogEnd) && !segments_.empty();
  };
  if (!in_range()) {
    result.error = kOffsetOutOfRange;
    return result;
  }
  if (offset >= limit_offset) return result;
  for (size_t i = segment_of(offset); i < segments_.size(); ++i) {
    const std::shared_ptr<Segment> held = segments_[i];
    const Segment& segment = *held;
    if (!segment.index_loaded) {
      lock.unlock();
      const int error = load_index(*held);
      lock.lock();
      if (error != 0 && error != EBADMSG) {
        result.error = kStorageError;
        return result;
      }
      // Without the lock the segments may have changed.
      if (!in_range()) {
        result.error = kOffsetOutOfRange;
        return result;
      }
      const size_t now_at = segment_of(offset);
      if (now_at != i || segments_[now_at] != held) {
        i = now_at - 1;  // Looks there next.
        continue;
      }
    }
    bool cold = false;
    int error = 0;
    int64_t batch_size = 0;
    const int64_t begin = position_of(segment, offset, Lookup::kCached, &cold, &error, &batch_size);
    if (error != 0) {
      result.error = kStorageError;
      return result;
    }
    if (begin >= segment.size) continue;
    int64_t end = segment.size;
    if (limit_offset < committed_end_) {
      int64_t ignored = 0;
      end = position_of(segment, limit_offset, Lookup::kCached, &cold, &error, &ignored);
      // Nothing certain below the limit without the disk: a few headers are read from it.
      if (error == 0 && end <= begin && cold) {
        end = position_of(segment, limit_offset, Lookup::kAnywhere, &cold, &error, &ignored);
      }
      if (error != 0) {
        result.error = kStorageError;
        return result;
      }
    }
    if (end <= begin) return result;
    // Where the batch is is not known when the search was cold: what is behind counts as one.
    if (batch_size == 0) batch_size = std::min<int64_t>(end - begin, kColdBytesMin);
    int64_t length = std::min(end - begin, max_bytes);
    if (length < batch_size && min_one_batch) length = std::min(batch_size, end - begin);
    if (length <= 0) return result;
    result.file = segment.file;
    result.position = begin;
    result.length = length;
    const bool hot = i + 1 == segments_.size() && segment.size - begin <= kHotTailBytes;
    result.cold = cold || (!hot && !is_cached(*segment.file, begin, length));
    return result;
  }
  return result;
}

void PartitionLog::warm(const SegmentRef& file, int64_t position, int64_t length) {
  std::vector<uint8_t> buffer(256 << 10);
  for (int64_t at = position; at < position + length;) {
    const auto wanted = static_cast<size_t>(
        std::min<int64_t>(static_cast<int64_t>(buffer.size()), position + length - at));
    const int64_t n = file->read_at({buffer.data(), wanted}, at);
    // What cannot be read shows itself again, with its errno, when it is sent.
    if (n <= 0) return;
    at += n;
  }
}

TimestampResult PartitionLog::offset_for_timestamp(int64_t timestamp, int64_t limit_offset) {
  TimestampResult result;
  uint8_t bytes[kBatchHeaderBytes];
  for (size_t i = 0; i < segments_.size(); ++i) {
    Segment& segment = *segments_[i];
    result.error = load_index(segment);
    if (result.error == EBADMSG) result.error = 0;
    if (result.error != 0) return result;
    const bool last = i + 1 == segments_.size();
    if (!last && largest_timestamp(segment) < timestamp) continue;
    int64_t from = segment.base_offset;
    for (const TimeEntry& entry : segment.time_index) {
      if (entry.timestamp >= timestamp) break;
      from = segment.base_offset + entry.relative_offset;
    }
    int64_t position = 0;
    for (const IndexEntry& entry : segment.index) {
      if (segment.base_offset + entry.relative_offset > from) break;
      position = entry.position;
    }
    bool by_index = position > 0;
    while (position < segment.size) {
      const int64_t n = segment.file->read_at(bytes, position);
      if (n < 0) {
        result.error = static_cast<int>(-n);
        return result;
      }
      const BatchHeader header = n < kBatchHeaderBytes ? BatchHeader{} : read_batch_header(bytes);
      if (!plausible(header, segment.size - position)) {
        if (!by_index) {
          result.error = EBADMSG;
          return result;
        }
        by_index = false;
        position = 0;
        continue;
      }
      if (header.base_offset >= limit_offset) return result;
      if (header.max_timestamp >= timestamp && header.last_offset() >= log_start()) {
        result.batch.resize(static_cast<size_t>(header.size));
        const int64_t read = segment.file->read_at(result.batch, position);
        if (read != header.size) {
          result.error = read < 0 ? static_cast<int>(-read) : EIO;
          return result;
        }
        result.leader_epoch = header.leader_epoch;
        if (header.compression() != 0 && !header.is_log_append_time()) {
          result.found = result.compressed = true;
          result.offset = header.base_offset;
          result.timestamp = header.max_timestamp;
          return result;
        }
        if (header.is_log_append_time()) {
          result.found = true;
          result.offset = std::max(header.base_offset, log_start());
          result.timestamp = header.max_timestamp;
        } else {
          result.found = find_record_by_timestamp(result.batch, header, log_start(), timestamp,
                                                  &result.offset, &result.timestamp);
        }
        result.batch.clear();
        if (result.found && result.offset >= log_start()) return result;
        result.found = false;
      }
      position += header.size;
    }
  }
  return result;
}

TimestampResult PartitionLog::max_timestamp() {
  int64_t largest = -1;
  for (auto& segment : segments_) {
    const int error = load_index(*segment);
    if (error != 0 && error != EBADMSG) {
      TimestampResult failed;
      failed.error = error;
      return failed;
    }
    // Not the file's own time, which stands in where records have none.
    largest = std::max(largest, segment->max_timestamp);
  }
  if (largest < 0) return {};
  return offset_for_timestamp(largest, next_offset_);
}

int64_t PartitionLog::largest_timestamp(Segment& segment) {
  if (segment.max_timestamp >= 0) return segment.max_timestamp;
  struct stat status {};
  if (::fstat(segment.file->fd(), &status) != 0) return -1;
  return static_cast<int64_t>(status.st_mtim.tv_sec) * 1000 + status.st_mtim.tv_nsec / 1000000;
}

// --- Retention, flushing, closing

std::vector<SegmentDescription> PartitionLog::segments() const {
  std::shared_lock lock(mutex_);
  std::vector<SegmentDescription> result;
  result.reserve(segments_.size());
  for (const auto& segment : segments_) {
    result.push_back({segment->base_offset, segment->size, segment->max_timestamp});
  }
  return result;
}

int64_t PartitionLog::size_bytes() const {
  int64_t bytes = 0;
  for (const auto& segment : segments_) bytes += segment->size;
  return bytes;
}

int PartitionLog::drop_segment(size_t index) {
  std::shared_ptr<Segment> dropped;
  {
    std::unique_lock lock(mutex_);
    dropped = std::move(segments_[index]);
    segments_.erase(segments_.begin() + static_cast<ptrdiff_t>(index));
  }
  int error = 0;
  // The segment first: indexes without one are removed at the next opening.
  for (const char* suffix : {".log", ".index", ".timeindex", ".txnindex", ".snapshot"}) {
    if (error == 0) error = remove_file(path_of(dropped->base_offset, suffix));
  }
  return error;
}

PartitionLog::DeleteResult PartitionLog::delete_old_segments(int64_t now_ms) {
  DeleteResult result;
  if (offline_) return result;
  int64_t total = size_bytes();
  const int64_t watermark = high_watermark();
  while (!segments_.empty()) {
    Segment& oldest = *segments_.front();
    const bool only = segments_.size() == 1;
    const int64_t end = only ? next_offset_ : segments_[1]->base_offset;
    if (end > watermark || (only && oldest.size == 0)) break;
    result.error = load_index(oldest);
    if (result.error != 0 && result.error != EBADMSG) return result;
    result.error = 0;
    bool expired = end <= log_start() && !only;
    if (config_.deletes) {
      if (config_.retention_ms >= 0 && now_ms - largest_timestamp(oldest) > config_.retention_ms) {
        expired = true;
      }
      if (config_.retention_bytes >= 0 && total - oldest.size >= config_.retention_bytes) {
        expired = true;
      }
    }
    if (!expired) break;
    if (only) {
      result.error = roll(now_ms);
      if (result.error != 0) return result;
    }
    const int64_t bytes = segments_.front()->size;
    // First the start, then the segment: no reader must find the next segment's records in the
    // place of those that it asked for.
    if (end > log_start()) publish(kLogStart, end);
    result.error = drop_segment(0);
    result.segments += 1;
    result.bytes += bytes;
    total -= bytes;
    if (result.error != 0) break;
  }
  if (result.segments > 0) {
    publish(kSizeBytes, size_bytes());
    if (epochs_.truncate_from_start(log_start())) {
      const int error = epochs_.save();
      epochs_dirty_ = error != 0;
      if (result.error == 0) result.error = error;
    }
  }
  return result;
}

int16_t PartitionLog::delete_records_to(int64_t offset) {
  if (offset < 0 || offset > high_watermark()) return kOffsetOutOfRange;
  if (offset <= log_start()) return 0;
  publish(kLogStart, offset);
  if (epochs_.truncate_from_start(offset)) epochs_dirty_ = true;
  return 0;
}

size_t PartitionLog::expire_producers(int64_t now_ms) {
  return producers_.expire(now_ms - config_.producer_expiration_ms);
}

PartitionLog::FlushJob PartitionLog::begin_flush() {
  FlushJob job;
  job.offset = published(kLogEnd);
  job.truncations = truncations_;
  if (!directory_synced_) job.directory = directory_;
  directory_synced_ = true;
  if (!epochs_synced_) job.indexes.push_back(epochs_.path());
  epochs_synced_ = true;
  for (auto& segment : segments_) {
    if (!segment->dirty) continue;
    segment->dirty = false;
    job.files.push_back(segment->file);
    job.indexes.push_back(path_of(segment->base_offset, ".index"));
    job.indexes.push_back(path_of(segment->base_offset, ".timeindex"));
  }
  return job;
}

int PartitionLog::run_flush(const FlushJob& job) {
  for (const SegmentRef& file : job.files) {
    const int error = file->flush();
    if (error != 0) return error;
  }
  for (const std::string& path : job.indexes) {
    const auto opened = SegmentFile::open(path, false);
    // Not written yet, or deleted with its segment meanwhile.
    if (opened.error == ENOENT) continue;
    const int error = opened.error != 0 ? opened.error : opened.file->flush();
    if (error != 0) return error;
  }
  if (job.directory.empty()) return 0;
  const int error = sync_directory(job.directory);
  return error != 0 ? error : sync_directory(job.directory + "/..");
}

void PartitionLog::finish_flush(const FlushJob& job, int error) {
  if (error != 0) {
    // The kernel has dropped what it could not write, and a second try would succeed without it:
    // what is on the disk is unknown from here on.
    go_offline();
    return;
  }
  // What was flushed may have been cut off and written anew since.
  if (offline_ || job.truncations != truncations_) return;
  recovery_point_ = std::max(recovery_point_, std::min(job.offset, next_offset_));
}

int PartitionLog::close(bool clean) {
  if (closed_) return 0;
  closed_ = true;
  publish(kOffline, 1);
  int error = clean && offline_ ? EIO : 0;
  if (clean && !offline_) {
    if (epochs_dirty_) error = epochs_.save();
    for (const auto& segment : segments_) {
      if (error == 0 && segment->index_loaded) error = save_index(*segment);
    }
    if (error == 0) {
      const FlushJob job = begin_flush();
      error = run_flush(job);
      finish_flush(job, error);
    }
    if (error == 0 && next_offset_ > segments_.front()->base_offset) {
      error = save_snapshot(next_offset_, producers_.mark());
    }
  }
  if (!segments_.empty()) {
    Segment& active = *segments_.back();
    if (active.allocated > active.size) {
      const int cut = active.file->truncate(active.size);
      if (error == 0) error = cut;
    }
  }
  return error;
}

}  // namespace shardlog
