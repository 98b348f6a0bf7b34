#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "httpd/modules/autoindex_page.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(NaturalCompare, NumbersInNamesCountByTheirValue) {
  EXPECT_LT(NaturalCompare("foo9.c", "foo10.c", false), 0);
  EXPECT_LT(NaturalCompare("1.010", "1.1", false), 0) << "behind a leading zero, digits are a fraction";
  EXPECT_GT(NaturalCompare("a", "B", false), 0);
  EXPECT_LT(NaturalCompare("a", "B", true), 0);
  EXPECT_EQ(NaturalCompare("a b", "ab", false), 0) << "blanks do not count";
  EXPECT_GT(NaturalCompare("x123456789012345678901234567890", "x99", false), 0);
}

TEST(IndexSize, IsFourColumnsWideAsAprWritesIt) {
  const std::pair<int64_t, const char*> cases[] = {
      {-1, "  - "},      {0, "  0 "},          {972, "972 "},       {973, "1.0K"},       {1024, "1.0K"},
      {5000, "4.9K"},    {10188, "9.9K"},      {10200, " 10K"},     {972 << 10, "972K"}, {3000000, "2.9M"},
      {1 << 30, "1.0G"}, {11LL << 30, " 11G"}, {2LL << 40, "2.0T"}, {995327, "972K"}};
  for (const auto& [bytes, text] : cases) EXPECT_EQ(IndexSize(bytes), text) << bytes;
}

TEST(HtmlTitle, IsOneLineUpToTheNextTag) {
  EXPECT_EQ(HtmlTitle("<html><TITLE>\nTwo\nlines <b>x"), "Two lines ");
  EXPECT_EQ(HtmlTitle("<title>never closed"), "never closed");
  EXPECT_EQ(HtmlTitle("<p>none"), std::nullopt);
}

TEST(IndexView, TheQueryIsReadStrictlyAndItsRestIgnored) {
  AutoindexSettings settings;
  IndexView view = MakeIndexView(settings, "C=S;O=D&F=2;V=1;P=*.t%22x");
  EXPECT_EQ(view.key, 'S');
  EXPECT_EQ(view.direction, 'D');
  EXPECT_EQ(view.options, kIndexFancy | kIndexTable | kIndexVersionSort);
  EXPECT_EQ(view.pattern, "*.t\"x");
  EXPECT_EQ(view.column_arguments, ";F=2;V=1;P=*.t%22x");
  for (const char* odd : {"C=X;O=D", "C=SS;O=D", "c=S;O=D", "x;O=D", ";O=D"}) {
    view = MakeIndexView(settings, odd);
    EXPECT_EQ(view.key, 'N') << odd;
    EXPECT_EQ(view.direction, 'A') << odd;
  }
  EXPECT_EQ(MakeIndexView(settings, "P=%zz").pattern, std::nullopt);
  EXPECT_EQ(MakeIndexView(settings, "P=a%00b").pattern, std::nullopt);
  EXPECT_EQ(MakeIndexView(settings, "P=%3cscript%3e%26").column_arguments, ";P=%3cscript%3e&amp;");
  settings.options = kIndexIgnoreClient;
  EXPECT_EQ(MakeIndexView(settings, "C=S;P=a").key, 'N');
  EXPECT_EQ(MakeIndexView(settings, "C=S;P=a").pattern, std::nullopt);
}

TEST(IndexView, APatternNeedsItsLeadingDot) {
  EXPECT_FALSE(FitsIndexPattern("*", ".hidden"));
  EXPECT_TRUE(FitsIndexPattern(".h*", ".hidden"));
  EXPECT_TRUE(FitsIndexPattern("a\\*", "a\\b"));
}

class IndexTest : public HandlerTest {
 protected:
  void SetUp() override {
    Write("www/d/b.txt", "1");
    Write("www/d/a.html", "<title>A page</title>");
    Write("www/d/z.gz", std::string(2000, 'z'));
    Write("www/d/.hidden", "");
    std::filesystem::create_directories(root() + "/www/d/sub");
    for (const char* name : {"b.txt", "a.html", "z.gz", ".hidden", "sub"}) {
      const timespec when[2] = {{1577934245, 0}, {1577934245, 0}};
      ::utimensat(AT_FDCWD, (root() + "/www/d/" + name).c_str(), when, 0);
    }
    ::setenv("TZ", "UTC", 1);
    ::tzset();
  }
  std::string List(const std::string& directives, const std::string& query = "") {
    Configure("Options Indexes FollowSymLinks\n" + directives);
    const Answer answer = Get("/d/" + query);
    EXPECT_EQ(answer.status, 200);
    return answer.body;
  }
};

constexpr char kTop[] =
    "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\n<html>\n <head>\n"
    "  <title>Index of /d</title>\n </head>\n <body>\n<h1>Index of /d</h1>\n";

TEST_F(IndexTest, ASimpleListing) {
  Configure("Options Indexes\n");
  const Answer answer = Get("/d/");
  EXPECT_THAT(answer.fields, HasSubstr("Content-Type: text/html;charset=ISO-8859-1\r\n"));
  EXPECT_EQ(answer.body, std::string(kTop) +
                             "<ul><li><a href=\"/\"> Parent Directory</a></li>\n"
                             "<li><a href=\".hidden\"> .hidden</a></li>\n<li><a href=\"a.html\"> a.html</a></li>\n"
                             "<li><a href=\"b.txt\"> b.txt</a></li>\n<li><a href=\"sub/\"> sub/</a></li>\n"
                             "<li><a href=\"z.gz\"> z.gz</a></li>\n</ul>\n</body></html>\n");
  const Answer head = Ask("HEAD", "/d/");
  EXPECT_TRUE(head.without_body);
  EXPECT_THAT(head.fields, HasSubstr("Content-Type: text/html"));
}

TEST_F(IndexTest, AFancyListingHasIconsDatesSizesAndDescriptions) {
  EXPECT_EQ(
      List("IndexOptions FancyIndexing FoldersFirst ScanHTMLTitles\nIndexIgnore .h* ..\nAddIcon (TXT,/i/t.gif) "
           ".txt\nAddIcon /i/dir.gif ^^DIRECTORY^^\nDefaultIcon /i/d.gif\nAddDescription \"<b>long</b> text that "
           "does not fit\" *.gz\n"),
      std::string(kTop) +
          "<pre>      <a href=\"?C=N;O=D\">Name</a>                    <a href=\"?C=M;O=A\">Last modified</a>     "
          " <a href=\"?C=S;O=A\">Size</a>  <a href=\"?C=D;O=A\">Description</a><hr>"
          "<img src=\"/i/dir.gif\" alt=\"[DIR]\"> <a href=\"sub/\">sub/</a>                    2020-01-02 03:04    "
          "-   \n"
          "<img src=\"/i/d.gif\" alt=\"[   ]\"> <a href=\"a.html\">a.html</a>                  2020-01-02 03:04   "
          "21   A page\n"
          "<img src=\"/i/t.gif\" alt=\"[TXT]\"> <a href=\"b.txt\">b.txt</a>                   2020-01-02 03:04    "
          "1   \n"
          "<img src=\"/i/d.gif\" alt=\"[   ]\"> <a href=\"z.gz\">z.gz</a>                    2020-01-02 03:04  "
          "2.0K  <b>long</b> text that does no>\n<hr></pre>\n</body></html>\n");
}

TEST_F(IndexTest, ATableWithAStyleSheetHasClasses) {
  const std::string page =
      List("IndexOptions FancyIndexing HTMLTable XHTML AddAltClass IconWidth IconHeight=9\nIndexStyleSheet /s.css\n",
           "?P=a*");
  EXPECT_THAT(page, HasSubstr("  <link rel=\"stylesheet\" href=\"/s.css\" type=\"text/css\" />\n"));
  EXPECT_THAT(page, HasSubstr("   <tr class=\"indexbreakrow\"><th colspan=\"5\"><hr /></th></tr>\n   <tr "
                              "class=\"even-parentdir\"><td class=\"indexcolicon\">&nbsp;</td>"));
  EXPECT_THAT(page, HasSubstr("   <tr class=\"odd\"><td class=\"indexcolicon\">&nbsp;</td><td "
                              "class=\"indexcolname\"><a href=\"a.html\">a.html</a>                 </td><td "
                              "class=\"indexcollastmod\">2020-01-02 03:04  </td>"));
}

TEST_F(IndexTest, TheClientMayChooseTheOrder) {
  const std::string page = List("IndexOptions FancyIndexing\n", "?C=S;O=D");
  EXPECT_LT(page.find(">z.gz<"), page.find(">a.html<"));
  EXPECT_LT(page.find(">a.html<"), page.find(">b.txt<"));
  EXPECT_LT(page.find(">b.txt<"), page.find(">sub/<"));
  EXPECT_THAT(page, HasSubstr("<a href=\"?C=S;O=A\">Size</a>"));
}

TEST_F(IndexTest, NamesAreEscaped) {
  Write("www/d/q<&\">.txt", "");
  Write("www/d/c:d", "");
  const std::string page = List("");
  EXPECT_THAT(page, HasSubstr("<li><a href=\"q%3c&amp;%22%3e.txt\"> q&lt;&amp;&quot;&gt;.txt</a></li>"));
  EXPECT_THAT(page, HasSubstr("<li><a href=\"./c:d\"> c:d</a></li>"));
}

TEST_F(IndexTest, OptionsOfSectionsAreAddedAndTakenAway) {
  const std::string directory = "<Directory " + root() + "/www/d>\n";
  std::string page = List("IndexOptions FancyIndexing SuppressSize\n" + directory +
                          "IndexOptions +SuppressDescription -SuppressSize\n</Directory>\n");
  EXPECT_THAT(page, HasSubstr(">Size</a>"));
  EXPECT_THAT(page, Not(HasSubstr("Description")));
  page = List("IndexOptions FancyIndexing\n" + directory + "IndexOptions None\n</Directory>\n");
  EXPECT_THAT(page, HasSubstr("<ul>"));
  page = List("IndexIgnore *.txt\n" + directory + "IndexIgnore sub\n</Directory>\n");
  EXPECT_THAT(page, Not(HasSubstr("b.txt")));
  EXPECT_THAT(page, Not(HasSubstr("sub")));
  page = List("IndexIgnore *.txt\n" + directory + "IndexIgnoreReset On\n</Directory>\n");
  EXPECT_THAT(page, HasSubstr("b.txt"));
}

TEST_F(IndexTest, HeaderAndReadmeStandAroundTheTable) {
  Write("www/d/HEAD.html", "<i>head</i>");
  Write("www/d/foot.txt", "a < b\n");
  const std::string page = List("HeaderName HEAD.html\nReadmeName foot.txt\nServerSignature On\n");
  EXPECT_THAT(page, HasSubstr(" <body>\n<i>head</i><ul>"));
  EXPECT_THAT(page, testing::EndsWith("</ul>\n<pre>\na &lt; b\n</pre>\n</body></html>\n"));
  EXPECT_THAT(List("HeaderName none.html\n"), StartsWith(kTop));
}

TEST_F(IndexTest, WhatTheClientCannotGetIsNotListed) {
  Write("www/d/secret", "");
  std::filesystem::create_symlink("b.txt", root() + "/www/d/link");
  std::filesystem::create_symlink("nowhere", root() + "/www/d/dangling");
  const std::string directives = "<Files secret>\nRequire all denied\n</Files>\n";
  std::string page = List(directives);
  EXPECT_THAT(page, Not(HasSubstr("secret")));
  EXPECT_THAT(page, Not(HasSubstr("dangling")));
  EXPECT_THAT(page, HasSubstr("> link</a>"));
  page = List(directives + "IndexOptions ShowForbidden\nOptions -FollowSymLinks\n");
  EXPECT_THAT(page, HasSubstr("> secret</a>"));
  EXPECT_THAT(page, Not(HasSubstr("> link</a>")));
}

TEST_F(IndexTest, ALargeDirectoryIsListedPieceByPieceAndComplete) {
  for (int i = 0; i < 1200; ++i) Write("www/many/f" + std::to_string(i), "");
  Configure("Options Indexes\nIndexOptions FancyIndexing VersionSort\n");
  const Answer answer = Get("/many/");
  EXPECT_TRUE(answer.is_produced);
  size_t last = 0;
  for (int i = 0; i < 1200; ++i) {
    const size_t at = answer.body.find("\"f" + std::to_string(i) + "\"");
    ASSERT_NE(at, std::string::npos) << i;
    EXPECT_GT(at, last) << i;
    last = at;
  }
  EXPECT_THAT(answer.body, testing::EndsWith("<hr></pre>\n</body></html>\n"));
}

TEST_F(IndexTest, WithoutIndexesThereIsNoListing) {
  Configure("Options None\n");
  EXPECT_EQ(Get("/d/").status, 403);
  EXPECT_THAT(ErrorLog(), HasSubstr("AH01276: Cannot serve directory " + root() + "/www/d/: No matching"));
}

TEST_F(IndexTest, AnIndexFileThatMayNotBeReadIsNotReplacedByAListing) {
  Write("outside", "x");
  std::filesystem::create_symlink(root() + "/outside", root() + "/www/d/index.html");
  Configure("Options Indexes\n");
  EXPECT_EQ(Get("/d/").status, 403);
}

TEST(IndexOptions, WhatIsWrongIsSaidInApachesWords) {
  const std::pair<const char*, const char*> cases[] = {
      {"IndexOptions Bogus", "Invalid directory indexing option"},
      {"IndexOptions +None", "Cannot combine '+' or '-' with 'None' keyword"},
      {"IndexOptions None FancyIndexing", "Cannot combine other IndexOptions keywords with 'None'"},
      {"IndexOptions NameWidth=3", "NameWidth value must be greater than 5"},
      {"IndexOptions NameWidth=999999", "NameWidth value must not be greater than 1000"},
      {"IndexOptions NameWidth", "NameWidth with no value may only appear as '-NameWidth'"},
      {"IndexOptions -IconWidth=3", "Cannot combine '-' with IconWidth=n"},
      {"IndexOrderDefault Up Name", "First keyword must be 'Ascending' or 'Descending'"},
      {"IndexOrderDefault Ascending x", "Second keyword must be 'Name', 'Date', 'Size', or 'Description'"},
      {"AddIcon (x,y .txt", "missing closing paren"},
      {"FancyIndexing On", "no longer supported"}};
  for (const auto& [directive, text] : cases) EXPECT_THAT(ComplaintOf(directive), HasSubstr(text)) << directive;
}

}  // namespace
}  // namespace httpd::modules
