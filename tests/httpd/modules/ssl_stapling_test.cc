#include "httpd/modules/ssl_stapling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>

namespace httpd::modules {
namespace {

using testing::HasSubstr;

StaplingStore::Key KeyOf(unsigned char number) {
  StaplingStore::Key key{};
  key[0] = number;
  return key;
}

StapledAnswer Good(int64_t asked, const std::string& der) {
  StapledAnswer answer;
  answer.kind = StapledAnswer::Kind::kGood;
  answer.asked = asked;
  answer.until = asked + 1000;
  answer.again = asked + 100;
  answer.der = der;
  return answer;
}

// ---- what is kept ---------------------------------------------------------------------------------------------------

class Store : public testing::Test {
 protected:
  Store() {
    char name[] = "/tmp/baton-stapling.XXXXXX";
    directory_ = ::mkdtemp(name);
    path_ = directory_ + "/httpd.stapling";
  }
  ~Store() override { std::filesystem::remove_all(directory_); }
  static std::shared_ptr<StaplingStore> New() { return StaplingStore::Make().value(); }

  std::string directory_, path_;
  const int64_t now_ = 1'800'000'000;
};

TEST_F(Store, WhatWasPublishedIsReadUntilTheNextIs) {
  const auto store = New();
  const auto slots = store->Assign({KeyOf(1), KeyOf(2)});
  EXPECT_EQ(store->Read(slots[0], KeyOf(1)).kind, StapledAnswer::Kind::kNone);
  for (const size_t length : {size_t{0}, size_t{1}, size_t{700}, StapledAnswer::kMostBytes}) {
    store->Publish(slots[0], KeyOf(1), Good(now_, std::string(length, 'x')));
    const StapledAnswer read = store->Read(slots[0], KeyOf(1));
    EXPECT_EQ(read.der, std::string(length, 'x'));
    EXPECT_EQ(read.until, now_ + 1000);
  }
  EXPECT_EQ(store->Read(slots[0], KeyOf(2)).der, "") << "of another certificate";
  EXPECT_EQ(store->Read(slots[1], KeyOf(2)).der, "");
  store->Publish(slots[0], KeyOf(1), Good(now_, std::string(StapledAnswer::kMostBytes + 1, 'y')));
  EXPECT_EQ(store->Read(slots[0], KeyOf(1)).der[0], 'x') << "too long";
}

TEST_F(Store, OneAsksAtATimeAndADeadOneDoesNotBlockForEver) {
  const auto store = New();
  const size_t slot = store->Assign({KeyOf(1)})[0];
  EXPECT_TRUE(store->Claim(slot, now_, now_ + 70));
  EXPECT_FALSE(store->Claim(slot, now_ + 69, now_ + 140));
  EXPECT_TRUE(store->Claim(slot, now_ + 70, now_ + 140));
  store->Publish(slot, KeyOf(1), Good(now_ + 71, "x"));
  EXPECT_TRUE(store->Claim(slot, now_ + 71, now_ + 140));
  store->EndClaims();
  EXPECT_TRUE(store->Claim(slot, now_ + 71, now_ + 140));
}

TEST_F(Store, CertificatesKeepTheirPlaceAndThoseThatHaveGoneGiveItUp) {
  const auto store = New();
  const auto first = store->Assign({KeyOf(1), KeyOf(2)});
  const auto second = store->Assign({KeyOf(3), KeyOf(2)});
  EXPECT_EQ(second[1], first[1]);
  EXPECT_NE(second[0], first[1]);
  std::vector<StaplingStore::Key> many(StaplingStore::kMostCertificates);
  for (size_t i = 0; i < many.size(); ++i) {
    many[i][0] = 9;
    many[i][1] = static_cast<unsigned char>(i);
    many[i][2] = static_cast<unsigned char>(i >> 8);
  }
  many.insert(many.begin(), KeyOf(2));
  auto all = store->Assign(many);
  EXPECT_EQ(all[0], first[1]);
  EXPECT_EQ(std::count(all.begin(), all.end(), StaplingStore::kNoSlot), 1);
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::unique(all.begin(), all.end()), all.end());
}

TEST_F(Store, ASuccessorKnowsWhatItsPredecessorWasTold) {
  const auto first = New();
  const size_t slot = first->Assign({KeyOf(1)})[0];
  ASSERT_TRUE(first->Refresh(path_, now_));
  EXPECT_FALSE(std::filesystem::exists(path_)) << "nothing to tell";
  first->Publish(slot, KeyOf(1), Good(now_, "said"));
  ASSERT_TRUE(first->Refresh(path_, now_));
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  first->Publish(slot, KeyOf(1), Good(now_, "said"));
  EXPECT_FALSE(first->Refresh("/nowhere/x", now_));
  EXPECT_FALSE(first->Refresh("/nowhere/x", now_)) << "not forgotten";
  ASSERT_TRUE(first->Refresh(path_, now_));

  const auto second = New();
  const size_t there = second->Assign({KeyOf(2), KeyOf(1)})[1];
  ASSERT_TRUE(second->Refresh(path_, now_ + 5));
  EXPECT_EQ(second->Read(there, KeyOf(1)).der, "said");
  EXPECT_EQ(second->Read(there, KeyOf(1)).again, now_ + 100);

  // What the young one is told later, the old one knows, and nobody forgets what is not its own.
  second->Publish(there, KeyOf(1), Good(now_ + 50, "later"));
  second->Publish(second->Assign({KeyOf(2), KeyOf(1)})[0], KeyOf(2), Good(now_, "other"));
  ASSERT_TRUE(second->Refresh(path_, now_ + 50));
  ASSERT_TRUE(first->Refresh(path_, now_ + 51));
  EXPECT_EQ(first->Read(slot, KeyOf(1)).der, "later");
  first->Publish(slot, KeyOf(1), Good(now_ + 60, "last"));
  ASSERT_TRUE(first->Refresh(path_, now_ + 60));
  const size_t later = first->Assign({KeyOf(1), KeyOf(2)})[1];
  ASSERT_TRUE(first->Refresh(path_, now_ + 61));
  EXPECT_EQ(first->Read(later, KeyOf(2)).der, "other") << "a certificate that the next configuration has";
}

TEST_F(Store, WhatIsOldOrNoSuchFileIsNotRead) {
  const std::string text = FormatStapledAnswers({{KeyOf(1), Good(now_, "said")}, {KeyOf(2), Good(now_, "more")}});
  EXPECT_EQ(ParseStapledAnswers(text, now_).size(), 2U);
  EXPECT_EQ(ParseStapledAnswers(text, now_ + 1000).size(), 0U);
  EXPECT_EQ(ParseStapledAnswers(text, now_ - 3600).size(), 0U) << "from the future";
  EXPECT_EQ(ParseStapledAnswers("x" + text, now_).size(), 0U);
  for (size_t length = 0; length < text.size(); ++length) {
    EXPECT_LT(ParseStapledAnswers(text.substr(0, length), now_).size(), 2U);
  }
  std::string bent = text;
  bent.back() ^= 1;
  EXPECT_EQ(ParseStapledAnswers(bent, now_).size(), 1U);
  std::ofstream(path_) << "something else";
  const auto store = New();
  store->Publish(store->Assign({KeyOf(1)})[0], KeyOf(1), Good(now_, "said"));
  EXPECT_TRUE(store->Refresh(path_, now_));
  std::ifstream file(path_);
  EXPECT_EQ(ParseStapledAnswers(std::string(std::istreambuf_iterator<char>(file), {}), now_).size(), 1U);
}

// ---- when is asked, and what is shown -------------------------------------------------------------------------------

/// An authority, a certificate of its, and answers about it.
class Asking : public testing::Test {
 protected:
  Asking() : context_(::SSL_CTX_new(::TLS_server_method())), key_(::EVP_EC_gen("P-256")) {
    authority_ = Certificate(1, nullptr);
    Show(Certificate(7, "http://ocsp.example/x"));
    SSL_CTX_add1_chain_cert(context_, authority_);
    store_ = StaplingStore::Make().value();
  }
  ~Asking() override {
    stapling_.reset();
    ::X509_free(authority_);
    ::EVP_PKEY_free(key_);
    ::SSL_CTX_free(context_);
    ::ERR_clear_error();
  }

  /// As the host's certificate. Takes it.
  void Show(X509* certificate) {
    ::SSL_CTX_use_certificate(context_, certificate);
    ::SSL_CTX_use_PrivateKey(context_, key_);
    ::X509_free(certificate);
    own_ = ::SSL_CTX_get0_certificate(context_);
  }

  X509* Certificate(int serial, const char* responder) const {
    X509* out = ::X509_new();
    ::X509_set_version(out, 2);
    ::ASN1_INTEGER_set(::X509_get_serialNumber(out), serial);
    ::X509_gmtime_adj(::X509_getm_notBefore(out), -3600);
    ::X509_gmtime_adj(::X509_getm_notAfter(out), 86400);
    ::X509_set_pubkey(out, key_);
    const auto name = [](X509_NAME* to, const char* text) {
      ::X509_NAME_add_entry_by_txt(to, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(text), -1, -1, 0);
    };
    name(::X509_get_subject_name(out), serial == 1 ? "authority" : "host");
    name(::X509_get_issuer_name(out), "authority");
    if (responder) {
      X509_EXTENSION* extension =
          ::X509V3_EXT_conf_nid(nullptr, nullptr, NID_info_access, (std::string("OCSP;URI:") + responder).c_str());
      ::X509_add_ext(out, extension, -1);
      ::X509_EXTENSION_free(extension);
    }
    ::X509_sign(out, key_, ::EVP_sha256());
    return out;
  }

  /// Of now, for `life` seconds; 0: without an end.
  std::string Says(int status, long life, long age = 0, int serial = 7) const {
    X509* of = Certificate(serial, nullptr);
    OCSP_CERTID* id = ::OCSP_cert_to_id(nullptr, of, authority_);
    OCSP_BASICRESP* basic = ::OCSP_BASICRESP_new();
    ASN1_TIME* from = ::X509_gmtime_adj(nullptr, -age);
    ASN1_TIME* to = life == 0 ? nullptr : ::X509_gmtime_adj(nullptr, life);
    ::OCSP_basic_add1_status(basic, id, status, 0, from, from, to);
    ::OCSP_basic_sign(basic, authority_, key_, ::EVP_sha256(), nullptr, 0);
    OCSP_RESPONSE* response = ::OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    std::string out = Der(response);
    ::ASN1_TIME_free(from);
    ::ASN1_TIME_free(to);
    ::OCSP_BASICRESP_free(basic);
    ::OCSP_CERTID_free(id);
    ::X509_free(of);
    return out;
  }
  static std::string Refuses() { return Der(::OCSP_response_create(OCSP_RESPONSE_STATUS_INTERNALERROR, nullptr)); }
  static std::string Der(OCSP_RESPONSE* response) {
    unsigned char* der = nullptr;
    const int length = ::i2d_OCSP_RESPONSE(response, &der);
    std::string out(reinterpret_cast<char*>(der), static_cast<size_t>(length));
    ::OPENSSL_free(der);
    ::OCSP_RESPONSE_free(response);
    return out;
  }

  void Begin() {
    stapling_ = std::make_unique<Stapling>([this](const std::string& url, const std::string& request,
                                                  std::chrono::seconds timeout) -> os::Result<std::string> {
      ++asked_;
      EXPECT_EQ(url, settings_.stapling_url.value_or("http://ocsp.example/x"));
      EXPECT_FALSE(request.empty());
      EXPECT_EQ(timeout.count(), settings_.stapling_timeout_s.value_or(10));
      if (!says_) return os::Error{os::ErrorKind::kIo, 0, "no route"};
      return *says_;
    });
    stapling_->Add(context_, settings_, log_, "a:443");
    stapling_->set_store(store_);
  }
  /// How often somebody was asked by then.
  int AskedAt(int64_t seconds) {
    asked_ = 0;
    stapling_->AskWhereDue([this, seconds] { return now_ + seconds; });
    return asked_;
  }
  std::string ShownAt(int64_t seconds) const { return stapling_->Shown(own_, settings_, now_ + seconds); }

  const int64_t now_ = ::time(nullptr);
  SSL_CTX* context_;
  EVP_PKEY* key_;
  X509* authority_ = nullptr;
  X509* own_ = nullptr;
  SslSettings settings_;
  log::ErrorLog log_{nullptr, config::LogLevel::kEmerg};
  std::shared_ptr<StaplingStore> store_;
  std::unique_ptr<Stapling> stapling_;
  std::optional<std::string> says_;
  int asked_ = 0;
  const std::string try_later_{"\x30\x03\x0a\x01\x03", 5};
};

TEST_F(Asking, AGoodAnswerIsShownAndAskedForAgainInTime) {
  says_ = Says(V_OCSP_CERTSTATUS_GOOD, 7 * 86400);
  Begin();
  EXPECT_EQ(ShownAt(0), "");
  EXPECT_EQ(AskedAt(0), 1);
  EXPECT_EQ(ShownAt(0), *says_);
  EXPECT_EQ(AskedAt(3590), 0);
  EXPECT_EQ(AskedAt(3610), 1) << "SSLStaplingStandardCacheTimeout";
}

TEST_F(Asking, AShortLifeIsAskedForBeforeItsEnd) {
  says_ = Says(V_OCSP_CERTSTATUS_GOOD, 1000);
  Begin();
  AskedAt(0);
  EXPECT_EQ(AskedAt(740), 0);
  EXPECT_EQ(AskedAt(760), 1);
}

TEST_F(Asking, AGoodAnswerIsShownToItsEndWhateverFailsMeanwhile) {
  const std::string good = Says(V_OCSP_CERTSTATUS_GOOD, 5000);
  says_ = good;
  Begin();
  AskedAt(0);
  for (const bool refuses : {false, true}) {
    says_ = refuses ? std::optional(Refuses()) : std::nullopt;
    EXPECT_EQ(AskedAt(refuses ? 4400 : 3700), 1);
    EXPECT_EQ(ShownAt(4500), good);
  }
  EXPECT_EQ(AskedAt(4840), 0);
  EXPECT_EQ(AskedAt(4860), 1) << "sooner than after SSLStaplingErrorCacheTimeout";
  EXPECT_EQ(ShownAt(5200), good) << "SSLStaplingResponseTimeSkew";
  EXPECT_EQ(ShownAt(5310), try_later_);
  settings_.stapling_try_later = false;
  EXPECT_EQ(ShownAt(5310), "");
}

TEST_F(Asking, AFailureIsTriedAgainAfterItsTime) {
  settings_.stapling_error_s = 50;
  settings_.stapling_timeout_s = 3;
  Begin();
  EXPECT_EQ(AskedAt(0), 1);
  EXPECT_EQ(ShownAt(1), try_later_);
  EXPECT_EQ(AskedAt(49), 0);
  says_ = Says(V_OCSP_CERTSTATUS_GOOD, 86400);
  EXPECT_EQ(AskedAt(50), 1);
  EXPECT_EQ(ShownAt(51), *says_);
}

TEST_F(Asking, WhatARevokedCertificatesAuthoritySaysIsShownUnlessErrorsAreToBeKept) {
  const std::string good = Says(V_OCSP_CERTSTATUS_GOOD, 86400);
  says_ = good;
  Begin();
  AskedAt(0);
  says_ = Says(V_OCSP_CERTSTATUS_REVOKED, 86400);
  EXPECT_EQ(AskedAt(3700), 1);
  EXPECT_EQ(ShownAt(3700), *says_) << "no longer the good one";
  settings_.stapling_errors = false;
  EXPECT_EQ(ShownAt(3700), "");
  EXPECT_EQ(AskedAt(4250), 0);
  EXPECT_EQ(AskedAt(4350), 1) << "SSLStaplingErrorCacheTimeout";
}

TEST_F(Asking, TheWordsOfAResponderThatCannotAnswerAreShownUnlessErrorsAreToBeKept) {
  says_ = Refuses();
  Begin();
  AskedAt(0);
  EXPECT_EQ(ShownAt(1), *says_);
  settings_.stapling_errors = false;
  EXPECT_EQ(ShownAt(1), "");
}

TEST_F(Asking, WhatCannotBeTrustedIsNotShown) {
  settings_.stapling_error_s = 0;
  settings_.stapling_try_later = false;
  settings_.stapling_age_s = 500;
  Begin();
  const std::string fine = Says(V_OCSP_CERTSTATUS_GOOD, 86400);
  std::string bent = fine;
  const size_t end = bent.find("\xa0\x11\x18\x0f");  // of its life: nextUpdate
  ASSERT_NE(end, std::string::npos);
  ++bent[end + 7];  // a year more
  const std::pair<const char*, std::string> wrong[] = {
      {"changed on the way", bent},
      {"no answer", "hello"},
      {"another certificate", Says(V_OCSP_CERTSTATUS_GOOD, 86400, 0, 8)},
      {"over", Says(V_OCSP_CERTSTATUS_GOOD, -400, 800)},
      {"too old", Says(V_OCSP_CERTSTATUS_GOOD, 86400, 900)},
      {"too long", std::string(StapledAnswer::kMostBytes + 1, 'x')}};
  int64_t at = 0;
  for (const auto& [what, der] : wrong) {
    says_ = der;
    EXPECT_EQ(AskedAt(++at), 1);
    EXPECT_EQ(ShownAt(at), "") << what;
  }
  says_ = fine;
  EXPECT_EQ(AskedAt(++at), 1);
  EXPECT_EQ(ShownAt(at), fine);
  EXPECT_EQ(ShownAt(501), "") << "SSLStaplingResponseMaxAge";
}

TEST_F(Asking, AnotherAddressCanBeForcedAndAnswersOfOneAreNotThoseOfTheOther) {
  says_ = Says(V_OCSP_CERTSTATUS_GOOD, 86400);
  Begin();
  AskedAt(0);
  settings_.stapling_url = "http://other.example/";
  Begin();
  EXPECT_EQ(ShownAt(0), "");
  EXPECT_EQ(AskedAt(0), 1);
  EXPECT_EQ(ShownAt(0), *says_);
}

TEST_F(Asking, ACertificateWithoutItsIssuerOrAResponderIsToldOf) {
  SSL_CTX_clear_chain_certs(context_);
  Begin();
  ASSERT_EQ(stapling_->warnings().size(), 1U);
  EXPECT_THAT(stapling_->warnings()[0], HasSubstr("AH02604: Unable to configure certificate a:443:0 for stapling: "
                                                  "AH02217: can't retrieve issuer certificate"));
  EXPECT_EQ(ShownAt(0), "");
  Show(Certificate(9, "https://ocsp.example/"));
  Begin();
  EXPECT_THAT(stapling_->warnings()[0], HasSubstr("AH01940: Unsupported uri https://ocsp.example/"));
}

}  // namespace
}  // namespace httpd::modules
