#include "httpd/modules/proxy_settings.h"

#include <sys/mman.h>

#include <algorithm>
#include <charconv>
#include <new>

#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"

namespace httpd::modules::proxy {

namespace {

using config::Complaint;
using config::SameIgnoringCase;

constexpr int kMostMs = 2'000'000'000;

std::optional<int> Number(std::string_view text, int least, int most) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most) return std::nullopt;
  return number;
}

/// "5", "5s", "500ms", "2min", "1h" in milliseconds. Source  ap_timeout_parameter_parse
std::optional<int> Time(std::string_view text) {
  int factor = 1000;
  for (const auto& [unit, value] :
       {std::pair<std::string_view, int>{"ms", 1}, {"min", 60'000}, {"mi", 60'000}, {"h", 3'600'000}, {"s", 1000}}) {
    if (!text.ends_with(unit)) continue;
    factor = value;
    text.remove_suffix(unit.size());
    break;
  }
  const auto number = Number(text, 0, kMostMs / factor);
  return number ? std::optional<int>(*number * factor) : std::nullopt;
}

std::optional<bool> Flag(std::string_view text) {
  if (SameIgnoringCase(text, "on")) return true;
  if (SameIgnoringCase(text, "off")) return false;
  return std::nullopt;
}

Complaint SetFlag(const std::string& key, const std::string& value, bool& out) {
  const auto flag = Flag(value);
  if (!flag) return key + " must be On|Off";
  out = *flag;
  return std::nullopt;
}

template <class T>
Complaint SetNumber(const std::string& key, const std::string& value, int least, int most, T& out) {
  const auto number = Number(value, least, most);
  if (!number) return key + " must be a number of " + std::to_string(least) + " to " + std::to_string(most);
  out = *number;
  return std::nullopt;
}

template <class T>
Complaint SetTime(const std::string& key, const std::string& value, T& out) {
  const auto time = Time(value);
  if (!time || *time == 0) return key + " must be at least 1: seconds, or with ms, s, min or h behind it";
  out = *time;
  return std::nullopt;
}

Complaint SetStatus(const std::string& value, Worker& worker) {
  static constexpr std::pair<char, unsigned> kLetters[] = {{'d', kDisabled},   {'s', kStopped}, {'i', kIgnoreErrors},
                                                           {'h', kHotStandby}, {'e', kInError}, {'n', kDrained},
                                                           {'r', kHotSpare}};
  bool sets = true;
  for (const char c : value) {
    if (c == '+' || c == '-') {
      sets = c == '+';
      continue;
    }
    const auto* letter = std::find_if(std::begin(kLetters), std::end(kLetters),
                                      [c](const auto& known) { return known.first == http::Lower(c); });
    if (letter == std::end(kLetters)) return "Unknown status parameter option: '" + value + "' has only D S I H E N R";
    worker.status = sets ? worker.status | letter->second : worker.status & ~letter->second;
    sets = true;
  }
  return std::nullopt;
}

template <class T>
void PutFirst(std::vector<T>& own, const std::vector<T>& outer) {
  own.insert(own.end(), outer.begin(), outer.end());
}

}  // namespace

std::shared_ptr<WorkerShared> MakeWorkerShared() {
  void* memory = ::mmap(nullptr, sizeof(WorkerShared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return std::make_shared<WorkerShared>();  // then every child knows only what it has seen
  return {new (memory) WorkerShared, [](WorkerShared* shared) { ::munmap(shared, sizeof *shared); }};
}

std::unique_ptr<config::ModuleSettings> HostSettings::MergedWith(const ModuleSettings& other) const {
  auto out = std::make_unique<HostSettings>(static_cast<const HostSettings&>(other));
  if (out->inherits.value_or(true)) PutFirst(out->mappings, mappings);
  PutFirst(out->workers, workers);
  PutFirst(out->balancers, balancers);
  if (!out->via) out->via = via;
  if (!out->timeout_ms) out->timeout_ms = timeout_ms;
  if (!out->most_forwards) out->most_forwards = most_forwards;
  if (!out->receive_buffer) out->receive_buffer = receive_buffer;
  if (!out->io_buffer) out->io_buffer = io_buffer;
  if (!out->bad_lines) out->bad_lines = bad_lines;
  return out;
}

Worker* HostSettings::FindWorker(std::string_view name) const {
  const auto found =
      std::find_if(workers.begin(), workers.end(), [name](const auto& worker) { return worker->name == name; });
  return found == workers.end() ? nullptr : found->get();
}

Balancer* HostSettings::FindBalancer(std::string_view name) const {
  const auto found = std::find_if(balancers.begin(), balancers.end(),
                                  [name](const auto& balancer) { return SameIgnoringCase(balancer->name, name); });
  return found == balancers.end() ? nullptr : found->get();
}

std::unique_ptr<config::ModuleSettings> PlaceSettings::MergedWith(const ModuleSettings& other) const {
  auto out = std::make_unique<PlaceSettings>(static_cast<const PlaceSettings&>(other));
  if (!out->mapping) out->mapping = mapping;
  PutFirst(out->reverse, reverse);
  PutFirst(out->cookie_domains, cookie_domains);
  PutFirst(out->cookie_paths, cookie_paths);
  if (!out->preserves_host) out->preserves_host = preserves_host;
  if (!out->adds_fields) out->adds_fields = adds_fields;
  if (!out->forwards_expect) out->forwards_expect = forwards_expect;
  if (!out->overrides_errors) {
    out->overrides_errors = overrides_errors;
    out->overridden = overridden;
  }
  return out;
}

Complaint ParseBackend(std::string_view url, Worker& out) {
  const std::string whole(url);
  Worker made = out;
  made.unix_path.clear();
  if (SameIgnoringCase(url.substr(0, 5), "unix:")) {
    const size_t bar = url.find('|');
    if (bar == std::string_view::npos) return "'" + whole + "': a Unix socket is written unix:/path|http://host/";
    made.unix_path = url.substr(5, bar - 5);
    if (!made.unix_path.starts_with('/')) return "'" + whole + "': the path of the Unix socket must be absolute";
    if (made.unix_path.size() > 107) return "'" + whole + "': the path of the Unix socket is longer than 107 bytes";
    url.remove_prefix(bar + 1);
  }
  const size_t colon = url.find("://");
  if (colon == std::string_view::npos) return "'" + whole + "' is not a URL: http://host[:port][/path] is wanted";
  const std::string scheme = config::LowerCase(std::string(url.substr(0, colon)));
  made.is_websocket = scheme == "ws" || scheme == "wss";
  made.is_tls = scheme == "https" || scheme == "wss";
  if (!made.is_websocket && !made.is_tls && scheme != "http") {
    return "'" + whole + "': " + scheme + ":// is not supported: http://, https://, ws://, wss:// and balancer:// are";
  }
  const uint16_t usual_port = made.is_tls ? 443 : 80;
  url.remove_prefix(colon + 3);
  const size_t slash = std::min(url.find_first_of("/?#"), url.size());
  std::string_view authority = url.substr(0, slash);
  made.path = url.substr(slash);
  if (made.path == "/") made.path.clear();
  if (!made.path.empty() && made.path.front() != '/') made.path.insert(0, "/");
  if (authority.find('@') != std::string_view::npos) return "'" + whole + "': user information is not supported";
  std::string_view host = authority;
  made.port = usual_port;
  const size_t bracket = authority.rfind(']');
  const size_t port_at = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (port_at != std::string_view::npos) {
    const auto port = Number(authority.substr(port_at + 1), 1, 65535);
    if (!port) return "'" + whole + "': the port must be 1 to 65535";
    made.port = static_cast<uint16_t>(*port);
    host = authority.substr(0, port_at);
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const bool is_host = !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= '0' && c <= '9') || (http::Lower(c) >= 'a' && http::Lower(c) <= 'z') || c == '.' || c == '-' ||
           c == '_' || c == ':';
  });
  if (!is_host) return "'" + whole + "': no host, or one with other characters than letters, digits, . - _";
  made.host = config::LowerCase(std::string(host));
  made.authority = host.find(':') == std::string_view::npos ? made.host : "[" + made.host + "]";
  if (made.port != usual_port) made.authority += ":" + std::to_string(made.port);
  made.name = scheme + "://" + made.authority + made.path;
  if (!made.unix_path.empty()) made.name = "unix:" + made.unix_path + "|" + made.name;
  out = std::move(made);
  return std::nullopt;
}

Complaint SetWorkerParameter(const std::string& key, const std::string& value, Worker& worker) {
  const auto is = [&key](std::string_view name) { return SameIgnoringCase(key, name); };
  constexpr int kMost = 1'000'000;
  if (is("timeout")) return SetTime(key, value, worker.timeout_ms);
  if (is("connectiontimeout")) return SetTime(key, value, worker.connect_timeout_ms);
  if (is("acquire")) return SetNumber(key, value, 1, kMostMs, worker.acquire_ms);  // milliseconds, as Apache
  if (is("ttl")) return SetTime(key, value, worker.ttl_ms);
  if (is("retry")) {
    const auto time = Time(value);
    if (!time) return "Retry must be a positive value";
    worker.retry_ms = *time;
    return std::nullopt;
  }
  if (is("max")) return SetNumber(key, value, 1, kMost, worker.most);
  if (is("smax")) return SetNumber(key, value, 0, kMost, worker.soft_most);
  if (is("min")) {
    int ignored = 0;
    return SetNumber(key, value, 0, kMost, ignored);  // WhyMeaningless()
  }
  if (is("keepalive")) return SetFlag(key, value, worker.keep_alive);
  if (is("disablereuse") || is("enablereuse")) {
    bool flag = false;
    if (auto complaint = SetFlag(key, value, flag)) return complaint;
    worker.reuses = is("enablereuse") ? flag : !flag;
    return std::nullopt;
  }
  if (is("flushpackets")) {
    const bool is_known =
        SameIgnoringCase(value, "on") || SameIgnoringCase(value, "off") || SameIgnoringCase(value, "auto");
    return is_known ? Complaint() : "flushpackets must be on|off|auto";
  }
  if (is("flushwait")) {
    int ignored = 0;
    return SetNumber(key, value, -1, kMost, ignored);
  }
  if (is("receivebuffersize")) return SetNumber(key, value, 512, 1 << 30, worker.receive_buffer);
  if (is("iobuffersize")) return SetNumber(key, value, 512, 64 << 10, worker.io_buffer);
  if (is("responsefieldsize")) return SetNumber(key, value, 8192, 1 << 20, worker.response_field);
  if (is("upgrade")) {
    if (value.empty()) return "upgrade protocol length must be positive";
    worker.upgrade = SameIgnoringCase(value, "none") ? "" : value;
    return std::nullopt;
  }
  if (is("status")) return SetStatus(value, worker);
  if (is("loadfactor")) {
    const size_t dot = value.find('.');
    const auto whole = Number(value.substr(0, dot), 0, 100);
    std::string hundredths = dot == std::string::npos ? "0" : value.substr(dot + 1, 2);
    if (hundredths.size() == 1) hundredths += '0';
    const auto part = Number(hundredths, 0, 99);
    const int factor = whole && part ? *whole * 100 + *part : 0;
    if (factor < 100 || factor > 10000) return "LoadFactor must be a number between 1..100";
    worker.load_factor = factor;
    return std::nullopt;
  }
  if (is("lbset")) return SetNumber(key, value, 0, 99, worker.set);
  if (is("route") || is("redirect")) {
    if (value.size() > 95) return key + " length must be < 96 characters";
    (is("route") ? worker.route : worker.redirect) = value;
    return std::nullopt;
  }
  if (is("ping")) return SetTime(key, value, worker.ping_ms);
  if (is("secret")) return "secret is for ajp://, which is not supported";
  if (is("addressttl")) return "addressttl is not supported: addresses of names are asked for again after a minute";
  if (is("hcmethod") || is("hcpasses") || is("hcfails") || is("hcinterval") || is("hcuri") || is("hcexpr") ||
      is("hctemplate")) {
    return key + " is not supported: there are no health checks; a member that fails is left out for its retry time";
  }
  return "unknown Worker parameter '" + key + "'";
}

const char* WhyMeaningless(const std::string& key, const std::string& value) {
  if (SameIgnoringCase(key, "min")) {
    return "it is about memory that Apache reserves, not about connections: those are made when they are needed";
  }
  const bool is_flush = SameIgnoringCase(key, "flushpackets") && !SameIgnoringCase(value, "on");
  if (!is_flush && !SameIgnoringCase(key, "flushwait")) return nullptr;
  return "as in Apache it is about ajp:// and fcgi:// backends only; what others send is passed on as it comes";
}

Complaint SetBalancerParameter(const std::string& key, const std::string& value, Balancer& balancer) {
  const auto is = [&key](std::string_view name) { return SameIgnoringCase(key, name); };
  if (is("lbmethod")) {
    static constexpr std::pair<std::string_view, BalanceMethod> kMethods[] = {{"byrequests", BalanceMethod::kRequests},
                                                                              {"bytraffic", BalanceMethod::kTraffic},
                                                                              {"bybusyness", BalanceMethod::kBusyness}};
    for (const auto& [name, method] : kMethods) {
      if (!SameIgnoringCase(value, name)) continue;
      balancer.method = method;
      return std::nullopt;
    }
    return "unknown lbmethod '" + value + "': byrequests, bytraffic and bybusyness are there";
  }
  if (is("stickysession")) {
    const size_t bar = value.find('|');
    balancer.sticky_cookie = value.substr(0, bar);
    balancer.sticky_parameter = bar == std::string::npos ? balancer.sticky_cookie : value.substr(bar + 1);
    return std::nullopt;
  }
  if (is("stickysessionsep")) {
    if (value.size() != 1 && !SameIgnoringCase(value, "off"))
      return "stickysessionsep must be a single character or Off";
    balancer.sticky_separator = value.size() == 1 ? value[0] : '\0';
    return std::nullopt;
  }
  if (is("scolonpathdelim")) return SetFlag(key, value, balancer.semicolon_delimits);
  if (is("nofailover")) return SetFlag(key, value, balancer.no_failover);
  if (is("forcerecovery")) return SetFlag(key, value, balancer.force_recovery);
  if (is("failontimeout")) return SetFlag(key, value, balancer.fails_on_timeout);
  if (is("maxattempts")) return SetNumber(key, value, 0, 1000, balancer.most_attempts);
  if (is("failonstatus")) {
    for (size_t at = 0; at < value.size();) {
      const size_t comma = std::min(value.find(',', at), value.size());
      const auto status = Number(std::string_view(value).substr(at, comma - at), 100, 599);
      if (!status) return "failonstatus must be one or more HTTP response codes";
      balancer.failing_statuses.push_back(*status);
      at = comma + 1;
    }
    return std::nullopt;
  }
  if (is("timeout")) return "timeout of a balancer is not supported: a member without a free connection is waited for";
  if (is("nonce") || is("growth")) return key + " is for the balancer manager, which is not supported";
  return "unknown Balancer parameter '" + key + "'";
}

}  // namespace httpd::modules::proxy
