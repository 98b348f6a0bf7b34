#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "os/error.h"

namespace httpd::net {

struct Request;

/// Tells a connection that its answer can go on: what a BodySource that returned kWait, or somebody who owes a deferred
/// answer, keeps. Copies wake the same exchange. A default one, and one whose exchange is over, wakes nobody.
///
/// Threads  of the loop only. Wake() calls nobody: the connection is looked after at the end of the loop's turn, once
///          however often it was woken.
class Waker {
 public:
  struct Target {
    virtual ~Target() = default;
    virtual void Wake() = 0;
  };
  Waker() = default;
  explicit Waker(std::shared_ptr<Target> target) : target_(std::move(target)) {}
  void Wake() const {
    if (target_) target_->Wake();
  }

 private:
  std::shared_ptr<Target> target_;
};

/// A descriptor that a loop watches, level-triggered. Destroying it ends the watch, from inside its call too; the
/// descriptor is its owner's and must be closed after that.
class Watch {
 public:
  virtual ~Watch() = default;
  /// EPOLLIN, EPOLLOUT, EPOLLRDHUP; 0 = nothing for now, errors neither
  virtual void Want(uint32_t events) = 0;
};

/// A call that is due once. Destroying it cancels the call; it may be destroyed inside the call.
class Timer {
 public:
  virtual ~Timer() = default;
};

/// What a loop offers to those who answer without blocking it. Everything happens on the loop's thread; nothing that it
/// gives out may outlive the loop.
class Reactor {
 public:
  virtual ~Reactor() = default;

  /// Calls `ready` with the events that came (EPOLLHUP and EPOLLERR too) as long as they last.
  /// @param fd  a loan; non-blocking, of a kind that epoll(7) takes (pipes, sockets, pidfds; no files)
  /// @return kInvalid for other kinds (EPERM), kIo
  virtual os::Result<std::unique_ptr<Watch>> WatchDescriptor(int fd, uint32_t events,
                                                             std::function<void(uint32_t)> ready) = 0;

  /// Calls `due` once, not before `delay` has passed, seldom more than a millisecond later.
  [[nodiscard]] virtual std::unique_ptr<Timer> After(std::chrono::milliseconds delay, std::function<void()> due) = 0;

  /// Calls `work` when the events of this turn were seen to.
  virtual void RunSoon(std::function<void()> work) = 0;

  /// Keeps something that may outlive its exchange, such as a program that is told to end, until it is let go of or the
  /// loop ends. Let go inside a call of its own, it lives until that call returns.
  virtual void Keep(std::shared_ptr<void> object) = 0;
  virtual void LetGo(const void* object) = 0;

  /// Calls `leaving` once, when the loop begins to leave: what nobody will need again can be given up.
  virtual void WhenLeaving(std::function<void()> leaving) = 0;

  /// A place for what a module keeps in each loop, null at first; destroyed with the loop, after its connections.
  /// @param key  an address of the module's own
  virtual std::shared_ptr<void>& Local(const void* key) = 0;

  /// Wakes the connection of `request`, as long as this request is in progress.
  virtual Waker WakerOf(const Request& request) = 0;

  /// Steady clock, milliseconds, as of the beginning of this turn.
  virtual uint64_t NowMs() const = 0;
};

}  // namespace httpd::net
