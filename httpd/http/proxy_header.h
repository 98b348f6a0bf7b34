#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace httpd::http {

/// What a proxy says of its client before the client's own first byte.
struct ProxyHeader {
  enum class State {
    kComplete,
    kIncomplete,  ///< all that was received belongs to the header, and more has to come
    kBad
  };
  State state = State::kIncomplete;
  size_t size = 0;      ///< kComplete: bytes of the header; what is behind them is the client's
  std::string address;  ///< numeric, IPv4 where it is one; "": none is told (UNKNOWN, LOCAL), the connection's is right
  uint16_t port = 0;
  std::string problem;  ///< kBad: what is wrong, in mod_remoteip's words; may hold bytes that were received
};

/// Longest header that is understood: of version 2, with everything that a proxy may add (certificates' names, ...).
inline constexpr size_t kMostProxyHeader = 4096;

/// Reads a header of version 1 (text) or 2 (binary) from the beginning of a connection.
/// Source  the PROXY protocol, versions 1 & 2 (haproxy.org/download/2.6/doc/proxy-protocol.txt); httpd 2.4,
/// mod_remoteip
ProxyHeader ParseProxyHeader(std::string_view received);

}  // namespace httpd::http
