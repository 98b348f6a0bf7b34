#include "httpd/net/reactor.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "httpd/net/connection.h"
#include "httpd/net/event_loop.h"

namespace httpd::net {

class EventLoop::LoopWatch final : public Watch {
 public:
  LoopWatch(EventLoop& loop, std::unique_ptr<WatchEntry> entry) : loop_(loop), entry_(std::move(entry)) {}
  ~LoopWatch() override {
    Want(0);
    entry_->is_alive = false;
    loop_.dead_watches_.push_back(std::move(entry_));
  }
  LoopWatch(const LoopWatch&) = delete;
  LoopWatch& operator=(const LoopWatch&) = delete;

  void Want(uint32_t events) override {
    if (events == entry_->events) return;
    epoll_event event{};
    event.events = events;
    event.data.u64 = reinterpret_cast<uint64_t>(entry_.get()) | kTagWatch;
    // Not "no events": a hang-up would be reported all the same, again and again.
    const int operation = events == 0 ? EPOLL_CTL_DEL : entry_->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    ::epoll_ctl(loop_.epoll_.get(), operation, entry_->fd, &event);
    entry_->events = events;
  }

 private:
  EventLoop& loop_;
  std::unique_ptr<WatchEntry> entry_;
};

class EventLoop::LoopTimer final : public Timer {
 public:
  LoopTimer(EventLoop& loop, uint64_t due_ms, std::function<void()> due)
      : loop_(loop), due_(std::move(due)), place_(loop.timers_.emplace(due_ms, this)) {}
  ~LoopTimer() override {
    if (is_waiting_) loop_.timers_.erase(place_);
  }
  LoopTimer(const LoopTimer&) = delete;
  LoopTimer& operator=(const LoopTimer&) = delete;

  /// Leaves the queue; nothing of the timer is touched any more when its call runs, which may destroy it.
  std::function<void()> Take() {
    loop_.timers_.erase(place_);
    is_waiting_ = false;
    return std::move(due_);
  }

 private:
  EventLoop& loop_;
  std::function<void()> due_;
  std::multimap<uint64_t, LoopTimer*>::iterator place_;
  bool is_waiting_ = true;
};

os::Result<std::unique_ptr<Watch>> EventLoop::WatchDescriptor(int fd, uint32_t events,
                                                              std::function<void(uint32_t)> ready) {
  auto entry = std::make_unique<WatchEntry>();
  entry->fd = fd;
  entry->ready = std::move(ready);
  epoll_event event{};
  event.events = events;
  event.data.u64 = reinterpret_cast<uint64_t>(entry.get()) | kTagWatch;
  if (events != 0 && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    const int sys = errno;
    os::Error error = os::SysError(sys, "watch a descriptor");
    if (sys == EPERM) error.kind = os::ErrorKind::kInvalid;
    return error;
  }
  entry->events = events;
  return std::unique_ptr<Watch>(std::make_unique<LoopWatch>(*this, std::move(entry)));
}

std::unique_ptr<Timer> EventLoop::After(std::chrono::milliseconds delay, std::function<void()> due) {
  const auto wait_ms = static_cast<uint64_t>(std::max<int64_t>(delay.count(), 0));
  // The clock of this turn may be behind: one more, so that it is never early.
  return std::make_unique<LoopTimer>(*this, now_ms_ + wait_ms + 1, std::move(due));
}

void EventLoop::RunSoon(std::function<void()> work) {
  soon_.push_back(std::move(work));
}

void EventLoop::WhenLeaving(std::function<void()> leaving) {
  (draining_ ? soon_ : leaving_).push_back(std::move(leaving));
}

void EventLoop::Keep(std::shared_ptr<void> object) {
  const void* key = object.get();
  kept_[key] = std::move(object);
}

void EventLoop::LetGo(const void* object) {
  auto node = kept_.extract(object);
  if (!node.empty()) RunSoon([last = std::move(node.mapped())] {});
}

Waker EventLoop::WakerOf(const Request& request) {
  Connection* c = request.connection;
  if (c == nullptr) return {};
  Work& work = request.stream ? WorkOf(*request.stream) : *c;
  if (!work.wake) {
    work.wake = std::make_shared<WakeTarget>();
    work.wake->loop = this;
    work.wake->connection = c;
    work.wake->stream = request.stream;
  }
  return Waker(work.wake);
}

void WakeTarget::Wake() {
  if (connection == nullptr || is_queued) return;
  is_queued = true;
  loop->Woken(shared_from_this());
}

void EventLoop::OnWatch(uint64_t data, uint32_t events) {
  auto* entry = reinterpret_cast<WatchEntry*>(data & ~uint64_t{7});
  if (entry->is_alive && entry->events != 0) entry->ready(events);
}

void EventLoop::RunTimers() {
  while (!timers_.empty() && timers_.begin()->first <= now_ms_) timers_.begin()->second->Take()();
}

void EventLoop::RunSoonWork() {
  // What they ask for in turn belongs to the next turn: nobody keeps this one from ending.
  for (auto& work : std::exchange(soon_, {})) work();
  if (!buffered_.empty()) RunBuffered();
  for (const std::shared_ptr<WakeTarget>& target : std::exchange(woken_, {})) {
    target->is_queued = false;
    if (target->connection != nullptr) OnWoken(*target);
  }
}

int EventLoop::UntilDue(int timeout_ms) const {
  if (!soon_.empty() || !woken_.empty() || !buffered_.empty()) return 0;
  if (timers_.empty()) return timeout_ms;
  const uint64_t first = timers_.begin()->first;
  const int wait_ms = first > now_ms_ ? static_cast<int>(std::min<uint64_t>(first - now_ms_, 1U << 30)) : 0;
  return timeout_ms < 0 ? wait_ms : std::min(timeout_ms, wait_ms);
}

}  // namespace httpd::net
