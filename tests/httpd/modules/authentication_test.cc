#include <gmock/gmock.h>

#include "httpd/modules/password.h"
#include "os/file.h"
#include "tests/httpd/modules/handler_fixture.h"
#include "tests/httpd/modules/refusal.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Basic(const std::string& credentials) {
  return "Authorization: Basic " + EncodeBase64(credentials) + "\r\n";
}

class BasicTest : public HandlerTest {
 protected:
  BasicTest() {
    Write("www/a.txt", "a");
    Write("www/d/b.txt", "b");
    Write("users", "joe:" + Apr1Hash("secret", "ab") + "\nann:" + Apr1Hash("word", "cd") + "\n");
    Write("groups", "# groups\nStaff: ann bob\nother: joe\n");
  }
  const std::string kAuth =
      "AuthType Basic\nAuthName \"Members \\\"only\\\"\"\nAuthUserFile users\nAuthGroupFile groups\n";
  void Protect(const std::string& lines) { Configure("<Location />\n" + kAuth + lines + "\n</Location>\n"); }
  int As(const std::string& credentials, const std::string& target = "/a.txt") {
    return Get(target, Basic(credentials)).status;
  }
};

TEST_F(BasicTest, AUserIsAskedForAndLetIn) {
  Protect("Require valid-user");
  const Answer asked = Get("/a.txt");
  EXPECT_EQ(asked.status, 401);
  EXPECT_THAT(asked.fields, HasSubstr("WWW-Authenticate: Basic realm=\"Members \\\"only\\\"\"\r\n"));
  EXPECT_EQ(As("joe:secret"), 200);
  EXPECT_EQ(As("joe:Secret"), 401);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01617: user joe: authentication failure for \"/a.txt\": Password Mismatch"));
  EXPECT_EQ(As("jim:secret"), 401);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01618: user jim not found: /a.txt"));
  EXPECT_EQ(Get("/a.txt", "Authorization: basic  " + EncodeBase64("joe:secret") + "\r\n").status, 200);
  EXPECT_EQ(Get("/a.txt", "Authorization: Bearer x\r\n").status, 401);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01614: client used wrong authentication scheme: /a.txt"));
}

TEST_F(BasicTest, ARefusedUserIsAskedForAnotherOrForbidden) {
  Protect("Require user ann \"the other\"");
  EXPECT_EQ(As("ann:word"), 200);
  const Answer refused = Get("/a.txt", Basic("joe:secret"));
  EXPECT_EQ(refused.status, 401);
  EXPECT_THAT(refused.fields, HasSubstr("WWW-Authenticate: Basic"));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01631: user joe: authorization failure for \"/a.txt\": "));
  Protect("Require user ann\nAuthzSendForbiddenOnFailure On");
  EXPECT_EQ(As("joe:secret"), 403);
  EXPECT_EQ(As("joe:wrong"), 401);
}

TEST_F(BasicTest, GroupsAreNamedWithoutCase) {
  Protect("Require group staff nobody");
  EXPECT_EQ(As("ann:word"), 200);
  EXPECT_EQ(As("joe:secret"), 401);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01631: user joe: authorization failure"));
  Write("groups", "staff: joe\n");
  EXPECT_EQ(As("joe:secret"), 200);
  EXPECT_EQ(As("ann:word"), 401);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01666: Authorization of user ann"));
}

TEST_F(BasicTest, NobodyIsAskedWhereNoUserCouldHelp) {
  Protect("<RequireAll>\nRequire valid-user\nRequire ip 10\n</RequireAll>");
  EXPECT_EQ(Get("/a.txt").status, 403);
  EXPECT_EQ(As("joe:secret"), 403);
  Protect("<RequireAny>\nRequire valid-user\nRequire ip 192.0.2\n</RequireAny>");
  EXPECT_EQ(Get("/a.txt").status, 200) << "let in by the address";
}

TEST_F(BasicTest, SatisfyAnyTakesAddressOrUser) {
  const std::string rules = "Order Deny,Allow\nDeny from all\nAllow from 10\nRequire valid-user\n";
  Protect(rules + "Satisfy Any");
  EXPECT_EQ(Ask("GET", "/a.txt", "", "10.0.0.1").status, 200);
  EXPECT_EQ(Get("/a.txt").status, 401);
  EXPECT_EQ(As("joe:secret"), 200);
  Protect(rules + "Satisfy All");
  EXPECT_EQ(Ask("GET", "/a.txt", "", "10.0.0.1").status, 401);
  EXPECT_EQ(As("joe:secret"), 403);
}

TEST_F(BasicTest, SeveralFilesAreAskedInTheirOrder) {
  Write("more", "joe:" + Apr1Hash("other", "ab") + "\nbob:" + Apr1Hash("tool", "ab") + "\n");
  Configure("<AuthnProviderAlias file second>\nAuthUserFile more\n</AuthnProviderAlias>\n<Location />\n" + kAuth +
            "AuthBasicProvider file second\nRequire valid-user\n</Location>\n");
  EXPECT_EQ(As("joe:secret"), 200);
  EXPECT_EQ(As("joe:other"), 401) << "who knows the user decides";
  EXPECT_EQ(As("bob:tool"), 200);
}

TEST_F(BasicTest, MistakesOfTheConfigurationAre500AndLogged) {
  const std::string rule = "Require valid-user\n";
  const auto status = [&](const std::string& lines) {
    Configure("<Location />\n" + lines + rule + "</Location>\n");
    return As("joe:secret");
  };
  EXPECT_EQ(status(""), 500);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00027: No authentication done but request not allowed without authentication"));
  EXPECT_EQ(status("AuthType None\nAuthName x\n"), 500);
  EXPECT_EQ(status("AuthType Other\nAuthName x\n"), 500);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01796: AuthType Other configured without corresponding module"));
  EXPECT_EQ(status("AuthType Basic\nAuthUserFile users\n"), 500);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01615: need AuthName: /a.txt"));
  EXPECT_EQ(status("AuthType Basic\nAuthName x\n"), 500);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01619: AuthUserFile not specified in the configuration"));
  EXPECT_EQ(status("AuthType Basic\nAuthName x\nAuthUserFile none\n"), 500);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01620: Could not open password file: " + root()));
  EXPECT_EQ(status("AuthType Basic\nAuthName x\nAuthUserFile /dev/zero\n"), 500);
}

TEST_F(BasicTest, ForgivingUnknownUsersLetsNobodyIn) {
  Protect("AuthBasicAuthoritative Off\nRequire valid-user");
  EXPECT_EQ(As("jim:secret"), 500);
  EXPECT_EQ(As("joe:wrong"), 401);
}

TEST_F(BasicTest, OneFileCanServeBasicAndDigest) {
  Write("users", "joe:x:" + Md5Hex("joe:x:secret") + "\n");
  Protect("AuthName x\nAuthBasicUseDigestAlgorithm MD5\nRequire valid-user");
  EXPECT_EQ(As("joe:secret"), 200);
  EXPECT_EQ(As("joe:wrong"), 401);
  EXPECT_EQ(As("ann:word"), 401);
}

TEST_F(BasicTest, MalformedCredentialsAreJustRefused) {
  Write("users", ":" + Apr1Hash("", "ab") + "\njoe:" + Apr1Hash("", "ab") + "\n");
  Protect("Require valid-user");
  for (const std::string& value :
       {std::string("Basic"), std::string("Basic "), std::string("Basic !!!"), std::string("Basic am9l"),
        std::string("Basic am9lOg"), "Basic " + EncodeBase64(":"), "Basic " + EncodeBase64(std::string("joe\0:", 5)),
        "Basic " + EncodeBase64("joe\r\nX: y:"), "Basic " + EncodeBase64("joe:\x7f"),
        "Basic " + EncodeBase64("joe:" + std::string(5000, 'x')), "Basic " + EncodeBase64(std::string(5000, 'x') + ":"),
        "Basic " + std::string(7000, '='), "Basic " + EncodeBase64("joe:") + ", Basic x"}) {
    EXPECT_EQ(Get("/a.txt", "Authorization: " + value + "\r\n").status, 401) << value.substr(0, 60);
  }
  EXPECT_EQ(As("joe:"), 200);
}

TEST_F(BasicTest, ANameWithBytesOfATerminalCannotForgeALogLine) {
  Protect("Require valid-user");
  As("joe\xc2\x9b[2J: x");
  EXPECT_THAT(ErrorLog(), Not(HasSubstr("\x9b")));
}

TEST_F(BasicTest, APasswordInClearOpensNothing) {
  Write("users", "joe:secret\n");
  Protect("Require valid-user");
  EXPECT_EQ(As("joe:secret"), 401);
  EXPECT_THAT(ErrorLog(), HasSubstr("is not a password hash of a kind and cost that is taken"));
}

TEST_F(BasicTest, ANameThatWasOnlyClaimedDoesNotOpenTheErrorDocument) {
  // The 401's document lies where only joe may read: a wrong password must not make the claimed name a proven one.
  Write("www/d/secret.txt", "for joe");
  Configure("ErrorDocument 401 /d/secret.txt\n<Location /a.txt>\n" + kAuth +
            "Require valid-user\n</Location>\n<Location /d>\n" + kAuth + "Require user joe\n</Location>\n");
  const Answer answer = Get("/a.txt", Basic("joe:wrong"));
  EXPECT_EQ(answer.status, 401);
  EXPECT_THAT(answer.body, Not(HasSubstr("for joe")));
}

TEST_F(BasicTest, AListingHidesWhatAnotherUserOwns) {
  Configure("Options Indexes\n<Directory " + root() + "/www/d>\n<Files b.txt>\n" + kAuth +
            "Require user ann\n</Files>\n</Directory>\n");
  EXPECT_THAT(Get("/d/").body, Not(HasSubstr("b.txt")));
  EXPECT_THAT(Get("/d/", Basic("joe:secret")).body, Not(HasSubstr("b.txt")));
  EXPECT_THAT(Get("/d/", Basic("ann:word")).body, HasSubstr("b.txt"));
}

TEST_F(BasicTest, HtaccessProtectsItsDirectory) {
  Write("www/d/.htaccess", "AuthType Basic\nAuthName d\nAuthUserFile " + root() + "/users\nRequire user joe\n");
  Configure("<Directory " + root() + "/www>\nAllowOverride AuthConfig\n</Directory>\n");
  EXPECT_EQ(Get("/a.txt").status, 200);
  EXPECT_EQ(Get("/d/b.txt").status, 401);
  EXPECT_EQ(As("joe:secret", "/d/b.txt"), 200);
  EXPECT_EQ(As("ann:word", "/d/b.txt"), 401);
}

TEST_F(BasicTest, TheOwnerOfAFileMayReadIt) {
  Protect("Require file-owner");
  EXPECT_EQ(As("joe:secret"), 401);
  EXPECT_THAT(ErrorLog(), HasSubstr("failed, reason: file owner "));
}

TEST_F(BasicTest, ExpressionsDecideAndKnowWhetherAUserCouldHelp) {
  Protect("Require expr \"%{REMOTE_USER} =~ /^j/ && %{REQUEST_URI} =~ /txt/\"");
  EXPECT_EQ(Get("/a.txt").status, 401);
  EXPECT_EQ(As("joe:secret"), 200);
  EXPECT_EQ(As("ann:word"), 401);
  Protect("Require expr %{REQUEST_URI} == '/b'");
  EXPECT_EQ(Get("/a.txt").status, 403);
  Protect("Require user %{HTTP:X-Name}");
  EXPECT_EQ(Get("/a.txt", Basic("joe:secret") + "X-Name: joe\r\n").status, 200);
  EXPECT_EQ(Get("/a.txt", Basic("joe:secret") + "X-Name: ann\r\n").status, 401);
  EXPECT_THAT(ComplaintAbout("<Location /a>\nRequire expr foo\n</Location>"),
              HasSubstr("Cannot parse expression in require line: "));
}

TEST_F(BasicTest, ARealmFromTheRequestCannotEndItsField) {
  Protect("AuthName \"for %{HTTP:X-Name}\"\nRequire valid-user");
  EXPECT_THAT(Get("/a.txt", "X-Name: a\"b\r\n").fields, HasSubstr("Basic realm=\"for a\\\"b\"\r\n"));
}

TEST_F(BasicTest, FakedCredentialsReachHandlersButOpenNothing) {
  Protect("Require valid-user\nAuthBasicFake demo %{REMOTE_USER}\nHeader echo Authorization");
  EXPECT_EQ(Get("/a.txt").status, 401);
  EXPECT_THAT(Get("/a.txt", Basic("joe:secret")).fields, HasSubstr(Basic("demo:joe")));
  Protect("Require valid-user\nAuthBasicFake off\nHeader echo Authorization");
  EXPECT_THAT(Get("/a.txt", Basic("joe:secret")).fields, HasSubstr(Basic("joe:secret")));
}

TEST_F(BasicTest, LogsNameTheUser) {
  Configure("CustomLog " + root() + "/log %u\n<Location />\n" + kAuth + "Require valid-user\n</Location>\n");
  As("joe:secret");
  As("joe:wrong");
  EXPECT_EQ(os::ReadFile(root() + "/log").value(), "joe\njoe\n");
}

TEST(AuthenticationDirectives, AreRefusedWithApachesWords) {
  struct Case {
    const char* lines;
    const char* message;
  };
  for (const Case& c :
       {Case{"AuthName a b", "AuthName takes one argument, the authentication realm"},
        {"AuthType", "AuthType takes one argument, an HTTP authorization type (e.g., \"Basic\")"},
        {"AuthUserFile", "AuthUserFile takes one argument, text file containing user IDs and passwords"},
        {"AuthBasicProvider x", "Unknown Authn provider: x"},
        {"AuthDigestProvider x", "Unknown Authn provider: x"},
        {"AuthBasicAuthoritative x", "AuthBasicAuthoritative must be On or Off"},
        {"AuthBasicUseDigestAlgorithm SHA", "Invalid algorithm in AuthBasicUseDigestAlgorithm: SHA"},
        {"AuthDigestQop none", "AuthDigestQop is deprecated: only 'auth' is supported"},
        {"AuthDigestAlgorithm MD5-sess", "Unsupported algorithm in AuthDigestAlgorithm: MD5-sess"},
        {"AuthDigestNonceLifetime x", "Invalid time in AuthDigestNonceLifetime: x"},
        {"AuthDigestNcCheck x", "AuthDigestNcCheck must be On or Off"}}) {
    EXPECT_THAT(ComplaintAbout("<Location /a>\n" + std::string(c.lines) + "\n</Location>"), HasSubstr(c.message))
        << c.lines;
  }
  EXPECT_THAT(ComplaintAbout("<AuthnProviderAlias file>\n</AuthnProviderAlias>"),
              HasSubstr("<AuthnProviderAlias> directive requires additional arguments"));
  EXPECT_THAT(ComplaintAbout("<AuthnProviderAlias x y>\n</AuthnProviderAlias>"),
              HasSubstr("Unknown Authn provider: x"));
  EXPECT_THAT(ComplaintAbout("<AuthnProviderAlias x file>\n</AuthnProviderAlias>"),
              HasSubstr("The alias provider file has already be registered previously"));
}

}  // namespace
}  // namespace httpd::modules
