#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "httpd/modules/ssl_context.h"
#include "httpd/modules/ssl_settings.h"
#include "httpd/modules/ssl_tickets.h"
#include "tests/httpd/modules/handler_fixture.h"
#include "tests/httpd/modules/refusal.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;

// ---- directives -----------------------------------------------------------------------------------------------------

TEST(SslDirectives, RefuseWhatCannotBeHonouredAndSayWhy) {
  const std::pair<const char*, const char*> wrong[] = {
      {"SSLEngine optional", "must be On or Off"},
      {"SSLProtocol all -TLSv1.4", "SSLProtocol: Illegal protocol 'TLSv1.4'"},
      {"SSLProtocol SSLv2", "SSLv2 is no longer supported"},
      {"SSLProtocol +SSLv3", "SSLv3 not supported"},
      {"SSLProtocol all -all", "AH02231: No SSL protocols available"},
      {"SSLCipherSuite TLSv1.2 HIGH", "protocol 'TLSv1.2' is not known"},
      {"SSLVerifyClient maybe", "SSLVerifyClient: Invalid argument 'maybe'"},
      {"<Directory />\nSSLVerifyClient require\n</Directory>", "SSLVerifyClient holds for a whole host here"},
      {"<Location />\nSSLCipherSuite HIGH\n</Location>", "SSLCipherSuite holds for a whole host here"},
      {"<Location />\nSSLVerifyDepth 2\n</Location>", "SSLVerifyDepth holds for a whole host here"},
      {"SSLOptions +Nothing", "SSLOptions: Illegal option 'Nothing'"},
      {"SSLCompression on", "SSLCompression on cannot be had"},
      {"SSLInsecureRenegotiation on", "SSLInsecureRenegotiation on cannot be had"},
      {"SSLStaplingCache memory:x", "SSLStaplingCache: 'memory' stapling cache not supported"},
      {"SSLStaplingResponderTimeout -1", "SSLStaplingResponderTimeout: invalid argument"},
      {"SSLStaplingResponseMaxAge -2", "SSLStaplingResponseMaxAge: invalid argument"},
      {"SSLStaplingErrorCacheTimeout soon", "SSLStaplingErrorCacheTimeout: invalid argument"},
      {"SSLStaplingForceURL https://a.example/", "SSLStaplingForceURL: 'https://a.example/' is no address"},
      {"SSLOCSPEnable leaf", "SSLOCSPEnable leaf cannot be had"},
      {"SSLFIPS on", "SSLFIPS on cannot be had"},
      {"SSLSessionCache memory", "'memory' session cache not supported"},
      {"SSLSessionCacheTimeout -1", "SSLSessionCacheTimeout: Invalid argument"},
      {"SSLPassPhraseDialog |/bin/x", "SSLPassPhraseDialog: '|/bin/x' is not supported"},
      {"SSLRandomSeed later builtin", "SSLRandomSeed: Invalid context: `later'"},
      {"SSLCryptoDevice tpm", "SSLCryptoDevice: Invalid argument"},
      {"SSLVHostSNIPolicy lax", "Invalid SSLVhostSNIPolicy setting 'lax'"},
      {"SSLCARevocationCheck some", "SSLCARevocationCheck: Invalid argument 'some'"},
      {"SSLCertificateFile pkcs11:token", "'pkcs11:token' is no file"},
      {"<Location />\nSSLRequire %{NOBODY} eq 1\n</Location>", "SSLRequire: Variable 'NOBODY' does not exist"},
      {"<Location />\nSSLRequire %{SSL_CIPHER} eq\n</Location>", "SSLRequire: syntax error, unexpected $end"},
      {"<Location />\nSSLRequire \"a\" in ExtList(\"b\")\n</Location>", "List-returning function 'ExtList' does not"},
      {"SSLRequire true", "SSLRequire not allowed here"},
      {"<Location />\nRequire ssl on\n</Location>", "'Require ssl' does not take arguments"},
  };
  for (const auto& [lines, words] : wrong) EXPECT_THAT(ComplaintAbout(lines), HasSubstr(words)) << lines;
}

TEST(SslDirectives, TakeWhatApacheTakes) {
  for (const char* fine : {"SSLEngine off",
                           "SSLProtocol all -SSLv3 -TLSv1 -TLSv1.1",
                           "SSLProtocol -all +TLSv1.2 +TLSv1.3",
                           "SSLCipherSuite HIGH:!aNULL",
                           "SSLCipherSuite TLSv1.3 TLS_AES_128_GCM_SHA256",
                           "SSLHonorCipherOrder on",
                           "SSLCompression off",
                           "SSLSessionTickets off",
                           "SSLSessionCache none",
                           "SSLSessionCacheTimeout 300",
                           "SSLVerifyClient none",
                           "SSLVerifyDepth 10",
                           "SSLOptions StdEnvVars ExportCertData",
                           "<Files x>\nSSLOptions +StdEnvVars -ExportCertData +OptRenegotiate\n</Files>",
                           "<Location />\nSSLRequireSSL\n</Location>",
                           "<Location />\nRequire ssl\n</Location>",
                           "<Location />\nRequire ssl-verify-client\n</Location>",
                           "<Location />\nSSLRequire %{SSL_CIPHER_USEKEYSIZE} >= 128\n</Location>",
                           "<Location />\nSSLRequire \"a\" in PeerExtList(\"1.2.3\")\n</Location>",
                           "SSLUserName SSL_CLIENT_S_DN_CN",
                           "SSLOpenSSLConfCmd Curves X25519",
                           "SSLUseStapling on\nSSLStaplingFakeTryLater off\nSSLStaplingReturnResponderErrors off",
                           "SSLStaplingStandardCacheTimeout 60\nSSLStaplingErrorCacheTimeout 0",
                           "SSLStaplingResponseTimeSkew 0\nSSLStaplingResponseMaxAge -1",
                           "SSLStaplingForceURL http://a.example:8080/x",
                           "SSLStrictSNIVHostCheck on",
                           "Listen 9443 https"}) {
    EXPECT_EQ(ComplaintAbout(fine), "") << fine;
  }
}

TEST(SslDirectives, SayThatSessionsAreKeptInTicketsOnly) {
  const config::ServerConfig c = ConfigFrom(
      "SSLSessionCache shmcb:/run/x(512000)\nSSLRandomSeed startup builtin\n"
      "SSLStaplingCache shmcb:/run/y(128000)\nSSLOCSPEnable off\nSSLOCSPDefaultResponder http://a.example/\n");
  EXPECT_THAT(c.warnings,
              testing::Contains(HasSubstr("SSLSessionCache shmcb keeps nothing here: sessions are resumed")));
  EXPECT_THAT(c.warnings, testing::Contains(HasSubstr("SSLStaplingCache shmcb keeps nothing here")));
  EXPECT_THAT(c.warnings, testing::Contains(HasSubstr("SSLOCSPDefaultResponder has no meaning here: nobody is asked")));
  EXPECT_THAT(c.warnings, testing::Contains(HasSubstr("SSLRandomSeed has no meaning here")));
}

TEST(SslDirectives, OfAHostReplaceThoseOfTheServer) {
  const config::ServerConfig c = ConfigFrom(
      "SSLProtocol TLSv1.3\nSSLCertificateFile a.crt\nSSLCertificateKeyFile a.key\nSSLVerifyDepth 3\n"
      "<VirtualHost *:8080>\nServerName x\nSSLCertificateFile b.crt\nSSLProtocol +TLSv1.2\n</VirtualHost>\n"
      "<VirtualHost *:8080>\nServerName y\n</VirtualHost>\n");
  const auto& x = *c.virtual_hosts[0].settings.modules.Find<SslSettings>();
  ASSERT_EQ(x.certificates.size(), 1U);
  EXPECT_TRUE(x.certificates[0].path.ends_with("/b.crt"));
  EXPECT_TRUE(x.keys.empty()) << "the key of another certificate";
  EXPECT_EQ(x.protocols, unsigned{kTls12});
  EXPECT_EQ(x.verify_depth, 3);
  const auto& y = *c.virtual_hosts[1].settings.modules.Find<SslSettings>();
  EXPECT_TRUE(y.certificates[0].path.ends_with("/a.crt"));
  EXPECT_EQ(y.protocols, unsigned{kTls13});
}

TEST(SslDirectives, OptionsOfSectionsAreMergedBySign) {
  SslPlaceSettings outer, inner;
  outer.options = kSslStdEnvVars | kSslExportCertData;
  inner.remove = kSslExportCertData;
  inner.add = kSslFakeBasicAuth;
  const auto merged = outer.MergedWith(inner);
  EXPECT_EQ(static_cast<const SslPlaceSettings&>(*merged).Options(), unsigned{kSslStdEnvVars | kSslFakeBasicAuth});
  inner.options = kSslLegacyDn;
  inner.add = inner.remove = 0;
  const auto replaced = outer.MergedWith(inner);
  EXPECT_EQ(static_cast<const SslPlaceSettings&>(*replaced).Options(), unsigned{kSslLegacyDn});
}

TEST(SslDirectives, AHostSpeaksTlsWhereItSaysSoOrAllItsPortsDo) {
  const config::ServerConfig c = ConfigFrom(
      "Listen 9443 https\nListen 443\n<VirtualHost *:9443>\nServerName a\n</VirtualHost>\n"
      "<VirtualHost *:9443>\nServerName b\nSSLEngine off\n</VirtualHost>\n"
      "<VirtualHost *:9443 *:8080>\nServerName c\n</VirtualHost>\n"
      "<VirtualHost *:443>\nServerName d\n</VirtualHost>\n"
      "<VirtualHost *:443>\nServerName e\nSSLCertificateFile e.crt\n</VirtualHost>\n"
      "<VirtualHost *:8080>\nServerName f\nSSLEngine on\n</VirtualHost>\n");
  std::string speaking;
  for (const config::Host& host : c.virtual_hosts) speaking += SpeaksTls(c, host) ? host.server_name : "";
  EXPECT_EQ(speaking, "aef");
  EXPECT_FALSE(SpeaksTls(c, c.main));
}

// ---- plain requests -------------------------------------------------------------------------------------------------

TEST(SslDirectives, AKeyIsLookedForWhereItIsNamedAndItsLineIsTold) {
  const config::ServerConfig c = ConfigFrom("SSLEngine on\nSSLCertificateFile none.crt\n");
  const auto site = Site::Build(c, nullptr, "");
  ASSERT_FALSE(site);
  EXPECT_THAT(site.error().what, HasSubstr("none.crt' cannot be read: No such file or directory"));
}

class SslRequests : public HandlerTest {};

TEST_F(SslRequests, WithoutTlsAreRefusedWhereItIsRequired) {
  Write("www/a.txt", "a");
  Configure("<Files a.txt>\nSSLRequireSSL\n</Files>\n<Location /b>\nRequire ssl\n</Location>\n");
  EXPECT_EQ(Get("/a.txt").status, 403);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH02219: access to "));
  EXPECT_EQ(Get("/b").status, 403);
}

TEST_F(SslRequests, WithoutTlsHaveNoVariablesOfIt) {
  Write("www/a.txt", "a");
  Configure(
      "Header set X-Is \"expr=%{HTTPS} %{REQUEST_SCHEME} [%{SSL_PROTOCOL}]\"\nHeader set X-Was \"%{SSL_PROTOCOL}s\"\n");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("X-Is: off http []\r\nX-Was: (null)\r\n"));
}

// ---- ticket keys ----------------------------------------------------------------------------------------------------

class Tickets : public testing::Test {
 protected:
  Tickets() {
    char name[] = "/tmp/baton-tickets.XXXXXX";
    directory_ = ::mkdtemp(name);
    path_ = directory_ + "/httpd.tickets";
  }
  ~Tickets() override { std::filesystem::remove_all(directory_); }

  static std::vector<std::string> Names(const TicketKeys& keys) {
    TicketKey read[TicketKeys::kKept];
    const size_t count = keys.Read(read);
    std::vector<std::string> out;
    for (size_t i = 0; i < count; ++i) out.emplace_back(reinterpret_cast<char*>(read[i].name), sizeof read[i].name);
    return out;
  }
  static std::shared_ptr<TicketKeys> New(uint64_t now) { return TicketKeys::Make(now).value(); }

  std::string directory_, path_;
  uint64_t now_ = 1'800'000'000;
};

TEST_F(Tickets, ASuccessorUsesTheKeysOfItsPredecessor) {
  const auto first = New(now_);
  ASSERT_TRUE(first->Refresh(path_, now_));
  const auto second = New(now_ + 5);
  ASSERT_TRUE(second->Refresh(path_, now_ + 5));
  EXPECT_EQ(Names(*second), Names(*first));
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(Tickets, ANewKeyEncryptsAfterTwelveHoursAndTheOldOnesDecryptForAWhile) {
  const auto keys = New(now_);
  ASSERT_TRUE(keys->Refresh(path_, now_));
  std::vector<std::string> seen = Names(*keys);
  ASSERT_TRUE(keys->Refresh(path_, now_ + TicketKeys::kRotateSeconds - 1));
  EXPECT_EQ(Names(*keys), seen);
  for (uint64_t turn = 1; turn <= 4; ++turn) {
    ASSERT_TRUE(keys->Refresh(path_, now_ + turn * TicketKeys::kRotateSeconds));
    const auto now = Names(*keys);
    EXPECT_EQ(now.size(), std::min<size_t>(turn + 1, TicketKeys::kKept));
    EXPECT_EQ(std::count(seen.begin(), seen.end(), now.front()), 0);
    EXPECT_EQ(now[1], seen.front());
    seen.insert(seen.begin(), now.front());
  }
}

TEST_F(Tickets, AKeyThatAnotherInstanceMadeIsKnownWithTheNextLook) {
  const auto old = New(now_);
  ASSERT_TRUE(old->Refresh(path_, now_));
  const auto young = New(now_);
  ASSERT_TRUE(young->Refresh(path_, now_));
  const uint64_t later = now_ + TicketKeys::kRotateSeconds;
  ASSERT_TRUE(young->Refresh(path_, later));
  ASSERT_TRUE(old->Refresh(path_, later));
  EXPECT_EQ(Names(*old), Names(*young));
  EXPECT_EQ(Names(*old).size(), 2U);
}

TEST_F(Tickets, WhatIsNoSuchFileIsReplaced) {
  std::ofstream(path_) << "something else";
  const auto keys = New(now_);
  ASSERT_TRUE(keys->Refresh(path_, now_));
  const auto other = New(now_);
  ASSERT_TRUE(other->Refresh(path_, now_));
  EXPECT_EQ(Names(*other), Names(*keys));
}

TEST_F(Tickets, KeysThatAreTooOldOrFromTheFutureAreNotRead) {
  TicketKey key;
  key.made = now_;
  const std::string text = FormatTicketKeys({key});
  EXPECT_EQ(ParseTicketKeys(text, now_ + 10).size(), 1U);
  EXPECT_EQ(ParseTicketKeys(text, now_ + TicketKeys::kKept * TicketKeys::kRotateSeconds).size(), 0U);
  EXPECT_EQ(ParseTicketKeys(text, now_ - 3600).size(), 0U);
  EXPECT_EQ(ParseTicketKeys(text.substr(0, text.size() - 1), now_).size(), 0U);
  EXPECT_EQ(ParseTicketKeys("", now_).size(), 0U);
}

}  // namespace
}  // namespace httpd::modules
