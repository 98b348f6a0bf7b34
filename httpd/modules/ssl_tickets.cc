#include "httpd/modules/ssl_tickets.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "httpd/modules/password.h"
#include "os/file.h"

namespace httpd::modules {

namespace {

constexpr std::string_view kMagic = "baton ticket keys 1\n";
constexpr uint64_t kMostSeconds = TicketKeys::kKept * TicketKeys::kRotateSeconds;
constexpr uint64_t kClockSlackSeconds = 300;  // a file from the future: somebody set the clock back
constexpr size_t kWords = sizeof(TicketKey) / sizeof(uint64_t);
static_assert(sizeof(TicketKey) % sizeof(uint64_t) == 0);

TicketKey NewKey(uint64_t now) {
  TicketKey key;
  key.made = now;
  const std::string random = RandomBytes(sizeof key.name + sizeof key.cipher + sizeof key.signature);
  std::memcpy(key.name, random.data(), sizeof key.name);
  std::memcpy(key.cipher, random.data() + sizeof key.name, sizeof key.cipher);
  std::memcpy(key.signature, random.data() + sizeof key.name + sizeof key.cipher, sizeof key.signature);
  return key;
}

bool Same(const TicketKey& a, const TicketKey& b) {
  return std::memcmp(a.name, b.name, sizeof a.name) == 0;
}

}  // namespace

/// Read without a lock: `version` is odd while it is being written, and has changed when it was. Who acquires a word
/// sees the version that was stored before it was released.
struct TicketKeys::Shared {
  std::atomic<uint32_t> version{0};
  std::atomic<uint32_t> count{0};
  std::atomic<uint64_t> words[kKept * kWords] = {};
};

os::Result<std::shared_ptr<TicketKeys>> TicketKeys::Make(uint64_t now) {
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return os::SysError(errno, "memory for ticket keys");
  ::madvise(memory, sizeof(Shared), MADV_DONTDUMP);
  std::shared_ptr<TicketKeys> keys(new TicketKeys(new (memory) Shared));
  keys->Publish({NewKey(now)});
  return keys;
}

TicketKeys::~TicketKeys() {
  ::munmap(shared_, sizeof(Shared));
}

size_t TicketKeys::Read(TicketKey (&out)[kKept]) const {
  constexpr int kTries = 1000;  // some 20 us; keys change twice a day
  for (int i = 0; i < kTries; ++i) {
    const uint32_t before = shared_->version.load(std::memory_order_acquire);
    const size_t count = std::min<size_t>(shared_->count.load(std::memory_order_acquire), kKept);
    std::array<uint64_t, kWords> words{};
    for (size_t k = 0; k < count; ++k) {
      for (size_t w = 0; w < kWords; ++w) words[w] = shared_->words[k * kWords + w].load(std::memory_order_acquire);
      std::memcpy(static_cast<void*>(&out[k]), words.data(), sizeof out[k]);
    }
    if ((before & 1) == 0 && shared_->version.load(std::memory_order_relaxed) == before) return count;
  }
  return 0;
}

void TicketKeys::Publish(const std::vector<TicketKey>& keys) {
  const uint32_t version = shared_->version.load(std::memory_order_relaxed);
  shared_->version.store(version + 1, std::memory_order_relaxed);
  const size_t count = std::min(keys.size(), kKept);
  shared_->count.store(static_cast<uint32_t>(count), std::memory_order_release);
  std::array<uint64_t, kWords> words{};
  for (size_t i = 0; i < kKept; ++i) {
    words.fill(0);
    if (i < count) std::memcpy(words.data(), &keys[i], sizeof keys[i]);
    for (size_t w = 0; w < kWords; ++w) shared_->words[i * kWords + w].store(words[w], std::memory_order_release);
  }
  shared_->version.store(version + 2, std::memory_order_release);
}

os::Status TicketKeys::Refresh(const std::string& path, uint64_t now) {
  TicketKey kept[kKept];
  const size_t count = Read(kept);
  std::vector<TicketKey> keys(kept, kept + count);
  struct stat info {};
  const bool is_there = ::stat(path.c_str(), &info) == 0;
  const int64_t changed_ns = info.st_mtim.tv_sec * 1000000000LL + info.st_mtim.tv_nsec;
  bool is_new = !is_there;
  if (is_there && (info.st_ino != seen_inode_ || changed_ns != seen_ns_)) {
    auto text = os::ReadFile(path, 4096);
    auto theirs = text ? ParseTicketKeys(text.value(), now) : std::vector<TicketKey>();
    is_new = theirs.empty();
    if (!theirs.empty()) {
      // Theirs first: all instances encrypt with the same key. What only we know still decrypts.
      for (const TicketKey& key : keys) {
        const bool is_known = std::any_of(theirs.begin(), theirs.end(), [&](const auto& k) { return Same(k, key); });
        if (!is_known && seen_inode_ != 0) theirs.push_back(key);
      }
      keys = std::move(theirs);
      Publish(keys);
    }
  }
  seen_inode_ = info.st_ino;
  seen_ns_ = changed_ns;
  if (!keys.empty() && now >= keys.front().made && now - keys.front().made < kRotateSeconds && !is_new) {
    return os::kDone;
  }
  if (keys.empty() || now < keys.front().made || now - keys.front().made >= kRotateSeconds) {
    std::erase_if(keys, [now](const TicketKey& key) { return now >= key.made && now - key.made >= kMostSeconds; });
    keys.insert(keys.begin(), NewKey(now));
  }
  if (keys.size() > kKept) keys.resize(kKept);
  Publish(keys);
  if (auto written = os::ReplaceFile(path, FormatTicketKeys(keys), 0600); !written) return written;
  if (::stat(path.c_str(), &info) == 0) {
    seen_inode_ = info.st_ino;
    seen_ns_ = info.st_mtim.tv_sec * 1000000000LL + info.st_mtim.tv_nsec;
  }
  return os::kDone;
}

std::string FormatTicketKeys(const std::vector<TicketKey>& keys) {
  std::string out(kMagic);
  for (const TicketKey& key : keys) out.append(reinterpret_cast<const char*>(&key), sizeof key);
  return out;
}

std::vector<TicketKey> ParseTicketKeys(std::string_view text, uint64_t now) {
  std::vector<TicketKey> keys;
  if (!text.starts_with(kMagic)) return keys;
  text.remove_prefix(kMagic.size());
  if (text.size() % sizeof(TicketKey) != 0 || text.size() > TicketKeys::kKept * sizeof(TicketKey)) return keys;
  for (; !text.empty(); text.remove_prefix(sizeof(TicketKey))) {
    TicketKey key;
    std::memcpy(static_cast<void*>(&key), text.data(), sizeof key);
    if (key.made > now + kClockSlackSeconds || (now > key.made && now - key.made >= kMostSeconds)) continue;
    keys.push_back(key);
  }
  return keys;
}

}  // namespace httpd::modules
