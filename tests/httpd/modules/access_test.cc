#include <gmock/gmock.h>

#include "tests/httpd/modules/handler_fixture.h"
#include "tests/httpd/modules/refusal.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

class AccessTest : public HandlerTest {
 protected:
  AccessTest() { Write("www/a.txt", "a"); }
  /// Status of a request where `lines` hold for everything.
  int Status(const std::string& lines, const std::string& method = "GET", const std::string& client = "192.0.2.1") {
    Configure("<Location />\n" + lines + "\n</Location>\n");
    return Ask(method, "/a.txt", "", client).status;
  }
};

TEST_F(AccessTest, LinesOfOneSectionAreAlternatives) {
  EXPECT_EQ(Status("Require all denied\nRequire ip 192.0.2"), 200);
  EXPECT_EQ(Status("Require all denied\nRequire ip 192.0.3"), 403);
  EXPECT_THAT(ErrorLog(), HasSubstr("[authz_core:error]"));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01630: client denied by server configuration: " + root() + "/www/a.txt"));
}

TEST_F(AccessTest, GroupsNestToAnyDepth) {
  const std::string rules =
      "<RequireAll>\n<RequireAny>\nRequire ip 192.0.2\n<RequireAll>\nRequire ip 10\nRequire method "
      "POST\n</RequireAll>\n"
      "</RequireAny>\n<RequireNone>\nRequire ip 192.0.2.9\nRequire env blocked\n</RequireNone>\nRequire not ip "
      "10.6\n</RequireAll>\n";
  EXPECT_EQ(Status(rules), 200);
  EXPECT_EQ(Status(rules, "GET", "192.0.2.9"), 403);
  EXPECT_EQ(Status(rules, "GET", "10.1.1.1"), 403);
  EXPECT_EQ(Status(rules, "POST", "10.1.1.1"), 200);
  EXPECT_EQ(Status(rules, "POST", "10.6.1.1"), 403);
  EXPECT_EQ(Status("SetEnvIf Request_URI . blocked\n" + rules), 403);
}

TEST_F(AccessTest, WhatIsOnlyNotRefusedIsNotGranted) {
  // <RequireNone> that does not hold is neutral, and neutral alone is a refusal.
  EXPECT_EQ(Status("<RequireAll>\nRequire method GET\n<RequireNone>\nRequire ip 10\n</RequireNone>\n</RequireAll>"),
            200);
  EXPECT_EQ(Status("<RequireAll>\nRequire method POST\n<RequireNone>\nRequire ip 10\n</RequireNone>\n</RequireAll>"),
            403);
}

TEST_F(AccessTest, RequireLocalMeansLoopbackOrOneOwnAddress) {
  EXPECT_EQ(Status("Require local", "GET", "127.8.8.8"), 200);
  EXPECT_EQ(Status("Require local", "GET", "::1"), 200);
  EXPECT_EQ(Status("Require local"), 403);
}

TEST_F(AccessTest, AnInnerSectionReplacesUnlessItMerges) {
  const std::string outer = "<Location />\nRequire ip 192.0.2\n</Location>\n<Location /a.txt>\n";
  Configure(outer + "Require method POST\n</Location>\n");
  EXPECT_EQ(Get("/a.txt").status, 403);
  EXPECT_EQ(Ask("POST", "/a.txt", "", "10.0.0.1").status, 200);
  Configure(outer + "AuthMerging And\nRequire method POST\n</Location>\n");
  EXPECT_EQ(Ask("POST", "/a.txt", "", "10.0.0.1").status, 403);
  EXPECT_EQ(Ask("POST", "/a.txt").status, 200);
  Configure(outer + "AuthMerging Or\nRequire method POST\n</Location>\n");
  EXPECT_EQ(Get("/a.txt").status, 200);
  EXPECT_EQ(Ask("POST", "/a.txt", "", "10.0.0.1").status, 200);
  Configure(outer + "AuthMerging Off\n</Location>\n");
  EXPECT_EQ(Ask("GET", "/a.txt", "", "10.0.0.1").status, 200) << "Off without a Require forgets the outer one";
}

TEST_F(AccessTest, LimitBindsRulesToMethodsAndLeavesTheOthersOpen) {
  const std::string rules = "<Limit POST PUT>\nRequire all denied\n</Limit>";
  EXPECT_EQ(Status(rules), 200);
  EXPECT_EQ(Status(rules, "POST"), 403);
  const std::string except = "<LimitExcept GET OPTIONS>\nRequire all denied\n</LimitExcept>";
  EXPECT_EQ(Status(except, "HEAD"), 200);
  EXPECT_EQ(Status(except, "POST"), 403);
  EXPECT_EQ(Status(except, "UNHEARD-OF"), 403);
  const std::string group = "<Limit POST>\n<RequireAll>\nRequire ip 192.0.2\nRequire ip 10\n</RequireAll>\n</Limit>";
  EXPECT_EQ(Status(group), 200);
  EXPECT_EQ(Status(group, "POST"), 403);
}

TEST_F(AccessTest, AnAliasIsARuleWithANameOfItsOwn) {
  Configure(
      "<AuthzProviderAlias ip office \"192.0.2 10\">\n</AuthzProviderAlias>\n<Location />\nRequire "
      "office\n</Location>\n");
  EXPECT_EQ(Get("/a.txt").status, 200);
  EXPECT_EQ(Ask("GET", "/a.txt", "", "198.51.100.1").status, 403);
}

TEST_F(AccessTest, AnAliasOfTheServerCanBeUsedInHtaccess) {
  Write("www/.htaccess", "Require office\n");
  Configure("<AuthzProviderAlias ip office 10>\n</AuthzProviderAlias>\n<Directory " + root() +
            "/www>\nAllowOverride AuthConfig\n</Directory>\n");
  EXPECT_EQ(Get("/a.txt").status, 403);
  EXPECT_EQ(Ask("GET", "/a.txt", "", "10.0.0.1").status, 200);
}

// ---- Order, Allow, Deny --------------------------------------------------------------------------------------------

TEST_F(AccessTest, OrderSaysWhoHasTheLastWord) {
  const std::string both = "\nAllow from 192.0.2.0/24\nDeny from 192.0.2.1";
  EXPECT_EQ(Status("Order Deny,Allow" + both), 200);
  EXPECT_EQ(Status("Order Allow,Deny" + both), 403);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01797: client denied by server configuration: " + root() + "/www/a.txt"));
  EXPECT_EQ(Status("Order Mutual-failure" + both), 403);
  EXPECT_EQ(Status("Order Mutual-failure\nAllow from 192.0.2"), 200);
  EXPECT_EQ(Status("Order Allow,Deny"), 403);
  EXPECT_EQ(Status("Order Deny,Allow"), 200);
  EXPECT_EQ(Status("Deny from all"), 403);
}

TEST_F(AccessTest, AllowTakesNetworksAndVariables) {
  const std::string order = "Order Allow,Deny\nAllow from ";
  EXPECT_EQ(Status(order + "192.0"), 200);
  EXPECT_EQ(Status(order + "192.0.2.0/255.255.255.0"), 200);
  EXPECT_EQ(Status(order + "10 2001:db8::/32", "GET", "2001:db8::7"), 200);
  EXPECT_EQ(Status("SetEnvIf Request_URI txt in\n" + order + "env=in"), 200);
  EXPECT_EQ(Status("SetEnvIf Request_URI txt in\n" + order + "env=!in"), 403);
  EXPECT_EQ(Status(order + "env=!in"), 200);
}

TEST_F(AccessTest, LimitBindsOrderAllowAndDeny) {
  const std::string rules = "<Limit POST>\nOrder Allow,Deny\nDeny from all\n</Limit>";
  EXPECT_EQ(Status(rules), 200);
  EXPECT_EQ(Status(rules, "POST"), 403);
}

TEST_F(AccessTest, ASectionThatSaysAnythingOfItForgetsTheOuterOrder) {
  Configure("<Location />\nDeny from all\n</Location>\n<Location /a.txt>\nSatisfy All\n</Location>\n");
  EXPECT_EQ(Get("/a.txt").status, 200);
}

TEST_F(AccessTest, AllowMethodsAnswers405WithItsList) {
  Configure(
      "<Location />\nAllowMethods GET OPTIONS\n</Location>\n<Location /a.txt/all>\nAllowMethods reset\n</Location>");
  EXPECT_EQ(Get("/a.txt").status, 200);
  EXPECT_EQ(Ask("HEAD", "/a.txt").status, 200);
  const Answer answer = Ask("POST", "/a.txt");
  EXPECT_EQ(answer.status, 405);
  EXPECT_THAT(answer.fields, HasSubstr("Allow: GET,HEAD,OPTIONS\r\n"));
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01623: client method denied by server configuration: 'POST' to " + root()));
  EXPECT_EQ(Ask("POST", "/a.txt/all").status, 404);
}

TEST_F(AccessTest, AListingLeavesOutWhatIsRefused) {
  Write("www/d/open.txt", "");
  Write("www/d/closed.txt", "");
  Configure("Options Indexes\n<Files closed.txt>\nRequire all denied\n</Files>\n");
  const std::string page = Get("/d/").body;
  EXPECT_THAT(page, HasSubstr("open.txt"));
  EXPECT_THAT(page, Not(HasSubstr("closed.txt")));
}

// ---- .htaccess -----------------------------------------------------------------------------------------------------

TEST_F(AccessTest, HtaccessSaysOnlyWhatItsClassAllows) {
  struct Case {
    const char* overrides;
    const char* line;
    int status;
  };
  for (const Case& c :
       {Case{"AuthConfig", "Require all denied", 403}, Case{"Limit", "Require all denied", 500},
        Case{"FileInfo Indexes Options", "Require all granted", 500}, Case{"Limit", "Deny from all", 403},
        Case{"AuthConfig", "Deny from all", 500}, Case{"Limit", "Satisfy Any", 500},
        Case{"AuthConfig", "Satisfy Any", 200}, Case{"Limit", "<Limit GET>\nRequire all granted\n</Limit>", 500},
        Case{"Limit", "<Limit GET>\nDeny from all\n</Limit>", 403},
        Case{"AuthConfig", "<Limit GET>\nRequire all denied\n</Limit>", 403},
        Case{"All", "<Limit UNHEARD>\nRequire all denied\n</Limit>", 500}, Case{"All", "AllowMethods GET", 500},
        Case{"All", "<AuthzProviderAlias ip x 10>\n</AuthzProviderAlias>", 500},
        Case{"FileInfo", "AuthUserFile /etc/passwd", 500}, Case{"FileInfo", "AuthType None", 500}}) {
    Write("www/.htaccess", std::string(c.line) + "\n# " + c.overrides + "\n");
    Configure("<Directory " + root() + "/www>\nAllowOverride " + c.overrides + "\n</Directory>\n");
    EXPECT_EQ(Get("/a.txt").status, c.status) << c.overrides << ": " << c.line;
  }
}

// ---- bad configurations --------------------------------------------------------------------------------------------

TEST(AccessDirectives, AreRefusedWithApachesWords) {
  struct Case {
    const char* lines;
    const char* message;
  };
  for (const Case& c :
       {Case{"Require", "Unknown Authz provider: "},
        {"Require foo", "Unknown Authz provider: foo"},
        {"Require all maybe", "Argument for 'Require all' must be 'granted' or 'denied'"},
        {"Require ip", "'require ip' requires an argument"},
        {"Require ip x.y", "ip address 'x.y' appears to be invalid"},
        {"Require method GRAB", "Invalid Method 'GRAB'"},
        {"Require host", "'require host' requires an argument"},
        {"Require host %{HTTP_HOST}", "expressions are not supported here"},
        {"Require forward-dns #a", "'require forward-dns' requires an argument"},
        {"Require not ip 10", "negative Require directive has no effect in <RequireAny> directive"},
        {"<RequireNone>\nRequire ip 10\n</RequireNone>",
         "<RequireNone> directive has no effect in <RequireAny> directive"},
        {"<RequireAny>\n</RequireAny>", "<RequireAny> directive contains no authorization directives"},
        {"<RequireAll x>\nRequire ip 10\n</RequireAll>", "<RequireAll> directive doesn't take additional arguments"},
        {"<RequireAll>\nRequire not ip 10\n</RequireAll>",
         "AH01624: <RequireAll> directive contains only negative authorization directives"},
        {"AuthMerging x", "AuthMerging must be one of: Off | And | Or"},
        {"AuthzSendForbiddenOnFailure x", "AuthzSendForbiddenOnFailure must be On or Off"},
        {"<Limit>\n</Limit>", "<Limit> directive requires additional arguments"},
        {"<Limit TRACE>\n</Limit>", "TRACE cannot be controlled by <Limit>, see TraceEnable"},
        {"<Limit GET>\n<Limit POST>\n</Limit>\n</Limit>", "<Limit> directive excludes all methods"},
        {"<Limit GET>\n<Limit GET>\n</Limit>\n</Limit>", "<Limit> directive specifies methods already excluded"},
        {"Order x", "unknown order"},
        {"Order Allow , Deny", "order takes one argument, 'allow,deny', 'deny,allow', or 'mutual-failure'"},
        {"Allow on x", "allow and deny must be followed by 'from'"},
        {"Allow from", "allow requires at least two arguments"},
        {"Deny from 1.2.3.4/40", "The specified network mask is invalid."},
        {"Deny from 1.2/8", "The specified IP address is invalid."},
        {"Deny from example.org/8", "An IP address was expected"},
        {"Deny from example.org#x", "No comments are allowed here"},
        {"Satisfy x", "Satisfy either 'any' or 'all'."},
        {"AllowMethods", "AllowMethods: No method or 'reset' keyword given"},
        {"AllowMethods FOO", "AllowMethods: Invalid Method 'FOO'"}}) {
    EXPECT_THAT(ComplaintAbout("<Location /a>\n" + std::string(c.lines) + "\n</Location>"), HasSubstr(c.message))
        << c.lines;
  }
  EXPECT_THAT(ComplaintAbout("Require all granted"), HasSubstr("Require not allowed here"));
  EXPECT_THAT(ComplaintAbout("<AuthzProviderAlias ip>\n</AuthzProviderAlias>"),
              HasSubstr("<AuthzProviderAlias> directive requires additional arguments"));
  EXPECT_THAT(ComplaintAbout("<AuthzProviderAlias ip a>\n</AuthzProviderAlias>"),
              HasSubstr("Can't parse 'Require ip ': 'require ip' requires an argument"));
  EXPECT_THAT(ComplaintAbout("<AuthzProviderAlias ip user 10>\n</AuthzProviderAlias>"),
              HasSubstr("The alias provider user has already be registered previously"));
}

}  // namespace
}  // namespace httpd::modules
