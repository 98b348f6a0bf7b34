#pragma once

#include <sys/stat.h>

#include <string>

#include "os/error.h"

namespace httpd::modules {

/// A text file of an administrator (users, groups) that is read again when it has changed. Not for several threads at
/// once: its owner locks.
///
/// Blocks   for a stat(2), and when the file has changed for its reading
/// Limits   regular files up to 16 MiB: a FIFO or a device, which an .htaccess file could name, is refused unopened
class StatFile {
 public:
  explicit StatFile(std::string path) : path_(std::move(path)) {}

  /// @return true: `text()` is new since the last call; kNotFound, kDenied, kInvalid (no file, too large), kIo
  os::Result<bool> Refresh();

  const std::string& path() const { return path_; }
  const std::string& text() const { return text_; }

 private:
  std::string path_;
  std::string text_;
  struct stat seen_ {};
  bool is_settled_ = false;  ///< it was old enough when it was read: a later change shows in its times
};

/// Whether two looks at a path saw the same file, unchanged: its times, its size and who may read it too.
bool IsSameFile(const struct stat& a, const struct stat& b);

/// "(2)No such file or directory: ", as Apache begins a line about a system call; "" without errno.
std::string ErrnoPrefix(const os::Error& error);

}  // namespace httpd::modules
