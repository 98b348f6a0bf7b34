#include "httpd/modules/module.h"

#include <Poco/Exception.h>
#include <Poco/RegularExpression.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "httpd/http/ascii.h"
#include "httpd/modules/core_settings.h"
#include "os/socket.h"

namespace httpd::modules {

namespace {

/// Length of the line at `at`, its line end included.
size_t LineLength(std::string_view fields, size_t at) {
  const size_t end = fields.find("\r\n", at);
  return (end == std::string_view::npos ? fields.size() : end + 2) - at;
}

bool IsNamed(std::string_view line, std::string_view name) {
  return line.size() > name.size() && line[name.size()] == ':' &&
         http::EqualsIgnoreCase(line.substr(0, name.size()), name);
}

}  // namespace

// Source  server/core.c ap_get_server_name, ap_get_server_port
std::string OriginOf(const RequestState& state) {
  const config::Host& host = *state.host->host;
  const auto* core = SettingsFor<CoreSettings>(state);
  const bool own_name = core && core->canonical_name == CoreSettings::CanonicalName::kOn;
  const bool physical_port = core && core->canonical_physical_port.value_or(false);
  const std::string_view authority = own_name ? std::string_view() : state.request->head->authority;
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  std::string name(authority.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), http::Lower);
  if (name.empty()) name = host.server_name.empty() ? "localhost" : host.server_name;
  std::string port(colon == std::string_view::npos ? std::string_view() : authority.substr(colon + 1));
  if (port.empty() && physical_port && (!own_name || host.server_port == 0)) {
    port = std::to_string(state.request->local_port);
  }
  if (port.empty() && host.server_port != 0) port = std::to_string(host.server_port);
  return "http://" + name + (port.empty() || port == "80" ? "" : ":" + port);
}

std::optional<std::string> NormalPath(std::string_view path) {
  std::vector<std::string_view> parts;
  const bool slash = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (parts.empty()) {
      return std::nullopt;
    } else {
      parts.pop_back();
    }
  }
  std::string out;
  for (const std::string_view part : parts) out.append("/").append(part);
  if (slash || out.empty()) out += '/';
  return out;
}

Verdict RedirectTo(RequestState& state, int status, std::string_view location) {
  RemoveField(state.response->fields, "Location");
  AppendField(state.response->fields, "Location", location);
  return Verdict::Status(status);
}

std::string AllowField(const CompiledHost& host) {
  return host.host->trace_enable ? "Allow: GET,HEAD,POST,OPTIONS,TRACE\r\n" : "Allow: GET,HEAD,POST,OPTIONS\r\n";
}

std::string LocalAddressOf(const net::Request& request) {
  sockaddr_storage raw{};
  socklen_t length = sizeof raw;
  if (::getsockname(request.fd, reinterpret_cast<sockaddr*>(&raw), &length) != 0) return "";
  return os::SocketAddress::FromRaw(reinterpret_cast<sockaddr*>(&raw), length).Host();
}

os::Result<std::shared_ptr<Poco::RegularExpression>> CompileRegex(const std::string& text, bool no_case) {
  try {
    // Apache's RegexDefaultOptions: '.' matches a line end, '$' only the very end.
    const int options = Poco::RegularExpression::RE_DOTALL | Poco::RegularExpression::RE_DOLLAR_ENDONLY |
                        (no_case ? Poco::RegularExpression::RE_CASELESS : 0);
    return std::make_shared<Poco::RegularExpression>(text, options);
  } catch (const Poco::Exception& failed) {
    return os::Error{os::ErrorKind::kInvalid, 0, failed.displayText()};
  }
}

std::string Joined(const http::RequestHead& head, std::string_view name) {
  std::string value;
  bool found = false;
  for (const http::HeaderField& field : head.fields) {
    if (!http::EqualsIgnoreCase(field.name, name)) continue;
    if (found) value += ", ";
    value += field.value;
    found = true;
  }
  return value;
}

std::string_view FindField(std::string_view fields, std::string_view name) {
  for (size_t at = 0; at < fields.size();) {
    const size_t length = LineLength(fields, at);
    std::string_view line = fields.substr(at, length);
    if (IsNamed(line, name)) {
      line.remove_prefix(name.size() + 1);
      while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
      if (line.ends_with("\r\n")) line.remove_suffix(2);
      return line;
    }
    at += length;
  }
  return {};
}

void RemoveField(std::string& fields, std::string_view name) {
  for (size_t at = 0; at < fields.size();) {
    const size_t length = LineLength(fields, at);
    if (IsNamed(std::string_view(fields).substr(at, length), name)) {
      fields.erase(at, length);
    } else {
      at += length;
    }
  }
}

void AppendField(std::string& fields, std::string_view name, std::string_view value) {
  fields.append(name).append(": ").append(value).append("\r\n");
}

void ChangeFields(std::string& fields, std::string_view name,
                  const std::function<std::string(const std::string&)>& change) {
  std::string out;
  for (size_t at = 0; at < fields.size();) {
    const size_t length = LineLength(fields, at);
    const std::string_view line = std::string_view(fields).substr(at, length);
    if (IsNamed(line, name)) {
      AppendField(out, line.substr(0, name.size()), change(std::string(FindField(line, name))));
    } else {
      out.append(line);
    }
    at += length;
  }
  fields = std::move(out);
}

}  // namespace httpd::modules
