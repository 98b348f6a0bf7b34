#include "httpd/http/log_format.h"

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <ctime>
#include <limits>
#include <utility>

#include "httpd/http/ascii.h"
#include "httpd/http/values.h"

namespace httpd::http {
namespace {

namespace chrono = std::chrono;

enum class Kind : uint8_t {
  kNothing,  // only a literal
  kDash,
  kLiteralArgument,
  kClientAddress,
  kPeerAddress,
  kLocalAddress,
  kBytesClf,
  kBytes,
  kCookie,
  kMicroseconds,
  kMilliseconds,
  kSeconds,
  kEnvironment,
  kVariable,
  kNote,
  kFile,
  kProtocol,
  kRequestHeader,
  kKeepAliveCount,
  kRequestId,
  kConnectionId,
  kMethod,
  kResponseHeader,
  kServerPort,
  kLocalPort,
  kRemotePort,
  kPid,
  kThread,
  kThreadHex,
  kQuery,
  kRequestLine,
  kHandler,
  kStatus,
  kTime,
  kTimeFormatted,
  kTimeSeconds,
  kTimeMilliseconds,
  kTimeMicroseconds,
  kTimeMillisecondFraction,
  kTimeMicrosecondFraction,
  kUser,
  kPath,
  kServerName,
  kHostName,
  kConnectionState,
  kBytesIn,
  kBytesOut,
  kBytesBoth,
  kFirstByte,
};

/// 0: as it is; 'x': \xhh; anything else: a backslash and that character. Apache's ap_escape_logitem in the C locale.
constexpr auto kEscape = [] {
  std::array<char, 256> table{};
  for (int c = 0; c < 256; ++c) table[static_cast<size_t>(c)] = c >= 0x20 && c < 0x7f ? '\0' : 'x';
  table['"'] = '"';
  table['\\'] = '\\';
  table['\b'] = 'b';
  table['\n'] = 'n';
  table['\r'] = 'r';
  table['\t'] = 't';
  table['\v'] = 'v';
  return table;
}();

/// A bit for each of 16 bytes that needs escaping.
unsigned Odd(__m128i v) {
  const __m128i control = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));  // signed: 8-bit bytes are negative
  const __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
  const __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
  const __m128i backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
  return static_cast<unsigned>(
      _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(control, del), _mm_or_si128(quote, backslash))));
}

/// Index of the first byte at or after `i` that needs escaping.
size_t SkipPlain(std::string_view text, size_t i) {
  const auto load = [&text](size_t at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at)); };
  for (; i + 16 <= text.size(); i += 16) {
    if (const unsigned odd = Odd(load(i))) return i + static_cast<size_t>(std::countr_zero(odd));
  }
  if (i == text.size()) return i;
  if (text.size() >= 16) {  // the last 16 bytes: some of them have been looked at
    const size_t at = text.size() - 16;
    const unsigned odd = Odd(load(at)) >> (i - at);
    return odd != 0 ? i + static_cast<size_t>(std::countr_zero(odd)) : text.size();
  }
  while (i < text.size() && kEscape[static_cast<unsigned char>(text[i])] == 0) ++i;
  return i;
}

void AppendEscaped(std::string_view text, std::string& out) {
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  for (size_t i = 0;;) {
    const size_t stop = SkipPlain(text, i);
    out.append(text, i, stop - i);
    if (stop == text.size()) return;
    const auto byte = static_cast<unsigned char>(text[stop]);
    const char how = kEscape[byte];
    out.push_back('\\');
    out.push_back(how);
    if (how == 'x') {
      out.push_back(kHexDigits[byte >> 4]);
      out.push_back(kHexDigits[byte & 15]);
    }
    i = stop + 1;
  }
}

/// Escaped, or '-' when empty.
void AppendText(std::string_view text, std::string& out) {
  if (text.empty()) {
    out.push_back('-');
  } else {
    AppendEscaped(text, out);
  }
}

template <class Number>
void AppendNumber(Number value, std::string& out, int base = 10) {
  std::array<char, 24> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, base).ptr;
  out.append(text.data(), static_cast<size_t>(end - text.data()));
}

void AppendPadded(int64_t value, size_t width, std::string& out) {
  std::array<char, 24> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  const auto size = static_cast<size_t>(end - text.data());
  if (size < width) out.append(width - size, '0');
  out.append(text.data(), size);
}

/// Local time broken down; the last second asked for is remembered per thread.
const std::tm& LocalTime(std::time_t when) {
  thread_local std::time_t last = std::numeric_limits<std::time_t>::min();
  thread_local std::tm local{};
  if (when != last) {
    ::localtime_r(&when, &local);
    last = when;
  }
  return local;
}

void AppendStrftime(const std::string& format, std::time_t when, std::string& out) {
  std::array<char, 512> text;
  const size_t size = std::strftime(text.data(), text.size(), format.c_str(), &LocalTime(when));
  AppendEscaped({text.data(), size}, out);  // a month's name in the operator's locale may be anything
}

/// Value of the first cookie of that name in all Cookie fields; data()==nullptr when missing.
std::string_view FindCookie(const RequestHead& head, std::string_view name) {
  for (const HeaderField& field : head.fields) {
    if (!EqualsIgnoreCase(field.name, "cookie")) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      std::string_view pair = rest.substr(0, rest.find(';'));
      rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
      while (!pair.empty() && (pair.front() == ' ' || pair.front() == '\t')) pair.remove_prefix(1);
      while (!pair.empty() && (pair.back() == ' ' || pair.back() == '\t')) pair.remove_suffix(1);
      const size_t equals = pair.find('=');
      if (equals == std::string_view::npos) continue;
      std::string_view key = pair.substr(0, equals);
      while (!key.empty() && (key.back() == ' ' || key.back() == '\t')) key.remove_suffix(1);
      if (EqualsIgnoreCase(key, name)) return pair.substr(equals + 1);
    }
  }
  return {};
}

void AppendRequestHeader(const RequestHead& head, std::string_view name, Known known, std::string& out) {
  if (known != Known::kCount && !head.Repeated(known)) {
    if (head.Has(known)) {
      AppendEscaped(head.Get(known), out);
    } else {
      out.push_back('-');
    }
    return;
  }
  bool found = false;
  for (const HeaderField& field : head.fields) {
    if (!EqualsIgnoreCase(field.name, name)) continue;
    if (found) out.append(", ");
    found = true;
    AppendEscaped(field.value, out);
  }
  if (!found) out.push_back('-');
}

/// Value of the first field of that name in a response head as sent; data()==nullptr when missing.
std::string_view FindInHead(std::string_view head, std::string_view name) {
  size_t at = head.find('\n');
  while (at != std::string_view::npos) {
    head.remove_prefix(at + 1);
    at = head.find('\n');
    std::string_view line = head.substr(0, at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.size() <= name.size() || line[name.size()] != ':') continue;
    if (!EqualsIgnoreCase(line.substr(0, name.size()), name)) continue;
    line.remove_prefix(name.size() + 1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    return line;
  }
  return {};
}

Known KnownByName(std::string_view name) {
  constexpr std::array<std::string_view, static_cast<size_t>(Known::kCount)> kNames = {
      "host",         "connection", "content-length",    "transfer-encoding",   "expect",
      "range",        "if-range",   "if-modified-since", "if-unmodified-since", "if-none-match",
      "if-match",     "referer",    "user-agent",        "accept-encoding",     "upgrade",
      "authorization"};
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (EqualsIgnoreCase(name, kNames[i])) return static_cast<Known>(i);
  }
  return Known::kCount;
}

constexpr std::string_view kRanOff = "Ran off end of LogFormat parsing args to some directive";

os::Error Invalid(std::string what) {
  return {os::ErrorKind::kInvalid, 0, std::move(what)};
}

}  // namespace

struct LogFormat::Item {
  std::string before;  ///< literal text in front of it
  Kind kind = Kind::kNothing;
  Known known = Known::kCount;
  bool at_end = false;  ///< time of the end of the request, not of its arrival
  bool except_statuses = false;
  bool final = false;  ///< `>`
  std::string argument;
  std::vector<int> statuses;  ///< empty: always
};

LogFormat::LogFormat() = default;
LogFormat::~LogFormat() = default;
LogFormat::LogFormat(LogFormat&&) noexcept = default;
LogFormat& LogFormat::operator=(LogFormat&&) noexcept = default;

namespace {

/// %{argument}t
template <class Item>
void SetTime(Item& item) {
  std::string_view format = item.argument;
  if (format.starts_with("begin:")) {
    format.remove_prefix(6);
  } else if (format.starts_with("end:")) {
    format.remove_prefix(4);
    item.at_end = true;
  }
  constexpr std::array<std::pair<std::string_view, Kind>, 6> kNames = {{{"", Kind::kTime},
                                                                        {"sec", Kind::kTimeSeconds},
                                                                        {"msec", Kind::kTimeMilliseconds},
                                                                        {"usec", Kind::kTimeMicroseconds},
                                                                        {"msec_frac", Kind::kTimeMillisecondFraction},
                                                                        {"usec_frac", Kind::kTimeMicrosecondFraction}}};
  item.kind = Kind::kTimeFormatted;
  for (const auto& [name, kind] : kNames) {
    if (format == name) item.kind = kind;
  }
  item.argument = std::string(format);
}

/// By the letter after the modifiers. kNothing: no such directive.
Kind KindOf(char letter, std::string_view argument) {
  switch (letter) {
    case 'a':
    case 'h':
      return argument == "c" ? Kind::kPeerAddress : Kind::kClientAddress;
    case 'A':
      return Kind::kLocalAddress;
    case 'b':
      return Kind::kBytesClf;
    case 'B':
      return Kind::kBytes;
    case 'C':
      return Kind::kCookie;
    case 'D':
      return Kind::kMicroseconds;
    case 'c':
    case 'x':
      return Kind::kVariable;
    case 'e':
      return Kind::kEnvironment;
    case 'f':
      return Kind::kFile;
    case 'H':
      return Kind::kProtocol;
    case 'i':
      return Kind::kRequestHeader;
    case 'I':
      return Kind::kBytesIn;
    case 'k':
      return Kind::kKeepAliveCount;
    case 'l':
      return Kind::kDash;
    case 'L':
      return argument == "c" ? Kind::kConnectionId : Kind::kRequestId;
    case 'm':
      return Kind::kMethod;
    case 'n':
      return Kind::kNote;
    case 'o':
      return Kind::kResponseHeader;
    case 'O':
      return Kind::kBytesOut;
    case 'p':
      if (EqualsIgnoreCase(argument, "remote")) return Kind::kRemotePort;
      if (EqualsIgnoreCase(argument, "local")) return Kind::kLocalPort;
      if (argument.empty() || EqualsIgnoreCase(argument, "canonical")) return Kind::kServerPort;
      return Kind::kLiteralArgument;
    case 'P':
      if (EqualsIgnoreCase(argument, "hextid")) return Kind::kThreadHex;
      if (EqualsIgnoreCase(argument, "tid")) return Kind::kThread;
      if (argument.empty() || EqualsIgnoreCase(argument, "pid")) return Kind::kPid;
      return Kind::kLiteralArgument;
    case 'q':
      return Kind::kQuery;
    case 'r':
      return Kind::kRequestLine;
    case 'R':
      return Kind::kHandler;
    case 's':
      return Kind::kStatus;
    case 'S':
      return Kind::kBytesBoth;
    case 't':
      return Kind::kTime;
    case 'T':
      if (EqualsIgnoreCase(argument, "ms")) return Kind::kMilliseconds;
      if (EqualsIgnoreCase(argument, "us")) return Kind::kMicroseconds;
      if (argument.empty() || EqualsIgnoreCase(argument, "s")) return Kind::kSeconds;
      return Kind::kLiteralArgument;
    case 'u':
      return Kind::kUser;
    case 'U':
      return Kind::kPath;
    case 'v':
      return Kind::kServerName;
    case 'V':
      return Kind::kHostName;
    case 'X':
      return Kind::kConnectionState;
    default:
      return Kind::kNothing;
  }
}

}  // namespace

os::Result<LogFormat> LogFormat::Compile(std::string_view format) {
  LogFormat compiled;
  std::string literal;
  size_t i = 0;
  const auto more = [&] { return i < format.size(); };
  while (more()) {
    const char c = format[i++];
    if (c == '\\' && more()) {
      switch (const char escaped = format[i++]) {
        case 'n':
          literal.push_back('\n');
          break;
        case 'r':
          literal.push_back('\r');
          break;
        case 't':
          literal.push_back('\t');
          break;
        case '\\':
        case '"':
          literal.push_back(escaped);
          break;
        default:
          literal.append({'\\', escaped});
      }
      continue;
    }
    if (c != '%') {
      literal.push_back(c);
      continue;
    }
    const size_t start = i - 1;
    if (more() && format[i] == '%') {
      literal.push_back('%');
      ++i;
      continue;
    }
    Item item;
    bool modifiers = true;
    while (modifiers && more()) {
      switch (format[i]) {
        case '!':
          item.except_statuses = true;
          ++i;
          break;
        case '>':
          item.final = true;
          ++i;
          break;
        case '<':
          item.final = false;
          ++i;
          break;
        case ',':
          ++i;
          break;
        case '{': {
          const size_t close = format.find('}', i);
          if (close == std::string_view::npos) return Invalid(std::string(kRanOff));
          item.argument = format.substr(i + 1, close - i - 1);
          i = close + 1;
          break;
        }
        default: {
          if (!IsDigit(format[i])) {
            modifiers = false;
            break;
          }
          int status = 0;
          for (; more() && IsDigit(format[i]); ++i) status = std::min(status * 10 + (format[i] - '0'), 1000);
          if (status < 100 || status > 999) {
            return Invalid("LogFormat: not a status in " + std::string(format.substr(start, i - start)));
          }
          item.statuses.push_back(status);
        }
      }
    }
    if (!more()) return Invalid(std::string(kRanOff));
    const char letter = format[i++];
    if (letter == '^') {
      const std::string_view name = format.substr(i, 2);
      i += name.size();
      if (name == "FB") item.kind = Kind::kFirstByte;
      if (name == "ti" || name == "to") item.kind = Kind::kDash;
    } else {
      item.kind = KindOf(letter, item.argument);
    }
    if (item.kind == Kind::kNothing) {
      return Invalid(std::string("Unrecognized LogFormat directive %") + letter);
    }
    if (item.kind == Kind::kTime) SetTime(item);
    if (item.kind == Kind::kRequestHeader) item.known = KnownByName(item.argument);
    if (item.kind == Kind::kDash) {
      literal.push_back('-');
      continue;
    }
    compiled.uses_local_address_ |= item.kind == Kind::kLocalAddress;
    compiled.uses_host_ |= item.kind == Kind::kServerName || item.kind == Kind::kHostName;
    compiled.uses_lookups_ |=
        item.kind == Kind::kEnvironment || item.kind == Kind::kVariable || item.kind == Kind::kNote;
    item.before = std::exchange(literal, {});
    compiled.items_.push_back(std::move(item));
  }
  Item last;
  last.before = std::move(literal);
  last.before.push_back('\n');
  compiled.items_.push_back(std::move(last));
  return compiled;
}

void LogFormat::Render(const LogRecord& record, std::string& out) const {
  const RequestHead* const head = record.head;
  for (const Item& item : items_) {
    if (item.before.size() == 1) {  // mostly: a space
      out.push_back(item.before[0]);
    } else {
      out.append(item.before);
    }
    if (!item.statuses.empty()) {
      const bool listed = std::find(item.statuses.begin(), item.statuses.end(), record.status) != item.statuses.end();
      if (listed == item.except_statuses) {
        out.push_back('-');
        continue;
      }
    }
    const auto time = [&] {
      const auto when = item.at_end
                            ? record.start + chrono::duration_cast<chrono::system_clock::duration>(record.duration)
                            : record.start;
      return chrono::floor<chrono::microseconds>(when.time_since_epoch());
    };
    const auto seconds = [&] { return static_cast<std::time_t>(chrono::floor<chrono::seconds>(time()).count()); };
    switch (item.kind) {
      case Kind::kNothing:
        break;
      case Kind::kDash:
        out.push_back('-');
        break;
      case Kind::kClientAddress:
        AppendText(record.client_address, out);
        break;
      case Kind::kPeerAddress:
        AppendText(record.peer_address.empty() ? record.client_address : record.peer_address, out);
        break;
      case Kind::kLocalAddress:
        AppendText(record.local_address, out);
        break;
      case Kind::kBytesClf:
        if (record.body_bytes == 0) {
          out.push_back('-');
          break;
        }
        [[fallthrough]];
      case Kind::kBytes:
        AppendNumber(record.body_bytes, out);
        break;
      case Kind::kCookie:
        AppendText(head != nullptr ? FindCookie(*head, item.argument) : std::string_view(), out);
        break;
      case Kind::kMicroseconds:
        AppendNumber(chrono::duration_cast<chrono::microseconds>(record.duration).count(), out);
        break;
      case Kind::kMilliseconds:
        AppendNumber(chrono::duration_cast<chrono::milliseconds>(record.duration).count(), out);
        break;
      case Kind::kSeconds:
        AppendNumber(chrono::duration_cast<chrono::seconds>(record.duration).count(), out);
        break;
      case Kind::kLiteralArgument:
        AppendText(item.argument, out);
        break;
      case Kind::kNote:
        AppendText(record.note ? record.note(item.argument) : std::string(), out);
        break;
      case Kind::kConnectionId:
        AppendText(record.connection_id, out);
        break;
      case Kind::kVariable:
        AppendText(record.variable ? record.variable(item.argument) : std::string(), out);
        break;
      case Kind::kEnvironment:
        AppendText(record.environment ? record.environment(item.argument) : std::string(), out);
        break;
      case Kind::kFile:
        AppendText(record.file_name, out);
        break;
      case Kind::kProtocol:
        if (head == nullptr) {
          out.push_back('-');
          break;
        }
        out.append(head->Protocol());
        break;
      case Kind::kRequestHeader:
        if (head != nullptr) {
          AppendRequestHeader(*head, item.argument, item.known, out);
        } else {
          out.push_back('-');
        }
        break;
      case Kind::kKeepAliveCount:
        AppendNumber(record.keep_alive_count, out);
        break;
      case Kind::kRequestId:
        AppendText(record.request_id, out);
        break;
      case Kind::kMethod:
        AppendText(head != nullptr ? head->method_text : std::string_view(), out);
        break;
      case Kind::kResponseHeader:
        if (EqualsIgnoreCase(item.argument, "content-type")) {  // Apache leaves the parameters out
          const std::string_view type = FindInHead(record.response_head, item.argument);
          AppendText(type.substr(0, std::min(type.find_first_of("; "), type.size())), out);
          break;
        }
        AppendText(FindInHead(record.response_head, item.argument), out);
        break;
      case Kind::kServerPort:
        AppendNumber(record.server_port != 0 ? record.server_port : record.local_port, out);
        break;
      case Kind::kLocalPort:
        AppendNumber(record.local_port, out);
        break;
      case Kind::kRemotePort:
        AppendNumber(record.remote_port, out);
        break;
      case Kind::kPid:
        AppendNumber(record.pid, out);
        break;
      case Kind::kThread:
        AppendNumber(record.thread, out);
        break;
      case Kind::kThreadHex:
        AppendNumber(record.thread, out, 16);
        break;
      case Kind::kQuery:
        if (head != nullptr && head->has_query) {
          out.push_back('?');
          AppendEscaped(head->query, out);
        }
        break;
      case Kind::kRequestLine:
        AppendText(head != nullptr ? head->line : record.raw_line, out);
        break;
      case Kind::kHandler:
        AppendText(item.final || record.original_handler.data() == nullptr ? record.handler : record.original_handler,
                   out);
        break;
      case Kind::kStatus:
        AppendNumber(item.final || record.original_status == 0 ? record.status : record.original_status, out);
        break;
      case Kind::kTime:
        out.push_back('[');
        AppendLogTime(seconds(), out);
        out.push_back(']');
        break;
      case Kind::kTimeFormatted:
        AppendStrftime(item.argument, seconds(), out);
        break;
      case Kind::kTimeSeconds:
        AppendNumber(seconds(), out);
        break;
      case Kind::kTimeMilliseconds:
        AppendNumber(chrono::floor<chrono::milliseconds>(time()).count(), out);
        break;
      case Kind::kTimeMicroseconds:
        AppendNumber(time().count(), out);
        break;
      case Kind::kTimeMillisecondFraction:
        AppendPadded((time() - chrono::floor<chrono::seconds>(time())).count() / 1000, 3, out);
        break;
      case Kind::kTimeMicrosecondFraction:
        AppendPadded((time() - chrono::floor<chrono::seconds>(time())).count(), 6, out);
        break;
      case Kind::kUser:
        AppendText(record.user, out);
        break;
      case Kind::kPath: {
        thread_local std::string decoded;
        const bool is_last = item.final && record.last_path.data() != nullptr;
        if (is_last || record.path.data() != nullptr) {
          AppendText(is_last ? record.last_path : record.path, out);
        } else if (head == nullptr) {
          out.push_back('-');
        } else {
          AppendText(DecodePathInto(head->path, decoded) ? std::string_view(decoded) : head->path, out);
        }
        break;
      }
      case Kind::kServerName:
        AppendText(record.server_name, out);
        break;
      case Kind::kHostName:
        AppendText(record.host_name, out);
        break;
      case Kind::kConnectionState:
        out.push_back(record.connection_state);
        break;
      case Kind::kBytesIn:
        AppendNumber(record.bytes_in, out);
        break;
      case Kind::kBytesOut:
        AppendNumber(record.bytes_out, out);
        break;
      case Kind::kBytesBoth:
        AppendNumber(record.bytes_in + record.bytes_out, out);
        break;
      case Kind::kFirstByte:
        if (record.time_to_first_byte.count() == 0) {
          out.push_back('-');
        } else {
          AppendNumber(chrono::duration_cast<chrono::microseconds>(record.time_to_first_byte).count(), out);
        }
        break;
    }
  }
}

}  // namespace httpd::http
