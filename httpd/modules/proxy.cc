// mod_proxy, mod_proxy_http, mod_proxy_wstunnel, mod_proxy_balancer: where they meet a request.
// Source  httpd 2.4 manual, mod_proxy, mod_proxy_http, mod_proxy_balancer
#include <algorithm>
#include <string>

#include "httpd/http/ascii.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/cgi_environment.h"
#include "httpd/modules/core_settings.h"
#include "httpd/modules/module_list.h"
#include "httpd/modules/proxy_exchange.h"
#include "httpd/modules/proxy_url.h"

namespace httpd::modules {

namespace proxy {

namespace {

using config::LogLevel;

constexpr std::string_view kBalancer = "balancer://";
constexpr std::string_view kHandler = "proxy:";

/// The path of `url` made fit for a backend, with the query of the request.
/// @param is_raw  it was never decoded: it stays, and so does its query
/// @return Declined, or why it cannot be sent
Verdict SetUrl(RequestState& state, std::string url, bool is_raw, bool drops_query) {
  const size_t bar = url.starts_with("unix:") ? url.find('|') : std::string::npos;
  const size_t from = bar == std::string::npos ? 0 : bar + 1;
  const size_t scheme = url.find("://", from);
  if (scheme == std::string::npos) {
    state.engine->LogError(state, LogLevel::kError, "proxy", "AH01083: error parsing URL " + url);
    return Verdict::Status(400);
  }
  const size_t path = std::min(url.find('/', scheme + 3), url.size());
  std::string target = path == url.size() ? "/" : url.substr(path);
  if (!is_raw) {
    const auto* core = HostSettingsFor<CoreSettings>(state);
    const bool keeps = core && core->encoded_slashes == CoreSettings::EncodedSlashes::kNoDecode;
    auto canonical = CanonicalPath(target, keeps);
    if (!canonical) return Verdict::Status(400);
    target = std::move(*canonical);
    if (!IsSendable(state.query)) {
      state.engine->LogError(state, LogLevel::kError, "proxy_http",
                             "AH10408: To be forwarded query string contains control characters or spaces");
      return Verdict::Status(403);
    }
    if (state.has_query && !drops_query) target.append("?").append(state.query);
  } else if (!IsSendable(target)) {
    state.engine->LogError(state, LogLevel::kError, "proxy_http",
                           "AH10415: To be forwarded path contains control characters or spaces");
    return Verdict::Status(403);
  }
  url.resize(path);
  url += target;
  state.proxy_url = std::move(url);
  return Verdict::Declined();
}

/// nullopt: it is not about this path; Declined: it is, and says that nobody is to be asked.
std::optional<Verdict> Map(RequestState& state, const Mapping& mapping) {
  std::string url;
  bool is_raw = mapping.keeps_encoding;
  const http::RequestHead& head = state.head();
  std::string raw;  // as it was sent
  if (is_raw) {
    raw = head.path;
    if (head.has_query) raw.append("?").append(head.query);
  }
  if (mapping.regex) {
    std::vector<Poco::RegularExpression::Match> groups;
    if (!Finds(state, *mapping.regex, state.path, &groups)) return std::nullopt;
    if (mapping.is_exclusion()) return Verdict::Declined();
    if (is_raw && !Finds(state, *mapping.regex, raw, &groups)) {
      is_raw = false;
      Finds(state, *mapping.regex, state.path, &groups);
    }
    const std::string& subject = is_raw ? raw : state.path;
    url = ExpandGroups(mapping.to, subject, groups);
    if (url == mapping.to) url += subject;  // no group in it: the whole path is meant
  } else {
    const size_t length = CoveredBy(mapping.from, state.path);
    if (length == 0) return std::nullopt;
    if (mapping.is_exclusion()) return Verdict::Declined();
    if (is_raw && CoveredBy(mapping.from, head.path) != length) {
      state.engine->LogError(state, LogLevel::kWarn, "proxy",
                             "AH01136: Unescaped URL path matched ProxyPass; ignoring unsafe nocanon");
      is_raw = false;
    }
    url = mapping.to;
    url += is_raw ? std::string_view(raw).substr(length) : std::string_view(state.path).substr(length);
  }
  if (Verdict verdict = SetUrl(state, std::move(url), is_raw, mapping.drops_query);
      !verdict.is(Verdict::Kind::kDeclined)) {
    return verdict;
  }
  if (mapping.worker) state.proxy_worker = mapping.worker;
  return Verdict::Done();
}

Verdict Translate(RequestState& state) {
  const auto* host = HostSettingsFor<HostSettings>(state);
  const auto* place = SettingsFor<PlaceSettings>(state);
  const bool is_placed = place && place->mapping;
  if (!is_placed && (!host || host->mappings.empty())) return Verdict::Declined();
  if (!state.path.starts_with('/') || !state.proxy_url.empty()) return Verdict::Declined();
  if (state.environment.size() > 0 && state.environment.Find("no-proxy")) return Verdict::Declined();
  if (is_placed) {
    if (auto verdict = Map(state, *place->mapping)) return *verdict;
  }
  if (!host) return Verdict::Declined();
  for (const Mapping& mapping : host->mappings) {
    if (auto verdict = Map(state, mapping)) return *verdict;
  }
  return Verdict::Declined();
}

/// SetHandler "proxy:http://backend": the file's name is put behind it.
Verdict FromHandler(RequestState& state) {
  std::string url = state.handler.substr(kHandler.size());
  if (url.find("://") == std::string::npos && !url.starts_with("unix:")) return Verdict::Status(400);
  // As in Apache the name of the file is what the backend is asked for.
  url += state.file;
  if (Verdict verdict = SetUrl(state, std::move(url), false, false); !verdict.is(Verdict::Kind::kDeclined)) {
    return verdict;
  }
  return Exchange::Begin(state);
}

Verdict Handle(RequestState& state) {
  if (!state.proxy_url.empty()) return Exchange::Begin(state);
  if (state.handler.starts_with(kHandler)) return FromHandler(state);
  return Verdict::Declined();
}

void Repeats(const RequestState& state, Dependencies& on) {
  // An answer from a file was none of a backend's, by its path alone, or by a variable.
  if (!state.proxy_url.empty() || state.environment.Find("no-proxy")) on.OnMore();
}

class ProxySource final : public net::BodySource {
 public:
  explicit ProxySource(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~ProxySource() override { exchange_->Cancel(); }
  ProxySource(const ProxySource&) = delete;
  ProxySource& operator=(const ProxySource&) = delete;
  State Read(std::string& out, size_t most) override { return exchange_->Read(out, most); }
  std::optional<uint64_t> Left() const override { return exchange_->Left(); }

 private:
  std::shared_ptr<Exchange> exchange_;
};

class ProxySink final : public net::BodySink {
 public:
  explicit ProxySink(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~ProxySink() override { exchange_->CutBody(); }
  ProxySink(const ProxySink&) = delete;
  ProxySink& operator=(const ProxySink&) = delete;
  State Write(std::string_view data) override { return exchange_->Write(data); }
  bool WantsMore() const override { return exchange_->HasRoom(); }
  void End() override { exchange_->EndBody(); }

 private:
  std::shared_ptr<Exchange> exchange_;
};

class ProxyAnswer final : public DeferredAnswer {
 public:
  explicit ProxyAnswer(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~ProxyAnswer() override {
    if (exchange_) exchange_->Cancel();
  }
  ProxyAnswer(const ProxyAnswer&) = delete;
  ProxyAnswer& operator=(const ProxyAnswer&) = delete;

  std::optional<Verdict> Resume(RequestState& state, bool is_late) override {
    auto verdict = exchange_->Resume(state, is_late);
    if (!verdict) return verdict;
    const std::shared_ptr<Exchange> exchange = std::move(exchange_);
    if (!verdict->is(Verdict::Kind::kDone) || !exchange->HasMore()) {
      exchange->Cancel();
      return verdict;
    }
    net::Response& response = *state.response;
    response.source = std::make_unique<ProxySource>(exchange);
    if (response.is_tunnel) response.sink = std::make_unique<ProxySink>(exchange);
    return verdict;
  }

 private:
  std::shared_ptr<Exchange> exchange_;
};

/// The worker whose name is the longest beginning of `url`; null: nobody has announced it.
std::shared_ptr<const Worker> WorkerFor(const HostSettings* host, std::string_view url) {
  std::shared_ptr<const Worker> best;
  if (!host) return best;
  for (const auto& worker : host->workers) {
    if (url.starts_with(worker->name) && (!best || worker->name.size() > best->name.size())) best = worker;
  }
  return best;
}

}  // namespace

Verdict GoTo(RequestState& state, std::string url, bool is_raw) {
  if (is_raw && state.has_query) url.append("?").append(state.query);
  const Verdict verdict = SetUrl(state, std::move(url), is_raw, false);
  if (!verdict.is(Verdict::Kind::kDeclined)) return verdict;
  // From here on it is no file, and no directory whose index is wanted.
  state.file = "proxy:" + state.proxy_url;
  state.path_info.clear();
  state.info = {};
  state.handler = "proxy-server";
  return Verdict::Done();
}

Verdict Exchange::Begin(RequestState& state) {
  net::Reactor* reactor = state.request->reactor;
  if (!reactor) return Verdict::Status(500);
  const std::shared_ptr<Exchange> exchange = Pool::Of(*reactor).NewExchange();
  const auto* host = HostSettingsFor<HostSettings>(state);
  const http::RequestHead& head = state.head();
  Exchange& e = *exchange;
  if (auto verdict = e.CheckMaxForwards(state)) return *verdict;
  e.waker_ = reactor->WakerOf(*state.request);
  e.is_head_ = head.method == http::Method::kHead;
  e.has_body_ = (head.chunked || head.content_length.value_or(0) > 0) && !IsBodyGone(state);
  e.is_chunked_ = head.chunked;
  e.has_ended_ = !e.has_body_;
  const auto* place = SettingsFor<PlaceSettings>(state);
  state.response->holds_continue = head.expect_continue && e.has_body_ && !state.request->stream && head.minor >= 1 &&
                                   (!place || place->forwards_expect.value_or(true));
  if (http::EqualsIgnoreCase(std::string_view(state.proxy_url).substr(0, kBalancer.size()), kBalancer)) {
    const size_t slash = std::min(state.proxy_url.find('/', kBalancer.size()), state.proxy_url.size());
    const std::string name = state.proxy_url.substr(0, slash);
    Balancer* balancer = host ? host->FindBalancer(name) : nullptr;
    if (!balancer || balancer->members.empty()) {
      Log(state, "proxy", "AH01171: " + name + ": there is no such balancer, or it has no members");
      return Verdict::Status(503);
    }
    e.balancer_ = std::shared_ptr<const Balancer>(std::shared_ptr<void>(), balancer);  // the configuration's
    e.balancer_path_ = state.proxy_url.substr(slash);
    e.session_ = FindSession(*balancer, head.target, Joined(head, "Cookie"));
  } else if (state.proxy_worker) {
    e.worker_ = std::static_pointer_cast<const Worker>(state.proxy_worker);
  } else {
    e.worker_ = WorkerFor(host, state.proxy_url);
    if (!e.worker_) {
      auto made = std::make_shared<Worker>();
      if (auto complaint = ParseBackend(state.proxy_url, *made)) {
        state.engine->LogError(state, LogLevel::kWarn, "proxy",
                               "AH01144: No protocol handler was valid for the URL " + state.path + ": " + *complaint);
        return Verdict::Status(500);
      }
      made->shared = std::make_shared<WorkerShared>();
      made->reuses = false;
      made->is_for_one = true;
      e.worker_ = std::move(made);
    }
  }
  if (state.proxy_url.starts_with("unix:")) state.proxy_url.erase(0, state.proxy_url.find('|') + 1);
  if (auto verdict = e.Go(state, false)) return *verdict;
  if (e.has_body_) state.response->sink = std::make_unique<ProxySink>(exchange);
  state.response->deferred = std::make_unique<ProxyAnswer>(exchange);
  return Verdict::Done();
}

bool Exchange::HasMore() const {
  return phase_ == Phase::kBody;
}

}  // namespace proxy

namespace {

bool Never(const config::ModuleSlots&) {
  return false;
}

const std::vector<config::Directive>& NoDirectives() {
  static const std::vector<config::Directive> none;
  return none;
}

}  // namespace

const Module kProxy = {.name = {"mod_proxy.c", "proxy_module"},
                       .directives = proxy::Directives,
                       .always = true,
                       .translate = proxy::Translate,
                       .handle = proxy::Handle,
                       .repeats = proxy::Repeats};

const Module kProxyHttp = {
    .name = {"mod_proxy_http.c", "proxy_http_module"}, .directives = NoDirectives, .applies = Never};
const Module kProxyTunnel = {
    .name = {"mod_proxy_wstunnel.c", "proxy_wstunnel_module"}, .directives = NoDirectives, .applies = Never};
const Module kProxyBalancer = {
    .name = {"mod_proxy_balancer.c", "proxy_balancer_module"}, .directives = NoDirectives, .applies = Never};
const Module kByRequests = {
    .name = {"mod_lbmethod_byrequests.c", "lbmethod_byrequests_module"}, .directives = NoDirectives, .applies = Never};
const Module kByTraffic = {
    .name = {"mod_lbmethod_bytraffic.c", "lbmethod_bytraffic_module"}, .directives = NoDirectives, .applies = Never};
const Module kByBusyness = {
    .name = {"mod_lbmethod_bybusyness.c", "lbmethod_bybusyness_module"}, .directives = NoDirectives, .applies = Never};

}  // namespace httpd::modules
