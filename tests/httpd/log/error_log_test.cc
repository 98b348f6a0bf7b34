#include "httpd/log/error_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <string>

namespace httpd::log {
namespace {

using config::LogLevel;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

/// A sink whose lines come back.
struct Target {
  explicit Target(bool is_pipe) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    read_end = os::Fd(ends[0]);
    sink.fd = os::Fd(ends[1]);
    sink.is_pipe = is_pipe;
  }
  std::string Take() {
    std::string out(65536, '\0');
    const ssize_t n = ::read(read_end.get(), out.data(), out.size());
    out.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return out;
  }
  os::Fd read_end;
  LogSink sink;
};

TEST(ErrorLog, ALineLooksLikeApaches) {
  Target target(false);
  ErrorLog(&target.sink, LogLevel::kNotice).Write(LogLevel::kNotice, "core", "AH00094: Command line: 'httpd'");
  EXPECT_THAT(target.Take(),
              MatchesRegex("\\[[A-Z][a-z][a-z] [A-Z][a-z][a-z] [0-9][0-9] [0-9:]{8}\\.[0-9]{6} [0-9]{4}\\] "
                           "\\[core:notice\\] \\[pid [0-9]+:tid [0-9]+\\] AH00094: Command line: 'httpd'\n"));
}

TEST(ErrorLog, ALineAboutAClientNamesIt) {
  Target target(false);
  ErrorLog(&target.sink, LogLevel::kError).Write(LogLevel::kError, "core", "no", "192.0.2.1:4711");
  EXPECT_THAT(target.Take(), EndsWith("] [client 192.0.2.1:4711] no\n"));
}

TEST(ErrorLog, WhatIsBelowTheLevelIsNotWritten) {
  Target target(false);
  const ErrorLog log(&target.sink, LogLevel::kWarn);
  EXPECT_TRUE(log.Wants(LogLevel::kError));
  EXPECT_TRUE(log.Wants(LogLevel::kNotice)) << "notices cannot be suppressed";
  EXPECT_FALSE(log.Wants(LogLevel::kInfo));
  log.Write(LogLevel::kInfo, "core", "quiet");
  EXPECT_EQ(target.Take(), "");
}

TEST(ErrorLog, AClientCannotForgeALineNorDriveATerminal) {
  Target target(false);
  ErrorLog(&target.sink, LogLevel::kError)
      .Write(LogLevel::kError, "core", "File does not exist: /a\nb\x1b[2J\x7f\x9b\xc3\xa4", "192.0.2.1:1");
  const std::string line = target.Take();
  EXPECT_THAT(line, HasSubstr("/a\\nb\\x1b[2J\\x7f\\x9b\\xc3\\xa4\n"));
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
}

TEST(ErrorLog, TheSystemsTroubleStandsBeforeTheClient) {
  Target target(false);
  ErrorLog(&target.sink, LogLevel::kError)
      .Write(LogLevel::kError, "core", "(13)Permission denied: AH00132: file permissions", "192.0.2.1:1");
  EXPECT_THAT(target.Take(), EndsWith("] (13)Permission denied: [client 192.0.2.1:1] AH00132: file permissions\n"));
}

TEST(ErrorLog, AModuleCanHaveALevelOfItsOwn) {
  Target target(false);
  config::Host host;
  host.log_levels.level = LogLevel::kError;
  host.log_levels.Set("rewrite", LogLevel::kTrace3);
  const ErrorLog log(&target.sink, host);
  EXPECT_TRUE(log.Wants(LogLevel::kTrace3, "rewrite"));
  EXPECT_FALSE(log.Wants(LogLevel::kTrace4, "rewrite"));
  EXPECT_FALSE(log.Wants(LogLevel::kWarn, "core"));
  config::LogLevels section = log.levels();
  config::LogLevels inner;
  inner.level = LogLevel::kInfo;
  section.Merge(inner);
  EXPECT_FALSE(ErrorLog::Wants(LogLevel::kDebug, "rewrite", section)) << "a level for all ends those of modules";
}

TEST(ErrorLog, ASentenceOfSeveralLinesBecomesOne) {
  Target target(false);
  ErrorLog(&target.sink, LogLevel::kError).Write(LogLevel::kError, "core", "one\ntwo");
  EXPECT_THAT(target.Take(), EndsWith("one two\n"));
}

TEST(ErrorLog, ALineEndsAtApachesLimitInAFileAndAtPipeBufInAPipe) {
  Target file(false);
  ErrorLog(&file.sink, LogLevel::kError).Write(LogLevel::kError, "core", std::string(20000, 'x'));
  const std::string in_file = file.Take();
  EXPECT_EQ(in_file.size(), 8192u);
  EXPECT_THAT(in_file, EndsWith("x\n"));
  Target pipe(true);
  ErrorLog(&pipe.sink, LogLevel::kError).Write(LogLevel::kError, "core", std::string(20000, 'x'));
  EXPECT_EQ(pipe.Take().size(), static_cast<size_t>(PIPE_BUF));
}

TEST(ErrorLog, AFullPipeDropsTheLineAndDoesNotWait) {
  Target target(true);
  const std::string fill(65536, 'f');
  ASSERT_GT(::write(target.sink.fd.get(), fill.data(), fill.size()), 0);
  ErrorLog(&target.sink, LogLevel::kError).Write(LogLevel::kError, "core", "late");
  EXPECT_THAT(target.Take(), Not(HasSubstr("late")));
}

TEST(ErrorLog, EveryLevelHasApachesName) {
  EXPECT_EQ(LevelName(LogLevel::kEmerg), "emerg");
  EXPECT_EQ(LevelName(LogLevel::kWarn), "warn");
  EXPECT_EQ(LevelName(LogLevel::kTrace8), "trace8");
}

}  // namespace
}  // namespace httpd::log
