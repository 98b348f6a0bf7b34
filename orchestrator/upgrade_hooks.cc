#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstdio>

#include "orchestrator/hooks.h"
#include "orchestrator/run_program.h"
#include "orchestrator/upgrade_run.h"

namespace orchestrator {

using std::chrono::milliseconds;

namespace {
constexpr size_t kMaxOutput = 1U << 20;
constexpr milliseconds kLook{250};
}  // namespace

// ---- the user's commands -------------------------------------------------------------------------------------------

/// All hooks of a step, in the order of the command line, until one fails. After the commit point a failure is told and
/// changes nothing.
Outcome Upgrade::RunHooks(Step step, Hook::When when) {
  for (const Hook& hook : options_.hooks) {
    if (hook.step != step || hook.when != when) continue;
    Outcome outcome = RunHook(hook);
    if (outcome.event == Event::kSucceeded) continue;
    const bool nothing_yet =
        step == Step::kPlanned || (step == Step::kLaunched && when == Hook::When::kBefore && !newcomer_);
    if (!committed_) {
      if (outcome.event == Event::kFailed && nothing_yet) outcome.event = Event::kRefused;
      return outcome;
    }
    report_.Note(outcome.text);
  }
  return {};
}

Outcome Upgrade::RunHook(const Hook& hook) {
  const auto pid = [](pid_t number) { return number == 0 ? std::string() : std::to_string(number); };
  auto started =
      StartHook(hook, {
                          "BATON_COMMAND=" + CommandName(),
                          "BATON_STEP=" + std::string(StepName(hook.step)),
                          std::string("BATON_WHEN=") + (hook.when == Hook::When::kBefore ? "before" : "after"),
                          "BATON_OLD_PID=" + pid(old_.id.pid),
                          "BATON_OLD_VERSION=" + old_.hello.version,
                          "BATON_NEW_PID=" + pid(newcomer_ ? newcomer_->pid() : 0),
                          "BATON_NEW_VERSION=" + config_.version,
                          "BATON_RUNTIME_DIR=" + config_.runtime_dir.string(),
                          "BATON_SERVER_ROOT=" + config_.server_root,
                          "BATON_CONFIG_FILE=" + config_.config_file,
                      });
  const std::string name = "the hook " + hook.Name();
  if (!started) return {Event::kFailed, name + " cannot be started: " + started.error().Text()};
  const RunningHook& running = started.value();
  std::string text;
  size_t told = 0;
  const auto read = [&] {
    DrainPipe(running.output, text, kMaxOutput);
    for (size_t end; (end = text.find('\n', told)) != std::string::npos; told = end + 1) {
      std::fprintf(stderr, "%s: %.*s\n", hook.Name().c_str(), static_cast<int>(end - told), text.c_str() + told);
    }
  };
  bool ended = false;
  auto watched = loop_->Watch(running.process.fd(), EPOLLIN, [&](uint32_t) {
    ended = true;
    loop_->Unwatch(running.process.fd());
  });
  if (watched) {
    watched = loop_->Watch(running.output, EPOLLIN, [&](uint32_t events) {
      read();
      if ((events & EPOLLIN) == 0) loop_->Unwatch(running.output);
    });
  }
  Woke woke = Woke::kTimeout;
  const auto deadline = clock_.SteadyNow() + options_.hook_timeout;
  while (watched && clock_.SteadyNow() < deadline) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - clock_.SteadyNow());
    woke = Await(std::min(left, kLook), [&] { return ended || (committed_ && newcomer_gone_ && !listeners_.empty()); });
    if (committed_) MindNewcomer();  // nobody may wait for a hook to be served again
    if (ended || (woke != Woke::kTrue && woke != Woke::kTimeout)) break;
  }
  loop_->Unwatch(running.process.fd());
  loop_->Unwatch(running.output);
  read();
  if (told < text.size()) std::fprintf(stderr, "%s: %s\n", hook.Name().c_str(), text.c_str() + told);
  if (!ended) {
    ::kill(-running.process.pid(), SIGKILL);  // its session: what it started goes with it
    running.process.WaitForEnd(-1);
    running.process.TryReap();
    if (!watched) return {Event::kFailed, watched.error().Text()};
    if (woke == Woke::kNewcomerEnded) return NewcomerEnded();
    if (woke == Woke::kInterrupted) {
      return {Event::kInterrupted, "stopped by signal " + std::to_string(interrupted_by_)};
    }
    return {Event::kFailed, name + " was killed after " + Seconds(options_.hook_timeout) + " (--hook-timeout)"};
  }
  const auto exit = running.process.TryReap().value_or(os::ExitStatus());
  if (!exit.signaled && exit.code == 0) return {};
  const std::string words = FirstSentence(text);
  return {Event::kFailed, name + " " + exit.Text() + (words.empty() ? "" : ": " + words)};
}

}  // namespace orchestrator
