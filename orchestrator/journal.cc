#include "orchestrator/journal.h"

#include <Poco/Data/SQLite/Connector.h>
#include <Poco/Data/SQLite/SQLiteException.h>
#include <Poco/Data/Session.h>
#include <Poco/Data/Statement.h>
#include <Poco/Exception.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Parser.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <sstream>

#include "orchestrator/report.h"
#include "orchestrator/run_lock.h"
#include "os/file.h"

namespace orchestrator {

using os::Error;
using os::ErrorKind;
using os::kDone;
using os::Result;
using os::Status;
using namespace Poco::Data::Keywords;

namespace {

constexpr int64_t kFormat = 1;
constexpr int kPatienceSeconds = 10;
constexpr std::string_view kMagic = "SQLite format 3";

constexpr const char* kUpgrades =
    "CREATE TABLE upgrades (id INTEGER PRIMARY KEY AUTOINCREMENT, command TEXT NOT NULL, pid INTEGER NOT NULL, "
    "start_time INTEGER NOT NULL, boot_id TEXT NOT NULL, user TEXT NOT NULL, began REAL NOT NULL, "
    "ended REAL NOT NULL DEFAULT 0, intent TEXT NOT NULL, new_pid INTEGER NOT NULL DEFAULT 0, "
    "new_start_time INTEGER NOT NULL DEFAULT 0, new_boot_id TEXT NOT NULL DEFAULT '', "
    "exit INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '', cut INTEGER NOT NULL DEFAULT 0, "
    "errors INTEGER NOT NULL DEFAULT 0)";
constexpr const char* kStepTable =
    "CREATE TABLE steps (upgrade INTEGER NOT NULL REFERENCES upgrades(id), step TEXT NOT NULL, began REAL NOT NULL, "
    "ended REAL NOT NULL DEFAULT 0, result TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '', "
    "facts TEXT NOT NULL, PRIMARY KEY (upgrade, step))";

/// Poco's exceptions end here.
template <class F>
auto Guard(const std::filesystem::path& path, F body) -> decltype(body()) {
  const auto error = [&path](ErrorKind kind, const std::string& text) {
    return Error{kind, 0, "journal " + path.string() + ": " + text};
  };
  try {
    return body();
  } catch (const Poco::Data::SQLite::DatabaseFullException&) {
    return error(ErrorKind::kIo, "no space is left on its file system");
  } catch (const Poco::Data::SQLite::DBLockedException&) {
    return error(ErrorKind::kBusy, "another process has held it for " + std::to_string(kPatienceSeconds) + " s");
  } catch (const Poco::Data::SQLite::TableLockedException&) {
    return error(ErrorKind::kBusy, "another process has held it for " + std::to_string(kPatienceSeconds) + " s");
  } catch (const Poco::Data::SQLite::CantOpenDBFileException& failed) {
    return error(ErrorKind::kDenied, failed.displayText());
  } catch (const Poco::Exception& failed) {
    return error(ErrorKind::kIo, failed.displayText());
  }
}

// ---- values as JSON text -------------------------------------------------------------------------------------------

Poco::JSON::Array ToArray(const std::vector<std::string>& texts) {
  Poco::JSON::Array out;
  for (const std::string& text : texts) out.add(text);
  return out;
}

std::vector<std::string> Texts(const Poco::JSON::Object& object, const std::string& name) {
  std::vector<std::string> out;
  const auto array = object.getArray(name);
  for (size_t i = 0; array && i < array->size(); ++i) {
    out.push_back(array->getElement<std::string>(static_cast<unsigned>(i)));
  }
  return out;
}

Poco::JSON::Object PartyToJson(const Party& party) {
  auto out = Ordered();
  out.set("pid", party.id.pid);
  out.set("start_time", static_cast<int64_t>(party.id.start_time));
  out.set("boot_id", party.id.boot_id);
  out.set("version", party.version);
  out.set("binary", party.binary);
  out.set("server_root", party.server_root);
  out.set("config_file", party.config_file);
  out.set("kept", party.kept);
  out.set("arguments", ToArray(party.arguments));
  out.set("environment", ToArray(party.environment));
  out.set("directory", party.directory);
  return out;
}

Party PartyFromJson(const Poco::JSON::Object::Ptr& object) {
  Party party;
  if (!object) return party;
  party.id.pid = object->optValue<int>("pid", 0);
  party.id.start_time = static_cast<uint64_t>(object->optValue<int64_t>("start_time", 0));
  party.id.boot_id = object->optValue<std::string>("boot_id", "");
  party.version = object->optValue<std::string>("version", "");
  party.binary = object->optValue<std::string>("binary", "");
  party.server_root = object->optValue<std::string>("server_root", "");
  party.config_file = object->optValue<std::string>("config_file", "");
  party.kept = object->optValue<std::string>("kept", "");
  party.arguments = Texts(*object, "arguments");
  party.environment = Texts(*object, "environment");
  party.directory = object->optValue<std::string>("directory", "");
  return party;
}

std::string IntentToJson(const Intent& intent) {
  auto out = Ordered();
  out.set("from", PartyToJson(intent.from));
  out.set("to", PartyToJson(intent.to));
  out.set("listeners", ToArray(intent.listeners));
  out.set("ready_timeout_ms", static_cast<int64_t>(intent.ready_timeout.count()));
  out.set("bake_ms", static_cast<int64_t>(intent.bake.count()));
  out.set("graceful_shutdown_timeout", intent.graceful_shutdown_timeout);
  return OneLine(out);
}

Intent IntentFromJson(const std::string& text) {
  Poco::JSON::Parser parser;
  const auto object = parser.parse(text).extract<Poco::JSON::Object::Ptr>();
  Intent intent;
  intent.from = PartyFromJson(object->getObject("from"));
  intent.to = PartyFromJson(object->getObject("to"));
  intent.listeners = Texts(*object, "listeners");
  intent.ready_timeout = std::chrono::milliseconds(object->optValue<int64_t>("ready_timeout_ms", 0));
  intent.bake = std::chrono::milliseconds(object->optValue<int64_t>("bake_ms", 0));
  intent.graceful_shutdown_timeout = object->optValue<int>("graceful_shutdown_timeout", 0);
  return intent;
}

std::optional<double> Moment(double at) {
  return at > 0 ? std::optional(at) : std::nullopt;
}

}  // namespace

std::optional<Step> UpgradeRecord::LastBegun() const {
  std::optional<Step> last;
  for (const StepRecord& step : steps) last = last ? std::max(*last, step.step) : step.step;
  return last;
}

struct Journal::Impl {
  std::filesystem::path path;
  Poco::Data::Session session;
  const os::Clock* clock;
  std::string note;

  double Now() const { return UnixSeconds(*clock); }
  std::vector<UpgradeRecord> Select(const std::string& where, int64_t most);
  std::vector<StepRecord> Steps(int64_t upgrade);
  Status Prepare();
};

namespace {

/// What sqlite3 itself would notice late, or never say by an exception of its own: a file that is something else.
bool IsNoDatabase(const std::filesystem::path& path) {
  auto file = os::Open(path, O_RDONLY);
  if (!file) return false;
  char head[kMagic.size()];
  const ssize_t n = ::read(file.value().get(), head, sizeof head);
  return n > 0 && std::string_view(head, static_cast<size_t>(n)) != kMagic;
}

/// What root makes for a server that another user runs is that user's (SQLite does the same for its two files). Root
/// reads it in any case, so a failure is of no consequence here.
void GiveToOwnerOf(const std::filesystem::path& directory, const os::Fd& file) {
  struct stat wanted {};
  if (::geteuid() != 0 || ::stat(directory.c_str(), &wanted) != 0) return;
  if (::fchown(file.get(), wanted.st_uid, static_cast<gid_t>(-1)) != 0) return;
}

/// True when the tables can be read from end to end and hold together.
bool IsSound(Poco::Data::Session& session) {
  try {
    std::string verdict;
    session << "PRAGMA quick_check(1)", into(verdict), limit(1), now;
    return verdict == "ok";
  } catch (const Poco::Data::SQLite::CorruptImageException&) {
    return false;
  } catch (const Poco::Data::SQLite::DBLockedException&) {
    throw;
  } catch (const Poco::Data::SQLite::SQLiteException& failed) {
    // "file is not a database" has no class of its own
    return failed.displayText().find("not a database") == std::string::npos;
  }
}

/// Several changes or none: what is not committed is rolled back. IMMEDIATE, so that it waits for its turn at once and
/// not in the middle, where SQLite would refuse.
class Transaction {
 public:
  explicit Transaction(Poco::Data::Session& session) : session_(&session) { *session_ << "BEGIN IMMEDIATE", now; }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction() {
    if (!session_) return;
    try {
      *session_ << "ROLLBACK", now;
    } catch (const Poco::Exception&) {  // SQLite has done it already, as it does on a full disk
      session_ = nullptr;
    }
  }
  void Commit() {
    *session_ << "COMMIT", now;
    session_ = nullptr;
  }

 private:
  Poco::Data::Session* session_;
};

Poco::Data::Session OpenSession(const std::filesystem::path& path) {
  Poco::Data::SQLite::Connector::registerConnector();
  Poco::Data::Session session("SQLite", path.string(), kPatienceSeconds);
  session << "PRAGMA busy_timeout = " + std::to_string(kPatienceSeconds * 1000), now;
  return session;
}

}  // namespace

Status Journal::Impl::Prepare() {
  int64_t format = 0;
  session << "PRAGMA user_version", into(format), limit(1), now;
  if (format > kFormat) {
    return Error{ErrorKind::kInvalid, 0,
                 "journal " + path.string() + " was written by a newer orchestrator (format " + std::to_string(format) +
                     ", this one knows " + std::to_string(kFormat) + "): use that one, or move the file away"};
  }
  std::string mode;
  session << "PRAGMA journal_mode = WAL", into(mode), limit(1), now;
  session << "PRAGMA synchronous = FULL", now;
  if (format == kFormat) return kDone;
  Transaction transaction(session);  // two commands may be the first ones
  session << "PRAGMA user_version", into(format), limit(1), now;
  if (format == 0) {
    session << kUpgrades, now;
    session << kStepTable, now;
    session << "PRAGMA user_version = " + std::to_string(kFormat), now;
  }
  transaction.Commit();
  return kDone;
}

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::Journal(Journal&&) noexcept = default;
Journal::~Journal() = default;

const std::string& Journal::Note() const {
  return impl_->note;
}

Result<Journal> Journal::Open(const std::filesystem::path& directory, Mode mode, const os::Clock& clock) {
  const auto path = directory / "journal.db";
  // SQLite gives journal.db-wal and -shm the permissions of the file itself.
  auto file = os::Open(path, O_RDWR | O_NOFOLLOW | (mode == Mode::kCreate ? O_CREAT : 0), 0600);
  if (!file) return file.error();
  GiveToOwnerOf(directory, file.value());
  file.value().Reset();
  if (mode == Mode::kCreate) {  // the text file of earlier builds: nothing in it can be resumed
    if (auto removed = os::RemoveFile(directory / "journal"); !removed) return removed.error();
  }
  return Guard(path, [&]() -> Result<Journal> {
    std::string note;
    bool sound = !IsNoDatabase(path);
    if (sound) {
      auto impl = std::make_unique<Impl>(Impl{path, OpenSession(path), &clock, ""});
      sound = IsSound(impl->session);
      if (sound) {
        if (auto prepared = impl->Prepare(); !prepared) return prepared.error();
        return Journal(std::move(impl));
      }
    }
    if (mode == Mode::kExisting) return Error{ErrorKind::kIo, 0, "journal " + path.string() + " is damaged"};
    const auto aside = path.string() + ".damaged-" + std::to_string(static_cast<int64_t>(UnixSeconds(clock)));
    if (::rename(path.c_str(), aside.c_str()) != 0) {
      const int sys = errno;
      return os::SysError(sys, "set the damaged journal " + path.string() + " aside");
    }
    for (const char* tail : {"-wal", "-shm"}) {
      if (auto removed = os::RemoveFile(path.string() + tail); !removed) return removed.error();
    }
    auto fresh = os::Open(path, O_RDWR | O_NOFOLLOW | O_CREAT, 0600);
    if (!fresh) return fresh.error();
    GiveToOwnerOf(directory, fresh.value());
    fresh.value().Reset();
    auto impl = std::make_unique<Impl>(Impl{path, OpenSession(path), &clock, ""});
    impl->note = "the journal was damaged: it is kept as " + aside + ", and a new one is begun";
    if (auto prepared = impl->Prepare(); !prepared) return prepared.error();
    return Journal(std::move(impl));
  });
}

// ---- writing -------------------------------------------------------------------------------------------------------

Result<int64_t> Journal::BeginUpgrade(const Intent& intent) {
  auto self = os::Identify(::getpid());
  if (!self) return self.error();
  return Guard(impl_->path, [&]() -> Result<int64_t> {
    auto& session = impl_->session;
    std::string command = intent.command;
    int64_t pid = self.value().pid;
    auto start_time = static_cast<int64_t>(self.value().start_time);
    std::string boot_id = self.value().boot_id;
    std::string user = UserName();
    double began = impl_->Now();
    std::string text = IntentToJson(intent);
    int64_t id = 0;
    session << "INSERT INTO upgrades (command, pid, start_time, boot_id, user, began, intent) VALUES (?,?,?,?,?,?,?)",
        use(command), use(pid), use(start_time), use(boot_id), use(user), use(began), use(text), now;
    session << "SELECT last_insert_rowid()", into(id), limit(1), now;
    return id;
  });
}

Status Journal::BeginStep(int64_t upgrade, Step step, const Poco::JSON::Object& facts) {
  return Guard(impl_->path, [&]() -> Status {
    std::string name(StepName(step));
    double began = impl_->Now();
    std::string text = OneLine(facts);
    impl_->session << "INSERT OR REPLACE INTO steps (upgrade, step, began, facts) VALUES (?,?,?,?)", use(upgrade),
        use(name), use(began), use(text), now;
    return kDone;
  });
}

Status Journal::EndStep(int64_t upgrade, Step step, std::string_view result, const std::string& detail) {
  return Guard(impl_->path, [&]() -> Status {
    std::string name(StepName(step));
    double ended = impl_->Now();
    std::string how(result);
    std::string words = detail;
    impl_->session << "UPDATE steps SET ended = ?, result = ?, detail = ? WHERE upgrade = ? AND step = ?", use(ended),
        use(how), use(words), use(upgrade), use(name), now;
    return kDone;
  });
}

Status Journal::NameNewcomer(int64_t upgrade, const os::ProcessId& id) {
  return Guard(impl_->path, [&]() -> Status {
    int64_t pid = id.pid;
    auto start_time = static_cast<int64_t>(id.start_time);
    std::string boot_id = id.boot_id;
    impl_->session << "UPDATE upgrades SET new_pid = ?, new_start_time = ?, new_boot_id = ? WHERE id = ?", use(pid),
        use(start_time), use(boot_id), use(upgrade), now;
    return kDone;
  });
}

Status Journal::NameKept(int64_t upgrade, const std::string& from, const std::string& to) {
  return Guard(impl_->path, [&]() -> Status {
    std::string kept_from = from;
    std::string kept_to = to;
    impl_->session << "UPDATE upgrades SET intent = json_set(intent, '$.from.kept', ?, '$.to.kept', ?) WHERE id = ?",
        use(kept_from), use(kept_to), use(upgrade), now;
    return kDone;
  });
}

Status Journal::End(int64_t upgrade, int exit_status, const std::string& reason, const Losses& losses) {
  return Guard(impl_->path, [&]() -> Status {
    auto records = impl_->Select("id = " + std::to_string(upgrade), 1);
    if (records.empty()) return Error{ErrorKind::kNotFound, 0, "journal has no upgrade " + std::to_string(upgrade)};
    Intent intent = std::move(records.front().intent);
    intent.from.environment.clear();
    intent.to.environment.clear();
    intent.to.id = {};  // stands in columns of its own
    std::string text = IntentToJson(intent);
    double ended = impl_->Now();
    std::string words = reason;
    int64_t cut = losses.cut;
    int64_t errors = losses.errors;
    auto& session = impl_->session;
    Transaction transaction(session);
    session << "UPDATE upgrades SET ended = ?, exit = ?, reason = ?, cut = ?, errors = ?, intent = ? WHERE id = ?",
        use(ended), use(exit_status), use(words), use(cut), use(errors), use(text), use(upgrade), now;
    const std::string old =
        "(SELECT id FROM upgrades WHERE ended > 0 AND id NOT IN (SELECT id FROM upgrades ORDER BY id DESC LIMIT " +
        std::to_string(kKept) + "))";
    session << "DELETE FROM steps WHERE upgrade IN " + old, now;
    session << "DELETE FROM upgrades WHERE id IN " + old, now;
    transaction.Commit();
    return kDone;
  });
}

Status Journal::TakeUp(int64_t upgrade) {
  auto self = os::Identify(::getpid());
  if (!self) return self.error();
  return Guard(impl_->path, [&]() -> Status {
    int64_t pid = self.value().pid;
    auto start_time = static_cast<int64_t>(self.value().start_time);
    std::string boot_id = self.value().boot_id;
    impl_->session << "UPDATE upgrades SET pid = ?, start_time = ?, boot_id = ? WHERE id = ?", use(pid),
        use(start_time), use(boot_id), use(upgrade), now;
    return kDone;
  });
}

// ---- reading -------------------------------------------------------------------------------------------------------

std::vector<StepRecord> Journal::Impl::Steps(int64_t upgrade) {
  std::vector<StepRecord> out;
  StepRecord row;
  std::string name;
  double ended = 0;
  Poco::Data::Statement statement(session);
  statement << "SELECT step, began, ended, result, detail, facts FROM steps WHERE upgrade = ? ORDER BY began, rowid",
      use(upgrade), into(name), into(row.began), into(ended), into(row.result), into(row.detail), into(row.facts),
      range(0, 1);
  while (!statement.done()) {
    if (statement.execute() == 0) continue;
    const auto step = ParseStep(name);
    if (!step) continue;
    row.step = *step;
    row.ended = Moment(ended);
    out.push_back(row);
  }
  return out;
}

std::vector<UpgradeRecord> Journal::Impl::Select(const std::string& where, int64_t most) {
  std::vector<UpgradeRecord> out;
  UpgradeRecord row;
  std::string command;
  std::string intent;
  int64_t pid = 0;
  int64_t start_time = 0;
  int64_t new_pid = 0;
  int64_t new_start_time = 0;
  std::string new_boot_id;
  double ended = 0;
  Poco::Data::Statement statement(session);
  statement << "SELECT id, command, pid, start_time, boot_id, user, began, ended, intent, new_pid, new_start_time, "
               "new_boot_id, exit, reason, cut, errors FROM upgrades WHERE " +
                   where + " ORDER BY id DESC LIMIT " + std::to_string(most),
      into(row.id), into(command), into(pid), into(start_time), into(row.orchestrator.boot_id), into(row.user),
      into(row.began), into(ended), into(intent), into(new_pid), into(new_start_time), into(new_boot_id),
      into(row.exit_status), into(row.reason), into(row.losses.cut), into(row.losses.errors), range(0, 1);
  while (!statement.done()) {
    if (statement.execute() == 0) continue;
    row.orchestrator.pid = static_cast<pid_t>(pid);
    row.orchestrator.start_time = static_cast<uint64_t>(start_time);
    row.ended = Moment(ended);
    row.intent = IntentFromJson(intent);
    row.intent.command = command;
    row.intent.to.id = {static_cast<pid_t>(new_pid), static_cast<uint64_t>(new_start_time), new_boot_id};
    out.push_back(row);
  }
  for (UpgradeRecord& record : out) record.steps = Steps(record.id);
  return out;
}

Result<std::vector<UpgradeRecord>> Journal::History(int most) const {
  return Guard(impl_->path,
               [&]() -> Result<std::vector<UpgradeRecord>> { return impl_->Select("1", std::max(most, 0)); });
}

Result<std::vector<UpgradeRecord>> Journal::Interrupted() const {
  return Guard(impl_->path, [&]() -> Result<std::vector<UpgradeRecord>> {
    auto open = impl_->Select("ended = 0", 1000000);
    std::erase_if(open, [](const UpgradeRecord& record) { return os::IsRunning(record.orchestrator); });
    std::reverse(open.begin(), open.end());
    return open;
  });
}

}  // namespace orchestrator
