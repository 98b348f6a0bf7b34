#include "rotatelogs/dropped.h"

#include <algorithm>

namespace rotatelogs {

using namespace std::chrono_literals;

void Dropped::Failed(const std::string& path, const std::string& reason) {
  const auto now = clock_.SteadyNow();
  if (!active_) {
    active_ = true;
    pause_ = 10ms;
    path_ = path;
    reason_ = reason;
    lines_before_ = lines_;
    bytes_before_ = bytes_;
    say_again_ = now + 1min;
    say_("rotatelogs: cannot write to " + path + " (" + reason + "): lines are dropped until it can be written again");
  }
  try_again_ = now + pause_;
  pause_ = std::min<std::chrono::milliseconds>(pause_ * 2, 1s);
}

void Dropped::Count(std::string_view piece) {
  if (piece.empty()) return;
  lines_ += static_cast<uint64_t>(std::count(piece.begin(), piece.end(), '\n'));
  if (in_line_) --lines_;  // counted when it began; undone below when it still has not ended
  const bool ended = piece.back() == '\n';
  if (!ended) ++lines_;
  in_line_ = !ended;
  bytes_ += piece.size();
  if (active_ && clock_.SteadyNow() >= say_again_) {
    say_again_ = clock_.SteadyNow() + 1min;
    say_("rotatelogs: " + Sum() + " dropped so far: " + path_ + " cannot be written (" + reason_ + ")");
  }
}

void Dropped::Ended() {
  if (!active_) return;
  active_ = false;
  say_("rotatelogs: " + Sum() + " were dropped while " + path_ + " could not be written (" + reason_ + ")");
}

std::string Dropped::Sum() const {
  return std::to_string(lines_ - lines_before_) + " lines (" + std::to_string(bytes_ - bytes_before_) + " bytes)";
}

}  // namespace rotatelogs
