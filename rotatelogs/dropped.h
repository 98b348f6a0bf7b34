#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "os/clock.h"

namespace rotatelogs {

/// What --on-full=drop has discarded, and what is said about it: when it begins, at most once a minute while it goes
/// on, and when it ends.
///
/// Counts   a line is counted once, when its first byte is discarded; the bytes are those that are in no file.
/// Pace     MayTry() spaces the attempts to write: 10 ms after the first failure, then twice as long, up to 1 s.
class Dropped {
 public:
  using Say = std::function<void(std::string_view line)>;  ///< a line for stderr, without newline

  Dropped(os::Clock& clock, Say say) : clock_(clock), say_(std::move(say)) {}

  bool active() const { return active_; }    ///< the last attempt to write failed
  uint64_t lines() const { return lines_; }  ///< since the program began
  uint64_t bytes() const { return bytes_; }
  bool MayTry() const { return !active_ || clock_.SteadyNow() >= try_again_; }

  /// An attempt to write to `path` failed. Says so once, and moves the next attempt.
  /// @param reason  the text of errno
  void Failed(const std::string& path, const std::string& reason);

  /// Counts `piece`, which is discarded. A last line without newline is open: what the next Count() begins with is the
  /// rest of it and no line of its own.
  void Count(std::string_view piece);

  /// The last line that was counted has no newline yet: its rest must be discarded too.
  bool InLine() const { return in_line_; }

  /// Something could be written again, or the program ends: says what was lost since Failed().
  void Ended();

 private:
  std::string Sum() const;

  os::Clock& clock_;
  Say say_;
  std::string path_;
  std::string reason_;
  bool active_ = false;
  bool in_line_ = false;
  uint64_t lines_ = 0;
  uint64_t bytes_ = 0;
  uint64_t lines_before_ = 0;  ///< of `lines_`: when the present shortage began
  uint64_t bytes_before_ = 0;
  std::chrono::milliseconds pause_{};
  os::Clock::Steady try_again_{};
  os::Clock::Steady say_again_{};
};

}  // namespace rotatelogs
