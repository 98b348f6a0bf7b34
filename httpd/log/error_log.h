#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/server_config.h"
#include "httpd/http/error_log_format.h"
#include "httpd/log/log_stream.h"

namespace httpd::log {

/// Writes error-log lines as ErrorLogFormat wants them; Apache's default:
/// `[Sat Nov 21 08:02:46.534235 2026] [core:notice] [pid 31001:tid 31001] [client 1.2.3.4:5] AH00489: text`.
/// One write per line, at most 8192 bytes (Apache's limit); a line for a pipe at most PIPE_BUF. Never blocks: a line
/// that a full pipe does not take is dropped.
class ErrorLog {
 public:
  /// @param sink  nullptr: stderr; otherwise must outlive this object
  ErrorLog(const LogSink* sink, config::LogLevel level);
  /// With the host's LogLevel and ErrorLogFormat.
  ErrorLog(const LogSink* sink, const config::Host& host);

  /// Notices are always wanted, whatever LogLevel says. Source  httpd 2.4 manual, core, LogLevel "Note"
  bool Wants(config::LogLevel level, std::string_view module = {}) const { return Wants(level, module, levels_); }
  /// With the levels of a section.
  static bool Wants(config::LogLevel level, std::string_view module, const config::LogLevels& levels) {
    return level == config::LogLevel::kNotice || level <= levels.Of(module);
  }
  const config::LogLevels& levels() const { return levels_; }

  /// @param module  "core", "event": what stands before the colon
  /// @param client  "address:port", or "" when no client is concerned
  void Write(config::LogLevel level, std::string_view module, std::string_view text,
             std::string_view client = {}) const;

  /// With all that is known of the request; whether the line is wanted was asked before.
  void Write(config::LogLevel level, std::string_view module, std::string_view text, http::ErrorRecord record) const;

  /// The lines of their own that ErrorLogFormat asks for before the first message of a connection or request.
  bool has_connection_lines() const { return !connection_lines_.empty(); }
  bool has_request_lines() const { return !request_lines_.empty(); }
  void WriteConnectionLines(http::ErrorRecord record) const { WriteLines(connection_lines_, std::move(record)); }
  void WriteRequestLines(http::ErrorRecord record) const { WriteLines(request_lines_, std::move(record)); }

 private:
  void WriteLines(const std::vector<http::ErrorLogFormat>& formats, http::ErrorRecord record) const;
  void Send(config::LogLevel level, std::string line) const;

  const LogSink* sink_;
  config::LogLevels levels_;
  std::shared_ptr<const http::ErrorLogFormat> format_;
  std::vector<http::ErrorLogFormat> connection_lines_, request_lines_;
};

/// "notice", "error", ...
std::string_view LevelName(config::LogLevel level);

}  // namespace httpd::log
