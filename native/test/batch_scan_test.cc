// Batch headers and records: every field, every check, every truncation, random damage.
#include "../batch_scan.h"

#include <random>

#include "check.h"
#include "fixtures.h"

namespace shardlog {
namespace {

using test::BatchSpec;
using test::make_batch;
using test::RecordSpec;
using Kind = RecordCheck::Kind;

RecordCheck check_all(const std::vector<uint8_t>& batch, const RecordRules& rules = {}) {
  BatchHeader header;
  CHECK(check_batch(batch, &header) == BatchCheck::kOk);
  return check_records(batch, header, rules);
}

TEST(batch_header_fields_are_where_the_format_has_them) {
  std::vector<uint8_t> bytes(61);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i + 1);
  const BatchHeader header = read_batch_header(bytes.data());
  CHECK(header.base_offset == 0x0102030405060708);
  CHECK(header.size == 12 + 0x090a0b0c);
  CHECK(header.leader_epoch == 0x0d0e0f10);
  CHECK(header.magic == 0x11);
  CHECK(header.crc == 0x12131415);
  CHECK(header.attributes == 0x1617);
  CHECK(header.last_offset_delta == 0x18191a1b);
  CHECK(header.base_timestamp == 0x1c1d1e1f20212223);
  CHECK(header.max_timestamp == 0x2425262728292a2b);
  CHECK(header.producer_id == 0x2c2d2e2f30313233);
  CHECK(header.producer_epoch == 0x3435);
  CHECK(header.base_sequence == 0x36373839);
  CHECK(header.record_count == 0x3a3b3c3d);
}

TEST(batch_attributes_are_read) {
  BatchHeader header;
  header.attributes = 0x3c;
  CHECK(header.compression() == 4 && header.is_control() && header.is_transactional() &&
        header.is_log_append_time());
  header.attributes = 0x40;
  CHECK(header.compression() == 0 && !header.is_control() && !header.is_transactional() &&
        !header.is_log_append_time());
}

TEST(batch_check_accepts_a_batch_and_what_follows_it) {
  auto bytes = make_batch({.records = {{}, {.key = {}, .value = {}}, {.headers = {{"a", {}}}}}});
  const size_t size = bytes.size();
  bytes.resize(size + 100, 0xee);
  BatchHeader header;
  CHECK(check_batch(bytes, &header) == BatchCheck::kOk);
  CHECK(header.size == static_cast<int64_t>(size));
  CHECK(header.record_count == 3 && header.last_offset() == 2);
  CHECK(check_records(bytes, header, {}).kind == Kind::kOk);
}

TEST(batch_check_sees_every_truncation) {
  const auto batch = make_batch({});
  for (size_t length = 0; length < batch.size(); ++length) {
    const std::vector<uint8_t> cut(batch.begin(), batch.begin() + static_cast<int64_t>(length));
    BatchHeader header;
    CHECK(check_batch(cut, &header) == BatchCheck::kTruncated);
  }
}

TEST(batch_check_sees_every_flipped_bit_behind_the_epoch) {
  const auto batch = make_batch({});
  for (size_t at = 16; at < batch.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      auto damaged = batch;
      damaged[at] ^= static_cast<uint8_t>(1 << bit);
      BatchHeader header;
      const BatchCheck check = check_batch(damaged, &header);
      CHECK(check == (at == 16 ? BatchCheck::kBadMagic : BatchCheck::kBadCrc));
    }
  }
}

TEST(batch_check_sees_impossible_lengths_counts_and_offsets) {
  BatchHeader header;
  for (const int32_t length : {INT32_MIN, -1, 0, 48}) {
    auto batch = make_batch({});
    store_be<int32_t>(batch.data() + 8, length);
    CHECK(check_batch(batch, &header) == BatchCheck::kBadLength);
  }
  for (const int32_t length : {INT32_MAX, 1 << 20}) {
    auto batch = make_batch({});
    store_be<int32_t>(batch.data() + 8, length);
    CHECK(check_batch(batch, &header) == BatchCheck::kTruncated);
  }
  CHECK(check_batch(make_batch({.record_count = -1}), &header) == BatchCheck::kBadHeader);
  CHECK(check_batch(make_batch({.last_offset_delta = -1}), &header) == BatchCheck::kBadHeader);
  CHECK(check_batch(make_batch({.base_offset = -1}), &header) == BatchCheck::kBadHeader);
  CHECK(check_batch(make_batch({.base_offset = INT64_MAX, .last_offset_delta = 1}), &header) ==
        BatchCheck::kBadHeader);
}

TEST(records_are_walked_to_the_last_byte) {
  CHECK(check_all(make_batch({.trailing = {0}})).kind == Kind::kMalformed);
  // Fewer and more records than the header counts.
  auto fewer = check_all(make_batch({.last_offset_delta = 1, .record_count = 2}));
  CHECK(fewer.kind == Kind::kMalformed && fewer.index == 1);
  auto more = check_all(make_batch({.records = {{}, {}}, .record_count = 1}));
  CHECK(more.kind == Kind::kMalformed && more.index == 1);
  auto endless = check_all(make_batch({.record_count = INT32_MAX}));
  CHECK(endless.kind == Kind::kMalformed && endless.index == 1);
}

TEST(record_offsets_count_up_from_zero) {
  const auto check = check_all(make_batch({.records = {{}, {.offset_delta = 2}}}));
  CHECK(check.kind == Kind::kBadOffset && check.index == 1);
}

TEST(record_keys_are_required_on_a_compacted_topic) {
  const auto batch = make_batch({.records = {{}, {.key = {}}, {.key = ""}}});
  CHECK(check_all(batch).kind == Kind::kOk);
  const auto check = check_all(batch, {.key_required = true});
  CHECK(check.kind == Kind::kNoKey && check.index == 1);
  CHECK(check_all(make_batch({.records = {{.key = ""}}}), {.key_required = true}).kind ==
        Kind::kOk);
}

TEST(record_timestamps_are_held_against_the_rules) {
  const auto batch = make_batch(
      {.records = {{.timestamp_delta = 5}, {.timestamp_delta = 9}, {.timestamp_delta = -3}},
       .base_timestamp = 1000});
  const auto free = check_all(batch);
  CHECK(free.kind == Kind::kOk && free.max_timestamp == 1009);
  CHECK(check_all(batch, {.timestamp_min = 997, .timestamp_max = 1009}).kind == Kind::kOk);
  const auto late = check_all(batch, {.timestamp_max = 1008});
  CHECK(late.kind == Kind::kBadTimestamp && late.index == 1);
  const auto early = check_all(batch, {.timestamp_min = 998});
  CHECK(early.kind == Kind::kBadTimestamp && early.index == 2);
}

TEST(record_without_a_timestamp_breaks_no_rule) {
  const auto batch = make_batch({.base_timestamp = -1});
  const auto check = check_all(batch, {.timestamp_min = 998, .timestamp_max = 2000});
  CHECK(check.kind == Kind::kOk && check.max_timestamp == -1);
}

TEST(record_lengths_never_lead_out_of_the_batch) {
  // Every byte of the records set to every value, with a right CRC: no crash, no read outside
  // (the address sanitizer watches), and offsets are only accepted in order.
  const auto batch = make_batch(
      {.records = {{.headers = {{"name", "value"}, {"", {}}}}, {.key = {}, .value = {}}}});
  for (size_t at = 61; at < batch.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      // Exactly as large as needed, so that a step behind the end is seen.
      std::vector<uint8_t> damaged(batch.begin(), batch.end());
      damaged.shrink_to_fit();
      damaged[at] = static_cast<uint8_t>(value);
      test::renew_crc(damaged);
      BatchHeader header;
      CHECK(check_batch(damaged, &header) == BatchCheck::kOk);
      check_records(damaged, header, {.key_required = true});
      int64_t offset = 0;
      int64_t timestamp = 0;
      find_record_by_timestamp(damaged, header, 0, INT64_MAX, &offset, &timestamp);
    }
  }
}

TEST(records_of_random_bytes_are_harmless) {
  std::mt19937 random(5);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<uint8_t> trailing(random() % 60);
    for (auto& byte : trailing)
      byte = static_cast<uint8_t>(random() % 4 == 0 ? random() : random() % 8);
    const auto batch = make_batch(
        {.records = {}, .last_offset_delta = 3, .record_count = 4, .trailing = trailing});
    BatchHeader header;
    CHECK(check_batch(batch, &header) == BatchCheck::kOk);
    check_records(batch, header, {});
  }
}

TEST(record_is_found_by_timestamp) {
  const auto batch = make_batch(
      {.records = {{.timestamp_delta = 0}, {.timestamp_delta = 20}, {.timestamp_delta = 10}},
       .base_offset = 50,
       .base_timestamp = 1000});
  BatchHeader header;
  CHECK(check_batch(batch, &header) == BatchCheck::kOk);
  int64_t offset = -1;
  int64_t timestamp = -1;
  CHECK(find_record_by_timestamp(batch, header, 0, 1000, &offset, &timestamp));
  CHECK(offset == 50 && timestamp == 1000);
  CHECK(find_record_by_timestamp(batch, header, 0, 1001, &offset, &timestamp));
  CHECK(offset == 51 && timestamp == 1020);
  // Records below the first offset asked for do not count.
  CHECK(find_record_by_timestamp(batch, header, 52, 1001, &offset, &timestamp));
  CHECK(offset == 52 && timestamp == 1010);
  CHECK(!find_record_by_timestamp(batch, header, 0, 1021, &offset, &timestamp));
  CHECK(!find_record_by_timestamp(batch, header, 53, 0, &offset, &timestamp));
}

TEST(stamps_keep_the_checksum_right) {
  auto batch = make_batch({.records = {{.timestamp_delta = 0}, {.timestamp_delta = 20}}});
  stamp_batch(batch.data(), 0x123456789abc, 77);
  BatchHeader header;
  CHECK(check_batch(batch, &header) == BatchCheck::kOk);
  CHECK(header.base_offset == 0x123456789abc && header.leader_epoch == 77);
  stamp_max_timestamp(batch, 5);
  CHECK(check_batch(batch, &header) == BatchCheck::kOk && header.max_timestamp == 5);
  CHECK(!header.is_log_append_time());
  stamp_append_time(batch, 1234);
  CHECK(check_batch(batch, &header) == BatchCheck::kOk && header.max_timestamp == 1234);
  CHECK(header.is_log_append_time() && header.base_timestamp == 1'000'000);
  int64_t offset = -1;
  int64_t timestamp = -1;
  CHECK(find_record_by_timestamp(batch, header, 0, 1234, &offset, &timestamp));
  CHECK(offset == 0x123456789abc && timestamp == 1234);
}

}  // namespace
}  // namespace shardlog
