#include "rotatelogs/names.h"

#include <cstdio>
#include <ctime>
#include <filesystem>

namespace rotatelogs {

namespace {

constexpr std::string_view kSuffix = ".rotate";
constexpr std::string_view kLeasePrefix = "writer.";
constexpr std::string_view kSpoolPrefix = "spool.";

bool AllDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::string CanonicalPath(std::string_view path) {
  return std::filesystem::path(path).lexically_normal().string();
}

std::string SegmentName(const Settings& settings, int64_t start, int64_t utc_offset, const std::string& zone,
                        int64_t ring_index) {
  if (settings.HasTemplate()) {
    const time_t at = static_cast<time_t>(start);
    tm fields{};
    ::gmtime_r(&at, &fields);
    fields.tm_gmtoff = utc_offset;
    fields.tm_zone = zone.c_str();
    // A byte more than asked for, so that an expansion to nothing is told from one that does not fit.
    const std::string format = settings.file + '\x01';
    for (size_t size = 512; size <= 65536; size *= 2) {
      std::string out(size, '\0');
      const size_t length = ::strftime(out.data(), out.size(), format.c_str(), &fields);
      if (length == 0) continue;
      out.resize(length - 1);
      return out;
    }
    return settings.file;
  }
  if (settings.ring > 0) return ring_index == 0 ? settings.file : settings.file + "." + std::to_string(ring_index);
  if (settings.truncate) return settings.file;
  char suffix[32];
  std::snprintf(suffix, sizeof suffix, ".%010lld", static_cast<long long>(start));
  return settings.file + suffix;
}

bool IsVariantOf(std::string_view candidate, std::string_view name) {
  if (!candidate.starts_with(name)) return false;
  candidate.remove_prefix(name.size());
  return candidate.empty() || (candidate[0] == '.' && AllDigits(candidate.substr(1)));
}

std::string UniqueName(const std::string& name, const std::string& taken) {
  uint64_t number = 0;
  if (taken.size() > name.size() && taken.size() < name.size() + 18 && IsVariantOf(taken, name)) {
    number = std::stoull(taken.substr(name.size() + 1));
  }
  return name + "." + std::to_string(number + 1);
}

MeetingPlace MeetingPlaceOf(std::string_view file) {
  const size_t conversion = file.find('%');
  const size_t slash = file.substr(0, conversion).rfind('/');
  const size_t split = slash == std::string_view::npos ? 0 : slash + 1;
  MeetingPlace out;
  out.directory = std::string(file.substr(0, split));
  std::string name;
  for (const char c : file.substr(split)) {
    if (c == '/') {
      name += "%2f";
    } else {
      name += c;
    }
  }
  constexpr size_t kRoom = 200;
  if (name.size() > kRoom) {
    uint64_t hash = 14695981039346656037ULL;  // FNV-1a: stable across builds, unlike std::hash
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    char text[20];
    std::snprintf(text, sizeof text, "~%016llx", static_cast<unsigned long long>(hash));
    name = name.substr(0, kRoom) + text;
  }
  out.name = "." + name + std::string(kSuffix);
  return out;
}

bool IsMeetingPlace(std::string_view name) {
  return name.size() > kSuffix.size() + 1 && name.starts_with('.') && name.ends_with(kSuffix);
}

std::string TargetOfMeetingPlace(std::string_view name) {
  if (!IsMeetingPlace(name)) return "";
  name.remove_prefix(1);
  name.remove_suffix(kSuffix.size());
  std::string out(name);
  for (size_t at = 0; (at = out.find("%2f", at)) != std::string::npos; ++at) out.replace(at, 3, "/");
  return out;
}

namespace {

std::string Digits(int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += "[0-9]";
  return out;
}

/// What strftime(3) makes of one conversion, in the C locale. Empty: it is none, and stays as it is.
std::string PatternOfConversion(char letter) {
  switch (letter) {
    case 'Y':
    case 'G':
      return Digits(4);
    case 'C':
    case 'd':
    case 'g':
    case 'H':
    case 'I':
    case 'm':
    case 'M':
    case 'S':
    case 'U':
    case 'V':
    case 'W':
    case 'y':
      return Digits(2);
    case 'e':
    case 'k':
    case 'l':
      return "[ 0-9][0-9]";
    case 'j':
      return Digits(3);
    case 'u':
    case 'w':
      return Digits(1);
    case 's':
      return "[0-9]*";
    case 'F':
      return Digits(4) + "-" + Digits(2) + "-" + Digits(2);
    case 'D':
    case 'x':
      return Digits(2) + "/" + Digits(2) + "/" + Digits(2);
    case 'R':
      return Digits(2) + ":" + Digits(2);
    case 'T':
    case 'X':
      return Digits(2) + ":" + Digits(2) + ":" + Digits(2);
    case 'a':
    case 'b':
    case 'h':
      return "[A-Z][a-z][a-z]";
    case 'z':
      return "[+-]" + Digits(4);
    case 'n':
      return "\n";
    case 't':
      return "\t";
    case '%':
      return "%";
    case 'A':
    case 'B':
    case 'c':
    case 'p':
    case 'P':
    case 'r':
    case 'Z':
    case '+':
      return "*";
    default:
      return "";
  }
}

}  // namespace

SegmentPatterns PatternsOf(std::string_view file) {
  SegmentPatterns out;
  out.exact = true;
  for (size_t i = 0; i < file.size(); ++i) {
    if (file[i] == '%') {
      // glibc's flags and field widths change how a number is padded: anything may come of them.
      const size_t letter = file.find_first_not_of("_-0^#123456789EO", i + 1);
      const std::string pattern = letter == std::string_view::npos ? "" : PatternOfConversion(file[letter]);
      if (!pattern.empty()) {
        out.name += letter == i + 1 ? pattern : "*";
        out.exact = out.exact && file[letter] == '%';
        i = letter;
        continue;
      }
    }
    if (std::string_view("*?[]\\").find(file[i]) != std::string_view::npos) out.name += '\\';
    out.name += file[i];
  }
  out.with_tail = out.name + ".[0-9]*";
  return out;
}

bool IsSegmentSuffix(std::string_view tail) {
  for (int i = 0; i < 2 && !tail.empty(); ++i) {
    const size_t next = tail.find('.', 1);
    if (tail[0] != '.' || !AllDigits(tail.substr(1, next == std::string_view::npos ? next : next - 1))) return false;
    tail.remove_prefix(next == std::string_view::npos ? tail.size() : next);
  }
  return tail.empty();
}

std::string LeaseName(int64_t pid, uint64_t start_time) {
  return std::string(kLeasePrefix) + std::to_string(pid) + "." + std::to_string(start_time);
}

bool IsLeaseName(std::string_view name) {
  return name.starts_with(kLeasePrefix);
}

std::string SpoolName(std::string_view lease_name) {
  return std::string(kSpoolPrefix) + std::string(lease_name.substr(kLeasePrefix.size()));
}

bool IsSpoolName(std::string_view name) {
  return name.starts_with(kSpoolPrefix);
}

}  // namespace rotatelogs
