#include "httpd/config/directive_tables.h"

#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

template <int ServerConfig::*kMember>
Complaint SetNonNegative(Builder& builder, Scope&, const Node& node, const Words& words) {
  return TakeInt(node, words[0], 0, builder.config().*kMember);
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

Complaint SayWarning(Builder& builder, Scope&, const Node& node, const Words& words) {
  std::string message;
  for (const std::string& word : words) message += (message.empty() ? "" : " ") + word;
  if (message.empty()) return "The Warning directive was used with no message.";
  builder.Warn(node, message);
  return kFine;
}

Complaint SetHostnameLookups(Builder&, Scope&, const Node&, const Words& words) {
  if (SameIgnoringCase(words[0], "off")) return kFine;
  if (SameIgnoringCase(words[0], "on") || SameIgnoringCase(words[0], "double")) {
    return "HostnameLookups " + words[0] + " is not supported: a name server must not delay requests. Only Off is";
  }
  return "parameter must be 'on', 'off', or 'double'";
}

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

Complaint SetServerPath(Builder&, Scope& scope, const Node&, const Words& words) {
  scope.draft.host.server_path = words[0];
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

constexpr OnRead kNo = OnRead::kNo;

using Arity::kAny;
using Arity::kAtLeastOne;
using Arity::kFlag;
using Arity::kOne;
using Arity::kOneOrTwo;
using Arity::kRaw;
using Arity::kTwo;

}  // namespace

// clang-format off
std::vector<Directive> HostDirectives() {
  return {
    {"<IfDefine", "core.c", kAnywhere | kOverrideAny, kRaw, "Container for directives based on existence of command line defines", OnRead::kIfDefine, nullptr, "[!]parameter-name"},
    {"<IfModule", "core.c", kAnywhere | kOverrideAny, kRaw, "Container for directives based on existence of specified modules", OnRead::kIfModule, nullptr, "[!]module-file|module-identifier"},
    {"<IfVersion", "mod_version.c", kAnywhere | kOverrideAny, kRaw, "a comparison operator, a version (and a delimiter)", OnRead::kIfVersion, nullptr, "[[!]operator] version"},
    {"<IfDirective", "core.c", kAnywhere | kOverrideAny, kRaw, "Container for directives based on existence of named directive", OnRead::kIfDirective, nullptr, "[!]directive-name"},
    {"<IfFile", "core.c", kAnywhere, kRaw, "Container for directives based on existence of files on disk", OnRead::kIfFile, nullptr, "[!]filename", "", "Relative names are below ServerRoot. Not in .htaccess files."},
    {"<IfSection", "core.c", kAnywhere | kOverrideAny, kRaw, "Container for directives based on existence of named section", OnRead::kIfSection, nullptr, "[!]section-name"},
    {"Include", "core.c", kAnywhere, kAtLeastOne, "Name(s) of the config file(s) to be included; fails if the wildcard does not match at least one file", OnRead::kInclude, nullptr, "file-path|directory-path|wildcard ..."},
    {"IncludeOptional", "core.c", kAnywhere, kAtLeastOne, "Name or pattern of the config file(s) to be included; ignored if the file does not exist or the pattern does not match any files", OnRead::kIncludeOptional, nullptr, "file-path|directory-path|wildcard ..."},
    {"Define", "core.c", kAnywhere, kOneOrTwo, "Define a variable, optionally to a value.  Same as passing -D to the command line.", OnRead::kDefine, nullptr, "parameter-name [parameter-value]"},
    {"UnDefine", "core.c", kAnywhere, kOne, "Undefine the existence of a variable. Undo a Define.", OnRead::kUnDefine, nullptr, "parameter-name"},
    {"Error", "core.c", kAnywhere | kOverrideAny, kAny, "Generate error message from within configuration", kNo, SetError, "message"},
    {"Warning", "core.c", kAnywhere | kOverrideAny, kAny, "Generate warning message from within configuration", kNo, SayWarning, "message"},
    {"ServerRoot", "core.c", kInHosts, kOne, "Common directory of server-related files (logs, confs, etc.)", OnRead::kServerRoot, nullptr, "directory-path"},
    {"LoadModule", "mod_so.c", kInHosts, kTwo, "a module name and the name of a shared object file to load it from", OnRead::kLoadModule, nullptr, "module filename"},
    {"LimitRequestLine", "core.c", kInServer, kOne, "Limit on maximum size of an HTTP request line", kNo, SetNonNegative<&ServerConfig::limit_request_line>, "bytes", "8190"},
    {"LimitRequestFields", "core.c", kInServer, kOne, "Limit (0 = unlimited) on max number of header fields in a request message", kNo, SetNonNegative<&ServerConfig::limit_request_fields>, "number", "100"},
    {"LimitRequestFieldSize", "core.c", kInServer, kOne, "Limit on maximum size of an HTTP request header field", kNo, SetNonNegative<&ServerConfig::limit_request_field_size>, "bytes", "8190"},
    {"ServerTokens", "core.c", kInServer, kOne, "Determine tokens displayed in the Server: header - Min(imal), Major, Minor, Prod(uctOnly), OS, or Full", kNo, SetServerTokens, "Major|Minor|Min[imal]|Prod[uctOnly]|OS|Full", "Full"},
    {"AccessFileName", "core.c", kInServer, kAtLeastOne, "Name(s) of per-directory config files (default: .htaccess)", kNo, SetAccessFileName, "filename ...", ".htaccess"},
    {"ServerName", "core.c", kInHosts, kOne, "The hostname and port of the server", kNo, SetServerName, "[scheme://]domain-name|ip-address[:port]"},
    {"ServerAlias", "core.c", kInHosts, kAny, "A name or names alternately used to access the server", kNo, SetServerAlias, "hostname ..."},
    {"ServerPath", "core.c", kInHosts, kOne, "The pathname the server can be reached at", kNo, SetServerPath, "URL-path"},
    {"ServerAdmin", "core.c", kInHosts, kOne, "The email address of the server administrator", kNo, SetServerAdmin, "email-address|URL"},
    {"DocumentRoot", "core.c", kInHosts, kOne, "Root directory of the document tree", kNo, SetDocumentRoot, "directory-path", "htdocs"},
    {"KeepAlive", "http_core.c", kInHosts, kFlag, "Whether persistent connections should be On or Off", kNo, SetKeepAlive},
    {"KeepAliveTimeout", "http_core.c", kInHosts, kOne, "Keep-Alive timeout duration (sec)", kNo, SetKeepAliveTimeout, "num[ms]", "5"},
    {"MaxKeepAliveRequests", "http_core.c", kInHosts, kOne, "Maximum number of Keep-Alive requests per connection, or 0 for infinite", kNo, SetMaxKeepAliveRequests, "number", "100"},
    {"Timeout", "core.c", kInHosts, kOne, "Timeout duration (sec)", kNo, SetTimeout, "seconds", "60"},
    {"TraceEnable", "core.c", kInHosts, kOne, "'on' (default) or 'off'", kNo, SetTraceEnable, "on|off", "on"},
    {"HostnameLookups", "core.c", kAnywhere, kOne, "\"off\": reverse DNS lookups are never made", kNo, SetHostnameLookups, "Off", "Off"},
  };
}
// clang-format on

}  // namespace httpd::config
