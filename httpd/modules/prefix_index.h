#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace httpd::modules {

/// Many things in an order (rules, sections, names), each of which can only be about texts that begin in a certain way.
/// Answers which of them are worth a closer look for one text, in that order. The cost depends on the length of the
/// text and on the number of answers, not on the number of things.
///
/// Threads  Find() may be called by any number of them at once, Add() by one alone
class PrefixIndex {
 public:
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();

  PrefixIndex();
  ~PrefixIndex();
  PrefixIndex(PrefixIndex&&) noexcept;
  PrefixIndex& operator=(PrefixIndex&&) noexcept;

  enum class Case { kCounts, kIgnored };  ///< kIgnored: ASCII letters are alike

  /// `number` is about texts that begin with `prefix`; "" = about any text.
  /// @param number  0 to 2^32 - 1; larger than that of the call before
  void Add(size_t number, std::string_view prefix, Case letters = Case::kCounts);

  /// The answers for one text, each once, from the smallest number up. Must not outlive the index. It may be used
  /// again, which keeps its memory: up to 16 nested prefixes need none.
  class Candidates {
   public:
    /// The first answer that is not below `from`. kNone: there is none
    /// @param from  not below that of the call before
    size_t Next(size_t from) {
      if (used_ == 0) return kNone;
      size_t next = NextOf(first_[0], from);
      for (size_t i = 1; i < used_; ++i) next = std::min(next, NextOf(first_[i], from));
      for (Range& range : more_) next = std::min(next, NextOf(range, from));
      return next;
    }

   private:
    friend class PrefixIndex;
    struct Range {
      const uint32_t* at;
      const uint32_t* end;
    };
    static size_t NextOf(Range& range, size_t from) {
      if (range.at != range.end && *range.at < from) ++range.at;  // most often it is the one behind
      if (range.at != range.end && *range.at < from) range.at = std::lower_bound(range.at, range.end, from);
      return range.at == range.end ? kNone : *range.at;
    }
    void Take(const std::vector<uint32_t>& numbers) {
      const Range range{numbers.data(), numbers.data() + numbers.size()};
      if (used_ < first_.size()) {
        first_[used_++] = range;
      } else {
        more_.push_back(range);
      }
    }
    std::array<Range, 16> first_;
    size_t used_ = 0;  ///< of first_
    std::vector<Range> more_;
  };

  /// @param out  what it held is forgotten
  void Find(std::string_view text, Candidates& out) const;

 private:
  struct Node;
  std::unique_ptr<Node> root_;
  std::unique_ptr<Node> any_case_;  ///< labels in lower case
};

/// What every text begins with in which a regular expression is found; "" = nothing is known. Only for expressions
/// without options of their own but those of CompileRegex(): "^" is the beginning of the text. For one that ignores
/// case the result is to be compared so.
std::string LiteralPrefix(std::string_view regex);

/// What every text begins with that http::WildcardMatch(pattern, text) is true for.
std::string_view WildcardPrefix(std::string_view pattern);

/// ... ends with. "" for patterns with a set.
std::string_view WildcardSuffix(std::string_view pattern);

}  // namespace httpd::modules
