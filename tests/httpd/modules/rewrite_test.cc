#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "httpd/modules/module.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

class RewriteTest : public HandlerTest {
 protected:
  RewriteTest() {
    Write("www/a.html", "a");
    Write("www/b.html", "b");
    Write("www/d/x.html", "x");
    Write("www/d/index.html", "index");
    Write("out/o.html", "outside");
  }
  void Rules(const std::string& text) {
    Configure("RewriteEngine On\nHeader always set X-Env \"%{V}e|%{W}e\"\n" + text);
  }
  void Htaccess(const std::string& text) {
    Write("www/d/.htaccess", "RewriteEngine On\n" + text);
    Configure("<Directory " + root() + ">\nAllowOverride All\n</Directory>\nHeader always set X-Env \"%{V}e|%{W}e\"\n");
  }
  std::string Location(const std::string& target, const std::string& fields = "") {
    return std::string(FindField(fields_ = Get(target, fields).fields, "Location"));
  }
  std::string Env(const std::string& target, const std::string& fields = "") {
    return std::string(FindField(fields_ = Get(target, fields).fields, "X-Env"));
  }

 private:
  std::string fields_;
};

TEST_F(RewriteTest, AServerRuleLeadsToAFileWithItsQuery) {
  Rules("RewriteRule ^/old/(.*)$ /$1.html?from=old [QSA,E=V:%{QUERY_STRING}]\nRewriteRule . - [E=W:%{QUERY_STRING}]\n");
  EXPECT_EQ(Get("/old/a?x=1").body, "a");
  EXPECT_EQ(Env("/old/a?x=1"), "x=1|from=old&x=1");
}

TEST_F(RewriteTest, RedirectsEscapeOnceAndKeepOrDropTheQuery) {
  Rules(
      "RewriteRule ^/e/(.*)$ http://x.example/$1 [R]\nRewriteRule ^/n/(.*)$ http://x.example/$1 [R=301,NE]\n"
      "RewriteRule ^/d$ /t [R,QSD]\nRewriteRule ^/s$ /t? [R]\nRewriteRule ^/l$ /x?y?z [QSL,R]\n"
      "RewriteRule ^/p$ /t?a=\\%20b [R]\nRewriteRule ^/m$ mailto:joe@x.example?s=1\n"
      "RewriteRule ^/slash(.*)$ /$1 [R]\n");
  EXPECT_EQ(Location("/e/a%20b%23c?x=%20y"), "http://x.example/a%20b%23c?x=%20y");
  EXPECT_EQ(Get("/n/a").status, 301);
  EXPECT_EQ(Location("/n/a%25b"), "http://x.example/a%b");
  EXPECT_EQ(Location("/d?q"), "http://site.example/t");
  EXPECT_EQ(Location("/s?q"), "http://site.example/t");
  EXPECT_EQ(Location("/l"), "http://site.example/x%3fy?z");
  EXPECT_EQ(Location("/p"), "http://site.example/t?a=%2520b");
  EXPECT_EQ(Location("/m"), "mailto:joe@x.example?s=1");
  EXPECT_EQ(Location("/slash/evil.example/a"), "http://site.example//evil.example/a") << "no other host";
}

TEST_F(RewriteTest, NothingThatAClientSendsEndsAField) {
  Rules(
      "RewriteRule ^/n/(.*)$ http://x.example/$1 [R,NE]\nRewriteRule ^/e/(.*)$ http://x.example/$1 [R]\n"
      "RewriteRule ^/c/(.*)$ - [CO=n:$1:.x.example,F]\nRewriteRule ^/t/(.*)$ /a.html [T=$1]\n");
  const Answer raw = Get("/n/a%0d%0aSet-Cookie:%20x");
  EXPECT_EQ(raw.status, 500);
  EXPECT_THAT(raw.fields, Not(HasSubstr("Set-Cookie")));
  EXPECT_EQ(Location("/e/a%0d%0aX"), "http://x.example/a%0d%0aX");
  EXPECT_THAT(Get("/c/a%0d%0aX:y").fields, Not(HasSubstr("Set-Cookie")));
  EXPECT_THAT(Get("/c/a").fields, HasSubstr("Set-Cookie: n=a; path=/; domain=.x.example\r\n"));
  EXPECT_THAT(Get("/t/text%2fx%0aY:z").fields, Not(HasSubstr("Y:z")));
}

TEST_F(RewriteTest, AQuestionMarkOfTheClientDoesNotBeginTheQuery) {
  Rules(
      "RewriteRule ^/u/(.*)$ /$1.html\nRewriteRule ^/q/(.*)$ /a.html?x=$1\nRewriteRule ^/b/(.*)$ /$1.html [B]\n"
      "RewriteRule ^/o/(.*)$ /$1.html [UnsafeAllow3F]\nRewriteRule ^/v(.*)$ %{REQUEST_URI}x\n");
  EXPECT_EQ(Get("/u/a%3fb").status, 403);
  EXPECT_EQ(Get("/u/a").status, 200);
  EXPECT_EQ(Get("/q/a%3fb").status, 200) << "behind the rule's own question mark it may stand";
  EXPECT_EQ(Get("/b/a%3fb").status, 404);
  EXPECT_EQ(Get("/o/a.html%3f").status, 200);
  EXPECT_EQ(Get("/va%3fb").status, 403);
}

TEST_F(RewriteTest, ControlCharactersDoNotGetIntoTheQuery) {
  Rules("RewriteRule ^/q/(.*)$ /a.html?x=$1\nRewriteRule ^/c/(.*)$ /a.html?x=$1 [BCTLS]\n");
  EXPECT_EQ(Get("/q/a%20b").status, 403);
  EXPECT_EQ(Get("/q/a%0ab").status, 403);
  EXPECT_EQ(Get("/c/a%20b").status, 200);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH10410"));
}

TEST_F(RewriteTest, OnlyAPathThatTheRuleNamesLeadsOutOfTheDocumentRoot) {
  Rules(
      "RewriteRule ^/lit/(.*)$ " + root() + "/out/$1\nRewriteRule ^/any(/.*)$ $1\nRewriteRule ^/root/(.*)$ /$1\n" +
      "RewriteRule ^/half/(.*)$ /t$1\nRewriteRule ^/yes/(.*)$ /$1 [UnsafePrefixStat]\nRewriteRule ^/up$ /d/../../x\n");
  EXPECT_EQ(Get("/lit/o.html").body, "outside");
  EXPECT_EQ(Get("/any" + root() + "/out/o.html").status, 404);
  EXPECT_EQ(Get("/root" + root() + "/out/o.html").status, 404);
  EXPECT_EQ(Get("/half/mp" + root().substr(4) + "/out/o.html").status, 404);
  EXPECT_EQ(Get("/yes" + root() + "/out/o.html").body, "outside");
  EXPECT_EQ(Get("/up").status, 403);
}

TEST_F(RewriteTest, DotsInASubstitutionAreResolvedBeforeSectionsAreAsked) {
  Write("secret/s.html", "secret");
  Configure("RewriteEngine On\nRewriteRule ^/x(.*)$ " + root() + "/out/.$1\n<Directory " + root() +
            "/secret>\nRequire all denied\n</Directory>\n");
  EXPECT_EQ(Get("/x./secret/s.html").status, 403);
}

TEST_F(RewriteTest, FlagsChooseWhatFollows) {
  Rules(
      "RewriteRule ^/l$ /1 [L]\nRewriteRule ^/1$ - [E=V:no]\nRewriteRule ^/s$ - [S=1]\nRewriteRule ^/s$ - [E=V:no]\n"
      "RewriteRule ^/s$ - [E=W:yes]\nRewriteRule ^/c1$ /c2 [C]\nRewriteRule ^/c2$ /c3 [C]\nRewriteRule ^/c3$ - "
      "[E=V:all]\n"
      "RewriteRule ^/n(.*)-(.*)$ /n$1_$2 [N]\nRewriteRule ^/n(.*)$ - [E=V:$1]\nRewriteRule ^/CASE$ - "
      "[NC,E=V:%{ENV:V}c]\n"
      "RewriteRule ^/f$ - [F]\nRewriteRule ^/g$ - [G]\nRewriteRule ^/r$ - [R=404]\nRewriteRule !^/ - [E=W:never]\n");
  EXPECT_EQ(Env("/l"), "(null)|(null)");
  EXPECT_EQ(Env("/s"), "(null)|yes");
  EXPECT_EQ(Env("/c1"), "all|(null)");
  EXPECT_EQ(Env("/c3"), "(null)|(null)") << "the chain was broken before it";
  EXPECT_EQ(Env("/na-b-c"), "a_b_c|(null)");
  EXPECT_EQ(Env("/case"), "c|(null)");
  EXPECT_EQ(Get("/f").status, 403);
  EXPECT_EQ(Get("/g").status, 410);
  EXPECT_EQ(Get("/r").status, 404);
}

TEST_F(RewriteTest, RulesInACircleEnd) {
  Rules("RewriteRule ^/z(.*)$ /z$1x [N]\nRewriteRule ^/y$ /y [N=5]\nRewriteRule ^/k$ /" + std::string(4000, 'k') +
        "\nRewriteRule ^(/k.*) $1$1$1$1$1$1$1$1$1\n");
  EXPECT_EQ(Get("/z").status, 500);
  EXPECT_EQ(Get("/y").status, 500);
  EXPECT_EQ(Get("/k").status, 500);
  Htaccess("RewriteRule ^p$ /d/q\nRewriteRule ^q$ /d/p\n");
  EXPECT_EQ(Get("/d/p").status, 500);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00124"));
}

TEST_F(RewriteTest, APatternThatNeedsTooLongRefusesTheRequestItMightHaveProtected) {
  Rules("RewriteRule ^/(a+)+$ /b.html\n");
  EXPECT_EQ(Get("/" + std::string(40, 'a') + "!").status, 500);
  EXPECT_EQ(Get("/aaa").body, "b");
  Rules("RewriteCond %{HTTP_USER_AGENT} ^(x+)+$\nRewriteRule ^/b - [F]\n");
  EXPECT_EQ(Get("/b.html", "User-Agent: " + std::string(40, 'x') + "!\r\n").status, 500);
}

TEST_F(RewriteTest, ConditionsCombineAndLeaveTheirGroups) {
  Rules(
      "RewriteCond %{HTTP:X-A} ^(1)$ [OR]\nRewriteCond %{HTTP:X-B} ^(2)$\nRewriteCond %{REQUEST_METHOD} =GET\n"
      "RewriteCond %{QUERY_STRING} !^no\nRewriteRule ^/(c)$ - [E=V:$1%1]\n"
      "RewriteCond abc <abd\nRewriteCond abcd >zzz\nRewriteCond ABC =abc [NC]\nRewriteCond 7 \"-gt 5\"\n"
      "RewriteCond 5 -eq5\nRewriteCond %{NOTHING} =\"\"\nRewriteCond expr \"'a1' =~ /a(.)/\"\nRewriteRule ^/t$ - "
      "[E=V:%1]\n");
  EXPECT_EQ(Env("/c", "X-A: 1\r\n"), "c1|(null)") << "the last pattern that held was the method's neighbour";
  EXPECT_EQ(Env("/c", "X-B: 2\r\n"), "c2|(null)");
  EXPECT_EQ(Env("/c?no", "X-B: 2\r\n"), "(null)|(null)");
  EXPECT_EQ(Env("/c"), "(null)|(null)");
  EXPECT_EQ(Env("/t"), "1|(null)");
  EXPECT_THAT(Get("/c", "X-A: 1\r\n").fields, HasSubstr("Vary: X-A"));
  EXPECT_THAT(Get("/c").fields, Not(HasSubstr("Vary")));
}

TEST_F(RewriteTest, FileTestsLookAtTheDisk) {
  Write("www/empty", "");
  std::filesystem::create_symlink("a.html", root() + "/www/link");
  std::filesystem::permissions(root() + "/www/b.html", std::filesystem::perms::owner_all);
  const std::string www = root() + "/www/";
  Rules("RewriteCond " + www + "a.html -f\nRewriteCond " + www + "d -d\nRewriteCond " + www + "link -L\nRewriteCond " +
        www + "a.html -s\nRewriteCond " + www + "empty !-s\nRewriteCond " + www + "b.html -x\nRewriteCond " + www +
        "none !-f\nRewriteRule ^/t$ - [E=V:all]\nRewriteCond /a.html -U\nRewriteCond " + www +
        "a.html -F\nRewriteCond " + www + "none !-F\nRewriteRule ^/t$ - [E=W:found]\n");
  EXPECT_EQ(Env("/t"), "all|found");
}

TEST_F(RewriteTest, LookAheadTellsWhatWillBe) {
  Rules("RewriteRule ^/(a|b)\\.html$ - [E=V:%{LA-U:REQUEST_FILENAME}]\nRewriteRule ^/a - [E=W:%{REQUEST_FILENAME}]\n");
  EXPECT_EQ(Env("/a.html"), root() + "/www/a.html|/a.html");
}

TEST_F(RewriteTest, MapsAreReadAgainWhenTheyChange) {
  Write("map.txt", "# comment\nkey value\nkey second\nq /a.html?m=1\nempty\n");
  Rules("RewriteMap m txt:" + root() +
        "/map.txt\nRewriteMap up int:toupper\nRewriteMap esc int:escape\n"
        "RewriteMap un int:unescape\nRewriteRule ^/m/(.*)$ - [E=V:${m:$1|none},E=W:${up:${m:$1|d$1}}]\n"
        "RewriteRule ^/e/(.*)$ - [E=V:${esc:$1},E=W:${un:a\\%41}]\nRewriteRule ^/q$ ${m:q}\n");
  EXPECT_EQ(Env("/m/key"), "value|VALUE");
  EXPECT_EQ(Env("/m/empty"), "none|DEMPTY");
  EXPECT_EQ(Env("/e/a%20b%3fc"), "a%20b%3fc|aA");
  Write("map.txt", "key changed-and-longer\n");
  EXPECT_EQ(Env("/m/key"), "changed-and-longer|CHANGED-AND-LONGER");
}

TEST_F(RewriteTest, AVirtualHostInheritsOnlyWhatItAsksFor) {
  const std::string host = "<VirtualHost *:8080>\nServerName site.example\n";
  Configure("RewriteEngine On\nRewriteRule ^/m$ /a.html\n" + host + "</VirtualHost>\n");
  EXPECT_EQ(Get("/m").status, 404);
  Configure("RewriteEngine On\nRewriteRule ^/m$ /a.html\n" + host + "RewriteEngine On\n</VirtualHost>\n");
  EXPECT_EQ(Get("/m").status, 404);
  Configure("RewriteEngine On\nRewriteRule ^/m$ /a.html\n" + host +
            "RewriteEngine On\nRewriteOptions Inherit\nRewriteRule ^/m$ /b.html [L]\n</VirtualHost>\n");
  EXPECT_EQ(Get("/m").body, "b");
  Configure("RewriteEngine On\nRewriteRule ^/m$ /a.html [L]\n" + host +
            "RewriteEngine On\nRewriteOptions InheritBefore\nRewriteRule ^/m$ /b.html [L]\n</VirtualHost>\n");
  EXPECT_EQ(Get("/m").body, "a");
  Configure("RewriteEngine On\nRewriteOptions InheritDown\nRewriteRule ^/m$ /a.html\n" + host +
            "RewriteEngine On\nRewriteOptions IgnoreInherit\n</VirtualHost>\n");
  EXPECT_EQ(Get("/m").status, 404);
}

TEST_F(RewriteTest, APassedThroughPathMeetsItsAlias) {
  Rules("Alias /al " + root() + "/out\nRewriteRule ^/p/(.*)$ /al/$1 [PT]\nRewriteRule ^/q/(.*)$ /al/$1\n");
  EXPECT_EQ(Get("/p/o.html").body, "outside");
  EXPECT_EQ(Get("/q/o.html").status, 404);
}

TEST_F(RewriteTest, AnAbsoluteUrlOfThisHostIsAPath) {
  Configure(
      "<VirtualHost *:80>\nServerName site.example:80\nRewriteEngine On\nRewriteRule ^/s$ http://site.example/a.html\n"
      "RewriteRule ^/o$ http://other.example/a.html\n</VirtualHost>\n");
  EXPECT_EQ(Ask("GET", "/s", "", "192.0.2.1", 80).body, "a");
  EXPECT_EQ(Ask("GET", "/o", "", "192.0.2.1", 80).status, 302);
}

TEST_F(RewriteTest, InADirectoryTheRulesSeeWhatIsBelowIt) {
  Htaccess(
      "RewriteRule ^old/(.*)$ $1.html [E=V:$1]\nRewriteRule ^abs$ /a.html\nRewriteRule ^blank$ \"x y.html\"\n"
      "RewriteRule ^r$ x.html [R]\nRewriteRule ^end$ x.html [END]\nRewriteRule ^x.html$ - [E=W:again]\n"
      "RewriteRule ^t$ - [T=text/x]\nRewriteRule ^f$ - [F]\n");
  Write("www/d/x y.html", "blank");
  Write("www/d/t", "typed");
  EXPECT_EQ(Get("/d/old/x").body, "x");
  EXPECT_EQ(Env("/d/old/x"), "(null)|again") << "V is REDIRECT_V now";
  EXPECT_EQ(Env("/d/end"), "(null)|(null)");
  EXPECT_EQ(Get("/d/abs").body, "a");
  EXPECT_EQ(Get("/d/blank").body, "blank");
  EXPECT_THAT(Get("/d/t").fields, HasSubstr("Content-Type: text/x\r\n"));
  EXPECT_EQ(Get("/d/f").status, 403);
  EXPECT_EQ(Location("/d/r"), "http://site.example" + root() + "/www/d/x.html") << "Apache's, without RewriteBase";
}

TEST_F(RewriteTest, TheBaseStandsForTheDirectory) {
  Htaccess("RewriteBase /d\nRewriteRule ^r$ x.html [R]\nRewriteRule ^i$ x.html\nRewriteRule ^a$ /a.html [R]\n");
  EXPECT_EQ(Location("/d/r"), "http://site.example/d/x.html");
  EXPECT_EQ(Location("/d/a"), "http://site.example/a.html");
  EXPECT_EQ(Get("/d/i").body, "x");
}

TEST_F(RewriteTest, BehindAnAliasTheContextGivesTheUrl) {
  Write("out/.htaccess", "RewriteEngine On\nRewriteRule ^n$ o.html\n");
  Configure("Alias /al " + root() + "/out\n<Directory " + root() + ">\nAllowOverride All\n</Directory>\n");
  EXPECT_EQ(Get("/al/n").body, "outside");
}

TEST_F(RewriteTest, TheIndexOfADirectoryGoesThroughTheRules) {
  Htaccess("RewriteRule ^index.html$ x.html\n");
  EXPECT_EQ(Get("/d/").body, "x");
  EXPECT_EQ(Location("/d"), "http://site.example/d/") << "the missing slash is not the rules' business";
}

TEST_F(RewriteTest, InnerRulesReplaceOuterOnesUnlessInherited) {
  const std::string outer =
      "<Directory " + root() + "/www>\nRewriteEngine On\nRewriteRule o$ - [E=V:outer]\n</Directory>\n" +
      "Header always set X-Env \"%{V}e|%{W}e\"\n<Directory " + root() + "/www/d>\nRewriteRule o$ - [E=W:inner]\n";
  Configure(outer + "</Directory>\n");
  EXPECT_EQ(Env("/d/o"), "(null)|inner");
  Configure(outer + "RewriteOptions Inherit\n</Directory>\n");
  EXPECT_EQ(Env("/d/o"), "outer|inner");
}

TEST_F(RewriteTest, WithoutFollowSymLinksADirectoryMayNotRewrite) {
  Write("www/d/.htaccess", "RewriteEngine On\nRewriteRule ^x.html$ /a.html\n");
  Configure("<Directory " + root() + ">\nAllowOverride All\nOptions None\n</Directory>\n");
  EXPECT_EQ(Get("/d/x.html").status, 403);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH00670"));
}

TEST_F(RewriteTest, CookiesCarryTheirAttributes) {
  Rules(
      "RewriteRule ^/h$ /a.html [CO=n:v:.x.y:0:/p:secure:httponly:Lax]\nRewriteRule ^/i$ /a.html [CO=;n;v:w;.x.y]\n"
      "RewriteRule ^/j$ - [CO=n:v:.x.y:10]\n");
  EXPECT_THAT(Get("/h").fields, HasSubstr("Set-Cookie: n=v; path=/p; domain=.x.y; secure; HttpOnly; SameSite=Lax\r\n"));
  EXPECT_THAT(Get("/i").fields, HasSubstr("Set-Cookie: n=v:w; path=/; domain=.x.y\r\n"));
  EXPECT_THAT(Get("/j").fields, testing::ContainsRegex("domain=.x.y; expires=..., ..-...-.... ..:..:.. GMT\r\n"));
}

}  // namespace
}  // namespace httpd::modules
