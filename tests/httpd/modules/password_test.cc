#include "httpd/modules/password.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "httpd/modules/password_file.h"

namespace httpd::modules {
namespace {

using Kind = PasswordHash::Kind;

// As htpasswd of Debian's apache2-utils wrote them with -B -m -s -d -2 -5; then openssl's and crypt(3)'s.
constexpr const char* kHashes[] = {
    "$2y$05$uxbd6r2CIt1jq1m.q1LqHe4ZpZ3o5ruuRowbciVUVE/4QAXZvVoz2",
    "$apr1$h.e74bNy$ZenxcoNKB/qZTi2dMlkVa/",
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "f8CuVYu1Km0PU",
    "$5$0E7NoXo2zOR9D94a$ALnRhRjxnkacCysJCJjGCVG1QODVgNkwMUS8sQMVc34",
    "$6$AVVIsAM9L65pPJKR$T4hktyvchzPX3axl21s0J/5.9DWD94zPjtq8ACbbArgJXCKbtIZGle3VtpuzNWTiibFs2x1YJhaOnmhEbFP5L1",
    "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
    "$y$j9T$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9"};

TEST(Password, EveryKindThatToolsWriteIsUnderstood) {
  for (const char* hash : kHashes) {
    EXPECT_TRUE(PasswordMatches("secret", hash)) << hash;
    EXPECT_FALSE(PasswordMatches("Secret", hash)) << hash;
    EXPECT_FALSE(PasswordMatches("", hash)) << hash;
    EXPECT_FALSE(PasswordMatches(std::string("secret\0x", 8), hash)) << hash;
    EXPECT_FALSE(PasswordMatches(hash, hash)) << hash;
  }
}

TEST(Password, Apr1HashesPasswordsOfAnyLength) {
  EXPECT_EQ(Apr1Hash("", "ab"), "$apr1$ab$S8K6Sgp3W8c9Jb6LxgywZ.");
  EXPECT_EQ(Apr1Hash("a password that is longer than sixteen bytes, and than thirty-two", "abcdefghTOOLONG"),
            "$apr1$abcdefgh$uEqjp70Up3NIsAXlED4Cd0");
}

TEST(Password, OnesInClearAndOverLongOnesMatchNothing) {
  EXPECT_EQ(Classify("secret").kind, Kind::kUnknown);
  EXPECT_FALSE(PasswordMatches("secret", "secret"));
  EXPECT_FALSE(PasswordMatches("", ""));
  EXPECT_FALSE(PasswordMatches("*", "*"));
  EXPECT_FALSE(PasswordMatches("*0", "*0"));
  EXPECT_FALSE(PasswordMatches(std::string(513, 'a'), Apr1Hash(std::string(513, 'a'), "ab")));
  EXPECT_TRUE(PasswordMatches(std::string(512, 'a'), Apr1Hash(std::string(512, 'a'), "ab")));
}

TEST(Password, AHashThatWouldStopTheLoopIsNotComputed) {
  for (const char* hash : {"$2y$15$uxbd6r2CIt1jq1m.q1LqHe4ZpZ3o5ruuRowbciVUVE/4QAXZvVoz2", "$6$rounds=999999999$salt$x",
                           "$5$rounds=1000001$salt$x", "$y$jFT$abcdefgh$/DsqIA5SPZstEYvf1gucf8nZBDtMq2rLQE.MRF1ivz2"}) {
    EXPECT_EQ(Classify(hash).kind, Kind::kTooSlow) << hash;
    EXPECT_FALSE(PasswordMatches("secret", hash)) << hash;
  }
  EXPECT_EQ(Classify("$7$CU..../....abc$x").kind, Kind::kUnknown) << "scrypt: not among those whose cost is known";
  EXPECT_EQ(Classify("_J9..rasmBYk8r9AiWNc").kind, Kind::kUnknown);
}

TEST(Password, Base64IsReadStrictly) {
  EXPECT_EQ(DecodeBase64("am9lOnNlY3JldA=="), "joe:secret");
  EXPECT_EQ(DecodeBase64("am9lOnNlY3I="), "joe:secr");
  EXPECT_EQ(DecodeBase64(""), "");
  for (const char* bad :
       {"am9lOnNlY3JldA", "am9lOnNlY3JldA=", "am9l OnNlY3JldA", "====", "a===", "am9l\nOnNlY3I=", "!m9l", "am9=OnNl"}) {
    EXPECT_EQ(DecodeBase64(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(EncodeBase64("joe:secret"), "am9lOnNlY3JldA==");
}

class PasswordFileTest : public testing::Test {
 protected:
  PasswordFileTest() {
    char name[] = "/tmp/password_test.XXXXXX";
    path_ = std::string(::mkdtemp(name)) + "/users";
  }
  ~PasswordFileTest() override { std::filesystem::remove_all(std::filesystem::path(path_).parent_path()); }
  void Write(const std::string& text) { std::ofstream(path_) << text; }

  using Outcome = PasswordFile::Outcome;
  std::string path_;
  PasswordFile::Time now_{};
};

TEST_F(PasswordFileTest, TheFirstLineOfAUserCounts) {
  Write("# users\n\n  joe:" + std::string(kHashes[2]) + ":comment  \njoe:x\nnobody\nann:" + kHashes[1]);
  PasswordFile file(path_);
  EXPECT_EQ(file.Check("joe", "secret", now_).value(), Outcome::kGranted);
  EXPECT_EQ(file.Check("joe", "x", now_).value(), Outcome::kDenied);
  EXPECT_EQ(file.Check("ann", "secret", now_).value(), Outcome::kGranted);
  EXPECT_EQ(file.Check("nobody", "", now_).value(), Outcome::kUnknownUser);
  EXPECT_EQ(file.Check("# users", "", now_).value(), Outcome::kUnknownUser);
}

TEST_F(PasswordFileTest, ASlowCheckIsRememberedForAWhile) {
  Write("joe:" + std::string(kHashes[1]) + "\nann:" + kHashes[2] + "\n");
  PasswordFile file(path_);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(file.Check("joe", "secret", now_).value(), Outcome::kGranted);
    EXPECT_EQ(file.Check("joe", "wrong", now_).value(), Outcome::kDenied);
  }
  EXPECT_EQ(file.computed(), 2u);
  EXPECT_EQ(file.Check("joe", "secret", now_ + PasswordFile::kRememberedFor).value(), Outcome::kGranted);
  EXPECT_EQ(file.computed(), 3u);
  file.Check("ann", "secret", now_).value();
  file.Check("ann", "secret", now_).value();
  EXPECT_EQ(file.computed(), 5u) << "{SHA} is fast";
}

TEST_F(PasswordFileTest, AChangedFileForgetsWhatWasRemembered) {
  Write("joe:" + std::string(kHashes[1]) + "\n");
  PasswordFile file(path_);
  EXPECT_EQ(file.Check("joe", "secret", now_).value(), Outcome::kGranted);
  Write("joe:" + Apr1Hash("other", "ab") + "\n");
  EXPECT_EQ(file.Check("joe", "secret", now_).value(), Outcome::kDenied);
  EXPECT_EQ(file.Check("joe", "other", now_).value(), Outcome::kGranted);
  Write("");
  EXPECT_EQ(file.Check("joe", "other", now_).value(), Outcome::kUnknownUser);
}

TEST_F(PasswordFileTest, WhatIsRememberedIsBoundedAndGuessingDoesNotPushUsersOut) {
  Write("joe:" + Apr1Hash("secret", "ab") + "\n");
  PasswordFile file(path_);
  EXPECT_EQ(file.Check("joe", "secret", now_).value(), Outcome::kGranted);
  for (size_t i = 0; i <= PasswordFile::kMostRemembered; ++i) {
    EXPECT_EQ(file.Check("joe", std::to_string(i), now_).value(), Outcome::kDenied);
  }
  const uint64_t before = file.computed();
  EXPECT_EQ(file.Check("joe", "secret", now_).value(), Outcome::kGranted);
  EXPECT_EQ(file.computed(), before);
  EXPECT_EQ(file.Check("joe", "0", now_).value(), Outcome::kDenied);
  EXPECT_EQ(file.computed(), before + 1) << "the oldest guess was forgotten";
}

TEST_F(PasswordFileTest, DigestHashesAreFoundByUserAndRealm) {
  Write("joe:one:11\njoe:two:22:more\n");
  PasswordFile file(path_);
  EXPECT_EQ(file.FindHash("joe", "one").value(), "11");
  EXPECT_EQ(file.FindHash("joe", "two").value(), "22");
  EXPECT_EQ(file.FindHash("joe", "three").value(), std::nullopt);
  EXPECT_EQ(file.FindHash("joe:one", "").value(), std::nullopt);
  EXPECT_EQ(file.FindHash("", "one").value(), std::nullopt);
}

TEST_F(PasswordFileTest, WhatIsNoRegularFileIsRefusedUnopened) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(PasswordFile(path_).Check("joe", "x", now_).error().kind, os::ErrorKind::kInvalid);
  EXPECT_EQ(PasswordFile("/dev/zero").Check("joe", "x", now_).error().kind, os::ErrorKind::kInvalid);
  EXPECT_EQ(PasswordFile("/").Check("joe", "x", now_).error().kind, os::ErrorKind::kInvalid);
  EXPECT_EQ(PasswordFile(path_ + ".none").Check("joe", "x", now_).error().kind, os::ErrorKind::kNotFound);
}

TEST_F(PasswordFileTest, AFileOfMoreThan16MiBIsRefused) {
  Write("joe:x\n");
  std::filesystem::resize_file(path_, (16 << 20) + 1);
  EXPECT_EQ(PasswordFile(path_).Check("joe", "x", now_).error().kind, os::ErrorKind::kInvalid);
}

}  // namespace
}  // namespace httpd::modules
