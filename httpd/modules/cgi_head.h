#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace httpd::modules {

/// What a CGI program has said before its body.
struct ScriptHead {
  int status = 0;        ///< of Status:, or of an nph- program's status line; 0 = not said
  std::string fields;    ///< "Name: value\r\n"... for the answer
  std::string type;      ///< Content-Type; in `fields` too
  std::string location;  ///< in `fields` too
  bool close = false;    ///< Connection: close
};

struct ScriptHeadResult {
  enum class State { kIncomplete, kComplete, kBad };
  State state = State::kIncomplete;
  size_t consumed = 0;  ///< kComplete: up to the body
  std::string trouble;  ///< kBad: for the error log, in Apache's words
};

/// Parses the head of a program's output: lines that end with LF or CRLF, an empty one at the end. Strict in what
/// becomes a field of the answer: names are tokens, values hold no control bytes. Left out are the fields that are the
/// server's: Date, Server, Connection, Keep-Alive, Transfer-Encoding, Content-Length (the body itself tells) and the
/// others between two hops. At most 64 KiB, a line at most 8190 bytes, 500 lines.
/// @param script  base name, for `trouble`
/// @param is_nph  the first line may be a status line
/// Source  RFC 3875 6.3, httpd 2.4 ap_scan_script_header_err_core
ScriptHeadResult ParseScriptHead(std::string_view output, std::string_view script, bool is_nph, ScriptHead& out);

}  // namespace httpd::modules
