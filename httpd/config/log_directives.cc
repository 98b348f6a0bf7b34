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

Complaint SetErrorLog(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  return TakeLogTarget(builder, node, words[0], scope.draft.host.error_log);
}

Complaint SetLogLevel(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  static const char* const kNames[] = {"emerg",  "alert",  "crit",   "error",  "warn",   "notice", "info",   "debug",
                                       "trace1", "trace2", "trace3", "trace4", "trace5", "trace6", "trace7", "trace8"};
  for (const std::string& word : words) {
    const size_t colon = word.find(':');
    const std::string level = LowerCase(colon == std::string::npos ? word : word.substr(colon + 1));
    const auto found = std::find(std::begin(kNames), std::end(kNames), level);
    if (found == std::end(kNames)) {
      return "Log level keyword must be one of emerg/alert/crit/error/warn/notice/info/debug/trace1/.../trace8";
    }
    if (colon == std::string::npos) {
      scope.draft.host.log_level = static_cast<LogLevel>(found - std::begin(kNames));
      continue;
    }
    const std::string module = word.substr(0, colon);
    const auto& modules = BuiltInModules();
    if (std::none_of(modules.begin(), modules.end(), [&](const ModuleName& known) {
          const std::string identifier = known.identifier;
          return module == known.file || module == identifier || module + "_module" == identifier;
        })) {
      return "Cannot find module " + module;
    }
    builder.Warn(node, "WARNING: LogLevel " + word + " has no meaning here: modules have no levels of their own");
  }
  return kFine;
}

Complaint AddAccessLog(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  HostDraft::Log entry;
  if (auto complaint = TakeLogTarget(builder, node, words[0], entry.log.target)) return complaint;
  entry.transfer = words.size() == 1;
  if (!entry.transfer) entry.log.format = words[1];
  if (words.size() > 2) {
    const std::string& clause = words[2];
    if (clause.starts_with("expr=")) {
      auto compiled =
          CompileExpression(clause.substr(5), ExpressionKind::kCondition, ExpressionFiles::kAllowed, node.where);
      if (!compiled) return compiled.error().what;
      entry.log.condition = std::move(compiled).value();
    } else if (clause.starts_with("env=")) {
      entry.log.env = clause.substr(4);
      if (entry.log.env.starts_with('!')) {
        entry.log.env_negated = true;
        entry.log.env.erase(0, 1);
      }
      if (entry.log.env.empty()) return "missing environment variable name";
    } else {
      return "error in condition clause";
    }
  }
  scope.draft.logs.push_back(std::move(entry));
  return kFine;
}

Complaint SetLogFormat(Builder&, Scope& scope, const Node&, const Words& words) {
  if (words.size() > 1) {
    scope.draft.formats[words[1]] = words[0];
  } else {
    scope.draft.transfer_format = words[0];
  }
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;

using Arity::kAtLeastOne;
using Arity::kOne;
using Arity::kOneOrTwo;
using Arity::kTwoOrThree;

}  // namespace

// clang-format off
std::vector<Directive> LogDirectives() {
  return {
    {"ErrorLog", "core.c", kInHosts, kOne, "The filename of the error log", kNo, SetErrorLog},
    {"LogLevel", "core.c", kInHosts, kAtLeastOne, "Level of verbosity in error logging", kNo, SetLogLevel},
    {"CustomLog", "mod_log_config.c", kInHosts, kTwoOrThree, "a file name, a custom log format string or format name, and an optional \"env=\" or \"expr=\" clause (see docs)", kNo, AddAccessLog},
    {"TransferLog", "mod_log_config.c", kInHosts, kOne, "the filename of the access log", kNo, AddAccessLog},
    {"LogFormat", "mod_log_config.c", kInHosts, kOneOrTwo, "a log format string (see docs) and an optional format name", kNo, SetLogFormat},
  };
}
// clang-format on

}  // namespace httpd::config
