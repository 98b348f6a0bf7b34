// mod_reqtimeout: RequestReadTimeout. Source  httpd 2.4 manual, mod_reqtimeout
#include "httpd/modules/reqtimeout.h"

#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using net::ReadTimeout;
using Words = std::vector<std::string>;

constexpr ReadTimeout kDefaultHead{20000, 40000, 500};
constexpr ReadTimeout kDefaultBody{20000, 0, 500};

struct ReqTimeoutSettings final : config::ModuleSettings {
  std::optional<ReadTimeout> head;
  std::optional<ReadTimeout> body;
  std::optional<ReadTimeout> handshake;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const ReqTimeoutSettings&>(other);
    auto out = std::make_unique<ReqTimeoutSettings>(*this);
    if (inner.head) out->head = inner.head;
    if (inner.body) out->body = inner.body;
    if (inner.handshake) out->handshake = inner.handshake;
    return out;
  }
};

std::optional<int> Number(std::string_view text) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size() || value < 0 ||
      value > std::numeric_limits<int>::max() / 1000) {
    return std::nullopt;
  }
  return value;
}

// "20", "20-40", "20-40,MinRate=500", "20,MinRate=500"
Complaint Parse(const std::string& text, ReadTimeout& out) {
  const size_t comma = text.find(',');
  const std::string times = text.substr(0, comma);
  const size_t dash = times.find('-');
  out = ReadTimeout{};
  const auto initial = Number(times.substr(0, dash));
  if (!initial) return "Unknown/Invalid parameter: Could not parse timeout '" + text + "'";
  out.initial_ms = *initial * 1000;
  if (dash != std::string::npos) {
    const auto most = Number(times.substr(dash + 1));
    if (!most) return "Unknown/Invalid parameter: Could not parse maximum timeout '" + text + "'";
    if (*most <= *initial) return "Maximum timeout must be larger than initial timeout";
    out.most_ms = *most * 1000;
  }
  if (comma != std::string::npos) {
    const std::string rate = text.substr(comma + 1);
    if (!config::SameIgnoringCase(rate.substr(0, 8), "MinRate=")) {
      return "Invalid RequestReadTimeout parameter '" + rate + "': expected MinRate=bytes";
    }
    const auto value = Number(std::string_view(rate).substr(8));
    if (!value || *value == 0) return "Minimum data rate must be larger than 0";
    out.min_rate = static_cast<uint32_t>(*value);
  } else if (dash != std::string::npos) {
    return "Must set MinRate value if using timeout range";
  }
  return std::nullopt;
}

Complaint Set(config::Builder&, config::Scope& scope, const config::Node&, const Words& words) {
  auto& settings = config::SettingsOf<ReqTimeoutSettings>(scope);
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos)
      return "Invalid RequestReadTimeout parameter '" + word + "': expected stage=timeout";
    const std::string stage = config::LowerCase(word.substr(0, equals));
    ReadTimeout value;
    if (auto complaint = Parse(word.substr(equals + 1), value)) return complaint;
    if (stage == "header") {
      settings.head = value;
    } else if (stage == "body") {
      settings.body = value;
    } else if (stage == "handshake") {
      settings.handshake = value;
    } else {
      return "Unknown RequestReadTimeout parameter: " + stage;
    }
  }
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  static const std::vector<config::Directive> table = {
      {"RequestReadTimeout", "mod_reqtimeout.c", config::kInHosts, config::Arity::kAtLeastOne,
       "Set various timeout parameters for TLS handshake and/or reading request headers and body from client",
       config::OnRead::kNo, Set,
       "[handshake=timeout[-maxtimeout][,MinRate=rate]] [header=timeout[-maxtimeout][,MinRate=rate]] "
       "[body=timeout[-maxtimeout][,MinRate=rate]]",
       "header=20-40,MinRate=500 body=20,MinRate=500",
       "How long a client may take for a TLS handshake (0, the default: as long as for a head), to send the head of a "
       "request, and its body. With MinRate the time grows by one "
       "second for every so many bytes that arrive, at most to maxtimeout. Who is slower is answered 408. 0 means no "
       "limit but Timeout between two reads. The time for a head begins with the connection, or on a kept connection "
       "with the first byte."},
  };
  return table;
}

}  // namespace

ReadTimeout ReadTimeoutOf(const config::ModuleSlots& slots, bool body) {
  const auto* settings = slots.Find<ReqTimeoutSettings>();
  if (body) return settings && settings->body ? *settings->body : kDefaultBody;
  return settings && settings->head ? *settings->head : kDefaultHead;
}

ReadTimeout HandshakeTimeoutOf(const config::ModuleSlots& slots) {
  const auto* settings = slots.Find<ReqTimeoutSettings>();
  return settings && settings->handshake && settings->handshake->initial_ms != 0 ? *settings->handshake
                                                                                 : ReadTimeoutOf(slots, false);
}

const Module kReqTimeout = {.name = {"mod_reqtimeout.c", "reqtimeout_module"}, .directives = Directives};

}  // namespace httpd::modules
