#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/clock.h"
#include "os/error.h"
#include "os/fd.h"
#include "rotatelogs/dropped.h"
#include "rotatelogs/policy.h"
#include "rotatelogs/rendezvous.h"
#include "rotatelogs/spool.h"

namespace rotatelogs {

/// Puts lines into the current segment of a target and rotates it, together with all other writers of that target.
///
/// Promise  a line handed to Put() is appended whole, by one write(2), to exactly one file, after all earlier lines of
///          this writer; a rotation never falls into a line. Nothing that was written is truncated, except by -t, by -T
///          and by the ring, where that is what they are for; and a writer that starts never empties a file that
///          another fills.
/// Kill     what was read waits in the spool (Input()) until it is in a file. The next writer that looks (a successor
/// on
///          the same pipe, or any other of the target) finds out how far a killed one came, completes a line that is
///          torn, and writes the whole lines that are missing, once. An unfinished line goes to the successor; when
///          none has come after 10 s it is written with a newline.
/// Turns    one writer of a target writes at a time, by a word in shared memory: so a torn line is the last of its
///          file until somebody completes it. A writer that keeps its turn for seconds (it was stopped) is passed by.
/// Full     a disk that is full (or any other failing write) is waited for, with back-off: Put() blocks. With
///          OnFull::kDrop a full disk, a spent quota, a file size limit and a failing medium discard whole lines
///          instead. A line that was cut by a short write is finished later, never cut back: the file may have grown.
/// Lazy     nothing is created before the first Open() or Put().
/// Threads  one owner.
class Writer {
 public:
  using Say = std::function<void(std::string_view line)>;  ///< a line for stderr, without newline
  using Stopped = std::function<bool()>;                   ///< true: give up waiting (somebody wants us to end)

  /// @param input  the pipe that is read; zeros: nobody else can read on where we end
  Writer(const Settings& settings, os::Clock& clock, InputId input, Say say, Stopped stopped);
  ~Writer();

  /// Meets the other writers and makes the spool, before the first byte is read; no effect later. Errors as Open().
  os::Status Join();
  bool Joined() const { return meeting_ != nullptr; }

  /// At start: if writers were killed and nobody has taken over yet, does so. Makes nothing otherwise.
  void TakeOver();

  /// Where input is to be read into, once joined. Lines for Put() must lie in it. Valid until the next call.
  Spool& Input();

  /// Meets the other writers and opens the current segment (-f); no effect when one is open. A full disk is waited for,
  /// or with OnFull::kDrop left to the first Put().
  /// An error is final: its `what` is the line to print before the program ends with status 2.
  os::Status Open();

  /// Writes whole lines. The last one may lack its newline: a piece of a line that is too long, or the end of the
  /// input.
  /// @param lines  the beginning of Input().Waiting()
  /// @return an error only where Open() has one, or when `stopped` ended a wait: the rest waits in the spool, if that
  /// is a
  ///         file, for the next writer of this target
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
  };
  Now GetNow() const;
  bool Drops(int sys) const;
  std::string Zone() const;
  os::Status Meet();
  os::Status OpenOrFail();
  os::Status MeetAgain();
  os::Status TryOpen();
  os::Status CheckDue(bool force);
  os::Status WriteFully(std::string_view data);
  bool Wait(std::chrono::milliseconds span);
  void CloseFile();
  bool LookDue() const { return clock_.SteadyNow() >= look_at_; }
  std::string FullPath(const std::string& path) const { return place_.directory + path; }
  bool Blocked() const;

  // rotation.cc
  static constexpr std::chrono::seconds kRetryRotation{1};
  os::Status OpenLocked();
  int64_t NewestOfRing() const;
  os::Status FollowLocked();
  void Adopt(os::Fd fd, const Segment& segment);
  os::Status RotateLocked(Reason reason, bool alone);
  void RunHooks(const Segment& segment);
  void Reap();
  os::Status MakeLink(const std::string& path);

  // shed.cc
  void Shed(std::string_view data, size_t done, int sys);
  bool FinishTorn();
  void NoteDropped();

  // takeover.cc
  enum class Locked { kNo, kYes };  ///< whether the caller holds the lock of the rendezvous
  os::Status MakeSpool();
  bool Continue();
  void Announce(Spool& spool, std::string_view bytes, Locked locked);
  void TakeTurn(Locked locked);
  bool FreeTurn(uint64_t holder, Locked locked);
  void EndTurn();
  uint64_t NextTurn();
  void ResolveOrphans();
  void Resolve(Spool& spool);
  void WriteOrphans();
  bool WriteOut(Spool& spool);

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
  const InputId input_;
  std::unique_ptr<Spool> spool_;
  std::vector<std::unique_ptr<Spool>> orphans_;  ///< resolved; only while the lock is held
  uint32_t id_ = 0;
  uint32_t turns_ = 0;
  uint64_t turn_ = 0;          ///< what we put there; 0: it is not ours
  uint64_t ignored_turn_ = 0;  ///< of a writer that does not end it
  bool check_end_ = false;     ///< the file may end in a piece of somebody's line
  bool continued_ = false;     ///< we began with the spool of a predecessor
  bool renew_spool_ = false;   ///< its directory has gone
  bool rests_wait_ = false;    ///< an unfinished line of a killed writer waits for its successor
  os::Clock::Steady look_at_{};

  bool continuing_ = false;
  bool mid_line_ = false;
  bool parked_ = false;
  Dropped dropped_;
  std::string torn_;  ///< OnFull::kDrop: a line of which only the first `torn_done_` bytes are in our file
  size_t torn_done_ = 0;
  int64_t torn_end_ = -1;   ///< size of the file after them; -1: cannot be said
  bool unmet_ = false;      ///< OnFull::kDrop: `meeting_` is a stand-in
  bool line_open_ = false;  ///< the last byte we wrote was no newline
  os::Clock::Steady note_again_{};
};

/// Sealed files have lost their write permission (processlogs): never append to one, root could.
bool IsSealed(const std::string& path);
/// The last byte of a file of `size` bytes is no newline.
bool EndsInMidLine(const std::string& path, int64_t size);
/// Opens for appending; retries EINTR. errno is left for the caller: EAGAIN is a FIFO that nobody reads, which must not
/// be waited for under the lock.
os::Fd OpenAppend(const std::string& path, int flags);

}  // namespace rotatelogs
