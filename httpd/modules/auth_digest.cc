// mod_auth_digest: AuthDigest... Source  httpd 2.4 manual, mod_auth_digest; RFC 7616 with MD5 and qop=auth
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"
#include "httpd/modules/authn.h"
#include "httpd/modules/digest_nonce.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/password.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::Node;
using config::Scope;
using std::chrono::seconds;
using Words = std::vector<std::string>;

constexpr seconds kDefaultLifetime{300};
constexpr seconds kNextNonceAhead{30};
constexpr char kInfoNote[] = "auth_digest-info";
constexpr char kTakenNote[] = "auth_digest-taken";

struct DigestSettings final : config::ModuleSettings {
  AuthnProviders providers;
  std::string domain;               ///< "/a /b"; "": not said
  std::optional<seconds> lifetime;  ///< 0: one request; below 0: without end
  std::optional<bool> checks_count;
  std::shared_ptr<NonceCounters> counters;  ///< where the last two need them

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<DigestSettings>(static_cast<const DigestSettings&>(other));
    if (out->providers.empty()) out->providers = providers;
    if (out->domain.empty()) out->domain = domain;
    if (!out->lifetime) out->lifetime = lifetime;
    if (!out->checks_count) out->checks_count = checks_count;
    if (!out->counters) out->counters = counters;
    return out;
  }
  seconds Lifetime() const { return lifetime.value_or(kDefaultLifetime); }
  bool IsOneTime() const { return Lifetime() == seconds(0); }
  bool Counts() const { return IsOneTime() || checks_count.value_or(false); }
};

const DigestSettings& SettingsOfRequest(const RequestState& state) {
  static const DigestSettings kDefaults;
  const auto* said = SettingsFor<DigestSettings>(state);
  return said ? *said : kDefaults;
}

// ---- directives ----------------------------------------------------------------------------------------------------

Complaint AddProviders(config::Builder& builder, Scope& scope, const Node&, const Words& words) {
  return config::SettingsOf<DigestSettings>(scope).providers.Add(builder, words);
}

Complaint SetQop(config::Builder&, Scope&, const Node&, const Words& words) {
  for (const std::string& word : words) {
    if (!config::SameIgnoringCase(word, "auth")) return "AuthDigestQop is deprecated: only 'auth' is supported";
  }
  return std::nullopt;
}

Complaint SetAlgorithm(config::Builder&, Scope&, const Node&, const Words& words) {
  if (!config::SameIgnoringCase(words[0], "MD5")) return "Unsupported algorithm in AuthDigestAlgorithm: " + words[0];
  return std::nullopt;
}

/// Memory that all children share can only be made before they are.
Complaint MakeCounters(const Scope& scope, const Node& node, const std::string& word, DigestSettings& settings) {
  if (settings.counters) return std::nullopt;
  if (scope.htaccess) {
    return node.name + " " + word +
           " cannot be used in .htaccess: it needs memory that is shared by all processes, which is made at the start";
  }
  auto made = NonceCounters::Make();
  if (!made) return node.name + ": " + made.error().Text();
  settings.counters = std::move(made).value();
  return std::nullopt;
}

Complaint SetLifetime(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  const auto value = config::Number(words[0]);
  constexpr long long kMost = 10LL * 365 * 86400;
  if (!value || *value > kMost) return "Invalid time in AuthDigestNonceLifetime: " + words[0];
  auto& settings = config::SettingsOf<DigestSettings>(scope);
  settings.lifetime = seconds(std::max(-1LL, *value));
  return *value == 0 ? MakeCounters(scope, node, words[0], settings) : std::nullopt;
}

Complaint SetCountCheck(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  bool value = false;
  if (auto complaint = config::TakeFlag(node, words[0], value)) return complaint;
  auto& settings = config::SettingsOf<DigestSettings>(scope);
  settings.checks_count = value;
  return value ? MakeCounters(scope, node, words[0], settings) : std::nullopt;
}

Complaint AddDomain(config::Builder&, Scope& scope, const Node&, const Words& words) {
  std::string& domain = config::SettingsOf<DigestSettings>(scope).domain;
  for (const std::string& word : words) domain += (domain.empty() ? "" : " ") + word;
  return std::nullopt;
}

Complaint SetSharedMemory(config::Builder& builder, Scope&, const Node& node, const Words&) {
  builder.Warn(node, "WARNING: " + node.name + " has no meaning here");
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using namespace config;
  static constexpr char kModule[] = "mod_auth_digest.c";
  constexpr unsigned kSection = kInSection | kOverrideAuthConfig;
  static const std::vector<Directive> table = {
      {"AuthDigestProvider", kModule, kSection, Arity::kAtLeastOne,
       "specify the auth providers for a directory or location", OnRead::kNo, AddProviders, "provider [provider] ...",
       "file", "Who is asked for a user's hash, in this order, until one knows him: file, or an <AuthnProviderAlias>."},
      {"AuthDigestQop", kModule, kSection, Arity::kAtLeastOne, "A list of quality-of-protection options", OnRead::kNo,
       SetQop, "auth", "auth", "Only auth there is; clients that send none (RFC 2069) are refused."},
      {"AuthDigestNonceLifetime", kModule, kSection, Arity::kOne, "Maximum lifetime of the server nonce (seconds)",
       OnRead::kNo, SetLifetime, "seconds", "300",
       "How long a client may use what the server gave it to sign. Afterwards it is sent a new one, without asking the "
       "user again. Below 0: without end. 0: for one request (in the configuration files only)."},
      {"AuthDigestNcCheck", kModule, kSection, Arity::kFlag,
       "Whether or not to check the nonce-count sent by the client", OnRead::kNo, SetCountCheck, "On|Off", "Off",
       "With On, no request can be repeated by who has overheard it. What was used is noted in memory that the "
       "children "
       "of one instance share: after an upgrade or restart clients are sent a new nonce, without asking the user. In "
       "the configuration files only."},
      {"AuthDigestAlgorithm", kModule, kSection, Arity::kOne, "The algorithm used for the hash calculation",
       OnRead::kNo, SetAlgorithm, "MD5", "MD5", "Only MD5, which is what htdigest writes and every client can."},
      {"AuthDigestDomain", kModule, kSection, Arity::kAtLeastOne,
       "A list of URI's which belong to the same protection space as the current URI", OnRead::kNo, AddDomain,
       "URI [URI] ...", "", "Told to clients, which then send their credentials below these paths unasked."},
      {"AuthDigestShmemSize", kModule, kInServer, Arity::kOne,
       "The amount of shared memory to allocate for keeping track of clients", OnRead::kNo, SetSharedMemory, "bytes",
       "", "Accepted, without meaning: 1 MiB is set aside where AuthDigestNcCheck or one-time nonces need it."},
  };
  return table;
}

// ---- the request's field -------------------------------------------------------------------------------------------

struct Answer {
  std::string username, realm, nonce, uri, response, algorithm, cnonce, opaque, qop, nc;
};

/// Takes `name=value` or `name="value"` off `rest`. @return false: it is neither
bool TakeParameter(std::string_view& rest, std::string& name, std::string& value) {
  constexpr std::string_view kBlanks = " \t,";
  rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
  const size_t equals = rest.find('=');
  if (equals == std::string_view::npos) return false;
  std::string_view word = rest.substr(0, equals);
  while (!word.empty() && (word.back() == ' ' || word.back() == '\t')) word.remove_suffix(1);
  if (word.empty() || word.find_first_of(" \t,\"") != std::string_view::npos) return false;
  name = config::LowerCase(word);
  rest.remove_prefix(equals + 1);
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
  value.clear();
  if (!rest.starts_with('"')) {
    const size_t end = std::min(rest.find_first_of(kBlanks), rest.size());
    value = rest.substr(0, end);
    rest.remove_prefix(end);
    return value.find('"') == std::string::npos;
  }
  for (size_t i = 1; i < rest.size(); ++i) {
    if (rest[i] == '"') {
      rest.remove_prefix(i + 1);
      return rest.empty() || kBlanks.find(rest.front()) != std::string_view::npos;
    }
    if (rest[i] == '\\' && i + 1 < rest.size()) ++i;
    value += rest[i];
  }
  return false;
}

bool HasControlBytes(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

/// nullopt: malformed, something is missing, or something is there twice.
std::optional<Answer> ReadAnswer(std::string_view rest) {
  static constexpr std::pair<std::string_view, std::string Answer::*> kNames[] = {
      {"username", &Answer::username},   {"realm", &Answer::realm},   {"nonce", &Answer::nonce}, {"uri", &Answer::uri},
      {"response", &Answer::response},   {"cnonce", &Answer::cnonce}, {"qop", &Answer::qop},     {"nc", &Answer::nc},
      {"algorithm", &Answer::algorithm}, {"opaque", &Answer::opaque}};
  Answer out;
  unsigned seen = 0;
  std::string name;
  std::string value;
  while (rest.find_first_not_of(" \t,") != std::string_view::npos) {
    if (!TakeParameter(rest, name, value) || HasControlBytes(value)) return std::nullopt;
    for (size_t i = 0; i < std::size(kNames); ++i) {
      if (name != kNames[i].first) continue;
      if ((seen >> i & 1) != 0) return std::nullopt;
      seen |= 1U << i;
      out.*kNames[i].second = value;
    }
  }
  constexpr unsigned kNeeded = 0x1f;                         // the first five
  constexpr unsigned kQop = 1U << 6, kItsOwn = 0x20 | 0x80;  // cnonce and nc come with qop
  if ((seen & kNeeded) != kNeeded || out.username.empty()) return std::nullopt;
  if ((seen & kQop) != 0 && (seen & kItsOwn) != kItsOwn) return std::nullopt;
  return out;
}

// ---- the target ----------------------------------------------------------------------------------------------------

struct Target {
  std::string_view authority;
  std::string path;
  std::string query;
  bool operator==(const Target&) const = default;
};

std::string Unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

Target Parse(std::string_view text) {
  Target out;
  const size_t scheme = text.find("://");
  if (scheme != std::string_view::npos && text.substr(0, scheme).find_first_of("/?") == std::string_view::npos) {
    text.remove_prefix(scheme + 3);
    const size_t end = std::min(text.find_first_of("/?"), text.size());
    out.authority = text.substr(0, end);
    text.remove_prefix(end);
  }
  const size_t question = std::min(text.find('?'), text.size());
  out.path = Unescaped(text.substr(0, question));
  if (question < text.size()) out.query = Unescaped(text.substr(question));
  return out;
}

/// What the client signed must be what it asks for; a proxy may have written it differently.
bool IsAboutThisRequest(const RequestState& state, const std::string& uri) {
  const http::RequestHead& head = *state.request->head;
  if (head.target == uri) return true;
  Target signed_target = Parse(uri);
  Target target = Parse(head.target);
  if (!signed_target.authority.empty() && !http::EqualsIgnoreCase(signed_target.authority, head.authority))
    return false;
  signed_target.authority = target.authority = {};
  return signed_target == target;
}

// ---- the exchange --------------------------------------------------------------------------------------------------

void Log(RequestState& state, LogLevel level, const std::string& text) {
  state.engine->LogError(state, level, "auth_digest", text);
}

std::string NewNonce(RequestState& state, const DigestSettings& settings) {
  Nonce nonce;
  nonce.made = state.request->start;
  do {
    std::memcpy(&nonce.id, RandomBytes(sizeof nonce.id).data(), sizeof nonce.id);
  } while (nonce.id == 0);
  if (settings.Counts() && settings.counters) settings.counters->Add(nonce.id);
  return SignNonce(nonce, state.engine->site().secret(), *AuthName(state));
}

Verdict Refuse(RequestState& state, bool is_stale = false) {
  const DigestSettings& settings = SettingsOfRequest(state);
  const auto realm = AuthName(state);
  std::string value = "Digest realm=\"" + Quotable(realm.value_or("")) + "\", nonce=\"" +
                      (realm ? NewNonce(state, settings) : "") + "\", algorithm=MD5";
  if (!settings.domain.empty()) value += ", domain=\"" + Quotable(settings.domain) + "\"";
  if (is_stale) value += ", stale=true";
  value += ", qop=\"auth\"";
  RemoveField(state.response->fields, "WWW-Authenticate");
  AppendField(state.response->fields, "WWW-Authenticate", value);
  return Verdict::Status(401);
}

/// The nonce as it is now, last: a client whose password is right is sent a new one and tries again by itself.
std::optional<Verdict> CheckNonce(RequestState& state, const Answer& answer, Nonce& nonce) {
  const DigestSettings& settings = SettingsOfRequest(state);
  switch (ReadNonce(answer.nonce, state.engine->site().secret(), *AuthName(state), nonce)) {
    case NonceFault::kMalformed:
    case NonceFault::kForged:
      Log(state, LogLevel::kError, "AH01776: invalid nonce " + answer.nonce + " received - hash is not ours");
      return Refuse(state, true);
    case NonceFault::kNone:
      break;
  }
  const auto age = state.request->start - nonce.made;
  if (age.count() < 0) {
    Log(state, LogLevel::kError, "AH01777: invalid nonce " + answer.nonce + " received - user attempted time travel");
    return Refuse(state, true);
  }
  const seconds lifetime = settings.Lifetime();
  if (lifetime > seconds(0) && age > lifetime) {
    std::array<char, 160> text{};
    std::snprintf(text.data(), text.size(),
                  ": nonce expired (%.2f seconds old - max lifetime %.2f) - sending new nonce",
                  std::chrono::duration<double>(age).count(), static_cast<double>(lifetime.count()));
    Log(state, LogLevel::kInfo, "AH01778: user " + answer.username + text.data());
    return Refuse(state, true);
  }
  if (!settings.Counts() || !settings.counters || state.is_subrequest()) return std::nullopt;
  // An internal redirect shows the same field again.
  std::string& taken = state.notes[kTakenNote];
  if (taken == answer.nonce + answer.nc) return std::nullopt;
  taken = answer.nonce + answer.nc;
  uint32_t count = 0;
  std::from_chars(answer.nc.data(), answer.nc.data() + answer.nc.size(), count, 16);
  switch (settings.IsOneTime() ? settings.counters->TakeOnce(nonce.id) : settings.counters->Take(nonce.id, count)) {
    case NonceCounters::Use::kFirstTime:
      return std::nullopt;
    case NonceCounters::Use::kUnknown:
      Log(state, LogLevel::kInfo, "AH10618: nonce " + answer.nonce + " is no longer known - sending new nonce");
      return Refuse(state, true);
    case NonceCounters::Use::kReplayed:
      break;
  }
  if (settings.IsOneTime()) {
    Log(state, LogLevel::kInfo,
        "AH01779: user " + answer.username + ": one-time-nonce " + answer.nonce + " already used - sending new nonce");
    return Refuse(state, true);
  }
  Log(state, LogLevel::kError,
      "AH01774: Warning, possible replay attack: nonce-count check failed: " + answer.nc +
          " was used already for nonce " + answer.nonce);
  return Refuse(state);
}

/// Authentication-Info: the server knows the password, too; and what to sign next when this nonce is about to end.
std::string Info(RequestState& state, const Answer& answer, const Nonce& nonce, const std::string& ha1) {
  const DigestSettings& settings = SettingsOfRequest(state);
  const std::string proof = Md5Hex(ha1 + ":" + answer.nonce + ":" + answer.nc + ":" + answer.cnonce + ":" + answer.qop +
                                   ":" + Md5Hex(":" + answer.uri));
  std::string out = "rspauth=\"" + proof + "\"";
  const bool ends_soon =
      settings.Lifetime() > seconds(0) && state.request->start - nonce.made > settings.Lifetime() - kNextNonceAhead;
  if (ends_soon || settings.IsOneTime()) out += ", nextnonce=\"" + NewNonce(state, settings) + "\"";
  return out + ", cnonce=\"" + Quotable(answer.cnonce) + "\", nc=" + answer.nc + ", qop=" + answer.qop;
}

AuthnResult FindHash(RequestState& state, const Answer& answer, std::string& ha1) {
  const std::string realm = *AuthName(state);
  return SettingsOfRequest(state).providers.Ask(
      [&](const AuthnProvider& provider) { return provider.FindHash(state, answer.username, realm, ha1); });
}

bool IsCount(std::string_view nc) {
  return nc.size() == 8 && nc.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos && nc != "00000000";
}

Verdict Authenticate(RequestState& state) {
  if (!IsAuthType(state, "Digest")) return Verdict::Declined();
  const auto error = [&state](const std::string& text) { Log(state, LogLevel::kError, text); };
  if (!AuthName(state)) {
    error("AH01780: need AuthName: " + state.path);
    return Verdict::Status(500);
  }
  state.auth_type = "Digest";
  const std::string_view field = state.Header("Authorization");
  if (field.data() == nullptr) return Refuse(state);
  const std::string_view scheme = field.substr(0, field.find(' '));
  if (!config::SameIgnoringCase(scheme, "Digest")) {
    error("AH01781: client used wrong authentication scheme `" + std::string(scheme) + "': " + state.path);
    return Refuse(state);
  }
  const auto read = ReadAnswer(field.substr(scheme.size()));
  if (!read) {
    error("AH01782: missing user, realm, nonce, uri, digest, cnonce, or nonce_count in authorization header: " +
          state.path);
    return Refuse(state);
  }
  const Answer& answer = *read;
  const std::string realm = *AuthName(state);
  state.user = answer.username;  // known to logs though he may be refused
  if (!IsAboutThisRequest(state, answer.uri)) {
    error("AH01786: uri mismatch - <" + answer.uri + "> does not match request-uri <" +
          std::string(state.request->head->target) + ">");
    return Verdict::Status(400);
  }
  if (answer.realm != realm) {
    error("AH01788: realm mismatch - got `" + answer.realm + "' but expected `" + realm + "'");
    return Refuse(state);
  }
  if (!answer.algorithm.empty() && !config::SameIgnoringCase(answer.algorithm, "MD5")) {
    error("AH01789: unknown algorithm `" + answer.algorithm + "' received: " + state.path);
    return Refuse(state);
  }
  std::string ha1;
  switch (FindHash(state, answer, ha1)) {
    case AuthnResult::kUserFound:
      break;
    case AuthnResult::kUserNotFound:
      error("AH01790: user `" + answer.username + "' in realm `" + realm + "' not found: " + state.path);
      return Refuse(state);
    case AuthnResult::kDenied:
      error("AH01791: user `" + answer.username + "' in realm `" + realm + "' denied by provider: " + state.path);
      return Refuse(state);
    default:
      return Verdict::Status(500);  // the provider has said why
  }
  if (!config::SameIgnoringCase(answer.qop, "auth")) {
    error("AH10560: invalid or missing qop value '" + answer.qop + "', RFC 2069 is no longer supported: " + state.path);
    return Refuse(state);
  }
  const std::string ha2 = Md5Hex(std::string(state.head().method_text) + ":" + answer.uri);
  const std::string expected =
      Md5Hex(ha1 + ":" + answer.nonce + ":" + answer.nc + ":" + answer.cnonce + ":" + answer.qop + ":" + ha2);
  if (!EqualInConstantTime(answer.response, expected)) {
    error("AH01794: user " + answer.username + ": password mismatch: " + state.path);
    return Refuse(state);
  }
  if (!IsCount(answer.nc)) {
    error("AH01773: invalid nc " + answer.nc + " received - not a number");
    return Refuse(state);
  }
  Nonce nonce;
  if (const auto refused = CheckNonce(state, answer, nonce)) return *refused;
  if (!state.is_subrequest()) state.notes[kInfoNote] = Info(state, answer, nonce, ha1);
  return Verdict::Done();
}

void Output(RequestState& state) {
  if (!state.is_success) return;
  const auto note = state.notes.find(kInfoNote);
  if (note != state.notes.end()) AppendField(state.response->fields, "Authentication-Info", note->second);
}

}  // namespace

void AskForDigest(RequestState& state) {
  Refuse(state);
}

const Module kAuthDigest = {.name = {"mod_auth_digest.c", "auth_digest_module"},
                            .directives = Directives,
                            .applies = [](const config::ModuleSlots& slots) { return kAuthnCore.applies(slots); },
                            .authenticate = Authenticate,
                            .output = Output,
                            .repeats = DependsOnUser};

}  // namespace httpd::modules
