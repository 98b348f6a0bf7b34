#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "httpd/modules/stat_file.h"
#include "os/error.h"

namespace httpd::modules {

/// A file of users: "user:hash" (htpasswd) and "user:realm:hash" (htdigest) lines. For all loops of a process.
///
/// Checking a password against bcrypt or crypt(3) is slow on purpose, and browsers send it with every request. So what
/// a check has found is remembered for kRememberedFor: under HMAC-SHA-256 (with a key that lives in this object only)
/// of the hash in the file and the password, never in clear; at most kMostRemembered outcomes, the oldest go first,
/// the bad ones apart from the good ones, so that guessing does not push users out. A changed file forgets everything.
/// Source  httpd 2.4 manual, mod_authn_socache (whose AuthnCacheTimeout is 300 s, too)
class PasswordFile {
 public:
  static constexpr std::chrono::seconds kRememberedFor{300};
  static constexpr size_t kMostRemembered = 1024;

  using Time = std::chrono::steady_clock::time_point;
  enum class Outcome { kGranted, kDenied, kUnknownUser, kUnusable };

  explicit PasswordFile(std::string path);

  /// The first line of that user counts.
  /// @param now  steady time, for what is remembered
  /// @return kUnusable: his hash is of a kind that is refused (password.h); or the file's error
  os::Result<Outcome> Check(std::string_view user, const std::string& password, Time now);

  /// Hash of that user in that realm; nullopt: there is none.
  os::Result<std::optional<std::string>> FindHash(std::string_view user, std::string_view realm);

  const std::string& path() const { return file_.path(); }

  /// How many checks had to be computed; for tests.
  uint64_t computed() const { return computed_.load(); }

 private:
  /// Outcomes of one kind.
  class Memory {
   public:
    bool Holds(const std::string& key, Time now) const;
    void Add(const std::string& key, Time until);
    void Clear();

   private:
    std::unordered_map<std::string, Time> until_;
    std::deque<std::string> order_;  ///< keys, oldest first
  };
  os::Status Refresh();  ///< with mutex_

  const std::string secret_;
  std::mutex mutex_;  ///< of all below; never held while a hash is computed
  StatFile file_;
  std::unordered_map<std::string_view, std::string_view> by_user_;        ///< views of the file's text
  std::unordered_map<std::string_view, std::string_view> by_user_realm_;  ///< "user:realm" -> hash
  Memory good_;
  Memory bad_;
  uint64_t generation_ = 0;  ///< of the file's text
  std::atomic<uint64_t> computed_ = 0;
};

}  // namespace httpd::modules
