// What mod_ssl's directives say. Source  httpd 2.4 manual, mod_ssl; modules/ssl/ssl_engine_config.c
#include <charconv>
#include <limits>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/proxy_tls.h"
#include "httpd/modules/ssl.h"
#include "httpd/modules/ssl_settings.h"

namespace httpd::modules {

namespace {

using config::Arity;
using config::Builder;
using config::Complaint;
using config::Node;
using config::OnRead;
using config::SameIgnoringCase;
using config::Scope;
using Words = std::vector<std::string>;

constexpr std::nullopt_t kFine = std::nullopt;
constexpr unsigned kInServer = config::kInServer;
constexpr unsigned kInHosts = config::kInHosts;
constexpr unsigned kInPlaces = config::kInSection | config::kOverrideAuthConfig;
constexpr unsigned kEverywhere = config::kAnywhere | config::kOverrideOptions;

SslSettings& Of(Scope& scope) {
  return config::SettingsOf<SslSettings>(scope);
}

/// For what Apache can change in the middle of a connection, by renegotiation.
Complaint OnlyForHosts(const Scope& scope, const Node& node) {
  if (!scope.section && !scope.htaccess) return kFine;
  return node.name +
         " holds for a whole host here: it is settled when the connection begins, renegotiation is not done (TLS 1.3 "
         "has none). Say it in <VirtualHost>; Require ssl-verify-client or Require expr ask for it per directory";
}

Complaint SetEngine(Builder&, Scope& scope, const Node& node, const Words& words) {
  bool on = false;
  if (auto complaint = config::TakeFlag(node, words[0], on)) return complaint;
  Of(scope).engine = on;
  Of(scope).engine_where = node.where;
  return kFine;
}

SslFile FileOf(const Builder& builder, const Node& node, const std::string& word) {
  return {builder.Absolute(word), node.where};
}

template <std::vector<SslFile> SslSettings::*kList>
Complaint AddFile(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  if (words[0].find(':') != std::string::npos && words[0].front() != '/') {
    return node.name + ": '" + words[0] + "' is no file; keys from engines and tokens are not used here";
  }
  (Of(scope).*kList).push_back(FileOf(builder, node, words[0]));
  return kFine;
}

template <std::optional<SslFile> SslSettings::*kFile>
Complaint SetFile(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  if (auto complaint = OnlyForHosts(scope, node)) return complaint;
  Of(scope).*kFile = FileOf(builder, node, words[0]);
  return kFine;
}

Complaint SetProtocol(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  unsigned protocols = 0;
  if (auto complaint = TakeSslProtocols(builder, node, words, protocols)) return complaint;
  Of(scope).protocols = protocols;
  return kFine;
}

Complaint SetCiphers(Builder&, Scope& scope, const Node& node, const Words& words) {
  if (auto complaint = OnlyForHosts(scope, node)) return complaint;
  SslSettings& settings = Of(scope);
  settings.ciphers_where = node.where;
  if (words.size() > 1 && SameIgnoringCase(words[0], "TLSv1.3")) {
    settings.ciphers_13 = words[1];
    return kFine;
  }
  if (words.size() > 1 && !SameIgnoringCase(words[0], "SSL")) {
    return "SSLCipherSuite: protocol '" + words[0] + "' is not known: SSL or TLSv1.3";
  }
  settings.ciphers = words.back() + ":!aNULL:!eNULL:!EXP";  // never without, as in Apache
  return kFine;
}

template <std::optional<bool> SslSettings::*kFlag>
Complaint SetFlag(Builder&, Scope& scope, const Node& node, const Words& words) {
  bool on = false;
  if (auto complaint = config::TakeFlag(node, words[0], on)) return complaint;
  Of(scope).*kFlag = on;
  return kFine;
}

/// What is off here whatever is said, and may not be said to be on.
Complaint StaysOff(Builder&, Scope&, const Node& node, const Words& words) {
  if (SameIgnoringCase(words[0], "off")) return kFine;
  if (!SameIgnoringCase(words[0], "on") && !SameIgnoringCase(words[0], "leaf")) return node.name + " must be On or Off";
  const config::Directive* directive = config::FindDirective(node.name);
  return node.name + " " + words[0] + " cannot be had: " + directive->about;
}

Complaint SetVerify(Builder&, Scope& scope, const Node& node, const Words& words) {
  if (auto complaint = OnlyForHosts(scope, node)) return complaint;
  SslVerify verify = SslVerify::kNone;
  if (auto complaint = TakeSslVerify(node, words[0], verify)) return complaint;
  Of(scope).verify = verify;
  return kFine;
}

Complaint SetVerifyDepth(Builder&, Scope& scope, const Node& node, const Words& words) {
  if (auto complaint = OnlyForHosts(scope, node)) return complaint;
  const auto depth = config::Number(words[0]);
  if (!depth || *depth < 0 || *depth > 100) return "SSLVerifyDepth: Invalid argument '" + words[0] + "'";
  Of(scope).verify_depth = static_cast<int>(*depth);
  return kFine;
}

Complaint SetRevocation(Builder&, Scope& scope, const Node& node, const Words& words) {
  SslRevocation revocation = SslRevocation::kNone;
  SslSettings& settings = Of(scope);
  if (auto complaint = TakeSslRevocation(node, words, revocation, settings.is_crl_optional)) return complaint;
  settings.revocation = revocation;
  return kFine;
}

Complaint SetSessionTimeout(Builder&, Scope& scope, const Node&, const Words& words) {
  const auto seconds = config::Number(words[0]);
  if (!seconds || *seconds < 0 || *seconds > std::numeric_limits<int>::max()) {
    return "SSLSessionCacheTimeout: Invalid argument";
  }
  Of(scope).session_timeout_s = static_cast<int>(*seconds);
  return kFine;
}

bool IsKnownCache(const std::string& kind) {
  static constexpr const char* kKnown[] = {"shmcb", "dbm", "memcache", "dc", "redis"};
  return std::find(std::begin(kKnown), std::end(kKnown), kind) != std::end(kKnown);
}

// Source  modules/ssl/ssl_engine_config.c ssl_cmd_SSLSessionCache
Complaint SetSessionCache(Builder& builder, Scope&, const Node& node, const Words& words) {
  if (SameIgnoringCase(words[0], "none") || SameIgnoringCase(words[0], "nonenotnull")) return kFine;
  const std::string kind = config::LowerCase(words[0].substr(0, words[0].find(':')));
  if (!IsKnownCache(kind)) return "SSLSessionCache: '" + kind + "' session cache not supported";
  builder.WarnOnce(node, "WARNING: SSLSessionCache " + kind +
                             " keeps nothing here: sessions are resumed by tickets, which every child and the next "
                             "instance understand; clients that know no tickets make a full handshake");
  return kFine;
}

// Source  modules/ssl/ssl_engine_config.c ssl_cmd_SSLStaplingCache
Complaint SetStaplingCache(Builder& builder, Scope&, const Node& node, const Words& words) {
  const std::string kind = words[0].substr(0, words[0].find(':'));
  if (!IsKnownCache(kind)) return "SSLStaplingCache: '" + kind + "' stapling cache not supported";
  builder.WarnOnce(node, "WARNING: SSLStaplingCache " + kind +
                             " keeps nothing here: what is stapled is in memory that all children share and in "
                             "httpd.stapling of the runtime directory, which the next instance reads");
  return kFine;
}

/// @param kLeast  the smallest number that is one
template <std::optional<int> SslSettings::*kSeconds, int kLeast = 0>
Complaint SetSeconds(Builder&, Scope& scope, const Node& node, const Words& words) {
  const auto seconds = config::Number(words[0]);
  if (!seconds || *seconds < kLeast || *seconds > std::numeric_limits<int>::max() / 4) {
    return node.name + ": invalid argument";
  }
  Of(scope).*kSeconds = static_cast<int>(*seconds);
  return kFine;
}

Complaint SetStaplingUrl(Builder&, Scope& scope, const Node&, const Words& words) {
  if (!words[0].starts_with("http://")) {
    return "SSLStaplingForceURL: '" + words[0] + "' is no address of a responder: http://host[:port]/path";
  }
  Of(scope).stapling_url = words[0];
  return kFine;
}

Complaint SetSniPolicy(Builder&, Scope& scope, const Node&, const Words& words) {
  static constexpr struct {
    const char* name;
    SslSniPolicy value;
  } kNames[] = {{"strict", SslSniPolicy::kStrict},
                {"secure", SslSniPolicy::kSecure},
                {"authonly", SslSniPolicy::kAuthOnly},
                {"insecure", SslSniPolicy::kInsecure}};
  for (const auto& known : kNames) {
    if (!SameIgnoringCase(words[0], known.name)) continue;
    Of(scope).sni_policy = known.value;
    return kFine;
  }
  return "Invalid SSLVhostSNIPolicy setting '" + words[0] + "'";
}

Complaint AddCommand(Builder&, Scope& scope, const Node& node, const Words& words) {
  Of(scope).commands.push_back({words[0], words[1], node.where});
  return kFine;
}

Complaint SetPassPhraseDialog(Builder& builder, Scope& scope, const Node&, const Words& words) {
  constexpr std::string_view kExec = "exec:";
  if (SameIgnoringCase(words[0], "builtin")) {
    Of(scope).pass_program.reset();
    return kFine;
  }
  if (words[0].starts_with(kExec)) {
    // Debian's ssl.conf names a program that is there only with its packages: it is looked for when a key is encrypted.
    Of(scope).pass_program = builder.Absolute(words[0].substr(kExec.size()));
    return kFine;
  }
  return "SSLPassPhraseDialog: '" + words[0] + "' is not supported: 'builtin' or 'exec:/path/to/program'";
}

// Source  modules/ssl/ssl_engine_config.c ssl_cmd_SSLRandomSeed
Complaint SetRandomSeed(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  if (!SameIgnoringCase(words[0], "startup") && !SameIgnoringCase(words[0], "connect")) {
    return "SSLRandomSeed: Invalid context: `" + words[0] + "'";
  }
  return config::SetMeaningless(builder, scope, node, words);
}

Complaint SetCryptoDevice(Builder&, Scope&, const Node&, const Words& words) {
  if (SameIgnoringCase(words[0], "builtin")) return kFine;
  return "SSLCryptoDevice: Invalid argument; must be one of: 'builtin' (none)";
}

Complaint SetOptions(Builder&, Scope& scope, const Node&, const Words& words) {
  static constexpr struct {
    const char* name;
    unsigned bit;
  } kNames[] = {{"StdEnvVars", kSslStdEnvVars},
                {"ExportCertData", kSslExportCertData},
                {"StrictRequire", kSslStrictRequire},
                {"FakeBasicAuth", kSslFakeBasicAuth},
                {"OptRenegotiate", 0},
                {"LegacyDNStringFormat", kSslLegacyDn}};
  auto& settings = config::SettingsOf<SslPlaceSettings>(scope);
  bool is_first = true;
  for (const std::string& word : words) {
    const char action = word[0] == '+' || word[0] == '-' ? word[0] : '\0';
    const std::string name = action != '\0' ? word.substr(1) : word;
    const auto* known = std::find_if(std::begin(kNames), std::end(kNames),
                                     [&](const auto& one) { return SameIgnoringCase(one.name, name); });
    if (known == std::end(kNames)) return "SSLOptions: Illegal option '" + name + "'";
    if (action == '-') {
      settings.remove |= known->bit;
      settings.add &= ~known->bit;
    } else if (action == '+') {
      settings.add |= known->bit;
      settings.remove &= ~known->bit;
    } else {
      settings.options = (is_first ? 0 : settings.options.value_or(0)) | known->bit;
      if (is_first) settings.add = settings.remove = 0;
      is_first = false;
    }
  }
  return kFine;
}

Complaint RequireSsl(Builder&, Scope& scope, const Node&, const Words&) {
  config::SettingsOf<SslPlaceSettings>(scope).require_ssl = true;
  return kFine;
}

Complaint AddRequirement(Builder&, Scope& scope, const Node& node, const Words&) {
  auto compiled = Expression::CompileSslRequire(
      node.arguments, scope.htaccess ? ExpressionFiles::kRefused : ExpressionFiles::kAllowed, node.where);
  if (!compiled) return "SSLRequire: " + compiled.error().what;
  config::SettingsOf<SslPlaceSettings>(scope).requirements.push_back({node.arguments, std::move(compiled).value()});
  return kFine;
}

Complaint SetUserName(Builder&, Scope& scope, const Node&, const Words& words) {
  config::SettingsOf<SslPlaceSettings>(scope).user_name = words[0];
  return kFine;
}

template <class T>
void Take(std::optional<T>& to, const std::optional<T>& inner) {
  if (inner) to = inner;
}

}  // namespace

Complaint TakeSslProtocols(Builder& builder, const Node& node, const Words& words, unsigned& out) {
  static constexpr struct {
    const char* name;
    unsigned bits;
  } kNames[] = {{"all", kTlsAll},    {"SSLv3", 0},        {"TLSv1", kTls10},
                {"TLSv1.1", kTls11}, {"TLSv1.2", kTls12}, {"TLSv1.3", kTls13}};
  unsigned protocols = 0;
  for (const std::string& word : words) {
    const char action = word[0] == '+' || word[0] == '-' ? word[0] : '\0';
    const std::string name = action != '\0' ? word.substr(1) : word;
    if (SameIgnoringCase(name, "SSLv2") && action != '-') return node.name + ": SSLv2 is no longer supported";
    if (SameIgnoringCase(name, "SSLv2")) continue;
    const auto* known = std::find_if(std::begin(kNames), std::end(kNames),
                                     [&](const auto& one) { return SameIgnoringCase(one.name, name); });
    if (known == std::end(kNames)) return node.name + ": Illegal protocol '" + name + "'";
    if (known->bits == 0 && action != '-') return node.name + ": SSLv3 not supported by this version of OpenSSL";
    if (action == '-') {
      protocols &= ~known->bits;
    } else if (action == '+') {
      protocols |= known->bits;
    } else {
      if (protocols != 0) {
        builder.Warn(node, "AH02532: " + node.name + ": Protocol '" + name +
                               "' overrides already set parameter(s). Check if a +/- prefix is missing.");
      }
      protocols = known->bits;
    }
  }
  if (protocols == 0) return "AH02231: No SSL protocols available [hint: " + node.name + "]";
  out = protocols;
  return kFine;
}

Complaint TakeSslVerify(const Node& node, const std::string& word, SslVerify& out) {
  static constexpr struct {
    const char* name;
    SslVerify value;
  } kNames[] = {{"none", SslVerify::kNone},         {"off", SslVerify::kNone},
                {"optional", SslVerify::kOptional}, {"require", SslVerify::kRequire},
                {"on", SslVerify::kRequire},        {"optional_no_ca", SslVerify::kOptionalNoCa}};
  for (const auto& known : kNames) {
    if (!SameIgnoringCase(word, known.name)) continue;
    out = known.value;
    return kFine;
  }
  return node.name + ": Invalid argument '" + word + "'";
}

Complaint TakeSslRevocation(const Node& node, const Words& words, SslRevocation& out, bool& is_crl_optional) {
  if (SameIgnoringCase(words[0], "none")) {
    out = SslRevocation::kNone;
  } else if (SameIgnoringCase(words[0], "leaf")) {
    out = SslRevocation::kLeaf;
  } else if (SameIgnoringCase(words[0], "chain")) {
    out = SslRevocation::kChain;
  } else {
    return node.name + ": Invalid argument '" + words[0] + "'";
  }
  for (size_t i = 1; i < words.size(); ++i) {
    if (!SameIgnoringCase(words[i], "no_crl_for_cert_ok")) {
      return node.name + ": Invalid argument '" + words[i] + "'";
    }
    is_crl_optional = true;
  }
  return kFine;
}

std::unique_ptr<config::ModuleSettings> SslSettings::MergedWith(const ModuleSettings& other) const {
  const auto& inner = static_cast<const SslSettings&>(other);
  auto out = std::make_unique<SslSettings>(*this);
  if (inner.engine) {
    out->engine = inner.engine;
    out->engine_where = inner.engine_where;
  }
  if (!inner.certificates.empty()) {
    out->certificates = inner.certificates;
    out->keys = inner.keys;
    out->chain = inner.chain;
  } else if (!inner.keys.empty()) {
    out->keys = inner.keys;
  }
  Take(out->chain, inner.chain);
  Take(out->ca_file, inner.ca_file);
  Take(out->ca_path, inner.ca_path);
  Take(out->ca_names_file, inner.ca_names_file);
  Take(out->ca_names_path, inner.ca_names_path);
  Take(out->crl_file, inner.crl_file);
  Take(out->crl_path, inner.crl_path);
  Take(out->revocation, inner.revocation);
  if (inner.revocation) out->is_crl_optional = inner.is_crl_optional;
  Take(out->protocols, inner.protocols);
  Take(out->ciphers, inner.ciphers);
  Take(out->ciphers_13, inner.ciphers_13);
  if (inner.ciphers || inner.ciphers_13) out->ciphers_where = inner.ciphers_where;
  Take(out->honor_order, inner.honor_order);
  Take(out->verify, inner.verify);
  Take(out->verify_depth, inner.verify_depth);
  Take(out->tickets, inner.tickets);
  Take(out->ticket_key, inner.ticket_key);
  Take(out->session_timeout_s, inner.session_timeout_s);
  Take(out->strict_sni, inner.strict_sni);
  Take(out->sni_policy, inner.sni_policy);
  Take(out->pass_program, inner.pass_program);
  Take(out->stapling, inner.stapling);
  Take(out->stapling_errors, inner.stapling_errors);
  Take(out->stapling_try_later, inner.stapling_try_later);
  Take(out->stapling_timeout_s, inner.stapling_timeout_s);
  Take(out->stapling_standard_s, inner.stapling_standard_s);
  Take(out->stapling_error_s, inner.stapling_error_s);
  Take(out->stapling_skew_s, inner.stapling_skew_s);
  Take(out->stapling_age_s, inner.stapling_age_s);
  Take(out->stapling_url, inner.stapling_url);
  out->commands.insert(out->commands.end(), inner.commands.begin(), inner.commands.end());
  return out;
}

std::unique_ptr<config::ModuleSettings> SslPlaceSettings::MergedWith(const ModuleSettings& other) const {
  const auto& inner = static_cast<const SslPlaceSettings&>(other);
  auto out = std::make_unique<SslPlaceSettings>(*this);
  if (inner.options) {
    *out = inner;
    out->require_ssl = require_ssl || inner.require_ssl;
    if (!inner.user_name) out->user_name = user_name;
    out->requirements = requirements;
    out->requirements.insert(out->requirements.end(), inner.requirements.begin(), inner.requirements.end());
    return out;
  }
  out->add = (add & ~inner.remove) | inner.add;
  out->remove = (remove & ~inner.add) | inner.remove;
  out->require_ssl = require_ssl || inner.require_ssl;
  Take(out->user_name, inner.user_name);
  out->requirements.insert(out->requirements.end(), inner.requirements.begin(), inner.requirements.end());
  return out;
}

const std::vector<config::Directive>& SslDirectives() {
  constexpr OnRead kNo = OnRead::kNo;
  static constexpr char kModule[] = "mod_ssl.c";
  static constexpr char kNoOcsp[] =
      "nobody is asked over the network about a client's certificate; SSLCARevocationFile holds what is revoked";
  using S = SslSettings;
  // clang-format off
  static const std::vector<config::Directive> own = {
      {"SSLEngine", kModule, kInHosts, Arity::kOne, "SSL switch for the protocol engine ('on', 'off')", kNo, SetEngine,
       "on|off", "off", "A host whose ports are all of Listen ... https speaks TLS without it."},
      {"SSLCertificateFile", kModule, kInHosts, Arity::kOne, "SSL Server Certificate file ('/path/to/file' - PEM encoded)", kNo, AddFile<&S::certificates>,
       "file", "", "The certificate, and behind it those that lead to its authority. Several lines give certificates of several kinds (RSA, ECDSA). Read before the children give up root, and again at each graceful restart."},
      {"SSLCertificateKeyFile", kModule, kInHosts, Arity::kOne, "SSL Server Private Key file ('/path/to/file' - PEM encoded)", kNo, AddFile<&S::keys>,
       "file", "", "One for each SSLCertificateFile, in the same order."},
      {"SSLCertificateChainFile", kModule, kInHosts, Arity::kOne, "SSL Server CA Certificate Chain file ('/path/to/file' - PEM encoded)", kNo, SetFile<&S::chain>, "file"},
      {"SSLCACertificateFile", kModule, kInHosts, Arity::kOne, "SSL CA Certificate file ('/path/to/file' - PEM encoded)", kNo, SetFile<&S::ca_file>, "file"},
      {"SSLCACertificatePath", kModule, kInHosts, Arity::kOne, "SSL CA Certificate path ('/path/to/dir' - contains PEM encoded files)", kNo, SetFile<&S::ca_path>, "directory"},
      {"SSLCADNRequestFile", kModule, kInHosts, Arity::kOne, "SSL CA Distinguished Name file ('/path/to/file' - PEM encoded to derive acceptable CA names to request)", kNo, SetFile<&S::ca_names_file>, "file"},
      {"SSLCADNRequestPath", kModule, kInHosts, Arity::kOne, "SSL CA Distinguished Name path ('/path/to/dir' - symlink hashes to PEM of acceptable CA names to request)", kNo, SetFile<&S::ca_names_path>, "directory"},
      {"SSLCARevocationFile", kModule, kInHosts, Arity::kOne, "SSL CA Certificate Revocation List (CRL) file ('/path/to/file' - PEM encoded)", kNo, SetFile<&S::crl_file>, "file"},
      {"SSLCARevocationPath", kModule, kInHosts, Arity::kOne, "SSL CA Certificate Revocation List (CRL) path ('/path/to/dir' - contains PEM encoded files)", kNo, SetFile<&S::crl_path>, "directory"},
      {"SSLCARevocationCheck", kModule, kInHosts, Arity::kAtLeastOne, "SSL CA Certificate Revocation List (CRL) checking mode", kNo, SetRevocation, "chain|leaf|none [no_crl_for_cert_ok]", "none"},
      {"SSLProtocol", kModule, kInHosts, Arity::kAtLeastOne, "Enable or disable various SSL protocols ('[+-][TLSv1|TLSv1.1|TLSv1.2|TLSv1.3] ...' - see manual)", kNo, SetProtocol,
       "[+|-]protocol ...", "all -SSLv3", "OpenSSL's own configuration may leave less: Debian's security level lets nobody speak TLS 1.0 and 1.1."},
      {"SSLCipherSuite", kModule, config::kAnywhere | config::kOverrideAuthConfig, Arity::kOneOrTwo, "Colon-delimited list of permitted SSL Ciphers, optional preceded by protocol identifier ('XXX:...:XXX' - see manual)", kNo, SetCiphers,
       "[SSL|TLSv1.3] cipher-spec", "OpenSSL's"},
      {"SSLHonorCipherOrder", kModule, kInHosts, Arity::kFlag, "Use the server's cipher ordering preference", kNo, SetFlag<&S::honor_order>, "on|off", "off"},
      {"SSLCompression", kModule, kInHosts, Arity::kFlag, "Enable SSL level compression (`on', `off')", kNo, StaysOff, "off", "off",
       "compression tells what is inside (CRIME)"},
      {"SSLInsecureRenegotiation", kModule, kInHosts, Arity::kFlag, "Enable support for insecure renegotiation", kNo, StaysOff, "off", "off",
       "no client may renegotiate"},
      {"SSLSessionTickets", kModule, kInHosts, Arity::kFlag, "Enable or disable TLS session tickets(`on', `off')", kNo, SetFlag<&S::tickets>,
       "on|off", "on", "Off: every connection begins with a full handshake. The keys are shared by all children, changed every 12 hours and handed to a successor in the runtime directory."},
      {"SSLSessionTicketKeyFile", kModule, kInHosts, Arity::kOne, "TLS session ticket encryption/decryption key file (RFC 5077) ('/path/to/file' - file with 48 bytes of random data)", kNo, SetFile<&S::ticket_key>,
       "file", "", "For several machines that must understand each other's tickets."},
      {"SSLSessionCache", kModule, kInServer, Arity::kOne, "SSL Session Cache storage ('none', 'nonenotnull', 'dbm:/path/to/file')", kNo, SetSessionCache,
       "type", "none", "Sessions are resumed by tickets, whatever is said; caches are accepted with a warning."},
      {"SSLSessionCacheTimeout", kModule, kInHosts, Arity::kOne, "SSL Session Cache object lifetime ('N' - number of seconds)", kNo, SetSessionTimeout,
       "seconds", "300", "How long a ticket can be used; at most 24 hours are certain."},
      {"SSLStrictSNIVHostCheck", kModule, kInHosts, Arity::kFlag, "Strict SNI virtual host checking", kNo, SetFlag<&S::strict_sni>, "on|off", "off"},
      {"SSLVHostSNIPolicy", kModule, kInServer, Arity::kOne, "SSL VirtualHost SNI compatibility policy setting", kNo, SetSniPolicy, "strict|secure|authonly|insecure", "secure"},
      {"SSLVerifyClient", kModule, config::kAnywhere | config::kOverrideAuthConfig, Arity::kOne, "SSL Client verify type ('none', 'optional', 'require', 'optional_no_ca')", kNo, SetVerify,
       "none|optional|require|optional_no_ca", "none", "For a whole host only: see Require ssl-verify-client for less."},
      {"SSLVerifyDepth", kModule, config::kAnywhere | config::kOverrideAuthConfig, Arity::kOne, "SSL Client verify depth ('N' - number of intermediate certificates)", kNo, SetVerifyDepth, "number", "1"},
      {"SSLOptions", kModule, kEverywhere, Arity::kAtLeastOne, "Set one or more options to configure the SSL engine('[+-]option[=value] ...' - see manual)", kNo, SetOptions,
       "[+|-]option ...", "", "StdEnvVars, ExportCertData, FakeBasicAuth, LegacyDNStringFormat. SSLRequireSSL and SSLRequire are always strict; OptRenegotiate has nothing to spare."},
      {"SSLRequireSSL", kModule, kInPlaces, Arity::kNone, "Require the SSL protocol for the per-directory context (no arguments)", kNo, RequireSsl},
      {"SSLRequire", kModule, kInPlaces, Arity::kRaw, "Require a boolean expression to evaluate to true for granting access(arbitrary complex boolean expression - see manual)", kNo, AddRequirement,
       "expression", "", "Requests with TLS for which it does not hold get 403, whatever else is said. Deprecated in Apache: Require expr can say it."},
      {"SSLUserName", kModule, kEverywhere, Arity::kOne, "Set user name to SSL variable value", kNo, SetUserName, "variable"},
      {"SSLOpenSSLConfCmd", kModule, kInHosts, Arity::kTwo, "OpenSSL configuration command", kNo, AddCommand, "command value", "", "As SSL_CONF_cmd(3) has them."},
      {"SSLPassPhraseDialog", kModule, kInServer, Arity::kOne, "SSL dialog mechanism for the pass phrase query ('builtin', '|/path/to/pipe_program', or 'exec:/path/to/cgi_program')", kNo, SetPassPhraseDialog,
       "builtin|exec:program", "builtin", "With builtin an encrypted key is refused: nobody is asked at a terminal. A program gets \"host:port\" and a number as arguments and says the phrase within a minute."},
      {"SSLRandomSeed", kModule, kInServer, Arity::kTwoOrThree, "SSL Pseudo Random Number Generator (PRNG) seeding source ('startup|connect builtin|file:/path|exec:/path [bytes]')", kNo, SetRandomSeed,
       "context source [bytes]", "", "OpenSSL seeds itself from the kernel."},
      {"SSLCryptoDevice", kModule, kInServer, Arity::kOne, "SSL external Crypto Device usage ('builtin', '...')", kNo, SetCryptoDevice, "builtin", "builtin"},
      {"SSLFIPS", kModule, kInServer, Arity::kFlag, "Enable FIPS-140 mode (`on', `off')", kNo, StaysOff, "off", "off", "OpenSSL's configuration file chooses its providers"},
      {"SSLUseStapling", kModule, kInHosts, Arity::kFlag, "SSL switch for the OCSP Stapling protocol (`on', `off')", kNo, SetFlag<&S::stapling>,
       "on|off", "off", "Responders are asked beside the loops, before anybody waits for the answer: no handshake ever does. The issuer's certificate is to stand behind the host's own in its file."},
      {"SSLStaplingCache", kModule, kInServer, Arity::kOne, "SSL Stapling Response Cache storage (`dbm:/path/to/file')", kNo, SetStaplingCache,
       "type", "", "Not needed, accepted with a warning: the answers are kept in shared memory and in httpd.stapling of the runtime directory."},
      {"SSLStaplingResponderTimeout", kModule, kInHosts, Arity::kOne, "SSL stapling option for OCSP responder timeout", kNo, SetSeconds<&S::stapling_timeout_s>, "seconds", "10"},
      {"SSLStaplingReturnResponderErrors", kModule, kInHosts, Arity::kFlag, "SSL stapling switch to return Status Errors Back to Client(`on', `off')", kNo, SetFlag<&S::stapling_errors>, "on|off", "on",
       "Off: clients are shown that a certificate is good, or nothing."},
      {"SSLStaplingFakeTryLater", kModule, kInHosts, Arity::kFlag, "SSL stapling switch to send tryLater response to client on error (`on', `off')", kNo, SetFlag<&S::stapling_try_later>, "on|off", "on"},
      {"SSLStaplingStandardCacheTimeout", kModule, kInHosts, Arity::kOne, "SSL stapling option for normal OCSP Response Cache Lifetime", kNo, SetSeconds<&S::stapling_standard_s>, "seconds", "3600",
       "How long until the responder is asked again. A good answer is shown to the end that it names, when nothing newer can be had."},
      {"SSLStaplingErrorCacheTimeout", kModule, kInHosts, Arity::kOne, "SSL stapling option for OCSP Response Error Cache Lifetime", kNo, SetSeconds<&S::stapling_error_s>, "seconds", "600"},
      {"SSLStaplingResponseTimeSkew", kModule, kInHosts, Arity::kOne, "SSL stapling option for maximum time difference in OCSP responses", kNo, SetSeconds<&S::stapling_skew_s>, "seconds", "300"},
      {"SSLStaplingResponseMaxAge", kModule, kInHosts, Arity::kOne, "SSL stapling option for maximum age of OCSP responses", kNo, SetSeconds<&S::stapling_age_s, -1>, "seconds", "-1"},
      {"SSLStaplingForceURL", kModule, kInHosts, Arity::kOne, "SSL stapling option to Force the OCSP Stapling URL", kNo, SetStaplingUrl, "uri", "", "Instead of the one that the certificate names."},
      {"SSLOCSPEnable", kModule, kInHosts, Arity::kAtLeastOne, "Enable use of OCSP to verify certificate revocation mode ('on', 'leaf', 'off')", kNo, StaysOff, "off", "off", kNoOcsp},
      {"SSLOCSPDefaultResponder", kModule, kInHosts, Arity::kOne, "URL of the default OCSP Responder", kNo, config::SetMeaningless, "uri", "", kNoOcsp},
      {"SSLOCSPOverrideResponder", kModule, kInHosts, Arity::kFlag, "Force use of the default responder URL ('on', 'off')", kNo, config::SetMeaningless, "on|off", "", kNoOcsp},
      {"SSLOCSPResponderTimeout", kModule, kInHosts, Arity::kOne, "OCSP responder query timeout", kNo, config::SetMeaningless, "seconds", "", kNoOcsp},
      {"SSLOCSPResponseTimeSkew", kModule, kInHosts, Arity::kOne, "Maximum time difference in OCSP responses", kNo, config::SetMeaningless, "seconds", "", kNoOcsp},
      {"SSLOCSPResponseMaxAge", kModule, kInHosts, Arity::kOne, "Maximum age of OCSP responses", kNo, config::SetMeaningless, "seconds", "", kNoOcsp},
      {"SSLOCSPUseRequestNonce", kModule, kInHosts, Arity::kFlag, "Whether OCSP queries use a nonce or not ('on', 'off')", kNo, config::SetMeaningless, "on|off", "", kNoOcsp},
      {"SSLOCSPProxyURL", kModule, kInHosts, Arity::kOne, "Proxy URL to use for OCSP requests", kNo, config::SetMeaningless, "url", "", kNoOcsp},
      {"SSLOCSPNoVerify", kModule, kInHosts, Arity::kFlag, "Do not verify OCSP Responder certificate ('on', 'off')", kNo, config::SetMeaningless, "on|off", "", kNoOcsp},
      {"SSLOCSPResponderCertificateFile", kModule, kInHosts, Arity::kOne, "Trusted OCSP responder certificates (PEM encoded file)", kNo, config::SetMeaningless, "file", "", kNoOcsp},
      {"SSLRenegBufferSize", kModule, kInPlaces, Arity::kOne, "Configure the amount of memory that will be used for buffering the request body if a per-location SSL renegotiation is required due to changed access control requirements", kNo, config::SetMeaningless,
       "bytes", "", "nothing is renegotiated."},
  };
  // clang-format on
  static const std::vector<config::Directive> table = [] {
    std::vector<config::Directive> all = own;
    all.insert(all.end(), proxy::TlsDirectives().begin(), proxy::TlsDirectives().end());
    return all;
  }();
  return table;
}

}  // namespace httpd::modules
