#include "orchestrator/upgrade.h"

#include <Poco/JSON/Array.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>

#include "handover/instance_files.h"
#include "handover/readiness.h"
#include "orchestrator/context.h"
#include "orchestrator/drivers/httpd.h"
#include "orchestrator/journal.h"
#include "orchestrator/listeners.h"
#include "orchestrator/newcomer.h"
#include "orchestrator/run_lock.h"
#include "orchestrator/site.h"
#include "os/file.h"
#include "os/pid_file.h"
#include "os/poll.h"
#include "os/signals.h"

namespace orchestrator {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kForEver{int64_t{86400} * 1000 * 365 * 100};
constexpr milliseconds kQueueSample{100};
constexpr milliseconds kTermAfter{2000};  // after the old instance's own deadline
constexpr milliseconds kKillAfter{5000};  // after TERM
constexpr int kRetireSeconds = 10;        // what a newcomer that is taken back may still finish

/// How a step ended, and the sentence or the detail to tell.
struct Outcome {
  Event event = Event::kSucceeded;
  std::string text;
};

std::string Seconds(milliseconds span) {
  std::string text = std::to_string(span.count() / 1000);
  if (span.count() % 1000 != 0) {
    std::string decimals = std::to_string(1000 + span.count() % 1000).substr(1);
    while (decimals.back() == '0') decimals.pop_back();
    text += "." + decimals;
  }
  return text + " s";
}

std::string Megabytes(int64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

class Upgrade {
 public:
  Upgrade(const Options& options, Report& report, os::Clock& clock)
      : options_(options), report_(report), clock_(clock) {}

  int Run();

 private:
  // steps
  Outcome Do(Step step);
  Outcome Plan();
  Outcome Launch();
  Outcome AwaitReady();
  Outcome ProbeNewcomer();
  Outcome Switch();
  Outcome Bake();
  Outcome Drain();
  Outcome AwaitOldGone();

  // parts of planning
  Outcome FindPrograms();
  std::string CheckDraining() const;
  std::string CheckHeadroom() const;
  Outcome PrepareListeners();

  // parts of the others
  std::string RunProbes();  ///< "" = all passed
  os::Status Record(Step step);
  int End(std::string_view status, int exit_status, const std::string& reason);
  int TakeBack(Step at, const std::string& reason);
  void WatchOld();
  Outcome NewcomerEnded();
  void Commit();
  void RedirectDrainers(const os::Fd& intake);

  /// Turns the loop until `true_now` or the end of `limit`; also ends when a signal asks to stop (before the commit
  /// point) or the newcomer has ended.
  enum class Woke { kTrue, kTimeout, kInterrupted, kNewcomerEnded };
  Woke Await(milliseconds limit, const std::function<bool()>& true_now);

  const Options& options_;
  Report& report_;
  os::Clock& clock_;
  std::unique_ptr<os::PollLoop> loop_;
  std::optional<os::SignalFd> signals_;
  std::optional<RunLock> lock_;
  std::optional<Journal> journal_;
  std::optional<handover::NotifySocket> notify_;

  httpd::Program program_;  ///< what the newcomer is
  httpd::RunConfig config_;
  httpd::Instance old_;
  Context context_;
  // Both are held until the commit point, not longer: a port that is removed, or a server that is stopped while we wait
  // for the drain, must refuse its clients and not let them wait in a queue that only we keep open.
  std::vector<handover::Listener> old_listeners_;
  std::vector<handover::Listener> listeners_;  ///< the newcomer's
  std::string listener_text_;
  std::optional<Newcomer> newcomer_;
  httpd::Control newcomer_control_;
  Traffic old_traffic_;
  uint32_t old_queue_ = 0;
  int64_t probes_sent_ = 0;
  std::optional<int64_t> switched_ms_;
  os::Clock::Steady drain_began_;
  std::optional<httpd::Status> last_status_;

  int interrupted_by_ = 0;
  bool locked_out_ = false;  ///< another command holds the lock
  bool committed_ = false;
  bool old_gone_ = false;
  bool old_gone_told_ = false;
  bool newcomer_gone_ = false;
  bool cut_ = false;
  std::string cut_text_;
};

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

  for (const Step step : kSteps) {
    Outcome outcome = Do(step);
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

os::Status Upgrade::Record(Step step) {
  auto facts = Ordered();
  if (step == Step::kPlanned) {
    facts.set("orchestrator", ::getpid());
    facts.set("server_root", config_.server_root);
    facts.set("config_file", config_.config_file);
    facts.set("binary", program_.binary.string());
    facts.set("version", config_.version);
    facts.set("old_pid", old_.id.pid);
    facts.set("old_start_time", static_cast<int64_t>(old_.id.start_time));
    facts.set("boot_id", old_.id.boot_id);
    facts.set("old_version", old_.hello.version);
    facts.set("old_binary", context_.binary.string());
    Poco::JSON::Array listeners;
    for (const auto& line : config_.listen) listeners.add(line.address);
    facts.set("listeners", listeners);
  }
  if (newcomer_) {
    facts.set("new_pid", newcomer_->pid());
    if (auto id = os::Identify(newcomer_->pid()); id) {
      facts.set("new_start_time", static_cast<int64_t>(id.value().start_time));
    }
  }
  return journal_->Begin(step, facts);
}

int Upgrade::End(std::string_view status, int exit_status, const std::string& reason) {
  if (journal_) {
    if (auto ended = journal_->End(exit_status, reason); !ended) report_.Note(ended.error().Text());
  }
  if (lock_) lock_->Release();
  notify_.reset();
  auto more = Ordered();
  if (switched_ms_) more.set("switched_ms", *switched_ms_);
  if (old_.id.pid != 0) more.set("old_pid", old_.id.pid);
  if (newcomer_) more.set("new_pid", newcomer_->pid());
  if (committed_ && options_.detach) more.set("detached", true);
  report_.Result(status, exit_status, reason, more);
  return exit_status;
}

Upgrade::Woke Upgrade::Await(milliseconds limit, const std::function<bool()>& true_now) {
  const auto deadline = clock_.SteadyNow() + limit;
  for (;;) {
    if (true_now()) return Woke::kTrue;
    if (newcomer_gone_ && !committed_) return Woke::kNewcomerEnded;
    if (interrupted_by_ != 0 && !committed_) return Woke::kInterrupted;
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

// ---- planned -------------------------------------------------------------------------------------------------------

Outcome Upgrade::Plan() {
  auto program = ProgramOf(options_);
  if (!program) return {Event::kRefused, program.error().Text()};
  program_ = std::move(program).value();
  auto config = httpd::AskConfig(program_);
  if (!config) return {Event::kRefused, "the configuration is not usable: " + config.error().Text()};
  config_ = std::move(config).value();

  auto lock = RunLock::Acquire(config_.runtime_dir, "upgrade", clock_);
  if (!lock) {
    locked_out_ = lock.error().kind == os::ErrorKind::kBusy;
    return {Event::kRefused, lock.error().Text()};
  }
  lock_.emplace(std::move(lock).value());
  lock_->Say("planned");
  const std::string id =
      std::to_string(::getpid()) + "." + std::to_string(static_cast<int64_t>(UnixSeconds(clock_) * 1000));
  auto journal = Journal::Open(lock_->directory(), id, clock_);
  if (!journal) return {Event::kRefused, "the journal cannot be opened: " + journal.error().Text()};
  journal_.emplace(std::move(journal).value());

  auto old = httpd::FindServing(config_);
  if (!old) {
    if (old.error().kind != os::ErrorKind::kNotFound) return {Event::kRefused, old.error().Text()};
    return {Event::kRefused, "no instance is running: " + old.error().what + "; start one with orchestrator start"};
  }
  old_ = std::move(old).value();
  if (old_.hello.state != httpd::State::kServing && old_.hello.state != httpd::State::kPaused) {
    return {Event::kRefused, "process " + std::to_string(old_.id.pid) + " is " +
                                 std::string(httpd::StateName(old_.hello.state)) + " and cannot be upgraded"};
  }
  WatchOld();

  if (Outcome found = FindPrograms(); found.event != Event::kSucceeded) return found;
  if (auto recorded = Record(Step::kPlanned); !recorded) {
    return {Event::kRefused, "the journal cannot be written: " + recorded.error().Text()};
  }
  if (auto checked = httpd::CheckConfig(program_); !checked) {
    return {Event::kRefused, "the configuration is not usable: " + checked.error().Text()};
  }
  if (std::string too_many = CheckDraining(); !too_many.empty()) return {Event::kRefused, too_many};
  if (Outcome prepared = PrepareListeners(); prepared.event != Event::kSucceeded) return prepared;
  if (std::string tight = CheckHeadroom(); !tight.empty()) return {Event::kRefused, tight};
  if (auto status = old_.control.AskStatus(); status) {
    old_traffic_ = {status.value().accesses, status.value().errors};
  } else {
    return {Event::kRefused, "the running instance does not tell its status: " + status.error().Text()};
  }
  old_queue_ = QueueDepth(old_listeners_);
  loop_->Turn(milliseconds(0));
  if (old_gone_) {
    return {Event::kOldEnded, "the running instance " + std::to_string(old_.id.pid) +
                                  " ended while the upgrade was planned; start one with orchestrator start"};
  }
  return {Event::kSucceeded, "replace process " + std::to_string(old_.id.pid) + " (" + old_.hello.version + ") by " +
                                 program_.binary.string() + " (" + config_.version + "); " + listener_text_};
}

/// Completes program_: the running server's binary unless --binary was given, its own -D, -C and -c, its environment.
Outcome Upgrade::FindPrograms() {
  auto context = ReadContext(old_.id.pid);
  if (!context) return {Event::kRefused, context.error().Text()};
  context_ = std::move(context).value();
  for (const std::string& note : context_.notes) report_.Note(note);
  if (options_.binary.empty() && !context_.binary.empty()) program_.binary = context_.binary;
  std::vector<std::string> arguments = KeptArguments(context_.arguments);
  // A define that the running server has, and that was typed again, is one define.
  for (const std::string& name : options_.defines) {
    bool known = false;
    for (size_t i = 0; i + 1 < arguments.size(); ++i)
      known = known || (arguments[i] == "-D" && arguments[i + 1] == name);
    if (!known) arguments.insert(arguments.end(), {"-D", name});
  }
  program_.arguments = std::move(arguments);
  program_.environment = context_.environment;
  program_.directory = context_.directory;
  if (program_.server_root.empty()) program_.server_root = config_.server_root;
  if (program_.config_file.empty()) program_.config_file = config_.config_file;
  auto config = httpd::AskConfig(program_);
  if (!config) return {Event::kRefused, "the configuration is not usable: " + config.error().Text()};
  if (config.value().runtime_dir != config_.runtime_dir) {
    return {Event::kRefused, "the running server's own options lead to another runtime directory (" +
                                 config.value().runtime_dir.string() + ") than -d, -f and -D say (" +
                                 config_.runtime_dir.string() + "); give the same -D"};
  }
  config_ = std::move(config).value();
  return {};
}

std::string Upgrade::CheckDraining() const {
  auto list = httpd::ListInstances(config_.runtime_dir);
  if (!list) return list.error().Text();
  const auto draining = std::count_if(list.value().begin(), list.value().end(), [](const httpd::Found& found) {
    return found.hello && found.hello->state == httpd::State::kDraining;
  });
  if (draining < options_.max_draining) return "";
  return CountOf(draining, "older instance") + " still drain, and --max-draining is " +
         std::to_string(options_.max_draining) + ": wait, or shorten GracefulShutdownTimeout";
}

std::string Upgrade::CheckHeadroom() const {
  const Footprint old = Measure(old_.id.pid);
  for (const auto& [which, limit] : context_.limits) {
    if (which != RLIMIT_NOFILE || limit.rlim_cur == RLIM_INFINITY) continue;
    const auto needed = old.parent_descriptors + static_cast<int64_t>(listeners_.size()) + 16;
    if (static_cast<int64_t>(limit.rlim_cur) < needed) {
      return "the new instance needs about " + std::to_string(needed) + " descriptors and may have " +
             std::to_string(limit.rlim_cur) + ": raise the limit of open files (ulimit -n) of the server";
    }
  }
  if (auto text = os::ReadFile("/proc/sys/fs/file-nr"); text) {
    char* at = text.value().data();
    const int64_t used = std::strtoll(at, &at, 10);
    std::strtoll(at, &at, 10);
    const int64_t most = std::strtoll(at, &at, 10);
    if (most > 0 && most - used < old.all_descriptors) {
      return "the machine has " + std::to_string(most - used) + " descriptors left and a second instance needs about " +
             std::to_string(old.all_descriptors) + ": raise fs.file-max";
    }
  }
  if (auto text = os::ReadFile("/proc/meminfo"); text) {
    const size_t at = text.value().find("MemAvailable:");
    if (at != std::string::npos) {
      const int64_t available = std::strtoll(text.value().c_str() + at + 13, nullptr, 10) * 1024;
      if (available < old.memory) {
        return "a second instance needs about " + Megabytes(old.memory) + " of memory and " + Megabytes(available) +
               " are available";
      }
    }
  }
  struct statvfs disk {};
  if (::statvfs(config_.runtime_dir.c_str(), &disk) == 0) {
    const auto bytes = static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
    if (bytes < (4 << 20) || (disk.f_files > 0 && disk.f_favail < 64)) {
      return "the file system of " + config_.runtime_dir.string() + " is full (" + Megabytes(bytes) + ", " +
             std::to_string(disk.f_favail) + " inodes left): make room first";
    }
  }
  return "";
}

Outcome Upgrade::PrepareListeners() {
  auto old_ones = old_.control.Listeners();
  if (!old_ones) {
    return {Event::kRefused, "the running instance does not hand out its listeners: " + old_ones.error().Text()};
  }
  old_listeners_ = std::move(old_ones).value();
  std::vector<std::string> have;
  std::vector<std::string> want;
  for (const auto& listener : old_listeners_) have.push_back(listener.address.Text());
  for (const auto& line : config_.listen) want.push_back(line.address);
  if (want.empty()) return {Event::kRefused, "the configuration has no Listen: there is nothing to serve"};
  const ListenerDiff diff = CompareListeners(have, want);
  for (const auto& line : config_.listen) {
    const auto held = std::find_if(old_listeners_.begin(), old_listeners_.end(),
                                   [&](const auto& l) { return l.address.Text() == line.address; });
    if (held != old_listeners_.end()) {
      const int copy = ::fcntl(held->fd.get(), F_DUPFD_CLOEXEC, 3);
      if (copy < 0) {
        const int sys = errno;
        return {Event::kRefused, os::SysError(sys, "copy a listening socket").Text()};
      }
      listeners_.push_back({held->address, held->name, os::Fd(copy)});
      continue;
    }
    auto bound = BindListener(line.address);
    if (!bound) {
      std::string why = "cannot " + bound.error().Text();
      if (!line.place.file.empty()) {
        why += " (Listen on line " + std::to_string(line.place.line) + " of " + line.place.file + ")";
      }
      return {Event::kRefused, why};
    }
    listeners_.push_back(std::move(bound).value());
  }
  listener_text_ = diff.Text();
  return {};
}

// ---- launched, ready, probed ---------------------------------------------------------------------------------------

Outcome Upgrade::Launch() {
  const auto path = lock_->directory() / ("notify." + std::to_string(::getpid()));
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
  newcomer_.emplace(std::move(started).value());
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
  if (hello.value().state != httpd::State::kStandby) {
    return {Event::kFailed,
            "the new instance is " + std::string(httpd::StateName(hello.value().state)) + " instead of in standby"};
  }
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
  std::string failed = RunProbes();
  loop_->Turn(milliseconds(0));
  if (newcomer_gone_) return NewcomerEnded();
  if (!failed.empty()) return {Event::kFailed, std::move(failed)};
  return {Event::kSucceeded, CountOf(static_cast<int64_t>(options_.probes.size()), "probe") + " passed"};
}

// ---- switched, baked -----------------------------------------------------------------------------------------------

Outcome Upgrade::Switch() {
  old_queue_ = std::max(old_queue_, QueueDepth(old_listeners_));
  if (auto status = old_.control.AskStatus(); status) {
    old_traffic_ = {status.value().accesses, status.value().errors};
  }
  if (auto on = newcomer_control_.Accept(true); !on) {
    loop_->Turn(milliseconds(0));
    if (newcomer_gone_) return NewcomerEnded();
    return {Event::kFailed, "the new instance does not accept: " + on.error().Text()};
  }
  switched_ms_ = report_.ElapsedMs();
  auto pid = os::ReadPidFile(config_.pid_file);
  if (!pid || pid.value() != newcomer_->pid()) {
    return {Event::kFailed, config_.pid_file.string() + " does not name the new instance after the switch"};
  }
  if (auto off = old_.control.Accept(false); !off) {
    if (!old_.process.HasEnded()) {
      return {Event::kFailed, "the old instance does not stop accepting: " + off.error().Text()};
    }
    old_gone_ = true;
  }
  return {Event::kSucceeded,
          "process " + std::to_string(newcomer_->pid()) + " accepts, " +
              (old_gone_ ? "the old one has gone" : "process " + std::to_string(old_.id.pid) + " is paused")};
}

Outcome Upgrade::Bake() {
  if (options_.bake.count() == 0) return {Event::kSucceeded, "not watched (--bake 0)"};
  QueueTrend queue(old_queue_);
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
    if (clock_.SteadyNow() < next_probe) continue;
    next_probe = clock_.SteadyNow() + seconds(1);
    const std::string failed = RunProbes();
    loop_->Turn(milliseconds(0));
    if (newcomer_gone_) return NewcomerEnded();
    if (!failed.empty()) return {Event::kFailed, "during the bake time, " + failed};
    auto status = newcomer_control_.AskStatus();
    if (!status) return {Event::kFailed, "the new instance does not tell its status: " + status.error().Text()};
    now = {status.value().accesses, status.value().errors};
    if (IsErrorRateWorse(old_traffic_, now)) {
      return {Event::kFailed, "the new instance answered " + std::to_string(now.errors) + " of " +
                                  CountOf(now.requests, "request") + " with an error (the old one " +
                                  std::to_string(old_traffic_.errors) + " of " + std::to_string(old_traffic_.requests) +
                                  ")"};
    }
  }
  return {Event::kSucceeded,
          CountOf(now.requests, "request") + ", " + CountOf(now.errors, "error") + " in " + Seconds(options_.bake)};
}

// ---- draining, done ------------------------------------------------------------------------------------------------

Outcome Upgrade::Drain() {
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
  if (auto told = old_.control.Drain(timeout, intake.value()); !told) {
    if (old_.process.HasEnded()) {
      old_gone_ = true;
    } else if (told.error().kind != os::ErrorKind::kTimeout) {
      return {Event::kFailed, "the old instance does not leave: " + told.error().Text()};
    } else if (auto signaled = old_.process.Signal(SIGWINCH); !signaled) {
      return {Event::kFailed, "the old instance cannot be told to leave: " + signaled.error().Text()};
    }
  }
  Commit();
  RedirectDrainers(intake.value());
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
  listeners_.clear();
}

/// Instances of earlier upgrades pass their idle connections to the one that has just been told to leave; from now on
/// they pass them to the newcomer. Who cannot be told serves what it has to the end, as before.
void Upgrade::RedirectDrainers(const os::Fd& intake) {
  auto list = httpd::ListInstances(config_.runtime_dir);
  if (!list) return;
  for (const httpd::Found& found : list.value()) {
    if (!found.hello || found.hello->state != httpd::State::kDraining || found.pid == old_.id.pid) continue;
    auto control = httpd::Control::Connect(config_.runtime_dir, found.pid);
    if (!control) continue;
    if (auto told = control.value().Redirect(intake); !told) {
      report_.Note("process " + std::to_string(found.pid) + " goes on passing connections to process " +
                   std::to_string(old_.id.pid) + ": " + told.error().Text());
    }
  }
}

Outcome Upgrade::AwaitOldGone() {
  const int timeout = options_.graceful_shutdown_timeout.value_or(config_.graceful_shutdown_timeout);
  const auto deadline = drain_began_ + (timeout == 0 ? kForEver : milliseconds(seconds(timeout)));
  bool term_sent = false;
  bool kill_sent = false;
  auto next_line = clock_.SteadyNow() + seconds(1);
  while (!old_gone_) {
    // Near the deadline the instance is asked more often: what it had then is what is cut.
    const auto to_deadline = deadline - clock_.SteadyNow();
    const bool near = to_deadline < milliseconds(1500) && to_deadline > milliseconds(-500);
    Await(near ? milliseconds(50) : milliseconds(250), [this] { return old_gone_; });
    if (old_gone_) break;
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
    }
    if (!kill_sent && now >= deadline + kTermAfter + kKillAfter) {
      kill_sent = true;
      report_.Note("process " + std::to_string(old_.id.pid) + " ignores TERM: KILL");
      if (!old_.process.Signal(SIGKILL)) old_gone_ = old_.process.HasEnded();
    }
  }
  const bool at_deadline = timeout != 0 && clock_.SteadyNow() >= deadline - milliseconds(50);
  const int64_t busy = last_status_ ? last_status_->busy : 0;
  handover::RemoveInstanceFiles(config_.runtime_dir, old_.id.pid);  // it did so itself, unless it was killed
  if (at_deadline && (busy > 0 || (kill_sent && !last_status_))) {
    cut_ = true;
    cut_text_ = CountOf(busy, "request") + " of process " + std::to_string(old_.id.pid) + " " +
                (busy == 1 ? "was" : "were") + " cut at the deadline of " + Seconds(seconds(timeout)) +
                (kill_sent   ? ", and it had to be killed"
                 : term_sent ? ", and it needed a TERM"
                             : "") +
                "; the new instance serves";
  }
  return {Event::kSucceeded, "process " + std::to_string(old_.id.pid) + " has gone"};
}

// ---- the way back --------------------------------------------------------------------------------------------------

int Upgrade::TakeBack(Step at, const std::string& reason) {
  std::vector<std::string> problems;
  bool gone = true;
  lock_->Say("rolling back");
  for (const Undo undo : UndoOf(at)) {
    switch (undo) {
      case Undo::kResumeOld: {
        if (old_.process.HasEnded()) {
          old_gone_ = true;
          break;
        }
        auto on = old_.control.Accept(true);
        if (on) break;
        if (!newcomer_->HasEnded()) {
          newcomer_control_.Close();
          return End("failed", kExitFailed,
                     reason + "; and the old instance does not accept again (" + on.error().Text() +
                         "): the new one, process " + std::to_string(newcomer_->pid()) + ", goes on serving");
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
        break;
      }
      case Undo::kStopNewcomer:
        loop_->Unwatch(newcomer_->process().fd());
        loop_->Unwatch(newcomer_->errors());
        gone = newcomer_->End(&newcomer_control_, clock_);
        newcomer_control_.Close();
        break;
      case Undo::kRemoveNewcomerFiles:
        handover::RemoveInstanceFiles(config_.runtime_dir, newcomer_->pid());
        break;
    }
  }
  if (!gone) {
    problems.push_back("something of the process group " + std::to_string(newcomer_->pid()) + " is still running");
  }
  std::string sentence = reason;
  for (const std::string& problem : problems) sentence += "; " + problem;
  if (old_gone_ || old_.process.HasEnded()) {
    return End(
        "failed", kExitFailed,
        sentence + "; and the old instance has ended meanwhile: nobody serves, start it with orchestrator start");
  }
  return End("rolled back", kExitRolledBack, "rolled back: " + sentence);
}

}  // namespace

int RunUpgrade(const Options& options, Report& report, os::Clock& clock) {
  return Upgrade(options, report, clock).Run();
}

}  // namespace orchestrator
