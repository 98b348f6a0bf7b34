#include "httpd/process/listeners.h"

#include <linux/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace httpd::process {

namespace {

// The kernel sizes buffers by itself until they are set; SO_BUF_LOCK (Linux 5.15) gives one that was set back to it. An
// older kernel keeps the old size then.
void SetBuffer(const os::Fd& fd, int option, int lock_bit, int bytes) {
  if (bytes > 0) {
    ::setsockopt(fd.get(), SOL_SOCKET, option, &bytes, sizeof bytes);
    return;
  }
  int locks = 0;
  socklen_t size = sizeof locks;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_BUF_LOCK, &locks, &size) != 0 || !(locks & lock_bit)) return;
  const os::Fd fresh(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int doubled = 0;
  size = sizeof doubled;
  if (!fresh.valid() || ::getsockopt(fresh.get(), SOL_SOCKET, option, &doubled, &size) != 0) return;
  const int wanted = doubled / 2;  // what is set is doubled
  ::setsockopt(fd.get(), SOL_SOCKET, option, &wanted, sizeof wanted);
  locks &= ~lock_bit;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_BUF_LOCK, &locks, sizeof locks);
}

constexpr int kDeferAcceptSeconds = 30;  // as Apache with an AcceptFilter

// An option that the kernel refuses is no reason not to serve.
void Apply(const SocketOptions& options, const std::string& protocol, const os::Fd& fd) {
  SetBuffer(fd, SO_SNDBUF, SOCK_SNDBUF_LOCK, options.send_buffer);
  SetBuffer(fd, SO_RCVBUF, SOCK_RCVBUF_LOCK, options.receive_buffer);
  int seconds = options.defer_accept_s;
  if (const auto filter = options.accept_filters.find(protocol); filter != options.accept_filters.end()) {
    seconds = !filter->second ? 0 : seconds == 0 ? kDeferAcceptSeconds : seconds;
  }
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds);
}

}  // namespace

SocketOptions SocketOptionsOf(const config::ServerConfig& config) {
  return {config.listen_backlog, config.send_buffer_size, config.receive_buffer_size, config.defer_accept_s,
          config.accept_filters};
}

os::Result<ListenerList> OpenListeners(const std::vector<config::ListenAddress>& wanted, const ListenerList& have,
                                       const SocketOptions& options, bool inherited_only) {
  ListenerList out;
  for (const config::ListenAddress& listen : wanted) {
    auto address = os::SocketAddress::FromIp(listen.host, listen.port);
    if (!address) return address.error();
    const auto same =
        std::find_if(have.begin(), have.end(), [&](const auto& open) { return open->address == address.value(); });
    if (same != have.end()) {
      ::listen((*same)->fd.get(), options.backlog);  // on a listening socket this only sets the backlog
      Apply(options, listen.protocol, (*same)->fd);
      out.push_back(*same);
      continue;
    }
    if (inherited_only) {
      return os::Error{os::ErrorKind::kInvalid, 0,
                       "AH10504: Listen " + address.value().Text() + " (" + listen.where.file + ":" +
                           std::to_string(listen.where.line) +
                           ") was not among the inherited sockets, and an inherited set is never completed by binding"};
    }
    auto fd = os::ListenTcp(address.value(), options.backlog);
    if (!fd) {
      const int sys = fd.error().sys;
      return os::Error{fd.error().kind, 0,
                       "(" + std::to_string(sys) + ")" + std::strerror(sys) +
                           ": AH00072: make_sock: could not bind to address " + address.value().Text() +
                           "\nno listening sockets available, shutting down\nAH00015: Unable to open logs"};
    }
    Apply(options, listen.protocol, fd.value());
    out.push_back(std::make_shared<OpenListener>(OpenListener{address.value(), std::move(fd).value()}));
  }
  if (out.empty()) {
    return os::Error{os::ErrorKind::kInvalid, 0,
                     "no listening sockets available, shutting down\nAH00015: Unable to open logs"};
  }
  return out;
}

}  // namespace httpd::process
