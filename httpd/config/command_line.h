#pragma once

#include <optional>
#include <string>
#include <vector>

#include "httpd/config/server_config.h"
#include "os/error.h"

namespace httpd::config {

/// What the command line asks for. Apache's options in Apache's POSIX-order grammar, plus long options of ours.
/// Source  httpd(8) of 2.4; reference/apache.md 1.2
struct Options {
  enum class Action {
    kRun,            ///< no -k, or -k start
    kSignal,         ///< -k stop|restart|graceful|graceful-stop
    kTest,           ///< -t
    kDumpHosts,      ///< -S
    kDumpModules,    ///< -M
    kDumpIncludes,   ///< -t -D DUMP_INCLUDES
    kDumpConfig,     ///< -t -D DUMP_CONFIG: the directives in force, with their lines
    kReference,      ///< --directive-reference: the manual of all directives, mdoc
    kDumpRunConfig,  ///< --run-config: the effective configuration as JSON
    kVersion,        ///< -v
    kBuild,          ///< -V
    kDirectives,     ///< -L
    kModules,        ///< -l
    kHelp,           ///< -h: usage, exit 1 as Apache does
  };
  enum class Verb { kStart, kStop, kRestart, kGraceful, kGracefulStop };
  Action action = Action::kRun;
  Verb verb = Verb::kStart;
  bool verb_given = false;
  std::string program = "httpd";               ///< argv[0]
  std::string server_root;                     ///< -d; "" = built in
  std::string config_file;                     ///< -f; "" = built in
  std::vector<std::string> defines;            ///< -D, magic names included
  std::vector<std::string> directives_before;  ///< -C
  std::vector<std::string> directives_after;   ///< -c
  std::optional<LogLevel> startup_level;       ///< -e
  std::string startup_log;                     ///< -E; "" = stderr
  bool one_process = false;                    ///< -X, -D ONE_PROCESS, -D DEBUG
  bool foreground = false;                     ///< -D FOREGROUND (or one_process)
  bool no_detach = false;                      ///< -D NO_DETACH: setsid without fork
  bool skip_document_root_check = false;       ///< -T
  bool wait = false;                           ///< --wait, with -k: return when the work is done
  bool standby = false;                        ///< --standby: start everything, accept nothing yet, write no PidFile
};

/// Parses argv. @return kInvalid: `what` is the first line to print before the usage ("httpd: illegal option -- x")
os::Result<Options> ParseCommandLine(const std::vector<std::string>& arguments);

/// Usage text as printed on stderr.
std::string Usage(const std::string& program);

}  // namespace httpd::config
