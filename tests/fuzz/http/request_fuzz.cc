// A head is judged the same however it arrives, every view lies in the buffer, and what is accepted keeps the promises
// that the server builds on.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "httpd/http/request.h"

namespace {

void Require(bool good) {
  if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using httpd::http::Known;
  using httpd::http::ParseResult;
  using httpd::http::RequestHead;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const httpd::http::HeadLimits limits{.line = 200, .fields = 8, .field_size = 100};
  RequestHead head;
  const ParseResult whole = ParseRequestHead(all, limits, head);
  for (const auto& field : head.fields) {
    Require(field.name.data() >= all.data() && field.value.data() + field.value.size() <= all.data() + size);
    Require(field.name.find_first_of(std::string_view(" \t\r\n:\0", 6)) == std::string_view::npos);
    Require(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
  }
  if (whole.state == ParseResult::State::kComplete) {
    Require(whole.consumed <= size && all.substr(0, whole.consumed).ends_with("\r\n\r\n"));
    Require(!(head.chunked && head.content_length));
    Require(head.minor == 0 || head.Has(Known::kHost));
    Require(head.chunked == head.Has(Known::kTransferEncoding));
    Require(head.line.find_first_of("\r\n") == std::string_view::npos);
  } else if (whole.state == ParseResult::State::kBad) {
    Require(whole.status >= 400 && whole.status <= 505 && *whole.reason != 0);
  }
  // Cut short, it is incomplete or already bad for the same reason.
  RequestHead part_head;
  const size_t step = size / 64 + 1;
  for (size_t cut = 0; cut < size; cut += step) {
    const std::string part(all.substr(0, cut));
    const ParseResult partial = ParseRequestHead(part, limits, part_head);
    if (partial.state == ParseResult::State::kComplete) {
      Require(whole.state == ParseResult::State::kComplete && partial.consumed == whole.consumed);
    }
    if (partial.state == ParseResult::State::kBad) {
      Require(whole.state == ParseResult::State::kBad && partial.status == whole.status);
    }
  }
  return 0;
}
