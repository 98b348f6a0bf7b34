#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "handover/message.h"
#include "os/error.h"
#include "os/fd.h"

namespace handover {

/// A client connection between two requests: nobody's, only a descriptor. Whoever has it may serve the next request.
struct PassedConnection {
  os::Fd fd;
  std::string unread;     ///< bytes of the next request(s) that were already read from the socket
  uint32_t requests = 0;  ///< answered on it so far (MaxKeepAliveRequests goes on counting)
  uint32_t wait_ms = 0;   ///< how much longer it may stay idle: what its client was promised; 0: the giver did not say
  bool is_proxied = false;   ///< a proxy has told at its beginning whose it is: will not do so again
  std::string client;        ///< ... numeric address that was told
  uint16_t client_port = 0;  ///< ... and port
};

/// Longest `unread` that can be passed; a connection with more is served where it is.
inline constexpr size_t kMaxUnreadBytes = 32U << 10;

/// Packs connections from the back of `connections` into one `adopt` message (at most 200 descriptors and 64 KiB) and
/// removes them from the list; the message owns them. Empty list: logic error.
Message PackConnections(std::vector<PassedConnection>& connections);

/// The connections in a received `adopt` message. kInvalid: it does not add up (then its descriptors close).
os::Result<std::vector<PassedConnection>> UnpackConnections(Message message);

}  // namespace handover
