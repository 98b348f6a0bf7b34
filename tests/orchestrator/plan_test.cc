#include "orchestrator/plan.h"

#include <gtest/gtest.h>

#include <set>

namespace orchestrator {
namespace {

using namespace std::chrono_literals;

TEST(UpgradePlan, EveryStepHasANameThatParsesBackToIt) {
  std::set<std::string_view> names;
  for (const Step step : kSteps) {
    EXPECT_EQ(ParseStep(StepName(step)), step);
    names.insert(StepName(step));
  }
  EXPECT_EQ(names.size(), kSteps.size());
  EXPECT_EQ(ParseStep("baking"), std::nullopt);
}

TEST(UpgradePlan, StepsComeInTheOrderOfTheDesign) {
  std::string order;
  for (const Step step : kSteps) order += std::string(StepName(step)) + " ";
  EXPECT_EQ(order, "planned launched ready probed switched baked draining done ");
}

TEST(UpgradePlan, NoPairHasTwoRows) {
  std::set<std::pair<Step, Event>> seen;
  for (const Row& row : kRows) EXPECT_TRUE(seen.insert({row.at, row.on}).second) << StepName(row.at);
}

TEST(UpgradePlan, SuccessAlwaysGoesOn) {
  for (const Step step : kSteps) EXPECT_EQ(Decide(step, Event::kSucceeded), Action::kGoOn) << StepName(step);
}

TEST(UpgradePlan, PlanningThatFailsChangesNothingAndGivesUp) {
  EXPECT_EQ(Decide(Step::kPlanned, Event::kRefused), Action::kGiveUp);
  EXPECT_EQ(Decide(Step::kPlanned, Event::kInterrupted), Action::kGiveUp);
  EXPECT_EQ(Decide(Step::kPlanned, Event::kOldEnded), Action::kGiveUp);
  EXPECT_EQ(Decide(Step::kLaunched, Event::kRefused), Action::kGiveUp);
  EXPECT_TRUE(UndoOf(Step::kPlanned).empty());
}

TEST(UpgradePlan, AFailureBetweenLaunchAndCommitIsTakenBack) {
  for (const Step step :
       {Step::kLaunched, Step::kReady, Step::kProbed, Step::kSwitched, Step::kBaked, Step::kDraining}) {
    EXPECT_EQ(Decide(step, Event::kFailed), Action::kUndo) << StepName(step);
  }
}

TEST(UpgradePlan, AnInterruptionBeforeTheCommitPointIsTakenBackAndAfterItGoesOn) {
  for (const Step step : {Step::kLaunched, Step::kReady, Step::kProbed, Step::kSwitched, Step::kBaked}) {
    EXPECT_EQ(Decide(step, Event::kInterrupted), Action::kUndo) << StepName(step);
  }
  EXPECT_EQ(Decide(Step::kDone, Event::kInterrupted), Action::kFinish);
}

TEST(UpgradePlan, TheOldInstanceEndingByItselfNeverStopsALaunchedUpgrade) {
  for (const Step step :
       {Step::kLaunched, Step::kReady, Step::kProbed, Step::kSwitched, Step::kBaked, Step::kDraining}) {
    EXPECT_EQ(Decide(step, Event::kOldEnded), Action::kGoOn) << StepName(step);
  }
}

TEST(UpgradePlan, PairsThatCannotHappenHaveNoRow) {
  EXPECT_EQ(Decide(Step::kPlanned, Event::kFailed), std::nullopt);
  EXPECT_EQ(Decide(Step::kReady, Event::kRefused), std::nullopt);
  EXPECT_EQ(Decide(Step::kDone, Event::kOldEnded), std::nullopt);
}

TEST(UpgradePlan, BeforeTheSwitchOnlyTheNewcomerIsTouched) {
  for (const Step step : {Step::kLaunched, Step::kReady, Step::kProbed}) {
    EXPECT_EQ(UndoOf(step), (std::vector{Undo::kStopNewcomer, Undo::kRemoveNewcomerFiles})) << StepName(step);
  }
}

TEST(UpgradePlan, FromTheSwitchOnTheOldAcceptsAgainBeforeTheNewcomerIsTouched) {
  for (const Step step : {Step::kSwitched, Step::kBaked, Step::kDraining}) {
    EXPECT_EQ(UndoOf(step),
              (std::vector{Undo::kResumeOld, Undo::kRetireNewcomer, Undo::kStopNewcomer, Undo::kRemoveNewcomerFiles}))
        << StepName(step);
  }
}

TEST(UpgradePlan, PastTheCommitPointThereIsNothingToTakeBack) {
  EXPECT_TRUE(UndoOf(Step::kDone).empty());
}

// ---- recovery: together these visit every row ----------------------------------------------------------------------

constexpr std::array kBeforeCommit = {Step::kPlanned, Step::kLaunched, Step::kReady,
                                      Step::kProbed,  Step::kSwitched, Step::kBaked};
constexpr std::array kAfterCommit = {Step::kDraining, Step::kDone};
using enum Condition;

TEST(RecoveryTable, HasOneVerdictForEveryCombination) {
  EXPECT_TRUE(CoversEverythingOnce());  // static_assert says so too; this one names the subject
  for (const Step step : kSteps) {
    for (const Condition old_one : kOldConditions) {
      for (const Condition new_one : kNewConditions) EXPECT_TRUE(JudgeRecovery(step, old_one, new_one));
    }
  }
}

TEST(RecoveryTable, HasNoVerdictForAnOldInstanceInStandby) {
  EXPECT_FALSE(JudgeRecovery(Step::kBaked, kStandby, kAble));
}

TEST(RecoveryTable, BeforeTheCommitPointAnOldInstanceThatCanServeDoesWhateverTheNewcomerIs) {
  for (const Step step : kBeforeCommit) {
    for (const Condition new_one : {kGone, kStandby, kAble, kLeaving, kMute}) {
      EXPECT_EQ(JudgeRecovery(step, kAble, new_one), Verdict::kTakeBack) << StepName(step) << ConditionText(new_one);
    }
  }
}

TEST(RecoveryTable, FromTheCommitPointOnTheNewcomerServesIfItCan) {
  for (const Step step : kAfterCommit) EXPECT_EQ(JudgeRecovery(step, kAble, kAble), Verdict::kForward);
}

TEST(RecoveryTable, FromTheCommitPointOnTheOldOneServesIfItStillCanAndTheNewcomerCannot) {
  for (const Step step : kAfterCommit) {
    for (const Condition new_one : {kGone, kStandby, kLeaving, kMute}) {
      EXPECT_EQ(JudgeRecovery(step, kAble, new_one), Verdict::kTakeBack) << StepName(step) << ConditionText(new_one);
    }
  }
}

TEST(RecoveryTable, WithoutAnOldInstanceThatCanServeTheNewcomerDoesAtAnyStep) {
  for (const Step step : kSteps) {
    for (const Condition old_one : {kGone, kLeaving}) {
      for (const Condition new_one : {kStandby, kAble}) {
        EXPECT_EQ(JudgeRecovery(step, old_one, new_one), Verdict::kForward) << StepName(step);
      }
    }
  }
}

TEST(RecoveryTable, WhenNeitherCanServeTheOldOneIsStartedAgain) {
  for (const Step step : kSteps) {
    for (const Condition old_one : {kGone, kLeaving}) {
      for (const Condition new_one : {kGone, kLeaving}) {
        EXPECT_EQ(JudgeRecovery(step, old_one, new_one), Verdict::kStartOld) << StepName(step);
      }
    }
  }
}

TEST(RecoveryTable, AMuteProcessThatMayBeTheOnlyServerIsLeftToAPerson) {
  for (const Step step : kSteps) {
    for (const Condition old_one : {kGone, kLeaving}) EXPECT_EQ(JudgeRecovery(step, old_one, kMute), Verdict::kStuck);
    for (const Condition new_one : {kGone, kLeaving, kMute}) {
      // Until the switch the old one was asked for nothing: it serves, mute or not.
      EXPECT_EQ(JudgeRecovery(step, kMute, new_one), step < Step::kSwitched ? Verdict::kTakeBack : Verdict::kStuck);
    }
    for (const Condition new_one : {kStandby, kAble}) {
      EXPECT_EQ(JudgeRecovery(step, kMute, new_one), step < Step::kSwitched ? Verdict::kTakeBack : Verdict::kForward);
    }
  }
}

TEST(RecoveryTable, WhenAThirdInstanceServesWhoeverIsLeftLeaves) {
  for (const Step step : kSteps) {
    EXPECT_EQ(JudgeRecovery(step, kGone, kReplaced), Verdict::kNothing);
    for (const Condition old_one : {kAble, kLeaving, kMute}) {
      EXPECT_EQ(JudgeRecovery(step, old_one, kReplaced), Verdict::kForward);
    }
  }
}

TEST(Probes, APathAloneAsksForTwoOrThreeHundred) {
  auto probe = ParseProbe("/health");
  ASSERT_TRUE(probe);
  EXPECT_EQ(probe.value().path, "/health");
  EXPECT_EQ(ProbeRange(probe.value()), "200 to 399");
}

TEST(Probes, AStatusFollowsTheLastEqualsSign) {
  auto probe = ParseProbe("/a?b=1&c=2=404");
  ASSERT_TRUE(probe);
  EXPECT_EQ(probe.value().path, "/a?b=1&c=2");
  EXPECT_EQ(ProbeRange(probe.value()), "404");
}

TEST(Probes, AnEqualsSignWithoutThreeDigitsBelongsToThePath) {
  auto probe = ParseProbe("/a?b=1");
  ASSERT_TRUE(probe);
  EXPECT_EQ(probe.value().path, "/a?b=1");
}

TEST(Probes, WhatIsNoPathOrNoStatusIsRefusedWithASentence) {
  for (const char* text : {"", "health", "http://x/", "/a b", "/x=999", "/x=000", "=200", "/x\n"}) {
    auto probe = ParseProbe(text);
    ASSERT_FALSE(probe) << text;
    EXPECT_NE(probe.error().what.find("--probe"), std::string::npos);
  }
}

TEST(Probes, WithoutOneAnythingBelowFiveHundredIsGood) {
  EXPECT_EQ(ProbeRange(DefaultProbe()), "100 to 499");
}

TEST(Limits, SecondsMayHaveUpToThreeDecimals) {
  EXPECT_EQ(ParseSeconds("30").value(), 30s);
  EXPECT_EQ(ParseSeconds("0").value(), 0s);
  EXPECT_EQ(ParseSeconds("0.5").value(), 500ms);
  EXPECT_EQ(ParseSeconds("1.005").value(), 1005ms);
}

TEST(Limits, WhatIsNoNumberOfSecondsIsRefused) {
  for (const char* text :
       {"", "-1", "abc", "1.", "1.2345", ".5", "1s", "86401", " 1", "1.-5", "99999999999999999999"}) {
    EXPECT_FALSE(ParseSeconds(text)) << text;
  }
}

TEST(Limits, CountsAreWholeAndInRange) {
  EXPECT_EQ(ParseCount("10", 0, 10).value(), 10);
  for (const char* text : {"11", "-1", "", "1.5", "x"}) EXPECT_FALSE(ParseCount(text, 0, 10)) << text;
}

TEST(ListenerDiff, TellsKeptAddedAndRemovedApartByFullAddress) {
  const std::vector<std::string> old_ones = {"0.0.0.0:80", "127.0.0.1:81", "[::]:80"};
  const std::vector<std::string> wanted = {"[::]:80", "0.0.0.0:81", "0.0.0.0:80"};
  const ListenerDiff diff = CompareListeners(old_ones, wanted);
  EXPECT_EQ(diff.keep, (std::vector<std::string>{"[::]:80", "0.0.0.0:80"}));
  EXPECT_EQ(diff.add, (std::vector<std::string>{"0.0.0.0:81"}));
  EXPECT_EQ(diff.remove, (std::vector<std::string>{"127.0.0.1:81"}));
  EXPECT_EQ(diff.Text(), "keep 2 listeners, add 0.0.0.0:81, remove 127.0.0.1:81");
}

TEST(CommandLine, KeepsWhatIsAboutTheConfigurationAndDropsWhatIsAboutOneStart) {
  const std::vector<std::string> running = {"/usr/sbin/httpd",
                                            "-k",
                                            "start",
                                            "-d",
                                            "/srv",
                                            "-fhttpd.conf",
                                            "-D",
                                            "SSL",
                                            "-DFOREGROUND",
                                            "-D",
                                            "FOREGROUND",
                                            "--standby",
                                            "-c",
                                            "Listen 80",
                                            "-e",
                                            "debug",
                                            "-E",
                                            "/tmp/log",
                                            "-D",
                                            "NO_DETACH",
                                            "-X",
                                            "-T"};
  EXPECT_EQ(KeptArguments(running), (std::vector<std::string>{"-D", "SSL", "-c", "Listen 80", "-e", "debug", "-T"}));
}

TEST(CommandLine, AnOptionWhoseValueIsMissingDoesNotReadPastTheEnd) {
  EXPECT_EQ(KeptArguments(std::vector<std::string>{"httpd", "-k"}), std::vector<std::string>{});
  EXPECT_EQ(KeptArguments(std::vector<std::string>{}), std::vector<std::string>{});
}

TEST(CommandLine, AnEmptyArgumentIsKept) {
  EXPECT_EQ(SplitNul(std::string_view("a\0\0b\0", 5)), (std::vector<std::string>{"a", "", "b"}));
}

TEST(Environment, LosesWhatBelongsToOneStartOnly) {
  EXPECT_EQ(CleanEnvironment({"PATH=/bin", "LISTEN_FDS=3", "LISTEN_PID=1", "LISTEN_FDNAMES=a", "WATCHDOG_USEC=1",
                              "MAINPID=3", "LANG=C", "rubbish"}),
            (std::vector<std::string>{"PATH=/bin", "LANG=C", "BATON_NOTIFY_SOCKET="}));
}

TEST(Environment, OfAnInstanceThatTheServiceManagerStartedTellsTheNewcomerWhereToSayThatItIsTheMainProcess) {
  EXPECT_EQ(CleanEnvironment({"NOTIFY_SOCKET=/run/systemd/notify", "LANG=C"}),
            (std::vector<std::string>{"LANG=C", "BATON_NOTIFY_SOCKET=/run/systemd/notify"}));
}

TEST(Environment, OfAnInstanceThatAnUpgradeStartedPassesTheServiceManagerOnAndForgetsThatUpgradesOwnSocket) {
  EXPECT_EQ(CleanEnvironment({"BATON_NOTIFY_SOCKET=/run/systemd/notify", "NOTIFY_SOCKET=/run/notify.12"}),
            (std::vector<std::string>{"BATON_NOTIFY_SOCKET=/run/systemd/notify"}));
  EXPECT_EQ(CleanEnvironment({"NOTIFY_SOCKET=/run/notify.12", "BATON_NOTIFY_SOCKET="}),
            (std::vector<std::string>{"BATON_NOTIFY_SOCKET="}));
}

TEST(ErrorRate, AFewErrorsOnLittleTrafficAreNoReasonToGoBack) {
  EXPECT_FALSE(IsErrorRateWorse({1000, 0}, {10, 2}));
  EXPECT_FALSE(IsErrorRateWorse({0, 0}, {0, 0}));
}

TEST(ErrorRate, ClearlyMoreErrorsThanBeforeAre) {
  EXPECT_TRUE(IsErrorRateWorse({1000, 0}, {100, 3}));
  EXPECT_TRUE(IsErrorRateWorse({1000, 10}, {1000, 30}));
  EXPECT_TRUE(IsErrorRateWorse({0, 0}, {3, 3}));
}

TEST(ErrorRate, TheSameRateAsBeforeIsNot) {
  EXPECT_FALSE(IsErrorRateWorse({1000, 100}, {1000, 120}));
}

TEST(QueueTrend, ADepthThatNeverFallsForASecondMeansThatNobodyAccepts) {
  QueueTrend queue(0);
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(queue.Add(1));
  EXPECT_TRUE(queue.Add(1));
}

TEST(QueueTrend, ADepthThatFallsNowAndThenIsOnlyBusy) {
  QueueTrend queue(0);
  for (uint32_t i = 0; i < 100; ++i) EXPECT_FALSE(queue.Add(i % 5 + 1));
}

TEST(QueueTrend, WhatWasNormalBeforeTheSwitchIsNormal) {
  QueueTrend queue(4);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(queue.Add(4));
}

TEST(LockHolder, IsReadBackAsItWasWritten) {
  Holder holder;
  holder.pid = 123;
  holder.start_time = 456;
  holder.user = "www";
  holder.command = "upgrade";
  holder.since = 1700000000;
  holder.step = "baked";
  const Holder back = ParseHolder(FormatHolder(holder));
  EXPECT_EQ(back.pid, 123);
  EXPECT_EQ(back.start_time, 456U);
  EXPECT_EQ(back.user, "www");
  EXPECT_EQ(back.command, "upgrade");
  EXPECT_EQ(back.since, 1700000000);
  EXPECT_EQ(back.step, "baked");
}

TEST(LockHolder, TextThatWasCaughtHalfWrittenIsNoError) {
  EXPECT_EQ(ParseHolder("pid=12\nuser=ro").pid, 12);
  EXPECT_EQ(ParseHolder("pid=12\nuser=ro").user, "");
  EXPECT_EQ(ParseHolder("").pid, 0);
  EXPECT_EQ(ParseHolder("pid=x\n=\n\n").pid, 0);
}

}  // namespace
}  // namespace orchestrator
