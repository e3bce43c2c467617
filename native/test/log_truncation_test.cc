// The changes to a log that only replication and crashes bring: truncation, appending as a
// follower, interrupted replacements of segments, overtaken flushes, readers beside them all.
#include <errno.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <thread>

#include "../partition_log.h"
#include "check.h"
#include "fixtures.h"

namespace shardlog::test {
namespace {

struct Rows {
  alignas(64) int64_t words[8] = {};
};

LogOpenOptions options_for(const TempDirectory& folder, Rows& rows) {
  LogOpenOptions options;
  options.directory = folder / "t-0";
  options.row = rows.words;
  options.clean_shutdown = true;
  options.now_ms = 1'000'000;
  options.config.index_interval_bytes = 64;
  return options;
}

std::shared_ptr<PartitionLog> open_log(const LogOpenOptions& options) {
  auto opened = PartitionLog::open(options);
  CHECK(opened.error == 0);
  CHECK(opened.log != nullptr);
  return opened.log;
}

StageResult append(PartitionLog& log, std::vector<uint8_t> batch, int64_t now_ms = 1'000'000) {
  StageOptions stage;
  stage.now_ms = now_ms;
  const StageResult staged = log.stage(batch, stage);
  const CommitResult committed = log.commit();
  CHECK(staged.error != 0 || committed.error == 0);
  return staged;
}

/// Every batch between log start and log end, by the path that consumers take.
std::map<int64_t, std::vector<uint8_t>> contents(const PartitionLog& log) {
  std::map<int64_t, std::vector<uint8_t>> found;
  const int64_t end = log.log_end();
  for (int64_t offset = log.log_start(); offset < end;) {
    const LocateResult located = log.locate(offset, 1, end, true);
    CHECK(located.error == 0);
    if (located.length == 0) break;
    std::vector<uint8_t> bytes(static_cast<size_t>(located.length));
    CHECK(located.file->read_at(bytes, located.position) == located.length);
    BatchHeader header;
    CHECK(check_batch(bytes, &header) == BatchCheck::kOk);
    CHECK(header.size == located.length);
    CHECK(header.last_offset() >= offset);
    found.emplace(header.base_offset, bytes);
    offset = header.last_offset() + 1;
  }
  return found;
}

std::vector<uint8_t> placed(std::vector<uint8_t> batch, int64_t base_offset, int32_t epoch) {
  stamp_batch(batch.data(), base_offset, epoch);
  return batch;
}

std::vector<uint8_t> joined(std::initializer_list<std::vector<uint8_t>> parts) {
  std::vector<uint8_t> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace

TEST(log_truncates_to_batch_boundaries) {
  for (int64_t target = 0; target <= 13; ++target) {
    TempDirectory folder;
    Rows rows;
    LogOpenOptions options = options_for(folder, rows);
    options.config.segment_bytes = 400;
    auto log = open_log(options);
    // Batches of one to three records: bases 0, 1, 3, 6, 7, 9, end 12.
    for (const int count : {1, 2, 3, 1, 2, 3}) append(*log, simple_batch(count));
    CHECK(log->log_end() == 12);
    CHECK(log->segment_count() > 1);
    auto expected = contents(*log);
    int64_t end = std::min<int64_t>(target, 12);
    for (auto at = expected.begin(); at != expected.end();) {
      const BatchHeader header = read_batch_header(at->second.data());
      if (header.last_offset() >= target) {
        end = std::min(end, header.base_offset);
        at = expected.erase(at);
      } else {
        ++at;
      }
    }
    CHECK(log->truncate_to(target) == 0);
    CHECK(log->log_end() == end);
    CHECK(rows.words[kLogEnd] == end);
    CHECK(rows.words[kHighWatermark] == end);
    CHECK(log->recovery_point() <= end);
    CHECK(contents(*log) == expected);
    // What follows takes the freed offsets, and both survive a clean and an unclean opening.
    CHECK(append(*log, simple_batch(2, 7'000'000)).base_offset == end);
    expected = contents(*log);
    CHECK(log->close(true) == 0);
    log = open_log(options);
    CHECK(contents(*log) == expected);
    CHECK(log->max_timestamp().offset == end);
    CHECK(log->close(false) == 0);
    options.clean_shutdown = false;
    log = open_log(options);
    CHECK(contents(*log) == expected);
  }
}

TEST(log_truncation_takes_epochs_and_producers_along) {
  TempDirectory folder;
  Rows rows;
  LogOpenOptions options = options_for(folder, rows);
  auto log = open_log(options);
  BatchSpec spec;
  spec.producer_id = 9;
  spec.producer_epoch = 0;
  for (int32_t sequence = 0; sequence < 4; ++sequence) {
    log->set_leadership(sequence / 2 + 1, 0);
    spec.base_sequence = sequence;
    CHECK(append(*log, make_batch(spec)).error == 0);
    CHECK(sequence != 1 || log->take_producer_snapshot() == 0);
  }
  CHECK(log->take_producer_snapshot() == 0);
  CHECK(log->leader_epochs().latest() == 2);
  CHECK(log->truncate_to(1) == 0);
  CHECK(log->leader_epochs().latest() == 1);
  log->set_leadership(3, 0);
  // Sequence 1 is new again; what was a duplicate is none any more, and 3 leaves a gap.
  spec.base_sequence = 3;
  CHECK(append(*log, make_batch(spec)).error == 45);
  spec.base_sequence = 1;
  StageResult again = append(*log, make_batch(spec));
  CHECK(again.error == 0 && !again.duplicate && again.base_offset == 1);
  again = append(*log, make_batch(spec));
  CHECK(again.error == 0 && again.duplicate && again.base_offset == 1);
  CHECK(log->log_end() == 2);
  // After a crash the same is known.
  CHECK(log->close(false) == 0);
  options.clean_shutdown = false;
  log = open_log(options);
  log->set_leadership(3, 0);
  again = append(*log, make_batch(spec));
  CHECK(again.duplicate && again.base_offset == 1);
}

TEST(log_starts_anew_at_any_offset) {
  for (const int64_t start : {int64_t{0}, int64_t{2}, int64_t{1000}}) {
    TempDirectory folder;
    Rows rows;
    LogOpenOptions options = options_for(folder, rows);
    options.config.segment_bytes = 200;
    auto log = open_log(options);
    log->set_leadership(4, 0);
    for (int i = 0; i < 6; ++i) append(*log, simple_batch(1));
    const LocateResult reader = log->locate(0, 1 << 20, 6, true);
    CHECK(reader.length > 0);
    CHECK(log->truncate_fully_and_start_at(start) == 0);
    CHECK(log->log_start() == start && log->log_end() == start);
    CHECK(log->high_watermark() == start && log->size_bytes() == 0);
    CHECK(log->leader_epochs().latest() == -1);
    CHECK(log->segment_count() == 1);
    // A reader that was there before finishes undisturbed.
    std::vector<uint8_t> bytes(static_cast<size_t>(reader.length));
    CHECK(reader.file->read_at(bytes, reader.position) == reader.length);
    CHECK(append(*log, simple_batch(1)).base_offset == start);
    CHECK(log->close(true) == 0);
    log = open_log(options);
    CHECK(log->log_start() == start && log->log_end() == start + 1);
  }
}

TEST(log_leaves_append_time_that_a_producer_claims_to_the_slow_lane) {
  TempDirectory folder;
  Rows rows;
  auto log = open_log(options_for(folder, rows));
  BatchSpec spec;
  spec.attributes = kLogAppendTimeBit;
  auto batch = make_batch(spec);
  const auto untouched = batch;
  const StageResult staged = log->stage(batch, {});
  CHECK(staged.needs_slow_lane && staged.error == 0);
  CHECK(batch == untouched);
  CHECK(log->commit().committed == 0);
}

TEST(log_refuses_to_truncate_under_what_is_staged) {
  TempDirectory folder;
  Rows rows;
  auto log = open_log(options_for(folder, rows));
  append(*log, simple_batch(3));
  auto batch = simple_batch(1);
  CHECK(log->stage(batch, {}).error == 0);
  CHECK(log->truncate_to(1) == EBUSY);
  CHECK(log->truncate_fully_and_start_at(1) == EBUSY);
  CHECK(log->roll(1) == EBUSY);
  CHECK(log->commit().error == 0);
  CHECK(log->log_end() == 4);
}

TEST(log_whose_truncation_fails_goes_offline) {
  TempDirectory folder;
  Rows rows;
  auto log = open_log(options_for(folder, rows));
  append(*log, simple_batch(3));
  append(*log, simple_batch(3));
  const FileOperations before = file_operations();
  file_operations().ftruncate = [](int, off_t) {
    errno = EIO;
    return -1;
  };
  CHECK(log->truncate_to(3) == EIO);
  file_operations() = before;
  CHECK(log->offline());
  CHECK(log->locate(0, 1, 3, true).error == 56);
  auto batch = simple_batch(1);
  CHECK(log->stage(batch, {}).error == 56);
}

TEST(log_follows_its_leader) {
  TempDirectory folder;
  Rows rows;
  LogOpenOptions options = options_for(folder, rows);
  auto log = open_log(options);
  log->set_leadership(-1, 0);
  // Two batches, a gap that compaction left, and the beginning of another batch.
  auto fetched = joined({placed(simple_batch(2), 0, 3), placed(simple_batch(1), 7, 4),
                         placed(simple_batch(4), 8, 4)});
  const auto whole = joined({placed(simple_batch(2), 0, 3), placed(simple_batch(1), 7, 4)});
  fetched.resize(whole.size() + 40);
  StageResult staged = log->stage_as_follower(fetched, 5);
  CHECK(staged.error == 0 && staged.base_offset == 0 && staged.last_offset == 7);
  CHECK(log->commit().error == 0);
  CHECK(log->log_end() == 8);
  CHECK(log->size_bytes() == static_cast<int64_t>(whole.size()));
  CHECK(log->high_watermark() == 0);  // The leader's word alone moves it.
  log->set_high_watermark(2, -1);
  CHECK(log->high_watermark() == 2);
  CHECK(log->leader_epochs().end_offset(3, log->log_end()).offset == 7);

  // All or none: a bad batch behind a good one, and offsets that go back.
  auto bad = joined({placed(simple_batch(1), 8, 4), placed(simple_batch(1), 9, 4)});
  bad.back() ^= 1;
  CHECK(log->stage_as_follower(bad, 5).error == 2);
  auto stale = placed(simple_batch(1), 7, 4);
  CHECK(log->stage_as_follower(stale, 5).error == 1);
  CHECK(log->commit().error == 0);
  CHECK(log->log_end() == 8);
  CHECK(log->close(false) == 0);
  options.clean_shutdown = false;
  log = open_log(options);
  CHECK(log->log_end() == 8 && log->leader_epochs().latest() == 4);
}

TEST(log_of_a_follower_undoes_a_failed_write_across_a_gap) {
  TempDirectory folder;
  Rows rows;
  auto log = open_log(options_for(folder, rows));
  log->set_leadership(-1, 0);
  append(*log, simple_batch(1));
  const FileOperations before = file_operations();
  file_operations().pwritev = [](int, const iovec*, int, off_t) -> ssize_t {
    errno = ENOSPC;
    return -1;
  };
  auto fetched = placed(simple_batch(1), 50, 9);
  CHECK(log->stage_as_follower(fetched, 5).error == 0);
  const CommitResult failed = log->commit();
  file_operations() = before;
  CHECK(failed.error == ENOSPC && failed.committed == 0);
  CHECK(!log->offline());
  CHECK(log->log_end() == 1);
  CHECK(log->leader_epochs().latest() == 0);
  CHECK(log->stage_as_follower(fetched, 5).error == 0);
  CHECK(log->commit().error == 0);
  CHECK(log->log_end() == 51);
}

TEST(log_finishes_an_interrupted_replacement_of_segments) {
  for (const bool complete : {true, false}) {
    TempDirectory folder;
    Rows rows;
    LogOpenOptions options = options_for(folder, rows);
    options.config.segment_bytes = 200;
    auto log = open_log(options);
    for (int i = 0; i < 6; ++i) append(*log, simple_batch(1));
    const auto before = contents(*log);
    CHECK(log->segment_count() >= 3);
    const int64_t second = log->segments()[1].base_offset;
    const int64_t third = log->segments()[2].base_offset;
    CHECK(log->close(true) == 0);
    // As the cleaner leaves it: the first two segments merged into one with fewer records.
    std::map<int64_t, std::vector<uint8_t>> expected = before;
    if (complete) {
      std::erase_if(expected, [&](const auto& item) {
        return item.first < third && item.first != 0 && item.first != third - 1;
      });
    }
    std::ofstream swap(options.directory + "/00000000000000000000.log.swap", std::ios::binary);
    for (const auto& [offset, bytes] : before) {
      if (offset != 0 && offset != third - 1) continue;
      swap.write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    }
    swap.close();
    std::ofstream(options.directory + "/00000000000000000000.index.swap").close();
    if (!complete) {
      std::ofstream(options.directory + "/00000000000000000000.log.cleaned").close();
    }
    CHECK(second > 0);
    log = open_log(options);
    CHECK(contents(*log) == expected);
    for (const auto& entry : std::filesystem::directory_iterator(options.directory)) {
      const std::string name = entry.path().filename();
      CHECK(!name.ends_with(".swap") && !name.ends_with(".cleaned"));
    }
  }
}

TEST(log_never_gives_out_offsets_below_its_start_again) {
  TempDirectory folder;
  Rows rows;
  LogOpenOptions options = options_for(folder, rows);
  auto log = open_log(options);
  append(*log, simple_batch(3));
  CHECK(log->close(false) == 0);
  options.clean_shutdown = false;
  options.log_start = 10;  // Deleted on request up to 10, of which the crash took the records.
  auto opened = PartitionLog::open(options);
  CHECK(opened.error == 0);
  CHECK(opened.report.bytes_truncated > 0 && !opened.report.reason.empty());
  CHECK(opened.log->log_start() == 10 && opened.log->log_end() == 10);
  CHECK(append(*opened.log, simple_batch(1)).base_offset == 10);
}

TEST(log_does_not_cut_off_what_older_brokers_wrote) {
  // One message of format 1: offset 0, timestamp 1, no key, value "v". The CRC is zlib's.
  std::vector<uint8_t> message(35);
  store_be<int32_t>(message.data() + 8, 23);
  store_be<uint32_t>(message.data() + 12, 0x5ba32c10);
  message[16] = 1;
  store_be<int64_t>(message.data() + 18, 1);
  store_be<int32_t>(message.data() + 26, -1);
  store_be<int32_t>(message.data() + 30, 1);
  message[34] = 'v';
  for (const bool damaged : {false, true}) {
    TempDirectory folder;
    Rows rows;
    LogOpenOptions options = options_for(folder, rows);
    options.clean_shutdown = false;
    std::filesystem::create_directory(options.directory);
    std::vector<uint8_t> bytes = message;
    if (damaged) bytes.back() ^= 1;
    const std::string path = options.directory + "/00000000000000000000.log";
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    file.close();
    const auto opened = PartitionLog::open(options);
    CHECK(opened.error == (damaged ? 0 : ENOTSUP));
    if (!damaged) CHECK(std::filesystem::file_size(path) == bytes.size());
  }
}

TEST(log_rebuilds_the_lost_index_of_an_old_segment) {
  TempDirectory folder;
  Rows rows;
  LogOpenOptions options = options_for(folder, rows);
  options.config.segment_bytes = 64 << 10;
  auto log = open_log(options);
  for (int i = 0; i < 100; ++i) append(*log, simple_batch(1, 1'000'000 + i, 2000));
  CHECK(log->segment_count() > 2);
  const auto expected = contents(*log);
  CHECK(log->close(true) == 0);
  std::filesystem::remove(options.directory + "/00000000000000000000.index");
  std::filesystem::resize_file(options.directory + "/00000000000000000000.timeindex", 12);
  log = open_log(options);
  CHECK(contents(*log) == expected);
  for (int64_t i = 0; i < 100; ++i) {
    const TimestampResult found = log->offset_for_timestamp(1'000'000 + i, log->log_end());
    CHECK(found.error == 0 && found.found && found.offset == i);
  }
  CHECK(log->close(true) == 0);
  CHECK(std::filesystem::file_size(options.directory + "/00000000000000000000.index") > 0);
}

TEST(log_ignores_a_flush_that_a_truncation_overtook) {
  TempDirectory folder;
  Rows rows;
  auto log = open_log(options_for(folder, rows));
  append(*log, simple_batch(3));
  append(*log, simple_batch(3));
  const PartitionLog::FlushJob job = log->begin_flush();
  CHECK(log->truncate_to(3) == 0);
  append(*log, simple_batch(3));
  CHECK(PartitionLog::run_flush(job) == 0);
  log->finish_flush(job, 0);
  CHECK(log->recovery_point() == 0);
  const PartitionLog::FlushJob next = log->begin_flush();
  CHECK(PartitionLog::run_flush(next) == 0);
  log->finish_flush(next, 0);
  CHECK(log->recovery_point() == 6);
}

TEST(log_agrees_with_a_model_through_random_truncations) {
  for (const uint32_t seed : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u}) {
    std::printf("  seed %u\n", seed);
    std::mt19937 random(seed);
    const auto below = [&random](uint32_t bound) { return random() % bound; };
    TempDirectory folder;
    Rows rows;
    LogOpenOptions options = options_for(folder, rows);
    options.config.segment_bytes = 1500;
    auto log = open_log(options);
    std::map<int64_t, std::vector<uint8_t>> model;
    int64_t start = 0;
    int64_t end = 0;
    for (int step = 0; step < 400; ++step) {
      const uint32_t kind = below(20);
      if (kind < 11) {
        std::vector<std::vector<uint8_t>> batches(1 + below(3));
        for (auto& batch : batches) {
          batch = simple_batch(static_cast<int32_t>(1 + below(4)), 1'000'000 + step, below(300));
          StageOptions stage;
          stage.now_ms = 1'000'000;
          const StageResult staged = log->stage(batch, stage);
          CHECK(staged.error == 0 && staged.base_offset == end);
          end = staged.last_offset + 1;
        }
        CHECK(log->commit().error == 0);
        for (const auto& batch : batches)
          model[read_batch_header(batch.data()).base_offset] = batch;
      } else if (kind < 14) {
        const int64_t target = start + below(static_cast<uint32_t>(end - start + 1));
        const int64_t floor = log->segments().front().base_offset;
        CHECK(log->truncate_to(target) == 0);
        if (target < end) {
          end = target;
          std::erase_if(model, [&](const auto& item) {
            const BatchHeader header = read_batch_header(item.second.data());
            const bool goes = header.last_offset() >= target || target <= floor;
            if (goes && header.base_offset < target && target > floor) end = header.base_offset;
            return goes;
          });
          start = target <= floor ? target : std::min(start, end);
        }
      } else if (kind == 14) {
        CHECK(log->roll(1'000'000) == 0);
      } else if (kind == 15) {
        start += below(static_cast<uint32_t>(end - start + 1));
        CHECK(log->delete_records_to(start) == 0);
        CHECK(log->delete_old_segments(0).error == 0);
      } else if (kind == 16 && below(4) == 0) {
        start = end + below(100);
        end = start;
        model.clear();
        CHECK(log->truncate_fully_and_start_at(start) == 0);
      } else if (kind == 17) {
        const PartitionLog::FlushJob job = log->begin_flush();
        CHECK(PartitionLog::run_flush(job) == 0);
        log->finish_flush(job, 0);
        CHECK(log->recovery_point() == end);
      } else if (kind >= 18) {
        options.clean_shutdown = kind == 18;
        options.recovery_point = log->recovery_point();
        options.log_start = start;
        options.high_watermark = end;
        CHECK(log->close(options.clean_shutdown) == 0);
        log = open_log(options);
      }
      CHECK(log->log_end() == end);
      CHECK(log->log_start() == start);
      auto expected = model;
      std::erase_if(expected, [&](const auto& item) {
        return read_batch_header(item.second.data()).last_offset() < start;
      });
      CHECK(contents(*log) == expected);
    }
  }
}

TEST(log_shows_nothing_above_the_limit_between_write_and_publication) {
  TempDirectory folder;
  static Rows rows;
  static std::shared_ptr<PartitionLog> log;
  static int looked;
  rows = {};
  looked = 0;
  LogOpenOptions options = options_for(folder, rows);
  options.config.segment_bytes = 200;
  log = open_log(options);
  log->set_leadership(0, 1);
  append(*log, simple_batch(1));
  log->set_high_watermark(1, 0);
  // Two batches of which the second does not fit: the first is in its segment, but not published,
  // while the files of the roll are opened.
  std::vector<std::vector<uint8_t>> batches{simple_batch(1), simple_batch(1, 1'000'000, 100)};
  for (auto& batch : batches) CHECK(log->stage(batch, {}).error == 0);
  const FileOperations before = file_operations();
  static int (*open_file)(const char*, int, mode_t);
  open_file = before.open;
  file_operations().open = [](const char* path, int flags, mode_t mode) {
    if (rows.words[kSizeBytes] < log->size_bytes()) {
      ++looked;
      const LocateResult located = log->locate(0, 1 << 20, rows.words[kHighWatermark], true);
      CHECK(located.error == 0 && located.length == rows.words[kSizeBytes]);
    }
    return open_file(path, flags, mode);
  };
  CHECK(log->commit().committed == 2);
  file_operations() = before;
  CHECK(looked > 0);
  CHECK(log->segment_count() == 2);
  log.reset();
}

TEST(log_readers_see_whole_batches_below_their_limit_while_it_changes) {
  TempDirectory folder;
  Rows rows;
  LogOpenOptions options = options_for(folder, rows);
  options.config.segment_bytes = 4000;
  options.config.retention_bytes = 20'000;
  auto log = open_log(options);
  log->set_leadership(0, 1);  // The watermark trails the log end.
  std::atomic<bool> stop = false;
  const auto read = [&] {
    while (!stop.load()) {
      const int64_t limit = std::atomic_ref(rows.words[kHighWatermark]).load();
      const int64_t offset = std::atomic_ref(rows.words[kLogStart]).load();
      const LocateResult located = log->locate(offset, 1 << 20, limit, true);
      if (located.length == 0) continue;
      std::vector<uint8_t> bytes(static_cast<size_t>(located.length));
      CHECK(located.file->read_at(bytes, located.position) == located.length);
      for (size_t at = 0; at < bytes.size();) {
        BatchHeader header;
        CHECK(check_batch(std::span(bytes).subspan(at), &header) == BatchCheck::kOk);
        CHECK(header.last_offset() < limit);
        CHECK(at > 0 || (header.base_offset <= offset && offset <= header.last_offset()));
        at += static_cast<size_t>(header.size);
      }
    }
  };
  std::thread first(read);
  std::thread second(read);
  for (int i = 0; i < 3000; ++i) {
    append(*log, simple_batch(1 + i % 3, 1'000'000, static_cast<size_t>(i % 200)));
    if (i % 2 == 0) log->set_high_watermark(log->log_end() - i % 3, 0);
    if (i % 50 == 0) CHECK(log->delete_old_segments(1'000'000).error == 0);
  }
  stop.store(true);
  first.join();
  second.join();
  CHECK(log->log_start() > 0);
}

}  // namespace shardlog::test
