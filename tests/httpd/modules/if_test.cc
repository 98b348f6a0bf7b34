// <If>, <ElseIf>, <Else> and the other directives that take expressions, through the whole pipeline.
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

class IfTest : public HandlerTest {
 protected:
  IfTest() {
    Write("www/a.txt", "content");
    Write("www/b.html", "<p>");
    Write("www/sub/c.txt", "content");
  }
};

TEST_F(IfTest, SettingsHoldWhereTheConditionDoes) {
  Configure(
      "<If \"%{QUERY_STRING} == 'x'\">\nHeader set X-Branch if\n</If>\n"
      "<ElseIf \"%{QUERY_STRING} =~ /^y/\">\nHeader set X-Branch elseif\n</ElseIf>\n"
      "<ElseIf \"true && %{REQUEST_URI} == '/a.txt'\">\nHeader set X-Branch second\n</ElseIf>\n"
      "<Else>\nHeader set X-Branch else\n</Else>\n");
  EXPECT_THAT(Get("/a.txt?x").fields, HasSubstr("X-Branch: if\r\n"));
  EXPECT_THAT(Get("/a.txt?y1").fields, HasSubstr("X-Branch: elseif\r\n"));
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("X-Branch: second\r\n"));
  EXPECT_THAT(Get("/b.html").fields, HasSubstr("X-Branch: else\r\n"));
  EXPECT_THAT(Get("/a.txt?x").fields, HasSubstr("X-Branch: if\r\n"));  // nothing was remembered wrongly
}

TEST_F(IfTest, SectionsAreMergedLastWhateverTheyStandIn) {
  Configure("<Directory " + root() + "/www/sub>\n<If \"true\">\nForceType text/if\n</If>\n</Directory>\n" +
            "<Location /sub>\nForceType text/location\n</Location>\n<Files *.html>\n<If \"-z req('X-No')\">\n"
            "ForceType text/files\n</If>\n</Files>\n<Location /b.html>\n<If \"-n req('X-Last')\">\nForceType "
            "text/last\n</If>\n</Location>\n");
  EXPECT_THAT(Get("/sub/c.txt").fields, HasSubstr("Content-Type: text/if"));
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("Content-Type: text/plain"));
  EXPECT_THAT(Get("/b.html").fields, HasSubstr("Content-Type: text/files"));
  EXPECT_THAT(Get("/b.html", "X-Last: 1\r\n").fields, HasSubstr("Content-Type: text/last"));
}

TEST_F(IfTest, SectionsInSectionsAreAskedWhenTheOuterOneHolds) {
  Configure(
      "<If \"%{QUERY_STRING} =~ /a/\">\nHeader set X-A 1\n<If \"%{QUERY_STRING} =~ /b/\">\nHeader set X-B 1\n</If>\n"
      "<Else>\nHeader set X-Not-B 1\n</Else>\n</If>\n<If \"%{QUERY_STRING} =~ /b/\">\nHeader set X-Own-B 1\n</If>\n");
  EXPECT_THAT(Get("/a.txt?ab").fields,
              testing::AllOf(HasSubstr("X-A:"), HasSubstr("X-B:"), Not(HasSubstr("X-Not-B:")), HasSubstr("X-Own-B:")));
  EXPECT_THAT(Get("/a.txt?a").fields, testing::AllOf(HasSubstr("X-A:"), HasSubstr("X-Not-B:"), Not(HasSubstr("X-B:"))));
  EXPECT_THAT(Get("/a.txt?b").fields,
              testing::AllOf(Not(HasSubstr("X-A:")), Not(HasSubstr("X-B:")), HasSubstr("X-Own-B:")));
}

TEST_F(IfTest, ConditionsDecideWhoMayComeIn) {
  Configure("<If \"%{HTTP_USER_AGENT} =~ /bot/i || -R '192.0.2.66/32'\">\nRequire all denied\n</If>\n");
  EXPECT_EQ(Get("/a.txt").status, 200);
  EXPECT_EQ(Get("/a.txt", "User-Agent: WebBot\r\n").status, 403);
  EXPECT_EQ(Ask("GET", "/a.txt", "", "192.0.2.66").status, 403);
  EXPECT_EQ(Get("/a.txt").status, 200);
}

TEST_F(IfTest, FieldsThatDecidedAreInVary) {
  Configure(
      "<If \"req('X-Skin') == 'dark'\">\nHeader set X-Dark 1\n</If>\nHeader set X-New 1 \"expr=req('X-Age') -lt "
      "5 && req('X-Skin') == ''\"\nHeader set X-Quiet 1 expr=true\n");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("Vary: X-Skin, X-Age\r\n"));
  EXPECT_THAT(Get("/a.txt", "X-Age: 7\r\n").fields, Not(HasSubstr("X-New")));
}

TEST_F(IfTest, HtaccessFilesHaveConditionsButDoNotReadFiles) {
  const std::string allow = "<Directory " + root() + "/www>\nAllowOverride FileInfo\n</Directory>\n";
  Configure(allow);
  Write("www/sub/.htaccess", "<If \"%{QUERY_STRING} == 'x'\">\nHeader set X-If 1\n</If>\n");
  EXPECT_THAT(Get("/sub/c.txt?x").fields, HasSubstr("X-If: 1\r\n"));
  EXPECT_THAT(Get("/sub/c.txt").fields, Not(HasSubstr("X-If")));
  for (const char* line : {"<If \"file('/etc/passwd') =~ /root/\">\n</If>\n", "Header set X expr=%{file:/etc/passwd}\n",
                           "Header set X 1 \"expr=filesize('/etc/shadow') -gt 1\"\n",
                           "SetEnvIfExpr \"file('/etc/passwd') =~ /(.*)/\" a=$1\n",
                           "ErrorDocument 404 \"%{file:/etc/passwd}\"\n", "<IfFile /etc/passwd>\n</IfFile>\n"}) {
    Write("www/sub/.htaccess", line);
    Configure(allow);
    EXPECT_EQ(Get("/sub/c.txt").status, 500) << line;
  }
  EXPECT_THAT(ErrorLog(), HasSubstr("Cannot parse condition clause: file not available in restricted context"));
}

TEST_F(IfTest, AConditionThatLooksItsOwnPlaceUpComesToAnEnd) {
  Write("www/sub/.htaccess", "<If \"-U '/sub/c.txt' || -F '/none'\">\nHeader set X-If 1\n</If>\n");
  Configure("<Directory " + root() + "/www>\nAllowOverride All\n</Directory>\n");
  EXPECT_THAT(Get("/sub/c.txt").fields, HasSubstr("X-If: 1\r\n"));
  EXPECT_THAT(ErrorLog(), HasSubstr(root() + "/www/sub/.htaccess:1 failed: Recursion limit reached"));
}

// Looked-up requests wrote into an answer that was gone: the first field that a hook added ended the child.
TEST_F(IfTest, ALookUpMeetsConditionsThatAddToVary) {
  Configure(
      "<If \"req('X-Skin') == 'dark'\">\nHeader set X-Dark 1\n</If>\nHeader set X-There 1 \"expr=-U '/b.html' && "
      "-F '" +
      root() +
      "/www/a.txt'\"\n<Location /sub>\nRequire all denied\n</Location>\nHeader set X-None 1 \"expr=-U "
      "'/sub/c.txt'\"\n");
  EXPECT_THAT(Get("/a.txt").fields, testing::AllOf(HasSubstr("X-There: 1\r\n"), Not(HasSubstr("X-None"))));
}

TEST_F(IfTest, HeaderTakesExpressionsAsValuesAndConditions) {
  Configure(
      "Header set X-Md5 \"expr=%{md5:%{REQUEST_URI}}\"\nHeader set X-Query expr=%{QUERY_STRING}\n"
      "Header set X-Split \"expr=a%{unescape:%{QUERY_STRING}}b\"\n"
      "Header always set X-Bad 1 \"expr=%{REQUEST_STATUS} -ge 400\"\nHeader edit X-Md5 ^.*$ expr=%{tolower:EDITED}\n"
      "RequestHeader set X-From expr=%{REMOTE_ADDR}\nHeader set X-Echo expr=%{req:X-From}\n");
  const std::string fields = Get("/a.txt?%0d%0aX-Evil:1").fields;
  EXPECT_THAT(fields, HasSubstr("X-Md5: edited\r\n"));
  EXPECT_THAT(fields, HasSubstr("X-Query: %0d%0aX-Evil:1\r\n"));
  EXPECT_THAT(fields, HasSubstr("X-Split: a  X-Evil:1b\r\n"));
  EXPECT_THAT(fields, HasSubstr("X-Echo: 192.0.2.1\r\n"));
  EXPECT_THAT(fields, Not(HasSubstr("X-Bad")));
  EXPECT_THAT(Get("/none").fields, HasSubstr("X-Bad: 1\r\n"));
}

TEST_F(IfTest, SetEnvIfExprSetsWhatItsPatternFound) {
  Configure(
      "SetEnvIfExpr \"%{REQUEST_URI} =~ m#^/([^/.]+)[.](\\w+)#\" name=$1 kind=$2 !gone\nSetEnvIfExpr \"false\" no=1\n"
      "Header set X-Env \"%{name}e.%{kind}e %{no}e\"\n");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("X-Env: a.txt (null)\r\n"));
}

TEST_F(IfTest, LogsAndErrorDocumentsAskExpressions) {
  Configure("CustomLog " + root() +
            "/errors_log \"%s %U\" \"expr=%{REQUEST_STATUS} -ge 400\"\n"
            "ErrorDocument 404 \"No %{REQUEST_URI} here (%{REQUEST_STATUS})\"\nErrorDocument 403 "
            "http://other.example/?%{escape:%{QUERY_STRING}}\n<Location /sub>\nRequire all denied\n</Location>\n");
  EXPECT_EQ(Get("/none").body, "No /none here (404)");
  EXPECT_THAT(Get("/sub/?a%0d%0ab").fields, HasSubstr("Location: http://other.example/?a%250d%250ab\r\n"));
  Get("/a.txt");
  handler_->EndTurn();
  EXPECT_EQ(os::ReadFile(root() + "/errors_log").value(), "404 /none\n");
}

TEST_F(IfTest, IfDirectiveAndIfSectionKnowWhatTheServerHas) {
  Configure(
      "<IfDirective header>\nHeader set X-One 1\n</IfDirective>\n<IfDirective !Nonsense>\nHeader set X-Two 1\n"
      "</IfDirective>\n<IfDirective Nonsense>\nNonsense on\n</IfDirective>\n<IfSection Directory>\nHeader set X-Three "
      "1\n</IfSection>\n<IfSection Nonsense>\n<Nonsense>\n</Nonsense>\n</IfSection>\n<IfFile /no/such/file>\nNonsense\n"
      "</IfFile>\n<IfFile !/no/such/file>\nHeader set X-Four 1\n</IfFile>\n<IfFile " +
      root() + "/www>\nHeader set X-Five 1\n</IfFile>\n<IfFile www/a.txt>\nHeader set X-Six 1\n</IfFile>\n");
  const std::string fields = Get("/a.txt").fields;
  for (const char* name : {"X-One", "X-Two", "X-Three", "X-Four", "X-Five", "X-Six"}) {
    EXPECT_THAT(fields, HasSubstr(name));
  }
}

class BadIf : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BadIf, IsRefusedInApachesWords) {
  RegisterModules();
  const auto& [text, message] = GetParam();
  config::FileSource files;
  files.read = [whole = std::string(text)](const std::string&) -> os::Result<std::string> {
    return "ServerRoot /\n" + whole + "\n";
  };
  files.expand = [](const std::string&) -> os::Result<std::vector<std::string>> { return std::vector<std::string>(); };
  files.is_directory = [](const std::string&) { return true; };
  files.environment = [](const std::string&) { return std::optional<std::string>(); };
  config::ReadRequest request;
  request.server_root = "/";
  request.config_file = "/test.conf";
  const auto read = config::ReadConfiguration(request, files);
  ASSERT_FALSE(read) << text;
  EXPECT_THAT(read.error().Text(), HasSubstr(message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadIf,
    testing::Values(
        std::pair("<If \"tru\">\n</If>", "Cannot parse condition clause: syntax error, unexpected $end, expecting '('"),
        std::pair("<If>\n</If>", "<If> directive requires additional arguments"),
        std::pair("<If true && false>\n</If>", "Multiple <If> arguments not supported."),
        std::pair("<Else x>\n</Else>", "<Else> does not take an argument"),
        std::pair("<Else>\n</Else>",
                  "<Else> or <ElseIf> section without previous <If> or <ElseIf> section in same scope"),
        std::pair("<If true>\n</If>\n<Location /x>\n<ElseIf true>\n</ElseIf>\n</Location>", "in same scope"),
        std::pair("<If true>\n</If>\n<Else>\n</Else>\n<Else>\n</Else>", "in same scope"),
        std::pair("<If true>\nServerName x\n</If>", "ServerName not allowed in <If> context"),
        std::pair("<If true>\n<Location />\n</Location>\n</If>", "<Location not allowed in <If> context"),
        std::pair("<If true>\n<Files x>\n</Files>\n</If>", "<Files> cannot occur within <If> section"),
        std::pair("Header set X expr=%{FOO}", "Can't parse value expression : Variable 'FOO' does not exist"),
        std::pair("Header set X 1 expr=tru", "Can't parse envclause/expression: syntax error, unexpected $end"),
        std::pair("SetEnvIfExpr tru a", "Could not parse expression \"tru\": syntax error, unexpected $end"),
        std::pair("SetEnvIfExpr true", "Missing envariable expression for SetEnvIfExpr"),
        std::pair("CustomLog a.log %h expr=tru", "syntax error, unexpected $end, expecting '('"),
        std::pair("CustomLog a.log %h foo=tru", "error in condition clause"),
        std::pair("ErrorDocument 404 %{FOO}",
                  "Cannot parse expression in ErrorDocument: Variable 'FOO' does not exist"),
        std::pair("<IfFile>\n</IfFile>", "<IfFile> directive requires additional arguments")));

}  // namespace
}  // namespace httpd::modules
