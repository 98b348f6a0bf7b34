// What is found by an index is what looking at one after the other finds: random tables, the plain algorithm against
// ours. Each generator has few letters and short texts, so that prefixes, repetitions and near misses are common.
#include <Poco/RegularExpression.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "httpd/http/values.h"
#include "httpd/modules/alias_table.h"
#include "httpd/modules/module.h"
#include "httpd/modules/section_walk.h"
#include "httpd/modules/site.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  size_t Below(size_t n) { return engine_() % n; }
  bool Sometimes(size_t one_in) { return Below(one_in) == 0; }
  const std::string& Of(const std::vector<std::string>& words) { return words[Below(words.size())]; }
  /// `least` to `most` words.
  std::string Words(const std::vector<std::string>& words, size_t least, size_t most) {
    std::string out;
    for (size_t n = least + Below(most - least + 1); n > 0; --n) out += Of(words);
    return out;
  }

 private:
  std::mt19937 engine_;
};

// ---- hosts ---------------------------------------------------------------------------------------------------------

/// Apache's rule told plainly: among the hosts of the best address the first that says the name or a pattern for it.
int PlainlySelected(const config::ServerConfig& config, uint16_t port, const std::string& name,
                    const std::string& address) {
  const auto lower = [](std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
  };
  const std::pair<std::string, uint16_t> places[] = {{address, port}, {address, 0}, {"*", port}, {"*", 0}};
  for (const auto& [wanted, wanted_port] : places) {
    int first = 0;
    for (size_t i = 0; i < config.virtual_hosts.size(); ++i) {
      const config::Host& host = config.virtual_hosts[i];
      const bool is_here = std::any_of(host.addresses.begin(), host.addresses.end(),
                                       [&](const auto& at) { return at.host == wanted && at.port == wanted_port; });
      if (!is_here) continue;
      if (first == 0) first = static_cast<int>(i) + 1;
      bool says = lower(host.server_name) == lower(name);
      for (const std::string& alias : host.server_aliases) {
        const bool is_wild = alias.find_first_of("*?") != std::string::npos;
        says = says || (is_wild ? http::WildcardMatch(alias, lower(name), false) : alias == lower(name));
      }
      if (says) return static_cast<int>(i) + 1;
    }
    if (first != 0) return first;
  }
  return 0;
}

TEST(LookUps, AHostIsTheOneThatLookingAtAllOfThemFinds) {
  Random random(1);
  const std::vector<std::string> letters = {"a", "b", "A", ".", ".x", "www"};
  const std::vector<std::string> wild = {"a", "b", ".", ".x", "www", "*", "?", "[ab]", "\\", "*."};
  for (int round = 0; round < 60; ++round) {
    std::string text = "ServerRoot /\nListen 80\nServerName main\nDocumentRoot /\nErrorLog /dev/null\n";
    const size_t hosts = 1 + random.Below(25);
    for (size_t i = 0; i < hosts; ++i) {
      const char* const addresses[] = {"*:80", "*:80", "*:80", "*:*", "192.0.2.1:80", "192.0.2.1:*"};
      text += "<VirtualHost " + std::string(addresses[random.Below(6)]) + ">\nServerName h" +
              random.Words(letters, 1, 3) + "h\n";
      if (random.Sometimes(2)) text += "ServerAlias z" + random.Words(letters, 0, 3) + "z\n";
      if (random.Sometimes(2))
        text += "ServerAlias \"" + random.Words(wild, 1, 4) + "*" + random.Words(wild, 0, 2) + "z\"\n";
      if (random.Sometimes(4)) text += "ServerAlias \"h" + random.Words(wild, 0, 3) + "*\"\n";
      text += "</VirtualHost>\n";
    }
    const config::ServerConfig config = ConfigFrom(text);
    const auto site = Site::Build(config, nullptr, "");
    ASSERT_TRUE(site) << site.error().Text();
    for (int tries = 0; tries < 60; ++tries) {
      std::string name = random.Of({"h", "z", "a"}) + random.Words(letters, 0, 3) + random.Of({"h", "z", "b"});
      if (random.Sometimes(20)) name += std::string(300, 'a') + "z";
      const std::string address = random.Of({"192.0.2.1", "192.0.2.2"});
      EXPECT_EQ(site.value()->Select(80, name, [&] { return address; }), PlainlySelected(config, 80, name, address))
          << name << " at " << address << " of\n"
          << text;
    }
  }
}

// ---- Alias, Redirect -----------------------------------------------------------------------------------------------

/// mod_alias' alias_matches(): length of what `from` covers of `path`, 0 = nothing.
size_t PlainlyCovered(const std::string& path, const std::string& from) {
  size_t p = 0;
  size_t f = 0;
  while (f < from.size()) {
    if (from[f] == '/') {
      if (p >= path.size() || path[p] != '/') return 0;
      while (f < from.size() && from[f] == '/') ++f;
      while (p < path.size() && path[p] == '/') ++p;
    } else {
      if (p >= path.size() || path[p] != from[f]) return 0;
      ++p;
      ++f;
    }
  }
  return from.back() != '/' && p < path.size() && path[p] != '/' ? 0 : p;
}

TEST(LookUps, AnAliasIsTheOneThatLookingAtAllOfThemFinds) {
  Random random(2);
  const std::vector<std::string> parts = {"/", "a", "b", "/a", "/b", "//", ".html"};
  const std::vector<std::string> regex = {"/",  "a",    "b", "/a",    "\\.", "(.*)", "b?",
                                          "a*", "[ab]", "$", "(a|b)", "|",   "^"};
  int found = 0;
  for (int round = 0; round < 300; ++round) {
    AliasTable table;
    std::vector<AliasRule> rules;
    for (size_t n = 1 + random.Below(30); n > 0; --n) {
      AliasRule rule{"", "/to", nullptr, "", 302};
      std::string pattern;
      if (random.Sometimes(2)) {
        pattern = (random.Sometimes(4) ? "" : "^/") + random.Words(regex, 1, 4);
        auto compiled = CompileRegex(pattern);
        if (!compiled) continue;
        rule.regex = std::move(compiled).value();
      } else {
        rule.from = "/" + random.Words(parts, 0, 4);
      }
      rules.push_back(rule);
      table.Add(rule, pattern);
    }
    for (int tries = 0; tries < 30; ++tries) {
      const std::string path = "/" + random.Words(parts, 0, 6);
      size_t expected = 0;
      size_t length = 0;
      Poco::RegularExpression::MatchVec groups;
      bool gave_up = false;
      for (; expected < rules.size(); ++expected) {
        const AliasRule& rule = rules[expected];
        if (rule.regex ? Finds(gave_up, *rule.regex, path, &groups) : (length = PlainlyCovered(path, rule.from)) > 0)
          break;
      }
      const AliasTable::Match match = table.Find(path);
      ASSERT_EQ(match.order, expected) << path;
      if (!match.rule) continue;
      ++found;
      if (match.rule->regex) {
        ASSERT_EQ(match.groups.size(), groups.size());
        for (size_t i = 0; i < groups.size(); ++i) EXPECT_EQ(match.groups[i].offset, groups[i].offset);
      } else {
        EXPECT_EQ(match.length, length) << path;
      }
    }
  }
  EXPECT_GT(found, 1000);
}

TEST(LookUps, TenThousandPatternsThatBeginOtherwiseAreNotTried) {
  AliasTable table;
  for (int i = 0; i < 10000; ++i) {
    const std::string pattern = "^/page" + std::to_string(i) + "/(.*)$";
    table.Add({"", "/to/$1", CompileRegex(pattern).value(), "", 302}, pattern);
  }
  const AliasTable::Match match = table.Find("/page9876/x");
  ASSERT_NE(match.rule, nullptr);
  EXPECT_EQ(match.order, 9876U);
  EXPECT_LE(match.looked_at, 1U);
  EXPECT_EQ(table.Find("/other").looked_at, 0U);
}

// ---- sections and rules, asked for through whole requests -----------------------------------------------------------

class LookUpsTest : public HandlerTest {
 protected:
  std::string Field(const Answer& answer, const char* name) { return std::string(FindField(answer.fields, name)); }
};

TEST_F(LookUpsTest, SectionsHoldInTheOrderInWhichLookingAtAllOfThemFindsThem) {
  Random random(3);
  const std::vector<std::string> names = {"a", "b", "ab", "a.html", "b.txt"};
  const std::vector<std::string> wild = {"a", "b", "*", "?", "[ab]", "a*", "*.html"};
  const std::vector<std::string> regex = {"/", "a", "b", "\\.", "b?", "[ab]", "$", "(a|b)", "|", "html"};
  for (const char* file :
       {"www/a.html", "www/b.txt", "www/a/a.html", "www/a/b/b.txt", "www/ab/a.html", "www/ab/ab/a"}) {
    Write(file, "x");
  }
  const std::string www = root() + "/www";
  for (int round = 0; round < 25; ++round) {
    struct Said {
      std::string kind;
      std::string pattern;
      bool is_regex = false;
      int in = -1;  ///< <Files>: the directory around it
    };
    std::vector<Said> all;
    std::string text;
    const auto header = [&](const std::string& more) {
      return "Header always append X-S " + std::to_string(all.size() - 1) + "\n" + more;
    };
    const auto add = [&](const Said& said, const std::string& inside = "") {
      all.push_back(said);
      const std::string name = said.kind + (said.is_regex ? "Match" : "");
      const std::string begin = "<" + name + " \"" + said.pattern + "\">\n" + header("");
      return begin + inside + "</" + name + ">\n";
    };
    const auto path = [&](size_t most) {
      std::string out;
      for (size_t n = random.Below(most + 1); n > 0; --n) out += "/" + random.Of(random.Sometimes(4) ? wild : names);
      return out;
    };
    for (size_t n = 1 + random.Below(40); n > 0; --n) {
      const bool is_regex = random.Sometimes(3);
      switch (random.Below(3)) {
        case 0: {
          const std::string pattern = is_regex
                                          ? (random.Sometimes(3) ? "" : "^" + www + "/") + random.Words(regex, 1, 3)
                                      : random.Sometimes(8) ? std::string("/")
                                                            : www + path(3);
          if (!CompileRegex(pattern)) continue;
          all.push_back({"Directory", pattern, is_regex});
          const int index = static_cast<int>(all.size()) - 1;
          const std::string name = std::string("Directory") + (is_regex ? "Match" : "");
          std::string inside = header("");
          if (random.Sometimes(4)) inside += add({"Files", random.Of(names), false, index});
          text += "<" + name + " \"" + pattern + "\">\n" + inside + "</" + name + ">\n";
          break;
        }
        case 1: {
          const std::string pattern =
              is_regex ? (random.Sometimes(3) ? "" : "^/") + random.Words(regex, 1, 3) : path(3) + "/";
          if (!CompileRegex(pattern)) continue;
          const bool has_slash = is_regex || pattern == "/" || random.Sometimes(3);
          text += add({"Location", has_slash ? pattern : pattern.substr(0, pattern.size() - 1), is_regex});
          break;
        }
        default: {
          const std::string pattern = is_regex ? (random.Sometimes(2) ? "" : "^") + random.Words(regex, 1, 3)
                                               : random.Of(random.Sometimes(2) ? wild : names);
          if (!CompileRegex(pattern)) continue;
          text += add({"Files", pattern, is_regex});
        }
      }
    }
    Configure(text);
    const auto finds = [](const std::string& pattern, const std::string& subject) {
      bool gave_up = false;
      return Finds(gave_up, *CompileRegex(pattern).value(), subject);
    };
    for (const std::string target : {"/a.html", "/b.txt", "/a/a.html", "/a/b/b.txt", "/ab/a.html", "/ab/ab/a"}) {
      const std::string file = www + target;
      std::vector<size_t> expected;
      std::vector<bool> holds(all.size(), false);
      const auto hold = [&](size_t i) {
        holds[i] = true;
        expected.push_back(i);
      };
      // <Directory>: level by level, so the shortest first; then <DirectoryMatch>.
      for (size_t slash = 0; slash != std::string::npos; slash = file.find('/', slash + 1)) {
        const std::string level = slash == 0 ? "/" : file.substr(0, slash);
        for (size_t i = 0; i < all.size(); ++i) {
          if (all[i].kind != "Directory" || all[i].is_regex || holds[i]) continue;
          const bool is_wild = all[i].pattern.find_first_of("*?[") != std::string::npos;
          if (is_wild ? http::WildcardMatch(all[i].pattern, level, true) : all[i].pattern == level) hold(i);
        }
      }
      for (size_t i = 0; i < all.size(); ++i) {
        if (all[i].kind == "Directory" && all[i].is_regex && finds(all[i].pattern, file)) hold(i);
      }
      const std::string name = file.substr(file.rfind('/') + 1);
      // <Files> of the whole host, then those in directories, in the order in which those are merged.
      std::vector<size_t> files;
      for (size_t i = 0; i < all.size(); ++i) {
        if (all[i].kind == "Files" && all[i].in < 0) files.push_back(i);
      }
      for (const size_t directory : std::vector<size_t>(expected)) {
        for (size_t i = 0; i < all.size(); ++i) {
          if (all[i].kind == "Files" && all[i].in == static_cast<int>(directory)) files.push_back(i);
        }
      }
      for (const size_t i : files) {
        if (all[i].is_regex ? finds(all[i].pattern, name) : http::WildcardMatch(all[i].pattern, name, false)) hold(i);
      }
      for (size_t i = 0; i < all.size(); ++i) {
        if (all[i].kind != "Location") continue;
        bool matches = all[i].is_regex && finds(all[i].pattern, target);
        if (!all[i].is_regex && all[i].pattern.find_first_of("*?[") == std::string::npos) {
          matches = Covers(all[i].pattern, target);
        } else if (!all[i].is_regex) {
          for (size_t end = 1; end <= target.size(); ++end) {
            const bool is_end = end == target.size() || target[end] == '/';
            matches = matches || (is_end && http::WildcardMatch(all[i].pattern, target.substr(0, end), true));
          }
        }
        if (matches) hold(i);
      }
      std::string list;
      for (const size_t i : expected) list += (list.empty() ? "" : ", ") + std::to_string(i);
      ASSERT_EQ(Field(Get(target), "X-S"), list) << target << " of\n" << text;
    }
  }
}

// At trace levels every rule is held against the text in turn, so that each can be told of; otherwise an index says
// which to leave out. What comes of it must be the same.
TEST_F(LookUpsTest, RulesDoWhatTheyDoWhenEachOfThemIsTried) {
  Random random(4);
  Write("www/a.html", "a");
  Write("www/b/a.html", "b");
  const std::vector<std::string> regex = {"a",  "b",    "/", "/a",    "/b", "\\.", "(.*)",
                                          "b?", "[ab]", "$", "(a|b)", "|",  "html"};
  const std::vector<std::string> flags = {"L", "C",   "C",     "NC", "S=1", "S=2", "NS",
                                          "R", "END", "E=V:1", "PT", "DPI", "F"};
  int changed = 0;
  for (int round = 0; round < 250; ++round) {
    const bool in_directory = random.Sometimes(2);
    std::string rules = "RewriteEngine on\n";
    for (size_t n = 1 + random.Below(14); n > 0; --n) {
      if (random.Sometimes(5)) rules += "RewriteCond %{REQUEST_URI} " + random.Words(regex, 1, 2) + "\n";
      std::string pattern = (random.Sometimes(5) ? "" : in_directory ? "^" : "^/") + random.Words(regex, 1, 4);
      if (!CompileRegex(pattern)) pattern = "^/a";
      if (random.Sometimes(6)) pattern = "!" + pattern;
      if (random.Sometimes(6)) std::transform(pattern.begin(), pattern.end(), pattern.begin(), ::toupper);
      const std::string target =
          random.Sometimes(3) ? "-" : (in_directory ? "" : "/") + random.Of({"a.html", "b/$1", "x$1", "ab/c"});
      std::string said;
      for (size_t count = random.Below(4); count > 0; --count) said += (said.empty() ? "" : ",") + random.Of(flags);
      if (!CompileRegex(pattern.starts_with('!') ? pattern.substr(1) : pattern)) continue;
      rules += "RewriteRule " + pattern + " " + target + (said.empty() ? "" : " [" + said + "]") + "\n";
    }
    const std::string place = "<Directory " + root() + "/www>\nOptions FollowSymLinks\n" + rules + "</Directory>\n";
    const std::string text = "Header always set X-Env \"%{V}e|%{W}e\"\n" +
                             (in_directory ? place : "RewriteRule . - [NS,E=W:%{LA-U:REQUEST_FILENAME}]\n" + rules);
    const std::vector<std::string> targets = {"/a.html", "/b/a.html", "/A", "/ab/c", "/b", "/look", "/b/b/a?q=1"};
    std::vector<std::string> answers;
    for (const char* level : {"LogLevel info\n", "LogLevel info rewrite:trace8\n"}) {
      Configure(text + level);
      std::filesystem::resize_file(root() + "/error_log", 0);
      std::string all;
      for (const std::string& target : targets) {
        const Answer answer = Get(target);
        const std::string location = Field(answer, "Location");
        if (!location.empty() || (target != "/a.html" && target != "/b/a.html" && answer.status == 200)) ++changed;
        all += target + " " + std::to_string(answer.status) + " " + location + " " + Field(answer, "X-Env") + " " +
               (answer.status == 200 ? answer.body : "") + "\n";
      }
      answers.push_back(all);
    }
    ASSERT_EQ(answers[0], answers[1]) << text;
    ASSERT_THAT(ErrorLog(), testing::HasSubstr("applying pattern")) << "the second time each of them is to be tried";
  }
  EXPECT_GT(changed, 200);
}

}  // namespace
}  // namespace httpd::modules
