#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/modules/request_state.h"
#include "httpd/modules/ssl_settings.h"

namespace httpd::modules {

/// Values of SSLProtocol, SSLVerifyClient and SSLCARevocationCheck, for others whose directives take the same; `out` is
/// left alone where they are wrong.
config::Complaint TakeSslProtocols(config::Builder& builder, const config::Node& node,
                                   const std::vector<std::string>& words, unsigned& out);
config::Complaint TakeSslVerify(const config::Node& node, const std::string& word, SslVerify& out);
config::Complaint TakeSslRevocation(const config::Node& node, const std::vector<std::string>& words, SslRevocation& out,
                                    bool& is_crl_optional);

/// The directives of mod_ssl.
const std::vector<config::Directive>& SslDirectives();

/// Whether a request may be answered by its host on a connection that was set up for the name that the client said at
/// its beginning (SNI). Asked before anything else of each request that came over TLS.
/// @return 0, or the status that refuses it, with a line in the error log: 400, 403, 421
/// Source  httpd 2.4 manual, SSLVHostSNIPolicy and SSLStrictSNIVHostCheck
int SslRefusal(RequestState& state);

/// Whether the client's certificate has an extension of that kind (a name that OpenSSL knows, or an OID) whose value
/// reads `value`, as OpenSSL prints it: PeerExtList() of expressions.
bool IsInClientExtensions(const RequestState& state, std::string_view value, const std::string& extension);

/// Value of a variable of mod_ssl ("SSL_PROTOCOL", "SSL_CLIENT_S_DN_CN") or of HTTPS; "" = none, or no TLS.
std::string SslVariable(const RequestState& state, std::string_view name);

/// ... for logs: %{NAME}x, and the names that %{...}c has ("version", "cipher", "subjectdn", "issuerdn"). Where it is
/// none of them, the variable of the request of that name.
std::string LoggedSslVariable(const RequestState& state, std::string_view name);

/// Sets what SSLOptions asks for.
void SetSslVariables(RequestState& state, unsigned options);

}  // namespace httpd::modules
