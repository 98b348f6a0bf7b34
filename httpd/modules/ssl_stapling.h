#pragma once

#include <openssl/ossl_typ.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "httpd/log/error_log.h"
#include "httpd/modules/ssl_settings.h"
#include "httpd/modules/ssl_stapling_store.h"
#include "os/error.h"

namespace httpd::modules {

/// OCSP stapling: what the authorities of our certificates say about them is asked for before clients want to know, and
/// sent along in the handshakes of those that do.
///
/// Asking   on threads of their own: a responder that is slow or silent delays nobody. In time: after
///          SSLStaplingStandardCacheTimeout or three quarters of an answer's life; after a failure, when
///          SSLStaplingErrorCacheTimeout has passed. A good answer is shown to its end, whatever fails meanwhile.
/// Trust    an answer counts when the issuer of the certificate, or whom the issuer has told to, has signed it
/// Source   httpd 2.4 manual, mod_ssl; modules/ssl/ssl_util_stapling.c; RFC 6960; RFC 6066, 8
class Stapling {
 public:
  /// Asks a responder. Blocks, at most for `timeout` besides the lookup of the name.
  /// @return the answer's bytes, whatever they are; kTimeout, kIo: what went wrong
  using Ask =
      std::function<os::Result<std::string>(const std::string& url, const std::string& request, std::chrono::seconds)>;
  static os::Result<std::string> AskOverHttp(const std::string& url, const std::string& request,
                                             std::chrono::seconds timeout);

  explicit Stapling(Ask ask = AskOverHttp);
  ~Stapling();
  Stapling(const Stapling&) = delete;
  Stapling& operator=(const Stapling&) = delete;

  /// Every certificate of `context`, which must outlive this, is stapled from now on; what cannot be is a warning().
  /// @param host  "name:port", for messages
  void Add(SSL_CTX* context, const SslSettings& settings, const log::ErrorLog& error_log, const std::string& host);
  const std::vector<std::string>& warnings() const { return warnings_; }
  bool empty() const { return certificates_.empty(); }

  /// Where answers are kept. Before this nothing is known, and nobody asks.
  void set_store(std::shared_ptr<StaplingStore> store);

  /// What a client of a host with `settings` is shown for `certificate`; "" = nothing.
  std::string Shown(const X509* certificate, const SslSettings& settings, int64_t now) const;

  /// Asks for each certificate that is due and that nobody else asks for.
  /// @return when to look again
  std::chrono::seconds AskWhereDue(const std::function<int64_t()>& now) const;

  /// Does so from now on, on threads that end with the process: this must not be destroyed before.
  void StartAsking() const;

 private:
  struct Certificate;
  StapledAnswer AskFor(const Certificate& certificate, const StapledAnswer& before, int64_t now) const;

  Ask ask_;
  std::vector<std::unique_ptr<Certificate>> certificates_;
  std::vector<std::string> warnings_;
  std::shared_ptr<StaplingStore> store_;
};

}  // namespace httpd::modules
