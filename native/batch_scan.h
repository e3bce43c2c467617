// Record batches of format 2 in memory: their headers, their checksum, their records.
#pragma once

#include <cstdint>
#include <span>

namespace shardlog {

constexpr int64_t kBatchPrefixBytes = 12;    // Base offset and batch length.
constexpr int64_t kBatchHeaderBytes = 61;    // Up to the first record.
constexpr int64_t kBatchChecksummedAt = 21;  // From the attributes on.
constexpr int64_t kBatchLengthMin = kBatchHeaderBytes - kBatchPrefixBytes;

constexpr uint16_t kCompressionMask = 0x07;
constexpr uint16_t kLogAppendTimeBit = 0x08;
constexpr uint16_t kTransactionalBit = 0x10;
constexpr uint16_t kControlBit = 0x20;

/// The fields of a batch header, in the order of the format ("Record Batch", KIP-98).
struct BatchHeader {
  int64_t base_offset = 0;
  int64_t size = 0;  // Of the whole batch, with base offset and length.
  int32_t leader_epoch = -1;
  int8_t magic = 0;
  uint32_t crc = 0;
  uint16_t attributes = 0;
  int32_t last_offset_delta = 0;
  int64_t base_timestamp = 0;
  int64_t max_timestamp = 0;
  int64_t producer_id = -1;
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
  int32_t record_count = 0;

  int64_t last_offset() const { return base_offset + last_offset_delta; }
  int compression() const { return attributes & kCompressionMask; }
  bool is_control() const { return (attributes & kControlBit) != 0; }
  bool is_transactional() const { return (attributes & kTransactionalBit) != 0; }
  bool is_log_append_time() const { return (attributes & kLogAppendTimeBit) != 0; }
};

/// Reads a header from at least kBatchHeaderBytes. Checks nothing.
BatchHeader read_batch_header(const uint8_t* bytes);

enum class BatchCheck {
  kOk,
  kTruncated,  // More bytes are needed than there are.
  kBadLength,
  kBadMagic,  // Not format 2.
  kBadCrc,
  kBadHeader,  // Counts or offsets that contradict each other.
};

/// Checks the batch at the start of `bytes`: length, magic, counts, CRC. Fills `header`.
BatchCheck check_batch(std::span<const uint8_t> bytes, BatchHeader* header);

/// What is asked of the records of an uncompressed batch.
struct RecordRules {
  bool key_required = false;  // The topic is compacted.
  // Inclusive. A record without a timestamp (-1) keeps them, as in Apache Kafka.
  int64_t timestamp_min = INT64_MIN;
  int64_t timestamp_max = INT64_MAX;
};

struct RecordCheck {
  enum class Kind { kOk, kMalformed, kBadOffset, kNoKey, kBadTimestamp };
  Kind kind = Kind::kOk;
  int32_t index = -1;  // Of the record that failed.
  int64_t max_timestamp = -1;
};

/// Walks the records of an uncompressed batch whose header was checked.
RecordCheck check_records(std::span<const uint8_t> batch, const BatchHeader& header,
                          const RecordRules& rules);

/// The first record from `first_offset` on with a timestamp of at least `target`: false when there
/// is none.
bool find_record_by_timestamp(std::span<const uint8_t> batch, const BatchHeader& header,
                              int64_t first_offset, int64_t target, int64_t* offset,
                              int64_t* timestamp);

/// Stamps what lies outside the checksum.
void stamp_batch(uint8_t* batch, int64_t base_offset, int32_t leader_epoch);

/// Makes it a batch of log append time and renews the checksum.
void stamp_append_time(std::span<uint8_t> batch, int64_t now_ms);

/// Writes the max timestamp and renews the checksum.
void stamp_max_timestamp(std::span<uint8_t> batch, int64_t max_timestamp);

}  // namespace shardlog
