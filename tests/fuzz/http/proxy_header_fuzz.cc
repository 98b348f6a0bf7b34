// A header lies inside what was received, is the same however it arrives, and tells an address or nothing.
#include <arpa/inet.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "httpd/http/proxy_header.h"

namespace {

using State = httpd::http::ProxyHeader::State;

void Require(bool good) {
  if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string received(reinterpret_cast<const char*>(data), size);
  const auto all = httpd::http::ParseProxyHeader(received);
  Require((all.state == State::kBad) == !all.problem.empty());
  if (all.state == State::kIncomplete) {
    Require(size < httpd::http::kMostProxyHeader);
    return 0;
  }
  if (all.state == State::kBad) return 0;
  Require(all.size > 0 && all.size <= size && all.size <= httpd::http::kMostProxyHeader);
  unsigned char address[16];
  Require(all.address.empty() || ::inet_pton(AF_INET, all.address.c_str(), address) == 1 ||
          ::inet_pton(AF_INET6, all.address.c_str(), address) == 1);
  for (size_t part = 0; part < all.size; ++part) {
    Require(httpd::http::ParseProxyHeader(std::string(received, 0, part)).state == State::kIncomplete);
  }
  const auto alone = httpd::http::ParseProxyHeader(std::string(received, 0, all.size));
  Require(alone.state == State::kComplete && alone.size == all.size && alone.address == all.address &&
          alone.port == all.port);
  return 0;
}
