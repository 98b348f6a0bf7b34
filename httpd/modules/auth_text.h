#pragma once

#include <memory>
#include <string>

#include "httpd/config/builder.h"
#include "httpd/modules/expression.h"
#include "os/error.h"

namespace httpd::modules {

/// A text of the configuration that may hold %{...}: names of users and groups, a realm. A value; immutable once
/// compiled.
class AuthText {
 public:
  /// @return kInvalid with the words of Expression::Compile()
  os::Status Compile(const config::Scope& scope, const config::Node& node, const std::string& text);

  /// @return "" when it cannot be evaluated; the error log says why
  std::string For(RequestState& state) const;

 private:
  std::string text_;
  std::shared_ptr<const Expression> expression_;  ///< null: the text is all there is
};

}  // namespace httpd::modules
