#include "rotatelogs/inspect.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <set>

#include "os/file.h"
#include "rotatelogs/names.h"
#include "rotatelogs/seal.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::ErrorKind;

namespace {

int g_glob_error = 0;
int OnGlobError(const char*, int sys) {
  if (sys != ENOENT && sys != ENOTDIR) g_glob_error = sys;
  return 0;
}

void AddMatches(std::set<std::string>& out, const std::string& pattern) {
  glob_t found{};
  if (::glob(pattern.c_str(), GLOB_NOSORT, OnGlobError, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc; ++i) out.insert(found.gl_pathv[i]);
  }
  ::globfree(&found);
}

std::string Stem(const std::string& directory) {
  return directory.empty() ? "." : directory;
}

/// Every file that a writer of the target can have made, by name.
std::set<std::string> SegmentPaths(TargetStatus& status, const MeetingPlace& place) {
  const SegmentPatterns patterns = PatternsOf(status.target);
  std::set<std::string> tailed;
  std::set<std::string> out;
  g_glob_error = 0;
  AddMatches(out, patterns.name);
  AddMatches(tailed, patterns.with_tail);
  for (const std::string& path : tailed) {
    // Behind a wild card only the last number can be told from the rest of the name.
    const size_t tail = patterns.exact ? status.target.size() : path.rfind('.');
    if (IsSegmentSuffix(std::string_view(path).substr(tail))) out.insert(path);
  }
  if (g_glob_error != 0) {
    status.hidden.push_back("files: " + os::SysError(g_glob_error, "list " + Stem(place.directory)).Text());
  }
  return out;
}

SegmentStatus Examine(const std::string& path, const std::vector<std::filesystem::path>& places,
                      const std::optional<Segment>& current, const os::Clock& clock) {
  SegmentStatus out;
  out.path = path;
  struct statx status {};
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &status) != 0) {
    const int sys = errno;
    out.reason = os::SysError(sys, "look at it").Text();
    return out;
  }
  out.bytes = status.stx_size;
  out.modified = status.stx_mtime.tv_sec;
  if (status.stx_mask & STATX_BTIME) out.created = status.stx_btime.tv_sec;
  out.current = current && current->inode == status.stx_ino &&
                current->device == ::makedev(status.stx_dev_major, status.stx_dev_minor);
  if (!S_ISREG(status.stx_mode)) {
    out.reason = "no regular file";
    return out;
  }
  if (::geteuid() != 0 && status.stx_uid != ::geteuid()) {
    out.reason = "only user " + std::to_string(status.stx_uid) + " and root may ask the kernel who writes to it";
    return out;
  }
  auto fd = os::Open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) {
    out.reason = fd.error().Text();
    return out;
  }
  const Seal seal = TrySeal(places, fd.value(), 0s, clock, false);
  out.sealed = seal.sealed;
  out.certain = seal.certain;
  out.reason = seal.reason;
  return out;
}

std::string LocalTime(int64_t unix_time) {
  const time_t at = unix_time;
  tm fields{};
  ::localtime_r(&at, &fields);
  char text[64];
  return std::string(text, ::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &fields));
}

std::string Amount(uint64_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// A JSON string. Bytes that are no UTF-8 become U+FFFD: a file name may hold anything.
std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      if (byte == '"' || byte == '\\') {
        out += '\\';
        out += text[i];
      } else if (byte < 0x20 || byte == 0x7f) {
        char escaped[8];
        std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
        out += escaped;
      } else {
        out += text[i];
      }
      ++i;
      continue;
    }
    const size_t length = byte >= 0xc2 && byte < 0xe0   ? 2
                          : byte >= 0xe0 && byte < 0xf0 ? 3
                          : byte >= 0xf0 && byte < 0xf5 ? 4
                                                        : 0;
    bool whole = length > 0 && i + length <= text.size();
    for (size_t k = 1; whole && k < length; ++k) whole = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
    out += whole ? std::string(text.substr(i, length)) : "\\ufffd";
    i += whole ? length : 1;
  }
  return out + "\"";
}

std::string Field(const char* name, const std::string& value) {
  return "\"" + std::string(name) + "\":" + value;
}

const char* Truth(bool value) {
  return value ? "true" : "false";
}

/// The targets whose writers meet in a directory: for whoever mistyped one.
std::string TargetsIn(const std::string& directory) {
  std::string out;
  auto names = os::ListDirectory(Stem(directory));
  if (!names) return out;
  std::sort(names.value().begin(), names.value().end());
  int count = 0;
  for (const std::string& name : names.value()) {
    const std::string target = TargetOfMeetingPlace(name);
    if (target.empty()) continue;
    if (++count > 10) return out + ", ...";
    out += (out.empty() ? "" : ", ") + directory + target;
  }
  return out;
}

}  // namespace

TargetStatus Inspect(const std::string& target, const os::Clock& clock) {
  TargetStatus out;
  out.target = target;
  const MeetingPlace place = MeetingPlaceOf(target);
  out.rendezvous = place.Path();
  std::optional<Segment> current;
  {
    auto view = Look(out.rendezvous, 2s);  // its lock is given back before the files are looked at
    if (view) {
      out.met = true;
      out.writers = std::move(view.value().writers);
      current = std::move(view.value().current);
    } else if (view.error().kind == ErrorKind::kDenied) {
      out.writers_seen = false;
      struct stat status {};
      out.met = ::lstat(out.rendezvous.c_str(), &status) == 0;
      out.hidden.push_back("writers: " + (out.met ? "only user " + std::to_string(status.st_uid) +
                                                        " and root may look into " + out.rendezvous
                                                  : view.error().Text()));
    } else if (view.error().kind != ErrorKind::kNotFound) {
      out.writers_seen = false;
      out.met = true;
      out.hidden.push_back("writers: " + view.error().Text());
    }
  }
  std::set<std::string> paths = SegmentPaths(out, place);
  if (current) paths.insert(place.directory + current->path);  // whatever its name
  for (const std::string& path : paths) {
    SegmentStatus segment = Examine(path, {out.rendezvous}, current, clock);
    if (segment.modified != 0 || ::access(path.c_str(), F_OK) == 0) out.segments.push_back(std::move(segment));
  }
  std::sort(out.segments.begin(), out.segments.end(), [](const SegmentStatus& a, const SegmentStatus& b) {
    if (a.current != b.current) return a.current;
    if (a.path.size() != b.path.size()) return a.path.size() > b.path.size();
    return a.path > b.path;
  });
  if (current && std::none_of(out.segments.begin(), out.segments.end(), [](const auto& s) { return s.current; })) {
    out.current_gone = place.directory + current->path;
  }
  return out;
}

std::string AsText(const TargetStatus& status) {
  std::string out = status.target + ": " +
                    (status.writers_seen ? Amount(status.writers.size(), "writer") : "writers not visible") + ", " +
                    Amount(status.segments.size(), "file") + "\n";
  for (const std::string& clause : status.hidden) out += "  not visible: " + clause + "\n";
  for (const LeaseView& writer : status.writers) {
    auto program = os::ProgramName(writer.writer.pid);
    out += "  writer " + std::to_string(writer.writer.pid) + " (" + (program ? program.value() : "?") +
           ") started by " + std::to_string(writer.parent) + (writer.server.empty() ? "" : " (" + writer.server + ")") +
           ", since " + LocalTime(writer.since);
    if (writer.draining) out += ", drains the rest of its input";
    if (writer.segment.empty()) out += ", holds no file";
    if (writer.dropped_lines > 0) {
      out += ", dropped " + Amount(writer.dropped_lines, "line") + " (" + Amount(writer.dropped_bytes, "byte") + ")";
    }
    out += "\n";
  }
  if (!status.current_gone.empty()) {
    out += "  current " + status.current_gone + " was removed or renamed; it is made again at the next rotation\n";
  }
  for (const SegmentStatus& segment : status.segments) {
    out += std::string(segment.current ? "  current " : "  segment ") + segment.path + ", " +
           Amount(segment.bytes, "byte") + ", " +
           (segment.created != 0 ? "since " + LocalTime(segment.created) : "last write " + LocalTime(segment.modified));
    if (!segment.sealed) {
      out += ", cannot be told whether it is sealed: " + segment.reason;
    } else if (!*segment.sealed) {
      out += ", open: " + segment.reason;
    } else {
      out += segment.certain ? ", sealed" : ", no writer was observed";
    }
    out += "\n";
  }
  return out;
}

std::string AsJson(const TargetStatus& status) {
  const auto number = [](auto value) { return std::to_string(value); };
  std::string out = "{" + Field("target", Quoted(status.target)) + "," +
                    Field("rendezvous", status.met ? Quoted(status.rendezvous) : "null") + ",\"writers\":";
  if (!status.writers_seen) out += "null";
  if (status.writers_seen) out += "[";
  for (const LeaseView& writer : status.writers) {
    auto program = os::ProgramName(writer.writer.pid);
    out += std::string(out.back() == '[' ? "" : ",") + "{" + Field("pid", number(writer.writer.pid)) + "," +
           Field("program", program ? Quoted(program.value()) : "null") + "," + Field("parent", number(writer.parent)) +
           "," + Field("parent_program", writer.server.empty() ? "null" : Quoted(writer.server)) + "," +
           Field("since", number(writer.since)) + "," + Field("draining", Truth(writer.draining)) + "," +
           Field("segment", writer.segment.empty() ? "null" : Quoted(writer.segment)) + "," +
           Field("dropped_lines", number(writer.dropped_lines)) + "," +
           Field("dropped_bytes", number(writer.dropped_bytes)) + "}";
  }
  if (status.writers_seen) out += "]";
  out += ",\"segments\":[";
  for (const SegmentStatus& segment : status.segments) {
    out += std::string(out.back() == '[' ? "" : ",") + "{" + Field("path", Quoted(segment.path)) + "," +
           Field("bytes", number(segment.bytes)) + "," +
           Field("created", segment.created != 0 ? number(segment.created) : "null") + "," +
           Field("modified", number(segment.modified)) + "," + Field("current", Truth(segment.current)) + "," +
           Field("sealed", segment.sealed ? Truth(*segment.sealed) : "null") + "," +
           Field("certain", Truth(segment.certain)) + "," + Field("reason", Quoted(segment.reason)) + "}";
  }
  out += "]," + Field("current_gone", status.current_gone.empty() ? "null" : Quoted(status.current_gone)) +
         ",\"not_visible\":[";
  for (const std::string& clause : status.hidden) out += (out.back() == '[' ? "" : ",") + Quoted(clause);
  return out + "]}\n";
}

int PrintStatus(const StatusRequest& request, const os::Clock& clock) {
  ::signal(SIGIO, SIG_IGN);
  const TargetStatus status = Inspect(request.target, clock);
  if (!status.Known()) {
    const std::string others = TargetsIn(MeetingPlaceOf(request.target).directory);
    std::string line =
        "rotatelogs: nothing is known about " + request.target + ": nobody logs to it, and it has no files";
    for (const std::string& clause : status.hidden) line += "; not visible: " + clause;
    if (!others.empty()) line += "; targets here: " + others;
    std::fprintf(stderr, "%s\n", line.c_str());
    return 1;
  }
  const std::string text = request.json ? AsJson(status) : AsText(status);
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace rotatelogs
