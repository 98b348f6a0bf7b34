#include <signal.h>

#include <algorithm>
#include <thread>

#include "os/process.h"
#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::Eventually;
using e2e::Load;
using e2e::Outcome;

/// kill -9 of any one process.
class Crash : public e2e::Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    deaths_allowed_ = true;
  }
};

TEST_F(Crash, OfTheParentFreesThePortAndTheNextStartCleansUp) {
  Start();
  const pid_t parent = Pid();
  auto idle = Connection::Open(port_);
  ASSERT_TRUE(idle);
  ASSERT_TRUE(idle->Send(e2e::GetRequest("/index.html")));
  ASSERT_TRUE(idle->Read());
  std::vector<os::ProcessHandle> children;
  for (const pid_t pid : Children(parent)) children.push_back(os::ProcessHandle::Open(pid).value());
  ASSERT_FALSE(children.empty());
  // kill(2) returns before the process has ended; until then `start` rightly says that it is running.
  const auto killed = os::ProcessHandle::Open(parent);
  ASSERT_TRUE(killed);
  ASSERT_EQ(::kill(parent, SIGKILL), 0);
  ASSERT_TRUE(killed.value().WaitForEnd(10'000));
  // A new start takes the port at once, whatever the children are still at.
  const Outcome started = Httpd({"-k", "start"});
  ASSERT_EQ(started.status, 0) << started.All();
  const auto answer = Get("/index.html");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  for (const auto& child : children) EXPECT_TRUE(child.WaitForEnd(10'000)) << "a child outlives its parent";
  EXPECT_NE(Pid(), parent);
  EXPECT_TRUE(Eventually([&] {
    for (const std::string& name : RuntimeFiles()) {
      if (name.find("." + std::to_string(parent) + ".") != std::string::npos) return false;
    }
    return true;
  })) << "files of the dead instance stay";
}

TEST_F(Crash, OfTheParentEndsItsChildrenAndLogProgramsByThemselves) {
  Configure({.log = PipedLog()});
  Start();
  const pid_t parent = Pid();
  ASSERT_EQ(LogPrograms(parent).size(), 1U);
  ASSERT_EQ(::kill(parent, SIGKILL), 0);
  EXPECT_TRUE(Eventually([this] { return Processes().empty(); }, std::chrono::seconds(20)));
  // What it left is told apart from a live server, and goes with the next start.
  const Outcome graceful = Httpd({"-k", "graceful"});
  EXPECT_EQ(graceful.status, 0) << graceful.All();
  EXPECT_NE(graceful.out.find("httpd not running, trying to start"), std::string::npos) << graceful.All();
  EXPECT_TRUE(Get("/index.html"));
}

TEST_F(Crash, OfAChildIsRepairedAndTheOthersServeOn) {
  Start();
  const pid_t parent = Pid();
  const auto children = Children(parent);
  ASSERT_EQ(children.size(), 2U);
  // Connections on both children: which one has which, the access log tells.
  std::vector<Connection> connections;
  for (int i = 0; i < 16; ++i) {
    auto connection = Connection::Open(port_);
    ASSERT_TRUE(connection);
    ASSERT_TRUE(connection->Send(e2e::GetRequest("/index.html?first" + std::to_string(i) + ".")));
    ASSERT_TRUE(connection->Read());
    connections.push_back(std::move(*connection));
  }
  ASSERT_TRUE(Eventually([this] {  // a line is written after its answer
    return e2e::CountOf(e2e::FileText(root_ / "logs" / "access.log"), "?first") == 16;
  }));
  ASSERT_EQ(::kill(children[0], SIGKILL), 0);
  ASSERT_TRUE(Eventually([&] {
    const auto now = Children(parent);
    return now.size() == 2 && std::find(now.begin(), now.end(), children[0]) == now.end();
  })) << "the child is not replaced";
  const std::string log = e2e::FileText(root_ / "logs" / "access.log");
  int unaffected = 0;
  for (int i = 0; i < 16; ++i) {
    const size_t at = log.find("?first" + std::to_string(i) + ".");
    ASSERT_NE(at, std::string::npos);
    const std::string line = log.substr(at, log.find('\n', at) - at);
    if (std::atoi(line.c_str() + line.rfind(' ')) == children[0]) continue;
    ++unaffected;
    auto& connection = connections[static_cast<size_t>(i)];
    ASSERT_TRUE(connection.Send(e2e::GetRequest("/index.html")));
    EXPECT_TRUE(connection.Read()) << connection.Why();
  }
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Get("/index.html"));
  RecordProperty("connections_on_the_other_child", unaffected);
  EXPECT_NE(ErrorLog().find("AH00052: child pid " + std::to_string(children[0]) + " exit signal Killed (9)"),
            std::string::npos);
}

TEST_F(Crash, OfALogProgramLosesNoLineThatWaitsInThePipe) {
  Configure({.log = PipedLog()});
  Start();
  const pid_t parent = Pid();
  const auto logged = [this](int round, int first, int last) {
    const auto rids = LoggedRids();
    for (int i = first; i < last; ++i) {
      const auto found = rids.find("wait-" + std::to_string(round * 100 + i));
      if (found == rids.end() || found->second != 1) return false;
    }
    return true;
  };
  for (int round = 0; round < 3; ++round) {
    const auto ask = [&](int i) { return Get("/index.html?rid=wait-" + std::to_string(round * 100 + i)).has_value(); };
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(ask(i));
    ASSERT_TRUE(Eventually([&] { return logged(round, 0, 5); }));  // its hands are empty
    const auto programs = LogPrograms(parent);
    ASSERT_EQ(programs.size(), 1U);
    ASSERT_EQ(::kill(programs[0], SIGSTOP), 0);
    for (int i = 5; i < 25; ++i) ASSERT_TRUE(ask(i));
    ASSERT_EQ(::kill(programs[0], SIGKILL), 0);
    ASSERT_TRUE(Eventually([&] {
      const auto now = LogPrograms(parent);
      return now.size() == 1 && now[0] != programs[0];
    })) << "the log program is not restarted";
    EXPECT_TRUE(Eventually([&] { return logged(round, 0, 25); })) << "lines that were in the pipe are lost or doubled";
  }
  EXPECT_NE(ErrorLog().find("AH00106: piped log program"), std::string::npos);
}

TEST_F(Crash, OfALogProgramIsNoticedByNoClient) {
  Configure({.log = PipedLog()});
  Start();
  const pid_t parent = Pid();
  Load load(root_, port_);
  for (int round = 0; round < 3; ++round) {
    const auto programs = LogPrograms(parent);
    ASSERT_EQ(programs.size(), 1U);
    ASSERT_EQ(::kill(programs[0], SIGKILL), 0);
    ASSERT_TRUE(Eventually([&] {
      const auto now = LogPrograms(parent);
      return now.size() == 1 && now[0] != programs[0];
    })) << "the log program is not restarted";
  }
  const auto& report = load.Stop();
  EXPECT_EQ(report.Failures(), 0U) << support::ToText(report, {}, 1);
}

TEST_F(Crash, OfTheOrchestratorMakesTheStandbyInstanceLeaveByItself) {
  Start();
  const pid_t pid = Pid();
  Load load(root_, port_);
  for (int round = 0; round < 12; ++round) {
    // At moments that differ: launched, in standby, probed, switched.
    e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "30"}),
                         outside_ / ("upgrade" + std::to_string(round)));
    const std::string wanted = round % 3 == 0 ? "launched" : round % 3 == 1 ? "ready" : "probed";
    ASSERT_TRUE(Eventually([&] {
      return e2e::FileText(outside_ / ("upgrade" + std::to_string(round) + ".out")).find(wanted) != std::string::npos;
    }));
    upgrade.Signal(SIGKILL);
    upgrade.Wait();
    ASSERT_TRUE(Eventually([&] { return Parents().size() == 1 || Pid() != pid; }))
        << "killed after \"" << wanted << "\", and the standby instance stays";
    if (Pid() != pid) break;  // it was told to accept already: it serves, as it should
    EXPECT_EQ(Parents(), std::vector<pid_t>{pid});
  }
  load.ExpectFlawless([this] { return LoggedRids(); });
}

}  // namespace
