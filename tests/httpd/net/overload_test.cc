// Slow clients, and more clients than there is room for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

using testing::EndsWith;
using testing::StartsWith;

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

TEST(SlowClient, WhoDoesNotCompleteAHeadInItsTimeIsAnswered408) {
  FakeHandler handler;
  handler.head_timeout = {50, 0, 0};
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHo"));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 408 "));
  EXPECT_TRUE(client.AtEnd());
}

TEST(SlowClient, AByteNowAndThenDoesNotExtendTheTime) {
  FakeHandler handler;
  handler.head_timeout = {50, 0, 0};
  handler.limits.field_size = 50000;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nHost: h\r\n"));
  // Bytes without end: only the limit ends this.
  while (handler.Log().empty() && client.Send("X")) loop.Do([](EventLoop&) {});
  EXPECT_EQ(handler.Log().at(0).status, 408);
}

TEST(SlowClient, BytesAtTheMinimumRateExtendTheTimeUpToTheLimit) {
  FakeHandler handler;
  handler.body_timeout = {100, 0, 10};
  RunningLoop loop(handler);
  Client fast(loop.port());
  // 1000 bytes at 10 a second are 100 s more: this one is waited for.
  ASSERT_TRUE(fast.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n" + std::string(1000, 'x')));
  Client slow(loop.port());
  ASSERT_TRUE(slow.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"));
  slow.Answer();
  EXPECT_EQ(handler.Log().at(0).status, 408);
  ASSERT_TRUE(fast.Send("x"));
  EXPECT_THAT(fast.Answer(), EndsWith("ok"));
}

// Half of the next head had come while the answer was stuck. Its time ran from the connection's first head, so that who
// took longer than that for the answer got a 408 for what it had not had the time to send.
TEST(SlowClient, TheTimeForAHeadDoesNotRunWhileTheAnswerBeforeItIsTaken) {
  FakeHandler handler;
  handler.head_timeout = {300, 0, 0};
  RunningLoop loop(handler);
  Client client(loop.port(), 4096);
  ASSERT_TRUE(client.Send("GET /9000000 HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n"));
  loop.Until([&, begin = uint64_t{0}]() mutable {
    uint64_t now = 0;
    loop.Do([&](EventLoop& l) { now = l.NowMs(); });
    if (begin == 0) begin = now;
    return now > begin + 500;
  });
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 200 "));
  ASSERT_TRUE(client.Send("Host: h\r\n\r\n"));
  EXPECT_THAT(client.Answer(), EndsWith("ok"));
}

TEST(SlowClient, ANewConnectionThatSaysNothingIsClosedInTheTimeForAHead) {
  FakeHandler handler;
  handler.head_timeout = {50, 0, 0};
  RunningLoop loop(handler);
  Client client(loop.port());
  EXPECT_TRUE(client.AtEnd());
  EXPECT_TRUE(handler.Log().empty());
}

TEST(SlowClient, WhoWaitsForItsOwnUploadOrDownloadKeepsNobodyFromBeingServed) {
  FakeHandler handler;
  RunningLoop loop(handler, [](EventLoop::Setup& setup) { setup.max_busy = 1; });
  std::vector<std::unique_ptr<Client>> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(std::make_unique<Client>(loop.port()));
    ASSERT_TRUE(slow.back()->Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1"));
    slow.push_back(std::make_unique<Client>(loop.port(), 4096));
    ASSERT_TRUE(slow.back()->Send("GET /file/20000000 HTTP/1.1\r\nHost: h\r\n\r\n"));
  }
  EXPECT_TRUE(loop.Until([&] { return loop.counters().busy == 8; }));
  Client other(loop.port());
  ASSERT_TRUE(other.Send(kGet));
  EXPECT_THAT(other.Answer(), EndsWith("ok"));
}

TEST(Overload, LoopsShareTheConnectionsOfAListenerThoughOneWouldBeQuickEnough) {
  FakeHandler one;
  FakeHandler another;
  ListenSource shared;
  RunningLoop first(one, [&](EventLoop::Setup& setup) { shared = setup.listeners[0]; });
  RunningLoop second(another, [&](EventLoop::Setup& setup) { setup.listeners[0] = shared; });
  // Again and again: on a busy machine one of the threads may not run for a while.
  bool is_shared = false;
  uint32_t had_first = 0;
  uint32_t had_second = 0;
  for (int round = 0; round < 100 && !is_shared; ++round) {
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 16; ++i) {
      clients.push_back(std::make_unique<Client>(first.port()));
      ASSERT_TRUE(clients.back()->Send(kGet));
      ASSERT_THAT(clients.back()->Answer(), EndsWith("ok"));
    }
    had_first = static_cast<uint32_t>(first.counters().accepted);
    had_second = static_cast<uint32_t>(second.counters().accepted);
    is_shared = round >= 4 && std::min(had_first, had_second) * 4 >= had_first + had_second;
  }
  EXPECT_TRUE(is_shared) << had_first << " and " << had_second;
}

TEST(Overload, TheLongestIdleConnectionGoesWhenThereIsNoRoom) {
  FakeHandler handler;
  RunningLoop loop(handler, [](EventLoop::Setup& setup) { setup.max_held = 3; });
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 3; ++i) {
    idle.push_back(std::make_unique<Client>(loop.port()));
    ASSERT_TRUE(idle.back()->Send(kGet));
    ASSERT_THAT(idle.back()->Answer(), EndsWith("ok"));
    // The clock of a loop has milliseconds: the next one is idle later.
    const uint64_t before = loop.counters().accesses;
    loop.Until([&, turns = 0]() mutable { return ++turns > 20 || loop.counters().accesses > before; });
  }
  Client other(loop.port());
  ASSERT_TRUE(other.Send(kGet));
  EXPECT_THAT(other.Answer(), EndsWith("ok"));
  EXPECT_TRUE(idle[0]->AtEnd());
}

TEST(Overload, NobodyGoesBeforeSomebodyComes) {
  FakeHandler handler;
  RunningLoop loop(handler, [](EventLoop::Setup& setup) { setup.max_held = 3; });
  std::vector<std::unique_ptr<Client>> idle;
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < 3; ++i) {
      if (round == 0) idle.push_back(std::make_unique<Client>(loop.port()));
      ASSERT_TRUE(idle[i]->Send(kGet));
      ASSERT_THAT(idle[i]->Answer(), EndsWith("ok"));
    }
  }
}

TEST(Overload, WhoAskedAgainMeanwhileStays) {
  FakeHandler handler;
  RunningLoop loop(handler, [](EventLoop::Setup& setup) { setup.max_held = 19; });
  std::vector<std::unique_ptr<Client>> idle;
  auto ask = [](Client& client) { return client.Send(kGet) && client.Answer().ends_with("ok"); };
  for (int i = 0; i < 19; ++i) {
    idle.push_back(std::make_unique<Client>(loop.port()));
    ASSERT_TRUE(ask(*idle.back()));
  }
  loop.Until([&, before = uint64_t{0}]() mutable {  // not in the same tick of the deadlines
    uint64_t now = 0;
    loop.Do([&](EventLoop& l) { now = l.NowMs(); });
    if (before == 0) before = now;
    return now > before + 2 * DeadlineWheel::kTickMs;
  });
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(ask(*idle[i]));
  Client last(loop.port());  // sixteen go at a time
  ASSERT_TRUE(ask(last));
  for (size_t i = 3; i < idle.size(); ++i) EXPECT_TRUE(idle[i]->AtEnd()) << i;
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(ask(*idle[i])) << i;
}

TEST(Overload, WithoutIdleConnectionsNewOnesWaitInTheBacklog) {
  FakeHandler handler;
  RunningLoop loop(handler, [](EventLoop::Setup& setup) { setup.max_held = 2; });
  Client one(loop.port());
  Client two(loop.port());
  ASSERT_TRUE(one.Send("GET / HTTP/1.1\r\n"));
  ASSERT_TRUE(two.Send("GET / HTTP/1.1\r\n"));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().accepted == 2; }));
  Client waits(loop.port());
  ASSERT_TRUE(waits.Send(kGet));
  loop.Do([](EventLoop&) {});
  EXPECT_EQ(loop.counters().accepted, 2u);
  ASSERT_TRUE(one.Send("Host: h\r\nConnection: close\r\n\r\n"));
  EXPECT_THAT(one.Answer(), EndsWith("ok"));
  EXPECT_THAT(waits.Answer(), EndsWith("ok"));
}

}  // namespace
}  // namespace httpd::net
