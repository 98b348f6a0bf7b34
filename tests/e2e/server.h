#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "os/process.h"
#include "tests/e2e/http.h"
#include "tests/support/load_client.h"

namespace e2e {

/// How long anything may take before a test calls it broken: generous, the machine may be slow and the build sanitized.
inline constexpr std::chrono::seconds kPatience{60};

std::string Program(const std::string& name);  ///< path of one of the built programs

struct Outcome {
  int status = -1;  ///< exit status; 128 + N for signal N
  std::string out;
  std::string err;
  std::string All() const;  ///< for messages of assertions
};

/// Runs a program to its end, standard input empty.
Outcome Execute(const std::vector<std::string>& words, const std::vector<std::string>& more_environment = {});

/// A program that goes on while the test does; killed and reaped with the object when it still runs.
class Running {
 public:
  /// @param output  file for its standard output and error
  Running(const std::vector<std::string>& words, const std::filesystem::path& output,
          const std::vector<std::string>& more_environment = {});
  ~Running();
  Running(Running&&) = default;
  pid_t pid() const { return process_.pid(); }
  bool HasEnded() const { return process_.HasEnded(); }
  void Signal(int number) const;
  Outcome Wait();  ///< at most kPatience, then it is killed and the test fails

 private:
  os::ProcessHandle process_;
  std::filesystem::path output_;
};

/// Turns until `true_now` or the end of `limit`.
bool Eventually(const std::function<bool()>& true_now, std::chrono::milliseconds limit = kPatience);

std::string FileText(const std::filesystem::path& path);  ///< "" when it cannot be read
void WriteFile(const std::filesystem::path& path, const std::string& text);
size_t CountOf(const std::string& text, const std::string& word);

/// A port of 127.0.0.1 that nobody listens on, below the ones that the kernel gives to clients.
uint16_t FreePort();

/// What every test has: a private ServerRoot with a site and a configuration on a free port, and the duty to leave
/// nothing behind. TearDown stops the server, and fails the test when a process or a runtime file of this ServerRoot is
/// left, when a child crashed, or when a sanitizer spoke.
class Server : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  /// Puts ServerRoot at `root` (created, removed at the end) instead of a directory of its own choice.
  void UseRoot(const std::filesystem::path& root);

  // ---- configuration ----
  struct Settings {
    std::vector<uint16_t> ports = {};     ///< empty: port_
    std::string log = "logs/access.log";  ///< CustomLog's first argument
    int graceful_shutdown = 60;
    std::string more = {};  ///< lines at the end
  };
  void Configure(const Settings& settings);
  std::string PipedLog() const;  ///< "|rotatelogs ..." that rotates by size
  std::string TimedLog() const;  ///< "|rotatelogs ..." that rotates every second

  // ---- programs ----
  std::vector<std::string> HttpdCommand(const std::vector<std::string>& arguments) const;
  Outcome Httpd(const std::vector<std::string>& arguments) const;
  std::vector<std::string> OrchestratorCommand(const std::string& verb,
                                               const std::vector<std::string>& arguments) const;
  Outcome Orchestrator(const std::string& verb, const std::vector<std::string>& arguments = {}) const;
  void Start();  ///< httpd -k start, asserts that it serves
  std::filesystem::path Script(const std::string& name, const std::string& body) const;  ///< executable shell script

  // ---- what is there ----
  pid_t Pid() const;                     ///< by the PidFile; 0: none
  std::vector<pid_t> Processes() const;  ///< everything alive whose command line names this ServerRoot or outside_
  std::vector<pid_t> Parents() const;    ///< instances: httpd processes that are no children of another
  std::vector<pid_t> Children(pid_t parent) const;
  std::vector<pid_t> LogPrograms(pid_t parent) const;
  std::vector<std::string> RuntimeFiles() const;  ///< in run/, without what stays by design (orchestrator's lock)
  std::string ErrorLog() const;
  std::map<std::string, std::string> Status(uint16_t port = 0) const;  ///< server-status?auto
  std::optional<Answer> Get(const std::string& path, uint16_t port = 0) const;
  std::map<std::string, int> LoggedRids() const;  ///< from every file logs/access*
  std::vector<std::filesystem::path> AccessLogs() const;

  std::filesystem::path root_;
  uint16_t port_ = 0;
  bool deaths_allowed_ = false;    ///< a child that is killed is part of this test
  std::filesystem::path outside_;  ///< holds what does not belong into ServerRoot; removed at the end
};

/// The six clients at work on a thread of their own.
class Load {
 public:
  /// Waits until every connection had its first answer.
  Load(const std::filesystem::path& root, uint16_t port, const std::function<void(support::LoadOptions&)>& change = {});
  ~Load();

  /// Lets what is in progress finish.
  const support::Report& Stop();

  /// EXPECTs no failure, and every answered request exactly once in the log.
  void ExpectFlawless(const std::function<std::map<std::string, int>()>& logged);

 private:
  std::filesystem::path answered_;
  std::unique_ptr<support::LoadClient> client_;
  std::thread thread_;
  support::Report report_;
  os::SystemClock clock_;
};

}  // namespace e2e
