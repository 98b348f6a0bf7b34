#include "os/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>

#include "tests/os/process_support.h"

namespace os {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  tests::TempDir dir_;
  std::map<int, std::string> before_ = tests::OpenDescriptors();
  void TearDown() override { EXPECT_EQ(tests::OpenDescriptors(), before_) << "a descriptor leaked"; }

  static mode_t ModeOf(const fs::path& path) {
    struct stat st {};
    return ::stat(path.c_str(), &st) == 0 ? st.st_mode & 07777U : 0;
  }
  std::vector<std::string> Names() {
    auto names = ListDirectory(dir_.path());
    return names ? names.value() : std::vector<std::string>{"(cannot list)"};
  }
};

TEST_F(FileTest, OpenSetsCloseOnExec) {
  auto fd = Open("/dev/null", O_RDONLY);
  ASSERT_TRUE(fd);
  EXPECT_EQ(::fcntl(fd.value().get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST_F(FileTest, OpenOfAMissingFileIsNotFoundAndNamesThePath) {
  auto fd = Open(dir_ / "none", O_RDONLY);
  ASSERT_FALSE(fd);
  EXPECT_EQ(fd.error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(fd.error().what, "open " + (dir_ / "none").string());
}

TEST_F(FileTest, ReadFileReturnsAllBytesAcrossSeveralReads) {
  std::string content(100'000, 'x');
  content[50'000] = '\0';
  ASSERT_TRUE(ReplaceFile(dir_ / "f", content, 0600));
  auto text = ReadFile(dir_ / "f");
  ASSERT_TRUE(text);
  EXPECT_EQ(text.value(), content);
}

TEST_F(FileTest, ReadFileTakesExactlyTheLimitAndRefusesOneByteMore) {
  ASSERT_TRUE(ReplaceFile(dir_ / "f", "12345", 0600));
  EXPECT_TRUE(ReadFile(dir_ / "f", 5));
  auto text = ReadFile(dir_ / "f", 4);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().kind, ErrorKind::kInvalid);
  EXPECT_EQ(text.error().Text(), (dir_ / "f").string() + " is larger than 4 bytes");
}

TEST_F(FileTest, ReadFileOfADirectorySaysWhy) {
  auto text = ReadFile(dir_.path());
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().sys, EISDIR);
}

TEST_F(FileTest, WriteAllReportsAFullDevice) {
  auto full = Open("/dev/full", O_WRONLY);
  ASSERT_TRUE(full);
  auto wrote = WriteAll(full.value(), "x");
  ASSERT_FALSE(wrote);
  EXPECT_EQ(wrote.error().sys, ENOSPC);
}

TEST_F(FileTest, WriteAllOnAFullNonBlockingPipeIsBusy) {
  int raw[2];
  ASSERT_EQ(::pipe2(raw, O_CLOEXEC | O_NONBLOCK), 0);
  const Fd reader(raw[0]);
  const Fd writer(raw[1]);
  auto wrote = WriteAll(writer, std::string(1U << 20, 'x'));
  ASSERT_FALSE(wrote);
  EXPECT_EQ(wrote.error().kind, ErrorKind::kBusy);
}

TEST_F(FileTest, CloseCheckedLeavesTheDescriptorInvalidEvenOnFailure) {
  Fd good(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(CloseChecked(good));
  EXPECT_FALSE(good.valid());
  EXPECT_TRUE(CloseChecked(good)) << "closing nothing is no error";
  Fd bad(999'999);
  auto closed = CloseChecked(bad);
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().sys, EBADF);
  EXPECT_FALSE(bad.valid());
}

TEST_F(FileTest, ReplaceFileSetsContentAndModeWhateverTheUmask) {
  const mode_t old = ::umask(0077);
  const auto replaced = ReplaceFile(dir_ / "f", "new", 0644);
  ::umask(old);
  ASSERT_TRUE(replaced) << replaced.error().Text();
  EXPECT_EQ(ReadFile(dir_ / "f").value(), "new");
  EXPECT_EQ(ModeOf(dir_ / "f"), 0644U);
  EXPECT_THAT(Names(), UnorderedElementsAre("f"));
}

TEST_F(FileTest, ReplaceFileLeavesTheOldInodeToWhoHasItOpen) {
  ASSERT_TRUE(ReplaceFile(dir_ / "f", "old", 0600));
  auto reader = Open(dir_ / "f", O_RDONLY);
  ASSERT_TRUE(reader);
  ASSERT_TRUE(ReplaceFile(dir_ / "f", "new", 0600));
  char text[8] = "";
  EXPECT_EQ(::read(reader.value().get(), text, sizeof text), 3);
  EXPECT_STREQ(text, "old");
  EXPECT_EQ(ReadFile(dir_ / "f").value(), "new");
}

TEST_F(FileTest, ReplaceFileThatFailsLeavesNoTemporaryFile) {
  ASSERT_TRUE(MakeDirectories(dir_ / "taken/inner"));
  EXPECT_FALSE(ReplaceFile(dir_ / "taken", "x", 0600));  // rename over a directory
  EXPECT_THAT(Names(), UnorderedElementsAre("taken"));
  auto missing = ReplaceFile(dir_ / "none/f", "x", 0600);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::kNotFound);
}

TEST_F(FileTest, ReplaceFileThatIsKilledWhileItWritesLeavesNothing) {
  if (!Fd(::open(dir_.path().c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600)).valid()) {
    GTEST_SKIP() << "no files without a name here";
  }
  const auto write_too_much = [this] {
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);  // SIGXFSZ beyond it
    (void)ReplaceFile(dir_ / "f", std::string(5000, 'x'), 0600);
    ::_exit(0);
  };
  EXPECT_EXIT(write_too_much(), testing::KilledBySignal(SIGXFSZ), "");
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(FileTest, ReplaceFileWorksInTheWorkingDirectory) {
  const fs::path home = fs::current_path();
  fs::current_path(dir_.path());
  const auto replaced = ReplaceFile("bare", "x", 0600);
  fs::current_path(home);
  ASSERT_TRUE(replaced) << replaced.error().Text();
  EXPECT_THAT(Names(), UnorderedElementsAre("bare"));
}

TEST_F(FileTest, MakeDirectoriesCreatesParentsAndKeepsWhatIsThere) {
  ASSERT_TRUE(MakeDirectories(dir_ / "a/b/c", 0700));
  EXPECT_EQ(ModeOf(dir_ / "a/b/c"), 0700U);
  EXPECT_EQ(ModeOf(dir_ / "a"), 0700U);
  EXPECT_TRUE(MakeDirectories(dir_ / "a/b", 0755));
  EXPECT_EQ(ModeOf(dir_ / "a/b"), 0700U) << "an existing directory is left as it is";
  EXPECT_TRUE(MakeDirectories(dir_ / "with/slash/"));
  EXPECT_TRUE(fs::is_directory(dir_ / "with/slash"));
}

TEST_F(FileTest, MakeDirectoriesOverAFileFails) {
  ASSERT_TRUE(ReplaceFile(dir_ / "f", "x", 0600));
  EXPECT_FALSE(MakeDirectories(dir_ / "f"));
  auto below = MakeDirectories(dir_ / "f/sub");
  ASSERT_FALSE(below);
  EXPECT_EQ(below.error().sys, ENOTDIR);
}

TEST_F(FileTest, RemoveFileOfAMissingFileIsDone) {
  ASSERT_TRUE(ReplaceFile(dir_ / "f", "x", 0600));
  EXPECT_TRUE(RemoveFile(dir_ / "f"));
  EXPECT_TRUE(RemoveFile(dir_ / "f"));
  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_FALSE(RemoveFile(dir_.path()));
}

TEST_F(FileTest, ListDirectoryLeavesTheDotsOut) {
  ASSERT_TRUE(ReplaceFile(dir_ / "one", "x", 0600));
  ASSERT_TRUE(ReplaceFile(dir_ / ".hidden", "x", 0600));
  EXPECT_THAT(Names(), UnorderedElementsAre("one", ".hidden"));
  auto missing = ListDirectory(dir_ / "none");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::kNotFound);
}

TEST_F(FileTest, SyncDirectoryTakesADirectoryOnly) {
  EXPECT_TRUE(SyncDirectory(dir_.path()));
  EXPECT_TRUE(SyncDirectory("")) << "the working directory";
  EXPECT_FALSE(SyncDirectory("/dev/null"));
}

}  // namespace
}  // namespace os
