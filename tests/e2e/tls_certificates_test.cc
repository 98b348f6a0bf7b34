// Certificates of clients, of several kinds, revoked ones; what two servers know of each other's sessions.
#include <gmock/gmock.h>

#include "tests/e2e/tls_fixture.h"

namespace {

using e2e::Eventually;
using e2e::FileText;
using e2e::Outcome;
using e2e::WriteFile;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class TlsCertificates : public e2e::Tls {
 protected:
  /// What curl gets for a page, with its certificate: the status line, or "curl N".
  std::string Page(const std::vector<std::string>& more = {}, const std::string& path = "/index.html") const {
    const Outcome got = Curl("a.example", path, more);
    return got.status == 0 ? got.out.substr(0, got.out.find('\r')) : "curl " + std::to_string(got.status);
  }
};

TEST_F(TlsCertificates, TheSubjectOfACertificateIsAUserWithFakeBasicAuth) {
  Authority("ca");
  Signed("somebody", "somebody", 2, "ca");
  Signed("other", "other", 3, "ca");
  WriteFile(root_ / "conf" / "users", "/O=test/CN=somebody:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n");
  ConfigureTls(Host("a",
                    "SSLVerifyClient optional\nSSLCACertificateFile conf/ca.crt\n"
                    "<Location />\nSSLOptions +FakeBasicAuth\nAuthType Basic\nAuthName x\n"
                    "AuthUserFile conf/users\nRequire valid-user\n</Location>\n"
                    "LogFormat \"%u %>s\" user\nCustomLog logs/user.log user"));
  Start();
  EXPECT_EQ(Page(Showing("somebody")), "HTTP/1.1 200 OK");
  EXPECT_EQ(Page(Showing("other")), "HTTP/1.1 401 Unauthorized");
  EXPECT_EQ(Page(), "HTTP/1.1 401 Unauthorized");
  EXPECT_EQ(Page({"-u", "/O=test/CN=somebody:password"}), "HTTP/1.1 403 Forbidden") << "only a certificate can say so";
  EXPECT_THAT(ErrorLog(), HasSubstr("AH02035: Encountered FakeBasicAuth spoof"));
  EXPECT_TRUE(Eventually([this] {
    return FileText(root_ / "logs" / "user.log").find("/O=test/CN=somebody 200") != std::string::npos;
  })) << FileText(root_ / "logs" / "user.log");
}

TEST_F(TlsCertificates, ThoseThatTheirAuthorityHasRevokedAreRefused) {
  Authority("ca");
  Authority("other");
  Signed("good", "good", 2, "ca");
  Signed("revoked", "revoked", 3, "ca");
  const auto revoke = [this](const std::string& authority, const std::string& lines) {
    WriteFile(File("index"), lines);
    WriteFile(File("ca.conf"), "[ca]\ndefault_ca = d\n[d]\ndatabase = " + File("index") +
                                   "\ndefault_md = sha256\ndefault_crl_days = 2\n");
    OpenSsl({"ca", "-gencrl", "-config", File("ca.conf"), "-keyfile", File(authority + ".key"), "-cert",
             File(authority + ".crt"), "-out", File(authority + ".crl")});
  };
  revoke("ca", "R\t491231235959Z\t200101000000Z\t03\tunknown\t/CN=revoked\n");
  revoke("other", "");
  const auto configure = [this](const std::string& more) {
    ConfigureTls(Host("a", "SSLVerifyClient require\nSSLCACertificateFile conf/ca.crt\n" + more));
    if (Pid() == 0) return Start();
    ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  };
  configure("SSLCARevocationFile conf/ca.crl\nSSLCARevocationCheck chain");
  EXPECT_EQ(Page(Showing("good")), "HTTP/1.1 200 OK");
  EXPECT_THAT(Page(Showing("revoked")), StartsWith("curl "));
  configure("SSLCARevocationFile conf/ca.crl\nSSLCARevocationCheck leaf");
  EXPECT_THAT(Page(Showing("revoked")), StartsWith("curl "));
  configure("SSLCARevocationFile conf/ca.crl");
  EXPECT_EQ(Page(Showing("revoked")), "HTTP/1.1 200 OK") << "nobody has asked for a check";
  // Without the list of its authority, a certificate is refused, unless that is said to be well.
  configure("SSLCARevocationFile conf/other.crl\nSSLCARevocationCheck chain");
  EXPECT_THAT(Page(Showing("good")), StartsWith("curl "));
  configure("SSLCARevocationFile conf/other.crl\nSSLCARevocationCheck chain no_crl_for_cert_ok");
  EXPECT_EQ(Page(Showing("good")), "HTTP/1.1 200 OK");
  // One whose signer was revoked: "leaf" does not look, "chain" does.
  Signed("middle", "middle", 3, "ca", "basicConstraints=critical,CA:TRUE");
  Signed("far", "far", 4, "middle");
  revoke("middle", "");
  WriteFile(File("both.crl"), FileText(File("ca.crl")) + FileText(File("middle.crl")));
  configure("SSLVerifyDepth 2\nSSLCARevocationFile conf/both.crl\nSSLCARevocationCheck leaf");
  EXPECT_EQ(Page(Showing("far")), "HTTP/1.1 200 OK");
  configure("SSLVerifyDepth 2\nSSLCARevocationFile conf/both.crl\nSSLCARevocationCheck chain");
  EXPECT_THAT(Page(Showing("far")), StartsWith("curl "));
}

TEST_F(TlsCertificates, OfClientsMayStandAsFarFromTheirAuthorityAsIsSaid) {
  Authority("ca");
  Signed("middle", "middle", 2, "ca", "basicConstraints=critical,CA:TRUE");
  Signed("near", "near", 3, "ca");
  Signed("far", "far", 4, "middle");
  const std::string host = "SSLVerifyClient require\nSSLCACertificateFile conf/ca.crt\n";
  ConfigureTls(Host("a", host));
  Start();
  EXPECT_EQ(Page(Showing("near")), "HTTP/1.1 200 OK");
  EXPECT_THAT(Page(Showing("far")), StartsWith("curl ")) << "SSLVerifyDepth is 1";
  ConfigureTls(Host("a", host + "SSLVerifyDepth 2"));
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_EQ(Page(Showing("far")), "HTTP/1.1 200 OK");
}

TEST_F(TlsCertificates, OfClientsThatNobodyKnowsAreTakenWhereThatIsSaidAndCalledSo) {
  Certificate("stranger", "stranger");
  ConfigureTls(Host("a",
                    "SSLVerifyClient optional_no_ca\nSSLOptions +FakeBasicAuth\n"
                    "Header set X-Is \"expr=%{SSL_CLIENT_VERIFY} %{SSL_CLIENT_S_DN_CN} [%{req:Authorization}]\"\n"
                    "<Location /page.html>\nRequire ssl-verify-client\n</Location>"));
  Start();
  EXPECT_THAT(Curl("a.example", "/index.html", Showing("stranger")).out, HasSubstr("X-Is: GENEROUS stranger []\r\n"))
      << "nor is somebody a user whom nobody knows";
  EXPECT_THAT(Curl("a.example", "/index.html").out, HasSubstr("X-Is: NONE"));
  EXPECT_EQ(Page(Showing("stranger"), "/page.html"), "HTTP/1.1 403 Forbidden");
}

TEST_F(TlsCertificates, WhatSslRequireAsksOfThemIsAskedAsModSslDoes) {
  Authority("ca");
  Signed("client", "somebody", 2, "ca", "extendedKeyUsage=clientAuth\n1.2.3.4=ASN1:UTF8String:tenth floor");
  struct Case {
    std::string condition;
    bool holds, holds_without;  // a certificate
  };
  const std::vector<Case> cases = {
      {"%{SSL_CLIENT_S_DN_O} eq \"test\"", true, false},
      {"%{SSL_CLIENT_S_DN_CN} in {\"nobody\", \"somebody\"}", true, false},
      {"%{SSL_CIPHER_USEKEYSIZE} > 99", true, true},  // the longer one
      {"%{SSL_CIPHER_USEKEYSIZE} -lt 1000 and \"9\" le \"10\" and \"b\" >= \"a\"", true, true},
      {"\"a\" -eq \"b\"", false, false},  // texts, not numbers
      {"\"TLS Web Client Authentication\" in PeerExtList(\"extendedKeyUsage\")", true, false},
      {"\"tenth floor\" in PeerExtList(\"1.2.3.4\")", true, false},
      {"(    %{SSL_CIPHER} !~ m/^(EXP|NULL)-/ \\\n and %{SSL_CLIENT_S_DN_O} eq \"test\" \\\n"
       " and %{TIME_WDAY} -ge 0 and %{TIME_WDAY} -le 6 ) \\\n or %{REMOTE_ADDR} =~ m/^192\\.76\\.162\\.[0-9]+$/",
       true, false},
      {"true\nSSLRequire false", false, false}};
  std::string sections = "<Location />\nSSLRequire %{SSL_PROTOCOL} eq \"TLSv1.3\"\n</Location>\n";
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string name = "case" + std::to_string(i) + ".html";
    WriteFile(root_ / "site" / name, "x");
    sections += "<Location /" + name + ">\nSSLRequire " + cases[i].condition + "\n</Location>\n";
  }
  WriteFile(root_ / "site" / "expr.html", "x");
  sections +=
      "<Location /expr.html>\nRequire expr %{SSL:SSL_CLIENT_S_DN_CN} == 'somebody' && "
      "'tenth floor' in PeerExtList('1.2.3.4')\n</Location>\n";
  ConfigureTls(sections + Host("a", "SSLVerifyClient optional\nSSLCACertificateFile conf/ca.crt"));
  Start();
  const auto line = [](bool holds) { return holds ? "HTTP/1.1 200 OK" : "HTTP/1.1 403 Forbidden"; };
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string path = "/case" + std::to_string(i) + ".html";
    EXPECT_EQ(Page(Showing("client"), path), line(cases[i].holds)) << cases[i].condition;
    EXPECT_EQ(Page({}, path), line(cases[i].holds_without)) << cases[i].condition;
  }
  EXPECT_EQ(Page(Showing("client"), "/expr.html"), line(true));
  EXPECT_EQ(Page({}, "/expr.html"), line(false));
  EXPECT_EQ(Page({"--tls-max", "1.2"}, "/case2.html"), line(false)) << "what is asked of all places";
  EXPECT_THAT(ErrorLog(), HasSubstr("failed, reason: SSL requirement expression not fulfilled"));
  const auto plain = Get("/case4.html");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->status, 200) << "asked of TLS only, as in Apache";
}

TEST_F(TlsCertificates, OfTwoKindsTheClientPicksOne) {
  Certificate("rsa", "a.example", "rsa:2048");
  ConfigureTls(Host("a", "SSLCertificateFile conf/rsa.crt\nSSLCertificateKeyFile conf/rsa.key"));
  Start();
  EXPECT_THAT(Ask("-tls1_3 -sigalgs ECDSA+SHA256"), HasSubstr("Peer signature type: ECDSA"));
  EXPECT_THAT(Ask("-tls1_3 -sigalgs RSA-PSS+SHA256"), HasSubstr("Peer signature type: RSA-PSS"));
  EXPECT_THAT(Ask("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256"), HasSubstr("Cipher is ECDHE-ECDSA-AES128-GCM"));
  EXPECT_THAT(Ask("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256"), HasSubstr("Cipher is ECDHE-RSA-AES128-GCM"));
  EXPECT_EQ(Page({"--cacert", File("a.crt"), "--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"}),
            "HTTP/1.1 200 OK");
}

TEST_F(TlsCertificates, SessionsOfOneServerAreResumedByAnotherThatHasTheSameTicketKey) {
  // A second server below the first one's root, with the same certificate and ports of its own.
  const std::filesystem::path second = root_ / "second";
  const uint16_t second_tls = e2e::FreePort();
  const uint16_t second_port = e2e::FreePort();
  for (const char* name : {"conf", "logs", "run"}) std::filesystem::create_directories(second / name);
  std::filesystem::permissions(second / "run", std::filesystem::perms::owner_all);
  WriteFile(root_ / "conf" / "ticket.key", std::string(16, 'n') + std::string(16, 's') + std::string(16, 'k'));
  const auto replace = [](std::string text, const std::string& from, const std::string& to) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
      text.replace(at, from.size(), to);
    }
    return text;
  };
  for (const bool shares : {false, true}) {
    ConfigureTls(Host("a", shares ? "SSLSessionTicketKeyFile conf/ticket.key" : ""));
    std::string text = FileText(root_ / "conf" / "httpd.conf");
    text = replace(text, root_.string(), second.string());
    text = replace(text, std::to_string(tls_), std::to_string(second_tls));
    text = replace(text, std::to_string(port_), std::to_string(second_port));
    WriteFile(second / "conf" / "httpd.conf", text);
    for (const char* name : {"conf/a.crt", "conf/a.key", "conf/ticket.key", "site"}) {
      std::filesystem::copy(
          root_ / name, second / name,
          std::filesystem::copy_options::overwrite_existing | std::filesystem::copy_options::recursive);
    }
    Start();
    std::vector<std::string> words = HttpdCommand({"-D", "FOREGROUND"});
    for (std::string& word : words) word = replace(word, root_.string(), second.string());
    e2e::Running other(words, second / "said");
    ASSERT_TRUE(Eventually([&] { return Ask("", second_tls).find("HTTP/1.1 200") != std::string::npos; }))
        << FileText(second / "said") << FileText(second / "logs" / "error.log");
    for (const std::string version : {"-tls1_2", "-tls1_3"}) {
      const std::string session = File("session" + version);
      EXPECT_THAT(Ask(version + " -sess_out " + session), HasSubstr("New, TLSv1."));
      EXPECT_THAT(Ask(version + " -sess_in " + session, second_tls),
                  HasSubstr(shares ? "Reused, TLSv1." : "New, TLSv1."))
          << version;
      EXPECT_THAT(Ask(version + " -sess_in " + session), HasSubstr("Reused, TLSv1.")) << version;
    }
    other.Signal(SIGTERM);
    other.Wait();
    ASSERT_EQ(Httpd({"-k", "stop", "--wait"}).status, 0);
  }
}

}  // namespace
