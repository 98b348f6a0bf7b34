#pragma once

#include <Poco/JSON/Array.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "handover/cut_list.h"
#include "orchestrator/drivers/httpd.h"
#include "orchestrator/report.h"
#include "os/clock.h"

namespace orchestrator {

/// What was cut when an instance had to be gone.
struct Cuts {
  std::vector<handover::CutRequest> requests;  ///< those that are known one by one
  int64_t count = 0;                           ///< all of them; more than `requests` when the instance had to be killed
  bool killed = false;
  bool needed_term = false;
  bool unknown = false;  ///< it was killed, and nobody knows what it had in progress
  bool Any() const { return count > 0 || unknown; }
  /// The first few of `requests`, for the history; "" when none is known.
  std::string Examples() const;
  /// "2 requests of process 7 were cut at the deadline of 30 s, and it needed a TERM"
  std::string Text(pid_t pid, int timeout) const;
};

/// Array for --json and the journal: {client, phase, request, age_ms, bytes_sent, bytes_left}, at most 100.
Poco::JSON::Array CutsJson(const std::vector<handover::CutRequest>& requests);

/// Watches an instance that was told to drain until it has gone: progress once a second, TERM 3 s after its own
/// deadline, KILL 5 s later. Who owns the loop calls Look() every Pause() until the instance has gone, then Finish()
/// once.
class Departure {
 public:
  /// @param timeout  seconds from `began`; 0 = no limit
  /// All references must outlive this object.
  Departure(const httpd::Instance& instance, httpd::Control& control, std::filesystem::path runtime_dir, int timeout,
            os::Clock::Steady began, Report& report, os::Clock& clock);

  /// What is known from before the drain; used when the instance does not answer any more.
  void Remember(const httpd::Status& status) { last_ = status; }

  void Look();
  std::chrono::milliseconds Pause() const;  ///< near the deadline the instance is asked more often

  /// The instance has gone: its children that did not go with it are ended (those that had to be killed are named),
  /// its files and its cut list are removed, each cut request is reported.
  Cuts Finish();

 private:
  struct Child {
    os::ProcessHandle process;
    bool is_server = false;  ///< the instance's own program, not a log program
  };
  void Kill();
  void EndOrphans();

  const httpd::Instance& instance_;
  httpd::Control& control_;
  std::filesystem::path runtime_dir_;
  int timeout_;
  os::Clock::Steady deadline_;
  os::Clock::Steady next_line_;
  Report& report_;
  os::Clock& clock_;
  std::optional<httpd::Status> last_;
  std::vector<Child> children_;  ///< as they were when the instance was killed
  bool term_sent_ = false;
  bool kill_sent_ = false;
};

/// Reads, removes and reports the list that an instance left; nullopt: it left none.
std::optional<std::vector<handover::CutRequest>> TakeCuts(const std::filesystem::path& runtime_dir, pid_t pid,
                                                          Report& report);

/// Removes cut lists that nobody fetched (their orchestrator died): of instances that have gone, older than a minute.
void RemoveStaleCutLists(const std::filesystem::path& runtime_dir, const os::Clock& clock);

}  // namespace orchestrator
