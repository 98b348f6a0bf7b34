#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "os/error.h"
#include "os/fd.h"

namespace rotatelogs {

/// Which pipe (or file, or socket) a writer reads from. Two writers of one pipe continue each other's lines.
struct InputId {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const InputId&) const = default;
};

/// A write that was announced and may have happened, in part or not at all.
struct Intent {
  std::string path;     ///< of the segment, relative to MeetingPlace::directory
  uint64_t device = 0;  ///< of the segment
  uint64_t inode = 0;
  uint64_t size = 0;       ///< of the segment just before the write
  std::string_view bytes;  ///< what was to be appended; a loan of the spool
};

/// Where a writer keeps what it has read and not yet written: a file in the rendezvous, mapped shared, into which
/// read(2) puts the bytes. They outlive the process, and cost no system call.
///
/// Layout   a header, then bytes [begin, end) that wait. After a kill inside read(2) nobody knows how much it brought:
///          before a read of unknown length everything behind `end` is made zero, so that the last byte that is not
///          tells; before a large one, whose length the pipe has told, only the last bytes are. (So a kill there can
///          lose NUL bytes at the end of an unfinished line. Whole lines end in a newline.)
/// Crash    every change is one store: at any instruction the file says which bytes wait, and which write of them was
///          announced and not yet confirmed (Pending()). Not for power failures: spools of another boot are not
///          believed.
/// Owner    flock()ed by the writer while it (or a child that drains its pipe) lives; lock free = anybody may take the
///          bytes over. Whoever holds the lock may call everything.
/// Disk     all blocks are allocated first: a store into a hole on a full disk would be SIGBUS.
/// Source   flock(2), mmap(2) MAP_SHARED, posix_fallocate(3)
class Spool {
 public:
  static constexpr size_t kReadBytes = size_t{256} << 10;  ///< more would not fit into the processor's caches
  static constexpr size_t kCapacity = (size_t{2} << 20) + kReadBytes;

  /// Memory of this process only: what it holds dies with it. Nullptr: no memory.
  static std::unique_ptr<Spool> InMemory();

  /// A new file `name` in `directory`. @param id  the writer's, see Rendezvous::NewId()
  /// @return the error of the step that failed; nothing is left behind then
  static os::Result<std::unique_ptr<Spool>> Create(const os::Fd& directory, const std::string& name, InputId input,
                                                   uint32_t id);

  /// Takes over the spool of a writer that is gone. To be called with the rendezvous locked.
  /// @return kBusy  it lives; kNotFound: there is nothing in it, its making was not finished;
  ///         kInvalid  of another boot or release, or damaged: nothing in it can be used
  static os::Result<std::unique_ptr<Spool>> TakeOver(const os::Fd& directory, const std::string& name);

  /// True when a file in `directory` is a spool that nobody owns. To be called with the rendezvous locked (shared).
  static bool IsOrphan(const os::Fd& directory, const std::string& name);

  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;
  ~Spool();  ///< leaves the file and frees the lock

  const std::string& name() const { return name_; }  ///< empty: in memory
  InputId input() const;
  uint32_t id() const;

  /// What the header of a spool says, whoever owns it; nullopt: it cannot be read.
  struct Label {
    InputId input;
    uint32_t id;
  };
  static std::optional<Label> ReadLabel(const os::Fd& directory, const std::string& name);

  /// Makes a spool that was taken over ours: continues under our name, and we under its id.
  os::Status Rename(const os::Fd& directory, const std::string& name);
  void Remove(const os::Fd& directory);

  std::string_view Waiting() const;  ///< [begin, end)

  /// Room for a read. Filled() must follow; views from Waiting() end here.
  /// @param expected  the read will bring exactly so much, at most kReadBytes; 0: not known, up to kReadBytes
  char* Room(size_t expected = 0);
  void Filled(size_t count);  ///< how much came; 0: nothing

  void Append(std::string_view bytes);  ///< behind the waiting bytes; at most kReadBytes between two calls of Room()

  /// Names the segment of the announcements that follow.
  void SetSegment(const std::string& path, uint64_t device, uint64_t inode);
  bool HasSegment(uint64_t device, uint64_t inode) const;

  /// The write of `bytes` (a part of Waiting(); what is before it is done) to a segment of `size` bytes is about to
  /// begin.
  void Announce(std::string_view bytes, uint64_t size);
  /// What waits before `end` is done with; no announcement is open now.
  void DoneUpTo(const char* end);

  std::optional<Intent> Announced() const;

  /// When it was first seen without an owner, with an unfinished line; milliseconds of the steady clock; 0: not yet.
  int64_t OrphanedAt() const;
  void SetOrphanedAt(int64_t when);

 private:
  struct Header;
  Spool() = default;
  static os::Result<std::unique_ptr<Spool>> Map(os::Fd file, const std::string& name);
  void Zero(size_t from, size_t to);
  size_t Begin() const;
  size_t End() const;
  void SetRange(size_t begin, size_t end, bool reading);

  os::Fd file_;
  std::string name_;
  size_t clean_ = 0;  ///< from here on the data are zero
  Header* header_ = nullptr;
  char* data_ = nullptr;
};

}  // namespace rotatelogs
