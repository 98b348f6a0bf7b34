#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/modules/expression.h"
#include "os/error.h"

namespace Poco {
class RegularExpression;
}

namespace httpd::modules {

struct RequestVariable;

/// One evaluation on its way through a tree.
struct Evaluation {
  RequestState& state;
  ExpressionMatches& matches;
  std::string error;  ///< the first thing that went wrong; "" = nothing. The rest is evaluated, but no longer believed
  std::string vary;

  void Fail(std::string what) {
    if (error.empty()) error = std::move(what);
  }
  /// Notes that the request field `name` decided something. Host never does. Source  RFC 9110 12.5.5
  void Reads(std::string_view name);
};

using StringFunction = std::string (*)(Evaluation&, const std::string& argument);
using UnaryFunction = bool (*)(Evaluation&, const std::string& argument);
using BinaryFunction = bool (*)(Evaluation&, const std::string& left, const std::string& right);

/// Part of an expression: a condition, a comparison or a word. Which members mean something depends on `op`.
struct ExpressionNode {
  enum class Op {
    kTrue,
    kFalse,
    kNot,           ///< children: the condition
    kAnd,           ///< children: two or more conditions
    kOr,            ///< the same
    kUnary,         ///< children: the word
    kBinary,        ///< children: two words; so for every comparison
    kIntegerEqual,  ///< the following in the order of the grammar
    kIntegerNotEqual,
    kIntegerLess,
    kIntegerLessEqual,
    kIntegerGreater,
    kIntegerGreaterEqual,
    kTextEqual,
    kTextNotEqual,
    kTextLess,
    kTextLessEqual,
    kTextGreater,
    kTextGreaterEqual,
    kLengthLess,  ///< of SSLRequire: by length, and where that is the same by text
    kLengthLessEqual,
    kLengthGreater,
    kLengthGreaterEqual,
    kMatches,     ///< children: the word; `regex`
    kMatchesNot,  ///< the same
    kIn,          ///< children: the word, then the members of the list
    kText,        ///< `text`
    kConcat,      ///< children: words
    kVariable,
    kFunction,  ///< children: its argument
    kGroup      ///< $`group`
  };
  Op op = Op::kTrue;
  std::string text;  ///< kText; kVariable: the request field it reads, "" = none
  size_t group = 0;
  std::shared_ptr<Poco::RegularExpression> regex;
  bool has_groups = false;
  const RequestVariable* variable = nullptr;
  StringFunction function = nullptr;
  UnaryFunction unary = nullptr;
  BinaryFunction binary = nullptr;
  std::vector<ExpressionNode> children;
};

/// Text into tree. @return kInvalid with Apache's words
os::Result<std::unique_ptr<const ExpressionNode>> ParseExpression(std::string_view text, ExpressionKind kind,
                                                                  ExpressionFiles files);

/// A function or an operator. `is_restricted`: refused with ExpressionFiles::kRefused; `takes_network`: its last word
/// has to be a network, written out.
template <class F>
struct ExpressionProvider {
  std::string_view name;
  F call;
  bool is_restricted = false;
  bool takes_network = false;
};
/// Null: there is none. Names of unary operators are compared with case, all others without.
const ExpressionProvider<StringFunction>* FindExpressionFunction(std::string_view name);
const ExpressionProvider<UnaryFunction>* FindUnaryOperator(std::string_view name);
const ExpressionProvider<BinaryFunction>* FindBinaryOperator(std::string_view name);
/// Functions that return lists, as what they are used for: whether the left word is in the list for the right one.
const ExpressionProvider<BinaryFunction>* FindListFunction(std::string_view name);

}  // namespace httpd::modules
