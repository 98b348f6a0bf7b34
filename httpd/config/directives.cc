#include "httpd/config/directives.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <set>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

// ---- values ----------------------------------------------------------------------------------------------------

std::optional<long long> Number(std::string_view text) {
  long long value = 0;
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Any int, for numbers that are corrected when all is read; beyond int they are as wrong as letters.
Complaint TakeInt(const Node& node, const std::string& word, int least, int& out) {
  const auto value = Number(word);
  if (!value || *value > INT_MAX || *value < least) {
    std::string allowed = "a number";
    if (least == 0) allowed = "a non-negative integer";
    if (least == 1) allowed = "a positive integer";
    return node.name + " \"" + word + "\" must be " + allowed;
  }
  out = static_cast<int>(*value);
  return kFine;
}

// 5, 5s, 500ms, 2min, 1h. Source  server/util.c ap_timeout_parameter_parse
std::optional<int> Milliseconds(const std::string& text) {
  const size_t unit_at = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto value = Number(text.substr(0, unit_at));
  if (!value) return std::nullopt;
  const std::string unit = LowerCase(text.substr(unit_at));
  long long factor = 0;
  if (unit.empty() || unit == "s") factor = 1000;
  if (unit == "ms") factor = 1;
  if (unit == "mi" || unit == "min") factor = 60000;
  if (unit == "h") factor = 3600000;
  if (factor == 0 || *value > INT_MAX / factor) return std::nullopt;
  return static_cast<int>(*value * factor);
}

bool IsIpv4(const std::string& text) {
  in_addr address{};
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1;
}

bool IsIpv6(const std::string& text) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

std::optional<uint16_t> Port(std::string_view text) {
  const auto value = Number(text);
  if (!value || *value < 1 || *value > 65535) return std::nullopt;
  return static_cast<uint16_t>(*value);
}

// What `Require ip` takes. Source  httpd 2.4 manual, mod_authz_host "Require ip"
bool IsNetwork(const std::string& text) {
  const size_t slash = text.find('/');
  const std::string host = text.substr(0, slash);
  const std::string mask = slash == std::string::npos ? "" : text.substr(slash + 1);
  if (slash != std::string::npos && mask.empty()) return false;
  if (host.find(':') != std::string::npos) {
    const auto bits = Number(mask);
    return IsIpv6(host) && (mask.empty() || (bits && *bits >= 0 && *bits <= 128));
  }
  if (!mask.empty()) {
    const auto bits = Number(mask);
    return IsIpv4(host) && ((bits && *bits >= 0 && *bits <= 32) || IsIpv4(mask));
  }
  std::string_view rest = host;
  if (rest.ends_with('.')) rest.remove_suffix(1);
  for (int part = 0; part < 4; ++part) {
    const std::string_view digits = rest.substr(0, rest.find('.'));
    const auto value = Number(digits);
    if (!value || *value < 0 || *value > 255 || digits.front() == '+') return false;
    if (digits.size() == rest.size()) return true;
    rest.remove_prefix(digits.size() + 1);
  }
  return false;
}

Complaint TakeFlag(const Node& node, const std::string& word, bool& out) {
  if (SameIgnoringCase(word, "on")) {
    out = true;
  } else if (SameIgnoringCase(word, "off")) {
    out = false;
  } else {
    return node.name + " must be On or Off";
  }
  return kFine;
}

std::string WithoutTrailingSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Complaint TakeLogTarget(Builder& builder, const Node& node, const std::string& word, LogTarget& out) {
  LogTarget target;
  target.where = node.where;
  if (word.starts_with('|')) {
    target.kind = LogTarget::Kind::kProgram;
    std::string_view command = std::string_view(word).substr(1);
    if (command.starts_with('$')) {
      target.kind = LogTarget::Kind::kShell;
      command.remove_prefix(1);
    } else if (command.starts_with('|')) {
      command.remove_prefix(1);
    }
    target.text = command.substr(std::min(command.find_first_not_of(" \t"), command.size()));
    if (target.text.empty()) return node.name + ": the program after '|' is missing";
  } else if (LowerCase(word) == "syslog" || LowerCase(word).starts_with("syslog:")) {
    return node.name + ": logging to syslog is not supported yet";
  } else {
    target.kind = LogTarget::Kind::kFile;
    target.text = builder.Absolute(word);
  }
  out = target;
  return kFine;
}

// ---- handlers: the server ------------------------------------------------------------------------------------------

Complaint SetListen(Builder& builder, Scope&, const Node& node, const Words& words) {
  ListenAddress address;
  address.where = node.where;
  const std::string& text = words[0];
  const size_t colon = text.rfind(':');
  std::string host = colon == std::string::npos ? "" : text.substr(0, colon);
  const std::string port = colon == std::string::npos ? text : text.substr(colon + 1);
  if (colon == std::string::npos && text.find_first_not_of("0123456789") != std::string::npos) {
    return "Port must be specified";
  }
  const auto number = Port(port);
  if (!number) return "Invalid address or port";
  address.port = *number;
  if (host.starts_with('[')) {
    in6_addr numeric{};
    if (!host.ends_with(']') || ::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &numeric) != 1) {
      return "Invalid address or port";
    }
    char canonical[INET6_ADDRSTRLEN];  // so that two spellings of one address are seen to be one
    address.host = ::inet_ntop(AF_INET6, &numeric, canonical, sizeof canonical);
  } else if (!host.empty() && host != "*") {
    if (!IsIpv4(host)) return "Listen takes a numeric address: '" + host + "' is not one (IPv6 goes in brackets)";
    if (host != "0.0.0.0") address.host = host;
  }
  if (words.size() > 1) address.protocol = LowerCase(words[1]);
  if (address.protocol != "http") return "Listen protocol '" + words[1] + "' is not supported yet, only http is";
  for (const ListenAddress& other : builder.config().listen) {
    if (other.port == address.port && other.host == address.host) {
      return "Cannot define multiple Listeners on the same IP:port";
    }
  }
  builder.config().listen.push_back(address);
  return kFine;
}

Complaint SetRuntimeDir(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.config().runtime_dir = WithoutTrailingSlash(builder.Absolute(words[0]));
  builder.config().runtime_dir_where = node.where;
  return kFine;
}

Complaint SetPidFile(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.config().pid_file = builder.Absolute(words[0]);
  builder.config().pid_file_where = node.where;
  return kFine;
}

Complaint SetUser(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.config().user = words[0];
  builder.config().user_where = node.where;
  return kFine;
}

Complaint SetGroup(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.config().group = words[0];
  builder.config().group_where = node.where;
  return kFine;
}

template <int ServerConfig::*kMember>
Complaint SetAnyInt(Builder& builder, Scope&, const Node& node, const Words& words) {
  return TakeInt(node, words[0], INT_MIN, builder.config().*kMember);
}

template <int ServerConfig::*kMember>
Complaint SetNonNegative(Builder& builder, Scope&, const Node& node, const Words& words) {
  return TakeInt(node, words[0], 0, builder.config().*kMember);
}

Complaint SetMaxClients(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.Warn(node, "AH00521: WARNING: MaxClients is deprecated, use MaxRequestWorkers instead.");
  return TakeInt(node, words[0], INT_MIN, builder.config().max_request_workers);
}

Complaint SetMaxRequestsPerChild(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.Warn(node, "AH00545: WARNING: MaxRequestsPerChild is deprecated, use MaxConnectionsPerChild instead.");
  return TakeInt(node, words[0], 0, builder.config().max_connections_per_child);
}

Complaint SetListenBacklog(Builder& builder, Scope&, const Node& node, const Words& words) {
  int value = 0;
  if (auto complaint = TakeInt(node, words[0], INT_MIN, value)) return complaint;
  if (value <= 0) return "ListenBacklog must be > 0";
  builder.config().listen_backlog = value;
  return kFine;
}

Complaint SetLimitRequestBody(Builder& builder, Scope&, const Node&, const Words& words) {
  const auto value = Number(words[0]);
  if (!value || *value < 0) return "LimitRequestBody requires a non-negative integer.";
  builder.config().limit_request_body = *value;
  return kFine;
}

Complaint SetServerTokens(Builder& builder, Scope&, const Node&, const Words& words) {
  static const std::pair<const char*, const char*> kNames[] = {
      {"Full", "Full"},   {"OS", "OS"},       {"Min", "Minimal"}, {"Minimal", "Minimal"},
      {"Minor", "Minor"}, {"Major", "Major"}, {"Prod", "Prod"},   {"ProductOnly", "Prod"}};
  for (const auto& [name, value] : kNames) {
    if (!SameIgnoringCase(words[0], name)) continue;
    builder.config().server_tokens = value;
    return kFine;
  }
  return "ServerTokens takes 1 argument: 'Prod(uctOnly)', 'Major', 'Minor', 'Min(imal)', 'OS', or 'Full'";
}

Complaint SetServerSignature(Builder& builder, Scope&, const Node&, const Words& words) {
  for (const char* value : {"Off", "On", "EMail"}) {
    if (!SameIgnoringCase(words[0], value)) continue;
    builder.config().server_signature = value;
    return kFine;
  }
  return "ServerSignature: use one of: off | on | email";
}

Complaint SetExtendedStatus(Builder& builder, Scope&, const Node& node, const Words& words) {
  return TakeFlag(node, words[0], builder.config().extended_status);
}

Complaint SetTypesConfig(Builder& builder, Scope&, const Node&, const Words& words) {
  builder.config().types_config = builder.Absolute(words[0]);
  return kFine;
}

Complaint SetAccessFileName(Builder& builder, Scope&, const Node&, const Words& words) {
  builder.config().access_file_names = words;
  return kFine;
}

Complaint SetError(Builder&, Scope&, const Node&, const Words& words) {
  std::string message;
  for (const std::string& word : words) message += (message.empty() ? "" : " ") + word;
  if (message.empty()) return "The Error directive was used with no message.";
  return message;
}

// Accepted so that existing files load; the program has no such thing to set.
Complaint SetMeaningless(Builder& builder, Scope&, const Node& node, const Words&) {
  builder.Warn(node, "WARNING: " + node.name + " has no meaning here");
  return kFine;
}

Complaint SetMutex(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  const std::string mechanism = LowerCase(words[0]);
  if (mechanism != "default" && !mechanism.starts_with("file:")) {
    return "Invalid Mutex argument " + words[0] +
           " (only 'default' and 'file:/path' are accepted, and have no meaning)";
  }
  return SetMeaningless(builder, scope, node, words);
}

Complaint SetHostnameLookups(Builder&, Scope&, const Node&, const Words& words) {
  if (SameIgnoringCase(words[0], "off")) return kFine;
  if (SameIgnoringCase(words[0], "on") || SameIgnoringCase(words[0], "double")) {
    return "HostnameLookups " + words[0] + " is not supported: a name server must not delay requests. Only Off is";
  }
  return "parameter must be 'on', 'off', or 'double'";
}

Complaint SetUseCanonicalName(Builder&, Scope&, const Node&, const Words& words) {
  if (SameIgnoringCase(words[0], "off")) return kFine;
  if (SameIgnoringCase(words[0], "on") || SameIgnoringCase(words[0], "dns")) {
    return "UseCanonicalName " + words[0] + " is not supported yet, only Off is";
  }
  return "parameter must be 'on', 'off', or 'dns'";
}

// ---- handlers: hosts -----------------------------------------------------------------------------------------------

Complaint SetServerName(Builder&, Scope& scope, const Node&, const Words& words) {
  std::string name = words[0];
  const size_t scheme = name.find("://");
  if (scheme != std::string::npos) name.erase(0, scheme + 3);
  const size_t bracket = name.find(']');
  const size_t colon = name.find(':', bracket == std::string::npos ? 0 : bracket);
  scope.draft.host.server_port = 0;
  if (colon != std::string::npos) {
    const auto port = Port(name.substr(colon + 1));
    if (!port) return "The port number \"" + words[0] + "\" is outside the appropriate range (i.e., 1..65535).";
    scope.draft.host.server_port = *port;
    name.erase(colon);
  }
  if (name.empty() || name.find_first_of("/ \t") != std::string::npos) {
    return "Invalid ServerName \"" + words[0] + "\" use ServerAlias to set multiple server names.";
  }
  scope.draft.host.server_name = name;
  return kFine;
}

Complaint SetServerAlias(Builder&, Scope& scope, const Node&, const Words& words) {
  if (!scope.in_virtual_host) return "ServerAlias only used in <VirtualHost>";
  for (const std::string& word : words) {
    if (!word.empty()) scope.draft.host.server_aliases.push_back(LowerCase(word));
  }
  return kFine;
}

Complaint SetServerAdmin(Builder&, Scope& scope, const Node&, const Words& words) {
  scope.draft.host.server_admin = words[0];
  return kFine;
}

Complaint SetDocumentRoot(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  std::string& root = scope.draft.host.document_root;
  root = WithoutTrailingSlash(builder.Absolute(words[0]));
  if (builder.request().check_document_root && !builder.files().is_directory(root)) {
    builder.Warn(node, "AH00112: Warning: DocumentRoot [" + root + "] does not exist");
  }
  return kFine;
}

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
    if (clause.starts_with("expr=")) return "CustomLog: an expr= clause is not supported yet";
    if (!clause.starts_with("env=")) return "error in condition clause";
    entry.log.env = clause.substr(4);
    if (entry.log.env.starts_with('!')) {
      entry.log.env_negated = true;
      entry.log.env.erase(0, 1);
    }
    if (entry.log.env.empty()) return "missing environment variable name";
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

Complaint SetKeepAlive(Builder&, Scope& scope, const Node& node, const Words& words) {
  return TakeFlag(node, words[0], scope.draft.host.keep_alive);
}

Complaint SetKeepAliveTimeout(Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = Milliseconds(words[0]);
  if (!value) return "KeepAliveTimeout has wrong format";
  scope.draft.host.keep_alive_timeout_ms = *value;
  return kFine;
}

Complaint SetMaxKeepAliveRequests(Builder&, Scope& scope, const Node& node, const Words& words) {
  return TakeInt(node, words[0], 0, scope.draft.host.max_keep_alive_requests);
}

Complaint SetTimeout(Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = Milliseconds(words[0]);
  if (!value) return "Timeout has wrong format";
  if (*value == 0) return "Timeout must be at least 1 second";
  scope.draft.host.timeout_ms = *value;
  return kFine;
}

Complaint SetTraceEnable(Builder&, Scope& scope, const Node&, const Words& words) {
  if (SameIgnoringCase(words[0], "on")) {
    scope.draft.host.trace_enable = true;
  } else if (SameIgnoringCase(words[0], "off")) {
    scope.draft.host.trace_enable = false;
  } else if (SameIgnoringCase(words[0], "extended")) {
    return "TraceEnable extended is not supported yet, use on or off";
  } else {
    return "TraceEnable must be one of 'on', 'off', or 'extended'";
  }
  return kFine;
}

Complaint AddAlias(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  if (words.size() < 2) return "Alias must have two arguments when used globally";
  if (!words[0].starts_with('/')) return "Alias: the URL-path '" + words[0] + "' must begin with '/'";
  UrlRule rule;
  rule.from = words[0];
  rule.to = builder.Absolute(words[1]);
  rule.where = node.where;
  scope.draft.host.url_rules.push_back(rule);
  return kFine;
}

Complaint AddRedirect(Builder&, Scope& scope, const Node& node, const Words& words) {
  static const std::pair<const char*, int> kStatuses[] = {
      {"permanent", 301}, {"temp", 302}, {"seeother", 303}, {"gone", 410}};
  UrlRule rule;
  rule.kind = UrlRule::Kind::kRedirect;
  rule.where = node.where;
  size_t next = 0;
  for (const auto& [name, status] : kStatuses) {
    if (!SameIgnoringCase(words[0], name)) continue;
    rule.status = status;
    next = 1;
  }
  if (next == 0 && words[0].find_first_not_of("0123456789") == std::string::npos) {
    const auto status = Number(words[0]);
    if (!status || *status < 300 || *status > 599 || *status == 304)
      return "Redirect status " + words[0] + " is not valid";
    rule.status = static_cast<int>(*status);
    next = 1;
  }
  if (next == 0 && words.size() == 3) return "Redirect: invalid first argument (of three)";
  const bool wants_url = rule.status < 400;
  if (next >= words.size()) return "Redirect: the URL-path is missing";
  rule.from = words[next++];
  if (!rule.from.starts_with('/')) return "Redirect: the URL-path '" + rule.from + "' must begin with '/'";
  if (wants_url && next >= words.size()) return "URL to redirect to is missing";
  if (!wants_url && next < words.size()) return "Redirect URL not valid for this status";
  if (wants_url) {
    rule.to = words[next];
    if (rule.to.find("://") == std::string::npos && !rule.to.starts_with('/')) return "Redirect to non-URL";
  }
  scope.draft.host.url_rules.push_back(rule);
  return kFine;
}

// ---- handlers: directories -----------------------------------------------------------------------------------------

Complaint SetDirectoryIndex(Builder&, Scope& scope, const Node&, const Words& words) {
  if (words.size() == 1 && SameIgnoringCase(words[0], "disabled")) {
    scope.settings.directory_index = Words{};
    return kFine;
  }
  // Apache: several lines of one section add up.
  auto& index = scope.settings.directory_index;
  if (!index) index.emplace();
  index->insert(index->end(), words.begin(), words.end());
  return kFine;
}

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

Complaint AddRequire(Builder&, Scope& scope, const Node&, const Words& words) {
  RequireRule rule;
  size_t next = 0;
  if (!words.empty() && SameIgnoringCase(words[0], "not")) {
    rule.negated = true;
    next = 1;
  }
  const std::string provider = next < words.size() ? words[next] : "";
  rule.arguments.assign(words.begin() + std::min(next + 1, words.size()), words.end());
  if (SameIgnoringCase(provider, "all")) {
    const std::string value = rule.arguments.size() == 1 ? LowerCase(rule.arguments[0]) : "";
    if (value != "granted" && value != "denied") return "Argument for 'Require all' must be 'granted' or 'denied'";
    rule.kind = value == "granted" ? RequireRule::Kind::kAllGranted : RequireRule::Kind::kAllDenied;
    rule.arguments.clear();
  } else if (SameIgnoringCase(provider, "local")) {
    rule.kind = RequireRule::Kind::kLocal;
    if (!rule.arguments.empty()) return "'Require local' takes no arguments";
  } else if (SameIgnoringCase(provider, "ip")) {
    rule.kind = RequireRule::Kind::kIp;
    if (rule.arguments.empty()) return "'require ip' requires at least one address";
    for (const std::string& network : rule.arguments) {
      if (!IsNetwork(network)) return "ip address '" + network + "' appears to be invalid";
    }
  } else if (SameIgnoringCase(provider, "method")) {
    rule.kind = RequireRule::Kind::kMethod;
    if (rule.arguments.empty()) return "'Require method' requires at least one method";
  } else {
    return "Unknown Authz provider: " + provider;
  }
  if (rule.negated && scope.require->kind != RequireGroup::Kind::kAll) {
    return std::string("negative Require directive has no effect in ") +
           (scope.require->kind == RequireGroup::Kind::kAny ? "<RequireAny>" : "<RequireNone>") + " directive";
  }
  if (scope.require->whole) {
    return "A <RequireAll> that holds negative directives beside other directives is not supported yet";
  }
  scope.require->rules.push_back(std::move(rule));
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

Complaint AddTypes(Builder&, Scope& scope, const Node&, const Words& words) {
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string extension = LowerCase(words[i].starts_with('.') ? words[i].substr(1) : words[i]);
    if (!extension.empty()) scope.settings.types[extension] = words[0];
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

// ---- handlers: sections --------------------------------------------------------------------------------------------

// Errors of children are kept by the builder with their own line; this only stops the walk.
const Complaint kStop = "";

void CloseRequire(const RequireGroup& group, PerDirectory& settings) {
  if (!group.rules.empty()) settings.require = group.rules;
}

Complaint OpenSection(Builder& builder, Scope& scope, const Node& node, Section::Kind kind) {
  const std::string title = node.name.substr(1);
  Words words = SplitWords(SectionArguments(node));
  Section section;
  section.kind = kind;
  section.where = node.where;
  section.is_regex = LowerCase(title).ends_with("match");
  if (!section.is_regex && words.size() > 1 && words[0] == "~") {
    section.is_regex = true;
    words.erase(words.begin());
  }
  if (words.empty() || words[0].empty()) return node.name + "> directive requires additional arguments";
  if (words.size() > 1) return "Multiple " + node.name + "> arguments not (yet) supported.";
  section.pattern = words[0];
  section.is_wildcard = !section.is_regex && section.pattern.find_first_of("*?[") != std::string::npos;
  if (kind == Section::Kind::kDirectory && !section.is_regex) {
    if (!section.pattern.starts_with('*')) section.pattern = builder.Absolute(section.pattern);
    section.pattern = WithoutTrailingSlash(section.pattern);
  }
  RequireGroup require;
  Scope inner{scope.draft, scope.in_virtual_host, &section, section.settings, &require, &node};
  if (builder.Failed(node.children, inner)) return kStop;
  CloseRequire(require, section.settings);
  (scope.section ? scope.section->nested : scope.draft.host.sections).push_back(std::move(section));
  return kFine;
}

Complaint OpenDirectory(Builder& builder, Scope& scope, const Node& node, const Words&) {
  return OpenSection(builder, scope, node, Section::Kind::kDirectory);
}

Complaint OpenLocation(Builder& builder, Scope& scope, const Node& node, const Words&) {
  return OpenSection(builder, scope, node, Section::Kind::kLocation);
}

Complaint OpenFiles(Builder& builder, Scope& scope, const Node& node, const Words&) {
  if (scope.section && scope.section->kind != Section::Kind::kDirectory) {
    return node.name + "> cannot occur within " + scope.parent->name + "> section";
  }
  return OpenSection(builder, scope, node, Section::Kind::kFiles);
}

Complaint OpenVirtualHost(Builder& builder, Scope& scope, const Node& node, const Words&) {
  if (scope.in_virtual_host) return "<VirtualHost> cannot occur within <VirtualHost> section";
  const Words words = SplitWords(SectionArguments(node));
  if (words.empty() || words[0].empty()) return "<VirtualHost> directive requires additional arguments";
  HostDraft draft;
  draft.host.where = node.where;
  for (const std::string& word : words) {
    Host::Address address;
    std::string host = word;
    const size_t colon = word.rfind(':');
    const size_t bracket = word.rfind(']');
    if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
      const std::string port = word.substr(colon + 1);
      host = word.substr(0, colon);
      const auto number = Port(port);
      if (!number && port != "*") return "<VirtualHost " + word + ">: the port must be 1..65535 or *";
      address.port = number.value_or(0);
    }
    if (host == "*" || SameIgnoringCase(host, "_default_")) {
      address.host = "*";
    } else if (host.size() > 2 && host.front() == '[' && host.back() == ']' &&
               IsIpv6(host.substr(1, host.size() - 2))) {
      address.host = host.substr(1, host.size() - 2);
    } else if (IsIpv4(host)) {
      address.host = host;
    } else {
      return "<VirtualHost " + word + ">: '" + host +
             "' is not a numeric address, * or _default_ (names are for ServerName and ServerAlias)";
    }
    draft.host.addresses.push_back(address);
  }
  Scope inner{draft, true, nullptr, draft.host.settings, nullptr, &node};
  if (builder.Failed(node.children, inner)) return kStop;
  builder.virtual_hosts().push_back(std::move(draft));
  return kFine;
}

// A list of rules means "any grants, none of the negated holds". Groups that say more than that are refused.
Complaint OpenRequire(Builder& builder, Scope& scope, const Node& node, const Words&) {
  const std::string title = LowerCase(node.name);
  RequireGroup group;
  if (title == "<requireall") group.kind = RequireGroup::Kind::kAll;
  if (title == "<requirenone") group.kind = RequireGroup::Kind::kNone;
  RequireGroup& outer = *scope.require;
  if (group.kind == RequireGroup::Kind::kNone && outer.kind != RequireGroup::Kind::kAll) {
    return std::string("<RequireNone> directive has no effect in ") +
           (outer.kind == RequireGroup::Kind::kAny ? "<RequireAny>" : "<RequireNone>") + " directive";
  }
  Scope inner{scope.draft, scope.in_virtual_host, scope.section, scope.settings, &group, &node};
  if (builder.Failed(node.children, inner)) return kStop;
  if (group.rules.empty()) return node.name + "> directive contains no authorization directives";
  const auto negated = [](const RequireRule& rule) { return rule.negated; };
  if (group.kind == RequireGroup::Kind::kNone) {
    for (RequireRule& rule : group.rules) rule.negated = true;
  } else if (group.kind == RequireGroup::Kind::kAll) {
    const bool vetoes = std::any_of(group.rules.begin(), group.rules.end(), negated);
    if (std::all_of(group.rules.begin(), group.rules.end(), negated)) {
      return "<RequireAll> directive contains only negative authorization directives";
    }
    // "all granted" adds nothing to another rule that must hold
    const auto positive = group.rules.size() - std::count_if(group.rules.begin(), group.rules.end(), negated);
    if (positive > 1) {
      size_t left = positive;
      std::erase_if(group.rules, [&](const RequireRule& rule) {
        return !rule.negated && rule.kind == RequireRule::Kind::kAllGranted && left > 1 && left--;
      });
      if (left > 1) return "<RequireAll> with several positive directives is not supported yet";
    }
    if (vetoes && outer.kind == RequireGroup::Kind::kAny && (!outer.rules.empty() || outer.whole)) {
      return "A <RequireAll> that holds negative directives beside other directives is not supported yet";
    }
    group.whole = vetoes;
  }
  if (outer.kind == RequireGroup::Kind::kAll && group.kind == RequireGroup::Kind::kAny && group.rules.size() > 1) {
    // (a or b) and c is not a flat list, unless c is only vetoes or "all granted"
    return "<RequireAny> with several directives inside <RequireAll> is not supported yet";
  }
  if (outer.kind == RequireGroup::Kind::kNone && group.kind != RequireGroup::Kind::kAny) {
    return node.name + "> inside <RequireNone> is not supported yet";
  }
  if (outer.whole) {
    return "A <RequireAll> that holds negative directives beside other directives is not supported yet";
  }
  outer.whole = outer.kind == RequireGroup::Kind::kAny && group.whole;
  outer.rules.insert(outer.rules.end(), group.rules.begin(), group.rules.end());
  return kFine;
}

// ---- the table -----------------------------------------------------------------------------------------------------

constexpr unsigned kServer = kInServer;
constexpr unsigned kHosts = kInServer | kInHost;
constexpr unsigned kAnywhere = kInServer | kInHost | kInSection;
constexpr OnRead kNo = OnRead::kNo;

using Arity::kAny;
using Arity::kAtLeastOne;
using Arity::kAtLeastTwo;
using Arity::kFlag;
using Arity::kOne;
using Arity::kOneOrTwo;
using Arity::kOneToThree;
using Arity::kRaw;
using Arity::kTwo;
using Arity::kTwoOrThree;

// clang-format off
std::vector<Directive>& Table() {
  static std::vector<Directive> table = {
    {"<Directory", "core.c", kHosts, kRaw, "Container for directives affecting resources located in the specified directories", kNo, OpenDirectory},
    {"<DirectoryMatch", "core.c", kHosts, kRaw, "Container for directives affecting resources located in the specified directories", kNo, OpenDirectory},
    {"<Location", "core.c", kHosts, kRaw, "Container for directives affecting resources accessed through the specified URL paths", kNo, OpenLocation},
    {"<LocationMatch", "core.c", kHosts, kRaw, "Container for directives affecting resources accessed through the specified URL paths", kNo, OpenLocation},
    {"<Files", "core.c", kAnywhere, kRaw, "Container for directives affecting files matching specified patterns", kNo, OpenFiles},
    {"<FilesMatch", "core.c", kAnywhere, kRaw, "Container for directives affecting files matching specified patterns", kNo, OpenFiles},
    {"<VirtualHost", "core.c", kHosts, kRaw, "Container to map directives to a particular virtual host, takes one or more host addresses", kNo, OpenVirtualHost},
    {"<IfDefine", "core.c", kAnywhere, kRaw, "Container for directives based on existence of command line defines", OnRead::kIfDefine, nullptr},
    {"<IfModule", "core.c", kAnywhere, kRaw, "Container for directives based on existence of specified modules", OnRead::kIfModule, nullptr},
    {"<IfVersion", "mod_version.c", kAnywhere, kRaw, "a comparison operator, a version (and a delimiter)", OnRead::kIfVersion, nullptr},
    {"<RequireAny", "mod_authz_core.c", kInSection, kRaw, "grouping of authorization directives of which one must pass", kNo, OpenRequire},
    {"<RequireAll", "mod_authz_core.c", kInSection, kRaw, "grouping of authorization directives that must all pass", kNo, OpenRequire},
    {"<RequireNone", "mod_authz_core.c", kInSection, kRaw, "grouping of authorization directives of which none may pass", kNo, OpenRequire},
    {"Include", "core.c", kAnywhere, kAtLeastOne, "Name(s) of the config file(s) to be included; fails if the wildcard does not match at least one file", OnRead::kInclude, nullptr},
    {"IncludeOptional", "core.c", kAnywhere, kAtLeastOne, "Name or pattern of the config file(s) to be included; ignored if the file does not exist or the pattern does not match any files", OnRead::kIncludeOptional, nullptr},
    {"Define", "core.c", kAnywhere, kOneOrTwo, "Define a variable, optionally to a value.  Same as passing -D to the command line.", OnRead::kDefine, nullptr},
    {"UnDefine", "core.c", kAnywhere, kOne, "Undefine the existence of a variable. Undo a Define.", OnRead::kUnDefine, nullptr},
    {"Error", "core.c", kAnywhere, kAny, "Generate error message from within configuration", kNo, SetError},
    {"ServerRoot", "core.c", kHosts, kOne, "Common directory of server-related files (logs, confs, etc.)", OnRead::kServerRoot, nullptr},
    {"DefaultRuntimeDir", "core.c", kServer, kOne, "Common directory for run-time files (shared memory, locks, etc.)", kNo, SetRuntimeDir},
    {"LoadModule", "mod_so.c", kHosts, kTwo, "a module name and the name of a shared object file to load it from", OnRead::kLoadModule, nullptr},
    {"Listen", "event.c", kServer, Arity::kListen, "A port number or a numeric IP address and a port number, and an optional protocol", kNo, SetListen},
    {"ListenBacklog", "event.c", kServer, kOne, "Maximum length of the queue of pending connections, as used by listen(2)", kNo, SetListenBacklog},
    {"PidFile", "core.c", kServer, kOne, "A file for logging the server process ID", kNo, SetPidFile},
    {"User", "mod_unixd.c", kServer, kOne, "Effective user id for this server", kNo, SetUser},
    {"Group", "mod_unixd.c", kServer, kOne, "Effective group id for this server", kNo, SetGroup},
    {"StartServers", "event.c", kServer, kOne, "Number of child processes launched at server startup", kNo, SetAnyInt<&ServerConfig::start_servers>},
    {"MinSpareThreads", "event.c", kServer, kOne, "Minimum number of idle threads, to handle request spikes", kNo, SetAnyInt<&ServerConfig::min_spare_threads>},
    {"MaxSpareThreads", "event.c", kServer, kOne, "Maximum number of idle threads", kNo, SetAnyInt<&ServerConfig::max_spare_threads>},
    {"ServerLimit", "event.c", kServer, kOne, "Maximum number of child processes of one generation", kNo, SetAnyInt<&ServerConfig::server_limit>},
    {"ThreadsPerChild", "event.c", kServer, kOne, "Number of event loops each child runs", kNo, SetAnyInt<&ServerConfig::threads_per_child>},
    {"MaxRequestWorkers", "event.c", kServer, kOne, "Maximum number of requests in progress at the same time", kNo, SetAnyInt<&ServerConfig::max_request_workers>},
    {"MaxClients", "event.c", kServer, kOne, "Deprecated name of MaxRequestWorkers", kNo, SetMaxClients},
    {"MaxConnectionsPerChild", "core.c", kServer, kOne, "Maximum number of connections a particular child serves before dying.", kNo, SetNonNegative<&ServerConfig::max_connections_per_child>},
    {"MaxRequestsPerChild", "core.c", kServer, kOne, "Maximum number of connections a particular child serves before dying. (DEPRECATED, use MaxConnectionsPerChild)", kNo, SetMaxRequestsPerChild},
    {"GracefulShutdownTimeout", "event.c", kServer, kOne, "Maximum time in seconds to wait for child processes to complete transactions during shutdown", kNo, SetNonNegative<&ServerConfig::graceful_shutdown_timeout_s>},
    {"GracefulRestartTimeout", "event.c", kServer, kOne, "Maximum time in seconds to wait for the child processes of the previous generation after a graceful restart", kNo, SetNonNegative<&ServerConfig::graceful_restart_timeout_s>},
    {"LimitRequestLine", "core.c", kServer, kOne, "Limit on maximum size of an HTTP request line", kNo, SetNonNegative<&ServerConfig::limit_request_line>},
    {"LimitRequestFields", "core.c", kServer, kOne, "Limit (0 = unlimited) on max number of header fields in a request message", kNo, SetNonNegative<&ServerConfig::limit_request_fields>},
    {"LimitRequestFieldSize", "core.c", kServer, kOne, "Limit on maximum size of an HTTP request header field", kNo, SetNonNegative<&ServerConfig::limit_request_field_size>},
    {"LimitRequestBody", "core.c", kServer, kOne, "Limit (in bytes) on maximum size of request message body", kNo, SetLimitRequestBody},
    {"ServerTokens", "core.c", kServer, kOne, "Determine tokens displayed in the Server: header - Min(imal), Major, Minor, Prod(uctOnly), OS, or Full", kNo, SetServerTokens},
    {"ServerSignature", "core.c", kServer, kOne, "En-/disable server signature (on|off|email)", kNo, SetServerSignature},
    {"ExtendedStatus", "core.c", kServer, kFlag, "\"On\" to track extended status information, \"Off\" to disable", kNo, SetExtendedStatus},
    {"TypesConfig", "mod_mime.c", kServer, kOne, "the MIME types config file", kNo, SetTypesConfig},
    {"AccessFileName", "core.c", kServer, kAtLeastOne, "Name(s) of per-directory config files (default: .htaccess)", kNo, SetAccessFileName},
    {"ServerName", "core.c", kHosts, kOne, "The hostname and port of the server", kNo, SetServerName},
    {"ServerAlias", "core.c", kHosts, kAny, "A name or names alternately used to access the server", kNo, SetServerAlias},
    {"ServerAdmin", "core.c", kHosts, kOne, "The email address of the server administrator", kNo, SetServerAdmin},
    {"DocumentRoot", "core.c", kHosts, kOne, "Root directory of the document tree", kNo, SetDocumentRoot},
    {"ErrorLog", "core.c", kHosts, kOne, "The filename of the error log", kNo, SetErrorLog},
    {"LogLevel", "core.c", kHosts, kAtLeastOne, "Level of verbosity in error logging", kNo, SetLogLevel},
    {"CustomLog", "mod_log_config.c", kHosts, kTwoOrThree, "a file name, a custom log format string or format name, and an optional \"env=\" or \"expr=\" clause (see docs)", kNo, AddAccessLog},
    {"TransferLog", "mod_log_config.c", kHosts, kOne, "the filename of the access log", kNo, AddAccessLog},
    {"LogFormat", "mod_log_config.c", kHosts, kOneOrTwo, "a log format string (see docs) and an optional format name", kNo, SetLogFormat},
    {"KeepAlive", "http_core.c", kHosts, kFlag, "Whether persistent connections should be On or Off", kNo, SetKeepAlive},
    {"KeepAliveTimeout", "http_core.c", kHosts, kOne, "Keep-Alive timeout duration (sec)", kNo, SetKeepAliveTimeout},
    {"MaxKeepAliveRequests", "http_core.c", kHosts, kOne, "Maximum number of Keep-Alive requests per connection, or 0 for infinite", kNo, SetMaxKeepAliveRequests},
    {"Timeout", "core.c", kHosts, kOne, "Timeout duration (sec)", kNo, SetTimeout},
    {"TraceEnable", "core.c", kHosts, kOne, "'on' (default) or 'off'", kNo, SetTraceEnable},
    {"UseCanonicalName", "core.c", kAnywhere, kOne, "How to work out the ServerName : Port when constructing URLs", kNo, SetUseCanonicalName},
    {"HostnameLookups", "core.c", kAnywhere, kOne, "\"off\": reverse DNS lookups are never made", kNo, SetHostnameLookups},
    {"Alias", "mod_alias.c", kHosts, kOneOrTwo, "a fakename and a realname", kNo, AddAlias},
    {"Redirect", "mod_alias.c", kHosts, kOneToThree, "an optional status, then document to be redirected and destination URL", kNo, AddRedirect},
    {"DirectoryIndex", "mod_dir.c", kAnywhere, kAtLeastOne, "a list of file names", kNo, SetDirectoryIndex},
    {"Options", "core.c", kAnywhere, kAny, "Set a number of attributes for a given directory", kNo, SetOptions},
    {"AllowOverride", "core.c", kInSection, kAtLeastOne, "Controls what groups of directives can be configured by per-directory config files", kNo, SetAllowOverride},
    {"Require", "mod_authz_core.c", kInSection, kAny, "specifies authorization directives which one must pass (or not) for a request to suceeed", kNo, AddRequire},
    {"SetHandler", "core.c", kAnywhere, kOne, "a handler name that overrides any other configured handler", kNo, SetSetHandler},
    {"ForceType", "core.c", kAnywhere, kOne, "a mime type that overrides other configured type", kNo, SetForceType},
    {"AddType", "mod_mime.c", kAnywhere, kAtLeastTwo, "a mime type followed by one or more file extensions", kNo, AddTypes},
    {"AddDefaultCharset", "core.c", kAnywhere, kOne, "The name of the default charset to add to any Content-Type without one or 'Off' to disable", kNo, SetDefaultCharset},
    {"ErrorDocument", "core.c", kAnywhere, kTwo, "Change responses for HTTP errors", kNo, AddErrorDocument},
    {"EnableSendfile", "core.c", kAnywhere, kOne, "Controls whether sendfile may be used to transmit files", kNo, SetEnableSendfile},
    // Accepted, without meaning here: a warning says so.
    {"EnableMMAP", "core.c", kAnywhere, kOne, "Accepted, has no meaning here", kNo, SetMeaningless},
    {"Mutex", "core.c", kServer, kAtLeastOne, "Accepted, has no meaning here", kNo, SetMutex},
    {"MaxMemFree", "core.c", kServer, kOne, "Accepted, has no meaning here", kNo, SetMeaningless},
    {"ThreadStackSize", "core.c", kServer, kOne, "Accepted, has no meaning here", kNo, SetMeaningless},
    {"ThreadLimit", "event.c", kServer, kOne, "Accepted, has no meaning here", kNo, SetMeaningless},
    {"AsyncRequestWorkerFactor", "event.c", kServer, kOne, "Accepted, has no meaning here", kNo, SetMeaningless},
  };
  return table;
}
// clang-format on

std::vector<ModuleName>& ModuleList() {
  static std::vector<ModuleName> modules = {
      {"core.c", "core_module"},
      {"mod_so.c", "so_module"},
      {"http_core.c", "http_module"},
      {"mod_log_config.c", "log_config_module"},
      {"mod_logio.c", "logio_module"},
      {"mod_unixd.c", "unixd_module"},
      {"event.c", "mpm_event_module"},
      {"mod_mime.c", "mime_module"},
      {"mod_autoindex.c", "autoindex_module"},
      {"mod_dir.c", "dir_module"},
      {"mod_alias.c", "alias_module"},
      {"mod_status.c", "status_module"},
      {"mod_authz_core.c", "authz_core_module"},
      {"mod_authz_host.c", "authz_host_module"},
      {"mod_systemd.c", "systemd_module"},
      {"mod_version.c", "version_module"},
  };
  return modules;
}

}  // namespace

const std::vector<Directive>& Directives() {
  return Table();
}

const std::vector<ModuleName>& BuiltInModules() {
  return ModuleList();
}

void RegisterModule(const ModuleName& name, const std::vector<Directive>& directives) {
  for (const ModuleName& known : ModuleList()) {
    if (std::string_view(known.identifier) == name.identifier) return;
  }
  ModuleList().push_back(name);
  Table().insert(Table().end(), directives.begin(), directives.end());
}

const Directive* FindDirective(std::string_view name) {
  for (const Directive& directive : Table()) {
    if (SameIgnoringCase(directive.name, name)) return &directive;
  }
  return nullptr;
}

std::string UnknownDirective(std::string_view name) {
  std::string text = "Invalid command '" + std::string(name) +
                     "', perhaps misspelled or defined by a module not included in the server configuration";
  constexpr size_t kLongestWorthAGuess = 40;
  const char* nearest = nullptr;
  size_t best = 3;
  for (const Directive& directive : Table()) {
    if (name.size() > kLongestWorthAGuess || name.starts_with('<') != (directive.name[0] == '<')) continue;
    const size_t distance = EditDistance(name, directive.name);
    if (distance >= best || distance * 3 > name.size()) continue;
    best = distance;
    nearest = directive.name;
  }
  if (nearest) text += std::string(" (did you mean '") + nearest + (nearest[0] == '<' ? ">" : "") + "'?)";
  return text;
}

Complaint CheckArity(const Directive& directive, const std::vector<std::string>& words) {
  struct Row {
    Arity arity;
    size_t least;
    size_t most;
    const char* text;
  };
  static const Row kRows[] = {
      {kOne, 1, 1, "takes one argument"},
      {kOneOrTwo, 1, 2, "takes 1-2 arguments"},
      {kTwo, 2, 2, "takes two arguments"},
      {kTwoOrThree, 2, 3, "takes two or three arguments"},
      {kOneToThree, 1, 3, "takes one, two or three arguments"},
      {Arity::kThree, 3, 3, "takes three arguments"},
      {kAtLeastOne, 1, SIZE_MAX, "requires at least one argument"},
      {kAtLeastTwo, 2, SIZE_MAX, "requires at least two arguments"},
  };
  const std::string name = directive.name;
  if (directive.arity == Arity::kListen && (words.empty() || words.size() > 2))
    return name + " requires 1 or 2 arguments.";
  if (directive.arity == kFlag && words.size() != 1) return name + " must be On or Off";
  for (const Row& row : kRows) {
    if (row.arity != directive.arity) continue;
    const size_t filled = std::find(words.begin(), words.end(), "") - words.begin();
    if (filled < row.least || words.size() > row.most) return name + " " + row.text + ", " + directive.help;
  }
  return std::nullopt;
}

std::string_view SectionArguments(const Node& node) {
  const std::string_view text = node.arguments;
  return text.substr(0, text.rfind('>'));
}

}  // namespace httpd::config
