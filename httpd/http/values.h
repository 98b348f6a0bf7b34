#pragma once

#include <array>
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
/// The same, appended; does not allocate when `out` has room.
void AppendDate(std::time_t when, std::string& out);
/// All three formats of RFC 9110 5.6.7; nullopt for anything else.
std::optional<std::time_t> ParseDate(std::string_view text);

/// "[21/Nov/2026:08:02:46 +0000]" without the brackets; local time.
std::string FormatLogTime(std::time_t when);
/// The same, appended; remembers the last few seconds per thread, so that a busy log asks for the zone once per second.
void AppendLogTime(std::time_t when, std::string& out);

/// Percent-decodes a URL path and removes "." and ".." segments and double slashes (Apache's MergeSlashes On).
/// kInvalid: bad escape (400) or %00 or climbs above the root; "%2f" in the path: kNotFound (Apache:
/// AllowEncodedSlashes Off, 404). The result starts with '/'.
os::Result<std::string> DecodePath(std::string_view path);

/// What AllowEncodedSlashes and MergeSlashes say.
struct PathRules {
  enum class EncodedSlash { kRefused, kSlash, kKept };
  EncodedSlash encoded_slash = EncodedSlash::kRefused;
  bool merge_slashes = true;
};
/// The same into `out`, whose memory is reused.
os::Status DecodePathInto(std::string_view path, std::string& out, const PathRules& rules = {});

/// Text made safe for HTML.
std::string EscapeHtml(std::string_view text);
/// Percent-encodes what may not stand in a URL path (Apache's ap_os_escape_path): a relative path whose first segment
/// has a ':' gets "./" in front, so that it is not taken for a scheme.
std::string EscapePath(std::string_view path);

/// One byte range, both ends included.
struct ByteRange {
  uint64_t first = 0;
  uint64_t last = 0;
};
/// How many ranges one request may ask for, how many of them may overlap the one before or begin before it. Beyond that
/// the whole representation is sent; SIZE_MAX = no limit.
struct RangeLimits {
  size_t ranges = 200;
  size_t overlaps = 20;
  size_t reversals = 20;
};
/// `bytes=...` against a representation of `size` bytes.
/// @return nullopt: ignore the header (other unit, malformed, more than the limits allow, or a sum larger than `size`);
///         an empty list: none can be satisfied (416)
///
/// The order of the ranges is the client's; they are not merged. An empty representation (size 0) ignores the header.
/// Source  RFC 9110 14.1, 14.2; httpd 2.4 manual, MaxRanges, MaxRangeOverlaps, MaxRangeReversals
std::optional<std::vector<ByteRange>> ParseRanges(std::string_view value, uint64_t size,
                                                  const RangeLimits& limits = {});

/// Preconditions of RFC 9110 13.2.2 in their order, for a representation that exists. An unreadable date is ignored.
/// @param etag      quoted, perhaps W/ in front; "" = it has none
/// @param modified  -1 = not known
enum class Precondition { kProceed, kNotModified, kFailed };
Precondition CheckPreconditions(const RequestHead& head, std::string_view etag, std::time_t modified);
/// Whether Range applies (If-Range missing, or its strong validator matches). A date is
/// strong when it equals `modified` and that is at least 60 s before `now` (as Apache has it; RFC 9110 8.8.2.2 asks 1
/// s).
bool IfRangeHolds(const RequestHead& head, std::string_view etag, std::time_t modified, std::time_t now);

/// "OK" for 200; "Unknown" for what has no name.
std::string_view StatusReason(int status);
/// "HTTP/1.1 200 OK\r\n", static storage for every status Apache knows.
std::string_view StatusLine(int status);
/// Apache's error page for a status (HTML), with the optional signature line. Text as Apache 2.4.71 prints it.
/// @param path       the location for 301, 302, 303, 307, 308; what the client sent in Expect for 417; else unused
/// @param signature  what stands inside <address>, HTML already; "" = none
/// @param admin      ServerAdmin, for the pages that name it
std::string ErrorPage(int status, std::string_view path, std::string_view method, std::string_view signature,
                      std::string_view admin = "[no address given]");

/// Extension -> media type. Apache's mime.types format: "text/html  html htm".
class MimeTypes {
 public:
  static MimeTypes BuiltIn();           ///< the few dozen that a static site needs
  void AddFile(std::string_view text);  ///< later lines win
  void Add(std::string_view extension, std::string_view type);
  /// Never allocates for extensions up to 15 bytes; longer than 31 bytes are unknown.
  /// By the last extension of a file name that is known, lower case compared; "" = unknown.
  std::string_view Find(std::string_view file_name) const;
  /// Of one extension, lower case, without its dot; "" = unknown.
  std::string_view ByExtension(const std::string& extension) const;

 private:
  std::unordered_map<std::string, std::string> types_;
};

/// Glob match as ServerAlias, <Directory>, <Files> use it: * ? [set]; `*`, `?` and sets do not match '/' when
/// `path_name`. [a-z] ranges, [!x] and [^x] negate, a backslash takes the next byte as it is. Case counts.
bool WildcardMatch(std::string_view pattern, std::string_view text, bool path_name);

/// What `Require ip` is given: "10.1", "10.0.0.0/8", "10.0.0.0/255.0.0.0", "::1", "2001:db8::/32". A value.
class Network {
 public:
  /// kInvalid for what is none; `what` names it.
  static os::Result<Network> Parse(std::string_view text);

  /// Whether an address (text form) lies in it. An IPv4-mapped IPv6 address is its IPv4 address; ::/0 does not mean
  /// IPv4. What is no address ("unix" of the private socket) is in no network.
  bool Holds(std::string_view address) const;

 private:
  std::array<uint8_t, 16> address_{};  ///< IPv4 as IPv4-mapped
  std::array<uint8_t, 16> mask_{};
};

}  // namespace httpd::http
