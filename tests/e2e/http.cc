#include "tests/e2e/http.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "os/socket.h"

namespace e2e {

bool Answer::SaysClose() const {
  const auto found = headers.find("connection");
  return found != headers.end() && found->second.find("lose") != std::string::npos;
}

std::optional<Connection> Connection::Open(uint16_t port, int receive_buffer) {
  const auto address = os::SocketAddress::FromIp("127.0.0.1", port);
  os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!address || !fd.valid()) return std::nullopt;
  if (receive_buffer > 0) ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  timeval limit{};
  limit.tv_sec = kPatience.count();
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), address.value().raw(), address.value().length()) != 0) return std::nullopt;
  return Connection(std::move(fd));
}

bool Connection::Send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      why_ = std::string("send: ") + std::strerror(errno);
      return false;
    }
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool Connection::Fill() {
  char chunk[65536];
  ssize_t n;
  do {
    n = ::recv(fd_.get(), chunk, sizeof chunk, 0);
  } while (n < 0 && errno == EINTR);
  if (n <= 0) {
    why_ = n == 0 ? "closed" : std::string("recv: ") + std::strerror(errno);
    return false;
  }
  buffer_.append(chunk, static_cast<size_t>(n));
  return true;
}

std::optional<Answer> Connection::Read() {
  size_t end;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill()) {
      why_ += " before the head of an answer was there (" + std::to_string(buffer_.size()) + " bytes)";
      return std::nullopt;
    }
  }
  Answer answer;
  const std::string head = buffer_.substr(0, end);
  buffer_.erase(0, end + 4);
  if (head.size() < 12 || !head.starts_with("HTTP/1.")) {
    why_ = "not HTTP: " + head.substr(0, 60);
    return std::nullopt;
  }
  answer.status = std::atoi(head.c_str() + 9);
  for (size_t at = head.find("\r\n"); at != std::string::npos;) {
    const size_t next = head.find("\r\n", at + 2);
    const std::string line = head.substr(at + 2, next == std::string::npos ? next : next - at - 2);
    const size_t colon = line.find(':');
    if (colon != std::string::npos) {
      std::string name = line.substr(0, colon);
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      const size_t value = line.find_first_not_of(' ', colon + 1);
      answer.headers[name] = value == std::string::npos ? "" : line.substr(value);
    }
    at = next;
  }
  if (const auto coding = answer.headers.find("transfer-encoding");
      coding != answer.headers.end() && coding->second == "chunked") {
    return ReadChunks(answer) ? std::optional<Answer>(std::move(answer)) : std::nullopt;
  }
  const auto length = answer.headers.find("content-length");
  const size_t bytes = length == answer.headers.end() ? 0 : std::stoul(length->second);
  while (buffer_.size() < bytes) {
    if (!Fill()) {
      why_ += " after " + std::to_string(buffer_.size()) + " of " + std::to_string(bytes) + " bytes of a body";
      return std::nullopt;
    }
  }
  answer.body = buffer_.substr(0, bytes);
  buffer_.erase(0, bytes);
  return answer;
}

bool Connection::ReadChunks(Answer& answer) {
  while (true) {
    size_t end = 0;
    while ((end = buffer_.find("\r\n")) == std::string::npos) {
      if (!Fill()) return false;
    }
    const size_t size = std::stoul(buffer_.substr(0, end), nullptr, 16);
    while (buffer_.size() < end + 4 + size) {
      if (!Fill()) {
        why_ += " inside a chunk of " + std::to_string(size) + " bytes";
        return false;
      }
    }
    answer.body += buffer_.substr(end + 2, size);
    buffer_.erase(0, end + 4 + size);
    if (size == 0) return true;
  }
}

std::string Connection::ReadSome(size_t bytes) {
  while (buffer_.size() < bytes && Fill()) {
  }
  std::string out = buffer_.substr(0, bytes);
  buffer_.erase(0, out.size());
  return out;
}

bool Connection::ReachesEnd() {
  while (Fill()) buffer_.clear();
  return why_.find("temporarily unavailable") == std::string::npos;
}

bool Connection::IsQuiet() const {
  pollfd one{fd_.get(), POLLIN | POLLRDHUP, 0};
  return buffer_.empty() && ::poll(&one, 1, 0) == 0;
}

uint16_t Connection::LocalPort() const {
  const auto address = os::SocketAddress::OfSocket(fd_);
  return address ? address.value().port() : 0;
}

std::string GetRequest(std::string_view path, std::string_view more_headers) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(more_headers) + "\r\n";
}

}  // namespace e2e
