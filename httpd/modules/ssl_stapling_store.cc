#include "httpd/modules/ssl_stapling_store.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "os/file.h"

namespace httpd::modules {

namespace {

constexpr std::string_view kMagic = "baton stapled answers 1\n";
constexpr size_t kWordBytes = sizeof(uint64_t);
constexpr int64_t kClockSlackSeconds = 300;  // a file from the future: somebody set the clock back

/// What stands before an answer's bytes, in memory and in the file.
struct Record {
  unsigned char key[sizeof(StaplingStore::Key)] = {};
  uint64_t kind = 0;
  int64_t asked = 0, until = 0, again = 0;
  uint64_t has_failed = 0;
  uint64_t length = 0;
  uint64_t sum = 0;  ///< of all that: two who publish at once must not make one answer together
};
constexpr size_t kRecordWords = sizeof(Record) / kWordBytes;
constexpr size_t kWords = kRecordWords + StapledAnswer::kMostBytes / kWordBytes;
static_assert(sizeof(Record) % kWordBytes == 0 && StapledAnswer::kMostBytes % kWordBytes == 0);

uint64_t Sum(const Record& record, std::string_view der) {
  uint64_t sum = 14695981039346656037U;  // FNV-1a
  Record bare = record;
  bare.sum = 0;
  const auto add = [&sum](const char* data, size_t length) {
    for (size_t i = 0; i < length; ++i) sum = (sum ^ static_cast<unsigned char>(data[i])) * 1099511628211U;
  };
  add(reinterpret_cast<const char*>(&bare), sizeof bare);
  add(der.data(), der.size());
  return sum;
}

Record RecordOf(const StaplingStore::Key& key, const StapledAnswer& answer) {
  Record record;
  std::memcpy(record.key, key.data(), key.size());
  record.kind = static_cast<uint64_t>(answer.kind);
  record.asked = answer.asked;
  record.until = answer.until;
  record.again = answer.again;
  record.has_failed = answer.has_failed ? 1 : 0;
  record.length = answer.der.size();
  record.sum = Sum(record, answer.der);
  return record;
}

bool IsSound(const Record& record, std::string_view der) {
  return record.sum == Sum(record, der) && record.kind <= static_cast<uint64_t>(StapledAnswer::Kind::kOther);
}

StapledAnswer AnswerOf(const Record& record, std::string der) {
  StapledAnswer answer;
  answer.kind = static_cast<StapledAnswer::Kind>(record.kind);
  answer.asked = record.asked;
  answer.until = record.until;
  answer.again = record.again;
  answer.has_failed = record.has_failed != 0;
  answer.der = std::move(der);
  return answer;
}

size_t WordsFor(size_t bytes) {
  return (bytes + kWordBytes - 1) / kWordBytes;
}

}  // namespace

/// Two places, of which the one that `version` names (its last bit) is read while the other is written: who is killed
/// while writing has changed nothing.
struct StaplingStore::Slot {
  std::atomic<uint32_t> version{0};
  std::atomic<int64_t> claimed_until{0};
  std::atomic<uint64_t> words[2][kWords] = {};
};

os::Result<std::shared_ptr<StaplingStore>> StaplingStore::Make() {
  // Pages that nobody has touched take no memory, and their zeros are slots of which nothing is known.
  void* memory = ::mmap(nullptr, sizeof(Slot) * kMostCertificates, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return os::SysError(errno, "memory for stapled answers");
  return std::shared_ptr<StaplingStore>(new StaplingStore(static_cast<Slot*>(memory)));
}

StaplingStore::~StaplingStore() {
  ::munmap(slots_, sizeof(Slot) * kMostCertificates);
}

std::vector<size_t> StaplingStore::Assign(const std::vector<Key>& wanted) {
  std::vector<size_t> out(wanted.size(), kNoSlot);
  std::vector<bool> is_used(kMostCertificates);
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto found = std::find(keys_.begin(), keys_.end(), wanted[i]);
    if (found == keys_.end()) continue;
    out[i] = static_cast<size_t>(found - keys_.begin());
    is_used[out[i]] = true;
  }
  size_t unused = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (out[i] != kNoSlot) continue;
    seen_inode_ = 0;  // the file may know it
    if (keys_.size() < kMostCertificates) {
      out[i] = keys_.size();
      keys_.push_back(wanted[i]);
      saved_.push_back(slots_[out[i]].version.load(std::memory_order_relaxed));
    } else {
      while (unused < kMostCertificates && is_used[unused]) ++unused;
      if (unused == kMostCertificates) break;
      out[i] = unused;
      keys_[unused] = wanted[i];
    }
    is_used[out[i]] = true;
  }
  return out;
}

StapledAnswer StaplingStore::Read(size_t slot, const Key& key) const {
  constexpr int kTries = 3;  // an answer changes once in minutes
  if (slot >= kMostCertificates) return {};
  const Slot& from = slots_[slot];
  for (int i = 0; i < kTries; ++i) {
    const uint32_t version = from.version.load(std::memory_order_acquire);
    if (version == 0) return {};
    const auto& words = from.words[version & 1];
    uint64_t head[kRecordWords];
    for (size_t w = 0; w < kRecordWords; ++w) head[w] = words[w].load(std::memory_order_acquire);
    Record record;
    std::memcpy(static_cast<void*>(&record), head, sizeof record);
    const size_t length = std::min<size_t>(record.length, StapledAnswer::kMostBytes);
    std::string der(WordsFor(length) * kWordBytes, '\0');
    for (size_t w = 0; w < WordsFor(length); ++w) {
      const uint64_t word = words[kRecordWords + w].load(std::memory_order_acquire);
      std::memcpy(der.data() + w * kWordBytes, &word, kWordBytes);
    }
    der.resize(length);
    if (from.version.load(std::memory_order_relaxed) != version) continue;
    if (std::memcmp(record.key, key.data(), key.size()) != 0 || !IsSound(record, der)) return {};
    return AnswerOf(record, std::move(der));
  }
  return {};
}

bool StaplingStore::Claim(size_t slot, int64_t now, int64_t until) {
  if (slot >= kMostCertificates) return false;
  int64_t before = slots_[slot].claimed_until.load();
  return before <= now && slots_[slot].claimed_until.compare_exchange_strong(before, until);
}

void StaplingStore::EndClaims() {
  for (size_t slot = 0; slot < keys_.size(); ++slot) slots_[slot].claimed_until.store(0);
}

void StaplingStore::Publish(size_t slot, const Key& key, const StapledAnswer& answer) {
  if (slot >= kMostCertificates || answer.der.size() > StapledAnswer::kMostBytes) return;
  Slot& to = slots_[slot];
  const uint32_t version = to.version.load(std::memory_order_acquire);
  // 0 means that nothing was ever published.
  const uint32_t next = version == UINT32_MAX ? 2 : version + 1;
  auto& words = to.words[next & 1];
  const Record record = RecordOf(key, answer);
  uint64_t head[kRecordWords];
  std::memcpy(head, &record, sizeof record);
  for (size_t w = 0; w < kRecordWords; ++w) words[w].store(head[w], std::memory_order_release);
  for (size_t w = 0; w < WordsFor(answer.der.size()); ++w) {
    uint64_t word = 0;
    std::memcpy(&word, answer.der.data() + w * kWordBytes, std::min(kWordBytes, answer.der.size() - w * kWordBytes));
    words[kRecordWords + w].store(word, std::memory_order_release);
  }
  to.version.store(next, std::memory_order_release);
  to.claimed_until.store(0);
}

bool StaplingStore::Take(const std::string& path, int64_t now) {
  constexpr size_t kMostFileBytes = kMostCertificates * (StapledAnswer::kMostBytes + sizeof(Record));
  foreign_.clear();
  auto text = os::ReadFile(path, kMostFileBytes);
  if (!text) return false;
  bool is_newer_here = false;
  for (auto& [key, theirs] : ParseStapledAnswers(text.value(), now)) {
    const auto found = std::find(keys_.begin(), keys_.end(), key);
    if (found == keys_.end()) {
      foreign_.emplace_back(key, std::move(theirs));
      continue;
    }
    const auto slot = static_cast<size_t>(found - keys_.begin());
    const StapledAnswer ours = Read(slot, key);
    if (ours.asked >= theirs.asked) {
      is_newer_here = is_newer_here || ours.asked > theirs.asked;
      continue;
    }
    Publish(slot, key, theirs);
    saved_[slot] = slots_[slot].version.load();
  }
  return is_newer_here;
}

os::Status StaplingStore::Refresh(const std::string& path, int64_t now) {
  struct stat info {};
  const bool is_there = ::stat(path.c_str(), &info) == 0;
  const auto note = [&] {
    seen_inode_ = info.st_ino;
    seen_ns_ = info.st_mtim.tv_sec * 1000000000LL + info.st_mtim.tv_nsec;
  };
  bool has_changed = false;
  const int64_t written_ns = info.st_mtim.tv_sec * 1000000000LL + info.st_mtim.tv_nsec;
  if (is_there && (info.st_ino != seen_inode_ || written_ns != seen_ns_)) has_changed = Take(path, now);
  note();
  std::vector<uint32_t> versions(keys_.size());
  for (size_t slot = 0; slot < keys_.size(); ++slot) versions[slot] = slots_[slot].version.load();
  if (!has_changed && versions == saved_) return os::kDone;
  std::vector<std::pair<Key, StapledAnswer>> all;
  for (size_t slot = 0; slot < keys_.size(); ++slot) {
    StapledAnswer answer = Read(slot, keys_[slot]);
    if (!answer.der.empty() && answer.until > now) all.emplace_back(keys_[slot], std::move(answer));
  }
  std::erase_if(foreign_, [now](const auto& one) { return one.second.until <= now; });
  all.insert(all.end(), foreign_.begin(), foreign_.end());
  if (auto written = os::ReplaceFile(path, FormatStapledAnswers(all), 0600); !written) return written;
  saved_ = std::move(versions);
  if (::stat(path.c_str(), &info) == 0) note();
  return os::kDone;
}

std::string FormatStapledAnswers(const std::vector<std::pair<StaplingStore::Key, StapledAnswer>>& answers) {
  std::string out(kMagic);
  for (const auto& [key, answer] : answers) {
    const Record record = RecordOf(key, answer);
    out.append(reinterpret_cast<const char*>(&record), sizeof record).append(answer.der);
  }
  return out;
}

std::vector<std::pair<StaplingStore::Key, StapledAnswer>> ParseStapledAnswers(std::string_view text, int64_t now) {
  std::vector<std::pair<StaplingStore::Key, StapledAnswer>> out;
  if (!text.starts_with(kMagic)) return out;
  text.remove_prefix(kMagic.size());
  while (text.size() >= sizeof(Record)) {
    Record record;
    std::memcpy(static_cast<void*>(&record), text.data(), sizeof record);
    text.remove_prefix(sizeof record);
    if (record.length > StapledAnswer::kMostBytes || record.length > text.size()) break;
    const std::string_view der = text.substr(0, record.length);
    text.remove_prefix(der.size());
    if (!IsSound(record, der) || record.until <= now || record.asked > now + kClockSlackSeconds) continue;
    StaplingStore::Key key;
    std::memcpy(key.data(), record.key, key.size());
    out.emplace_back(key, AnswerOf(record, std::string(der)));
  }
  return out;
}

}  // namespace httpd::modules
