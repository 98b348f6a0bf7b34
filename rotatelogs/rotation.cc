// How a target's segments are opened, followed, rotated and linked. The rest of Writer is in writer.cc.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "os/file.h"
#include "os/process.h"
#include "rotatelogs/kill_point.h"
#include "rotatelogs/writer.h"

namespace rotatelogs {

using os::Error;
using os::ErrorKind;
using os::kDone;
using os::Status;

namespace {

std::string Strerror(int sys) {
  return std::strerror(sys);
}

Error OpenError(const std::string& path, int sys) {
  const std::string why = sys == EAGAIN ? "nobody reads this FIFO" : Strerror(sys);
  return {ErrorKind::kIo, sys, "Could not open log file '" + path + "' (" + why + ")"};
}

}  // namespace

os::Fd OpenAppend(const std::string& path, int flags) {
  for (;;) {
    os::Fd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | flags, 0666));
    if (fd.valid()) ::fcntl(fd.get(), F_SETFL, O_APPEND);
    struct stat status {};
    if (!fd.valid() && errno == ENXIO && ::stat(path.c_str(), &status) == 0)
      errno = S_ISFIFO(status.st_mode) ? EAGAIN : ENXIO;
    if (fd.valid() || errno != EINTR) return fd;
  }
}

bool IsSealed(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0222) == 0;
}

bool EndsInMidLine(const std::string& path, int64_t size) {
  os::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  char last = '\n';
  return fd.valid() && ::pread(fd.get(), &last, 1, size - 1) == 1 && last != '\n';
}

Status Writer::OpenLocked() {
  meeting_->CountWriters();
  ResolveOrphans();
  // Who goes on for a writer that was killed is no new beginning: nothing is emptied.
  const bool alone = meeting_->Writers() <= 1 && !continued_;
  const auto current = meeting_->Current();
  const bool join = current && (parked_ || !alone);
  Reason reason = Reason::kNew;
  if (join) {
    segment_ = *current;
    epoch_ = meeting_->Epoch();
    reason = Due(settings_, GetNow().adjusted, segment_.interval_end, 0);
  } else if (settings_.ring > 0) {
    segment_.ring_index = current && current->ring_index < settings_.ring ? current->ring_index : NewestOfRing();
  }
  // With -f Apache opens the first file without having asked.
  if (settings_.verbose && (parked_ || !settings_.open_first)) {
    say_(std::string("File rotation needed, reason: ") + std::string(ReasonText(reason)));
  }
  auto opened = reason == Reason::kNone ? FollowLocked() : RotateLocked(reason, alone);
  if (opened) parked_ = false;
  if (opened) WriteOrphans();
  orphans_.clear();
  return opened;
}

/// Without a state (a ring that Apache's rotatelogs filled, say) we go on where the newest lines are.
int64_t Writer::NewestOfRing() const {
  int64_t newest = 0;
  timespec when{};
  for (int64_t i = 0; i < std::min<int64_t>(settings_.ring, 10000); ++i) {
    struct stat status {};
    if (::stat(SegmentName(settings_, 0, 0, "", i).c_str(), &status) != 0) continue;
    if (std::tie(status.st_mtim.tv_sec, status.st_mtim.tv_nsec) >= std::tie(when.tv_sec, when.tv_nsec)) {
      when = status.st_mtim;
      newest = i;
    }
  }
  return newest;
}

/// Opens what is current according to the state. If it was moved away by somebody, its name is made again.
Status Writer::FollowLocked() {
  auto current = meeting_->Current();
  if (!current) return RotateLocked(Reason::kNew, false);
  const std::string path = FullPath(current->path);
  if (IsSealed(path)) return RotateLocked(Reason::kForced, false);
  struct stat status {};
  os::Fd fd = OpenAppend(path, 0);
  bool same = fd.valid() && ::fstat(fd.get(), &status) == 0 && status.st_ino == current->inode &&
              status.st_dev == current->device;
  if (!same) {
    fd = OpenAppend(path, O_CREAT);
    const int sys = errno;
    if (!fd.valid() || ::fstat(fd.get(), &status) != 0) {
      const Error error = OpenError(path, sys);
      const std::string& text = error.what;
      if (!file_.valid()) return error;
      if (last_complaint_ != text) say_(text + ": going on with " + FullPath(segment_.path));
      last_complaint_ = text;
      blocked_until_ = clock_.SteadyNow() + kRetryRotation;
      epoch_ = meeting_->Epoch();
      return kDone;
    }
    current->device = status.st_dev;
    current->inode = status.st_ino;
    meeting_->SetBytes(meeting_->Epoch() + 1, static_cast<uint64_t>(status.st_size));
    const bool hooks = meeting_->HooksDone() == meeting_->Epoch();
    meeting_->Publish(*current);
    if (hooks) meeting_->SetHooksDone(meeting_->Epoch());
  }
  if (settings_.verbose) say_("Opening file " + path);
  Adopt(std::move(fd), *current);
  // The writer that rotated may have been killed before it came to this.
  if (meeting_->HooksDone() != meeting_->Epoch()) RunHooks(*current);
  return kDone;
}

void Writer::Adopt(os::Fd fd, const Segment& segment) {
  ::flock(fd.get(), LOCK_SH | LOCK_NB);  // for other programs that ask politely; F_SETLEASE is what counts
  const bool changed = file_.valid();
  const std::string before = segment_.path;
  meeting_->UpdateLease(segment.path, segment.device, segment.inode);
  file_ = std::move(fd);
  segment_ = segment;
  epoch_ = meeting_->Epoch();
  last_complaint_.clear();
  blocked_until_ = {};
  if (changed && settings_.verbose) say_("Closing file " + FullPath(before));
}

/// Opens a new file and makes it current. With a file open, a failure is only a complaint: we go on with the old one.
/// @param alone  no other writer lives (only asked with kNew)
Status Writer::RotateLocked(Reason reason, bool alone) {
  const Now now = GetNow();
  const auto current = meeting_->Current();
  const bool first = reason == Reason::kNew;
  const Interval interval = NextInterval(settings_, now.adjusted, first ? 0 : segment_.interval_end);
  Segment next;
  next.interval_end = interval.end;
  next.ring_index = segment_.ring_index;
  if (!first && settings_.ring > 0) next.ring_index = (next.ring_index + 1) % settings_.ring;
  std::string name = SegmentName(settings_, interval.start, now.shown_offset, Zone(), next.ring_index);

  if (settings_.make_directories && name.rfind('/') != std::string::npos) {
    const std::string parent = name.substr(0, name.rfind('/'));
    if (settings_.verbose) say_("Creating directory tree " + parent);
    if (auto made = os::MakeDirectories(parent); !made && first) {
      return Error{made.error().kind, made.error().sys,
                   "Could not create directory '" + parent + "' (" + Strerror(made.error().sys) + ")"};
    }
  }
  if (settings_.verbose) say_("Opening file " + name);

  const bool replace = !first && (settings_.ring > 0 || settings_.truncate_rotated) && !settings_.truncate;
  const bool fixed = settings_.truncate || settings_.ring > 0;
  const std::string before = current ? FullPath(current->path) : "";
  os::Fd fd;
  if (settings_.truncate) {
    // The file keeps its inode, so that tail(1) and the other writers stay with it.
    fd = OpenAppend(name, O_CREAT | ((first && !alone) ? 0 : O_TRUNC));
  } else if (replace) {
    // A fresh inode under the old name: whoever still writes to the old one cannot spoil the new one.
    if (::unlink(name.c_str()) != 0 && errno != ENOENT) {
      fd = OpenAppend(name, O_CREAT);  // a directory, say: take the message from here
    } else {
      fd = OpenAppend(name, O_CREAT | O_EXCL);
    }
  } else if (reason == Reason::kSize && !settings_.strict) {
    // The name of a size rotation has a resolution of a second or worse: never go back to a file that is full.
    std::string candidate = name;
    for (int attempt = 0; attempt < 1000000; ++attempt) {
      fd = OpenAppend(candidate, O_CREAT | O_EXCL);
      if (fd.valid() || errno != EEXIST) break;
      candidate = UniqueName(name, attempt == 0 && IsVariantOf(before, name) ? before : candidate);
    }
    name = candidate;
  } else {
    if (!first && IsVariantOf(before, name))
      name = before;  // time is over but the name is not: stay with the last of them
    while (!fixed && IsSealed(name))
      name = UniqueName(SegmentName(settings_, interval.start, now.shown_offset, Zone(), 0), name);
    fd = OpenAppend(name, O_CREAT);
  }
  struct stat status {};
  const int sys = errno;
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0) {
    const Error error = OpenError(name, sys);
    const std::string& text = error.what;
    if (!file_.valid()) return error;
    if (last_complaint_ != text) say_(text + ": going on with " + FullPath(segment_.path));
    last_complaint_ = text;
    blocked_until_ = clock_.SteadyNow() + kRetryRotation;
    return kDone;
  }
  if (first && !settings_.strict && S_ISREG(status.st_mode) && status.st_size > 0 &&
      EndsInMidLine(name, status.st_size)) {
    // What a crash, or an input without final newline, left there is not to swallow our first line.
    if (::write(fd.get(), "\n", 1) == 1) ++status.st_size;
  }
  next.path = name.substr(std::min(place_.directory.size(), name.size()));
  if (!first || current) next.previous = current ? current->path : "";
  if (first) next.previous.clear();
  next.device = status.st_dev;
  next.inode = status.st_ino;
  const int64_t wall = now.adjusted - now.offset;
  next.reopen_until = fixed ? Segment::kForEver : (interval.end != 0 ? interval.end - now.offset : wall + 1);
  meeting_->SetBytes(meeting_->Epoch() + 1, S_ISREG(status.st_mode) ? static_cast<uint64_t>(status.st_size) : 0);
  meeting_->Publish(next);
  meeting_->CountWriters();

  const bool link_is_log = !settings_.link.empty() && CanonicalPath(settings_.link) == name;
  if (link_is_log && first) {
    return Error{ErrorKind::kInvalid, 0,
                 "Error linking file " + name + " to " + settings_.link + " (the link is the log itself)"};
  }
  os::Fd old = std::move(file_);
  const std::string old_path = FullPath(segment_.path);
  Adopt(std::move(fd), next);
  if (first && settings_.strict && !settings_.link.empty()) {
    if (auto linked = MakeLink(name); !linked) return linked;
  }
  RunHooks(next);
  if (old.valid() && settings_.verbose) say_("Closing file " + old_path);
  return kDone;
}

void Writer::RunHooks(const Segment& segment) {
  const std::string path = FullPath(segment.path);
  if (!settings_.link.empty() && CanonicalPath(settings_.link) != path) {
    if (auto linked = MakeLink(path); !linked) say_(linked.error().what);
  }
  if (!settings_.program.empty()) {
    if (settings_.verbose) say_("Calling post-rotate program: " + settings_.program);
    os::SpawnOptions options;
    options.program = settings_.program;
    options.arguments = {settings_.program, path};
    if (!segment.previous.empty()) options.arguments.push_back(FullPath(segment.previous));
    options.environment = os::Environment();
    options.descriptors = {{1, 1}, {2, 2}};  // not 0: the program must not eat log lines
    Reap();
    if (auto started = os::Spawn(options); !started) {
      const int sys = started.error().sys;
      say_("Could not spawn post-rotate process '" + settings_.program + "': " + Strerror(sys));
    }
  }
  meeting_->SetHooksDone(meeting_->Epoch());
}

/// Post-rotate programs are not waited for; those that have ended are collected here, now and then. (With SIGCHLD
/// ignored the kernel would do it, but so early that a short program has no pidfd any more.)
void Writer::Reap() {
  if (settings_.program.empty()) return;
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

/// The link changes from the old to the new file in one step: there is no moment without it. The name that it has
/// before is in the rendezvous: were we killed now, a second name of the log beside it would be counted as another log.
Status Writer::MakeLink(const std::string& path) {
  if (settings_.verbose) say_("Linking " + path + " to " + settings_.link);
  const bool met = meeting_->Directory().valid();
  const int directory = met ? meeting_->Directory().get() : AT_FDCWD;
  const std::string temporary = met ? "link" : settings_.link + "." + std::to_string(::getpid()) + ".tmp";
  ::unlinkat(directory, temporary.c_str(), 0);
  int sys = 0;
  if (::linkat(AT_FDCWD, path.c_str(), directory, temporary.c_str(), 0) != 0) {
    sys = errno;
  } else {
    KillPoint("linked");
    const bool renamed = ::renameat(directory, temporary.c_str(), AT_FDCWD, settings_.link.c_str()) == 0;
    // Why it cannot be is what link(2) says, and so Apache.
    if (!renamed && ::link(path.c_str(), settings_.link.c_str()) != 0) sys = errno;
    ::unlinkat(directory, temporary.c_str(), 0);  // still there also when both names were one file already
  }
  if (sys == 0) return kDone;
  return Error{ErrorKind::kIo, 0, "Error linking file " + path + " to " + settings_.link + " (" + Strerror(sys) + ")"};
}

}  // namespace rotatelogs
