#include "httpd/modules/proxy_pool.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "httpd/modules/proxy_exchange.h"

namespace httpd::modules::proxy {

Link::~Link() {
  if (tls) tls->Close();
  watch.reset();  // before the descriptor is closed
}

ssize_t Link::Receive(char* to, size_t most) {
  if (tls) return tls->Receive(to, most);
  ssize_t n = 0;
  do {
    n = ::recv(fd.get(), to, most, 0);
  } while (n < 0 && errno == EINTR);
  return n;
}

ssize_t Link::Send(std::string_view first, std::string_view second) {
  if (tls) return first.empty() ? tls->Send(second, false) : tls->Send(first, !second.empty());
  ssize_t n = 0;
  do {
    if (!first.empty() && !second.empty()) {
      iovec pieces[2] = {{const_cast<char*>(first.data()), first.size()},
                         {const_cast<char*>(second.data()), second.size()}};
      msghdr message{};
      message.msg_iov = pieces;
      message.msg_iovlen = 2;
      n = ::sendmsg(fd.get(), &message, MSG_NOSIGNAL);
    } else {
      const std::string_view one = first.empty() ? second : first;
      n = ::send(fd.get(), one.data(), one.size(), MSG_NOSIGNAL);
    }
  } while (n < 0 && errno == EINTR);
  return n;
}

void Link::Finish() {
  if (tls) {
    tls->Close();
  } else {
    ::shutdown(fd.get(), SHUT_WR);
  }
}

bool Link::IsQuiet() {
  char byte;
  if (tls) return tls->Receive(&byte, 1) < 0 && errno == EAGAIN;
  return ::recv(fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

void Link::BeginTls() {
  ssl_session_st* session = nullptr;
  if (!worker->is_for_one) {
    const auto& sessions = pool->workers_[worker.get()].sessions;
    if (const auto found = sessions.find({tls_context, tls_name}); found != sessions.end()) {
      session = found->second.get();
    }
  }
  tls = tls_context->Begin(fd.get(), worker->port, tls_name, session, *this);
}

void Link::KeepSession(ssl_session_st* session) {
  TlsSession owned(session);
  if (worker->is_for_one) return;
  auto& sessions = pool->workers_[worker.get()].sessions;
  if (sessions.size() >= Pool::kMostSessions) sessions.clear();
  sessions[{tls_context, tls_name}] = std::move(owned);
}

Pool& Pool::Of(net::Reactor& reactor) {
  static const char key = 0;
  std::shared_ptr<void>& place = reactor.Local(&key);
  if (!place) place = std::make_shared<Pool>(reactor);
  return *static_cast<Pool*>(place.get());
}

Pool::Pool(net::Reactor& reactor) : reactor_(reactor), scratch_(new char[kScratchBytes]) {
  reactor_.WhenLeaving([this] {
    is_leaving_ = true;
    for (auto& [worker, of] : workers_) CloseAbove(of, 0, 0);
  });
}

Pool::~Pool() = default;

std::unique_ptr<Link> Pool::TakeIdle(const Worker& worker, const TlsPlace& tls) {
  const auto found = workers_.find(&worker);
  if (found == workers_.end()) return nullptr;
  PerWorker& of = found->second;
  if (worker.ttl_ms) CloseAbove(of, 0, static_cast<uint64_t>(*worker.ttl_ms));
  const auto at = std::find_if(of.idle.rbegin(), of.idle.rend(), [&tls](const auto& link) {
    return link->tls_context == tls.context && link->tls_name == tls.name;
  });
  if (at == of.idle.rend()) {
    if (!of.idle.empty() && !HasRoom(worker)) {
      of.idle.erase(of.idle.begin());
      --of.open;
    }
    return nullptr;
  }
  std::unique_ptr<Link> out = std::move(*at);
  of.idle.erase(std::next(at).base());
  return out;
}

bool Pool::HasRoom(const Worker& worker) const {
  if (worker.most == 0) return true;
  const auto found = workers_.find(&worker);
  return found == workers_.end() || found->second.open < static_cast<size_t>(worker.most);
}

os::Result<std::unique_ptr<Link>> Pool::Connect(std::shared_ptr<const Worker> worker, const os::SocketAddress& address,
                                                int receive_buffer, bool& is_connected, const TlsPlace& tls) {
  auto link = std::make_unique<Link>();
  link->pool = this;
  link->tls_context = tls.context;
  link->tls_name = tls.name;
  link->fd = os::Fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!link->fd.valid()) return os::SysError(errno, "open a socket");
  const int on = 1;
  if (address.family() != AF_UNIX) ::setsockopt(link->fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (worker->keep_alive) ::setsockopt(link->fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  if (receive_buffer > 0) {
    ::setsockopt(link->fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  }
  int sys = 0;
  if (::connect(link->fd.get(), address.raw(), address.length()) != 0) sys = errno;
  if (sys != 0 && sys != EINPROGRESS) return os::SysError(sys, "connect");
  is_connected = sys == 0;
  auto watch = reactor_.WatchDescriptor(link->fd.get(), is_connected ? EPOLLIN : EPOLLOUT,
                                        [this, raw = link.get()](uint32_t events) { OnReady(raw, events); });
  if (!watch) return watch.error();
  link->watch = std::move(watch).value();
  if (worker->reuses || worker->most != 0) ++workers_[worker.get()].open;
  link->worker = std::move(worker);
  return link;
}

void Pool::OnReady(Link* link, uint32_t events) {
  if (link->user) {
    link->user->OnReady(events);
    return;
  }
  if (link->tls && (events & (EPOLLHUP | EPOLLERR)) == 0 && link->IsQuiet()) return;
  PerWorker& of = workers_[link->worker.get()];
  const auto found =
      std::find_if(of.idle.begin(), of.idle.end(), [link](const auto& idle) { return idle.get() == link; });
  if (found == of.idle.end()) return;
  const std::unique_ptr<Link> closed = std::move(*found);
  of.idle.erase(found);
  Closed(*closed->worker);
}

void Pool::Closed(const Worker& worker) {
  const auto found = workers_.find(&worker);
  if (found == workers_.end()) return;
  --found->second.open;
  if (!found->second.waiting.empty()) found->second.waiting.front()->OnRoom();
}

void Pool::Release(std::unique_ptr<Link> link, bool is_reusable) {
  link->user = nullptr;
  const std::shared_ptr<const Worker> worker = link->worker;
  // More than its answer, or some of it not sent: nobody knows what comes next.
  if (link->tls && (link->tls->has_unsent() || (link->has_buffered() && !link->IsQuiet()))) is_reusable = false;
  if (!is_reusable || !worker->reuses || is_leaving_) {
    link.reset();
    Closed(*worker);
    return;
  }
  link->watch->Want(EPOLLIN);
  link->idle_since_ms = reactor_.NowMs();
  PerWorker& of = workers_[worker.get()];
  of.idle.push_back(std::move(link));
  if (!of.waiting.empty()) of.waiting.front()->OnRoom();
  if (worker->soft_most && !worker->ttl_ms && of.waiting.empty())
    CloseAbove(of, static_cast<size_t>(*worker->soft_most), 0);
  if (worker->ttl_ms && !closing_) {
    closing_ = reactor_.After(std::chrono::milliseconds(*worker->ttl_ms), [this] { CloseOld(); });
  }
}

void Pool::CloseAbove(PerWorker& of, size_t kept, uint64_t ttl_ms) {
  size_t gone = 0;  // the first ones have been idle for longest
  while (of.idle.size() - gone > kept && reactor_.NowMs() - of.idle[gone]->idle_since_ms >= ttl_ms) ++gone;
  of.idle.erase(of.idle.begin(), of.idle.begin() + static_cast<ptrdiff_t>(gone));
  of.open -= gone;
}

void Pool::CloseOld() {
  closing_.reset();
  const uint64_t now_ms = reactor_.NowMs();
  uint64_t next_ms = UINT64_MAX;
  for (auto& [worker, of] : workers_) {
    if (!worker->ttl_ms) continue;
    const auto ttl = static_cast<uint64_t>(*worker->ttl_ms);
    const auto kept = static_cast<size_t>(worker->soft_most.value_or(0));
    CloseAbove(of, kept, ttl);
    if (of.idle.size() > kept) next_ms = std::min(next_ms, of.idle.front()->idle_since_ms + ttl - now_ms);
  }
  if (next_ms == UINT64_MAX) return;
  closing_ = reactor_.After(std::chrono::milliseconds(next_ms), [this] { CloseOld(); });
}

void Pool::Wait(const Worker& worker, Exchange& exchange) {
  std::deque<Exchange*>& waiting = workers_[&worker].waiting;
  if (std::find(waiting.begin(), waiting.end(), &exchange) == waiting.end()) waiting.push_back(&exchange);
}

void Pool::Leave(const Worker& worker, const Exchange& exchange) {
  const auto found = workers_.find(&worker);
  if (found == workers_.end()) return;
  std::erase(found->second.waiting, &exchange);
  // Whoever was told and does not want it any more tells the next.
  if (!found->second.waiting.empty() && (!found->second.idle.empty() || HasRoom(worker))) {
    found->second.waiting.front()->OnRoom();
  }
}

std::shared_ptr<Exchange> Pool::NewExchange() {
  std::unique_ptr<Exchange> made;
  if (spare_.empty()) {
    made = std::make_unique<Exchange>(*this);
  } else {
    made = std::move(spare_.back());
    spare_.pop_back();
  }
  return {made.release(), [this](Exchange* used) {
            std::unique_ptr<Exchange> owned(used);
            owned->Clear();
            if (spare_.size() < kMostSpare) spare_.push_back(std::move(owned));
          }};
}

}  // namespace httpd::modules::proxy
