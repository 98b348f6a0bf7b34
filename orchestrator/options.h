#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/hooks.h"
#include "orchestrator/plan.h"
#include "os/error.h"

namespace orchestrator {

enum class Command { kStart, kStop, kUpgrade, kRollback, kResume, kHistory, kStatus, kCheck, kHelp, kVersion };

/// What the command line asks for. Options that a command does not have are refused, not ignored.
struct Options {
  Command command = Command::kHelp;
  std::string server_root;           ///< -d, made absolute; "" = the binary's own default
  std::string config_file;           ///< -f as typed (relative to ServerRoot, as httpd has it); "" = the default
  std::vector<std::string> defines;  ///< -D, repeated
  std::string binary;                ///< --binary, made absolute; "" = see each command
  bool json = false;
  // upgrade, rollback, start
  std::chrono::milliseconds ready_timeout{30000};
  // upgrade, rollback
  std::vector<Probe> probes;  ///< never empty
  std::chrono::milliseconds bake{10000};
  int max_draining = 10;
  bool detach = false;
  std::vector<std::string> accept_shared;  ///< ids of `check`'s findings, or "all"
  bool live = true;                        ///< the live view, when there is a terminal for it
  bool keep_report = true;                 ///< a report file at the end
  std::string report;                      ///< --report, made absolute: where; "" = the usual place
  bool dry_run = false;
  std::vector<Hook> hooks;
  std::chrono::milliseconds hook_timeout{30000};
  // rollback
  std::string to;  ///< id or version; "" = the one before
  // upgrade, rollback, stop --graceful
  std::optional<int> graceful_shutdown_timeout;  ///< seconds, 0 = no limit; nothing: GracefulShutdownTimeout
  // stop
  bool graceful = false;
};

/// Parses argv. The command comes first.
/// @return kInvalid: one line that says what is wrong
os::Result<Options> ParseOptions(const std::vector<std::string>& arguments);

/// Text of --help.
std::string HelpText();

}  // namespace orchestrator
