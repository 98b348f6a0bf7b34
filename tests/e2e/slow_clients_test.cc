// Clients that take their time: they are sent away in their time, others are answered all the while, and memory is
// bounded. tests/bench/slowclients is the long form.
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::Eventually;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

class SlowClients : public e2e::Server {
 protected:
  static constexpr int kEach = 100;

  std::vector<Connection> OpenMany(int count, const std::string& begin, int receive_buffer = 0) const {
    std::vector<Connection> out;
    for (int i = 0; i < count; ++i) {
      auto connection = Connection::Open(port_, receive_buffer);
      EXPECT_TRUE(connection && connection->Send(begin)) << "connection " << i;
      if (connection) out.push_back(std::move(*connection));
    }
    return out;
  }

  long ChildrenKilobytes() const {
    long sum = 0;
    for (const pid_t child : Children(Pid())) {
      const std::string status = e2e::FileText("/proc/" + std::to_string(child) + "/status");
      const size_t at = status.find("VmRSS:");
      if (at != std::string::npos) sum += std::atol(status.c_str() + at + 6);
    }
    return sum;
  }
};

TEST_F(SlowClients, AreSentAwayInTheirTimeWhileOthersAreAnswered) {
  Configure({.more = "StartServers 1\nMaxRequestWorkers 20\nTimeout 3\n"
                     "RequestReadTimeout header=1-2,MinRate=500 body=1,MinRate=500"});
  Start();
  ASSERT_TRUE(Get("/index.html"));
  const long before = ChildrenKilobytes();
  auto heads = OpenMany(kEach, "GET /index.html HTTP/1.1\r\nHost: localhost\r\n");
  auto bodies = OpenMany(kEach, "POST /index.html HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8192\r\n\r\n");
  auto readers = OpenMany(kEach, e2e::GetRequest("/big.bin?slow"), 4096);

  std::atomic<bool> stop = false;
  std::thread trickle([&] {
    while (!stop) {  // who was sent away cannot be sent to: that is no failure here
      for (Connection& head : heads) head.Send("X");
      for (Connection& body : bodies) body.Send("x");
      std::this_thread::sleep_for(milliseconds(100));
    }
  });
  const std::string log = (root_ / "logs" / "access.log").string();
  steady_clock::duration slowest{};
  const bool all_gone = Eventually([&] {
    const auto begin = steady_clock::now();
    const auto answer = Get("/index.html?other");
    EXPECT_TRUE(answer && answer->status == 200);
    slowest = std::max(slowest, steady_clock::now() - begin);
    const std::string lines = e2e::FileText(log);
    return e2e::CountOf(lines, "\" 408 ") == 2 * kEach && e2e::CountOf(lines, "/big.bin?slow") == kEach;
  });
  stop = true;
  trickle.join();
  EXPECT_TRUE(all_gone) << e2e::CountOf(e2e::FileText(log), "\" 408 ") << " were answered 408, "
                        << e2e::CountOf(e2e::FileText(log), "/big.bin?slow") << " readers were cut";
  EXPECT_LT(slowest, std::chrono::seconds(10));
  // Most of them sent a byte after the answer, and may see a reset; the answer itself is in the log.
  for (Connection& head : heads) EXPECT_TRUE(head.ReachesEnd());
  for (Connection& body : bodies) EXPECT_TRUE(body.ReachesEnd());
  for (Connection& reader : readers) EXPECT_LT(reader.ReadSome(20'000'000).size(), 20'000'000U);
  EXPECT_LT(ChildrenKilobytes() - before, 64L << 10) << "300 slow clients took too much memory";
}

TEST_F(SlowClients, OfAFullChildOnlyTheLongestIdleAreGivenUp) {
  // One event loop. 40 idle connections, and the one in the middle of a request began first of all.
  Configure({.more = "StartServers 1\nServerLimit 1\nThreadsPerChild 1\nMaxRequestWorkers 1\nWorkerConnections 41"});
  Start();
  auto busy = Connection::Open(port_);
  ASSERT_TRUE(busy && busy->Send("GET /index.html HTTP/1.1\r\nHost: local"));
  std::vector<Connection> idle;
  for (int i = 0; i < 40; ++i) {
    auto connection = Connection::Open(port_);
    ASSERT_TRUE(connection && connection->Send(e2e::GetRequest("/index.html")));
    ASSERT_TRUE(connection->Read()) << "connection " << i << ": " << connection->Why();
    idle.push_back(std::move(*connection));
    // What is idle since the same millisecond has no order.
    const auto now = steady_clock::now();
    Eventually([&] { return steady_clock::now() > now + milliseconds(2); });
  }
  auto fresh = Connection::Open(port_);
  ASSERT_TRUE(fresh && fresh->Send(e2e::GetRequest("/index.html")));
  ASSERT_TRUE(fresh->Read()) << fresh->Why();
  int closed = 0;
  while (closed < 40 && !idle[static_cast<size_t>(closed)].IsQuiet()) ++closed;
  EXPECT_GT(closed, 0);
  EXPECT_LT(closed, 40);
  for (size_t i = static_cast<size_t>(closed); i < idle.size(); ++i) {
    EXPECT_TRUE(idle[i].IsQuiet()) << "connection " << i << " went, though " << closed << " was idle longer";
  }
  ASSERT_TRUE(busy->Send("host\r\n\r\n"));
  const auto answer = busy->Read();
  ASSERT_TRUE(answer) << busy->Why();
  EXPECT_EQ(answer->status, 200);
}

}  // namespace
