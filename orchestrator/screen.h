#pragma once

#include <string>
#include <vector>

#include "os/clock.h"

namespace orchestrator {

struct TerminalSize {
  int columns = 80;
  int rows = 24;
};

/// A frame of text that is redrawn in place on a terminal.
///
/// Leaves no trace to clean up: no alternate screen, no mode of the terminal is changed; the cursor is hidden inside
/// one write(2) and shown again at its end. So whatever ends the process, SIGKILL included, the terminal is as before.
/// Blocks     while the terminal is stopped (^S): call it from a thread that may wait.
/// Errors     dropped: a terminal that went away must not stop an upgrade.
class Screen {
 public:
  /// @param fd  of the terminal; a loan
  Screen(int fd, const os::Clock& clock) : fd_(fd), clock_(clock) {}

  TerminalSize Size() const;  ///< 80 by 24 when the terminal does not say

  /// Replaces the last frame by `lines`, which fit into `columns`. The cursor is left on the line below. After three
  /// seconds without a frame (the process was stopped, a shell has written) the new one begins where the cursor is.
  void Draw(const std::vector<std::string>& lines, int columns);

  /// What Draw() writes. @param above  rows from the cursor up to the first line of the last frame
  static std::string Bytes(const std::vector<std::string>& lines, int above);
  /// Rows that lines of these widths take on a terminal with `columns`, where each was once one row.
  static int RowsOf(const std::vector<int>& widths, int columns);

 private:
  int fd_;
  const os::Clock& clock_;
  std::vector<int> widths_;
  os::Clock::Steady drawn_;
};

}  // namespace orchestrator
