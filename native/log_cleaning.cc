// What cleaning does to a log: cleaned segments take the place of those they were made from.
//
// File names are Apache Kafka's protocol, so that either broker finishes what a crash interrupted:
// `.cleaned` while it is written, `.swap` from when it counts, then the segment's own name; what is
// replaced is renamed to `.deleted` in between.
#include <errno.h>

#include <mutex>
#include <string_view>

#include "partition_log.h"

namespace shardlog {
namespace {

constexpr std::string_view kLog = ".log";
constexpr const char* kLogThenIndexes[] = {".log", ".index", ".timeindex", ".txnindex"};
constexpr const char* kIndexesThenLog[] = {".index", ".timeindex", ".txnindex", ".log"};

/// Renames a segment's `file`, of which all but the log may be missing. 0 or an errno.
int move_file(const char* file, const std::string& from, const std::string& to) {
  if (file_operations().rename(from.c_str(), to.c_str()) == 0) return 0;
  return errno == ENOENT && file != kLog ? 0 : errno;
}

}  // namespace

CleaningState PartitionLog::cleaning_state(bool times) {
  CleaningState state;
  state.truncations = truncations_;
  state.segments.reserve(segments_.size());
  for (const auto& segment : segments_) {
    CleaningState::Segment found{segment->base_offset, segment->size};
    if (times) {
      state.error = load_index(*segment);
      if (state.error == 0) state.error = read_first_timestamp(*segment);
      // Damage is for the cleaner to find, where it is reported.
      if (state.error == EBADMSG) state.error = 0;
      if (state.error != 0) return state;
      found.largest_timestamp = largest_timestamp(*segment);
      found.first_timestamp = segment->first_timestamp;
    }
    state.segments.push_back(found);
  }
  return state;
}

/// Opens the cleaned segment of `base_offset`, which must end before `end`. 0 or an errno.
int PartitionLog::adopt_cleaned(int64_t base_offset, int64_t end,
                                std::shared_ptr<Segment>* adopted) {
  const auto opened = SegmentFile::open(path_of(base_offset, ".log.cleaned"), false);
  if (opened.error != 0) return opened.error;
  auto segment = std::make_shared<Segment>();
  segment->base_offset = base_offset;
  segment->file = opened.file;
  segment->size = segment->allocated = opened.size;
  segment->next_step = 0;
  int error = make_index(*segment, ".cleaned");
  int64_t next_offset = base_offset;
  if (error == 0) error = read_last_offset(*segment, &next_offset);
  if (error == 0 && next_offset > end) error = EBADMSG;
  segment->index_loaded = true;
  *adopted = std::move(segment);
  return error;
}

/// Takes back a replacement that has not begun to count. What cannot be removed would count at the
/// next opening, and perhaps no longer be right then: the log goes offline.
void PartitionLog::remove_cleaned(int64_t base_offset) {
  bool left = false;
  for (const char* suffix : {".swap", ".cleaned"}) {
    // The log last: an index alone would take the place of one that fits.
    for (const char* file : kIndexesThenLog) {
      const std::string path = path_of(base_offset, file) + suffix;
      left = remove_file(path) != 0 || left;
    }
  }
  if (left) go_offline();
}

int PartitionLog::replace_segments(std::span<const int64_t> bases, uint64_t truncations,
                                   ReplacedSegments* replaced) {
  if (bases.empty()) return EINVAL;
  const int64_t base_offset = bases.front();
  const size_t first = segment_of(base_offset);
  // The active segment is never replaced.
  bool stands = !offline_ && !closed_ && truncations == truncations_ &&
                first + bases.size() < segments_.size();
  for (size_t i = 0; stands && i < bases.size(); ++i) {
    stands = segments_[first + i]->base_offset == bases[i];
  }
  // A log that is closed has another owner: its files are not to be touched.
  if (closed_) return ESTALE;
  if (!stands) {
    remove_cleaned(base_offset);
    return ESTALE;
  }
  const size_t last = first + bases.size();
  std::shared_ptr<Segment> cleaned;
  int error = adopt_cleaned(base_offset, segments_[last]->base_offset, &cleaned);
  // As long as one of its files is `.cleaned`, the others do not count.
  for (const char* file : kIndexesThenLog) {
    if (error != 0) break;
    const std::string path = path_of(base_offset, file);
    error = move_file(file, path + ".cleaned", path + ".swap");
  }
  if (error == 0) error = sync_directory(directory_);
  if (error != 0) {
    remove_cleaned(base_offset);
    return error;
  }
  cleaned->created_ms = segments_[last - 1]->created_ms;
  std::vector<std::shared_ptr<Segment>> old;
  {
    std::unique_lock lock(mutex_);
    const auto begin = segments_.begin() + static_cast<ptrdiff_t>(first);
    const auto end = segments_.begin() + static_cast<ptrdiff_t>(last);
    old.assign(begin, end);
    *begin = std::move(cleaned);
    segments_.erase(begin + 1, end);
  }
  publish(kSizeBytes, size_bytes());
  error = settle_replacement(old, base_offset, replaced);
  if (error != 0) go_offline();
  return error;
}

/// Gives the files of a replacement that counts their names. 0 or an errno.
int PartitionLog::settle_replacement(std::span<const std::shared_ptr<Segment>> old,
                                     int64_t base_offset, ReplacedSegments* replaced) {
  replaced->directory = directory_;
  for (const auto& segment : old) {
    replaced->files.push_back(segment->file);
    for (const char* file : kLogThenIndexes) {
      const std::string path = path_of(segment->base_offset, file);
      const int error = move_file(file, path, path + ".deleted");
      if (error != 0) return error;
      replaced->paths.push_back(path + ".deleted");
    }
    // The producers as of an offset at which no segment begins any more.
    if (segment->base_offset != base_offset) {
      replaced->paths.push_back(path_of(segment->base_offset, ".snapshot"));
    }
  }
  for (const char* file : kLogThenIndexes) {
    const std::string path = path_of(base_offset, file);
    const int error = move_file(file, path + ".swap", path);
    if (error != 0) return error;
  }
  return 0;
}

int PartitionLog::discard(const ReplacedSegments& replaced) {
  int error = sync_directory(replaced.directory);
  for (const std::string& path : replaced.paths) {
    if (error == 0) error = remove_file(path);
  }
  return error;
}

}  // namespace shardlog
