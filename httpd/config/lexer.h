#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace httpd::config {

/// Cuts a configuration text into logical lines: a backslash before the newline continues the line, CRLF is one
/// newline, blanks around the line are dropped, empty lines and lines that start with # are skipped (a comment can be
/// continued too, as in Apache). Lines may be of any length. The text must outlive the object. Source  httpd 2.4
/// manual, configuring.html "Syntax"; server/util.c ap_cfg_getline
class LineReader {
 public:
  explicit LineReader(std::string_view text) : text_(text) {}
  /// The next line that says something; nullopt at the end.
  std::optional<std::string> Next();
  /// Number (from 1) of the last physical line of what Next() returned: what Apache prints for a continued line.
  int line() const { return line_; }

 private:
  std::optional<std::string> NextLogical();

  std::string_view text_;
  int line_ = 0;
};

/// Takes the next word off `rest`, which is left at the word after it. A word may stand in " or ', in which a backslash
/// protects the quote and itself; a quote that is never closed ends with the line, as in Apache. "" at the end.
/// Source  server/util.c ap_getword_conf
std::string TakeWord(std::string_view& rest);

/// All words of `rest`.
std::vector<std::string> SplitWords(std::string_view rest);

/// ASCII only.
std::string LowerCase(std::string_view text);
bool SameIgnoringCase(std::string_view a, std::string_view b);

/// Number of single-letter edits (insert, delete, replace, swap neighbours) from one word to the other, ASCII case
/// ignored.
size_t EditDistance(std::string_view a, std::string_view b);

}  // namespace httpd::config
