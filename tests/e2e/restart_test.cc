#include <signal.h>

#include <chrono>
#include <thread>

#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::Eventually;
using e2e::Load;
using e2e::Outcome;

class Restart : public e2e::Server {
 protected:
  /// Calls `once` twenty times per second, or as fast as it can.
  void TwentyPerSecond(int times, const std::function<void(int)>& once) {
    auto due = std::chrono::steady_clock::now();
    for (int i = 0; i < times && !HasFailure(); ++i) {
      once(i);
      due += std::chrono::milliseconds(50);
      std::this_thread::sleep_until(due);  // the pace of this load, nothing waits for it
    }
  }

  void ExpectOneGenerationSoon() {
    EXPECT_TRUE(Eventually([this] {
      const auto status = Status();
      return status.contains("Stopping") && status.at("Stopping") == "0";
    })) << "old generations have not left";
  }
};

TEST_F(Restart, SixtyGracefulOnesAtTwentyPerSecondFailNobodyAndLoseNoLogLine) {
  Configure({.log = PipedLog()});
  Start();
  const pid_t pid = Pid();
  Load load(root_, port_);
  TwentyPerSecond(60, [&](int round) {
    const Outcome done = Httpd({"-k", "graceful", "--wait"});
    ASSERT_EQ(done.status, 0) << "graceful restart " << round << ": " << done.All();
  });
  load.ExpectFlawless([this] { return LoggedRids(); });
  EXPECT_EQ(Pid(), pid);
  EXPECT_EQ(Status()["ParentServerMPMGeneration"], "60");
  ExpectOneGenerationSoon();
}

TEST_F(Restart, BySignalAtTwentyPerSecondWithoutWaitingFailsNobody) {
  Configure({.log = PipedLog()});
  Start();
  Load load(root_, port_);
  TwentyPerSecond(60, [&](int) { ASSERT_EQ(::kill(Pid(), SIGUSR1), 0); });
  load.ExpectFlawless([this] { return LoggedRids(); });
  ExpectOneGenerationSoon();
}

TEST_F(Restart, GracefulOnesThatAddAndRemoveAPortFailNobodyOnTheOther) {
  Configure({.log = PipedLog()});
  Start();
  const uint16_t second = e2e::FreePort();
  Load load(root_, port_);
  for (int round = 0; round < 10 && !HasFailure(); ++round) {
    Configure({.ports = {port_, second}, .log = PipedLog()});
    Outcome done = Httpd({"-k", "graceful", "--wait"});
    ASSERT_EQ(done.status, 0) << done.All();
    const auto answer = Get("/index.html", second);
    ASSERT_TRUE(answer) << "the added port does not answer";
    EXPECT_EQ(answer->status, 200);
    Configure({.log = PipedLog()});
    done = Httpd({"-k", "graceful", "--wait"});
    ASSERT_EQ(done.status, 0) << done.All();
    // Children close their copies of a listener when they are told to leave, not when they have left.
    EXPECT_TRUE(Eventually([second] { return !Connection::Open(second); })) << "the removed port still answers";
  }
  load.ExpectFlawless([this] { return LoggedRids(); });
}

TEST_F(Restart, OnePortThatIsTakenLeavesTheServerAsItIs) {
  Start();
  const uint16_t second = e2e::FreePort();
  auto taken = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", second).value(), 1);
  ASSERT_TRUE(taken);
  Configure({.ports = {port_, second}});
  const Outcome done = Httpd({"-k", "graceful", "--wait"});
  EXPECT_NE(done.status, 0);
  EXPECT_NE(ErrorLog().find("127.0.0.1:" + std::to_string(second)), std::string::npos) << ErrorLog();
  ASSERT_TRUE(Get("/index.html"));
  EXPECT_EQ(Status()["ParentServerMPMGeneration"], "0");
  Configure({});
}

TEST_F(Restart, HardKeepsPidAndListenersAndSetsTheStatisticsToZero) {
  Start();
  const pid_t pid = Pid();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Get("/index.html"));
  ASSERT_GE(std::stoi(Status()["Total Accesses"]), 20);
  // New connections all the while: they may wait, none may be refused or left without an answer.
  std::atomic<bool> stop = false;
  std::atomic<int> refused = 0, unanswered = 0, answered = 0;
  std::thread clients([&] {
    while (!stop) {
      auto connection = Connection::Open(port_);
      if (!connection) {
        ++refused;
        continue;
      }
      ++answered;
    }
  });
  for (int i = 0; i < 5; ++i) {
    const Outcome done = Httpd({"-k", "restart", "--wait"});
    EXPECT_EQ(done.status, 0) << done.All();
  }
  stop = true;
  clients.join();
  EXPECT_EQ(refused, 0);
  EXPECT_GT(answered, 0);
  EXPECT_EQ(Pid(), pid);
  EXPECT_LT(std::stoi(Status()["Total Accesses"]), 5);
  EXPECT_NE(ErrorLog().find("AH00494: SIGHUP received.  Attempting to restart"), std::string::npos);
}

TEST_F(Restart, HardCutsWhatIsInProgressAndAnswersWhoWaitsInTheQueue) {
  Start();
  auto slow = Connection::Open(port_, 4096);
  ASSERT_TRUE(slow);
  ASSERT_TRUE(slow->Send(e2e::GetRequest("/big.bin")));
  ASSERT_EQ(slow->ReadSome(1000).size(), 1000U);
  ASSERT_EQ(::kill(Pid(), SIGHUP), 0);
  EXPECT_TRUE(slow->ReachesEnd());
  const auto answer = Get("/index.html");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
}

TEST_F(Restart, GracefulKeepsTheStatistics) {
  Start();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Get("/index.html"));
  const Outcome done = Httpd({"-k", "graceful", "--wait"});
  ASSERT_EQ(done.status, 0) << done.All();
  auto status = Status();
  EXPECT_GE(std::stoi(status["Total Accesses"]), 20);
  EXPECT_EQ(status["ParentServerMPMGeneration"], "1");
}

TEST_F(Restart, GracefulWithABadConfigurationGoesOnUnchangedAndSaysWhy) {
  Start();
  const pid_t pid = Pid();
  Configure({.more = "NoSuchDirective on"});
  ASSERT_EQ(::kill(pid, SIGUSR1), 0);
  EXPECT_TRUE(Eventually([this] { return ErrorLog().find("NoSuchDirective") != std::string::npos; }));
  EXPECT_NE(ErrorLog().find("Syntax error on line"), std::string::npos);
  ASSERT_EQ(::kill(pid, SIGHUP), 0);
  EXPECT_TRUE(Eventually([this] {
    return ErrorLog().find(
               "restart refused: the configuration above; the server goes on "
               "unchanged") != std::string::npos;
  }));
  const auto answer = Get("/index.html");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(Pid(), pid);
  Configure({});
}

TEST_F(Restart, AfterALogWasMovedWritesToANewFileAndTheOldGenerationToTheOldOne) {
  Start();
  auto slow = Connection::Open(port_, 4096);
  ASSERT_TRUE(slow);
  ASSERT_TRUE(slow->Send(e2e::GetRequest("/big.bin?slow", "Connection: close\r\n")));
  ASSERT_EQ(slow->ReadSome(1000).size(), 1000U);
  std::filesystem::rename(root_ / "logs" / "access.log", root_ / "logs" / "access.log.1");
  const Outcome done = Httpd({"-k", "graceful", "--wait"});
  ASSERT_EQ(done.status, 0) << done.All();
  // Until it has read that it leaves, a busy loop may still take a connection, and log it where it always did.
  EXPECT_TRUE(Eventually([this] { return Status()["GracefulWorkers"] == "1"; }));
  ASSERT_TRUE(Get("/index.html?after"));
  EXPECT_NE(Status()["Scoreboard"].find('G'), std::string::npos) << Status()["Scoreboard"];
  slow->ReadSome(30'000'000 - 1000);
  EXPECT_TRUE(Eventually([this] {
    return e2e::FileText(root_ / "logs" / "access.log.1").find("/big.bin?slow") != std::string::npos;
  })) << "the request that was in progress is in no log";
  EXPECT_TRUE(
      Eventually([this] { return e2e::FileText(root_ / "logs" / "access.log").find("?after") != std::string::npos; }));
  EXPECT_EQ(e2e::FileText(root_ / "logs" / "access.log").find("?slow"), std::string::npos);
  EXPECT_EQ(e2e::FileText(root_ / "logs" / "access.log.1").find("?after"), std::string::npos);
  EXPECT_TRUE(Eventually([this] { return Status()["Scoreboard"].find('G') == std::string::npos; }));
}

}  // namespace
