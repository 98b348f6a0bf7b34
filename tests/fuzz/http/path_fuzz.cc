// A decoded path starts at the root, has no empty, "." or ".." segment and no NUL, and decodes to itself once escaped.
#include <cstdint>
#include <cstdlib>

#include "httpd/http/values.h"

namespace {

void Require(bool good) {
  if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto decoded = httpd::http::DecodePath(input);
  if (!decoded) return 0;
  const std::string& path = decoded.value();
  Require(!path.empty() && path[0] == '/' && path.find('\0') == std::string::npos);
  Require(path.find("//") == std::string::npos && path.find("/./") == std::string::npos);
  Require(path.find("/../") == std::string::npos && !path.ends_with("/..") && !path.ends_with("/."));
  const auto again = httpd::http::DecodePath(httpd::http::EscapePath(path));
  Require(again.has_value() && again.value() == path);
  return 0;
}
