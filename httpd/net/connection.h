#pragma once

#include <netinet/in.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "httpd/net/event_loop.h"
#include "os/fd.h"

/// What the parts of the event loop share; nobody else includes it.
namespace httpd::net {

inline constexpr size_t kScratchBytes = 64U << 10;
inline constexpr size_t kOutFlushBytes = 128U << 10;
inline constexpr uint64_t kSweepMs = 100;
inline constexpr uint64_t kLingerMs = 2000;  // after the client's last byte

// epoll user data: a Connection pointer is even; these are odd, with a number above.
inline constexpr uint64_t kTagListener = 1;
inline constexpr uint64_t kTagWake = 3;
inline constexpr uint64_t kTagIntake = 5;
inline constexpr uint64_t kTagForeign = 7;

enum ConnectionState : uint8_t { kIdle, kReading, kUploading, kWriting, kLingering };

inline uint64_t SteadyNs() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000ULL + static_cast<uint64_t>(t.tv_nsec);
}

/// How far an answer from a file was sent.
struct Cursor {
  size_t part = 0;
  size_t text_done = 0;
  uint64_t file_done = 0;
  uint64_t body_sent = 0;
};

/// A request whose body is still arriving. The head is copied: the bytes it was parsed from are gone by then.
struct Upload {
  std::string head_text;
  http::RequestHead head;
  http::BodyReader body;
  uint64_t bytes_in = 0;
};

/// An answer from a file that the client has not taken yet.
struct Transfer {
  std::string head_text;
  http::RequestHead head;
  Response response;
  Cursor cursor;
  std::string response_head;
  uint64_t bytes_in = 0;
  bool keep = false;
};

struct Connection {
  os::Fd fd;
  uint32_t index = 0;
  uint32_t events = 0;  ///< registered with epoll; 0 = not at all
  uint32_t requests = 0;
  int worker = -1;
  uint64_t deadline_ms = 0;
  uint64_t linger_end_ms = 0;
  uint64_t work_started_ns = 0;
  int64_t work_wall_ns = 0;
  int keep_alive_timeout_ms = 5000;
  int timeout_ms = 60000;
  uint16_t local_port = 0;
  uint16_t client_port = 0;
  uint8_t state = kIdle;
  bool is_private = false;
  bool close_after = false;  ///< what is being sent is the last answer
  bool linger = false;       ///< ... and the client may still be sending
  bool working = false;
  bool was_shared = false;  ///< came from another process, which may hold its descriptor a moment longer
  std::string pending;      ///< read, not yet worked on
  std::string out;          ///< to be sent before anything else
  uint64_t out_sent = 0;    ///< bytes that went out before `out` got stuck
  std::string out_line;     ///< request line of the last answer in a stuck `out`
  std::unique_ptr<Upload> upload;
  std::unique_ptr<Transfer> transfer;
  char address[INET6_ADDRSTRLEN] = "";
};

}  // namespace httpd::net
