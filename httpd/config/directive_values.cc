#include "httpd/config/directive_values.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <climits>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

constexpr std::nullopt_t kFine = std::nullopt;

}  // namespace

std::optional<long long> Number(std::string_view text) {
  long long value = 0;
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Complaint TakeInt(const Node& node, const std::string& word, int least, int& out) {
  const auto value = Number(word);
  if (!value || *value > INT_MAX || *value < least) {
    std::string allowed = "a number";
    if (least == 0) allowed = "a non-negative integer";
    if (least == 1) allowed = "a positive integer";
    return node.name + " \"" + word + "\" must be " + allowed;
  }
  out = static_cast<int>(*value);
  return kFine;
}

std::optional<int> Milliseconds(const std::string& text) {
  const size_t unit_at = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto value = Number(text.substr(0, unit_at));
  if (!value) return std::nullopt;
  const std::string unit = LowerCase(text.substr(unit_at));
  long long factor = 0;
  if (unit.empty() || unit == "s") factor = 1000;
  if (unit == "ms") factor = 1;
  if (unit == "mi" || unit == "min") factor = 60000;
  if (unit == "h") factor = 3600000;
  if (factor == 0 || *value > INT_MAX / factor) return std::nullopt;
  return static_cast<int>(*value * factor);
}

bool IsIpv4(const std::string& text) {
  in_addr address{};
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1;
}

bool IsIpv6(const std::string& text) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

std::optional<uint16_t> Port(std::string_view text) {
  const auto value = Number(text);
  if (!value || *value < 1 || *value > 65535) return std::nullopt;
  return static_cast<uint16_t>(*value);
}

Complaint TakeFlag(const Node& node, const std::string& word, bool& out) {
  if (SameIgnoringCase(word, "on")) {
    out = true;
  } else if (SameIgnoringCase(word, "off")) {
    out = false;
  } else {
    return node.name + " must be On or Off";
  }
  return kFine;
}

std::string WithoutTrailingSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

Complaint TakeLogTarget(Builder& builder, const Node& node, const std::string& word, LogTarget& out) {
  LogTarget target;
  target.where = node.where;
  if (word.starts_with('|')) {
    target.kind = LogTarget::Kind::kProgram;
    std::string_view command = std::string_view(word).substr(1);
    if (command.starts_with('$')) {
      target.kind = LogTarget::Kind::kShell;
      command.remove_prefix(1);
    } else if (command.starts_with('|')) {
      command.remove_prefix(1);
    }
    target.text = command.substr(std::min(command.find_first_not_of(" \t"), command.size()));
    if (target.text.empty()) return node.name + ": the program after '|' is missing";
  } else if (LowerCase(word) == "syslog" || LowerCase(word).starts_with("syslog:")) {
    return node.name + ": logging to syslog is not supported yet";
  } else {
    target.kind = LogTarget::Kind::kFile;
    target.text = builder.Absolute(word);
  }
  out = target;
  return kFine;
}

}  // namespace httpd::config
