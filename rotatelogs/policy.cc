#include "rotatelogs/policy.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>

#include "rotatelogs/names.h"

namespace rotatelogs {

namespace {

constexpr std::string_view kFlags = "lfDtTvec";
constexpr std::string_view kWithValue = "Lpn";

/// atoi(3) without its undefined behaviour: white space, a sign, digits; the rest is not looked at. Saturates.
int64_t LeadingNumber(std::string_view text) {
  size_t at = text.find_first_not_of(" \t\n\v\f\r");
  if (at == std::string_view::npos) return 0;
  bool negative = false;
  if (text[at] == '-' || text[at] == '+') negative = text[at++] == '-';
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  int64_t value = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    const int digit = text[at] - '0';
    if (value > (kMax - digit) / 10) return negative ? -kMax : kMax;
    value = value * 10 + digit;
  }
  return negative ? -value : value;
}

/// atoi(3) of glibc: 64 bits are read, 32 of them kept.
int32_t Atoi(std::string_view text) {
  return static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint64_t>(LeadingNumber(text))));
}

/// Where the letter of a size is, in Apache's order of search; npos: the operand is no size.
size_t SizeLetter(std::string_view text) {
  for (const char letter : {'B', 'K', 'M', 'G'}) {
    const size_t at = text.find(letter);
    if (at != std::string_view::npos) return at;
  }
  return std::string_view::npos;
}

/// Bytes of "5M", "5MB", "100B"; nullopt: invalid (zero, negative, a letter that is not last, too large).
/// @param strict  as Apache reads them: the factor is that of the last letter alone, the product has 32 bits
std::optional<uint64_t> ParseSize(std::string_view text, size_t letter, bool strict) {
  if (letter + 1 != text.size()) return std::nullopt;
  if (!strict && text[letter] == 'B' && letter > 0 && std::string_view("KMG").find(text[letter - 1]) != text.npos) {
    --letter;
  }
  uint64_t factor = 1;
  switch (text[letter]) {
    case 'K':
      factor = uint64_t{1} << 10;
      break;
    case 'M':
      factor = uint64_t{1} << 20;
      break;
    case 'G':
      factor = uint64_t{1} << 30;
      break;
    default:
      break;
  }
  if (strict) {
    const auto bytes = static_cast<uint32_t>(static_cast<uint32_t>(Atoi(text)) * static_cast<uint32_t>(factor));
    return bytes == 0 ? std::nullopt : std::optional<uint64_t>(bytes);
  }
  const int64_t number = LeadingNumber(text);
  if (number <= 0 || static_cast<uint64_t>(number) > (uint64_t{1} << 62) / factor) return std::nullopt;
  return static_cast<uint64_t>(number) * factor;
}

/// The words of ours in front of Apache's options. `at` moves behind them.
std::optional<Refusal> TakeOurWords(Settings& settings, const std::vector<std::string>& arguments, size_t& at) {
  constexpr std::string_view kOnFull = "--on-full";
  for (; at < arguments.size(); ++at) {
    const std::string_view word = arguments[at];
    if (word == "--strict") {
      settings.strict = true;
    } else if (word == "--on-full=block") {
      settings.on_full = OnFull::kBlock;
    } else if (word == "--on-full=drop") {
      settings.on_full = OnFull::kDrop;
    } else if (word == kOnFull || word.starts_with(std::string(kOnFull) + "=")) {
      return Refusal{"rotatelogs: " + std::string(word) + ": write --on-full=block or --on-full=drop", false};
    } else {
      break;
    }
  }
  return std::nullopt;
}

/// What stands behind --status.
std::variant<Settings, StatusRequest, Refusal> ParseStatus(const std::vector<std::string>& words) {
  StatusRequest out;
  bool seen = false;
  for (const std::string& word : words) {
    if (word == "--json") {
      out.json = true;
    } else if (word.starts_with("--") || seen) {
      return Refusal{"rotatelogs: --status: " + word + " is too much: write --status [--json] <logfile>", false};
    } else {
      out.target = word;
      seen = true;
    }
  }
  if (out.target.empty()) {
    return Refusal{"rotatelogs: --status needs the <logfile> of a log's command line: --status [--json] <logfile>",
                   false};
  }
  if (out.target.size() >= 4096) return Refusal{"Invalid filename given", false};
  out.target = CanonicalPath(out.target);
  return out;
}

/// One operand after the file name. @return a message, or nullptr when it was taken
const char* TakeOperand(Settings& settings, const std::string& text, bool last) {
  const size_t letter = SizeLetter(text);
  if (letter != std::string::npos) {
    if (settings.max_bytes > 0) return "Rotation size parameter allowed only once";
    const auto bytes = ParseSize(text, letter, settings.strict);
    if (!bytes) return "Invalid rotation size parameter";
    settings.max_bytes = *bytes;
    return nullptr;
  }
  if (last && (settings.max_bytes > 0 || settings.seconds > 0)) {
    if (settings.local_time) return "UTC offset parameter is not valid with -l";
    if (settings.strict) {
      settings.utc_offset = static_cast<int32_t>(static_cast<uint32_t>(Atoi(text)) * 60U);
      return nullptr;
    }
    // Bounded, so that sums with the time cannot overflow; a million days is more than any name can show.
    constexpr int64_t kMaxMinutes = int64_t{1440} * 1000000;
    settings.utc_offset = std::clamp(LeadingNumber(text), -kMaxMinutes, kMaxMinutes) * 60;
    return nullptr;
  }
  if (settings.seconds > 0) return "Rotation time parameter allowed only once";
  settings.seconds =
      settings.strict ? Atoi(text) : std::min<int64_t>(LeadingNumber(text), std::numeric_limits<int32_t>::max());
  if (settings.seconds <= 0) {
    settings.seconds = 0;
    return "Invalid rotation time parameter";
  }
  return nullptr;
}

std::string BaseName(std::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));
}

}  // namespace

std::variant<Settings, StatusRequest, Refusal> ParseCommandLine(const std::vector<std::string>& arguments) {
  Settings settings;
  const std::string name = arguments.empty() ? "rotatelogs" : BaseName(arguments[0]);
  size_t at = 1;
  bool bad_ring = false;
  if (auto refusal = TakeOurWords(settings, arguments, at)) return *refusal;
  if (at < arguments.size() && arguments[at] == "--status") {
    if (at > 1) return Refusal{"rotatelogs: --status stands alone: " + arguments[at - 1] + " is for logging", false};
    return ParseStatus({arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1, arguments.end()});
  }
  for (; at < arguments.size(); ++at) {
    const std::string& word = arguments[at];
    if (word.size() < 2 || word[0] != '-') break;
    if (word[1] == '-') {
      ++at;
      break;
    }
    for (size_t i = 1; i < word.size(); ++i) {
      const char letter = word[i];
      if (kFlags.find(letter) != std::string_view::npos) {
        switch (letter) {
          case 'l':
            settings.local_time = true;
            break;
          case 'f':
            settings.open_first = true;
            break;
          case 'D':
            settings.make_directories = true;
            break;
          case 't':
            settings.truncate = true;
            break;
          case 'T':
            settings.truncate_rotated = true;
            break;
          case 'v':
            settings.verbose = true;
            break;
          case 'e':
            settings.echo = true;
            break;
          default:
            settings.create_empty = true;
            break;
        }
        continue;
      }
      if (kWithValue.find(letter) == std::string_view::npos) {
        return Refusal{name + ": illegal option -- " + letter};
      }
      std::string value = word.substr(i + 1);
      if (value.empty()) {
        if (at + 1 >= arguments.size()) return Refusal{name + ": option requires an argument -- " + letter};
        value = arguments[++at];
      }
      if (letter == 'L') settings.link = value;
      if (letter == 'p') settings.program = value;
      if (letter == 'n') {
        settings.ring = LeadingNumber(value);
        bad_ring = settings.ring <= 0 || settings.ring > std::numeric_limits<int32_t>::max();
      }
      break;
    }
  }
  const size_t operands = arguments.size() > at ? arguments.size() - at : 0;
  if (operands < 2 || operands > 4) return Refusal{"Incorrect number of arguments"};
  if (arguments[at].size() >= 4096) return Refusal{"Invalid filename given", false};
  settings.file = CanonicalPath(arguments[at++]);
  for (; at < arguments.size(); ++at) {
    if (const char* message = TakeOperand(settings, arguments[at], at + 1 == arguments.size())) return Refusal{message};
  }
  if (bad_ring) return Refusal{"Invalid -n argument", false};
  if (settings.ring > 0 && settings.HasTemplate()) return Refusal{"Cannot use -n with % in filename", false};
  return settings;
}

std::string UsageText(std::string_view program) {
  const std::string name(program);
  return "Usage: " + name +
         " [-vlfDtTec] [-L linkname] [-p prog] [-n number] <logfile> "
         "{<rotation time in seconds>|<rotation size>(B|K|M|G)} [offset minutes from UTC]\n\n"
         "Reads log lines from standard input and writes them, whole, to a file that changes at each multiple of\n"
         "the rotation time and when it has grown past the rotation size. Any number of processes may be given the\n"
         "same <logfile>. The file is <logfile>.<start of the interval in Unix time>, unless <logfile> contains\n"
         "strftime conversions or -n or -t is given.\n\n"
         "  -v       say what happens, on standard error\n"
         "  -l       intervals and names in local time, not UTC\n"
         "  -L path  hard link from path to the current file\n"
         "  -p prog  run \"prog <new file> [<previous file>]\" after each rotation\n"
         "  -f       open the file at start, not at the first line\n"
         "  -D       create missing directories\n"
         "  -t       empty the file instead of rotating it\n"
         "  -T       empty a file that rotation opens again, but not the first one\n"
         "  -e       copy the input to standard output\n"
         "  -c       with a rotation time: a file for each interval, even an empty one\n"
         "  -n num   a ring of num files: <logfile>, <logfile>.1, ...\n\n"
         "Before all of these:\n"
         "  --on-full=block|drop  while the disk is full: wait (default), or discard whole lines and count them\n"
         "  --strict              Apache's way wherever that damages no line, see rotatelogs(8)\n"
         "  --status [--json] <logfile>  who logs to it, and what its files are; nothing else\n\n"
         "In httpd.conf:  CustomLog \"|" +
         name + " /var/log/access 86400\" common\n";
}

std::string DescribeSettings(const Settings& settings) {
  std::string out;
  const auto line = [&out](const char* format, auto value) {
    char text[8192];
    std::snprintf(text, sizeof text, format, value);
    out += text;
    out += '\n';
  };
  const auto yes = [](bool value) { return value ? "yes" : "no"; };
  line("Rotation time interval:      %12lld", static_cast<long long>(settings.seconds));
  if (settings.strict) {
    line("Rotation size interval:      %12d", static_cast<int32_t>(static_cast<uint32_t>(settings.max_bytes)));
  } else {
    line("Rotation size interval:      %12llu", static_cast<unsigned long long>(settings.max_bytes));
  }
  line("Rotation time UTC offset:    %12lld", static_cast<long long>(settings.utc_offset));
  line("Rotation based on localtime: %12s", yes(settings.local_time));
  line("Rotation file date pattern:  %12s", yes(settings.HasTemplate()));
  line("Rotation file forced open:   %12s", yes(settings.open_first));
  line("Create parent directories:   %12s", yes(settings.make_directories));
  line("Rotation verbose:            %12s", yes(settings.verbose));
  line("Rotation create empty logs:  %12s", yes(settings.create_empty));
  line("Rotation file name: %21s", settings.file.c_str());
  line("Post-rotation prog: %21s", settings.program.empty() ? "not used" : settings.program.c_str());
  return out;
}

std::string_view ReasonText(Reason reason) {
  switch (reason) {
    case Reason::kNew:
      return "Open a new file";
    case Reason::kTime:
      return "Time interval expired";
    case Reason::kSize:
      return "Maximum size reached";
    case Reason::kForced:
      return "Forced rotation";
    case Reason::kNone:
      break;
  }
  return "None";
}

Interval NextInterval(const Settings& settings, int64_t now, int64_t previous_end) {
  if (settings.seconds == 0) return {now, 0};
  int64_t start = now / settings.seconds * settings.seconds;
  if (start > now) start -= settings.seconds;  // before 1970 in adjusted time
  const int64_t end = start + settings.seconds;
  if (start < previous_end) start = now;
  return {start, end};
}

Reason Due(const Settings& settings, int64_t now, int64_t interval_end, uint64_t file_bytes) {
  if (settings.max_bytes > 0 && file_bytes > settings.max_bytes) return Reason::kSize;
  if (settings.seconds > 0 && now >= interval_end) return Reason::kTime;
  return Reason::kNone;
}

size_t Fitting(uint64_t max_bytes, uint64_t file_bytes, std::string_view lines) {
  if (max_bytes == 0 || max_bytes - file_bytes >= lines.size()) return lines.size();
  const size_t end = lines.find('\n', static_cast<size_t>(max_bytes - file_bytes));
  return end == std::string_view::npos ? lines.size() : end + 1;
}

}  // namespace rotatelogs
