// Truncating a log, starting it anew and finishing an interrupted replacement of its segments, with
// every single system call failing in turn: no batch that should stay is lost, none comes back
// changed or out of order, and the log opens again.
#include <cstdio>
#include <functional>

#include "faults.h"
#include "log_fixture.h"

namespace shardlog::test {
namespace {

std::vector<uint8_t> numbered_batch(int32_t sequence) {
  BatchSpec spec;
  spec.records[0].value = std::string(100, static_cast<char>('a' + sequence));
  spec.producer_id = 3;
  spec.producer_epoch = 0;
  spec.base_sequence = sequence;
  return make_batch(spec);
}

constexpr int32_t kBatches = 8;

/// Eight batches of one record by one producer, two to a segment, a leader epoch for every three.
std::vector<std::vector<uint8_t>> fill(LogFixture& f) {
  f.config.segment_bytes = 450;
  f.config.index_interval_bytes = 64;
  f.open();
  for (int32_t i = 0; i < kBatches; ++i) {
    f.log->set_leadership(i / 3, 0);
    CHECK(f.append(numbered_batch(i)) == i);
  }
  CHECK(f.log->segment_count() == 4);
  std::vector<std::vector<uint8_t>> stored;
  for (const StoredBatch& batch : f.read_from(0)) stored.push_back(batch.bytes);
  CHECK(stored.size() == kBatches);
  return stored;
}

/// The log holds the first batches of `stored` and nothing else. How many.
int64_t check_prefix(const LogFixture& f, const std::vector<std::vector<uint8_t>>& stored) {
  const auto found = f.read_from(f.row[kLogStart]);
  CHECK(found.size() <= stored.size());
  for (size_t i = 0; i < found.size(); ++i) CHECK(found[i].bytes == stored[i]);
  CHECK(f.row[kLogEnd] == static_cast<int64_t>(found.size()));
  return static_cast<int64_t>(found.size());
}

/// The producer's memory is that of what is left: the last batch is known, the next is awaited.
void check_producer(LogFixture& f, int64_t kept) {
  CHECK(f.log->leader_epochs().latest() <= static_cast<int32_t>(kept) / 3);
  f.log->set_leadership(9, 0);
  if (kept > 0) {
    auto last = numbered_batch(static_cast<int32_t>(kept - 1));
    const StageResult again = f.stage(last);
    CHECK(again.error == 0 && again.duplicate && again.base_offset == kept - 1);
    CHECK(f.log->commit().error == 0);
  }
  CHECK(f.append(numbered_batch(static_cast<int32_t>(kept))) == kept);
}

}  // namespace

TEST(log_survives_any_failure_while_it_truncates) {
  for (const int64_t target : {int64_t{1}, int64_t{2}, int64_t{5}, int64_t{7}}) {
    int nth = 1;
    for (bool reached = true; reached; ++nth) {
      LogFixture f;
      const auto stored = fill(f);
      int error = 0;
      {
        NthCallFails fault(nth);
        error = f.log->truncate_to(target);
        reached = fault.happened();
      }
      if (error == 0) {
        CHECK(!f.log->offline());
        CHECK(check_prefix(f, stored) == target);
      } else if (f.log->offline()) {
        CHECK(f.log->locate(0, 1, target, true).error == 56);
      } else {
        CHECK(check_prefix(f, stored) == kBatches);  // Refused before anything was touched.
      }
      CHECK(f.log->recovery_point() <= (error == 0 ? target : kBatches));
      const int64_t recovery_point = f.log->recovery_point();
      CHECK((f.log->close(false), true));
      f.open(false, recovery_point);
      const int64_t kept = check_prefix(f, stored);
      CHECK(kept >= target);
      CHECK(error != 0 || kept == target);
      check_producer(f, kept);
    }
    std::printf("  truncate_to(%lld): %d calls\n", static_cast<long long>(target), nth - 2);
  }
}

TEST(log_survives_any_failure_while_it_starts_anew) {
  int nth = 1;
  for (bool reached = true; reached; ++nth) {
    LogFixture f;
    const auto stored = fill(f);
    int error = 0;
    {
      NthCallFails fault(nth);
      error = f.log->truncate_fully_and_start_at(100);
      reached = fault.happened();
    }
    CHECK((error != 0) == f.log->offline());
    CHECK((f.log->close(false), true));
    // The start that the checkpoint has is still the old one.
    f.open(false);
    if (f.row[kLogEnd] != 100) {
      CHECK(error != 0);
      check_producer(f, check_prefix(f, stored));
    } else {
      CHECK(f.row[kLogStart] == 100 && f.log->size_bytes() == 0);
      CHECK(f.append(numbered_batch(5)) == 100);  // Of a producer that nobody remembers.
    }
  }
  std::printf("  truncate_fully_and_start_at: %d calls\n", nth - 2);
}

TEST(log_survives_any_failure_while_it_finishes_a_replacement) {
  int nth = 1;
  for (bool reached = true; reached; ++nth) {
    LogFixture f;
    auto stored = fill(f);
    const auto segments = f.log->segments();
    CHECK(f.log->close(true) == 0);
    // The second and third segment become one, with their first and last batch.
    std::vector<uint8_t> merged = stored[2];
    merged.insert(merged.end(), stored[5].begin(), stored[5].end());
    CHECK(segments[1].base_offset == 2 && segments[3].base_offset == 6);
    write_file(f.segment(2, ".log.swap"), merged);
    write_file(f.segment(2, ".index.swap"), {});
    write_file(f.segment(2, ".timeindex.swap"), {});
    stored.erase(stored.begin() + 3, stored.begin() + 5);
    {
      NthCallFails fault(nth);
      f.try_open(true);
      reached = fault.happened();
    }
    if (f.log) CHECK((f.log->close(false), true));
    f.open(false, kBatches);
    const auto found = f.read_from(0);
    CHECK(found.size() == stored.size());
    for (size_t i = 0; i < found.size(); ++i) CHECK(found[i].bytes == stored[i]);
    check_producer(f, kBatches);
  }
  std::printf("  open: %d calls\n", nth - 2);
}

}  // namespace shardlog::test
