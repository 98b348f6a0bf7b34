#include "httpd/log/log_stream.h"

#include <limits.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace httpd::log {

struct SharedMutex::Shared {
  pthread_mutex_t mutex;
  bool half_done;
};

os::Result<std::shared_ptr<SharedMutex>> SharedMutex::Make() {
  void* page = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return os::SysError(errno, "map shared memory");
  auto* shared = static_cast<Shared*>(page);
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutex_init(&shared->mutex, &attributes);
  ::pthread_mutexattr_destroy(&attributes);
  return std::shared_ptr<SharedMutex>(new SharedMutex(shared));
}

// The mapping goes, the mutex is not destroyed: other processes may hold it.
SharedMutex::~SharedMutex() {
  ::munmap(shared_, sizeof *shared_);
}

SharedMutex::Outcome SharedMutex::TryLock() {
  switch (::pthread_mutex_trylock(&shared_->mutex)) {
    case 0:
      return Outcome::kLocked;
    case EOWNERDEAD:
      ::pthread_mutex_consistent(&shared_->mutex);
      return Outcome::kLockedAfterDeath;
    default:
      return Outcome::kBusy;
  }
}

void SharedMutex::Unlock() {
  ::pthread_mutex_unlock(&shared_->mutex);
}

bool SharedMutex::half_done() const {
  return shared_->half_done;
}

void SharedMutex::set_half_done(bool on) {
  shared_->half_done = on;
}

void LogStream::Drop(size_t from, size_t bytes) {
  const auto first = buffer_.begin() + static_cast<std::ptrdiff_t>(from);
  lost_lines_ += static_cast<uint64_t>(std::count(first, first + static_cast<std::ptrdiff_t>(bytes), '\n'));
  buffer_.erase(from, bytes);
}

SyslogTarget::Sent SyslogTarget::Send(const os::Fd& socket, int severity, std::string_view line) const {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.size() >= sizeof to.sun_path) return Sent::kNever;
  std::memcpy(to.sun_path, path.data(), path.size());
  const std::time_t now = ::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  char head[128];
  const size_t size = std::strftime(head, sizeof head, "%b %e %H:%M:%S ", &parts);
  std::string text = "<" + std::to_string(facility * 8 + severity) + ">";
  text.append(head, size).append(tag).append("[").append(std::to_string(::getpid())).append("]: ").append(line);
  while (::sendto(socket.get(), text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to),
                  sizeof to) < 0) {
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == ENOBUFS ? Sent::kLater : Sent::kNever;
  }
  return Sent::kYes;
}

bool LogStream::FlushSyslog() {
  constexpr int kInfo = 6;
  size_t at = 0;
  bool is_busy = false;
  while (at < buffer_.size() && !is_busy) {
    const size_t end = std::min(buffer_.find('\n', at), buffer_.size() - 1);
    switch (sink_->syslog->Send(sink_->fd, kInfo, std::string_view(buffer_).substr(at, end - at))) {
      case SyslogTarget::Sent::kLater:
        is_busy = true;
        continue;
      case SyslogTarget::Sent::kNever:
        ++lost_lines_;
        break;
      case SyslogTarget::Sent::kYes:
        break;
    }
    at = end + 1;
  }
  buffer_.erase(0, at);
  if (buffer_.size() > kMaxBuffered) Drop(0, buffer_.size());
  return buffer_.empty();
}

bool LogStream::Flush() {
  if (buffer_.empty()) return true;
  if (sink_->syslog) return FlushSyslog();
  if (sink_->is_pipe) {
    const bool done = FlushPipe();
    if (buffer_.size() > kMaxBuffered) {
      const size_t keep = in_line_ ? std::min(buffer_.find('\n'), buffer_.size() - 1) + 1 : 0;
      const size_t end = buffer_.find('\n', std::max(keep, buffer_.size() - kMaxBuffered));
      Drop(keep, (end == std::string::npos ? buffer_.size() : end + 1) - keep);
    }
    return done;
  }
  while (!buffer_.empty()) {
    const ssize_t n = ::write(sink_->fd.get(), buffer_.data(), buffer_.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOSPC || errno == EDQUOT || errno == EAGAIN) {  // wait for room, within bounds
        if (buffer_.size() > kMaxBuffered) Drop(0, buffer_.size());
        return buffer_.empty();
      }
      Drop(0, buffer_.size());
      return true;
    }
    buffer_.erase(0, static_cast<size_t>(n));
  }
  return true;
}

bool LogStream::FlushPipe() {
  SharedMutex& turn = *sink_->turn;
  if (!in_line_) {
    switch (turn.TryLock()) {
      case SharedMutex::Outcome::kBusy:
        return false;
      case SharedMutex::Outcome::kLockedAfterDeath:
        if (turn.half_done()) buffer_.insert(0, "\n");  // who died left half a line in the pipe: end it
        turn.set_half_done(false);
        break;
      case SharedMutex::Outcome::kLocked:
        break;
    }
  }
  size_t at = 0;
  while (at < buffer_.size()) {
    // Whole lines up to PIPE_BUF in one write are atomic (pipe(7)); a longer line goes alone, with the turn held.
    size_t bytes = buffer_.size() - at;
    if (bytes > PIPE_BUF) {
      const std::string_view rest = std::string_view(buffer_).substr(at);
      const size_t last = rest.substr(0, PIPE_BUF).rfind('\n');
      const size_t first = last != std::string_view::npos ? last : rest.find('\n');
      bytes = first == std::string_view::npos ? rest.size() : first + 1;
    }
    if (bytes > PIPE_BUF) turn.set_half_done(true);
    const ssize_t n = ::write(sink_->fd.get(), buffer_.data() + at, bytes);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      buffer_.erase(0, at);
      at = 0;
      Drop(0, buffer_.size());
      in_line_ = false;
      break;
    }
    at += static_cast<size_t>(n);
    in_line_ = static_cast<size_t>(n) < bytes;
    if (in_line_) break;
    turn.set_half_done(false);
  }
  buffer_.erase(0, at);
  if (in_line_) return false;  // the turn stays ours: nobody may write into the middle of this line
  turn.set_half_done(false);
  turn.Unlock();
  return buffer_.empty();
}

}  // namespace httpd::log
