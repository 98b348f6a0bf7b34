#pragma once

#include <chrono>
#include <filesystem>

#include "os/clock.h"
#include "os/error.h"
#include "os/fd.h"

namespace os {

/// Exclusive advisory lock on a path, held while the object lives.
///
/// Keeps two `orchestrator upgrade` runs, or a cron run that outlives its period, from overlapping.
///
/// File     created 0600 when missing, never unlinked by this class: unlinking lets two processes each lock a
///          different inode under the same name. (Who removes leftovers of a dead owner does so holding the lock,
///          and Acquire looks again after locking: a lock on an unlinked inode does not count.)
///          A symbolic link in its place is refused (ELOOP): who may write to the directory does not choose our file.
/// Crash    the kernel frees the lock with the last descriptor; there is no stale lock to clean up.
/// Fork     a fork()ed child shares the lock and keeps it alive. The descriptor is O_CLOEXEC, so a
///          program we exec does not.
/// Why      flock(2), not fcntl(F_SETLK): the latter is dropped when *any* descriptor of the file is
///          closed by this process. Not reliable on NFS: keep the file on a local file system.
/// Threads  one owner; no internal locking.
/// Source   flock(2), fcntl(2) "Advisory record locking", open(2) O_CLOEXEC.
class LockFile {
 public:
  LockFile() = default;

  /// Tries at once, then every 50 ms, until `patience` has passed on `clock.SteadyNow()`.
  ///
  /// @param path      parent directory must exist; it is never created here
  /// @param patience  zero = exactly one attempt, never blocks
  /// @return kBusy      still held by another process after `patience`
  ///         kNotFound  parent directory missing
  ///         kDenied    EACCES, EPERM or EROFS on open
  ///         kIo        anything else; errno is in Error::sys
  static Result<LockFile> Acquire(const std::filesystem::path& path, std::chrono::milliseconds patience, Clock& clock);

  bool held() const { return fd_.valid(); }
  const Fd& fd() const { return fd_; }  ///< the locked file: the owner may keep text for people in it
  void Release() { fd_.Reset(); }       ///< frees the lock unless a forked child still shares it

 private:
  explicit LockFile(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace os
