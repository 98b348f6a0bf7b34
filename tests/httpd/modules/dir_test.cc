#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;

class Dir : public HandlerTest {
 protected:
  Dir() {
    Write("www/a.txt", "a");
    Write("www/d/b.txt", "b");
    Write("www/d/c.txt", "c");
  }
  /// Configures what holds for /d/.
  void ConfigureD(const std::string& text) {
    Configure("<Directory " + root() + "/www/d>\n" + text + "\n</Directory>\n");
  }
};

TEST_F(Dir, TheFirstIndexThatExistsIsSentAndLinesAddUp) {
  ConfigureD("DirectoryIndex none.html\nDirectoryIndex c.txt b.txt");
  EXPECT_EQ(Get("/d/").body, "c");
}

TEST_F(Dir, AnIndexMayLieElsewhereAndDisabledForgetsThoseBefore) {
  ConfigureD("DirectoryIndex /a.txt");
  EXPECT_EQ(Get("/d/").body, "a");
  Configure("DirectoryIndex b.txt\n<Directory " + root() + "/www/d>\nDirectoryIndex disabled\n</Directory>\n");
  EXPECT_EQ(Get("/d/").status, 403);
}

TEST_F(Dir, AnIndexThatIsForbiddenDoesNotOpenTheListing) {
  ConfigureD("Options Indexes\nDirectoryIndex b.txt\n<Files b.txt>\nRequire all denied\n</Files>");
  EXPECT_EQ(Get("/d/").status, 403);
}

TEST_F(Dir, TheMissingSlashIsAddedWithTheQuery) {
  for (const char* method : {"GET", "OPTIONS", "POST"}) {
    const Answer answer = Ask(method, "/d?x=1");
    EXPECT_EQ(answer.status, 301) << method;
    EXPECT_THAT(answer.fields, HasSubstr("Location: http://site.example/d/?x=1\r\n"));
  }
}

TEST_F(Dir, DirectorySlashCanBeOffOrNotFound) {
  ConfigureD("DirectorySlash Off\nOptions Indexes");
  EXPECT_NE(Get("/d").status, 301);
  ConfigureD("DirectorySlash NotFound");
  EXPECT_EQ(Get("/d").status, 404);
}

TEST_F(Dir, TheClientCanBeSentToTheIndex) {
  ConfigureD("DirectoryIndex b.txt\nDirectoryIndexRedirect seeother");
  const Answer answer = Get("/d/");
  EXPECT_EQ(answer.status, 303);
  EXPECT_THAT(answer.fields, HasSubstr("Location: http://site.example/d/b.txt\r\n"));
}

TEST_F(Dir, AFallbackAnswersForWhatDoesNotExistAndCanBeDisabled) {
  Write("www/d/sub/x.txt", "x");
  Configure("<Directory " + root() + "/www/d>\nFallbackResource /a.txt\n</Directory>\n<Directory " + root() +
            "/www/d/sub>\nFallbackResource disabled\n</Directory>\n");
  EXPECT_EQ(Get("/d/none/at/all").body, "a");
  EXPECT_EQ(Get("/d/b.txt").body, "b");
  EXPECT_EQ(Get("/d/sub/none").status, 404);
}

TEST_F(Dir, ADirectoryWithAHandlerHasNoIndexWhereThatIsChecked) {
  ConfigureD("DirectoryIndex b.txt\nSetHandler unknown");
  EXPECT_EQ(Get("/d/").body, "b");
  ConfigureD("DirectoryIndex b.txt\nDirectoryCheckHandler On\nSetHandler unknown");
  EXPECT_NE(Get("/d/").body, "b");
}

}  // namespace
}  // namespace httpd::modules
