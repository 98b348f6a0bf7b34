#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "httpd/modules/static_file.h"
#include "os/file.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

class File : public HandlerTest {
 protected:
  File() {
    Write("www/a.txt", "0123456789");
    Write("www/d/a.txt", "in d");
  }
  /// Its last change lies a day back, so that its tag is strong.
  void Age(const std::string& name) {
    timespec times[2] = {{0, UTIME_OMIT}, {1700000000, 5000}};
    ASSERT_EQ(::utimensat(AT_FDCWD, (root() + "/" + name).c_str(), times, 0), 0);
  }
  std::string EtagFor(const std::string& target) {
    const std::string fields = Get(target).fields;
    const size_t at = fields.find("ETag: ");
    return at == std::string::npos ? "" : fields.substr(at + 6, fields.find("\r\n", at) - at - 6);
  }
};

TEST_F(File, TheTagIsMadeOfWhatFileETagNames) {
  Age("www/a.txt");
  EXPECT_EQ(EtagFor("/a.txt"), "\"a-60a24181e4005\"");
  Configure("FileETag Size\n");
  EXPECT_EQ(EtagFor("/a.txt"), "\"a\"");
  Configure("FileETag Size\n<Location />\nFileETag +MTime -Size\n</Location>\n");
  EXPECT_EQ(EtagFor("/a.txt"), "\"60a24181e4005\"");
  Configure("FileETag None\n");
  EXPECT_EQ(EtagFor("/a.txt"), "");
  Configure("FileETag Digest\n");
  EXPECT_EQ(EtagFor("/a.txt"), "\"h6zsF82dzSCnFsws9nQXtxyKcBY=\"") << "SHA-1 of 0123456789";
  struct stat status {};
  ASSERT_EQ(::stat((root() + "/www/a.txt").c_str(), &status), 0);
  Configure("FileETag All\n");
  std::ostringstream inode;
  inode << std::hex << status.st_ino;
  EXPECT_EQ(EtagFor("/a.txt"), "\"" + inode.str() + "-a-60a24181e4005\"");
}

TEST_F(File, TheTagIsWeakWhileTheFileMayStillChangeWithinTheSecond) {
  struct stat status {};
  status.st_mtim = {1000, 0};
  const auto second = [](int s) { return std::chrono::system_clock::from_time_t(s); };
  EXPECT_EQ(EtagOf(status, kEtagMtime, second(1001)), "W/\"3b9aca00\"");
  EXPECT_EQ(EtagOf(status, kEtagMtime, second(1002)), "\"3b9aca00\"");
  EXPECT_EQ(EtagOf(status, 0, second(1002)), "");
}

TEST_F(File, RangesAreServedAsFarAsTheLimitsAllow) {
  Age("www/a.txt");
  EXPECT_EQ(Get("/a.txt", "Range: bytes=0-1\r\n").status, 206);
  Configure("MaxRanges 1\n");
  EXPECT_EQ(Get("/a.txt", "Range: bytes=0-1\r\n").status, 206);
  EXPECT_EQ(Get("/a.txt", "Range: bytes=0-1,3-4\r\n").status, 200);
  Configure("MaxRanges none\n");
  const Answer none = Get("/a.txt", "Range: bytes=0-1\r\n");
  EXPECT_EQ(none.status, 200);
  EXPECT_THAT(none.fields, HasSubstr("Accept-Ranges: none\r\n"));
  Configure("MaxRangeOverlaps none\n");
  EXPECT_EQ(Get("/a.txt", "Range: bytes=0-3,2-4\r\n").status, 200);
  Configure("MaxRangeReversals none\n");
  EXPECT_EQ(Get("/a.txt", "Range: bytes=5-6,0-1\r\n").status, 200);
  Configure("MaxRangeOverlaps unlimited\nMaxRangeReversals default\n");
  EXPECT_EQ(Get("/a.txt", "Range: bytes=0-3,2-4\r\n").status, 206);
}

TEST_F(File, AnUnsatisfiableRangeHasAPageWithoutTheFilesValidators) {
  const Answer answer = Get("/a.txt", "Range: bytes=99-\r\n");
  EXPECT_EQ(answer.status, 416);
  EXPECT_THAT(answer.fields, HasSubstr("Content-Range: bytes */10\r\n"));
  EXPECT_THAT(answer.fields, Not(HasSubstr("ETag")));
}

TEST_F(File, ContentDigestIsTheMd5OfTheFile) {
  Configure("ContentDigest On\n");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("Content-MD5: eB5eJF1ptWaXm4bijSPyxw==\r\n"));
}

TEST_F(File, PathInfoIsRefusedUnlessItIsAccepted) {
  EXPECT_EQ(Get("/a.txt/more").status, 404);
  EXPECT_EQ(Get("/a.txt/").status, 404);
  Configure("AcceptPathInfo On\n");
  EXPECT_EQ(Get("/a.txt/more").body, "0123456789");
  Configure("AcceptPathInfo On\n<Directory " + root() + "/www/d>\nAcceptPathInfo Default\n</Directory>\n");
  EXPECT_EQ(Get("/d/a.txt/more").status, 404);
}

TEST_F(File, MethodsThatNoFileTakesAreToldWhichItTakes) {
  for (const char* method : {"PUT", "DELETE", "PROPFIND", "PATCH"}) {
    const Answer answer = Ask(method, "/a.txt");
    EXPECT_EQ(answer.status, 405) << method;
    EXPECT_THAT(answer.fields, HasSubstr("Allow: ")) << method;
  }
  EXPECT_EQ(Ask("FOO", "/a.txt").status, 501);
  EXPECT_EQ(Ask("OPTIONS", "/none").status, 200);
}

TEST_F(File, EncodedSlashesAreRefusedTakenOrKept) {
  Write("www/d%2Fa.txt", "kept");
  EXPECT_EQ(Get("/d%2Fa.txt").status, 404);
  Configure("AllowEncodedSlashes On\n");
  EXPECT_EQ(Get("/d%2fa.txt").body, "in d");
  EXPECT_EQ(Get("/d%2f..%2fa.txt").body, "0123456789");
  EXPECT_EQ(Get("/d%2f..%2f..%2fx").status, 400) << "out of the root";
  Configure("AllowEncodedSlashes NoDecode\n");
  EXPECT_EQ(Get("/d%2Fa.txt").body, "kept");
}

TEST_F(File, SlashesAreMergedForLocationsUnlessToldOtherwise) {
  const std::string location = "<Location /d/a.txt>\nRequire all denied\n</Location>\n";
  Configure(location);
  EXPECT_EQ(Get("/d//a.txt").status, 403);
  Configure(location + "MergeSlashes Off\n");
  EXPECT_EQ(Get("/d//a.txt").status, 200);
}

TEST_F(File, URLsThatLeadBackHereHaveTheNameThatIsWanted) {
  EXPECT_THAT(Get("/d", "Host: other:99\r\n").fields, HasSubstr("Location: http://other:99/d/\r\n"));
  Configure("UseCanonicalName On\n");
  EXPECT_THAT(Get("/d", "Host: other:99\r\n").fields, HasSubstr("Location: http://site.example/d/\r\n"));
  Configure("UseCanonicalName On\nUseCanonicalPhysicalPort On\n");
  EXPECT_THAT(Get("/d", "Host: other:99\r\n").fields, HasSubstr("Location: http://site.example:8080/d/\r\n"));
}

TEST_F(File, TheSignatureCanDifferFromDirectoryToDirectory) {
  Configure("ServerSignature On\n<Location /quiet>\nServerSignature Off\n</Location>\n");
  EXPECT_THAT(Get("/none").body, HasSubstr("<address>"));
  EXPECT_THAT(Get("/quiet").body, Not(HasSubstr("<address>")));
}

TEST_F(File, ABodyThatIsTooLongForItsPlaceIsRefused) {
  Configure("LimitRequestBody 5\n<Location /d>\nLimitRequestBody 9\n</Location>\n");
  EXPECT_EQ(Ask("POST", "/a.txt", "Content-Length: 5\r\n").status, 200);
  EXPECT_EQ(Ask("POST", "/a.txt", "Content-Length: 6\r\n").status, 413);
  EXPECT_EQ(Ask("POST", "/d/a.txt", "Content-Length: 9\r\n").status, 200);
}

// ---- links ------------------------------------------------------------------------------------------------------

class Links : public File {
 protected:
  Links() {
    Write("secret", "secret");
    std::filesystem::create_symlink("../../secret", root() + "/www/d/out");
    std::filesystem::create_directory_symlink("d", root() + "/www/link");
  }
  int StatusOf(const std::string& file, unsigned options) {
    const auto opened = OpenForServing(root() + "/www", root() + "/www/" + file, options);
    return opened ? 200 : opened.error().kind == os::ErrorKind::kNotFound ? 404 : 403;
  }
};

TEST_F(Links, AreFollowedAsOptionsSay) {
  for (const char* file : {"d/out", "link/a.txt"}) {
    EXPECT_EQ(StatusOf(file, config::kOptFollowSymLinks), 200) << file;
    EXPECT_EQ(StatusOf(file, config::kOptSymLinksIfOwnerMatch), 200) << file;
    EXPECT_EQ(StatusOf(file, 0), 403) << file;
  }
  EXPECT_EQ(StatusOf("link/none", config::kOptSymLinksIfOwnerMatch), 404);
  if (::geteuid() != 0) GTEST_SKIP() << "owners can be changed by root only";
  ASSERT_EQ(::lchown((root() + "/www/d/out").c_str(), 4711, 4711), 0);
  ASSERT_EQ(::lchown((root() + "/www/link").c_str(), 4711, 4711), 0);
  EXPECT_EQ(StatusOf("d/out", config::kOptSymLinksIfOwnerMatch), 403);
  EXPECT_EQ(StatusOf("link/a.txt", config::kOptSymLinksIfOwnerMatch), 403);
  ASSERT_EQ(::chown((root() + "/secret").c_str(), 4711, 4711), 0);
  EXPECT_EQ(StatusOf("d/out", config::kOptSymLinksIfOwnerMatch), 200);
}

// Somebody with an account exchanges a file for a link to what is not his, again and again, while it is asked for.
TEST_F(Links, ThatAreExchangedMeanwhileNeverLeadToWhatIsSomebodyElses) {
  if (::geteuid() != 0) GTEST_SKIP() << "owners can be changed by root only";
  const std::string name = root() + "/www/d/x";
  Write("www/mine", "mine");
  ASSERT_EQ(::chown((root() + "/www/mine").c_str(), 4711, 4711), 0);
  const auto place = [&](const char* target, const char* temporary) {
    const std::string link = root() + "/www/" + temporary;
    ASSERT_EQ(::symlink(target, link.c_str()), 0);
    ASSERT_EQ(::lchown(link.c_str(), 4711, 4711), 0);
  };
  place("../mine", "good");
  place("../../secret", "bad");
  ASSERT_EQ(::rename((root() + "/www/good").c_str(), name.c_str()), 0);
  std::atomic<bool> done = false;
  std::thread swapper([&] {
    while (!done) ::renameat2(AT_FDCWD, name.c_str(), AT_FDCWD, (root() + "/www/bad").c_str(), RENAME_EXCHANGE);
  });
  int served = 0;
  int refused = 0;
  for (int i = 0; i < 200000 && (served < 500 || refused < 500); ++i) {
    for (const unsigned options : {unsigned{config::kOptSymLinksIfOwnerMatch}, 0U}) {
      const auto opened = OpenForServing(root() + "/www", name, options);
      ++(opened ? served : refused);
      if (!opened) continue;
      char text[8] = {};
      ASSERT_EQ(::pread(opened.value().fd.get(), text, sizeof text, 0), 4);
      ASSERT_STREQ(text, "mine");
      ASSERT_NE(options, 0u);
    }
  }
  done = true;
  swapper.join();
  EXPECT_GT(served, 0);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace httpd::modules
