#pragma once

#include <algorithm>
#include <string_view>

namespace httpd::http {

/// ASCII only, whatever the locale says: names in HTTP are tokens. Source  RFC 9110 5.1
constexpr char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

constexpr bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

/// 0..15; -1: no hexadecimal digit
constexpr int HexValue(char c) {
  if (IsDigit(c)) return c - '0';
  const char lower = Lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// What isspace(3) says in the C locale.
constexpr bool IsSpace(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

/// Without the blanks and tabs around it: OWS of RFC 9110 5.6.3.
constexpr std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

constexpr bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return Lower(x) == Lower(y); });
}

}  // namespace httpd::http
