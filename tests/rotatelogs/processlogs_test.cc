#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <set>
#include <sstream>

#include "rotatelogs/processlogs_options.h"
#include "tests/rotatelogs/processlogs_fixture.h"

namespace {

using harness::Child;
using harness::Execute;
using harness::Files;
using harness::Processlogs;
using harness::Start;
using harness::Wait;
namespace fs = std::filesystem;

TEST_F(Processlogs, RunsTheCommandOnceForEachSegmentAndNotAgain) {
  Segment("a.1", "1\n2\n3\n");
  Segment("a.2", "1\n");
  const auto first = Process({}, kCount);
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(Output(), (std::map<std::string, std::string>{{"a.1.out", "3\n"}, {"a.2.out", "1\n"}}));
  EXPECT_EQ(Process({}, kCount).status, 0);
  EXPECT_EQ(Runs(), (std::multiset<std::string>{"a.1", "a.2"}));
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

TEST_F(Processlogs, TheBackOffDoublesWithEachFailureAndIsNotTheSameForAll) {
  for (int i = 0; i < 8; ++i) Segment("a." + std::to_string(i), "1\n");
  const std::vector<std::string> failing = {"sh", "-c", "exit 3"};
  int64_t base = 60;
  for (int attempt = 1; attempt <= 4; ++attempt, base *= 2) {
    EXPECT_EQ(Process({}, failing).status, 1);
    auto ledger = rotatelogs::Ledger::Open(dir_.path() / "ledger", rotatelogs::Ledger::Mode::kWrite);
    ASSERT_TRUE(ledger) << ledger.error().Text();
    auto records = ledger.value()->All();
    ASSERT_TRUE(records);
    ASSERT_EQ(records.value().size(), 8U);
    std::set<int64_t> waits;
    for (auto& record : records.value()) {
      EXPECT_EQ(record.state, rotatelogs::State::kRetry);
      EXPECT_EQ(record.attempts, attempt);
      const int64_t wait = record.next_at - record.updated;
      EXPECT_GE(wait, base - 1);
      EXPECT_LE(wait, base + base / 10 + 1);
      waits.insert(wait);
      record.next_at = 0;  // due at once
      ASSERT_TRUE(ledger.value()->Put({&record}));
    }
    if (attempt >= 3) {
      EXPECT_GT(waits.size(), 1U) << "they all come back in the same second";
    }
  }
}

TEST_F(Processlogs, ExitStatus65IsFinal) {
  Segment("a", "1\n");
  const auto run = Process({}, {"sh", "-c", "echo not a log >&2; exit 65"});
  EXPECT_EQ(run.status, 1);
  EXPECT_NE(run.out.find("quarantined"), std::string::npos) << run.out;
  EXPECT_NE(Ask("why", {"logs/a"}).out.find("not a log"), std::string::npos);
}

TEST_F(Processlogs, AReusedInodeDoesNotInheritWhatWasDoneWithItsPredecessor) {
  Segment("a", "old\n");
  EXPECT_EQ(Process({}, kCount).status, 0);
  struct stat before {};
  ASSERT_EQ(::stat((dir_.path() / "logs" / "a").c_str(), &before), 0);
  fs::remove(dir_.path() / "logs" / "a");
  struct stat after {};
  for (int i = 0; i < 200 && after.st_ino != before.st_ino; ++i) {
    fs::remove(dir_.path() / "logs" / "a");
    Segment("a", "new\nnew\n");
    ASSERT_EQ(::stat((dir_.path() / "logs" / "a").c_str(), &after), 0);
  }
  if (after.st_ino != before.st_ino) GTEST_SKIP() << "this file system did not reuse the inode";
  EXPECT_EQ(Process({}, kCount).status, 0);
  EXPECT_EQ(Runs().size(), 2U);
}

TEST_F(Processlogs, ASegmentThatIsNotFinishedIsOpenInTheLedgerAndStatusSaysWhy) {
  Segment("a", "1\n");
  Child writer = Start({{"/bin/sh", "-c", "exec cat >> logs/a"}, dir_.path(), {}, {}});
  const std::string id = IdOf("a");
  ASSERT_TRUE(Eventually([&] {
    EXPECT_EQ(Process({}, kCount).status, 0);
    return RecordOf(id).words.find("has it open for writing") != std::string::npos;
  }));
  EXPECT_EQ(RecordOf(id).state, rotatelogs::State::kOpen);
  const auto status = Ask("status");
  EXPECT_NE(status.out.find("open " + (dir_.path() / "logs" / "a").string()), std::string::npos) << status.out;
  EXPECT_NE(status.out.find("(cat) has it open for writing"), std::string::npos) << status.out;
  writer.in.Reset();
  EXPECT_EQ(Wait(writer), 0);
}

TEST_F(Processlogs, JobsRunSideBySideAndNeverMoreThanAsked) {
  for (int i = 0; i < 9; ++i) Segment("a." + std::to_string(i), "1\n");
  fs::create_directory(dir_.path() / "running");
  // Each waits until three have been there at once, and counts who is there with it.
  const std::string script =
      "name=$(basename $SEGMENT); : > running/$name; n=$(ls running | wc -l); echo $n >> counts; "
      "[ $n -ge 3 ] && : > met; i=0; while [ ! -e met ] && [ $i -lt 1000 ]; do i=$((i+1)); sleep 0.01; done; "
      "rm running/$name; [ -e met ]";
  const auto run = Process({"--jobs", "3"}, {"sh", "-c", script});
  EXPECT_EQ(run.status, 0) << run.out << run.err;
  auto counts = os::ReadFile(dir_.path() / "counts");
  ASSERT_TRUE(counts);
  for (const std::string& count : harness::Lines(counts.value())) EXPECT_LE(std::stoi(count), 3);
}

TEST_F(Processlogs, TheOldestSegmentsComeFirst) {
  for (int i = 0; i < 6; ++i) Segment("a." + std::to_string(i), "1\n", 100 + 10 * i);
  EXPECT_EQ(Process({}, kCount).status, 0);
  auto runs = os::ReadFile(dir_.path() / "runs");
  ASSERT_TRUE(runs);
  EXPECT_EQ(runs.value(), "a.5\na.4\na.3\na.2\na.1\na.0\n");
}

TEST_F(Processlogs, WithoutACommandWhatIsNewIsLeftAloneAndWhatIsDoneIsCompressed) {
  Segment("a", "1\n");
  EXPECT_EQ(Process({}, kCount).status, 0);
  Segment("b", "1\n");
  const auto run = Process({"--compress", "gzip"}, {});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(Names(), (std::set<std::string>{"a.gz", "b"}));
  EXPECT_EQ(Process({}, kCount).status, 0);
  EXPECT_EQ(Runs(), (std::multiset<std::string>{"a", "b"}));
}

TEST_F(Processlogs, JsonIsNothingButObjectsAlsoWhenSomethingFails) {
  Segment("a", "1\n");
  Segment("b", "1\n");
  const auto run = Process({"--json"}, {"sh", "-c", "echo oops >&2; [ $(basename $SEGMENT) = a ]"});
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(run.err, "");
  const auto lines = harness::Lines(run.out);
  ASSERT_EQ(lines.size(), 3U) << run.out;
  for (const std::string& line : lines) {
    EXPECT_TRUE(line.starts_with("{\"event\":\"") && line.ends_with("}")) << line;
  }
  EXPECT_NE(run.out.find("{\"event\":\"failed\""), std::string::npos) << run.out;
  EXPECT_TRUE(lines.back().starts_with("{\"event\":\"summary\"")) << run.out;
}

TEST_F(Processlogs, ASettledSegmentCostsOneStatxAndNoOtherSystemCall) {
  with_out_ = false;
  const auto calls = [this](std::map<std::string, int64_t>& counted) {
    auto command = Command({"--jobs", "8"}, {"true"});
    command.argv.insert(command.argv.begin(), {"/usr/bin/strace", "-f", "-c", "-o", "calls"});
    command.environment = {"ASAN_OPTIONS=detect_leaks=0"};  // which needs ptrace for itself
    const auto run = Execute(command);
    ASSERT_EQ(run.status, 0) << run.err;
    auto table = os::ReadFile(dir_.path() / "calls");
    ASSERT_TRUE(table);
    for (const std::string& line : harness::Lines(table.value())) {
      std::istringstream words(line);
      std::vector<std::string> fields;
      for (std::string field; words >> field;) fields.push_back(field);
      if (fields.size() < 5 || !std::isdigit(static_cast<unsigned char>(fields[0][0]))) continue;
      counted[fields.back()] += std::stoll(fields[3]);
    }
  };
  if (::access("/usr/bin/strace", X_OK) != 0) GTEST_SKIP() << "strace is not installed";
  const auto fill = [this](int from, int to) {
    for (int i = from; i < to; ++i) Segment("access." + std::to_string(100000 + i), "1\n");
    ASSERT_EQ(Execute(Command({"--jobs", "8"}, {"true"})).status, 0);
  };
  std::map<std::string, int64_t> few;
  std::map<std::string, int64_t> many;
  fill(0, 30);
  calls(few);
  fill(30, 130);
  calls(many);
  EXPECT_EQ(many["statx"] - few["statx"], 100);
  EXPECT_EQ(many["openat"], few["openat"]);
  int64_t other = 0;
  for (const auto& [name, count] : many) {
    if (name != "statx" && name != "total") other += count - few[name];
  }
  EXPECT_LT(other, 40) << "the directory and the ledger's index are read in blocks";
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
