#include "httpd/config/expressions.h"

namespace httpd::config {
namespace {

ExpressionCompiler& Registered() {
  static ExpressionCompiler compiler = nullptr;
  return compiler;
}

}  // namespace

void RegisterExpressions(ExpressionCompiler compiler) {
  Registered() = compiler;
}

os::Result<std::shared_ptr<const CompiledExpression>> CompileExpression(const std::string& text, ExpressionKind kind,
                                                                        ExpressionFiles files,
                                                                        const SourceLine& where) {
  if (!Registered()) return os::Error{os::ErrorKind::kInvalid, 0, "this program has no expressions"};
  return Registered()(text, kind, files, where);
}

}  // namespace httpd::config
