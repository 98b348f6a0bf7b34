#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "handler_fixture.h"

namespace httpd::modules {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// Files that were last changed a day ago, a clock that the test moves, and a handler that keeps answers.
class AnswerCacheTest : public HandlerTest {
 protected:
  AnswerCacheTest() {
    open_file_cache_ = 8;
    // The middle of a second: a step of half of one is another second, a step of 100 ms is not.
    now_ = std::chrono::floor<seconds>(std::chrono::system_clock::now()) + milliseconds(250);
    Configure("");
    WriteOld("www/a.txt", "one\n");
  }

  void WriteOld(const std::string& name, const std::string& content, int hours = 24) {
    Write(name, content);
    fs::last_write_time(root() + "/" + name, fs::file_time_type::clock::now() - std::chrono::hours(hours));
    Later(seconds(5));  // the time of the file's i-node is that of today: it must not be taken for a change just now
  }

  void Later(milliseconds by) { *now_ += by; }

  /// Whether an answer came from the cache.
  bool WasGiven() { return handler_->answers().given() > std::exchange(given_, handler_->answers().given()); }

  uint64_t given_ = 0;
};

TEST_F(AnswerCacheTest, GivesTheSameAnswerAgainWithoutLookingAtTheFile) {
  const Answer first = Get("/a.txt");
  EXPECT_FALSE(WasGiven());
  EXPECT_EQ(first.body, "one\n");
  fs::remove(root() + "/www/a.txt");
  const Answer second = Get("/a.txt");
  EXPECT_TRUE(WasGiven());
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(second.fields, first.fields);
  EXPECT_EQ(second.body, "one\n");
}

TEST_F(AnswerCacheTest, SeesARemovedFileInTheNextSecond) {
  Get("/a.txt");
  fs::remove(root() + "/www/a.txt");
  Later(seconds(1));
  EXPECT_EQ(Get("/a.txt").status, 404);
}

TEST_F(AnswerCacheTest, SeesAReplacedFileInTheNextSecond) {
  Get("/a.txt");
  WriteOld("www/new", "two\n");
  fs::rename(root() + "/www/new", root() + "/www/a.txt");
  EXPECT_EQ(Get("/a.txt").body, "two\n");
  EXPECT_FALSE(WasGiven());
}

TEST_F(AnswerCacheTest, SeesATouchedFileInTheNextSecond) {
  const Answer first = Get("/a.txt");
  fs::last_write_time(root() + "/www/a.txt", fs::file_time_type::clock::now() - std::chrono::hours(1));
  Later(seconds(1));
  EXPECT_NE(Get("/a.txt").fields, first.fields) << "Last-Modified and ETag";
}

TEST_F(AnswerCacheTest, SeesATruncatedFileInTheNextSecond) {
  Get("/a.txt");
  fs::resize_file(root() + "/www/a.txt", 1);
  Later(seconds(1));
  EXPECT_EQ(Get("/a.txt").body, "o");
}

TEST_F(AnswerCacheTest, SeesALargeFileThatWasChangedInPlaceAtOnce) {
  WriteOld("www/big", std::string(100000, 'a'));
  const Answer first = Get("/big");
  EXPECT_EQ(first.body.size(), 100000U);
  Get("/big");
  EXPECT_TRUE(WasGiven());
  Write("www/big", std::string(50000, 'b'));
  const Answer second = Get("/big");
  EXPECT_FALSE(WasGiven());
  EXPECT_EQ(second.body, std::string(50000, 'b')) << "its bytes would not be those of the old ETag";
  EXPECT_NE(second.fields, first.fields);
}

TEST_F(AnswerCacheTest, GivesAnUnchangedFileInLaterSecondsToo) {
  Get("/a.txt");
  for (int i = 0; i < 3; ++i) {
    Later(seconds(2));
    EXPECT_EQ(Get("/a.txt").body, "one\n");
    EXPECT_TRUE(WasGiven());
  }
}

TEST_F(AnswerCacheTest, DoesNotTrustTheTimeOfAFileThatWasChangedAMomentAgo) {
  *now_ = std::chrono::floor<seconds>(std::chrono::system_clock::now()) + milliseconds(900);
  Write("www/fresh", "one");
  Get("/fresh");
  Get("/fresh");
  EXPECT_TRUE(WasGiven());
  Later(seconds(1));
  Get("/fresh");
  EXPECT_FALSE(WasGiven()) << "a second change within one tick of the file system would not show";
}

TEST_F(AnswerCacheTest, SeesANewHtaccessFileInTheNextSecond) {
  Configure("<Directory " + root() + "/www>\nAllowOverride All\n</Directory>");
  WriteOld("www/d/a.txt", "open");
  EXPECT_EQ(Get("/d/a.txt").status, 200);
  Later(seconds(1));
  Get("/d/a.txt");
  EXPECT_TRUE(WasGiven());
  Write("www/d/.htaccess", "Require all denied");
  Later(seconds(1));
  EXPECT_EQ(Get("/d/a.txt").status, 403);
}

TEST_F(AnswerCacheTest, SeesANewIndexOfADirectoryInTheNextSecond) {
  Configure("DirectoryIndex first.html second.html");
  WriteOld("www/d/second.html", "second");
  EXPECT_EQ(Get("/d/").body, "second");
  Later(seconds(3));
  EXPECT_EQ(Get("/d/").body, "second");
  EXPECT_TRUE(WasGiven());
  WriteOld("www/d/first.html", "first");
  EXPECT_EQ(Get("/d/").body, "first");
}

TEST_F(AnswerCacheTest, SeesANewPrecompressedFileInTheNextSecond) {
  Configure("PrecompressedFiles gzip");
  WriteOld("www/p.txt", "plain", 30);
  EXPECT_EQ(Get("/p.txt", "Accept-Encoding: gzip\r\n").body, "plain");
  WriteOld("www/p.txt.gz", "coded");
  EXPECT_EQ(Get("/p.txt", "Accept-Encoding: gzip\r\n").body, "coded");
  EXPECT_EQ(Get("/p.txt").body, "plain") << "for those who cannot decode it";
}

TEST_F(AnswerCacheTest, GivesACompressedBodyAgainToThoseWhoCanDecodeIt) {
  Configure("AddOutputFilterByType DEFLATE text/plain");
  WriteOld("www/long.txt", std::string(200000, 'a'));
  const Answer first = Get("/long.txt", "Accept-Encoding: gzip\r\n");
  EXPECT_TRUE(first.is_produced);
  EXPECT_LT(first.body.size(), 1000U);
  const Answer second = Get("/long.txt", "Accept-Encoding: gzip\r\n");
  EXPECT_TRUE(WasGiven());
  EXPECT_FALSE(second.is_produced);
  EXPECT_EQ(second.body, first.body);
  EXPECT_EQ(second.fields, first.fields);
  EXPECT_EQ(Get("/long.txt").body.size(), 200000U);
}

TEST_F(AnswerCacheTest, TellsApartWhatTheModulesHaveToldApart) {
  Configure(
      "SetEnvIf User-Agent Bot is_bot\nHeader set X-Bot yes env=is_bot\n<Location /in>\nRequire ip 192.0.2.1\n"
      "</Location>");
  WriteOld("www/in/a.txt", "inside");
  EXPECT_EQ(Get("/a.txt", "User-Agent: Fox\r\n").fields.find("X-Bot"), std::string::npos);
  EXPECT_NE(Get("/a.txt", "User-Agent: Bot\r\n").fields.find("X-Bot: yes"), std::string::npos);
  EXPECT_FALSE(WasGiven());
  Get("/a.txt", "User-Agent: Fox\r\n");
  EXPECT_TRUE(WasGiven());
  EXPECT_EQ(Get("/in/a.txt").status, 200);
  EXPECT_EQ(Ask("GET", "/in/a.txt", "", "192.0.2.2").status, 403);
}

TEST_F(AnswerCacheTest, GivesNothingToRequestsThatAskForMore) {
  Get("/a.txt");
  Get("/a.txt");
  ASSERT_TRUE(WasGiven());
  EXPECT_EQ(Get("/a.txt", "Range: bytes=0-0\r\n").body, "o");
  EXPECT_EQ(Get("/a.txt", "If-None-Match: \"else\"\r\n").status, 200);
  EXPECT_EQ(Ask("POST", "/a.txt").status, 200);
  EXPECT_EQ(Ask("OPTIONS", "/a.txt").body, "");
  EXPECT_FALSE(WasGiven());
  Get("/a.txt", "Host: other.example\r\n");
  Get("/a.txt?query");
  EXPECT_FALSE(WasGiven());
}

TEST_F(AnswerCacheTest, GivesNotModifiedToThoseWhoHaveTheFile) {
  const std::string fields = Get("/a.txt").fields;
  const size_t at = fields.find("ETag: ");
  const std::string tag = fields.substr(at + 6, fields.find('\r', at) - at - 6);
  const Answer first = Get("/a.txt", "If-None-Match: " + tag + "\r\n");
  EXPECT_EQ(first.status, 304);
  WasGiven();
  const Answer second = Get("/a.txt", "If-None-Match: " + tag + "\r\n");
  EXPECT_TRUE(WasGiven());
  EXPECT_EQ(second.status, 304);
  EXPECT_EQ(second.fields, first.fields);
  EXPECT_TRUE(second.without_body);
  EXPECT_EQ(Get("/a.txt").status, 200);
}

TEST_F(AnswerCacheTest, KeepsNoAnswerOfExpressionsRewritingOrUsers) {
  Configure("Header set X-Time \"%t\"\n<Location /r>\n<If \"-n req('X')\">\nHeader set X-If yes\n</If>\n</Location>");
  WriteOld("www/r/a.txt", "r");
  for (const char* target : {"/a.txt", "/r/a.txt"}) {
    Get(target);
    Get(target);
    EXPECT_FALSE(WasGiven()) << target;
  }
  Configure("RewriteEngine On\nRewriteRule ^/x /y");
  Get("/a.txt");
  Get("/a.txt");
  EXPECT_FALSE(WasGiven());
}

TEST_F(AnswerCacheTest, HoldsNoMoreThanItWasTold) {
  for (int i = 0; i < 20; ++i) {
    const std::string name = "f" + std::to_string(i);
    WriteOld("www/" + name, name);
    EXPECT_EQ(Get("/" + name).body, name);
  }
  EXPECT_EQ(handler_->answers().size(), 8U);
  WasGiven();
  EXPECT_EQ(Get("/f19").body, "f19");
  EXPECT_TRUE(WasGiven());
  Get("/f2");
  EXPECT_FALSE(WasGiven()) << "the longest unused has gone";
}

TEST_F(AnswerCacheTest, IsOffWhereTheConfigurationSaysSo) {
  Configure("OpenFileCache Off");
  Get("/a.txt");
  Get("/a.txt");
  EXPECT_FALSE(WasGiven());
  EXPECT_EQ(handler_->answers().size(), 0U);
  EXPECT_EQ(ConfigFrom("OpenFileCache Off").open_file_cache, 0U);
  EXPECT_EQ(ConfigFrom("OpenFileCache 17").open_file_cache, 17U);
  EXPECT_NE(ComplaintOf("OpenFileCache some").find("OpenFileCache must be Off or a number up to 1000000"),
            std::string::npos);
}

}  // namespace
}  // namespace httpd::modules
