#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "httpd/config/reader.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

class InfoTest : public HandlerTest {
 protected:
  void SetUp() override {
    Configure(
        "<Location /info>\nSetHandler server-info\n</Location>\nAddModuleInfo mod_headers.c <b>more</b>\n"
        "<Files a>\nHeader set X \"<&>\"\n</Files>\n");
  }
};

TEST_F(InfoTest, TheConfigurationIsShownWithItsLines) {
  const Answer answer = Get("/info?config");
  EXPECT_THAT(answer.fields, HasSubstr("Content-Type: text/html; charset=ISO-8859-1\r\n"));
  EXPECT_THAT(answer.body, HasSubstr("<dd><tt><strong>In file: /test.conf</strong></tt></dd>\n"));
  EXPECT_THAT(answer.body, HasSubstr("&nbsp;&nbsp;&nbsp;7:&nbsp;&lt;Location /info&gt;</tt></dd>\n<dd><tt>&nbsp;&nbsp;"
                                     "&nbsp;8:&nbsp;&nbsp;&nbsp;SetHandler <i>server-info</i></tt></dd>\n"));
  EXPECT_THAT(answer.body, HasSubstr("Header <i>set X &quot;&lt;&amp;&gt;&quot;</i>"));
}

TEST_F(InfoTest, AModuleHasItsDirectivesAndWhatIsSaidWithThem) {
  const std::string page = Get("/info?mod_headers.c").body;
  EXPECT_THAT(page, HasSubstr("<dd><tt>RequestHeader - <i>"));
  EXPECT_THAT(page, HasSubstr("<tt>Fixups</tt>"));
  EXPECT_THAT(page, HasSubstr(":&nbsp;&lt;Files a&gt;</tt></dd>\n"));
  EXPECT_THAT(page, Not(HasSubstr("&lt;Location")));
  EXPECT_THAT(page, HasSubstr("<dt><strong>Additional Information:</strong>\n</dt><dd><b>more</b></dd>"));
}

TEST_F(InfoTest, SubpagesHaveTheirPart) {
  EXPECT_THAT(Get("/info?list").body, HasSubstr("<dd>core.c</dd>"));
  EXPECT_THAT(Get("/info?server").body, HasSubstr("<dt><strong>Server Root:</strong> <tt>" + root() + "</tt></dt>"));
  EXPECT_THAT(Get("/info?hooks").body, HasSubstr("<a href=\"?mod_setenvif.c\">mod_setenvif.c</a>"));
  EXPECT_THAT(Get("/info?<script>").body, Not(HasSubstr("script>")));
  EXPECT_THAT(Get("/info").body, HasSubstr("<a href=\"?config\">Configuration Files</a>"));
}

}  // namespace
}  // namespace httpd::modules
