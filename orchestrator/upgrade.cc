#include "orchestrator/upgrade.h"

#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>

#include "handover/instance_files.h"
#include "orchestrator/faults.h"
#include "orchestrator/instances.h"
#include "orchestrator/upgrade_run.h"
#include "os/pid_file.h"

namespace orchestrator {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr int kRetireSeconds = 10;  // what a newcomer that is taken back may still finish

}  // namespace

std::string Seconds(milliseconds span) {
  std::string text = std::to_string(span.count() / 1000);
  if (span.count() % 1000 != 0) {
    std::string decimals = std::to_string(1000 + span.count() % 1000).substr(1);
    while (decimals.back() == '0') decimals.pop_back();
    text += "." + decimals;
  }
  return text + " s";
}

// ---- the frame -----------------------------------------------------------------------------------------------------

int Upgrade::Run() {
  auto loop = os::PollLoop::Open(clock_);
  if (!loop) return End("failed", kExitFailed, loop.error().Text());
  loop_ = std::move(loop).value();
  auto signals = os::SignalFd::Open({SIGINT, SIGTERM, SIGHUP});
  if (!signals) return End("failed", kExitFailed, signals.error().Text());
  signals_.emplace(std::move(signals).value());
  auto watched = loop_->Watch(signals_->fd(), EPOLLIN, [this](uint32_t) {
    const auto signal = signals_->Read();
    if (!signal) return;
    if (committed_) {
      report_.Note("signal " + std::to_string(signal->number) +
                   " came after the commit point: the old instance leaves, this goes on until it has gone");
      return;
    }
    interrupted_by_ = signal->number;
  });
  if (!watched) return End("failed", kExitFailed, watched.error().Text());

  if (options_.dry_run) {
    const Outcome planned = Plan();
    if (planned.event == Event::kSucceeded) return TellPlan();
    return End("failed", locked_out_ ? kExitBusy : kExitFailed, planned.text);
  }
  StartObserving();
  for (const Step step : kSteps) {
    Outcome outcome = RunHooks(step, Hook::When::kBefore);
    if (outcome.event == Event::kSucceeded) outcome = Do(step);
    if (outcome.event == Event::kSucceeded) {
      Outcome hooked = RunHooks(step, Hook::When::kAfter);
      if (hooked.event != Event::kSucceeded) outcome = std::move(hooked);
    }
    if (record_ != 0) {
      if (auto noted = journal_->EndStep(record_, step, EventName(outcome.event), outcome.text); !noted) {
        report_.Note(noted.error().Text());
      }
      if (step == Step::kDraining) Fault("draining.noted");
    }
    auto action = Decide(step, outcome.event);
    if (action == Action::kGoOn) {
      auto more = Ordered();
      if (newcomer_) more.set("pid", newcomer_->pid());
      report_.StepDone(step, outcome.text, more);
      if (step != Step::kDone && old_gone_ && !old_gone_told_) {
        old_gone_told_ = true;
        action = Decide(step, Event::kOldEnded);
        outcome.text = "the old instance " + std::to_string(old_.id.pid) + " ended by itself during the upgrade";
        if (action == Action::kGoOn) report_.Note(outcome.text + "; the new one takes over at once");
      }
    }
    switch (action.value_or(Action::kUndo)) {
      case Action::kGoOn:
      case Action::kFinish:
        break;
      case Action::kGiveUp:
        if (record_ != 0 && OldWasKilled()) {
          LeaveOpen();
          outcome.text += "; the running instance was killed meanwhile: orchestrator resume starts it again";
        }
        return End("failed", locked_out_ ? kExitBusy : kExitFailed, outcome.text);
      case Action::kUndo:
        return TakeBack(step, outcome.text);
    }
    if (step == Step::kDraining && options_.detach) {
      return End("done", kExitDone,
                 "process " + std::to_string(newcomer_->pid()) + " serves; process " + std::to_string(old_.id.pid) +
                     " drains by itself");
    }
  }
  if (lost_pid_ != 0) RemoveFilesOfDead(config_.runtime_dir, lost_pid_, clock_);
  if (!lost_.empty()) {
    return revived_ ? End("rolled back", kExitRolledBack, "rolled back: " + lost_) : End("failed", kExitFailed, lost_);
  }
  if (newcomer_gone_ && !httpd::FindServing(config_) && !newcomer_->EndedWell()) {
    return End("failed", kExitFailed,
               "the new instance " + newcomer_->HowItEnded() +
                   " after the old one had been told to leave: nobody serves; start it with orchestrator start");
  }
  if (cut_) return End("done", kExitCut, cut_text_);
  return End("done", kExitDone,
             "done: process " + std::to_string(newcomer_->pid()) + " (version " + config_.version + ") has replaced " +
                 std::to_string(old_.id.pid));
}

Outcome Upgrade::Do(Step step) {
  report_.StepBegins(step);
  if (interrupted_by_ != 0 && !committed_) {
    return {Event::kInterrupted, "stopped by signal " + std::to_string(interrupted_by_)};
  }
  if (step != Step::kPlanned) {  // planning records itself: until it has the lock there is nothing to record into
    lock_->Say(std::string(StepName(step)));
    if (auto recorded = Record(step); !recorded) {
      if (!committed_) {
        return {step == Step::kLaunched ? Event::kRefused : Event::kFailed,
                "the journal cannot be written: " + recorded.error().Text()};
      }
      report_.Note("the journal cannot be written: " + recorded.error().Text());
    }
  }
  switch (step) {
    case Step::kPlanned:
      return Plan();
    case Step::kLaunched:
      return Launch();
    case Step::kReady:
      return AwaitReady();
    case Step::kProbed:
      return ProbeNewcomer();
    case Step::kSwitched:
      return Switch();
    case Step::kBaked:
      return Bake();
    case Step::kDraining:
      return Drain();
    case Step::kDone:
      return AwaitOldGone();
  }
  return {Event::kFailed, "no such step"};
}

os::Status Upgrade::RecordIntent() {
  Intent intent;
  intent.command = CommandName();
  intent.from.id = old_.id;
  intent.from.version = old_.hello.version;
  intent.from.binary = context_.binary;
  intent.from.server_root = old_.hello.server_root;
  intent.from.config_file = old_.hello.config_file;
  intent.from.arguments = KeptArguments(context_.arguments);
  intent.from.environment = context_.environment;
  intent.from.directory = context_.directory;
  intent.to.version = config_.version;
  intent.to.binary = program_.binary;
  intent.to.server_root = config_.server_root;
  intent.to.config_file = config_.config_file;
  intent.to.arguments = program_.arguments;
  intent.to.environment = program_.environment;
  intent.to.directory = program_.directory;
  if (target_) intent.to.kept = target_->id;
  for (const auto& line : config_.listen) intent.listeners.push_back(line.address);
  intent.ready_timeout = options_.ready_timeout;
  intent.bake = options_.bake;
  intent.graceful_shutdown_timeout = options_.graceful_shutdown_timeout.value_or(config_.graceful_shutdown_timeout);
  auto begun = journal_->BeginUpgrade(intent);
  if (!begun) return begun.error();
  record_ = begun.value();
  return Record(Step::kPlanned);
}

std::filesystem::path Upgrade::NotifyPath() const {
  return lock_->directory() / ("notify." + std::to_string(::getpid()));
}

os::Status Upgrade::Record(Step step) {
  auto facts = Ordered();
  if (step == Step::kLaunched) facts.set("notify", NotifyPath().string());
  facts.set("steady_ms", std::chrono::duration_cast<milliseconds>(clock_.SteadyNow().time_since_epoch()).count());
  return journal_->BeginStep(record_, step, facts);
}

/// Who is killed leaves its PidFile behind, who is stopped does not.
bool Upgrade::OldWasKilled() const {
  auto named = os::ReadPidFile(config_.pid_file);
  return old_.process.valid() && old_.process.HasEnded() && named && named.value() == old_.id.pid;
}

/// The record stays without an end: once we are gone it counts as interrupted.
void Upgrade::LeaveOpen() {
  record_ = 0;
}

int Upgrade::End(std::string_view status, int exit_status, const std::string& reason) {
  if (committed_) Fault("ended");
  if (record_ != 0) {
    if (auto ended = journal_->End(record_, exit_status, reason, losses_); !ended) report_.Note(ended.error().Text());
  }
  if (lock_) lock_->Release();
  notify_.reset();
  auto more = Ordered();
  if (switched_ms_) more.set("switched_ms", *switched_ms_);
  if (old_.id.pid != 0) more.set("old_pid", old_.id.pid);
  if (newcomer_) more.set("new_pid", newcomer_->pid());
  if (committed_ && options_.detach) more.set("detached", true);
  if (cut_) {
    more.set("cut", cuts_.count);
    more.set("cut_requests", CutsJson(cuts_.requests));
  }
  if (const std::string file = EndObserving(status, exit_status, reason); !file.empty()) more.set("report", file);
  report_.Result(status, exit_status, reason, more);
  return exit_status;
}

Upgrade::Woke Upgrade::Await(milliseconds limit, const std::function<bool()>& true_now) {
  const auto deadline = clock_.SteadyNow() + limit;
  for (;;) {
    if (true_now()) return Woke::kTrue;
    if (newcomer_gone_ && (!committed_ || reviving_)) return Woke::kNewcomerEnded;
    if (interrupted_by_ != 0 && !committed_ && !reviving_) return Woke::kInterrupted;
    const auto left = std::chrono::ceil<milliseconds>(deadline - clock_.SteadyNow());
    if (left.count() <= 0) return Woke::kTimeout;
    loop_->Turn(std::min(left, milliseconds(60000)));
  }
}

void Upgrade::WatchOld() {
  auto watched = loop_->Watch(old_.process.fd(), EPOLLIN, [this](uint32_t) {
    old_gone_ = true;
    loop_->Unwatch(old_.process.fd());
  });
  if (!watched) report_.Note(watched.error().Text());
}

Outcome Upgrade::NewcomerEnded() {
  newcomer_->HasEnded();
  return {Event::kFailed, "the new instance " + newcomer_->HowItEnded()};
}

// ---- the way back --------------------------------------------------------------------------------------------------

int Upgrade::TakeBack(Step at, const std::string& reason) {
  std::vector<std::string> problems;
  bool gone = true;
  lock_->Say("rolling back");
  Fault("back.begun");
  for (const Undo undo : UndoOf(at)) {
    switch (undo) {
      case Undo::kResumeOld: {
        if (old_.process.HasEnded()) {
          old_gone_ = true;
          break;
        }
        auto on = old_.control.Accept(true);
        Fault("back.resumed");
        if (on) break;
        if (!newcomer_->HasEnded()) {
          newcomer_control_.Close();
          LeaveOpen();
          return End("failed", kExitFailed,
                     reason + "; and the old instance does not accept again (" + on.error().Text() +
                         "): the new one, process " + std::to_string(newcomer_->pid()) +
                         ", goes on serving; orchestrator resume ends this one way or the other");
        }
        problems.push_back("the old instance does not accept again: " + on.error().Text());
        break;
      }
      case Undo::kRetireNewcomer: {
        // It may have accepted clients: they are handed back or finished, not cut.
        if (old_gone_ || newcomer_->HasEnded()) break;
        auto intake = old_.control.Adopt();
        if (!intake) break;
        if (newcomer_control_.Drain(kRetireSeconds, intake.value())) {
          newcomer_->process().WaitForEnd(kRetireSeconds * 1000 + 500);
        }
        Fault("back.retired");
        break;
      }
      case Undo::kStopNewcomer:
        loop_->Unwatch(newcomer_->process().fd());
        loop_->Unwatch(newcomer_->errors());
        gone = newcomer_->End(&newcomer_control_, clock_);
        newcomer_control_.Close();
        Fault("back.stopped");
        break;
      case Undo::kRemoveNewcomerFiles:
        handover::RemoveInstanceFiles(config_.runtime_dir, newcomer_->pid());
        Fault("back.removed");
        break;
    }
  }
  if (!gone) {
    problems.push_back("something of the process group " + std::to_string(newcomer_->pid()) + " is still running");
  }
  std::string sentence = reason;
  for (const std::string& problem : problems) sentence += "; " + problem;
  if (old_gone_ || old_.process.HasEnded()) {
    const Outcome outcome = Revive();
    sentence += "; and the old instance has ended meanwhile: " + outcome.text;
    return outcome.event == Event::kSucceeded ? End("rolled back", kExitRolledBack, "rolled back: " + sentence)
                                              : End("failed", kExitFailed, sentence);
  }
  return End("rolled back", kExitRolledBack, "rolled back: " + sentence);
}

int RunUpgrade(const Options& options, Report& report, os::Clock& clock) {
  return Upgrade(options, report, clock).Run();
}

}  // namespace orchestrator
