#include <algorithm>
#include <cstring>

#include "httpd/http/values.h"
#include "httpd/modules/status_report.h"

namespace httpd::modules {

namespace {

constexpr char kBuilt[] = __DATE__ " " __TIME__;

/// "Saturday, 21-Nov-2026 08:02:49 UTC"
std::string StatusTime(std::time_t when) {
  std::tm parts{};
  ::localtime_r(&when, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%A, %d-%b-%Y %H:%M:%S %Z", &parts);
  return text;
}

/// " 2 days 3 hours 1 minute 5 seconds", as Apache's show_time
std::string Uptime(int64_t seconds) {
  std::string out;
  const int64_t days = seconds / 86400;
  const int64_t hours = seconds / 3600 % 24;
  const int64_t minutes = seconds / 60 % 60;
  const auto add = [&](int64_t n, const char* unit) { out += Printed(" %ld %s%s", n, unit, n == 1 ? "" : "s"); };
  if (days) add(days, "day");
  if (days || hours) add(hours, "hour");
  if (days || hours || minutes) add(minutes, "minute");
  add(seconds % 60, "second");
  return out;
}

std::string Bytes(uint64_t n) {
  if (n < 5 * 1024) return Printed("%lu B", n);
  if (n < 512 * 1024) return Printed("%.1f kB", static_cast<double>(n) / 1024);
  if (n < 512UL * 1024 * 1024) return Printed("%.1f MB", static_cast<double>(n) / 1048576);
  return Printed("%.1f GB", static_cast<double>(n) / 1073741824);
}

double PerSecond(const StatusReport& r, double sum) {
  return r.uptime() > 0 ? sum / static_cast<double>(r.uptime()) : 0;
}

double CpuLoad(const StatusReport& r) {
  return PerSecond(r, (r.cpu_user + r.cpu_system + r.cpu_children_user + r.cpu_children_system) * 100);
}

double PerRequest(const StatusReport& r, double sum) {
  return sum / static_cast<double>(r.totals.accesses);
}

double Milliseconds(const StatusReport& r) {
  return static_cast<double>(r.totals.duration_us) / 1000.0;
}

const char* StateName(char letter) {
  switch (letter) {
    case '_':
      return "Ready";
    case 'R':
      return "Read";
    case 'W':
      return "<b>Write</b>";
    case 'C':
      return "<b>Closing</b>";
    case 'G':
      return "<b>Graceful</b>";
    default:
      return "Dead";
  }
}

void AppendSummary(const StatusReport& r, std::string& out) {
  out += "<dl><dt>Server Version: " + http::EscapeHtml(r.version) + "</dt>\n<dt>Server MPM: event</dt>\n";
  out += Printed("<dt>Server Built: %s\n</dt></dl><hr /><dl>\n", kBuilt);
  out += "<dt>Current Time: " + StatusTime(r.now) + "</dt>\n<dt>Restart Time: " + StatusTime(r.started) + "</dt>\n";
  out += Printed(
      "<dt>Parent Server Config. Generation: %u</dt>\n<dt>Parent Server MPM Generation: %u</dt>\n<dt>Server uptime: ",
      r.config_generation, r.generation);
  out += Uptime(r.uptime()) + "</dt>\n";
  out += Printed("<dt>Server load: %.2f %.2f %.2f</dt>\n", r.load[0], r.load[1], r.load[2]);
  const net::Totals& t = r.totals;
  if (r.extended) {
    out += Printed("<dt>Total accesses: %lu - Total Traffic: ", t.accesses) + Bytes(t.bytes) +
           Printed(" - Total Duration: %lu</dt>\n", t.duration_us / 1000);
    out += Printed("<dt>CPU Usage: u%g s%g cu%g cs%g", r.cpu_user, r.cpu_system, r.cpu_children_user,
                   r.cpu_children_system);
    if (CpuLoad(r) > 0) out += Printed(" - %.3g%% CPU load", CpuLoad(r));
    out += "</dt>\n<dt>" + Printed("%.3g requests/sec - ", PerSecond(r, static_cast<double>(t.accesses))) +
           Bytes(static_cast<uint64_t>(PerSecond(r, static_cast<double>(t.bytes)))) + "/second";
    if (t.accesses > 0) {
      out += " - " + Bytes(t.bytes / t.accesses) + "/request - " +
             Printed("%g ms/request", PerRequest(r, Milliseconds(r)));
    }
    out += "</dt>\n";
  }
  out += Printed("<dt>%u requests currently being processed, %u workers gracefully restarting, %u idle workers</dt>\n",
                 r.busy, r.graceful, r.idle);
  if (t.lost_log_lines > 0) out += Printed("<dt>Log lines lost: %lu</dt>\n", t.lost_log_lines);
  out += "</dl>\n\n";
}

void AppendProcesses(const StatusReport& r, std::string& out) {
  out +=
      "<div class=\"wide\"><table rules=\"all\" cellpadding=\"1%\">\n<tr><th rowspan=\"2\">Slot</th><th "
      "rowspan=\"2\">PID</th><th rowspan=\"2\">Stopping</th><th colspan=\"2\">Connections</th>\n<th "
      "colspan=\"3\">Threads</th><th colspan=\"4\">Async connections</th></tr>\n<tr><th>total</th><th>accepting</th>"
      "<th>busy</th><th>graceful</th><th>idle</th><th>wait-io</th><th>writing</th><th>keep-alive</th>"
      "<th>closing</th></tr>\n";
  uint32_t busy = 0;
  uint32_t graceful = 0;
  uint32_t idle = 0;
  for (const StatusProcess& p : r.processes) {
    busy += p.stopping ? 0 : p.busy;
    graceful += p.stopping ? p.busy : 0;
    idle += p.idle();
    const char* stopping = !p.stopping ? "no" : p.generation == r.generation ? "yes" : "yes (old gen)";
    out += Printed("<tr><td>%u</td><td>%d</td><td>%s</td><td>%u</td><td>%s</td>", p.slot, p.pid, stopping,
                   p.connections, p.accepting ? "yes" : "no");
    out += Printed("<td>%u</td><td>%u</td><td>%u</td><td>0</td><td>%u</td><td>%u</td><td>%u</td></tr>\n",
                   p.stopping ? 0 : p.busy, p.stopping ? p.busy : 0, p.idle(), p.writing, p.keepalive, p.closing);
  }
  const net::Totals& t = r.totals;
  out += Printed("<tr><td>Sum</td><td>%zu</td><td>%u</td><td>%u</td><td>&nbsp;</td>", r.processes.size(), r.stopping,
                 t.connections);
  out += Printed("<td>%u</td><td>%u</td><td>%u</td><td>0</td><td>%u</td><td>%u</td><td>%u</td></tr>\n</table></div>\n",
                 busy, graceful, idle, t.writing, t.keepalive, t.closing);
}

void AppendScoreboard(const StatusReport& r, std::string& out) {
  constexpr size_t kPerLine = 64;
  const std::string letters = r.letters();
  out += "<pre>";
  for (size_t i = 0; i < letters.size(); i += kPerLine) {
    out += letters.substr(i, kPerLine);
    if (i + kPerLine < letters.size()) out += '\n';
  }
  out +=
      "</pre>\n<p>Scoreboard Key:<br />\n\"<b><code>_</code></b>\" Waiting for Connection, \n\"<b><code>S</code></b>\" "
      "Starting up, \n\"<b><code>R</code></b>\" Reading Request,<br />\n\"<b><code>W</code></b>\" Sending Reply, \n"
      "\"<b><code>K</code></b>\" Keepalive (read), \n\"<b><code>D</code></b>\" DNS Lookup,<br />\n"
      "\"<b><code>C</code></b>\" Closing connection, \n\"<b><code>L</code></b>\" Logging, \n\"<b><code>G</code></b>\" "
      "Gracefully finishing,<br /> \n\"<b><code>I</code></b>\" Idle cleanup of worker, \n\"<b><code>.</code></b>\" "
      "Open slot with no current process<br />\n</p>\n\n";
}

bool IsUnused(const StatusWorker& worker) {
  return worker.accesses == 0 && (worker.letter == '_' || worker.letter == '.');
}

void AppendWorkerTable(const StatusReport& r, std::string& out) {
  out +=
      "\n<div class=\"wide\"><table border=\"0\"><tr><th>Srv</th><th>PID</th><th>Acc</th><th>M</th><th>CPU\n</th>"
      "<th>SS</th><th>Req</th><th>Dur</th><th>Conn</th><th>Child</th><th>Slot</th><th>Client</th><th>Protocol</th>"
      "<th>VHost</th><th>Request</th></tr>\n\n";
  for (const StatusProcess& p : r.processes) {
    for (const StatusWorker& w : p.shown) {
      if (IsUnused(w)) continue;
      const double megabytes = static_cast<double>(w.bytes) / 1048576;
      const bool is_busy = w.letter != '_' && w.letter != '.';
      out += Printed("<tr><td><b>%u-%u</b></td><td>%d</td><td>0/%lu/%lu</td><td>%s%c%s\n</td>", p.slot, p.generation,
                     p.pid, w.accesses, w.accesses, is_busy ? "<b>" : "", w.letter, is_busy ? "</b>" : "");
      out += Printed("<td>-</td><td>%lu</td><td>%u</td><td>%lu</td><td>0.0</td><td>%.2f</td><td>%.2f\n</td>", w.seconds,
                     w.last_ms, w.duration_ms, megabytes, megabytes);
      out += "<td>" + http::EscapeHtml(w.client) + "</td><td>http/1.1</td><td nowrap>" + http::EscapeHtml(w.host) +
             "</td><td nowrap>" + http::EscapeHtml(w.request) + "</td></tr>\n\n";
    }
  }
  out +=
      "</table></div>\n <hr /> <table>\n <tr><th>Srv</th><td>Child Server number - generation</td></tr>\n "
      "<tr><th>PID</th><td>OS process ID</td></tr>\n <tr><th>Acc</th><td>Number of accesses this connection / this "
      "child / this slot</td></tr>\n <tr><th>M</th><td>Mode of operation</td></tr>\n<tr><th>CPU</th><td>CPU usage, "
      "number of seconds</td></tr>\n<tr><th>SS</th><td>Seconds since beginning of most recent request</td></tr>\n "
      "<tr><th>Req</th><td>Milliseconds required to process most recent request</td></tr>\n <tr><th>Dur</th><td>Sum of "
      "milliseconds required to process all requests</td></tr>\n <tr><th>Conn</th><td>Kilobytes transferred this "
      "connection</td></tr>\n <tr><th>Child</th><td>Megabytes transferred this child</td></tr>\n <tr><th>Slot</th>"
      "<td>Total megabytes transferred this slot</td></tr>\n </table>\n";
}

void AppendWorkerList(const StatusReport& r, std::string& out) {
  for (const StatusProcess& p : r.processes) {
    for (const StatusWorker& w : p.shown) {
      if (IsUnused(w)) continue;
      const std::string bytes = Bytes(w.bytes);
      out += Printed("\n<b>Server %u-%u</b> (%d): 0|%lu|%lu [%s] %lu %u %lu(0 B|%s|%s)\n", p.slot, p.generation, p.pid,
                     w.accesses, w.accesses, StateName(w.letter), w.seconds, w.last_ms, w.duration_ms, bytes.c_str(),
                     bytes.c_str());
      out += " <i>" + http::EscapeHtml(w.client) + " {" + http::EscapeHtml(w.request) + "}</i> <i>(http/1.1)</i> <b>[" +
             http::EscapeHtml(w.host) + "]</b><br />\n";
    }
  }
  out += '\n';
}

}  // namespace

std::string StatusAuto(const StatusReport& r) {
  const net::Totals& t = r.totals;
  std::string out = r.name + "\nServerVersion: " + r.version;
  out += Printed("\nServerMPM: event\nServer Built: %s\n", kBuilt);
  out += "CurrentTime: " + StatusTime(r.now) + "\nRestartTime: " + StatusTime(r.started) + "\n";
  out +=
      Printed("ParentServerConfigGeneration: %u\nParentServerMPMGeneration: %u\n", r.config_generation, r.generation);
  out += Printed("ServerUptimeSeconds: %ld\nServerUptime:", r.uptime()) + Uptime(r.uptime()) + "\n";
  out += Printed("Load1: %.2f\nLoad5: %.2f\nLoad15: %.2f\n", r.load[0], r.load[1], r.load[2]);
  if (r.extended) {
    out += Printed("Total Accesses: %lu\nTotal kBytes: %lu\nTotal Duration: %lu\n", t.accesses, t.bytes / 1024,
                   t.duration_us / 1000);
    out += Printed("CPUUser: %g\nCPUSystem: %g\nCPUChildrenUser: %g\nCPUChildrenSystem: %g\n", r.cpu_user, r.cpu_system,
                   r.cpu_children_user, r.cpu_children_system);
    if (CpuLoad(r) > 0) out += Printed("CPULoad: %g\n", CpuLoad(r));
    out += Printed("Uptime: %ld\nReqPerSec: %g\nBytesPerSec: %g\n", r.uptime(),
                   PerSecond(r, static_cast<double>(t.accesses)), PerSecond(r, static_cast<double>(t.bytes)));
    if (t.accesses > 0) {
      out += Printed("BytesPerReq: %g\nDurationPerReq: %g\n", PerRequest(r, static_cast<double>(t.bytes)),
                     PerRequest(r, Milliseconds(r)));
    }
  }
  out += Printed("BusyWorkers: %u\nGracefulWorkers: %u\nIdleWorkers: %u\nProcesses: %zu\nStopping: %u\n", r.busy,
                 r.graceful, r.idle, r.processes.size(), r.stopping);
  out += Printed(
      "ConnsTotal: %u\nConnsAsyncWaitIO: 0\nConnsAsyncWriting: %u\nConnsAsyncKeepAlive: %u\nConnsAsyncClosing: %u\n",
      t.connections, t.writing, t.keepalive, t.closing);
  out += "Scoreboard: " + r.letters() + "\n";
  return out + Printed("LostLogLines: %lu\n", t.lost_log_lines);
}

std::string StatusHtml(const StatusReport& r, bool table) {
  std::string out =
      "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\">\n<html><head>\n"
      "<title>Apache Status</title>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<style>body{font-family:sans-serif}dt{margin:.2em 0}.wide{overflow-x:auto}table{border-collapse:collapse}"
      "td,th{border:1px solid #aaa;padding:2px 6px;text-align:left}pre{white-space:pre-wrap;word-break:break-all}"
      "</style>\n</head><body>\n<h1>Apache Server Status for " +
      http::EscapeHtml(r.name) + (r.address.empty() ? "" : " (via " + r.address + ")") + "</h1>\n\n";
  AppendSummary(r, out);
  AppendProcesses(r, out);
  AppendScoreboard(r, out);
  if (r.extended) {
    if (table) {
      AppendWorkerTable(r, out);
    } else {
      AppendWorkerList(r, out);
    }
  } else {
    out +=
        "<hr />To obtain a full report with current status information you need to use the "
        "<code>ExtendedStatus On</code> directive.\n";
  }
  return out + "</body></html>\n";
}

}  // namespace httpd::modules
