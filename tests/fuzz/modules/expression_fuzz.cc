// Input: 's' or another byte, then an expression. A text is understood or refused with a reason, the same each time,
// and what is refused in an .htaccess file can only be more. Nothing is evaluated: expressions read files.
#include <cstdint>
#include <cstdlib>

#include "httpd/modules/expression.h"

namespace {

void Require(bool good) {
  if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using httpd::modules::Expression;
  using httpd::modules::ExpressionFiles;
  using httpd::modules::ExpressionKind;
  if (size == 0) return 0;
  const auto kind = data[0] == 's' ? ExpressionKind::kString : ExpressionKind::kCondition;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto free = Expression::Compile(text, kind, ExpressionFiles::kAllowed, {});
  Require(free || !free.error().what.empty());
  const auto restricted = Expression::Compile(text, kind, ExpressionFiles::kRefused, {});
  Require(free || !restricted);
  return 0;
}
