#include "orchestrator/listeners.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

namespace orchestrator {

namespace {
constexpr int kBacklog = 511;  // ListenBacklog's default; the server sets its own when it takes the socket over
}

uint32_t QueueDepth(const os::Fd& listener) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(listener.get(), IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return 0;
  return info.tcpi_state == TCP_LISTEN ? info.tcpi_unacked : 0;
}

uint32_t QueueDepth(const std::vector<handover::Listener>& listeners) {
  uint32_t depth = 0;
  for (const auto& listener : listeners) depth += QueueDepth(listener.fd);
  return depth;
}

os::Result<handover::Listener> BindListener(const std::string& address) {
  auto parsed = os::SocketAddress::Parse(address);
  if (!parsed) return parsed.error();
  auto fd = os::ListenTcp(parsed.value(), kBacklog);
  if (!fd) return fd.error();
  return handover::Listener{parsed.value(), address, std::move(fd).value()};
}

os::Status CanBind(const std::string& address) {
  auto parsed = os::SocketAddress::Parse(address);
  if (!parsed) return parsed.error();
  const os::Fd fd(::socket(parsed.value().family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;  // what ListenTcp() sets: a listener is in the way, a connection of an earlier one is not
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (parsed.value().family() == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), parsed.value().raw(), parsed.value().length()) == 0) return os::kDone;
  const int sys = errno;
  return os::SysError(sys, "listen on " + address);
}

}  // namespace orchestrator
