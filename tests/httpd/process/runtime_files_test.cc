#include "httpd/process/runtime_files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "os/clock.h"
#include "tests/httpd/process/temp_dir.h"

namespace httpd::process {
namespace {

bool Exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

void Touch(const std::string& path, const std::string& text = "") {
  std::ofstream(path) << text;
}

/// A pid that no process has: of a child that was reaped.
pid_t DeadPid() {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  ::waitpid(pid, nullptr, 0);
  return pid;
}

class RuntimeFilesTest : public testing::Test {
 protected:
  TempDir dir_;
  os::SystemClock clock_;
  std::string pid_file_ = dir_.path() + "/httpd.pid";
};

TEST_F(RuntimeFilesTest, TheSharedSecretIsMadeOnceAndIsTheSameForAll) {
  const auto first = SharedSecret(dir_.path());
  ASSERT_TRUE(first) << first.error().what;
  EXPECT_EQ(first.value().size(), 32u);
  EXPECT_EQ(SharedSecret(dir_.path()).value(), first.value());
  struct stat status {};
  ASSERT_EQ(::stat((dir_.path() + "/httpd.secret").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  Touch(dir_.path() + "/httpd.secret", "too short");
  const auto second = SharedSecret(dir_.path());
  ASSERT_TRUE(second) << second.error().what;
  EXPECT_EQ(second.value().size(), 32u);
  EXPECT_NE(second.value(), first.value());
  EXPECT_FALSE(SharedSecret(dir_.path() + "/none"));
}

TEST_F(RuntimeFilesTest, APidIsFoundInItsLockNameAndNowhereElse) {
  EXPECT_EQ(PidOfLock("httpd.4711.lock"), 4711);
  for (const char* name : {"httpd.lock", "httpd..lock", "httpd.12x.lock", "httpd.12.control", "other.12.lock", ""}) {
    EXPECT_EQ(PidOfLock(name), 0) << name;
  }
}

TEST_F(RuntimeFilesTest, TheDirectoryIsMadeForItsOwnerOnly) {
  const std::string runtime = dir_.path() + "/run/httpd";
  auto lock = ClaimRuntimeDir(runtime, clock_);
  ASSERT_TRUE(lock) << lock.error().Text();
  struct stat st {};
  ASSERT_EQ(::stat(runtime.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
  EXPECT_TRUE(Exists(LockPath(runtime, ::getpid())));
}

TEST_F(RuntimeFilesTest, LeftoversOfTheDeadAreRemovedAndThoseOfTheLivingAreNot) {
  const pid_t dead = DeadPid();
  for (const auto& path :
       {LockPath(dir_.path(), dead), ControlPath(dir_.path(), dead), PrivatePath(dir_.path(), dead)}) {
    Touch(path);
  }
  const pid_t living = 999999;  // only its lock counts
  auto theirs = os::LockFile::Acquire(LockPath(dir_.path(), living), std::chrono::milliseconds(0), clock_);
  ASSERT_TRUE(theirs);
  Touch(ControlPath(dir_.path(), living));
  Touch(dir_.path() + "/something.else");
  ASSERT_TRUE(ClaimRuntimeDir(dir_.path(), clock_));
  EXPECT_FALSE(Exists(LockPath(dir_.path(), dead)));
  EXPECT_FALSE(Exists(ControlPath(dir_.path(), dead)));
  EXPECT_FALSE(Exists(PrivatePath(dir_.path(), dead)));
  EXPECT_TRUE(Exists(ControlPath(dir_.path(), living)));
  EXPECT_TRUE(Exists(dir_.path() + "/something.else"));
}

TEST_F(RuntimeFilesTest, SocketsOfADeadProcessWithOurPidAreOutOfTheWay) {
  Touch(ControlPath(dir_.path(), ::getpid()));
  Touch(PrivatePath(dir_.path(), ::getpid()));
  ASSERT_TRUE(ClaimRuntimeDir(dir_.path(), clock_));
  EXPECT_FALSE(Exists(ControlPath(dir_.path(), ::getpid())));
  EXPECT_FALSE(Exists(PrivatePath(dir_.path(), ::getpid())));
}

TEST_F(RuntimeFilesTest, WithoutAPidFileNobodyRuns) {
  EXPECT_EQ(RunningServer(pid_file_, dir_.path(), clock_).value(), 0);
}

TEST_F(RuntimeFilesTest, APidFileOfTheDeadNamesNobody) {
  Touch(pid_file_, std::to_string(DeadPid()) + "\n");
  EXPECT_EQ(RunningServer(pid_file_, dir_.path(), clock_).value(), 0);
}

TEST_F(RuntimeFilesTest, APidFileThatNamesAnotherProgramNamesNobody) {
  Touch(pid_file_, "1\n");
  EXPECT_EQ(RunningServer(pid_file_, dir_.path(), clock_).value(), 0);
}

TEST_F(RuntimeFilesTest, AZombieRunsNoServer) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  Touch(pid_file_, std::to_string(pid) + "\n");
  EXPECT_EQ(RunningServer(pid_file_, dir_.path(), clock_).value(), 0);
  ::waitpid(pid, nullptr, 0);
}

TEST_F(RuntimeFilesTest, AServerThatHoldsItsLockRuns) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    auto lock = ClaimRuntimeDir(dir_.path(), clock_);
    if (::write(ready[1], lock ? "y" : "n", 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  Touch(pid_file_, std::to_string(pid) + "\n");
  EXPECT_EQ(RunningServer(pid_file_, dir_.path(), clock_).value(), pid);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  EXPECT_EQ(RunningServer(pid_file_, dir_.path(), clock_).value(), 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(RuntimeFilesTest, APidFileThatCannotBeUnderstoodIsApachesSentence) {
  Touch(pid_file_, "not a number\n");
  const auto running = RunningServer(pid_file_, dir_.path(), clock_);
  ASSERT_FALSE(running);
  EXPECT_EQ(running.error().what.rfind("AH00058: Error retrieving pid file " + pid_file_, 0), 0u);
}

}  // namespace
}  // namespace httpd::process
