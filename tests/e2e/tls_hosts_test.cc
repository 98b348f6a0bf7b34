// What one of several hosts of an address says of TLS holds for it, and for it alone: the name in the first message of
// the client (SNI) chooses.
#include <gmock/gmock.h>

#include "tests/e2e/tls_fixture.h"

namespace {

using e2e::Outcome;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class TlsHosts : public e2e::Tls {
 protected:
  void SetUp() override {
    Tls::SetUp();
    for (const char* name : {"c", "d", "e"}) Certificate(name, std::string(name) + ".example");
  }
  std::string AskHost(const std::string& name, const std::string& options) const {
    return Say("GET /index.html HTTP/1.1\\r\\nHost: " + name + ".example\\r\\nConnection: close\\r\\n\\r\\n",
               "-servername " + name + ".example " + options);
  }
  /// A host with the certificate of host a.
  std::string Twin(const std::string& name, const std::string& more) const {
    std::string text = Host(name, more);
    for (const char* end : {".crt", ".key"}) {
      const std::string own = "conf/" + name + end;
      text.replace(text.find(own), own.size(), std::string("conf/a") + end);
    }
    return text;
  }
};

constexpr char kOk[] = "HTTP/1.1 200 OK";

TEST_F(TlsHosts, ProtocolsAreThoseOfTheNamedHostWhicheverIsTheFirst) {
  const std::string old = Host("c", "SSLProtocol TLSv1.2");
  const std::string young = Host("d", "SSLProtocol TLSv1.3");
  for (const bool old_first : {true, false}) {
    ConfigureTls(old_first ? old + young : young + old);
    if (Pid() == 0) {
      Start();
    } else {
      ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
    }
    EXPECT_THAT(AskHost("c", "-tls1_2"), HasSubstr(kOk));
    EXPECT_THAT(AskHost("c", "-tls1_3"), Not(HasSubstr("HTTP/1.1")));
    EXPECT_THAT(AskHost("d", "-tls1_3"), HasSubstr(kOk));
    EXPECT_THAT(AskHost("d", "-tls1_2"), Not(HasSubstr("HTTP/1.1")));
    EXPECT_THAT(AskHost("c", ""), AllOf(HasSubstr(kOk), HasSubstr("New, TLSv1.2")));
  }
}

TEST_F(TlsHosts, CiphersTheirOrderAndTicketsAreThoseOfTheNamedHost) {
  const std::string ours = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256";
  const std::string theirs = "-cipher ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305 -tls1_2";
  ConfigureTls(Host("a") + Host("c", "SSLHonorCipherOrder on\nSSLCipherSuite " + ours) +
               Host("d", "SSLSessionTickets off\nSSLCipherSuite TLSv1.3 TLS_CHACHA20_POLY1305_SHA256") +
               Host("e", "SSLCipherSuite ECDHE-ECDSA-AES256-GCM-SHA384"));
  Start();
  EXPECT_THAT(AskHost("a", theirs), HasSubstr("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256")) << "the client's order";
  EXPECT_THAT(AskHost("c", theirs), HasSubstr("Cipher is ECDHE-ECDSA-CHACHA20-POLY1305"));
  EXPECT_THAT(AskHost("e", theirs), Not(HasSubstr("HTTP/1.1"))) << "none in common";
  EXPECT_THAT(AskHost("a", "-tls1_3"),
              AllOf(HasSubstr("Cipher is TLS_AES_256_GCM_SHA384"), HasSubstr("TLS session ticket:")));
  EXPECT_THAT(AskHost("d", "-tls1_3"), AllOf(HasSubstr(kOk), HasSubstr("Cipher is TLS_CHACHA20_POLY1305_SHA256"),
                                             Not(HasSubstr("TLS session ticket:"))));
  EXPECT_THAT(AskHost("a", "-tls1_2"), HasSubstr("TLS session ticket:"));
  EXPECT_THAT(AskHost("d", "-tls1_2"), AllOf(HasSubstr(kOk), Not(HasSubstr("TLS session ticket:"))));
}

TEST_F(TlsHosts, TheOnlyOnesTicketsAndCiphersAreAsItSays) {
  ConfigureTls(Host("a", "SSLSessionCacheTimeout 77\nSSLCipherSuite TLSv1.3 TLS_CHACHA20_POLY1305_SHA256"));
  Start();
  EXPECT_THAT(Ask("-tls1_3"), HasSubstr("Cipher is TLS_CHACHA20_POLY1305_SHA256"));
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    EXPECT_THAT(Ask(version), HasSubstr("lifetime hint: 77 (seconds)")) << version;
  }
}

TEST_F(TlsHosts, WhoseOrderOfProtocolsCountsIsAsItSays) {
  ConfigureTls(Host("a", "Protocols http/1.1 h2") + Host("c", "Protocols http/1.1 h2\nProtocolsHonorOrder off"));
  Start();
  EXPECT_THAT(AskHost("a", "-alpn h2,http/1.1"), HasSubstr("ALPN protocol: http/1.1"));
  EXPECT_THAT(AskHost("c", "-alpn h2,http/1.1"), HasSubstr("ALPN protocol: h2"));
}

TEST_F(TlsHosts, OnlyTheNamedHostAsksForACertificateAndNoOtherNameGetsAroundIt) {
  Authority("ca");
  Signed("client", "client", 2, "ca");
  ConfigureTls(Host("a") + Twin("b", "SSLVerifyClient require\nSSLCACertificateFile conf/ca.crt"));
  Start();
  EXPECT_THAT(AskHost("a", "-tls1_3"), HasSubstr(kOk));
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    EXPECT_THAT(AskHost("b", version), Not(HasSubstr("HTTP/1.1"))) << version;
    EXPECT_THAT(AskHost("b", std::string(version) + " -cert " + File("client.crt") + " -key " + File("client.key")),
                HasSubstr(kOk));
    // The name of the one in the handshake, the other's in the request; their certificate is the same.
    EXPECT_THAT(Say("GET / HTTP/1.1\\r\\nHost: b.example\\r\\nConnection: close\\r\\n\\r\\n",
                    std::string("-servername a.example ") + version),
                HasSubstr("HTTP/1.1 421 Misdirected Request"));
    // A session that was begun without a certificate is none for who asks for one.
    const std::string session = File(std::string("session") + version);
    EXPECT_THAT(AskHost("a", std::string(version) + " -sess_out " + session), HasSubstr("New, "));
    EXPECT_THAT(AskHost("b", std::string(version) + " -sess_in " + session), Not(HasSubstr("HTTP/1.1"))) << version;
  }
}

TEST_F(TlsHosts, ClientsThatNameNobodyAreRefusedWhereThatIsSaid) {
  const auto nameless = [this] {
    return Say("GET / HTTP/1.1\\r\\nHost: a.example\\r\\nConnection: close\\r\\n\\r\\n", "-noservername");
  };
  ConfigureTls(Host("a") + Host("b"));
  Start();
  EXPECT_THAT(nameless(), HasSubstr(kOk));
  // A name in the handshake, and none in the request.
  EXPECT_THAT(Say("GET / HTTP/1.0\\r\\n\\r\\n", "-servername a.example"), HasSubstr("HTTP/1.1 400 "));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH02031: Hostname a.example provided via SNI, but no hostname provided"));
  ConfigureTls(Host("a") + Host("b", "SSLStrictSNIVHostCheck on"));
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_THAT(nameless(), HasSubstr(kOk)) << "of another host";
  EXPECT_THAT(Say("GET / HTTP/1.1\\r\\nHost: b.example\\r\\nConnection: close\\r\\n\\r\\n", "-noservername"),
              HasSubstr("HTTP/1.1 403 "));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH02033"));
}

TEST_F(TlsHosts, VariablesSayWhatTheHandshakeWas) {
  Certificate("client", "client.example");
  ConfigureTls(Host("a",
                    "SSLVerifyClient optional\nSSLCACertificateFile conf/client.crt\nSSLUserName SSL_CLIENT_S_DN_CN\n"
                    "LogFormat \"%u\" user\nCustomLog logs/user.log user\nSSLOptions +StdEnvVars +ExportCertData\n"
                    "Header set X-Is \"expr=%{SSL_PROTOCOL} %{SSL_CIPHER} %{SSL_CLIENT_VERIFY} "
                    "%{SSL_CLIENT_S_DN} %{SSL_CLIENT_S_DN_O_1}. %{SSL_CLIENT_SAN_DNS_0} %{SSL_CLIENT_SAN_Email_0}.\"\n"
                    "Header set X-Set \"%{SSL_CLIENT_S_DN_CN}e %{SSL_SERVER_S_DN_CN}e %{SSL_TLS_SNI}e %{HTTPS}e\"\n"
                    "Header set X-Data \"expr=%{reqenv:SSL_CLIENT_CERT}\" "
                    "\"expr=%{reqenv:SSL_CLIENT_CERT} =~ /BEGIN CERTIFICATE/\"\n"
                    "<Location /page.html>\nSSLOptions +LegacyDNStringFormat\n</Location>"));
  Start();
  const Outcome page = Curl("a.example", "/index.html", Showing("client"));
  EXPECT_THAT(page.out, HasSubstr("X-Is: TLSv1.3 TLS_AES_256_GCM_SHA384 SUCCESS CN=client.example,O=test . "
                                  "client.example .\r\n"));
  EXPECT_THAT(page.out, HasSubstr("X-Set: client.example a.example a.example on\r\n"));
  EXPECT_THAT(page.out, HasSubstr("X-Data: -----BEGIN CERTIFICATE-----"));
  EXPECT_THAT(Curl("a.example", "/page.html", Showing("client")).out, HasSubstr(" /O=test/CN=client.example "));
  EXPECT_THAT(Curl("a.example", "/index.html").out, AllOf(HasSubstr(" NONE  . "), Not(HasSubstr("X-Data"))));
  EXPECT_TRUE(e2e::Eventually([this] {
    return e2e::FileText(root_ / "logs" / "user.log").find("client.example\n") != std::string::npos;
  })) << e2e::FileText(root_ / "logs" / "user.log");
}

TEST_F(TlsHosts, APlainConnectionDoesNotReachAHostThatAsksForACertificate) {
  Authority("ca");
  std::string asking = Host("a", "SSLVerifyClient require\nSSLCACertificateFile conf/ca.crt");
  asking.replace(asking.find(std::to_string(tls_)), std::to_string(tls_).size(), std::to_string(port_));
  ConfigureTls("<VirtualHost 127.0.0.1:" + std::to_string(port_) + ">\nServerName plain.example\n</VirtualHost>\n" +
               asking + Host("b"));
  Start();
  const auto get = [this](const std::string& host) {
    return e2e::Execute({"/usr/bin/curl", "-s", "-i", "-H", "Host: " + host,
                         "http://127.0.0.1:" + std::to_string(port_) + "/index.html"})
        .out;
  };
  EXPECT_THAT(get("plain.example"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(get("a.example"), StartsWith("HTTP/1.1 403 "));
}

}  // namespace
