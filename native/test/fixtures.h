// What the native tests share: record batches built from scratch, folders that vanish.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../big_endian.h"
#include "../crc32c.h"

namespace shardlog::test {

inline void put_varlong(std::vector<uint8_t>& out, int64_t value) {
  uint64_t raw = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  for (; raw >= 0x80; raw >>= 7) out.push_back(static_cast<uint8_t>(raw | 0x80));
  out.push_back(static_cast<uint8_t>(raw));
}

struct RecordSpec {
  std::optional<std::string> key = "k";
  std::optional<std::string> value = "v";
  int64_t timestamp_delta = 0;
  std::optional<int32_t> offset_delta = {};  // Its index unless said otherwise.
  std::vector<std::pair<std::string, std::optional<std::string>>> headers = {};
};

struct BatchSpec {
  std::vector<RecordSpec> records = {RecordSpec{}};
  int64_t base_offset = 0;
  uint16_t attributes = 0;
  int64_t base_timestamp = 1'000'000;
  int64_t producer_id = -1;
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
  std::optional<int64_t> max_timestamp = {};
  std::optional<int32_t> last_offset_delta = {};
  std::optional<int32_t> record_count = {};
  std::vector<uint8_t> trailing = {};  // Behind the last record, inside the batch.
};

inline std::vector<uint8_t> encode_record(const RecordSpec& record, int32_t index) {
  std::vector<uint8_t> body{0};
  const auto put_bytes = [&body](const std::optional<std::string>& bytes) {
    put_varlong(body, bytes ? static_cast<int64_t>(bytes->size()) : -1);
    if (bytes) body.insert(body.end(), bytes->begin(), bytes->end());
  };
  put_varlong(body, record.timestamp_delta);
  put_varlong(body, record.offset_delta.value_or(index));
  put_bytes(record.key);
  put_bytes(record.value);
  put_varlong(body, static_cast<int64_t>(record.headers.size()));
  for (const auto& [key, value] : record.headers) {
    put_bytes(key);
    put_bytes(value);
  }
  std::vector<uint8_t> out;
  put_varlong(out, static_cast<int64_t>(body.size()));
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

inline void renew_crc(std::vector<uint8_t>& batch) {
  store_be<uint32_t>(batch.data() + 17, crc32c(0, std::span(batch).subspan(21)));
}

/// A batch of format 2, byte by byte as the format says; its CRC is right.
inline std::vector<uint8_t> make_batch(const BatchSpec& spec) {
  std::vector<uint8_t> batch(61);
  int64_t largest_delta = INT64_MIN;
  for (size_t i = 0; i < spec.records.size(); ++i) {
    const auto record = encode_record(spec.records[i], static_cast<int32_t>(i));
    batch.insert(batch.end(), record.begin(), record.end());
    largest_delta = std::max(largest_delta, spec.records[i].timestamp_delta);
  }
  batch.insert(batch.end(), spec.trailing.begin(), spec.trailing.end());
  const auto count = static_cast<int32_t>(spec.records.size());
  uint8_t* at = batch.data();
  store_be<int64_t>(at, spec.base_offset);
  store_be<int32_t>(at + 8, static_cast<int32_t>(batch.size() - 12));
  store_be<int32_t>(at + 12, -1);
  at[16] = 2;
  store_be<uint16_t>(at + 21, spec.attributes);
  store_be<int32_t>(at + 23, spec.last_offset_delta.value_or(count - 1));
  store_be<int64_t>(at + 27, spec.base_timestamp);
  store_be<int64_t>(
      at + 35, spec.max_timestamp.value_or(count == 0 ? -1 : spec.base_timestamp + largest_delta));
  store_be<int64_t>(at + 43, spec.producer_id);
  store_be<int16_t>(at + 51, spec.producer_epoch);
  store_be<int32_t>(at + 53, spec.base_sequence);
  store_be<int32_t>(at + 57, spec.record_count.value_or(count));
  renew_crc(batch);
  return batch;
}

/// A batch of `count` records, one of them `bytes` long, with one timestamp.
inline std::vector<uint8_t> simple_batch(int32_t count, int64_t timestamp = 1'000'000,
                                         size_t bytes = 1) {
  BatchSpec spec;
  spec.records.assign(static_cast<size_t>(count), RecordSpec{});
  spec.records.front().value = std::string(bytes, 'x');
  spec.base_timestamp = timestamp;
  return make_batch(spec);
}

/// A fresh folder, removed with its content at the end of the scope.
class TempDirectory {
 public:
  TempDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "shardlog-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace shardlog::test
