#include "httpd/modules/prefix_index.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "httpd/http/ascii.h"

namespace httpd::modules {

namespace {

constexpr std::string_view kWildcards = "*?[\\";

bool IsWord(char c) {
  return http::IsDigit(c) || (http::Lower(c) >= 'a' && http::Lower(c) <= 'z') || (c & 0x80) != 0;
}

/// What a backslash must not stand in front of: the next bytes would mean something else than they do by themselves.
bool IsUnclear(std::string_view regex, size_t at) {
  return at == regex.size() || regex[at] == 'Q' || regex[at] == 'E' || regex[at] == 'c';
}

/// Whether all of `regex` is made of what LiteralPrefix() understands, with no "|" outside parentheses: then its first
/// items are asked of every text. What is not understood might hide one.
bool IsOneBranch(std::string_view regex) {
  size_t depth = 0;
  for (size_t i = 0; i < regex.size(); ++i) {
    switch (regex[i]) {
      case '\\':
        if (IsUnclear(regex, ++i)) return false;
        break;
      case '[':
        ++i;
        if (i < regex.size() && regex[i] == '^') ++i;
        if (i < regex.size() && regex[i] == ']') ++i;
        for (; i < regex.size() && regex[i] != ']'; ++i) {
          if (regex[i] == '[') return false;  // a class of POSIX has a bracket of its own
          if (regex[i] == '\\' && IsUnclear(regex, ++i)) return false;
        }
        break;
      case '(':
        ++depth;
        if (i + 1 < regex.size() && regex[i + 1] == '*') return false;
        if (i + 2 < regex.size() && regex[i + 1] == '?' && std::string_view(":=!").find(regex[i + 2]) == regex.npos) {
          return false;  // options, comments, conditions, names
        }
        break;
      case ')':
        if (depth-- == 0) return false;
        break;
      case '|':
        if (depth == 0) return false;
        break;
      default:
        break;
    }
  }
  return depth == 0;
}

}  // namespace

/// A node of a tree in which what begins alike is kept once. `label` is what its texts have more than its parent's.
struct PrefixIndex::Node {
  std::string label;
  std::vector<uint32_t> numbers;  ///< of prefixes that end here, rising
  std::string firsts;             ///< first byte of each child's label
  std::vector<std::unique_ptr<Node>> children;

  void Adopt(std::unique_ptr<Node> child) {
    firsts += child->label.front();
    children.push_back(std::move(child));
  }

  static std::unique_ptr<Node> Leaf(std::string_view text, uint32_t number) {
    auto leaf = std::make_unique<Node>();
    leaf->label = text;
    leaf->numbers.push_back(number);
    return leaf;
  }

  void Add(std::string_view prefix, uint32_t number) {
    Node* node = this;
    while (!prefix.empty()) {
      const size_t which = node->firsts.find(prefix.front());
      if (which == std::string::npos) {
        node->Adopt(Leaf(prefix, number));
        return;
      }
      std::unique_ptr<Node>& child = node->children[which];
      const auto differs = std::mismatch(prefix.begin(), prefix.end(), child->label.begin(), child->label.end());
      const auto common = static_cast<size_t>(differs.first - prefix.begin());
      if (common < child->label.size()) {  // a node for what both have
        auto above = std::make_unique<Node>();
        above->label = child->label.substr(0, common);
        child->label.erase(0, common);
        above->Adopt(std::move(child));
        child = std::move(above);
      }
      prefix.remove_prefix(common);
      node = child.get();
    }
    node->numbers.push_back(number);
  }

  size_t WhichChild(char first) const {
    if (firsts.size() == 1) return firsts.front() == first ? 0 : std::string::npos;
    return firsts.find(first);
  }

  template <Case letters, class Take>
  void Find(std::string_view text, Take take) const {
    constexpr bool kFolds = letters == Case::kIgnored;
    for (const Node* node = this;;) {
      if (!node->numbers.empty()) take(node->numbers);
      if (text.empty() || node->firsts.empty()) return;
      const size_t which = node->WhichChild(kFolds ? http::Lower(text.front()) : text.front());
      if (which == std::string::npos) return;
      node = node->children[which].get();
      const std::string& more = node->label;
      if (text.size() < more.size()) return;
      if (kFolds ? !http::EqualsIgnoreCase(text.substr(0, more.size()), more)
                 : std::memcmp(text.data(), more.data(), more.size()) != 0) {
        return;
      }
      text.remove_prefix(more.size());
    }
  }
};

PrefixIndex::PrefixIndex() = default;
PrefixIndex::~PrefixIndex() = default;
PrefixIndex::PrefixIndex(PrefixIndex&&) noexcept = default;
PrefixIndex& PrefixIndex::operator=(PrefixIndex&&) noexcept = default;

void PrefixIndex::Add(size_t number, std::string_view prefix, Case letters) {
  const auto kept = static_cast<uint32_t>(number);
  if (prefix.empty() || letters == Case::kCounts) {
    if (!root_) root_ = std::make_unique<Node>();
    root_->Add(prefix, kept);
    return;
  }
  std::string lower(prefix);
  std::transform(lower.begin(), lower.end(), lower.begin(), http::Lower);
  if (!any_case_) any_case_ = std::make_unique<Node>();
  any_case_->Add(lower, kept);
}

void PrefixIndex::Find(std::string_view text, Candidates& out) const {
  out.used_ = 0;
  out.more_.clear();
  const auto take = [&out](const std::vector<uint32_t>& numbers) { out.Take(numbers); };
  if (root_) root_->Find<Case::kCounts>(text, take);
  if (any_case_) any_case_->Find<Case::kIgnored>(text, take);
}

std::string LiteralPrefix(std::string_view regex) {
  std::string out;
  if (!regex.starts_with('^') || !IsOneBranch(regex)) return out;
  for (size_t i = 1; i < regex.size(); ++i) {
    if (regex[i] == '\\') {
      if (IsWord(regex[++i])) break;  // a class, a group, a number of a byte
    } else if (std::string_view("^$.[]()?*+{}").find(regex[i]) != std::string_view::npos) {
      break;
    }
    const char next = i + 1 < regex.size() ? regex[i + 1] : '\0';
    if (next == '?' || next == '*' || next == '{') break;  // may be left out
    out += regex[i];
    if (next == '+') break;
  }
  return out;
}

std::string_view WildcardPrefix(std::string_view pattern) {
  return pattern.substr(0, pattern.find_first_of(kWildcards));
}

std::string_view WildcardSuffix(std::string_view pattern) {
  if (pattern.find('[') != std::string_view::npos) return {};
  const size_t last = pattern.find_last_of(kWildcards);
  return last == std::string_view::npos ? pattern : pattern.substr(last + 1);
}

}  // namespace httpd::modules
