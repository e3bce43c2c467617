// A partition log in a folder of its own, with what tests do to logs.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <fstream>

#include "../partition_log.h"
#include "check.h"
#include "fixtures.h"

namespace shardlog::test {

inline std::vector<uint8_t> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  CHECK(file.good());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  CHECK(file.good());
}

struct StoredBatch {
  BatchHeader header;
  std::vector<uint8_t> bytes;
};

/// Splits what was read from a log into its batches; every one must be whole and right.
inline std::vector<StoredBatch> split_batches(std::span<const uint8_t> bytes) {
  std::vector<StoredBatch> batches;
  while (!bytes.empty()) {
    StoredBatch batch;
    CHECK(check_batch(bytes, &batch.header) == BatchCheck::kOk);
    const auto size = static_cast<size_t>(batch.header.size);
    batch.bytes.assign(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    bytes = bytes.subspan(size);
    batches.push_back(std::move(batch));
  }
  return batches;
}

inline std::vector<uint8_t> read_region(const LocateResult& located) {
  std::vector<uint8_t> bytes(static_cast<size_t>(located.length));
  CHECK(located.file->read_at(bytes, located.position) == located.length);
  return bytes;
}

struct LogFixture {
  TempDirectory folder;
  std::array<int64_t, 8> row{};
  LogConfig config;
  int64_t now_ms = 1'700'000'000'000;
  std::shared_ptr<PartitionLog> log;
  RecoveryReport report;
  int error = 0;

  std::string directory() const { return folder / "topic-0"; }
  std::string segment(int64_t base_offset, const char* suffix = ".log") const {
    char name[32];
    std::snprintf(name, sizeof name, "/%020lld", static_cast<long long>(base_offset));
    return directory() + name + suffix;
  }

  /// Opens, or tries to: `error` says what came of it.
  bool try_open(bool clean = true, int64_t recovery_point = 0, int64_t log_start = 0) {
    log.reset();
    row.fill(0);
    LogOpenOptions options;
    options.directory = directory();
    options.config = config;
    options.row = row.data();
    options.clean_shutdown = clean;
    options.recovery_point = recovery_point;
    options.log_start = log_start;
    options.high_watermark = log_start;
    options.now_ms = now_ms;
    auto opened = PartitionLog::open(options);
    error = opened.error;
    report = opened.report;
    log = std::move(opened.log);
    if (log) log->set_leadership(0, 0);
    return log != nullptr;
  }
  void open(bool clean = true, int64_t recovery_point = 0, int64_t log_start = 0) {
    CHECK(try_open(clean, recovery_point, log_start));
  }
  void reopen_clean() {
    const int64_t start = log->log_start();
    CHECK(log->close(true) == 0);
    open(true, log->recovery_point(), start);
  }
  /// As after a kill: nothing is written behind the process.
  void reopen_unclean(int64_t recovery_point = 0) {
    const int64_t start = log->log_start();
    CHECK(log->close(false) == 0);
    open(false, recovery_point, start);
  }

  StageResult stage(std::vector<uint8_t>& batch) {
    StageOptions options;
    options.now_ms = now_ms;
    return log->stage(batch, options);
  }
  /// One batch, committed. Its base offset.
  int64_t append(std::vector<uint8_t> batch) {
    const StageResult staged = stage(batch);
    CHECK(staged.error == 0 && !staged.needs_slow_lane);
    const CommitResult committed = log->commit();
    CHECK(committed.error == 0 && committed.committed == 1);
    return staged.base_offset;
  }
  int64_t append(int32_t records, int64_t timestamp = 1'000'000, size_t bytes = 1) {
    return append(simple_batch(records, timestamp, bytes));
  }

  /// Every batch from `offset` on, as a consumer would get them.
  std::vector<StoredBatch> read_from(int64_t offset, int64_t max_bytes = 1 << 20) const {
    std::vector<StoredBatch> batches;
    while (offset < row[kLogEnd]) {
      const LocateResult located = log->locate(offset, max_bytes, row[kLogEnd], true);
      CHECK(located.error == 0 && located.length > 0);
      const auto bytes = read_region(located);
      // The last batch may be cut by the limit, as consumers expect.
      std::span<const uint8_t> rest(bytes);
      size_t taken = 0;
      for (;;) {
        BatchHeader header;
        const BatchCheck check = check_batch(rest, &header);
        if (check != BatchCheck::kOk) {
          CHECK(check == BatchCheck::kTruncated || rest.size() < 61);
          break;
        }
        const auto size = static_cast<size_t>(header.size);
        batches.push_back({header, {rest.begin(), rest.begin() + static_cast<ptrdiff_t>(size)}});
        CHECK(header.last_offset() >= offset);
        offset = header.last_offset() + 1;
        rest = rest.subspan(size);
        ++taken;
        if (rest.empty()) break;
      }
      CHECK(taken > 0);
    }
    return batches;
  }
};

}  // namespace shardlog::test
