#pragma once

#include <openssl/ossl_typ.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/module_slots.h"
#include "httpd/modules/ssl_settings.h"
#include "httpd/net/tls_stream.h"
#include "os/error.h"

struct ssl_session_st;

namespace httpd::modules {
class Site;
}

/// TLS to backends: what the SSLProxy... directives of mod_ssl say, and what becomes of it.
/// Source  httpd 2.4 manual, mod_ssl; modules/ssl/ssl_engine_io.c ssl_io_filter_handshake, ssl_engine_init.c
namespace httpd::modules::proxy {

/// Of a host or of <Proxy>; an inner place's come first.
struct TlsSettings final : config::ModuleSettings {
  std::optional<bool> engine;
  std::optional<unsigned> protocols;  ///< SslProtocolBit
  std::optional<std::string> ciphers;
  std::optional<std::string> ciphers_13;
  std::optional<SslVerify> verify;
  std::optional<int> verify_depth;
  std::optional<SslFile> ca_file, ca_path, crl_file, crl_path;
  std::optional<SslRevocation> revocation;
  std::optional<bool> is_crl_optional;
  std::optional<SslFile> own_file, own_path, own_chain;  ///< SSLProxyMachineCertificate...
  std::optional<bool> checks_expiry, checks_common_name, checks_name;
  config::SourceLine where;  ///< of the last one that was said
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& inner) const override;

  /// The same text for two settings that ask for the same.
  std::string Key() const;
};

/// The SSLProxy... directives; part of mod_ssl's.
const std::vector<config::Directive>& TlsDirectives();

/// Keeps a session for the next connection to the same place.
class SessionKeeper {
 public:
  virtual ~SessionKeeper() = default;
  /// @param session  is the keeper's from here on
  virtual void KeepSession(ssl_session_st* session) = 0;
};

struct FreeSession {
  void operator()(ssl_session_st* session) const;
};
using TlsSession = std::unique_ptr<ssl_session_st, FreeSession>;

/// How backends are spoken to. Immutable, shared by the loops of a child.
class TlsContext {
 public:
  /// @return kInvalid: what is wrong with a file or a value, with its line
  static os::Result<std::shared_ptr<const TlsContext>> Make(const TlsSettings& settings);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  /// A client's stream, before its handshake.
  /// @param name     of the backend: asked for (SNI) where it is no address
  /// @param session  to be resumed; null: none
  /// @param keeper   outlives the stream
  std::unique_ptr<net::TlsStream> Begin(int fd, uint16_t port, const std::string& name, ssl_session_st* session,
                                        SessionKeeper& keeper) const;

  /// Why a handshake has failed, for the log.
  static std::string WhyFailed(const net::TlsStream& stream);

  /// After the handshake: what is wrong with the certificate of the backend; "" = nothing.
  std::string ObjectionTo(const net::TlsStream& stream, const std::string& name) const;

 private:
  struct Own;
  class Maker;
  TlsContext();
  static int OnPeer(int is_good, X509_STORE_CTX* check);
  static int OnOwnWanted(SSL* ssl, X509** certificate, EVP_PKEY** key);
  static int OnSession(SSL* ssl, ssl_session_st* session);

  struct FreeContext {
    void operator()(SSL_CTX* context) const;
  };
  std::unique_ptr<SSL_CTX, FreeContext> context_;
  std::vector<Own> own_;
  SslVerify verify_ = SslVerify::kNone;
  int verify_depth_ = 1;
  bool is_crl_optional_ = false;
  bool checks_expiry_ = true;
  bool checks_name_ = true;
  bool checks_common_name_ = false;  ///< only where the name is not checked
};

/// Those of a site, read before its children are somebody else.
class TlsContexts {
 public:
  /// For hosts and <Proxy> sections with SSLProxyEngine On.
  static os::Result<std::unique_ptr<TlsContexts>> Build(const Site& site);

  /// For settings that several sections have made together it is made now. Any thread.
  os::Result<const TlsContext*> Find(const TlsSettings& settings) const;

 private:
  using Map = std::map<std::string, std::shared_ptr<const TlsContext>, std::less<>>;
  Map made_;
  mutable std::mutex mutex_;
  mutable Map more_;  ///< of combinations; under mutex_, nothing leaves it
};

}  // namespace httpd::modules::proxy
