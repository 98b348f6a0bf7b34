// mod_setenvif: SetEnvIf, SetEnvIfNoCase, SetEnvIfExpr, BrowserMatch, BrowserMatchNoCase. Source  httpd 2.4 manual,
// mod_setenvif
#include <Poco/Exception.h>
#include <Poco/RegularExpression.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Regex = Poco::RegularExpression;
using Words = std::vector<std::string>;

struct Variable {
  std::string name;
  std::string value;  ///< may hold $0 to $9
  bool unset = false;
};

struct Rule {
  enum class Subject {
    kHeader,  ///< or, when no such field was sent, a variable of that name set before
    kHeaderPattern,
    kRemoteAddress,
    kServerAddress,
    kMethod,
    kExpression,
    kProtocol,
    kUri
  };
  Subject subject = Subject::kHeader;
  std::string name;
  std::shared_ptr<Regex> name_pattern;  ///< kHeaderPattern
  std::shared_ptr<Regex> pattern;
  std::shared_ptr<const Expression> condition;  ///< kExpression
  bool matches_empty = false;                   ///< the pattern holds for a field that was not sent
  std::vector<Variable> variables;
};

struct SetEnvIfSettings final : config::ModuleSettings {
  std::vector<std::shared_ptr<const Rule>> rules;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const SetEnvIfSettings&>(other);
    auto out = std::make_unique<SetEnvIfSettings>(*this);
    out->rules.insert(out->rules.end(), inner.rules.begin(), inner.rules.end());
    return out;
  }
};

/// Whether a field that was not sent satisfies `pattern`. One that gives up even there does not.
bool HoldsForNothing(const Regex& pattern) {
  Regex::Match found;
  try {
    return pattern.match("", 0, found) > 0;
  } catch (const Poco::Exception&) {
    return false;
  }
}

Complaint AddVariables(Scope& scope, const Node& node, Rule rule, const Words& words, size_t next) {
  if (next >= words.size()) return "Missing envariable expression for " + node.name;
  for (; next < words.size(); ++next) {
    const std::string& word = words[next];
    Variable variable;
    const size_t equals = word.find('=');
    variable.unset = word.starts_with('!');
    variable.name =
        word.substr(variable.unset ? 1 : 0, equals == std::string::npos ? equals : equals - (variable.unset ? 1 : 0));
    variable.value = variable.unset ? "" : equals == std::string::npos ? "1" : word.substr(equals + 1);
    if (variable.name.empty()) return "Missing envariable expression for " + node.name;
    rule.variables.push_back(std::move(variable));
  }
  config::SettingsOf<SetEnvIfSettings>(scope).rules.push_back(std::make_shared<const Rule>(std::move(rule)));
  return std::nullopt;
}

/// @param words  pattern and variables; the subject was taken off
Complaint AddRule(Scope& scope, const Node& node, Rule rule, const Words& words, size_t next, bool no_case) {
  const std::string& text = words[next++];
  auto pattern = CompileRegex(text, no_case);
  if (!pattern) return node.name + " regex could not be compiled: " + pattern.error().what;
  rule.pattern = std::move(pattern).value();
  rule.matches_empty = HoldsForNothing(*rule.pattern);
  return AddVariables(scope, node, std::move(rule), words, next);
}

Complaint SetEnvIf(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  static const std::pair<const char*, Rule::Subject> kSubjects[] = {
      {"Remote_Addr", Rule::Subject::kRemoteAddress}, {"Server_Addr", Rule::Subject::kServerAddress},
      {"Request_Method", Rule::Subject::kMethod},     {"Request_Protocol", Rule::Subject::kProtocol},
      {"Request_URI", Rule::Subject::kUri},           {"Remote_Host", Rule::Subject::kRemoteAddress}};
  Rule rule;
  rule.name = words[0];
  for (const auto& [name, subject] : kSubjects) {
    if (config::SameIgnoringCase(words[0], name)) rule.subject = subject;
  }
  if (rule.subject == Rule::Subject::kHeader && words[0].find_first_of("^$.*+?[](){}|\\") != std::string::npos) {
    rule.subject = Rule::Subject::kHeaderPattern;  // Apache: a name with these is a pattern of names
    auto pattern = CompileRegex(words[0], true);
    if (!pattern) return node.name + " header regex could not be compiled: " + pattern.error().what;
    rule.name_pattern = std::move(pattern).value();
  }
  const bool no_case = config::SameIgnoringCase(node.name, "SetEnvIfNoCase");
  return AddRule(scope, node, std::move(rule), words, 1, no_case);
}

Complaint BrowserMatch(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  Rule rule;
  rule.name = "User-Agent";
  return AddRule(scope, node, std::move(rule), words, 0, config::SameIgnoringCase(node.name, "BrowserMatchNoCase"));
}

Complaint SetEnvIfExpr(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  Rule rule;
  rule.subject = Rule::Subject::kExpression;
  auto compiled =
      Expression::Compile(words[0], ExpressionKind::kCondition,
                          scope.htaccess ? ExpressionFiles::kRefused : ExpressionFiles::kAllowed, node.where);
  if (!compiled) return "Could not parse expression \"" + words[0] + "\": " + compiled.error().what;
  rule.condition = std::move(compiled).value();
  return AddVariables(scope, node, std::move(rule), words, 1);
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  constexpr unsigned kAnywhere = config::kAnywhere | config::kOverrideFileInfo;
  static constexpr char kModule[] = "mod_setenvif.c";
  static const std::vector<config::Directive> table = {
      {"SetEnvIf", kModule, kAnywhere, Arity::kAtLeastTwo, "A header-name, regex and a list of variables.",
       config::OnRead::kNo, SetEnvIf},
      {"SetEnvIfNoCase", kModule, kAnywhere, Arity::kAtLeastTwo, "a header-name, regex and a list of variables.",
       config::OnRead::kNo, SetEnvIf},
      {"SetEnvIfExpr", kModule, kAnywhere, Arity::kAtLeastOne, "an expression and a list of variables.",
       config::OnRead::kNo, SetEnvIfExpr, "expr [!]env-variable[=value] ..."},
      {"BrowserMatch", kModule, kAnywhere, Arity::kAtLeastTwo, "A browser regex and a list of variables.",
       config::OnRead::kNo, BrowserMatch},
      {"BrowserMatchNoCase", kModule, kAnywhere, Arity::kAtLeastTwo, "A browser regex and a list of variables.",
       config::OnRead::kNo, BrowserMatch},
  };
  return table;
}

std::string SubjectOf(const Rule& rule, RequestState& state) {
  switch (rule.subject) {
    case Rule::Subject::kRemoteAddress:
      return std::string(state.request->client_address);
    case Rule::Subject::kServerAddress:
      return state.LocalAddress();
    case Rule::Subject::kMethod:
      return std::string(state.head().method_text);
    case Rule::Subject::kProtocol:
      return std::string(state.head().Protocol());
    case Rule::Subject::kUri:
      return state.path.empty() ? std::string(state.head().path) : std::string(state.path);
    case Rule::Subject::kHeaderPattern:
      for (const http::HeaderField& field : state.head().fields) {
        if (Finds(state, *rule.name_pattern, std::string(field.name))) return std::string(field.value);
      }
      return "";
    case Rule::Subject::kExpression:
    case Rule::Subject::kHeader:
      break;
  }
  // Several fields of one name are one value to a condition, as Apache's tables join them.
  if (state.Header(rule.name).data() != nullptr) return Joined(state.head(), rule.name);
  const std::string* variable = state.environment.Find(rule.name);
  return variable ? *variable : "";
}

/// @param subject, groups  what the pattern found, for $1 in the values
bool Holds(const Rule& rule, RequestState& state, std::string& subject, Regex::MatchVec& groups) {
  if (!rule.condition) {
    subject = SubjectOf(rule, state);
    return subject.empty() ? rule.matches_empty : Finds(state, *rule.pattern, subject, &groups);
  }
  ExpressionMatches matches;
  const ExpressionResult result = rule.condition->Evaluate(state, &matches);
  if (!result.failed) AddVary(state, result.vary);
  subject = std::move(matches.subject);
  for (const auto& [offset, length] : matches.groups) groups.push_back({offset, length});
  return result.holds;
}

void Run(const SetEnvIfSettings& settings, size_t first, RequestState& state) {
  for (size_t i = first; i < settings.rules.size(); ++i) {
    const Rule& rule = *settings.rules[i];
    std::string subject;
    Regex::MatchVec groups;
    if (!Holds(rule, state, subject, groups)) continue;
    for (const Variable& variable : rule.variables) {
      if (variable.unset) {
        state.environment.Unset(variable.name);
      } else {
        state.environment.Set(variable.name, ExpandGroups(variable.value, subject, groups));
      }
    }
  }
}

const SetEnvIfSettings* OfHost(const RequestState& state) {
  return state.host->host->settings.modules.Find<SetEnvIfSettings>();
}

void Early(RequestState& state) {
  if (const auto* settings = OfHost(state)) Run(*settings, 0, state);
}

/// The rules of the host come first in the merged list, and were run.
void Headers(RequestState& state) {
  const auto* settings = SettingsFor<SetEnvIfSettings>(state);
  const auto* host = OfHost(state);
  if (settings) Run(*settings, host ? host->rules.size() : 0, state);
}

void Repeats(const RequestState& state, Dependencies& on) {
  for (const SetEnvIfSettings* settings : {OfHost(state), SettingsFor<SetEnvIfSettings>(state)}) {
    if (!settings) continue;
    for (const auto& rule : settings->rules) {
      switch (rule->subject) {
        case Rule::Subject::kHeader:
          on.OnField(rule->name);
          break;
        case Rule::Subject::kRemoteAddress:
          on.OnClientAddress();
          break;
        case Rule::Subject::kMethod:
        case Rule::Subject::kProtocol:
        case Rule::Subject::kUri:
          break;
        case Rule::Subject::kServerAddress:
        case Rule::Subject::kHeaderPattern:
        case Rule::Subject::kExpression:
          on.OnMore();
          break;
      }
    }
  }
}

}  // namespace

const Module kSetEnvIf = {.name = {"mod_setenvif.c", "setenvif_module"},
                          .directives = Directives,
                          .applies = HasSettings<SetEnvIfSettings>,
                          .early = Early,
                          .headers = Headers,
                          .repeats = Repeats};

}  // namespace httpd::modules
