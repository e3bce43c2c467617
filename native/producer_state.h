// What a partition remembers of its idempotent producers (KIP-98), and its `.snapshot` files.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "batch_scan.h"

namespace shardlog {

/// One appended batch of a producer.
struct ProducerBatch {
  int32_t last_sequence = -1;
  int32_t offset_delta = 0;
  int64_t last_offset = -1;
  int64_t timestamp = -1;

  int64_t base_offset() const { return last_offset - offset_delta; }
  int32_t first_sequence() const;
};

struct ProducerEntry {
  static constexpr size_t kBatches = 5;
  int16_t epoch = -1;
  uint8_t count = 0;
  int32_t coordinator_epoch = -1;
  int64_t transaction_first_offset = -1;
  int64_t last_timestamp = -1;
  std::array<ProducerBatch, kBatches> batches;  // Oldest first.
  /// How many sequences up to the last one were surely appended: all batches since the first that
  /// this log has seen of the epoch, as long as none was missing in between.
  int32_t unbroken = 0;

  void add(const ProducerBatch& batch);
  /// Whether the batch is older than those that are remembered, and was appended as surely.
  bool knows_before(int32_t first_sequence, int32_t offset_delta) const;
};

/// The producers of one log. Owned by its shard.
///
/// Appends are staged: `stage` changes the state at once and remembers how to undo it, `commit`
/// forgets that, `roll_back` undoes what was staged behind a mark.
class ProducerState {
 public:
  struct Check {
    int16_t error = 0;  // A Kafka error code.
    bool duplicate = false;
    int64_t base_offset = -1;  // Of the original; -1 if it is not remembered where that is.
    int64_t last_offset = -1;  // Of the original, or one behind it.
  };

  /// May the producer append this batch now? (protocol error codes 45, 47)
  Check check(const BatchHeader& header) const;
  void stage(const BatchHeader& header, int64_t base_offset);
  size_t mark() const { return undo_.size(); }
  void commit() { undo_.clear(); }
  void roll_back(size_t mark);

  /// Takes a batch that is already in the log.
  void replay(const BatchHeader& header);
  void clear();
  /// Forgets producers silent since before `before_ms`. How many.
  size_t expire(int64_t before_ms);

  const std::unordered_map<int64_t, ProducerEntry>& producers() const { return producers_; }

  /// The snapshot file's bytes: version 1 of Kafka's format. What was staged behind `mark` is left
  /// out: it is not in the log yet, and a snapshot that had it would make a repetition of it look
  /// like a duplicate.
  std::vector<uint8_t> encode(size_t mark = SIZE_MAX) const;
  /// Takes the state from such bytes. False when they are not a sound snapshot.
  bool decode(std::span<const uint8_t> bytes);

 private:
  struct Undo {
    int64_t producer_id;
    bool existed;
    ProducerEntry before;
  };
  static void encode_entry(uint8_t* at, int64_t id, const ProducerEntry& entry);

  std::unordered_map<int64_t, ProducerEntry> producers_;
  std::vector<Undo> undo_;
};

}  // namespace shardlog
