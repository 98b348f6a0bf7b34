#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

class Negotiated : public HandlerTest {
 protected:
  Negotiated() {
    Write("www/a.html.en", "english");
    Write("www/a.html.de", "deutsch");
    Write("www/sub/index.html.en", "index");
    Configure("");
  }
  void Configure(const std::string& text) {
    HandlerTest::Configure(
        "Options FollowSymLinks MultiViews\nAddLanguage en .en\nAddLanguage de .de\nAddHandler "
        "type-map .var\nLanguagePriority en de\n" +
        text);
  }
};

TEST_F(Negotiated, TheVariantThatIsLikedBestIsSentAndNamed) {
  const Answer answer = Get("/a", "Accept-Language: de\r\n");
  EXPECT_EQ(answer.body, "deutsch");
  EXPECT_THAT(answer.fields, HasSubstr("Content-Location: a.html.de\r\n"));
  EXPECT_THAT(answer.fields, HasSubstr("Vary: negotiate,accept-language\r\n"));
  EXPECT_THAT(answer.fields, HasSubstr("TCN: choice\r\n"));
  EXPECT_THAT(answer.fields, HasSubstr("Content-Language: de\r\n"));
  EXPECT_THAT(answer.fields, testing::ContainsRegex("ETag: W?/?\"[0-9a-f]+-[0-9a-f]+;[0-9a-f]+\"\r\n"));
  EXPECT_EQ(Get("/a.html").body, "english");
  EXPECT_EQ(Get("/a.html.de").body, "deutsch");
  EXPECT_EQ(Get("/a.ht").status, 404);
}

TEST_F(Negotiated, WithoutMultiViewsThereIsNothing) {
  Configure("Options -MultiViews\n");
  EXPECT_EQ(Get("/a").status, 404);
}

TEST_F(Negotiated, ADirectoryIndexIsNegotiatedToo) {
  const Answer answer = Get("/sub/");
  EXPECT_EQ(answer.body, "index");
  EXPECT_THAT(answer.fields, HasSubstr("Content-Location: index.html.en\r\n"));
}

TEST_F(Negotiated, WhatNobodyAcceptsIsListedInThePage) {
  const Answer answer = Get("/a", "Accept: image/png\r\n");
  EXPECT_EQ(answer.status, 406);
  EXPECT_THAT(answer.body, HasSubstr("<li><a href=\"a.html.de\">a.html.de</a>"));
  EXPECT_THAT(answer.fields, HasSubstr("Alternates: {\"a.html.de\" 1 {type text/html}"));
  EXPECT_THAT(answer.fields, HasSubstr("TCN: list\r\n"));
  EXPECT_EQ(Get("/a", "Negotiate: vlist\r\n").status, 300);
}

TEST_F(Negotiated, ExtensionsThatSayNothingMustBeAskedFor) {
  Write("www/b.html.bak", "old");
  EXPECT_EQ(Get("/b").status, 404);
  EXPECT_EQ(Get("/b.html").status, 404);
  Configure("MultiviewsMatch Any\n");
  EXPECT_EQ(Get("/b").body, "old");
}

TEST_F(Negotiated, AVariantThatIsForbiddenIsNoVariant) {
  Configure("<Files a.html.en>\nRequire all denied\n</Files>\n");
  EXPECT_EQ(Get("/a", "Accept-Language: en, de;q=0.1\r\n").body, "deutsch");
}

TEST_F(Negotiated, ANewVariantIsSeenAtOnce) {
  EXPECT_EQ(Get("/a", "Accept-Language: fr, en;q=0.1\r\n").body, "english");
  Configure("AddLanguage fr .fr\n");
  EXPECT_EQ(Get("/a", "Accept-Language: fr, en;q=0.1\r\n").body, "english");
  Write("www/a.html.fr", "francais");
  EXPECT_EQ(Get("/a", "Accept-Language: fr, en;q=0.1\r\n").body, "francais");
  std::filesystem::remove(root() + "/www/a.html.fr");
  EXPECT_EQ(Get("/a", "Accept-Language: fr, en;q=0.1\r\n").body, "english");
}

TEST_F(Negotiated, TheVariablePreferLanguageWins) {
  Configure("SetEnvIf X-Want (.+) prefer-language=$1\n");
  EXPECT_EQ(Get("/a", "X-Want: de\r\nAccept-Language: en\r\n").body, "deutsch");
}

TEST_F(Negotiated, AMapIsFollowedToItsChoice) {
  Write("www/m.var",
        "URI: a.html.en\nContent-Type: text/html\nContent-Language: en\n\nURI: a.html.de\nContent-Type: text/html\n"
        "Content-Language: de\n");
  const Answer answer = Get("/m.var", "Accept-Language: de\r\n");
  EXPECT_EQ(answer.body, "deutsch");
  EXPECT_THAT(answer.fields, HasSubstr("TCN: choice\r\n"));
  EXPECT_THAT(answer.fields, testing::ContainsRegex("ETag: W?/?\"[0-9a-f]+-[0-9a-f]+;[0-9a-f]+-[0-9a-f]+\"\r\n"));
}

TEST_F(Negotiated, AMapCanHoldItsBodies) {
  Write("www/m.var",
        "Content-Type: text/html; charset=utf-8\nContent-Language: en\nBody:--\nhello\n--\n\nContent-Type: "
        "text/html\nContent-Language: de\nBody:--\nhallo\n--\n");
  const Answer answer = Get("/m.var", "Accept-Language: en\r\n");
  EXPECT_EQ(answer.body, "hello\n");
  EXPECT_THAT(answer.fields, HasSubstr("Content-Type: text/html; charset=utf-8\r\n"));
  EXPECT_THAT(answer.fields, HasSubstr("Content-Language: en\r\n"));
  EXPECT_EQ(Ask("PUT", "/m.var").status, 405);
}

TEST_F(Negotiated, AMapCannotLeadOutOfItsServerNorInACircle) {
  Write("secret", "secret");
  Write("www/m.var", "URI: ../../secret\nContent-Type: text/plain\n");
  EXPECT_EQ(Get("/m.var").status, 500);
  Write("www/m.var", "URI: m.var\nContent-Type: text/plain\n");
  EXPECT_EQ(Get("/m.var").status, 506);
  Write("www/m.var", "URI: sub/../m.var\nContent-Type: text/plain\n");
  EXPECT_EQ(Get("/m.var").status, 500);
  Write("www/m.var", "rubbish\n");
  EXPECT_EQ(Get("/m.var").status, 500);
  Write("www/m.var", "URI: none\nContent-Type: text/plain\n");
  EXPECT_EQ(Get("/m.var").status, 404);
}

TEST_F(Negotiated, ADirectoryFullOfVariantsIsBounded) {
  for (int i = 0; i < 300; ++i) Write("www/many/x.html." + std::to_string(i), "x");
  Configure("MultiviewsMatch Any\n");
  EXPECT_EQ(Get("/many/x").status, 200);
}

}  // namespace
}  // namespace httpd::modules
