#include "orchestrator/check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "handover/log_writer_mark.h"
#include "orchestrator/context.h"
#include "orchestrator/site.h"
#include "os/file.h"
#include "os/pid_file.h"
#include "os/process.h"
#include "os/socket.h"

namespace orchestrator {

namespace {

namespace fs = std::filesystem;
using httpd::LogLine;
using httpd::RunConfig;
using Severity = Finding::Severity;
using Findings = std::vector<Finding>;

constexpr size_t kMaxProgramBytes = 256U << 20;
constexpr size_t kMaxRotationBytes = 1U << 20;

fs::path Below(const std::string& root, const std::string& path) {
  return (path.starts_with('/') ? fs::path(path) : fs::path(root) / path).lexically_normal();
}

/// A log line whose program is one of ours, with its files made absolute.
struct Written {
  const LogLine* line = nullptr;
  fs::path file;  ///< may hold strftime conversions
  fs::path link;  ///< "" = none
};

bool IsOurs(const LogLine& log, const Surroundings& around) {
  if (log.kind != "program" || log.arguments.empty()) return false;
  const fs::path program = Below(around.server_root, log.arguments[0]);
  const auto [known, is_new] = around.log_writers.try_emplace(program.string(), false);
  if (is_new) known->second = IsLogWriter(program);
  return known->second;
}

std::vector<Written> WrittenByOurs(const RunConfig& config, const Surroundings& around) {
  std::vector<Written> out;
  for (const LogLine& log : config.logs) {
    if (!IsOurs(log, around)) continue;
    const auto target = TargetOf(log.arguments);
    if (!target) continue;
    out.push_back({&log, Below(around.server_root, target->file),
                   target->link.empty() ? fs::path() : Below(around.server_root, target->link)});
  }
  return out;
}

/// A file that is configured several times (virtual hosts) is one finding.
void AddOnce(Findings& out, Finding finding) {
  const bool known = std::any_of(out.begin(), out.end(), [&](const Finding& other) {
    return other.id == finding.id && other.text == finding.text;
  });
  if (!known) out.push_back(std::move(finding));
}

// ---- logs ----------------------------------------------------------------------------------------------------------

void CheckLogPrograms(const RunConfig& config, const Surroundings& around, Findings& out) {
  for (const LogLine& log : config.logs) {
    if (log.kind == "shell") {
      AddOnce(out, {"log-shell", Severity::kDanger, log.place,
                    "the log program \"|$" + log.text +
                        "\" is a shell's: two of them would write one log, and nothing keeps their lines apart",
                    "let Baton's rotatelogs write the log, without a shell"});
    }
    if (log.kind != "program" || IsOurs(log, around)) continue;
    const std::string name = log.arguments.empty() ? "" : fs::path(log.arguments[0]).filename().string();
    std::string text = "the log program \"|" + log.text + "\" is not known to share a log: ";
    text += name == "rotatelogs" ? "this rotatelogs is not Baton's, two of them cut or wipe each other's lines"
                                 : "two of them would write at the same time";
    AddOnce(out, {"log-program", Severity::kDanger, log.place, std::move(text),
                  "use the rotatelogs that comes with this server, by its absolute path, and without a wrapper"});
  }
}

void CheckMixedLogs(const RunConfig& config, const Surroundings& around, Findings& out) {
  for (const Written& written : WrittenByOurs(config, around)) {
    for (const LogLine& log : config.logs) {
      if (log.kind != "file") continue;
      const fs::path file = fs::path(log.text).lexically_normal();
      if (file != written.file && file != written.link) continue;
      AddOnce(out, {"log-mixed", Severity::kDanger, log.place,
                    file.string() + " is written as a plain file and by rotatelogs (line " +
                        std::to_string(written.line->place.line) + " of " + written.line->place.file +
                        "): rotation takes the file from under the plain log",
                    "give both the same rotatelogs command, or different files"});
    }
  }
}

/// Nearest existing directory at or above `path`.
fs::path Existing(fs::path path) {
  std::error_code failed;
  while (path.has_relative_path() && !fs::is_directory(path, failed)) path = path.parent_path();
  return path;
}

void CheckFileSystems(const RunConfig& config, const Surroundings& around, Findings& out) {
  static const std::map<unsigned long, const char*> kRemote = {{0x6969, "NFS"},      {0xff534d42, "CIFS"},
                                                               {0xfe534d42, "SMB"},  {0x517b, "SMB"},
                                                               {0x00c36400, "Ceph"}, {0x01021997, "9P"}};
  const auto look = [&](const LogLine& log, const fs::path& file) {
    struct statfs system {};
    if (::statfs(Existing(file.parent_path()).c_str(), &system) != 0) return;
    const auto remote = kRemote.find(static_cast<unsigned long>(system.f_type) & 0xffffffffUL);
    if (remote == kRemote.end()) return;
    AddOnce(out, {"log-file-system", Severity::kDanger, log.place,
                  file.string() + " is on " + remote->second +
                      ", where appending is not atomic: lines of two instances overwrite each other",
                  "log to a local file system"});
  };
  for (const LogLine& log : config.logs) {
    if (log.kind == "file") look(log, log.text);
  }
  for (const Written& written : WrittenByOurs(config, around)) look(*written.line, written.file);
}

/// By the permission bits; exact for ourselves, where access lists and read-only mounts count too.
bool MayWrite(const fs::path& path, const Surroundings& around) {
  if (around.uid == ::geteuid()) return ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0;
  struct stat st {};
  if (around.uid == 0 || ::stat(path.c_str(), &st) != 0) return true;  // who cannot be asked is not accused
  if (st.st_uid == around.uid) return (st.st_mode & S_IWUSR) != 0;
  const bool member = st.st_gid == around.gid ||
                      std::find(around.groups.begin(), around.groups.end(), st.st_gid) != around.groups.end();
  return (st.st_mode & (member ? S_IWGRP : S_IWOTH)) != 0;
}

void CheckLogDirectories(const RunConfig& config, const Surroundings& around, Findings& out) {
  const auto tell = [&](const LogLine& log, const fs::path& path) {
    AddOnce(out, {"log-directory", Severity::kDanger, log.place,
                  path.string() + " cannot be written by user " + std::to_string(around.uid) +
                      ", which the new instance runs as: it would have no log",
                  "make it writable for that user"});
  };
  std::error_code failed;
  for (const LogLine& log : config.logs) {
    if (log.kind != "file") continue;
    const fs::path file = log.text;
    const fs::path needed = fs::exists(file, failed) ? file : file.parent_path();
    if (!fs::is_directory(file.parent_path(), failed)) {
      AddOnce(out,
              {"log-directory", Severity::kDanger, log.place,
               "the directory of " + file.string() + " does not exist: the new instance could not start", "create it"});
    } else if (!MayWrite(needed, around)) {
      tell(log, needed);
    }
  }
  for (const Written& written : WrittenByOurs(config, around)) {
    const fs::path directory = Existing(written.file.parent_path());
    if (!MayWrite(directory, around)) tell(*written.line, directory);
  }
}

/// logrotate renames a plain file and has the instance reopen it that PidFile names; one that drains cannot.
void CheckOutsideRotation(const RunConfig& config, const Surroundings&, Findings& out) {
  std::vector<fs::path> files = {"/etc/logrotate.conf"};
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator("/etc/logrotate.d", failed)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    auto text = os::ReadFile(file, kMaxRotationBytes);
    if (!text || text.value().find("compress") == std::string::npos) continue;
    if (text.value().find("delaycompress") != std::string::npos) continue;
    for (const LogLine& log : config.logs) {
      if (log.kind != "file") continue;
      const std::string directory = fs::path(log.text).parent_path().string() + "/";
      if (text.value().find(log.text) == std::string::npos && text.value().find(directory + "*") == std::string::npos) {
        continue;
      }
      AddOnce(out, {"log-outside-rotation", Severity::kNotice, log.place,
                    log.text + " is rotated and compressed at once by " + file.string() +
                        ": an instance that still drains goes on writing to the renamed file",
                    "add delaycompress there"});
    }
  }
}

// ---- the rest ------------------------------------------------------------------------------------------------------

void CheckPorts(const RunConfig& config, const Surroundings&, Findings& out) {
  std::map<std::string, const httpd::ListenLine*> first;
  for (const httpd::ListenLine& line : config.listen) {
    const std::string port = line.address.substr(line.address.rfind(':') + 1);
    const auto [other, is_first] = first.emplace(port, &line);
    if (is_first) continue;
    out.push_back({"port-twice", Severity::kNotice, line.place,
                   "port " + port + " is listened on at " + other->second->address + " and at " + line.address +
                       ": instances tell the sockets apart by address; who starts this configuration with sockets of"
                       " its own must do so too",
                   "nothing, unless something else than systemd or the orchestrator hands sockets over"});
  }
}

void CheckPidFile(const RunConfig& config, const Surroundings& around, Findings& out) {
  auto pid = os::ReadPidFile(config.pid_file);
  if (!pid) return;
  const bool one_of_us = std::any_of(around.instances.begin(), around.instances.end(),
                                     [&](const httpd::Found& found) { return found.pid == pid.value(); });
  auto name = os::ProgramName(pid.value());
  if (one_of_us || !name || name.value() != fs::path(config.binary).filename()) return;
  out.push_back({"pid-file", Severity::kDanger, config.pid_file_place,
                 "PidFile " + config.pid_file.string() + " names process " + std::to_string(pid.value()) + ", a " +
                     name.value() + " of another configuration",
                 "give each configuration a PidFile of its own"});
}

void CheckRuntimeDirectory(const RunConfig& config, const Surroundings& around, Findings& out) {
  const httpd::Found* serving = nullptr;
  for (const httpd::Found& found : around.instances) {
    if (!found.hello || found.hello->state != httpd::State::kServing) continue;
    if (serving && (serving->hello->server_root != found.hello->server_root ||
                    serving->hello->config_file != found.hello->config_file)) {
      out.push_back({"runtime-dir", Severity::kDanger, httpd::Place(),
                     "process " + std::to_string(serving->pid) + " (" + serving->hello->config_file + ") and process " +
                         std::to_string(found.pid) + " (" + found.hello->config_file + ") both serve from " +
                         config.runtime_dir.string() + ": an upgrade could replace the wrong one",
                     "give each configuration a DefaultRuntimeDir of its own"});
    }
    serving = &found;
  }
  struct stat st {};
  if (::stat(config.runtime_dir.c_str(), &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    out.push_back({"runtime-dir-mode", Severity::kDanger, httpd::Place(),
                   config.runtime_dir.string() + " can be written by others than its owner: they could put a socket in"
                                                 " the place of an instance's",
                   "chmod go-w " + config.runtime_dir.string()});
  }
}

/// What only the server knows about its directives.
void CheckDirectives(const RunConfig& config, const Surroundings&, Findings& out) {
  for (const httpd::SharedLine& line : config.shared) {
    AddOnce(out, {line.id, line.dangerous ? Severity::kDanger : Severity::kNotice, line.place, line.text, line.advice});
  }
}

using Check = void (*)(const RunConfig&, const Surroundings&, Findings&);
constexpr Check kChecks[] = {CheckLogPrograms,    CheckMixedLogs,        CheckFileSystems,
                             CheckLogDirectories, CheckOutsideRotation,  CheckPorts,
                             CheckPidFile,        CheckRuntimeDirectory, CheckDirectives};

}  // namespace

std::string Finding::Where() const {
  return place.file.empty() ? "" : place.file + ":" + std::to_string(place.line);
}

bool IsLogWriter(const fs::path& program) {
  auto bytes = os::ReadFile(program, kMaxProgramBytes);
  return bytes &&
         bytes.value().starts_with(
             "\x7f"
             "ELF") &&
         bytes.value().find(handover::kLogWriterMark) != std::string::npos;
}

std::optional<LogWriterTarget> TargetOf(const std::vector<std::string>& arguments) {
  constexpr std::string_view kFlags = "lfDtTvec";
  constexpr std::string_view kWithValue = "Lpn";
  LogWriterTarget out;
  size_t i = 1;
  for (; i < arguments.size() && arguments[i].size() > 1 && arguments[i][0] == '-'; ++i) {
    const std::string& word = arguments[i];
    for (size_t at = 1; at < word.size(); ++at) {
      if (kFlags.find(word[at]) != std::string_view::npos) continue;
      if (kWithValue.find(word[at]) == std::string_view::npos) return std::nullopt;
      std::string value = word.substr(at + 1);
      if (value.empty()) {
        if (++i == arguments.size()) return std::nullopt;
        value = arguments[i];
      }
      if (word[at] == 'L') out.link = value;
      break;
    }
  }
  if (i == arguments.size()) return std::nullopt;
  out.file = arguments[i];
  return out;
}

std::vector<Finding> FindShared(const RunConfig& config, const Surroundings& surroundings) {
  Findings out;
  for (const Check check : kChecks) check(config, surroundings, out);
  return out;
}

Poco::JSON::Object FindingJson(const Finding& finding) {
  auto out = Ordered();
  out.set("id", finding.id);
  out.set("severity", finding.severity == Severity::kDanger ? "danger" : "notice");
  out.set("file", finding.place.file);
  out.set("line", finding.place.line);
  out.set("text", finding.text);
  out.set("advice", finding.advice);
  return out;
}

void TellFinding(const Finding& finding, Report& report) {
  const std::string where = finding.Where();
  report.Event("finding",
               std::string(finding.severity == Severity::kDanger ? "danger" : "notice") + "  " + finding.id + "  " +
                   (where.empty() ? "" : where + ": ") + finding.text + "\n        what to do: " + finding.advice,
               FindingJson(finding));
}

std::vector<Finding> Unaccepted(const std::vector<Finding>& findings, const std::vector<std::string>& accepted) {
  std::vector<Finding> out;
  for (const Finding& finding : findings) {
    if (finding.severity != Severity::kDanger) continue;
    const bool fine = std::any_of(accepted.begin(), accepted.end(),
                                  [&](const std::string& word) { return word == "all" || word == finding.id; });
    if (!fine) out.push_back(finding);
  }
  return out;
}

int RunCheck(const Options& options, Report& report, os::Clock&) {
  const auto fail = [&](const std::string& reason) {
    report.Result("failed", kExitFailed, reason);
    return kExitFailed;
  };
  auto program = ProgramOf(options);
  if (!program) return fail(program.error().Text());
  auto config = httpd::AskConfig(program.value());
  if (!config) return fail("the configuration is not usable: " + config.error().Text());
  Surroundings around;
  around.server_root = config.value().server_root;
  around.uid = ::geteuid();
  around.gid = ::getegid();
  auto instances = httpd::ListInstances(config.value().runtime_dir);
  if (!instances) return fail(instances.error().Text());
  around.instances = std::move(instances).value();
  if (auto serving = httpd::FindServing(config.value()); serving) {
    if (auto context = ReadContext(serving.value().id.pid); context && context.value().uid) {
      around.uid = *context.value().uid;
      around.gid = context.value().gid.value_or(around.gid);
      around.groups = context.value().groups;
    }
  }
  const Findings findings = FindShared(config.value(), around);
  for (const Finding& finding : findings) TellFinding(finding, report);
  const auto dangers = static_cast<int64_t>(Unaccepted(findings, {}).size());
  const auto notices = static_cast<int64_t>(findings.size()) - dangers;
  auto more = Ordered();
  more.set("dangers", dangers);
  more.set("notices", notices);
  if (dangers == 0) {
    report.Result("done", kExitDone, "nothing that two instances would share is dangerous", more);
    return kExitDone;
  }
  report.Result("failed", kExitFailed,
                CountOf(dangers, "thing") + " that two instances would share " + (dangers == 1 ? "is" : "are") +
                    " dangerous; upgrade refuses unless told --accept-shared",
                more);
  return kExitFailed;
}

}  // namespace orchestrator
