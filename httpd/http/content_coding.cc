#include "httpd/http/content_coding.h"

#include <algorithm>
#include <optional>

#include "httpd/http/ascii.h"

namespace httpd::http {

namespace {

/// Up to the next `separator`, which is taken from `rest`, too.
std::string_view Take(std::string_view& rest, char separator) {
  const size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view out = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return Trimmed(out);
}

/// "0", "0.5", "1.000" in thousandths; nullopt: malformed. Source  RFC 9110 12.4.2
std::optional<int> ParseWeight(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return std::nullopt;
  if (text.size() > 1 && text[1] != '.') return std::nullopt;
  int value = (text[0] - '0') * 1000;
  int step = 100;
  for (size_t i = 2; i < text.size(); ++i, step /= 10) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value += (text[i] - '0') * step;
  }
  if (value > 1000) return std::nullopt;
  return value;
}

/// Weight of one member, its parameters after the first ';'. Only `q` has a meaning here.
std::optional<int> WeightOf(std::string_view parameters) {
  int weight = 1000;
  while (!parameters.empty()) {
    std::string_view value = Take(parameters, ';');
    const std::string_view name = Take(value, '=');
    if (!EqualsIgnoreCase(name, "q")) continue;
    const auto parsed = ParseWeight(value);
    if (!parsed) return std::nullopt;
    weight = *parsed;
  }
  return weight;
}

bool IsSameCoding(std::string_view sent, std::string_view coding) {
  if (EqualsIgnoreCase(sent, coding)) return true;
  return sent.size() == coding.size() + 2 && EqualsIgnoreCase(sent.substr(0, 2), "x-") &&
         EqualsIgnoreCase(sent.substr(2), coding) &&
         (EqualsIgnoreCase(coding, "gzip") || EqualsIgnoreCase(coding, "compress"));
}

}  // namespace

int CodingWeight(std::string_view accept, std::string_view coding) {
  std::optional<int> any;
  while (!accept.empty()) {
    std::string_view member = Take(accept, ',');
    const std::string_view name = Take(member, ';');
    const bool is_any = name == "*";
    if (!is_any && !IsSameCoding(name, coding)) continue;
    const auto weight = WeightOf(member);
    if (!weight) continue;
    if (!is_any) return *weight;
    if (!any) any = weight;
  }
  if (any) return *any;
  return EqualsIgnoreCase(coding, "identity") ? 1 : 0;
}

bool ListHolds(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    if (EqualsIgnoreCase(Take(list, ','), token)) return true;
  }
  return false;
}

}  // namespace httpd::http
