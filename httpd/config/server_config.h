#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "httpd/config/expressions.h"
#include "httpd/config/module_slots.h"

namespace httpd::config {

/// Where in the configuration something was said.
struct SourceLine {
  std::string file;  ///< absolute path, or "-c/-C directives"
  int line = 0;      ///< from 1
};

/// One file of the configuration and the line that brought it in.
struct IncludedFile {
  std::string path;
  int depth = 0;  ///< 0 = the main file
  int line = 0;   ///< in the including file; 0 for the main file
};

/// `Listen [IP:]port [protocol]`.
struct ListenAddress {
  std::string host;  ///< numeric, without brackets; "" = every IPv4 address
  uint16_t port = 0;
  std::string protocol = "http";  ///< or "https"
  bool is_protocol_said = false;  ///< otherwise it is what the port usually speaks
  SourceLine where;
};

/// Where a log goes. `path` is absolute for files; for programs the command line after the bar(s), unexpanded.
struct LogTarget {
  /// kProgram: `|cmd`, `||cmd`; kShell: `|$cmd`; kSyslog: `syslog[:facility[:tag]]`, text is "facility:tag"
  enum class Kind { kNone, kFile, kProgram, kShell, kSyslog };
  Kind kind = Kind::kNone;
  std::string text;
  SourceLine where;
  bool operator==(const LogTarget& other) const { return kind == other.kind && text == other.text; }
};

/// `CustomLog target format [env=[!]NAME|expr=expression]`, `TransferLog`, `GlobalLog`.
struct AccessLog {
  LogTarget target;
  std::string format;                                   ///< the format itself, nicknames resolved
  std::string env;                                      ///< "" = always; otherwise log when the variable is set
  bool env_negated = false;                             ///< ... is not set
  std::shared_ptr<const CompiledExpression> condition;  ///< expr=; null: none
  bool is_global = false;                               ///< GlobalLog: of hosts with logs of their own, too
};

/// Apache's levels. LogLevel; names as in the manual.
enum class LogLevel {
  kEmerg,
  kAlert,
  kCrit,
  kError,
  kWarn,
  kNotice,
  kInfo,
  kDebug,
  kTrace1,
  kTrace2,
  kTrace3,
  kTrace4,
  kTrace5,
  kTrace6,
  kTrace7,
  kTrace8
};

/// LogLevel in one place.
struct LogLevels {
  std::optional<LogLevel> level;                          ///< nothing said: the outer place's
  std::vector<std::pair<std::string, LogLevel>> modules;  ///< "rewrite", "core"

  LogLevel Of(std::string_view module) const;
  void Set(const std::string& module, LogLevel to);
  /// Takes over what an inner place says; a level for all ends what was said of modules before, as in Apache.
  void Merge(const LogLevels& inner);
};

/// Bits of `Options`.
enum OptionBit : unsigned {
  kOptIndexes = 1,
  kOptFollowSymLinks = 2,
  kOptSymLinksIfOwnerMatch = 4,
  kOptMultiViews = 8,
  kOptExecCgi = 16,
  kOptIncludes = 32,
  kOptIncludesNoExec = 64,
};

struct PerDirectory;

/// One <If>, <ElseIf> or <Else>. Its settings come last, when those of all other sections are known.
struct ConditionalSettings {
  std::shared_ptr<const CompiledExpression> condition;  ///< null: <Else>
  bool is_else = false;                                 ///< <ElseIf>, <Else>: only when the ones before did not hold
  std::shared_ptr<const PerDirectory> settings;         ///< may hold conditional ones in turn
};

/// What can differ from directory to directory. An unset member inherits from the enclosing section (Apache's merge
/// order: <Directory> shortest first, then <Files>, then <Location>, each in the order of the configuration).
struct PerDirectory {
  std::optional<unsigned> options;                         ///< `Options A B`: replaces
  unsigned options_add = 0;                                ///< `Options +A`
  unsigned options_remove = 0;                             ///< `Options -A`
  std::map<int, std::string> error_documents;              ///< status -> text as configured (text, local path or URL)
  std::optional<unsigned> override_classes;                ///< AllowOverride: kOverride... bits
  unsigned override_options = ~0U;                         ///< AllowOverride Options=...: those that may be set
  bool ignore_forbidden = false;                           ///< AllowOverride Nonfatal=Override
  bool ignore_unknown = false;                             ///< AllowOverride Nonfatal=Unknown
  std::optional<std::vector<std::string>> override_names;  ///< AllowOverrideList, lower case; empty after None
  /// Texts of error_documents that are expressions, compiled, by the text.
  std::map<std::string, std::shared_ptr<const CompiledExpression>> error_texts;
  std::vector<ConditionalSettings> conditional;  ///< <If> sections, in the order of the configuration
  LogLevels log_levels;                          ///< of sections
  ModuleSlots modules;                           ///< of the modules that keep their own settings
};

/// One `<Directory>`, `<DirectoryMatch>`, `<Files>`, `<FilesMatch>`, `<Location>`, `<LocationMatch>` section.
struct Section {
  enum class Kind { kDirectory, kFiles, kLocation, kIf };  ///< kIf: while it is being read, see ConditionalSettings
  Kind kind = Kind::kDirectory;
  std::string pattern;       ///< kDirectory without regex: absolute, no trailing slash except "/"
  bool is_regex = false;     ///< `~` or the ...Match form
  bool is_wildcard = false;  ///< holds * ? or [ ]
  PerDirectory settings;
  std::vector<Section> nested;  ///< <Files> inside <Directory>
  SourceLine where;
};

/// The main server or one <VirtualHost>. Every value is final: what a virtual host did not say is copied from the main
/// server when the configuration is complete.
struct Host {
  struct Address {
    std::string host;   ///< numeric, "*" = any, "_default_" is "*"
    uint16_t port = 0;  ///< 0 = any (`*`)
  };
  std::vector<Address> addresses;           ///< empty for the main server
  std::string server_name;                  ///< without port; "" = not set
  uint16_t server_port = 0;                 ///< from ServerName NAME:PORT; 0 = not set
  std::vector<std::string> server_aliases;  ///< lower case; may hold * and ?
  std::string server_path;                  ///< ServerPath: a request without Host that begins so is this host's
  std::string server_admin;
  std::string document_root;  ///< absolute, no trailing slash
  LogTarget error_log;
  LogLevels log_levels;
  std::string error_log_format;                           ///< "" = the built-in line
  std::vector<std::string> error_log_request_formats;     ///< lines of their own before a request's first message
  std::vector<std::string> error_log_connection_formats;  ///< ... before a connection's
  std::vector<AccessLog> access_logs;
  bool keep_alive = true;
  int keep_alive_timeout_ms = 5000;
  int max_keep_alive_requests = 100;  ///< 0 = no limit
  int timeout_ms = 60000;             ///< Timeout: longest wait for the client in one read or write
  bool trace_enable = true;
  bool registered_methods_only = false;  ///< HttpProtocolOptions RegisteredMethods
  PerDirectory settings;                 ///< said outside any section
  /// The main server's first, which all hosts share, in the order of the configuration.
  std::vector<std::shared_ptr<const Section>> sections;
  SourceLine where;
};

/// Something that two instances of this configuration would share: see shared_state.h.
struct SharedState {
  std::string id;  ///< stable word
  bool dangerous = false;
  std::string text;
  std::string advice;  ///< what to do
  SourceLine where;
};

/// The effective configuration of one server: plain values, complete, checked. Made by ReadConfiguration().
struct ServerConfig {
  std::string server_root;
  std::string config_file;
  std::vector<std::string> files;      ///< every file read, in order
  std::vector<IncludedFile> includes;  ///< the same files with depth and line, for DUMP_INCLUDES
  std::vector<ListenAddress> listen;
  std::string runtime_dir;  ///< DefaultRuntimeDir, absolute
  std::string pid_file;     ///< absolute
  std::string user;         ///< name or "#id"; "" = not set
  std::string group;
  SourceLine user_where, group_where, pid_file_where, runtime_dir_where;
  int start_servers = 0;              ///< 0 = one child per core
  int min_spare_threads = 0;          ///< 0 = not set
  int max_spare_threads = 0;          ///< 0 = not set
  int server_limit = 16;              ///< most children of one generation
  int threads_per_child = 1;          ///< event loops in each child
  int max_request_workers = 4096;     ///< most requests in progress at once, whole server
  int max_connections_per_child = 0;  ///< 0 = no limit
  int worker_connections = 0;         ///< most connections that one child holds; 0 = as descriptors allow
  int listen_backlog = 511;
  int send_buffer_size = 0;                    ///< bytes; 0 = the system's
  int receive_buffer_size = 0;                 ///< bytes; 0 = the system's
  int defer_accept_s = 0;                      ///< TCP_DEFER_ACCEPT; 0 = off
  std::map<std::string, bool> accept_filters;  ///< of protocols of Listen; false: none
  std::string core_dump_directory;             ///< absolute; "" = wherever the children are
  int graceful_shutdown_timeout_s = 0;         ///< 0 = no limit
  int graceful_restart_timeout_s = 0;          ///< ours: bounds old generations after a graceful restart; 0 = no limit
  int limit_request_line = 8190;               ///< bytes
  int limit_request_fields = 100;
  int limit_request_field_size = 8190;  ///< bytes
  int max_internal_redirects = 10;      ///< LimitInternalRecursion
  int max_subrequest_depth = 10;
  std::string server_tokens = "Full";  ///< Full, OS, Minimal, Minor, Major, Prod
  bool wants_secret = false;           ///< something is signed that every instance of this server must be able to check
  bool extended_status = true;
  bool see_request_tail = false;                               ///< server-status shows the ends of long request lines
  size_t open_file_cache = 16384;                              ///< answers that one loop keeps; 0 = none
  bool buffered_logs = false;                                  ///< access logs are written in blocks
  std::string types_config;                                    ///< absolute path of mime.types; "" = built-in table
  std::vector<std::string> access_file_names = {".htaccess"};  ///< AccessFileName
  std::vector<std::string> defines;                            ///< -D and Define names, in order
  std::map<std::string, std::string> define_values;            ///< of those that `Define NAME VALUE` gave one
  std::vector<std::string> methods;                            ///< RegisterHttpMethod: beyond the known ones
  std::vector<std::string> loaded_modules;                     ///< as named by LoadModule: "status_module"
  bool makes_unique_ids = false;                               ///< LoadModule unique_id_module
  std::vector<SharedState> shared_state;
  std::vector<std::string> warnings;  ///< full sentences with file and line, to be printed once
  std::string flattened;              ///< all of it as one file (flatten.h)
  std::string not_flattened;          ///< why `flattened` is empty
  Host main;
  std::vector<Host> virtual_hosts;
};

}  // namespace httpd::config
