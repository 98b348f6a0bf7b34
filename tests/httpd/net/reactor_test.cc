#include "httpd/net/reactor.h"

#include <gmock/gmock.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <atomic>

#include "os/socket.h"
#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

using std::chrono::milliseconds;

class ReactorOfALoop : public testing::Test {
 protected:
  void SetUp() override {
    auto pair = os::SocketPair(SOCK_STREAM, SOCK_NONBLOCK).value();
    ours_ = std::move(pair.first);
    theirs_ = std::move(pair.second);
  }
  void TearDown() override {
    loop_.Do([&](EventLoop&) {
      watches_.clear();
      timers_.clear();
    });
  }

  FakeHandler handler_;
  os::Fd ours_;
  os::Fd theirs_;
  std::vector<std::unique_ptr<Watch>> watches_;
  std::vector<std::unique_ptr<Timer>> timers_;
  RunningLoop loop_{handler_};
};

TEST_F(ReactorOfALoop, CallsForEventsThatAreWantedOnly) {
  std::atomic<int> calls = 0;
  loop_.Do([&](EventLoop& loop) {
    watches_.push_back(loop.WatchDescriptor(ours_.get(), EPOLLIN,
                                            [&](uint32_t events) {
                                              EXPECT_NE(events & EPOLLIN, 0u);
                                              ++calls;
                                              watches_[0]->Want(0);
                                            })
                           .value());
  });
  ASSERT_EQ(::write(theirs_.get(), "x", 1), 1);
  ASSERT_TRUE(loop_.Until([&] { return calls == 1; }));
  theirs_.Reset();  // a hang-up, which epoll reports to whoever is registered
  loop_.Do([](EventLoop&) {});
  loop_.Do([](EventLoop&) {});
  EXPECT_EQ(calls, 1);
  loop_.Do([&](EventLoop&) { watches_[0]->Want(EPOLLIN); });
  EXPECT_TRUE(loop_.Until([&] { return calls == 2; }));
}

TEST_F(ReactorOfALoop, WatchMayEndInItsOwnCall) {
  std::atomic<int> calls = 0;
  loop_.Do([&](EventLoop& loop) {
    watches_.push_back(loop.WatchDescriptor(ours_.get(), EPOLLIN,
                                            [this, &calls](uint32_t) {
                                              watches_.clear();
                                              ++calls;
                                            })
                           .value());
  });
  ASSERT_EQ(::write(theirs_.get(), "x", 1), 1);
  ASSERT_TRUE(loop_.Until([&] { return calls == 1; }));
  loop_.Do([](EventLoop&) {});
  EXPECT_EQ(calls, 1);
}

TEST_F(ReactorOfALoop, WatchThatEndedInAnothersCallIsNotCalledInTheSameTurn) {
  auto second = os::SocketPair(SOCK_STREAM, SOCK_NONBLOCK).value();
  std::atomic<int> calls = 0;
  loop_.Do([&](EventLoop& loop) {
    for (const int fd : {ours_.get(), second.first.get()}) {
      watches_.push_back(loop.WatchDescriptor(fd, EPOLLIN,
                                              [this, &calls](uint32_t) {
                                                watches_.clear();
                                                ++calls;
                                              })
                             .value());
    }
    // Both are readable before the next turn looks.
    EXPECT_EQ(::write(theirs_.get(), "x", 1), 1);
    EXPECT_EQ(::write(second.second.get(), "x", 1), 1);
  });
  ASSERT_TRUE(loop_.Until([&] { return calls > 0; }));
  loop_.Do([](EventLoop&) {});
  EXPECT_EQ(calls, 1);
}

TEST_F(ReactorOfALoop, FileCannotBeWatched) {
  loop_.Do([&](EventLoop& loop) {
    const os::Fd file = handler_.OpenFile(1);
    auto watch = loop.WatchDescriptor(file.get(), EPOLLIN, [](uint32_t) {});
    ASSERT_FALSE(watch);
    EXPECT_EQ(watch.error().kind, os::ErrorKind::kInvalid);
  });
}

TEST_F(ReactorOfALoop, TimersAreCalledOnceInTheirOrderAndNotEarly) {
  std::vector<int> order;
  std::atomic<size_t> calls = 0;
  const auto begin = std::chrono::steady_clock::now();
  loop_.Do([&](EventLoop& loop) {
    for (const int delay : {30, 10, 20}) {
      timers_.push_back(loop.After(milliseconds(delay), [&order, &calls, delay, begin] {
        EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(delay));
        order.push_back(delay);
        ++calls;
      }));
    }
  });
  ASSERT_TRUE(loop_.Until([&] { return calls == 3; }));
  loop_.Do([](EventLoop&) {});
  EXPECT_THAT(order, testing::ElementsAre(10, 20, 30));
}

TEST_F(ReactorOfALoop, TimerThatWasDestroyedIsNotCalled) {
  std::atomic<bool> late = false;
  std::atomic<bool> other = false;
  loop_.Do([&](EventLoop& loop) {
    timers_.push_back(loop.After(milliseconds(5), [&] { timers_.clear(); }));  // itself, too
    timers_.push_back(loop.After(milliseconds(10), [&] { other = true; }));
  });
  ASSERT_TRUE(loop_.Until([&] {
    bool empty = false;
    loop_.Do([&](EventLoop&) { empty = timers_.empty(); });
    return empty;
  }));
  loop_.Do([&](EventLoop& loop) { timers_.push_back(loop.After(milliseconds(20), [&] { late = true; })); });
  ASSERT_TRUE(loop_.Until([&] { return late.load(); }));
  EXPECT_FALSE(other);
}

TEST_F(ReactorOfALoop, WorkForSoonRunsAfterTheCallThatAskedAndMayAskForMore) {
  std::vector<std::string> order;
  std::atomic<bool> done = false;
  loop_.Do([&](EventLoop& loop) {
    loop.RunSoon([&] {
      order.push_back("first");
      loop.RunSoon([&] {
        order.push_back("second");
        done = true;
      });
    });
    order.push_back("asked");
  });
  ASSERT_TRUE(loop_.Until([&] { return done.load(); }));
  EXPECT_THAT(order, testing::ElementsAre("asked", "first", "second"));
}

}  // namespace
}  // namespace httpd::net
