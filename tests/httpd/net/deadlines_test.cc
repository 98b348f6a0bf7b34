#include "httpd/net/deadlines.h"

#include <gtest/gtest.h>

#include <list>
#include <memory>
#include <random>
#include <vector>

namespace httpd::net {
namespace {

constexpr uint64_t kTick = DeadlineWheel::kTickMs;
constexpr uint64_t kRing = kTick * DeadlineWheel::kTicks;

struct Timed : Deadline {
  uint64_t at = 0;
};

size_t CountDue(DeadlineWheel& wheel) {
  size_t n = 0;
  while (wheel.TakeDue() != nullptr) ++n;
  return n;
}

TEST(DeadlineWheel, EachIsFoundInTheTickOfItsTimeAndNotBefore) {
  DeadlineWheel wheel;
  std::minstd_rand random(1);
  uint64_t now = 123'456'789;
  wheel.PassTo(now);
  std::list<Timed> entries(1000);
  for (Timed& entry : entries) wheel.File(entry, entry.at = now + random() % (kRing - kTick));
  size_t found = 0;
  while (found < entries.size()) {
    now += random() % 250;
    ASSERT_LT(now, 123'456'789 + kRing + 500) << "somebody was forgotten";
    wheel.PassTo(now);
    for (Deadline* due = nullptr; (due = wheel.TakeDue()) != nullptr; ++found) {
      EXPECT_FALSE(due->is_filed());
      EXPECT_LE(static_cast<Timed*>(due)->at / kTick, now / kTick);
    }
    // Nobody whose tick has gone by is left.
    wheel.VisitInOrder([&](Deadline& entry) {
      EXPECT_GT(entry.look_ms / kTick, now / kTick);
      return true;
    });
  }
}

TEST(DeadlineWheel, WhatIsFurtherAwayThanTheRingComesUpEarlyAndCanBeFiledAgain) {
  DeadlineWheel wheel;
  wheel.PassTo(1000);
  Deadline entry;
  const uint64_t at = 1000 + 3 * kRing;
  wheel.File(entry, at);
  int looks = 0;
  uint64_t now = 1000;
  for (;; now += kTick) {
    wheel.PassTo(now);
    if (wheel.TakeDue() == nullptr) continue;
    ++looks;
    if (now + kTick > at) break;
    wheel.File(entry, at);
  }
  EXPECT_EQ(looks, 4);
  EXPECT_EQ(now / kTick, at / kTick);
}

TEST(DeadlineWheel, ATimeThatIsPastIsDueTheNextTime) {
  DeadlineWheel wheel;
  wheel.PassTo(5000);
  Deadline entry;
  wheel.File(entry, 100);
  EXPECT_EQ(wheel.TakeDue(), nullptr);
  wheel.PassTo(5000);
  EXPECT_EQ(wheel.TakeDue(), &entry);
}

TEST(DeadlineWheel, NobodyIsForgottenWhenTheClockWasNotLookedAtForLongerThanTheRing) {
  DeadlineWheel wheel;
  std::list<Deadline> entries(600);
  uint64_t at = 0;
  for (Deadline& entry : entries) wheel.File(entry, at += kTick);
  wheel.PassTo(10 * kRing);
  EXPECT_EQ(CountDue(wheel), entries.size());
}

TEST(DeadlineWheel, WhatIsDestroyedOrFiledAnewIsFoundNoMoreWhereItWas) {
  DeadlineWheel wheel;
  wheel.PassTo(1000);
  auto gone = std::make_unique<Deadline>();
  auto gone_when_due = std::make_unique<Deadline>();
  Deadline later;
  wheel.File(*gone, 1500);
  wheel.File(*gone_when_due, 1500);
  wheel.File(later, 1500);
  wheel.File(later, 9000);
  gone.reset();
  wheel.PassTo(1500);
  gone_when_due.reset();
  EXPECT_EQ(CountDue(wheel), 0u);
  wheel.PassTo(9000);
  EXPECT_EQ(wheel.TakeDue(), &later);
}

TEST(DeadlineWheel, IsVisitedFromTheSoonestOnAlsoWhereAVisitFilesForLater) {
  DeadlineWheel wheel;
  wheel.PassTo(1000);
  std::vector<std::unique_ptr<Deadline>> entries;
  for (const uint64_t at : {3000, 1100, 2000, 1150}) {
    entries.push_back(std::make_unique<Deadline>());
    wheel.File(*entries.back(), at);
  }
  std::vector<uint64_t> seen;
  wheel.VisitInOrder([&](Deadline& entry) {
    if (entry.look_ms == 1100) {
      wheel.File(entry, 2500);
    } else {
      seen.push_back(entry.look_ms);
    }
    return seen.size() < 3;
  });
  EXPECT_EQ(seen, (std::vector<uint64_t>{1150, 2000, 2500}));
}

}  // namespace
}  // namespace httpd::net
