#include "httpd/http/request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace httpd::http {
namespace {

using State = ParseResult::State;

/// A whole GET with one more header line.
std::string With(const std::string& header) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + header + "\r\n\r\n";
}
/// A whole request with that request line.
std::string Line(const std::string& line) {
  return line + "\r\nHost: a\r\n\r\n";
}

struct Parsed {
  std::shared_ptr<const std::string> text;  ///< what the head points into
  ParseResult result;
  RequestHead head;
};

Parsed Parse(std::string_view text, const HeadLimits& limits = {}) {
  Parsed parsed;
  parsed.text = std::make_shared<const std::string>(text);
  parsed.result = ParseRequestHead(*parsed.text, limits, parsed.head);
  return parsed;
}

struct BadCase {
  std::string why;
  std::string text;
  int status;
};

const std::vector<BadCase>& BadCases() {
  using std::string;
  static const std::vector<BadCase> cases = {
      // request line
      {"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
      {"bare CR after the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n", 400},
      {"bare CR before the request line", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"bare LF before the request line", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"nine empty lines before the request line",
       string("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n") + Line("GET / HTTP/1.1"), 400},
      {"blank before the method", Line(" GET / HTTP/1.1"), 400},
      {"no method", Line("/ HTTP/1.1"), 400},
      {"method that is not a token", Line("GE(T / HTTP/1.1"), 400},
      {"method with a NUL", Line(string("G\0T / HTTP/1.1", 14)), 400},
      {"method with an 8-bit byte", Line("G\xc3T / HTTP/1.1"), 400},
      {"TLS hello", string("\x16\x03\x01\x02\x00\x01", 6), 400},
      {"two blanks before the target", Line("GET  / HTTP/1.1"), 400},
      {"tab before the target", Line("GET\t/ HTTP/1.1"), 400},
      {"two blanks before the version", Line("GET /  HTTP/1.1"), 400},
      {"blank after the version", Line("GET / HTTP/1.1 "), 400},
      {"blank in the target", Line("GET /a b HTTP/1.1"), 400},
      {"tab in the target", Line("GET /a\tb HTTP/1.1"), 400},
      {"NUL in the target", Line(string("GET /\0 HTTP/1.1", 15)), 400},
      {"DEL in the target", Line("GET /\x7f HTTP/1.1"), 400},
      {"8-bit byte in the target", Line("GET /\xe9 HTTP/1.1"), 400},
      {"8-bit byte far into the target", Line("GET /0123456789abcdef0123456789\x80 HTTP/1.1"), 400},
      {"fragment in the target", Line("GET /a#b HTTP/1.1"), 400},
      {"HTTP/0.9 request", "GET /\r\n", 400},
      {"HTTP/0.9 by name", Line("GET / HTTP/0.9"), 505},
      {"HTTP/2.0", Line("GET / HTTP/2.0"), 505},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"HTTP/9.9", Line("GET / HTTP/9.9"), 505},
      {"version in lower case", Line("GET / http/1.1"), 400},
      {"version with two digits", Line("GET / HTTP/1.10"), 400},
      {"version with a leading zero", Line("GET / HTTP/01.1"), 400},
      {"version with one number", Line("GET / HTTP/1"), 400},
      {"version of another protocol", Line("GET / ICAP/1.0"), 400},
      // forms of the target
      {"relative target", Line("GET index.html HTTP/1.1"), 400},
      {"asterisk with GET", Line("GET * HTTP/1.1"), 400},
      {"asterisk and more with OPTIONS", Line("OPTIONS *x HTTP/1.1"), 400},
      {"authority with GET", Line("GET a:80 HTTP/1.1"), 400},
      {"path with CONNECT", Line("CONNECT /a HTTP/1.1"), 400},
      {"CONNECT without a port", Line("CONNECT a HTTP/1.1"), 400},
      {"CONNECT with an empty port", Line("CONNECT a: HTTP/1.1"), 400},
      {"CONNECT to a port that is too large", Line("CONNECT a:65536 HTTP/1.1"), 400},
      {"CONNECT to a bare IPv6 address", Line("CONNECT [::1] HTTP/1.1"), 400},
      {"absolute form of another scheme", Line("GET ftp://a/ HTTP/1.1"), 400},
      {"absolute form without a host", Line("GET http:///a HTTP/1.1"), 400},
      {"absolute form with only a port", Line("GET http://:80/a HTTP/1.1"), 400},
      {"absolute form with user information", Line("GET http://u:p@a/ HTTP/1.1"), 400},
      // host
      {"HTTP/1.1 without Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"absolute form without Host", "GET http://a/ HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", With("Host: b"), 400},
      {"two equal Hosts", With("Host: a"), 400},
      {"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"list of Hosts", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
      {"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
      {"blank Host", "GET / HTTP/1.1\r\nHost: \t\r\n\r\n", 400},
      {"slash in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"user information in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
      {"letters as port", "GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", 400},
      {"port too large", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400},
      {"unclosed IPv6 Host", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
      {"bytes after an IPv6 Host", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400},
      {"bad escape in Host", "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", 400},
      // fields
      {"blank before the colon", With("X : y"), 400},
      {"tab before the colon", With("X\t: y"), 400},
      {"no colon", With("X"), 400},
      {"no name", With(": y"), 400},
      {"folded line", With("X: y\r\n z"), 400},
      {"folded line with a tab", With("X: y\r\n\tz"), 400},
      {"blank before the first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
      {"bare LF after a header", With("X: y\nZ: z"), 400},
      {"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
      {"bare CR in a value", With("X: a\rb"), 400},
      {"bare CR as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\rX", 400},
      {"NUL in a value", With(string("X: a\0b", 6)), 400},
      {"NUL far into a value", With("X: 0123456789abcdef0123456789" + string(1, '\0') + "b"), 400},
      {"DEL in a value", With("X: a\x7f"), 400},
      {"control byte in a value", With("X: a\x01"), 400},
      {"bracket in a name", With("X[1]: a"), 400},
      {"8-bit byte in a name", With("X\xe9: a"), 400},
      {"NUL in a name", With(string("X\0Y: a", 6)), 400},
      // framing
      {"negative Content-Length", With("Content-Length: -1"), 400},
      {"Content-Length with a plus", With("Content-Length: +1"), 400},
      {"hexadecimal Content-Length", With("Content-Length: 0x1"), 400},
      {"fractional Content-Length", With("Content-Length: 1.0"), 400},
      {"empty Content-Length", With("Content-Length:"), 400},
      {"Content-Length with a blank inside", With("Content-Length: 1 2"), 400},
      {"Content-Length as a list", With("Content-Length: 5, 5"), 400},
      {"Content-Length beyond 63 bits", With("Content-Length: 9223372036854775808"), 400},
      {"Content-Length beyond 64 bits", With("Content-Length: 18446744073709551621"), 400},
      {"two equal Content-Lengths", With("Content-Length: 5\r\nContent-Length: 5"), 400},
      {"disagreeing Content-Lengths", With("Content-Length: 5\r\nContent-Length: 6"), 400},
      {"Content-Length and chunked", With("Content-Length: 5\r\nTransfer-Encoding: chunked"), 400},
      {"chunked and Content-Length", With("Transfer-Encoding: chunked\r\nContent-Length: 5"), 400},
      {"unknown coding and Content-Length", With("Transfer-Encoding: x\r\nContent-Length: 5"), 400},
      {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"unknown coding", With("Transfer-Encoding: gzip"), 501},
      {"unknown coding before chunked", With("Transfer-Encoding: gzip, chunked"), 501},
      {"identity", With("Transfer-Encoding: identity"), 501},
      {"nearly chunked", With("Transfer-Encoding: xchunked"), 501},
      {"vertical tab before chunked",
       With("Transfer-Encoding: \x0b"
            "chunked"),
       400},
      {"quoted chunked", With("Transfer-Encoding: \"chunked\""), 400},
      {"chunked before another coding", With("Transfer-Encoding: chunked, gzip"), 400},
      {"chunked twice", With("Transfer-Encoding: chunked, chunked"), 400},
      {"chunked in two fields", With("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400},
      {"chunked, then identity in another field", With("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
       400},
      {"empty Transfer-Encoding", With("Transfer-Encoding:"), 400},
      {"empty element before chunked", With("Transfer-Encoding: , chunked"), 400},
      {"unknown expectation", With("Expect: 200-ok"), 417},
      {"empty expectation", With("Expect:"), 417},
  };
  return cases;
}

TEST(RequestHead, EveryForbiddenRequestIsRefusedWithItsStatus) {
  for (const BadCase& bad : BadCases()) {
    const Parsed parsed = Parse(bad.text);
    EXPECT_EQ(parsed.result.state, State::kBad) << bad.why;
    EXPECT_EQ(parsed.result.status, bad.status) << bad.why << ": " << parsed.result.reason;
    EXPECT_STRNE(parsed.result.reason, "") << bad.why;
  }
}

TEST(RequestHead, ARefusalDoesNotDependOnHowTheBytesArrive) {
  for (const BadCase& bad : BadCases()) {
    Parsed parsed;
    for (size_t size = 0; size <= bad.text.size() && parsed.result.state != State::kBad; ++size) {
      parsed = Parse(bad.text.substr(0, size));
      EXPECT_NE(parsed.result.state, State::kComplete) << bad.why;
    }
    EXPECT_EQ(parsed.result.status, bad.status) << bad.why << ": " << parsed.result.reason;
  }
}

struct GoodCase {
  std::string text;
  std::string path;
  std::string query;
  std::string authority;
};

const std::vector<GoodCase>& GoodCases() {
  static const std::vector<GoodCase> cases = {
      {Line("GET / HTTP/1.1"), "/", "", "a"},
      {Line("GET /a/b?c=d?e HTTP/1.1"), "/a/b", "c=d?e", "a"},
      {Line("GET /? HTTP/1.1"), "/", "", "a"},
      {Line("GET /a|b{c}\"d\\e^` HTTP/1.1"), "/a|b{c}\"d\\e^`", "", "a"},
      {Line("M-SEARCH /~!$&'()*+,;=:@%20 HTTP/1.1"), "/~!$&'()*+,;=:@%20", "", "a"},
      {Line("GET http://b HTTP/1.1"), "/", "", "b"},
      {Line("GET http://b:8080?x HTTP/1.1"), "/", "x", "b:8080"},
      {Line("GET HTTP://b/c?d HTTP/1.1"), "/c", "d", "b"},
      {Line("GET https://[::1]:443/c HTTP/1.1"), "/c", "", "[::1]:443"},
      {Line("OPTIONS * HTTP/1.1"), "*", "", "a"},
      {Line("OPTIONS /x HTTP/1.1"), "/x", "", "a"},
      {Line("CONNECT b:443 HTTP/1.1"), "", "", "b:443"},
      {Line("CONNECT [::1]:443 HTTP/1.1"), "", "", "[::1]:443"},
      {"\r\n" + Line("GET / HTTP/1.1"), "/", "", "a"},
      {"GET / HTTP/1.0\r\n\r\n", "/", "", ""},
      {"GET / HTTP/1.1\r\nHost: exa_mple.org.:80\r\n\r\n", "/", "", "exa_mple.org.:80"},
      {"GET / HTTP/1.1\r\nhOsT:\t [2001:db8::1]:1 \t \r\n\r\n", "/", "", "[2001:db8::1]:1"},
      {With("X: \xe9 \t tab\tinside 0123456789 0123456789 0123456789"), "/", "", "a"},
      {With("X:"), "/", "", "a"},
      {With("X:y\r\nX: z"), "/", "", "a"},
      {"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:  Chunked \r\n\r\n", "/up", "", "a"},
  };
  return cases;
}

TEST(RequestHead, AllowedRequestsAreTakenApart) {
  for (const GoodCase& good : GoodCases()) {
    const Parsed parsed = Parse(good.text + "next");
    ASSERT_EQ(parsed.result.state, State::kComplete) << good.text << parsed.result.reason;
    EXPECT_EQ(parsed.result.consumed, good.text.size()) << good.text;
    EXPECT_EQ(parsed.head.path, good.path) << good.text;
    EXPECT_EQ(parsed.head.query, good.query) << good.text;
    EXPECT_EQ(parsed.head.authority, good.authority) << good.text;
  }
}

TEST(RequestHead, CutAtAnyByteItIsIncompleteAndThenTheSame) {
  for (const GoodCase& good : GoodCases()) {
    RequestHead head;
    for (size_t size = 0; size < good.text.size(); ++size) {
      const std::string part(good.text, 0, size);  // a copy of its own, so that ASan sees a read past the end
      EXPECT_EQ(ParseRequestHead(part, {}, head).state, State::kIncomplete) << part;
    }
    const ParseResult result = ParseRequestHead(good.text, {}, head);
    EXPECT_EQ(result.state, State::kComplete);
    EXPECT_EQ(head.path, good.path);
    EXPECT_EQ(head.authority, good.authority);
  }
}

TEST(RequestHead, AByteIsJudgedTheSameWhereverItStandsInAValueOrATarget) {
  for (int c = 0; c < 256; ++c) {
    for (const size_t before : {0u, 1u, 7u, 15u, 16u, 31u}) {
      const std::string filler(before, 'f');
      const std::string byte(1, static_cast<char>(c));
      const bool value_good = c == '\t' || (c >= 0x20 && c != 0x7f);
      EXPECT_EQ(Parse(With("X: " + filler + byte + filler)).result.state == State::kComplete, value_good) << c;
      const bool target_good = c > 0x20 && c < 0x7f && c != '#';
      EXPECT_EQ(Parse(Line("GET /" + filler + byte + filler + " HTTP/1.1")).result.state == State::kComplete,
                target_good)
          << c;
      const bool name_good = c < 0x7f && c > 0 && (std::isalnum(c) || std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
      if (c == ':') continue;
      EXPECT_EQ(Parse(With("X" + filler + byte + filler + ": y")).result.state == State::kComplete, name_good) << c;
    }
  }
}

TEST(RequestHead, LineKeepsTheWholeRequestLineForTheLog) {
  EXPECT_EQ(Parse(Line("GET /a?b HTTP/1.1")).head.line, "GET /a?b HTTP/1.1");
  EXPECT_EQ(Parse(Line("GET /a b HTTP/1.1")).head.line, "GET /a b HTTP/1.1");
  EXPECT_EQ(Parse(Line("GET / HTTP/2.0")).head.line, "GET / HTTP/2.0");
  EXPECT_EQ(Parse("(bad)\r\n").head.line, "(bad)");
  EXPECT_EQ(Parse(With("X : y")).head.line, "GET / HTTP/1.1");
  const std::string longest = "GET /" + std::string(100, 'a') + " HTTP/1.1\r\n";
  EXPECT_EQ(Parse(longest, {.line = 20}).head.line, longest.substr(0, 20));
}

TEST(RequestHead, EveryKnownHeaderIsFoundInAnyCase) {
  const std::vector<std::pair<std::string, Known>> names = {
      {"Range", Known::kRange},
      {"If-Range", Known::kIfRange},
      {"If-Modified-Since", Known::kIfModifiedSince},
      {"If-Unmodified-Since", Known::kIfUnmodifiedSince},
      {"If-None-Match", Known::kIfNoneMatch},
      {"If-Match", Known::kIfMatch},
      {"Referer", Known::kReferer},
      {"User-Agent", Known::kUserAgent},
      {"Accept-Encoding", Known::kAcceptEncoding},
      {"Upgrade", Known::kUpgrade},
      {"Authorization", Known::kAuthorization},
      {"Connection", Known::kConnection},
  };
  for (const auto& [name, known] : names) {
    std::string upper = name;
    std::string lower = name;
    for (char& c : upper) c = static_cast<char>(std::toupper(c));
    for (char& c : lower) c = static_cast<char>(std::tolower(c));
    for (const std::string& spelt : {name, upper, lower}) {
      const std::string text = With(spelt + ": v1\r\nOther: v2");
      const Parsed parsed = Parse(text);
      ASSERT_EQ(parsed.result.state, State::kComplete);
      EXPECT_EQ(parsed.head.Get(known), "v1") << spelt;
      EXPECT_FALSE(parsed.head.Repeated(known));
      EXPECT_EQ(parsed.head.Find(lower), "v1") << spelt;
    }
    // Every one-letter change of the name is another header.
    for (size_t i = 0; i < name.size(); ++i) {
      std::string other = name;
      other[i] = other[i] == '-' ? '_' : other[i] == 'x' ? 'y' : 'x';
      const std::string text = With(other + ": v");
      EXPECT_FALSE(Parse(text).head.Has(known)) << other;
    }
  }
}

TEST(RequestHead, OnlyTheFirstOfARepeatedHeaderIsKnownAndItIsMarked) {
  const std::string text = With("If-None-Match: \"a\"\r\nif-none-match: \"b\"");
  const Parsed parsed = Parse(text);
  EXPECT_EQ(parsed.head.Get(Known::kIfNoneMatch), "\"a\"");
  EXPECT_TRUE(parsed.head.Repeated(Known::kIfNoneMatch));
  EXPECT_EQ(parsed.head.fields.size(), 3u);
}

TEST(RequestHead, AnEmptyHeaderIsPresentAndAMissingOneIsNot) {
  const std::string text = With("Range:");
  const Parsed parsed = Parse(text);
  EXPECT_TRUE(parsed.head.Has(Known::kRange));
  EXPECT_EQ(parsed.head.Find("Nothing").data(), nullptr);
  EXPECT_FALSE(parsed.head.Has(Known::kIfRange));
}

TEST(RequestHead, KeepAliveFollowsVersionAndConnection) {
  const auto keep = [](const std::string& version, const std::string& connection) {
    return Parse("GET / HTTP/" + version + "\r\nHost: a\r\n" + connection + "\r\n").head.keep_alive;
  };
  EXPECT_TRUE(keep("1.1", ""));
  EXPECT_FALSE(keep("1.0", ""));
  EXPECT_TRUE(keep("1.0", "Connection: Keep-Alive\r\n"));
  EXPECT_FALSE(keep("1.1", "Connection: CLOSE\r\n"));
  EXPECT_FALSE(keep("1.1", "Connection: Upgrade , close\r\n"));
  EXPECT_FALSE(keep("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
  EXPECT_FALSE(keep("1.0", "Connection: keep-alive, close\r\n"));
  EXPECT_TRUE(keep("1.1", "Connection: closed\r\n"));
  EXPECT_TRUE(keep("1.2", ""));
}

TEST(RequestHead, ContentLengthUpTo63BitsIsRead) {
  const auto length = [](const std::string& value) {
    return Parse(With("Content-Length: " + value)).head.content_length;
  };
  EXPECT_EQ(length("0"), 0u);
  EXPECT_EQ(length("0042"), 42u);
  EXPECT_EQ(length("9223372036854775807"), 9223372036854775807u);
  EXPECT_FALSE(Parse(With("X: 1")).head.content_length.has_value());
}

TEST(RequestHead, ContinueIsExpectedOnlyForABodyInHttp11) {
  EXPECT_TRUE(Parse(With("Expect: 100-Continue\r\nContent-Length: 1")).head.expect_continue);
  EXPECT_TRUE(Parse(With("Expect: 100-continue\r\nTransfer-Encoding: chunked")).head.expect_continue);
  EXPECT_FALSE(Parse(With("Expect: 100-continue")).head.expect_continue);
  EXPECT_FALSE(Parse("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").head.expect_continue);
}

TEST(RequestHead, ALineAtItsLimitPassesAndOneByteMoreIs414) {
  const std::string text = Line("GET /" + std::string(100, 'a') + " HTTP/1.1");
  const size_t size = text.find("\r\n");
  EXPECT_EQ(Parse(text, {.line = size}).result.state, State::kComplete);
  for (size_t limit = 0; limit < size; ++limit) {
    EXPECT_EQ(Parse(text, {.line = limit}).result.status, 414) << limit;
  }
  EXPECT_EQ(Parse(text.substr(0, 60), {.line = 50}).result.status, 414) << "before the end of the line has arrived";
}

TEST(RequestHead, AFieldAtItsLimitPassesAndOneByteMoreIs431) {
  const std::string field = "X-Long: " + std::string(100, 'v');
  EXPECT_EQ(Parse(With(field), {.field_size = field.size()}).result.state, State::kComplete);
  EXPECT_EQ(Parse(With(field), {.field_size = field.size() - 1}).result.status, 431);
  const std::string name = With(std::string(100, 'n') + ": v");
  EXPECT_EQ(Parse(name, {.field_size = 50}).result.status, 431);
  const std::string started = "GET / HTTP/1.1\r\nHost: a\r\n" + field.substr(0, 60);
  EXPECT_EQ(Parse(started, {.field_size = 50}).result.status, 431) << "before the end of the field has arrived";
}

TEST(RequestHead, TooManyFieldsAre431AndZeroMeansNoLimit) {
  std::string fields = "X0: y";
  for (int i = 1; i < 200; ++i) fields += "\r\nX: y";
  EXPECT_EQ(Parse(With(fields), {.fields = 201}).result.state, State::kComplete);
  EXPECT_EQ(Parse(With(fields), {.fields = 200}).result.status, 431);
  EXPECT_EQ(Parse(With(fields), {.fields = 0}).result.state, State::kComplete);
}

TEST(RequestHead, AReusedObjectForgetsTheRequestBefore) {
  RequestHead head;
  const std::string first =
      "POST http://b/c?d HTTP/1.0\r\nHost: a\r\nHost2: x\r\nConnection: close\r\nContent-Length: 3\r\nRange: x\r\n\r\n";
  ASSERT_EQ(ParseRequestHead(first, {}, head).state, State::kComplete);
  const std::string second = "GET /e HTTP/1.1\r\nHost: f\r\n\r\n";
  ASSERT_EQ(ParseRequestHead(second, {}, head).state, State::kComplete);
  EXPECT_EQ(head.authority, "f");
  EXPECT_FALSE(head.has_query);
  EXPECT_FALSE(head.content_length.has_value());
  EXPECT_TRUE(head.keep_alive);
  EXPECT_FALSE(head.Has(Known::kRange));
  EXPECT_EQ(head.fields.size(), 1u);
}

TEST(RequestHead, MethodsAreCaseSensitive) {
  EXPECT_EQ(Parse(Line("GET / HTTP/1.1")).head.method, Method::kGet);
  EXPECT_EQ(Parse(Line("get / HTTP/1.1")).head.method, Method::kOther);
  EXPECT_EQ(Parse(Line("PATCH / HTTP/1.1")).head.method, Method::kPatch);
  EXPECT_EQ(Parse(Line("PROPFIND / HTTP/1.1")).head.method, Method::kOther);
}

}  // namespace
}  // namespace httpd::http
