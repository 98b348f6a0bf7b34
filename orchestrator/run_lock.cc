#include "orchestrator/run_lock.h"

#include <pwd.h>
#include <unistd.h>

#include "orchestrator/report.h"
#include "os/file.h"
#include "os/process.h"

namespace orchestrator {

namespace {

Holder ReadHolder(const std::filesystem::path& path) {
  auto text = os::ReadFile(path, 4096);
  return text ? ParseHolder(text.value()) : Holder();
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
  auto lock = os::LockFile::Acquire(directory / "lock", std::chrono::milliseconds(0), clock);
  if (!lock) {
    if (lock.error().kind != os::ErrorKind::kBusy) return lock.error();
    const Holder holder = ReadHolder(directory / "lock");
    std::string who = "another orchestrator is at work";
    if (holder.pid > 0) {
      who = "another " + holder.command + " is running: process " + std::to_string(holder.pid) + " of user " +
            holder.user + " since " + LocalTime(holder.since) + ", step " + holder.step;
    }
    return os::Error{os::ErrorKind::kBusy, 0, who + "; wait until it is through, or end it with SIGTERM"};
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
  if (holder.pid <= 0) return std::nullopt;
  auto process = os::Identify(static_cast<pid_t>(holder.pid));
  if (!process || process.value().start_time != holder.start_time) return std::nullopt;
  return holder;
}

}  // namespace orchestrator
