#include "orchestrator/journal.h"

#include <Poco/Data/Session.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "orchestrator/report.h"
#include "os/file.h"
#include "tests/support/fake_clock.h"

namespace {

namespace fs = std::filesystem;
using orchestrator::Intent;
using orchestrator::Journal;
using orchestrator::Step;
using testing::HasSubstr;

class JournalFile : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/baton-journal.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override { fs::remove_all(directory_); }

  Journal Open() const {
    auto journal = Journal::Open(directory_, Journal::Mode::kCreate, clock_);
    EXPECT_TRUE(journal) << journal.error().Text();
    return std::move(journal).value();
  }
  fs::path File() const { return directory_ / "journal.db"; }
  std::vector<std::string> Names() const { return os::ListDirectory(directory_).value(); }

  static Intent Sample() {
    Intent intent;
    intent.command = "upgrade";
    intent.from.id = {41, 4100, "boot"};
    intent.from.version = "1.0";
    intent.from.binary = "/opt/old \"httpd\"";
    intent.from.kept = "k1";
    intent.from.arguments = {"-D", "SSL"};
    intent.from.environment = {"SECRET=x", "EMPTY="};
    intent.from.directory = "/srv";
    intent.to.version = "2.0";
    intent.listeners = {"0.0.0.0:80", "[::]:443"};
    intent.ready_timeout = std::chrono::milliseconds(500);
    intent.bake = std::chrono::milliseconds(10000);
    intent.graceful_shutdown_timeout = 7;
    return intent;
  }

  /// Makes the record that of a process which had our pid and has ended.
  void LoseOrchestrator(int64_t id) const {
    Poco::Data::Session session("SQLite", File().string());
    session << "UPDATE upgrades SET start_time = start_time - 1 WHERE id = " + std::to_string(id),
        Poco::Data::Keywords::now;
  }

  fs::path directory_;
  mutable tests::FakeClock clock_;
};

TEST_F(JournalFile, TellsWhatWasRecordedNewestFirst) {
  {
    Journal journal = Open();
    const int64_t first = journal.BeginUpgrade(Sample()).value();
    auto facts = orchestrator::Ordered();
    facts.set("steady_ms", 12);
    ASSERT_TRUE(journal.BeginStep(first, Step::kPlanned, facts));
    ASSERT_TRUE(journal.EndStep(first, Step::kPlanned, "succeeded", "it's fine"));
    ASSERT_TRUE(journal.BeginStep(first, Step::kLaunched, facts));
    ASSERT_TRUE(journal.NameNewcomer(first, {42, 4200, "boot"}));
    ASSERT_TRUE(journal.End(first, 4, "2 requests were cut", {2, 5}));
    ASSERT_TRUE(journal.BeginUpgrade(Sample()));
  }
  const auto records = Open().History().value();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].id, records[1].id + 1);
  EXPECT_FALSE(records[0].ended);
  const auto& record = records[1];
  EXPECT_EQ(record.intent.command, "upgrade");
  EXPECT_EQ(record.intent.from.id, (os::ProcessId{41, 4100, "boot"}));
  EXPECT_EQ(record.intent.from.binary, "/opt/old \"httpd\"");
  EXPECT_EQ(record.intent.from.kept, "k1");
  EXPECT_EQ(record.intent.from.arguments, (std::vector<std::string>{"-D", "SSL"}));
  EXPECT_EQ(record.intent.from.directory, "/srv");
  EXPECT_EQ(record.intent.to.id, (os::ProcessId{42, 4200, "boot"}));
  EXPECT_EQ(record.intent.to.version, "2.0");
  EXPECT_EQ(record.intent.listeners, (std::vector<std::string>{"0.0.0.0:80", "[::]:443"}));
  EXPECT_EQ(record.intent.ready_timeout, std::chrono::milliseconds(500));
  EXPECT_EQ(record.intent.bake, std::chrono::seconds(10));
  EXPECT_EQ(record.intent.graceful_shutdown_timeout, 7);
  EXPECT_EQ(record.orchestrator, os::Identify(::getpid()).value());
  EXPECT_EQ(record.exit_status, 4);
  EXPECT_EQ(record.reason, "2 requests were cut");
  EXPECT_EQ(record.losses.cut, 2);
  EXPECT_EQ(record.losses.errors, 5);
  ASSERT_EQ(record.steps.size(), 2U);
  EXPECT_EQ(record.steps[0].result, "succeeded");
  EXPECT_EQ(record.steps[0].detail, "it's fine");
  EXPECT_TRUE(record.steps[0].ended);
  EXPECT_EQ(record.steps[0].facts, "{\"steady_ms\":12}");
  EXPECT_EQ(record.steps[1].step, Step::kLaunched);
  EXPECT_FALSE(record.steps[1].ended);
  EXPECT_EQ(record.LastBegun(), Step::kLaunched);
}

TEST_F(JournalFile, KeepsTheEnvironmentOnlyWhileItMayBeNeeded) {
  Journal journal = Open();
  const int64_t id = journal.BeginUpgrade(Sample()).value();
  EXPECT_EQ(journal.History().value()[0].intent.from.environment, Sample().from.environment);
  ASSERT_TRUE(journal.End(id, 0, "done"));
  EXPECT_TRUE(journal.History().value()[0].intent.from.environment.empty());
}

TEST_F(JournalFile, FindsWhatAProcessThatIsGoneHadBegunAndNothingElse) {
  Journal journal = Open();
  const int64_t ended = journal.BeginUpgrade(Sample()).value();
  ASSERT_TRUE(journal.End(ended, 0, "done"));
  const int64_t lost = journal.BeginUpgrade(Sample()).value();
  ASSERT_TRUE(journal.BeginStep(lost, Step::kSwitched, orchestrator::Ordered()));
  ASSERT_TRUE(journal.BeginUpgrade(Sample()));  // ours, and we are at it
  LoseOrchestrator(ended);
  LoseOrchestrator(lost);
  auto interrupted = journal.Interrupted();
  ASSERT_TRUE(interrupted) << interrupted.error().Text();
  ASSERT_EQ(interrupted.value().size(), 1U);
  EXPECT_EQ(interrupted.value()[0].id, lost);
  EXPECT_EQ(interrupted.value()[0].LastBegun(), Step::kSwitched);
  ASSERT_TRUE(journal.TakeUp(lost));
  EXPECT_TRUE(journal.Interrupted().value().empty()) << "it is in our hands now";
}

TEST_F(JournalFile, KeepsTheLastHundredAndEveryOneThatHasNotEnded) {
  Journal journal = Open();
  const int64_t open = journal.BeginUpgrade(Sample()).value();
  int64_t last = 0;
  for (int i = 0; i < 105; ++i) {
    last = journal.BeginUpgrade(Sample()).value();
    ASSERT_TRUE(journal.BeginStep(last, Step::kPlanned, orchestrator::Ordered()));
    ASSERT_TRUE(journal.End(last, 0, "done"));
  }
  const auto all = journal.History(1000).value();
  ASSERT_EQ(all.size(), 101U);
  EXPECT_EQ(all.front().id, last);
  EXPECT_EQ(all[99].id, last - 99);
  EXPECT_EQ(all.back().id, open);
  EXPECT_EQ(journal.History().value().size(), 100U);
}

TEST_F(JournalFile, IsReadableByNobodyElse) {
  const mode_t before = ::umask(0);
  {
    Journal journal = Open();
    ASSERT_TRUE(journal.BeginUpgrade(Sample()));
    for (const std::string& name : Names()) {
      struct stat info {};
      ASSERT_EQ(::stat((directory_ / name).c_str(), &info), 0);
      EXPECT_EQ(info.st_mode & 0777, 0600U) << name;
    }
    EXPECT_EQ(Names().size(), 3U) << "journal.db, -wal, -shm";
  }
  ::umask(before);
  EXPECT_EQ(Names(), std::vector<std::string>{"journal.db"});
}

TEST_F(JournalFile, OfANewerFormatIsRefused) {
  Open();
  std::fstream file(File(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(60);  // user_version, big-endian (sqlite.org/fileformat2.html 1.3)
  file.write("\0\0\0\x07", 4);
  file.close();
  auto journal = Journal::Open(directory_, Journal::Mode::kCreate, clock_);
  ASSERT_FALSE(journal);
  EXPECT_EQ(journal.error().kind, os::ErrorKind::kInvalid);
  EXPECT_THAT(journal.error().Text(), HasSubstr("newer orchestrator (format 7, this one knows 1)"));
  EXPECT_EQ(Names(), std::vector<std::string>{"journal.db"});
}

TEST_F(JournalFile, ThatIsNoDatabaseIsSetAside) {
  std::ofstream(File()) << "this is a text";
  Journal journal = Open();
  EXPECT_THAT(journal.Note(), HasSubstr("damaged"));
  EXPECT_TRUE(journal.BeginUpgrade(Sample()));
  const auto aside =
      fs::path(File().string() + ".damaged-" + std::to_string(static_cast<int64_t>(orchestrator::UnixSeconds(clock_))));
  EXPECT_EQ(os::ReadFile(aside).value(), "this is a text");
}

TEST_F(JournalFile, WhosePagesAreDamagedIsSetAside) {
  {
    Journal journal = Open();
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(journal.End(journal.BeginUpgrade(Sample()).value(), 0, "done"));
  }
  const auto size = fs::file_size(File());
  ASSERT_GT(size, 8192U);
  std::fstream file(File(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096);
  file << std::string(size - 4096, 'x');
  file.close();
  {
    auto looked = Journal::Open(directory_, Journal::Mode::kExisting, clock_);
    EXPECT_FALSE(looked) << "who only looks leaves it alone";
  }
  Journal journal = Open();
  EXPECT_THAT(journal.Note(), HasSubstr("damaged"));
  EXPECT_TRUE(journal.History().value().empty());
}

TEST_F(JournalFile, OfAnEarlierBuildIsRemoved) {
  std::ofstream(directory_ / "journal") << "{}\n";
  Open();
  EXPECT_EQ(Names(), std::vector<std::string>{"journal.db"});
}

TEST_F(JournalFile, IsNotMadeByWhoOnlyLooks) {
  auto journal = Journal::Open(directory_, Journal::Mode::kExisting, clock_);
  ASSERT_FALSE(journal);
  EXPECT_EQ(journal.error().kind, os::ErrorKind::kNotFound);
  EXPECT_TRUE(Names().empty());
}

TEST_F(JournalFile, ThatASymbolicLinkStandsForIsNotFollowed) {
  fs::create_symlink("/tmp/baton-journal-elsewhere", File());
  EXPECT_FALSE(Journal::Open(directory_, Journal::Mode::kCreate, clock_));
  EXPECT_FALSE(fs::exists("/tmp/baton-journal-elsewhere"));
}

TEST_F(JournalFile, ServesTwoCommandsAtOnce) {
  Journal one = Open();
  Journal two = Open();
  const int64_t first = one.BeginUpgrade(Sample()).value();
  const int64_t second = two.BeginUpgrade(Sample()).value();
  ASSERT_TRUE(one.BeginStep(first, Step::kDraining, orchestrator::Ordered()));
  ASSERT_TRUE(two.BeginStep(second, Step::kPlanned, orchestrator::Ordered()));
  ASSERT_TRUE(one.End(first, 0, "done"));
  EXPECT_EQ(two.History().value().size(), 2U);
  EXPECT_TRUE(two.History().value()[1].ended);
}

}  // namespace
