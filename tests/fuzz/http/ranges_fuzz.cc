// Ranges lie inside the representation and are never more bytes than it has.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "httpd/http/values.h"

namespace {

void Require(bool good) {
  if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint64_t length = 0;
  if (size < sizeof length) return 0;
  std::memcpy(&length, data, sizeof length);
  if (data[0] % 2 == 0) length %= 1000;
  const std::string_view value(reinterpret_cast<const char*>(data + sizeof length), size - sizeof length);
  const auto ranges = httpd::http::ParseRanges(value, length, {20});
  (void)httpd::http::ParseDate(value);
  if (!ranges) return 0;
  Require(ranges->size() <= 20);
  uint64_t left = length;
  for (const auto& range : *ranges) {
    Require(range.first <= range.last && range.last < length);
    Require(range.last - range.first < left);
    left -= range.last - range.first + 1;
  }
  return 0;
}
