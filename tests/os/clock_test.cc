#include "os/clock.h"

#include <gtest/gtest.h>
#include <time.h>

#include "tests/support/fake_clock.h"

namespace os {
namespace {

using std::chrono::nanoseconds;

nanoseconds Kernel(clockid_t which) {
  timespec now{};
  ::clock_gettime(which, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

TEST(SystemClock, WallIsRealtimeAndSteadyIsMonotonic) {
  const SystemClock clock;
  const auto wall_before = Kernel(CLOCK_REALTIME);
  const auto wall = clock.WallNow().time_since_epoch();
  const auto wall_after = Kernel(CLOCK_REALTIME);
  EXPECT_LE(wall_before, wall);
  EXPECT_LE(wall, wall_after);
  const auto before = Kernel(CLOCK_MONOTONIC);
  const auto steady = clock.SteadyNow().time_since_epoch();
  const auto after = Kernel(CLOCK_MONOTONIC);
  EXPECT_LE(before, steady);
  EXPECT_LE(steady, after);
}

TEST(SystemClock, SleepLastsAtLeastItsSpanOfSteadyTime) {
  SystemClock clock;
  const auto start = clock.SteadyNow();
  clock.Sleep(std::chrono::milliseconds(3));
  EXPECT_GE(clock.SteadyNow() - start, std::chrono::milliseconds(3));
}

TEST(FakeClock, StandsStillUntilMovedAndSleepMovesBothTimes) {
  tests::FakeClock clock;
  const auto wall = clock.WallNow();
  const auto steady = clock.SteadyNow();
  EXPECT_EQ(clock.SteadyNow(), steady);
  clock.Sleep(std::chrono::seconds(5));
  EXPECT_EQ(clock.WallNow() - wall, std::chrono::seconds(5));
  EXPECT_EQ(clock.SteadyNow() - steady, std::chrono::seconds(5));
  EXPECT_EQ(clock.sleeps, 1);
  clock.wall = wall;  // the wall clock steps back, steady time does not
  EXPECT_EQ(clock.WallNow(), wall);
  EXPECT_EQ(clock.SteadyNow() - steady, std::chrono::seconds(5));
}

}  // namespace
}  // namespace os
