#pragma once

#include <Poco/RegularExpression.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "httpd/modules/prefix_index.h"
#include "httpd/modules/request_state.h"

namespace httpd::modules {

/// `path` with runs of slashes made one.
std::string WithSingleSlashes(std::string path);

/// One `Alias`, `Redirect` or their ...Match form.
struct AliasRule {
  std::string from;  ///< URL-path prefix; "" with a regex
  std::string to;    ///< path or URL; $1 with a regex
  std::shared_ptr<const Poco::RegularExpression> regex;
  std::string handler;  ///< ScriptAlias: cgi-script
  int status = 0;       ///< Redirect
};

/// Rules of which the first in the order of the configuration that matches wins. Prefixes are found by their text, not
/// one after the other: the cost depends on the depth of the path, not on the number of rules. Regular expressions are
/// tried one after the other, but for those that must begin with something else than the path does.
/// Source  httpd 2.4 manual, mod_alias "Order of Processing"; modules/mappers/mod_alias.c alias_matches
class AliasTable {
 public:
  struct Match {
    const AliasRule* rule = nullptr;
    size_t length = 0;                         ///< of the path, covered by the prefix
    Poco::RegularExpression::MatchVec groups;  ///< of the regex
    size_t order = 0;
    size_t looked_at = 0;  ///< prefixes that were looked up and patterns that were tried
  };

  /// @param pattern  text of rule.regex, as it was given to CompileRegex()
  void Add(AliasRule rule, std::string_view pattern = {});
  bool empty() const { return rules_.empty(); }

  /// A prefix covers the path at a segment's end; one that ends with a slash needs that slash. Any number of slashes
  /// stands for one. @return rule == nullptr: none
  /// @param gave_up  as in Finds(): a pattern reached its limits. Null: nobody asks
  Match Find(const std::string& path, bool* gave_up = nullptr) const;

  /// The rule before which `prefix` will never be reached; nullptr: there is none.
  const AliasRule* Covering(const std::string& prefix) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::vector<std::shared_ptr<const AliasRule>> rules_;
  PrefixIndex patterns_;                                                     ///< those of rules_ with a regex
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> prefixes_;  ///< single slashes -> the first rule
  size_t longest_ = 0;
  bool has_patterns_ = false;
};

/// For the `type` station: what ScriptAlias or VirtualScriptAlias has noted as "alias-forced-type" is the handler.
Verdict UseForcedHandler(RequestState& state);

}  // namespace httpd::modules
