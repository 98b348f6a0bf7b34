#include "tests/support/scripted_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

namespace support {

Peer::Peer(os::Fd fd) : fd_(std::move(fd)) {
  const timeval patience{10, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

bool Peer::Fill() {
  char part[16384];
  const ssize_t got = fd_.valid() ? ::recv(fd_.get(), part, sizeof part, 0) : 0;
  if (got <= 0) return false;
  buffer_.append(part, static_cast<size_t>(got));
  return true;
}

std::string Peer::ReadHead() {
  size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill()) return "";
  }
  std::string head = buffer_.substr(0, end + 4);
  buffer_.erase(0, end + 4);
  return head;
}

std::string Peer::ReadBytes(size_t size) {
  while (buffer_.size() < size && Fill()) continue;
  std::string bytes = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return bytes;
}

std::string Peer::ReadLine() {
  size_t end = 0;
  while ((end = buffer_.find("\r\n")) == std::string::npos) {
    if (!Fill()) return "";
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return line;
}

std::string Peer::ReadChunked() {
  std::string body;
  while (const auto size = std::strtoul(ReadLine().c_str(), nullptr, 16)) {
    body += ReadBytes(size);
    ReadLine();
  }
  ReadLine();
  return body;
}

void Peer::Send(std::string_view bytes) {
  while (!bytes.empty() && fd_.valid()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // the client has closed: the script goes on, as a server would
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

void Peer::Reset() {
  const linger hard{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  fd_.Reset();
}

void Peer::Finish() {
  ::shutdown(fd_.get(), SHUT_WR);
}

void Peer::AwaitClose() {
  while (Fill()) buffer_.clear();
}

std::string Response(std::string_view body, std::string_view headers, int status) {
  return "HTTP/1.1 " + std::to_string(status) + " Said so\r\n" + std::string(headers) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

ScriptedServer::ScriptedServer(std::vector<Script> scripts, Script otherwise)
    : scripts_(std::move(scripts)), otherwise_(std::move(otherwise)) {
  auto any = os::SocketAddress::FromIp("127.0.0.1", 0);
  auto listener = os::ListenTcp(any.value(), 64);
  if (!listener) throw std::runtime_error(listener.error().Text());
  listener_ = std::move(listener).value();
  address_ = os::SocketAddress::OfSocket(listener_).value();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  wake_read_ = os::Fd(ends[0]);
  wake_write_ = os::Fd(ends[1]);
  thread_ = std::thread([this] { Serve(); });
}

ScriptedServer::~ScriptedServer() {
  wake_write_.Reset();
  thread_.join();
}

void ScriptedServer::StopListening() {
  ::shutdown(listener_.get(), SHUT_RDWR);
}

void ScriptedServer::Serve() {
  for (size_t n = 0;; ++n) {
    pollfd watched[2] = {{listener_.get(), POLLIN, 0}, {wake_read_.get(), 0, 0}};
    ::poll(watched, 2, -1);
    if (watched[1].revents != 0) return;
    os::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) {
      // Shut down: only the end of the test is left to wait for.
      pollfd end = {wake_read_.get(), 0, 0};
      ::poll(&end, 1, -1);
      return;
    }
    Peer peer(std::move(fd));
    (n < scripts_.size() ? scripts_[n] : otherwise_)(peer);
  }
}

}  // namespace support
