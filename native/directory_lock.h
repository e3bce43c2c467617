// The lock that keeps two brokers out of one data directory.
#pragma once

#include <string>

namespace shardlog {

/// Locks the file at `path`, creating it. Returns a descriptor that holds the lock until it is
/// closed, or -errno: -EAGAIN when somebody else holds it.
///
/// An open file description lock (F_OFD_SETLK, fcntl(2)): it conflicts with the record lock that
/// Apache Kafka takes on the same file, and also with a second broker in this very process.
[[nodiscard]] int lock_directory(const std::string& path);
void unlock_directory(int descriptor);

}  // namespace shardlog
