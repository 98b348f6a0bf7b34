#include "httpd/config/directive_tables.h"

#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

Complaint SetTypesConfig(Builder& builder, Scope&, const Node&, const Words& words) {
  builder.config().types_config = builder.Absolute(words[0]);
  return kFine;
}

Complaint AddTypes(Builder&, Scope& scope, const Node&, const Words& words) {
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string extension = LowerCase(words[i].starts_with('.') ? words[i].substr(1) : words[i]);
    if (!extension.empty()) scope.settings.types[extension] = words[0];
  }
  return kFine;
}

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

Complaint SetDirectoryIndex(Builder&, Scope& scope, const Node&, const Words& words) {
  if (words.size() == 1 && SameIgnoringCase(words[0], "disabled")) {
    scope.settings.directory_index = Words{};
    return kFine;
  }
  // Apache: several lines of one section add up.
  auto& index = scope.settings.directory_index;
  if (!index) index.emplace();
  index->insert(index->end(), words.begin(), words.end());
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;

using Arity::kAtLeastOne;
using Arity::kAtLeastTwo;
using Arity::kOne;
using Arity::kOneOrTwo;
using Arity::kOneToThree;

}  // namespace

// clang-format off
std::vector<Directive> MappingDirectives() {
  return {
    {"TypesConfig", "mod_mime.c", kInServer, kOne, "the MIME types config file", kNo, SetTypesConfig},
    {"AddType", "mod_mime.c", kAnywhere | kOverrideFileInfo, kAtLeastTwo, "a mime type followed by one or more file extensions", kNo, AddTypes},
    {"Alias", "mod_alias.c", kInHosts, kOneOrTwo, "a fakename and a realname", kNo, AddAlias},
    {"Redirect", "mod_alias.c", kInHosts, kOneToThree, "an optional status, then document to be redirected and destination URL", kNo, AddRedirect},
    {"DirectoryIndex", "mod_dir.c", kAnywhere | kOverrideIndexes, kAtLeastOne, "a list of file names", kNo, SetDirectoryIndex},
  };
}
// clang-format on

}  // namespace httpd::config
