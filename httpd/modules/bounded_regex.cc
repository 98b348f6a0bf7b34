#include "httpd/modules/bounded_regex.h"

#include <Poco/Exception.h>
#include <Poco/RegularExpression.h>

namespace httpd::modules {

namespace {

// The library keeps what it has to come back to on the stack: the depth is what a thread's stack surely holds.
constexpr char kLimits[] = "(*LIMIT_MATCH=100000)(*LIMIT_RECURSION=5000)";

}  // namespace

os::Result<std::shared_ptr<const BoundedRegex>> BoundedRegex::Compile(const std::string& text, bool no_case) {
  using Poco::RegularExpression;
  const int options = RegularExpression::RE_DOTALL | RegularExpression::RE_DOLLAR_ENDONLY |
                      (no_case ? RegularExpression::RE_CASELESS : 0);
  try {
    auto regex = std::make_shared<RegularExpression>(kLimits + text, options);
    return std::shared_ptr<const BoundedRegex>(new BoundedRegex(std::move(regex)));
  } catch (const Poco::Exception& failed) {
    return os::Error{os::ErrorKind::kInvalid, 0, failed.displayText()};
  }
}

bool BoundedRegex::Matches(const std::string& subject, Groups& groups, bool* gave_up) const {
  Poco::RegularExpression::MatchVec found;
  groups.clear();
  try {
    if (regex_->match(subject, 0, found) == 0) return false;
  } catch (const Poco::Exception&) {
    if (gave_up) *gave_up = true;
    return false;
  }
  for (const auto& match : found) groups.emplace_back(match.offset, match.length);
  return true;
}

std::string ExpandGroups(const std::string& text, const std::string& subject, const BoundedRegex::Groups& groups) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] == '\\' && (next == '$' || next == '&')) {
      out += text[++i];
    } else if (text[i] == '$' && next >= '0' && next <= '9') {
      const size_t group = static_cast<size_t>(text[++i] - '0');
      if (group < groups.size() && groups[group].first != std::string::npos) {
        out.append(subject, groups[group].first, groups[group].second);
      }
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace httpd::modules
