// What becomes of lines when a writer is killed or stopped at a given step, or its rendezvous is taken away.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <thread>

#include "os/file.h"
#include "tests/rotatelogs/harness.h"

namespace {

using harness::Child;
using harness::Execute;
using harness::Files;
using harness::Lines;
using harness::Start;
using harness::TempDir;
using harness::Wait;
using harness::Write;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

const std::vector<std::string> kCommand = {ROTATELOGS, "-n", "9", "log", "1G"};

std::string Numbers(int from, int to) {
  std::string out;
  for (int i = from; i <= to; ++i) out += "line " + std::to_string(i) + "\n";
  return out;
}

bool Becomes(const std::function<bool()>& condition, std::chrono::seconds patience = 20s) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

/// A program on the read end of `pipe`.
Child On(const std::pair<os::Fd, os::Fd>& pipe, const fs::path& directory, const std::string& fault = "") {
  return Start({kCommand, directory, {"ROTATELOGS_FAULT=" + fault}, {}, pipe.first.get()});
}

std::vector<std::string> Meeting(const fs::path& directory, const std::string& prefix) {
  std::vector<std::string> out;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(directory / ".log.rotate", missing)) {
    if (entry.path().filename().string().starts_with(prefix)) out.push_back(entry.path().filename());
  }
  return out;
}

void Kill(Child& child) {
  ASSERT_TRUE(child.process.Signal(SIGKILL));
  EXPECT_EQ(Wait(child), 1000 + SIGKILL);
}

TEST(Killed, TheSuccessorOnThePipeEndsTheLineThatTheDeadOneHadBegun) {
  TempDir dir;
  const auto pipe = harness::Pipe();
  Child first = On(pipe, dir.path());
  Write(pipe.second, "one\nunfini");
  ASSERT_TRUE(Becomes([&] { return Files(dir.path())["log"] == "one\n"; }));
  Kill(first);
  Write(pipe.second, "shed\ntwo\n");
  Child second = On(pipe, dir.path());
  ASSERT_TRUE(Becomes([&] { return Files(dir.path())["log"] == "one\nunfinished\ntwo\n"; }));
  const_cast<os::Fd&>(pipe.second).Reset();
  EXPECT_EQ(Wait(second), 0);
  EXPECT_EQ(Files(dir.path())["log"], "one\nunfinished\ntwo\n");
  EXPECT_TRUE(Meeting(dir.path(), "spool.").empty());
}

TEST(Killed, AnUnfinishedLineWaitsTenSecondsForItsSuccessorThenAnyWriterEndsIt) {
  if (!::getenv("BATON_LONG")) GTEST_SKIP() << "takes 11 s: BATON_LONG=1";
  TempDir dir;
  const auto pipe = harness::Pipe();
  Child first = On(pipe, dir.path());
  Write(pipe.second, "one\nunfini");
  ASSERT_TRUE(Becomes([&] { return Files(dir.path())["log"] == "one\n"; }));
  Child other = Start({kCommand, dir.path(), {}, {}});
  Write(other.in, "other\n");
  ASSERT_TRUE(Becomes([&] { return Files(dir.path())["log"] == "one\nother\n"; }));
  Kill(first);
  EXPECT_TRUE(Becomes([&] { return Files(dir.path())["log"] == "one\nother\nunfini\n"; }, 40s));
  other.in.Reset();
  EXPECT_EQ(Wait(other), 0);
  EXPECT_TRUE(Meeting(dir.path(), "spool.").empty());
}

TEST(Spool, OfAnEarlierBootIsRemovedWithALine) {
  TempDir dir;
  const auto pipe = harness::Pipe();
  Child first = On(pipe, dir.path());
  Write(pipe.second, "one\ntwo");
  ASSERT_TRUE(Becomes([&] { return Files(dir.path())["log"] == "one\n"; }));
  Kill(first);
  const auto spools = Meeting(dir.path(), "spool.");
  ASSERT_EQ(spools.size(), 1U);
  std::fstream file(dir.path() / ".log.rotate" / spools[0], std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(8) << "another boot";
  file.close();
  const auto run = Execute({kCommand, dir.path(), {}, {}}, "three\n");
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(Lines(run.err).size(), 1U) << run.err;
  EXPECT_NE(run.err.find("is of an earlier boot or another release: removed unread"), std::string::npos) << run.err;
  EXPECT_TRUE(Meeting(dir.path(), "spool.").empty());
  EXPECT_EQ(Files(dir.path())["log"], "one\nthree\n");
}

TEST(Spool, ThatCannotBeMadeIsSaidAndLoggingGoesOn) {
  TempDir dir;
  const fs::path mount = dir.path() / "small";
  fs::create_directory(mount);
  if (::geteuid() != 0 || ::mount("tmpfs", mount.c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "needs root to mount a small tmpfs";
  }
  const auto run = Execute({kCommand, mount, {}, {}}, Numbers(1, 1000));
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(Lines(run.err).size(), 1U) << run.err;
  EXPECT_NE(run.err.find("No space left on device in .log.rotate: going on without"), std::string::npos) << run.err;
  EXPECT_EQ(Files(mount)["log"], Numbers(1, 1000));
  EXPECT_EQ(::umount2(mount.c_str(), MNT_DETACH), 0);
}

TEST(Rendezvous, TheStateOfAnOlderReleaseIsTakenOver) {
  TempDir dir;
  EXPECT_EQ(Execute({kCommand, dir.path(), {}, {}}, "one\n").status, 0);
  const fs::path state = dir.path() / ".log.rotate" / "state";
  // It ended with the slots: no turns, no spools.
  fs::resize_file(state, fs::file_size(state) - 16);
  const auto run = Execute({kCommand, dir.path(), {}, {}}, "two\n");
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(Files(dir.path())["log"], "one\ntwo\n");
}

TEST(Rendezvous, WhoeverKeepsItsLockHoldsUpRotationsButNoLine) {
  TempDir dir;
  Child child = Start({{ROTATELOGS, "-n", "9", "log", "1K"}, dir.path(), {}, {}});
  Write(child.in, "first\n");
  ASSERT_TRUE(Becomes([&] { return Files(dir.path())["log"] == "first\n"; }));
  auto lock = os::Open(dir.path() / ".log.rotate" / "lock", O_RDWR);
  ASSERT_TRUE(lock);
  ASSERT_EQ(::flock(lock.value().get(), LOCK_EX), 0);  // as a writer that was stopped while it rotates
  Write(child.in, Numbers(1, 500));
  Write(child.in, Numbers(501, 1000));
  const std::string said = harness::ReadUntil(child.err, "\n");
  EXPECT_NE(said.find("lock is held by a process that does not let go: going on with log"), std::string::npos) << said;
  lock.value().Reset();
  child.in.Reset();
  EXPECT_EQ(harness::ReadToEnd(child.err), "");
  EXPECT_EQ(Wait(child), 0);
  size_t lines = 0;
  for (const auto& [name, content] : Files(dir.path())) lines += Lines(content).size();
  EXPECT_GE(lines, 100U) << "the ring of 9 x 1K keeps the newest";
}

TEST(Rendezvous, RemovedWhileWritersRunIsMadeAgainAndNothingIsLost) {
  TempDir dir;
  std::vector<Child> children;
  for (int w = 0; w < 2; ++w) {
    children.push_back(Start({{ROTATELOGS, "-n", "2000", "log", "20K"}, dir.path(), {}, {}}));
    Write(children.back().in, Numbers(1, 10));
  }
  ASSERT_TRUE(Becomes([&] { return Files(dir.path())["log"].size() == 2 * Numbers(1, 10).size(); }));
  fs::remove_all(dir.path() / ".log.rotate");
  for (auto& child : children) Write(child.in, Numbers(11, 20000));
  for (auto& child : children) child.in.Reset();
  size_t lines = 0;
  for (auto& child : children) {
    EXPECT_EQ(harness::ReadToEnd(child.err), "");
    EXPECT_EQ(Wait(child), 0);
  }
  for (const auto& [name, content] : Files(dir.path())) {
    for (const auto& line : Lines(content)) EXPECT_TRUE(line.starts_with("line ")) << line;
    lines += Lines(content).size();
  }
  EXPECT_EQ(lines, 40000U);
  EXPECT_TRUE(Meeting(dir.path(), "spool.").empty());
  EXPECT_TRUE(Meeting(dir.path(), "writer.").empty());
}

#ifdef BATON_FAULTS
using Steps = std::tuple<const char*, const char*>;
class KilledAt : public ::testing::TestWithParam<Steps> {};

/// The first writer dies at one step; the next on its pipe perhaps, too, while it takes over; the third one ends it.
TEST_P(KilledAt, SuccessorsOnThePipeWriteEveryLineOnce) {
  const auto [step, next_step] = GetParam();
  TempDir dir;
  auto pipe = harness::Pipe();
  Child first = On(pipe, dir.path(), step);
  Write(pipe.second, Numbers(1, 3000) + "line 30");
  if (std::string(step) == "compacted") {  // the second read comes to it
    ASSERT_TRUE(Becomes([&] { return !Files(dir.path())["log"].empty(); }));
    Write(pipe.second, "0");
  } else {
    Write(pipe.second, "0");
  }
  EXPECT_EQ(Wait(first), 1000 + SIGKILL) << step;
  Child second = On(pipe, dir.path(), next_step);
  Write(pipe.second, "1\n" + Numbers(3002, 4000));
  pipe.second.Reset();
  const int status = Wait(second);
  EXPECT_TRUE(status == 0 || status == 1000 + SIGKILL) << status;
  Child third = On(pipe, dir.path());
  EXPECT_EQ(Wait(third), 0);
  EXPECT_EQ(harness::ReadToEnd(third.err), "");
  EXPECT_EQ(Files(dir.path())["log"], Numbers(1, 4000));
  EXPECT_TRUE(Meeting(dir.path(), "spool.").empty());
}

TEST_P(KilledAt, AStrangerWritesTheWholeLinesThatWereRead) {
  const auto [step, next_step] = GetParam();
  TempDir dir;
  const auto pipe = harness::Pipe();
  Write(pipe.second, Numbers(1, 3000) + "line 30");
  Child first = On(pipe, dir.path(), step);
  if (std::string(step) == "compacted") {
    ASSERT_TRUE(Becomes([&] { return !Files(dir.path())["log"].empty(); }));
    Write(pipe.second, "0");
  }
  EXPECT_EQ(Wait(first), 1000 + SIGKILL) << step;
  Child second = Start({kCommand, dir.path(), {"ROTATELOGS_FAULT=" + std::string(next_step)}, {}});
  Write(second.in, "stranger\n");
  second.in.Reset();
  const int status = Wait(second);
  EXPECT_TRUE(status == 0 || status == 1000 + SIGKILL);
  EXPECT_EQ(Execute({kCommand, dir.path(), {}, {}}).status, 0);
  std::string log = Files(dir.path())["log"];
  const size_t at = log.find("stranger\n");
  if (at != std::string::npos) log.erase(at, 9);
  EXPECT_TRUE(at != std::string::npos || status != 0);
  EXPECT_EQ(log, Numbers(1, 3000));
}
INSTANTIATE_TEST_SUITE_P(EachStep, KilledAt,
                         ::testing::Combine(::testing::Values("read", "announced", "torn", "written", "compacted"),
                                            ::testing::Values("", "read", "resolved", "torn", "taken over")));

TEST(Killed, WithItsFileGoneIsSaidAndItsLinesAreWrittenAgain) {
  TempDir dir;
  Child dies = Start({kCommand, dir.path(), {"ROTATELOGS_FAULT=written"}, {}});
  Write(dies.in, "one\n");
  EXPECT_EQ(Wait(dies), 1000 + SIGKILL);
  EXPECT_EQ(Files(dir.path())["log"], "one\n");
  fs::remove(dir.path() / "log");
  const auto run = Execute({kCommand, dir.path(), {}, {}}, "two\n");
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(Lines(run.err).size(), 1U) << run.err;
  EXPECT_NE(run.err.find("log is not there any more"), std::string::npos) << run.err;
  EXPECT_EQ(Files(dir.path())["log"], "one\ntwo\n");
}

TEST(Killed, WhileItsLinkWasMadeLeavesNoOtherNameOfTheLogBesideIt) {
  TempDir dir;
  const std::vector<std::string> command = {ROTATELOGS, "-L", "link", "-n", "9", "log", "1G"};
  Child dies = Start({command, dir.path(), {"ROTATELOGS_FAULT=linked"}, {}});
  Write(dies.in, "one\n");
  EXPECT_EQ(Wait(dies), 1000 + SIGKILL);
  EXPECT_EQ(Files(dir.path()).size(), 1U);
  EXPECT_EQ(Execute({command, dir.path(), {}, {}}, "two\n").status, 0);
  EXPECT_EQ(Files(dir.path()), (std::map<std::string, std::string>{{"link", "one\ntwo\n"}, {"log", "one\ntwo\n"}}));
  EXPECT_TRUE(Meeting(dir.path(), "link").empty());
  struct stat status {};
  ASSERT_EQ(::stat((dir.path() / "log").c_str(), &status), 0);
  EXPECT_EQ(status.st_nlink, 2U);
}

TEST(Killed, ATornLineOfTheDeadIsCompletedBeforeAnybodyElseWrites) {
  TempDir dir;
  Child other = Start({kCommand, dir.path(), {}, {}});
  Write(other.in, "other 1\n");
  ASSERT_TRUE(Becomes([&] { return Files(dir.path())["log"] == "other 1\n"; }));
  Child dies = Start({kCommand, dir.path(), {"ROTATELOGS_FAULT=torn"}, {}});
  Write(dies.in, "a line that is torn in its middle\n");
  EXPECT_EQ(Wait(dies), 1000 + SIGKILL);
  EXPECT_EQ(Files(dir.path())["log"], "other 1\na line that is to") << "nobody has written since";
  Write(other.in, "other 2\n");
  other.in.Reset();
  EXPECT_EQ(Wait(other), 0);
  EXPECT_EQ(Files(dir.path())["log"], "other 1\na line that is torn in its middle\nother 2\n");
}

TEST(Stopped, AWriterThatIsStoppedWithinItsTurnHoldsUpTheOthersForSecondsOnly) {
  TempDir dir;
  Child stopped = Start({kCommand, dir.path(), {"ROTATELOGS_FAULT=stop:announced"}, {}});
  Write(stopped.in, "late\n");
  Child other = Start({kCommand, dir.path(), {}, {}});
  ASSERT_TRUE(Becomes([&] { return Meeting(dir.path(), "spool.").size() == 1; }));
  ASSERT_TRUE(Becomes([&] {
    const auto stat = os::ReadFile("/proc/" + std::to_string(stopped.process.pid()) + "/stat");
    return stat && stat.value().find(") T ") != std::string::npos;
  }));
  Write(other.in, "other\n");
  const std::string said = harness::ReadUntil(other.err, "\n");
  EXPECT_NE(said.find("has stopped within a write: going on without it"), std::string::npos) << said;
  ASSERT_TRUE(Becomes([&] { return Files(dir.path())["log"] == "other\n"; }));
  Write(other.in, "again\n");
  ASSERT_TRUE(Becomes([&] { return Files(dir.path())["log"] == "other\nagain\n"; }));
  ASSERT_TRUE(stopped.process.Signal(SIGCONT));
  stopped.in.Reset();
  EXPECT_EQ(Wait(stopped), 0);
  other.in.Reset();
  EXPECT_EQ(harness::ReadToEnd(other.err), "") << "said once";
  EXPECT_EQ(Wait(other), 0);
  EXPECT_EQ(Files(dir.path())["log"], "other\nagain\nlate\n");
}
#endif

}  // namespace
