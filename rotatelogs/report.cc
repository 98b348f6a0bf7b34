#include "rotatelogs/report.h"

#include <Poco/JSON/Object.h>

#include <ctime>
#include <sstream>

namespace rotatelogs {

namespace {

using Poco::JSON::Object;

Object::Ptr NewObject() {
  return new Object(Poco::JSON_PRESERVE_KEY_ORDER);
}

std::string Text(const Object::Ptr& object) {
  std::ostringstream text;
  object->stringify(text);
  return text.str();
}

/// What the progress line stands for on a terminal.
bool IsRoutine(std::string_view event) {
  return event == "done" || event == "compressed" || event == "expired";
}

}  // namespace

std::string OneLine(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  const size_t newline = text.rfind('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

std::string When(int64_t unix_time) {
  const time_t at = unix_time;
  tm fields{};
  ::localtime_r(&at, &fields);
  char text[64];
  return std::string(text, ::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &fields));
}

int64_t UnixNow(const os::Clock& clock) {
  return std::chrono::system_clock::to_time_t(clock.WallNow());
}

std::string RecordJson(const Record& record) {
  Object::Ptr object = NewObject();
  object->set("segment", record.path);
  object->set("id", record.id);
  object->set("state", std::string(StateName(record.state)));
  object->set("attempts", record.attempts);
  object->set("next_at", record.next_at);
  object->set("updated", record.updated);
  object->set("bytes", record.bytes);
  object->set("lines", record.lines);
  object->set("sha256", record.sha256);
  object->set("certain", record.certain);
  object->set("output", record.output);
  object->set("output_sha256", record.output_sha256);
  object->set("archive", record.archive);
  object->set("words", record.words);
  return Text(object);
}

void Reporter::Event(std::string_view event, const std::string& path, const std::string& id, const std::string& detail,
                     const Record* record) {
  if (!json_) {
    if (progress_.shown() && IsRoutine(event)) return;
    progress_.Clear();
    say_(std::string(event) + " " + path + (detail.empty() ? "" : ": " + detail));
    return;
  }
  Object::Ptr object = NewObject();
  object->set("event", std::string(event));
  object->set("segment", path);
  object->set("id", id);
  object->set("time", UnixNow(clock_));
  if (!detail.empty()) object->set("detail", detail);
  if (record) {
    object->set("attempt", record->attempts);
    object->set("bytes", record->bytes);
    object->set("lines", record->lines);
    object->set("sha256", record->sha256);
    object->set("certain", record->certain);
    if (!record->output.empty()) object->set("output", record->output);
  }
  say_(Text(object));
}

void Reporter::Complain(const std::string& what) {
  progress_.Clear();
  if (!json_) {
    complain_("processlogs: " + what);
    return;
  }
  Object::Ptr object = NewObject();
  object->set("event", "error");
  object->set("time", UnixNow(clock_));
  object->set("detail", what);
  say_(Text(object));
}

void Reporter::Summary(const Counters& counters) {
  progress_.Clear();
  if (!json_) {
    std::string line = std::to_string(counters.done) + " processed, " + std::to_string(counters.failed) + " failed, " +
                       std::to_string(counters.open) + " not sealed yet, " + std::to_string(counters.settled) +
                       " settled before";
    if (counters.waiting > 0) line += ", " + std::to_string(counters.waiting) + " waiting";
    if (counters.compressed > 0) line += ", " + std::to_string(counters.compressed) + " compressed";
    if (counters.expired > 0) line += ", " + std::to_string(counters.expired) + " expired";
    say_(line);
    return;
  }
  Object::Ptr object = NewObject();
  object->set("event", "summary");
  object->set("time", UnixNow(clock_));
  object->set("done", counters.done);
  object->set("failed", counters.failed);
  object->set("open", counters.open);
  object->set("waiting", counters.waiting);
  object->set("compressed", counters.compressed);
  object->set("expired", counters.expired);
  object->set("settled", counters.settled);
  say_(Text(object));
}

}  // namespace rotatelogs
