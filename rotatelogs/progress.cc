#include "rotatelogs/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace rotatelogs {

using namespace std::chrono_literals;

namespace {

std::string Span(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60) return std::to_string(whole) + "s";
  if (whole < 3600) return std::to_string(whole / 60) + "m" + std::to_string(whole % 60) + "s";
  return std::to_string(whole / 3600) + "h" + std::to_string(whole / 60 % 60) + "m";
}

}  // namespace

std::string ProgressText(const ProgressState& state, int columns) {
  const size_t room = static_cast<size_t>(std::max(columns - 1, 1));  // the last column would wrap on some terminals
  std::string counts = std::to_string(state.done) + "/" + std::to_string(state.total);
  if (state.failed > 0) counts += "  " + std::to_string(state.failed) + " failed";
  const double seconds = std::chrono::duration<double>(state.elapsed).count();
  std::string rate;
  if (state.done > 0 && seconds > 0) {
    char text[64];
    const double each = static_cast<double>(state.done) / seconds;
    std::snprintf(text, sizeof text, each < 10 ? "  %.1f/s" : "  %.0f/s", each);
    rate = text;
    rate += "  ETA " + Span(static_cast<double>(state.total - state.done) / each);
  }
  constexpr size_t kBar = 20;
  std::string out = counts;
  if (out.size() + kBar + 3 <= room) {
    const size_t filled =
        state.total > 0 ? kBar * static_cast<size_t>(state.done) / static_cast<size_t>(state.total) : 0;
    out = "[" + std::string(filled, '#') + std::string(kBar - filled, '-') + "] " + counts;
  }
  if (out.size() + rate.size() <= room) out += rate;
  if (out.size() + 10 <= room && !state.current.empty()) {
    std::string name = state.current.substr(0, room - out.size() - 2);
    for (char& letter : name) {
      const auto byte = static_cast<unsigned char>(letter);
      if (byte < 32 || byte >= 127) letter = '?';  // one byte, one column
    }
    out += "  " + name;
  }
  return out.substr(0, room);
}

Progress::Progress(int terminal, const os::Clock& clock) : terminal_(terminal), clock_(clock) {}

void Progress::Update(const ProgressState& state) {
  if (!shown()) return;
  const auto now = clock_.SteadyNow();
  if (drawn_ && now - drawn_at_ < 100ms) return;
  drawn_at_ = now;
  drawn_ = true;
  winsize size{};
  const int columns = ::ioctl(terminal_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  Write("\r" + ProgressText(state, columns) + "\x1b[K");
}

void Progress::Clear() {
  if (drawn_) Write("\r\x1b[K");
  drawn_ = false;
}

void Progress::Write(std::string_view text) {
  // A terminal that takes nothing costs the bar, not the run.
  if (::write(terminal_, text.data(), text.size()) < 0) terminal_ = -1;
}

}  // namespace rotatelogs
