#include "rotatelogs/dropped.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/fake_clock.h"

namespace rotatelogs {
namespace {

using namespace std::chrono_literals;

struct DroppedLines : ::testing::Test {
  tests::FakeClock clock;
  std::vector<std::string> said;
  Dropped dropped{clock, [this](std::string_view line) { said.emplace_back(line); }};
};

TEST_F(DroppedLines, AreCountedOnceHoweverTheyAreCut) {
  dropped.Count("one\ntwo\n");
  EXPECT_EQ(dropped.lines(), 2U);
  dropped.Count("thr");
  EXPECT_TRUE(dropped.InLine());
  EXPECT_EQ(dropped.lines(), 3U);
  dropped.Count("e");
  dropped.Count("e\nfour\n");
  EXPECT_FALSE(dropped.InLine());
  EXPECT_EQ(dropped.lines(), 4U);
  EXPECT_EQ(dropped.bytes(), 19U);
}

TEST_F(DroppedLines, AreSpokenOfWhenItBeginsOnceAMinuteAndWhenItEnds) {
  dropped.Failed("log", "No space left on device");
  dropped.Failed("log", "No space left on device");
  ASSERT_EQ(said.size(), 1U);
  for (int i = 0; i < 59; ++i) {
    clock.Advance(1s);
    dropped.Count("x\n");
  }
  EXPECT_EQ(said.size(), 1U);
  clock.Advance(1s);
  dropped.Count("x\n");
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(said[1],
            "rotatelogs: 60 lines (120 bytes) dropped so far: log cannot be written (No space left on device)");
  dropped.Count("x\n");
  dropped.Ended();
  dropped.Ended();
  ASSERT_EQ(said.size(), 3U);
  EXPECT_EQ(said[2],
            "rotatelogs: 61 lines (122 bytes) were dropped while log could not be written (No space left on device)");
  dropped.Failed("log", "Disk quota exceeded");
  dropped.Count("y\n");
  dropped.Ended();
  EXPECT_EQ(said.back(),
            "rotatelogs: 1 lines (2 bytes) were dropped while log could not be written (Disk quota exceeded)");
  EXPECT_EQ(dropped.lines(), 62U) << "the total goes on";
}

TEST_F(DroppedLines, AreTriedAgainAfterGrowingPauses) {
  EXPECT_TRUE(dropped.MayTry());
  dropped.Failed("log", "full");
  EXPECT_FALSE(dropped.MayTry());
  clock.Advance(10ms);
  EXPECT_TRUE(dropped.MayTry());
  for (int i = 0; i < 20; ++i) dropped.Failed("log", "full");
  clock.Advance(999ms);
  EXPECT_FALSE(dropped.MayTry());
  clock.Advance(1ms);
  EXPECT_TRUE(dropped.MayTry());
}

}  // namespace
}  // namespace rotatelogs
