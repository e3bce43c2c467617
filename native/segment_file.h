// One file of a log, opened for as long as somebody reads it.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace shardlog {

/// The system calls that change a log, in one place so that tests can make any of them fail.
struct FileOperations {
  ssize_t (*pwritev)(int, const iovec*, int, off_t);
  int (*ftruncate)(int, off_t);
  int (*fallocate)(int, int, off_t, off_t);
  int (*fdatasync)(int);
  int (*fsync)(int);  // Of a directory.
  ssize_t (*pread)(int, void*, size_t, off_t);
  int (*open)(const char*, int, mode_t);
  int (*rename)(const char*, const char*);
  int (*unlink)(const char*);
};

/// The operations in use: the system's, unless a test put others here.
FileOperations& file_operations();

/// An open segment file. Retention may unlink it at any time: whoever holds a SegmentRef can read
/// on, and the last one to let go closes the descriptor.
class SegmentFile {
 public:
  ~SegmentFile();
  SegmentFile(const SegmentFile&) = delete;
  SegmentFile& operator=(const SegmentFile&) = delete;

  struct OpenResult {
    std::shared_ptr<SegmentFile> file;
    int error = 0;  // An errno value.
    int64_t size = 0;
  };
  /// Opens `path` for reading and writing, creating it if `create`.
  static OpenResult open(const std::string& path, bool create);

  int fd() const { return fd_; }

  /// Writes all of `vectors` at `position`; they are consumed. 0, or an errno value. Expected
  /// errors: ENOSPC, EDQUOT, EIO, EFBIG.
  [[nodiscard]] int write_at(std::span<iovec> vectors, int64_t position);
  /// Reads exactly `out.size()` bytes or up to the end of the file: bytes read, or -errno.
  [[nodiscard]] int64_t read_at(std::span<uint8_t> out, int64_t position) const;
  /// Reads without waiting for the disk: bytes read, -EAGAIN when that would wait, or -errno.
  [[nodiscard]] int64_t read_cached(std::span<uint8_t> out, int64_t position) const;
  [[nodiscard]] int truncate(int64_t size);
  [[nodiscard]] int flush();
  /// Asks for disk blocks up to `end` without changing the size. A file system that cannot do it
  /// is written without.
  void preallocate(int64_t begin, int64_t end);

 private:
  explicit SegmentFile(int fd) : fd_(fd) {}
  const int fd_;
};

using SegmentRef = std::shared_ptr<SegmentFile>;

/// Replaces `path` by `content` so that a crash leaves the old or the new file, or when it is not
/// `durable` perhaps a damaged one if the machine goes down. 0 or an errno.
[[nodiscard]] int replace_file(const std::string& path, std::span<const uint8_t> content,
                               bool durable = true);

/// Removes `path`; that it is missing is no error. 0 or an errno.
[[nodiscard]] int remove_file(const std::string& path);

/// Makes creations, renames and deletions in `directory` durable. 0 or an errno.
[[nodiscard]] int sync_directory(const std::string& directory);

}  // namespace shardlog
