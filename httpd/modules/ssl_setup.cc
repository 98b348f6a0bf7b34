#include "httpd/modules/ssl_setup.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/stat.h>

#include <string_view>

#include "httpd/config/tree.h"

namespace httpd::modules {

std::string LastReason() {
  const unsigned long code = ::ERR_peek_last_error();
  const char* reason = code != 0 ? ::ERR_reason_error_string(code) : nullptr;
  std::string out = reason ? reason : "unknown reason";
  ::ERR_clear_error();
  return out;
}

void LimitProtocols(SSL_CTX* context, unsigned wanted) {
  static constexpr struct {
    unsigned bit;
    int version;
    uint64_t off;
  } kVersions[] = {{kTls10, TLS1_VERSION, SSL_OP_NO_TLSv1},
                   {kTls11, TLS1_1_VERSION, SSL_OP_NO_TLSv1_1},
                   {kTls12, TLS1_2_VERSION, SSL_OP_NO_TLSv1_2},
                   {kTls13, TLS1_3_VERSION, SSL_OP_NO_TLSv1_3}};
  int first = 0, last = 0;
  for (const auto& version : kVersions) {
    if ((wanted & version.bit) == 0) {
      ::SSL_CTX_set_options(context, version.off);
      continue;
    }
    if (first == 0) first = version.version;
    last = version.version;
  }
  SSL_CTX_set_min_proto_version(context, first);
  SSL_CTX_set_max_proto_version(context, last);
}

os::Status CheckPlaces(std::initializer_list<std::pair<const char*, const std::optional<SslFile>&>> places) {
  for (const auto& [directive, place] : places) {
    const bool is_directory = std::string_view(directive).ends_with("Path");
    struct stat info {};
    if (!place || (::stat(place->path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) == is_directory)) continue;
    return config::SyntaxError(place->where, std::string(directive) + ": " + (is_directory ? "directory '" : "file '") +
                                                 place->path + "' does not exist" +
                                                 (is_directory ? "" : " or is empty"));
  }
  return os::kDone;
}

os::Status CheckRevocation(SSL_CTX* context, const std::optional<SslFile>& file, const std::optional<SslFile>& path,
                           SslRevocation how) {
  X509_STORE* store = ::SSL_CTX_get_cert_store(context);
  if (::X509_STORE_load_locations(store, file ? file->path.c_str() : nullptr, path ? path->path.c_str() : nullptr) !=
      1) {
    const SslFile& any = file ? *file : *path;
    return config::SyntaxError(any.where,
                               "AH01900: unable to configure X.509 CRL storage: " + any.path + ": " + LastReason());
  }
  ::X509_STORE_set_flags(store,
                         X509_V_FLAG_CRL_CHECK | (how == SslRevocation::kChain ? X509_V_FLAG_CRL_CHECK_ALL : 0UL));
  return os::kDone;
}

}  // namespace httpd::modules
