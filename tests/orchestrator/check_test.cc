#include "orchestrator/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "os/pid_file.h"

namespace orchestrator {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A configuration by hand, below a directory of its own.
class SharedThings : public testing::Test {
 protected:
  SharedThings() {
    char name[] = "/tmp/baton-check.XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    for (const char* folder : {"logs", "run"}) fs::create_directory(root_ / folder);
    ::chmod((root_ / "run").c_str(), 0700);
    config_.runtime_dir = root_ / "run";
    config_.pid_file = root_ / "httpd.pid";
    config_.binary = "/usr/sbin/httpd";
    around_.server_root = root_;
    around_.uid = ::geteuid();
    around_.gid = ::getegid();
  }
  ~SharedThings() override { fs::remove_all(root_); }

  void File(const std::string& name, int line = 1) {
    config_.logs.push_back({"file", (root_ / name).string(), {"httpd.conf", line}, {}});
  }
  void Program(const std::vector<std::string>& words, int line = 1) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
    config_.logs.push_back({"program", text, {"httpd.conf", line}, words});
  }

  std::vector<std::string> Ids() const {
    std::vector<std::string> out;
    for (const Finding& finding : FindShared(config_, around_)) {
      out.push_back((finding.severity == Finding::Severity::kDanger ? "" : "notice ") + finding.id +
                    (finding.place.file.empty() ? "" : ":" + std::to_string(finding.place.line)));
      EXPECT_NE(finding.text, "");
      EXPECT_NE(finding.advice, "");
    }
    return out;
  }

  fs::path root_;
  httpd::RunConfig config_;
  Surroundings around_;
};

TEST_F(SharedThings, PlainFilesAndOurRotatelogsAreSafe) {
  File("logs/error.log");
  File("logs/access.log");
  Program({ROTATELOGS, "-l", "-L", "logs/link", "logs/access.%Y", "3600"});
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(SharedThings, OurRotatelogsIsKnownByWhatItIsAndNotByItsName) {
  EXPECT_TRUE(IsLogWriter(ROTATELOGS));
  const fs::path renamed = root_ / "writer";
  fs::copy_file(ROTATELOGS, renamed);
  EXPECT_TRUE(IsLogWriter(renamed));
  const fs::path pretender = root_ / "rotatelogs";
  fs::copy_file("/bin/true", pretender);
  EXPECT_FALSE(IsLogWriter(pretender));
  std::ofstream(root_ / "wrapper") << "#!/bin/sh\n# Baton log writer; rendezvous 1\nexec cat >> x\n";
  EXPECT_FALSE(IsLogWriter(root_ / "wrapper"));
  EXPECT_FALSE(IsLogWriter(root_ / "missing"));
  Program({pretender.string(), "logs/a", "3600"}, 7);
  EXPECT_THAT(Ids(), ElementsAre("log-program:7"));
  EXPECT_THAT(FindShared(config_, around_)[0].text, HasSubstr("this rotatelogs is not Baton's"));
}

TEST_F(SharedThings, ForeignLogProgramsAndShellsAreDangerousOncePerLine) {
  Program({"/bin/cat"}, 3);
  Program({"/bin/cat"}, 4);
  config_.logs.push_back({"shell", "cat >> x", {"httpd.conf", 5}, {}});
  EXPECT_THAT(Ids(), ElementsAre("log-program:3", "log-shell:5"));
}

TEST_F(SharedThings, AFileThatIsPlainAndRotatedIsFoundByFileAndByLink) {
  File("logs/access.log", 2);
  File("logs/link", 3);
  Program({ROTATELOGS, "-Llogs/link", "-n", "3", "logs/../logs/access.log", "1M"}, 9);
  EXPECT_THAT(Ids(), ElementsAre("log-mixed:2", "log-mixed:3"));
  EXPECT_THAT(FindShared(config_, around_)[0].text, HasSubstr("line 9 of httpd.conf"));
}

TEST_F(SharedThings, TheCommandLineOfRotatelogsIsReadAsApacheReadsIt) {
  EXPECT_EQ(TargetOf({"r", "file", "60"})->file, "file");
  EXPECT_EQ(TargetOf({"r", "-lf", "-p", "prog", "-n5", "file", "60"})->file, "file");
  EXPECT_EQ(TargetOf({"r", "-lL", "link", "file", "60"})->link, "link");
  EXPECT_FALSE(TargetOf({"r", "-x", "file"}));
  EXPECT_FALSE(TargetOf({"r", "-L"}));
  EXPECT_FALSE(TargetOf({"r"}));
}

TEST_F(SharedThings, LogsThatTheServersUserCannotWriteAreFound) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: to speak of another user";
  File("logs/error.log", 2);
  Program({ROTATELOGS, "logs/access.log", "60"}, 3);
  File("none/here.log", 4);
  around_.uid = 54321;
  around_.gid = 54321;
  EXPECT_THAT(Ids(), ElementsAre("log-directory:2", "log-directory:4"));
  ::chmod((root_ / "logs").c_str(), 0777);
  EXPECT_THAT(Ids(), ElementsAre("log-directory:4"));
  ::chmod((root_ / "logs").c_str(), 0770);
  ASSERT_EQ(::chown((root_ / "logs").c_str(), 0, 77), 0);
  around_.groups = {77};
  EXPECT_THAT(Ids(), ElementsAre("log-directory:4"));
}

TEST_F(SharedThings, OnePortOnTwoAddressesIsANotice) {
  config_.listen = {
      {"127.0.0.1:80", "http", {"c", 1}}, {"127.0.0.1:81", "http", {"c", 2}}, {"[::1]:80", "http", {"c", 3}}};
  EXPECT_THAT(Ids(), ElementsAre("notice port-twice:3"));
}

TEST_F(SharedThings, APidFileOfAnotherConfigurationIsDangerous) {
  ASSERT_TRUE(os::WritePidFile(config_.pid_file, ::getpid()));
  EXPECT_THAT(Ids(), IsEmpty()) << "some other program has that number now";
  config_.binary = fs::read_symlink("/proc/self/exe");
  config_.pid_file_place = {"c", 4};
  EXPECT_THAT(Ids(), ElementsAre("pid-file:4"));
  around_.instances.push_back({::getpid(), {}, {}, "", false});
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(SharedThings, TwoConfigurationsThatServeFromOneRuntimeDirectoryAreFound) {
  httpd::Hello one;
  one.state = httpd::State::kServing;
  one.config_file = "/a/httpd.conf";
  httpd::Hello two = one;
  around_.instances = {{1, one, {}, "", false}, {2, two, {}, "", false}};
  EXPECT_THAT(Ids(), IsEmpty());
  around_.instances[1].hello->config_file = "/b/httpd.conf";
  EXPECT_THAT(Ids(), ElementsAre("runtime-dir"));
  around_.instances[1].hello->state = httpd::State::kDraining;
  EXPECT_THAT(Ids(), IsEmpty()) << "an upgrade to another file is under way";
  ::chmod((root_ / "run").c_str(), 0777);
  EXPECT_THAT(Ids(), ElementsAre("runtime-dir-mode"));
}

TEST_F(SharedThings, TheServersOwnWordIsPassedOn) {
  config_.shared = {{"mutex-omitpid", false, "Mutex x", "remove it", {"c", 5}}, {"new", true, "y", "do", {"c", 6}}};
  EXPECT_THAT(Ids(), ElementsAre("notice mutex-omitpid:5", "new:6"));
}

TEST_F(SharedThings, OnlyWhatIsNamedIsAccepted) {
  Program({"/bin/cat"}, 3);
  config_.logs.push_back({"shell", "cat >> x", {"httpd.conf", 5}, {}});
  config_.listen = {{"127.0.0.1:80", "http", {"c", 1}}, {"[::1]:80", "http", {"c", 3}}};
  const auto findings = FindShared(config_, around_);
  ASSERT_EQ(findings.size(), 3U);
  EXPECT_EQ(Unaccepted(findings, {}).size(), 2U) << "a notice refuses nothing";
  EXPECT_EQ(Unaccepted(findings, {"log-shell"}).size(), 1U);
  EXPECT_EQ(Unaccepted(findings, {"log-shell", "log-program"}).size(), 0U);
  EXPECT_EQ(Unaccepted(findings, {"all"}).size(), 0U);
}

}  // namespace
}  // namespace orchestrator
