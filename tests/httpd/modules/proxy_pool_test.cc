// Which connections to backends are kept, on a clock of the test's own.
#include "httpd/modules/proxy_pool.h"

#include <gtest/gtest.h>

#include <map>

#include "httpd/modules/proxy_exchange.h"

namespace httpd::modules::proxy {
namespace {

/// Time passes when the test says so; nothing is ever ready.
class StillReactor final : public net::Reactor {
 public:
  os::Result<std::unique_ptr<net::Watch>> WatchDescriptor(int, uint32_t, std::function<void(uint32_t)>) override {
    struct Nothing final : net::Watch {
      void Want(uint32_t) override {}
    };
    return std::unique_ptr<net::Watch>(std::make_unique<Nothing>());
  }
  std::unique_ptr<net::Timer> After(std::chrono::milliseconds delay, std::function<void()> due) override {
    using Place = std::multimap<uint64_t, std::function<void()>>::iterator;
    struct Entry final : net::Timer {
      Entry(StillReactor& owner, Place place) : of(owner), at(place) {}
      ~Entry() override { of.timers.erase(at); }
      StillReactor& of;
      Place at;
    };
    return std::make_unique<Entry>(*this, timers.emplace(now_ms + static_cast<uint64_t>(delay.count()), due));
  }
  void RunSoon(std::function<void()> work) override { work(); }
  void Keep(std::shared_ptr<void>) override {}
  void LetGo(const void*) override {}
  void WhenLeaving(std::function<void()> call) override { leaving = std::move(call); }
  std::shared_ptr<void>& Local(const void*) override { return local; }
  net::Waker WakerOf(const net::Request&) override { return {}; }
  uint64_t NowMs() const override { return now_ms; }

  void Pass(uint64_t ms) {
    const uint64_t end = now_ms + ms;
    while (!timers.empty() && timers.begin()->first <= end) {
      now_ms = timers.begin()->first;
      const auto due = timers.begin()->second;  // takes itself away
      due();
    }
    now_ms = end;
  }

  uint64_t now_ms = 1000;
  std::multimap<uint64_t, std::function<void()>> timers;
  std::shared_ptr<void> local;
  std::function<void()> leaving;
};

class ProxyPool : public testing::Test {
 protected:
  ProxyPool() {
    auto listener = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", 0).value(), 16);
    listener_ = std::move(listener).value();
    address_ = os::SocketAddress::OfSocket(listener_).value();
  }
  std::shared_ptr<Worker> Backend(const std::string& key, const std::string& value) {
    if (!worker_) worker_ = std::make_shared<Worker>();
    EXPECT_EQ(SetWorkerParameter(key, value, *worker_), std::nullopt);
    return worker_;
  }
  /// So many connections that are all in use.
  std::vector<std::unique_ptr<Link>> Open(int count) {
    std::vector<std::unique_ptr<Link>> out;
    bool is_connected = false;
    for (int i = 0; i < count; ++i) out.push_back(pool_.Connect(worker_, address_, 0, is_connected).value());
    return out;
  }
  /// Each a second after the one before.
  void Release(std::vector<std::unique_ptr<Link>> links) {
    for (auto& link : links) {
      pool_.Release(std::move(link), true);
      reactor_.Pass(1000);
    }
  }
  /// The descriptors of the idle ones, the youngest first; they are taken.
  std::vector<int> Idle() {
    std::vector<int> out;
    while (auto link = pool_.TakeIdle(*worker_)) {
      out.push_back(link->fd.get());
      taken_.push_back(std::move(link));
    }
    return out;
  }

  os::Fd listener_;
  os::SocketAddress address_;
  std::shared_ptr<Worker> worker_;
  StillReactor reactor_;
  Pool pool_{reactor_};
  std::vector<std::unique_ptr<Link>> taken_;
};

TEST_F(ProxyPool, IdleConnectionsAboveSmaxAreClosedAtOnceWithoutTtl) {
  Backend("smax", "2");
  auto links = Open(4);
  const std::vector<int> youngest = {links[3]->fd.get(), links[2]->fd.get()};
  Release(std::move(links));
  reactor_.Pass(3'600'000);
  EXPECT_EQ(Idle(), youngest);
}

TEST_F(ProxyPool, IdleConnectionsAboveSmaxStayUntilTheirTtlIsOver) {
  Backend("smax", "1");
  Backend("ttl", "10");
  auto links = Open(3);
  const std::vector<int> all = {links[2]->fd.get(), links[1]->fd.get(), links[0]->fd.get()};
  Release(std::move(links));  // the first has been idle for 3 s now
  reactor_.Pass(6500);
  EXPECT_EQ(Idle(), all);
}

TEST_F(ProxyPool, TtlEndsThemOneByOneDownToSmax) {
  Backend("smax", "1");
  Backend("ttl", "10");
  Backend("max", "3");
  Release(Open(3));
  EXPECT_FALSE(pool_.HasRoom(*worker_));
  reactor_.Pass(7500);  // 10.5 s of the first, 9.5 s of the second
  EXPECT_TRUE(pool_.HasRoom(*worker_));
  auto two = Open(1);
  EXPECT_FALSE(pool_.HasRoom(*worker_)) << "only one was closed";
  reactor_.Pass(1000);
  EXPECT_TRUE(pool_.HasRoom(*worker_));
  auto three = Open(1);
  reactor_.Pass(3'600'000);
  EXPECT_FALSE(pool_.HasRoom(*worker_)) << "smax= is kept ...";
  EXPECT_EQ(Idle(), std::vector<int>()) << "... but not used when it is older than ttl=";
  EXPECT_TRUE(pool_.HasRoom(*worker_));
}

TEST_F(ProxyPool, WithoutSmaxTtlEndsAllOfThem) {
  Backend("ttl", "10");
  Backend("max", "2");
  Release(Open(2));
  reactor_.Pass(8500);
  EXPECT_TRUE(pool_.HasRoom(*worker_));
  auto one = Open(1);
  EXPECT_FALSE(pool_.HasRoom(*worker_));
  reactor_.Pass(1000);
  EXPECT_TRUE(pool_.HasRoom(*worker_));
}

TEST_F(ProxyPool, WhoLeavesKeepsNothing) {
  Backend("max", "2");
  auto links = Open(2);
  pool_.Release(std::move(links[0]), true);
  EXPECT_FALSE(pool_.HasRoom(*worker_));
  reactor_.leaving();
  EXPECT_TRUE(pool_.HasRoom(*worker_)) << "the idle one";
  pool_.Release(std::move(links[1]), true);
  EXPECT_EQ(Idle(), std::vector<int>()) << "the one that was in use";
}

}  // namespace
}  // namespace httpd::modules::proxy
