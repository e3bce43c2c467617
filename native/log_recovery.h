// What a crash, or an older broker, may leave in a partition's folder.
#pragma once

#include <cstdint>
#include <string>

#include "segment_file.h"

namespace shardlog {

/// Reads the offset that a file of a partition is named by. False when `name` is not twenty digits
/// and `suffix`.
[[nodiscard]] bool parse_base_offset(const char* name, const char* suffix, int64_t* base_offset);

/// Removes what deletions left half done, and finishes or undoes a replacement of segments (by the
/// cleaner, or by splitting one) that was interrupted, by the rules of Apache Kafka: a `.cleaned`
/// file says that the replacements from its offset on are incomplete; a `.swap` file takes the
/// place of the segments whose offsets it spans. 0 or an errno.
[[nodiscard]] int finish_interrupted_changes(const std::string& directory);

/// Whether a sound message of format 0 or 1 stands at `position`, of a file with `left` bytes from
/// there on. 0 or an errno.
[[nodiscard]] int find_old_message(const SegmentFile& file, int64_t position, int64_t left,
                                   bool* found);

}  // namespace shardlog
