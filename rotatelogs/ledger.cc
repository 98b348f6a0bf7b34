#include "rotatelogs/ledger.h"

#include <Poco/Data/SQLite/Connector.h>
#include <Poco/Data/Session.h>
#include <Poco/Data/Statement.h>
#include <Poco/Exception.h>

#include <vector>

namespace rotatelogs {

using os::Error;
using os::ErrorKind;
using os::kDone;
using os::Result;
using os::Status;
using namespace Poco::Data::Keywords;

namespace {

constexpr const char* kTable =
    "CREATE TABLE IF NOT EXISTS segments (id TEXT PRIMARY KEY, path TEXT NOT NULL, state TEXT NOT NULL, "
    "attempts INTEGER NOT NULL, next_at INTEGER NOT NULL, updated INTEGER NOT NULL, bytes INTEGER NOT NULL, "
    "lines INTEGER NOT NULL, sha256 TEXT NOT NULL, output TEXT NOT NULL, output_id TEXT NOT NULL, "
    "temporary TEXT NOT NULL, archive_id TEXT NOT NULL, words TEXT NOT NULL)";

constexpr const char* kColumns =
    "id, path, state, attempts, next_at, updated, bytes, lines, sha256, output, output_id, temporary, archive_id, "
    "words";

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

}  // namespace

struct Ledger::Impl {
  std::filesystem::path path;
  Poco::Data::Session session;

  std::vector<Record> Select(const std::string& where, const std::string& value) {
    std::vector<Record> out;
    Record row;
    Poco::Data::Statement statement(session);
    statement << "SELECT " << kColumns << " FROM segments " << where, into(row.id), into(row.path), into(row.state),
        into(row.attempts), into(row.next_at), into(row.updated), into(row.bytes), into(row.lines), into(row.sha256),
        into(row.output), into(row.output_id), into(row.temporary), into(row.archive_id), into(row.words), range(0, 1);
    std::string bound = value;
    if (!where.empty()) statement, use(bound);
    while (!statement.done()) {
      if (statement.execute() > 0) out.push_back(row);
    }
    return out;
  }
};

Ledger::Ledger(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ledger::~Ledger() = default;

Result<std::unique_ptr<Ledger>> Ledger::Open(const std::filesystem::path& path, Mode mode) {
  std::error_code none;
  if (mode == Mode::kReadOnly && !std::filesystem::exists(path, none)) {
    return Error{ErrorKind::kNotFound, 0, "ledger " + path.string() + " does not exist"};
  }
  return Guard(path, [&]() -> Result<std::unique_ptr<Ledger>> {
    Poco::Data::SQLite::Connector::registerConnector();
    auto impl = std::make_unique<Impl>(Impl{path, Poco::Data::Session("SQLite", path.string(), 30)});
    impl->session << "PRAGMA busy_timeout = 30000", now;
    if (mode == Mode::kCreate) {
      impl->session << "PRAGMA synchronous = FULL", now;
      impl->session << kTable, now;
    }
    return std::unique_ptr<Ledger>(new Ledger(std::move(impl)));
  });
}

Result<std::unordered_map<std::string, Record>> Ledger::All() const {
  return Guard(impl_->path, [&]() -> Result<std::unordered_map<std::string, Record>> {
    std::unordered_map<std::string, Record> out;
    for (Record& record : impl_->Select("", "")) out.emplace(record.id, std::move(record));
    return out;
  });
}

Result<Record> Ledger::Find(const std::string& id) const {
  return Guard(impl_->path, [&]() -> Result<Record> {
    auto rows = impl_->Select("WHERE id = ?", id);
    if (rows.empty()) return Error{ErrorKind::kNotFound, 0, "ledger has no segment " + id};
    return rows.front();
  });
}

Status Ledger::Put(const Record& record) {
  return Guard(impl_->path, [&]() -> Status {
    Record row = record;
    Poco::Data::Statement statement(impl_->session);
    statement << "INSERT OR REPLACE INTO segments (" << kColumns << ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        use(row.id), use(row.path), use(row.state), use(row.attempts), use(row.next_at), use(row.updated),
        use(row.bytes), use(row.lines), use(row.sha256), use(row.output), use(row.output_id), use(row.temporary),
        use(row.archive_id), use(row.words);
    statement.execute();
    return kDone;
  });
}

}  // namespace rotatelogs
