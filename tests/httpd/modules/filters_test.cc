#include "httpd/modules/filters.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>

#include "httpd/config/reader.h"
#include "httpd/modules/module.h"
#include "tests/httpd/modules/coding_check.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

class Filters : public HandlerTest {
 protected:
  Filters() {
    Write("www/a.txt", text_);
    Write("www/a.html", "<html>" + text_);
    Write("www/big.txt", big_);
    Write("www/small.txt", std::string(68, 'x'));
    Write("www/least.txt", std::string(69, 'x'));
    Write("www/empty.txt", "");
  }

  static std::string Field(const Answer& answer, std::string_view name) {
    return std::string(FindField(answer.fields, name));
  }
  static std::string Coding(const Answer& answer) { return Field(answer, "Content-Encoding"); }
  Answer GetAs(const std::string& accept, const std::string& target, const std::string& more = "") {
    return Get(target, "Accept-Encoding: " + accept + "\r\n" + more);
  }

  const std::string text_ = SampleText(5000);
  const std::string big_ = SampleText(300000);
};

TEST_F(Filters, ACompressedAnswerSaysSoAndIsWhatTheFileIs) {
  Configure("SetOutputFilter DEFLATE\n");
  const Answer plain = Get("/a.txt");
  EXPECT_EQ(Coding(plain), "");
  EXPECT_EQ(Field(plain, "Vary"), "Accept-Encoding");
  EXPECT_EQ(plain.body, text_);
  const Answer coded = GetAs("gzip", "/a.txt");
  EXPECT_EQ(Coding(coded), "gzip");
  EXPECT_EQ(Field(coded, "Vary"), "Accept-Encoding");
  EXPECT_EQ(Field(coded, "Content-Type"), "text/plain");
  EXPECT_EQ(Gunzip(coded.body), text_);
  EXPECT_FALSE(coded.is_produced) << "short enough for a Content-Length";
  std::string tag = Field(plain, "ETag");
  tag.insert(tag.size() - 1, "-gzip");
  EXPECT_EQ(Field(coded, "ETag"), tag);
}

TEST_F(Filters, ALongBodyIsMadeWhileItIsSent) {
  for (const auto& [filter, accept, decode] : {std::tuple{"DEFLATE", "gzip", &Gunzip},
                                               {"BROTLI_COMPRESS", "br", &UnBrotli},
                                               {"ZSTD_COMPRESS", "zstd", &UnZstd}}) {
    Configure(std::string("SetOutputFilter ") + filter + "\n");
    const Answer answer = GetAs(accept, "/big.txt");
    EXPECT_TRUE(answer.is_produced);
    EXPECT_EQ(Coding(answer), accept);
    EXPECT_TRUE(decode(answer.body) == big_) << filter;
    EXPECT_TRUE(Field(answer, "ETag").ends_with(std::string("-") + accept + "\"")) << Field(answer, "ETag");
  }
}

TEST_F(Filters, TheClientsLikingDecidesAndOfEqualsTheFirstFilter) {
  Configure("SetOutputFilter BROTLI_COMPRESS;ZSTD_COMPRESS;DEFLATE\n");
  const std::pair<const char*, const char*> kRows[] = {
      {"gzip, deflate, br, zstd", "br"},
      {"gzip, br;q=0.9, zstd;q=0.95", "gzip"},
      {"gzip;q=0.5, zstd;q=0.6", "zstd"},
      {"gzip;q=0, br;q=0", ""},
      {"*", "br"},
      {"*, br;q=0", "zstd"},
      {"*;q=0", ""},
      {"identity;q=0, gzip;q=0.1", "gzip"},
      {"identity, gzip;q=0.9", ""},
      {"identity;q=0.5, gzip;q=0.5", "gzip"},
      {"deflate, compress", ""},
      {"x-gzip", "gzip"},
      {"", ""},
  };
  for (const auto& [accept, coding] : kRows) {
    const Answer answer = GetAs(accept, "/a.txt");
    EXPECT_EQ(Coding(answer), coding) << accept;
    EXPECT_EQ(Field(answer, "Vary"), "Accept-Encoding") << accept;
  }
  EXPECT_EQ(Coding(Get("/a.txt", "Accept-Encoding: br;q=0.5\r\nAccept-Encoding: gzip\r\n")), "gzip");
}

TEST_F(Filters, TheTagOfACodedAnswerBringsA304ThatVaries) {
  Configure("SetOutputFilter DEFLATE\n");
  const std::string tag = Field(GetAs("gzip", "/a.txt"), "ETag");
  const Answer same = GetAs("gzip", "/a.txt", "If-None-Match: " + tag + "\r\n");
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(Field(same, "ETag"), tag);
  EXPECT_EQ(Field(same, "Vary"), "Accept-Encoding");
  EXPECT_EQ(Coding(same), "");
  EXPECT_EQ(Get("/a.txt", "If-None-Match: " + tag + "\r\n").status, 200) << "that is not what it would get";
  EXPECT_EQ(GetAs("gzip", "/a.txt", "If-Match: " + Field(Get("/a.txt"), "ETag") + "\r\n").status, 412);
}

TEST_F(Filters, ARangeOfACodedAnswerIsNotLookedAtAndOfAPlainOneIs) {
  Configure("SetOutputFilter DEFLATE\n");
  const Answer coded = GetAs("gzip", "/a.txt", "Range: bytes=0-9\r\n");
  EXPECT_EQ(coded.status, 200);
  EXPECT_EQ(Gunzip(coded.body), text_);
  const Answer plain = Get("/a.txt", "Range: bytes=0-9\r\n");
  EXPECT_EQ(plain.status, 206);
  EXPECT_EQ(plain.body, text_.substr(0, 10));
  EXPECT_EQ(Field(plain, "Vary"), "Accept-Encoding");
  std::string bomb = "Range: bytes=0-";
  for (int i = 0; i < 150; ++i) bomb += ",0-";
  EXPECT_EQ(GetAs("gzip", "/a.txt", bomb + "\r\n").status, 200);
}

TEST_F(Filters, AHeadHasTheFieldsOfTheGetWithoutALength) {
  Configure("SetOutputFilter DEFLATE\n");
  const Answer get = GetAs("gzip", "/big.txt");
  const Answer head = Ask("HEAD", "/big.txt", "Accept-Encoding: gzip\r\n");
  EXPECT_EQ(head.fields, get.fields);
  EXPECT_TRUE(head.without_body);
  EXPECT_EQ(head.content_length, 0U);
  EXPECT_EQ(Ask("HEAD", "/big.txt").content_length, big_.size());
}

TEST_F(Filters, WhatIsTooShortIsLeftAsItIsAndDoesNotVary) {
  Configure("SetOutputFilter DEFLATE;BROTLI_COMPRESS\n");
  for (const char* target : {"/small.txt", "/empty.txt"}) {
    const Answer answer = GetAs("gzip, br", target);
    EXPECT_EQ(Coding(answer), "") << target;
    EXPECT_EQ(Field(answer, "Vary"), "") << target;
    EXPECT_EQ(Field(answer, "Accept-Ranges"), "bytes") << target;
  }
  EXPECT_EQ(Coding(GetAs("gzip, br", "/least.txt")), "gzip");
}

TEST_F(Filters, VariablesSwitchCompressionOffOrForceIt) {
  Configure(
      "SetOutputFilter DEFLATE;BROTLI_COMPRESS\nSetEnvIf X-Set (.*gzip.*) $1=1\nSetEnvIf X-Set no-gzip no-gzip\n"
      "SetEnvIf X-Set no-brotli no-brotli\nSetEnvIf X-Set only-html gzip-only-text/html\nSetEnvIf X-Set force-gzip "
      "force-gzip\nSetEnvIf X-Set force-no-vary force-no-vary\n");
  EXPECT_EQ(Coding(GetAs("gzip, br", "/a.txt", "X-Set: no-gzip\r\n")), "br");
  EXPECT_EQ(Coding(GetAs("gzip, br", "/a.txt", "X-Set: no-brotli\r\n")), "gzip");
  const Answer neither = GetAs("gzip, br", "/a.txt", "X-Set: no-gzip no-brotli\r\n");
  EXPECT_EQ(Coding(neither), "");
  EXPECT_EQ(Field(neither, "Vary"), "");
  EXPECT_EQ(Coding(GetAs("gzip", "/a.txt", "X-Set: only-html\r\n")), "");
  EXPECT_EQ(Coding(GetAs("gzip", "/a.html", "X-Set: only-html\r\n")), "gzip");
  EXPECT_EQ(Coding(Get("/a.txt", "X-Set: force-gzip\r\n")), "gzip");
  EXPECT_EQ(Field(GetAs("gzip", "/a.txt", "X-Set: force-no-vary\r\n"), "Vary"), "");
}

TEST_F(Filters, FiltersByTypeFollowTheMediaTypeAndTheirSection) {
  Configure(
      "AddOutputFilterByType DEFLATE text/html text/css\n<Location /a.txt>\nAddOutputFilterByType DEFLATE "
      "TEXT/plain\n</Location>\n");
  EXPECT_EQ(Coding(GetAs("gzip", "/a.html")), "gzip");
  EXPECT_EQ(Coding(GetAs("gzip", "/a.txt")), "gzip");
  const Answer other = GetAs("gzip", "/big.txt");
  EXPECT_EQ(Coding(other), "");
  EXPECT_EQ(Field(other, "Vary"), "");
}

TEST_F(Filters, SmartFiltersRunTheProviderWhoseExpressionHolds) {
  Configure(
      "FilterDeclare pack CONTENT_SET\nFilterProvider pack DEFLATE \"%{CONTENT_TYPE} =~ m#^text/#\"\n"
      "FilterProvider pack BROTLI_COMPRESS \"%{req:X-Want} == 'br'\"\nFilterProvider sub SUBSTITUTE \"true\"\n"
      "Substitute s/e/E/\nFilterChain sub pack\n<Location /big.txt>\nFilterChain -pack\n</Location>\n<Location "
      "/small.txt>\nFilterChain !\n</Location>\n");
  std::string changed = text_;
  std::replace(changed.begin(), changed.end(), 'e', 'E');
  EXPECT_EQ(Gunzip(GetAs("gzip, br", "/a.txt").body), changed);
  EXPECT_EQ(UnBrotli(GetAs("gzip, br", "/a.txt", "X-Want: br\r\n").body), changed);
  EXPECT_THAT(Field(GetAs("gzip, br", "/a.txt"), "Vary"), HasSubstr("X-Want"));
  EXPECT_TRUE(Field(GetAs("gzip", "/a.txt"), "ETag").ends_with("-gzip\""));
  EXPECT_EQ(Coding(GetAs("gzip", "/big.txt")), "");
  EXPECT_EQ(GetAs("gzip", "/small.txt").body, std::string(68, 'x'));
}

TEST_F(Filters, AChainNamesWhatItDoesNotKnowInTheErrorLog) {
  Configure("FilterChain none\n");
  EXPECT_EQ(Get("/a.txt").body, text_);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01380: Unknown filter none not added"));
}

TEST_F(Filters, FilterProtocolTakesAwayWhatIsNoLongerTrue) {
  Configure(
      "FilterProvider sub SUBSTITUTE true\nSubstitute s/e/E/\nFilterProtocol sub "
      "change=yes;byteranges=no;cache=no\nFilterChain sub\nFilterTrace sub 1\n");
  const Answer answer = Get("/a.txt", "Range: bytes=0-1\r\n");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(Field(answer, "ETag"), "");
  EXPECT_EQ(Field(answer, "Last-Modified"), "");
  EXPECT_EQ(Field(answer, "Accept-Ranges"), "none");
  EXPECT_EQ(Field(answer, "Cache-Control"), "no-cache");
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01376: sub: type: DATA, length: 5000"));
}

TEST_F(Filters, ErrorDocumentsAreFilteredByNameButNotByType) {
  Configure("ErrorDocument 404 /a.html\n<Location /x>\n</Location>\nSetOutputFilter DEFLATE\n");
  const Answer named = GetAs("gzip", "/none");
  EXPECT_EQ(named.status, 404);
  EXPECT_EQ(Gunzip(named.body), "<html>" + text_);
  Configure("ErrorDocument 404 /a.html\nAddOutputFilterByType DEFLATE text/html\n");
  EXPECT_EQ(Coding(GetAs("gzip", "/none")), "");
  Configure("ErrorDocument 404 /a.html\nAddOutputFilterByType DEFLATE text/html\nSetEnv filter-errordocs 1\n");
  EXPECT_EQ(Coding(GetAs("gzip", "/none")), "gzip");
  Configure("SetOutputFilter DEFLATE\n");
  EXPECT_EQ(Coding(GetAs("gzip", "/none")), "") << "a page of the server's own";
}

TEST_F(Filters, TheTagCanBeLeftOrTakenAway) {
  Configure("SetOutputFilter DEFLATE\nDeflateAlterETag NoChange\n");
  EXPECT_EQ(Field(GetAs("gzip", "/a.txt"), "ETag"), Field(Get("/a.txt"), "ETag"));
  Configure("SetOutputFilter BROTLI_COMPRESS\nBrotliAlterETag Remove\n");
  EXPECT_EQ(Field(GetAs("br", "/a.txt"), "ETag"), "");
  EXPECT_NE(Field(Get("/a.txt"), "ETag"), "");
}

TEST_F(Filters, SubstituteComesBeforeCompressionWhateverTheOrderAndLeavesCodedContentAlone) {
  Configure("SetOutputFilter DEFLATE;SUBSTITUTE\nSubstitute s/[a-q]+/W/\n");
  EXPECT_THAT(Gunzip(GetAs("gzip", "/a.txt").body), testing::StartsWith("W W"));
}

TEST_F(Filters, SubstituteWorksLineByLineWithAllItsFlags) {
  struct Row {
    const char* rules;
    const char* before;
    const char* after;
  };
  const Row kRows[] = {
      {"Substitute s/b+/X/", "abba\nbb", "aXa\nX"},
      {"Substitute s/B/X/i", "abBa\n", "aXXa\n"},
      {"Substitute s/a.c/[$0&]/n", "abc a.c\n", "abc [$0&]\n"},
      {"Substitute s/A.C/x/ni", "abc a.c\n", "abc x\n"},
      {"Substitute \"s/(a)(b)?/<$2$1\\\\$1>/\"", "ab a\n", "<ba$1> <a$1>\n"},
      {"Substitute s/^a/X/", "aaa\naa\n", "Xaa\nXa\n"},
      {"Substitute s/x*/-/", "axb\n", "-a--b-\n"},
      {"Substitute s/x*/-/", "ab", "-a-b-"},
      {"Substitute s/\\n/N/", "a\nb\n", "aNbN"},
      {"Substitute s/a\\nb/N/", "a\nb\n", "a\nb\n"},
      {"Substitute s/a$/E/", "aa\naa", "aa\naE"},
      {"Substitute s/a./E/", "ab\na\n", "E\nE"},
      {"Substitute s|a|/|", "a", "/"},
      {"Substitute s/a/b/\nSubstitute s/bb/c/", "ab\n", "c\n"},
      {"Substitute s/a/b/q\nSubstitute s/bb/c/", "ab\n", "bb\n"},
      {"Substitute s/a/b/q\nSubstitute s/b/c/", "xay\n", "xcy\n"},
      {"Substitute s/a//", "banana\n", "bnn\n"},
      {"Substitute s/a/b/\n<Files *.txt>\nSubstitute s/b/c/\n</Files>", "ab\n", "bc\n"},
      {"SubstituteInheritBefore on\nSubstitute s/a/b/\n<Files *.txt>\nSubstitute s/b/c/\n</Files>", "ab\n", "cc\n"},
  };
  for (const Row& row : kRows) {
    Configure(std::string("SetOutputFilter SUBSTITUTE\n") + row.rules + "\n");
    Write("www/s.txt", row.before);
    EXPECT_EQ(Get("/s.txt").body, row.after) << row.rules;
  }
}

TEST_F(Filters, SubstituteGivesUpOnLinesThatAreOrBecomeTooLong) {
  Configure("SetOutputFilter SUBSTITUTE\nSubstitute s/a/aaaaaaaaaa/\nSubstituteMaxLineLength 100\n");
  Write("www/s.txt", "aaaaaaaaa\n");
  EXPECT_EQ(Get("/s.txt").body, std::string(90, 'a') + "\n");
  Write("www/s.txt", "aaaaaaaaaaa\n");
  EXPECT_TRUE(Get("/s.txt").is_cut);
  Write("www/s.txt", std::string(101, 'b'));
  EXPECT_TRUE(Get("/s.txt").is_cut);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01328: Line too long, URI /s.txt"));
  Configure("SetOutputFilter SUBSTITUTE\nSubstitute s/a/b/\nSubstituteMaxLineLength 1k\n");
  EXPECT_FALSE(Get("/big.txt").is_cut);
}

TEST_F(Filters, APatternThatWouldTakeForeverEndsTheAnswer) {
  Configure("SetOutputFilter SUBSTITUTE\nSubstitute s/(x+x+)+y/z/\n");
  Write("www/s.txt", std::string(5000, 'x') + "\n");
  EXPECT_TRUE(Get("/s.txt").is_cut);
}

TEST_F(Filters, ARateIsTakenFromTheVariablesInKib) {
  Configure(
      "SetOutputFilter RATE_LIMIT\nSetEnv rate-limit 400\nSetEnv rate-initial-burst 512\n<Location "
      "/small.txt>\nSetEnv rate-limit x\n</Location>\n");
  const Answer answer = Get("/big.txt");
  EXPECT_EQ(answer.rate_limit, 400U << 10);
  EXPECT_EQ(answer.rate_burst, 512U << 10);
  EXPECT_EQ(answer.body, big_);
  EXPECT_FALSE(answer.is_produced) << "the file itself, with sendfile";
  EXPECT_EQ(Field(answer, "Accept-Ranges"), "bytes");
  EXPECT_EQ(Get("/small.txt").rate_limit, 0U);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH03488: rl: disabling: rate-limit = x (too high?)"));
  Configure("SetOutputFilter RATE_LIMIT\n");
  EXPECT_EQ(Get("/big.txt").rate_limit, 0U);
}

TEST_F(Filters, PrecompressedFilesStandForTheirOriginals) {
  Configure("PrecompressedFiles On\nSetOutputFilter DEFLATE\n");
  Write("www/p.html", text_);
  Write("www/p.html.gz", Gzip(text_ + "from the file"));
  Write("www/p.html.br", std::string("not looked into"));
  const Answer gzip = GetAs("gzip", "/p.html");
  EXPECT_EQ(Coding(gzip), "gzip");
  EXPECT_EQ(Gunzip(gzip.body), text_ + "from the file");
  EXPECT_EQ(Field(gzip, "Content-Type"), "text/html");
  EXPECT_EQ(Field(gzip, "Vary"), "Accept-Encoding");
  EXPECT_TRUE(Field(gzip, "ETag").ends_with("-gzip\""));
  EXPECT_EQ(Field(gzip, "Accept-Ranges"), "bytes");
  EXPECT_EQ(GetAs("gzip, br", "/p.html").body, "not looked into");
  EXPECT_EQ(GetAs("gzip, br;q=0.5", "/p.html").body, gzip.body);
  const Answer plain = Get("/p.html");
  EXPECT_EQ(plain.body, text_);
  EXPECT_EQ(Field(plain, "Vary"), "Accept-Encoding");
  EXPECT_EQ(GetAs("gzip", "/p.html", "If-None-Match: " + Field(gzip, "ETag") + "\r\n").status, 304);
  const Answer part = GetAs("gzip", "/p.html", "Range: bytes=2-3\r\n");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, gzip.body.substr(2, 2));
  EXPECT_EQ(Coding(GetAs("gzip", "/a.html")), "gzip") << "without a sibling it is compressed as ever";
}

TEST_F(Filters, APrecompressedFileThatIsOlderOrMayNotBeReadIsNoSubstitute) {
  Configure("PrecompressedFiles gzip\nOptions -FollowSymLinks\n");
  Write("www/p.html.gz", Gzip("old"));
  Write("www/p.html", text_);
  const struct timespec kOld[] = {{1, 0}, {1, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (root() + "/www/p.html.gz").c_str(), kOld, 0), 0);
  EXPECT_EQ(GetAs("gzip", "/p.html").body, text_);
  Write("secret", "secret");
  Write("www/q.html", text_);
  ASSERT_EQ(::symlink((root() + "/secret").c_str(), (root() + "/www/q.html.gz").c_str()), 0);
  const Answer linked = GetAs("gzip", "/q.html");
  EXPECT_EQ(linked.status, 200);
  EXPECT_EQ(linked.body, text_);
  Write("www/r.html", text_);
  Write("www/r.html.br", "br");
  EXPECT_EQ(GetAs("br", "/r.html").body, text_) << "only gzip was asked for";
}

std::string Complaint(const std::string& text) {
  config::FileSource files;
  files.read = [&text](const std::string&) -> os::Result<std::string> { return "Listen 8080\n" + text + "\n"; };
  files.expand = [](const std::string&) -> os::Result<std::vector<std::string>> { return std::vector<std::string>(); };
  files.is_directory = [](const std::string&) { return true; };
  files.environment = [](const std::string&) { return std::optional<std::string>(); };
  config::ReadRequest request;
  request.server_root = "/";
  request.config_file = "/test.conf";
  RegisterModules();
  const auto read = config::ReadConfiguration(request, files);
  return read ? "" : read.error().what;
}

TEST(FilterDirectives, SayWhatIsWrongInApachesWords) {
  const std::pair<const char*, const char*> kRows[] = {
      {"SetOutputFilter INCLUDES", "SetOutputFilter: unknown filter INCLUDES, there are BROTLI_COMPRESS, DEFLATE"},
      {"SetInputFilter DEFLATE", "SetInputFilter: request bodies cannot be filtered"},
      {"DeflateInflateLimitRequestBody 1000", "DeflateInflateLimitRequestBody: request bodies are not inflated"},
      {"SetOutputFilter ;", "SetOutputFilter lacks the name of a filter"},
      {"AddOutputFilterByType DEFLATE;NONE text/html", "AddOutputFilterByType: unknown filter NONE"},
      {"FilterProvider x NONE true", "Unknown filter provider NONE"},
      {"FilterProvider x DEFLATE \"%{FOO\"", "Error parsing FilterProvider expression:"},
      {"FilterDeclare x SOMETHING", "\"SOMETHING\" is not RESOURCE"},
      {"FilterProtocol x change=yes", "FilterProtocol: No such filter"},
      {"FilterDeclare x\nFilterProtocol x DEFLATE change=yes", "FilterProtocol: No such provider for this filter"},
      {"FilterDeclare x\nFilterProtocol x change=maybe", "\"change=maybe\" is not change=yes"},
      {"FilterTrace x 1", "Undeclared smart filter x"},
      {"FilterDeclare x\nFilterTrace x 2", "the level is 0 or 1"},
      {"FilterChain +", "lacks the name of a filter"},
      {"DeflateCompressionLevel 10", "Compression Level must be between 1 and 9"},
      {"DeflateWindowSize 16", "DeflateWindowSize must be between 1 and 15"},
      {"DeflateWindowSize 8", "DeflateWindowSize must be between 9 and 15"},
      {"DeflateMemLevel x", "DeflateMemLevel must be between 1 and 9"},
      {"DeflateBufferSize 0", "DeflateBufferSize should be positive"},
      {"DeflateFilterNote Size x", "Unknown DeflateFilterNote type 'Size'"},
      {"DeflateAlterETag Maybe", "DeflateAlterETAG accepts only 'NoChange', 'AddSuffix', and 'Remove'"},
      {"DeflateInflateRatioLimit 0", "DeflateInflateRatioLimit must be positive"},
      {"DeflateInflateRatioBurst -1", "DeflateInflateRatioBurst must be positive"},
      {"BrotliCompressionQuality 12", "BrotliCompressionQuality must be between 0 and 11"},
      {"BrotliCompressionWindow 9", "BrotliCompressionWindow must be between 10 and 24"},
      {"BrotliCompressionMaxInputBlock 15", "BrotliCompressionMaxInputBlock must be between 16 and 24"},
      {"BrotliAlterETag x", "BrotliAlterETag accepts only 'AddSuffix', 'NoChange' and 'Remove'"},
      {"BrotliFilterNote a b", "Unknown BrotliFilterNote type 'a'"},
      {"ZstdCompressionLevel 23", "ZstdCompressionLevel must be between -131072 and 22"},
      {"ZstdWindowSize 24", "ZstdWindowSize must be 0, or between 10 and 23"},
      {"Substitute x/a/b/", "Bad Substitute format, must be an s/// pattern"},
      {"Substitute s/a/b", "Bad Substitute format, must be a complete s/// pattern"},
      {"Substitute s//b/", "Bad Substitute format, must be a complete s/// pattern"},
      {"Substitute s/a/b/g", "Bad Substitute flag, only s///[infq] are supported"},
      {"Substitute s/(a/b/", "Substitute could not compile regex"},
      {"SubstituteMaxLineLength 1x", "SubstituteMaxLineLength must be a non-negative integer optionally suffixed"},
      {"SubstituteMaxLineLength 2g", "SubstituteMaxLineLength value too large"},
      {"PrecompressedFiles deflate", "PrecompressedFiles: \"deflate\" is not On, Off, br, zstd or gzip"},
  };
  for (const auto& [text, complaint] : kRows) EXPECT_THAT(Complaint(text), HasSubstr(complaint)) << text;
  EXPECT_EQ(
      Complaint(
          "DeflateFilterNote Input in\nDeflateFilterNote ratio\nPrecompressedFiles zstd br\nSubstituteMaxLineLength "
          "1G\nZstdCompressionLevel -7\nFilterChain !\nSetOutputFilter deflate;Rate_Limit"),
      "");
}

}  // namespace
}  // namespace httpd::modules
