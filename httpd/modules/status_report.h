#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

#include "httpd/net/scoreboard.h"

namespace httpd::modules {

class RequestState;

/// One worker as server-status shows it. Texts are printable ASCII: what a client sent is escaped as in the access log.
struct StatusWorker {
  char letter = '.';  ///< _ R W C G .
  uint64_t accesses = 0;
  uint64_t bytes = 0;
  uint64_t duration_ms = 0;  ///< sum
  uint32_t last_ms = 0;      ///< of the last request
  uint64_t seconds = 0;      ///< since the beginning of the last request
  std::string client, host, request;
};

struct StatusProcess {
  pid_t pid = 0;
  uint32_t slot = 0;  ///< index in its generation
  uint32_t generation = 0;
  bool stopping = false;
  bool accepting = false;
  uint32_t workers = 0, busy = 0, connections = 0, writing = 0, keepalive = 0, closing = 0;
  std::vector<StatusWorker> shown;

  uint32_t idle() const { return !stopping && workers > busy ? workers - busy : 0; }
};

/// Everything that the pages of mod_status say, read once from the scoreboard.
struct StatusReport {
  std::string name;     ///< of the server, as the client asked for it
  std::string address;  ///< numeric, where the connection came in; "" = private socket
  std::string version;
  std::time_t now = 0;
  std::time_t started = 0;
  uint32_t config_generation = 0, generation = 0;
  double load[3] = {-1, -1, -1};
  bool extended = true;
  double cpu_user = 0, cpu_system = 0;                    ///< seconds: parent and children that live
  double cpu_children_user = 0, cpu_children_system = 0;  ///< of children that have gone
  net::Totals totals;
  uint32_t busy = 0, graceful = 0, idle = 0, stopping = 0;
  std::vector<StatusProcess> processes;

  int64_t uptime() const { return started < now ? now - started : 0; }
  std::string letters() const;
};

StatusReport MakeStatusReport(RequestState& state);

/// The pages. `?auto` in Apache's order, and LostLogLines at its end.
std::string StatusAuto(const StatusReport& report);
/// @param table  false: `?notable`, one paragraph per worker
std::string StatusHtml(const StatusReport& report, bool table);
/// One object; all that `?auto` has, processes and workers. Valid JSON whatever clients sent.
std::string StatusJson(const StatusReport& report);
/// OpenMetrics 1.0. Source  github.com/OpenObservability/OpenMetrics, specification "Text format"
std::string StatusMetrics(const StatusReport& report);

/// printf into a string of at most 511 bytes: numbers.
std::string Printed(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace httpd::modules
