#pragma once

#include <chrono>

#include "os/clock.h"

namespace tests {

/// A clock that stands still until the test moves it. `wall` and `steady` may be set at any time; Sleep() returns at
/// once and moves both by its span. Not for use from several threads.
class FakeClock final : public os::Clock {
 public:
  Wall wall{std::chrono::seconds(1'700'000'000)};  ///< 2023-11-14 22:13:20 UTC
  Steady steady{std::chrono::hours(1)};
  int sleeps = 0;  ///< calls of Sleep()

  Wall WallNow() const override { return wall; }
  Steady SteadyNow() const override { return steady; }
  void Sleep(std::chrono::nanoseconds span) override {
    ++sleeps;
    Advance(span);
  }
  void Advance(std::chrono::nanoseconds span) {
    wall += std::chrono::duration_cast<Wall::duration>(span);
    steady += std::chrono::duration_cast<Steady::duration>(span);
  }
};

}  // namespace tests
