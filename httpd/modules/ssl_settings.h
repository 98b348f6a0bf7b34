#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/module_slots.h"
#include "httpd/config/server_config.h"

namespace httpd::modules {

/// A file that a directive names.
struct SslFile {
  std::string path;  ///< absolute; "" = none
  config::SourceLine where;
};

/// Bits of SSLProtocol.
enum SslProtocolBit : unsigned { kTls10 = 1, kTls11 = 2, kTls12 = 4, kTls13 = 8, kTlsAll = 15 };

enum class SslVerify { kNone, kOptional, kRequire, kOptionalNoCa };
enum class SslRevocation { kNone, kLeaf, kChain };
enum class SslSniPolicy { kStrict, kSecure, kAuthOnly, kInsecure };

/// What mod_ssl's directives say of a host.
struct SslSettings final : config::ModuleSettings {
  std::optional<bool> engine;
  config::SourceLine engine_where;
  std::vector<SslFile> certificates;
  std::vector<SslFile> keys;  ///< in the order of `certificates`; fewer: the key is in the certificate's file
  std::optional<SslFile> chain;
  std::optional<SslFile> ca_file, ca_path, ca_names_file, ca_names_path, crl_file, crl_path;
  std::optional<SslRevocation> revocation;
  bool is_crl_optional = false;
  std::optional<unsigned> protocols;
  std::optional<std::string> ciphers;     ///< for TLS 1.2 and below
  std::optional<std::string> ciphers_13;  ///< for TLS 1.3
  config::SourceLine ciphers_where;
  std::optional<bool> honor_order;
  std::optional<SslVerify> verify;
  std::optional<int> verify_depth;
  std::optional<bool> tickets;
  std::optional<SslFile> ticket_key;
  std::optional<int> session_timeout_s;
  std::optional<bool> strict_sni;
  std::optional<SslSniPolicy> sni_policy;  ///< of the main server
  struct Command {
    std::string name, value;
    config::SourceLine where;
  };
  std::vector<Command> commands;  ///< SSLOpenSSLConfCmd
  std::optional<std::string> pass_program;
  std::optional<bool> stapling;
  std::optional<bool> stapling_errors;     ///< SSLStaplingReturnResponderErrors
  std::optional<bool> stapling_try_later;  ///< SSLStaplingFakeTryLater
  std::optional<int> stapling_timeout_s;   ///< SSLStaplingResponderTimeout
  std::optional<int> stapling_standard_s;  ///< SSLStaplingStandardCacheTimeout
  std::optional<int> stapling_error_s;     ///< SSLStaplingErrorCacheTimeout
  std::optional<int> stapling_skew_s;      ///< SSLStaplingResponseTimeSkew
  std::optional<int> stapling_age_s;       ///< SSLStaplingResponseMaxAge; -1: any
  std::optional<std::string> stapling_url;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& inner) const override;
};

/// Bits of SSLOptions.
enum SslOptionBit : unsigned {
  kSslStdEnvVars = 1,
  kSslExportCertData = 2,
  kSslStrictRequire = 4,
  kSslFakeBasicAuth = 8,
  kSslLegacyDn = 16,
};

/// ... and of a directory.
struct SslPlaceSettings final : config::ModuleSettings {
  std::optional<unsigned> options;  ///< without signs: replaces
  unsigned add = 0, remove = 0;
  bool require_ssl = false;
  struct Requirement {
    std::string text;
    std::shared_ptr<const config::CompiledExpression> condition;
  };
  std::vector<Requirement> requirements;  ///< SSLRequire: all must hold, those of outer places first
  std::optional<std::string> user_name;   ///< SSLUserName: a variable

  unsigned Options() const { return (options.value_or(0) | add) & ~remove; }
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& inner) const override;
};

}  // namespace httpd::modules
