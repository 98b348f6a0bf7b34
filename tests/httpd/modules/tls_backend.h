#pragma once

#include <openssl/ossl_typ.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "os/fd.h"
#include "os/socket.h"

namespace httpd::modules {

/// Certificates made for a test.
class TestCertificate {
 public:
  struct Wish {
    std::string common_name = "backend.example";
    std::string names = "DNS:backend.example,IP:127.0.0.1";  ///< subjectAltName; "" = none
    const TestCertificate* issuer = nullptr;                 ///< null: itself
    long from_s = -3600, to_s = 3600;                        ///< from now
    bool is_authority = false;
  };
  explicit TestCertificate(const Wish& wish);
  ~TestCertificate();
  TestCertificate(const TestCertificate&) = delete;
  TestCertificate& operator=(const TestCertificate&) = delete;

  std::string Pem() const;
  std::string KeyPem() const;
  /// A list of what this authority has revoked.
  std::string Revoking(const TestCertificate& one) const;
  X509* x509() const { return certificate_; }
  EVP_PKEY* key() const { return key_; }

 private:
  X509* certificate_;
  EVP_PKEY* key_;
};

/// A backend that speaks TLS, on 127.0.0.1; each connection in a thread of its own, which answers every head.
class TlsBackend {
 public:
  struct Asked {
    std::string head;
    std::string body;
    std::string name;      ///< SNI
    std::string client;    ///< common name of the certificate that was shown
    std::string protocol;  ///< "TLSv1.3"
    std::string cipher;
    bool is_resumed = false;
    int connection = 0;  ///< from 1
  };
  struct Terms {
    const TestCertificate* asks_for = nullptr;  ///< certificates that this authority has signed
    int max_version = 0;
    std::function<void(bool is_sent)> late_ticket = {};  ///< called before and after one more, behind each answer
  };
  /// @return the answer; "" = the connection is closed. What begins with "101" turns it into an echo.
  using Answer = std::function<std::string(const Asked& asked)>;

  TlsBackend(const TestCertificate& own, Answer answer) : TlsBackend(own, std::move(answer), Terms()) {}
  TlsBackend(const TestCertificate& own, Answer answer, Terms terms);
  ~TlsBackend();

  const os::SocketAddress& address() const { return address_; }
  std::vector<Asked> asked() const;
  int handshakes() const;

 private:
  void Serve(os::Fd fd, int number);
  SSL_CTX* context_;
  Answer answer_;
  Terms terms_;
  os::Fd listener_;
  os::SocketAddress address_;
  mutable std::mutex mutex_;
  std::vector<Asked> asked_;
  std::vector<int> open_;
  int handshakes_ = 0;
  bool is_over_ = false;
  std::vector<std::thread> threads_;
  std::thread accepting_;
};

}  // namespace httpd::modules
