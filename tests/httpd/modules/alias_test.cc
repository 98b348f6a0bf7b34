#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "httpd/config/reader.h"
#include "httpd/modules/alias_table.h"
#include "httpd/modules/module.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

AliasRule Prefix(const std::string& from) {
  return {from, "/target", nullptr, "", 302};
}

AliasRule Pattern(const std::string& text) {
  AliasRule rule = Prefix("");
  rule.regex = CompileRegex(text).value();
  return rule;
}

TEST(AliasTable, TenThousandRulesCostNoMoreThanThePathIsDeep) {
  AliasTable table;
  for (int i = 0; i < 10000; ++i) table.Add(Prefix("/old/page" + std::to_string(i)));
  const auto found = table.Find("/old/page9999/a/b");
  ASSERT_NE(found.rule, nullptr);
  EXPECT_EQ(found.rule->from, "/old/page9999");
  EXPECT_LE(found.looked_at, 10U);
  const auto missing = table.Find("/other/" + std::string(2000, 'x') + "/a/b/c/d/e/f/g");
  EXPECT_EQ(missing.rule, nullptr);
  EXPECT_LE(missing.looked_at, 3U) << "nothing is longer than the longest prefix";
}

TEST(AliasTable, APatternAtItsLimitsIsToldNotPassedOver) {
  AliasTable table;
  table.Add(Pattern("^/(a+)+$"));
  table.Add(Pattern("^/"));
  bool gave_up = false;
  EXPECT_NE(table.Find("/aaa", &gave_up).rule, nullptr);
  EXPECT_FALSE(gave_up);
  table.Find("/" + std::string(40, 'a') + "!", &gave_up);
  EXPECT_TRUE(gave_up) << "a RedirectMatch may be what protects";
}

TEST(AliasTable, TheFirstInTheConfigurationWinsWhateverItsKind) {
  AliasTable table;
  table.Add(Pattern("^/a/first"));
  table.Add(Prefix("/a"));
  table.Add(Prefix("/a/b"));
  table.Add(Pattern("^/a"));
  table.Add(Prefix("/c/d"));
  table.Add(Prefix("/c"));
  EXPECT_EQ(table.Find("/a/first/x").order, 0U);
  EXPECT_EQ(table.Find("/a/b/x").order, 1U);
  EXPECT_EQ(table.Find("/ab").order, 3U);
  EXPECT_EQ(table.Find("/c/d").order, 4U);
  EXPECT_EQ(table.Find("/c/e").order, 5U);
  EXPECT_EQ(table.Find("/c/dd").order, 5U);
}

TEST(AliasTable, APrefixEndsWithASegmentAndSlashesCountOnce) {
  AliasTable table;
  table.Add(Prefix("/icons/"));
  table.Add(Prefix("/a//b"));
  EXPECT_EQ(table.Find("/icons").rule, nullptr);
  EXPECT_EQ(table.Find("/icons/").length, 7U);
  EXPECT_EQ(table.Find("//icons///x").length, 10U);
  EXPECT_EQ(table.Find("/a/b/c").length, 4U);
  EXPECT_EQ(table.Find("/a///b//c").length, 6U);
  EXPECT_EQ(table.Find("/a/bc").rule, nullptr);
}

class AliasTest : public HandlerTest {
 protected:
  AliasTest() {
    Write("www/f.html", "file");
    Write("www/dir/index.html", "index");
    Write("other/o.html", "other");
  }
  std::string Location(const std::string& target) {
    return std::string(FindField(fields_ = Get(target).fields, "Location"));
  }

 private:
  std::string fields_;
};

TEST_F(AliasTest, RedirectsComeBeforeAliasesAndEscapeWhatTheyCarry) {
  Configure("Alias /a " + root() + "/other\nRedirect /a http://x.example/b\nRedirect 303 /s /t\n");
  EXPECT_EQ(Location("/a/c%20d%3fe?q"), "http://x.example/b/c%20d%3fe?q");
  EXPECT_EQ(Location("/a/x%0d%0aSet-Cookie:y"), "http://x.example/b/x%0d%0aSet-Cookie:y");
  EXPECT_EQ(Get("/s").status, 303);
  EXPECT_EQ(Location("/s"), "http://site.example/t");
}

TEST_F(AliasTest, APatternFillsTheTargetWhoseQueryIsNotEscaped) {
  Configure(
      "RedirectMatch 301 ^/m(.*)$ http://x.example/$1\nRedirectMatch ^/n(.*)$ http://x.example/n?a=$1#f\n"
      "RedirectMatch ^/o(.*)$ $1\nRedirectMatch ^/p(x)$ /q&$1\\$1\n");
  EXPECT_EQ(Location("/ma%20b"), "http://x.example/a%20b");
  EXPECT_EQ(Location("/nx?q"), "http://x.example/n?a=x#f");
  EXPECT_EQ(Get("/ox").status, 500);
  EXPECT_EQ(Get("/nx%0ay").status, 500) << "a line end in a field";
  EXPECT_EQ(Location("/px"), "http://site.example/q&x$1");
}

TEST_F(AliasTest, OtherStatusesHaveNoTarget) {
  Configure("Redirect gone /g\nRedirect 404 /n\nRedirectMatch 403 ^/f$\n");
  EXPECT_EQ(Get("/g/x").status, 410);
  EXPECT_EQ(Get("/n").status, 404);
  EXPECT_EQ(Get("/f").status, 403);
}

TEST_F(AliasTest, SectionsHaveRedirectsAndAliasesOfTheirOwn) {
  Configure("<Location /l>\nAlias " + root() + "/other/o.html\n</Location>\n<Location /k>\nAlias " + root() +
            "/other\nAliasPreservePath On\n</Location>\n<Location /r>\nRedirect 303 "
            "\"http://x.example%{REQUEST_URI}\"\n</Location>\n<Location /g>\nRedirect gone\n</Location>\n"
            "<Location /rr>\nRedirectRelative On\nRedirect 302 /there\n</Location>\n");
  EXPECT_EQ(Get("/l/any/where").body, "other");
  EXPECT_EQ(Get("/k/o.html").body, "other");
  EXPECT_EQ(Location("/r/a%20b"), "http://x.example/r/a%20b");
  EXPECT_EQ(Get("/g/x").status, 410);
  EXPECT_EQ(Location("/rr"), "/there");
}

TEST_F(AliasTest, AnHtaccessFileRedirects) {
  Write("www/dir/.htaccess", "Redirect /dir/x http://x.example/y\nRedirectMatch ^/dir/m(.*) /n$1\n");
  Configure("<Directory " + root() + ">\nAllowOverride FileInfo\n</Directory>\n");
  EXPECT_EQ(Location("/dir/x/z"), "http://x.example/y/z");
  EXPECT_EQ(Location("/dir/m1"), "http://site.example/n1");
  EXPECT_EQ(Get("/dir/index.html").status, 200);
}

TEST_F(AliasTest, AVirtualHostAsksItsOwnRulesFirst) {
  Configure(
      "Redirect /a http://main.example/\nRedirect /b http://main.example/\n<VirtualHost *:8080>\nServerName "
      "site.example\nRedirect /a http://own.example/\n</VirtualHost>\n");
  EXPECT_EQ(Location("/a"), "http://own.example/");
  EXPECT_EQ(Location("/b"), "http://main.example/");
}

TEST_F(AliasTest, AnAliasMatchCannotLeadPastASection) {
  Write("secret/s.html", "secret");
  Configure("AliasMatch ^/x(.*)$ " + root() + "/other/.$1\n<Directory " + root() +
            "/secret>\nRequire all denied\n</Directory>\n");
  EXPECT_EQ(Get("/x/o.html").body, "other");
  EXPECT_EQ(Get("/x./secret/s.html").status, 403) << "other/../secret is secret";
}

TEST_F(AliasTest, UserDirectoriesAreFoundByPatternAndDisabledByName) {
  Write("home/joe/www/p.html", "joe's");
  Configure("UserDir " + root() + "/home/*/www\nUserDir disabled root\n");
  EXPECT_EQ(Get("/~joe/p.html").body, "joe's");
  EXPECT_EQ(Get("/~root/p.html").status, 404);
  EXPECT_EQ(Get("/~../p.html").status, 404);
  EXPECT_EQ(Get("/~./joe/p.html").status, 404);
  Configure("UserDir " + root() + "/home\nUserDir disabled\nUserDir enabled ann\n");
  EXPECT_EQ(Get("/~joe/www/p.html").status, 404);
  Configure("UserDir http://x.example/*/u " + root() + "\n");
  EXPECT_EQ(Location("/~joe/a"), "http://x.example/joe/u/a");
}

TEST_F(AliasTest, AHostNameChoosesItsDirectory) {
  Write("v/www.site.example/a.html", "whole");
  Write("v/site/w/www/a.html", "parts");
  Write("v/_/a.html", "none");
  Configure("VirtualDocumentRoot " + root() + "/v/%0\n");
  EXPECT_EQ(Get("/a.html", "Host: WWW.site.example:8080\r\n").body, "whole");
  EXPECT_EQ(Get("/a.html", "Host: www.site.example.\r\n").body, "whole");
  for (const char* name : {"..", "a..b", ".a", "a%2f"}) {
    EXPECT_NE(Get("/a.html", std::string("Host: ") + name + "\r\n").status, 200) << name;
  }
  Configure("VirtualDocumentRoot " + root() + "/v/%-2/%1.1/%-3+\n");
  EXPECT_EQ(Get("/a.html", "Host: www.site.example\r\n").body, "parts");
  Configure("VirtualDocumentRoot " + root() + "/v/%7\n");
  EXPECT_EQ(Get("/a.html", "Host: www.site.example\r\n").body, "none");
}

TEST_F(AliasTest, ANameThatIsAlmostRightIsFound) {
  Write("www/Other.html", "o");
  Write("www/pic.png", "p");
  Configure("CheckSpelling On\n");
  EXPECT_EQ(Location("/other.html?q"), "http://site.example/Other.html?q");
  EXPECT_EQ(Location("/oter.html"), "http://site.example/Other.html");
  EXPECT_EQ(Location("/Otehr.html"), "http://site.example/Other.html");
  const Answer choices = Get("/pic.gif");
  EXPECT_EQ(choices.status, 300);
  EXPECT_THAT(choices.body, HasSubstr("<a href=\"/pic.png\">/pic.png</a> (common basename)"));
  EXPECT_EQ(Get("/nothing").status, 404);
  Configure("CheckSpelling On\nCheckCaseOnly On\nCheckBasenameMatch Off\n");
  EXPECT_EQ(Get("/oter.html").status, 404);
  EXPECT_EQ(Get("/pic.gif").status, 404);
  EXPECT_EQ(Get("/PIC.png").status, 301);
}

class BadMappingDirective : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BadMappingDirective, IsRefusedWithAReason) {
  RegisterModules();
  const auto& [line, message] = GetParam();
  config::FileSource files;
  files.read = [text = std::string(line)](const std::string&) -> os::Result<std::string> {
    return "ServerRoot /\n" + text + "\n";
  };
  files.expand = [](const std::string&) -> os::Result<std::vector<std::string>> { return std::vector<std::string>(); };
  files.is_directory = [](const std::string&) { return true; };
  files.environment = [](const std::string&) { return std::optional<std::string>(); };
  config::ReadRequest request;
  request.server_root = "/";
  request.config_file = "/test.conf";
  const auto read = config::ReadConfiguration(request, files);
  ASSERT_FALSE(read) << line;
  EXPECT_THAT(read.error().Text(), HasSubstr(message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadMappingDirective,
    testing::Values(
        std::pair("Alias /a", "Alias must have two arguments when used globally"),
        std::pair("<Location /x>\nAlias /a /b\n</Location>", "Alias cannot occur within directory context"),
        std::pair("<Directory /x>\nAlias /b\n</Directory>", "Alias cannot occur within <Directory> section"),
        std::pair("<Location /x>\nAliasMatch /b /c\n</Location>", "AliasMatch not allowed in <Location> context"),
        std::pair("AliasMatch ( /x", "Regular expression could not be compiled."),
        std::pair("Redirect 301 /a b", "Redirect to non-URL"),
        std::pair("Redirect gone /a http://b", "Redirect URL not valid for this status"),
        std::pair("Redirect /a", "URL to redirect to is missing"),
        std::pair("<Location /x>\nRedirect 302\n</Location>", "URL to redirect to is missing"),
        std::pair("Redirect foo /a http://b", "Redirect: invalid first argument (of three)"),
        std::pair("Redirect 99 /a http://b", "Redirect URL not valid for this status"),
        std::pair("RedirectTemp /a", "RedirectTemp takes two arguments"),
        std::pair("RewriteRule x", "RewriteRule: bad argument line 'x'"),
        std::pair("RewriteRule x y z", "RewriteRule: bad flag delimiters"),
        std::pair("RewriteRule x y [Z]", "RewriteRule: unknown flag 'Z'"),
        std::pair("RewriteRule x y [R=700]", "RewriteRule: invalid HTTP response code '700' for flag 'R'"),
        std::pair("RewriteRule x y [BNE]", "RewriteRule: flag 'BNE' wants a list of characters (i.e. [BNE=...])"),
        std::pair("RewriteRule ( y", "RewriteRule: cannot compile regular expression '('"),
        std::pair("RewriteCond x", "RewriteCond: bad argument line 'x'"),
        std::pair("RewriteCond x y [FOO]", "RewriteCond: unknown flag 'FOO'"),
        std::pair("RewriteCond x (", "RewriteCond: cannot compile regular expression '('"),
        std::pair("RewriteCond expr \"%{FOO\"", "RewriteCond: cannot compile expression \"%{FOO\""),
        std::pair("RewriteBase /x", "RewriteBase: only valid in per-directory config files"),
        std::pair("<Directory /x>\nRewriteBase x\n</Directory>", "RewriteBase: argument is not a valid URL"),
        std::pair("RewriteOptions foo", "RewriteOptions: unknown option 'foo'"),
        std::pair("RewriteMap x int:foo", "RewriteMap: internal map not found:foo"),
        std::pair("RewriteMap x txt:/nonexist", "RewriteMap: file for map x not found:/nonexist"),
        std::pair("RewriteMap x prg:/bin/true", "RewriteMap: prg maps are not supported"),
        std::pair("RewriteMap x dbm:/x", "RewriteMap: dbm maps are not supported"),
        std::pair("<Directory /x>\nRewriteMap x int:toupper\n</Directory>",
                  "RewriteMap not allowed in <Directory> context"),
        std::pair("RewriteEngine maybe", "RewriteEngine must be On or Off"),
        std::pair("UserDir", "UserDir requires an argument."),
        std::pair("UserDir enabled", "UserDir \"enable\" keyword requires a list of usernames"),
        std::pair("VirtualDocumentRoot x", "format string must be an absolute path, or 'none'"),
        std::pair("VirtualDocumentRoot /x/%q", "syntax error in format string"),
        std::pair("VirtualDocumentRoot /x/%1.", "syntax error in format string"),
        std::pair("CheckSpelling maybe", "CheckSpelling must be On or Off")));

}  // namespace
}  // namespace httpd::modules
