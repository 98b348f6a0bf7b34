#include "httpd/modules/expression.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "httpd/modules/module.h"
#include "httpd/modules/request_variables.h"

namespace httpd::modules {
namespace {

using testing::ElementsAre;

/// What a look-up leads to, by what was asked.
class FakeEngine final : public Engine {
 public:
  std::unique_ptr<RequestState> LookUp(RequestState& from, std::string_view uri) override { return Answer(from, uri); }
  std::unique_ptr<RequestState> LookUpFile(RequestState& from, std::string_view file) override {
    return Answer(from, file);
  }
  void Become(RequestState&, std::unique_ptr<RequestState>) override {}
  void LogError(const RequestState&, config::LogLevel, std::string_view, std::string text) override {
    errors.push_back(std::move(text));
  }
  std::string Signature(const RequestState&) override { return ""; }
  Dependencies* dependencies() override { return nullptr; }
  const Site& site() const override { return *site_; }
  const net::Scoreboard& board() const override { return *board_; }

  std::map<std::string, int, std::less<>> statuses;
  std::vector<std::string> asked;
  std::vector<std::string> errors;

 private:
  std::unique_ptr<RequestState> Answer(RequestState& from, std::string_view what) {
    asked.emplace_back(what);
    auto found = std::make_unique<RequestState>();
    found->parent = &from;
    const auto known = statuses.find(what);
    found->status = known == statuses.end() ? 404 : known->second;
    found->info.st_mode = found->status < 300 ? S_IFREG : 0;
    return found;
  }
  Site* site_ = nullptr;
  net::Scoreboard* board_ = nullptr;
};

class ExpressionTest : public testing::Test {
 protected:
  ExpressionTest() {
    root_ = ::mkdtemp(root_template_);
    std::ofstream(root_ + "/a.txt") << "line\n";
    std::ofstream(root_ + "/empty");
    std::filesystem::create_symlink("a.txt", root_ + "/link");
    host_config_.server_name = "www.example.com";
    host_config_.server_admin = "me@example.com";
    host_config_.document_root = root_;
    host_.host = &host_config_;
    const auto parsed = http::ParseRequestHead(text_, {}, head_);
    EXPECT_EQ(parsed.state, http::ParseResult::State::kComplete);
    request_.head = &head_;
    request_.client_address = "192.0.2.7";
    request_.client_port = 4711;
    request_.local_port = 8080;
    request_.start = std::chrono::system_clock::from_time_t(1000000000);
    state_.Start(&engine_, request_, host_, response_);
    state_.path = "/sub/page.html";
    state_.query = "a=1&b=2";
    state_.file = root_ + "/a.txt";
    state_.environment.Set("COLOUR", "green");
    state_.environment.Set("both", "variable");
    state_.notes["both"] = "note";
    response_.fields = "X-Sent: yes\r\n";
  }
  ~ExpressionTest() override { std::filesystem::remove_all(root_); }

  static std::shared_ptr<const Expression> Compile(const std::string& text, ExpressionKind kind) {
    auto compiled = Expression::Compile(text, kind, ExpressionFiles::kAllowed, {"/etc/x.conf", 7});
    if (compiled) return std::move(compiled).value();
    ADD_FAILURE() << text << ": " << compiled.error().what;
    return nullptr;
  }
  bool Holds(const std::string& text) {
    const auto expression = Compile(text, ExpressionKind::kCondition);
    return expression && expression->Evaluate(state_).holds;
  }
  std::string Text(const std::string& text) {
    const auto expression = Compile(text, ExpressionKind::kString);
    return expression ? expression->Evaluate(state_).text : "";
  }
  static std::string Complaint(const std::string& text, ExpressionKind kind = ExpressionKind::kCondition,
                               ExpressionFiles files = ExpressionFiles::kAllowed) {
    const auto compiled = Expression::Compile(text, kind, files, {});
    return compiled ? "" : compiled.error().what;
  }

  char root_template_[32] = "/tmp/expression_test.XXXXXX";
  std::string root_;
  FakeEngine engine_;
  std::string text_ =
      "GET /sub/page.html?a=1&b=2 HTTP/1.1\r\nHost: Example.org:81\r\nUser-Agent: curl/8\r\nX-Two: a\r\nX-Two: b\r\n"
      "X-Name: User-Agent\r\nReferer: http://other.example/\r\n\r\n";
  http::RequestHead head_;
  config::Host host_config_;
  CompiledHost host_;
  net::Request request_;
  net::Response response_;
  RequestState state_;
};

TEST_F(ExpressionTest, ConditionsHoldAsInApache) {
  for (const char* text : {"true",
                           "!false",
                           "not false",
                           "! ! true",
                           "true && !false",
                           "false || true",
                           "true or false and false",
                           "!false && true",
                           "(true && (false || true))",
                           "'a' == \"a\"",
                           "'a' = 'a'",
                           "'a' != 'b'",
                           "'a' < 'b'",
                           "'a' <= 'a'",
                           "'10' < '9'",
                           "10 -gt 9",
                           "'10' gt '9'",
                           "'9x' -eq 9",
                           "-1 -lt 0",
                           "'' -eq 0",
                           "5 -ge 5",
                           "4 le 5",
                           "4 ne 5",
                           "'a' . 'b' . 3 == 'ab3'",
                           "'b' in {'a','b'}",
                           "3 -in {1,2,3}",
                           "!('c' -in {'a'})",
                           "'abc' =~ /^A.C$/i",
                           "'abc' !~ /^A.C$/",
                           "'/x/y' =~ m#^/x/#",
                           "'a.b' =~ m|a[.]b|i",
                           "'a/b' =~ m!/!",
                           "-n 'x'",
                           "-z ''",
                           "-T 'yes'",
                           "!(-T 'OFF')",
                           "!(-T 'no')",
                           "!(-T '0')",
                           "-T '00'",
                           "!(-T 'False')",
                           "-R '192.0.2.0/24'",
                           "!(-R '10.0.0.0/8')",
                           "-R '192.0.2'",
                           "'10.1.2.3' -ipmatch '10.0.0.0/255.0.0.0'",
                           "'::1' -ipmatch '::/64'",
                           "!('name' -ipmatch '10.0.0.0/8')",
                           "'/a/b' -strmatch '/*b'",
                           "'AB' -strcmatch 'a?'",
                           "!('AB' -strmatch 'a?')",
                           "'ab' -strmatch 'a[b]'",
                           "'/a/b' -fnmatch '/*/[a-c]'",
                           "!('/a/b' -fnmatch '/*')",
                           "'ABC' =~ /b/i && true",
                           "%{HTTP_USER_AGENT} == 'curl/8'",
                           "%{http_host} == 'Example.org:81'",
                           "req('x-two') == 'a, b'",
                           "http('X-Two') == 'a, b'",
                           "req_novary('X-None') == ''",
                           "resp('x-sent') == 'yes'",
                           "reqenv('colour') == 'green'",
                           "note('both') == 'note'",
                           "env('both') == 'note'",
                           "env('COLOUR') == 'green'",
                           "osenv('PATH') == env('PATH')",
                           "-n osenv('PATH')",
                           "tolower('AbC') == 'abc'",
                           "toupper('abC') == 'ABC'",
                           "md5('foo') == "
                           "'acbd18db4cc2f85cedef654fccc4a4d8'",
                           "sha1('foo') == '0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33'",
                           "base64('hello?>') == 'aGVsbG8/Pg=='",
                           "unbase64('aGVsbG8/Pg==') == 'hello?>'",
                           "unbase64('aGVs!bG8') == 'hel'",
                           "escape('a b?c:d') == 'a%20b%3fc:d'",
                           "unescape('a%20b%2Fc%3f') == 'a b%2Fc?'",
                           "unescape('%zz') == ''",
                           "unescape('a%00b') == ''",
                           "tolower(req('x-name')) . '!' == 'user-agent!'",
                           "%{req:%{req:X-Name}} == 'curl/8'"}) {
    EXPECT_TRUE(Holds(text)) << text;
  }
}

TEST_F(ExpressionTest, VariablesAreThoseOfTheRequest) {
  for (const auto& [name, value] :
       std::map<std::string, std::string>{{"REQUEST_METHOD", "GET"},
                                          {"REQUEST_SCHEME", "http"},
                                          {"REQUEST_URI", "/sub/page.html"},
                                          {"DOCUMENT_URI", "/sub/page.html"},
                                          {"QUERY_STRING", "a=1&b=2"},
                                          {"REQUEST_FILENAME", root_ + "/a.txt"},
                                          {"SCRIPT_FILENAME", root_ + "/a.txt"},
                                          {"PATH_INFO", ""},
                                          {"THE_REQUEST", "GET /sub/page.html?a=1&b=2 HTTP/1.1"},
                                          {"REMOTE_ADDR", "192.0.2.7"},
                                          {"REMOTE_HOST", "192.0.2.7"},
                                          {"REMOTE_PORT", "4711"},
                                          {"REMOTE_USER", ""},
                                          {"SERVER_NAME", "example.org"},
                                          {"SERVER_PORT", "81"},
                                          {"SERVER_ADMIN", "me@example.com"},
                                          {"SERVER_PROTOCOL", "HTTP/1.1"},
                                          {"DOCUMENT_ROOT", root_},
                                          {"CONTEXT_PREFIX", ""},
                                          {"CONTEXT_DOCUMENT_ROOT", root_},
                                          {"REQUEST_STATUS", "200"},
                                          {"HTTPS", "off"},
                                          {"IPV6", "off"},
                                          {"IS_SUBREQ", "false"},
                                          {"API_VERSION", "20120211"}}) {
    EXPECT_EQ(VariableOf(state_, name), value) << name;
    EXPECT_EQ(Text("<%{" + name + "}>"), "<" + value + ">") << name;
  }
  EXPECT_TRUE(Holds("%{TIME} =~ /^2001090[89][0-9]{6}$/ && %{TIME_YEAR} == 2001 && %{TIME_MON} == '09'"));
  EXPECT_EQ(VariableOf(state_, "ENV:COLOUR"), "green");
  EXPECT_EQ(VariableOf(state_, "HTTP:x-two"), "a, b");
  EXPECT_EQ(VariableOf(state_, "SSL:SSL_PROTOCOL"), "");
  EXPECT_EQ(VariableOf(state_, "NO_SUCH"), "");
}

TEST_F(ExpressionTest, TextsHoldVariablesFunctionsAndEscapes) {
  EXPECT_EQ(Text("a 'b' \"c\" % $ } %%{REQUEST_METHOD}"), "a 'b' \"c\" % $ } %GET");
  EXPECT_EQ(Text("%{toupper:x%{tolower:%{REQUEST_METHOD}}y}"), "XGETY");
  EXPECT_EQ(Text("a\\tb\\101\\%\\q"), "a\tbA%q");
  EXPECT_EQ(Text("%{req:it's}"), "");
  EXPECT_EQ(Text(""), "");
}

TEST_F(ExpressionTest, GroupsAreThoseOfTheLastPatternThatHasSome) {
  EXPECT_TRUE(Holds("'key=value' =~ /(.*)=(.*)/ && $1 . $2 . $0 . $3 == 'keyvaluekey=value'"));
  EXPECT_TRUE(Holds("'ab' =~ /(a)/ && 'xy' =~ /x/ && $1 == 'a'"));
  EXPECT_TRUE(Holds("'ab' =~ /(a)/ && !('xy' =~ /(z)/) && $1 == ''"));
  EXPECT_TRUE(Holds("'ab' =~ /(z)?(b)/ && $1 == '' && $2 == 'b'"));
  EXPECT_TRUE(Holds("'ab' =~ /(a)/ && 'xy' =~ /(?:x)[(]?/ && $1 == 'a'"));
  EXPECT_TRUE(Holds("'abc' =~ /b(.)/ && \"<$1>\" == '<c>' && %{toupper:$1} == 'C'"));
}

TEST_F(ExpressionTest, CallersSeeAndGiveGroups) {
  ExpressionMatches matches{"seen", {{0, 4}, {1, 2}}};
  EXPECT_TRUE(Compile("$1 == 'ee'", ExpressionKind::kCondition)->Evaluate(state_, &matches).holds);
  EXPECT_EQ(matches.Group(1), "ee");
  EXPECT_TRUE(Compile("%{REQUEST_URI} =~ m#/(\\w+)/#", ExpressionKind::kCondition)->Evaluate(state_, &matches).holds);
  EXPECT_EQ(matches.Group(1), "sub");
  EXPECT_EQ(matches.Group(2), "");
  EXPECT_EQ(Compile("[$1]", ExpressionKind::kString)->Evaluate(state_, &matches).text, "[sub]");
}

TEST_F(ExpressionTest, FieldsThatWereReadAreNamedForVary) {
  const auto vary = [this](const char* text) {
    return Compile(text, ExpressionKind::kCondition)->Evaluate(state_).vary;
  };
  EXPECT_EQ(vary("req('X-A') == 'b' || %{HTTP_USER_AGENT} =~ /c/"), "X-A, User-Agent");
  EXPECT_EQ(vary("true || req('X-A') == 'b'"), "");
  EXPECT_EQ(vary("req('Host') == %{HTTP_HOST} && req_novary('X-A') == ''"), "");
  EXPECT_TRUE(Compile("%{HTTP_REFERER} == req('Referer')", ExpressionKind::kCondition)->Holds(state_));
  EXPECT_EQ(FindField(response_.fields, "Vary"), "Referer");
  EXPECT_EQ(Compile("%{HTTP_USER_AGENT}", ExpressionKind::kString)->Text(state_), "curl/8");
  EXPECT_EQ(FindField(response_.fields, "Vary"), "Referer");
  EXPECT_TRUE(Compile("%{HTTP_USER_AGENT} == 'curl/8'", ExpressionKind::kCondition)->Holds(state_));
  EXPECT_EQ(FindField(response_.fields, "Vary"), "Referer, User-Agent");
}

TEST_F(ExpressionTest, FilesAreTestedAndRead) {
  for (const auto* test : {"-d '%'", "!(-d '%/a.txt')", "-e '%'", "!(-e '%/none')", "-f '%/a.txt'", "!(-f '%')",
                           "-f '%/link'", "-s '%/a.txt'", "!(-s '%/empty')", "-L '%/link'", "!(-h '%/a.txt')",
                           "!(-x '%/a.txt')", "-x '%'", "file('%/a.txt') == 'line\\n'", "filesize('%/a.txt') -eq 5",
                           "filesize('%/none') == '0'", "filesize('%') == '0'", "-f %{REQUEST_FILENAME}"}) {
    std::string text = test;
    for (size_t at = 0; (at = text.find('%', at)) != std::string::npos && text[at + 1] != '{';) {
      text.replace(at, 1, root_);
    }
    EXPECT_TRUE(Holds(text)) << text;
  }
  EXPECT_THAT(engine_.errors, ElementsAre());
}

TEST_F(ExpressionTest, WhatCannotBeReadMakesTheWholeConditionFalseAndIsLogged) {
  const auto result = Compile("file('/none') == '' || true", ExpressionKind::kCondition)->Evaluate(state_);
  EXPECT_FALSE(result.holds);
  EXPECT_TRUE(result.failed);
  EXPECT_EQ(Text("a%{file:/none}"), "");
  EXPECT_FALSE(Holds("file('/dev/zero') == ''"));
  EXPECT_THAT(engine_.errors,
              ElementsAre("Evaluation of expression from /etc/x.conf:7 failed: Cannot open file /none",
                          "Evaluation of expression from /etc/x.conf:7 failed: Cannot open file /none",
                          "Evaluation of expression from /etc/x.conf:7 failed: Cannot open file /dev/zero"));
}

TEST_F(ExpressionTest, LookUpsTellWhatWouldBeAnswered) {
  engine_.statuses = {{"/ok", 200}, {"/moved?x=1", 301}, {"/sub/near", 200}, {"/file", 200}};
  EXPECT_TRUE(Holds("-U '/ok' && -A '/moved?x=1' && -U 'near' && !(-U '/none')"));
  EXPECT_TRUE(Holds("-F '/file' && !(-F '/none')"));
  EXPECT_FALSE(Holds("-U '/%00'"));
  EXPECT_THAT(engine_.asked, ElementsAre("/ok", "/moved?x=1", "/sub/near", "/none", "/file", "/none"));
}

TEST_F(ExpressionTest, LookUpsOfLookUpsEnd) {
  engine_.statuses = {{"/ok", 200}};
  RequestState first;
  RequestState second;
  for (RequestState* state : {&first, &second}) state->Start(&engine_, request_, host_, response_);
  first.parent = &state_;
  second.parent = &first;
  const auto expression = Compile("-U '/ok'", ExpressionKind::kCondition);
  EXPECT_TRUE(expression->Evaluate(first).holds);
  EXPECT_TRUE(expression->Evaluate(second).failed);
  EXPECT_EQ(engine_.asked.size(), 1u);
}

TEST_F(ExpressionTest, ErrorsAreApachesWords) {
  for (const auto& [text, complaint] : std::map<std::string, std::string>{
           {"", "syntax error, unexpected $end"},
           {"tru", "syntax error, unexpected $end, expecting '('"},
           {"(", "syntax error, unexpected $end"},
           {"%{FOO}", "syntax error, unexpected $end: Variable 'FOO' does not exist"},
           {"%{FOO} == 1", "Variable 'FOO' does not exist"},
           {"%{HTTP_ACCEPT_LANGUAGE} == 'a'", "Variable 'HTTP_ACCEPT_LANGUAGE' does not exist"},
           {"%{REQUEST_URI",
            "syntax error, unexpected T_ERROR, expecting T_VAR_END or ':': Unterminated string or variable"},
           {"%{REQUEST_URI} == 'a", "Unterminated string or variable"},
           {"%{REQUEST_URI} == 'a' b", "syntax error, unexpected T_ID, expecting $end"},
           {"-X 'a'", "Unary operator '-X' does not exist"},
           {"-foo 'a'", "syntax error, unexpected T_OP_BINARY"},
           {"'a' -foo 'b'", "Binary operator '-foo' does not exist"},
           {"'a' -f 'b'", "syntax error, unexpected T_OP_UNARY"},
           {"foo('a') == 'b'", "Function 'foo' does not exist"},
           {"req('a' == 'b'", "syntax error, unexpected T_OP_STR_EQ, expecting T_OP_CONCAT or ')'"},
           {"%{req:} == 'a'",
            "syntax error, unexpected T_VAR_END, expecting T_ERROR or T_STRING or T_REGEX_BACKREF or T_VAR_BEGIN"},
           {"%{re q} == 'a'",
            "syntax error, unexpected T_ERROR, expecting T_VAR_END or ':': Invalid character in variable name ' '"},
           {"%{}", "syntax error, unexpected T_VAR_END, expecting T_ID"},
           {"'a' =~ 'b'", "syntax error, unexpected T_STR_BEGIN, expecting T_REGEX or T_REGEX_I"},
           {"'a' =~ /b", "syntax error, unexpected $end, expecting T_REGEX or T_REGEX_I"},
           {"'a' =~ /(/", "Failed to compile regular expression"},
           {"'a' in {'a' 'b'}", "syntax error, unexpected T_STR_BEGIN, expecting '}' or ','"},
           {"'a' in {}", "syntax error, unexpected '}'"},
           {"'a' in foo('b')", "List-returning function 'foo' does not exist"},
           {"'a' -in 'b'", "syntax error, unexpected T_STR_BEGIN, expecting T_ID or '{'"},
           {"-R 'abc'", "parsing of subnet/netmask failed"},
           {"-R %{REMOTE_ADDR}", "-R requires subnet/netmask as constant argument"},
           {"@", "Parse error near '@'"},
           {"true @", "syntax error, unexpected T_ERROR, expecting $end: Parse error near '@'"},
           {"'\\999' == 'a'", "Bad escape sequence"},
           {"'\\477' == 'a'", "Escape sequence out of bound"},
           {"true && && true", "syntax error, unexpected T_OP_AND"},
           {"(true", "syntax error, unexpected $end, expecting T_OP_OR or T_OP_AND or ')'"},
           {"true)", "syntax error, unexpected ')', expecting $end"},
           {"'a%{REQUEST_URI}b",
            "syntax error, unexpected T_ERROR, expecting T_STRING or T_REGEX_BACKREF or T_STR_END or T_VAR_BEGIN: "
            "Unterminated string or variable"}}) {
    EXPECT_EQ(Complaint(text), complaint) << text;
  }
  EXPECT_EQ(Complaint("%{md5:%{FOO}}", ExpressionKind::kString), "Variable 'FOO' does not exist");
  EXPECT_EQ(Complaint("%{req:a", ExpressionKind::kString), "Unterminated string or variable");
}

TEST_F(ExpressionTest, FilesAreNotReadWhereThatIsRefused) {
  constexpr auto kRefused = ExpressionFiles::kRefused;
  EXPECT_EQ(Complaint("%{file:/etc/passwd}", ExpressionKind::kString, kRefused),
            "file not available in restricted context");
  EXPECT_EQ(Complaint("filesize('/etc/passwd') -gt 1", ExpressionKind::kCondition, kRefused),
            "filesize not available in restricted context");
  EXPECT_EQ(Complaint("-f '/etc/passwd'", ExpressionKind::kCondition, kRefused), "");
}

TEST_F(ExpressionTest, NestingIsBoundedAndLongChainsAreNotDeep) {
  EXPECT_EQ(Complaint(std::string(1000, '(') + "true" + std::string(1000, ')')),
            "Expression is nested more than 50 deep");
  EXPECT_EQ(Complaint(std::string(1000, '!') + "true"), "Expression is nested more than 50 deep");
  std::string words = "'a'";
  std::string chain = "false";
  std::string nested = "x";
  for (int i = 0; i < 3000; ++i) {
    words += ". 'a'";
    chain += " || false && true";
  }
  for (int i = 0; i < 1000; ++i) nested = "%{tolower:" + nested + "}";
  EXPECT_TRUE(Holds(words + " != 'a'"));
  EXPECT_FALSE(Holds(chain));
  EXPECT_NE(Complaint(nested, ExpressionKind::kString), "");
}

TEST_F(ExpressionTest, TextsThatGrowWithoutMeasureFail) {
  std::ofstream(root_ + "/large") << std::string(9 << 20, 'a');
  const std::string file = "%{file:" + root_ + "/large}";
  EXPECT_EQ(Text(file).size(), static_cast<size_t>(9) << 20);
  EXPECT_EQ(Text(file + file), "");
  EXPECT_EQ(Text("%{base64:" + file + "}"), "");
  EXPECT_EQ(engine_.errors.size(), 2u);
}

}  // namespace
}  // namespace httpd::modules
