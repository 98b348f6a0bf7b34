#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "os/clock.h"
#include "rotatelogs/progress.h"
#include "tests/rotatelogs/processlogs_fixture.h"

namespace {

using harness::Processlogs;
using rotatelogs::ProgressState;
using rotatelogs::ProgressText;
using namespace std::chrono_literals;

TEST(Progress, SaysHowFarHowFastAndHowLongItTakesStill) {
  EXPECT_EQ(ProgressText({10, 1, 40, "access.1795219200", 5s}, 100),
            "[#####---------------] 10/40  1 failed  2.0/s  ETA 15s  access.1795219200");
  EXPECT_EQ(ProgressText({0, 0, 3, "a", 0s}, 100), "[--------------------] 0/3  a");
}

TEST(Progress, NeverFillsTheLastColumnAndKeepsTheCountsLongest) {
  const ProgressState state{10, 1, 40, std::string(300, 'n'), 5s};
  for (int columns = 1; columns < 250; ++columns) {
    EXPECT_LE(ProgressText(state, columns).size(), static_cast<size_t>(std::max(columns - 1, 1)));
  }
  EXPECT_EQ(ProgressText(state, 20), "10/40  1 failed");
}

TEST(Progress, ControlCharactersOfANameDoNotReachTheTerminal) {
  EXPECT_EQ(ProgressText({0, 0, 1, "a\x1b[2J\n", 0s}, 80), "[--------------------] 0/1  a?[2J?");
}

/// Runs the command with a terminal of its own as stdin, stdout and stderr. @return what appeared on it
std::string OnATerminal(const harness::StartOptions& options, unsigned short columns, int& status) {
  os::Fd terminal(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  EXPECT_TRUE(terminal.valid());
  EXPECT_EQ(::grantpt(terminal.get()), 0);
  EXPECT_EQ(::unlockpt(terminal.get()), 0);
  os::Fd theirs(::open(::ptsname(terminal.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  const winsize size{24, columns, 0, 0};
  EXPECT_EQ(::ioctl(theirs.get(), TIOCSWINSZ, &size), 0);
  os::SpawnOptions spawn;
  spawn.program = options.argv[0];
  spawn.arguments = options.argv;
  spawn.environment = os::Environment();
  spawn.directory = options.directory;
  spawn.descriptors = {{theirs.get(), 0}, {theirs.get(), 1}, {theirs.get(), 2}};
  auto started = os::Spawn(spawn);
  EXPECT_TRUE(started) << started.error().Text();
  theirs.Reset();
  harness::Child child;
  child.process = std::move(started).value();
  const std::string out = harness::ReadToEnd(terminal);  // EIO when the last of them has closed it
  status = harness::Wait(child);
  return out;
}

TEST_F(Processlogs, OnATerminalOneLineShowsTheProgressAndIsErasedInTheEnd) {
  for (int i = 0; i < 6; ++i) Segment("a." + std::to_string(i), "1\n", 100 - i);
  int status = -1;
  const auto text = OnATerminal(
      Command({}, {"sh", "-c", "[ $(basename $SEGMENT) != a.2 ] || { echo no luck >&2; exit 1; }"}), 60, status);
  EXPECT_EQ(status, 1) << text;
  EXPECT_NE(text.find("\r[--------------------] 0/6  a.0\x1b[K"), std::string::npos) << text;
  EXPECT_NE(text.find("\r\x1b[Kprocesslogs: " + (dir_.path() / "logs" / "a.2").string()), std::string::npos)
      << "a complaint stands on a line of its own: " << text;
  EXPECT_EQ(text.find("done "), std::string::npos) << "the bar stands for these lines: " << text;
  EXPECT_TRUE(text.ends_with("5 processed, 1 failed, 0 not sealed yet, 0 settled before\r\n")) << text;
  const size_t last_bar = text.rfind("\x1b[K");
  EXPECT_EQ(text.substr(last_bar - 1, 1), "\r") << "erased: " << text;
}

TEST_F(Processlogs, OnATerminalJsonIsStillNothingButObjects) {
  Segment("a", "1\n");
  int status = -1;
  const auto text = OnATerminal(Command({"--json"}, {"true"}), 80, status);
  EXPECT_EQ(status, 0) << text;
  for (const std::string& line : harness::Lines(text))
    EXPECT_TRUE(line.starts_with("{") && line.ends_with("}\r")) << line;
}

TEST_F(Processlogs, WithoutATerminalThereAreOnlyPlainLines) {
  Segment("a", "1\n");
  const auto run = Process({}, {"true"});
  EXPECT_EQ(run.out, "done " + (dir_.path() / "logs" / "a").string() +
                         ": 1 lines, 2 bytes, attempt 1\n1 processed, 0 failed, 0 not sealed yet, 0 settled before\n");
  EXPECT_EQ(run.err, "");
}

}  // namespace
