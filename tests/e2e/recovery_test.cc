#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "orchestrator/faults.h"  // the names only
#include "tests/e2e/server.h"

namespace {

namespace fs = std::filesystem;
using e2e::Eventually;
using e2e::Load;
using e2e::Outcome;
using std::chrono::milliseconds;
using support::FailureKind;

bool Long() {
  return std::getenv("BATON_LONG") != nullptr;
}

/// kill -9 of the orchestrator, and of what it works with, while it replaces an instance.
class Recovery : public e2e::Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    if (HasFatalFailure()) return;
    deaths_allowed_ = true;
    Configure({.log = PipedLog(), .graceful_shutdown = 20});
    Start();
    load_.emplace(root_, port_, [](support::LoadOptions& options) {
      const int each = Long() ? 3 : 2;
      options.connections = {each, each, each, each, each, each};
      options.rate = Long() ? 150 : 60;
      options.download_time = milliseconds(Long() ? 2000 : 400);
      options.upload_time = milliseconds(Long() ? 1000 : 200);
      options.think_max = milliseconds(400);
    });
  }

  void TearDown() override {
    load_.reset();
    Server::TearDown();
  }

  fs::path State() const { return root_ / "run" / "orchestrator"; }

  /// What of the state directory is neither journal nor lock nor a kept version.
  std::vector<std::string> StrayState() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(State())) {
      const std::string name = entry.path().filename().string();
      if (name != "journal.db" && name != "lock" && name != "versions") out.push_back(name);
    }
    return out;
  }

  /// One instance that serves, named by the PidFile; no process and no file of anybody else.
  void ExpectOneInstance(const std::string& when) {
    SCOPED_TRACE(when);
    const pid_t pid = Pid();
    ASSERT_NE(pid, 0) << "nobody serves";
    EXPECT_TRUE(Eventually([&] { return Parents() == std::vector<pid_t>{pid}; }, std::chrono::seconds(25)))
        << Parents().size() << " instances are left, PidFile names " << pid;
    EXPECT_TRUE(Get("/index.html"));
    EXPECT_TRUE(Eventually([&] { return Processes().size() == 1 + Children(pid).size() + LogPrograms(pid).size(); }))
        << "an orphan is left";
    for (const std::string& name : RuntimeFiles()) {
      EXPECT_TRUE(name == "httpd.pid" || name.starts_with("httpd." + std::to_string(pid) + ".")) << name << " is left";
    }
    EXPECT_EQ(StrayState(), std::vector<std::string>());
  }

  /// resume, or the next upgrade, which does the same first.
  enum class By { kResume, kUpgrade };
  void Recover(By by, const std::string& when) {
    SCOPED_TRACE(when);
    if (by == By::kResume) {
      const Outcome resumed = Orchestrator("resume");
      EXPECT_TRUE(resumed.status == 0 || resumed.status == 3) << resumed.All();
      const Outcome again = Orchestrator("resume");
      EXPECT_EQ(again.status, 0) << again.All();
      EXPECT_NE(again.out.find("nothing to do"), std::string::npos) << again.All();
    } else {
      const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
      EXPECT_EQ(upgraded.status, 0) << upgraded.All();
    }
  }

  Outcome UpgradeWithFault(std::string_view fault, const std::vector<std::string>& arguments) {
    return e2e::Execute(OrchestratorCommand("upgrade", arguments), {"ORCHESTRATOR_FAULT=" + std::string(fault)});
  }

  Outcome ResumeWithFault(std::string_view fault) {
    return e2e::Execute(OrchestratorCommand("resume", {}), {"ORCHESTRATOR_FAULT=" + std::string(fault)});
  }

  /// Waits until the running upgrade says in its lock file, or in what it prints, that `step` has begun.
  bool Begins(const std::string& step, const fs::path& output) const {
    // The lock is given back at the commit point; then the steps before say it.
    const std::string before = step == "draining" ? "\"step\":\"baked\"" : "\"step\":\"draining\"";
    return Eventually([&] {
      if (e2e::FileText(State() / "lock").find("step=" + step + "\n") != std::string::npos) return true;
      const std::string printed = e2e::FileText(output.string() + ".out");
      if (printed.find("\"event\":\"result\"") != std::string::npos) return true;  // too quick: killed after its end
      return (step == "draining" || step == "done") && printed.find(before) != std::string::npos;
    });
  }

  std::vector<std::string> Steps() const {
    return {"planned", "launched", "ready", "probed", "switched", "baked", "draining", "done"};
  }

  std::optional<Load> load_;
};

#ifndef BATON_FAULTS
TEST_F(Recovery, OfAnUpgradeThatWasKilledOnceItsStepsHadBegunFailsNoRequest) {
  int round = 0;
  for (const std::string& step : Steps()) {
    for (int i = 0; i < (Long() ? 10 : 1); ++i) {
      const fs::path output = outside_ / "upgrade";
      e2e::WriteFile(output.string() + ".out", "");
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
    e2e::WriteFile(output.string() + ".out", "");
    e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0.2", "--json"}), output);
    ASSERT_TRUE(Begins(step, output)) << step;
    pid_t victim = 0;
    Eventually([&] { return (victim = Find(old_one)) != 0 || upgrade.HasEnded(); });
    if (victim != 0) ::kill(victim, SIGKILL);
    const Outcome upgraded = upgrade.Wait();
    SCOPED_TRACE(step + ": " + upgraded.All());
    const Outcome resumed = Orchestrator("resume");
    EXPECT_TRUE(resumed.status == 0 || resumed.status == 3) << resumed.All();
    if (Parents().empty() && upgraded.err.find("start one with orchestrator start") != std::string::npos) {
      EXPECT_EQ(step, "planned") << "killed before the upgrade had looked: there was nothing to upgrade";
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

#ifdef BATON_FAULTS

constexpr int kKilled = 128 + SIGKILL;

TEST_F(Recovery, AtEveryFaultPointLeavesOneInstanceAndFailsNoRequest) {
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

TEST_F(Recovery, OfAWayBackThatWasKilledGoesBack) {
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

TEST_F(Recovery, ThatIsKilledItselfIsDoneByTheNextOne) {
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

TEST_F(Recovery, AfterTheDeadlineEndsAnInstanceThatDoesNotLeave) {
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

#endif

}  // namespace
