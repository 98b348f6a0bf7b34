#include "httpd/http/response.h"

#include <gtest/gtest.h>

#include <string>

namespace httpd::http {
namespace {

using State = ResponseResult::State;

ResponseResult Parse(const std::string& text, ResponseHead& head, const ResponseLimits& limits = {}) {
  return ParseResponseHead(text, limits, head);
}

State StateOf(const std::string& text, const ResponseLimits& limits = {}) {
  ResponseHead head;
  return Parse(text, head, limits).state;
}

TEST(ResponseHead, IsReadWithItsFieldsAndWhatTheyAre) {
  const std::string text =
      "HTTP/1.1 404 Not Here\r\nServer: X\r\nX-Other:  a b \t\r\nSet-Cookie: a=1\r\nSET-COOKIE: b=2\r\nContent-Length: "
      "12\r\n\r\nbody";
  ResponseHead head;
  const ResponseResult result = Parse(text, head);
  ASSERT_EQ(result.state, State::kComplete);
  EXPECT_EQ(text.substr(result.consumed), "body");
  EXPECT_EQ(head.status, 404);
  EXPECT_EQ(head.reason, "Not Here");
  EXPECT_EQ(head.minor, 1);
  EXPECT_TRUE(head.keep_alive);
  EXPECT_EQ(head.content_length, 12u);
  ASSERT_EQ(head.fields.size(), 5u);
  EXPECT_EQ(head.fields[1].value, "a b");
  EXPECT_EQ(head.fields[1].kind, AnswerField::kOther);
  EXPECT_EQ(head.fields[3].kind, AnswerField::kSetCookie);
  EXPECT_EQ(head.Find(AnswerField::kServer)->value, "X");
  EXPECT_EQ(head.Find(AnswerField::kLocation), nullptr);
}

TEST(ResponseHead, CutAnywhereIsIncompleteAndNeverWrong) {
  const std::string text = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t n = 0; n < text.size(); ++n) EXPECT_EQ(StateOf(text.substr(0, n)), State::kIncomplete) << n;
  EXPECT_EQ(StateOf(text), State::kComplete);
}

TEST(ResponseHead, LinesMayEndInLineFeedsAndOneEmptyLineMayComeFirst) {
  ResponseHead head;
  EXPECT_EQ(Parse("HTTP/1.0 200\nA: b\n\n", head).state, State::kComplete);
  EXPECT_FALSE(head.keep_alive);
  EXPECT_EQ(head.reason, "");
  EXPECT_EQ(StateOf("\r\nHTTP/1.1 200 OK\r\n\r\n"), State::kComplete);
  EXPECT_EQ(StateOf("\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), State::kBad);
}

TEST(ResponseHead, StatusLinesThatAreNoneAreBad) {
  for (const char* line : {"nonsense", "HTTP/1.1", "HTTP/1.1 20", "HTTP/1.1 20x OK", "HTTP/1.1 2000 OK", "HTTP/2.0 200",
                           "http/1.1 200 OK", "HTTP/1.1  200 OK", "HTTP/1.1 099 X", "HTTP/1.1 200 O\x01K"}) {
    EXPECT_EQ(StateOf(std::string(line) + "\r\n\r\n"), State::kBad) << line;
  }
}

TEST(ResponseHead, FramingThatCanBeUnderstoodInTwoWaysIsRefusedOrEndsTheConnection) {
  const auto with = [](const std::string& fields) { return "HTTP/1.1 200 OK\r\n" + fields + "\r\n"; };
  for (const char* fields :
       {"Content-Length: 1\r\nContent-Length: 2\r\n", "Content-Length: 1, 1\r\n", "Content-Length: +1\r\n",
        "Content-Length: \r\n", "Content-Length: 99999999999999999999\r\n", "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n", "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding:\r\n"}) {
    EXPECT_EQ(StateOf(with(fields)), State::kBad) << fields;
  }
  ResponseHead head;
  ASSERT_EQ(Parse(with("Content-Length: 7\r\nContent-Length: 7\r\n"), head).state, State::kComplete);
  EXPECT_EQ(head.content_length, 7u);
  ASSERT_EQ(Parse(with("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n"), head).state, State::kComplete);
  EXPECT_TRUE(head.chunked);
  EXPECT_TRUE(head.has_both);
  EXPECT_FALSE(head.content_length);
  EXPECT_FALSE(head.keep_alive);
}

TEST(ResponseHead, BadLinesAreAnErrorOrLeftOutOrTheBody) {
  const std::string text = "HTTP/1.1 200 OK\r\nA: b\r\nno field\r\nContent-Length: 3\r\n\r\nabc";
  ResponseHead head;
  EXPECT_EQ(Parse(text, head).state, State::kBad);
  ResponseLimits limits;
  limits.bad_lines = BadLine::kIgnore;
  ASSERT_EQ(Parse(text, head, limits).state, State::kComplete);
  EXPECT_EQ(head.content_length, 3u);
  limits.bad_lines = BadLine::kStartBody;
  const ResponseResult result = Parse(text, head, limits);
  ASSERT_EQ(result.state, State::kComplete);
  EXPECT_TRUE(result.body_has_begun);
  EXPECT_TRUE(text.substr(result.consumed).starts_with("no field"));
  EXPECT_FALSE(head.keep_alive);
  for (const char* line : {" folded", "A b: c", ": x", "A: b\x01", "A: b\rc"}) {
    EXPECT_EQ(StateOf("HTTP/1.1 200 OK\r\nX: y\r\n" + std::string(line) + "\r\n\r\n"), State::kBad) << line;
  }
}

TEST(ResponseHead, IsBounded) {
  ResponseLimits limits;
  limits.field_size = 50;
  limits.fields = 3;
  limits.head_size = 150;
  EXPECT_EQ(StateOf("HTTP/1.1 200 OK\r\nA: " + std::string(60, 'x'), limits), State::kBad);
  EXPECT_EQ(StateOf("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", limits), State::kBad);
  limits.fields = 100;
  std::string many = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 20; ++i) many += "Name: value\r\n";
  EXPECT_EQ(StateOf(many, limits), State::kBad);
}

TEST(ResponseHead, ConnectionSaysWhetherItStays) {
  ResponseHead head;
  Parse("HTTP/1.1 200 OK\r\nConnection: X-A, Close\r\n\r\n", head);
  EXPECT_FALSE(head.keep_alive);
  Parse("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", head);
  EXPECT_TRUE(head.keep_alive);
}

}  // namespace
}  // namespace httpd::http
