#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "os/error.h"
#include "os/fd.h"

namespace os {

/// open(2) with O_CLOEXEC added. `mode` is used with O_CREAT, subject to the umask.
/// @return the kinds of SysError(); `what` is "open PATH"
Result<Fd> Open(const std::filesystem::path& path, int flags, mode_t mode = 0666);

/// Reads a whole file. @param max_bytes  a longer file is kInvalid ("... is larger than N bytes")
Result<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes = 64U << 20);

/// Writes all of `data`; retries EINTR and short writes. Blocks as write(2) does; EAGAIN is an error (kBusy).
Status WriteAll(const Fd& fd, std::string_view data);

/// close(2) whose error is kept. Afterwards `fd` is invalid whatever the outcome.
Status CloseChecked(Fd& fd);

/// fsync(2) of a directory: makes renames and creations in it durable.
Status SyncDirectory(const std::filesystem::path& directory);

/// Durable replace: temporary file in the same directory, write, fsync, checked close, rename, fsync of the directory.
/// After a crash at any moment `path` holds either the old or the new content, never a mixture. Leaves no temporary
/// file on failure. A crash may leave one named `.<name>.XXXXXX`; where the file system has files without a name (see
/// O_TMPFILE in open(2)) only one between the link and the rename, with all of its content.
/// @param mode  permission bits of the new file, not subject to the umask
Status ReplaceFile(const std::filesystem::path& path, std::string_view content, mode_t mode);

/// Creates `path` and missing parents with `mode`; an existing directory is left as it is.
Status MakeDirectories(const std::filesystem::path& path, mode_t mode = 0755);

/// unlink(2); a file that is not there counts as done.
Status RemoveFile(const std::filesystem::path& path);

/// Names in a directory, "." and ".." left out, unsorted.
Result<std::vector<std::string>> ListDirectory(const std::filesystem::path& directory);

}  // namespace os
