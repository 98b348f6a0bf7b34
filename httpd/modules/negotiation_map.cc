#include <algorithm>
#include <charconv>

#include "httpd/http/ascii.h"
#include "httpd/modules/negotiation_select.h"

namespace httpd::modules::negotiation {

namespace {

constexpr size_t kMaxVariants = 200;

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

/// (comments) outside quotes become blanks.
std::string WithoutComments(std::string_view text) {
  std::string out(text);
  bool quoted = false;
  int depth = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '"' && depth == 0) quoted = !quoted;
    const bool closes = out[i] == ')' && depth > 0;
    if (!quoted && out[i] == '(') ++depth;
    const bool inside = depth > 0;
    if (closes) --depth;
    if (inside) out[i] = ' ';
  }
  return out;
}

/// The first word of a value, up to a ';', a ',' or a blank.
std::string_view FirstWord(std::string_view text) {
  text = Trimmed(text);
  return text.substr(0, std::min(text.find_first_of(";, \t"), text.size()));
}

std::vector<std::string> Languages(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(", \t"), text.size());
    if (end > 0) {
      out.emplace_back(text.substr(0, end));
      std::transform(out.back().begin(), out.back().end(), out.back().begin(), http::Lower);
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

class MapReader {
 public:
  MapReader(std::string_view text, std::string_view name, std::string& problem)
      : text_(text), name_(name), problem_(problem) {}

  std::optional<std::vector<Variant>> Read() {
    while (at_ < text_.size()) {
      std::string line(TakeLine());
      if (line.starts_with('#')) continue;
      if (Trimmed(line).empty()) {
        EndRecord();
        continue;
      }
      while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) {  // goes on in the next line
        const size_t before = at_;
        const std::string_view more = TakeLine();
        if (Trimmed(more).empty()) {
          at_ = before;
          break;
        }
        line.append(" ").append(Trimmed(more));
      }
      if (!TakeField(line)) return std::nullopt;
    }
    EndRecord();
    return std::move(out_);
  }

 private:
  std::string_view TakeLine() {
    const size_t end = std::min(text_.find('\n', at_), text_.size());
    std::string_view line = text_.substr(at_, end - at_);
    at_ = std::min(end + 1, text_.size());
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

  void EndRecord() {
    if (!variant_.file_name.empty() && has_content_ && out_.size() < kMaxVariants) out_.push_back(std::move(variant_));
    variant_ = Variant();
    has_content_ = false;
  }

  bool TakeField(std::string_view line) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return Fail("no ':' in header ", line);
    // What ends up in the answer's fields must not hold a control character.
    if (std::any_of(line.begin(), line.end(), [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; })) {
      return Fail("a control character in header ", line.substr(0, colon));
    }
    const std::string_view name = Trimmed(line.substr(0, colon));
    const std::string value = WithoutComments(Trimmed(line.substr(colon + 1)));
    if (Trimmed(value).empty()) return Fail("no header body for ", name);
    const auto is = [name](const char* known) { return http::EqualsIgnoreCase(name, known); };
    if (is("uri")) {
      variant_.file_name = FirstWord(value);
    } else if (is("content-type")) {
      variant_.SetType(value);
      has_content_ = true;
    } else if (is("content-length")) {
      const std::string_view digits = FirstWord(value);
      int64_t number = 0;
      const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
      if (failed != std::errc() || end != digits.data() + digits.size() || number < 0) {
        return Fail("Content-Length is invalid: ", digits);
      }
      variant_.bytes = number;
      has_content_ = true;
    } else if (is("content-language")) {
      variant_.languages = Languages(value);
      has_content_ = true;
    } else if (is("content-encoding")) {
      variant_.encoding = FirstWord(value);
      std::transform(variant_.encoding.begin(), variant_.encoding.end(), variant_.encoding.begin(), http::Lower);
      has_content_ = true;
    } else if (is("description")) {
      variant_.description = Trimmed(value);
    } else if (is("body")) {
      return TakeBody(Trimmed(value));
    }
    return true;
  }

  /// What follows up to a line that begins with the tag.
  bool TakeBody(std::string_view tag) {
    const size_t start = at_;
    while (at_ < text_.size()) {
      const size_t line_start = at_;
      if (!TakeLine().starts_with(tag)) continue;
      variant_.has_body = true;
      variant_.body_offset = start;
      variant_.bytes = static_cast<int64_t>(line_start - start);
      variant_.file_name = name_;
      return true;
    }
    return Fail("no end of Body: ", tag);
  }

  bool Fail(const char* what, std::string_view where) {
    problem_ = std::string(what) + std::string(where.substr(0, 100));
    return false;
  }

  std::string_view text_;
  std::string_view name_;
  std::string& problem_;
  size_t at_ = 0;
  Variant variant_;
  bool has_content_ = false;
  std::vector<Variant> out_;
};

}  // namespace

std::optional<std::vector<Variant>> ParseTypeMap(std::string_view text, std::string_view name, std::string& problem) {
  return MapReader(text, name, problem).Read();
}

}  // namespace httpd::modules::negotiation
