#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "httpd/log/error_log.h"
#include "httpd/modules/site.h"
#include "httpd/net/event_loop.h"
#include "httpd/net/scoreboard.h"
#include "os/fd.h"

namespace httpd::process {

/// Who the workers run as. Unset members: as the parent.
struct Identity {
  std::string user_name;  ///< for the supplementary groups
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
};

/// What a child gets from its parent by fork. Everything is a loan but `channel`.
struct ChildSetup {
  const modules::Site* site = nullptr;
  net::Scoreboard* board = nullptr;
  const log::ErrorLog* error_log = nullptr;
  std::vector<size_t> slots;  ///< one scoreboard row for each loop
  std::vector<net::ListenSource> listeners;
  int intake_read = -1;
  int intake_write = -1;
  os::Fd channel;         ///< to the parent, SOCK_SEQPACKET
  int error_fd = -1;      ///< becomes stderr; -1 = /dev/null
  std::vector<int> keep;  ///< further descriptors to keep open (logs, instance lock)
  Identity identity;
  std::string working_directory;  ///< CoreDumpDirectory; "" = as the parent
  bool accepting = true;
  size_t max_held_per_loop = 0;  ///< connections
  uint32_t max_busy_per_loop = 2048;
  uint64_t max_connections_per_loop = 0;
};

/// The life of a child after fork: closes what is not its own, drops privileges, runs its loops, obeys its parent:
///
///     accept ON=0|1            answered with `accepting ON=...` when every loop has done it
///     drain PASS=none|own|descriptor INTAKE=0|1 PRIVATE=0|1
///     stop [CUT=1]             end now; requests in progress are cut. CUT: the deadline says so; each is named in the
///                              error log and, when a descriptor came along, in the cut list that it is
///
/// and says `ready` when it answers, `recycle` when MaxConnectionsPerChild is reached. When the channel closes the
/// parent is dead: listeners are closed at once, requests in progress get 0.5 s.
/// @return exit status: 0, or 2 when it could not start (said in the error log)
int RunChild(ChildSetup setup);

}  // namespace httpd::process
