// bench_floor: what the kernel alone takes for a request. Every thread has a listener of its own on one port of
// 127.0.0.1 (SO_REUSEPORT) and does epoll_wait, one recv, one send of an answer made before; it never looks at what it
// receives. Prints the port, ends on SIGTERM. Exit status: 2 usage or no start.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <cxxopts.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "os/fd.h"
#include "os/socket.h"

namespace {

struct Answer {
  std::string bytes;
  bool close = false;  ///< the connection ends with it
};

int Complain(const char* what) {
  std::fprintf(stderr, "bench_floor: %s\n", what);
  return 2;
}

/// Listening on 127.0.0.1:`port`, 0 = any; invalid with errno set when it cannot. The options are inherited by what it
/// accepts.
os::Fd Listen(uint16_t port) {
  os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!fd.valid() || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(fd.get(), 65535) != 0) {
    return os::Fd();
  }
  return fd;
}

struct Connection {
  os::Fd fd;
  size_t unsent = 0;   ///< bytes of the answer that the socket had no room for
  bool waits = false;  ///< for room
};

class Loop {
 public:
  Loop(os::Fd listener, const Answer& answer)
      : listener_(std::move(listener)), epoll_(::epoll_create1(EPOLL_CLOEXEC)), answer_(answer) {}

  void Run() {
    Control(EPOLL_CTL_ADD, listener_, EPOLLIN);
    std::array<epoll_event, 512> events{};
    for (;;) {
      const int ready = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
      for (int i = 0; i < ready; ++i) {
        const auto number = static_cast<size_t>(events[static_cast<size_t>(i)].data.fd);
        if (events[static_cast<size_t>(i)].data.fd == listener_.get()) {
          Accept();
        } else if (connections_[number].unsent > 0) {
          Send(connections_[number]);
        } else {
          Receive(connections_[number]);
        }
      }
    }
  }

 private:
  void Control(int operation, const os::Fd& fd, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd.get();
    ::epoll_ctl(epoll_.get(), operation, fd.get(), &event);
  }

  void Accept() {
    for (;;) {
      os::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd.valid()) return;
      const auto number = static_cast<size_t>(fd.get());
      if (connections_.size() <= number) connections_.resize(number + 1024);
      Control(EPOLL_CTL_ADD, fd, EPOLLIN);
      connections_[number] = {std::move(fd)};
    }
  }

  void Receive(Connection& connection) {
    std::array<char, 16384> received;  // NOLINT: filled by recv
    if (::recv(connection.fd.get(), received.data(), received.size(), 0) <= 0) {
      connection.fd.Reset();
      return;
    }
    connection.unsent = answer_.bytes.size();
    Send(connection);
  }

  /// Waits for room only when an answer did not fit at once, so that a small one costs no epoll_ctl.
  void Send(Connection& connection) {
    const std::string_view rest = std::string_view(answer_.bytes).substr(answer_.bytes.size() - connection.unsent);
    const ssize_t sent = ::send(connection.fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
      connection = {};
      return;
    }
    connection.unsent -= static_cast<size_t>(std::max<ssize_t>(sent, 0));
    if (const bool wait = connection.unsent > 0; wait != connection.waits) {
      Control(EPOLL_CTL_MOD, connection.fd, wait ? EPOLLOUT : EPOLLIN);
      connection.waits = wait;
    }
    if (connection.unsent == 0 && answer_.close) connection.fd.Reset();
  }

  os::Fd listener_;
  os::Fd epoll_;
  const Answer& answer_;
  std::vector<Connection> connections_;  ///< by descriptor number
};

Answer Make(size_t body_bytes, int status, int repeat, bool close) {
  std::string one = status == 304 ? "HTTP/1.1 304 Not Modified\r\n" : "HTTP/1.1 200 OK\r\n";
  one += "Date: Sat, 21 Nov 2026 12:00:00 GMT\r\nServer: floor\r\n";
  one += "Last-Modified: Sat, 21 Nov 2026 11:00:00 GMT\r\nETag: \"400-64f1\"\r\n";
  if (status != 304) {
    one += "Content-Type: application/octet-stream\r\nContent-Length: " + std::to_string(body_bytes) + "\r\n";
  }
  one += close ? "Connection: close\r\n\r\n" : "\r\n";
  if (status != 304) one += std::string(body_bytes, 'x');
  Answer answer{.bytes = "", .close = close};
  for (int i = 0; i < repeat; ++i) answer.bytes += one;
  return answer;
}

}  // namespace

int main(int argc, char** argv) {
  using cxxopts::value;
  cxxopts::Options options("bench_floor", "Answers whatever it receives with one answer made before. Prints its port.");
  options.add_options()("body", "bytes of the body", value<size_t>()->default_value("1024"))(
      "status", "200 or 304 (no body)", value<int>()->default_value("200"))(
      "repeat", "answers to one recv: the depth of pipelining", value<int>()->default_value("1"))(
      "close", "ends the connection after an answer")("threads", "loops", value<int>()->default_value("1"))(
      "help", "prints this");
  try {
    const auto given = options.parse(argc, argv);
    if (given.count("help") > 0) {
      std::printf("%s", options.help().c_str());
      return 0;
    }
    const int threads = given["threads"].as<int>();
    const int status = given["status"].as<int>();
    const int repeat = given["repeat"].as<int>();
    if (threads < 1 || repeat < 1 || (status != 200 && status != 304) || !given.unmatched().empty()) {
      return Complain("--threads and --repeat are 1 or more, --status is 200 or 304; see --help");
    }
    const Answer answer = Make(given["body"].as<size_t>(), status, repeat, given.count("close") > 0);
    rlimit descriptors{};
    ::getrlimit(RLIMIT_NOFILE, &descriptors);
    descriptors.rlim_cur = descriptors.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &descriptors);

    std::vector<os::Fd> listeners;
    uint16_t port = 0;
    for (int i = 0; i < threads; ++i) {
      listeners.push_back(Listen(port));
      if (!listeners.back().valid()) return Complain("cannot listen on 127.0.0.1");
      if (auto address = os::SocketAddress::OfSocket(listeners.back())) port = address.value().port();
    }
    std::printf("%u\n", static_cast<unsigned>(port));
    std::fflush(stdout);
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) {
      others.emplace_back([listener = std::move(listeners[static_cast<size_t>(i)]), &answer]() mutable {
        Loop(std::move(listener), answer).Run();
      });
    }
    Loop(std::move(listeners.front()), answer).Run();
  } catch (const cxxopts::exceptions::exception& error) {
    return Complain(error.what());
  }
}
