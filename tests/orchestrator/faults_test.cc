// kill -9 of the orchestrator at every place that orchestrator/faults.h names: debug builds only.
#include "orchestrator/faults.h"

#include <signal.h>

#include "tests/e2e/recovery.h"

namespace {

using e2e::Eventually;
using e2e::Long;
using e2e::Outcome;

class Faults : public e2e::Recovery {
 protected:
  Outcome UpgradeWithFault(std::string_view fault, const std::vector<std::string>& arguments) {
    return e2e::Execute(OrchestratorCommand("upgrade", arguments), {"ORCHESTRATOR_FAULT=" + std::string(fault)});
  }

  Outcome ResumeWithFault(std::string_view fault) {
    return e2e::Execute(OrchestratorCommand("resume", {}), {"ORCHESTRATOR_FAULT=" + std::string(fault)});
  }
};

constexpr int kKilled = 128 + SIGKILL;

TEST_F(Faults, AtEveryFaultPointLeavesOneInstanceAndFailsNoRequest) {
  int round = 0;
  for (const std::string_view fault : orchestrator::kUpgradeFaults) {
    const std::string when(fault);
    for (const By by : Long()             ? std::vector{By::kResume, By::kUpgrade}
                       : round++ % 4 == 3 ? std::vector{By::kUpgrade}
                                          : std::vector{By::kResume}) {
      const Outcome killed = UpgradeWithFault(fault, {"--bake", "0.2"});
      ASSERT_EQ(killed.status, kKilled) << when << " is not reached: " << killed.All();
      Recover(by, when);
      ExpectOneInstance(when);
      if (HasFailure()) return;
    }
  }
  load_->ExpectFlawless([this] { return LoggedRids(); });
}

TEST_F(Faults, OfAWayBackThatWasKilledGoesBack) {
  for (const std::string_view fault : orchestrator::kTakeBackFaults) {
    const std::string when(fault);
    const pid_t pid = Pid();
    e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "30"}), outside_ / "upgrade",
                         {"ORCHESTRATOR_FAULT=" + when});
    ASSERT_TRUE(Eventually([&] { return Pid() != pid && Pid() != 0; })) << "no switch";
    upgrade.Signal(SIGINT);
    EXPECT_EQ(upgrade.Wait().status, kKilled) << when << " is not reached";
    Recover(By::kResume, when);
    EXPECT_EQ(Pid(), pid) << when;
    ExpectOneInstance(when);
    if (HasFailure()) return;
  }
  load_->ExpectFlawless([this] { return LoggedRids(); });
}

TEST_F(Faults, ThatIsKilledItselfIsDoneByTheNextOne) {
  const auto go = [&](std::string_view first, const auto& faults, int status, bool kill_both) {
    for (const std::string_view fault : faults) {
      const std::string when = std::string(first) + ", " + std::string(fault);
      const pid_t old_one = Pid();
      ASSERT_EQ(UpgradeWithFault(first, {"--bake", "0"}).status, kKilled) << when;
      if (kill_both) {
        for (const pid_t parent : Parents()) ::kill(parent, SIGKILL);
      }
      const Outcome killed = ResumeWithFault(fault);
      ASSERT_EQ(killed.status, kKilled) << when << " is not reached: " << killed.All();
      const Outcome resumed = Orchestrator("resume");
      if (kill_both) {
        EXPECT_TRUE(resumed.status == 0 || resumed.status == 3) << when << resumed.All();
      } else {
        EXPECT_EQ(resumed.status, status) << when << resumed.All();
        EXPECT_EQ(Pid() == old_one, status == 3) << when;
      }
      ExpectOneInstance(when);
      if (HasFailure()) return;
    }
  };
  go("switched.paused", orchestrator::kResumeBackFaults, 3, false);
  if (HasFailure()) return;
  go("draining.recorded", orchestrator::kResumeForwardFaults, 0, false);
  if (HasFailure()) return;
  load_->ExpectFlawless([this] { return LoggedRids(); });
  go("switched.paused", orchestrator::kResumeStartFaults, 3, true);
}

TEST_F(Faults, AfterTheDeadlineEndsAnInstanceThatDoesNotLeave) {
  for (const std::string_view fault : orchestrator::kDeadlineFaults) {
    if (fault == "done.kill" && !Long()) continue;  // KILL comes 5 s after TERM
    const std::string when(fault);
    const pid_t pid = Pid();
    e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0", "--graceful-shutdown-timeout", "1"}),
                         outside_ / "upgrade", {"ORCHESTRATOR_FAULT=" + when});
    ASSERT_TRUE(Eventually([&] { return Pid() != pid && Pid() != 0; })) << "no switch";
    ASSERT_TRUE(
        Eventually([&] { return e2e::FileText(outside_ / "upgrade.out").find("draining") != std::string::npos; }));
    ASSERT_EQ(::kill(pid, SIGSTOP), 0);
    EXPECT_EQ(upgrade.Wait().status, kKilled) << when << " is not reached";
    ::kill(pid, SIGCONT);
    Recover(By::kResume, when);
    EXPECT_NE(Pid(), pid);
    ExpectOneInstance(when);
    if (HasFailure()) return;
  }
}

}  // namespace
