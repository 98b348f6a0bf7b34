#include "httpd/modules/handler.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "httpd/modules/expression.h"
#include "httpd/modules/reqtimeout.h"

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
    : site_(site), pipeline_(site, board), states_(std::make_shared<StatePool>()) {
  limits_.line = static_cast<size_t>(site.config().limit_request_line);
  limits_.fields = static_cast<size_t>(site.config().limit_request_fields);
  limits_.field_size = static_cast<size_t>(site.config().limit_request_field_size);
  for (const CompiledHost& host : site.hosts()) {
    idle_timeout_ms_ = std::max(idle_timeout_ms_, host.host->keep_alive_timeout_ms);
    for (const CompiledHost::Log& log : host.logs) {
      if (!log.sink || by_sink_.contains(log.sink)) continue;
      streams_.push_back(std::make_unique<log::LogStream>(*log.sink));
      by_sink_[log.sink] = streams_.back().get();
    }
  }
}

Handler::~Handler() = default;

uint64_t Handler::LostLogLines() const {
  uint64_t sum = 0;
  for (const auto& stream : streams_) sum += stream->lost_lines();
  return sum;
}

net::ReadTimeout Handler::ReadTimeoutOf(const Request& request, bool body) const {
  const int host = site_.Select(request.local_port, body ? request.head->authority : std::string_view(),
                                [&request] { return LocalAddressOf(request); });
  return modules::ReadTimeoutOf(site_.hosts()[static_cast<size_t>(host)].host->settings.modules, body);
}

bool Handler::EndTurn() {
  bool all = true;
  for (const auto& stream : streams_) all = stream->Flush() && all;
  return all;
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
  pipeline_.Run(Begin(request, response));
  if (!response.deferred) LeaveOutBodyForHead(request, response);
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
  } else {
    pipeline_.LogError(state, config::LogLevel::kInfo, "core", std::string("AH00566: request failed: ") + reason);
  }
  pipeline_.RunBad(state, status);
  LeaveOutBodyForHead(request, response);
}

void Handler::Finish(const Request& request, const Response& response, const net::Outcome& outcome) {
  auto& state = *static_cast<RequestState*>(response.note.get());
  const CompiledHost& host = *state.host;
  state.Rebind(request, const_cast<Response&>(response));
  if (state.settings) {
    for (const Module* module : state.settings->hooks) {
      if (module->log) module->log(state, outcome);
    }
  }
  if (host.logs.empty()) return;
  http::LogRecord record;
  record.head = &state.head();
  record.raw_line = request.head->line;
  record.client_address = state.client_address();
  record.peer_address = request.client_address;
  record.remote_port = request.client_port;
  record.user = state.user;
  record.local_port = request.local_port;
  record.server_name = host.host->server_name;
  record.host_name =
      host.host->server_name.empty() ? request.head->authority : std::string_view(host.host->server_name);
  if (record.server_name.empty()) record.server_name = record.host_name;
  record.file_name = state.file;
  record.handler = state.handler;
  record.status = response.status;
  record.body_bytes = outcome.body_bytes;
  record.bytes_in = outcome.bytes_in;
  record.bytes_out = outcome.bytes_out;
  record.keep_alive_count = request.requests_before;
  record.connection_state = outcome.aborted ? 'X' : outcome.kept_alive ? '+' : '-';
  record.start = request.start;
  record.duration = outcome.duration;
  record.pid = ::getpid();
  record.response_head = outcome.response_head;
  record.environment = [&state](std::string_view name) {
    const std::string* value = state.environment.Find(name);
    return value ? *value : std::string();
  };
  // What env= of a log asks is what was set before an internal redirect, as in Apache.
  const Environment& asked = state.first_environment ? *state.first_environment : state.environment;
  for (const CompiledHost::Log& log : host.logs) {
    if (!log.sink) continue;
    if (!log.env.empty() && (asked.Find(log.env) != nullptr) == log.env_negated) continue;
    if (log.condition && !log.condition->Evaluate(state).holds) continue;
    log.format.Render(record, by_sink_.find(log.sink)->second->buffer());
  }
}

}  // namespace httpd::modules
