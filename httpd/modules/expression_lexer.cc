// Words of expressions, as Apache's scanner cuts them. Source  httpd 2.4 manual, expr.html
#include "httpd/modules/expression_lexer.h"

#include <utility>

#include "httpd/http/ascii.h"

namespace httpd::modules {

namespace {

using Kind = TokenKind;
using Op = ExpressionNode::Op;

constexpr size_t kMaxTextBytes = 8191;

bool IsLetter(char c) {
  return http::Lower(c) >= 'a' && http::Lower(c) <= 'z';
}
bool IsNamePart(char c) {
  return IsLetter(c) || http::IsDigit(c) || c == '_';
}

/// Text into tokens. The first error is the last token; `error()` says what it is.
class Lexer {
 public:
  Lexer(std::string_view text, ExpressionKind kind) : text_(text), is_string_(kind == ExpressionKind::kString) {}

  Tokens Run() {
    if (is_string_) {
      InString('\0');
    } else {
      while (!failed_ && at_ < text_.size()) Next();
    }
    Add(Kind::kEnd);
    return {std::move(tokens_), std::move(error_)};
  }

 private:
  void Add(Kind kind, std::string text = "", Op op = Op::kTrue) {
    if (!failed_) tokens_.push_back({kind, std::move(text), op});
  }
  void Fail(std::string what) {
    if (failed_) return;
    Add(Kind::kError);
    failed_ = true;
    error_ = std::move(what);
  }
  char Peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool Takes(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  std::string_view TakeName() {
    const size_t begin = at_;
    while (at_ < text_.size() && IsNamePart(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  void Next() {
    const char c = Peek();
    if (c == ' ' || c == '\t' || c == '\n') {
      ++at_;
    } else if (c == '"' || c == '\'') {
      ++at_;
      Add(Kind::kStringBegin);
      InString(c);
    } else if (Takes("%{")) {
      InVariable(1);
    } else if (c == '$' && http::IsDigit(Peek(1))) {
      Add(Kind::kBackReference, std::string(1, Peek(1)));
      at_ += 2;
    } else if (c == '/' || (c == 'm' && Peek(1) != '\0' && kDelimiters.find(Peek(1)) != std::string_view::npos)) {
      at_ += c == '/' ? 0 : 1;
      InRegex();
    } else if (IsLetter(c)) {
      Word(TakeName());
    } else if (http::IsDigit(c) || (c == '-' && http::IsDigit(Peek(1)))) {
      const size_t begin = at_++;
      while (http::IsDigit(Peek())) ++at_;
      Add(Kind::kDigit, std::string(text_.substr(begin, at_ - begin)));
    } else if (c == '-' && (IsLetter(Peek(1)) || Peek(1) == '_')) {
      ++at_;
      Dashed(TakeName());
    } else {
      Sign(c);
    }
  }

  void Sign(char c) {
    static constexpr std::string_view kPunctuation = "(){},:";
    if (Takes("&&")) return Add(Kind::kAnd);
    if (Takes("||")) return Add(Kind::kOr);
    if (Takes("=~")) return Add(Kind::kMatches);
    if (Takes("!~")) return Add(Kind::kMatchesNot);
    if (Takes("==") || Takes("=")) return Add(Kind::kComparison, "T_OP_STR_EQ", Op::kTextEqual);
    if (Takes("!=")) return Add(Kind::kComparison, "T_OP_STR_NE", Op::kTextNotEqual);
    if (Takes("<=")) return Add(Kind::kComparison, "T_OP_STR_LE", Op::kTextLessEqual);
    if (Takes("<")) return Add(Kind::kComparison, "T_OP_STR_LT", Op::kTextLess);
    if (Takes(">=")) return Add(Kind::kComparison, "T_OP_STR_GE", Op::kTextGreaterEqual);
    if (Takes(">")) return Add(Kind::kComparison, "T_OP_STR_GT", Op::kTextGreater);
    if (Takes("!")) return Add(Kind::kNot);
    if (Takes(".")) return Add(Kind::kConcat);
    if (c != '\0' && kPunctuation.find(c) != std::string_view::npos) {
      ++at_;
      return Add(Kind::kPunctuation, std::string{'\'', c, '\''});
    }
    Fail(std::string("Parse error near '") + c + "'");
  }

  bool Comparison(std::string_view name) {
    struct Entry {
      std::string_view name;
      const char* token;
      Op op;
    };
    static constexpr Entry kEntries[] = {
        {"eq", "T_OP_EQ", Op::kIntegerEqual},   {"ne", "T_OP_NE", Op::kIntegerNotEqual},
        {"lt", "T_OP_LT", Op::kIntegerLess},    {"le", "T_OP_LE", Op::kIntegerLessEqual},
        {"gt", "T_OP_GT", Op::kIntegerGreater}, {"ge", "T_OP_GE", Op::kIntegerGreaterEqual}};
    for (const Entry& entry : kEntries) {
      if (entry.name != name) continue;
      Add(Kind::kComparison, entry.token, entry.op);
      return true;
    }
    if (name == "in") Add(Kind::kIn);
    return name == "in";
  }

  void Word(std::string_view name) {
    if (Comparison(name)) return;
    if (name == "true") return Add(Kind::kTrue);
    if (name == "false") return Add(Kind::kFalse);
    if (name == "and") return Add(Kind::kAnd);
    if (name == "or") return Add(Kind::kOr);
    if (name == "not") return Add(Kind::kNot);
    Add(Kind::kId, std::string(name));
  }

  void Dashed(std::string_view name) {
    if (Comparison(name)) return;
    Add(name.size() == 1 ? Kind::kUnary : Kind::kBinary, std::string(name));
  }

  void InRegex() {
    const char delimiter = text_[at_++];
    const size_t end = text_.find(delimiter, at_);
    if (end == std::string_view::npos) {  // as if there had been nothing
      at_ = text_.size();
      return;
    }
    if (end - at_ > kMaxTextBytes) return Fail("Regexp too long");
    std::string pattern(text_.substr(at_, end - at_));
    at_ = end + 1;
    Add(Takes("i") ? Kind::kRegexNoCase : Kind::kRegex, std::move(pattern));
  }

  /// Adds one byte of a text, or what a backslash stands for.
  void Character(std::string& out) {
    char c = text_[at_++];
    if (c == '\\' && at_ < text_.size()) {
      if (http::IsDigit(Peek())) return Octal(out);
      static constexpr std::string_view kLetters = "nrtbf";
      static constexpr std::string_view kValues = "\n\r\t\b\f";
      c = text_[at_++];
      const size_t known = kLetters.find(c);
      if (known != std::string_view::npos) c = kValues[known];
    }
    if (c == '\0') return Fail("Unterminated string or variable");
    out.push_back(c);
    if (out.size() > kMaxTextBytes) Fail("String too long");
  }

  void Octal(std::string& out) {
    size_t digits = 0;
    unsigned value = 0;
    while (digits < 3 && Peek(digits) >= '0' && Peek(digits) <= '7') {
      value = value * 8 + static_cast<unsigned>(Peek(digits++) - '0');
    }
    size_t all = digits;
    while (http::IsDigit(Peek(all))) ++all;
    if (all > digits) return Fail("Bad escape sequence");
    if (value > 0xff) return Fail("Escape sequence out of bound");
    at_ += digits;
    // Apache's texts end at a NUL; ours do not hold one.
    if (value == 0) return Fail("Bad escape sequence");
    out.push_back(static_cast<char>(value));
  }

  void Flush(std::string& part) {
    if (!part.empty()) Add(Kind::kString, std::exchange(part, ""));
  }

  /// @param delimiter  NUL: up to the end of the text
  void InString(char delimiter) {
    std::string part;
    while (!failed_) {
      if (at_ >= text_.size()) {
        if (delimiter != '\0') return Fail("Unterminated string or variable");
        return Add(Kind::kString, part);
      }
      const char c = text_[at_];
      if (c == '\n') return Fail("Unterminated string or variable");
      if (delimiter != '\0' && c == delimiter) {
        ++at_;
        Flush(part);
        return Add(Kind::kStringEnd);
      }
      Part(part, 1);
    }
  }

  /// A byte, $n or %{...} inside a text or an argument.
  void Part(std::string& part, int depth) {
    if (Peek() == '$' && http::IsDigit(Peek(1))) {
      Flush(part);
      Add(Kind::kBackReference, std::string(1, Peek(1)));
      at_ += 2;
    } else if (Peek() == '%' && Peek(1) == '{') {
      Flush(part);
      at_ += 2;
      InVariable(depth + 1);
    } else {
      Character(part);
    }
  }

  /// Behind "%{".
  void InVariable(int depth) {
    if (depth > kMaxExpressionDepth) return Fail("Variables are nested too deeply");
    Add(Kind::kVariableBegin);
    while (!failed_) {
      const char c = Peek();
      if (at_ >= text_.size() || c == '\n') return Fail("Unterminated string or variable");
      if (IsLetter(c)) {
        Add(Kind::kId, std::string(TakeName()));
      } else if (c == '}') {
        ++at_;
        return Add(Kind::kVariableEnd);
      } else if (c == ':') {
        ++at_;
        Add(Kind::kPunctuation, "':'");
        return InArgument(depth);
      } else {
        return Fail(std::string("Invalid character in variable name '") + c + "'");
      }
    }
  }

  void InArgument(int depth) {
    std::string part;
    while (!failed_) {
      if (at_ >= text_.size() || text_[at_] == '\n') return Fail("Unterminated string or variable");
      if (text_[at_] == '}') {
        ++at_;
        Flush(part);
        return Add(Kind::kVariableEnd);
      }
      Part(part, depth);
    }
  }

  static constexpr std::string_view kDelimiters = "/#$%^,;:?|!.'\"-";
  std::string_view text_;
  bool is_string_;
  size_t at_ = 0;
  std::vector<Token> tokens_;
  std::string error_;
  bool failed_ = false;
};

}  // namespace

std::string NameOf(const Token& token) {
  switch (token.kind) {
    case Kind::kEnd:
      return "$end";
    case Kind::kError:
      return "T_ERROR";
    case Kind::kTrue:
      return "T_TRUE";
    case Kind::kFalse:
      return "T_FALSE";
    case Kind::kDigit:
      return "T_DIGIT";
    case Kind::kId:
      return "T_ID";
    case Kind::kString:
      return "T_STRING";
    case Kind::kRegex:
      return "T_REGEX";
    case Kind::kRegexNoCase:
      return "T_REGEX_I";
    case Kind::kBackReference:
      return "T_REGEX_BACKREF";
    case Kind::kUnary:
      return "T_OP_UNARY";
    case Kind::kBinary:
      return "T_OP_BINARY";
    case Kind::kStringBegin:
      return "T_STR_BEGIN";
    case Kind::kStringEnd:
      return "T_STR_END";
    case Kind::kVariableBegin:
      return "T_VAR_BEGIN";
    case Kind::kVariableEnd:
      return "T_VAR_END";
    case Kind::kMatches:
      return "T_OP_REG";
    case Kind::kMatchesNot:
      return "T_OP_NRE";
    case Kind::kIn:
      return "T_OP_IN";
    case Kind::kConcat:
      return "T_OP_CONCAT";
    case Kind::kOr:
      return "T_OP_OR";
    case Kind::kAnd:
      return "T_OP_AND";
    case Kind::kNot:
      return "T_OP_NOT";
    case Kind::kComparison:
    case Kind::kPunctuation:
      break;
  }
  return token.text;
}

Tokens LexExpression(std::string_view text, ExpressionKind kind) {
  return Lexer(text, kind).Run();
}

}  // namespace httpd::modules
