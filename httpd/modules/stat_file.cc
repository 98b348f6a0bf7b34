#include "httpd/modules/stat_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "os/fd.h"
#include "os/file.h"

namespace httpd::modules {

namespace {

constexpr off_t kMostBytes = 16 << 20;

bool IsSameTime(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

}  // namespace

bool IsSameFile(const struct stat& a, const struct stat& b) {
  return a.st_mode == b.st_mode && a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_size == b.st_size &&
         a.st_uid == b.st_uid && a.st_gid == b.st_gid && IsSameTime(a.st_mtim, b.st_mtim) &&
         IsSameTime(a.st_ctim, b.st_ctim);
}

os::Result<bool> StatFile::Refresh() {
  struct stat now {};
  if (::stat(path_.c_str(), &now) != 0) return os::SysError(errno, "stat " + path_);
  if (is_settled_ && IsSameFile(now, seen_)) return false;
  if (!S_ISREG(now.st_mode)) return os::Error{os::ErrorKind::kInvalid, 0, path_ + " is not a regular file"};
  auto opened = os::Open(path_, O_RDONLY | O_NONBLOCK);
  if (!opened) return opened.error();
  if (::fstat(opened.value().get(), &now) != 0) return os::SysError(errno, "stat " + path_);
  if (!S_ISREG(now.st_mode)) return os::Error{os::ErrorKind::kInvalid, 0, path_ + " is not a regular file"};
  if (now.st_size > kMostBytes) return os::Error{os::ErrorKind::kInvalid, 0, path_ + " is larger than 16 MiB"};
  std::string text(static_cast<size_t>(now.st_size), '\0');
  size_t have = 0;
  while (have < text.size()) {
    const ssize_t n = ::pread(opened.value().get(), text.data() + have, text.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os::SysError(errno, "read " + path_);
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  text.resize(have);
  // The clock of a file system ticks every few milliseconds: a second change in the same tick would not show.
  is_settled_ = now.st_ctim.tv_sec + 1 < std::time(nullptr);
  seen_ = now;
  if (text == text_) return false;
  text_ = std::move(text);
  return true;
}

std::string ErrnoPrefix(const os::Error& error) {
  if (error.sys == 0) return "";
  return "(" + std::to_string(error.sys) + ")" + std::strerror(error.sys) + ": ";
}

}  // namespace httpd::modules
