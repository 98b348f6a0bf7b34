#include "rotatelogs/processor.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <list>
#include <set>
#include <sstream>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "os/file.h"
#include "os/lock_file.h"
#include "os/signals.h"
#include "rotatelogs/expiry.h"
#include "rotatelogs/fault.h"
#include "rotatelogs/identity.h"
#include "rotatelogs/job.h"
#include "rotatelogs/ledger.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::Error;
namespace fs = std::filesystem;

namespace {

fs::path Absolute(const fs::path& path) {
  std::error_code failed;
  const fs::path out = fs::absolute(path, failed);
  return failed ? path : out.lexically_normal();
}

/// PATH search, which Spawn() leaves to its callers.
std::string FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* variable = ::getenv("PATH");
  std::istringstream list(variable ? variable : "/usr/local/bin:/usr/bin:/bin");
  for (std::string directory; std::getline(list, directory, ':');) {
    const std::string path = (directory.empty() ? "." : directory) + "/" + name;
    if (::access(path.c_str(), X_OK) == 0 && !fs::is_directory(path)) return path;
  }
  return name;
}

/// Something to do, found by a pattern or left by a crash.
struct Work {
  std::string path;
  std::string id;
  State known = State::kOpen;
  int64_t changed = 0;  // nanoseconds; the oldest first
};

class Run {
 public:
  Run(const RunOptions& options, os::Clock& clock, int terminal, const Say& say, const Say& complain)
      : options_(options),
        clock_(clock),
        progress_(terminal, clock),
        report_(options.json, clock, say, complain, progress_),
        places_(clock) {}

  RunOutcome All() {
    ::signal(SIGIO, SIG_IGN);  // an opener breaks our read lease in the moment that we hold it
    auto signals = os::SignalFd::Open({SIGTERM, SIGINT, SIGHUP});
    if (!signals) return Fatal(signals.error());
    auto loop = os::PollLoop::Open(clock_);
    if (!loop) return Fatal(loop.error());
    auto workers = Workers::Open(*loop.value(), Threads());
    if (!workers) return Fatal(workers.error());
    if (auto opened = OpenLedger(); !opened) return Fatal(opened.error());
    RunContext context{options_,
                       clock_,
                       report_,
                       *loop.value(),
                       *workers.value(),
                       ledger_.get(),
                       places_,
                       options_.ledger.string() + ".claims",
                       options_.out.empty() ? fs::path() : Absolute(options_.out),
                       options_.command.empty() ? std::string() : FindProgram(options_.command[0]),
                       os::Environment({"SEGMENT", "SEGMENT_ID", "ATTEMPT", "SHA256", "BYTES", "LINES"}),
                       {},
                       {},
                       {},
                       {},
                       {},
                       {}};
    run_ = &context;
    auto watched = loop.value()->Watch(signals.value().fd(), EPOLLIN, [this, &signals](uint32_t) {
      while (const auto signal = signals.value().Read()) OnSignal(signal->number);
    });
    if (!watched) return Fatal(watched.error());
    if (!options_.dry_run) {
      if (auto made = os::MakeDirectories(context.claims, 0700); !made) return Fatal(made.error());
      if (!context.out.empty()) {
        if (auto made = os::MakeDirectories(context.out); !made) return Fatal(made.error());
      }
      SweepClaims();
    }
    Scan();
    AddLeftovers();
    std::stable_sort(work_.begin(), work_.end(), [](const Work& a, const Work& b) { return a.changed < b.changed; });
    begun_ = clock_.SteadyNow();
    Schedule();
    workers.value().reset();  // before the jobs that its threads look at
    jobs_.clear();
    if (!context.fatal && signal_ == 0) Expire();
    progress_.Clear();
    if (context.fatal) return Fatal(*context.fatal);
    report_.Summary(context.counters);
    return {context.counters.failed > 0 ? 1 : 0, signal_};
  }

 private:
  RunOutcome Fatal(const Error& error) {
    report_.Complain(error.Text());
    return {3, signal_};
  }

  size_t Threads() const {
    return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, static_cast<size_t>(options_.jobs));
  }

  os::Status OpenLedger() {
    if (options_.dry_run && !fs::exists(options_.ledger)) return os::kDone;
    auto opened = Ledger::Open(options_.ledger, options_.dry_run ? Ledger::Mode::kReadOnly : Ledger::Mode::kCreate);
    if (!opened) return opened.error();
    ledger_ = std::move(opened).value();
    auto known = ledger_->AllKnown();
    if (!known) return known.error();
    known_ = std::move(known).value();
    auto unfinished = ledger_->Unfinished();
    if (!unfinished) return unfinished.error();
    for (Record& record : unfinished.value()) unfinished_.emplace(record.id, std::move(record));
    return os::kDone;
  }

  /// A run that was killed after its last note left its claims' locks behind.
  void SweepClaims() {
    auto names = os::ListDirectory(run_->claims);
    if (!names) return;
    for (const std::string& name : names.value()) {
      const auto id = FileId::Parse(name);
      const auto known = id ? known_.find(*id) : known_.end();
      if (known == known_.end() || !IsSettled(known->second.state) || unfinished_.count(name) > 0) continue;
      auto claim = os::LockFile::Acquire(run_->claims / name, 0ms, clock_);
      if (claim) (void)os::RemoveFile(run_->claims / name).has_value();
    }
  }

  /// Calls `visit(path, status, id)` for every regular file that a pattern matches, in the directory's order.
  template <class F>
  void ForEachFile(F visit) {
    for (const std::string& pattern : options_.patterns) {
      const std::string absolute = pattern.starts_with('/') ? pattern : fs::current_path().string() + "/" + pattern;
      glob_t found{};
      if (::glob(absolute.c_str(), GLOB_NOSORT, nullptr, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; ++i) {
          struct statx status {};
          if (const auto id = identifier_.Look(found.gl_pathv[i], status)) visit(found.gl_pathv[i], status, *id);
        }
      }
      ::globfree(&found);
    }
  }

  static int64_t ChangedAt(const struct statx& status) {
    return status.stx_mtime.tv_sec * 1'000'000'000 + status.stx_mtime.tv_nsec;
  }

  /// Notes what there is to do. Cheap for what was done before: this is what a run with nothing new consists of.
  void Scan() {
    std::unordered_set<FileId, FileIdHash> seen;  // one file under two names (-L) is one segment
    const int64_t now = UnixNow(clock_);
    ForEachFile([&](const char* path, const struct statx& status, const FileId& id) {
      State state = State::kOpen;
      const auto known = known_.find(id);
      if (known != known_.end()) {
        if (known->second.role == Role::kOutput) return;
        state = known->second.state;
        const bool copies = state == State::kDone && options_.compress != Compression::kNone;
        if (known->second.role == Role::kArchive || (IsSettled(state) && !copies)) {
          if (state == State::kExpired) expired_left_ = true;
          if (!std::exchange(known->second.seen, true)) ++run_->counters.settled;
          return;
        }
      }
      if (!seen.insert(id).second) return;
      const std::string hex = id.Hex();
      if (options_.command.empty() && !IsSettled(state) && state != State::kCommitting && state != State::kArchiving) {
        ++run_->counters.waiting;
        return;
      }
      const std::string normal = fs::path(path).lexically_normal().string();
      if (state == State::kRetry) {
        const Record& record = unfinished_[hex];
        if (record.next_at > now) {
          ++run_->counters.waiting;
          report_.Event("waiting", normal, hex,
                        "attempt " + std::to_string(record.attempts + 1) + " is due in " +
                            std::to_string(record.next_at - now) + " s");
          return;
        }
      }
      work_.push_back({normal, hex, state, ChangedAt(status)});
    });
    for (const Work& work : work_) unfinished_.erase(work.id);
  }

  /// What a crash left and no pattern found: an output or a copy to be given its name, a temporary file to be removed.
  void AddLeftovers() {
    if (options_.dry_run) return;
    for (auto& [id, record] : unfinished_) {
      if (record.state == State::kCommitting || record.state == State::kArchiving || IsSettled(record.state) ||
          (record.state == State::kClaimed && IdentityAt(record.path) != id)) {
        work_.push_back({record.path, id, record.state, 0});
      }
    }
  }

  void Schedule() {
    size_t next = 0;
    const size_t places = static_cast<size_t>(options_.jobs);
    for (;;) {
      jobs_.remove_if([](const Job& job) { return job.finished(); });
      if (run_->fatal) return Abandon();
      // Prepared ahead, so that a place is filled in the very transaction that notes the end of the work before it.
      const auto room = [&] { return signal_ == 0 && next < work_.size() && Waiting() < places + 1; };
      for (int i = 0; i < 16 && room() && !run_->fatal; ++i) {
        const Work& work = work_[next++];
        jobs_.emplace_back(*run_, work.path, work.id, work.known);
        jobs_.back().Prepare();
        if (jobs_.back().finished()) jobs_.pop_back();
        Draw(next);
      }
      size_t busy = 0;
      for (const Job& job : jobs_) busy += job.busy() ? 1 : 0;
      for (Job& job : jobs_) {
        if (job.stage() == Job::Stage::kDigesting) break;  // oldest first: nobody overtakes
        if (job.stage() != Job::Stage::kReady) continue;
        if (busy >= places) break;
        job.Start();
        busy += job.busy() ? 1 : 0;
      }
      const auto now = clock_.SteadyNow();
      for (Job& job : jobs_) {
        if (job.stage() == Job::Stage::kReady && now - job.sealed_at() > 1s) job.NoteSealed();
      }
      SaveAll(!room());
      Draw(next);
      if (run_->fatal) continue;
      if (jobs_.empty() && !room()) return;
      const bool at_once = !run_->unsaved.empty() || AnyFinished() || room();
      run_->loop.Turn(at_once ? 0ms : 1000ms);
    }
  }

  size_t Waiting() const {
    size_t out = 0;
    for (const Job& job : jobs_) {
      out += job.stage() == Job::Stage::kDigesting || job.stage() == Job::Stage::kReady ? 1 : 0;
    }
    return out;
  }

  bool AnyFinished() const {
    return std::any_of(jobs_.begin(), jobs_.end(), [](const Job& job) { return job.finished(); });
  }

  /// One transaction for everything that wants to be noted, then its effects, then the directories.
  /// @param idle  nothing else will want a transaction soon: what nobody waits for is written too
  void SaveAll(bool idle) {
    if (!run_->unsaved.empty() || (idle && !run_->notes.empty())) {
      std::vector<const Record*> records;
      for (const Record& note : run_->notes) records.push_back(&note);
      for (const Job* job : run_->unsaved) records.push_back(&job->record());
      FaultPoint(Step::kSaving, run_->groups);
      if (auto saved = ledger_->Put(records); !saved) {
        run_->fatal = saved.error();
        return;
      }
      run_->notes.clear();
      for (Job* job : std::exchange(run_->unsaved, {})) job->Saved();
    }
    const auto unsynced = std::exchange(run_->unsynced, {});
    std::set<fs::path> directories;
    for (const Job* job : unsynced) directories.insert(job->directory());
    for (const fs::path& directory : directories) {
      if (auto synced = os::SyncDirectory(directory); !synced) report_.Complain(synced.error().Text());
    }
    for (Job* job : unsynced) job->Synced();
  }

  /// The ledger cannot be written any more: what runs is ended, and the records stay as the last note left them.
  void Abandon() {
    for (Job& job : jobs_) job.KillCommand();
    run_->workers.RequestStop();
  }

  void OnSignal(int number) {
    if (signal_ != 0) {  // the second one: no more patience
      for (Job& job : jobs_) job.KillCommand();
      return;
    }
    signal_ = number;
    run_->workers.RequestStop();
    for (Job& job : jobs_) job.Interrupt();
  }

  void Draw(size_t next) {
    if (!progress_.shown() || work_.empty()) return;
    size_t open = 0;
    std::string current;
    for (const Job& job : jobs_) {
      if (job.finished()) continue;
      ++open;
      if (job.busy() || current.empty()) current = fs::path(job.path()).filename().string();
    }
    progress_.Update({static_cast<int64_t>(next - std::min(open, next)), run_->counters.failed,
                      static_cast<int64_t>(work_.size()), current, clock_.SteadyNow() - begun_});
  }

  /// After the work, because only what is done may go.
  void Expire() {
    if (!ledger_ || (!options_.keep.Any() && !expired_left_)) return;
    const Counters& counters = run_->counters;
    if (!options_.dry_run && counters.done + counters.compressed + counters.failed > 0 && options_.keep.Any()) {
      auto known = ledger_->AllKnown();
      if (!known) {
        run_->fatal = known.error();
        return;
      }
      known_ = std::move(known).value();
    }
    Expiry expiry(*run_, options_.keep);
    std::unordered_set<FileId, FileIdHash> seen;
    ForEachFile([&](const char* path, const struct statx& status, const FileId& id) {
      if (!seen.insert(id).second) return;
      const auto known = known_.find(id);
      if (known == known_.end()) {
        expiry.Add(path, id.Hex(), id.Hex(), State::kOpen, Role::kSegment, ChangedAt(status),
                   static_cast<int64_t>(status.stx_size));
      } else if (known->second.role != Role::kOutput) {
        expiry.Add(path, id.Hex(), known->second.segment.Hex(), known->second.state, known->second.role,
                   ChangedAt(status), static_cast<int64_t>(status.stx_size));
      }
    });
    if (auto expired = expiry.Apply(); !expired) run_->fatal = expired.error();
  }

  const RunOptions& options_;
  os::Clock& clock_;
  Progress progress_;
  Reporter report_;
  MeetingPlaces places_;
  Identifier identifier_;
  std::unique_ptr<Ledger> ledger_;
  KnownFiles known_;
  std::unordered_map<std::string, Record> unfinished_;
  std::vector<Work> work_;
  std::list<Job> jobs_;
  RunContext* run_ = nullptr;
  os::Clock::Steady begun_{};
  int signal_ = 0;
  bool expired_left_ = false;  // a run died between the note and the removal
};

}  // namespace

RunOutcome RunProcesslogs(const RunOptions& options, os::Clock& clock, int terminal, const Say& say,
                          const Say& complain) {
  return Run(options, clock, terminal, say, complain).All();
}

}  // namespace rotatelogs
