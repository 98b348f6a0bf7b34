#include "httpd/modules/cgi_head.h"

#include <algorithm>
#include <charconv>

#include "httpd/http/ascii.h"

namespace httpd::modules {

namespace {

constexpr size_t kMostBytes = 64U << 10;
constexpr size_t kMostInLine = 8190;
constexpr int kMostLines = 500;

bool IsToken(std::string_view name) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool IsValue(std::string_view value) {
  return std::none_of(value.begin(), value.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && byte != '\t') || byte == 0x7f;
  });
}

/// "404 Not Found"; 0: it is no status that an answer can have
int StatusIn(std::string_view text) {
  int status = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), status);
  const bool ends_there = end == text.data() + text.size() || *end == ' ';
  return error == std::errc() && ends_there && status >= 200 && status <= 999 ? status : 0;
}

bool IsTheServers(std::string_view name) {
  for (const char* own : {"Date", "Server", "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "TE",
                          "Trailer", "Upgrade", "Content-Length"}) {
    if (http::EqualsIgnoreCase(name, own)) return true;
  }
  return false;
}

ScriptHeadResult Bad(std::string trouble) {
  return {ScriptHeadResult::State::kBad, 0, std::move(trouble)};
}

}  // namespace

ScriptHeadResult ParseScriptHead(std::string_view output, std::string_view script, bool is_nph, ScriptHead& out) {
  out = {};
  const std::string name(script);
  size_t at = 0;
  for (int lines = 0;; ++lines) {
    const size_t end = output.find('\n', at);
    if (end == std::string_view::npos || end > kMostBytes) {
      if (output.size() - at <= kMostInLine && output.size() <= kMostBytes) return {};
      return Bad("malformed header from script '" + name + "': too long");
    }
    std::string_view line = output.substr(at, end - at);
    at = end + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) return {ScriptHeadResult::State::kComplete, at, ""};
    if (line.size() > kMostInLine || lines == kMostLines) {
      return Bad("malformed header from script '" + name + "': too long");
    }
    if (is_nph && lines == 0 && line.starts_with("HTTP/")) {
      const size_t space = line.find(' ');
      out.status = space == std::string_view::npos ? 0 : StatusIn(line.substr(space + 1));
      if (out.status == 0)
        return Bad("Invalid status line from script '" + name + "': " + std::string(line.substr(0, 30)));
      continue;
    }
    const size_t colon = line.find(':');
    const std::string_view field = line.substr(0, std::min(colon, line.size()));
    const std::string_view value = colon == std::string_view::npos ? "" : http::Trimmed(line.substr(colon + 1));
    if (colon == std::string_view::npos || !IsToken(field) || !IsValue(value)) {
      return Bad("malformed header from script '" + name + "': Bad header: " + std::string(line.substr(0, 30)));
    }
    if (http::EqualsIgnoreCase(field, "Status")) {
      out.status = StatusIn(value);
      if (out.status == 0)
        return Bad("Invalid status line from script '" + name + "': " + std::string(value.substr(0, 30)));
      continue;
    }
    if (http::EqualsIgnoreCase(field, "Connection") && http::EqualsIgnoreCase(value, "close")) out.close = true;
    if (IsTheServers(field)) continue;
    if (http::EqualsIgnoreCase(field, "Location")) {
      if (!out.location.empty()) continue;
      out.location = value;
    }
    if (http::EqualsIgnoreCase(field, "Content-Type")) {
      if (!out.type.empty()) continue;
      out.type = value;
    }
    out.fields.append(field).append(": ").append(value).append("\r\n");
  }
}

}  // namespace httpd::modules
