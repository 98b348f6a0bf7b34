#include "httpd/modules/expression.h"

#include <Poco/Exception.h>
#include <Poco/RegularExpression.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "httpd/http/ascii.h"
#include "httpd/modules/expression_tree.h"
#include "httpd/modules/module.h"
#include "httpd/modules/request_variables.h"

namespace httpd::modules {

namespace {

using Node = ExpressionNode;
using Op = ExpressionNode::Op;

constexpr size_t kMaxWordBytes = 10 * 1024 * 1024;

std::string WordOf(Evaluation& evaluation, const Node& node);

/// Whether `name` is in a list "a, b", without case.
bool HoldsMember(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    std::string_view member = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (member.starts_with(' ')) member.remove_prefix(1);
    while (member.ends_with(' ')) member.remove_suffix(1);
    if (http::EqualsIgnoreCase(member, name)) return true;
  }
  return false;
}

/// The one that costs nothing where it is a text, which most are.
const std::string& WordOf(Evaluation& evaluation, const Node& node, std::string& buffer) {
  if (node.op == Op::kText) return node.text;
  buffer = WordOf(evaluation, node);
  return buffer;
}

std::string Concatenated(Evaluation& evaluation, const Node& node) {
  std::string out;
  std::string buffer;
  for (const Node& child : node.children) {
    const std::string& part = WordOf(evaluation, child, buffer);
    if (out.size() + part.size() > kMaxWordBytes) {
      evaluation.Fail("A text is longer than 10 MiB");
      return "";
    }
    out += part;
  }
  return out;
}

std::string WordOf(Evaluation& evaluation, const Node& node) {
  switch (node.op) {
    case Op::kText:
      return node.text;
    case Op::kConcat:
      return Concatenated(evaluation, node);
    case Op::kVariable:
      if (!node.text.empty()) evaluation.Reads(node.text);
      return node.variable->Of(evaluation.state);
    case Op::kFunction: {
      std::string buffer;
      const std::string& argument = WordOf(evaluation, node.children[0], buffer);
      std::string out = node.function(evaluation, argument);
      if (out.size() <= kMaxWordBytes) return out;
      evaluation.Fail("A text is longer than 10 MiB");
      return "";
    }
    case Op::kGroup:
      return std::string(evaluation.matches.Group(node.group));
    default:
      return "";
  }
}

/// Digits up to the first byte that is none, as atoll() takes them.
long long NumberOf(const std::string& text) {
  return std::strtoll(text.c_str(), nullptr, 10);
}

/// Numbers without zeros before them are in their order so, too.
int ByLength(const std::string& left, const std::string& right) {
  if (left.size() != right.size()) return left.size() < right.size() ? -1 : 1;
  return left.compare(right);
}

bool Compared(Evaluation& evaluation, const Node& node) {
  std::string left_buffer;
  std::string right_buffer;
  const std::string& left = WordOf(evaluation, node.children[0], left_buffer);
  const std::string& right = WordOf(evaluation, node.children[1], right_buffer);
  switch (node.op) {
    case Op::kIntegerEqual:
      return NumberOf(left) == NumberOf(right);
    case Op::kIntegerNotEqual:
      return NumberOf(left) != NumberOf(right);
    case Op::kIntegerLess:
      return NumberOf(left) < NumberOf(right);
    case Op::kIntegerLessEqual:
      return NumberOf(left) <= NumberOf(right);
    case Op::kIntegerGreater:
      return NumberOf(left) > NumberOf(right);
    case Op::kIntegerGreaterEqual:
      return NumberOf(left) >= NumberOf(right);
    case Op::kTextEqual:
      return left == right;
    case Op::kTextNotEqual:
      return left != right;
    case Op::kTextLess:
      return left < right;
    case Op::kTextLessEqual:
      return left <= right;
    case Op::kTextGreater:
      return left > right;
    case Op::kTextGreaterEqual:
      return left >= right;
    case Op::kLengthLess:
      return ByLength(left, right) < 0;
    case Op::kLengthLessEqual:
      return ByLength(left, right) <= 0;
    case Op::kLengthGreater:
      return ByLength(left, right) > 0;
    case Op::kLengthGreaterEqual:
      return ByLength(left, right) >= 0;
    default:
      return node.binary(evaluation, left, right);
  }
}

bool Matched(Evaluation& evaluation, const Node& node) {
  std::string buffer;
  const std::string& subject = WordOf(evaluation, node.children[0], buffer);
  Poco::RegularExpression::MatchVec found;
  bool holds = false;
  try {
    holds = node.regex->match(subject, 0, found) > 0;
  } catch (const Poco::Exception& failed) {  // PCRE's limits were reached
    evaluation.Fail("Regular expression: " + failed.displayText());
    evaluation.state.gave_up = true;
    return false;
  }
  // Without groups it leaves $0 to $9 as they were: somebody may want to keep them.
  if (!node.has_groups) return holds;
  ExpressionMatches matches;
  if (holds) {
    matches.subject = subject;
    matches.groups = std::move(found);
  }
  evaluation.matches = std::move(matches);
  return holds;
}

bool Holds(Evaluation& evaluation, const Node& node) {
  const auto holds = [&evaluation](const Node& child) { return Holds(evaluation, child); };
  switch (node.op) {
    case Op::kTrue:
      return true;
    case Op::kFalse:
      return false;
    case Op::kNot:
      return !Holds(evaluation, node.children[0]);
    case Op::kAnd:
      return std::all_of(node.children.begin(), node.children.end(), holds);
    case Op::kOr:
      return std::any_of(node.children.begin(), node.children.end(), holds);
    case Op::kUnary:
      return node.unary(evaluation, WordOf(evaluation, node.children[0]));
    case Op::kMatches:
      return Matched(evaluation, node);
    case Op::kMatchesNot:
      return !Matched(evaluation, node);
    case Op::kIn: {
      const std::string needle = WordOf(evaluation, node.children[0]);
      std::string buffer;
      return std::any_of(node.children.begin() + 1, node.children.end(),
                         [&](const Node& child) { return WordOf(evaluation, child, buffer) == needle; });
    }
    default:
      return Compared(evaluation, node);
  }
}

/// What SSLRequire means by a comparison.
Op OfSslRequire(Op op) {
  switch (op) {
    case Op::kIntegerEqual:
      return Op::kTextEqual;
    case Op::kIntegerNotEqual:
      return Op::kTextNotEqual;
    case Op::kIntegerLess:
    case Op::kTextLess:
      return Op::kLengthLess;
    case Op::kIntegerLessEqual:
    case Op::kTextLessEqual:
      return Op::kLengthLessEqual;
    case Op::kIntegerGreater:
    case Op::kTextGreater:
      return Op::kLengthGreater;
    case Op::kIntegerGreaterEqual:
    case Op::kTextGreaterEqual:
      return Op::kLengthGreaterEqual;
    default:
      return op;
  }
}

void TranslateSslRequire(Node& node) {
  node.op = OfSslRequire(node.op);
  for (Node& child : node.children) TranslateSslRequire(child);
}

}  // namespace

std::string_view ExpressionMatches::Group(size_t n) const {
  if (n >= groups.size() || groups[n].offset > subject.size()) return {};
  return std::string_view(subject).substr(groups[n].offset, groups[n].length);
}

Expression::Expression(std::unique_ptr<const ExpressionNode> root, ExpressionKind kind, const config::SourceLine& where)
    : root_(std::move(root)), kind_(kind), where_(where) {}

Expression::~Expression() = default;

os::Result<std::shared_ptr<const Expression>> Expression::Compile(std::string_view text, ExpressionKind kind,
                                                                  ExpressionFiles files,
                                                                  const config::SourceLine& where) {
  auto root = ParseExpression(text, kind, files);
  if (!root) return root.error();
  return std::shared_ptr<const Expression>(new Expression(std::move(root).value(), kind, where));
}

os::Result<std::shared_ptr<const Expression>> Expression::CompileSslRequire(std::string_view text,
                                                                            ExpressionFiles files,
                                                                            const config::SourceLine& where) {
  auto root = ParseExpression(text, ExpressionKind::kCondition, files);
  if (!root) return root.error();
  auto translated = std::make_unique<Node>(*root.value());
  TranslateSslRequire(*translated);
  return std::shared_ptr<const Expression>(new Expression(std::move(translated), ExpressionKind::kCondition, where));
}

ExpressionResult Expression::Evaluate(RequestState& state, ExpressionMatches* matches) const {
  ExpressionMatches own;
  Evaluation evaluation{state, matches ? *matches : own, "", ""};
  ExpressionResult result;
  if (kind_ == ExpressionKind::kCondition) {
    result.holds = modules::Holds(evaluation, *root_);
  } else {
    result.text = WordOf(evaluation, *root_);
  }
  if (!evaluation.error.empty()) {
    result.failed = true;
    result.holds = false;
    result.text.clear();
    if (state.engine) {
      state.engine->LogError(state, config::LogLevel::kError, "core",
                             "Evaluation of expression from " + where_.file + ":" + std::to_string(where_.line) +
                                 " failed: " + evaluation.error);
    }
  }
  result.vary = std::move(evaluation.vary);
  return result;
}

bool Expression::Holds(RequestState& state) const {
  const ExpressionResult result = Evaluate(state);
  if (!result.failed) AddVary(state, result.vary);
  return result.holds;
}

std::string Expression::Text(RequestState& state) const {
  return Evaluate(state).text;
}

const Expression* AsExpression(const std::shared_ptr<const config::CompiledExpression>& held) {
  return static_cast<const Expression*>(held.get());
}

void RegisterExpressionLanguage() {
  config::RegisterExpressions(
      [](const std::string& text, ExpressionKind kind, ExpressionFiles files,
         const config::SourceLine& where) -> os::Result<std::shared_ptr<const config::CompiledExpression>> {
        auto compiled = Expression::Compile(text, kind, files, where);
        if (!compiled) return compiled.error();
        return std::shared_ptr<const config::CompiledExpression>(std::move(compiled).value());
      });
}

void AddVary(RequestState& state, std::string_view names) {
  if (names.empty() || !state.response) return;
  std::string& fields = state.response->fields;
  while (!names.empty()) {
    const size_t comma = names.find(", ");
    const std::string_view name = names.substr(0, comma);
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 2);
    const std::string_view before = FindField(fields, "Vary");
    if (before.data() == nullptr) {
      AppendField(fields, "Vary", name);
    } else if (!HoldsMember(before, name)) {
      bool first = true;
      ChangeFields(fields, "Vary", [&](const std::string& old) {
        return std::exchange(first, false) ? old + ", " + std::string(name) : old;
      });
    }
  }
}

}  // namespace httpd::modules
