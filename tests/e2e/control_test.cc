#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handover/instance_files.h"
#include "handover/message.h"
#include "os/file.h"
#include "os/socket.h"
#include "tests/e2e/server.h"

namespace {

using e2e::Eventually;
using handover::Message;

/// Peers of the control socket that do what no honest one does: each is refused, the server goes on as it was.
class ControlSocketOfAServer : public e2e::Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    if (HasFatalFailure()) return;
    Start();
    pid_ = Pid();
    path_ = handover::ControlPath(root_ / "run", pid_);
    children_ = Children(pid_);
    descriptors_ = Descriptors();
  }

  void TearDown() override {
    EXPECT_EQ(State(), "serving");
    EXPECT_TRUE(Get("/index.html"));
    EXPECT_EQ(Pid(), pid_);
    EXPECT_EQ(Children(pid_), children_);
    EXPECT_TRUE(Eventually([this] { return Descriptors() == descriptors_; }, std::chrono::seconds(10)))
        << "descriptors of the parent before and after: " << descriptors_ << ", " << Descriptors();
    Server::TearDown();
  }

  os::Fd Open() const {
    auto socket = os::ConnectUnix(path_, SOCK_SEQPACKET);
    EXPECT_TRUE(socket) << socket.error().Text();
    return socket ? std::move(socket).value() : os::Fd();
  }

  /// What an honest peer hears: STATE of `hello`; a reason when there is none.
  std::string State() const {
    const os::Fd socket = Open();
    auto answer = handover::Ask(socket, Message("hello"));
    return answer ? std::string(answer.value().Get("STATE").value_or("?")) : answer.error().Text();
  }

  /// REASON of what comes next on `socket`; "closed" at its end.
  static std::string Reason(const os::Fd& socket) {
    pollfd entry{socket.get(), POLLIN, 0};
    if (::poll(&entry, 1, 30000) != 1) return "nothing";
    auto answer = handover::Receive(socket);
    if (!answer) return "closed";
    return std::string(answer.value().Get("REASON").value_or("no reason: " + answer.value().verb));
  }

  /// Of the parent, while one connection of ours is open that has been answered.
  long Descriptors() const {
    const os::Fd socket = Open();
    EXPECT_TRUE(handover::Ask(socket, Message("hello")));
    auto names = os::ListDirectory("/proc/" + std::to_string(pid_) + "/fd");
    return names ? static_cast<long>(names.value().size()) : -1;
  }

  pid_t pid_ = 0;
  std::string path_;
  std::vector<pid_t> children_;
  long descriptors_ = 0;
};

TEST_F(ControlSocketOfAServer, RefusesWhatItCannotReadWithAReasonAndALogLine) {
  const std::pair<std::string, std::string> packets[] = {
      {"hello", "malformed message: the last line has no newline"},
      {"GET / HTTP/1.1\r\n", "malformed message: line 1 is not KEY=value"},
      {"VERB=hello\n", "malformed message: the first line is not BATON="},
      {"BATON=1\nSTATE=x\n", "malformed message: the second line is not VERB="},
      {std::string("BATON=1\nVERB=\0\n", 15), "malformed message: a value holds a NUL byte"},
      {"BATON=2\nVERB=hello\n", "protocol version 2 is not spoken here"},
      {"BATON=1\nVERB=shutdown\n", "unknown verb \"shutdown\""},
      {"BATON=1\nVERB=accept\n", "accept needs ON=1 or ON=0"},
      {"BATON=1\nVERB=drain\nTIMEOUT=-5\n", "drain needs TIMEOUT=seconds"},
      {"BATON=1\nVERB=drain\nTIMEOUT=soon\n", "drain needs TIMEOUT=seconds"},
      {"BATON=1\nVERB=hello\nX=" + std::string(140'000, 'x') + "\n", "oversized message"},
  };
  for (const auto& [packet, reason] : packets) {
    const os::Fd socket = Open();
    ASSERT_TRUE(os::SendPacket(socket, packet)) << packet.substr(0, 40);
    EXPECT_EQ(Reason(socket).substr(0, reason.size()), reason);
    // The same connection may do better.
    EXPECT_TRUE(handover::Ask(socket, Message("hello"))) << packet.substr(0, 40);
  }
  EXPECT_NE(ErrorLog().find("control connection: process " + std::to_string(::getpid()) +
                            " is refused: protocol version 2 is not spoken here"),
            std::string::npos)
      << ErrorLog();
}

TEST_F(ControlSocketOfAServer, TakesNoDescriptorsThatItDidNotAskFor) {
  const os::Fd socket = Open();
  const os::Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto pair = os::SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair);
  const int intake = pair.value().first.get();
  const std::vector<int> many(os::kMaxDescriptorsPerPacket, null.get());
  for (const char* verb : {"hello", "status", "accept", "adopt", "stop", "graceful", "unheard-of"}) {
    ASSERT_TRUE(os::SendPacket(socket, handover::Encode(Message(verb)), many));
    EXPECT_EQ(Reason(socket), "\"" + std::string(verb) + "\" takes no descriptors");
  }
  ASSERT_TRUE(os::SendPacket(socket, "rubbish", many));
  EXPECT_EQ(Reason(socket), "malformed message: the last line has no newline");
  ASSERT_TRUE(os::SendPacket(socket, handover::Encode(Message("drain")), {null.get()}));
  EXPECT_EQ(Reason(socket), "the descriptor that came with drain is no successor's intake");
  ASSERT_TRUE(os::SendPacket(socket, handover::Encode(Message("drain")), {intake, intake}));
  EXPECT_EQ(Reason(socket), "drain takes one descriptor at most");
  EXPECT_TRUE(handover::Ask(socket, Message("hello")));
}

TEST_F(ControlSocketOfAServer, RefusesAStrangerWhoCanReachIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: to become somebody else";
  // An administrator who opened the directories, and the socket, too far.
  for (const auto& path : {outside_, root_, root_ / "run"}) ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path_.c_str(), 0777), 0);
  for (const char* verb : {"hello", "stop"}) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (::setresgid(54321, 54321, 54321) != 0 || ::setresuid(54321, 54321, 54321) != 0) ::_exit(2);
      auto socket = os::ConnectUnix(path_, SOCK_SEQPACKET);
      if (!socket) ::_exit(3);
      if (!handover::Send(socket.value(), Message(verb)) && errno != EPIPE) ::_exit(4);
      ::_exit(Reason(socket.value()) == "only root and the user of the server may control it" ? 0 : 5);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << verb;
    EXPECT_NE(
        ErrorLog().find("refused: process " + std::to_string(child) + " of user 54321 is neither root's nor ours"),
        std::string::npos);
  }
}

TEST_F(ControlSocketOfAServer, TellsAPeerThatSaysNothingAndLetsItGo) {
  const os::Fd socket = Open();
  EXPECT_EQ(Reason(socket), "nothing was said within 5 s");
  EXPECT_EQ(Reason(socket), "closed");
}

TEST_F(ControlSocketOfAServer, IsNotHeldUpByAPeerThatNeverReads) {
  const os::Fd deaf = Open();
  const os::Fd honest = Open();
  ASSERT_TRUE(handover::Ask(honest, Message("hello")));
  ASSERT_EQ(::fcntl(deaf.get(), F_SETFL, O_NONBLOCK), 0);
  bool closed = false;
  ASSERT_TRUE(Eventually([&] {
    for (int i = 0; i < 100 && !closed; ++i) {
      auto sent = handover::Send(deaf, Message("status"));
      closed = !sent && sent.error().kind != os::ErrorKind::kBusy;
    }
    EXPECT_TRUE(handover::Ask(honest, Message("status"), 10000)) << "it waits for somebody who does not read";
    return closed;
  })) << "a peer that does not take its answers stays";
  EXPECT_NE(ErrorLog().find("does not take its answers"), std::string::npos);
}

TEST_F(ControlSocketOfAServer, AnswersAnHonestPeerWhileAThousandAreSilent) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4096);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  std::vector<os::Fd> crowd;
  for (int i = 0; i < 1000; ++i) {
    crowd.push_back(Open());
    ASSERT_TRUE(crowd.back().valid()) << i;
  }
  EXPECT_EQ(State(), "serving");
  EXPECT_EQ(e2e::Execute(OrchestratorCommand("status", {})).status, 0);
  EXPECT_LE(Descriptors(), descriptors_ + 70);
  EXPECT_EQ(Reason(crowd.front()), "64 control connections are open already");
  const size_t lines = e2e::CountOf(ErrorLog(), "control connection");
  EXPECT_GE(lines, 5U);
  EXPECT_LE(lines, 20U) << "the log is flooded";
  // Those who spoke are not sent away for newcomers.
  const os::Fd honest = Open();
  ASSERT_TRUE(handover::Ask(honest, Message("hello")));
  for (int i = 0; i < 100; ++i) crowd.push_back(Open());
  EXPECT_TRUE(handover::Ask(honest, Message("status")));
}

}  // namespace
