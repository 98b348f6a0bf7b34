#pragma once

#include <string>

#include "httpd/config/directives.h"

namespace httpd::config {

/// Arguments of a directive as the reference shows them: its `syntax`, or what its arity says.
std::string SyntaxOf(const Directive& directive);

/// "server, virtual host, section, .htaccess (FileInfo)"
std::string ContextsOf(const Directive& directive);

/// httpd.conf(5) in mdoc: every directive of Directives() with syntax, default, contexts, override class, module and
/// meaning. It is made of the table that the reader works with, so it says what holds. Modules must be registered.
std::string DirectiveReference();

}  // namespace httpd::config
