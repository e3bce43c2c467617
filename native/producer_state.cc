#include "producer_state.h"

#include <algorithm>

#include "big_endian.h"
#include "crc32c.h"

namespace shardlog {
namespace {

constexpr int16_t kOutOfOrderSequence = 45;
constexpr int16_t kInvalidProducerEpoch = 47;
constexpr int16_t kSnapshotVersion = 1;
constexpr size_t kSnapshotHeaderBytes = 2 + 4 + 4;
constexpr size_t kSnapshotEntryBytes = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;

/// Half of all sequences: what is further behind cannot be told from what is ahead.
constexpr int32_t kUnbrokenMax = 1 << 30;

/// Sequences wrap from INT32_MAX to 0.
int32_t advance(int32_t sequence, int32_t by) {
  return static_cast<int32_t>((int64_t{sequence} + by) & INT32_MAX);
}

/// How far `sequence` is behind `last`.
int32_t behind(int32_t sequence, int32_t last) {
  return static_cast<int32_t>((int64_t{last} - sequence) & INT32_MAX);
}

}  // namespace

int32_t ProducerBatch::first_sequence() const {
  return static_cast<int32_t>((int64_t{last_sequence} - offset_delta) & INT32_MAX);
}

void ProducerEntry::add(const ProducerBatch& batch) {
  const bool follows =
      count > 0 && batch.first_sequence() == advance(batches[count - 1].last_sequence, 1);
  const int64_t before = follows ? unbroken : 0;
  unbroken = static_cast<int32_t>(std::min<int64_t>(before + batch.offset_delta + 1, kUnbrokenMax));
  if (count == kBatches) {
    std::rotate(batches.begin(), batches.begin() + 1, batches.end());
    batches[kBatches - 1] = batch;
  } else {
    batches[count++] = batch;
  }
  last_timestamp = batch.timestamp;
}

bool ProducerEntry::knows_before(int32_t first_sequence, int32_t offset_delta) const {
  if (count == 0) return false;
  const int32_t last = batches[count - 1].last_sequence;
  const int32_t first_behind = behind(first_sequence, last);
  return first_behind < unbroken &&
         first_behind - offset_delta > behind(batches[0].first_sequence(), last);
}

ProducerState::Check ProducerState::check(const BatchHeader& header) const {
  const auto found = producers_.find(header.producer_id);
  // Expiry and retention forget producers: an unknown one may start anywhere.
  if (found == producers_.end()) return {};
  const ProducerEntry& entry = found->second;
  if (header.producer_epoch < entry.epoch) return {.error = kInvalidProducerEpoch};
  if (header.producer_epoch > entry.epoch) {
    if (header.base_sequence != 0 && entry.epoch >= 0) return {.error = kOutOfOrderSequence};
    return {};
  }
  if (entry.count == 0) return {};
  const int32_t last = advance(header.base_sequence, header.last_offset_delta);
  for (size_t i = 0; i < entry.count; ++i) {
    const ProducerBatch& batch = entry.batches[i];
    if (batch.first_sequence() == header.base_sequence && batch.last_sequence == last) {
      return {
          .duplicate = true, .base_offset = batch.base_offset(), .last_offset = batch.last_offset};
    }
  }
  // A producer that sends to a new leader before the old one has answered may repeat what is many
  // batches ago. Refused as out of order it would number those anew, and they would be there twice.
  if (entry.knows_before(header.base_sequence, header.last_offset_delta)) {
    return {.duplicate = true, .last_offset = entry.batches[0].base_offset() - 1};
  }
  if (header.base_sequence != advance(entry.batches[entry.count - 1].last_sequence, 1)) {
    return {.error = kOutOfOrderSequence};
  }
  return {};
}

void ProducerState::stage(const BatchHeader& header, int64_t base_offset) {
  const auto found = producers_.find(header.producer_id);
  undo_.push_back({header.producer_id, found != producers_.end(),
                   found != producers_.end() ? found->second : ProducerEntry{}});
  BatchHeader placed = header;
  placed.base_offset = base_offset;
  replay(placed);
}

void ProducerState::roll_back(size_t mark) {
  while (undo_.size() > mark) {
    const Undo& undo = undo_.back();
    if (undo.existed) {
      producers_[undo.producer_id] = undo.before;
    } else {
      producers_.erase(undo.producer_id);
    }
    undo_.pop_back();
  }
}

void ProducerState::replay(const BatchHeader& header) {
  if (header.producer_id < 0) return;
  ProducerEntry& entry = producers_[header.producer_id];
  if (header.producer_epoch != entry.epoch) {
    entry.epoch = header.producer_epoch;
    entry.count = 0;
  }
  if (header.is_control()) {
    entry.last_timestamp = header.max_timestamp;
    return;
  }
  entry.add({advance(header.base_sequence, header.last_offset_delta), header.last_offset_delta,
             header.last_offset(), header.max_timestamp});
}

void ProducerState::clear() {
  producers_.clear();
  undo_.clear();
}

size_t ProducerState::expire(int64_t before_ms) {
  return std::erase_if(producers_, [before_ms](const auto& item) {
    return item.second.transaction_first_offset < 0 && item.second.last_timestamp < before_ms;
  });
}

void ProducerState::encode_entry(uint8_t* at, int64_t id, const ProducerEntry& entry) {
  const ProducerBatch last = entry.count > 0 ? entry.batches[entry.count - 1] : ProducerBatch{};
  store_be<int64_t>(at, id);
  store_be<int16_t>(at + 8, entry.epoch);
  store_be<int32_t>(at + 10, last.last_sequence);
  store_be<int64_t>(at + 14, last.last_offset);
  store_be<int32_t>(at + 22, last.offset_delta);
  store_be<int64_t>(at + 26, entry.last_timestamp);
  store_be<int32_t>(at + 34, entry.coordinator_epoch);
  store_be<int64_t>(at + 38, entry.transaction_first_offset);
}

std::vector<uint8_t> ProducerState::encode(size_t mark) const {
  // Of each producer touched behind the mark, the first undo holds what it was at the mark.
  std::unordered_map<int64_t, const Undo*> undone;
  for (size_t i = mark; i < undo_.size(); ++i) undone.try_emplace(undo_[i].producer_id, &undo_[i]);
  std::vector<uint8_t> bytes(kSnapshotHeaderBytes);
  bytes.reserve(kSnapshotHeaderBytes + producers_.size() * kSnapshotEntryBytes);
  int32_t count = 0;
  for (const auto& [id, entry] : producers_) {
    const auto found = undone.find(id);
    if (found != undone.end() && !found->second->existed) continue;
    bytes.resize(bytes.size() + kSnapshotEntryBytes);
    encode_entry(bytes.data() + bytes.size() - kSnapshotEntryBytes, id,
                 found == undone.end() ? entry : found->second->before);
    count += 1;
  }
  store_be<int16_t>(bytes.data(), kSnapshotVersion);
  store_be<int32_t>(bytes.data() + 6, count);
  store_be<uint32_t>(bytes.data() + 2, crc32c(0, std::span(bytes).subspan(6)));
  return bytes;
}

bool ProducerState::decode(std::span<const uint8_t> bytes) {
  clear();
  if (bytes.size() < kSnapshotHeaderBytes || load_be<int16_t>(bytes.data()) != kSnapshotVersion ||
      load_be<uint32_t>(bytes.data() + 2) != crc32c(0, bytes.subspan(6))) {
    return false;
  }
  const auto count = load_be<int32_t>(bytes.data() + 6);
  if (count < 0 ||
      bytes.size() != kSnapshotHeaderBytes + static_cast<size_t>(count) * kSnapshotEntryBytes) {
    return false;
  }
  const uint8_t* at = bytes.data() + kSnapshotHeaderBytes;
  for (int32_t i = 0; i < count; ++i, at += kSnapshotEntryBytes) {
    ProducerEntry entry;
    entry.epoch = load_be<int16_t>(at + 8);
    const ProducerBatch last{load_be<int32_t>(at + 10), load_be<int32_t>(at + 22),
                             load_be<int64_t>(at + 14), load_be<int64_t>(at + 26)};
    if (last.last_offset >= 0) entry.add(last);
    entry.last_timestamp = last.timestamp;
    entry.coordinator_epoch = load_be<int32_t>(at + 34);
    entry.transaction_first_offset = load_be<int64_t>(at + 38);
    // Kafka writes no producer twice.
    if (!producers_.emplace(load_be<int64_t>(at), entry).second) {
      clear();
      return false;
    }
  }
  return true;
}

}  // namespace shardlog
