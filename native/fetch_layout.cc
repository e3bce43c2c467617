#include "fetch_layout.h"

namespace shardlog {
namespace {

constexpr int kFirstTopicId = 13;
constexpr size_t kThrottleErrorSession = 4 + 2 + 4;
constexpr size_t kIndexErrorOffsets = 4 + 2 + 3 * 8;
constexpr size_t kAbortedTransaction = 2 * 8;

}  // namespace

int64_t copy_fetch_head(std::span<const uint8_t> frame, int version, std::span<uint8_t> out) {
  HeadCopier head(frame, out);
  head.fixed(4);
  head.tagged_fields(true);
  head.copy(kThrottleErrorSession);
  const uint32_t topics = head.array(true);
  for (uint32_t i = 0; i < topics && head.ok(); ++i) {
    if (version >= kFirstTopicId) {
      head.copy(16);
    } else {
      head.nullable_string(true);
    }
    const uint32_t partitions = head.array(true);
    for (uint32_t j = 0; j < partitions && head.ok(); ++j) {
      head.copy(kIndexErrorOffsets);
      const uint32_t aborted = head.array(true);
      for (uint32_t k = 0; k < aborted && head.ok(); ++k) {
        head.copy(kAbortedTransaction);
        head.tagged_fields(true);
      }
      head.fixed(4);
      head.records(true);
      head.tagged_fields(true);
    }
    head.tagged_fields(true);
  }
  head.tagged_fields(true);
  head.rest();
  return head.outcome();
}

}  // namespace shardlog
