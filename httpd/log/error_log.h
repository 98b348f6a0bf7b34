#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "httpd/config/server_config.h"
#include "httpd/log/log_stream.h"

namespace httpd::log {

/// Writes error-log lines as Apache's default ErrorLogFormat:
/// `[Sat Nov 21 08:02:46.534235 2026] [core:notice] [pid 31001:tid 31001] [client 1.2.3.4:5] AH00489: text`.
/// One write per line, at most 8192 bytes (Apache's limit); a line for a pipe at most PIPE_BUF. Never blocks: a line
/// that a full pipe does not take is dropped.
class ErrorLog {
 public:
  /// @param sink  nullptr: stderr; otherwise must outlive this object
  ErrorLog(const LogSink* sink, config::LogLevel level) : sink_(sink), level_(level) {}

  /// Notices are always wanted, whatever LogLevel says. Source  httpd 2.4 manual, core, LogLevel "Note"
  bool Wants(config::LogLevel level) const { return level <= level_ || level == config::LogLevel::kNotice; }
  config::LogLevel level() const { return level_; }

  /// @param module  "core", "event": what stands before the colon
  /// @param client  "address:port", or "" when no client is concerned
  void Write(config::LogLevel level, std::string_view module, std::string_view text,
             std::string_view client = {}) const;

 private:
  const LogSink* sink_;
  config::LogLevel level_;
};

/// "notice", "error", ...
std::string_view LevelName(config::LogLevel level);

}  // namespace httpd::log
