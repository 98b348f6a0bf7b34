// The built orchestrator against a server that misbehaves on request (fake_httpd.cc).
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "handover/message.h"
#include "orchestrator/journal.h"
#include "orchestrator/run_program.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/lock_file.h"
#include "os/pid_file.h"
#include "os/process.h"
#include "os/socket.h"

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::AnyOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using testing::UnorderedElementsAre;

/// An orchestrator that is still at work.
struct Running {
  os::ProcessHandle process;
  os::Fd out;
  std::string text;

  /// Reads its output until `what` appears; fails after 20 s or at its end.
  testing::AssertionResult Sees(const std::string& what) {
    const os::SystemClock clock;
    const auto deadline = clock.SteadyNow() + 20s;
    while (text.find(what) == std::string::npos) {
      pollfd entry{out.get(), POLLIN, 0};
      if (clock.SteadyNow() > deadline) return testing::AssertionFailure() << "timed out; so far: " << text;
      if (::poll(&entry, 1, 1000) <= 0) continue;
      char buffer[4096];
      const ssize_t n = ::read(out.get(), buffer, sizeof buffer);
      if (n <= 0) return testing::AssertionFailure() << "it ended; its output: " << text;
      text.append(buffer, static_cast<size_t>(n));
    }
    return testing::AssertionSuccess();
  }

  int Wait() {
    if (!process.WaitForEnd(30000)) return -1;
    const auto exit = process.TryReap();
    char buffer[4096];
    ssize_t n;
    while ((n = ::read(out.get(), buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(n));
    return exit && !exit->signaled ? exit->code : -2;
  }
};

class UpgradeProcess : public testing::Test {
 protected:
  void SetUp() override {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // servers that lose their parent come to us, so that none stays a zombie
    char name[] = "/tmp/baton-orchestrator.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    fs::create_directory(root_ / "run");
    const int pid = ::getpid();
    host_ = "127." + std::to_string(64 + (pid >> 16) % 64) + "." + std::to_string((pid >> 8) & 255) + "." +
            std::to_string(pid & 255);  // an address of our own: tests that run side by side do not meet
  }

  void TearDown() override {
    for (const pid_t pid : Servers()) ::kill(pid, SIGKILL);
    const os::SystemClock clock;
    const auto deadline = clock.SteadyNow() + 5s;
    while (!Servers().empty() && clock.SteadyNow() < deadline) ::waitpid(-1, nullptr, 0);
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    fs::remove_all(root_);
  }

  std::string Address(int n = 0) const { return host_ + ":" + std::to_string(18080 + n); }

  void Configure(const std::string& version, const std::string& more = "", const std::vector<int>& listen = {0}) {
    std::ofstream out(Config());
    out << "RuntimeDir " << Runtime().string() << "\nPidFile " << PidFile().string() << "\nVersion " << version << "\n";
    for (const int n : listen) out << "Listen " << Address(n) << "\n";
    out << more << "\n";
  }

  fs::path Runtime() const { return root_ / "run"; }
  fs::path PidFile() const { return root_ / "httpd.pid"; }
  std::string Config() const { return root_ / "fake.conf"; }
  static std::string Fake() { return FAKE_HTTPD; }

  std::vector<std::string> Line(const std::string& command, const std::vector<std::string>& more) const {
    std::vector<std::string> out = {ORCHESTRATOR, command, "-d", root_, "-f", Config(), "--binary", Fake()};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  orchestrator::Output Do(const std::string& command, const std::vector<std::string>& more = {}) const {
    os::SpawnOptions options;
    options.program = ORCHESTRATOR;
    options.arguments = Line(command, more);
    options.environment = os::Environment();
    auto output = orchestrator::RunProgram(std::move(options), 60s);
    EXPECT_TRUE(output) << output.error().Text();
    return output ? std::move(output).value() : orchestrator::Output();
  }

  Running DoInBackground(const std::string& command, const std::vector<std::string>& more = {}) const {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    Running running;
    running.out = os::Fd(ends[0]);
    const os::Fd theirs(ends[1]);
    os::SpawnOptions options;
    options.program = ORCHESTRATOR;
    options.arguments = Line(command, more);
    options.environment = os::Environment();
    options.descriptors = {{theirs.get(), 1}, {theirs.get(), 2}};
    auto started = os::Spawn(options);
    EXPECT_TRUE(started) << started.error().Text();
    running.process = std::move(started).value();
    return running;
  }

  /// Starts version "one" and remembers its pid.
  void StartOld(const std::string& more = "", const std::vector<int>& listen = {0}) {
    Configure("one", more, listen);
    const auto output = Do("start");
    ASSERT_EQ(output.exit.code, 0) << output.err;
    auto pid = os::ReadPidFile(PidFile());
    ASSERT_TRUE(pid) << pid.error().Text();
    old_ = pid.value();
  }

  /// Connects and asks; the connection stays open in `fd`.
  os::Fd Ask(const std::string& path, int n = 0) const {
    auto address = os::SocketAddress::Parse(Address(n)).value();
    os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd.get(), address.raw(), address.length()) != 0) return os::Fd();
    const timeval patience{5, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_TRUE(os::WriteAll(fd, "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"));
    return fd;
  }

  /// Body of the answer, "" when there is none.
  std::string Get(const std::string& path, int n = 0) const {
    const os::Fd fd = Ask(path, n);
    if (!fd.valid()) return "";
    std::string text;
    char buffer[4096];
    ssize_t got;
    while ((got = ::read(fd.get(), buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(got));
    const size_t body = text.find("\r\n\r\n");
    return body == std::string::npos ? "" : text.substr(body + 4);
  }

  /// Every process of this test's server root except orchestrators.
  std::vector<pid_t> Servers() const {
    std::vector<pid_t> out;
    const auto names = os::ListDirectory("/proc");
    for (const std::string& name : names.value()) {
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      auto line = os::ReadFile("/proc/" + name + "/cmdline");
      if (!line || line.value().find(root_.string()) == std::string::npos) continue;
      if (!line.value().starts_with(Fake())) continue;
      out.push_back(std::stoi(name));
    }
    return out;
  }

  std::vector<std::string> Left() const { return os::ListDirectory(Runtime()).value(); }
  std::string File(pid_t pid, const char* what) const { return "httpd." + std::to_string(pid) + "." + what; }

  /// The old instance serves as before, and nothing of an attempt is left.
  void ExpectUntouched() const {
    EXPECT_EQ(Get("/"), "one " + std::to_string(old_));
    EXPECT_EQ(os::ReadPidFile(PidFile()).value(), old_);
    EXPECT_THAT(Servers(), ElementsAre(old_));
    EXPECT_THAT(Left(), UnorderedElementsAre(File(old_, "control"), File(old_, "http"), "orchestrator"));
    EXPECT_THAT(os::ListDirectory(Runtime() / "orchestrator").value(),
                Each(AnyOf("journal.db", "lock", "reports", "versions")));
  }

  static size_t Lines(const std::string& text) {
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }

  fs::path root_;
  std::string host_;
  pid_t old_ = 0;
};

// ---- the good way --------------------------------------------------------------------------------------------------

TEST_F(UpgradeProcess, TheNewInstanceServesOnTheSameSocketAndTheOldOneIsGone) {
  StartOld("", {0, 1, 2, 3, 4});  // more listeners than one answer of the fake holds
  Configure("two", "", {0, 1, 2, 3, 4});
  const auto output = Do("upgrade", {"--bake", "0.3"});
  EXPECT_EQ(output.exit.code, 0) << output.err;
  EXPECT_EQ(output.err, "");
  for (const char* step : {"planned", "launched", "ready", "probed", "switched", "baked", "draining", "done"}) {
    EXPECT_THAT(output.out, HasSubstr(step));
  }
  const pid_t now = os::ReadPidFile(PidFile()).value();
  EXPECT_NE(now, old_);
  for (int n = 0; n < 5; ++n) EXPECT_EQ(Get("/", n), "two " + std::to_string(now));
  EXPECT_THAT(Servers(), ElementsAre(now));
  EXPECT_THAT(Left(), UnorderedElementsAre(File(now, "control"), File(now, "http"), "orchestrator"));
}

TEST_F(UpgradeProcess, TheNewcomerGetsTheOldOnesContextAndNotThatOfTheCommand) {
  Configure("one");
  os::SpawnOptions options;
  options.program = Fake();
  options.arguments = {Fake(), "-d", root_, "-f", Config(), "-D", "SSL", "-k", "start"};
  options.environment = {"COLOUR=green", "PATH=/bin", "WATCHDOG_USEC=1000"};
  options.directory = root_;
  options.umask = 027;
  options.limits = {{RLIMIT_NOFILE, {200, 300}}};
  ASSERT_TRUE(orchestrator::RunProgram(std::move(options), 5s));
  const os::SystemClock clock;
  const auto deadline = clock.SteadyNow() + 5s;
  while (!os::ReadPidFile(PidFile()) && clock.SteadyNow() < deadline) ::sched_yield();

  ::setenv("COLOUR", "red", 1);
  const auto output = Do("upgrade", {"--bake", "0"});
  ::unsetenv("COLOUR");
  ASSERT_EQ(output.exit.code, 0) << output.err;
  const pid_t now = os::ReadPidFile(PidFile()).value();
  EXPECT_EQ(Get("/env/COLOUR"), "green");
  EXPECT_EQ(Get("/env/LISTEN_FDS"), "(none)");
  EXPECT_EQ(Get("/env/WATCHDOG_USEC"), "(none)");
  EXPECT_EQ(Get("/umask"), std::to_string(027));
  EXPECT_EQ(Get("/nofile"), "200");
  EXPECT_EQ(Get("/cwd"), root_.string());
  EXPECT_EQ(Get("/session"), std::to_string(now)) << "it would die with the terminal of who typed the command";
  EXPECT_THAT(Get("/cmdline"), HasSubstr("-D SSL -D FOREGROUND --standby"));

  // The third generation has as many descriptors and words on its command line as the second.
  const std::string second = Get("/fds");
  const std::string line = Get("/cmdline");
  ASSERT_EQ(Do("upgrade", {"--bake", "0"}).exit.code, 0);
  EXPECT_EQ(Get("/fds"), second);
  EXPECT_EQ(Get("/cmdline"), line);
}

TEST_F(UpgradeProcess, ListenersAreAddedBeforeTheStartAndRemovedWithTheOldOne) {
  StartOld("", {0, 1});
  Configure("two", "", {1, 2});
  const auto output = Do("upgrade", {"--bake", "0"});
  EXPECT_EQ(output.exit.code, 0) << output.err;
  EXPECT_THAT(output.out, HasSubstr("keep 1 listener, add " + Address(2) + ", remove " + Address(0)));
  EXPECT_EQ(Get("/", 0), "");
  EXPECT_THAT(Get("/", 1), StartsWith("two"));
  EXPECT_THAT(Get("/", 2), StartsWith("two"));
}

TEST_F(UpgradeProcess, AnAddedAddressThatIsTakenIsFoundBeforeAnythingStarts) {
  StartOld();
  auto taken = os::ListenTcp(os::SocketAddress::Parse(Address(1)).value(), 1);
  ASSERT_TRUE(taken);
  Configure("two", "", {0, 1});
  const auto output = Do("upgrade", {"--bake", "0"});
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err, HasSubstr("listen on " + Address(1)));
  EXPECT_THAT(output.err, HasSubstr("Address already in use"));
  EXPECT_THAT(output.err, HasSubstr("line 2 of"));
  ExpectUntouched();
}

TEST_F(UpgradeProcess, EveryProbeHasToPass) {
  StartOld();
  Configure("two");
  auto output = Do("upgrade", {"--bake", "0", "--probe", "/", "--probe", "/missing=404"});
  EXPECT_EQ(output.exit.code, 0) << output.err;
  EXPECT_THAT(output.out, HasSubstr("2 probes passed"));
  old_ = os::ReadPidFile(PidFile()).value();
  output = Do("upgrade", {"--bake", "0", "--probe", "/", "--probe", "/missing"});
  EXPECT_EQ(output.exit.code, 3);
  EXPECT_THAT(output.err, HasSubstr("probe /missing answered 404 instead of 200 to 399"));
}

TEST_F(UpgradeProcess, JsonHasOneObjectALineAndEndsWithTheResult) {
  StartOld();
  Configure("two");
  const auto output = Do("upgrade", {"--bake", "0", "--json"});
  EXPECT_EQ(output.exit.code, 0) << output.err;
  EXPECT_EQ(Lines(output.out), 9U) << output.out;
  size_t at = 0;
  for (const char* step : {"planned", "launched", "ready", "probed", "switched", "baked", "draining", "done"}) {
    at = output.out.find("{\"event\":\"step\",\"step\":\"" + std::string(step) + "\",\"at\":", at);
    ASSERT_NE(at, std::string::npos) << step << " is missing in " << output.out;
  }
  EXPECT_THAT(output.out, HasSubstr("{\"event\":\"result\",\"at\":"));
  EXPECT_THAT(output.out, HasSubstr("\"status\":\"done\",\"exit\":0"));
  EXPECT_THAT(output.out, HasSubstr("\"switched_ms\":"));
}

TEST_F(UpgradeProcess, TheJournalHasEveryStepBeforeItsEffect) {
  StartOld();
  Configure("two");
  ASSERT_EQ(Do("upgrade", {"--bake", "0"}).exit.code, 0);
  const os::SystemClock clock;
  auto journal = orchestrator::Journal::Open(Runtime() / "orchestrator", orchestrator::Journal::Mode::kExisting, clock);
  ASSERT_TRUE(journal) << journal.error().Text();
  const auto records = journal.value().History().value();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].intent.from.id.pid, old_);
  EXPECT_EQ(records[0].intent.from.version, "one");
  EXPECT_EQ(records[0].intent.to.id.pid, os::ReadPidFile(PidFile()).value());
  EXPECT_TRUE(records[0].ended);
  EXPECT_EQ(records[0].exit_status, 0);
  std::vector<orchestrator::Step> steps;
  for (const auto& step : records[0].steps) {
    steps.push_back(step.step);
    EXPECT_EQ(step.result, "succeeded");
    EXPECT_NE(step.detail, "");
  }
  EXPECT_THAT(steps, testing::ElementsAreArray(orchestrator::kSteps));
}

// ---- a bad newcomer ------------------------------------------------------------------------------------------------

struct Bad {
  const char* name;
  const char* word;
  std::vector<std::string> options;
  int exit;
  std::string says;
};

void PrintTo(const Bad& bad, std::ostream* out) {
  *out << bad.word;
}

class BadNewcomer : public UpgradeProcess, public testing::WithParamInterface<Bad> {};

TEST_P(BadNewcomer, LeavesTheOldOneUntouchedAndNothingBehind) {
  StartOld();
  Configure("two", std::string("Misbehave ") + GetParam().word);
  const auto output = Do("upgrade", GetParam().options);
  EXPECT_EQ(output.exit.code, GetParam().exit) << output.out;
  EXPECT_THAT(output.err, HasSubstr(GetParam().says));
  EXPECT_THAT(output.err, StartsWith(GetParam().exit == 3 ? "orchestrator: rolled back: " : "orchestrator: "));
  EXPECT_EQ(Lines(output.err), 1U) << output.err;
  ExpectUntouched();
  // An upgrade that failed does not stand in the way of the next one.
  Configure("three");
  EXPECT_EQ(Do("upgrade", {"--bake", "0"}).exit.code, 0);
  EXPECT_THAT(Get("/"), StartsWith("three"));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, BadNewcomer,
    testing::Values(
        Bad{"BadConfiguration", "bad-config", {}, 1, "AH00526: Syntax error on line 5 of"},
        Bad{"DiesAtStart", "dies-at-start", {}, 3, "exited with status 1: (98)Address already in use: AH00072"},
        Bad{"NeverReady", "never-ready", {"--ready-timeout", "0.4"}, 3, "was not ready within 0.4 s"},
        Bad{"ReadyFromAnotherProcess", "foreign-ready", {"--ready-timeout", "0.4"}, 3, "READY=1 came from process"},
        Bad{"AcceptsWithoutBeingTold", "not-standby", {}, 3, "is serving instead of in standby"},
        Bad{"FailsTheProbe", "fails-probe", {}, 3, "probe / answered 503"},
        Bad{"ClosesWithoutAnAnswer", "silent-probe", {}, 3, "probe /: "},
        Bad{"RefusesToAccept",
            "refuses-accept",
            {},
            3,
            "does not accept: \"accept\" was refused: a child does not accept"},
        Bad{"DiesDuringTheBake", "dies-after-accept", {"--bake", "5"}, 3, "exited with status 9"},
        Bad{"AnswersWithErrors",
            "errors",
            {"--bake", "5", "--probe", "/", "--probe", "/a", "--probe", "/b"},
            3,
            "with an error"},
        Bad{"IgnoresTerm", "ignores-term\nMisbehave fails-probe", {}, 3, "probe / answered 503"}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST_F(UpgradeProcess, ANewcomerThatLeavesConnectionsWaitingIsTakenBackAndTheyAreServed) {
  StartOld();
  Configure("two", "Misbehave deaf");
  Running upgrade = DoInBackground("upgrade", {"--bake", "20"});
  ASSERT_TRUE(upgrade.Sees("switched"));
  const std::string body = Get("/");  // waits in the queue until the old one accepts again
  EXPECT_EQ(body, "one " + std::to_string(old_));
  EXPECT_EQ(upgrade.Wait(), 3);
  EXPECT_THAT(upgrade.text, HasSubstr("leaves connections waiting: 1 in the accept queue"));
  ExpectUntouched();
}

TEST_F(UpgradeProcess, ABinaryThatCannotBeRunIsNamed) {
  StartOld();
  std::vector<std::string> line = {ORCHESTRATOR, "upgrade", "-d", root_, "-f", Config(), "--binary", "/no/such/httpd"};
  os::SpawnOptions options;
  options.program = ORCHESTRATOR;
  options.arguments = line;
  options.environment = os::Environment();
  const auto output = orchestrator::RunProgram(std::move(options), 10s);
  ASSERT_TRUE(output);
  EXPECT_EQ(output.value().exit.code, 1);
  EXPECT_THAT(output.value().err, HasSubstr("cannot run the server /no/such/httpd: No such file or directory"));
  ExpectUntouched();
}

TEST_F(UpgradeProcess, AnOldInstanceThatWillNotLeaveIsResumed) {
  StartOld("Misbehave refuses-drain");
  Configure("two");
  const auto output = Do("upgrade", {"--bake", "0"});
  EXPECT_EQ(output.exit.code, 3);
  EXPECT_THAT(output.err, HasSubstr("the old instance does not leave: \"drain\" was refused: I stay"));
  ExpectUntouched();
}

TEST_F(UpgradeProcess, WhenTheOldOneCannotResumeTheNewOneGoesOnServing) {
  StartOld("Misbehave refuses-drain\nMisbehave refuses-resume");
  Configure("two");
  const auto output = Do("upgrade", {"--bake", "0"});
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err, HasSubstr("goes on serving"));
  EXPECT_THAT(Get("/"), StartsWith("two"));
}

TEST_F(UpgradeProcess, WhenTheOldOneIsKilledMeanwhileTheNewOneTakesOverAtOnce) {
  StartOld();
  Configure("two", "Misbehave slow-start");
  Running upgrade = DoInBackground("upgrade", {"--bake", "20"});
  ASSERT_TRUE(upgrade.Sees("launched"));
  ASSERT_EQ(::kill(old_, SIGKILL), 0);
  EXPECT_EQ(upgrade.Wait(), 0) << upgrade.text;
  EXPECT_THAT(upgrade.text, HasSubstr("ended by itself during the upgrade; the new one takes over at once"));
  EXPECT_THAT(Get("/"), StartsWith("two"));
  const pid_t now = os::ReadPidFile(PidFile()).value();
  EXPECT_THAT(Left(), UnorderedElementsAre(File(now, "control"), File(now, "http"), "orchestrator"));
}

// ---- signals, locks ------------------------------------------------------------------------------------------------

TEST_F(UpgradeProcess, ASignalBeforeTheCommitPointTakesTheUpgradeBack) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    SCOPED_TRACE(signal);
    if (old_ == 0) StartOld();
    Configure("two");
    Running upgrade = DoInBackground("upgrade", {"--bake", "30"});
    ASSERT_TRUE(upgrade.Sees("switched"));
    ASSERT_TRUE(upgrade.process.Signal(signal));
    EXPECT_EQ(upgrade.Wait(), 3);
    EXPECT_THAT(upgrade.text, HasSubstr("rolled back: stopped by signal " + std::to_string(signal)));
    ExpectUntouched();
  }
}

TEST_F(UpgradeProcess, ASignalWhileWaitingForReadinessTakesTheUpgradeBack) {
  StartOld();
  Configure("two", "Misbehave never-ready");
  Running upgrade = DoInBackground("upgrade");
  ASSERT_TRUE(upgrade.Sees("launched"));
  ASSERT_TRUE(upgrade.process.Signal(SIGTERM));
  EXPECT_EQ(upgrade.Wait(), 3);
  ExpectUntouched();
}

TEST_F(UpgradeProcess, ASignalAfterTheCommitPointIsAnsweredAndTheUpgradeGoesOn) {
  StartOld();
  os::Fd download = Ask("/hold");
  Configure("two");
  Running upgrade = DoInBackground("upgrade", {"--bake", "0"});
  ASSERT_TRUE(upgrade.Sees("draining"));
  ASSERT_TRUE(upgrade.process.Signal(SIGTERM));
  ASSERT_TRUE(upgrade.Sees("came after the commit point"));
  EXPECT_TRUE(os::Identify(old_)) << "the request in progress was cut";
  download.Reset();
  EXPECT_EQ(upgrade.Wait(), 0) << upgrade.text;
  EXPECT_THAT(Get("/"), StartsWith("two"));
}

TEST_F(UpgradeProcess, ASecondUpgradeIsRefusedAndToldWhoIsAtWork) {
  StartOld();
  Configure("two");
  Running first = DoInBackground("upgrade", {"--bake", "30"});
  ASSERT_TRUE(first.Sees("switched"));
  const os::SystemClock clock;
  const auto deadline = clock.SteadyNow() + 5s;
  orchestrator::Output second;
  do {  // the step's line comes before the next step is written into the lock file
    second = Do("upgrade");
    ASSERT_EQ(second.exit.code, 75);
  } while (second.err.find("step baked") == std::string::npos && clock.SteadyNow() < deadline);
  EXPECT_THAT(second.err,
              HasSubstr("another upgrade is running: process " + std::to_string(first.process.pid()) + " of user "));
  EXPECT_THAT(second.err, HasSubstr("step baked"));
  EXPECT_EQ(Do("stop").exit.code, 75);
  EXPECT_THAT(Do("status").out, HasSubstr("upgrade is running"));
  ASSERT_TRUE(first.process.Signal(SIGTERM));
  EXPECT_EQ(first.Wait(), 3);
  ExpectUntouched();
}

TEST_F(UpgradeProcess, AnotherUpgradeMayStartWhileAnOldInstanceStillDrains) {
  StartOld();
  os::Fd download = Ask("/hold");
  Configure("two");
  Running first = DoInBackground("upgrade", {"--bake", "0"});
  ASSERT_TRUE(first.Sees("draining"));
  Configure("three");
  const auto second = Do("upgrade", {"--bake", "0"});
  EXPECT_EQ(second.exit.code, 0) << second.err;
  EXPECT_THAT(Get("/"), StartsWith("three"));
  EXPECT_TRUE(os::Identify(old_));
  auto control = os::ConnectUnix(Runtime() / File(old_, "control"), SOCK_SEQPACKET);
  ASSERT_TRUE(control);
  auto status = handover::Ask(control.value(), handover::Message("status"));
  ASSERT_TRUE(status);
  EXPECT_EQ(status.value().GetNumber("REDIRECTED"), 1) << "it would pass connections to an instance that leaves";
  const auto refused = Do("upgrade", {"--max-draining", "1"});
  EXPECT_EQ(refused.exit.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("1 older instance still drain"));
  download.Reset();
  EXPECT_EQ(first.Wait(), 0) << first.text;
}

// ---- draining ------------------------------------------------------------------------------------------------------

TEST_F(UpgradeProcess, WhatIsStillInProgressAtTheDeadlineIsCutAndReported) {
  StartOld();
  const os::Fd download = Ask("/hold");
  Configure("two");
  const auto output = Do("upgrade", {"--bake", "0", "--graceful-shutdown-timeout", "2"});
  EXPECT_EQ(output.exit.code, 4);
  EXPECT_THAT(output.err,
              HasSubstr("1 request of process " + std::to_string(old_) + " was cut at the deadline of 2 s"));
  EXPECT_THAT(output.out, HasSubstr("1 connection, 1 request left in process"));
  EXPECT_THAT(Get("/"), StartsWith("two"));
  EXPECT_EQ(Servers().size(), 1U);
}

TEST_F(UpgradeProcess, GracefulShutdownTimeoutIsTheDeadlineWhenNoneIsGiven) {
  StartOld();
  const os::Fd download = Ask("/hold");
  Configure("two", "GracefulShutdownTimeout 1");
  const auto output = Do("upgrade", {"--bake", "0"});
  EXPECT_EQ(output.exit.code, 4) << output.out;
  EXPECT_THAT(output.err, HasSubstr("deadline of 1 s"));
}

TEST_F(UpgradeProcess, AnOldInstanceThatIgnoresItsDeadlineAndTermIsKilled) {
  StartOld("Misbehave ignores-term");
  const os::Fd download = Ask("/hold");
  Configure("two");
  const auto output = Do("upgrade", {"--bake", "0", "--graceful-shutdown-timeout", "1"});
  EXPECT_EQ(output.exit.code, 4);
  EXPECT_THAT(output.err, HasSubstr("it had to be killed"));
  EXPECT_THAT(output.out, HasSubstr("ignores TERM: KILL"));
  const pid_t now = os::ReadPidFile(PidFile()).value();
  EXPECT_THAT(Servers(), ElementsAre(now));
  EXPECT_THAT(Left(), UnorderedElementsAre(File(now, "control"), File(now, "http"), "orchestrator"));
}

TEST_F(UpgradeProcess, DetachReturnsWhileTheOldInstanceStillDrains) {
  StartOld();
  os::Fd download = Ask("/hold");
  Configure("two");
  const auto output = Do("upgrade", {"--bake", "0", "--detach"});
  EXPECT_EQ(output.exit.code, 0) << output.err;
  EXPECT_TRUE(os::Identify(old_));
  EXPECT_THAT(Do("status").out, HasSubstr("draining"));
  auto old = os::ProcessHandle::Open(old_);
  ASSERT_TRUE(old);
  download.Reset();
  EXPECT_TRUE(old.value().WaitForEnd(5000));
  EXPECT_THAT(Get("/"), StartsWith("two"));
}

// ---- start, stop, status -------------------------------------------------------------------------------------------

TEST_F(UpgradeProcess, StartSaysSoWhenTheServerRunsAlready) {
  StartOld();
  const auto output = Do("start");
  EXPECT_EQ(output.exit.code, 0);
  EXPECT_THAT(output.out, HasSubstr("already running: process " + std::to_string(old_)));
  EXPECT_THAT(Servers(), ElementsAre(old_));
}

TEST_F(UpgradeProcess, StartOfAServerThatDiesSaysSo) {
  Configure("one", "Misbehave dies-at-start");
  const auto output = Do("start", {"--ready-timeout", "1"});
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err, HasSubstr("does not serve in time"));
  EXPECT_TRUE(Servers().empty());
}

TEST_F(UpgradeProcess, StartWithABadConfigurationGivesTheServersWords) {
  Configure("one", "Misbehave bad-config");
  const auto output = Do("start");
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err, HasSubstr("AH00526: Syntax error on line 5 of " + Config() + ": Invalid command"));
  EXPECT_EQ(Lines(output.err), 1U);
}

TEST_F(UpgradeProcess, AnUpgradeWithoutARunningInstanceSaysWhatToDo) {
  Configure("one");
  const auto output = Do("upgrade");
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.err, HasSubstr("no instance is running"));
  EXPECT_THAT(output.err, HasSubstr("orchestrator start"));
}

TEST_F(UpgradeProcess, APidFileThatNamesAStrangerIsNotBelieved) {
  StartOld();
  ASSERT_TRUE(os::WritePidFile(PidFile(), ::getpid()));
  Configure("two");
  EXPECT_EQ(Do("upgrade", {"--bake", "0"}).exit.code, 0) << "the instance that serves is in the runtime directory";
  EXPECT_THAT(Get("/"), StartsWith("two"));
}

TEST_F(UpgradeProcess, StopWaitsUntilEveryInstanceHasGone) {
  StartOld();
  os::Fd download = Ask("/hold");
  Configure("two");
  ASSERT_EQ(Do("upgrade", {"--bake", "0", "--detach"}).exit.code, 0);
  ASSERT_EQ(Servers().size(), 2U);
  EXPECT_EQ(Do("stop").exit.code, 0);
  EXPECT_TRUE(Servers().empty());
  EXPECT_THAT(Left(), ElementsAre("orchestrator"));
  const auto again = Do("stop");
  EXPECT_EQ(again.exit.code, 0);
  EXPECT_THAT(again.out, HasSubstr("not running"));
}

TEST_F(UpgradeProcess, GracefulStopLetsARequestFinishAndCutsItAtTheDeadline) {
  StartOld();
  os::Fd download = Ask("/hold");
  Running stop = DoInBackground("stop", {"--graceful"});
  ASSERT_TRUE(stop.Sees("1 request left"));
  EXPECT_THAT(Servers(), ElementsAre(old_));
  download.Reset();
  EXPECT_EQ(stop.Wait(), 0) << stop.text;

  StartOld();
  const os::Fd another = Ask("/hold");
  const auto output = Do("stop", {"--graceful", "--graceful-shutdown-timeout", "1"});
  EXPECT_EQ(output.exit.code, 4);
  EXPECT_THAT(output.err, HasSubstr("1 request was cut at the deadline of 1 s"));
  EXPECT_TRUE(Servers().empty());
}

TEST_F(UpgradeProcess, StopOfAServerThatIgnoresTermKillsIt) {
  StartOld("Misbehave ignores-term");
  Running stop = DoInBackground("stop", {"--graceful", "--graceful-shutdown-timeout", "1"});
  EXPECT_EQ(stop.Wait(), 0) << stop.text;
  EXPECT_THAT(stop.text, HasSubstr("ignores TERM: KILL"));
  EXPECT_TRUE(Servers().empty());
  EXPECT_THAT(Left(), ElementsAre("orchestrator"));
}

TEST_F(UpgradeProcess, ABadConfigurationDoesNotKeepAServerFromBeingStopped) {
  StartOld();
  Configure("one", "Misbehave bad-config");
  const auto output = Do("stop");
  EXPECT_EQ(output.exit.code, 0) << output.err;
  EXPECT_THAT(output.out, HasSubstr("asking the server itself to stop"));
}

TEST_F(UpgradeProcess, StatusListsInstancesAndLeftoversAndExitsOneWhenNoneServes) {
  Configure("one");
  auto output = Do("status");
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.out, HasSubstr("no instance is running"));
  StartOld();
  auto process = os::ProcessHandle::Open(old_);
  ASSERT_TRUE(process);
  output = Do("status", {"--json"});
  EXPECT_EQ(output.exit.code, 0);
  EXPECT_THAT(output.out, HasSubstr("\"serving\":true,\"instances\":[{\"pid\":" + std::to_string(old_) +
                                    ",\"state\":\"serving\",\"generation\":1,\"version\":\"one\""));
  ASSERT_TRUE(process.value().Signal(SIGKILL));
  ASSERT_TRUE(process.value().WaitForEnd(5000));
  ::waitpid(old_, nullptr, 0);
  output = Do("status");
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.out, HasSubstr("has ended and left files behind"));
  EXPECT_THAT(output.out, Not(HasSubstr("serving")));
  EXPECT_THAT(Do("stop").out, HasSubstr("not running"));
  EXPECT_THAT(Left(), ElementsAre("orchestrator")) << "what a dead instance left is still there";
}

}  // namespace
