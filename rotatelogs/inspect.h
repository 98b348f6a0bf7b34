#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "os/clock.h"
#include "rotatelogs/policy.h"
#include "rotatelogs/rendezvous.h"

namespace rotatelogs {

/// One file of a target.
struct SegmentStatus {
  std::string path;
  uint64_t bytes = 0;
  int64_t created = 0;         ///< Unix time; 0: the file system does not say
  int64_t modified = 0;        ///< Unix time
  bool current = false;        ///< the one that the writers append to
  std::optional<bool> sealed;  ///< nobody can write to it any more; nullopt: we may not ask
  bool certain = false;        ///< with `sealed`: the kernel said so
  std::string reason;          ///< why it is not sealed, or cannot be told
};

/// What `rotatelogs --status` knows about a target.
struct TargetStatus {
  std::string target;
  std::string rendezvous;               ///< path of the directory where its writers meet; it need not exist
  bool writers_seen = true;             ///< false: we may not look, see `hidden`
  bool met = false;                     ///< it exists
  std::vector<LeaseView> writers;       ///< the living ones
  std::string current_gone;             ///< path of the current segment when another file or none has its name now
  std::vector<SegmentStatus> segments;  ///< the current one first, then by name, the newest start time first
  std::vector<std::string> hidden;      ///< what could not be seen, and why: whole clauses

  bool Known() const { return met || !segments.empty(); }
};

/// Looks without changing anything; waits at most 2 s for a lock. Asks for leases, so SIGIO must be ignored.
TargetStatus Inspect(const std::string& target, const os::Clock& clock);

std::string AsText(const TargetStatus& status);
std::string AsJson(const TargetStatus& status);  ///< one line; times are Unix time, sizes bytes

/// The whole of `rotatelogs --status`: prints to standard output. @return 0, 1: nothing is known about the target
int PrintStatus(const StatusRequest& request, const os::Clock& clock);

}  // namespace rotatelogs
