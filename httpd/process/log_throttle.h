#pragma once

#include <cstdint>

#include "os/clock.h"

namespace httpd::process {

/// Keeps what strangers can make us say from filling the error log: at most kMost lines in each kWindow, the rest is
/// counted. Time is an argument.
class LogThrottle {
 public:
  static constexpr int kMost = 10;
  static constexpr std::chrono::seconds kWindow{10};

  /// @return true: say it. false: it was counted
  bool Admit(os::Clock::Steady now) {
    if (now - began_ >= kWindow && suppressed_ == 0) {
      began_ = now;
      said_ = 0;
    }
    if (said_ < kMost) {
      ++said_;
      return true;
    }
    ++suppressed_;
    return false;
  }

  /// How many were counted since the last time, once the window is over; 0: nothing to say yet.
  uint64_t TakeSuppressed(os::Clock::Steady now) {
    if (suppressed_ == 0 || now - began_ < kWindow) return 0;
    const uint64_t out = suppressed_;
    suppressed_ = 0;
    began_ = now;
    said_ = 0;
    return out;
  }

 private:
  os::Clock::Steady began_{};
  int said_ = 0;
  uint64_t suppressed_ = 0;
};

}  // namespace httpd::process
