#include "httpd/config/directive_tables.h"

#include <algorithm>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/http/error_log_format.h"
#include "httpd/http/log_format.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

Complaint SetErrorLog(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  return TakeLogTarget(builder, node, words[0], scope.draft.host.error_log);
}

/// The name by which a module's lines are known: of "rewrite", "rewrite_module" and "mod_rewrite.c" it is "rewrite".
std::optional<std::string> ModuleOfLines(const std::string& word) {
  for (const ModuleName& known : BuiltInModules()) {
    const std::string identifier = known.identifier;
    if (word != known.file && word != identifier && word + "_module" != identifier) continue;
    if (identifier == "mpm_event_module") return "event";
    return identifier.substr(0, identifier.rfind("_module"));
  }
  return std::nullopt;
}

Complaint SetLogLevel(Builder&, Scope& scope, const Node&, const Words& words) {
  static const char* const kNames[] = {"emerg",  "alert",  "crit",   "error",  "warn",   "notice", "info",   "debug",
                                       "trace1", "trace2", "trace3", "trace4", "trace5", "trace6", "trace7", "trace8"};
  LogLevels& levels = scope.section ? scope.settings.log_levels : scope.draft.host.log_levels;
  for (const std::string& word : words) {
    const size_t colon = word.rfind(':');
    const std::string level = LowerCase(colon == std::string::npos ? word : word.substr(colon + 1));
    const std::string module = colon == std::string::npos ? "" : word.substr(0, colon);
    if (colon != std::string::npos && level.empty()) {
      return "Module specifier '" + module + "' must be followed by a log level keyword";
    }
    const auto found = std::find(std::begin(kNames), std::end(kNames), level);
    if (found == std::end(kNames)) {
      return "Log level keyword must be one of emerg/alert/crit/error/warn/notice/info/debug/trace1/.../trace8";
    }
    const auto to = static_cast<LogLevel>(found - std::begin(kNames));
    if (colon == std::string::npos) {
      levels = {to, {}};
      continue;
    }
    const auto name = ModuleOfLines(module);
    if (!name) return "Cannot find module " + module;
    levels.Set(*name, to);
  }
  return kFine;
}

Complaint SetErrorLogFormat(Builder&, Scope& scope, const Node&, const Words& words) {
  using http::ErrorLogFormat;
  Host& host = scope.draft.host;
  const bool is_main = words.size() == 1;
  std::vector<std::string>* once = nullptr;
  if (!is_main) {
    const std::string kind = LowerCase(words[0]);
    if (kind == "connection") once = &host.error_log_connection_formats;
    if (kind == "request") once = &host.error_log_request_formats;
    if (!once) return "ErrorLogFormat type must be one of request, connection";
  }
  const std::string& format = words.back();
  if (!is_main && format.empty()) {  // as if nothing had been said before
    once->clear();
    return kFine;
  }
  auto compiled = ErrorLogFormat::Compile(format, is_main ? ErrorLogFormat::Use::kMessage : ErrorLogFormat::Use::kOnce);
  if (!compiled) return compiled.error().what;
  if (is_main) {
    host.error_log_format = format;
  } else {
    once->push_back(format);
  }
  return kFine;
}

Complaint AddAccessLog(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  HostDraft::Log entry;
  if (auto complaint = TakeLogTarget(builder, node, words[0], entry.log.target)) return complaint;
  entry.transfer = words.size() == 1;
  entry.log.is_global = SameIgnoringCase(node.name, "GlobalLog");
  if (!entry.transfer) {
    entry.log.format = words[1];
    if (auto compiled = http::LogFormat::Compile(words[1]); !compiled) return compiled.error().what;
  }
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
  if (auto compiled = http::LogFormat::Compile(words[0]); !compiled) return compiled.error().what;
  if (words.size() > 1) {
    scope.draft.formats[words[1]] = words[0];
  } else {
    scope.draft.transfer_format = words[0];
  }
  return kFine;
}

Complaint SetBufferedLogs(Builder& builder, Scope&, const Node& node, const Words& words) {
  return TakeFlag(node, words[0], builder.config().buffered_logs);
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
    {"ErrorLog", "core.c", kInHosts, kOne, "The filename of the error log", kNo, SetErrorLog, "file-path|\"|program\"|syslog[:facility[:tag]]", "logs/error_log", "Where messages go: a file, a program that reads them, or syslog (facility local7 and tag httpd when not said)."},
    {"ErrorLogFormat", "core.c", kInHosts, kOneOrTwo, "Format string for the ErrorLog", kNo, SetErrorLogFormat, "[connection|request] format", "\"[%{u}t] [%-m:%l] [pid %P:tid %T] %E: [client\\ %a] %M% ,\\ referer:\\ %{Referer}i\"", "What a line of the error log says. A field of which nothing is known is left out. With connection or request: a line of its own before the first message of each. Directives: a A e E F i k l L m M n P t T v V; %F is always empty, %{c}L and connection lines are per child process."},
    {"LogLevel", "core.c", kAnywhere, kAtLeastOne, "Level of verbosity in error logging", kNo, SetLogLevel, "[module:]level [module:level] ...", "warn", "From emerg to trace8, for all or for one module (rewrite, rewrite_module or mod_rewrite.c). In a section it holds for the requests that the section covers."},
    {"CustomLog", "mod_log_config.c", kInHosts, kTwoOrThree, "a file name, a custom log format string or format name, and an optional \"env=\" or \"expr=\" clause (see docs)", kNo, AddAccessLog, "file|\"|program\"|syslog[:facility[:tag]] format|nickname [env=[!]variable|expr=expression]", "", "A log of requests. Hosts with logs of their own do not write to those of the main server."},
    {"GlobalLog", "mod_log_config.c", kInServer, kTwoOrThree, "Same as CustomLog, but forces virtualhosts to inherit the log", kNo, AddAccessLog, "file|\"|program\"|syslog[:facility[:tag]] format|nickname [env=[!]variable|expr=expression]", "", "A log of the requests of every host."},
    {"TransferLog", "mod_log_config.c", kInHosts, kOne, "the filename of the access log", kNo, AddAccessLog, "file|\"|program\"", "", "A log in the host's default format: its last LogFormat without a nickname, or CLF."},
    {"LogFormat", "mod_log_config.c", kInHosts, kOneOrTwo, "a log format string (see docs) and an optional format name", kNo, SetLogFormat, "format|nickname [nickname]", "\"%h %l %u %t \\\"%r\\\" %>s %b\"", "Gives a format a nickname, or makes it the default of TransferLog."},
    {"BufferedLogs", "mod_log_config.c", kInServer, Arity::kFlag, "Enable Buffered Logging (experimental)", kNo, SetBufferedLogs, "On|Off", "Off", "On: access logs are written in blocks of 4 KiB and when a child ends gracefully, not at the end of each turn of an event loop. What is in memory is lost with a child that crashes."},
  };
}
// clang-format on

}  // namespace httpd::config
