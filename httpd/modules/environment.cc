#include "httpd/modules/environment.h"

#include <strings.h>

namespace httpd::modules {

namespace {

bool SameName(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

void Environment::Set(std::string_view name, std::string_view value) {
  for (size_t i = 0; i < count_; ++i) {
    if (!SameName(entries_[i].first, name)) continue;
    entries_[i].second.assign(value);
    return;
  }
  if (count_ == entries_.size()) entries_.emplace_back();
  entries_[count_].first.assign(name);
  entries_[count_].second.assign(value);
  ++count_;
}

void Environment::Unset(std::string_view name) {
  for (size_t i = 0; i < count_; ++i) {
    if (!SameName(entries_[i].first, name)) continue;
    for (size_t next = i + 1; next < count_; ++next) std::swap(entries_[next - 1], entries_[next]);
    --count_;
    return;
  }
}

void Environment::PrefixForRedirect() {
  for (size_t i = 0; i < count_; ++i) entries_[i].first.insert(0, "REDIRECT_");
}

const std::string* Environment::Find(std::string_view name) const {
  for (size_t i = 0; i < count_; ++i) {
    if (SameName(entries_[i].first, name)) return &entries_[i].second;
  }
  return nullptr;
}

}  // namespace httpd::modules
