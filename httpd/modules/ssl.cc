// mod_ssl: what TLS means for a request. Source  httpd 2.4 manual, mod_ssl; modules/ssl/ssl_engine_kernel.c
#include "httpd/modules/ssl.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "httpd/http/ascii.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/authz.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/password.h"
#include "httpd/modules/ssl_context.h"
#include "httpd/modules/ssl_settings.h"

namespace httpd::modules {

namespace {

using config::LogLevel;
using net::TlsStream;

void Log(const RequestState& state, const std::string& text) {
  state.engine->LogError(state, LogLevel::kError, "ssl", text);
}

bool HasAnySettings(const config::ModuleSlots& slots) {
  return slots.Find<SslSettings>() != nullptr || slots.Find<SslPlaceSettings>() != nullptr;
}

/// FakeBasicAuth: the subject of the client's certificate as a user's name, with a password that is no secret.
void Headers(RequestState& state) {
  const auto* place = SettingsFor<SslPlaceSettings>(state);
  if (!place || (place->Options() & kSslFakeBasicAuth) == 0 || !state.request->tls) return;
  const X509* certificate = ::SSL_get0_peer_certificate(state.request->tls->ssl());
  if (!certificate || ::SSL_get_verify_result(state.request->tls->ssl()) != X509_V_OK) return;
  char* line = ::X509_NAME_oneline(::X509_get_subject_name(certificate), nullptr, 0);
  const std::string name = line ? line : "";
  ::OPENSSL_free(line);
  state.SetHeader("Authorization", "Basic " + EncodeBase64(name + ":password"));
}

/// Somebody who says a name that only a certificate can give.
bool IsForged(const RequestState& state) {
  constexpr std::string_view kBasic = "Basic ";
  const std::string_view said = state.request->head->Find("Authorization");
  if (said.size() < kBasic.size() || !http::EqualsIgnoreCase(said.substr(0, kBasic.size()), kBasic)) return false;
  const auto decoded = DecodeBase64(said.substr(kBasic.size()));
  return decoded && decoded->starts_with('/');
}

/// SSLRequire; says which one is not met.
bool MeetsRequirements(RequestState& state, const SslPlaceSettings& place) {
  for (const SslPlaceSettings::Requirement& requirement : place.requirements) {
    const ExpressionResult result = AsExpression(requirement.condition)->Evaluate(state);
    if (result.failed) {
      Log(state,
          "AH02265: access to " + RefusedName(state) + " failed, reason: Failed to execute SSL requirement expression");
      return false;
    }
    AddVary(state, result.vary);
    if (result.holds) continue;
    state.engine->LogError(state, LogLevel::kInfo, "ssl", "AH02228: Failed expression: " + requirement.text);
    Log(state,
        "AH02229: access to " + RefusedName(state) + " failed, reason: SSL requirement expression not fulfilled");
    return false;
  }
  return true;
}

Verdict Access(RequestState& state) {
  const auto* place = SettingsFor<SslPlaceSettings>(state);
  const auto* host = HostSettingsFor<SslSettings>(state);
  if (host && host->verify == SslVerify::kRequire && !state.request->is_tls && !state.request->is_private &&
      state.engine->site().ssl() && state.engine->site().ssl()->HostAt(state.host_index)) {
    Log(state, "access to " + RefusedName(state) + " failed, reason: its host asks for client certificates, this " +
                   "connection has no TLS");
    return Verdict::Status(403);
  }
  if (!place) return Verdict::Declined();
  if (place->require_ssl && !state.request->is_tls) {
    Log(state, "AH02219: access to " + RefusedName(state) + " failed, reason: SSL connection required");
    return Verdict::Status(403);
  }
  if ((place->Options() & kSslFakeBasicAuth) != 0 && state.request->is_tls && IsForged(state)) {
    Log(state, "AH02035: Encountered FakeBasicAuth spoof: the name in Authorization begins with '/'");
    return Verdict::Status(403);
  }
  if (state.request->is_tls && !MeetsRequirements(state, *place)) return Verdict::Status(403);
  if (place->user_name) {
    if (const std::string user = SslVariable(state, *place->user_name); !user.empty()) state.user = user;
  }
  return Verdict::Declined();
}

Verdict Fixup(RequestState& state) {
  if (!state.request->tls) return Verdict::Declined();
  state.environment.Set("HTTPS", "on");
  if (const std::string_view sni = state.request->tls->ServerName(); !sni.empty()) {
    state.environment.Set("SSL_TLS_SNI", sni);
  }
  const auto* place = SettingsFor<SslPlaceSettings>(state);
  if (place && place->Options() != 0) SetSslVariables(state, place->Options());
  return Verdict::Declined();
}

std::string_view NameOf(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, std::min(authority.find(']') + 1, authority.size()));
  return authority.substr(0, authority.find(':'));
}

/// Which answers are HTTPS's, the cache knows.
void Repeats(const RequestState& state, Dependencies& on) {
  const auto* place = SettingsFor<SslPlaceSettings>(state);
  if (place && (place->Options() != 0 || place->user_name || !place->requirements.empty())) on.OnMore();
  if (!state.request->tls) return;
  // SSL_TLS_SNI: who gives another name in the request than in the handshake is not the usual client.
  const std::string_view sni = state.request->tls->ServerName();
  if (!sni.empty() && !http::EqualsIgnoreCase(sni, NameOf(state.request->head->authority))) on.OnMore();
}

class RequireSsl final : public AuthzRule {
 public:
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    return state.request->is_tls ? AuthzStatus::kGranted : AuthzStatus::kDenied;
  }
  void Repeats(Dependencies&) const override {}  // the cache tells HTTPS apart
};

class RequireClientCertificate final : public AuthzRule {
 public:
  AuthzStatus Check(RequestState& state, const config::ModuleSlots*) const override {
    return SslVariable(state, "SSL_CLIENT_VERIFY") == "SUCCESS" ? AuthzStatus::kGranted : AuthzStatus::kDenied;
  }
};

template <class Rule, const char* kName>
config::Complaint Parse(const config::Scope&, const config::Node&, const std::string& arguments,
                        std::shared_ptr<const AuthzRule>& out) {
  if (arguments.find_first_not_of(" \t") != std::string::npos) {
    return std::string("'Require ") + kName + "' does not take arguments";
  }
  out = std::make_shared<Rule>();
  return std::nullopt;
}

constexpr char kSslName[] = "ssl";
constexpr char kVerifyName[] = "ssl-verify-client";

}  // namespace

const AuthzProvider kRequireSsl = {kSslName, Parse<RequireSsl, kSslName>};
const AuthzProvider kRequireSslVerifyClient = {kVerifyName, Parse<RequireClientCertificate, kVerifyName>};

int SslRefusal(RequestState& state) {
  const net::TlsStream& stream = *state.request->tls;
  const SslSite& ssl = *state.engine->site().ssl();
  const std::string_view sni = stream.ServerName();
  const std::string_view asked = NameOf(state.request->head->authority);
  const SslHost* own = ssl.HostAt(state.host_index);
  if (!sni.empty() && asked.empty()) {
    Log(state, "AH02031: Hostname " + std::string(sni) + " provided via SNI, but no hostname provided in HTTP request");
    return 400;
  }
  const SslHost* shown = ssl.HostAt(stream.host);
  const auto is_strict = [](const SslHost* host) { return host && host->settings->strict_sni.value_or(false); };
  if (sni.empty() && (is_strict(shown) || is_strict(own)) && state.engine->site().SharesAddress(state.host_index)) {
    Log(state, "AH02033: No hostname was provided via SNI for a name based virtual host");
    state.notes["error-notes"] =
        "Reason: The client software did not provide a hostname using Server Name Indication (SNI), which is required "
        "to access this server.<br />\n";
    return 403;
  }
  if (state.host_index == stream.host) return 0;
  const auto* main = state.engine->site().config().main.settings.modules.Find<SslSettings>();
  const SslSniPolicy policy = main ? main->sni_policy.value_or(SslSniPolicy::kSecure) : SslSniPolicy::kSecure;
  bool fits = policy != SslSniPolicy::kStrict;
  if (fits && policy != SslSniPolicy::kInsecure) {
    fits = own && shown->client_setup == own->client_setup &&
           (policy == SslSniPolicy::kAuthOnly || shown->server_setup == own->server_setup);
  }
  if (fits) return 0;
  const std::string& handshake = state.engine->site().hosts()[static_cast<size_t>(stream.host)].host->server_name;
  Log(state, "AH02032: Hostname " + (sni.empty() ? handshake : std::string(sni)) + " " +
                 (sni.empty() ? "(default host as no SNI was provided)" : "provided via SNI") + " and hostname " +
                 std::string(asked) + " provided via HTTP have no compatible SSL setup");
  return 421;
}

const Module kSsl = {.name = {"mod_ssl.c", "ssl_module"},
                     .directives = SslDirectives,
                     .applies = HasAnySettings,
                     .headers = Headers,
                     .access = Access,
                     .fixup = Fixup,
                     .repeats = Repeats};

}  // namespace httpd::modules
