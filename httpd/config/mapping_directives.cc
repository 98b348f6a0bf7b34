#include "httpd/config/directive_tables.h"

#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

Complaint AddAlias(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  if (words.size() < 2) return "Alias must have two arguments when used globally";
  if (!words[0].starts_with('/')) return "Alias: the URL-path '" + words[0] + "' must begin with '/'";
  UrlRule rule;
  rule.from = words[0];
  rule.to = builder.Absolute(words[1]);
  rule.where = node.where;
  scope.draft.host.url_rules.push_back(rule);
  return kFine;
}

Complaint AddRedirect(Builder&, Scope& scope, const Node& node, const Words& words) {
  static const std::pair<const char*, int> kStatuses[] = {
      {"permanent", 301}, {"temp", 302}, {"seeother", 303}, {"gone", 410}};
  UrlRule rule;
  rule.kind = UrlRule::Kind::kRedirect;
  rule.where = node.where;
  size_t next = 0;
  for (const auto& [name, status] : kStatuses) {
    if (!SameIgnoringCase(words[0], name)) continue;
    rule.status = status;
    next = 1;
  }
  if (next == 0 && words[0].find_first_not_of("0123456789") == std::string::npos) {
    const auto status = Number(words[0]);
    if (!status || *status < 300 || *status > 599 || *status == 304)
      return "Redirect status " + words[0] + " is not valid";
    rule.status = static_cast<int>(*status);
    next = 1;
  }
  if (next == 0 && words.size() == 3) return "Redirect: invalid first argument (of three)";
  const bool wants_url = rule.status < 400;
  if (next >= words.size()) return "Redirect: the URL-path is missing";
  rule.from = words[next++];
  if (!rule.from.starts_with('/')) return "Redirect: the URL-path '" + rule.from + "' must begin with '/'";
  if (wants_url && next >= words.size()) return "URL to redirect to is missing";
  if (!wants_url && next < words.size()) return "Redirect URL not valid for this status";
  if (wants_url) {
    rule.to = words[next];
    if (rule.to.find("://") == std::string::npos && !rule.to.starts_with('/')) return "Redirect to non-URL";
  }
  scope.draft.host.url_rules.push_back(rule);
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;

using Arity::kOneOrTwo;
using Arity::kOneToThree;

}  // namespace

// clang-format off
std::vector<Directive> MappingDirectives() {
  return {
    {"Alias", "mod_alias.c", kInHosts, kOneOrTwo, "a fakename and a realname", kNo, AddAlias},
    {"Redirect", "mod_alias.c", kInHosts, kOneToThree, "an optional status, then document to be redirected and destination URL", kNo, AddRedirect},
  };
}
// clang-format on

}  // namespace httpd::config
