#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "os/clock.h"
#include "os/error.h"
#include "os/fd.h"

namespace os {

/// One thread's loop over descriptors and timers, for processes with a handful of descriptors (a server's parent, the
/// orchestrator). Callbacks run on the thread that calls Run(); they may add and remove anything, themselves included.
/// Source  epoll(7)
class PollLoop {
 public:
  using OnReady = std::function<void(uint32_t epoll_events)>;
  using OnTime = std::function<void()>;
  using TimerId = uint64_t;

  static Result<std::unique_ptr<PollLoop>> Open(const Clock& clock);

  /// Calls `ready` while `fd` (a loan: it must stay open until Unwatch) is ready for `events` (EPOLLIN, EPOLLOUT).
  /// Level-triggered. Watching a watched descriptor replaces events and callback.
  Status Watch(const Fd& fd, uint32_t events, OnReady ready);

  /// Must come before the descriptor is closed: while another process holds the same open file description, a close
  /// alone leaves the registration behind. A descriptor that is not watched is no error.
  void Unwatch(const Fd& fd);

  /// Calls `due` once at or after `when`; one that a timer sets runs in the next turn at the earliest, so that a timer
  /// which renews itself cannot keep descriptors waiting. @return an id for Cancel(), never 0
  TimerId At(Clock::Steady when, OnTime due);
  void Cancel(TimerId id);  ///< unknown or past ids are no error

  /// Runs until a callback calls Stop() (the turn is finished; a Stop() from before Run() is forgotten). Waits without
  /// limit when nothing is due.
  void Run();
  void Stop() { stopped_ = true; }

  /// One turn: waits at most `limit`, runs what is ready and due. For tests and for loops with a condition of their
  /// own.
  void Turn(std::chrono::milliseconds limit);

 private:
  struct Entry {
    OnReady ready;
    uint64_t generation;
  };
  PollLoop(const Clock& clock, Fd epoll) : clock_(clock), epoll_(std::move(epoll)) {}

  const Clock& clock_;
  Fd epoll_;
  bool stopped_ = false;
  uint64_t next_ = 1;
  std::unordered_map<int, std::shared_ptr<Entry>> entries_;
  std::map<std::pair<Clock::Steady, TimerId>, OnTime> timers_;
};

}  // namespace os
