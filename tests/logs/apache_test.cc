#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>

#include "tests/logs/site.h"

// rotatelogs as the log program of Debian's apache2. A graceful restart sends TERM to the log programs at once, while
// children of the old generation still have requests to log: Apache's own rotatelogs ends, and their lines get EPIPE.

namespace {

using logs::Apache;
using logs::Count;
using logs::Eventually;
using logs::FileText;
using logs::LinesOf;
using logs::Probe;
using logs::Slow;
namespace fs = std::filesystem;

std::string Ours() {
  return e2e::Program("rotatelogs");
}

class StockApache : public logs::Site {
 protected:
  void SetUp() override {
    Site::SetUp();
    if (!Apache::Installed()) GTEST_SKIP() << "apache2 is not installed";
#ifdef __SANITIZE_ADDRESS__
    // Apache sends its loggers signal after signal. One that meets the sanitizer's search for leaks at a program's end
    // kills the helper that it waits for, and it waits for ever (seen in gdb: StopTheWorld, sched_yield).
    ::setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
#endif
  }

  /// Apache opens its logs twice when it starts; the first log programs get TERM before they have anything to log.
  void Start(Apache& apache) {
    apache.Start();
    EXPECT_TRUE(Eventually([this] {
      ReapLoggers();
      const auto all = logs::EveryProcess();  // those of the server that runs are its children, not ours
      return std::none_of(all.begin(), all.end(),
                          [](const auto& one) { return one.name == "rotatelogs" && one.parent == ::getpid(); });
    }));
  }

  /// Access log through `program`, and the same lines directly: written after them, so what is there was also logged.
  static std::string Both(const std::string& program) {
    return "CustomLog \"|" + program + " {dir}/access 86400\" path\nCustomLog direct path\n";
  }

  /// Every line that Apache wrote directly is in the piped log, once.
  static void ExpectSameLines(const Apache& apache) {
    auto direct = LinesOf(apache.directory(), "direct");
    auto piped = LinesOf(apache.directory(), "access");
    std::sort(direct.begin(), direct.end());
    std::sort(piped.begin(), piped.end());
    EXPECT_TRUE(std::includes(piped.begin(), piped.end(), direct.begin(), direct.end()))
        << direct.size() << " lines were written directly, " << piped.size() << " through the pipe";
    std::map<std::string, int> slow;
    for (const std::string& line : piped) {
      if (line.find("slow?") != std::string::npos) ++slow[line];
    }
    for (const auto& [line, count] : slow) EXPECT_EQ(count, 1) << line;
  }

  /// No log program is left, those that outlived their generation ended well, and no zombie was kept.
  void ExpectNoLoggers() {
    std::vector<int> ended;
    EXPECT_TRUE(Eventually([&] {
      for (const int status : ReapLoggers()) ended.push_back(status);
      return Loggers().empty();
    }));
    for (const int status : ReapLoggers()) ended.push_back(status);
    for (const int status : ended) EXPECT_EQ(status, 0);
  }

  static int ZombiesOf(pid_t parent) {
    int out = 0;
    for (const auto& process : logs::EveryProcess()) out += process.parent == parent && process.state == 'Z';
    return out;
  }
};

TEST_F(StockApache, ARequestAcrossAGracefulRestartIsInOurPipedLogAndNotInThatOfApachesOwn) {
  for (const bool ours : {true, false}) {
    const std::string program = ours ? Ours() : logs::Find("rotatelogs");
    ASSERT_FALSE(program.empty()) << "apache2-utils is not installed";
    SCOPED_TRACE(program);
    Apache apache(root_, {.name = ours ? "ours" : "theirs", .logs = Both(program) + "ErrorLog error.log"});
    ASSERT_NO_FATAL_FAILURE(Start(apache));
    Slow slow(apache, "old");
    ASSERT_NO_FATAL_FAILURE(apache.Graceful());
    ASSERT_TRUE(slow.Finish());
    ASSERT_TRUE(Eventually([&] { return Count(LinesOf(apache.directory(), "direct"), "slow?old 200") == 1; }));
    EXPECT_TRUE(Eventually([&] { return ZombiesOf(apache.Pid()) == 0; }));
    apache.Kill();
    if (ours) {
      ExpectNoLoggers();
      EXPECT_EQ(Count(LinesOf(apache.directory(), "access"), "slow?old 200"), 1U);
      ExpectSameLines(apache);
      EXPECT_EQ(FileText(apache.directory() / "error.log").find("AH00646"), std::string::npos);
    } else {
      // What this test would see if ours behaved like it: the premise of the whole file.
      EXPECT_EQ(Count(LinesOf(apache.directory(), "access"), "slow?old"), 0U);
      EXPECT_NE(FileText(apache.directory() / "error.log").find("AH00646: Error writing to |"), std::string::npos);
    }
  }
}

class StockApacheCgi : public StockApache, public ::testing::WithParamInterface<const char*> {};

TEST_P(StockApacheCgi, WhatAScriptSaysAfterAGracefulRestartIsInOurPipedErrorLog) {
  Apache apache(root_, {.cgi = GetParam(), .logs = Both(Ours()) + "ErrorLog \"|" + Ours() + " {dir}/error 86400\""});
  ASSERT_NO_FATAL_FAILURE(Start(apache));
  Slow slow(apache, "old");
  ASSERT_NO_FATAL_FAILURE(apache.Graceful());
  ASSERT_TRUE(slow.Finish());
  EXPECT_TRUE(Eventually([&] { return Count(LinesOf(apache.directory(), "error"), "old speaks") == 1; }));
  apache.Kill();
  ExpectNoLoggers();
  EXPECT_EQ(Count(LinesOf(apache.directory(), "error"), "old speaks"), 1U);
  ExpectSameLines(apache);
}
INSTANTIATE_TEST_SUITE_P(Module, StockApacheCgi, ::testing::Values("cgi", "cgid"),
                         [](const auto& one) { return std::string(one.param); });

TEST_F(StockApache, AnOldRequestThatOutlivesSeveralGracefulRestartsIsLoggedAndItsLoggerLeavesWithIt) {
  Apache apache(root_, {.mpm = "prefork", .logs = Both(Ours()) + "ErrorLog error.log"});
  ASSERT_NO_FATAL_FAILURE(Start(apache));
  const size_t at_rest = Loggers().size();
  EXPECT_EQ(at_rest, 1U);
  std::vector<std::unique_ptr<Slow>> old;
  for (int i = 0; i < 3; ++i) {
    old.push_back(std::make_unique<Slow>(apache, "g" + std::to_string(i)));
    ASSERT_NO_FATAL_FAILURE(apache.Graceful());
  }
  EXPECT_TRUE(Eventually([&] { return Loggers().size() == at_rest + 3; }))
      << "one for each generation that can still write, and no more: " << Loggers().size();
  for (const size_t i : {1U, 2U, 0U}) ASSERT_TRUE(old[i]->Finish());
  EXPECT_TRUE(Eventually([&] {
    ReapLoggers();
    return Loggers().size() == at_rest;
  })) << "a logger stays after its generation";
  EXPECT_TRUE(Eventually([&] { return ZombiesOf(apache.Pid()) == 0; }));
  apache.Kill();
  ExpectNoLoggers();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Count(LinesOf(apache.directory(), "access"), "slow?g" + std::to_string(i) + " 200"), 1U);
  }
  ExpectSameLines(apache);
}

TEST_F(StockApache, AGracefulStopLogsTheRequestsThatItWaitedFor) {
  Apache apache(root_, {.mpm = "prefork", .logs = Both(Ours()) + "ErrorLog \"|" + Ours() + " {dir}/error 86400\""});
  ASSERT_NO_FATAL_FAILURE(Start(apache));
  Slow slow(apache, "last");
  ASSERT_NO_FATAL_FAILURE(apache.Control("graceful-stop"));
  ASSERT_TRUE(Eventually([&] { return !fs::exists(apache.directory() / "pid"); }));
  ASSERT_TRUE(slow.Finish());
  ASSERT_TRUE(Eventually([&] { return !apache.Runs(); }));
  ExpectNoLoggers();
  EXPECT_EQ(Count(LinesOf(apache.directory(), "access"), "slow?last 200"), 1U);
  EXPECT_EQ(Count(LinesOf(apache.directory(), "error"), "last speaks"), 1U);
  ExpectSameLines(apache);
}

TEST_F(StockApache, HardRestartsUnderLoadLoseNoLineThatApacheWrote) {
  Apache apache(root_, {.mpm = "prefork", .logs = Both(Ours()) + "ErrorLog error.log"});
  ASSERT_NO_FATAL_FAILURE(Start(apache));
  Probe probe(apache);
  for (int i = 0; i < 2; ++i) {
    const int before = probe.answered();
    ASSERT_TRUE(Eventually([&] { return probe.answered() >= before + 20; }));
    ASSERT_NO_FATAL_FAILURE(apache.Control("restart"));
  }
  const int before = probe.answered();
  ASSERT_TRUE(Eventually([&] { return probe.answered() >= before + 20; }));
  probe.Longest();
  ASSERT_NO_FATAL_FAILURE(apache.Stop());
  ExpectNoLoggers();
  EXPECT_GE(LinesOf(apache.directory(), "direct").size(), 60U);
  ExpectSameLines(apache);
}

// Apache waits three seconds for an error logger that does not end on TERM, then kills it; nobody is served meanwhile.
// The stall is measured with a logger that ignores TERM, and has to be absent with ours and without any.
TEST_F(StockApache, OurLoggersDoNotHoldUpAGracefulRestart) {
  const fs::path stubborn = root_ / "ignores-term";
  e2e::WriteFile(stubborn, "#!/bin/sh\ntrap '' TERM\nexec cat >>\"$1\"\n");
  ::chmod(stubborn.c_str(), 0755);
  const std::map<std::string, std::string> kinds = {
      {"direct", "CustomLog access path\nErrorLog error.log"},
      {"ours", "CustomLog \"|" + Ours() + " {dir}/access 86400\" path\nErrorLog \"|" + Ours() + " {dir}/error 86400\""},
      {"stubborn", "CustomLog access path\nErrorLog \"|" + stubborn.string() + " {dir}/error\""}};
  std::map<std::string, double> longest;
  for (const auto& [name, lines] : kinds) {
    SCOPED_TRACE(name);
    Apache apache(root_, {.name = name, .mpm = "prefork", .logs = lines});
    ASSERT_NO_FATAL_FAILURE(Start(apache));
    Slow slow(apache, "old");
    Probe probe(apache);
    ASSERT_TRUE(Eventually([&] { return probe.answered() > 0; }));
    ASSERT_NO_FATAL_FAILURE(apache.Graceful());
    const int before = probe.answered();
    ASSERT_TRUE(Eventually([&] { return probe.answered() >= before + 20; }));
    longest[name] = probe.Longest().count();
    EXPECT_EQ(probe.failed(), 0);
    ASSERT_TRUE(slow.Finish());
    if (name == "stubborn") {
      // Its stop would be held up as well, and teaches nothing.
      for (const auto& process : Mine()) {
        if (process.name == "cat") ::kill(process.pid, SIGKILL);
      }
    }
    apache.Kill();
  }
  ExpectNoLoggers();
  EXPECT_LT(longest["direct"], longest["stubborn"] * 3 / 4);
  EXPECT_LT(longest["ours"], longest["stubborn"] * 3 / 4);
  std::cout << "longest answer across a graceful restart: direct " << longest["direct"] * 1000 << " ms, ours "
            << longest["ours"] * 1000 << " ms, a logger that ignores TERM " << longest["stubborn"] * 1000 << " ms\n";
}

}  // namespace
