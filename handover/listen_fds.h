#pragma once

#include <string>
#include <vector>

#include "os/error.h"
#include "os/fd.h"
#include "os/process.h"
#include "os/socket.h"

namespace handover {

/// A listening socket that somebody opened for us, or that we hand on.
struct Listener {
  os::SocketAddress address;  ///< what getsockname(2) says: listeners are told apart by full address, never by port
  std::string name;           ///< from LISTEN_FDNAMES, "" when there was none; for people only
  os::Fd fd;
};

/// Another descriptor of the same listening socket, ours to keep. @return the error of fcntl(2)
os::Result<Listener> CopyListener(const Listener& listener);

/// Takes over the sockets announced in LISTEN_FDS/LISTEN_PID/LISTEN_FDNAMES (descriptors from 3 on), sets O_CLOEXEC on
/// them, and removes the three variables from our environment so that no program we start believes they are its own.
/// The announced descriptors are ours from then on: call it before anything else opens one.
/// @return an empty list when LISTEN_PID is missing or names another process;
///         kInvalid: a number that is not one, a descriptor that is not an open listening stream socket
/// Source  sd_listen_fds(3)
os::Result<std::vector<Listener>> TakeListenFds();

/// Adds `listeners` (loans) to what a new program gets: descriptors 3..., LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID
/// (in place of those in `options.environment`).
/// `options.descriptors` must not use these numbers yet.
void GiveListenFds(const std::vector<Listener>& listeners, os::SpawnOptions& options);

}  // namespace handover
