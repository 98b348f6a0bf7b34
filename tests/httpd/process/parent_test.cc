#include "httpd/process/parent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "handover/readiness.h"
#include "httpd/process/runtime_files.h"
#include "os/file.h"
#include "tests/httpd/process/temp_dir.h"

namespace httpd::process {
namespace {

using testing::HasSubstr;

/// A whole server in processes of its own, on an inherited listener.
class ParentTest : public testing::Test {
 protected:
  ParentTest() {
    ::chmod(dir_.path().c_str(), 0755);
    std::ofstream(dir_.path() + "/index.html") << "hello";
    listener_ = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", 0).value(), 64).value();
    address_ = os::SocketAddress::OfSocket(listener_).value();
    notices_ = std::make_unique<handover::NotifySocket>(handover::NotifySocket::Open(dir_.path() + "/notify").value());
  }
  ~ParentTest() override {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }

  void Configure(const std::string& text) {
    std::ofstream(dir_.path() + "/httpd.conf")
        << "ServerRoot " << dir_.path() << "\nListen " << address_.Text()
        << "\nDefaultRuntimeDir run\nPidFile httpd.pid\n"
        << "ErrorLog error_log\nDocumentRoot " << dir_.path() << "\nStartServers 2\n"
        << text;
  }
  void Start() {
    pid_ = ::fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      ::setenv("NOTIFY_SOCKET", notices_->path().c_str(), 1);
      config::Options options;
      options.server_root = dir_.path();
      options.config_file = dir_.path() + "/httpd.conf";
      auto loaded = Load(options);
      if (!loaded) ::_exit(3);
      std::vector<handover::Listener> inherited;
      inherited.push_back({address_, "", std::move(listener_)});
      os::SystemClock clock;
      Parent parent(options, loaded.value(), std::move(inherited), clock, {});
      if (!parent.Start()) ::_exit(4);
      ::_exit(parent.Run());
    }
    listener_.Reset();
    ASSERT_TRUE(WaitForNotice("READY=1"));
  }
  bool WaitForNotice(const std::string& line) {
    pollfd ready{notices_->fd().get(), POLLIN, 0};
    while (::poll(&ready, 1, 10000) == 1) {
      auto notice = notices_->Receive();
      if (notice && notice.value().Has(line)) return true;
    }
    return false;
  }
  std::string Get() {
    os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{10, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (::connect(fd.get(), address_.raw(), address_.length()) != 0) return "refused";
    const std::string request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "not sent";
    std::string answer;
    char buffer[4096];
    for (ssize_t n; (n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;)
      answer.append(buffer, static_cast<size_t>(n));
    return answer;
  }
  std::vector<pid_t> Children() {
    const std::string path = "/proc/" + std::to_string(pid_) + "/task/" + std::to_string(pid_) + "/children";
    std::ifstream file(path);
    std::vector<pid_t> out;
    for (pid_t pid; file >> pid;) out.push_back(pid);
    return out;
  }
  /// False when it does not come to hold within ten seconds.
  static bool Eventually(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  bool WaitForChildren(size_t count) {
    return Eventually([&] { return Children().size() == count; });
  }
  int WaitForEnd() {
    int status = -1;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    pid_ = 0;
    return status;
  }
  std::string ErrorLog() { return os::ReadFile(dir_.path() + "/error_log").value(); }

  TempDir dir_;
  os::Fd listener_;
  os::SocketAddress address_;
  std::unique_ptr<handover::NotifySocket> notices_;
  pid_t pid_ = 0;
};

TEST_F(ParentTest, ServesAndLeavesNothingBehindAfterTerm) {
  Configure("");
  Start();
  EXPECT_THAT(Get(), HasSubstr("\r\n\r\nhello"));
  EXPECT_EQ(os::ReadFile(dir_.path() + "/httpd.pid").value(), std::to_string(pid_) + "\n");
  ASSERT_EQ(::kill(pid_, SIGTERM), 0);
  EXPECT_EQ(WaitForEnd(), 0);
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/httpd.pid"));
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path() + "/run"));
}

TEST_F(ParentTest, ABadConfigurationDoesNotEndARunningServer) {
  Configure("");
  Start();
  Configure("NoSuchDirective\n");
  for (const int signal : {SIGUSR1, SIGHUP}) {
    ASSERT_EQ(::kill(pid_, signal), 0);
    while (ErrorLog().find(signal == SIGHUP ? "restart refused: the" : "graceful restart refused") ==
           std::string::npos) {
      ASSERT_THAT(Get(), HasSubstr("hello"));
    }
    EXPECT_THAT(Get(), HasSubstr("hello"));
  }
  EXPECT_THAT(ErrorLog(), HasSubstr("Invalid command 'NoSuchDirective'"));
}

TEST_F(ParentTest, AGracefulRestartTakesTheNewConfiguration) {
  Configure("");
  Start();
  std::filesystem::create_directories(dir_.path() + "/other");
  std::ofstream(dir_.path() + "/other/index.html") << "other";
  Configure("DocumentRoot " + dir_.path() + "/other\n");
  ASSERT_EQ(::kill(pid_, SIGUSR1), 0);
  ASSERT_TRUE(WaitForNotice("READY=1"));
  EXPECT_TRUE(WaitForChildren(2));  // the old generation may still answer until it has gone
  EXPECT_THAT(Get(), HasSubstr("\r\n\r\nother"));
}

TEST_F(ParentTest, AKilledChildIsReplacedAndTheClientWaitsInsteadOfBeingRefused) {
  Configure("StartServers 1\n");
  Start();
  const std::vector<pid_t> before = Children();
  ASSERT_EQ(before.size(), 1u);
  ASSERT_EQ(::kill(before[0], SIGKILL), 0);
  EXPECT_THAT(Get(), HasSubstr("hello"));
  EXPECT_NE(Children(), before);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00052: child pid " + std::to_string(before[0]) + " exit signal Killed (9)"));
}

TEST_F(ParentTest, ARestartWhoseChildrenCannotStartIsMendedByTheNextOne) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: only then a child changes its group, and fails to";
  Configure("");
  Start();
  Configure("User #12345\nGroup #4294967295\n");  // passes every check; setgroups(2) refuses it
  ASSERT_EQ(::kill(pid_, SIGHUP), 0);
  ASSERT_TRUE(WaitForNotice("READY=1"));
  EXPECT_THAT(ErrorLog(), HasSubstr("before it was ready"));
  Configure("");
  ASSERT_EQ(::kill(pid_, SIGHUP), 0);
  ASSERT_TRUE(WaitForNotice("READY=1"));
  EXPECT_THAT(Get(), HasSubstr("hello"));
}

TEST_F(ParentTest, GracefulRestartsLeaveNoDescriptorAndNoProcessBehind) {
  Configure("CustomLog \"|/bin/cat\" \"%h %r\"\n");
  Start();
  auto descriptors = [&] {
    const std::string fds = "/proc/" + std::to_string(pid_) + "/fd";
    return std::distance(std::filesystem::directory_iterator(fds), std::filesystem::directory_iterator());
  };
  // Two children and one log program.
  ASSERT_TRUE(WaitForChildren(3));
  const auto before = descriptors();
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(::kill(pid_, SIGUSR1), 0);
    ASSERT_TRUE(WaitForNotice("READY=1"));
    EXPECT_THAT(Get(), HasSubstr("hello"));
  }
  EXPECT_TRUE(Eventually([&] { return Children().size() == 3 && descriptors() <= before; }))
      << Children().size() << " processes, " << descriptors() << " descriptors, before: " << before;
}

TEST_F(ParentTest, AChildOfSeveralLoopsIsReplacedByOneChild) {
  Configure("StartServers 1\nThreadsPerChild 4\nMaxConnectionsPerChild 4\n");
  Start();
  const std::vector<pid_t> before = Children();
  for (int i = 0; i < 100; ++i) EXPECT_THAT(Get(), HasSubstr("hello"));
  EXPECT_TRUE(WaitForChildren(1)) << Children().size() << " children";
  EXPECT_NE(Children(), before);
}

TEST_F(ParentTest, AGracefulStopAsksTheServiceManagerForItsTime) {
  Configure("GracefulShutdownTimeout 50\n");
  Start();
  ASSERT_EQ(::kill(pid_, SIGWINCH), 0);
  EXPECT_TRUE(WaitForNotice("EXTEND_TIMEOUT_USEC=63000000")) << "50 s, 2 s for children, 10 s for log programs, 1 s";
  EXPECT_EQ(WaitForEnd(), 0);
}

TEST_F(ParentTest, OrphanedChildrenDoNotKeepThePort) {
  Configure("");
  Start();
  const std::vector<pid_t> children = Children();
  ASSERT_EQ(children.size(), 2u);
  ASSERT_EQ(::kill(pid_, SIGKILL), 0);
  WaitForEnd();
  os::SystemClock clock;
  auto again = os::ListenTcp(address_, 16);
  for (int i = 0; i < 200 && !again; ++i) {
    clock.Sleep(std::chrono::milliseconds(10));
    again = os::ListenTcp(address_, 16);
  }
  EXPECT_TRUE(again);
}

}  // namespace
}  // namespace httpd::process
