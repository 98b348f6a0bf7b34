#include "httpd/modules/module.h"
#include "httpd/modules/answer_cache.h"

#include <Poco/Exception.h>
#include <Poco/RegularExpression.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "httpd/http/ascii.h"
#include "httpd/modules/core_settings.h"
#include "os/socket.h"

namespace httpd::modules {

void DependsOnNothing(const RequestState&, Dependencies&) {}

void DependsOnUser(const RequestState& state, Dependencies& on) {
  if (state.needs_user) on.OnMore();
}

void NotePart(const Module& module, const RequestState& state, Dependencies& on) {
  if (module.repeats) {
    module.repeats(state, on);
  } else {
    on.OnMore();
  }
}

void NoteParts(const std::vector<const Module*>& hooks, const RequestState& state, Dependencies& on) {
  for (const Module* module : hooks) {
    if (module->early || module->translate || module->headers || module->access || module->authenticate ||
        module->authorize || module->type || module->fixup || module->content || module->handle || module->filter ||
        module->output) {
      NotePart(*module, state, on);
    }
  }
}

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

// The library keeps what it has to come back to on the stack: the depth is what a thread's stack surely holds.
constexpr char kRegexLimits[] = "(*LIMIT_MATCH=100000)(*LIMIT_RECURSION=5000)";
constexpr int kMostGroups = 20;  // that Poco has room for

int CountGroups(const std::string& text, int options) {
  std::vector<Poco::RegularExpression::Match> groups;
  try {
    // It matches nothing but "", in its last branch, whose group comes behind those of `text`.
    const Poco::RegularExpression probe("(?!)(?:" + text + "\n)|()", options);
    probe.match("", 0, groups);
  } catch (const Poco::Exception&) {
    return kMostGroups + 1;
  }
  return static_cast<int>(groups.size()) - 2;
}

}  // namespace

namespace {

/// Host and port of the Host field, as far as UseCanonicalName lets it speak.
std::pair<std::string_view, std::string_view> SaidByClient(const RequestState& state) {
  const auto* core = SettingsFor<CoreSettings>(state);
  if (core && core->canonical_name == CoreSettings::CanonicalName::kOn) return {};
  const std::string_view authority = state.request->head->authority;
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon == std::string_view::npos) return {authority, {}};
  return {authority.substr(0, colon), authority.substr(colon + 1)};
}

}  // namespace

const char* SchemeOf(const RequestState& state) {
  return state.request->is_tls ? "https" : "http";
}

uint16_t DefaultPortOf(const RequestState& state) {
  return state.request->is_tls ? 443 : 80;
}

std::string PortOf(const RequestState& state) {
  const std::string_view said = SaidByClient(state).second;
  if (!said.empty()) return std::string(said);
  const auto* core = SettingsFor<CoreSettings>(state);
  const uint16_t configured = state.host->host->server_port;
  const bool by_name = core && core->canonical_name == CoreSettings::CanonicalName::kOn && configured != 0;
  if (core && core->canonical_physical_port.value_or(false) && !by_name && state.request->local_port != 0) {
    return std::to_string(state.request->local_port);
  }
  return std::to_string(configured != 0 ? configured : DefaultPortOf(state));
}

std::string OriginOf(const RequestState& state) {
  std::string name(SaidByClient(state).first);
  std::transform(name.begin(), name.end(), name.begin(), http::Lower);
  const std::string& own = state.host->host->server_name;
  if (name.empty()) name = own.empty() ? "localhost" : own;
  const std::string port = PortOf(state);
  return std::string(SchemeOf(state)) + "://" + name + (port == std::to_string(DefaultPortOf(state)) ? "" : ":" + port);
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
  using Poco::RegularExpression;
  const int options = RegularExpression::RE_DOTALL | RegularExpression::RE_DOLLAR_ENDONLY |
                      (no_case ? RegularExpression::RE_CASELESS : 0);
  try {
    const RegularExpression as_written(text, options);  // its complaint counts offsets in what the user wrote
    auto regex = std::make_shared<RegularExpression>(kRegexLimits + text, options);
    // One with more groups than it has room for would fail with every text that it is found in.
    if (std::count(text.begin(), text.end(), '(') > kMostGroups && CountGroups(text, options) > kMostGroups) {
      return os::Error{os::ErrorKind::kInvalid, 0, "more than " + std::to_string(kMostGroups) + " groups"};
    }
    return regex;
  } catch (const Poco::Exception& failed) {
    return os::Error{os::ErrorKind::kInvalid, 0, failed.displayText()};
  }
}

bool Finds(RequestState& state, const Poco::RegularExpression& regex, const std::string& subject,
           std::vector<Poco::RegularExpression::Match>* groups) {
  return Finds(state.gave_up, regex, subject, groups);
}

bool Finds(bool& gave_up, const Poco::RegularExpression& regex, const std::string& subject,
           std::vector<Poco::RegularExpression::Match>* groups) {
  if (gave_up) return false;
  try {
    if (groups) return regex.match(subject, 0, *groups) > 0;
    Poco::RegularExpression::Match found;
    return regex.match(subject, 0, found) > 0;
  } catch (const Poco::Exception&) {
    gave_up = true;
    return false;
  }
}

std::string ExpandGroups(const std::string& value, const std::string& subject,
                         const std::vector<Poco::RegularExpression::Match>& groups) {
  std::string out;
  for (size_t i = 0; i < value.size(); ++i) {
    const char next = i + 1 < value.size() ? value[i + 1] : '\0';
    if (value[i] == '\\' && (next == '$' || next == '&')) {
      out += value[++i];
    } else if (value[i] == '$' && next >= '0' && next <= '9') {
      const size_t group = static_cast<size_t>(value[++i] - '0');
      if (group < groups.size() && groups[group].offset != std::string::npos) {
        out.append(subject, groups[group].offset, groups[group].length);
      }
    } else {
      out += value[i];
    }
  }
  return out;
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
