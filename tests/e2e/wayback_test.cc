#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "tests/e2e/server.h"

namespace {

namespace fs = std::filesystem;
using e2e::Connection;
using e2e::Eventually;
using e2e::Load;
using e2e::Outcome;
using std::chrono::milliseconds;
using support::FailureKind;

/// Ways back: before the commit point, after it, and years later.
class WayBack : public e2e::Server {
 protected:
  /// A download that keeps the instance that has it draining until the connection is dropped.
  std::optional<Connection> SlowDownload() const {
    auto connection = Connection::Open(port_, 4096);
    if (!connection || !connection->Send(e2e::GetRequest("/big.bin", "Connection: close\r\n"))) return std::nullopt;
    return connection->ReadSome(1000).size() == 1000 ? std::move(connection) : std::nullopt;
  }

  bool Says(const std::string& words) const {
    return Eventually([&] { return e2e::FileText(outside_ / "upgrade.out").find(words) != std::string::npos; });
  }

  /// Every failure that is not that of a request or a connection inside the process that was killed.
  static void ExpectNobodyTurnedAway(const support::Report& report) {
    for (const auto kind : {FailureKind::kRefused, FailureKind::kLate, FailureKind::kWrongStatus,
                            FailureKind::kWrongBody, FailureKind::kMalformed}) {
      EXPECT_EQ(report.Count(kind), 0U) << support::kFailureKindNames[static_cast<size_t>(kind)] << "\n"
                                        << support::ToText(report, {}, 1);
    }
    EXPECT_GT(report.Answered(), 0U);
  }

  /// A copy of httpd that calls itself 0.2.0 instead of 0.1.0.
  fs::path OtherVersion(const std::string& name) const {
    std::string text = e2e::FileText(e2e::Program("httpd"));
    for (size_t at = 0; (at = text.find("0.1.", at)) != std::string::npos; ++at) text[at + 2] = '2';
    e2e::WriteFile(outside_ / name, text);
    ::chmod((outside_ / name).c_str(), 0755);
    return outside_ / name;
  }
};

// Race 11: the old instance is deaf when the new one dies. The orchestrator holds the listeners, so clients wait in the
// accept queue while the old version is started again from what was kept.
class KilledAfterTheCommitPoint : public WayBack, public testing::WithParamInterface<int> {};

TEST_P(KilledAfterTheCommitPoint, IsReplacedByTheOldVersionAndNobodyIsTurnedAway) {
  deaths_allowed_ = true;
  Configure({.more = "ServerAdmin old@example.org"});
  Start();
  const pid_t first = Pid();
  const std::string old_config = e2e::FileText(root_ / "conf" / "httpd.conf");
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  Configure({.more = "ServerAdmin new@example.org"});
  Load load(root_, port_, [](support::LoadOptions& options) { options.download_time = milliseconds(500); });
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0"}), outside_ / "upgrade");
  ASSERT_TRUE(Says("draining"));
  std::this_thread::sleep_for(milliseconds(GetParam()));
  const pid_t second = Pid();
  ASSERT_NE(second, first);
  for (const pid_t child : Children(second)) ::kill(child, SIGKILL);
  ASSERT_EQ(::kill(second, SIGKILL), 0);
  ASSERT_TRUE(Says("was started again")) << e2e::FileText(outside_ / "upgrade.out");
  const pid_t third = Pid();
  EXPECT_NE(third, second);
  EXPECT_NE(third, first);
  EXPECT_FALSE(upgrade.HasEnded()) << "the first one still drains";
  ASSERT_TRUE(Eventually([&] {
    return Parents() == std::vector<pid_t>{std::min(first, third), std::max(first, third)};
  }));
  // The files on disk say something else by now: it is the old configuration all the same.
  const std::string runs = e2e::FileText(root_ / "run" / ("httpd." + std::to_string(third) + ".conf"));
  EXPECT_NE(runs.find("old@example.org"), std::string::npos) << runs;
  std::this_thread::sleep_for(milliseconds(300));
  ExpectNobodyTurnedAway(load.Stop());
  download.reset();
  const Outcome upgraded = upgrade.Wait();
  EXPECT_EQ(upgraded.status, 3) << upgraded.All();
  EXPECT_NE(upgraded.err.find("was killed by signal 9 (Killed) after the old one had been told to leave"),
            std::string::npos)
      << upgraded.err;
  EXPECT_EQ(std::count(upgraded.err.begin(), upgraded.err.end(), '\n'), 1) << upgraded.err;
  EXPECT_EQ(Pid(), third);
  EXPECT_EQ(Parents(), std::vector<pid_t>{third});
  EXPECT_TRUE(Get("/index.html"));
}
INSTANTIATE_TEST_SUITE_P(Milliseconds, KilledAfterTheCommitPoint, testing::Values(0, 40),
                         [](const auto& one) { return std::to_string(one.param); });

TEST_F(WayBack, AServiceThatIsStoppedDuringTheDrainIsNotStartedAgainAndRefusesItsClients) {
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0"}), outside_ / "upgrade");
  ASSERT_TRUE(Says("draining"));
  ASSERT_EQ(Httpd({"-k", "stop", "--wait"}).status, 0);
  EXPECT_TRUE(Eventually([this] { return !Connection::Open(port_); })) << "clients wait for a server that was stopped";
  EXPECT_FALSE(upgrade.HasEnded());
  download.reset();
  EXPECT_EQ(upgrade.Wait().status, 0);
  EXPECT_TRUE(Parents().empty());
}

TEST_F(WayBack, AGracefulStopOfTheNewcomerRefusesNewClientsThoughWeStillWaitForTheOldOne) {
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0"}), outside_ / "upgrade");
  ASSERT_TRUE(Says("draining"));
  auto second = SlowDownload();  // keeps the newcomer draining, too
  ASSERT_TRUE(second);
  ASSERT_EQ(Httpd({"-k", "graceful-stop"}).status, 0);
  EXPECT_TRUE(Eventually([this] { return !Connection::Open(port_); }));
  second.reset();
  download.reset();
  EXPECT_EQ(upgrade.Wait().status, 0);
  EXPECT_TRUE(Eventually([this] { return Parents().empty(); }));
}

TEST_F(WayBack, AnUpgradeThatALaterOneHasReplacedStartsNothingAgain) {
  deaths_allowed_ = true;
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  e2e::Running first(OrchestratorCommand("upgrade", {"--bake", "0"}), outside_ / "upgrade");
  ASSERT_TRUE(Says("draining"));
  const pid_t second_pid = Pid();
  e2e::Running later(OrchestratorCommand("upgrade", {"--bake", "30"}), outside_ / "later");
  ASSERT_TRUE(Eventually([&] { return Pid() != 0 && Pid() != second_pid; }));
  const pid_t third_pid = Pid();
  ASSERT_EQ(::kill(second_pid, SIGKILL), 0);  // paused: it is the later one's old instance
  EXPECT_EQ(later.Wait().status, 0);
  EXPECT_FALSE(first.HasEnded());
  EXPECT_EQ(Pid(), third_pid);
  download.reset();
  const Outcome upgraded = first.Wait();
  EXPECT_EQ(e2e::CountOf(upgraded.out, "was started again"), 0U) << upgraded.All();
  EXPECT_EQ(Parents(), std::vector<pid_t>{third_pid});
}

}  // namespace
