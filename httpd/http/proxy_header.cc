#include "httpd/http/proxy_header.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace httpd::http {

namespace {

using State = ProxyHeader::State;

constexpr std::string_view kText = "PROXY ";
constexpr std::string_view kBinary{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr size_t kMostText = 107;  // with the end of the line
constexpr size_t kFixed = 16;      // of version 2: what is before the addresses
constexpr uint8_t kTcp4 = 0x11;
constexpr uint8_t kTcp6 = 0x21;

ProxyHeader Bad(std::string problem) {
  ProxyHeader out;
  out.state = State::kBad;
  out.problem = std::move(problem);
  return out;
}

std::string Hex(uint8_t byte) {
  char text[3];
  std::snprintf(text, sizeof text, "%02x", byte);
  return text;
}

/// The next word; empty: there is none.
std::string_view Word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

std::string TextOf(const in6_addr& address) {
  char text[INET6_ADDRSTRLEN];
  if (IN6_IS_ADDR_V4MAPPED(&address)) return ::inet_ntop(AF_INET, address.s6_addr + 12, text, sizeof text);
  return ::inet_ntop(AF_INET6, &address, text, sizeof text);
}

ProxyHeader ReadText(std::string_view received) {
  const size_t end = received.substr(0, kMostText).find("\r\n");
  if (end == std::string_view::npos) {
    if (received.size() >= kMostText) {
      return Bad("AH10185: RemoteIPProxyProtocol header too long, no end of line in " + std::to_string(kMostText) +
                 " bytes");
    }
    return {};
  }
  const std::string header(received.substr(0, end));
  const std::string in_header = " found in header '" + header + "'";
  std::string_view line = header;
  line.remove_prefix(kText.size());
  ProxyHeader out;
  out.state = State::kComplete;
  out.size = end + 2;
  const std::string_view family = Word(line);
  if (family.empty()) return Bad("AH03497: RemoteIPProxyProtocol: no family" + in_header);
  if (family == "UNKNOWN") return out;
  if (family != "TCP4" && family != "TCP6") {
    return Bad("AH03499: RemoteIPProxyProtocol: unknown family '" + std::string(family) + "' in header '" + header +
               "'");
  }
  const std::string client(Word(line));
  if (client.empty()) return Bad("AH03497: RemoteIPProxyProtocol: no client-address" + in_header);
  in6_addr address{};
  const bool is_good = family == "TCP4" ? ::inet_pton(AF_INET, client.c_str(), &address) == 1
                                        : ::inet_pton(AF_INET6, client.c_str(), &address) == 1;
  if (!is_good) return Bad("AH03500: RemoteIPProxyProtocol: invalid client-address '" + client + "'" + in_header);
  char v4[INET_ADDRSTRLEN];
  out.address = family == "TCP4" ? ::inet_ntop(AF_INET, &address, v4, sizeof v4) : TextOf(address);
  if (Word(line).empty()) return Bad("AH03497: RemoteIPProxyProtocol: no destination-address" + in_header);
  const std::string_view port = Word(line);
  if (port.empty()) return Bad("AH03497: RemoteIPProxyProtocol: no client-port" + in_header);
  const auto read = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (read.ec != std::errc() || read.ptr != port.data() + port.size()) {
    return Bad("AH03501: RemoteIPProxyProtocol: error parsing port '" + std::string(port) + "' in header '" + header +
               "'");
  }
  return out;
}

uint16_t Number(std::string_view bytes, size_t at) {
  return static_cast<uint16_t>(static_cast<uint8_t>(bytes[at]) << 8 | static_cast<uint8_t>(bytes[at + 1]));
}

ProxyHeader ReadBinary(std::string_view received) {
  if (received.size() < kFixed) return {};
  const auto command = static_cast<uint8_t>(received[12]);
  const auto family = static_cast<uint8_t>(received[13]);
  const size_t length = Number(received, 14);
  if (command >> 4 != 2) return Bad("RemoteIPProxyProtocol: unsupported version " + Hex(command));
  if (kFixed + length > kMostProxyHeader) {
    return Bad("AH10186: RemoteIPProxyProtocol protocol header length too long");
  }
  if (received.size() < kFixed + length) return {};
  ProxyHeader out;
  out.state = State::kComplete;
  out.size = kFixed + length;
  if ((command & 0xf) == 0) return out;  // LOCAL: the proxy asks for itself, its health check
  if ((command & 0xf) != 1) return Bad("AH03507: RemoteIPProxyProtocol: unsupported command " + Hex(command));
  const std::string_view addresses = received.substr(kFixed, length);
  if (family >> 4 == 0) return out;  // AF_UNSPEC: it does not know
  if (family == kTcp4) {
    if (length < 12) return Bad("AH10187: RemoteIPProxyProtocol: truncated IPv4 address");
    char text[INET_ADDRSTRLEN];
    out.address = ::inet_ntop(AF_INET, addresses.data(), text, sizeof text);
    out.port = Number(addresses, 8);
    return out;
  }
  if (family == kTcp6) {
    if (length < 36) return Bad("AH10188: RemoteIPProxyProtocol: truncated IPv6 address");
    in6_addr address{};
    std::memcpy(&address, addresses.data(), sizeof address);
    out.address = TextOf(address);
    out.port = Number(addresses, 32);
    return out;
  }
  return Bad("AH10183: RemoteIPProxyProtocol: unsupported protocol " + Hex(family));
}

}  // namespace

ProxyHeader ParseProxyHeader(std::string_view received) {
  if (received.empty()) return {};
  const std::string_view expected = received[0] == 'P' ? kText : kBinary;
  const size_t common = std::min(received.size(), expected.size());
  if (received.substr(0, common) != expected.substr(0, common)) {
    return Bad("RemoteIPProxyProtocol: the connection does not begin with a PROXY header");
  }
  if (received.size() < expected.size()) return {};
  return received[0] == 'P' ? ReadText(received) : ReadBinary(received);
}

}  // namespace httpd::http
