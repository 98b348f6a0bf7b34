#include "httpd/net/event_loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>

#include "handover/message.h"
#include "httpd/http/values.h"
#include "os/socket.h"

namespace httpd::net {

namespace {

constexpr size_t kScratchBytes = 64U << 10;
constexpr size_t kMaxHeadBytes = 60U << 10;  // one head; fits the scratch buffer with room to read on
constexpr size_t kOutFlushBytes = 128U << 10;
constexpr size_t kSendfileBytes = 1U << 20;  // per turn and connection: a fast client must not own the loop
constexpr int kAcceptsPerTurn = 32;
constexpr uint64_t kSweepMs = 100;
constexpr uint64_t kIdleSweepMs = 250;
constexpr uint64_t kLingerMs = 2000;      // after the client's last byte
constexpr uint64_t kMaxLingerMs = 30000;  // in all; both as Apache
constexpr int kLingerReads = 16;          // per turn: who sends without end must not own the loop

// epoll user data: a Connection pointer is even; these are odd, with a number above.
constexpr uint64_t kTagListener = 1;
constexpr uint64_t kTagWake = 3;
constexpr uint64_t kTagIntake = 5;
constexpr uint64_t kTagForeign = 7;

enum ConnectionState : uint8_t { kIdle, kReading, kUploading, kWriting, kLingering };

bool HasToken(std::string_view list, std::string_view token) {
  for (size_t at = 0; at < list.size();) {
    size_t end = list.find(',', at);
    if (end == std::string_view::npos) end = list.size();
    std::string_view item = list.substr(at, end - at);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
    if (item.size() == token.size() &&
        std::equal(item.begin(), item.end(), token.begin(), [](char a, char b) { return (a | 0x20) == (b | 0x20); })) {
      return true;
    }
    at = end + 1;
  }
  return false;
}

void AppendNumber(std::string& out, uint64_t number) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}

/// What sendfile(2) does, through our memory, for file systems that it does not work on. Same result values.
ssize_t SendByReading(int socket, int file, off_t offset, size_t count) {
  char buffer[32768];
  const ssize_t n = ::pread(file, buffer, std::min(count, sizeof buffer), offset);
  return n <= 0 ? n : ::send(socket, buffer, static_cast<size_t>(n), MSG_NOSIGNAL);
}

struct Cursor {
  size_t part = 0;
  size_t text_done = 0;
  uint64_t file_done = 0;
  uint64_t body_sent = 0;
};

}  // namespace

void Response::Clear() {
  status = 200;
  fields.clear();
  body.clear();
  file.Reset();
  parts.clear();
  source.reset();
  use_sendfile = true;
  without_body = false;
  without_length = false;
  content_length = 0;
  close = false;
  keep_alive_timeout_ms = 5000;
  max_keep_alive_requests = 100;
  timeout_ms = 60000;
  host = 0;
  note.reset();
}

/// A request whose body is still arriving. The head is copied: the bytes it was parsed from are gone by then.
struct EventLoop::Upload {
  std::string head_text;
  http::RequestHead head;
  http::BodyReader body;
  uint64_t bytes_in = 0;
};

/// An answer from a file that the client has not taken yet.
struct EventLoop::Transfer {
  std::string head_text;
  http::RequestHead head;
  Response response;
  Cursor cursor;
  std::string response_head;
  uint64_t bytes_in = 0;
  bool keep = false;
};

struct EventLoop::Connection {
  os::Fd fd;
  uint32_t index = 0;
  uint32_t events = 0;  ///< registered with epoll; 0 = not at all
  uint32_t requests = 0;
  int worker = -1;
  uint64_t deadline_ms = 0;
  uint64_t linger_end_ms = 0;
  uint64_t work_started_ns = 0;
  int64_t work_wall_ns = 0;
  int keep_alive_timeout_ms = 5000;
  int timeout_ms = 60000;
  uint16_t local_port = 0;
  uint16_t client_port = 0;
  uint8_t state = kIdle;
  bool is_private = false;
  bool close_after = false;  ///< what is being sent is the last answer
  bool linger = false;       ///< ... and the client may still be sending
  bool working = false;
  bool was_shared = false;  ///< came from another process, which may hold its descriptor a moment longer
  std::string pending;      ///< read, not yet worked on
  std::string out;          ///< to be sent before anything else
  uint64_t out_sent = 0;    ///< bytes that went out before `out` got stuck
  std::string out_line;     ///< request line of the last answer in a stuck `out`
  std::unique_ptr<Upload> upload;
  std::unique_ptr<Transfer> transfer;
  char address[INET6_ADDRSTRLEN] = "";
};

EventLoop::EventLoop(Setup setup, RequestHandler& handler)
    : setup_(std::move(setup)), handler_(handler), scratch_(new char[kScratchBytes]) {
  out_.reserve(kOutFlushBytes + 4096);
  for (uint32_t i = setup_.slot->workers; i > 0; --i) free_workers_.push_back(i - 1);
}

EventLoop::~EventLoop() {
  for (Connection* c : connections_) delete c;
  for (Connection* c : free_) delete c;
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
  UpdateClock();
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

namespace {
uint64_t SteadyNs() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000ULL + static_cast<uint64_t>(t.tv_nsec);
}
}  // namespace

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
  epoll_event events[256];
  const int n = ::epoll_wait(epoll_.get(), events, 256, timeout);
  UpdateClock();
  for (int i = 0; i < n; ++i) {
    const uint64_t data = events[i].data.u64;
    switch (data & 7) {
      case kTagListener:
        // It may have been removed earlier in this turn.
        if (setup_.listeners[data >> 3].is_private ? watching_private_ : watching_public_) {
          Accept(setup_.listeners[data >> 3]);
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
      default:
        OnEvent(reinterpret_cast<Connection*>(data), events[i].events);
    }
  }
  RunCommands();
  if (now_ms_ >= next_sweep_ms_) Sweep();
  if (!passing_.empty()) FlushPassing();
  UpdateAccepting();
  logs_pending_ = !handler_.EndTurn();
}

// ---------------------------------------------------------------------------------------------------- accepting

void EventLoop::SetAccepting(bool on) {
  accepting_ = on;
  setup_.slot->accepting = on ? 1 : 0;
  UpdateAccepting();
}

void EventLoop::UpdateAccepting() {
  if (accept_again_ms_ != 0 && now_ms_ >= accept_again_ms_) accept_again_ms_ = 0;
  const bool room =
      setup_.slot->counters.busy.load(std::memory_order_relaxed) < setup_.max_busy && accept_again_ms_ == 0;
  const bool want_public = accepting_ && !draining_ && room;
  const bool want_private = (!draining_ || plan_.keep_private) && accept_again_ms_ == 0;
  if (want_public == watching_public_ && want_private == watching_private_) return;
  for (size_t i = 0; i < setup_.listeners.size(); ++i) {
    const ListenSource& source = setup_.listeners[i];
    const bool want = source.is_private ? want_private : want_public;
    const bool have = source.is_private ? watching_private_ : watching_public_;
    if (want == have) continue;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLEXCLUSIVE;
    event.data.u64 = (static_cast<uint64_t>(i) << 3) | kTagListener;
    // DEL comes before any close: the descriptor is shared with other processes, a close alone would leave it
    // registered.
    ::epoll_ctl(epoll_.get(), want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, source.fd, &event);
  }
  const bool left_public = watching_public_ && !want_public && room;
  watching_public_ = want_public;
  watching_private_ = want_private;
  if (left_public) {
    // An exclusive wait wakes one loop for a connection. If it was this one, a moment ago, nobody else will be woken
    // for it: take what is there. What arrives from now on wakes others.
    for (const ListenSource& source : setup_.listeners) {
      if (!source.is_private) Accept(source);
    }
  }
}

void EventLoop::Accept(const ListenSource& source) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage raw{};
    socklen_t length = sizeof raw;
    os::Fd fd(::accept4(source.fd, reinterpret_cast<sockaddr*>(&raw), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      const int sys = errno;
      if (sys == EINTR || sys == ECONNABORTED) continue;
      if (sys == EMFILE || sys == ENFILE || sys == ENOMEM || sys == ENOBUFS) {
        accept_again_ms_ = now_ms_ + 100;  // the backlog keeps who is waiting
        if (setup_.on_trouble) {
          setup_.on_trouble("accept: " + std::string(std::strerror(sys)) +
                            "; new connections wait in the backlog until descriptors are free");
        }
        UpdateAccepting();
      }
      return;
    }
    Connection* c = NewConnection(std::move(fd), source.port, source.is_private);
    if (raw.ss_family == AF_INET) {
      const auto* v4 = reinterpret_cast<const sockaddr_in*>(&raw);
      ::inet_ntop(AF_INET, &v4->sin_addr, c->address, sizeof c->address);
      c->client_port = ntohs(v4->sin_port);
    } else if (raw.ss_family == AF_INET6) {
      const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&raw);
      ::inet_ntop(AF_INET6, &v6->sin6_addr, c->address, sizeof c->address);
      c->client_port = ntohs(v6->sin6_port);
    } else {
      std::strcpy(c->address, "unix");
    }
    if (!source.is_private) {
      const int on = 1;
      ::setsockopt(c->fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      Bump(setup_.slot->counters.accepted, 1);
      ++accepted_;
      if (setup_.max_connections != 0 && accepted_ >= setup_.max_connections && !recycle_asked_ && setup_.on_recycle) {
        recycle_asked_ = true;
        setup_.on_recycle();
      }
    }
    c->timeout_ms = handler_.FirstTimeoutMs();
    c->deadline_ms = now_ms_ + static_cast<uint64_t>(c->timeout_ms);
    OnReadable(c);  // the request is often here already: then epoll never hears of a short connection
    if (setup_.slot->counters.busy.load(std::memory_order_relaxed) >= setup_.max_busy) {
      UpdateAccepting();
      return;
    }
  }
}

EventLoop::Connection* EventLoop::NewConnection(os::Fd fd, uint16_t local_port, bool is_private) {
  Connection* c;
  if (free_.empty()) {
    c = new Connection;
  } else {
    c = free_.back();
    free_.pop_back();
  }
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
}

void EventLoop::Destroy(Connection* c) {
  if (c->working) EndWork(c, 0, 0);
  // Not SetState(kIdle): whatever it was counted as ends here.
  LoopCounters& counters = setup_.slot->counters;
  if (c->state == kWriting) Bump(counters.writing, -1);
  if (c->state == kLingering) Bump(counters.closing, -1);
  if (c->state == kIdle && c->requests > 0) Bump(counters.keepalive, -1);
  Bump(counters.connections, -1);
  // While its sender still holds the description, a close alone would leave the registration behind, with a pointer to
  // a connection that is no more.
  if (c->was_shared && c->events != 0 && c->fd.valid()) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->fd.get(), nullptr);
  c->fd.Reset();
  connections_[c->index] = connections_.back();
  connections_[c->index]->index = c->index;
  connections_.pop_back();
  if (free_.size() < 256) {
    c->events = 0;
    c->requests = 0;
    c->worker = -1;
    c->state = kIdle;
    c->close_after = c->linger = c->working = c->was_shared = false;
    if (c->pending.capacity() > 4096) c->pending.shrink_to_fit();
    c->pending.clear();
    c->out.clear();
    c->out_sent = 0;
    c->out_line.clear();
    c->upload.reset();
    c->transfer.reset();
    free_.push_back(c);
  } else {
    delete c;
  }
}

void EventLoop::Want(Connection* c, uint32_t events) {
  if (c->events == events) return;
  epoll_event event{};
  event.events = events;
  event.data.ptr = c;
  ::epoll_ctl(epoll_.get(), c->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd.get(), &event);
  c->events = events;
}

// ---------------------------------------------------------------------------------------------------- reading

void EventLoop::OnEvent(Connection* c, uint32_t events) {
  if (c->state == kWriting) {
    if (events & (EPOLLERR | EPOLLHUP)) {
      if (c->transfer) FinishTransfer(c, true);
      Destroy(c);
      return;
    }
    OnWritable(c);
  } else {
    OnReadable(c);
  }
}

void EventLoop::OnReadable(Connection* c) {
  if (c->state == kLingering) {
    ssize_t n = 1;
    for (int i = 0; i < kLingerReads && n != 0; ++i) {
      n = ::recv(c->fd.get(), scratch_.get(), kScratchBytes, 0);
      if (n > 0) c->deadline_ms = std::min(now_ms_ + kLingerMs, c->linger_end_ms);
      if (n < 0 && errno != EINTR) break;
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
      Destroy(c);
    } else {
      Want(c, EPOLLIN);
    }
    return;
  }
  const size_t have = c->pending.size();
  std::memcpy(scratch_.get(), c->pending.data(), have);
  ssize_t n;
  do {
    n = ::recv(c->fd.get(), scratch_.get() + have, kScratchBytes - have, 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno == EAGAIN) {
      Want(c, EPOLLIN);
    } else {
      Destroy(c);
    }
    return;
  }
  if (n == 0) {
    Destroy(c);
    return;
  }
  c->pending.clear();
  Process(c, scratch_.get(), have + static_cast<size_t>(n));
}

Request EventLoop::MakeRequest(Connection* c, const http::RequestHead& head) {
  Request request;
  request.head = &head;
  request.client_address = c->address;
  request.client_port = c->client_port;
  request.local_port = c->local_port;
  request.fd = c->fd.get();
  request.is_private = c->is_private;
  request.requests_before = c->requests;
  request.start = std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(c->work_wall_ns)));
  return request;
}

void EventLoop::BeginWork(Connection* c, const http::RequestHead& head) {
  if (c->working) return;
  c->working = true;
  c->work_started_ns = SteadyNs();
  c->work_wall_ns = wall_ns_;
  if (c->state == kIdle) SetState(c, kReading);
  Bump(setup_.slot->counters.busy, 1);
  if (!free_workers_.empty()) {
    c->worker = static_cast<int>(free_workers_.back());
    free_workers_.pop_back();
    WorkerSlot& worker = setup_.slot->worker[static_cast<size_t>(c->worker)];
    worker.started_ms.store(now_ms_, std::memory_order_relaxed);
    worker.SetText(c->address, head.authority, head.line);
    worker.state.store('W', std::memory_order_relaxed);
  }
}

void EventLoop::EndWork(Connection* c, uint64_t bytes, int status) {
  c->working = false;
  LoopCounters& counters = setup_.slot->counters;
  Bump(counters.busy, -1);
  const uint64_t duration_us = (SteadyNs() - c->work_started_ns) / 1000;
  if (status != 0) {
    Bump(counters.accesses, 1);
    Bump(counters.bytes, bytes);
    Bump(counters.duration_us, duration_us);
    if (status >= 500) Bump(counters.errors, 1);
  }
  if (c->worker >= 0) {
    WorkerSlot& worker = setup_.slot->worker[static_cast<size_t>(c->worker)];
    worker.state.store('_', std::memory_order_relaxed);
    Bump(worker.accesses, 1);
    Bump(worker.bytes, bytes);
    worker.last_duration_ms.store(static_cast<uint32_t>(duration_us / 1000), std::memory_order_relaxed);
    free_workers_.push_back(static_cast<uint32_t>(c->worker));
    c->worker = -1;
  }
}

void EventLoop::BeginUpload(Connection* c, std::string_view head_text) {
  c->upload = std::make_unique<Upload>();
  Upload& upload = *c->upload;
  upload.head_text = head_text;
  http::ParseRequestHead(upload.head_text, handler_.Limits(), upload.head);  // it parsed before: the same again
  upload.bytes_in = head_text.size();
  upload.body.Start(upload.head, handler_.BodyLimit());
  BeginWork(c, upload.head);
  // A body that will be refused is not asked for.
  const bool refused = upload.body.Feed({}).state == http::BodyReader::Step::State::kBad;
  if (upload.head.expect_continue && !refused) out_ += "HTTP/1.1 100 Continue\r\n\r\n";
}

void EventLoop::Process(Connection* c, const char* data, size_t length) {
  size_t at = 0;
  out_.clear();
  bool answered = false;
  std::string upload_line;
  std::string_view last_line;  // of the last request answered here; lives in `data` or `upload_line`
  while (!c->close_after) {
    if (c->upload) {
      Upload& upload = *c->upload;
      http::BodyReader::Step step{};
      while (!upload.body.done()) {
        step = upload.body.Feed({data + at, length - at});
        at += step.consumed;
        upload.bytes_in += step.consumed;
        if (step.state == http::BodyReader::Step::State::kBad) break;
        if (step.consumed == 0 || (at == length && !upload.body.done())) break;
      }
      if (step.state == http::BodyReader::Step::State::kBad) {
        const std::unique_ptr<Upload> failed = std::move(c->upload);
        head_ = failed->head;  // views into failed->head_text, alive until the answer is written
        if (!AnswerBad(c, step.status, step.status == 413 ? "request body too large" : "malformed request body"))
          return;
        at = length;
        break;
      }
      if (!upload.body.done()) break;
      const std::unique_ptr<Upload> complete = std::move(c->upload);
      SetState(c, kReading);
      answered = true;
      upload_line = complete->head.line;
      last_line = upload_line;
      if (!Answer(c, complete->head, complete->head_text, complete->bytes_in)) {
        c->pending.assign(data + at, length - at);
        return;
      }
      continue;
    }
    if (at == length) break;
    // Leaving: what was not begun yet is for the successor.
    if (draining_ && plan_.successor >= 0 && !c->is_private && length - at <= handover::kMaxUnreadBytes) break;
    head_.Clear();
    const http::ParseResult parsed = http::ParseRequestHead({data + at, length - at}, handler_.Limits(), head_);
    if (parsed.state == http::ParseResult::State::kIncomplete) {
      if (length - at <= kMaxHeadBytes) break;
      if (!AnswerBad(c, 431, "request head larger than 60 KiB")) return;
      at = length;
      break;
    }
    if (parsed.state == http::ParseResult::State::kBad) {
      if (!AnswerBad(c, parsed.status, parsed.reason)) return;
      at = length;
      break;
    }
    const std::string_view head_text(data + at, parsed.consumed);
    at += parsed.consumed;
    if (head_.chunked || (head_.content_length && *head_.content_length > 0)) {
      BeginUpload(c, head_text);
      continue;
    }
    BeginWork(c, head_);
    answered = true;
    last_line = head_.line;
    if (!Answer(c, head_, head_text, head_text.size())) {
      c->pending.assign(data + at, length - at);
      return;
    }
    if (out_.size() >= kOutFlushBytes) {
      const Io flushed = FlushOut(c, false);
      if (flushed == Io::kGone) {
        Destroy(c);
        return;
      }
      if (flushed == Io::kBlocked) {
        c->out_line = last_line;
        c->pending.assign(data + at, length - at);
        return;
      }
    }
  }
  switch (FlushOut(c, false)) {
    case Io::kGone:
      Destroy(c);
      return;
    case Io::kBlocked:
      c->out_line = last_line;
      c->pending.assign(data + at, length - at);
      return;
    case Io::kDone:
      break;
  }
  if (c->close_after) {
    StartLinger(c);
    return;
  }
  if (c->upload) {
    if (c->state != kUploading) SetState(c, kUploading);
    c->deadline_ms = now_ms_ + static_cast<uint64_t>(c->timeout_ms);
    Want(c, EPOLLIN);
    return;
  }
  c->pending.assign(data + at, length - at);
  if (c->pending.empty()) {
    BecomeIdle(c);
    return;
  }
  if (draining_ && plan_.successor >= 0 && !c->is_private && c->pending.size() <= handover::kMaxUnreadBytes) {
    Pass(c, static_cast<uint64_t>(c->timeout_ms));
    return;
  }
  if (c->state != kReading || answered) {  // the time for a head runs from its first byte
    SetState(c, kReading);
    c->deadline_ms = now_ms_ + static_cast<uint64_t>(c->timeout_ms);
  }
  Want(c, EPOLLIN);
}

// ---------------------------------------------------------------------------------------------------- answering

bool EventLoop::Answer(Connection* c, const http::RequestHead& head, std::string_view head_text, uint64_t bytes_in) {
  response_.Clear();
  handler_.Handle(MakeRequest(c, head), response_);
  c->keep_alive_timeout_ms = response_.keep_alive_timeout_ms;
  c->timeout_ms = response_.timeout_ms;
  const bool limit_reached = response_.max_keep_alive_requests > 0 &&
                             c->requests + 1 >= static_cast<uint32_t>(response_.max_keep_alive_requests);
  const bool leaving = draining_ && (plan_.successor < 0 || c->is_private);
  const bool keep = head.keep_alive && !response_.close && !limit_reached && !leaving;
  // A client that asked for the close sends no more; one that we close on may be sending its next request.
  if (!keep) c->linger = head.keep_alive;
  return Send(c, response_, head, head_text, bytes_in, keep);
}

bool EventLoop::AnswerBad(Connection* c, int status, const char* reason) {
  BeginWork(c, head_);
  response_.Clear();
  handler_.HandleBad(MakeRequest(c, head_), status, reason, response_);
  c->linger = true;
  return Send(c, response_, head_, head_.line, head_.line.size(), false);
}

bool EventLoop::Send(Connection* c, Response& response, const http::RequestHead& head, std::string_view head_text,
                     uint64_t bytes_in, bool keep) {
  const size_t head_start = out_.size();
  out_ += http::StatusLine(response.status);
  out_ += date_line_;
  out_ += response.fields;
  uint64_t body_length = response.body.size();
  if (response.file.valid()) {
    body_length = 0;
    for (const Response::Part& part : response.parts) body_length += part.text.size() + part.length;
  }
  if (response.without_body && response.content_length != 0) body_length = response.content_length;
  if (!response.without_length) {
    out_ += "Content-Length: ";
    AppendNumber(out_, body_length);
    out_ += "\r\n";
  }
  if (!keep) {
    out_ += "Connection: close\r\n";
  } else if (head.Has(http::Known::kConnection) && HasToken(head.Get(http::Known::kConnection), "keep-alive")) {
    // Apache tells the terms only to clients that ask by name.
    out_ += "Keep-Alive: timeout=";
    AppendNumber(out_, static_cast<uint64_t>(std::max(1, response.keep_alive_timeout_ms / 1000)));
    if (response.max_keep_alive_requests > 0) {
      out_ += ", max=";
      AppendNumber(out_, static_cast<uint64_t>(response.max_keep_alive_requests) - c->requests - 1);
    }
    out_ += "\r\nConnection: Keep-Alive\r\n";
  }
  out_ += "\r\n";
  const size_t head_bytes = out_.size() - head_start;
  c->close_after = !keep;

  Outcome outcome;
  outcome.bytes_in = bytes_in;
  outcome.kept_alive = keep;
  if (response.without_body || !response.file.valid()) {
    if (!response.without_body) out_ += response.body;
    outcome.body_bytes = response.without_body ? 0 : response.body.size();
    outcome.bytes_out = head_bytes + outcome.body_bytes;
    outcome.duration = std::chrono::nanoseconds(SteadyNs() - c->work_started_ns);
    outcome.response_head = std::string_view(out_).substr(head_start, head_bytes);
    handler_.Finish(MakeRequest(c, head), response, outcome);
    EndWork(c, outcome.bytes_out, response.status);
    ++c->requests;
    return true;
  }

  auto transfer = std::make_unique<Transfer>();
  transfer->response_head = out_.substr(head_start, head_bytes);
  transfer->head_text = head_text;
  http::ParseRequestHead(transfer->head_text, handler_.Limits(), transfer->head);
  if (transfer->head.line.empty()) transfer->head.line = transfer->head_text;  // a bad one: all there is for the log
  transfer->response = std::move(response);
  transfer->bytes_in = bytes_in;
  transfer->keep = keep;
  c->transfer = std::move(transfer);
  const Io flushed = FlushOut(c, true);
  const Io pumped = flushed == Io::kDone ? PumpTransfer(c) : flushed;
  switch (pumped) {
    case Io::kDone:
      FinishTransfer(c, false);
      return true;
    case Io::kBlocked:
      return false;
    case Io::kGone:
      // The caller still holds the pointer: leave the wreck to the loop, which finds the error at once.
      FinishTransfer(c, true);
      c->close_after = true;
      c->linger = false;
      SetState(c, kWriting);
      c->deadline_ms = now_ms_;
      Want(c, EPOLLOUT);
      return false;
  }
  return false;
}

EventLoop::Io EventLoop::FlushOut(Connection* c, bool more) {
  // What is left from before goes first; then this turn's output.
  if (!c->out.empty()) {
    c->out += out_;
    out_.clear();
  }
  std::string& data = c->out.empty() ? out_ : c->out;
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t n = ::send(c->fd.get(), data.data() + done, data.size() - done, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) {
        out_.clear();
        c->out.clear();
        return Io::kGone;
      }
      data.erase(0, done);
      c->out_sent += done;
      if (&data == &out_) c->out.swap(out_);
      out_.clear();
      SetState(c, kWriting);
      c->deadline_ms = now_ms_ + static_cast<uint64_t>(c->timeout_ms);
      Want(c, EPOLLOUT);
      return Io::kBlocked;
    }
    done += static_cast<size_t>(n);
  }
  data.clear();
  c->out_sent = 0;
  return Io::kDone;
}

EventLoop::Io EventLoop::PumpTransfer(Connection* c) {
  Transfer& t = *c->transfer;
  size_t budget = kSendfileBytes;
  auto blocked = [&] {
    if (c->state != kWriting) c->deadline_ms = now_ms_ + static_cast<uint64_t>(c->timeout_ms);
    SetState(c, kWriting);
    Want(c, EPOLLOUT);
    return Io::kBlocked;
  };
  while (t.cursor.part < t.response.parts.size()) {
    const Response::Part& part = t.response.parts[t.cursor.part];
    const bool last = t.cursor.part + 1 == t.response.parts.size();
    if (t.cursor.text_done < part.text.size()) {
      const ssize_t n =
          ::send(c->fd.get(), part.text.data() + t.cursor.text_done, part.text.size() - t.cursor.text_done,
                 MSG_NOSIGNAL | (part.length > 0 || !last ? MSG_MORE : 0));
      if (n < 0) {
        if (errno == EINTR) continue;
        return errno == EAGAIN ? blocked() : Io::kGone;
      }
      t.cursor.text_done += static_cast<size_t>(n);
      t.cursor.body_sent += static_cast<uint64_t>(n);
    } else if (t.cursor.file_done < part.length) {
      if (budget == 0) return blocked();
      off_t offset = static_cast<off_t>(part.offset + t.cursor.file_done);
      const size_t want = static_cast<size_t>(std::min<uint64_t>(part.length - t.cursor.file_done, budget));
      const ssize_t n = t.response.use_sendfile ? ::sendfile(c->fd.get(), t.response.file.get(), &offset, want)
                                                : SendByReading(c->fd.get(), t.response.file.get(), offset, want);
      if (n < 0) {
        if (errno == EINTR) continue;
        return errno == EAGAIN ? blocked() : Io::kGone;
      }
      if (n == 0) return Io::kGone;  // the file became shorter than the length we promised: only a close can say so
      budget -= static_cast<size_t>(n);
      t.cursor.file_done += static_cast<uint64_t>(n);
      t.cursor.body_sent += static_cast<uint64_t>(n);
      c->deadline_ms = now_ms_ + static_cast<uint64_t>(c->timeout_ms);
    } else {
      ++t.cursor.part;
      t.cursor.text_done = 0;
      t.cursor.file_done = 0;
    }
  }
  return Io::kDone;
}

void EventLoop::FinishTransfer(Connection* c, bool aborted) {
  const std::unique_ptr<Transfer> t = std::move(c->transfer);
  Outcome outcome;
  outcome.body_bytes = t->cursor.body_sent;
  outcome.bytes_out = t->response_head.size() + t->cursor.body_sent;
  outcome.bytes_in = t->bytes_in;
  outcome.aborted = aborted;
  outcome.kept_alive = t->keep && !aborted;
  outcome.duration = std::chrono::nanoseconds(SteadyNs() - c->work_started_ns);
  outcome.response_head = t->response_head;
  handler_.Finish(MakeRequest(c, t->head), t->response, outcome);
  EndWork(c, outcome.bytes_out, t->response.status);
  ++c->requests;
}

void EventLoop::OnWritable(Connection* c) {
  out_.clear();
  switch (FlushOut(c, c->transfer != nullptr)) {
    case Io::kBlocked:
      return;
    case Io::kGone:
      if (c->transfer) FinishTransfer(c, true);
      Destroy(c);
      return;
    case Io::kDone:
      break;
  }
  if (c->transfer) {
    switch (PumpTransfer(c)) {
      case Io::kBlocked:
        return;
      case Io::kGone:
        FinishTransfer(c, true);
        Destroy(c);
        return;
      case Io::kDone:
        FinishTransfer(c, false);
        break;
    }
  }
  AfterAnswer(c);
}

void EventLoop::AfterAnswer(Connection* c) {
  if (c->close_after) {
    StartLinger(c);
    return;
  }
  SetState(c, kReading);
  if (!c->pending.empty() || c->upload) {
    const std::string rest = std::move(c->pending);
    c->pending.clear();
    Process(c, rest.data(), rest.size());
    return;
  }
  BecomeIdle(c);
}

void EventLoop::BecomeIdle(Connection* c, uint64_t wait_ms) {
  if (wait_ms == 0) wait_ms = static_cast<uint64_t>(c->requests == 0 ? c->timeout_ms : c->keep_alive_timeout_ms);
  if (draining_ && plan_.successor >= 0 && !c->is_private) {
    Pass(c, wait_ms);
    return;
  }
  if (c->state != kIdle) SetState(c, kIdle);
  c->deadline_ms = now_ms_ + wait_ms;
  Want(c, EPOLLIN);
}

void EventLoop::StartLinger(Connection* c) {
  if (!c->linger) {
    Destroy(c);
    return;
  }
  ::shutdown(c->fd.get(), SHUT_WR);
  SetState(c, kLingering);
  c->deadline_ms = now_ms_ + kLingerMs;
  c->linger_end_ms = now_ms_ + kMaxLingerMs;
  OnReadable(c);
}

void EventLoop::Sweep() {
  next_sweep_ms_ = now_ms_ + (connections_.empty() ? kIdleSweepMs : kSweepMs);
  for (size_t i = connections_.size(); i > 0; --i) {  // from the back: Destroy() moves the last one into the gap
    if (i > connections_.size()) continue;
    Connection* c = connections_[i - 1];
    if (c->deadline_ms > now_ms_) continue;
    if ((c->state == kReading || c->state == kUploading) && !c->is_private) {
      out_.clear();
      head_.Clear();
      if (c->upload) head_ = c->upload->head;
      const std::unique_ptr<Upload> late = std::move(c->upload);
      if (!AnswerBad(c, 408, "the request did not arrive in time")) continue;
      if (FlushOut(c, false) == Io::kDone) {
        StartLinger(c);
      } else {
        Destroy(c);
      }
      continue;
    }
    if (c->transfer) FinishTransfer(c, true);
    Destroy(c);
  }
  if (intake_watched_ && !draining_) {
    while (ReceiveAdopted()) {
    }
  }
  if (watching_public_) {
    // A loop that was killed may have taken a wake-up with it (see UpdateAccepting): look for forgotten connections.
    for (const ListenSource& source : setup_.listeners) {
      if (!source.is_private) Accept(source);
    }
  }
  Bump(setup_.slot->counters.lost_log_lines,
       handler_.LostLogLines() - setup_.slot->counters.lost_log_lines.load(std::memory_order_relaxed));
}

// ---------------------------------------------------------------------------------------------------- passing on

bool EventLoop::ReceiveAdopted() {
  os::Fd loan(setup_.intake);  // a Result-returning call wants an owner; a copy would need a free descriptor
  auto message = handover::Receive(loan);
  [[maybe_unused]] const int still_theirs = loan.Release();
  if (!message) {
    if (message.error().kind == os::ErrorKind::kNotFound) {
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, setup_.intake, nullptr);
      intake_watched_ = false;
    } else if (message.error().kind == os::ErrorKind::kInvalid && setup_.on_trouble) {
      setup_.on_trouble(message.error().what);
    }
    return false;
  }
  if (setup_.on_counters && message.value().Get("ACCESSES")) setup_.on_counters(message.value());
  auto connections = handover::UnpackConnections(std::move(message).value());
  if (!connections) {
    if (setup_.on_trouble) setup_.on_trouble(connections.error().what);
    return true;
  }
  for (handover::PassedConnection& passed : connections.value()) {
    ::fcntl(passed.fd.get(), F_SETFL, ::fcntl(passed.fd.get(), F_GETFL) | O_NONBLOCK);
    Bump(setup_.slot->counters.adopted, 1);
    GoOnWith(std::move(passed));
  }
  return true;
}

void EventLoop::GoOnWith(handover::PassedConnection passed) {
  auto local = os::SocketAddress::OfSocket(passed.fd);
  auto peer = os::SocketAddress::OfPeer(passed.fd);
  Connection* c = NewConnection(std::move(passed.fd), local ? local.value().port() : 0, false);
  c->was_shared = true;
  const std::string host = peer ? peer.value().Host() : "-";  // who has left already has no name; its end is read soon
  c->address[host.copy(c->address, sizeof c->address - 1)] = '\0';
  if (peer) c->client_port = peer.value().port();
  c->requests = passed.requests;
  if (c->requests > 0) Bump(setup_.slot->counters.keepalive, 1);
  c->timeout_ms = handler_.FirstTimeoutMs();
  c->keep_alive_timeout_ms = handler_.IdleTimeoutMs();
  if (passed.unread.empty()) {
    BecomeIdle(c, passed.wait_ms);
  } else {
    Process(c, passed.unread.data(), passed.unread.size());
  }
}

void EventLoop::Pass(Connection* c, uint64_t wait_ms) {
  handover::PassedConnection passed;
  passed.wait_ms = static_cast<uint32_t>(std::clamp<uint64_t>(wait_ms, 1, UINT32_MAX));
  if (c->events != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->fd.get(), nullptr);
  passed.unread = std::move(c->pending);
  passed.requests = c->requests;
  passed.fd = std::move(c->fd);
  Destroy(c);
  passing_.push_back(std::move(passed));
}

void EventLoop::FlushPassing() {
  while (!passing_.empty() && plan_.successor >= 0) {
    handover::Message message = handover::PackConnections(passing_);
    const size_t count = message.descriptors.size();
    os::Fd loan(plan_.successor);
    const os::Status sent = handover::Send(loan, message);
    [[maybe_unused]] const int still_theirs = loan.Release();
    if (sent) {
      Bump(setup_.slot->counters.passed, count);
      continue;
    }
    auto back = handover::UnpackConnections(std::move(message));
    if (back) {
      for (auto& passed : back.value()) passing_.push_back(std::move(passed));
    }
    if (sent.error().kind == os::ErrorKind::kBusy) return;  // the successor is slow to take: soon again
    if (setup_.on_trouble) setup_.on_trouble("hand connections over: " + sent.error().Text() + "; serving them here");
    break;
  }
  if (!passing_.empty()) NoSuccessorAnyMore();
}

void EventLoop::NoSuccessorAnyMore() {
  plan_.successor = -1;
  for (handover::PassedConnection& passed : std::exchange(passing_, {})) GoOnWith(std::move(passed));
}

void EventLoop::Drain(const DrainPlan& plan) {
  draining_ = true;
  plan_ = plan;
  setup_.slot->draining = 1;
  setup_.slot->accepting = 0;
  UpdateAccepting();
  if (intake_watched_ && !plan.read_intake) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, setup_.intake, nullptr);
    intake_watched_ = false;
    // As with listeners: a wake-up that was ours may have been meant for a connection that nobody else will hear of. It
    // is adopted here and passed on below, which wakes somebody who stays.
    while (ReceiveAdopted()) {
    }
  }
  if (plan.successor < 0) {
    if (!passing_.empty()) NoSuccessorAnyMore();
    return;
  }
  for (size_t i = connections_.size(); i > 0; --i) {
    Connection* c = connections_[i - 1];
    const bool between = c->state == kIdle || (c->state == kReading && !c->working && !c->upload);
    if (between && !c->is_private && c->pending.size() <= handover::kMaxUnreadBytes) {
      Pass(c, c->deadline_ms > now_ms_ ? c->deadline_ms - now_ms_ : 1);
    }
  }
  FlushPassing();
}

std::optional<handover::CutRequest> EventLoop::InProgress(const Connection* c) const {
  if (c->is_private || c->state == kIdle || c->state == kLingering) return std::nullopt;
  handover::CutRequest out;
  out.client = c->address;
  if (c->client_port != 0)
    out.client = (out.client.find(':') == std::string::npos ? out.client : "[" + out.client + "]") + ":" +
                 std::to_string(c->client_port);
  out.age_ms = (SteadyNs() - c->work_started_ns) / 1000000;
  if (c->transfer) {
    const Transfer& t = *c->transfer;
    uint64_t all = t.response_head.size();
    for (const Response::Part& part : t.response.parts) all += part.text.size() + part.length;
    const uint64_t done = t.response_head.size() + t.cursor.body_sent;
    out.phase = handover::CutRequest::Phase::kAnswering;
    out.bytes_sent = done - std::min<uint64_t>(done, c->out.size());
    out.bytes_left = all - *out.bytes_sent;
    out.request = t.head.line;
  } else if (c->state == kWriting) {
    out.phase = handover::CutRequest::Phase::kAnswering;
    out.bytes_sent = c->out_sent;
    out.bytes_left = c->out.size();
    out.request = c->out_line;
  } else if (c->upload) {
    out.phase = handover::CutRequest::Phase::kReceiving;
    out.bytes_sent = 0;
    out.request = c->upload->head.line;
  } else {
    if (c->pending.empty()) return std::nullopt;
    out.phase = handover::CutRequest::Phase::kReceiving;
    out.bytes_sent = 0;
    out.request = c->pending.substr(0, c->pending.find_first_of("\r\n"));
    const uint64_t began_ms = c->deadline_ms - static_cast<uint64_t>(c->timeout_ms);
    out.age_ms = now_ms_ - std::min(now_ms_, began_ms);
  }
  return out;
}

void EventLoop::CutAndStop(const std::function<void(const handover::CutRequest&)>& tell) {
  for (size_t i = connections_.size(); i > 0; --i) {
    Connection* c = connections_[i - 1];
    const auto request = InProgress(c);
    if (!request) continue;
    tell(*request);
    if (c->transfer) FinishTransfer(c, true);
    Destroy(c);
  }
  StopNow();
}

bool EventLoop::Finished() {
  if (setup_.may_end && !setup_.may_end()) return false;
  if (!connections_.empty() || !passing_.empty()) return false;
  // An exclusive wait may wake another loop for the end-of-file: look ourselves.
  if (intake_watched_) ReceiveAdopted();
  return !intake_watched_ && connections_.empty() && passing_.empty();
}

}  // namespace httpd::net
