#include "os/signals.h"

#include <signal.h>
#include <sys/signalfd.h>

#include <cerrno>

namespace os {

Result<SignalFd> SignalFd::Open(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : signals) sigaddset(&set, number);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return SysError(errno, "block signals");
  // An inherited SIG_IGN would have the kernel reap our children (SIGCHLD) or drop a signal. Only now that they are
  // blocked: the default action of most is to end us.
  for (const int number : signals) ::signal(number, SIG_DFL);
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return SysError(errno, "open signalfd");
  return SignalFd(std::move(fd));
}

std::optional<SignalInfo> SignalFd::Read() const {
  signalfd_siginfo info{};
  ssize_t n;
  do {
    n = ::read(fd_.get(), &info, sizeof info);
  } while (n < 0 && errno == EINTR);
  if (n != sizeof info) return std::nullopt;
  // Only kill(2)-like codes name a sender; SI_KERNEL (a terminal) leaves the field zero.
  return SignalInfo{static_cast<int>(info.ssi_signo), static_cast<pid_t>(info.ssi_pid)};
}

void IgnoreSignal(int number) {
  ::signal(number, SIG_IGN);
}

void ResetSignals() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace os
