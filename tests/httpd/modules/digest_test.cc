#include <gmock/gmock.h>

#include <regex>

#include "httpd/modules/digest_nonce.h"
#include "httpd/modules/password.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

constexpr char kRealm[] = "the realm";

class DigestTest : public HandlerTest {
 protected:
  DigestTest() {
    Write("www/a.txt", "a");
    Write("users", "joe:the realm:" + Md5Hex("joe:the realm:secret") + "\n");
    Protect("");
  }
  void Protect(const std::string& lines) {
    Configure("<Location />\nAuthType Digest\nAuthName \"the realm\"\nAuthUserFile users\nRequire valid-user\n" +
              lines + "\n</Location>\n");
  }
  struct Client {
    std::string user = "joe";
    std::string password = "secret";
    std::string realm = kRealm;
    std::string nonce;
    std::string nc = "00000001";
    std::string uri = "/a.txt";
    std::string more;  ///< appended to the field
    std::string Field() const {
      const std::string ha1 = Md5Hex(user + ":" + realm + ":" + password);
      const std::string response = Md5Hex(ha1 + ":" + nonce + ":" + nc + ":0a4f:auth:" + Md5Hex("GET:" + uri));
      return "Authorization: Digest username=\"" + user + "\", realm=\"" + realm + "\", nonce=\"" + nonce +
             "\", uri=\"" + uri + "\", cnonce=\"0a4f\", nc=" + nc + ", qop=auth, response=\"" + response + "\"" + more +
             "\r\n";
    }
  };
  static std::string NonceOf(const Answer& answer) {
    std::smatch found;
    return std::regex_search(answer.fields, found, std::regex("[ ,]nonce=\"([^\"]+)\"")) ? found[1].str() : "";
  }
  Client Fresh() {
    Client client;
    client.nonce = NonceOf(Get("/a.txt"));
    return client;
  }
  /// A nonce that the server made `age` ago.
  std::string NonceOfAge(seconds age, const std::string& realm = kRealm) {
    return SignNonce({std::chrono::system_clock::now() - age, 7}, site_->secret(), realm);
  }
  Answer Send(const Client& client) { return Get("/a.txt", client.Field()); }
};

TEST_F(DigestTest, AsksAndLetsIn) {
  const Answer asked = Get("/a.txt");
  EXPECT_EQ(asked.status, 401);
  EXPECT_THAT(asked.fields, testing::ContainsRegex("WWW-Authenticate: Digest realm=\"the realm\", nonce=\"[^\"]{44}\", "
                                                   "algorithm=MD5, qop=\"auth\"\r\n"));
  Client client = Fresh();
  const Answer answer = Send(client);
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.fields, testing::ContainsRegex("Authentication-Info: rspauth=\"[0-9a-f]{32}\", cnonce=\"0a4f\", "
                                                    "nc=00000001, qop=auth\r\n"));
  client.password = "wrong";
  EXPECT_EQ(Send(client).status, 401);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01794: user joe: password mismatch: /a.txt"));
  client.user = "jim";
  EXPECT_EQ(Send(client).status, 401);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01790: user `jim' in realm `the realm' not found: /a.txt"));
}

TEST_F(DigestTest, AStaleNonceIsReplacedWithoutAskingTheUser) {
  Client client;
  client.nonce = NonceOfAge(seconds(299));
  const Answer last = Send(client);
  EXPECT_EQ(last.status, 200);
  EXPECT_THAT(last.fields, HasSubstr(", nextnonce=\""));
  client.nonce = NonceOfAge(seconds(301));
  const Answer stale = Send(client);
  EXPECT_EQ(stale.status, 401);
  EXPECT_THAT(stale.fields, HasSubstr(", stale=true, qop=\"auth\"\r\n"));
  client.nonce = NonceOf(stale);
  EXPECT_EQ(Send(client).status, 200);
  client.password = "wrong";
  client.nonce = NonceOfAge(seconds(301));
  EXPECT_THAT(Send(client).fields, Not(HasSubstr("stale"))) << "who has the wrong password is told nothing";
}

TEST_F(DigestTest, AForgedNonceIsNeverTaken) {
  const std::string key(32, 'k');
  for (const std::string& nonce :
       {std::string("x"), std::string(44, 'A'), SignNonce({std::chrono::system_clock::now(), 7}, key, kRealm),
        NonceOfAge(seconds(0), "another realm"), NonceOfAge(seconds(-60)), NonceOfAge(seconds(0)).substr(0, 40)}) {
    Client client;
    client.nonce = nonce;
    EXPECT_EQ(Send(client).status, 401) << nonce;
  }
}

TEST_F(DigestTest, ProcessesAndInstancesThatShareTheSecretTakeEachOthersNonces) {
  const Client client = Fresh();
  const std::string secret = site_->secret();
  Protect("");
  EXPECT_EQ(Send(client).status, 401) << "another secret";
  site_->set_secret(secret);
  EXPECT_EQ(Send(client).status, 200);
}

TEST_F(DigestTest, WhatWasSignedMustBeWhatIsAsked) {
  Client client = Fresh();
  client.uri = "/b.txt";
  EXPECT_EQ(Send(client).status, 400);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01786: uri mismatch - </b.txt> does not match request-uri"));
  client.uri = "/%61.txt";
  EXPECT_EQ(Send(client).status, 200);
  client.uri = "http://site.example/a.txt";
  EXPECT_EQ(Send(client).status, 200);
  client.uri = "http://other.example/a.txt";
  EXPECT_EQ(Send(client).status, 400);
  client.uri = "/a.txt?x";
  EXPECT_EQ(Send(client).status, 400);
}

TEST_F(DigestTest, MalformedFieldsAreJustRefused) {
  const Client good = Fresh();
  for (const std::string& value :
       {std::string("Digest"), std::string("Digest ="), std::string("Digest username"),
        std::string("Digest username=\""), std::string("Digest username=\"\\"), std::string("Digest username=\"joe\"x"),
        std::string("Basic am9lOnNlY3JldA=="), std::string("Digest ") + std::string(6000, ','),
        std::string("Digest ") + std::string(6000, '"'),
        std::string("Digest username=joe, realm=x, nonce=x, uri=\"/a.txt\", response=x"),
        std::string("Digest username=joe, realm=x, nonce=x, uri=\"/a.txt\", response=x, qop=auth")}) {
    EXPECT_EQ(Get("/a.txt", "Authorization: " + value + "\r\n").status, 401) << value.substr(0, 60);
  }
  for (const char* more : {", nc=00000002", ", username=\"ann\"", ", algorithm=SHA-256", ", opaque=\"", " x"}) {
    Client client = good;
    client.more = more;
    EXPECT_EQ(Send(client).status, 401) << more;
  }
  Client client = good;
  client.more = ", algorithm=MD5, opaque=\"a\\\"b\", unknown=1";
  EXPECT_EQ(Send(client).status, 200);
  for (const char* nc : {"1", "0000000g", "000000001", "00000000", "-0000001"}) {
    client.nc = nc;
    EXPECT_EQ(Send(client).status, 401) << nc;
  }
}

TEST_F(DigestTest, OldClientsWithoutQopAreRefused) {
  const std::string nonce = Fresh().nonce;
  const std::string response = Md5Hex(Md5Hex("joe:the realm:secret") + ":" + nonce + ":" + Md5Hex("GET:/a.txt"));
  EXPECT_EQ(Get("/a.txt", "Authorization: Digest username=\"joe\", realm=\"the realm\", nonce=\"" + nonce +
                              "\", uri=\"/a.txt\", response=\"" + response + "\"\r\n")
                .status,
            401);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH10560: invalid or missing qop value"));
}

TEST_F(DigestTest, WithNcCheckNothingCanBeRepeated) {
  Protect("AuthDigestNcCheck On");
  Client client = Fresh();
  EXPECT_EQ(Send(client).status, 200);
  EXPECT_EQ(Send(client).status, 401);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01774: Warning, possible replay attack"));
  client.nc = "00000005";
  EXPECT_EQ(Send(client).status, 200);
  client.nc = "00000003";
  EXPECT_EQ(Send(client).status, 200) << "two connections may overtake each other";
  EXPECT_EQ(Send(client).status, 401);
  client.nc = "00000002";
  EXPECT_EQ(Send(client).status, 200);
  client.nc = "00000040";
  EXPECT_EQ(Send(client).status, 200);
  client.nc = "00000006";
  EXPECT_EQ(Send(client).status, 401) << "too far back to know";
  client.nonce = NonceOfAge(seconds(1));
  client.nc = "00000001";
  EXPECT_THAT(Send(client).fields, HasSubstr("stale=true")) << "signed, but of another instance";
}

TEST_F(DigestTest, AOneTimeNonceIsGoodOnceAndBringsTheNext) {
  Protect("AuthDigestNonceLifetime 0");
  Client client = Fresh();
  const Answer first = Send(client);
  EXPECT_EQ(first.status, 200);
  client.nc = "00000002";
  EXPECT_THAT(Send(client).fields, HasSubstr("stale=true"));
  std::smatch found;
  ASSERT_TRUE(std::regex_search(first.fields, found, std::regex("nextnonce=\"([^\"]+)\"")));
  client.nonce = found[1].str();
  client.nc = "00000001";
  EXPECT_EQ(Send(client).status, 200);
}

TEST_F(DigestTest, ARequestThatIsRedirectedInsideIsNoReplay) {
  Write("www/e.txt", "error page");
  Configure(
      "ErrorDocument 404 /e.txt\n<Location />\nAuthType Digest\nAuthName \"the realm\"\nAuthUserFile users\n"
      "AuthDigestNcCheck On\nRequire valid-user\n</Location>\n<Location /e.txt>\nHeader set X-Other 1\n</Location>\n");
  Client client = Fresh();
  client.uri = "/none";
  const Answer answer = Get("/none", client.Field());
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.body, "error page");
}

TEST_F(DigestTest, ALifetimeWithoutEndAndADomainAreTold) {
  Protect("AuthDigestNonceLifetime -1\nAuthDigestDomain /a /b\nAuthDigestDomain http://mirror.example/");
  Client client;
  client.nonce = NonceOfAge(seconds(86400));
  EXPECT_EQ(Send(client).status, 200);
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr(", domain=\"/a /b http://mirror.example/\", qop=\"auth\""));
}

TEST_F(DigestTest, HtaccessCannotAskForSharedMemory) {
  Write("www/.htaccess", "AuthDigestNcCheck On\n");
  Configure("<Directory " + root() + "/www>\nAllowOverride All\n</Directory>\n");
  EXPECT_EQ(Get("/a.txt").status, 500);
  EXPECT_THAT(ErrorLog(), HasSubstr("AuthDigestNcCheck On cannot be used in .htaccess"));
}

}  // namespace
}  // namespace httpd::modules
