#include "httpd/config/directive_tables.h"

#include <algorithm>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

/// Bits of one name of `Options`; 0 for None.
std::optional<unsigned> OptionNamed(std::string_view name) {
  static const std::pair<const char*, unsigned> kNames[] = {
      {"Indexes", kOptIndexes},
      {"FollowSymLinks", kOptFollowSymLinks},
      {"SymLinksIfOwnerMatch", kOptSymLinksIfOwnerMatch},
      {"MultiViews", kOptMultiViews},
      {"ExecCGI", kOptExecCgi},
      {"Includes", kOptIncludes},
      {"IncludesNOEXEC", kOptIncludes | kOptIncludesNoExec},
      {"None", 0},
      {"All", kOptIndexes | kOptFollowSymLinks | kOptExecCgi | kOptIncludes}};
  for (const auto& [known, bits] : kNames) {
    if (SameIgnoringCase(name, known)) return bits;
  }
  return std::nullopt;
}

Complaint SetOptions(Builder&, Scope& scope, const Node&, const Words& words) {
  PerDirectory& settings = scope.settings;
  bool relative_seen = false;
  unsigned absolute = 0;
  bool absolute_seen = false;
  for (const std::string& word : words) {
    const bool relative = word.starts_with('+') || word.starts_with('-');
    (relative ? relative_seen : absolute_seen) = true;
    if (relative_seen && absolute_seen) return "Either all Options must start with + or -, or no Option may.";
    const std::string_view name = std::string_view(word).substr(relative ? 1 : 0);
    const auto option = OptionNamed(name);
    if (!option) return "Illegal option " + std::string(name);
    if (scope.htaccess && (*option & ~scope.htaccess->allowed.options) != 0) {
      return "Option " + std::string(name) + " not allowed here";
    }
    if (!relative) {
      absolute = *option == 0 ? 0 : absolute | *option;
    } else if (word.front() == '+') {
      settings.options_add |= *option;
      settings.options_remove &= ~*option;
      if (settings.options) *settings.options |= *option;
    } else {
      settings.options_remove |= *option;
      settings.options_add &= ~*option;
      if (settings.options) *settings.options &= ~*option;
    }
  }
  if (!absolute_seen) return kFine;
  settings.options = absolute;
  settings.options_add = 0;
  settings.options_remove = 0;
  return kFine;
}

// Source  server/core.c set_override, set_allow_opts
Complaint SetAllowOverride(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  static const std::pair<const char*, unsigned> kClasses[] = {
      {"limit", kOverrideLimit},       {"fileinfo", kOverrideFileInfo}, {"authconfig", kOverrideAuthConfig},
      {"indexes", kOverrideIndexes},   {"options", kOverrideOptions},   {"none", 0},
      {"all", unsigned{kOverrideAny}},
  };
  if (scope.section->kind != Section::Kind::kDirectory || scope.section->is_regex) {
    builder.Warn(node, "AH00114: Useless use of AllowOverride");
  }
  PerDirectory& settings = scope.settings;
  settings.override_classes = 0;
  settings.override_options = ~0U;
  settings.ignore_forbidden = settings.ignore_unknown = false;
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    const std::string name = LowerCase(word.substr(0, equals));
    const std::string value = equals == std::string::npos ? "" : LowerCase(word.substr(equals + 1));
    if (name == "nonfatal") {
      if (value != "override" && value != "unknown" && value != "all") {
        return "AllowOverride Nonfatal must be one of Override, Unknown or All, not '" + value + "'";
      }
      settings.ignore_forbidden = settings.ignore_forbidden || value != "unknown";
      settings.ignore_unknown = settings.ignore_unknown || value != "override";
      continue;
    }
    const auto found =
        std::find_if(std::begin(kClasses), std::end(kClasses), [&](const auto& known) { return name == known.first; });
    if (found == std::end(kClasses) || (equals != std::string::npos && name != "options")) {
      return "Illegal override option " + word;
    }
    *settings.override_classes = found->second == 0 ? 0 : *settings.override_classes | found->second;
    if (equals == std::string::npos) continue;
    settings.override_options = 0;
    for (size_t at = 0; at <= value.size();) {
      const size_t comma = std::min(value.find(',', at), value.size());
      const auto option = OptionNamed(value.substr(at, comma - at));
      if (!option) return "Illegal option " + value.substr(at, comma - at);
      settings.override_options |= *option;
      at = comma + 1;
    }
  }
  return kFine;
}

Complaint SetAllowOverrideList(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  if (scope.section->kind != Section::Kind::kDirectory || scope.section->is_regex) {
    builder.Warn(node, "AH00115: Useless use of AllowOverrideList");
  }
  auto& names = scope.settings.override_names.emplace();
  if (words.size() == 1 && SameIgnoringCase(words[0], "none")) return kFine;
  for (const std::string& word : words) {
    const Directive* directive = FindDirective(word);
    if (!directive) {
      builder.Warn(node, "AH00116: Discarding unrecognized directive `" + word + "' in AllowOverrideList");
    } else if ((directive->contexts & kOverrideAny) == 0) {
      builder.Warn(node, "AH02304: Discarding directive `" + word + "' not allowed in AllowOverrideList");
    } else {
      names.push_back(LowerCase(word));
    }
  }
  return kFine;
}

Complaint AddErrorDocument(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  const auto status = Number(words[0]);
  if (!status || *status < 400 || *status > 599) return "Unsupported HTTP response code " + words[0];
  if (*status == 401 && words[1].find("://") != std::string::npos) {
    builder.Warn(node, "AH00113: cannot use a full URL in a 401 ErrorDocument directive --- ignoring!");
    return kFine;
  }
  const std::string& text = words[1];
  if (text.find_first_of("%$\\") != std::string::npos) {  // everything else stands for itself
    auto compiled =
        CompileExpression(text, ExpressionKind::kString,
                          scope.htaccess ? ExpressionFiles::kRefused : ExpressionFiles::kAllowed, node.where);
    if (!compiled) return "Cannot parse expression in ErrorDocument: " + compiled.error().what;
    scope.settings.error_texts[text] = std::move(compiled).value();
  }
  scope.settings.error_documents[static_cast<int>(*status)] = text;
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;

using Arity::kAny;
using Arity::kAtLeastOne;
using Arity::kTwo;

}  // namespace

// clang-format off
std::vector<Directive> DirectoryDirectives() {
  return {
    {"Options", "core.c", kAnywhere | kOverrideOptions, kAny, "Set a number of attributes for a given directory", kNo, SetOptions},
    {"AllowOverride", "core.c", kInSection, kAtLeastOne, "Controls what groups of directives can be configured by per-directory config files", kNo, SetAllowOverride, "All|None|directive-type [directive-type] ...", "None"},
    {"AllowOverrideList", "core.c", kInSection, kAtLeastOne, "Controls what individual directives can be configured by per-directory config files", kNo, SetAllowOverrideList, "None|directive [directive-type] ...", "None"},
    {"ErrorDocument", "core.c", kAnywhere | kOverrideFileInfo, kTwo, "Change responses for HTTP errors", kNo, AddErrorDocument},
  };
}
// clang-format on

}  // namespace httpd::config
