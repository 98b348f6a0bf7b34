#pragma once

#include <string>
#include <vector>

/// As much of a terminal as the live view uses: rows and columns, CR, LF, wrapping, cursor up, erasing, colours, hiding
/// the cursor. Everything else is counted as unknown.
class TerminalModel {
 public:
  TerminalModel(int columns, int rows) : columns_(columns), rows_(rows), screen_(static_cast<size_t>(rows)) {}

  void Feed(const std::string& bytes) {
    pending_ += bytes;
    size_t at = 0;
    while (at < pending_.size()) {
      const size_t taken = Take(at);
      if (taken == 0) break;  // the rest of it has not come yet
      at += taken;
    }
    pending_.erase(0, at);
  }

  /// What stands on the screen, trailing blanks left out, one line a row.
  std::string Text() const {
    std::string out;
    for (const auto& row : screen_) out += Join(row) + "\n";
    while (out.ends_with("\n\n")) out.pop_back();
    return out;
  }
  /// The same, what has left at the top included.
  std::string Everything() const {
    std::string out;
    for (const auto& row : gone_) out += Join(row) + "\n";
    return out + Text();
  }
  int scrolled() const { return static_cast<int>(gone_.size()); }
  bool cursor_shown() const { return shown_; }
  bool coloured() const { return coloured_; }
  int wrapped() const { return wrapped_; }
  int unknown() const { return unknown_; }

 private:
  using Row = std::vector<std::string>;  // a cell holds one character

  static std::string Join(const Row& row) {
    std::string out;
    for (const std::string& cell : row) out += cell;
    while (out.ends_with(' ')) out.pop_back();
    return out;
  }

  size_t Take(size_t at) {
    const auto c = static_cast<unsigned char>(pending_[at]);
    if (c == '\033') return TakeSequence(at);
    if (c == '\r') {
      column_ = 0;
      return 1;
    }
    if (c == '\n') {
      Down();
      return 1;
    }
    if (c < 0x20) {
      ++unknown_;
      return 1;
    }
    const size_t length = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (at + length > pending_.size()) return 0;
    if (column_ == columns_) {
      ++wrapped_;
      column_ = 0;
      Down();
    }
    Row& row = screen_[static_cast<size_t>(row_)];
    if (row.size() <= static_cast<size_t>(column_)) row.resize(static_cast<size_t>(column_) + 1, " ");
    row[static_cast<size_t>(column_++)] = pending_.substr(at, length);
    return length;
  }

  size_t TakeSequence(size_t at) {
    size_t end = at + 1;
    if (end >= pending_.size()) return 0;
    if (pending_[end] != '[') {
      ++unknown_;
      return 2;
    }
    ++end;
    while (end < pending_.size() && (pending_[end] < '@' || pending_[end] > '~')) ++end;
    if (end >= pending_.size()) return 0;
    const std::string arguments = pending_.substr(at + 2, end - at - 2);
    Row& row = screen_[static_cast<size_t>(row_)];
    switch (pending_[end]) {
      case 'A':
        row_ = std::max(0, row_ - std::stoi(arguments.empty() ? "1" : arguments));
        break;
      case 'K':
        if (row.size() > static_cast<size_t>(column_)) row.resize(static_cast<size_t>(column_));
        break;
      case 'J':
        if (row.size() > static_cast<size_t>(column_)) row.resize(static_cast<size_t>(column_));
        for (size_t below = static_cast<size_t>(row_) + 1; below < screen_.size(); ++below) screen_[below].clear();
        break;
      case 'm':
        coloured_ = true;
        break;
      case 'h':
      case 'l':
        if (arguments == "?25") {
          shown_ = pending_[end] == 'h';
          break;
        }
        [[fallthrough]];
      default:
        ++unknown_;
    }
    return end + 1 - at;
  }

  void Down() {
    if (++row_ < rows_) return;
    row_ = rows_ - 1;
    gone_.push_back(screen_.front());
    screen_.erase(screen_.begin());
    screen_.emplace_back();
  }

  int columns_;
  int rows_;
  int row_ = 0;
  int column_ = 0;
  bool shown_ = true;
  bool coloured_ = false;
  int wrapped_ = 0;
  int unknown_ = 0;
  std::vector<Row> screen_;
  std::vector<Row> gone_;
  std::string pending_;
};
