#include "httpd/modules/prefix_index.h"

#include <gtest/gtest.h>

#include <random>

#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/module.h"

namespace httpd::modules {
namespace {

std::vector<size_t> All(const PrefixIndex& index, const std::string& text) {
  PrefixIndex::Candidates candidates;
  index.Find(text, candidates);
  std::vector<size_t> out;
  for (size_t i = candidates.Next(0); i != PrefixIndex::kNone; i = candidates.Next(i + 1)) out.push_back(i);
  return out;
}

TEST(PrefixIndex, NamesThoseWhosePrefixATextHasInTheirOrder) {
  PrefixIndex index;
  index.Add(0, "/shop/");
  index.Add(1, "");
  index.Add(2, "/sh");
  index.Add(3, "/shop/cart");
  index.Add(4, "/shop/");
  index.Add(9, "");
  EXPECT_EQ(All(index, "/shop/x"), (std::vector<size_t>{0, 1, 2, 4, 9}));
  EXPECT_EQ(All(index, "/shop/cart"), (std::vector<size_t>{0, 1, 2, 3, 4, 9}));
  EXPECT_EQ(All(index, "/sh"), (std::vector<size_t>{1, 2, 9}));
  EXPECT_EQ(All(index, ""), (std::vector<size_t>{1, 9}));
}

TEST(PrefixIndex, IgnoresTheCaseOfThoseThatAskForIt) {
  PrefixIndex index;
  index.Add(0, "/Shop", PrefixIndex::Case::kIgnored);
  index.Add(1, "/Shop");
  EXPECT_EQ(All(index, "/sHOP/"), (std::vector<size_t>{0}));
  EXPECT_EQ(All(index, "/Shop/"), (std::vector<size_t>{0, 1}));
}

TEST(PrefixIndex, AnswersAsLookingAtEveryOneDoes) {
  std::mt19937 random(1);
  const auto text = [&random](size_t most) {
    std::string out;
    for (size_t n = random() % (most + 1); n > 0; --n) out += "abA/"[random() % 4];
    return out;
  };
  for (int round = 0; round < 200; ++round) {
    PrefixIndex index;
    std::vector<std::pair<std::string, bool>> all;
    for (size_t i = 0; i < 60; ++i) {
      all.emplace_back(text(7), random() % 3 == 0);
      index.Add(i, all.back().first, all.back().second ? PrefixIndex::Case::kIgnored : PrefixIndex::Case::kCounts);
    }
    for (int tries = 0; tries < 20; ++tries) {
      const std::string asked = text(40);
      std::vector<size_t> expected;
      for (size_t i = 0; i < all.size(); ++i) {
        const std::string begin = asked.substr(0, all[i].first.size());
        if (all[i].second ? http::EqualsIgnoreCase(begin, all[i].first) : begin == all[i].first) expected.push_back(i);
      }
      EXPECT_EQ(All(index, asked), expected) << asked;
    }
  }
}

TEST(PrefixIndex, AnswersAreSkippedWithoutBeingAskedFor) {
  PrefixIndex index;
  for (size_t i = 0; i < 100; ++i) index.Add(i, i % 2 == 0 ? "/a" : "");
  PrefixIndex::Candidates candidates;
  index.Find("/b", candidates);
  EXPECT_EQ(candidates.Next(0), 1U);
  EXPECT_EQ(candidates.Next(50), 51U);
  EXPECT_EQ(candidates.Next(51), 51U);
  EXPECT_EQ(candidates.Next(100), PrefixIndex::kNone);
}

TEST(PrefixIndex, MoreNestedPrefixesThanUsualAreAllNamed) {
  PrefixIndex index;
  for (size_t i = 0; i < 100; ++i) index.Add(i, std::string(i, 'a'));
  EXPECT_EQ(All(index, std::string(60, 'a')).size(), 61U);
}

TEST(LiteralPrefix, IsWhatEveryTextMustBeginWith) {
  EXPECT_EQ(LiteralPrefix("^/shop/(.*)$"), "/shop/");
  EXPECT_EQ(LiteralPrefix("^/shop$"), "/shop");
  EXPECT_EQ(LiteralPrefix("^/a\\.b\\-c/"), "/a.b-c/");
  EXPECT_EQ(LiteralPrefix("^/shop/(a|b)/"), "/shop/");
  EXPECT_EQ(LiteralPrefix("^/shops?/"), "/shop");
  EXPECT_EQ(LiteralPrefix("^/shops*/"), "/shop");
  EXPECT_EQ(LiteralPrefix("^/shops{0}/"), "/shop");
  EXPECT_EQ(LiteralPrefix("^/shops+/"), "/shops");
  EXPECT_EQ(LiteralPrefix("^/shop[|]x"), "/shop");
}

TEST(LiteralPrefix, IsEmptyWhereNothingIsSure) {
  for (const char* regex : {"/shop",
                            "",
                            "^",
                            "^/a|/b",
                            "^/a(b|c)|d",
                            "^(/a|/b)",
                            "^/a(?#)|)b|c",
                            "(?i)^/a",
                            "^/a(?x) # )|\n",
                            "^\\Q/a|b\\E",
                            "^/a\\Q|\\E",
                            "^/a[[:alpha:]|]",
                            "^*/a",
                            "^?/a",
                            "^{0}/a",
                            "^\\d",
                            "^/?a",
                            "^/a(*FAIL)|b",
                            "^/a\\",
                            "^a\\c(b|c\\c)"}) {
    EXPECT_EQ(LiteralPrefix(regex), "") << regex;
  }
}

// Of random expressions over few letters, those that are found in a text must not be passed over by their prefix.
TEST(LiteralPrefix, NeverRulesOutATextInWhichTheExpressionIsFound) {
  const char* const parts[] = {
      "a",     "b",      "/",       ".",     "*",           "+",     "?",       "(",     ")",   "|",    "[ab]",
      "\\.",   "\\w",    "{2}",     "{0,1}", "^",           "$",     "(?:",     "(a|b)", "\\/", "[^a]", "(?=a)",
      "(?!b)", "(?i)",   "\\Qa|",   "\\E",   "[]a]",        "(?#x)", "(?>a|b)", "A",     "{",   "}",    "]",
      "\\b",   "(?i:a)", "(?<n>a)", "[|]",   "[[:alpha:]]", "\\x61", "\\1",     "\\c"};
  std::mt19937 random(2);
  int compiled_with_prefix = 0;
  int found_with_prefix = 0;
  for (int round = 0; round < 60000; ++round) {
    std::string regex = "^";
    for (size_t n = random() % 8; n > 0; --n) regex += parts[random() % std::size(parts)];
    const std::string prefix = LiteralPrefix(regex);
    if (prefix.empty()) continue;
    const bool no_case = random() % 2 == 0;
    const auto compiled = CompileRegex(regex, no_case);
    if (!compiled) continue;
    ++compiled_with_prefix;
    for (int tries = 0; tries < 10; ++tries) {
      std::string text;
      for (size_t n = random() % 6; n > 0; --n) text += "abA/.|{"[random() % 7];
      bool gave_up = false;
      if (!Finds(gave_up, *compiled.value(), text)) continue;
      ++found_with_prefix;
      const std::string begin = text.substr(0, prefix.size());
      EXPECT_TRUE(no_case ? http::EqualsIgnoreCase(begin, prefix) : begin == prefix) << regex << " in " << text;
    }
  }
  EXPECT_GT(compiled_with_prefix, 1000);
  EXPECT_GT(found_with_prefix, 500);
}

TEST(WildcardPrefixAndSuffix, AreWhatEveryMatchingTextHas) {
  EXPECT_EQ(WildcardPrefix("/srv/*/x"), "/srv/");
  EXPECT_EQ(WildcardPrefix("a\\*"), "a");
  EXPECT_EQ(WildcardSuffix("*.example.org"), ".example.org");
  EXPECT_EQ(WildcardSuffix("www?.x"), ".x");
  EXPECT_EQ(WildcardSuffix("www.*"), "");
  EXPECT_EQ(WildcardSuffix("*[ab].x"), "");
  std::mt19937 random(3);
  int matched = 0;
  for (int round = 0; round < 100000; ++round) {
    std::string pattern, text;
    for (size_t n = random() % 8; n > 0; --n) pattern += "ab*?[]\\!^-/"[random() % 11];
    for (size_t n = random() % 8; n > 0; --n) text += "ab[]\\/"[random() % 6];
    if (!http::WildcardMatch(pattern, text, random() % 2 == 0)) continue;
    ++matched;
    EXPECT_TRUE(text.starts_with(WildcardPrefix(pattern))) << pattern << " " << text;
    EXPECT_TRUE(text.ends_with(WildcardSuffix(pattern))) << pattern << " " << text;
  }
  EXPECT_GT(matched, 1000);
}

}  // namespace
}  // namespace httpd::modules
