#include "directory_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

namespace shardlog {

int lock_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return -errno;
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    const int error = errno == EACCES ? EAGAIN : errno;
    ::close(fd);
    return -error;
  }
  return fd;
}

void unlock_directory(int descriptor) { ::close(descriptor); }

}  // namespace shardlog
