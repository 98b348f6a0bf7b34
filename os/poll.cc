#include "os/poll.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

namespace os {

Result<std::unique_ptr<PollLoop>> PollLoop::Open(const Clock& clock) {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return SysError(errno, "open epoll");
  return std::unique_ptr<PollLoop>(new PollLoop(clock, std::move(epoll)));
}

Status PollLoop::Watch(const Fd& fd, uint32_t events, OnReady ready) {
  epoll_event event{};
  event.events = events;
  const uint64_t generation = next_++;
  event.data.u64 = static_cast<uint64_t>(static_cast<uint32_t>(fd.get())) | (generation << 32);
  const bool known = entries_.contains(fd.get());
  if (::epoll_ctl(epoll_.get(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd.get(), &event) != 0) {
    return SysError(errno, "watch a descriptor");
  }
  entries_[fd.get()] = std::make_shared<Entry>(Entry{std::move(ready), generation});
  return kDone;
}

void PollLoop::Unwatch(const Fd& fd) {
  if (entries_.erase(fd.get()) > 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd.get(), nullptr);
}

PollLoop::TimerId PollLoop::At(Clock::Steady when, OnTime due) {
  const TimerId id = next_++;
  timers_.emplace(std::make_pair(when, id), std::move(due));
  return id;
}

void PollLoop::Cancel(TimerId id) {
  const auto found = std::find_if(timers_.begin(), timers_.end(), [id](const auto& t) { return t.first.second == id; });
  if (found != timers_.end()) timers_.erase(found);
}

void PollLoop::Turn(std::chrono::milliseconds limit) {
  using std::chrono::milliseconds;
  if (!timers_.empty()) {
    const auto left = std::chrono::ceil<milliseconds>(timers_.begin()->first.first - clock_.SteadyNow());
    limit = limit.count() < 0 ? left : std::min(limit, left);
    limit = std::max(limit, milliseconds(0));
  }
  epoll_event events[64];
  const int n = ::epoll_wait(epoll_.get(), events, 64, static_cast<int>(std::min<int64_t>(limit.count(), 1 << 30)));
  for (int i = 0; i < n; ++i) {
    const int fd = static_cast<int>(events[i].data.u64 & 0xffffffffU);
    const auto found = entries_.find(fd);
    // An earlier callback of this turn may have closed the descriptor and another taken its number.
    if (found == entries_.end() || (found->second->generation & 0xffffffffU) != events[i].data.u64 >> 32) continue;
    const std::shared_ptr<Entry> entry = found->second;  // alive even if the callback unwatches itself
    entry->ready(events[i].events);
  }
  const auto now = clock_.SteadyNow();
  const TimerId newcomers = next_;
  for (;;) {
    // From the front each time: a callback may have cancelled any of them.
    auto due = timers_.begin();
    while (due != timers_.end() && due->first.first <= now && due->first.second >= newcomers) ++due;
    if (due == timers_.end() || due->first.first > now) return;
    timers_.extract(due).mapped()();
  }
}

void PollLoop::Run() {
  stopped_ = false;
  while (!stopped_) Turn(std::chrono::milliseconds(-1));
}

}  // namespace os
