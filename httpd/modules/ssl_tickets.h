#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/error.h"

namespace httpd::modules {

/// One key that session tickets are encrypted and signed with.
struct TicketKey {
  static constexpr size_t kNameBytes = 16;
  static constexpr size_t kSecretBytes = 32;
  uint64_t made = 0;  ///< seconds since 1970
  unsigned char name[kNameBytes] = {};
  unsigned char cipher[kSecretBytes] = {};     ///< AES-256; of a key file AES-128, the first half
  unsigned char signature[kSecretBytes] = {};  ///< HMAC-SHA-256; of a key file 16 bytes, zeros behind them
};

/// The keys of an instance: in memory that its children share, so that all of them know a new key at once, and in a
/// file of the runtime directory, so that a successor resumes what its predecessor began.
///
/// Rotation  the newest key encrypts for 12 hours; it decrypts for 12 to 24 hours more and is then overwritten, in the
///           file too: what was recorded before cannot be read by who steals keys later
/// Threads   any number read; one process (the parent) changes
class TicketKeys {
 public:
  static constexpr size_t kKept = 3;
  static constexpr uint64_t kRotateSeconds = 12 * 3600;

  /// With one new key. @return kIo: no memory
  static os::Result<std::shared_ptr<TicketKeys>> Make(uint64_t now);
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  /// The first one encrypts. @param out  gets all. @return how many; 0: they are being changed, or who did so has died
  size_t Read(TicketKey (&out)[kKept]) const;

  /// Takes over what another instance has written to `path`, makes a new key when the newest is old, and writes what
  /// changed (0600, by rename). Cheap when nothing did: one stat(2).
  /// @return kIo, kDenied: the file; the keys hold all the same
  os::Status Refresh(const std::string& path, uint64_t now);

 private:
  struct Shared;
  explicit TicketKeys(Shared* shared) : shared_(shared) {}
  void Publish(const std::vector<TicketKey>& keys);

  Shared* shared_;
  uint64_t seen_inode_ = 0;
  int64_t seen_ns_ = 0;
};

/// The text of such a file, the newest key first.
std::string FormatTicketKeys(const std::vector<TicketKey>& keys);
/// Keys that are not older than they may be at `now`, nor from the future; empty: this is no such file.
std::vector<TicketKey> ParseTicketKeys(std::string_view text, uint64_t now);

}  // namespace httpd::modules
