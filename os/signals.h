#pragma once

#include <sys/types.h>

#include <initializer_list>
#include <optional>

#include "os/error.h"
#include "os/fd.h"

namespace os {

/// One signal that arrived.
struct SignalInfo {
  int number = 0;
  pid_t sender = 0;  ///< 0 when the kernel sent it (a terminal's resize, a timer); of SIGCHLD: the child
};

/// Signals as a readable descriptor instead of handlers. Construction blocks them for the calling thread (make it
/// before any thread is started); destruction leaves them blocked: a process we exec gets a clean mask from Spawn().
/// Source  signalfd(2)
class SignalFd {
 public:
  static Result<SignalFd> Open(std::initializer_list<int> signals);
  const Fd& fd() const { return fd_; }
  std::optional<SignalInfo> Read() const;  ///< never blocks; nullopt: none pending

 private:
  explicit SignalFd(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

/// Sets a signal to be ignored (SIGPIPE, SIGXFSZ).
void IgnoreSignal(int number);

/// Unblocks every signal and gives them their default action, in a forked child that does not exec.
void ResetSignals();

}  // namespace os
