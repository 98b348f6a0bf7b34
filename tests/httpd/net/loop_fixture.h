#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "httpd/net/event_loop.h"
#include "os/socket.h"

namespace httpd::net {

/// Answers by path, without a configuration:
///   /N...        a body of N bytes from memory ("/5")
///   /file/N      ... from a file; /read/N the same without sendfile(2)
///   /truncated   a file that is shorter than promised
///   /close       closes after the answer
///   /custom      what `answer` makes
///   anything     "ok"
/// What was logged is in `finished`.
class FakeHandler final : public RequestHandler {
 public:
  struct Finished {
    std::string line;
    std::string client;
    int status = 0;
    uint64_t body_bytes = 0;
    uint64_t bytes_in = 0;
    bool aborted = false;
    bool kept_alive = false;
    uint32_t requests_before = 0;
  };
  FakeHandler();

  void Handle(const Request& request, Response& response) override;
  void Resume(const Request& request, Response& response, bool is_late) override { resume(request, response, is_late); }
  void HandleBad(const Request& request, int status, const char* reason, Response& response) override;
  void Keep(const Request&, Response& response) override { response.fields += "X-Kept: yes\r\n"; }
  void Finish(const Request& request, const Response& response, const Outcome& outcome) override;
  bool EndTurn() override { return true; }
  std::string_view ServerName() const override { return "Fake"; }
  ReadTimeout ReadTimeoutOf(const Request&, bool body) const override { return body ? body_timeout : head_timeout; }
  int FirstTimeoutMs() const override { return timeout_ms; }
  int IdleTimeoutMs() const override { return keep_alive_timeout_ms; }
  uint64_t LostLogLines() const override { return 0; }
  uint64_t BodyLimit() const override { return body_limit; }
  const http::HeadLimits& Limits() const override { return limits; }
  const Http2Terms& Http2Of(const Request&) const override { return http2; }

  os::Fd OpenFile(uint64_t bytes) const;  ///< full of "f"
  std::vector<Finished> Log() const;

  // Set before the loop runs.
  int timeout_ms = 60000;
  int keep_alive_timeout_ms = 5000;
  int max_keep_alive_requests = 0;
  uint64_t body_limit = 1U << 20;
  ReadTimeout head_timeout;
  ReadTimeout body_timeout;
  std::function<void(const Request&, Response&)> answer;
  std::function<void(const Request&, Response&, bool)> resume;
  uint64_t bad_file_bytes = 0;  ///< HandleBad answers with a file of so many bytes
  http::HeadLimits limits;
  Http2Terms http2;

 private:
  mutable std::mutex mutex_;
  std::vector<Finished> finished_;
};

/// One loop on a thread of its own, with a public listener on a free port and an intake.
class RunningLoop {
 public:
  explicit RunningLoop(FakeHandler& handler, std::function<void(EventLoop::Setup&)> adjust = {});
  ~RunningLoop();

  uint16_t port() const { return port_; }
  LoopSlot& slot() { return *slot_; }
  LoopCounters& counters() { return slot_->counters; }
  int intake_sender() const { return intake_write_.get(); }
  os::Fd TakeIntakeSender() { return std::move(intake_write_); }

  /// Runs `order` on the loop's thread and waits for it.
  void Do(const std::function<void(EventLoop&)>& order);
  /// Lets the loop turn until `condition` holds; false after five seconds.
  bool Until(const std::function<bool()>& condition);
  /// Waits for Run() to return; false after five seconds.
  bool Ended();
  bool EverythingIsZero();
  std::vector<std::string> Troubles();

 private:
  FakeHandler& handler_;
  std::unique_ptr<LoopSlot> slot_ = std::make_unique<LoopSlot>();
  os::Fd listener_;
  os::Fd intake_read_;
  os::Fd intake_write_;
  uint16_t port_ = 0;
  std::unique_ptr<EventLoop> loop_;
  std::atomic<bool> ended_ = false;
  std::mutex mutex_;
  std::vector<std::string> troubles_;
  std::thread thread_;
};

/// A blocking client; every wait ends after five seconds.
class Client {
 public:
  explicit Client(uint16_t port, int receive_buffer = 0);
  explicit Client(os::Fd fd);
  bool Send(std::string_view text);
  /// One answer: head and Content-Length bytes. "" when the connection ended before it was complete.
  std::string Answer(bool without_body = false);
  /// Reads at most `bytes`, less at the end.
  std::string Read(size_t bytes);
  /// True when the server closes without another byte.
  bool AtEnd();
  void ShutDownWriting();
  void Close() { fd_.Reset(); }
  int fd() const { return fd_.get(); }

 private:
  os::Fd fd_;
  std::string rest_;
};

}  // namespace httpd::net
