#pragma once

#include <Poco/JSON/Object.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "orchestrator/plan.h"
#include "os/clock.h"
#include "os/error.h"
#include "os/process.h"

namespace orchestrator {

/// One of the two instances of an upgrade, as far as it is known, and what it takes to start it once more.
struct Party {
  os::ProcessId id;  ///< pid 0: there is none, or not yet
  std::string version;
  std::string binary;
  std::string server_root;
  std::string config_file;
  std::string kept;                      ///< id of the copy of binary and configuration (versions.h); "" = none
  std::vector<std::string> arguments;    ///< -D, -C, -c ... of its command line
  std::vector<std::string> environment;  ///< complete; forgotten when the upgrade ends: it may hold secrets
  std::string directory;                 ///< working directory
};

/// What an upgrade sets out to do.
struct Intent {
  std::string command;  ///< "upgrade", "rollback", "start"
  Party from;
  Party to;                            ///< without its pid: NameNewcomer() tells that
  std::vector<std::string> listeners;  ///< address texts, the newcomer's
  std::chrono::milliseconds ready_timeout{0};
  std::chrono::milliseconds bake{0};
  int graceful_shutdown_timeout = 0;  ///< seconds, 0 = no limit
};

struct StepRecord {
  Step step = Step::kPlanned;
  double began = 0;             ///< unix seconds
  std::optional<double> ended;  ///< nothing: it did not come to its end
  std::string result;           ///< "succeeded", "failed", ... (EventName); "" with no `ended`
  std::string detail;
  std::string facts;  ///< JSON object, what a recovery needs to know
};

/// What clients lost by an upgrade, as far as the instances tell.
struct Losses {
  int64_t cut = 0;     ///< requests cut at the deadline
  int64_t errors = 0;  ///< 5xx of the newcomer while it was watched
};

/// Everything that is known of one upgrade.
struct UpgradeRecord {
  int64_t id = 0;              ///< grows by one with each upgrade of this runtime directory
  Intent intent;               ///< intent.to has its pid once it was started
  os::ProcessId orchestrator;  ///< who does it: the one that began it, or the one that took it up again
  std::string user;
  double began = 0;  ///< unix seconds
  std::optional<double> ended;
  std::vector<StepRecord> steps;  ///< in the order in which they began
  int exit_status = 0;            ///< of an ended one
  std::string reason;
  Losses losses;

  /// The furthest step that was begun; nothing: none was.
  std::optional<Step> LastBegun() const;
};

/// What upgrades did, do and are about to do: each step is on disk *before* its effect, so that whoever comes after a
/// crash knows what may have happened.
///
/// File     <runtime_dir>/orchestrator/journal.db, 0600: SQLite, write-ahead log, synchronous=FULL. A call that returns
///          success is durable. While a command runs, and after a crash, there are journal.db-wal and journal.db-shm
///          too.
/// Damage   a file that is no database, or a damaged one, is renamed to journal.db.damaged-<unix seconds> and a new one
///          begun: a broken history must not stand in the way of an upgrade. Note() says so.
///          A file named `journal`, which earlier builds wrote, is removed.
/// Format   PRAGMA user_version. One that is newer than ours is refused, not guessed at.
/// Keeps    the last 100 upgrades, and every one that has not ended.
/// Shared   by several commands at once (an upgrade may begin while the old instance of an earlier one drains); a
///          writer waits at most 10 s for another.
/// Errors   kIo (a full disk, too), kBusy, kDenied, kInvalid (newer format); `what` names the file.
class Journal {
 public:
  enum class Mode {
    kCreate,    ///< made when it is missing; set aside when it is damaged
    kExisting,  ///< kNotFound when it is missing; a damaged one is left alone (kIo): for those who only look
  };

  /// @param directory  <runtime_dir>/orchestrator, must exist
  static os::Result<Journal> Open(const std::filesystem::path& directory, Mode mode, const os::Clock& clock);
  Journal(Journal&&) noexcept;
  ~Journal();

  const std::string& Note() const;  ///< a sentence for the user about what Open() found; "" = nothing

  /// Begins a record in our own name. @return its id
  os::Result<int64_t> BeginUpgrade(const Intent& intent);
  /// Before the effect of a step. A step that is begun again (a recovery does so) begins anew in its place.
  os::Status BeginStep(int64_t upgrade, Step step, const Poco::JSON::Object& facts);
  os::Status EndStep(int64_t upgrade, Step step, std::string_view result, const std::string& detail);
  /// The newcomer has been started: who it is.
  os::Status NameNewcomer(int64_t upgrade, const os::ProcessId& id);
  /// Ids of the kept copies (versions.h); "" = none, or not yet.
  os::Status NameKept(int64_t upgrade, const std::string& from, const std::string& to);
  os::Status End(int64_t upgrade, int exit_status, const std::string& reason, const Losses& losses = {});
  /// From now on the upgrade is ours: while we live it does not count as interrupted.
  os::Status TakeUp(int64_t upgrade);

  /// Newest first, at most `most`. What upgrades of other commands do right now is in it.
  os::Result<std::vector<UpgradeRecord>> History(int most = kKept) const;
  /// Those without an end whose orchestrator no longer runs (pid, start time and boot id), oldest first.
  os::Result<std::vector<UpgradeRecord>> Interrupted() const;

  static constexpr int kKept = 100;

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace orchestrator
