#include "httpd/log/log_set.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "os/file.h"

namespace httpd::log {
namespace {

using config::LogTarget;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(SplitCommand, BlanksSeparate) {
  EXPECT_THAT(SplitCommand("  bin/rotatelogs  -l\t/var/log/a 86400 "),
              ElementsAre("bin/rotatelogs", "-l", "/var/log/a", "86400"));
}
TEST(SplitCommand, QuotesGroupAndMayTouchOtherText) {
  EXPECT_THAT(SplitCommand("a \"b c\" 'd \"e' f'g h'i"), ElementsAre("a", "b c", "d \"e", "fg hi"));
}
TEST(SplitCommand, AnEmptyQuotedWordIsAWord) {
  EXPECT_THAT(SplitCommand("a '' b"), ElementsAre("a", "", "b"));
}
TEST(SplitCommand, ABackslashEscapes) {
  EXPECT_THAT(SplitCommand("a\\ b \\\"c"), ElementsAre("a b", "\"c"));
}
TEST(SplitCommand, NothingIsNothing) {
  EXPECT_THAT(SplitCommand("  "), IsEmpty());
}

class LogSetTest : public testing::Test {
 protected:
  LogSetTest() {
    char name[] = "/tmp/log_set_test.XXXXXX";
    directory_ = ::mkdtemp(name);
    config_.main.error_log = Target(LogTarget::Kind::kFile, directory_ + "/error_log");
  }
  ~LogSetTest() override { std::filesystem::remove_all(directory_); }

  static LogTarget Target(LogTarget::Kind kind, const std::string& text) {
    LogTarget target;
    target.kind = kind;
    target.text = text;
    return target;
  }
  void AddAccessLog(const LogTarget& target) {
    config::AccessLog log;
    log.target = target;
    config_.main.access_logs.push_back(log);
  }
  static void Reap(LogProgram& program) {
    int status = 0;
    EXPECT_EQ(::waitpid(program.process.pid(), &status, 0), program.process.pid());
  }
  std::string Read(const std::string& name) { return os::ReadFile(directory_ + "/" + name).value(); }

  std::string directory_;
  config::ServerConfig config_;
};

TEST_F(LogSetTest, ATargetThatIsNamedTwiceIsOpenedOnce) {
  AddAccessLog(Target(LogTarget::Kind::kFile, directory_ + "/access_log"));
  AddAccessLog(Target(LogTarget::Kind::kFile, directory_ + "/access_log"));
  auto set = LogSet::Open(config_, directory_, -1);
  ASSERT_TRUE(set);
  EXPECT_EQ(set.value()->Descriptors().size(), 2u);
  EXPECT_NE(set.value()->Find(config_.main.error_log), nullptr);
  EXPECT_EQ(set.value()->Find(Target(LogTarget::Kind::kFile, "/other")), nullptr);
  EXPECT_EQ(set.value()->Find(Target(LogTarget::Kind::kNone, "")), nullptr);
}

TEST_F(LogSetTest, HostsShareALogHoweverManyThereAre) {
  AddAccessLog(Target(LogTarget::Kind::kFile, directory_ + "/access_log"));
  config_.virtual_hosts.assign(10000, config_.main);
  config_.virtual_hosts.back().error_log = Target(LogTarget::Kind::kFile, directory_ + "/own");
  auto set = LogSet::Open(config_, directory_, -1);
  ASSERT_TRUE(set);
  EXPECT_EQ(set.value()->Descriptors().size(), 3u);
}

TEST_F(LogSetTest, MoreLogsThanFilesMayBeOpenIsSaidInOneLineWithBothNumbers) {
  for (int i = 0; i < 50; ++i) {
    AddAccessLog(Target(LogTarget::Kind::kFile, directory_ + "/access_log." + std::to_string(i)));
  }
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int free = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(free);
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(free) + 10;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  auto set = LogSet::Open(config_, directory_, -1);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(set);
  EXPECT_THAT(set.error().Text(), HasSubstr("(24)Too many open files: AH00649: could not open transfer log file "));
  EXPECT_THAT(set.error().Text(), HasSubstr("names 51 different logs, and this process may have no more than " +
                                            std::to_string(low.rlim_cur) + " files open"));
  EXPECT_THAT(set.error().Text(), Not(HasSubstr("\n")));
}

TEST_F(LogSetTest, AFileIsAppendedToAndNeverInheritedByPrograms) {
  auto set = LogSet::Open(config_, directory_, -1);
  ASSERT_TRUE(set);
  const int fd = set.value()->Find(config_.main.error_log)->fd.get();
  EXPECT_NE(::fcntl(fd, F_GETFL) & O_APPEND, 0);
  EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(LogSetTest, AFileThatCannotBeOpenedIsApachesSentence) {
  config_.main.error_log = Target(LogTarget::Kind::kFile, directory_ + "/none/error_log");
  auto set = LogSet::Open(config_, directory_, -1);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().what, "(2)No such file or directory: AH00091: httpd: could not open error log file " +
                                  directory_ + "/none/error_log.");
}

TEST_F(LogSetTest, AProgramThatCannotBeStartedIsApachesSentence) {
  AddAccessLog(Target(LogTarget::Kind::kProgram, "/no/such/program -x"));
  auto set = LogSet::Open(config_, directory_, -1);
  ASSERT_FALSE(set);
  EXPECT_THAT(set.error().what, HasSubstr("AH00104: unable to start piped log program '/no/such/program -x'"));
}

TEST_F(LogSetTest, AProgramReadsToTheEndAndLeavesByItself) {
  const LogTarget target = Target(LogTarget::Kind::kShell, "cat > " + directory_ + "/out");
  AddAccessLog(target);
  auto set = LogSet::Open(config_, directory_, -1);
  ASSERT_TRUE(set) << set.error().Text();
  LogStream stream(*set.value()->Find(target));
  stream.buffer() = "one\ntwo\n";
  EXPECT_TRUE(stream.Flush());
  set.value()->CloseWriteEnds();
  Reap(set.value()->programs().front());
  EXPECT_EQ(Read("out"), "one\ntwo\n");
}

TEST_F(LogSetTest, AProgramThatWasKilledLosesNoLineThatIsInItsPipe) {
  // The first one reads nothing: everything is still in the pipe when it is killed.
  const LogTarget target =
      Target(LogTarget::Kind::kShell, "if test -e first; then exec cat > out; else : > first; exec sleep 1000; fi");
  AddAccessLog(target);
  auto set = LogSet::Open(config_, directory_, -1);
  ASSERT_TRUE(set) << set.error().Text();
  LogStream stream(*set.value()->Find(target));
  stream.buffer() = "before\n";
  EXPECT_TRUE(stream.Flush());
  while (::access((directory_ + "/first").c_str(), F_OK) != 0) ::usleep(1000);
  LogProgram& program = set.value()->programs().front();
  ASSERT_TRUE(program.process.Signal(SIGKILL));
  Reap(program);
  ASSERT_TRUE(set.value()->Start(program));
  stream.buffer() = "after\n";
  EXPECT_TRUE(stream.Flush());
  set.value()->CloseWriteEnds();
  Reap(program);
  EXPECT_EQ(Read("out"), "before\nafter\n");
}

TEST_F(LogSetTest, AProgramHasItsPipeAndTheErrorLogAndNothingElse) {
  const LogTarget target = Target(LogTarget::Kind::kShell, "ls /proc/self/fd | wc -l >&2; cat > /dev/null");
  AddAccessLog(target);
  const os::Fd stray(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto set = LogSet::Open(config_, directory_, -1);
  ASSERT_TRUE(set) << set.error().Text();
  set.value()->CloseWriteEnds();
  Reap(set.value()->programs().front());
  EXPECT_EQ(Read("error_log"), "4\n");  // 0, 1, 2 and the directory that ls itself reads
}

TEST_F(LogSetTest, AProgramStartsInTheServerRoot) {
  const LogTarget target = Target(LogTarget::Kind::kShell, "pwd > where; cat > /dev/null");
  AddAccessLog(target);
  auto set = LogSet::Open(config_, directory_, -1);
  ASSERT_TRUE(set) << set.error().Text();
  set.value()->CloseWriteEnds();
  Reap(set.value()->programs().front());
  EXPECT_EQ(Read("where"), directory_ + "\n");
}

}  // namespace
}  // namespace httpd::log
