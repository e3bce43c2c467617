#include "record_filter.h"

#include <algorithm>

#include "big_endian.h"
#include "crc32c.h"
#include "varint.h"

namespace shardlog {
namespace {

constexpr size_t kLengthAt = 8;
constexpr size_t kCrcAt = 17;
constexpr size_t kAttributesAt = kBatchChecksummedAt;
constexpr size_t kBaseTimestampAt = 27;
constexpr size_t kMaxTimestampAt = 35;
constexpr size_t kRecordCountAt = 57;

/// One record, taken apart as far as the cleaner looks.
struct RecordView {
  std::span<const uint8_t> bytes;  // Whole, with its length.
  uint8_t attributes = 0;
  int64_t timestamp_delta = 0;
  const uint8_t* behind_timestamp = nullptr;
  int32_t offset_delta = 0;
  bool has_key = false;
  bool has_value = false;
  std::span<const uint8_t> key;
};

/// Reads the record at `*at`, which moves behind it. False when the bytes are none.
bool read_record(const uint8_t** at, const uint8_t* end, RecordView* record) {
  const uint8_t* const begin = *at;
  const uint8_t* field = begin;
  int32_t length;
  if (!read_varint(&field, end, &length) || length < 1 || end - field < length) return false;
  const uint8_t* const record_end = field + length;
  record->bytes = {begin, record_end};
  record->attributes = *field++;
  if (!read_varlong(&field, record_end, &record->timestamp_delta)) return false;
  record->behind_timestamp = field;
  int32_t key_length;
  if (!read_varint(&field, record_end, &record->offset_delta) ||
      !read_varint(&field, record_end, &key_length) || key_length < -1 ||
      key_length > record_end - field) {
    return false;
  }
  record->has_key = key_length >= 0;
  record->key = {field, static_cast<size_t>(std::max(key_length, 0))};
  field += record->key.size();
  int32_t value_length;
  if (!read_varint(&field, record_end, &value_length) || value_length < -1 ||
      value_length > record_end - field) {
    return false;
  }
  record->has_value = value_length >= 0;
  *at = record_end;
  return true;
}

int64_t wrapping_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

size_t put_varlong(int64_t value, uint8_t* out) {
  uint64_t raw = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  size_t count = 0;
  for (; raw >= 0x80; raw >>= 7) out[count++] = static_cast<uint8_t>(raw | 0x80);
  out[count++] = static_cast<uint8_t>(raw);
  return count;
}

void append(std::vector<uint8_t>* out, std::span<const uint8_t> bytes) {
  out->insert(out->end(), bytes.begin(), bytes.end());
}

/// The same record with another timestamp delta, behind what `out` holds.
void append_with_delta(const RecordView& record, int64_t delta, std::vector<uint8_t>* out) {
  uint8_t number[10];
  const size_t count = put_varlong(delta, number);
  const std::span<const uint8_t> rest(record.behind_timestamp,
                                      record.bytes.data() + record.bytes.size());
  uint8_t length[10];
  const size_t length_bytes = put_varlong(static_cast<int64_t>(1 + count + rest.size()), length);
  append(out, {length, length_bytes});
  out->push_back(record.attributes);
  append(out, {number, count});
  append(out, rest);
}

bool is_kept(const BatchHeader& header, const RecordView& record, const FilterRules& rules,
             const OffsetMap& map, FilterResult* result) {
  if (rules.drop_all) return false;
  if (rules.keep_all) return true;
  const int64_t offset = header.base_offset + record.offset_delta;
  if (offset > rules.latest_offset) return true;
  if (!record.has_key) {
    ++result->without_key;
    return false;
  }
  return offset >= map.get(record.key) && (record.has_value || rules.keep_tombstones);
}

}  // namespace

IndexResult index_records(const BatchHeader& header, std::span<const uint8_t> records,
                          int64_t first_offset, OffsetMap* map) {
  IndexResult result;
  const uint8_t* at = records.data();
  const uint8_t* const end = at + records.size();
  for (int32_t i = 0; i < header.record_count; ++i) {
    RecordView record;
    if (!read_record(&at, end, &record) || record.offset_delta < 0 ||
        record.offset_delta > header.last_offset_delta) {
      result.kind = IndexResult::Kind::kMalformed;
      return result;
    }
    const int64_t offset = header.base_offset + record.offset_delta;
    if (!record.has_key || offset < first_offset) continue;
    if (!map->put(record.key, offset)) {
      result.kind = IndexResult::Kind::kFull;
      return result;
    }
    result.last_offset = offset;
  }
  if (at != end) result.kind = IndexResult::Kind::kMalformed;
  return result;
}

FilterResult filter_records(const BatchHeader& header, std::span<const uint8_t> header_bytes,
                            std::span<const uint8_t> records, const FilterRules& rules,
                            const OffsetMap& map, std::vector<uint8_t>* batch) {
  FilterResult result;
  const auto malformed = [] { return FilterResult{.malformed = true}; };
  const uint8_t* at = records.data();
  const uint8_t* const end = at + records.size();
  batch->assign(header_bytes.begin(), header_bytes.begin() + kBatchHeaderBytes);
  bool tombstones = false;
  int64_t max_timestamp = -1;
  for (int32_t i = 0; i < header.record_count; ++i) {
    RecordView record;
    if (!read_record(&at, end, &record) || record.offset_delta < 0 ||
        record.offset_delta > header.last_offset_delta) {
      return malformed();
    }
    if (!is_kept(header, record, rules, map, &result)) continue;
    ++result.kept;
    tombstones = tombstones || (!record.has_value && !header.is_control());
    max_timestamp =
        std::max(max_timestamp, wrapping_add(header.base_timestamp, record.timestamp_delta));
    append(batch, record.bytes);
  }
  if (at != end) return malformed();
  if (result.kept == 0) return result;
  const bool has_horizon = (header.attributes & kDeleteHorizonBit) != 0;
  const bool set_horizon =
      !has_horizon && rules.delete_horizon_ms >= 0 && (tombstones || rules.wants_horizon);
  result.changed = set_horizon || result.kept < header.record_count;
  if (!result.changed) return result;

  auto attributes = static_cast<uint16_t>(header.attributes & ~kCompressionMask);
  if (set_horizon) {
    // The base of the timestamps is the horizon from now on: each delta is another.
    const std::vector<uint8_t> kept(batch->begin() + kBatchHeaderBytes, batch->end());
    batch->resize(kBatchHeaderBytes);
    const uint8_t* from = kept.data();
    for (int32_t i = 0; i < result.kept; ++i) {
      RecordView record;
      if (!read_record(&from, kept.data() + kept.size(), &record)) return malformed();
      const int64_t timestamp = wrapping_add(header.base_timestamp, record.timestamp_delta);
      append_with_delta(record, wrapping_add(timestamp, -rules.delete_horizon_ms), batch);
    }
    attributes |= kDeleteHorizonBit;
    store_be<int64_t>(batch->data() + kBaseTimestampAt, rules.delete_horizon_ms);
  }
  uint8_t* const to = batch->data();
  store_be<int32_t>(to + kLengthAt, static_cast<int32_t>(batch->size() - kBatchPrefixBytes));
  store_be<uint16_t>(to + kAttributesAt, attributes);
  if (!header.is_log_append_time()) store_be<int64_t>(to + kMaxTimestampAt, max_timestamp);
  store_be<int32_t>(to + kRecordCountAt, result.kept);
  store_be<uint32_t>(to + kCrcAt,
                     crc32c(0, std::span<const uint8_t>(*batch).subspan(kBatchChecksummedAt)));
  return result;
}

}  // namespace shardlog
