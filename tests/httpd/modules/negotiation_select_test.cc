#include "httpd/modules/negotiation_select.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

namespace httpd::modules::negotiation {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Asked {
  const char* accept = nullptr;
  const char* language = nullptr;
  const char* encoding = nullptr;
  const char* charset = nullptr;
  const char* negotiate = nullptr;
};

Negotiation For(const Asked& asked, std::vector<Variant> variants) {
  const auto view = [](const char* text) { return text ? std::string_view(text) : std::string_view(); };
  Negotiation out(
      {view(asked.accept), view(asked.language), view(asked.encoding), view(asked.charset), view(asked.negotiate), ""});
  out.variants = std::move(variants);
  return out;
}

Variant Of(const char* name, const char* type, const char* language = "", const char* encoding = "",
           int64_t bytes = 10) {
  Variant out;
  out.file_name = name;
  out.SetType(type);
  if (*language != '\0') out.languages = {language};
  out.encoding = encoding;
  out.bytes = bytes;
  return out;
}

template <class... V>
std::string Chosen(const Asked& asked, V... variants) {
  std::vector<Variant> list;
  (list.push_back(std::move(variants)), ...);
  Negotiation negotiation = For(asked, std::move(list));
  const Variant* best = negotiation.Choose(true, false, false);
  return best ? best->file_name : "";
}

TEST(AcceptFields, AreReadLeniently) {
  const auto items = ParseAccept("Text/HTML;level=3;Q=0.5 , */*;q=.25,a/b; charset=\"UTF-8\" ;q=7,,x/y;q=0.0009");
  ASSERT_TRUE(items);
  ASSERT_GE(items->size(), 4u);
  EXPECT_EQ((*items)[0].name, "text/html");
  EXPECT_FLOAT_EQ((*items)[0].quality, 0.5F);
  EXPECT_FLOAT_EQ((*items)[0].level, 3);
  EXPECT_FLOAT_EQ((*items)[1].quality, 0.25F);
  EXPECT_EQ((*items)[2].charset, "utf-8");
  EXPECT_FLOAT_EQ((*items)[2].quality, 1);
  EXPECT_FLOAT_EQ(items->back().quality, 0);
  EXPECT_FALSE(ParseAccept({}));
}

TEST(AcceptFields, OfAnySizeCostLittle) {
  EXPECT_EQ(ParseAccept(std::string(100000, ','))->size(), 200u);
  for (const char* text : {"\"", "\"a", ";", ";;=", "a;b=\"", "a;=", ",", " ", "a;q", "\";\",;"}) {
    EXPECT_TRUE(ParseAccept(text)) << text;
  }
}

TEST(Choice, TypeTimesSourceQualityComesFirst) {
  const Asked asked{.accept = "text/html;q=0.5, text/plain;q=0.8", .language = "de"};
  EXPECT_EQ(Chosen(asked, Of("h", "text/html", "de"), Of("p", "text/plain", "fr")), "h") << "fr is not acceptable";
  EXPECT_EQ(Chosen(asked, Of("h", "text/html", "de"), Of("p", "text/plain", "de")), "p");
  EXPECT_EQ(Chosen(asked, Of("h", "text/html", "de"), Of("p", "text/plain;qs=0.5", "de")), "h");
}

TEST(Choice, WildcardsCountLittleUnlessQualitiesAreGiven) {
  EXPECT_EQ(Chosen({.accept = "image/png, */*"}, Of("h", "text/html"), Of("i", "image/png;qs=0.1")), "i");
  EXPECT_EQ(Chosen({.accept = "image/png;q=0.9, */*"}, Of("h", "text/html"), Of("i", "image/png;qs=0.1")), "h");
}

TEST(Choice, LanguagesMatchByPrefixAndBetterThanNothing) {
  const auto of = [](const char* field) {
    return Chosen({.language = field}, Of("en", "a/b", "en"), Of("de", "a/b", "de-at"), Of("none", "a/b"));
  };
  EXPECT_EQ(of("de"), "de");
  EXPECT_EQ(of("en-us"), "en");
  EXPECT_EQ(of("en-us, de;q=0.1"), "de");
  EXPECT_EQ(of("it"), "none");
  EXPECT_EQ(of("en;q=0, de;q=0"), "none");
}

TEST(Choice, LanguagePriorityDecidesAsItIsForced) {
  const auto of = [](const char* field, unsigned force) {
    std::vector<Variant> variants;
    variants.push_back(Of("de", "a/b", "de"));
    variants.push_back(Of("fr", "a/b", "fr"));
    Negotiation negotiation = For({.language = field}, std::move(variants));
    negotiation.priority = {"fr", "de"};
    negotiation.force = force;
    const Variant* best = negotiation.Choose(true, false, false);
    return best ? best->file_name : "";
  };
  EXPECT_EQ(of("de, fr", kForcePrefer), "fr");
  EXPECT_EQ(of("de, fr;q=0.9", kForcePrefer), "de");
  EXPECT_EQ(of("it", kForcePrefer), "");
  EXPECT_EQ(of("it", kForceFallback), "fr");
  EXPECT_EQ(of("de, fr", kForceNone), "de");
}

TEST(Choice, ThePreferredLanguageWinsIfThereIsOne) {
  std::vector<Variant> variants;
  variants.push_back(Of("de", "a/b", "de"));
  variants.push_back(Of("fr", "a/b", "fr"));
  Negotiation negotiation = For({.language = "de"}, std::move(variants));
  negotiation.preferred_language = "fr";
  EXPECT_EQ(negotiation.Choose(true, false, false)->file_name, "fr");
  negotiation.preferred_language = "it";
  EXPECT_EQ(negotiation.Choose(true, false, false)->file_name, "de");
}

TEST(Choice, LevelCharsetEncodingAndLengthDecideInThisOrder) {
  EXPECT_EQ(Chosen({.accept = "text/html;level=3"}, Of("2", "text/html;level=2"), Of("3", "text/html;level=3")), "3");
  EXPECT_EQ(Chosen({}, Of("latin", "a/b;charset=iso-8859-1", "", "", 1), Of("utf", "a/b;charset=utf-8")), "utf");
  EXPECT_EQ(Chosen({}, Of("gz", "a/b", "", "gzip", 1), Of("plain", "a/b")), "plain");
  EXPECT_EQ(Chosen({.encoding = "gzip"}, Of("plain", "a/b", "", "", 1), Of("gz", "a/b", "", "x-gzip")), "gz");
  EXPECT_EQ(Chosen({.encoding = "gzip, identity;q=0"}, Of("plain", "a/b", "", "", 1)), "");
  EXPECT_EQ(Chosen({}, Of("long", "a/b"), Of("short", "a/b", "", "", 9)), "short");
}

TEST(Choice, ProgramsArePreferredForWhatIsSentToThem) {
  std::vector<Variant> variants;
  variants.push_back(Of("html", "text/html"));
  variants.push_back(Of("program", "application/x-httpd-cgi"));
  Negotiation negotiation = For({.accept = "text/html"}, std::move(variants));
  EXPECT_EQ(negotiation.Choose(false, false, true)->file_name, "program");
}

TEST(TransparentNegotiation, AClientThatWantsTheListIsGivenIt) {
  for (const auto& [field, wants_list] : {std::pair{"vlist", true}, {"trans", true}, {"*", false}, {"foo", false}}) {
    std::vector<Variant> variants;
    variants.push_back(Of("a b", "text/html;qs=0.25", "de"));
    variants.push_back(Of("c", "text/plain", "fr", "gzip"));
    Negotiation negotiation = For({.negotiate = field}, std::move(variants));
    const Variant* best = negotiation.Choose(true, false, false);
    EXPECT_EQ(best == nullptr, std::string_view(field) != "*") << field;
    EXPECT_EQ(negotiation.wants_list(), wants_list || std::string_view(field) == "*") << field;
    EXPECT_EQ(negotiation.Alternates(),
              "{\"a%20b\" 0.25 {type text/html} {language de} {length 10}}, {\"c\" 1 {type text/plain} {language fr} "
              "{encoding gzip} {length 10}}");
    EXPECT_EQ(negotiation.Vary(), "negotiate,accept,accept-language,accept-encoding");
    EXPECT_THAT(negotiation.ListHtml(), HasSubstr("<a href=\"a%20b\">a b</a> , type text/html, language de</li>"));
  }
}

TEST(TransparentNegotiation, IsForReadingNeighboursOnly) {
  std::vector<Variant> variants;
  variants.push_back(Of("../a", "text/html"));
  Negotiation negotiation = For({.negotiate = "vlist"}, std::move(variants));
  EXPECT_NE(negotiation.Choose(true, false, false), nullptr);
  EXPECT_FALSE(negotiation.is_transparent());
}

TEST(TypeMaps, AreReadWithContinuationsCommentsAndBodies) {
  std::string problem;
  const std::string text =
      "# a comment\nURI: all; vary=\"type\"\n\nURI: a.html (not me)\nContent-type: text/html;\n  qs=0.5\n"
      "Content-Language: EN, fr\nContent-Length: 7\nDescription: \"A\"\n\n"
      "Content-Type: text/plain\nBody:----x\nline (one)\n\nline: two\n----x----\n\nURI: without\n";
  const auto variants = ParseTypeMap(text, "m.var", problem);
  ASSERT_TRUE(variants) << problem;
  ASSERT_EQ(variants->size(), 2u);
  const Variant& first = (*variants)[0];
  EXPECT_EQ(first.file_name, "a.html");
  EXPECT_FLOAT_EQ(first.source_quality, 0.5F);
  EXPECT_THAT(first.languages, ElementsAre("en", "fr"));
  EXPECT_EQ(first.bytes, 7);
  const Variant& second = (*variants)[1];
  EXPECT_EQ(second.file_name, "m.var");
  ASSERT_TRUE(second.has_body);
  EXPECT_EQ(text.substr(second.body_offset, static_cast<size_t>(*second.bytes)), "line (one)\n\nline: two\n");
}

TEST(TypeMaps, ThatAreWrongSayWhy) {
  for (const auto& [text, why] : {std::pair{"URI a\n", "no ':'"},
                                  {"URI:\n", "no header body"},
                                  {"URI: a\nContent-Length: x\n", "invalid"},
                                  {"Content-Type: a/b\nBody: end\nx\n", "no end of Body"},
                                  {"URI: a\nContent-Language: e\rn\n", "control"}}) {
    std::string problem;
    EXPECT_FALSE(ParseTypeMap(text, "m", problem)) << text;
    EXPECT_THAT(problem, HasSubstr(why));
  }
}

}  // namespace
}  // namespace httpd::modules::negotiation
