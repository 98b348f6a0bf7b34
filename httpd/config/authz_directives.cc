#include "httpd/config/directive_tables.h"

#include <algorithm>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

// What `Require ip` takes. Source  httpd 2.4 manual, mod_authz_host "Require ip"
bool IsNetwork(const std::string& text) {
  const size_t slash = text.find('/');
  const std::string host = text.substr(0, slash);
  const std::string mask = slash == std::string::npos ? "" : text.substr(slash + 1);
  if (slash != std::string::npos && mask.empty()) return false;
  if (host.find(':') != std::string::npos) {
    const auto bits = Number(mask);
    return IsIpv6(host) && (mask.empty() || (bits && *bits >= 0 && *bits <= 128));
  }
  if (!mask.empty()) {
    const auto bits = Number(mask);
    return IsIpv4(host) && ((bits && *bits >= 0 && *bits <= 32) || IsIpv4(mask));
  }
  std::string_view rest = host;
  if (rest.ends_with('.')) rest.remove_suffix(1);
  for (int part = 0; part < 4; ++part) {
    const std::string_view digits = rest.substr(0, rest.find('.'));
    const auto value = Number(digits);
    if (!value || *value < 0 || *value > 255 || digits.front() == '+') return false;
    if (digits.size() == rest.size()) return true;
    rest.remove_prefix(digits.size() + 1);
  }
  return false;
}

Complaint AddRequire(Builder&, Scope& scope, const Node&, const Words& words) {
  RequireRule rule;
  size_t next = 0;
  if (!words.empty() && SameIgnoringCase(words[0], "not")) {
    rule.negated = true;
    next = 1;
  }
  const std::string provider = next < words.size() ? words[next] : "";
  rule.arguments.assign(words.begin() + std::min(next + 1, words.size()), words.end());
  if (SameIgnoringCase(provider, "all")) {
    const std::string value = rule.arguments.size() == 1 ? LowerCase(rule.arguments[0]) : "";
    if (value != "granted" && value != "denied") return "Argument for 'Require all' must be 'granted' or 'denied'";
    rule.kind = value == "granted" ? RequireRule::Kind::kAllGranted : RequireRule::Kind::kAllDenied;
    rule.arguments.clear();
  } else if (SameIgnoringCase(provider, "local")) {
    rule.kind = RequireRule::Kind::kLocal;
    if (!rule.arguments.empty()) return "'Require local' takes no arguments";
  } else if (SameIgnoringCase(provider, "ip")) {
    rule.kind = RequireRule::Kind::kIp;
    if (rule.arguments.empty()) return "'require ip' requires at least one address";
    for (const std::string& network : rule.arguments) {
      if (!IsNetwork(network)) return "ip address '" + network + "' appears to be invalid";
    }
  } else if (SameIgnoringCase(provider, "method")) {
    rule.kind = RequireRule::Kind::kMethod;
    if (rule.arguments.empty()) return "'Require method' requires at least one method";
  } else {
    return "Unknown Authz provider: " + provider;
  }
  if (rule.negated && scope.require->kind != RequireGroup::Kind::kAll) {
    return std::string("negative Require directive has no effect in ") +
           (scope.require->kind == RequireGroup::Kind::kAny ? "<RequireAny>" : "<RequireNone>") + " directive";
  }
  if (scope.require->whole) {
    return "A <RequireAll> that holds negative directives beside other directives is not supported yet";
  }
  scope.require->rules.push_back(std::move(rule));
  return kFine;
}

// A list of rules means "any grants, none of the negated holds". Groups that say more than that are refused.
Complaint OpenRequire(Builder& builder, Scope& scope, const Node& node, const Words&) {
  const std::string title = LowerCase(node.name);
  RequireGroup group;
  if (title == "<requireall") group.kind = RequireGroup::Kind::kAll;
  if (title == "<requirenone") group.kind = RequireGroup::Kind::kNone;
  RequireGroup& outer = *scope.require;
  if (group.kind == RequireGroup::Kind::kNone && outer.kind != RequireGroup::Kind::kAll) {
    return std::string("<RequireNone> directive has no effect in ") +
           (outer.kind == RequireGroup::Kind::kAny ? "<RequireAny>" : "<RequireNone>") + " directive";
  }
  Scope inner{scope.draft, scope.in_virtual_host, scope.section, scope.settings, &group, &node, scope.htaccess};
  if (builder.Failed(node.children, inner)) return kStop;
  if (group.rules.empty()) return node.name + "> directive contains no authorization directives";
  const auto negated = [](const RequireRule& rule) { return rule.negated; };
  if (group.kind == RequireGroup::Kind::kNone) {
    for (RequireRule& rule : group.rules) rule.negated = true;
  } else if (group.kind == RequireGroup::Kind::kAll) {
    const bool vetoes = std::any_of(group.rules.begin(), group.rules.end(), negated);
    if (std::all_of(group.rules.begin(), group.rules.end(), negated)) {
      return "<RequireAll> directive contains only negative authorization directives";
    }
    // "all granted" adds nothing to another rule that must hold
    const auto positive = group.rules.size() - std::count_if(group.rules.begin(), group.rules.end(), negated);
    if (positive > 1) {
      size_t left = positive;
      std::erase_if(group.rules, [&](const RequireRule& rule) {
        return !rule.negated && rule.kind == RequireRule::Kind::kAllGranted && left > 1 && left--;
      });
      if (left > 1) return "<RequireAll> with several positive directives is not supported yet";
    }
    if (vetoes && outer.kind == RequireGroup::Kind::kAny && (!outer.rules.empty() || outer.whole)) {
      return "A <RequireAll> that holds negative directives beside other directives is not supported yet";
    }
    group.whole = vetoes;
  }
  if (outer.kind == RequireGroup::Kind::kAll && group.kind == RequireGroup::Kind::kAny && group.rules.size() > 1) {
    // (a or b) and c is not a flat list, unless c is only vetoes or "all granted"
    return "<RequireAny> with several directives inside <RequireAll> is not supported yet";
  }
  if (outer.kind == RequireGroup::Kind::kNone && group.kind != RequireGroup::Kind::kAny) {
    return node.name + "> inside <RequireNone> is not supported yet";
  }
  if (outer.whole) {
    return "A <RequireAll> that holds negative directives beside other directives is not supported yet";
  }
  outer.whole = outer.kind == RequireGroup::Kind::kAny && group.whole;
  outer.rules.insert(outer.rules.end(), group.rules.begin(), group.rules.end());
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;

using Arity::kAny;
using Arity::kRaw;

}  // namespace

// clang-format off
std::vector<Directive> AuthzDirectives() {
  return {
    {"<RequireAny", "mod_authz_core.c", kInSection | kOverrideAuthConfig, kRaw, "grouping of authorization directives of which one must pass", kNo, OpenRequire},
    {"<RequireAll", "mod_authz_core.c", kInSection | kOverrideAuthConfig, kRaw, "grouping of authorization directives that must all pass", kNo, OpenRequire},
    {"<RequireNone", "mod_authz_core.c", kInSection | kOverrideAuthConfig, kRaw, "grouping of authorization directives of which none may pass", kNo, OpenRequire},
    {"Require", "mod_authz_core.c", kInSection | kOverrideAuthConfig, kAny, "specifies authorization directives which one must pass (or not) for a request to suceeed", kNo, AddRequire},
  };
}
// clang-format on

}  // namespace httpd::config
