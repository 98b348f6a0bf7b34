#include <algorithm>
#include <string_view>

#include "httpd/config/builder.h"
#include "httpd/config/directive_tables.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

Complaint SetProtocols(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  std::vector<std::string> protocols;
  for (const std::string& word : words) {
    const std::string name = LowerCase(word);
    if (name != "http/1.1" && name != "h2" && name != "h2c") {
      // "acme-tls/1" is what mod_md adds.
      builder.WarnOnce(node, "WARNING: Protocols " + word + " is not spoken here: it is never chosen");
    } else if (std::find(protocols.begin(), protocols.end(), name) == protocols.end()) {
      protocols.push_back(name);
    }
  }
  if (protocols.empty()) return "Protocols must name http/1.1, h2 or h2c: this server speaks nothing else";
  scope.draft.host.protocols = std::move(protocols);
  return kFine;
}

Complaint SetProtocolsHonorOrder(Builder&, Scope& scope, const Node&, const Words& words) {
  const bool on = SameIgnoringCase(words[0], "on");
  if (!on && !SameIgnoringCase(words[0], "off")) return "ProtocolsHonorOrder must be 'on' or 'off'";
  scope.draft.host.protocols_honor_order = on;
  return kFine;
}

// Requests are always read as strictly as RFC 9112 has it. Source  server/core.c set_http_protocol_options
Complaint SetHttpProtocolOptions(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  static const char* const kPairs[][2] = {
      {"Allow0.9", "Require1.0"}, {"Strict", "Unsafe"}, {"RegisteredMethods", "LenientMethods"}};
  auto& said = scope.draft.said;
  const auto key = [](const char* option) { return std::string("HttpProtocolOptions ") + option; };
  for (const std::string& word : words) {
    bool known = false;
    for (const auto& pair : kPairs) {
      for (const int side : {0, 1}) {
        if (!SameIgnoringCase(word, pair[side])) continue;
        known = true;
        if (said.count(key(pair[1 - side])) > 0) {
          return key("'") + pair[0] + "' and '" + pair[1] + "' are mutually exclusive";
        }
        said.insert(key(pair[side]));
      }
    }
    if (!known) {
      return "HttpProtocolOptions accepts 'Unsafe' or 'Strict' (default), 'RegisteredMethods' or 'LenientMethods' "
             "(default), and 'Require1.0' (default) or 'Allow0.9'";
    }
  }
  for (const char* loose : {"Allow0.9", "Unsafe"}) {
    if (said.count(key(loose)) == 0) continue;
    builder.WarnOnce(node, "WARNING: " + key(loose) +
                               " is not honoured: requests are read as RFC 9112 has it, and HTTP/0.9 is not spoken");
  }
  scope.draft.host.registered_methods_only = said.count(key("RegisteredMethods")) > 0;
  return kFine;
}

Complaint AddHttpMethod(Builder& builder, Scope&, const Node&, const Words& words) {
  constexpr std::string_view kToken = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  constexpr size_t kMost = 64;  // Apache's METHOD_NUMBER_LAST
  auto& methods = builder.config().methods;
  for (const std::string& word : words) {
    if (word.empty() || word.find_first_not_of(kToken) != std::string::npos) {
      return "RegisterHttpMethod: '" + word + "' cannot be a method";
    }
    if (std::find(methods.begin(), methods.end(), word) == methods.end()) methods.push_back(word);
  }
  if (methods.size() > kMost) return "RegisterHttpMethod: more than 64 methods";
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;

using Arity::kAtLeastOne;
using Arity::kOne;

}  // namespace

// clang-format off
std::vector<Directive> ProtocolDirectives() {
  return {
    {"Protocols", "core.c", kInHosts, kAtLeastOne, "Controls which protocols are allowed", kNo, SetProtocols,
     "protocol ...", "http/1.1", "http/1.1, h2 (over TLS) and h2c (without it: for clients that begin with HTTP/2 at once or ask for it with Upgrade). http/1.1 is spoken whether it is named or not. Others are told about and never chosen."},
    {"ProtocolsHonorOrder", "core.c", kInHosts, kOne, "'off' (default) or 'on' to respect given order of protocols, by default the client specified order determines selection", kNo, SetProtocolsHonorOrder,
     "On|Off", "On", "On: of what a client offers over TLS the first of Protocols is chosen; Off: the first of the client's."},
    {"HttpProtocolOptions", "core.c", kInHosts, kAtLeastOne, "'Allow0.9' or 'Require1.0' (default); 'RegisteredMethods' or 'LenientMethods' (default); 'Unsafe' or 'Strict' (default). Sets HTTP acceptance rules", kNo, SetHttpProtocolOptions,
     "[Strict|Unsafe] [RegisteredMethods|LenientMethods] [Allow0.9|Require1.0]", "Strict LenientMethods Require1.0", "RegisteredMethods refuses methods that neither HTTP nor RegisterHttpMethod knows. Requests are always read strictly and HTTP/0.9 is never spoken: Unsafe and Allow0.9 are accepted with a warning that they are not honoured."},
    {"RegisterHttpMethod", "core.c", kInServer, kAtLeastOne, "Registers non-standard HTTP methods", kNo, AddHttpMethod,
     "method ...", "", "Registered methods are refused with 405 where nothing answers them; others with 501."},
  };
}
// clang-format on

}  // namespace httpd::config
