// The records of one batch as the cleaner sees them: noted by key, then kept or dropped.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "batch_scan.h"
#include "offset_map.h"

namespace shardlog {

/// Attribute bit 6: the base timestamp is the time from which on tombstones, or the marker of a
/// transaction, may go (KIP-534).
constexpr uint16_t kDeleteHorizonBit = 0x40;

struct IndexResult {
  enum class Kind { kOk, kFull, kMalformed };
  Kind kind = Kind::kOk;
  int64_t last_offset = -1;  // Of the last record with a key that was noted.
};

/// Notes the keys of a batch in `map`, from `first_offset` on. `records` are the batch's records,
/// decompressed. When the map is full, what stood before the record that found no room is noted.
IndexResult index_records(const BatchHeader& header, std::span<const uint8_t> records,
                          int64_t first_offset, OffsetMap* map);

struct FilterRules {
  int64_t latest_offset = -1;  // Of the map; what lies behind it is kept.
  bool drop_all = false;       // Of an aborted transaction, or a marker whose time is over.
  bool keep_all = false;       // A control batch: its key is no key.
  bool keep_tombstones = true;
  bool wants_horizon = false;      // A marker of a transaction without records.
  int64_t delete_horizon_ms = -1;  // To set where there is none and something wants one.
};

struct FilterResult {
  bool malformed = false;
  int32_t kept = 0;
  int32_t without_key = 0;
  bool changed = false;  // `batch` holds the batch to write; else the original stands.
};

/// Decides about each record of a batch. When some go and some stay, or a delete horizon is to be
/// set, `batch` becomes the new batch: header and records, not compressed, its CRC right, its codec
/// bits 0. Offsets, the last one of the batch, producer and sequence stay as they are.
FilterResult filter_records(const BatchHeader& header, std::span<const uint8_t> header_bytes,
                            std::span<const uint8_t> records, const FilterRules& rules,
                            const OffsetMap& map, std::vector<uint8_t>* batch);

}  // namespace shardlog
