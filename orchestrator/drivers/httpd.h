#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "handover/listen_fds.h"
#include "os/clock.h"
#include "os/error.h"
#include "os/fd.h"
#include "os/process.h"

/// Everything the orchestrator knows about our server: its command line, its files, its control socket. Another server
/// would get a driver of its own beside this one.
namespace orchestrator::httpd {

/// A binary and what it is started with, -k and the like left out.
struct Program {
  std::filesystem::path binary;           ///< absolute
  std::string server_root;                ///< -d; "" = the binary's own default
  std::string config_file;                ///< -f; "" = the binary's own default
  std::vector<std::string> arguments;     ///< -D, -C, -c ... in their order
  std::vector<std::string> environment;   ///< complete
  std::filesystem::path directory = "/";  ///< working directory
};

/// Command line of `program` with `more` at its end: {binary, -d, ROOT, -f, CONF, arguments..., more...}
std::vector<std::string> CommandLine(const Program& program, const std::vector<std::string>& more);

struct Place {
  std::string file;
  int line = 0;
};
struct ListenLine {
  std::string address;  ///< "0.0.0.0:8080"
  std::string protocol;
  Place place;
};
struct LogLine {
  std::string kind;  ///< "file", "program", "shell"
  std::string text;
  Place place;
  std::vector<std::string> arguments;  ///< of "program": the words of its command line
};
/// Something that two instances would share, by the server's own word.
struct SharedLine {
  std::string id;
  bool dangerous = false;
  std::string text;
  std::string advice;
  Place place;
};

/// The effective configuration, as `--run-config` prints it.
struct RunConfig {
  std::string version;
  std::string binary;
  std::string server_root;
  std::string config_file;
  std::filesystem::path pid_file;
  std::filesystem::path runtime_dir;
  std::string config_id;              ///< the same for two configurations that mean the same; "" = not told
  int graceful_shutdown_timeout = 0;  ///< seconds; 0 = no limit
  std::vector<ListenLine> listen;
  std::vector<LogLine> logs;
  Place pid_file_place;
  std::vector<SharedLine> shared;
};

/// @return kInvalid: not JSON, or something that is needed is missing
os::Result<RunConfig> ParseRunConfig(std::string_view json);

/// Runs `binary --run-config` (at most 30 s). @return kInvalid with the server's own words when the configuration is
/// bad
os::Result<RunConfig> AskConfig(const Program& program);

/// Runs `binary -t` (at most 60 s). @return kInvalid with the server's own words
os::Status CheckConfig(const Program& program);

enum class State { kStandby, kServing, kPaused, kDraining, kUnknown };
std::string_view StateName(State state);

struct Hello {
  pid_t pid = 0;
  State state = State::kUnknown;
  int generation = 0;
  std::string version;
  std::string binary;
  int64_t started = 0;  ///< unix seconds
  std::string server_root;
  std::string config_file;
};

/// Numbers of one instance; those it does not know are 0.
struct Status {
  State state = State::kUnknown;
  int64_t connections = 0;
  int64_t busy = 0;      ///< requests in progress
  int64_t accesses = 0;  ///< requests answered since it started
  int64_t errors = 0;    ///< of these, with 5xx
  int64_t accepted = 0;
  int64_t oldest_ms = 0;  ///< age of the oldest request in progress
  int64_t children = 0;
  int64_t generation = 0;
  // What it did itself since it started: a predecessor's sums, which the numbers above hold, are left out.
  int64_t own_accesses = 0;
  int64_t own_bytes = 0;
  int64_t own_duration_us = 0;  ///< spent on the requests answered, all together
  int64_t own_errors = 0;
  int64_t own_accepted = 0;
  int64_t adopted = 0;  ///< idle connections taken over from a predecessor
  int64_t passed = 0;   ///< idle connections handed to a successor
};

/// A connection to one instance's control socket. Every call waits for the answer, at most its time-out.
class Control {
 public:
  Control() = default;

  /// @return kNotFound: no such socket; kIo: nobody listens there any more; kDenied: it belongs to another user;
  ///         kInvalid: the process behind it is not `pid`, or runs as a user who is neither root, nor ours, nor the
  ///         owner of the directory
  static os::Result<Control> Connect(const std::filesystem::path& runtime_dir, pid_t pid);

  enum class Ownership { kNone, kOwner };
  /// kOwner: the instance leaves by itself if this connection closes while it is still in standby.
  os::Result<Hello> SayHello(Ownership ownership);
  /// Its listening sockets, ours to keep: dups of the descriptors, one per address.
  os::Result<std::vector<handover::Listener>> Listeners();
  os::Status Accept(bool on);  ///< returns when every child does (or has stopped); 15 s
  os::Result<os::Fd> Adopt();  ///< the sending end of its intake for idle connections
  /// kWrite: what is cut at the deadline is listed in handover::CutPath(), to be fetched when the instance has gone.
  enum class CutList { kNone, kWrite };
  /// Told to leave. @param timeout seconds, 0 = no limit  @param intake of the successor; may be invalid (nothing is
  /// passed)
  os::Status Drain(int timeout, const os::Fd& intake, CutList list = CutList::kNone);
  /// Tells an instance that drains already where to pass connections from now on: its successor is itself replaced.
  os::Status Redirect(const os::Fd& intake);
  os::Result<Status> AskStatus(int milliseconds = 5000);
  /// The two halves of AskStatus() for who waits with others, on a connection of its own; neither waits.
  os::Status SendStatusQuery();
  /// @return kBusy: not there yet; kNotFound: the instance has closed the connection
  os::Result<Status> ReceiveStatus();
  const os::Fd& fd() const { return socket_; }  ///< readable when an answer is there
  os::Status Stop();
  bool valid() const { return socket_.valid(); }
  void Close() { socket_.Reset(); }

 private:
  explicit Control(os::Fd socket) : socket_(std::move(socket)) {}
  os::Fd socket_;
};

/// One running instance: which process, and a line to it.
struct Instance {
  os::ProcessId id;
  os::ProcessHandle process;
  Control control;
  Hello hello;
};

/// Opens the instance `pid` and makes sure that it is one: same process before and after it said hello.
os::Result<Instance> OpenInstance(const std::filesystem::path& runtime_dir, pid_t pid);

/// The instance that PidFile names; if PidFile names none, the one in the runtime directory that says it serves.
/// @return kNotFound: none runs
os::Result<Instance> FindServing(const RunConfig& config);

/// An entry httpd.<pid>.control of the runtime directory.
struct Found {
  pid_t pid = 0;
  std::optional<Hello> hello;  ///< nothing: it does not answer
  std::optional<Status> status;
  std::string problem;  ///< why it does not answer
  bool dead = false;    ///< no process has the socket: a leftover
};
/// Every instance of the runtime directory, oldest first. A directory that is not there holds none.
os::Result<std::vector<Found>> ListInstances(const std::filesystem::path& runtime_dir);

/// GET over the private socket, at most 5 s. @return the response's status; kIo or kTimeout: why there was none
os::Result<int> Get(const std::filesystem::path& http_socket, const std::string& path);

}  // namespace orchestrator::httpd
