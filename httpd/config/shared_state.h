#pragma once

#include <string>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/server_config.h"

namespace httpd::config {

/// Notes what `directive` makes two instances of one configuration share, when its row says so: for --run-config, and
/// `orchestrator check`. A directive that names a file or a socket two instances would meet at gets a row in the table
/// of shared_state.cc; logs, Listen, PidFile and DefaultRuntimeDir have none, they are listed in full anyway.
void NoteSharedState(const Directive& directive, const std::vector<std::string>& words, const SourceLine& where,
                     ServerConfig& config);

}  // namespace httpd::config
