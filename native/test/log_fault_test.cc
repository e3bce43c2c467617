// Every call that changes a log fails once, or from some call on: what was reported as committed is
// in the log, nothing else is, or the log is offline; and it opens again with exactly that.
#include <errno.h>

#include <cstdio>
#include <map>

#include "log_fixture.h"

namespace shardlog {
namespace {

enum class Call { kPwritev, kFtruncate, kFallocate, kFdatasync, kFsync };
enum class Fault { kEnospc, kEio, kShort, kShortThenEio };

struct FaultPlan {
  Call call;
  Fault fault;
  int nth;        // From 1.
  bool for_good;  // Later calls fail too.
  int seen = 0;
  bool hit = false;

  bool due(Call now) {
    if (now != call) return false;
    ++seen;
    if (seen != nth && !(for_good && seen > nth)) return false;
    hit = true;
    return true;
  }
};

FileOperations usual;
FaultPlan* plan = nullptr;

int fail_with(Fault fault) {
  errno = fault == Fault::kEnospc ? ENOSPC : EIO;
  return -1;
}

ssize_t faulty_pwritev(int fd, const iovec* vectors, int count, off_t position) {
  const bool was_short = plan->fault == Fault::kShortThenEio && plan->hit && !plan->for_good &&
                         plan->call == Call::kPwritev && plan->seen == plan->nth;
  if (was_short) {
    ++plan->seen;
    return fail_with(Fault::kEio);
  }
  if (!plan->due(Call::kPwritev)) return usual.pwritev(fd, vectors, count, position);
  if (plan->fault == Fault::kEnospc || plan->fault == Fault::kEio) return fail_with(plan->fault);
  if (plan->for_good && plan->fault == Fault::kShortThenEio && plan->seen > plan->nth) {
    return fail_with(Fault::kEio);
  }
  // More than the first vector, so that whole batches of a failed write are in the file.
  iovec part[2] = {vectors[0], count > 1 ? vectors[1] : iovec{}};
  if (count > 1) {
    part[1].iov_len /= 2;
  } else {
    part[0].iov_len = part[0].iov_len / 2 + 1;
  }
  return usual.pwritev(fd, part, count > 1 ? 2 : 1, position);
}

int faulty_ftruncate(int fd, off_t size) {
  return plan->due(Call::kFtruncate) ? fail_with(plan->fault) : usual.ftruncate(fd, size);
}

int faulty_fallocate(int fd, int mode, off_t begin, off_t length) {
  return plan->due(Call::kFallocate) ? fail_with(plan->fault)
                                     : usual.fallocate(fd, mode, begin, length);
}

int faulty_fdatasync(int fd) {
  return plan->due(Call::kFdatasync) ? fail_with(plan->fault) : usual.fdatasync(fd);
}

int faulty_fsync(int fd) {
  return plan->due(Call::kFsync) ? fail_with(plan->fault) : usual.fsync(fd);
}

class FaultScope {
 public:
  explicit FaultScope(FaultPlan* with) {
    plan = with;
    usual = file_operations();
    FileOperations& operations = file_operations();
    operations.pwritev = faulty_pwritev;
    operations.ftruncate = faulty_ftruncate;
    operations.fallocate = faulty_fallocate;
    operations.fdatasync = faulty_fdatasync;
    operations.fsync = faulty_fsync;
  }
  ~FaultScope() { file_operations() = usual; }
  FaultScope(const FaultScope&) = delete;
  FaultScope& operator=(const FaultScope&) = delete;
};

/// One life of a log under a plan, with what it acknowledged.
class Life {
 public:
  explicit Life(FaultPlan* fault_plan) : plan_(fault_plan) {
    f_.config.segment_bytes = 4'000;
    f_.config.index_interval_bytes = 300;
    f_.config.retention_ms = -1;
  }

  void run() {
    {
      FaultScope scope(plan_);
      if (f_.try_open()) live();
    }
    if (f_.log) {
      if (f_.log->offline()) {
        CHECK(f_.row[kOffline] == 1);
        CHECK(f_.log->close(true) != 0);
      } else {
        check_content();
        CHECK(f_.log->close(false) == 0);
      }
    }
    // The disk is well again. What was cut is not there, what was acknowledged is.
    const int64_t start = start_;
    f_.open(false, 0, start);
    check_content();
    // And repetitions of the last acknowledged batch are still recognised.
    if (sequence_ > 0 && end_ > start_) {
      auto again = producer_batch(sequence_ - 1);
      const StageResult staged = f_.stage(again);
      CHECK(staged.error == 0);
      CHECK(f_.log->commit().error == 0 && f_.row[kLogEnd] == end_);
    }
    CHECK(f_.append(1) == end_);
  }

 private:
  std::vector<uint8_t> producer_batch(int32_t sequence) {
    test::BatchSpec spec;
    spec.records[0].value = std::string(300, 'f');
    spec.producer_id = 3;
    spec.producer_epoch = 0;
    spec.base_sequence = sequence;
    return test::make_batch(spec);
  }

  void live() {
    for (int round = 0; round < 14; ++round) {
      if (round == 5) f_.log->set_leadership(2, 0);
      commit();
      if (round == 6) {
        const auto job = f_.log->begin_flush();
        f_.log->finish_flush(job, PartitionLog::run_flush(job));
      }
      if (round == 9 && !f_.log->offline()) {
        const int64_t wanted = end_ / 2;
        CHECK(f_.log->delete_records_to(wanted) == 0);
        start_ = wanted;
        // Its own failure is reported; what it deleted lies below the start in any case.
        f_.log->delete_old_segments(f_.now_ms);
        CHECK(f_.row[kLogStart] == start_);
      }
      CHECK(f_.row[kLogEnd] == end_);
    }
    if (f_.log->offline()) return;
    if (f_.log->close(true) != 0) {
      f_.log.reset();  // No clean end: it counts as a crash.
    } else if (f_.try_open(true, f_.log->recovery_point(), start_)) {
      check_content();
    }
  }

  void commit() {
    std::vector<std::vector<uint8_t>> batches;
    for (int i = 0; i < 3; ++i) batches.push_back(producer_batch(sequence_ + i));
    std::vector<StageResult> staged;
    for (auto& batch : batches) {
      staged.push_back(f_.stage(batch));
      if (f_.log->offline()) {
        CHECK(staged.back().error == 56);
        return;
      }
      CHECK(staged.back().error == 0);
    }
    const CommitResult committed = f_.log->commit();
    CHECK((committed.error == 0) == (committed.committed == batches.size()));
    for (size_t i = 0; i < committed.committed; ++i) {
      CHECK(staged[i].base_offset == end_);
      acknowledged_[end_] = batches[i];
      end_ = staged[i].last_offset + 1;
      ++sequence_;
    }
  }

  void check_content() {
    CHECK(f_.row[kLogEnd] == end_ && f_.row[kLogStart] == start_);
    const auto read = f_.read_from(start_);
    auto expected = acknowledged_.lower_bound(start_);
    for (const auto& batch : read) {
      CHECK(expected != acknowledged_.end() && batch.header.base_offset == expected->first);
      CHECK(batch.bytes == expected->second);
      ++expected;
    }
    CHECK(expected == acknowledged_.end());
  }

  FaultPlan* const plan_;
  test::LogFixture f_;
  std::map<int64_t, std::vector<uint8_t>> acknowledged_;
  int64_t start_ = 0;
  int64_t end_ = 0;
  int32_t sequence_ = 0;
};

void try_every_call(Call call, Fault fault) {
  for (const bool for_good : {false, true}) {
    for (int nth = 1;; ++nth) {
      FaultPlan fault_plan{call, fault, nth, for_good};
      Life(&fault_plan).run();
      if (!fault_plan.hit) {
        CHECK(nth > 1);
        break;
      }
      CHECK(nth < 200);
    }
  }
}

TEST(log_survives_failing_writes) {
  for (const Fault fault : {Fault::kEnospc, Fault::kEio, Fault::kShortThenEio}) {
    try_every_call(Call::kPwritev, fault);
  }
}

TEST(log_goes_on_after_short_writes) {
  for (int nth = 1; nth < 20; ++nth) {
    FaultPlan fault_plan{Call::kPwritev, Fault::kShort, nth, false};
    Life(&fault_plan).run();
  }
}

TEST(log_survives_failing_truncations) { try_every_call(Call::kFtruncate, Fault::kEio); }

TEST(log_survives_failing_flushes) {
  try_every_call(Call::kFdatasync, Fault::kEio);
  try_every_call(Call::kFsync, Fault::kEio);
}

TEST(log_is_written_without_preallocation_where_there_is_none) {
  try_every_call(Call::kFallocate, Fault::kEnospc);
}

/// A write that fails and a truncation that fails after it: nobody knows what the file holds.
TEST(log_goes_offline_when_a_failed_write_cannot_be_undone) {
  test::LogFixture f;
  f.open();
  f.append(2);
  {
    static FaultPlan both{Call::kPwritev, Fault::kShortThenEio, 1, true};
    FaultScope scope(&both);
    file_operations().ftruncate = [](int, off_t) { return fail_with(Fault::kEio); };
    std::vector<std::vector<uint8_t>> batches(3, test::simple_batch(1));
    for (auto& batch : batches) CHECK(f.stage(batch).error == 0);
    const CommitResult committed = f.log->commit();
    CHECK(committed.error == EIO && committed.committed == 0);
    CHECK(f.log->offline() && f.row[kOffline] == 1 && f.row[kLogEnd] == 2);
  }
  auto batch = test::simple_batch(1);
  CHECK(f.stage(batch).error == 56);
  CHECK(f.log->locate(0, 100, 2, true).error == 56);
  CHECK(f.log->delete_old_segments(f.now_ms + 1'000'000'000'000).segments == 0);
  // Never a clean end; but the next truncation works, and so only what was acknowledged comes back.
  CHECK(f.log->close(true) != 0);
  f.open(false);
  CHECK(f.row[kLogEnd] == 2 && f.read_from(0).size() == 1);
  CHECK(f.append(1) == 2);
}

}  // namespace
}  // namespace shardlog
