#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>

#include <locale>
#include <map>
#include <sstream>
#include <tuple>
#include <utility>

#include "httpd/modules/status_report.h"

namespace httpd::modules {

namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

Object Ordered() {
  return Object(Poco::JSON_PRESERVE_KEY_ORDER);
}

Object JsonOf(const StatusWorker& w) {
  Object out = Ordered();
  out.set("state", std::string(1, w.letter));
  out.set("accesses", w.accesses);
  out.set("bytes", w.bytes);
  out.set("seconds_since_request", w.seconds);
  out.set("last_duration_ms", w.last_ms);
  out.set("duration_ms", w.duration_ms);
  out.set("client", w.client);
  out.set("host", w.host);
  out.set("request", w.request);
  return out;
}

Object JsonOf(const StatusProcess& p, bool with_workers) {
  Object out = Ordered();
  out.set("slot", p.slot);
  out.set("pid", p.pid);
  out.set("generation", p.generation);
  out.set("stopping", p.stopping);
  out.set("accepting", p.accepting);
  out.set("busy_workers", p.stopping ? 0 : p.busy);
  out.set("graceful_workers", p.stopping ? p.busy : 0);
  out.set("idle_workers", p.idle());
  out.set("connections", p.connections);
  out.set("connections_writing", p.writing);
  out.set("connections_keepalive", p.keepalive);
  out.set("connections_closing", p.closing);
  if (!with_workers) return out;
  Array workers;
  for (const StatusWorker& w : p.shown) workers.add(JsonOf(w));
  out.set("workers", workers);
  return out;
}

/// One metric after the other, each with its kind and meaning.
class Metrics {
 public:
  /// @param kind  "gauge" or "counter": the samples of a counter end in _total
  void Begin(const std::string& name, const std::string& kind, const std::string& help, const std::string& unit = "") {
    name_ = name + (kind == "counter" ? "_total" : kind == "info" ? "_info" : "");
    text_ += "# TYPE " + name + " " + kind + "\n";
    if (!unit.empty()) text_ += "# UNIT " + name + " " + unit + "\n";
    text_ += "# HELP " + name + " " + help + "\n";
  }
  template <class T>
  void Add(T value, const std::string& labels = "") {
    std::ostringstream number;
    number.imbue(std::locale::classic());
    number.precision(15);
    number << value;
    text_ += name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + number.str() + "\n";
  }
  template <class T>
  void One(const std::string& name, const std::string& kind, const std::string& help, T value,
           const std::string& unit = "") {
    Begin(name, kind, help, unit);
    Add(value);
  }
  std::string Finish() { return text_ + "# EOF\n"; }

 private:
  std::string name_;
  std::string text_;
};

std::string Label(const char* name, std::string_view value) {
  std::string out = std::string(name) + "=\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + "\"";
}

const char* StateLabel(char letter) {
  switch (letter) {
    case 'R':
      return "reading";
    case 'W':
      return "writing";
    case 'C':
      return "closing";
    case 'G':
      return "graceful";
    case '.':
      return "open_slot";
    default:
      return "idle";
  }
}

}  // namespace

std::string StatusJson(const StatusReport& r) {
  const net::Totals& t = r.totals;
  Object out = Ordered();
  out.set("server_name", r.name);
  out.set("server_version", r.version);
  out.set("server_mpm", "event");
  out.set("current_time", static_cast<int64_t>(r.now));
  out.set("restart_time", static_cast<int64_t>(r.started));
  out.set("config_generation", r.config_generation);
  out.set("mpm_generation", r.generation);
  out.set("uptime_seconds", r.uptime());
  Array load;
  for (const double value : r.load) load.add(value);
  out.set("load", load);
  if (r.extended) {
    out.set("accesses", t.accesses);
    out.set("bytes", t.bytes);
    out.set("duration_ms", t.duration_us / 1000);
    out.set("errors", t.errors);
    Object cpu = Ordered();
    cpu.set("user", r.cpu_user);
    cpu.set("system", r.cpu_system);
    cpu.set("children_user", r.cpu_children_user);
    cpu.set("children_system", r.cpu_children_system);
    out.set("cpu_seconds", cpu);
  }
  out.set("connections_accepted", t.accepted);
  out.set("connections_adopted", t.adopted);
  out.set("connections_passed", t.passed);
  out.set("busy_workers", r.busy);
  out.set("graceful_workers", r.graceful);
  out.set("idle_workers", r.idle);
  out.set("processes_total", r.processes.size());
  out.set("processes_stopping", r.stopping);
  out.set("connections", t.connections);
  out.set("connections_waiting_io", 0);
  out.set("connections_writing", t.writing);
  out.set("connections_keepalive", t.keepalive);
  out.set("connections_closing", t.closing);
  out.set("oldest_request_ms", t.oldest_ms);
  out.set("scoreboard", r.letters());
  out.set("lost_log_lines", t.lost_log_lines);
  Array processes;
  for (const StatusProcess& p : r.processes) processes.add(JsonOf(p, r.extended));
  out.set("processes", processes);
  std::ostringstream text;
  out.stringify(text);
  return text.str() + "\n";
}

std::string StatusMetrics(const StatusReport& r) {
  const net::Totals& t = r.totals;
  Metrics out;
  out.Begin("httpd", "info", "What this server is.");
  out.Add(1, Label("version", r.version) + "," + Label("mpm", "event"));
  out.Begin("httpd_start_time_seconds", "gauge", "When the server was started, or restarted with statistics at zero.",
            "seconds");
  out.Add(static_cast<int64_t>(r.started));
  out.One("httpd_uptime_seconds", "gauge", "How long that was ago.", r.uptime(), "seconds");
  out.One("httpd_config_generation", "gauge", "Configurations read.", r.config_generation);
  out.One("httpd_mpm_generation", "gauge", "Restarts.", r.generation);
  out.Begin("httpd_load_average", "gauge", "Load of the machine.");
  for (const auto& [label, value] : {std::pair("1m", r.load[0]), {"5m", r.load[1]}, {"15m", r.load[2]}}) {
    out.Add(value, Label("period", label));
  }
  if (r.extended) {
    out.One("httpd_requests", "counter", "Requests answered.", t.accesses);
    out.One("httpd_sent_bytes", "counter", "Bytes sent.", t.bytes, "bytes");
    out.One("httpd_request_duration_seconds", "counter", "Time spent on requests.",
            static_cast<double>(t.duration_us) / 1e6, "seconds");
    out.One("httpd_server_errors", "counter", "Answers with a status of 500 or more.", t.errors);
    out.Begin("httpd_cpu_seconds", "counter", "Processor time used.", "seconds");
    out.Add(r.cpu_user + r.cpu_children_user, Label("mode", "user"));
    out.Add(r.cpu_system + r.cpu_children_system, Label("mode", "system"));
  }
  out.One("httpd_accepted_connections", "counter", "Connections accepted.", t.accepted);
  out.One("httpd_adopted_connections", "counter", "Connections taken over from a predecessor.", t.adopted);
  out.One("httpd_passed_connections", "counter", "Connections passed to a successor.", t.passed);
  out.One("httpd_lost_log_lines", "counter", "Lines that could not be written to an access log.", t.lost_log_lines);
  out.Begin("httpd_workers", "gauge", "Requests in progress, and room for more.");
  out.Add(r.busy, Label("state", "busy"));
  out.Add(r.graceful, Label("state", "graceful"));
  out.Add(r.idle, Label("state", "idle"));
  std::map<std::string, uint64_t> board = {{"reading", 0},  {"writing", 0},   {"closing", 0},
                                           {"graceful", 0}, {"open_slot", 0}, {"idle", 0}};
  for (const char letter : r.letters()) ++board[StateLabel(letter)];
  out.Begin("httpd_scoreboard", "gauge", "Workers on the scoreboard.");
  for (const auto& [state, count] : board) out.Add(count, Label("state", state));
  out.Begin("httpd_processes", "gauge", "Child processes.");
  out.Add(r.processes.size() - r.stopping, Label("state", "serving"));
  out.Add(r.stopping, Label("state", "stopping"));
  out.One("httpd_connections", "gauge", "Open connections.", t.connections);
  out.Begin("httpd_async_connections", "gauge", "Open connections by what they wait for.");
  out.Add(t.writing, Label("state", "writing"));
  out.Add(t.keepalive, Label("state", "keepalive"));
  out.Add(t.closing, Label("state", "closing"));
  out.One("httpd_oldest_request_seconds", "gauge", "Age of the oldest request in progress.",
          static_cast<double>(t.oldest_ms) / 1000, "seconds");
  for (const auto& [name, help, member] :
       {std::tuple("httpd_process_busy_workers", "Requests in progress in a process.", &StatusProcess::busy),
        {"httpd_process_connections", "Open connections of a process.", &StatusProcess::connections}}) {
    out.Begin(name, "gauge", help);
    for (const StatusProcess& p : r.processes) {
      out.Add(p.*member, Label("pid", std::to_string(p.pid)) + "," + Label("slot", std::to_string(p.slot)) + "," +
                             Label("generation", std::to_string(p.generation)));
    }
  }
  return out.Finish();
}

}  // namespace httpd::modules
