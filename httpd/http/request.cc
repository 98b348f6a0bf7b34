#include "httpd/http/request.h"

#include <emmintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "httpd/http/ascii.h"
#include "httpd/http/field_value.h"

namespace httpd::http {
namespace {

constexpr bool IsAlpha(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

constexpr std::array<bool, 256> MakeTable(std::string_view extra) {
  std::array<bool, 256> table{};
  for (int c = 0; c < 256; ++c) table[c] = IsDigit(static_cast<char>(c)) || IsAlpha(c);
  for (const char c : extra) table[static_cast<unsigned char>(c)] = true;
  return table;
}

constexpr auto kToken = MakeTable("!#$%&'*+-.^_`|~");
constexpr auto kHostChar = MakeTable("-._~!$&'()*+,;=");  // unreserved and sub-delims; '%' is checked apart

constexpr std::array<int8_t, 256> kHex = [] {
  std::array<int8_t, 256> table{};
  table.fill(-1);
  for (int i = 0; i < 10; ++i) table['0' + i] = static_cast<int8_t>(i);
  for (int i = 0; i < 6; ++i) table['a' + i] = table['A' + i] = static_cast<int8_t>(10 + i);
  return table;
}();

bool Token(char c) {
  return kToken[static_cast<unsigned char>(c)];
}
int Hex(char c) {
  return kHex[static_cast<unsigned char>(c)];
}
bool IsBlank(char c) {
  return c == ' ' || c == '\t';
}
/// First byte in [p, end) that is not visible ASCII or is '#': where a request target ends or goes wrong.
const char* SkipTarget(const char* p, const char* end) {
  const __m128i space = _mm_set1_epi8(0x21);
  const __m128i del = _mm_set1_epi8(0x7f);
  const __m128i hash = _mm_set1_epi8('#');
  for (; end - p >= 16; p += 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    // Signed compare: 8-bit bytes are negative, so they stop the scan too.
    const __m128i bad =
        _mm_or_si128(_mm_cmplt_epi8(v, space), _mm_or_si128(_mm_cmpeq_epi8(v, del), _mm_cmpeq_epi8(v, hash)));
    if (const unsigned mask = static_cast<unsigned>(_mm_movemask_epi8(bad))) return p + std::countr_zero(mask);
  }
  while (p<end&& * p> 0x20 && *p != 0x7f && *p != '#') ++p;
  return p;
}

template <class Word>
Word LoadLower(const char* p) {
  Word word;
  std::memcpy(&word, p, sizeof word);
  return word | static_cast<Word>(0x2020202020202020u);
}

/// Compares a field name of exactly N - 1 bytes with a lower-case literal of letters and '-'. Setting bit 5 of every
/// byte is exact here: among token characters only the letter itself maps to each letter, and only '-' to '-'.
template <size_t N>
bool NameIs(const char* p, const char (&literal)[N]) {
  constexpr size_t kSize = N - 1;
  static_assert(kSize >= 4);
  if constexpr (kSize < 8) {
    return LoadLower<uint32_t>(p) == LoadLower<uint32_t>(literal) &&
           LoadLower<uint32_t>(p + kSize - 4) == LoadLower<uint32_t>(literal + kSize - 4);
  } else {
    for (size_t i = 0; i + 8 <= kSize; i += 8) {
      if (LoadLower<uint64_t>(p + i) != LoadLower<uint64_t>(literal + i)) return false;
    }
    return LoadLower<uint64_t>(p + kSize - 8) == LoadLower<uint64_t>(literal + kSize - 8);
  }
}

/// kCount: a header that the server does not read itself.
Known Recognise(const char* p, size_t size) {
  switch (size) {
    case 4:
      return NameIs(p, "host") ? Known::kHost : Known::kCount;
    case 5:
      return NameIs(p, "range") ? Known::kRange : Known::kCount;
    case 6:
      return NameIs(p, "expect") ? Known::kExpect : Known::kCount;
    case 7:
      if (NameIs(p, "referer")) return Known::kReferer;
      return NameIs(p, "upgrade") ? Known::kUpgrade : Known::kCount;
    case 8:
      if (NameIs(p, "if-match")) return Known::kIfMatch;
      return NameIs(p, "if-range") ? Known::kIfRange : Known::kCount;
    case 10:
      if (NameIs(p, "user-agent")) return Known::kUserAgent;
      return NameIs(p, "connection") ? Known::kConnection : Known::kCount;
    case 13:
      if (NameIs(p, "if-none-match")) return Known::kIfNoneMatch;
      return NameIs(p, "authorization") ? Known::kAuthorization : Known::kCount;
    case 14:
      return NameIs(p, "content-length") ? Known::kContentLength : Known::kCount;
    case 15:
      return NameIs(p, "accept-encoding") ? Known::kAcceptEncoding : Known::kCount;
    case 17:
      if (NameIs(p, "if-modified-since")) return Known::kIfModifiedSince;
      return NameIs(p, "transfer-encoding") ? Known::kTransferEncoding : Known::kCount;
    case 19:
      return NameIs(p, "if-unmodified-since") ? Known::kIfUnmodifiedSince : Known::kCount;
    default:
      return Known::kCount;
  }
}

Method MethodOf(std::string_view text) {
  switch (text.size()) {
    case 3:
      if (text == "GET") return Method::kGet;
      if (text == "PUT") return Method::kPut;
      break;
    case 4:
      if (text == "HEAD") return Method::kHead;
      if (text == "POST") return Method::kPost;
      break;
    case 5:
      if (text == "TRACE") return Method::kTrace;
      if (text == "PATCH") return Method::kPatch;
      break;
    case 6:
      if (text == "DELETE") return Method::kDelete;
      break;
    case 7:
      if (text == "OPTIONS") return Method::kOptions;
      if (text == "CONNECT") return Method::kConnect;
      break;
    default:
      break;
  }
  return Method::kOther;
}

/// uri-host [ ":" port ]; no user information. An empty host is the caller's question.
bool ValidAuthority(std::string_view text) {
  const char* p = text.data();
  const char* const end = p + text.size();
  if (p < end && *p == '[') {
    const void* close = std::memchr(p, ']', text.size());
    if (close == nullptr) return false;
    const char* const last = static_cast<const char*>(close);
    bool colon = false;
    for (++p; p < last; ++p) {
      colon |= *p == ':';
      if (Hex(*p) < 0 && *p != ':' && *p != '.') return false;
    }
    if (!colon) return false;
    ++p;
  } else {
    for (; p < end && *p != ':'; ++p) {
      if (kHostChar[static_cast<unsigned char>(*p)]) continue;
      if (*p != '%' || end - p < 3 || Hex(p[1]) < 0 || Hex(p[2]) < 0) return false;
      p += 2;
    }
  }
  if (p == end) return true;
  if (*p++ != ':') return false;
  unsigned port = 0;
  for (; p < end; ++p) {
    if (!IsDigit(*p)) return false;
    port = port * 10 + static_cast<unsigned>(*p - '0');
    if (port > 65535) return false;
  }
  return true;
}

/// Splits target into path, query and authority by its form. Returns why it is bad, or nullptr.
const char* SplitTarget(RequestHead& out) {
  const std::string_view target = out.target;
  std::string_view rest = target;
  if (out.method == Method::kConnect) {
    const size_t colon = target.rfind(':');
    if (colon == std::string_view::npos || colon == 0 || colon + 1 == target.size() || !ValidAuthority(target) ||
        target.back() == ']') {
      return "CONNECT needs host:port as its target";
    }
    out.authority = target;
    out.path = target.substr(target.size());
    return nullptr;
  }
  if (target == "*") {
    if (out.method != Method::kOptions) return "target * is for OPTIONS only";
    out.path = target;
    return nullptr;
  }
  if (target[0] != '/') {
    size_t scheme = 0;
    if (target.size() > 7 && EqualsIgnoreCase(target.substr(0, 7), "http://")) scheme = 7;
    if (target.size() > 8 && EqualsIgnoreCase(target.substr(0, 8), "https://")) scheme = 8;
    if (scheme == 0) return "target is neither a path nor an http URI";
    const size_t end = target.find_first_of("/?", scheme);
    out.authority = target.substr(scheme, end == std::string_view::npos ? end : end - scheme);
    if (out.authority.empty() || out.authority[0] == ':' || !ValidAuthority(out.authority)) {
      return "bad authority in the target";
    }
    rest = end == std::string_view::npos ? target.substr(target.size()) : target.substr(end);
  }
  if (const void* mark = rest.empty() ? nullptr : std::memchr(rest.data(), '?', rest.size())) {
    const size_t at = static_cast<size_t>(static_cast<const char*>(mark) - rest.data());
    out.query = rest.substr(at + 1);
    out.has_query = true;
    rest = rest.substr(0, at);
  }
  out.path = rest.empty() ? std::string_view("/") : rest;
  return nullptr;
}

/// Calls `each` for every element of a comma-separated list, empty ones included.
template <class Each>
void ForEachElement(std::string_view list, Each each) {
  for (;;) {
    const size_t comma = list.find(',');
    each(Trimmed(list.substr(0, comma)));
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

/// What the framing and connection headers said; judged once the head is complete.
struct Facts {
  bool close = false;
  bool keep_alive = false;
  bool other_expectation = false;
  bool bad_length = false;
  bool unknown_coding = false;
  bool bad_coding = false;
};

void ReadConnection(std::string_view value, Facts& facts) {
  if (value.size() == 10 && EqualsIgnoreCase(value, "keep-alive")) {
    facts.keep_alive = true;
    return;
  }
  ForEachElement(value, [&facts](std::string_view element) {
    if (EqualsIgnoreCase(element, "close")) facts.close = true;
    if (EqualsIgnoreCase(element, "keep-alive")) facts.keep_alive = true;
  });
}

void ReadContentLength(std::string_view value, RequestHead& out, Facts& facts) {
  uint64_t length = 0;
  // 19 digits cannot overflow 64 bits, and leading zeros beyond that are somebody's trick.
  if (value.empty() || value.size() > 19) facts.bad_length = true;
  for (const char c : value) {
    if (!IsDigit(c)) {
      facts.bad_length = true;
      return;
    }
    length = length * 10 + static_cast<uint64_t>(c - '0');
  }
  if (length > INT64_MAX) facts.bad_length = true;
  out.content_length = length;
}

void ReadTransferEncoding(std::string_view value, RequestHead& out, Facts& facts) {
  ForEachElement(value, [&](std::string_view element) {
    if (out.chunked || element.empty()) {
      facts.bad_coding = true;  // something after chunked, chunked twice, or an empty element
    } else if (EqualsIgnoreCase(element, "chunked")) {
      out.chunked = true;
    } else if (!Token(element[0])) {
      facts.bad_coding = true;
    } else {
      facts.unknown_coding = true;
    }
  });
}

void ReadKnown(Known which, std::string_view value, RequestHead& out, Facts& facts) {
  switch (which) {
    case Known::kConnection:
      ReadConnection(value, facts);
      break;
    case Known::kContentLength:
      ReadContentLength(value, out, facts);
      break;
    case Known::kTransferEncoding:
      ReadTransferEncoding(value, out, facts);
      break;
    case Known::kExpect:
      if (EqualsIgnoreCase(value, "100-continue")) {
        out.expect_continue = true;
      } else {
        facts.other_expectation = true;
      }
      break;
    default:
      break;
  }
}

/// Rules that need the whole head. nullptr: fine; otherwise why not, with the status.
const char* Judge(RequestHead& out, const Facts& facts, int& status) {
  status = 400;
  if (out.Repeated(Known::kHost)) return "more than one Host";
  if (out.Has(Known::kHost)) {
    const std::string_view host = out.Get(Known::kHost);
    if (!ValidAuthority(host)) return "bad Host";
    if (host.empty() && out.authority.data() == nullptr) return "empty Host";  // every http URI names a host
    if (out.authority.data() == nullptr) out.authority = host;
  } else if (out.minor >= 1) {
    return "HTTP/1.1 without Host";
  }
  if (out.Has(Known::kTransferEncoding)) {
    if (out.minor < 1) return "Transfer-Encoding in HTTP/1.0";
    if (out.Has(Known::kContentLength)) return "Content-Length together with Transfer-Encoding";
    if (facts.bad_coding) return "bad Transfer-Encoding";
    if (facts.unknown_coding) {
      status = 501;
      return "unknown transfer coding";
    }
  }
  if (facts.bad_length) return "bad Content-Length";
  if (out.Repeated(Known::kContentLength)) return "more than one Content-Length";
  out.keep_alive = !facts.close && (out.minor >= 1 || facts.keep_alive);
  if (out.minor < 1) {
    out.expect_continue = false;  // RFC 9110 10.1.1: HTTP/1.0 does not have it
  } else if (facts.other_expectation) {
    status = 417;
    return "unknown expectation";
  }
  if (!out.chunked && out.content_length.value_or(0) == 0) out.expect_continue = false;
  return nullptr;
}

ParseResult Incomplete() {
  return {};
}

ParseResult Bad(int status, const char* reason) {
  return {ParseResult::State::kBad, 0, status, reason};
}

/// What there is of the request line, for the log.
ParseResult BadLine(int status, const char* reason, const char* line, const char* end, RequestHead& out) {
  const char* last = line;
  while (last < end && *last != '\r' && *last != '\n') ++last;
  out.line = {line, static_cast<size_t>(last - line)};
  return Bad(status, reason);
}

}  // namespace

std::string_view RequestHead::Protocol() const {
  static constexpr std::array<std::string_view, 10> kVersions = {"HTTP/1.0", "HTTP/1.1", "HTTP/1.2", "HTTP/1.3",
                                                                 "HTTP/1.4", "HTTP/1.5", "HTTP/1.6", "HTTP/1.7",
                                                                 "HTTP/1.8", "HTTP/1.9"};
  return major == 2 ? std::string_view("HTTP/2.0") : kVersions[static_cast<size_t>(minor)];
}

std::string_view RequestHead::Find(std::string_view name) const {
  for (const HeaderField& field : fields) {
    if (EqualsIgnoreCase(field.name, name)) return field.value;
  }
  return {};
}

void RequestHead::Clear() {
  line = method_text = target = path = query = authority = {};
  method = Method::kOther;
  has_query = false;
  major = 1;
  minor = 1;
  keep_alive = true;
  chunked = false;
  expect_continue = false;
  content_length.reset();
  fields.clear();
  known.fill({});
  repeated = 0;
}

void RequestHead::MoveTo(std::string_view from, const char* to) {
  const auto move = [from, to](std::string_view& view) {
    if (view.data() < from.data() || view.data() > from.data() + from.size()) return;
    view = {to + (view.data() - from.data()), view.size()};
  };
  for (std::string_view* view : {&line, &method_text, &target, &path, &query, &authority}) move(*view);
  for (HeaderField& field : fields) {
    move(field.name);
    move(field.value);
  }
  for (std::string_view& view : known) move(view);
}

ParseResult ParseRequestHead(std::string_view buffer, const HeadLimits& limits, RequestHead& out) {
  out.Clear();
  const char* p = buffer.data();
  const char* const end = p + buffer.size();

  constexpr int kMaxEmptyLines = 8;
  for (int empty = 0; p < end && *p == '\r'; ++empty) {
    if (end - p < 2) return Incomplete();
    if (p[1] != '\n') return Bad(400, "bare CR");
    if (empty == kMaxEmptyLines) return Bad(400, "too many empty lines before the request");
    p += 2;
  }
  if (p == end) return Incomplete();

  // Request line. Scanning stops at `cap`, so that what is judged does not depend on how much has arrived.
  const char* const line = p;
  const bool line_capped = static_cast<size_t>(end - p) > limits.line;
  const char* const cap = line_capped ? p + limits.line : end;
  const auto more_line = [&] {
    return line_capped ? BadLine(414, "request line too long", line, cap, out) : Incomplete();
  };
  const auto bad_line = [&](int status, const char* reason) { return BadLine(status, reason, line, cap, out); };

  while (p < cap && Token(*p)) ++p;
  if (p == cap) return more_line();
  if (*p != ' ' || p == line) return bad_line(400, "bad method");
  out.method_text = {line, static_cast<size_t>(p - line)};
  out.method = MethodOf(out.method_text);
  const char* const target = ++p;
  p = SkipTarget(p, cap);
  if (p == cap) return more_line();
  if (*p != ' ' || p == target) {
    return bad_line(400, *p == '\r' ? "request line without a version" : "bad byte in the target");
  }
  out.target = {target, static_cast<size_t>(p - target)};
  ++p;
  constexpr std::string_view kVersion = "HTTP/";
  for (size_t i = 0; i < 8; ++i) {
    if (p + i >= cap) return more_line();
    const unsigned char c = static_cast<unsigned char>(p[i]);
    const bool good = i < 5    ? c == static_cast<unsigned char>(kVersion[i])
                      : i == 6 ? c == '.'
                               : IsDigit(static_cast<char>(c));
    if (!good) return bad_line(400, "bad version");
  }
  const int major = p[5] - '0';
  out.minor = p[7] - '0';
  p += 8;
  if (p == end) return Incomplete();
  if (*p != '\r') return line_capped && p == cap ? more_line() : bad_line(400, "bytes after the version");
  if (end - p < 2) return Incomplete();
  if (p[1] != '\n') return bad_line(400, "bare CR");
  out.line = {line, static_cast<size_t>(p - line)};
  p += 2;
  if (major != 1) return Bad(505, "HTTP version not supported");
  if (const char* reason = SplitTarget(out)) return Bad(400, reason);

  // Fields.
  Facts facts;
  for (;;) {
    if (p == end) return Incomplete();
    if (*p == '\r') {
      if (end - p < 2) return Incomplete();
      if (p[1] != '\n') return Bad(400, "bare CR");
      p += 2;
      break;
    }
    const char* const name = p;
    const bool capped = static_cast<size_t>(end - p) > limits.field_size;
    const char* const stop = capped ? p + limits.field_size : end;
    const auto more_field = [&] { return capped ? Bad(431, "header field too long") : Incomplete(); };
    if (limits.fields != 0 && out.fields.size() == limits.fields) return Bad(431, "too many header fields");
    while (p < stop && Token(*p)) ++p;
    if (p == stop) return more_field();
    if (*p != ':' || p == name) {
      if (p == name && IsBlank(*p)) return Bad(400, "folded header line");
      if (*p == '\n') return Bad(400, "bare LF");
      return Bad(400, IsBlank(*p) ? "white space in or after a header name" : "bad header name");
    }
    const size_t name_size = static_cast<size_t>(p - name);
    ++p;
    while (p < stop && IsBlank(*p)) ++p;
    const char* const value = p;
    p = SkipFieldValue(p, stop);
    if (p == end) return more_field();
    if (*p != '\r') {
      if (p == stop) return more_field();
      return Bad(400, *p == '\n' ? "bare LF" : "control byte in a header");
    }
    if (end - p < 2) return Incomplete();
    if (p[1] != '\n') return Bad(400, "bare CR");
    const char* last = p;
    while (last > value && IsBlank(last[-1])) --last;
    p += 2;
    const std::string_view text(value, static_cast<size_t>(last - value));
    out.fields.push_back({{name, name_size}, text});
    const Known which = Recognise(name, name_size);
    if (which == Known::kCount) continue;
    std::string_view& slot = out.known[static_cast<size_t>(which)];
    if (slot.data() == nullptr) {
      slot = text;
    } else {
      out.repeated |= 1u << static_cast<unsigned>(which);
    }
    ReadKnown(which, text, out, facts);
  }

  int status = 0;
  if (const char* reason = Judge(out, facts, status)) return Bad(status, reason);
  return {ParseResult::State::kComplete, static_cast<size_t>(p - buffer.data()), 0, ""};
}

ParseResult CompleteHead(std::string_view method, std::string_view target, std::string_view authority,
                         RequestHead& out) {
  out.major = 2;
  out.minor = 1;
  out.method_text = method;
  out.method = MethodOf(method);
  out.target = target;
  const bool is_path = !target.empty() && (target[0] == '/' || target == "*");
  if (!is_path && out.method != Method::kConnect) return Bad(400, "target is no path");
  const char* const end = target.data() + target.size();
  if (SkipTarget(target.data(), end) != end) return Bad(400, "bad byte in the target");
  if (const char* reason = SplitTarget(out)) return Bad(400, reason);
  Facts facts;
  for (const HeaderField& field : out.fields) {
    const Known which = Recognise(field.name.data(), field.name.size());
    if (which == Known::kCount) continue;
    std::string_view& slot = out.known[static_cast<size_t>(which)];
    if (slot.data() == nullptr) {
      slot = field.value;
    } else {
      out.repeated |= 1u << static_cast<unsigned>(which);
    }
    ReadKnown(which, field.value, out, facts);
  }
  if (authority.data() != nullptr) {
    if (!out.Has(Known::kHost)) {
      out.fields.push_back({"host", authority});
      out.known[static_cast<size_t>(Known::kHost)] = authority;
    } else if (!EqualsIgnoreCase(out.Get(Known::kHost), authority)) {
      return Bad(400, "Host is not :authority");
    }
  }
  int status = 0;
  if (const char* reason = Judge(out, facts, status)) return Bad(status, reason);
  return {ParseResult::State::kComplete, 0, 0, ""};
}

void BodyReader::Start(const RequestHead& head, uint64_t max_bytes) {
  *this = BodyReader();
  max_bytes_ = max_bytes;
  if (head.chunked) {
    phase_ = Phase::kChunkSize;
    return;
  }
  left_ = head.content_length.value_or(0);
  if (left_ == 0) return;
  phase_ = Phase::kLength;
  if (max_bytes_ != 0 && left_ > max_bytes_) {
    phase_ = Phase::kBad;
    bad_status_ = 413;
  }
}

void BodyReader::StartLength(uint64_t bytes) {
  *this = BodyReader();
  left_ = bytes;
  if (bytes != 0) phase_ = Phase::kLength;
}

void BodyReader::StartChunked() {
  *this = BodyReader();
  phase_ = Phase::kChunkSize;
}

void BodyReader::StartEndless() {
  *this = BodyReader();
  phase_ = Phase::kEndless;
}

/// One byte of an extension other than CR. False: malformed.
bool BodyReader::FeedExtension(unsigned char c) {
  using enum Extension;
  const bool blank = c == ' ' || c == '\t';
  switch (extension_) {
    case kNameStart:
      if (!blank) extension_ = kName;
      return blank || kToken[c];
    case kName:
    case kNameSpace:
      if (extension_ == kName && kToken[c]) return true;
      if (c == ';') extension_ = kNameStart;
      if (c == '=') extension_ = kValueStart;
      if (blank) extension_ = kNameSpace;
      return blank || c == ';' || c == '=';
    case kValueStart:
      if (blank) return true;
      extension_ = c == '"' ? kQuoted : kTokenValue;
      return c == '"' || kToken[c];
    case kTokenValue:
    case kQuotedEnd:
    case kSpace:
      if (extension_ == kTokenValue && kToken[c]) return true;
      extension_ = c == ';' ? kNameStart : kSpace;
      return c == ';' || blank;
    case kQuoted:
      if (c == '"') extension_ = kQuotedEnd;
      if (c == '\\') extension_ = kQuotedPair;
      return FieldByte(c);
    case kQuotedPair:
      extension_ = kQuoted;
      return FieldByte(c);
  }
  return false;
}

BodyReader::Step BodyReader::Feed(std::string_view input) {
  constexpr uint32_t kMaxOverhead = 16 * 1024;
  constexpr uint32_t kMaxDigits = 16;
  Step step;
  size_t at = 0;
  const auto bad = [&](int status) {
    phase_ = Phase::kBad;
    bad_status_ = status;
    step.state = Step::State::kBad;
    step.status = status;
    step.consumed = at;
    return step;
  };
  for (;;) {
    if (phase_ == Phase::kDone) {
      step.state = Step::State::kDone;
      break;
    }
    if (phase_ == Phase::kBad) return bad(bad_status_);
    if (at == input.size()) break;
    if (phase_ == Phase::kEndless) {
      step.data = input;
      at = input.size();
      received_ += at;
      break;
    }
    if (phase_ == Phase::kLength || phase_ == Phase::kChunkData) {
      if (!step.data.empty()) break;  // one span of data per step
      const size_t take = static_cast<size_t>(std::min<uint64_t>(left_, input.size() - at));
      step.data = input.substr(at, take);
      at += take;
      left_ -= take;
      received_ += take;
      if (left_ == 0) phase_ = phase_ == Phase::kLength ? Phase::kDone : Phase::kChunkDataCr;
      continue;
    }
    const unsigned char c = static_cast<unsigned char>(input[at++]);
    switch (phase_) {
      case Phase::kChunkSize:
        if (kHex[c] >= 0) {
          if (++digits_ > kMaxDigits) return bad(400);
          left_ = left_ << 4 | static_cast<uint64_t>(kHex[c]);
        } else if (digits_ == 0) {
          return bad(400);
        } else if (c == ';') {
          phase_ = Phase::kExtension;
          extension_ = Extension::kNameStart;
        } else if (c == '\r') {
          phase_ = Phase::kChunkSizeLf;
        } else {
          return bad(400);
        }
        break;
      case Phase::kExtension:
        if (++overhead_ > kMaxOverhead) return bad(400);
        if (c == '\r') {
          if (extension_ != Extension::kName && extension_ != Extension::kTokenValue &&
              extension_ != Extension::kQuotedEnd) {
            return bad(400);
          }
          phase_ = Phase::kChunkSizeLf;
        } else if (!FeedExtension(c)) {
          return bad(400);
        }
        break;
      case Phase::kChunkSizeLf:
        if (c != '\n') return bad(400);
        digits_ = 0;
        if (left_ > INT64_MAX - received_) return bad(max_bytes_ != 0 && left_ <= INT64_MAX ? 413 : 400);
        if (max_bytes_ != 0 && left_ > max_bytes_ - received_) return bad(413);
        phase_ = left_ == 0 ? Phase::kTrailerStart : Phase::kChunkData;
        break;
      case Phase::kChunkDataCr:
        if (c != '\r') return bad(400);
        phase_ = Phase::kChunkDataLf;
        break;
      case Phase::kChunkDataLf:
        if (c != '\n') return bad(400);
        phase_ = Phase::kChunkSize;
        break;
      case Phase::kTrailerStart:
        if (c == '\r') {
          phase_ = Phase::kEndLf;
          break;
        }
        if (!kToken[c] || ++overhead_ > kMaxOverhead) return bad(400);
        phase_ = Phase::kTrailerName;
        break;
      case Phase::kTrailerName:
        if (++overhead_ > kMaxOverhead) return bad(400);
        if (c == ':') {
          phase_ = Phase::kTrailerValue;
        } else if (!kToken[c]) {
          return bad(400);
        }
        break;
      case Phase::kTrailerValue:
        if (++overhead_ > kMaxOverhead) return bad(400);
        if (c == '\r') {
          phase_ = Phase::kTrailerLf;
        } else if (!FieldByte(c)) {
          return bad(400);
        }
        break;
      case Phase::kTrailerLf:
        if (c != '\n') return bad(400);
        phase_ = Phase::kTrailerStart;
        break;
      case Phase::kEndLf:
        if (c != '\n') return bad(400);
        phase_ = Phase::kDone;
        break;
      default:
        return bad(400);
    }
  }
  step.consumed = at;
  return step;
}

void IndexKnown(RequestHead& head) {
  head.known.fill(std::string_view());
  head.repeated = 0;
  for (const HeaderField& field : head.fields) {
    const Known which = Recognise(field.name.data(), field.name.size());
    if (which == Known::kCount) continue;
    std::string_view& slot = head.known[static_cast<size_t>(which)];
    if (slot.data()) {
      head.repeated |= 1u << static_cast<unsigned>(which);
    } else {
      slot = field.value;
    }
  }
}

}  // namespace httpd::http
