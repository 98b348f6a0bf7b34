#pragma once

#include <Poco/RegularExpression.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/module_slots.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/prefix_index.h"
#include "httpd/modules/request_state.h"

/// mod_rewrite: what it was told, and how a URL goes through its rules.
/// Source  httpd 2.4 manual, mod_rewrite, rewrite/flags.html, rewrite/tech.html
namespace httpd::modules::rewrite {

/// `RewriteCond TestString Pattern [flags]`.
struct Condition {
  enum class Test {
    kRegex,
    kExpression,
    kIsFile,
    kHasSize,
    kIsDirectory,
    kIsExecutable,
    kIsLink,
    kLookUpFile,
    kLookUpUrl,
    kLess,
    kLessOrEqual,
    kEqual,
    kGreater,
    kGreaterOrEqual,
    kNumberLess,
    kNumberLessOrEqual,
    kNumberEqual,
    kNumberNotEqual,
    kNumberGreater,
    kNumberGreaterOrEqual,
  };
  Test test = Test::kRegex;
  std::string input;    ///< before expansion
  std::string pattern;  ///< without '!' and operator
  bool negated = false;
  bool or_next = false;
  bool no_case = false;
  bool no_vary = false;
  std::shared_ptr<const Poco::RegularExpression> regex;  ///< kRegex
  std::shared_ptr<const Expression> expression;          ///< kExpression
};

/// `RewriteRule Pattern Substitution [flags]` with the conditions before it.
struct Rule {
  enum Flag : unsigned {
    kEscape = 1,            ///< B
    kEscapeControls = 2,    ///< BCTLS
    kEscapeNoPlus = 4,      ///< BNP
    kChain = 8,             ///< C
    kDiscardPathInfo = 16,  ///< DPI
    kEnd = 32,
    kLast = 64,
    kNext = 128,
    kNoCase = 256,
    kNoEscape = 512,
    kNoSubrequest = 1024,
    kPassThrough = 2048,
    kQueryAppend = 4096,
    kQueryDiscard = 8192,
    kQueryLast = 16384,
    kRedirect = 32768,
    kStatus = 65536,
    kNoSubstitution = 1U << 17,
    kDropQuery = 1U << 18,
    kUnsafeAllow3F = 1U << 19,
    kUnsafePrefixStat = 1U << 20,
    kKeepSlashes = 1U << 21,
    kProxy = 1U << 22,  ///< P
  };
  std::vector<Condition> conditions;
  std::string pattern;
  std::string output;
  std::shared_ptr<const Poco::RegularExpression> regex;
  bool negated = false;
  unsigned flags = 0;
  int status = 302;
  int skip = 0;
  int most_rounds = 10000;
  std::string escapes;     ///< B=...
  std::string no_escapes;  ///< BNE=...
  std::string media_type;
  std::string handler;
  std::vector<std::string> variables;  ///< E=, in order
  std::vector<std::string> cookies;    ///< CO=
  bool Has(Flag flag) const { return (flags & flag) != 0; }
};

/// Rules in their order, and which of them a text is worth holding against: others begin with something else, and what
/// is chained to them is not reached. Copies share what they have in common.
class Rules {
 public:
  void Append(std::shared_ptr<const Rule> rule);
  void Append(const Rules& rules);
  void Prepend(const Rules& rules);

  size_t size() const { return list_.size(); }
  bool empty() const { return list_.empty(); }
  const Rule& operator[](size_t i) const { return *list_[i]; }

  /// Whether the rule is reached whatever became of the one before it: not by C alone.
  bool IsReached(size_t i) const { return i == 0 || !list_[i - 1]->Has(Rule::kChain); }

  /// Those for which IsReached() holds. Made when it is asked for first, by any thread; it lives as long as this list
  /// is not changed.
  const PrefixIndex& ByPrefix() const;

 private:
  struct Lazy {
    std::once_flag once;
    PrefixIndex by_prefix;
  };
  std::vector<std::shared_ptr<const Rule>> list_;
  std::shared_ptr<Lazy> lazy_ = std::make_shared<Lazy>();  ///< of exactly this list
};

/// A text file of keys and values, read again when its stat changes. Shared by all loops.
class MapFile {
 public:
  explicit MapFile(std::string path) : path_(std::move(path)) {}
  struct Answer {
    std::optional<std::string> value;
    std::string trouble;  ///< for the error log: the file cannot be read
  };
  /// Blocks for a stat, and for reading the file when it has changed. Files above 64 MiB are not read.
  Answer Find(const std::string& key) const;

 private:
  using Table = std::unordered_map<std::string, std::string>;
  const std::string path_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Table> table_;
  mutable struct stat seen_ {};
};

struct Map {
  enum class Kind { kText, kRandom, kToUpper, kToLower, kEscape, kUnescape };
  Kind kind = Kind::kText;
  std::shared_ptr<const MapFile> file;  ///< kText, kRandom
};

enum Option : unsigned {
  kInherit = 1,
  kInheritBefore = 2,
  kInheritDown = 4,
  kInheritDownBefore = 8,
  kIgnoreInherit = 16,
  kAllowNoSlash = 32,
  kAllowAnyUri = 64,
  kMergeBase = 128,
  kIgnoreContextInfo = 256,
  kLegacyPrefixDocRoot = 512,
  kAllPrefixStat = 1024,  ///< UnsafePrefixStat: as if every rule had the flag
};

/// What a server or virtual host, or a directory, was told.
struct Told {
  std::optional<bool> engine;
  std::optional<unsigned> options;
  Rules rules;
  std::vector<Condition> pending;  ///< conditions that wait for their rule
  bool is_on() const { return engine.value_or(false); }
  bool Has(Option option) const { return (options.value_or(0) & option) != 0; }
  /// `outer` and then *this, which was said further in.
  void Inherit(const Told& outer);
};

/// Outside sections.
struct ServerSettings final : config::ModuleSettings {
  Told told;
  std::map<std::string, Map> maps;
  bool is_main = false;  ///< said at the top, and nothing in the virtual host that asks: then it does nothing there
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& inner) const override;
};

/// In sections and .htaccess files.
struct DirectorySettings final : config::ModuleSettings {
  Told told;
  std::string directory;  ///< with a slash at its end
  std::optional<std::string> base;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& inner) const override;
};

/// The directives of mod_rewrite.
const std::vector<config::Directive>& Directives();

/// @return what is wrong, as Apache says it
config::Complaint ParseRule(const std::string& line, std::vector<Condition> conditions, Rule& out);
config::Complaint ParseCondition(const std::string& line, bool in_htaccess, const config::SourceLine& where,
                                 Condition& out, std::vector<std::string>& warnings);

/// The state of one pass through a list of rules.
///
/// Limits  half a second, 32 MiB given to patterns by N, results of twice LimitRequestLine (then status 500); texts of
///         1 MiB, 20 maps in each other, look-ahead from look-ahead three deep: who writes .htaccess files must not be
///         able to stop a loop
class Pass {
 public:
  /// @param directory  null: the rules of the server
  Pass(RequestState& state, const ServerSettings* server, const DirectorySettings* directory);

  enum class Result { kUnchanged, kChanged, kChangedNoEscape, kStatus };

  /// `file` goes through the rules: the path in the context of a server, the file in that of a directory. The state's
  /// query, environment and answer change with it; `path_info` is cut by DPI.
  Result Run(const Rules& rules);

  std::string file;
  int status = 0;                  ///< Result::kStatus: the answer; else that of a redirect, 0 = none was said
  const Rule* last = nullptr;      ///< last rule that has substituted
  bool is_end = false;             ///< END
  bool is_passed_through = false;  ///< PT
  bool is_proxied = false;         ///< P: `file` is the URL of a backend
  bool is_reduced = false;         ///< an absolute URL of this host was made a path
  std::string forced_type;         ///< T=
  std::string forced_handler;      ///< H=

  void Log(config::LogLevel level, const std::string& text) const;

 private:
  struct Groups {
    std::string source;
    std::array<std::pair<size_t, size_t>, 10> at{};  ///< offset and length; length 0: empty or none
    void Set(const std::string& subject, const Poco::RegularExpression::MatchVec& groups);
    std::string_view Get(size_t n) const { return std::string_view(source).substr(at[n].first, at[n].second); }
    void Clear() {
      source.clear();
      at.fill({0, 0});
    }
  };
  enum class Step { kNoMatch, kMatch, kMatchOnly, kStop };
  /// What the next pattern is held against, from `file`: `uri_`.
  void TakeText();
  Step Apply(const Rule& rule);
  bool Holds(const Condition& condition);
  bool Test(const Condition& condition, const std::string& input);
  void Force(const Rule& rule);
  void SetVariables(const Rule& rule);
  void SetCookie(const std::string& text);
  void SplitQuery(const Rule& rule);
  void Qualify();
  void Reduce();
  /// @param rule  for B; null elsewhere
  /// @param unsafe_question_mark  set when the first '?' of the result comes from the request
  std::string Expand(std::string_view text, const Rule* rule, bool* unsafe_question_mark);
  std::string Variable(const std::string& name);
  std::string LookAhead(const std::string& name, bool is_file);
  std::optional<std::string> FromMap(const std::string& name, const std::string& key);
  bool MayLookUp() const;
  /// Whether the pass has taken too long; once it has, no condition holds.
  bool IsLate();

  RequestState& state_;
  const ServerSettings* server_;
  const DirectorySettings* directory_;
  const bool traces_;  ///< somebody reads what is logged at trace levels
  const std::chrono::steady_clock::time_point begin_;
  unsigned steps_ = 0;  ///< rules and conditions so far
  bool is_late_ = false;
  int depth_ = 0;    ///< of ${...} in ${...}
  std::string uri_;  ///< what the pattern of the rule was held against
  Groups rule_groups_;
  Groups condition_groups_;
  std::string vary_;       ///< fields that the conditions of the rule have read
  std::string vary_this_;  ///< ... the condition that is being tested
};

/// Length of "scheme:" and the slashes behind it, 0 when `uri` does not begin with a scheme that redirects go to.
/// @param has_query  whether '?' separates a query in this scheme
size_t SchemeLength(std::string_view uri, bool* has_query = nullptr);

/// ap_escape_uri: what may not stand in a URL is percent-encoded, '?' and '%' too.
std::string EscapeUri(std::string_view text);

/// `path` with `match` in front replaced by `subst`, at a slash.
std::string WithPrefix(const std::string& path, std::string_view match, std::string_view subst);

}  // namespace httpd::modules::rewrite
