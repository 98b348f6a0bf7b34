#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace httpd::http {

enum class Method : uint8_t { kGet, kHead, kPost, kPut, kDelete, kOptions, kTrace, kConnect, kPatch, kOther };

/// Headers that the server itself reads; found while parsing, so that nothing searches the list again.
enum class Known : uint8_t { kHost, kConnection, kContentLength, kTransferEncoding, kExpect, kRange, kIfRange,
                             kIfModifiedSince, kIfUnmodifiedSince, kIfNoneMatch, kIfMatch, kReferer, kUserAgent,
                             kAcceptEncoding, kUpgrade, kAuthorization, kCount };

struct HeaderField {
  std::string_view name;   ///< as sent
  std::string_view value;  ///< white space around it removed
};

/// Head of one request. Every view points into the caller's buffer and lives as long as that buffer stays put.
/// Reuse one object: Clear() keeps the memory.
struct RequestHead {
  std::string_view line;       ///< the whole request line, for %r
  std::string_view method_text;
  std::string_view target;     ///< as sent
  std::string_view path;       ///< still percent-encoded; "*" for asterisk-form, "" for authority-form
  std::string_view query;      ///< without '?'; has_query tells "?" from nothing
  std::string_view authority;  ///< host[:port]: of an absolute-form target, otherwise the Host field; "" when missing
  Method method = Method::kOther;
  bool has_query = false;
  int minor = 1;               ///< HTTP/1.<minor>
  bool keep_alive = true;      ///< from version and Connection
  bool chunked = false;        ///< Transfer-Encoding: chunked is the final coding
  bool expect_continue = false;
  std::optional<uint64_t> content_length;
  std::vector<HeaderField> fields;
  std::array<std::string_view, static_cast<size_t>(Known::kCount)> known{};  ///< first value; data()==nullptr: missing

  std::string_view Get(Known which) const { return known[static_cast<size_t>(which)]; }
  bool Has(Known which) const { return known[static_cast<size_t>(which)].data() != nullptr; }
  /// First field of that name, case-insensitive; data()==nullptr when missing.
  std::string_view Find(std::string_view name) const;
  void Clear();
};

/// Limits, in bytes and counts. Source  httpd manual: LimitRequestLine, LimitRequestFields, LimitRequestFieldSize
struct HeadLimits {
  size_t line = 8190;
  size_t fields = 100;
  size_t field_size = 8190;
};

struct ParseResult {
  enum class State { kIncomplete, kComplete, kBad };
  State state = State::kIncomplete;
  size_t consumed = 0;       ///< kComplete: length of the head, its empty line included
  int status = 0;            ///< kBad: 400, 414, 431, 501 or 505 to answer with, then close
  const char* reason = "";   ///< kBad: for the error log, static
};

/// Parses one request head at the start of `buffer`; strict: RFC 9112, whatever another server would forgive. Empty lines
/// before the request line are skipped (RFC 9112 2.2). Pure, never allocates once `out` has grown. Complexity is linear
/// in the head for one call; a caller that gets kIncomplete calls again with the longer buffer.
ParseResult ParseRequestHead(std::string_view buffer, const HeadLimits& limits, RequestHead& out);

/// Decodes a request body as it arrives. Source  RFC 9112 6, 7.1
class BodyReader {
 public:
  void Start(const RequestHead& head, uint64_t max_bytes);  ///< max_bytes 0 = no limit
  struct Step {
    enum class State { kMore, kDone, kBad };
    State state = State::kMore;
    size_t consumed = 0;        ///< bytes of the input that were taken
    std::string_view data;      ///< body bytes among them (a view into the input); call again while input is left
    int status = 0;             ///< kBad: 400 or 413
  };
  Step Feed(std::string_view input);
  bool done() const { return phase_ == Phase::kDone; }
  uint64_t received() const { return received_; }

 private:
  enum class Phase : uint8_t { kDone, kLength, kChunkSize, kChunkExtension, kChunkSizeLf, kChunkData, kChunkDataCr,
                               kChunkDataLf, kTrailerStart, kTrailerLine, kTrailerLf, kBad };
  Phase phase_ = Phase::kDone;
  uint64_t left_ = 0;
  uint64_t received_ = 0;
  uint64_t max_bytes_ = 0;
  uint32_t digits_ = 0;
  uint32_t line_bytes_ = 0;
};

}  // namespace httpd::http
