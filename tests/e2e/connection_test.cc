#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <set>

#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::Eventually;
using e2e::Outcome;

/// What a client's connection was when its server was replaced, and that it lives on.
class Connections : public e2e::Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    if (!HasFatalFailure()) Start();
  }

  /// `-k graceful` or an upgrade; afterwards every child is another.
  void Replace(bool upgrade) {
    before_ = Children(Pid());
    const Outcome done = upgrade ? Orchestrator("upgrade", {"--bake", "0"}) : Httpd({"-k", "graceful", "--wait"});
    ASSERT_EQ(done.status, 0) << done.All();
  }

  /// The child that logged the request with `mark`.
  pid_t ServedBy(const std::string& mark) {
    std::string line;
    EXPECT_TRUE(Eventually([&] {
      const std::string log = e2e::FileText(root_ / "logs" / "access.log");
      const size_t at = log.find(mark);
      if (at == std::string::npos || log.find('\n', at) == std::string::npos) return false;
      line = log.substr(at, log.find('\n', at) - at);
      return true;
    })) << mark
        << " is not in the access log";
    return line.empty() ? 0 : std::atoi(line.c_str() + line.rfind(' '));
  }

  void ExpectServedByTheNewOnes(const std::string& mark) {
    const pid_t by = ServedBy(mark);
    EXPECT_EQ(std::count(before_.begin(), before_.end(), by), 0) << "an old child answered " << mark;
    const auto now = Children(Pid());
    EXPECT_EQ(std::count(now.begin(), now.end(), by), 1) << "none of the new children answered " << mark;
  }

  void IdleOnesLiveOn(bool upgrade) {
    std::vector<Connection> idle;
    for (int i = 0; i < 20; ++i) {
      auto connection = Connection::Open(port_);
      ASSERT_TRUE(connection);
      ASSERT_TRUE(connection->Send(e2e::GetRequest("/index.html?before")));
      ASSERT_TRUE(connection->Read());
      idle.push_back(std::move(*connection));
    }
    for (int round = 0; round < 3; ++round) {
      Replace(upgrade);
      // Until an old child has passed a connection on it may still answer on it.
      ASSERT_TRUE(Eventually([this] {
        return std::none_of(before_.begin(), before_.end(), [](pid_t child) { return ::kill(child, 0) == 0; });
      })) << "an old child did not leave";
      for (size_t i = 0; i < idle.size(); ++i) {
        ASSERT_TRUE(idle[i].IsQuiet()) << "connection " << i << " was closed";
        const std::string mark = "?idle-" + std::to_string(round) + "-" + std::to_string(i) + ".";
        ASSERT_TRUE(idle[i].Send(e2e::GetRequest("/index.html" + mark)));
        const auto answer = idle[i].Read();
        ASSERT_TRUE(answer) << idle[i].Why();
        EXPECT_EQ(answer->status, 200);
        EXPECT_FALSE(answer->SaysClose());
        ExpectServedByTheNewOnes(mark);
      }
    }
  }

  void AHeadIsAnsweredThatSpans(bool upgrade) {
    auto fresh = Connection::Open(port_);
    auto kept = Connection::Open(port_);
    ASSERT_TRUE(fresh && kept);
    ASSERT_TRUE(kept->Send(e2e::GetRequest("/index.html")));
    ASSERT_TRUE(kept->Read());
    for (auto* connection : {&*fresh, &*kept}) ASSERT_TRUE(connection->Send("GET /page.html?spanning HTTP/1.1\r\nHo"));
    // The half head is read by the server before it is replaced.
    ASSERT_TRUE(Eventually([this] { return Status().contains("BusyWorkers"); }));
    e2e::Running replacing =
        upgrade ? e2e::Running(OrchestratorCommand("upgrade", {"--bake", "0", "--detach"}), outside_ / "replacing")
                : e2e::Running(HttpdCommand({"-k", "graceful", "--wait"}), outside_ / "replacing");
    const Outcome done = replacing.Wait();
    ASSERT_EQ(done.status, 0) << done.All();
    for (auto* connection : {&*fresh, &*kept}) {
      ASSERT_TRUE(connection->Send("st: localhost\r\n\r\n")) << connection->Why();
      const auto answer = connection->Read();
      ASSERT_TRUE(answer) << connection->Why();
      EXPECT_EQ(answer->status, 200);
      EXPECT_EQ(answer->body, e2e::FileText(root_ / "site" / "page.html"));
    }
  }

  void ABurstIsAnsweredThatSpans(bool upgrade) {
    // More answers than the socket's buffers hold: the rest of the burst is still to be done after the switch.
    auto connection = Connection::Open(port_, 4096);
    ASSERT_TRUE(connection);
    std::string burst;
    const int requests = 6;
    for (int i = 0; i < requests - 1; ++i) burst += e2e::GetRequest("/big.bin?burst" + std::to_string(i));
    burst += e2e::GetRequest("/page.html?last");
    ASSERT_TRUE(connection->Send(burst));
    ASSERT_TRUE(connection->AwaitBytes());
    const std::vector<std::string> arguments = {"--bake", "0", "--detach"};
    const Outcome done = upgrade ? Orchestrator("upgrade", arguments) : Httpd({"-k", "graceful", "--wait"});
    ASSERT_EQ(done.status, 0) << done.All();
    int answered = 0;
    bool closing = false;
    while (answered < requests && !closing) {
      const auto answer = connection->Read();
      ASSERT_TRUE(answer) << "after " << answered << " answers without an announced close: " << connection->Why();
      EXPECT_EQ(answer->status, 200);
      closing = answer->SaysClose();
      ++answered;
    }
    // Either all of them, or an announced close and the rest to be sent again: never a silent end.
    EXPECT_TRUE(answered == requests || closing);
  }

  void ASilentOneIsAnswered(bool upgrade) {
    std::vector<Connection> silent;
    for (int i = 0; i < 20; ++i) {
      auto connection = Connection::Open(port_);
      ASSERT_TRUE(connection);
      silent.push_back(std::move(*connection));
    }
    Replace(upgrade);
    for (size_t i = 0; i < silent.size(); ++i) {
      ASSERT_TRUE(silent[i].Send(e2e::GetRequest("/index.html?silent" + std::to_string(i)))) << silent[i].Why();
      const auto answer = silent[i].Read();
      ASSERT_TRUE(answer) << silent[i].Why();
      EXPECT_EQ(answer->status, 200);
    }
  }

  std::vector<pid_t> before_;
};

TEST_F(Connections, ThatAreIdleLiveOnThroughGracefulRestarts) {
  IdleOnesLiveOn(false);
}
TEST_F(Connections, ThatAreIdleLiveOnThroughUpgrades) {
  IdleOnesLiveOn(true);
}
TEST_F(Connections, WithHalfARequestHeadAreAnsweredAfterAGracefulRestart) {
  AHeadIsAnsweredThatSpans(false);
}
TEST_F(Connections, WithHalfARequestHeadAreAnsweredAfterAnUpgrade) {
  AHeadIsAnsweredThatSpans(true);
}
TEST_F(Connections, WithAPipelinedBurstAreAnsweredThroughAGracefulRestart) {
  ABurstIsAnsweredThatSpans(false);
}
TEST_F(Connections, WithAPipelinedBurstAreAnsweredThroughAnUpgrade) {
  ABurstIsAnsweredThatSpans(true);
}
TEST_F(Connections, ThatHaveSaidNothingYetAreAnsweredAfterAGracefulRestart) {
  ASilentOneIsAnswered(false);
}
TEST_F(Connections, ThatHaveSaidNothingYetAreAnsweredAfterAnUpgrade) {
  ASilentOneIsAnswered(true);
}

TEST_F(Connections, OfAGracefulStopGetOneMoreAnswerThatAnnouncesTheClose) {
  auto idle = Connection::Open(port_);
  ASSERT_TRUE(idle);
  ASSERT_TRUE(idle->Send(e2e::GetRequest("/index.html")));
  ASSERT_TRUE(idle->Read());
  auto silent = Connection::Open(port_);
  ASSERT_TRUE(silent);
  ASSERT_TRUE(Eventually([this] { return std::stoi("0" + Status()["ConnsTotal"]) >= 3; }));  // both are accepted
  const Outcome done = Httpd({"-k", "graceful-stop"});
  ASSERT_EQ(done.status, 0) << done.All();
  ASSERT_TRUE(Eventually([this] { return !Connection::Open(port_); }));
  for (auto* connection : {&*idle, &*silent}) {
    ASSERT_TRUE(connection->Send(e2e::GetRequest("/index.html")));
    const auto answer = connection->Read();
    ASSERT_TRUE(answer) << connection->Why();
    EXPECT_EQ(answer->status, 200);
    EXPECT_TRUE(answer->SaysClose());
    EXPECT_TRUE(connection->ReachesEnd());
  }
  EXPECT_TRUE(Eventually([this] { return Processes().empty(); }));
}

// Found here: whoever took a connection over kept it for five seconds, whatever its client had been promised.
TEST_F(Connections, ThatArePassedOnStayOpenForAsLongAsTheirClientsWerePromised) {
  Configure({.more = "KeepAliveTimeout 7"});
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  auto idle = Connection::Open(port_);
  ASSERT_TRUE(idle);
  ASSERT_TRUE(idle->Send(e2e::GetRequest("/index.html", "Connection: keep-alive\r\n")));
  const auto answer = idle->Read();
  ASSERT_TRUE(answer);
  const auto promised = std::chrono::steady_clock::now() + std::chrono::seconds(7);
  Replace(false);
  Replace(true);
  EXPECT_TRUE(idle->ReachesEnd());
  EXPECT_GE(std::chrono::steady_clock::now(), promised);
}

TEST_F(Connections, LiveOnThroughAnUpgradeThatIsTakenBack) {
  auto idle = Connection::Open(port_);
  ASSERT_TRUE(idle);
  ASSERT_TRUE(idle->Send(e2e::GetRequest("/index.html")));
  ASSERT_TRUE(idle->Read());
  const pid_t old_pid = Pid();
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "30"}), outside_ / "upgrade");
  ASSERT_TRUE(
      Eventually([&] { return e2e::FileText(outside_ / "upgrade.out").find("switched") != std::string::npos; }));
  auto between = Connection::Open(port_);  // the newcomer's
  ASSERT_TRUE(between);
  ASSERT_TRUE(between->Send(e2e::GetRequest("/index.html")));
  ASSERT_TRUE(between->Read());
  upgrade.Signal(SIGINT);
  EXPECT_EQ(upgrade.Wait().status, 3);
  EXPECT_EQ(Pid(), old_pid);
  for (auto* connection : {&*idle, &*between}) {
    ASSERT_TRUE(connection->Send(e2e::GetRequest("/index.html")));
    EXPECT_TRUE(connection->Read()) << connection->Why();
  }
}

/// A thousand clients of a server that was started with room for two hundred descriptors.
class Crowd : public e2e::Server {
 protected:
  static constexpr int kClients = 1000;

  void SetUp() override {
    Server::SetUp();
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < 2 * kClients) GTEST_SKIP() << "only " << limit.rlim_max << " descriptors are allowed";
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4 * kClients);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    Configure({.more = "KeepAliveTimeout 300\nMaxKeepAliveRequests 0\n"});
    std::vector<std::string> words{"/bin/sh", "-c", "ulimit -Sn 200 && exec \"$@\"", "sh"};
    for (std::string& word : HttpdCommand({"-k", "start"})) words.push_back(std::move(word));
    const Outcome started = e2e::Execute(words);
    ASSERT_EQ(started.status, 0) << started.All();
    ASSERT_TRUE(Eventually([this] { return Get("/index.html").has_value(); }));
  }

  void AllAreAnswered(const std::string& path) {
    for (size_t i = 0; i < clients_.size(); ++i) {
      ASSERT_TRUE(clients_[i].Send(e2e::GetRequest(path))) << i;
    }
    for (size_t i = 0; i < clients_.size(); ++i) {
      const auto answer = clients_[i].Read();
      ASSERT_TRUE(answer) << i << ": " << clients_[i].Why();
      ASSERT_EQ(answer->status, 200);
    }
  }

  /// Of the processes with connections, bytes.
  int64_t Memory() const {
    int64_t sum = 0;
    for (const pid_t child : Children(Pid())) {
      const std::string text = e2e::FileText("/proc/" + std::to_string(child) + "/smaps_rollup");
      const size_t at = text.find("\nAnonymous:");
      if (at != std::string::npos) sum += std::strtoll(text.c_str() + at + 11, nullptr, 10) * 1024;
    }
    return sum;
  }

  std::vector<Connection> clients_;
};

TEST_F(Crowd, LivesOnThroughAGracefulRestartAndAnUpgradeAndLeavesNoBuffers) {
  const std::string begin =
      "GET /index.html HTTP/1.1\r\nX: " + std::string(8000, 'x') + "\r\nY: " + std::string(8000, 'y');
  const std::string end = "\r\nHost: localhost\r\n\r\n";
  for (int i = 0; i < 100; ++i) {  // what every child needs once
    auto client = Connection::Open(port_);
    ASSERT_TRUE(client && client->Send(begin + end) && client->Read());
  }
  [[maybe_unused]] const int64_t before = Memory();
  for (int i = 0; i < kClients; ++i) {
    auto client = Connection::Open(port_);
    ASSERT_TRUE(client && client->Send(begin)) << i;
    clients_.push_back(std::move(*client));
  }
  // All the halves are there before the first request is complete.
  ASSERT_TRUE(Eventually([this] { return Status()["ConnsTotal"] == std::to_string(kClients + 1); }));
  for (Connection& client : clients_) ASSERT_TRUE(client.Send(end));
  for (Connection& client : clients_) ASSERT_TRUE(client.Read()) << client.Why();
#ifndef __SANITIZE_ADDRESS__  // keeps what is freed
  EXPECT_TRUE(Eventually([&] { return Memory() - before < int64_t{1024} * kClients; }, std::chrono::seconds(10)))
      << (Memory() - before) / kClients << " bytes for each";
#endif
  const Outcome restarted = Httpd({"-k", "graceful", "--wait"});
  ASSERT_EQ(restarted.status, 0) << restarted.All();
  AllAreAnswered("/index.html?restarted");
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
  ASSERT_EQ(upgraded.status, 0) << upgraded.All();
  AllAreAnswered("/index.html?upgraded");
}

}  // namespace
