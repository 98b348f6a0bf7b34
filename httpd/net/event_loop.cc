#include "httpd/net/event_loop.h"

#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "handover/message.h"
#include "httpd/http/values.h"
#include "httpd/net/connection.h"
#include "httpd/net/http2.h"

namespace httpd::net {

namespace {

constexpr uint64_t kIdleSweepMs = 250;
constexpr size_t kTrimBytes = 256U << 10;  // of buffers that were freed
constexpr uint64_t kTrimMs = 1000;         // at least between two: it costs more than a request does

}  // namespace

EventLoop::EventLoop(Setup setup, RequestHandler& handler)
    : setup_(std::move(setup)), handler_(handler), scratch_(new char[kScratchBytes]) {
  out_.reserve(kOutFlushBytes + 4096);
  for (uint32_t i = setup_.slot->workers; i > 0; --i) free_workers_.push_back(i - 1);
}

EventLoop::~EventLoop() {
  for (Connection* c : connections_) {
    if (c->wake) c->wake->connection = nullptr;
    c->http2.reset();
  }
  blocks_.clear();
  soon_.clear();
  response_.Clear();
  kept_.clear();
  locals_.clear();
}

os::Status EventLoop::Open() {
  epoll_ = os::Fd(::epoll_create1(EPOLL_CLOEXEC));
  wake_ = os::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_.valid() || !wake_.valid()) return os::SysError(errno, "open an event loop");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kTagWake;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0)
    return os::SysError(errno, "open an event loop");
  if (setup_.intake >= 0) {
    event.events = EPOLLIN | EPOLLEXCLUSIVE;
    event.data.u64 = kTagIntake;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, setup_.intake, &event) != 0) {
      return os::SysError(errno, "watch the intake");
    }
    intake_watched_ = true;
  }
  for (const ListenSource& source : setup_.listeners) {
    // Connections inherit it: a call less for each.
    const int on = 1;
    if (!source.is_private) ::setsockopt(source.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  UpdateClock();
  deadlines_.PassTo(now_ms_);
  stream_deadlines_.PassTo(now_ms_);
  UpdateAccepting();
  return os::kDone;
}

os::Status EventLoop::WatchForeign(int fd, std::function<void()> ready) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = (static_cast<uint64_t>(foreign_.size()) << 3) | kTagForeign;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return os::SysError(errno, "watch a descriptor");
  foreign_.emplace_back(fd, std::move(ready));
  return os::kDone;
}

void EventLoop::Post(std::function<void()> command) {
  {
    const std::lock_guard lock(commands_mutex_);
    commands_.push_back(std::move(command));
  }
  const uint64_t one = 1;
  while (::write(wake_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void EventLoop::RunCommands() {
  std::vector<std::function<void()>> now;
  {
    const std::lock_guard lock(commands_mutex_);
    now.swap(commands_);
  }
  for (auto& command : now) command();
}

void EventLoop::UpdateClock() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  now_ms_ = static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1000000;
  ::clock_gettime(CLOCK_REALTIME, &t);
  wall_ns_ = t.tv_sec * 1000000000LL + t.tv_nsec;
  if (t.tv_sec != date_second_) {
    date_second_ = t.tv_sec;
    date_line_ = "Date: " + http::FormatDate(t.tv_sec) + "\r\nServer: ";
    date_line_ += handler_.ServerName();
    date_line_ += "\r\n";
  }
}
void EventLoop::Run() {
  while (!stop_) {
    Turn();
    if (draining_ && Finished()) break;
  }
  for (int tries = 0; tries < 100 && !handler_.EndTurn(); ++tries) {
    timespec pause{0, 5000000};  // a log program that does not read: half a second, then its lines are given up
    ::nanosleep(&pause, nullptr);
  }
}

void EventLoop::Turn() {
  int timeout = -1;
  if (!connections_.empty() || accept_again_ms_ != 0 || watching_public_) {
    timeout = next_sweep_ms_ > now_ms_ ? static_cast<int>(next_sweep_ms_ - now_ms_) : 0;
  }
  if (draining_ && intake_watched_) timeout = timeout < 0 ? 50 : std::min(timeout, 50);
  if (logs_pending_ || !passing_.empty()) timeout = timeout < 0 ? 2 : std::min(timeout, 2);
  timeout = UntilDue(timeout);
  epoll_event events[256];
  const int n = ::epoll_wait(epoll_.get(), events, 256, timeout);
  UpdateClock();
  for (int i = 0; i < n; ++i) {
    const uint64_t data = events[i].data.u64;
    switch (data & 7) {
      case kTagListener:
        // It may have been removed earlier in this turn.
        if (setup_.listeners[data >> 3].is_private ? watching_private_ : watching_public_) {
          const size_t held = connections_.size();
          const int taken = Accept(setup_.listeners[data >> 3], accept_at_once_);
          accept_at_once_ = taken < accept_at_once_ ? std::max(taken, 1) : std::min(2 * taken, kMostAccepts);
          if (connections_.size() > held) LetOthersComeFirst(data >> 3, connections_.size() - held);
        }
        break;
      case kTagWake: {
        uint64_t count;
        while (::read(wake_.get(), &count, sizeof count) < 0 && errno == EINTR) {
        }
        break;
      }
      case kTagIntake:
        if (intake_watched_) ReceiveAdopted();
        break;
      case kTagForeign:
        foreign_[data >> 3].second();
        break;
      case kTagWatch:
        OnWatch(data, events[i].events);
        break;
      default:
        OnEvent(reinterpret_cast<Connection*>(data), events[i].events);
    }
  }
  dead_watches_.clear();
  RunCommands();
  RunTimers();
  RunSoonWork();
  if (now_ms_ >= next_sweep_ms_) Sweep();
  if (!passing_.empty()) FlushPassing();
  UpdateAccepting();
  logs_pending_ = !handler_.EndTurn();
}
void EventLoop::SetState(Connection* c, uint8_t state) {
  if (c->state == state) return;
  LoopCounters& counters = setup_.slot->counters;
  auto count = [&](uint8_t of, int by) {
    if (of == kWriting) Bump(counters.writing, by);
    if (of == kLingering) Bump(counters.closing, by);
    if (of == kIdle) Bump(counters.keepalive, by);
  };
  // A connection before its first request is "idle" too, but it was never counted: keepalive starts after an answer.
  if (c->state != kIdle || c->requests > 0) count(c->state, -1);
  c->state = state;
  if (state != kIdle || c->requests > 0) count(state, 1);
  Recount(c);
}

void EventLoop::Destroy(Connection* c) {
  if (c->working) EndWork(c, 0, 0);
  c->http2.reset();
  // Not SetState(kIdle): whatever it was counted as ends here.
  LoopCounters& counters = setup_.slot->counters;
  if (c->state == kWriting) Bump(counters.writing, -1);
  if (c->state == kLingering) Bump(counters.closing, -1);
  if (c->state == kIdle && c->requests > 0) Bump(counters.keepalive, -1);
  Bump(counters.connections, -1);
  if (c->client_bound) --client_bound_;
  // While its sender still holds the description, a close alone would leave the registration behind, with a pointer to
  // a connection that is no more.
  if (c->was_shared && c->events != 0 && c->fd.valid()) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->fd.get(), nullptr);
  if (c->tls) {
    if (c->state == kIdle) c->tls->Close();  // in the middle of an answer it would say that this was all
    c->tls.reset();
  }
  c->fd.Reset();
  connections_[c->index] = connections_.back();
  connections_[c->index]->index = c->index;
  connections_.pop_back();
  c->events = 0;
  c->requests = 0;
  c->worker = -1;
  c->state = kIdle;
  c->close_after = c->linger = c->working = c->was_shared = c->is_read_timed = c->client_bound =
      c->awaits_proxy_header = false;
  c->peer.reset();
  c->Unfile();
  GiveBack(c);
  c->asked.reset();
  c->transfer.reset();
  free_.push_back(c);
}

void EventLoop::GiveBack(Connection* c) {
  if (c->unsent) freed_bytes_ += c->unsent->text.capacity();
  c->unsent.reset();
  if (c->pending.capacity() > std::string().capacity()) {
    freed_bytes_ += c->pending.capacity();
    std::string().swap(c->pending);
  }
  c->pending.clear();
}

void EventLoop::TrimMemory() {
  if (freed_bytes_ < kTrimBytes || now_ms_ < trim_again_ms_) return;
  freed_bytes_ = 0;
  trim_again_ms_ = now_ms_ + kTrimMs;
  ::malloc_trim(0);
}

void EventLoop::Want(Connection* c, uint32_t events) {
  if (c->tls) events = BeforeWaiting(c, events);
  if (c->deadline_ms < c->look_ms) deadlines_.File(*c, c->deadline_ms);
  if (c->events == events) return;
  epoll_event event{};
  event.events = events;
  event.data.ptr = c;
  ::epoll_ctl(epoll_.get(), c->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd.get(), &event);
  c->events = events;
}
void EventLoop::Sweep() {
  next_sweep_ms_ = now_ms_ + (connections_.empty() ? kIdleSweepMs : kSweepMs);
  deadlines_.PassTo(now_ms_);
  while (Deadline* due = deadlines_.TakeDue()) {
    auto* c = static_cast<Connection*>(due);
    if (c->deadline_ms > now_ms_) {
      deadlines_.File(*c, c->deadline_ms);
      continue;
    }
    deadlines_.File(*c, now_ms_ + kSweepMs);  // whatever becomes of it here: as long as it is there, it is looked at
    if (c->http2) {
      GoOnWithHttp2(c, c->http2->OnDeadline());
      continue;
    }
    if (c->awaits_proxy_header) {
      RefuseProxyHeader(c, "RemoteIPProxyProtocol: no PROXY header came in time");
      continue;
    }
    if (c->asked && c->asked->response.deferred &&
        (c->state == kWaiting || (c->state == kUploading && c->asked->response.holds_continue))) {
      ResumeAnswer(c, true);
      continue;
    }
    const bool is_answered = c->asked && c->asked->is_answered;
    if ((c->state == kReading || c->state == kUploading) && !c->is_private && !is_answered) {
      out_.clear();
      head_.Clear();
      if (c->asked) head_ = c->asked->head;
      const std::unique_ptr<Asked> late = std::move(c->asked);
      if (!AnswerBad(c, 408, late ? "Request body read timeout" : "Request header read timeout")) continue;
      if (FlushOut(c, false) == Io::kDone) {
        StartLinger(c);
      } else {
        Destroy(c);
      }
      continue;
    }
    GiveUp(c);
    Destroy(c);
  }
  if (http2_) SweepStreams();
  TrimMemory();
  if (intake_watched_ && !draining_) {
    while (ReceiveAdopted()) {
    }
  }
  if (watching_public_) {
    // A loop that was killed may have taken a wake-up with it (see UpdateAccepting): look for forgotten connections.
    for (const ListenSource& source : setup_.listeners) {
      if (!source.is_private) Accept(source, kMostAccepts);
    }
  }
  Bump(setup_.slot->counters.lost_log_lines,
       handler_.LostLogLines() - setup_.slot->counters.lost_log_lines.load(std::memory_order_relaxed));
}

}  // namespace httpd::net
