#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "os/error.h"
#include "os/fd.h"
#include "os/poll.h"

namespace rotatelogs {

/// A few threads for what would hold up the poll loop: digests, compression, fsync. None is started before the first
/// Post(). Work gets a stop token and must look at it now and then; it may not touch what the loop's thread uses.
class Workers {
 public:
  using Work = std::function<void(const std::stop_token&)>;

  /// @param threads  at most so many at once, 1 or more
  /// @param loop     outlives the object
  static os::Result<std::unique_ptr<Workers>> Open(os::PollLoop& loop, size_t threads);
  ~Workers();  ///< asks for a stop and waits for what runs; what is queued is dropped

  /// Runs `work` on a thread, then `done` on the loop's.
  void Post(Work work, std::function<void()> done);

  /// What runs and what is queued shall end early; its `done` is called all the same.
  void RequestStop() { stop_.request_stop(); }

 private:
  struct Task {
    Work work;
    std::function<void()> done;
  };
  Workers(os::PollLoop& loop, os::Fd bell, size_t threads) : loop_(loop), bell_(std::move(bell)), limit_(threads) {}
  void Thread();
  void OnBell();

  os::PollLoop& loop_;
  os::Fd bell_;  // eventfd
  const size_t limit_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable more_;
  bool closing_ = false;
  size_t idle_ = 0;
  std::deque<Task> queue_;
  std::vector<std::function<void()>> finished_;
  std::vector<std::thread> threads_;
};

}  // namespace rotatelogs
