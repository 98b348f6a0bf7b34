#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>

#include "os/file.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

/// What the server writes about requests.
class Logging : public HandlerTest {
 protected:
  Logging() {
    Write("www/a.txt", "a");
    Write("www/secret/x.txt", "x");
  }
  std::string Log(const std::string& name = "log") { return os::ReadFile(root() + "/" + name).value(); }
  std::string Custom(const std::string& format, const std::string& name = "log") {
    return "CustomLog " + root() + "/" + name + " \"" + format + "\"\n";
  }
};

TEST_F(Logging, ALineKnowsTheRequestAsItWasAskedAndAsItEnded) {
  Configure(Custom("%U %>U %s %>s %p %{local}p %a %v %V %{NAME}e %{x}n %{q}T") +
            "SetEnv NAME value\nErrorDocument 404 /a.txt\n");
  Get("/a.txt", "Host: other.example:81\r\n");
  Get("/none");
  EXPECT_EQ(Log(),
            "/a.txt /a.txt 200 200 80 8080 192.0.2.1 site.example other.example value - q\n"
            "/none /a.txt 404 404 80 8080 192.0.2.1 site.example site.example value - q\n");
}

TEST_F(Logging, WhatAClientSendsStaysInItsLine) {
  Configure(Custom("%{X}i|%{User-Agent}i"));
  Get("/a.txt", "X: a\"b\\c\t\r\nUser-Agent: a\xe9\r\n");
  EXPECT_EQ(Log(), "a\\\"b\\\\c|a\\xe9\n");
}

TEST_F(Logging, AConditionDecidesAboutALine) {
  Configure("CustomLog " + root() + "/errors \"%U\" \"expr=%{REQUEST_STATUS} >= 400\"\nSetEnvIf Request_URI a isa\n" +
            "CustomLog " + root() + "/a \"%U\" env=isa\nCustomLog " + root() + "/others \"%U\" env=!isa\n");
  Get("/a.txt");
  Get("/none");
  EXPECT_EQ(Log("errors"), "/none\n");
  EXPECT_EQ(Log("a"), "/a.txt\n");
  EXPECT_EQ(Log("others"), "/none\n");
}

TEST_F(Logging, HostsInheritLogsUnlessTheyHaveTheirOwnAndGlobalOnesAlways) {
  Configure("LogFormat \"default %U\"\nLogFormat \"nick %U\" nick\nTransferLog " + root() + "/transfer\nCustomLog " +
            root() + "/custom nick\nGlobalLog " + root() +
            "/global \"%v\"\n<VirtualHost *:8080>\nServerName site.example\n</VirtualHost>\n<VirtualHost "
            "*:8080>\nServerName b.example\nLogFormat \"of b %U\"\nLogFormat \"b's nick\" nick\n</VirtualHost>\n"
            "<VirtualHost *:8080>\nServerName c.example\nCustomLog " +
            root() + "/own nick\n</VirtualHost>\n");
  for (const char* host : {"site.example", "b.example", "c.example"}) {
    Get("/a.txt", "Host: " + std::string(host) + "\r\n");
  }
  EXPECT_EQ(Log("transfer"), "default /a.txt\nof b /a.txt\n");
  EXPECT_EQ(Log("custom"), "nick /a.txt\nnick /a.txt\n");
  EXPECT_EQ(Log("own"), "nick /a.txt\n");
  EXPECT_EQ(Log("global"), "site.example\nb.example\nc.example\n");
}

TEST_F(Logging, TheTimeToTheFirstByteIsTakenWhereItIsAskedFor) {
  Configure(Custom("%^FB") + "<Location /secret>\nLogIOTrackTTFB On\n</Location>\n");
  Get("/a.txt");
  Get("/secret/x.txt");
  EXPECT_EQ(Log(), "-\n77\n");
}

TEST_F(Logging, BufferedLinesWaitForABlockAndAreNotLostAtTheEnd) {
  Configure("BufferedLogs On\n" + Custom("%U"));
  Get("/a.txt");
  EXPECT_EQ(Log(), "");
  for (int i = 0; i < 600; ++i) Get("/a.txt");
  EXPECT_GE(Log().size(), 4096u);
  EXPECT_LT(Log().size(), 601u * 7);
  handler_.reset();
  EXPECT_EQ(Log().size(), 601u * 7);
}

TEST_F(Logging, LevelsCanBeSetForOneModuleAndOneSection) {
  Configure("LogLevel crit\n<Directory " + root() + "/www/secret>\nRequire all denied\n</Directory>\n");
  Get("/secret/x.txt");
  EXPECT_THAT(ErrorLog(), Not(HasSubstr("AH01630")));
  Configure("LogLevel crit authz_core:error\n<Directory " + root() +
            "/www/secret>\nRequire all denied\n</Directory>\n");
  Get("/secret/x.txt");
  Get("/none");
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01630"));
  EXPECT_THAT(ErrorLog(), Not(HasSubstr("AH00128")));
  Configure("LogLevel crit authz_core:error\n<Location /none>\nLogLevel info\n</Location>\n");
  Get("/none");
  Get("/nothing");
  EXPECT_THAT(ErrorLog(), HasSubstr(root() + "/www/none"));
  EXPECT_THAT(ErrorLog(), Not(HasSubstr("/www/nothing")));
}

TEST_F(Logging, ErrorAndAccessLogAgreeOnTheIdentifier) {
  Configure(
      "ErrorLogFormat \"<%L|%{c}L> %M\"\nErrorLogFormat request \"first of %L\"\nErrorLogFormat connection "
      "\"conn %{c}L\"\n" +
      Custom("<%L|%{c}L>"));
  Get("/a.txt");
  EXPECT_EQ(Log(), "<-|->\n") << "nobody asked for one";
  Get("/none");
  std::string id = Log().substr(6);
  id.pop_back();
  EXPECT_THAT(id, testing::MatchesRegex("<[A-Za-z0-9+/]{11}[|][A-Za-z0-9+/]{11}>"));
  const std::string errors = ErrorLog();
  EXPECT_THAT(errors, HasSubstr(id + " AH00128: File does not exist: "));
  EXPECT_THAT(errors, HasSubstr("first of " + id.substr(1, 11) + "\n"));
  EXPECT_THAT(errors, HasSubstr("conn " + id.substr(13, 11) + "\n"));
}

TEST_F(Logging, UniqueIdIsTheIdentifierEverywhere) {
  Configure("LoadModule unique_id_module x.so\nErrorLogFormat \"%L %M\"\n" + Custom("%L %{UNIQUE_ID}e"));
  Get("/none");
  Get("/none");
  EXPECT_THAT(Log(), testing::MatchesRegex("([A-Za-z0-9@-]{24}) ([A-Za-z0-9@-]{24})\n.*\n"));
  EXPECT_EQ(Log().substr(0, 24), Log().substr(25, 24));
  EXPECT_NE(Log().substr(0, 24), Log().substr(50, 24));
  EXPECT_THAT(ErrorLog(), HasSubstr(Log().substr(0, 24) + " AH00128"));
}

TEST_F(Logging, AMessageOfARequestNamesClientAndReferer) {
  Configure("");
  Get("/none", "Referer: http://r/\"\r\n");
  EXPECT_THAT(ErrorLog(), ContainsRegex("\\[core:info\\] \\[pid [0-9]+:tid [0-9]+\\] \\[client 192.0.2.1:4711\\] "
                                        "AH00128: File does not exist: .*/none, referer: http://r/\"\n"));
}

TEST_F(Logging, SyslogGetsOneDatagramPerLine) {
  const std::string path = root() + "/dev-log";
  const os::Fd daemon(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(daemon.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  config_ = ConfigFrom("ServerName s\nErrorLog syslog:daemon:web\nCustomLog syslog \"%U\"\nLogLevel info\n");
  handler_.reset();
  auto logs = log::LogSet::Open(config_, root(), -1, path);
  ASSERT_TRUE(logs);
  logs_ = std::move(logs).value();
  auto site = Site::Build(config_, logs_.get(), "");
  ASSERT_TRUE(site);
  site_ = std::move(site).value();
  handler_ = std::make_unique<Handler>(*site_, *board_);
  Get("/none");
  std::vector<std::string> lines;
  char text[4096];
  for (ssize_t n; (n = ::recv(daemon.get(), text, sizeof text, 0)) > 0;) lines.emplace_back(text, n);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0],
              ContainsRegex("^<30>[A-Z][a-z][a-z] [ 0-9]+ [0-9:]+ web\\[[0-9]+\\]: \\[core:info\\] .*AH00128"));
  EXPECT_THAT(lines[1], ContainsRegex("^<190>.* httpd\\[[0-9]+\\]: /none$"));
}

TEST(LogDirectives, WhatIsWrongIsSaidInApachesWords) {
  const std::pair<const char*, const char*> cases[] = {
      {"ErrorLogFormat x y", "ErrorLogFormat type must be one of request, connection"},
      {"ErrorLogFormat x", "main ErrorLogFormat must contain message format string '%M'"},
      {"LogFormat %Z nick", "Unrecognized LogFormat directive %Z"},
      {"LogLevel core:", "Module specifier 'core' must be followed by a log level keyword"},
      {"LogLevel nomodule:info", "Cannot find module nomodule"},
      {"ErrorLog syslog:nofacility", "unknown syslog facility 'nofacility'"},
      {"BufferedLogs maybe", "BufferedLogs must be On or Off"},
      {"<VirtualHost *:80>\nGlobalLog a b\n</VirtualHost>", "GlobalLog cannot occur within <VirtualHost> section"}};
  for (const auto& [directive, text] : cases) EXPECT_THAT(ComplaintOf(directive), HasSubstr(text)) << directive;
}

}  // namespace
}  // namespace httpd::modules
