#include "offset_map.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace shardlog {
namespace {

struct SipState {
  uint64_t a, b, c, d;

  void round() {
    a += b;
    b = std::rotl(b, 13) ^ a;
    a = std::rotl(a, 32);
    c += d;
    d = std::rotl(d, 16) ^ c;
    a += d;
    d = std::rotl(d, 21) ^ a;
    c += b;
    b = std::rotl(b, 17) ^ c;
    c = std::rotl(c, 32);
  }
  void absorb(uint64_t word) {
    d ^= word;
    round();
    round();
    a ^= word;
  }
  uint64_t squeeze() {
    for (int i = 0; i < 4; ++i) round();
    return a ^ b ^ c ^ d;
  }
};

uint64_t load_word(const uint8_t* at, size_t bytes) {
  static_assert(std::endian::native == std::endian::little);
  uint64_t word = 0;
  std::memcpy(&word, at, bytes);
  return word;
}

}  // namespace

Hash128 siphash128(const std::array<uint64_t, 2>& secret, std::span<const uint8_t> bytes) {
  SipState state{secret[0] ^ 0x736f6d6570736575, secret[1] ^ 0x646f72616e646f6d ^ 0xee,
                 secret[0] ^ 0x6c7967656e657261, secret[1] ^ 0x7465646279746573};
  size_t at = 0;
  for (; bytes.size() - at >= 8; at += 8) state.absorb(load_word(bytes.data() + at, 8));
  const uint64_t length = static_cast<uint64_t>(bytes.size()) << 56;
  const size_t rest = bytes.size() - at;
  state.absorb(length | (rest > 0 ? load_word(bytes.data() + at, rest) : 0));
  state.c ^= 0xee;
  const uint64_t low = state.squeeze();
  state.b ^= 0xdd;
  return {low, state.squeeze()};
}

OffsetMap::OffsetMap(size_t bytes_max, double load_factor, const std::array<uint64_t, 2>& secret)
    : load_factor_(std::clamp(load_factor, 0.01, 1.0)), secret_(secret) {
  const size_t slots = std::max(bytes_max / sizeof(Slot), kFirstSlots);
  parts_used_ = std::clamp<size_t>(slots / 1024, 1, kParts);
  part_slots_max_ = slots / parts_used_;
}

/// How many keys a part of `capacity` slots takes; one slot stays free, so that a search ends.
size_t OffsetMap::limit_of(size_t capacity) const {
  const auto wanted = static_cast<size_t>(static_cast<double>(capacity) * load_factor_);
  return std::clamp<size_t>(wanted, 1, capacity - 1);
}

/// The slot of a hash, or the free one where it would go. The part has slots.
OffsetMap::Slot* OffsetMap::find(const Part& part, const Hash128& hash) {
  size_t at = hash.low % part.capacity;
  for (;;) {
    Slot& slot = part.slots[at];
    if (slot.next == 0 || (slot.low == hash.low && slot.high == hash.high)) return &slot;
    at = at + 1 == part.capacity ? 0 : at + 1;
  }
}

bool OffsetMap::grow(Part& part) {
  const size_t capacity =
      std::min(part.capacity == 0 ? kFirstSlots : part.capacity * 2, part_slots_max_);
  if (capacity <= part.capacity) return false;
  Part larger;
  larger.slots.reset(static_cast<Slot*>(std::calloc(capacity, sizeof(Slot))));
  // Without memory the map is as good as full.
  if (!larger.slots) return false;
  larger.capacity = capacity;
  larger.size = part.size;
  for (size_t i = 0; i < part.capacity; ++i) {
    const Slot& slot = part.slots[i];
    if (slot.next != 0) *find(larger, {slot.low, slot.high}) = slot;
  }
  slots_ += capacity - part.capacity;
  part = std::move(larger);
  return true;
}

bool OffsetMap::put(std::span<const uint8_t> key, int64_t offset) {
  const Hash128 hash = siphash128(secret_, key);
  Part& part = parts_[part_of(hash)];
  if (part.capacity == 0 && !grow(part)) return false;
  Slot* slot = find(part, hash);
  if (slot->next == 0) {
    if (part.size >= limit_of(part.capacity)) {
      if (!grow(part)) return false;
      slot = find(part, hash);
    }
    *slot = {hash.low, hash.high, 0};
    ++part.size;
    ++size_;
  }
  slot->next = offset + 1;
  return true;
}

int64_t OffsetMap::get(std::span<const uint8_t> key) const {
  const Hash128 hash = siphash128(secret_, key);
  const Part& part = parts_[part_of(hash)];
  return part.capacity == 0 ? -1 : find(part, hash)->next - 1;
}

void OffsetMap::clear() {
  for (Part& part : parts_) part = Part{};
  size_ = slots_ = 0;
}

}  // namespace shardlog
