#pragma once

#include <pthread.h>

#include <memory>
#include <string>
#include <string_view>

#include "os/error.h"
#include "os/fd.h"

namespace httpd::log {

/// A mutex that processes share and that a dying holder does not keep. Lives in shared memory made before fork.
/// Source  pthread_mutexattr_setrobust(3)
class SharedMutex {
 public:
  static os::Result<std::shared_ptr<SharedMutex>> Make();
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;
  ~SharedMutex();

  enum class Outcome { kLocked, kLockedAfterDeath, kBusy };
  Outcome TryLock();
  void Unlock();

  /// Holder only: whether what it writes is half done. Outlives a holder that dies.
  bool half_done() const;
  void set_half_done(bool on);

 private:
  struct Shared;
  explicit SharedMutex(Shared* shared) : shared_(shared) {}
  Shared* shared_;
};

/// Where lines for syslog go: one datagram each, as syslog(3) sends them. Source  syslog(3), RFC 3164
struct SyslogTarget {
  std::string path = "/dev/log";
  int facility = 23;  ///< not shifted
  std::string tag;

  enum class Sent { kYes, kLater, kNever };
  /// @param severity  0 emerg ... 7 debug
  /// @param line      without its end
  /// @return kLater: the daemon is busy; kNever: there is none, or it does not take the line
  Sent Send(const os::Fd& socket, int severity, std::string_view line) const;
};

/// One open log that every child of a generation writes to. The descriptor is shared by fork; `turn` keeps lines longer
/// than PIPE_BUF whole when the target is a pipe (null for files: one O_APPEND write is atomic there).
struct LogSink {
  os::Fd fd;
  bool is_pipe = false;
  std::shared_ptr<SharedMutex> turn;
  std::shared_ptr<const SyslogTarget> syslog;  ///< null: a file or a pipe
};

/// One loop's buffer in front of a LogSink. Lines are collected while a loop turn runs and written together at its end;
/// writing never blocks: what a full pipe does not take stays here and is offered again.
///
/// Threads  one owner. Fork  not shared. Crash  what is buffered (one loop turn) is lost with the process.
class LogStream {
 public:
  /// @param sink  must outlive the stream
  explicit LogStream(const LogSink& sink) : sink_(&sink) {}

  /// The buffer: append whole lines, newline included.
  std::string& buffer() { return buffer_; }
  bool empty() const { return buffer_.empty(); }

  /// Writes what it can. @return true when nothing is left; false: try again when the pipe may have room.
  bool Flush();

  /// BufferedLogs: Flush() once a block is full. @return as Flush(); true while lines wait for more
  bool FlushBlock() { return buffer_.size() < kBlock || Flush(); }

  /// Lines given up because the target failed (EPIPE, EIO, ENOSPC on a file) or the buffer passed kMaxBuffered.
  uint64_t lost_lines() const { return lost_lines_; }

  /// Beyond this the oldest lines are dropped and counted: a stuck log program must not eat the memory. A line that is
  /// half written is kept, whatever its length.
  static constexpr size_t kMaxBuffered = 16U << 20;
  static constexpr size_t kBlock = 4096;  ///< Apache's BufferedLogs: PIPE_BUF

 private:
  bool FlushPipe();
  bool FlushSyslog();
  void Drop(size_t from, size_t bytes);

  const LogSink* sink_;
  std::string buffer_;
  bool in_line_ = false;  ///< a line longer than PIPE_BUF is half written; we hold the turn
  uint64_t lost_lines_ = 0;
};

}  // namespace httpd::log
