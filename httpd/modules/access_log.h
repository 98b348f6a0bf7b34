#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "httpd/log/log_stream.h"
#include "httpd/modules/request_state.h"
#include "httpd/modules/site.h"
#include "httpd/net/exchange.h"

namespace httpd::modules {

/// Writes what CustomLog, GlobalLog and TransferLog ask for. One per loop: lines are collected and written together.
/// Source  httpd 2.4 manual, mod_log_config, mod_logio
class AccessLogs {
 public:
  explicit AccessLogs(const Site& site);
  /// Writes what is left, for half a second at most: a log program that does not read loses its lines then.
  ~AccessLogs();
  AccessLogs(const AccessLogs&) = delete;
  AccessLogs& operator=(const AccessLogs&) = delete;

  /// The exchange is over. `state` was bound to `request` and `response` again.
  void Write(RequestState& state, const net::Outcome& outcome);

  /// A turn of the loop ends. @return false: something is left that wants another try soon
  bool EndTurn();

  uint64_t lost_lines() const;

 private:
  /// @return false: something is left
  bool Flush(bool (log::LogStream::*how)());

  const bool is_buffered_;
  const int pid_;  ///< asking for it is a system call
  std::vector<std::unique_ptr<log::LogStream>> streams_;
  std::unordered_map<const log::LogSink*, log::LogStream*> by_sink_;
  std::vector<log::LogStream*> filled_;  ///< those of streams_ that are not empty: a turn asks no others
};

/// LogIOTrackTTFB of the file that was answered with: mod_logio's.
bool TracksFirstByte(const RequestState& state);

/// Host of the request's authority without its port, an IPv6 address with its brackets: %V as UseCanonicalName Off has
/// it; "" = none.
std::string_view HostOf(std::string_view authority);

/// An identifier for a log: 11 characters of base64 that differ from request to request and from process to process.
std::string NewLogId();

}  // namespace httpd::modules
