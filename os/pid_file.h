#pragma once

#include <sys/types.h>

#include <filesystem>

#include "os/error.h"

namespace os {

/// Pid in the file. @return kNotFound: no file; kInvalid: it does not hold one positive number
Result<pid_t> ReadPidFile(const std::filesystem::path& path);

/// Writes "PID\n" (0644) by temporary file + rename: a reader sees the old pid or the new one, never half of one.
Status WritePidFile(const std::filesystem::path& path, pid_t pid);

/// Removes the file only while it holds `pid`; somebody else's file is left alone and counts as done.
/// Between the look and the removal a newcomer could rename its own file in place; so the file is renamed aside first
/// and looked at again: a stranger's content is put back.
Status RemovePidFile(const std::filesystem::path& path, pid_t pid);

}  // namespace os
