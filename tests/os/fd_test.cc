#include "os/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "tests/os/process_support.h"

namespace os {
namespace {

Fd OpenNull() {
  return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool IsOpen(int raw) {
  return ::fcntl(raw, F_GETFD) >= 0;
}

TEST(Fd, ClosesItsDescriptorWhenItGoes) {
  const auto before = tests::OpenDescriptors();
  int raw;
  {
    const Fd fd = OpenNull();
    raw = fd.get();
    ASSERT_TRUE(IsOpen(raw));
  }
  EXPECT_FALSE(IsOpen(raw));
  EXPECT_EQ(tests::OpenDescriptors(), before);
}

TEST(Fd, MovingLeavesTheSourceEmptyAndClosesWhatTheTargetHeld) {
  Fd one = OpenNull();
  Fd two = OpenNull();
  const int first = one.get();
  const int second = two.get();
  two = std::move(one);
  EXPECT_FALSE(one.valid());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(two.get(), first);
  EXPECT_FALSE(IsOpen(second));
  EXPECT_TRUE(IsOpen(first));
}

TEST(Fd, MovingOntoItselfKeepsTheDescriptor) {
  Fd fd = OpenNull();
  Fd& same = fd;
  const int raw = fd.get();
  fd = std::move(same);
  EXPECT_EQ(fd.get(), raw);
  EXPECT_TRUE(IsOpen(raw));
}

TEST(Fd, ReleaseGivesTheNumberAwayWithoutClosingIt) {
  Fd fd = OpenNull();
  const int raw = fd.Release();
  EXPECT_FALSE(fd.valid());
  fd.Reset();
  EXPECT_TRUE(IsOpen(raw));
  ::close(raw);
}

TEST(Fd, ADuplicateIsAnotherDescriptorOfTheSameFileThatNoProgramInherits) {
  const Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  const Fd copy = fd.Duplicate();
  ASSERT_TRUE(copy.valid());
  EXPECT_NE(copy.get(), fd.get());
  EXPECT_GT(copy.get(), 2);
  EXPECT_EQ(::fcntl(copy.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_FALSE(Fd().Duplicate().valid());
}

TEST(Fd, ResetKeepsErrnoOnAnErrorPath) {
  const int raw = OpenNull().Release();
  ::close(raw);
  Fd stale(raw);
  errno = ENOSPC;
  stale.Reset();  // close(2) fails with EBADF
  EXPECT_EQ(errno, ENOSPC);
}

}  // namespace
}  // namespace os
