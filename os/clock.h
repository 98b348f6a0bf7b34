#pragma once

#include <chrono>

namespace os {

/// The only source of "now" in the tree, so that tests can own time.
class Clock {
 public:
  using Wall = std::chrono::system_clock::time_point;
  using Steady = std::chrono::steady_clock::time_point;

  virtual ~Clock() = default;
  virtual Wall WallNow() const = 0;                       ///< CLOCK_REALTIME: names, headers, log lines; may step
  virtual Steady SteadyNow() const = 0;                   ///< CLOCK_MONOTONIC: deadlines
  virtual void Sleep(std::chrono::nanoseconds span) = 0;  ///< blocks the calling thread for `span` of steady time
};

/// The kernel's clocks. Stateless; safe from any thread.
class SystemClock final : public Clock {
 public:
  Wall WallNow() const override { return std::chrono::system_clock::now(); }
  Steady SteadyNow() const override { return std::chrono::steady_clock::now(); }
  void Sleep(std::chrono::nanoseconds span) override;
};

}  // namespace os
