#pragma once

#include <openssl/ossl_typ.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/server_config.h"
#include "httpd/modules/ssl_settings.h"
#include "httpd/modules/ssl_stapling.h"
#include "httpd/modules/ssl_tickets.h"
#include "httpd/net/tls_stream.h"
#include "os/error.h"

namespace httpd::modules {

class Site;
class SslSite;

/// One host that speaks TLS: its certificates, and what it asks of clients.
struct SslHost {
  struct FreeContext {
    void operator()(SSL_CTX* context) const;
  };
  const SslSite* site = nullptr;
  int index = 0;  ///< of Site::hosts()
  std::unique_ptr<SSL_CTX, FreeContext> context;
  const SslSettings* settings = nullptr;  ///< never null
  std::vector<TicketKey> own_keys;        ///< SSLSessionTicketKeyFile: one; empty: those of all
  std::string protocols;                  ///< for ALPN, as it writes them, most wanted first
  bool honors_protocol_order = true;      ///< false: the client's first is chosen
  std::string server_setup;               ///< two hosts whose texts are the same show the same certificate ...
  std::string client_setup;               ///< ... and ask the same of clients
};

/// Every host's TLS, read from the files of the configuration. Immutable, shared by the loops of a child.
///
/// Files  are read as whoever calls Build(): the parent as root, before its children are somebody else
class SslSite final : public net::TlsService {
 public:
  /// @param site  must outlive this; its hosts are complete
  /// @return null: no host speaks TLS; kInvalid: what is wrong with a file or a value, with its line
  static os::Result<std::unique_ptr<SslSite>> Build(const Site& site);
  ~SslSite() override;

  std::unique_ptr<net::TlsStream> Accept(int fd, uint16_t port) const override;
  void Failed(const net::TlsStream& stream, std::string_view client_address) const override;

  /// null: this host is plain
  const SslHost* HostAt(int index) const { return hosts_[static_cast<size_t>(index)].get(); }
  const Site& site() const { return site_; }

  /// Keys that other processes know too; until then this object has its own.
  void set_keys(std::shared_ptr<const TicketKeys> keys) { keys_ = std::move(keys); }
  const TicketKeys& keys() const { return *keys_; }

  const Stapling& stapling() const { return stapling_; }
  Stapling& stapling() { return stapling_; }

 private:
  explicit SslSite(const Site& site);
  const Site& site_;
  std::vector<std::unique_ptr<SslHost>> hosts_;  ///< by index of Site::hosts()
  std::shared_ptr<const TicketKeys> keys_;
  Stapling stapling_;
};

/// Whether `host` speaks TLS: SSLEngine on, or nothing said and all its addresses are those of `Listen ... https` (or
/// of port 443, when it has a certificate). Source  server/listen.c, modules/ssl/ssl_engine_init.c
bool SpeaksTls(const config::ServerConfig& config, const config::Host& host);

}  // namespace httpd::modules
