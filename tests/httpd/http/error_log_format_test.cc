#include "httpd/http/error_log_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace httpd::http {
namespace {

using namespace std::chrono_literals;
using Use = ErrorLogFormat::Use;

class ErrorLogFormatTest : public testing::Test {
 protected:
  ErrorLogFormatTest() {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    record_.when = std::chrono::system_clock::time_point(1795248166s + 534235us);
    record_.level = 3;
    record_.level_name = "error";
    record_.module = "core";
    record_.message = "AH00128: File does not exist: /a";
    record_.pid = 10;
    record_.thread = 11;
  }
  void OfClient() {
    record_.is_of_client = true;
    record_.client = "192.0.2.1:50";
    record_.peer = "198.51.100.1:50";
    record_.local = "192.0.2.2:80";
    record_.request_id = "REQ";
    record_.connection_id = "CONN";
    record_.keep_alives = 2;
    record_.header = [](std::string_view name) { return name == "Referer" ? std::string("r\"\\\n") : std::string(); };
    record_.environment = [](std::string_view name) { return name == "E" ? std::string("env") : std::string(); };
    record_.note = [](std::string_view name) { return name == "N" ? std::string("note") : std::string(); };
  }
  std::string Render(std::string_view format, Use use = Use::kMessage) const {
    auto compiled = ErrorLogFormat::Compile(format, use);
    EXPECT_TRUE(compiled) << format;
    std::string out = "before|";
    return compiled && compiled.value().Render(record_, out) ? out.substr(7) : "(none)" + out.substr(7);
  }

  ErrorRecord record_;
};

TEST_F(ErrorLogFormatTest, TheDefaultIsApachesLine) {
  EXPECT_EQ(Render(kDefaultErrorLogFormat),
            "[Sat Nov 21 08:02:46.534235 2026] [core:error] [pid 10:tid 11] AH00128: File does not exist: /a");
  OfClient();
  record_.trouble = "(13)Permission denied";
  EXPECT_EQ(Render(kDefaultErrorLogFormat),
            "[Sat Nov 21 08:02:46.534235 2026] [core:error] [pid 10:tid 11] (13)Permission denied: [client "
            "192.0.2.1:50] AH00128: File does not exist: /a, referer: r\"\\\\\\n");
}

TEST_F(ErrorLogFormatTest, EveryDirectiveSaysItsValue) {
  OfClient();
  record_.server_name = "v";
  record_.host_name = "V";
  EXPECT_EQ(Render("%a %{c}a %A %{E}e %{N}n %k %l %m %P %T %v %V %L %{c}L %% %M"),
            "192.0.2.1:50 198.51.100.1:50 192.0.2.2:80 env note 2 error core 10 11 v V REQ CONN % AH00128: File does "
            "not exist: /a");
  EXPECT_EQ(Render("[%t] [%{c}t] [%{cu}t] [%{cuz}t] [%{m}t] %M"),
            "[Sat Nov 21 08:02:46 2026] [2026-11-21 08:02:46] [2026-11-21 08:02:46.534235] [2026-11-21 08:02:46.534235 "
            "+0000] [Sat Nov 21 08:02:46.534 2026] AH00128: File does not exist: /a");
}

TEST_F(ErrorLogFormatTest, AFieldWithoutValueIsLeftOutWithItsText) {
  OfClient();
  record_.message = "m";
  EXPECT_EQ(Render("a%M b\\ c%{Nope}i d% ,e\\ f%{Nope}ig% ,h %4v %3ly z"), "am d,h errory z");
  EXPECT_EQ(Render("%M x%-{Nope}i %-F"), "m x- -");
}

TEST_F(ErrorLogFormatTest, ALineOfItsOwnCanBeLeftOut) {
  OfClient();
  EXPECT_EQ(Render("[%L] %+{Referer}i", Use::kOnce), "[REQ] r\"\\\\\\n");
  EXPECT_EQ(Render("[%L] %+{Nope}i", Use::kOnce), "(none)");
}

TEST_F(ErrorLogFormatTest, AClientCannotForgeALine) {
  OfClient();
  record_.message = "a\nb\x1b[2J\x7f\x9b\xc3\xa4\t";
  EXPECT_EQ(Render("%M"), "a\\nb\\x1b[2J\\x7f\\x9b\\xc3\\xa4\\t");
}

TEST(ErrorLogFormat, WhatIsWrongIsSaidInApachesWords) {
  const auto wrong = [](std::string_view format, Use use = Use::kMessage) {
    auto compiled = ErrorLogFormat::Compile(format, use);
    return compiled ? std::string() : compiled.error().what;
  };
  EXPECT_EQ(wrong("%Z %M"), "Unrecognized error log format directive %Z");
  EXPECT_EQ(wrong("x"), "main ErrorLogFormat must contain message format string '%M'");
  EXPECT_EQ(wrong("%+M"), "The '+' flag cannot be used in the main error log format");
  EXPECT_EQ(wrong("%M", Use::kOnce), "%M cannot be used in once-per-request or once-per-connection formats");
  EXPECT_EQ(wrong("%99v %M"), "The specified loglevel modifier is out of range");
  EXPECT_EQ(wrong("%M %{x"), "Ran off end of error log format parsing args to some directive");
}

}  // namespace
}  // namespace httpd::http
