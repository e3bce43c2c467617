#include "produce_layout.h"

namespace shardlog {
namespace {

constexpr int kFirstFlexible = 9;
constexpr int kFirstTransactional = 3;
constexpr int kFirstTopicId = 13;

}  // namespace

int64_t copy_produce_head(std::span<const uint8_t> frame, std::span<uint8_t> out) {
  HeadCopier head(frame, out);
  head.fixed(2);
  const int32_t version = head.fixed(2);
  const bool flexible = version >= kFirstFlexible;
  head.fixed(4);
  head.nullable_string(false);
  head.tagged_fields(flexible);
  if (version >= kFirstTransactional) head.nullable_string(flexible);
  head.fixed(2);
  head.fixed(4);
  const uint32_t topics = head.array(flexible);
  for (uint32_t i = 0; i < topics && head.ok(); ++i) {
    if (version >= kFirstTopicId) {
      head.copy(16);
    } else {
      head.nullable_string(flexible);
    }
    const uint32_t partitions = head.array(flexible);
    for (uint32_t j = 0; j < partitions && head.ok(); ++j) {
      head.fixed(4);
      head.records(flexible);
      head.tagged_fields(flexible);
    }
    head.tagged_fields(flexible);
  }
  head.tagged_fields(flexible);
  head.rest();
  return head.outcome();
}

}  // namespace shardlog
