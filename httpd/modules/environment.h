#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace httpd::modules {

/// Variables of one request: what SetEnv, SetEnvIf and others note for logs, conditions and CGI programs.
/// Names are compared without case (Apache's tables do so), the spelling of the first one stays. One object per loop,
/// reused: Clear() keeps the memory.
class Environment {
 public:
  void Clear() { count_ = 0; }
  void Set(std::string_view name, std::string_view value);
  void Unset(std::string_view name);
  /// nullptr: not set. The view lives until the next Set() or Unset().
  const std::string* Find(std::string_view name) const;

  /// An internal redirect: what was set is REDIRECT_... for the new request. Source  httpd 2.4 manual, custom-error
  void PrefixForRedirect();

  template <class F>
  void ForEach(F visit) const {
    for (size_t i = 0; i < count_; ++i) visit(entries_[i].first, entries_[i].second);
  }
  size_t size() const { return count_; }

 private:
  std::vector<std::pair<std::string, std::string>> entries_;  ///< the first count_ are set
  size_t count_ = 0;
};

}  // namespace httpd::modules
