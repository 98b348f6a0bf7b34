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

/// `syslog[:facility[:tag]]`; a facility that is left out is local7, as in Apache.
Complaint TakeSyslog(const Node& node, const std::string& word, LogTarget& out) {
  const std::string rest = word.size() > 7 ? word.substr(7) : "";
  const size_t colon = rest.find(':');
  std::string facility = LowerCase(rest.substr(0, colon));
  std::string tag = colon == std::string::npos ? "" : rest.substr(colon + 1);
  if (facility.empty()) facility = "local7";
  if (tag.empty()) tag = "httpd";
  if (!SyslogFacility(facility)) return node.name + ": unknown syslog facility '" + facility + "'";
  const auto is_odd = [](char c) { return c <= ' ' || c == 0x7f || c == ':' || c == '[' || c == ']'; };
  if (tag.size() > 48 || std::any_of(tag.begin(), tag.end(), is_odd)) {
    return node.name + ": the tag of syslog must be a word of at most 48 characters without colons and brackets";
  }
  out.kind = LogTarget::Kind::kSyslog;
  out.text = facility + ":" + tag;
  out.where = node.where;
  return kFine;
}

}  // namespace

std::optional<int> SyslogFacility(std::string_view name) {
  static constexpr const char* kNames[] = {"kern",   "user",   "mail",   "daemon", "auth",     "syslog",
                                           "lpr",    "news",   "uucp",   "cron",   "authpriv", "ftp",
                                           "",       "",       "",       "",       "local0",   "local1",
                                           "local2", "local3", "local4", "local5", "local6",   "local7"};
  int number = 0;
  for (const char* known : kNames) {
    if (*known != '\0' && SameIgnoringCase(known, name)) return number;
    ++number;
  }
  return std::nullopt;
}

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

Complaint SetMeaningless(Builder& builder, Scope&, const Node& node, const std::vector<std::string>&) {
  const Directive* directive = FindDirective(node.name);
  builder.WarnOnce(node, "WARNING: " + std::string(directive->name) + " has no meaning here: " + directive->about);
  return std::nullopt;
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
    return TakeSyslog(node, word, out);
  } else {
    target.kind = LogTarget::Kind::kFile;
    target.text = builder.Absolute(word);
  }
  out = target;
  return kFine;
}

}  // namespace httpd::config
