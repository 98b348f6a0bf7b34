#include "httpd/modules/auth_text.h"

#include <utility>

namespace httpd::modules {

os::Status AuthText::Compile(const config::Scope& scope, const config::Node& node, const std::string& text) {
  text_ = text;
  if (text.find("%{") == std::string::npos) return os::kDone;
  auto compiled =
      Expression::Compile(text, ExpressionKind::kString,
                          scope.htaccess ? ExpressionFiles::kRefused : ExpressionFiles::kAllowed, node.where);
  if (!compiled) return compiled.error();
  expression_ = std::move(compiled).value();
  return os::kDone;
}

std::string AuthText::For(RequestState& state) const {
  return expression_ ? expression_->Text(state) : text_;
}

}  // namespace httpd::modules
