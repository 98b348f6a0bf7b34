#include "httpd/process/listeners.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace httpd::process {

os::Result<ListenerList> OpenListeners(const std::vector<config::ListenAddress>& wanted, const ListenerList& have,
                                       int backlog, bool inherited_only) {
  ListenerList out;
  for (const config::ListenAddress& listen : wanted) {
    auto address = os::SocketAddress::FromIp(listen.host, listen.port);
    if (!address) return address.error();
    const auto same =
        std::find_if(have.begin(), have.end(), [&](const auto& open) { return open->address == address.value(); });
    if (same != have.end()) {
      ::listen((*same)->fd.get(), backlog);  // on a listening socket this only sets the backlog
      out.push_back(*same);
      continue;
    }
    if (inherited_only) {
      return os::Error{os::ErrorKind::kInvalid, 0,
                       "AH10504: Listen " + address.value().Text() + " (" + listen.where.file + ":" +
                           std::to_string(listen.where.line) +
                           ") was not among the inherited sockets, and an inherited set is never completed by binding"};
    }
    auto fd = os::ListenTcp(address.value(), backlog);
    if (!fd) {
      const int sys = fd.error().sys;
      return os::Error{fd.error().kind, 0,
                       "(" + std::to_string(sys) + ")" + std::strerror(sys) +
                           ": AH00072: make_sock: could not bind to address " + address.value().Text() +
                           "\nno listening sockets available, shutting down\nAH00015: Unable to open logs"};
    }
    out.push_back(std::make_shared<OpenListener>(OpenListener{address.value(), std::move(fd).value()}));
  }
  if (out.empty()) {
    return os::Error{os::ErrorKind::kInvalid, 0,
                     "no listening sockets available, shutting down\nAH00015: Unable to open logs"};
  }
  return out;
}

}  // namespace httpd::process
