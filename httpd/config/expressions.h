#pragma once

#include <memory>
#include <string>

#include "os/error.h"

namespace httpd::config {

struct SourceLine;

/// What an expression stands for: yes or no (<If>, Require expr, expr= clauses), or a text with %{...} in it
/// (Header set X expr=..., ErrorDocument).
enum class ExpressionKind { kCondition, kString };

/// Whether file() and filesize() may be used. kRefused in .htaccess files: who may write one there must not read with
/// the server's rights what he cannot read himself. (-e, -f and the like are always there, as RewriteCond has them.)
enum class ExpressionFiles { kAllowed, kRefused };

/// A compiled expression as the configuration holds it. What it can do is known one floor up (modules/expression.h);
/// every one is an Expression of there.
class CompiledExpression {
 public:
  virtual ~CompiledExpression() = default;
};

/// The language. @return kInvalid with Apache's words, to be put after what the directive says
using ExpressionCompiler = os::Result<std::shared_ptr<const CompiledExpression>> (*)(const std::string& text,
                                                                                     ExpressionKind kind,
                                                                                     ExpressionFiles files,
                                                                                     const SourceLine& where);

/// Brings the language in. For the start of the program, before anything is read: not thread-safe.
void RegisterExpressions(ExpressionCompiler compiler);

/// kInvalid, too, when no language was brought in.
os::Result<std::shared_ptr<const CompiledExpression>> CompileExpression(const std::string& text, ExpressionKind kind,
                                                                        ExpressionFiles files, const SourceLine& where);

}  // namespace httpd::config
