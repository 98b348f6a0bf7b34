#include "httpd/modules/status.h"

#include "httpd/modules/module_list.h"

#include <sys/resource.h>
#include <sys/times.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <vector>

#include "httpd/http/values.h"
#include "os/file.h"

namespace httpd::modules {

namespace {

std::string Format(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string Format(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  const int n = std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return std::string(text, std::min<size_t>(static_cast<size_t>(std::max(n, 0)), sizeof text - 1));
}

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
  auto add = [&](int64_t n, const char* unit) { out += Format(" %ld %s%s", n, unit, n == 1 ? "" : "s"); };
  if (days) add(days, "day");
  if (days || hours) add(hours, "hour");
  if (days || hours || minutes) add(minutes, "minute");
  add(seconds % 60, "second");
  return out;
}

std::string Bytes(uint64_t n) {
  if (n < 5 * 1024) return Format("%lu B", n);
  if (n < 512 * 1024) return Format("%.1f kB", static_cast<double>(n) / 1024);
  if (n < 512UL * 1024 * 1024) return Format("%.1f MB", static_cast<double>(n) / 1048576);
  return Format("%.1f GB", static_cast<double>(n) / 1073741824);
}

/// User and system seconds of every child that is alive: the parent's own table of dead ones is not ours to read.
std::pair<double, double> ChildTimes(const net::Scoreboard& board) {
  std::map<pid_t, bool> seen;
  double user = 0;
  double system = 0;
  const double tick = static_cast<double>(::sysconf(_SC_CLK_TCK));
  for (size_t i = 0; i < net::Scoreboard::kLoops; ++i) {
    const pid_t pid = board.loop(i).pid.load(std::memory_order_relaxed);
    if (pid <= 0 || seen[pid]) continue;
    seen[pid] = true;
    auto text = os::ReadFile("/proc/" + std::to_string(pid) + "/stat");
    if (!text) continue;
    const size_t close = text.value().rfind(')');
    if (close == std::string::npos) continue;
    unsigned long u = 0;
    unsigned long s = 0;
    if (std::sscanf(text.value().c_str() + close + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s) ==
        2) {
      user += static_cast<double>(u) / tick;
      system += static_cast<double>(s) / tick;
    }
  }
  return {user, system};
}

struct Process {
  pid_t pid = 0;
  uint32_t child = 0;
  uint32_t generation = 0;
  bool draining = false;
  bool accepting = false;
  uint32_t workers = 0, busy = 0, writing = 0, keepalive = 0, closing = 0, connections = 0;
  std::vector<const net::LoopSlot*> loops;
};

std::vector<Process> Processes(const net::Scoreboard& board) {
  std::map<std::pair<uint32_t, pid_t>, Process> by_pid;
  for (size_t i = 0; i < net::Scoreboard::kLoops; ++i) {
    const net::LoopSlot& slot = board.loop(i);
    const pid_t pid = slot.pid.load(std::memory_order_relaxed);
    if (pid <= 0) continue;
    Process& p = by_pid[{slot.generation.load(), pid}];
    p.pid = pid;
    p.child = slot.child.load();
    p.generation = slot.generation.load();
    p.draining = p.draining || slot.draining.load() != 0;
    p.accepting = p.accepting || slot.accepting.load() != 0;
    p.workers += slot.workers.load();
    p.busy += slot.counters.busy.load();
    p.writing += slot.counters.writing.load();
    p.keepalive += slot.counters.keepalive.load();
    p.closing += slot.counters.closing.load();
    p.connections += slot.counters.connections.load();
    p.loops.push_back(&slot);
  }
  std::vector<Process> out;
  for (auto& [key, process] : by_pid) out.push_back(std::move(process));
  return out;
}

/// One letter per worker; a worker of an old generation that still serves is G, a free one there is an open slot.
char Letter(const net::LoopSlot& loop, const net::WorkerSlot& worker) {
  char state = worker.state.load(std::memory_order_relaxed);
  if (state == 0) state = '_';
  if (loop.draining.load(std::memory_order_relaxed) == 0) return state;
  return state == '_' ? '.' : 'G';
}

std::string Letters(const std::vector<Process>& processes) {
  std::string out;
  for (const Process& process : processes) {
    for (const net::LoopSlot* loop : process.loops) {
      for (uint32_t i = 0; i < loop->workers.load(); ++i) out += Letter(*loop, loop->worker[i]);
    }
  }
  return out;
}

uint64_t SteadyMs() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1000000;
}

}  // namespace

void ServeStatus(const net::Request& request, const Site& site, const CompiledHost& host, const net::Scoreboard& board,
                 net::Response& response) {
  const std::string_view query = request.head->query;
  const bool automatic = query.find("auto") != std::string_view::npos;
  const bool extended = site.config().extended_status;
  const net::Totals t = board.Sum(SteadyMs());
  const std::vector<Process> processes = Processes(board);
  const std::time_t now = ::time(nullptr);
  const int64_t started = board.header().start_time.load();
  const int64_t up = std::max<int64_t>(now - started, 0);
  uint32_t workers = 0;
  uint32_t stopping = 0;
  for (const Process& p : processes) {
    if (p.draining) {
      ++stopping;
    } else {
      workers += p.workers;
    }
  }
  const uint32_t busy = t.busy - t.graceful;
  const uint32_t idle = workers > busy ? workers - busy : 0;
  double load[3] = {0, 0, 0};
  if (::getloadavg(load, 3) < 0) load[0] = load[1] = load[2] = -1;
  rusage self{};
  ::getrusage(RUSAGE_SELF, &self);
  const auto [user, system] = ChildTimes(board);
  const double cpu = user + system;
  const double per_second = up > 0 ? 1.0 / static_cast<double>(up) : 1.0;
  std::string name = host.host->server_name;
  if (name.empty()) name = site.config().main.server_name;
  if (name.empty()) name = std::string(request.head->authority.substr(0, request.head->authority.find(':')));

  const size_t refresh = query.find("refresh");
  if (refresh != std::string_view::npos) {
    int seconds = 10;
    if (query.substr(refresh).starts_with("refresh=")) {
      const std::string_view digits = query.substr(refresh + 8);
      std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
    }
    response.fields += "Refresh: " + std::to_string(std::max(seconds, 1)) + "\r\n";
  }

  std::string& out = response.body;
  if (automatic) {
    response.fields += "Content-Type: text/plain; charset=ISO-8859-1\r\n";
    out += name + "\n";
    out += "ServerVersion: " + site.server_name() + "\nServerMPM: event\nServer Built: " __DATE__ " " __TIME__ "\n";
    out += "CurrentTime: " + StatusTime(now) + "\nRestartTime: " + StatusTime(started) + "\n";
    out += Format("ParentServerConfigGeneration: %u\nParentServerMPMGeneration: %u\n",
                  board.header().config_generation.load(), board.header().generation.load());
    out += Format("ServerUptimeSeconds: %ld\nServerUptime:", up) + Uptime(up) + "\n";
    out += Format("Load1: %.2f\nLoad5: %.2f\nLoad15: %.2f\n", load[0], load[1], load[2]);
    if (extended) {
      out += Format("Total Accesses: %lu\nTotal kBytes: %lu\nTotal Duration: %lu\n", t.accesses, t.bytes / 1024,
                    t.duration_us / 1000);
      out += Format("CPUUser: %g\nCPUSystem: %g\nCPUChildrenUser: %g\nCPUChildrenSystem: %g\n", user, system, 0.0, 0.0);
      if (cpu > 0 && up > 0) out += Format("CPULoad: %g\n", cpu * per_second * 100);
      out += Format("Uptime: %ld\nReqPerSec: %g\nBytesPerSec: %g\n", up, static_cast<double>(t.accesses) * per_second,
                    static_cast<double>(t.bytes) * per_second);
      if (t.accesses > 0) {
        out += Format("BytesPerReq: %g\nDurationPerReq: %g\n",
                      static_cast<double>(t.bytes) / static_cast<double>(t.accesses),
                      static_cast<double>(t.duration_us) / 1000.0 / static_cast<double>(t.accesses));
      }
    }
    out += Format("BusyWorkers: %u\nGracefulWorkers: %u\nIdleWorkers: %u\nProcesses: %zu\nStopping: %u\n", busy,
                  t.graceful, idle, processes.size(), stopping);
    out += Format(
        "ConnsTotal: %u\nConnsAsyncWaitIO: %u\nConnsAsyncWriting: %u\nConnsAsyncKeepAlive: %u\n"
        "ConnsAsyncClosing: %u\n",
        t.connections, 0U, t.writing, t.keepalive, t.closing);
    out += "Scoreboard: " + Letters(processes) + "\n";
    return;
  }

  response.fields += "Content-Type: text/html; charset=ISO-8859-1\r\n";
  const std::string title = http::EscapeHtml(name);
  out +=
      "<!DOCTYPE HTML>\n<html><head>\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>Server Status "
      "for " +
      title +
      "</title>\n<style>table{border-collapse:collapse}td,th{border:1px solid #999;padding:2px 6px;text-align:left}"
      "pre{white-space:pre-wrap;word-break:break-all}</style>\n</head><body>\n<h1>Server Status for " +
      title + "</h1>\n\n";
  out += "<dl><dt>Server Version: " + site.server_name() +
         "</dt>\n<dt>Server MPM: event</dt>\n<dt>Server Built: " __DATE__ " " __TIME__ "\n</dt></dl><hr /><dl>\n";
  out += "<dt>Current Time: " + StatusTime(now) + "</dt>\n<dt>Restart Time: " + StatusTime(started) + "</dt>\n";
  out += Format("<dt>Parent Server Config. Generation: %u</dt>\n<dt>Parent Server MPM Generation: %u</dt>\n",
                board.header().config_generation.load(), board.header().generation.load());
  out += "<dt>Server uptime: " + Uptime(up) + "</dt>\n";
  out += Format("<dt>Server load: %.2f %.2f %.2f</dt>\n", load[0], load[1], load[2]);
  if (extended) {
    out += Format("<dt>Total accesses: %lu - Total Traffic: ", t.accesses) + Bytes(t.bytes) +
           Format(" - Total Duration: %lu</dt>\n", t.duration_us / 1000);
    out += Format("<dt>CPU Usage: u%g s%g cu0 cs0", user, system);
    if (cpu > 0 && up > 0) out += Format(" - %.3g%% CPU load", cpu * per_second * 100);
    out += "</dt>\n<dt>" + Format("%.3g requests/sec - ", static_cast<double>(t.accesses) * per_second) +
           Bytes(static_cast<uint64_t>(static_cast<double>(t.bytes) * per_second)) + "/second";
    if (t.accesses > 0) {
      out += " - " + Bytes(t.bytes / t.accesses) + "/request - " +
             Format("%g ms/request", static_cast<double>(t.duration_us) / 1000.0 / static_cast<double>(t.accesses));
    }
    out += "</dt>\n";
  }
  out += Format(
      "<dt>%u requests currently being processed, %u workers gracefully restarting, %u idle workers</dt>\n</dl>\n",
      busy, t.graceful, idle);
  out +=
      "<table rules=\"all\" cellpadding=\"1%\">\n<tr><th rowspan=\"2\">Slot</th><th rowspan=\"2\">PID</th>"
      "<th rowspan=\"2\">Stopping</th><th colspan=\"2\">Connections</th>\n<th colspan=\"3\">Threads</th>"
      "<th colspan=\"4\">Async "
      "connections</th></tr>\n<tr><th>total</th><th>accepting</th><th>busy</th><th>graceful</th>"
      "<th>idle</th><th>wait-io</th><th>writing</th><th>keep-alive</th><th>closing</th></tr>\n";
  for (const Process& p : processes) {
    const bool old = p.generation != board.header().generation.load();
    out += Format(
        "<tr><td>%u</td><td>%d</td><td>%s%s</td><td>%u</td><td>%s</td><td>%u</td><td>%u</td><td>%u</td><td>0</td>"
        "<td>%u</td><td>%u</td><td>%u</td></tr>\n",
        p.child, p.pid, p.draining ? "yes" : "no", p.draining && old ? " (old gen)" : "", p.connections,
        p.accepting ? "yes" : "no", p.draining ? 0 : p.busy, p.draining ? p.busy : 0,
        p.draining || p.workers < p.busy ? 0 : p.workers - p.busy, p.writing, p.keepalive, p.closing);
  }
  out += "</table>\n<pre>";
  out += Letters(processes);
  out +=
      "</pre>\n<p>Scoreboard Key:<br />\n\"<b><code>_</code></b>\" Waiting for Connection, \"<b><code>R</code></b>\" "
      "Reading "
      "Request,<br />\n\"<b><code>W</code></b>\" Sending Reply, \"<b><code>C</code></b>\" Closing connection,<br />\n"
      "\"<b><code>G</code></b>\" Gracefully finishing, \"<b><code>.</code></b>\" Open slot with no current process<br "
      "/>\n"
      "</p>\n";
  if (extended && query.find("notable") == std::string_view::npos) {
    out +=
        "\n<table border=\"0\"><tr><th>Srv</th><th>PID</th><th>Acc</th><th>M</th><th>SS</th><th>Dur</th><th>Slot</th>"
        "<th>Client</th><th>VHost</th><th>Request</th></tr>\n\n";
    const uint64_t now_ms = SteadyMs();
    for (const Process& p : processes) {
      for (const net::LoopSlot* loop : p.loops) {
        for (uint32_t i = 0; i < loop->workers.load(); ++i) {
          const net::WorkerSlot& worker = loop->worker[i];
          const char letter = Letter(*loop, worker);
          if (worker.accesses.load() == 0 && (letter == '_' || letter == '.')) continue;
          const uint64_t started_ms = worker.started_ms.load();
          auto text = [](const char* field, size_t size) {
            return http::EscapeHtml(std::string(field, ::strnlen(field, size)));
          };
          out += Format("<tr><td><b>%u-%u</b></td><td>%d</td><td>%lu</td><td><b>%c</b></td>", p.child, p.generation,
                        p.pid, worker.accesses.load(), letter);
          out +=
              Format("<td>%lu</td><td>%u</td><td>%.2f</td><td>", started_ms < now_ms ? (now_ms - started_ms) / 1000 : 0,
                     worker.last_duration_ms.load(), static_cast<double>(worker.bytes.load()) / 1048576);
          out += text(worker.client, sizeof worker.client) + "</td><td nowrap>" +
                 text(worker.host, sizeof worker.host) + "</td><td nowrap>" +
                 text(worker.request, sizeof worker.request) + "</td></tr>\n";
        }
      }
    }
    out += "</table>\n";
  }
  out += "</body></html>\n";
}

namespace {

Verdict Handle(RequestState& state) {
  if (state.handler != "server-status") return Verdict::Declined();
  net::Request seen = *state.request;
  seen.head = &state.head();
  ServeStatus(seen, state.engine->site(), *state.host, state.engine->board(), *state.response);
  state.is_success = true;
  return Verdict::Done();
}

}  // namespace

const Module kStatus = {.name = {"mod_status.c", "status_module"}, .always = true, .handle = Handle};

}  // namespace httpd::modules
