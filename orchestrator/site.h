#pragma once

#include "orchestrator/drivers/httpd.h"
#include "orchestrator/options.h"
#include "os/error.h"

namespace orchestrator {

/// The server that a command line means: --binary, or the `httpd` beside this program; -d, -f and -D as given; our
/// environment and working directory.
/// @return kNotFound: there is no such program, with what to do
os::Result<httpd::Program> ProgramOf(const Options& options);

}  // namespace orchestrator
