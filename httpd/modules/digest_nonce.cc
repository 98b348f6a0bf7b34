#include "httpd/modules/digest_nonce.h"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "httpd/modules/password.h"

namespace httpd::modules {

namespace {

constexpr size_t kSlots = 65536;
constexpr size_t kSignedBytes = 16;
constexpr size_t kSignatureBytes = 16;

std::string Signature(std::string_view content, std::string_view key, std::string_view realm) {
  std::string text("digest nonce\n");
  text.append(content).append(realm);
  return HmacSha256(key, text).substr(0, kSignatureBytes);
}

}  // namespace

std::string SignNonce(const Nonce& nonce, std::string_view key, std::string_view realm) {
  const int64_t made = std::chrono::duration_cast<std::chrono::microseconds>(nonce.made.time_since_epoch()).count();
  std::string content(kSignedBytes, '\0');
  std::memcpy(content.data(), &made, sizeof made);
  std::memcpy(content.data() + sizeof made, &nonce.id, sizeof nonce.id);
  return EncodeBase64(content + Signature(content, key, realm));
}

NonceFault ReadNonce(std::string_view text, std::string_view key, std::string_view realm, Nonce& out) {
  const auto bytes = DecodeBase64(text);
  if (!bytes || bytes->size() != kSignedBytes + kSignatureBytes) return NonceFault::kMalformed;
  const std::string content = bytes->substr(0, kSignedBytes);
  if (!EqualInConstantTime(bytes->substr(kSignedBytes), Signature(content, key, realm))) return NonceFault::kForged;
  int64_t made = 0;
  std::memcpy(&made, content.data(), sizeof made);
  std::memcpy(&out.id, content.data() + sizeof made, sizeof out.id);
  out.made = std::chrono::system_clock::time_point(std::chrono::microseconds(made));
  return NonceFault::kNone;
}

/// `used`: the highest count in the upper half; below it, bit n: the count n less than that was used.
struct NonceCounters::Slot {
  std::atomic<uint64_t> id;
  std::atomic<uint64_t> used;
};

os::Result<std::shared_ptr<NonceCounters>> NonceCounters::Make() {
  void* memory = ::mmap(nullptr, kSlots * sizeof(Slot), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return os::SysError(errno, "mmap of nonce counters");
  static_assert(std::atomic<uint64_t>::is_always_lock_free);
  return std::shared_ptr<NonceCounters>(new NonceCounters(static_cast<Slot*>(memory)));  // zeros: no nonce has id 0
}

NonceCounters::~NonceCounters() {
  ::munmap(slots_, kSlots * sizeof(Slot));
}

NonceCounters::Slot& NonceCounters::SlotOf(uint64_t id) const {
  return slots_[id % kSlots];
}

void NonceCounters::Add(uint64_t id) {
  Slot& slot = SlotOf(id);
  slot.id = 0;  // whoever reads in between finds a nonce that is not known
  slot.used = 0;
  slot.id = id;
}

NonceCounters::Use NonceCounters::Take(uint64_t id, uint32_t count) {
  Slot& slot = SlotOf(id);
  uint64_t seen = slot.used;
  for (;;) {
    if (slot.id != id) return Use::kUnknown;
    const uint64_t highest = seen >> 32;
    uint64_t bits = seen & 0xffffffffU;
    uint64_t top = highest;
    if (count > highest) {
      const uint64_t step = count - highest;
      bits = step < 32 ? (bits << step & 0xffffffffU) | 1 : 1;
      top = count;
    } else {
      const uint64_t back = highest - count;
      if (back >= 32 || (bits >> back & 1) != 0) return Use::kReplayed;
      bits |= uint64_t{1} << back;
    }
    if (slot.used.compare_exchange_weak(seen, top << 32 | bits)) return Use::kFirstTime;
  }
}

NonceCounters::Use NonceCounters::TakeOnce(uint64_t id) {
  Slot& slot = SlotOf(id);
  if (slot.id != id) return Use::kUnknown;
  uint64_t unused = 0;
  return slot.used.compare_exchange_strong(unused, uint64_t{1} << 32 | 1) ? Use::kFirstTime : Use::kReplayed;
}

}  // namespace httpd::modules
