#include "os/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>

#include "os/file.h"

namespace os {

Result<SocketAddress> SocketAddress::FromIp(std::string_view host, uint16_t port) {
  SocketAddress out;
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const std::string text(host.empty() || host == "*" ? "0.0.0.0" : host);
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage_);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage_);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.length_ = sizeof *v4;
    return out;
  }
  if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.length_ = sizeof *v6;
    return out;
  }
  return Error{ErrorKind::kInvalid, 0, "\"" + text + "\" is not a numeric IP address"};
}

Result<SocketAddress> SocketAddress::Parse(std::string_view text) {
  if (text.starts_with("unix:")) {
    const std::string_view path = text.substr(5);
    SocketAddress out;
    auto* un = reinterpret_cast<sockaddr_un*>(&out.storage_);
    if (path.size() >= sizeof un->sun_path) {
      return Error{ErrorKind::kInvalid, 0, "socket path is longer than 107 bytes"};
    }
    un->sun_family = AF_UNIX;
    std::memcpy(un->sun_path, path.data(), path.size());
    out.length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    return out;
  }
  const size_t colon = text.rfind(':');
  uint16_t port = 0;
  if (colon != std::string_view::npos) {
    const std::string_view digits = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    const std::string_view host = text.substr(0, colon);
    // "::1:80" is a complete IPv6 address too: without brackets nobody can tell which one was meant.
    const bool ambiguous = host.find(':') != std::string_view::npos && !host.starts_with('[');
    if (error == std::errc() && end == digits.data() + digits.size() && !ambiguous) return FromIp(host, port);
  }
  return Error{ErrorKind::kInvalid, 0, "\"" + std::string(text) + "\" is not ADDRESS:PORT"};
}

SocketAddress SocketAddress::FromRaw(const sockaddr* raw, socklen_t length) {
  SocketAddress out;
  out.length_ = std::min<socklen_t>(length, sizeof out.storage_);
  std::memcpy(&out.storage_, raw, out.length_);
  return out;
}

Result<SocketAddress> SocketAddress::OfSocket(const Fd& fd) {
  sockaddr_storage raw{};
  socklen_t length = sizeof raw;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&raw), &length) != 0) {
    return SysError(errno, "ask a socket for its address");
  }
  return FromRaw(reinterpret_cast<sockaddr*>(&raw), length);
}

Result<SocketAddress> SocketAddress::OfPeer(const Fd& fd) {
  sockaddr_storage raw{};
  socklen_t length = sizeof raw;
  if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&raw), &length) != 0) {
    return SysError(errno, "ask a socket for its peer");
  }
  return FromRaw(reinterpret_cast<sockaddr*>(&raw), length);
}

std::string SocketAddress::Host() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (family() == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr, text, sizeof text);
  } else if (family() == AF_INET6) {
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr, text, sizeof text);
  } else if (family() == AF_UNIX && length_ > offsetof(sockaddr_un, sun_path)) {
    const auto* un = reinterpret_cast<const sockaddr_un*>(&storage_);
    return std::string(un->sun_path, strnlen(un->sun_path, length_ - offsetof(sockaddr_un, sun_path)));
  }
  return text;
}

uint16_t SocketAddress::port() const {
  if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port);
  if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_port);
  return 0;
}

bool SocketAddress::IsWildcard() const {
  const std::string host = Host();
  return family() != AF_UNIX && (host == "0.0.0.0" || host == "::");
}

std::string SocketAddress::Text() const {
  switch (family()) {
    case AF_INET:
      return Host() + ":" + std::to_string(port());
    case AF_INET6:
      return "[" + Host() + "]:" + std::to_string(port());
    case AF_UNIX:
      return "unix:" + Host();
    default:
      return "(no address)";
  }
}

Result<Fd> ListenTcp(const SocketAddress& address, int backlog) {
  const std::string what = "listen on " + address.Text();
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    const int sys = errno;
    return SysError(sys, what);
  }
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), address.raw(), address.length()) != 0 || ::listen(fd.get(), backlog) != 0) {
    const int sys = errno;
    return SysError(sys, what);
  }
  return fd;
}

namespace {

/// A sockaddr_un that reaches `path` whatever its length. `directory` must live until the address was used.
Result<sockaddr_un> ReachUnix(const std::filesystem::path& path, Fd& directory) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  std::string text = path.string();
  if (text.size() >= sizeof out.sun_path) {
    auto opened = Open(path.parent_path(), O_PATH | O_DIRECTORY);
    if (!opened) return opened.error();
    directory = std::move(opened).value();
    text = "/proc/self/fd/" + std::to_string(directory.get()) + "/" + path.filename().string();
    if (text.size() >= sizeof out.sun_path) return SysError(ENAMETOOLONG, "use socket " + path.string());
  }
  std::memcpy(out.sun_path, text.data(), text.size());
  return out;
}

}  // namespace

Result<Fd> ListenUnix(const std::filesystem::path& path, int type, mode_t mode) {
  const std::string what = "listen on " + path.string();
  Fd directory;
  auto address = ReachUnix(path, directory);
  if (!address) return address.error();
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    const int sys = errno;
    return SysError(sys, what);
  }
  ::fchmod(fd.get(), mode);  // Linux gives bind(2) the socket inode's mode: nobody can connect with a wider one
  const mode_t old = ::umask(static_cast<mode_t>(~mode) & 0777U);
  const int bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address.value()), sizeof(sockaddr_un));
  const int sys = errno;
  ::umask(old);
  if (bound != 0) return SysError(sys, what);
  if (type != SOCK_DGRAM && ::listen(fd.get(), 511) != 0) {
    const int listen_error = errno;
    return SysError(listen_error, what);
  }
  return fd;
}

Result<Fd> ConnectUnix(const std::filesystem::path& path, int type) {
  Fd directory;
  auto address = ReachUnix(path, directory);
  if (!address) return address.error();
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address.value()), sizeof(sockaddr_un)) != 0) {
    const int sys = errno;
    return SysError(sys, "connect to " + path.string());
  }
  return fd;
}

Result<PeerCredentials> GetPeerCredentials(const Fd& fd) {
  ucred raw{};
  socklen_t length = sizeof raw;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &raw, &length) != 0) {
    return SysError(errno, "ask a socket for its peer's credentials");
  }
  return PeerCredentials{raw.pid, raw.uid, raw.gid};
}

Status SendPacket(const Fd& socket, std::string_view data, const std::vector<int>& descriptors) {
  if (descriptors.size() > kMaxDescriptorsPerPacket) {
    return Error{ErrorKind::kInvalid, 0, "more than 253 descriptors in one packet"};
  }
  iovec part{const_cast<char*>(data.data()), data.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxDescriptorsPerPacket)> control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const size_t bytes = sizeof(int) * descriptors.size();
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(bytes);
    std::memset(control.data(), 0, message.msg_controllen);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(header), descriptors.data(), bytes);
  }
  for (;;) {
    if (::sendmsg(socket.get(), &message, MSG_NOSIGNAL) >= 0) return kDone;
    const int sys = errno;
    if (sys == EINTR) continue;
    if (sys == ETOOMANYREFS || sys == ENOBUFS) return Error{ErrorKind::kBusy, sys, "send a packet"};
    return SysError(sys, "send a packet");
  }
}

Result<Packet> ReceivePacket(const Fd& socket, size_t max_bytes) {
  Packet packet;
  packet.data.resize(max_bytes);
  iovec part{packet.data.data(), max_bytes};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxDescriptorsPerPacket) + CMSG_SPACE(sizeof(ucred))>
      control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t n;
  do {
    n = ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    const int sys = errno;
    return SysError(sys, "receive a packet");
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_RIGHTS) {
      const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int raw = -1;
        std::memcpy(&raw, CMSG_DATA(header) + i * sizeof(int), sizeof raw);
        packet.descriptors.emplace_back(raw);
      }
    } else if (header->cmsg_type == SCM_CREDENTIALS) {
      ucred credentials{};
      std::memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
      packet.sender = credentials.pid;
    }
  }
  packet.truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  packet.data.resize(static_cast<size_t>(n));
  return packet;
}

Result<std::pair<Fd, Fd>> SocketPair(int type, int flags) {
  int ends[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC | flags, 0, ends) != 0) return SysError(errno, "make a socket pair");
  return std::make_pair(Fd(ends[0]), Fd(ends[1]));
}

}  // namespace os
