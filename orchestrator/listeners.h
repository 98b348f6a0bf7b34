#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "handover/listen_fds.h"
#include "os/error.h"

namespace orchestrator {

/// Connections that the kernel has accepted for a listening socket and no process has taken yet; 0 when it cannot be
/// asked. Source  tcp(7) TCP_INFO: tcpi_unacked of a listener
uint32_t QueueDepth(const os::Fd& listener);

/// Sum over all.
uint32_t QueueDepth(const std::vector<handover::Listener>& listeners);

/// Binds and listens on `address` (text form).
/// @return kBusy, kDenied...: one sentence that names the address
os::Result<handover::Listener> BindListener(const std::string& address);

/// Whether BindListener() would find `address` free: binds for a moment and never listens, so no client sees it.
os::Status CanBind(const std::string& address);

}  // namespace orchestrator
