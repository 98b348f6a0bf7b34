#pragma once

#include <cstdint>
#include <string_view>

namespace httpd::net {

/// Who decides which connections begin with a header of the PROXY protocol, in which a proxy tells whose they are
/// (httpd/http/proxy_header.h).
///
/// Threads  shared by the loops of a process
class ProxyHeaderService {
 public:
  virtual ~ProxyHeaderService() = default;

  /// @param fd    the socket of a new connection, a loan
  /// @param port  that was reached
  /// @param peer  numeric address of who has connected
  virtual bool Expects(int fd, uint16_t port, std::string_view peer) const = 0;

  /// For the log: a connection was closed because it did not begin with a good header.
  virtual void Refused(int fd, uint16_t port, std::string_view peer, uint16_t peer_port,
                       std::string_view why) const = 0;
};

}  // namespace httpd::net
