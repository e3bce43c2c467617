#include "log_recovery.h"

#include <dirent.h>
#include <errno.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "batch_scan.h"
#include "big_endian.h"

namespace shardlog {
namespace {

constexpr size_t kOffsetDigits = 20;

/// CRC-32 (IEEE), the checksum of messages of format 0 and 1, of the bytes before and `data`.
uint32_t crc32(uint32_t before, std::span<const uint8_t> data) {
  uint32_t crc = ~before;
  for (const uint8_t byte : data) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

bool base_offset_of(const std::string& name, int64_t* base_offset) {
  return name.size() > kOffsetDigits &&
         parse_base_offset(name.substr(0, kOffsetDigits).c_str(), "", base_offset);
}

/// Moves `end` behind the last whole batch of a segment. 0 or an errno.
int read_end(const std::string& path, int64_t* end) {
  const auto opened = SegmentFile::open(path, false);
  if (opened.error != 0) return opened.error;
  uint8_t bytes[kBatchHeaderBytes];
  for (int64_t position = 0; position < opened.size;) {
    const int64_t n = opened.file->read_at(bytes, position);
    if (n < 0) return static_cast<int>(-n);
    if (n < kBatchHeaderBytes) break;
    const BatchHeader header = read_batch_header(bytes);
    // Damage ends the walk; the scan of the segment deals with it.
    if (header.magic != 2 || header.size < kBatchHeaderBytes || header.last_offset_delta < 0 ||
        header.base_offset < 0 || header.base_offset >= INT64_MAX - header.last_offset_delta) {
      break;
    }
    *end = std::max(*end, header.last_offset() + 1);
    position += header.size;
  }
  return 0;
}

}  // namespace

bool parse_base_offset(const char* name, const char* suffix, int64_t* base_offset) {
  const size_t length = std::strlen(name);
  if (length != kOffsetDigits + std::strlen(suffix) ||
      std::strcmp(name + kOffsetDigits, suffix) != 0) {
    return false;
  }
  int64_t value = 0;
  for (size_t i = 0; i < kOffsetDigits; ++i) {
    if (name[i] < '0' || name[i] > '9') return false;
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, name[i] - '0', &value)) {
      return false;
    }
  }
  *base_offset = value;
  return true;
}

int finish_interrupted_changes(const std::string& directory) {
  std::vector<std::string> names;
  DIR* opened = ::opendir(directory.c_str());
  if (opened == nullptr) return errno;
  while (const dirent* entry = ::readdir(opened)) names.emplace_back(entry->d_name);
  ::closedir(opened);

  int64_t incomplete_from = INT64_MAX;
  for (const std::string& name : names) {
    int64_t base = 0;
    if (name.ends_with(".cleaned") && base_offset_of(name, &base)) {
      incomplete_from = std::min(incomplete_from, base);
    }
  }
  std::vector<std::string> swaps;
  std::vector<std::string> rubbish;
  int64_t begin = INT64_MAX;
  int64_t end = -1;
  for (const std::string& name : names) {
    int64_t base = 0;
    const bool swap = name.ends_with(".swap") && base_offset_of(name, &base);
    if (name.ends_with(".deleted") || name.ends_with(".cleaned") || name.ends_with(".tmp") ||
        (swap && base >= incomplete_from)) {
      rubbish.push_back(name);
    } else if (swap) {
      swaps.push_back(name);
      if (!name.ends_with(".log.swap")) continue;
      begin = std::min(begin, base);
      end = std::max(end, base + 1);
      if (const int error = read_end(directory + "/" + name, &end); error != 0) return error;
    }
  }
  // The marks go after what they mark: a crash in between changes nothing of the above.
  std::stable_partition(rubbish.begin(), rubbish.end(),
                        [](const std::string& name) { return !name.ends_with(".cleaned"); });
  for (const std::string& name : names) {
    int64_t base = 0;
    const bool replaced = (name.ends_with(".log") || name.ends_with("index")) &&
                          base_offset_of(name, &base) && base >= begin && base < end;
    if (replaced) rubbish.push_back(name);
  }
  for (const std::string& name : rubbish) {
    if (const int error = remove_file(directory + "/" + name); error != 0) return error;
  }
  // The segment goes last: an index that went before it is removed at the next opening, should this
  // one end here, and made anew.
  std::sort(swaps.begin(), swaps.end(), [](const std::string& a, const std::string& b) {
    return std::pair(a.ends_with(".log.swap"), a) < std::pair(b.ends_with(".log.swap"), b);
  });
  for (const std::string& name : swaps) {
    const std::string from = directory + "/" + name;
    const std::string to = from.substr(0, from.size() - std::strlen(".swap"));
    if (file_operations().rename(from.c_str(), to.c_str()) != 0) return errno;
  }
  return swaps.empty() ? 0 : sync_directory(directory);
}

int find_old_message(const SegmentFile& file, int64_t position, int64_t left, bool* found) {
  constexpr int64_t kMagicAt = 16;
  constexpr int64_t kCrcAt = 12;
  constexpr int64_t kMessageMin = 14;
  *found = false;
  std::array<uint8_t, 8192> bytes;
  int64_t n = file.read_at(std::span(bytes).first(kMagicAt + 1), position);
  if (n < 0) return static_cast<int>(-n);
  if (n <= kMagicAt || bytes[kMagicAt] > 1) return 0;
  const int64_t size = load_be<int32_t>(bytes.data() + 8);
  const auto wanted = load_be<uint32_t>(bytes.data() + kCrcAt);
  if (size < kMessageMin || size > left - kCrcAt) return 0;
  uint32_t crc = 0;
  const int64_t end = position + kCrcAt + size;
  for (int64_t at = position + kMagicAt; at < end; at += n) {
    const auto piece = std::min<int64_t>(end - at, static_cast<int64_t>(bytes.size()));
    n = file.read_at(std::span(bytes).first(static_cast<size_t>(piece)), at);
    if (n <= 0) return n < 0 ? static_cast<int>(-n) : EIO;
    crc = crc32(crc, std::span(bytes).first(static_cast<size_t>(n)));
  }
  *found = crc == wanted;
  return 0;
}

}  // namespace shardlog
