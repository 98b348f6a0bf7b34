#pragma once

#include <Poco/JSON/Object.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/drivers/httpd.h"
#include "orchestrator/options.h"
#include "orchestrator/report.h"
#include "os/clock.h"

namespace orchestrator {

/// Something that two instances of a configuration would share.
struct Finding {
  enum class Severity {
    kNotice,  ///< good to know
    kDanger,  ///< lines, files or clients can be lost while both run
  };
  std::string id;  ///< stable word, what --accept-shared takes
  Severity severity = Severity::kDanger;
  httpd::Place place;  ///< empty file: nothing in the configuration says it
  std::string text;
  std::string advice;         ///< what to do
  std::string Where() const;  ///< "/etc/httpd.conf:12", or ""
};

/// Who the newcomer would run as, and what runs already.
struct Surroundings {
  std::string server_root;
  uid_t uid = 0;  ///< of the parent
  gid_t gid = 0;
  std::vector<gid_t> groups;
  std::vector<httpd::Found> instances;              ///< of the runtime directory
  mutable std::map<std::string, bool> log_writers;  ///< what IsLogWriter() said, by path: a thousand hosts, one program
};

/// Every finding of a configuration, in the order of the table in check.cc, each kind in the order of the
/// configuration. Reads files (log programs, PidFile, /etc/logrotate.d); runs nothing.
std::vector<Finding> FindShared(const httpd::RunConfig& config, const Surroundings& surroundings);

/// True when `program` carries handover::kLogWriterMark: copies of it may write one log.
bool IsLogWriter(const std::filesystem::path& program);

/// The file that a rotatelogs command line writes, as typed, and its -L link; nullopt: the command line is not
/// understood.
struct LogWriterTarget {
  std::string file;
  std::string link;
};
std::optional<LogWriterTarget> TargetOf(const std::vector<std::string>& arguments);

/// {id, severity, file, line, text, advice}
Poco::JSON::Object FindingJson(const Finding& finding);
/// One event `finding`.
void TellFinding(const Finding& finding, Report& report);

/// Of `findings` the dangerous ones that `accepted` (ids, or "all") does not name.
std::vector<Finding> Unaccepted(const std::vector<Finding>& findings, const std::vector<std::string>& accepted);

/// Command `check`. @return 0: nothing dangerous; 1: something is, or the configuration cannot be used
int RunCheck(const Options& options, Report& report, os::Clock& clock);

}  // namespace orchestrator
