#pragma once

#include <openssl/ossl_typ.h>

#include <string>

#include "httpd/modules/ssl_settings.h"
#include "httpd/modules/ssl_tickets.h"
#include "os/error.h"

namespace httpd::modules {

/// Makes a context show a certificate (PEM; the certificates behind it in the file are its chain) and use its key.
///
/// @param pass_program  says what an encrypted key is opened with (SSLPassPhraseDialog exec:); "" = nobody
/// @param host          "name:port", for messages and as the program's argument
/// @param has_extras    the file may also hold parameters for Diffie-Hellman and the name of a curve
/// @return kInvalid with the line: missing, unreadable, no PEM, encrypted, or a key of another certificate
os::Status UseCertificate(SSL_CTX* context, const SslFile& certificate, const SslFile& key,
                          const std::string& pass_program, const std::string& host, bool has_extras);

/// Certificates that are sent behind one that has no chain in its own file.
os::Status AddChain(SSL_CTX* context, const SslFile& chain);

/// 48 bytes: a name, a secret to sign with, a key to encrypt with. Source  mod_ssl, SSLSessionTicketKeyFile
os::Result<TicketKey> ReadTicketKey(const SslFile& file);

}  // namespace httpd::modules
