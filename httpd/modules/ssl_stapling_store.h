#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/error.h"

namespace httpd::modules {

/// What is known of a certificate of ours: what its authority has said about it, as clients are shown it, and when it
/// is to be asked again. Times are seconds since 1970.
struct StapledAnswer {
  static constexpr size_t kMostBytes = 10240;  ///< of `der`, as in Apache
  enum class Kind : uint64_t {
    kNone,
    kGood,  ///< not revoked
    kOther  ///< it says so and that it is revoked or unknown; or the responder said that it cannot answer
  };
  Kind kind = Kind::kNone;
  bool has_failed = false;  ///< the last time that it was asked, nothing that can be used was answered
  int64_t asked = 0;        ///< when `der` came
  int64_t until = 0;        ///< it can be shown before that
  int64_t again = 0;        ///< the authority is asked from then on
  std::string der;          ///< an OCSPResponse; Source RFC 6960, 4.2.1
};

/// The answers for an instance's certificates: in memory that its children share, so that what one of them was told is
/// known to all, and in a file of the runtime directory, so that a successor and a restarted server have them at once.
///
/// Who asks  the child that Claim()s the certificate: one at a time, as nobody but root. The file is the parent's
/// Crash     a process that is killed while it publishes changes nothing; its claim ends with EndClaims() or its time
/// Limits    kMostCertificates; memory is used for those that are there
/// Threads   any number read, claim and publish; Assign() and Refresh() are the parent's
class StaplingStore {
 public:
  static constexpr size_t kMostCertificates = 4096;
  static constexpr size_t kNoSlot = SIZE_MAX;
  using Key = std::array<unsigned char, 32>;  ///< of a certificate and whom it is asked about

  /// @return kIo: no memory
  static os::Result<std::shared_ptr<StaplingStore>> Make();
  ~StaplingStore();
  StaplingStore(const StaplingStore&) = delete;
  StaplingStore& operator=(const StaplingStore&) = delete;

  /// A place for each of `wanted`, in that order; those that have one keep it. kNoSlot: there are too many.
  std::vector<size_t> Assign(const std::vector<Key>& wanted);

  /// Kind::kNone and zeros where nothing is known of `key`.
  StapledAnswer Read(size_t slot, const Key& key) const;

  /// Whether the caller is to ask now: nobody else will before `until`.
  bool Claim(size_t slot, int64_t now, int64_t until);

  /// A process that may have asked is no more: others may, at once. The worst is that one is asked twice.
  void EndClaims();

  /// Ends the claim.
  void Publish(size_t slot, const Key& key, const StapledAnswer& answer);

  /// Takes over what other instances have written to `path`, where it is newer, and writes what has changed here (0600,
  /// by rename). Cheap when nothing did: one stat(2).
  /// @return kIo, kDenied: the file; the answers hold all the same
  os::Status Refresh(const std::string& path, int64_t now);

 private:
  struct Slot;
  explicit StaplingStore(Slot* slots) : slots_(slots) {}
  bool Take(const std::string& path, int64_t now);

  Slot* slots_;
  std::vector<Key> keys_;                               ///< by slot
  std::vector<uint32_t> saved_;                         ///< by slot: the version that the file has
  std::vector<std::pair<Key, StapledAnswer>> foreign_;  ///< in the file, of certificates that are none of ours
  uint64_t seen_inode_ = 0;
  int64_t seen_ns_ = 0;
};

/// The text of such a file.
std::string FormatStapledAnswers(const std::vector<std::pair<StaplingStore::Key, StapledAnswer>>& answers);
/// Answers that can still be shown at `now`; empty: there is none, or this is no such file.
std::vector<std::pair<StaplingStore::Key, StapledAnswer>> ParseStapledAnswers(std::string_view text, int64_t now);

}  // namespace httpd::modules
