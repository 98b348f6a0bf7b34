#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "os/clock.h"
#include "rotatelogs/report.h"

namespace rotatelogs {

enum class Compression { kNone, kZstd, kGzip };

/// What `processlogs run` is asked to do.
struct RunOptions {
  std::filesystem::path ledger;
  std::filesystem::path out;  ///< empty: the command writes to our stdout
  std::chrono::seconds min_age{0};
  int64_t attempts = 5;
  std::chrono::seconds timeout{0};  ///< 0: none
  Compression compress = Compression::kNone;
  bool dry_run = false;
  bool json = false;
  std::vector<std::string> patterns;
  std::vector<std::string> command;  ///< may be empty: compress only
};

/// Runs the command once for each sealed segment.
/// @param say  lines for stdout (plain or JSON); @param complain  for stderr
/// @return exit status: 0, 1 something failed (and will be tried again, or was quarantined), 3 the ledger cannot be
/// used
int RunProcesslogs(const RunOptions& options, os::Clock& clock, const Say& say, const Say& complain);

}  // namespace rotatelogs
