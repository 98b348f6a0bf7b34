#include <signal.h>

#include <algorithm>

#include "tests/e2e/recovery.h"

namespace {

namespace fs = std::filesystem;
using e2e::Eventually;
using e2e::Long;
using e2e::Outcome;
using e2e::Recovery;
using support::FailureKind;

#ifndef BATON_FAULTS
TEST_F(Recovery, OfAnUpgradeThatWasKilledOnceItsStepsHadBegunFailsNoRequest) {
  int round = 0;
  for (const std::string& step : Steps()) {
    for (int i = 0; i < (Long() ? 10 : 1); ++i) {
      const fs::path output = outside_ / "upgrade";
      for (const char* end : {".out", ".err"}) e2e::WriteFile(output.string() + end, "");
      e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0.2", "--json"}), output);
      ASSERT_TRUE(Begins(step, output)) << step;
      if (!upgrade.HasEnded()) upgrade.Signal(SIGKILL);
      upgrade.Wait();
      Recover(round++ % 3 == 2 ? By::kUpgrade : By::kResume, step);
      ExpectOneInstance(step);
      if (HasFailure()) return;
    }
  }
  load_->ExpectFlawless([this] { return LoggedRids(); });
}

#endif

#ifdef BATON_FAULTS
constexpr size_t kShare = 8;  // those builds are slow, and have the fault points
#else
constexpr size_t kShare = 3;
#endif

/// Who is killed while an orchestrator is at work.
enum class Victim { kNewParent, kOldParent, kNewChild, kOldChild, kNewLog, kOldLog };
struct Kill {
  Victim victim;
  const char* name;
};

void PrintTo(const Kill& kill, std::ostream* out) {
  *out << kill.name;
}

class Killed : public Recovery, public ::testing::WithParamInterface<Kill> {
 protected:
  pid_t Find(pid_t old_one) const {
    pid_t new_one = 0;
    for (const pid_t parent : Parents()) {
      if (parent != old_one) new_one = parent;
    }
    const auto first = [](const std::vector<pid_t>& list) { return list.empty() ? 0 : list.front(); };
    switch (GetParam().victim) {
      case Victim::kNewParent:
        return new_one;
      case Victim::kOldParent:
        return std::ranges::count(Parents(), old_one) > 0 ? old_one : 0;
      case Victim::kNewChild:
        return new_one > 0 ? first(Children(new_one)) : 0;
      case Victim::kOldChild:
        return first(Children(old_one));
      case Victim::kNewLog:
        return new_one > 0 ? first(LogPrograms(new_one)) : 0;
      case Victim::kOldLog:
        return first(LogPrograms(old_one));
    }
    return 0;
  }

  /// What a client may see of a process that was killed under it: its connection breaks. Nobody is refused (unless
  /// `down`: nobody held the listening sockets), waits for ever, or gets a wrong answer.
  void ExpectOnlyBrokenConnections(bool down) {
    const auto& report = load_->Stop();
    if (!down) {
      EXPECT_EQ(report.Count(FailureKind::kRefused), 0U) << support::ToText(report, {}, 1);
    }
    for (const auto kind :
         {FailureKind::kLate, FailureKind::kWrongStatus, FailureKind::kWrongBody, FailureKind::kMalformed}) {
      EXPECT_EQ(report.Count(kind), 0U) << support::ToText(report, {}, 1);
    }
    if (GetParam().victim == Victim::kNewLog || GetParam().victim == Victim::kOldLog) {
      EXPECT_EQ(report.Failures(), 0U) << support::ToText(report, {}, 1);
    }
    EXPECT_GT(report.Answered(), 0U);
  }
};

TEST_P(Killed, AtAnyStepLeavesOneInstance) {
  bool down = false;
  // Together the six visit every step; BATON_LONG has every one of them at every step.
  size_t number = static_cast<size_t>(GetParam().victim);
  for (const std::string& step : Steps()) {
    if (number++ % kShare != 0 && !Long()) continue;
    const fs::path output = outside_ / "upgrade";
    const pid_t old_one = Pid();
    for (const char* end : {".out", ".err"}) e2e::WriteFile(output.string() + end, "");
    e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0.2", "--json"}), output);
    ASSERT_TRUE(Begins(step, output)) << step;
    pid_t victim = 0;
    Eventually([&] { return (victim = Find(old_one)) != 0 || upgrade.HasEnded(); });
    if (victim != 0) ::kill(victim, SIGKILL);
    const Outcome upgraded = upgrade.Wait();
    SCOPED_TRACE(step + ": " + upgraded.All());
    const Outcome resumed = Orchestrator("resume");
    EXPECT_TRUE(resumed.status == 0 || resumed.status == 3) << resumed.All();
    if (upgraded.err.find("start one with orchestrator start") != std::string::npos) {
      EXPECT_EQ(step, "planned") << "killed before the upgrade had looked: there was nothing to upgrade";
      EXPECT_EQ(Orchestrator("start").status, 0);
      down = true;
    }
    if (GetParam().victim == Victim::kNewParent && upgraded.status == 0 && !Get("/index.html")) {
      // The kill came when the orchestrator was through: what died was the serving instance, and nobody watched it.
      EXPECT_EQ(Orchestrator("start").status, 0);
      down = true;
    }
    down = down || resumed.status == 3;
    ExpectOneInstance(step);
    if (HasFailure()) return;
  }
  ExpectOnlyBrokenConnections(down);
}

INSTANTIATE_TEST_SUITE_P(Processes, Killed,
                         testing::Values(Kill{Victim::kNewParent, "NewParent"}, Kill{Victim::kOldParent, "OldParent"},
                                         Kill{Victim::kNewChild, "NewChild"}, Kill{Victim::kOldChild, "OldChild"},
                                         Kill{Victim::kNewLog, "NewLog"}, Kill{Victim::kOldLog, "OldLog"}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
