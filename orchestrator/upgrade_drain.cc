#include "orchestrator/upgrade_run.h"

#include <signal.h>

#include <algorithm>

#include "handover/instance_files.h"
#include "orchestrator/faults.h"

namespace orchestrator {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr milliseconds kForEver{int64_t{86400} * 1000 * 365 * 100};
constexpr milliseconds kTermAfter{2000};  // after the old instance's own deadline
constexpr milliseconds kKillAfter{5000};  // after TERM
constexpr int kEndingMs = 500;            // a process that is killed closes its sockets before it has ended

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
  Fault("draining.adopted");
  if (auto told = old_.control.Drain(timeout, intake.value()); !told) {
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
  const auto deadline = drain_began_ + (timeout == 0 ? kForEver : milliseconds(seconds(timeout)));
  bool term_sent = false;
  bool kill_sent = false;
  auto next_line = clock_.SteadyNow() + seconds(1);
  while (!old_gone_) {
    // Near the deadline the instance is asked more often: what it had then is what is cut.
    const auto to_deadline = deadline - clock_.SteadyNow();
    const bool near = to_deadline < milliseconds(1500) && to_deadline > milliseconds(-500);
    Await(near ? milliseconds(50) : milliseconds(250),
          [this] { return old_gone_ || (newcomer_gone_ && !listeners_.empty()); });
    if (old_gone_) break;
    MindNewcomer();
    const auto now = clock_.SteadyNow();
    if (auto status = old_.control.AskStatus(200); status && status.value().connections >= 0) {
      if (now < deadline) last_status_ = status.value();
      if (now >= next_line) {
        next_line = now + seconds(1);
        auto more = Ordered();
        more.set("pid", old_.id.pid);
        more.set("connections", status.value().connections);
        more.set("busy", status.value().busy);
        more.set("oldest_ms", status.value().oldest_ms);
        std::string left = timeout == 0 ? "no limit"
                                        : "deadline in " + Seconds(seconds(std::max<int64_t>(
                                                               0, std::chrono::ceil<seconds>(deadline - now).count())));
        report_.Progress(CountOf(status.value().connections, "connection") + ", " +
                             CountOf(status.value().busy, "request") + " left in process " +
                             std::to_string(old_.id.pid) + ", oldest " + std::to_string(status.value().oldest_ms) +
                             " ms; " + left,
                         more);
      }
    }
    if (!term_sent && now >= deadline + kTermAfter) {
      term_sent = true;
      report_.Note("process " + std::to_string(old_.id.pid) + " is still there after its deadline: TERM");
      if (!old_.process.Signal(SIGTERM)) old_gone_ = old_.process.HasEnded();
      Fault("done.term");
    }
    if (!kill_sent && now >= deadline + kTermAfter + kKillAfter) {
      kill_sent = true;
      report_.Note("process " + std::to_string(old_.id.pid) + " ignores TERM: KILL");
      if (!old_.process.Signal(SIGKILL)) old_gone_ = old_.process.HasEnded();
      Fault("done.kill");
    }
  }
  Fault("done.gone");
  MindNewcomer();  // both may have gone in one turn
  const bool at_deadline = timeout != 0 && clock_.SteadyNow() >= deadline - milliseconds(50);
  const int64_t busy = last_status_ ? last_status_->busy : 0;
  handover::RemoveInstanceFiles(config_.runtime_dir, old_.id.pid);  // it did so itself, unless it was killed
  if (at_deadline && (busy > 0 || (kill_sent && !last_status_))) {
    cut_ = true;
    losses_.cut = busy;
    cut_text_ = CountOf(busy, "request") + " of process " + std::to_string(old_.id.pid) + " " +
                (busy == 1 ? "was" : "were") + " cut at the deadline of " + Seconds(seconds(timeout)) +
                (kill_sent   ? ", and it had to be killed"
                 : term_sent ? ", and it needed a TERM"
                             : "") +
                "; the new instance serves";
  }
  return {Event::kSucceeded, "process " + std::to_string(old_.id.pid) + " has gone"};
}

}  // namespace orchestrator
