#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/server_config.h"
#include "httpd/net/proxied.h"

namespace httpd::modules {

class Site;

/// IPv4 as ::ffff:a.b.c.d, so that an address has one form.
using RemoteAddress = std::array<uint8_t, 16>;

struct RemoteNetwork {
  RemoteAddress base{};
  int bits = 128;
  bool is_internal = false;  ///< RemoteIPInternalProxy

  bool Holds(const RemoteAddress& address) const;
};

/// RemoteIPProxyProtocol and RemoteIPProxyProtocolExceptions of all hosts. What a host says holds for its addresses,
/// whatever the others there say; what the main server says for all of which no host says anything.
/// Source  httpd 2.4, mod_remoteip
class ProxiedConnections final : public net::ProxyHeaderService {
 public:
  /// null: no host wants such headers
  static std::unique_ptr<const ProxiedConnections> Of(const Site& site);

  bool Expects(int fd, uint16_t port, std::string_view peer) const override;
  void Refused(int fd, uint16_t port, std::string_view peer, uint16_t peer_port, std::string_view why) const override;

 private:
  explicit ProxiedConnections(const Site& site) : site_(site) {}
  struct Said {
    config::Host::Address address;
    bool is_on = false;
  };
  const Site& site_;
  std::vector<Said> said_;  ///< by virtual hosts, in their order
  bool is_on_ = false;      ///< by the main server
  bool has_addresses_ = false;
  std::vector<RemoteNetwork> exceptions_;  ///< of all hosts
};

}  // namespace httpd::modules
