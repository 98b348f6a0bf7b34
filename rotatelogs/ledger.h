#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "os/error.h"
#include "rotatelogs/identity.h"

namespace rotatelogs {

/// What was done with a segment.
///
/// open         a run met it and it is not finished: `words` says why
/// sealed       nobody can write to it any more; its turn has not come, or a signal ended the run that had begun it
/// claimed      a run works on it, or died while it did: the claim's lock tells which
/// committing   its output is complete and on disk; only the rename and a note are missing. Never run again.
/// done         finished
/// archiving    done, and its compressed copy is complete, verified and on disk; renames and notes are missing
/// compressed   done, and the segment was replaced by its compressed copy
/// retry        failed `attempts` times; the next attempt is due at `next_at`
/// quarantined  failed as often as was allowed; left alone until `processlogs retry`
/// expired      done, and removed (or about to be) by --keep-count, --keep-age or --keep-bytes
enum class State {
  kOpen,
  kSealed,
  kClaimed,
  kCommitting,
  kDone,
  kArchiving,
  kCompressed,
  kRetry,
  kQuarantined,
  kExpired
};
std::string_view StateName(State state);

/// No run has anything to do for it, except to compress what is done and to remove what is expired.
bool IsSettled(State state);

struct Record {
  std::string id;
  std::string path;  ///< absolute, where it was last seen; of a compressed one: the copy
  State state = State::kOpen;
  int64_t attempts = 0;
  int64_t next_at = 0;  ///< Unix time
  int64_t updated = 0;  ///< Unix time
  int64_t bytes = 0;
  int64_t lines = 0;
  std::string sha256;         ///< of the segment's content
  std::string output;         ///< file in --out, empty without
  std::string output_id;      ///< identity of the output file: it is no segment, whatever the pattern says
  std::string output_sha256;  ///< empty in records of the first release
  std::string temporary;      ///< a file that is to go: where output or copy are before the rename
  std::string archive;        ///< the compressed copy
  std::string archive_id;     ///< its identity
  std::string words;          ///< last lines of the command's stderr, or why it failed or is open
  bool certain = true;        ///< the kernel vouched for the seal; false: nobody was seen writing
};

/// What a file that a pattern matches is to the ledger.
enum class Role { kSegment, kOutput, kArchive };
struct Known {
  State state = State::kOpen;  ///< of the segment it belongs to
  Role role = Role::kSegment;
  FileId segment;
  bool seen = false;  ///< room for whoever walks a directory: one file may have two names
};
using KnownFiles = std::unordered_map<FileId, Known, FileIdHash>;

/// The states of all segments in an SQLite database (write-ahead log: `FILE-wal` and `FILE-shm` exist while it is in
/// use, and after a crash). Several processes may use it at once; each Put() is one durable transaction
/// (synchronous=FULL), so after a crash a record holds its old or its new values.
/// A ledger of the previous release is brought up to date when it is opened for writing, in one transaction; one of a
/// newer release is refused.
/// Errors: kBusy when another process held the database for 30 s; kInvalid for a newer release's; kIo otherwise;
/// `what` says which file.
class Ledger {
 public:
  enum class Mode {
    kCreate,   ///< made when missing
    kWrite,    ///< kNotFound when missing
    kReadOnly  ///< kNotFound when missing; nothing is changed
  };
  static os::Result<std::unique_ptr<Ledger>> Open(const std::filesystem::path& path, Mode mode);
  ~Ledger();

  /// All identities of segments, outputs and copies: one statement that reads an index only.
  os::Result<KnownFiles> AllKnown() const;
  /// Records that are not settled, and those that have a temporary file to remove.
  os::Result<std::vector<Record>> Unfinished() const;
  os::Result<std::vector<Record>> All() const;                ///< oldest change first
  os::Result<std::map<std::string, int64_t>> Counts() const;  ///< segments by name of their state
  os::Result<Record> Find(const std::string& id) const;       ///< kNotFound

  /// Inserts or replaces, all in one transaction.
  os::Status Put(const std::vector<const Record*>& records);

 private:
  struct Impl;
  explicit Ledger(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rotatelogs
