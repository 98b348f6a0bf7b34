// mod_http2: its directives. What they say is done by httpd/net/http2.h. Source  httpd 2.4 manual, mod_http2
#include "httpd/modules/http2.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Builder;
using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

struct Http2Settings final : config::ModuleSettings {
  std::optional<bool> direct, upgrade;
  std::optional<uint32_t> max_streams, window, stream_memory, max_data_frame, max_header_block, max_stream_errors;
  std::optional<int> padding_bits, stream_timeout_ms;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const Http2Settings&>(other);
    auto out = std::make_unique<Http2Settings>(*this);
    const auto take = [](auto& to, const auto& from) {
      if (from) to = from;
    };
    take(out->direct, inner.direct);
    take(out->upgrade, inner.upgrade);
    take(out->max_streams, inner.max_streams);
    take(out->window, inner.window);
    take(out->stream_memory, inner.stream_memory);
    take(out->max_data_frame, inner.max_data_frame);
    take(out->max_header_block, inner.max_header_block);
    take(out->max_stream_errors, inner.max_stream_errors);
    take(out->padding_bits, inner.padding_bits);
    take(out->stream_timeout_ms, inner.stream_timeout_ms);
    return out;
  }
};

template <auto kMember, int64_t kLeast, int64_t kMost>
Complaint SetNumber(Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = config::Number(words[0]);
  if (!value) return "'" + words[0] + "' is no number";
  if (*value < kLeast) return "value must be >= " + std::to_string(kLeast);
  if (*value > kMost) return "value must be <= " + std::to_string(kMost);
  config::SettingsOf<Http2Settings>(scope).*kMember = static_cast<uint32_t>(*value);
  return kFine;
}

template <auto kMember>
Complaint SetFlag(Builder&, Scope& scope, const Node&, const Words& words) {
  config::SettingsOf<Http2Settings>(scope).*kMember = config::SameIgnoringCase(words[0], "on");
  return kFine;
}

Complaint SetPadding(Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = config::Number(words[0]);
  if (!value || *value < 0) return "number of bits must be >= 0";
  if (*value > 8) return "number of bits must be <= 8";
  config::SettingsOf<Http2Settings>(scope).padding_bits = static_cast<int>(*value);
  return kFine;
}

Complaint SetStreamTimeout(Builder&, Scope& scope, const Node&, const Words& words) {
  const auto value = config::Milliseconds(words[0]);
  if (!value) return "Invalid timeout value: " + words[0];
  config::SettingsOf<Http2Settings>(scope).stream_timeout_ms = *value;
  return kFine;
}

Complaint RefuseOn(Builder&, Scope&, const Node& node, const Words& words) {
  if (!config::SameIgnoringCase(words[0], "on")) return kFine;
  return std::string(config::FindDirective(node.name)->name) +
         " On is not supported: " + config::FindDirective(node.name)->about;
}

Complaint Refuse(Builder&, Scope&, const Node& node, const Words&) {
  return std::string(config::FindDirective(node.name)->name) +
         " is not supported: " + config::FindDirective(node.name)->about;
}

constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();
constexpr char kFile[] = "mod_http2.c";

// clang-format off
const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  using config::kAnywhere;
  using config::kInHosts;
  using config::kInServer;
  using config::kOverrideFileInfo;
  static const std::vector<config::Directive> table = {
    {"H2Direct", kFile, kInHosts, Arity::kFlag, "on to enable direct HTTP/2 mode", OnRead::kNo, SetFlag<&Http2Settings::direct>,
     "on|off", "on", "Whether a plain connection that begins with the preface of HTTP/2 is understood, where Protocols has h2c. Over TLS the client asks for h2 by ALPN."},
    {"H2Upgrade", kFile, kInHosts, Arity::kFlag, "on to allow HTTP/1 Upgrades to h2/h2c", OnRead::kNo, SetFlag<&Http2Settings::upgrade>,
     "on|off", "on", "Whether a request without a body on a plain connection may ask for h2c with Upgrade. Answers of HTTP/1.1 do not announce it."},
    {"H2MaxSessionStreams", kFile, kInHosts, Arity::kOne, "maximum number of open streams per session", OnRead::kNo, SetNumber<&Http2Settings::max_streams, 1, kMaxInt>,
     "n", "100"},
    {"H2WindowSize", kFile, kInHosts, Arity::kOne, "window size on client DATA", OnRead::kNo, SetNumber<&Http2Settings::window, 1024, kMaxInt>,
     "bytes", "65535", "How much of a request's body may come before whoever takes it has taken it. 1024 and more."},
    {"H2StreamMaxMemSize", kFile, kInHosts, Arity::kOne, "maximum number of bytes buffered in memory for a stream", OnRead::kNo, SetNumber<&Http2Settings::stream_memory, 1024, kMaxInt>,
     "bytes", "32768", "How much of an answer that is produced while it is sent may be there before the client takes it. 1024 and more."},
    {"H2MaxDataFrameLen", kFile, kInHosts, Arity::kOne, "maximum number of bytes in a single HTTP/2 DATA frame", OnRead::kNo, SetNumber<&Http2Settings::max_data_frame, 0, kMaxInt>,
     "n", "0", "0, and whatever is larger, means 16384."},
    {"H2MaxHeaderBlockLen", kFile, kInHosts, Arity::kOne, "maximum number of bytes in the header block of a response", OnRead::kNo, SetNumber<&Http2Settings::max_header_block, 0, kMaxInt>,
     "n", "0", "0 means 64 KiB. An answer whose fields are longer ends with its stream."},
    {"H2MaxStreamErrors", kFile, kInHosts, Arity::kOne, "maximum number of client errors tolerated on streams", OnRead::kNo, SetNumber<&Http2Settings::max_stream_errors, 0, kMaxInt>,
     "n", "8", "A client that violates the protocol on more streams than this is told ENHANCE_YOUR_CALM and its connection ends; 0 = no limit."},
    {"H2Padding", kFile, kInHosts, Arity::kOne, "set payload padding", OnRead::kNo, SetPadding,
     "numbits", "0", "HEADERS and DATA frames get 0 to 2^numbits - 1 bytes of padding, by chance."},
    {"H2StreamTimeout", kFile, kInHosts, Arity::kOne, "read/write timeout on HTTP/2 streams", OnRead::kNo, SetStreamTimeout,
     "time-interval[s]", "", "How long a stream may stand still because of the client; what Timeout says where this is not given."},
    {"H2MinWorkers", kFile, kInServer, Arity::kOne, "minimum number of worker threads per child", OnRead::kNo, config::SetMeaningless,
     "n", "", "streams are answered by the loop that has their connection; there are no threads for them."},
    {"H2MaxWorkers", kFile, kInServer, Arity::kOne, "maximum number of worker threads per child", OnRead::kNo, config::SetMeaningless,
     "n", "", "streams are answered by the loop that has their connection; there are no threads for them."},
    {"H2MaxWorkerIdleSeconds", kFile, kInServer, Arity::kOne, "maximum number of idle seconds before a worker shuts down", OnRead::kNo, config::SetMeaningless,
     "n", "", "streams are answered by the loop that has their connection; there are no threads for them."},
    {"H2MaxWorkerIdleLimit", kFile, kInServer, Arity::kOne, "maximum number of idle seconds before a worker shuts down", OnRead::kNo, config::SetMeaningless,
     "n", "", "streams are answered by the loop that has their connection; there are no threads for them."},
    {"H2CopyFiles", kFile, kAnywhere | kOverrideFileInfo, Arity::kFlag, "on to perform copy of file data", OnRead::kNo, config::SetMeaningless,
     "on|off", "off", "files are read when their bytes are framed."},
    {"H2SerializeHeaders", kFile, kInHosts, Arity::kFlag, "on to enable header serialization for compatibility", OnRead::kNo, config::SetMeaningless,
     "on|off", "off", "fields are taken as they came; there is no HTTP/1.1 in between."},
    {"H2OutputBuffering", kFile, kInHosts, Arity::kFlag, "set stream output buffer on/off", OnRead::kNo, config::SetMeaningless,
     "on|off", "on", "what is there is sent at the end of the loop's turn, never held back."},
    {"H2TLSWarmUpSize", kFile, kInHosts, Arity::kOne, "number of bytes on TLS connection before doing max writes", OnRead::kNo, config::SetMeaningless,
     "amount", "1048576", "the TLS part cuts its records by itself."},
    {"H2TLSCoolDownSecs", kFile, kInHosts, Arity::kOne, "seconds of idle time on TLS before shrinking writes", OnRead::kNo, config::SetMeaningless,
     "seconds", "1", "the TLS part cuts its records by itself."},
    {"H2ModernTLSOnly", kFile, kInHosts, Arity::kFlag, "off to not impose RFC 7540 restrictions on TLS", OnRead::kNo, config::SetMeaningless,
     "on|off", "on", "SSLProtocol and SSLCipherSuite alone say which TLS is spoken."},
    {"H2Push", kFile, kAnywhere | kOverrideFileInfo, Arity::kFlag, "off to disable HTTP/2 server push", OnRead::kNo, RefuseOn,
     "on|off", "off", "browsers have removed server push. Link fields with rel=preload reach them all the same"},
    {"H2PushResource", kFile, kAnywhere | kOverrideFileInfo, Arity::kAtLeastOne, "add a resource to be pushed in this location/on this server.", OnRead::kNo, Refuse,
     "[add] path [critical]", "", "browsers have removed server push; say it with Header add Link \"<path>;rel=preload\""},
    {"H2PushPriority", kFile, kInHosts, Arity::kOneToThree, "define priority of PUSHed resources per content type", OnRead::kNo, config::SetMeaningless,
     "mime-type [after|before|interleaved] [weight]", "", "nothing is pushed."},
    {"H2PushDiarySize", kFile, kInHosts, Arity::kOne, "size of push diary", OnRead::kNo, config::SetMeaningless,
     "n", "256", "nothing is pushed."},
    {"H2EarlyHints", kFile, kInHosts, Arity::kFlag, "on to enable interim status 103 responses", OnRead::kNo, RefuseOn,
     "on|off", "off", "no interim answers but 100 are sent"},
    {"H2EarlyHint", kFile, kAnywhere | kOverrideFileInfo, Arity::kTwo, "add a a 'Link:' header for a 103 Early Hints response.", OnRead::kNo, Refuse,
     "name value", "", "no interim answers but 100 are sent; Header add gives the field to the answer itself"},
    {"H2ProxyRequests", kFile, kInHosts, Arity::kFlag, "Enables forward proxy requests via HTTP/2", OnRead::kNo, RefuseOn,
     "on|off", "off", "this server is no forward proxy"},
    {"H2WebSockets", kFile, kInHosts, Arity::kFlag, "off to disable WebSockets over HTTP/2", OnRead::kNo, RefuseOn,
     "on|off", "off", "WebSockets over HTTP/2 (RFC 8441) are not offered; clients use HTTP/1.1 for them"},
  };
  return table;
}
// clang-format on

}  // namespace

net::Http2Terms Http2TermsOf(const config::Host& host) {
  net::Http2Terms out;
  const auto speaks = [&host](const char* name) {
    return std::find(host.protocols.begin(), host.protocols.end(), name) != host.protocols.end();
  };
  out.over_tls = speaks("h2");
  out.over_plain = speaks("h2c");
  const auto* said = host.settings.modules.Find<Http2Settings>();
  if (!said) return out;
  out.direct = said->direct.value_or(out.direct);
  out.upgrade = said->upgrade.value_or(out.upgrade);
  out.max_streams = said->max_streams.value_or(out.max_streams);
  out.window = said->window.value_or(out.window);
  out.stream_memory = said->stream_memory.value_or(out.stream_memory);
  out.max_data_frame = said->max_data_frame.value_or(out.max_data_frame);
  out.max_header_block = said->max_header_block.value_or(out.max_header_block);
  out.max_stream_errors = said->max_stream_errors.value_or(out.max_stream_errors);
  out.padding_bits = said->padding_bits.value_or(out.padding_bits);
  out.stream_timeout_ms = said->stream_timeout_ms.value_or(out.stream_timeout_ms);
  return out;
}

std::string Http2Variable(const net::Request& request, std::string_view name) {
  if (request.stream_id == 0) return "";
  if (name == "HTTP2") return "on";
  if (name == "H2PUSH" || name == "H2_PUSH") return "off";
  if (name == "H2_STREAM_ID") return std::to_string(request.stream_id);
  if (name == "H2_STREAM_TAG") return std::to_string(request.fd) + "-" + std::to_string(request.stream_id);
  return "";
}

const Module kHttp2 = {.name = {"mod_http2.c", "http2_module"},
                       .directives = Directives,
                       .applies = [](const config::ModuleSlots&) { return false; }};

}  // namespace httpd::modules
