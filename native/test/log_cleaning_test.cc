// Cleaned segments in the place of others: who may be replaced, what readers see meanwhile, and
// that with any system call failing, once or for good, the log is the old one or the new one.
#include <errno.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "../big_endian.h"
#include "faults.h"
#include "log_fixture.h"

namespace shardlog::test {
namespace {

constexpr int64_t kBatches = 8;
const std::vector<int64_t> kAll{0, 1, 2, 3, 4, 5, 6, 7};
const std::vector<int64_t> kCleaned{1, 3, 4, 6, 7};

/// Eight batches of a record each, two to a segment.
void fill(LogFixture& f) {
  f.config.segment_bytes = 350;
  f.config.index_interval_bytes = 64;
  f.open();
  for (int64_t i = 0; i < kBatches; ++i) CHECK(f.append(1, 1'000'000 + i, 80) == i);
  CHECK(f.log->segment_count() == 4);
}

/// Makes the first three segments one, with the batches 1, 3 and 4.
void write_cleaned(const LogFixture& f) {
  std::vector<uint8_t> log;
  std::vector<uint8_t> index;
  for (const StoredBatch& batch : f.read_from(0)) {
    const int64_t offset = batch.header.base_offset;
    if (offset != 1 && offset != 3 && offset != 4) continue;
    if (!log.empty()) {
      index.resize(index.size() + 8);
      store_be<int32_t>(index.data() + index.size() - 8, static_cast<int32_t>(offset));
      store_be<int32_t>(index.data() + index.size() - 4, static_cast<int32_t>(log.size()));
    }
    log.insert(log.end(), batch.bytes.begin(), batch.bytes.end());
  }
  std::vector<uint8_t> times(12);
  store_be<int64_t>(times.data(), 1'000'004);
  store_be<int32_t>(times.data() + 8, 4);
  write_file(f.segment(0, ".log.cleaned"), log);
  write_file(f.segment(0, ".index.cleaned"), index);
  write_file(f.segment(0, ".timeindex.cleaned"), times);
}

std::vector<int64_t> offsets_in(const LogFixture& f) {
  std::vector<int64_t> offsets;
  for (const StoredBatch& batch : f.read_from(f.row[kLogStart])) {
    offsets.push_back(batch.header.base_offset);
  }
  return offsets;
}

size_t leftovers(const LogFixture& f) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(f.directory())) {
    const std::string extension = entry.path().extension();
    if (extension == ".cleaned" || extension == ".swap" || extension == ".deleted") ++count;
  }
  return count;
}

TEST(cleaned_segment_takes_the_place_of_others) {
  LogFixture f;
  fill(f);
  const auto old = f.log->locate(0, 1 << 20, kBatches, true);
  write_cleaned(f);
  const CleaningState state = f.log->cleaning_state(true);
  CHECK(state.error == 0 && state.segments.size() == 4);
  CHECK(state.segments[1].base_offset == 2 && state.segments[1].largest_timestamp == 1'000'003);
  CHECK(state.segments[2].first_timestamp == 1'000'004);
  const std::vector<int64_t> bases{0, 2, 4};
  ReplacedSegments replaced;
  CHECK(f.log->replace_segments(bases, state.truncations, &replaced) == 0);
  CHECK(f.log->segment_count() == 2);
  CHECK(offsets_in(f) == kCleaned);
  CHECK(f.row[kSizeBytes] == f.log->size_bytes());
  CHECK(split_batches(read_region(old)).size() == 2);  // Who had begun reads on.
  CHECK(replaced.files.size() == 3);
  CHECK(PartitionLog::discard(replaced) == 0);
  CHECK(leftovers(f) == 0);
  CHECK(!std::filesystem::exists(f.segment(2, ".snapshot")));
  CHECK(f.log->offset_for_timestamp(1'000'002, kBatches).offset == 3);
  CHECK(f.append(1) == kBatches);
  f.reopen_unclean();
  CHECK(f.report.bytes_truncated == 0 && f.row[kLogEnd] == kBatches + 1);
  f.reopen_clean();
  // And once more, of what is now one segment.
  std::filesystem::copy(f.segment(0), f.segment(0, ".log.cleaned"));
  const std::vector<int64_t> first{0};
  ReplacedSegments again;
  CHECK(f.log->replace_segments(first, f.log->cleaning_state(false).truncations, &again) == 0);
  CHECK(PartitionLog::discard(again) == 0);
  CHECK(offsets_in(f).size() == kCleaned.size() + 1);
}

TEST(a_group_that_became_empty_is_an_empty_segment) {
  LogFixture f;
  fill(f);
  write_file(f.segment(2, ".log.cleaned"), {});
  const std::vector<int64_t> bases{2, 4};
  ReplacedSegments replaced;
  CHECK(f.log->replace_segments(bases, 0, &replaced) == 0);
  CHECK(PartitionLog::discard(replaced) == 0);
  CHECK((offsets_in(f) == std::vector<int64_t>{0, 1, 6, 7}));
  CHECK(f.log->locate(3, 1 << 20, kBatches, true).length > 0);
  f.reopen_unclean();
  CHECK((offsets_in(f) == std::vector<int64_t>{0, 1, 6, 7}));
}

TEST(what_does_not_stand_there_any_more_is_not_replaced) {
  const auto refused = [](LogFixture& f, const std::vector<int64_t>& bases, uint64_t truncations) {
    write_cleaned(f);
    if (bases.front() != 0) {
      std::filesystem::rename(f.segment(0, ".log.cleaned"),
                              f.segment(bases.front(), ".log.cleaned"));
    }
    const auto before = offsets_in(f);
    ReplacedSegments replaced;
    const int error = f.log->replace_segments(bases, truncations, &replaced);
    CHECK(offsets_in(f) == before && !f.log->offline() && replaced.paths.empty());
    CHECK(!std::filesystem::exists(f.segment(bases.front(), ".log.cleaned")));
    return error;
  };
  LogFixture f;
  fill(f);
  CHECK(refused(f, {0, 2, 6}, 0) == ESTALE);
  CHECK(refused(f, {0, 4}, 0) == ESTALE);
  CHECK(refused(f, {1}, 0) == ESTALE);
  CHECK(refused(f, {0, 2, 4, 6}, 0) == ESTALE);  // The active one.
  CHECK(refused(f, {6}, 0) == ESTALE);
  CHECK(refused(f, {0, 2, 4}, 1) == ESTALE);
  CHECK(refused(f, {0, 2}, 0) == EBADMSG);  // It has what belongs to the segment behind.
  CHECK(f.log->truncate_to(7) == 0);
  CHECK(refused(f, {0, 2, 4}, 0) == ESTALE);
  f.config.retention_bytes = 0;
  f.log->set_config(f.config);
  CHECK(f.log->delete_old_segments(f.now_ms).segments > 0);
  ReplacedSegments replaced;
  const std::vector<int64_t> bases{0, 2};
  CHECK(f.log->replace_segments(bases, 1, &replaced) == ESTALE);
  CHECK(f.log->replace_segments({}, 1, &replaced) == EINVAL);
  CHECK(f.log->close(true) == 0);
  CHECK(f.log->replace_segments(bases, 1, &replaced) == ESTALE);
}

TEST(damaged_cleaned_files_replace_nothing) {
  LogFixture f;
  fill(f);
  write_cleaned(f);
  write_file(f.segment(0, ".log.cleaned"), std::vector<uint8_t>(100, 7));
  const std::vector<int64_t> bases{0, 2, 4};
  ReplacedSegments replaced;
  CHECK(f.log->replace_segments(bases, 0, &replaced) == EBADMSG);
  CHECK(offsets_in(f) == kAll && leftovers(f) == 0);
  // Indexes alone are made anew.
  write_cleaned(f);
  write_file(f.segment(0, ".index.cleaned"), std::vector<uint8_t>(16, 7));
  CHECK(f.log->replace_segments(bases, 0, &replaced) == 0);
  CHECK(offsets_in(f) == kCleaned);
}

TEST(log_survives_any_failure_while_segments_are_replaced) {
  for (const bool for_good : {false, true}) {
    int nth = 1;
    int replacements = 0;
    for (bool reached = true; reached; ++nth) {
      LogFixture f;
      fill(f);
      write_cleaned(f);
      const std::vector<int64_t> bases{0, 2, 4};
      ReplacedSegments replaced;
      int error = 0;
      {
        NthCallFails fault(nth, for_good);
        error = f.log->replace_segments(bases, 0, &replaced);
        if (error == 0) static_cast<void>(PartitionLog::discard(replaced));
        reached = fault.happened();
      }
      if (!f.log->offline()) {
        CHECK(offsets_in(f) == (error == 0 ? kCleaned : kAll));
      } else {
        CHECK(error != 0);
      }
      CHECK((f.log->close(false), true));
      f.open(false, kBatches);
      CHECK(f.report.bytes_truncated == 0);
      const auto found = offsets_in(f);
      CHECK(found == kAll || found == kCleaned);
      CHECK(error != 0 || found == kCleaned);
      CHECK(leftovers(f) == 0);
      replacements += found == kCleaned ? 1 : 0;
      CHECK(f.append(1) == kBatches);
    }
    CHECK(replacements > 1);
    std::printf("  replace_segments: %d calls, %d replacements\n", nth - 2, replacements);
  }
}

TEST(readers_go_on_while_segments_are_replaced) {
  LogFixture f;
  fill(f);
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    uint64_t rounds = 0;
    do {
      for (int64_t offset = 0; offset < kBatches; ++offset) {
        const LocateResult located = f.log->locate(offset, 1, kBatches, true);
        CHECK(located.error == 0 && located.length > 0);
        const auto batches = split_batches(read_region(located));
        CHECK(batches.front().header.last_offset() >= offset);
        // The old log or the new one: nothing in between is missing.
        const auto found = batches.front().header.base_offset;
        CHECK(found == offset || (offset == 0 && found == 1) || (offset == 2 && found == 3) ||
              (offset == 5 && found == 6));
      }
      ++rounds;
    } while (!stop);
    CHECK(rounds > 0);
  });
  write_cleaned(f);
  std::vector<int64_t> bases{0, 2, 4};
  for (int round = 0; round < 50; ++round) {
    ReplacedSegments replaced;
    CHECK(f.log->replace_segments(bases, 0, &replaced) == 0);
    CHECK(PartitionLog::discard(replaced) == 0);
    std::filesystem::copy(f.segment(0), f.segment(0, ".log.cleaned"));
    bases = {0};
  }
  stop = true;
  reader.join();
}

}  // namespace
}  // namespace shardlog::test
