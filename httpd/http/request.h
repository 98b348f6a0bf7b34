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
enum class Known : uint8_t {
  kHost,
  kConnection,
  kContentLength,
  kTransferEncoding,
  kExpect,
  kRange,
  kIfRange,
  kIfModifiedSince,
  kIfUnmodifiedSince,
  kIfNoneMatch,
  kIfMatch,
  kReferer,
  kUserAgent,
  kAcceptEncoding,
  kUpgrade,
  kAuthorization,
  kCount
};

struct HeaderField {
  std::string_view name;   ///< as sent
  std::string_view value;  ///< white space around it removed
};

/// Head of one request. Every view points into the caller's buffer and lives as long as that buffer stays put.
/// Reuse one object: Clear() keeps the memory.
struct RequestHead {
  std::string_view line;  ///< the whole request line, for %r
  std::string_view method_text;
  std::string_view target;     ///< as sent
  std::string_view path;       ///< still percent-encoded; "*" for asterisk-form, "" for authority-form
  std::string_view query;      ///< without '?'; has_query tells "?" from nothing
  std::string_view authority;  ///< host[:port]: of an absolute-form target, otherwise the Host field; "" when missing
  Method method = Method::kOther;
  bool has_query = false;
  int major = 1;           ///< 2: HTTP/2; then `minor` is 1, as what HTTP/1.1 has it has too
  int minor = 1;           ///< HTTP/1.<minor>
  bool keep_alive = true;  ///< from version and Connection
  bool chunked = false;    ///< Transfer-Encoding: chunked is the final coding
  bool expect_continue = false;
  std::optional<uint64_t> content_length;
  std::vector<HeaderField> fields;
  std::array<std::string_view, static_cast<size_t>(Known::kCount)> known{};  ///< first value; data()==nullptr: missing
  uint32_t repeated = 0;                                                     ///< bit n: Known n was sent more than once

  std::string_view Get(Known which) const { return known[static_cast<size_t>(which)]; }
  bool Has(Known which) const { return known[static_cast<size_t>(which)].data() != nullptr; }
  /// Whether more than one field of that name was sent: then Get() is only the first, the others are in `fields`.
  bool Repeated(Known which) const { return (repeated >> static_cast<unsigned>(which) & 1u) != 0; }
  /// First field of that name, case-insensitive; data()==nullptr when missing.
  std::string_view Find(std::string_view name) const;
  /// "HTTP/1.1", "HTTP/2.0": as logs and programs are told.
  std::string_view Protocol() const;
  void Clear();
  /// Every view into `from` becomes one into its copy at `to`.
  void MoveTo(std::string_view from, const char* to);
};

/// Fills `known` and `repeated` anew from `fields`, which somebody has changed.
void IndexKnown(RequestHead& head);

/// Limits, in bytes (line ends not counted) and counts; fields 0 = no limit. Source  httpd manual: LimitRequestLine,
/// LimitRequestFields, LimitRequestFieldSize
struct HeadLimits {
  size_t line = 8190;
  size_t fields = 100;
  size_t field_size = 8190;
};

struct ParseResult {
  enum class State { kIncomplete, kComplete, kBad };
  State state = State::kIncomplete;
  size_t consumed = 0;      ///< kComplete: length of the head, its empty line included
  int status = 0;           ///< kBad: 400, 414, 417, 431, 501 or 505 to answer with, then close
  const char* reason = "";  ///< kBad: for the error log, static
};

/// Parses one request head at the start of `buffer`; strict: RFC 9112, whatever another server would forgive. Empty
/// lines before the request line are skipped (RFC 9112 2.2). Pure, never allocates once `out` has grown. Complexity is
/// linear in the head for one call; a caller that gets kIncomplete calls again with the longer buffer. kBad leaves in
/// `out` what was understood so far; `out.line` is then the request line as far as it was sent, cut at limits.line, bad
/// bytes included. Refused besides what the grammar forbids: several Host, several Content-Length (equal ones too),
/// Content-Length with Transfer-Encoding, Transfer-Encoding in HTTP/1.0, user information or a fragment in the target.
/// Source  RFC 9112 2-7, RFC 9110 7.2, 8.6, 10.1.1
ParseResult ParseRequestHead(std::string_view buffer, const HeadLimits& limits, RequestHead& out);

/// The same for a head that came field by field: HTTP/2. `out` holds the fields, without the pseudo ones, and `line`;
/// everything else is found here. `chunked` is left for the caller, who knows whether there is a body.
/// @param target     ":path", or ":authority" of CONNECT; a part of `out.line`
/// @param authority  ":authority"; data() == nullptr: there was none. It becomes the Host field where that is missing.
/// @return kComplete, or kBad with 400 or 417
/// Source  RFC 9113 8.3
ParseResult CompleteHead(std::string_view method, std::string_view target, std::string_view authority,
                         RequestHead& out);

/// Decodes a request body as it arrives. Chunk framing is strict: no sign, no white space after a size, at most 16 hex
/// digits, CRLF everywhere; extensions and trailers are checked and dropped, 16 KiB of them per body, then 400.
/// Source  RFC 9112 6, 7.1
class BodyReader {
 public:
  void Start(const RequestHead& head, uint64_t max_bytes);  ///< max_bytes 0 = no limit
  void StartLength(uint64_t bytes);
  void StartChunked();
  void StartEndless();  ///< everything that comes, as it is; never done
  /// kMore: call again while input is left. kDone and kBad may carry the last bytes of the body, too.
  struct Step {
    enum class State { kMore, kDone, kBad };
    State state = State::kMore;
    size_t consumed = 0;    ///< bytes of the input that were taken
    std::string_view data;  ///< body bytes among them, a view into the input; may be empty in any state
    int status = 0;         ///< kBad: 400 or 413
  };
  Step Feed(std::string_view input);
  bool done() const { return phase_ == Phase::kDone; }
  uint64_t received() const { return received_; }

 private:
  enum class Phase : uint8_t {
    kDone,
    kBad,
    kLength,
    kEndless,
    kChunkSize,
    kExtension,
    kChunkSizeLf,
    kChunkData,
    kChunkDataCr,
    kChunkDataLf,
    kTrailerStart,
    kTrailerName,
    kTrailerValue,
    kTrailerLf,
    kEndLf
  };
  /// Where inside a chunk extension: *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )
  enum class Extension : uint8_t {
    kNameStart,
    kName,
    kNameSpace,
    kValueStart,
    kTokenValue,
    kQuoted,
    kQuotedPair,
    kQuotedEnd,
    kSpace
  };
  bool FeedExtension(unsigned char c);

  Phase phase_ = Phase::kDone;
  Extension extension_ = Extension::kNameStart;
  uint64_t left_ = 0;
  uint64_t received_ = 0;
  uint64_t max_bytes_ = 0;
  uint32_t digits_ = 0;
  uint32_t overhead_ = 0;  ///< extension and trailer bytes so far
  int bad_status_ = 0;
};

}  // namespace httpd::http
