// Which leader epoch began at which offset (KIP-101), kept in `leader-epoch-checkpoint`.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace shardlog {

struct EpochEntry {
  int32_t epoch = 0;
  int64_t start_offset = 0;
};

/// Changed by the thread that owns the log; `end_offset` may be called by any.
class LeaderEpochCache {
 public:
  explicit LeaderEpochCache(std::string path) : path_(std::move(path)) {}

  /// Reads the file; a missing one is empty. 0, an errno, or EBADMSG for a file that is not one.
  [[nodiscard]] int load();
  /// Writes the file; what is not `durable` is for a flush to force to disk. 0 or an errno.
  [[nodiscard]] int save(bool durable = true) const;
  const std::string& path() const { return path_; }

  /// Notes that `epoch` begins at `start_offset`. True when this is news.
  bool assign(int32_t epoch, int64_t start_offset);
  /// Drops what begins at or behind `offset`. True when something did.
  bool truncate_from_end(int64_t offset);
  /// Forgets epochs that ended before `offset`. True when something changed.
  bool truncate_from_start(int64_t offset);

  int32_t latest() const { return entries_.empty() ? -1 : entries_.back().epoch; }
  const std::vector<EpochEntry>& entries() const { return entries_; }

  struct EndOffset {
    int32_t epoch = -1;
    int64_t offset = -1;
  };
  /// Where `epoch` ended: the largest epoch not above it, and the start of the next one. Kafka's
  /// OffsetForLeaderEpoch. {-1, -1} when nothing is known.
  EndOffset end_offset(int32_t epoch, int64_t log_end) const;
  /// The epoch that `offset` belongs to, or -1.
  int32_t epoch_of(int64_t offset) const;

 private:
  std::string path_;
  std::vector<EpochEntry> entries_;
  // Held by whoever changes the entries, and by readers of other threads. Movable with the cache.
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
};

}  // namespace shardlog
