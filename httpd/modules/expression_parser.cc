// Grammar of expressions. Messages are those that Apache's generated parser gives: what was unexpected, and what was
// expected where there are four possibilities or fewer.
#include <Poco/Exception.h>
#include <Poco/RegularExpression.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "httpd/http/values.h"
#include "httpd/modules/expression_lexer.h"
#include "httpd/modules/expression_tree.h"
#include "httpd/modules/module.h"
#include "httpd/modules/request_variables.h"

namespace httpd::modules {

namespace {

using Kind = TokenKind;
using Node = ExpressionNode;
using Op = ExpressionNode::Op;

/// Whether the pattern captures anything: only then it replaces $0 to $9. Poco does not say, but a second alternative
/// that holds where the pattern cannot has the next group's number.
bool HasGroups(const std::string& pattern) {
  Poco::RegularExpression::MatchVec groups;
  try {
    const Poco::RegularExpression probe("(?!)(?:" + pattern + "\n)|()");
    probe.match("", 0, groups);
  } catch (const Poco::Exception&) {
    return true;
  }
  return groups.size() > 2;
}

using Parsed = std::optional<Node>;

/// Tokens into a tree. A function that returns nothing has left an error.
class Parser {
 public:
  Parser(Tokens tokens, ExpressionFiles files) : tokens_(std::move(tokens)), files_(files) {}

  os::Result<std::unique_ptr<const Node>> Run(ExpressionKind kind) {
    Parsed root;
    if (kind == ExpressionKind::kString) {
      root = String(kNothing);
      if (root && !Is(Kind::kEnd)) root = Unexpected("$end");
    } else {
      root = Condition();
      if (root && !Is(Kind::kEnd)) root = Unexpected("$end");
    }
    if (root && detail_.empty()) return std::unique_ptr<const Node>(std::make_unique<Node>(std::move(*root)));
    std::string what = error_;
    if (!detail_.empty()) what += (what.empty() ? "" : ": ") + detail_;
    return os::Error{os::ErrorKind::kInvalid, 0, std::move(what)};
  }

 private:
  static constexpr std::string_view kNothing = "";

  const Token& Now() const { return tokens_.list[std::min(at_, tokens_.list.size() - 1)]; }
  bool Is(Kind kind) const { return Now().kind == kind; }
  bool Is(const char* punctuation) const { return Now().kind == Kind::kPunctuation && Now().text == punctuation; }
  void Step() { ++at_; }

  /// The grammar asks for something else. @param expected  "" = more than four things would do
  Parsed Unexpected(std::string_view expected) {
    error_ = "syntax error, unexpected " + NameOf(Now());
    if (!expected.empty()) error_.append(", expecting ").append(expected);
    if (Is(Kind::kError)) detail_ = tokens_.error;
    return std::nullopt;
  }
  /// Where the grammar knows of errors: only what the lexer said.
  Parsed LexerError() {
    detail_ = tokens_.error;
    return std::nullopt;
  }
  Parsed Abort(std::string what) {
    error_ = std::move(what);
    return std::nullopt;
  }
  struct Level {
    explicit Level(int& depth) : depth_(depth) { ++depth_; }
    ~Level() { --depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    int& depth_;
  };
  bool TooDeep() const { return depth_ > kMaxExpressionDepth; }
  Parsed DepthError() {
    return Abort("Expression is nested more than " + std::to_string(kMaxExpressionDepth) + " deep");
  }

  /// or, below it and, below it not: chains are one node, so that a long one is not a deep one.
  Parsed Condition() { return Chain(Kind::kOr, Op::kOr); }

  Parsed Chain(Kind sign, Op op) {
    Parsed first = sign == Kind::kOr ? Chain(Kind::kAnd, Op::kAnd) : Simple();
    if (!first || !Is(sign)) return first;
    Node chain;
    chain.op = op;
    chain.children.push_back(std::move(*first));
    while (Is(sign)) {
      Step();
      Parsed next = sign == Kind::kOr ? Chain(Kind::kAnd, Op::kAnd) : Simple();
      if (!next) return std::nullopt;
      chain.children.push_back(std::move(*next));
    }
    return chain;
  }

  Parsed Simple() {
    const Level level(depth_);
    if (TooDeep()) return DepthError();
    Node node;
    switch (Now().kind) {
      case Kind::kError:
        return LexerError();
      case Kind::kTrue:
      case Kind::kFalse:
        node.op = Is(Kind::kTrue) ? Op::kTrue : Op::kFalse;
        Step();
        return node;
      case Kind::kNot: {
        Step();
        Parsed inner = Simple();
        if (!inner) return std::nullopt;
        node.op = Op::kNot;
        node.children.push_back(std::move(*inner));
        return node;
      }
      case Kind::kUnary:
        return Unary();
      default:
        break;
    }
    if (!Is("'('")) return Comparison();
    Step();
    Parsed inner = Condition();
    if (!inner) return std::nullopt;
    if (!Is("')'")) return Unexpected("T_OP_OR or T_OP_AND or ')'");
    Step();
    return inner;
  }

  Parsed Unary() {
    const std::string name = Now().text;
    Step();
    Parsed word = Word();
    if (!word) return std::nullopt;
    Node node;
    node.op = Op::kUnary;
    if (const auto* provider = FindUnaryOperator(name); Check(provider, "Unary operator", "-", name, &*word)) {
      node.unary = provider->call;
    }
    node.children.push_back(std::move(*word));
    return node;
  }

  Parsed Comparison() {
    Parsed left = Word();
    if (!left) return std::nullopt;
    Node node;
    const Token sign = Now();
    switch (sign.kind) {
      case Kind::kComparison:
      case Kind::kBinary:
      case Kind::kMatches:
      case Kind::kMatchesNot:
      case Kind::kIn:
        break;
      default:
        return Unexpected(kNothing);
    }
    Step();
    node.children.push_back(std::move(*left));
    if (sign.kind == Kind::kIn) return List(std::move(node));
    if (sign.kind == Kind::kMatches || sign.kind == Kind::kMatchesNot) {
      node.op = sign.kind == Kind::kMatches ? Op::kMatches : Op::kMatchesNot;
      return Regex(std::move(node));
    }
    Parsed right = Word();
    if (!right) return std::nullopt;
    node.op = sign.op;
    if (sign.kind == Kind::kBinary) {
      node.op = Op::kBinary;
      if (const auto* provider = FindBinaryOperator(sign.text);
          Check(provider, "Binary operator", "-", sign.text, &*right)) {
        node.binary = provider->call;
      }
    }
    node.children.push_back(std::move(*right));
    return node;
  }

  Parsed Regex(Node node) {
    if (!Is(Kind::kRegex) && !Is(Kind::kRegexNoCase)) return Unexpected("T_REGEX or T_REGEX_I");
    auto compiled = CompileRegex(Now().text, Is(Kind::kRegexNoCase));
    if (!compiled) return Abort("Failed to compile regular expression");
    node.regex = std::move(compiled).value();
    node.has_groups = HasGroups(Now().text);
    Step();
    return node;
  }

  Parsed List(Node node) {
    node.op = Op::kIn;
    if (Is(Kind::kId)) {
      const std::string name = Now().text;
      Step();
      if (!Is("'('")) return Unexpected("'('");
      Step();
      Parsed argument = Word();
      if (!argument) return std::nullopt;
      if (!Is("')'")) return Unexpected("T_OP_CONCAT or ')'");
      Step();
      node.op = Op::kBinary;
      if (const auto* provider = FindListFunction(name);
          Check(provider, "List-returning function", "", name, &*argument)) {
        node.binary = provider->call;
      }
      node.children.push_back(std::move(*argument));
      return node;
    }
    if (!Is("'{'")) return Unexpected("T_ID or '{'");
    do {
      Step();
      Parsed word = Word();
      if (!word) return std::nullopt;
      node.children.push_back(std::move(*word));
    } while (Is("','"));
    if (!Is("'}'")) return Unexpected("'}' or ','");
    Step();
    return node;
  }

  Parsed Word() {
    Parsed first = Piece();
    if (!first || !Is(Kind::kConcat)) return first;
    Node concat;
    concat.op = Op::kConcat;
    concat.children.push_back(std::move(*first));
    while (Is(Kind::kConcat)) {
      Step();
      Parsed next = Piece();
      if (!next) return std::nullopt;
      concat.children.push_back(std::move(*next));
    }
    return concat;
  }

  Parsed Piece() {
    const Level level(depth_);
    if (TooDeep()) return DepthError();
    Node node;
    switch (Now().kind) {
      case Kind::kDigit:
        node.op = Op::kText;
        node.text = Now().text;
        Step();
        return node;
      case Kind::kVariableBegin:
        return Variable();
      case Kind::kBackReference:
        return BackReference();
      case Kind::kStringBegin: {
        Step();
        if (Is(Kind::kStringEnd)) {
          Step();
          node.op = Op::kText;
          return node;
        }
        Parsed text = String("T_STRING or T_REGEX_BACKREF or T_STR_END or T_VAR_BEGIN");
        if (!text) return std::nullopt;
        if (!Is(Kind::kStringEnd)) return Unexpected("T_STRING or T_REGEX_BACKREF or T_STR_END or T_VAR_BEGIN");
        Step();
        return text;
      }
      case Kind::kId: {
        const std::string name = Now().text;
        Step();
        if (!Is("'('")) return Unexpected("'('");
        Step();
        Parsed argument = Word();
        if (!argument) return std::nullopt;
        if (!Is("')'")) return Unexpected("T_OP_CONCAT or ')'");
        Step();
        return Function(name, std::move(*argument));
      }
      default:
        return Unexpected(kNothing);
    }
  }

  Node BackReference() {
    Node node;
    node.op = Op::kGroup;
    node.group = static_cast<size_t>(Now().text[0] - '0');
    Step();
    return node;
  }

  /// One part or more.
  Parsed String(std::string_view expected_later) {
    Node concat;
    concat.op = Op::kConcat;
    while (true) {
      if (Is(Kind::kString)) {
        Node text;
        text.op = Op::kText;
        text.text = Now().text;
        Step();
        concat.children.push_back(std::move(text));
      } else if (Is(Kind::kBackReference)) {
        concat.children.push_back(BackReference());
      } else if (Is(Kind::kVariableBegin)) {
        Parsed variable = Variable();
        if (!variable) return std::nullopt;
        concat.children.push_back(std::move(*variable));
      } else if (concat.children.empty()) {
        return Is(Kind::kError) ? LexerError() : Unexpected("T_ERROR or T_STRING or T_REGEX_BACKREF or T_VAR_BEGIN");
      } else if (Is(Kind::kError)) {
        return Unexpected(expected_later.empty() ? "$end" : expected_later);
      } else {
        break;
      }
    }
    if (concat.children.size() > 1) return concat;
    Node only = std::move(concat.children.front());
    return only;
  }

  Parsed Variable() {
    const Level level(depth_);
    if (TooDeep()) return DepthError();
    Step();
    if (!Is(Kind::kId)) return Unexpected("T_ID");
    const std::string name = Now().text;
    Step();
    if (Is("':'")) {
      Step();
      Parsed argument = String("T_STRING or T_REGEX_BACKREF or T_VAR_BEGIN or T_VAR_END");
      if (!argument) return std::nullopt;
      if (!Is(Kind::kVariableEnd)) return Unexpected("T_STRING or T_REGEX_BACKREF or T_VAR_BEGIN or T_VAR_END");
      Step();
      return Function(name, std::move(*argument));
    }
    if (!Is(Kind::kVariableEnd)) return Unexpected("T_VAR_END or ':'");
    Step();
    Node node;
    node.op = Op::kVariable;
    if (const RequestVariable* known = FindRequestVariable(name)) {
      node.variable = known;
      node.text = known->field;
    } else {
      detail_ = "Variable '" + name + "' does not exist";
    }
    return node;
  }

  Node Function(const std::string& name, Node argument) {
    Node node;
    node.op = Op::kFunction;
    if (const auto* provider = FindExpressionFunction(name); Check(provider, "Function", "", name, &argument)) {
      node.function = provider->call;
    }
    node.children.push_back(std::move(argument));
    return node;
  }

  /// A name that is not known, or not here, is an error, but the rest is looked at first, as Apache does.
  template <class P>
  bool Check(const P* provider, const char* what, const char* prefix, const std::string& name, const Node* last) {
    if (!provider) {
      detail_ = std::string(what) + " '" + prefix + name + "' does not exist";
    } else if (provider->is_restricted && files_ == ExpressionFiles::kRefused) {
      detail_ = prefix + std::string(provider->name) + " not available in restricted context";
    } else if (provider->takes_network && last->op != Op::kText) {
      detail_ = "-" + name + " requires subnet/netmask as constant argument";
    } else if (provider->takes_network && !http::Network::Parse(last->text)) {
      detail_ = "parsing of subnet/netmask failed";
    } else {
      return true;
    }
    return false;
  }

  Tokens tokens_;
  ExpressionFiles files_;
  size_t at_ = 0;
  int depth_ = 0;
  std::string error_;
  std::string detail_;  ///< what is wrong with a name, or what the lexer did not like; the last one
};

}  // namespace

os::Result<std::unique_ptr<const ExpressionNode>> ParseExpression(std::string_view text, ExpressionKind kind,
                                                                  ExpressionFiles files) {
  return Parser(LexExpression(text, kind), files).Run(kind);
}

}  // namespace httpd::modules
