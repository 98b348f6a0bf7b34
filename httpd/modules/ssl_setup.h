#pragma once

#include <openssl/ossl_typ.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "httpd/modules/ssl_settings.h"
#include "os/error.h"

/// What the contexts of our hosts (SSL...) and those for backends (SSLProxy...) are set up with alike.
namespace httpd::modules {

/// Why OpenSSL refused the last thing; what it remembers of errors is forgotten.
std::string LastReason();

/// @param wanted  bits of SslProtocolBit: the others are not spoken
void LimitProtocols(SSL_CTX* context, unsigned wanted);

/// Whether what directives name is there, a directory where the directive ends in "Path": OpenSSL would pass over what
/// is not.
/// @param places  directive and what it names; nothing: not said
/// @return kInvalid with the line of the first that is missing
os::Status CheckPlaces(std::initializer_list<std::pair<const char*, const std::optional<SslFile>&>> places);

/// Certificates are looked for in lists of revoked ones.
/// @param file, path  at least one is there
/// @param how         not kNone
/// @return kInvalid with the line: what the lists are in cannot be read
os::Status CheckRevocation(SSL_CTX* context, const std::optional<SslFile>& file, const std::optional<SslFile>& path,
                           SslRevocation how);

}  // namespace httpd::modules
