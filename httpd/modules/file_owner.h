#pragma once

#include <string>

#include "httpd/modules/request_state.h"
#include "os/error.h"

namespace httpd::modules {

/// Names of who owns `state.file`, from the system's accounts. Blocks as getpwuid_r(3) does: where accounts are in
/// files, for a file read.
/// @return kNotFound, with Apache's words, where there is no file or the number has no name
os::Result<std::string> FileOwnerName(const RequestState& state);
os::Result<std::string> FileGroupName(const RequestState& state);

}  // namespace httpd::modules
