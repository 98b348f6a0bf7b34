#include "os/pid_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "os/file.h"
#include "tests/os/process_support.h"

namespace os {
namespace {

class PidFileTest : public ::testing::Test {
 protected:
  tests::TempDir dir_;
  std::filesystem::path path_ = dir_ / "httpd.pid";
};

TEST_F(PidFileTest, WrittenPidIsReadBack) {
  ASSERT_TRUE(WritePidFile(path_, 4711));
  EXPECT_EQ(ReadFile(path_).value(), "4711\n");
  auto pid = ReadPidFile(path_);
  ASSERT_TRUE(pid);
  EXPECT_EQ(pid.value(), 4711);
  struct stat st {};
  ASSERT_EQ(::stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0644U);
}

TEST_F(PidFileTest, MissingFileIsNotFound) {
  auto pid = ReadPidFile(path_);
  ASSERT_FALSE(pid);
  EXPECT_EQ(pid.error().kind, ErrorKind::kNotFound);
}

TEST_F(PidFileTest, AnythingButOnePositiveNumberIsInvalid) {
  for (const char* text : {"", "\n", "0", "-5", "+5", "12 13", "12x", "x12", "99999999999999", "0x10"}) {
    ASSERT_TRUE(ReplaceFile(path_, text, 0644));
    auto pid = ReadPidFile(path_);
    ASSERT_FALSE(pid) << "\"" << text << "\"";
    EXPECT_EQ(pid.error().kind, ErrorKind::kInvalid) << text;
    EXPECT_EQ(pid.error().Text(), path_.string() + " does not hold a process number");
  }
}

TEST_F(PidFileTest, TrailingBlanksAreForgiven) {
  ASSERT_TRUE(ReplaceFile(path_, "12 \n\n", 0644));
  EXPECT_EQ(ReadPidFile(path_).value(), 12);
}

TEST_F(PidFileTest, RemovesItsOwnFileAndLeavesNothingBehind) {
  ASSERT_TRUE(WritePidFile(path_, 7));
  EXPECT_TRUE(RemovePidFile(path_, 7));
  EXPECT_THAT(ListDirectory(dir_.path()).value(), ::testing::IsEmpty());
  EXPECT_TRUE(RemovePidFile(path_, 7)) << "nothing there is done";
}

TEST_F(PidFileTest, LeavesTheFileOfASuccessorAlone) {
  ASSERT_TRUE(WritePidFile(path_, 8));
  EXPECT_TRUE(RemovePidFile(path_, 7));
  EXPECT_EQ(ReadPidFile(path_).value(), 8);
}

}  // namespace
}  // namespace os
