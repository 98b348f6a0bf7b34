#pragma once

#include <string>
#include <string_view>

#include "httpd/modules/site.h"
#include "httpd/net/exchange.h"
#include "httpd/net/scoreboard.h"

namespace httpd::modules {

/// `SetHandler server-status`: the scoreboard as Apache's mod_status shows it. Query: `auto` = text for machines
/// (Apache's keys in Apache's order), `refresh=N` (seconds), `notable` = no table of workers. Source
/// reference/apache.md 1.6; mod_status of 2.4.71
void ServeStatus(const net::Request& request, const Site& site, const CompiledHost& host, const net::Scoreboard& board,
                 net::Response& response);

}  // namespace httpd::modules
