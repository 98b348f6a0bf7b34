#include "rotatelogs/workers.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace rotatelogs {

os::Result<std::unique_ptr<Workers>> Workers::Open(os::PollLoop& loop, size_t threads) {
  os::Fd bell(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!bell.valid()) {
    const int sys = errno;
    return os::SysError(sys, "make an eventfd");
  }
  std::unique_ptr<Workers> out(new Workers(loop, std::move(bell), threads));
  if (auto watched = loop.Watch(out->bell_, EPOLLIN, [raw = out.get()](uint32_t) { raw->OnBell(); }); !watched) {
    return watched.error();
  }
  return out;
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    queue_.clear();
  }
  stop_.request_stop();
  more_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  loop_.Unwatch(bell_);
}

void Workers::Post(Work work, std::function<void()> done) {
  const std::lock_guard lock(mutex_);
  queue_.push_back({std::move(work), std::move(done)});
  if (idle_ < queue_.size() && threads_.size() < limit_) threads_.emplace_back([this] { Thread(); });
  more_.notify_one();
}

void Workers::Thread() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    more_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    --idle_;
    if (closing_) return;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    task.work(stop_.get_token());
    task.work = nullptr;
    lock.lock();
    finished_.push_back(std::move(task.done));
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t rung = ::write(bell_.get(), &one, sizeof one);  // full: it rings already
  }
}

void Workers::OnBell() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t read = ::read(bell_.get(), &count, sizeof count);
  std::vector<std::function<void()>> finished;
  {
    const std::lock_guard lock(mutex_);
    finished.swap(finished_);
  }
  for (const auto& done : finished) done();
}

}  // namespace rotatelogs
