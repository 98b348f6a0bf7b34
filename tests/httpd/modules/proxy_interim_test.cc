// 1xx answers of backends, and bodies that wait for 100 Continue.
#include <gmock/gmock.h>

#include <future>

#include "tests/httpd/modules/proxy_fixture.h"

namespace httpd::modules {
namespace {

using support::Peer;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kContinue[] = "HTTP/1.1 100 Continue\r\n\r\n";

class ProxyInterim : public ProxyTest {
 protected:
  ~ProxyInterim() override { StopServing(); }

  static std::string ReadUntil(net::Client& client, const std::string& end) {
    std::string out;
    while (!out.ends_with(end)) {
      const std::string byte = client.Read(1);
      if (byte.empty()) break;
      out += byte;
    }
    return out;
  }

  /// The backend answers 413 to a client that waits to be asked for its body.
  void ExpectThatARefusalEndsTheConnection() {
    net::Client client(port());
    client.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    const std::string answer = client.Answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
    EXPECT_TRUE(client.AtEnd());
  }
};

TEST_F(ProxyInterim, HintsReachTheClientBeforeTheAnswerIsThere) {
  std::promise<void> seen;
  Backend({[&](Peer& peer) {
    peer.ReadHead();
    peer.Send(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: keep-alive\r\nKeep-Alive: timeout=3\r\n\r\n"
        "HTTP/1.1 102 Processing\r\n\r\n");
    seen.get_future().wait();
    peer.Send("HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n" + support::Response("late"));
    peer.ReadHead();
    peer.Send(support::Response("next"));
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  client.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(ReadUntil(client, "Processing\r\n\r\n"),
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n");
  seen.set_value();
  EXPECT_EQ(ReadUntil(client, "\r\n\r\n"), "HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n");
  EXPECT_TRUE(client.Answer().ends_with("late"));
  client.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(client.Answer().ends_with("next")) << "both connections are kept";
}

TEST_F(ProxyInterim, OldClientsAndThoseWithoutAWishGetNone) {
  const auto serve = [](Peer& peer) {
    while (!peer.ReadHead().empty()) {
      peer.Send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + std::string(kContinue) + support::Response("ok"));
    }
  };
  Backend({serve, serve, serve});
  Serve("SetEnvIf Request_URI /quiet proxy-interim-response=Suppress\nProxyPass / " + BackendUrl() + "/\n");
  net::Client old(port());
  old.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.Read(1U << 16), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Fetch("GET /quiet"), StartsWith("HTTP/1.1 200 "));
  const std::string answer = Fetch("GET /");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 103 "));
  EXPECT_THAT(answer, Not(HasSubstr("Continue"))) << "nobody waits for it";
}

TEST_F(ProxyInterim, HintsWithoutEndDoNotFillMemory) {
  Backend({[](Peer& peer) {
    peer.ReadHead();
    std::string hints;
    for (int i = 0; i < 5000; ++i) hints += "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    peer.Send(hints + support::Response("ok"));
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  const std::string answer = Fetch("GET /");
  EXPECT_TRUE(answer.ends_with("ok"));
  EXPECT_LT(answer.size(), 5000U);
}

TEST_F(ProxyInterim, ClientIsAskedForItsBodyWhenTheBackendAsks) {
  std::promise<void> go;
  std::string head, body;
  Backend({[&](Peer& peer) {
    head = peer.ReadHead();
    go.get_future().wait();
    peer.Send(kContinue);
    body = peer.ReadBytes(5);
    peer.Send(support::Response("got " + body));
    peer.ReadHead();
    peer.Send(support::Response("next"));
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  client.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  Do([](net::EventLoop&) {});
  char byte;
  EXPECT_LT(::recv(client.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT), 0) << "not before the backend says so";
  go.set_value();
  EXPECT_EQ(ReadUntil(client, "\r\n\r\n"), kContinue);
  client.Send("hello");
  EXPECT_TRUE(client.Answer().ends_with("got hello"));
  EXPECT_THAT(head, HasSubstr("Expect: 100-continue\r\n"));
  client.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(client.Answer().ends_with("next")) << "both connections are kept";
}

TEST_F(ProxyInterim, BodyThatTheBackendRefusesIsNotAskedFor) {
  Backend({[](Peer& peer) {
    peer.ReadHead();
    peer.Send(support::Response("too large", "", 413));
    EXPECT_EQ(peer.ReadBytes(1), "") << "nobody invited it";
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  ExpectThatARefusalEndsTheConnection();
}

TEST_F(ProxyInterim, BodyThatIsNotWantedIsNotTakenForARequestBehindOurErrorPage) {
  Backend({[](Peer& peer) {
    peer.ReadHead();
    peer.Send(support::Response("too large", "", 413));
    peer.AwaitClose();
  }});
  Serve("ProxyErrorOverride On\nProxyPass / " + BackendUrl() + "/\n");
  ExpectThatARefusalEndsTheConnection();
}

TEST_F(ProxyInterim, ClientThatDoesNotWaitAnyMoreIsHeard) {
  Backend({[](Peer& peer) {
    peer.ReadHead();  // and has never heard of Expect
    peer.Send(support::Response("got " + peer.ReadBytes(5)));
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  EXPECT_TRUE(Fetch("POST /", "Content-Length: 5\r\nExpect: 100-continue\r\n", "hello").ends_with("got hello"));
}

TEST_F(ProxyInterim, WithProxy100ContinueOffWeAskForTheBodyAtOnce) {
  std::string head;
  Backend({[&](Peer& peer) {
    head = peer.ReadHead();
    peer.Send(support::Response("got " + peer.ReadBytes(5)));
  }});
  Serve("Proxy100Continue Off\nProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  client.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(ReadUntil(client, "\r\n\r\n"), kContinue);
  client.Send("hello");
  EXPECT_TRUE(client.Answer().ends_with("got hello"));
  EXPECT_THAT(head, Not(HasSubstr("Expect")));
}

TEST_F(ProxyInterim, PingedBackendGetsTheBodyWhenItAnswers) {
  const std::string body(300'000, 'b');
  std::vector<std::string> heads;
  Backend({[&](Peer& peer) {
    for (int i = 0; i < 2; ++i) {
      heads.push_back(peer.ReadHead());
      peer.Send(kContinue);
      peer.Send(support::Response(peer.ReadBytes(body.size()) == body ? "whole" : "cut"));
    }
    heads.push_back(peer.ReadHead());
    peer.Send(support::Response("no body"));
  }});
  Serve("ProxyPass / " + BackendUrl() + "/ ping=9\n");
  for (int i = 0; i < 2; ++i) {
    const std::string answer = Fetch("PUT /", "Content-Length: " + std::to_string(body.size()) + "\r\n", body);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 ")) << "the client did not wait";
    EXPECT_TRUE(answer.ends_with("whole"));
  }
  EXPECT_TRUE(Fetch("GET /").ends_with("no body"));
  ASSERT_EQ(heads.size(), 3U);
  EXPECT_THAT(heads[0], HasSubstr("Expect: 100-continue\r\n"));
  EXPECT_THAT(heads[2], Not(HasSubstr("Expect")));
}

TEST_F(ProxyInterim, SilenceToAPingIs503OrAnotherMembersTurn) {
  const auto silent = [](Peer& peer) {
    peer.ReadHead();
    EXPECT_EQ(peer.ReadBytes(1), "") << "no body without an invitation";
  };
  Backend({silent, silent});
  support::ScriptedServer other({[](Peer& peer) {
                                  peer.ReadHead();
                                  peer.Send(kContinue);
                                  peer.Send(support::Response("got " + peer.ReadBytes(5)));
                                }},
                                [](Peer& peer) { peer.Close(); });
  Serve("ProxyPass /b balancer://b\n<Proxy balancer://b>\nBalancerMember " + BackendUrl() +
        " ping=50ms\nBalancerMember http://" + other.address().Text() + " ping=9 status=+H\n</Proxy>\nProxyPass / " +
        BackendUrl() + "/ ping=50ms\n");
  EXPECT_THAT(Fetch("POST /", "Content-Length: 5\r\n", "hello"), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01103: read timeout: no 100 Continue from 127.0.0.1:"));
  EXPECT_TRUE(Fetch("POST /b/", "Content-Length: 5\r\n", "hello").ends_with("got hello"));
}

}  // namespace
}  // namespace httpd::modules
