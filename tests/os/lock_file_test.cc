#include "os/lock_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"
#include "os/process.h"
#include "os/socket.h"
#include "tests/os/process_support.h"
#include "tests/support/fake_clock.h"

namespace os {
namespace {

using namespace std::chrono_literals;

class LockFileTest : public ::testing::Test {
 protected:
  tests::TempDir dir_;
  std::filesystem::path path_ = dir_ / "upgrade.lock";
  tests::FakeClock clock_;
};

TEST_F(LockFileTest, SecondHolderGetsBusyOnceItsPatienceIsSpent) {
  auto first = LockFile::Acquire(path_, 0ms, clock_);
  ASSERT_TRUE(first) << first.error().Text();
  EXPECT_EQ(clock_.sleeps, 0);
  const auto before = clock_.steady;
  auto second = LockFile::Acquire(path_, 220ms, clock_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::kBusy);
  EXPECT_EQ(clock_.steady - before, 220ms);
  EXPECT_EQ(clock_.sleeps, 5) << "every 50 ms, and 20 ms at the end";
}

TEST_F(LockFileTest, ZeroPatienceNeverSleeps) {
  auto first = LockFile::Acquire(path_, 0ms, clock_);
  ASSERT_TRUE(first);
  EXPECT_FALSE(LockFile::Acquire(path_, 0ms, clock_));
  EXPECT_EQ(clock_.sleeps, 0);
}

TEST_F(LockFileTest, IsFreeAfterReleaseAndAfterTheOwnerGoes) {
  {
    auto first = LockFile::Acquire(path_, 0ms, clock_);
    ASSERT_TRUE(first);
    first.value().Release();
    EXPECT_FALSE(first.value().held());
    EXPECT_TRUE(LockFile::Acquire(path_, 0ms, clock_));
  }
  EXPECT_TRUE(LockFile::Acquire(path_, 0ms, clock_));
}

TEST_F(LockFileTest, FileIsPrivateAndStays) {
  { ASSERT_TRUE(LockFile::Acquire(path_, 0ms, clock_)); }
  struct stat st {};
  ASSERT_EQ(::stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0600U);
}

TEST_F(LockFileTest, ALockOnAnUnlinkedFileDoesNotKeepOthersOut) {
  auto first = LockFile::Acquire(path_, 0ms, clock_);
  ASSERT_TRUE(first);
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  auto second = LockFile::Acquire(path_, 0ms, clock_);
  ASSERT_TRUE(second);
  struct stat held {};
  struct stat named {};
  ASSERT_EQ(::fstat(second.value().fd().get(), &held), 0);
  ASSERT_EQ(::stat(path_.c_str(), &named), 0);
  EXPECT_EQ(held.st_ino, named.st_ino);
}

// A clean-up of leftovers unlinks the file while somebody waits for it: the waiter must end up with the file that has
// the name, not with the inode it opened first.
TEST_F(LockFileTest, AWaiterFollowsTheNameWhenTheHolderRemovesTheFile) {
  class RemovingClock final : public Clock {
   public:
    RemovingClock(LockFile& held, std::filesystem::path path) : held_(held), path_(std::move(path)) {}
    Wall WallNow() const override { return {}; }
    Steady SteadyNow() const override { return now_; }
    void Sleep(std::chrono::nanoseconds span) override {
      now_ += span;
      ::unlink(path_.c_str());
      held_.Release();
    }

   private:
    LockFile& held_;
    std::filesystem::path path_;
    Steady now_{};
  };
  auto first = LockFile::Acquire(path_, 0ms, clock_);
  ASSERT_TRUE(first);
  RemovingClock removing(first.value(), path_);
  auto second = LockFile::Acquire(path_, 1s, removing);
  ASSERT_TRUE(second) << second.error().Text();
  EXPECT_FALSE(LockFile::Acquire(path_, 0ms, clock_)) << "it has to be the file that has the name";
}

TEST_F(LockFileTest, MissingDirectoryIsNotFoundAndNotCreated) {
  auto lock = LockFile::Acquire(dir_ / "none/lock", 1s, clock_);
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(clock_.sleeps, 0);
}

TEST_F(LockFileTest, IsFreeAgainWhileAProgramWeStartedUnderItStillRuns) {
  auto ends = SocketPair(SOCK_STREAM);
  ASSERT_TRUE(ends);
  auto lock = LockFile::Acquire(path_, 0ms, clock_);
  ASSERT_TRUE(lock);
  EXPECT_EQ(::fcntl(lock.value().fd().get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  // Plain fork + exec, not Spawn(): only O_CLOEXEC stands between the program and the lock.
  const std::string self = tests::Self().string();
  const int input = ends.value().second.get();
  int sync[2];
  ASSERT_EQ(::pipe2(sync, O_CLOEXEC), 0);
  const Fd sync_read(sync[0]);
  Fd sync_write(sync[1]);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(input, 0);
    ::execl(self.c_str(), self.c_str(), "--wait", nullptr);
    ::_exit(127);
  }
  ASSERT_GT(pid, 0);
  auto process = ProcessHandle::Open(pid);
  ASSERT_TRUE(process);
  sync_write.Reset();
  char byte;
  ASSERT_EQ(::read(sync_read.get(), &byte, 1), 0) << "ends when exec has closed the other copy";
  lock.value().Release();
  EXPECT_TRUE(LockFile::Acquire(path_, 0ms, clock_));
  EXPECT_FALSE(process.value().HasEnded());
  ends.value().first.Reset();
  ends.value().second.Reset();
  EXPECT_TRUE(process.value().WaitForEnd(20'000));
  EXPECT_TRUE(process.value().TryReap());
}

TEST_F(LockFileTest, ADeadOwnerLeavesNoStaleLock) {
  int sync[2];
  ASSERT_EQ(::pipe2(sync, O_CLOEXEC), 0);
  const Fd reader(sync[0]);
  Fd writer(sync[1]);
  const pid_t pid = ::fork();
  if (pid == 0) {
    auto lock = LockFile::Acquire(path_, 0ms, clock_);
    if (!lock || ::write(writer.get(), "x", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  auto process = ProcessHandle::Open(pid);
  ASSERT_TRUE(process);
  char byte;
  ASSERT_EQ(::read(reader.get(), &byte, 1), 1);
  EXPECT_FALSE(LockFile::Acquire(path_, 0ms, clock_));
  ASSERT_TRUE(process.value().Signal(9));
  ASSERT_TRUE(process.value().WaitForEnd(20'000));
  EXPECT_TRUE(process.value().TryReap());
  EXPECT_TRUE(LockFile::Acquire(path_, 0ms, clock_));
}

}  // namespace
}  // namespace os
