#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "orchestrator/story.h"

namespace orchestrator {

/// What a terminal can show.
struct ViewStyle {
  int columns = 80;
  int rows = 24;
  bool utf8 = false;
  bool colour = false;
};

/// What the environment says (NO_COLOR; LC_ALL, LC_CTYPE, LANG in this order). @param get  as getenv(3), "" = not set
ViewStyle StyleOf(const std::function<std::string(const char*)>& get);

/// The live view of `story` at `now_ms`: steps with their durations, both instances side by side, the last notes.
///
/// @return lines without newlines, each less than `columns` wide and less than `rows` of them: what matters least is
///         left out. Foreign text cannot bring control characters in.
/// @param last  the frame that stays: complete, however many rows that takes
enum class Frame { kLive, kLast };
std::vector<std::string> RenderView(const Story& story, int64_t now_ms, const ViewStyle& style, Frame frame);

/// Columns that `text` takes; escape sequences (SGR) take none.
int WidthOf(std::string_view text);

}  // namespace orchestrator
