// mod_remoteip: the client's address behind proxies. Source  httpd 2.4 manual, mod_remoteip
#include "httpd/modules/remoteip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

using Address = RemoteAddress;
using Network = RemoteNetwork;

constexpr bool IsV4(const Address& a) {
  for (size_t i = 0; i < 10; ++i) {
    if (a[i] != 0) return false;
  }
  return a[10] == 0xff && a[11] == 0xff;
}

std::optional<Address> ParseAddress(std::string text) {
  Address out{};
  out[10] = out[11] = 0xff;
  if (::inet_pton(AF_INET, text.c_str(), out.data() + 12) == 1) return out;
  if (::inet_pton(AF_INET6, text.c_str(), out.data()) == 1) return out;
  return std::nullopt;
}

std::string TextOf(const Address& address) {
  char text[INET6_ADDRSTRLEN];
  return IsV4(address) ? ::inet_ntop(AF_INET, address.data() + 12, text, sizeof text)
                       : ::inet_ntop(AF_INET6, address.data(), text, sizeof text);
}

std::optional<int> Bits(const std::string& text, int most) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size() || value < 0 || value > most) {
    return std::nullopt;
  }
  return value;
}

/// Bits of a mask like 255.255.240.0.
std::optional<int> MaskBits(const std::string& text) {
  const auto mask = ParseAddress(text);
  if (!mask || !IsV4(*mask)) return std::nullopt;
  const uint32_t value = static_cast<uint32_t>((*mask)[12]) << 24 | static_cast<uint32_t>((*mask)[13]) << 16 |
                         static_cast<uint32_t>((*mask)[14]) << 8 | (*mask)[15];
  int bits = 0;
  while (bits < 32 && (value >> (31 - bits) & 1U) != 0) ++bits;
  return bits < 32 && value << bits != 0 ? std::nullopt : std::optional<int>(bits);
}

/// Address, address/bits, address/mask, or the beginning of an IPv4 address.
std::optional<Network> ParseNetwork(const std::string& text, bool is_internal) {
  Network out;
  out.is_internal = is_internal;
  const size_t slash = text.find('/');
  std::string host = text.substr(0, slash);
  const bool is_v4 = host.find(':') == std::string::npos;
  if (is_v4 && slash == std::string::npos) {
    if (host.ends_with('.')) host.pop_back();
    const auto dots = static_cast<int>(std::count(host.begin(), host.end(), '.'));
    for (int i = dots; i < 3; ++i) host += ".0";
    out.bits = 96 + (dots + 1) * 8;
  }
  const auto base = ParseAddress(host);
  if (!base) return std::nullopt;
  out.base = *base;
  if (slash == std::string::npos) return out;
  const std::string rest = text.substr(slash + 1);
  std::optional<int> bits = Bits(rest, is_v4 ? 32 : 128);
  if (!bits && is_v4) bits = MaskBits(rest);
  if (!bits) return std::nullopt;
  out.bits = *bits + (is_v4 ? 96 : 0);
  return out;
}

struct RemoteipSettings final : config::ModuleSettings {
  std::string header, proxies_header;
  std::vector<Network> proxies;
  std::optional<bool> proxy_protocol;
  std::vector<Network> exceptions;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<RemoteipSettings>(static_cast<const RemoteipSettings&>(other));
    if (out->header.empty()) out->header = header;
    if (out->proxies_header.empty()) out->proxies_header = proxies_header;
    if (out->proxies.empty()) out->proxies = proxies;
    // The PROXY protocol is a matter of addresses, not of hosts: nothing of it is inherited.
    return out;
  }
};

/// A field's name is written into the request: it must be one.
bool IsFieldName(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

template <std::string RemoteipSettings::*kMember>
Complaint SetName(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  if (!IsFieldName(words[0])) return node.name + ": '" + words[0] + "' is not the name of a request header";
  config::SettingsOf<RemoteipSettings>(scope).*kMember = words[0];
  return std::nullopt;
}

Complaint AddProxy(Scope& scope, const Node& node, const std::string& word, bool is_internal) {
  const auto network = ParseNetwork(word, is_internal);
  if (!network) {
    return "Error parsing IP " + word + " in " + node.name +
           ": an address or a network is wanted (names are not looked up)";
  }
  config::SettingsOf<RemoteipSettings>(scope).proxies.push_back(*network);
  return std::nullopt;
}

template <bool kInternal>
Complaint AddProxies(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  for (const std::string& word : words) {
    if (auto complaint = AddProxy(scope, node, word, kInternal)) return complaint;
  }
  return std::nullopt;
}

template <bool kInternal>
Complaint AddProxyList(config::Builder& builder, Scope& scope, const Node& node, const Words& words) {
  const std::string path = builder.Absolute(words[0]);
  auto text = builder.files().read(path);
  if (!text) return "Could not open trusted proxy list '" + path + "': " + text.error().Text();
  config::LineReader lines(text.value());
  while (auto line = lines.Next()) {
    for (const std::string& word : config::SplitWords(*line)) {
      if (word.starts_with('#')) break;
      if (auto complaint = AddProxy(scope, node, word, kInternal)) {
        return *complaint + " (line " + std::to_string(lines.line()) + " of " + path + ")";
      }
    }
  }
  return std::nullopt;
}

Complaint SetProxyProtocol(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  const bool is_on = config::SameIgnoringCase(words[0], "on");
  if (!is_on && !config::SameIgnoringCase(words[0], "off")) return node.name + " must be On or Off";
  auto& settings = config::SettingsOf<RemoteipSettings>(scope);
  settings.proxy_protocol.reset();
  if (is_on || scope.in_virtual_host) settings.proxy_protocol = is_on;
  return std::nullopt;
}

Complaint AddExceptions(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  for (const std::string& word : words) {
    const auto network = ParseNetwork(word, false);
    if (!network) return node.name + ": ip address '" + word + "' appears to be invalid";
    config::SettingsOf<RemoteipSettings>(scope).exceptions.push_back(*network);
  }
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  constexpr const char* kFile = "mod_remoteip.c";
  constexpr unsigned kWhere = config::kInHosts;
  static const std::vector<config::Directive> table = {
      {"RemoteIPHeader", kFile, kWhere, Arity::kOne,
       "Specifies a request header to trust as the client IP, e.g. X-Forwarded-For", OnRead::kNo,
       SetName<&RemoteipSettings::header>, "header-field", "",
       "The list in this field is read from its end as long as the address before is a trusted proxy; the first that "
       "is "
       "none is the client for access rules, logs (%a, %h) and programs. What was used up is taken off the field. "
       "Without a list of proxies everybody is trusted."},
      {"RemoteIPProxiesHeader", kFile, kWhere, Arity::kOne,
       "Specifies a request header to record proxy IP's, e.g. X-Forwarded-By; if not given then do not record",
       OnRead::kNo, SetName<&RemoteipSettings::proxies_header>, "header-field", "",
       "Gets the addresses of the proxies that are not internal, nearest first; they are the note "
       "remoteip-proxy-ip-list in any case."},
      {"RemoteIPTrustedProxy", kFile, kWhere, Arity::kAtLeastOne,
       "Specifies one or more proxies which are trusted to present IP headers", OnRead::kNo, AddProxies<false>,
       "proxy-ip|proxy-ip/subnet ...", "", "What such a proxy says is not believed when it is a private address."},
      {"RemoteIPInternalProxy", kFile, kWhere, Arity::kAtLeastOne,
       "Specifies one or more internal (transparent) proxies which are trusted to present IP headers", OnRead::kNo,
       AddProxies<true>, "proxy-ip|proxy-ip/subnet ...", "", "Believed whatever address it says, and not recorded."},
      {"RemoteIPTrustedProxyList", kFile, kWhere, Arity::kOne,
       "The filename to read the list of trusted proxies, see the RemoteIPTrustedProxy directive", OnRead::kNo,
       AddProxyList<false>, "filename", "", "Addresses and networks, and comments after #."},
      {"RemoteIPInternalProxyList", kFile, kWhere, Arity::kOne,
       "The filename to read the list of internal proxies, see the RemoteIPInternalProxy directive", OnRead::kNo,
       AddProxyList<true>, "filename", "", "Addresses and networks, and comments after #."},
      {"RemoteIPProxyProtocol", kFile, kWhere, Arity::kFlag, "Enable PROXY protocol handling ('on', 'off')",
       OnRead::kNo, SetProxyProtocol, "On|Off", "Off",
       "Connections to the addresses of this host begin with a header of version 1 or 2 in which a proxy tells the "
       "client's address and port (HAProxy's send-proxy and send-proxy-v2), before TLS and before HTTP; without it "
       "they are closed. In the server's own part: to all addresses of which no virtual host says something else. "
       "RemoteIPHeader is not looked at there. UNKNOWN, LOCAL and unspecified families leave the address as it is."},
      {"RemoteIPProxyProtocolExceptions", kFile, kWhere, Arity::kAtLeastOne,
       "Disable PROXY protocol handling for this list of networks in CIDR format", OnRead::kNo, AddExceptions,
       "host|range [host|range] [host|range]", "",
       "Who connects from there sends no such header, whichever address it is."},
  };
  return table;
}

/// What a proxy in the open may not claim: RFC 3330's private networks, IPv6 that is not global unicast.
bool IsPrivate(const Address& a) {
  if (!IsV4(a)) return (a[0] & 0xe0) != 0x20;
  return a[12] == 10 || a[12] == 127 || (a[12] == 169 && a[13] == 254) || (a[12] == 172 && (a[13] & 0xf0) == 16) ||
         (a[12] == 192 && a[13] == 168);
}

void Early(RequestState& state) {
  const auto* settings = HostSettingsFor<RemoteipSettings>(state);
  if (!settings || settings->header.empty() || state.redirects > 0 || state.request->peer != nullptr) return;
  if (state.Header(settings->header).data() == nullptr) return;
  auto current = ParseAddress(std::string(state.request->client_address));
  if (!current) return;  // the private socket
  std::string rest = Joined(state.head(), settings->header);
  std::string proxies;
  bool is_found = false;
  const auto complain = [&](const char* number, const std::string& value, const char* what) {
    state.engine->LogError(
        state, config::LogLevel::kDebug, "remoteip",
        std::string(number) + ": RemoteIP: Header " + settings->header + " value of " + value + what);
  };
  while (!rest.empty()) {
    bool is_internal = false;
    if (!settings->proxies.empty()) {
      const auto proxy = std::find_if(settings->proxies.begin(), settings->proxies.end(),
                                      [&](const Network& network) { return network.Holds(*current); });
      if (proxy == settings->proxies.end()) break;
      is_internal = proxy->is_internal;
    }
    const size_t comma = rest.rfind(',');
    std::string value = comma == std::string::npos ? rest : rest.substr(comma + 1);
    value.erase(0, std::min(value.find_first_not_of(" \t"), value.size()));
    value.resize(value.find_last_not_of(" \t") + 1);
    if (value.empty()) break;
    const auto said = ParseAddress(value);
    if (!said) {
      complain("AH01568", value, " cannot be parsed as a client IP");
      break;
    }
    if (!is_internal && IsPrivate(*said)) {
      complain("AH01569", value, " appears to be a private IP or nonsensical.  Ignored");
      break;
    }
    if (!is_internal) proxies += (proxies.empty() ? "" : ", ") + TextOf(*current);
    current = said;
    is_found = true;
    rest.resize(comma == std::string::npos ? 0 : comma);
  }
  if (!is_found) return;
  if (rest.empty()) {
    state.RemoveHeader(settings->header);
  } else {
    state.SetHeader(settings->header, rest);
  }
  state.user_agent_address = TextOf(*current);
  if (proxies.empty()) return;
  state.notes["remoteip-proxy-ip-list"] = proxies;
  if (!settings->proxies_header.empty()) state.SetHeader(settings->proxies_header, proxies);
}

}  // namespace

bool RemoteNetwork::Holds(const RemoteAddress& address) const {
  const auto whole = static_cast<size_t>(bits / 8);
  if (!std::equal(base.begin(), base.begin() + static_cast<std::ptrdiff_t>(whole), address.begin())) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - bits % 8));
  return (base[whole] & mask) == (address[whole] & mask);
}

std::unique_ptr<const ProxiedConnections> ProxiedConnections::Of(const Site& site) {
  std::unique_ptr<ProxiedConnections> out(new ProxiedConnections(site));
  const auto* main = site.hosts()[0].host->settings.modules.Find<RemoteipSettings>();
  out->is_on_ = main && main->proxy_protocol.value_or(false);
  bool is_wanted = out->is_on_;
  for (const CompiledHost& host : site.hosts()) {
    const auto* settings = host.host->settings.modules.Find<RemoteipSettings>();
    if (!settings || (settings == main && &host != &site.hosts()[0])) continue;  // what it has is the main server's
    for (const Network& network : settings->exceptions) out->exceptions_.push_back(network);
    if (!settings->proxy_protocol) continue;
    is_wanted = is_wanted || *settings->proxy_protocol;
    for (const config::Host::Address& address : host.host->addresses) {
      std::erase_if(out->said_, [&address](const Said& said) {
        return said.address.host == address.host && said.address.port == address.port;
      });
      out->said_.push_back({address, *settings->proxy_protocol});
      out->has_addresses_ = out->has_addresses_ || address.host != "*";
    }
  }
  return is_wanted ? std::move(out) : nullptr;
}

bool ProxiedConnections::Expects(int fd, uint16_t port, std::string_view peer) const {
  net::Request request;
  request.fd = fd;
  const std::string local = has_addresses_ ? LocalAddressOf(request) : std::string();
  std::optional<bool> is_on;
  for (const Said& said : said_) {
    if ((said.address.port != 0 && said.address.port != port) ||
        (said.address.host != "*" && said.address.host != local)) {
      continue;
    }
    is_on = is_on.value_or(true) && said.is_on;
  }
  if (!is_on.value_or(is_on_)) return false;
  if (exceptions_.empty()) return true;
  const auto from = ParseAddress(std::string(peer));
  return !from || std::none_of(exceptions_.begin(), exceptions_.end(),
                               [&from](const Network& network) { return network.Holds(*from); });
}

void ProxiedConnections::Refused(int fd, uint16_t port, std::string_view peer, uint16_t peer_port,
                                 std::string_view why) const {
  const int index = site_.Select(port, {}, [fd] {
    net::Request request;
    request.fd = fd;
    return LocalAddressOf(request);
  });
  site_.hosts()[static_cast<size_t>(index)].error_log->Write(
      config::LogLevel::kError, "remoteip",
      "[client " + std::string(peer) + ":" + std::to_string(peer_port) + "] " + std::string(why));
}

const Module kRemoteip = {.name = {"mod_remoteip.c", "remoteip_module"},
                          .directives = Directives,
                          .applies = HasSettings<RemoteipSettings>,
                          .early = Early};

}  // namespace httpd::modules
