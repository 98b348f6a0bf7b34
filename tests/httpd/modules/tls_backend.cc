#include "tests/httpd/modules/tls_backend.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>

namespace httpd::modules {

namespace {

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(length));
  ::BIO_free(bio);
  return out;
}

std::atomic<long> serial = 1;

std::string CommonName(X509* certificate) {
  char text[100] = "";
  if (certificate) {
    ::X509_NAME_get_text_by_NID(::X509_get_subject_name(certificate), NID_commonName, text, sizeof text);
  }
  return text;
}

}  // namespace

TestCertificate::TestCertificate(const Wish& wish) : certificate_(::X509_new()), key_(EVP_EC_gen("P-256")) {
  ::X509_set_version(certificate_, 2);
  ::ASN1_INTEGER_set(::X509_get_serialNumber(certificate_), serial++);
  ::X509_gmtime_adj(::X509_getm_notBefore(certificate_), wish.from_s);
  ::X509_gmtime_adj(::X509_getm_notAfter(certificate_), wish.to_s);
  X509_NAME* name = ::X509_get_subject_name(certificate_);
  ::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(wish.common_name.c_str()), -1, -1, 0);
  X509* issuer = wish.issuer ? wish.issuer->certificate_ : certificate_;
  ::X509_set_issuer_name(certificate_, ::X509_get_subject_name(issuer));
  ::X509_set_pubkey(certificate_, key_);
  const auto add = [&](int kind, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate_, nullptr, nullptr, 0);
    X509_EXTENSION* extension = ::X509V3_EXT_conf_nid(nullptr, &context, kind, value);
    ::X509_add_ext(certificate_, extension, -1);
    ::X509_EXTENSION_free(extension);
  };
  if (wish.is_authority) {
    add(NID_basic_constraints, "critical,CA:TRUE");
    add(NID_key_usage, "keyCertSign,cRLSign");
  }
  if (!wish.names.empty()) add(NID_subject_alt_name, wish.names.c_str());
  ::X509_sign(certificate_, wish.issuer ? wish.issuer->key_ : key_, ::EVP_sha256());
}

TestCertificate::~TestCertificate() {
  ::X509_free(certificate_);
  ::EVP_PKEY_free(key_);
}

std::string TestCertificate::Pem() const {
  BIO* bio = ::BIO_new(::BIO_s_mem());
  ::PEM_write_bio_X509(bio, certificate_);
  return TextOf(bio);
}

std::string TestCertificate::KeyPem() const {
  BIO* bio = ::BIO_new(::BIO_s_mem());
  ::PEM_write_bio_PrivateKey(bio, key_, nullptr, nullptr, 0, nullptr, nullptr);
  return TextOf(bio);
}

std::string TestCertificate::Revoking(const TestCertificate& one) const {
  X509_CRL* list = ::X509_CRL_new();
  ::X509_CRL_set_version(list, 1);
  ::X509_CRL_set_issuer_name(list, ::X509_get_subject_name(certificate_));
  ASN1_TIME* time = ::X509_gmtime_adj(nullptr, -60);
  ::X509_CRL_set1_lastUpdate(list, time);
  X509_REVOKED* entry = ::X509_REVOKED_new();
  ::X509_REVOKED_set_serialNumber(entry, ::X509_get_serialNumber(one.certificate_));
  ::X509_REVOKED_set_revocationDate(entry, time);
  ::X509_gmtime_adj(time, 3600);
  ::X509_CRL_set1_nextUpdate(list, time);
  ::X509_CRL_add0_revoked(list, entry);
  ::X509_CRL_sign(list, key_, ::EVP_sha256());
  BIO* bio = ::BIO_new(::BIO_s_mem());
  ::PEM_write_bio_X509_CRL(bio, list);
  ::ASN1_TIME_free(time);
  ::X509_CRL_free(list);
  return TextOf(bio);
}

TlsBackend::TlsBackend(const TestCertificate& own, Answer answer, Terms terms)
    : context_(::SSL_CTX_new(::TLS_server_method())), answer_(std::move(answer)), terms_(terms) {
  ::signal(SIGPIPE, SIG_IGN);
  ::SSL_CTX_use_certificate(context_, own.x509());
  ::SSL_CTX_use_PrivateKey(context_, own.key());
  ::SSL_CTX_set_session_id_context(context_, reinterpret_cast<const unsigned char*>("test"), 4);
  if (terms.max_version != 0) SSL_CTX_set_max_proto_version(context_, terms.max_version);
  if (terms.asks_for) {
    ::SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
    ::SSL_CTX_add_client_CA(context_, terms.asks_for->x509());
  }
  listener_ = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", 0).value(), 16).value();
  ::fcntl(listener_.get(), F_SETFL, 0);  // accept4() waits
  address_ = os::SocketAddress::OfSocket(listener_).value();
  accepting_ = std::thread([this] {
    for (int number = 1;; ++number) {
      os::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd.valid()) return;
      const timeval patience{10, 0};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      const std::lock_guard<std::mutex> lock(mutex_);
      if (is_over_) return;
      open_.push_back(fd.get());
      threads_.emplace_back(
          [this, number, moved = std::make_shared<os::Fd>(std::move(fd))] { Serve(std::move(*moved), number); });
    }
  });
}

TlsBackend::~TlsBackend() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_over_ = true;
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  ::shutdown(listener_.get(), SHUT_RDWR);
  accepting_.join();
  for (std::thread& thread : threads_) thread.join();
  ::SSL_CTX_free(context_);
}

std::vector<TlsBackend::Asked> TlsBackend::asked() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return asked_;
}

int TlsBackend::handshakes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return handshakes_;
}

void TlsBackend::Serve(os::Fd fd, int number) {
  SSL* ssl = ::SSL_new(context_);
  ::SSL_set_fd(ssl, fd.get());
  std::string in;
  bool is_open = ::SSL_accept(ssl) == 1;
  bool is_echo = false;
  if (is_open) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++handshakes_;
  }
  while (is_open) {
    char buffer[4096];
    const int n = ::SSL_read(ssl, buffer, sizeof buffer);
    if (n <= 0) break;
    if (is_echo) {
      ::SSL_write(ssl, buffer, n);
      continue;
    }
    in.append(buffer, static_cast<size_t>(n));
    for (size_t end = in.find("\r\n\r\n"); end != std::string::npos && is_open && !is_echo; end = in.find("\r\n\r\n")) {
      Asked asked;
      asked.head = in.substr(0, end + 4);
      const size_t field = asked.head.find("Content-Length: ");
      const size_t length = field == std::string::npos ? 0 : std::stoul(asked.head.substr(field + 16));
      if (in.size() < end + 4 + length) break;
      asked.body = in.substr(end + 4, length);
      in.erase(0, end + 4 + length);
      const char* name = ::SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
      asked.name = name ? name : "";
      asked.client = CommonName(::SSL_get0_peer_certificate(ssl));
      asked.protocol = ::SSL_get_version(ssl);
      asked.cipher = ::SSL_get_cipher_name(ssl);
      asked.is_resumed = ::SSL_session_reused(ssl) == 1;
      asked.connection = number;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        asked_.push_back(asked);
      }
      const std::string answer = answer_(asked);
      is_echo = answer.starts_with("HTTP/1.1 101");
      is_open = !answer.empty() && ::SSL_write(ssl, answer.data(), static_cast<int>(answer.size())) > 0;
      if (is_open && terms_.late_ticket) {
        terms_.late_ticket(false);
        ::SSL_new_session_ticket(ssl);
        ::SSL_do_handshake(ssl);
        terms_.late_ticket(true);
      }
    }
  }
  ::SSL_shutdown(ssl);
  ::SSL_free(ssl);
  ::ERR_clear_error();
  const std::lock_guard<std::mutex> lock(mutex_);
  std::erase(open_, fd.get());
}

}  // namespace httpd::modules
