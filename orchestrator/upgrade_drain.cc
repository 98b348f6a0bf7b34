#include "orchestrator/upgrade_run.h"

#include <signal.h>

#include "orchestrator/faults.h"

namespace orchestrator {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr int kEndingMs = 500;  // a process that is killed closes its sockets before it has ended

}  // namespace

// ---- draining, done ------------------------------------------------------------------------------------------------

Outcome Upgrade::Drain() {
  Fault("draining.recorded");
  const int timeout = options_.graceful_shutdown_timeout.value_or(config_.graceful_shutdown_timeout);
  loop_->Turn(milliseconds(0));
  if (newcomer_gone_) return NewcomerEnded();
  if (interrupted_by_ != 0) return {Event::kInterrupted, "stopped by signal " + std::to_string(interrupted_by_)};
  const std::string limit = timeout == 0 ? "no time limit" : "at most " + Seconds(seconds(timeout));
  drain_began_ = clock_.SteadyNow();
  if (old_gone_) {
    Commit();
    return {Event::kSucceeded, "the old one has gone already"};
  }
  if (auto status = old_.control.AskStatus(1000); status) last_status_ = status.value();
  auto intake = newcomer_control_.Adopt();
  if (!intake) return {Event::kFailed, "the new instance takes no connections over: " + intake.error().Text()};
  // Who does not wait for the end cannot fetch the list.
  const auto list = options_.detach ? httpd::Control::CutList::kNone : httpd::Control::CutList::kWrite;
  Fault("draining.adopted");
  if (auto told = old_.control.Drain(timeout, intake.value(), list); !told) {
    if (old_.process.WaitForEnd(told.error().kind == os::ErrorKind::kTimeout ? 0 : kEndingMs)) {
      old_gone_ = true;
    } else if (told.error().kind != os::ErrorKind::kTimeout) {
      return {Event::kFailed, "the old instance does not leave: " + told.error().Text()};
    } else if (auto signaled = old_.process.Signal(SIGWINCH); !signaled) {
      return {Event::kFailed, "the old instance cannot be told to leave: " + signaled.error().Text()};
    }
  }
  Fault("draining.told");
  Commit();
  RedirectDrainers(intake.value(), old_.id.pid);
  KeepNewcomer();
  std::string what = "process " + std::to_string(old_.id.pid) + " leaves";
  if (last_status_) {
    what += ": " + CountOf(last_status_->connections, "connection") + ", " + CountOf(last_status_->busy, "request");
  }
  return {Event::kSucceeded, what + "; " + limit};
}

/// From here on there is no way back.
void Upgrade::Commit() {
  committed_ = true;
  lock_->Release();  // a next upgrade may start while this one's old instance drains
  old_listeners_.clear();
  observer_->LetGo();
  observer_->Tell([this](Story& story) { story.committed_ms = report_.ElapsedMs(); });
  if (options_.detach) listeners_.clear();
}

/// So that a later upgrade can come back to it, and a rollback find it by its name.
void Upgrade::KeepNewcomer() {
  auto instance = httpd::OpenInstance(config_.runtime_dir, newcomer_->pid());
  if (!instance) return;  // it has ended: the loop tells
  auto kept = KeepVersion(config_.runtime_dir, instance.value(), clock_);
  if (!kept) {
    report_.Note("the new version is not kept for a rollback: " + kept.error().Text());
  } else if (auto named = journal_->NameKept(record_, old_version_ ? old_version_->id : "", kept.value().id); !named) {
    report_.Note(named.error().Text());
  }
  PruneVersions(config_.runtime_dir, {});
}

/// Instances of earlier upgrades pass their idle connections to the one that has just been told to leave; from now on
/// they pass them to the newcomer. Who cannot be told serves what it has to the end, as before.
void Upgrade::RedirectDrainers(const os::Fd& intake, pid_t but_not) {
  auto list = httpd::ListInstances(config_.runtime_dir);
  if (!list) return;
  for (const httpd::Found& found : list.value()) {
    if (!found.hello || found.hello->state != httpd::State::kDraining || found.pid == but_not) continue;
    auto control = httpd::Control::Connect(config_.runtime_dir, found.pid);
    if (!control) continue;
    if (auto told = control.value().Redirect(intake); !told) {
      report_.Note("process " + std::to_string(found.pid) + " goes on passing connections to process " +
                   std::to_string(old_.id.pid) + ": " + told.error().Text());
    }
  }
}

Outcome Upgrade::AwaitOldGone() {
  Fault("done.recorded");
  const int timeout = options_.graceful_shutdown_timeout.value_or(config_.graceful_shutdown_timeout);
  Departure departure(old_, old_.control, config_.runtime_dir, timeout, drain_began_, report_, clock_);
  if (last_status_) departure.Remember(*last_status_);
  const auto deadline = drain_began_ + seconds(timeout);
  ObserveCountdown("deadline", timeout == 0
                                   ? std::nullopt
                                   : std::optional(std::chrono::ceil<milliseconds>(deadline - clock_.SteadyNow())));
  for (;;) {
    Await(departure.Pause(), [this] { return old_gone_ || (newcomer_gone_ && !listeners_.empty()); });
    if (old_gone_) break;
    MindNewcomer();
    departure.Look();
  }
  Fault("done.gone");
  observer_->Tell([](Story& story) { story.party[At(Side::kOld)].gone = true; });
  MindNewcomer();  // both may have gone in one turn
  cuts_ = departure.Finish();
  losses_.cut = cuts_.count;
  if (cuts_.Any()) {
    cut_ = true;
    cut_text_ = cuts_.Text(old_.id.pid, timeout) + "; the new instance serves";
  }
  const std::string cut = cuts_.Examples();
  return {Event::kSucceeded,
          "process " + std::to_string(old_.id.pid) + " has gone" + (cut.empty() ? "" : "; cut: " + cut)};
}

}  // namespace orchestrator
