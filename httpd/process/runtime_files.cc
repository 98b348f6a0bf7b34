#include "httpd/process/runtime_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "httpd/modules/password.h"
#include "os/file.h"
#include "os/pid_file.h"
#include "os/process.h"

namespace httpd::process {

bool RemoveLeftovers(const std::string& runtime_dir, os::Clock& clock) {
  auto names = os::ListDirectory(runtime_dir);
  if (!names) return true;
  bool all = true;
  for (const std::string& name : names.value()) {
    const pid_t pid = PidOfLock(name);
    if (pid == 0 || pid == ::getpid()) continue;
    auto lock = os::LockFile::Acquire(LockPath(runtime_dir, pid), std::chrono::milliseconds(0), clock);
    if (lock) {
      handover::RemoveInstanceFiles(runtime_dir, pid);  // holding the lock: its owner is dead
    } else if (lock.error().kind == os::ErrorKind::kBusy && !os::Identify(pid)) {
      all = false;  // children of a parent that was killed
    }
  }
  return all;
}

os::Result<os::LockFile> ClaimRuntimeDir(const std::string& runtime_dir, os::Clock& clock) {
  if (auto made = os::MakeDirectories(runtime_dir, 0700); !made) return made.error();
  if (auto names = os::ListDirectory(runtime_dir); !names) return names.error();
  RemoveLeftovers(runtime_dir, clock);
  // Our own name may be left over from a dead process that had our pid: the lock is free, the sockets are in the way.
  auto lock = os::LockFile::Acquire(LockPath(runtime_dir, ::getpid()), std::chrono::milliseconds(0), clock);
  if (!lock) return lock.error();
  ::unlink(ControlPath(runtime_dir, ::getpid()).c_str());
  ::unlink(PrivatePath(runtime_dir, ::getpid()).c_str());
  return lock;
}

os::Result<std::string> SharedSecret(const std::string& runtime_dir) {
  constexpr size_t kBytes = 32;
  const std::string path = runtime_dir + "/httpd.secret";
  const std::string fresh = path + "." + std::to_string(::getpid());
  auto found = os::ReadFile(path, kBytes);
  if (found && found.value().size() == kBytes) return found;
  if (found || found.error().kind == os::ErrorKind::kInvalid) ::unlink(path.c_str());  // not one of ours
  ::unlink(fresh.c_str());
  auto file = os::Open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!file) return file.error();
  const auto made = os::WriteAll(file.value(), modules::RandomBytes(kBytes));
  // link(2), not rename(2): the first one stays.
  const bool linked = made && ::link(fresh.c_str(), path.c_str()) == 0;
  const int sys = errno;
  ::unlink(fresh.c_str());
  if (!made) return made.error();
  if (!linked && sys != EEXIST) return os::SysError(sys, "link " + path);
  return os::ReadFile(path, kBytes);
}

os::Status WriteEffectiveConfig(const std::string& runtime_dir, pid_t pid, const std::string& text) {
  const std::string path = handover::ConfigPath(runtime_dir, pid);
  const std::string fresh = handover::NewConfigPath(runtime_dir, pid);
  const auto write = [&]() -> os::Status {
    auto file = os::Open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (!file) return file.error();
    if (auto written = os::WriteAll(file.value(), text); !written) return written;
    if (auto closed = os::CloseChecked(file.value()); !closed) return closed;
    if (::rename(fresh.c_str(), path.c_str()) == 0) return os::kDone;
    const int sys = errno;
    return os::SysError(sys, "rename " + fresh);
  };
  auto done = write();
  if (!done) {
    ::unlink(fresh.c_str());
    ::unlink(path.c_str());  // an older one would tell what is not true any more
  }
  return done;
}

os::Result<pid_t> RunningServer(const std::string& pid_file, const std::string& runtime_dir, os::Clock& clock) {
  auto pid = os::ReadPidFile(pid_file);
  if (!pid) {
    if (pid.error().kind == os::ErrorKind::kNotFound) return pid_t{0};
    return os::Error{pid.error().kind, pid.error().sys,
                     "AH00058: Error retrieving pid file " + pid_file +
                         "\nAH00059: Remove it before continuing if it is corrupted."};
  }
  struct stat st {};
  if (::stat(LockPath(runtime_dir, pid.value()).c_str(), &st) == 0) {
    auto lock = os::LockFile::Acquire(LockPath(runtime_dir, pid.value()), std::chrono::milliseconds(0), clock);
    if (!lock && lock.error().kind == os::ErrorKind::kBusy) {
      return os::Identify(pid.value()) ? pid.value() : pid_t{0};  // children of a dead parent hold it for a moment
    }
    if (!lock && lock.error().kind != os::ErrorKind::kDenied) return pid_t{0};
    if (lock) return pid_t{0};
  }
  if (!os::Identify(pid.value()) || pid.value() == ::getpid()) return pid_t{0};
  auto theirs = os::ProgramName(pid.value());
  auto ours = os::ProgramName(::getpid());
  return theirs && ours && theirs.value() == ours.value() ? pid.value() : pid_t{0};
}

}  // namespace httpd::process
