#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "os/error.h"
#include "os/lock_file.h"
#include "rotatelogs/job.h"
#include "rotatelogs/ledger.h"
#include "rotatelogs/retention.h"

namespace rotatelogs {

/// The last part of a run: removes what is done and exceeds the limits.
///
/// Each segment goes under its claim's lock, when the ledger still says done or compressed, the file is the recorded
/// one, unchanged, and nobody has it open for writing. The ledger says "expired" before the file goes, so that a crash
/// leaves a file that the next run removes, never one that would be taken for new.
class Expiry {
 public:
  Expiry(RunContext& run, const KeepLimits& limits) : run_(run), limits_(limits) {}

  /// One file that the patterns match: a segment or its copy; outputs are not for us.
  /// @param identity  of the file; @param segment  of the segment; @param changed  nanoseconds since the epoch
  void Add(std::string path, std::string identity, std::string segment, State state, Role role, int64_t changed,
           int64_t bytes);

  /// In a dry run says what would go. Errors of single files are complained about; of the ledger are returned.
  os::Status Apply();

 private:
  struct File {
    std::string path;
    std::string identity;
    std::string segment;
    Role role;
  };
  struct Doomed {
    const File* file;
    os::LockFile claim;
    Record record;
  };
  bool MayGo(const File& file, const Record& record);
  os::Status Remove(std::vector<Doomed>& doomed);
  void Unlink(const File& file, const Record* record);

  RunContext& run_;
  const KeepLimits limits_;
  std::vector<File> files_;
  std::unordered_map<std::string, size_t> by_segment_;  // index
  std::vector<KeptFile> kept_;                          // beside files_
  std::vector<File> expired_;                           // noted by a run that died before it removed them
};

}  // namespace rotatelogs
