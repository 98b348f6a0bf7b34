// What the SSLProxy... directives say. Source  httpd 2.4 manual, mod_ssl; modules/ssl/ssl_engine_config.c
#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/proxy_tls.h"
#include "httpd/modules/ssl.h"

namespace httpd::modules::proxy {

namespace {

using config::Arity;
using config::Builder;
using config::Complaint;
using config::Node;
using config::SameIgnoringCase;
using config::Scope;
using Words = std::vector<std::string>;

constexpr std::nullopt_t kFine = std::nullopt;

/// Server, <VirtualHost> or <Proxy>.
Complaint Begin(Scope& scope, const Node& node, TlsSettings*& out) {
  if (scope.section && scope.section->kind != config::Section::Kind::kProxy) {
    return node.name + " cannot occur within " + (scope.parent ? scope.parent->name : "<Directory") + "> section";
  }
  out = &config::SettingsOf<TlsSettings>(scope);
  out->where = node.where;
  return kFine;
}

template <std::optional<bool> TlsSettings::*kFlag>
Complaint SetFlag(Builder&, Scope& scope, const Node& node, const Words& words) {
  TlsSettings* settings = nullptr;
  if (auto complaint = Begin(scope, node, settings)) return complaint;
  bool on = false;
  if (auto complaint = config::TakeFlag(node, words[0], on)) return complaint;
  settings->*kFlag = on;
  return kFine;
}

template <std::optional<SslFile> TlsSettings::*kFile>
Complaint SetFile(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  TlsSettings* settings = nullptr;
  if (auto complaint = Begin(scope, node, settings)) return complaint;
  settings->*kFile = SslFile{builder.Absolute(words[0]), node.where};
  return kFine;
}

Complaint SetProtocol(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  TlsSettings* settings = nullptr;
  if (auto complaint = Begin(scope, node, settings)) return complaint;
  unsigned protocols = 0;
  if (auto complaint = TakeSslProtocols(builder, node, words, protocols)) return complaint;
  settings->protocols = protocols;
  return kFine;
}

Complaint SetCiphers(Builder&, Scope& scope, const Node& node, const Words& words) {
  TlsSettings* settings = nullptr;
  if (auto complaint = Begin(scope, node, settings)) return complaint;
  if (words.size() > 1 && SameIgnoringCase(words[0], "TLSv1.3")) {
    settings->ciphers_13 = words[1];
    return kFine;
  }
  if (words.size() > 1 && !SameIgnoringCase(words[0], "SSL")) {
    return node.name + ": protocol '" + words[0] + "' is not known: SSL or TLSv1.3";
  }
  settings->ciphers = words.back() + ":!aNULL:!eNULL:!EXP";  // never without, as in Apache
  return kFine;
}

Complaint SetVerify(Builder&, Scope& scope, const Node& node, const Words& words) {
  TlsSettings* settings = nullptr;
  if (auto complaint = Begin(scope, node, settings)) return complaint;
  SslVerify verify = SslVerify::kNone;
  if (auto complaint = TakeSslVerify(node, words[0], verify)) return complaint;
  settings->verify = verify;
  return kFine;
}

Complaint SetVerifyDepth(Builder&, Scope& scope, const Node& node, const Words& words) {
  TlsSettings* settings = nullptr;
  if (auto complaint = Begin(scope, node, settings)) return complaint;
  const auto depth = config::Number(words[0]);
  if (!depth || *depth < 0 || *depth > 100) return node.name + ": Invalid argument '" + words[0] + "'";
  settings->verify_depth = static_cast<int>(*depth);
  return kFine;
}

Complaint SetRevocation(Builder&, Scope& scope, const Node& node, const Words& words) {
  TlsSettings* settings = nullptr;
  if (auto complaint = Begin(scope, node, settings)) return complaint;
  SslRevocation revocation = SslRevocation::kNone;
  bool is_optional = false;
  if (auto complaint = TakeSslRevocation(node, words, revocation, is_optional)) return complaint;
  settings->revocation = revocation;
  settings->is_crl_optional = is_optional;
  return kFine;
}

}  // namespace

const std::vector<config::Directive>& TlsDirectives() {
  constexpr config::OnRead kNo = config::OnRead::kNo;
  constexpr unsigned kWhere = config::kAnywhere;
  static constexpr char kModule[] = "mod_ssl.c";
  using S = TlsSettings;
  // clang-format off
  static const std::vector<config::Directive> table = {
      {"SSLProxyEngine", kModule, kWhere, Arity::kFlag, "SSL switch for the proxy protocol engine ('on', 'off')", kNo, SetFlag<&S::engine>,
       "on|off", "off", "For https:// and wss:// backends; without it their requests are answered with 500. As all SSLProxy directives in a host or in <Proxy>."},
      {"SSLProxyProtocol", kModule, kWhere, Arity::kAtLeastOne, "SSL Proxy: enable or disable SSL protocol flavors ('[+-][TLSv1|TLSv1.1|TLSv1.2|TLSv1.3] ...' - see manual)", kNo, SetProtocol, "[+|-]protocol ...", "all -SSLv3"},
      {"SSLProxyCipherSuite", kModule, kWhere, Arity::kOneOrTwo, "SSL Proxy: colon-delimited list of permitted SSL ciphers ('XXX:...:XXX' - see manual)", kNo, SetCiphers, "[SSL|TLSv1.3] cipher-spec", "OpenSSL's"},
      {"SSLProxyVerify", kModule, kWhere, Arity::kOne, "SSL Proxy: whether to verify the remote certificate ('on' or 'off')", kNo, SetVerify,
       "none|optional|require|optional_no_ca", "none", "require: a backend whose certificate nobody has signed that is in SSLProxyCACertificateFile is not spoken to: 502, with a line in the error log."},
      {"SSLProxyVerifyDepth", kModule, kWhere, Arity::kOne, "SSL Proxy: maximum certificate verification depth ('N' - number of intermediate certificates)", kNo, SetVerifyDepth, "number", "1"},
      {"SSLProxyCACertificateFile", kModule, kWhere, Arity::kOne, "SSL Proxy: file containing server certificates ('/path/to/file' - PEM encoded certificates)", kNo, SetFile<&S::ca_file>,
       "file", "", "Read before the children give up root, and again at each graceful restart."},
      {"SSLProxyCACertificatePath", kModule, kWhere, Arity::kOne, "SSL Proxy: directory containing server certificates ('/path/to/dir' - contains PEM encoded certificates)", kNo, SetFile<&S::ca_path>, "directory"},
      {"SSLProxyCARevocationFile", kModule, kWhere, Arity::kOne, "SSL Proxy: CA Certificate Revocation List (CRL) file ('/path/to/file' - PEM encoded)", kNo, SetFile<&S::crl_file>, "file"},
      {"SSLProxyCARevocationPath", kModule, kWhere, Arity::kOne, "SSL Proxy: CA Certificate Revocation List (CRL) path ('/path/to/dir' - contains PEM encoded files)", kNo, SetFile<&S::crl_path>, "directory"},
      {"SSLProxyCARevocationCheck", kModule, kWhere, Arity::kAtLeastOne, "SSL Proxy: CA Certificate Revocation List (CRL) checking mode", kNo, SetRevocation, "chain|leaf|none [no_crl_for_cert_ok]", "none"},
      {"SSLProxyMachineCertificateFile", kModule, kWhere, Arity::kOne, "SSL Proxy: file containing client certificates ('/path/to/file' - PEM encoded certificates)", kNo, SetFile<&S::own_file>,
       "file", "", "Certificates and their keys, not encrypted. The first that an authority has signed which the backend names is shown."},
      {"SSLProxyMachineCertificatePath", kModule, kWhere, Arity::kOne, "SSL Proxy: directory containing client certificates ('/path/to/dir' - contains PEM encoded certificates)", kNo, SetFile<&S::own_path>, "directory"},
      {"SSLProxyMachineCertificateChainFile", kModule, kWhere, Arity::kOne, "SSL Proxy: file containing issuing certificates of the client certificate (`/path/to/file' - PEM encoded certificates)", kNo, SetFile<&S::own_chain>, "file"},
      {"SSLProxyCheckPeerExpire", kModule, kWhere, Arity::kFlag, "SSL Proxy: check the peer certificate's expiration date", kNo, SetFlag<&S::checks_expiry>, "on|off", "on"},
      {"SSLProxyCheckPeerCN", kModule, kWhere, Arity::kFlag, "SSL Proxy: check the peer certificate's CN", kNo, SetFlag<&S::checks_common_name>,
       "on|off", "on", "Only where SSLProxyCheckPeerName is off, or to switch both off."},
      {"SSLProxyCheckPeerName", kModule, kWhere, Arity::kFlag, "SSL Proxy: check the peer certificate's name (must be present in subjectAltName extensions", kNo, SetFlag<&S::checks_name>,
       "on|off", "on", "The name is the backend's, with ProxyPreserveHost that of the request; addresses in subjectAltName count for backends that are named by their address."},
  };
  // clang-format on
  return table;
}

}  // namespace httpd::modules::proxy
