#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "os/error.h"
#include "os/fd.h"

namespace os {

/// An IPv4, IPv6 or Unix socket address. Text form: "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:" (unnamed).
class SocketAddress {
 public:
  SocketAddress() = default;

  /// Numeric address and port; `host` "" or "*" is the IPv4 wildcard, brackets around IPv6 are optional.
  static Result<SocketAddress> FromIp(std::string_view host, uint16_t port);
  /// The text form above. kInvalid: it is none of them.
  static Result<SocketAddress> Parse(std::string_view text);
  static SocketAddress FromRaw(const sockaddr* raw, socklen_t length);
  static Result<SocketAddress> OfSocket(const Fd& fd);  ///< getsockname(2)
  static Result<SocketAddress> OfPeer(const Fd& fd);    ///< getpeername(2)

  std::string Text() const;
  std::string Host() const;  ///< "127.0.0.1", "::1", or the path
  uint16_t port() const;     ///< 0 for Unix sockets
  int family() const { return storage_.ss_family; }
  bool IsWildcard() const;
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t length() const { return length_; }
  bool operator==(const SocketAddress& other) const { return Text() == other.Text(); }

 private:
  sockaddr_storage storage_{};
  socklen_t length_ = 0;
};

/// TCP socket, bound (SO_REUSEADDR; IPV6_V6ONLY for IPv6) and listening. O_CLOEXEC, O_NONBLOCK.
/// @return kBusy: the address is taken; kDenied: a port below 1024 without the right; `what` names the address
Result<Fd> ListenTcp(const SocketAddress& address, int backlog);

/// Unix sockets by path. Directories of any length up to PATH_MAX work (sockaddr_un holds 107 bytes): the directory is
/// opened and the name reached through /proc/self/fd. Only the file name itself is limited, to 80 bytes then
/// (kInvalid). `type` is SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM. ListenUnix sets `mode` before anybody can connect,
/// and does not listen(2) on SOCK_DGRAM. O_CLOEXEC, O_NONBLOCK.
/// @return kBusy: the name exists; kNotFound: no such directory (connect: no such socket); kDenied;
///         connect: kIo with ECONNREFUSED when nobody listens any more
Result<Fd> ListenUnix(const std::filesystem::path& path, int type, mode_t mode);
/// The connected socket is blocking.
Result<Fd> ConnectUnix(const std::filesystem::path& path, int type);

/// Who is at the other end of a connected Unix socket, as the kernel recorded it at connect(2). Source  unix(7)
/// SO_PEERCRED
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};
Result<PeerCredentials> GetPeerCredentials(const Fd& fd);

/// Most descriptors that one message can carry (SCM_MAX_FD of the kernel). Source  unix(7)
inline constexpr size_t kMaxDescriptorsPerPacket = 253;

/// sendmsg(2) of one packet with descriptors (loans). Never raises SIGPIPE.
/// @return kBusy: would block (EAGAIN), or too many descriptors are in flight (ETOOMANYREFS): try again later
///         kInvalid: more than kMaxDescriptorsPerPacket
///         kIo: EPIPE, ECONNRESET: nobody is left at the other end; EMSGSIZE
Status SendPacket(const Fd& socket, std::string_view data, const std::vector<int>& descriptors = {});

struct Packet {
  std::string data;
  std::vector<Fd> descriptors;  ///< all O_CLOEXEC
  bool truncated = false;       ///< it was longer than `max_bytes` or lost descriptors: do not use it
  pid_t sender = 0;             ///< from SCM_CREDENTIALS when SO_PASSCRED is set, otherwise 0
};
/// recvmsg(2) of one packet. An empty packet without descriptors on SOCK_SEQPACKET means: the other end is gone.
/// @return kBusy: nothing there yet (EAGAIN, or a receive time-out that was set)
Result<Packet> ReceivePacket(const Fd& socket, size_t max_bytes = 128U << 10);

/// Connected pair. O_CLOEXEC both, plus `flags` (SOCK_NONBLOCK).
Result<std::pair<Fd, Fd>> SocketPair(int type, int flags = 0);

}  // namespace os
