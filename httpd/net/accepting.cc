#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "httpd/net/connection.h"
#include "httpd/net/event_loop.h"
#include "httpd/net/http2.h"
#include "httpd/net/proxied.h"

namespace httpd::net {

namespace {

constexpr size_t kGivenUpAtOnce = 16;
constexpr size_t kConnectionsInABlock = 64;
constexpr size_t kLookedAtMost = 256;  // for them: of those whose time is up within the same tick

/// As inet_ntop(3), whose way through printf is a fifth of all the instructions of a short connection.
void WriteAddress(const in_addr& address, char (&to)[INET6_ADDRSTRLEN]) {
  const auto* byte = reinterpret_cast<const uint8_t*>(&address.s_addr);
  char* at = to;
  for (int i = 0; i < 4; ++i) {
    if (i > 0) *at++ = '.';
    at = std::to_chars(at, to + sizeof to, byte[i]).ptr;
  }
  *at = '\0';
}

}  // namespace

bool EventLoop::HasRoom() const {
  // Who only waits for a slow client takes memory, not time: it does not keep others from being served.
  if (setup_.slot->counters.busy.load(std::memory_order_relaxed) - client_bound_ >= setup_.max_busy) return false;
  // Full: somebody goes when somebody comes, not before. Where nobody could go, nobody is looked for all the time.
  return !IsFull() || now_ms_ >= give_up_again_ms_;
}

bool EventLoop::IsFull() const {
  return setup_.max_held != 0 && connections_.size() >= setup_.max_held;
}

size_t EventLoop::GiveUpIdle(size_t most) {
  if (now_ms_ < give_up_again_ms_) return 0;
  std::vector<Connection*> idle;
  uint64_t tick = 0;  // of the last of them
  deadlines_.VisitInOrder([&](Deadline& entry) {
    auto* c = static_cast<Connection*>(&entry);
    if (c->deadline_ms > c->look_ms) {  // it was busy since
      deadlines_.File(*c, c->deadline_ms);
      return true;
    }
    const uint64_t its_tick = c->deadline_ms / DeadlineWheel::kTickMs;
    if (idle.size() >= most && (its_tick != tick || idle.size() >= kLookedAtMost)) return false;
    if (c->state == kIdle && c->requests > 0 && !c->is_private) {
      idle.push_back(c);
      tick = its_tick;
    }
    return true;
  });
  // The one that was answered longest ago, as long as all are given the same time.
  std::stable_sort(idle.begin(), idle.end(),
                   [](const Connection* a, const Connection* b) { return a->deadline_ms < b->deadline_ms; });
  const size_t candidates = std::min(idle.size(), most);
  size_t closed = 0;
  for (size_t i = 0; i < candidates; ++i) {
    if (idle[i]->tls && idle[i]->tls->has_buffered()) continue;
    char byte;
    // A request that is here already is served: only a connection that is really between two requests goes.
    if (::recv(idle[i]->fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN) continue;
    if (idle[i]->http2) idle[i]->http2->SayGoodbye();
    Destroy(idle[i]);
    ++closed;
  }
  if (closed == 0) give_up_again_ms_ = now_ms_ + 100;  // nobody is idle: do not look again at every turn
  return closed;
}

void EventLoop::SetAccepting(bool on) {
  accepting_ = on;
  setup_.slot->accepting = on ? 1 : 0;
  UpdateAccepting();
}

void EventLoop::UpdateAccepting() {
  if (accept_again_ms_ != 0 && now_ms_ >= accept_again_ms_) accept_again_ms_ = 0;
  const bool room = HasRoom() && accept_again_ms_ == 0;
  const bool want_public = accepting_ && !draining_ && room;
  const bool want_private = (!draining_ || plan_.keep_private) && accept_again_ms_ == 0;
  if (want_public == watching_public_ && want_private == watching_private_) return;
  for (size_t i = 0; i < setup_.listeners.size(); ++i) {
    const ListenSource& source = setup_.listeners[i];
    const bool want = source.is_private ? want_private : want_public;
    const bool have = source.is_private ? watching_private_ : watching_public_;
    if (want == have) continue;
    WatchListener(i, want);
  }
  const bool left_public = watching_public_ && !want_public && room;
  watching_public_ = want_public;
  watching_private_ = want_private;
  if (left_public) {
    // An exclusive wait wakes one loop for a connection. If it was this one, a moment ago, nobody else will be woken
    // for it: take what is there. What arrives from now on wakes others.
    for (const ListenSource& source : setup_.listeners) {
      if (!source.is_private) Accept(source, kMostAccepts);
    }
  }
}

void EventLoop::WatchListener(size_t listener, bool on) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLEXCLUSIVE;
  event.data.u64 = (static_cast<uint64_t>(listener) << 3) | kTagListener;
  // DEL comes before any close: the descriptor is shared with other processes, a close alone would leave it registered.
  ::epoll_ctl(epoll_.get(), on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, setup_.listeners[listener].fd, &event);
}

void EventLoop::LetOthersComeFirst(size_t listener, size_t kept) {
  kept_in_a_row_ += kept;
  if (kept_in_a_row_ < kMostInARow || setup_.listeners[listener].is_private || !watching_public_) return;
  kept_in_a_row_ = 0;
  // An exclusive wait wakes the first that waits, always the same as long as it is quick: of two loops one would get
  // every connection. Who is added again waits behind the others, and hears at once of what is there already. Those
  // that are closed again at once do not count: one loop with its data at hand is the cheapest for them.
  WatchListener(listener, false);
  WatchListener(listener, true);
}

int EventLoop::Accept(const ListenSource& source, int most) {
  int taken = 0;
  while (taken < most) {
    if (!source.is_private && IsFull()) {
      pollfd waiting{source.fd, POLLIN, 0};
      if (::poll(&waiting, 1, 0) != 1) return taken;
      if (GiveUpIdle(kGivenUpAtOnce) == 0) {
        UpdateAccepting();
        return taken;
      }
    }
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    os::Fd fd(::accept4(source.fd, reinterpret_cast<sockaddr*>(&raw), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      const int sys = errno;
      if (sys == EINTR || sys == ECONNABORTED) continue;
      if (sys == EMFILE || sys == ENFILE || sys == ENOMEM || sys == ENOBUFS) {
        if (GiveUpIdle(kGivenUpAtOnce) > 0) continue;
        accept_again_ms_ = now_ms_ + 100;  // the backlog keeps who is waiting
        if (setup_.on_trouble) {
          setup_.on_trouble("accept: " + std::string(std::strerror(sys)) +
                            "; new connections wait in the backlog until descriptors are free");
        }
        UpdateAccepting();
      }
      return taken;
    }
    ++taken;
    Connection* c = NewConnection(std::move(fd), source.port, source.is_private);
    if (raw.ss_family == AF_INET) {
      const auto* v4 = reinterpret_cast<const sockaddr_in*>(&raw);
      WriteAddress(v4->sin_addr, c->address);
      c->client_port = ntohs(v4->sin_port);
    } else if (raw.ss_family == AF_INET6) {
      const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&raw);
      ::inet_ntop(AF_INET6, &v6->sin6_addr, c->address, sizeof c->address);
      c->client_port = ntohs(v6->sin6_port);
    } else {
      std::strcpy(c->address, "unix");
    }
    if (!source.is_private) {
      Bump(setup_.slot->counters.accepted, 1);
      ++accepted_;
      if (setup_.max_connections != 0 && accepted_ >= setup_.max_connections && !recycle_asked_ && setup_.on_recycle) {
        recycle_asked_ = true;
        setup_.on_recycle();
      }
    }
    c->timeout_ms = handler_.FirstTimeoutMs();
    if (setup_.tls && !source.is_private) c->tls = setup_.tls->Accept(c->fd.get(), c->local_port);
    c->awaits_proxy_header =
        setup_.proxied && !source.is_private && setup_.proxied->Expects(c->fd.get(), c->local_port, c->address);
    BeginReading(c, nullptr);
    c->deadline_ms = ReadDeadline(c, 0);
    OnReadable(c);  // the request is often here already: then epoll never hears of a short connection
    if (!HasRoom()) {
      UpdateAccepting();
      return taken;
    }
  }
  return taken;
}

Connection* EventLoop::NewConnection(os::Fd fd, uint16_t local_port, bool is_private) {
  if (free_.empty()) {
    blocks_.push_back(std::make_unique<Connection[]>(kConnectionsInABlock));
    for (size_t i = kConnectionsInABlock; i > 0; --i) free_.push_back(&blocks_.back()[i - 1]);
  }
  Connection* c = free_.back();
  free_.pop_back();
  c->fd = std::move(fd);
  c->local_port = local_port;
  c->client_port = 0;
  c->is_private = is_private;
  c->index = static_cast<uint32_t>(connections_.size());
  connections_.push_back(c);
  Bump(setup_.slot->counters.connections, 1);
  next_sweep_ms_ = std::min(next_sweep_ms_, now_ms_ + kSweepMs);
  return c;
}

}  // namespace httpd::net
