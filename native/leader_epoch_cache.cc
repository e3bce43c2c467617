#include "leader_epoch_cache.h"

#include <errno.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "segment_file.h"

namespace shardlog {

int LeaderEpochCache::load() {
  entries_.clear();
  FILE* file = std::fopen(path_.c_str(), "re");
  if (file == nullptr) return errno == ENOENT ? 0 : errno;
  int version = -1;
  int count = -1;
  int error =
      std::fscanf(file, "%d %d", &version, &count) == 2 && version == 0 && count >= 0 ? 0 : EBADMSG;
  for (int i = 0; i < count && error == 0; ++i) {
    EpochEntry entry;
    if (std::fscanf(file, "%" SCNd32 " %" SCNd64, &entry.epoch, &entry.start_offset) != 2) {
      error = EBADMSG;
    } else {
      assign(entry.epoch, entry.start_offset);
    }
  }
  std::fclose(file);
  if (error != 0) entries_.clear();
  return error;
}

int LeaderEpochCache::save(bool durable) const {
  std::string text = "0\n" + std::to_string(entries_.size()) + "\n";
  for (const EpochEntry& entry : entries_) {
    text += std::to_string(entry.epoch) + " " + std::to_string(entry.start_offset) + "\n";
  }
  return replace_file(path_, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, durable);
}

bool LeaderEpochCache::assign(int32_t epoch, int64_t start_offset) {
  if (epoch < 0 || (!entries_.empty() && epoch <= entries_.back().epoch)) return false;
  const std::lock_guard lock(*mutex_);
  while (!entries_.empty() && entries_.back().start_offset >= start_offset) entries_.pop_back();
  entries_.push_back({epoch, start_offset});
  return true;
}

bool LeaderEpochCache::truncate_from_end(int64_t offset) {
  const std::lock_guard lock(*mutex_);
  const size_t before = entries_.size();
  while (!entries_.empty() && entries_.back().start_offset >= offset) entries_.pop_back();
  return entries_.size() != before;
}

bool LeaderEpochCache::truncate_from_start(int64_t offset) {
  const std::lock_guard lock(*mutex_);
  bool changed = false;
  while (entries_.size() > 1 && entries_[1].start_offset <= offset) {
    entries_.erase(entries_.begin());
    changed = true;
  }
  if (!entries_.empty() && entries_.front().start_offset < offset) {
    entries_.front().start_offset = offset;
    changed = true;
  }
  return changed;
}

LeaderEpochCache::EndOffset LeaderEpochCache::end_offset(int32_t epoch, int64_t log_end) const {
  const std::lock_guard lock(*mutex_);
  if (epoch < 0 || entries_.empty() || epoch > entries_.back().epoch) return {};
  if (epoch == entries_.back().epoch) return {epoch, log_end};
  if (epoch < entries_.front().epoch) return {epoch, entries_.front().start_offset};
  for (size_t i = entries_.size() - 1; i-- > 0;) {
    if (entries_[i].epoch <= epoch) return {entries_[i].epoch, entries_[i + 1].start_offset};
  }
  return {};
}

int32_t LeaderEpochCache::epoch_of(int64_t offset) const {
  int32_t epoch = -1;
  for (const EpochEntry& entry : entries_) {
    if (entry.start_offset > offset) break;
    epoch = entry.epoch;
  }
  return epoch;
}

}  // namespace shardlog
