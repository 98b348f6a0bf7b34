#include "rotatelogs/seal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "os/file.h"
#include "rotatelogs/names.h"
#include "rotatelogs/rendezvous.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::ErrorKind;
namespace fs = std::filesystem;

namespace {

int64_t UnixNow(const os::Clock& clock) {
  return std::chrono::system_clock::to_time_t(clock.WallNow());
}

fs::path Absolute(const fs::path& path) {
  std::error_code failed;
  const fs::path out = fs::absolute(path, failed);
  return failed ? path : out.lexically_normal();
}

constexpr int kLevels = 6;  // of parent directories that may hold the rendezvous

enum class LeaseAnswer { kNobodyWrites, kSomebodyWrites, kCannotSay };

LeaseAnswer AskKernel(const os::Fd& fd) {
  if (::fcntl(fd.get(), F_SETLEASE, F_RDLCK) == 0) {
    ::fcntl(fd.get(), F_SETLEASE, F_UNLCK);
    return LeaseAnswer::kNobodyWrites;
  }
  return errno == EAGAIN ? LeaseAnswer::kSomebodyWrites : LeaseAnswer::kCannotSay;
}

}  // namespace

std::vector<fs::path> MeetingPlacesNear(const fs::path& segment) {
  std::vector<fs::path> out;
  int levels = 0;
  for (fs::path at = Absolute(segment).parent_path(); levels < kLevels; at = at.parent_path(), ++levels) {
    auto names = os::ListDirectory(at);
    if (names) {
      for (const std::string& name : names.value()) {
        if (IsMeetingPlace(name)) out.push_back(at / name);
      }
    }
    if (at == at.root_path() || at.empty()) break;
  }
  return out;
}

std::string Describe(const os::ProcessId& id) {
  auto name = os::ProgramName(id.pid);
  return "process " + std::to_string(id.pid) + (name ? " (" + name.value() + ")" : "");
}

std::vector<Holder> HoldersOf(uint64_t device, uint64_t inode) {
  std::map<pid_t, Holder> found;
  auto processes = os::ListDirectory("/proc");
  if (!processes) return {};
  for (const std::string& name : processes.value()) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string base = "/proc/" + name;
    auto descriptors = os::ListDirectory(base + "/fd");
    if (!descriptors) continue;
    const pid_t pid = std::stoi(name);
    if (pid == ::getpid()) continue;
    for (const std::string& number : descriptors.value()) {
      struct stat status {};
      if (::stat((base + "/fd/" + number).c_str(), &status) != 0) continue;
      if (status.st_ino != inode || status.st_dev != device) continue;
      Holder& holder = found[pid];
      holder.pid = pid;
      if (auto info = os::ReadFile(base + "/fdinfo/" + number, 1 << 16)) {
        const size_t at = info.value().find("flags:");
        if (at != std::string::npos) {
          holder.writes = holder.writes || (std::strtoul(info.value().c_str() + at + 6, nullptr, 8) & O_ACCMODE) != 0;
        }
      }
    }
  }
  std::vector<Holder> out;
  for (auto& [pid, holder] : found) {
    auto program = os::ProgramName(pid);
    if (!program) continue;
    holder.program = program.value();
    struct stat status {};
    if (::stat(("/proc/" + std::to_string(pid)).c_str(), &status) == 0) holder.since = status.st_ctime;
    out.push_back(holder);
  }
  return out;
}

const std::vector<fs::path>& MeetingPlaces::Near(const fs::path& segment) {
  const fs::path directory = Absolute(segment).parent_path();
  std::vector<int64_t> changed;
  int levels = 0;
  for (fs::path at = directory; levels < kLevels; at = at.parent_path(), ++levels) {
    struct stat status {};
    const bool there = ::stat(at.c_str(), &status) == 0;
    changed.push_back(there ? int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec : 0);
    if (at == at.root_path() || at.empty()) break;
  }
  Listing& listing = listings_[directory];
  const auto now = clock_.SteadyNow();
  if (listing.changed.empty() || (listing.changed != changed && now - listing.listed >= 100ms)) {
    listing.places = MeetingPlacesNear(segment);
    listing.changed = std::move(changed);  // read before the listing: a change during it is seen the next time
    listing.listed = now;
  }
  return listing.places;
}

Seal TrySeal(const fs::path& segment, const os::Fd& fd, std::chrono::seconds min_age, const os::Clock& clock,
             bool mark) {
  return TrySeal(MeetingPlacesNear(segment), fd, min_age, clock, mark);
}

Seal TrySeal(const std::vector<fs::path>& places, const os::Fd& fd, std::chrono::seconds min_age,
             const os::Clock& clock, bool mark) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return {false, false, "it cannot be looked at"};
  const int64_t now = UnixNow(clock);
  if (now - status.st_mtime < min_age.count()) {
    return {false, false, "its last change is younger than " + std::to_string(min_age.count()) + " s"};
  }
  std::vector<RendezvousView> views;  // their locks keep every writer from moving while we ask
  for (const fs::path& place : places) {
    auto view = Look(place, 2s);
    if (!view) {
      if (view.error().kind == ErrorKind::kNotFound) continue;
      return {false, false, view.error().Text()};
    }
    for (const LeaseView& lease : view.value().writers) {
      if (lease.inode == status.st_ino && lease.device == status.st_dev) {
        return {false, true,
                Describe(lease.writer) + (lease.draining ? " drains the rest of its log into it" : " logs to it")};
      }
    }
    const auto& current = view.value().current;
    if (current && current->inode == status.st_ino && current->device == status.st_dev && current->reopen_until > now) {
      return {false, true, "it is the current segment of " + place.string()};
    }
    views.push_back(std::move(view).value());
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return {false, true, "a process holds a lock on it"};
  Seal out;
  switch (AskKernel(fd)) {
    case LeaseAnswer::kNobodyWrites:
      out = {true, true, ""};
      break;
    case LeaseAnswer::kSomebodyWrites: {
      std::string who;
      for (const Holder& holder : HoldersOf(status.st_dev, status.st_ino)) {
        if (!holder.writes) continue;
        who += (who.empty() ? "" : ", ") + ("process " + std::to_string(holder.pid) + " (" + holder.program + ")");
      }
      out = {false, true, (who.empty() ? "a process that /proc does not show" : who) + " has it open for writing"};
      break;
    }
    case LeaseAnswer::kCannotSay: {
      for (const Holder& holder : HoldersOf(status.st_dev, status.st_ino)) {
        if (!holder.writes) continue;
        out.reason = "process " + std::to_string(holder.pid) + " (" + holder.program + ") has it open for writing";
      }
      if (!out.reason.empty()) break;
      if (min_age.count() <= 0) {
        out.reason = "the kernel cannot say here who writes to it (file lease refused): --min-age is needed";
      } else {
        out = {true, false, ""};
      }
      break;
    }
  }
  // While the locks of the rendezvous are held: from now on a writer that would take this name sees that it is closed.
  if (out.sealed && mark && !views.empty()) ::fchmod(fd.get(), status.st_mode & 07555);
  ::flock(fd.get(), LOCK_UN);
  return out;
}

}  // namespace rotatelogs
