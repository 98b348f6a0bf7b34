#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "os/clock.h"
#include "rotatelogs/ledger.h"
#include "rotatelogs/progress.h"

namespace rotatelogs {

/// Takes one line, without its newline.
using Say = std::function<void(std::string_view)>;

/// The last line of a text that has several.
std::string OneLine(std::string text);

/// Local time for people: "2026-11-21 13:45:57".
std::string When(int64_t unix_time);

int64_t UnixNow(const os::Clock& clock);

/// A record as one JSON object, for `status --json` and for events.
std::string RecordJson(const Record& record);

/// What a run did, counted.
struct Counters {
  int64_t done = 0;
  int64_t failed = 0;
  int64_t open = 0;     ///< not sealed yet
  int64_t waiting = 0;  ///< a retry that is not due, or another run works on it
  int64_t compressed = 0;
  int64_t expired = 0;
  int64_t settled = 0;  ///< nothing was to be done
};

/// Where the lines of a run go: plain or JSON, and not through the progress line of a terminal.
class Reporter {
 public:
  Reporter(bool json, const os::Clock& clock, Say say, Say complain, Progress& progress)
      : json_(json), clock_(clock), say_(std::move(say)), complain_(std::move(complain)), progress_(progress) {}

  /// @param event  a word of the list in processlogs(8)
  /// @param record  adds its attempt, size, digest and output to the JSON object; may be null
  void Event(std::string_view event, const std::string& path, const std::string& id, const std::string& detail,
             const Record* record = nullptr);

  /// Something went wrong: stderr, or an event "error".
  void Complain(const std::string& what);

  void Summary(const Counters& counters);

 private:
  bool json_;
  const os::Clock& clock_;
  Say say_;
  Say complain_;
  Progress& progress_;
};

}  // namespace rotatelogs
