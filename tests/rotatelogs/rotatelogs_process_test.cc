#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <set>
#include <thread>

#include "os/file.h"
#include "tests/rotatelogs/harness.h"

namespace {

using harness::Child;
using harness::Execute;
using harness::Files;
using harness::FirstLine;
using harness::Lines;
using harness::ReadUntil;
using harness::Start;
using harness::TempDir;
using harness::Wait;
using harness::Write;
namespace fs = std::filesystem;

std::vector<std::string> Command(std::vector<std::string> words) {
  words.insert(words.begin(), ROTATELOGS);
  return words;
}

std::string Numbers(int from, int to) {
  std::string out;
  for (int i = from; i <= to; ++i) out += "line " + std::to_string(i) + "\n";
  return out;
}

TEST(Ring, KeepsTheNewestLinesInNFiles) {
  TempDir dir;
  std::vector<Child> children;
  for (int w = 0; w < 3; ++w) children.push_back(Start({Command({"-n", "3", "log", "20K"}), dir.path(), {}, {}}));
  for (int round = 0; round < 40; ++round) {
    for (auto& child : children) Write(child.in, Numbers(round * 100, round * 100 + 99));
  }
  for (auto& child : children) {
    child.in.Reset();
    EXPECT_EQ(Wait(child), 0);
  }
  const auto files = Files(dir.path());
  EXPECT_EQ(files.size(), 3U);
  size_t total = 0;
  for (const auto& [name, content] : files) {
    total += content.size();
    EXPECT_LE(content.size(), (20U << 10) + 100);
    for (const auto& line : Lines(content)) EXPECT_TRUE(line.starts_with("line ")) << name << ": " << line;
  }
  EXPECT_GE(total, 2U * (20U << 10)) << "only the file in use may be less than full";
}

TEST(Ring, GoesOnAfterARestartWhereItStopped) {
  TempDir dir;
  EXPECT_EQ(Execute({Command({"-n", "4", "log", "1K"}), dir.path(), {}, {}}, Numbers(1, 250)).status, 0);
  const auto before = Files(dir.path());
  EXPECT_EQ(Execute({Command({"-n", "4", "log", "1K"}), dir.path(), {}, {}}, "last\n").status, 0);
  const auto after = Files(dir.path());
  int changed = 0;
  for (const auto& [name, content] : after) {
    if (content == before.at(name)) continue;
    ++changed;
    EXPECT_EQ(content, before.at(name) + "last\n") << "the first line after a restart must not destroy lines";
  }
  EXPECT_EQ(changed, 1);
}

TEST(PostRotateProgram, RunsOncePerRotationHoweverManyWritersThereAre) {
  TempDir dir;
  const fs::path script = dir.path() / "hook";
  std::ofstream(script) << "#!/bin/sh\necho \"$1 $2\" >> .calls\n";
  fs::permissions(script, fs::perms(0755));
  const fs::path logs = dir.path() / "logs";
  fs::create_directory(logs);
  std::vector<Child> children;
  for (int w = 0; w < 3; ++w) {
    children.push_back(Start({Command({"-v", "-p", script.string(), "-n", "500", "log", "5K"}), logs, {}, {}}));
  }
  // One that begins when the others have gone is a new beginning, of which the program is told too.
  for (auto& child : children) Write(child.in, "line\n");
  for (auto& child : children) ReadUntil(child.err, "Opening file");
  for (int round = 0; round < 40; ++round) {
    for (auto& child : children) Write(child.in, Numbers(round * 20, round * 20 + 19));
  }
  for (auto& child : children) {
    child.in.Reset();
    harness::ReadToEnd(child.err);  // ends when the last hook has ended too: they hold it
    EXPECT_EQ(Wait(child), 0);
  }
  auto calls = os::ReadFile(logs / ".calls");
  ASSERT_TRUE(calls);
  std::multiset<std::string> called;
  for (const auto& line : Lines(calls.value())) called.insert(line.substr(0, line.find(' ')));
  std::multiset<std::string> names;
  for (const auto& [name, content] : Files(logs)) {
    if (name[0] != '.') names.insert(name);
  }
  EXPECT_GE(names.size(), 4U);
  EXPECT_EQ(called, names);
}

TEST(PostRotateProgram, CannotReadTheLogsInput) {
  TempDir dir;
  const fs::path script = dir.path() / "hook";
  std::ofstream(script) << "#!/bin/sh\ncat > .stolen\n";
  fs::permissions(script, fs::perms(0755));
  EXPECT_EQ(Execute({Command({"-p", script.string(), "-t", "log", "60"}), dir.path(), {}, {}}, Numbers(1, 50)).status,
            0);
  EXPECT_EQ(Files(dir.path())["log"], Numbers(1, 50));
}

TEST(Signals, TermFromTheParentEndsTheProcessAtOnceAndAChildDrainsThePipeToItsEnd) {
  TempDir dir;
  Child child = Start({Command({"-v", "-n", "9", "log", "1M"}), dir.path(), {}, {}});
  Write(child.in, Numbers(1, 10));
  harness::ReadUntil(child.err, "Opening file");  // signals are caught from then on
  ASSERT_TRUE(child.process.Signal(SIGTERM));
  EXPECT_EQ(Wait(child, 5), 0);
  EXPECT_TRUE(Write(child.in, Numbers(11, 5000))) << "the pipe still has a reader";
  child.in.Reset();
  harness::ReadToEnd(child.err);  // held by the draining child: its end is the child's end
  EXPECT_EQ(Files(dir.path())["log"], Numbers(1, 5000));
}

TEST(Signals, TermFromAStrangerWritesWhatThePipeHoldsAndEnds) {
  TempDir dir;
  Child child = Start({Command({"-v", "-n", "9", "log", "1M"}), dir.path(), {}, {}});
  Write(child.in, Numbers(1, 3000));
  harness::ReadUntil(child.err, "Opening file");  // signals are caught from then on
  const auto killed = Execute({{"/bin/kill", "-TERM", std::to_string(child.process.pid())}, dir.path(), {}, {}});
  ASSERT_EQ(killed.status, 0) << killed.err;
  EXPECT_EQ(Wait(child, 5), 0);
  EXPECT_EQ(Files(dir.path())["log"], Numbers(1, 3000));
}

TEST(Start, CreatesNothingBeforeTheFirstByte) {
  TempDir dir;
  EXPECT_EQ(Execute({Command({"log", "60"}), dir.path(), {}, {}}).status, 0);
  EXPECT_TRUE(fs::is_empty(dir.path()));
  EXPECT_EQ(Execute({Command({"-f", "-n", "2", "log", "60"}), dir.path(), {}, {}}).status, 0);
  EXPECT_TRUE(fs::exists(dir.path() / "log"));
}

TEST(Start, ASecondWriterDoesNotEmptyAFileThatAnotherFills) {
  TempDir dir;
  Child first = Start({Command({"-t", "-f", "-v", "log", "1000000"}), dir.path(), {}, {}});
  harness::ReadUntil(first.err, "Opening file");
  Write(first.in, "from the first\n");
  EXPECT_EQ(Execute({Command({"-t", "log", "1000000"}), dir.path(), {}, {}}, "from the second\n").status, 0);
  first.in.Reset();
  EXPECT_EQ(Wait(first), 0);
  const auto lines = Lines(Files(dir.path())["log"]);
  EXPECT_EQ(std::set<std::string>(lines.begin(), lines.end()),
            (std::set<std::string>{"from the first", "from the second"}));
  EXPECT_EQ(Execute({Command({"-t", "log", "1000000"}), dir.path(), {}, {}}, "alone\n").status, 0);
  EXPECT_EQ(Files(dir.path())["log"], "alone\n") << "alone, -t empties the file as it always did";
}

TEST(Start, AnotherUsersRendezvousIsRefusedInOneLine) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  TempDir dir;
  fs::permissions(dir.path(), fs::perms(0777));
  const std::string name = (dir.path() / "log").string();
  EXPECT_EQ(Execute({Command({name, "60"}), dir.path(), {}, {}}, "x\n").status, 0);
  const auto other = Execute({Command({name, "60"}), dir.path(), {}, 65534}, "x\n");
  EXPECT_EQ(other.status, 2);
  EXPECT_EQ(Lines(other.err).size(), 1U) << other.err;
  EXPECT_NE(other.err.find("belongs to user 0"), std::string::npos) << other.err;
}

TEST(LongLines, UpToAMebibyteStayWholeAcrossARotation) {
  TempDir dir;
  const std::string line = std::string(1000000, 'x') + "\n";
  EXPECT_EQ(Execute({Command({"-n", "9", "log", "100K"}), dir.path(), {}, {}}, "short\n" + line + "after\n").status, 0);
  EXPECT_EQ(Files(dir.path())["log"], "short\n" + line);
  EXPECT_EQ(Files(dir.path())["log.1"], "after\n");
}

TEST(LongLines, LongerOnesAreWrittenInPiecesAndCountedButNotCutByARotation) {
  TempDir dir;
  const std::string line = std::string(3000000, 'x') + "\n";
  const auto run = Execute({Command({"-n", "9", "log", "100K"}), dir.path(), {}, {}}, line + "after\n");
  EXPECT_EQ(run.status, 0);
  EXPECT_NE(run.err.find("was written in pieces (1 so far)"), std::string::npos) << run.err;
  EXPECT_EQ(Files(dir.path())["log"], line);
  EXPECT_EQ(Files(dir.path())["log.1"], "after\n");
}

TEST(Input, BytesAreKeptVerbatimWithoutAFinalNewlineAndWithNuls) {
  TempDir dir;
  const std::string input("a\0b\nno end", 10);
  EXPECT_EQ(Execute({Command({"-n", "2", "log", "60"}), dir.path(), {}, {}}, input).status, 0);
  EXPECT_EQ(Files(dir.path())["log"], input);
}

TEST(Input, ALineAfterATornOneBeginsOnALineOfItsOwn) {
  TempDir dir;
  std::ofstream(dir.path() / "log") << "torn by a cra";
  EXPECT_EQ(Execute({Command({"-n", "2", "log", "60"}), dir.path(), {}, {}}, "whole\n").status, 0);
  EXPECT_EQ(Files(dir.path())["log"], "torn by a cra\nwhole\n");
}

TEST(Idle, AWriterLetsGoOfASegmentWhoseIntervalIsOver) {
  TempDir dir;
  Child child = Start({Command({"-v", "log", "1"}), dir.path(), {}, {}});
  Write(child.in, "one\n");
  const auto written_by = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (Files(dir.path()).empty() || Files(dir.path()).begin()->second != "one\n") {
    ASSERT_LT(std::chrono::steady_clock::now(), written_by);
  }
  const std::string fds = "/proc/" + std::to_string(child.process.pid()) + "/fd";
  const auto holds_log = [&] {
    for (const auto& entry : fs::directory_iterator(fds)) {
      std::error_code gone;
      if (fs::read_symlink(entry.path(), gone).filename().string().starts_with("log.")) return true;
    }
    return false;
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (holds_log() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_FALSE(holds_log());
  Write(child.in, "two\n");
  child.in.Reset();
  EXPECT_EQ(Wait(child), 0);
  std::string all;
  for (const auto& [name, content] : Files(dir.path())) all += content;
  EXPECT_EQ(all, "one\ntwo\n");
}

TEST(FullDisk, IsWaitedForAndNothingIsLost) {
  TempDir dir;
  const fs::path mount = dir.path() / "small";
  fs::create_directory(mount);
  if (::geteuid() != 0 || ::mount("tmpfs", mount.c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "needs root to mount a small tmpfs";
  }
  std::ofstream(mount / ".filler") << std::string(500000, 'f');
  std::string input;
  for (int i = 0; i < 9000; ++i) input += "line " + std::to_string(i) + " " + std::string(70, 'x') + "\n";
  {
    Child child = Start({Command({"-n", "2", "log", "100M"}), mount, {}, {}});
    std::thread producer([&] {
      Write(child.in, input);
      child.in.Reset();
    });
    const std::string said = harness::ReadUntil(child.err, "waiting");
    EXPECT_NE(said.find("No space left on device"), std::string::npos) << said;
    const std::string stored = Files(mount)["log"];
    EXPECT_GT(stored.size(), 300000U);
    EXPECT_EQ(stored, input.substr(0, stored.size())) << "what was written stays";
    fs::remove(mount / ".filler");
    producer.join();
    EXPECT_EQ(Wait(child), 0);
    EXPECT_EQ(Files(mount)["log"], input);
  }
  EXPECT_EQ(::umount2(mount.c_str(), MNT_DETACH), 0);
}

TEST(Faults, ADirectoryThatVanishesIsMadeAgainWithD) {
  TempDir dir;
  Child child = Start({Command({"-D", "-v", "-n", "50", "sub/log", "1K"}), dir.path(), {}, {}});
  Write(child.in, Numbers(1, 10));
  harness::ReadUntil(child.err, "Opening file sub/log\n");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (Files(dir.path())["sub/log"] != Numbers(1, 10) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  fs::rename(dir.path() / "sub", dir.path() / "moved");
  fs::remove_all(dir.path() / "moved" / ".log.rotate");
  Write(child.in, Numbers(11, 400));
  child.in.Reset();
  EXPECT_EQ(Wait(child), 0);
  std::set<std::string> lines;
  size_t count = 0;
  for (const auto& [name, content] : Files(dir.path())) {
    for (const auto& line : Lines(content)) {
      lines.insert(line);
      ++count;
    }
  }
  EXPECT_EQ(count, 400U);
  EXPECT_EQ(lines.size(), 400U);
  EXPECT_TRUE(fs::exists(dir.path() / "sub"));
}

}  // namespace
