#include <algorithm>

#include "orchestrator/listeners.h"
#include "orchestrator/upgrade_run.h"
#include "os/pid_file.h"

namespace orchestrator {

using std::chrono::milliseconds;

// ---- the newcomer dies when there is no way back any more ----------------------------------------------------------

/// While the old instance drains we hold the newcomer's listeners: should it die, clients wait in the accept queues
/// until its predecessor's version serves again, and none is refused. Our holding them must not keep clients waiting
/// for a server that somebody stopped, or that a later upgrade has replaced.
void Upgrade::MindNewcomer() {
  if (listeners_.empty()) return;
  if (!newcomer_gone_) {
    auto status = newcomer_control_.AskStatus(200);
    if (status && status.value().state == httpd::State::kDraining) listeners_.clear();
    return;
  }
  if (newcomer_->EndedWell() || revived_) {
    listeners_.clear();
    return;
  }
  lost_pid_ = newcomer_->pid();
  const std::string why = "the new instance, process " + std::to_string(newcomer_->pid()) + ", " +
                          newcomer_->HowItEnded() + " after the old one had been told to leave";
  report_.Note(why);
  // Whoever holds the lock decides what runs here now: a later upgrade, a start, a stop.
  auto lock = RunLock::Acquire(config_.runtime_dir, "upgrade", clock_);
  if (!lock) {
    report_.Note("nothing is started again: " + lock.error().Text());
    listeners_.clear();
    return;
  }
  lock_.emplace(std::move(lock).value());
  if (auto serving = httpd::FindServing(config_); serving && serving.value().hello.state == httpd::State::kServing) {
    listeners_.clear();
  } else {
    lock_->Say("starting the old version again");
    Outcome outcome = Revive();
    reviving_ = false;
    revived_ = outcome.event == Event::kSucceeded;
    lost_ = why + "; " + outcome.text;
    if (!revived_) listeners_.clear();
  }
  lock_->Release();
}

/// Starts the version that the old instance had, with the listeners that we hold. Whatever its probes say it accepts:
/// nobody else does.
Outcome Upgrade::Revive() {
  const auto nobody = [](const std::string& why) {
    return Outcome{Event::kFailed, "its predecessor's version cannot be started again: " + why +
                                       "; nobody serves, start it with orchestrator start"};
  };
  if (!old_version_) return nobody("it was not kept");
  auto program = ProgramOfVersion(*old_version_, context_.environment);
  if (!program) return nobody(program.error().Text());
  auto config = httpd::AskConfig(program.value());
  if (!config) return nobody(config.error().Text());

  std::vector<handover::Listener> wanted;
  for (const auto& line : config.value().listen) {
    const auto is_it = [&line](const handover::Listener& one) { return one.address.Text() == line.address; };
    const handover::Listener* held = nullptr;
    for (const auto* list : {&listeners_, &old_listeners_}) {
      const auto found = std::find_if(list->begin(), list->end(), is_it);
      if (found != list->end() && !held) held = &*found;
    }
    if (held) {
      auto copy = handover::CopyListener(*held);
      if (!copy) return nobody(copy.error().Text());
      wanted.push_back(std::move(copy).value());
    } else if (auto bound = BindListener(line.address); bound) {  // the upgrade had taken it away
      wanted.push_back(std::move(bound).value());
    } else {
      return nobody(bound.error().Text());
    }
  }

  loop_->Unwatch(newcomer_->errors());
  newcomer_control_.Close();
  newcomer_.reset();
  newcomer_gone_ = false;
  reviving_ = true;
  program_ = std::move(program).value();
  config_ = std::move(config).value();
  listeners_ = std::move(wanted);  // what only the lost one had is refused from now on
  old_listeners_.clear();
  for (const auto step : {&Upgrade::Launch, &Upgrade::AwaitReady}) {
    if (Outcome outcome = (this->*step)(); outcome.event != Event::kSucceeded) {
      if (newcomer_) newcomer_->End(&newcomer_control_, clock_);
      return nobody(outcome.text);
    }
  }
  const std::string doubt = RunProbes();
  if (auto on = newcomer_control_.Accept(true); !on) {
    newcomer_->End(&newcomer_control_, clock_);
    return nobody("it does not accept: " + on.error().Text());
  }
  if (auto intake = newcomer_control_.Adopt(); intake) RedirectDrainers(intake.value(), 0);
  auto more = Ordered();
  more.set("pid", newcomer_->pid());
  more.set("version", config_.version);
  const std::string text = "the old version (" + config_.version + ") was started again as process " +
                           std::to_string(newcomer_->pid()) + " and serves" +
                           (doubt.empty() ? "" : ", though " + doubt);
  report_.Event("revived", "            " + text, more);
  return {Event::kSucceeded, text};
}

}  // namespace orchestrator
