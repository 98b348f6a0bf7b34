// What authorities say about a host's certificate is asked for beside the loops and stapled to handshakes; with
// `openssl ocsp` as the authority's responder.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstdio>

#include "tests/e2e/tls_fixture.h"

namespace {

using e2e::Eventually;
using e2e::Execute;
using e2e::FileText;
using e2e::Outcome;
using e2e::WriteFile;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kGood[] = "Cert Status: good";
constexpr char kNothing[] = "OCSP response: no response sent";
constexpr char kTryLater[] = "OCSP Response Status: trylater";

class TlsStapling : public e2e::Tls {
 protected:
  void SetUp() override {
    Tls::SetUp();
    if (HasFatalFailure()) return;
    responder_port_ = e2e::FreePort();
    Authority("ca");
    Signed("a", "a.example", 0x1001, "ca", "authorityInfoAccess=OCSP;URI:" + Url());
  }
  void TearDown() override {
    responder_.reset();
    Tls::TearDown();
  }

  std::string Url() const { return "http://127.0.0.1:" + std::to_string(responder_port_) + "/"; }

  /// @param revoked  whether 1001 is
  /// @param signer   which authority's key the answers are signed with
  /// @param more     lines of its index
  void StartResponder(bool revoked = false, const std::string& signer = "ca", const std::string& more = "") {
    const std::string state = revoked ? "R\t491231235959Z\t200101000000Z" : "V\t491231235959Z\t";
    WriteFile(File("index"), state + "\t1001\tunknown\t/CN=a.example\n" + more);
    const std::filesystem::path said = File("responder.log");
    WriteFile(said, "");
    responder_ = std::make_unique<e2e::Running>(
        std::vector<std::string>{"/usr/bin/openssl", "ocsp", "-port", std::to_string(responder_port_), "-index",
                                 File("index"), "-CA", File("ca.crt"), "-rsigner", File(signer + ".crt"), "-rkey",
                                 File(signer + ".key"), "-nmin", "60"},
        said);
    char listening[32];
    std::snprintf(listening, sizeof listening, ":%04X ", responder_port_);
    ASSERT_TRUE(Eventually([&] {
      const std::string sockets = FileText("/proc/net/tcp") + FileText("/proc/net/tcp6");
      return sockets.find(listening) != std::string::npos;
    })) << FileText(said);
  }

  void StopResponder() { responder_.reset(); }

  std::string Status() const { return Ask("-status"); }
  bool BecomesStapled(const std::string& what) const {
    return Eventually([&] { return Status().find(what) != std::string::npos; });
  }

  uint16_t responder_port_ = 0;
  std::unique_ptr<e2e::Running> responder_;
};

TEST_F(TlsStapling, AGoodAnswerIsShownAndSurvivesRestartsAndUpgradesWithoutTheResponder) {
  StartResponder();
  ConfigureTls("SSLStaplingCache shmcb:logs/stapling(128000)\n" + Host("a", "SSLUseStapling on"));
  Start();
  ASSERT_TRUE(BecomesStapled(kGood)) << Status() << ErrorLog();
  for (int i = 0; i < 6; ++i) EXPECT_THAT(Ask("-status -tls1_2"), HasSubstr(kGood)) << "of whichever child";
  const std::filesystem::path kept = root_ / "run" / "httpd.stapling";
  ASSERT_TRUE(Eventually([&] { return std::filesystem::exists(kept); }));
  struct stat info {};
  ASSERT_EQ(::stat(kept.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);

  StopResponder();
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_THAT(Status(), HasSubstr(kGood));
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
  ASSERT_EQ(upgraded.status, 0) << upgraded.All();
  EXPECT_THAT(Status(), HasSubstr(kGood));
  ASSERT_EQ(Httpd({"-k", "stop", "--wait"}).status, 0);
  Start();
  EXPECT_THAT(Status(), HasSubstr(kGood));
}

TEST_F(TlsStapling, AResponderThatIsSilentDelaysNobodyAndIsAskedByOneChildOnly) {
  auto address = os::SocketAddress::FromIp("127.0.0.1", responder_port_);
  ASSERT_TRUE(address);
  auto silent = os::ListenTcp(address.value(), 16);
  ASSERT_TRUE(silent) << silent.error().what;
  ConfigureTls("StartServers 2\n" + Host("a", "SSLUseStapling on\nSSLStaplingResponderTimeout 600"));
  Start();
  pollfd wait{silent.value().get(), POLLIN, 0};
  ASSERT_EQ(::poll(&wait, 1, 30000), 1) << "nobody asks";
  const os::Fd asked(::accept4(silent.value().get(), nullptr, nullptr, SOCK_CLOEXEC));
  for (int i = 0; i < 4; ++i) {
    EXPECT_THAT(Status(), AllOf(HasSubstr(kNothing), HasSubstr("HTTP/1.1 200")));
  }
  EXPECT_EQ(::poll(&wait, 1, 0), 0) << "somebody asks as well";
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0) << "nor do children that leave wait for it";
  EXPECT_THAT(Status(), HasSubstr(kNothing));
  EXPECT_EQ(::poll(&wait, 1, 30000), 1) << "who has asked is gone: the next one asks at once";
}

TEST_F(TlsStapling, EachOfTwoCertificatesHasItsOwn) {
  Signed("rsa", "a.example", 0x1002, "ca", "authorityInfoAccess=OCSP;URI:" + Url(), "rsa:2048");
  StartResponder(false, "ca", "R\t491231235959Z\t200101000000Z\t1002\tunknown\t/CN=a.example\n");
  ConfigureTls(Host("a", "SSLCertificateFile conf/rsa.crt\nSSLCertificateKeyFile conf/rsa.key\nSSLUseStapling on"));
  Start();
  const auto of_kind = [this](const std::string& algorithm) { return Ask("-status -tls1_3 -sigalgs " + algorithm); };
  EXPECT_TRUE(Eventually([&] { return of_kind("ECDSA+SHA256").find(kGood) != std::string::npos; }));
  EXPECT_TRUE(Eventually([&] { return of_kind("RSA-PSS+SHA256").find("Cert Status: revoked") != std::string::npos; }));
}

TEST_F(TlsStapling, ARevokedCertificateIsShownAsSuchUnlessErrorsAreToBeKept) {
  StartResponder(true);
  ConfigureTls(Host("a", "SSLUseStapling on"));
  Start();
  ASSERT_TRUE(BecomesStapled("Cert Status: revoked")) << Status() << ErrorLog();
  EXPECT_THAT(ErrorLog(), HasSubstr("AH02969: stapling_check_response: response has certificate status revoked"));
  ConfigureTls(Host("a", "SSLUseStapling on\nSSLStaplingReturnResponderErrors off"));
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_THAT(Status(), HasSubstr(kNothing));
}

TEST_F(TlsStapling, WithoutAnAnswerClientsAreToldToTryLaterIfSo) {
  ConfigureTls(Host("a", "SSLUseStapling on"));
  Start();
  ASSERT_TRUE(BecomesStapled(kTryLater)) << Status() << ErrorLog();
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01941: stapling_renew_response: responder error"));
  ConfigureTls(Host("a", "SSLUseStapling on\nSSLStaplingFakeTryLater off"));
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_THAT(Status(), HasSubstr(kNothing));
}

TEST_F(TlsStapling, AnAnswerThatSomebodyElseHasSignedIsNotShown) {
  Authority("other");
  StartResponder(false, "other");
  ConfigureTls(Host("a", "SSLUseStapling on"));
  Start();
  ASSERT_TRUE(Eventually([this] { return ErrorLog().find("not signed by the authority") != std::string::npos; }))
      << ErrorLog();
  EXPECT_THAT(Status(), Not(HasSubstr(kGood)));
}

TEST_F(TlsStapling, WhatCannotBeStapledIsSaidByACheckAndServedAllTheSame) {
  Certificate("b", "b.example");
  ConfigureTls(Host("a", "SSLUseStapling on\nSSLStaplingForceURL http://127.0.0.1:1/") +
               Host("b", "SSLUseStapling on"));
  const Outcome checked = Httpd({"-t"});
  EXPECT_EQ(checked.status, 0);
  EXPECT_THAT(checked.All(), HasSubstr("AH02604: Unable to configure certificate b.example:" + std::to_string(tls_) +
                                       ":0 for stapling: AH02218: no OCSP URI in certificate"));
  EXPECT_THAT(checked.All(), Not(HasSubstr("certificate a.example")));
  Start();
  EXPECT_THAT(ErrorLog(), HasSubstr("AH02604"));
  EXPECT_THAT(Curl("b.example", "/index.html", {"--cacert", File("b.crt")}).out, HasSubstr(" 200 OK"));
}

}  // namespace
