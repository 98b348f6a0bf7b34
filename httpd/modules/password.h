#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace httpd::modules {

/// A password as it stands in a file of users (AuthUserFile): which kind it is, and what checking costs.
struct PasswordHash {
  enum class Kind {
    kSha1,     ///< {SHA}: htpasswd -s
    kApr1,     ///< $apr1$: htpasswd -m
    kCrypt,    ///< crypt(3): DES, $1$, bcrypt ($2y$: htpasswd -B), SHA-256 ($5$: -2), SHA-512 ($6$: -5), yescrypt ($y$)
    kTooSlow,  ///< one that crypt(3) knows, whose cost would stop a loop for more than about a second
    kUnknown   ///< anything else; a password in clear (htpasswd -p) is here, too: Apache on Unix takes none either
  };
  Kind kind = Kind::kUnknown;
  bool is_slow = false;  ///< takes long enough (0.1 ms and more) that its outcome is worth remembering
};

/// Limits  bcrypt up to cost 14, $5$ and $6$ up to 1,000,000 rounds, yescrypt up to cost 7: an .htaccess file can name
/// a
///         file of users, and must not be able to stop the server with one line in it
PasswordHash Classify(std::string_view hash);

/// Whether `password` is the one that `hash` was made of. Compares in constant time. Blocks for as long as the kind of
/// hash is made to take: bcrypt of cost 5 (htpasswd's default) 1 ms, of cost 10 40 ms, of cost 12 0.2 s.
/// @param password  up to 512 bytes and without NUL; a longer one matches nothing
bool PasswordMatches(const std::string& password, const std::string& hash);

/// The $apr1$ hash of a password. Source  APR-util, crypto/apr_md5.c apr_md5_encode; FreeBSD's crypt-md5
/// @param salt  up to 8 bytes are used
std::string Apr1Hash(std::string_view password, std::string_view salt);

/// MD5 as 32 hex digits.
std::string Md5Hex(std::string_view text);

/// Keeps no secret in how long it takes; different lengths are told apart at once.
bool EqualInConstantTime(std::string_view a, std::string_view b);

/// Base64 with '+' and '/'; padding is needed, nothing else may stand there. @return nullopt: malformed
std::optional<std::string> DecodeBase64(std::string_view text);
std::string EncodeBase64(std::string_view bytes);

/// HMAC-SHA-256: 32 bytes.
std::string HmacSha256(std::string_view key, std::string_view text);

/// `count` unpredictable bytes, from OpenSSL's generator (it reseeds itself after fork).
std::string RandomBytes(size_t count);

}  // namespace httpd::modules
