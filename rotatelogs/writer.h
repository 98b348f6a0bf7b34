#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "os/clock.h"
#include "os/error.h"
#include "os/fd.h"
#include "rotatelogs/dropped.h"
#include "rotatelogs/policy.h"
#include "rotatelogs/rendezvous.h"

namespace rotatelogs {

/// Puts lines into the current segment of a target and rotates it, together with all other writers of that target.
///
/// Promise  a line handed to Put() is appended whole, by one write(2), to exactly one file, after all earlier lines of
/// this
///          writer; a rotation never falls into a line. Nothing that was written is truncated, except by -t, by -T and
///          by the ring, where that is what they are for; and a writer that starts never empties a file that another
///          fills.
/// Full     a disk that is full (or any other failing write) is waited for, with back-off: Put() blocks. With
///          OnFull::kDrop a full disk, a spent quota, a file size limit and a failing medium discard whole lines
///          instead. A line that was cut by a short write is finished later, never cut back: the file may have grown.
/// Lazy     nothing is created before the first Open() or Put().
/// Threads  one owner.
class Writer {
 public:
  using Say = std::function<void(std::string_view line)>;  ///< a line for stderr, without newline
  using Stopped = std::function<bool()>;                   ///< true: give up waiting (somebody wants us to end)

  Writer(const Settings& settings, os::Clock& clock, Say say, Stopped stopped);
  ~Writer();

  /// Meets the other writers and opens the current segment (-f); no effect when one is open. A full disk is waited for,
  /// or with OnFull::kDrop left to the first Put().
  /// An error is final: its `what` is the line to print before the program ends with status 2.
  os::Status Open();

  /// Writes whole lines. The last one may lack its newline: a piece of a line that is too long, or the end of the
  /// input.
  /// @return an error only where Open() has one, or when `stopped` ended a wait: the rest of `lines` is lost then
  os::Status Put(std::string_view lines);

  /// To be called while no input arrives: follows the rotations of others; rotates an interval that is over with -c,
  /// else lets go of its file, so that it can be sealed although nobody writes.
  os::Status Idle();

  /// Milliseconds until Idle() is worth calling; -1: never.
  int IdleTimeout() const;

  /// The process was replaced by a forked child: the lease must name it.
  void Forked();

  /// Other processes write to the same target right now.
  bool Shared() const;

  /// End of input: gives the segment and the lease back.
  void Close();

 private:
  struct Now {
    int64_t adjusted;
    int64_t offset;        ///< of `adjusted` from Unix time, seconds
    int64_t shown_offset;  ///< what %z shows
    std::string zone;
  };
  Now GetNow() const;
  bool Drops(int sys) const;
  os::Status Meet();
  os::Status OpenOrFail();
  os::Status TryOpen();
  os::Status OpenLocked();
  int64_t NewestOfRing() const;
  os::Status RotateLocked(Reason reason, bool alone);
  os::Status FollowLocked();
  os::Status CheckDue(bool force);
  void Adopt(os::Fd fd, const Segment& segment);
  void RunHooks(const Segment& segment);
  void Reap();
  os::Status MakeLink(const std::string& path);
  os::Status WriteFully(std::string_view data);
  void Shed(std::string_view data, size_t done, int sys);
  bool FinishTorn();
  void NoteDropped();
  bool Wait(std::chrono::milliseconds span);
  void CloseFile();
  std::string FullPath(const std::string& path) const { return place_.directory + path; }
  bool Blocked() const;

  const Settings& settings_;
  os::Clock& clock_;
  Say say_;
  Stopped stopped_;
  MeetingPlace place_;
  std::unique_ptr<Rendezvous> meeting_;
  os::Fd file_;
  Segment segment_;
  uint64_t epoch_ = 0;
  os::Clock::Steady blocked_until_{};
  std::string last_complaint_;
  bool mid_line_ = false;
  bool parked_ = false;
  Dropped dropped_;
  std::string torn_;  ///< OnFull::kDrop: a line of which only the first `torn_done_` bytes are in our file
  size_t torn_done_ = 0;
  int64_t torn_end_ = -1;   ///< size of the file after them; -1: cannot be said
  bool line_open_ = false;  ///< the last byte we wrote was no newline
  os::Clock::Steady note_again_{};
};

}  // namespace rotatelogs
