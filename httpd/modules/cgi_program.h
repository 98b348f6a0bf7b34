#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "httpd/net/exchange.h"
#include "httpd/net/reactor.h"
#include "os/process.h"

namespace httpd::modules {

/// A CGI program that runs: its three pipes on a loop, nothing of them blocking.
///
/// Life   The loop keeps it until it was reaped. Whoever answers from it says Finish() when its output is not wanted
/// any
///        more: then it has three seconds to end by itself, is told to by TERM, and three seconds later by KILL;
///        Abort() begins with TERM. Both reach its process group, which is its own. When its server child dies, it gets
///        TERM.
/// stdin  What is written is taken as it comes; beyond 64 KiB nobody should write more (HasRoom()).
/// stderr Line by line to `on_stderr`, at most 1 KiB of each, 1 MiB in all; the rest is read and dropped.
class CgiProgram : public std::enable_shared_from_this<CgiProgram> {
 public:
  using LineSink = std::function<void(std::string_view line)>;

  /// Starts `options` (its descriptors are set here) in a session of its own.
  /// @param waker  woken when there is output, when standard output ends, and when there is room for input again
  /// @return what os::Spawn() says: kNotFound, kDenied...
  static os::Result<std::shared_ptr<CgiProgram>> Start(net::Reactor& reactor, os::SpawnOptions options,
                                                       net::Waker waker, LineSink on_stderr);
  ~CgiProgram();
  CgiProgram(const CgiProgram&) = delete;
  CgiProgram& operator=(const CgiProgram&) = delete;

  /// false: it does not read any more.
  bool Write(std::string_view data);
  bool HasRoom() const { return unsent_.size() < kInputBytes; }
  void EndInput();

  /// What it has written so far. kWait wakes later; a failed read is an end.
  net::BodySource::State Read(std::string& out, size_t most);

  void Finish();
  void Abort();
  /// Reads its output to the end and drops it; then as Finish().
  void ReadPast();

  static constexpr size_t kInputBytes = 64U << 10;

 private:
  CgiProgram(net::Reactor& reactor, net::Waker waker, LineSink on_stderr)
      : reactor_(reactor), waker_(std::move(waker)), on_stderr_(std::move(on_stderr)) {}
  os::Status Watch();
  void FlushInput();
  void OnOutput();
  void OnStderr();
  void FlushLine();
  void OnEnd();
  void Signal(int number);

  net::Reactor& reactor_;
  net::Waker waker_;
  LineSink on_stderr_;
  os::ProcessHandle process_;
  os::Fd input_;
  os::Fd output_;
  os::Fd errors_;
  std::unique_ptr<net::Watch> input_watch_;
  std::unique_ptr<net::Watch> output_watch_;
  std::unique_ptr<net::Watch> errors_watch_;
  std::unique_ptr<net::Watch> end_watch_;
  std::unique_ptr<net::Timer> patience_;
  std::string unsent_;
  std::string line_;
  size_t stderr_bytes_ = 0;
  bool input_ends_ = false;
  bool reads_past_ = false;
  bool is_dropped_ = false;
  bool has_ended_ = false;
};

}  // namespace httpd::modules
