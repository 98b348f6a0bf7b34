#pragma once

#include <netinet/in.h>
#include <sys/epoll.h>
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "httpd/net/deadlines.h"
#include "httpd/net/event_loop.h"
#include "httpd/net/tls_stream.h"
#include "os/fd.h"

/// What the parts of the event loop share; nobody else includes it.
namespace httpd::net {

inline constexpr size_t kScratchBytes = 64U << 10;
inline constexpr size_t kOutFlushBytes = 128U << 10;
// Per turn and connection: a fast client must not own the loop, nor a filter that works hard or a file to encrypt.
inline constexpr uint64_t kSendfileBytes = 2U << 20;
inline constexpr uint64_t kSourceBytes = 256U << 10;
inline constexpr uint64_t kSweepMs = DeadlineWheel::kTickMs;
inline constexpr size_t kMostInARow = 8;     // connections from one listener, while other loops wait for it too
inline constexpr int kMostAccepts = 32;      // at once: those who are connected already have their turn too
inline constexpr uint64_t kLingerMs = 2000;  // after the client's last byte

// epoll user data: a Connection pointer as it is, a watch's with this tag; the others are numbers above their tag.
inline constexpr uint64_t kTagWatch = 2;
inline constexpr uint64_t kTagListener = 1;
inline constexpr uint64_t kTagWake = 3;
inline constexpr uint64_t kTagIntake = 5;
inline constexpr uint64_t kTagForeign = 7;

/// What an idle connection is watched for. It stays so while an answer is waited for that comes soon: then a request
/// that somebody else answers costs no epoll_ctl(2).
inline constexpr uint32_t kReadable = EPOLLIN | EPOLLRDHUP;

enum ConnectionState : uint8_t { kIdle, kReading, kUploading, kWaiting, kWriting, kLingering };

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
};

/// How far an answer from a source was sent.
struct Stream {
  std::string buffer;  ///< framed; never more than one piece of the source
  size_t buffer_done = 0;
  size_t buffer_body = 0;        ///< body bytes in `buffer`
  std::optional<uint64_t> left;  ///< still to come from the source; nullopt: not known
  bool chunked = false;
  bool ended = false;
  bool waiting = false;      ///< for the source
  bool half_closed = false;  ///< the client said that it sends no more
};

/// Frames what the source gave. false: it is more or, at the end, less than was promised.
bool AppendPiece(Stream& stream, std::string_view piece, bool is_last);

/// One exchange's end of its Wakers.
struct WakeTarget final : public Waker::Target, public std::enable_shared_from_this<WakeTarget> {
  void Wake() override;
  EventLoop* loop = nullptr;
  Connection* connection = nullptr;  ///< null: the exchange is over
  Http2Stream* stream = nullptr;     ///< of `connection`; null: HTTP/1
  bool is_queued = false;
};

/// A request whose body is still arriving or whose answer comes later. The head is copied: the bytes it was parsed from
/// are gone by then.
struct Asked {
  std::string head_text;
  http::RequestHead head;
  http::BodyReader body;  ///< done() for a request without one
  uint64_t bytes_in = 0;
  Response response;  ///< to be sent when the body was read, or deferred
  std::unique_ptr<BodySink> sink;
  bool sink_waits = false;
  uint64_t sink_waits_ms = 0;  ///< since
  bool is_answered = false;    ///< the answer is being sent or was: what is left of the body is read past
  bool half_closed = false;    ///< the client said that it sends no more
};

/// An answer from a file or a source that the client has not taken yet.
struct Transfer {
  std::string head_text;
  http::RequestHead head;
  Response response;
  Cursor cursor;
  Stream stream;
  uint64_t body_sent = 0;
  uint64_t wire_sent = 0;  ///< the same with the framing of chunks
  uint64_t allowance = 0;  ///< with a rate limit: what may be sent now
  uint64_t refilled_ms = 0;
  std::unique_ptr<Timer> pause;  ///< until the rate limit allows more
  std::string response_head;
  uint64_t bytes_in = 0;
  uint64_t head_ns = 0;  ///< steady clock, when the head was first written
  bool keep = false;
};

/// Answers that the client has not taken yet; gone as soon as it has, with the memory.
struct Unsent {
  std::string text;   ///< goes before anything else
  uint64_t sent = 0;  ///< bytes of it that went out
  std::string line;   ///< request line of the last answer in it
};

/// A request in progress as the scoreboard counts it.
struct Work {
  int worker = -1;  ///< its row; -1 = none
  bool working = false;
  bool client_bound = false;  ///< counted in client_bound_
  uint64_t work_started_ns = 0;
  int64_t work_wall_ns = 0;
  std::shared_ptr<WakeTarget> wake;  ///< of this exchange; null: nobody asked for it
};

Work& WorkOf(Http2Stream& stream);

/// Every client has one, mostly idle: what only a request in progress needs is behind a pointer or given back with it.
struct Connection : Deadline, Work {
  os::Fd fd;
  uint32_t index = 0;
  uint64_t deadline_ms = 0;  ///< takes effect with the Want() that follows, as far as it comes closer
  uint32_t events = 0;       ///< registered with epoll; 0 = not at all
  uint32_t requests = 0;
  uint8_t state = kIdle;
  bool is_private = false;
  bool close_after = false;          ///< what is being sent is the last answer
  bool linger = false;               ///< ... and the client may still be sending
  bool was_shared = false;           ///< came from another process, which may hold its descriptor a moment longer
  bool awaits_proxy_header = false;  ///< nothing else is read before that is complete; what came of it is in `pending`
  bool is_read_timed = false;        ///< read_timeout holds: a head or a body is arriving
  uint16_t local_port = 0;
  uint16_t client_port = 0;
  int keep_alive_timeout_ms = 5000;
  int timeout_ms = 60000;
  std::unique_ptr<TlsStream> tls;  ///< null: plain
  std::unique_ptr<RealPeer> peer;  ///< null: there was no header of the PROXY protocol
  std::unique_ptr<Unsent> unsent;
  std::unique_ptr<Asked> asked;
  std::unique_ptr<Transfer> transfer;
  std::unique_ptr<Http2, DropHttp2> http2;  ///< null: HTTP/1
  std::string pending;                      ///< read, not yet worked on
  uint64_t read_start_ms = 0;               ///< when the head or body that is arriving was begun
  ReadTimeout read_timeout;                 ///< ... and how long it may take
  char address[INET6_ADDRSTRLEN] = "";
  uint64_t linger_end_ms = 0;
};

/// Of a file, in a turn: encrypting it is work as a filter's is.
inline uint64_t FileBytesInATurn(const Connection& c) {
  return c.tls ? kSourceBytes : kSendfileBytes;
}

}  // namespace httpd::net
