#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "os/clock.h"
#include "os/error.h"
#include "os/fd.h"
#include "os/lock_file.h"
#include "os/poll.h"
#include "os/process.h"
#include "rotatelogs/ledger.h"
#include "rotatelogs/processor.h"
#include "rotatelogs/report.h"
#include "rotatelogs/seal.h"
#include "rotatelogs/workers.h"

namespace rotatelogs {

class Job;

/// What the jobs of a run share. Everything is used on the loop's thread only.
struct RunContext {
  const RunOptions& options;
  os::Clock& clock;
  Reporter& report;
  os::PollLoop& loop;
  Workers& workers;
  Ledger* ledger;  ///< null in a dry run without one
  MeetingPlaces& places;
  std::filesystem::path claims;          ///< directory of the claims' locks
  std::filesystem::path out;             ///< absolute; empty without --out
  std::string program;                   ///< of the command, found in PATH; empty: nothing is run
  std::vector<std::string> environment;  ///< for the command, without what differs from segment to segment

  Counters counters;
  std::set<pid_t> groups;          ///< process groups of the commands that run
  std::vector<Job*> unsaved;       ///< want their record in the ledger, then Saved()
  std::vector<Record> notes;       ///< the same for records that no job waits for
  std::vector<Job*> unsynced;      ///< want directory() on disk, then Synced()
  std::optional<os::Error> fatal;  ///< the run cannot go on
};

/// One segment's way through a run: seal, claim, command, commit, compression. Nothing blocks for longer than a system
/// call: what reads or writes whole files goes to the workers, and the ledger is written for all jobs together, in one
/// transaction (RunContext::unsaved); a step's effect comes after the note that announces it is durable.
///
/// Crash    the record's state says what the next run has to do: see State in ledger.h, and Prepare().
/// Owner    of the segment's descriptor, the claim's lock and the command. The lock is inherited by the command, so
///          that after a crash of ours nobody takes up the segment while something of that command still runs.
class Job {
 public:
  enum class Stage {
    kNew,
    kDigesting,   ///< a worker reads the segment
    kReady,       ///< waits for Start()
    kClaiming,    ///< a note is being saved: the claim
    kRunning,     ///< the command runs
    kSyncing,     ///< a worker brings its output to disk
    kCommitting,  ///< being saved, then renamed and synced
    kNoting,      ///< being saved: how it ended
    kPlanning,    ///< being saved: the name of the copy to come
    kCopying,     ///< a worker compresses
    kArchiving,   ///< being saved, then renamed and synced
    kClosing,     ///< being saved: compressed
    kFinished
  };

  /// @param id  what `path` was when the pattern matched it
  /// @param known  its state then; kOpen also for what the ledger does not know
  Job(RunContext& run, std::string path, std::string id, State known);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  Stage stage() const { return stage_; }
  bool finished() const { return stage_ == Stage::kFinished; }
  /// It takes one of the places that --jobs gives.
  bool busy() const;
  const std::string& path() const { return path_; }
  const Record& record() const { return record_; }
  const std::filesystem::path& directory() const { return directory_; }
  os::Clock::Steady sealed_at() const { return sealed_at_; }

  void Prepare();      ///< seal, lock, look up; leads to kDigesting, a later stage (what a crash left), or kFinished
  void Start();        ///< kReady: claims it
  void NoteSealed();   ///< kReady for a while: lets the ledger know
  void Interrupt();    ///< the run shall end: its command gets SIGTERM, 5 s later SIGKILL
  void KillCommand();  ///< SIGKILL for its process group
  void Saved();
  void Synced();

 private:
  bool SealIt();
  void Decide();
  void Digest();
  void StartCommand();
  std::string Spawn(const os::Fd& input);
  void OnWords();
  void OnDeadline();
  void OnEnded();
  void SyncOutput();
  void RenameOutput();
  void NoteDone();
  void Fail(const std::string& why, bool for_good);
  void Release();

  void PlanCopy();
  void StartCopy();
  void RenameArchive();
  void CopyFailed(const std::string& why);

  void Save(Stage stage);
  void Announce(std::string event, std::string detail);
  void DropTemporary();
  bool WantsCopy() const;
  std::string TemporaryCopy() const;
  void Finish();

  RunContext& run_;
  std::string path_;
  std::string id_;
  State known_;
  Stage stage_ = Stage::kNew;
  Record record_;
  os::Fd segment_;
  struct stat status_ {};
  os::Clock::Steady sealed_at_{};
  bool noted_sealed_ = false;
  os::LockFile claim_;
  std::filesystem::path directory_;  // to be synced
  int names_tried_ = 0;
  std::string event_;  // to be announced when the record is saved
  std::string detail_;

  os::Fd output_;
  os::ProcessHandle child_;
  os::Fd words_;
  os::PollLoop::TimerId timer_ = 0;
  bool timed_out_ = false;
  bool interrupted_ = false;
  bool copying_ = false;  // PlanCopy() was chosen, or the record was noted with a temporary copy's name
};

}  // namespace rotatelogs
