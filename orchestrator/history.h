#pragma once

#include "orchestrator/options.h"
#include "orchestrator/report.h"
#include "os/clock.h"

namespace orchestrator {

/// Prints the last hundred upgrades, newest first: a table, or one event "history" with all of them.
/// @return 0, also when there was none; 1: the journal cannot be read
int RunHistory(const Options& options, Report& report, os::Clock& clock);

}  // namespace orchestrator
