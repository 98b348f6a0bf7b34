#include "httpd/modules/password.h"

#include <Poco/MD5Engine.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <stdexcept>

namespace httpd::modules {

namespace {

constexpr size_t kMostPasswordBytes = CRYPT_MAX_PASSPHRASE_SIZE;
constexpr int kMostBcryptCost = 14;
constexpr long kMostShaRounds = 1000000;
constexpr std::string_view kCryptDigits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

bool IsCryptText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return kCryptDigits.find(c) != std::string_view::npos; });
}

/// Decimal digits at the start of `text`; -1: none.
long LeadingNumber(std::string_view text) {
  long value = -1;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

PasswordHash CryptKind(bool is_too_slow) {
  return {is_too_slow ? PasswordHash::Kind::kTooSlow : PasswordHash::Kind::kCrypt, true};
}

std::string Md5(Poco::MD5Engine& engine) {
  const Poco::DigestEngine::Digest& digest = engine.digest();
  return {digest.begin(), digest.end()};
}

std::string Sha1Base64(std::string_view text) {
  unsigned char digest[SHA_DIGEST_LENGTH];
  ::SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return EncodeBase64({reinterpret_cast<const char*>(digest), sizeof digest});
}

}  // namespace

PasswordHash Classify(std::string_view hash) {
  using Kind = PasswordHash::Kind;
  if (hash.starts_with("{SHA}")) return {Kind::kSha1, false};
  if (hash.starts_with("$apr1$")) return {Kind::kApr1, true};
  if (hash.starts_with("$1$")) return CryptKind(false);
  if (hash.size() > 7 && hash.starts_with("$2") && hash[3] == '$' && hash[6] == '$') {
    return CryptKind(LeadingNumber(hash.substr(4)) > kMostBcryptCost);
  }
  if (hash.starts_with("$5$") || hash.starts_with("$6$")) {
    constexpr std::string_view kRounds = "rounds=";
    const std::string_view rest = hash.substr(3);
    return CryptKind(rest.starts_with(kRounds) && LeadingNumber(rest.substr(kRounds.size())) > kMostShaRounds);
  }
  if (hash.starts_with("$y$j") && hash.size() > 5) {
    // "jN": the memory is 2^(N's digit + 1) KiB and time goes with it; '9' is cost 5, 'B' cost 7.
    const bool is_too_slow = kCryptDigits.find(hash[4]) > kCryptDigits.find('B');
    return CryptKind(is_too_slow || hash.find('$', 3) != 6);
  }
  if (hash.size() == 13 && IsCryptText(hash)) return {Kind::kCrypt, false};
  return {};
}

bool PasswordMatches(const std::string& password, const std::string& hash) {
  if (password.size() > kMostPasswordBytes || password.find('\0') != std::string::npos) return false;
  switch (Classify(hash).kind) {
    case PasswordHash::Kind::kSha1:
      return EqualInConstantTime("{SHA}" + Sha1Base64(password), hash);
    case PasswordHash::Kind::kApr1: {
      const size_t end = hash.find('$', 6);
      return EqualInConstantTime(Apr1Hash(password, std::string_view(hash).substr(6, end - 6)), hash);
    }
    case PasswordHash::Kind::kCrypt: {
      const auto data = std::make_unique<crypt_data>();  // 32 KiB
      const char* made = ::crypt_rn(password.c_str(), hash.c_str(), data.get(), static_cast<int>(sizeof *data));
      const bool matches = made && EqualInConstantTime(made, hash);
      ::OPENSSL_cleanse(data.get(), sizeof *data);
      return matches;
    }
    case PasswordHash::Kind::kTooSlow:
    case PasswordHash::Kind::kUnknown:
      break;
  }
  return false;
}

std::string Apr1Hash(std::string_view password, std::string_view salt) {
  constexpr std::string_view kMagic = "$apr1$";
  salt = salt.substr(0, 8);
  Poco::MD5Engine engine;
  const auto add = [&engine](std::string_view text) { engine.update(text.data(), text.size()); };
  add(password);
  add(salt);
  add(password);
  std::string state = Md5(engine);
  add(password);
  add(kMagic);
  add(salt);
  for (size_t left = password.size(); left > 0; left -= std::min<size_t>(left, 16)) {
    add(std::string_view(state).substr(0, std::min<size_t>(left, 16)));
  }
  for (size_t bits = password.size(); bits != 0; bits >>= 1) {
    add((bits & 1) != 0 ? std::string_view("\0", 1) : password.substr(0, 1));
  }
  state = Md5(engine);
  for (int round = 0; round < 1000; ++round) {
    add(round % 2 != 0 ? password : std::string_view(state));
    if (round % 3 != 0) add(salt);
    if (round % 7 != 0) add(password);
    add(round % 2 != 0 ? std::string_view(state) : password);
    state = Md5(engine);
  }
  std::string out(kMagic);
  out.append(salt).append("$");
  const auto add_digits = [&out](unsigned value, int count) {
    for (; count > 0; --count, value >>= 6) out += kCryptDigits[value & 0x3f];
  };
  const auto byte = [&state](size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(state[i])); };
  for (size_t i = 0; i < 5; ++i) {
    add_digits(byte(i) << 16 | byte(i + 6) << 8 | byte(i == 4 ? 5 : i + 12), 4);
  }
  add_digits(byte(11), 2);
  return out;
}

std::string Md5Hex(std::string_view text) {
  Poco::MD5Engine engine;
  engine.update(text.data(), text.size());
  return Poco::DigestEngine::digestToHex(engine.digest());
}

bool EqualInConstantTime(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const bool is_clean = std::all_of(text.begin(), text.end() - static_cast<std::ptrdiff_t>(padding), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '/';
  });
  if (!is_clean) return std::nullopt;  // OpenSSL would skip blanks
  std::string out(text.size() / 4 * 3, '\0');
  const int length =
      ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (length < 0) return std::nullopt;
  out.resize(static_cast<size_t>(length) - padding);
  return out;
}

std::string EncodeBase64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL ends it with NUL
  const int length =
      ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                        reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<size_t>(length));
  return out;
}

std::string HmacSha256(std::string_view key, std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (!::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
              reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &length)) {
    throw std::runtime_error("HMAC-SHA-256 is not there");  // OpenSSL without its default provider
  }
  return {reinterpret_cast<const char*>(digest), length};
}

std::string RandomBytes(size_t count) {
  std::string out(count, '\0');
  if (::RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(count)) != 1) {
    throw std::runtime_error("no random bytes");  // the kernel has always some
  }
  return out;
}

}  // namespace httpd::modules
