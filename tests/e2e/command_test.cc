#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/server.h"

namespace {

namespace fs = std::filesystem;
using e2e::Connection;
using e2e::Eventually;
using e2e::Outcome;

/// The command line, as Apache's users know it: texts, streams and exit statuses.
class Command : public e2e::Server {
 protected:
  fs::path PidFile() const { return root_ / "run" / "httpd.pid"; }

  void LeavePidFile(const std::string& text) {
    fs::create_directories(root_ / "run");
    fs::permissions(root_ / "run", fs::perms::owner_all);
    e2e::WriteFile(PidFile(), text);
  }

  /// A number that no process has.
  static pid_t DeadPid() {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    ::waitpid(pid, nullptr, 0);
    return pid;
  }

  void ExpectServes() {
    const auto answer = Get("/index.html");
    ASSERT_TRUE(answer) << "nobody answers";
    EXPECT_EQ(answer->status, 200);
  }
};

TEST_F(Command, StartOfARunningServerSaysSoAndEndsWellAndQuietly) {
  Start();
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"-k", "start"}, {}}) {
    const Outcome again = Httpd(arguments);
    EXPECT_EQ(again.status, 0);
    EXPECT_EQ(again.out, "httpd (pid " + std::to_string(Pid()) + ") already running\n") << again.All();
  }
  EXPECT_EQ(Parents().size(), 1U);
}

TEST_F(Command, StopWithoutAServerSaysSoAndEndsWell) {
  for (const char* verb : {"stop", "graceful-stop"}) {
    const Outcome stopped = Httpd({"-k", verb});
    EXPECT_EQ(stopped.status, 0);
    EXPECT_EQ(stopped.out, "httpd (no pid file) not running\n") << stopped.All();
  }
}

TEST_F(Command, RestartWithoutAServerStartsOne) {
  for (const char* verb : {"restart", "graceful"}) {
    const Outcome started = Httpd({"-k", verb});
    EXPECT_EQ(started.status, 0) << started.All();
    EXPECT_EQ(started.out, "httpd not running, trying to start\n") << started.All();
    ExpectServes();
    EXPECT_EQ(Httpd({"-k", "stop", "--wait"}).status, 0);
  }
}

TEST_F(Command, APidFileOfADeadProcessIsReplaced) {
  const pid_t dead = DeadPid();
  LeavePidFile(std::to_string(dead) + "\n");
  const Outcome stopped = Httpd({"-k", "stop"});
  EXPECT_EQ(stopped.status, 0);
  EXPECT_EQ(stopped.out, "httpd (pid " + std::to_string(dead) + "?) not running\n") << stopped.All();
  Start();
  ExpectServes();
  EXPECT_NE(Pid(), dead);
  EXPECT_NE(ErrorLog().find("AH00098: pid file"), std::string::npos);
}

TEST_F(Command, APidFileThatNamesAnotherProgramIsNoServerAndThatProgramGetsNoSignal) {
  e2e::Running stranger({"/bin/sleep", "600"}, outside_ / "stranger");
  LeavePidFile(std::to_string(stranger.pid()) + "\n");
  for (const char* verb : {"stop", "graceful-stop"}) {
    const Outcome stopped = Httpd({"-k", verb});
    EXPECT_EQ(stopped.status, 0);
    EXPECT_EQ(stopped.out, "httpd (pid " + std::to_string(stranger.pid()) + "?) not running\n") << stopped.All();
  }
  Start();
  ExpectServes();
  EXPECT_FALSE(stranger.HasEnded());
}

TEST_F(Command, AZombieInThePidFileIsNoServer) {
  const pid_t zombie = ::fork();
  if (zombie == 0) ::_exit(0);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT);
  LeavePidFile(std::to_string(zombie) + "\n");
  Start();
  ExpectServes();
  ::waitpid(zombie, nullptr, 0);
}

TEST_F(Command, APidFileThatHoldsNoNumberIsAnErrorThatNamesIt) {
  for (const std::string text : {"garbage\n", "", "12 34\n", "-5\n"}) {
    LeavePidFile(text);
    for (const char* verb : {"start", "stop", "graceful"}) {
      const Outcome failed = Httpd({"-k", verb});
      EXPECT_EQ(failed.status, 1) << "\"" << text << "\" " << verb;
      EXPECT_NE(failed.err.find("AH00058: Error retrieving pid file " + PidFile().string()), std::string::npos)
          << failed.All();
      EXPECT_NE(failed.err.find("AH00059: Remove it before continuing if it is corrupted."), std::string::npos);
    }
  }
  fs::remove(PidFile());
}

TEST_F(Command, StopWorksWithABrokenConfiguration) {
  Start();
  Configure({.more = "NoSuchDirective on"});
  const Outcome stopped = Httpd({"-k", "stop", "--wait"});
  EXPECT_EQ(stopped.status, 0) << stopped.All();
  EXPECT_TRUE(Processes().empty());
  Configure({});
}

TEST_F(Command, StopWorksWithABrokenConfigurationAndAPidFileOfItsOwnPlace) {
  Configure({.more = "PidFile logs/our.pid\nDefaultRuntimeDir rt"});
  const Outcome started = Httpd({"-k", "start"});
  ASSERT_EQ(started.status, 0) << started.All();
  Configure({.more = "PidFile logs/our.pid\nDefaultRuntimeDir rt\nNoSuchDirective on"});
  const Outcome stopped = Httpd({"-k", "stop", "--wait"});
  EXPECT_EQ(stopped.status, 0) << stopped.All();
  EXPECT_TRUE(Processes().empty()) << stopped.All();
  Configure({.more = "PidFile logs/our.pid\nDefaultRuntimeDir rt"});
}

TEST_F(Command, GracefulWithABrokenConfigurationIsRefusedBeforeTheServerIsBothered) {
  Start();
  Configure({.more = "NoSuchDirective on"});
  for (const char* verb : {"graceful", "restart"}) {
    const Outcome failed = Httpd({"-k", verb});
    EXPECT_EQ(failed.status, 1);
    EXPECT_NE(failed.err.find("AH00526: Syntax error on line "), std::string::npos) << failed.All();
  }
  ExpectServes();
  EXPECT_EQ(Status()["ParentServerMPMGeneration"], "0");
  Configure({});
}

TEST_F(Command, WaitReturnsWhenTheWorkIsDone) {
  Start();
  const pid_t pid = Pid();
  EXPECT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_EQ(Status()["ParentServerMPMGeneration"], "1");
  EXPECT_EQ(Pid(), pid);
  auto slow = Connection::Open(port_, 4096);
  ASSERT_TRUE(slow);
  ASSERT_TRUE(slow->Send(e2e::GetRequest("/big.bin", "Connection: close\r\n")));
  ASSERT_TRUE(slow->AwaitBytes());
  e2e::Running stop(HttpdCommand({"-k", "graceful-stop", "--wait"}), outside_ / "stop");
  ASSERT_TRUE(Eventually([this] { return !Connection::Open(port_); }));
  EXPECT_FALSE(stop.HasEnded()) << "a download is in progress";
  EXPECT_TRUE(slow->ReachesEnd());
  EXPECT_EQ(stop.Wait().status, 0);
  EXPECT_TRUE(Processes().empty());
}

TEST_F(Command, TestOfTheSyntaxAnswersAsApacheDoes) {
  Outcome tested = Httpd({"-t"});
  EXPECT_EQ(tested.status, 0);
  EXPECT_EQ(tested.out, "");
  EXPECT_EQ(tested.err, "Syntax OK\n");

  Configure({.more = "NoSuchDirective on"});
  const std::string text = e2e::FileText(root_ / "conf" / "httpd.conf");
  const size_t line = e2e::CountOf(text.substr(0, text.find("NoSuchDirective")), "\n") + 1;
  tested = Httpd({"-t"});
  EXPECT_EQ(tested.status, 1);
  EXPECT_TRUE(tested.err.starts_with("AH00526: Syntax error on line " + std::to_string(line) + " of " +
                                     (root_ / "conf" / "httpd.conf").string() + ":\nInvalid command 'NoSuchDirective'"))
      << tested.All();

  tested = e2e::Execute({e2e::Program("httpd"), "-d", root_.string(), "-f", "conf/none.conf", "-t"});
  EXPECT_EQ(tested.status, 1);
  EXPECT_NE(tested.err.find("httpd: Could not open configuration file " + (root_ / "conf" / "none.conf").string() +
                            ": No such file or directory"),
            std::string::npos)
      << tested.All();

  Configure({.log = "nowhere/access.log"});
  tested = Httpd({"-t"});
  EXPECT_EQ(tested.status, 1);
  EXPECT_NE(tested.err.find("AH02297: Cannot access directory '" + (root_ / "nowhere").string() + "/' for log file"),
            std::string::npos)
      << tested.All();
  EXPECT_NE(tested.err.find("AH00014: Configuration check failed"), std::string::npos) << tested.All();
  Configure({});
}

TEST_F(Command, TheShortOptionsPrintToTheStreamsAndEndWithTheStatusesOfApache) {
  struct Row {
    std::vector<std::string> arguments;
    int status;
    std::string out;  ///< begins with
    std::string err;  ///< holds
  };
  const std::vector<Row> rows = {
      {{"-v"}, 0, "Server version: ", ""},
      {{"-V"}, 0, "Server version: ", ""},
      {{"-l"}, 0, "Compiled in modules:\n  core.c", ""},
      {{"-M"}, 0, "Loaded Modules:\n core_module (static)", ""},
      {{"-S"}, 0, "VirtualHost configuration:", ""},
      {{"-h"}, 1, "", "Usage: httpd "},
      {{"-Q"}, 1, "", "httpd: illegal option -- Q"},
      {{"-k", "bogus"}, 1, "", "httpd: illegal option -- k"},
      {{"-t", "-D", "DUMP_INCLUDES"}, 0, "Included configuration files:\n  (*) ", ""},
  };
  for (const Row& row : rows) {
    const Outcome run = Httpd(row.arguments);
    EXPECT_EQ(run.status, row.status) << row.arguments.front() << ": " << run.All();
    EXPECT_TRUE(run.out.starts_with(row.out)) << row.arguments.front() << ": " << run.All();
    EXPECT_NE(run.err.find(row.err), std::string::npos) << row.arguments.front() << ": " << run.All();
    EXPECT_EQ(run.err.empty(), row.err.empty()) << row.arguments.front() << ": " << run.All();
    EXPECT_EQ(run.out.empty(), row.out.empty()) << row.arguments.front() << ": " << run.All();
  }
}

TEST_F(Command, StartOnAPortThatIsTakenFailsOnTheTerminalAndLeavesNothing) {
  auto taken = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", port_).value(), 1);
  ASSERT_TRUE(taken);
  const Outcome failed = Httpd({"-k", "start"});
  EXPECT_EQ(failed.status, 1);
  EXPECT_NE(failed.err.find("(98)Address already in use: AH00072: make_sock: could not bind to address 127.0.0.1:" +
                            std::to_string(port_)),
            std::string::npos)
      << failed.All();
  EXPECT_TRUE(Processes().empty());
  EXPECT_TRUE(RuntimeFiles().empty());
}

TEST_F(Command, TermEndsEverythingAndSaysSo) {
  Start();
  const pid_t pid = Pid();
  ASSERT_EQ(::kill(pid, SIGTERM), 0);
  EXPECT_TRUE(Eventually([this] { return Processes().empty(); }));
  EXPECT_EQ(Pid(), 0);
  EXPECT_TRUE(RuntimeFiles().empty());
  EXPECT_NE(ErrorLog().find("AH00491: caught SIGTERM, shutting down"), std::string::npos);
}

TEST_F(Command, OneProcessServesInTheForegroundUntilTerm) {
  e2e::Running server(HttpdCommand({"-X"}), outside_ / "server");
  ASSERT_TRUE(Eventually([this] { return Get("/index.html").has_value(); }));
  EXPECT_EQ(Processes().size(), 1U);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait().status, 0);
}

TEST_F(Command, AResizedTerminalDoesNotStopAServerInItsForeground) {
  int terminal = -1;
  winsize size{24, 80, 0, 0};
  const std::vector<std::string> words = HttpdCommand({"-D", "FOREGROUND"});
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, &size);
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  const os::Fd master(terminal);
  ASSERT_TRUE(Eventually([this] { return Pid() != 0 && Get("/index.html").has_value(); }));
  EXPECT_EQ(Pid(), pid);
  size.ws_row = 50;
  ASSERT_EQ(::ioctl(master.get(), TIOCSWINSZ, &size), 0);
  // A signal that comes after it has been handled when this one is.
  ASSERT_EQ(::kill(pid, SIGUSR1), 0);
  ASSERT_TRUE(Eventually([this] { return Status()["ParentServerMPMGeneration"] == "1"; }));
  EXPECT_EQ(Pid(), pid);
  EXPECT_EQ(ErrorLog().find("AH00492"), std::string::npos);
  ASSERT_EQ(::kill(pid, SIGWINCH), 0);  // a sender meant it
  EXPECT_TRUE(Eventually([pid] { return ::waitpid(pid, nullptr, WNOHANG) != 0; })) << "WINCH by kill(2) is ignored";
  EXPECT_EQ(Pid(), 0);
}

}  // namespace
