// A Writer in a private directory whose clock the test moves.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <ctime>
#include <memory>

#include "rotatelogs/writer.h"
#include "tests/rotatelogs/harness.h"
#include "tests/support/fake_clock.h"

namespace rotatelogs {
namespace {

using namespace std::chrono_literals;
using harness::Files;
using harness::TempDir;

/// Writes to `<directory>/log.%H%M`, hourly, in local time.
struct HourlyLog {
  HourlyLog() {
    settings.file = (dir.path() / "log.%d.%H%M").string();
    settings.seconds = 3600;
    settings.local_time = true;
  }
  void Begin() {
    writer = std::make_unique<Writer>(
        settings, clock, InputId{}, [this](std::string_view line) { said += line; }, [] { return false; });
  }
  void Put(std::string_view line) {
    if (!writer) Begin();
    const auto joined = writer->Join();
    ASSERT_TRUE(joined) << joined.error().what;
    writer->Input().Room();
    writer->Input().Filled(0);
    writer->Input().Append(line);
    const auto put = writer->Put(writer->Input().Waiting());
    EXPECT_TRUE(put) << put.error().what;
  }
  void SetUtc(int year, int month, int day, int hour, int minute) {
    tm fields{};
    fields.tm_year = year - 1900, fields.tm_mon = month - 1, fields.tm_mday = day;
    fields.tm_hour = hour, fields.tm_min = minute;
    clock.wall = std::chrono::system_clock::from_time_t(::timegm(&fields));
  }

  TempDir dir;
  tests::FakeClock clock;
  Settings settings;
  std::string said;
  std::unique_ptr<Writer> writer;
};

struct Zone {
  explicit Zone(const char* name) {
    ::setenv("TZ", name, 1);
    ::tzset();
  }
  ~Zone() {
    ::unsetenv("TZ");
    ::tzset();
  }
};

using Content = std::map<std::string, std::string>;

TEST(ClockSteppedBack, GoesOnInTheSameFileUntilTheTimeHasCaughtUp) {
  const Zone zone("UTC");
  HourlyLog log;
  log.SetUtc(2026, 11, 21, 10, 30);
  log.Put("at 10:30\n");
  log.SetUtc(2026, 11, 21, 8, 0);
  log.Put("at 08:00\n");
  log.SetUtc(2026, 11, 21, 10, 59);
  log.Put("at 10:59\n");
  log.SetUtc(2026, 11, 21, 11, 0);
  log.Put("at 11:00\n");
  EXPECT_EQ(Files(log.dir.path()),
            (Content{{"log.21.1000", "at 10:30\nat 08:00\nat 10:59\n"}, {"log.21.1100", "at 11:00\n"}}));
}

TEST(ClockSteppedBack, OverARestartAppendsToTheOldName) {
  const Zone zone("UTC");
  HourlyLog log;
  log.SetUtc(2026, 11, 21, 8, 10);
  log.Put("first\n");
  log.SetUtc(2026, 11, 21, 10, 30);
  log.Put("later\n");
  log.writer->Close();
  log.Begin();
  log.SetUtc(2026, 11, 21, 8, 50);
  log.Put("back\n");
  EXPECT_EQ(Files(log.dir.path()), (Content{{"log.21.0800", "first\nback\n"}, {"log.21.1000", "later\n"}}));
}

TEST(DaylightSaving, TheHourThatComesTwiceIsOneFile) {
  const Zone zone("Europe/Berlin");
  HourlyLog log;
  for (const auto& [hour, minute] : {std::pair{0, 30}, {1, 0}, {1, 59}, {2, 0}}) {  // 02:30+0200, 02:00+0100, ...
    log.SetUtc(2026, 10, 25, hour, minute);
    log.Put(std::to_string(hour * 100 + minute) + "\n");
  }
  EXPECT_EQ(Files(log.dir.path()), (Content{{"log.25.0200", "30\n100\n159\n"}, {"log.25.0300", "200\n"}}));
}

TEST(DaylightSaving, TheHourThatDoesNotComeHasNoFile) {
  const Zone zone("Europe/Berlin");
  HourlyLog log;
  for (const auto& [hour, minute] : {std::pair{0, 59}, {1, 0}, {2, 0}}) {  // 01:59+0100, 03:00+0200, 04:00+0200
    log.SetUtc(2026, 3, 29, hour, minute);
    log.Put(std::to_string(hour * 100 + minute) + "\n");
  }
  EXPECT_EQ(Files(log.dir.path()),
            (Content{{"log.29.0100", "59\n"}, {"log.29.0300", "100\n"}, {"log.29.0400", "200\n"}}));
}

}  // namespace
}  // namespace rotatelogs
