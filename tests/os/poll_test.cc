#include "os/poll.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "os/socket.h"
#include "tests/os/process_support.h"
#include "tests/support/fake_clock.h"

namespace os {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PollLoopTest : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = tests::OpenDescriptors();
    auto loop = PollLoop::Open(clock_);
    ASSERT_TRUE(loop);
    loop_ = std::move(loop).value();
  }
  void TearDown() override {
    loop_.reset();
    pairs_.clear();
    EXPECT_EQ(tests::OpenDescriptors(), before_) << "a descriptor leaked";
  }
  /// A descriptor with one byte to read.
  Fd& ReadableFd() {
    auto pair = SocketPair(SOCK_STREAM, SOCK_NONBLOCK);
    EXPECT_TRUE(pair);
    EXPECT_EQ(::write(pair.value().second.get(), "x", 1), 1);
    pairs_.push_back(std::make_unique<std::pair<Fd, Fd>>(std::move(pair).value()));
    return pairs_.back()->first;
  }

  std::map<int, std::string> before_;
  tests::FakeClock clock_;
  std::vector<std::unique_ptr<std::pair<Fd, Fd>>> pairs_;
  std::unique_ptr<PollLoop> loop_;
  std::vector<std::string> log_;
};

TEST_F(PollLoopTest, CallsAgainWhileTheDescriptorStaysReady) {
  Fd& fd = ReadableFd();
  uint32_t seen = 0;
  ASSERT_TRUE(loop_->Watch(fd, EPOLLIN, [&](uint32_t events) {
    seen |= events;
    log_.push_back("ready");
  }));
  loop_->Turn(0ms);
  loop_->Turn(0ms);
  EXPECT_THAT(log_, ElementsAre("ready", "ready"));
  EXPECT_EQ(seen, static_cast<uint32_t>(EPOLLIN));
  char byte;
  ASSERT_EQ(::read(fd.get(), &byte, 1), 1);
  loop_->Turn(0ms);
  EXPECT_EQ(log_.size(), 2U);
}

TEST_F(PollLoopTest, WatchingAgainReplacesEventsAndCallback) {
  Fd& fd = ReadableFd();
  ASSERT_TRUE(loop_->Watch(fd, EPOLLIN, [&](uint32_t) { log_.push_back("old"); }));
  ASSERT_TRUE(loop_->Watch(fd, EPOLLOUT, [&](uint32_t) { log_.push_back("new"); }));
  loop_->Turn(0ms);
  EXPECT_THAT(log_, ElementsAre("new"));
}

TEST_F(PollLoopTest, UnwatchInsideItsOwnCallbackIsSafe) {
  Fd& fd = ReadableFd();
  ASSERT_TRUE(loop_->Watch(fd, EPOLLIN, [&, marker = std::string(100, 'm')](uint32_t) {
    loop_->Unwatch(fd);
    log_.push_back(marker);  // what the callback captured is still alive
  }));
  loop_->Turn(0ms);
  loop_->Turn(0ms);
  EXPECT_THAT(log_, ElementsAre(std::string(100, 'm')));
}

TEST_F(PollLoopTest, UnwatchOfAnotherReadyDescriptorSilencesItInTheSameTurn) {
  Fd& one = ReadableFd();
  Fd& two = ReadableFd();
  ASSERT_TRUE(loop_->Watch(one, EPOLLIN, [&](uint32_t) {
    log_.push_back("called");
    loop_->Unwatch(two);
    loop_->Unwatch(one);
  }));
  ASSERT_TRUE(loop_->Watch(two, EPOLLIN, [&](uint32_t) {
    log_.push_back("called");
    loop_->Unwatch(two);
    loop_->Unwatch(one);
  }));
  loop_->Turn(0ms);
  EXPECT_THAT(log_, ElementsAre("called")) << "whichever comes first silences the other";
}

// Two descriptors are ready in one turn; the first callback closes the second and opens a new one that gets its number.
// The event that was already fetched belongs to the old one: handing it to the newcomer would be a false alarm.
TEST_F(PollLoopTest, AReusedNumberDoesNotGetTheEventOfItsPredecessor) {
  Fd* fds[2] = {&ReadableFd(), &ReadableFd()};
  Fd quiet_peer;
  for (int i = 0; i < 2; ++i) {
    Fd& other = *fds[1 - i];
    Fd& mine = *fds[i];
    ASSERT_TRUE(loop_->Watch(mine, EPOLLIN, [&](uint32_t) {
      log_.push_back("first");
      loop_->Unwatch(mine);
      const int number = other.get();
      loop_->Unwatch(other);
      other.Reset();
      auto fresh = SocketPair(SOCK_STREAM);
      ASSERT_TRUE(fresh);
      quiet_peer = std::move(fresh.value().second);
      other = std::move(fresh.value().first);
      ASSERT_EQ(other.get(), number) << "the kernel hands out the lowest free number";
      ASSERT_TRUE(loop_->Watch(other, EPOLLIN, [&](uint32_t) { log_.push_back("false alarm"); }));
    }));
  }
  loop_->Turn(0ms);
  EXPECT_THAT(log_, ElementsAre("first"));
  quiet_peer.Reset();
  loop_->Turn(0ms);
  EXPECT_THAT(log_, ElementsAre("first", "false alarm")) << "now it is ready itself: the peer has closed";
}

TEST_F(PollLoopTest, UnwatchOfAStrangerIsNoError) {
  Fd& fd = ReadableFd();
  loop_->Unwatch(fd);
  loop_->Unwatch(Fd());
}

TEST_F(PollLoopTest, WatchOfAClosedDescriptorFails) {
  const Fd none(999'999);
  auto watched = loop_->Watch(none, EPOLLIN, [](uint32_t) {});
  ASSERT_FALSE(watched);
  EXPECT_EQ(watched.error().sys, EBADF);
}

TEST_F(PollLoopTest, TimersRunInOrderOfTimeAndOnce) {
  const auto start = clock_.steady;
  loop_->At(start + 20ms, [&] { log_.push_back("20"); });
  loop_->At(start + 10ms, [&] { log_.push_back("10"); });
  loop_->At(start + 10ms, [&] { log_.push_back("10 too"); });
  loop_->Turn(0ms);
  EXPECT_THAT(log_, IsEmpty());
  clock_.Advance(10ms);
  loop_->Turn(0ms);
  EXPECT_THAT(log_, ElementsAre("10", "10 too"));
  clock_.Advance(1h);
  loop_->Turn(0ms);
  loop_->Turn(0ms);
  EXPECT_THAT(log_, ElementsAre("10", "10 too", "20"));
}

TEST_F(PollLoopTest, CancelledTimerDoesNotRunEvenWhenCancelledByAnotherOfTheSameTurn) {
  const auto now = clock_.steady;
  PollLoop::TimerId later = 0;
  loop_->At(now, [&] {
    log_.push_back("first");
    loop_->Cancel(later);
  });
  later = loop_->At(now, [&] { log_.push_back("cancelled"); });
  const auto gone = loop_->At(now, [&] { log_.push_back("gone"); });
  EXPECT_NE(gone, 0U);
  loop_->Cancel(gone);
  loop_->Cancel(gone);
  loop_->Cancel(12345);
  loop_->Turn(0ms);
  EXPECT_THAT(log_, ElementsAre("first"));
}

// A timer that sets itself anew for "now" must not keep the turn from ending: descriptors would starve.
TEST_F(PollLoopTest, ATimerSetForNowInsideATimerRunsInTheNextTurn) {
  std::function<void()> again = [&] {
    log_.push_back("tick");
    if (log_.size() > 50) FAIL() << "the turn does not end";
    loop_->At(clock_.SteadyNow(), again);
  };
  again();
  log_.clear();
  loop_->Turn(0ms);
  EXPECT_EQ(log_.size(), 1U);
  loop_->Turn(0ms);
  EXPECT_EQ(log_.size(), 2U);
}

TEST_F(PollLoopTest, ADescriptorCallbackMayAddATimerThatIsDueAtOnce) {
  Fd& fd = ReadableFd();
  ASSERT_TRUE(loop_->Watch(fd, EPOLLIN, [&](uint32_t) {
    loop_->Unwatch(fd);
    loop_->At(clock_.SteadyNow(), [&] { log_.push_back("timer"); });
  }));
  loop_->Turn(0ms);
  loop_->Turn(0ms);
  EXPECT_THAT(log_, ElementsAre("timer"));
}

TEST_F(PollLoopTest, RunEndsWhenACallbackStopsIt) {
  loop_->At(clock_.steady, [&] {
    log_.push_back("stop");
    loop_->Stop();
  });
  loop_->Run();
  EXPECT_THAT(log_, ElementsAre("stop"));
}

TEST(PollLoopWithTheRealClock, WaitsForATimerAndNoLonger) {
  const SystemClock clock;
  auto loop = PollLoop::Open(clock);
  ASSERT_TRUE(loop);
  const auto due = clock.SteadyNow() + 5ms;
  loop.value()->At(due, [&] { loop.value()->Stop(); });
  loop.value()->Run();
  EXPECT_GE(clock.SteadyNow(), due);
}

}  // namespace
}  // namespace os
