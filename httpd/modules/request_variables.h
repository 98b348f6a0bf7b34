#pragma once

#include <string>
#include <string_view>

namespace httpd::modules {

class RequestState;

/// A named value of a request: what %{NAME} means in expressions and in mod_rewrite.
struct RequestVariable {
  std::string_view name;
  std::string (*value)(RequestState&);
  std::string_view field;  ///< the request field that it is; "" = another thing
  /// `value`; where that is null, the variable of mod_ssl of that name
  std::string Of(RequestState& state) const;
};

/// Case-insensitive. Null: there is none of that name. Any name that begins with SSL_ is one of mod_ssl's.
const RequestVariable* FindRequestVariable(std::string_view name);

/// What stands between the braces of mod_rewrite's %{...}: a name of the table above, ENV:variable (note, variable of
/// the request, variable of the process), HTTP:field, or SSL:variable. "" for what is not known.
/// Look-ahead (LA-U:, LA-F:) is the caller's.
std::string VariableOf(RequestState& state, std::string_view name);

/// env(): a note, or else a variable of the request, or else one of the process; "" = none of them.
std::string EnvironmentValue(const RequestState& state, const std::string& name);

}  // namespace httpd::modules
