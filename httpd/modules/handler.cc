#include "httpd/modules/handler.h"

#include <algorithm>
#include <string>

#include "httpd/modules/http2.h"
#include "httpd/modules/reqtimeout.h"
#include "httpd/modules/ssl.h"
#include "httpd/net/tls_stream.h"

namespace httpd::modules {

using net::Request;
using net::Response;

namespace {

void LeaveOutBodyForHead(const Request& request, Response& response) {
  if (request.head->method != http::Method::kHead || response.without_body) return;
  response.content_length = response.body.size();
  response.without_body = true;
  response.file.Reset();
}

}  // namespace

Handler::Handler(const Site& site, const net::Scoreboard& board)
    : site_(site),
      pipeline_(site, board),
      states_(std::make_shared<StatePool>()),
      answers_(site.config().open_file_cache),
      logs_(site) {
  limits_.line = static_cast<size_t>(site.config().limit_request_line);
  limits_.fields = static_cast<size_t>(site.config().limit_request_fields);
  limits_.field_size = static_cast<size_t>(site.config().limit_request_field_size);
  for (const CompiledHost& host : site.hosts()) {
    idle_timeout_ms_ = std::max(idle_timeout_ms_, host.host->keep_alive_timeout_ms);
    http2_.push_back(Http2TermsOf(*host.host));
  }
}

Handler::~Handler() = default;

net::ReadTimeout Handler::ReadTimeoutOf(const Request& request, bool body) const {
  const int host = site_.Select(request.local_port, body ? request.head->authority : std::string_view(),
                                [&request] { return LocalAddressOf(request); });
  return modules::ReadTimeoutOf(site_.hosts()[static_cast<size_t>(host)].host->settings.modules, body);
}

const net::Http2Terms& Handler::Http2Of(const Request& request) const {
  const int host =
      site_.Select(request.local_port, request.head->authority, [&request] { return LocalAddressOf(request); });
  return http2_[static_cast<size_t>(host)];
}

net::ReadTimeout Handler::HandshakeTimeoutOf(const Request& request) const {
  const int host = site_.Select(request.local_port, {}, [&request] { return LocalAddressOf(request); });
  return modules::HandshakeTimeoutOf(site_.hosts()[static_cast<size_t>(host)].host->settings.modules);
}

RequestState& Handler::Begin(const Request& request, Response& response) {
  const int index =
      site_.Select(request.local_port, request.head->authority, [&request] { return LocalAddressOf(request); });
  const CompiledHost& compiled = site_.hosts()[static_cast<size_t>(index)];
  const config::Host& host = *compiled.host;
  response.host = index;
  response.keep_alive_timeout_ms = host.keep_alive_timeout_ms;
  response.max_keep_alive_requests = host.max_keep_alive_requests;
  response.timeout_ms = host.timeout_ms;
  if (!host.keep_alive) response.close = true;
  RequestState* state = states_->Take();
  response.note.reset(state);
  state->Start(&pipeline_, request, compiled, response);
  state->host_index = index;
  return *state;
}

void Handler::Handle(const Request& request, Response& response) {
  RequestState& state = Begin(request, response);
  if (request.tls) {
    if (const int refused = SslRefusal(state); refused != 0) {
      pipeline_.RunBad(state, refused);
      LeaveOutBodyForHead(request, response);
      return;
    }
  }
  if (answers_.Give(state)) return;
  Dependencies* on = answers_.Watch(state);
  pipeline_.Run(state, on);
  if (response.deferred) return;
  LeaveOutBodyForHead(request, response);
  if (!on) return;
  if (response.source && !response.without_body) {
    response.keeps_body = state.is_from_file;
  } else {
    answers_.Keep(state);
  }
}

void Handler::Keep(const Request& request, Response& response) {
  auto& state = *static_cast<RequestState*>(response.note.get());
  state.Rebind(request, response);
  answers_.Keep(state);
}

void Handler::Resume(const Request& request, Response& response, bool is_late) {
  auto& state = *static_cast<RequestState*>(response.note.get());
  state.Rebind(request, response);
  pipeline_.Resume(state, is_late);
  if (!response.deferred) LeaveOutBodyForHead(request, response);
}

void Handler::HandleBad(const Request& request, int status, const char* reason, Response& response) {
  RequestState& state = Begin(request, response);
  response.close = true;
  if (status == 408) {
    pipeline_.LogError(state, config::LogLevel::kInfo, "reqtimeout", std::string("AH01382: ") + reason);
  } else if (std::string_view(reason) == net::kPlainHttp) {
    pipeline_.LogError(state, config::LogLevel::kInfo, "ssl",
                       "AH01996: SSL handshake failed: HTTP spoken on HTTPS port; trying to send HTML error page");
    state.notes["error-notes"] =
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n Instead use the HTTPS scheme to "
        "access this URL, please.<br />\n";
  } else {
    pipeline_.LogError(state, config::LogLevel::kInfo, "core", std::string("AH00566: request failed: ") + reason);
  }
  pipeline_.RunBad(state, status);
  LeaveOutBodyForHead(request, response);
}

void Handler::Finish(const Request& request, const Response& response, const net::Outcome& outcome) {
  auto& state = *static_cast<RequestState*>(response.note.get());
  state.Rebind(request, const_cast<Response&>(response));
  if (state.settings) {
    for (const Module* module : state.settings->hooks) {
      if (module->log) module->log(state, outcome);
    }
  }
  logs_.Write(state, outcome);
}

}  // namespace httpd::modules
