// Backends that speak TLS: who is believed, what they are told, and what goes through.
#include "httpd/modules/proxy_tls.h"

#include <gmock/gmock.h>
#include <openssl/ssl.h>

#include <future>

#include "httpd/modules/site.h"
#include "tests/httpd/modules/proxy_fixture.h"
#include "tests/httpd/modules/refusal.h"
#include "tests/httpd/modules/tls_backend.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ProxyTls : public ProxyTest {
 protected:
  ProxyTls() : authority_({.common_name = "authority", .names = "", .is_authority = true}) {
    Write("authority.pem", authority_.Pem());
  }
  ~ProxyTls() override { StopServing(); }

  static std::string Echo(const TlsBackend::Asked& asked) { return support::Response(asked.head); }

  void TlsServer(const TestCertificate::Wish& wish, TlsBackend::Answer answer = Echo,
                 TlsBackend::Terms terms = TlsBackend::Terms()) {
    own_ = std::make_unique<TestCertificate>(wish);
    tls_ = std::make_unique<TlsBackend>(*own_, std::move(answer), terms);
  }
  std::string Url(const std::string& host = "127.0.0.1", const std::string& scheme = "https") const {
    return scheme + "://" + host + ":" + std::to_string(tls_->address().port());
  }
  TestCertificate::Wish Signed() const { return {.issuer = &authority_}; }
  /// Serves "/" from the backend, with these lines before.
  void ServeTls(const std::string& lines, const std::string& parameters = "") {
    Serve("SSLProxyEngine On\n" + lines + "\nProxyPass / " + Url() + "/ " + parameters + "\n");
  }
  std::string Verifying() const {
    return "SSLProxyVerify require\nSSLProxyCACertificateFile " + root() + "/authority.pem\n";
  }
  void ExpectRefusal(const std::string& line) {
    EXPECT_THAT(Fetch("GET /x"), StartsWith("HTTP/1.1 502 "));
    EXPECT_THAT(ErrorLog(), HasSubstr(line));
    EXPECT_TRUE(tls_->asked().empty()) << "it heard of the request";
  }

  TestCertificate authority_;
  std::unique_ptr<TestCertificate> own_;
  std::unique_ptr<TlsBackend> tls_;
};

TEST_F(ProxyTls, RequestsGoOverOneConnectionThatIsKept) {
  TlsServer(Signed());
  ServeTls(Verifying());
  const std::string answer = Fetch("GET /a?b");
  EXPECT_THAT(answer, HasSubstr("200 Said so\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\n\r\nGET /a?b HTTP/1.1\r\nHost: " + tls_->address().Text() + "\r\n"));
  EXPECT_THAT(Fetch("POST /c", "Content-Length: 3\r\n", "abc"), HasSubstr("POST /c HTTP/1.1"));
  EXPECT_EQ(tls_->handshakes(), 1);
  EXPECT_EQ(tls_->asked()[1].body, "abc");
  EXPECT_EQ(tls_->asked()[0].name, "") << "an address is no name (RFC 6066, 3)";
}

TEST_F(ProxyTls, SessionIsResumedByTheNextConnection) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsServer(Signed(), Echo, {.max_version = version});
    ServeTls(Verifying(), "disablereuse=On");
    for (int i = 0; i < 3; ++i) EXPECT_THAT(Fetch("GET /"), HasSubstr(" 200 "));
    const auto asked = tls_->asked();
    ASSERT_EQ(asked.size(), 3u);
    EXPECT_FALSE(asked[0].is_resumed);
    EXPECT_TRUE(asked[1].is_resumed && asked[2].is_resumed) << asked[1].protocol;
    StopServing();
  }
}

TEST_F(ProxyTls, HostThatTrustsLessDoesNotUseAnothersConnections) {
  TlsServer({});
  Serve("SSLProxyEngine On\nProxyPass / " + Url() + "/\n<VirtualHost *>\nServerName lax\n</VirtualHost>\n" +
        "<VirtualHost *>\nServerName strict\n" + Verifying() + "</VirtualHost>\n");
  const auto ask = [this](const std::string& host) {
    net::Client client(port());
    client.Send("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
    return client.Read(1U << 20);
  };
  EXPECT_THAT(ask("lax"), HasSubstr(" 200 "));
  EXPECT_THAT(ask("strict"), StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(ask("lax"), HasSubstr(" 200 "));
  EXPECT_EQ(tls_->asked().back().connection, 1) << "which is kept";
}

TEST_F(ProxyTls, TicketThatComesLaterDoesNotEndTheConnection) {
  std::promise<void> is_idle, is_sent;
  TlsServer(Signed(), Echo, {.late_ticket = [&, n = 0](bool sent) mutable {
              if (n++ > 1) return;
              sent ? is_sent.set_value() : is_idle.get_future().wait();
            }});
  ServeTls(Verifying());
  EXPECT_THAT(Fetch("GET /"), HasSubstr(" 200 "));
  is_idle.set_value();
  is_sent.get_future().wait();
  for (int i = 0; i < 3; ++i) Do([](net::EventLoop&) {});  // it has been seen
  EXPECT_THAT(Fetch("GET /"), HasSubstr(" 200 "));
  EXPECT_EQ(tls_->handshakes(), 1);
}

TEST_F(ProxyTls, HeadsLargerThanWhatIsReadAtOnceAreRead) {
  TlsServer(Signed(), [](const TlsBackend::Asked&) {
    return support::Response("ok", "X-Long: " + std::string(4000, 'x') + "\r\n");
  });
  ServeTls(Verifying(), "iobuffersize=512");
  EXPECT_THAT(Fetch("GET /"), HasSubstr(std::string(4000, 'x') + "\r\n"));
}

TEST_F(ProxyTls, NameIsAskedForAndMustBeTheCertificates) {
  TlsServer({.names = "DNS:LOCALHOST", .issuer = &authority_});
  Serve("SSLProxyEngine On\n" + Verifying() + "ProxyPass / " + Url("localhost") + "/\n");
  EXPECT_THAT(Fetch("GET /"), HasSubstr(" 200 "));
  EXPECT_EQ(tls_->asked()[0].name, "localhost");
}

TEST_F(ProxyTls, WithThePreservedHostItsNameCountsAndConnectionsAreNotMixed) {
  TlsServer({.names = "DNS:site.example,DNS:*.many.example", .issuer = &authority_});
  ServeTls(Verifying() + "ProxyPreserveHost On", "max=1");
  const auto ask = [this](const std::string& host) {
    net::Client client(port());
    client.Send("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
    return client.Read(1U << 20);
  };
  EXPECT_THAT(ask("site.example:8080"), HasSubstr(" 200 "));
  EXPECT_THAT(ask("A.many.example"), HasSubstr(" 200 "));
  EXPECT_THAT(ask("a.b.many.example"), StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(ask("other.example"), StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(ask("a.many.example"), HasSubstr(" 200 "));
  const auto asked = tls_->asked();
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_EQ(asked[0].name, "site.example");
  EXPECT_EQ(asked[1].name, "a.many.example");
  EXPECT_NE(asked[0].connection, asked[1].connection);
}

TEST_F(ProxyTls, WrongNameIs502UnlessNobodyLooks) {
  TlsServer({.common_name = "other.example", .names = "DNS:other.example,IP:127.0.0.2", .issuer = &authority_});
  ServeTls(Verifying());
  ExpectRefusal("AH02411: SSL Proxy: Peer certificate does not match for hostname 127.0.0.1 (127.0.0.1:");
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00898: Error during SSL Handshake with remote server returned by /x"));
  ServeTls(Verifying() + "SSLProxyCheckPeerName Off\nSSLProxyCheckPeerCN On");
  ExpectRefusal("AH02005: SSL Proxy: Peer certificate CN mismatch: Certificate CN: other.example Requested hostname");
  for (const char* lines : {"SSLProxyCheckPeerName Off", "SSLProxyCheckPeerCN Off"}) {
    ServeTls(Verifying() + lines);
    EXPECT_THAT(Fetch("GET /x"), HasSubstr(" 200 ")) << lines;
  }
}

TEST_F(ProxyTls, CommonNameStandsForMissingAlternatives) {
  TlsServer({.common_name = "127.0.0.1", .names = "", .issuer = &authority_});
  for (const char* lines : {"", "SSLProxyCheckPeerName Off\nSSLProxyCheckPeerCN On"}) {
    ServeTls(Verifying() + lines);
    EXPECT_THAT(Fetch("GET /x"), HasSubstr(" 200 ")) << lines;
  }
}

TEST_F(ProxyTls, CertificateThatIsTooOldOrTooYoungIs502) {
  TlsServer({.from_s = -7200, .to_s = -3600});
  ServeTls("");
  ExpectRefusal("AH02004: SSL Proxy: Peer certificate is expired (127.0.0.1:");
  ServeTls("SSLProxyCheckPeerExpire Off");
  EXPECT_THAT(Fetch("GET /x"), HasSubstr(" 200 "));
  StopServing();
  TlsServer({.from_s = 3600, .to_s = 7200});
  ServeTls("");
  ExpectRefusal("AH02004");
}

TEST_F(ProxyTls, UnknownAuthorityIs502WhereOneIsAskedFor) {
  TlsServer({});
  ServeTls(Verifying());
  ExpectRefusal(
      "AH02003: SSL Proxy connect failed: Certificate Verification: Error (18): self-signed certificate (127.0.0.1:");
  for (const std::string& lines :
       {std::string("SSLProxyVerify none"), std::string(),
        "SSLProxyVerify optional_no_ca\nSSLProxyCACertificateFile " + root() + "/authority.pem"}) {
    ServeTls(lines);
    EXPECT_THAT(Fetch("GET /x"), HasSubstr(" 200 ")) << lines;
  }
}

TEST_F(ProxyTls, ChainLongerThanItsDepthIs502) {
  const TestCertificate middle({.common_name = "middle", .names = "", .issuer = &authority_, .is_authority = true});
  Write("authority.pem", authority_.Pem() + middle.Pem());
  TlsServer({.issuer = &middle});
  ServeTls(Verifying());
  ExpectRefusal("Certificate Verification: Error (22): certificate chain too long");
  ServeTls(Verifying() + "SSLProxyVerifyDepth 2");
  EXPECT_THAT(Fetch("GET /x"), HasSubstr(" 200 "));
}

TEST_F(ProxyTls, RevokedCertificateIs502) {
  TlsServer(Signed());
  Write("revoked.pem", authority_.Revoking(*own_));
  const std::string list = Verifying() + "SSLProxyCARevocationFile " + root() + "/revoked.pem\n";
  ServeTls(list + "SSLProxyCARevocationCheck chain");
  ExpectRefusal("Certificate Verification: Error (23): certificate revoked");
  ServeTls(list);
  EXPECT_THAT(Fetch("GET /x"), HasSubstr(" 200 "));
}

TEST_F(ProxyTls, WithoutTheEngineNothingIsSent) {
  TlsServer(Signed());
  Serve("ProxyPass / " + Url() + "/\n");
  EXPECT_THAT(Fetch("GET /x"), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00961: https: failed to enable ssl support for 127.0.0.1:"));
  EXPECT_EQ(tls_->handshakes(), 0);
}

TEST_F(ProxyTls, RulesAndHandlersLeadThereToo) {
  TlsServer(Signed());
  Write("www/h/page", "");
  Serve("SSLProxyEngine On\n" + Verifying() + "RewriteEngine On\nRewriteRule ^/r/(.*) " + Url() +
        "/$1 [P]\n<Location /h>\nSetHandler proxy:" + Url() + "\n</Location>\n");
  for (int i = 0; i < 2; ++i) EXPECT_THAT(Fetch("GET /r/x"), HasSubstr("\r\n\r\nGET /x HTTP/1.1"));
  EXPECT_THAT(Fetch("GET /h/page"), HasSubstr(" 200 "));
}

TEST_F(ProxyTls, WhoeverSpeaksNoTlsOrNothingIs502) {
  Backend({[](support::Peer& peer) {
             peer.Send("HTTP/1.1 400 What?\r\nContent-Length: 0\r\n\r\n");
             peer.Finish();
             peer.AwaitClose();
           },
           [](support::Peer& peer) { peer.AwaitClose(); }, [](support::Peer& peer) { peer.Close(); }});
  Serve("SSLProxyEngine On\nProxyPass / https://" + backend_->address().Text() + "/ timeout=50ms\n");
  EXPECT_THAT(Fetch("GET /"), StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH02003: SSL Proxy connect failed: wrong version number"));
  EXPECT_THAT(Fetch("GET /"), StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH02003: SSL Proxy connect failed: the timeout specified has expired"));
  EXPECT_THAT(Fetch("GET /"), StartsWith("HTTP/1.1 502 "));
}

TEST_F(ProxyTls, OwnCertificateIsShownToWhoNamesItsAuthority) {
  const TestCertificate us({.common_name = "proxy", .names = "", .issuer = &authority_});
  const TestCertificate stranger({.common_name = "stranger", .names = ""});
  Write("own.pem", stranger.Pem() + stranger.KeyPem() + us.KeyPem() + us.Pem());
  TlsServer(Signed(), Echo, {.asks_for = &authority_});
  ServeTls("SSLProxyMachineCertificateFile " + root() + "/own.pem");
  EXPECT_THAT(Fetch("GET /"), HasSubstr(" 200 "));
  EXPECT_EQ(tls_->asked().back().client, "proxy");
  Write("own/stranger.pem", stranger.Pem() + stranger.KeyPem());
  ServeTls("SSLProxyMachineCertificatePath " + root() + "/own");
  EXPECT_THAT(Fetch("GET /"), HasSubstr(" 200 "));
  EXPECT_EQ(tls_->asked().back().client, "") << "it was asked for somebody else's";
}

TEST_F(ProxyTls, ProtocolsAndCiphersAreThoseThatMayBe) {
  TlsServer(Signed());
  ServeTls("SSLProxyProtocol all -TLSv1.3\nSSLProxyCipherSuite ECDHE-ECDSA-CHACHA20-POLY1305");
  EXPECT_THAT(Fetch("GET /"), HasSubstr(" 200 "));
  EXPECT_EQ(tls_->asked().back().protocol, "TLSv1.2");
  EXPECT_EQ(tls_->asked().back().cipher, "ECDHE-ECDSA-CHACHA20-POLY1305");
  ServeTls("SSLProxyCipherSuite TLSv1.3 TLS_AES_128_GCM_SHA256");
  EXPECT_THAT(Fetch("GET /"), HasSubstr(" 200 "));
  EXPECT_EQ(tls_->asked().back().protocol, "TLSv1.3");
  EXPECT_EQ(tls_->asked().back().cipher, "TLS_AES_128_GCM_SHA256");
}

TEST_F(ProxyTls, LargeBodiesPassBothWays) {
  const std::string body(3'000'000, 'x');
  TlsServer(Signed(), [&](const TlsBackend::Asked& asked) {
    return support::Response(asked.body == body ? body : std::to_string(asked.body.size()));
  });
  ServeTls(Verifying());
  for (int i = 0; i < 2; ++i) {
    const std::string answer = Fetch("POST /", "Content-Length: " + std::to_string(body.size()) + "\r\n", body);
    EXPECT_TRUE(answer.ends_with("\r\n\r\n" + body)) << answer.size();
  }
  EXPECT_EQ(tls_->handshakes(), 1);
}

TEST_F(ProxyTls, WebSocketIsATunnel) {
  TlsServer(Signed(), [](const TlsBackend::Asked&) {
    return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
  });
  Serve("SSLProxyEngine On\n" + Verifying() + "ProxyPass / " + Url("127.0.0.1", "wss") + "/\n");
  net::Client client(port());
  client.Send("GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
  std::string text;
  while (text.find("hello") == std::string::npos) {
    const std::string more = client.Read(1);
    ASSERT_FALSE(more.empty()) << text;
    text += more;
  }
  EXPECT_THAT(text, StartsWith("HTTP/1.1 101 "));
  for (const size_t size : {size_t{4}, size_t{50000}}) {
    client.Send(std::string(size, 'p'));
    EXPECT_EQ(client.Read(size), std::string(size, 'p'));
  }
  client.ShutDownWriting();
  EXPECT_EQ(client.Read(1), "");
}

TEST_F(ProxyTls, AnotherMemberIsAskedWhenOneIsNotBelieved) {
  TlsServer({});
  const auto good_own = std::make_unique<TestCertificate>(Signed());
  TlsBackend good(*good_own, [](const TlsBackend::Asked&) { return support::Response("good"); });
  const std::string members = "SSLProxyEngine On\n" + Verifying() + "ProxyPass / balancer://b/\n<Proxy balancer://b>\n";
  Serve(members + "BalancerMember " + Url() + "\nBalancerMember https://" + good.address().Text() +
        " status=+H\n</Proxy>\n");
  EXPECT_TRUE(Fetch("GET /").ends_with("good"));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00959"));
  Serve(members + "BalancerMember " + Url() + "\n</Proxy>\n");
  ExpectRefusal("self-signed certificate");
}

TEST_F(ProxyTls, BackendsOfOneHostCanBeSpokenToInDifferentWays) {
  TlsServer({});
  Serve("SSLProxyEngine On\n" + Verifying() + "ProxyPass /a " + Url() + "/a\nProxyPass /b " + Url() + "/b\n<Proxy " +
        Url() + "/b>\nSSLProxyVerify none\n</Proxy>\n");
  EXPECT_THAT(Fetch("GET /a"), StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(Fetch("GET /b"), HasSubstr(" 200 "));
  EXPECT_THAT(Fetch("GET /a"), StartsWith("HTTP/1.1 502 "));
}

TEST(ProxyTlsDirectives, AreRefusedWithOneLineWhereTheyCannotBeHonoured) {
  const std::pair<const char*, const char*> wrong[] = {
      {"SSLProxyEngine maybe", "must be On or Off"},
      {"SSLProxyProtocol SSLv2", "SSLProxyProtocol: SSLv2 is no longer supported"},
      {"SSLProxyProtocol all -all", "AH02231: No SSL protocols available [hint: SSLProxyProtocol]"},
      {"SSLProxyVerify sometimes", "SSLProxyVerify: Invalid argument 'sometimes'"},
      {"SSLProxyVerifyDepth -1", "SSLProxyVerifyDepth: Invalid argument '-1'"},
      {"SSLProxyCARevocationCheck all", "SSLProxyCARevocationCheck: Invalid argument 'all'"},
      {"SSLProxyCipherSuite TLSv1.2 HIGH", "protocol 'TLSv1.2' is not known"},
      {"<Directory />\nSSLProxyVerify none\n</Directory>", "SSLProxyVerify cannot occur within <Directory> section"},
  };
  for (const auto& [lines, words] : wrong) EXPECT_THAT(ComplaintAbout(lines), HasSubstr(words)) << lines;
}

class ProxyTlsFiles : public HandlerTest {
 protected:
  std::string Wrong(const std::string& lines) {
    const config::ServerConfig config = ConfigFrom("Listen 8080\nSSLProxyEngine On\n" + lines + "\n");
    auto site = Site::Build(config, nullptr, "text/plain txt\n");
    return site ? "" : site.error().Text();
  }
};

TEST_F(ProxyTlsFiles, AreReadBeforeTheServerStarts) {
  const TestCertificate one({}), other({});
  Write("text", "no certificate");
  Write("one", one.Pem());
  Write("mixed", one.Pem() + other.KeyPem());
  Write("fine", one.Pem() + one.KeyPem());
  const std::pair<std::string, std::string> wrong[] = {
      {"SSLProxyCACertificateFile /no/such", "SSLProxyCACertificateFile: file '/no/such' does not exist or is empty"},
      {"SSLProxyCACertificatePath /no/such", "SSLProxyCACertificatePath: directory '/no/such' does not exist"},
      {"SSLProxyCACertificateFile " + root() + "/text", "AH01895: Unable to configure verify locations"},
      {"SSLProxyVerify require", "AH01896: SSLProxyVerify asks backends for certificates"},
      {"SSLProxyCARevocationCheck leaf", "AH01899: SSLProxyCARevocationCheck is on"},
      {"SSLProxyCipherSuite NONSENSE", "AH01898: SSLProxyCipherSuite: Unable to configure permitted SSL ciphers"},
      {"SSLProxyMachineCertificateFile " + root() + "/one", "AH02252: incomplete client cert configured"},
      {"SSLProxyMachineCertificateFile " + root() + "/mixed", "AH02252: incomplete client cert configured"},
      {"SSLProxyMachineCertificateChainFile " + root() + "/text", "AH02268"},
  };
  for (const auto& [lines, words] : wrong) {
    EXPECT_THAT(Wrong(lines), testing::AllOf(HasSubstr(words), HasSubstr("line 3 of /test.conf"))) << lines;
  }
  EXPECT_EQ(Wrong("SSLProxyMachineCertificateFile " + root() + "/fine"), "");
}

}  // namespace
}  // namespace httpd::modules
