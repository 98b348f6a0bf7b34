#pragma once

#include "orchestrator/options.h"
#include "orchestrator/report.h"
#include "os/clock.h"

namespace orchestrator {

/// Replaces the running instance by a new one, as plan.h says: every step is recorded, done, reported.
///
/// Signals  SIGINT, SIGTERM and SIGHUP take the upgrade back until the old instance is told to leave; after that it
///          goes on to its end and says so. They are blocked and read from a descriptor: call it before any thread
///          runs.
/// Lock     held until the old instance drains, so that a next upgrade may start meanwhile.
/// @return the exit status (plan.h); `report` has had the result event
int RunUpgrade(const Options& options, Report& report, os::Clock& clock);

}  // namespace orchestrator
