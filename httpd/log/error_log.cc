#include "httpd/log/error_log.h"

#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace httpd::log {

namespace {

using http::ErrorLogFormat;

/// syslog has its own time and process.
constexpr std::string_view kSyslogFormat = "[%-m:%l] [pid %P:tid %T] %E: [client\\ %a] %M% ,\\ referer:\\ %{Referer}i";

std::shared_ptr<const ErrorLogFormat> MakeFormat(std::string_view text) {
  auto compiled = ErrorLogFormat::Compile(text, ErrorLogFormat::Use::kMessage);
  return std::make_shared<const ErrorLogFormat>(std::move(compiled).value());
}

/// Of "(2)No such file or directory: AH00036: ..." what stands before the number of the message: %E.
std::string_view TroubleOf(std::string_view text) {
  if (!text.starts_with('(')) return {};
  const size_t close = text.find_first_not_of("0123456789", 1);
  if (close == std::string_view::npos || close == 1 || text[close] != ')') return {};
  const size_t end = text.find(": AH", close);
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end);
}

std::vector<ErrorLogFormat> MakeLines(const std::vector<std::string>& formats) {
  std::vector<ErrorLogFormat> out;
  for (const std::string& format : formats) {
    out.push_back(ErrorLogFormat::Compile(format, ErrorLogFormat::Use::kOnce).value());  // checked while reading
  }
  return out;
}

}  // namespace

std::string_view LevelName(config::LogLevel level) {
  static constexpr std::string_view kNames[] = {"emerg",  "alert",  "crit",   "error",  "warn",   "notice",
                                                "info",   "debug",  "trace1", "trace2", "trace3", "trace4",
                                                "trace5", "trace6", "trace7", "trace8"};
  return kNames[static_cast<size_t>(level)];
}

ErrorLog::ErrorLog(const LogSink* sink, config::LogLevel level) : sink_(sink) {
  levels_.level = level;
  static const auto kDefault = MakeFormat(http::kDefaultErrorLogFormat);
  format_ = kDefault;
}

ErrorLog::ErrorLog(const LogSink* sink, const config::Host& host)
    : ErrorLog(sink, host.log_levels.level.value_or(config::LogLevel::kWarn)) {
  levels_ = host.log_levels;
  if (!host.error_log_format.empty()) {
    format_ = MakeFormat(host.error_log_format);
  } else if (sink && sink->syslog) {
    format_ = MakeFormat(kSyslogFormat);
  }
  connection_lines_ = MakeLines(host.error_log_connection_formats);
  request_lines_ = MakeLines(host.error_log_request_formats);
}

void ErrorLog::Write(config::LogLevel level, std::string_view module, std::string_view text,
                     std::string_view client) const {
  if (!Wants(level, module)) return;
  http::ErrorRecord record;
  record.client = client;
  record.is_of_client = !client.empty();
  Write(level, module, text, std::move(record));
}

void ErrorLog::Write(config::LogLevel level, std::string_view module, std::string_view text,
                     http::ErrorRecord record) const {
  record.when = std::chrono::system_clock::now();
  record.level = static_cast<int>(level);
  record.level_name = LevelName(level);
  record.module = module;
  record.trouble = TroubleOf(text);
  record.message = record.trouble.empty() ? text : text.substr(record.trouble.size() + 2);
  record.pid = ::getpid();
  record.thread = ::syscall(SYS_gettid);
  std::string line;
  if (format_->Render(record, line)) Send(level, std::move(line));
}

void ErrorLog::WriteLines(const std::vector<ErrorLogFormat>& formats, http::ErrorRecord record) const {
  record.when = std::chrono::system_clock::now();
  record.pid = ::getpid();
  record.thread = ::syscall(SYS_gettid);
  for (const ErrorLogFormat& format : formats) {
    std::string line;
    if (format.Render(record, line)) Send(config::LogLevel::kInfo, std::move(line));
  }
}

void ErrorLog::Send(config::LogLevel level, std::string line) const {
  const size_t limit = (sink_ && sink_->is_pipe ? size_t{PIPE_BUF} : size_t{8192}) - 1;
  if (line.size() > limit) line.resize(limit);
  if (sink_ && sink_->syslog) {
    sink_->syslog->Send(sink_->fd, std::min(static_cast<int>(level), 7), line);
    return;
  }
  line += '\n';
  const int fd = sink_ ? sink_->fd.get() : 2;
  ssize_t n;
  do {
    n = ::write(fd, line.data(), line.size());
  } while (n < 0 && errno == EINTR);
}

}  // namespace httpd::log
