#pragma once

#include <string>
#include <vector>

#include "httpd/config/command_line.h"

namespace httpd::process {

/// Does what a command line asks for; the whole of main() but the parsing. Prints Apache's texts.
/// @return the process's exit status
int RunCommand(const config::Options& options);

}  // namespace httpd::process
