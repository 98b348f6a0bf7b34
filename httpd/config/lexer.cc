#include "httpd/config/lexer.h"

#include <algorithm>

namespace httpd::config {
namespace {

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

void SkipBlanks(std::string_view& rest) {
  while (!rest.empty() && IsBlank(rest.front())) rest.remove_prefix(1);
}

}  // namespace

std::optional<std::string> LineReader::NextLogical() {
  if (text_.empty()) return std::nullopt;
  std::string joined;
  while (!text_.empty()) {
    const size_t end = text_.find('\n');
    std::string_view physical = text_.substr(0, end);
    text_.remove_prefix(end == std::string_view::npos ? text_.size() : end + 1);
    ++line_;
    if (!physical.empty() && physical.back() == '\r') physical.remove_suffix(1);
    const bool continued = !physical.empty() && physical.back() == '\\';
    if (continued) physical.remove_suffix(1);
    joined.append(physical);
    if (!continued) break;
  }
  return joined;
}

std::optional<std::string> LineReader::Next() {
  while (auto logical = NextLogical()) {
    std::string_view text = *logical;
    SkipBlanks(text);
    while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
    if (text.empty() || text.front() == '#') continue;
    return std::string(text);
  }
  return std::nullopt;
}

std::string TakeWord(std::string_view& rest) {
  SkipBlanks(rest);
  std::string word;
  if (rest.empty()) return word;
  char quote = 0;
  if (rest.front() == '"' || rest.front() == '\'') {
    quote = rest.front();
    rest.remove_prefix(1);
  }
  while (!rest.empty()) {
    const char c = rest.front();
    if (quote ? c == quote : IsBlank(c)) break;
    if (c == '\\' && rest.size() > 1 && (rest[1] == '\\' || (quote && rest[1] == quote))) rest.remove_prefix(1);
    word.push_back(rest.front());
    rest.remove_prefix(1);
  }
  if (quote && !rest.empty()) rest.remove_prefix(1);
  SkipBlanks(rest);
  return word;
}

std::vector<std::string> SplitWords(std::string_view rest) {
  std::vector<std::string> words;
  SkipBlanks(rest);
  while (!rest.empty()) words.push_back(TakeWord(rest));
  return words;
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), Lower);
  return lower;
}

bool SameIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return Lower(x) == Lower(y); });
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const bool same = Lower(a[i - 1]) == Lower(b[j - 1]);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && Lower(a[i - 1]) == Lower(b[j - 2]) && Lower(a[i - 2]) == Lower(b[j - 1])) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace httpd::config
