#include "handover/passing.h"

#include <arpa/inet.h>

#include <charconv>
#include <stdexcept>

namespace handover {

namespace {
constexpr size_t kMaxPerPacket = 200;
constexpr size_t kMaxBodyBytes = 64U << 10;

/// "index,port,address" of a connection that was named before.
bool TakeClient(const std::string& value, std::vector<PassedConnection>& connections) {
  size_t index = 0;
  uint16_t port = 0;
  const char* const end = value.data() + value.size();
  const auto first = std::from_chars(value.data(), end, index);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ',' || index >= connections.size()) return false;
  const auto second = std::from_chars(first.ptr + 1, end, port);
  if (second.ec != std::errc() || second.ptr == end || *second.ptr != ',') return false;
  const std::string address(second.ptr + 1, end);
  in6_addr unused{};
  if (::inet_pton(AF_INET, address.c_str(), &unused) != 1 && ::inet_pton(AF_INET6, address.c_str(), &unused) != 1) {
    return false;
  }
  connections[index].is_proxied = true;
  connections[index].client = address;
  connections[index].client_port = port;
  return true;
}

}  // namespace

Message PackConnections(std::vector<PassedConnection>& connections) {
  if (connections.empty()) throw std::logic_error("PackConnections: nothing to pack");
  Message message("adopt");
  while (!connections.empty() && message.descriptors.size() < kMaxPerPacket) {
    PassedConnection& last = connections.back();
    if (!message.descriptors.empty() && message.body.size() + last.unread.size() > kMaxBodyBytes) break;
    message.Add("CONN", std::to_string(last.requests) + "," + std::to_string(last.unread.size()) + "," +
                            std::to_string(last.wait_ms));
    if (last.is_proxied) {  // a line of its own: who does not know it serves the connection all the same
      message.Add("CLIENT", std::to_string(message.descriptors.size()) + "," + std::to_string(last.client_port) + "," +
                                last.client);
    }
    message.body += last.unread;
    message.descriptors.push_back(std::move(last.fd));
    connections.pop_back();
  }
  return message;
}

os::Result<std::vector<PassedConnection>> UnpackConnections(Message message) {
  const os::Error bad{os::ErrorKind::kInvalid, 0, "malformed message: adopt does not add up"};
  std::vector<PassedConnection> out;
  size_t index = 0;
  size_t offset = 0;
  for (const auto& [key, value] : message.fields) {
    if (key == "CLIENT" && !TakeClient(value, out)) return bad;
    if (key != "CONN") continue;
    PassedConnection connection;
    size_t bytes = 0;
    const char* end = value.data() + value.size();
    const auto first = std::from_chars(value.data(), end, connection.requests);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != ',') return bad;
    const auto second = std::from_chars(first.ptr + 1, end, bytes);
    if (second.ec != std::errc()) return bad;
    if (second.ptr != end) {  // the third number may be missing: a giver that knows no deadline
      if (*second.ptr != ',') return bad;
      const auto third = std::from_chars(second.ptr + 1, end, connection.wait_ms);
      if (third.ec != std::errc() || third.ptr != end) return bad;
    }
    if (index >= message.descriptors.size() || bytes > message.body.size() - offset) return bad;
    connection.fd = std::move(message.descriptors[index++]);
    connection.unread = message.body.substr(offset, bytes);
    offset += bytes;
    out.push_back(std::move(connection));
  }
  if (index != message.descriptors.size() || offset != message.body.size()) return bad;
  return out;
}

}  // namespace handover
