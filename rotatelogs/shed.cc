// The part of Writer that --on-full=drop is about.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "rotatelogs/writer.h"

namespace rotatelogs {

using namespace std::chrono_literals;

/// Whether a failure is one that --on-full=drop is for. A limit on file size and a failing medium are: waiting ends no
/// sooner there.
bool Writer::Drops(int sys) const {
  return settings_.on_full == OnFull::kDrop && (sys == ENOSPC || sys == EDQUOT || sys == EFBIG || sys == EIO);
}

/// Discards what follows the first `done` bytes of `data`, which are in the file. A line that is cut there is kept, to
/// be finished when there is room.
void Writer::Shed(std::string_view data, size_t done, int sys) {
  const bool cut = done > 0 ? data[done - 1] != '\n' : line_open_;
  dropped_.Failed(file_.valid() ? FullPath(segment_.path) : settings_.file, std::strerror(sys));
  if (cut) {
    torn_end_ = ::lseek(file_.get(), 0, SEEK_CUR);
    const size_t end = data.find('\n', done);
    const size_t before = done == 0 ? std::string_view::npos : data.rfind('\n', done - 1);
    const size_t begin = before == std::string_view::npos ? 0 : before + 1;
    const bool began_here = begin > 0 || !line_open_;
    if (end != std::string_view::npos && began_here) {
      torn_ = data.substr(begin, end + 1 - begin);
      torn_done_ = done - begin;
      done = end + 1;
    } else {
      // A line that is too long to be kept, or the unfinished last one: it ends here, with a newline of ours.
      torn_ = "\n";
      torn_done_ = 0;
    }
  }
  line_open_ = false;
  dropped_.Count(data.substr(done));
  mid_line_ = false;
  NoteDropped();
}

/// Writes the rest of a line that a full disk has cut. False: there is still no room.
bool Writer::FinishTorn() {
  while (!torn_.empty()) {
    struct stat status {};
    const bool grown =
        ::fstat(file_.get(), &status) == 0 && S_ISREG(status.st_mode) && torn_end_ >= 0 && status.st_size > torn_end_;
    if (grown && torn_done_ > 0) {
      // A stranger's line stands behind our piece: begin again, on a line of its own.
      const bool open = EndsInMidLine("/proc/self/fd/" + std::to_string(file_.get()), status.st_size);
      if (open && torn_[0] != '\n') torn_.insert(0, "\n");
      torn_done_ = 0;
    }
    if (grown && torn_ == "\n") break;  // and ends our piece
    const ssize_t n = ::write(file_.get(), torn_.data() + torn_done_, torn_.size() - torn_done_);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      dropped_.Failed(FullPath(segment_.path), std::strerror(n == 0 ? ENOSPC : errno));
      return false;
    }
    torn_done_ += static_cast<size_t>(n);
    torn_end_ = ::lseek(file_.get(), 0, SEEK_CUR);
    if (torn_done_ == torn_.size()) break;
  }
  if (!torn_.empty()) EndTurn();
  torn_.clear();
  return true;
}

/// Puts the count where --status finds it: at once when it changes from nothing, then once a second.
void Writer::NoteDropped() {
  if (!meeting_ || (dropped_.active() && clock_.SteadyNow() < note_again_)) return;
  if (!meeting_->Lock(0ms)) return;
  note_again_ = clock_.SteadyNow() + 1s;
  meeting_->SetDropped(dropped_.lines(), dropped_.bytes());
  if (file_.valid()) {
    meeting_->UpdateLease(segment_.path, segment_.device, segment_.inode);
  } else {
    meeting_->UpdateLease("", 0, 0);
  }
  meeting_->Unlock();
}

}  // namespace rotatelogs
