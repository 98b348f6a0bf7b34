#include "rotatelogs/retention.h"

#include <gtest/gtest.h>

namespace {

using rotatelogs::ChooseExpired;
using rotatelogs::KeepLimits;
using rotatelogs::KeptFile;
using Indexes = std::vector<size_t>;

constexpr int64_t kNow = 1'000'000;

KeptFile File(int64_t age, int64_t bytes = 1, bool removable = true) {
  return {(kNow - age) * 1'000'000'000, bytes, removable};
}

TEST(Retention, WithoutLimitsNothingGoes) {
  EXPECT_EQ(ChooseExpired({File(9), File(999999)}, {}, kNow), Indexes{});
}

TEST(Retention, TheOldestBeyondTheCountGoOldestFirst) {
  EXPECT_EQ(ChooseExpired({File(10), File(40), File(20), File(30)}, {.count = 2}, kNow), (Indexes{1, 3}));
}

TEST(Retention, OnlyWhatIsOlderThanTheAgeGoes) {
  EXPECT_EQ(ChooseExpired({File(59), File(60), File(61)}, {.seconds = 60}, kNow), Indexes{2});
}

TEST(Retention, WhatDoesNotFitIntoTheBytesGoes) {
  EXPECT_EQ(ChooseExpired({File(3, 50), File(2, 50), File(1, 50)}, {.bytes = 100}, kNow), Indexes{0});
  EXPECT_EQ(ChooseExpired({File(3, 50), File(2, 50), File(1, 50)}, {.bytes = 150}, kNow), Indexes{});
}

TEST(Retention, WhatIsNotDoneStaysAndCountsButCostsNoNewerFileItsPlace) {
  EXPECT_EQ(ChooseExpired({File(1, 1, false), File(2), File(3)}, {.count = 2}, kNow), Indexes{2});
  EXPECT_EQ(ChooseExpired({File(1), File(2), File(8, 1, false), File(9, 1, false)}, {.count = 2}, kNow), Indexes{});
}

TEST(Retention, SeveralLimitsEachTakeTheirs) {
  EXPECT_EQ(ChooseExpired({File(100, 1), File(5, 90), File(4, 90)}, {.count = 9, .seconds = 60, .bytes = 100}, kNow),
            (Indexes{0, 1}));
}

}  // namespace
