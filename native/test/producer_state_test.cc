// Idempotent producers: every rule, wrapping sequences, undo, Kafka's snapshot format, damage.
#include "../producer_state.h"

#include <algorithm>
#include <random>

#include "check.h"
#include "fixtures.h"

namespace shardlog {
namespace {

constexpr int16_t kOutOfOrder = 45;
constexpr int16_t kBadEpoch = 47;

BatchHeader batch(int64_t id, int16_t epoch, int32_t sequence, int32_t count,
                  int64_t timestamp = 1000) {
  BatchHeader header;
  header.producer_id = id;
  header.producer_epoch = epoch;
  header.base_sequence = sequence;
  header.last_offset_delta = count - 1;
  header.record_count = count;
  header.max_timestamp = timestamp;
  return header;
}

/// Ten batches of ten records: sequences 0 to 99 at offsets 500 to 599, epoch 3.
ProducerState ten_batches() {
  ProducerState state;
  for (int i = 0; i < 10; ++i) {
    const BatchHeader header = batch(7, 3, i * 10, 10);
    CHECK(state.check(header).error == 0 && !state.check(header).duplicate);
    state.stage(header, 500 + i * 10);
  }
  state.commit();
  return state;
}

TEST(producer_may_go_on_where_it_was) {
  const ProducerState state = ten_batches();
  CHECK(state.check(batch(7, 3, 100, 1)).error == 0);
  CHECK(!state.check(batch(7, 3, 100, 1)).duplicate);
}

TEST(producer_repeats_one_of_its_last_five_batches) {
  const ProducerState state = ten_batches();
  for (int i = 5; i < 10; ++i) {
    const auto check = state.check(batch(7, 3, i * 10, 10));
    CHECK(check.error == 0 && check.duplicate);
    CHECK(check.base_offset == 500 + i * 10 && check.last_offset == 509 + i * 10);
  }
}

TEST(producer_repeats_a_batch_that_is_long_ago) {
  const ProducerState state = ten_batches();
  for (int i = 0; i < 5; ++i) {
    const auto check = state.check(batch(7, 3, i * 10, 10));
    CHECK(check.error == 0 && check.duplicate);
    // Where it is, is not remembered; all up to the oldest that is.
    CHECK(check.base_offset == -1 && check.last_offset == 549);
  }
  // Partly one of those that are remembered.
  CHECK(state.check(batch(7, 3, 40, 11)).error == kOutOfOrder);
}

TEST(producer_repeats_only_what_was_surely_appended) {
  // An unknown producer began anywhere: nobody knows what became of the batches before.
  ProducerState state;
  for (int i = 0; i < 10; ++i) state.stage(batch(7, 3, 100 + i * 10, 10), i * 10);
  CHECK(state.check(batch(7, 3, 100, 10)).duplicate);
  CHECK(state.check(batch(7, 3, 90, 10)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 3, 95, 10)).error == kOutOfOrder);
  // A leader that knew less than this replica took a batch behind a gap.
  for (int i = 0; i < 10; ++i) state.replay(batch(7, 3, 300 + i * 10, 10));
  CHECK(state.check(batch(7, 3, 300, 10)).duplicate);
  CHECK(state.check(batch(7, 3, 290, 10)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 3, 100, 10)).error == kOutOfOrder);
  // A snapshot has the last batch alone.
  ProducerState read;
  CHECK(read.decode(state.encode()));
  for (int i = 0; i < 9; ++i) read.stage(batch(7, 3, 400 + i * 10, 10), 500 + i * 10);
  CHECK(read.check(batch(7, 3, 390, 10)).duplicate);
  CHECK(read.check(batch(7, 3, 380, 10)).error == kOutOfOrder);
  // What was undone was not appended.
  state.commit();
  for (int i = 0; i < 10; ++i) state.stage(batch(7, 4, i, 1), 600 + i);
  CHECK(state.check(batch(7, 4, 0, 1)).duplicate);
  state.roll_back(0);
  CHECK(state.check(batch(7, 4, 0, 1)).error == 0 && !state.check(batch(7, 4, 0, 1)).duplicate);
  CHECK(state.check(batch(7, 3, 300, 10)).duplicate);
}

TEST(producer_histories_by_chance_repeat_what_is_there) {
  std::mt19937 random(43);
  for (int round = 0; round < 200; ++round) {
    // Close to the largest sequence, so that they wrap.
    const auto start = static_cast<int64_t>(INT32_MAX) - static_cast<int64_t>(random() % 200);
    std::vector<std::pair<int64_t, int32_t>> appended;  // First sequence, unwrapped, and count.
    ProducerState state;
    int64_t next = start;
    size_t unbroken_from = 0;
    for (int i = 0; i < 60; ++i) {
      if (random() % 20 == 0) {
        next += 1 + random() % 30;
        unbroken_from = appended.size();
      }
      const auto count = static_cast<int32_t>(1 + random() % 8);
      state.replay(batch(7, 0, static_cast<int32_t>(next & INT32_MAX), count));
      appended.emplace_back(next, count);
      next += count;
    }
    for (size_t i = 0; i < appended.size(); ++i) {
      const auto [first, count] = appended[i];
      const auto check = state.check(batch(7, 0, static_cast<int32_t>(first & INT32_MAX), count));
      const bool remembered = i + 5 >= appended.size();
      CHECK(check.duplicate == (remembered || i >= unbroken_from));
      CHECK((check.error == kOutOfOrder) == !check.duplicate);
    }
    for (int i = 0; i < 100; ++i) {
      const int64_t first = start - 20 + static_cast<int64_t>(random() % (next - start + 40));
      const auto count = static_cast<int32_t>(1 + random() % 8);
      const auto check = state.check(batch(7, 0, static_cast<int32_t>(first & INT32_MAX), count));
      if (!check.duplicate) continue;
      // Every sequence of it was appended.
      for (int64_t sequence = first; sequence < first + count; ++sequence) {
        CHECK(std::any_of(appended.begin(), appended.end(), [sequence](const auto& one) {
          return one.first <= sequence && sequence < one.first + one.second;
        }));
      }
    }
  }
}

TEST(producer_with_overlap_or_gap_is_out_of_order) {
  const ProducerState state = ten_batches();
  CHECK(state.check(batch(7, 3, 90, 5)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 3, 95, 5)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 3, 90, 20)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 3, 101, 1)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 3, INT32_MAX, 1)).error == kOutOfOrder);
}

TEST(producer_epoch_rises_and_never_falls) {
  ProducerState state = ten_batches();
  CHECK(state.check(batch(7, 4, 0, 1)).error == 0);
  CHECK(state.check(batch(7, 4, 100, 1)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 2, 100, 1)).error == kBadEpoch);
  state.stage(batch(7, 4, 0, 3), 600);
  state.commit();
  CHECK(state.check(batch(7, 4, 3, 1)).error == 0);
  CHECK(state.check(batch(7, 3, 100, 1)).error == kBadEpoch);
  // The batches of the former epoch are forgotten.
  CHECK(!state.check(batch(7, 4, 90, 10)).duplicate);
}

TEST(producer_nobody_knows_may_start_anywhere) {
  ProducerState state;
  CHECK(state.check(batch(8, 0, 0, 1)).error == 0);
  CHECK(state.check(batch(8, 5, 1234, 1)).error == 0);
  state.stage(batch(8, 5, 1234, 2), 0);
  CHECK(state.check(batch(8, 5, 1236, 1)).error == 0);
  CHECK(state.check(batch(8, 5, 1237, 1)).error == kOutOfOrder);
}

TEST(producer_sequences_wrap_to_zero) {
  ProducerState state;
  state.stage(batch(1, 0, INT32_MAX - 1, 2), 0);  // Ends at the largest sequence.
  CHECK(state.check(batch(1, 0, 0, 5)).error == 0);
  state.stage(batch(1, 0, 0, 5), 2);
  CHECK(state.check(batch(1, 0, INT32_MAX - 1, 2)).duplicate);
  ProducerState across;
  across.stage(batch(1, 0, INT32_MAX - 1, 5), 100);  // Ends at 2.
  CHECK(across.check(batch(1, 0, 3, 1)).error == 0);
  const auto again = across.check(batch(1, 0, INT32_MAX - 1, 5));
  CHECK(again.duplicate && again.base_offset == 100 && again.last_offset == 104);
}

TEST(producer_state_rolls_back_to_any_mark) {
  std::mt19937 random(41);
  ProducerState state = ten_batches();
  const auto before = state.encode();
  for (int round = 0; round < 50; ++round) {
    const size_t mark = state.mark();
    CHECK(mark == 0);
    std::vector<std::vector<uint8_t>> history;
    for (int i = 0; i < 20; ++i) {
      history.push_back(state.encode());
      const auto id = static_cast<int64_t>(5 + random() % 5);
      const auto epoch = static_cast<int16_t>(3 + random() % 2);
      state.stage(batch(id, epoch, 0, 1 + static_cast<int32_t>(random() % 5)), 600 + i);
    }
    const size_t kept = random() % 20;
    // A snapshot as of the mark leaves out what was staged behind it.
    ProducerState decoded;
    CHECK(decoded.decode(state.encode(kept)));
    ProducerState expected;
    CHECK(expected.decode(history[kept]));
    CHECK(decoded.producers().size() == expected.producers().size());
    for (const auto& [id, entry] : expected.producers()) {
      const auto found = decoded.producers().find(id);
      CHECK(found != decoded.producers().end() && found->second.epoch == entry.epoch);
      CHECK(found->second.batches[0].last_offset == entry.batches[0].last_offset);
    }
    state.roll_back(0);
    CHECK(state.encode() == before);
    CHECK(state.check(batch(7, 3, 50, 10)).duplicate);
  }
}

TEST(producers_expire_by_their_last_batch) {
  ProducerState state;
  state.stage(batch(1, 0, 0, 1, 1000), 0);
  state.stage(batch(2, 0, 0, 1, 2000), 1);
  state.commit();
  CHECK(state.expire(1000) == 0);
  CHECK(state.expire(2000) == 1);
  CHECK(state.producers().size() == 1 && state.producers().contains(2));
}

TEST(producer_snapshot_is_kafkas) {
  ProducerState state;
  BatchHeader header = batch(0x1122334455, 6, 70, 3, 0x0102030405);
  state.stage(header, 900);
  state.commit();
  const auto bytes = state.encode();
  CHECK(bytes.size() == 10 + 46);
  CHECK(load_be<int16_t>(bytes.data()) == 1);
  CHECK(load_be<uint32_t>(bytes.data() + 2) == crc32c(0, std::span(bytes).subspan(6)));
  CHECK(load_be<int32_t>(bytes.data() + 6) == 1);
  const uint8_t* at = bytes.data() + 10;
  CHECK(load_be<int64_t>(at) == 0x1122334455);
  CHECK(load_be<int16_t>(at + 8) == 6);
  CHECK(load_be<int32_t>(at + 10) == 72);   // Last sequence.
  CHECK(load_be<int64_t>(at + 14) == 902);  // Last offset.
  CHECK(load_be<int32_t>(at + 22) == 2);    // Offset delta.
  CHECK(load_be<int64_t>(at + 26) == 0x0102030405);
  CHECK(load_be<int32_t>(at + 34) == -1);  // Coordinator epoch.
  CHECK(load_be<int64_t>(at + 38) == -1);  // No transaction.
  ProducerState again;
  CHECK(again.decode(bytes));
  CHECK(again.encode() == bytes);
  CHECK(again.check(batch(0x1122334455, 6, 70, 3)).duplicate);
  CHECK(again.check(batch(0x1122334455, 6, 70, 3)).base_offset == 900);
  CHECK(again.check(batch(0x1122334455, 6, 73, 1)).error == 0);
}

TEST(producer_snapshot_with_any_damage_is_refused) {
  ProducerState state = ten_batches();
  state.stage(batch(9, 0, 0, 1), 700);
  const auto bytes = state.encode();
  for (size_t length = 0; length < bytes.size(); ++length) {
    const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<int64_t>(length));
    CHECK(!ProducerState().decode(cut));
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    auto damaged = bytes;
    damaged[at] ^= 0x10;
    ProducerState decoded;
    CHECK(!decoded.decode(damaged));
    CHECK(decoded.producers().empty());
  }
  // A right checksum over a wrong count.
  for (const int32_t count : {-1, 1, 3, INT32_MAX, INT32_MIN}) {
    auto damaged = bytes;
    store_be<int32_t>(damaged.data() + 6, count);
    store_be<uint32_t>(damaged.data() + 2, crc32c(0, std::span(damaged).subspan(6)));
    CHECK(!ProducerState().decode(damaged));
  }
  auto longer = bytes;
  longer.push_back(0);
  store_be<uint32_t>(longer.data() + 2, crc32c(0, std::span(longer).subspan(6)));
  CHECK(!ProducerState().decode(longer));
}

}  // namespace
}  // namespace shardlog
