#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "httpd/http/request.h"
#include "os/error.h"

namespace httpd::http {

/// "Sun, 06 Nov 1994 08:49:37 GMT". Source  RFC 9110 5.6.7
std::string FormatDate(std::time_t when);
/// All three formats of RFC 9110 5.6.7; nullopt for anything else.
std::optional<std::time_t> ParseDate(std::string_view text);

/// "[21/Nov/2026:08:02:46 +0000]" without the brackets; local time.
std::string FormatLogTime(std::time_t when);

/// Percent-decodes a URL path and removes "." and ".." segments and double slashes (Apache's MergeSlashes On).
/// kInvalid: bad escape (400) or %00 or climbs above the root; "%2f" in the path: kNotFound (Apache: AllowEncodedSlashes
/// Off, 404). The result starts with '/'.
os::Result<std::string> DecodePath(std::string_view path);
/// The same into `out`, whose memory is reused.
os::Status DecodePathInto(std::string_view path, std::string& out);

/// Text made safe for HTML.
std::string EscapeHtml(std::string_view text);
/// Percent-encodes what may not stand in a URL path.
std::string EscapePath(std::string_view path);

/// One byte range, both ends included.
struct ByteRange {
  uint64_t first = 0;
  uint64_t last = 0;
};
/// `bytes=...` against a representation of `size` bytes.
/// @return nullopt: ignore the header (other unit, malformed, more than `max_ranges`, or they overlap wastefully);
///         an empty list: none can be satisfied (416)
std::optional<std::vector<ByteRange>> ParseRanges(std::string_view value, uint64_t size, size_t max_ranges = 200);

/// Preconditions of RFC 9110 13.2.2 in their order.
enum class Precondition { kProceed, kNotModified, kFailed };
Precondition CheckPreconditions(const RequestHead& head, std::string_view etag, std::time_t modified);
/// Whether Range applies (If-Range missing, or its strong validator matches).
bool IfRangeHolds(const RequestHead& head, std::string_view etag, std::time_t modified, std::time_t now);

/// Apache's `"<size hex>-<mtime microseconds hex>"` (FileETag MTime Size).
std::string MakeEtag(uint64_t size, int64_t modified_microseconds);

/// "OK" for 200; "Unknown" for what has no name.
std::string_view StatusReason(int status);
/// "HTTP/1.1 200 OK\r\n", static storage for every status Apache knows.
std::string_view StatusLine(int status);
/// Apache's error page for a status (HTML), with the optional signature line. Text as Apache 2.4 prints it.
std::string ErrorPage(int status, std::string_view path, std::string_view method, std::string_view signature);

/// Extension -> media type. Apache's mime.types format: "text/html  html htm".
class MimeTypes {
 public:
  static MimeTypes BuiltIn();            ///< the few dozen that a static site needs
  void AddFile(std::string_view text);   ///< later lines win
  void Add(std::string_view extension, std::string_view type);
  /// By the last extension of a file name that is known, lower case compared; "" = unknown.
  std::string_view Find(std::string_view file_name) const;

 private:
  std::unordered_map<std::string, std::string> types_;
};

/// Glob match as ServerAlias, <Directory>, <Files> use it: * ? [set]; `*` and `?` do not match '/' when `path_name`.
bool WildcardMatch(std::string_view pattern, std::string_view text, bool path_name);

/// Whether an address (text form) lies in what `Require ip` was given: "10.1", "10.0.0.0/8", "10.0.0.0/255.0.0.0", "::1",
/// "2001:db8::/32". kInvalid for a malformed network.
os::Result<bool> AddressInNetwork(std::string_view address, std::string_view network);

}  // namespace httpd::http
