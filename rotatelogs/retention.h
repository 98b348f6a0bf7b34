#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rotatelogs {

/// What --keep-count, --keep-age and --keep-bytes ask for; 0: not asked.
struct KeepLimits {
  int64_t count = 0;    ///< segments
  int64_t seconds = 0;  ///< since the last change
  int64_t bytes = 0;    ///< of all files together
  bool Any() const { return count > 0 || seconds > 0 || bytes > 0; }
};

/// A segment or its compressed copy, as it lies on disk.
struct KeptFile {
  int64_t changed = 0;  ///< modification time, nanoseconds since the epoch
  int64_t bytes = 0;
  bool removable = false;  ///< done or compressed; all others count, but stay
};

/// Which ones have to go: those that are too old, and those that are not among the newest `count` or within the newest
/// `bytes`, files that may not go counted in. So an old file that must stay costs no newer one its place.
/// @return indexes into `files`, oldest first
std::vector<size_t> ChooseExpired(const std::vector<KeptFile>& files, const KeepLimits& limits, int64_t now_seconds);

}  // namespace rotatelogs
