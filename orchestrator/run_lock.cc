#include "orchestrator/run_lock.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "orchestrator/report.h"
#include "os/file.h"
#include "os/process.h"

namespace orchestrator {

namespace {

Holder ReadHolder(const std::filesystem::path& path) {
  auto text = os::ReadFile(path, 4096);
  return text ? ParseHolder(text.value()) : Holder();
}

/// State letter of a process as in /proc/PID/stat; '?' when it has ended.
char StateOf(pid_t pid) {
  auto stat = os::ReadFile("/proc/" + std::to_string(pid) + "/stat");
  if (!stat) return '?';
  const size_t close = stat.value().rfind(')');
  return close == std::string::npos || close + 2 >= stat.value().size() ? '?' : stat.value()[close + 2];
}

bool StillRuns(const Holder& holder) {
  if (holder.pid <= 0) return false;
  auto process = os::Identify(static_cast<pid_t>(holder.pid));
  return process && process.value().start_time == holder.start_time;
}

/// The whole sentence for who is refused.
std::string BusyText(const Holder& holder) {
  // A new holder may not have written its text yet: then the text is that of a dead one.
  if (!StillRuns(holder)) return "another orchestrator is at work; wait until it is through";
  const std::string pid = std::to_string(holder.pid);
  const std::string who = "another " + holder.command + " is running: process " + pid + " of user " + holder.user +
                          " since " + LocalTime(holder.since) + ", step " + holder.step;
  const char state = StateOf(static_cast<pid_t>(holder.pid));
  if (state == 'T' || state == 't') {
    return who + "; it is stopped by a signal: continue it with kill -CONT " + pid + ", or end it with kill -KILL " +
           pid + " and run orchestrator resume";
  }
  return who + "; wait until it is through, or end it with SIGTERM";
}

/// Makes sure that the state directory is one of ours: what is in it is believed. Root works for the server's user,
/// who is the owner of the runtime directory, and leaves the directory to that user.
/// @return its owner
os::Result<uid_t> OwnDirectory(const std::filesystem::path& runtime_dir, const std::filesystem::path& directory) {
  struct stat base {};
  struct stat here {};
  if (::stat(runtime_dir.c_str(), &base) != 0 || ::lstat(directory.c_str(), &here) != 0) {
    const int sys = errno;
    return os::SysError(sys, "look at " + directory.string());
  }
  const uid_t self = ::geteuid();
  const auto refuse = [&directory](const std::string& why) {
    return os::Error{os::ErrorKind::kDenied, 0, directory.string() + " " + why + ": look who made it, then remove it"};
  };
  if (!S_ISDIR(here.st_mode)) return refuse("is no directory");
  if (here.st_uid != self && (self != 0 || here.st_uid != base.st_uid)) {
    return refuse("belongs to user " + std::to_string(here.st_uid));
  }
  if ((here.st_mode & 077) != 0 && ::chmod(directory.c_str(), 0700) != 0) {
    return refuse("can be opened by other users");
  }
  if (self == 0 && here.st_uid != base.st_uid) {
    if (::lchown(directory.c_str(), base.st_uid, static_cast<gid_t>(-1)) != 0) {
      const int sys = errno;
      return os::SysError(sys, "give " + directory.string() + " to the server's user");
    }
  }
  return self == 0 ? base.st_uid : self;
}

}  // namespace

std::string UserName() {
  char buffer[4096];
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, buffer, sizeof buffer, &found) == 0 && found) return found->pw_name;
  return std::to_string(::geteuid());
}

os::Result<RunLock> RunLock::Acquire(const std::filesystem::path& runtime_dir, std::string command, os::Clock& clock) {
  const auto directory = runtime_dir / "orchestrator";
  if (auto made = os::MakeDirectories(directory, 0700); !made) return made.error();
  auto owner = OwnDirectory(runtime_dir, directory);
  if (!owner) return owner.error();
  auto lock = os::LockFile::Acquire(directory / "lock", std::chrono::milliseconds(0), clock);
  if (!lock) {
    if (lock.error().kind != os::ErrorKind::kBusy) return lock.error();
    return os::Error{os::ErrorKind::kBusy, 0, BusyText(ReadHolder(directory / "lock"))};
  }
  if (::geteuid() == 0 && owner.value() != 0 &&
      ::fchown(lock.value().fd().get(), owner.value(), static_cast<gid_t>(-1)) != 0) {
    const int sys = errno;
    return os::SysError(sys, "give " + (directory / "lock").string() + " to the server's user");
  }
  Holder holder;
  holder.pid = ::getpid();
  if (auto self = os::Identify(::getpid()); self) holder.start_time = self.value().start_time;
  holder.user = UserName();
  holder.command = std::move(command);
  holder.since = std::chrono::duration_cast<std::chrono::seconds>(clock.WallNow().time_since_epoch()).count();
  RunLock out(std::move(lock).value(), directory, std::move(holder));
  out.Say("starting");
  return out;
}

void RunLock::Say(std::string step) {
  holder_.step = std::move(step);
  const std::string text = FormatHolder(holder_);
  const int fd = lock_.fd().get();
  if (fd < 0) return;
  const ssize_t n = ::pwrite(fd, text.data(), text.size(), 0);
  if (n < 0 || ::ftruncate(fd, n) != 0) return;
}

void RunLock::Release() {
  if (lock_.held() && ::ftruncate(lock_.fd().get(), 0) != 0) return lock_.Release();  // the text is for people only
  lock_.Release();
}

std::optional<Holder> CurrentHolder(const std::filesystem::path& runtime_dir) {
  const Holder holder = ReadHolder(runtime_dir / "orchestrator" / "lock");
  return StillRuns(holder) ? std::optional(holder) : std::nullopt;
}

}  // namespace orchestrator
