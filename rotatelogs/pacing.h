#pragma once

#include <chrono>
#include <cstddef>

namespace rotatelogs {

/// How long to leave input in the pipe before the next read, so that many small writes of a server become one of ours.
/// The bytes wait in the pipe, which outlives us.
///
/// Bounds   never longer than kLongest, and never so long that the pipe is expected to be more than half full: a server
///          must not wait for us. The first line after a silence of kSilence is not delayed at all (it has been
///          read by then), and pauses begin short.
class Pacing {
 public:
  static constexpr std::chrono::milliseconds kLongest{40};
  static constexpr std::chrono::milliseconds kFirst{2};
  static constexpr std::chrono::milliseconds kSilence{100};

  /// @param capacity  of the pipe, bytes; 0: the input is no pipe, nothing is gained by waiting
  explicit Pacing(size_t capacity = 0) : enough_(capacity / 2) {}

  /// @param bytes    what the read brought, at least 1
  /// @param elapsed  since the read before it: the time in which these bytes came
  /// @param waited   of that, how long there was nothing to read
  std::chrono::nanoseconds After(size_t bytes, std::chrono::nanoseconds elapsed, std::chrono::nanoseconds waited);

 private:
  size_t enough_;
  std::chrono::nanoseconds last_{};
};

}  // namespace rotatelogs
