// Connections to backends that are kept, and what happens when they were closed meanwhile.
#include <gmock/gmock.h>

#include <atomic>
#include <future>

#include "tests/httpd/modules/proxy_fixture.h"

namespace httpd::modules {
namespace {

using support::Peer;
using testing::HasSubstr;

class ProxyRaces : public ProxyTest {
 protected:
  std::string Ask(net::Client& client, const std::string& line, const std::string& body = "") {
    client.Send(line + " HTTP/1.1\r\nHost: a\r\n" +
                (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") + "\r\n" + body);
    return client.Answer();
  }
};

TEST_F(ProxyRaces, OneConnectionServesManyRequests) {
  std::atomic<int> connections = 0;
  const auto serve = [&connections](Peer& peer) {
    ++connections;
    while (!peer.ReadHead().empty()) peer.Send(support::Response("ok"));
  };
  Backend({serve, serve});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  for (int i = 0; i < 3; ++i) {
    net::Client client(port());
    for (int k = 0; k < 3; ++k) EXPECT_TRUE(Ask(client, "GET /").ends_with("ok"));
  }
  EXPECT_EQ(connections, 1);
}

TEST_F(ProxyRaces, IdleConnectionThatTheBackendClosedIsNotUsed) {
  std::promise<void> closed;
  Backend({[&](Peer& peer) {
             peer.ReadHead();
             peer.Send(support::Response("one"));
             peer.Close();
             closed.set_value();
           },
           [](Peer& peer) {
             EXPECT_THAT(peer.ReadHead(), HasSubstr("POST"));
             peer.ReadBytes(3);
             peer.Send(support::Response("two"));
           }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  EXPECT_TRUE(Ask(client, "GET /").ends_with("one"));
  closed.get_future().wait();
  EXPECT_TRUE(Ask(client, "POST /", "abc").ends_with("two"));
}

TEST_F(ProxyRaces, RequestThatGotNothingOnAnOldConnectionIsSentAgain) {
  Backend({[](Peer& peer) {
             peer.ReadHead();
             peer.Send(support::Response("one"));
             peer.ReadHead();  // it has been read: nobody could have known
             peer.Close();
           },
           [](Peer& peer) {
             const std::string head = peer.ReadHead();
             peer.Send(support::Response(head.substr(0, 6)));
             peer.ReadHead();
             peer.ReadBytes(5);
             peer.Close();
           },
           [](Peer& peer) {
             peer.ReadHead();
             peer.Send(support::Response(peer.ReadBytes(5)));
           }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  EXPECT_TRUE(Ask(client, "GET /a").ends_with("one"));
  EXPECT_TRUE(Ask(client, "GET /b").ends_with("GET /b"));
  EXPECT_TRUE(Ask(client, "PUT /c", "12345").ends_with("12345"));
}

TEST_F(ProxyRaces, WhatMustNotBeDoneTwiceIsNot) {
  Backend({[](Peer& peer) {
    peer.ReadHead();
    peer.Send(support::Response("one"));
    peer.ReadHead();
    peer.ReadBytes(3);
    peer.Close();
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  EXPECT_TRUE(Ask(client, "GET /a").ends_with("one"));
  EXPECT_THAT(Ask(client, "POST /b", "abc"), HasSubstr(" 502 "));
}

TEST_F(ProxyRaces, ConnectionWithBytesTooManyIsNotUsedAgain) {
  Backend({[](Peer& peer) {
             peer.ReadHead();
             peer.Send(support::Response("one") + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
             peer.AwaitClose();
           },
           [](Peer& peer) {
             peer.ReadHead();
             peer.Send(support::Response("two"));
           }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  EXPECT_TRUE(Ask(client, "GET /").ends_with("one"));
  EXPECT_TRUE(Ask(client, "GET /").ends_with("two"));
}

TEST_F(ProxyRaces, DisableReuseAndTtlEndConnections) {
  const auto serve = [](Peer& peer) {
    const std::string head = peer.ReadHead();
    peer.Send(support::Response(head.find("Connection: close") != std::string::npos ? "close" : "keep"));
    peer.AwaitClose();
  };
  Backend({serve, serve});
  Serve("ProxyPass /off " + BackendUrl() + "/off disablereuse=On\nProxyPass /ttl " + BackendUrl() + "/ttl ttl=50ms\n");
  net::Client client(port());
  EXPECT_TRUE(Ask(client, "GET /off").ends_with("close"));
  EXPECT_TRUE(Ask(client, "GET /ttl").ends_with("keep"));
  backend_.reset();  // returns when the connection was closed
}

TEST_F(ProxyRaces, MostConnectionsAreObeyedAndOthersWaitOrAreRefused) {
  std::promise<void> asked, go;
  auto may_go = go.get_future().share();
  Backend({[&, may_go](Peer& peer) {
    peer.ReadHead();
    asked.set_value();
    may_go.wait();
    peer.Send(support::Response("one"));
    while (!peer.ReadHead().empty()) peer.Send(support::Response("more"));
  }});
  Serve("ProxyPass /a " + BackendUrl() + "/ max=1\n<Location /b>\nProxyPass " + BackendUrl() +
        "/\n</Location>\nProxyPass /c " + BackendUrl() + "/ acquire=100\n");
  net::Client first(port()), second(port());
  first.Send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
  asked.get_future().wait();
  EXPECT_THAT(Fetch("GET /c"), HasSubstr(" 503 "));
  second.Send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
  Do([](net::EventLoop&) {});
  go.set_value();
  EXPECT_TRUE(first.Answer().ends_with("one"));
  EXPECT_TRUE(second.Answer().empty() == false);
}

TEST_F(ProxyRaces, PipelinedRequestsAreAnsweredInOrder) {
  Backend({[](Peer& peer) {
    for (std::string head = peer.ReadHead(); !head.empty(); head = peer.ReadHead()) {
      peer.Send(support::Response(head.substr(0, head.find(" HTTP"))));
    }
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  std::string all;
  for (int i = 0; i < 5; ++i) all += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  client.Send(all);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(client.Answer().ends_with("GET /" + std::to_string(i)));
}

TEST_F(ProxyRaces, DrainLetsRequestsAndTunnelsFinish) {
  std::promise<void> asked, go;
  auto may_go = go.get_future().share();
  Backend({[&, may_go](Peer& peer) {
    peer.ReadHead();
    asked.set_value();
    may_go.wait();
    peer.Send(support::Response("late"));
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  client.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  asked.get_future().wait();
  Do([](net::EventLoop& loop) { loop.Drain({}); });
  go.set_value();
  const std::string answer = client.Answer();
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(answer.ends_with("late"));
}

TEST_F(ProxyRaces, AnotherMemberIsAskedWhenOneIsDead) {
  std::string dead;
  {
    support::ScriptedServer gone({}, [](Peer& peer) { peer.Close(); });
    dead = "http://" + gone.address().Text();
    gone.StopListening();
  }
  Backend({[](Peer& peer) {
    for (std::string head = peer.ReadHead(); !head.empty(); head = peer.ReadHead()) peer.Send(support::Response(head));
  }});
  Serve("ProxyPass /b balancer://Cluster/app\n<Proxy balancer://cluster>\nBalancerMember " + dead +
        " retry=60\nBalancerMember " + BackendUrl() + " route=r1\nProxySet stickysession=SID|sid\n</Proxy>\n");
  net::Client client(port());
  for (int i = 0; i < 4; ++i) {
    EXPECT_THAT(Ask(client, "GET /b/x?q"), HasSubstr("GET /app/x?q HTTP/1.1\r\nHost: " + backend_->address().Text()));
  }
  const std::string log = ErrorLog();
  EXPECT_THAT(log, HasSubstr("AH00959: ap_proxy_connect_backend disabling worker for (127.0.0.1:"));
  EXPECT_EQ(log.find("AH00957", log.find("AH00957") + 1), std::string::npos) << "asked again before its time";
}

}  // namespace
}  // namespace httpd::modules
