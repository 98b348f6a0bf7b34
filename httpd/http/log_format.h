#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/http/request.h"
#include "os/error.h"

namespace httpd::http {

/// What one access-log line can say. Views live until Render() returns.
struct LogRecord {
  const RequestHead* head = nullptr;   ///< nullptr: the request could not be parsed; then %r is `raw_line`
  std::string_view raw_line;
  std::string_view client_address;     ///< %a %h
  std::string_view local_address;      ///< %A
  uint16_t local_port = 0;
  std::string_view server_name;        ///< %v
  std::string_view host_name;          ///< %V
  std::string_view file_name;          ///< %f
  std::string_view handler;            ///< %R
  int status = 0;
  uint64_t body_bytes = 0;             ///< %B %b
  uint64_t bytes_in = 0;               ///< %I
  uint64_t bytes_out = 0;              ///< %O
  uint32_t keep_alive_count = 0;       ///< %k
  char connection_state = '-';         ///< %X: X aborted, + kept alive, - closed
  std::chrono::system_clock::time_point start;
  std::chrono::nanoseconds duration{};
  std::chrono::nanoseconds time_to_first_byte{};  ///< %^FB
  int pid = 0;
  uint64_t thread = 0;
  std::string_view request_id;         ///< %L
  std::string_view response_head;      ///< whole head as sent, for %{X}o
  std::function<std::string(std::string_view name)> environment;  ///< %{X}e; may be empty
};

/// A compiled LogFormat. Immutable after Compile(); safe to share between threads.
/// Source  httpd 2.4 manual, mod_log_config "Custom Log Formats"; reference/apache.md 3.4
class LogFormat {
 public:
  LogFormat();
  ~LogFormat();
  LogFormat(LogFormat&&) noexcept;
  LogFormat& operator=(LogFormat&&) noexcept;

  /// kInvalid: an unknown directive: "Unrecognized LogFormat directive %y".
  static os::Result<LogFormat> Compile(std::string_view format);

  /// Appends one line, its newline included, to `out`. Non-printable bytes are escaped as Apache does (\xhh, \n, \", \\),
  /// so that one request is always one line.
  void Render(const LogRecord& record, std::string& out) const;

 private:
  struct Item;
  std::vector<Item> items_;
};

}  // namespace httpd::http
