#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "os/error.h"

namespace Poco {
class RegularExpression;
}

namespace httpd::modules {

/// A regular expression for texts that a client chooses: what it may spend on one text is bounded. Immutable.
///
/// Options  a dot matches line ends, a $ the very end only (Apache's RegexDefaultOptions)
/// Limits   100,000 steps and a depth of 5,000 for one text, 20 groups; a text that needs more does not match
class BoundedRegex {
 public:
  using Groups = std::vector<std::pair<size_t, size_t>>;  ///< offset and length; npos: took no part

  /// @return kInvalid with the words of the library
  static os::Result<std::shared_ptr<const BoundedRegex>> Compile(const std::string& text, bool no_case = false);

  /// @param groups   [0] is the whole match
  /// @param gave_up  set when a limit was reached: what the pattern protects cannot be decided. May be null
  bool Matches(const std::string& subject, Groups& groups, bool* gave_up = nullptr) const;

 private:
  explicit BoundedRegex(std::shared_ptr<Poco::RegularExpression> regex) : regex_(std::move(regex)) {}
  std::shared_ptr<Poco::RegularExpression> regex_;
};

/// `text` with $0 to $9 replaced by groups of `subject`; a backslash protects $ and &.
/// Source  server/util.c ap_pregsub
std::string ExpandGroups(const std::string& text, const std::string& subject, const BoundedRegex::Groups& groups);

}  // namespace httpd::modules
