#include "httpd/modules/proxy_balancer.h"

#include <gtest/gtest.h>

#include <map>

namespace httpd::modules::proxy {
namespace {

class ProxyBalancer : public testing::Test {
 protected:
  Worker& Add(const std::string& name, const std::vector<std::pair<std::string, std::string>>& parameters = {}) {
    auto worker = std::make_shared<Worker>();
    EXPECT_EQ(ParseBackend("http://" + name, *worker), std::nullopt);
    worker->shared = MakeWorkerShared();
    worker->is_member = true;
    for (const auto& [key, value] : parameters) EXPECT_EQ(SetWorkerParameter(key, value, *worker), std::nullopt);
    balancer_.members.push_back(worker);
    return *worker;
  }
  std::string Next(const Session& session = {}, const std::vector<const Worker*>& tried = {}, int64_t now = 1000) {
    const Choice choice = Choose(balancer_, session, tried, now);
    return choice.worker ? choice.worker->host : "";
  }
  Balancer balancer_;
};

TEST_F(ProxyBalancer, RequestsAreSharedByLoadFactor) {
  Add("a", {{"loadfactor", "3"}});
  Add("b");
  std::map<std::string, int> got;
  for (int i = 0; i < 40; ++i) ++got[Next()];
  EXPECT_EQ(got["a"], 30);
  EXPECT_EQ(got["b"], 10);
}

TEST_F(ProxyBalancer, BusynessAndTrafficCount) {
  Worker& a = Add("a");
  Worker& b = Add("b");
  balancer_.method = BalanceMethod::kBusyness;
  a.shared->busy = 2;
  b.shared->busy = 1;
  EXPECT_EQ(Next(), "b");
  balancer_.method = BalanceMethod::kTraffic;
  b.shared->read = 500;
  EXPECT_EQ(Next(), "a");
}

TEST_F(ProxyBalancer, MemberInErrorIsLeftOutUntilItsRetryTime) {
  Worker& a = Add("a", {{"retry", "10"}});
  Add("b");
  a.shared->failed_ms = 1000;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Next({}, {}, 5000), "b");
  std::map<std::string, int> got;
  for (int i = 0; i < 4; ++i) ++got[Next({}, {}, 11000)];
  EXPECT_EQ(got["a"], 2);
}

TEST_F(ProxyBalancer, WhenAllAreInErrorOneIsTriedUnlessForbidden) {
  Add("a").shared->failed_ms = 999;
  EXPECT_EQ(Next(), "a");
  EXPECT_EQ(Next({}, {balancer_.members[0].get()}), "");
  balancer_.force_recovery = false;
  EXPECT_EQ(Next(), "");
}

TEST_F(ProxyBalancer, StandbyAndDisabledMembersWaitForTheOthers) {
  Worker& a = Add("a");
  Add("standby", {{"status", "+H"}});
  Add("off", {{"status", "D"}});
  Add("second", {{"lbset", "1"}});
  EXPECT_EQ(Next(), "a");
  EXPECT_EQ(Next({}, {&a}), "standby");
  EXPECT_EQ(Next({}, {&a, balancer_.members[1].get()}), "second");
}

TEST_F(ProxyBalancer, SessionsStickToTheirRoutes) {
  Add("a", {{"route", "r1"}});
  Worker& b = Add("b", {{"route", "r2"}, {"redirect", "r1"}});
  EXPECT_EQ(SetBalancerParameter("stickysession", "SID|sid", balancer_), std::nullopt);
  const Session session = FindSession(balancer_, "/x", "other=1; SID=abc.r2; XSID=no.r1");
  EXPECT_EQ(session.id, "abc.r2");
  EXPECT_EQ(session.route, "r2");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Next(session), "b");
  EXPECT_EQ(FindSession(balancer_, "/x?a=1&sid=z.r1", "SID=abc.r2").route, "r1");
  b.shared->failed_ms = 999;
  Worker& c = Add("c", {{"loadfactor", "100"}});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Next(session), "a") << "whom it is redirected to";
  b.redirect.clear();
  EXPECT_EQ(Next(session), "c") << "whose turn it is";
  c.status = kDrained;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Next(session), "a") << "new sessions do not go to who is drained";
  balancer_.no_failover = true;
  EXPECT_EQ(Next(session), "");
}

}  // namespace
}  // namespace httpd::modules::proxy
