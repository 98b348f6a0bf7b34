#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/http/request.h"
#include "os/fd.h"

namespace httpd::net {

class Reactor;
class TlsStream;
struct Connection;
struct Http2Stream;

/// Who has connected, where a header of the PROXY protocol may have told of somebody else.
struct RealPeer {
  std::string address;  ///< numeric
  uint16_t port = 0;
};

/// One request as a handler sees it. Views live until the handler returns; Finish() gets the same content again.
struct Request {
  const http::RequestHead* head = nullptr;
  std::string_view client_address;  ///< numeric; "unix" on the private socket
  uint16_t client_port = 0;
  uint16_t local_port = 0;
  int fd = -1;                   ///< a loan, for getsockname(2)
  bool is_private = false;       ///< came over the instance's private socket
  bool is_tls = false;           ///< came over HTTPS
  uint32_t requests_before = 0;  ///< answered on this connection already
  std::chrono::system_clock::time_point start;
  Reactor* reactor = nullptr;        ///< of the loop (httpd/net/reactor.h); null in tests without one
  const TlsStream* tls = nullptr;    ///< of the connection (httpd/net/tls_stream.h); null without TLS
  Connection* connection = nullptr;  ///< the loop's own; what Reactor::WakerOf() looks at
  Http2Stream* stream = nullptr;     ///< ... too; null: HTTP/1
  uint32_t stream_id = 0;            ///< of HTTP/2; 0: HTTP/1
  const RealPeer* peer = nullptr;    ///< null: the connection did not begin with a header of the PROXY protocol

  /// Whose connection this is: the client's address, or that of a proxy that has told it.
  std::string_view peer_address() const { return peer ? std::string_view(peer->address) : client_address; }
  uint16_t peer_port() const { return peer ? peer->port : client_port; }
};

/// How a connection speaks HTTP/2. Source  httpd 2.4 manual, mod_http2: the directives' defaults
struct Http2Terms {
  bool over_tls = false;           ///< Protocols h2
  bool over_plain = false;         ///< Protocols h2c
  bool direct = true;              ///< H2Direct: whoever begins a plain connection with the preface is understood
  bool upgrade = true;             ///< H2Upgrade: a plain HTTP/1.1 connection may become one of HTTP/2
  uint32_t max_streams = 100;      ///< H2MaxSessionStreams
  uint32_t window = 65535;         ///< H2WindowSize: bytes of a request's body that may come before they are taken
  uint32_t stream_memory = 32768;  ///< H2StreamMaxMemSize: bytes of an answer that are produced ahead
  uint32_t max_data_frame = 0;     ///< H2MaxDataFrameLen; 0 = as the protocol has it
  uint32_t max_header_block = 0;   ///< H2MaxHeaderBlockLen; 0 = 64 KiB
  uint32_t max_stream_errors = 8;  ///< H2MaxStreamErrors; 0 = no limit
  int padding_bits = 0;            ///< H2Padding
  int stream_timeout_ms = 0;       ///< H2StreamTimeout; 0 = Timeout
};

/// What a handler wants to find again in Finish(); travels with the Response, which gives it back when it is done.
class HandlerNote {
 public:
  virtual ~HandlerNote() = default;
  virtual void Release() = 0;  ///< nobody needs it any more; may delete it
};
struct ReleaseNote {
  void operator()(HandlerNote* note) const { note->Release(); }
};
using NotePointer = std::unique_ptr<HandlerNote, ReleaseNote>;

/// A body as it is produced: by a program, or by a filter over another source. Never blocks. Read from when the client
/// takes bytes, never for HEAD, 204 and 304; destroyed when the exchange is over or the client has left.
class BodySource {
 public:
  enum class State {
    kMore,   ///< call again
    kWait,   ///< no more for now; who produces it wakes the connection (Reactor::WakerOf)
    kEnd,    ///< that was all
    kFailed  ///< it cannot be completed: 500 if nothing was sent yet, or else the connection is closed, so that the
             ///< client sees it
  };
  virtual ~BodySource() = default;
  /// Appends to `out`, about `most` bytes at a time (a filter may exceed it by a bounded amount). A call should take no
  /// longer than compressing `most` bytes does.
  virtual State Read(std::string& out, size_t most) = 0;
  /// Bytes that are still to come, exactly; nullopt: not known, the answer is sent in chunks unless it ends early.
  virtual std::optional<uint64_t> Left() const { return std::nullopt; }
};

/// Takes the body of a request as it arrives. Destroyed when nobody wants more of it: a sink that is destroyed before
/// End() will not get the rest, because the client left, the body was malformed or too large, or the answer is sent.
class BodySink {
 public:
  enum class State {
    kMore,   ///< go on
    kWait,   ///< kept, but no more for now: when WantsMore() changes, the connection is to be woken (Reactor::WakerOf)
    kEnough  ///< no more at all; what still comes is read and dropped
  };
  virtual ~BodySink() = default;
  /// @param data  at most 64 KiB, valid during the call; all of it is taken
  virtual State Write(std::string_view data) = 0;
  virtual bool WantsMore() const = 0;
  /// That was all of it. Called once, also where Write() said kWait and for a request without a body.
  virtual void End() = 0;
};

/// An answer that comes later; what it is, its handler knows. Destroyed when the client leaves.
class Deferred {
 public:
  virtual ~Deferred() = default;
};

/// What to answer. One object per loop, reused: Clear() keeps the memory.
struct Response {
  /// A piece of a file with text before it (a part's head in multipart/byteranges).
  struct Part {
    std::string text;
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  int status = 200;
  std::string reason;     ///< of the status line, as somebody else has worded it; "" = the usual one
  std::string fields;     ///< "Name: value\r\n"..., without Date, Server, Connection, Content-Length
  bool is_dated = false;  ///< `fields` have Date and Server already, or shall have none
  std::string body;       ///< body from memory; used when `file` is not valid
  os::Fd file;            ///< body from a file: `parts` in order
  std::shared_ptr<const os::Fd> shared_file;  ///< as `file`, of which other answers send too; read-only for all
  std::string_view lent_body;  ///< as `body`, somebody else's; stays until the handler is called again. null = none
  std::vector<Part> parts;
  std::unique_ptr<BodySource> source;  ///< body as it is produced; used instead of `body` and `file`
  bool keeps_body = false;             ///< RequestHandler::Keep() wants `source` as a body, if that is soon done
  uint64_t rate_limit = 0;             ///< body bytes a second, not more; 0 = as fast as the client takes them
  uint64_t rate_burst = 0;             ///< ... after so many at once
  bool use_sendfile = true;            ///< false: the file is read and sent (EnableSendfile Off)
  bool without_body = false;           ///< HEAD, 204, 304: nothing after the head
  bool without_length = false;         ///< 204, 304 (no Content-Length line)
  uint64_t content_length = 0;         ///< for HEAD and 416...: what a body would have; otherwise computed
  bool close = false;                  ///< close after this answer
  /// Status 101, to a request without a body: behind the head both sides send what they like, the client to `sink`,
  /// `source` to the client, as it is, until `source` ends or neither has sent anything for wait_timeout_ms. `fields`
  /// say Connection and Upgrade.
  bool is_tunnel = false;
  int keep_alive_timeout_ms = 5000;
  int max_keep_alive_requests = 100;  ///< 0 = no limit
  int timeout_ms = 60000;
  int wait_timeout_ms = 0;             ///< longest silence of `source`, `sink` or `deferred`; 0 = timeout_ms
  std::optional<uint64_t> body_limit;  ///< of the request's body, bytes, 0 = none; nullopt: RequestHandler::BodyLimit()
  int host = 0;                        ///< the handler's own note: which host answered
  NotePointer note;                    ///< ... and whatever else it wants to know in Finish()
  std::unique_ptr<BodySink> sink;      ///< takes the request's body; null: it is read and dropped
  /// Set: this is no answer yet. The exchange is kept, the request's body goes on into `sink`, and each time that the
  /// connection is woken the handler is asked again, with Resume(). What it set before stays: fields, note, time-outs.
  std::unique_ptr<Deferred> deferred;
  /// With `deferred`, whole heads of 1xx answers for an HTTP/1.1 client: sent, and cleared, when it is asked again.
  std::string interim;
  /// With `deferred`, to a client that waits for 100 Continue: nobody asks it for its body until the handler, which
  /// puts that into `interim`, takes this back. If it never does, the connection ends with the answer. HTTP/1 only.
  bool holds_continue = false;
  void Clear();

  /// `file` or `shared_file`; -1 = neither
  int FileDescriptor() const { return shared_file ? shared_file->get() : file.get(); }
  bool has_file() const { return shared_file || file.valid(); }
  std::string_view BodyText() const { return lent_body.data() != nullptr ? lent_body : std::string_view(body); }

  /// The body, whatever form it has, as a source; the response is left without one. For filters.
  std::unique_ptr<BodySource> TakeBody();
};

/// How long a client may take to send a head or a body. Source  httpd 2.4 manual, RequestReadTimeout
struct ReadTimeout {
  int initial_ms = 0;     ///< 0 = no limit but the time between two reads
  int most_ms = 0;        ///< what it may grow to; 0 = without end
  uint32_t min_rate = 0;  ///< bytes for which it grows by a second; 0 = it does not grow
};

/// How an exchange ended.
struct Outcome {
  uint64_t body_bytes = 0;  ///< body bytes that the kernel took, without the framing of chunks
  uint64_t bytes_out = 0;   ///< with the head
  uint64_t bytes_in = 0;
  bool aborted = false;  ///< the client left, or the time was up, before all was sent
  bool kept_alive = false;
  std::chrono::nanoseconds duration{};
  std::chrono::nanoseconds first_byte{};  ///< from the beginning until the head was written
  std::string_view response_head;
};

/// What a loop calls; one object per loop, so that nothing in it is shared. Never blocks.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;

  /// Answers a request whose head is complete; its body, if it has one, comes after this. An answer that stands is sent
  /// when the body was read, at once if it is no success and the client waits for 100 Continue. Not called for a body
  /// that is malformed or too large later: then HandleBad() is, and the first answer is dropped.
  virtual void Handle(const Request& request, Response& response) = 0;

  /// Goes on with an answer that was deferred. Views of `request` are of the same content as in Handle(), at another
  /// place. `response.deferred` still set: not yet. The body of the request may still be arriving: the answer is sent
  /// all the same, and who sends the body reads it meanwhile.
  /// @param is_late  response.wait_timeout_ms is up: the handler must answer now, or the connection is closed
  virtual void Resume(const Request& request, Response& response, bool is_late) = 0;

  /// Fills the answer to a request that could not be parsed or accepted. `head` may be partly filled.
  virtual void HandleBad(const Request& request, int status, const char* reason, Response& response) = 0;

  /// What `source` gave is complete, and in response.body now; before it is sent. Only where `keeps_body` asked for it.
  virtual void Keep(const Request& request, Response& response) = 0;

  /// The exchange that Handle() or HandleBad() answered with this response is over: log it.
  virtual void Finish(const Request& request, const Response& response, const Outcome& outcome) = 0;

  /// A turn of the loop ends: write logs. @return false when something is left that wants another try soon.
  virtual bool EndTurn() = 0;

  /// Value of the Server field, without line end.
  virtual std::string_view ServerName() const = 0;

  /// For the body of `request`, or for the head of the next request on its connection (`request.head` is empty then).
  virtual ReadTimeout ReadTimeoutOf(const Request& request, bool body) const = 0;

  /// For the TLS handshake of a new connection.
  virtual ReadTimeout HandshakeTimeoutOf(const Request& request) const { return ReadTimeoutOf(request, false); }

  /// For connections before their first request.
  virtual int FirstTimeoutMs() const = 0;

  /// For connections between two requests whose last answer somebody else gave: at least what their clients were told.
  virtual int IdleTimeoutMs() const = 0;

  /// How many log lines were lost so far.
  virtual uint64_t LostLogLines() const = 0;

  /// Largest request body where the answer does not say otherwise, bytes; 0 = no limit.
  virtual uint64_t BodyLimit() const = 0;
  virtual const http::HeadLimits& Limits() const = 0;

  /// For a connection that begins to speak HTTP/2, or asks to in `request` (`request.head` is empty if not).
  virtual const Http2Terms& Http2Of(const Request& request) const = 0;
};

}  // namespace httpd::net
