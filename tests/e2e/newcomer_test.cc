#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "tests/e2e/server.h"

namespace {

using e2e::Eventually;
using e2e::Load;
using e2e::Outcome;

/// Newcomers that are no good: the old instance serves on as if nothing had happened.
class Newcomer : public e2e::Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    if (HasFatalFailure()) return;
    Configure({.log = PipedLog()});
    Start();
    pid_ = Pid();
    files_ = RuntimeFiles();
    children_ = Children(pid_);
    load_.emplace(root_, port_,
                  [](support::LoadOptions& options) { options.download_time = std::chrono::milliseconds(1000); });
  }

  void TearDown() override {
    load_.reset();
    Configure({.log = PipedLog()});
    Server::TearDown();
  }

  /// The upgrade fails with `status` and one sentence that has `words`; nobody notices; nothing is left of it.
  void ExpectTurnedDown(const std::vector<std::string>& arguments, int status, const std::string& words) {
    const Outcome upgraded = Orchestrator("upgrade", arguments);
    EXPECT_EQ(upgraded.status, status) << upgraded.All();
    EXPECT_EQ(std::count(upgraded.err.begin(), upgraded.err.end(), '\n'), 1) << upgraded.All();
    EXPECT_NE(upgraded.err.find(words), std::string::npos) << upgraded.All();
    EXPECT_EQ(Pid(), pid_);
    EXPECT_EQ(Parents(), std::vector<pid_t>{pid_});
    EXPECT_EQ(Children(pid_), children_);
    EXPECT_EQ(RuntimeFiles(), files_);
    for (const pid_t pid : Processes()) {
      const std::string words_of = e2e::FileText("/proc/" + std::to_string(pid) + "/cmdline");
      EXPECT_EQ(words_of.find(outside_.string() + "/bad"), std::string::npos) << "left running: " << words_of;
    }
    load_->ExpectFlawless([this] { return LoggedRids(); });
  }

  /// A binary that is the real one for every question, and does `instead` when it is to become an instance.
  std::string BadBinary(const std::string& instead) {
    return Script("bad", "case \" $* \" in *\" --standby \"*) " + instead + ";; esac\nexec " + e2e::Program("httpd") +
                             " \"$@\"")
        .string();
  }

  pid_t pid_ = 0;
  std::vector<std::string> files_;
  std::vector<pid_t> children_;
  std::optional<Load> load_;
};

TEST_F(Newcomer, WithABrokenConfigurationIsNeverStarted) {
  Configure({.log = PipedLog(), .more = "<Directory /nowhere>"});
  ExpectTurnedDown({"--bake", "0"}, 1, "httpd.conf");
}

TEST_F(Newcomer, WhoseBinaryIsMissingIsNeverStarted) {
  ExpectTurnedDown({"--bake", "0", "--binary", (outside_ / "nothing").string()}, 1, "nothing");
}

TEST_F(Newcomer, ThatDiesAtItsStartIsReportedWithItsLastWords) {
  ExpectTurnedDown({"--bake", "0", "--binary", BadBinary("echo no such luck >&2; exit 7")}, 3, "no such luck");
}

TEST_F(Newcomer, ThatIsKilledAtItsStartIsTakenBack) {
  ExpectTurnedDown({"--bake", "0", "--binary", BadBinary("kill -9 $$")}, 3, "killed by signal 9");
}

TEST_F(Newcomer, ThatNeverGetsReadyIsEndedAfterTheTimeout) {
  const std::string sleep = Script("bad-sleep", "sleep $1").string();  // with a helper that nobody waits for
  ExpectTurnedDown(
      {"--bake", "0", "--ready-timeout", "1", "--binary", BadBinary(sleep + " 600 & exec " + sleep + " 600")}, 3,
      "not ready within 1 s");
}

TEST_F(Newcomer, ThatIgnoresTermIsKilled) {
  ExpectTurnedDown(
      {"--bake", "0", "--ready-timeout", "1", "--binary", BadBinary("trap '' TERM; while :; do sleep 1; done")}, 3,
      "not ready within 1 s");
}

TEST_F(Newcomer, ThatFailsAProbeIsTakenBack) {
  ExpectTurnedDown({"--bake", "0", "--probe", "/missing=200"}, 3, "probe /missing answered 404 instead of 200");
}

TEST_F(Newcomer, WhoseAddedPortIsTakenIsNeverStarted) {
  const uint16_t second = e2e::FreePort();
  auto taken = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", second).value(), 1);
  ASSERT_TRUE(taken);
  Configure({.ports = {port_, second}, .log = PipedLog()});
  ExpectTurnedDown({"--bake", "0"}, 1, "127.0.0.1:" + std::to_string(second));
}

TEST_F(Newcomer, ThatCannotOpenItsLogIsTakenBack) {
  Configure({.log = "logs/none/access.log"});
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
  EXPECT_TRUE(upgraded.status == 1 || upgraded.status == 3) << upgraded.All();
  EXPECT_NE(upgraded.err.find("logs/none"), std::string::npos) << upgraded.All();
  EXPECT_EQ(Parents(), std::vector<pid_t>{pid_});
  load_->ExpectFlawless([this] { return LoggedRids(); });
}

TEST_F(Newcomer, ThatDiesDuringTheBakeTimeIsReplacedByTheOldOne) {
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "30"}), outside_ / "upgrade");
  ASSERT_TRUE(Eventually([this] { return Pid() != pid_ && Pid() != 0; })) << "no switch";
  ASSERT_EQ(::kill(Pid(), SIGTERM), 0);  // with its requests: what the load sees of that is no subject here
  const Outcome upgraded = upgrade.Wait();
  EXPECT_EQ(upgraded.status, 3) << upgraded.All();
  EXPECT_EQ(Pid(), pid_);
  EXPECT_TRUE(Get("/index.html"));
  EXPECT_EQ(Parents(), std::vector<pid_t>{pid_});
}

TEST_F(Newcomer, DuringWhoseBakeTimeTheOrchestratorIsInterruptedGoesWithoutAFailure) {
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "30"}), outside_ / "upgrade");
  ASSERT_TRUE(Eventually([this] { return Pid() != pid_ && Pid() != 0; })) << "no switch";
  upgrade.Signal(SIGINT);
  const Outcome upgraded = upgrade.Wait();
  EXPECT_EQ(upgraded.status, 3) << upgraded.All();
  EXPECT_NE(upgraded.err.find("rolled back"), std::string::npos) << upgraded.All();
  EXPECT_EQ(Pid(), pid_);
  EXPECT_EQ(Parents(), std::vector<pid_t>{pid_});
  load_->ExpectFlawless([this] { return LoggedRids(); });
}

TEST_F(Newcomer, WhileAnotherUpgradeRunsIsRefusedAndTheHolderNamed) {
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "30"}), outside_ / "upgrade");
  ASSERT_TRUE(Eventually([this] { return Pid() != pid_ && Pid() != 0; })) << "no switch";
  const Outcome second = Orchestrator("upgrade", {"--bake", "0"});
  EXPECT_EQ(second.status, 75) << second.All();
  EXPECT_NE(second.err.find(std::to_string(upgrade.pid())), std::string::npos) << second.All();
  upgrade.Signal(SIGTERM);
  EXPECT_EQ(upgrade.Wait().status, 3);
  EXPECT_EQ(Pid(), pid_);
  load_->ExpectFlawless([this] { return LoggedRids(); });
}

}  // namespace
