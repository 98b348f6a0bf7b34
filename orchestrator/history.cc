#include "orchestrator/history.h"

#include <Poco/JSON/Array.h>

#include <cstdio>

#include "orchestrator/journal.h"
#include "orchestrator/site.h"

namespace orchestrator {

namespace {

int64_t Milliseconds(double began, double ended) {
  return static_cast<int64_t>((ended - began) * 1000 + 0.5);
}

std::string Span(int64_t ms) {
  char text[32];
  std::snprintf(text, sizeof text, ms < 10000 ? "%.2f s" : "%.1f s", static_cast<double>(ms) / 1000.0);
  return text;
}

std::string ResultOf(const UpgradeRecord& record) {
  if (!record.ended) return os::IsRunning(record.orchestrator) ? "running" : "interrupted";
  switch (record.exit_status) {
    case kExitDone:
      return "done";
    case kExitCut:
      return "done, cut";
    case kExitRolledBack:
      return "rolled back";
    default:
      return "failed";
  }
}

std::string Who(const Party& party) {
  std::string text = party.version.empty() ? "?" : party.version;
  if (party.id.pid > 0) text += " (" + std::to_string(party.id.pid) + ")";
  return text;
}

std::string Lost(const Losses& losses) {
  std::string text;
  if (losses.cut > 0) text = CountOf(losses.cut, "request") + " cut";
  if (losses.errors > 0) text += (text.empty() ? "" : ", ") + CountOf(losses.errors, "error");
  return text.empty() ? "none" : text;
}

Poco::JSON::Object PartyObject(const Party& party) {
  auto out = Ordered();
  out.set("pid", party.id.pid);
  out.set("version", party.version);
  out.set("binary", party.binary);
  out.set("server_root", party.server_root);
  out.set("config_file", party.config_file);
  return out;
}

Poco::JSON::Object RecordObject(const UpgradeRecord& record) {
  auto out = Ordered();
  out.set("id", record.id);
  out.set("command", record.intent.command);
  out.set("user", record.user);
  out.set("orchestrator", record.orchestrator.pid);
  out.set("began", record.began);
  if (record.ended) out.set("ended", *record.ended);
  out.set("from", PartyObject(record.intent.from));
  out.set("to", PartyObject(record.intent.to));
  Poco::JSON::Array listeners;
  for (const std::string& listener : record.intent.listeners) listeners.add(listener);
  out.set("listeners", listeners);
  out.set("result", ResultOf(record));
  if (record.ended) {
    out.set("exit", record.exit_status);
    out.set("reason", record.reason);
  }
  out.set("cut", record.losses.cut);
  out.set("errors", record.losses.errors);
  Poco::JSON::Array steps;
  for (const StepRecord& step : record.steps) {
    auto one = Ordered();
    one.set("step", std::string(StepName(step.step)));
    one.set("began", step.began);
    if (step.ended) {
      one.set("ms", Milliseconds(step.began, *step.ended));
      one.set("result", step.result);
      one.set("detail", step.detail);
    }
    steps.add(one);
  }
  out.set("steps", steps);
  return out;
}

std::string Row(const std::string& when, const std::string& who, const std::string& command, const std::string& from,
                const std::string& to, const std::string& result, const std::string& lost, const std::string& took) {
  char line[512];
  std::snprintf(line, sizeof line, "%-19s  %-10s %-9s %-18s %-18s %-12s %-14s %8s\n", when.c_str(), who.c_str(),
                command.c_str(), from.c_str(), to.c_str(), result.c_str(), lost.c_str(), took.c_str());
  return line;
}

std::string Table(const std::vector<UpgradeRecord>& records) {
  std::string out = Row("WHEN", "WHO", "COMMAND", "FROM (PID)", "TO (PID)", "RESULT", "LOST", "TOOK");
  for (const UpgradeRecord& record : records) {
    out += Row(LocalTime(static_cast<int64_t>(record.began)), record.user, record.intent.command,
               Who(record.intent.from), Who(record.intent.to), ResultOf(record), Lost(record.losses),
               record.ended ? Span(Milliseconds(record.began, *record.ended)) : "-");
    std::string steps;
    for (const StepRecord& step : record.steps) {
      steps += (steps.empty() ? "    " : ", ") + std::string(StepName(step.step)) +
               (step.ended ? " " + Span(Milliseconds(step.began, *step.ended)) : " ...");
    }
    if (!steps.empty()) out += steps + "\n";
    if (record.ended && record.exit_status != kExitDone) out += "    " + record.reason + "\n";
  }
  out.pop_back();
  return out;
}

}  // namespace

int RunHistory(const Options& options, Report& report, os::Clock& clock) {
  const auto failed = [&report](const std::string& reason) {
    report.Result("failed", kExitFailed, reason);
    return static_cast<int>(kExitFailed);
  };
  auto site = FindSite(options);
  if (!site) return failed(site.error().Text());
  auto journal = Journal::Open(site.value().config.runtime_dir / "orchestrator", Journal::Mode::kExisting, clock);
  std::vector<UpgradeRecord> records;
  if (journal) {
    auto read = journal.value().History();
    if (!read) return failed(read.error().Text());
    records = std::move(read).value();
  } else if (journal.error().kind != os::ErrorKind::kNotFound) {
    return failed(journal.error().Text());
  }
  Poco::JSON::Array upgrades;
  for (const UpgradeRecord& record : records) upgrades.add(RecordObject(record));
  auto more = Ordered();
  more.set("upgrades", upgrades);
  report.Event("history", records.empty() ? "no upgrade so far" : Table(records), more);
  return kExitDone;
}

}  // namespace orchestrator
