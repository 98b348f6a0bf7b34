#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "httpd/config/server_config.h"
#include "httpd/modules/request_state.h"

namespace httpd::modules {

/// Messages about requests for the error log of their host, with the lines that ErrorLogFormat wants before the first
/// message of a request or connection. One per loop.
class ErrorLines {
 public:
  /// Whether it is wanted was asked before. The request and its connection get their identifiers.
  void Write(const RequestState& state, config::LogLevel level, std::string_view module, std::string_view text);

 private:
  /// What is remembered of connections whose requests had messages.
  struct Known {
    std::string id;
    std::chrono::system_clock::time_point since;  ///< of the request that had the first one
    uint32_t requests_before = 0;
  };
  const Known& ConnectionOf(const net::Request& request, const std::string& peer, bool& is_new);

  static constexpr size_t kMostKnown = 4096;
  std::unordered_map<std::string, Known> connections_;  ///< by "address:port"
};

}  // namespace httpd::modules
