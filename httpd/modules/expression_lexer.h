#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/modules/expression_tree.h"

namespace httpd::modules {

/// Words of the language. Names in messages are those of Apache's generated parser: NameOf().
enum class TokenKind : uint8_t {
  kEnd,
  kError,
  kTrue,
  kFalse,
  kDigit,
  kId,
  kString,
  kRegex,
  kRegexNoCase,
  kBackReference,
  kUnary,
  kBinary,
  kStringBegin,
  kStringEnd,
  kVariableBegin,
  kVariableEnd,
  kComparison,  ///< `op` says which; `text` is its name in messages
  kMatches,
  kMatchesNot,
  kIn,
  kConcat,
  kOr,
  kAnd,
  kNot,
  kPunctuation  ///< `text` is the character in quotes
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  ExpressionNode::Op op = ExpressionNode::Op::kTrue;
};

/// How a message calls it: "T_STRING", "$end", "'('".
std::string NameOf(const Token& token);

/// A text in tokens: the last one is kEnd, behind a kError where `error` says what could not be understood.
struct Tokens {
  std::vector<Token> list;
  std::string error;
};

/// How deep variables may stand in the arguments of others.
inline constexpr int kMaxExpressionDepth = 50;

/// Cuts a text into tokens. Pure; linear in the text.
Tokens LexExpression(std::string_view text, ExpressionKind kind);

}  // namespace httpd::modules
