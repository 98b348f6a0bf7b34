#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "os/error.h"

namespace httpd::modules {

/// What a server gives a client to answer to: the time, a random number, and a signature over both and the realm.
/// Whoever has the key can check one, so that all processes, and two instances of one server, take each other's.
struct Nonce {
  std::chrono::system_clock::time_point made;
  uint64_t id = 0;
};

/// 44 characters of Base64.
std::string SignNonce(const Nonce& nonce, std::string_view key, std::string_view realm);

enum class NonceFault { kNone, kMalformed, kForged };
/// @return kForged: with another key, or for another realm
NonceFault ReadNonce(std::string_view text, std::string_view key, std::string_view realm, Nonce& out);

/// Which requests a nonce was used for, in memory that all children of the parent share: made before they are forked.
/// A nonce that another instance made is unknown here, as is one whose place another has taken.
///
/// Memory   1 MiB of address space, 65,536 nonces; touched as it is used
/// Threads  any, in any of the processes; never blocks
class NonceCounters {
 public:
  enum class Use { kFirstTime, kReplayed, kUnknown };

  static os::Result<std::shared_ptr<NonceCounters>> Make();
  ~NonceCounters();
  NonceCounters(const NonceCounters&) = delete;
  NonceCounters& operator=(const NonceCounters&) = delete;

  void Add(uint64_t id);
  /// Counts may overtake each other by up to 31: a browser has several connections.
  /// @param count  nc of the request, from 1
  Use Take(uint64_t id, uint32_t count);
  /// A nonce that is good for one request: whatever its count is.
  Use TakeOnce(uint64_t id);

 private:
  struct Slot;
  explicit NonceCounters(Slot* slots) : slots_(slots) {}
  Slot& SlotOf(uint64_t id) const;
  Slot* slots_;
};

}  // namespace httpd::modules
