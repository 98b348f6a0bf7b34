// mod_access_compat: Order, Allow, Deny, Satisfy. Source  httpd 2.4 manual, mod_access_compat
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/http/values.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/authz.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/name_rules.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::MethodSet;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

/// One word of Allow or Deny.
struct Match {
  enum class Kind { kAll, kVariable, kNoVariable, kNetwork, kHost };
  Kind kind = Kind::kAll;
  std::string name;  ///< of a variable, or a domain
  http::Network network;
  MethodSet methods;

  bool Holds(RequestState& state) const {
    if (!methods.Contains(state.head().method_text)) return false;
    switch (kind) {
      case Kind::kAll:
        return true;
      case Kind::kVariable:
        return state.environment.Find(name) != nullptr;
      case Kind::kNoVariable:
        return state.environment.Find(name) == nullptr;
      case Kind::kNetwork:
        return network.Holds(state.client_address());
      case Kind::kHost:
        return IsInDomain(name, ClientName(state));
    }
    return false;
  }
};

enum class Order { kDenyThenAllow, kAllowThenDeny, kMutualFailure };

/// What holds for some methods. The last one that covers a method counts.
template <class T>
using ByMethod = std::vector<std::pair<MethodSet, T>>;

template <class T>
T ValueFor(const ByMethod<T>& list, std::string_view method, T otherwise) {
  for (auto entry = list.rbegin(); entry != list.rend(); ++entry) {
    if (entry->first.Contains(method)) return entry->second;
  }
  return otherwise;
}

struct CompatSettings final : config::ModuleSettings {
  ByMethod<Order> orders;
  ByMethod<bool> satisfies_any;
  std::vector<Match> allows;
  std::vector<Match> denies;

  /// A section that says anything of this module replaces all that was said outside.
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    return std::make_unique<CompatSettings>(static_cast<const CompatSettings&>(other));
  }
};

MethodSet MethodsOf(const Scope& scope) {
  return scope.limited ? *scope.limited : MethodSet();
}

Complaint SetOrder(config::Builder&, Scope& scope, const Node&, const Words& words) {
  static const std::pair<const char*, Order> kNames[] = {{"allow,deny", Order::kAllowThenDeny},
                                                         {"deny,allow", Order::kDenyThenAllow},
                                                         {"mutual-failure", Order::kMutualFailure}};
  for (const auto& [name, order] : kNames) {
    if (!config::SameIgnoringCase(words[0], name)) continue;
    config::SettingsOf<CompatSettings>(scope).orders.emplace_back(MethodsOf(scope), order);
    return std::nullopt;
  }
  return "unknown order";
}

Complaint SetSatisfy(config::Builder&, Scope& scope, const Node&, const Words& words) {
  const bool any = config::SameIgnoringCase(words[0], "any");
  if (!any && !config::SameIgnoringCase(words[0], "all")) return "Satisfy either 'any' or 'all'.";
  config::SettingsOf<CompatSettings>(scope).satisfies_any.emplace_back(MethodsOf(scope), any);
  return std::nullopt;
}

/// Whether Apache would take it for an address: otherwise it is a name.
bool LooksLikeAddress(std::string_view text) {
  return text.find_first_not_of("0123456789.") == std::string_view::npos || text.find(':') != std::string_view::npos;
}

Complaint AddMatch(std::string_view where, Match& match) {
  if (config::SameIgnoringCase(where, "all")) return std::nullopt;
  if (config::SameIgnoringCase(where.substr(0, 4), "env=")) {
    where.remove_prefix(4);
    match.kind = where.starts_with('!') ? Match::Kind::kNoVariable : Match::Kind::kVariable;
    match.name = where.substr(where.starts_with('!') ? 1 : 0);
    return std::nullopt;
  }
  match.kind = Match::Kind::kNetwork;
  if (auto network = http::Network::Parse(where)) {
    match.network = network.value();
    return std::nullopt;
  }
  const size_t slash = where.find('/');
  if (slash != std::string_view::npos) {
    if (!LooksLikeAddress(where.substr(0, slash))) return "An IP address was expected";
    // A whole address; "10.1" has no bits to mask.
    const std::string address(where.substr(0, slash));
    return config::IsIpv4(address) || config::IsIpv6(address) ? "The specified network mask is invalid."
                                                              : "The specified IP address is invalid.";
  }
  if (LooksLikeAddress(where)) return "The specified IP address is invalid.";
  if (where.find('#') != std::string_view::npos) return "No comments are allowed here";
  match.kind = Match::Kind::kHost;
  match.name = where;
  return std::nullopt;
}

Complaint AddMatches(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  if (!config::SameIgnoringCase(words[0], "from")) return "allow and deny must be followed by 'from'";
  auto& settings = config::SettingsOf<CompatSettings>(scope);
  auto& list = config::SameIgnoringCase(node.name, "allow") ? settings.allows : settings.denies;
  for (size_t i = 1; i < words.size(); ++i) {
    Match match;
    match.methods = MethodsOf(scope);
    if (auto complaint = AddMatch(words[i], match)) return complaint;
    list.push_back(std::move(match));
  }
  return std::nullopt;
}

bool IsAllowed(const CompatSettings& settings, RequestState& state) {
  const auto any_of = [&state](const std::vector<Match>& list) {
    return std::any_of(list.begin(), list.end(), [&state](const Match& match) { return match.Holds(state); });
  };
  switch (ValueFor(settings.orders, state.head().method_text, Order::kDenyThenAllow)) {
    case Order::kDenyThenAllow:
      return any_of(settings.allows) || !any_of(settings.denies);
    case Order::kAllowThenDeny:
    case Order::kMutualFailure:
      return any_of(settings.allows) && !any_of(settings.denies);
  }
  return false;
}

Verdict Access(RequestState& state) {
  const auto* settings = SettingsFor<CompatSettings>(state);
  const bool any = SatisfiesAny(state);
  const bool is_allowed = IsAllowed(*settings, state);
  if (state.response->deferred) return Verdict::Done();  // a name is not known yet
  if (is_allowed) {
    if (any) state.is_admitted = true;  // nobody else is asked
    return Verdict::Declined();
  }
  state.engine->LogError(state, config::LogLevel::kError, "access_compat",
                         "AH01797: client denied by server configuration: " + RefusedName(state));
  return any ? Verdict::Declined() : Verdict::Status(403);
}

const std::vector<config::Directive>& Directives() {
  using namespace config;
  static constexpr char kModule[] = "mod_access_compat.c";
  constexpr unsigned kLimits = kInSection | kOverrideLimit;
  static const std::vector<Directive> table = {
      {"order", kModule, kLimits, Arity::kOne, "'allow,deny', 'deny,allow', or 'mutual-failure'", OnRead::kNo, SetOrder,
       "Deny,Allow|Allow,Deny|Mutual-failure", "Deny,Allow",
       "Which of Allow and Deny has the last word, and what holds for a client that neither names: let in with "
       "Deny,Allow, kept out otherwise. Require is what new configurations use."},
      {"allow", kModule, kLimits, Arity::kAtLeastTwo, "'from' followed by hostnames or IP-address wildcards",
       OnRead::kNo, AddMatches, "from all|host|address|network|env=[!]variable ...", "",
       "Clients that are let in. A network is 10.1, 10.1.0.0/16, 10.1.0.0/255.255.0.0 or 2001:db8::/32. A host name or "
       "domain is compared with the name of the client's address, as for Require host."},
      {"deny", kModule, kLimits, Arity::kAtLeastTwo, "'from' followed by hostnames or IP-address wildcards",
       OnRead::kNo, AddMatches, "from all|host|address|network|env=[!]variable ...", "",
       "Clients that are kept out; arguments as for Allow."},
      {"Satisfy", kModule, kInSection | kOverrideAuthConfig, Arity::kOne,
       "access policy if both allow and require used ('all' or 'any')", OnRead::kNo, SetSatisfy, "Any|All", "All",
       "With Any, a client that Allow and Deny let in needs no user; one that they keep out may still come in as a "
       "user whom Require accepts."},
  };
  return table;
}

void Repeats(const RequestState& state, Dependencies& on) {
  const auto* settings = SettingsFor<CompatSettings>(state);
  for (const auto* list : {&settings->allows, &settings->denies}) {
    for (const Match& match : *list) {
      if (match.kind == Match::Kind::kNetwork) on.OnClientAddress();
      if (match.kind == Match::Kind::kHost) on.OnMore();
    }
  }
}

}  // namespace

bool SatisfiesAny(const RequestState& state) {
  const auto* settings = SettingsFor<CompatSettings>(state);
  return settings && ValueFor(settings->satisfies_any, state.head().method_text, false);
}

const Module kAccessCompat = {.name = {"mod_access_compat.c", "access_compat_module"},
                              .directives = Directives,
                              .applies = HasSettings<CompatSettings>,
                              .access = Access,
                              .repeats = Repeats};

}  // namespace httpd::modules
