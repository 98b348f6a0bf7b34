#include "os/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <sstream>

#include "os/file.h"
#include "os/socket.h"
#include "tests/os/process_support.h"

namespace os {
namespace {

using ::testing::HasSubstr;

constexpr int kLongEnough = 20'000;  // ms; only a broken test ever waits that long

/// A child that does nothing until it is killed.
ProcessHandle PausedChild() {
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (;;) ::pause();
  }
  auto handle = ProcessHandle::Open(pid);
  EXPECT_TRUE(handle);
  return std::move(handle).value();
}

ExitStatus KillAndReap(const ProcessHandle& process) {
  EXPECT_TRUE(process.Signal(SIGKILL));
  EXPECT_TRUE(process.WaitForEnd(kLongEnough));
  const auto status = process.TryReap();
  EXPECT_TRUE(status);
  return status.value_or(ExitStatus{});
}

TEST(Identify, NamesThisProcessTheSameWayTwice) {
  auto one = Identify(::getpid());
  auto two = Identify(::getpid());
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one.value(), two.value());
  EXPECT_EQ(one.value().pid, ::getpid());
  EXPECT_GT(one.value().start_time, 0U);
  EXPECT_EQ(one.value().boot_id.size(), 36U);
  EXPECT_TRUE(IsRunning(one.value()));
}

TEST(Identify, AnotherStartTimeOrBootIsAnotherProcess) {
  auto id = Identify(::getpid()).value();
  ++id.start_time;
  EXPECT_FALSE(IsRunning(id));
  id = Identify(::getpid()).value();
  id.boot_id = "00000000-0000-0000-0000-000000000000";
  EXPECT_FALSE(IsRunning(id));
}

TEST(Identify, AZombieIsNotFoundAndNotRunning) {
  const ProcessHandle child = PausedChild();
  const auto id = Identify(child.pid());
  ASSERT_TRUE(id);
  EXPECT_TRUE(IsRunning(id.value()));
  ASSERT_TRUE(child.Signal(SIGKILL));
  ASSERT_TRUE(child.WaitForEnd(kLongEnough));  // ended, not yet reaped
  auto zombie = Identify(child.pid());
  ASSERT_FALSE(zombie);
  EXPECT_EQ(zombie.error().kind, ErrorKind::kNotFound);
  EXPECT_FALSE(IsRunning(id.value()));
  EXPECT_TRUE(child.TryReap());
  EXPECT_EQ(Identify(child.pid()).error().kind, ErrorKind::kNotFound);
}

TEST(Identify, NumbersThatNameNoProcessAreNotFound) {
  for (const pid_t pid : {0, -1, 0x7fffffff}) {
    auto id = Identify(pid);
    ASSERT_FALSE(id) << pid;
    EXPECT_EQ(id.error().kind, ErrorKind::kNotFound);
  }
}

TEST(ProgramName, IsThatOfTheRunningBinary) {
  EXPECT_EQ(ProgramName(::getpid()).value(), tests::Self().filename().string());
  EXPECT_EQ(ProgramName(0x7fffffff).error().kind, ErrorKind::kNotFound);
}

/// Starts `--wait` of a copy of ourselves; `input` ends it.
struct Waiting {
  ProcessHandle process;
  Fd input;
};
Waiting StartWaiting(const std::filesystem::path& program) {
  auto pair = SocketPair(SOCK_STREAM);
  EXPECT_TRUE(pair);
  SpawnOptions options;
  options.program = program;
  options.arguments = {program.string(), "--wait"};
  options.environment = Environment();
  options.descriptors = {{pair.value().second.get(), 0}};
  auto process = Spawn(options);
  EXPECT_TRUE(process) << process.error().Text();
  return {std::move(process).value(), std::move(pair.value().first)};
}

TEST(ProgramName, SurvivesTheBinaryBeingDeletedAndNeedNotBeOneWord) {
  const tests::TempDir dir;
  const auto program =
      dir / "my (server) 2";  // what comm would cut at 15 bytes, and /proc/PID/stat parsers stumble over
  std::filesystem::copy_file(tests::Self(), program);
  Waiting waiting = StartWaiting(program);
  EXPECT_EQ(ProgramName(waiting.process.pid()).value(), "my (server) 2");
  EXPECT_TRUE(Identify(waiting.process.pid()));
  ASSERT_TRUE(RemoveFile(program));
  EXPECT_EQ(ProgramName(waiting.process.pid()).value(), "my (server) 2");
  waiting.input.Reset();
  ASSERT_TRUE(waiting.process.WaitForEnd(kLongEnough));
  EXPECT_TRUE(waiting.process.TryReap());
}

TEST(ExitStatus, TextSaysHowItEnded) {
  EXPECT_EQ((ExitStatus{false, 1, false}).Text(), "exited with status 1");
  EXPECT_EQ((ExitStatus{true, 9, false}).Text(), "was killed by signal 9 (Killed)");
}

TEST(ProcessHandle, SeesTheEndWithoutReapingAndReapsOnce) {
  const auto before = tests::OpenDescriptors();
  {
    const ProcessHandle child = PausedChild();
    EXPECT_FALSE(child.HasEnded());
    EXPECT_FALSE(child.WaitForEnd(0));
    EXPECT_FALSE(child.TryReap());
    ASSERT_TRUE(child.Signal(SIGTERM));
    EXPECT_TRUE(child.WaitForEnd(kLongEnough));
    EXPECT_TRUE(child.HasEnded());
    EXPECT_TRUE(child.Signal(0)) << "a zombie still has its number";
    const auto status = child.TryReap();
    ASSERT_TRUE(status);
    EXPECT_TRUE(status->signaled);
    EXPECT_EQ(status->code, SIGTERM);
    EXPECT_FALSE(child.TryReap());
    EXPECT_TRUE(child.HasEnded());
    EXPECT_EQ(child.Signal(SIGTERM).error().kind, ErrorKind::kNotFound);
  }
  EXPECT_EQ(tests::OpenDescriptors(), before);
}

TEST(ProcessHandle, OfNobodyIsNotFound) {
  EXPECT_EQ(ProcessHandle::Open(0x3fffff).error().kind, ErrorKind::kNotFound);
}

TEST(ProcessHandle, WatchesAProcessThatIsNotOurChild) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  const pid_t middle = ::fork();
  if (middle == 0) {
    const pid_t grandchild = ::fork();
    if (grandchild == 0) {
      for (;;) ::pause();
    }
    if (::write(writer.get(), &grandchild, sizeof grandchild) != sizeof grandchild) ::_exit(1);
    ::_exit(0);
  }
  pid_t grandchild = 0;
  ASSERT_EQ(::read(reader.get(), &grandchild, sizeof grandchild), static_cast<ssize_t>(sizeof grandchild));
  ASSERT_EQ(::waitpid(middle, nullptr, 0), middle);
  auto handle = ProcessHandle::Open(grandchild);
  ASSERT_TRUE(handle);
  EXPECT_FALSE(handle.value().HasEnded());
  ASSERT_TRUE(handle.value().Signal(SIGKILL));
  EXPECT_TRUE(handle.value().WaitForEnd(kLongEnough));
  EXPECT_FALSE(handle.value().TryReap()) << "not ours to reap";
}

// A pid that was reaped is given out again sooner or later. A handle that asked waitpid(2) for the number would then
// reap the newcomer, and whoever waits for that one would wait for ever.
TEST(ProcessHandle, DoesNotReapANewcomerThatGotItsNumber) {
  const ProcessHandle old = PausedChild();
  KillAndReap(old);
  pid_t wanted = old.pid();
  clone_args args{};
  args.exit_signal = SIGCHLD;
  args.set_tid = reinterpret_cast<uint64_t>(&wanted);
  args.set_tid_size = 1;
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) ::_exit(5);
  if (pid < 0) GTEST_SKIP() << "the kernel does not let us choose a pid: " << std::strerror(errno);
  ASSERT_EQ(pid, old.pid());
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(old.TryReap());
  EXPECT_EQ(old.Signal(0).error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(::waitpid(static_cast<pid_t>(pid), nullptr, WNOHANG), pid) << "the newcomer is still there to be reaped";
}

/// Spawns the helper's `--report` and reads what it was given.
class SpawnTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::chmod(dir_.path().c_str(), 0777), 0);
    options_.program = tests::Self();
    options_.arguments = {"helper", "--report", (dir_ / "report").string()};
    options_.environment = {"PATH=/bin"};
  }
  void TearDown() override { EXPECT_EQ(tests::OpenDescriptors(), before_) << "a descriptor leaked"; }

  std::map<std::string, std::string> Run() {
    std::map<std::string, std::string> out;
    auto process = Spawn(options_);
    EXPECT_TRUE(process) << process.error().Text();
    if (!process) return out;
    EXPECT_TRUE(process.value().WaitForEnd(kLongEnough));
    const auto status = process.value().TryReap();
    EXPECT_TRUE(status && !status->signaled && status->code == 0) << (status ? status->Text() : "not reaped");
    out["spawned"] = std::to_string(process.value().pid());
    std::istringstream lines(ReadFile(dir_ / "report").value());
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("env ")) ++environment_lines_;
      const size_t equals = line.find('=');
      out[line.substr(0, equals)] = line.substr(equals + 1);
    }
    return out;
  }
  static std::vector<std::string> Descriptors(const std::map<std::string, std::string>& report) {
    std::vector<std::string> out;
    for (const auto& [key, value] : report) {
      if (key.starts_with("fd ")) out.push_back(key.substr(3));
    }
    return out;
  }
  Fd File(const std::string& name) { return Open(dir_ / name, O_RDWR | O_CREAT).value(); }

  tests::TempDir dir_;
  SpawnOptions options_;
  int environment_lines_ = 0;
  std::map<int, std::string> before_ = tests::OpenDescriptors();
};

TEST_F(SpawnTest, GivesNothingButTheNullDeviceAndTheEnvironmentNamed) {
  const Fd inheritable(::open("/dev/zero", O_RDONLY));  // no O_CLOEXEC, on purpose
  const Fd high(::fcntl(inheritable.get(), F_DUPFD, 700));
  const auto report = Run();
  EXPECT_THAT(Descriptors(report), ::testing::ElementsAre("0", "1", "2"));
  for (const char* fd : {"fd 0", "fd 1", "fd 2"}) EXPECT_EQ(report.at(fd), "/dev/null");
  EXPECT_EQ(environment_lines_, 1);
  EXPECT_EQ(report.at("env PATH"), "/bin");
  EXPECT_EQ(report.at("pid"), report.at("spawned"));
}

TEST_F(SpawnTest, MapsDescriptorsEvenWhenNumbersOverlapAndSwap) {
  Fd a = File("a");
  Fd b = File("b");
  const Fd c = File("c");
  const Fd stray(::fcntl(a.get(), F_DUPFD, 30));  // would be inherited, and lies between two targets
  ASSERT_LT(stray.get(), 40);
  options_.descriptors = {{a.get(), b.get()}, {b.get(), a.get()}, {c.get(), 1}, {a.get(), 40}, {c.get(), 2}};
  const auto report = Run();
  EXPECT_EQ(report.at("fd " + std::to_string(b.get())), (dir_ / "a").string());
  EXPECT_EQ(report.at("fd " + std::to_string(a.get())), (dir_ / "b").string());
  EXPECT_EQ(report.at("fd 40"), (dir_ / "a").string());
  EXPECT_EQ(report.at("fd 0"), "/dev/null");
  EXPECT_EQ(report.at("fd 1"), (dir_ / "c").string());
  EXPECT_EQ(report.at("fd 2"), (dir_ / "c").string());
  EXPECT_EQ(Descriptors(report).size(), 6U) << "nothing else, neither between nor above";
}

TEST_F(SpawnTest, EveryLowNumberMayBeATargetWhereverTheReportPipeLies) {
  const Fd a = File("a");
  for (int to = 3; to < 40; ++to) options_.descriptors.emplace_back(a.get(), to);
  const auto report = Run();
  EXPECT_EQ(Descriptors(report).size(), 40U);
  for (int to = 3; to < 40; ++to) EXPECT_EQ(report.at("fd " + std::to_string(to)), (dir_ / "a").string());
}

TEST_F(SpawnTest, WorksWhenOurOwnStandardDescriptorsAreClosed) {
  const Fd a = File("a");
  options_.descriptors = {{a.get(), 5}};
  const Fd keep(::fcntl(0, F_DUPFD_CLOEXEC, 100));
  ::close(0);
  const auto report = Run();
  ::dup2(keep.get(), 0);
  EXPECT_EQ(report.at("fd 0"), "/dev/null");
  EXPECT_EQ(report.at("fd 5"), (dir_ / "a").string());
}

TEST_F(SpawnTest, ListenPidIsThatOfTheNewProgramAndTheOnlyOne) {
  options_.environment = {"LISTEN_PID=1", "A=b=c"};
  options_.set_listen_pid = true;
  const auto report = Run();
  EXPECT_EQ(report.at("env LISTEN_PID"), report.at("pid"));
  EXPECT_EQ(report.at("env A"), "b=c");
  EXPECT_EQ(environment_lines_, 2) << "an inherited LISTEN_PID would come first and win";
}

TEST_F(SpawnTest, NewSessionUmaskDirectoryAndLimitsArriveInTheChildOnly) {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  options_.new_session = true;
  options_.umask = 0137;
  options_.directory = "/proc";
  options_.limits = {{RLIMIT_NOFILE, {77, 88}}};
  const auto report = Run();
  EXPECT_EQ(report.at("sid"), report.at("pid"));
  EXPECT_EQ(report.at("umask"), std::to_string(0137));
  EXPECT_EQ(report.at("cwd"), "/proc");
  EXPECT_EQ(report.at("nofile"), "77");
  EXPECT_EQ(::umask(mask), mask);
}

TEST_F(SpawnTest, WithoutNewSessionTheSessionIsOurs) {
  EXPECT_EQ(Run().at("sid"), std::to_string(::getsid(0)));
}

TEST_F(SpawnTest, ALimitThatMayNotBeRaisedIsSkipped) {
  options_.limits = {{RLIMIT_NOFILE, {88, 77}}};  // soft above hard: EINVAL
  Run();
}

TEST_F(SpawnTest, UserGroupAndSupplementaryGroupsAreDroppedTogether) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  // Nobody must reach the binary too; a build tree below a private directory cannot offer that.
  const auto program = dir_ / "helper";
  std::filesystem::copy_file(tests::Self(), program);
  options_.program = program;
  options_.uid = 65534;
  options_.gid = 65533;
  options_.groups = {65532, 65531};
  const auto report = Run();
  EXPECT_EQ(report.at("uid"), "65534");
  EXPECT_EQ(report.at("euid"), "65534");
  EXPECT_EQ(report.at("gid"), "65533");
  EXPECT_THAT(report.at("groups"), ::testing::AnyOf("65532,65531,", "65531,65532,"));
}

TEST_F(SpawnTest, SignalsAreDefaultAndUnblockedInTheChildAndUntouchedHere) {
  sigset_t block;
  sigset_t before;
  sigemptyset(&block);
  sigaddset(&block, SIGUSR1);
  ::sigprocmask(SIG_BLOCK, &block, &before);
  ::signal(SIGUSR2, SIG_IGN);
  const auto report = Run();
  ::signal(SIGUSR2, SIG_DFL);
  sigset_t after;
  ::sigprocmask(SIG_SETMASK, &before, &after);
  EXPECT_EQ(report.at("SigBlk"), "0000000000000000");
  EXPECT_EQ(report.at("SigIgn"), "0000000000000000");
  EXPECT_EQ(sigismember(&after, SIGUSR1), 1);
  EXPECT_EQ(sigismember(&after, SIGUSR2), 0);
}

TEST_F(SpawnTest, TheChildEntersItsControlGroupFirst) {
  const Fd procs = File("cgroup.procs");
  options_.cgroup_procs = procs.get();
  Run();
  EXPECT_EQ(ReadFile(dir_ / "cgroup.procs").value(), "0") << "0 = whoever writes";
}

TEST_F(SpawnTest, AProgramThatCannotRunIsNamedWithTheReasonAndLeavesNoZombie) {
  options_.program = dir_ / "none";
  auto process = Spawn(options_);
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(process.error().Text(), "run " + (dir_ / "none").string() + ": No such file or directory");
  ASSERT_TRUE(ReplaceFile(dir_ / "plain", "#!/bin/sh\n", 0644));
  options_.program = dir_ / "plain";
  EXPECT_EQ(Spawn(options_).error().kind, ErrorKind::kDenied);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "nobody is left to wait for";
}

// The step that failed came after the report pipe's first number was closed: the failure went nowhere, and Spawn() said
// that the program runs.
TEST_F(SpawnTest, AMissingDirectoryIsReported) {
  options_.directory = dir_ / "none";
  auto process = Spawn(options_);
  if (process) KillAndReap(process.value());
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().kind, ErrorKind::kNotFound);
}

TEST_F(SpawnTest, AMissingDirectoryIsReportedAndNotWrittenIntoADescriptorThatWePassOn) {
  const Fd a = File("a");
  for (int to = 0; to < 40; ++to) options_.descriptors.emplace_back(a.get(), to);
  options_.directory = dir_ / "none";
  auto process = Spawn(options_);
  if (process) KillAndReap(process.value());
  EXPECT_FALSE(process);
  EXPECT_EQ(ReadFile(dir_ / "a").value(), "");
}

TEST_F(SpawnTest, AClosedDescriptorIsReported) {
  options_.descriptors = {{999, 3}};
  auto process = Spawn(options_);
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().sys, EBADF);
}

TEST_F(SpawnTest, ExitStatusComesThrough) {
  options_.arguments = {"helper", "--exit", "42"};
  auto process = Spawn(options_);
  ASSERT_TRUE(process);
  ASSERT_TRUE(process.value().WaitForEnd(kLongEnough));
  const auto status = process.value().TryReap();
  ASSERT_TRUE(status);
  EXPECT_FALSE(status->signaled);
  EXPECT_EQ(status->code, 42);
}

TEST(Environment, LeavesTheNamedVariablesOut) {
  ::setenv("BATON_TEST_A", "1", 1);
  ::setenv("BATON_TEST_AB", "x=y", 1);
  const auto all = Environment();
  EXPECT_THAT(all, ::testing::Contains("BATON_TEST_A=1"));
  const auto some = Environment({"BATON_TEST_A"});
  EXPECT_THAT(some, ::testing::Not(::testing::Contains(HasSubstr("BATON_TEST_A="))));
  EXPECT_THAT(some, ::testing::Contains("BATON_TEST_AB=x=y"));
  ::unsetenv("BATON_TEST_A");
  ::unsetenv("BATON_TEST_AB");
}

TEST(CloseAllExcept, KeepsTheNamedAndTheStandardOnes) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int null = ::open("/dev/null", O_RDONLY);
    for (const int to : {50, 51, 52, 60}) ::dup2(null, to);
    CloseAllExcept({60, 51, 51, -1, 2});
    std::vector<int> open;
    for (const auto& [number, target] : tests::OpenDescriptors()) open.push_back(number);
    ::_exit(open == std::vector<int>{0, 1, 2, 51, 60} ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace os
