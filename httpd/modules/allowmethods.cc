// mod_allowmethods: AllowMethods. Source  httpd 2.4 manual, mod_allowmethods
#include <string>
#include <vector>

#include "httpd/config/lexer.h"
#include "httpd/modules/authz.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

struct AllowMethodsSettings final : config::ModuleSettings {
  Words names;
  config::MethodSet allowed = config::MethodSet::Of({});
  std::string list;  ///< "GET,HEAD"; "": every method is allowed
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    return std::make_unique<AllowMethodsSettings>(static_cast<const AllowMethodsSettings&>(other));
  }
};

Complaint SetMethods(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  if (words.empty()) return node.name + ": No method or 'reset' keyword given";
  auto& settings = config::SettingsOf<AllowMethodsSettings>(scope);
  if (words.size() == 1 && config::SameIgnoringCase(words[0], "reset")) {
    settings = {};
    return std::nullopt;
  }
  for (const std::string& word : words) {
    if (!config::IsKnownMethod(word)) return node.name + ": Invalid Method '" + word + "'";
    if (settings.allowed.Contains(word)) continue;  // HEAD comes with GET
    settings.names.push_back(word);
    settings.allowed = config::MethodSet::Of(settings.names);
    const std::string name = word == "GET" || word == "HEAD" ? "GET,HEAD" : word;
    settings.list += (settings.list.empty() ? "" : ",") + name;
  }
  return std::nullopt;
}

Verdict Access(RequestState& state) {
  const auto* settings = SettingsFor<AllowMethodsSettings>(state);
  if (settings->list.empty() || settings->allowed.Contains(state.head().method_text)) return Verdict::Declined();
  state.engine->LogError(state, config::LogLevel::kError, "allowmethods",
                         "AH01623: client method denied by server configuration: '" +
                             std::string(state.head().method_text) + "' to " + RefusedName(state));
  RemoveField(state.response->fields, "Allow");
  AppendField(state.response->fields, "Allow", settings->list);
  return Verdict::Status(405);
}

const std::vector<config::Directive>& Directives() {
  using namespace config;
  static const std::vector<Directive> table = {
      {"AllowMethods", "mod_allowmethods.c", kInSection, Arity::kAny, "only allow specific methods", OnRead::kNo,
       SetMethods, "reset|method [method] ...", "reset",
       "Requests with another method are answered 405, with the list in Allow. GET is HEAD too. A section's list "
       "replaces that of the sections outside; reset allows all. TRACE is for TraceEnable."},
  };
  return table;
}

}  // namespace

const Module kAllowMethods = {.name = {"mod_allowmethods.c", "allowmethods_module"},
                              .directives = Directives,
                              .applies = HasSettings<AllowMethodsSettings>,
                              .access = Access,
                              .repeats = DependsOnNothing};

}  // namespace httpd::modules
