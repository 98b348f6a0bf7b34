#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "orchestrator/drivers/httpd.h"
#include "os/clock.h"
#include "os/error.h"

/// What ran here before, so that it can run again: binaries and configurations, kept beside the journal.
namespace orchestrator {

/// A kept version: manifest of one directory below <runtime_dir>/orchestrator/versions.
///
/// Files   <id>/manifest.json, the binary under its own name (0500), httpd.conf (0600, httpd's flattened
/// configuration).
///         The directory is 0700, made under a temporary name, synced and renamed: it is complete or not there.
/// Copies  the binary is a copy (reflink where the file system can), never a link to the installed file, which may be
///         written to in place once nobody runs it; versions with the same binary share one file.
/// Not     what the configuration points to: document roots, certificates, log programs, mime.types.
struct Version {
  std::string id;                         ///< 12 hex digits
  std::string version;                    ///< as the server calls itself
  std::string build_id;                   ///< the ELF note, hex; "" = the linker made none
  std::string sha256;                     ///< of the binary
  std::filesystem::path original_binary;  ///< what it was started from
  std::filesystem::path binary;           ///< the copy
  std::string server_root;
  std::string original_config;   ///< -f of the instance, absolute
  std::filesystem::path config;  ///< the copy; empty: the server wrote none down (a full disk, or a foreign server)
  std::string config_id;         ///< fingerprint that the server gave it; "" = none
  std::vector<std::string> arguments;    ///< the parent's, argv[0] included
  std::vector<std::string> environment;  ///< cleaned
  std::filesystem::path directory;       ///< working directory
  int64_t kept_at = 0;                   ///< unix seconds, of the last time it was seen running
};

/// Hex of the GNU build id note of an ELF file, "" when there is none. @return the errors of opening and reading
os::Result<std::string> BuildIdOf(const std::filesystem::path& binary);

/// SHA-256 of a file, hex.
os::Result<std::string> Sha256Of(const std::filesystem::path& file);

/// Bytes that KeepVersion() would have to copy for the process `pid`: 0 when its binary is kept already.
int64_t BytesToKeep(const std::filesystem::path& runtime_dir, pid_t pid);

/// Keeps what the process of `instance` runs: the very file that it was started from, though it may have been replaced
/// or deleted since, and the configuration that it wrote down when it read it. Nothing is copied twice. An instance
/// that was itself started from a kept version is that version.
/// @return what is kept; kNotFound: the process has ended; otherwise why it cannot be kept (no room, ...)
os::Result<Version> KeepVersion(const std::filesystem::path& runtime_dir, const httpd::Instance& instance,
                                const os::Clock& clock);

/// What KeepVersion() would keep, without keeping it: `id` tells whether it is one of the kept versions.
os::Result<Version> DescribeVersion(const std::filesystem::path& runtime_dir, const httpd::Instance& instance,
                                    const os::Clock& clock);

/// Every kept version, the one that ran last first. Incomplete directories are left out.
std::vector<Version> ListVersions(const std::filesystem::path& runtime_dir);

/// The kept version with this id, or with this version (the one that ran last of several).
/// @return kNotFound: one sentence that names what is kept
os::Result<Version> FindVersion(const std::filesystem::path& runtime_dir, std::string_view id_or_version);

/// The kept version that a path belongs to: an instance whose binary or configuration is a copy. @return kNotFound
os::Result<Version> VersionOfCopy(const std::filesystem::path& runtime_dir, const std::filesystem::path& path);

/// How to start `version` again, with `environment` and working directory of its own: the files that it was started
/// from where they still say the same, the copies otherwise.
///
/// Runs --run-config of the binary to compare the configurations.
/// @return kNotFound: neither is there any more
os::Result<httpd::Program> ProgramOfVersion(const Version& version, const std::vector<std::string>& environment);

/// Removes what is not needed any more: everything but the `most` versions that ran last, those named in `wanted`, and
/// those that a process still runs from.
void PruneVersions(const std::filesystem::path& runtime_dir, const std::vector<std::string>& wanted, size_t most = 6);

}  // namespace orchestrator
