#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "tests/e2e/tls_fixture.h"

namespace {

using e2e::Eventually;
using e2e::Execute;
using e2e::FileText;
using e2e::Outcome;
using e2e::Tls;
using e2e::TlsClient;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST_F(Tls, APageIsServedAndWhatTheServerSaysOfItselfIsHttps) {
  ConfigureTls(Host("a"));
  Start();
  const Outcome page = Curl("a.example", "/index.html");
  EXPECT_EQ(page.status, 0) << page.All();
  EXPECT_THAT(page.out, HasSubstr("<title>front page</title>"));
  const Outcome moved = Curl("a.example", "/folder");
  EXPECT_THAT(moved.out, HasSubstr("Location: https://a.example:" + std::to_string(tls_) + "/folder/\r\n"));
  EXPECT_THAT(Execute({"/usr/bin/curl", "-s", "-i", "http://127.0.0.1:" + std::to_string(tls_) + "/"}).out,
              testing::AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("You're speaking plain HTTP to an SSL-enabled")));
  EXPECT_TRUE(Eventually([this] {
    return FileText(root_ / "logs" / "tls.log").find("TLSv1.3 - Initial on GET /index.html") != std::string::npos;
  })) << FileText(root_ / "logs" / "tls.log");
}

TEST_F(Tls, TheNameThatTheClientSaysChoosesTheCertificate) {
  ConfigureTls(Host("a") + Host("b"));
  Start();
  EXPECT_THAT(Curl("a.example", "/index.html").out, HasSubstr(" 200 OK"));
  EXPECT_EQ(Curl("b.example", "/index.html").status, 60) << "the wrong certificate";
  EXPECT_THAT(Curl("b.example", "/index.html", {"--cacert", File("b.crt")}).out, HasSubstr(" 200 OK"));
  // One name in the handshake, another in the request.
  EXPECT_THAT(Curl("a.example", "/index.html", {"-H", "Host: b.example"}).out, StartsWith("HTTP/1.1 421 "));
  EXPECT_THAT(Curl("a.example", "/index.html", {"-H", "Host: other.example"}).out, HasSubstr(" 200 OK"));
}

TEST_F(Tls, SessionsAreResumedByEveryChildAndAfterARestartAndAnUpgrade) {
  ConfigureTls(Host("a"));
  Start();
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    const std::string session = File(std::string("session") + version);
    EXPECT_THAT(Ask(std::string(version) + " -sess_out " + session), HasSubstr("New, TLSv1."));
    const auto resume = [&] { return Ask(std::string(version) + " -sess_in " + session); };
    for (int i = 0; i < 6; ++i) EXPECT_THAT(resume(), HasSubstr("Reused, TLSv1.")) << version;  // of whichever child
    ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
    EXPECT_THAT(resume(), HasSubstr("Reused, TLSv1.")) << version;
    const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
    ASSERT_EQ(upgraded.status, 0) << upgraded.All();
    EXPECT_THAT(resume(), HasSubstr("Reused, TLSv1.")) << version;
  }
}

TEST_F(Tls, ClientsShowCertificates) {
  Certificate("client", "somebody");
  ConfigureTls(Host("a", "SSLVerifyClient require\nSSLCACertificateFile conf/client.crt"));
  Start();
  EXPECT_NE(Curl("a.example", "/index.html").status, 0);
  const std::vector<std::string> own = {"--cert", File("client.crt"), "--key", File("client.key")};
  EXPECT_THAT(Curl("a.example", "/index.html", own).out, HasSubstr(" 200 OK"));
  const std::vector<std::string> other = {"--cert", File("b.crt"), "--key", File("b.key")};
  EXPECT_NE(Curl("a.example", "/index.html", other).status, 0);
  EXPECT_TRUE(Eventually([this] {
    return FileText(root_ / "logs" / "tls.log").find("somebody Initial") != std::string::npos;
  })) << FileText(root_ / "logs" / "tls.log");
}

TEST_F(Tls, AClientMayNotRenegotiate) {
  ConfigureTls(Host("a"));
  Start();
  const Outcome said = Execute(
      {"/bin/sh", "-c",
       "(echo R; sleep 0.3; echo Q) | timeout 30 openssl s_client -tls1_2 -connect 127.0.0.1:" + std::to_string(tls_) +
           " 2>&1"});
  EXPECT_THAT(said.out, HasSubstr("no renegotiation"));
}

TEST_F(Tls, WhatIsWrongWithAKeyIsSaidBeforeAnythingStarts) {
  const auto check = [this](const std::string& hosts) {
    ConfigureTls(hosts);
    const Outcome checked = Httpd({"-t"});
    EXPECT_NE(checked.status, 0);
    return checked.All();
  };
  const std::string at = "Syntax error on line ";
  Execute({"/usr/bin/openssl", "pkey", "-in", File("a.key"), "-aes128", "-passout", "pass:word", "-out",
           File("locked.key")});
  const auto with = [this](const std::string& certificate, const std::string& key, const std::string& more = "") {
    return "<VirtualHost 127.0.0.1:" + std::to_string(tls_) + ">\nServerName a.example\nSSLCertificateFile conf/" +
           certificate + "\nSSLCertificateKeyFile conf/" + key + "\n" + more + "</VirtualHost>\n";
  };
  EXPECT_THAT(check(with("a.crt", "b.key")), testing::AllOf(HasSubstr("AH02565"), HasSubstr("do not match")));
  EXPECT_THAT(check(with("a.crt", "locked.key")), testing::AllOf(HasSubstr("AH02564"), HasSubstr("encrypted")));
  EXPECT_THAT(check(with("none.crt", "a.key")), HasSubstr("none.crt' cannot be read: No such file"));
  EXPECT_THAT(check(with("a.key", "a.key")), HasSubstr("AH02561"));
  EXPECT_THAT(check("<VirtualHost 127.0.0.1:" + std::to_string(tls_) + ">\nServerName a.example\n</VirtualHost>\n"),
              HasSubstr("AH02572"));
  ConfigureTls("SSLPassPhraseDialog exec:" + Script("phrase", "echo word").string() + "\n" +
               with("a.crt", "locked.key"));
  const Outcome opened = Httpd({"-t"});
  EXPECT_EQ(opened.status, 0) << opened.All();
}

TEST_F(Tls, ARenewedCertificateIsShownAfterAGracefulRestart) {
  ConfigureTls(Host("a"));
  Start();
  EXPECT_THAT(Curl("a.example", "/index.html").out, HasSubstr(" 200 OK"));
  const std::string old = FileText(File("a.crt"));
  Certificate("a", "a.example", "rsa:2048");
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_THAT(Curl("a.example", "/index.html").out, HasSubstr(" 200 OK"));
  e2e::WriteFile(root_ / "conf" / "old.crt", old);
  EXPECT_EQ(Curl("a.example", "/index.html", {"--cacert", File("old.crt")}).status, 60);
}

TEST_F(Tls, NobodyFailsWhileTheServerIsRestartedAndReplaced) {
  ConfigureTls(Host("a"));
  Start();
  std::atomic<bool> stop = false;
  std::atomic<int> answered = 0;
  std::atomic<int> failed = 0;
  const auto work = [&](bool keeps) {
    while (!stop) {
      TlsClient client(tls_);
      if (!client.is_open()) ++failed;
      std::string answer;
      do {
        answer = client.is_open() ? client.Get("/page.html") : "";
        ++(answer.empty() ? failed : answered);
      } while (!answer.empty() && keeps && !stop && answer.find("Connection: close") == std::string::npos);
    }
  };
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) clients.emplace_back(work, i % 2 == 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
  EXPECT_EQ(upgraded.status, 0) << upgraded.All();
  const int so_far = answered;
  EXPECT_TRUE(Eventually([&] { return answered > so_far + 20; }));
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_GT(answered, 20);
}

}  // namespace
