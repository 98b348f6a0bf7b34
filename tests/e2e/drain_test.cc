#include <signal.h>

#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::Eventually;
using e2e::Outcome;

/// Downloads that outlive what happens to their server. Small receive buffers keep the server from writing ahead.
class Drain : public e2e::Server {
 protected:
  std::optional<Connection> SlowDownload() {
    auto connection = Connection::Open(port_, 4096);
    if (!connection || !connection->Send(e2e::GetRequest("/big.bin", "Connection: close\r\n"))) return std::nullopt;
    taken_ = connection->ReadSome(1000);
    return taken_.size() == 1000 ? std::move(connection) : std::nullopt;
  }

  /// Reads the rest and compares the body with the file, byte by byte.
  void ExpectWhole(Connection& download) {
    taken_ += download.ReadSome(20'000'000);
    const size_t head = taken_.find("\r\n\r\n");
    ASSERT_NE(head, std::string::npos);
    if (taken_.size() < head + 4 + 20'000'000) taken_ += download.ReadSome(head + 4 + 20'000'000 - taken_.size());
    const std::string body = taken_.substr(head + 4);
    EXPECT_EQ(body.size(), 20'000'000U) << download.Why();
    EXPECT_TRUE(body == e2e::FileText(root_ / "site" / "big.bin")) << "the bytes are not those of the file";
  }

  std::string taken_;
};

TEST_F(Drain, ADownloadThatOutlivesTheUpgradeArrivesWholeFromTheOldInstance) {
  Start();
  const pid_t old_pid = Pid();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0"}), outside_ / "upgrade");
  ASSERT_TRUE(Eventually([&] { return e2e::FileText(outside_ / "upgrade.out").find("draining") != std::string::npos; }))
      << e2e::FileText(outside_ / "upgrade.err");
  EXPECT_NE(Pid(), old_pid);
  EXPECT_TRUE(Get("/index.html"));
  EXPECT_FALSE(upgrade.HasEnded()) << "without --detach the orchestrator waits for the old instance";
  ExpectWhole(*download);
  const Outcome upgraded = upgrade.Wait();
  EXPECT_EQ(upgraded.status, 0) << upgraded.All();
  EXPECT_EQ(Parents(), std::vector<pid_t>{Pid()});
  // %P of the line is a child of the old instance: a pid that none of the new one's children has.
  const std::string log = e2e::FileText(root_ / "logs" / "access.log");
  const size_t at = log.find("/big.bin");
  ASSERT_NE(at, std::string::npos);
  const std::string line = log.substr(at, log.find('\n', at) - at);
  const pid_t by = std::atoi(line.c_str() + line.rfind(' '));
  for (const pid_t child : Children(Pid())) EXPECT_NE(child, by);
}

TEST_F(Drain, AtTheDeadlineOfAnUpgradeWhatIsLeftIsCutAndReported) {
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0", "--graceful-shutdown-timeout", "1"});
  EXPECT_EQ(upgraded.status, 4) << upgraded.All();
  EXPECT_NE(upgraded.err.find("1 request of process"), std::string::npos) << upgraded.All();
  EXPECT_NE(upgraded.err.find("cut at the deadline of 1 s"), std::string::npos) << upgraded.All();
  EXPECT_TRUE(download->ReachesEnd());
  EXPECT_EQ(Parents(), std::vector<pid_t>{Pid()});
  EXPECT_TRUE(Get("/index.html"));
}

TEST_F(Drain, AfterWinchADownloadIsFinishedAndNewClientsAreRefused) {
  Start();
  const pid_t pid = Pid();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  ASSERT_EQ(::kill(pid, SIGWINCH), 0);
  EXPECT_TRUE(Eventually([this] { return !Connection::Open(port_); })) << "the port is still open";
  EXPECT_TRUE(Eventually([this] { return Pid() == 0; })) << "the PidFile is still there";
  EXPECT_NE(ErrorLog().find("AH00492: caught SIGWINCH, shutting down gracefully"), std::string::npos);
  ExpectWhole(*download);
  EXPECT_TRUE(Eventually([this] { return Processes().empty(); }));
}

TEST_F(Drain, AfterWinchTheTimeoutCutsWhatIsLeft) {
  Configure({.graceful_shutdown = 1});
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  ASSERT_EQ(::kill(Pid(), SIGWINCH), 0);
  EXPECT_TRUE(Eventually([this] { return Processes().empty(); })) << "GracefulShutdownTimeout does not end the drain";
  EXPECT_TRUE(download->ReachesEnd());
  EXPECT_NE(ErrorLog().find("GracefulShutdownTimeout (1 s) reached: 1 requests in progress"), std::string::npos);
}

TEST_F(Drain, TermWhileDrainingEndsAtOnce) {
  Start();
  const pid_t pid = Pid();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  ASSERT_EQ(::kill(pid, SIGWINCH), 0);
  ASSERT_TRUE(Eventually([this] { return Pid() == 0; }));
  EXPECT_FALSE(Processes().empty());
  ASSERT_EQ(::kill(pid, SIGTERM), 0);
  EXPECT_TRUE(Eventually([this] { return Processes().empty(); }, std::chrono::seconds(20)));
  EXPECT_TRUE(download->ReachesEnd());
}

TEST_F(Drain, OrchestratorStopGracefulReportsWhatWasCut) {
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  const Outcome stopped = Orchestrator("stop", {"--graceful", "--graceful-shutdown-timeout", "1"});
  EXPECT_EQ(stopped.status, 4) << stopped.All();
  EXPECT_NE(stopped.err.find("1 request was cut at the deadline of 1 s"), std::string::npos) << stopped.All();
  EXPECT_TRUE(Processes().empty());
}

}  // namespace
