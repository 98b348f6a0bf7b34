// mod_auth_basic: AuthBasicProvider and the rest of it. Source  httpd 2.4 manual, mod_auth_basic; RFC 7617
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/auth_text.h"
#include "httpd/modules/authn.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/password.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

struct BasicSettings final : config::ModuleSettings {
  AuthnProviders providers;
  std::optional<bool> is_authoritative;
  std::optional<AuthText> fake_user;  ///< AuthBasicFake; fakes == false: off
  std::optional<AuthText> fake_password;
  std::optional<bool> fakes;
  std::optional<bool> uses_digest;  ///< the file holds hashes of user:realm:password
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<BasicSettings>(static_cast<const BasicSettings&>(other));
    if (out->providers.empty()) out->providers = providers;
    if (!out->is_authoritative) out->is_authoritative = is_authoritative;
    if (!out->uses_digest) out->uses_digest = uses_digest;
    if (!out->fakes) {
      out->fakes = fakes;
      out->fake_user = fake_user;
      out->fake_password = fake_password;
    }
    return out;
  }
};

Complaint AddProviders(config::Builder& builder, Scope& scope, const Node&, const Words& words) {
  return config::SettingsOf<BasicSettings>(scope).providers.Add(builder, words);
}

Complaint SetAuthoritative(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  bool value = false;
  if (auto complaint = config::TakeFlag(node, words[0], value)) return complaint;
  config::SettingsOf<BasicSettings>(scope).is_authoritative = value;
  return std::nullopt;
}

Complaint SetDigestAlgorithm(config::Builder&, Scope& scope, const Node&, const Words& words) {
  const bool off = config::SameIgnoringCase(words[0], "off");
  if (!off && !config::SameIgnoringCase(words[0], "md5")) {
    return "Invalid algorithm in AuthBasicUseDigestAlgorithm: " + words[0];
  }
  config::SettingsOf<BasicSettings>(scope).uses_digest = !off;
  return std::nullopt;
}

Complaint SetFake(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  auto& settings = config::SettingsOf<BasicSettings>(scope);
  settings.fakes = words.size() > 1 || !config::SameIgnoringCase(words[0], "off");
  if (!*settings.fakes) return std::nullopt;
  if (auto compiled = settings.fake_user.emplace().Compile(scope, node, words[0]); !compiled) {
    return "Could not parse fake username expression '" + words[0] + "': " + compiled.error().what;
  }
  const std::string password = words.size() > 1 ? words[1] : "password";
  if (auto compiled = settings.fake_password.emplace().Compile(scope, node, password); !compiled) {
    return "Could not parse fake password expression associated to user '" + words[0] + "': " + compiled.error().what;
  }
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using namespace config;
  static constexpr char kModule[] = "mod_auth_basic.c";
  constexpr unsigned kSection = kInSection | kOverrideAuthConfig;
  static const std::vector<Directive> table = {
      {"AuthBasicProvider", kModule, kSection, Arity::kAtLeastOne,
       "specify the auth providers for a directory or location", OnRead::kNo, AddProviders, "provider [provider] ...",
       "file", "Who is asked for a user, in this order, until one knows him: file, or an <AuthnProviderAlias>."},
      {"AuthBasicAuthoritative", kModule, kSection, Arity::kFlag,
       "Set to 'Off' to allow access control to be passed along to lower modules if the UserID is not known to this "
       "module",
       OnRead::kNo, SetAuthoritative, "On|Off", "On",
       "With Off, a user whom no provider knows is left to other modules; there is none here that takes him, so that "
       "the request ends with status 500 instead of 401, as it does in Apache."},
      {"AuthBasicFake", kModule, kSection, Arity::kOneOrTwo,
       "Fake basic authentication using the given expressions for username and password, 'off' to disable. Password "
       "defaults to 'password' if missing.",
       OnRead::kNo, SetFake, "off|username [password]", "off",
       "The request goes on as if the client had sent this name and password: for programs and servers behind this "
       "one. "
       "Both are texts with %{...}. It authenticates nobody here."},
      {"AuthBasicUseDigestAlgorithm", kModule, kSection, Arity::kOne,
       "Set to 'MD5' to use the auth provider's authentication check for digest auth, using a hash of "
       "'user:realm:pass'",
       OnRead::kNo, SetDigestAlgorithm, "MD5|Off", "Off",
       "With MD5, the file of users is one that htdigest wrote, so that Basic and Digest can share it."},
  };
  return table;
}

struct Credentials {
  std::string user;
  std::string password;
};

bool HasControlBytes(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

/// What stands behind "Basic". nullopt: nothing that RFC 7617 allows. An empty name is nobody's.
std::optional<Credentials> Decode(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  const auto decoded = DecodeBase64(text);
  if (!decoded) return std::nullopt;
  const size_t colon = decoded->find(':');
  if (colon == std::string::npos || colon == 0 || HasControlBytes(*decoded)) return std::nullopt;
  return Credentials{decoded->substr(0, colon), decoded->substr(colon + 1)};
}

AuthnResult Ask(RequestState& state, const AuthnProvider& provider, const Credentials& given, bool uses_digest) {
  if (!uses_digest) return provider.CheckPassword(state, given.user, given.password);
  const std::string realm = *AuthName(state);
  std::string hash;
  const AuthnResult found = provider.FindHash(state, given.user, realm, hash);
  if (found != AuthnResult::kUserFound) return found;
  const bool matches = EqualInConstantTime(Md5Hex(given.user + ":" + realm + ":" + given.password), hash);
  return matches ? AuthnResult::kGranted : AuthnResult::kDenied;
}

Verdict Refuse(RequestState& state) {
  AskForBasic(state);
  return Verdict::Status(401);
}

Verdict Authenticate(RequestState& state) {
  if (!IsAuthType(state, "Basic")) return Verdict::Declined();
  const auto log = [&state](const std::string& text) {
    state.engine->LogError(state, LogLevel::kError, "auth_basic", text);
  };
  if (!AuthName(state)) {
    log("AH01615: need AuthName: " + state.path);
    return Verdict::Status(500);
  }
  state.auth_type = *AuthType(state);
  const std::string_view field = state.Header("Authorization");
  if (field.data() == nullptr) return Refuse(state);
  const size_t space = std::min(field.find(' '), field.size());
  if (!config::SameIgnoringCase(field.substr(0, space), "Basic")) {
    log("AH01614: client used wrong authentication scheme: " + state.path);
    return Refuse(state);
  }
  const auto given = Decode(field.substr(space));
  if (!given) {
    log("AH01618: user not found: " + state.path + ": credentials are malformed");
    return Refuse(state);
  }
  static const BasicSettings kDefaults;
  const auto* said = SettingsFor<BasicSettings>(state);
  const BasicSettings& settings = said ? *said : kDefaults;
  const bool uses_digest = settings.uses_digest.value_or(false);
  const AuthnResult result =
      settings.providers.Ask([&](const AuthnProvider& provider) { return Ask(state, provider, *given, uses_digest); });
  // Known to logs (%u) though he may be refused, as in Apache: nothing that is refused gets past this station.
  state.user = given->user;
  if (result == AuthnResult::kGranted) return Verdict::Done();
  if (!settings.is_authoritative.value_or(true) && result != AuthnResult::kDenied) return Verdict::Declined();
  switch (result) {
    case AuthnResult::kDenied:
      log("AH01617: user " + given->user + ": authentication failure for \"" + state.path + "\": Password Mismatch");
      return Refuse(state);
    case AuthnResult::kUserNotFound:
      log("AH01618: user " + given->user + " not found: " + state.path);
      return Refuse(state);
    default:
      return Verdict::Status(500);  // the provider has said why
  }
}

/// The last change before a handler sees the request.
Verdict Fake(RequestState& state) {
  const auto* settings = SettingsFor<BasicSettings>(state);
  if (!settings || !settings->fakes.value_or(false)) return Verdict::Declined();
  const std::string user = settings->fake_user->For(state);
  const std::string password = settings->fake_password->For(state);
  if (user.empty() || password.empty()) {
    state.RemoveHeader("Authorization");
    return Verdict::Declined();
  }
  state.SetHeader("Authorization", "Basic " + EncodeBase64(user + ":" + password));
  return Verdict::Declined();
}

}  // namespace

void AskForBasic(RequestState& state) {
  const auto realm = AuthName(state);
  RemoveField(state.response->fields, "WWW-Authenticate");
  AppendField(state.response->fields, "WWW-Authenticate", "Basic realm=\"" + Quotable(realm.value_or("")) + "\"");
}

const Module kAuthBasic = {
    .name = {"mod_auth_basic.c", "auth_basic_module"},
    .directives = Directives,
    .applies =
        [](const config::ModuleSlots& slots) { return HasSettings<BasicSettings>(slots) || kAuthnCore.applies(slots); },
    .authenticate = Authenticate,
    .fixup = Fake,
    .repeats = DependsOnUser};

}  // namespace httpd::modules
