// Runs ours and Debian's rotatelogs over the same command lines and compares exit status, first message, file names and
// contents. What we do differently on purpose is in the manual page's table and not here.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <regex>

#include "tests/rotatelogs/harness.h"

namespace {

using harness::Child;
using harness::Files;
using harness::FirstLine;
using harness::TempDir;
namespace fs = std::filesystem;

constexpr const char* kDebian = "/usr/bin/rotatelogs";

/// One program run; several of them in one directory make a case.
struct Step {
  std::vector<std::string> words;
  std::string input = "one\ntwo\n";
  bool paced = false;  ///< one line at a time, each awaited in the files
};
struct Case {
  std::string name;
  std::vector<Step> steps;
  std::vector<std::string> environment = {};
  std::map<std::string, std::string> before = {};  ///< files that exist already
};

struct Seen {
  std::vector<int> statuses;
  std::vector<std::string> messages;
  std::map<std::string, std::string> files;
  std::string out;
  bool operator==(const Seen&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  for (const int status : seen.statuses) out << "status " << status << "\n";
  for (const auto& message : seen.messages) out << "message " << message << "\n";
  for (const auto& [name, content] : seen.files) out << "file " << name << ": " << content.substr(0, 200) << "\n";
  return out << "stdout " << seen.out << "\n";
}

size_t TotalSize(const fs::path& directory) {
  size_t out = 0;
  for (const auto& [name, content] : Files(directory)) out += content.size();
  return out;
}

/// Seconds in names are made equal: the two programs do not run in the same one.
std::string WithoutSeconds(const std::string& text) {
  static const std::regex kTime("\\.[0-9]{10}");
  return std::regex_replace(text, kTime, ".TIME");
}

Seen Observe(const std::string& program, const Case& test, const fs::path& directory) {
  fs::create_directory(directory);
  for (const auto& [name, content] : test.before) std::ofstream(directory / name) << content;
  Seen seen;
  for (const Step& step : test.steps) {
    std::vector<std::string> argv = step.words;
    argv.insert(argv.begin(), program);
    Child child = harness::Start({argv, directory, test.environment, {}});
    if (step.paced) {
      size_t expected = TotalSize(directory);
      for (const std::string& line : harness::Lines(step.input)) {
        harness::Write(child.in, line + "\n");
        // A ring may shrink in total, so a change is awaited, not a sum.
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
        while (TotalSize(directory) == expected && std::chrono::steady_clock::now() < deadline) ::usleep(200);
        expected = TotalSize(directory);
      }
    } else {
      harness::Write(child.in, step.input);
    }
    child.in.Reset();
    const std::string err = harness::ReadToEnd(child.err);
    seen.out += harness::ReadToEnd(child.out);
    seen.statuses.push_back(harness::Wait(child));
    seen.messages.push_back(WithoutSeconds(FirstLine(err)));
  }
  for (const auto& [name, content] : Files(directory)) seen.files[WithoutSeconds(name)] = content;
  return seen;
}

std::vector<Case> Cases() {
  std::vector<Case> out;
  const auto one = [&out](std::vector<std::string> words) {
    std::string name;
    for (const auto& word : words) name += word.substr(0, 60) + " ";
    out.push_back({name, {{words}}});
  };
  // The grammar.
  one({});
  one({"log"});
  one({"log", "1", "2M", "3", "4"});
  one({"--help"});
  one({"-x"});
  one({"-x", "log", "60"});
  one({"-L"});
  one({"-n"});
  one({"-vx", "log", "60"});
  one({"log", "5M"});
  one({"log", "100B"});
  one({"log", "1.5M"});
  one({"log", "5Mx"});
  one({"log", "M"});
  one({"log", "0M"});
  one({"log", "2G"});
  one({"log", "0"});
  one({"log", "abc"});
  one({"log", "-1"});
  one({"log", "0x10"});
  one({"log", ""});
  one({"log", " 86400"});
  one({"log", "+86400"});
  one({"log", "86400s"});
  one({"log", "864000m"});
  one({"log", "086400"});
  one({"log", "86400", "-540"});
  one({"log", "86400", "540"});
  one({"log", "86400", "5M"});
  one({"log", "5M", "86400"});
  one({"log", "86400", "5M", "-540"});
  one({"log", "86400", "86400"});
  one({"log", "86400", "86400", "5M"});
  one({"log", "5M", "5M"});
  one({"log", "604800"});
  one({"-l", "log", "86400"});
  one({"-l", "log", "86400", "60"});
  one({"log", "86400", "-l"});
  one({"-n", "0", "log", "5M"});
  one({"-n", "abc", "log", "5M"});
  one({"-n", "-1", "log", "5M"});
  one({"-n", "3", "log.%Y", "5M"});
  one({"-n", "3", "-n", "5", "log", "5M"});
  one({"-n3", "log", "5M"});
  one({"log", "5M", "-n", "3"});
  one({"--", "log", "86400"});
  one({"-ft", "log", "86400"});
  one({"-t", "log", "5M"});
  one({std::string(5000, 'x'), "60"});
  // Names.
  one({"log.%Y%m%d", "86400"});
  one({"log.%Y-%m-%d-%H", "86400", "60"});
  one({"100%%", "86400"});
  one({"log.%Q", "86400"});
  one({"log.%z", "86400", "60"});
  one({"a//./b/../log", "86400"});
  one({"./log", "86400"});
  one({"-t", "log.%Y", "86400"});
  one({"", "86400"});
  // Directories and permissions.
  one({"missing/log", "86400"});
  one({"-D", "made/deep/log", "86400"});
  one({"-D", "%Y/%m/log", "86400"});
  one({"/proc/log", "86400"});
  one({"-D", "/proc/sub/log", "86400"});
  one({std::string(260, 'n'), "86400"});
  one({"dir/", "86400"});
  // Links, programs, echo.
  one({"-L", "link", "log", "86400"});
  one({"-L", "link", "-n", "2", "log", "86400"});
  one({"-p", "true", "log", "86400"});
  one({"-p", "/bin/true", "log", "86400"});
  one({"-p", "./no such", "log", "86400"});
  one({"-p", "/bin/echo", "-t", "log", "86400"});
  one({"-e", "log", "86400"});
  one({"-v", "-n", "2", "log", "86400"});
  // No input.
  const auto silent = [&out](std::vector<std::string> words) {
    std::string name = "silent: ";
    for (const auto& word : words) name += word + " ";
    out.push_back({name, {{words, ""}}});
  };
  silent({"log", "86400"});
  silent({"-f", "log", "86400"});
  silent({"-f", "-n", "2", "log", "5M"});
  silent({"-c", "log", "5M"});
  silent({"-f", "-t", "log", "86400"});
  silent({"-f", "missing/log", "86400"});
  // Contents.
  out.push_back({"no final newline", {{{"log", "86400"}, "one\ntwo"}}});
  out.push_back({"NUL bytes", {{{"log", "86400"}, std::string("a\0b\n\0\n", 6)}}});
  out.push_back({"empty lines", {{{"log", "86400"}, "\n\n\na\n\n"}}});
  out.push_back({"a long line", {{{"log", "86400"}, std::string(300000, 'x') + "\n"}}});
  out.push_back({"appended to", {{{"log", "86400"}}, {{"log", "86400"}}}});
  out.push_back({"-t empties at start", {{{"-t", "log", "86400"}}, {{"-t", "log", "86400"}, "three\n"}}});
  out.push_back({"-T appends at start", {{{"-T", "log.%Y", "86400"}}, {{"-T", "log.%Y", "86400"}, "three\n"}}});
  out.push_back({"-n appends at start", {{{"-n", "3", "log", "5M"}}, {{"-n", "3", "log", "5M"}, "three\n"}}});
  const std::string eight = "1234567\n";
  out.push_back({"ring by size", {{{"-n", "4", "log", "16B"}, eight + eight + eight + eight + "last\n", true}}});
  out.push_back({"ring goes round", {{{"-n", "2", "log", "7B"}, "aaaaaaa\nbbbbbbbb\nccccccccc\nd\n", true}}});
  out.push_back({"ring of one", {{{"-n", "1", "log", "7B"}, "aaaaaaa\nbb\n", true}}});
  out.push_back({"-t by size", {{{"-t", "log", "7B"}, "aaaaaaa\nbb\n", true}}});
  out.push_back({"link follows the ring", {{{"-n", "4", "-L", "link", "log", "7B"}, "aaaaaaa\nbb\n", true}}});
  // Local time: each zone names the day as Apache does.
  for (const char* zone : {"TZ=Europe/Berlin", "TZ=America/St_Johns", "TZ=Asia/Kathmandu", "TZ=UTC"}) {
    out.push_back({std::string("-l in ") + zone, {{{"-l", "log.%Y%m%d%H%M", "86400"}}}, {zone}});
  }
  return out;
}

TEST(Differential, SixtyCommandLinesAndMoreDoWhatDebiansRotatelogsDoes) {
  if (::access(kDebian, X_OK) != 0) GTEST_SKIP() << kDebian << " is missing (package apache2-utils)";
  const auto cases = Cases();
  EXPECT_GE(cases.size(), 60U);
  for (const Case& test : cases) {
    SCOPED_TRACE(test.name);
    TempDir ours;
    TempDir theirs;
    Seen a = Observe(ROTATELOGS, test, ours.path() / "d");
    Seen b = Observe(kDebian, test, theirs.path() / "d");
    if (a != b) {  // an interval may have ended between the two: once more, close together
      a = Observe(ROTATELOGS, test, ours.path() / "again");
      b = Observe(kDebian, test, theirs.path() / "again");
    }
    EXPECT_EQ(a, b);
  }
}

}  // namespace
