#pragma once

#include <string>
#include <utility>
#include <vector>

#include "httpd/modules/request_state.h"

namespace httpd::modules {

/// The variables of a CGI program, "NAME=value", each name once: RFC 3875's and Apache's, over what the request's
/// environment holds (SetEnv, rewrite rules...), whose names become [A-Za-z0-9_].
///
/// A field Proxy never becomes HTTP_PROXY; a field with anything but letters, digits and '-' in its name is left out,
/// so that none can pass for another; Authorization only with `pass_authorization`.
/// @param translated  PATH_TRANSLATED; "" = none
/// Source  RFC 3875 4.1, httpd 2.4 ap_add_common_vars, ap_add_cgi_vars
std::vector<std::string> CgiEnvironment(RequestState& state, bool pass_authorization, bool current_uri,
                                        const std::string& translated);

/// The request's body was for another resource: behind an error, or behind a program that led here. Then the method is
/// GET, too.
bool IsBodyGone(const RequestState& state);
inline constexpr const char* kBodyGoneNote = "cgi-body-gone";

/// Arguments for an indexed query ("a+b%20c", without '='): decoded, with shell characters escaped as in Apache.
std::vector<std::string> CgiArguments(const RequestState& state);

}  // namespace httpd::modules
