// Records of one batch noted and filtered: what the new batch looks like, and that no bytes,
// however damaged, are read beyond.
#include "../record_filter.h"

#include <random>

#include "check.h"
#include "fixtures.h"

namespace shardlog::test {
namespace {

constexpr std::array<uint64_t, 2> kSecret{1, 2};
constexpr int64_t kNow = 1'700'000'000'000;

std::span<const uint8_t> records_of(const std::vector<uint8_t>& batch) {
  return std::span(batch).subspan(kBatchHeaderBytes);
}

IndexResult index_batch(const std::vector<uint8_t>& batch, OffsetMap* map, int64_t first = 0) {
  return index_records(read_batch_header(batch.data()), records_of(batch), first, map);
}

FilterResult filter(const std::vector<uint8_t>& batch, const FilterRules& rules,
                    const OffsetMap& map, std::vector<uint8_t>* out) {
  return filter_records(read_batch_header(batch.data()), batch, records_of(batch), rules, map, out);
}

int64_t offset_of(const OffsetMap& map, const std::string& key) {
  return map.get({reinterpret_cast<const uint8_t*>(key.data()), key.size()});
}

BatchSpec four_records() {
  BatchSpec spec;
  spec.base_offset = 100;
  spec.records = {{.key = "a", .timestamp_delta = 5, .headers = {{"h", "x"}}},
                  {.key = "b", .value = {}, .timestamp_delta = -3},
                  {.key = {}, .timestamp_delta = 900},
                  {.key = "a", .timestamp_delta = 7}};
  spec.producer_id = 4;
  spec.producer_epoch = 1;
  spec.base_sequence = 20;
  return spec;
}

TEST(keys_are_noted_from_the_first_offset_on) {
  OffsetMap map(1 << 20, 0.9, kSecret);
  const auto batch = make_batch(four_records());
  const IndexResult result = index_batch(batch, &map);
  CHECK(result.kind == IndexResult::Kind::kOk && result.last_offset == 103);
  CHECK(offset_of(map, "a") == 103 && offset_of(map, "b") == 101 && map.size() == 2);
  OffsetMap later(1 << 20, 0.9, kSecret);
  CHECK(index_batch(batch, &later, 102).last_offset == 103);
  CHECK(offset_of(later, "b") == -1);
}

TEST(a_full_map_says_how_far_it_got) {
  OffsetMap map(0, 0.01, kSecret);  // One key.
  const IndexResult result = index_batch(make_batch(four_records()), &map);
  CHECK(result.kind == IndexResult::Kind::kFull && result.last_offset == 100);
}

TEST(a_filtered_batch_keeps_all_that_says_where_it_is_from) {
  OffsetMap map(1 << 20, 0.9, kSecret);
  const auto batch = make_batch(four_records());
  CHECK(index_batch(batch, &map).kind == IndexResult::Kind::kOk);
  std::vector<uint8_t> out;
  const FilterResult result = filter(batch, {.latest_offset = 103}, map, &out);
  CHECK(!result.malformed && result.changed && result.kept == 2 && result.without_key == 1);
  BatchHeader header;
  CHECK(check_batch(out, &header) == BatchCheck::kOk);
  CHECK(header.base_offset == 100 && header.last_offset() == 103 && header.record_count == 2);
  CHECK(header.producer_id == 4 && header.producer_epoch == 1 && header.base_sequence == 20);
  CHECK(header.base_timestamp == 1'000'000 && header.max_timestamp == 1'000'007);
  // The newest record of each key, byte by byte.
  auto wanted = four_records();
  wanted.records = {wanted.records[1], wanted.records[3]};
  wanted.records[0].offset_delta = 1;
  wanted.records[1].offset_delta = 3;
  const auto expected = make_batch(wanted);
  CHECK(std::equal(records_of(out).begin(), records_of(out).end(), records_of(expected).begin(),
                   records_of(expected).end()));
}

TEST(a_delete_horizon_moves_the_base_and_no_timestamp) {
  OffsetMap map(1 << 20, 0.9, kSecret);
  const auto batch = make_batch(four_records());
  CHECK(index_batch(batch, &map).kind == IndexResult::Kind::kOk);
  std::vector<uint8_t> out;
  CHECK(filter(batch, {.latest_offset = 103, .delete_horizon_ms = kNow}, map, &out).changed);
  BatchHeader header;
  CHECK(check_batch(out, &header) == BatchCheck::kOk);
  CHECK((header.attributes & kDeleteHorizonBit) != 0 && header.base_timestamp == kNow);
  auto wanted = four_records();
  wanted.base_timestamp = kNow;
  wanted.records = {wanted.records[1], wanted.records[3]};
  wanted.records[0].offset_delta = 1;
  wanted.records[0].timestamp_delta = 1'000'000 - 3 - kNow;
  wanted.records[1].offset_delta = 3;
  wanted.records[1].timestamp_delta = 1'000'000 + 7 - kNow;
  const auto expected = make_batch(wanted);
  CHECK(std::equal(records_of(out).begin(), records_of(out).end(), records_of(expected).begin(),
                   records_of(expected).end()));
  // It is set once.
  std::vector<uint8_t> again;
  const FilterRules later{.latest_offset = 103, .delete_horizon_ms = kNow + 1};
  CHECK(!filter(out, later, map, &again).changed);
}

TEST(timestamps_at_the_ends_of_their_range_survive_a_horizon) {
  OffsetMap map(1 << 20, 0.9, kSecret);
  BatchSpec spec;
  spec.records = {{.key = "a", .value = {}, .timestamp_delta = INT64_MAX},
                  {.key = "b", .timestamp_delta = INT64_MIN}};
  spec.base_timestamp = 0;
  const auto batch = make_batch(spec);
  CHECK(index_batch(batch, &map).kind == IndexResult::Kind::kOk);
  std::vector<uint8_t> out;
  CHECK(filter(batch, {.latest_offset = 1, .delete_horizon_ms = kNow}, map, &out).kept == 2);
  // However the sums wrap, each comes to what it was.
  for (int64_t first = 0; first < 2; ++first) {
    const auto timestamp_in = [first](const std::vector<uint8_t>& bytes) {
      int64_t offset = -1;
      int64_t timestamp = 0;
      CHECK(find_record_by_timestamp(bytes, read_batch_header(bytes.data()), first, INT64_MIN,
                                     &offset, &timestamp));
      CHECK(offset == first);
      return timestamp;
    };
    CHECK(timestamp_in(batch) == timestamp_in(out));
  }
}

TEST(whole_batches_and_gone_ones_are_not_written_anew) {
  OffsetMap map(1 << 20, 0.9, kSecret);
  const auto batch = make_batch(four_records());
  std::vector<uint8_t> out;
  FilterResult result = filter(batch, {.latest_offset = 99, .delete_horizon_ms = -1}, map, &out);
  CHECK(result.kept == 4 && !result.changed);
  result = filter(batch, {.latest_offset = 103, .drop_all = true}, map, &out);
  CHECK(result.kept == 0 && !result.changed);
  result = filter(batch, {.latest_offset = 103, .keep_all = true}, map, &out);
  CHECK(result.kept == 4 && !result.changed);
}

TEST(damaged_records_are_told_and_never_read_beyond) {
  std::mt19937_64 random(11);
  const auto sound = make_batch(four_records());
  int malformed = 0;
  for (int round = 0; round < 20'000; ++round) {
    // Of exactly its size, so that a sanitizer sees a byte too far.
    std::vector<uint8_t> batch(sound);
    const size_t changes = 1 + random() % 3;
    for (size_t i = 0; i < changes; ++i) {
      const size_t at = kBatchHeaderBytes + random() % (batch.size() - kBatchHeaderBytes);
      batch[at] = static_cast<uint8_t>(random());
    }
    if (random() % 4 == 0) store_be<int32_t>(batch.data() + 57, static_cast<int32_t>(random() % 9));
    if (random() % 4 == 0) batch.resize(kBatchHeaderBytes + random() % (batch.size() - 60));
    batch.shrink_to_fit();
    OffsetMap map(1 << 16, 0.9, kSecret);
    const IndexResult indexed = index_batch(batch, &map);
    std::vector<uint8_t> out;
    const FilterResult result =
        filter(batch, {.latest_offset = INT64_MAX, .delete_horizon_ms = kNow}, map, &out);
    CHECK(result.malformed == (indexed.kind == IndexResult::Kind::kMalformed));
    malformed += result.malformed ? 1 : 0;
    BatchHeader header;
    if (result.changed) CHECK(check_batch(out, &header) == BatchCheck::kOk);
  }
  CHECK(malformed > 1000 && malformed < 20'000);
}

}  // namespace
}  // namespace shardlog::test
