#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/error.h"
#include "os/fd.h"
#include "os/process.h"
#include "rotatelogs/names.h"

namespace rotatelogs {

/// The file that the writers of a target append to.
struct Segment {
  std::string path;      ///< relative to MeetingPlace::directory, so that writers with other working directories agree
  std::string previous;  ///< the one before it, same base; empty: none
  int64_t interval_end = 0;  ///< adjusted seconds; 0 without rotation by time
  int64_t reopen_until = 0;  ///< Unix time until which a writer that starts may open `path` again; kForEver
  int64_t ring_index = 0;
  uint64_t device = 0;
  uint64_t inode = 0;
  static constexpr int64_t kForEver = INT64_MAX;
};

/// Where the writers of one target agree on the current segment: a directory `.<name>.rotate` beside the log.
///
/// Files    `lock`    flock()ed for every change; never renamed or unlinked.
///          `state`   mapped by every writer: an epoch and two slots. A change fills the slot that is not current, then
///                    moves the epoch, so a writer that is killed at any instruction leaves the old or the new state.
///          `writer.<pid>.<start>`  one lease per writer, flock()ed while it (or a child that drains its pipe) lives.
///                    Lock free = the writer is gone; pid, start time and boot id inside are for people.
///          `spool.<pid>.<start>`   what that writer has read and not yet written (Spool).
///          `link`    with -L, for a moment: another name of the segment that becomes the link (Writer::MakeLink()).
/// Crash    the kernel frees the locks; leases of the dead are removed by the next writer that joins or rotates.
/// Fork     locks and mapping are shared with a forked child. Everything is O_CLOEXEC.
/// Owner    directory 0700. One that belongs to another user is refused: its owner could make us write anywhere.
/// Where    local file systems (flock and shared mappings must be coherent); Local() says what statfs thinks.
class Rendezvous {
 public:
  /// Creates what is missing, maps the state, takes a lease. The directory of `place` must exist.
  /// @return kInvalid  it belongs to another user, or another release made it: `what` is a whole sentence
  ///         kDenied, kNotFound, kIo  it cannot be made here: the caller may go on alone (Alone())
  static os::Result<std::unique_ptr<Rendezvous>> Join(const MeetingPlace& place);

  /// The same interface with nobody to meet: memory of this process, locks that always succeed.
  static std::unique_ptr<Rendezvous> Alone();

  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;
  ~Rendezvous();  ///< leaves everything on disk but frees the locks; see Leave()

  /// Number of the current segment; 0: there was none yet. A load from memory: free of system calls.
  uint64_t Epoch() const;

  /// Bytes that all writers together have put into the segment of `epoch`.
  uint64_t Bytes(uint64_t epoch) const;
  void SetBytes(uint64_t epoch, uint64_t bytes);
  /// Adds `bytes` if the count still is `expected`. False: another writer was faster.
  bool Reserve(uint64_t epoch, uint64_t expected, uint64_t bytes);

  /// How many writers were seen at the last count; 1: only this one.
  uint32_t Writers() const;

  /// A number for a writer of this target that no other has; never 0.
  uint32_t NewId();

  /// Whose turn it is to write: 0 nobody's, else what TakeTurn() put there. A load from memory.
  uint64_t Turn() const;
  /// Puts `to` there if it is `from`. @return false: it was something else
  bool PassTurn(uint64_t from, uint64_t to);

  /// Takes the lock. Blocks at most `patience` (a stopped process may hold it). False: not obtained.
  bool Lock(std::chrono::milliseconds patience);
  void Unlock();

  // With the lock held:
  std::optional<Segment> Current() const;  ///< nullopt: none yet, or damaged by a power failure
  void Publish(const Segment& segment);  ///< becomes the current segment of epoch + 1; its byte count must be set first
  uint64_t HooksDone() const;            ///< last epoch whose link and program were taken care of
  void SetHooksDone(uint64_t epoch);
  void CountWriters();  ///< looks at all leases and removes those of the dead
  /// Writes pid and segment into our lease. @param segment  empty: we hold no file at the moment
  void UpdateLease(const std::string& segment, uint64_t device, uint64_t inode);
  /// What our next UpdateLease() says about lines that --on-full=drop has discarded.
  void SetDropped(uint64_t lines, uint64_t bytes) { dropped_lines_ = lines, dropped_bytes_ = bytes; }
  void Leave();                                 ///< removes our lease
  std::vector<std::string> SpoolNames() const;  ///< of all writers, living or not; also without the lock

  const os::Fd& Directory() const { return directory_; }  ///< not valid with Alone()
  /// What our spool is to be called.
  std::string OwnSpoolName() const { return SpoolName(lease_name_); }

  bool Gone() const;   ///< somebody removed the directory: writers that start now would not meet us
  bool Local() const;  ///< false: a network or user-space file system, where nothing can be promised

 private:
  struct Shared;
  Rendezvous() = default;

  os::Fd directory_;
  os::Fd lock_;
  os::Fd lease_;
  std::string lease_name_;
  Shared* shared_ = nullptr;
  bool alone_ = false;
  bool local_ = true;
  int64_t since_ = 0;   ///< Unix time of Join()
  pid_t parent_ = 0;    ///< at Join(): a child that drains our pipe outlives it
  std::string server_;  ///< its program
  uint64_t dropped_lines_ = 0;
  uint64_t dropped_bytes_ = 0;
};

/// Whether a writer was killed and left bytes that nobody has taken over yet. Makes nothing. Blocks at most a second.
bool HasOrphans(const MeetingPlace& place);

/// False for network, cluster and user-space file systems: files there have writers that this kernel never sees
/// (another machine, the program behind FUSE). True when the kernel does not say what it is.
bool IsLocalFileSystem(int fd);

/// What a process that does not log sees of a rendezvous: for sealing and for `status`.
struct LeaseView {
  os::ProcessId writer;
  pid_t parent = 0;    ///< the process that started the writer; it may have ended
  std::string server;  ///< its program; empty: not known
  bool draining = false;
  int64_t since = 0;  ///< Unix time at which it joined
  uint64_t dropped_lines = 0;
  uint64_t dropped_bytes = 0;
  std::string segment;
  uint64_t device = 0;
  uint64_t inode = 0;
};
struct RendezvousView {
  os::Fd lock;  ///< held shared while this object lives: no segment changes, no writer joins or leaves
  std::optional<Segment> current;
  std::vector<LeaseView> writers;  ///< the living ones
};

/// Looks without changing anything. Blocks at most `patience` for the lock (kBusy).
/// kNotFound: no rendezvous here. kInvalid: it belongs to another user and we are not root.
os::Result<RendezvousView> Look(const std::filesystem::path& rendezvous, std::chrono::milliseconds patience);

}  // namespace rotatelogs
