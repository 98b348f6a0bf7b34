#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>

#include "tests/e2e/server.h"

namespace {

namespace fs = std::filesystem;
using e2e::Eventually;
using e2e::Outcome;

/// Without load: what the commands say and how they end.
class Interrupted : public e2e::Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    if (!HasFatalFailure()) deaths_allowed_ = true;
  }

  /// An upgrade that has switched and bakes; stopped or killed by `signal`.
  std::unique_ptr<e2e::Running> Baking(int signal) {
    const pid_t pid = Pid();
    auto upgrade = std::make_unique<e2e::Running>(OrchestratorCommand("upgrade", {"--bake", "60"}), outside_ / "up");
    EXPECT_TRUE(Eventually([&] {
      return Pid() != pid && e2e::FileText(outside_ / "up.out").find("switched") != std::string::npos;
    })) << "no switch";
    upgrade->Signal(signal);
    if (signal == SIGKILL) upgrade->Wait();
    return upgrade;
  }

  static unsigned Mode(const fs::path& path) {
    struct stat info {};
    return ::lstat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
  }

  /// The command as another user of this machine.
  std::vector<std::string> As(const std::string& user, const std::vector<std::string>& words) const {
    std::vector<std::string> out = {"/usr/bin/setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups"};
    out.insert(out.end(), words.begin(), words.end());
    return out;
  }
};

TEST_F(Interrupted, ThatMeetsAnotherOneIsRefusedAndNamesTheHolder) {
  Start();
  const pid_t old_one = Pid();
  auto upgrade = Baking(SIGSTOP);
  const pid_t new_one = Pid();
  for (const char* verb : {"upgrade", "resume", "start", "stop"}) {
    const Outcome refused = Orchestrator(verb);
    EXPECT_EQ(refused.status, 75) << verb << refused.All();
    for (const std::string& word :
         {std::string("another upgrade is running"), "process " + std::to_string(upgrade->pid()),
          std::string("of user root"), std::string("since 20"), std::string("step baked"),
          std::string("it is stopped by a signal")}) {
      EXPECT_NE(refused.err.find(word), std::string::npos)
          << verb << " does not say \"" << word << "\": " << refused.err;
    }
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  }
  EXPECT_EQ(Parents().size(), 2U) << "nothing was changed";
  EXPECT_EQ(Pid(), new_one);
  upgrade->Signal(SIGKILL);
  upgrade->Wait();
  // The lock file still names the dead one, and is in nobody's way.
  EXPECT_NE(e2e::FileText(root_ / "run" / "orchestrator" / "lock").find("pid=" + std::to_string(upgrade->pid())),
            std::string::npos);
  const Outcome resumed = Orchestrator("resume");
  EXPECT_EQ(resumed.status, 3) << resumed.All();
  EXPECT_EQ(Pid(), old_one);
}

TEST_F(Interrupted, StatusAndHistoryTellOfAnInterruptedUpgradeAndResumeExplainsWhatItDoes) {
  Start();
  const pid_t old_one = Pid();
  EXPECT_EQ(Orchestrator("history").out, "no upgrade so far\n");
  EXPECT_EQ(Orchestrator("upgrade", {"--bake", "0"}).status, 0);
  const pid_t second = Pid();
  EXPECT_EQ(Orchestrator("upgrade", {"--bake", "0", "--probe", "/missing=200"}).status, 3);
  Baking(SIGKILL);
  const Outcome status = Orchestrator("status");
  EXPECT_NE(status.out.find("orchestrator resume finishes it or takes it back"), std::string::npos) << status.All();
  const Outcome before = Orchestrator("history");
  EXPECT_NE(before.out.find(" interrupted "), std::string::npos) << before.All();
  const Outcome resumed = Orchestrator("resume");
  EXPECT_EQ(resumed.status, 3) << resumed.All();
  EXPECT_EQ(std::count(resumed.out.begin(), resumed.out.end(), '\n'), 1) << resumed.out;
  for (const char* word : {"the upgrade that root began at 20", "interrupted at the step baked", "it is taken back"}) {
    EXPECT_NE(resumed.out.find(word), std::string::npos) << word << ": " << resumed.out;
  }
  EXPECT_EQ(Pid(), second);
  const Outcome after = Orchestrator("history");
  EXPECT_EQ(e2e::CountOf(after.out, " rolled back "), 2U) << after.All();
  EXPECT_EQ(e2e::CountOf(after.out, " done "), 1U + 1U) << "the first upgrade, and its last step: " << after.All();
  EXPECT_NE(after.out.find("probe /missing answered 404"), std::string::npos) << after.All();
  EXPECT_NE(after.out.find("(" + std::to_string(old_one) + ")"), std::string::npos) << after.All();
  EXPECT_NE(after.out.find("switched 0."), std::string::npos) << "durations of steps: " << after.All();
  const Outcome json = Orchestrator("history", {"--json"});
  EXPECT_EQ(std::count(json.out.begin(), json.out.end(), '\n'), 1);
  for (const std::string& word :
       {std::string("\"event\":\"history\""), std::string("\"user\":\"root\""), std::string("\"result\":\"done\""),
        std::string("\"step\":\"switched\""), "\"pid\":" + std::to_string(old_one)}) {
    EXPECT_NE(json.out.find(word), std::string::npos) << word;
  }
}

TEST_F(Interrupted, StartFinishesWhatWasInterrupted) {
  Start();
  const pid_t old_one = Pid();
  Baking(SIGKILL);
  const Outcome started = Orchestrator("start");
  EXPECT_EQ(started.status, 0) << started.All();
  EXPECT_NE(started.out.find("already running: process " + std::to_string(old_one)), std::string::npos)
      << started.All();
  EXPECT_TRUE(Eventually([&] { return Parents() == std::vector<pid_t>{old_one}; }));
}

TEST_F(Interrupted, StopEndsEveryInstanceOfAnInterruptedUpgradeAndClosesItsRecord) {
  Start();
  Baking(SIGKILL);
  ASSERT_EQ(Parents().size(), 2U);
  const Outcome stopped = Orchestrator("stop");
  EXPECT_EQ(stopped.status, 0) << stopped.All();
  EXPECT_TRUE(Eventually([&] { return Processes().empty(); }));
  EXPECT_EQ(RuntimeFiles(), std::vector<std::string>());
  const Outcome resumed = Orchestrator("resume");
  EXPECT_NE(resumed.out.find("nothing to do"), std::string::npos) << resumed.All();
}

TEST_F(Interrupted, ResumeStartsTheOldVersionAgainWhenBothWereKilledAndNotWhenTheyWereStopped) {
  Start();
  for (const int signal : {SIGKILL, SIGTERM}) {
    Baking(SIGKILL);
    std::vector<os::ProcessHandle> ending;
    for (const pid_t parent : Parents()) ending.push_back(os::ProcessHandle::Open(parent).value());
    ASSERT_EQ(ending.size(), 2U);
    for (const auto& process : ending) ASSERT_TRUE(process.Signal(signal));
    for (const auto& process : ending) ASSERT_TRUE(process.WaitForEnd(20'000));
    const Outcome resumed = Orchestrator("resume");
    if (signal == SIGTERM) {
      EXPECT_EQ(resumed.status, 0) << resumed.All();
      EXPECT_NE(resumed.out.find("has been stopped since"), std::string::npos) << resumed.All();
      EXPECT_EQ(Parents(), std::vector<pid_t>());
    } else {
      EXPECT_EQ(resumed.status, 3) << resumed.All();
      EXPECT_TRUE(Get("/index.html"));
      EXPECT_EQ(Parents(), std::vector<pid_t>{Pid()});
    }
  }
}

TEST_F(Interrupted, ByAFullDiskChangesNothing) {
  Start();
  const pid_t pid = Pid();
  const fs::path state = root_ / "run" / "orchestrator";
  fs::create_directories(state);
  ::chmod(state.c_str(), 0700);
  struct Mount {
    explicit Mount(const fs::path& where)
        : path(where), mounted(::mount("none", where.c_str(), "tmpfs", 0, "size=16k,mode=700") == 0) {}
    ~Mount() {
      if (mounted) ::umount2(path.c_str(), MNT_DETACH);
    }
    fs::path path;
    bool mounted;
  } mount(state);
  if (!mount.mounted) GTEST_SKIP() << "no file system can be mounted here";
  std::ofstream(state / "filler") << std::string(16384, 'x') << std::flush;
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
  EXPECT_EQ(upgraded.status, 1) << upgraded.All();
  EXPECT_NE(upgraded.err.find("journal"), std::string::npos) << upgraded.All();
  EXPECT_NE(upgraded.err.find("no space is left"), std::string::npos) << upgraded.All();
  EXPECT_EQ(std::count(upgraded.err.begin(), upgraded.err.end(), '\n'), 1) << upgraded.err;
  EXPECT_EQ(Parents(), std::vector<pid_t>{pid});
  EXPECT_EQ(Pid(), pid);
  fs::remove(state / "filler");
}

TEST_F(Interrupted, OfTheServersOwnUserWorksAndNobodyElseSeesTheState) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become other users";
  const std::string own = "65534";
  const std::string stranger = "54321";
  const auto orchestrator = [&](const std::string& user, const std::string& verb,
                                const std::vector<std::string>& more = {}) {
    return e2e::Execute(As(user, OrchestratorCommand(verb, more)));
  };
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    ASSERT_EQ(::lchown(entry.path().c_str(), 65534, 65534), 0);
  }
  ASSERT_EQ(::lchown(root_.c_str(), 65534, 65534), 0);
  const Outcome started = orchestrator(own, "start");
  ASSERT_EQ(started.status, 0) << started.All();
  const Outcome upgraded = orchestrator(own, "upgrade", {"--bake", "0"});
  EXPECT_EQ(upgraded.status, 0) << upgraded.All();
  // Root does it, and the server's user can still go on.
  const Outcome by_root = Orchestrator("upgrade", {"--bake", "0"});
  EXPECT_EQ(by_root.status, 0) << by_root.All();
  const Outcome again = orchestrator(own, "upgrade", {"--bake", "0"});
  EXPECT_EQ(again.status, 0) << again.All();

  const fs::path run = root_ / "run";
  EXPECT_EQ(Mode(run), 0700U);
  EXPECT_EQ(Mode(run / "orchestrator"), 0700U);
  for (const auto& entry : fs::directory_iterator(run / "orchestrator")) {
    EXPECT_EQ(Mode(entry.path()), entry.is_directory() ? 0700U : 0600U) << entry.path();
    struct stat info {};
    ASSERT_EQ(::lstat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_uid, 65534U) << entry.path();
  }
  for (const std::string& name : RuntimeFiles()) {
    if (name.ends_with(".control") || name.ends_with(".http") || name.ends_with(".lock")) {
      EXPECT_EQ(Mode(run / name), 0600U) << name;
    }
  }
  const pid_t pid = Pid();
  for (const char* verb : {"upgrade", "resume", "history", "start", "stop"}) {
    const Outcome refused = orchestrator(stranger, verb);
    EXPECT_EQ(refused.status, 1) << verb << refused.All();
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << verb << refused.err;
  }
  EXPECT_EQ(Parents(), std::vector<pid_t>{pid});
  EXPECT_EQ(orchestrator(own, "stop").status, 0);
}

}  // namespace
