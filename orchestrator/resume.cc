#include "orchestrator/resume.h"

#include <Poco/JSON/Parser.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "handover/instance_files.h"
#include "orchestrator/departure.h"
#include "orchestrator/drivers/httpd.h"
#include "orchestrator/faults.h"
#include "orchestrator/instances.h"
#include "orchestrator/plan.h"
#include "orchestrator/versions.h"
#include "os/file.h"
#include "os/pid_file.h"

namespace orchestrator {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr milliseconds kSettle{2000};     // a process on its way in or out may have no socket for a moment
constexpr milliseconds kTermAfter{2000};  // after the old instance's own deadline
constexpr milliseconds kStopPatience{5000};
constexpr int kRetireSeconds = 10;
constexpr int kRounds = 6;

/// What was noted before a step; "" = nothing.
std::string FactText(const UpgradeRecord& record, Step step, const std::string& name) {
  const auto found =
      std::find_if(record.steps.begin(), record.steps.end(), [step](const auto& one) { return one.step == step; });
  if (found == record.steps.end()) return "";
  try {
    Poco::JSON::Parser parser;
    return parser.parse(found->facts).extract<Poco::JSON::Object::Ptr>()->optValue<std::string>(name, "");
  } catch (const Poco::Exception&) {
    return "";  // not ours: as if it had not been written
  }
}

/// Who was started for the record, if it still runs: killed between the start and the note of its pid, the
/// orchestrator left no more than the name of the socket that it gave it.
std::optional<os::ProcessId> NewcomerOf(const UpgradeRecord& record) {
  if (record.intent.to.id.pid != 0) return record.intent.to.id;
  const std::string notify = FactText(record, Step::kLaunched, "notify");
  const pid_t pid = notify.empty() ? 0 : FindLaunched(notify);
  if (pid == 0) return std::nullopt;
  auto id = os::Identify(pid);
  return id ? std::optional(id.value()) : std::nullopt;
}

/// Readiness sockets of orchestrators that died. Who holds the lock knows that no other one launches anything.
void SweepSockets(const std::filesystem::path& directory, Report& report) {
  auto names = os::ListDirectory(directory);
  if (!names) return;
  for (const std::string& name : names.value()) {
    if (!name.starts_with("notify.")) continue;
    if (auto removed = os::RemoveFile(directory / name); !removed) report.Note(removed.error().Text());
  }
}

/// One instance of a record as it is now.
struct Side {
  Condition condition = Condition::kGone;
  os::ProcessHandle process;
  httpd::Control control;  ///< valid unless it is gone or mute
};

class Recovery {
 public:
  Recovery(const Site& site, Journal& journal, UpgradeRecord record, Report& report, os::Clock& clock)
      : site_(site),
        journal_(journal),
        record_(std::move(record)),
        step_(record_.LastBegun().value_or(Step::kPlanned)),
        report_(report),
        clock_(clock) {}

  /// Everything but the waiting for an old instance that leaves.
  void Begin();
  /// The rest, and the end of the record.
  Recovered Finish(Patience patience);

 private:
  enum class Next { kDone, kLookAgain };

  void Look();
  Side LookAt(const os::ProcessId& id, Step since);
  bool AnotherServes() const;
  void Explain(Verdict verdict);
  Next TakeBack();
  Next Forward();
  Next StartOld();
  void StopNewcomer();
  httpd::Program OldProgram() const;
  void Settle(int exit_status, std::string sentence);
  milliseconds UntilDeadline() const;
  std::string OldName() const { return "process " + std::to_string(record_.intent.from.id.pid); }
  std::string NewName() const { return "process " + std::to_string(record_.intent.to.id.pid); }

  const Site& site_;
  Journal& journal_;
  UpgradeRecord record_;
  Step step_;
  Report& report_;
  os::Clock& clock_;
  Side old_;
  Side new_;
  std::optional<Verdict> explained_;
  bool leaving_ = false;  ///< the old instance is waited for
  Recovered result_;
  bool settled_ = false;
  int64_t told_ms_ = 0;  ///< steady time at which it was told to leave
};

// ---- looking -------------------------------------------------------------------------------------------------------

Side Recovery::LookAt(const os::ProcessId& id, Step since) {
  Side side;
  if (id.pid == 0 || step_ < since || !os::IsRunning(id)) return side;
  if (auto process = os::ProcessHandle::Open(id.pid); process) side.process = std::move(process).value();
  const auto deadline = clock_.SteadyNow() + kSettle;
  for (;;) {
    auto instance = httpd::OpenInstance(site_.config.runtime_dir, id.pid);
    if (!os::IsRunning(id)) return Side();
    if (instance) {
      side.control = std::move(instance.value().control);
      switch (instance.value().hello.state) {
        case httpd::State::kServing:
        case httpd::State::kPaused:
          side.condition = Condition::kAble;
          break;
        case httpd::State::kStandby:
          side.condition = Condition::kStandby;
          break;
        case httpd::State::kDraining:
        case httpd::State::kUnknown:  // starting without a launcher, or stopping
          side.condition = Condition::kLeaving;
          break;
      }
      return side;
    }
    const os::Error& error = instance.error();
    const bool between = error.kind == os::ErrorKind::kNotFound || error.sys == ECONNREFUSED ||
                         error.sys == ECONNRESET || error.sys == EPIPE;
    if (!between || clock_.SteadyNow() >= deadline) {
      side.condition = Condition::kMute;
      return side;
    }
    clock_.Sleep(milliseconds(20));
  }
}

bool Recovery::AnotherServes() const {
  auto list = httpd::ListInstances(site_.config.runtime_dir);
  if (!list) return false;
  return std::any_of(list.value().begin(), list.value().end(), [this](const httpd::Found& found) {
    return found.hello && found.hello->state == httpd::State::kServing && found.pid != record_.intent.from.id.pid &&
           found.pid != record_.intent.to.id.pid;
  });
}

void Recovery::Look() {
  if (const auto id = NewcomerOf(record_); id && record_.intent.to.id.pid == 0) {
    record_.intent.to.id = *id;
    if (auto named = journal_.NameNewcomer(record_.id, *id); !named) report_.Note(named.error().Text());
  }
  old_ = LookAt(record_.intent.from.id, Step::kPlanned);
  new_ = LookAt(record_.intent.to.id, Step::kLaunched);
  if (old_.condition == Condition::kStandby) old_.condition = Condition::kAble;
  const bool weak = new_.condition == Condition::kGone || new_.condition == Condition::kLeaving;
  if (weak && old_.condition != Condition::kAble && AnotherServes()) new_.condition = Condition::kReplaced;
}

void Recovery::Explain(Verdict verdict) {
  if (explained_ == verdict) return;
  explained_ = verdict;
  const std::string_view what = verdict == Verdict::kNothing    ? "nobody is left over"
                                : verdict == Verdict::kTakeBack ? "it is taken back"
                                : verdict == Verdict::kForward  ? "it is finished"
                                : verdict == Verdict::kStartOld ? "the old version is started again"
                                                                : "that cannot be decided here";
  std::string sentence = "the " + record_.intent.command + " that " + record_.user + " began at " +
                         LocalTime(static_cast<int64_t>(record_.began)) + " was interrupted at the step " +
                         std::string(StepName(step_)) + ": the old instance (" + OldName() + ") " +
                         std::string(ConditionText(old_.condition));
  if (record_.intent.to.id.pid == 0) {
    sentence += ", no new one runs";
  } else {
    sentence += ", the new one (" + NewName() + ") " + std::string(ConditionText(new_.condition));
  }
  sentence += ": " + std::string(what);
  auto more = Ordered();
  more.set("upgrade", record_.id);
  more.set("step", std::string(StepName(step_)));
  more.set("text", sentence);
  report_.Event("interrupted", sentence, more);
}

// ---- doing ---------------------------------------------------------------------------------------------------------

void Recovery::Settle(int exit_status, std::string sentence) {
  result_ = {exit_status, std::move(sentence)};
  settled_ = true;
}

void Recovery::Begin() {
  if (auto ours = journal_.TakeUp(record_.id); !ours) return Settle(kExitFailed, ours.error().Text());
  Fault("resume.taken-up");
  for (int round = 0; round < kRounds; ++round) {
    Look();
    const Verdict verdict = JudgeRecovery(step_, old_.condition, new_.condition).value_or(Verdict::kStuck);
    Explain(verdict);
    Next next = Next::kDone;
    switch (verdict) {
      case Verdict::kNothing:
        Settle(kExitDone, "done: " + OldName() + " has gone, and another instance serves");
        break;
      case Verdict::kTakeBack:
        next = TakeBack();
        break;
      case Verdict::kForward:
        next = Forward();
        break;
      case Verdict::kStartOld:
        next = StartOld();
        break;
      case Verdict::kStuck: {
        const bool new_mute = new_.condition == Condition::kMute;
        const std::string pid = std::to_string(new_mute ? record_.intent.to.id.pid : record_.intent.from.id.pid);
        Settle(kExitFailed, "process " + pid + " runs and does not answer, so whether anybody serves is not known; " +
                                "end it with kill -9 " + pid + " and run orchestrator resume again");
        break;
      }
    }
    if (next == Next::kDone) return;
  }
  Settle(kExitFailed, "the instances of the interrupted upgrade keep changing: run orchestrator resume again");
}

Recovery::Next Recovery::TakeBack() {
  for (const Undo undo : UndoOf(std::min(step_, Step::kDraining))) {  // an old one that can serve was not told to leave
    switch (undo) {
      case Undo::kResumeOld:
        if (!old_.control.Accept(true)) return Next::kLookAgain;
        Fault("resume.resumed");
        break;
      case Undo::kRetireNewcomer: {
        if (!new_.control.valid() || new_.condition == Condition::kStandby) break;
        auto intake = old_.control.Adopt();
        if (!intake) break;
        if (new_.control.Drain(kRetireSeconds, intake.value()) || new_.condition == Condition::kLeaving) {
          new_.process.WaitForEnd(kRetireSeconds * 1000 + 500);
        }
        Fault("resume.retired");
        break;
      }
      case Undo::kStopNewcomer:
        StopNewcomer();
        Fault("resume.stopped");
        break;
      case Undo::kRemoveNewcomerFiles:
        if (record_.intent.to.id.pid > 0) {
          handover::RemoveInstanceFiles(site_.config.runtime_dir, record_.intent.to.id.pid);
        }
        Fault("resume.removed");
        break;
    }
  }
  Settle(kExitRolledBack, "rolled back: it was interrupted at the step " + std::string(StepName(step_)) + "; " +
                              OldName() + " (version " + record_.intent.from.version + ") serves");
  return Next::kDone;
}

void Recovery::StopNewcomer() {
  const os::ProcessId& id = record_.intent.to.id;
  if (id.pid == 0) return;
  if (new_.process.valid() && !new_.process.HasEnded()) {
    // A refusal means that it is on its way already: the TERM below is for one that does not go.
    if (!new_.control.valid() || !new_.control.Stop()) {
      if (!new_.process.Signal(SIGTERM)) new_.process.WaitForEnd(0);
    }
    AwaitEnd(new_.process, kStopPatience, report_);
  }
  // Only who was seen alive leads a group that is certainly ours; children of one that was killed go by themselves.
  const bool gone =
      new_.process.valid() ? EndGroup(id.pid, clock_) : os::Identify(id.pid) || AwaitGroup(id.pid, clock_);
  if (!gone) report_.Note("something of the process group " + std::to_string(id.pid) + " is still running");
}

Recovery::Next Recovery::Forward() {
  const bool third = new_.condition == Condition::kReplaced;
  if (!third) {
    if (!new_.control.Accept(true)) return Next::kLookAgain;
    Fault("resume.accepts");
  }
  const int timeout = record_.intent.graceful_shutdown_timeout;
  const auto now_ms = std::chrono::duration_cast<milliseconds>(clock_.SteadyNow().time_since_epoch()).count();
  const auto recorded = std::atoll(FactText(record_, Step::kDraining, "steady_ms").c_str());
  told_ms_ = recorded > 0 && old_.condition != Condition::kAble ? recorded : now_ms;
  if (step_ < Step::kDraining || told_ms_ == now_ms) {
    auto facts = Ordered();
    facts.set("steady_ms", told_ms_);
    if (auto begun = journal_.BeginStep(record_.id, Step::kDraining, facts); !begun) {
      Settle(kExitFailed, "the journal cannot be written: " + begun.error().Text());
      return Next::kDone;
    }
    step_ = std::max(step_, Step::kDraining);
  }
  Fault("resume.recorded");
  if (old_.condition == Condition::kGone) return Next::kDone;
  leaving_ = true;
  if (old_.condition == Condition::kLeaving) return Next::kDone;
  os::Fd intake;
  if (!third) {
    auto adopted = new_.control.Adopt();
    if (!adopted) return Next::kLookAgain;
    intake = std::move(adopted).value();
  }
  if (!old_.control.valid() || !old_.control.Drain(timeout, intake, httpd::Control::CutList::kWrite)) {
    if (old_.process.HasEnded()) return Next::kDone;
    if (auto told = old_.process.Signal(SIGWINCH); !told) return Next::kLookAgain;
  }
  Fault("resume.told");
  return Next::kDone;
}

/// The kept copy of what ran, or, when it could not be kept, what it had been started from.
httpd::Program Recovery::OldProgram() const {
  const Party& from = record_.intent.from;
  if (!from.kept.empty()) {
    auto version = FindVersion(site_.config.runtime_dir, from.kept);
    auto program =
        version ? ProgramOfVersion(version.value(), from.environment) : os::Result<httpd::Program>(version.error());
    if (program) return program.value();
    report_.Note("the kept version " + from.kept + " cannot be used: " + program.error().Text());
  }
  httpd::Program program;
  program.binary = from.binary;
  program.server_root = from.server_root;
  program.config_file = from.config_file;
  program.arguments = from.arguments;
  program.environment = from.environment;
  program.directory = from.directory.empty() ? "/" : from.directory;
  return program;
}

Recovery::Next Recovery::StartOld() {
  const Party& from = record_.intent.from;
  // Who is stopped in order takes its PidFile along; who is killed does not.
  auto named = os::ReadPidFile(site_.config.pid_file);
  if (!named || (named.value() != from.id.pid && named.value() != record_.intent.to.id.pid)) {
    StopNewcomer();
    Settle(kExitDone, "done: the server has been stopped since; start it with orchestrator start");
    return Next::kDone;
  }
  StopNewcomer();
  Fault("resume.starting");
  const httpd::Program program = OldProgram();
  auto config = httpd::AskConfig(program);
  if (!config) {
    Settle(kExitFailed, "nobody serves, and the old version cannot be started again: " + config.error().Text());
    return Next::kDone;
  }
  auto started = StartServer(program, config.value(), record_.intent.ready_timeout, clock_);
  if (!started) {
    Settle(kExitFailed, "nobody serves, and the old version does not start: " + started.error().Text());
    return Next::kDone;
  }
  Fault("resume.started");
  Settle(kExitRolledBack, "rolled back: it was interrupted at the step " + std::string(StepName(step_)) +
                              " and nobody served, so version " + started.value().hello.version +
                              " was started again as process " + std::to_string(started.value().id.pid));
  return Next::kDone;
}

// ---- the end -------------------------------------------------------------------------------------------------------

milliseconds Recovery::UntilDeadline() const {
  const auto now_ms = std::chrono::duration_cast<milliseconds>(clock_.SteadyNow().time_since_epoch()).count();
  return milliseconds(told_ms_ + record_.intent.graceful_shutdown_timeout * 1000 - now_ms);
}

Recovered Recovery::Finish(Patience patience) {
  Losses losses;
  if (leaving_ && !settled_) {
    const int timeout = record_.intent.graceful_shutdown_timeout;
    int64_t busy = 0;
    auto next_line = clock_.SteadyNow() + seconds(1);
    bool in_time = true;
    while (!old_.process.HasEnded()) {
      const milliseconds left = UntilDeadline();
      if (timeout != 0 && left + kTermAfter <= milliseconds(0)) {
        in_time = false;
        break;
      }
      if (patience == Patience::kNone) break;
      const bool near = timeout != 0 && left < milliseconds(1500);
      if (old_.process.WaitForEnd(near ? 50 : 250)) break;
      auto status = old_.control.valid() ? old_.control.AskStatus(200)
                                         : os::Result<httpd::Status>(os::Error{os::ErrorKind::kIo, 0, ""});
      if (!status) continue;
      if (timeout == 0 || left > milliseconds(0)) busy = status.value().busy;
      if (clock_.SteadyNow() < next_line) continue;
      next_line = clock_.SteadyNow() + seconds(1);
      auto more = Ordered();
      more.set("pid", record_.intent.from.id.pid);
      more.set("connections", status.value().connections);
      more.set("busy", status.value().busy);
      more.set("oldest_ms", status.value().oldest_ms);
      report_.Progress(CountOf(status.value().connections, "connection") + ", " +
                           CountOf(status.value().busy, "request") + " left in " + OldName(),
                       more);
    }
    if (!in_time) AwaitEnd(old_.process, milliseconds(0), report_);
    if (timeout != 0 && UntilDeadline() <= milliseconds(50)) losses.cut = busy;
    if (!old_.process.HasEnded()) {
      Settle(kExitDone, "done: the new instance serves; " + OldName() + " drains by itself");
    }
  }
  if (!settled_) {
    Fault("resume.gone");
    // Whether it went while we watched or before we looked.
    const auto listed = TakeCuts(site_.config.runtime_dir, record_.intent.from.id.pid, report_);
    if (listed) losses.cut = static_cast<int64_t>(listed->size());
    const std::string serves = record_.intent.to.id.pid > 0 ? NewName() : "another instance";
    if (losses.cut > 0) {
      Settle(kExitCut, CountOf(losses.cut, "request") + " of " + OldName() + " " + (losses.cut == 1 ? "was" : "were") +
                           " cut at the deadline of " + std::to_string(record_.intent.graceful_shutdown_timeout) +
                           " s; " + serves + " serves");
    } else {
      Settle(kExitDone, "done: " + serves + " (version " + record_.intent.to.version + ") has replaced " + OldName());
    }
  }
  if (result_.exit_status == kExitFailed) return result_;  // the record stays open: there is something left to do
  for (const os::ProcessId& id : {record_.intent.from.id, record_.intent.to.id}) {
    if (id.pid != 0 && !os::IsRunning(id)) RemoveFilesOfDead(site_.config.runtime_dir, id.pid, clock_);
  }
  if (auto ended = journal_.End(record_.id, result_.exit_status, result_.sentence, losses); !ended) {
    return {kExitFailed, ended.error().Text()};
  }
  return result_;
}

int Fail(Report& report, const os::Error& error) {
  const int exit_status = error.kind == os::ErrorKind::kBusy ? kExitBusy : kExitFailed;
  report.Result("failed", exit_status, error.Text());
  return exit_status;
}

}  // namespace

Recovered Recover(const Site& site, RunLock& lock, Journal& journal, Patience patience, Report& report,
                  os::Clock& clock) {
  auto records = journal.Interrupted();
  if (!records) return {kExitFailed, records.error().Text()};
  SweepSockets(lock.directory(), report);
  // Newest first: it is the one that says who serves, the older ones only wait for somebody to leave.
  std::vector<std::unique_ptr<Recovery>> recoveries;
  for (auto record = records.value().rbegin(); record != records.value().rend(); ++record) {
    lock.Say("resuming");
    recoveries.push_back(std::make_unique<Recovery>(site, journal, std::move(*record), report, clock));
    recoveries.back()->Begin();
  }
  if (patience == Patience::kUntilGone && !recoveries.empty()) lock.Release();
  Recovered all;
  for (const auto& recovery : recoveries) {
    const Recovered one = recovery->Finish(patience);
    if (!all.sentence.empty()) all.sentence += "; ";
    all.sentence += one.sentence;
    if (one.exit_status == kExitFailed || all.exit_status == kExitDone) all.exit_status = one.exit_status;
  }
  return all;
}

int RunResume(const Options& options, Report& report, os::Clock& clock) {
  auto site = FindSite(options);
  if (!site) return Fail(report, site.error());
  auto lock = RunLock::Acquire(site.value().config.runtime_dir, "resume", clock);
  if (!lock) return Fail(report, lock.error());
  auto journal = Journal::Open(lock.value().directory(), Journal::Mode::kCreate, clock);
  if (!journal) return Fail(report, journal.error());
  if (!journal.value().Note().empty()) report.Note(journal.value().Note());
  const Recovered recovered = Recover(site.value(), lock.value(), journal.value(), Patience::kUntilGone, report, clock);
  if (recovered.sentence.empty() && recovered.exit_status == kExitDone) {
    report.Result("done", kExitDone, "no upgrade was interrupted: nothing to do");
    return kExitDone;
  }
  const char* status = recovered.exit_status == kExitFailed       ? "failed"
                       : recovered.exit_status == kExitRolledBack ? "rolled back"
                                                                  : "done";
  report.Result(status, recovered.exit_status, recovered.sentence);
  return recovered.exit_status;
}

void ForgetInterrupted(const RunLock& lock, Report& report, os::Clock& clock) {
  auto journal = Journal::Open(lock.directory(), Journal::Mode::kExisting, clock);
  if (!journal) {
    if (journal.error().kind != os::ErrorKind::kNotFound) report.Note(journal.error().Text());
    return;
  }
  SweepSockets(lock.directory(), report);
  auto records = journal.value().Interrupted();
  if (!records) return report.Note(records.error().Text());
  for (const UpgradeRecord& record : records.value()) {
    // Those who answer have been stopped; one that was still starting could not be asked.
    if (const auto id = NewcomerOf(record); id && os::IsRunning(*id)) {
      if (auto process = os::ProcessHandle::Open(id->pid); process && process.value().Signal(SIGTERM)) {
        AwaitEnd(process.value(), kStopPatience, report);
      }
    }
    if (auto ended = journal.value().End(record.id, kExitFailed, "interrupted, and everything was stopped since");
        !ended) {
      report.Note(ended.error().Text());
    }
  }
}

std::string InterruptedText(const std::filesystem::path& runtime_dir, const os::Clock& clock) {
  auto journal = Journal::Open(runtime_dir / "orchestrator", Journal::Mode::kExisting, clock);
  if (!journal) return "";
  auto records = journal.value().Interrupted();
  if (!records || records.value().empty()) return "";
  const UpgradeRecord& record = records.value().back();
  return "an upgrade of " + record.user + " was interrupted at " + LocalTime(static_cast<int64_t>(record.began)) +
         ", step " + std::string(StepName(record.LastBegun().value_or(Step::kPlanned))) +
         ": orchestrator resume finishes it or takes it back";
}

}  // namespace orchestrator
