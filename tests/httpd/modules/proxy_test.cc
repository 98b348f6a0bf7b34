#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>

#include <future>

#include "os/file.h"
#include "os/socket.h"
#include "tests/httpd/modules/proxy_fixture.h"
#include "tests/httpd/modules/refusal.h"

namespace httpd::modules {
namespace {

using support::Peer;
using testing::HasSubstr;
using testing::Not;

class Proxy : public ProxyTest {
 protected:
  /// Answers every request of a connection with its own head.
  static void Echo(Peer& peer) {
    for (std::string head = peer.ReadHead(); !head.empty(); head = peer.ReadHead()) peer.Send(support::Response(head));
  }
  /// One answer, then the end.
  static Script Once(const std::string& answer) {
    return [answer](Peer& peer) {
      peer.ReadHead();
      peer.Send(answer);
      peer.Close();
    };
  }
};

TEST_F(Proxy, BackendGetsTheRequestWithoutWhatIsForThisHopAlone) {
  Backend({Echo});
  Serve("ProxyPass /app " + BackendUrl() + "/inner\n");
  const std::string answer = Fetch("GET /app/a%20b?x=%20y",
                                   "Accept: */*\r\nX-Forwarded-For: 1.2.3.4\r\nTE: trailers\r\nKeep-Alive: 5\r\n"
                                   "X-Hop: 1\r\nConnection: X-Hop\r\nX-End: 2\r\nExpect: 100-continue\r\n");
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 200 Said so\r\n"));
  EXPECT_THAT(answer,
              HasSubstr("\r\n\r\nGET /inner/a%20b?x=%20y HTTP/1.1\r\nHost: " + backend_->address().Text() + "\r\n"));
  EXPECT_THAT(answer, HasSubstr("X-Forwarded-For: 1.2.3.4, 127.0.0.1\r\nX-Forwarded-Host: "
                                "site.example\r\nX-Forwarded-Server: site.example\r\nConnection: Keep-Alive\r\n\r\n"));
  EXPECT_THAT(answer, HasSubstr("X-End: 2\r\n"));
  for (const char* gone : {"TE:", "Keep-Alive: 5", "X-Hop", "Expect"}) EXPECT_THAT(answer, Not(HasSubstr(gone)));
}

TEST_F(Proxy, AnswerIsTheBackendsWithItsReasonDateAndServer) {
  Backend(
      {Once("HTTP/1.1 404 Nobody Home\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: Back/1\r\nConnection: X-A, "
            "close\r\nX-A: 1\r\nKeep-Alive: timeout=1\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nno")});
  Serve("ProxyPass / " + BackendUrl() + "/\nProxyVia On\n");
  const std::string answer = Fetch("GET /x");
  EXPECT_EQ(answer,
            "HTTP/1.1 404 Nobody Home\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: Back/1\r\nVia: 1.1 "
            "site.example\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
}

TEST_F(Proxy, AnswerTornAtEveryByteIsTheSame) {
  const std::string whole =
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
      "chunked\r\n\r\n5;a=b\r\nhello\r\n"
      "6\r\n world\r\n0\r\nTrailer: x\r\n\r\n";
  std::vector<Script> scripts;
  for (size_t cut = 1; cut < whole.size(); ++cut) {
    scripts.push_back([whole, cut](Peer& peer) {
      peer.ReadHead();
      peer.Send(whole.substr(0, cut));
      std::this_thread::yield();
      peer.Send(whole.substr(cut));
      peer.AwaitClose();
    });
  }
  Backend(scripts);
  Serve("ProxyPass / " + BackendUrl() + "/ disablereuse=On\n");
  for (size_t cut = 1; cut < whole.size(); ++cut) {
    std::string answer = Fetch("GET /x");
    const std::string hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    ASSERT_THAT(answer, testing::StartsWith(hints + "HTTP/1.1 200 OK\r\n")) << cut;
    answer.erase(0, hints.size());
    EXPECT_THAT(answer, Not(HasSubstr("railer"))) << cut;
    EXPECT_THAT(answer, Not(HasSubstr("Link"))) << cut;
    // Whether it is sent in chunks depends on what was there at once.
    std::string body = answer.substr(answer.find("\r\n\r\n") + 4);
    if (answer.find("chunked") != std::string::npos) {
      std::string joined;
      for (size_t at = 0; at < body.size();) {
        const size_t length = std::stoul(body.substr(at), nullptr, 16);
        at = body.find("\r\n", at) + 2;
        joined += body.substr(at, length);
        at += length + 2;
        if (length == 0) break;
      }
      body = joined;
    }
    EXPECT_EQ(body, "hello world") << cut;
  }
}

TEST_F(Proxy, BodiesThatEndWithTheConnectionAreWhole) {
  const std::string body(300000, 'x');
  Backend({Once("HTTP/1.0 200 OK\r\n\r\n" + body)});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  client.Send("GET /x HTTP/1.0\r\n\r\n");
  const std::string answer = client.Read(1U << 20);
  EXPECT_TRUE(answer.ends_with("\r\n\r\n" + body));
}

TEST_F(Proxy, HeadAndAnswersWithoutBodyEndWithTheirHeads) {
  Backend({[](Peer& peer) {
    peer.ReadHead();
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n");
    peer.ReadHead();
    peer.Send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n");
    peer.ReadHead();
    peer.Send("HTTP/1.1 204 No Content\r\n\r\n");
    peer.ReadHead();
    peer.Send("HTTP/1.1 200 OK\r\n\r\n");
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  client.Send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.Answer(true), HasSubstr("Content-Length: 77\r\n"));
  client.Send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.Answer(), testing::AllOf(HasSubstr("304 Not Modified"), Not(HasSubstr("Content-Length"))));
  client.Send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.Answer(), HasSubstr("204 No Content"));
  client.Send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.Answer(true), Not(HasSubstr("Content-Length")));
}

TEST_F(Proxy, AnswersThatAreNoneAre502AndSaidInTheLog) {
  const std::vector<std::string> bad = {
      "",
      "nonsense\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nno field\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: " + std::string(9000, 'x') + "\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: cut",
      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
  };
  std::vector<Script> scripts;
  for (const std::string& answer : bad) scripts.push_back(Once(answer));
  Backend(scripts);
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  for (const std::string& text : bad) {
    EXPECT_THAT(Fetch("GET /x"), HasSubstr("HTTP/1.1 502 Proxy Error\r\n")) << text.substr(0, 60);
  }
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01102: error reading status line from remote server 127.0.0.1:"));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00898: Error reading from remote server returned by /x"));
}

TEST_F(Proxy, BodyThatIsCutCutsTheAnswer) {
  Backend({Once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
           Once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz")});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  const std::string first = Fetch("GET /x");
  EXPECT_TRUE(first.empty() || first.ends_with("\r\n\r\nhalf") || first.find(" 500 ") != std::string::npos) << first;
  EXPECT_THAT(Fetch("GET /x"), Not(HasSubstr("\r\n0\r\n")));
}

TEST_F(Proxy, DeadBackendIs503WithApachesLines) {
  Backend({});
  const std::string url = BackendUrl();
  backend_->StopListening();
  Serve("ProxyPass / " + url + "/\n");
  EXPECT_THAT(Fetch("GET /x"), HasSubstr("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00957: http: attempt to connect to 127.0.0.1:"));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01114: HTTP: failed to make connection to backend: 127.0.0.1"));
}

TEST_F(Proxy, SilentBackendIs502AfterItsTimeout) {
  Backend({[](Peer& peer) { peer.AwaitClose(); }});
  Serve("ProxyPass / " + BackendUrl() + "/ timeout=300ms\n");
  EXPECT_THAT(Fetch("GET /x"), HasSubstr("HTTP/1.1 502 Proxy Error\r\n"));
  EXPECT_THAT(ErrorLog(), HasSubstr("(70007)The timeout specified has expired"));
}

TEST_F(Proxy, UploadsAreStreamedAsTheyCame) {
  const std::string body(400000, 'u');
  std::string heads, first, second;
  std::promise<void> done;
  Backend({[&](Peer& peer) {
    heads += peer.ReadHead();
    first = peer.ReadBytes(body.size());
    peer.Send(support::Response("one"));
    heads += peer.ReadHead();
    second = peer.ReadChunked();
    peer.Send(support::Response("two"));
    done.set_value();
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  client.Send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_TRUE(client.Answer().ends_with("one"));
  client.Send("POST /y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n");
  EXPECT_TRUE(client.Answer().ends_with("two"));
  done.get_future().wait();
  EXPECT_TRUE(first == body) << first.size();
  EXPECT_EQ(second, "abcdef");
  EXPECT_THAT(heads, HasSubstr("Content-Length: 400000\r\n"));
  EXPECT_THAT(heads, HasSubstr("Transfer-Encoding: chunked\r\n"));
}

TEST_F(Proxy, EarlyAnswerDuringAnUploadReachesTheClient) {
  Backend({[](Peer& peer) {
    peer.ReadHead();
    peer.Send(support::Response("enough", "Connection: close\r\n", 413));
    peer.Finish();
    peer.AwaitClose();
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  net::Client client(port());
  client.Send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + std::string(1000, 'x'));
  EXPECT_THAT(client.Answer(), HasSubstr("HTTP/1.1 413 "));
}

TEST_F(Proxy, ClientThatLeavesEndsTheBackendsConnection) {
  std::promise<void> asked, closed;
  Backend({[&](Peer& peer) {
    peer.ReadHead();
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun");
    asked.set_value();
    peer.AwaitClose();
    closed.set_value();
  }});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  {
    net::Client client(port());
    client.Send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    asked.get_future().wait();
    client.Read(20);
    const linger at_once{1, 0};
    ::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  EXPECT_EQ(closed.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
}

TEST_F(Proxy, SlowClientHoldsTheBackendBack) {
  std::promise<size_t> sent;
  Backend({[&](Peer& peer) {
    peer.ReadHead();
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n");
    const std::string piece(1000000, 'b');
    for (int i = 0; i < 40; ++i) peer.Send(piece);
    sent.set_value(1);
  }});
  Serve("ProxyPass / " + BackendUrl() + "/ receivebuffersize=65536\n");
  net::Client client(port(), 16384);
  client.Send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const std::string begun = client.Read(1000);
  auto future = sent.get_future();
  EXPECT_EQ(future.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);
  EXPECT_GE(begun.size() + client.Read(50000000).size(), 40000000u);
  future.wait();  // the backend's thread may still be at it
}

TEST_F(Proxy, WebSocketIsATunnelInBothDirections) {
  Backend({[&](Peer& peer) {
    seen_.push_back(peer.ReadHead());
    peer.Send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-A: b\r\n\r\nhello");
    for (int i = 0; i < 3; ++i) peer.Send("<" + peer.ReadBytes(4) + ">");
    peer.Close();
  }});
  Serve("ProxyPass /ws " + BackendUrl() + "/ws upgrade=websocket\n");
  net::Client client(port());
  client.Send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearl");
  const std::string head = client.Answer();
  EXPECT_THAT(head, HasSubstr("HTTP/1.1 101 Switching Protocols\r\n"));
  EXPECT_THAT(head, HasSubstr("Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"));
  EXPECT_THAT(head, HasSubstr("Sec-A: b\r\n"));
  EXPECT_EQ(client.Read(11), "hello<earl>");
  client.Send("ping");
  EXPECT_EQ(client.Read(6), "<ping>");
  client.Send("pong");
  EXPECT_EQ(client.Read(100), "<pong>");
  EXPECT_THAT(seen_.at(0), HasSubstr("Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"));
}

TEST_F(Proxy, TunnelEndsAfterItsSilence) {
  Backend({[&](Peer& peer) {
    peer.ReadHead();
    peer.Send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
    peer.AwaitClose();
  }});
  Serve("ProxyPass /ws ws://" + backend_->address().Text() + "/ws timeout=300ms\n");
  net::Client client(port());
  client.Send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  EXPECT_THAT(client.Answer(), HasSubstr(" 101 "));
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(Proxy, UpgradeThatNobodyAllowedIsNotPassedOn) {
  Backend({Echo});
  Serve("ProxyPass / " + BackendUrl() + "/\n");
  EXPECT_THAT(Fetch("GET /", "Upgrade: websocket\r\nConnection: Upgrade\r\n"), Not(HasSubstr("Upgrade")));
}

TEST_F(Proxy, LocationsAndCookiesAreOurs) {
  Backend(
      {Once("HTTP/1.1 302 Found\r\nLocation: X/in/a?b\r\nSet-Cookie: s=1; Path=/in/; Domain=back\r\nContent-Length: "
            "0\r\n\r\n")});
  const std::string url = BackendUrl();
  backend_.reset();
  Backend({Once("HTTP/1.1 302 Found\r\nLocation: " + url +
                "/in/a?b\r\nSet-Cookie: s=1; Path=/in/; "
                "Domain=back\r\nContent-Length: 0\r\n\r\n")});
  Serve("<Location /out/>\nProxyPass " + BackendUrl() + "/in/\nProxyPassReverse " + url +
        "/in/\nProxyPassReverseCookiePath /in/ /out/\nProxyPassReverseCookieDomain back front\n</Location>\n");
  const std::string answer = Fetch("GET /out/x");
  EXPECT_THAT(answer, HasSubstr("Location: http://site.example/out/a?b\r\n"));
  EXPECT_THAT(answer, HasSubstr("Set-Cookie: s=1; Path=/out/; Domain=front\r\n"));
}

TEST_F(Proxy, ErrorsOfTheBackendCanBeOurs) {
  Backend({Once(support::Response("theirs", "", 500)), Once(support::Response("theirs", "", 404))});
  Serve("ProxyPass / " + BackendUrl() + "/ disablereuse=On\nProxyErrorOverride On 500\nErrorDocument 500 ours\n");
  EXPECT_THAT(Fetch("GET /x"), testing::AllOf(HasSubstr(" 500 "), HasSubstr("ours"), Not(HasSubstr("theirs"))));
  EXPECT_THAT(Fetch("GET /x"), testing::AllOf(HasSubstr(" 404 "), HasSubstr("theirs")));
}

TEST_F(Proxy, WhoMayAskIsDecidedBeforeTheBackendHearsOfIt) {
  Backend({Echo});
  Serve("ProxyPass /a " + BackendUrl() + "/a\nProxyPass /b " + BackendUrl() +
        "/b\n<Location /a>\nRequire all "
        "denied\n</Location>\n<Proxy " +
        BackendUrl() + "/b/secret>\nRequire all denied\n</Proxy>\n");
  EXPECT_THAT(Fetch("GET /a"), HasSubstr(" 403 "));
  EXPECT_THAT(Fetch("GET /b/secret/x"), HasSubstr(" 403 "));
  EXPECT_THAT(Fetch("GET /b/open"), HasSubstr(" 200 "));
}

TEST_F(Proxy, ExclusionsAndFilesStayHere) {
  Write("www/here/f.txt", "from a file");
  Backend({Echo});
  Serve("ProxyPass /here !\nProxyPass / " + BackendUrl() + "/\n");
  EXPECT_THAT(Fetch("GET /here/f.txt"), HasSubstr("from a file"));
  EXPECT_THAT(Fetch("GET /there"), HasSubstr("GET /there HTTP/1.1"));
}

TEST_F(Proxy, RulesAndHandlersLeadToBackendsToo) {
  Write("www/app/x.php", "source");
  Backend({Echo, Echo, Echo});
  Serve("RewriteEngine On\nRewriteRule ^/r/(.*)$ " + BackendUrl() +
        "/rewritten/$1 [P]\n<FilesMatch "
        "\"\\.php$\">\nSetHandler proxy:" +
        BackendUrl() + "\n</FilesMatch>\nProxyPassMatch ^/m/(.*)$ " + BackendUrl() + "/matched/$1\n");
  EXPECT_THAT(Fetch("GET /r/a%20b?q"), HasSubstr("GET /rewritten/a%20b?q HTTP/1.1"));
  EXPECT_THAT(Fetch("GET /app/x.php?q"), HasSubstr("GET " + root() + "/www/app/x.php?q HTTP/1.1"));
  EXPECT_THAT(Fetch("GET /m/a"), HasSubstr("GET /matched/a HTTP/1.1"));
}

TEST_F(Proxy, RulesOfDirectoriesLeadToBackendsAndNotToTheirIndex) {
  Write("www/dir/index.html", "index");
  Backend({Echo, Echo});
  Write("www/dir/.htaccess", "RewriteEngine On\nRewriteRule ^(.*)$ " + BackendUrl() + "/inner/$1 [P]\n");
  Serve("<Directory " + root() +
        "/www>\nAllowOverride All\nOptions FollowSymLinks\nRequire all granted\n</Directory>\n");
  EXPECT_THAT(Fetch("GET /dir/a%20b?q=1"), HasSubstr("GET /inner/a%20b?q=1 HTTP/1.1"));
  EXPECT_THAT(Fetch("GET /dir/"), HasSubstr("GET /inner/ HTTP/1.1"));
}

TEST_F(Proxy, FieldsAndFiltersWorkOnProxiedAnswers) {
  Backend({[](Peer& peer) {
    const std::string head = peer.ReadHead();
    peer.Send(support::Response(head.find("X-In: set") != std::string::npos ? "foo" : "lost",
                                "Content-Type: text/plain\r\n"));
  }});
  Serve("ProxyPass / " + BackendUrl() +
        "/\nRequestHeader set X-In set\nHeader set X-Out yes\nAddOutputFilterByType "
        "SUBSTITUTE text/plain\nSubstitute s/foo/bar/\n");
  const std::string answer = Fetch("GET /x");
  EXPECT_THAT(answer, HasSubstr("X-Out: yes\r\n"));
  EXPECT_TRUE(answer.ends_with("bar")) << answer;
}

TEST_F(Proxy, HostIsKeptWhereItIsWished) {
  Backend({Echo});
  Serve("ProxyPass / " + BackendUrl() + "/\nProxyPreserveHost On\nProxyAddHeaders Off\n");
  const std::string answer = Fetch("GET /");
  EXPECT_THAT(answer, HasSubstr("\r\nHost: site.example\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("X-Forwarded")));
}

TEST_F(Proxy, UnixSocketIsABackend) {
  const std::string path = root() + "/back.sock";
  auto listener = os::ListenUnix(path, SOCK_STREAM, 0600);
  ASSERT_TRUE(listener);
  std::thread backend([&listener] {
    pollfd waiting{listener.value().get(), POLLIN, 0};
    ::poll(&waiting, 1, 5000);
    Peer peer(os::Fd(::accept4(listener.value().get(), nullptr, nullptr, SOCK_CLOEXEC)));
    peer.Send(support::Response(peer.ReadHead()));
  });
  Serve("ProxyPass / unix:" + path + "|http://inside/\n");
  EXPECT_THAT(Fetch("GET /u"), HasSubstr("GET /u HTTP/1.1\r\nHost: inside\r\n"));
  backend.join();
}

TEST_F(Proxy, MaxForwardsEndsLoops) {
  Backend({Echo});
  Serve("ProxyPass / " + BackendUrl() + "/\nProxyMaxForwards 5\n");
  EXPECT_THAT(Fetch("GET /", "Max-Forwards: 0\r\n"), HasSubstr("Max-Forwards has reached zero - proxy loop?"));
  EXPECT_THAT(Fetch("GET /", "Max-Forwards: 3\r\n"), HasSubstr("Max-Forwards: 2\r\n"));
  EXPECT_THAT(Fetch("GET /"), HasSubstr("Max-Forwards: 5\r\n"));
}

}  // namespace
}  // namespace httpd::modules
