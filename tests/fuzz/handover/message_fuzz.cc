#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "handover/message.h"
#include "handover/passing.h"
#include "os/socket.h"

namespace {

size_t OpenDescriptors() {
  DIR* directory = ::opendir("/proc/self/fd");
  if (!directory) abort();
  size_t n = 0;
  while (::readdir(directory)) ++n;
  ::closedir(directory);
  return n;
}

/// The same bytes as a packet through a socket, with descriptors: Receive() agrees with Decode(), and what came along
/// is the message's or closed.
void ThroughASocket(std::string_view packet, size_t descriptors) {
  static const os::Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const size_t before = OpenDescriptors();
  {
    auto pair = os::SocketPair(SOCK_SEQPACKET, SOCK_NONBLOCK);
    if (!pair) abort();
    const std::vector<int> lent(descriptors, null.get());
    if (!os::SendPacket(pair.value().first, packet, lent)) return;
    auto received = handover::Receive(pair.value().second);
    if (received) {
      if (received.value().descriptors.size() != descriptors) abort();
      if (!handover::Decode(packet)) abort();
    } else if (received.error().kind != os::ErrorKind::kInvalid && !packet.empty()) {
      abort();
    }
  }
  if (OpenDescriptors() != before) abort();
}

}  // namespace

/// A stranger's packet: first byte = number of descriptors that came with it, the rest = its bytes. Decode() must
/// refuse it or give a message that survives another round; UnpackConnections() must refuse it or account for every
/// descriptor and byte.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view packet(reinterpret_cast<const char*>(data) + 1, size - 1);
  ThroughASocket(packet, data[0]);  // 0 to 255: more than 253 cannot be sent
  auto message = handover::Decode(packet);
  if (!message) {
    if (message.error().kind != os::ErrorKind::kInvalid || message.error().Text().find('\n') != std::string::npos)
      abort();
    return 0;
  }
  auto again = handover::Decode(handover::Encode(message.value()));
  if (!again || again.value().verb != message.value().verb || again.value().fields != message.value().fields ||
      again.value().body != message.value().body) {
    abort();
  }
  const size_t descriptors = data[0] % 8;
  for (size_t i = 0; i < descriptors; ++i) {
    message.value().descriptors.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  const size_t body = message.value().body.size();
  auto connections = handover::UnpackConnections(std::move(message).value());
  if (!connections) return 0;
  size_t unread = 0;
  for (const auto& connection : connections.value()) {
    if (!connection.fd.valid()) abort();
    unread += connection.unread.size();
  }
  if (connections.value().size() != descriptors || unread != body) abort();
  return 0;
}
