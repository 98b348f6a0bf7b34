// What a killed run leaves, and what the next ones make of it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <set>
#include <sstream>

#include "rotatelogs/fault.h"
#include "tests/rotatelogs/processlogs_fixture.h"

namespace {

using harness::Child;
using harness::Execute;
using harness::Lines;
using harness::Outcome;
using harness::Processlogs;
using harness::Start;
using harness::Wait;
using rotatelogs::State;
namespace fs = std::filesystem;

pid_t PidIn(const fs::path& file) {
  auto text = os::ReadFile(file);
  return text && text.value().ends_with('\n') ? std::stoi(text.value()) : 0;
}

TEST_F(Processlogs, AKilledRunTakesItsCommandWithItAndWhatTheCommandStartedKeepsTheNextRunAway) {
  Segment("a", "1\n2\n");
  ASSERT_EQ(::mkfifo((dir_.path() / "gate").c_str(), 0600), 0);
  // The first attempt leaves a child that writes into its output when the gate opens.
  const std::vector<std::string> script = {
      "sh", "-c",
      "if [ $ATTEMPT = 1 ]; then (read x < gate; echo late) & echo $! > child; echo $$ > leader; wait; fi; wc -l"};
  Child run = Start(Command({}, script));
  ASSERT_TRUE(Eventually([&] { return PidIn(dir_.path() / "leader") != 0; }));
  const pid_t leader = PidIn(dir_.path() / "leader");
  ASSERT_TRUE(run.process.Signal(SIGKILL));
  EXPECT_EQ(Wait(run), 1000 + SIGKILL);
  EXPECT_TRUE(Eventually([&] { return !os::Identify(leader); })) << "the command outlives its run";
  ASSERT_TRUE(os::Identify(PidIn(dir_.path() / "child")));
  const auto busy = Process({}, script);
  EXPECT_EQ(busy.status, 0) << busy.err;
  EXPECT_NE(busy.out.find("busy "), std::string::npos) << busy.out;
  EXPECT_TRUE(Output().empty());
  std::ofstream(dir_.path() / "gate") << "go\n";
  ASSERT_TRUE(Eventually([&] {
    EXPECT_EQ(Process({}, script).status, 0);
    return !Output().empty();
  }));
  EXPECT_EQ(Output(), (std::map<std::string, std::string>{{"a.out", "2\n"}}));
  EXPECT_EQ(Names("out"), std::set<std::string>{"a.out"});
}

TEST_F(Processlogs, ASignalEndsTheCommandsAndTheNextRunGoesOnWithoutAnAttemptCharged) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    const std::string name = "a." + std::to_string(signal);
    Segment(name, "1\n");
    // An ending with status 0 is no success after a signal: the output may be half of one.
    Child run = Start(Command({"--attempts", "1"},
                              {"sh", "-c", "trap 'exit 0' TERM; echo half; sleep 600 & echo $$ > leader; wait"}));
    ASSERT_TRUE(Eventually([&] { return PidIn(dir_.path() / "leader") != 0; }));
    ASSERT_TRUE(run.process.Signal(signal));
    EXPECT_EQ(Wait(run), 1000 + signal);
    fs::remove(dir_.path() / "leader");
    EXPECT_EQ(Output().count(name + ".out"), 0U);
    const auto record = RecordOf(IdOf(name));
    EXPECT_EQ(record.state, State::kSealed);
    EXPECT_EQ(record.attempts, 0);
    for (const auto& entry : Names("out")) EXPECT_FALSE(entry.starts_with(".")) << entry;
    EXPECT_EQ(Process({}, {"sh", "-c", "echo $ATTEMPT"}).status, 0);
    EXPECT_EQ(Output()[name + ".out"], "1\n");
  }
}

TEST_F(Processlogs, ACommandThatIgnoresTheSignalIsKilledByTheSecondOne) {
  Segment("a", "1\n");
  Child run = Start(Command({}, {"sh", "-c", "trap '' TERM; echo $$ > leader; while :; do sleep 600; done"}));
  ASSERT_TRUE(Eventually([&] { return PidIn(dir_.path() / "leader") != 0; }));
  ASSERT_TRUE(run.process.Signal(SIGTERM));
  ASSERT_TRUE(Eventually([&] {  // taken: both would be one otherwise
    auto status = os::ReadFile("/proc/" + std::to_string(run.process.pid()) + "/status");
    return status && status.value().find("ShdPnd:\t0000000000000000") != std::string::npos;
  }));
  ASSERT_TRUE(run.process.Signal(SIGTERM));
  EXPECT_EQ(Wait(run), 1000 + SIGTERM);
  EXPECT_FALSE(os::Identify(PidIn(dir_.path() / "leader")));
}

TEST_F(Processlogs, WhatACommandLeavesInItsGroupDoesNotWriteIntoAFinishedOutput) {
  Segment("a", "1\n");
  const auto run = Process({}, {"sh", "-c", "(sleep 600; echo late) & echo $! > child; echo whole"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(Output()["a.out"], "whole\n");
  EXPECT_TRUE(Eventually([&] { return !os::Identify(PidIn(dir_.path() / "child")); }));
}

TEST_F(Processlogs, RunsWithManyJobsAtOnceDoEachSegmentOnceAndExpireNoneTwice) {
  for (int i = 0; i < 24; ++i) Segment("a." + std::to_string(100 + i), std::to_string(i) + "\n", 1000 - i);
  std::vector<Child> runs;
  for (int i = 0; i < 3; ++i) {
    runs.push_back(Start(Command({"--jobs", "4", "--compress", "gzip", "--keep-count", "5"}, kCount)));
  }
  for (auto& run : runs) {
    const std::string said = harness::ReadToEnd(run.out) + harness::ReadToEnd(run.err);
    EXPECT_EQ(Wait(run), 0) << said;
  }
  EXPECT_EQ(Process({"--compress", "gzip", "--keep-count", "5"}, kCount).status, 0);
  EXPECT_EQ(Output().size(), 24U);
  EXPECT_EQ(Runs().size(), 24U);
  EXPECT_EQ(Names(), (std::set<std::string>{"a.119.gz", "a.120.gz", "a.121.gz", "a.122.gz", "a.123.gz"}));
  const auto verified = Ask("verify");
  EXPECT_EQ(verified.status, 0) << verified.out;
}

#ifdef BATON_FAULTS
/// How the runs of a campaign are called.
struct Scene {
  const char* name;
  bool out;
  std::vector<std::string> options;
  std::set<std::string> without;  ///< steps that it does not have
};

const Scene kScenes[] = {
    {"Plain",
     false,
     {},
     {"output-made", "synced", "committing", "renamed", "durable", "copied", "archiving", "archived", "removed",
      "compressed", "expiring", "expired"}},
    {"Out", true, {}, {"copied", "archiving", "archived", "removed", "compressed", "expiring", "expired"}},
    {"All", true, {"--jobs", "4", "--compress", "zstd", "--keep-count", "2"}, {}},
};

struct Case {
  const Scene* scene;
  std::string step;
  std::string whom;  ///< "run" and "both": as fault.h has it; "command": the nth one kills itself
};

std::vector<Case> Cases() {
  std::vector<Case> out;
  for (const Scene& scene : kScenes) {
    for (const std::string_view step : rotatelogs::kStepNames) {
      if (scene.without.count(std::string(step)) > 0) continue;
      for (const char* whom : {"run", "both"}) {
        // A command runs beside any step only where there are several jobs; what they do to the ledger alone is the
        // same as without the commands' death.
        const bool alone = std::string(scene.name) != "All";
        if (std::string(whom) == "both" && step != "running" && alone) continue;
        if (::getenv("BATON_LONG") == nullptr && std::string(whom) == "run" && step != "running" && !alone) continue;
        // Before the command starts, and in the ledger, all scenes are alike.
        const bool alike = step == "locked" || step == "claimed" || step == "output-made" || step == "saving";
        if (::getenv("BATON_LONG") == nullptr && alike && alone) continue;
        out.push_back({&scene, std::string(step), whom});
      }
      if (step == "running") out.push_back({&scene, std::string(step), "command"});
    }
  }
  return out;
}

/// Memory for a disk, where there is one: kill -9 loses nothing that was written, so fsync only costs time here.
fs::path FastDisk() {
  return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : fs::temp_directory_path();
}

class KilledAt : public Processlogs, public ::testing::WithParamInterface<Case> {
 protected:
  KilledAt() : Processlogs(FastDisk()) {}

  static constexpr int kSegments = 4;

  /// kCount, but at the nth segment it dies halfway. By its own hand: a kill by processlogs may come when it has ended.
  static std::vector<std::string> DiesAt(int nth) {
    return {"sh", "-c",
            "echo $(basename $SEGMENT) >> runs; case $SEGMENT in */s." + std::to_string(nth - 1) +
                ") echo half; kill -9 $$;; esac; wc -l"};
  }

  /// @return false: the step does not come for the nth time
  bool Once(const Case& now, int nth) {
    for (const char* directory : {"logs", "out", "ledger.claims"}) fs::remove_all(dir_.path() / directory);
    for (const char* file : {"ledger", "ledger-wal", "ledger-shm", "runs"}) fs::remove(dir_.path() / file);
    std::map<std::string, std::string> whole;
    for (int i = 0; i < kSegments; ++i) {
      std::string lines;
      for (int line = 0; line <= i; ++line) lines += "x\n";
      Segment("s." + std::to_string(i), lines, 100 - i);
      whole["s." + std::to_string(i) + ".out"] = std::to_string(i + 1) + "\n";
    }
    with_out_ = now.scene->out;
    const bool command = now.whom == "command";
    const auto died = command ? Process(now.scene->options, DiesAt(nth))
                              : Process(now.scene->options, kCount,
                                        {"PROCESSLOGS_FAULT=" + now.step + ":" + std::to_string(nth) + ":" + now.whom});
    if (died.status == 0 && nth > (command ? kSegments : 1)) return false;
    EXPECT_EQ(died.status, command ? 1 : 1000 + SIGKILL) << "not reached? " << died.out << died.err;
    for (const auto& [name, content] : Output()) EXPECT_EQ(content, whole[name]) << name << " is visible and not whole";
    const bool expires = std::string(now.scene->name) == "All";
    const bool finished = Eventually([&] {
      for (int i = 0; i < kSegments && command; ++i) {
        if (fs::exists(dir_.path() / "logs" / ("s." + std::to_string(i))))
          Ask("retry", {"logs/s." + std::to_string(i)});
      }
      const auto next = Process(now.scene->options, kCount);
      EXPECT_EQ(next.status, 0) << next.out << next.err;
      const auto status = Ask("status").out;
      return status == (expires ? "2 compressed, 2 expired\n" : "4 done\n");
    });
    EXPECT_TRUE(finished) << Ask("status").out;
    if (now.scene->out) {
      EXPECT_EQ(Output(), whole);
      EXPECT_EQ(Names("out").size(), whole.size()) << "a temporary is left";
    }
    EXPECT_EQ(Names("ledger.claims"), std::set<std::string>{});
    EXPECT_EQ(Names(), (expires ? std::set<std::string>{"s.2.zst", "s.3.zst"}
                                : std::set<std::string>{"s.0", "s.1", "s.2", "s.3"}));
    std::map<std::string, int> runs;
    for (const std::string& name : Runs()) ++runs[name];
    EXPECT_EQ(runs.size(), size_t{kSegments}) << "one was forgotten";
    const bool may_repeat =
        expires || now.step == "running" || now.step == "ran" || now.step == "synced" || now.step == "saving";
    for (const auto& [name, count] : runs) EXPECT_LE(count, may_repeat ? 2 : 1) << name;
    const auto verified = Ask("verify");
    EXPECT_EQ(verified.status, 0) << verified.out;
    return true;
  }
};

TEST_P(KilledAt, PlainRunsAfterwardsFinishEverySegmentOnce) {
  const Case& now = GetParam();
  const int most = ::getenv("BATON_LONG") != nullptr ? 40 : 1;
  for (int nth = 1; nth <= most; ++nth) {
    SCOPED_TRACE("the " + std::to_string(nth) + ". time");
    if (!Once(now, nth) || HasFailure()) break;
  }
}

std::string NameOf(const ::testing::TestParamInfo<Case>& at) {
  std::string name = std::string(at.param.scene->name) + "_" + at.param.step + "_" + at.param.whom;
  for (char& letter : name) {
    if (letter == '-') letter = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(EachStep, KilledAt, ::testing::ValuesIn(Cases()), NameOf);
#endif

}  // namespace
