#include "httpd/config/directive_tables.h"

#include <memory>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

Complaint OpenSection(Builder& builder, Scope& scope, const Node& node, Section::Kind kind) {
  const std::string title = node.name.substr(1);
  Words words = SplitWords(SectionArguments(node));
  Section section;
  section.kind = kind;
  section.where = node.where;
  section.is_regex = LowerCase(title).ends_with("match");
  if (!section.is_regex && words.size() > 1 && words[0] == "~") {
    section.is_regex = true;
    words.erase(words.begin());
  }
  if (words.empty() || words[0].empty()) return node.name + "> directive requires additional arguments";
  if (words.size() > 1) return "Multiple " + node.name + "> arguments not (yet) supported.";
  section.pattern = words[0];
  section.is_wildcard = !section.is_regex && section.pattern.find_first_of("*?[") != std::string::npos;
  if (kind == Section::Kind::kDirectory && !section.is_regex) {
    if (!section.pattern.starts_with('*')) section.pattern = builder.Absolute(section.pattern);
    section.pattern = WithoutTrailingSlash(section.pattern);
  }
  Scope inner = scope.InSection(section, node);
  if (builder.Failed(node.children, inner)) return kStop;
  if (scope.section) {
    scope.section->nested.push_back(std::move(section));
  } else {
    scope.draft.host.sections.push_back(std::make_shared<const Section>(std::move(section)));
  }
  return kFine;
}

Complaint OpenDirectory(Builder& builder, Scope& scope, const Node& node, const Words&) {
  return OpenSection(builder, scope, node, Section::Kind::kDirectory);
}

Complaint OpenLocation(Builder& builder, Scope& scope, const Node& node, const Words&) {
  return OpenSection(builder, scope, node, Section::Kind::kLocation);
}

Complaint OpenFiles(Builder& builder, Scope& scope, const Node& node, const Words&) {
  if (scope.section && scope.section->kind != Section::Kind::kDirectory) {
    return node.name + "> cannot occur within " + scope.parent->name + "> section";
  }
  if (scope.limited) return node.name + "> cannot occur within <Limit> or <LimitExcept> section";
  return OpenSection(builder, scope, node, Section::Kind::kFiles);
}

/// <If condition>, <ElseIf condition>, <Else>. Their settings belong to the place where they stand.
Complaint OpenIf(Builder& builder, Scope& scope, const Node& node, const Words&) {
  const std::string title = LowerCase(node.name);
  const Words words = SplitWords(SectionArguments(node));
  ConditionalSettings entry;
  entry.is_else = title != "<if";
  if (title == "<else") {
    if (!words.empty()) return "<Else> does not take an argument";
  } else {
    if (words.empty() || words[0].empty()) return node.name + "> directive requires additional arguments";
    auto compiled =
        CompileExpression(words[0], ExpressionKind::kCondition,
                          scope.htaccess ? ExpressionFiles::kRefused : ExpressionFiles::kAllowed, node.where);
    if (!compiled) return "Cannot parse condition clause: " + compiled.error().what;
    entry.condition = std::move(compiled).value();
  }
  Section section;
  section.kind = Section::Kind::kIf;
  section.where = node.where;
  Scope inner = scope.InSection(section, node);
  if (builder.Failed(node.children, inner)) return kStop;
  auto& before = scope.settings.conditional;
  if (entry.is_else && (before.empty() || !before.back().condition)) {
    return "<Else> or <ElseIf> section without previous <If> or <ElseIf> section in same scope";
  }
  if (words.size() > 1) return "Multiple " + node.name + "> arguments not supported.";
  entry.settings = std::make_shared<const PerDirectory>(std::move(section.settings));
  before.push_back(std::move(entry));
  return kFine;
}

Complaint OpenVirtualHost(Builder& builder, Scope& scope, const Node& node, const Words&) {
  if (scope.in_virtual_host) return "<VirtualHost> cannot occur within <VirtualHost> section";
  const Words words = SplitWords(SectionArguments(node));
  if (words.empty() || words[0].empty()) return "<VirtualHost> directive requires additional arguments";
  HostDraft draft;
  draft.host.where = node.where;
  for (const std::string& word : words) {
    Host::Address address;
    std::string host = word;
    const size_t colon = word.rfind(':');
    const size_t bracket = word.rfind(']');
    if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
      const std::string port = word.substr(colon + 1);
      host = word.substr(0, colon);
      const auto number = Port(port);
      if (!number && port != "*") return "<VirtualHost " + word + ">: the port must be 1..65535 or *";
      address.port = number.value_or(0);
    }
    if (host == "*" || SameIgnoringCase(host, "_default_")) {
      address.host = "*";
    } else if (host.size() > 2 && host.front() == '[' && host.back() == ']' &&
               IsIpv6(host.substr(1, host.size() - 2))) {
      address.host = host.substr(1, host.size() - 2);
    } else if (IsIpv4(host)) {
      address.host = host;
    } else {
      return "<VirtualHost " + word + ">: '" + host +
             "' is not a numeric address, * or _default_ (names are for ServerName and ServerAlias)";
    }
    draft.host.addresses.push_back(address);
  }
  Scope inner{draft, true, nullptr, draft.host.settings, nullptr, &node};
  if (builder.Failed(node.children, inner)) return kStop;
  builder.virtual_hosts().push_back(std::move(draft));
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;

using Arity::kRaw;

}  // namespace

// clang-format off
std::vector<Directive> SectionDirectives() {
  return {
    {"<Directory", "core.c", kInHosts, kRaw, "Container for directives affecting resources located in the specified directories", kNo, OpenDirectory, "directory-path"},
    {"<DirectoryMatch", "core.c", kInHosts, kRaw, "Container for directives affecting resources located in the specified directories", kNo, OpenDirectory, "regex"},
    {"<Location", "core.c", kInHosts, kRaw, "Container for directives affecting resources accessed through the specified URL paths", kNo, OpenLocation, "URL-path"},
    {"<LocationMatch", "core.c", kInHosts, kRaw, "Container for directives affecting resources accessed through the specified URL paths", kNo, OpenLocation, "regex"},
    {"<Files", "core.c", kAnywhere | kOverrideAny, kRaw, "Container for directives affecting files matching specified patterns", kNo, OpenFiles, "filename"},
    {"<FilesMatch", "core.c", kAnywhere | kOverrideAny, kRaw, "Container for directives affecting files matching specified patterns", kNo, OpenFiles, "regex"},
    {"<If", "core.c", kAnywhere | kOverrideAny, kRaw, "Container for directives to be conditionally applied", kNo, OpenIf, "expression"},
    {"<ElseIf", "core.c", kAnywhere | kOverrideAny, kRaw, "Container for directives to be conditionally applied", kNo, OpenIf, "expression"},
    {"<Else", "core.c", kAnywhere | kOverrideAny, kRaw, "Container for directives to be conditionally applied", kNo, OpenIf},
    {"<VirtualHost", "core.c", kInHosts, kRaw, "Container to map directives to a particular virtual host, takes one or more host addresses", kNo, OpenVirtualHost, "addr[:port] [addr[:port]] ..."},
  };
}
// clang-format on

}  // namespace httpd::config
