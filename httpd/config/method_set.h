#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace httpd::config {

/// A set of request methods: these, or all but these. HEAD is GET here, as everywhere in Apache's access control;
/// names are case-sensitive. A value.
/// Source  httpd 2.4 manual, core, <Limit>, <LimitExcept>
class MethodSet {
 public:
  /// Every method there is, those included that nobody has heard of.
  MethodSet() = default;
  static MethodSet Of(std::vector<std::string> names);
  static MethodSet AllBut(std::vector<std::string> names);

  bool Contains(std::string_view method) const;
  /// Those that are in both.
  MethodSet And(const MethodSet& other) const;
  bool empty() const { return !is_complement_ && names_.empty(); }
  bool is_everything() const { return is_complement_ && names_.empty(); }
  bool operator==(const MethodSet&) const = default;

 private:
  MethodSet(std::vector<std::string> names, bool is_complement);
  std::vector<std::string> names_;  ///< sorted, each once
  bool is_complement_ = true;
};

/// Whether Apache knows the method by itself: what `Require method` and AllowMethods may name.
bool IsKnownMethod(std::string_view method);

}  // namespace httpd::config
