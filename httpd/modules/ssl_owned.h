#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>

#include <memory>

namespace httpd::modules {

/// Gives objects of OpenSSL back: each has a function of its own for it.
struct SslFree {
  void operator()(BIO* bio) const { ::BIO_free(bio); }
  void operator()(X509* certificate) const { ::X509_free(certificate); }
  void operator()(X509_STORE* store) const { ::X509_STORE_free(store); }
  void operator()(EVP_PKEY* key) const { ::EVP_PKEY_free(key); }
  void operator()(OCSP_CERTID* id) const { ::OCSP_CERTID_free(id); }
  void operator()(OCSP_REQUEST* request) const { ::OCSP_REQUEST_free(request); }
  void operator()(OCSP_RESPONSE* response) const { ::OCSP_RESPONSE_free(response); }
  void operator()(OCSP_BASICRESP* basic) const { ::OCSP_BASICRESP_free(basic); }
};

/// An object of OpenSSL and the reference to it that is ours.
template <class T>
using SslOwned = std::unique_ptr<T, SslFree>;

}  // namespace httpd::modules
