#include "handover/readiness.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "os/file.h"
#include "os/socket.h"

namespace handover {

os::Status Notify(std::string_view text) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (!path || !*path) return os::kDone;
  if (path[0] != '@') {
    auto socket = os::ConnectUnix(path, SOCK_DGRAM);
    if (!socket) return socket.error();
    return os::SendPacket(socket.value(), text);
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return os::SysError(ENAMETOOLONG, "use NOTIFY_SOCKET");
  std::memcpy(address.sun_path + 1, path + 1, length - 1);
  os::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid() || ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address),
                                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length)) != 0) {
    return os::SysError(errno, "connect to NOTIFY_SOCKET");
  }
  return os::SendPacket(socket, text);
}

os::Result<NotifySocket> NotifySocket::Open(const std::filesystem::path& path) {
  auto fd = os::ListenUnix(path, SOCK_DGRAM, 0600);
  if (!fd) return fd.error();
  const int on = 1;
  if (::setsockopt(fd.value().get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) {
    return os::SysError(errno, "ask for credentials on " + path.string());
  }
  return NotifySocket(path, std::move(fd).value());
}

NotifySocket& NotifySocket::operator=(NotifySocket&& other) noexcept {
  NotifySocket gone(std::move(*this));  // removes the file that we had
  path_ = std::move(other.path_);
  fd_ = std::move(other.fd_);
  return *this;
}

NotifySocket::~NotifySocket() {
  if (fd_.valid()) ::unlink(path_.c_str());
}

os::Result<NotifySocket::Notice> NotifySocket::Receive() const {
  auto packet = os::ReceivePacket(fd_, 8192);
  if (!packet) return packet.error();
  return Notice{packet.value().sender, packet.value().truncated ? std::string() : std::move(packet.value().data)};
}

bool NotifySocket::Notice::Has(std::string_view line) const {
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    if (rest.substr(0, end) == line) return true;
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return false;
}

std::optional<std::string> NotifySocket::Notice::Value(std::string_view key) const {
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == '=') {
      return std::string(line.substr(key.size() + 1));
    }
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return std::nullopt;
}

}  // namespace handover
