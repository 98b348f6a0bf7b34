#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rotatelogs/policy.h"

namespace rotatelogs {

/// Resolves `//`, `.` and `x/..` without asking the file system (a symbolic link before `..` is not followed).
std::string CanonicalPath(std::string_view path);

/// Name of the file for an interval.
/// With strftime conversions they are expanded for `start`; with -t the bare name; with -n `file`, `file.1`, ...;
/// otherwise `file.%010d` of `start`.
/// @param start       adjusted seconds (see Interval)
/// @param utc_offset  seconds that `start` is ahead of Unix time: what %z shows
/// @param zone        what %Z shows
/// @param ring_index  0 .. ring-1; only used with -n
std::string SegmentName(const Settings& settings, int64_t start, int64_t utc_offset, const std::string& zone,
                        int64_t ring_index);

/// The next free-to-try name after `taken` for a rotation that would reuse `name`: `name.1`, and after `name.N`
/// `name.N+1`.
std::string UniqueName(const std::string& name, const std::string& taken);

/// True for `name` itself and for `name.N`: one of the names that UniqueName() makes from it.
bool IsVariantOf(std::string_view candidate, std::string_view name);

/// Where the writers of one target meet.
struct MeetingPlace {
  std::string directory;  ///< the part of the target that holds no conversion, "" = working directory, else ends in '/'
  std::string name;       ///< directory of the rendezvous inside it: ".<name>.rotate"
  std::string Path() const { return directory + name; }
};

/// From the target as in Settings::file. A `/` after the first conversion becomes "%2f"; a very long name is cut and
/// gets a hash, so that it fits into NAME_MAX.
MeetingPlace MeetingPlaceOf(std::string_view file);

/// True for a name that MeetingPlaceOf() makes.
bool IsMeetingPlace(std::string_view name);

/// The target whose writers meet there, without its directory: the reverse of MeetingPlaceOf() for names that fit. A
/// '%' that begins "%2f" is a '/'.
std::string TargetOfMeetingPlace(std::string_view name);

/// glob(7) patterns of every name that segments of a target can have, whatever the options of its writers. A pattern
/// may match more than that: ask IsSegmentSuffix() about what follows the name.
struct SegmentPatterns {
  std::string name;       ///< the target with its conversions as wild cards: -t, -n, conversions
  std::string with_tail;  ///< the same and ".", a digit, anything: a start time, a number of the ring, `.N`
  bool exact = false;     ///< `name` holds no wild card
};
SegmentPatterns PatternsOf(std::string_view file);

/// True for "", ".N" and ".N.N" (a start time and the number of UniqueName()): what may follow the name of a target.
bool IsSegmentSuffix(std::string_view tail);

/// Lease files inside the rendezvous: "writer.<pid>.<start time>".
std::string LeaseName(int64_t pid, uint64_t start_time);
bool IsLeaseName(std::string_view name);

/// The spool that belongs to a lease: "spool." and the same rest.
std::string SpoolName(std::string_view lease_name);
bool IsSpoolName(std::string_view name);

}  // namespace rotatelogs
