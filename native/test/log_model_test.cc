// A log against a plain map, through random appends, rolls, deletions and reopenings. A failure
// prints the seed that leads to it.
#include <cstdio>
#include <filesystem>
#include <map>
#include <random>

#include "log_fixture.h"

namespace shardlog {
namespace {

struct ModelBatch {
  std::vector<uint8_t> bytes;
  int64_t last_offset;
  int64_t timestamp;
  int32_t epoch;
};

class LogModel {
 public:
  explicit LogModel(uint32_t seed) : random_(seed) {
    f_.config.segment_bytes = 2'000 + static_cast<int64_t>(random_() % 20'000);
    f_.config.index_interval_bytes = 1 + static_cast<int64_t>(random_() % 2'000);
    f_.config.segment_index_bytes = 200 + static_cast<int64_t>(random_() % 2'000);
    f_.config.segment_ms = 20'000;
    f_.config.retention_ms = 60'000;
    f_.config.retention_bytes = random_() % 2 == 0 ? -1 : 40'000;
    f_.open();
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      const uint32_t roll = random_() % 100;
      if (roll < 70) {
        append();
      } else if (roll < 74) {
        CHECK(f_.log->roll(f_.now_ms) == 0);
      } else if (roll < 80) {
        retain();
      } else if (roll < 83) {
        delete_records();
      } else if (roll < 86) {
        epoch_ += 1 + static_cast<int32_t>(random_() % 3);
        f_.log->set_leadership(epoch_, 0);
      } else if (roll < 92) {
        f_.reopen_clean();
        f_.log->set_leadership(epoch_, 0);
      } else if (roll < 97) {
        f_.reopen_unclean(flushed_);
        f_.log->set_leadership(epoch_, 0);
      } else if (roll < 98) {
        lose_tail();
      } else {
        const auto job = f_.log->begin_flush();
        CHECK(PartitionLog::run_flush(job) == 0);
        f_.log->finish_flush(job, 0);
        flushed_ = f_.log->recovery_point();
      }
      check();
    }
    f_.reopen_clean();
    check_content();
  }

 private:
  void append() {
    const size_t count = 1 + random_() % 5;
    std::vector<std::vector<uint8_t>> batches;
    std::vector<StageResult> staged;
    for (size_t i = 0; i < count; ++i) {
      f_.now_ms += static_cast<int64_t>(random_() % 800);
      test::BatchSpec spec;
      spec.records.assign(1 + random_() % 4, test::RecordSpec{});
      spec.records.back().value = std::string(random_() % (random_() % 10 == 0 ? 4'000 : 200), 'm');
      spec.base_timestamp =
          random_() % 20 == 0 ? -1 : f_.now_ms - static_cast<int64_t>(random_() % 3'000);
      if (random_() % 2 == 0) {
        spec.producer_id = 1;
        spec.producer_epoch = 0;
        spec.base_sequence = sequence_;
      }
      batches.push_back(test::make_batch(spec));
      if (spec.producer_id >= 0) {
        sequence_ += static_cast<int32_t>(spec.records.size());
        repeated_ = batches.back();
      }
    }
    const bool repeat = !repeated_.empty() && random_() % 10 == 0;
    if (repeat) batches.push_back(repeated_);
    for (auto& batch : batches) staged.push_back(f_.stage(batch));
    const CommitResult committed = f_.log->commit();
    CHECK(committed.error == 0 && committed.committed == batches.size());
    if (repeat) {
      // A repetition gets the offset of its original.
      BatchHeader header = read_batch_header(batches.back().data());
      bool found = false;
      for (const auto& [base, batch] : batches_) {
        const BatchHeader original = read_batch_header(batch.bytes.data());
        found = found || (base == staged.back().base_offset &&
                          original.base_sequence == header.base_sequence);
      }
      for (size_t i = 0; i + 1 < batches.size(); ++i) {
        found = found || (staged[i].base_offset == staged.back().base_offset);
      }
      CHECK(staged.back().error == 0);
      CHECK(found || staged.back().base_offset < f_.row[kLogStart] || forgotten_);
      batches.pop_back();
      staged.pop_back();
    }
    for (size_t i = 0; i < batches.size(); ++i) {
      CHECK(staged[i].error == 0 && staged[i].base_offset == end_);
      end_ = staged[i].last_offset + 1;
      const BatchHeader header = read_batch_header(batches[i].data());
      batches_[staged[i].base_offset] = {batches[i], staged[i].last_offset, header.max_timestamp,
                                         epoch_};
    }
  }

  void retain() {
    f_.now_ms += static_cast<int64_t>(random_() % 30'000);
    const int64_t before = f_.row[kLogStart];
    const int64_t bytes = f_.log->size_bytes();
    const auto deleted = f_.log->delete_old_segments(f_.now_ms);
    CHECK(deleted.error == 0);
    CHECK(f_.log->size_bytes() == bytes - deleted.bytes);
    start_ = f_.row[kLogStart];
    CHECK(start_ >= before && (deleted.segments > 0 || start_ == before));
    if (f_.config.retention_bytes < 0) {
      for (const auto& [base, batch] : batches_) {
        // By time alone, nothing young goes.
        if (batch.last_offset >= start_ || batch.last_offset < before) continue;
        CHECK(batch.timestamp < 0 || f_.now_ms - batch.timestamp > f_.config.retention_ms);
      }
    }
    forget();
  }

  void delete_records() {
    const int64_t offset =
        start_ + static_cast<int64_t>(random_() % (static_cast<uint64_t>(end_ - start_) / 4 + 1));
    CHECK(f_.log->delete_records_to(offset) == 0);
    start_ = offset;
    forget();
  }

  /// The machine loses what was not flushed: the active segment ends anywhere.
  void lose_tail() {
    CHECK(f_.log->close(false) == 0);
    int64_t active = 0;
    for (const auto& entry : std::filesystem::directory_iterator(f_.directory())) {
      if (entry.path().extension() == ".log") {
        active = std::max(active, static_cast<int64_t>(std::stoll(entry.path().stem().string())));
      }
    }
    auto bytes = test::read_file(f_.segment(active));
    bytes.resize(bytes.empty() ? 0 : random_() % bytes.size());
    test::write_file(f_.segment(active), bytes);
    end_ = active;
    std::span<const uint8_t> rest(bytes);
    BatchHeader header;
    while (check_batch(rest, &header) == BatchCheck::kOk) {
      end_ = header.last_offset() + 1;
      rest = rest.subspan(static_cast<size_t>(header.size));
    }
    batches_.erase(batches_.lower_bound(end_), batches_.end());
    start_ = std::min(start_, end_);
    flushed_ = std::min(flushed_, end_);
    f_.open(false, flushed_, start_);
    f_.log->set_leadership(epoch_, 0);
    start_ = f_.row[kLogStart];
    // What the producer is known by may be gone: it goes on as a new one.
    sequence_ = 0;
    repeated_.clear();
    forgotten_ = true;
    for (const auto& [id, entry] : f_.log->producers().producers()) {
      if (entry.count > 0) {
        sequence_ = entry.batches[entry.count - 1].last_sequence + 1;
      }
    }
  }

  void forget() {
    while (!batches_.empty() && batches_.begin()->second.last_offset < start_) {
      batches_.erase(batches_.begin());
    }
  }

  void check() {
    CHECK(f_.row[kLogStart] == start_ && f_.row[kLogEnd] == end_);
    CHECK(f_.row[kHighWatermark] == end_ && f_.row[kOffline] == 0);
    CHECK(f_.row[kSizeBytes] == f_.log->size_bytes());
    if (start_ < end_) {
      const int64_t offset =
          start_ + static_cast<int64_t>(random_() % static_cast<uint64_t>(end_ - start_));
      const LocateResult located = f_.log->locate(offset, 1, end_, true);
      CHECK(located.error == 0 && located.length > 0);
      const auto batches = test::split_batches(test::read_region(located));
      CHECK(batches.size() == 1 &&
            batches[0].bytes == std::prev(batches_.upper_bound(offset))->second.bytes);
    }
    const int64_t target = f_.now_ms - static_cast<int64_t>(random_() % 80'000);
    const TimestampResult found = f_.log->offset_for_timestamp(target, end_);
    CHECK(found.error == 0);
    int64_t expected = -1;
    for (const auto& [base, batch] : batches_) {
      if (batch.timestamp < target) continue;
      expected = std::max(base, start_);
      CHECK(found.leader_epoch == batch.epoch);
      break;
    }
    CHECK(found.found == (expected >= 0) && (expected < 0 || found.offset == expected));
    if (random_() % 20 == 0) check_content();
  }

  void check_content() {
    const auto read = f_.read_from(start_, 1 + static_cast<int64_t>(random_() % 8'000));
    CHECK(read.size() == batches_.size());
    auto expected = batches_.begin();
    for (const auto& batch : read) {
      CHECK(batch.header.base_offset == expected->first && batch.bytes == expected->second.bytes);
      ++expected;
    }
  }

  std::mt19937 random_;
  test::LogFixture f_;
  std::map<int64_t, ModelBatch> batches_;
  int64_t start_ = 0;
  int64_t end_ = 0;
  int64_t flushed_ = 0;
  int32_t epoch_ = 0;
  int32_t sequence_ = 0;
  bool forgotten_ = false;
  std::vector<uint8_t> repeated_;
};

TEST(log_agrees_with_a_map_through_random_histories) {
  for (uint32_t seed = 1; seed <= 25; ++seed) {
    std::fprintf(stderr, "log model seed %u\n", seed);
    LogModel(seed).run(300);
  }
}

}  // namespace
}  // namespace shardlog
