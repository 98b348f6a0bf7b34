#include "orchestrator/timeline.h"

#include <gtest/gtest.h>

namespace orchestrator {
namespace {

Sample At(int64_t at_ms, int64_t requests, int64_t connections = 0) {
  Sample sample;
  sample.at_ms = at_ms;
  Reading reading;
  reading.at_ms = at_ms;
  reading.state = "serving";
  reading.requests = requests;
  reading.duration_us = requests * 500;
  reading.connections = connections;
  sample.side[0] = reading;
  return sample;
}

int64_t RequestsOf(const std::vector<Interval>& intervals) {
  int64_t sum = 0;
  for (const Interval& interval : intervals) sum += interval.requests;
  return sum;
}

TEST(Timeline, CountingBeginsAtTheFirstReadingAndTheIntervalsAddUpToTheTotal) {
  Timeline timeline;
  timeline.Add(At(0, 1000));
  timeline.Add(At(200, 1100));
  timeline.Add(At(400, 1150));
  EXPECT_EQ(timeline.totals(Side::kOld).all.requests, 150);
  EXPECT_EQ(RequestsOf(timeline.Intervals(Side::kOld)), 150);
  EXPECT_DOUBLE_EQ(timeline.Intervals(Side::kOld)[0].PerSecond(100), 500.0);
  EXPECT_DOUBLE_EQ(timeline.totals(Side::kOld).all.MeanMs(), 0.5);
  EXPECT_FALSE(timeline.totals(Side::kNew).seen);
}

TEST(Timeline, AReadingThatIsMissingLosesNoRequest) {
  Timeline timeline;
  timeline.Add(At(0, 0));
  Sample silent;
  silent.at_ms = 200;
  timeline.Add(silent);
  timeline.Add(At(400, 80));
  ASSERT_EQ(timeline.Intervals(Side::kOld).size(), 1u);
  EXPECT_EQ(timeline.Intervals(Side::kOld)[0].to_ms - timeline.Intervals(Side::kOld)[0].from_ms, 400);
  EXPECT_EQ(timeline.totals(Side::kOld).all.requests, 80);
}

TEST(Timeline, ACounterThatFallsForAMomentIsHeld) {
  Timeline timeline;
  timeline.Add(At(0, 100));
  timeline.Add(At(200, 90));
  timeline.Add(At(400, 130));
  EXPECT_EQ(timeline.Intervals(Side::kOld)[0].requests, 0);
  EXPECT_EQ(timeline.totals(Side::kOld).all.requests, 30);
}

TEST(Timeline, AnHourTakesTheRoomOfAMinuteAndLosesNeitherRequestsNorPeaks) {
  Timeline timeline;
  for (int64_t i = 0; i <= 18000; ++i) {
    Sample sample = At(i * 200, i * 7, i == 12345 ? 999 : 10);
    if (i >= 9000) {
      sample.side[1] = sample.side[0];
      sample.side[1]->requests = (i - 9000) * 3;
    }
    if (i == 4321) sample.queue = 55;
    timeline.Add(std::move(sample));
  }
  EXPECT_LE(timeline.samples().size(), Timeline::kMostSamples);
  EXPECT_EQ(RequestsOf(timeline.Intervals(Side::kOld)), 18000 * 7);
  EXPECT_EQ(timeline.totals(Side::kOld).all.requests, 18000 * 7);
  EXPECT_EQ(RequestsOf(timeline.Intervals(Side::kNew)), 9000 * 3);
  EXPECT_EQ(timeline.totals(Side::kOld).peak_connections, 999);
  int64_t highest = 0;
  int64_t queue = 0;
  for (const Sample& sample : timeline.samples()) {
    highest = std::max(highest, sample.side[0] ? sample.side[0]->connections : 0);
    queue = std::max(queue, sample.queue.value_or(0));
  }
  EXPECT_EQ(highest, 999);
  EXPECT_EQ(queue, 55);
  EXPECT_EQ(timeline.samples().front().at_ms, 0);
  EXPECT_EQ(timeline.samples().back().at_ms, 18000 * 200);
}

TEST(Timeline, TheRecentPastIsAsLongAsAskedOrAsThereIs) {
  Timeline timeline;
  EXPECT_EQ(timeline.Recent(Side::kOld, 1000).requests, 0);
  timeline.Add(At(0, 0));
  EXPECT_EQ(timeline.Recent(Side::kOld, 1000).PerSecond(1), 0.0);
  for (int64_t i = 1; i <= 20; ++i) timeline.Add(At(i * 200, i * 10));
  EXPECT_EQ(timeline.Recent(Side::kOld, 1000).requests, 50);
}

}  // namespace
}  // namespace orchestrator
