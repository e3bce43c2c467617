// Failing system calls under a log.
#pragma once

#include <errno.h>

#include "../segment_file.h"

namespace shardlog::test {

/// As long as it lives the `nth` call that changes or reads a log fails, whichever it is; with
/// `for_good` so do all that follow, as for a process that is no more.
class NthCallFails {
 public:
  explicit NthCallFails(int nth, bool for_good = false) {
    usual = file_operations();
    calls_left = nth;
    for_good_ = for_good;
    happened_ = false;
    FileOperations& operations = file_operations();
    operations.pwritev = [](int fd, const iovec* vectors, int count, off_t at) -> ssize_t {
      return due() ? -1 : usual.pwritev(fd, vectors, count, at);
    };
    operations.pread = [](int fd, void* to, size_t bytes, off_t at) -> ssize_t {
      return due() ? -1 : usual.pread(fd, to, bytes, at);
    };
    operations.ftruncate = [](int fd, off_t size) {
      return due() ? -1 : usual.ftruncate(fd, size);
    };
    operations.fdatasync = [](int fd) { return due() ? -1 : usual.fdatasync(fd); };
    operations.fsync = [](int fd) { return due() ? -1 : usual.fsync(fd); };
    operations.open = [](const char* path, int flags, mode_t mode) {
      return due() ? -1 : usual.open(path, flags, mode);
    };
    operations.rename = [](const char* from, const char* to) {
      return due() ? -1 : usual.rename(from, to);
    };
    operations.unlink = [](const char* path) { return due() ? -1 : usual.unlink(path); };
  }
  ~NthCallFails() { file_operations() = usual; }
  NthCallFails(const NthCallFails&) = delete;
  NthCallFails& operator=(const NthCallFails&) = delete;

  bool happened() const { return happened_; }

 private:
  static bool due() {
    if (happened_ && for_good_) {
      errno = EIO;
      return true;
    }
    if (calls_left == 0 || --calls_left > 0) return false;
    happened_ = true;
    errno = EIO;
    return true;
  }

  inline static FileOperations usual;
  inline static int calls_left = 0;
  inline static bool for_good_ = false;
  inline static bool happened_ = false;
};

}  // namespace shardlog::test
