#include "rotatelogs/seal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <functional>
#include <map>
#include <sstream>

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

struct KernelSays {
  LeaseAnswer answer;
  std::string why = {};  ///< with kCannotSay
};

KernelSays AskKernel(const os::Fd& fd) {
  const bool granted = ::fcntl(fd.get(), F_SETLEASE, F_RDLCK) == 0;
  const int sys = errno;
  if (granted) ::fcntl(fd.get(), F_SETLEASE, F_UNLCK);  // before anything else: whoever opens it now waits for us
  if (!granted && sys == EAGAIN) return {LeaseAnswer::kSomebodyWrites};
  if (!granted && sys == EACCES) {
    return {LeaseAnswer::kCannotSay, "only its owner or root may ask the kernel who writes to it"};
  }
  if (!granted)
    return {LeaseAnswer::kCannotSay, "its file system has no leases, so the kernel cannot say who writes to it"};
  if (!IsLocalFileSystem(fd.get())) {
    return {LeaseAnswer::kCannotSay, "on its file system (network or FUSE) the kernel does not see every writer"};
  }
  return {LeaseAnswer::kNobodyWrites};
}

using Holders = std::map<pid_t, Holder>;

void ByDescriptor(pid_t pid, uint64_t device, uint64_t inode, Holders& found) {
  const std::string base = "/proc/" + std::to_string(pid);
  auto descriptors = os::ListDirectory(base + "/fd");
  if (!descriptors) return;
  for (const std::string& number : descriptors.value()) {
    struct stat status {};
    if (::stat((base + "/fd/" + number).c_str(), &status) != 0) continue;
    if (status.st_ino != inode || status.st_dev != device) continue;
    Holder& holder = found[pid];
    auto info = os::ReadFile(base + "/fdinfo/" + number, 1 << 16);
    if (!info) continue;
    const size_t at = info.value().find("flags:");
    if (at == std::string::npos) continue;
    holder.writes = holder.writes || (std::strtoul(info.value().c_str() + at + 6, nullptr, 8) & O_ACCMODE) != 0;
  }
}

/// A mapping keeps a file open after its last descriptor is closed. Its mode tells less than a descriptor's: what is
/// mapped privately, or only for reading so far, may come from a file that is open for writing.
void ByMapping(pid_t pid, uint64_t device, uint64_t inode, Holders& found) {
  const std::string base = "/proc/" + std::to_string(pid);
  auto maps = os::ReadFile(base + "/maps", size_t{64} << 20);
  if (!maps || maps.value().find(" " + std::to_string(inode) + " ") == std::string::npos) return;
  std::istringstream lines(maps.value());
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string range, mode, offset, volume;
    uint64_t number = 0;
    if (!(words >> range >> mode >> offset >> volume >> number) || number != inode || mode.size() < 4) continue;
    struct stat status {};
    if (::stat((base + "/map_files/" + range).c_str(), &status) == 0) {  // only root may; exact where `maps` is not
      if (status.st_ino != inode || status.st_dev != device) continue;
    } else {
      const size_t colon = volume.find(':');
      const auto major = static_cast<unsigned>(std::strtoul(volume.c_str(), nullptr, 16));
      const auto minor = static_cast<unsigned>(std::strtoul(volume.c_str() + colon + 1, nullptr, 16));
      if (colon == std::string::npos || ::makedev(major, minor) != device) continue;
    }
    Holder& holder = found[pid];
    holder.maps = true;
    holder.writes = holder.writes || (mode[1] == 'w' && mode[3] == 's');
  }
}

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::vector<Holder> Scan(const std::function<void(pid_t, Holders&)>& look) {
  auto processes = os::ListDirectory("/proc");
  if (!processes) return {};
  Holders found;
  for (const std::string& name : processes.value()) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const pid_t pid = std::stoi(name);
    if (pid != ::getpid()) look(pid, found);
  }
  timespec wall{};
  timespec boot{};
  ::clock_gettime(CLOCK_REALTIME, &wall);
  ::clock_gettime(CLOCK_BOOTTIME, &boot);
  std::vector<Holder> out;
  for (auto& [pid, holder] : found) {
    auto program = os::ProgramName(pid);
    auto id = os::Identify(pid);
    if (!program || !id) continue;
    holder.pid = pid;
    holder.program = program.value();
    // Not the time of its directory in /proc, which is that of the first look at it.
    const int64_t ticks = ::sysconf(_SC_CLK_TCK);
    const auto started = static_cast<int64_t>(id.value().start_time) * (1'000'000'000 / ticks);
    holder.since = (Nanoseconds(wall) - Nanoseconds(boot) + started) / 1'000'000'000;
    out.push_back(holder);
  }
  return out;
}

/// "process 12 (a), process 13 (b) have", of those that `count`; empty: none.
std::string Name(const std::vector<Holder>& holders, const std::function<bool(const Holder&)>& count) {
  std::string out;
  int named = 0;
  for (const Holder& holder : holders) {
    if (!count(holder)) continue;
    out += (++named > 1 ? ", process " : "process ") + std::to_string(holder.pid) + " (" + holder.program + ")";
  }
  return out.empty() ? out : out + (named > 1 ? " have" : " has");
}

/// The kernel knows of a writer; /proc tells its name, if it does.
std::string SomebodyWrites(uint64_t device, uint64_t inode) {
  const auto holders = HoldersOf(device, inode);
  std::string who = Name(holders, [](const Holder& holder) { return holder.writes; });
  if (!who.empty()) return who + " it open for writing";
  who = Name(holders, [](const Holder& holder) { return holder.maps; });
  if (!who.empty()) return who + " it mapped from a descriptor for writing";
  if (::geteuid() != 0) return "a process of another user has it open for writing: root can see which";
  return "a process that /proc does not show has it open for writing: look outside this container (pid namespace)";
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
  return Scan([&](pid_t pid, Holders& found) {
    ByDescriptor(pid, device, inode, found);
    ByMapping(pid, device, inode, found);
  });
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
  const KernelSays kernel = AskKernel(fd);
  switch (kernel.answer) {
    case LeaseAnswer::kNobodyWrites:
      out = {true, true, ""};
      break;
    case LeaseAnswer::kSomebodyWrites:
      out = {false, true, SomebodyWrites(status.st_dev, status.st_ino)};
      break;
    case LeaseAnswer::kCannotSay: {
      std::string who;
      // Twice: in one pass a descriptor can move from a process that comes later to one that came before.
      for (int pass = 0; pass < 2 && who.empty(); ++pass) {
        who = Name(HoldersOf(status.st_dev, status.st_ino), [](const Holder& holder) { return holder.writes; });
      }
      if (!who.empty()) {
        out.reason = who + " it open for writing";
      } else if (min_age.count() <= 0) {
        out.reason = kernel.why + ": no writer was observed, which is enough with --min-age only";
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
