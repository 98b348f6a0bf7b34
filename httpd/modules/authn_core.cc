// mod_authn_core: AuthType, AuthName, <AuthnProviderAlias>. Source  httpd 2.4 manual, mod_authn_core
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "httpd/config/lexer.h"
#include "httpd/modules/auth_text.h"
#include "httpd/modules/authn.h"
#include "httpd/modules/authz.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

struct AuthnSettings final : config::ModuleSettings {
  std::optional<std::string> type;  ///< "": None
  std::optional<AuthText> name;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<AuthnSettings>(static_cast<const AuthnSettings&>(other));
    if (!out->type) out->type = type;
    if (!out->name) out->name = name;
    return out;
  }
};

struct AliasSettings final : config::ModuleSettings {
  std::map<std::string, std::shared_ptr<const AuthnProvider>> providers;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<AliasSettings>(*this);
    for (const auto& [name, provider] : static_cast<const AliasSettings&>(other).providers) {
      out->providers[name] = provider;
    }
    return out;
  }
};

constexpr char kFile[] = "file";

Complaint SetType(config::Builder& builder, Scope& scope, const Node& node, const Words& words) {
  if (words[0].find("%{") != std::string::npos)
    return node.name + ": an expression is not supported here: use <If> around AuthType";
  if (config::SameIgnoringCase(words[0], "digest")) builder.config().wants_secret = true;  // for nonces
  config::SettingsOf<AuthnSettings>(scope).type = config::SameIgnoringCase(words[0], "none") ? "" : words[0];
  return std::nullopt;
}

Complaint SetName(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  AuthText name;
  if (auto compiled = name.Compile(scope, node, words[0]); !compiled) {
    return "Cannot parse expression '" + words[0] + "' in AuthName: " + compiled.error().what;
  }
  config::SettingsOf<AuthnSettings>(scope).name = std::move(name);
  return std::nullopt;
}

Complaint AddAlias(config::Builder& builder, Scope& scope, const Node& node, const Words&) {
  const Words words = config::SplitWords(config::SectionArguments(node));
  if (words.size() < 2 || words[0].empty() || words[1].empty()) {
    return node.name + "> directive requires additional arguments";
  }
  const std::string& base = words[0];
  const std::string& name = words[1];
  if (config::SameIgnoringCase(base, name)) {
    return "The alias provider name must be different from the base provider name.";
  }
  auto& aliases = config::SettingsOf<AliasSettings>(scope);
  if (name == kFile || aliases.providers.contains(name)) {
    return "The alias provider " + name +
           " has already be registered previously as either a base provider or an alias provider.";
  }
  config::Section section;
  section.where = node.where;
  Scope inner = scope.InSection(section, node);
  if (builder.Failed(node.children, inner)) return config::kStop;
  if (base != kFile) return "Unknown Authn provider: " + base;
  aliases.providers[name] =
      MakeFileProvider(std::make_shared<const config::ModuleSlots>(std::move(section.settings.modules)));
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using namespace config;
  static constexpr char kModule[] = "mod_authn_core.c";
  constexpr unsigned kSection = kInSection | kOverrideAuthConfig;
  static const std::vector<Directive> table = {
      {"AuthType", kModule, kSection, Arity::kOne, "an HTTP authorization type (e.g., \"Basic\")", OnRead::kNo, SetType,
       "None|Basic|Digest", "None",
       "How a client says who it is where Require asks for a user. None takes back what an outer section said."},
      {"AuthName", kModule, kSection, Arity::kOne, "the authentication realm (e.g. \"Members Only\")", OnRead::kNo,
       SetName, "realm", "",
       "Shown by browsers when they ask for name and password; for Digest, part of every hash in the file of users."},
      {"<AuthnProviderAlias", kModule, kInServer, Arity::kRaw,
       "container for grouping an authentication provider's directives under a provider alias", OnRead::kNo, AddAlias,
       "provider alias", "",
       "Makes a provider with settings of its own, so that several files of users can be asked one after the other."},
  };
  return table;
}

const AuthnSettings* SettingsOfRequest(const RequestState& state) {
  return SettingsFor<AuthnSettings>(state);
}

/// The last one asked: nobody has authenticated the user that is needed.
Verdict Authenticate(RequestState& state) {
  const std::string* type = AuthType(state);
  if (type) {
    state.engine->LogError(state, LogLevel::kError, "authn_core",
                           "AH01796: AuthType " + *type + " configured without corresponding module");
  } else {
    state.engine->LogError(state, LogLevel::kError, "core",
                           "AH00027: No authentication done but request not allowed without authentication for " +
                               state.path + ". Authentication not configured?");
  }
  return Verdict::Status(500);
}

}  // namespace

config::Complaint AuthnProviders::Add(const config::Builder& builder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    auto provider = FindAuthnProvider(builder, name);
    if (!provider) return "Unknown Authn provider: " + name;
    named_.push_back(std::move(provider));
  }
  return std::nullopt;
}

AuthnResult AuthnProviders::Ask(const std::function<AuthnResult(const AuthnProvider&)>& ask) const {
  static const std::shared_ptr<const AuthnProvider> file = MakeFileProvider(nullptr);
  if (named_.empty()) return ask(*file);
  AuthnResult result = AuthnResult::kUserNotFound;
  for (const auto& provider : named_) {
    result = ask(*provider);
    if (result != AuthnResult::kUserNotFound) break;
  }
  return result;
}

std::shared_ptr<const AuthnProvider> FindAuthnProvider(const config::Builder& builder, const std::string& name) {
  if (name == kFile) return MakeFileProvider(nullptr);
  const auto* aliases = builder.ServerModules().Find<AliasSettings>();
  if (!aliases) return nullptr;
  const auto found = aliases->providers.find(name);
  return found == aliases->providers.end() ? nullptr : found->second;
}

const std::string* AuthType(const RequestState& state) {
  const auto* settings = SettingsOfRequest(state);
  return settings && settings->type && !settings->type->empty() ? &*settings->type : nullptr;
}

std::optional<std::string> AuthName(RequestState& state) {
  const auto* settings = SettingsOfRequest(state);
  if (!settings || !settings->name) return std::nullopt;
  return settings->name->For(state);
}

bool IsAuthType(const RequestState& state, std::string_view type) {
  const std::string* configured = AuthType(state);
  return configured && config::SameIgnoringCase(*configured, type);
}

std::string Quotable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) continue;
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

void AskForCredentials(RequestState& state) {
  if (IsAuthType(state, "Basic")) AskForBasic(state);
  if (IsAuthType(state, "Digest")) AskForDigest(state);
}

const Module kAuthnCore = {
    .name = {"mod_authn_core.c", "authn_core_module"},
    .directives = Directives,
    .applies =
        [](const config::ModuleSlots& slots) { return HasSettings<AuthnSettings>(slots) || kAuthzCore.applies(slots); },
    .authenticate = Authenticate,
    .repeats = DependsOnUser};

}  // namespace httpd::modules
