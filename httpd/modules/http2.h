#pragma once

#include "httpd/config/server_config.h"
#include "httpd/net/exchange.h"

namespace httpd::modules {

/// What Protocols and the H2... directives of a host say.
net::Http2Terms Http2TermsOf(const config::Host& host);

}  // namespace httpd::modules
