#include "httpd/log/log_set.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstring>
#include <unordered_set>

#include "httpd/config/directive_values.h"
#include "os/file.h"

namespace httpd::log {

using config::LogTarget;

namespace {

std::string KeyOf(const LogTarget& target) {
  return static_cast<char>('0' + static_cast<int>(target.kind)) + target.text;
}

/// What an operator has to know where there are no more descriptors: how many logs want one.
std::string LimitText(const config::ServerConfig& config) {
  std::unordered_set<std::string> targets;
  const auto count = [&targets](const config::Host& host) {
    targets.insert(KeyOf(host.error_log));
    for (const config::AccessLog& access : host.access_logs) targets.insert(KeyOf(access.target));
  };
  count(config.main);
  for (const config::Host& host : config.virtual_hosts) count(host);
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return " The configuration names " + std::to_string(targets.size()) +
         " different logs, and this process may have no more than " + std::to_string(limit.rlim_cur) +
         " files open (ulimit -n, LimitNOFILE= of systemd): let hosts share a log, with %v in its format.";
}

}  // namespace

std::vector<std::string> SplitCommand(std::string_view command) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = '\0';
  for (size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (c == '\\' && i + 1 < command.size()) {
      word += command[++i];
      in_word = true;
    } else if (quote != '\0') {
      if (c == quote) {
        quote = '\0';
      } else {
        word += c;
      }
    } else if (c == '"' || c == '\'') {
      quote = c;
      in_word = true;
    } else if (c == ' ' || c == '\t') {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (in_word) words.push_back(word);
  return words;
}

os::Status LogSet::Start(LogProgram& program) {
  os::SpawnOptions options;
  options.arguments = program.target.kind == LogTarget::Kind::kShell
                          ? std::vector<std::string>{"/bin/sh", "-c", program.target.text}
                          : SplitCommand(program.target.text);
  const os::Error failed{os::ErrorKind::kNotFound, 0,
                         "AH00104: unable to start piped log program '" + program.target.text + "'"};
  if (options.arguments.empty()) return failed;
  options.program = options.arguments[0];
  options.environment = os::Environment({"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"});
  options.descriptors = {{program.read_end.get(), 0}};
  // The main error log, when it is a file: never our own stderr of the moment, which may be a shell's pipe that waits
  // for its last writer to go.
  const int errors = !files_.empty() && files_.front().target == main_error_log_ && !files_.front().sink.syslog
                         ? files_.front().sink.fd.get()
                         : program_stderr_;
  if (errors >= 0) options.descriptors.insert(options.descriptors.end(), {{errors, 1}, {errors, 2}});
  options.directory = directory_;
  auto process = os::Spawn(options);
  if (!process) return os::Error{failed.kind, process.error().sys, failed.what};
  program.process = std::move(process).value();
  program.started = std::chrono::steady_clock::now();
  return os::kDone;
}

os::Status LogSet::AddSyslog(const LogTarget& target) {
  LogSink sink;
  sink.fd = os::Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!sink.fd.valid()) return os::SysError(errno, "make a socket for syslog");
  auto where = std::make_shared<SyslogTarget>();
  const size_t colon = target.text.find(':');
  where->path = syslog_path_;
  where->facility = config::SyslogFacility(target.text.substr(0, colon)).value_or(where->facility);
  where->tag = target.text.substr(colon + 1);
  sink.syslog = std::move(where);
  files_.push_back(File{target, std::move(sink)});
  return os::kDone;
}

os::Status LogSet::AddFile(const LogTarget& target, bool is_error_log, const config::ServerConfig& config) {
  auto fd = os::Open(target.text, O_WRONLY | O_APPEND | O_CREAT, 0644);
  if (!fd) {
    const int sys = fd.error().sys;
    return os::Error{fd.error().kind, 0,
                     "(" + std::to_string(sys) + ")" + std::strerror(sys) + ": " +
                         (is_error_log ? "AH00091: httpd: could not open error log file "
                                       : "AH00649: could not open transfer log file ") +
                         target.text + "." + (sys == EMFILE ? LimitText(config) : "")};
  }
  files_.push_back(File{target, LogSink{std::move(fd).value(), false, nullptr, nullptr}});
  return os::kDone;
}

os::Status LogSet::AddProgram(const LogTarget& target, const config::ServerConfig& config) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    os::Error failed = os::SysError(errno, "make a pipe for " + target.text);
    if (failed.sys == EMFILE) return os::Error{failed.kind, 0, failed.Text() + "." + LimitText(config)};
    return failed;
  }
  LogProgram program;
  program.target = target;
  program.read_end = os::Fd(ends[0]);
  program.sink.fd = os::Fd(ends[1]);
  program.sink.is_pipe = true;
  // Only the write end is ours to set: O_NONBLOCK belongs to the open file description, and each end has its own.
  ::fcntl(ends[1], F_SETFL, O_WRONLY | O_NONBLOCK);
  ::fcntl(ends[1], F_SETPIPE_SZ,
          1 << 20);  // room for a pause of the program; refused to the unprivileged at their limit
  auto turn = SharedMutex::Make();
  if (!turn) return turn.error();
  program.sink.turn = std::move(turn).value();
  if (auto started = Start(program); !started) return started;
  programs_.push_back(std::move(program));
  return os::kDone;
}

os::Status LogSet::Add(const LogTarget& target, bool is_error_log, const config::ServerConfig& config) {
  if (target.kind == LogTarget::Kind::kNone || Find(target)) return os::kDone;
  const bool is_file = target.kind == LogTarget::Kind::kFile || target.kind == LogTarget::Kind::kSyslog;
  auto added = target.kind == LogTarget::Kind::kSyslog ? AddSyslog(target)
               : is_file                               ? AddFile(target, is_error_log, config)
                                                       : AddProgram(target, config);
  if (added) by_target_.emplace(KeyOf(target), is_file ? &files_.back().sink : &programs_.back().sink);
  return added;
}

os::Result<std::unique_ptr<LogSet>> LogSet::Open(const config::ServerConfig& config, const std::string& directory,
                                                 int program_stderr, const std::string& syslog_path) {
  auto set = std::make_unique<LogSet>();
  set->directory_ = directory;
  set->program_stderr_ = program_stderr;
  set->syslog_path_ = syslog_path;
  set->main_error_log_ = config.main.error_log;
  auto add_host = [&](const config::Host& host) -> os::Status {
    if (auto added = set->Add(host.error_log, true, config); !added) return added;
    for (const config::AccessLog& access : host.access_logs) {
      if (auto added = set->Add(access.target, false, config); !added) return added;
    }
    return os::kDone;
  };
  auto added = add_host(config.main);
  for (size_t i = 0; added && i < config.virtual_hosts.size(); ++i) added = add_host(config.virtual_hosts[i]);
  if (!added) {
    set->CloseWriteEnds();
    return added.error();
  }
  return set;
}

const LogSink* LogSet::Find(const LogTarget& target) const {
  const auto found = by_target_.find(KeyOf(target));
  return found == by_target_.end() ? nullptr : found->second;
}

std::vector<int> LogSet::Descriptors() const {
  std::vector<int> out;
  for (const File& file : files_) out.push_back(file.sink.fd.get());
  for (const LogProgram& program : programs_) out.push_back(program.sink.fd.get());
  return out;
}

void LogSet::CloseWriteEnds() {
  for (LogProgram& program : programs_) {
    program.sink.fd.Reset();
    program.read_end.Reset();
  }
}

}  // namespace httpd::log
