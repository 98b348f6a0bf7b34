#include "orchestrator/instances.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "handover/instance_files.h"
#include "orchestrator/plan.h"
#include "orchestrator/run_program.h"
#include "os/file.h"
#include "os/lock_file.h"
#include "os/pid_file.h"

namespace orchestrator {

using std::chrono::milliseconds;

namespace {

constexpr milliseconds kPoll{10};
constexpr milliseconds kGroupPatience{5000};
constexpr int kKillMs = 5000;

std::vector<std::string> ProcessNames() {
  auto names = os::ListDirectory("/proc");
  if (!names) return {};
  std::erase_if(names.value(),
                [](const std::string& name) { return name.find_first_not_of("0123456789") != std::string::npos; });
  return std::move(names).value();
}

/// Process group of a process that runs; 0: it does not.
pid_t GroupOf(const std::string& process) {
  auto stat = os::ReadFile("/proc/" + process + "/stat");
  if (!stat) return 0;
  const size_t close = stat.value().rfind(')');
  char state = '?';
  long parent = 0;
  long group = 0;
  if (close == std::string::npos ||
      std::sscanf(stat.value().c_str() + close + 1, " %c %ld %ld", &state, &parent, &group) != 3) {
    return 0;
  }
  return state == 'Z' || state == 'X' ? 0 : static_cast<pid_t>(group);
}

/// True while a process of the group runs. kill(2) counts zombies, too, which nobody may ever reap in a container.
bool GroupRuns(pid_t group) {
  if (::kill(-group, 0) != 0) return errno == EPERM;
  for (const std::string& name : ProcessNames()) {
    if (GroupOf(name) == group) return true;
  }
  return false;
}

/// What the server could not remove when it started, because children of a parent that was killed still ran.
void RemoveLeftovers(const std::filesystem::path& runtime_dir, os::Clock& clock) {
  auto names = os::ListDirectory(runtime_dir);
  if (!names) return;
  for (const std::string& name : names.value()) {
    const pid_t pid = handover::PidOfLock(name);
    if (pid != 0 && !os::Identify(pid)) RemoveFilesOfDead(runtime_dir, pid, clock);
  }
}

}  // namespace

os::Result<httpd::Instance> StartServer(const httpd::Program& program, const httpd::RunConfig& config,
                                        milliseconds limit, os::Clock& clock) {
  const auto failed = [](std::string what) { return os::Error{os::ErrorKind::kIo, 0, std::move(what)}; };
  const auto deadline = clock.SteadyNow() + limit;
  os::SpawnOptions options;
  options.program = program.binary;
  options.arguments = httpd::CommandLine(program, {"-k", "start"});
  options.environment = program.environment;
  options.directory = program.directory;
  auto output = RunProgram(std::move(options), limit);
  if (!output) return output.error();
  const std::string words = FirstSentence(output.value().err);
  if (output.value().exit.signaled || output.value().exit.code != 0) {
    return failed("httpd -k start " + output.value().exit.Text() + (words.empty() ? "" : ": " + words));
  }
  std::optional<os::ProcessId> seen;
  std::string last = "it wrote no " + config.pid_file.string();
  while (clock.SteadyNow() < deadline) {
    auto pid = os::ReadPidFile(config.pid_file);
    if (pid) {
      if (auto id = os::Identify(pid.value()); id) seen = id.value();
      auto instance = httpd::OpenInstance(config.runtime_dir, pid.value());
      if (instance && instance.value().hello.state == httpd::State::kServing) {
        RemoveLeftovers(config.runtime_dir, clock);
        return instance;
      }
      last =
          instance ? "it is " + std::string(httpd::StateName(instance.value().hello.state)) : instance.error().Text();
    }
    if (seen && !os::IsRunning(*seen)) {
      return failed("the server (process " + std::to_string(seen->pid) + ") ended right after its start; " +
                    (words.empty() ? "its error log says why" : words));
    }
    clock.Sleep(kPoll);
  }
  return failed("the server was started and does not serve in time: " + last + "; its error log may say why");
}

Ending AwaitEnd(const os::ProcessHandle& process, milliseconds term_after, Report& report) {
  const std::string who = "process " + std::to_string(process.pid());
  if (process.WaitForEnd(static_cast<int>(term_after.count()))) return Ending::kByItself;
  report.Note(who + " is still there: TERM");
  if (!process.Signal(SIGTERM) || process.WaitForEnd(kKillMs)) return Ending::kAfterTerm;
  report.Note(who + " ignores TERM: KILL");
  if (process.Signal(SIGKILL)) process.WaitForEnd(-1);
  return Ending::kKilled;
}

bool AwaitGroup(pid_t group, os::Clock& clock) {
  const auto deadline = clock.SteadyNow() + kGroupPatience;
  while (GroupRuns(group)) {
    if (clock.SteadyNow() >= deadline) return false;
    clock.Sleep(kPoll);
  }
  return true;
}

bool EndGroup(pid_t group, os::Clock& clock) {
  // The group outlives its leader while anybody is in it, so the number cannot have a new owner yet.
  // Log programs read to the end of their pipes; who is still there after that would stay for ever.
  if (AwaitGroup(group, clock)) return true;
  return ::kill(-group, SIGKILL) == 0 && AwaitGroup(group, clock);
}

void RemoveFilesOfDead(const std::filesystem::path& runtime_dir, pid_t pid, os::Clock& clock) {
  if (auto dead = os::LockFile::Acquire(handover::LockPath(runtime_dir, pid), kGroupPatience, clock); dead) {
    handover::RemoveInstanceFiles(runtime_dir, pid);
  }
}

pid_t FindLaunched(const std::filesystem::path& notify_path) {
  const std::string wanted = "NOTIFY_SOCKET=" + notify_path.string();
  for (const std::string& name : ProcessNames()) {
    auto environment = os::ReadFile("/proc/" + name + "/environ");
    if (!environment) continue;
    const auto entries = SplitNul(environment.value());
    if (std::find(entries.begin(), entries.end(), wanted) == entries.end()) continue;
    if (const pid_t group = GroupOf(name); group > 0) return group;
  }
  return 0;
}

}  // namespace orchestrator
