#include <gmock/gmock.h>
#include <signal.h>

#include "tests/e2e/server.h"

namespace {

using e2e::Eventually;
using e2e::Execute;
using e2e::FileText;
using e2e::Outcome;
using e2e::Running;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

/// A server that expects headers of the PROXY protocol on its port and on that of TLS, and HAProxy before both.
class ProxyProtocol : public e2e::Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    if (HasFatalFailure()) return;
    tls_ = e2e::FreePort();
    const std::string name = (root_ / "conf" / "a").string();
    const Outcome made =
        Execute({"/usr/bin/openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=a.example", "-keyout",
                 name + ".key", "-out", name + ".crt", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"});
    ASSERT_EQ(made.status, 0) << made.All();
    Configure(
        {.more = "Listen 127.0.0.1:" + std::to_string(tls_) +
                 " https\nRemoteIPProxyProtocol On\nRemoteIPProxyProtocolExceptions 127.0.0.9\n"
                 "Protocols h2 h2c http/1.1\nLogFormat \"%a %{c}a %h %{remote}p %r\" who\nCustomLog logs/who.log who\n"
                 "<VirtualHost 127.0.0.1:" +
                 std::to_string(tls_) +
                 ">\nServerName a.example\nSSLEngine on\nSSLCertificateFile conf/a.crt\n"
                 "SSLCertificateKeyFile conf/a.key\n</VirtualHost>\n"});
  }
  void StartServer() {
    const Outcome started = Httpd({"-k", "start"});
    ASSERT_EQ(started.status, 0) << started.All();
  }
  /// Status of the answer; `from` is the client's own address.
  std::string Curl(std::vector<std::string> words, const std::string& from = "127.0.0.2") const {
    words.insert(words.begin(), {"/usr/bin/curl", "-sk", "--max-time", "30", "--interface", from, "-o", "/dev/null",
                                 "-w", "%{http_code}"});
    return Execute(words).out;
  }
  std::string Url(const std::string& scheme, uint16_t port, const std::string& path) const {
    return scheme + "://127.0.0.1:" + std::to_string(port) + path;
  }
  /// The log's line of what was asked for with this path.
  std::string Logged(const std::string& path) const {
    const auto line = [&]() -> std::string {
      const std::string text = FileText(root_ / "logs" / "who.log");
      const size_t at = text.find("GET " + path + " ");
      if (at == std::string::npos) return "";
      const size_t begin = text.rfind('\n', at) + 1;
      return text.substr(begin, text.find('\n', at) - begin);
    };
    Eventually([&] { return !line().empty(); });
    return line();
  }
  uint16_t tls_ = 0;
};

TEST_F(ProxyProtocol, CurlTellsWhoItIsPlainAndBelowTls) {
  StartServer();
  EXPECT_EQ(Curl({"--haproxy-protocol", Url("http", port_, "/index.html?1")}), "200");
  EXPECT_THAT(Logged("/index.html?1"), HasSubstr("127.0.0.2 127.0.0.2 127.0.0.2 "));
  EXPECT_EQ(Curl({"--haproxy-protocol", "--http1.1", Url("https", tls_, "/index.html?2")}), "200");
  EXPECT_EQ(Curl({"--haproxy-protocol", "--http2", Url("https", tls_, "/index.html?3")}), "200");
  EXPECT_THAT(Logged("/index.html?3"), HasSubstr("HTTP/2.0"));
  EXPECT_EQ(Curl({Url("http", port_, "/index.html?4")}), "000");
  EXPECT_TRUE(Eventually([&] { return ErrorLog().find("does not begin with a PROXY header") != std::string::npos; }));
  EXPECT_THAT(ErrorLog(), ContainsRegex("remoteip:error.*\\[client 127.0.0.2:[0-9]+\\] RemoteIPProxyProtocol: the"));
  EXPECT_EQ(Curl({Url("http", port_, "/index.html?5")}, "127.0.0.9"), "200") << "an exception";
  EXPECT_THAT(FileText(root_ / "logs" / "who.log"), Not(HasSubstr("?4")));
}

TEST_F(ProxyProtocol, BehindHaproxyEveryModuleSeesTheClient) {
  StartServer();
  struct Way {
    const char* send;
    uint16_t backend;
    uint16_t port;
  };
  const Way ways[] = {{"send-proxy", port_, e2e::FreePort()},
                      {"send-proxy-v2", port_, e2e::FreePort()},
                      {"send-proxy", tls_, e2e::FreePort()},
                      {"send-proxy-v2", tls_, e2e::FreePort()}};
  std::string text =
      "global\n  maxconn 50\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 30s\n"
      "  timeout server 30s\n";
  for (const Way& way : ways) {
    text += "listen l" + std::to_string(way.port) + "\n  bind 127.0.0.1:" + std::to_string(way.port) +
            "\n  server s 127.0.0.1:" + std::to_string(way.backend) + " " + way.send + "\n";
  }
  const auto file = outside_ / "haproxy.cfg";
  e2e::WriteFile(file, text);
  Running haproxy({"/usr/sbin/haproxy", "-db", "-f", file.string()}, outside_ / "haproxy.out");
  for (const Way& way : ways) {
    const std::string path = "/index.html?" + std::to_string(way.port);
    const std::string scheme = way.backend == tls_ ? "https" : "http";
    EXPECT_TRUE(Eventually([&] { return Curl({Url(scheme, way.port, path)}) == "200"; }))
        << FileText(outside_ / "haproxy.out");
    EXPECT_THAT(Logged(path), HasSubstr("127.0.0.2 127.0.0.1 127.0.0.2 ")) << way.send << " " << scheme;
  }
  EXPECT_EQ(Curl({"--http2-prior-knowledge", Url("http", ways[1].port, "/index.html?h2c")}), "200");
  EXPECT_THAT(Logged("/index.html?h2c"), HasSubstr("127.0.0.2 127.0.0.1 127.0.0.2 "));
  haproxy.Signal(SIGTERM);
  haproxy.Wait();
}

TEST_F(ProxyProtocol, AConnectionKeepsItsClientThroughAGracefulRestart) {
  StartServer();
  auto client = e2e::Connection::Open(port_);
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->Send("PROXY TCP4 192.0.2.7 10.0.0.1 1234 80\r\n" + e2e::GetRequest("/index.html?before")));
  ASSERT_TRUE(client->Read());
  const pid_t before = Children(Pid()).at(0);
  ASSERT_EQ(Httpd({"-k", "graceful"}).status, 0);
  ASSERT_TRUE(Eventually([&] {
    const auto children = Children(Pid());
    return !children.empty() && std::find(children.begin(), children.end(), before) == children.end();
  }));
  ASSERT_TRUE(client->Send(e2e::GetRequest("/index.html?after")));
  ASSERT_TRUE(client->Read());
  EXPECT_THAT(Logged("/index.html?after"), HasSubstr("192.0.2.7 127.0.0.1 192.0.2.7 1234 "));
}

TEST_F(ProxyProtocol, AConnectionKeepsItsClientThroughAnUpgrade) {
  StartServer();
  auto client = e2e::Connection::Open(port_);
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->Send("PROXY TCP6 2001:db8::7 2001:db8::1 1234 80\r\n" + e2e::GetRequest("/index.html?before")));
  ASSERT_TRUE(client->Read());
  // Has not said yet whose it is: answered by the instance that has it.
  auto half = e2e::Connection::Open(port_);
  ASSERT_TRUE(half);
  ASSERT_TRUE(half->Send("PROXY TCP4 192.0.2.9 10."));
  const pid_t old = Pid();
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0", "--detach"});
  ASSERT_EQ(upgraded.status, 0) << upgraded.All();
  ASSERT_NE(Pid(), old);
  ASSERT_TRUE(client->Send(e2e::GetRequest("/index.html?after")));
  ASSERT_TRUE(client->Read());
  EXPECT_THAT(Logged("/index.html?after"), HasSubstr("2001:db8::7 127.0.0.1 2001:db8::7 1234 "));
  ASSERT_TRUE(half->Send("0.0.1 4321 80\r\n" + e2e::GetRequest("/index.html?half")));
  ASSERT_TRUE(half->Read());
  EXPECT_THAT(Logged("/index.html?half"), HasSubstr("192.0.2.9 127.0.0.1 192.0.2.9 4321 "));
  half.reset();
  EXPECT_TRUE(Eventually([this] { return Parents().size() == 1; }));
}

}  // namespace
