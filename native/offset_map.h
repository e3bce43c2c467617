// The newest offset of every key, in memory of fixed size: what a log is cleaned by.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

namespace shardlog {

/// SipHash-2-4 with a result of 128 bits (J.-P. Aumasson, D. J. Bernstein).
struct Hash128 {
  uint64_t low;
  uint64_t high;
};
[[nodiscard]] Hash128 siphash128(const std::array<uint64_t, 2>& secret,
                                 std::span<const uint8_t> bytes);

/// Key → offset, by 128-bit hashes under a secret: two keys with one hash do not happen, by chance
/// or on purpose. 24 bytes a slot, open addressing, in parts that grow one by one: memory is taken
/// by need, and what is moved while a part grows is small. For one thread.
class OffsetMap {
 public:
  /// `load_factor`: how full the slots may get, above 0 and at most 1.
  OffsetMap(size_t bytes_max, double load_factor, const std::array<uint64_t, 2>& secret);

  /// Notes an offset of zero or more. False when there is no room for another key.
  [[nodiscard]] bool put(std::span<const uint8_t> key, int64_t offset);
  /// -1 for a key that was never put.
  [[nodiscard]] int64_t get(std::span<const uint8_t> key) const;

  size_t size() const { return size_; }
  /// Of the slots there are now.
  size_t bytes() const { return slots_ * sizeof(Slot); }
  /// Forgets the keys and gives the memory back.
  void clear();

 private:
  struct Slot {
    uint64_t low;
    uint64_t high;
    int64_t next;  // Offset + 1; 0 is a free slot.
  };
  struct Free {
    void operator()(Slot* slots) const { std::free(slots); }
  };
  struct Part {
    std::unique_ptr<Slot[], Free> slots;
    size_t capacity = 0;
    size_t size = 0;
  };
  static constexpr size_t kParts = 256;
  static constexpr size_t kFirstSlots = 16;
  static Slot* find(const Part& part, const Hash128& hash);
  [[nodiscard]] bool grow(Part& part);
  size_t part_of(const Hash128& hash) const { return hash.high % parts_used_; }
  size_t limit_of(size_t capacity) const;

  const double load_factor_;
  const std::array<uint64_t, 2> secret_;
  size_t parts_used_;
  size_t part_slots_max_;
  size_t size_ = 0;
  size_t slots_ = 0;
  std::array<Part, kParts> parts_;
};

}  // namespace shardlog
