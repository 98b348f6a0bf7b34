#pragma once

#include <string>
#include <string_view>

#include "httpd/config/server_config.h"
#include "httpd/net/exchange.h"

namespace httpd::modules {

/// What Protocols and the H2... directives of a host say.
net::Http2Terms Http2TermsOf(const config::Host& host);

/// HTTP2, H2PUSH, H2_PUSH, H2_STREAM_ID, H2_STREAM_TAG: what programs and logs are told of a request that came by
/// HTTP/2. "" = another variable, or another request. Source  httpd 2.4 manual, mod_http2, "Environment Variables"
std::string Http2Variable(const net::Request& request, std::string_view name);

}  // namespace httpd::modules
