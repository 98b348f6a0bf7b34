#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "os/error.h"

namespace httpd::http {

/// What one line of an error log can say. Views live until Render() returns; an empty one means: there is none.
struct ErrorRecord {
  std::chrono::system_clock::time_point when;
  int level = 0;  ///< 0 emerg ... 15 trace8
  std::string_view level_name;
  std::string_view module;   ///< "core"
  std::string_view message;  ///< %M
  std::string_view trouble;  ///< %E: "(2)No such file or directory"
  int pid = 0;
  long thread = 0;
  bool is_of_client = false;                            ///< the message may hold bytes of the client: they are escaped
  std::string_view client;                              ///< %a "address:port", as mod_remoteip has it
  std::string_view peer;                                ///< %{c}a
  std::string_view local;                               ///< %A "address:port"
  std::string_view server_name;                         ///< %v
  std::string_view host_name;                           ///< %V
  std::string_view request_id;                          ///< %L
  std::string_view connection_id;                       ///< %{c}L
  int keep_alives = -1;                                 ///< %k; -1: no connection
  std::function<std::string(std::string_view)> header;  ///< %{X}i; "" = missing; may be empty
  std::function<std::string(std::string_view)> environment;  ///< %{X}e
  std::function<std::string(std::string_view)> note;         ///< %{X}n
};

/// A compiled ErrorLogFormat. Immutable; safe to share between threads.
/// Source  httpd 2.4 manual, core, ErrorLogFormat
class ErrorLogFormat {
 public:
  enum class Use {
    kMessage,  ///< of every message: must have %M
    kOnce      ///< a line of its own, once per connection or request: must not
  };

  /// @return kInvalid: Apache's words
  static os::Result<ErrorLogFormat> Compile(std::string_view format, Use use);

  /// Appends the line, without its end. A field of which nothing is known is left out with the text that touches it.
  /// @return false: the line is to be left out (%+{X}i is missing); `out` is as it was
  bool Render(const ErrorRecord& record, std::string& out) const;

 private:
  struct Item {
    bool begins_field = false;
    bool is_required = false;  ///< +
    bool dash = false;         ///< -
    int least_level = 0;
    char letter = '\0';  ///< '\0': `argument` is literal text
    std::string argument;
  };
  static os::Error Parse(std::string_view& rest, Item& item);
  static bool AppendItem(const Item& item, const ErrorRecord& record, std::string& out);

  std::vector<Item> items_;
};

/// What holds when ErrorLogFormat was not said.
inline constexpr std::string_view kDefaultErrorLogFormat =
    "[%{u}t] [%-m:%l] [pid %P:tid %T] %E: [client\\ %a] %M% ,\\ referer:\\ %{Referer}i";

/// Bytes of a client, as Apache's ap_escape_errorlog_item: \n \t \\ \xhh. One request cannot forge a second line.
void AppendErrorLogText(std::string_view text, std::string& out);

}  // namespace httpd::http
