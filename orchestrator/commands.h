#pragma once

#include "orchestrator/options.h"
#include "orchestrator/report.h"
#include "os/clock.h"

namespace orchestrator {

/// Starts the server in the background and waits until it serves. One that serves already is fine: says so, 0.
int RunStart(const Options& options, Report& report, os::Clock& clock);

/// Ends every instance of the configuration and waits until they have gone; none running is fine: says so, 0.
/// A configuration that is bad by now does not keep a server from being stopped: then the server's own
/// `httpd -k stop --wait` is asked to do it.
int RunStop(const Options& options, Report& report, os::Clock& clock);

/// Lists the instances. 0 when one of them serves, otherwise 1.
int RunStatus(const Options& options, Report& report, os::Clock& clock);

}  // namespace orchestrator
