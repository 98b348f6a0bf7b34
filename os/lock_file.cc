#include "os/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "os/file.h"

namespace os {

Result<LockFile> LockFile::Acquire(const std::filesystem::path& path, std::chrono::milliseconds patience,
                                   Clock& clock) {
  const auto deadline = clock.SteadyNow() + patience;
  for (;;) {
    auto fd = Open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (!fd) return fd.error();
    if (::flock(fd.value().get(), LOCK_EX | LOCK_NB) == 0) {
      struct stat ours {};
      struct stat named {};
      if (::fstat(fd.value().get(), &ours) == 0 && ::stat(path.c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
          ours.st_dev == named.st_dev) {
        return LockFile(std::move(fd).value());
      }
      continue;  // somebody removed or replaced the file between our open and our lock: lock the one that has the name
    }
    const int sys = errno;
    if (sys == EINTR) continue;
    if (sys != EWOULDBLOCK) return SysError(sys, "lock " + path.string());
    const auto now = clock.SteadyNow();
    if (now >= deadline) return Error{ErrorKind::kBusy, sys, "lock " + path.string()};
    const std::chrono::steady_clock::duration step = std::chrono::milliseconds(50);
    clock.Sleep(std::min(step, deadline - now));
  }
}

}  // namespace os
