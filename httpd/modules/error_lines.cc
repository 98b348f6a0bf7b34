#include "httpd/modules/error_lines.h"

#include <utility>

#include "httpd/modules/access_log.h"
#include "httpd/modules/module.h"

namespace httpd::modules {

const ErrorLines::Known& ErrorLines::ConnectionOf(const net::Request& request, const std::string& peer, bool& is_new) {
  if (connections_.size() >= kMostKnown) connections_.clear();
  Known& known = connections_[peer];
  // The same port again: another connection, if it has answered fewer requests, or as many at another time.
  is_new = known.id.empty() || request.requests_before < known.requests_before ||
           (request.requests_before == known.requests_before && request.start != known.since);
  if (is_new) known.id = NewLogId();
  known.requests_before = request.requests_before;
  known.since = request.start;
  return known;
}

void ErrorLines::Write(const RequestState& looked_up, config::LogLevel level, std::string_view module,
                       std::string_view text) {
  const RequestState* top = &looked_up;
  while (top->parent) top = top->parent;
  // The identifiers are notes for the logs: to have them does not change what the request is.
  auto& state = const_cast<RequestState&>(*top);
  const net::Request& request = *state.request;
  const log::ErrorLog& log = *state.host->error_log;
  const std::string client = std::string(state.client_address()) + ":" + std::to_string(request.client_port);
  const std::string peer = std::string(request.peer_address()) + ":" + std::to_string(request.peer_port());
  bool is_first_of_connection = false;
  const bool is_first = !std::exchange(state.is_noted, true);
  if (is_first) {
    state.connection_id = ConnectionOf(request, peer, is_first_of_connection).id;
    if (state.request_id.empty()) state.request_id = NewLogId();
  }
  http::ErrorRecord record;
  const std::string local =
      state.LocalAddress().empty() ? "" : state.LocalAddress() + ":" + std::to_string(request.local_port);
  record.is_of_client = true;
  record.client = client;
  record.peer = peer;
  record.local = local;
  record.host_name = HostOf(state.head().authority);
  record.server_name = state.host->host->server_name;
  if (record.server_name.empty()) record.server_name = record.host_name;
  if (record.host_name.empty()) record.host_name = record.server_name;
  record.request_id = state.request_id;
  record.connection_id = state.connection_id;
  record.keep_alives = static_cast<int>(request.requests_before);
  record.header = [&state](std::string_view name) { return Joined(state.head(), name); };
  record.environment = [&state](std::string_view name) {
    const std::string* value = state.environment.Find(name);
    return value ? *value : std::string();
  };
  record.note = [&state](std::string_view name) {
    const auto found = state.notes.find(std::string(name));
    return found == state.notes.end() ? std::string() : found->second;
  };
  if (is_first_of_connection && log.has_connection_lines()) log.WriteConnectionLines(record);
  if (is_first && log.has_request_lines()) log.WriteRequestLines(record);
  log.Write(level, module, text, std::move(record));
}

}  // namespace httpd::modules
