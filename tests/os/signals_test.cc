#include "os/signals.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "tests/os/process_support.h"

namespace os {
namespace {

/// Signal state belongs to a process: every test body runs in a child; 0 = all its checks held, otherwise the line.
int InChild(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}
// The line modulo 251, so that it fits an exit status and is not 0.
#define CHECK_IN_CHILD(condition) \
  if (!(condition)) return __LINE__ % 250 + 1

bool Readable(const Fd& fd) {
  pollfd entry{fd.get(), POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

TEST(SignalFd, DeliversASignalWithItsSenderAndThenNothing) {
  EXPECT_EQ(InChild([] {
              auto signals = SignalFd::Open({SIGTERM, SIGHUP});
              CHECK_IN_CHILD(signals);
              CHECK_IN_CHILD(!signals.value().Read());
              CHECK_IN_CHILD(!Readable(signals.value().fd()));
              ::kill(::getpid(), SIGTERM);
              CHECK_IN_CHILD(Readable(signals.value().fd()));
              const auto got = signals.value().Read();
              CHECK_IN_CHILD(got && got->number == SIGTERM && got->sender == ::getpid());
              CHECK_IN_CHILD(!signals.value().Read());
              return 0;
            }),
            0);
}

TEST(SignalFd, SeesASignalThatOurParentHadIgnored) {  // nohup and some init scripts start us so
  EXPECT_EQ(InChild([] {
              IgnoreSignal(SIGHUP);
              auto signals = SignalFd::Open({SIGHUP});
              CHECK_IN_CHILD(signals);
              ::kill(::getpid(), SIGHUP);
              const auto got = signals.value().Read();
              CHECK_IN_CHILD(got && got->number == SIGHUP);
              return 0;
            }),
            0);
}

TEST(SignalFd, SeesAWindowSizeChangeWhoseDefaultIsToBeIgnored) {
  EXPECT_EQ(InChild([] {
              auto signals = SignalFd::Open({SIGWINCH});
              CHECK_IN_CHILD(signals);
              ::kill(::getpid(), SIGWINCH);
              const auto got = signals.value().Read();
              CHECK_IN_CHILD(got && got->number == SIGWINCH);
              return 0;
            }),
            0);
}

TEST(SignalFd, NamesTheChildThatSentItsEnd) {
  EXPECT_EQ(InChild([] {
              auto signals = SignalFd::Open({SIGCHLD});
              CHECK_IN_CHILD(signals);
              const pid_t pid = ::fork();
              if (pid == 0) ::_exit(0);
              pollfd entry{signals.value().fd().get(), POLLIN, 0};
              CHECK_IN_CHILD(::poll(&entry, 1, 20'000) == 1);
              const auto got = signals.value().Read();
              CHECK_IN_CHILD(got && got->number == SIGCHLD && got->sender == pid);
              ::waitpid(pid, nullptr, 0);
              return 0;
            }),
            0);
}

// Who inherits SIGCHLD as ignored has its children reaped by the kernel, and their exit status is lost.
TEST(SignalFd, ChildrenCanBeReapedThoughOurParentHadIgnoredTheirEnd) {
  EXPECT_EQ(InChild([] {
              IgnoreSignal(SIGCHLD);
              auto signals = SignalFd::Open({SIGCHLD});
              CHECK_IN_CHILD(signals);
              const pid_t pid = ::fork();
              if (pid == 0) ::_exit(7);
              int status = 0;
              CHECK_IN_CHILD(::waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7);
              return 0;
            }),
            0);
}

TEST(SignalFd, StaysBlockedAfterItsDestruction) {
  EXPECT_EQ(InChild([] {
              const auto before = tests::OpenDescriptors();
              { CHECK_IN_CHILD(SignalFd::Open({SIGTERM})); }
              CHECK_IN_CHILD(tests::OpenDescriptors() == before);
              ::kill(::getpid(), SIGTERM);  // would end us
              return 0;
            }),
            0);
}

TEST(IgnoreSignal, WritingToAClosedPipeIsAnErrorInsteadOfTheEnd) {
  EXPECT_EQ(InChild([] {
              IgnoreSignal(SIGPIPE);
              int ends[2];
              CHECK_IN_CHILD(::pipe(ends) == 0);
              ::close(ends[0]);
              CHECK_IN_CHILD(::write(ends[1], "x", 1) == -1 && errno == EPIPE);
              return 0;
            }),
            0);
}

TEST(ResetSignals, BlockedPendingSignalTakesItsDefaultAction) {
  EXPECT_EQ(InChild([] {
              auto signals = SignalFd::Open({SIGTERM});
              CHECK_IN_CHILD(signals);
              ::kill(::getpid(), SIGTERM);
              ResetSignals();
              return 1;
            }),
            1000 + SIGTERM);
}

TEST(ResetSignals, IgnoredSignalsAreDefaultAgain) {
  EXPECT_EQ(InChild([] {
              IgnoreSignal(SIGUSR1);
              ResetSignals();
              ::raise(SIGUSR1);
              return 1;
            }),
            1000 + SIGUSR1);
}

}  // namespace
}  // namespace os
