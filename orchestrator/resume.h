#pragma once

#include <string>

#include "orchestrator/journal.h"
#include "orchestrator/options.h"
#include "orchestrator/report.h"
#include "orchestrator/run_lock.h"
#include "orchestrator/site.h"
#include "os/clock.h"

namespace orchestrator {

/// Whether a recovery stays until an old instance that has been told to leave has gone. If not, an instance whose
/// deadline has not come yet drains by itself, as with `upgrade --detach`.
enum class Patience { kUntilGone, kNone };

/// What a recovery has come to.
struct Recovered {
  int exit_status = 0;   ///< kExitDone, kExitRolledBack, kExitCut; kExitFailed: a person has to do something
  std::string sentence;  ///< "" = nothing was interrupted
};

/// Finishes or undoes every upgrade of the runtime directory whose orchestrator died, newest first, as JudgeRecovery()
/// says, and tells `report` about each in a sentence.
///
/// Crash  may itself be killed anywhere and be run again: the records stay open until all is done, and no effect minds
///        being done twice.
/// Lock   `lock` is held; kUntilGone releases it before it waits.
/// Blocks as long as its effects take; with kUntilGone at most the old instance's drain time and 7 s.
Recovered Recover(const Site& site, RunLock& lock, Journal& journal, Patience patience, Report& report,
                  os::Clock& clock);

/// `orchestrator resume`. Nothing to do is fine: says so, 0.
int RunResume(const Options& options, Report& report, os::Clock& clock);

/// After every instance has been stopped: closes the records of interrupted upgrades and removes what they left.
void ForgetInterrupted(const RunLock& lock, Report& report, os::Clock& clock);

/// The sentence about an interrupted upgrade there is, for `status`; "": none.
std::string InterruptedText(const std::filesystem::path& runtime_dir, const os::Clock& clock);

}  // namespace orchestrator
