#include "rotatelogs/pacing.h"

#include <algorithm>

namespace rotatelogs {

std::chrono::nanoseconds Pacing::After(size_t bytes, std::chrono::nanoseconds elapsed,
                                       std::chrono::nanoseconds waited) {
  if (waited >= kSilence) last_ = {};
  if (bytes >= enough_) return last_ = {};
  const double until_enough =
      static_cast<double>(elapsed.count()) * static_cast<double>(enough_) / static_cast<double>(bytes);
  std::chrono::nanoseconds pause = std::max<std::chrono::nanoseconds>(last_ * 2, kFirst);
  pause = std::min<std::chrono::nanoseconds>(pause, kLongest);
  if (until_enough < static_cast<double>(pause.count())) pause = std::chrono::nanoseconds(int64_t(until_enough));
  return last_ = pause;
}

}  // namespace rotatelogs
