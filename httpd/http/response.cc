#include "httpd/http/response.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "httpd/http/ascii.h"
#include "httpd/http/field_value.h"

namespace httpd::http {

namespace {

constexpr size_t kShown = 100;

constexpr std::array<bool, 256> kToken = [] {
  std::array<bool, 256> table{};
  for (int c = 0; c < 128; ++c) {
    table[static_cast<size_t>(c)] = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  }
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

bool IsBlank(char c) {
  return c == ' ' || c == '\t';
}

/// No control bytes but tabs.
bool IsText(std::string_view text) {
  const char* const end = text.data() + text.size();
  return SkipFieldValue(text.data(), end) == end;
}

AnswerField KindOf(std::string_view name) {
  using enum AnswerField;
  const auto is = [name](std::string_view other, AnswerField kind) {
    return EqualsIgnoreCase(name, other) ? kind : kOther;
  };
  switch (name.size()) {
    case 2:
      return is("te", kTe);
    case 3:
      return is("uri", kUri);
    case 4:
      return is("date", kDate);
    case 6:
      return is("server", kServer);
    case 7:
      if (Lower(name[0]) == 't') return is("trailer", kTrailer);
      return Lower(name[0]) == 'u' ? is("upgrade", kUpgrade) : is("refresh", kRefresh);
    case 8:
      return is("location", kLocation);
    case 10:
      if (Lower(name[0]) == 's') return is("set-cookie", kSetCookie);
      return Lower(name[0]) == 'c' ? is("connection", kConnection) : is("keep-alive", kKeepAlive);
    case 11:
      return is("destination", kDestination);
    case 12:
      return is("content-type", kContentType);
    case 14:
      return is("content-length", kContentLength);
    case 16:
      return Lower(name[0]) == 'c' ? is("content-location", kContentLocation)
                                   : is("proxy-connection", kProxyConnection);
    case 17:
      return is("transfer-encoding", kTransferEncoding);
    default:
      return kOther;
  }
}

/// Calls `each` for the elements of a comma-separated list that are not empty.
template <class Each>
void ForEachElement(std::string_view list, Each each) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (const auto element = Trimmed(list.substr(0, comma)); !element.empty()) each(element);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
}

/// nullptr: fine; otherwise what is wrong.
const char* ReadStatusLine(std::string_view line, ResponseHead& out) {
  const auto digit = [&line](size_t at) { return IsDigit(line[at]); };
  if (line.size() < 12 || !line.starts_with("HTTP/") || !digit(5) || line[6] != '.' || !digit(7) || line[8] != ' ' ||
      !digit(9) || !digit(10) || !digit(11) || (line.size() > 12 && line[12] != ' ') || !IsText(line)) {
    return "Corrupt status line returned by remote server";
  }
  if (line[5] != '1') return "Unsupported HTTP version in the status line returned by remote server";
  out.minor = line[7] - '0';
  out.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  if (out.status < 100) return "Corrupt status line returned by remote server";
  out.reason = Trimmed(line.substr(12));
  out.keep_alive = out.minor >= 1;
  return nullptr;
}

const char* ReadLength(std::string_view value, ResponseHead& out) {
  uint64_t length = 0;
  if (value.empty() || value.size() > 18) return "Bad Content-Length returned by remote server";
  for (const char c : value) {
    if (!IsDigit(c)) return "Bad Content-Length returned by remote server";
    length = length * 10 + static_cast<uint64_t>(c - '0');
  }
  if (out.content_length && *out.content_length != length) return "Several Content-Length returned by remote server";
  out.content_length = length;
  return nullptr;
}

const char* ReadCoding(std::string_view value, ResponseHead& out) {
  bool is_known = true;
  ForEachElement(value, [&](std::string_view coding) {
    is_known = is_known && !out.chunked && EqualsIgnoreCase(coding, "chunked");
    out.chunked = true;
  });
  return is_known && out.chunked ? nullptr : "Unknown Transfer-Encoding returned by remote server";
}

void ReadConnection(std::string_view value, ResponseHead& out) {
  ForEachElement(value, [&out](std::string_view option) {
    if (EqualsIgnoreCase(option, "close")) out.keep_alive = false;
    if (out.minor == 0 && EqualsIgnoreCase(option, "keep-alive")) out.keep_alive = true;
  });
}

}  // namespace

void ResponseHead::Clear() {
  status = 0;
  reason = {};
  minor = 1;
  keep_alive = true;
  chunked = has_both = false;
  content_length.reset();
  fields.clear();
}

const ResponseField* ResponseHead::Find(AnswerField kind) const {
  const auto found =
      std::find_if(fields.begin(), fields.end(), [kind](const auto& field) { return field.kind == kind; });
  return found == fields.end() ? nullptr : &*found;
}

ResponseResult ParseResponseHead(std::string_view buffer, const ResponseLimits& limits, ResponseHead& out) {
  out.Clear();
  const size_t most = std::max(limits.head_size, limits.field_size);
  bool must_close = false;
  bool is_first = true;
  const auto bad = [&is_first](const char* reason, std::string_view line) {
    ResponseResult result;
    result.state = ResponseResult::State::kBad;
    result.reason = reason;
    result.line = line.substr(0, kShown);
    result.is_status_line = is_first;
    return result;
  };
  const auto complete = [&](size_t consumed) {
    if (out.chunked && out.content_length) {
      out.content_length.reset();
      out.has_both = true;
    }
    // Framing that an older or a careless recipient understands differently: nothing more is read from there.
    if (out.has_both || (out.chunked && out.minor == 0)) must_close = true;
    if (must_close) out.keep_alive = false;
    ResponseResult result;
    result.state = ResponseResult::State::kComplete;
    result.consumed = consumed;
    return result;
  };
  for (size_t at = 0;;) {
    const size_t end = buffer.find('\n', at);
    std::string_view line = buffer.substr(at, end == std::string_view::npos ? end : end - at);
    if (line.size() > limits.field_size + 1) return bad("Header line too long returned by remote server", line);
    if (at + line.size() > most) return bad("Header too long returned by remote server", line);
    if (end == std::string_view::npos) return {};
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (is_first) {
      if (line.empty() && at == 0) {  // one stray line end behind the answer before, as Apache
        at = end + 1;
        continue;
      }
      if (const char* reason = ReadStatusLine(line, out)) return bad(reason, line);
      is_first = false;
      at = end + 1;
      continue;
    }
    if (line.empty()) return complete(end + 1);
    const size_t colon = line.find(':');
    std::string_view name = line.substr(0, std::min(colon, line.size()));
    while (!name.empty() && IsBlank(name.back())) name.remove_suffix(1);
    const bool is_field =
        colon != std::string_view::npos && !name.empty() &&
        std::all_of(name.begin(), name.end(), [](char c) { return kToken[static_cast<unsigned char>(c)]; }) &&
        IsText(line.substr(colon + 1));
    if (!is_field) {
      if (limits.bad_lines == BadLine::kIsError) return bad("Bad header line returned by remote server", line);
      if (limits.bad_lines == BadLine::kStartBody) {
        must_close = true;
        out.content_length.reset();
        out.chunked = false;
        ResponseResult result = complete(at);
        result.body_has_begun = true;
        return result;
      }
      at = end + 1;
      continue;
    }
    if (out.fields.size() == limits.fields) return bad("Too many header lines returned by remote server", line);
    const std::string_view value = Trimmed(line.substr(colon + 1));
    const AnswerField kind = KindOf(name);
    out.fields.push_back({name, value, kind});
    const char* reason = nullptr;
    if (kind == AnswerField::kContentLength) reason = ReadLength(value, out);
    if (kind == AnswerField::kTransferEncoding) reason = ReadCoding(value, out);
    if (kind == AnswerField::kConnection) ReadConnection(value, out);
    if (reason) return bad(reason, line);
    at = end + 1;
  }
}

}  // namespace httpd::http
