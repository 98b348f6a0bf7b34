#include "orchestrator/report_data.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>

#include <sstream>
#include <utility>

#include "orchestrator/figures.h"
#include "orchestrator/foreign_text.h"
#include "orchestrator/report.h"

namespace orchestrator {

namespace {

Poco::Dynamic::Var Number(const std::optional<int64_t>& value) {
  return value ? Poco::Dynamic::Var(*value) : Poco::Dynamic::Var();
}

Poco::JSON::Array Texts(const std::vector<std::string>& texts) {
  Poco::JSON::Array out;
  for (const std::string& text : texts) out.add(CleanText(text));
  return out;
}

void SetCounts(const Interval& interval, Poco::JSON::Object& out) {
  out.set("accepted", interval.accepted);
  out.set("requests", interval.requests);
  out.set("errors", interval.errors);
  out.set("bytes", interval.bytes);
  out.set("duration_us", interval.duration_us);
}

Poco::JSON::Object PartyJson(const Story& story, Side side) {
  const PartyStory& party = story.party[At(side)];
  const Totals& totals = story.timeline.totals(side);
  auto out = Ordered();
  out.set("pid", party.pid);
  out.set("version", CleanText(party.version));
  out.set("binary", CleanText(party.binary));
  out.set("gone", party.gone);
  SetCounts(totals.all, out);
  out.set("adopted", totals.adopted);
  out.set("passed", totals.passed);
  out.set("peak_connections", totals.peak_connections);
  out.set("peak_busy", totals.peak_busy);
  out.set("peak_oldest_ms", totals.peak_oldest_ms);
  out.set("peak_memory", totals.peak_memory);
  return out;
}

Poco::JSON::Array Samples(const Story& story) {
  Poco::JSON::Array out;
  std::array<std::vector<Interval>, 2> intervals;
  std::array<size_t, 2> next = {0, 0};
  std::array<bool, 2> first = {true, true};
  for (const Side side : kSides) intervals[At(side)] = story.timeline.Intervals(side);
  for (const Sample& row : story.timeline.samples()) {
    auto sample = Ordered();
    sample.set("at_ms", row.at_ms);
    sample.set("queue", Number(row.queue));
    for (const Side side : kSides) {
      const auto& reading = row.side[At(side)];
      const char* name = side == Side::kOld ? "old" : "new";
      if (!reading) {
        sample.set(name, Poco::Dynamic::Var());
        continue;
      }
      auto one = Ordered();
      one.set("at_ms", reading->at_ms);
      one.set("state", std::string(reading->state));
      Interval since;
      if (!std::exchange(first[At(side)], false)) since = intervals[At(side)][next[At(side)]++];
      SetCounts(since, one);
      one.set("connections", reading->connections);
      one.set("busy", reading->busy);
      one.set("oldest_ms", reading->oldest_ms);
      one.set("memory", Number(row.memory[At(side)]));
      sample.set(name, one);
    }
    out.add(sample);
  }
  return out;
}

}  // namespace

std::string Headline(const Story& story) {
  const std::string from = "version " + CleanText(story.party[0].version);
  const std::string to = story.party[0].version == story.party[1].version && !story.party[1].version.empty()
                             ? "the same version"
                             : "version " + CleanText(story.party[1].version);
  const std::string took = SpanText(story.ended_ms.value_or(0));
  const int64_t errors = story.timeline.totals(Side::kOld).all.errors + story.timeline.totals(Side::kNew).all.errors;
  std::string failures = errors == 0   ? "no request failed"
                         : errors == 1 ? "1 request was answered with a server error"
                                       : CountText(errors) + " requests were answered with a server error";
  if (story.exit_status == kExitCut) failures += ", and some were cut at the deadline";
  if (story.status == "done") {
    std::string text = "Replaced " + from + " by " + to + " in " + took;
    if (story.switched_ms) text += "; the new instance accepted after " + SpanText(*story.switched_ms);
    return text + "; " + failures + (story.detached ? "; the old instance still drains." : ".");
  }
  if (story.status == "rolled back") {
    return "Took the upgrade from " + from + " to " + to + " back after " + took + "; " + failures +
           ", the old instance serves.";
  }
  return "The upgrade from " + from + " to " + to + " failed after " + took + ".";
}

std::string ReportJson(const Story& story) {
  auto out = Ordered();
  out.set("schema", "baton.upgrade-report/1");
  out.set("id", story.id);
  out.set("status", story.status);
  out.set("exit", story.exit_status);
  out.set("headline", Headline(story));
  out.set("reason", CleanText(story.reason));
  out.set("detached", story.detached);
  out.set("began", static_cast<double>(story.began_unix_ms) / 1000.0);
  out.set("duration_ms", story.ended_ms.value_or(0));
  out.set("switched_ms", Number(story.switched_ms));
  out.set("committed_ms", Number(story.committed_ms));
  out.set("server_root", CleanText(story.server_root));
  out.set("config_file", CleanText(story.config_file));
  out.set("user", CleanText(story.user));
  out.set("old", PartyJson(story, Side::kOld));
  out.set("new", PartyJson(story, Side::kNew));
  out.set("peak_queue", story.timeline.peak_queue());
  out.set("peak_memory", story.timeline.peak_memory());
  Poco::JSON::Array steps;
  for (const StepStory& step : story.steps) {
    auto one = Ordered();
    one.set("step", std::string(StepName(step.step)));
    one.set("began_ms", step.began_ms);
    one.set("ended_ms", Number(step.ended_ms));
    one.set("detail", CleanText(step.detail));
    steps.add(one);
  }
  out.set("steps", steps);
  auto listeners = Ordered();
  listeners.set("keep", Texts(story.keep));
  listeners.set("add", Texts(story.add));
  listeners.set("remove", Texts(story.remove));
  out.set("listeners", listeners);
  Poco::JSON::Array notes;
  for (const NoteStory& note : story.notes) {
    auto one = Ordered();
    one.set("at_ms", note.at_ms);
    one.set("text", CleanText(note.text));
    notes.add(one);
  }
  out.set("notes", notes);
  out.set("cut", Texts(story.cut));
  out.set("samples", Samples(story));
  std::ostringstream text;
  out.stringify(text, 1);
  return text.str() + "\n";
}

}  // namespace orchestrator
