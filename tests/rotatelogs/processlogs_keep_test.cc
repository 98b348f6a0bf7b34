// Expiry, verification, and ledgers of other releases.
#include <Poco/Data/SQLite/Connector.h>
#include <Poco/Data/Session.h>
#include <gtest/gtest.h>

#include <set>

#include "rotatelogs/compress.h"
#include "tests/rotatelogs/processlogs_fixture.h"

namespace {

using harness::Child;
using harness::Execute;
using harness::Processlogs;
using harness::Start;
using harness::Wait;
using rotatelogs::State;
using namespace Poco::Data::Keywords;
namespace fs = std::filesystem;
using Set = std::set<std::string>;

constexpr int kDay = 86400;

TEST_F(Processlogs, KeepCountRemovesTheOldestThatAreDoneAndNoOutput) {
  for (int i = 0; i < 5; ++i) Segment("a." + std::to_string(i), "1\n", 100 * (5 - i));
  const std::string id = IdOf("a.0");
  const auto run = Process({"--keep-count", "2"}, kCount);
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(Names(), (Set{"a.3", "a.4"}));
  EXPECT_EQ(Output().size(), 5U);
  EXPECT_EQ(RecordOf(id).state, State::kExpired);
  EXPECT_EQ(Process({"--keep-count", "2"}, kCount).status, 0);
  EXPECT_EQ(Runs().size(), 5U);
}

TEST_F(Processlogs, KeepAgeAndKeepBytesRemoveWhatExceedsThem) {
  Segment("old", "1\n", 3 * kDay);
  Segment("a", std::string(600, 'x'), 300);
  Segment("b", std::string(600, 'x'), 200);
  EXPECT_EQ(Process({"--keep-age", "2"}, kCount).status, 0);
  EXPECT_EQ(Names(), (Set{"a", "b"}));
  EXPECT_EQ(Process({"--keep-bytes", "1K"}, {}).status, 0) << "needs no command";
  EXPECT_EQ(Names(), Set{"b"});
}

TEST_F(Processlogs, WhatIsNotDoneIsNeverExpiredHoweverOld) {
  Segment("fails", "1\n", 9 * kDay);
  Segment("bad", "1\n", 9 * kDay);
  EXPECT_EQ(Process({}, {"sh", "-c", "[ $(basename $SEGMENT) = bad ] && exit 65; exit 1"}).status, 1);
  Segment("open", "1\n");
  Segment("reopened", "1\n");
  Child writer = Start({{"/bin/sh", "-c", "exec cat >> logs/open"}, dir_.path(), {}, {}});
  ASSERT_TRUE(Eventually([&] { return Ask("why", {"logs/open"}).out.find("(cat)") != std::string::npos; }));
  for (const char* name : {"open", "reopened"}) {
    fs::last_write_time(dir_.path() / "logs" / name, fs::file_time_type::clock::now() - std::chrono::hours(24 * 9));
  }
  EXPECT_EQ(Process({}, kCount).status, 0);
  EXPECT_EQ(Runs(), std::multiset<std::string>{"reopened"});
  Child again = Start({{"/bin/sh", "-c", "exec cat >> logs/reopened"}, dir_.path(), {}, {}});
  ASSERT_TRUE(Eventually([&] { return Ask("why", {"logs/reopened"}).out.find("(cat)") != std::string::npos; }));
  const auto run = Process({"--keep-age", "1", "--keep-count", "1", "--keep-bytes", "1"}, {});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(Names(), (Set{"bad", "fails", "open", "reopened"})) << run.out;
  for (Child* child : {&writer, &again}) {
    child->in.Reset();
    EXPECT_EQ(Wait(*child), 0);
  }
  EXPECT_EQ(Process({"--keep-age", "1"}, {}).status, 0);
  EXPECT_EQ(Names(), (Set{"bad", "fails", "open"}));
}

TEST_F(Processlogs, ASegmentThatGrewAfterItWasDoneIsNotExpired) {
  Segment("a", "1\n");
  EXPECT_EQ(Process({}, kCount).status, 0);
  std::ofstream(dir_.path() / "logs" / "a", std::ios::app) << "2\n";
  fs::last_write_time(dir_.path() / "logs" / "a", fs::file_time_type::clock::now() - std::chrono::hours(24 * 9));
  const auto run = Process({"--keep-age", "1"}, {});
  EXPECT_NE(run.err.find("it has changed since it was processed"), std::string::npos) << run.err;
  EXPECT_EQ(Names(), Set{"a"});
}

TEST_F(Processlogs, ADryRunSaysWhatWouldExpireAndRemovesNothing) {
  for (int i = 0; i < 3; ++i) Segment("a." + std::to_string(i), "1\n", 100 * (3 - i));
  EXPECT_EQ(Process({}, kCount).status, 0);
  const auto run = Process({"--dry-run", "--keep-count", "1"}, {});
  EXPECT_NE(run.out.find("would-expire " + (dir_.path() / "logs" / "a.0").string()), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("a.1"), std::string::npos) << run.out;
  EXPECT_EQ(run.out.find("a.2"), std::string::npos) << run.out;
  EXPECT_EQ(Names().size(), 3U);
}

TEST_F(Processlogs, VerifyFindsNothingWhenAllIsAsRecordedAlsoAfterARename) {
  Segment("a", "1\n");
  Segment("b", "1\n");
  EXPECT_EQ(Process({"--compress", "zstd"}, kCount).status, 0);
  Segment("c", "1\n");
  EXPECT_EQ(Process({}, kCount).status, 0);
  fs::rename(dir_.path() / "logs" / "c", dir_.path() / "logs" / "c.1");
  const auto verified = Ask("verify");
  EXPECT_EQ(verified.status, 0);
  EXPECT_EQ(verified.out, "3 checked, 0 differ\n");
}

TEST_F(Processlogs, VerifyNamesEveryDifference) {
  for (const char* name : {"changed", "gone", "out-gone", "out-changed", "out-replaced"}) Segment(name, "1\n");
  EXPECT_EQ(Process({}, kCount).status, 0);
  Segment("copy", "1\n2\n");
  with_out_ = false;
  auto compress = Command({"--compress", "zstd"}, {"true"});
  for (std::string& word : compress.argv) word = word == "logs/*" ? "logs/copy" : word;
  EXPECT_EQ(Execute(compress).status, 0);
  const auto overwrite = [this](const std::string& name, const std::string& text) {
    std::fstream file(dir_.path() / name, std::ios::in | std::ios::out);
    file << text;
  };
  overwrite("logs/changed", "2\n");
  fs::remove(dir_.path() / "logs" / "gone");
  fs::remove(dir_.path() / "out" / "out-gone.out");
  overwrite("out/out-changed.out", "7\n");
  std::ofstream(dir_.path() / "new") << "1\n";
  fs::rename(dir_.path() / "new", dir_.path() / "out" / "out-replaced.out");
  overwrite("logs/copy.zst", "not a copy");
  const auto verified = Ask("verify");
  EXPECT_EQ(verified.status, 1);
  const std::string top = dir_.path().string();
  for (const std::string& line :
       {"changed " + top + "/logs/changed: the segment does not hold", "missing " + top + "/logs/gone: the segment is",
        "missing " + top + "/out/out-gone.out: the output is gone",
        "changed " + top + "/out/out-changed.out: the output was changed",
        "replaced " + top + "/out/out-replaced.out: is not the output",
        "unreadable " + top + "/logs/copy.zst: the compressed copy is damaged"}) {
    EXPECT_NE(verified.out.find(line), std::string::npos) << line << "\n" << verified.out;
  }
  EXPECT_NE(verified.out.find("6 checked, 6 differ"), std::string::npos) << verified.out;
  const auto json = Ask("verify", {"--json"});
  EXPECT_EQ(json.status, 1);
  for (const std::string& line : harness::Lines(json.out)) EXPECT_TRUE(line.starts_with("{\"event\":")) << line;
}

TEST_F(Processlogs, VerifyWithoutALedgerIsExitStatus3) {
  const auto verified = Ask("verify");
  EXPECT_EQ(verified.status, 3);
  EXPECT_EQ(verified.err, "processlogs: ledger ledger does not exist\n");
}

/// The table of the first release, which had no schema number.
constexpr const char* kFirstTable =
    "CREATE TABLE segments (id TEXT PRIMARY KEY, path TEXT NOT NULL, state TEXT NOT NULL, "
    "attempts INTEGER NOT NULL, next_at INTEGER NOT NULL, updated INTEGER NOT NULL, bytes INTEGER NOT NULL, "
    "lines INTEGER NOT NULL, sha256 TEXT NOT NULL, output TEXT NOT NULL, output_id TEXT NOT NULL, "
    "temporary TEXT NOT NULL, archive_id TEXT NOT NULL, words TEXT NOT NULL)";

TEST_F(Processlogs, TheLedgerOfTheFirstReleaseIsReadAndThenUpgraded) {
  Segment("a", "1\n");
  Segment("b", "1\n");
  Segment("c.gz", "a copy");
  Segment("out", "1\n");
  Poco::Data::SQLite::Connector::registerConnector();
  const auto path = (dir_.path() / "ledger").string();
  const auto version = [&path] {
    Poco::Data::Session session("SQLite", path);
    int64_t out = -1;
    session << "PRAGMA user_version", into(out), now;
    return out;
  };
  {
    Poco::Data::Session session("SQLite", path);
    session << kFirstTable, now;
    std::string a = IdOf("a");
    std::string b = IdOf("b");
    std::string output = IdOf("out");
    std::string copy = IdOf("c.gz");
    std::string of_copy(32, '7');
    std::string where = (dir_.path() / "logs" / "c.gz").string();
    session << "INSERT INTO segments VALUES (?, '/gone/a', 'done', 1, 0, 5, 2, 1, '', '/o', ?, '', '', '')", use(a),
        use(output), now;
    session << "INSERT INTO segments VALUES (?, '/gone/b', 'retry', 3, 0, 6, 2, 1, '', '', '', '', '', 'no luck')",
        use(b), now;
    session << "INSERT INTO segments VALUES (?, ?, 'compressed', 1, 0, 7, 2, 1, '', '', '', '', ?, '')", use(of_copy),
        use(where), use(copy), now;
  }
  const auto status = Ask("status");
  EXPECT_EQ(status.status, 0) << status.err;
  EXPECT_NE(status.out.find("1 compressed, 1 done, 1 retry"), std::string::npos) << status.out;
  EXPECT_EQ(version(), 0) << "who only reads changes nothing";
  const auto run = Process({}, {"sh", "-c", "echo $(basename $SEGMENT) >> runs; echo $ATTEMPT"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(version(), 2);
  EXPECT_EQ(Runs(), std::multiset<std::string>{"b"}) << "a is done, the others are an output and a copy";
  EXPECT_EQ(Output()["b.out"], "4\n") << "attempts are kept";
  EXPECT_EQ(RecordOf(std::string(32, '7')).archive, (dir_.path() / "logs" / "c.gz").string());
}

TEST_F(Processlogs, ALedgerOfANewerReleaseIsRefusedAndNotTouched) {
  Segment("a", "1\n");
  EXPECT_EQ(Process({}, kCount).status, 0);
  Poco::Data::SQLite::Connector::registerConnector();
  {
    Poco::Data::Session session("SQLite", (dir_.path() / "ledger").string());
    session << "PRAGMA user_version = 3", now;
  }
  for (const char* verb : {"status", "verify"}) {
    const auto asked = Ask(verb);
    EXPECT_EQ(asked.status, 3);
    EXPECT_EQ(asked.err,
              "processlogs: ledger ledger was made by a newer release (schema 3, this one knows 2): use that release's "
              "processlogs\n");
  }
  EXPECT_EQ(Process({}, kCount).status, 3);
}

TEST_F(Processlogs, StatusIsForUsersWhoMayOnlyRead) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  Segment("a", "1\n");
  EXPECT_EQ(Process({}, kCount).status, 0);
  const auto status = Execute({{PROCESSLOGS, "status", "--ledger", "ledger"}, dir_.path(), {}, uid_t{65534}});
  EXPECT_EQ(status.status, 0) << status.err;
  EXPECT_EQ(status.out, "1 done\n");
}

TEST_F(Processlogs, AFileThatIsNoLedgerIsOneClearLine) {
  Segment("a", "1\n");
  std::ofstream(dir_.path() / "ledger") << std::string(5000, 'x');
  const auto run = Process({}, kCount);
  EXPECT_EQ(run.status, 3);
  EXPECT_TRUE(run.err.starts_with("processlogs: ledger ledger: ")) << run.err;
  EXPECT_EQ(harness::Lines(run.err).size(), 1U) << run.err;
}

}  // namespace
