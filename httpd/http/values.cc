#include "httpd/http/values.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <limits>
#include <utility>

#include "httpd/http/ascii.h"

namespace httpd::http {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 7> kLongDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

bool IsAlnum(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
void PutDigits(char* at, int count, unsigned value) {
  for (int i = count - 1; i >= 0; --i, value /= 10) at[i] = static_cast<char>('0' + value % 10);
}

/// Reads fixed-width pieces of a date; one failure sticks.
class DateText {
 public:
  explicit DateText(std::string_view text) : rest_(text) {}

  void Literal(std::string_view expected) {
    if (rest_.starts_with(expected)) {
      rest_.remove_prefix(expected.size());
    } else {
      good_ = false;
    }
  }

  template <size_t N>
  int OneOf(const std::array<std::string_view, N>& names) {
    for (size_t i = 0; i < N; ++i) {
      if (!rest_.starts_with(names[i])) continue;
      rest_.remove_prefix(names[i].size());
      return static_cast<int>(i);
    }
    good_ = false;
    return 0;
  }

  int Number(size_t digits) {
    if (rest_.size() < digits) {
      good_ = false;
      return 0;
    }
    int value = 0;
    for (size_t i = 0; i < digits; ++i) {
      good_ = good_ && IsDigit(rest_[i]);
      value = value * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(digits);
    return value;
  }

  /// asctime's day: two columns, a blank for the tens of a small number.
  int PaddedDay() {
    if (!rest_.starts_with(' ')) return Number(2);
    rest_.remove_prefix(1);
    return Number(1);
  }

  void Time() {
    hour_ = Number(2);
    Literal(":");
    minute_ = Number(2);
    Literal(":");
    second_ = Number(2);
  }

  std::optional<std::time_t> Finish(int year, int month, int day) const {
    namespace chrono = std::chrono;
    if (!good_ || !rest_.empty() || hour_ > 23 || minute_ > 59 || second_ > 60) return std::nullopt;
    const chrono::year_month_day date{chrono::year(year), chrono::month(static_cast<unsigned>(month + 1)),
                                      chrono::day(static_cast<unsigned>(day))};
    if (!date.ok()) return std::nullopt;
    const auto days = chrono::sys_days(date).time_since_epoch().count();
    return static_cast<std::time_t>(days) * 86400 + hour_ * 3600 + minute_ * 60 + second_;
  }

 private:
  std::string_view rest_;
  bool good_ = true;
  int hour_ = 0;
  int minute_ = 0;
  int second_ = 0;
};

}  // namespace

void AppendDate(std::time_t when, std::string& out) {
  namespace chrono = std::chrono;
  // Years 0 to 9999 are all that the format can say.
  when = std::clamp<std::time_t>(when, -62167219200, 253402300799);
  const chrono::sys_seconds instant{chrono::seconds(when)};
  const auto midnight = chrono::floor<chrono::days>(instant);
  const chrono::year_month_day date(midnight);
  const chrono::weekday weekday(midnight);
  const auto second = static_cast<unsigned>((instant - midnight).count());
  char text[] = "Sun, 06 Nov 1994 08:49:37 GMT";
  std::memcpy(text, kDays[weekday.c_encoding()].data(), 3);
  PutDigits(text + 5, 2, static_cast<unsigned>(date.day()));
  std::memcpy(text + 8, kMonths[static_cast<unsigned>(date.month()) - 1].data(), 3);
  PutDigits(text + 12, 4, static_cast<unsigned>(static_cast<int>(date.year())));
  PutDigits(text + 17, 2, second / 3600);
  PutDigits(text + 20, 2, second / 60 % 60);
  PutDigits(text + 23, 2, second % 60);
  out.append(text, sizeof text - 1);
}

std::string FormatDate(std::time_t when) {
  std::string out;
  AppendDate(when, out);
  return out;
}

std::optional<std::time_t> ParseDate(std::string_view text) {
  if (text.size() < 24) return std::nullopt;
  DateText date(text);
  if (text[3] == ',') {  // Sun, 06 Nov 1994 08:49:37 GMT
    date.OneOf(kDays);
    date.Literal(", ");
    const int day = date.Number(2);
    date.Literal(" ");
    const int month = date.OneOf(kMonths);
    date.Literal(" ");
    const int year = date.Number(4);
    date.Literal(" ");
    date.Time();
    date.Literal(" GMT");
    return date.Finish(year, month, day);
  }
  if (text[3] == ' ') {  // Sun Nov  6 08:49:37 1994
    date.OneOf(kDays);
    date.Literal(" ");
    const int month = date.OneOf(kMonths);
    date.Literal(" ");
    const int day = date.PaddedDay();
    date.Literal(" ");
    date.Time();
    date.Literal(" ");
    const int year = date.Number(4);
    return date.Finish(year, month, day);
  }
  date.OneOf(kLongDays);  // Sunday, 06-Nov-94 08:49:37 GMT
  date.Literal(", ");
  const int day = date.Number(2);
  date.Literal("-");
  const int month = date.OneOf(kMonths);
  date.Literal("-");
  const int year = date.Number(2);
  date.Literal(" ");
  date.Time();
  date.Literal(" GMT");
  return date.Finish(year < 70 ? 2000 + year : 1900 + year, month, day);
}

void AppendLogTime(std::time_t when, std::string& out) {
  struct Slot {
    std::time_t when = std::numeric_limits<std::time_t>::min();
    std::array<char, 26> text{};
  };
  // A few slots: requests that started in different seconds end next to each other.
  thread_local std::array<Slot, 8> slots;
  Slot& slot = slots[static_cast<size_t>(when) % slots.size()];
  if (slot.when != when) {
    std::tm local{};
    ::localtime_r(&when, &local);
    long offset = local.tm_gmtoff / 60;
    std::array<char, 26> text;
    std::memcpy(text.data(), "21/Nov/2026:08:02:46 +0000", text.size());
    PutDigits(text.data(), 2, static_cast<unsigned>(local.tm_mday));
    std::memcpy(text.data() + 3, kMonths[static_cast<size_t>(local.tm_mon)].data(), 3);
    PutDigits(text.data() + 7, 4, static_cast<unsigned>(local.tm_year + 1900));
    PutDigits(text.data() + 12, 2, static_cast<unsigned>(local.tm_hour));
    PutDigits(text.data() + 15, 2, static_cast<unsigned>(local.tm_min));
    PutDigits(text.data() + 18, 2, static_cast<unsigned>(local.tm_sec));
    text[21] = offset < 0 ? '-' : '+';
    if (offset < 0) offset = -offset;
    PutDigits(text.data() + 22, 2, static_cast<unsigned>(offset / 60));
    PutDigits(text.data() + 24, 2, static_cast<unsigned>(offset % 60));
    slot.text = text;
    slot.when = when;
  }
  out.append(slot.text.data(), slot.text.size());
}

std::string FormatLogTime(std::time_t when) {
  std::string out;
  AppendLogTime(when, out);
  return out;
}

os::Status DecodePathInto(std::string_view path, std::string& out, const PathRules& rules) {
  using os::Error;
  using os::ErrorKind;
  out.clear();
  if (path.empty() || path[0] != '/') return Error{ErrorKind::kInvalid, 0, "path does not start with '/'"};
  bool plain = true;
  char before = 0;
  for (const char c : path) {
    if (c == '%' || (before == '/' && (c == '/' || c == '.'))) {
      plain = false;
      break;
    }
    if (c == 0) return Error{ErrorKind::kInvalid, 0, "NUL in path"};
    before = c;
  }
  if (plain) {
    out.assign(path);
    return os::kDone;
  }

  // `out` always ends a whole number of decoded segments; one that turns out to be "", "." or ".." is taken back.
  const auto end_segment = [&](bool last) {
    const size_t slash = out.rfind('/');
    const std::string_view segment = std::string_view(out).substr(slash + 1);
    if (segment == ".") {
      out.resize(slash + 1);
    } else if (segment == "..") {
      if (slash == 0) return false;
      out.resize(out.rfind('/', slash - 1) + 1);
    } else if ((!segment.empty() || !rules.merge_slashes) && !last) {
      out.push_back('/');
    }
    return true;
  };
  out.push_back('/');
  for (size_t i = 1; i < path.size(); ++i) {
    char c = path[i];
    if (c == '/') {
      if (!end_segment(false)) return Error{ErrorKind::kInvalid, 0, "path climbs above the root"};
      continue;
    }
    if (c == '%') {
      const int high = i + 2 < path.size() ? HexValue(path[i + 1]) : -1;
      const int low = i + 2 < path.size() ? HexValue(path[i + 2]) : -1;
      if (high < 0 || low < 0) return Error{ErrorKind::kInvalid, 0, "bad percent escape in path"};
      c = static_cast<char>(high * 16 + low);
      if (c == '/') {
        if (rules.encoded_slash == PathRules::EncodedSlash::kRefused) {
          return Error{ErrorKind::kNotFound, 0, "encoded slash in path"};
        }
        if (rules.encoded_slash == PathRules::EncodedSlash::kKept) {
          out.append(path.substr(i, 3));
        } else if (!end_segment(false)) {
          return Error{ErrorKind::kInvalid, 0, "path climbs above the root"};
        }
        i += 2;
        continue;
      }
      i += 2;
    }
    if (c == 0) return Error{ErrorKind::kInvalid, 0, "NUL in path"};
    out.push_back(c);
  }
  if (!end_segment(true)) return Error{ErrorKind::kInvalid, 0, "path climbs above the root"};
  return os::kDone;
}

os::Result<std::string> DecodePath(std::string_view path) {
  std::string out;
  if (auto done = DecodePathInto(path, out); !done) return done.error();
  return out;
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

std::string EscapePath(std::string_view path) {
  constexpr std::string_view kSafe = "$-_.+!*'(),:;@&=/~";
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string out;
  out.reserve(path.size());
  const size_t colon = path.find(':');
  if (colon != std::string_view::npos && colon < path.find('/')) out += "./";
  for (const char c : path) {
    if (IsAlnum(c) || (c != 0 && kSafe.find(c) != std::string_view::npos)) {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out.push_back('%');
      out.push_back(kHexDigits[byte >> 4]);
      out.push_back(kHexDigits[byte & 15]);
    }
  }
  return out;
}

namespace {

/// Digits to a number that stops at the largest; nullopt when there is anything else.
std::optional<uint64_t> ParseSaturated(std::string_view text) {
  if (text.empty()) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (!IsDigit(c)) return std::nullopt;
    const auto digit = static_cast<uint64_t>(c - '0');
    value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
  }
  return value;
}

}  // namespace

std::optional<std::vector<ByteRange>> ParseRanges(std::string_view value, uint64_t size, const RangeLimits& limits) {
  if (size == 0 || value.size() < 6 || !EqualsIgnoreCase(value.substr(0, 6), "bytes=")) return std::nullopt;
  value.remove_prefix(6);
  std::vector<ByteRange> ranges;
  size_t specs = 0;
  uint64_t sum = 0;
  size_t overlaps = 0;
  size_t reversals = 0;
  for (bool more = true; more;) {
    const size_t comma = value.find(',');
    const std::string_view spec = Trimmed(value.substr(0, comma));
    more = comma != std::string_view::npos;
    if (more) value.remove_prefix(comma + 1);
    if (spec.empty()) continue;  // RFC 9110 5.6.1: a list may have empty elements
    if (++specs > limits.ranges) return std::nullopt;
    const size_t dash = spec.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    ByteRange range{0, size - 1};
    if (dash == 0) {
      const auto suffix = ParseSaturated(spec.substr(1));
      if (!suffix) return std::nullopt;
      if (*suffix == 0) continue;
      if (*suffix < size) range.first = size - *suffix;
    } else {
      const auto first = ParseSaturated(spec.substr(0, dash));
      if (!first) return std::nullopt;
      range.first = *first;
      if (dash + 1 < spec.size()) {
        const auto last = ParseSaturated(spec.substr(dash + 1));
        if (!last || *last < range.first) return std::nullopt;
        range.last = std::min(*last, size - 1);
      }
      if (range.first >= size) continue;
    }
    if (!ranges.empty()) {
      const ByteRange& previous = ranges.back();
      if (range.first <= previous.last && range.last >= previous.first) ++overlaps;
      if (range.first < previous.first) ++reversals;
    }
    const uint64_t length = range.last - range.first + 1;
    if (overlaps > limits.overlaps || reversals > limits.reversals || length > size - sum) return std::nullopt;
    sum += length;
    ranges.push_back(range);
  }
  if (specs == 0) return std::nullopt;
  return ranges;
}

namespace {

std::string_view Opaque(std::string_view etag) {
  return etag.starts_with("W/") ? etag.substr(2) : etag;
}

/// Whether a list of entity tags holds `etag`. A malformed rest is not looked at.
bool ListHoldsEtag(std::string_view list, std::string_view etag, bool strong) {
  if (etag.empty() || (strong && etag.starts_with("W/"))) return false;
  for (;;) {
    while (!list.empty() && (list.front() == ' ' || list.front() == '\t' || list.front() == ',')) list.remove_prefix(1);
    const bool weak = list.starts_with("W/");
    if (weak) list.remove_prefix(2);
    if (!list.starts_with('"')) return false;
    const size_t close = list.find('"', 1);
    if (close == std::string_view::npos) return false;
    if (!(weak && strong) && list.substr(0, close + 1) == Opaque(etag)) return true;
    list = Trimmed(list.substr(close + 1));
    if (!list.empty() && list.front() != ',') return false;
  }
}

bool FieldHoldsEtag(const RequestHead& head, Known which, std::string_view name, std::string_view etag, bool strong) {
  if (!head.Repeated(which)) return head.Get(which) == "*" || ListHoldsEtag(head.Get(which), etag, strong);
  return std::any_of(head.fields.begin(), head.fields.end(), [&](const HeaderField& field) {
    return EqualsIgnoreCase(field.name, name) && (field.value == "*" || ListHoldsEtag(field.value, etag, strong));
  });
}

}  // namespace

Precondition CheckPreconditions(const RequestHead& head, std::string_view etag, std::time_t modified) {
  const bool reading = head.method == Method::kGet || head.method == Method::kHead;
  if (head.Has(Known::kIfMatch)) {
    if (!FieldHoldsEtag(head, Known::kIfMatch, "if-match", etag, true)) return Precondition::kFailed;
  } else if (head.Has(Known::kIfUnmodifiedSince) && modified != -1) {
    const auto since = ParseDate(head.Get(Known::kIfUnmodifiedSince));
    if (since && modified > *since) return Precondition::kFailed;
  }
  if (head.Has(Known::kIfNoneMatch)) {
    if (!FieldHoldsEtag(head, Known::kIfNoneMatch, "if-none-match", etag, false)) return Precondition::kProceed;
    return reading ? Precondition::kNotModified : Precondition::kFailed;
  }
  if (reading && head.Has(Known::kIfModifiedSince) && modified != -1) {
    const auto since = ParseDate(head.Get(Known::kIfModifiedSince));
    if (since && modified <= *since) return Precondition::kNotModified;
  }
  return Precondition::kProceed;
}

bool IfRangeHolds(const RequestHead& head, std::string_view etag, std::time_t modified, std::time_t now) {
  if (!head.Has(Known::kIfRange)) return true;
  const std::string_view value = head.Get(Known::kIfRange);
  if (value.starts_with('"')) return !etag.empty() && value == etag;  // a weak etag starts with W/, so it never equals
  const auto date = ParseDate(value);
  return date && modified != -1 && *date == modified && now - modified >= 60;
}

namespace {

struct Status {
  int code;
  std::string_view line;
};

#define BATON_STATUS(code, reason) \
  { code, "HTTP/1.1 " #code " " reason "\r\n" }
/// Names as Apache 2.4 prints them.
constexpr auto kStatuses = std::to_array<Status>({
    BATON_STATUS(100, "Continue"),
    BATON_STATUS(101, "Switching Protocols"),
    BATON_STATUS(102, "Processing"),
    BATON_STATUS(103, "Early Hints"),
    BATON_STATUS(200, "OK"),
    BATON_STATUS(201, "Created"),
    BATON_STATUS(202, "Accepted"),
    BATON_STATUS(203, "Non-Authoritative Information"),
    BATON_STATUS(204, "No Content"),
    BATON_STATUS(205, "Reset Content"),
    BATON_STATUS(206, "Partial Content"),
    BATON_STATUS(207, "Multi-Status"),
    BATON_STATUS(208, "Already Reported"),
    BATON_STATUS(226, "IM Used"),
    BATON_STATUS(300, "Multiple Choices"),
    BATON_STATUS(301, "Moved Permanently"),
    BATON_STATUS(302, "Found"),
    BATON_STATUS(303, "See Other"),
    BATON_STATUS(304, "Not Modified"),
    BATON_STATUS(305, "Use Proxy"),
    BATON_STATUS(307, "Temporary Redirect"),
    BATON_STATUS(308, "Permanent Redirect"),
    BATON_STATUS(400, "Bad Request"),
    BATON_STATUS(401, "Unauthorized"),
    BATON_STATUS(402, "Payment Required"),
    BATON_STATUS(403, "Forbidden"),
    BATON_STATUS(404, "Not Found"),
    BATON_STATUS(405, "Method Not Allowed"),
    BATON_STATUS(406, "Not Acceptable"),
    BATON_STATUS(407, "Proxy Authentication Required"),
    BATON_STATUS(408, "Request Timeout"),
    BATON_STATUS(409, "Conflict"),
    BATON_STATUS(410, "Gone"),
    BATON_STATUS(411, "Length Required"),
    BATON_STATUS(412, "Precondition Failed"),
    BATON_STATUS(413, "Request Entity Too Large"),
    BATON_STATUS(414, "Request-URI Too Long"),
    BATON_STATUS(415, "Unsupported Media Type"),
    BATON_STATUS(416, "Requested Range Not Satisfiable"),
    BATON_STATUS(417, "Expectation Failed"),
    BATON_STATUS(418, "I'm A Teapot"),
    BATON_STATUS(421, "Misdirected Request"),
    BATON_STATUS(422, "Unprocessable Entity"),
    BATON_STATUS(423, "Locked"),
    BATON_STATUS(424, "Failed Dependency"),
    BATON_STATUS(425, "Too Early"),
    BATON_STATUS(426, "Upgrade Required"),
    BATON_STATUS(428, "Precondition Required"),
    BATON_STATUS(429, "Too Many Requests"),
    BATON_STATUS(431, "Request Header Fields Too Large"),
    BATON_STATUS(451, "Unavailable For Legal Reasons"),
    BATON_STATUS(500, "Internal Server Error"),
    BATON_STATUS(501, "Not Implemented"),
    BATON_STATUS(502, "Bad Gateway"),
    BATON_STATUS(503, "Service Unavailable"),
    BATON_STATUS(504, "Gateway Timeout"),
    BATON_STATUS(505, "HTTP Version Not Supported"),
    BATON_STATUS(506, "Variant Also Negotiates"),
    BATON_STATUS(507, "Insufficient Storage"),
    BATON_STATUS(508, "Loop Detected"),
    BATON_STATUS(510, "Not Extended"),
    BATON_STATUS(511, "Network Authentication Required"),
});
#undef BATON_STATUS

constexpr size_t kFirstCode = 100;
/// Index into kStatuses plus one, by code.
constexpr auto kStatusIndex = [] {
  std::array<uint8_t, 500> table{};
  for (size_t i = 0; i < kStatuses.size(); ++i) {
    table[static_cast<size_t>(kStatuses[i].code) - kFirstCode] = static_cast<uint8_t>(i + 1);
  }
  return table;
}();

std::string_view KnownStatusLine(int status) {
  const auto at = static_cast<size_t>(status) - kFirstCode;
  if (status < 100 || at >= kStatusIndex.size() || kStatusIndex[at] == 0) return {};
  return kStatuses[kStatusIndex[at] - 1u].line;
}

}  // namespace

std::string_view StatusReason(int status) {
  const std::string_view line = KnownStatusLine(status);
  if (line.empty()) return "Unknown";
  return line.substr(13, line.size() - 15);
}

std::string_view StatusLine(int status) {
  const std::string_view line = KnownStatusLine(status);
  if (!line.empty()) return line;
  // A code without a name is rare but legal (a script's 299): all of them are made on the first one.
  static const auto kUnnamed = [] {
    std::vector<std::string> lines;
    for (int code = 0; code < 1000; ++code) {
      char digits[3];
      PutDigits(digits, 3, static_cast<unsigned>(code));
      lines.push_back("HTTP/1.1 " + std::string(digits, 3) + " Unknown\r\n");
    }
    return lines;
  }();
  return status >= 100 && status <= 999 ? std::string_view(kUnnamed[static_cast<size_t>(status)]) : StatusLine(500);
}

namespace {

std::string ErrorText(int status, std::string_view path, std::string_view method, std::string_view admin) {
  switch (status) {
    case 301:
    case 302:
    case 307:
    case 308:
      return "<p>The document has moved <a href=\"" + EscapeHtml(path) + "\">here</a>.</p>\n";
    case 303:
      return "<p>The answer to your request is located <a href=\"" + EscapeHtml(path) + "\">here</a>.</p>\n";
    case 400:
      return "<p>Your browser sent a request that this server could not understand.<br />\n</p>\n";
    case 401:
    case 407:
      return "<p>This server could not verify that you\nare authorized to access the document\nrequested.  Either you "
             "supplied the wrong\ncredentials (e.g., bad password), or your\nbrowser doesn't understand how to "
             "supply\nthe credentials required.</p>\n";
    case 403:
      return "<p>You don't have permission to access this resource.</p>\n";
    case 404:
      return "<p>The requested URL was not found on this server.</p>\n";
    case 405:
      return "<p>The requested method " + EscapeHtml(method) + " is not allowed for this URL.</p>\n";
    case 406:
      return "<p>An appropriate representation of the requested resource could not be found on this server.</p>\n";
    case 408:
      return "<p>Server timeout waiting for the HTTP request from the client.</p>\n";
    case 410:
      return "<p>The requested resource is no longer available on this server and there is no forwarding "
             "address.\nPlease remove all references to this resource.</p>\n";
    case 411:
      return "<p>A request of the requested method " + EscapeHtml(method) +
             " requires a valid Content-length.<br />\n</p>\n";
    case 412:
      return "<p>The precondition on the request for this URL evaluated to false.</p>\n";
    case 413:
      return "The requested resource does not allow request data with " + EscapeHtml(method) +
             " requests, or the amount of data provided in\nthe request exceeds the capacity limit.\n";
    case 414:
      return "<p>The requested URL's length exceeds the capacity\nlimit for this server.<br />\n</p>\n";
    case 415:
      return "<p>The supplied request data is not in a format\nacceptable for processing by this resource.</p>\n";
    case 416:
      return "<p>None of the range-specifier values in the Range\nrequest-header field overlap the current extent\nof "
             "the selected resource.</p>\n";
    case 417:
      if (path.empty()) {
        return "<p>No expectation was seen, the Expect request-header \nfield was not presented by the client.\n"
               "</p><p>Only the 100-continue expectation is supported.</p>\n";
      }
      return "<p>The expectation given in the Expect request-header\nfield could not be met by this server.\nThe "
             "client "
             "sent<pre>\n    Expect: " +
             EscapeHtml(path) + "\n</pre>\n</p><p>Only the 100-continue expectation is supported.</p>\n";
    case 422:
      return "<p>The server understands the media type of the\nrequest entity, but was unable to process "
             "the\ncontained instructions.</p>\n";
    case 428:
      return "<p>The request is required to be conditional.</p>\n";
    case 429:
      return "<p>The user has sent too many requests\nin a given amount of time.</p>\n";
    case 431:
      return "<p>The server refused this request because\nthe request header fields are too large.</p>\n";
    case 501:
      return "<p>" + EscapeHtml(method) + " not supported for current URL.<br />\n</p>\n";
    case 502:
      return "<p>The proxy server received an invalid\r\nresponse from an upstream server.<br />\r\n</p>\n";
    case 503:
      return "<p>The server is temporarily unable to service your\nrequest due to maintenance downtime or "
             "capacity\nproblems. Please try again later.</p>\n";
    case 504:
      return "<p>The gateway did not receive a timely response\nfrom the upstream server or application.</p>\n";
    default:
      return "<p>The server encountered an internal error or\nmisconfiguration and was unable to complete\nyour "
             "request.</p>\n<p>Please contact the server administrator at \n " +
             EscapeHtml(admin) +
             " to inform them of the time this error occurred,\n and the actions you performed just before this "
             "error.</p>\n<p>More information about this error may be available\nin the server error log.</p>\n";
  }
}

}  // namespace

std::string ErrorPage(int status, std::string_view path, std::string_view method, std::string_view signature,
                      std::string_view admin) {
  const std::string_view reason = StatusReason(status);
  std::string page =
      "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" "
      "\"http://www.w3.org/TR/html4/strict.dtd\">\n<html><head>\n<title>";
  page.append(std::to_string(status)).append(" ").append(reason);
  page.append("</title>\n</head><body>\n<h1>").append(reason).append("</h1>\n");
  page += ErrorText(status, path, method, admin);
  if (!signature.empty()) page.append("<hr>\n<address>").append(signature).append("</address>\n");
  page += "</body></html>\n";
  return page;
}

MimeTypes MimeTypes::BuiltIn() {
  MimeTypes types;
  types.AddFile(
      "text/html html htm shtml\n"
      "text/css css\n"
      "text/plain txt text conf def list log in asc\n"
      "text/csv csv\n"
      "text/xml xml xsd\n"
      "text/markdown md markdown\n"
      "text/calendar ics ifb\n"
      "text/vtt vtt\n"
      "text/javascript js mjs\n"
      "application/json json map\n"
      "application/ld+json jsonld\n"
      "application/manifest+json webmanifest\n"
      "application/xhtml+xml xhtml xht\n"
      "application/atom+xml atom\n"
      "application/rss+xml rss\n"
      "application/xslt+xml xsl xslt\n"
      "application/pdf pdf\n"
      "application/postscript ps ai eps\n"
      "application/rtf rtf\n"
      "application/wasm wasm\n"
      "application/zip zip\n"
      "application/gzip gz tgz\n"
      "application/x-bzip2 bz2\n"
      "application/x-xz xz\n"
      "application/zstd zst\n"
      "application/x-tar tar\n"
      "application/x-7z-compressed 7z\n"
      "application/java-archive jar war ear\n"
      "application/epub+zip epub\n"
      "application/octet-stream bin iso img dmg deb msi so o\n"
      "application/msword doc dot\n"
      "application/vnd.ms-excel xls\n"
      "application/vnd.ms-powerpoint ppt\n"
      "application/vnd.openxmlformats-officedocument.wordprocessingml.document docx\n"
      "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx\n"
      "application/vnd.openxmlformats-officedocument.presentationml.presentation pptx\n"
      "application/vnd.oasis.opendocument.text odt\n"
      "application/vnd.oasis.opendocument.spreadsheet ods\n"
      "image/png png\n"
      "image/jpeg jpeg jpg jpe\n"
      "image/gif gif\n"
      "image/svg+xml svg svgz\n"
      "image/webp webp\n"
      "image/avif avif\n"
      "image/bmp bmp\n"
      "image/tiff tiff tif\n"
      "image/vnd.microsoft.icon ico\n"
      "font/woff woff\n"
      "font/woff2 woff2\n"
      "font/ttf ttf\n"
      "font/otf otf\n"
      "audio/mpeg mp3 mp2 mpga\n"
      "audio/ogg oga ogg opus spx\n"
      "audio/mp4 m4a mp4a\n"
      "audio/flac flac\n"
      "audio/x-wav wav\n"
      "video/mp4 mp4 mp4v mpg4\n"
      "video/mpeg mpeg mpg mpe\n"
      "video/ogg ogv\n"
      "video/webm webm\n"
      "video/quicktime qt mov\n"
      "video/x-msvideo avi\n"
      "application/vnd.apple.mpegurl m3u8\n"
      "video/mp2t ts\n");
  return types;
}

void MimeTypes::AddFile(std::string_view text) {
  const auto next_word = [](std::string_view& line) {
    constexpr std::string_view kBlank = " \t\r";
    line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
    const std::string_view word = line.substr(0, line.find_first_of(kBlank));
    line.remove_prefix(word.size());
    return word;
  };
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::string_view type = next_word(line);
    if (type.empty() || type[0] == '#') continue;
    for (std::string_view extension = next_word(line); !extension.empty(); extension = next_word(line)) {
      Add(extension, type);
    }
  }
}

void MimeTypes::Add(std::string_view extension, std::string_view type) {
  if (extension.starts_with('.')) extension.remove_prefix(1);
  std::string key(extension);
  std::transform(key.begin(), key.end(), key.begin(), Lower);
  types_[std::move(key)] = type;
}

std::string_view MimeTypes::ByExtension(const std::string& extension) const {
  const auto found = types_.find(extension);
  return found == types_.end() ? std::string_view() : std::string_view(found->second);
}

std::string_view MimeTypes::Find(std::string_view file_name) const {
  constexpr size_t kLongest = 31;
  if (const size_t slash = file_name.rfind('/'); slash != std::string_view::npos) file_name.remove_prefix(slash + 1);
  std::string key;
  for (size_t end = file_name.size();;) {
    const size_t dot = file_name.substr(0, end).rfind('.');
    if (dot == std::string_view::npos) return {};
    const std::string_view extension = file_name.substr(dot + 1, end - dot - 1);
    if (!extension.empty() && extension.size() <= kLongest) {
      key.assign(extension);
      std::transform(key.begin(), key.end(), key.begin(), Lower);
      if (const auto found = types_.find(key); found != types_.end()) return found->second;
    }
    end = dot;
  }
}

namespace {

/// Matches one byte against the set that starts at pattern[at] == '['. Moves `at` past the set.
/// nullopt: the set is not closed, so '[' stands for itself.
std::optional<bool> MatchSet(std::string_view pattern, size_t& at, char c) {
  const auto byte = [](char b) { return static_cast<unsigned char>(b); };
  size_t i = at + 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  bool matched = false;
  for (bool first = true;; first = false) {
    if (i >= pattern.size()) return std::nullopt;
    if (pattern[i] == ']' && !first) break;
    if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
    const char low = pattern[i++];
    char high = low;
    if (i + 1 < pattern.size() && pattern[i] == '-' && pattern[i + 1] != ']') {
      ++i;
      if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
      high = pattern[i++];
    }
    if (byte(c) >= byte(low) && byte(c) <= byte(high)) matched = true;
  }
  at = i + 1;
  return matched != negated;
}

/// Matches one byte of text against the pattern element at `at`, which is not '*'; moves `at` past it.
bool MatchOne(std::string_view pattern, size_t& at, char c, bool path_name) {
  const bool slash = path_name && c == '/';
  switch (pattern[at]) {
    case '?':
      ++at;
      return !slash;
    case '[':
      if (const auto matched = MatchSet(pattern, at, c)) return *matched && !slash;
      return pattern[at++] == c;
    case '\\':
      if (at + 1 < pattern.size()) ++at;
      return pattern[at++] == c;
    default:
      return pattern[at++] == c;
  }
}

}  // namespace

bool WildcardMatch(std::string_view pattern, std::string_view text, bool path_name) {
  // Only the last star can need another try: an earlier one that gives up more never helps a later one, and with
  // `path_name` slashes pair up one to one, so stars of an earlier segment are settled.
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t star_text = 0;
  for (;;) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
      continue;
    }
    if (t == text.size()) {
      if (p == pattern.size()) return true;
      return false;
    }
    size_t next = p;
    if (p < pattern.size() && MatchOne(pattern, next, text[t], path_name)) {
      p = next;
      ++t;
      continue;
    }
    if (star == std::string_view::npos || (path_name && text[star_text] == '/')) return false;
    t = ++star_text;
    p = star + 1;
  }
}

namespace {

using Bytes16 = std::array<uint8_t, 16>;

/// An address as 16 bytes, IPv4 as IPv4-mapped.
std::optional<Bytes16> ParseAddress(std::string_view text) {
  std::array<char, 64> terminated{};
  if (text.empty() || text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) return {};
  std::copy(text.begin(), text.end(), terminated.begin());
  Bytes16 bytes{};
  if (::inet_pton(AF_INET6, terminated.data(), bytes.data()) == 1) return bytes;
  bytes[10] = bytes[11] = 0xff;
  if (::inet_pton(AF_INET, terminated.data(), bytes.data() + 12) == 1) return bytes;
  return {};
}

bool IsMapped(const Bytes16& bytes) {
  return std::all_of(bytes.begin(), bytes.begin() + 10, [](uint8_t b) { return b == 0; }) && bytes[10] == 0xff &&
         bytes[11] == 0xff;
}

std::optional<unsigned> ParseSmall(std::string_view text, unsigned max) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

Bytes16 PrefixMask(unsigned bits) {
  Bytes16 mask{};
  for (unsigned i = 0; i < bits; ++i) mask[i / 8] = static_cast<uint8_t>(mask[i / 8] | 0x80u >> i % 8);
  return mask;
}

}  // namespace

os::Result<Network> Network::Parse(std::string_view text) {
  std::string what(1, '"');
  what.append(text).append("\" is not an IP address or network");
  const os::Error malformed{os::ErrorKind::kInvalid, 0, std::move(what)};
  Network network;
  const size_t slash = text.find('/');
  const std::string_view base = text.substr(0, slash);
  if (const auto address = ParseAddress(base)) {
    network.address_ = *address;
    network.mask_ = PrefixMask(128);
    if (slash == std::string_view::npos) return network;
    const std::string_view width = text.substr(slash + 1);
    const bool four = base.find(':') == std::string_view::npos;
    if (const auto bits = ParseSmall(width, four ? 32 : 128)) {
      network.mask_ = PrefixMask(four ? 96 + *bits : *bits);
      return network;
    }
    const auto mask = ParseAddress(width);
    if (!four || !mask || width.find(':') != std::string_view::npos) return malformed;
    network.mask_ = PrefixMask(96);
    std::copy(mask->begin() + 12, mask->end(), network.mask_.begin() + 12);
    return network;
  }
  // "10.1" or "10.1.": the first one to three octets.
  if (slash != std::string_view::npos) return malformed;
  std::string_view rest = base.ends_with('.') ? base.substr(0, base.size() - 1) : base;
  network.address_[10] = network.address_[11] = 0xff;
  unsigned octets = 0;
  for (bool more = true; more; ++octets) {
    const size_t dot = rest.find('.');
    const auto value = ParseSmall(rest.substr(0, dot), 255);
    if (!value || octets == 3) return malformed;
    network.address_[12 + octets] = static_cast<uint8_t>(*value);
    more = dot != std::string_view::npos;
    if (more) rest.remove_prefix(dot + 1);
  }
  network.mask_ = PrefixMask(96 + 8 * octets);
  return network;
}

bool Network::Holds(std::string_view address) const {
  const auto bytes = ParseAddress(address.substr(0, address.find('%')));  // fe80::1%eth0: the zone is not the network's
  if (!bytes) return false;
  if (IsMapped(*bytes) != IsMapped(address_)) return false;
  for (size_t i = 0; i < bytes->size(); ++i) {
    if (((*bytes)[i] ^ address_[i]) & mask_[i]) return false;
  }
  return true;
}

}  // namespace httpd::http
