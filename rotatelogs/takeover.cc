// How writers take over from one that was killed: spools, intents and turns. The rest of Writer is in writer.cc.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "os/file.h"
#include "rotatelogs/kill_point.h"
#include "rotatelogs/writer.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::Error;
using os::ErrorKind;
using os::kDone;
using os::Status;

namespace {

constexpr auto kTurnPatience = 3s;     // a write takes a millisecond; a disk that is asleep, some hundred
constexpr auto kLookForDead = 20ms;    // at a turn that does not end
constexpr int64_t kRestPatience = 10;  // seconds for a successor to come for an unfinished line
constexpr size_t kSearch = size_t{64} << 20;

/// How many bytes of `lines` are whole lines that stand in `file`, in this order, perhaps with others in between.
size_t FoundLines(std::string_view file, std::string_view lines) {
  size_t done = 0;
  while (!file.empty() && done < lines.size()) {
    const size_t end = file.find('\n');
    if (end == std::string_view::npos) break;
    const size_t size = lines.find('\n', done);
    if (size == std::string_view::npos) break;
    if (file.substr(0, end + 1) == lines.substr(done, size + 1 - done)) done = size + 1;
    file.remove_prefix(end + 1);
  }
  return done;
}

std::string ReadFrom(const os::Fd& file, uint64_t from, size_t limit) {
  std::string out;
  while (out.size() < limit) {
    char buffer[65536];
    const ssize_t n = ::pread(file.get(), buffer, sizeof buffer, static_cast<off_t>(from + out.size()));
    if (n <= 0) break;
    out.append(buffer, static_cast<size_t>(n));
  }
  return out;
}

std::string_view WholeLines(std::string_view waiting) {
  return waiting.substr(0, waiting.rfind('\n') + 1);  // npos + 1 is 0
}

}  // namespace

/// Continues the spool of a predecessor on our pipe, or makes one. Logging does not depend on it.
Status Writer::MakeSpool() {
  id_ = meeting_->NewId();
  turns_ = static_cast<uint32_t>(::getpid()) << 12;  // others may remember a turn of a predecessor with our id
  look_at_ = clock_.SteadyNow() + 10s;
  if (meeting_->Directory().valid()) {
    // A predecessor's lock may be held a moment longer than it lives, by a program that it was just starting.
    for (int attempt = 0; attempt < 10 && !Continue(); ++attempt) clock_.Sleep(20ms);
    if (spool_) return kDone;
    // Under the lock: to those who look for the dead, a spool that is not finished and locked yet would be one.
    const bool locked = meeting_->Lock(10s);
    auto made = Spool::Create(meeting_->Directory(), meeting_->OwnSpoolName(), input_, id_);
    if (locked) meeting_->Unlock();
    if (made) {
      spool_ = std::move(made).value();
      return kDone;
    }
    say_("rotatelogs: " + made.error().Text() + " in " + place_.Path() +
         ": going on without; kill -9 would lose what is read and not yet written");
  }
  spool_ = Spool::InMemory();
  if (!spool_) return Error{ErrorKind::kIo, ENOMEM, "rotatelogs: no memory"};
  return kDone;
}

/// Looks for a spool of our own pipe. @return false: there is one, and it is not free yet
bool Writer::Continue() {
  if (input_ == InputId{} || !meeting_->Lock(10s)) return true;
  bool sure = true;
  for (const std::string& name : meeting_->SpoolNames()) {
    const auto label = Spool::ReadLabel(meeting_->Directory(), name);
    if (!label || label->input != input_) continue;
    auto taken = Spool::TakeOver(meeting_->Directory(), name);
    if (!taken) {
      sure = sure && taken.error().kind != ErrorKind::kBusy;
      continue;
    }
    if (!taken.value()->Rename(meeting_->Directory(), meeting_->OwnSpoolName())) continue;
    spool_ = std::move(taken).value();
    id_ = spool_->id();
    continued_ = true;
    Resolve(*spool_);
    EndTurn();
    sure = true;
    break;
  }
  meeting_->Unlock();
  return sure;
}

void Writer::TakeOver() {
  if (!HasOrphans(place_)) return;
  if (auto opened = Open(); !opened) say_(opened.error().what);
}

Spool& Writer::Input() {
  if (renew_spool_) {
    renew_spool_ = false;
    auto before = std::move(spool_);
    if (MakeSpool()) {
      spool_->Append(before->Waiting());
    } else {
      spool_ = std::move(before);
    }
  }
  return *spool_;
}

/// Everything that has to be known, should we be killed in the write that follows.
void Writer::Announce(Spool& spool, std::string_view bytes, Locked locked) {
  TakeTurn(locked);
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0 || !S_ISREG(status.st_mode)) return;
  if (check_end_ && !continuing_) {
    check_end_ = false;
    const bool cut = status.st_size > 0 && EndsInMidLine(FullPath(segment_.path), status.st_size);
    if (cut && ::write(file_.get(), "\n", 1) == 1) ++status.st_size;
  }
  if (!spool.HasSegment(status.st_dev, status.st_ino)) {
    spool.SetSegment(segment_.path, status.st_dev, status.st_ino);
  }
  spool.Announce(bytes, static_cast<uint64_t>(status.st_size));
}

uint64_t Writer::NextTurn() {
  return uint64_t{id_} << 32 | ++turns_;
}

/// Waits until nobody else writes to the target. It is a courtesy that keeps torn lines at the end of their file, not a
/// lock: after kTurnPatience we write without it.
void Writer::TakeTurn(Locked locked) {
  if (turn_ != 0) return;
  const bool can_be_found = !spool_->name().empty();  // else nobody could see that we died in our turn
  std::chrono::microseconds pause = 20us;
  uint64_t holder = 0;
  auto since = os::Clock::Steady{};
  auto looked = since;
  for (;;) {
    const uint64_t seen = meeting_->Turn();
    if (seen == 0) {
      if (!can_be_found) return;
      const uint64_t mine = NextTurn();
      if (!meeting_->PassTurn(0, mine)) continue;
      turn_ = mine;
      return;
    }
    if (seen == ignored_turn_) break;
    const auto now = clock_.SteadyNow();
    if (seen != holder) {
      holder = seen;
      since = looked = now;
      pause = 20us;
    }
    if (now - looked >= kLookForDead) {
      looked = now;
      if (FreeTurn(seen, locked)) {
        if (turn_ != 0) return;
        continue;
      }
    }
    if (now - since >= kTurnPatience) {
      ignored_turn_ = seen;
      say_("rotatelogs: a writer that meets in " + place_.Path() + " has stopped within a write: going on without it");
      break;
    }
    clock_.Sleep(pause);
    pause = std::min<std::chrono::microseconds>(pause * 2, 1ms);
  }
  check_end_ = true;
}

/// Takes the turn of a writer that is gone, after completing what it was writing. False: it lives.
bool Writer::FreeTurn(uint64_t holder, Locked locked) {
  if (locked == Locked::kNo && !meeting_->Lock(2s)) return false;
  bool lives = false;
  bool known = false;
  for (const std::string& name : meeting_->SpoolNames()) {
    const auto label = Spool::ReadLabel(meeting_->Directory(), name);
    if (!label || label->id != holder >> 32) continue;
    known = true;
    const auto taken = Spool::TakeOver(meeting_->Directory(), name);
    lives = !taken && taken.error().kind == ErrorKind::kBusy;
  }
  const uint64_t mine = NextTurn();
  if (!lives && meeting_->PassTurn(holder, mine)) {
    turn_ = mine;
    check_end_ = check_end_ || !known;
    // All of them: it may have been taking over from another one.
    for (const std::string& name : meeting_->SpoolNames()) {
      if (name == spool_->name()) continue;
      if (auto taken = Spool::TakeOver(meeting_->Directory(), name)) Resolve(*taken.value());
    }
    look_at_ = clock_.SteadyNow();  // for what else they left
  }
  if (locked == Locked::kNo) meeting_->Unlock();
  return !lives;
}

void Writer::EndTurn() {
  if (turn_ == 0) return;
  meeting_->PassTurn(turn_, 0);
  turn_ = 0;
}

/// With the lock held: finds out how far killed writers came, and completes lines that they tore.
void Writer::ResolveOrphans() {
  orphans_.clear();
  bool resolved = false;
  for (const std::string& name : meeting_->SpoolNames()) {
    if (name == spool_->name()) continue;
    auto taken = Spool::TakeOver(meeting_->Directory(), name);
    if (taken) {
      Resolve(*taken.value());
      resolved = true;
      orphans_.push_back(std::move(taken).value());
      continue;
    }
    const ErrorKind kind = taken.error().kind;
    if (kind == ErrorKind::kInvalid) {
      say_("rotatelogs: " + place_.Path() + "/" + name + " is of an earlier boot or another release: removed unread");
    }
    if (kind == ErrorKind::kInvalid || (kind == ErrorKind::kNotFound && taken.error().sys == 0)) {
      ::unlinkat(meeting_->Directory().get(), name.c_str(), 0);
    }
  }
  if (resolved) EndTurn();
}

/// Afterwards no announcement is open: what waits in the spool is in no file. A turn that was taken for it is kept.
void Writer::Resolve(Spool& spool) {
  const uint64_t seen = meeting_->Turn();
  if (turn_ == 0 && seen != 0 && seen >> 32 == spool.id()) {
    const uint64_t mine = NextTurn();
    if (meeting_->PassTurn(seen, mine)) turn_ = mine;
  }
  if (const auto intent = spool.Announced()) {
    TakeTurn(Locked::kYes);
    const std::string path = FullPath(intent->path);
    const std::string_view bytes = intent->bytes;
    os::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    size_t done = 0;
    if (!file.valid() || ::fstat(file.get(), &status) != 0 || status.st_ino != intent->inode ||
        status.st_dev != intent->device) {
      say_("rotatelogs: " + path + " is not there any more: the last lines of a killed writer may be in it and here");
    } else {
      const std::string written = ReadFrom(file, intent->size, kSearch);
      const auto common = static_cast<size_t>(
          std::mismatch(bytes.begin(), bytes.end(), written.begin(), written.end()).first - bytes.begin());
      done = common;
      bool torn = common > 0 && common < bytes.size();
      if (torn && common == written.size() && !IsSealed(path)) {
        const os::Fd append = OpenAppend(path, 0);
        torn = !append.valid() || !os::WriteAll(append, bytes.substr(common));
        if (!torn) done = bytes.size();
      }
      if (done < bytes.size()) done = FoundLines(written, bytes);
      check_end_ = check_end_ || torn;
    }
    KillPoint("resolved");
    spool.DoneUpTo(bytes.data() + done);
  }
}

/// With the lock held and our file open: the lines that killed writers had read and not written.
void Writer::WriteOrphans() {
  rests_wait_ = false;
  if (orphans_.empty() || !file_.valid() || meeting_->Epoch() != epoch_) return;
  for (const auto& orphan : orphans_) {
    if (!WriteOut(*orphan)) continue;
    if (!orphan->Waiting().empty()) {
      const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(clock_.SteadyNow().time_since_epoch());
      if (orphan->OrphanedAt() == 0) orphan->SetOrphanedAt(now.count());
      if (now.count() - orphan->OrphanedAt() < kRestPatience * 1000) {
        rests_wait_ = true;
        continue;
      }
      orphan->Append("\n");
      if (!WriteOut(*orphan)) continue;
    }
    KillPoint("taken over");
    orphan->Remove(meeting_->Directory());
  }
}

/// Its whole lines. Never waits: what cannot be written now is left to the next look. False: something is left.
bool Writer::WriteOut(Spool& spool) {
  for (;;) {
    const std::string_view lines = WholeLines(spool.Waiting());
    if (lines.empty()) return true;
    const Reason reason = Due(settings_, GetNow().adjusted, segment_.interval_end, meeting_->Bytes(epoch_));
    if (reason != Reason::kNone && !Blocked() && !RotateLocked(reason, false)) return false;
    const uint64_t used = meeting_->Bytes(epoch_);
    const bool limited = settings_.max_bytes > 0 && used <= settings_.max_bytes;
    const std::string_view chunk = lines.substr(0, limited ? Fitting(settings_.max_bytes, used, lines) : lines.size());
    if (!meeting_->Reserve(epoch_, used, chunk.size())) continue;
    Announce(spool, chunk, Locked::kYes);
    const ssize_t n = ::write(file_.get(), chunk.data(), chunk.size());
    const std::string_view written = chunk.substr(0, n > 0 ? static_cast<size_t>(n) : 0);
    if (written.size() < chunk.size() && !written.ends_with('\n')) check_end_ = true;
    spool.DoneUpTo(chunk.data() + (written.size() == chunk.size() ? chunk.size() : WholeLines(written).size()));
    EndTurn();
    if (written.size() < chunk.size()) return false;
  }
}

}  // namespace rotatelogs
