#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/fd.h"
#include "os/process.h"

namespace harness {

/// A private directory that goes with the object.
class TempDir {
 public:
  explicit TempDir(const std::filesystem::path& parent = std::filesystem::temp_directory_path());
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A started program: we hold the write end of its stdin and the read end of what it says (stdout and stderr apart).
struct Child {
  os::ProcessHandle process;
  os::Fd in;
  os::Fd out;
  os::Fd err;
};

struct StartOptions {
  std::vector<std::string> argv;  ///< argv[0] is the program to run
  std::filesystem::path directory;
  std::vector<std::string> environment;  ///< added to ours
  std::optional<uid_t> uid;
  int input = -1;                                   ///< its stdin, a loan; -1: a pipe of its own, Child::in
  bool nonblocking_input = false;                   ///< O_NONBLOCK on its end of the pipe
  std::vector<std::pair<int, rlimit>> limits = {};  ///< {RLIMIT_x, value}
};

/// {read end, write end}, for programs that are started on one pipe one after the other.
std::pair<os::Fd, os::Fd> Pipe();

Child Start(const StartOptions& options);

/// How it ended: the exit status, or 1000 + the signal; -1 after `seconds` without an end.
int Wait(Child& child, int seconds = 30);

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;
};

/// Start, write `input`, close, read everything, wait.
Outcome Execute(const StartOptions& options, std::string_view input = "");

/// Writes all of it. False: the reader is gone.
bool Write(const os::Fd& fd, std::string_view data);

/// Reads to the end of file, at most `seconds`.
std::string ReadToEnd(const os::Fd& fd, int seconds = 30);

/// Reads until `text` has been seen, the end, or `seconds` have passed. @return what was read
std::string ReadUntil(const os::Fd& fd, const std::string& text, int seconds = 30);

/// Path below `directory` -> content of every regular file, also through a symbolic link; what is below a directory
/// whose name begins with a dot (ours) is left out. Programs may be at work there.
std::map<std::string, std::string> Files(const std::filesystem::path& directory);

std::vector<std::string> Lines(const std::string& text);
std::string FirstLine(const std::string& text);

}  // namespace harness
