#include "httpd/net/proxied.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "tests/httpd/net/http2_client.h"
#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kHeader[] = "PROXY TCP4 192.0.2.7 10.0.0.1 1234 80\r\n";
constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

class FakeProxies final : public ProxyHeaderService {
 public:
  bool Expects(int, uint16_t, std::string_view peer) const override { return peer == "127.0.0.1"; }
  void Refused(int, uint16_t, std::string_view peer, uint16_t peer_port, std::string_view why) const override {
    const std::lock_guard lock(mutex_);
    refused_.push_back(std::string(peer) + (peer_port != 0 ? " " : " no port ") + std::string(why));
  }
  std::vector<std::string> Refusals() const {
    const std::lock_guard lock(mutex_);
    return refused_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::vector<std::string> refused_;
};

class Proxied : public testing::Test {
 protected:
  Proxied() {
    handler_.answer = [](const Request& request, Response& response) {
      response.body = std::string(request.client_address) + " " + std::to_string(request.client_port) + " by " +
                      std::string(request.peer_address()) + (request.peer ? "" : " itself") +
                      (request.peer_port() == 0 || request.peer_port() == request.client_port ? " from its port" : "");
    };
  }
  RunningLoop& Run() {
    loop_ = std::make_unique<RunningLoop>(handler_, [this](EventLoop::Setup& setup) { setup.proxied = &proxies_; });
    return *loop_;
  }
  static std::string Ask(Client& client) {
    return client.Send("GET /custom HTTP/1.1\r\nHost: h\r\n\r\n") ? client.Answer() : "";
  }

  FakeHandler handler_;
  FakeProxies proxies_;
  std::unique_ptr<RunningLoop> loop_;
};

TEST_F(Proxied, TheClientIsWhoTheHeaderTells) {
  Client client(Run().port());
  ASSERT_TRUE(client.Send(kHeader));
  EXPECT_THAT(Ask(client), EndsWith("192.0.2.7 1234 by 127.0.0.1"));
  EXPECT_THAT(Ask(client), EndsWith("192.0.2.7 1234 by 127.0.0.1")) << "for all of the connection's requests";
  EXPECT_EQ(handler_.Log().at(0).client, "192.0.2.7:1234");
}

TEST_F(Proxied, AHeaderMayComeInPiecesAndTogetherWithRequests) {
  Run();
  Client pieces(loop_->port());
  for (const char c : std::string(kHeader)) {
    ASSERT_TRUE(pieces.Send(std::string(1, c)));
    loop_->Do([](EventLoop&) {});  // a turn for each
  }
  EXPECT_THAT(Ask(pieces), EndsWith("192.0.2.7 1234 by 127.0.0.1"));
  Client together(loop_->port());
  ASSERT_TRUE(together.Send(std::string(kHeader) + kGet + kGet));
  EXPECT_THAT(together.Answer(), EndsWith("ok"));
  EXPECT_THAT(together.Answer(), EndsWith("ok"));
}

TEST_F(Proxied, UnknownLeavesTheAddress) {
  Client client(Run().port());
  ASSERT_TRUE(client.Send("PROXY UNKNOWN\r\n"));
  EXPECT_THAT(Ask(client), testing::ContainsRegex("127.0.0.1 [0-9]+ by 127.0.0.1 from its port$"));
}

TEST_F(Proxied, WithoutAHeaderTheConnectionIsClosedAndThatIsSaid) {
  Run();
  Client stranger(loop_->port());
  ASSERT_TRUE(stranger.Send(kGet));
  EXPECT_EQ(stranger.Answer(), "");
  Client half(loop_->port());
  ASSERT_TRUE(half.Send("PROXY TCP"));
  half.ShutDownWriting();
  EXPECT_TRUE(half.AtEnd());
  EXPECT_TRUE(loop_->Until([&] { return proxies_.Refusals().size() == 2; }));
  EXPECT_THAT(proxies_.Refusals(), ElementsAre(HasSubstr("127.0.0.1 RemoteIPProxyProtocol: the connection does not"),
                                               HasSubstr("ended in its PROXY header")));
  { Client silent(loop_->port()); }  // a port scan
  EXPECT_TRUE(loop_->Until([&] { return loop_->EverythingIsZero(); }));
  EXPECT_EQ(proxies_.Refusals().size(), 2U);
  EXPECT_THAT(handler_.Log(), IsEmpty());
}

TEST_F(Proxied, AHeaderHasTheTimeOfARequestsHead) {
  handler_.head_timeout.initial_ms = 150;
  Run();
  Client client(loop_->port());
  ASSERT_TRUE(client.Send("PROXY"));
  EXPECT_TRUE(client.AtEnd()) << "no answer either";
  EXPECT_TRUE(loop_->Until([&] { return !proxies_.Refusals().empty(); }));
  EXPECT_THAT(proxies_.Refusals(), ElementsAre(HasSubstr("no PROXY header came in time")));
  EXPECT_THAT(handler_.Log(), IsEmpty());
}

TEST_F(Proxied, Http2ComesBehindIt) {
  handler_.http2.over_plain = true;
  Http2Client client(Run().port());
  ASSERT_TRUE(client.Send(kHeader));
  const int32_t stream = client.Ask("/custom");
  ASSERT_TRUE(client.UntilComplete(stream));
  EXPECT_THAT(client.Of(stream).body, EndsWith("192.0.2.7 1234 by 127.0.0.1"));
}

TEST_F(Proxied, TheSuccessorKnowsTheClientToo) {
  Run();
  FakeHandler next_handler;
  next_handler.answer = handler_.answer;
  RunningLoop next(next_handler, [this](EventLoop::Setup& setup) { setup.proxied = &proxies_; });
  Client client(loop_->port());
  ASSERT_TRUE(client.Send(kHeader));
  EXPECT_THAT(Ask(client), EndsWith("192.0.2.7 1234 by 127.0.0.1"));
  Client waiting(loop_->port());
  ASSERT_TRUE(waiting.Send("PROXY TCP4 192.0.2.8"));
  EXPECT_TRUE(loop_->Until([&] { return loop_->counters().connections == 2; }));
  DrainPlan plan;
  plan.successor = next.intake_sender();
  loop_->Do([plan](EventLoop& loop) { loop.Drain(plan); });
  EXPECT_TRUE(next.Until([&] { return next.counters().adopted == 1; }));
  EXPECT_THAT(Ask(client), EndsWith("192.0.2.7 1234 by 127.0.0.1"));
  EXPECT_EQ(next_handler.Log().size(), 1U);
  EXPECT_EQ(loop_->counters().passed, 1U) << "who has not said whose it is stays";
  ASSERT_TRUE(waiting.Send(" 10.0.0.1 5 80\r\n"));
  EXPECT_THAT(Ask(waiting), EndsWith("192.0.2.8 5 by 127.0.0.1"));
  client.Close();
  waiting.Close();
  EXPECT_TRUE(loop_->Ended());
}

}  // namespace
}  // namespace httpd::net
