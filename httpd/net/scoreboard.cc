#include "httpd/net/scoreboard.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace httpd::net {

namespace {

template <size_t N>
void Copy(char (&out)[N], std::string_view text) {
  out[text.copy(out, N - 1)] = '\0';
}

void Clear(LoopSlot& slot) {
  LoopCounters& c = slot.counters;
  for (auto* n : {&c.accesses, &c.bytes, &c.duration_us, &c.errors, &c.accepted, &c.adopted, &c.passed}) n->store(0);
  for (auto* n : {&c.connections, &c.busy, &c.writing, &c.keepalive, &c.closing, &c.lost_log_lines}) n->store(0);
  for (WorkerSlot& worker : slot.worker) {
    if (worker.state.load(std::memory_order_relaxed) == 0 && worker.accesses.load(std::memory_order_relaxed) == 0) {
      continue;  // never used: leave the page untouched
    }
    worker.state = '_';
    worker.started_ms = 0;
    worker.accesses = 0;
    worker.bytes = 0;
    worker.duration_ms = 0;
    worker.last_duration_ms = 0;
    worker.client[0] = worker.host[0] = worker.request[0] = '\0';
  }
}

}  // namespace

void WorkerSlot::SetText(std::string_view client_text, std::string_view host_text, std::string_view request_text) {
  Copy(client, client_text);
  Copy(host, host_text);
  Copy(request, request_text);
}

os::Result<std::unique_ptr<Scoreboard>> Scoreboard::Make() {
  const size_t bytes = 4096 + sizeof(LoopSlot) * kLoops;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return os::SysError(errno, "map the scoreboard");
  return std::unique_ptr<Scoreboard>(new Scoreboard(memory, bytes));
}

// The kernel gives zeroed pages, which is the value-initialised state of every member: nothing is constructed, so that
// pages of loops that never run are never touched.
Scoreboard::Scoreboard(void* memory, size_t bytes)
    : memory_(memory),
      bytes_(bytes),
      header_(static_cast<ScoreboardHeader*>(memory)),
      loops_(reinterpret_cast<LoopSlot*>(static_cast<char*>(memory) + 4096)) {}

Scoreboard::~Scoreboard() {
  ::munmap(memory_, bytes_);
}

os::Result<size_t> Scoreboard::Claim(uint32_t child, uint32_t generation, uint32_t workers) {
  for (size_t i = 0; i < kLoops; ++i) {
    LoopSlot& slot = loops_[i];
    if (slot.pid.load() != 0) continue;
    Clear(slot);
    slot.child = child;
    slot.generation = generation;
    slot.workers = std::min<uint32_t>(workers, kWorkersPerLoop);
    slot.accepting = 0;
    slot.draining = 0;
    slot.pid = -1;  // taken; the parent writes the pid after fork
    return i;
  }
  return os::Error{os::ErrorKind::kBusy, 0,
                   "AH03490: scoreboard is full: 512 event loops are in use, old generations included"};
}

void Scoreboard::Release(size_t index) {
  LoopSlot& slot = loops_[index];
  header_->dead_accesses += slot.counters.accesses.load();
  header_->dead_bytes += slot.counters.bytes.load();
  header_->dead_duration_us += slot.counters.duration_us.load();
  header_->dead_errors += slot.counters.errors.load();
  header_->dead_accepted += slot.counters.accepted.load();
  header_->dead_adopted += slot.counters.adopted.load();
  header_->dead_passed += slot.counters.passed.load();
  header_->dead_lost_log_lines += slot.counters.lost_log_lines.load();
  Clear(slot);
  slot.pid = 0;
}

void Scoreboard::Inherit(const Totals& from, int64_t start_time) {
  header_->inherited_accesses += from.accesses;
  header_->inherited_bytes += from.bytes;
  header_->inherited_duration_us += from.duration_us;
  header_->inherited_errors += from.errors;
  header_->inherited_accepted += from.accepted;
  int64_t ours = header_->start_time.load();
  while (start_time > 0 && start_time < ours && !header_->start_time.compare_exchange_weak(ours, start_time)) {
  }
}

void Scoreboard::ResetStatistics() {
  ScoreboardHeader& h = *header_;
  for (auto* n : {&h.dead_accesses, &h.dead_bytes, &h.dead_duration_us, &h.dead_errors, &h.dead_accepted,
                  &h.dead_adopted, &h.dead_passed, &h.dead_lost_log_lines, &h.inherited_accesses, &h.inherited_bytes,
                  &h.inherited_duration_us, &h.inherited_errors, &h.inherited_accepted}) {
    n->store(0);
  }
  for (size_t i = 0; i < kLoops; ++i) {
    if (loops_[i].pid.load() != 0) Clear(loops_[i]);
  }
}

Totals Scoreboard::Sum(uint64_t steady_now_ms) const {
  Totals t = Own(steady_now_ms);
  t.accesses += header_->inherited_accesses;
  t.bytes += header_->inherited_bytes;
  t.duration_us += header_->inherited_duration_us;
  t.errors += header_->inherited_errors;
  t.accepted += header_->inherited_accepted;
  return t;
}

Totals Scoreboard::Own(uint64_t steady_now_ms) const {
  Totals t;
  t.accesses = header_->dead_accesses;
  t.bytes = header_->dead_bytes;
  t.duration_us = header_->dead_duration_us;
  t.errors = header_->dead_errors;
  t.accepted = header_->dead_accepted;
  t.adopted = header_->dead_adopted;
  t.passed = header_->dead_passed;
  t.lost_log_lines = header_->dead_lost_log_lines;
  for (size_t i = 0; i < kLoops; ++i) {
    const LoopSlot& slot = loops_[i];
    if (slot.pid.load(std::memory_order_relaxed) == 0) continue;
    const LoopCounters& c = slot.counters;
    t.accesses += c.accesses.load(std::memory_order_relaxed);
    t.bytes += c.bytes.load(std::memory_order_relaxed);
    t.duration_us += c.duration_us.load(std::memory_order_relaxed);
    t.errors += c.errors.load(std::memory_order_relaxed);
    t.accepted += c.accepted.load(std::memory_order_relaxed);
    t.adopted += c.adopted.load(std::memory_order_relaxed);
    t.passed += c.passed.load(std::memory_order_relaxed);
    t.lost_log_lines += c.lost_log_lines.load(std::memory_order_relaxed);
    t.connections += c.connections.load(std::memory_order_relaxed);
    t.busy += c.busy.load(std::memory_order_relaxed);
    t.writing += c.writing.load(std::memory_order_relaxed);
    t.keepalive += c.keepalive.load(std::memory_order_relaxed);
    t.closing += c.closing.load(std::memory_order_relaxed);
    if (slot.draining.load(std::memory_order_relaxed)) t.graceful += c.busy.load(std::memory_order_relaxed);
    if (c.busy.load(std::memory_order_relaxed) == 0) continue;
    for (const WorkerSlot& worker : slot.worker) {
      const char state = worker.state.load(std::memory_order_relaxed);
      if (state != 'R' && state != 'W') continue;
      const uint64_t started = worker.started_ms.load(std::memory_order_relaxed);
      if (started < steady_now_ms) t.oldest_ms = std::max(t.oldest_ms, steady_now_ms - started);
    }
  }
  return t;
}

}  // namespace httpd::net
