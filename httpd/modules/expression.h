#pragma once

#include <Poco/RegularExpression.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/server_config.h"
#include "os/error.h"

namespace httpd::modules {

class RequestState;
struct ExpressionNode;

using config::ExpressionFiles;
using config::ExpressionKind;

/// $0 to $9: what the last regular expression with groups left. Values, so that they outlive the request's texts.
struct ExpressionMatches {
  std::string subject;
  Poco::RegularExpression::MatchVec groups;  ///< in `subject`; offset npos: took no part

  /// "" where there is no such group.
  std::string_view Group(size_t n) const;
};

struct ExpressionResult {
  bool holds = false;   ///< kCondition
  bool failed = false;  ///< it could not be evaluated; the error log says why; `holds` is false, `text` is ""
  std::string text;     ///< kString
  std::string vary;     ///< request fields that it read, "a, b", for the answer's Vary; "" = none
};

/// One compiled expression of Apache's ap_expr language. Immutable: all loops share it.
///
/// Limits   texts up to 8191 bytes between two quotes, 50 levels of brackets; while evaluating, no text longer than
///          10 MiB; -F, -U and -A are false in a look-up that a look-up made
/// Blocks   never longer than a file read or stat does; names of addresses are not looked up
/// Source   httpd 2.4 manual, expr.html
class Expression final : public config::CompiledExpression {
 public:
  /// @param where  for the error log: who is to blame when it cannot be evaluated
  /// @return kInvalid with Apache's words ("Variable 'FOO' does not exist"), to be put after what the directive says
  static os::Result<std::shared_ptr<const Expression>> Compile(std::string_view text, ExpressionKind kind,
                                                               ExpressionFiles files, const config::SourceLine& where);
  /// A condition of SSLRequire: the same but for comparisons, which all are of texts, and where the shorter one is the
  /// smaller. Source  httpd 2.4 manual, mod_ssl, SSLRequire; server/util_expr_eval.c strcmplex()
  static os::Result<std::shared_ptr<const Expression>> CompileSslRequire(std::string_view text, ExpressionFiles files,
                                                                         const config::SourceLine& where);
  ~Expression() override;
  Expression(const Expression&) = delete;
  Expression& operator=(const Expression&) = delete;

  /// Evaluates it. Changes nothing but `matches`: Vary is the caller's to add.
  /// @param matches  null: groups begin empty and end with the evaluation; else $n of before can be read, and what the
  ///                 last regular expression with groups left is there for the caller
  ExpressionResult Evaluate(RequestState& state, ExpressionMatches* matches = nullptr) const;

  /// A condition as most directives want it: the fields that it read are added to the answer's Vary.
  bool Holds(RequestState& state) const;

  /// A text as most directives want it; Apache adds nothing to Vary for one.
  std::string Text(RequestState& state) const;

  const config::SourceLine& where() const { return where_; }

 private:
  Expression(std::unique_ptr<const ExpressionNode> root, ExpressionKind kind, const config::SourceLine& where);
  std::unique_ptr<const ExpressionNode> root_;
  ExpressionKind kind_;
  config::SourceLine where_;
};

/// What the configuration holds, as what it is. Null stays null.
const Expression* AsExpression(const std::shared_ptr<const config::CompiledExpression>& held);

/// Makes the language known to the configuration. Once, at the start of the program; RegisterModules() does.
void RegisterExpressionLanguage();

/// Adds `names` ("a, b") to the Vary field of the answer being made, those that it does not have yet. "" changes
/// nothing.
void AddVary(RequestState& state, std::string_view names);

}  // namespace httpd::modules
