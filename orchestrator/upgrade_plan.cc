#include "orchestrator/upgrade_run.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "orchestrator/check.h"
#include "orchestrator/faults.h"
#include "orchestrator/listeners.h"
#include "orchestrator/resume.h"
#include "orchestrator/site.h"
#include "os/file.h"

namespace orchestrator {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

std::string Megabytes(int64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

}  // namespace

// ---- planned -------------------------------------------------------------------------------------------------------

Outcome Upgrade::Plan() {
  auto program = ProgramOf(options_);
  if (!program) return {Event::kRefused, program.error().Text()};
  program_ = std::move(program).value();
  auto config = httpd::AskConfig(program_);
  if (!config) return {Event::kRefused, "the configuration is not usable: " + config.error().Text()};
  config_ = std::move(config).value();

  if (Outcome outcome = options_.dry_run ? LookAround() : TakeCharge(); outcome.event != Event::kSucceeded) {
    return outcome;
  }
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
  ObserveOld();

  if (Outcome found = FindPrograms(); found.event != Event::kSucceeded) return found;
  if (!options_.dry_run) {
    if (auto recorded = RecordIntent(); !recorded) {
      return {Event::kRefused, "the journal cannot be written: " + recorded.error().Text()};
    }
  }
  Fault("planned.recorded");
  if (auto checked = httpd::CheckConfig(program_); !checked) {
    return {Event::kRefused, "the configuration is not usable: " + checked.error().Text()};
  }
  if (Outcome shared = CheckSharedState(); shared.event != Event::kSucceeded) return shared;
  if (std::string too_many = CheckDraining(); !too_many.empty()) return {Event::kRefused, too_many};
  if (Outcome prepared = PrepareListeners(); prepared.event != Event::kSucceeded) return prepared;
  Fault("planned.listeners");
  if (std::string tight = CheckHeadroom(); !tight.empty()) return {Event::kRefused, tight};
  if (!options_.dry_run) {
    if (Outcome kept = KeepOld(); kept.event != Event::kSucceeded) return kept;
  }
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
                                 program_.binary.string() + " (" + config_.version + "); " + listener_diff_.Text()};
}

Outcome Upgrade::TakeCharge() {
  auto lock = RunLock::Acquire(config_.runtime_dir, CommandName(), clock_);
  if (!lock) {
    locked_out_ = lock.error().kind == os::ErrorKind::kBusy;
    return {Event::kRefused, lock.error().Text()};
  }
  lock_.emplace(std::move(lock).value());
  lock_->Say("planned");
  RemoveStaleCutLists(config_.runtime_dir, clock_);
  auto journal = Journal::Open(lock_->directory(), Journal::Mode::kCreate, clock_);
  if (!journal) return {Event::kRefused, "the journal cannot be opened: " + journal.error().Text()};
  journal_.emplace(std::move(journal).value());
  if (!journal_->Note().empty()) report_.Note(journal_->Note());
  Fault("planned.locked");
  // An upgrade whose orchestrator died comes first; under our lock, and without waiting for who drains.
  const Recovered recovered = Recover({program_, config_}, *lock_, *journal_, Patience::kNone, report_, clock_);
  if (recovered.exit_status == kExitFailed) return {Event::kRefused, recovered.sentence};
  if (!recovered.sentence.empty()) report_.Note(recovered.sentence);
  return {};
}

Outcome Upgrade::LookAround() {
  if (const auto holder = CurrentHolder(config_.runtime_dir)) {
    auto id = os::Identify(static_cast<pid_t>(holder->pid));
    if (id && id.value().start_time == holder->start_time) {
      locked_out_ = true;
      return {Event::kRefused, holder->command + " is running: process " + std::to_string(holder->pid) + " of user " +
                                   holder->user + " since " + LocalTime(holder->since) + ", step " + holder->step};
    }
  }
  if (const std::string text = InterruptedText(config_.runtime_dir, clock_); !text.empty()) report_.Note(text);
  return {};
}

Outcome Upgrade::KeepOld() {
  auto kept = KeepVersion(config_.runtime_dir, old_, clock_);
  if (!kept && kept.error().kind == os::ErrorKind::kDenied) {
    // A confined command (a unit without CAP_SYS_PTRACE) may not read another user's /proc/PID/exe. That is no reason
    // to keep a server from being upgraded; what is lost is the way back after the commit point.
    report_.Note("what runs now is not kept: " + kept.error().Text() +
                 "; if the new instance dies while the old one drains, nothing can take its place");
    return {};
  }
  if (!kept) {
    return {Event::kRefused, "what runs now cannot be kept for the way back: " + kept.error().Text()};
  }
  old_version_ = std::move(kept).value();
  if (auto named = journal_->NameKept(record_, old_version_->id, target_ ? target_->id : ""); !named) {
    return {Event::kRefused, "the journal cannot be written: " + named.error().Text()};
  }
  return {};
}

/// Completes program_: the running server's binary unless --binary was given, its own -D, -C and -c, its environment.
Outcome Upgrade::FindPrograms() {
  auto context = ReadContext(old_.id.pid);
  if (!context) return {Event::kRefused, context.error().Text()};
  context_ = std::move(context).value();
  for (const std::string& note : context_.notes) report_.Note(note);
  if (options_.command == Command::kRollback) return FindPrevious();
  // An instance that a rollback started from copies is followed by what they are copies of.
  const auto of_binary = VersionOfCopy(config_.runtime_dir, context_.binary);
  const auto of_config = VersionOfCopy(config_.runtime_dir, old_.hello.config_file);
  if (options_.binary.empty() && !context_.binary.empty()) {
    const bool origin = of_binary && ::access(of_binary.value().original_binary.c_str(), X_OK) == 0;
    program_.binary = origin ? of_binary.value().original_binary : context_.binary;
  }
  std::vector<std::string> arguments = KeptArguments(of_config ? of_config.value().arguments : context_.arguments);
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
    const int64_t copy = BytesToKeep(config_.runtime_dir, old_.id.pid);
    if (copy > 0 && bytes < (4 << 20) + copy) {
      return "the file system of " + config_.runtime_dir.string() + " has " + Megabytes(bytes) +
             " left and the copy of the running server for the way back needs " + Megabytes(copy + (4 << 20)) +
             ": make room first";
    }
    if (bytes < (4 << 20) || (disk.f_files > 0 && disk.f_favail < 64)) {
      return "the file system of " + config_.runtime_dir.string() + " is full (" + Megabytes(bytes) + ", " +
             std::to_string(disk.f_favail) + " inodes left): make room first";
    }
  }
  return "";
}

Outcome Upgrade::CheckSharedState() {
  Surroundings around;
  around.server_root = config_.server_root;
  around.uid = context_.uid.value_or(::geteuid());
  around.gid = context_.gid.value_or(::getegid());
  around.groups = context_.groups;
  auto list = httpd::ListInstances(config_.runtime_dir);
  if (!list) return {Event::kRefused, list.error().Text()};
  around.instances = std::move(list).value();
  const std::vector<Finding> findings = FindShared(config_, around);
  for (const std::string& word : options_.accept_shared) {
    const auto accepts = [&](const Finding& finding) {
      return finding.severity == Finding::Severity::kDanger && (word == "all" || word == finding.id);
    };
    if (std::none_of(findings.begin(), findings.end(), accepts)) {
      report_.Note("--accept-shared " + word + " is not needed: nothing of that name is dangerous here");
    }
  }
  const std::vector<Finding> dangers = Unaccepted(findings, options_.accept_shared);
  if (dangers.empty()) return {};
  std::string names;
  for (const Finding& finding : dangers) {
    TellFinding(finding, report_);
    const std::string where = finding.Where();
    names += (names.empty() ? "" : ", ") + finding.id + (where.empty() ? "" : " (" + where + ")");
  }
  return {Event::kRefused, "two instances would share what they damage: " + names +
                               "; orchestrator check says what to do, --accept-shared NAME goes on all the same"};
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
  listener_diff_ = CompareListeners(have, want);
  for (const auto& line : config_.listen) {
    const auto held = std::find_if(old_listeners_.begin(), old_listeners_.end(),
                                   [&](const auto& l) { return l.address.Text() == line.address; });
    if (held != old_listeners_.end()) {
      auto copy = handover::CopyListener(*held);
      if (!copy) return {Event::kRefused, copy.error().Text()};
      listeners_.push_back(std::move(copy).value());
      continue;
    }
    if (options_.dry_run) {
      if (auto could = CanBind(line.address); !could) return {Event::kRefused, "cannot " + could.error().Text()};
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
  ObserveListeners(listener_diff_);
  return {};
}

}  // namespace orchestrator
