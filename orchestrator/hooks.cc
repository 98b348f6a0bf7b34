#include "orchestrator/hooks.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace orchestrator {

namespace {
constexpr std::string_view kBefore = "before-";
}  // namespace

std::string Hook::Name() const {
  return std::string(when == When::kBefore ? kBefore : "") + std::string(StepName(step));
}

os::Result<Hook> ParseHook(std::string_view text) {
  const auto wrong = [&text](const std::string& what) {
    std::string steps;
    for (const Step step : kSteps) steps += (steps.empty() ? "" : ", ") + std::string(StepName(step));
    return os::Error{os::ErrorKind::kInvalid, 0,
                     "--hook: \"" + std::string(text) + "\" " + what +
                         ": STEP=COMMAND or before-STEP=COMMAND is wanted, STEP one of " + steps};
  };
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return wrong("has no =");
  Hook hook;
  std::string_view name = text.substr(0, equals);
  if (name.starts_with(kBefore)) {
    hook.when = Hook::When::kBefore;
    name.remove_prefix(kBefore.size());
  }
  const auto step = ParseStep(name);
  if (!step) return wrong("names no step");
  hook.step = *step;
  hook.command = text.substr(equals + 1);
  if (hook.command.find_first_not_of(" \t\n") == std::string::npos) return wrong("has no command");
  return hook;
}

os::Result<RunningHook> StartHook(const Hook& hook, const std::vector<std::string>& environment) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    const int sys = errno;
    return os::SysError(sys, "make a pipe");
  }
  RunningHook running;
  running.output = os::Fd(ends[0]);
  const os::Fd theirs(ends[1]);
  ::fcntl(running.output.get(), F_SETFL, O_NONBLOCK);
  os::SpawnOptions options;
  options.program = "/bin/sh";
  options.arguments = {"sh", "-c", hook.command};
  options.environment = os::Environment({"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"});
  options.environment.insert(options.environment.end(), environment.begin(), environment.end());
  options.descriptors = {{theirs.get(), 1}, {theirs.get(), 2}};
  options.new_session = true;
  auto process = os::Spawn(options);
  if (!process) return process.error();
  running.process = std::move(process).value();
  return running;
}

}  // namespace orchestrator
