#include "orchestrator/versions.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "handover/instance_files.h"
#include "os/file.h"
#include "tests/support/fake_clock.h"

namespace orchestrator {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

/// Processes that stand for servers: copies of sleep(1), and the file that a server would write about itself.
class Versions : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/baton-versions.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    fs::create_directories(Runtime() / "orchestrator");
    fs::copy_file("/bin/sleep", Installed());
  }
  void TearDown() override {
    for (const os::ProcessHandle& process : started_) {
      EXPECT_TRUE(process.Signal(SIGKILL));
      process.WaitForEnd(-1);
      process.TryReap();
    }
    fs::remove_all(root_);
  }

  fs::path Runtime() const { return root_ / "run"; }
  fs::path Installed() const { return root_ / "httpd"; }
  fs::path Kept() const { return Runtime() / "orchestrator" / "versions"; }

  httpd::Instance Run(const std::string& version, const std::string& config = "Listen 80\n",
                      const fs::path& binary = {}, const std::string& fingerprint = "") {
    os::SpawnOptions options;
    options.program = binary.empty() ? Installed() : binary;
    options.arguments = {options.program.string(), "1000"};
    auto process = os::Spawn(options);
    EXPECT_TRUE(process) << process.error().Text();
    httpd::Instance instance;
    instance.id = os::Identify(process.value().pid()).value();
    instance.hello.version = version;
    instance.hello.server_root = root_;
    instance.hello.config_file = root_ / "httpd.conf";
    started_.push_back(std::move(process).value());
    const std::string head = "# fingerprint: " + (fingerprint.empty() ? config : fingerprint + "\n");
    EXPECT_TRUE(os::ReplaceFile(handover::ConfigPath(Runtime(), instance.id.pid), head + config, 0600));
    return instance;
  }

  Version Keep(const httpd::Instance& instance) {
    clock_.wall += std::chrono::seconds(1);
    auto kept = KeepVersion(Runtime(), instance, clock_);
    EXPECT_TRUE(kept) << kept.error().Text();
    return kept ? std::move(kept).value() : Version();
  }

  size_t Files() const { return os::ListDirectory(Kept()).value().size(); }

  fs::path root_;
  tests::FakeClock clock_;
  std::vector<os::ProcessHandle> started_;
};

TEST_F(Versions, ABinaryThatWasReplacedOrDeletedSinceIsKeptAsItRuns) {
  const std::string before = os::ReadFile(Installed()).value();
  const auto one = Run("1.0");
  fs::rename(Installed(), root_ / "old");
  fs::remove(root_ / "old");
  ASSERT_TRUE(os::ReplaceFile(Installed(), "another program", 0755));
  const Version kept = Keep(one);
  EXPECT_EQ(os::ReadFile(kept.binary).value(), before);
  EXPECT_EQ(::access(kept.binary.c_str(), X_OK), 0);
  EXPECT_EQ(os::ReadFile(kept.config).value(), "# fingerprint: Listen 80\nListen 80\n");
  EXPECT_EQ(kept.sha256, Sha256Of(kept.binary).value());
  EXPECT_EQ(kept.build_id.size(), 40U);
  EXPECT_EQ(fs::status(Kept() / kept.id).permissions(), fs::perms::owner_all);
}

TEST_F(Versions, TheSameAgainIsKeptOnceAndTheSameBinaryIsOneFile) {
  const Version one = Keep(Run("1.0"));
  const Version again = Keep(Run("1.0"));
  EXPECT_EQ(one.id, again.id);
  EXPECT_GT(again.kept_at, one.kept_at);
  const auto other_config = Run("1.0", "Listen 81\n");
  EXPECT_EQ(BytesToKeep(Runtime(), other_config.id.pid), 0);
  const Version other = Keep(other_config);
  EXPECT_NE(one.id, other.id);
  EXPECT_EQ(Files(), 2U);
  EXPECT_TRUE(fs::equivalent(one.binary, other.binary));
}

TEST_F(Versions, ABinaryWithTheSameBuildIdAndOtherBytesIsAnotherVersion) {
  const Version one = Keep(Run("1.0"));
  ASSERT_TRUE(os::ReplaceFile(root_ / "patched", os::ReadFile(Installed()).value() + "x", 0755));
  const auto patched = Run("1.1", "Listen 80\n", root_ / "patched");
  EXPECT_GT(BytesToKeep(Runtime(), patched.id.pid), 0);
  const Version two = Keep(patched);
  EXPECT_EQ(one.build_id, two.build_id);
  EXPECT_NE(one.id, two.id);
  EXPECT_EQ(FindVersion(Runtime(), "1.1").value().id, two.id);
  EXPECT_EQ(FindVersion(Runtime(), one.id).value().version, "1.0");
  EXPECT_THAT(FindVersion(Runtime(), "3").error().what, HasSubstr(one.id + " (1.0)"));
}

TEST_F(Versions, AnInstanceThatRunsFromACopyIsThatVersion) {
  const Version one = Keep(Run("1.0"));
  auto copy = Run("1.0", "Listen 80\n", one.binary);
  copy.hello.config_file = one.config;
  const Version again = Keep(copy);
  EXPECT_EQ(again.id, one.id);
  EXPECT_EQ(again.original_binary, Installed());
  EXPECT_EQ(again.original_config, root_ / "httpd.conf");
  EXPECT_EQ(Files(), 1U);
  EXPECT_EQ(BytesToKeep(Runtime(), copy.id.pid), 0);
}

TEST_F(Versions, TheInstalledBinaryIsUsedOnlyWhileItIsTheSame) {
  Version kept = Keep(Run("1.0"));
  kept.config_id.clear();  // nothing here answers --run-config
  EXPECT_EQ(ProgramOfVersion(kept, {}).value().binary, Installed());
  fs::remove(Installed());
  EXPECT_EQ(ProgramOfVersion(kept, {}).value().binary, kept.binary);
  ASSERT_TRUE(os::ReplaceFile(Installed(), "another program", 0755));
  EXPECT_EQ(ProgramOfVersion(kept, {}).value().binary, kept.binary);
  fs::remove(kept.binary);
  EXPECT_THAT(ProgramOfVersion(kept, {}).error().what, HasSubstr("is neither in"));
}

TEST_F(Versions, TheKeptConfigurationIsUsedWhenTheFilesSaySomethingElseNow) {
  Version kept = Keep(Run("1.0"));
  kept.arguments = {"httpd", "-D", "X", "-c", "Listen 81", "-k", "start"};
  const auto program = ProgramOfVersion(kept, {}).value();  // sleep(1) does not know --run-config: not the same
  EXPECT_EQ(program.config_file, kept.config);
  EXPECT_THAT(program.arguments, ElementsAre("-D", "X")) << "-c is in the copy and must not come twice";
}

TEST_F(Versions, HalfOfACopyIsNoVersionAndIsMadeAnew) {
  const auto one = Run("1.0");
  const Version kept = Keep(one);
  fs::remove(Kept() / kept.id / "manifest.json");
  EXPECT_TRUE(ListVersions(Runtime()).empty());
  EXPECT_EQ(Keep(one).id, kept.id);
  EXPECT_EQ(ListVersions(Runtime()).size(), 1U);
  fs::create_directory(Kept() / ".new.1");
  EXPECT_EQ(ListVersions(Runtime()).size(), 1U);
}

TEST_F(Versions, OldOnesAreRemovedButThoseThatAreWantedAreNot) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i)
    ids.push_back(Keep(Run("1." + std::to_string(i), "Listen " + std::to_string(80 + i) + "\n")).id);
  fs::create_directory(Kept() / ".new.0");
  fs::create_directory(Kept() / (".new." + std::to_string(::getpid())));  // somebody is at work on it
  PruneVersions(Runtime(), {ids[0]}, 2);
  EXPECT_FALSE(fs::exists(Kept() / ".new.0"));
  EXPECT_TRUE(fs::exists(Kept() / (".new." + std::to_string(::getpid()))));
  std::vector<std::string> left;
  for (const Version& one : ListVersions(Runtime())) left.push_back(one.id);
  EXPECT_THAT(left, ElementsAre(ids[4], ids[3], ids[0]));
}

TEST_F(Versions, NoRoomIsAnErrorThatLeavesNothing) {
  const auto one = Run("1.0");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  auto ignored = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  auto kept = KeepVersion(Runtime(), one, clock_);
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, ignored);
  ASSERT_FALSE(kept);
  EXPECT_THAT(kept.error().Text(), HasSubstr("write " + Kept().string()));
  EXPECT_EQ(Files(), 0U);
}

}  // namespace
}  // namespace orchestrator
