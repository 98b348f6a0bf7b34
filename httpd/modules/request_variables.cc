#include "httpd/modules/request_variables.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>

#include "httpd/http/ascii.h"
#include "httpd/modules/module.h"
#include "httpd/modules/ssl.h"

namespace httpd::modules {

namespace {

using std::string;
using std::string_view;

/// The largest that an account's entry may be; longer ones have no name here.
constexpr size_t kAccountBytes = 16384;

std::tm Local(std::time_t when) {
  std::tm parts{};
  ::localtime_r(&when, &parts);
  return parts;
}

/// The time of the request: one for all conditions that it meets.
std::tm Now(const RequestState& state) {
  return Local(std::chrono::system_clock::to_time_t(state.request->start));
}

string Format(const char* format, const std::tm& parts) {
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), format, &parts)};
}

string Time(const char* format, const RequestState& state) {
  return Format(format, Now(state));
}

string Field(const RequestState& state, const char* name) {
  return Joined(state.head(), name);
}

/// Host and port of the request's authority; an IPv6 address keeps its brackets.
std::pair<std::string_view, std::string_view> Authority(const RequestState& state) {
  const std::string_view all = state.head().authority;
  const size_t colon = all.rfind(':');
  if (colon == std::string_view::npos || all.find(']', colon) != std::string_view::npos) return {all, {}};
  return {all.substr(0, colon), all.substr(colon + 1)};
}

string ServerName(RequestState& state) {
  string name(Authority(state).first);
  if (name.empty()) name = state.host->host->server_name;
  std::transform(name.begin(), name.end(), name.begin(), http::Lower);
  return name;
}

string ServerPort(RequestState& state) {
  return PortOf(state);
}

/// Before the path is decoded, what was sent.
string Path(RequestState& state) {
  return state.path.empty() ? string(state.head().path) : state.path;
}

string Query(RequestState& state) {
  return state.path.empty() ? string(state.head().query) : state.query;
}

string FileName(RequestState& state) {
  return state.file.empty() ? Path(state) : state.file;
}

string ContentType(RequestState& state) {
  if (!state.media_type.empty()) {
    return state.charset.empty() ? state.media_type : state.media_type + "; charset=" + state.charset;
  }
  return state.response ? string(FindField(state.response->fields, "Content-Type")) : "";
}

string Owner(RequestState& state) {
  if (!state.exists()) return "";
  std::array<char, kAccountBytes> buffer{};
  struct passwd entry {};
  struct passwd* found = nullptr;
  return ::getpwuid_r(state.info.st_uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found ? found->pw_name
                                                                                                     : "";
}

string Group(RequestState& state) {
  if (!state.exists()) return "";
  std::array<char, kAccountBytes> buffer{};
  struct group entry {};
  struct group* found = nullptr;
  return ::getgrgid_r(state.info.st_gid, &entry, buffer.data(), buffer.size(), &found) == 0 && found ? found->gr_name
                                                                                                     : "";
}

string DocumentUri(RequestState& state) {
  const string* set = state.environment.Find("DOCUMENT_URI");
  return set ? *set : Path(state);
}

string ContextRoot(RequestState& state) {
  return state.root.empty() ? state.host->host->document_root : state.root;
}

string Software(RequestState& state) {
  return state.engine ? state.engine->site().server_name() : string(kProduct);
}

constexpr RequestVariable kVariables[] = {
    {"HTTP_ACCEPT", [](RequestState& s) { return Field(s, "Accept"); }, "Accept"},
    {"HTTP_COOKIE", [](RequestState& s) { return Field(s, "Cookie"); }, "Cookie"},
    {"HTTP_FORWARDED", [](RequestState& s) { return Field(s, "Forwarded"); }, "Forwarded"},
    {"HTTP_HOST", [](RequestState& s) { return Field(s, "Host"); }, "Host"},
    {"HTTP_PROXY_CONNECTION", [](RequestState& s) { return Field(s, "Proxy-Connection"); }, "Proxy-Connection"},
    {"HTTP_REFERER", [](RequestState& s) { return Field(s, "Referer"); }, "Referer"},
    {"HTTP_USER_AGENT", [](RequestState& s) { return Field(s, "User-Agent"); }, "User-Agent"},
    {"REQUEST_METHOD", [](RequestState& s) { return string(s.head().method_text); }, ""},
    {"REQUEST_SCHEME", [](RequestState& s) -> string { return SchemeOf(s); }, ""},
    {"REQUEST_URI", Path, ""},
    {"DOCUMENT_URI", DocumentUri, ""},
    {"REQUEST_FILENAME", FileName, ""},
    {"SCRIPT_FILENAME", FileName, ""},
    {"LAST_MODIFIED", [](RequestState& s) { return Format("%Y%m%d%H%M%S", Local(s.info.st_mtime)); }, ""},
    {"SCRIPT_USER", Owner, ""},
    {"SCRIPT_GROUP", Group, ""},
    {"PATH_INFO", [](RequestState& s) { return s.path_info; }, ""},
    {"QUERY_STRING", Query, ""},
    {"IS_SUBREQ", [](RequestState& s) -> string { return s.is_subrequest() ? "true" : "false"; }, ""},
    {"THE_REQUEST", [](RequestState& s) { return string(s.head().line); }, ""},
    {"REMOTE_ADDR", [](RequestState& s) { return string(s.client_address()); }, ""},
    {"REMOTE_PORT", [](RequestState& s) { return std::to_string(s.request->client_port); }, ""},
    // HostnameLookups is never on: a name would have to be waited for.
    {"REMOTE_HOST", [](RequestState& s) { return string(s.client_address()); }, ""},
    {"REMOTE_USER", [](RequestState& s) { return s.user; }, ""},
    {"REMOTE_IDENT", [](RequestState&) -> string { return ""; }, ""},
    {"SERVER_NAME", ServerName, ""},
    {"SERVER_PORT", ServerPort, ""},
    {"SERVER_ADMIN", [](RequestState& s) { return s.host->host->server_admin; }, ""},
    {"SERVER_PROTOCOL", [](RequestState& s) { return std::string(s.head().Protocol()); }, ""},
    {"DOCUMENT_ROOT", [](RequestState& s) { return s.host->host->document_root; }, ""},
    {"CONTEXT_PREFIX", [](RequestState& s) { return s.url_root; }, ""},
    {"CONTEXT_DOCUMENT_ROOT", ContextRoot, ""},
    {"AUTH_TYPE", [](RequestState& s) { return s.auth_type; }, ""},
    {"CONTENT_TYPE", ContentType, ""},
    // The file itself has no handler's name: Apache calls it by the type.
    {"HANDLER", [](RequestState& s) { return s.handler.empty() ? s.media_type : s.handler; }, ""},
    {"HTTP2", [](RequestState&) -> string { return "off"; }, ""},
    {"HTTPS", [](RequestState& s) -> string { return s.request->is_tls ? "on" : "off"; }, ""},
    {"IPV6",
     [](RequestState& s) -> string {
       return s.request->peer_address().find(':') == std::string_view::npos ? "off" : "on";
     },
     ""},
    {"REQUEST_STATUS", [](RequestState& s) { return s.response ? std::to_string(s.response->status) : ""; }, ""},
    {"REQUEST_LOG_ID", [](RequestState& s) { return s.request_id; }, ""},
    {"CONN_LOG_ID", [](RequestState&) -> string { return ""; }, ""},
    {"CONN_REMOTE_ADDR", [](RequestState& s) { return string(s.request->peer_address()); }, ""},
    {"TIME_YEAR", [](RequestState& s) { return Time("%Y", s); }, ""},
    {"TIME_MON", [](RequestState& s) { return Time("%m", s); }, ""},
    {"TIME_DAY", [](RequestState& s) { return Time("%d", s); }, ""},
    {"TIME_HOUR", [](RequestState& s) { return Time("%H", s); }, ""},
    {"TIME_MIN", [](RequestState& s) { return Time("%M", s); }, ""},
    {"TIME_SEC", [](RequestState& s) { return Time("%S", s); }, ""},
    {"TIME_WDAY", [](RequestState& s) { return Time("%w", s); }, ""},
    {"TIME", [](RequestState& s) { return Time("%Y%m%d%H%M%S", s); }, ""},
    {"SERVER_SOFTWARE", Software, ""},
    // Of the module interface whose behaviour this is.
    {"API_VERSION", [](RequestState&) -> string { return "20120211"; }, ""},
};

}  // namespace

const RequestVariable* FindRequestVariable(std::string_view name) {
  const auto* found = std::find_if(std::begin(kVariables), std::end(kVariables), [&](const RequestVariable& known) {
    return http::EqualsIgnoreCase(known.name, name);
  });
  if (found != std::end(kVariables)) return found;
  constexpr string_view kSslPrefix = "SSL_";
  if (!http::EqualsIgnoreCase(name.substr(0, kSslPrefix.size()), kSslPrefix)) return nullptr;
  // Their names are without end (SSL_CLIENT_S_DN_OU_7): those that somebody has asked for. An .htaccess file may be the
  // one that asks, in any loop.
  static std::mutex mutex;
  static std::map<string, RequestVariable, std::less<>> asked;
  const std::lock_guard lock(mutex);
  auto entry = asked.find(name);
  if (entry == asked.end()) {
    entry = asked.emplace(string(name), RequestVariable{}).first;
    entry->second.name = entry->first;
  }
  return &entry->second;
}

string RequestVariable::Of(RequestState& state) const {
  return value ? value(state) : SslVariable(state, name);
}

std::string EnvironmentValue(const RequestState& state, const std::string& name) {
  // Notes are compared without case, too.
  for (const auto& [note, value] : state.notes) {
    if (http::EqualsIgnoreCase(note, name)) return value;
  }
  if (const std::string* value = state.environment.Find(name)) return *value;
  const char* value = std::getenv(name.c_str());
  return value ? value : "";
}

std::string VariableOf(RequestState& state, std::string_view name) {
  if (name.starts_with("ENV:")) return EnvironmentValue(state, string(name.substr(4)));
  if (name.starts_with("SSL:")) return SslVariable(state, name.substr(4));
  if (name.starts_with("HTTP:")) return Joined(state.head(), name.substr(5));
  const RequestVariable* known = FindRequestVariable(name);
  return known ? known->Of(state) : "";
}

}  // namespace httpd::modules
