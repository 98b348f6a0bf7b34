// What a backend is told of a request, and what the client is told of its answer.
// Source  proxy_util.c ap_proxy_create_hdrbrgd, mod_proxy_http.c ap_proxy_http_process_response
#include <algorithm>
#include <charconv>
#include <chrono>

#include "httpd/http/ascii.h"
#include "httpd/http/content_coding.h"
#include "httpd/http/values.h"
#include "httpd/modules/cgi_environment.h"
#include "httpd/modules/module.h"
#include "httpd/modules/proxy_exchange.h"
#include "httpd/modules/proxy_url.h"

namespace httpd::modules::proxy {

using http::AnswerField;
using http::EqualsIgnoreCase;

namespace {

/// Fields that are for one hop alone, or that the proxy says itself.
bool IsHopByHop(std::string_view name) {
  const auto is = [name](std::string_view known) { return EqualsIgnoreCase(name, known); };
  switch (name.size()) {
    case 2:
      return is("TE");
    case 4:
      return is("Host");
    case 6:
      return is("Expect");
    case 7:
      return is("Trailer") || is("Upgrade");
    case 10:
      return is("Connection") || is("Keep-Alive");
    case 12:
      return is("Max-Forwards");
    case 14:
      return is("Content-Length");
    case 16:
      return is("Proxy-Connection");
    case 17:
      return is("Transfer-Encoding");
    default:
      return false;
  }
}

/// Fields of an answer that are about the connection to the backend, or that we write ourselves.
bool IsOfLink(AnswerField kind) {
  switch (kind) {
    case AnswerField::kConnection:
    case AnswerField::kContentLength:
    case AnswerField::kKeepAlive:
    case AnswerField::kProxyConnection:
    case AnswerField::kTe:
    case AnswerField::kTrailer:
    case AnswerField::kTransferEncoding:
    case AnswerField::kUpgrade:
      return true;
    default:
      return false;
  }
}

void AppendLine(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

/// One more element of a list that the client may have begun.
void AppendToList(std::string& out, std::string_view name, const std::string& before, std::string_view value) {
  out.append(name).append(": ");
  if (!before.empty()) out.append(before).append(", ");
  out.append(value).append("\r\n");
}

std::string ViaOf(const RequestState& state, Via via, int minor) {
  const std::string& name = state.host->host->server_name;
  const std::string port = PortOf(state);
  return "1." + std::to_string(minor) + " " + (name.empty() ? "localhost" : name) + (port == "80" ? "" : ":" + port) +
         (via == Via::kFull ? " (" + std::string(kProduct) + ")" : "");
}

const PlaceSettings& PlaceOf(const RequestState& state) {
  static const PlaceSettings kNothing;
  const auto* place = SettingsFor<PlaceSettings>(state);
  return place ? *place : kNothing;
}

Via ViaOf(const RequestState& state) {
  const auto* host = HostSettingsFor<HostSettings>(state);
  return host ? host->via.value_or(Via::kOff) : Via::kOff;
}

bool IsIdempotent(http::Method method) {
  using enum http::Method;
  return method == kGet || method == kHead || method == kPut || method == kDelete || method == kOptions;
}

}  // namespace

Verdict Exchange::Fail(RequestState& state, int status, const std::string& message) {
  state.response->sink.reset();
  Log(state, "proxy", "AH00898: " + message + " returned by " + state.path);
  state.notes["error-notes"] =
      "The proxy server could not handle the request<p>Reason: <strong>" + http::EscapeHtml(message) + "</strong></p>";
  return Verdict::Status(status);
}

// ---------------------------------------------------------------------------------------------------- the request

void Exchange::BuildHead(RequestState& state) {
  const http::RequestHead& request = state.head();
  const PlaceSettings& place = PlaceOf(state);
  std::string joined;
  std::string_view connection = request.Get(http::Known::kConnection);
  if (request.Repeated(http::Known::kConnection)) connection = joined = Joined(request, "Connection");
  const std::string_view upgrade = request.Get(http::Known::kUpgrade);
  const bool is_wanted = EqualsIgnoreCase(worker_->upgrade, "any") || EqualsIgnoreCase(worker_->upgrade, upgrade) ||
                         (worker_->is_websocket && EqualsIgnoreCase(upgrade, "websocket"));
  asks_upgrade_ = !upgrade.empty() && is_wanted && request.minor >= 1 && !has_body_ &&
                  request.method == http::Method::kGet && http::ListHolds(connection, "upgrade");
  is_idempotent_ = !asks_upgrade_ && IsIdempotent(request.method);

  const std::string_view url = state.proxy_url;
  const size_t path = std::min(url.find('/', url.find("://") + 3), url.size());
  head_.clear();
  head_.append(request.method_text).append(" ");
  if (path == url.size() || url[path] != '/') head_ += '/';
  head_.append(url.substr(path)).append(" HTTP/1.1\r\n");
  const std::string_view host = request.Get(http::Known::kHost);
  const bool preserves = place.preserves_host.value_or(false);
  const std::string& own_name = state.host->host->server_name;
  AppendLine(head_, "Host", !preserves ? std::string_view(worker_->authority) : host.empty() ? own_name : host);

  const Via via = ViaOf(state);
  const bool adds = place.adds_fields.value_or(true);
  const bool lists_more =
      !connection.empty() && !EqualsIgnoreCase(connection, "keep-alive") && !EqualsIgnoreCase(connection, "close");
  std::string forwarded_for, forwarded_host, forwarded_server, vias;
  const auto keep = [](std::string& list, std::string_view value) {
    if (!list.empty()) list += ", ";
    list += value;
  };
  for (const http::HeaderField& field : request.fields) {
    if (IsHopByHop(field.name) || (lists_more && http::ListHolds(connection, field.name))) continue;
    if (adds && field.name.size() >= 15 && EqualsIgnoreCase(field.name.substr(0, 12), "X-Forwarded-")) {
      const std::string_view what = field.name.substr(12);
      std::string* list = EqualsIgnoreCase(what, "For")      ? &forwarded_for
                          : EqualsIgnoreCase(what, "Host")   ? &forwarded_host
                          : EqualsIgnoreCase(what, "Server") ? &forwarded_server
                                                             : nullptr;
      if (list) {
        keep(*list, field.value);
        continue;
      }
    }
    if (via != Via::kOff && EqualsIgnoreCase(field.name, "Via")) {
      keep(vias, field.value);
      continue;
    }
    if (!state.user.empty() && EqualsIgnoreCase(field.name, "Proxy-Authorization")) continue;
    AppendLine(head_, field.name, field.value);
  }
  if (via == Via::kOn || via == Via::kFull) AppendToList(head_, "Via", vias, ViaOf(state, via, request.minor));
  if (adds) {
    AppendToList(head_, "X-Forwarded-For", forwarded_for, state.client_address());
    if (!host.empty()) AppendToList(head_, "X-Forwarded-Host", forwarded_host, host);
    AppendToList(head_, "X-Forwarded-Server", forwarded_server, own_name.empty() ? "localhost" : own_name);
  }
  if (const auto* settings = HostSettingsFor<HostSettings>(state)) {
    const std::string_view said = state.Header("Max-Forwards");
    int forwards = settings->most_forwards.value_or(-1);
    if (said.data() != nullptr) {
      std::from_chars(said.data(), said.data() + said.size(), forwards);
      --forwards;  // CheckMaxForwards() has seen that there is one left
    }
    if (forwards >= 0) AppendLine(head_, "Max-Forwards", std::to_string(forwards));
  }
  if (has_body_ && !is_chunked_) {
    AppendLine(head_, "Content-Length", std::to_string(request.content_length.value_or(0)));
  } else if (has_body_) {
    head_ += "Transfer-Encoding: chunked\r\n";
  } else if (request.content_length || request.chunked) {
    head_ += "Content-Length: 0\r\n";
  }
  const bool waits = state.response->holds_continue && body_.empty() && !has_ended_;
  expects_ = has_body_ && (waits || worker_->ping_ms);
  if (expects_) head_ += "Expect: 100-continue\r\n";
  if (asks_upgrade_) {
    AppendLine(head_, "Upgrade", upgrade);
    head_ += "Connection: Upgrade\r\n\r\n";
  } else {
    head_ += worker_->reuses ? "Connection: Keep-Alive\r\n\r\n" : "Connection: close\r\n\r\n";
  }
}

/// nullopt: it may go on.
std::optional<Verdict> Exchange::CheckMaxForwards(RequestState& state) {
  const std::string_view said = state.Header("Max-Forwards");
  if (said.data() == nullptr) return std::nullopt;
  int forwards = 0;
  const auto [end, error] = std::from_chars(said.data(), said.data() + said.size(), forwards);
  if (error != std::errc() || end != said.data() + said.size() || forwards < 0) {
    return Fail(state, 400, "Max-Forwards request header could not be parsed");
  }
  if (forwards > 0) return std::nullopt;
  if (state.head().method == http::Method::kOptions) {
    state.response->fields += AllowField(*state.host);
    return Verdict::Done();
  }
  return Fail(state, 502, "Max-Forwards has reached zero - proxy loop?");
}

// ---------------------------------------------------------------------------------------------------- the answer

std::string Exchange::MappedLocation(RequestState& state, std::string_view url) const {
  const auto members = [&state](std::string_view name) {
    std::vector<std::string> out;
    const auto* host = HostSettingsFor<HostSettings>(state);
    const Balancer* balancer = host ? host->FindBalancer(name) : nullptr;
    if (!balancer) return out;
    for (const auto& member : balancer->members) out.push_back(member->name);
    return out;
  };
  return MapLocation(url, PlaceOf(state).reverse, members, [&state] { return OriginOf(state); })
      .value_or(std::string(url));
}

void Exchange::AppendFields(RequestState& state) {
  std::string& fields = state.response->fields;
  const PlaceSettings& place = PlaceOf(state);
  bool has_date = false;
  bool has_server = false;
  std::string listed;
  for (const http::ResponseField& field : answer_.fields) {
    if (field.kind != AnswerField::kConnection || EqualsIgnoreCase(field.value, "keep-alive") ||
        EqualsIgnoreCase(field.value, "close")) {
      continue;
    }
    listed.append(field.value).append(",");
  }
  for (const http::ResponseField& field : answer_.fields) {
    if (IsOfLink(field.kind)) continue;
    std::string_view value = field.value;
    std::string mapped;
    switch (field.kind) {
      case AnswerField::kDate:
        has_date = true;
        break;
      case AnswerField::kServer:
        has_server = true;
        break;
      case AnswerField::kContentType:
        state.media_type = value;
        break;
      case AnswerField::kLocation:
      case AnswerField::kContentLocation:
      case AnswerField::kUri:
      case AnswerField::kDestination:
        if (!place.reverse.empty()) value = mapped = MappedLocation(state, value);
        break;
      case AnswerField::kRefresh:
        if (const size_t url = value.find("url="); url != std::string_view::npos && !place.reverse.empty()) {
          value = mapped = std::string(value.substr(0, url + 4)) + MappedLocation(state, value.substr(url + 4));
        }
        break;
      case AnswerField::kSetCookie:
        if (!place.cookie_paths.empty() || !place.cookie_domains.empty()) {
          value = mapped = MapCookie(value, place.cookie_paths, place.cookie_domains);
        }
        break;
      default:
        break;
    }
    if (!listed.empty() && http::ListHolds(listed, field.name)) continue;
    AppendLine(fields, field.name, value);
  }
  state.response->is_dated = true;  // as the backend says it
  if (!has_date) {
    fields += "Date: ";
    http::AppendDate(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()), fields);
    fields += "\r\n";
  }
  if (!has_server) AppendLine(fields, "Server", state.engine->site().server_name());
  const Via via = ViaOf(state);
  if (via == Via::kOn || via == Via::kFull) AppendLine(fields, "Via", ViaOf(state, via, answer_.minor));
  if (via == Via::kBlock) RemoveField(fields, "Via");
}

std::string Exchange::InterimHead() const {
  std::string out = "HTTP/1.1 " + std::to_string(answer_.status) + " ";
  out.append(answer_.reason.empty() ? http::StatusReason(answer_.status) : answer_.reason).append("\r\n");
  for (const http::ResponseField& field : answer_.fields) {
    if (!IsOfLink(field.kind)) AppendLine(out, field.name, field.value);
  }
  return out + "\r\n";
}

Verdict Exchange::BeginTunnel(RequestState& state, std::string_view rest) {
  net::Response& response = *state.response;
  if (!asks_upgrade_) {
    FinishLink(false);
    phase_ = Phase::kOver;
    return Fail(state, 502, "Unexpected 101 Switching Protocols returned by remote server");
  }
  const http::ResponseField* upgrade = answer_.Find(AnswerField::kUpgrade);
  const std::string protocol(upgrade ? upgrade->value : std::string_view("websocket"));
  AppendFields(state);
  AppendLine(response.fields, "Upgrade", protocol);
  response.fields += "Connection: Upgrade\r\n";
  response.status = 101;
  response.is_tunnel = response.close = true;
  is_tunnel_ = true;
  has_body_ = true;
  is_chunked_ = has_ended_ = keeps_body_ = false;
  head_.clear();
  head_done_ = 0;
  reader_.StartEndless();
  ends_at_close_ = true;
  decoded_ = rest;
  phase_ = Phase::kBody;
  return Verdict::Done();
}

Verdict Exchange::Answer(RequestState& state, std::string_view rest) {
  net::Response& response = *state.response;
  state.is_success = true;
  if (answer_.status == 101) return BeginTunnel(state, rest);
  if (answer_.has_both) {
    state.engine->LogError(state, config::LogLevel::kDebug, "proxy_http",
                           "AH01107: server " + worker_->host + ":" + std::to_string(worker_->port) +
                               " returned Transfer-Encoding and Content-Length");
  }
  if (balancer_ && (worker_->status & kIgnoreErrors) == 0 &&
      std::find(balancer_->failing_statuses.begin(), balancer_->failing_statuses.end(), answer_.status) !=
          balancer_->failing_statuses.end()) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    worker_->shared->failed_ms.store(static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000,
                                     std::memory_order_relaxed);
    Log(state, "proxy_balancer",
        "AH01174: " + balancer_->name + ": Forcing worker (" + worker_->name +
            ") into error state due to status code " + std::to_string(answer_.status) +
            " matching 'failonstatus' balancer parameter");
  }
  const PlaceSettings& place = PlaceOf(state);
  if (answer_.status >= 400 && place.overrides_errors.value_or(false) &&
      (place.overridden.empty() ||
       std::find(place.overridden.begin(), place.overridden.end(), answer_.status) != place.overridden.end())) {
    for (const http::ResponseField& field : answer_.fields) {
      if (EqualsIgnoreCase(field.name, "WWW-Authenticate")) AppendLine(response.fields, field.name, field.value);
    }
    FinishLink(IsReusable() && answer_.content_length && *answer_.content_length == rest.size());
    phase_ = Phase::kOver;
    response.sink.reset();
    state.is_success = false;
    return Verdict::Status(answer_.status);
  }
  AppendFields(state);
  response.status = answer_.status;
  if (!answer_.reason.empty() && answer_.reason != http::StatusReason(answer_.status)) response.reason = answer_.reason;
  if (is_head_ || answer_.status == 204 || answer_.status == 304) {
    response.without_body = true;
    response.without_length = !is_head_ || !answer_.content_length || answer_.chunked;
    response.content_length = is_head_ ? answer_.content_length.value_or(0) : 0;
    FinishLink(IsReusable() && rest.empty());
    phase_ = Phase::kOver;
    return Verdict::Done();
  }
  PassBody(state, rest);
  return Verdict::Done();
}

void Exchange::PassBody(RequestState& state, std::string_view rest) {
  net::Response& response = *state.response;
  if (answer_.chunked) {
    reader_.StartChunked();
  } else if (answer_.content_length) {
    reader_.StartLength(*answer_.content_length);
    length_ = answer_.content_length;
  } else {
    reader_.StartEndless();
    ends_at_close_ = true;
  }
  phase_ = Phase::kBody;
  response.body.clear();
  while (!rest.empty() && !reader_.done()) {
    const http::BodyReader::Step step = reader_.Feed(rest);
    response.body += step.data;
    rest.remove_prefix(step.consumed);
    if (step.state == http::BodyReader::Step::State::kBad) {  // the source says so, when it is asked
      FinishLink(false);
      break;
    }
  }
  if (reader_.done()) {
    FinishLink(IsReusable() && rest.empty());
    phase_ = Phase::kOver;
    DropWorker();
    return;
  }
  decoded_.swap(response.body);
  response.body.clear();
  error_log_ = state.host->error_log.get();
  client_ = std::string(state.client_address()) + ":" + std::to_string(state.request->client_port);
  // The head may have come with nothing more: then it is sent alone, and the source waits.
}

}  // namespace httpd::modules::proxy
