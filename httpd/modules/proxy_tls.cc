#include "httpd/modules/proxy_tls.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "httpd/config/tree.h"
#include "httpd/http/ascii.h"
#include "httpd/modules/site.h"
#include "httpd/modules/ssl_owned.h"
#include "httpd/modules/ssl_setup.h"

namespace httpd::modules::proxy {

namespace {

int KeeperIndex() {
  static const int index = ::SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

bool IsAddress(const std::string& name) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, name.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

bool IsUnknownAuthority(int error) {
  return error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT || error == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
         error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY || error == X509_V_ERR_CERT_UNTRUSTED ||
         error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

/// Nobody is asked for the password of a key.
int NoPassword(char*, int, int, void*) {
  return 0;
}

std::string CommonNameOf(X509* certificate) {
  char text[256];
  const int length =
      ::X509_NAME_get_text_by_NID(::X509_get_subject_name(certificate), NID_commonName, text, sizeof text);
  return length < 0 ? "" : std::string(text, static_cast<size_t>(length));
}

/// The same text, or "*.example.com" for one label before it.
bool IsNamed(std::string_view pattern, std::string_view name) {
  if (http::EqualsIgnoreCase(pattern, name)) return true;
  const size_t dot = name.find('.');
  return pattern.starts_with("*.") && dot != std::string_view::npos && dot != 0 &&
         http::EqualsIgnoreCase(pattern.substr(1), name.substr(dot));
}

template <class T>
void Take(std::optional<T>& to, const std::optional<T>& inner) {
  if (inner) to = inner;
}

}  // namespace

void FreeSession::operator()(ssl_session_st* session) const {
  ::SSL_SESSION_free(session);
}

// ---- settings -------------------------------------------------------------------------------------------------------

std::unique_ptr<config::ModuleSettings> TlsSettings::MergedWith(const ModuleSettings& other) const {
  const auto& inner = static_cast<const TlsSettings&>(other);
  auto out = std::make_unique<TlsSettings>(*this);
  Take(out->engine, inner.engine);
  Take(out->protocols, inner.protocols);
  Take(out->ciphers, inner.ciphers);
  Take(out->ciphers_13, inner.ciphers_13);
  Take(out->verify, inner.verify);
  Take(out->verify_depth, inner.verify_depth);
  Take(out->ca_file, inner.ca_file);
  Take(out->ca_path, inner.ca_path);
  Take(out->crl_file, inner.crl_file);
  Take(out->crl_path, inner.crl_path);
  Take(out->revocation, inner.revocation);
  Take(out->is_crl_optional, inner.is_crl_optional);
  Take(out->own_file, inner.own_file);
  Take(out->own_path, inner.own_path);
  Take(out->own_chain, inner.own_chain);
  Take(out->checks_expiry, inner.checks_expiry);
  Take(out->checks_common_name, inner.checks_common_name);
  Take(out->checks_name, inner.checks_name);
  if (!inner.where.file.empty()) out->where = inner.where;
  return out;
}

std::string TlsSettings::Key() const {
  std::string out;
  const auto number = [&out](int value) { out.append(std::to_string(value)).append(","); };
  const auto flag = [&](const std::optional<bool>& value) { number(value ? (*value ? 1 : 0) : -1); };
  const auto text = [&](const std::string& value) {
    number(static_cast<int>(value.size()));
    out += value;
  };
  for (const auto* file : {&ca_file, &ca_path, &crl_file, &crl_path, &own_file, &own_path, &own_chain}) {
    text(*file ? (*file)->path : "");
  }
  text(ciphers.value_or(""));
  text(ciphers_13.value_or(""));
  number(static_cast<int>(protocols.value_or(kTlsAll)));
  number(static_cast<int>(verify.value_or(SslVerify::kNone)));
  number(verify_depth.value_or(1));
  number(static_cast<int>(revocation.value_or(SslRevocation::kNone)));
  for (const auto* value : {&is_crl_optional, &checks_expiry, &checks_common_name, &checks_name}) flag(*value);
  return out;
}

// ---- a context ------------------------------------------------------------------------------------------------------

/// A certificate to show, with its key.
struct TlsContext::Own {
  SslOwned<X509> certificate;
  SslOwned<EVP_PKEY> key;
};

void TlsContext::FreeContext::operator()(SSL_CTX* context) const {
  ::SSL_CTX_free(context);
}

class TlsContext::Maker {
 public:
  Maker(const TlsSettings& settings, TlsContext& out) : settings_(settings), out_(out), context_(out.context_.get()) {}

  os::Status Run() {
    SetOptions();
    LimitProtocols(context_, settings_.protocols.value_or(kTlsAll));
    for (const auto step :
         {&Maker::SetCiphers, &Maker::FindPlaces, &Maker::SetAuthorities, &Maker::SetRevocation, &Maker::ReadOwn}) {
      ::ERR_clear_error();
      if (auto done = (this->*step)(); !done) return done;
    }
    return os::kDone;
  }

 private:
  static os::Error At(const config::SourceLine& where, const std::string& what) {
    return config::SyntaxError(where, what);
  }

  void SetOptions() {
    ::SSL_CTX_set_options(
        context_, SSL_OP_NO_SSLv3 | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context_,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context_, 1);
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    ::SSL_CTX_sess_set_new_cb(context_, OnSession);
    SSL_CTX_set_app_data(context_, &out_);
    out_.verify_ = settings_.verify.value_or(SslVerify::kNone);
    out_.verify_depth_ = settings_.verify_depth.value_or(1);
    out_.is_crl_optional_ = settings_.is_crl_optional.value_or(false);
    out_.checks_expiry_ = settings_.checks_expiry.value_or(true);
    // SSLProxyCheckPeerCN off alone ends the check of names, as in Apache.
    out_.checks_name_ = settings_.checks_name.value_or(settings_.checks_common_name.value_or(true));
    out_.checks_common_name_ = !out_.checks_name_ && settings_.checks_common_name.value_or(false);
    if (out_.verify_ == SslVerify::kNone) return;
    const int mode = SSL_VERIFY_PEER | (out_.verify_ == SslVerify::kRequire ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    ::SSL_CTX_set_verify(context_, mode, OnPeer);
  }

  os::Status SetCiphers() {
    if (settings_.ciphers && ::SSL_CTX_set_cipher_list(context_, settings_.ciphers->c_str()) != 1) {
      return At(settings_.where, "AH01898: SSLProxyCipherSuite: Unable to configure permitted SSL ciphers: " +
                                     *settings_.ciphers + ": " + LastReason());
    }
    if (settings_.ciphers_13 && ::SSL_CTX_set_ciphersuites(context_, settings_.ciphers_13->c_str()) != 1) {
      return At(settings_.where, "AH10127: SSLProxyCipherSuite: Unable to configure permitted TLSv1.3 ciphers: " +
                                     *settings_.ciphers_13 + ": " + LastReason());
    }
    return os::kDone;
  }

  /// What OpenSSL would pass over in silence.
  os::Status FindPlaces() {
    return CheckPlaces({{"SSLProxyCACertificateFile", settings_.ca_file},
                        {"SSLProxyCACertificatePath", settings_.ca_path},
                        {"SSLProxyCARevocationFile", settings_.crl_file},
                        {"SSLProxyCARevocationPath", settings_.crl_path},
                        {"SSLProxyMachineCertificateFile", settings_.own_file},
                        {"SSLProxyMachineCertificatePath", settings_.own_path},
                        {"SSLProxyMachineCertificateChainFile", settings_.own_chain}});
  }

  os::Status SetAuthorities() {
    const std::optional<SslFile>& any = settings_.ca_file ? settings_.ca_file : settings_.ca_path;
    if (!any) {
      if (out_.verify_ == SslVerify::kNone || out_.verify_ == SslVerify::kOptionalNoCa) return os::kDone;
      return At(settings_.where,
                "AH01896: SSLProxyVerify asks backends for certificates, but SSLProxyCACertificateFile and "
                "SSLProxyCACertificatePath name nobody who may sign them");
    }
    if (::SSL_CTX_load_verify_locations(context_, settings_.ca_file ? settings_.ca_file->path.c_str() : nullptr,
                                        settings_.ca_path ? settings_.ca_path->path.c_str() : nullptr) != 1) {
      return At(any->where,
                "AH01895: Unable to configure verify locations for backends: " + any->path + ": " + LastReason());
    }
    return os::kDone;
  }

  os::Status SetRevocation() {
    const SslRevocation how = settings_.revocation.value_or(SslRevocation::kNone);
    if (how == SslRevocation::kNone) return os::kDone;
    if (!settings_.crl_file && !settings_.crl_path) {
      return At(settings_.where,
                "AH01899: SSLProxyCARevocationCheck is on, but neither SSLProxyCARevocationFile nor "
                "SSLProxyCARevocationPath is configured");
    }
    return CheckRevocation(context_, settings_.crl_file, settings_.crl_path, how);
  }

  /// Certificates and keys in any order; each key belongs to one of them.
  os::Status ReadOwnFile(const SslFile& file, const std::string& path) {
    const SslOwned<BIO> bio(::BIO_new_file(path.c_str(), "r"));
    STACK_OF(X509_INFO)* entries = bio ? ::PEM_X509_INFO_read_bio(bio.get(), nullptr, NoPassword, nullptr) : nullptr;
    const std::string incomplete =
        "AH02252: incomplete client cert configured for SSL proxy (missing or encrypted private key?): " + path;
    if (!entries) return At(file.where, incomplete + ": " + LastReason());
    std::vector<X509*> certificates;
    std::vector<EVP_PKEY*> keys;
    bool is_encrypted = false;
    for (int i = 0; i < sk_X509_INFO_num(entries); ++i) {
      X509_INFO* entry = sk_X509_INFO_value(entries, i);
      if (entry->x509) certificates.push_back(entry->x509);
      if (entry->x_pkey && entry->x_pkey->dec_pkey) keys.push_back(entry->x_pkey->dec_pkey);
      if (entry->x_pkey && !entry->x_pkey->dec_pkey) is_encrypted = true;
    }
    size_t found = 0;
    for (X509* certificate : certificates) {
      for (EVP_PKEY* key : keys) {
        if (::X509_check_private_key(certificate, key) != 1) continue;
        ::X509_up_ref(certificate);
        ::EVP_PKEY_up_ref(key);
        Own own;
        own.certificate.reset(certificate);
        own.key.reset(key);
        out_.own_.push_back(std::move(own));
        ++found;
        break;
      }
    }
    const bool is_whole = found > 0 && found == keys.size() && found == certificates.size() && !is_encrypted;
    sk_X509_INFO_pop_free(entries, X509_INFO_free);
    ::ERR_clear_error();
    return is_whole ? os::Status(os::kDone) : os::Status(At(file.where, incomplete));
  }

  os::Status ReadOwn() {
    if (settings_.own_file) {
      if (auto done = ReadOwnFile(*settings_.own_file, settings_.own_file->path); !done) return done;
    }
    if (settings_.own_path) {
      std::vector<std::string> names;
      DIR* directory = ::opendir(settings_.own_path->path.c_str());
      for (const dirent* entry = directory ? ::readdir(directory) : nullptr; entry; entry = ::readdir(directory)) {
        if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
      }
      if (directory) ::closedir(directory);
      std::sort(names.begin(), names.end());
      for (const std::string& name : names) {
        const std::string path = settings_.own_path->path + "/" + name;
        struct stat info {};
        if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
        if (auto done = ReadOwnFile(*settings_.own_path, path); !done) return done;
      }
    }
    if (!out_.own_.empty()) ::SSL_CTX_set_client_cert_cb(context_, OnOwnWanted);
    return settings_.own_chain ? ReadChain(*settings_.own_chain) : os::Status(os::kDone);
  }

  os::Status ReadChain(const SslFile& file) {
    const SslOwned<BIO> bio(::BIO_new_file(file.path.c_str(), "r"));
    int count = 0;
    while (X509* certificate = bio ? ::PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr) : nullptr) {
      SSL_CTX_add_extra_chain_cert(context_, certificate);  // which owns it now
      ++count;
    }
    if (count > 0) {
      ::ERR_clear_error();
      return os::kDone;
    }
    return At(file.where,
              "AH02268: SSLProxyMachineCertificateChainFile: no certificate in " + file.path + ": " + LastReason());
  }

  const TlsSettings& settings_;
  TlsContext& out_;
  SSL_CTX* context_;
};

TlsContext::TlsContext() : context_(::SSL_CTX_new(::TLS_client_method())) {}
TlsContext::~TlsContext() = default;

os::Result<std::shared_ptr<const TlsContext>> TlsContext::Make(const TlsSettings& settings) {
  KeeperIndex();
  std::shared_ptr<TlsContext> out(new TlsContext);
  if (!out->context_) return os::Error{os::ErrorKind::kIo, 0, "OpenSSL gives no TLS context: " + LastReason()};
  if (auto done = Maker(settings, *out).Run(); !done) return done.error();
  return std::shared_ptr<const TlsContext>(std::move(out));
}

int TlsContext::OnPeer(int is_good, X509_STORE_CTX* check) {
  const auto* ssl =
      static_cast<const SSL*>(::X509_STORE_CTX_get_ex_data(check, ::SSL_get_ex_data_X509_STORE_CTX_idx()));
  const auto& own = *static_cast<const TlsContext*>(SSL_CTX_get_app_data(::SSL_get_SSL_CTX(ssl)));
  const int error = ::X509_STORE_CTX_get_error(check);
  if (!is_good && own.verify_ == SslVerify::kOptionalNoCa && IsUnknownAuthority(error)) is_good = 1;
  if (!is_good && own.is_crl_optional_ && error == X509_V_ERR_UNABLE_TO_GET_CRL) {
    ::X509_STORE_CTX_set_error(check, X509_V_OK);
    is_good = 1;
  }
  if (is_good && ::X509_STORE_CTX_get_error_depth(check) > own.verify_depth_) {
    ::X509_STORE_CTX_set_error(check, X509_V_ERR_CERT_CHAIN_TOO_LONG);
    is_good = 0;
  }
  return is_good;
}

/// The first that one of the authorities has signed which the backend names.
int TlsContext::OnOwnWanted(SSL* ssl, X509** certificate, EVP_PKEY** key) {
  const auto& context = *static_cast<const TlsContext*>(SSL_CTX_get_app_data(::SSL_get_SSL_CTX(ssl)));
  const STACK_OF(X509_NAME)* names = ::SSL_get0_peer_CA_list(ssl);
  const int count = names ? sk_X509_NAME_num(names) : 0;
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get_extra_chain_certs(::SSL_get_SSL_CTX(ssl), &chain);
  const auto is_named = [&](X509* one) {
    for (int i = 0; i < count; ++i) {
      if (::X509_NAME_cmp(::X509_get_issuer_name(one), sk_X509_NAME_value(names, i)) == 0) return true;
    }
    return false;
  };
  for (const Own& own : context.own_) {
    bool fits = count == 0 || is_named(own.certificate.get());
    for (int i = 0; !fits && chain && i < sk_X509_num(chain); ++i) {
      X509* above = sk_X509_value(chain, i);
      fits = is_named(above) &&
             ::X509_NAME_cmp(::X509_get_issuer_name(own.certificate.get()), ::X509_get_subject_name(above)) == 0;
    }
    if (!fits) continue;
    ::X509_up_ref(own.certificate.get());
    ::EVP_PKEY_up_ref(own.key.get());
    *certificate = own.certificate.get();
    *key = own.key.get();
    return 1;
  }
  return 0;
}

int TlsContext::OnSession(SSL* ssl, ssl_session_st* session) {
  auto* keeper = static_cast<SessionKeeper*>(::SSL_get_ex_data(ssl, KeeperIndex()));
  if (!keeper) return 0;
  keeper->KeepSession(session);
  return 1;
}

std::unique_ptr<net::TlsStream> TlsContext::Begin(int fd, uint16_t port, const std::string& name,
                                                  ssl_session_st* session, SessionKeeper& keeper) const {
  SSL* ssl = ::SSL_new(context_.get());
  if (ssl) {
    ::SSL_set_ex_data(ssl, KeeperIndex(), &keeper);
    if (!name.empty() && !IsAddress(name)) SSL_set_tlsext_host_name(ssl, name.c_str());  // RFC 6066, 3
    if (session) ::SSL_set_session(ssl, session);
  }
  return std::make_unique<net::TlsStream>(ssl, fd, port, net::TlsStream::Side::kClient);
}

std::string TlsContext::WhyFailed(const net::TlsStream& stream) {
  const long verified = stream.ssl() ? ::SSL_get_verify_result(stream.ssl()) : X509_V_OK;
  if (verified == X509_V_OK || ::SSL_get_verify_mode(stream.ssl()) == SSL_VERIFY_NONE) return stream.why();
  return "Certificate Verification: Error (" + std::to_string(verified) +
         "): " + ::X509_verify_cert_error_string(verified);
}

std::string TlsContext::ObjectionTo(const net::TlsStream& stream, const std::string& name) const {
  X509* certificate = ::SSL_get0_peer_certificate(stream.ssl());
  if (checks_expiry_ && (!certificate || ::X509_cmp_current_time(::X509_get0_notBefore(certificate)) >= 0 ||
                         ::X509_cmp_current_time(::X509_get0_notAfter(certificate)) <= 0)) {
    return "AH02004: SSL Proxy: Peer certificate is expired";
  }
  if (checks_name_) {
    constexpr unsigned kHow = X509_CHECK_FLAG_ALWAYS_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    const bool matches = certificate && ((IsAddress(name) && ::X509_check_ip_asc(certificate, name.c_str(), 0) == 1) ||
                                         ::X509_check_host(certificate, name.data(), name.size(), kHow, nullptr) == 1);
    if (!matches) return "AH02411: SSL Proxy: Peer certificate does not match for hostname " + name;
  } else if (checks_common_name_) {
    const std::string common = certificate ? CommonNameOf(certificate) : "";
    if (!IsNamed(common, name)) {
      return "AH02005: SSL Proxy: Peer certificate CN mismatch: Certificate CN: " + common +
             " Requested hostname: " + name;
    }
  }
  return "";
}

// ---- a site's -------------------------------------------------------------------------------------------------------

os::Result<std::unique_ptr<TlsContexts>> TlsContexts::Build(const Site& site) {
  auto out = std::make_unique<TlsContexts>();
  std::vector<std::string> wrong;
  const auto add = [&](const config::ModuleSlots& slots) {
    const auto* settings = slots.Find<TlsSettings>();
    if (!settings || !settings->engine.value_or(false)) return;
    auto& place = out->made_[settings->Key()];
    if (place) return;
    auto made = TlsContext::Make(*settings);
    if (made) {
      place = std::move(made).value();
    } else if (std::find(wrong.begin(), wrong.end(), made.error().what) == wrong.end()) {
      wrong.push_back(made.error().what);
    }
  };
  for (const CompiledHost& compiled : site.hosts()) {
    const config::Host& host = *compiled.host;
    add(host.settings.modules);
    for (const auto& section : host.sections) {
      if (section->kind != config::Section::Kind::kProxy || !section->settings.modules.Find<TlsSettings>()) continue;
      config::ModuleSlots both = host.settings.modules;
      both.Merge(section->settings.modules);
      add(both);
    }
  }
  if (!wrong.empty()) {
    std::string text;
    for (const std::string& one : wrong) text += (text.empty() ? "" : "\n") + one;
    return os::Error{os::ErrorKind::kInvalid, 0, text};
  }
  return out;
}

os::Result<const TlsContext*> TlsContexts::Find(const TlsSettings& settings) const {
  const std::string key = settings.Key();
  if (const auto found = made_.find(key); found != made_.end()) return found->second.get();
  const std::lock_guard<std::mutex> lock(mutex_);
  auto& place = more_[key];
  if (!place) {
    auto made = TlsContext::Make(settings);
    if (!made) return made.error();
    place = std::move(made).value();
  }
  return place.get();
}

}  // namespace httpd::modules::proxy
