// mod_authz_core: Require and its groups, AuthMerging, AuthzSendForbiddenOnFailure, <AuthzProviderAlias>, and the
// providers all, env, method, expr. Source  httpd 2.4 manual, mod_authz_core
#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/authn.h"
#include "httpd/modules/authz.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::MethodSet;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

/// A Require line, or a group of them.
struct AuthzNode {
  enum class Op { kAny, kAll };
  std::shared_ptr<const AuthzRule> rule;  ///< null: a group
  bool negated = false;
  std::optional<MethodSet> methods;  ///< of a rule in a <Limit>; nullopt: all
  Op op = Op::kAny;
  std::vector<AuthzNode> children;

  bool Concerns(std::string_view method) const {
    if (rule) return !methods || methods->Contains(method);
    return std::any_of(children.begin(), children.end(),
                       [method](const AuthzNode& child) { return child.Concerns(method); });
  }
};

std::string TitleOf(const AuthzNode& group) {
  if (group.op == AuthzNode::Op::kAll) return "<RequireAll>";
  return group.negated ? "<RequireNone>" : "<RequireAny>";
}

struct AuthzSettings final : config::ModuleSettings {
  enum class Merging { kUnset, kOff, kAnd, kOr };
  std::shared_ptr<const AuthzNode> root;  ///< null: nothing is required
  Merging merging = Merging::kUnset;
  std::optional<bool> forbidden_on_failure;
  std::vector<AuthzNode>
      open;  ///< while the section is read: [0] is what will be `root`, then the groups that are open

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const AuthzSettings&>(other);
    auto out = std::make_unique<AuthzSettings>();
    out->merging = inner.merging;
    const bool combines = inner.merging == Merging::kAnd || inner.merging == Merging::kOr;
    if (inner.root && root && combines) {
      AuthzNode both;
      both.op = inner.merging == Merging::kAnd ? AuthzNode::Op::kAll : AuthzNode::Op::kAny;
      both.children = {*root, *inner.root};
      out->root = std::make_shared<const AuthzNode>(std::move(both));
    } else if (inner.root || inner.merging == Merging::kOff) {
      out->root = inner.root;
    } else {
      out->root = root;
    }
    out->forbidden_on_failure = inner.forbidden_on_failure ? inner.forbidden_on_failure : forbidden_on_failure;
    return out;
  }
};

// ---- evaluation ----------------------------------------------------------------------------------------------------

AuthzStatus Evaluate(const AuthzNode& node, RequestState& state, AuthzNode::Op parent) {
  using enum AuthzStatus;
  if (!node.Concerns(state.head().method_text)) return parent == AuthzNode::Op::kAll ? kGranted : kNeutral;
  AuthzStatus result = kNeutral;
  if (node.rule) {
    result = node.rule->Check(state, nullptr);
    if (result == kError) return result;
  } else {
    const bool all = node.op == AuthzNode::Op::kAll;
    for (const AuthzNode& child : node.children) {
      const AuthzStatus one = Evaluate(child, state, node.op);
      if (one == kError) return one;
      if (one == kNeutral) continue;
      if (one == (all ? kDenied : kGranted)) {
        result = one;
        break;
      }
      // kDeniedNoUser says that a user might change the outcome: it outlasts what a user cannot change.
      if (result == kNeutral || (one == kDeniedNoUser && (all || result == kDenied))) result = one;
    }
  }
  if (!node.negated) return result;
  if (result == kGranted) return kDenied;
  return kNeutral;  // not being refused grants nothing
}

Verdict Decide(RequestState& state, bool after_authentication) {
  const auto* settings = SettingsFor<AuthzSettings>(state);
  if (!settings->root || state.is_admitted) return Verdict::Declined();
  const AuthzStatus found = Evaluate(*settings->root, state, AuthzNode::Op::kAll);
  if (state.response->deferred) return Verdict::Done();  // a rule does not know yet
  switch (found) {
    case AuthzStatus::kGranted:
      return Verdict::Done();
    case AuthzStatus::kError:
      return Verdict::Status(500);
    case AuthzStatus::kDeniedNoUser:
      if (!after_authentication) {
        state.needs_user = true;
        return Verdict::Declined();
      }
      state.engine->LogError(state, LogLevel::kError, "authz_core",
                             "AH01629: authorization failure (no authenticated user): " + state.path);
      AskForCredentials(state);
      return Verdict::Status(401);
    case AuthzStatus::kDenied:
    case AuthzStatus::kNeutral:
      break;
  }
  if (!after_authentication || !AuthType(state)) {
    state.engine->LogError(state, LogLevel::kError, "authz_core",
                           "AH01630: client denied by server configuration: " + RefusedName(state));
    return Verdict::Status(403);
  }
  state.engine->LogError(state, LogLevel::kError, "authz_core",
                         "AH01631: user " + state.user + ": authorization failure for \"" + state.path + "\": ");
  if (settings->forbidden_on_failure.value_or(false)) return Verdict::Status(403);
  AskForCredentials(state);
  return Verdict::Status(401);
}

Verdict Access(RequestState& state) {
  return Decide(state, false);
}

Verdict Authorize(RequestState& state) {
  return Decide(state, true);
}

// ---- providers -----------------------------------------------------------------------------------------------------

struct AllRule final : AuthzRule {
  explicit AllRule(bool granted) : is_granted(granted) {}
  AuthzStatus Check(RequestState&, const config::ModuleSlots*) const override {
    return is_granted ? AuthzStatus::kGranted : AuthzStatus::kDenied;
  }
  void Repeats(Dependencies&) const override {}
  bool is_granted;
};

Complaint ParseAll(const Scope&, const Node&, const std::string& arguments, std::shared_ptr<const AuthzRule>& out) {
  const Words words = config::SplitWords(arguments);
  const bool granted = words.size() == 1 && config::SameIgnoringCase(words[0], "granted");
  if (!granted && (words.size() != 1 || !config::SameIgnoringCase(words[0], "denied"))) {
    return "Argument for 'Require all' must be 'granted' or 'denied'";
  }
  out = std::make_shared<AllRule>(granted);
  return std::nullopt;
}

struct EnvRule final : AuthzRule {
  explicit EnvRule(Words variables) : names(std::move(variables)) {}
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    const bool any = std::any_of(names.begin(), names.end(),
                                 [&](const std::string& name) { return state.environment.Find(name) != nullptr; });
    return any ? AuthzStatus::kGranted : AuthzStatus::kDenied;
  }
  void Repeats(Dependencies&) const override {}
  Words names;
};

Complaint ParseEnv(const Scope&, const Node&, const std::string& arguments, std::shared_ptr<const AuthzRule>& out) {
  out = std::make_shared<EnvRule>(config::SplitWords(arguments));
  return std::nullopt;
}

struct MethodRule final : AuthzRule {
  explicit MethodRule(MethodSet set) : methods(std::move(set)) {}
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    return methods.Contains(state.head().method_text) ? AuthzStatus::kGranted : AuthzStatus::kDenied;
  }
  void Repeats(Dependencies&) const override {}
  MethodSet methods;
};

Complaint ParseMethod(const Scope&, const Node&, const std::string& arguments, std::shared_ptr<const AuthzRule>& out) {
  Words words = config::SplitWords(arguments);
  for (const std::string& word : words) {
    if (!config::IsKnownMethod(word)) return "Invalid Method '" + word + "'";
  }
  out = std::make_shared<MethodRule>(MethodSet::Of(std::move(words)));
  return std::nullopt;
}

struct ExprRule final : AuthzRule {
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    const ExpressionResult result = condition->Evaluate(state);
    AddVary(state, result.vary);
    if (result.failed) return AuthzStatus::kError;
    if (result.holds) return AuthzStatus::kGranted;
    return asks_for_user && state.user.empty() ? AuthzStatus::kDeniedNoUser : AuthzStatus::kDenied;
  }
  std::shared_ptr<const Expression> condition;
  bool asks_for_user = false;
};

Complaint ParseExpr(const Scope& scope, const Node& node, const std::string& arguments,
                    std::shared_ptr<const AuthzRule>& out) {
  std::string_view text = arguments;
  if (text.size() > 1 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front()) {
    text = text.substr(1, text.size() - 2);
  }
  auto compiled =
      Expression::Compile(text, ExpressionKind::kCondition,
                          scope.htaccess ? ExpressionFiles::kRefused : ExpressionFiles::kAllowed, node.where);
  if (!compiled) return "Cannot parse expression in require line: " + compiled.error().what;
  auto rule = std::make_shared<ExprRule>();
  rule->condition = std::move(compiled).value();
  rule->asks_for_user = text.find("REMOTE_USER") != std::string_view::npos;
  out = std::move(rule);
  return std::nullopt;
}

constexpr AuthzProvider kExpression{"expr", ParseExpr};
constexpr AuthzProvider kAll{"all", ParseAll}, kEnvironment{"env", ParseEnv}, kMethod{"method", ParseMethod};

/// A provider's rule with the settings of an <AuthzProviderAlias>.
struct AliasRule final : AuthzRule {
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    return rule->Check(state, &slots);
  }
  std::shared_ptr<const AuthzRule> rule;
  config::ModuleSlots slots;
};

struct AliasSettings final : config::ModuleSettings {
  std::map<std::string, std::shared_ptr<const AuthzRule>> rules;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<AliasSettings>(*this);
    for (const auto& [name, rule] : static_cast<const AliasSettings&>(other).rules) out->rules[name] = rule;
    return out;
  }
};

const AuthzProvider* FindProvider(std::string_view name) {
  static const AuthzProvider* const providers[] = {
      &kExpression,       &kAll,          &kEnvironment,           &kMethod,
      &kRequireIp,        &kRequireHost,  &kRequireForwardDns,     &kRequireLocal,
      &kRequireUser,      &kRequireGroup, &kRequireValidUser,      &kRequireFileGroup,
      &kRequireFileOwner, &kRequireSsl,   &kRequireSslVerifyClient};
  for (const AuthzProvider* provider : providers) {
    if (provider->name == name) return provider;
  }
  return nullptr;
}

// ---- directives ----------------------------------------------------------------------------------------------------

AuthzNode& OpenGroup(AuthzSettings& settings) {
  if (settings.open.empty()) settings.open.emplace_back();
  return settings.open.back();
}

/// What was read so far is what holds: the section ends where the reading ends.
void Publish(AuthzSettings& settings) {
  if (settings.open.size() == 1) settings.root = std::make_shared<const AuthzNode>(settings.open.front());
}

Complaint AddRequire(config::Builder& builder, Scope& scope, const Node& node, const Words&) {
  std::string_view rest = node.arguments;
  AuthzNode line;
  std::string name = config::TakeWord(rest);
  if (config::SameIgnoringCase(name, "not")) {
    line.negated = true;
    name = config::TakeWord(rest);
  }
  if (scope.limited) line.methods = *scope.limited;
  const auto* aliases = builder.ServerModules().Find<AliasSettings>();
  const auto alias = aliases ? aliases->rules.find(name) : decltype(aliases->rules.find(name))();
  if (aliases && alias != aliases->rules.end()) {
    line.rule = alias->second;
  } else if (const AuthzProvider* provider = FindProvider(name)) {
    if (auto complaint = provider->parse(scope, node, std::string(rest), line.rule)) return complaint;
  } else {
    return "Unknown Authz provider: " + name;
  }
  auto& settings = config::SettingsOf<AuthzSettings>(scope);
  AuthzNode& group = OpenGroup(settings);
  if (line.negated && group.op == AuthzNode::Op::kAny) {
    return "negative " + node.name + " directive has no effect in " + TitleOf(group) + " directive";
  }
  group.children.push_back(std::move(line));
  Publish(settings);
  return std::nullopt;
}

Complaint AddGroup(config::Builder& builder, Scope& scope, const Node& node, const Words&) {
  if (!config::SplitWords(config::SectionArguments(node)).empty()) {
    return node.name + "> directive doesn't take additional arguments";
  }
  auto& settings = config::SettingsOf<AuthzSettings>(scope);
  OpenGroup(settings);
  AuthzNode opened;
  if (config::SameIgnoringCase(node.name, "<RequireAll")) opened.op = AuthzNode::Op::kAll;
  opened.negated = config::SameIgnoringCase(node.name, "<RequireNone");
  settings.open.push_back(std::move(opened));
  Scope inner = scope;
  inner.parent = &node;
  if (builder.Failed(node.children, inner)) return config::kStop;
  AuthzNode group = std::move(settings.open.back());
  settings.open.pop_back();
  AuthzNode& outer = settings.open.back();
  if (group.children.empty()) return TitleOf(group) + " directive contains no authorization directives";
  if (group.negated && outer.op == AuthzNode::Op::kAny) {
    return TitleOf(group) + " directive has no effect in " + TitleOf(outer) + " directive";
  }
  if (!group.negated && group.op == outer.op) {
    outer.children.insert(outer.children.end(), group.children.begin(), group.children.end());
  } else {
    if (std::all_of(group.children.begin(), group.children.end(), [](const AuthzNode& one) { return one.negated; })) {
      return "AH01624: " + TitleOf(group) + " directive contains only negative authorization directives";
    }
    outer.children.push_back(std::move(group));
  }
  Publish(settings);
  return std::nullopt;
}

Complaint AddAlias(config::Builder& builder, Scope& scope, const Node& node, const Words&) {
  const std::string all(config::SectionArguments(node));
  std::string_view rest = all;
  const std::string base = config::TakeWord(rest);
  const std::string name = config::TakeWord(rest);
  if (base.empty() || name.empty()) return node.name + "> directive requires additional arguments";
  if (config::SameIgnoringCase(base, name)) {
    return "The alias provider name must be different from the base provider name.";
  }
  auto& aliases = config::SettingsOf<AliasSettings>(scope);
  if (FindProvider(name) || aliases.rules.contains(name)) {
    return "The alias provider " + name +
           " has already be registered previously as either a base provider or an alias provider.";
  }
  const std::string arguments = config::TakeWord(rest);
  if (!rest.empty()) {
    builder.Warn(node, "AH10142: When several arguments (" + arguments + " " + std::string(rest) +
                           "...) are passed to a " + node.name +
                           "> directive, they must be enclosed in quotation marks.  Otherwise, only the first one is "
                           "taken into account");
  }
  auto rule = std::make_shared<AliasRule>();
  config::Section section;
  section.where = node.where;
  Scope inner = scope.InSection(section, node);
  if (builder.Failed(node.children, inner)) return config::kStop;
  const AuthzProvider* provider = FindProvider(base);
  if (!provider) return "Unknown Authz provider: " + base;
  if (auto complaint = provider->parse(scope, node, arguments, rule->rule)) {
    return "Can't parse 'Require " + base + " " + arguments + "': " + *complaint;
  }
  rule->slots = section.settings.modules;
  aliases.rules[name] = std::move(rule);
  return std::nullopt;
}

Complaint SetMerging(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  using Merging = AuthzSettings::Merging;
  auto& merging = config::SettingsOf<AuthzSettings>(scope).merging;
  if (config::SameIgnoringCase(words[0], "off")) {
    merging = Merging::kOff;
  } else if (config::SameIgnoringCase(words[0], "and")) {
    merging = Merging::kAnd;
  } else if (config::SameIgnoringCase(words[0], "or")) {
    merging = Merging::kOr;
  } else {
    return node.name + " must be one of: Off | And | Or";
  }
  return std::nullopt;
}

Complaint SetForbiddenOnFailure(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  bool value = false;
  if (auto complaint = config::TakeFlag(node, words[0], value)) return complaint;
  config::SettingsOf<AuthzSettings>(scope).forbidden_on_failure = value;
  return std::nullopt;
}

/// <Limit GET POST>, <LimitExcept GET>: what is said inside about access holds for these methods.
Complaint AddLimit(config::Builder& builder, Scope& scope, const Node& node, const Words&) {
  const bool except = config::SameIgnoringCase(node.name, "<LimitExcept");
  Words names = config::SplitWords(config::SectionArguments(node));
  if (names.empty()) return node.name + "> directive requires additional arguments";
  for (const std::string& name : names) {
    if (!except && name == "TRACE") return "TRACE cannot be controlled by <Limit>, see TraceEnable";
    if (scope.htaccess && !config::IsKnownMethod(name)) {
      return "Could not register method '" + name + "' for " + node.name + "> from .htaccess configuration";
    }
  }
  const MethodSet before = scope.limited ? *scope.limited : MethodSet();
  const MethodSet named = except ? MethodSet::AllBut(std::move(names)) : MethodSet::Of(std::move(names));
  const MethodSet both = before.And(named);
  if (both.empty()) return node.name + "> directive excludes all methods";
  if (both == before) return node.name + "> directive specifies methods already excluded";
  Scope inner = scope;
  inner.parent = &node;
  inner.limited = &both;
  return builder.Failed(node.children, inner) ? config::kStop : std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using namespace config;
  static constexpr char kModule[] = "mod_authz_core.c";
  constexpr unsigned kSection = kInSection | kOverrideAuthConfig;
  constexpr unsigned kLimits = kSection | kOverrideLimit;
  static const std::vector<Directive> table = {
      {"<Limit", "core.c", kLimits, Arity::kRaw,
       "Container for authentication directives when accessed using specified HTTP methods", OnRead::kNo, AddLimit,
       "method [method] ...", "",
       "Require, Order, Allow, Deny and Satisfy inside hold for these methods only; everything else inside holds as if "
       "it stood outside. GET is HEAD too; TRACE cannot be named. What is not protected for a method stays open: "
       "<LimitExcept> is mostly what is wanted."},
      {"<LimitExcept", "core.c", kLimits, Arity::kRaw,
       "Container for authentication directives to be applied when any HTTP method other than those specified is used "
       "to access the resource",
       OnRead::kNo, AddLimit, "method [method] ...", "",
       "The opposite of <Limit>: holds for every method that is not named, unknown ones too."},
      {"<AuthzProviderAlias", kModule, kInServer, Arity::kRaw,
       "container for grouping an authorization provider's directives under a provider alias", OnRead::kNo, AddAlias,
       "provider alias \"arguments\"", "",
       "Gives a Require line a name of its own, with settings of its own (AuthGroupFile) beside those of the request."},
      {"Require", kModule, kSection, Arity::kRaw,
       "specifies authorization directives which one must pass (or not) for a request to suceeed", OnRead::kNo,
       AddRequire, "[not] provider [argument] ...", "",
       "Who may have what lies here. Providers: all, env, method, expr, ip, host, forward-dns, local, user, "
       "valid-user, "
       "group, file-owner, file-group and what <AuthzProviderAlias> named. Lines of one section are alternatives "
       "unless <RequireAll> or <RequireNone> says otherwise. host takes names and domains and asks for the name of the "
       "client's address, which must lead back to that address; forward-dns asks for the addresses of a name. Answers "
       "are kept for a minute; only the request that needs one waits for it, 20 seconds at most."},
      {"<RequireAll", kModule, kSection, Arity::kRaw,
       "container for grouping authorization directives of which none must fail and at least one must pass for a "
       "request to succeed",
       OnRead::kNo, AddGroup},
      {"<RequireAny", kModule, kSection, Arity::kRaw,
       "container for grouping authorization directives of which one must pass for a request to succeed", OnRead::kNo,
       AddGroup},
      {"<RequireNone", kModule, kSection, Arity::kRaw,
       "container for grouping authorization directives of which none must pass for a request to succeed", OnRead::kNo,
       AddGroup},
      {"AuthMerging", kModule, kSection, Arity::kOne,
       "controls how a <Directory>, <Location>, or similar directive's authorization directives are combined with "
       "those of its predecessor",
       OnRead::kNo, SetMerging, "Off|And|Or", "Off",
       "With And, what the outer sections require and what this one requires must both hold; with Or, either."},
      {"AuthzSendForbiddenOnFailure", kModule, kSection, Arity::kFlag,
       "Controls if an authorization failure should result in a '403 FORBIDDEN' response instead of the "
       "HTTP-conforming '401 UNAUTHORIZED'",
       OnRead::kNo, SetForbiddenOnFailure, "On|Off", "Off",
       "For users who are known and are not allowed: On answers 403, so that a browser does not ask for another "
       "password."},
  };
  return table;
}

void NoteRules(const AuthzNode& node, Dependencies& on) {
  if (node.rule) node.rule->Repeats(on);
  for (const AuthzNode& child : node.children) NoteRules(child, on);
}

void Repeats(const RequestState& state, Dependencies& on) {
  if (const auto& root = SettingsFor<AuthzSettings>(state)->root) NoteRules(*root, on);
}

}  // namespace

void AuthzRule::Repeats(Dependencies& on) const {
  on.OnMore();
}

std::string RefusedName(const RequestState& state) {
  return state.file.empty() ? "uri " + state.path : state.file;
}

const Module kAuthzCore = {.name = {"mod_authz_core.c", "authz_core_module"},
                           .directives = Directives,
                           .applies = HasSettings<AuthzSettings>,
                           .access = Access,
                           .authorize = Authorize,
                           .repeats = Repeats};

}  // namespace httpd::modules
