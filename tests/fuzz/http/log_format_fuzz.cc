// Input: a format, a NUL, then a request. Whatever both are, one record is one line of printable bytes (those of the
// format itself aside).
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "httpd/http/log_format.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::string_view format = all.substr(0, all.find('\0'));
  const std::string_view rest = all.substr(std::min(format.size() + 1, size));
  const auto compiled = httpd::http::LogFormat::Compile(format);
  if (!compiled) return 0;
  httpd::http::RequestHead head;
  httpd::http::LogRecord record;
  const auto parsed = ParseRequestHead(rest, {}, head);
  if (parsed.state == httpd::http::ParseResult::State::kComplete) record.head = &head;
  record.raw_line = record.user = record.response_head = record.file_name = rest;
  record.status = 200;
  std::string out;
  compiled.value().Render(record, out);
  if (!out.ends_with('\n')) std::abort();
  const bool plain = std::all_of(format.begin(), format.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (plain && format.find('\\') == std::string_view::npos) {
    out.pop_back();
    if (!std::all_of(out.begin(), out.end(), [](char c) { return c >= 0x20 && c < 0x7f; })) std::abort();
  }
  return 0;
}
