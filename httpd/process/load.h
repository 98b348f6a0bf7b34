#pragma once

#include <memory>
#include <string>

#include "httpd/config/command_line.h"
#include "httpd/config/reader.h"
#include "httpd/config/server_config.h"
#include "os/error.h"

namespace httpd::process {

/// What is said of `User root`.
inline constexpr std::string_view kNotAsRoot =
    "this server does not serve as root: any local user could read every file through it. Name another User";

/// A configuration as read from disk, with the files it points to.
struct Loaded {
  config::ServerConfig config;
  std::string types;  ///< text of TypesConfig, "" = none
};

/// The real file system and environment for the reader.
config::FileSource RealFiles();

/// What the command line and the build say about where the configuration is.
config::ReadRequest RequestFor(const config::Options& options);

/// Reads and checks everything that can be checked without binding: syntax, types file, patterns, log formats.
os::Result<std::shared_ptr<const Loaded>> Load(const config::Options& options);

/// Numbers of User and Group, for -S.
config::Accounts AccountsOf(const config::ServerConfig& config);

/// Beyond Load(), for -t: directories of logs exist (AH02297 and AH00014), DocumentRoot exists, User and Group exist,
/// log programs can be found. All that is wrong makes one error.
os::Status CheckSurroundings(const Loaded& loaded);

/// Names what a configuration says, whatever files it stands in: hex, the same for the same flattened text without its
/// comments. "" when it could not be flattened.
std::string Fingerprint(const config::ServerConfig& config);

/// --run-config: what orchestrator asks for, as JSON (object; keys listed in orchestrator(8)).
std::string RunConfigJson(const Loaded& loaded);

}  // namespace httpd::process
