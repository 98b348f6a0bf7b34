// The compressing half of a Job.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "os/file.h"
#include "rotatelogs/compress.h"
#include "rotatelogs/fault.h"
#include "rotatelogs/identity.h"
#include "rotatelogs/job.h"

namespace rotatelogs {

using os::Error;
using os::ErrorKind;
using os::Result;
namespace fs = std::filesystem;

namespace {

/// Compresses, expands again, compares, takes over owner, mode and times. @return the copy's identity
Result<std::string> MakeCopy(Compression kind, const os::Fd& segment, const struct stat& status,
                             const std::string& sha256, const std::string& path, const std::stop_token& stop) {
  (void)os::RemoveFile(path).has_value();
  auto copy = os::Open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (!copy) return copy.error();
  const os::Fd& fd = copy.value();
  if (auto made = CompressTo(kind, segment, fd, stop); !made) return made.error();
  auto again = ReadCompressed(kind, fd, stop);
  if (!again) return again.error();
  if (again.value().sha256 != sha256) {
    return Error{ErrorKind::kIo, 0, "the compressed copy does not hold the bytes that were processed"};
  }
  if (::fchown(fd.get(), status.st_uid, status.st_gid) != 0 && ::geteuid() == 0) {
    const int sys = errno;
    return os::SysError(sys, "chown " + path);
  }
  ::fchmod(fd.get(), status.st_mode & 07777);
  const timespec times[2] = {status.st_atim, status.st_mtim};
  ::futimens(fd.get(), times);
  return IdentityOf(fd.get());
}

}  // namespace

bool Job::WantsCopy() const {
  return run_.options.compress != Compression::kNone && segment_.valid();
}

std::string Job::TemporaryCopy() const {
  const fs::path path(path_);
  return (path.parent_path() / ("." + path.filename().string() + "." + id_.substr(0, 8) + ".ztmp")).string();
}

void Job::PlanCopy() {
  copying_ = true;
  record_.temporary = TemporaryCopy();
  Save(Stage::kPlanning);
}

void Job::StartCopy() {
  const std::string suffix = CompressionSuffix(run_.options.compress);
  record_.archive = path_ + suffix;
  // A copy without a note in this ledger's "archive" is one of the first release, which died before it removed the
  // original.
  if (!record_.archive_id.empty() && IdentityAt(record_.archive) == record_.archive_id) {
    record_.state = State::kArchiving;
    return Save(Stage::kArchiving);
  }
  std::error_code none;
  if (fs::exists(fs::symlink_status(record_.archive, none))) {
    // The copy of another segment that had the same name: in a ring, each round has one.
    record_.archive = path_ + "." + id_.substr(0, 8) + suffix;
  }
  stage_ = Stage::kCopying;
  auto copied = std::make_shared<std::optional<Result<std::string>>>();
  run_.workers.Post(
      [this, copied](const std::stop_token& stop) {
        *copied = MakeCopy(run_.options.compress, segment_, status_, record_.sha256, record_.temporary, stop);
      },
      [this, copied] {
        const Result<std::string>& copy = **copied;
        if (!copy) return CopyFailed(copy.error().Text());
        FaultPoint(Step::kCopied, run_.groups);
        record_.archive_id = copy.value();
        record_.state = State::kArchiving;
        Save(Stage::kArchiving);
      });
}

/// The copy is whole, verified and on disk, under its temporary name or its own; its identity tells which.
void Job::RenameArchive() {
  stage_ = Stage::kArchiving;
  if (IdentityAt(record_.archive) != record_.archive_id &&
      ::renameat2(AT_FDCWD, record_.temporary.c_str(), AT_FDCWD, record_.archive.c_str(), RENAME_NOREPLACE) != 0) {
    const int sys = errno;
    return CopyFailed(os::SysError(sys, "rename " + record_.temporary + " to " + record_.archive).Text());
  }
  directory_ = fs::path(record_.archive).parent_path();
  run_.unsynced.push_back(this);
}

/// The segment stays as it is: done.
void Job::CopyFailed(const std::string& why) {
  copying_ = false;
  DropTemporary();
  record_.state = State::kDone;
  record_.archive.clear();
  record_.archive_id.clear();
  if (!interrupted_) {
    run_.report.Complain(path_ + ": " + why + ": kept as it is");
    ++run_.counters.failed;
  }
  Save(Stage::kNoting);
}

}  // namespace rotatelogs
