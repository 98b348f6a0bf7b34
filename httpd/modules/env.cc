// mod_env: SetEnv, PassEnv, UnsetEnv. Source  httpd 2.4 manual, mod_env
#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

struct EnvSettings final : config::ModuleSettings {
  std::vector<std::pair<std::string, std::string>> set;
  std::vector<std::string> unset;  ///< of outer places

  void Remove(const std::string& name) {
    std::erase_if(set, [&](const auto& entry) { return entry.first == name; });
  }
  void Put(const std::string& name, const std::string& value) {
    Remove(name);
    set.emplace_back(name, value);
  }
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const EnvSettings&>(other);
    auto out = std::make_unique<EnvSettings>(*this);
    for (const std::string& name : inner.unset) out->Remove(name);
    for (const auto& [name, value] : inner.set) out->Put(name, value);
    out->unset.insert(out->unset.end(), inner.unset.begin(), inner.unset.end());
    return out;
  }
};

Complaint SetEnv(config::Builder&, Scope& scope, const Node&, const Words& words) {
  config::SettingsOf<EnvSettings>(scope).Put(words[0], words.size() > 1 ? words[1] : "");
  return std::nullopt;
}

Complaint PassEnv(config::Builder& builder, Scope& scope, const Node& node, const Words& words) {
  for (const std::string& word : words) {
    const char* value = std::getenv(word.c_str());
    if (value) {
      config::SettingsOf<EnvSettings>(scope).Put(word, value);
    } else {
      builder.Warn(node, "AH01506: PassEnv variable " + word + " was undefined");
    }
  }
  return std::nullopt;
}

Complaint UnsetEnv(config::Builder&, Scope& scope, const Node&, const Words& words) {
  EnvSettings& settings = config::SettingsOf<EnvSettings>(scope);
  for (const std::string& word : words) {
    settings.Remove(word);
    settings.unset.push_back(word);
  }
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  constexpr unsigned kAnywhere = config::kAnywhere | config::kOverrideFileInfo;
  static const std::vector<config::Directive> table = {
      {"SetEnv", "mod_env.c", kAnywhere, Arity::kOneOrTwo, "an environment variable name and optional value to pass on",
       config::OnRead::kNo, SetEnv},
      {"PassEnv", "mod_env.c", kAnywhere, Arity::kAtLeastOne, "a list of environment variables to pass on",
       config::OnRead::kNo, PassEnv},
      {"UnsetEnv", "mod_env.c", kAnywhere, Arity::kAtLeastOne, "a list of variables to remove from what is passed on",
       config::OnRead::kNo, UnsetEnv},
  };
  return table;
}

/// What SetEnvIf and others have set already stays: Apache overlays this table below theirs.
Verdict Fixup(RequestState& state) {
  const auto* settings = SettingsFor<EnvSettings>(state);
  if (!settings) return Verdict::Declined();
  for (const auto& [name, value] : settings->set) {
    if (!state.environment.Find(name)) state.environment.Set(name, value);
  }
  return Verdict::Declined();
}

}  // namespace

const Module kEnv = {.name = {"mod_env.c", "env_module"},
                     .directives = Directives,
                     .applies = HasSettings<EnvSettings>,
                     .fixup = Fixup,
                     .repeats = DependsOnNothing};

}  // namespace httpd::modules
