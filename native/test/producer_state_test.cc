// Idempotent producers: every rule, wrapping sequences, undo, Kafka's snapshot format, damage.
#include "../producer_state.h"

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
  // Older ones are not remembered any more.
  for (int i = 0; i < 5; ++i) CHECK(state.check(batch(7, 3, i * 10, 10)).error == kOutOfOrder);
}

TEST(producer_with_overlap_or_gap_is_out_of_order) {
  const ProducerState state = ten_batches();
  CHECK(state.check(batch(7, 3, 90, 5)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 3, 95, 5)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 3, 90, 20)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 3, 101, 1)).error == kOutOfOrder);
  CHECK(state.check(batch(7, 3, 0, 1)).error == kOutOfOrder);
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
