#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "os/file.h"
#include "rotatelogs/ledger.h"
#include "rotatelogs/processlogs_options.h"
#include "tests/rotatelogs/harness.h"

namespace {

using harness::Child;
using harness::Execute;
using harness::Files;
using harness::Lines;
using harness::Outcome;
using harness::Start;
using harness::TempDir;
using harness::Wait;
namespace fs = std::filesystem;

/// A directory with segments, an output directory and a ledger.
class Processlogs : public ::testing::Test {
 protected:
  void Segment(const std::string& name, const std::string& content) {
    fs::create_directories(dir_.path() / "logs");
    std::ofstream(dir_.path() / "logs" / name) << content;
  }

  harness::StartOptions Command(std::vector<std::string> options, std::vector<std::string> command,
                                std::vector<std::string> environment = {}) {
    std::vector<std::string> argv = {PROCESSLOGS, "run", "--ledger", "ledger", "--out", "out"};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.push_back("logs/*");
    argv.push_back("--");
    argv.insert(argv.end(), command.begin(), command.end());
    return {argv, dir_.path(), std::move(environment), {}};
  }

  Outcome Process(std::vector<std::string> options, std::vector<std::string> command,
                  std::vector<std::string> environment = {}) {
    return Execute(Command(std::move(options), std::move(command), std::move(environment)));
  }

  std::map<std::string, std::string> Output() {
    std::map<std::string, std::string> out;
    for (const auto& [name, content] : Files(dir_.path() / "out")) {
      if (name[0] != '.') out[name] = content;
    }
    return out;
  }

  /// Lines that the command left of its runs: one per run and segment.
  std::multiset<std::string> Runs() {
    auto text = os::ReadFile(dir_.path() / "runs");
    const auto lines = Lines(text ? text.value() : "");
    return {lines.begin(), lines.end()};
  }

  const std::vector<std::string> kCount = {"sh", "-c", "echo $(basename $SEGMENT) >> runs; wc -l"};
  TempDir dir_;
};

TEST_F(Processlogs, RunsTheCommandOnceForEachSegmentAndNotAgain) {
  Segment("a.1", "1\n2\n3\n");
  Segment("a.2", "1\n");
  const auto first = Process({}, kCount);
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(Output(), (std::map<std::string, std::string>{{"a.1.out", "3\n"}, {"a.2.out", "1\n"}}));
  EXPECT_EQ(Process({}, kCount).status, 0);
  EXPECT_EQ(Runs(), (std::multiset<std::string>{"a.1", "a.2"}));
}

TEST_F(Processlogs, OutputsEndAsAskedAlsoThatOfASecondSegmentOfTheSameName) {
  Segment("a", "1\n");
  EXPECT_EQ(Process({"--suffix", ".count.txt"}, kCount).status, 0);
  fs::rename(dir_.path() / "logs" / "a", dir_.path() / "logs" / "b");
  Segment("a", "1\n2\n");
  EXPECT_EQ(Process({"--suffix", ".count.txt"}, kCount).status, 0);
  const auto output = Output();
  ASSERT_EQ(output.size(), 2U);
  EXPECT_EQ(output.at("a.count.txt"), "1\n");
  for (const auto& [name, content] : output) {
    EXPECT_TRUE(name.starts_with("a.") && name.ends_with(".count.txt")) << name;
  }
}

TEST_F(Processlogs, TellsTheCommandWhatItGets) {
  Segment("a.1", "x\ny\nlast");
  const auto run =
      Process({}, {"sh", "-c", "echo $1 $SEGMENT $ATTEMPT $BYTES $LINES $SHA256 ${#SEGMENT_ID}", "sh", "{}"});
  EXPECT_EQ(run.status, 0) << run.err;
  const std::string path = (dir_.path() / "logs" / "a.1").string();
  EXPECT_EQ(Output()["a.1.out"],
            path + " " + path + " 1 8 3 708d74197ae2eecb29c06772e682b667fc150d409936e066ce236e7b1fa6c56c 32\n");
}

TEST_F(Processlogs, ARenamedSegmentIsTheSameAndANewFileUnderItsNameIsAnother) {
  Segment("a", "1\n");
  EXPECT_EQ(Process({}, kCount).status, 0);
  fs::rename(dir_.path() / "logs" / "a", dir_.path() / "logs" / "a.1");
  Segment("a", "1\n2\n");
  EXPECT_EQ(Process({}, kCount).status, 0);
  EXPECT_EQ(Runs(), (std::multiset<std::string>{"a", "a"}));
  EXPECT_EQ(Output().size(), 2U) << "the second output does not replace the first";
  EXPECT_EQ(Output()["a.out"], "1\n");
}

TEST_F(Processlogs, AFileThatAForeignProcessWritesIsNotSealedAndWhyNamesTheProcess) {
  Segment("a", "1\n");
  Child writer = Start({{"/bin/sh", "-c", "exec cat >> logs/a"}, dir_.path(), {}, {}});
  harness::Write(writer.in, "2\n");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (Files(dir_.path())["logs/a"] != "1\n2\n") ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  const auto run = Process({}, kCount);
  EXPECT_EQ(run.status, 0);
  EXPECT_TRUE(Runs().empty());
  EXPECT_NE(run.out.find("(cat) has it open for writing"), std::string::npos) << run.out;
  const auto why = Execute({{PROCESSLOGS, "why", "logs/a"}, dir_.path(), {}, {}});
  EXPECT_NE(why.out.find("writes: process " + std::to_string(writer.process.pid()) + " (cat)"), std::string::npos)
      << why.out;
  writer.in.Reset();
  EXPECT_EQ(Wait(writer), 0);
  EXPECT_EQ(Process({}, kCount).status, 0);
  EXPECT_EQ(Output()["a.out"], "2\n");
}

TEST_F(Processlogs, TheCurrentSegmentOfALiveRotatelogsIsLeftAloneAndTheOlderOnesAreNot) {
  fs::create_directory(dir_.path() / "logs");
  Child writer = Start({{ROTATELOGS, "-v", "-n", "50", "logs/log", "20B"}, dir_.path(), {}, {}});
  harness::Write(writer.in, "11111111111111111111\n22222222222222222222\n3\n");
  harness::ReadUntil(writer.err, "Closing file logs/log.1");
  const auto run = Process({}, kCount);
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(Runs(), (std::multiset<std::string>{"log", "log.1"}));
  EXPECT_NE(run.out.find("(rotatelogs) logs to it"), std::string::npos) << run.out;
  writer.in.Reset();
  EXPECT_EQ(Wait(writer), 0);
}

TEST_F(Processlogs, ASealedSegmentIsNotTakenUpAgainByAWriter) {
  fs::create_directory(dir_.path() / "logs");
  const harness::StartOptions writer = {{ROTATELOGS, "logs/log.%Y", "10M"}, dir_.path(), {}, {}};
  EXPECT_EQ(Execute(writer, "one\n").status, 0);
  // A size-only writer that is gone leaves nothing current once its second is over.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (Runs().empty()) {
    EXPECT_EQ(Process({}, kCount).status, 0);
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  EXPECT_EQ(Execute(writer, "two\n").status, 0);
  std::set<std::string> contents;
  for (const auto& [name, content] : Files(dir_.path() / "logs")) contents.insert(content);
  EXPECT_EQ(contents, (std::set<std::string>{"one\n", "two\n"}));
}

TEST_F(Processlogs, AFailureIsRetriedLaterAndQuarantinedAfterNAttempts) {
  Segment("a", "1\n");
  const std::vector<std::string> failing = {"sh", "-c", "echo half; echo no luck >&2; exit 3"};
  const auto first = Process({"--attempts", "2"}, failing);
  EXPECT_EQ(first.status, 1);
  EXPECT_NE(first.err.find("no luck"), std::string::npos) << first.err;
  EXPECT_TRUE(Output().empty()) << "half an output is none";
  const auto early = Process({"--attempts", "2"}, kCount);
  EXPECT_EQ(early.status, 0);
  EXPECT_TRUE(Runs().empty()) << "the back-off is not over";
  EXPECT_EQ(Execute({{PROCESSLOGS, "retry", "--ledger", "ledger", "logs/a"}, dir_.path(), {}, {}}).status, 0);
  EXPECT_EQ(Process({"--attempts", "1"}, failing).status, 1);
  const auto status = Execute({{PROCESSLOGS, "status", "--ledger", "ledger"}, dir_.path(), {}, {}});
  EXPECT_NE(status.out.find("1 quarantined"), std::string::npos) << status.out;
  EXPECT_NE(status.out.find("no luck"), std::string::npos) << status.out;
  EXPECT_EQ(Process({}, kCount).status, 0);
  EXPECT_TRUE(Runs().empty()) << "quarantined: left alone";
  EXPECT_EQ(Execute({{PROCESSLOGS, "retry", "--ledger", "ledger", "logs/a"}, dir_.path(), {}, {}}).status, 0);
  EXPECT_EQ(Process({}, kCount).status, 0);
  EXPECT_EQ(Output()["a.out"], "1\n");
}

TEST_F(Processlogs, ACommandThatRunsTooLongIsEndedWithItsChildren) {
  Segment("a", "1\n");
  const auto run = Process({"--timeout", "1", "--attempts", "1"}, {"sh", "-c", "sleep 600; true"});
  EXPECT_EQ(run.status, 1);
  EXPECT_NE(run.err.find("longer than 1 s"), std::string::npos) << run.err;
}

TEST_F(Processlogs, CompressedCopiesHoldTheSameBytesAndAreNotProcessedThemselves) {
  for (const auto& [kind, tool] : std::map<std::string, std::string>{{"gzip", "gzip -dc"}}) {
    std::string text;
    for (int i = 0; i < 50000; ++i) text += "line " + std::to_string(i) + "\n";
    Segment("a", text);
    const auto run = Process({"--compress", kind}, kCount);
    EXPECT_EQ(run.status, 0) << run.err;
    EXPECT_FALSE(fs::exists(dir_.path() / "logs" / "a"));
    const auto back = Execute({{"/bin/sh", "-c", tool + " logs/a.gz"}, dir_.path(), {}, {}});
    EXPECT_EQ(back.out, text);
    EXPECT_EQ(Process({"--compress", kind}, kCount).status, 0);
    EXPECT_EQ(Runs().size(), 1U);
  }
}

TEST_F(Processlogs, ADryRunChangesNothing) {
  Segment("a", "1\n");
  const auto run = Process({"--dry-run"}, kCount);
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_NE(run.out.find("would-process"), std::string::npos);
  EXPECT_FALSE(fs::exists(dir_.path() / "ledger"));
  EXPECT_FALSE(fs::exists(dir_.path() / "out"));
  EXPECT_TRUE(Runs().empty());
}

TEST_F(Processlogs, TwoRunsAtOnceDoEachSegmentOnce) {
  std::multiset<std::string> names;
  for (int i = 0; i < 12; ++i) {
    names.insert("a." + std::to_string(i));
    Segment("a." + std::to_string(i), std::to_string(i) + "\n");
  }
  std::vector<Child> runs;
  for (int i = 0; i < 3; ++i) runs.push_back(Start(Command({}, kCount)));
  for (auto& run : runs) {
    const std::string said = harness::ReadToEnd(run.out) + harness::ReadToEnd(run.err);
    EXPECT_EQ(Wait(run), 0) << said;
  }
  EXPECT_EQ(Process({}, kCount).status, 0);
  EXPECT_EQ(Runs(), names);
  EXPECT_EQ(Output().size(), names.size());
}

std::string UsageOf(std::vector<std::string> words) {
  words.insert(words.begin(), "processlogs");
  const auto parsed = rotatelogs::ParseProcesslogs(words);
  const auto* error = std::get_if<rotatelogs::UsageError>(&parsed);
  return error ? error->message : "(accepted)";
}

TEST(ProcesslogsCommandLine, SizesAreInPowersOf1024) {
  const auto parsed = rotatelogs::ParseProcesslogs(
      {"processlogs", "run", "--ledger", "l", "--keep-bytes", "3G", "--keep-age", "2", "--keep-count", "7", "x"});
  const auto* run = std::get_if<rotatelogs::RunOptions>(&parsed);
  ASSERT_NE(run, nullptr);
  EXPECT_EQ(run->keep.bytes, int64_t{3} << 30);
  EXPECT_EQ(run->keep.seconds, 2 * 86400);
  EXPECT_EQ(run->keep.count, 7);
}

TEST(ProcesslogsCommandLine, BadInputIsOneClearLine) {
  EXPECT_EQ(UsageOf({}), "a verb is missing: run, status, why, retry or verify");
  EXPECT_EQ(UsageOf({"go"}), "no such verb: go (run, status, why, retry, verify)");
  EXPECT_EQ(UsageOf({"run", "x", "--", "true"}), "run: --ledger is missing");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--", "true"}), "run: no PATTERN is given");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "x"}),
            "run: -- and a command are missing (only --compress and --keep-... do without)");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "x", "--"}), "run: no command follows --");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--keep-age", "30", "x"}), "(accepted)");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--compress", "gzip", "x"}), "(accepted)");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--compress", "rar", "x", "--", "true"}),
            "run: --compress takes zstd, gzip or none");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--attempts", "0", "x", "--", "true"}),
            "run: --attempts takes a number, 1 or more");
  for (const char* jobs : {"0", "257"}) {
    EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--jobs", jobs, "x", "--", "true"}),
              "run: --jobs takes a number, 1 to 256");
  }
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--suffix", ".html", "x", "--", "true"}),
            "run: --suffix is for the names of outputs: --out is missing");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--out", "o", "--suffix", "/x", "x", "--", "true"}),
            "run: --suffix takes the end of a file name, as .html");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--keep-count", "0", "x"}),
            "run: --keep-count takes a number of segments, 1 or more");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--keep-age", "0", "x"}), "run: --keep-age takes days, 1 or more");
  for (const char* size : {"", "0", "-1", "1X", "1KB", "99999999999T", "K"}) {
    EXPECT_EQ(UsageOf({"run", "--ledger", "l", "--keep-bytes", size, "x"}),
              "run: --keep-bytes takes a size, 1 or more, as 500M (units K, M, G, T)")
        << size;
  }
  EXPECT_EQ(UsageOf({"verify"}), "verify: --ledger is missing");
  EXPECT_EQ(UsageOf({"verify", "--ledger", "l", "x"}), "verify: takes no operand");
  EXPECT_EQ(UsageOf({"run", "--ledger", "l", "x", "y", "--", "cmd", "--json"}), "(accepted)");
}

}  // namespace
