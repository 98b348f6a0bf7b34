#include "orchestrator/report_page.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "orchestrator/figures.h"
#include "orchestrator/foreign_text.h"
#include "orchestrator/report.h"
#include "orchestrator/report_chart.h"
#include "orchestrator/report_data.h"

namespace orchestrator {

namespace {

// Old and new are Okabe and Ito's vermillion and blue, which every kind of colour blindness tells apart, and
// which differ in grey.
constexpr std::string_view kStyle = R"css(
:root{--page:#fbfaf8;--card:#fff;--ink:#1d1f23;--dim:#62666e;--rule:#e4e1db;--track:#f0eee9;
--old:#b8500a;--new:#0068a8;--both:#6b6f78;--good:#1a7f4b;--warn:#9a6200;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--page:#14161a;--card:#1b1e24;--ink:#e8e6e1;--dim:#9aa0aa;--rule:#2d323b;
--track:#242932;--old:#f0883e;--new:#58b1f5;--both:#a4abb8;--good:#4cc38a;--warn:#e2b33c;--bad:#ff7b72}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans","DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:62rem;margin:0 auto;padding:2.5rem 1.5rem 3rem}
h1{font-size:1.6rem;line-height:1.3;font-weight:650;letter-spacing:-.01em;margin:.6rem 0 .5rem;text-wrap:balance}
h2{font-size:1.05rem;font-weight:650;margin:2.6rem 0 .9rem}
h3{font-size:.85rem;font-weight:600;margin:0 0 .35rem}
small{font-size:.8rem;color:var(--dim);font-weight:400}
p{margin:.3rem 0}
.meta,.none{color:var(--dim);font-size:.875rem}
.meta code{overflow-wrap:anywhere}
code{font:.85em ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.badge{display:inline-block;font-size:.8rem;font-weight:650;padding:.1rem .6rem;border-radius:1rem;border:1px solid}
.badge.good{color:var(--good)}.badge.warn{color:var(--warn)}.badge.bad{color:var(--bad)}
.why{border-left:3px solid var(--bad);padding:.4rem 0 .4rem .9rem;margin:1rem 0;overflow-wrap:anywhere}
.why.warn{border-color:var(--warn)}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:1px;background:var(--rule);
border:1px solid var(--rule);border-radius:.5rem;overflow:hidden;margin:1.6rem 0 0;padding:0}
.tiles div{background:var(--card);padding:.75rem .9rem}
.tiles dt{font-size:.8rem;color:var(--dim)}
.tiles dd{margin:0;font-size:1.35rem;font-weight:600;letter-spacing:-.01em}
.steps{list-style:none;margin:0;padding:0}
.steps li{display:grid;grid-template-columns:6rem 1fr 5rem;column-gap:.9rem;align-items:center;padding:.28rem 0}
.steps .name{font-size:.9rem}
.steps .took{text-align:right;font-size:.875rem;white-space:nowrap}
.steps .detail{grid-column:2/4;font-size:.8rem;color:var(--dim);overflow-wrap:anywhere;line-height:1.35}
.track{position:relative;height:.8rem;background:var(--track);border-radius:.2rem}
.bar{position:absolute;top:0;bottom:0;min-width:3px;border-radius:.2rem;background:var(--both)}
.bar.before{background:var(--old)}.bar.after{background:var(--new)}.bar.failed{background:var(--bad)}
.charts{display:grid;grid-template-columns:6rem 1fr 5rem;column-gap:.9rem}
.charts>*{grid-column:2}
.flags{position:relative;height:1.5rem;font-size:.8rem}
.flags span{position:absolute;bottom:.1rem;white-space:nowrap;padding:0 .3rem;color:var(--dim)}
.flags .to{transform:translateX(-100%)}
.chart{display:grid;grid-template-columns:6rem 1fr 5rem;column-gap:.9rem;grid-column:1/-1;margin:0 0 1.1rem}
.chart h3{text-align:left;margin:0;line-height:1.3}.chart h3 small{display:block}
.plot{position:relative;height:6.6rem}
.plot svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible}
.grid{stroke:var(--rule);stroke-width:1;vector-effect:non-scaling-stroke}
.mark{stroke:var(--dim);stroke-width:1;stroke-dasharray:2 3;vector-effect:non-scaling-stroke}
.line{fill:none;stroke-width:1.75;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.line.old{stroke:var(--old);stroke-width:1.5}.line.new{stroke:var(--new)}.line.both{stroke:var(--both)}
.area{stroke:none;opacity:.13}
.area.old{fill:var(--old)}.area.new{fill:var(--new)}.area.both{fill:var(--both)}
.scale{position:absolute;left:100%;padding-left:.5rem;font-size:.75rem;line-height:1;color:var(--dim);white-space:nowrap}
.scale.top{top:-.3rem}.scale.zero{bottom:-.3rem}
.label{position:absolute;font-size:.8rem;line-height:1.15;font-weight:600;padding:0 .25rem;white-space:nowrap;
text-shadow:0 0 3px var(--page),0 0 3px var(--page),0 0 3px var(--page),0 0 3px var(--page)}
.label.old{color:var(--old)}.label.new{color:var(--new)}.label.both{color:var(--both)}
.axis{position:relative;height:1.3rem;font-size:.75rem;color:var(--dim)}
.tick{position:absolute;transform:translateX(-50%);white-space:nowrap}
.tick.first{transform:none}.tick.last{transform:translateX(-100%)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:right;padding:.38rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:0;color:var(--dim);font-weight:400}
thead th{font-weight:650}
th.old{color:var(--old)}th.new{color:var(--new)}
td{overflow-wrap:anywhere}
ul.plain{list-style:none;margin:0;padding:0;font-size:.9rem}
ul.plain li{padding:.25rem 0;border-bottom:1px solid var(--rule);overflow-wrap:anywhere}
ul.plain .sign{display:inline-block;min-width:5rem;color:var(--dim)}
footer{margin-top:3rem;color:var(--dim);font-size:.8rem}
@media(max-width:40rem){main{padding:1.25rem 1rem 2rem}h1{font-size:1.3rem}h2{margin-top:2rem}
.tiles{grid-template-columns:1fr 1fr}.tiles dd{font-size:1.15rem}
.steps li{grid-template-columns:1fr auto;row-gap:.15rem;padding:.4rem 0}.steps .track,.steps .detail{grid-column:1/-1}
.steps .took{grid-row:1;grid-column:2}
.charts,.chart{display:block}.chart h3 small{display:inline}.chart{margin-bottom:1.4rem}.chart h3{margin-bottom:.5rem}
.scale{left:auto;right:0;padding:0}.scale.zero{display:none}.scale.top{top:-1.15rem}
.tick:nth-child(even){display:none}th,td{padding:.35rem .35rem}}
@media print{:root{--page:#fff;--card:#fff;--ink:#000;--dim:#444;--rule:#bbb;--track:#eee;--old:#b8500a;--new:#0068a8;
--both:#555}main{padding:0;max-width:none}section,li,tr{break-inside:avoid}h2{break-after:avoid}
.bar,.track,.area{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
)css";

std::string Percent(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", value);
  return text;
}

std::string Tile(const std::string& name, const std::string& value) {
  return "<div><dt>" + EscapeHtml(name) + "</dt><dd>" + EscapeHtml(value) + "</dd></div>\n";
}

class Page {
 public:
  explicit Page(const Story& story) : story_(story), timeline_(story.timeline) {
    axis_.end_ms = std::max<int64_t>(
        1, story.ended_ms.value_or(timeline_.samples().empty() ? 1 : timeline_.samples().back().at_ms));
    if (story.switched_ms) axis_.marks.emplace_back(*story.switched_ms, "switch");
    if (story.committed_ms) axis_.marks.emplace_back(*story.committed_ms, "commit");
  }

  std::string Write() {
    const std::string headline = EscapeHtml(Headline(story_));
    out_ =
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta "
        "charset=\"utf-8\"/>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
        "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>" +
        headline + "</title>\n<style>" + std::string(kStyle) + "</style>\n</head>\n<body>\n<main>\n";
    Head(headline);
    Tiles();
    Steps();
    Charts();
    Table();
    Listeners();
    List("Cut at the deadline", story_.cut);
    Notes();
    out_ +=
        "<footer><p>Written by orchestrator upgrade. The same data is in the .json file beside this page "
        "(schema baton.upgrade-report/1, see orchestrator(8)).</p></footer>\n</main>\n</body>\n</html>\n";
    return std::move(out_);
  }

 private:
  void Head(const std::string& headline) {
    const bool done = story_.status == "done";
    const char* ink = done && story_.exit_status == 0          ? "good"
                      : done || story_.status == "rolled back" ? "warn"
                                                               : "bad";
    out_ += "<header><span class=\"badge " + std::string(ink) + "\">" + EscapeHtml(story_.status) +
            (story_.exit_status == kExitCut ? ", requests cut" : "") + "</span>\n<h1>" + headline + "</h1>\n";
    out_ += "<p class=\"meta\">" + EscapeHtml(LocalTime(story_.began_unix_ms / 1000));
    if (!story_.user.empty()) out_ += ", by " + EscapeHtml(story_.user);
    out_ += " &#183; <code>" + EscapeHtml(story_.server_root) + "</code> &#183; <code>" +
            EscapeHtml(story_.config_file) + "</code></p>\n";
    if (story_.exit_status != 0 && !story_.reason.empty()) {
      out_ += "<p class=\"why" + std::string(*ink == 'w' ? " warn" : "") + "\">" + EscapeHtml(story_.reason) + "</p>\n";
    }
    out_ += "</header>\n";
  }

  int64_t Sum(int64_t Interval::*what) const {
    return timeline_.totals(Side::kOld).all.*what + timeline_.totals(Side::kNew).all.*what;
  }

  void Tiles() {
    out_ += "<dl class=\"tiles\">\n";
    out_ += Tile("Switched after", story_.switched_ms ? SpanText(*story_.switched_ms) : "never");
    out_ += Tile("Whole upgrade", SpanText(story_.ended_ms.value_or(0)));
    out_ += Tile("Requests answered", CountText(Sum(&Interval::requests)));
    out_ += Tile("Server errors", CountText(Sum(&Interval::errors)));
    const int64_t moved = std::max(timeline_.totals(Side::kOld).passed, timeline_.totals(Side::kNew).adopted);
    out_ += Tile("Connections handed over", CountText(moved));
    out_ += Tile("Longest accept queue", CountText(timeline_.peak_queue()));
    out_ += Tile("Most memory, both", BytesText(timeline_.peak_memory()));
    out_ += Tile("Connections accepted", CountText(Sum(&Interval::accepted)));
    out_ += "</dl>\n";
  }

  void Steps() {
    out_ += "<h2>Steps</h2>\n<ol class=\"steps\">\n";
    for (const StepStory& step : story_.steps) {
      const bool failed = !step.ended_ms && !story_.detached;
      const int64_t end = step.ended_ms.value_or(axis_.end_ms);
      const double left = axis_.Percent(step.began_ms);
      // Before the switch the old instance serves, from then on the new one.
      const char* ink = failed ? "failed" : step.step < Step::kSwitched ? "before" : "after";
      out_ += "<li><span class=\"name\">" + std::string(StepName(step.step)) +
              "</span><span class=\"track\"><span class=\"bar " + ink +
              "\" style=\"left:" + (left > 99.5 ? "calc(100% - 3px)" : Percent(left)) +
              ";width:" + Percent(std::max(0.0, axis_.Percent(end) - left)) + "\"></span></span><span class=\"took\">" +
              SpanText(std::max<int64_t>(0, end - step.began_ms)) + "</span>";
      if (failed) out_ += "<span class=\"detail\">failed</span>";
      if (!step.detail.empty()) out_ += "<span class=\"detail\">" + EscapeHtml(step.detail) + "</span>";
      out_ += "</li>\n";
    }
    out_ += "</ol>\n";
  }

  std::vector<Series> Both(const std::function<std::vector<Piece>(Side)>& pieces) const {
    return {{"old", "old", pieces(Side::kOld)}, {"new", "new", pieces(Side::kNew)}};
  }

  std::vector<Series> Gauges(int64_t Reading::*what) const {
    return Both([this, what](Side side) {
      return GaugePieces(timeline_, axis_, [side, what](const Sample& row) {
        const auto& reading = row.side[At(side)];
        return reading ? static_cast<double>((*reading).*what) : -1.0;
      });
    });
  }

  void Charts() {
    out_ += "<h2>Both instances over time</h2>\n<div class=\"charts\">\n<div class=\"flags\">";
    double last = -100;
    for (const auto& [at, ink] : axis_.marks) {
      const double percent = axis_.Percent(at);
      if (percent - last < 14) continue;  // its neighbour says enough: the two are one moment at this scale
      last = percent;
      const bool both =
          axis_.marks.size() == 2 && axis_.Percent(axis_.marks[1].first) - axis_.Percent(axis_.marks[0].first) < 14;
      const std::string words = both ? "switched, committed" : ink == "switch" ? "switched" : "committed";
      out_ += "<span class=\"" + std::string(percent > 50 ? "to" : "from") + "\" style=\"left:" + Percent(percent) +
              "\">" + words + "</span>";
    }
    out_ += "</div>\n";
    const auto count = [](double value) { return RateText(value); };
    out_ += ChartHtml("Requests", "per second", axis_, Both([this](Side side) {
                        return RatePieces(timeline_, side, axis_,
                                          [](const Interval& i) { return i.PerSecond(i.requests); });
                      }),
                      count);
    out_ += ChartHtml("Time per request", "mean", axis_, Both([this](Side side) {
                        return RatePieces(timeline_, side, axis_,
                                          [](const Interval& i) { return i.requests > 0 ? i.MeanMs() : -1.0; });
                      }),
                      MillisText);
    out_ +=
        ChartHtml("Accept queue", "waiting", axis_,
                  {{"both", "",
                    GaugePieces(timeline_, axis_,
                                [](const Sample& row) { return row.queue ? static_cast<double>(*row.queue) : -1.0; })}},
                  count);
    out_ += ChartHtml("Connections", "open", axis_, Gauges(&Reading::connections), count);
    out_ += AxisHtml(axis_) + "</div>\n";
  }

  void TableRow(const std::string& name, const std::function<std::string(Side)>& text) {
    out_ += "<tr><td>" + EscapeHtml(name) + "</td>";
    for (const Side side : kSides) {
      out_ += "<td>" + (story_.party[At(side)].pid == 0 ? std::string("&#8211;") : EscapeHtml(text(side))) + "</td>";
    }
    out_ += "</tr>\n";
  }

  void Table() {
    out_ +=
        "<h2>Figures</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th></th><th class=\"old\">old</th>"
        "<th class=\"new\">new</th></tr></thead>\n<tbody>\n";
    const auto total = [this](int64_t Totals::*what, std::string (*text)(int64_t)) {
      return [this, what, text](Side side) { return text(timeline_.totals(side).*what); };
    };
    const auto sum = [this](int64_t Interval::*what, std::string (*text)(int64_t)) {
      return [this, what, text](Side side) { return text(timeline_.totals(side).all.*what); };
    };
    TableRow("Version", [this](Side side) { return story_.party[At(side)].version; });
    TableRow("Process", [this](Side side) { return std::to_string(story_.party[At(side)].pid); });
    TableRow("Binary", [this](Side side) { return story_.party[At(side)].binary; });
    TableRow("At the end", [this](Side side) {
      if (story_.party[At(side)].gone) return std::string("gone");
      const Reading* last = timeline_.Last(side);
      return last ? std::string(last->state) : std::string("not seen");
    });
    TableRow("Requests answered", sum(&Interval::requests, CountText));
    TableRow("Server errors", sum(&Interval::errors, CountText));
    TableRow("Time per request", [this](Side side) {
      const Interval& all = timeline_.totals(side).all;
      return all.requests > 0 ? MillisText(all.MeanMs()) : std::string("none");
    });
    TableRow("Bytes sent", sum(&Interval::bytes, BytesText));
    TableRow("Connections accepted", sum(&Interval::accepted, CountText));
    TableRow("Connections handed on", total(&Totals::passed, CountText));
    TableRow("Connections taken over", total(&Totals::adopted, CountText));
    TableRow("Most connections at once", total(&Totals::peak_connections, CountText));
    TableRow("Most requests at once", total(&Totals::peak_busy, CountText));
    TableRow("Oldest request", total(&Totals::peak_oldest_ms, SpanText));
    TableRow("Most memory", total(&Totals::peak_memory, BytesText));
    out_ +=
        "</tbody>\n</table></div>\n<p class=\"meta\">Counted while the upgrade ran, asked five times a second; probes "
        "are requests, too.</p>\n";
  }

  void Listeners() {
    out_ += "<h2>Listeners</h2>\n<ul class=\"plain\">\n";
    for (const auto& [sign, list] :
         {std::pair{"kept", &story_.keep}, std::pair{"added", &story_.add}, std::pair{"removed", &story_.remove}}) {
      for (const std::string& address : *list) {
        out_ +=
            "<li><span class=\"sign\">" + std::string(sign) + "</span><code>" + EscapeHtml(address) + "</code></li>\n";
      }
    }
    out_ += "</ul>\n";
  }

  void List(const std::string& title, const std::vector<std::string>& lines) {
    if (lines.empty()) return;
    out_ += "<h2>" + EscapeHtml(title) + "</h2>\n<ul class=\"plain\">\n";
    constexpr size_t kShown = 200;
    for (size_t i = 0; i < std::min(lines.size(), kShown); ++i) out_ += "<li>" + EscapeHtml(lines[i]) + "</li>\n";
    if (lines.size() > kShown)
      out_ += "<li>and " + CountText(static_cast<int64_t>(lines.size() - kShown)) + " more</li>\n";
    out_ += "</ul>\n";
  }

  void Notes() {
    if (story_.notes.empty()) return;
    out_ += "<h2>Notes</h2>\n<ul class=\"plain\">\n";
    for (const NoteStory& note : story_.notes) {
      out_ += "<li><span class=\"sign\">" + SpanText(note.at_ms) + "</span>" + EscapeHtml(note.text) + "</li>\n";
    }
    out_ += "</ul>\n";
  }

  const Story& story_;
  const Timeline& timeline_;
  TimeAxis axis_;
  std::string out_;
};

}  // namespace

std::string ReportPage(const Story& story) {
  return Page(story).Write();
}

}  // namespace orchestrator
