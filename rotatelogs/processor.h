#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "os/clock.h"
#include "rotatelogs/compress.h"
#include "rotatelogs/report.h"
#include "rotatelogs/retention.h"

namespace rotatelogs {

/// What `processlogs run` is asked to do.
struct RunOptions {
  std::filesystem::path ledger;
  std::filesystem::path out;  ///< empty: the command writes to our stdout
  int64_t jobs = 1;           ///< segments that are worked on at once, 1 to kMaxJobs
  std::chrono::seconds min_age{0};
  int64_t attempts = 5;
  std::chrono::seconds timeout{0};  ///< 0: none
  Compression compress = Compression::kNone;
  KeepLimits keep;
  bool dry_run = false;
  bool json = false;
  std::vector<std::string> patterns;
  std::vector<std::string> command;  ///< empty: only what is done is compressed and expired
};
inline constexpr int64_t kMaxJobs = 256;  // each takes up to six descriptors

/// What a run came to.
struct RunOutcome {
  int status = 0;  ///< exit status: 0, 1 something failed (and will be tried again, or was quarantined), 3 the ledger
                   ///< cannot be used
  int signal = 0;  ///< that ended it early (SIGHUP, SIGINT, SIGTERM): what was begun was put back; 0: none
};

/// Runs the command once for each sealed segment. Blocks those signals for the calling thread.
/// @param terminal  for the progress line; -1: none
/// @param say  lines for stdout (plain or JSON); @param complain  for stderr
RunOutcome RunProcesslogs(const RunOptions& options, os::Clock& clock, int terminal, const Say& say,
                          const Say& complain);

}  // namespace rotatelogs
