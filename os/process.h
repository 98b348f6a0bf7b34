#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/error.h"
#include "os/fd.h"

namespace os {

/// Names one process for ever: a pid alone is reused (pid_max can be 32768), these three together are not.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start_time = 0;  ///< clock ticks since boot, field 22 of /proc/PID/stat
  std::string boot_id;      ///< /proc/sys/kernel/random/boot_id
  bool operator==(const ProcessId&) const = default;
};

/// Identity of a running process. @return kNotFound when there is none, or when it is a zombie.
Result<ProcessId> Identify(pid_t pid);

/// True while exactly that process runs (a zombie does not).
bool IsRunning(const ProcessId& id);

/// Name of the running executable's file (basename of /proc/PID/exe; of comm when exe cannot be read). kNotFound.
Result<std::string> ProgramName(pid_t pid);

/// How a process ended.
struct ExitStatus {
  bool signaled = false;
  int code = 0;  ///< exit status, or the signal's number
  bool core = false;
  std::string Text() const;  ///< "exited with status 1", "was killed by signal 9 (Killed)"
};

/// waitpid() status in our words.
ExitStatus FromWaitStatus(int status);

/// A pidfd: signals and waits reach this process or nobody, never a stranger that got its number.
/// The descriptor polls readable when the process has ended (also when it is not our child).
/// Source  pidfd_open(2), pidfd_send_signal(2), waitid(2) P_PIDFD
class ProcessHandle {
 public:
  ProcessHandle() = default;
  static Result<ProcessHandle> Open(pid_t pid);  ///< kNotFound: no such process

  pid_t pid() const { return pid_; }
  const Fd& fd() const { return fd_; }
  bool valid() const { return fd_.valid(); }

  /// @return kNotFound: it has ended (and was reaped); kDenied: not ours to signal
  Status Signal(int signal) const;

  /// True when the process has ended. Never blocks; does not reap.
  bool HasEnded() const;

  /// Blocks at most `milliseconds` (-1 = no limit) for the end. True: it has ended.
  bool WaitForEnd(int milliseconds) const;

  /// Reaps our own child if it has ended; nullopt while it runs (or when it is not our child).
  std::optional<ExitStatus> TryReap() const;

 private:
  ProcessHandle(pid_t pid, Fd fd) : pid_(pid), fd_(std::move(fd)) {}
  pid_t pid_ = 0;
  Fd fd_;
};

/// What Spawn() gives the new program. Everything is prepared before fork; between fork and exec nothing allocates.
struct SpawnOptions {
  std::filesystem::path program;         ///< absolute, or found relative to the working directory; no PATH search
  std::vector<std::string> arguments;    ///< argv[0] included
  std::vector<std::string> environment;  ///< "NAME=value"; complete, nothing is inherited
  std::vector<std::pair<int, int>> descriptors;  ///< {ours, number in the child}; every other descriptor is closed.
                                                 ///< 0, 1, 2 that are not named are /dev/null
  std::optional<std::filesystem::path> directory;
  std::optional<mode_t> umask;
  bool new_session = false;     ///< setsid(): survives the terminal of the person who typed the command
  int parent_death_signal = 0;  ///< sent to the child when the *thread* that called Spawn() ends, however it ends
  bool set_listen_pid = false;  ///< LISTEN_PID=<pid of the child>, in place of one in `environment`
  std::vector<std::pair<int, rlimit>> limits;  ///< {RLIMIT_x, value}; one that may not be raised is skipped
  std::optional<uid_t> uid;                    ///< with gid and groups, set last
  std::optional<gid_t> gid;
  std::vector<gid_t> groups;
  int cgroup_procs = -1;  ///< open cgroup.procs: the child writes itself into it first; a loan
};

/// fork + exec. Signal dispositions and the mask are reset to default in the child.
/// @return the errno of the step that failed, exec included: "run /path: No such file or directory"
Result<ProcessHandle> Spawn(const SpawnOptions& options);

/// Our own environment as "NAME=value" lines, without the names in `drop`.
std::vector<std::string> Environment(const std::vector<std::string>& drop = {});

/// Closes every descriptor above 2 that is not in `keep`. Source  close_range(2)
void CloseAllExcept(std::vector<int> keep);

}  // namespace os
