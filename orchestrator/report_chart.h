#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "orchestrator/timeline.h"

/// Charts of the report: inline SVG that stretches, words as HTML on top of it so that they keep their size.
namespace orchestrator {

/// A flat piece of a line: `value` from `from_ms` to `to_ms`.
struct Piece {
  int64_t from_ms = 0;
  int64_t to_ms = 0;
  double value = 0;
};

/// One line of a chart. `ink` is its CSS class: "old", "new", "both".
struct Series {
  std::string ink;
  std::string label;
  std::vector<Piece> pieces;
};

/// What all charts of one page share.
struct TimeAxis {
  int64_t end_ms = 1;
  std::vector<std::pair<int64_t, std::string>> marks;  ///< vertical lines: when, CSS class
  double Percent(int64_t at_ms) const;                 ///< 0 to 100
};

/// Most pieces of one line, whatever was measured.
inline constexpr size_t kMostPieces = 150;

/// `value` of the intervals of `side`, neighbours joined until each lasts at least 1/kMostPieces of the axis,
/// and about a tick. An interval in which `value` says nothing (below 0) leaves a gap.
std::vector<Piece> RatePieces(const Timeline& timeline, Side side, const TimeAxis& axis,
                              const std::function<double(const Interval&)>& value);

/// What `value` of a row is until the next row, the highest of those that are joined; below 0: a gap.
std::vector<Piece> GaugePieces(const Timeline& timeline, const TimeAxis& axis,
                               const std::function<double(const Sample&)>& value);

/// One chart as an HTML <section>. @param title, @param unit  plain text; `format` writes a value of the scale
std::string ChartHtml(const std::string& title, const std::string& unit, const TimeAxis& axis,
                      const std::vector<Series>& series, const std::function<std::string(double)>& format);

/// Words under the charts. @return <div class="axis">...</div>
std::string AxisHtml(const TimeAxis& axis);

/// Next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15 ... that is not below `value`.
double NiceCeiling(double value);

}  // namespace orchestrator
