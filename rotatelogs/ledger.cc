#include "rotatelogs/ledger.h"

#include <Poco/Data/SQLite/Connector.h>
#include <Poco/Data/Session.h>
#include <Poco/Data/Statement.h>
#include <Poco/Exception.h>
#include <Poco/URI.h>

#include <array>
#include <optional>
#include <utility>

namespace rotatelogs {

using os::Error;
using os::ErrorKind;
using os::kDone;
using os::Result;
using os::Status;
using namespace Poco::Data::Keywords;

namespace {

constexpr int64_t kSchema = 2;

constexpr std::array<std::string_view, 10> kNames = {"open",      "sealed",     "claimed", "committing",  "done",
                                                     "archiving", "compressed", "retry",   "quarantined", "expired"};

std::optional<State> ParseState(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<State>(i);
  }
  return std::nullopt;
}

/// As the first release made it; Upgrade() adds what came later, so that a new ledger takes the same way as an old one.
constexpr const char* kFirstTable =
    "CREATE TABLE IF NOT EXISTS segments (id TEXT PRIMARY KEY, path TEXT NOT NULL, state TEXT NOT NULL, "
    "attempts INTEGER NOT NULL, next_at INTEGER NOT NULL, updated INTEGER NOT NULL, bytes INTEGER NOT NULL, "
    "lines INTEGER NOT NULL, sha256 TEXT NOT NULL, output TEXT NOT NULL, output_id TEXT NOT NULL, "
    "temporary TEXT NOT NULL, archive_id TEXT NOT NULL, words TEXT NOT NULL)";

// In queries and in the index alike: SQLite uses a partial index only for the very same words.
#define UNFINISHED "(state NOT IN ('done', 'compressed', 'quarantined', 'expired') OR temporary <> '')"

constexpr std::array kToSecond = {
    "ALTER TABLE segments ADD COLUMN archive TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE segments ADD COLUMN output_sha256 TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE segments ADD COLUMN certain INTEGER NOT NULL DEFAULT 1",
    "UPDATE segments SET archive = path WHERE state = 'compressed'",
    "CREATE INDEX known ON segments (state, id, output_id, archive_id)",
    "CREATE INDEX unfinished ON segments (id) WHERE " UNFINISHED,
    "PRAGMA user_version = 2",
};

constexpr const char* kColumns =
    "id, path, state, attempts, next_at, updated, bytes, lines, sha256, output, output_id, temporary, archive_id, "
    "words, archive, output_sha256, certain";
/// The same of a ledger that the first release made and that is only read.
constexpr const char* kFirstColumns =
    "id, path, state, attempts, next_at, updated, bytes, lines, sha256, output, output_id, temporary, archive_id, "
    "words, CASE state WHEN 'compressed' THEN path ELSE '' END, '', 1";

/// Poco's exceptions end here.
template <class F>
auto Guard(const std::filesystem::path& path, F body) -> decltype(body()) {
  try {
    return body();
  } catch (const Poco::Exception& failed) {
    const std::string text = failed.displayText();
    const bool busy = text.find("locked") != std::string::npos || text.find("busy") != std::string::npos;
    return Error{busy ? ErrorKind::kBusy : ErrorKind::kIo, 0, "ledger " + path.string() + ": " + text};
  }
}

int64_t SchemaOf(Poco::Data::Session& session) {
  int64_t version = 0;
  session << "PRAGMA user_version", into(version), now;
  return version;
}

void Upgrade(Poco::Data::Session& session) {
  session << "BEGIN IMMEDIATE", now;
  try {
    if (SchemaOf(session) < kSchema) {  // another process may have been faster
      session << kFirstTable, now;
      for (const char* step : kToSecond) session << step, now;
    }
    session << "COMMIT", now;
  } catch (const Poco::Exception&) {
    session << "ROLLBACK", now;
    throw;
  }
}

/// Takes the write-ahead log, which costs one fsync a transaction where a rollback journal costs three. A ledger that
/// somebody else has open stays as it is.
void UseWriteAheadLog(Poco::Data::Session& session) {
  std::string mode;
  try {
    session << "PRAGMA journal_mode = WAL", into(mode), now;
  } catch (const Poco::Exception&) {
    return;
  }
}

/// A reader that may not write beside the database cannot make the shared memory of the write-ahead log. Nobody else
/// has it open then (it would exist), so the database file alone is the whole truth.
Poco::Data::Session OpenToRead(const std::filesystem::path& path) {
  std::string uri;
  Poco::URI::encode(std::filesystem::absolute(path).string(), "?#", uri);
  try {
    Poco::Data::Session session("SQLite", "file:" + uri + "?mode=ro", 30);
    int64_t tables = 0;
    session << "PRAGMA busy_timeout = 30000", now;
    session << "SELECT count(*) FROM sqlite_master", into(tables), now;
    return session;
  } catch (const Poco::Exception&) {
    std::error_code none;
    if (std::filesystem::exists(path.string() + "-wal", none)) throw;
    return Poco::Data::Session("SQLite", "file:" + uri + "?mode=ro&immutable=1", 30);
  }
}

/// One row as Poco fills and reads it.
struct Row {
  Record record;
  std::string state;
  int64_t certain = 1;
};

}  // namespace

std::string_view StateName(State state) {
  return kNames[static_cast<size_t>(state)];
}

bool IsSettled(State state) {
  return state == State::kDone || state == State::kCompressed || state == State::kQuarantined ||
         state == State::kExpired;
}

struct Ledger::Impl {
  std::filesystem::path path;
  Poco::Data::Session session;
  const char* columns = kColumns;

  Result<std::vector<Record>> Select(const std::string& rest, const std::string& value = "") {
    std::vector<Record> out;
    Row row;
    Record& record = row.record;
    Poco::Data::Statement statement(session);
    statement << "SELECT " << columns << " FROM segments " << rest, into(record.id), into(record.path), into(row.state),
        into(record.attempts), into(record.next_at), into(record.updated), into(record.bytes), into(record.lines),
        into(record.sha256), into(record.output), into(record.output_id), into(record.temporary),
        into(record.archive_id), into(record.words), into(record.archive), into(record.output_sha256),
        into(row.certain), range(0, 1);
    std::string bound = value;
    if (rest.find('?') != std::string::npos) statement, use(bound);
    while (!statement.done()) {
      if (statement.execute() == 0) continue;
      const auto state = ParseState(row.state);
      if (!state) return Unknown(row.state);
      record.state = *state;
      record.certain = row.certain != 0;
      out.push_back(record);
    }
    return out;
  }

  Error Unknown(std::string_view what) const {
    return {ErrorKind::kIo, 0,
            "ledger " + path.string() + " holds what this release does not know: " + std::string(what)};
  }
};

Ledger::Ledger(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ledger::~Ledger() = default;

Result<std::unique_ptr<Ledger>> Ledger::Open(const std::filesystem::path& path, Mode mode) {
  std::error_code none;
  if (mode != Mode::kCreate && !std::filesystem::exists(path, none)) {
    return Error{ErrorKind::kNotFound, 0, "ledger " + path.string() + " does not exist"};
  }
  return Guard(path, [&]() -> Result<std::unique_ptr<Ledger>> {
    Poco::Data::SQLite::Connector::registerConnector();
    auto impl = std::make_unique<Impl>(
        Impl{path, mode == Mode::kReadOnly ? OpenToRead(path) : Poco::Data::Session("SQLite", path.string(), 30)});
    auto& session = impl->session;
    session << "PRAGMA busy_timeout = 30000", now;
    const int64_t schema = SchemaOf(session);
    if (schema > kSchema) {
      return Error{ErrorKind::kInvalid, 0,
                   "ledger " + path.string() + " was made by a newer release (schema " + std::to_string(schema) +
                       ", this one knows " + std::to_string(kSchema) + "): use that release's processlogs"};
    }
    if (mode == Mode::kReadOnly) {
      if (schema < kSchema) impl->columns = kFirstColumns;
    } else {
      UseWriteAheadLog(session);
      session << "PRAGMA synchronous = FULL", now;
      if (schema < kSchema) Upgrade(session);
    }
    return std::unique_ptr<Ledger>(new Ledger(std::move(impl)));
  });
}

Result<KnownFiles> Ledger::AllKnown() const {
  return Guard(impl_->path, [&]() -> Result<KnownFiles> {
    // One row whatever the number of segments: a row at a time through Poco costs more than all the rest of a run.
    Poco::Nullable<std::string> all;
    int64_t count = 0;
    impl_->session
        << "SELECT count(*), group_concat(state || ' ' || id || ' ' || output_id || ' ' || archive_id, '\n') "
           "FROM segments",
        into(count), into(all), now;
    KnownFiles out;
    if (all.isNull()) return out;
    out.reserve(static_cast<size_t>(count) * 2);
    std::string_view rest = all.value();
    State state = State::kOpen;
    std::string_view state_name;
    while (!rest.empty()) {
      const size_t end = rest.find('\n');
      std::string_view line = rest.substr(0, end);
      rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
      const auto word = [&line] {
        const size_t space = std::min(line.find(' '), line.size());
        const std::string_view first = line.substr(0, space);
        line.remove_prefix(std::min(space + 1, line.size()));
        return first;
      };
      const std::string_view name = word();
      if (name != state_name) {  // sorted by state: parsed a few times in all
        const auto parsed = ParseState(name);
        if (!parsed) return impl_->Unknown(name);
        state = *parsed;
        state_name = name;
      }
      const std::string_view id = word();
      const auto segment = FileId::Parse(id);
      if (!segment) return impl_->Unknown(id);
      out.insert_or_assign(*segment, Known{state, Role::kSegment, *segment, false});
      if (const auto output = FileId::Parse(word())) out.emplace(*output, Known{state, Role::kOutput, *segment, false});
      if (const auto archive = FileId::Parse(word()))
        out.emplace(*archive, Known{state, Role::kArchive, *segment, false});
    }
    return out;
  });
}

Result<std::vector<Record>> Ledger::Unfinished() const {
  return Guard(impl_->path, [&] { return impl_->Select("WHERE " UNFINISHED); });
}

Result<std::vector<Record>> Ledger::All() const {
  return Guard(impl_->path, [&] { return impl_->Select("ORDER BY updated, path"); });
}

Result<std::map<std::string, int64_t>> Ledger::Counts() const {
  return Guard(impl_->path, [&]() -> Result<std::map<std::string, int64_t>> {
    std::vector<std::string> states;
    std::vector<int64_t> counts;
    impl_->session << "SELECT state, count(*) FROM segments GROUP BY state", into(states), into(counts), now;
    std::map<std::string, int64_t> out;
    for (size_t i = 0; i < states.size(); ++i) out[states[i]] = counts[i];
    return out;
  });
}

Result<Record> Ledger::Find(const std::string& id) const {
  return Guard(impl_->path, [&]() -> Result<Record> {
    auto rows = impl_->Select("WHERE id = ?", id);
    if (!rows) return rows.error();
    if (rows.value().empty()) return Error{ErrorKind::kNotFound, 0, "ledger has no segment " + id};
    return std::move(rows.value().front());
  });
}

Status Ledger::Put(const std::vector<const Record*>& records) {
  if (records.empty()) return kDone;
  return Guard(impl_->path, [&]() -> Status {
    Row row;
    Record& record = row.record;
    Poco::Data::Statement statement(impl_->session);
    statement << "INSERT INTO segments (" << kColumns
              << ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET path = excluded.path, "
                 "state = excluded.state, attempts = excluded.attempts, next_at = excluded.next_at, "
                 "updated = excluded.updated, bytes = excluded.bytes, lines = excluded.lines, "
                 "sha256 = excluded.sha256, output = excluded.output, output_id = excluded.output_id, "
                 "temporary = excluded.temporary, archive_id = excluded.archive_id, words = excluded.words, "
                 "archive = excluded.archive, output_sha256 = excluded.output_sha256, certain = excluded.certain",
        use(record.id), use(record.path), use(row.state), use(record.attempts), use(record.next_at),
        use(record.updated), use(record.bytes), use(record.lines), use(record.sha256), use(record.output),
        use(record.output_id), use(record.temporary), use(record.archive_id), use(record.words), use(record.archive),
        use(record.output_sha256), use(row.certain);
    impl_->session << "BEGIN IMMEDIATE", now;
    try {
      for (const Record* one : records) {
        record = *one;
        row.state = StateName(record.state);
        row.certain = record.certain ? 1 : 0;
        statement.execute();
      }
      impl_->session << "COMMIT", now;
    } catch (const Poco::Exception&) {
      impl_->session << "ROLLBACK", now;
      throw;
    }
    return kDone;
  });
}

}  // namespace rotatelogs
