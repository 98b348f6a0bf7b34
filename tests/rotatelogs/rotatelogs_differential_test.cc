// Runs ours and Debian's rotatelogs over the same command lines and compares exit status, first message, file names and
// contents, with -v all messages. What we do differently on purpose is asserted as such, theirs beside ours, and where
// --strict goes back to Apache's way, that it does.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <regex>
#include <thread>

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
  bool paced = false;      ///< one line at a time, each awaited in the files
  std::string shell = {};  ///< how /bin/sh starts it: "exec \"$@\" 0</"; empty: without a shell
  bool deaf = false;       ///< nobody reads its standard output
  bool nonblocking = false;
};
struct Case {
  std::string name;
  std::vector<Step> steps;
  std::vector<std::string> environment = {};
  std::map<std::string, std::string> before = {};  ///< files that exist already
  std::map<std::string, std::string> links = {};   ///< symbolic links that exist already
};

struct Seen {
  std::vector<int> statuses;
  std::vector<std::string> messages;
  std::map<std::string, std::string> files;  ///< name -> content
  std::map<std::string, std::string> modes;
  std::string out;
  bool operator==(const Seen&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  for (const int status : seen.statuses) out << "status " << status << "\n";
  for (const auto& message : seen.messages) out << "message " << message << "\n";
  for (const auto& [name, content] : seen.files) out << "file " << name << ": " << content.substr(0, 200) << "\n";
  for (const auto& [name, mode] : seen.modes) out << "mode " << name << ": " << mode << "\n";
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

bool Verbose(const Step& step) {
  return !step.words.empty() && step.words[0].find('v') != std::string::npos && step.words[0][0] == '-';
}

Seen Observe(const std::vector<std::string>& program, const Case& test, const fs::path& directory) {
  fs::create_directory(directory);
  for (const auto& [name, content] : test.before) std::ofstream(directory / name) << content;
  for (const auto& [name, to] : test.links) fs::create_symlink(to, directory / name);
  Seen seen;
  for (const Step& step : test.steps) {
    harness::StartOptions start{program, directory, test.environment, {}};
    start.argv.insert(start.argv.end(), step.words.begin(), step.words.end());
    if (!step.shell.empty()) {
      const std::vector<std::string> shell = {"/bin/sh", "-c", step.shell, "sh"};
      start.argv.insert(start.argv.begin(), shell.begin(), shell.end());
    }
    start.nonblocking_input = step.nonblocking;
    Child child = harness::Start(start);
    if (step.deaf) child.out.Reset();
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
    if (child.out.valid()) seen.out += harness::ReadToEnd(child.out);
    seen.statuses.push_back(harness::Wait(child));
    seen.messages.push_back(WithoutSeconds(Verbose(step) && seen.statuses.back() == 0 ? err : FirstLine(err)));
  }
  for (const auto& [name, content] : Files(directory)) {
    const std::string shown = WithoutSeconds(name);
    seen.files[shown] = content;
    struct stat status {};
    if (::stat((directory / name).c_str(), &status) == 0) {
      seen.modes[shown] = std::to_string(status.st_mode & 07777) + "/" + std::to_string(status.st_nlink);
    }
  }
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
  one({"log%", "86400"});
  one({"log", "3G"});
  one({"log", "5KM"});
  one({"log", "5MK"});
  one({"log", "5BM"});
  one({"log", "B"});
  one({"log", "60", ""});
  one({"-T", "log", "86400"});
  one({"-vc", "log", "86400"});
  one({"-vf", "log", "86400"});
  one({"-v", "log", "86400", "5M"});
  one({"-v", "-L", "link", "log.%Y", "86400"});
  one({"-v", "-D", "made/deep/log", "86400"});
  one({"-v", "-p", "/bin/true", "-t", "log", "5M", "60"});
  one({"-vle", "log.%Y", "5M"});
  one({"a/../../d/log", "86400"});
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
  out.push_back({"-v of a ring", {{{"-v", "-n", "3", "log", "7B"}, "aaaaaaa\nbb\n", true}}});
  out.push_back({"-v of -t", {{{"-v", "-t", "-L", "link", "log", "7B"}, "aaaaaaa\nbb\n", true}}});
  out.push_back({"umask", {{{"-t", "log", "60"}, "a\n", false, "umask 027; exec \"$@\""}}});
  out.push_back({"symbolic link as log", {{{"-n", "2", "log", "5M"}}}, {}, {{"real", "old\n"}}, {{"log", "real"}}});
  out.push_back({"-t through a symbolic link", {{{"-t", "log", "60"}}}, {}, {{"real", "old\n"}}, {{"log", "real"}}});
  out.push_back({"log is /dev/null", {{{"-t", "log", "60"}}}, {}, {}, {{"log", "/dev/null"}}});
  out.push_back({"log is a directory", {{{"-t", "log", "60"}}}, {}, {}, {{"log", "/tmp"}}});
  out.push_back({"input is closed", {{{"-f", "-t", "log", "60"}, "", false, "exec \"$@\" 0<&-"}}});
  out.push_back({"input is a directory", {{{"log", "60"}, "", false, "exec \"$@\" 0</"}}});
  out.push_back({"input is a file", {{{"-t", "log", "60"}, "", false, "exec \"$@\" 0<real"}}, {}, {{"real", "a\nb"}}});
  out.push_back({"-e on a full disk", {{{"-e", "-t", "log", "60"}, "a\n", false, "exec \"$@\" >/dev/full"}}});
  out.push_back({"-e for nobody", {{{"-e", "-t", "log", "60"}, "a\n", false, "", true}}});
  out.push_back({"link follows the ring", {{{"-n", "4", "-L", "link", "log", "7B"}, "aaaaaaa\nbb\n", true}}});
  // Local time: each zone names the day as Apache does.
  for (const char* zone : {"TZ=Europe/Berlin", "TZ=America/St_Johns", "TZ=Asia/Kathmandu", "TZ=UTC"}) {
    out.push_back({std::string("-l in ") + zone, {{{"-l", "log.%Y%m%d%H%M", "86400"}}}, {zone}});
    out.push_back({std::string("zone, -l in ") + zone, {{{"-l", "log.%z.%Z.%s", "86400"}}}, {zone}});
    out.push_back({std::string("zone in ") + zone, {{{"log.%z.%Z.%s", "86400"}}}, {zone}});
    out.push_back({std::string("offset in ") + zone, {{{"log.%H", "3600", "90"}}}, {zone}});
  }
  return out;
}

class Differential : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access(kDebian, X_OK) != 0) GTEST_SKIP() << kDebian << " is missing (package apache2-utils)";
  }
};

TEST_F(Differential, SixtyCommandLinesAndMoreDoWhatDebiansRotatelogsDoes) {
  const auto cases = Cases();
  EXPECT_GE(cases.size(), 136U);
  for (const Case& test : cases) {
    SCOPED_TRACE(test.name);
    TempDir ours;
    TempDir theirs;
    Seen a = Observe({ROTATELOGS}, test, ours.path() / "d");
    Seen b = Observe({kDebian}, test, theirs.path() / "d");
    if (a != b) {  // an interval may have ended between the two: once more, close together
      fs::remove_all(ours.path() / "d");
      fs::remove_all(theirs.path() / "d");
      a = Observe({ROTATELOGS}, test, ours.path() / "d");
      b = Observe({kDebian}, test, theirs.path() / "d");
    }
    EXPECT_EQ(a, b);
  }
}

std::string Content(const Seen& seen, const std::string& name) {
  const auto at = seen.files.find(name);
  return at == seen.files.end() ? "(no file)" : at->second;
}

std::string All(const Seen& seen) {
  std::string out;
  for (const auto& [name, content] : seen.files) out += content;
  return out;
}

/// A case in which the two differ on purpose.
struct Deviation {
  Case test;
  std::function<void(const Seen& ours, const Seen& theirs)> check;
  bool strict_is_theirs = false;  ///< --strict does exactly what theirs does
};

std::vector<Deviation> Deviations() {
  std::vector<Deviation> out;
  const auto size_of = [](const Seen& seen) {
    std::smatch found;
    return std::regex_search(seen.messages[0], found, std::regex("size interval: *(-?[0-9]+)")) ? found[1].str() : "";
  };
  const auto sizes = [&](const char* word, const std::string& ours, const std::string& theirs) {
    out.push_back({{std::string("size ") + word, {{{"-v", "log", word}}}},
                   [=](const Seen& a, const Seen& b) {
                     EXPECT_EQ(size_of(a), ours);
                     EXPECT_EQ(size_of(b), theirs);
                   },
                   true});
  };
  sizes("5MB", "5242880", "5");
  sizes("5KB", "5120", "5");
  sizes("2G", "2147483648", "-2147483648");
  sizes("5G", "5368709120", "1073741824");
  sizes("4G", "4294967296", "");
  sizes("-5M", "", "-5242880");
  out.push_back({{"a time of more than 32 bits", {{{"-v", "log", "99999999999"}}}},
                 [](const Seen& a, const Seen& b) {
                   EXPECT_NE(a.messages[0].find("interval:        2147483647"), std::string::npos) << a;
                   EXPECT_NE(b.messages[0].find("interval:        1215752191"), std::string::npos) << b;
                 },
                 true});
  out.push_back({{"an offset of more than 32 bits", {{{"log", "86400", "999999999999"}}}},
                 [](const Seen& a, const Seen& b) { EXPECT_NE(a.files, b.files); },
                 true});
  // One line that passes the limit, then several: what name does a size rotation use that comes back to its own?
  const std::string three = "aaaaaaa\nbbbbbbb\nccccccc\n";
  out.push_back({{"a size rotation that would reuse the name", {{{"log.%Y", "7B"}, three, true}}},
                 [=](const Seen& a, const Seen& b) {
                   EXPECT_EQ(a.files.size(), 3U) << a;
                   EXPECT_EQ(All(a), three);
                   EXPECT_EQ(b.files.size(), 1U) << b;
                 },
                 true});
  out.push_back({{"-L that cannot be made", {{{"-L", "/proc/link", "-t", "log", "60"}}}},
                 [](const Seen& a, const Seen& b) {
                   EXPECT_EQ(a.statuses[0], 0);
                   EXPECT_EQ(Content(a, "log"), "one\ntwo\n");
                   EXPECT_EQ(b.statuses[0], 2);
                   EXPECT_EQ(Content(b, "log"), "");
                 },
                 true});
  out.push_back({{"-L on a directory", {{{"-L", "/tmp", "-t", "log", "60"}}}},
                 [](const Seen& a, const Seen& b) {
                   EXPECT_EQ(a.statuses[0], 0);
                   EXPECT_EQ(b.statuses[0], 2);
                 },
                 true});
  out.push_back({{"-L that is the log", {{{"-L", "log", "-n", "2", "log", "60"}}}, {}, {{"log", "old\n"}}},
                 [](const Seen& a, const Seen& b) {
                   EXPECT_EQ(a.statuses[0], 2);
                   EXPECT_EQ(Content(a, "log"), "old\n");
                   EXPECT_EQ(b.statuses[0], 2);
                   EXPECT_EQ(Content(b, "log"), "(no file)") << "Apache's removes the log";
                 }});
  const std::string cut = "half a line";
  out.push_back({{"a file that ends within a line", {{{"-n", "2", "log", "5M"}}}, {}, {{"log", cut}}},
                 [=](const Seen& a, const Seen& b) {
                   EXPECT_EQ(Content(a, "log"), cut + "\none\ntwo\n");
                   EXPECT_EQ(Content(b, "log"), cut + "one\ntwo\n");
                 },
                 true});
  const std::string long_line = std::string(1000000, 'x') + "\n";
  out.push_back({{"a line of a megabyte over a limit", {{{"-n", "99", "log", "100K"}, long_line}}},
                 [=](const Seen& a, const Seen& b) {
                   EXPECT_EQ(a.files.size(), 1U);
                   EXPECT_EQ(Content(a, "log"), long_line);
                   EXPECT_GT(b.files.size(), 1U) << "Apache's cuts it";
                 }});
  out.push_back({{"the limit is a limit", {{{"-n", "99", "log", "16B"}, three + three + three}}},
                 [=](const Seen& a, const Seen& b) {
                   EXPECT_EQ(a.files.size(), 3U) << a;
                   EXPECT_EQ(b.files.size(), 1U) << "Apache's looks once for each read" << b;
                   EXPECT_EQ(All(a), three + three + three);
                 }});
  out.push_back({{"a ring whose first file is full",
                  {{{"-n", "3", "log", "7B"}, "new\n"}},
                  {},
                  {{"log", "0123456789\n"}, {"log.1", "keep\n"}}},
                 [](const Seen& a, const Seen& b) {
                   EXPECT_EQ(Content(a, "log") + Content(a, "log.1") + Content(a, "log.2"),
                             "0123456789\nkeep\nnew\n(no file)");
                   EXPECT_EQ(Content(b, "log.1"), "new\n") << "Apache's empties it";
                 }});
  out.push_back(
      {{"a full disk", {{{"-n", "2", "log", "5M"}}}, {}, {}, {{"log", "/dev/full"}}}, [](const Seen& a, const Seen& b) {
         EXPECT_EQ(a.statuses[0], 0) << "run with --on-full=drop, else it would wait";
         EXPECT_EQ(a.messages[0],
                   "rotatelogs: cannot write to log (No space left on device): lines are dropped until it can "
                   "be written again");
         EXPECT_EQ(b.statuses[0], 2);
         EXPECT_EQ(b.messages[0], "Error truncating the file log") << "which is what Apache's does first";
       }});
  Step nonblocking{{"-t", "log", "60"}, "", false, "", false, true};
  out.push_back({{"input with O_NONBLOCK", {nonblocking}}, [](const Seen& a, const Seen& b) {
                   EXPECT_EQ(a.statuses[0], 0);
                   EXPECT_TRUE(b.statuses[0] == 3 || b.statuses[0] == 0) << "3, if it looks before we close";
                 }});
  out.push_back({{"output is closed", {{{"-t", "log", "60"}, "a\n", false, "exec \"$@\" >&-"}}},
                 [](const Seen& a, const Seen& b) {
                   EXPECT_EQ(Content(a, "log"), "a\n");
                   EXPECT_EQ(Content(b, "log"), "a\n");
                 }});
  out.push_back({{"-e and output is closed", {{{"-e", "-t", "log", "60"}, "a\n", false, "exec \"$@\" >&-"}}},
                 [](const Seen& a, const Seen& b) {
                   EXPECT_EQ(Content(a, "log"), "a\n");
                   EXPECT_EQ(Content(b, "log"), "a\na\n") << "Apache's log gets descriptor 1";
                 }});
  for (const char* word : {"--strict", "--on-full=drop", "--on-full=block"}) {
    out.push_back({{std::string(word) + " without a log", {{{word}}}},
                   [](const Seen& a, const Seen& b) { EXPECT_EQ(a, b) << "an end of options in both"; }});
  }
  out.push_back({{"--on-full=what", {{{"--on-full=what", "log", "86400"}}}}, [](const Seen& a, const Seen& b) {
                   EXPECT_EQ(a.statuses[0], 1);
                   EXPECT_EQ(a.messages[0], "rotatelogs: --on-full=what: write --on-full=block or --on-full=drop");
                   EXPECT_EQ(b.statuses[0], 0);
                 }});
  out.push_back({{"--status log", {{{"--status", "log", "86400"}}}}, [](const Seen& a, const Seen& b) {
                   EXPECT_EQ(a.statuses[0], 1);
                   EXPECT_TRUE(a.files.empty());
                   EXPECT_EQ(b.files.size(), 1U);
                 }});
  return out;
}

TEST_F(Differential, WhatDiffersOnPurposeDiffersAsTheManualPageSaysAndStrictGoesBack) {
  for (const Deviation& deviation : Deviations()) {
    SCOPED_TRACE(deviation.test.name);
    TempDir ours;
    TempDir strict;
    TempDir theirs;
    std::vector<std::string> program = {ROTATELOGS};
    if (deviation.test.name == "a full disk") program.push_back("--on-full=drop");
    const Seen a = Observe(program, deviation.test, ours.path() / "d");
    const Seen b = Observe({kDebian}, deviation.test, theirs.path() / "d");
    deviation.check(a, b);
    if (!deviation.strict_is_theirs) continue;
    EXPECT_EQ(Observe({ROTATELOGS, "--strict"}, deviation.test, strict.path() / "d"), b) << "with --strict";
  }
}

/// The file names of the first "Opening file" messages.
std::vector<std::string> Opened(Child& child, size_t count) {
  std::vector<std::string> out;
  std::string said;
  for (int attempt = 0; attempt < 200 && out.size() < count; ++attempt) {
    said += harness::ReadUntil(child.err, "\n", 30);
    out.clear();
    for (const std::string& line : harness::Lines(said.substr(0, said.rfind('\n') + 1))) {
      if (line.starts_with("Opening file ")) out.push_back(line.substr(13));
    }
  }
  out.resize(std::min(out.size(), count));
  return out;
}

TEST_F(Differential, HoursAroundAChangeOfDaylightSavingHaveTheSameFiles) {
  const char* faketime = "/usr/bin/faketime";
  if (::access(faketime, X_OK) != 0) GTEST_SKIP() << faketime << " is missing (package faketime)";
  struct Change {
    const char* start;  ///< local; an hour passes in 0.6 s
    std::vector<std::string> names;
  };
  const std::vector<Change> changes = {
      {"@2026-10-25 01:50:00 x6000", {"log.0100+0200", "log.0200+0200", "log.0300+0100", "log.0400+0100"}},
      {"@2026-03-29 00:50:00 x6000", {"log.0000+0100", "log.0100+0100", "log.0300+0200", "log.0400+0200"}},
  };
  for (const Change& change : changes) {
    SCOPED_TRACE(change.start);
    std::vector<std::unique_ptr<TempDir>> directories;
    std::vector<Child> children;
    for (const char* program : {ROTATELOGS, kDebian}) {
      directories.push_back(std::make_unique<TempDir>());
      // Sanitizers want to be the first library; the preloaded one comes before them and does no harm.
      children.push_back(
          harness::Start({{faketime, "-f", change.start, program, "-v", "-l", "-c", "-f", "log.%H%M%z", "3600"},
                          directories.back()->path(),
                          {"TZ=Europe/Berlin", "ASAN_OPTIONS=verify_asan_link_order=0"},
                          {}}));
    }
    for (Child& child : children) EXPECT_EQ(Opened(child, change.names.size()), change.names);
    for (Child& child : children) {
      child.in.Reset();
      EXPECT_EQ(harness::Wait(child), 0);
    }
  }
}

TEST_F(Differential, WithoutInputTheyRotateOnlyWithCAndThenRunTheProgramWithEqualNames) {
  struct Idle {
    std::vector<std::string> words;
    std::function<bool(const fs::path&)> done;
  };
  TempDir elsewhere;
  const std::string hook = (elsewhere.path() / "hook").string();
  std::ofstream(hook) << "#!/bin/sh\necho \"$1: $*\" >>.calls\n";
  fs::permissions(hook, fs::perms(0755));
  const auto count = [](size_t files) {
    return [files](const fs::path& at) { return Files(at).size() >= files && TotalSize(at) == 0; };
  };
  const auto calls = [](const fs::path& at) {
    std::string text;
    std::getline(std::ifstream(at / ".calls"), text, '\0');
    return text.starts_with("log.x: log.x\nlog.x: log.x log.x\n");
  };
  const std::vector<Idle> cases = {
      {{"-c", "log", "1"}, count(2)},
      {{"-c", "-n", "3", "log", "1"}, count(3)},
      {{"-c", "-t", "-p", hook, "log.x", "1"}, calls},
  };
  std::vector<std::unique_ptr<TempDir>> directories;
  std::vector<Child> children;
  for (const Idle& test : cases) {
    for (const char* program : {ROTATELOGS, kDebian}) {
      directories.push_back(std::make_unique<TempDir>());
      std::vector<std::string> argv = test.words;
      argv.insert(argv.begin(), program);
      children.push_back(harness::Start({argv, directories.back()->path(), {}, {}}));
    }
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  const auto done = [&](size_t i) { return cases[i / 2].done(directories[i]->path()); };
  for (size_t i = 0; i < children.size(); ++i) {
    while (!done(i) && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_TRUE(done(i)) << (i % 2 == 0 ? "ours: " : "theirs: ") << cases[i / 2].words[1];
    children[i].in.Reset();
  }
  for (Child& child : children) EXPECT_EQ(harness::Wait(child), 0);
}

TEST_F(Differential, TermLosesWhatThePipeHoldsThereAndNothingHere) {
  std::string lines;
  for (int i = 0; i < 5000; ++i) lines += "line " + std::to_string(i) + "\n";
  for (const std::string program : {ROTATELOGS, kDebian}) {
    TempDir dir;
    Child child = harness::Start({{program, "-v", "-f", "-t", "log", "60"}, dir.path(), {}, {}});
    harness::ReadUntil(child.err, "Opening file");
    ASSERT_TRUE(child.process.Signal(SIGSTOP));
    harness::Write(child.in, lines);  // fits into the pipe
    ASSERT_TRUE(child.process.Signal(SIGTERM));
    ASSERT_TRUE(child.process.Signal(SIGCONT));
    const int status = harness::Wait(child);
    child.in.Reset();
    harness::ReadToEnd(child.err);  // ours: held by the child that drains the pipe
    if (program == ROTATELOGS) {
      EXPECT_EQ(status, 0);
      EXPECT_EQ(Files(dir.path())["log"], lines);
    } else {
      EXPECT_EQ(status, 1000 + SIGTERM);
      EXPECT_LT(Files(dir.path())["log"].size(), lines.size());
    }
  }
}

}  // namespace
