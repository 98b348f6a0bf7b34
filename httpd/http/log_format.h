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
  const RequestHead* head = nullptr;  ///< nullptr: the request could not be parsed; then %r is `raw_line`
  std::string_view raw_line;
  std::string_view client_address;    ///< %a %h
  std::string_view peer_address;      ///< %{c}a %{c}h: the connection's, when mod_remoteip changed %a; "" = the same
  uint16_t remote_port = 0;           ///< %{remote}p
  std::string_view user;              ///< %u; "" = none
  std::string_view local_address;     ///< %A
  uint16_t local_port = 0;            ///< %{local}p
  uint16_t server_port = 0;           ///< %p %{canonical}p; 0 = local_port
  std::string_view server_name;       ///< %v
  std::string_view host_name;         ///< %V
  std::string_view file_name;         ///< %f
  std::string_view handler;           ///< %R, %>R
  std::string_view path;              ///< %U, decoded; data() == nullptr: the one of `head`
  std::string_view last_path;         ///< %>U after an internal redirect; data() == nullptr: the same
  std::string_view original_handler;  ///< %R after an internal redirect; data() == nullptr: `handler`
  int status = 0;
  int original_status = 0;        ///< %s after an internal redirect; 0 = the same
  uint64_t body_bytes = 0;        ///< %B %b
  uint64_t bytes_in = 0;          ///< %I
  uint64_t bytes_out = 0;         ///< %O
  uint32_t keep_alive_count = 0;  ///< %k
  char connection_state = '-';    ///< %X: X aborted, + kept alive, - closed
  std::chrono::system_clock::time_point start;
  std::chrono::nanoseconds duration{};
  std::chrono::nanoseconds time_to_first_byte{};  ///< %^FB
  int pid = 0;
  uint64_t thread = 0;
  std::string_view request_id;                                    ///< %L
  std::string_view connection_id;                                 ///< %{c}L
  std::string_view response_head;                                 ///< whole head as sent, for %{X}o
  std::function<std::string(std::string_view name)> environment;  ///< %{X}e; "" = not set; may be empty
  std::function<std::string(std::string_view name)> variable;     ///< %{X}x %{X}c: of the connection's TLS
  std::function<std::string(std::string_view name)> note;         ///< %{X}n
};

inline constexpr std::string_view kCommonFormat = "%h %l %u %t \"%r\" %>s %b";
inline constexpr std::string_view kCombinedFormat = "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"";

/// A compiled LogFormat. Immutable after Compile(); safe to share between threads.
/// Source  httpd 2.4 manual, mod_log_config "Custom Log Formats"; reference/apache.md 3.4
class LogFormat {
 public:
  LogFormat();
  ~LogFormat();
  LogFormat(LogFormat&&) noexcept;
  LogFormat& operator=(LogFormat&&) noexcept;

  /// Directives: a A b B c C D e f h H i I k l L m n o O p P q r R s S t T u U v V X ^FB ^ti ^to x %, with the
  /// modifiers
  /// !, status lists, <, > and {argument}. What a server of files cannot know (%l, trailers) prints '-'.
  /// kInvalid: an unknown directive: "Unrecognized LogFormat directive %y"; a format that ends inside a directive.
  /// Of an argument that is none of those of %T, %p and %P, the argument itself is written, as in Apache.
  static os::Result<LogFormat> Compile(std::string_view format);

  /// Appends one line, its newline included, to `out`. Non-printable bytes are escaped as Apache does (\xhh, \n, \",
  /// \\), so that one request is always one line. Does not allocate when `out` has room, unless `environment` does.
  /// Times are local; `%t` is the time of arrival.
  void Render(const LogRecord& record, std::string& out) const;

  /// Whether a line says where the connection came in (%A): the kernel has to be asked for it.
  bool uses_local_address() const { return uses_local_address_; }

  /// Whether a line names the host (%v, %V).
  bool uses_host() const { return uses_host_; }

  /// Whether a line asks `environment`, `variable` or `note`: only then has a record to have them.
  bool uses_lookups() const { return uses_lookups_; }

 private:
  struct Item;
  std::vector<Item> items_;
  bool uses_local_address_ = false;
  bool uses_host_ = false;
  bool uses_lookups_ = false;
};

}  // namespace httpd::http
