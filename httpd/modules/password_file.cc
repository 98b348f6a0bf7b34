#include "httpd/modules/password_file.h"

#include <algorithm>
#include <utility>

#include "httpd/modules/password.h"

namespace httpd::modules {

namespace {

std::string_view Trimmed(std::string_view line) {
  constexpr std::string_view kBlanks = " \t\r\v\f";
  const size_t first = line.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return line.substr(first, line.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace

bool PasswordFile::Memory::Holds(const std::string& key, Time now) const {
  const auto found = until_.find(key);
  return found != until_.end() && now < found->second;
}

void PasswordFile::Memory::Add(const std::string& key, Time until) {
  const auto [entry, is_new] = until_.insert_or_assign(key, until);
  if (!is_new) return;
  order_.push_back(key);
  if (order_.size() <= kMostRemembered) return;
  until_.erase(order_.front());
  order_.pop_front();
}

void PasswordFile::Memory::Clear() {
  until_.clear();
  order_.clear();
}

PasswordFile::PasswordFile(std::string path) : secret_(RandomBytes(32)), file_(std::move(path)) {}

os::Status PasswordFile::Refresh() {
  auto is_new = file_.Refresh();
  if (!is_new) return is_new.error();
  if (!is_new.value()) return os::kDone;
  by_user_.clear();
  by_user_realm_.clear();
  good_.Clear();
  bad_.Clear();
  ++generation_;
  std::string_view rest = file_.text();
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = Trimmed(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line.front() == '#') continue;
    const size_t first = line.find(':');
    if (first == std::string_view::npos) continue;
    const size_t second = line.find(':', first + 1);
    by_user_.try_emplace(line.substr(0, first),
                         line.substr(first + 1, second == std::string_view::npos ? second : second - first - 1));
    if (second == std::string_view::npos) continue;
    const std::string_view hash = line.substr(second + 1);
    by_user_realm_.try_emplace(line.substr(0, second), hash.substr(0, hash.find(':')));
  }
  return os::kDone;
}

os::Result<PasswordFile::Outcome> PasswordFile::Check(std::string_view user, const std::string& password, Time now) {
  std::string hash;
  std::string key;
  uint64_t generation = 0;
  {
    const std::lock_guard lock(mutex_);
    if (auto fresh = Refresh(); !fresh) return fresh.error();
    const auto found = by_user_.find(user);
    if (found == by_user_.end()) return Outcome::kUnknownUser;
    hash = found->second;
    const PasswordHash kind = Classify(hash);
    if (kind.kind == PasswordHash::Kind::kUnknown || kind.kind == PasswordHash::Kind::kTooSlow) {
      return Outcome::kUnusable;
    }
    if (kind.is_slow) {
      key = HmacSha256(secret_, hash + '\0' + password);
      if (good_.Holds(key, now)) return Outcome::kGranted;
      if (bad_.Holds(key, now)) return Outcome::kDenied;
    }
    generation = generation_;
  }
  ++computed_;
  const bool matches = PasswordMatches(password, hash);
  if (!key.empty()) {
    const std::lock_guard lock(mutex_);
    if (generation == generation_) (matches ? good_ : bad_).Add(key, now + kRememberedFor);
  }
  return matches ? Outcome::kGranted : Outcome::kDenied;
}

os::Result<std::optional<std::string>> PasswordFile::FindHash(std::string_view user, std::string_view realm) {
  const std::lock_guard lock(mutex_);
  if (auto fresh = Refresh(); !fresh) return fresh.error();
  std::string key(user);
  key.append(":").append(realm);
  const auto found = by_user_realm_.find(key);
  if (found == by_user_realm_.end()) return std::optional<std::string>();
  return std::optional<std::string>(found->second);
}

}  // namespace httpd::modules
