#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "httpd/config/server_config.h"
#include "os/error.h"

namespace httpd::config {

/// Built-in places: used when the command line names none.
inline constexpr char kDefaultServerRoot[] = "/usr/local/baton";
inline constexpr char kDefaultConfigFile[] = "conf/httpd.conf";

/// The file system as the reader sees it; floor 3 gives the real one, tests a fake.
struct FileSource {
  std::function<os::Result<std::string>(const std::string& path)> read;
  /// Paths that match a shell pattern (sorted); a directory stands for every file below it, as in Apache's Include.
  std::function<os::Result<std::vector<std::string>>(const std::string& pattern)> expand;
  std::function<bool(const std::string& path)> is_directory;
  std::function<bool(const std::string& path)> exists;  ///< for <IfFile>; null: nothing does
  std::function<std::optional<std::string>(const std::string& name)> environment;
};

/// What to read and how.
struct ReadRequest {
  std::string server_root;  ///< absolute, "" = built in; a ServerRoot directive replaces it
  std::string config_file;  ///< absolute, or relative to server_root; "" = built in
  std::vector<std::string> defines;
  std::vector<std::string> directives_before;
  std::vector<std::string> directives_after;
  bool check_document_root = true;  ///< a missing one is a warning: AH00112
};

/// Reads the whole configuration. Pure but for `files`.
/// @return the effective configuration, or kInvalid whose `what` is exactly what Apache prints, without a trailing
///         newline: "AH00526: Syntax error on line 3 of /etc/x.conf:\nInvalid command 'Foo', perhaps misspelled or
///         ..."; kNotFound for the main file: "httpd: Could not open configuration file X: No such file or directory"
os::Result<ServerConfig> ReadConfiguration(const ReadRequest& request, const FileSource& files);

/// Where an instance with this configuration keeps what it is found by.
struct RuntimePlaces {
  std::string runtime_dir;
  std::string pid_file;
};

/// Looks at ServerRoot, DefaultRuntimeDir and PidFile alone: a server can be stopped though its configuration is broken
/// elsewhere. @return the errors of ReadConfiguration() when not even this much can be understood
os::Result<RuntimePlaces> ReadRuntimePlaces(const ReadRequest& request, const FileSource& files);

/// What `httpd -S` adds for accounts: "User: name=\"www-data\" id=33". Unset: there is no such account.
struct Accounts {
  std::optional<unsigned long> user_id;
  std::optional<unsigned long> group_id;
  bool used = true;  ///< false: not started by root, so that they mean nothing
};

/// Text of `httpd -S`, `-L` (name, module, help, contexts) and `-t -D DUMP_INCLUDES`, as Apache writes it.
std::string DumpHosts(const ServerConfig& config, const Accounts& accounts);
std::string DumpDirectives();
std::string DumpIncludes(const ServerConfig& config);

/// Text of `-t -D DUMP_CONFIG`: every directive in force with file and line; includes, conditions and variables are
/// resolved. Reads the files again. @return the errors of ReadConfiguration() that concern files and sections
os::Result<std::string> DumpConfig(const ReadRequest& request, const FileSource& files);

}  // namespace httpd::config
