#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/error.h"
#include "os/process.h"

namespace orchestrator {

/// What a running parent was given, for its successor. What cannot be read is left empty, and
/// a note says what the successor will not get.
struct Context {
  std::vector<std::string> arguments;    ///< /proc/PID/cmdline
  std::vector<std::string> environment;  ///< CleanEnvironment() of /proc/PID/environ
  std::filesystem::path binary;          ///< path of its executable; the file may have been replaced since
  std::filesystem::path directory;
  std::optional<mode_t> umask;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::vector<gid_t> groups;
  std::vector<std::pair<int, rlimit>> limits;
  std::string cgroup;  ///< path of its cgroup v2 directory when it is not ours, otherwise ""
  std::vector<std::string> notes;
};
os::Result<Context> ReadContext(pid_t pid);

/// Memory in bytes (proportional share) and open descriptors of a parent and its children.
struct Footprint {
  int64_t memory = 0;
  int64_t parent_descriptors = 0;
  int64_t all_descriptors = 0;
};
Footprint Measure(pid_t parent);
/// The memory alone, which costs less; 0 when there is no such process.
int64_t MeasureMemory(pid_t parent);

}  // namespace orchestrator
