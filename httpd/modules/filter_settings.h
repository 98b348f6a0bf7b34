#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/module_slots.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/filters.h"

namespace httpd::modules {

/// What FilterProtocol says of a filter. Source  httpd 2.4 manual, mod_filter
enum FilterProtocolBit : unsigned {
  kFilterChanges = 1,        ///< change=1:1
  kFilterChangesLength = 2,  ///< change=yes: both
  kFilterNoByteRanges = 4,   ///< byteranges=no
  kFilterNoProxy = 8,        ///< proxy=no
  kFilterTransforms = 16,    ///< proxy=transform
  kFilterNoCache = 32        ///< cache=no
};

/// FilterProvider, AddOutputFilterByType: which filter runs when.
struct FilterProvider {
  const OutputFilter* filter = nullptr;
  std::vector<std::string> types;                ///< media types, for AddOutputFilterByType
  std::shared_ptr<const Expression> expression;  ///< for FilterProvider
  unsigned protocol = 0;
};

/// FilterDeclare: a name in a chain that stands for the first of its providers whose condition holds.
struct SmartFilter {
  std::string name;
  std::optional<FilterType> type;  ///< nullopt: that of the provider
  std::vector<FilterProvider> providers;
  unsigned protocol = 0;
  bool is_traced = false;
};

/// What was said about filters in one place of the configuration.
struct FilterSettings final : config::ModuleSettings {
  struct Step {
    char action = '+';  ///< as in FilterChain; '?' = at the end unless it is there
    std::string name;   ///< lower case
  };
  std::optional<std::vector<const OutputFilter*>> output;  ///< SetOutputFilter
  std::map<std::string, SmartFilter> declared;             ///< by name in lower case
  std::vector<Step> steps;                                 ///< of FilterChain, from the outermost place on
  std::vector<std::string> chain;                          ///< what they come to: names in lower case

  void Take(Step step);
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override;
};

/// The directives of mod_filter, and SetOutputFilter.
const std::vector<config::Directive>& FilterDirectives();

}  // namespace httpd::modules
