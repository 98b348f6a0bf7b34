#include "tests/httpd/net/loop_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <charconv>
#include <future>

namespace httpd::net {

namespace {
constexpr std::chrono::seconds kPatience(5);

uint64_t NumberAt(std::string_view text) {
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}
}  // namespace

FakeHandler::FakeHandler() {
  ::signal(SIGPIPE, SIG_IGN);  // as every child does
}

os::Fd FakeHandler::OpenFile(uint64_t bytes) const {
  os::Fd file(::memfd_create("answer", MFD_CLOEXEC));
  std::string chunk(65536, 'f');
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t n = ::write(file.get(), chunk.data(), std::min<uint64_t>(chunk.size(), bytes - done));
    if (n <= 0) break;
    done += static_cast<uint64_t>(n);
  }
  return file;
}

void FakeHandler::Handle(const Request& request, Response& response) {
  response.timeout_ms = timeout_ms;
  response.keep_alive_timeout_ms = keep_alive_timeout_ms;
  response.max_keep_alive_requests = max_keep_alive_requests;
  const std::string_view path = request.head->path;
  response.body = "ok";
  if (path.starts_with("/file/") || path.starts_with("/read/")) {
    const uint64_t bytes = NumberAt(path.substr(6));
    response.file = OpenFile(bytes);
    response.parts.push_back({"", 0, bytes});
    response.use_sendfile = path.starts_with("/file/");
  } else if (path == "/parts") {
    response.file = OpenFile(100);
    response.parts = {{"<", 0, 10}, {"|", 50, 5}, {">", 0, 0}};
  } else if (path == "/truncated") {
    response.file = OpenFile(50);
    response.parts.push_back({"", 0, 100});
  } else if (path == "/custom") {
    response.body.clear();
    answer(request, response);
  } else if (path == "/close") {
    response.close = true;
  } else if (path.size() > 1 && path[1] >= '0' && path[1] <= '9') {
    response.body = std::string(NumberAt(path.substr(1)), 'b');
  }
  if (request.head->method == http::Method::kHead) {
    response.content_length = response.body.size();
    response.without_body = true;
  }
}

void FakeHandler::HandleBad(const Request&, int status, const char*, Response& response) {
  response.timeout_ms = timeout_ms;
  response.status = status;
  response.close = true;
  response.body = "bad";
  if (bad_file_bytes != 0) {
    response.file = OpenFile(bad_file_bytes);
    response.parts.push_back({"", 0, bad_file_bytes});
  }
}

void FakeHandler::Finish(const Request& request, const Response& response, const Outcome& outcome) {
  const std::lock_guard lock(mutex_);
  finished_.push_back({std::string(request.head->line),
                       std::string(request.client_address) + ":" + std::to_string(request.client_port), response.status,
                       outcome.body_bytes, outcome.bytes_in, outcome.aborted, outcome.kept_alive,
                       request.requests_before});
}

std::vector<FakeHandler::Finished> FakeHandler::Log() const {
  const std::lock_guard lock(mutex_);
  return finished_;
}

RunningLoop::RunningLoop(FakeHandler& handler, std::function<void(EventLoop::Setup&)> adjust) : handler_(handler) {
  listener_ = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", 0).value(), 128).value();
  port_ = os::SocketAddress::OfSocket(listener_).value().port();
  auto intake = os::SocketPair(SOCK_SEQPACKET, SOCK_NONBLOCK).value();
  intake_read_ = std::move(intake.first);
  intake_write_ = std::move(intake.second);
  slot_->workers = 8;
  EventLoop::Setup setup;
  setup.listeners.push_back({listener_.get(), port_, false});
  setup.intake = intake_read_.get();
  setup.slot = slot_.get();
  setup.on_trouble = [this](std::string_view text) {
    const std::lock_guard lock(mutex_);
    troubles_.emplace_back(text);
  };
  if (adjust) adjust(setup);
  loop_ = std::make_unique<EventLoop>(std::move(setup), handler_);
  EXPECT_TRUE(loop_->Open());
  loop_->SetAccepting(true);
  thread_ = std::thread([this] {
    loop_->Run();
    ended_ = true;
  });
}

RunningLoop::~RunningLoop() {
  loop_->Post([this] { loop_->StopNow(); });
  thread_.join();
}

void RunningLoop::Do(const std::function<void(EventLoop&)>& order) {
  if (ended_) return;
  auto done = std::make_shared<std::promise<void>>();
  auto future = done->get_future();
  loop_->Post([this, order, done] {
    order(*loop_);
    done->set_value();
  });
  for (int i = 0; i < 500 && !ended_; ++i) {
    if (future.wait_for(std::chrono::milliseconds(10)) == std::future_status::ready) return;
  }
}

bool RunningLoop::Until(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    Do([](EventLoop&) {});
    std::this_thread::yield();
  }
  return true;
}

bool RunningLoop::Ended() {
  return Until([this] { return ended_.load(); });
}

bool RunningLoop::EverythingIsZero() {
  return Until([this] {
    const LoopCounters& c = counters();
    return c.connections == 0 && c.busy == 0 && c.writing == 0 && c.keepalive == 0 && c.closing == 0;
  });
}

std::vector<std::string> RunningLoop::Troubles() {
  const std::lock_guard lock(mutex_);
  return troubles_;
}

Client::Client(uint16_t port, int receive_buffer) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer > 0) ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const timeval limit{kPatience.count(), 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

Client::Client(os::Fd fd) : fd_(std::move(fd)) {
  const timeval limit{kPatience.count(), 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

bool Client::Send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

std::string Client::Answer(bool without_body) {
  char buffer[16384];
  for (;;) {
    const size_t head = rest_.find("\r\n\r\n");
    if (head != std::string::npos) {
      size_t body = 0;
      const size_t field = rest_.substr(0, head).find("Content-Length: ");
      if (field != std::string::npos && !without_body) body = NumberAt(std::string_view(rest_).substr(field + 16));
      if (rest_.size() >= head + 4 + body) {
        std::string answer = rest_.substr(0, head + 4 + body);
        rest_.erase(0, answer.size());
        return answer;
      }
    }
    const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n <= 0) return "";
    rest_.append(buffer, static_cast<size_t>(n));
  }
}

std::string Client::Read(size_t bytes) {
  std::string out = std::exchange(rest_, "");
  char buffer[16384];
  while (out.size() < bytes) {
    const ssize_t n = ::recv(fd_.get(), buffer, std::min(sizeof buffer, bytes - out.size()), 0);
    if (n <= 0) break;
    out.append(buffer, static_cast<size_t>(n));
  }
  return out;
}

bool Client::AtEnd() {
  char byte;
  return rest_.empty() && ::recv(fd_.get(), &byte, 1, 0) == 0;
}

void Client::ShutDownWriting() {
  ::shutdown(fd_.get(), SHUT_WR);
}

}  // namespace httpd::net
