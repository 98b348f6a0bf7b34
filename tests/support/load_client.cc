#include "tests/support/load_client.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <optional>
#include <random>
#include <set>

#include "os/file.h"
#include "tests/support/response_reader.h"

namespace support {
namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using Time = os::Clock::Steady;

constexpr milliseconds kContinuePatience{1000};  // then the body is sent unasked, RFC 9110 10.1.1
constexpr milliseconds kAfterFailure{5};         // a script would try again at once; a pause keeps refusals countable
constexpr milliseconds kPace{40};                // one piece of a slow transfer
constexpr milliseconds kKeepAliveTolerance{50};  // the server's clock started when it sent, ours when we had read
constexpr int kDownloadBuffer = 64 << 10;

struct Resource {
  std::string path;
  std::string body;
};

struct Request {
  uint64_t number = 0;
  const Resource* resource = nullptr;
  std::string_view expected;
  int status = 200;
  bool head = false;
  bool close = false;
  bool post = false;
  size_t range_from = 0, range_to = 0;  // both 0: whole
  Time start{};                         // latency counts from here
};

enum class Phase { kOff, kConnecting, kIdle, kActive };

struct Connection {
  ClientKind kind{};
  uint64_t rounds = 0;
  Phase phase = Phase::kOff;
  os::Fd fd;
  uint32_t events = 0;  // what epoll watches
  std::optional<Time> wake;
  Time round_start{};
  Time progress{};  // last byte either way; `late` counts from here for slow transfers
  Time connect_start{};

  std::deque<Request> pending;
  std::vector<Request> again;  // behind an announced close
  std::string out;
  size_t out_at = 0;
  bool write_broken = false;

  ResponseReader reader;
  bool reader_ready = false;
  bool first_byte_seen = false;
  size_t body_at = 0;
  bool body_right = true;
  uint64_t answers = 0;  // on this connection
  std::optional<int> keep_alive_seconds;
  Time last_answer{};

  size_t body_left = 0;  // upload: not yet put into `out`
  bool chunked = false;
  bool await_continue = false;
  uint64_t paced_bytes = 0;  // download: read so far of this response
  bool hurry = false;        // download: the connection has ended, what is left of it need not be slow
  bool answered_once = false;
};

char BodyByte(size_t at) {
  return static_cast<char>('a' + at % 23);
}

std::string Framing(std::string_view path, std::string_view rid) {
  std::string target(path);
  target += path.find('?') == std::string_view::npos ? "?rid=" : "&rid=";
  target += rid;
  return target;
}

}  // namespace

class LoadClient::Impl {
 public:
  Impl(LoadOptions options, os::Clock& clock) : o_(std::move(options)), clock_(clock), random_(o_.seed) {}

  os::Status Prepare();
  Report Run();
  void Stop() {
    const uint64_t one = 1;
    if (::write(stop_.get(), &one, sizeof one) < 0) return;  // only fails when it is full of stops already
  }

 private:
  os::Result<std::string> Fetch(const std::string& path);
  os::Result<os::Fd> StartConnect(ClientKind kind) const;

  void Wake(Connection& c);
  void BeginRound(Connection& c);
  void Compose(Connection& c);
  void AppendHead(Connection& c, const Request& request);
  void AppendBodyPiece(Connection& c);
  void Connect(Connection& c);
  void OnEvents(Connection& c, uint32_t events);
  void Flush(Connection& c);
  void Read(Connection& c);
  bool Consume(Connection& c, std::string_view data);
  bool Answer(Connection& c, std::string_view leftover);
  void FinishRound(Connection& c);
  void Ended(Connection& c, int sys);
  void FailAll(Connection& c, FailureKind first, FailureKind others, const std::string& detail);
  void Fail(Connection& c, const Request& request, FailureKind failure, const std::string& detail);
  void Note(Connection& c, FailureKind failure, std::string rid, const std::string& detail);
  void CheckLate();
  void Close(Connection& c);
  void Off(Connection& c, nanoseconds pause);
  void SetWake(Connection& c, std::optional<Time> when);
  void WatchFor(Connection& c, uint32_t events);
  uint32_t WantedEvents(const Connection& c) const;
  size_t DownloadAllowance(const Connection& c) const;
  void RecordLatency(Time start, Time end);
  void BeginStopping();
  void MarkAnswered(Connection& c);
  bool AllOff() const;
  std::string Rid(uint64_t number) const { return o_.run + "-" + std::to_string(number); }
  double Unix(Time at) const { return report_.started + std::chrono::duration<double>(at - started_).count(); }
  KindReport& Of(const Connection& c) { return report_.kinds[static_cast<size_t>(c.kind)]; }
  size_t Random(size_t low, size_t high) { return std::uniform_int_distribution<size_t>(low, high)(random_); }
  void Log(os::Fd& fd, std::string& buffer, std::string_view line, size_t limit);

  LoadOptions o_;
  os::Clock& clock_;
  std::mt19937_64 random_;
  os::Fd epoll_, stop_, answered_, failed_;
  std::string answered_text_, failed_text_;
  std::vector<Resource> small_;
  Resource big_, upload_;
  std::vector<Connection> connections_;
  std::set<std::pair<Time, Connection*>> wakes_;
  uint64_t next_number_ = 1;
  size_t next_small_ = 0;
  size_t waiting_for_first_ = 0;
  bool stopping_ = false;
  bool give_up_ = false;
  Time now_{};  // of this turn: one clock reading serves all events of it, and latencies read their own
  Time started_{};
  Report report_;
  std::vector<char> buffer_ = std::vector<char>(256U << 10);
};

os::Status LoadClient::Impl::Prepare() {
  if (o_.run.empty() || o_.run.find_first_of(" &#\"\r\n") != std::string::npos) {
    return os::Error{os::ErrorKind::kInvalid, 0, "run name \"" + o_.run + "\" must have no spaces, quotes, & or #"};
  }
  const auto invalid = [](const char* what) { return os::Error{os::ErrorKind::kInvalid, 0, what}; };
  const auto& n = o_.connections;
  if (std::any_of(n.begin(), n.end(), [](int count) { return count < 0; })) return invalid("clients: below 0");
  if (std::all_of(n.begin(), n.end(), [](int count) { return count == 0; })) return invalid("no clients of any kind");
  if (o_.rate < 0 || o_.duration.count() < 0 || o_.download_time.count() <= 0 || o_.upload_time.count() < 0) {
    return invalid("rate and times must not be negative, the time of a download must be above 0");
  }
  if (o_.small.empty()) return invalid("no small file to ask for");
  if (o_.think_min > o_.think_max) return invalid("think time: minimum above maximum");
  if (o_.late <= milliseconds(0)) return invalid("late must be above 0 ms");
  const bool downloads = o_.connections[static_cast<size_t>(ClientKind::kDownload)] > 0;
  if (downloads && o_.big.empty()) return invalid("download clients need a big file");

  for (const auto& path : o_.small) {
    auto body = Fetch(path);
    if (!body) return body.error();
    small_.push_back({path, std::move(body).value()});
  }
  if (downloads) {
    auto body = Fetch(o_.big);
    if (!body) return body.error();
    big_ = {o_.big, std::move(body).value()};
  }
  upload_ = small_.front();
  if (!o_.upload.empty() && o_.upload != upload_.path) {
    auto body = Fetch(o_.upload);
    if (!body) return body.error();
    upload_ = {o_.upload, std::move(body).value()};
  }
  epoll_ = os::Fd(::epoll_create1(EPOLL_CLOEXEC));
  stop_ = os::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_.valid() || !stop_.valid()) return os::SysError(errno, "make an epoll descriptor");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop_.get(), &event) != 0)
    return os::SysError(errno, "watch the stop event");
  for (auto [path, fd] : {std::pair{&o_.answered_file, &answered_}, std::pair{&o_.failed_file, &failed_}}) {
    if (path->empty()) continue;
    auto file = os::Open(*path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (!file) return file.error();
    *fd = std::move(file).value();
  }
  return os::kDone;
}

/// One blocking GET on a connection of its own.
os::Result<std::string> LoadClient::Impl::Fetch(const std::string& path) {
  const std::string name = "reference http://" + o_.server.Text() + path;
  os::Fd fd(::socket(o_.server.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return os::SysError(errno, "make a socket");
  const timeval patience{10, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(fd.get(), o_.server.raw(), o_.server.length()) != 0) return os::SysError(errno, name + ": connect");
  auto sent = os::WriteAll(fd, "GET " + Framing(path, o_.run + "-reference") + " HTTP/1.1\r\nHost: " + o_.host +
                                   "\r\nConnection: close\r\n\r\n");
  if (!sent) return sent.error();
  ResponseReader reader;
  reader.Start(false);
  std::string body;
  while (!reader.done() && !reader.bad()) {
    const ssize_t got = ::recv(fd.get(), buffer_.data(), buffer_.size(), 0);
    if (got < 0) return os::SysError(errno, name + ": read");
    if (got == 0) {
      if (reader.End()) break;
      return os::Error{os::ErrorKind::kIo, 0, name + ": the response is cut"};
    }
    reader.Feed({buffer_.data(), static_cast<size_t>(got)}, [&body](std::string_view part) { body += part; });
  }
  if (reader.bad()) return os::Error{os::ErrorKind::kInvalid, 0, name + ": " + reader.reason()};
  if (reader.status() != 200) {
    return os::Error{os::ErrorKind::kInvalid, 0, name + ": status " + std::to_string(reader.status()) + ", not 200"};
  }
  return body;
}

Report LoadClient::Impl::Run() {
  size_t total = 0;
  for (const int n : o_.connections) total += static_cast<size_t>(std::max(n, 0));
  connections_ = std::vector<Connection>(total);
  waiting_for_first_ = total;
  started_ = now_ = clock_.SteadyNow();
  report_.started = std::chrono::duration<double>(clock_.WallNow().time_since_epoch()).count();
  size_t at = 0;
  for (size_t kind = 0; kind < kClientKinds; ++kind) {
    for (int n = 0; n < o_.connections[kind]; ++n, ++at) {
      connections_[at].kind = static_cast<ClientKind>(kind);
      // Spread over a fifth of a second, so that clients of one kind do not march in step.
      SetWake(connections_[at], now_ + microseconds(Random(0, 200'000)));
    }
  }
  const std::optional<Time> end = o_.duration.count() > 0 ? std::optional(started_ + o_.duration) : std::nullopt;
  constexpr milliseconds kTick{50};  // late requests, stop file
  Time next_tick = started_ + kTick;
  std::array<epoll_event, 256> events;

  while (true) {
    Time until = next_tick;
    if (!wakes_.empty()) until = std::min(until, wakes_.begin()->first);
    if (end && !stopping_) until = std::min(until, *end);
    const auto wait = std::max(nanoseconds(0), nanoseconds(until - clock_.SteadyNow()));
    const timespec span{wait.count() / 1'000'000'000, wait.count() % 1'000'000'000};
    const int ready = ::epoll_pwait2(epoll_.get(), events.data(), events.size(), &span, nullptr);
    now_ = clock_.SteadyNow();
    for (int i = 0; i < ready; ++i) {
      if (events[i].data.ptr != nullptr) {
        OnEvents(*static_cast<Connection*>(events[i].data.ptr), events[i].events);
        continue;
      }
      uint64_t stops = 0;
      if (::read(stop_.get(), &stops, sizeof stops) == sizeof stops) {
        if (stopping_ || stops > 1) give_up_ = true;
        BeginStopping();
      }
    }
    while (!wakes_.empty() && wakes_.begin()->first <= now_) {
      Connection& c = *wakes_.begin()->second;
      SetWake(c, std::nullopt);
      Wake(c);
    }
    if (end && now_ >= *end) BeginStopping();
    if (now_ >= next_tick) {
      next_tick = now_ + kTick;
      CheckLate();
      if (!stopping_ && !o_.stop_file.empty() && ::access(o_.stop_file.c_str(), F_OK) == 0) BeginStopping();
    }
    if (stopping_ && (give_up_ || AllOff())) break;
  }
  for (auto& c : connections_) {
    Of(c).abandoned += c.pending.size() + c.again.size();
    Close(c);
  }
  Log(answered_, answered_text_, {}, 0);
  Log(failed_, failed_text_, {}, 0);
  report_.seconds = std::chrono::duration<double>(clock_.SteadyNow() - started_).count();
  return std::move(report_);
}

bool LoadClient::Impl::AllOff() const {
  return std::all_of(connections_.begin(), connections_.end(),
                     [](const Connection& c) { return c.phase == Phase::kOff && c.again.empty(); });
}

void LoadClient::Impl::BeginStopping() {
  if (stopping_) return;
  stopping_ = true;
  for (auto& c : connections_) {
    if (c.phase == Phase::kIdle) {
      // A close that came before ours, but that we have not looked at yet, still counts.
      Read(c);
      if (c.phase == Phase::kIdle) Close(c);
    }
    if (c.phase == Phase::kOff && c.again.empty()) SetWake(c, std::nullopt);
  }
}

void LoadClient::Impl::SetWake(Connection& c, std::optional<Time> when) {
  if (c.wake) wakes_.erase({*c.wake, &c});
  c.wake = when;
  if (c.wake) wakes_.insert({*c.wake, &c});
}

void LoadClient::Impl::Close(Connection& c) {
  SetWake(c, std::nullopt);
  c.fd.Reset();  // the only descriptor of this socket, so epoll forgets it
  c.events = 0;
  c.phase = Phase::kOff;
}

/// Closes and begins again on a new connection after `pause`.
void LoadClient::Impl::Off(Connection& c, nanoseconds pause) {
  Close(c);
  if (!stopping_ || !c.again.empty()) SetWake(c, now_ + pause);
}

/// A timer of this connection is due: what for follows from its phase.
void LoadClient::Impl::Wake(Connection& c) {
  switch (c.phase) {
    case Phase::kOff:
      if (!stopping_ || !c.again.empty()) BeginRound(c);
      return;
    case Phase::kIdle:
      Read(c);  // a close that came before the request is told apart from one that came under it
      if (c.phase == Phase::kIdle) BeginRound(c);
      return;
    case Phase::kConnecting:
      return;
    case Phase::kActive:
      if (c.kind == ClientKind::kUpload && c.body_left > 0) {
        c.await_continue = false;
        AppendBodyPiece(c);
        Flush(c);
      } else if (c.kind == ClientKind::kDownload) {
        Read(c);
      }
      return;
  }
}

void LoadClient::Impl::BeginRound(Connection& c) {
  c.round_start = c.progress = now_;
  ++c.rounds;
  c.out.clear();
  c.out_at = 0;
  c.body_left = 0;
  c.await_continue = false;
  c.write_broken = false;
  c.reader_ready = false;
  c.paced_bytes = 0;
  c.hurry = false;
  Compose(c);
  if (c.phase == Phase::kIdle) {
    c.phase = Phase::kActive;
    Flush(c);
  } else {
    c.answers = 0;
    c.keep_alive_seconds.reset();
    Connect(c);
  }
}

void LoadClient::Impl::Compose(Connection& c) {
  if (!c.again.empty()) {
    for (auto& request : c.again) {
      request.start = now_;
      c.pending.push_back(request);
    }
    c.again.clear();
  } else {
    const size_t count = c.kind == ClientKind::kPipeline ? Random(2, 8) : 1;
    for (size_t i = 0; i < count; ++i) {
      Request request;
      request.number = next_number_++;
      request.start = now_;
      ++Of(c).requests;
      if (c.kind == ClientKind::kDownload) {
        request.resource = &big_;
      } else if (c.kind == ClientKind::kUpload) {
        request.resource = &upload_;
        request.post = true;
      } else {
        request.resource = &small_[next_small_++ % small_.size()];
      }
      request.expected = request.resource->body;
      request.close = c.kind == ClientKind::kFresh && c.rounds % 2 == 0;
      if (c.kind == ClientKind::kPipeline) {
        const size_t size = request.expected.size();
        const size_t dice = Random(0, 3);
        if (dice == 0) {
          request.head = true;
        } else if (dice == 1 && o_.ranges && size > 2) {
          request.range_from = Random(1, size - 2);
          request.range_to = Random(request.range_from, size - 1);
          request.expected = request.expected.substr(request.range_from, request.range_to - request.range_from + 1);
          request.status = 206;
        }
      }
      c.pending.push_back(request);
    }
  }
  for (const auto& request : c.pending) AppendHead(c, request);
}

void LoadClient::Impl::AppendHead(Connection& c, const Request& request) {
  c.out += request.post ? "POST " : request.head ? "HEAD " : "GET ";
  c.out += Framing(request.resource->path, Rid(request.number));
  c.out += " HTTP/1.1\r\nHost: ";
  c.out += o_.host;
  c.out += "\r\nUser-Agent: loadclient/";
  c.out += kClientKindNames[static_cast<size_t>(c.kind)];
  if (request.close) c.out += "\r\nConnection: close";
  if (request.range_to > 0) {
    c.out += "\r\nRange: bytes=" + std::to_string(request.range_from) + "-" + std::to_string(request.range_to);
  }
  if (request.post) {
    c.chunked = c.rounds % 2 == 0;
    c.await_continue = c.rounds % 3 == 0;
    c.body_left = o_.upload_bytes;
    c.out += "\r\nContent-Type: application/octet-stream";
    c.out += c.chunked ? "\r\nTransfer-Encoding: chunked" : "\r\nContent-Length: " + std::to_string(c.body_left);
    if (c.await_continue) c.out += "\r\nExpect: 100-continue";
  }
  c.out += "\r\n\r\n";
}

void LoadClient::Impl::AppendBodyPiece(Connection& c) {
  const auto pieces = static_cast<size_t>(std::max<int64_t>(1, o_.upload_time / kPace));
  const size_t size = std::min(c.body_left, o_.upload_bytes / pieces + 1);
  const size_t at = o_.upload_bytes - c.body_left;
  if (c.chunked) {
    char text[20];
    std::snprintf(text, sizeof text, "%zx\r\n", size);
    c.out += text;
  }
  for (size_t i = 0; i < size; ++i) c.out += BodyByte(at + i);
  if (c.chunked) c.out += "\r\n";
  c.body_left -= size;
  if (c.body_left == 0 && c.chunked) c.out += "0\r\n\r\n";
}

os::Result<os::Fd> LoadClient::Impl::StartConnect(ClientKind kind) const {
  os::Fd fd(::socket(o_.server.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return os::SysError(errno, "make a socket");
  const int one = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (kind == ClientKind::kDownload) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kDownloadBuffer, sizeof kDownloadBuffer);
  }
  return fd;
}

void LoadClient::Impl::Connect(Connection& c) {
  c.connect_start = now_ = clock_.SteadyNow();
  for (auto& request : c.pending) request.start = now_;
  auto fd = StartConnect(c.kind);
  if (!fd) {
    FailAll(c, FailureKind::kClient, FailureKind::kClient, fd.error().Text());
    return Off(c, kAfterFailure);
  }
  c.fd = std::move(fd).value();
  c.phase = Phase::kConnecting;
  const int outcome = ::connect(c.fd.get(), o_.server.raw(), o_.server.length());
  if (outcome != 0 && errno != EINPROGRESS) {
    const int sys = errno;
    const auto kind = sys == EADDRNOTAVAIL || sys == ENOBUFS ? FailureKind::kClient : FailureKind::kRefused;
    FailAll(c, kind, kind, os::SysError(sys, "connect").Text());
    return Off(c, kAfterFailure);
  }
  c.events = EPOLLOUT;
  epoll_event event{};
  event.events = c.events;
  event.data.ptr = &c;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, c.fd.get(), &event) != 0) {
    FailAll(c, FailureKind::kClient, FailureKind::kClient, os::SysError(errno, "watch a socket").Text());
    Off(c, kAfterFailure);
  }
}

void LoadClient::Impl::OnEvents(Connection& c, uint32_t events) {
  if (c.phase == Phase::kOff) return;
  if (c.phase == Phase::kConnecting) {
    int sys = 0;
    socklen_t length = sizeof sys;
    ::getsockopt(c.fd.get(), SOL_SOCKET, SO_ERROR, &sys, &length);
    if (sys == 0 && (events & EPOLLOUT) == 0) return;
    if (sys == ECONNRESET || sys == EPIPE) {  // the handshake was done, then the listener went away
      FailAll(c, FailureKind::kResetBefore, FailureKind::kResetBefore, os::SysError(sys, "after connect").Text());
      return Off(c, kAfterFailure);
    }
    if (sys != 0) {
      FailAll(c, FailureKind::kRefused, FailureKind::kRefused, os::SysError(sys, "connect").Text());
      return Off(c, kAfterFailure);
    }
    Of(c).connect.Record(duration_cast<microseconds>(clock_.SteadyNow() - c.connect_start).count());
    ++Of(c).connections;
    c.phase = Phase::kActive;
    c.progress = now_;
    return Flush(c);
  }
  if ((events & (EPOLLHUP | EPOLLERR)) != 0)
    c.hurry = true;  // reported whatever we watch for: reading slowly would spin
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) Read(c);
  if (c.phase == Phase::kActive && (events & EPOLLOUT) != 0) Flush(c);
}

/// Sends what is ready, then waits for what is next.
void LoadClient::Impl::Flush(Connection& c) {
  while (c.out_at < c.out.size() && !c.write_broken) {
    const ssize_t sent = ::send(c.fd.get(), c.out.data() + c.out_at, c.out.size() - c.out_at, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN) break;
      // The peer has closed; it may have answered before. Reading tells, and tells how it ended.
      c.write_broken = true;
      c.body_left = 0;
      return Read(c);
    }
    c.out_at += static_cast<size_t>(sent);
    c.progress = now_;
  }
  if (c.out_at == c.out.size()) {
    c.out.clear();
    c.out_at = 0;
    if (c.kind == ClientKind::kUpload && !c.pending.empty()) {
      if (c.body_left > 0) {
        if (!c.wake) SetWake(c, now_ + (c.await_continue ? nanoseconds(kContinuePatience) : nanoseconds(kPace)));
      } else if (!c.reader_ready || !c.first_byte_seen) {
        c.pending.front().start = clock_.SteadyNow();
      }
    }
  }
  WatchFor(c, WantedEvents(c));
}

uint32_t LoadClient::Impl::WantedEvents(const Connection& c) const {
  uint32_t events = EPOLLIN | EPOLLRDHUP;
  if (c.out_at < c.out.size() && !c.write_broken) events |= EPOLLOUT;
  // A slow reader sleeps on its timer: its socket is nearly always readable.
  if (c.kind == ClientKind::kDownload && c.phase == Phase::kActive && c.paced_bytes > 0) events = 0;
  return events;
}

void LoadClient::Impl::WatchFor(Connection& c, uint32_t events) {
  if (!c.fd.valid() || c.events == events) return;
  c.events = events;
  epoll_event event{};
  event.events = events;
  event.data.ptr = &c;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, c.fd.get(), &event);
}

/// How many bytes a slow download may read now.
size_t LoadClient::Impl::DownloadAllowance(const Connection& c) const {
  if (c.hurry) return buffer_.size();
  const double share = std::chrono::duration<double>(now_ - c.round_start) / o_.download_time;
  const auto allowed = static_cast<uint64_t>(share * static_cast<double>(big_.body.size())) + 4096;
  return allowed > c.paced_bytes ? allowed - c.paced_bytes : 0;
}

void LoadClient::Impl::Read(Connection& c) {
  while (c.fd.valid()) {
    size_t room = buffer_.size();
    const bool paced = c.kind == ClientKind::kDownload && c.phase == Phase::kActive;
    if (paced) {
      room = std::min(room, DownloadAllowance(c));
      if (room == 0) break;
    }
    const ssize_t got = ::recv(c.fd.get(), buffer_.data(), room, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) return Ended(c, got < 0 ? errno : 0);
    Of(c).bytes += static_cast<uint64_t>(got);
    c.progress = now_;
    if (paced) c.paced_bytes += static_cast<uint64_t>(got);
    if (!Consume(c, {buffer_.data(), static_cast<size_t>(got)})) return;
    if (!paced && static_cast<size_t>(got) < room) break;  // drained; a close behind it comes as the next event
  }
  if (!c.fd.valid()) return;
  if (c.kind == ClientKind::kDownload && c.phase == Phase::kActive && c.paced_bytes > 0 && !c.wake) {
    SetWake(c, now_ + kPace);
  }
  WatchFor(c, WantedEvents(c));
}

/// @return false when the connection was given up or its round has ended
bool LoadClient::Impl::Consume(Connection& c, std::string_view data) {
  while (!data.empty()) {
    if (c.pending.empty()) {
      Note(c, FailureKind::kMalformed, "",
           "bytes that belong to no request: \"" + std::string(data.substr(0, 40)) + "\"");
      Off(c, kAfterFailure);
      return false;
    }
    Request& request = c.pending.front();
    if (!c.reader_ready) {
      c.reader.Start(request.head);
      c.reader_ready = true;
      c.first_byte_seen = false;
      c.body_at = 0;
      c.body_right = true;
    }
    const bool continued = c.reader.continued();
    const size_t used = c.reader.Feed(data, [&c, &request](std::string_view part) {
      if (!c.body_right) return;
      if (request.head || part.size() > request.expected.size() - c.body_at ||
          std::memcmp(part.data(), request.expected.data() + c.body_at, part.size()) != 0) {
        c.body_right = false;
        return;
      }
      c.body_at += part.size();
    });
    data.remove_prefix(used);
    // An interim response is no answer: neither its first byte nor the 100 a body waits for.
    const bool final_answer = c.reader.status() >= 200 || c.reader.bad();
    if (final_answer && !c.first_byte_seen) {
      c.first_byte_seen = true;
      const Time seen = clock_.SteadyNow();
      Of(c).first_byte.Record(duration_cast<microseconds>(seen - request.start).count());
      RecordLatency(request.start, seen);
      if (c.kind == ClientKind::kDownload) MarkAnswered(c);
    }
    if (c.reader.bad()) {
      FailAll(c, FailureKind::kMalformed, FailureKind::kMalformed, c.reader.reason());
      Off(c, kAfterFailure);
      return false;
    }
    if (c.await_continue && !continued && c.reader.continued()) {
      c.await_continue = false;
      SetWake(c, now_);
    }
    if (c.reader.done() && !Answer(c, data)) return false;
  }
  return true;
}

void LoadClient::Impl::MarkAnswered(Connection& c) {
  if (std::exchange(c.answered_once, true)) return;
  if (--waiting_for_first_ == 0 && !o_.started_file.empty()) {
    auto written = os::ReplaceFile(o_.started_file, "started\n", 0644);
    if (!written) report_.notes.push_back({Unix(now_), c.kind, FailureKind::kClient, "", written.error().Text()});
  }
}

/// The response to the oldest request is complete. @return false when the connection or the round has ended
bool LoadClient::Impl::Answer(Connection& c, std::string_view leftover) {
  const Request request = c.pending.front();
  c.pending.pop_front();
  c.reader_ready = false;
  ++c.answers;
  c.last_answer = now_;
  c.keep_alive_seconds = c.reader.keep_alive_seconds();
  if (c.reader.status() != request.status) {
    Fail(c, request, FailureKind::kWrongStatus,
         "status " + std::to_string(c.reader.status()) + ", not " + std::to_string(request.status));
  } else if (!c.body_right || (!request.head && c.body_at != request.expected.size())) {
    Fail(c, request, FailureKind::kWrongBody,
         c.body_right
             ? "body of " + std::to_string(c.body_at) + " bytes, not " + std::to_string(request.expected.size())
             : "body differs after byte " + std::to_string(c.body_at));
  } else {
    ++Of(c).answered;
    MarkAnswered(c);
    if (answered_.valid()) Log(answered_, answered_text_, Rid(request.number) + "\n", 64U << 10);
  }
  const bool closes = c.reader.closes() || request.close;
  if (closes) {
    if (!request.close) ++Of(c).announced_closes;
    if (!leftover.empty()) {
      Note(c, FailureKind::kMalformed, "", "bytes after a response that announced the close");
    }
    // What was sent behind an announced close was never looked at: RFC 9112 9.6. It is asked again, with the same rid.
    Of(c).retried += c.pending.size();
    c.again.assign(c.pending.begin(), c.pending.end());
    c.pending.clear();
    Close(c);
    FinishRound(c);
    return false;
  }
  if (!c.pending.empty()) return true;
  // An answer before the end of the body is right; but what is left of it would have to go out before the next request.
  if (c.body_left > 0 || c.out_at < c.out.size()) Close(c);
  FinishRound(c);
  return c.fd.valid() && !leftover.empty();
}

/// All requests of the round are settled. The connection is open (to be kept) or closed already.
void LoadClient::Impl::FinishRound(Connection& c) {
  if (c.fd.valid() && (c.kind == ClientKind::kFresh || stopping_)) Close(c);
  if (stopping_ && c.again.empty()) {
    SetWake(c, std::nullopt);
    return;
  }
  nanoseconds pause{0};
  switch (c.kind) {
    case ClientKind::kFresh:
    case ClientKind::kBusy:
      if (o_.rate > 0) {
        const int clients = o_.connections[static_cast<size_t>(ClientKind::kFresh)] +
                            o_.connections[static_cast<size_t>(ClientKind::kBusy)];
        const auto interval = nanoseconds(static_cast<int64_t>(clients / o_.rate * 1e9));
        pause = std::max(nanoseconds(0), nanoseconds(c.round_start + interval - now_));
      }
      break;
    case ClientKind::kIdle:
      pause =
          milliseconds(Random(static_cast<size_t>(o_.think_min.count()), static_cast<size_t>(o_.think_max.count())));
      break;
    case ClientKind::kPipeline:
      pause = milliseconds(Random(0, 40));
      break;
    case ClientKind::kUpload:  // a server that answers before the body has come is not to be flooded
      pause = std::max(nanoseconds(0), nanoseconds(c.round_start + o_.upload_time - now_));
      break;
    case ClientKind::kDownload:
      break;
  }
  if (!c.again.empty()) pause = nanoseconds(0);
  if (c.fd.valid()) {
    c.phase = Phase::kIdle;
    c.paced_bytes = 0;
    WatchFor(c, WantedEvents(c));
  }
  SetWake(c, now_ + pause);
}

/// The server has closed (`sys` 0) or reset the connection. Whether that is a failure follows from what it had said.
void LoadClient::Impl::Ended(Connection& c, int sys) {
  const std::string how = sys == 0 ? "closed" : os::SysError(sys, "").Text().substr(2);
  if (c.pending.empty()) {
    const auto idle = now_ - c.last_answer;
    const bool promised_over =
        c.keep_alive_seconds && idle + kKeepAliveTolerance >= std::chrono::seconds(*c.keep_alive_seconds);
    if (promised_over) {
      ++Of(c).announced_closes;
    } else {
      char text[80];
      std::snprintf(text, sizeof text, " after %.3f s idle", std::chrono::duration<double>(idle).count());
      Note(c, FailureKind::kClosedIdle, "", how + text);
    }
    // The request that was to come is not late by this: it begins on a new connection when its time comes.
    const auto wake = c.wake;
    Close(c);
    if (!stopping_) SetWake(c, wake ? *wake : now_);
    return;
  }
  if (sys == 0 && c.reader_ready && c.reader.started() && c.reader.End()) {
    Answer(c, {});
    return;
  }
  const bool within = c.reader_ready && c.reader.started() && c.reader.status() >= 200;
  const bool some = c.reader_ready && c.reader.started();
  if (within || (some && !c.reader.continued())) {
    FailAll(c, FailureKind::kCut, FailureKind::kClosedUnderRequest,
            how + " after " + std::to_string(c.body_at) + " body bytes");
  } else {
    const auto kind = c.answers > 0 ? FailureKind::kClosedUnderRequest : FailureKind::kResetBefore;
    FailAll(c, kind, kind, how);
  }
  Off(c, kAfterFailure);
}

void LoadClient::Impl::FailAll(Connection& c, FailureKind first, FailureKind others, const std::string& detail) {
  for (size_t i = 0; i < c.pending.size(); ++i) {
    RecordLatency(c.pending[i].start, clock_.SteadyNow());
    Fail(c, c.pending[i], i == 0 ? first : others, detail);
  }
  c.pending.clear();
}

void LoadClient::Impl::Fail(Connection& c, const Request& request, FailureKind failure, const std::string& detail) {
  std::string rid = Rid(request.number);
  if (failed_.valid()) {
    Log(failed_, failed_text_,
        rid + " " + std::string(kClientKindNames[static_cast<size_t>(c.kind)]) + " " +
            std::string(kFailureKindNames[static_cast<size_t>(failure)]) + "\n",
        0);
  }
  Note(c, failure, std::move(rid), detail);
}

void LoadClient::Impl::Note(Connection& c, FailureKind failure, std::string rid, const std::string& detail) {
  ++Of(c).failures[static_cast<size_t>(failure)];
  if (report_.notes.size() < Report::kMaxNotes) {
    report_.notes.push_back({Unix(now_), c.kind, failure, std::move(rid), detail});
  }
}

void LoadClient::Impl::CheckLate() {
  for (auto& c : connections_) {
    if ((c.phase != Phase::kActive && c.phase != Phase::kConnecting) || c.pending.empty()) continue;
    const bool slow = c.kind == ClientKind::kDownload || c.kind == ClientKind::kUpload;
    const Time since = slow ? c.progress : c.round_start;
    if (now_ - since < o_.late) continue;
    FailAll(c, FailureKind::kLate, FailureKind::kLate,
            c.phase == Phase::kConnecting ? "no connection"
            : c.reader_ready              ? "answer not complete"
                                          : "no answer");
    Off(c, nanoseconds(0));
  }
}

void LoadClient::Impl::RecordLatency(Time start, Time end) {
  const auto us = static_cast<uint32_t>(
      std::min<int64_t>(duration_cast<microseconds>(end - start).count(), std::numeric_limits<uint32_t>::max()));
  for (const Time at : {start, end}) {
    const auto slot = static_cast<size_t>(std::max<int64_t>(0, (at - started_) / Report::kStep));
    if (slot >= report_.worst_us.size()) report_.worst_us.resize(slot + 1, 0);
    report_.worst_us[slot] = std::max(report_.worst_us[slot], std::max(us, 1U));
  }
}

void LoadClient::Impl::Log(os::Fd& fd, std::string& buffer, std::string_view line, size_t limit) {
  if (!fd.valid()) return;
  buffer += line;
  if (buffer.size() < limit) return;
  auto written = os::WriteAll(fd, buffer);
  if (!written && report_.notes.size() < Report::kMaxNotes) {
    // A join against a short list would blame the server: the run counts as failed instead.
    ++report_.kinds[0].failures[static_cast<size_t>(FailureKind::kClient)];
    report_.notes.push_back({Unix(now_), ClientKind::kFresh, FailureKind::kClient, "", written.error().Text()});
  }
  buffer.clear();
}

os::Result<std::unique_ptr<LoadClient>> LoadClient::Create(LoadOptions options, os::Clock& clock) {
  auto impl = std::make_unique<Impl>(std::move(options), clock);
  auto prepared = impl->Prepare();
  if (!prepared) return prepared.error();
  return std::unique_ptr<LoadClient>(new LoadClient(std::move(impl)));
}

LoadClient::LoadClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LoadClient::~LoadClient() = default;
Report LoadClient::Run() {
  return impl_->Run();
}
void LoadClient::Stop() {
  impl_->Stop();
}

}  // namespace support
