// The lock on a data directory: against this very process, against a record lock as Java takes it.
#include "../directory_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "fixtures.h"

namespace shardlog {
namespace {

/// What a child process gets when it asks for the record lock of fcntl(2).
bool child_can_lock(const std::string& path) {
  const pid_t child = ::fork();
  CHECK(child >= 0);
  if (child == 0) {
    const int fd = ::open(path.c_str(), O_RDWR);
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    ::_exit(fd >= 0 && ::fcntl(fd, F_SETLK, &lock) == 0 ? 0 : 1);
  }
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child && WIFEXITED(status));
  return WEXITSTATUS(status) == 0;
}

TEST(directory_lock_keeps_everybody_else_out) {
  test::TempDirectory folder;
  const std::string path = folder / ".lock";
  const int held = lock_directory(path);
  CHECK(held >= 0);
  CHECK(lock_directory(path) == -EAGAIN);
  CHECK(!child_can_lock(path));
  unlock_directory(held);
  CHECK(child_can_lock(path));
  const int again = lock_directory(path);
  CHECK(again >= 0);
  unlock_directory(again);
}

TEST(directory_lock_names_what_is_wrong) {
  test::TempDirectory folder;
  CHECK(lock_directory(folder / "missing/.lock") == -ENOENT);
  CHECK(lock_directory(folder.path()) == -EISDIR);
}

}  // namespace
}  // namespace shardlog
