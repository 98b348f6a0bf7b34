#include "httpd/modules/access_log.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>

#include "httpd/modules/expression.h"
#include "httpd/modules/http2.h"
#include "httpd/modules/module.h"
#include "httpd/modules/ssl.h"

namespace httpd::modules {

AccessLogs::AccessLogs(const Site& site) : is_buffered_(site.config().buffered_logs), pid_(::getpid()) {
  for (const CompiledHost& host : site.hosts()) {
    for (const CompiledHost::Log& log : host.logs) {
      if (!log.sink || by_sink_.contains(log.sink)) continue;
      streams_.push_back(std::make_unique<log::LogStream>(*log.sink));
      by_sink_[log.sink] = streams_.back().get();
    }
  }
}

AccessLogs::~AccessLogs() {
  for (int tries = 0; tries < 100 && !Flush(&log::LogStream::Flush); ++tries) {
    const timespec pause{0, 5000000};
    ::nanosleep(&pause, nullptr);
  }
}

uint64_t AccessLogs::lost_lines() const {
  uint64_t sum = 0;
  for (const auto& stream : streams_) sum += stream->lost_lines();
  return sum;
}

bool AccessLogs::Flush(bool (log::LogStream::*how)()) {
  bool all = true;
  std::erase_if(filled_, [&all, how](log::LogStream* stream) {
    all = (stream->*how)() && all;
    return stream->empty();
  });
  return all;
}

bool AccessLogs::EndTurn() {
  return Flush(is_buffered_ ? &log::LogStream::FlushBlock : &log::LogStream::Flush);
}

namespace {

void SetHost(RequestState& state, http::LogRecord& record) {
  const std::string& name = state.host->host->server_name;
  record.host_name = HostOf(state.head().authority);
  record.server_name = name.empty() ? record.host_name : std::string_view(name);
  if (record.host_name.empty()) record.host_name = record.server_name;
}

void SetLookups(RequestState& state, http::LogRecord& record) {
  record.environment = [&state](std::string_view name) {
    const std::string* value = state.environment.Find(name);
    return value ? *value : Http2Variable(*state.request, name);
  };
  record.variable = [&state](std::string_view name) { return LoggedSslVariable(state, name); };
  record.note = [&state](std::string_view name) {
    const auto found = state.notes.find(std::string(name));
    return found == state.notes.end() ? std::string() : found->second;
  };
}

}  // namespace

void AccessLogs::Write(RequestState& state, const net::Outcome& outcome) {
  const CompiledHost& host = *state.host;
  if (host.logs.empty()) return;
  const net::Request& request = *state.request;
  const net::Response& response = *state.response;
  static thread_local const auto kThread = static_cast<uint64_t>(::syscall(SYS_gettid));
  http::LogRecord record;
  record.head = &state.head();
  record.raw_line = request.head->line;
  record.client_address = state.client_address();
  record.peer_address = request.peer_address();
  record.remote_port = request.client_port;
  record.user = state.user;
  record.local_port = request.local_port;
  record.server_port = host.host->server_port != 0 ? host.host->server_port : DefaultPortOf(state);
  record.file_name = state.file;
  record.handler = state.handler;
  if (state.handler.empty() && S_ISDIR(state.info.st_mode)) record.handler = "httpd/unix-directory";
  const bool was_redirected = !state.original_path.empty();
  record.path = was_redirected ? state.original_path : state.path;
  if (was_redirected) record.last_path = state.path;
  record.status = response.status;
  if (state.redirects > 0) record.original_status = state.error_status != 0 ? state.error_status : 200;
  record.body_bytes = outcome.body_bytes;
  record.bytes_in = outcome.bytes_in;
  record.bytes_out = outcome.bytes_out;
  record.keep_alive_count = request.requests_before;
  record.connection_state = outcome.aborted ? 'X' : outcome.kept_alive ? '+' : '-';
  record.start = request.start;
  record.duration = outcome.duration;
  record.pid = pid_;
  record.thread = kThread;
  record.request_id = state.request_id;
  record.connection_id = state.connection_id;
  if (state.settings && TracksFirstByte(state)) record.time_to_first_byte = outcome.first_byte;
  record.response_head = outcome.response_head;
  // What env= of a log asks is what was set before an internal redirect, as in Apache.
  const Environment& asked = state.first_environment ? *state.first_environment : state.environment;
  for (const CompiledHost::Log& log : host.logs) {
    if (!log.sink) continue;
    if (!log.env.empty() && (asked.Find(log.env) != nullptr) == log.env_negated) continue;
    if (log.condition && !log.condition->Evaluate(state).holds) continue;
    if (log.format.uses_local_address() && record.local_address.empty()) record.local_address = state.LocalAddress();
    if (log.format.uses_host() && record.server_name.empty()) SetHost(state, record);
    if (log.format.uses_lookups() && !record.environment) SetLookups(state, record);
    log::LogStream* stream = by_sink_.find(log.sink)->second;
    if (stream->empty()) filled_.push_back(stream);
    log.format.Render(record, stream->buffer());
  }
}

std::string_view HostOf(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, std::min(authority.find(']') + 1, authority.size()));
  return authority.substr(0, authority.rfind(':'));
}

std::string NewLogId() {
  static std::atomic<uint32_t> count{0};
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto now =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch());
  // Microseconds below; process and count above, where the time does not change for years.
  auto bits = static_cast<uint64_t>(now.count()) ^ static_cast<uint64_t>(::getpid()) << 40 ^
              static_cast<uint64_t>(count.fetch_add(1, std::memory_order_relaxed)) << 32;
  std::string out;
  for (int i = 0; i < 11; ++i, bits >>= 6) out += kDigits[bits & 63];
  return out;
}

}  // namespace httpd::modules
