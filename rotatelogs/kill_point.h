#pragma once

#include <cstddef>

#ifdef BATON_FAULTS
#include <signal.h>

#include <cstdlib>
#include <cstring>
#endif

namespace rotatelogs {

/// Test builds (BATON_FAULTS): kills the process here when ROTATELOGS_FAULT names this step, stops it (SIGSTOP) when it
/// names it after "stop:". Nothing otherwise.
inline void KillPoint([[maybe_unused]] const char* step) {
#ifdef BATON_FAULTS
  static const char* const wanted = ::getenv("ROTATELOGS_FAULT");
  if (wanted && std::strcmp(wanted, step) == 0) ::raise(SIGKILL);
  if (wanted && std::strncmp(wanted, "stop:", 5) == 0 && std::strcmp(wanted + 5, step) == 0) ::raise(SIGSTOP);
#endif
}

/// How much of a write of `size` bytes is to happen: half of it when ROTATELOGS_FAULT names this step.
inline size_t KillLength([[maybe_unused]] const char* step, size_t size) {
#ifdef BATON_FAULTS
  const char* const wanted = ::getenv("ROTATELOGS_FAULT");
  if (wanted && std::strcmp(wanted, step) == 0) return (size + 1) / 2;
#endif
  return size;
}

}  // namespace rotatelogs
