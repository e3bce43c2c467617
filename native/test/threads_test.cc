// Two threads: the order that loses no wake-up, and readers of a log whose owner goes on.
#include <sched.h>

#include <atomic>
#include <cstdio>
#include <random>
#include <thread>

#include "log_fixture.h"

namespace shardlog {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr int kRounds = 20'000;
constexpr int kBatches = 1'500;
#elif defined(__aarch64__)
constexpr int kRounds = 5'000;
constexpr int kBatches = 1'500;
#else
constexpr int kRounds = 100'000;
constexpr int kBatches = 6'000;
#endif

/// Lets two threads begin a round together.
class Meeting {
 public:
  void wait(int round) {
    arrived_.fetch_add(1);
    while (arrived_.load() < 2 * (round + 1)) ::sched_yield();
  }

 private:
  std::atomic<int> arrived_{0};
};

TEST(publication_loses_no_wake_up) {
  // The owner publishes and looks for waiters; a reader says that it waits, looks once more and
  // parks. With anything weaker than sequential consistency both can miss each other.
#ifdef SHARDLOG_EMULATED
  // QEMU puts no barrier between a store-release and a load-acquire on x86, which the architecture
  // orders: there the test finds QEMU's fault, and not ours.
  std::printf("  (not under emulation: it does not keep the order that is tested)\n");
  return;
#endif
  int64_t words[8] = {};
  const auto log_end = [&words] { return std::atomic_ref(words[kLogEnd]); };
  const auto waiters = [&words] { return std::atomic_ref(words[kWaiters]); };
  Meeting begin;
  Meeting end;
  bool woken = false;
  bool parked = false;
  std::thread owner([&] {
    for (int round = 0; round < kRounds; ++round) {
      begin.wait(round);
      log_end().store(round + 1);
      woken = waiters().load() != 0 && waiters().exchange(0) != 0;
      end.wait(2 * round);
      end.wait(2 * round + 1);
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    begin.wait(round);
    waiters().store(1);
    parked = log_end().load() < round + 1;
    end.wait(2 * round);
    CHECK(!parked || woken);
    waiters().store(0);
    woken = parked = false;
    end.wait(2 * round + 1);
  }
  owner.join();
}

TEST(log_readers_see_whole_batches_of_the_right_offsets) {
  test::LogFixture f;
  f.config.segment_bytes = 20'000;
  f.config.index_interval_bytes = 500;
  f.config.retention_ms = -1;
  f.config.retention_bytes = 60'000;
  f.open();
  std::atomic<bool> done{false};
  std::atomic<int64_t> reads{0};
  const auto word = [&f](PublishedWord which) { return std::atomic_ref(f.row[which]).load(); };
  const auto read = [&](uint32_t seed) {
    std::mt19937 random(seed);
    while (!done.load()) {
      const int64_t start = word(kLogStart);
      const int64_t end = word(kLogEnd);
      if (start >= end) {
        ::sched_yield();
        continue;
      }
      const int64_t offset =
          start + static_cast<int64_t>(random() % static_cast<uint64_t>(end - start));
      const LocateResult located =
          f.log->locate(offset, 1 + static_cast<int64_t>(random() % 5'000), end, true);
      if (located.error != 0) {
        // Deleted meanwhile, and for no other reason.
        CHECK(located.error == 1 && offset < word(kLogStart));
        continue;
      }
      CHECK(located.length > 0);
      const auto bytes = test::read_region(located);
      if (!located.cold) {
        BatchHeader header;
        CHECK(check_batch(bytes, &header) == BatchCheck::kOk);
        CHECK(header.base_offset <= offset && offset <= header.last_offset());
      }
      reads.fetch_add(1);
    }
  };
  std::thread first(read, 1);
  std::thread second(read, 2);
  std::mt19937 random(3);
  for (int i = 0; i < kBatches; ++i) {
    std::vector<std::vector<uint8_t>> batches;
    for (size_t n = 1 + random() % 3; n > 0; --n) {
      batches.push_back(test::simple_batch(1 + static_cast<int32_t>(random() % 3), 1'000'000 + i,
                                           random() % 600));
    }
    for (auto& batch : batches) CHECK(f.stage(batch).error == 0);
    CHECK(f.log->commit().committed == batches.size());
    if (i % 50 == 0) CHECK(f.log->delete_old_segments(f.now_ms).error == 0);
    if (i % 333 == 0) CHECK(f.log->roll(f.now_ms) == 0);
    if (i % 100 == 0) f.log->offset_for_timestamp(1'000'000 + i / 2, word(kLogEnd));
  }
  while (reads.load() < 100) ::sched_yield();
  done = true;
  first.join();
  second.join();
}

}  // namespace

TEST(ends_of_epochs_are_told_while_new_ones_begin) {
  LeaderEpochCache cache("/nowhere/leader-epoch-checkpoint");
  cache.assign(0, 0);
  constexpr int32_t kEpochs = 20000;
  std::atomic<bool> done{false};
  std::thread owner([&] {
    for (int32_t epoch = 1; epoch <= kEpochs; ++epoch) {
      cache.assign(epoch, int64_t{10} * epoch);
      if (epoch % 100 == 0) cache.truncate_from_end(int64_t{10} * (epoch - 50));
      if (epoch % 1000 == 0) cache.truncate_from_start(int64_t{10} * (epoch - 500));
    }
    done.store(true);
  });
  int wrong = 0;
  for (int32_t asked = 0; !done.load(); asked = (asked + 7) % kEpochs) {
    const auto end = cache.end_offset(asked, int64_t{10} * (kEpochs + 1));
    if (end.epoch > asked || end.offset < int64_t{-1}) ++wrong;
  }
  owner.join();
  CHECK(wrong == 0);
}

}  // namespace shardlog
