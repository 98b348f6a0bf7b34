// Races of an upgrade that no other test names: see tests/orchestrator/races.md for all of them.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "handover/instance_files.h"
#include "handover/message.h"
#include "os/file.h"
#include "os/socket.h"
#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::Eventually;
using e2e::Outcome;
using handover::Message;

class Races : public e2e::Server {
 protected:
  handover::Message Ask(const std::string& verb) const {
    auto socket = os::ConnectUnix(handover::ControlPath(root_ / "run", Pid()), SOCK_SEQPACKET);
    if (!socket) return {};
    auto answer = handover::Ask(socket.value(), Message(verb));
    EXPECT_TRUE(answer) << answer.error().Text();
    return answer ? std::move(answer).value() : Message();
  }

  void Upgrade(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"--bake", "0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome upgraded = Orchestrator("upgrade", arguments);
    ASSERT_EQ(upgraded.status, 0) << upgraded.All();
  }

  /// What every process that has a listening socket shares with the others: file status flags and socket options.
  std::string ListenerState() const {
    const Message message = Ask("listeners");
    std::ostringstream out;
    for (const os::Fd& fd : message.descriptors) {
      out << "flags " << ::fcntl(fd.get(), F_GETFL);
      const std::pair<int, int> options[] = {{SOL_SOCKET, SO_SNDBUF},         {SOL_SOCKET, SO_RCVBUF},
                                             {SOL_SOCKET, SO_ACCEPTCONN},     {SOL_SOCKET, SO_REUSEPORT},
                                             {IPPROTO_TCP, TCP_DEFER_ACCEPT}, {IPPROTO_TCP, TCP_NODELAY},
                                             {SOL_SOCKET, SO_KEEPALIVE},      {SOL_SOCKET, SO_LINGER}};
      for (const auto& [level, option] : options) {
        int value[2] = {};
        socklen_t length = sizeof value;
        EXPECT_EQ(::getsockopt(fd.get(), level, option, value, &length), 0);
        out << ", " << value[0];
      }
      tcp_info info{};
      socklen_t length = sizeof info;
      EXPECT_EQ(::getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, &info, &length), 0);
      out << ", backlog " << info.tcpi_sacked << "\n";
    }
    return out.str();
  }

  /// Lines of /proc/PID/status that say which signals are blocked, ignored and caught, parent and children.
  std::string Signals() const {
    std::vector<pid_t> all = Children(Pid());
    all.insert(all.begin(), Pid());
    std::string out;
    for (const pid_t pid : all) {
      std::istringstream lines(e2e::FileText("/proc/" + std::to_string(pid) + "/status"));
      for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("SigBlk") || line.starts_with("SigIgn") || line.starts_with("SigCgt")) out += line + "\n";
      }
    }
    return out;
  }

  /// Open descriptors of the parent and of each child, sorted.
  std::vector<size_t> Descriptors() const {
    std::vector<pid_t> all = Children(Pid());
    std::vector<size_t> out;
    for (const pid_t pid : all) {
      auto names = os::ListDirectory("/proc/" + std::to_string(pid) + "/fd");
      out.push_back(names ? names.value().size() : 0);
    }
    std::sort(out.begin(), out.end());
    auto names = os::ListDirectory("/proc/" + std::to_string(Pid()) + "/fd");
    out.insert(out.begin(), names ? names.value().size() : 0);
    return out;
  }
};

TEST_F(Races, ListenersKeepFlagsBuffersAndBacklogThroughAnUpgradeAndOneThatIsTakenBack) {
  Start();
  const std::string before = ListenerState();
  ASSERT_NE(before, "");
  Upgrade();
  EXPECT_EQ(ListenerState(), before);
  EXPECT_EQ(Orchestrator("upgrade", {"--bake", "0", "--probe", "/missing=200"}).status, 3);
  EXPECT_EQ(ListenerState(), before);
}

TEST_F(Races, AnInstanceHasTheSignalsOfTheFirstAlsoAfterAnUpgradeThatFailed) {
  Start();
  const std::string before = Signals();
  EXPECT_EQ(Orchestrator("upgrade", {"--bake", "0", "--probe", "/missing=200"}).status, 3);
  EXPECT_EQ(Signals(), before);
  Upgrade();
  EXPECT_EQ(Signals(), before);
}

TEST_F(Races, TheTwentiethGenerationHasAsManyDescriptorsAsTheSecond) {
  Configure({.log = PipedLog()});
  Start();
  Upgrade();
  std::vector<size_t> second;
  ASSERT_TRUE(Eventually([&] {  // what carried the start may still be open for a moment
    second = Descriptors();
    return second == Descriptors();
  }));
  for (int i = 3; i <= 20; ++i) ASSERT_NO_FATAL_FAILURE(Upgrade()) << "generation " << i;
  EXPECT_TRUE(Eventually([&] { return Descriptors() == second; }, std::chrono::seconds(10)))
      << "parent and children, second generation: " << ::testing::PrintToString(second)
      << ", twentieth: " << ::testing::PrintToString(Descriptors());
}

TEST_F(Races, ALogThatIsMovedWhileTheOldInstanceDrainsLosesNoLine) {
  Start();
  auto download = Connection::Open(port_, 4096);
  ASSERT_TRUE(download && download->Send(e2e::GetRequest("/big.bin?from=old", "Connection: close\r\n")));
  ASSERT_EQ(download->ReadSome(1000).size(), 1000U);
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0"}), outside_ / "upgrade");
  ASSERT_TRUE(
      Eventually([&] { return e2e::FileText(outside_ / "upgrade.out").find("draining") != std::string::npos; }));
  // What logrotate does: rename, then a signal to the process that PidFile names.
  const auto log = root_ / "logs" / "access.log";
  std::filesystem::rename(log, root_ / "logs" / "access.log.1");
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  size_t asked = 0;
  EXPECT_TRUE(Eventually([&] {  // the generation before the signal may take one more
    asked += Get("/index.html?from=new") ? 1 : 0;
    return e2e::FileText(log).find("/index.html?from=new") != std::string::npos;
  }));
  download->ReadSome(21'000'000);
  EXPECT_EQ(upgrade.Wait().status, 0);
  const std::string moved = e2e::FileText(root_ / "logs" / "access.log.1");
  EXPECT_EQ(e2e::CountOf(moved, "/big.bin?from=old"), 1U)
      << "an instance that drains goes on with the file that it has";
  EXPECT_EQ(e2e::CountOf(e2e::FileText(log), "/big.bin"), 0U);
  EXPECT_EQ(e2e::CountOf(moved, "from=new") + e2e::CountOf(e2e::FileText(log), "from=new"), asked);
}

TEST_F(Races, ABinaryThatWasReplacedUnderTheRunningServerIsTheOneThatIsStarted) {
  const auto binary = outside_ / "httpd";
  std::filesystem::copy_file(e2e::Program("httpd"), binary);
  std::vector<std::string> words = HttpdCommand({"-k", "start"});
  words[0] = binary.string();
  ASSERT_EQ(e2e::Execute(words).status, 0);
  const pid_t old = Pid();
  std::filesystem::copy_file(e2e::Program("httpd"), outside_ / "next");
  std::filesystem::rename(outside_ / "next", binary);
  Upgrade();
  EXPECT_NE(Pid(), old);
  std::error_code failed;
  EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(Pid()) + "/exe", failed), binary);
}

TEST_F(Races, NoInstanceConnectsToItselfOrToItsSuccessor) {
  Start();
  const std::string before(Ask("status").Get("ACCEPTED").value_or("?"));
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_EQ(Ask("status").Get("ACCEPTED"), before) << "Apache wakes its children by connections to itself";
  Upgrade({"--bake", "0.3"});
  EXPECT_EQ(Ask("status").Get("ACCEPTED"), before) << "probes go to the private socket";
}

}  // namespace
