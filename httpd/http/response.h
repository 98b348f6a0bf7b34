#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace httpd::http {

/// What a field of an answer is to a proxy, found while parsing.
enum class AnswerField : uint8_t {
  kOther,
  kConnection,
  kContentLength,
  kContentLocation,
  kContentType,
  kDate,
  kKeepAlive,
  kLocation,
  kProxyConnection,
  kRefresh,
  kServer,
  kSetCookie,
  kTe,
  kTrailer,
  kTransferEncoding,
  kUpgrade,
  kUri,
  kDestination
};

struct ResponseField {
  std::string_view name;   ///< as sent
  std::string_view value;  ///< white space around it removed
  AnswerField kind = AnswerField::kOther;
};

/// Head of one answer of another server. Every view points into the caller's buffer and lives as long as that buffer
/// stays put. Reuse one object: Clear() keeps the memory.
struct ResponseHead {
  int status = 0;           ///< 100 to 999
  std::string_view reason;  ///< may be empty
  int minor = 1;            ///< HTTP/1.<minor>
  bool keep_alive = true;   ///< from version and Connection; false where the framing was doubtful
  bool chunked = false;
  bool has_both = false;                   ///< Transfer-Encoding and Content-Length: the length is not set then
  std::optional<uint64_t> content_length;  ///< of several equal ones, too
  std::vector<ResponseField> fields;
  void Clear();
  /// First field of that kind; null: there is none.
  const ResponseField* Find(AnswerField kind) const;
};

/// What becomes of a line that is no field.
enum class BadLine {
  kIsError,
  kIgnore,
  kStartBody  ///< the body begins with it
};

struct ResponseLimits {
  size_t field_size = 8192;      ///< bytes of one line, its line end not counted
  size_t fields = 500;           ///< of one head
  size_t head_size = 64U << 10;  ///< bytes, all lines together; at least field_size
  BadLine bad_lines = BadLine::kIsError;
};

struct ResponseResult {
  enum class State { kIncomplete, kComplete, kBad };
  State state = State::kIncomplete;
  size_t consumed = 0;          ///< kComplete: length of the head, its empty line included
  const char* reason = "";      ///< kBad: static
  std::string_view line;        ///< kBad: the line, at most 100 bytes of it
  bool is_status_line = false;  ///< kBad: it is the first
  bool body_has_begun = false;  ///< kComplete by kStartBody: nobody can say how long the body is
};

/// Parses the head of one answer at the start of `buffer`. Lines end in CRLF or LF. Strict in what the framing depends
/// on: Content-Length must be a number and the same in all fields, chunked must be the last and only coding. Folded
/// lines, control bytes and names that are no token are bad lines; white space before a colon is taken away.
/// Pure, never allocates once `out` has grown; linear in the head for one call.
/// Source  RFC 9112 2.2, 4, 5, 6.3
ResponseResult ParseResponseHead(std::string_view buffer, const ResponseLimits& limits, ResponseHead& out);

}  // namespace httpd::http
