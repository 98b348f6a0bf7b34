#pragma once

#include <chrono>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "httpd/config/server_config.h"
#include "httpd/log/log_stream.h"
#include "os/error.h"
#include "os/process.h"

namespace httpd::log {

/// Splits a log program's command line as Apache does: blanks separate, '...' and "..." group, backslash escapes.
std::vector<std::string> SplitCommand(std::string_view command);

/// A log program that the parent runs, and its pipe. The parent keeps both ends, so that a program that died can be
/// started again on the same pipe without losing a line that is in it.
struct LogProgram {
  config::LogTarget target;
  os::Fd read_end;
  LogSink sink;               ///< write end
  os::ProcessHandle process;  ///< invalid while it is not running
  std::chrono::steady_clock::time_point started{};
};

/// The open logs of one generation: files, programs and syslog, each target once however often the configuration names
/// it.
///
/// Owner    the parent; children inherit the descriptors by fork and use the LogSinks in place.
/// Leaving  CloseWriteEnds() once no child writes any more: a program then reads to the end of its pipe and leaves by
///          itself. It is never signalled: a line that reached the pipe must reach the log.
class LogSet {
 public:
  /// Opens files (O_APPEND, 0644 less the umask) and starts programs in `directory`; their output goes to
  /// the main error log when that is a file, otherwise to `program_stderr` (a loan; -1 = /dev/null).
  /// @return Apache's sentences: "(2)No such file or directory: AH00091: httpd: could not open error log file /x.",
  ///         "AH00104: unable to start piped log program 'x'". At the limit of open files it says what that is and how
  ///         many logs there are.
  static os::Result<std::unique_ptr<LogSet>> Open(const config::ServerConfig& config, const std::string& directory,
                                                  int program_stderr, const std::string& syslog_path = "/dev/log");

  /// nullptr for a target that was not in the configuration.
  const LogSink* Find(const config::LogTarget& target) const;

  std::list<LogProgram>& programs() { return programs_; }

  /// (Re)starts one program on its pipe.
  os::Status Start(LogProgram& program);

  /// All descriptors that a child needs.
  std::vector<int> Descriptors() const;

  void CloseWriteEnds();

 private:
  struct File {
    config::LogTarget target;
    LogSink sink;
  };
  /// Opens what is not open yet.
  os::Status Add(const config::LogTarget& target, bool is_error_log, const config::ServerConfig& config);
  os::Status AddFile(const config::LogTarget& target, bool is_error_log, const config::ServerConfig& config);
  os::Status AddProgram(const config::LogTarget& target, const config::ServerConfig& config);
  os::Status AddSyslog(const config::LogTarget& target);

  std::string directory_;
  std::string syslog_path_;
  int program_stderr_ = -1;
  config::LogTarget main_error_log_;
  std::list<File> files_;
  std::list<LogProgram> programs_;
  std::unordered_map<std::string, const LogSink*> by_target_;  ///< of both lists
};

}  // namespace httpd::log
