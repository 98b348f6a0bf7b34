#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/clock.h"
#include "os/error.h"
#include "os/fd.h"
#include "os/process.h"
#include "rotatelogs/ledger.h"
#include "rotatelogs/rendezvous.h"

namespace rotatelogs {

enum class Compression { kNone, kZstd, kGzip };

/// What `processlogs run` is asked to do.
struct RunOptions {
  std::filesystem::path ledger;
  std::filesystem::path out;  ///< empty: the command writes to our stdout
  std::chrono::seconds min_age{0};
  int64_t attempts = 5;
  std::chrono::seconds timeout{0};  ///< 0: none
  Compression compress = Compression::kNone;
  bool dry_run = false;
  bool json = false;
  std::vector<std::string> patterns;
  std::vector<std::string> command;  ///< may be empty: compress only
};

/// What a file is, whatever it is called: file system, inode and birth time (modification time and size where the file
/// system knows no birth). A renamed segment keeps it, a reused inode does not inherit it. 32 hexadecimal digits.
std::string IdentityOf(int fd);

/// A process that has a file open.
struct Holder {
  pid_t pid = 0;
  std::string program;
  bool writes = false;
  int64_t since = 0;  ///< Unix time its process began
};

/// Everyone who has the file open, from /proc; as root all, else only our own processes.
std::vector<Holder> HoldersOf(uint64_t device, uint64_t inode);

/// Whether nobody can write to a segment any more.
struct Seal {
  bool sealed = false;
  bool certain = false;  ///< the kernel said so; false: only nobody was seen (a file system without leases)
  std::string reason;    ///< why not sealed: a clause such as "process 12 (rotatelogs) logs to it"
};

/// Asks for a seal. Nothing is changed, except that with `mark` a segment that rotatelogs wrote loses its write
/// permission, so that no writer takes it up again (writers look; even root's). Sealed is: not what a rendezvous calls
/// current, no living lease names it, flock(LOCK_EX) and F_SETLEASE(F_RDLCK) succeed. The lease is given back at once:
/// an opener would wait for it otherwise.
/// @param min_age  of the last change; required to be positive where leases do not work
Seal TrySeal(const std::filesystem::path& segment, const os::Fd& fd, std::chrono::seconds min_age,
             const os::Clock& clock, bool mark);

/// Runs the command once for each sealed segment.
/// @param say  lines for stdout (plain or JSON); @param complain  for stderr
/// @return exit status: 0, 1 something failed (and will be tried again, or was quarantined), 3 the ledger cannot be
/// used
int RunProcesslogs(const RunOptions& options, os::Clock& clock, const std::function<void(std::string_view)>& say,
                   const std::function<void(std::string_view)>& complain);

/// `status`, `why SEGMENT`, `retry SEGMENT...`. @return exit status: 0, 1 no such segment, 3 ledger
int ShowStatus(const std::filesystem::path& ledger, bool json, const std::function<void(std::string_view)>& say,
               const std::function<void(std::string_view)>& complain);
int ShowWhy(const std::filesystem::path& ledger, const std::filesystem::path& segment, os::Clock& clock,
            const std::function<void(std::string_view)>& say, const std::function<void(std::string_view)>& complain);
int Retry(const std::filesystem::path& ledger, const std::vector<std::string>& segments,
          const std::function<void(std::string_view)>& say, const std::function<void(std::string_view)>& complain);

}  // namespace rotatelogs
