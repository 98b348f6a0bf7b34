#include "httpd/process/log_throttle.h"

#include <gtest/gtest.h>

namespace httpd::process {
namespace {

using std::chrono::seconds;

TEST(LogThrottle, SaysTenLinesInTenSecondsAndCountsTheRest) {
  LogThrottle throttle;
  const os::Clock::Steady start{seconds(1000)};
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(throttle.Admit(start + seconds(i)));
  for (int i = 0; i < 500; ++i) EXPECT_FALSE(throttle.Admit(start + seconds(9)));
  EXPECT_EQ(throttle.TakeSuppressed(start + seconds(9)), 0U) << "the window is not over";
  EXPECT_FALSE(throttle.Admit(start + seconds(11))) << "what was counted is told first";
  EXPECT_EQ(throttle.TakeSuppressed(start + seconds(11)), 501U);
  EXPECT_EQ(throttle.TakeSuppressed(start + seconds(30)), 0U);
  EXPECT_TRUE(throttle.Admit(start + seconds(12)));
}

TEST(LogThrottle, SaysEverythingThatComesSlowly) {
  LogThrottle throttle;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(throttle.Admit(os::Clock::Steady(seconds(1000 + 2 * i))));
}

}  // namespace
}  // namespace httpd::process
