#include "orchestrator/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "orchestrator/live_view.h"

namespace orchestrator {

TerminalSize Screen::Size() const {
  winsize size{};
  TerminalSize out;
  if (::ioctl(fd_, TIOCGWINSZ, &size) != 0) return out;
  if (size.ws_col > 0) out.columns = size.ws_col;
  if (size.ws_row > 0) out.rows = size.ws_row;
  return out;
}

int Screen::RowsOf(const std::vector<int>& widths, int columns) {
  int rows = 0;
  for (const int width : widths) rows += std::max(1, (width + columns - 1) / std::max(1, columns));
  return rows;
}

std::string Screen::Bytes(const std::vector<std::string>& lines, int above) {
  std::string out = "\033[?25l\r";
  if (above > 0) out += "\033[" + std::to_string(above) + "A";
  for (const std::string& line : lines) out += line + "\033[K\r\n";
  return out + "\033[J\033[?25h";
}

void Screen::Draw(const std::vector<std::string>& lines, int columns) {
  const auto now = clock_.SteadyNow();
  if (now - drawn_ > std::chrono::seconds(3)) widths_.clear();
  // A terminal that became narrower has wrapped what stands there.
  const std::string bytes = Bytes(lines, RowsOf(widths_, columns));
  widths_.clear();
  for (const std::string& line : lines) widths_.push_back(WidthOf(line));
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  drawn_ = clock_.SteadyNow();
}

}  // namespace orchestrator
