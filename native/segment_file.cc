#include "segment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace shardlog {

FileOperations& file_operations() {
  static FileOperations operations{
      ::pwritev,
      ::ftruncate,
      ::fallocate,
      ::fdatasync,
      ::fsync,
      ::pread,
      [](const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); },
      ::rename,
      ::unlink};
  return operations;
}

SegmentFile::~SegmentFile() { ::close(fd_); }

SegmentFile::OpenResult SegmentFile::open(const std::string& path, bool create) {
  const int fd =
      file_operations().open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0644);
  if (fd < 0) return {nullptr, errno, 0};
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    const int error = errno;
    ::close(fd);
    return {nullptr, error, 0};
  }
  return {std::shared_ptr<SegmentFile>(new SegmentFile(fd)), 0, status.st_size};
}

int SegmentFile::write_at(std::span<iovec> vectors, int64_t position) {
  constexpr size_t kVectorsPerCall = 1024;
  while (!vectors.empty()) {
    const auto count = static_cast<int>(std::min(vectors.size(), kVectorsPerCall));
    const ssize_t n = file_operations().pwritev(fd_, vectors.data(), count, position);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;  // A write that makes no progress and names no reason.
    position += n;
    auto left = static_cast<size_t>(n);
    while (!vectors.empty() && left >= vectors.front().iov_len) {
      left -= vectors.front().iov_len;
      vectors = vectors.subspan(1);
    }
    if (left > 0) {
      vectors.front().iov_base = static_cast<uint8_t*>(vectors.front().iov_base) + left;
      vectors.front().iov_len -= left;
    }
  }
  return 0;
}

int64_t SegmentFile::read_at(std::span<uint8_t> out, int64_t position) const {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = file_operations().pread(fd_, out.data() + done, out.size() - done,
                                              position + static_cast<int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return static_cast<int64_t>(done);
}

int64_t SegmentFile::read_cached(std::span<uint8_t> out, int64_t position) const {
  iovec vector{out.data(), out.size()};
  for (;;) {
    ssize_t n = ::preadv2(fd_, &vector, 1, position, RWF_NOWAIT);
    if (n < 0 && errno == EINTR) continue;
    // A file system that cannot tell (tmpfs) has its data in memory anyway.
    if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)) {
      n = ::pread(fd_, out.data(), out.size(), position);
    }
    return n < 0 ? -errno : n;
  }
}

int SegmentFile::truncate(int64_t size) {
  return file_operations().ftruncate(fd_, size) == 0 ? 0 : errno;
}

int SegmentFile::flush() { return file_operations().fdatasync(fd_) == 0 ? 0 : errno; }

void SegmentFile::preallocate(int64_t begin, int64_t end) {
  // Best effort by design: a full disk shows itself at the write that needs the block.
  static_cast<void>(file_operations().fallocate(fd_, FALLOC_FL_KEEP_SIZE, begin, end - begin));
}

int replace_file(const std::string& path, std::span<const uint8_t> content, bool durable) {
  const std::string temporary = path + ".tmp";
  const int fd =
      file_operations().open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  int error = 0;
  size_t done = 0;
  while (error == 0 && done < content.size()) {
    const ssize_t n = ::write(fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      error = n < 0 ? errno : EIO;
    } else {
      done += static_cast<size_t>(n);
    }
  }
  if (error == 0 && durable && file_operations().fdatasync(fd) != 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && file_operations().rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  // What cannot be removed now is at the next opening of the folder.
  if (error != 0) static_cast<void>(remove_file(temporary));
  return error;
}

int remove_file(const std::string& path) {
  return file_operations().unlink(path.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

int sync_directory(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = file_operations().fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return error;
}

}  // namespace shardlog
