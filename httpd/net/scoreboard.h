#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>

#include "os/error.h"

namespace httpd::net {

/// One request in progress as server-status shows it. Written by its loop only; readers in other processes may see a
/// text half replaced, never beyond its end.
struct WorkerSlot {
  std::atomic<char> state;           ///< '_' idle, 'R' reading, 'W' writing, 'C' closing; 'G' is derived by the reader
  std::atomic<uint64_t> started_ms;  ///< steady clock
  std::atomic<uint64_t> accesses;
  std::atomic<uint64_t> bytes;
  std::atomic<uint64_t> duration_ms;  ///< sum
  std::atomic<uint32_t> last_duration_ms;
  char client[48];
  char host[32];
  char request[64];
  void SetText(std::string_view client_text, std::string_view host_text, std::string_view request_text);
};

/// Numbers of one event loop. One writer; on cache lines of their own, so that counting costs the other loops nothing.
struct alignas(64) LoopCounters {
  std::atomic<uint64_t> accesses;
  std::atomic<uint64_t> bytes;
  std::atomic<uint64_t> duration_us;
  std::atomic<uint64_t> errors;    ///< answers with a 5xx status
  std::atomic<uint64_t> accepted;  ///< connections taken from public listeners
  std::atomic<uint64_t> adopted;   ///< connections received from a predecessor
  std::atomic<uint64_t> passed;    ///< connections handed to a successor
  std::atomic<uint32_t> connections;
  std::atomic<uint32_t> busy;       ///< requests in progress
  std::atomic<uint32_t> writing;    ///< ... of them waiting for the client to take the answer
  std::atomic<uint32_t> keepalive;  ///< idle between requests
  std::atomic<uint32_t> closing;    ///< lingering
  std::atomic<uint32_t> lost_log_lines;
};

inline constexpr size_t kWorkersPerLoop = 64;  ///< shown one by one; a loop may have more requests in progress

struct LoopSlot {
  std::atomic<pid_t> pid;       ///< 0 = free
  std::atomic<uint32_t> child;  ///< index of the child in its generation
  std::atomic<uint32_t> generation;
  std::atomic<uint32_t> workers;  ///< how many of `worker` are shown
  std::atomic<uint32_t> accepting;
  std::atomic<uint32_t> draining;
  LoopCounters counters;
  std::array<WorkerSlot, kWorkersPerLoop> worker;
};

/// What outlives processes and generations.
struct ScoreboardHeader {
  std::atomic<int64_t> start_time;   ///< unix seconds; RestartTime of server-status: the start, or the last HUP
  std::atomic<uint32_t> generation;  ///< graceful restarts and restarts
  std::atomic<uint32_t> config_generation;
  std::atomic<uint32_t> state;          ///< lifecycle::State of the parent
  std::atomic<uint64_t> dead_accesses;  ///< sums of loops that have ended
  std::atomic<uint64_t> dead_bytes;
  std::atomic<uint64_t> dead_duration_us;
  std::atomic<uint64_t> dead_errors;
  std::atomic<uint64_t> dead_accepted;
  std::atomic<uint64_t> dead_adopted;
  std::atomic<uint64_t> dead_passed;
  std::atomic<uint64_t> dead_lost_log_lines;
  std::atomic<uint64_t> inherited_accesses;  ///< what predecessors had counted
  std::atomic<uint64_t> inherited_bytes;
  std::atomic<uint64_t> inherited_duration_us;
  std::atomic<uint64_t> inherited_errors;
  std::atomic<uint64_t> inherited_accepted;
};

/// Sum over all loops, dead ones included.
struct Totals {
  uint64_t accesses = 0, bytes = 0, duration_us = 0, errors = 0, accepted = 0;
  uint64_t adopted = 0, passed = 0;  ///< of this instance only, never a predecessor's
  uint32_t connections = 0, busy = 0, writing = 0, keepalive = 0, closing = 0, graceful = 0;
  uint64_t lost_log_lines = 0;
  uint64_t oldest_ms = 0;  ///< age of the oldest request in progress
};

/// Shared memory (anonymous, so that no crash leaves a file) that the parent makes once and every child of every
/// generation maps by fork: the table from which server-status and the control socket answer.
class Scoreboard {
 public:
  static constexpr size_t kLoops = 512;
  static os::Result<std::unique_ptr<Scoreboard>> Make();
  ~Scoreboard();
  Scoreboard(const Scoreboard&) = delete;
  Scoreboard& operator=(const Scoreboard&) = delete;

  ScoreboardHeader& header() const { return *header_; }
  LoopSlot& loop(size_t index) const { return loops_[index]; }

  /// Parent only: a free loop slot, cleared, or kBusy when all 512 are taken.
  os::Result<size_t> Claim(uint32_t child, uint32_t generation, uint32_t workers);
  /// Parent only, after the child was reaped: its numbers go into the header.
  void Release(size_t index);
  /// Adds what a predecessor counted; its start becomes ours when it was earlier. Any process.
  void Inherit(const Totals& from, int64_t start_time);
  /// Parent only, on HUP: all numbers to zero.
  void ResetStatistics();

  /// Everything, what predecessors counted included: what server-status shows.
  Totals Sum(uint64_t steady_now_ms) const;
  /// What this instance did itself.
  Totals Own(uint64_t steady_now_ms) const;

 private:
  Scoreboard(void* memory, size_t bytes);
  void* memory_;
  size_t bytes_;
  ScoreboardHeader* header_;
  LoopSlot* loops_;
};

/// Adds to a counter that has one writer: no locked instruction.
template <class T, class U>
inline void Bump(std::atomic<T>& counter, U by) {
  counter.store(counter.load(std::memory_order_relaxed) + static_cast<T>(by), std::memory_order_relaxed);
}

}  // namespace httpd::net
