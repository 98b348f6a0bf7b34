// The head of a backend's answer: what is incomplete stays so for every shorter piece of it, and every view lies in the
// bytes that were given.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "httpd/http/response.h"

namespace {

using httpd::http::BadLine;
using httpd::http::ParseResponseHead;
using httpd::http::ResponseHead;
using State = httpd::http::ResponseResult::State;

void Require(bool good) {
  if (!good) std::abort();
}

bool LiesIn(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  httpd::http::ResponseLimits limits;
  limits.bad_lines = static_cast<BadLine>(data[0] % 3);
  limits.field_size = 64;
  limits.fields = 8;
  limits.head_size = 300;
  const std::string_view input(reinterpret_cast<const char*>(data + 2), size - 2);
  ResponseHead head;
  const auto whole = ParseResponseHead(input, limits, head);
  Require(whole.consumed <= input.size());
  Require(LiesIn(head.reason, input));
  for (const auto& field : head.fields) {
    Require(LiesIn(field.name, input) && LiesIn(field.value, input) && !field.name.empty());
    for (const char c : field.value) Require(c != '\r' && c != '\n' && c != '\0');
  }
  if (whole.state == State::kComplete) {
    Require(head.status >= 100 && head.status <= 999 && whole.consumed > 0);
    Require(!(head.chunked && head.content_length));
    ResponseHead again;
    const auto cut = ParseResponseHead(input.substr(0, whole.consumed), limits, again);
    if (!whole.body_has_begun) Require(cut.state == State::kComplete && cut.consumed == whole.consumed);
  }
  const size_t shorter = data[1] % (input.size() + 1);
  ResponseHead part;
  const auto less = ParseResponseHead(input.substr(0, shorter), limits, part);
  if (whole.state == State::kIncomplete) Require(less.state == State::kIncomplete);
  if (less.state == State::kComplete) Require(whole.state == State::kComplete && whole.consumed == less.consumed);
  return 0;
}
