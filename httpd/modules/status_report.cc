#include "httpd/modules/status_report.h"

#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "httpd/http/error_log_format.h"
#include "httpd/modules/access_log.h"
#include "httpd/modules/module.h"
#include "os/file.h"

namespace httpd::modules {

namespace {

struct CpuTimes {
  double user = 0, system = 0, children_user = 0, children_system = 0;
};

/// From /proc/PID/stat, seconds; zeros when there is no such process.
CpuTimes TimesOf(pid_t pid) {
  const double tick = static_cast<double>(::sysconf(_SC_CLK_TCK));
  auto text = os::ReadFile("/proc/" + std::to_string(pid) + "/stat");
  if (!text) return {};
  const size_t close = text.value().rfind(')');  // the name before it may hold anything
  if (close == std::string::npos) return {};
  unsigned long user = 0;
  unsigned long system = 0;
  long children_user = 0;
  long children_system = 0;
  if (std::sscanf(text.value().c_str() + close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld",
                  &user, &system, &children_user, &children_system) != 4) {
    return {};
  }
  return {static_cast<double>(user) / tick, static_cast<double>(system) / tick,
          static_cast<double>(children_user) / tick, static_cast<double>(children_system) / tick};
}

uint64_t SteadyMs() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1000000;
}

/// A text that another process may be writing: never beyond its end.
template <size_t N>
std::string Text(const char (&field)[N]) {
  std::string out;
  http::AppendErrorLogText(std::string_view(field, ::strnlen(field, N)), out);
  return out;
}

/// A worker of an old generation that still serves is G, a free one there is an open slot.
char Letter(const net::LoopSlot& loop, const net::WorkerSlot& worker) {
  char state = worker.state.load(std::memory_order_relaxed);
  if (state == 0) state = '_';
  if (loop.draining.load(std::memory_order_relaxed) == 0) return state;
  return state == '_' ? '.' : 'G';
}

StatusWorker WorkerOf(const net::LoopSlot& loop, const net::WorkerSlot& slot, uint64_t now_ms) {
  StatusWorker out;
  out.letter = Letter(loop, slot);
  out.accesses = slot.accesses.load(std::memory_order_relaxed);
  out.bytes = slot.bytes.load(std::memory_order_relaxed);
  out.duration_ms = slot.duration_ms.load(std::memory_order_relaxed);
  out.last_ms = slot.last_duration_ms.load(std::memory_order_relaxed);
  const uint64_t started = slot.started_ms.load(std::memory_order_relaxed);
  out.seconds = started != 0 && started < now_ms ? (now_ms - started) / 1000 : 0;
  out.client = Text(slot.client);
  out.host = Text(slot.host);
  out.request = Text(slot.request);
  return out;
}

std::vector<StatusProcess> ProcessesOf(const net::Scoreboard& board) {
  const uint64_t now_ms = SteadyMs();
  std::map<std::pair<uint32_t, pid_t>, StatusProcess> by_pid;
  for (size_t i = 0; i < net::Scoreboard::kLoops; ++i) {
    const net::LoopSlot& slot = board.loop(i);
    const pid_t pid = slot.pid.load(std::memory_order_relaxed);
    if (pid <= 0) continue;
    StatusProcess& p = by_pid[{slot.generation.load(), pid}];
    p.pid = pid;
    p.slot = slot.child.load();
    p.generation = slot.generation.load();
    p.stopping = p.stopping || slot.draining.load() != 0;
    p.accepting = p.accepting || slot.accepting.load() != 0;
    p.workers += slot.workers.load();
    p.busy += slot.counters.busy.load();
    p.connections += slot.counters.connections.load();
    p.writing += slot.counters.writing.load();
    p.keepalive += slot.counters.keepalive.load();
    p.closing += slot.counters.closing.load();
    const size_t shown = std::min<size_t>(slot.workers.load(), net::kWorkersPerLoop);
    for (size_t k = 0; k < shown; ++k) p.shown.push_back(WorkerOf(slot, slot.worker[k], now_ms));
  }
  std::vector<StatusProcess> out;
  for (auto& [key, process] : by_pid) out.push_back(std::move(process));
  return out;
}

}  // namespace

std::string Printed(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  const int n = std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return std::string(text, std::min<size_t>(static_cast<size_t>(std::max(n, 0)), sizeof text - 1));
}

std::string StatusReport::letters() const {
  std::string out;
  for (const StatusProcess& process : processes) {
    for (const StatusWorker& worker : process.shown) out += worker.letter;
  }
  return out;
}

StatusReport MakeStatusReport(RequestState& state) {
  const Site& site = state.engine->site();
  const net::Scoreboard& board = state.engine->board();
  StatusReport out;
  out.name = HostOf(state.head().authority);
  if (out.name.empty()) out.name = state.host->host->server_name;
  if (out.name.empty()) out.name = site.config().main.server_name;
  out.address = state.LocalAddress();
  out.version = site.server_name();
  out.now = ::time(nullptr);
  out.started = board.header().start_time.load();
  out.config_generation = board.header().config_generation.load();
  out.generation = board.header().generation.load();
  out.extended = site.config().extended_status;
  if (::getloadavg(out.load, 3) < 0) out.load[0] = out.load[1] = out.load[2] = -1;
  out.totals = board.Sum(SteadyMs());
  out.processes = ProcessesOf(board);
  uint32_t workers = 0;
  std::set<pid_t> alive = {::getppid()};
  for (const StatusProcess& p : out.processes) {
    alive.insert(p.pid);
    if (p.stopping) {
      ++out.stopping;
    } else {
      workers += p.workers;
    }
  }
  out.graceful = out.totals.graceful;
  out.busy = out.totals.busy > out.graceful ? out.totals.busy - out.graceful : 0;
  out.idle = workers > out.busy ? workers - out.busy : 0;
  for (const pid_t pid : alive) {
    const CpuTimes times = TimesOf(pid);
    out.cpu_user += times.user;
    out.cpu_system += times.system;
    if (pid != ::getppid()) continue;
    out.cpu_children_user = times.children_user;
    out.cpu_children_system = times.children_system;
  }
  return out;
}

}  // namespace httpd::modules
