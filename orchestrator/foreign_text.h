#pragma once

#include <string>
#include <string_view>

/// Text that somebody else chose (versions, paths, request lines), made fit for where it is shown.
namespace orchestrator {

struct Glyph {
  std::string_view bytes;
  char32_t code = 0;  ///< 0: NUL, or a byte that is no UTF-8
};
/// The first character of `text`, which is not empty.
Glyph NextGlyph(std::string_view text);

int ColumnsOf(char32_t code);   ///< of a terminal: 0, 1 or 2
bool IsControl(char32_t code);  ///< moves a cursor, turns the direction of writing, or is no character

/// Valid UTF-8 without control characters: each of those, and each stray byte, becomes U+FFFD; tab and newline a space.
std::string CleanText(std::string_view text);

/// CleanText() for HTML, in text and in quoted attributes.
std::string EscapeHtml(std::string_view text);

}  // namespace orchestrator
