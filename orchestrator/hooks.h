#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "orchestrator/plan.h"
#include "os/error.h"
#include "os/fd.h"
#include "os/process.h"

namespace orchestrator {

/// A command of the user's that runs before or after a step.
struct Hook {
  Step step = Step::kPlanned;
  enum class When { kBefore, kAfter } when = When::kAfter;
  std::string command;  ///< for sh -c

  std::string Name() const;  ///< "before-switched", "done"
};

/// "STEP=COMMAND" or "before-STEP=COMMAND". @return kInvalid: one sentence that lists the steps
os::Result<Hook> ParseHook(std::string_view text);

/// A hook that runs: a session of its own, standard input empty, standard output and error in `output`, no other
/// descriptor of ours.
struct RunningHook {
  os::ProcessHandle process;
  os::Fd output;  ///< non-blocking
};

/// @param environment  "NAME=value" lines, in addition to our own environment
os::Result<RunningHook> StartHook(const Hook& hook, const std::vector<std::string>& environment);

}  // namespace orchestrator
