// The directives of mod_proxy and mod_proxy_balancer. Source  httpd 2.4 manual, mod_proxy
#include <algorithm>
#include <charconv>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"
#include "httpd/modules/module.h"
#include "httpd/modules/proxy_settings.h"

namespace httpd::modules::proxy {

namespace {

using config::Builder;
using config::Complaint;
using config::Node;
using config::SameIgnoringCase;
using config::Scope;
using Words = std::vector<std::string>;

constexpr std::string_view kBalancerScheme = "balancer://";

bool IsBalancer(std::string_view url) {
  return SameIgnoringCase(url.substr(0, kBalancerScheme.size()), kBalancerScheme);
}

/// "balancer://name" of a URL below it, lower case.
std::string BalancerName(std::string_view url) {
  return config::LowerCase(url.substr(0, url.find('/', kBalancerScheme.size())));
}

HostSettings& HostOf(Scope& scope) {
  return scope.draft.host.settings.modules.Own<HostSettings>();
}

Balancer& BalancerOf(Scope& scope, std::string_view url) {
  HostSettings& host = HostOf(scope);
  const std::string name = BalancerName(url);
  if (Balancer* known = host.FindBalancer(name)) return *known;
  host.balancers.push_back(std::make_shared<Balancer>());
  host.balancers.back()->name = name;
  return *host.balancers.back();
}

/// The worker of a URL; one that was said before is the same.
Complaint WorkerOf(Scope& scope, std::string_view url, std::shared_ptr<Worker>& out) {
  auto made = std::make_shared<Worker>();
  if (auto complaint = ParseBackend(url, *made)) return complaint;
  HostSettings& host = HostOf(scope);
  for (const auto& known : host.workers) {
    if (known->name != made->name) continue;
    out = known;
    return std::nullopt;
  }
  made->shared = MakeWorkerShared();
  host.workers.push_back(made);
  out = std::move(made);
  return std::nullopt;
}

/// Cuts "key=value"; nullopt: it is none.
std::optional<std::pair<std::string, std::string>> Parameter(const std::string& word) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos) return std::nullopt;
  return std::pair(word.substr(0, equals), word.substr(equals + 1));
}

Complaint SetParameters(Builder& builder, const Node& node, const std::string& what, Words::const_iterator from,
                        Words::const_iterator to, Worker* worker, Balancer* balancer) {
  for (; from != to; ++from) {
    const auto parameter = Parameter(*from);
    if (!parameter) {
      return what + " '" + *from + "': parameters must be in the form 'key=value'";
    }
    const auto& [key, value] = *parameter;
    const auto complaint =
        balancer ? SetBalancerParameter(key, value, *balancer) : SetWorkerParameter(key, value, *worker);
    if (complaint) return what + " " + *complaint;
    if (const char* why = balancer ? nullptr : WhyMeaningless(key, value)) {
      builder.WarnOnce(node, "WARNING: " + what + " " + config::LowerCase(key) + "= has no meaning here: " + why);
    }
  }
  return std::nullopt;
}

/// What a URL of ProxyPassMatch says of the backend, before $1 may change it; "" = it may change the host.
std::string FixedPart(const std::string& url) {
  const size_t dollar = url.find('$');
  if (dollar == std::string::npos) return url;
  const size_t scheme = url.find("://");
  const size_t slash = scheme == std::string::npos ? scheme : url.find('/', scheme + 3);
  return slash < dollar ? url.substr(0, slash) : "";
}

Complaint AddMapping(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  const bool is_match = SameIgnoringCase(node.name, "ProxyPassMatch");
  Mapping mapping;
  size_t at = 0;
  bool is_regex = is_match;
  if (scope.section) {
    if (scope.section->kind != config::Section::Kind::kLocation) {
      return node.name + " cannot occur within " + (scope.parent ? scope.parent->name : "<Directory") + "> section";
    }
    mapping.from = scope.section->pattern;
    is_regex = scope.section->is_regex;
    if (words[0].starts_with('/') || (is_match && words.size() > 1 && words[1].find("://") != std::string::npos)) {
      return node.name + "|the path is that of the section: it must not be said again";
    }
  } else {
    if (words.size() < 2) return node.name + " needs a path when not defined in a location";
    mapping.from = words[at++];
  }
  mapping.to = words[at++];
  Words parameters;
  for (; at < words.size(); ++at) {
    if (SameIgnoringCase(words[at], "nocanon")) {
      mapping.keeps_encoding = true;
    } else if (SameIgnoringCase(words[at], "noquery")) {
      mapping.drops_query = true;
    } else if (SameIgnoringCase(words[at], "interpolate")) {
      return node.name + " interpolate is not supported: variables are not put into URLs of backends";
    } else if (SameIgnoringCase(std::string_view(words[at]).substr(0, 8), "mapping=")) {
      return node.name + " mapping= is not supported: paths are mapped decoded";
    } else {
      parameters.push_back(words[at]);
    }
  }
  if (is_regex) {
    auto compiled = CompileRegex(mapping.from);
    if (!compiled) return "Regular expression could not be compiled.";
    mapping.regex = std::move(compiled).value();
  }
  if (!mapping.is_exclusion()) {
    if (mapping.to.find("${") != std::string::npos) {
      return node.name + " " + mapping.to + ": variables are not put into URLs of backends";
    }
    const std::string fixed = is_regex ? FixedPart(mapping.to) : mapping.to;
    if (IsBalancer(mapping.to)) {
      Balancer& balancer = BalancerOf(scope, fixed);
      if (auto complaint =
              SetParameters(builder, node, node.name, parameters.begin(), parameters.end(), nullptr, &balancer)) {
        return complaint;
      }
    } else if (!fixed.empty()) {
      std::shared_ptr<Worker> worker;
      if (auto complaint = WorkerOf(scope, fixed, worker)) return node.name + " " + *complaint;
      if (auto complaint =
              SetParameters(builder, node, node.name, parameters.begin(), parameters.end(), worker.get(), nullptr)) {
        return complaint;
      }
      mapping.worker = std::move(worker);
    } else if (!parameters.empty()) {
      return node.name + ": parameters need a backend that requests do not choose";
    }
    const bool has_slash = mapping.from.ends_with('/');
    const size_t path =
        mapping.to.find('/', mapping.to.find("://") == std::string::npos ? 0 : mapping.to.find("://") + 3);
    if (!is_regex && mapping.from.size() > 1 && path != std::string::npos && has_slash != mapping.to.ends_with('/')) {
      builder.Warn(node,
                   "WARNING: " + node.name + " " + mapping.from + " " + mapping.to +
                       ": only one of them ends in a slash; what follows the path is put behind the URL as it is");
    }
  }
  if (scope.section) {
    config::SettingsOf<PlaceSettings>(scope).mapping = std::make_shared<const Mapping>(std::move(mapping));
  } else {
    HostOf(scope).mappings.push_back(std::move(mapping));
  }
  return std::nullopt;
}

/// ProxyPassReverse and the two for cookies: a pair, of which <Location> can stand for the first.
Complaint AddReverse(Builder&, Scope& scope, const Node& node, const Words& words) {
  PlaceSettings& place = config::SettingsOf<PlaceSettings>(scope);
  if (SameIgnoringCase(node.name, "ProxyPassReverseCookieDomain")) {
    place.cookie_domains.emplace_back(words[0], words[1]);
    return std::nullopt;
  }
  if (SameIgnoringCase(node.name, "ProxyPassReverseCookiePath")) {
    place.cookie_paths.emplace_back(words[0], words[1]);
    return std::nullopt;
  }
  Words rest = words;
  if (SameIgnoringCase(rest.back(), "interpolate")) {
    return node.name + " interpolate is not supported: variables are not put into URLs of backends";
  }
  if (!scope.section) {
    if (rest.size() < 2) return "ProxyPassReverse needs a path when not defined in a location";
    if (!rest[0].starts_with('/')) return "ProxyPassReverse: the path must begin with a slash";
    place.reverse.emplace_back(rest[1], rest[0]);
    return std::nullopt;
  }
  if (scope.section->kind != config::Section::Kind::kLocation) {
    return node.name + " cannot occur within " + (scope.parent ? scope.parent->name : "<Directory") + "> section";
  }
  if (rest.size() > 1) return "ProxyPassReverse can not have a path when defined in a location";
  place.reverse.emplace_back(rest[0], scope.section->pattern);
  return std::nullopt;
}

Complaint OpenProxy(Builder& builder, Scope& scope, const Node& node, const Words&) {
  Words words = config::SplitWords(config::SectionArguments(node));
  config::Section section;
  section.kind = config::Section::Kind::kProxy;
  section.where = node.where;
  section.is_regex = SameIgnoringCase(node.name, "<ProxyMatch");
  if (!section.is_regex && words.size() > 1 && words[0] == "~") {
    section.is_regex = true;
    words.erase(words.begin());
  }
  if (words.empty() || words[0].empty()) return node.name + "> directive requires additional arguments";
  section.pattern = words[0];
  if (SameIgnoringCase(std::string_view(section.pattern).substr(0, 6), "proxy:")) section.pattern.erase(0, 6);
  section.is_wildcard = !section.is_regex && section.pattern.find_first_of("*?[") != std::string::npos;
  if (section.is_regex) {
    if (auto compiled = CompileRegex(section.pattern); !compiled) return "Regex could not be compiled";
  }
  if (!section.is_regex && !section.is_wildcard && IsBalancer(section.pattern)) {
    Balancer& balancer = BalancerOf(scope, section.pattern);
    if (auto complaint =
            SetParameters(builder, node, node.name + ">", words.begin() + 1, words.end(), nullptr, &balancer)) {
      return complaint;
    }
  } else if (words.size() > 1) {
    std::shared_ptr<Worker> worker;
    if (section.is_regex || section.is_wildcard) return "Multiple " + node.name + "> arguments not (yet) supported.";
    if (auto complaint = WorkerOf(scope, section.pattern, worker)) return node.name + "> " + *complaint;
    if (auto complaint =
            SetParameters(builder, node, node.name + ">", words.begin() + 1, words.end(), worker.get(), nullptr)) {
      return complaint;
    }
  }
  Scope inner = scope.InSection(section, node);
  if (builder.Failed(node.children, inner)) return config::kStop;
  scope.draft.host.sections.push_back(std::make_shared<const config::Section>(std::move(section)));
  return std::nullopt;
}

Complaint AddMember(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  size_t at = 0;
  std::string balancer_url;
  if (scope.section && scope.section->kind == config::Section::Kind::kProxy && IsBalancer(scope.section->pattern)) {
    balancer_url = scope.section->pattern;
  } else if (scope.section) {
    return node.name + " must stand in <Proxy balancer://...>";
  }
  if (IsBalancer(words[0])) balancer_url = words[at++];
  if (balancer_url.empty()) return "BalancerMember must define balancer name when outside <Proxy > section";
  if (at == words.size()) return "BalancerMember must define remote proxy server";
  Worker made;
  if (auto complaint = ParseBackend(words[at], made)) return node.name + " " + *complaint;
  Balancer& balancer = BalancerOf(scope, balancer_url);
  std::shared_ptr<Worker> member;
  for (const auto& known : balancer.members) {
    if (known->name == made.name) member = known;
  }
  if (!member) {
    member = std::make_shared<Worker>(std::move(made));
    member->is_member = true;
    member->shared = MakeWorkerShared();
    balancer.members.push_back(member);
  }
  return SetParameters(builder, node, node.name, words.begin() + static_cast<ptrdiff_t>(at) + 1, words.end(),
                       member.get(), nullptr);
}

Complaint ProxySet(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  std::string url;
  size_t at = 0;
  if (scope.section && scope.section->kind == config::Section::Kind::kProxy && !scope.section->is_regex) {
    url = scope.section->pattern;
  } else if (!scope.section) {
    url = words[at++];
  }
  if (url.empty() || url.find("://") == std::string::npos) {
    return node.name + " needs a URL of a backend, or to stand in <Proxy URL>";
  }
  if (at == words.size()) return node.name + " needs parameters: key=value";
  const auto from = words.begin() + static_cast<ptrdiff_t>(at);
  if (IsBalancer(url)) {
    if (!scope.section && !HostOf(scope).FindBalancer(BalancerName(url)))
      return "ProxySet can't find '" + url + "' Balancer.";
    return SetParameters(builder, node, node.name, from, words.end(), nullptr, &BalancerOf(scope, url));
  }
  std::shared_ptr<Worker> worker;
  if (auto complaint = WorkerOf(scope, url, worker)) return node.name + " " + *complaint;
  return SetParameters(builder, node, node.name, from, words.end(), worker.get(), nullptr);
}

template <std::optional<bool> PlaceSettings::*kMember>
Complaint SetFlag(Builder&, Scope& scope, const Node& node, const Words& words) {
  bool on = false;
  if (auto complaint = config::TakeFlag(node, words[0], on)) return complaint;
  config::SettingsOf<PlaceSettings>(scope).*kMember = on;
  return std::nullopt;
}

Complaint SetInherit(Builder&, Scope& scope, const Node& node, const Words& words) {
  bool on = false;
  if (auto complaint = config::TakeFlag(node, words[0], on)) return complaint;
  HostOf(scope).inherits = on;
  return std::nullopt;
}

Complaint SetErrorOverride(Builder&, Scope& scope, const Node& node, const Words& words) {
  bool on = false;
  if (auto complaint = config::TakeFlag(node, words[0], on)) return complaint;
  PlaceSettings& place = config::SettingsOf<PlaceSettings>(scope);
  place.overrides_errors = on;
  place.overridden.clear();
  if (!on && words.size() > 1) return "ProxyErrorOverride: status code must not be specified with Off";
  for (size_t i = 1; i < words.size(); ++i) {
    int status = 0;
    const auto [end, error] = std::from_chars(words[i].data(), words[i].data() + words[i].size(), status);
    if (error != std::errc() || *end != '\0' || status < 400 || status > 599) {
      return "ProxyErrorOverride: status code '" + words[i] + "' must be 400 to 599";
    }
    place.overridden.push_back(status);
  }
  return std::nullopt;
}

/// Only Off: what On asks for is not there.
Complaint OnlyOff(Builder&, Scope&, const Node& node, const Words& words) {
  bool on = false;
  if (auto complaint = config::TakeFlag(node, words[0], on)) return complaint;
  if (!on) return std::nullopt;
  const bool is_forward = SameIgnoringCase(node.name, "ProxyRequests");
  return node.name + " On is not supported: " +
         (is_forward ? "this server is no forward proxy; ProxyPass makes it a reverse proxy"
                     : "variables are not put into URLs of backends");
}

Complaint ProxyStatus(Builder&, Scope&, const Node& node, const Words& words) {
  if (SameIgnoringCase(words[0], "off")) return std::nullopt;
  if (!SameIgnoringCase(words[0], "on") && !SameIgnoringCase(words[0], "full")) {
    return "ProxyStatus must be one of: off | on | full";
  }
  return node.name + " " + words[0] + " is not supported: server-status tells nothing of backends";
}

Complaint SetVia(Builder&, Scope& scope, const Node&, const Words& words) {
  static constexpr std::pair<std::string_view, Via> kNames[] = {
      {"off", Via::kOff}, {"on", Via::kOn}, {"full", Via::kFull}, {"block", Via::kBlock}};
  for (const auto& [name, via] : kNames) {
    if (!SameIgnoringCase(words[0], name)) continue;
    HostOf(scope).via = via;
    return std::nullopt;
  }
  return "ProxyVia must be one of: off | on | full | block";
}

Complaint SetBadHeader(Builder&, Scope& scope, const Node&, const Words& words) {
  static constexpr std::pair<std::string_view, http::BadLine> kNames[] = {{"IsError", http::BadLine::kIsError},
                                                                          {"Ignore", http::BadLine::kIgnore},
                                                                          {"StartBody", http::BadLine::kStartBody}};
  for (const auto& [name, what] : kNames) {
    if (!SameIgnoringCase(words[0], name)) continue;
    HostOf(scope).bad_lines = what;
    return std::nullopt;
  }
  return "ProxyBadHeader must be one of: IsError | Ignore | StartBody";
}

Complaint SetTimeout(Builder&, Scope& scope, const Node&, const Words& words) {
  Worker parsed;
  if (SetWorkerParameter("timeout", words[0], parsed)) return "Proxy Timeout must be at least 1 second.";
  HostOf(scope).timeout_ms = parsed.timeout_ms;
  return std::nullopt;
}

Complaint SetMaxForwards(Builder&, Scope& scope, const Node&, const Words& words) {
  int number = 0;
  const auto [end, error] = std::from_chars(words[0].data(), words[0].data() + words[0].size(), number);
  if (error != std::errc() || *end != '\0') return "ProxyMaxForwards must be a number";
  HostOf(scope).most_forwards = number;
  return std::nullopt;
}

Complaint SetBuffer(Builder&, Scope& scope, const Node& node, const Words& words) {
  const bool is_io = SameIgnoringCase(node.name, "ProxyIOBufferSize");
  int number = 0;
  const auto [end, error] = std::from_chars(words[0].data(), words[0].data() + words[0].size(), number);
  if (error != std::errc() || *end != '\0' || number < 0) return node.name + " must be a number of bytes";
  if (is_io) {
    HostOf(scope).io_buffer = std::clamp(number, 512, 64 << 10);
  } else {
    if (number < 512 && number != 0) return "ProxyReceiveBufferSize must be >= 512 bytes, or 0 for system default.";
    HostOf(scope).receive_buffer = number;
  }
  return std::nullopt;
}

}  // namespace

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::kAnywhere;
  using config::kInHosts;
  using P = PlaceSettings;
  constexpr config::OnRead kNo = config::OnRead::kNo;
  static constexpr char kModule[] = "mod_proxy.c";
  static const std::vector<config::Directive> table = {
      {"<Proxy", kModule, kInHosts, Arity::kRaw,
       "Container for directives affecting resources located in the proxied "
       "location",
       kNo, OpenProxy, "wildcard-url [key=value ...]", "",
       "What is inside holds for requests whose URL at the backend begins with this one, or matches it with * and ?. "
       "<Proxy balancer://name> says a balancer's members."},
      {"<ProxyMatch", kModule, kInHosts, Arity::kRaw,
       "Container for directives affecting resources located in the "
       "proxied location, in regular expression syntax",
       kNo, OpenProxy, "regex"},
      {"ProxyPass", kModule, kAnywhere, Arity::kAtLeastOne, "a virtual path and a URL", kNo, AddMapping,
       "[path] !|url [key=value ...] [nocanon] [noquery]", "",
       "Requests below the path are answered by the backend: http://host[:port]/path, https://, ws://, wss://, "
       "unix:/socket|http://host/path or balancer://name/path. The first that matches is used; ! leaves a path out. "
       "Parameters: acquire, connectiontimeout, disablereuse, enablereuse, keepalive, max, iobuffersize, ping, "
       "receivebuffersize, responsefieldsize, smax, status, timeout, ttl, upgrade; for members of balancers "
       "lbset, loadfactor, redirect, retry, route."},
      {"ProxyPassMatch", kModule, kAnywhere, Arity::kAtLeastOne, "a virtual path and a URL", kNo, AddMapping,
       "[regex] !|url [key=value ...]", "", "As ProxyPass, with $1 to $9 in the URL."},
      {"ProxyPassReverse", kModule, kAnywhere, Arity::kOneToThree,
       "a virtual path and a URL for reverse proxy "
       "behaviour",
       kNo, AddReverse, "[path] url", "",
       "Location, Content-Location and URI of answers that begin with the URL are of this server again."},
      {"ProxyPassReverseCookieDomain", kModule, kAnywhere, Arity::kTwo, "an internal and public domain for a cookie",
       kNo, AddReverse, "internal-domain public-domain"},
      {"ProxyPassReverseCookiePath", kModule, kAnywhere, Arity::kTwo, "an internal and public path for a cookie", kNo,
       AddReverse, "internal-path public-path"},
      {"ProxyPassInherit", kModule, kInHosts, Arity::kFlag, "Does this vhost inherit parent ProxyPass mappings", kNo,
       SetInherit, "On|Off", "On"},
      {"ProxyPassInterpolateEnv", kModule, kAnywhere, Arity::kFlag, "Interpolate Env Vars in reverse Proxy", kNo,
       OnlyOff, "On|Off", "Off", "Only Off."},
      {"ProxyPreserveHost", kModule, kAnywhere, Arity::kFlag, "on if we should preserve host header while proxying",
       kNo, SetFlag<&P::preserves_host>, "On|Off", "Off", "The backend gets the Host field of the client."},
      {"ProxyAddHeaders", kModule, kAnywhere, Arity::kFlag, "on if X-Forwarded-* headers should be added or completed",
       kNo, SetFlag<&P::adds_fields>, "On|Off", "On",
       "X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Server; what the client sent stays in front."},
      {"Proxy100Continue", kModule, kAnywhere, Arity::kFlag,
       "on if 100-Continue should be forwarded to the origin server, off if the proxy should handle it by itself", kNo,
       SetFlag<&P::forwards_expect>, "On|Off", "On",
       "A client that waits for 100 Continue is asked for its body when the backend asks for it."},
      {"ProxyErrorOverride", kModule, kAnywhere, Arity::kAtLeastOne,
       "use our error handling pages instead of the "
       "servers we are proxying",
       kNo, SetErrorOverride, "On|Off [status ...]", "Off"},
      {"ProxyRequests", kModule, kInHosts, Arity::kFlag, "on if the true proxy requests should be accepted", kNo,
       OnlyOff, "On|Off", "Off", "Only Off: this server is a reverse proxy."},
      {"ProxyVia", kModule, kInHosts, Arity::kOne,
       "Configure Via: proxy header header to one of: on | off | block | "
       "full",
       kNo, SetVia, "On|Off|Full|Block", "Off"},
      {"ProxyTimeout", kModule, kInHosts, Arity::kOne, "Set the timeout (in seconds) for a proxied connection.", kNo,
       SetTimeout, "time", "value of Timeout", "Longest silence of a backend; timeout= of a backend comes first."},
      {"ProxyMaxForwards", kModule, kInHosts, Arity::kOne,
       "The maximum number of proxies a request may be forwarded "
       "through.",
       kNo, SetMaxForwards, "number", "-1", "-1: requests without Max-Forwards get none."},
      {"ProxyBadHeader", kModule, kInHosts, Arity::kOne,
       "How to handle bad header line in response: IsError | Ignore "
       "| StartBody",
       kNo, SetBadHeader, "IsError|Ignore|StartBody", "IsError"},
      {"ProxyStatus", kModule, kInHosts, Arity::kOne, "Configure Status: proxy status to one of: on | off | full", kNo,
       ProxyStatus, "On|Off|Full", "Off", "Only Off."},
      {"ProxyIOBufferSize", kModule, kInHosts, Arity::kOne,
       "IO buffer size for outgoing HTTP and FTP connections in "
       "bytes",
       kNo, SetBuffer, "bytes", "65536", "What is read from a backend at once; 512 to 65536."},
      {"ProxyReceiveBufferSize", kModule, kInHosts, Arity::kOne,
       "Receive buffer size for outgoing HTTP and FTP "
       "connections in bytes",
       kNo, SetBuffer, "bytes", "0", "SO_RCVBUF; 0 = the system's."},
      {"ProxySet", kModule, config::kAnywhere, Arity::kAtLeastOne, "A balancer or worker name with list of params", kNo,
       ProxySet, "[url] key=value [key=value ...]", "",
       "Parameters of a backend or a balancer. Of a balancer: lbmethod (byrequests, bytraffic, bybusyness), "
       "failonstatus, failontimeout, forcerecovery, maxattempts, nofailover, scolonpathdelim, stickysession, "
       "stickysessionsep."},
      {"BalancerMember", kModule, config::kAnywhere, Arity::kAtLeastOne,
       "A balancer name and scheme with list of "
       "params",
       kNo, AddMember, "[balancer://name] url [key=value ...]", "",
       "A member that cannot be connected is left out for retry seconds (60), and the request goes to another."},
  };
  return table;
}

}  // namespace httpd::modules::proxy
