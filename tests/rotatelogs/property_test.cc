// Several writers, and kill -9 of writers, at random: nothing that reached a pipe is lost, nothing is written twice,
// nobody's line is damaged. BATON_LONG=1: many more seeds.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "os/file.h"
#include "tests/rotatelogs/harness.h"

namespace {

using harness::Child;
using harness::Execute;
using harness::Files;
using harness::Lines;
using harness::TempDir;
using harness::Wait;
using harness::Write;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

std::vector<std::string> Command(std::vector<std::string> words) {
  words.insert(words.begin(), ROTATELOGS);
  return words;
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed * 7919 + 1) {}
  int operator()(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }

 private:
  std::mt19937 engine_;
};

/// Line `sequence` of `writer`: any damage to it is seen.
std::string TestLine(int writer, int sequence, Random& random) {
  const int kind = random(0, 99);
  const int payload = kind < 70 ? random(1, 300) : kind < 97 ? random(300, 9000) : random(9000, 200000);
  const char fill = static_cast<char>('a' + (writer * 7 + sequence) % 26);
  return "w" + std::to_string(writer) + " " + std::to_string(sequence) + " " + std::to_string(payload) + " " +
         std::string(static_cast<size_t>(payload), fill) + " end";
}

/// One log program, and the pipe that outlives it: what a server has.
struct Logger {
  int number = 0;
  std::pair<os::Fd, os::Fd> pipe = harness::Pipe();
  Child child;
  std::vector<std::string> sent;  ///< whole lines that went into the pipe
  std::thread producer;
  bool abandoned = false;  ///< killed, and nobody continued on its pipe

  void Run(const std::vector<std::string>& command, const fs::path& directory,
           const std::vector<std::string>& environment = {}) {
    child = harness::Start({command, directory, environment, {}, pipe.first.get()});
  }
  void Kill() {
    (void)child.process.Signal(SIGKILL).has_value();
    Wait(child);
  }
  /// Lines of random lengths in random chunks, until `bytes` have been sent or `stop`.
  void Produce(unsigned seed, size_t bytes, std::atomic<bool>& stop, std::chrono::microseconds pause) {
    producer = std::thread([this, seed, bytes, &stop, pause] {
      Random random(seed);
      std::string pending;
      size_t total = 0;
      for (int i = 0; total < bytes && !stop; ++i) {
        sent.push_back(TestLine(number, i, random));
        pending += sent.back() + "\n";
        total += sent.back().size();
        const size_t chunk = static_cast<size_t>(random(1, 20000));
        while (pending.size() >= chunk) {
          if (!Write(pipe.second, std::string_view(pending).substr(0, chunk))) return;
          pending.erase(0, chunk);
        }
        if (pause.count() > 0) std::this_thread::sleep_for(pause);  // spreads the load over rotations
      }
      Write(pipe.second, pending);
    });
  }
};

enum class Kept { kAll, kNewest };

/// Every line of every file is one that was sent, whole; none is there twice; within a file each writer's lines follow
/// each other; and (kAll) none is missing, except that of an abandoned writer only a beginning must be there.
void CheckLines(const std::map<std::string, std::string>& files, const std::vector<Logger>& loggers, Kept kept) {
  std::map<std::string, std::pair<size_t, size_t>> known;
  std::vector<std::vector<int>> seen(loggers.size());
  for (size_t w = 0; w < loggers.size(); ++w) {
    seen[w].resize(loggers[w].sent.size());
    for (size_t i = 0; i < loggers[w].sent.size(); ++i) known[loggers[w].sent[i]] = {w, i};
  }
  for (const auto& [name, content] : files) {
    EXPECT_TRUE(content.empty() || content.back() == '\n') << name << " ends within a line";
    std::vector<int64_t> last(loggers.size(), -1);
    for (const std::string& line : Lines(content)) {
      const auto at = known.find(line);
      if (at == known.end()) {
        ADD_FAILURE() << "damaged line in " << name << ": " << line.substr(0, 60) << " ... (" << line.size()
                      << " bytes)";
        continue;
      }
      const auto [w, i] = at->second;
      EXPECT_LE(++seen[w][i], 1) << "writer " << w << " line " << i << " twice";
      EXPECT_TRUE(last[w] < 0 || static_cast<int64_t>(i) == last[w] + 1)
          << "writer " << w << " in " << name << ": line " << i << " after " << last[w];
      last[w] = static_cast<int64_t>(i);
    }
  }
  for (size_t w = 0; w < loggers.size(); ++w) {
    size_t gaps = 0;
    const size_t size = seen[w].size();
    for (size_t i = 1; i < size; ++i) gaps += seen[w][i] != seen[w][i - 1] ? 1 : 0;
    if (kept == Kept::kNewest) {
      EXPECT_LE(gaps, 2U) << "writer " << w << ": what is left is not in one piece";
      continue;
    }
    if (size == 0) continue;
    EXPECT_LE(gaps, loggers[w].abandoned ? 1U : 0U) << "writer " << w << ": a line is missing";
    if (!loggers[w].abandoned || gaps > 0) {
      EXPECT_EQ(seen[w][0], 1) << "writer " << w;
    }
  }
}

void ExpectNothingLeft(const fs::path& directory) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    EXPECT_FALSE(name.starts_with("spool.") || name.starts_with("writer.")) << name << " is left";
  }
}

int Seeds(int normal, int long_form) {
  return ::getenv("BATON_LONG") ? long_form : normal;
}

class OnePipe : public ::testing::TestWithParam<int> {};

TEST_P(OnePipe, WritersThatAreKilledUnderLoadAndReplacedLoseAndDoubleNothing) {
  Random random(static_cast<unsigned>(GetParam()));
  TempDir dir;
  const std::string limit = std::to_string(random(10, 900)) + "K";
  const std::vector<std::vector<std::string>> modes = {
      {"log", "86400"}, {"-n", "20000", "log", limit}, {"log", limit}, {"-L", "link", "log", "1", limit}};
  const auto command = Command(modes[static_cast<size_t>(GetParam()) % modes.size()]);
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  std::vector<Logger> loggers(1);
  Logger& logger = loggers[0];
  logger.Run(command, dir.path());
  std::atomic<bool> stop = false;
  logger.Produce(static_cast<unsigned>(random(0, 1 << 30)), 20U << 20, stop, 0us);
  for (int kills = random(5, 20); kills > 0; --kills) {
    std::this_thread::sleep_for(std::chrono::microseconds(random(500, 12000)));
    logger.Kill();
    logger.Run(command, dir.path());
  }
  stop = true;
  logger.producer.join();
  logger.pipe.second.Reset();
  const std::string said = harness::ReadToEnd(logger.child.err);
  EXPECT_EQ(Wait(logger.child), 0) << said;
  EXPECT_EQ(said, "");
  auto files = Files(dir.path());
  files.erase("link");
  CheckLines(files, loggers, Kept::kAll);
  ExpectNothingLeft(dir.path() / ".log.rotate");
}
INSTANTIATE_TEST_SUITE_P(Seeds, OnePipe, ::testing::Range(0, Seeds(8, 400)));

struct Mode {
  std::vector<std::string> words;
  Kept kept = Kept::kAll;
  bool timed = false;
};

/// @param limit  the size limit;  @param hook  for -p
std::vector<Mode> Modes(const std::string& limit, const std::string& hook) {
  return {{{"-n", "20000", "log", limit}},
          {{"log", limit}},
          {{"log.%H", limit}},
          {{"-p", hook, "-n", "20000", "log", limit}},
          {{"-t", "log", limit}, Kept::kNewest},
          {{"-n", "3", "log", limit}, Kept::kNewest},
          {{"log", "1"}, Kept::kAll, true},
          {{"-l", "-L", "link", "log", "1", limit}, Kept::kAll, true}};
}

class SeveralWriters : public ::testing::TestWithParam<int> {};

TEST_P(SeveralWriters, EveryLineIsInOneFileWholeAndInOrderWhoeverIsKilled) {
  Random random(static_cast<unsigned>(GetParam()) + 1000);
  TempDir dir;
  const fs::path logs = dir.path() / "logs";
  fs::create_directory(logs);
  const fs::path hook = dir.path() / "hook";
  std::ofstream(hook) << "#!/bin/sh\necho \"$1\" >> ../calls\n";
  fs::permissions(hook, fs::perms(0755));
  const auto modes = Modes(std::to_string(random(10, 400)) + "K", hook.string());
  const Mode& mode = modes[static_cast<size_t>(GetParam()) % modes.size()];
  const auto command = Command(mode.words);
  const int count = random(2, 8);
  SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", " + std::to_string(count) + " writers, mode " + mode.words[0]);
  std::vector<Logger> loggers(static_cast<size_t>(count));
  std::atomic<bool> stop = false;
  for (int w = 0; w < count; ++w) {
    Logger& logger = loggers[static_cast<size_t>(w)];
    logger.number = w;
    logger.Run(command, logs);
    logger.Produce(static_cast<unsigned>(random(0, 1 << 30)), mode.timed ? 4000000 : 1500000, stop,
                   mode.timed ? 2ms : 0ms);
  }
  int kills = random(0, 8);
  const int killed = kills;
  const auto begin = std::chrono::steady_clock::now();
  while (kills-- > 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(random(200, mode.timed ? 250000 : 15000)));
    Logger& logger = loggers[static_cast<size_t>(random(0, count - 1))];
    if (logger.abandoned) continue;
    logger.Kill();
    if (&logger != &loggers[0] && random(0, 2) == 0) {
      logger.abandoned = true;
      logger.pipe.first.Reset();
    } else {
      if (random(0, 1) == 0) std::this_thread::sleep_for(std::chrono::microseconds(random(0, 5000)));
      logger.Run(command, logs);
    }
  }
  if (mode.timed) std::this_thread::sleep_until(begin + 2300ms);
  stop = mode.timed;
  for (auto& logger : loggers) {
    logger.producer.join();
    logger.pipe.second.Reset();
  }
  for (auto& logger : loggers) {
    if (logger.abandoned) continue;
    const std::string said = harness::ReadToEnd(logger.child.err);
    EXPECT_EQ(Wait(logger.child), 0) << said;
    EXPECT_EQ(said, "");
  }
  if (mode.kept == Kept::kAll) {  // what the abandoned ones left is written by any next start, even without input
    EXPECT_EQ(Execute({command, logs, {}, {}}).status, 0);
  }
  auto files = Files(logs);
  files.erase("link");
  CheckLines(files, loggers, mode.kept);
  if (mode.words[0] == "-n" && mode.words[1] == "3") {
    EXPECT_LE(files.size(), 3U);
  }
  if (mode.words[0] == "-p") {
    std::multiset<std::string> called;
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (std::chrono::steady_clock::now() < deadline) {  // hooks are not waited for by the program
      const auto calls = os::ReadFile(dir.path() / "calls");
      called.clear();
      for (const auto& line : Lines(calls ? calls.value() : "")) called.insert(line);
      if (std::set<std::string>(called.begin(), called.end()).size() == files.size()) break;
      std::this_thread::sleep_for(1ms);
    }
    for (const auto& [name, content] : files) EXPECT_TRUE(called.contains(name)) << name;
    EXPECT_LE(called.size(), files.size() + static_cast<size_t>(killed)) << "more than once per rotation";
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, SeveralWriters, ::testing::Range(0, Seeds(16, 400)));

/// Apache's own keeps 1,184 of these 10,000 lines: each of its two writers truncates what the other one has just
/// written.
TEST(Ring, TwoWritersOfTenThousandLinesIntoThreeFilesOf100KLoseOnlyWhatTheRingOverwrites) {
  TempDir dir;
  const fs::path logs = dir.path() / "logs";
  const fs::path kept = dir.path() / "kept";
  fs::create_directory(logs);
  fs::create_directory(kept);
  std::vector<Logger> loggers(2);
  for (int w = 0; w < 2; ++w) {
    loggers[static_cast<size_t>(w)].number = w;
    loggers[static_cast<size_t>(w)].Run(Command({"-n", "3", "log", "100K"}), logs);
  }
  // Every file of the ring gets a second name before it can be overwritten: rounds are shorter than a file.
  std::vector<fs::path> order;
  const auto keep = [&] {
    size_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(logs)) {
      struct stat status {};
      if (!entry.is_regular_file() || ::stat(entry.path().c_str(), &status) != 0) continue;
      const fs::path name = kept / std::to_string(status.st_ino);
      if (::link(entry.path().c_str(), name.c_str()) == 0) order.push_back(name);
    }
    for (const auto& name : order) bytes += fs::file_size(name);
    return bytes;
  };
  size_t bytes = 0;
  for (int i = 0; i < 5000;) {
    for (const int until = i + 200; i < until; ++i) {
      for (auto& logger : loggers) {
        logger.sent.push_back("w" + std::to_string(logger.number) + " " + std::to_string(i) + std::string(190, '.'));
        ASSERT_TRUE(Write(logger.pipe.second, logger.sent.back() + "\n"));
        bytes += logger.sent.back().size() + 1;
      }
    }
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (keep() < bytes && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(1ms);
    ASSERT_EQ(keep(), bytes);
  }
  for (auto& logger : loggers) {
    logger.pipe.second.Reset();
    EXPECT_EQ(Wait(logger.child), 0);
  }
  CheckLines(Files(kept), loggers, Kept::kAll);
  const auto ring = Files(logs);
  ASSERT_EQ(ring.size(), 3U);
  CheckLines(ring, loggers, Kept::kNewest);
  size_t left = 0;
  for (const auto& [name, content] : ring) left += content.size();
  size_t newest = 0;
  for (size_t i = order.size() - 3; i < order.size(); ++i) newest += fs::file_size(order[i]);
  EXPECT_EQ(left, newest) << "the ring holds the last three files";
  EXPECT_GE(left, 200U << 10);
}

}  // namespace
