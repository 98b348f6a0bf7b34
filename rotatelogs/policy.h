#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace rotatelogs {

/// A longer line cannot be written in one piece: it is split there.
inline constexpr size_t kMaxLineBytes = size_t{1} << 20;

/// What happens to lines while the disk is full.
enum class OnFull {
  kBlock,  ///< they wait, and the server waits with them
  kDrop,   ///< they are discarded whole, counted and reported
};

/// What the command line asks for.
struct Settings {
  std::string file;         ///< `.`, `..` and `//` resolved textually, as Apache does; may hold strftime conversions
  std::string link;         ///< -L; empty: none
  std::string program;      ///< -p; empty: none
  bool local_time = false;  ///< -l
  bool open_first = false;  ///< -f
  bool make_directories = false;    ///< -D
  bool truncate = false;            ///< -t
  bool truncate_rotated = false;    ///< -T
  bool verbose = false;             ///< -v
  bool echo = false;                ///< -e
  bool create_empty = false;        ///< -c
  int64_t ring = 0;                 ///< -n, number of files; 0: no ring
  int64_t seconds = 0;              ///< rotation interval; 0: no rotation by time
  uint64_t max_bytes = 0;           ///< a file that is larger takes no further line; 0: no rotation by size
  int64_t utc_offset = 0;           ///< seconds
  bool strict = false;              ///< --strict: Apache's way wherever that damages no line
  OnFull on_full = OnFull::kBlock;  ///< --on-full

  bool HasTemplate() const { return file.find('%') != std::string::npos; }
};

/// --status: say who logs to a target and what its segments are, instead of logging.
struct StatusRequest {
  std::string target;  ///< a <logfile> operand, resolved textually
  bool json = false;
};

/// Why a command line was not accepted.
struct Refusal {
  std::string message;     ///< first line for stderr, without newline
  bool with_usage = true;  ///< the usage text follows
};

/// Reads Apache's grammar: POSIX option order (the first word that is no option ends them, so does any `--word`),
/// letters may be combined, the last of a repeated option counts, then 2 to 4 operands. Numbers are read as atoi(3)
/// reads them, in 64 bits: "60s" is 60, "0x10" is 0 and so invalid.
/// Ours come first, before Apache's options: `--strict`, `--on-full=block|drop`, `--status`. Behind the first other
/// word they mean what they mean to Apache: the end of options. With --strict sizes, times and offsets wrap in 32 bits
/// as Apache's do.
/// @param arguments  argv; the first one names the program in messages. Refusals end the program with status 1.
/// Source  httpd 2.4 manual, programs/rotatelogs.html
std::variant<Settings, StatusRequest, Refusal> ParseCommandLine(const std::vector<std::string>& arguments);

/// @param program  argv[0] as it was given
std::string UsageText(std::string_view program);

/// What -v prints at start: one "name: value" per line.
std::string DescribeSettings(const Settings& settings);

enum class Reason { kNone, kNew, kTime, kSize, kForced };

/// The words of -v: "Time interval expired".
std::string_view ReasonText(Reason reason);

/// A rotation interval in adjusted seconds (Unix time + the offset from UTC in force).
struct Interval {
  int64_t start = 0;  ///< names the file
  int64_t end = 0;    ///< first second that does not belong to it; 0 without rotation by time
};

/// The interval for a file opened at `now`. A second file within one interval (a size rotation, a clock that was set
/// back) is named by `now`, not by the interval's start.
/// @param previous_end  end of the interval of the file before; 0: there is none
Interval NextInterval(const Settings& settings, int64_t now, int64_t previous_end);

/// Whether the next line belongs into a new file. Size comes before time, as in Apache's messages.
Reason Due(const Settings& settings, int64_t now, int64_t interval_end, uint64_t file_bytes);

/// How many bytes of `lines` (whole lines) still go into a file of `file_bytes`, which must not exceed `max_bytes`: up
/// to and including the first line that makes it larger than `max_bytes`. Everything when `max_bytes` is 0.
size_t Fitting(uint64_t max_bytes, uint64_t file_bytes, std::string_view lines);

}  // namespace rotatelogs
