#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "os/error.h"

namespace rotatelogs {

/// What was done with one segment.
///
/// claimed      a run works on it, or died while it did: the claim's lock tells which
/// committing   its output is complete and on disk; only the rename and this note are missing. Never run again.
/// done         finished
/// compressed   finished, and the segment was replaced by a verified compressed copy
/// retry        failed `attempts` times; the next attempt is due at `next_at`
/// quarantined  failed as often as was allowed; left alone until `processlogs retry`
struct Record {
  std::string id;
  std::string path;  ///< absolute, where it was last seen
  std::string state;
  int64_t attempts = 0;
  int64_t next_at = 0;  ///< Unix time
  int64_t updated = 0;  ///< Unix time
  int64_t bytes = 0;
  int64_t lines = 0;
  std::string sha256;
  std::string output;      ///< file in --out, empty without
  std::string output_id;   ///< identity of the output file: it is no segment, whatever the pattern says
  std::string temporary;   ///< where the output is before the rename
  std::string archive_id;  ///< identity of the compressed copy
  std::string words;       ///< last lines of the command's stderr, or why it failed
};

/// The states of all segments in an SQLite database. Several processes may use it at once; each change is one durable
/// transaction (synchronous=FULL), so after a crash a record holds its old or its new values.
/// Errors: kBusy when another process held the database for 30 s; kIo otherwise; `what` says which file.
class Ledger {
 public:
  enum class Mode { kCreate, kReadOnly };
  static os::Result<std::unique_ptr<Ledger>> Open(const std::filesystem::path& path, Mode mode);
  ~Ledger();

  os::Result<std::unordered_map<std::string, Record>> All() const;
  os::Result<Record> Find(const std::string& id) const;  ///< kNotFound
  os::Status Put(const Record& record);                  ///< inserts or replaces

 private:
  struct Impl;
  explicit Ledger(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rotatelogs
