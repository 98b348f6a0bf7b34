#include "orchestrator/report_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "orchestrator/foreign_text.h"

namespace orchestrator {

namespace {

constexpr double kWidth = 1000;
constexpr double kHeight = 100;

std::string Decimal(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.1f", value);
  std::string out = text;
  if (out.ends_with(".0")) out.resize(out.size() - 2);
  return out;
}

/// "1.5 s", "20 ms", "3 min": short, for a scale.
std::string TickText(int64_t ms, int64_t step) {
  if (ms == 0) return "0";
  if (step < 1000) return ms < 1000 ? std::to_string(ms) + " ms" : Decimal(static_cast<double>(ms) / 1000.0) + " s";
  if (step < 60000) {
    if (ms < 60000) return std::to_string(ms / 1000) + " s";
    char text[32];
    std::snprintf(text, sizeof text, "%d:%02d", static_cast<int>(ms / 60000), static_cast<int>(ms / 1000 % 60));
    return text;
  }
  if (step < 3600000) return std::to_string(ms / 60000) + " min";
  return std::to_string(ms / 3600000) + " h";
}

int64_t ShortestPiece(const TimeAxis& axis) {
  // Less than a usual tick says more about chance than about the server, as long as a dozen pieces are left.
  const int64_t tick = std::min<int64_t>(200, axis.end_ms / 12);
  return std::max({int64_t{20}, tick, axis.end_ms / static_cast<int64_t>(kMostPieces) + 1});
}

/// Path of one line, and of the area under it.
struct Paths {
  std::string line;
  std::string area;
};

Paths PathsOf(const Series& series, const TimeAxis& axis, double most) {
  Paths out;
  const auto x = [&axis](int64_t ms) { return Decimal(axis.Percent(ms) * kWidth / 100); };
  const auto y = [most](double value) { return Decimal(kHeight - std::clamp(value / most, 0.0, 1.0) * kHeight); };
  const Piece* before = nullptr;
  for (const Piece& piece : series.pieces) {
    const bool joined = before && before->to_ms == piece.from_ms;
    if (!joined) {
      if (before) out.area += "L" + x(before->to_ms) + " 100Z";
      out.line += "M" + x(piece.from_ms) + " " + y(piece.value);
      out.area += "M" + x(piece.from_ms) + " 100L" + x(piece.from_ms) + " " + y(piece.value);
    } else {
      const std::string up = "L" + x(piece.from_ms) + " " + y(piece.value);
      out.line += up;
      out.area += up;
    }
    const std::string along = "L" + x(piece.to_ms) + " " + y(piece.value);
    out.line += along;
    out.area += along;
    before = &piece;
  }
  if (before) out.area += "L" + x(before->to_ms) + " 100Z";
  return out;
}

/// Where the name of a line stands: beside its highest point, at the side that has room.
std::string LabelHtml(const Series& series, const TimeAxis& axis, double most) {
  if (series.label.empty() || series.pieces.empty()) return "";
  const Piece* highest = &series.pieces.front();
  for (const Piece& piece : series.pieces) {
    if (piece.value > highest->value) highest = &piece;
  }
  // The old instance is told apart by where it begins, the new one by where it ends.
  const bool at_end = series.ink == "new";
  const double at = at_end ? axis.Percent(series.pieces.back().to_ms) : axis.Percent(series.pieces.front().from_ms);
  const Piece& anchor = at_end ? series.pieces.back() : series.pieces.front();
  double near = anchor.value;  // the line must not run through its own name
  for (const Piece& piece : series.pieces) {
    const double distance = at_end ? at - axis.Percent(piece.from_ms) : axis.Percent(piece.to_ms) - at;
    if (distance < 8) near = std::max(near, piece.value);
  }
  const double top = std::clamp(100 - near / most * 100, 0.0, 100.0);
  const bool left = !at_end || at < 15;
  return "<span class=\"label " + series.ink + (left ? " from" : " to") + "\" style=\"" +
         (left ? "left:" + Decimal(std::min(at, 88.0)) + "%" : "right:" + Decimal(100 - at) + "%") +
         ";bottom:" + Decimal(std::min(100 - top, 84.0)) + "%\">" + EscapeHtml(series.label) + "</span>";
}

}  // namespace

double TimeAxis::Percent(int64_t at_ms) const {
  return std::clamp(static_cast<double>(at_ms) * 100.0 / static_cast<double>(std::max<int64_t>(1, end_ms)), 0.0, 100.0);
}

double NiceCeiling(double value) {
  double power = 1;
  while (power < value) power *= 10;
  while (power / 10 >= value && power > 0.001) power /= 10;
  for (const double part : {0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8}) {
    if (value <= power * part) return power * part;
  }
  return power;
}

std::vector<Piece> RatePieces(const Timeline& timeline, Side side, const TimeAxis& axis,
                              const std::function<double(const Interval&)>& value) {
  const int64_t shortest = ShortestPiece(axis);
  std::vector<Piece> out;
  Interval sum;
  bool open = false;
  const auto close = [&] {
    if (!std::exchange(open, false) || sum.to_ms <= sum.from_ms) return;
    const double one = value(sum);
    if (one >= 0) out.push_back({sum.from_ms, sum.to_ms, one});
  };
  for (const Interval& interval : timeline.Intervals(side)) {
    if (!open) {
      sum = interval;
      open = true;
    } else {
      sum.to_ms = interval.to_ms;
      sum.accepted += interval.accepted;
      sum.requests += interval.requests;
      sum.errors += interval.errors;
      sum.bytes += interval.bytes;
      sum.duration_us += interval.duration_us;
    }
    if (sum.to_ms - sum.from_ms >= shortest) close();
  }
  close();
  return out;
}

std::vector<Piece> GaugePieces(const Timeline& timeline, const TimeAxis& axis,
                               const std::function<double(const Sample&)>& value) {
  const int64_t shortest = ShortestPiece(axis);
  std::vector<Piece> out;
  bool open = false;
  Piece piece;
  for (const Sample& row : timeline.samples()) {
    const double now = value(row);
    if (open) {
      piece.to_ms = row.at_ms;
      if (now < 0 || piece.to_ms - piece.from_ms >= shortest) {
        out.push_back(piece);
        open = false;
      } else {
        piece.value = std::max(piece.value, now);
      }
    }
    if (!open && now >= 0) {
      piece = {row.at_ms, row.at_ms, now};
      open = true;
    }
  }
  if (open && piece.to_ms > piece.from_ms) out.push_back(piece);
  return out;
}

std::string ChartHtml(const std::string& title, const std::string& unit, const TimeAxis& axis,
                      const std::vector<Series>& series, const std::function<std::string(double)>& format) {
  double highest = 0;
  bool any = false;
  for (const Series& one : series) {
    any = any || !one.pieces.empty();
    for (const Piece& piece : one.pieces) highest = std::max(highest, piece.value);
  }
  const double most = highest > 0 ? NiceCeiling(highest * 1.12) : 1;
  std::string out =
      "<section class=\"chart\"><h3>" + EscapeHtml(title) + " <small>" + EscapeHtml(unit) + "</small></h3>\n";
  if (!any) return out + "<p class=\"none\">nothing was measured</p></section>\n";
  out += "<div class=\"plot\"><svg viewBox=\"0 0 1000 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"" +
         EscapeHtml(title) + ", highest " + EscapeHtml(format(highest)) + "\">\n";
  for (const char* y : {"0", "50", "100"}) {
    out += "<line class=\"grid\" x1=\"0\" x2=\"1000\" y1=\"" + std::string(y) + "\" y2=\"" + y + "\"/>\n";
  }
  for (const auto& [at, ink] : axis.marks) {
    const std::string x = Decimal(axis.Percent(at) * kWidth / 100);
    out += "<line class=\"mark " + ink + "\" x1=\"" + x + "\" x2=\"" + x + "\" y1=\"0\" y2=\"100\"/>\n";
  }
  for (const Series& one : series) {
    if (one.pieces.empty()) continue;
    const Paths paths = PathsOf(one, axis, most);
    out += "<path class=\"area " + one.ink + "\" d=\"" + paths.area + "\"/>\n";
    out += "<path class=\"line " + one.ink + "\" d=\"" + paths.line + "\"/>\n";
  }
  out +=
      "</svg>\n<span class=\"scale top\">" + EscapeHtml(format(most)) + "</span><span class=\"scale zero\">0</span>\n";
  for (const Series& one : series) out += LabelHtml(one, axis, most);
  return out + "\n</div></section>\n";
}

std::string AxisHtml(const TimeAxis& axis) {
  constexpr auto kSteps = std::to_array<int64_t>(
      {1,     2,     5,     10,     20,     50,     100,    200,     500,     1000,    2000,     5000,    10000,
       15000, 30000, 60000, 120000, 300000, 600000, 900000, 1800000, 3600000, 7200000, 21600000, 86400000});
  int64_t step = kSteps.back();
  for (const int64_t one : kSteps) {
    if (axis.end_ms / one <= 6) {
      step = one;
      break;
    }
  }
  while (axis.end_ms / step > 10) step *= 2;
  std::string out = "<div class=\"axis\" aria-hidden=\"true\">";
  for (int64_t at = 0; at <= axis.end_ms; at += step) {
    const double percent = axis.Percent(at);
    const char* side = percent < 4 ? " first" : percent > 94 ? " last" : "";
    out += "<span class=\"tick" + std::string(side) + "\" style=\"left:" + Decimal(percent) + "%\">" +
           TickText(at, step) + "</span>";
  }
  return out + "</div>\n";
}

}  // namespace orchestrator
