#pragma once

#include <sys/types.h>

#include <array>
#include <set>
#include <string_view>

namespace rotatelogs {

/// The steps of a run between which it may be killed. The campaign of the tests visits all of them.
enum class Step {
  kLocked,      ///< the claim's lock is held, nothing is written yet
  kClaimed,     ///< the claim is in the ledger
  kOutputMade,  ///< the empty output exists under its temporary name
  kRunning,     ///< the command runs
  kRan,         ///< the command has ended well
  kSynced,      ///< its output is on disk
  kCommitting,  ///< the ledger knows that
  kRenamed,     ///< the output has its name
  kDurable,     ///< and the directory is on disk
  kDone,        ///< the ledger knows
  kCopied,      ///< the compressed copy is on disk and verified, under its temporary name
  kArchiving,   ///< the ledger knows
  kArchived,    ///< the copy has its name, durably
  kRemoved,     ///< the original is gone
  kCompressed,  ///< the ledger knows
  kExpiring,    ///< the ledger says expired, the file is still there
  kExpired,     ///< the file is gone
  kSaving       ///< something is about to be written to the ledger
};
inline constexpr std::array<std::string_view, 18> kStepNames = {
    "locked", "claimed", "output-made", "running",  "ran",     "synced",     "committing", "renamed", "durable",
    "done",   "copied",  "archiving",   "archived", "removed", "compressed", "expiring",   "expired", "saving"};

/// Test builds (BATON_FAULTS) look at PROCESSLOGS_FAULT=STEP[:N][:run|both] here: when STEP is reached for the Nth
/// time, they kill -9 processlogs itself, or first the process groups of its commands (which may have ended by then)
/// and then itself. All other builds do nothing.
/// @param groups  process groups of the commands that run
void FaultPoint(Step step, const std::set<pid_t>& groups);

}  // namespace rotatelogs
