#include "httpd/http/values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace httpd::http {
namespace {

using os::ErrorKind;

/// `text` must outlive the head.
RequestHead HeadOf(const std::string& text) {
  RequestHead head;
  EXPECT_EQ(ParseRequestHead(text, {}, head).state, ParseResult::State::kComplete) << text;
  return head;
}

TEST(Dates, AreWrittenAsRfc9110Asks) {
  EXPECT_EQ(FormatDate(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(FormatDate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(FormatDate(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
  EXPECT_EQ(FormatDate(1709164800), "Thu, 29 Feb 2024 00:00:00 GMT");
  EXPECT_EQ(FormatDate(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT");
}

TEST(Dates, AllThreeFormatsAreRead) {
  EXPECT_EQ(ParseDate("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  EXPECT_EQ(ParseDate("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
  EXPECT_EQ(ParseDate("Sun Nov  6 08:49:37 1994"), 784111777);
  EXPECT_EQ(ParseDate("Wed Nov 16 08:49:37 1994"), 784975777);
  EXPECT_EQ(ParseDate("Saturday, 21-Nov-26 08:02:46 GMT"), ParseDate("Sat, 21 Nov 2026 08:02:46 GMT"));
}

TEST(Dates, WhatIsWrittenIsReadBack) {
  for (std::time_t when = -2'000'000'000; when < 20'000'000'000; when += 12'345'677) {
    EXPECT_EQ(ParseDate(FormatDate(when)), when);
  }
}

TEST(Dates, AnythingElseIsNotADate) {
  for (const char* text : {"",
                           "0",
                           "Sun, 06 Nov 1994 08:49:37",
                           "Sun, 06 Nov 1994 08:49:37 UTC",
                           "Sun, 06 Nov 1994 08:49:37 +0000",
                           "sun, 06 nov 1994 08:49:37 GMT",
                           "Sun, 6 Nov 1994 08:49:37 GMT",
                           "Sun, 31 Feb 1994 08:49:37 GMT",
                           "Sun, 29 Feb 2023 08:49:37 GMT",
                           "Sun, 00 Nov 1994 08:49:37 GMT",
                           "Sun, 06 Nov 1994 24:00:00 GMT",
                           "Sun, 06 Nov 1994 08:60:37 GMT",
                           "Sun, 06 Nov 1994 08:49:61 GMT",
                           "Sun, 06 Nov 1994 08:49:37 GMT; length=1",
                           " Sun, 06 Nov 1994 08:49:37 GMT",
                           "Sun, 06 Nov 94 08:49:37 GMT      ",
                           "Sun Nov 6 08:49:37 1994 GMT",
                           "Sun Nov  6 08:49:37 1994 ",
                           "Xyz, 06 Nov 1994 08:49:37 GMT",
                           "Sun, -6 Nov 1994 08:49:37 GMT",
                           "Sun, 06 Nov 1994 8:49:37 GMT ",
                           "Funday, 06-Nov-94 08:49:37 GMT"}) {
    EXPECT_EQ(ParseDate(text), std::nullopt) << text;
  }
}

TEST(Dates, LogTimeHasTheZoneOffsetOfItsOwnMoment) {
  ::setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
  ::tzset();
  EXPECT_EQ(FormatLogTime(1795161766), "20/Nov/2026:09:02:46 +0100");
  EXPECT_EQ(FormatLogTime(1782201600), "23/Jun/2026:10:00:00 +0200");
  ::setenv("TZ", "NST3:30", 1);
  ::tzset();
  EXPECT_EQ(FormatLogTime(1795161767), "20/Nov/2026:04:32:47 -0330");
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  EXPECT_EQ(FormatLogTime(-1), "31/Dec/1969:23:59:59 +0000");
}

TEST(DecodePath, RemovesDotsAndDoubleSlashesAfterDecoding) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/", "/"},
      {"/a/b", "/a/b"},
      {"/a/b/", "/a/b/"},
      {"/a%20b", "/a b"},
      {"/%41%7e", "/A~"},
      {"//", "/"},
      {"//a///b//", "/a/b/"},
      {"/.", "/"},
      {"/./a/./b/.", "/a/b/"},
      {"/a/..", "/"},
      {"/a/b/..", "/a/"},
      {"/a/b/../c", "/a/c"},
      {"/a/../", "/"},
      {"/a/%2e%2E/b", "/b"},
      {"/a/.%2e/b", "/b"},
      {"/a/%2e/b", "/a/b"},
      {"/a//../b", "/b"},
      {"/...", "/..."},
      {"/.a/..b/c..", "/.a/..b/c.."},
      {"/a%5c..%5cb", "/a\\..\\b"},
      {"/%252e%252e/", "/%2e%2e/"},
      {"/a%0ab", "/a\nb"},
      {"/%ff", "/\xff"},
      {"/a+b", "/a+b"},
  };
  for (const auto& [in, out] : cases) {
    const auto decoded = DecodePath(in);
    ASSERT_TRUE(decoded) << in << ": " << decoded.error().what;
    EXPECT_EQ(decoded.value(), out) << in;
  }
}

TEST(DecodePath, RefusesEscapesOfTheRootAndBadEscapes) {
  for (const char* path :
       {"",        "a",  "*",   "/..",  "/../a", "/a/../..", "/a/../../b", "/%2e%2e", "/./..",      "/..//", "//..",
        "/%2e./x", "/%", "/%4", "/a%4", "/%zz",  "/%4g",     "/%%41",      "/%00",    "/a%00.html", "/% 41"}) {
    const auto decoded = DecodePath(path);
    ASSERT_FALSE(decoded) << path << " gave " << decoded.value();
    EXPECT_EQ(decoded.error().kind, ErrorKind::kInvalid) << path;
  }
  EXPECT_FALSE(DecodePath(std::string_view("/a\0b", 4)));
}

TEST(DecodePath, AnEncodedSlashIsNotFound) {
  for (const char* path : {"/%2f", "/a%2Fb", "/..%2f", "/..%2f..%2fetc"}) {
    const auto decoded = DecodePath(path);
    ASSERT_FALSE(decoded) << path;
    EXPECT_EQ(decoded.error().kind, ErrorKind::kNotFound) << path;
  }
}

TEST(Escapes, HtmlAndPathsAsApache) {
  EXPECT_EQ(EscapeHtml("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;'");
  EXPECT_EQ(EscapePath("/a b\"<>%?#[]\xc3~"), "/a%20b%22%3c%3e%25%3f%23%5b%5d%c3~");
  EXPECT_EQ(EscapePath("a:b"), "./a:b");
  EXPECT_EQ(EscapePath("/a:b"), "/a:b");
  EXPECT_EQ(EscapePath(std::string_view("/\0\r\n", 4)), "/%00%0d%0a");
}

TEST(Escapes, APathThatWasEscapedDecodesToItself) {
  std::string path = "/";
  for (int c = 1; c < 256; ++c) {
    if (c != '/' && c != '.') path.push_back(static_cast<char>(c));
  }
  EXPECT_EQ(DecodePath(EscapePath(path)).value(), path);
}

using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;
constexpr uint64_t kSize = 1000;

std::optional<Ranges> RangesOf(std::string_view value, uint64_t size = kSize, size_t max_ranges = 200) {
  const auto parsed = ParseRanges(value, size, {max_ranges});
  if (!parsed) return std::nullopt;
  Ranges ranges;
  for (const ByteRange& range : *parsed) ranges.emplace_back(range.first, range.last);
  return ranges;
}

TEST(Ranges, OneAndSeveralAreReadInTheClientsOrder) {
  EXPECT_EQ(RangesOf("bytes=0-0"), (Ranges{{0, 0}}));
  EXPECT_EQ(RangesOf("BYTES=0-499"), (Ranges{{0, 499}}));
  EXPECT_EQ(RangesOf("bytes=500-"), (Ranges{{500, 999}}));
  EXPECT_EQ(RangesOf("bytes=-1"), (Ranges{{999, 999}}));
  EXPECT_EQ(RangesOf("bytes=-2000"), (Ranges{{0, 999}}));
  EXPECT_EQ(RangesOf("bytes=0-5000"), (Ranges{{0, 999}}));
  EXPECT_EQ(RangesOf("bytes=0-99999999999999999999999"), (Ranges{{0, 999}}));
  EXPECT_EQ(RangesOf("bytes= 0-1 ,\t 5-6,,"), (Ranges{{0, 1}, {5, 6}}));
  EXPECT_EQ(RangesOf("bytes=-1,0-0"), (Ranges{{999, 999}, {0, 0}}));
  EXPECT_EQ(RangesOf("bytes=0-9,5-14"), (Ranges{{0, 9}, {5, 14}})) << "a few overlaps are fine";
}

TEST(Ranges, UnsatisfiableOnesAreDroppedAndNoneLeftIsEmpty) {
  EXPECT_EQ(RangesOf("bytes=1000-,0-1"), (Ranges{{0, 1}}));
  EXPECT_EQ(RangesOf("bytes=1000-"), (Ranges{}));
  EXPECT_EQ(RangesOf("bytes=1000-2000,5000-"), (Ranges{}));
  EXPECT_EQ(RangesOf("bytes=-0"), (Ranges{}));
  EXPECT_EQ(RangesOf("bytes=99999999999999999999999-"), (Ranges{}));
}

TEST(Ranges, MalformedOnesAreIgnored) {
  for (const char* value : {"", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=1", "bytes=2-1", "bytes=a-b",
                            "bytes=1-b", "bytes=1-2-3", "bytes=--1", "bytes=+1-2", "bytes=1 - 2", "bytes=0x1-2",
                            "bytes=0-1;2-3", "bytes 0-1", "items=0-1", "bytes =0-1", "bytes=0-1,x"}) {
    EXPECT_EQ(RangesOf(value), std::nullopt) << value;
  }
  EXPECT_EQ(RangesOf("bytes=0-0", 0), std::nullopt) << "an empty file is sent as it is";
}

TEST(Ranges, AttacksAreAnsweredWithTheWholeFile) {
  std::string many = "bytes=";
  for (int i = 0; i < 201; ++i) many += std::to_string(2 * i) + "-" + std::to_string(2 * i) + ",";
  EXPECT_EQ(RangesOf(many), std::nullopt) << "more than the limit";
  EXPECT_TRUE(RangesOf(many, kSize, 201));
  EXPECT_EQ(RangesOf("bytes=0-0", kSize, 0), std::nullopt);
  std::string overlaps = "bytes=0-9";
  for (int i = 0; i < 21; ++i) overlaps += ",0-9";
  EXPECT_EQ(RangesOf(overlaps), std::nullopt) << "overlaps";
  std::string reversals = "bytes=999-999";
  for (int i = 1; i < 22; ++i) {
    const std::string at = std::to_string(999 - 2 * i);
    reversals.append(",").append(at).append("-").append(at);
  }
  EXPECT_EQ(RangesOf(reversals), std::nullopt) << "steps backwards";
  EXPECT_EQ(RangesOf("bytes=0-,0-"), std::nullopt) << "more bytes than the file has";
}

constexpr std::time_t kModified = 784111777;
const std::string kSame = "Sun, 06 Nov 1994 08:49:37 GMT";
const std::string kBefore = "Sun, 06 Nov 1994 08:49:36 GMT";
const std::string kAfter = "Sun, 06 Nov 1994 08:49:38 GMT";

Precondition Check(const std::string& headers, const std::string& etag = "\"e\"", const std::string& method = "GET") {
  const std::string text = method + " / HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n";
  return CheckPreconditions(HeadOf(text), etag, kModified);
}

TEST(Preconditions, EachRuleByItself) {
  using enum Precondition;
  EXPECT_EQ(Check(""), kProceed);
  EXPECT_EQ(Check("If-Match: \"e\"\r\n"), kProceed);
  EXPECT_EQ(Check("If-Match: \"x\", \"e\"\r\n"), kProceed);
  EXPECT_EQ(Check("If-Match: *\r\n"), kProceed);
  EXPECT_EQ(Check("If-Match: \"x\"\r\n"), kFailed);
  EXPECT_EQ(Check("If-Match: W/\"e\"\r\n"), kFailed) << "strong comparison";
  EXPECT_EQ(Check("If-Match: W/\"e\"\r\n", "W/\"e\""), kFailed) << "strong comparison";
  EXPECT_EQ(Check("If-Match: \"e\"\r\n", ""), kFailed);
  EXPECT_EQ(Check("If-Unmodified-Since: " + kSame + "\r\n"), kProceed);
  EXPECT_EQ(Check("If-Unmodified-Since: " + kBefore + "\r\n"), kFailed);
  EXPECT_EQ(Check("If-Unmodified-Since: yesterday\r\n"), kProceed);
  EXPECT_EQ(Check("If-None-Match: \"e\"\r\n"), kNotModified);
  EXPECT_EQ(Check("If-None-Match: W/\"e\"\r\n"), kNotModified) << "weak comparison";
  EXPECT_EQ(Check("If-None-Match: \"e\"\r\n", "W/\"e\""), kNotModified) << "weak comparison";
  EXPECT_EQ(Check("If-None-Match: \"x\" ,W/\"e\"\r\n"), kNotModified);
  EXPECT_EQ(Check("If-None-Match: \"x, \\\", \"e\"\r\n"), kNotModified) << "no escapes in entity tags";
  EXPECT_EQ(Check("If-None-Match: *\r\n"), kNotModified);
  EXPECT_EQ(Check("If-None-Match: *\r\n", "\"e\"", "HEAD"), kNotModified);
  EXPECT_EQ(Check("If-None-Match: *\r\n", "\"e\"", "PUT"), kFailed);
  EXPECT_EQ(Check("If-None-Match: \"x\"\r\n"), kProceed);
  EXPECT_EQ(Check("If-None-Match: e\r\n"), kProceed);
  EXPECT_EQ(Check("If-Modified-Since: " + kSame + "\r\n"), kNotModified);
  EXPECT_EQ(Check("If-Modified-Since: " + kAfter + "\r\n"), kNotModified);
  EXPECT_EQ(Check("If-Modified-Since: " + kBefore + "\r\n"), kProceed);
  EXPECT_EQ(Check("If-Modified-Since: never\r\n"), kProceed);
  EXPECT_EQ(Check("If-Modified-Since: " + kSame + "\r\n", "\"e\"", "POST"), kProceed);
}

TEST(Preconditions, TagsRuleOutDatesAndFailuresComeFirst) {
  using enum Precondition;
  EXPECT_EQ(Check("If-Match: \"e\"\r\nIf-Unmodified-Since: " + kBefore + "\r\n"), kProceed);
  EXPECT_EQ(Check("If-None-Match: \"x\"\r\nIf-Modified-Since: " + kSame + "\r\n"), kProceed);
  EXPECT_EQ(Check("If-None-Match: \"e\"\r\nIf-Modified-Since: " + kBefore + "\r\n"), kNotModified);
  EXPECT_EQ(Check("If-None-Match: \"e\"\r\nIf-Match: \"x\"\r\n"), kFailed);
  EXPECT_EQ(Check("If-Match: \"e\"\r\nIf-None-Match: \"e\"\r\n"), kNotModified);
}

TEST(Preconditions, TagsInSeveralFieldsAreOneList) {
  EXPECT_EQ(Check("If-None-Match: \"x\"\r\nIf-None-Match: \"e\"\r\n"), Precondition::kNotModified);
  EXPECT_EQ(Check("If-Match: \"x\"\r\nif-match: \"e\"\r\n"), Precondition::kProceed);
}

TEST(Preconditions, IfRangeNeedsAStrongValidator) {
  const auto holds = [](const std::string& value, const std::string& etag, std::time_t now = kModified + 3600) {
    const std::string text = "GET / HTTP/1.1\r\nHost: a\r\nIf-Range: " + value + "\r\n\r\n";
    return IfRangeHolds(HeadOf(text), etag, kModified, now);
  };
  const std::string without = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_TRUE(IfRangeHolds(HeadOf(without), "", kModified, kModified));
  EXPECT_TRUE(holds("\"e\"", "\"e\""));
  EXPECT_FALSE(holds("\"x\"", "\"e\""));
  EXPECT_FALSE(holds("W/\"e\"", "W/\"e\""));
  EXPECT_FALSE(holds("\"e\"", "W/\"e\""));
  EXPECT_TRUE(holds(kSame, "\"e\""));
  EXPECT_FALSE(holds(kAfter, "\"e\""));
  EXPECT_FALSE(holds(kSame, "\"e\"", kModified + 1)) << "it may have changed twice in that second";
  EXPECT_FALSE(holds("rubbish", "\"e\""));
}

TEST(Statuses, LinesAndReasonsAgree) {
  EXPECT_EQ(StatusLine(200), "HTTP/1.1 200 OK\r\n");
  EXPECT_EQ(StatusLine(416), "HTTP/1.1 416 Requested Range Not Satisfiable\r\n");
  EXPECT_EQ(StatusLine(299), "HTTP/1.1 299 Unknown\r\n");
  EXPECT_EQ(StatusLine(7), "HTTP/1.1 500 Internal Server Error\r\n");
  EXPECT_EQ(StatusReason(304), "Not Modified");
  EXPECT_EQ(StatusReason(599), "Unknown");
  EXPECT_EQ(StatusReason(-1), "Unknown");
  for (int code = 100; code < 600; ++code) {
    EXPECT_EQ(StatusLine(code), "HTTP/1.1 " + std::to_string(code) + " " + std::string(StatusReason(code)) + "\r\n");
  }
}

TEST(ErrorPages, AreByteForByteWhatApachePrints) {
  EXPECT_EQ(ErrorPage(404, "/x", "GET", "Apache/2.4.71 (Debian) Server at a Port 80"),
            "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\n"
            "<html><head>\n<title>404 Not Found</title>\n</head><body>\n<h1>Not Found</h1>\n"
            "<p>The requested URL was not found on this server.</p>\n"
            "<hr>\n<address>Apache/2.4.71 (Debian) Server at a Port 80</address>\n</body></html>\n");
  // Lengths measured with 2.4.71, its signature line of 64 bytes included.
  const std::string signature = "Apache/2.4.71 (Debian) Server at a Port 80";
  EXPECT_EQ(ErrorPage(404, "", "GET", signature).size(), 303u);
  EXPECT_EQ(ErrorPage(403, "", "GET", signature).size(), 306u);
  EXPECT_EQ(ErrorPage(400, "", "GET", signature).size(), 333u);
  EXPECT_EQ(ErrorPage(301, "http://x/\"q", "GET", signature).size(), 331u);
  EXPECT_EQ(ErrorPage(303, "http://x/", "GET", signature).size(), 323u);
  EXPECT_EQ(ErrorPage(501, "", "FOO", signature).size(), 309u);
  EXPECT_EQ(ErrorPage(414, "", "GET", signature).size(), 355u);
  EXPECT_EQ(ErrorPage(417, "foo", "GET", signature).size(), 462u);
  EXPECT_EQ(ErrorPage(416, "", "GET", signature).size(), 421u);
}

TEST(ErrorPages, EscapeWhatTheClientSentAndLeaveOutAnEmptySignature) {
  const std::string page = ErrorPage(405, "", "<b>", "");
  EXPECT_THAT(page, testing::HasSubstr("method &lt;b&gt; is"));
  EXPECT_THAT(page, testing::Not(testing::HasSubstr("<address>")));
  EXPECT_THAT(ErrorPage(500, "", "GET", "", "me@example.org"), testing::HasSubstr("me@example.org"));
}

TEST(MimeTypes, TheLastKnownExtensionDecides) {
  const MimeTypes types = MimeTypes::BuiltIn();
  EXPECT_EQ(types.Find("index.html"), "text/html");
  EXPECT_EQ(types.Find("/srv/a.b/INDEX.HTML"), "text/html");
  EXPECT_EQ(types.Find("index.html.backup"), "text/html");
  EXPECT_EQ(types.Find("a.tar.gz"), "application/gzip");
  EXPECT_EQ(types.Find("app.js"), "text/javascript");
  EXPECT_EQ(types.Find("README"), "");
  EXPECT_EQ(types.Find("/srv/site.html/README"), "");
  EXPECT_EQ(types.Find("html"), "");
  EXPECT_EQ(types.Find("a."), "");
  EXPECT_EQ(types.Find(""), "");
}

TEST(MimeTypes, AFileInApachesFormatAddsAndReplaces) {
  MimeTypes types;
  types.AddFile("# comment\ntext/html\thtml  htm\r\n\napplication/x-none\ntext/x-new html\n  text/x-last .LAST");
  EXPECT_EQ(types.Find("a.htm"), "text/html");
  EXPECT_EQ(types.Find("a.html"), "text/x-new");
  EXPECT_EQ(types.Find("a.last"), "text/x-last");
}

TEST(WildcardMatch, FollowsFnmatch) {
  struct Case {
    const char* pattern;
    const char* text;
    bool plain;
    bool path_name;
  };
  for (const Case& c : std::initializer_list<Case>{{"", "", true, true},
                                                   {"", "a", false, false},
                                                   {"*", "", true, true},
                                                   {"*", "a/b", true, false},
                                                   {"a*b", "a/b", true, false},
                                                   {"*/*", "a/b", true, true},
                                                   {"*/b", "a/c/b", true, false},
                                                   {"/srv/*/x", "/srv/a/x", true, true},
                                                   {"/srv/*/x", "/srv/a/b/x", true, false},
                                                   {"*.example.org", "www.example.org", true, true},
                                                   {"*.example.org", "example.org", false, false},
                                                   {"?", "a", true, true},
                                                   {"?", "", false, false},
                                                   {"a?b", "a/b", true, false},
                                                   {"a[.-0]b", "a/b", true, false},
                                                   {"[a-c]x", "bx", true, true},
                                                   {"[a-c]x", "dx", false, false},
                                                   {"[!a-c]x", "dx", true, true},
                                                   {"[^a-c]x", "bx", false, false},
                                                   {"[]]", "]", true, true},
                                                   {"[a-]", "-", true, true},
                                                   {"[a", "[a", true, true},
                                                   {"\\*", "*", true, true},
                                                   {"\\*", "a", false, false},
                                                   {"a\\", "a\\", true, true},
                                                   {"*a*b*c", "xaybzabc", true, true},
                                                   {"*a*b*c", "xaybzab", false, false},
                                                   {"*ab", "aab", true, true},
                                                   {"**x", "x", true, true},
                                                   {"A", "a", false, false}}) {
    EXPECT_EQ(WildcardMatch(c.pattern, c.text, false), c.plain) << c.pattern << " " << c.text;
    EXPECT_EQ(WildcardMatch(c.pattern, c.text, true), c.path_name) << c.pattern << " " << c.text << " as path";
  }
}

TEST(WildcardMatch, ManyStarsDoNotTakeForever) {
  std::string pattern;
  for (int i = 0; i < 50; ++i) pattern += "*a";
  EXPECT_FALSE(WildcardMatch(pattern + "b", std::string(5000, 'a'), false));
}

TEST(Network, UnderstandsEveryFormOfRequireIp) {
  struct Case {
    const char* address;
    const char* network;
    bool inside;
  };
  for (const Case& c : std::initializer_list<Case>{{"10.1.2.3", "10.1.2.3", true},
                                                   {"10.1.2.3", "10.1.2.4", false},
                                                   {"10.1.2.3", "10", true},
                                                   {"10.1.2.3", "10.1", true},
                                                   {"10.1.2.3", "10.1.", true},
                                                   {"10.1.2.3", "10.1.2", true},
                                                   {"10.10.2.3", "10.1", false},
                                                   {"10.1.2.3", "10.0.0.0/8", true},
                                                   {"10.1.2.3", "10.9.9.9/8", true},
                                                   {"11.1.2.3", "10.0.0.0/8", false},
                                                   {"10.1.2.3", "10.1.2.2/31", true},
                                                   {"10.1.2.3", "10.1.2.3/32", true},
                                                   {"10.1.2.3", "0.0.0.0/0", true},
                                                   {"10.1.2.3", "10.0.0.0/255.0.0.0", true},
                                                   {"10.1.2.3", "10.1.0.0/255.255.255.0", false},
                                                   {"::1", "::1", true},
                                                   {"::1", "::2", false},
                                                   {"2001:db8:1::5", "2001:db8::/32", true},
                                                   {"2001:db9::5", "2001:db8::/32", false},
                                                   {"2001:db8::ffff", "2001:db8::/113", false},
                                                   {"::1", "::/0", true},
                                                   {"::ffff:10.1.2.3", "10.0.0.0/8", true},
                                                   {"10.1.2.3", "::ffff:10.0.0.0/104", true},
                                                   {"10.1.2.3", "::/0", false},
                                                   {"::1", "0.0.0.0/0", false},
                                                   {"fe80::1%eth0", "fe80::/10", true},
                                                   {"", "0.0.0.0/0", false}}) {
    const auto network = Network::Parse(c.network);
    ASSERT_TRUE(network) << c.network;
    EXPECT_EQ(network.value().Holds(c.address), c.inside) << c.address << " in " << c.network;
  }
}

TEST(Network, AMalformedNetworkIsAnErrorThatNamesIt) {
  for (const char* network :
       {"", "x", "10.1.2.3.4", "256", "10.256", "10..1", ".10", "10/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1",
        "10.0.0.0/255.0.0", "::1/129", "::1/255.0.0.0", "10.0.0.0/::", "1.2.3.4/8/8", "2001:db8", "10.1 "}) {
    const auto parsed = Network::Parse(network);
    ASSERT_FALSE(parsed) << network;
    EXPECT_EQ(parsed.error().kind, ErrorKind::kInvalid);
    EXPECT_THAT(parsed.error().what, testing::HasSubstr(network));
  }
}

}  // namespace
}  // namespace httpd::http
