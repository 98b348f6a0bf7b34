#include "orchestrator/newcomer.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "orchestrator/run_program.h"
#include "os/file.h"

namespace orchestrator {

using std::chrono::milliseconds;

namespace {
constexpr size_t kMaxWords = 16U << 10;
constexpr milliseconds kPatience{5000};

/// True while a process of the group runs. kill(2) counts zombies, too, which nobody may ever reap in a container.
bool GroupRuns(pid_t group) {
  if (::kill(-group, 0) != 0) return errno == EPERM;
  auto names = os::ListDirectory("/proc");
  if (!names) return true;
  for (const std::string& name : names.value()) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    auto stat = os::ReadFile("/proc/" + name + "/stat");
    if (!stat) continue;
    const size_t close = stat.value().rfind(')');
    char state = '?';
    long parent = 0;
    long its_group = 0;
    if (close == std::string::npos ||
        std::sscanf(stat.value().c_str() + close + 1, " %c %ld %ld", &state, &parent, &its_group) != 3) {
      continue;
    }
    if (its_group == group && state != 'Z' && state != 'X') return true;
  }
  return false;
}
}  // namespace

os::Result<Newcomer> Newcomer::Launch(const httpd::Program& program, const Context& context,
                                      const std::vector<handover::Listener>& listeners,
                                      const std::filesystem::path& notify_path) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    const int sys = errno;
    return os::SysError(sys, "make a pipe");
  }
  os::Fd ours(ends[0]);
  const os::Fd theirs(ends[1]);
  ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);

  os::SpawnOptions options;
  options.program = program.binary;
  options.arguments = httpd::CommandLine(program, {"-D", "FOREGROUND", "--standby"});
  options.environment = program.environment;
  options.environment.push_back("NOTIFY_SOCKET=" + notify_path.string());
  options.directory = program.directory;
  options.descriptors.emplace_back(theirs.get(), 2);
  options.new_session = true;
  options.umask = context.umask;
  options.limits = context.limits;
  options.uid = context.uid;
  options.gid = context.gid;
  options.groups = context.groups;
  handover::GiveListenFds(listeners, options);
  os::Fd cgroup;
  if (!context.cgroup.empty()) {
    if (auto opened = os::Open(context.cgroup + "/cgroup.procs", O_WRONLY); opened) {
      cgroup = std::move(opened).value();
      options.cgroup_procs = cgroup.get();
    }
  }
  auto process = os::Spawn(options);
  if (!process) return process.error();
  return Newcomer(std::move(process).value(), std::move(ours));
}

void Newcomer::ReadErrors() {
  if (errors_.valid()) DrainPipe(errors_, text_, kMaxWords);
}

std::string Newcomer::LastWords() const {
  return FirstSentence(text_);
}

bool Newcomer::HasEnded() {
  if (exit_) return true;
  if (!process_.HasEnded()) return false;
  ReadErrors();
  exit_ = process_.TryReap().value_or(os::ExitStatus());
  return true;
}

std::string Newcomer::HowItEnded() const {
  if (!exit_) return "is still running";
  const std::string words = LastWords();
  return exit_->Text() + (words.empty() ? "" : ": " + words);
}

bool Newcomer::End(httpd::Control* control, os::Clock& clock) {
  if (!HasEnded()) {
    if (!control || !control->valid() || !control->Stop()) {
      if (!process_.Signal(SIGTERM)) process_.WaitForEnd(0);
    }
    if (!process_.WaitForEnd(static_cast<int>(kPatience.count()))) {
      if (process_.Signal(SIGKILL)) process_.WaitForEnd(-1);
    }
  }
  HasEnded();
  // The group outlives its leader while anybody is in it, so the number cannot have a new owner yet.
  // Log programs read to the end of their pipes; who is still there after that would stay for ever.
  auto deadline = clock.SteadyNow() + kPatience;
  bool killed = false;
  while (GroupRuns(pid())) {
    if (clock.SteadyNow() >= deadline) {
      if (std::exchange(killed, true) || ::kill(-pid(), SIGKILL) != 0) return false;
      deadline = clock.SteadyNow() + kPatience;
    }
    clock.Sleep(milliseconds(10));
  }
  return true;
}

}  // namespace orchestrator
