#pragma once

#include "orchestrator/drivers/httpd.h"
#include "orchestrator/options.h"
#include "os/error.h"

namespace orchestrator {

/// The server that a command line means: --binary, or the `httpd` beside this program; -d, -f and -D as given; our
/// environment and working directory.
/// @return kNotFound: there is no such program, with what to do
os::Result<httpd::Program> ProgramOf(const Options& options);

/// What every command begins with.
struct Site {
  httpd::Program program;
  httpd::RunConfig config;
};

/// ProgramOf(), and what the program says about its configuration.
os::Result<Site> FindSite(const Options& options);

}  // namespace orchestrator
