#include "rotatelogs/pacing.h"

#include <gtest/gtest.h>

namespace {

using rotatelogs::Pacing;
using namespace std::chrono_literals;

TEST(Pacing, GrowsFromAShortPauseToTheLongestWhileLittleComes) {
  Pacing pacing(1 << 20);
  std::chrono::nanoseconds last = pacing.After(200, 1h, 1h);
  EXPECT_EQ(last, Pacing::kFirst);
  for (int i = 0; i < 10; ++i) {
    const auto pause = pacing.After(200, last, 0ns);
    EXPECT_EQ(pause, std::min<std::chrono::nanoseconds>(last * 2, Pacing::kLongest));
    last = pause;
  }
  EXPECT_EQ(last, Pacing::kLongest);
}

TEST(Pacing, BeginsShortAgainAfterASilence) {
  Pacing pacing(1 << 20);
  for (int i = 0; i < 10; ++i) (void)pacing.After(200, 40ms, 0ns);
  EXPECT_EQ(pacing.After(200, 90ms, 50ms), Pacing::kLongest) << "no silence: a line now and then";
  EXPECT_EQ(pacing.After(200, 140ms, Pacing::kSilence), Pacing::kFirst);
}

TEST(Pacing, EndsBeforeHalfOfThePipeIsExpectedToBeFull) {
  Pacing pacing(256 << 10);
  for (int i = 0; i < 10; ++i) (void)pacing.After(200, 40ms, 0ns);
  EXPECT_EQ(pacing.After(32 << 10, 1ms, 0ns), 4ms) << "32 KiB a millisecond: 128 KiB in four";
  EXPECT_EQ(pacing.After(64 << 10, 1ms, 0ns), 2ms);
}

TEST(Pacing, DoesNotWaitWhenEnoughIsThereOrTheInputIsNoPipe) {
  Pacing pacing(256 << 10);
  EXPECT_EQ(pacing.After(128 << 10, 1ms, 0ns), 0ns);
  EXPECT_EQ(Pacing(0).After(1, 1h, 1h), 0ns);
}

}  // namespace
