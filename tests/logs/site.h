#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "os/fd.h"
#include "tests/e2e/http.h"
#include "tests/e2e/server.h"

namespace logs {

using e2e::Eventually;
using e2e::Execute;
using e2e::FileText;
using e2e::Outcome;

/// One process of /proc.
struct Process {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';
  std::string name;
  std::string command;  ///< its words, with spaces between; empty for a zombie
};
std::vector<Process> EveryProcess();

/// Full path of an installed program; empty: not installed.
std::string Find(const std::string& name);

/// Lines of all files `stem*` of a directory, in the order of the names.
std::vector<std::string> LinesOf(const std::filesystem::path& directory, const std::string& stem);
size_t Count(const std::vector<std::string>& lines, const std::string& text);

/// A private directory for servers that are not ours, and the duty to leave nothing behind: TearDown fails the test
/// when a process that names this directory still runs, and ends it. Everything that servers leave behind becomes our
/// child.
class Site : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  std::vector<Process> Mine() const;   ///< those whose command line names root_; zombies are not among them
  std::vector<pid_t> Loggers() const;  ///< those of Mine() that are called rotatelogs

  /// Reaps the log programs that their servers left behind; their exit statuses (128 + signal) since the last call.
  std::vector<int> ReapLoggers() const;

  Outcome Processlogs(std::vector<std::string> words, const std::vector<std::string>& environment = {}) const;

  std::filesystem::path root_;
};

/// Debian's apache2 with a private configuration, in `root/name`. Its CGI script `/cgi-bin/slow?ID` waits to be told to
/// go on (Slow). Two processes' worth of children. The access log format is `path?query status`.
class Apache {
 public:
  struct Options {
    std::string name = "apache";
    std::string mpm = "event";
    std::string cgi = "cgi";
    std::string logs;  ///< CustomLog and ErrorLog lines; "{dir}" becomes the server's directory
  };
  static bool Installed() { return !Find("apache2").empty(); }
  Apache(const std::filesystem::path& root, const Options& options);
  ~Apache();  ///< Kill()

  void Start();  ///< asserts that it serves. Log programs of the attempt before detaching are dead
  void Control(const std::string& verb) const;  ///< apache2 -k verb; asserts exit status 0
  void Graceful();                              ///< and waits until the new generation has its logs
  void Stop();  ///< -k stop, and waits until it has ended; takes Apache about two seconds
  void Kill();  ///< SIGKILL for parent and children: their log programs read the end
  bool Runs() const;
  pid_t Pid() const { return pid_; }
  std::optional<e2e::Answer> Get(const std::string& path) const;

  const std::filesystem::path& directory() const { return directory_; }
  uint16_t port() const { return port_; }

 private:
  std::vector<std::string> Command(const std::vector<std::string>& more) const;
  std::filesystem::path directory_;
  uint16_t port_;
  pid_t pid_ = 0;
};

/// A request to Apache whose script is running and waits.
class Slow {
 public:
  Slow(const Apache& apache, const std::string& id);
  pid_t served_by() const { return parent_; }  ///< the process that started the script

  /// Lets the script go on: it writes "ID speaks" to its standard error and answers. True: the answer was whole.
  bool Finish();

 private:
  std::optional<e2e::Connection> connection_;
  os::Fd gate_;
  pid_t parent_ = 0;
};

/// Asks for /ok again and again, a connection each, until the object goes.
class Probe {
 public:
  explicit Probe(const Apache& apache);
  ~Probe();
  std::chrono::duration<double> Longest();  ///< ends the probing; the longest a client waited
  int failed() const { return failed_; }
  int answered() const { return answered_; }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<int> failed_ = 0, answered_ = 0;
  std::chrono::duration<double> longest_{0};
  std::thread thread_;
};

}  // namespace logs
