#include "os/process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "os/file.h"

extern char** environ;

namespace os {

namespace {

struct Stat {
  char state = '?';
  uint64_t start_time = 0;
};

Result<Stat> ReadStat(pid_t pid) {
  auto text = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  if (!text) return Error{ErrorKind::kNotFound, ESRCH, "find process " + std::to_string(pid)};
  const std::string& line = text.value();
  const size_t close = line.rfind(')');  // the name in parentheses may hold anything, a ')' included
  if (close == std::string::npos) return Error{ErrorKind::kIo, 0, "/proc/PID/stat has no name"};
  Stat out;
  size_t at = close + 2;
  for (int field = 3; at < line.size(); ++field) {
    const size_t end = std::min(line.find(' ', at), line.size());
    if (field == 3) out.state = line[at];
    if (field == 22) {
      out.start_time = std::strtoull(line.c_str() + at, nullptr, 10);
      return out;
    }
    at = end + 1;
  }
  return Error{ErrorKind::kIo, 0, "/proc/PID/stat is short"};
}

const std::string& BootId() {
  static const std::string id = [] {
    auto text = ReadFile("/proc/sys/kernel/random/boot_id");
    if (!text) return std::string("unknown");
    std::string value = text.value();
    while (!value.empty() && value.back() == '\n') value.pop_back();
    return value;
  }();
  return id;
}

}  // namespace

Result<ProcessId> Identify(pid_t pid) {
  auto stat = ReadStat(pid);
  if (!stat) return stat.error();
  if (stat.value().state == 'Z' || stat.value().state == 'X') {
    return Error{ErrorKind::kNotFound, ESRCH, "process " + std::to_string(pid) + " has ended"};
  }
  return ProcessId{pid, stat.value().start_time, BootId()};
}

bool IsRunning(const ProcessId& id) {
  auto now = Identify(id.pid);
  return now && now.value() == id;
}

Result<std::string> ProgramName(pid_t pid) {
  const std::string base = "/proc/" + std::to_string(pid);
  std::error_code failed;
  const auto exe = std::filesystem::read_symlink(base + "/exe", failed);
  if (!failed) {
    std::string name = exe.filename().string();
    constexpr std::string_view kDeleted = " (deleted)";  // the binary was replaced while it runs
    if (name.ends_with(kDeleted)) name.resize(name.size() - kDeleted.size());
    return name;
  }
  auto comm = ReadFile(base + "/comm");
  if (!comm) return Error{ErrorKind::kNotFound, ESRCH, "find process " + std::to_string(pid)};
  std::string name = comm.value();
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}

ExitStatus FromWaitStatus(int status) {
  if (WIFSIGNALED(status)) return {true, WTERMSIG(status), WCOREDUMP(status) != 0};
  return {false, WEXITSTATUS(status), false};
}

std::string ExitStatus::Text() const {
  if (!signaled) return "exited with status " + std::to_string(code);
  const char* name = ::strsignal(code);
  return "was killed by signal " + std::to_string(code) + " (" + (name ? name : "?") + ")";
}

Result<ProcessHandle> ProcessHandle::Open(pid_t pid) {
  const int raw = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (raw < 0) {
    const int sys = errno;
    return SysError(sys, "open process " + std::to_string(pid));
  }
  return ProcessHandle(pid, Fd(raw));
}

Status ProcessHandle::Signal(int signal) const {
  if (::syscall(SYS_pidfd_send_signal, fd_.get(), signal, nullptr, 0) != 0) {
    const int sys = errno;
    return SysError(sys, "signal process " + std::to_string(pid_));
  }
  return kDone;
}

bool ProcessHandle::WaitForEnd(int milliseconds) const {
  pollfd entry{fd_.get(), POLLIN, 0};
  for (;;) {
    const int n = ::poll(&entry, 1, milliseconds);
    if (n < 0 && errno == EINTR) continue;
    return n > 0;
  }
}

bool ProcessHandle::HasEnded() const {
  return WaitForEnd(0);
}

std::optional<ExitStatus> ProcessHandle::TryReap() const {
  siginfo_t info{};
  int result;
  do {
    result = ::waitid(P_PIDFD, static_cast<id_t>(fd_.get()), &info, WEXITED | WNOHANG);
  } while (result < 0 && errno == EINTR);
  if (result != 0 || info.si_pid == 0) return std::nullopt;
  if (info.si_code == CLD_EXITED) return ExitStatus{false, info.si_status, false};
  return ExitStatus{true, info.si_status, info.si_code == CLD_DUMPED};
}

std::vector<std::string> Environment(const std::vector<std::string>& drop) {
  std::vector<std::string> out;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view line = *entry;
    const std::string_view name = line.substr(0, line.find('='));
    if (std::find(drop.begin(), drop.end(), name) == drop.end()) out.emplace_back(line);
  }
  return out;
}

void CloseAllExcept(std::vector<int> keep) {
  keep.insert(keep.end(), {0, 1, 2});
  std::sort(keep.begin(), keep.end());
  unsigned from = 0;
  for (const int fd : keep) {
    if (fd < 0) continue;
    const unsigned number = static_cast<unsigned>(fd);
    if (number > from) ::syscall(SYS_close_range, from, number - 1, 0);
    from = number + 1;
  }
  ::syscall(SYS_close_range, from, ~0U, 0);
}

namespace {

/// Everything the child needs, in memory that was allocated before fork.
struct Prepared {
  std::vector<char*> argv;
  std::vector<char*> envp;
  char listen_pid[32] = "LISTEN_PID=";
  std::vector<int> spare;  // room for the temporary numbers
  pid_t parent = 0;
};

void FormatPid(char* out, pid_t pid) {
  char digits[16];
  int n = 0;
  do {
    digits[n++] = static_cast<char>('0' + pid % 10);
    pid /= 10;
  } while (pid > 0);
  while (n > 0) *out++ = digits[--n];
  *out = '\0';
}

/// Runs in the child: system calls only. Returns the errno of the step that failed. `report` moves out of the way of
/// the targets early on: the number it comes back with is the one that still is the pipe.
int BecomeProgram(const SpawnOptions& options, Prepared& prepared, int& report) {
  if (options.cgroup_procs >= 0 && ::write(options.cgroup_procs, "0", 1) != 1 && errno != EACCES && errno != EPERM) {
    return errno;
  }
  if (options.new_session && ::setsid() < 0) return errno;
  int first_free = 3;
  for (const auto& [from, to] : options.descriptors) first_free = std::max(first_free, std::max(from, to) + 1);
  first_free = std::max(first_free, report + 1);
  // Two rounds: first everything out of the way, then into place, so that no target overwrites a source.
  const int moved_report = ::fcntl(report, F_DUPFD_CLOEXEC, first_free);
  if (moved_report < 0) return errno;
  report = moved_report;
  for (size_t i = 0; i < options.descriptors.size(); ++i) {
    const int copy = ::fcntl(options.descriptors[i].first, F_DUPFD_CLOEXEC, first_free);
    if (copy < 0) return errno;
    prepared.spare[i] = copy;
  }
  bool standard[3] = {false, false, false};
  int highest = 2;
  for (size_t i = 0; i < options.descriptors.size(); ++i) {
    const int to = options.descriptors[i].second;
    if (::dup2(prepared.spare[i], to) < 0) return errno;
    if (to < 3) standard[to] = true;
    highest = std::max(highest, to);
  }
  for (int fd = 0; fd < 3; ++fd) {
    if (standard[fd]) continue;
    const int null = ::open("/dev/null", O_RDWR);
    if (null < 0) return errno;
    if (null != fd) {
      if (::dup2(null, fd) < 0) return errno;
      ::close(null);
    }
  }
  // Close the gaps between wanted numbers, then all above them. Ours are few; the list is walked in place.
  for (int fd = 3; fd <= highest; ++fd) {
    bool wanted = fd == moved_report;
    for (const auto& move : options.descriptors) wanted = wanted || move.second == fd;
    if (!wanted) ::close(fd);
  }
  const unsigned report_number = static_cast<unsigned>(moved_report);
  if (static_cast<int>(report_number) > highest + 1) {
    ::syscall(SYS_close_range, static_cast<unsigned>(highest) + 1, report_number - 1, 0);
  }
  ::syscall(SYS_close_range, report_number + 1, ~0U, 0);
  if (options.directory && ::chdir(options.directory->c_str()) != 0) return errno;
  if (options.umask) ::umask(*options.umask);
  for (const auto& [which, limit] : options.limits) ::setrlimit(static_cast<__rlimit_resource>(which), &limit);
  if (options.gid) {
    if (::geteuid() == 0 && ::setgroups(options.groups.size(), options.groups.data()) != 0) return errno;
    if (::setresgid(*options.gid, *options.gid, *options.gid) != 0) return errno;
  }
  if (options.uid && ::setresuid(*options.uid, *options.uid, *options.uid) != 0) return errno;
  if (options.parent_death_signal != 0) {  // after the change of user, which clears it
    if (::prctl(PR_SET_PDEATHSIG, options.parent_death_signal) != 0) return errno;
    if (::getppid() != prepared.parent) return ESRCH;  // it ended before we asked to be told
  }
  if (options.set_listen_pid) FormatPid(prepared.listen_pid + sizeof "LISTEN_PID=" - 1, ::getpid());
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(options.program.c_str(), prepared.argv.data(), prepared.envp.data());
  return errno;
}

}  // namespace

Result<ProcessHandle> Spawn(const SpawnOptions& options) {
  Prepared prepared;
  for (const auto& argument : options.arguments) prepared.argv.push_back(const_cast<char*>(argument.c_str()));
  prepared.argv.push_back(nullptr);
  for (const auto& entry : options.environment) {
    if (options.set_listen_pid && entry.starts_with("LISTEN_PID=")) continue;  // getenv(3) would find this one first
    prepared.envp.push_back(const_cast<char*>(entry.c_str()));
  }
  if (options.set_listen_pid) prepared.envp.push_back(prepared.listen_pid);
  prepared.envp.push_back(nullptr);
  prepared.spare.resize(options.descriptors.size());
  prepared.parent = ::getpid();

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    const int sys = errno;
    return SysError(sys, "run " + options.program.string());
  }
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);  // no handler of ours may run in the child
  const pid_t pid = ::fork();
  if (pid == 0) {
    int report = write_end.get();
    const int sys = BecomeProgram(options, prepared, report);
    if (::write(report, &sys, sizeof sys) < 0) ::_exit(126);
    ::_exit(127);
  }
  const int fork_error = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return SysError(fork_error, "fork for " + options.program.string());
  write_end.Reset();
  int sys = 0;
  ssize_t n;
  do {
    n = ::read(read_end.get(), &sys, sizeof sys);
  } while (n < 0 && errno == EINTR);
  if (n == sizeof sys) {
    ::waitpid(pid, nullptr, 0);
    return SysError(sys, "run " + options.program.string());
  }
  return ProcessHandle::Open(pid);
}

}  // namespace os
