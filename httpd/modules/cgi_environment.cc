#include "httpd/modules/cgi_environment.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "httpd/http/ascii.h"
#include "httpd/modules/http2.h"
#include "httpd/modules/module.h"
#include "httpd/modules/site.h"

namespace httpd::modules {

namespace {

bool IsAlnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// "HTTP_X_NAME"; "" for a field that no variable may stand for
std::string VariableOfField(std::string_view field) {
  std::string out = "HTTP_";
  for (const char c : field) {
    if (c == '-') {
      out += '_';
    } else if (IsAlnum(c)) {
      out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    } else {
      return "";
    }
  }
  return out;
}

}  // namespace

bool IsBodyGone(const RequestState& state) {
  return state.error_status != 0 || state.notes.contains(kBodyGoneNote);
}

std::vector<std::string> CgiEnvironment(RequestState& state, bool pass_authorization, bool current_uri,
                                        const std::string& translated) {
  std::map<std::string, std::string> all;
  state.environment.ForEach([&all](const std::string& name, const std::string& value) {
    std::string clean = name;
    for (char& c : clean) c = IsAlnum(c) ? c : '_';
    if (!clean.empty() && clean[0] >= '0' && clean[0] <= '9') clean[0] = '_';
    if (!clean.empty()) all[clean] = value;
  });
  auto pass = [&all](const char* name, const char* otherwise) {
    if (all.contains(name)) return;
    const char* value = std::getenv(name);
    if (value || otherwise) all[name] = value ? value : otherwise;
  };
  pass("PATH", "/bin:/usr/bin:/usr/local/bin");
  pass("LD_LIBRARY_PATH", nullptr);
  pass("TZ", nullptr);

  const http::RequestHead& head = state.head();
  std::map<std::string, std::string> fields;
  for (const http::HeaderField& field : head.fields) {
    if (http::EqualsIgnoreCase(field.name, "Proxy") || http::EqualsIgnoreCase(field.name, "Proxy-Authorization"))
      continue;
    if (http::EqualsIgnoreCase(field.name, "Authorization") && !pass_authorization) continue;
    std::string name = http::EqualsIgnoreCase(field.name, "Content-Type")     ? "CONTENT_TYPE"
                       : http::EqualsIgnoreCase(field.name, "Content-Length") ? "CONTENT_LENGTH"
                                                                              : VariableOfField(field.name);
    if (name.empty()) continue;
    const auto [entry, is_new] = fields.emplace(std::move(name), field.value);
    if (!is_new) entry->second.append(", ").append(field.value);
  }
  if (IsBodyGone(state)) {
    fields.erase("CONTENT_LENGTH");
    fields.erase("CONTENT_TYPE");
  }
  for (auto& [name, value] : fields) all[name] = std::move(value);

  const net::Request& request = *state.request;
  const config::Host& host = *state.host->host;
  all["SERVER_SIGNATURE"] = state.engine->Signature(state);
  all["SERVER_SOFTWARE"] = state.engine->site().server_name();
  std::string name(head.authority);
  const size_t port_at = name.rfind(':');
  if (port_at != std::string::npos && name.find(']', port_at) == std::string::npos) name.resize(port_at);
  all["SERVER_NAME"] = !name.empty() ? name : !host.server_name.empty() ? host.server_name : "localhost";
  all["SERVER_ADDR"] = state.LocalAddress();
  all["SERVER_PORT"] = PortOf(state);
  all["REMOTE_ADDR"] = state.client_address();
  all["REMOTE_PORT"] = std::to_string(request.client_port);
  all["DOCUMENT_ROOT"] = host.document_root;
  all["REQUEST_SCHEME"] = SchemeOf(state);
  all["CONTEXT_PREFIX"] = state.url_root;
  all["CONTEXT_DOCUMENT_ROOT"] = state.root;
  all["SERVER_ADMIN"] = host.server_admin.empty() ? "[no address given]" : host.server_admin;
  all["SCRIPT_FILENAME"] = state.file;
  if (!state.user.empty()) all["REMOTE_USER"] = state.user;
  if (!state.auth_type.empty()) all["AUTH_TYPE"] = state.auth_type;
  if (!state.original_path.empty()) {
    all["REDIRECT_URL"] = state.original_path;
    if (head.has_query) all["REDIRECT_QUERY_STRING"] = head.query;
  }

  for (const char* variable : {"HTTP2", "H2PUSH", "H2_PUSH", "H2_STREAM_ID", "H2_STREAM_TAG"}) {
    if (std::string value = Http2Variable(request, variable); !value.empty()) all[variable] = std::move(value);
  }

  all["GATEWAY_INTERFACE"] = "CGI/1.1";
  all["SERVER_PROTOCOL"] = head.Protocol();
  all["REQUEST_METHOD"] =
      IsBodyGone(state) && head.method != http::Method::kHead ? "GET" : std::string(head.method_text);
  all["QUERY_STRING"] = state.query;
  all["REQUEST_URI"] = current_uri ? state.path : std::string(head.target);
  std::string script = state.path;
  if (!state.path_info.empty()) {
    if (script.ends_with(state.path_info)) script.resize(script.size() - state.path_info.size());
    all["PATH_INFO"] = state.path_info;
    if (!translated.empty()) all["PATH_TRANSLATED"] = translated;
  }
  all["SCRIPT_NAME"] = script;

  std::vector<std::string> out;
  for (auto& [variable, value] : all) {
    if (value.find('\0') != std::string::npos) continue;
    out.push_back(variable + "=" + value);
  }
  return out;
}

std::vector<std::string> CgiArguments(const RequestState& state) {
  constexpr size_t kMost = 1024;
  std::vector<std::string> out;
  if (state.query.empty() || state.query.find('=') != std::string::npos) return out;
  std::string_view rest = state.query;
  while (out.size() < kMost) {
    const size_t end = rest.find('+');
    const std::string_view word = rest.substr(0, end);
    std::string argument;
    for (size_t i = 0; i < word.size(); ++i) {
      char c = word[i];
      if (c == '%' && i + 2 < word.size() && http::HexValue(word[i + 1]) >= 0 && http::HexValue(word[i + 2]) >= 0) {
        c = static_cast<char>(http::HexValue(word[i + 1]) * 16 + http::HexValue(word[i + 2]));
        i += 2;
      }
      if (c == '\0') return {};
      if (std::string_view("&;`'\"|*?~<>^()[]{}$\\\n").find(c) != std::string_view::npos) argument += '\\';
      argument += c;
    }
    out.push_back(std::move(argument));
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  return out;
}

}  // namespace httpd::modules
