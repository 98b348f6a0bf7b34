// rotatelogs as a process while something is wrong: the disk, the directory, permissions, limits, signals, its input.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <regex>
#include <set>
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

std::vector<std::string> Command(std::vector<std::string> words) {
  words.insert(words.begin(), ROTATELOGS);
  return words;
}

std::string Numbers(int from, int to, size_t padding = 0) {
  std::string out;
  for (int i = from; i <= to; ++i) out += "line " + std::to_string(i) + std::string(padding, '.') + "\n";
  return out;
}

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

std::string AllLines(const fs::path& directory) {
  std::string out;
  for (const auto& [name, content] : Files(directory)) out += content;
  return out;
}

/// A disk of 16 MiB in a mount namespace of this process, which nobody else sees and which goes with it.
class SmallDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    disk_ = dir_.path() / "small";
    fs::create_directory(disk_);
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount a small tmpfs";
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", disk_.c_str(), "tmpfs", 0, "size=16m") != 0) {
      GTEST_SKIP() << "cannot mount in a private namespace here: " << std::strerror(errno);
    }
  }
  void TearDown() override { ::umount2(disk_.c_str(), MNT_DETACH); }

  /// Leaves `bytes` of room.
  void Fill(size_t room) const {
    const fs::space_info space = fs::space(disk_);
    std::ofstream(disk_ / ".filler") << std::string(space.available > room ? space.available - room : 0, 'f');
  }
  void Free() const { fs::remove(disk_ / ".filler"); }

  TempDir dir_;
  fs::path disk_;
};

TEST_F(SmallDisk, IsWaitedForWhileItIsFullAndNothingIsLost) {
  std::string input;
  for (int i = 0; i < 5000; ++i) input += "line " + std::to_string(i) + " " + std::string(90, 'x') + "\n";
  Child child = Start({Command({"-f", "-n", "2", "log", "100M"}), disk_, {}, {}});
  ASSERT_TRUE(Eventually([&] { return fs::exists(disk_ / "log"); }));
  Fill(200000);
  std::thread producer([&] {
    Write(child.in, input);
    child.in.Reset();
  });
  const std::string said = harness::ReadUntil(child.err, "waiting");
  EXPECT_NE(said.find("cannot write to log (No space left on device): waiting"), std::string::npos) << said;
  const std::string stored = Files(disk_)["log"];
  EXPECT_EQ(stored, input.substr(0, stored.size()));
  Free();
  producer.join();
  EXPECT_EQ(Wait(child), 0);
  EXPECT_EQ(Files(disk_)["log"], input);
}

TEST_F(SmallDisk, WithDropWholeLinesAreDiscardedAndTheirCountIsRight) {
  Child child = Start({Command({"--on-full=drop", "-f", "-n", "2", "log", "100M"}), disk_, {}, {}});
  ASSERT_TRUE(Eventually([&] { return fs::exists(disk_ / "log"); }));
  Fill(200000);
  const std::string lost = Numbers(1, 20000, 60);
  ASSERT_TRUE(Write(child.in, lost)) << "the server is not held up";
  std::string said = harness::ReadUntil(child.err, "lines are dropped");
  EXPECT_NE(said.find("cannot write to log (No space left on device): lines are dropped until it can be written again"),
            std::string::npos)
      << said;
  const std::string shown = "dropped ";
  EXPECT_TRUE(Eventually([&] {
    return Execute({Command({"--status", "log"}), disk_, {}, {}}).out.find(shown) != std::string::npos;
  })) << "--status shows the count";
  Free();
  int probes = 0;
  EXPECT_TRUE(Eventually([&] {
    Write(child.in, "after " + std::to_string(probes++) + "\n");
    return Files(disk_)["log"].find("after ") != std::string::npos;
  }));
  child.in.Reset();
  said += harness::ReadToEnd(child.err);
  EXPECT_EQ(Wait(child), 0);
  const std::string stored = Files(disk_)["log"];
  ASSERT_TRUE(stored.ends_with('\n'));
  std::set<std::string> sent;
  for (const auto& line : Lines(lost)) sent.insert(line);
  for (int i = 0; i < probes; ++i) sent.insert("after " + std::to_string(i));
  const auto kept = Lines(stored);
  for (const auto& line : kept) EXPECT_EQ(sent.count(line), 1U) << "torn: " << line;
  std::smatch found;
  ASSERT_TRUE(std::regex_search(said, found,
                                std::regex("rotatelogs: ([0-9]+) lines \\(([0-9]+) bytes\\) were dropped "
                                           "while log could not be written \\(No space left on device\\)")))
      << said;
  EXPECT_EQ(std::stoul(found[1]), sent.size() - kept.size());
  size_t bytes = 0;
  for (const auto& line : sent) bytes += line.size() + 1;
  EXPECT_EQ(std::stoul(found[2]), bytes - stored.size());
  EXPECT_EQ(Lines(said).size(), 2U) << "said when it begins and when it ends: " << said;
}

TEST_F(SmallDisk, WithDropSeveralWritersTearNoLineOfEachOtherAndEachCountsItsOwn) {
  constexpr int kWriters = 3;
  std::vector<Child> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.push_back(Start({Command({"--on-full=drop", "-v", "-f", "-n", "2", "log", "100M"}), disk_, {}, {}}));
    harness::ReadUntil(writers.back().err, "Opening file");
  }
  Fill(300000);
  std::set<std::string> sent;
  const auto send = [&](int w, int from, int to) {
    std::string text;
    for (int i = from; i < to; ++i) {
      const std::string line =
          "w" + std::to_string(w) + " " + std::to_string(i) + std::string(70 + i % 50, '.') + " end";
      sent.insert(line);
      text += line + "\n";
      if (text.size() > 3000 || i + 1 == to) {
        Write(writers[static_cast<size_t>(w)].in, text);
        text.clear();
      }
    }
  };
  for (int i = 0; i < 4000; i += 100) {
    for (int w = 0; w < kWriters; ++w) send(w, i, i + 100);
  }
  std::vector<std::string> said;
  for (Child& writer : writers) said.push_back(harness::ReadUntil(writer.err, "lines are dropped"));
  Free();
  for (int w = 0; w < kWriters; ++w) {
    int next = 4000;
    EXPECT_TRUE(Eventually([&] {
      send(w, next, next + 1);
      ++next;
      return Files(disk_)["log"].find("\nw" + std::to_string(w) + " " + std::to_string(next - 1) + ".") !=
             std::string::npos;
    }));
  }
  size_t dropped = 0;
  for (size_t w = 0; w < kWriters; ++w) {
    writers[w].in.Reset();
    said[w] += harness::ReadToEnd(writers[w].err);
    EXPECT_EQ(Wait(writers[w]), 0);
    std::smatch found;
    ASSERT_TRUE(std::regex_search(said[w], found, std::regex("rotatelogs: ([0-9]+) lines \\([0-9]+ bytes\\) were")));
    dropped += std::stoul(found[1]);
  }
  std::set<std::string> kept;
  for (const auto& line : Lines(Files(disk_)["log"])) {
    if (sent.count(line) == 1) {
      EXPECT_TRUE(kept.insert(line).second) << "twice: " << line;
      continue;
    }
    // The first piece of a line that was written again because another writer came in between.
    const auto whole = sent.lower_bound(line);
    EXPECT_TRUE(whole != sent.end() && whole->starts_with(line)) << "damaged: " << line;
  }
  EXPECT_EQ(dropped, sent.size() - kept.size());
}

TEST_F(SmallDisk, ThatIsFullFromTheStartIsWaitedForOrDropsEverything) {
  Fill(0);
  Child waits = Start({Command({"-n", "2", "log", "100M"}), disk_, {}, {}});
  Write(waits.in, "waits\n");
  const std::string said = harness::ReadUntil(waits.err, "waiting");
  EXPECT_NE(said.find("No space left on device"), std::string::npos) << said;
  const auto drops = Execute({Command({"--on-full=drop", "-n", "2", "other", "100M"}), disk_, {}, {}}, "a\nb\n");
  EXPECT_EQ(drops.status, 0);
  EXPECT_NE(drops.err.find("2 lines (4 bytes) were dropped while other could not be written"), std::string::npos)
      << drops.err;
  Free();
  waits.in.Reset();
  EXPECT_EQ(Wait(waits), 0);
  EXPECT_EQ(Files(disk_)["log"], "waits\n");
}

TEST_F(SmallDisk, OnWhichOnlyTheLogCannotBeMadeIsWaitedForOrDropsEverything) {
  const fs::path logs = dir_.path() / "x%";  // the rendezvous is beside it, on the large disk
  fs::create_directory(logs);
  ASSERT_EQ(::mount("tmpfs", logs.c_str(), "tmpfs", 0, "nr_inodes=2"), 0);
  std::ofstream(logs / ".filler") << "x";
  Child waits = Start({Command({"-t", "x%%/log", "1000000"}), dir_.path(), {}, {}});
  Write(waits.in, "waits\n");
  const std::string said = harness::ReadUntil(waits.err, "waiting");
  EXPECT_NE(said.find("Could not open log file 'x%/log' (No space left on device): waiting"), std::string::npos)
      << said;
  const auto drops =
      Execute({Command({"--on-full=drop", "-f", "-t", "x%%/other", "1000000"}), dir_.path(), {}, {}}, "a\nb\n");
  EXPECT_EQ(drops.status, 0);
  EXPECT_NE(drops.err.find("2 lines (4 bytes) were dropped while x%%/other could not be"), std::string::npos)
      << drops.err;
  fs::remove(logs / ".filler");
  waits.in.Reset();
  EXPECT_EQ(Wait(waits), 0);
  EXPECT_EQ(Files(logs)["log"], "waits\n");
  ::umount2(logs.c_str(), MNT_DETACH);
}

TEST_F(SmallDisk, ThatIsFullWhenARotationIsDueLosesNothing) {
  Child child = Start({Command({"-v", "log.%Y", "100K"}), disk_, {}, {}});
  const std::string first = Numbers(1, 1000, 90);
  Write(child.in, first);
  harness::ReadUntil(child.err, "Opening file");
  ASSERT_TRUE(Eventually([&] { return AllLines(disk_) == first; }));
  Fill(0);
  const std::string second = Numbers(1001, 3000, 90);
  std::thread producer([&] { Write(child.in, second); });
  const std::string said = harness::ReadUntil(child.err, "waiting");
  EXPECT_NE(said.find("cannot write"), std::string::npos) << said;
  Free();
  producer.join();
  child.in.Reset();
  harness::ReadToEnd(child.err);
  EXPECT_EQ(Wait(child), 0);
  const auto files = Files(disk_);
  EXPECT_GE(files.size(), 3U);
  std::string all;
  const std::string stem = files.begin()->first;
  for (size_t i = 0; i < files.size(); ++i) all += files.at(i == 0 ? stem : stem + "." + std::to_string(i));
  EXPECT_EQ(all, first + second);
}

TEST(Permission, ThatIsLostAtARotationIsComplainedAboutAndTheOldFileGoesOn) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  TempDir dir;
  const fs::path logs = dir.path() / "logs";
  fs::create_directory(logs);
  ASSERT_EQ(::chown(logs.c_str(), 65534, 65534), 0);
  Child child = Start({Command({"-v", "log.%Y", "1K"}), logs, {}, 65534});
  Write(child.in, Numbers(1, 50));
  harness::ReadUntil(child.err, "Opening file");
  ASSERT_TRUE(Eventually([&] { return AllLines(logs) == Numbers(1, 50); }));
  fs::permissions(logs, fs::perms(0555));
  Write(child.in, Numbers(51, 300));
  const std::string said = harness::ReadUntil(child.err, "going on with");
  EXPECT_NE(said.find(" (Permission denied): going on with log."), std::string::npos) << said;
  EXPECT_TRUE(Eventually([&] { return AllLines(logs) == Numbers(1, 300); })) << "all in the old file";
  EXPECT_EQ(Files(logs).size(), 1U);
  fs::permissions(logs, fs::perms(0755));
  int next = 301;
  EXPECT_TRUE(Eventually([&] {
    Write(child.in, Numbers(next, next));
    ++next;
    return Files(logs).size() >= 2;
  }));
  child.in.Reset();
  harness::ReadToEnd(child.err);
  EXPECT_EQ(Wait(child), 0);
  EXPECT_EQ(AllLines(logs), Numbers(1, next - 1));
}

TEST(Permission, ThatIsMissingAtTheStartEndsItWithApachesMessage) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  TempDir dir;
  const auto run = Execute({Command({"-t", (dir.path() / "log").string(), "60"}), dir.path(), {}, 65534}, "x\n");
  EXPECT_EQ(run.status, 2);
  EXPECT_NE(run.err.find("Could not open log file '" + (dir.path() / "log").string() + "' (Permission denied)"),
            std::string::npos)
      << run.err;
}

TEST(Directory, ThatIsRemovedAndMadeAgainGetsTheNextSegment) {
  TempDir dir;
  const fs::path logs = dir.path() / "logs";
  fs::create_directory(logs);
  Child child = Start({Command({"-v", "logs/log.%Y", "1K"}), dir.path(), {}, {}});
  Write(child.in, Numbers(1, 10));
  harness::ReadUntil(child.err, "Opening file");
  ASSERT_TRUE(Eventually([&] { return AllLines(dir.path()) == Numbers(1, 10); }));
  // Kept under another name, so that what is written meanwhile can be counted.
  fs::rename(logs, dir.path() / "kept");
  fs::remove_all(dir.path() / "kept" / ".log.%Y.rotate");
  Write(child.in, Numbers(11, 300));
  const std::string said = harness::ReadUntil(child.err, "No such file or directory");
  EXPECT_NE(said.find("No such file or directory"), std::string::npos) << said;
  fs::create_directory(logs);
  int next = 301;
  EXPECT_TRUE(Eventually([&] {
    Write(child.in, Numbers(next, next));
    ++next;
    return !fs::is_empty(logs) && !Files(logs).empty();
  })) << "it comes back without -D when the directory does";
  child.in.Reset();
  harness::ReadToEnd(child.err);
  EXPECT_EQ(Wait(child), 0);
  EXPECT_EQ(AllLines(dir.path()), Numbers(1, next - 1));
}

TEST(Limits, NoDescriptorLeftAtARotationMeansGoingOnWithTheOldFile) {
  TempDir dir;
  Child child = Start({Command({"-v", "-n", "50", "log", "1K"}), dir.path(), {}, {}});
  Write(child.in, Numbers(1, 10));
  harness::ReadUntil(child.err, "Opening file");
  ASSERT_TRUE(Eventually([&] { return AllLines(dir.path()) == Numbers(1, 10); }));
  rlimit before{};
  ASSERT_EQ(::prlimit(child.process.pid(), RLIMIT_NOFILE, nullptr, &before), 0);
  const rlimit none{3, before.rlim_max};
  ASSERT_EQ(::prlimit(child.process.pid(), RLIMIT_NOFILE, &none, nullptr), 0);
  Write(child.in, Numbers(11, 400));
  const std::string said = harness::ReadUntil(child.err, "going on with");
  EXPECT_NE(said.find("Too many open files"), std::string::npos) << said;
  EXPECT_TRUE(Eventually([&] { return Files(dir.path())["log"] == Numbers(1, 400); }));
  ASSERT_EQ(::prlimit(child.process.pid(), RLIMIT_NOFILE, &before, nullptr), 0);
  int next = 401;
  EXPECT_TRUE(Eventually([&] {
    Write(child.in, Numbers(next, next));
    ++next;
    return fs::exists(dir.path() / "log.1");
  }));
  child.in.Reset();
  harness::ReadToEnd(child.err);
  EXPECT_EQ(Wait(child), 0);
  EXPECT_EQ(AllLines(dir.path()), Numbers(1, next - 1));
}

TEST(Limits, AFileSizeLimitMovesTheLineItFallsIntoToANewFile) {
  TempDir dir;
  harness::StartOptions options{Command({"log.%Y", "100M"}), dir.path(), {}, {}};
  options.limits = {{RLIMIT_FSIZE, {100000, 100000}}};
  // The rendezvous' own files are smaller than the limit.
  const std::string input = Numbers(1, 4000, 50);
  const auto run = Execute(options, input);
  EXPECT_EQ(run.status, 0) << run.err;
  const auto files = Files(dir.path());
  EXPECT_GE(files.size(), 3U);
  std::set<std::string> seen;
  int pieces = 0;
  const auto sent = Lines(input);
  const std::set<std::string> known(sent.begin(), sent.end());
  for (const auto& [name, content] : files) {
    EXPECT_LE(content.size(), 100000U);
    for (const auto& line : Lines(content)) {
      if (known.count(line) == 0) {
        ++pieces;
        EXPECT_TRUE(content.ends_with(line)) << "only the last line of a file can be cut";
      } else {
        EXPECT_TRUE(seen.insert(line).second) << "twice: " << line;
      }
    }
  }
  EXPECT_EQ(seen.size(), known.size()) << "every line is whole somewhere";
  EXPECT_LT(pieces, static_cast<int>(files.size()));
}

TEST(Signals, AStormOfThemWhileItWritesChangesNothing) {
  TempDir dir;
  Child child = Start({Command({"-v", "-n", "500", "-p", "/bin/true", "log", "20K"}), dir.path(), {}, {}});
  Write(child.in, Numbers(1, 1));
  harness::ReadUntil(child.err, "Opening file");
  std::atomic<bool> over{false};
  std::thread drain([&] { harness::ReadToEnd(child.err, 60); });
  std::thread storm([&] {
    for (int i = 0; !over; ++i) {
      for (const int number : {SIGALRM, SIGCHLD, SIGSTOP, SIGCONT, SIGWINCH, SIGURG}) {
        (void)child.process.Signal(number).has_value();
      }
      ::usleep(200);
    }
    (void)child.process.Signal(SIGCONT).has_value();
  });
  for (int i = 2; i <= 40000; i += 100) Write(child.in, Numbers(i, std::min(i + 99, 40000)));
  child.in.Reset();
  const int status = Wait(child);
  over = true;
  storm.join();
  drain.join();
  EXPECT_EQ(status, 0);
  std::set<std::string> seen;
  size_t count = 0;
  for (const auto& line : Lines(AllLines(dir.path()))) {
    seen.insert(line);
    ++count;
  }
  EXPECT_EQ(count, 40000U);
  EXPECT_EQ(seen.size(), 40000U);
}

TEST(Input, ThatDoesNotBlockIsWaitedFor) {
  TempDir dir;
  harness::StartOptions options{Command({"-t", "log", "60"}), dir.path(), {}, {}};
  options.nonblocking_input = true;
  Child child = Start(options);
  Write(child.in, "one\n");
  ASSERT_TRUE(Eventually([&] { return Files(dir.path())["log"] == "one\n"; }));
  Write(child.in, "two\n");
  child.in.Reset();
  EXPECT_EQ(Wait(child), 0);
  EXPECT_EQ(Files(dir.path())["log"], "one\ntwo\n");
}

TEST(Log, ThatIsAFifoIsWaitedForWithoutHoldingUpAnybodyAndCanBeReadThen) {
  TempDir dir;
  const fs::path fifo = dir.path() / "log";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  Child child = Start({Command({"-t", "log", "1000000"}), dir.path(), {}, {}});
  Write(child.in, "one\n");
  const std::string said = harness::ReadUntil(child.err, "waiting");
  EXPECT_NE(said.find("Could not open log file 'log' (nobody reads this FIFO): waiting"), std::string::npos) << said;
  const auto status = Execute({Command({"--status", "log"}), dir.path(), {}, {}});
  EXPECT_NE(status.out.find("1 writer"), std::string::npos) << status.out << status.err;
  os::Fd reader(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(reader.valid());
  child.in.Reset();
  EXPECT_EQ(Wait(child), 0);
  EXPECT_EQ(harness::ReadToEnd(reader), "one\n");
}

TEST(Log, ThatIsASymbolicLinkOrADeviceIsFollowed) {
  TempDir dir;
  fs::create_directory(dir.path() / "elsewhere");
  fs::create_symlink("elsewhere/real", dir.path() / "log");
  fs::create_symlink("/dev/null", dir.path() / "null");
  EXPECT_EQ(Execute({Command({"-n", "2", "log", "5M"}), dir.path(), {}, {}}, "one\n").status, 0);
  EXPECT_EQ(Files(dir.path())["elsewhere/real"], "one\n");
  EXPECT_TRUE(fs::is_symlink(dir.path() / "log"));
  const auto null = Execute({Command({"-n", "2", "null", "5M"}), dir.path(), {}, {}}, Numbers(1, 20000));
  EXPECT_EQ(null.status, 0);
  EXPECT_EQ(null.err, "");
}

}  // namespace
