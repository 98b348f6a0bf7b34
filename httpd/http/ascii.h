#pragma once

#include <algorithm>
#include <string_view>

namespace httpd::http {

/// ASCII only, whatever the locale says: names in HTTP are tokens. Source  RFC 9110 5.1
constexpr char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

constexpr bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return Lower(x) == Lower(y); });
}

}  // namespace httpd::http
