#include "orchestrator/newcomer.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "orchestrator/instances.h"
#include "orchestrator/run_program.h"
#include "os/file.h"

namespace orchestrator {

using std::chrono::milliseconds;

namespace {
constexpr size_t kMaxWords = 16U << 10;
constexpr milliseconds kPatience{5000};
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
  return EndGroup(pid(), clock);
}

}  // namespace orchestrator
