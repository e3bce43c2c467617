// Produce requests of every version, encoded by hand, for tests and fuzzing.
#pragma once

#include <string>
#include <vector>

#include "fixtures.h"

namespace shardlog::test {

/// Writes the fields of one Produce request, in the classic or the flexible encoding.
class ProduceEncoder {
 public:
  ProduceEncoder(int16_t version, bool with_payload)
      : version_(version), flexible_(version >= 9), with_payload_(with_payload) {}

  std::vector<uint8_t> encode(const std::vector<std::vector<size_t>>& topics) {
    fixed<int16_t>(0);
    fixed<int16_t>(version_);
    fixed<int32_t>(42);
    string16("client");
    tags();
    if (version_ >= 3) {
      if (flexible_) {
        unsigned_varint(0);
      } else {
        fixed<int16_t>(-1);
      }
    }
    fixed<int16_t>(-1);
    fixed<int32_t>(1500);
    length(static_cast<int64_t>(topics.size()));
    for (size_t t = 0; t < topics.size(); ++t) {
      if (version_ >= 13) {
        for (int i = 0; i < 16; ++i) out_.push_back(static_cast<uint8_t>(t + 1));
      } else {
        const std::string name = "topic-" + std::to_string(t);
        if (flexible_) {
          unsigned_varint(static_cast<uint32_t>(name.size() + 1));
          out_.insert(out_.end(), name.begin(), name.end());
        } else {
          string16(name);
        }
      }
      length(static_cast<int64_t>(topics[t].size()));
      for (size_t p = 0; p < topics[t].size(); ++p) {
        fixed<int32_t>(static_cast<int32_t>(p));
        length(static_cast<int64_t>(topics[t][p]));
        if (with_payload_) out_.insert(out_.end(), topics[t][p], 0xab);
        tags();
      }
      tags();
    }
    tags();
    return out_;
  }

 private:
  template <typename T>
  void fixed(T value) {
    uint8_t bytes[sizeof(T)];
    store_be<T>(bytes, value);
    out_.insert(out_.end(), bytes, bytes + sizeof(T));
  }
  void unsigned_varint(uint32_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<uint8_t>(value | 0x80));
    out_.push_back(static_cast<uint8_t>(value));
  }
  void string16(const std::string& text) {
    fixed<int16_t>(static_cast<int16_t>(text.size()));
    out_.insert(out_.end(), text.begin(), text.end());
  }
  void length(int64_t value) {
    if (flexible_) {
      unsigned_varint(static_cast<uint32_t>(value + 1));
    } else {
      fixed<int32_t>(static_cast<int32_t>(value));
    }
  }
  void tags() {
    if (!flexible_) return;
    // One unknown tagged field: it must be copied, not understood.
    unsigned_varint(1);
    unsigned_varint(9);
    unsigned_varint(2);
    out_.push_back(0xcc);
    out_.push_back(0xcd);
  }

  const int16_t version_;
  const bool flexible_;
  const bool with_payload_;
  std::vector<uint8_t> out_;
};

inline std::vector<uint8_t> produce_request(int16_t version,
                                            const std::vector<std::vector<size_t>>& topics,
                                            bool with_payload = true) {
  return ProduceEncoder(version, with_payload).encode(topics);
}

}  // namespace shardlog::test
