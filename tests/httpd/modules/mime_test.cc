#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "httpd/modules/media_type.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

class Mime : public HandlerTest {
 protected:
  std::string FieldsOf(const std::string& name) {
    Write("www/" + name, "content");
    return Get("/" + name).fields;
  }
};

TEST_F(Mime, EveryExtensionOfANameSaysItsPart) {
  Configure("AddLanguage pt-BR .pt-br\nAddLanguage de de\nAddEncoding x-gzip .packed\nAddCharset UTF-8 utf8\n");
  const std::string fields = FieldsOf("a.html.PT-BR.de.utf8.packed");
  EXPECT_THAT(fields, HasSubstr("Content-Type: text/html; charset=utf-8\r\n"));
  EXPECT_THAT(fields, HasSubstr("Content-Language: pt-br,de\r\n"));
  EXPECT_THAT(fields, HasSubstr("Content-Encoding: x-gzip\r\n"));
}

TEST_F(Mime, UnknownAndEmptyExtensionsAndTheNameItselfSayNothing) {
  EXPECT_THAT(FieldsOf("a.html..unknown"), HasSubstr("Content-Type: text/html\r\n"));
  EXPECT_THAT(FieldsOf("html"), Not(HasSubstr("Content-Type")));
  EXPECT_THAT(FieldsOf("..html"), Not(HasSubstr("Content-Type"))) << "leading dots are part of the name";
}

TEST_F(Mime, AddTypeWinsOverTypesConfigAndInnerSectionsOverOuterOnes) {
  Configure("AddType x/outer .txt .new\n<Directory " + root() + "/www/d>\nAddType x/inner txt\n</Directory>\n");
  EXPECT_THAT(FieldsOf("a.txt"), HasSubstr("Content-Type: x/outer\r\n"));
  EXPECT_THAT(FieldsOf("d/a.txt"), HasSubstr("Content-Type: x/inner\r\n"));
  EXPECT_THAT(FieldsOf("d/a.new"), HasSubstr("Content-Type: x/outer\r\n"));
}

TEST_F(Mime, RemovalsTakeAwayWhatOuterSectionsAndTheirOwnAdded) {
  Configure(
      "AddLanguage de .de\nAddEncoding gzip .packed\nAddCharset utf-8 .u\nAddType text/html .u\n<Directory " + root() +
      "/www/d>\nAddLanguage fr .fr\nRemoveLanguage .de .fr\nRemoveEncoding packed\nRemoveType .txt\nRemoveCharset "
      ".u\n</Directory>\n");
  EXPECT_THAT(FieldsOf("d/a.txt.de.fr.packed"), Not(HasSubstr("Content-")));
  EXPECT_THAT(FieldsOf("a.txt.de.packed"), HasSubstr("Content-Encoding: gzip\r\n"));
  EXPECT_THAT(FieldsOf("d/a.u"), HasSubstr("Content-Type: text/html\r\n"));
}

TEST_F(Mime, DefaultLanguageIsForFilesWithoutOne) {
  Configure("AddLanguage de .de\nDefaultLanguage en\n");
  EXPECT_THAT(FieldsOf("a.txt"), HasSubstr("Content-Language: en\r\n"));
  EXPECT_THAT(FieldsOf("a.txt.de"), HasSubstr("Content-Language: de\r\n"));
}

TEST_F(Mime, ForceTypeWinsAndNoneGivesTheExtensionsTheirSayAgain) {
  Configure("ForceType image/gif\n<Directory " + root() + "/www/d>\nForceType None\n</Directory>\n");
  EXPECT_THAT(FieldsOf("a.txt"), HasSubstr("Content-Type: image/gif\r\n"));
  EXPECT_THAT(FieldsOf("d/a.txt"), HasSubstr("Content-Type: text/plain\r\n"));
}

TEST_F(Mime, TheDefaultCharsetIsForTextWithoutOne) {
  Configure("AddDefaultCharset utf-8\nAddCharset x .x\nAddType image/gif .gif\n");
  EXPECT_THAT(FieldsOf("a.txt"), HasSubstr("Content-Type: text/plain; charset=utf-8\r\n"));
  EXPECT_THAT(FieldsOf("a.txt.x"), HasSubstr("Content-Type: text/plain; charset=x\r\n"));
  EXPECT_THAT(FieldsOf("a.gif"), HasSubstr("Content-Type: image/gif\r\n"));
}

TEST_F(Mime, PathInfoCountsWhereItIsWanted) {
  Write("www/d/a", "content");
  Configure("<Directory " + root() + "/www/d>\nAcceptPathInfo On\nModMimeUsePathInfo On\n</Directory>\n");
  EXPECT_THAT(Get("/d/a/x.html").fields, HasSubstr("Content-Type: text/html\r\n"));
}

TEST(WithCharset, ReplacesTheCharsetAndKeepsTheOtherParameters) {
  EXPECT_EQ(WithCharset("text/html", "x"), "text/html; charset=x");
  EXPECT_EQ(WithCharset("text/html;a=\"b;c\" ; CharSet=old;d=e", "x"), "text/html; a=\"b;c\"; charset=x; d=e");
  EXPECT_EQ(WithCharset("text/html;level=1", ""), "text/html;level=1");
  EXPECT_EQ(WithCharset("nonsense", "x"), "nonsense");
}

}  // namespace
}  // namespace httpd::modules
