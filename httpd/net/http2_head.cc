// Heads: the fields of a request in, those of its answer out.
#include <algorithm>
#include <charconv>

#include "httpd/http/ascii.h"
#include "httpd/http/content_coding.h"
#include "httpd/http/values.h"
#include "httpd/net/http2.h"

namespace httpd::net {

namespace {

constexpr size_t kMostHead = 60U << 10;  // of one request, as for HTTP/1

/// Of the connection, which HTTP/2 does not have. RFC 9113 8.2.2
bool IsForHttp1(std::string_view name) {
  switch (name.size()) {
    case 7:
      return name == "upgrade";
    case 10:
      return name == "connection" || name == "keep-alive";
    case 16:
      return name == "proxy-connection";
    case 17:
      return name == "transfer-encoding";
    case 14:
      return name == "http2-settings";
    default:
      return false;
  }
}

void Lower(char* text, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (text[i] >= 'A' && text[i] <= 'Z') text[i] = static_cast<char>(text[i] | 0x20);
  }
}

/// Lower-cases the names of fields as HTTP/1 has them. @return where those are that HTTP/2 has too
std::vector<Http2Stream::Field> LowerNames(std::string& fields) {
  std::vector<Http2Stream::Field> out;
  for (size_t at = 0; at < fields.size();) {
    const size_t end = std::min(fields.find("\r\n", at), fields.size());
    const size_t colon = std::min(fields.find(':', at), end);
    if (colon > at && colon < end) {
      Lower(fields.data() + at, colon - at);
      size_t value = colon + 1;
      while (value < end && (fields[value] == ' ' || fields[value] == '\t')) ++value;
      if (!IsForHttp1({fields.data() + at, colon - at})) {
        out.push_back({{static_cast<uint32_t>(at), static_cast<uint32_t>(colon - at)},
                       {static_cast<uint32_t>(value), static_cast<uint32_t>(end - value)}});
      }
    }
    at = end + 2;
  }
  return out;
}

/// base64url without padding, as HTTP2-Settings has it. RFC 7540 3.2.1
std::optional<std::string> DecodeSettings(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    int value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = c - 'A';
    } else if (c >= 'a' && c <= 'z') {
      value = c - 'a' + 26;
    } else if (c >= '0' && c <= '9') {
      value = c - '0' + 52;
    } else if (c == '-' || c == '_') {
      value = c == '-' ? 62 : 63;
    } else {
      return std::nullopt;
    }
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  if (out.size() % 6 != 0) return std::nullopt;
  return out;
}

}  // namespace

void Http2Stream::LetGo() {
  for (nghttp2_rcbuf* one : kept) nghttp2_rcbuf_decref(one);
  kept.clear();
}

bool Http2::AddField(Http2Stream& s, std::string_view name, std::string_view value) {
  if (s.bad_status == 431) return false;
  const http::HeadLimits& limits = loop_.handler_.Limits();
  const size_t size = name.size() + value.size();
  const bool is_path = name == ":path";
  if (s.head_bytes + size > kMostHead || (!is_path && size + 2 > limits.field_size)) {
    s.bad_status = 431;
    s.bad_reason = "header field too long";
    return false;
  }
  if (name[0] == ':') {
    if (is_path) {
      s.path = value;
    } else if (name == ":method") {
      s.method = value;
    } else if (name == ":authority") {
      s.authority = value;
    } else {
      return false;
    }
  } else if (limits.fields != 0 && s.head.fields.size() == limits.fields) {
    s.bad_status = 431;
    s.bad_reason = "too many header fields";
    return false;
  } else {
    s.head.fields.push_back({name, value});
    s.cookies += name == "cookie" ? 1 : 0;
    s.has_length = s.has_length || name == "content-length";
  }
  s.head_bytes += size;
  head_bytes_ += size;
  return true;
}

void Http2::JoinCookies(Http2Stream& s) {
  http::HeaderField* first = nullptr;
  const size_t at = s.text.size();
  for (http::HeaderField& field : s.head.fields) {
    if (field.name != "cookie") continue;
    if (first) s.text.append("; ");
    if (!first) first = &field;
    s.text.append(field.value);
  }
  first->value = std::string_view(s.text).substr(at);
  std::erase_if(s.head.fields,
                [first](const http::HeaderField& field) { return &field > first && field.name == "cookie"; });
}

void Http2::BuildHead(Http2Stream& s) {
  constexpr std::string_view kVersion = " HTTP/2.0";
  const std::string_view path = s.path.empty() ? s.authority : s.path;
  const size_t line_size = s.method.size() + 1 + path.size() + kVersion.size();
  size_t size = line_size;
  if (s.cookies > 1) {
    for (const http::HeaderField& field : s.head.fields) size += field.name == "cookie" ? field.value.size() + 2 : 0;
  }
  s.text.reserve(size);  // then it stays where it is
  s.text.append(s.method).append(" ").append(path).append(kVersion);
  if (s.cookies > 1) JoinCookies(s);
  s.head_bytes += s.text.size();
  head_bytes_ += s.text.size();
  http::RequestHead& head = s.head;
  head.line = std::string_view(s.text).substr(0, line_size);
  head.method_text = head.line.substr(0, s.method.size());
  if (s.bad_status == 0 && line_size > loop_.handler_.Limits().line) {
    s.bad_status = 414;
    s.bad_reason = "request line too long";
  }
  if (s.bad_status != 0) return;
  const auto result =
      http::CompleteHead(head.method_text, head.line.substr(s.method.size() + 1, path.size()), s.authority, head);
  if (result.state != http::ParseResult::State::kBad) return;
  s.bad_status = result.status;
  s.bad_reason = result.reason;
}

void Http2::TakeHead(Http2Stream& s, bool ends) {
  s.body_ended = ends;
  s.head.chunked = !ends && !s.has_length;
  BuildHead(s);
  if (!ends && s.bad_status == 0) {
    BeginUpload(s);
  } else {
    MakeReady(s);
  }
}

void Http2::TakeUpgraded(const http::RequestHead& head) {
  const auto settings = DecodeSettings(head.Find("HTTP2-Settings"));
  const bool is_head = head.method == http::Method::kHead;
  if (!settings || nghttp2_session_upgrade2(session_, reinterpret_cast<const uint8_t*>(settings->data()),
                                            settings->size(), is_head ? 1 : 0, nullptr) != 0) {
    Terminate(NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  Http2Stream* s = NewStream(1);
  nghttp2_session_set_stream_user_data(session_, 1, s);
  size_t size = head.method_text.size() + head.target.size();
  for (const http::HeaderField& field : head.fields) size += field.name.size() + field.value.size();
  upgrade_.reserve(size);  // then it stays where it is
  const auto keep = [this](std::string_view part) {
    const size_t at = upgrade_.size();
    upgrade_ += part;
    return std::string_view(upgrade_).substr(at);
  };
  AddField(*s, ":method", keep(head.method_text));
  AddField(*s, ":path", keep(head.target));
  for (const http::HeaderField& field : head.fields) {
    const std::string_view name = keep(field.name);
    Lower(upgrade_.data() + (name.data() - upgrade_.data()), name.size());
    if (!IsForHttp1(name)) AddField(*s, name, keep(field.value));
  }
  s->bytes_in = head.line.size();
  TakeHead(*s, true);
}

bool EventLoop::UpgradesToHttp2(Connection* c, const http::RequestHead& head) {
  if (c->tls) return false;  // h2 is a matter of ALPN there
  const http::HeaderField* settings = nullptr;
  for (const http::HeaderField& field : head.fields) {
    if (!http::EqualsIgnoreCase(field.name, "HTTP2-Settings")) continue;
    if (settings) return false;
    settings = &field;
  }
  if (!settings || head.minor < 1 || head.target.empty() || head.target[0] != '/' ||
      !http::ListHolds(head.Get(http::Known::kUpgrade), "h2c") ||
      !http::ListHolds(head.Get(http::Known::kConnection), "upgrade") ||
      !http::ListHolds(head.Get(http::Known::kConnection), "http2-settings") || !DecodeSettings(settings->value)) {
    return false;
  }
  const Http2Terms& terms = handler_.Http2Of(MakeRequest(c, head));
  return terms.over_plain && terms.upgrade;
}

void Http2::AddParts(size_t at, const std::vector<Http2Stream::Field>& parts) {
  char* text = pool_.head.data() + at;
  for (const Http2Stream::Field& part : parts) {
    pool_.fields.push_back({reinterpret_cast<uint8_t*>(text + part.name.at),
                            reinterpret_cast<uint8_t*>(text + part.value.at), part.name.size, part.value.size,
                            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE});
  }
}

void Http2::AppendHead(const Response& response, std::optional<uint64_t> length) {
  if (response.without_length) length.reset();
  const bool is_same = pool_.last_status == response.status && pool_.last_is_dated == response.is_dated &&
                       pool_.last_length == length && pool_.last_fields == response.fields;
  if (is_same && (response.is_dated || pool_.common_second == loop_.date_second_)) return;
  pool_.last_status = response.status;
  pool_.last_is_dated = response.is_dated;
  pool_.last_length = length;
  if (pool_.common_second != loop_.date_second_) {
    pool_.common_second = loop_.date_second_;
    pool_.common = loop_.date_line_;
    pool_.common_parts = LowerNames(pool_.common);
  }
  if (pool_.last_fields != response.fields) {
    pool_.last_fields = pool_.last_lowered = response.fields;
    pool_.last_parts = LowerNames(pool_.last_lowered);
  }
  static const std::vector<Http2Stream::Field> kLength = {{{0, 14}, {16, 0}}};
  static constexpr std::string_view kStatus = ":status";
  constexpr size_t kCodeAt = 9;  // behind "HTTP/1.1 "
  std::string& head = pool_.head;
  const std::string_view status_line = http::StatusLine(response.status);
  head = status_line;
  if (!response.is_dated) head += pool_.common;
  const size_t fields_at = head.size();
  head += pool_.last_lowered;
  const size_t length_at = head.size();
  if (length) {
    head += "content-length: ";
    char digits[24];
    head.append(digits, std::to_chars(digits, digits + sizeof digits, *length).ptr);
    head += "\r\n";
  }
  head += "\r\n";
  pool_.fields.clear();
  pool_.fields.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(kStatus.data())),
                          reinterpret_cast<uint8_t*>(head.data() + kCodeAt), kStatus.size(), 3,
                          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE});
  if (!response.is_dated) AddParts(status_line.size(), pool_.common_parts);
  AddParts(fields_at, pool_.last_parts);
  if (length) {
    AddParts(length_at, kLength);
    pool_.fields.back().valuelen = head.size() - 4 - (length_at + 16);
  }
}

}  // namespace httpd::net
