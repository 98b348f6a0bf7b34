#pragma once

#include <vector>

#include "httpd/config/directives.h"

namespace httpd::config {

/// The tables of the directives that are no module's own, one per file. Directives() holds them in this order.
std::vector<Directive> SectionDirectives();    ///< <Directory> <Files> <Location> <VirtualHost>
std::vector<Directive> HostDirectives();       ///< what is read, and what a server or a virtual host is
std::vector<Directive> ProtocolDirectives();   ///< which requests are understood
std::vector<Directive> ProcessDirectives();    ///< listeners, processes
std::vector<Directive> IgnoredDirectives();    ///< what has no meaning here
std::vector<Directive> LogDirectives();        ///< logs
std::vector<Directive> DirectoryDirectives();  ///< what holds for a directory

}  // namespace httpd::config
