#include "batch_scan.h"

#include "big_endian.h"
#include "crc32c.h"
#include "varint.h"

namespace shardlog {
namespace {

constexpr size_t kLeaderEpochAt = 12;
constexpr size_t kCrcAt = 17;
constexpr size_t kAttributesAt = kBatchChecksummedAt;
constexpr size_t kMaxTimestampAt = 35;
constexpr int64_t kNoTimestamp = -1;

void renew_crc(std::span<uint8_t> batch) {
  store_be<uint32_t>(batch.data() + kCrcAt, crc32c(0, batch.subspan(kAttributesAt)));
}

/// Skips a length-prefixed field; a length of -1 is null.
bool skip_field(const uint8_t** at, const uint8_t* end, bool nullable, int32_t* length) {
  if (!read_varint(at, end, length)) return false;
  if (*length < (nullable ? -1 : 0)) return false;
  if (*length > 0) {
    if (end - *at < *length) return false;
    *at += *length;
  }
  return true;
}

struct RecordPlace {
  const uint8_t* end;
  int64_t timestamp_delta;
  int32_t offset_delta;
};

/// Reads what stands at the head of a record: length, attributes, timestamp and offset deltas.
bool read_record_head(const uint8_t** at, const uint8_t* end, RecordPlace* place) {
  int32_t length;
  if (!read_varint(at, end, &length) || length < 0 || end - *at < length) return false;
  place->end = *at + length;
  if (length < 1) return false;
  *at += 1;  // Attributes: unused.
  return read_varlong(at, place->end, &place->timestamp_delta) &&
         read_varint(at, place->end, &place->offset_delta);
}

/// Wraps around as Java's arithmetic does: both numbers are the client's.
int64_t record_timestamp(const BatchHeader& header, const RecordPlace& place) {
  return static_cast<int64_t>(static_cast<uint64_t>(header.base_timestamp) +
                              static_cast<uint64_t>(place.timestamp_delta));
}

}  // namespace

BatchHeader read_batch_header(const uint8_t* bytes) {
  BatchHeader header;
  header.base_offset = load_be<int64_t>(bytes);
  header.size = kBatchPrefixBytes + load_be<int32_t>(bytes + 8);
  header.leader_epoch = load_be<int32_t>(bytes + 12);
  header.magic = static_cast<int8_t>(bytes[16]);
  header.crc = load_be<uint32_t>(bytes + 17);
  header.attributes = load_be<uint16_t>(bytes + 21);
  header.last_offset_delta = load_be<int32_t>(bytes + 23);
  header.base_timestamp = load_be<int64_t>(bytes + 27);
  header.max_timestamp = load_be<int64_t>(bytes + 35);
  header.producer_id = load_be<int64_t>(bytes + 43);
  header.producer_epoch = load_be<int16_t>(bytes + 51);
  header.base_sequence = load_be<int32_t>(bytes + 53);
  header.record_count = load_be<int32_t>(bytes + 57);
  return header;
}

BatchCheck check_batch(std::span<const uint8_t> bytes, BatchHeader* header) {
  if (bytes.size() < 17) return BatchCheck::kTruncated;
  const auto magic = static_cast<int8_t>(bytes[16]);
  header->magic = magic;
  if (magic != 2) return BatchCheck::kBadMagic;
  if (bytes.size() < static_cast<size_t>(kBatchHeaderBytes)) return BatchCheck::kTruncated;
  *header = read_batch_header(bytes.data());
  if (header->size < kBatchHeaderBytes) return BatchCheck::kBadLength;
  if (static_cast<uint64_t>(header->size) > bytes.size()) return BatchCheck::kTruncated;
  const auto batch = bytes.first(static_cast<size_t>(header->size));
  if (crc32c(0, batch.subspan(kAttributesAt)) != header->crc) return BatchCheck::kBadCrc;
  if (header->record_count < 0 || header->last_offset_delta < 0 || header->base_offset < 0 ||
      header->base_offset > INT64_MAX - header->last_offset_delta) {
    return BatchCheck::kBadHeader;
  }
  return BatchCheck::kOk;
}

RecordCheck check_records(std::span<const uint8_t> batch, const BatchHeader& header,
                          const RecordRules& rules) {
  const uint8_t* at = batch.data() + kBatchHeaderBytes;
  const uint8_t* const end = batch.data() + header.size;
  RecordCheck check;
  for (int32_t i = 0; i < header.record_count; ++i) {
    RecordPlace place;
    const uint8_t* field = at;
    if (!read_record_head(&field, end, &place)) return {RecordCheck::Kind::kMalformed, i, -1};
    if (place.offset_delta != i) return {RecordCheck::Kind::kBadOffset, i, -1};
    int32_t key_length;
    int32_t value_length;
    if (!skip_field(&field, place.end, true, &key_length) ||
        !skip_field(&field, place.end, true, &value_length)) {
      return {RecordCheck::Kind::kMalformed, i, -1};
    }
    int32_t headers;
    if (!read_varint(&field, place.end, &headers) || headers < 0) {
      return {RecordCheck::Kind::kMalformed, i, -1};
    }
    for (int32_t h = 0; h < headers; ++h) {
      int32_t length;
      if (!skip_field(&field, place.end, false, &length) ||
          !skip_field(&field, place.end, true, &length)) {
        return {RecordCheck::Kind::kMalformed, i, -1};
      }
    }
    if (field != place.end) return {RecordCheck::Kind::kMalformed, i, -1};
    // By the record's own length: the next one need not wait for the fields of this one.
    at = place.end;
    if (rules.key_required && key_length < 0) return {RecordCheck::Kind::kNoKey, i, -1};
    const int64_t timestamp = record_timestamp(header, place);
    if (timestamp > check.max_timestamp) check.max_timestamp = timestamp;
    if (timestamp != kNoTimestamp &&
        (timestamp < rules.timestamp_min || timestamp > rules.timestamp_max)) {
      return {RecordCheck::Kind::kBadTimestamp, i, -1};
    }
  }
  if (at != end) return {RecordCheck::Kind::kMalformed, header.record_count, -1};
  return check;
}

bool find_record_by_timestamp(std::span<const uint8_t> batch, const BatchHeader& header,
                              int64_t first_offset, int64_t target, int64_t* offset,
                              int64_t* timestamp) {
  const uint8_t* at = batch.data() + kBatchHeaderBytes;
  const uint8_t* const end = batch.data() + header.size;
  for (int32_t i = 0; i < header.record_count; ++i) {
    RecordPlace place;
    if (!read_record_head(&at, end, &place)) return false;
    if (place.offset_delta < 0 || place.offset_delta > header.last_offset_delta) return false;
    const int64_t found =
        header.is_log_append_time() ? header.max_timestamp : record_timestamp(header, place);
    if (found >= target && header.base_offset + place.offset_delta >= first_offset) {
      *offset = header.base_offset + place.offset_delta;
      *timestamp = found;
      return true;
    }
    at = place.end;
  }
  return false;
}

void stamp_batch(uint8_t* batch, int64_t base_offset, int32_t leader_epoch) {
  store_be<int64_t>(batch, base_offset);
  store_be<int32_t>(batch + kLeaderEpochAt, leader_epoch);
}

void stamp_append_time(std::span<uint8_t> batch, int64_t now_ms) {
  const auto attributes = load_be<uint16_t>(batch.data() + kAttributesAt);
  store_be<uint16_t>(batch.data() + kAttributesAt,
                     static_cast<uint16_t>(attributes | kLogAppendTimeBit));
  store_be<int64_t>(batch.data() + kMaxTimestampAt, now_ms);
  renew_crc(batch);
}

void stamp_max_timestamp(std::span<uint8_t> batch, int64_t max_timestamp) {
  store_be<int64_t>(batch.data() + kMaxTimestampAt, max_timestamp);
  renew_crc(batch);
}

}  // namespace shardlog
