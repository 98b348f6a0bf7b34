#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "httpd/config/reader.h"
#include "httpd/modules/module.h"
#include "os/file.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

class HeaderModules : public HandlerTest {
 protected:
  HeaderModules() {
    Write("www/a.txt", "content");
    Write("www/a.html", "<p>");
    Write("www/sub/b.txt", "content");
  }
};

TEST_F(HeaderModules, SetAddAppendMergeEditAndUnsetActOnTheAnswer) {
  Configure(
      "Header set X-One first\nHeader set X-One second\nHeader add X-Two a\nHeader add X-Two b\n"
      "Header append Vary Accept-Encoding\nHeader append Vary Cookie\nHeader merge Vary cookie\nHeader merge Vary "
      "Cookie\n"
      "Header setifempty X-One third\nHeader setifempty X-Three new\nHeader edit X-One ^s(.) z$1\n"
      "Header edit* X-Two . x\nHeader unset ETag\n");
  const std::string fields = Get("/a.txt").fields;
  EXPECT_THAT(fields, HasSubstr("X-One: zecond\r\n"));
  EXPECT_THAT(fields, HasSubstr("X-Two: x\r\nX-Two: x\r\n"));
  EXPECT_THAT(fields, HasSubstr("Vary: Accept-Encoding, Cookie, cookie\r\n"));
  EXPECT_THAT(fields, HasSubstr("X-Three: new\r\n"));
  EXPECT_THAT(fields, Not(HasSubstr("ETag")));
}

TEST_F(HeaderModules, OnlyAlwaysReachesErrorsAndRedirects) {
  Configure("Header set X-Good 1\nHeader always set X-All 1\nRedirect /old http://other.example/\n");
  for (const char* target : {"/none", "/old", "/sub"}) {
    const std::string fields = Get(target).fields;
    EXPECT_THAT(fields, HasSubstr("X-All: 1\r\n")) << target;
    EXPECT_THAT(fields, Not(HasSubstr("X-Good"))) << target;
  }
  const std::string fields = Get("/a.txt").fields;
  EXPECT_THAT(fields, HasSubstr("X-All: 1\r\n"));
  EXPECT_THAT(fields, HasSubstr("X-Good: 1\r\n"));
  EXPECT_THAT(AskBad("GET", 400).fields, HasSubstr("X-All: 1\r\n"));
}

TEST_F(HeaderModules, SectionsAddToTheirHostAndTheInnermostHasTheLastWord) {
  Configure("Header set X-Where host\n<Directory " + root() + "/www/sub>\nHeader set X-Where sub\n</Directory>\n" +
            "<Files a.html>\nHeader set X-Where file\n</Files>\n<Location /sub>\nHeader append X-Where "
            "location\n</Location>\n");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("X-Where: host\r\n"));
  EXPECT_THAT(Get("/a.html").fields, HasSubstr("X-Where: file\r\n"));
  EXPECT_THAT(Get("/sub/b.txt").fields, HasSubstr("X-Where: sub, location\r\n"));
}

TEST_F(HeaderModules, ValuesKnowTimesAndVariables) {
  Configure("SetEnv NAME value\nHeader set X-A \"%t %D 100%% %{NAME}e %{NONE}e\"\n");
  const std::string fields = Get("/a.txt").fields;
  EXPECT_THAT(fields, testing::ContainsRegex("X-A: t=[0-9]{16} D=[0-9]+ 100% value \\(null\\)\r\n"));
}

TEST_F(HeaderModules, AConditionalEditFollowsItsVariable) {
  Configure(
      "SetEnvIf Request_URI \\.html$ is_html\nHeader set X-Html 1 env=is_html\nHeader set X-Other 1 env=!is_html\n");
  EXPECT_THAT(Get("/a.html").fields, HasSubstr("X-Html: 1\r\n"));
  EXPECT_THAT(Get("/a.html").fields, Not(HasSubstr("X-Other")));
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("X-Other: 1\r\n"));
}

TEST_F(HeaderModules, AFieldOfTheRequestCanBeCopiedIntoTheAnswer) {
  Configure("SetEnvIf X-In (.+) copy=$1\nHeader set X-Out \"%{copy}e\"\nHeader echo ^X-In$\n");
  const std::string fields = Get("/a.txt", "X-In: one two\r\n").fields;
  EXPECT_THAT(fields, HasSubstr("X-Out: one two\r\n"));
  EXPECT_THAT(fields, HasSubstr("X-In: one two\r\n"));
}

TEST_F(HeaderModules, AnAmpersandInAValueIsTextAndADollarNamesAGroup) {
  Configure("SetEnvIf Request_URI ^/(.) pair=x&y-$1\nHeader set X-A \"%{pair}e\"\nHeader edit X-A y [&$0]\n");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("X-A: x&[&y]-a\r\n"));
}

TEST_F(HeaderModules, ARequestFieldThatIsTakenAwayIsNotSeenByTheServer) {
  Configure("RequestHeader unset Range\n<Location /sub>\nRequestHeader set Range bytes=1-2\n</Location>\n");
  EXPECT_EQ(Get("/a.txt", "Range: bytes=0-1\r\n").status, 200);
  const Answer answer = Get("/sub/b.txt");
  EXPECT_EQ(answer.status, 206);
  EXPECT_EQ(answer.body, "on");
}

TEST_F(HeaderModules, EnvironmentRulesReadHeadersAddressesAndEachOther) {
  Configure(
      "SetEnvIf Remote_Addr ^192\\.0\\. near\nSetEnvIf near 1 chained=yes-$0\nSetEnvIfNoCase User-Agent curl/(\\d+) "
      "version=$1\nBrowserMatch Bot !near\nSetEnvIf ^X-A.* ^v any_x\nSetEnvIf X-Missing ^$ missing\n"
      "Header set X-Env \"%{near}e %{chained}e %{version}e %{any_x}e %{missing}e\"\n");
  EXPECT_THAT(Get("/a.txt", "User-Agent: CURL/8\r\nX-Abc: v1\r\n").fields, HasSubstr("X-Env: 1 yes-1 8 1 1\r\n"));
  EXPECT_THAT(Get("/a.txt", "User-Agent: Bot\r\nX-Missing: x\r\n").fields,
              HasSubstr("X-Env: (null) yes-1 (null) (null) (null)\r\n"));
}

TEST_F(HeaderModules, UnsetEnvTakesAwayWhatTheHostSetAndSetEnvIfWinsOverSetEnv) {
  Configure("SetEnv A outer\nSetEnv B outer\nSetEnvIf Request_Method GET B=rule\n<Location /sub>\nUnsetEnv A\n" +
            std::string("</Location>\nHeader set X-Env \"%{A}e %{B}e\"\n"));
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("X-Env: outer rule\r\n"));
  EXPECT_THAT(Get("/sub/b.txt").fields, HasSubstr("X-Env: (null) rule\r\n"));
}

TEST_F(HeaderModules, NokeepaliveClosesAfterTheAnswer) {
  Configure("BrowserMatch Old nokeepalive\n");
  EXPECT_TRUE(Get("/a.txt", "User-Agent: Old\r\n").close);
  EXPECT_FALSE(Get("/a.txt", "User-Agent: New\r\n").close);
}

TEST_F(HeaderModules, ExpiresFollowsTheMediaTypeThenTheMajorTypeThenTheDefault) {
  Configure(
      "ExpiresActive On\nExpiresDefault A60\nExpiresByType text/html \"access plus 1 hour 30 minutes\"\n"
      "ExpiresByType text/* A5\n<Location /sub>\nExpiresActive Off\n</Location>\n");
  EXPECT_THAT(Get("/a.html").fields, HasSubstr("Cache-Control: max-age=5400\r\nExpires: "));
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("Cache-Control: max-age=5\r\n"));
  EXPECT_THAT(Get("/sub/b.txt").fields, Not(HasSubstr("Cache-Control")));
  EXPECT_THAT(Get("/none").fields, Not(HasSubstr("Cache-Control")));
}

TEST_F(HeaderModules, ExpiresSinceTheLastChangeMayLieInThePast) {
  Configure("ExpiresActive On\nExpiresDefault \"modification plus 0 seconds\"\n");
  EXPECT_THAT(Get("/a.txt").fields, testing::ContainsRegex("Cache-Control: max-age=0\r\nExpires: "));
}

TEST_F(HeaderModules, ANotModifiedAnswerExpiresLikeTheFileItself) {
  Configure("ExpiresActive On\nExpiresByType text/html A7\nHeader set X-Good 1\n");
  const Answer answer = Get("/a.html", "If-None-Match: *\r\n");
  EXPECT_EQ(answer.status, 304);
  EXPECT_THAT(answer.fields, HasSubstr("Cache-Control: max-age=7\r\n"));
  EXPECT_THAT(answer.fields, HasSubstr("X-Good: 1\r\n"));
}

TEST_F(HeaderModules, AnErrorDocumentIsANewRequestToRulesAndKeepsTheOldVariablesByAnotherName) {
  Configure(
      "ErrorDocument 404 /a.html\nSetEnvIf Request_URI none$ asked=first\nSetEnvIf Request_URI html$ is_html\n"
      "CustomLog " +
      root() + "/html_log %U env=is_html\nCustomLog " + root() +
      "/asked_log \"%{asked}e %{REDIRECT_asked}e\" env=asked\n"
      "Header always set X-Env \"%{asked}e %{REDIRECT_asked}e %{is_html}e\"\n");
  const Answer answer = Get("/none");
  EXPECT_EQ(answer.status, 404);
  EXPECT_THAT(answer.fields, HasSubstr("X-Env: (null) first 1\r\n"));
  EXPECT_EQ(os::ReadFile(root() + "/html_log").value(), "");
  EXPECT_EQ(os::ReadFile(root() + "/asked_log").value(), "- first\n");
}

TEST_F(HeaderModules, LogsSeeVariablesAndChangedFields) {
  Configure("SetEnvIf Request_URI txt$ text=yes\nRequestHeader set X-In changed\nCustomLog " + root() +
            "/log \"%{text}e %{X-In}i\"\nCustomLog " + root() + "/text_log %U env=text\n");
  Get("/a.txt", "X-In: sent\r\n");
  Get("/a.html");
  EXPECT_EQ(os::ReadFile(root() + "/log").value(), "yes changed\n- changed\n");
  EXPECT_EQ(os::ReadFile(root() + "/text_log").value(), "/a.txt\n");
}

class BadHeaderDirective : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BadHeaderDirective, IsRefusedWithAReason) {
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
    All, BadHeaderDirective,
    testing::Values(std::pair("Header set", "requires at least two arguments"),
                    std::pair("Header set X-A", "requires three arguments"),
                    std::pair("Header put X-A v", "first argument must be 'add', 'set'"),
                    std::pair("Header set \"X A\" v", "is not the name of a header"),
                    std::pair("Header set X-A v w", "envclause should be in the form env=envar"),
                    std::pair("Header set X-A v env=x y", "one word too many"),
                    std::pair("Header edit X-A (", "requires a regular expression and a replacement"),
                    std::pair("Header edit X-A ( b", "could not be compiled"),
                    std::pair("Header set X-A \"a\\nSet-Cookie: b\"", "must not hold a line end"),
                    std::pair("Header set X-A %q", "Unrecognized header format %q"),
                    std::pair("RequestHeader echo X-A", "first argument must be 'add', 'set'"),
                    std::pair("<Location /x>\nHeader set X-A v early\n</Location>", "early cannot be used in"),
                    std::pair("SetEnvIf Host", "requires at least two arguments"),
                    std::pair("SetEnvIf Host x", "Missing envariable expression for SetEnvIf"),
                    std::pair("SetEnvIf Host ( x", "could not be compiled"),
                    std::pair("ExpiresDefault 5", "unrecognised <base>"),
                    std::pair("ExpiresDefault \"access plus x days\"", "numeric value expected"),
                    std::pair("ExpiresByType text/html \"access plus 1 fortnight\"", "unrecognised <type>")));

}  // namespace
}  // namespace httpd::modules
