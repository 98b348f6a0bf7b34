#include "httpd/http/log_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace httpd::http {
namespace {

using namespace std::chrono_literals;

class LogFormatTest : public testing::Test {
 protected:
  LogFormatTest() {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    EXPECT_EQ(ParseRequestHead(request_, {}, head_).state, ParseResult::State::kComplete);
    record_.head = &head_;
    record_.client_address = "192.0.2.1";
    record_.local_address = "192.0.2.2";
    record_.local_port = 8080;
    record_.remote_port = 50000;
    record_.server_name = "www.example.org";
    record_.host_name = "example.org";
    record_.file_name = "/srv/a b.html";
    record_.handler = "server-status";
    record_.status = 200;
    record_.body_bytes = 1234;
    record_.bytes_in = 300;
    record_.bytes_out = 1500;
    record_.keep_alive_count = 3;
    record_.connection_state = '+';
    record_.start = std::chrono::system_clock::time_point(1795248166s + 7ms + 89us);
    record_.duration = 2s + 3ms + 4us + 5ns;
    record_.time_to_first_byte = 77us;
    record_.pid = 4242;
    record_.thread = 255;
    record_.request_id = "VwVoQC+Nw8o";
    record_.response_head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Empty:\r\nSet-Cookie: a=b\r\n\r\n";
    record_.environment = [](std::string_view name) { return name == "SET" ? std::string("v\"1") : std::string(); };
  }

  std::string Render(std::string_view format) const {
    auto compiled = LogFormat::Compile(format);
    EXPECT_TRUE(compiled) << format << ": " << (compiled ? "" : compiled.error().what);
    if (!compiled) return "";
    std::string out = "before|";
    compiled.value().Render(record_, out);
    EXPECT_TRUE(out.starts_with("before|"));
    EXPECT_TRUE(out.ends_with("\n"));
    return out.substr(7, out.size() - 8);
  }

  const std::string request_ =
      "GET /a%20b.html?q=\"1\" HTTP/1.1\r\nHost: h\r\nUser-Agent: curl/7\\8\r\nReferer: http://r/\t\xe9\r\n"
      "X: one\r\nCookie: a=1; session=s3; b\r\nx: two\r\nCookie: last = l\r\n\r\n";
  RequestHead head_;
  LogRecord record_;
};

TEST_F(LogFormatTest, EveryDirectivePrintsItsValue) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"%a %h", "192.0.2.1 192.0.2.1"},
      {"%{c}a", "192.0.2.1"},
      {"%A", "192.0.2.2"},
      {"%b %B", "1234 1234"},
      {"%{session}C %{a}C %{last}C %{b}C %{none}C", "s3 1  l - -"},
      {"%D %T %{s}T %{ms}T %{us}T", "2003004 2 2 2003 2003004"},
      {"%{SET}e %{UNSET}e", "v\\\"1 -"},
      {"%f", "/srv/a b.html"},
      {"%H", "HTTP/1.1"},
      {"%{User-Agent}i", "curl/7\\\\8"},
      {"%{referer}i", "http://r/\\t\\xe9"},
      {"%{X}i", "one, two"},
      {"%{Range}i %{None}i", "- -"},
      {"%k", "3"},
      {"%l", "-"},
      {"%L", "VwVoQC+Nw8o"},
      {"%m", "GET"},
      {"%{content-type}o %{Set-Cookie}o %{None}o", "text/html a=b -"},
      {"%p %{canonical}p %{local}p %{remote}p", "8080 8080 8080 50000"},
      {"%P %{pid}P %{tid}P %{hextid}P", "4242 4242 255 ff"},
      {"%q", "?q=\\\"1\\\""},
      {"%r", "GET /a%20b.html?q=\\\"1\\\" HTTP/1.1"},
      {"%R", "server-status"},
      {"%s %>s %<s", "200 200 200"},
      {"%t", "[21/Nov/2026:08:02:46 +0000]"},
      {"%{%Y-%m-%d %H:%M:%S}t", "2026-11-21 08:02:46"},
      {"%{begin:%S}t %{end:%S}t", "46 48"},
      {"%{sec}t %{msec}t %{usec}t", "1795248166 1795248166007 1795248166007089"},
      {"%{msec_frac}t %{usec_frac}t", "007 007089"},
      {"%{end:sec}t %{end:msec_frac}t %{begin:usec_frac}t", "1795248168 010 007089"},
      {"%u", "-"},
      {"%U", "/a b.html"},
      {"%v %V", "www.example.org example.org"},
      {"%X", "+"},
      {"%{T}^ti %{T}^to", "- -"},
      {"%I %O %S", "300 1500 1800"},
      {"%^FB", "77"},
      {"%%", "%"},
      {"a\\tb\\\\c\\\"d\\x", "a\tb\\c\"d\\x"},
      {"", ""},
  };
  for (const auto& [format, line] : cases) EXPECT_EQ(Render(format), line) << format;
}

TEST_F(LogFormatTest, CommonAndCombinedAreApaches) {
  EXPECT_EQ(Render(kCommonFormat),
            "192.0.2.1 - - [21/Nov/2026:08:02:46 +0000] \"GET /a%20b.html?q=\\\"1\\\" HTTP/1.1\" 200 1234");
  EXPECT_EQ(Render(kCombinedFormat),
            "192.0.2.1 - - [21/Nov/2026:08:02:46 +0000] \"GET /a%20b.html?q=\\\"1\\\" HTTP/1.1\" 200 1234 "
            "\"http://r/\\t\\xe9\" \"curl/7\\\\8\"");
}

TEST_F(LogFormatTest, WhatIsMissingIsADash) {
  record_ = LogRecord();
  record_.status = 408;
  EXPECT_EQ(Render("%h %l %u %r %>s %b %{Referer}i %{A}C %{A}e %{A}o %m %U %H %f %R %L %v %V %A %^FB %X"),
            "- - - - 408 - - - - - - - - - - - - - - - -");
  EXPECT_EQ(Render("%B|%q|"), "0||");
}

TEST_F(LogFormatTest, AnUnparsableRequestShowsItsRawLine) {
  record_.head = nullptr;
  record_.raw_line = std::string_view("\x16\x03\x01\0\n", 5);
  EXPECT_EQ(Render("\"%r\""), "\"\\x16\\x03\\x01\\x00\\n\"");
}

TEST_F(LogFormatTest, StatusListsSelectWhatIsPrinted) {
  EXPECT_EQ(Render("%200,304{User-Agent}i"), "curl/7\\\\8");
  EXPECT_EQ(Render("%400,501{User-Agent}i"), "-");
  EXPECT_EQ(Render("%!200,304{User-Agent}i"), "-");
  EXPECT_EQ(Render("%!400{User-Agent}i"), "curl/7\\\\8");
  EXPECT_EQ(Render("%!400>s %400B"), "200 -");
}

TEST_F(LogFormatTest, NoByteOfAClientCanEndALineOrLeaveItsQuotes) {
  for (int c = 0; c < 256; ++c) {
    for (size_t at = 0; at < 36; ++at) {  // sixteen bytes are looked at together
      const std::string before(at, 'f');
      const std::string after(at % 20, 'g');
      const std::string raw = before + std::string(1, static_cast<char>(c)) + after;
      record_.head = nullptr;
      record_.raw_line = raw;
      const std::string line = Render("%r");
      if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
        EXPECT_EQ(line, raw);
        continue;
      }
      EXPECT_TRUE(line.starts_with(before + '\\')) << c << " at " << at << ": " << line;
      EXPECT_TRUE(line.ends_with(after)) << c << " at " << at << ": " << line;
      EXPECT_TRUE(line.size() == raw.size() + 1 || line.size() == raw.size() + 3) << c << " at " << at << ": " << line;
      for (const char printed : line) EXPECT_TRUE(printed >= 0x20 && printed < 0x7f) << c;
    }
  }
}

TEST_F(LogFormatTest, UserPeerAndServerPortAreUsedWhenTheyAreKnown) {
  record_.user = "m \"x\"";
  record_.peer_address = "198.51.100.1";
  record_.server_port = 80;
  EXPECT_EQ(Render("%u %a %{c}a %p %{local}p"), "m \\\"x\\\" 192.0.2.1 198.51.100.1 80 8080");
}

TEST_F(LogFormatTest, APathThatDoesNotDecodeIsPrintedAsSent) {
  const std::string text = "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n";
  ASSERT_EQ(ParseRequestHead(text, {}, head_).state, ParseResult::State::kComplete);
  EXPECT_EQ(Render("%U"), "/a%zz");
}

TEST_F(LogFormatTest, TimesFollowTheRecordNotTheOneBefore) {
  EXPECT_EQ(Render("%t"), "[21/Nov/2026:08:02:46 +0000]");
  record_.start += 8s;
  EXPECT_EQ(Render("%t"), "[21/Nov/2026:08:02:54 +0000]");
  record_.start -= 8s;
  EXPECT_EQ(Render("%t %{%S}t"), "[21/Nov/2026:08:02:46 +0000] 46");
}

TEST(LogFormat, ABadFormatIsNamed) {
  const auto error = [](std::string_view format) {
    const auto compiled = LogFormat::Compile(format);
    return compiled ? std::string("compiled") : compiled.error().what;
  };
  EXPECT_EQ(error("%h %y"), "Unrecognized LogFormat directive %y");
  EXPECT_EQ(error("%{a}Z"), "Unrecognized LogFormat directive %Z");
  EXPECT_EQ(error("%^XY"), "Unrecognized LogFormat directive %^");
  EXPECT_THAT(error("%h %"), "Ran off end of LogFormat parsing args to some directive");
  EXPECT_THAT(error("%h %>"), "Ran off end of LogFormat parsing args to some directive");
  EXPECT_THAT(error("%{Referer"), "Ran off end of LogFormat parsing args to some directive");
  EXPECT_THAT(error("%99s"), testing::HasSubstr("not a status"));
  EXPECT_THAT(error("%99999999999999s"), testing::HasSubstr("not a status"));
}

TEST(LogFormat, RenderingIntoAWarmBufferAllocatesNothing) {
  const std::string request = "GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: u\r\n\r\n";
  RequestHead head;
  ASSERT_EQ(ParseRequestHead(request, {}, head).state, ParseResult::State::kComplete);
  LogRecord record;
  record.head = &head;
  const auto format = LogFormat::Compile(kCombinedFormat);
  ASSERT_TRUE(format);
  std::string out;
  format.value().Render(record, out);
  const char* const memory = out.data();
  out.clear();
  format.value().Render(record, out);
  EXPECT_EQ(out.data(), memory);
}

}  // namespace
}  // namespace httpd::http
