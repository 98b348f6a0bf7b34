#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "handover/listen_fds.h"
#include "orchestrator/context.h"
#include "orchestrator/drivers/httpd.h"
#include "os/clock.h"
#include "os/error.h"
#include "os/process.h"

namespace orchestrator {

/// A server process that we started, from its launch to the moment it is left to itself.
///
/// Survives us: it leads a session of its own and has no parent-death signal; what it still holds of ours is the pipe
/// that its stderr was until it was ready.
class Newcomer {
 public:
  /// Starts `program` in standby with `listeners` (loans) and what `context` says, READY expected on `notify_path`.
  static os::Result<Newcomer> Launch(const httpd::Program& program, const Context& context,
                                     const std::vector<handover::Listener>& listeners,
                                     const std::filesystem::path& notify_path);

  const os::ProcessHandle& process() const { return process_; }
  pid_t pid() const { return process_.pid(); }
  const os::Fd& errors() const { return errors_; }  ///< its stderr until it is ready

  void ReadErrors();              ///< takes what is in the pipe; call whenever it is readable
  std::string LastWords() const;  ///< the sentence in what it wrote

  bool HasEnded();                                                                  ///< also reaps
  bool EndedWell() const { return exit_ && !exit_->signaled && exit_->code == 0; }  ///< somebody stopped it
  /// "exited with status 1: AH00526: ..." once it has ended
  std::string HowItEnded() const;

  /// Ends it: `control` (may be null) is asked to stop, otherwise TERM; KILL after 5 s. Then the rest of
  /// its process group (children, log programs) gets 5 s, and KILL. @return false: something of the group is still
  /// there
  bool End(httpd::Control* control, os::Clock& clock);

 private:
  Newcomer(os::ProcessHandle process, os::Fd errors) : process_(std::move(process)), errors_(std::move(errors)) {}
  os::ProcessHandle process_;
  os::Fd errors_;
  std::string text_;
  std::optional<os::ExitStatus> exit_;
};

}  // namespace orchestrator
