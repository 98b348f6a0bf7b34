#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "os/clock.h"
#include "os/fd.h"
#include "os/process.h"

namespace rotatelogs {

/// A process that has a file open.
struct Holder {
  pid_t pid = 0;
  std::string program;
  bool writes = false;
  int64_t since = 0;  ///< Unix time its process began
};

/// Everyone who has the file open, from /proc; as root all, else only our own processes.
std::vector<Holder> HoldersOf(uint64_t device, uint64_t inode);

/// Whether nobody can write to a segment any more.
struct Seal {
  bool sealed = false;
  bool certain = false;  ///< the kernel said so; false: only nobody was seen (a file system without leases)
  std::string reason;    ///< why not sealed: a clause such as "process 12 (rotatelogs) logs to it"
};

/// Asks for a seal. Nothing is changed, except that with `mark` a segment that rotatelogs wrote loses its write
/// permission, so that no writer takes it up again (writers look; even root's). Sealed is: not what a rendezvous calls
/// current, no living lease names it, flock(LOCK_EX) and F_SETLEASE(F_RDLCK) succeed. The lease is given back at once:
/// an opener would wait for it otherwise.
/// @param min_age  of the last change; required to be positive where leases do not work
Seal TrySeal(const std::filesystem::path& segment, const os::Fd& fd, std::chrono::seconds min_age,
             const os::Clock& clock, bool mark);

/// The same when the rendezvous near the segment are known: see MeetingPlaces.
Seal TrySeal(const std::vector<std::filesystem::path>& places, const os::Fd& fd, std::chrono::seconds min_age,
             const os::Clock& clock, bool mark);

/// Every rendezvous that could be that of `segment`: beside it, and beside its parents (a target may hold conversions
/// in its directories).
std::vector<std::filesystem::path> MeetingPlacesNear(const std::filesystem::path& segment);

/// MeetingPlacesNear() for many segments: a directory is listed again only when it has changed, and then at most every
/// 100 ms (who fills it with copies would otherwise list it for each). One thread.
class MeetingPlaces {
 public:
  explicit MeetingPlaces(const os::Clock& clock) : clock_(clock) {}
  const std::vector<std::filesystem::path>& Near(const std::filesystem::path& segment);

 private:
  struct Listing {
    std::vector<std::filesystem::path> places;
    std::vector<int64_t> changed;  ///< modification times of the directory and its parents
    os::Clock::Steady listed;
  };
  const os::Clock& clock_;
  std::map<std::filesystem::path, Listing> listings_;  // by directory
};

/// "process 12 (rotatelogs)"
std::string Describe(const os::ProcessId& id);

}  // namespace rotatelogs
