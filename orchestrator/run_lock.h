#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "orchestrator/plan.h"
#include "os/clock.h"
#include "os/error.h"
#include "os/lock_file.h"

namespace orchestrator {

/// Keeps two commands from changing one runtime directory at a time, and tells the second who the first is.
///
/// File   <runtime_dir>/orchestrator/lock, 0600 in a directory of 0700; never removed. See os::LockFile.
/// Owner  the runtime directory's: what root does for a server that runs as another user leaves that user able to go
/// on.
///        A state directory that is a link or belongs to somebody else is refused.
class RunLock {
 public:
  /// Creates <runtime_dir>/orchestrator when it is missing.
  /// @return kBusy: the whole sentence about the holder (a stopped one is said to be stopped); otherwise why the lock
  /// could not be taken
  static os::Result<RunLock> Acquire(const std::filesystem::path& runtime_dir, std::string command, os::Clock& clock);

  const std::filesystem::path& directory() const { return directory_; }

  /// Writes into the file how far we are. A failure is of no consequence: the text is for people.
  void Say(std::string step);
  void Release();  ///< empties the file, too

 private:
  RunLock(os::LockFile lock, std::filesystem::path directory, Holder holder)
      : lock_(std::move(lock)), directory_(std::move(directory)), holder_(std::move(holder)) {}
  os::LockFile lock_;
  std::filesystem::path directory_;
  Holder holder_;
};

/// Name of our effective user; its number when it has none.
std::string UserName();

/// Who is at work there, by the text in the lock file: a look that takes no lock, so that it never is in anybody's way.
std::optional<Holder> CurrentHolder(const std::filesystem::path& runtime_dir);

}  // namespace orchestrator
