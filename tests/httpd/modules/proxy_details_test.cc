// What a proxy does at its edges: each of these was broken on purpose once.
#include <gmock/gmock.h>

#include <future>

#include "httpd/modules/proxy_settings.h"
#include "tests/httpd/modules/proxy_fixture.h"

namespace httpd::modules {
namespace {

using support::Peer;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ProxyDetails : public ProxyTest {
 protected:
  ~ProxyDetails() override { StopServing(); }

  /// One answer to each request, whatever it is, on as many connections as there are answers.
  void Answering(const std::vector<std::string>& answers) {
    std::vector<Script> scripts;
    for (const std::string& answer : answers) {
      scripts.push_back([answer, this](Peer& peer) {
        for (std::string head = peer.ReadHead(); !head.empty(); head = peer.ReadHead()) {
          seen_.push_back(head);
          peer.Send(answer);
        }
      });
    }
    Backend(std::move(scripts));
  }
  std::string Ask(net::Client& client, const std::string& line, const std::string& body = "") {
    client.Send(line + " HTTP/1.1\r\nHost: a\r\n" +
                (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") + "\r\n" + body);
    return client.Answer();
  }
  const proxy::HostSettings& Settings() const { return *config_.main.settings.modules.Find<proxy::HostSettings>(); }
};

TEST_F(ProxyDetails, ViaCanBeTakenAway) {
  Answering({"HTTP/1.1 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 0\r\n\r\n"});
  Serve("ProxyVia Block\nProxyPass / " + BackendUrl() + "/\n");
  EXPECT_THAT(Fetch("GET /"), Not(HasSubstr("Via")));
}

TEST_F(ProxyDetails, ProxyCredentialsOfWhomWeKnowStayHere) {
  Answering({support::Response("ok")});
  Write("users", "u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n");
  Serve("ProxyPass / " + BackendUrl() +
        "/\n<Location /in>\nAuthType Basic\nAuthName x\nAuthBasicProvider file\nAuthUserFile " + root() +
        "/users\nRequire valid-user\n</Location>\n");
  Fetch("GET /in", "Authorization: Basic dTpw\r\nProxy-Authorization: Basic eA==\r\n");
  Fetch("GET /out", "Proxy-Authorization: Basic eA==\r\n");
  ASSERT_EQ(seen_.size(), 2U);
  EXPECT_THAT(seen_[0], Not(HasSubstr("Proxy-Authorization")));
  EXPECT_THAT(seen_[1], HasSubstr("Proxy-Authorization"));
}

TEST_F(ProxyDetails, OurErrorPageKeepsWhatItsStatusNeeds) {
  Answering({"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"b\"\r\nX-Other: 1\r\nContent-Length: 2\r\n\r\nno"});
  Serve("ProxyErrorOverride On\nProxyPass / " + BackendUrl() + "/\n");
  const std::string answer = Fetch("GET /");
  EXPECT_THAT(answer, HasSubstr("WWW-Authenticate: Basic realm=\"b\"\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("X-Other")));
}

TEST_F(ProxyDetails, RefreshIsOursToo) {
  Answering({"HTTP/1.1 200 OK\r\nRefresh: 5; url=http://inner/a/x\r\nContent-Length: 0\r\n\r\n"});
  Serve("ProxyPassReverse /a http://inner/a\nProxyPass / " + BackendUrl() + "/\n");
  EXPECT_THAT(Fetch("GET /"), HasSubstr("Refresh: 5; url=http://site.example/a/x\r\n"));
}

TEST_F(ProxyDetails, BackendThatSaysCloseGetsNothingMoreThere) {
  Answering({"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\none", support::Response("two")});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  EXPECT_TRUE(Fetch("GET /").ends_with("one"));
  EXPECT_TRUE(Fetch("GET /").ends_with("two"));
}

TEST_F(ProxyDetails, LongFieldsAreTakenWhereTheyAreAllowed) {
  Answering({"HTTP/1.1 200 OK\r\nX: " + std::string(9000, 'x') + "\r\nContent-Length: 0\r\n\r\n"});
  Serve("ProxyPass / " + BackendUrl() + "/ responsefieldsize=10000\n");
  EXPECT_THAT(Fetch("GET /"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ProxyDetails, StatusOfABackendCanPutItInError) {
  support::ScriptedServer ill({[](Peer& peer) {
                                while (!peer.ReadHead().empty()) peer.Send(support::Response("ill", "", 500));
                              }},
                              [](Peer& peer) { peer.Close(); });
  Answering({support::Response("well")});
  Serve("ProxyPass / balancer://b/\n<Proxy balancer://b>\nProxySet failonstatus=500,502\nBalancerMember http://" +
        ill.address().Text() + "\nBalancerMember " + BackendUrl() + " status=+H\n</Proxy>\n");
  EXPECT_TRUE(Fetch("GET /").ends_with("ill"));
  EXPECT_TRUE(Fetch("GET /").ends_with("well"));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01174: balancer://b: Forcing worker"));
  StopServing();  // `ill` ends with its connection
}

TEST_F(ProxyDetails, SilenceCanPutAMemberInError) {
  support::ScriptedServer silent({[](Peer& peer) { peer.AwaitClose(); }}, [](Peer& peer) { peer.Close(); });
  Answering({support::Response("well")});
  Serve("ProxyPass / balancer://b/\n<Proxy balancer://b>\nProxySet failontimeout=On\nBalancerMember http://" +
        silent.address().Text() + " timeout=50ms\nBalancerMember " + BackendUrl() + " status=+H\n</Proxy>\n");
  EXPECT_THAT(Fetch("GET /"), StartsWith("HTTP/1.1 502 "));
  EXPECT_TRUE(Fetch("GET /").ends_with("well"));
}

TEST_F(ProxyDetails, AttemptsEndWhereTheyAreSaidTo) {
  support::ScriptedServer gone({}, [](Peer& peer) { peer.Close(); });
  gone.StopListening();
  Answering({support::Response("well")});
  const auto members = [&](const std::string& set) {
    return "ProxyPass / balancer://b/\n<Proxy balancer://b>\n" + set + "BalancerMember http://" +
           gone.address().Text() + " status=+I\nBalancerMember " + BackendUrl() + " status=+H\n</Proxy>\n";
  };
  Serve(members("ProxySet maxattempts=0\n"));
  EXPECT_THAT(Fetch("GET /"), StartsWith("HTTP/1.1 503 "));
  Serve(members(""));
  EXPECT_TRUE(Fetch("GET /").ends_with("well"));
  EXPECT_THAT(ErrorLog(), Not(HasSubstr("AH00959"))) << "+I: its errors are not held against it";
}

TEST_F(ProxyDetails, MembersAreBusyAsLongAsTheirRequests) {
  Answering({support::Response("one"), support::Response("two")});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  EXPECT_TRUE(Fetch("GET /").ends_with("one"));
  EXPECT_TRUE(Fetch("HEAD /").find("200") != std::string::npos);
  StopServing();
  ASSERT_EQ(Settings().workers.size(), 1U);
  EXPECT_EQ(Settings().workers[0]->shared->busy, 0);
  EXPECT_GT(Settings().workers[0]->shared->transferred, 0);
}

TEST_F(ProxyDetails, WhatABackendHasSentIsCountedToItsEnd) {
  const std::string body(200'000, 'b');
  Answering({support::Response(body)});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  EXPECT_TRUE(Fetch("GET /").ends_with(body));
  StopServing();
  EXPECT_GT(Settings().workers[0]->shared->read, 200'000);
}

TEST_F(ProxyDetails, LargeBodyIsNotSentTwice) {
  const std::string body(200'000, 'b');
  Backend({[&](Peer& peer) {
             peer.ReadHead();
             peer.Send(support::Response("one"));
             peer.ReadHead();
             peer.ReadBytes(body.size());
             peer.Close();
           },
           [](Peer& peer) {
             peer.ReadHead();
             peer.Send(support::Response("again"));
           }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  EXPECT_TRUE(Ask(client, "GET /").ends_with("one"));
  EXPECT_THAT(Ask(client, "PUT /", body), StartsWith("HTTP/1.1 502 "));
}

TEST_F(ProxyDetails, AnswerThatHasBegunIsNotAskedForAgain) {
  Backend({[](Peer& peer) {
             peer.ReadHead();
             peer.Send(support::Response("one"));
             peer.ReadHead();
             peer.Send("HTTP/1.1 200 OK\r\nContent-");
             peer.Close();
           },
           [](Peer& peer) {
             peer.ReadHead();
             peer.Send(support::Response("again"));
           }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  EXPECT_TRUE(Ask(client, "GET /").ends_with("one"));
  EXPECT_THAT(Ask(client, "GET /"), StartsWith("HTTP/1.1 502 "));
}

TEST_F(ProxyDetails, TunnelIsClosedInOneDirectionToo) {
  Backend({[](Peer& peer) {
    peer.ReadHead();
    peer.Send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
    std::string all;
    for (std::string byte = peer.ReadBytes(1); !byte.empty(); byte = peer.ReadBytes(1)) all += byte;
    peer.Send("got " + all);
  }});
  Serve("ProxyPass / " + BackendUrl() + "/ upgrade=websocket\n");
  net::Client client(port());
  client.Send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nabc");
  client.ShutDownWriting();
  EXPECT_TRUE(client.Read(1U << 16).ends_with("\r\n\r\ngot abc"));
}

TEST_F(ProxyDetails, EncodingIsKeptOnlyWhereThePathBeginsAsItWasSent) {
  Answering({support::Response("ok")});
  Serve("ProxyPass /app " + BackendUrl() + "/in nocanon noquery\n");
  Fetch("GET /app/a%2Db%7e");
  Fetch("GET /%61pp/a%2Db%7e");
  ASSERT_EQ(seen_.size(), 2U);
  EXPECT_THAT(seen_[0], StartsWith("GET /in/a%2Db%7e HTTP/1.1\r\n"));
  EXPECT_THAT(seen_[1], StartsWith("GET /in/a-b~ HTTP/1.1\r\n"));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01136"));
}

TEST_F(ProxyDetails, QueryCanBeLeftOut) {
  Answering({support::Response("ok")});
  Serve("ProxyPass /a " + BackendUrl() + "/ noquery\nProxyPass /b " + BackendUrl() + "/\n");
  Fetch("GET /a?q=1");
  Fetch("GET /b?q=1");
  ASSERT_EQ(seen_.size(), 2U);
  EXPECT_THAT(seen_[0], Not(HasSubstr("q=1")));
  EXPECT_THAT(seen_[1], HasSubstr("?q=1 HTTP/1.1"));
}

TEST_F(ProxyDetails, DisabledBackendIs503) {
  Answering({support::Response("ok")});
  Serve("ProxyPass / " + BackendUrl() + "/ status=+D\n");
  EXPECT_THAT(Fetch("GET /"), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00940: http: disabled connection for (127.0.0.1:"));
}

}  // namespace
}  // namespace httpd::modules
