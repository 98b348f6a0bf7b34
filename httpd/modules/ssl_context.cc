#include "httpd/modules/ssl_context.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "httpd/config/tree.h"
#include "httpd/modules/module.h"
#include "httpd/modules/site.h"
#include "httpd/modules/ssl_keys.h"
#include "httpd/modules/ssl_setup.h"

namespace httpd::modules {

namespace {

using config::Host;
using config::LogLevel;
using config::SourceLine;
using net::TlsStream;

constexpr int kDefaultTimeoutSeconds = 300;  // SSLSessionCacheTimeout
constexpr size_t kIvBytes = 16;

os::Error At(const SourceLine& where, const std::string& what) {
  return config::SyntaxError(where, what);
}

const SslHost& HostOf(const SSL* ssl) {
  return *static_cast<const SslHost*>(SSL_CTX_get_app_data(::SSL_get_SSL_CTX(ssl)));
}

std::string AddressOf(const TlsStream& stream) {
  net::Request request;
  request.fd = stream.fd();
  return LocalAddressOf(request);
}

// ---- what OpenSSL asks ----------------------------------------------------------------------------------------------

/// The first name of the server_name extension; "" = none. Source  RFC 6066, 3
std::string_view NameInHello(SSL* ssl) {
  const unsigned char* data = nullptr;
  size_t length = 0;
  if (::SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &length) != 1) return {};
  const auto number = [data](size_t at) { return static_cast<size_t>(data[at]) << 8 | data[at + 1]; };
  constexpr size_t kHead = 5;  // of the list, and the kind and length of its first name
  if (length < kHead || number(0) + 2 != length || data[2] != TLSEXT_NAMETYPE_host_name) return {};
  const size_t name = number(3);
  if (name + kHead > length) return {};
  return {reinterpret_cast<const char*>(data) + kHead, name};
}

/// The client has named a host: its certificate and its terms, before anything is decided.
int OnHello(SSL* ssl, int*, void* site_pointer) {
  const auto& site = *static_cast<const SslSite*>(site_pointer);
  auto& stream = *static_cast<TlsStream*>(SSL_get_app_data(ssl));
  const std::string_view name = NameInHello(ssl);
  if (name.empty()) return SSL_CLIENT_HELLO_SUCCESS;
  const int index = site.site().Select(stream.port(), name, [&stream] { return AddressOf(stream); });
  const SslHost* host = site.HostAt(index);
  if (!host || index == stream.host) return SSL_CLIENT_HELLO_SUCCESS;
  stream.host = index;
  SSL_CTX* context = host->context.get();
  ::SSL_set_SSL_CTX(ssl, context);
  // What SSL_new(3) has copied from the context before.
  ::SSL_clear_options(ssl, ::SSL_get_options(ssl));
  ::SSL_set_options(ssl, ::SSL_CTX_get_options(context));
  SSL_set_min_proto_version(ssl, SSL_CTX_get_min_proto_version(context));
  SSL_set_max_proto_version(ssl, SSL_CTX_get_max_proto_version(context));
  ::SSL_set_verify(ssl, ::SSL_CTX_get_verify_mode(context), ::SSL_CTX_get_verify_callback(context));
  ::SSL_set_num_tickets(ssl, ::SSL_CTX_get_num_tickets(context));
  ::SSL_set_ciphersuites(
      ssl, host->settings->ciphers_13 ? host->settings->ciphers_13->c_str() : OSSL_default_ciphersuites());
  return SSL_CLIENT_HELLO_SUCCESS;
}

int OnAlpn(SSL*, const unsigned char** chosen, unsigned char* chosen_length, const unsigned char* offered,
           unsigned offered_length, void* host_pointer) {
  const std::string& ours = static_cast<const SslHost*>(host_pointer)->protocols;
  const bool is_ours = static_cast<const SslHost*>(host_pointer)->honors_protocol_order;
  const auto* wanted = reinterpret_cast<const unsigned char*>(ours.data());
  const auto wanted_length = static_cast<unsigned>(ours.size());
  unsigned char* found = nullptr;  // in the list of whoever decides
  const int result =
      is_ours ? ::SSL_select_next_proto(&found, chosen_length, wanted, wanted_length, offered, offered_length)
              : ::SSL_select_next_proto(&found, chosen_length, offered, offered_length, wanted, wanted_length);
  if (result != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;  // as Apache: HTTP/1.1 without a word
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

bool IsUnknownAuthority(int error) {
  return error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT || error == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
         error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY || error == X509_V_ERR_CERT_UNTRUSTED ||
         error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

int OnCertificate(int is_good, X509_STORE_CTX* check) {
  auto* ssl = static_cast<SSL*>(::X509_STORE_CTX_get_ex_data(check, ::SSL_get_ex_data_X509_STORE_CTX_idx()));
  const SslSettings& settings = *HostOf(ssl).settings;
  const int error = ::X509_STORE_CTX_get_error(check);
  if (!is_good && settings.verify.value_or(SslVerify::kNone) == SslVerify::kOptionalNoCa && IsUnknownAuthority(error)) {
    is_good = 1;
  }
  if (!is_good && settings.is_crl_optional && error == X509_V_ERR_UNABLE_TO_GET_CRL) {
    ::X509_STORE_CTX_set_error(check, X509_V_OK);
    is_good = 1;
  }
  // OpenSSL counts what stands between; the directive counts from the client's own, which is 0.
  if (is_good && ::X509_STORE_CTX_get_error_depth(check) > settings.verify_depth.value_or(1)) {
    ::X509_STORE_CTX_set_error(check, X509_V_ERR_CERT_CHAIN_TOO_LONG);
    is_good = 0;
  }
  return is_good;
}

/// The client wants to know what the certificate's authority says about it.
int OnStatus(SSL* ssl, void* site_pointer) {
  const auto& site = *static_cast<const SslSite*>(site_pointer);
  const X509* certificate = ::SSL_get_certificate(ssl);
  if (!certificate) return SSL_TLSEXT_ERR_NOACK;
  const std::string shown = site.stapling().Shown(certificate, *HostOf(ssl).settings, std::time(nullptr));
  auto* copy = shown.empty() ? nullptr : static_cast<unsigned char*>(::OPENSSL_memdup(shown.data(), shown.size()));
  if (!copy) return SSL_TLSEXT_ERR_NOACK;
  SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(shown.size()));
  return SSL_TLSEXT_ERR_OK;
}

/// Algorithms, looked for once: OpenSSL would for each ticket.
struct TicketAlgorithms {
  EVP_CIPHER* aes_256 = ::EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
  EVP_CIPHER* aes_128 = ::EVP_CIPHER_fetch(nullptr, "AES-128-CBC", nullptr);
};
const TicketAlgorithms& Algorithms() {
  static const TicketAlgorithms algorithms;
  return algorithms;
}

bool UseKey(const TicketKey& key, bool is_from_file, const unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
            bool encrypt) {
  const EVP_CIPHER* with = is_from_file ? Algorithms().aes_128 : Algorithms().aes_256;
  char digest[] = "SHA256";
  OSSL_PARAM params[] = {
      ::OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(key.signature),
                                          is_from_file ? kIvBytes : sizeof key.signature),
      ::OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), ::OSSL_PARAM_construct_end()};
  return ::EVP_CipherInit_ex(cipher, with, nullptr, key.cipher, iv, encrypt ? 1 : 0) == 1 &&
         ::EVP_MAC_CTX_set_params(mac, params) == 1;
}

/// @return as SSL_CTX_set_tlsext_ticket_key_evp_cb(3) has it
int OnTicket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int encrypt) {
  const SslHost& host = HostOf(ssl);
  TicketKey shared[TicketKeys::kKept];
  const bool is_own = !host.own_keys.empty();
  const size_t count = is_own ? 1 : host.site->keys().Read(shared);
  const TicketKey* keys = is_own ? host.own_keys.data() : shared;
  if (encrypt != 0) {
    if (count == 0) return 0;  // no ticket
    if (::RAND_bytes(iv, kIvBytes) != 1) return -1;
    std::memcpy(name, keys[0].name, sizeof keys[0].name);
    return UseKey(keys[0], is_own, iv, cipher, mac, true) ? 1 : -1;
  }
  for (size_t i = 0; i < count; ++i) {
    if (std::memcmp(name, keys[i].name, sizeof keys[i].name) != 0) continue;
    if (!UseKey(keys[i], is_own, iv, cipher, mac, false)) return -1;
    return i == 0 ? 1 : 2;
  }
  return 0;
}

// ---- a host's context -----------------------------------------------------------------------------------------------

/// What tells one host's setup from another's.
class Setup {
 public:
  Setup& Add(const std::string& text) {
    text_.append(std::to_string(text.size())).append(":").append(text);
    return *this;
  }
  Setup& Add(const std::optional<SslFile>& file) { return Add(file ? file->path : ""); }
  Setup& Add(int number) { return Add(std::to_string(number)); }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string NameOfHost(const Host& host) {
  const uint16_t port = host.server_port != 0     ? host.server_port
                        : !host.addresses.empty() ? host.addresses.front().port
                                                  : uint16_t{443};
  return (host.server_name.empty() ? "this host" : host.server_name) + ":" + std::to_string(port);
}

class HostCompiler {
 public:
  HostCompiler(const Host& host, const SslSettings& settings, SSL_CTX* context)
      : host_(host), settings_(settings), context_(context) {}

  os::Status Run() {
    SetOptions();
    LimitProtocols(context_, settings_.protocols.value_or(kTlsAll));
    for (const auto step : {&HostCompiler::SetCiphers, &HostCompiler::SetCertificates, &HostCompiler::FindPlaces,
                            &HostCompiler::SetVerification, &HostCompiler::RunCommands}) {
      ::ERR_clear_error();
      if (auto done = (this->*step)(); !done) return done;
    }
    return os::kDone;
  }

 private:
  void SetOptions() {
    ::SSL_CTX_set_options(context_, SSL_OP_NO_SSLv3 | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                        SSL_OP_SINGLE_DH_USE | SSL_OP_SINGLE_ECDH_USE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (settings_.honor_order.value_or(false)) ::SSL_CTX_set_options(context_, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context_,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context_, 1);  // a record's head and body in one recv(2)
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
    ::SSL_CTX_set_timeout(context_, settings_.session_timeout_s.value_or(kDefaultTimeoutSeconds));
    SSL_CTX_set_dh_auto(context_, 1);
    if (settings_.tickets.value_or(true)) {
      ::SSL_CTX_set_num_tickets(context_, 1);  // who opens several connections at once gets one from each
    } else {
      ::SSL_CTX_set_options(context_, SSL_OP_NO_TICKET);
      ::SSL_CTX_set_num_tickets(context_, 0);
    }
  }

  os::Status SetCiphers() {
    if (settings_.ciphers && ::SSL_CTX_set_cipher_list(context_, settings_.ciphers->c_str()) != 1) {
      return At(settings_.ciphers_where, "AH01898: Unable to configure permitted SSL ciphers: " + LastReason());
    }
    if (settings_.ciphers_13 && ::SSL_CTX_set_ciphersuites(context_, settings_.ciphers_13->c_str()) != 1) {
      return At(settings_.ciphers_where, "AH10127: Unable to configure permitted TLSv1.3 ciphers: " + LastReason());
    }
    return os::kDone;
  }

  os::Status SetCertificates() {
    if (settings_.certificates.empty()) {
      return At(settings_.engine ? settings_.engine_where : host_.where,
                "AH02572: Failed to configure at least one certificate and key for " + NameOfHost(host_) +
                    ": SSLCertificateFile names none");
    }
    for (size_t i = 0; i < settings_.certificates.size(); ++i) {
      const SslFile& key = i < settings_.keys.size() ? settings_.keys[i] : settings_.certificates[i];
      if (auto used = UseCertificate(context_, settings_.certificates[i], key, settings_.pass_program.value_or(""),
                                     NameOfHost(host_), i == 0);
          !used) {
        return used;
      }
    }
    return settings_.chain ? AddChain(context_, *settings_.chain) : os::Status(os::kDone);
  }

  /// What OpenSSL would pass over in silence.
  os::Status FindPlaces() {
    return CheckPlaces({{"SSLCACertificateFile", settings_.ca_file},
                        {"SSLCACertificatePath", settings_.ca_path},
                        {"SSLCADNRequestFile", settings_.ca_names_file},
                        {"SSLCADNRequestPath", settings_.ca_names_path},
                        {"SSLCARevocationFile", settings_.crl_file},
                        {"SSLCARevocationPath", settings_.crl_path}});
  }

  os::Status SetVerification() {
    const SslVerify verify = settings_.verify.value_or(SslVerify::kNone);
    const std::optional<SslFile>& any = settings_.ca_file ? settings_.ca_file : settings_.ca_path;
    if (any) {
      const char* file = settings_.ca_file ? settings_.ca_file->path.c_str() : nullptr;
      const char* path = settings_.ca_path ? settings_.ca_path->path.c_str() : nullptr;
      if (::SSL_CTX_load_verify_locations(context_, file, path) != 1) {
        return At(any->where, "AH01895: Unable to configure verify locations for client authentication: " + any->path +
                                  ": " + LastReason());
      }
    }
    if (verify == SslVerify::kNone) return SetRevocation();
    if (!any && verify != SslVerify::kOptionalNoCa) {
      return At(host_.where, "AH01896: SSLVerifyClient asks " + NameOfHost(host_) +
                                 "'s clients for certificates, but SSLCACertificateFile and SSLCACertificatePath name "
                                 "nobody who may sign them");
    }
    int mode = SSL_VERIFY_PEER;
    if (verify == SslVerify::kRequire) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    ::SSL_CTX_set_verify(context_, mode, OnCertificate);
    return SetNames();
  }

  /// Whom the client is told that we believe.
  os::Status SetNames() {
    const bool is_said = settings_.ca_names_file || settings_.ca_names_path;
    const auto& file = is_said ? settings_.ca_names_file : settings_.ca_file;
    const auto& path = is_said ? settings_.ca_names_path : settings_.ca_path;
    STACK_OF(X509_NAME)* names = sk_X509_NAME_new_null();
    for (const auto* from : {&file, &path}) {
      if (!*from) continue;
      const std::string& text = (*from)->path;
      const int added = from == &file ? ::SSL_add_file_cert_subjects_to_stack(names, text.c_str())
                                      : ::SSL_add_dir_cert_subjects_to_stack(names, text.c_str());
      if (added != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return At((*from)->where, "AH02211: Failed to open Certificate file or path " + text + ": " + LastReason());
      }
    }
    ::SSL_CTX_set_client_CA_list(context_, names);
    return SetRevocation();
  }

  os::Status SetRevocation() {
    const SslRevocation how = settings_.revocation.value_or(SslRevocation::kNone);
    if (how == SslRevocation::kNone) return os::kDone;
    if (!settings_.crl_file && !settings_.crl_path) {
      return At(host_.where, "AH01899: " + NameOfHost(host_) +
                                 ": CRL checking has been enabled, but neither SSLCARevocationFile nor "
                                 "SSLCARevocationPath is configured");
    }
    return CheckRevocation(context_, settings_.crl_file, settings_.crl_path, how);
  }

  os::Status RunCommands() {
    if (settings_.commands.empty()) return os::kDone;
    const std::unique_ptr<SSL_CONF_CTX, decltype(&::SSL_CONF_CTX_free)> conf(::SSL_CONF_CTX_new(),
                                                                             &::SSL_CONF_CTX_free);
    ::SSL_CONF_CTX_set_flags(conf.get(), SSL_CONF_FLAG_FILE | SSL_CONF_FLAG_SERVER | SSL_CONF_FLAG_CERTIFICATE);
    ::SSL_CONF_CTX_set_ssl_ctx(conf.get(), context_);
    for (const SslSettings::Command& command : settings_.commands) {
      if (::SSL_CONF_cmd(conf.get(), command.name.c_str(), command.value.c_str()) > 0) continue;
      return At(command.where, "AH02407: \"SSL_CONF_cmd(" + command.name + ", " + command.value + ")\" failed for " +
                                   NameOfHost(host_) + ": " + LastReason());
    }
    return ::SSL_CONF_CTX_finish(conf.get()) == 1
               ? os::Status(os::kDone)
               : os::Status(
                     At(settings_.commands.front().where, "AH02547: SSL_CONF_CTX_finish() failed: " + LastReason()));
  }

  const Host& host_;
  const SslSettings& settings_;
  SSL_CTX* context_;
};

std::string ServerSetup(const SslSettings& s) {
  Setup out;
  for (const SslFile& file : s.certificates) out.Add(file.path);
  for (const SslFile& file : s.keys) out.Add(file.path);
  out.Add(s.chain).Add(static_cast<int>(s.protocols.value_or(kTlsAll))).Add(s.honor_order.value_or(false) ? 1 : 0);
  return out.Add(s.ciphers.value_or("")).Add(s.ciphers_13.value_or("")).Take();
}

std::string ClientSetup(const SslSettings& s) {
  Setup out;
  out.Add(static_cast<int>(s.verify.value_or(SslVerify::kNone))).Add(s.verify_depth.value_or(1));
  out.Add(s.ca_file).Add(s.ca_path).Add(s.ca_names_file).Add(s.ca_names_path).Add(s.crl_file).Add(s.crl_path);
  out.Add(static_cast<int>(s.revocation.value_or(SslRevocation::kNone))).Add(s.is_crl_optional ? 1 : 0);
  for (const SslSettings::Command& command : s.commands) out.Add(command.name).Add(command.value);
  return out.Take();
}

/// Sessions are resumed only where the same would be asked of the client: by this host, in this instance or the next.
void SetSessionContext(SSL_CTX* context, const Host& host, const std::string& client_setup) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  const std::string text = host.server_name + "\n" + client_setup;
  ::EVP_Digest(text.data(), text.size(), digest, &length, ::EVP_sha256(), nullptr);
  ::SSL_CTX_set_session_id_context(context, digest, std::min<unsigned>(length, SSL_MAX_SID_CTX_LENGTH));
}

/// As ALPN writes them.
void AddProtocol(std::string& list, std::string_view name) {
  list.append(1, static_cast<char>(name.size())).append(name);
}

os::Result<std::unique_ptr<SslHost>> CompileHost(const SslSite& site, const Host& host, int index) {
  static const SslSettings kNothing;
  auto out = std::make_unique<SslHost>();
  out->site = &site;
  out->index = index;
  out->settings = host.settings.modules.Find<SslSettings>();
  if (!out->settings) out->settings = &kNothing;
  out->context.reset(::SSL_CTX_new(::TLS_server_method()));
  SSL_CTX* context = out->context.get();
  if (!context) return os::Error{os::ErrorKind::kIo, 0, "OpenSSL gives no TLS context: " + LastReason()};
  if (auto done = HostCompiler(host, *out->settings, context).Run(); !done) return done.error();
  if (out->settings->ticket_key) {
    auto key = ReadTicketKey(*out->settings->ticket_key);
    if (!key) return key.error();
    out->own_keys.push_back(key.value());
  }
  bool has_http1 = false;
  for (const std::string& protocol : host.protocols) {
    if (protocol == "h2c") continue;  // never over TLS
    AddProtocol(out->protocols, protocol);
    has_http1 = has_http1 || protocol == "http/1.1";
  }
  if (!has_http1) AddProtocol(out->protocols, "http/1.1");
  out->honors_protocol_order = host.protocols_honor_order;
  out->server_setup = ServerSetup(*out->settings);
  out->client_setup = ClientSetup(*out->settings);
  SetSessionContext(context, host, out->client_setup);
  SSL_CTX_set_app_data(context, out.get());
  ::SSL_CTX_set_client_hello_cb(context, OnHello, const_cast<SslSite*>(&site));
  ::SSL_CTX_set_alpn_select_cb(context, OnAlpn, out.get());
  ::SSL_CTX_set_tlsext_ticket_key_evp_cb(context, OnTicket);
  return out;
}

}  // namespace

void SslHost::FreeContext::operator()(SSL_CTX* context) const {
  ::SSL_CTX_free(context);
}

bool SpeaksTls(const config::ServerConfig& config, const Host& host) {
  const auto* settings = host.settings.modules.Find<SslSettings>();
  if (settings && settings->engine) return *settings->engine;
  const auto is_https = [&](uint16_t port) {
    return std::any_of(config.listen.begin(), config.listen.end(), [&](const config::ListenAddress& listen) {
      if (listen.port != port) return false;
      return listen.protocol == "https" && (listen.is_protocol_said || (settings && !settings->certificates.empty()));
    });
  };
  return !host.addresses.empty() &&
         std::all_of(host.addresses.begin(), host.addresses.end(), [&](const auto& at) { return is_https(at.port); });
}

SslSite::SslSite(const Site& site) : site_(site) {}
SslSite::~SslSite() = default;

os::Result<std::unique_ptr<SslSite>> SslSite::Build(const Site& site) {
  std::unique_ptr<SslSite> out(new SslSite(site));
  bool is_used = false;
  std::vector<std::string> wrong;
  for (size_t i = 0; i < site.hosts().size(); ++i) {
    const Host& host = *site.hosts()[i].host;
    std::unique_ptr<SslHost> compiled;
    // The main server of a configuration whose virtual hosts take every connection needs no certificate.
    if (SpeaksTls(site.config(), host)) {
      auto made = CompileHost(*out, host, static_cast<int>(i));
      if (!made) {
        if (std::find(wrong.begin(), wrong.end(), made.error().what) == wrong.end()) wrong.push_back(made.error().what);
      } else {
        compiled = std::move(made).value();
        if (compiled->settings->stapling.value_or(false)) {
          SSL_CTX* context = compiled->context.get();
          out->stapling_.Add(context, *compiled->settings, *site.hosts()[i].error_log, NameOfHost(host));
          SSL_CTX_set_tlsext_status_cb(context, OnStatus);
          SSL_CTX_set_tlsext_status_arg(context, out.get());
        }
        is_used = true;
      }
    }
    out->hosts_.push_back(std::move(compiled));
  }
  if (!wrong.empty()) {
    std::string text;
    for (const std::string& one : wrong) text += (text.empty() ? "" : "\n") + one;
    return os::Error{os::ErrorKind::kInvalid, 0, text};
  }
  if (!is_used) return std::unique_ptr<SslSite>();
  auto keys = TicketKeys::Make(static_cast<uint64_t>(std::time(nullptr)));
  if (!keys) return keys.error();
  out->keys_ = std::move(keys).value();
  Algorithms();
  return out;
}

std::unique_ptr<TlsStream> SslSite::Accept(int fd, uint16_t port) const {
  const int index = site_.Select(port, {}, [fd] {
    net::Request request;
    request.fd = fd;
    return LocalAddressOf(request);
  });
  const SslHost* host = HostAt(index);
  if (!host) return nullptr;
  auto stream = std::make_unique<TlsStream>(::SSL_new(host->context.get()), fd, port);
  stream->host = index;
  return stream;
}

void SslSite::Failed(const TlsStream& stream, std::string_view client_address) const {
  const CompiledHost& host = site_.hosts()[static_cast<size_t>(stream.host)];
  host.error_log->Write(LogLevel::kInfo, "ssl",
                        "[client " + std::string(client_address) +
                            "] AH02008: SSL library error 1 in handshake (server " + host.host->server_name + ":" +
                            std::to_string(stream.port()) + "): " + stream.why());
}

}  // namespace httpd::modules
