#include "orchestrator/live_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "orchestrator/figures.h"
#include "orchestrator/screen.h"
#include "tests/orchestrator/terminal_model.h"

namespace orchestrator {
namespace {

using testing::HasSubstr;
using testing::Not;

/// In the middle of the bake time.
Story Baking() {
  Story story;
  story.server_root = "/srv/baton";
  story.party[0] = {1234, false, "2.4.1", "/usr/sbin/httpd"};
  story.party[1] = {1240, false, "2.4.2", "/usr/sbin/httpd"};
  for (const Step step : {Step::kPlanned, Step::kLaunched, Step::kReady, Step::kProbed, Step::kSwitched}) {
    const auto at = static_cast<int64_t>(step) * 10;
    story.steps.push_back({step, at, at + 10, "detail of a step that is rather long, longer than a line has room for"});
  }
  story.steps.push_back({Step::kBaked, 50, std::nullopt, ""});
  story.switched_ms = 50;
  story.countdown = Countdown{"bake", 10050};
  for (int64_t i = 0; i < 20; ++i) {
    Sample sample;
    sample.at_ms = i * 200;
    for (const Side side : kSides) {
      Reading reading;
      reading.at_ms = sample.at_ms;
      reading.state = side == Side::kOld ? "paused" : "serving";
      reading.requests = i * (side == Side::kOld ? 2 : 300);
      reading.errors = side == Side::kOld ? 0 : i;
      reading.connections = 77;
      reading.busy = 1;
      reading.oldest_ms = 12300;
      sample.side[At(side)] = reading;
    }
    sample.queue = 3;
    story.timeline.Add(std::move(sample));
  }
  story.notes.push_back({100, "the first note"});
  story.notes.push_back({200, "the last note"});
  return story;
}

ViewStyle Style(int columns, int rows) {
  ViewStyle style;
  style.columns = columns;
  style.rows = rows;
  style.utf8 = true;
  return style;
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

TEST(LiveView, ShowsStepsBothInstancesAndHowLongIsLeft) {
  const std::string text = Joined(RenderView(Baking(), 4050, Style(80, 40), Frame::kLive));
  for (const char* part : {"/srv/baton", "2.4.1 → 2.4.2", "✓ planned", "▸ baking", "6.0 s left", "· draining",
                           "old 1234", "new 1240", "paused", "serving", "1,500", "77", "12.3 s", "the last note"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(LiveView, FitsAnyTerminalAndKeepsWhatMattersMost) {
  for (int columns = 20; columns < 130; columns += 3) {
    for (int rows = 4; rows < 40; rows += 5) {
      const auto lines = RenderView(Baking(), 4050, Style(columns, rows), Frame::kLive);
      EXPECT_LT(lines.size(), static_cast<size_t>(rows));
      for (const std::string& line : lines) EXPECT_LT(WidthOf(line), columns) << line;
      EXPECT_THAT(Joined(lines), HasSubstr("baking")) << columns << " by " << rows;
    }
  }
}

TEST(LiveView, FortyByTenShowsTheStepAndTheFiguresOfBothInstances) {
  const std::string text = Joined(RenderView(Baking(), 4050, Style(40, 10), Frame::kLive));
  for (const char* part : {"baking", "old 1234", "new 1240", "serving", "requests/s", "1,500", "connections"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(LiveView, ForeignTextCannotMoveTheCursorOrLeaveItsLine) {
  Story story = Baking();
  story.party[0].version =
      "1\033[2J\033]0;title\a\n\r2\xc2\x9b"
      "5m";
  story.server_root = "/srv/\xe2\x80\xae/evil/\xff\xfe";
  story.notes.push_back({1, "a\033[1A\tb"});
  const std::string text = Joined(RenderView(story, 4050, Style(100, 40), Frame::kLive));
  EXPECT_THAT(text, Not(HasSubstr("\033")));
  EXPECT_THAT(text, Not(HasSubstr("\a")));
  EXPECT_THAT(text, Not(HasSubstr("\r")));
  EXPECT_THAT(text, Not(HasSubstr("\xc2\x9b")));
  EXPECT_THAT(text, Not(HasSubstr("\xe2\x80\xae")));
  EXPECT_THAT(text, Not(HasSubstr("\xff")));
}

TEST(LiveView, WithoutUtf8EveryCharacterIsAscii) {
  ViewStyle style = Style(80, 40);
  style.utf8 = false;
  Story story = Baking();
  story.server_root = "/srv/bäton";
  for (const char c : Joined(RenderView(story, 4050, style, Frame::kLive))) EXPECT_GE(c, 0);
}

TEST(LiveView, ColourComesInOnlyWhenItIsWanted) {
  ViewStyle style = Style(80, 40);
  EXPECT_THAT(Joined(RenderView(Baking(), 4050, style, Frame::kLive)), Not(HasSubstr("\033")));
  style.colour = true;
  EXPECT_THAT(Joined(RenderView(Baking(), 4050, style, Frame::kLive)), HasSubstr("\033[36m"));
}

TEST(LiveView, TheLastFrameIsCompleteAndSaysWhichStepFailed) {
  Story story = Baking();
  story.ended_ms = 4000;
  story.status = "rolled back";
  story.notes.push_back({1, "a note that has a lot to say about what it saw, and says so in more words than fit"});
  const std::string text = Joined(RenderView(story, 4000, Style(40, 10), Frame::kLast));
  EXPECT_THAT(text, HasSubstr("✗ baked"));
  EXPECT_THAT(text, Not(HasSubstr("draining")));
  EXPECT_THAT(text, HasSubstr("5,700"));  // requests of the new one: sums, not rates
  EXPECT_THAT(text, HasSubstr("more words than fit"));
}

TEST(LiveView, TheEnvironmentDecidesOnColourAndCharacters) {
  const auto style = [](std::map<std::string, std::string> variables) {
    return StyleOf([variables](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? std::string() : found->second;
    });
  };
  EXPECT_TRUE(style({{"LANG", "de_DE.UTF-8"}}).utf8);
  EXPECT_TRUE(style({{"LANG", "C"}, {"LC_CTYPE", "C.utf8"}}).utf8);
  EXPECT_FALSE(style({{"LANG", "de_DE.UTF-8"}, {"LC_ALL", "C"}}).utf8);
  EXPECT_FALSE(style({}).utf8);
  EXPECT_TRUE(style({}).colour);
  EXPECT_FALSE(style({{"NO_COLOR", "1"}}).colour);
}

TEST(Screen, AFrameTakesThePlaceOfTheOneBefore) {
  TerminalModel terminal(20, 6);
  terminal.Feed("$ upgrade\r\n");
  terminal.Feed(Screen::Bytes({"one", "two", "three"}, 0));
  terminal.Feed(Screen::Bytes({"1", "2"}, 3));
  EXPECT_EQ(terminal.Text(), "$ upgrade\n1\n2\n");
  EXPECT_TRUE(terminal.cursor_shown());
  EXPECT_EQ(terminal.unknown(), 0);
}

TEST(Screen, LinesThatANarrowerTerminalHasWrappedAreCountedAsItShowsThem) {
  EXPECT_EQ(Screen::RowsOf({0, 39, 40, 41, 79}, 40), 1 + 1 + 1 + 2 + 2);
  EXPECT_EQ(Screen::RowsOf({}, 40), 0);
}

TEST(Figures, AreShortAndSayTheirUnit) {
  EXPECT_EQ(CountText(1234567), "1,234,567");
  EXPECT_EQ(CountText(-1234), "-1,234");
  EXPECT_EQ(RateText(0.04), "0");
  EXPECT_EQ(RateText(12.34), "12.3");
  EXPECT_EQ(RateText(1204.4), "1,204");
  EXPECT_EQ(SpanText(999), "999 ms");
  EXPECT_EQ(SpanText(59999), "59.9 s");
  EXPECT_EQ(SpanText(65000), "1 m 05 s");
  EXPECT_EQ(SpanText(3720000), "1 h 02 m");
  EXPECT_EQ(MillisText(0.04), "0.04 ms");
  EXPECT_EQ(BytesText(41 << 20), "41 MiB");
}

}  // namespace
}  // namespace orchestrator
