// Partition logs on a real file system: append, locate, roll, retention, time look-up, duplicates,
// and opening again after every kind of end.
#include "../partition_log.h"

#include <errno.h>

#include <filesystem>

#include "check.h"
#include "log_fixture.h"

namespace shardlog {
namespace {

using test::BatchSpec;
using test::LogFixture;
using test::make_batch;
using test::read_file;
using test::RecordSpec;
using test::simple_batch;
using test::write_file;

constexpr int16_t kOutOfRange = 1;
constexpr int16_t kCorrupt = 2;
constexpr int16_t kNotLeader = 6;
constexpr int16_t kTooLarge = 10;
constexpr int16_t kBadTimestamp = 32;
constexpr int16_t kOutOfOrder = 45;
constexpr int16_t kInvalidRecord = 87;

std::vector<uint8_t> producer_batch(int64_t id, int16_t epoch, int32_t sequence, int32_t count,
                                    size_t bytes = 1) {
  BatchSpec spec;
  spec.records.assign(static_cast<size_t>(count), RecordSpec{});
  spec.records.front().value = std::string(bytes, 'p');
  spec.producer_id = id;
  spec.producer_epoch = epoch;
  spec.base_sequence = sequence;
  return make_batch(spec);
}

/// The offset that a batch got, with `batches` single-record batches in the log.
LogFixture& fill(LogFixture& fixture, int batches, size_t bytes = 1) {
  fixture.open();
  for (int i = 0; i < batches; ++i) fixture.append(1, 1'000'000 + i, bytes);
  return fixture;
}

TEST(log_appends_in_order_and_finds_what_it_wrote) {
  LogFixture f;
  f.open();
  CHECK(f.row[kLogStart] == 0 && f.row[kLogEnd] == 0 && f.row[kOffline] == 0);
  CHECK(f.append(3) == 0);
  CHECK(f.append(1) == 3);
  CHECK(f.append(2) == 4);
  CHECK(f.row[kLogEnd] == 6 && f.row[kHighWatermark] == 6 && f.row[kLastStable] == 6);
  const auto batches = f.read_from(0);
  CHECK(batches.size() == 3);
  CHECK(batches[1].header.base_offset == 3 && batches[2].header.last_offset() == 5);
  CHECK(f.row[kSizeBytes] == static_cast<int64_t>(std::filesystem::file_size(f.segment(0))));
  // From inside a batch its whole batch comes.
  CHECK(f.read_from(1).front().header.base_offset == 0);
  CHECK(f.read_from(5).front().header.base_offset == 4);
}

TEST(log_commits_several_batches_at_once) {
  LogFixture f;
  f.open();
  std::vector<std::vector<uint8_t>> batches;
  for (int i = 0; i < 2500; ++i) batches.push_back(simple_batch(1 + i % 3));
  int64_t expected = 0;
  for (auto& batch : batches) {
    const StageResult staged = f.stage(batch);
    CHECK(staged.error == 0 && staged.base_offset == expected);
    expected = staged.last_offset + 1;
  }
  // Nothing is visible before it is written.
  CHECK(f.row[kLogEnd] == 0 && f.log->locate(0, 1 << 20, 1, true).length == 0);
  const CommitResult committed = f.log->commit();
  CHECK(committed.error == 0 && committed.committed == batches.size());
  CHECK(f.row[kLogEnd] == expected);
  CHECK(f.read_from(0).size() == batches.size());
}

TEST(log_refuses_what_no_producer_may_send) {
  LogFixture f;
  f.config.message_max_bytes = 10'000;
  f.open();
  const auto refused = [&f](std::vector<uint8_t> batch) {
    const StageResult staged = f.stage(batch);
    CHECK(!staged.needs_slow_lane);
    return staged.error;
  };
  CHECK(refused({}) == kInvalidRecord);
  CHECK(refused(std::vector<uint8_t>(16, 2)) == kInvalidRecord);
  auto batch = simple_batch(2);
  batch.pop_back();
  CHECK(refused(batch) == kInvalidRecord);
  batch = simple_batch(2);
  batch.push_back(0);
  CHECK(refused(batch) == kInvalidRecord);
  batch = simple_batch(2);
  batch[30] ^= 1;
  CHECK(refused(batch) == kCorrupt);
  batch = simple_batch(2);
  batch[16] = 3;
  CHECK(refused(batch) == kCorrupt);
  store_be<int32_t>(batch.data() + 8, 20);
  batch[16] = 2;
  CHECK(refused(batch) == kCorrupt);
  CHECK(refused(simple_batch(1, 1000, 10'000)) == kTooLarge);
  CHECK(refused(make_batch({.base_offset = 1})) == kInvalidRecord);
  CHECK(refused(make_batch({.records = {}})) == kInvalidRecord);
  CHECK(refused(make_batch({.last_offset_delta = 1})) == kInvalidRecord);
  CHECK(refused(make_batch({.attributes = kControlBit})) == kInvalidRecord);
  CHECK(refused(make_batch({.attributes = 5})) == kInvalidRecord);
  CHECK(refused(make_batch({.attributes = kTransactionalBit})) == 53);
  CHECK(refused(make_batch({.producer_id = 1, .producer_epoch = 0})) == kInvalidRecord);
  CHECK(refused(make_batch({.records = {{.offset_delta = 1}}})) == kInvalidRecord);
  StageOptions options;
  options.leader_epoch = 3;
  batch = simple_batch(1);
  CHECK(f.log->stage(batch, options).error == kNotLeader);
  // Nothing of that left a trace.
  CHECK(f.append(1) == 0);
  // What needs a look inside goes to the slow lane.
  auto compressed = make_batch({.attributes = 1});
  CHECK(f.stage(compressed).needs_slow_lane);
  auto old = simple_batch(1);
  old[16] = 1;
  CHECK(f.stage(old).needs_slow_lane);
}

TEST(log_holds_record_timestamps_against_the_topic) {
  LogFixture f;
  f.config.timestamp_before_max_ms = 1000;
  f.config.timestamp_after_max_ms = INT64_MAX - 1;
  f.open();
  auto early = simple_batch(1, f.now_ms - 1001);
  CHECK(f.stage(early).error == kBadTimestamp);
  CHECK(f.append(1, f.now_ms - 1000) == 0);
  CHECK(f.append(1, -1) == 1);
  CHECK(f.append(1, f.now_ms + 1'000'000) == 2);
}

TEST(log_stamps_append_time) {
  LogFixture f;
  f.config.log_append_time = true;
  f.open();
  auto batch = simple_batch(3, 5);
  const StageResult staged = f.stage(batch);
  CHECK(staged.error == 0 && staged.append_time_ms == f.now_ms);
  CHECK(f.log->commit().committed == 1);
  const auto stored = f.read_from(0);
  CHECK(stored[0].header.is_log_append_time() && stored[0].header.max_timestamp == f.now_ms);
  const TimestampResult found = f.log->offset_for_timestamp(f.now_ms, 3);
  CHECK(found.found && found.offset == 0 && found.timestamp == f.now_ms);
  f.reopen_unclean();
  CHECK(f.row[kLogEnd] == 3 && f.report.bytes_truncated == 0);
}

TEST(log_corrects_a_wrong_max_timestamp) {
  LogFixture f;
  f.open();
  f.append(make_batch({.records = {{.timestamp_delta = 7}}, .max_timestamp = 1}));
  CHECK(f.read_from(0)[0].header.max_timestamp == 1'000'007);
}

TEST(log_locates_within_limits) {
  LogFixture f;
  fill(f, 10, 1000);
  const auto size = f.read_from(0)[0].header.size;
  LocateResult located = f.log->locate(2, 3 * size, 10, false);
  CHECK(located.error == 0 && located.position == 2 * size && located.length == 3 * size);
  // The limit is an offset: nothing at or behind it.
  located = f.log->locate(2, 100 * size, 4, false);
  CHECK(located.length == 2 * size);
  CHECK(f.log->locate(4, 100 * size, 4, true).length == 0);
  CHECK(f.log->locate(5, 100 * size, 4, true).length == 0);
  // At least one batch, if that was asked for; otherwise what fits.
  CHECK(f.log->locate(0, 10, 10, true).length == size);
  CHECK(f.log->locate(0, 0, 10, true).length == size);
  CHECK(f.log->locate(0, 10, 10, false).length == 10);
  CHECK(f.log->locate(0, 0, 10, false).length == 0);
  CHECK(f.log->locate(10, 100, 10, true).length == 0);
  CHECK(f.log->locate(10, 100, 10, true).error == 0);
  CHECK(f.log->locate(11, 100, 11, true).error == kOutOfRange);
  CHECK(f.log->locate(-1, 100, 10, true).error == kOutOfRange);
}

TEST(log_rolls_by_size) {
  LogFixture f;
  f.config.segment_bytes = 5'000;
  fill(f, 20, 1000);
  CHECK(f.log->segment_count() == 5);
  CHECK(std::filesystem::file_size(f.segment(0)) <= 5'000);
  CHECK(f.read_from(0).size() == 20);
  CHECK(f.read_from(0, 100).size() == 20);
  f.reopen_clean();
  CHECK(f.log->segment_count() == 5 && f.read_from(0).size() == 20);
  f.reopen_unclean();
  CHECK(f.log->segment_count() == 5 && f.read_from(0).size() == 20);
  CHECK(f.append(1) == 20);
}

TEST(log_rolls_inside_one_commit) {
  LogFixture f;
  f.config.segment_bytes = 3'000;
  f.open();
  std::vector<std::vector<uint8_t>> batches;
  for (int i = 0; i < 11; ++i) batches.push_back(simple_batch(1, 1'000'000, 1000));
  for (auto& batch : batches) CHECK(f.stage(batch).error == 0);
  CHECK(f.log->commit().committed == 11);
  CHECK(f.log->segment_count() == 6);
  CHECK(f.read_from(0).size() == 11);
}

TEST(log_rolls_by_time) {
  LogFixture f;
  f.config.segment_ms = 1000;
  f.open();
  f.append(1, 10'000);
  f.append(1, 11'000);
  CHECK(f.log->segment_count() == 1);
  f.append(1, 11'001);
  CHECK(f.log->segment_count() == 2);
  // The time of the first record survives a clean stop.
  f.reopen_clean();
  f.append(1, 12'001);
  CHECK(f.log->segment_count() == 2);
  f.append(1, 12'002);
  CHECK(f.log->segment_count() == 3);
  // Without timestamps the segment's own age counts.
  f.append(1, -1);
  f.now_ms += 1001;
  f.append(1, -1);
  CHECK(f.log->segment_count() == 4);
}

TEST(log_rolls_when_an_index_is_full) {
  LogFixture f;
  f.config.index_interval_bytes = 1;
  f.config.segment_index_bytes = 12 * 5;
  fill(f, 30);
  CHECK(f.log->segment_count() > 4);
  CHECK(f.read_from(0).size() == 30);
  CHECK(std::filesystem::file_size(f.segment(0, ".index")) <= 60);
  CHECK(std::filesystem::file_size(f.segment(0, ".timeindex")) <= 60);
}

TEST(log_deletes_old_segments_by_time_while_a_reader_goes_on) {
  LogFixture f;
  f.config.segment_bytes = 2'500;
  f.config.retention_ms = 10'000;
  f.open();
  for (int i = 0; i < 10; ++i) f.append(1, f.now_ms + i * 1000, 1000);
  CHECK(f.log->segment_count() == 5);
  const LocateResult reader = f.log->locate(0, 1 << 20, 10, true);
  const int64_t start = f.now_ms;
  CHECK(f.log->delete_old_segments(start + 11'000).segments == 0);
  const auto deleted = f.log->delete_old_segments(start + 11'001);
  CHECK(deleted.error == 0 && deleted.segments == 1 && deleted.bytes > 2'000);
  CHECK(f.row[kLogStart] == 2 && f.log->segment_count() == 4);
  CHECK(f.log->locate(1, 100, 10, true).error == kOutOfRange);
  for (const char* suffix : {".log", ".index", ".timeindex", ".snapshot"}) {
    CHECK(!std::filesystem::exists(f.segment(0, suffix)));
  }
  // Who held the file reads on.
  CHECK(test::split_batches(test::read_region(reader)).size() == 2);
  // All of it goes, the end stays.
  f.now_ms += 1'000'000;
  CHECK(f.log->delete_old_segments(f.now_ms).segments == 4);
  CHECK(f.row[kLogStart] == 10 && f.row[kLogEnd] == 10 && f.log->segment_count() == 1);
  CHECK(f.log->delete_old_segments(f.now_ms).segments == 0);
  f.reopen_clean();
  CHECK(f.row[kLogStart] == 10 && f.row[kLogEnd] == 10);
  CHECK(f.append(1) == 10);
}

TEST(log_deletes_old_segments_by_size) {
  LogFixture f;
  f.config.segment_bytes = 2'500;
  f.config.retention_ms = -1;
  fill(f, 10, 1000);
  f.config.retention_bytes = 5'000;
  f.log->set_config(f.config);
  CHECK(f.log->delete_old_segments(f.now_ms).segments == 2);
  CHECK(f.row[kLogStart] == 4 && f.log->size_bytes() >= 5'000);
  CHECK(f.row[kSizeBytes] == f.log->size_bytes());
  CHECK(f.read_from(4).size() == 6);
}

TEST(log_keeps_what_followers_lack) {
  LogFixture f;
  f.config.segment_bytes = 2'500;
  f.config.retention_bytes = 0;
  f.open();
  f.log->set_leadership(0, 1);
  for (int i = 0; i < 10; ++i) f.append(1, 1'000'000, 1000);
  CHECK(f.row[kHighWatermark] == 0);
  CHECK(f.log->delete_old_segments(f.now_ms).segments == 0);
  f.log->set_high_watermark(5, 0);
  CHECK(f.row[kHighWatermark] == 5);
  CHECK(f.log->delete_old_segments(f.now_ms).segments == 2);
  f.log->set_high_watermark(9, 7);
  CHECK(f.row[kHighWatermark] == 5);
  f.log->set_high_watermark(100, 0);
  CHECK(f.row[kHighWatermark] == 10);
}

TEST(log_deletes_records) {
  LogFixture f;
  f.config.segment_bytes = 2'500;
  f.config.retention_ms = -1;
  fill(f, 10, 1000);
  CHECK(f.log->delete_records_to(11) == kOutOfRange);
  CHECK(f.log->delete_records_to(-1) == kOutOfRange);
  CHECK(f.log->delete_records_to(5) == 0);
  CHECK(f.log->delete_records_to(3) == 0);
  CHECK(f.row[kLogStart] == 5);
  CHECK(f.log->locate(4, 100, 10, true).error == kOutOfRange);
  CHECK(f.log->delete_old_segments(f.now_ms).segments == 2);
  f.reopen_clean();
  CHECK(f.row[kLogStart] == 5);
  CHECK(f.read_from(5).front().header.base_offset == 5);
  CHECK(f.log->delete_records_to(10) == 0);
  CHECK(f.row[kLogStart] == 10);
}

TEST(log_finds_offsets_by_time) {
  LogFixture f;
  f.config.segment_bytes = 3'000;
  f.config.index_interval_bytes = 500;
  f.open();
  for (int i = 0; i < 20; ++i) f.append(1, 10'000 + i * 10, 400);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20; ++i) {
      const TimestampResult found = f.log->offset_for_timestamp(10'000 + i * 10 - 3, 20);
      CHECK(found.error == 0 && found.found && found.offset == i);
      CHECK(found.timestamp == 10'000 + i * 10 && found.leader_epoch == 0);
    }
    CHECK(!f.log->offset_for_timestamp(10'191, 20).found);
    CHECK(!f.log->offset_for_timestamp(10'100, 10).found);
    CHECK(f.log->max_timestamp().offset == 19);
    if (round == 0) f.reopen_clean();
    if (round == 1) f.reopen_unclean();
  }
  CHECK(f.log->delete_records_to(7) == 0);
  CHECK(f.log->offset_for_timestamp(0, 20).offset == 7);
}

TEST(log_finds_times_inside_batches_and_out_of_order) {
  LogFixture f;
  f.open();
  f.append(make_batch(
      {.records = {{.timestamp_delta = 0}, {.timestamp_delta = 50}, {.timestamp_delta = 20}},
       .base_timestamp = 1000}));
  f.append(1, 900);
  f.append(1, -1);
  CHECK(f.log->offset_for_timestamp(1001, 5).offset == 1);
  CHECK(f.log->offset_for_timestamp(800, 5).offset == 0);
  CHECK(f.log->max_timestamp().offset == 1 && f.log->max_timestamp().timestamp == 1050);
  // Of a batch that begins below the log start, the records behind it count.
  CHECK(f.log->delete_records_to(2) == 0);
  CHECK(f.log->offset_for_timestamp(1001, 5).offset == 2);
}

TEST(log_with_an_empty_segment_has_its_largest_time_in_its_records) {
  LogFixture f;
  fill(f, 3);
  CHECK(f.log->roll(f.now_ms) == 0);
  CHECK(f.log->segment_count() == 2);
  CHECK(f.log->max_timestamp().found && f.log->max_timestamp().offset == 2);
  LogFixture empty;
  empty.open();
  CHECK(!empty.log->max_timestamp().found && empty.log->max_timestamp().error == 0);
  CHECK(!empty.log->offset_for_timestamp(0, 0).found);
}

TEST(log_writes_an_idempotent_batch_once) {
  LogFixture f;
  f.open();
  CHECK(f.append(producer_batch(9, 0, 0, 3)) == 0);
  CHECK(f.append(producer_batch(9, 0, 3, 2)) == 3);
  CHECK(f.append(producer_batch(9, 0, 0, 3)) == 0);
  CHECK(f.row[kLogEnd] == 5);
  auto gap = producer_batch(9, 0, 6, 1);
  CHECK(f.stage(gap).error == kOutOfOrder);
  // The original and its repetition in one commit.
  auto original = producer_batch(9, 0, 5, 1);
  auto repeated = producer_batch(9, 0, 5, 1);
  auto next = producer_batch(9, 0, 6, 1);
  CHECK(f.stage(original).base_offset == 5);
  CHECK(f.stage(repeated).base_offset == 5);
  CHECK(f.stage(next).base_offset == 6);
  CHECK(f.log->commit().committed == 3);
  CHECK(f.row[kLogEnd] == 7);
  for (const bool clean : {true, false}) {
    if (clean) {
      f.reopen_clean();
    } else {
      f.reopen_unclean();
    }
    CHECK(f.append(producer_batch(9, 0, 6, 1)) == 6);
    CHECK(f.row[kLogEnd] == 7);
    CHECK(f.stage(gap = producer_batch(9, 0, 8, 1)).error == kOutOfOrder);
  }
}

TEST(log_snapshot_of_a_roll_knows_nothing_of_what_is_not_written_yet) {
  LogFixture f;
  f.config.segment_bytes = 3'000;
  f.open();
  std::vector<std::vector<uint8_t>> batches;
  for (int i = 0; i < 4; ++i) batches.push_back(producer_batch(9, 0, i, 1, 1000));
  for (auto& batch : batches) CHECK(f.stage(batch).error == 0);
  CHECK(f.log->commit().committed == 4);
  CHECK(f.log->segment_count() == 2);
  ProducerState snapshot;
  CHECK(snapshot.decode(read_file(f.segment(2, ".snapshot"))));
  CHECK(snapshot.producers().at(9).batches[0].last_offset == 1);
  // The second segment never reached the disk: its batches are news, not duplicates.
  CHECK(f.log->close(false) == 0);
  write_file(f.segment(2), {});
  f.open(false);
  CHECK(f.row[kLogEnd] == 2);
  CHECK(f.append(producer_batch(9, 0, 2, 1)) == 2);
  CHECK(f.row[kLogEnd] == 3);
}

TEST(log_clean_stops_leave_one_snapshot) {
  LogFixture f;
  f.open();
  for (int i = 0; i < 5; ++i) {
    f.append(producer_batch(9, 0, i, 1));
    f.reopen_clean();
  }
  int snapshots = 0;
  for (const auto& entry : std::filesystem::directory_iterator(f.directory())) {
    if (entry.path().extension() == ".snapshot") ++snapshots;
  }
  CHECK(snapshots == 1);
}

TEST(log_survives_a_torn_tail_of_every_length) {
  LogFixture f;
  fill(f, 4, 50);
  CHECK(f.log->close(false) == 0);
  const auto whole = read_file(f.segment(0));
  const size_t batch = whole.size() / 4;
  for (size_t length = 0; length <= whole.size(); ++length) {
    write_file(f.segment(0), {whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length)});
    f.open(false);
    CHECK(f.row[kLogEnd] == static_cast<int64_t>(length / batch));
    CHECK(f.report.bytes_truncated == static_cast<int64_t>(length % batch));
    CHECK(f.report.reason.empty() == (length % batch == 0));
    CHECK(f.read_from(0).size() == length / batch);
    CHECK(f.log->close(false) == 0);
    // What is marked as clean is not trusted against the evidence either.
    write_file(f.segment(0), {whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length)});
    f.open(true);
    CHECK(f.row[kLogEnd] == static_cast<int64_t>(length / batch));
    CHECK(f.append(1) == static_cast<int64_t>(length / batch));
    CHECK(f.log->close(false) == 0);
  }
}

TEST(log_is_cut_at_the_first_flipped_byte) {
  LogFixture f;
  fill(f, 3, 20);
  CHECK(f.log->close(false) == 0);
  const auto whole = read_file(f.segment(0));
  const size_t batch = whole.size() / 3;
  for (size_t at = 0; at < whole.size(); ++at) {
    auto damaged = whole;
    damaged[at] ^= 0x81;
    write_file(f.segment(0), damaged);
    f.open(false);
    // Base offset and leader epoch lie outside the checksum; a smaller base offset is noticed.
    const size_t in_batch = at % batch;
    if (in_batch >= 8 && (in_batch < 12 || in_batch >= 16)) {
      CHECK(f.row[kLogEnd] == static_cast<int64_t>(at / batch));
      CHECK(f.report.bytes_truncated == static_cast<int64_t>(whole.size() - at / batch * batch));
      CHECK(f.append(1) == static_cast<int64_t>(at / batch));
    }
    CHECK(f.log->close(false) == 0);
  }
}

TEST(log_is_cut_at_zeros) {
  for (const size_t zeros : {1, 16, 17, 60, 61, 100, 5'000, 3'000'000}) {
    LogFixture f;
    fill(f, 3);
    CHECK(f.log->close(false) == 0);
    auto bytes = read_file(f.segment(0));
    bytes.resize(bytes.size() + zeros);
    write_file(f.segment(0), bytes);
    f.open(false);
    CHECK(f.row[kLogEnd] == 3 && f.report.bytes_truncated == static_cast<int64_t>(zeros));
    CHECK(f.append(1) == 3);
  }
}

TEST(log_batches_larger_than_the_scan_window_are_checked_in_pieces) {
  LogFixture f;
  f.config.message_max_bytes = 16 << 20;
  f.open();
  f.append(1, 1000, 100);
  f.append(1, 1001, 5 << 20);
  f.append(1, 1002, 100);
  f.append(1, 1003, (1 << 20) - 100);
  f.reopen_unclean();
  CHECK(f.row[kLogEnd] == 4 && f.report.bytes_truncated == 0);
  CHECK(f.log->close(false) == 0);
  auto bytes = read_file(f.segment(0));
  bytes[4 << 20] ^= 1;
  write_file(f.segment(0), bytes);
  f.open(false);
  CHECK(f.row[kLogEnd] == 1);
}

TEST(log_drops_segments_behind_a_cut) {
  LogFixture f;
  f.config.segment_bytes = 2'500;
  fill(f, 10, 1000);
  CHECK(f.log->close(false) == 0);
  auto bytes = read_file(f.segment(4));
  bytes[1'500] ^= 1;
  write_file(f.segment(4), bytes);
  f.open(false);
  CHECK(f.row[kLogEnd] == 5 && f.log->segment_count() == 3);
  CHECK(!std::filesystem::exists(f.segment(6)));
  CHECK(f.append(1) == 5);
  CHECK(f.read_from(0).size() == 6);
}

TEST(log_before_the_recovery_point_is_not_scanned) {
  LogFixture f;
  f.config.segment_bytes = 2'500;
  fill(f, 10, 1000);
  f.reopen_unclean(7);
  CHECK(f.report.segments_scanned == 2);
  CHECK(f.row[kLogEnd] == 10);
  f.reopen_unclean(1000);
  CHECK(f.report.segments_scanned == 1);
  f.reopen_unclean(-5);
  CHECK(f.report.segments_scanned == 5);
}

TEST(log_moves_its_recovery_point_with_a_flush) {
  LogFixture f;
  fill(f, 5);
  CHECK(f.log->recovery_point() == 0);
  const auto job = f.log->begin_flush();
  f.append(1);
  CHECK(job.files.size() == 1 && PartitionLog::run_flush(job) == 0);
  f.log->finish_flush(job, 0);
  CHECK(f.log->recovery_point() == 5);
  f.log->finish_flush(f.log->begin_flush(), EIO);
  CHECK(f.log->offline() && f.row[kOffline] == 1 && f.log->recovery_point() == 5);
  auto batch = simple_batch(1);
  CHECK(f.stage(batch).error == 56);
  CHECK(f.log->locate(0, 100, 6, true).error == 56);
  CHECK(f.log->close(true) != 0);
}

TEST(log_opens_with_missing_damaged_and_padded_indexes) {
  const auto damage = [](int kind, std::vector<uint8_t> bytes) {
    switch (kind) {
      case 0:
        return std::vector<uint8_t>{};
      case 1:
        bytes.resize(bytes.size() + 10'000);  // As a killed broker's, preallocated.
        return bytes;
      case 2:
        for (auto& byte : bytes) byte = 0xff;
        return bytes;
      case 3:
        bytes.resize(bytes.size() / 2 + 3);
        return bytes;
      default:
        // Entries that point between batches.
        for (size_t at = 7; at < bytes.size(); at += 8) bytes[at] ^= 1;
        return bytes;
    }
  };
  for (int kind = -1; kind < 5; ++kind) {
    for (const bool clean : {true, false}) {
      for (const char* suffix : {".index", ".timeindex"}) {
        LogFixture f;
        f.config.segment_bytes = 20'000;
        f.config.index_interval_bytes = 1'000;
        f.open();
        for (int i = 0; i < 40; ++i) f.append(1, 10'000 + i * 10, 900);
        CHECK(f.log->close(true) == 0);
        for (const int64_t base : {0, 20}) {
          const std::string path = f.segment(base, suffix);
          if (kind < 0) {
            std::filesystem::remove(path);
          } else {
            write_file(path, damage(kind, read_file(path)));
          }
        }
        f.open(clean);
        CHECK(f.row[kLogEnd] == 40 && f.append(1) == 40);
        CHECK(f.read_from(0).size() == 41);
        CHECK(f.read_from(13).size() == 28);
        // A time that is wrong but possible goes unnoticed, as in Apache Kafka.
        if (kind == 4 && suffix[1] == 't' && clean) continue;
        for (const int i : {0, 15, 25, 39}) {
          CHECK(f.log->offset_for_timestamp(10'000 + i * 10, 40).offset == i);
        }
      }
    }
  }
}

TEST(log_clears_what_a_crash_left_lying) {
  LogFixture f;
  fill(f, 2);
  CHECK(f.log->close(true) == 0);
  const std::vector<std::string> rubbish = {
      f.segment(0, ".log.deleted"), f.segment(9, ".log.cleaned"), f.segment(9, ".index.tmp"),
      f.segment(77, ".index"), f.segment(77, ".timeindex")};
  for (const auto& path : rubbish) write_file(path, {1, 2, 3});
  const std::vector<std::string> foreign = {f.directory() + "/partition.metadata",
                                            f.directory() + "/1.log"};
  for (const auto& path : foreign) write_file(path, {1});
  f.open();
  CHECK(f.row[kLogEnd] == 2);
  for (const auto& path : rubbish) CHECK(!std::filesystem::exists(path));
  for (const auto& path : foreign) CHECK(std::filesystem::exists(path));
}

TEST(log_with_a_damaged_snapshot_reads_its_batches) {
  LogFixture f;
  f.open();
  f.append(producer_batch(9, 0, 0, 5));
  CHECK(f.log->close(true) == 0);
  auto bytes = read_file(f.segment(5, ".snapshot"));
  bytes[20] ^= 1;
  write_file(f.segment(5, ".snapshot"), bytes);
  f.open();
  CHECK(f.append(producer_batch(9, 0, 0, 5)) == 0);
  CHECK(f.append(producer_batch(9, 0, 5, 1)) == 5);
  CHECK(f.row[kLogEnd] == 6);
}

TEST(log_rebuilds_damaged_leader_epochs) {
  LogFixture f;
  f.open();
  f.append(2);
  f.log->set_leadership(4, 0);
  f.append(3);
  CHECK(f.log->leader_epochs().epoch_of(2) == 4);
  for (const bool clean : {true, false}) {
    CHECK(f.log->close(true) == 0);
    write_file(f.directory() + "/leader-epoch-checkpoint", {'x'});
    f.open(clean);
    CHECK(f.log->leader_epochs().entries().size() == 2);
    CHECK(f.log->leader_epochs().epoch_of(1) == 0 && f.log->leader_epochs().epoch_of(4) == 4);
  }
}

TEST(log_starts_where_it_is_told_and_says_what_it_cannot_open) {
  LogFixture f;
  f.open(true, 0, 500);
  CHECK(f.row[kLogStart] == 500 && f.row[kLogEnd] == 500);
  CHECK(f.append(1) == 500);
  LogFixture nowhere;
  test::write_file(nowhere.directory(), {1});
  CHECK(!nowhere.try_open());
  CHECK(nowhere.error == ENOTDIR);
}

}  // namespace
}  // namespace shardlog
