#include "orchestrator/report.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <sstream>

namespace orchestrator {

namespace {

void Print(FILE* out, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), out);
  std::fputc('\n', out);
  std::fflush(out);
}

void Append(const Poco::JSON::Object& from, Poco::JSON::Object& to) {
  for (const std::string& name : from.getNames()) to.set(name, from.get(name));
}

}  // namespace

Poco::JSON::Object Ordered() {
  return Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
}

std::string OneLine(const Poco::JSON::Object& object) {
  std::ostringstream out;
  object.stringify(out);
  return out.str();
}

double UnixSeconds(const os::Clock& clock) {
  using std::chrono::milliseconds;
  const auto since = clock.WallNow().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<milliseconds>(since).count()) / 1000.0;
}

std::string LocalTime(int64_t unix_seconds) {
  const std::time_t seconds = unix_seconds;
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

int64_t Report::ElapsedMs() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock_.SteadyNow() - started_).count();
}

void Report::Line(const Poco::JSON::Object& object) const {
  Print(stdout, OneLine(object));
}

void Report::StepBegins(Step step) {
  if (audience_) audience_->StepBegins(step);
}

void Report::StepDone(Step step, std::string_view detail, const Poco::JSON::Object& more) {
  if (audience_) audience_->StepDone(step, detail);
  if (form_ == Form::kLive) return;
  const int64_t elapsed = ElapsedMs();
  if (form_ == Form::kPlain) {
    char head[48];
    std::snprintf(head, sizeof head, "%8.3f s  %-9.*s ", static_cast<double>(elapsed) / 1000.0,
                  static_cast<int>(StepName(step).size()), StepName(step).data());
    Print(stdout, head + std::string(detail));
    return;
  }
  auto object = Ordered();
  object.set("event", "step");
  object.set("step", std::string(StepName(step)));
  object.set("at", UnixSeconds(clock_));
  object.set("elapsed_ms", elapsed);
  object.set("detail", std::string(detail));
  Append(more, object);
  Line(object);
}

void Report::Event(std::string_view name, std::string_view plain, const Poco::JSON::Object& more) {
  if (audience_ && name == "cut") {  // without what aligns the line
    audience_->Cut(plain.substr(std::min(plain.find_first_not_of(' '), plain.size())));
  }
  if (form_ == Form::kLive) return;
  if (form_ == Form::kPlain) {
    if (!plain.empty()) Print(stdout, plain);
    return;
  }
  auto object = Ordered();
  object.set("event", std::string(name));
  object.set("at", UnixSeconds(clock_));
  Append(more, object);
  Line(object);
}

void Report::Note(std::string_view text) {
  if (audience_) audience_->Note(text);
  auto more = Ordered();
  more.set("text", std::string(text));
  Event("note", "            note: " + std::string(text), more);
}

void Report::Progress(std::string_view text, const Poco::JSON::Object& more) {
  Event("progress", "            " + std::string(text), more);
}

void Report::Result(std::string_view status, int exit_status, std::string_view reason, const Poco::JSON::Object& more) {
  if (audience_) audience_->Result(status, exit_status, reason);
  if (exit_status != 0) {
    Print(stderr, "orchestrator: " + std::string(reason));
  } else if (form_ != Form::kJson && !reason.empty()) {
    Print(stdout, reason);
  }
  if (form_ != Form::kJson) {
    if (more.has("report")) Print(stdout, "report: " + more.getValue<std::string>("report"));
    return;
  }
  auto object = Ordered();
  object.set("event", "result");
  object.set("at", UnixSeconds(clock_));
  object.set("status", std::string(status));
  object.set("exit", exit_status);
  object.set("reason", std::string(reason));
  object.set("elapsed_ms", ElapsedMs());
  Append(more, object);
  Line(object);
}

}  // namespace orchestrator
