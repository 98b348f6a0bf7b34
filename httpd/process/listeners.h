#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "handover/listen_fds.h"
#include "httpd/config/server_config.h"
#include "os/error.h"
#include "os/fd.h"
#include "os/socket.h"

namespace httpd::process {

/// One open public listener. Shared by the generations that use it.
struct OpenListener {
  os::SocketAddress address;
  os::Fd fd;
};
using ListenerList = std::vector<std::shared_ptr<OpenListener>>;

/// What is set on every listener, on those that were open before too. Connections inherit it.
struct SocketOptions {
  int backlog = 511;
  int send_buffer = 0;                              ///< bytes; 0 = the system's, also where it was set before
  int receive_buffer = 0;                           ///< bytes; 0 = the system's, also where it was set before
  int defer_accept_s = 0;                           ///< 0 = off
  std::map<std::string, bool> accept_filters = {};  ///< for Listen with these protocols: defer_accept_s or 30, or 0
};
SocketOptions SocketOptionsOf(const config::ServerConfig& config);

/// Opens what `wanted` names: taken from `have` when the full address is the same (the options are applied again),
/// bound anew otherwise.
///
/// @param inherited_only  socket activation or an upgrade: an address that is not in `have` is an error, never bound
/// anew
/// @return Apache's sentences: "(98)Address already in use: AH00072: make_sock: could not bind to address 1.2.3.4:80"
os::Result<ListenerList> OpenListeners(const std::vector<config::ListenAddress>& wanted, const ListenerList& have,
                                       const SocketOptions& options, bool inherited_only);

}  // namespace httpd::process
