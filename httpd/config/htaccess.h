#pragma once

#include <string>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/server_config.h"
#include "os/error.h"

namespace httpd::config {

/// What .htaccess files may say in one place. Source  httpd 2.4 manual, AllowOverride, AllowOverrideList
struct Overrides {
  unsigned classes = 0;            ///< kOverride... bits
  unsigned options = ~0U;          ///< those that Options may set: AllowOverride Options=...
  std::vector<std::string> names;  ///< AllowOverrideList, lower case
  bool ignore_forbidden = false;   ///< Nonfatal=Override: what is not allowed is skipped, not an error
  bool ignore_unknown = false;     ///< Nonfatal=Unknown
  bool any() const { return classes != 0 || !names.empty(); }
  bool operator==(const Overrides&) const = default;
};

/// One .htaccess file, read.
struct HtaccessFile {
  Section section;                   ///< kDirectory; <Files> and <If> of it are nested
  std::vector<std::string> skipped;  ///< full sentences: what Nonfatal let pass
};

/// Reads the text of an .htaccess file that lies in `directory`.
/// @param server  for ServerRoot and what Define gave
/// @return kInvalid: what Apache writes to the error log, without the file's name: "FooBar not allowed here"
/// Limits  256 KiB, 100 nested sections; Include and Define are not allowed here
os::Result<HtaccessFile> ReadHtaccess(const std::string& text, const std::string& path, const std::string& directory,
                                      const Overrides& overrides, const ServerConfig& server);

}  // namespace httpd::config
