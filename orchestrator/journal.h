#pragma once

#include <Poco/JSON/Object.h>

#include <filesystem>
#include <string>

#include "orchestrator/plan.h"
#include "os/clock.h"
#include "os/error.h"
#include "os/fd.h"

namespace orchestrator {

/// Record of what an upgrade is about to do: one JSON object per line, written and fsynced *before* the effect.
///
/// File     <runtime_dir>/orchestrator/journal, 0600, append only; each line is one write(2), so two commands may share
///          it. A crash can leave a last line without its newline; Open() ends it, so that it spoils no other.
/// Lines    {"upgrade":id,"phase":"begin","step":name,"at":unix seconds, facts...} before a step's effect,
///          {"upgrade":id,"phase":"end","exit":n,"reason":sentence,...} when the command is through.
class Journal {
 public:
  /// @param directory  must exist
  /// @param id         names this run in every line: pid and start time of the orchestrator
  static os::Result<Journal> Open(const std::filesystem::path& directory, std::string id, const os::Clock& clock);

  /// Durable when it returns. `facts`: what a recovery needs to know (pids, command line, listeners).
  os::Status Begin(Step step, const Poco::JSON::Object& facts);
  os::Status End(int exit_status, const std::string& reason);

 private:
  Journal(os::Fd fd, std::string id, const os::Clock& clock) : fd_(std::move(fd)), id_(std::move(id)), clock_(&clock) {}
  os::Status Write(const Poco::JSON::Object& line);

  os::Fd fd_;
  std::string id_;
  const os::Clock* clock_;
};

}  // namespace orchestrator
