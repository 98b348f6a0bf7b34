#include "httpd/modules/ssl_stapling.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/http.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <system_error>
#include <thread>

#include "httpd/modules/ssl_owned.h"
#include "httpd/modules/ssl_setup.h"
#include "os/clock.h"

namespace httpd::modules {

namespace {

using config::LogLevel;
using std::chrono::seconds;

constexpr size_t kMostThreads = 4;          // of a child; its siblings have some too
constexpr int64_t kClaimSlackSeconds = 60;  // what a lookup of a name may take besides
constexpr int64_t kShortestLifeSeconds = 60;
constexpr std::string_view kTryLater("\x30\x03\x0a\x01\x03", 5);  // OCSPResponse { responseStatus tryLater }

/// Which StapledCertificate an X509 is.
int OwnIndex() {
  static const int index = ::X509_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

SslOwned<X509> IssuerOf(SSL_CTX* context, X509* certificate) {
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get_extra_chain_certs(context, &chain);
  for (int i = 0; chain && i < sk_X509_num(chain); ++i) {
    X509* one = sk_X509_value(chain, i);
    if (::X509_check_issued(one, certificate) != X509_V_OK) continue;
    ::X509_up_ref(one);
    return SslOwned<X509>(one);
  }
  X509_STORE_CTX* look = ::X509_STORE_CTX_new();
  X509* found = nullptr;
  if (::X509_STORE_CTX_init(look, ::SSL_CTX_get_cert_store(context), nullptr, nullptr) != 1 ||
      ::X509_STORE_CTX_get1_issuer(&found, look, certificate) != 1) {
    found = nullptr;
  }
  ::X509_STORE_CTX_free(look);
  ::ERR_clear_error();
  return SslOwned<X509>(found);
}

/// The first responder that the certificate names and that speaks HTTP. @param other  gets one that does not
std::string ResponderOf(X509* certificate, std::string& other) {
  std::string out;
  STACK_OF(OPENSSL_STRING)* urls = ::X509_get1_ocsp(certificate);
  for (int i = 0; urls && i < sk_OPENSSL_STRING_num(urls); ++i) {
    const std::string url = sk_OPENSSL_STRING_value(urls, i);
    const bool is_http = url.starts_with("http://");
    if (is_http && out.empty()) out = url;
    if (!is_http) other = url;
  }
  ::X509_email_free(urls);
  return out;
}

std::string SerialOf(const X509* certificate) {
  SslOwned<BIO> bio(::BIO_new(::BIO_s_mem()));
  ::i2a_ASN1_INTEGER(bio.get(), ::X509_get0_serialNumber(certificate));
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(std::max(length, 0L))};
}

std::optional<int64_t> SecondsOf(const ASN1_GENERALIZEDTIME* time) {
  std::tm parts{};
  if (!time || ::ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  return ::timegm(&parts);
}

bool IsSignedByAuthority(OCSP_BASICRESP* basic, X509* issuer) {
  const SslOwned<X509_STORE> store(::X509_STORE_new());
  ::X509_STORE_add_cert(store.get(), issuer);
  ::X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);  // the issuer may be no root
  STACK_OF(X509)* issuers = sk_X509_new_null();
  sk_X509_push(issuers, issuer);
  const int result = ::OCSP_basic_verify(basic, issuers, store.get(), 0);
  sk_X509_free(issuers);
  return result == 1;
}

}  // namespace

struct Stapling::Certificate {
  StaplingStore::Key key{};
  size_t slot = StaplingStore::kNoSlot;
  std::string name;  ///< for messages
  std::string url;
  std::string request;  ///< an OCSPRequest
  SslOwned<X509> issuer;
  SslOwned<OCSP_CERTID> id;
  const SslSettings* settings = nullptr;
  const log::ErrorLog* error_log = nullptr;

  void Log(LogLevel level, const std::string& text) const {
    if (error_log->Wants(level, "ssl")) error_log->Write(level, "ssl", text + " (" + name + ", " + url + ")");
  }
};

Stapling::Stapling(Ask ask) : ask_(std::move(ask)) {}
Stapling::~Stapling() = default;

void Stapling::Add(SSL_CTX* context, const SslSettings& settings, const log::ErrorLog& error_log,
                   const std::string& host) {
  int number = 0;
  for (long more = SSL_CTX_set_current_cert(context, SSL_CERT_SET_FIRST); more == 1;
       more = SSL_CTX_set_current_cert(context, SSL_CERT_SET_NEXT), ++number) {
    X509* x509 = ::SSL_CTX_get0_certificate(context);
    const auto warn = [&](const std::string& why) {
      warnings_.push_back("AH02604: Unable to configure certificate " + host + ":" + std::to_string(number) +
                          " for stapling: " + why);
    };
    auto made = std::make_unique<Certificate>();
    made->issuer = IssuerOf(context, x509);
    std::string other;
    made->url = settings.stapling_url ? *settings.stapling_url : ResponderOf(x509, other);
    if (made->url.empty() && !other.empty()) {
      warn("AH01940: Unsupported uri " + other);
      continue;
    }
    if (made->url.empty()) {
      warn("AH02218: no OCSP URI in certificate and no SSLStaplingForceURL set");
      continue;
    }
    if (!made->issuer) {
      warn("AH02217: can't retrieve issuer certificate! It belongs behind the certificate in SSLCertificateFile");
      continue;
    }
    made->name = host + ", serial " + SerialOf(x509);
    made->settings = &settings;
    made->error_log = &error_log;
    made->id.reset(::OCSP_cert_to_id(nullptr, x509, made->issuer.get()));
    SslOwned<OCSP_REQUEST> request(::OCSP_REQUEST_new());
    unsigned char* der = nullptr;
    int length = -1;
    if (made->id && ::OCSP_request_add0_id(request.get(), ::OCSP_CERTID_dup(made->id.get()))) {
      length = ::i2d_OCSP_REQUEST(request.get(), &der);
    }
    if (length <= 0) {
      warn("AH02815: can't create CertID for OCSP request: " + LastReason());
      continue;
    }
    made->request.assign(reinterpret_cast<char*>(der), static_cast<size_t>(length));
    ::OPENSSL_free(der);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_length = 0;
    ::X509_digest(x509, ::EVP_sha256(), digest, &digest_length);
    const std::string identity = std::string(reinterpret_cast<char*>(digest), digest_length) + made->url;
    ::EVP_Digest(identity.data(), identity.size(), digest, &digest_length, ::EVP_sha256(), nullptr);
    std::memcpy(made->key.data(), digest, made->key.size());
    const auto known = std::find_if(certificates_.begin(), certificates_.end(),
                                    [&](const auto& one) { return one->key == made->key; });
    const bool is_new = known == certificates_.end();
    ::X509_set_ex_data(x509, OwnIndex(), is_new ? made.get() : known->get());
    if (is_new) certificates_.push_back(std::move(made));
  }
  SSL_CTX_set_current_cert(context, SSL_CERT_SET_FIRST);
  ::ERR_clear_error();
}

void Stapling::set_store(std::shared_ptr<StaplingStore> store) {
  store_ = std::move(store);
  std::vector<StaplingStore::Key> keys;
  for (const auto& certificate : certificates_) keys.push_back(certificate->key);
  const std::vector<size_t> slots = store_->Assign(keys);
  for (size_t i = 0; i < slots.size(); ++i) {
    certificates_[i]->slot = slots[i];
    if (slots[i] == StaplingStore::kNoSlot) {
      certificates_[i]->Log(LogLevel::kError, "not stapled: there are more than " +
                                                  std::to_string(StaplingStore::kMostCertificates) + " certificates");
    }
  }
}

std::string Stapling::Shown(const X509* certificate, const SslSettings& settings, int64_t now) const {
  const auto* own = static_cast<const Certificate*>(::X509_get_ex_data(certificate, OwnIndex()));
  if (!own || !store_) return "";
  StapledAnswer answer = store_->Read(own->slot, own->key);
  const bool is_valid = !answer.der.empty() && now < answer.until;
  const bool shows_errors = settings.stapling_errors.value_or(true);
  if (is_valid && (shows_errors || answer.kind == StapledAnswer::Kind::kGood)) return std::move(answer.der);
  const bool is_told = shows_errors && answer.has_failed && settings.stapling_try_later.value_or(true);
  return is_told ? std::string(kTryLater) : "";
}

StapledAnswer Stapling::AskFor(const Certificate& certificate, const StapledAnswer& before, int64_t now) const {
  const SslSettings& settings = *certificate.settings;
  const int64_t error_seconds = settings.stapling_error_s.value_or(600);
  const auto failed = [&](const std::string& what) {
    certificate.Log(LogLevel::kError, what);
    StapledAnswer out = before;
    out.has_failed = true;
    out.again = now + error_seconds;
    // While there is something to lose, more often.
    if (now < before.until) out.again = std::min(out.again, now + std::max<int64_t>((before.until - now) / 2, 10));
    return out;
  };
  ::ERR_clear_error();
  certificate.Log(LogLevel::kDebug, "AH01938: stapling_renew_response: querying responder");
  auto said =
      ask_(certificate.url, certificate.request, seconds(std::max(settings.stapling_timeout_s.value_or(10), 1)));
  if (!said) return failed("AH01941: stapling_renew_response: responder error: " + said.error().what);
  StapledAnswer out;
  out.der = std::move(said).value();
  out.asked = now;
  if (out.der.size() > StapledAnswer::kMostBytes) {
    return failed("AH01928: OCSP stapling response too big (" + std::to_string(out.der.size()) + " bytes)");
  }
  const auto* data = reinterpret_cast<const unsigned char*>(out.der.data());
  const SslOwned<OCSP_RESPONSE> response(::d2i_OCSP_RESPONSE(nullptr, &data, static_cast<long>(out.der.size())));
  if (!response) return failed("AH01941: stapling_renew_response: responder error: it is no OCSP response");
  if (const int status = ::OCSP_response_status(response.get()); status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
    const std::string what =
        "AH01944: stapling_renew_response: responder error " + std::string(::OCSP_response_status_str(status));
    if (before.kind == StapledAnswer::Kind::kGood && now < before.until) return failed(what);
    certificate.Log(LogLevel::kError, what);
    out.kind = StapledAnswer::Kind::kOther;
    out.has_failed = true;
    out.again = now + error_seconds;
    out.until = out.again + kClaimSlackSeconds;  // somebody has to ask first
    return out;
  }
  const SslOwned<OCSP_BASICRESP> basic(::OCSP_response_get1_basic(response.get()));
  if (!basic) return failed("AH01934: stapling_check_response: Error Parsing Response!");
  if (!IsSignedByAuthority(basic.get(), certificate.issuer.get())) {
    return failed("AH01943: stapling_renew_response: error in retrieved response: not signed by the authority: " +
                  LastReason());
  }
  int status = V_OCSP_CERTSTATUS_UNKNOWN;
  int reason = OCSP_REVOKED_STATUS_NOSTATUS;
  ASN1_GENERALIZEDTIME *revoked = nullptr, *from = nullptr, *to = nullptr;
  if (!::OCSP_resp_find_status(basic.get(), certificate.id.get(), &status, &reason, &revoked, &from, &to)) {
    return failed("AH01935: stapling_check_response: certificate ID not present in response!");
  }
  const int64_t skew = settings.stapling_skew_s.value_or(300);
  const int64_t most_age = settings.stapling_age_s.value_or(-1);
  if (::OCSP_check_validity(from, to, static_cast<long>(skew), static_cast<long>(most_age)) != 1) {
    return failed("AH01936: stapling_check_response: response times invalid: " + LastReason());
  }
  const int64_t standard_seconds = settings.stapling_standard_s.value_or(3600);
  const auto begin = SecondsOf(from);
  const auto end = SecondsOf(to);
  out.until = end ? *end + skew : now + 2 * standard_seconds + kClaimSlackSeconds;
  if (most_age >= 0 && begin) out.until = std::min(out.until, *begin + most_age);
  const bool is_good = status == V_OCSP_CERTSTATUS_GOOD;
  out.kind = is_good ? StapledAnswer::Kind::kGood : StapledAnswer::Kind::kOther;
  const int64_t pause = is_good ? standard_seconds : error_seconds;
  const int64_t of_life = std::max((out.until - skew - now) * 3 / 4, kShortestLifeSeconds);
  out.again = now + std::max<int64_t>(std::min(pause, of_life), 1);
  if (is_good) {
    certificate.Log(LogLevel::kDebug, "AH01942: stapling_renew_response: query response received");
  } else {
    certificate.Log(LogLevel::kError, "AH02969: stapling_check_response: response has certificate status " +
                                          std::string(::OCSP_cert_status_str(status)) +
                                          " (reason: " + (reason >= 0 ? ::OCSP_crl_reason_str(reason) : "n/a") + ")");
  }
  return out;
}

seconds Stapling::AskWhereDue(const std::function<int64_t()>& now) const {
  constexpr int64_t kLongestPause = 60;
  int64_t next = now() + kLongestPause;
  for (const auto& certificate : certificates_) {
    if (!store_ || certificate->slot == StaplingStore::kNoSlot) continue;
    const int64_t time = now();
    const int64_t claim = time + certificate->settings->stapling_timeout_s.value_or(10) + kClaimSlackSeconds;
    StapledAnswer answer = store_->Read(certificate->slot, certificate->key);
    if (answer.again <= time && store_->Claim(certificate->slot, time, claim)) {
      answer = store_->Read(certificate->slot, certificate->key);  // the last one who asked may just be done
      if (answer.again <= time) answer = AskFor(*certificate, answer, time);
      store_->Publish(certificate->slot, certificate->key, answer);
    }
    next = std::min(next, answer.again);
  }
  return seconds(std::clamp<int64_t>(next - now(), 1, kLongestPause));
}

void Stapling::StartAsking() const {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // the threads inherit it: signals are for the loops
  const size_t threads = store_ ? std::min(certificates_.size(), kMostThreads) : 0;
  try {
    for (size_t i = 0; i < threads; ++i) {
      std::thread([this] {
        os::SystemClock clock;
        while (true) {
          clock.Sleep(AskWhereDue([&clock] { return std::chrono::system_clock::to_time_t(clock.WallNow()); }));
        }
      }).detach();
    }
  } catch (const std::system_error& problem) {
    certificates_.front()->Log(LogLevel::kError, std::string("stapling: no thread: ") + problem.what());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

os::Result<std::string> Stapling::AskOverHttp(const std::string& url, const std::string& request, seconds timeout) {
  char *host = nullptr, *port = nullptr, *path = nullptr;
  ::ERR_clear_error();
  if (::OSSL_HTTP_parse_url(url.c_str(), nullptr, nullptr, &host, &port, nullptr, &path, nullptr, nullptr) != 1) {
    return os::Error{os::ErrorKind::kInvalid, 0, "AH01939: Error parsing uri: " + LastReason()};
  }
  // OpenSSL's client would go on trying an address that refuses until the time is up.
  const SslOwned<BIO> connection(::BIO_new_connect(host));
  BIO_set_conn_port(connection.get(), port);
  BIO_set_nbio(connection.get(), 1);
  const std::time_t deadline = std::time(nullptr) + timeout.count();
  bool is_connected = BIO_do_connect(connection.get()) == 1;
  while (!is_connected && ::BIO_should_retry(connection.get()) && ::BIO_wait(connection.get(), deadline, 0) == 1) {
    is_connected = BIO_do_connect(connection.get()) == 1;
  }
  SslOwned<BIO> answer;
  if (is_connected) {
    const SslOwned<BIO> body(::BIO_new_mem_buf(request.data(), static_cast<int>(request.size())));
    const auto rest = std::max<std::time_t>(deadline - std::time(nullptr), 1);
    answer.reset(::OSSL_HTTP_transfer(nullptr, host, port, path, 0, nullptr, nullptr, connection.get(),
                                      connection.get(), nullptr, nullptr, 0, nullptr, "application/ocsp-request",
                                      body.get(), nullptr, 1, 2 * StapledAnswer::kMostBytes, static_cast<int>(rest),
                                      0));
  }
  ::OPENSSL_free(host);
  ::OPENSSL_free(port);
  ::OPENSSL_free(path);
  if (!answer) return os::Error{os::ErrorKind::kIo, 0, LastReason()};
  std::string out;
  char buffer[4096];
  for (int n = 0; (n = ::BIO_read(answer.get(), buffer, sizeof buffer)) > 0;) {
    out.append(buffer, static_cast<size_t>(n));
  }
  return out;
}

}  // namespace httpd::modules
