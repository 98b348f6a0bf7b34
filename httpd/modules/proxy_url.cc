#include "httpd/modules/proxy_url.h"

#include <algorithm>

#include "httpd/http/ascii.h"

namespace httpd::modules::proxy {

namespace {

constexpr std::string_view kBalancer = "balancer://";

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && http::EqualsIgnoreCase(text.substr(0, prefix.size()), prefix);
}

bool IsUrl(std::string_view text) {
  const size_t colon = text.find("://");
  return colon != std::string_view::npos && colon > 0 && text.find('/') > colon;
}

/// Value of the last attribute of that name: where it stands. npos: there is none
std::pair<size_t, size_t> LastAttribute(std::string_view cookie, std::string_view name) {
  std::pair<size_t, size_t> found{std::string_view::npos, 0};
  for (size_t at = cookie.find(';'); at != std::string_view::npos; at = cookie.find(';', at)) {
    ++at;
    while (at < cookie.size() && (cookie[at] == ' ' || cookie[at] == '\t')) ++at;
    if (!StartsWith(cookie.substr(at), name) || cookie.size() <= at + name.size() || cookie[at + name.size()] != '=') {
      continue;
    }
    const size_t begin = at + name.size() + 1;
    found = {begin, std::min(cookie.find(';', begin), cookie.size()) - begin};
  }
  return found;
}

}  // namespace

size_t CoveredBy(std::string_view from, std::string_view path) {
  size_t a = 0;
  size_t b = 0;
  while (a < from.size() && b < path.size()) {
    if (from[a] == '/') {
      if (path[b] != '/') return 0;
      while (a < from.size() && from[a] == '/') ++a;
      while (b < path.size() && path[b] == '/') ++b;
    } else if (from[a++] != path[b++]) {
      return 0;
    }
  }
  if (a < from.size()) return 0;
  if (!from.empty() && from.back() != '/' && b < path.size() && path[b] != '/') return 0;
  return b;
}

std::optional<std::string> CanonicalPath(std::string_view path, bool keeps_escapes) {
  constexpr std::string_view kSafe = "~$-_.+!*'(),;:@&=/";
  constexpr std::string_view kHexDigits = "0123456789ABCDEF";
  std::string out;
  out.reserve(path.size());
  for (size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    const bool is_plain = (c >= '0' && c <= '9') || (http::Lower(c) >= 'a' && http::Lower(c) <= 'z');
    if (is_plain || (c != '\0' && kSafe.find(c) != std::string_view::npos)) {
      out += c;
      continue;
    }
    if (c == '%' && keeps_escapes) {
      if (i + 2 >= path.size() || http::HexValue(path[i + 1]) < 0 || http::HexValue(path[i + 2]) < 0) {
        return std::nullopt;
      }
      if (http::HexValue(path[i + 1]) == 2 && http::HexValue(path[i + 2]) == 15) {
        out += path.substr(i, 3);
        i += 2;
        continue;
      }
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kHexDigits[byte >> 4];
    out += kHexDigits[byte & 15];
  }
  return out;
}

bool IsSendable(std::string_view target) {
  return std::none_of(target.begin(), target.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= 0x20 || byte == 0x7f;
  });
}

std::string MapCookie(std::string_view cookie, const Pairs& paths, const Pairs& domains) {
  std::string out(cookie);
  struct Change {
    size_t at;
    size_t length;
    const std::string* text;
  };
  std::vector<Change> changes;
  if (const auto [at, length] = LastAttribute(cookie, "path"); at != std::string_view::npos) {
    const std::string_view value = cookie.substr(at, length);
    const auto pair =
        std::find_if(paths.begin(), paths.end(), [value](const auto& entry) { return value.starts_with(entry.first); });
    if (pair != paths.end()) changes.push_back({at, length, &pair->second});
  }
  if (const auto [at, length] = LastAttribute(cookie, "domain"); at != std::string_view::npos) {
    const std::string_view value = cookie.substr(at, length);
    const auto pair = std::find_if(domains.begin(), domains.end(),
                                   [value](const auto& entry) { return http::EqualsIgnoreCase(value, entry.first); });
    if (pair != domains.end()) changes.push_back({at, length, &pair->second});
  }
  std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) { return a.at > b.at; });
  for (const Change& change : changes) out.replace(change.at, change.length, *change.text);
  return out;
}

std::optional<std::string> MapLocation(std::string_view url, const Pairs& reverse,
                                       const std::function<std::vector<std::string>(std::string_view)>& members,
                                       const std::function<std::string()>& origin) {
  const auto here = [&origin](const std::string& fake, std::string_view rest) {
    std::string out = fake;
    if (fake == "/" && rest.starts_with('/')) out.clear();
    out += rest;
    return IsUrl(out) ? out : origin() + out;
  };
  for (const auto& [real, fake] : reverse) {
    if (StartsWith(real, kBalancer)) {
      const size_t slash = std::min(real.find('/', kBalancer.size()), real.size());
      std::string_view part = std::string_view(real).substr(slash);
      if (part == "/") part = {};
      for (std::string_view member : members(std::string_view(real).substr(0, slash))) {
        if (!part.empty() && member.ends_with('/')) member.remove_suffix(1);
        if (!StartsWith(url, member) || !url.substr(member.size()).starts_with(part)) continue;
        return here(fake, url.substr(member.size() + part.size()));
      }
      continue;
    }
    std::string_view path = url;
    if (real.starts_with('/')) {
      const size_t scheme = url.find("://");
      const size_t slash = scheme == std::string_view::npos ? scheme : url.find('/', scheme + 3);
      if (slash != std::string_view::npos) path = url.substr(slash);
    }
    if (!real.empty() && StartsWith(path, real)) {
      std::string out = fake;
      out += path.substr(real.size());
      return IsUrl(out) ? out : origin() + out;
    }
  }
  return std::nullopt;
}

}  // namespace httpd::modules::proxy
