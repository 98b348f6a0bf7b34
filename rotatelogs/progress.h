#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "os/clock.h"

namespace rotatelogs {

/// How far a run is.
struct ProgressState {
  int64_t done = 0;    ///< finished, well or not
  int64_t failed = 0;  ///< of those
  int64_t total = 0;
  std::string current;  ///< what is being worked on
  std::chrono::nanoseconds elapsed{0};
};

/// One line of at most `columns` - 1 characters: "[######----] 12/40  1 failed  3.4/s  ETA 8s  access.1795219200".
/// What does not fit goes, in the order name, rate and ETA, bar. Control characters in the name become '?'.
std::string ProgressText(const ProgressState& state, int columns);

/// The progress line of a terminal, redrawn in place. Whoever prints to the same terminal calls Clear() first.
class Progress {
 public:
  /// @param terminal  descriptor of a terminal (a loan); -1: there is none, and nothing is ever drawn
  Progress(int terminal, const os::Clock& clock);
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  bool shown() const { return terminal_ >= 0; }
  void Update(const ProgressState& state);  ///< draws at most ten times a second
  void Clear();                             ///< erases the line if it is there

 private:
  void Write(std::string_view text);
  int terminal_;
  const os::Clock& clock_;
  os::Clock::Steady drawn_at_{};
  bool drawn_ = false;
};

}  // namespace rotatelogs
