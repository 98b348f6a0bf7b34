#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "handover/instance_files.h"
#include "os/clock.h"
#include "os/error.h"
#include "os/lock_file.h"

namespace httpd::process {

using handover::ControlPath;
using handover::LockPath;
using handover::PidOfLock;
using handover::PrivatePath;

/// This instance's lock in `runtime_dir` (created 0700 when missing). While any process of the instance lives the lock
/// is held; a free lock is the proof that all of them are dead. Leftovers of dead instances are removed on the way.
/// @return kDenied: not allowed to write there; the sentence names the directory
os::Result<os::LockFile> ClaimRuntimeDir(const std::string& runtime_dir, os::Clock& clock);

/// Removes what dead instances left in `runtime_dir`.
/// @return false: an instance is there whose parent is dead and whose last processes are just leaving; try again soon
bool RemoveLeftovers(const std::string& runtime_dir, os::Clock& clock);

/// Writes `text` (config::Flatten) to httpd.<pid>.conf, 0600, for who keeps a copy of what runs: the files that it was
/// read from may be edited at any time. A reader sees the old text or the new one; it is not synced, as it says nothing
/// once the instance has gone.
os::Status WriteEffectiveConfig(const std::string& runtime_dir, pid_t pid, const std::string& text);

/// 32 random bytes that all instances with this runtime directory share: httpd.secret, 0600, made by the first that
/// wants it and never removed. Signatures that one instance makes (nonces of Digest authentication) hold for the next;
/// without the file, or with a new one, clients sign again without asking their users.
/// Race     two that make it at once: both get what the first one wrote
/// @return kDenied, kIo: cannot be read or made
os::Result<std::string> SharedSecret(const std::string& runtime_dir);

/// Pid in `pid_file` when it names a running server: its instance lock is held, or, for a server with another runtime
/// directory, a live process of the same program. 0 otherwise: no file, no such process, another program, a zombie.
/// @return kInvalid: the file cannot be understood (AH00058)
os::Result<pid_t> RunningServer(const std::string& pid_file, const std::string& runtime_dir, os::Clock& clock);

}  // namespace httpd::process
