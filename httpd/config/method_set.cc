#include "httpd/config/method_set.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace httpd::config {

MethodSet::MethodSet(std::vector<std::string> names, bool is_complement)
    : names_(std::move(names)), is_complement_(is_complement) {
  for (std::string& name : names_) {
    if (name == "HEAD") name = "GET";
  }
  std::sort(names_.begin(), names_.end());
  names_.erase(std::unique(names_.begin(), names_.end()), names_.end());
}

MethodSet MethodSet::Of(std::vector<std::string> names) {
  return {std::move(names), false};
}

MethodSet MethodSet::AllBut(std::vector<std::string> names) {
  return {std::move(names), true};
}

bool MethodSet::Contains(std::string_view method) const {
  if (method == "HEAD") method = "GET";
  return std::binary_search(names_.begin(), names_.end(), method, std::less<>()) != is_complement_;
}

MethodSet MethodSet::And(const MethodSet& other) const {
  const MethodSet& listed = is_complement_ ? other : *this;
  const MethodSet& second = is_complement_ ? *this : other;
  std::vector<std::string> names;
  if (listed.is_complement_) {
    std::set_union(names_.begin(), names_.end(), other.names_.begin(), other.names_.end(), std::back_inserter(names));
    return {std::move(names), true};
  }
  std::copy_if(listed.names_.begin(), listed.names_.end(), std::back_inserter(names),
               [&](const std::string& name) { return second.Contains(name); });
  return {std::move(names), false};
}

bool IsKnownMethod(std::string_view method) {
  static constexpr std::string_view kNames[] = {"GET",
                                                "HEAD",
                                                "POST",
                                                "PUT",
                                                "DELETE",
                                                "CONNECT",
                                                "OPTIONS",
                                                "TRACE",
                                                "PATCH",
                                                "COPY",
                                                "MOVE",
                                                "PROPFIND",
                                                "MKCOL",
                                                "PROPPATCH",
                                                "LOCK",
                                                "UNLOCK",
                                                "VERSION-CONTROL",
                                                "CHECKOUT",
                                                "MERGE",
                                                "UPDATE",
                                                "UNCHECKOUT",
                                                "CHECKIN",
                                                "LABEL",
                                                "REPORT",
                                                "MKWORKSPACE",
                                                "MKACTIVITY",
                                                "BASELINE-CONTROL"};
  return std::find(std::begin(kNames), std::end(kNames), method) != std::end(kNames);
}

}  // namespace httpd::config
