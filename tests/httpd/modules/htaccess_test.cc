#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>

#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

class HtaccessTest : public HandlerTest {
 protected:
  void Allow(const std::string& overrides, const std::string& more = "") {
    Configure("<Directory " + root() + "/www>\nAllowOverride " + overrides + "\n</Directory>\n" + more);
  }
  /// A file's time moves even when two writes fall into one tick of the clock.
  void Rewrite(const std::string& name, const std::string& content) {
    Write(name, content);
    const std::filesystem::path path = root() + "/" + name;
    std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(++moved_));
  }

 private:
  int moved_ = 0;
};

TEST_F(HtaccessTest, IsNotReadUnlessAllowed) {
  Write("www/a.txt", "a");
  Write("www/.htaccess", "Require all denied\nNonsense\n");
  EXPECT_EQ(Get("/a.txt").status, 200);
  Allow("None");
  EXPECT_EQ(Get("/a.txt").status, 200);
}

TEST_F(HtaccessTest, HoldsForItsDirectoryAndWhatIsBelowAndDeeperOnesWin) {
  Write("www/a.txt", "a");
  Write("www/one/b.txt", "b");
  Write("www/one/two/c.txt", "c");
  Write("www/one/.htaccess", "ForceType text/one\n");
  Write("www/one/two/.htaccess", "ForceType text/two\n");
  Allow("All");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("Content-Type: text/plain"));
  EXPECT_THAT(Get("/one/b.txt").fields, HasSubstr("Content-Type: text/one"));
  EXPECT_THAT(Get("/one/two/c.txt").fields, HasSubstr("Content-Type: text/two"));
}

TEST_F(HtaccessTest, ADeeperDirectorySectionComesAfterTheFileOfAnUpperDirectory) {
  Write("www/one/b.txt", "b");
  Write("www/.htaccess", "ForceType text/upper\n");
  Allow("All", "<Directory " + root() + "/www/one>\nForceType text/section\n</Directory>\n");
  EXPECT_THAT(Get("/one/b.txt").fields, HasSubstr("Content-Type: text/section"));
}

TEST_F(HtaccessTest, AChangedFileHoldsAtOnceAndAnUnchangedOneIsReadOnce) {
  Write("www/a.txt", "a");
  Allow("All");
  for (const char* type : {"text/one", "text/two", "text/three"}) {
    Rewrite("www/.htaccess", std::string("ForceType ") + type + "\n");
    EXPECT_THAT(Get("/a.txt").fields, HasSubstr(type));
    EXPECT_THAT(Get("/a.txt").fields, HasSubstr(type));
  }
  std::filesystem::remove(root() + "/www/.htaccess");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("text/plain"));
}

TEST_F(HtaccessTest, SaysOnlyWhatItsClassesAllow) {
  Write("www/a.txt", "a");
  Write("www/.htaccess", "Require all denied\n");
  Allow("FileInfo Indexes Options");
  EXPECT_EQ(Get("/a.txt").status, 500);
  EXPECT_THAT(ErrorLog(), HasSubstr("www/.htaccess: Require not allowed here (line 1)"));
  Allow("AuthConfig");
  EXPECT_EQ(Get("/a.txt").status, 403);
}

TEST_F(HtaccessTest, AllowOverrideListNamesSingleDirectives) {
  Write("www/a.txt", "a");
  Write("www/.htaccess", "ForceType text/listed\n");
  Configure("<Directory " + root() + "/www>\nAllowOverride None\nAllowOverrideList ForceType\n</Directory>\n");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("text/listed"));
  Write("www/.htaccess", "Options Indexes\n");
  EXPECT_EQ(Get("/a.txt").status, 500);
}

TEST_F(HtaccessTest, OptionsAreLimitedToThoseThatWereNamed) {
  Write("www/one/b.txt", "b");
  Write("www/one/.htaccess", "Options +Indexes\n");
  Allow("Options=Indexes");
  EXPECT_EQ(Get("/one/").status, 200);
  Rewrite("www/one/.htaccess", "Options +ExecCGI\n");
  EXPECT_EQ(Get("/one/b.txt").status, 500);
  EXPECT_THAT(ErrorLog(), HasSubstr("Option ExecCGI not allowed here"));
}

TEST_F(HtaccessTest, NonfatalSkipsWhatIsForbiddenOrUnknownAndObeysTheRest) {
  Write("www/a.txt", "a");
  Write("www/.htaccess", "Require all denied\nNonsense on\nForceType text/rest\n");
  Allow("FileInfo Nonfatal=All");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("text/rest"));
  Allow("FileInfo Nonfatal=Override");
  EXPECT_EQ(Get("/a.txt").status, 500);
  EXPECT_THAT(ErrorLog(), HasSubstr("Invalid command 'Nonsense'"));
}

TEST_F(HtaccessTest, SectionsOfFilesAreObeyed) {
  Write("www/a.txt", "a");
  Write("www/b.txt", "b");
  Write("www/.htaccess",
        "<Files b.txt>\nRequire all denied\n</Files>\n<FilesMatch ^a>\nForceType text/match\n</FilesMatch>\n");
  Allow("All");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("text/match"));
  EXPECT_EQ(Get("/b.txt").status, 403);
}

TEST_F(HtaccessTest, CannotIncludeDefineOrBeHuge) {
  Write("www/a.txt", "a");
  Allow("All");
  for (const std::string& text : {std::string("Include /etc/passwd\n"), std::string("Define X y\n"),
                                  std::string(300000, '#') + "\n", std::string("<Directory />\n</Directory>\n"),
                                  std::string("<VirtualHost *>\n</VirtualHost>\n"), std::string("Listen 80\n")}) {
    Rewrite("www/.htaccess", text);
    EXPECT_EQ(Get("/a.txt").status, 500) << text.substr(0, 40);
  }
}

TEST_F(HtaccessTest, AnotherNameIsReadInsteadAndTheFirstThatExists) {
  Write("www/a.txt", "a");
  Write("www/.conf2", "ForceType text/second\n");
  Allow("All", "AccessFileName .conf1 .conf2\n");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("text/second"));
  Write("www/.conf1", "ForceType text/first\n");
  EXPECT_THAT(Get("/a.txt").fields, HasSubstr("text/first"));
}

TEST_F(HtaccessTest, WhatComesBehindAFileIsNotServed) {
  Write("www/a.txt", "a");
  EXPECT_EQ(Get("/a.txt/more").status, 404);
  EXPECT_EQ(Get("/a.txt/").status, 404);
  EXPECT_EQ(Get("/missing/more/still").status, 404);
  EXPECT_THAT(ErrorLog(), HasSubstr("/www/missing/more/still"));
}

}  // namespace
}  // namespace httpd::modules
