#include "rotatelogs/writer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "os/file.h"
#include "rotatelogs/kill_point.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::Error;
using os::ErrorKind;
using os::kDone;
using os::Status;

namespace {

constexpr auto kLockPatience = 2s;
constexpr auto kLookAround = 10s;  // for writers that were killed, for a rendezvous that was removed

std::string Strerror(int sys) {
  return std::strerror(sys);
}

bool IsFull(int sys) {
  return sys == ENOSPC || sys == EDQUOT;
}

}  // namespace

Writer::Writer(const Settings& settings, os::Clock& clock, InputId input, Say say, Stopped stopped)
    : settings_(settings),
      clock_(clock),
      say_(std::move(say)),
      stopped_(std::move(stopped)),
      place_(MeetingPlaceOf(settings.file)),
      input_(input),
      dropped_(clock, say_) {}

Writer::~Writer() = default;

Writer::Now Writer::GetNow() const {
  const time_t now = std::chrono::system_clock::to_time_t(clock_.WallNow());
  // Apache's names: %z knows only -l.
  if (!settings_.local_time) return {now + settings_.utc_offset, settings_.utc_offset, 0};
  tm fields{};
  ::localtime_r(&now, &fields);  // asked each time: the offset changes with daylight saving
  return {now + fields.tm_gmtoff, fields.tm_gmtoff, fields.tm_gmtoff};
}

/// %Z is the zone of the process even where the time is not.
std::string Writer::Zone() const {
  if (!settings_.local_time) return (::tzset(), ::tzname[0]);
  const time_t now = std::chrono::system_clock::to_time_t(clock_.WallNow());
  tm fields{};
  return ::localtime_r(&now, &fields)->tm_zone;
}

bool Writer::Wait(std::chrono::milliseconds span) {
  if (stopped_()) return false;
  clock_.Sleep(span);
  return !stopped_();
}

bool Writer::Blocked() const {
  return clock_.SteadyNow() < blocked_until_;
}

bool Writer::Shared() const {
  return meeting_ && meeting_->Writers() > 1;
}

/// Enters the rendezvous. Without one (no permission to make it, say) we go on alone, as Apache does.
Status Writer::Meet() {
  if (settings_.make_directories && !place_.directory.empty()) {
    std::string shown = place_.directory;
    if (shown.size() > 1) shown.pop_back();
    if (auto made = os::MakeDirectories(shown); !made) {
      return Error{made.error().kind, made.error().sys,
                   "Could not create directory '" + shown + "' (" + Strerror(made.error().sys) + ")"};
    }
  }
  for (auto pause = 50ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 2s)) {
    auto joined = Rendezvous::Join(place_);
    if (joined) {
      meeting_ = std::move(joined).value();
      last_complaint_.clear();
      if (!meeting_->Local()) {
        say_("rotatelogs: " + place_.Path() + " is not on a local file system: several writers cannot be promised");
      }
      return MakeSpool();
    }
    const Error& error = joined.error();
    if (error.kind == ErrorKind::kInvalid && error.sys == 0) return Error{error.kind, 0, "rotatelogs: " + error.what};
    const bool full = IsFull(error.sys);
    if (full && Drops(error.sys)) {
      // Input must have a place to go to, if only to be dropped. OpenOrFail() tries to meet the others again.
      unmet_ = true;
      meeting_ = Rendezvous::Alone();
      if (!meeting_) return Error{ErrorKind::kIo, ENOMEM, "rotatelogs: no memory"};
      return MakeSpool();
    }
    if (!full && error.kind != ErrorKind::kBusy) {
      if (error.kind != ErrorKind::kNotFound) {
        say_("rotatelogs: " + error.Text() + ": going on without other writers");
      }
      meeting_ = Rendezvous::Alone();
      if (!meeting_) return Error{ErrorKind::kIo, ENOMEM, "rotatelogs: no memory"};
      return MakeSpool();
    }
    if (last_complaint_.empty()) {
      last_complaint_ = error.Text();
      say_("rotatelogs: " + last_complaint_ + ": waiting");
    }
    if (!Wait(pause)) return Error{error.kind, 0, "rotatelogs: stopped while waiting to " + error.Text()};
  }
}

Status Writer::Join() {
  return meeting_ ? Status(kDone) : Meet();
}

Status Writer::Open() {
  auto opened = OpenOrFail();
  if (!opened && Drops(opened.error().sys)) return kDone;
  return opened;
}

Status Writer::OpenOrFail() {
  if (file_.valid()) return kDone;
  for (;;) {
    auto opened = unmet_ ? MeetAgain() : Join();
    if (opened) opened = TryOpen();
    if (opened || Drops(opened.error().sys)) return opened;
    // We had a file and let go of it: from then on a failure is no reason to end. Neither is what may pass.
    const int sys = opened.error().sys;
    if (!parked_ && !IsFull(sys) && sys != EAGAIN) return opened;
    if (last_complaint_ != opened.error().what) say_(opened.error().what + ": waiting");
    last_complaint_ = opened.error().what;
    if (!Wait(500ms)) return opened;
  }
}

/// When the disk was too full to meet the others. An error: it still is.
Status Writer::MeetAgain() {
  auto joined = Rendezvous::Join(place_);
  if (!joined && IsFull(joined.error().sys)) return joined.error();
  unmet_ = false;
  if (!joined) return kDone;
  meeting_ = std::move(joined).value();
  renew_spool_ = true;
  return kDone;
}

Status Writer::TryOpen() {
  while (!meeting_->Lock(10s)) {
    say_("rotatelogs: " + place_.Path() + "/lock is held by a process that does not let go: waiting");
    if (!Wait(0ms))
      return Error{ErrorKind::kBusy, 0, "rotatelogs: stopped while waiting for " + place_.Path() + "/lock"};
  }
  auto opened = OpenLocked();
  meeting_->Unlock();
  return opened;
}

/// Looks again under the lock and rotates or follows.
Status Writer::CheckDue(bool force) {
  if (Blocked() && !force) return kDone;
  if (!meeting_->Lock(kLockPatience)) {
    const std::string text = "rotatelogs: " + place_.Path() + "/lock is held by a process that does not let go";
    if (last_complaint_ != text) say_(text + ": going on with " + FullPath(segment_.path));
    last_complaint_ = text;
    blocked_until_ = clock_.SteadyNow() + kRetryRotation;
    return kDone;
  }
  Status out = kDone;
  if (meeting_->Gone()) {
    // Our directory was removed. Writers that start now meet in a new one: so do we, if it can be made.
    meeting_->Unlock();
    if (settings_.make_directories)
      (void)os::MakeDirectories(place_.directory.empty() ? "." : place_.directory).has_value();
    auto joined = Rendezvous::Join(place_);
    if (!joined) {
      if (last_complaint_ != joined.error().what) say_("rotatelogs: " + joined.error().Text());
      last_complaint_ = joined.error().what;
      blocked_until_ = clock_.SteadyNow() + kRetryRotation;
      return kDone;
    }
    meeting_ = std::move(joined).value();
    epoch_ = 0;
    renew_spool_ = true;
    if (!meeting_->Lock(kLockPatience)) return kDone;
    out = meeting_->Current() ? FollowLocked() : RotateLocked(Reason::kForced, false);
    meeting_->Unlock();
    return out;
  }
  if (LookDue()) meeting_->CountWriters();
  look_at_ = clock_.SteadyNow() + kLookAround;
  ResolveOrphans();
  if (meeting_->Epoch() != epoch_) {
    out = FollowLocked();
  } else {
    const int64_t now = GetNow().adjusted;
    Reason reason = Due(settings_, now, segment_.interval_end, meeting_->Bytes(epoch_));
    struct stat status {};
    if (reason == Reason::kSize && ::fstat(file_.get(), &status) == 0 && S_ISREG(status.st_mode) &&
        static_cast<uint64_t>(status.st_size) <= settings_.max_bytes) {
      // Somebody emptied the file, or a writer died between counting and writing.
      meeting_->SetBytes(epoch_, static_cast<uint64_t>(status.st_size));
      reason = Due(settings_, now, segment_.interval_end, static_cast<uint64_t>(status.st_size));
    }
    if (force && reason == Reason::kNone) reason = Reason::kSize;
    if (reason != Reason::kNone) {
      if (settings_.verbose) say_(std::string("File rotation needed, reason: ") + std::string(ReasonText(reason)));
      out = RotateLocked(reason, false);
    }
  }
  if (out) WriteOrphans();
  orphans_.clear();
  meeting_->Unlock();
  return out;
}

Status Writer::Put(std::string_view lines) {
  while (!lines.empty()) {
    if (dropped_.InLine()) {  // the rest of a line whose beginning is in no file
      const size_t end = lines.find('\n');
      const size_t size = end == std::string_view::npos ? lines.size() : end + 1;
      dropped_.Count(lines.substr(0, size));
      lines.remove_prefix(size);
      spool_->DoneUpTo(lines.data());
      continue;
    }
    if (!dropped_.MayTry() || !FinishTorn()) {
      dropped_.Count(lines);
      NoteDropped();
      spool_->DoneUpTo(lines.data() + lines.size());
      return kDone;
    }
    if (!file_.valid()) {
      if (auto opened = OpenOrFail(); !opened) {
        if (!Drops(opened.error().sys)) return opened;
        Shed(lines, 0, opened.error().sys);
        spool_->DoneUpTo(lines.data() + lines.size());
        return kDone;
      }
    }
    if (mid_line_) {  // the rest of a line whose beginning is in this file already
      const size_t end = lines.find('\n');
      const size_t size = end == std::string_view::npos ? lines.size() : end + 1;
      mid_line_ = end == std::string_view::npos;
      const uint64_t before = meeting_->Bytes(epoch_);
      meeting_->SetBytes(epoch_, before + size);
      continuing_ = true;
      auto written = WriteFully(lines.substr(0, size));
      continuing_ = false;
      if (!written) return written;
      lines.remove_prefix(size);
      spool_->DoneUpTo(lines.data());
      continue;
    }
    if ((meeting_->Epoch() != epoch_ || LookDue()) && !Blocked()) {
      if (auto checked = CheckDue(false); !checked) return checked;
    }
    if (settings_.seconds > 0 && GetNow().adjusted >= segment_.interval_end && !Blocked()) {
      if (auto checked = CheckDue(false); !checked) return checked;
    }
    size_t size = lines.size();
    if (settings_.max_bytes > 0) {
      const uint64_t used = meeting_->Bytes(epoch_);
      if (used > settings_.max_bytes) {
        if (!Blocked()) {
          if (auto checked = CheckDue(false); !checked) return checked;
          // Apache's way is to come back to the file that is full: then it takes what there is.
          const bool same = settings_.strict && meeting_->Bytes(epoch_) > settings_.max_bytes;
          if (!Blocked() && !same) continue;
        }
      } else {
        size = Fitting(settings_.max_bytes, used, lines);
        if (!meeting_->Reserve(epoch_, used, size)) continue;  // another writer was faster: look again
      }
    }
    const std::string_view chunk = lines.substr(0, size);
    mid_line_ = chunk.back() != '\n';
    if (auto written = WriteFully(chunk); !written) return written;
    lines.remove_prefix(size);
    spool_->DoneUpTo(lines.data());
  }
  return kDone;
}

Status Writer::WriteFully(std::string_view data) {
  const struct TurnEnds {
    Writer& writer;
    ~TurnEnds() {
      if (writer.torn_.empty()) writer.EndTurn();  // nobody else should write behind half a line
    }
  } turn_ends{*this};
  size_t done = 0;
  bool announced = false;
  off_t end_of_ours = -1;  // after a short write: where it ended
  auto pause = 20ms;
  bool complained = false;
  size_t moved = 0;  // start + 1 of the line that was moved to a new file last
  while (done < data.size()) {
    if (!announced) Announce(*spool_, data.substr(done), Locked::kNo);
    announced = true;
    if (end_of_ours >= 0 && data[done - 1] != '\n') {
      // A line of ours is cut. If somebody has appended since, its rest would land behind a stranger's line: begin
      // again.
      struct stat status {};
      if (::fstat(file_.get(), &status) == 0 && S_ISREG(status.st_mode) && status.st_size != end_of_ours &&
          (!EndsInMidLine(FullPath(segment_.path), status.st_size) || ::write(file_.get(), "\n", 1) == 1)) {
        const size_t newline = data.rfind('\n', done - 1);
        done = newline == std::string_view::npos ? 0 : newline + 1;
        end_of_ours = -1;
      }
    }
    KillPoint("announced");
    const ssize_t n = ::write(file_.get(), data.data() + done, KillLength("torn", data.size() - done));
    KillPoint("torn");
    if (n > 0) {
      done += static_cast<size_t>(n);
      if (done < data.size()) end_of_ours = ::lseek(file_.get(), 0, SEEK_CUR);
      continue;
    }
    const int sys = n == 0 ? ENOSPC : errno;
    if (sys == EINTR) continue;
    if (sys == EFBIG && !settings_.truncate) {
      // A limit on file size: a new file helps. The limit falls into a line: that one is written there again, whole.
      const size_t newline = done == 0 ? std::string_view::npos : data.rfind('\n', done - 1);
      const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
      const uint64_t before = epoch_;
      if (begin + 1 > moved) {  // once for a line: one that is longer than the limit fits nowhere
        spool_->DoneUpTo(data.data() + begin);
        announced = false;
        EndTurn();
        if (auto checked = CheckDue(true); !checked) return checked;
      }
      if (epoch_ != before) {
        moved = begin + 1;
        done = begin;
        end_of_ours = -1;
        continue;
      }
    }
    if (Drops(sys)) {
      Shed(data, done, sys);
      return kDone;
    }
    if (!complained) {
      complained = true;
      say_("rotatelogs: cannot write to " + FullPath(segment_.path) + " (" + Strerror(sys) +
           "): waiting, nothing is lost");
    }
    if (done == 0 || data[done - 1] == '\n') {  // within a line of ours nobody else may write
      spool_->DoneUpTo(data.data() + done);
      announced = false;
      EndTurn();
    }
    if (!Wait(pause)) {
      return Error{
          ErrorKind::kIo, sys,
          "rotatelogs: stopped while " + FullPath(segment_.path) +
              " could not be written: " + std::to_string(data.size() - done) +
              (spool_->name().empty() ? " bytes lost" : " bytes wait in " + place_.Path() + " for the next writer")};
    }
    pause = std::min<std::chrono::milliseconds>(pause * 2, 1s);
  }
  KillPoint("written");
  if (complained) say_("rotatelogs: writing to " + FullPath(segment_.path) + " again");
  line_open_ = !data.empty() && data.back() != '\n';
  if (dropped_.active()) {
    dropped_.Ended();
    NoteDropped();
  }
  return kDone;
}

void Writer::CloseFile() {
  file_.Reset();
  meeting_->UpdateLease("", 0, 0);
}

Status Writer::Idle() {
  Reap();
  if (dropped_.active()) {
    if (dropped_.MayTry() && !torn_.empty() && FinishTorn()) dropped_.Ended();
    NoteDropped();
    return kDone;
  }
  if (!meeting_ && settings_.create_empty && settings_.seconds > 0) return Open();
  if (!meeting_ || mid_line_) return kDone;
  if (!file_.valid()) return kDone;
  if (meeting_->Epoch() != epoch_ || ((Shared() || rests_wait_) && LookDue())) return CheckDue(false);
  if (settings_.seconds == 0 || GetNow().adjusted < segment_.interval_end) return kDone;
  if (settings_.create_empty) return CheckDue(false);
  if (settings_.truncate || settings_.ring > 0) return kDone;
  if (!meeting_->Lock(kLockPatience)) return kDone;
  Status out = kDone;
  if (meeting_->Epoch() != epoch_) {
    out = FollowLocked();
  } else {
    CloseFile();
    parked_ = true;
  }
  meeting_->Unlock();
  return out;
}

int Writer::IdleTimeout() const {
  if (!meeting_) return -1;
  if (!file_.valid()) return -1;
  int64_t wait = Shared() || dropped_.active() ? 1000 : rests_wait_ ? 10000 : 60000;
  if (settings_.seconds > 0 && (settings_.create_empty || (!settings_.truncate && settings_.ring == 0))) {
    const int64_t left = (segment_.interval_end - GetNow().adjusted) * 1000;
    // Up to a second late: the clock is read in whole seconds. With -c, early wake-ups would only cost time.
    wait = std::clamp<int64_t>(left, 20, wait);
  }
  return static_cast<int>(wait);
}

void Writer::Forked() {
  if (!meeting_ || !file_.valid() || !meeting_->Lock(kLockPatience)) return;
  meeting_->UpdateLease(segment_.path, segment_.device, segment_.inode);
  meeting_->Unlock();
}

void Writer::Close() {
  if (!FinishTorn()) {
    dropped_.Count(std::string_view(torn_).substr(torn_done_));
    EndTurn();
  }
  dropped_.Ended();
  if (!meeting_) return;
  const bool locked = meeting_->Lock(kLockPatience);
  file_.Reset();
  if (spool_->Waiting().empty()) spool_->Remove(meeting_->Directory());
  meeting_->Leave();
  if (locked) meeting_->Unlock();
}

}  // namespace rotatelogs
