// Record batches from anywhere: checked, walked and searched without a step outside.

#include "../batch_scan.h"
#include "../big_endian.h"
#include "../crc32c.h"
#include "fuzz_seeds.h"

using namespace shardlog;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes(data, data + size);
  BatchHeader header;
  check_batch(bytes, &header);
  if (size < static_cast<size_t>(kBatchHeaderBytes)) return 0;
  // With length, format and checksum put right the fuzzer gets to the records.
  std::vector<uint8_t> batch = bytes;
  store_be<int32_t>(batch.data() + 8, static_cast<int32_t>(size - 12));
  batch[16] = 2;
  store_be<uint32_t>(batch.data() + 17, crc32c(0, std::span(batch).subspan(21)));
  if (check_batch(batch, &header) != BatchCheck::kOk) return 0;
  const RecordCheck check = check_records(batch, header, {.key_required = (data[0] & 1) != 0});
  int64_t offset = -1;
  int64_t timestamp = -1;
  const bool found = find_record_by_timestamp(batch, header, header.base_offset,
                                              header.base_timestamp, &offset, &timestamp);
  if (found && (offset < header.base_offset || offset > header.last_offset())) __builtin_trap();
  if (check.kind != RecordCheck::Kind::kOk && check.index < 0) __builtin_trap();
  return 0;
}

std::vector<std::vector<uint8_t>> fuzz_seeds() {
  return {test::make_batch({}),
          test::make_batch(
              {.records = {{.headers = {{"a", "b"}, {"", {}}}}, {.key = {}, .value = {}}}}),
          test::simple_batch(20, 1000, 200)};
}
