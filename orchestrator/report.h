#pragma once

#include <Poco/JSON/Object.h>

#include <string>
#include <string_view>

#include "orchestrator/plan.h"
#include "os/clock.h"

namespace orchestrator {

/// Who is told besides the output. Called on the thread of who reports.
class Audience {
 public:
  virtual ~Audience() = default;
  virtual void StepBegins(Step step) = 0;
  virtual void StepDone(Step step, std::string_view detail) = 0;
  virtual void Note(std::string_view text) = 0;
  virtual void Cut(std::string_view text) = 0;  ///< a request that was cut
  virtual void Result(std::string_view status, int exit_status, std::string_view reason) = 0;
};

/// What a person or a program is told while a command runs.
///
/// Plain     one line per event on stdout, the sentence of a failure on stderr.
/// Live      nothing but the result: the audience draws what happens before.
/// --json    one JSON object per line on stdout, with "event" and "at" (unix seconds, a fraction included) in each; the
///           sentence of a failure goes to stderr as well.
/// Errors    output that cannot be written is dropped: a closed terminal must not stop an upgrade half-way.
class Report {
 public:
  enum class Form { kPlain, kJson, kLive };

  Report(Form form, const os::Clock& clock) : form_(form), clock_(clock), started_(clock.SteadyNow()) {}

  /// Tells `audience` (a loan; null: nobody) everything as well; `form` from now on.
  void Listen(Audience* audience, Form form) {
    audience_ = audience;
    form_ = form;
  }

  /// A step is begun. Only the audience hears of it.
  void StepBegins(Step step);

  /// A step has been reached. {"event":"step","step","elapsed_ms","detail", and what `more` holds}
  void StepDone(Step step, std::string_view detail, const Poco::JSON::Object& more = Poco::JSON::Object());

  /// Something worth knowing that is no failure. {"event":"note","text"}
  void Note(std::string_view text);

  /// How far draining is. {"event":"progress", and what `more` holds}
  void Progress(std::string_view text, const Poco::JSON::Object& more);

  /// Any other event: `plain` line or JSON object with "event":`name`. The audience hears of "note" and "cut".
  void Event(std::string_view name, std::string_view plain, const Poco::JSON::Object& more);

  /// Last event. {"event":"result","status","exit","reason","elapsed_ms", and what `more` holds}
  /// @param status  "done", "rolled back" or "failed"
  /// @param reason  one sentence; it goes to stderr unless `exit_status` is 0. "" = nothing to say
  /// @param more    its "report", the path of the report file, is told in every form
  void Result(std::string_view status, int exit_status, std::string_view reason,
              const Poco::JSON::Object& more = Poco::JSON::Object());

  int64_t ElapsedMs() const;  ///< since this object was made
  os::Clock::Steady started() const { return started_; }
  Form form() const { return form_; }
  bool json() const { return form_ == Form::kJson; }

 private:
  void Line(const Poco::JSON::Object& object) const;

  Form form_;
  Audience* audience_ = nullptr;
  const os::Clock& clock_;
  os::Clock::Steady started_;
};

/// Seconds since 1970 with milliseconds, as events and journal have them.
double UnixSeconds(const os::Clock& clock);

/// "2026-11-21 10:45:34" in local time.
std::string LocalTime(int64_t unix_seconds);

/// An object on one line, keys in the order they were set.
std::string OneLine(const Poco::JSON::Object& object);

/// An empty object that keeps the order of its keys.
Poco::JSON::Object Ordered();

}  // namespace orchestrator
