// Connections that begin with a header of the PROXY protocol.
#include "httpd/net/proxied.h"

#include <sys/socket.h>

#include <cerrno>

#include "httpd/http/proxy_header.h"
#include "httpd/net/connection.h"
#include "httpd/net/event_loop.h"

namespace httpd::net {

namespace {

ssize_t ReceiveFrom(const Connection* c, char* to, size_t most, int flags) {
  for (;;) {
    const ssize_t n = ::recv(c->fd.get(), to, most, flags);
    if (n >= 0 || errno != EINTR) return n;
  }
}

}  // namespace

void EventLoop::SetClient(Connection* c, std::string_view address, uint16_t port) {
  c->peer.reset(new RealPeer{c->address, c->client_port});
  if (address.empty()) return;
  c->address[address.copy(c->address, sizeof c->address - 1)] = '\0';
  c->client_port = port;
}

void EventLoop::RefuseProxyHeader(Connection* c, std::string_view why) {
  setup_.proxied->Refused(c->fd.get(), c->local_port, c->address, c->client_port, why);
  Destroy(c);
}

bool EventLoop::ReadProxyHeader(Connection* c) {
  // What is behind the header stays in the socket: TLS reads there itself.
  char* const text = scratch_.get();
  const size_t have = c->pending.copy(text, http::kMostProxyHeader);
  const ssize_t n = ReceiveFrom(c, text + have, http::kMostProxyHeader - have, MSG_PEEK);
  if (n < 0 && errno == EAGAIN) {
    Want(c, kReadable);
    return false;
  }
  if (n <= 0) {
    if (have > 0) {
      RefuseProxyHeader(c, "RemoteIPProxyProtocol: the connection ended in its PROXY header");
    } else {
      Destroy(c);
    }
    return false;
  }
  const size_t all = have + static_cast<size_t>(n);
  const http::ProxyHeader header = http::ParseProxyHeader({text, all});
  if (header.state == http::ProxyHeader::State::kBad) {
    RefuseProxyHeader(c, header.problem);
    return false;
  }
  const bool is_complete = header.state == http::ProxyHeader::State::kComplete;
  if (ReceiveFrom(c, text + have, (is_complete ? header.size : all) - have, 0) <= 0) {
    Destroy(c);
    return false;
  }
  if (!is_complete) {
    c->pending.assign(text, all);
    SetState(c, kReading);
    Want(c, kReadable);
    return false;
  }
  GiveBack(c);
  SetState(c, kIdle);
  c->awaits_proxy_header = false;
  SetClient(c, header.address, header.port);
  return true;
}

}  // namespace httpd::net
