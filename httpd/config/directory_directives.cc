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

Complaint SetOptions(Builder&, Scope& scope, const Node&, const Words& words) {
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
  PerDirectory& settings = scope.settings;
  bool relative_seen = false;
  unsigned absolute = 0;
  bool absolute_seen = false;
  for (const std::string& word : words) {
    const bool relative = word.starts_with('+') || word.starts_with('-');
    (relative ? relative_seen : absolute_seen) = true;
    if (relative_seen && absolute_seen) return "Either all Options must start with + or -, or no Option may.";
    const std::string_view name = std::string_view(word).substr(relative ? 1 : 0);
    const auto found = std::find_if(std::begin(kNames), std::end(kNames),
                                    [&](const auto& known) { return SameIgnoringCase(name, known.first); });
    if (found == std::end(kNames)) return "Illegal option " + std::string(name);
    if (!relative) {
      absolute = found->second == 0 ? 0 : absolute | found->second;
    } else if (word.front() == '+') {
      settings.options_add |= found->second;
      settings.options_remove &= ~found->second;
      if (settings.options) *settings.options |= found->second;
    } else {
      settings.options_remove |= found->second;
      settings.options_add &= ~found->second;
      if (settings.options) *settings.options &= ~found->second;
    }
  }
  if (!absolute_seen) return kFine;
  settings.options = absolute;
  settings.options_add = 0;
  settings.options_remove = 0;
  return kFine;
}

Complaint SetAllowOverride(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  if (scope.section->kind != Section::Kind::kDirectory) {
    builder.Warn(node, "AH00114: Useless use of AllowOverride");
  }
  for (const std::string& word : words) {
    if (!SameIgnoringCase(word, "none")) {
      return "AllowOverride " + word + ": .htaccess files are not supported yet, only AllowOverride None is";
    }
  }
  return kFine;
}

Complaint SetSetHandler(Builder&, Scope& scope, const Node&, const Words& words) {
  scope.settings.handler = SameIgnoringCase(words[0], "none") ? "" : words[0];
  return kFine;
}

Complaint SetForceType(Builder&, Scope& scope, const Node&, const Words& words) {
  scope.settings.force_type = SameIgnoringCase(words[0], "none") ? "" : words[0];
  return kFine;
}

Complaint SetDefaultCharset(Builder&, Scope& scope, const Node&, const Words& words) {
  if (SameIgnoringCase(words[0], "off")) {
    scope.settings.default_charset = "";
  } else {
    scope.settings.default_charset = SameIgnoringCase(words[0], "on") ? "iso-8859-1" : words[0];
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
  scope.settings.error_documents[static_cast<int>(*status)] = words[1];
  return kFine;
}

Complaint SetEnableSendfile(Builder&, Scope& scope, const Node&, const Words& words) {
  bool value = false;
  if (!SameIgnoringCase(words[0], "on") && !SameIgnoringCase(words[0], "off")) return "parameter must be 'on' or 'off'";
  value = SameIgnoringCase(words[0], "on");
  scope.settings.enable_sendfile = value;
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;

using Arity::kAny;
using Arity::kAtLeastOne;
using Arity::kOne;
using Arity::kTwo;

}  // namespace

// clang-format off
std::vector<Directive> DirectoryDirectives() {
  return {
    {"Options", "core.c", kAnywhere, kAny, "Set a number of attributes for a given directory", kNo, SetOptions},
    {"AllowOverride", "core.c", kInSection, kAtLeastOne, "Controls what groups of directives can be configured by per-directory config files", kNo, SetAllowOverride},
    {"SetHandler", "core.c", kAnywhere, kOne, "a handler name that overrides any other configured handler", kNo, SetSetHandler},
    {"ForceType", "core.c", kAnywhere, kOne, "a mime type that overrides other configured type", kNo, SetForceType},
    {"AddDefaultCharset", "core.c", kAnywhere, kOne, "The name of the default charset to add to any Content-Type without one or 'Off' to disable", kNo, SetDefaultCharset},
    {"ErrorDocument", "core.c", kAnywhere, kTwo, "Change responses for HTTP errors", kNo, AddErrorDocument},
    {"EnableSendfile", "core.c", kAnywhere, kOne, "Controls whether sendfile may be used to transmit files", kNo, SetEnableSendfile},
  };
}
// clang-format on

}  // namespace httpd::config
