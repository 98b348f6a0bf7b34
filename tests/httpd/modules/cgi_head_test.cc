#include "httpd/modules/cgi_head.h"

#include <gmock/gmock.h>

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using State = ScriptHeadResult::State;

ScriptHead Parsed(std::string_view text, bool is_nph = false) {
  ScriptHead head;
  const ScriptHeadResult result = ParseScriptHead(text, "x.cgi", is_nph, head);
  EXPECT_EQ(result.state, State::kComplete) << result.trouble;
  return head;
}

std::string Trouble(std::string_view text, bool is_nph = false) {
  ScriptHead head;
  const ScriptHeadResult result = ParseScriptHead(text, "x.cgi", is_nph, head);
  EXPECT_EQ(result.state, State::kBad);
  return result.trouble;
}

TEST(ScriptHead, EndsAtAnEmptyLineWhateverTheLineEnds) {
  for (const char* text : {"Content-Type: a/b\nX-Y: 1\n\nbody", "Content-Type: a/b\r\nX-Y: 1\r\n\r\nbody"}) {
    ScriptHead head;
    const ScriptHeadResult result = ParseScriptHead(text, "x.cgi", false, head);
    ASSERT_EQ(result.state, State::kComplete);
    EXPECT_EQ(std::string_view(text).substr(result.consumed), "body");
    EXPECT_EQ(head.type, "a/b");
    EXPECT_EQ(head.fields, "Content-Type: a/b\r\nX-Y: 1\r\n");
  }
}

TEST(ScriptHead, IsIncompleteUntilThen) {
  ScriptHead head;
  for (const char* text : {"", "Content-Type: a/b", "Content-Type: a/b\n", "Content-Type: a/b\n\r"}) {
    EXPECT_EQ(ParseScriptHead(text, "x.cgi", false, head).state, State::kIncomplete) << text;
  }
}

TEST(ScriptHead, StatusAndLocationAreRead) {
  EXPECT_EQ(Parsed("Status: 404 Not Here\n\n").status, 404);
  EXPECT_EQ(Parsed("status:201\n\n").status, 201);
  EXPECT_EQ(Parsed("Location: /a?b\n\n").location, "/a?b");
  EXPECT_EQ(Parsed("\n").status, 0);
}

TEST(ScriptHead, StatusThatIsNoneIsBad) {
  for (const char* status : {"abc", "99", "100", "1000", "20x", "-200"}) {
    EXPECT_EQ(Trouble("Status: " + std::string(status) + "\n\n"),
              "Invalid status line from script 'x.cgi': " + std::string(status));
  }
}

TEST(ScriptHead, FieldsOfTheServerAreLeftOut) {
  const ScriptHead head = Parsed(
      "Date: x\nServer: y\nConnection: close\nTransfer-Encoding: chunked\nContent-Length: 3\nKeep-Alive: 1\nA: b\n\n");
  EXPECT_EQ(head.fields, "A: b\r\n");
  EXPECT_TRUE(head.close);
}

TEST(ScriptHead, SeveralCookiesStaySeveral) {
  EXPECT_EQ(Parsed("Set-Cookie: a\nSet-Cookie: b\n\n").fields, "Set-Cookie: a\r\nSet-Cookie: b\r\n");
}

TEST(ScriptHead, LineThatIsNoFieldIsBad) {
  EXPECT_EQ(Trouble("garbage line\n\n"), "malformed header from script 'x.cgi': Bad header: garbage line");
  for (const char* line : {": v", "a b: c", "a : c", " a: c", "a: b\rX: y", "a: \x01", "\xe4: b"}) {
    EXPECT_THAT(Trouble(std::string(line) + "\n\n"), HasSubstr("Bad header")) << line;
  }
  EXPECT_THAT(Trouble(std::string_view("a: b\0c\n\n", 8)), HasSubstr("Bad header"));
}

TEST(ScriptHead, IsLimited) {
  EXPECT_THAT(Trouble("a: " + std::string(9000, 'x')), HasSubstr("too long"));
  EXPECT_THAT(Trouble("a: " + std::string(9000, 'x') + "\n\n"), HasSubstr("too long"));
  std::string many;
  for (int i = 0; i < 501; ++i) many += "a: b\n";
  EXPECT_THAT(Trouble(many + "\n"), HasSubstr("too long"));
  std::string large;
  for (int i = 0; i < 20; ++i) large += "a: " + std::string(8000, 'x') + "\n";
  EXPECT_THAT(Trouble(large), HasSubstr("too long"));
}

TEST(ScriptHead, StatusLineIsForNphProgramsOnly) {
  EXPECT_EQ(Parsed("HTTP/1.1 202 Fine\r\nA: b\r\n\r\n", true).status, 202);
  EXPECT_THAT(Trouble("HTTP/1.1 202 Fine\n\n"), HasSubstr("Bad header"));
  EXPECT_THAT(Trouble("HTTP/1.1 oops\n\n", true), HasSubstr("Invalid status line"));
}

}  // namespace
}  // namespace httpd::modules
