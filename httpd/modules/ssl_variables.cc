// The variables of mod_ssl. Source  httpd 2.4 manual, mod_ssl "Environment Variables"; modules/ssl/ssl_engine_vars.c
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <optional>

#include "httpd/http/ascii.h"
#include "httpd/modules/module.h"
#include "httpd/modules/ssl.h"
#include "httpd/modules/ssl_owned.h"
#include "httpd/modules/ssl_settings.h"
#include "httpd/net/tls_stream.h"

namespace httpd::modules {

namespace {

using std::string;
using std::string_view;

/// Where OpenSSL prints to.
class Print {
 public:
  BIO* bio() { return bio_.get(); }
  string Text() {
    char* data = nullptr;
    const long length = BIO_get_mem_data(bio_.get(), &data);
    return {data, static_cast<size_t>(std::max(length, 0L))};
  }

 private:
  SslOwned<BIO> bio_{::BIO_new(::BIO_s_mem())};
};

struct NameKey {
  string_view name;
  int nid;
};
constexpr NameKey kNameKeys[] = {{"C", NID_countryName},
                                 {"ST", NID_stateOrProvinceName},
                                 {"SP", NID_stateOrProvinceName},
                                 {"L", NID_localityName},
                                 {"O", NID_organizationName},
                                 {"OU", NID_organizationalUnitName},
                                 {"CN", NID_commonName},
                                 {"T", NID_title},
                                 {"I", NID_initials},
                                 {"G", NID_givenName},
                                 {"S", NID_surname},
                                 {"D", NID_description},
                                 {"UID", NID_userId},
                                 {"Email", NID_pkcs9_emailAddress}};

string NameText(const X509_NAME* name, bool is_legacy) {
  if (is_legacy) {
    char* line = ::X509_NAME_oneline(name, nullptr, 0);
    string out = line ? line : "";
    ::OPENSSL_free(line);
    return out;
  }
  Print print;
  ::X509_NAME_print_ex(print.bio(), name, 0, XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB));
  return print.Text();
}

string EntryText(const X509_NAME_ENTRY* entry) {
  unsigned char* utf8 = nullptr;
  const int length = ::ASN1_STRING_to_UTF8(&utf8, ::X509_NAME_ENTRY_get_data(entry));
  if (length < 0) {
    ::ERR_clear_error();
    return "";
  }
  string out(reinterpret_cast<char*>(utf8), static_cast<size_t>(length));
  ::OPENSSL_free(utf8);
  return out;
}

/// "CN", "OU_1": the entry of that kind with that number, from 0.
string NameEntry(const X509_NAME* name, string_view which) {
  int number = 0;
  if (const size_t line = which.rfind('_'); line != string_view::npos) {
    const auto [end, problem] = std::from_chars(which.data() + line + 1, which.data() + which.size(), number);
    if (problem != std::errc() || end != which.data() + which.size()) return "";
    which = which.substr(0, line);
  }
  for (const NameKey& key : kNameKeys) {
    if (key.name != which) continue;
    int at = -1;
    do {
      at = ::X509_NAME_get_index_by_NID(name, key.nid, at);
    } while (at >= 0 && number-- > 0);
    return at < 0 ? "" : EntryText(::X509_NAME_get_entry(name, at));
  }
  return "";
}

string TimeText(const ASN1_TIME* time) {
  Print print;
  ::ASN1_TIME_print(print.bio(), time);
  return print.Text();
}

string Remaining(const X509* certificate) {
  int days = 0, seconds = 0;
  if (::ASN1_TIME_diff(&days, &seconds, nullptr, ::X509_get0_notAfter(certificate)) != 1 || days < 0) return "0";
  return std::to_string(days);
}

string Serial(const X509* certificate) {
  Print print;
  ::i2a_ASN1_INTEGER(print.bio(), ::X509_get0_serialNumber(certificate));
  return print.Text();
}

string Pem(X509* certificate) {
  Print print;
  ::PEM_write_bio_X509(print.bio(), certificate);
  return print.Text();
}

string SignatureName(const X509* certificate) {
  const int nid = ::X509_get_signature_nid(certificate);
  return nid == NID_undef ? "UNKNOWN" : ::OBJ_nid2ln(nid);
}

string KeyName(const X509* certificate) {
  ASN1_OBJECT* algorithm = nullptr;
  ::X509_PUBKEY_get0_param(&algorithm, nullptr, nullptr, nullptr, ::X509_get_X509_PUBKEY(certificate));
  const int nid = ::OBJ_obj2nid(algorithm);
  return nid == NID_undef ? "UNKNOWN" : ::OBJ_nid2ln(nid);
}

/// "{ serialNumber 5, issuer rdnSequence:\"CN=x\" }". Source  RFC 4523, CertificateExactAssertion
string ExactAssertion(const X509* certificate) {
  BIGNUM* number = ::ASN1_INTEGER_to_BN(::X509_get0_serialNumber(certificate), nullptr);
  char* decimal = number ? ::BN_bn2dec(number) : nullptr;
  string out = string("{ serialNumber ") + (decimal ? decimal : "") + ", issuer rdnSequence:\"" +
               NameText(::X509_get_issuer_name(certificate), false) + "\" }";
  ::OPENSSL_free(decimal);
  ::BN_free(number);
  return out;
}

std::vector<string> AlternativeNames(const X509* certificate, int kind) {
  std::vector<string> out;
  auto* names = static_cast<GENERAL_NAMES*>(::X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != kind) continue;
    const ASN1_IA5STRING* text = kind == GEN_DNS ? name->d.dNSName : name->d.rfc822Name;
    out.emplace_back(reinterpret_cast<const char*>(::ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(::ASN1_STRING_length(text)));
  }
  ::GENERAL_NAMES_free(names);
  return out;
}

string AlternativeName(const X509* certificate, string_view which) {
  const bool is_dns = which.starts_with("DNS_");
  if (!is_dns && !which.starts_with("Email_")) return "";
  which.remove_prefix(is_dns ? 4 : 6);
  size_t number = 0;
  const auto [end, problem] = std::from_chars(which.data(), which.data() + which.size(), number);
  if (problem != std::errc() || end != which.data() + which.size()) return "";
  const auto names = AlternativeNames(certificate, is_dns ? GEN_DNS : GEN_EMAIL);
  return number < names.size() ? names[number] : "";
}

/// As OpenSSL prints it; of those that it does not know, a text that it holds.
string ExtensionText(X509_EXTENSION* extension) {
  Print print;
  if (::X509V3_EXT_print(print.bio(), extension, 0, 0) == 1) return print.Text();
  const ASN1_OCTET_STRING* held = ::X509_EXTENSION_get_data(extension);
  const unsigned char* data = ::ASN1_STRING_get0_data(held);
  Print text;
  if (ASN1_STRING* found = ::d2i_DISPLAYTEXT(nullptr, &data, ::ASN1_STRING_length(held))) {
    ::ASN1_STRING_print_ex(text.bio(), found, ASN1_STRFLGS_UTF8_CONVERT);
    ::ASN1_STRING_free(found);
  }
  return text.Text();
}

/// `name` without SSL_CLIENT_ or SSL_SERVER_.
string CertificateValue(X509* certificate, string_view name, bool is_legacy) {
  if (name == "M_VERSION") return std::to_string(::X509_get_version(certificate) + 1);
  if (name == "M_SERIAL") return Serial(certificate);
  if (name == "V_START") return TimeText(::X509_get0_notBefore(certificate));
  if (name == "V_END") return TimeText(::X509_get0_notAfter(certificate));
  if (name == "V_REMAIN") return Remaining(certificate);
  if (name == "A_SIG") return SignatureName(certificate);
  if (name == "A_KEY") return KeyName(certificate);
  if (name == "CERT") return Pem(certificate);
  if (name == "CERT_RFC4523_CEA") return ExactAssertion(certificate);
  if (name.starts_with("SAN_")) return AlternativeName(certificate, name.substr(4));
  for (const bool subject : {true, false}) {
    const string_view prefix = subject ? "S_DN" : "I_DN";
    if (!name.starts_with(prefix)) continue;
    const X509_NAME* dn = subject ? ::X509_get_subject_name(certificate) : ::X509_get_issuer_name(certificate);
    if (name == prefix) return NameText(dn, is_legacy);
    if (name[prefix.size()] == '_') return NameEntry(dn, name.substr(prefix.size() + 1));
  }
  return "";
}

string Verified(const SSL* ssl) {
  if (!::SSL_get0_peer_certificate(ssl)) return "NONE";
  return ::SSL_get_verify_result(ssl) == X509_V_OK ? "SUCCESS" : "GENEROUS";
}

string ChainCertificate(const SSL* ssl, string_view number) {
  size_t which = 0;
  const auto [end, problem] = std::from_chars(number.data(), number.data() + number.size(), which);
  if (problem != std::errc() || end != number.data() + number.size()) return "";
  // Of a server, the chain that was sent is without the client's own.
  STACK_OF(X509)* chain = ::SSL_get_peer_cert_chain(ssl);
  return chain && which < static_cast<size_t>(sk_X509_num(chain)) ? Pem(sk_X509_value(chain, static_cast<int>(which)))
                                                                  : "";
}

string SessionId(const SSL* ssl) {
  unsigned length = 0;
  const SSL_SESSION* session = ::SSL_get_session(ssl);
  const unsigned char* id = session ? ::SSL_SESSION_get_id(session, &length) : nullptr;
  static constexpr char kHex[] = "0123456789abcdef";
  string out;
  for (unsigned i = 0; id && i < length; ++i) {
    out += kHex[id[i] >> 4];
    out += kHex[id[i] & 15];
  }
  return out;
}

/// "OpenSSL/3.0.19"
string Library() {
  const string_view full = ::OpenSSL_version(OPENSSL_VERSION);
  const size_t first = full.find(' ');
  return string(full.substr(0, first)) + "/" + string(full.substr(first + 1, full.find(' ', first + 1) - first - 1));
}

string ConnectionValue(SSL* ssl, string_view name) {
  if (name == "PROTOCOL") return ::SSL_get_version(ssl);
  if (name == "CIPHER") return ::SSL_CIPHER_get_name(::SSL_get_current_cipher(ssl));
  if (name == "CIPHER_EXPORT") return "false";
  if (name == "CIPHER_USEKEYSIZE") return std::to_string(::SSL_CIPHER_get_bits(::SSL_get_current_cipher(ssl), nullptr));
  if (name == "CIPHER_ALGKEYSIZE") {
    int bits = 0;
    ::SSL_CIPHER_get_bits(::SSL_get_current_cipher(ssl), &bits);
    return std::to_string(bits);
  }
  if (name == "COMPRESS_METHOD") return "NULL";
  if (name == "SECURE_RENEG") return SSL_get_secure_renegotiation_support(ssl) != 0 ? "true" : "false";
  if (name == "SESSION_ID") return SessionId(ssl);
  if (name == "SESSION_RESUMED") return ::SSL_session_reused(ssl) != 0 ? "Resumed" : "Initial";
  if (name == "TLS_SNI") {
    const char* sni = ::SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    return sni ? sni : "";
  }
  if (name == "VERSION_INTERFACE") return string(kProduct);
  if (name == "VERSION_LIBRARY") return Library();
  if (name == "CLIENT_VERIFY") return Verified(ssl);
  return "";
}

bool IsLegacy(const RequestState& state) {
  const auto* place = SettingsFor<SslPlaceSettings>(state);
  return place && (place->Options() & kSslLegacyDn) != 0;
}

X509* CertificateOf(SSL* ssl, bool of_client) {
  return of_client ? ::SSL_get0_peer_certificate(ssl) : ::SSL_get_certificate(ssl);
}

void SetNameVariables(RequestState& state, const string& prefix, const X509_NAME* name) {
  std::map<string_view, int> counts;
  for (int i = 0; i < ::X509_NAME_entry_count(name); ++i) {
    const X509_NAME_ENTRY* entry = ::X509_NAME_get_entry(name, i);
    const int nid = ::OBJ_obj2nid(::X509_NAME_ENTRY_get_object(entry));
    for (const NameKey& key : kNameKeys) {
      if (key.nid != nid || key.name == "SP") continue;
      const int number = counts[key.name]++;
      // The first of a kind has no number.
      state.environment.Set(prefix + string(key.name) + (number == 0 ? "" : "_" + std::to_string(number)),
                            EntryText(entry));
    }
  }
}

void SetCertificateVariables(RequestState& state, const string& prefix, X509* certificate) {
  SetNameVariables(state, prefix + "S_DN_", ::X509_get_subject_name(certificate));
  SetNameVariables(state, prefix + "I_DN_", ::X509_get_issuer_name(certificate));
  for (const bool dns : {false, true}) {
    const auto names = AlternativeNames(certificate, dns ? GEN_DNS : GEN_EMAIL);
    for (size_t i = 0; i < names.size(); ++i) {
      state.environment.Set(prefix + (dns ? "SAN_DNS_" : "SAN_Email_") + std::to_string(i), names[i]);
    }
  }
}

// Source  modules/ssl/ssl_engine_kernel.c ssl_hook_Fixup_vars
constexpr const char* kStandard[] = {
    "SSL_VERSION_INTERFACE", "SSL_VERSION_LIBRARY", "SSL_PROTOCOL",         "SSL_SECURE_RENEG",
    "SSL_COMPRESS_METHOD",   "SSL_CIPHER",          "SSL_CIPHER_EXPORT",    "SSL_CIPHER_USEKEYSIZE",
    "SSL_CIPHER_ALGKEYSIZE", "SSL_CLIENT_VERIFY",   "SSL_CLIENT_M_VERSION", "SSL_CLIENT_M_SERIAL",
    "SSL_CLIENT_V_START",    "SSL_CLIENT_V_END",    "SSL_CLIENT_V_REMAIN",  "SSL_CLIENT_S_DN",
    "SSL_CLIENT_I_DN",       "SSL_CLIENT_A_KEY",    "SSL_CLIENT_A_SIG",     "SSL_CLIENT_CERT_RFC4523_CEA",
    "SSL_SERVER_M_VERSION",  "SSL_SERVER_M_SERIAL", "SSL_SERVER_V_START",   "SSL_SERVER_V_END",
    "SSL_SERVER_S_DN",       "SSL_SERVER_I_DN",     "SSL_SERVER_A_KEY",     "SSL_SERVER_A_SIG",
    "SSL_SESSION_ID",        "SSL_SESSION_RESUMED"};

}  // namespace

string SslVariable(const RequestState& state, string_view name) {
  const net::TlsStream* stream = state.request->tls;
  if (http::EqualsIgnoreCase(name, "HTTPS")) return stream ? "on" : "off";
  if (!stream || !name.starts_with("SSL_")) return "";
  SSL* ssl = stream->ssl();
  name.remove_prefix(4);
  string value = ConnectionValue(ssl, name);
  if (value.empty() && name.starts_with("CLIENT_CERT_CHAIN_")) return ChainCertificate(ssl, name.substr(18));
  const bool of_client = name.starts_with("CLIENT_");
  if (!value.empty() || (!of_client && !name.starts_with("SERVER_"))) return value;
  X509* certificate = CertificateOf(ssl, of_client);
  return certificate ? CertificateValue(certificate, name.substr(7), IsLegacy(state)) : "";
}

bool IsInClientExtensions(const RequestState& state, string_view value, const string& extension) {
  const net::TlsStream* stream = state.request->tls;
  const X509* certificate = stream ? ::SSL_get0_peer_certificate(stream->ssl()) : nullptr;
  if (!certificate) return false;
  ASN1_OBJECT* kind = ::OBJ_txt2obj(extension.c_str(), 0);
  bool is_in = false;
  for (int at = -1; kind && !is_in && (at = ::X509_get_ext_by_OBJ(certificate, kind, at)) >= 0;) {
    is_in = ExtensionText(::X509_get_ext(certificate, at)) == value;
  }
  ::ASN1_OBJECT_free(kind);
  ::ERR_clear_error();
  return is_in;
}

string LoggedSslVariable(const RequestState& state, string_view name) {
  static constexpr std::pair<string_view, string_view> kOld[] = {{"version", "SSL_PROTOCOL"},
                                                                 {"cipher", "SSL_CIPHER"},
                                                                 {"subjectdn", "SSL_CLIENT_S_DN"},
                                                                 {"issuerdn", "SSL_CLIENT_I_DN"}};
  for (const auto& [old, now] : kOld) {
    if (name == old) return SslVariable(state, now);
  }
  string value = SslVariable(state, name);
  if (!value.empty()) return value;
  const string* set = state.environment.Find(name);
  return set ? *set : "";
}

void SetSslVariables(RequestState& state, unsigned options) {
  SSL* ssl = state.request->tls->ssl();
  if ((options & kSslStdEnvVars) != 0) {
    for (const char* name : kStandard) {
      string value = SslVariable(state, name);
      if (!value.empty()) state.environment.Set(name, std::move(value));
    }
    for (const bool of_client : {false, true}) {
      X509* certificate = CertificateOf(ssl, of_client);
      if (certificate) SetCertificateVariables(state, of_client ? "SSL_CLIENT_" : "SSL_SERVER_", certificate);
    }
  }
  if ((options & kSslExportCertData) == 0) return;
  for (const char* name : {"SSL_SERVER_CERT", "SSL_CLIENT_CERT"}) state.environment.Set(name, SslVariable(state, name));
  STACK_OF(X509)* chain = ::SSL_get_peer_cert_chain(ssl);
  for (int i = 0; chain && i < sk_X509_num(chain); ++i) {
    state.environment.Set("SSL_CLIENT_CERT_CHAIN_" + std::to_string(i), Pem(sk_X509_value(chain, i)));
  }
}

}  // namespace httpd::modules
