#include "orchestrator/live_view.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "orchestrator/figures.h"
#include "orchestrator/foreign_text.h"

namespace orchestrator {

namespace {

enum class Ink { kPlain, kDim, kBold, kGood, kBad, kOld, kNew };

const char* SgrOf(Ink ink) {
  switch (ink) {
    case Ink::kPlain:
      return "";
    case Ink::kDim:
      return "\033[2m";
    case Ink::kBold:
      return "\033[1m";
    case Ink::kGood:
      return "\033[32m";
    case Ink::kBad:
      return "\033[1;31m";
    case Ink::kOld:
      return "\033[33m";
    case Ink::kNew:
      return "\033[36m";
  }
  return "";
}

/// One line while it is written: foreign text is made harmless, what does not fit is left out.
class Line {
 public:
  explicit Line(const ViewStyle& style) : style_(style), room_(std::max(1, style.columns - 1)) {}

  Line& Text(std::string_view text, Ink ink = Ink::kPlain, int most = 1 << 20) {
    most = std::min(most, room_ - width_);
    std::string out;
    int width = 0;
    size_t fits = 0;  // bytes of `out` that leave room for an ellipsis
    int fits_width = 0;
    const int dots = style_.utf8 ? 1 : 2;
    while (!text.empty()) {
      const Glyph glyph = NextGlyph(text);
      text.remove_prefix(glyph.bytes.size());
      const bool shown = !IsControl(glyph.code) && (style_.utf8 || glyph.code < 0x80);
      const int columns = shown ? ColumnsOf(glyph.code) : 1;
      if (width + columns > most) {
        out.resize(fits);
        width = fits_width;
        if (most >= dots) {
          out += style_.utf8 ? "…" : "..";
          width += dots;
        }
        break;
      }
      width += columns;
      if (shown) {
        out += glyph.bytes;
      } else {
        out += glyph.code == '\t' || glyph.code == '\n' ? ' ' : '?';
      }
      if (width + dots <= most) {
        fits = out.size();
        fits_width = width;
      }
    }
    Append(out, ink);
    width_ += width;
    return *this;
  }

  /// Our own signs: `utf8` where the locale has it, otherwise `ascii`.
  Line& Sign(std::string_view utf8, std::string_view ascii, Ink ink = Ink::kPlain) {
    return Text(style_.utf8 ? utf8 : ascii, ink);
  }

  Line& Column(int column) {
    while (width_ < std::min(column, room_)) {
      out_ += ' ';
      ++width_;
    }
    return *this;
  }

  /// `text` so that it ends before `column`.
  Line& Right(std::string_view text, int column, Ink ink = Ink::kPlain) {
    Column(column - WidthOf(text));
    return Text(text, ink);
  }

  int width() const { return width_; }
  int room() const { return room_ - width_; }
  std::string Take() {
    while (!out_.empty() && out_.back() == ' ') out_.pop_back();
    return std::move(out_);
  }

 private:
  void Append(const std::string& text, Ink ink) {
    const char* sgr = style_.colour ? SgrOf(ink) : "";
    if (*sgr == '\0' || text.empty()) {
      out_ += text;
    } else {
      out_ += sgr + text + "\033[0m";
    }
  }
  const ViewStyle& style_;
  int room_;
  int width_ = 0;
  std::string out_;
};

/// A step that is under way. What comes before `done` is the old instance's draining.
std::string_view NowDoing(Step step) {
  switch (step) {
    case Step::kPlanned:
      return "planning";
    case Step::kLaunched:
      return "launching";
    case Step::kReady:
      return "starting";
    case Step::kProbed:
      return "probing";
    case Step::kSwitched:
      return "switching";
    case Step::kBaked:
      return "baking";
    case Step::kDraining:
      return "handing over";
    case Step::kDone:
      return "draining";
  }
  return "";
}

struct Ranked {
  int rank;  ///< what has the lowest is left out first
  std::string text;
};

constexpr std::string_view kBlocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

/// Requests per second of the last `cells` seconds and a half-second grid, as high as the higher of both instances.
std::string Sparkline(const Story& story, Side side, int64_t now_ms, int cells) {
  constexpr int64_t kCell = 500;
  std::array<std::vector<double>, 2> rates;
  double highest = 1;
  const int64_t end = now_ms / kCell * kCell;
  for (const Side one : kSides) {
    std::vector<double>& rate = rates[At(one)];
    rate.assign(static_cast<size_t>(cells), -1);
    for (const Interval& interval : story.timeline.Intervals(one)) {
      const int64_t cell = cells - 1 - (end - interval.to_ms) / kCell;
      if (interval.to_ms > end || cell < 0 || cell >= cells) continue;
      double& value = rate[static_cast<size_t>(cell)];
      value = std::max(value, interval.PerSecond(interval.requests));
      highest = std::max(highest, value);
    }
  }
  std::string out;
  for (const double value : rates[At(side)]) {
    if (value < 0) {
      out += ' ';
    } else {
      out += kBlocks[static_cast<size_t>(std::min(7.0, std::floor(value / highest * 7.999)))];
    }
  }
  return out;
}

/// Where the two columns of figures end, and what stands before them.
struct Columns {
  int label;
  int end[2];
};

class View {
 public:
  View(const Story& story, int64_t now_ms, const ViewStyle& style, Frame frame)
      : story_(story), now_ms_(now_ms), style_(style), last_(frame == Frame::kLast) {}

  std::vector<std::string> Render() {
    Title();
    Steps();
    Figures();
    Notes();
    Cut();
    const size_t most = last_ ? lines_.size() : static_cast<size_t>(std::max(1, style_.rows - 1));
    while (lines_.size() > most) {
      auto least = lines_.begin();
      for (auto line = lines_.begin(); line != lines_.end(); ++line) {
        if (line->rank <= least->rank) least = line;  // of equals the lower one
      }
      lines_.erase(least);
    }
    std::vector<std::string> out;
    for (Ranked& line : lines_) out.push_back(std::move(line.text));
    return out;
  }

 private:
  void Add(int rank, Line& line) { lines_.push_back({rank, line.Take()}); }
  void Blank() { lines_.push_back({20, ""}); }
  std::string None() const { return style_.utf8 ? "–" : "-"; }

  void Title() {
    Line line(style_);
    const std::string elapsed = SpanText(now_ms_);
    line.Text("upgrade", Ink::kBold).Text("  ");
    if (!story_.server_root.empty()) line.Text(story_.server_root, Ink::kPlain, line.room() - WidthOf(elapsed) - 2);
    line.Right(elapsed, std::min(style_.columns - 1, 78), Ink::kDim);
    Add(95, line);
    const PartyStory& old_one = story_.party[0];
    const PartyStory& new_one = story_.party[1];
    if (old_one.version.empty() && new_one.version.empty()) return;
    Line versions(style_);
    versions.Text("         ").Text(old_one.version.empty() ? "?" : old_one.version, Ink::kOld, 24);
    versions.Sign(" → ", " -> ", Ink::kDim).Text(new_one.version.empty() ? "?" : new_one.version, Ink::kNew, 24);
    Add(50, versions);
  }

  void Steps() {
    Blank();
    for (const Step step : kSteps) {
      const auto found =
          std::find_if(story_.steps.begin(), story_.steps.end(), [step](const StepStory& s) { return s.step == step; });
      Line line(style_);
      line.Text(" ");
      if (found == story_.steps.end()) {
        if (last_) continue;  // it will not come
        line.Sign("·", "-", Ink::kDim).Text(" ").Text(StepName(step), Ink::kDim);
        Add(35, line);
        continue;
      }
      const bool done = found->ended_ms.has_value();
      const bool failed = !done && last_ && !story_.detached;
      const int64_t took = found->ended_ms.value_or(now_ms_) - found->began_ms;
      if (done) {
        line.Sign("✓", "+", Ink::kGood).Text(" ").Text(StepName(step));
      } else if (failed) {
        line.Sign("✗", "x", Ink::kBad).Text(" ").Text(StepName(step), Ink::kBold);
      } else {
        line.Sign("▸", ">", Ink::kNew).Text(" ").Text(last_ ? StepName(step) : NowDoing(step), Ink::kBold);
      }
      line.Right(SpanText(took), 24, done ? Ink::kDim : Ink::kPlain).Text("  ");
      if (done) {
        if (line.room() >= 12) line.Text(found->detail, Ink::kDim);
      } else if (!last_ && story_.countdown) {
        CountdownOf(*found, line);
      }
      Add(done ? 45 : 100, line);
    }
  }

  void CountdownOf(const StepStory& step, Line& line) {
    const Countdown& countdown = *story_.countdown;
    if (!countdown.until_ms) {
      line.Text("no time limit", Ink::kDim);
      return;
    }
    const int64_t left = std::max<int64_t>(0, *countdown.until_ms - now_ms_);
    const std::string words = SpanText(left + 99) + " left";
    const int cells = std::min(20, line.room() - WidthOf(words) - 2);
    if (cells >= 6) {
      const auto whole = static_cast<double>(std::max<int64_t>(1, *countdown.until_ms - step.began_ms));
      const int full =
          std::clamp(static_cast<int>(std::lround(cells * (1.0 - static_cast<double>(left) / whole))), 0, cells);
      for (int i = 0; i < full; ++i) line.Sign("━", "=", Ink::kNew);
      for (int i = full; i < cells; ++i) line.Sign("─", "-", Ink::kDim);
      line.Text("  ");
    }
    line.Text(words);
  }

  bool There(Side side) const { return story_.party[At(side)].pid != 0; }

  /// One row of the table. `text` gives a side's figure, "" = nothing to say.
  template <class F>
  void Figure(int rank, std::string_view label, F text, Ink (*ink)(const std::string&) = nullptr) {
    std::string value[2];
    for (const Side side : kSides) value[At(side)] = There(side) ? text(side) : std::string();
    Line line(style_);
    line.Text(" ").Text(label, Ink::kDim, columns_.label);
    for (const Side side : kSides) {
      const std::string& one = value[At(side)];
      if (one.empty()) {
        line.Right(None(), columns_.end[At(side)], Ink::kDim);
      } else {
        line.Right(one, columns_.end[At(side)], ink ? ink(one) : Ink::kPlain);
      }
    }
    Add(rank, line);
  }

  void Figures() {
    if (!There(Side::kOld)) return;
    Blank();
    const int label = style_.columns < 40 ? 12 : 14;
    const int column = std::clamp((style_.columns - label - 3) / 2, 4, 16);
    columns_ = {label, {label + column, label + 2 * column + 2}};
    Line head(style_);
    for (const Side side : kSides) {
      const PartyStory& party = story_.party[At(side)];
      const std::string name = side == Side::kOld ? "old" : "new";
      head.Right(party.pid == 0 ? name : name + " " + std::to_string(party.pid), columns_.end[At(side)],
                 side == Side::kOld ? Ink::kOld : Ink::kNew);
    }
    Add(90, head);
    const auto reading = [this](Side side) {
      return story_.party[At(side)].gone ? nullptr : story_.timeline.Last(side);
    };
    const auto recent = [this](Side side) { return story_.timeline.Recent(side, 1000); };
    const auto count = [&](int64_t Interval::*what) {
      return [this, reading, recent, what](Side side) -> std::string {
        if (last_) return CountText(story_.timeline.totals(side).all.*what);
        if (!reading(side)) return "";
        const Interval interval = recent(side);
        return RateText(interval.PerSecond(interval.*what));
      };
    };
    Figure(82, "state", [&](Side side) -> std::string {
      if (story_.party[At(side)].gone) return "gone";
      const Reading* now = reading(side);
      return now ? std::string(now->state) : "starting";
    });
    Figure(70, last_ ? "accepted" : "accepted/s", count(&Interval::accepted));
    Figure(85, last_ ? "requests" : "requests/s", count(&Interval::requests));
    Figure(83, last_ ? "errors" : "errors/s", count(&Interval::errors),
           [](const std::string& text) { return text == "0" ? Ink::kPlain : Ink::kBad; });
    Figure(60, "mean time", [&](Side side) -> std::string {
      const Interval interval = last_ ? story_.timeline.totals(side).all : recent(side);
      return interval.requests > 0 ? MillisText(interval.MeanMs()) : "";
    });
    Figure(84, last_ ? "most conns" : "connections", [&](Side side) -> std::string {
      if (last_) return CountText(story_.timeline.totals(side).peak_connections);
      const Reading* now = reading(side);
      return now ? CountText(now->connections) : "";
    });
    Figure(81, "oldest", [&](Side side) -> std::string {
      if (last_) return SpanText(story_.timeline.totals(side).peak_oldest_ms);
      const Reading* now = reading(side);
      return now && now->busy > 0 ? SpanText(now->oldest_ms) : "";
    });
    Figure(40, last_ ? "most memory" : "memory", [&](Side side) -> std::string {
      if (last_) return BytesText(story_.timeline.totals(side).peak_memory);
      if (story_.party[At(side)].gone) return "";
      for (auto row = story_.timeline.samples().rbegin(); row != story_.timeline.samples().rend(); ++row) {
        if (row->memory[At(side)]) return BytesText(*row->memory[At(side)]);
      }
      return "";
    });
    if (style_.utf8 && !last_) {
      Figure(
          38, "trend", [&](Side side) { return Sparkline(story_, side, now_ms_, column - 1); },
          [](const std::string&) { return Ink::kDim; });
    }
    Line queue(style_);
    queue.Text(" ").Text(last_ ? "longest queue" : "accept queue", Ink::kDim, columns_.label);
    const auto& rows = story_.timeline.samples();
    std::string depth;
    if (last_) {
      depth = CountText(story_.timeline.peak_queue());
    } else if (!rows.empty() && rows.back().queue) {
      depth = CountText(*rows.back().queue);
    }
    if (!depth.empty()) {
      queue.Right(depth, columns_.end[1]);
      Add(65, queue);
    }
  }

  void Notes() {
    if (story_.notes.empty()) return;
    Blank();
    constexpr size_t kShown = 3;
    const size_t from = last_ || story_.notes.size() < kShown ? 0 : story_.notes.size() - kShown;
    for (size_t i = from; i < story_.notes.size(); ++i) {
      const int rank = i + 1 == story_.notes.size() ? 55 : 30;
      std::string_view text = story_.notes[i].text;
      for (bool first = true; first || !text.empty(); first = false) {
        Line line(style_);
        line.Text(" ").Text(first ? "note  " : "      ", Ink::kDim);
        const size_t cut = last_ ? WrapAt(text, static_cast<size_t>(std::max(10, line.room()))) : text.size();
        line.Text(text.substr(0, cut));
        text.remove_prefix(cut);
        Add(rank, line);
      }
    }
  }

  void Cut() {
    if (!last_ || story_.cut.empty()) return;
    constexpr size_t kShown = 10;
    Blank();
    for (size_t i = 0; i < std::min(story_.cut.size(), kShown); ++i) {
      Line line(style_);
      line.Text(" ").Text(story_.cut[i]);
      Add(55, line);
    }
    if (story_.cut.size() <= kShown) return;
    Line line(style_);
    line.Text(" ").Text("and " + CountText(static_cast<int64_t>(story_.cut.size() - kShown)) + " more", Ink::kDim);
    Add(55, line);
  }

  /// Bytes of `text` that stand on one line of `room` columns: up to the last space, or as many as fit.
  static size_t WrapAt(std::string_view text, size_t room) {
    if (text.size() <= room) return text.size();
    const size_t space = text.rfind(' ', room - 1);
    if (space != std::string_view::npos && space > 0) return space + 1;
    size_t cut = room;
    while (cut > 1 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
    return cut;
  }

  const Story& story_;
  int64_t now_ms_;
  const ViewStyle& style_;
  bool last_;
  Columns columns_{};
  std::vector<Ranked> lines_;
};

}  // namespace

ViewStyle StyleOf(const std::function<std::string(const char*)>& get) {
  ViewStyle style;
  style.colour = get("NO_COLOR").empty();
  std::string locale;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (locale.empty()) locale = get(name);
  }
  for (char& c : locale) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  style.utf8 = locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
  return style;
}

int WidthOf(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    if (text.starts_with("\033[")) {
      const size_t end = text.find('m');
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      continue;
    }
    const Glyph glyph = NextGlyph(text);
    width += ColumnsOf(glyph.code);
    text.remove_prefix(glyph.bytes.size());
  }
  return width;
}

std::vector<std::string> RenderView(const Story& story, int64_t now_ms, const ViewStyle& style, Frame frame) {
  return View(story, now_ms, style, frame).Render();
}

}  // namespace orchestrator
