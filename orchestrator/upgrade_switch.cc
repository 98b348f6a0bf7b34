#include "orchestrator/upgrade_run.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "handover/instance_files.h"
#include "orchestrator/faults.h"
#include "orchestrator/listeners.h"
#include "os/file.h"
#include "os/pid_file.h"

namespace orchestrator {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr milliseconds kQueueSample{100};
constexpr milliseconds kDeathIsSeen{1000};
constexpr int kEndingMs = 500;  // a process that is killed closes its sockets before it has ended

}  // namespace

// ---- launched, ready, probed ---------------------------------------------------------------------------------------

Outcome Upgrade::Launch() {
  Fault("launched.recorded");
  const auto path = NotifyPath();
  if (auto removed = os::RemoveFile(path); !removed) return {Event::kRefused, removed.error().Text()};
  auto notify = handover::NotifySocket::Open(path);
  if (!notify) return {Event::kRefused, notify.error().Text()};
  notify_.emplace(std::move(notify).value());
  if (context_.uid && *context_.uid != ::geteuid() &&
      ::chown(path.c_str(), *context_.uid, static_cast<gid_t>(-1)) != 0) {
    const int sys = errno;
    return {Event::kRefused, os::SysError(sys, "give " + path.string() + " to the server's user").Text()};
  }
  auto started = Newcomer::Launch(program_, context_, listeners_, path);
  if (!started) return {Event::kRefused, "cannot start the new instance: " + started.error().Text()};
  Fault("launched.started");
  newcomer_.emplace(std::move(started).value());
  observer_->Tell([this](Story& story) {
    story.party[At(Side::kNew)] = {newcomer_->pid(), false, config_.version, program_.binary};
  });
  if (auto id = os::Identify(newcomer_->pid()); id) {
    if (auto named = journal_->NameNewcomer(record_, id.value()); !named) {
      return {Event::kFailed, "the journal cannot be written: " + named.error().Text()};
    }
  }
  Fault("launched.named");
  auto watched = loop_->Watch(newcomer_->process().fd(), EPOLLIN, [this](uint32_t) {
    loop_->Unwatch(newcomer_->process().fd());
    newcomer_->HasEnded();
    newcomer_gone_ = true;
  });
  if (!watched) return {Event::kFailed, watched.error().Text()};
  watched = loop_->Watch(newcomer_->errors(), EPOLLIN, [this](uint32_t events) {
    newcomer_->ReadErrors();
    if ((events & EPOLLIN) == 0) loop_->Unwatch(newcomer_->errors());  // only EPOLLHUP is left: everybody closed it
  });
  if (!watched) return {Event::kFailed, watched.error().Text()};
  return {Event::kSucceeded, "process " + std::to_string(newcomer_->pid()) + " in standby with " +
                                 CountOf(static_cast<int64_t>(listeners_.size()), "listener")};
}

Outcome Upgrade::AwaitReady() {
  Fault("ready.recorded");
  bool ready = false;
  std::string stranger;
  auto watched = loop_->Watch(notify_->fd(), EPOLLIN, [&](uint32_t) {
    for (;;) {
      auto notice = notify_->Receive();
      if (!notice) return;
      if (!notice.value().Has("READY=1")) continue;
      const std::string main = notice.value().Value("MAINPID").value_or(std::to_string(newcomer_->pid()));
      if (notice.value().sender == newcomer_->pid() && main == std::to_string(newcomer_->pid())) {
        ready = true;
      } else {
        stranger = "; READY=1 came from process " + std::to_string(notice.value().sender) + " for MAINPID " + main +
                   ", which is not the one that was started (process " + std::to_string(newcomer_->pid()) + ")";
      }
    }
  });
  if (!watched) return {Event::kFailed, watched.error().Text()};
  ObserveCountdown("ready", options_.ready_timeout);
  const Woke woke = Await(options_.ready_timeout, [&] { return ready; });
  loop_->Unwatch(notify_->fd());
  switch (woke) {
    case Woke::kNewcomerEnded:
      return NewcomerEnded();
    case Woke::kInterrupted:
      return {Event::kInterrupted, "stopped by signal " + std::to_string(interrupted_by_)};
    case Woke::kTimeout: {
      newcomer_->ReadErrors();
      const std::string words = newcomer_->LastWords();
      return {Event::kFailed, "the new instance was not ready within " + Seconds(options_.ready_timeout) + stranger +
                                  (words.empty() ? "" : "; its last words: " + words)};
    }
    case Woke::kTrue:
      break;
  }
  notify_.reset();
  auto control = httpd::Control::Connect(config_.runtime_dir, newcomer_->pid());
  if (!control) {
    return {Event::kFailed, "the new instance says it is ready and cannot be reached: " + control.error().Text()};
  }
  newcomer_control_ = std::move(control).value();
  auto hello = newcomer_control_.SayHello(httpd::Control::Ownership::kOwner);
  if (!hello) return {Event::kFailed, "the new instance does not answer: " + hello.error().Text()};
  Fault("ready.owned");
  if (hello.value().state != httpd::State::kStandby) {
    return {Event::kFailed,
            "the new instance is " + std::string(httpd::StateName(hello.value().state)) + " instead of in standby"};
  }
  ObserveNewcomer();
  return {Event::kSucceeded, "in standby, version " + hello.value().version};
}

std::string Upgrade::RunProbes() {
  const auto socket = handover::PrivatePath(config_.runtime_dir, newcomer_->pid());
  for (const Probe& probe : options_.probes) {
    ++probes_sent_;
    auto status = httpd::Get(socket, probe.path);
    if (!status) return "probe " + probe.path + ": " + status.error().Text();
    if (status.value() < probe.lowest || status.value() > probe.highest) {
      return "probe " + probe.path + " answered " + std::to_string(status.value()) + " instead of " + ProbeRange(probe);
    }
  }
  return "";
}

Outcome Upgrade::ProbeNewcomer() {
  Fault("probed.recorded");
  std::string failed = RunProbes();
  loop_->Turn(milliseconds(0));
  if (newcomer_gone_) return NewcomerEnded();
  if (!failed.empty()) return {Event::kFailed, std::move(failed)};
  Fault("probed.passed");
  return {Event::kSucceeded, CountOf(static_cast<int64_t>(options_.probes.size()), "probe") + " passed"};
}

// ---- switched, baked -----------------------------------------------------------------------------------------------

Outcome Upgrade::Switch() {
  Fault("switched.recorded");
  old_queue_ = std::max(old_queue_, QueueDepth(old_listeners_));
  if (auto status = old_.control.AskStatus(); status) {
    old_traffic_ = {status.value().accesses, status.value().errors};
  }
  if (auto on = newcomer_control_.Accept(true); !on) {
    loop_->Turn(milliseconds(0));
    if (newcomer_gone_) return NewcomerEnded();
    return {Event::kFailed, "the new instance does not accept: " + on.error().Text()};
  }
  Fault("switched.accepts");
  switched_ms_ = report_.ElapsedMs();
  observer_->Tell([this](Story& story) { story.switched_ms = switched_ms_; });
  auto pid = os::ReadPidFile(config_.pid_file);
  if (!pid || pid.value() != newcomer_->pid()) {
    return {Event::kFailed, config_.pid_file.string() + " does not name the new instance after the switch"};
  }
  if (auto off = old_.control.Accept(false); !off) {
    if (!old_.process.WaitForEnd(kEndingMs)) {
      return {Event::kFailed, "the old instance does not stop accepting: " + off.error().Text()};
    }
    old_gone_ = true;
  }
  Fault("switched.paused");
  return {Event::kSucceeded,
          "process " + std::to_string(newcomer_->pid()) + " accepts, " +
              (old_gone_ ? "the old one has gone" : "process " + std::to_string(old_.id.pid) + " is paused")};
}

Outcome Upgrade::Bake() {
  Fault("baked.recorded");
  if (options_.bake.count() == 0) return {Event::kSucceeded, "not watched (--bake 0)"};
  QueueTrend queue(old_queue_);
  ObserveCountdown("bake", options_.bake);
  const auto began = clock_.SteadyNow();
  auto next_probe = began;
  Traffic now;
  while (clock_.SteadyNow() - began < options_.bake) {
    if (old_gone_) return {Event::kSucceeded, "cut short: there is nothing to go back to"};
    const auto left = std::chrono::ceil<milliseconds>(began + options_.bake - clock_.SteadyNow());
    switch (Await(std::min(left, kQueueSample), [this] { return old_gone_; })) {
      case Woke::kNewcomerEnded:
        return NewcomerEnded();
      case Woke::kInterrupted:
        return {Event::kInterrupted, "stopped by signal " + std::to_string(interrupted_by_)};
      case Woke::kTrue:
      case Woke::kTimeout:
        break;
    }
    const uint32_t depth = QueueDepth(listeners_);
    if (queue.Add(depth)) {
      return {Event::kFailed, "the new instance leaves connections waiting: " + std::to_string(depth) +
                                  " in the accept queue, and the number does not fall"};
    }
    if (clock_.SteadyNow() < next_probe || queue.InDoubt()) continue;
    next_probe = clock_.SteadyNow() + seconds(1);
    const std::string failed = RunProbes();
    loop_->Turn(milliseconds(0));
    if (newcomer_gone_) return NewcomerEnded();
    if (!failed.empty()) return {Event::kFailed, "during the bake time, " + failed};
    auto status = newcomer_control_.AskStatus();
    if (!status) {
      // Who dies closes its sockets a moment before its end can be waited for.
      if (Await(kDeathIsSeen, [] { return false; }) == Woke::kNewcomerEnded) return NewcomerEnded();
      return {Event::kFailed, "the new instance does not tell its status: " + status.error().Text()};
    }
    now = {status.value().accesses, status.value().errors};
    losses_.errors = now.errors;
    if (IsErrorRateWorse(old_traffic_, now)) {
      return {Event::kFailed, "the new instance answered " + std::to_string(now.errors) + " of " +
                                  CountOf(now.requests, "request") + " with an error (the old one " +
                                  std::to_string(old_traffic_.errors) + " of " + std::to_string(old_traffic_.requests) +
                                  ")"};
    }
  }
  Fault("baked.passed");
  return {Event::kSucceeded,
          CountOf(now.requests, "request") + ", " + CountOf(now.errors, "error") + " in " + Seconds(options_.bake)};
}

}  // namespace orchestrator
