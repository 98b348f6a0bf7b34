#include "httpd/log/log_stream.h"

#include <limits.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

namespace httpd::log {

os::Result<std::shared_ptr<SharedMutex>> SharedMutex::Make() {
  void* page = ::mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return os::SysError(errno, "map shared memory");
  auto* mutex = static_cast<pthread_mutex_t*>(page);
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutex_init(mutex, &attributes);
  ::pthread_mutexattr_destroy(&attributes);
  return std::shared_ptr<SharedMutex>(new SharedMutex(mutex));
}

// The mapping goes, the mutex is not destroyed: other processes may hold it.
SharedMutex::~SharedMutex() {
  ::munmap(mutex_, sizeof *mutex_);
}

SharedMutex::Outcome SharedMutex::TryLock() {
  switch (::pthread_mutex_trylock(mutex_)) {
    case 0:
      return Outcome::kLocked;
    case EOWNERDEAD:
      ::pthread_mutex_consistent(mutex_);
      return Outcome::kLockedAfterDeath;
    default:
      return Outcome::kBusy;
  }
}

void SharedMutex::Unlock() {
  ::pthread_mutex_unlock(mutex_);
}

void LogStream::Drop(size_t bytes) {
  lost_lines_ += static_cast<uint64_t>(std::count(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(bytes), '\n'));
  buffer_.erase(0, bytes);
}

bool LogStream::Flush() {
  if (buffer_.empty()) return true;
  if (sink_->is_pipe) {
    const bool done = FlushPipe();
    if (buffer_.size() > kMaxBuffered && !in_line_) {
      const size_t end = buffer_.find('\n', buffer_.size() - kMaxBuffered);
      Drop(end == std::string::npos ? buffer_.size() : end + 1);
    }
    return done;
  }
  while (!buffer_.empty()) {
    const ssize_t n = ::write(sink_->fd.get(), buffer_.data(), buffer_.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOSPC || errno == EDQUOT || errno == EAGAIN) {  // wait for room, within bounds
        if (buffer_.size() > kMaxBuffered) Drop(buffer_.size());
        return buffer_.empty();
      }
      Drop(buffer_.size());
      return true;
    }
    buffer_.erase(0, static_cast<size_t>(n));
  }
  return true;
}

bool LogStream::FlushPipe() {
  if (!in_line_) {
    switch (sink_->turn->TryLock()) {
      case SharedMutex::Outcome::kBusy:
        return false;
      case SharedMutex::Outcome::kLockedAfterDeath:
        buffer_.insert(0, "\n");  // who died may have left half a line in the pipe: end it
        break;
      case SharedMutex::Outcome::kLocked:
        break;
    }
  }
  in_line_ = false;
  bool done = true;
  while (!buffer_.empty()) {
    // Whole lines up to PIPE_BUF in one write are atomic (pipe(7)); a longer line goes alone, with the turn held.
    size_t bytes = buffer_.size();
    if (bytes > PIPE_BUF) {
      const size_t last = buffer_.rfind('\n', PIPE_BUF - 1);
      const size_t first = buffer_.find('\n');
      bytes = last != std::string::npos ? last + 1 : (first == std::string::npos ? buffer_.size() : first + 1);
    }
    const ssize_t n = ::write(sink_->fd.get(), buffer_.data(), bytes);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) {
        Drop(buffer_.size());
        break;
      }
      done = false;
      break;
    }
    const bool whole = buffer_[static_cast<size_t>(n) - 1] == '\n';
    buffer_.erase(0, static_cast<size_t>(n));
    if (static_cast<size_t>(n) < bytes && !whole) {
      in_line_ = true;  // keep the turn: nobody may write into the middle of this line
      return false;
    }
  }
  sink_->turn->Unlock();
  return done;
}

}  // namespace httpd::log
