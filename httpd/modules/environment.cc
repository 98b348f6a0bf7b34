#include "httpd/modules/environment.h"

#include <algorithm>

#include "httpd/http/ascii.h"

namespace httpd::modules {

using http::EqualsIgnoreCase;

void Environment::Set(std::string_view name, std::string_view value) {
  for (size_t i = 0; i < count_; ++i) {
    if (!EqualsIgnoreCase(entries_[i].first, name)) continue;
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
    if (!EqualsIgnoreCase(entries_[i].first, name)) continue;
    const auto at = entries_.begin() + static_cast<std::ptrdiff_t>(i);
    std::rotate(at, at + 1, entries_.begin() + static_cast<std::ptrdiff_t>(count_));  // its memory stays in reserve
    --count_;
    return;
  }
}

void Environment::PrefixForRedirect() {
  for (size_t i = 0; i < count_; ++i) entries_[i].first.insert(0, "REDIRECT_");
}

const std::string* Environment::Find(std::string_view name) const {
  for (size_t i = 0; i < count_; ++i) {
    if (EqualsIgnoreCase(entries_[i].first, name)) return &entries_[i].second;
  }
  return nullptr;
}

}  // namespace httpd::modules
