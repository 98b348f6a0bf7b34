#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "handover/cut_list.h"
#include "httpd/net/connection.h"
#include "httpd/net/deadlines.h"
#include "httpd/net/event_loop.h"
#include "httpd/net/exchange.h"
#include "httpd/net/http2_memory.h"
#include "httpd/net/reactor.h"

/// What the loop has for connections that speak HTTP/2; nobody else includes it.
namespace httpd::net {

/// One request of an HTTP/2 connection and its answer. Recycled: its texts keep their memory.
struct Http2Stream : Deadline, Work {
  static constexpr size_t kPieceBytes = 16U << 10;  ///< of a source, at a time

  enum class Phase : uint8_t {
    kHead,     ///< its fields are arriving
    kReady,    ///< complete, to be answered soon
    kBody,     ///< its body is arriving, the answer stands or comes later
    kWaiting,  ///< the body is here, the answer comes later
    kSending   ///< the answer is being sent or was
  };
  /// A part of a text.
  struct Span {
    uint32_t at = 0;
    uint32_t size = 0;
  };
  struct Field {
    Span name;
    Span value;
  };

  Http2* session = nullptr;
  uint32_t index = 0;      ///< among the session's
  size_t spare_bytes = 0;  ///< of its texts, while it is spare
  int32_t id = 0;
  Phase phase = Phase::kHead;

  ~Http2Stream() { LetGo(); }
  /// Of the fields of the request; nothing may look at `head` any more.
  void LetGo();

  // ---- the request ----
  std::vector<nghttp2_rcbuf*> kept;  ///< what `head` points into: nghttp2's texts, we count as one who uses them
  std::string text;                  ///< ... and what nghttp2 does not have as one piece; complete before it does
  size_t head_bytes = 0;             ///< of both, as if each field had its own
  std::string_view method, path, authority;
  uint32_t cookies = 0;
  bool has_length = false;
  int bad_status = 0;  ///< 0: nothing is wrong with the head
  const char* bad_reason = "";
  http::RequestHead head;
  uint64_t bytes_in = 0;

  // ---- its body ----
  bool body_ended = false;
  bool sink_waits = false;
  uint64_t sink_waits_ms = 0;  ///< since
  uint64_t received = 0;
  uint64_t body_limit = 0;  ///< 0 = none
  std::unique_ptr<BodySink> sink;
  std::string held;  ///< came while the sink waits; never more than the window
  ReadTimeout read_timeout;
  uint64_t read_start_ms = 0;

  // ---- the answer ----
  Response response;           ///< as long as it has to wait; `answer` may be the loop's own
  Response* answer = nullptr;  ///< being sent; null: there is none yet, or it is over
  bool is_submitted = false;
  uint64_t left = 0;     ///< body bytes to come, of memory or a file
  size_t text_done = 0;  ///< of the body in memory
  Cursor cursor;         ///< of a file
  Stream source;         ///< `buffer`, `buffer_done`, `left`, `ended`, `waiting` of a source
  uint64_t allowance = 0;
  uint64_t refilled_ms = 0;
  std::unique_ptr<Timer> pause;  ///< until the rate limit allows more
  std::string answer_head;
  size_t held_bytes = 0;   ///< of `response`, counted in the session's
  uint64_t body_sent = 0;  ///< bytes of it in DATA frames
  uint64_t bytes_out = 0;  ///< with frames and head
  uint64_t head_ns = 0;
  uint64_t deadline_ms = UINT64_MAX;  ///< when the client, or who makes the answer, has been silent for too long
};

/// How long an answer may say nothing.
inline uint64_t WaitMs(const Response& response) {
  return static_cast<uint64_t>(response.wait_timeout_ms > 0 ? response.wait_timeout_ms : response.timeout_ms);
}

/// What all HTTP/2 connections of one loop share: things that would otherwise be made for every connection or request,
/// and the buffer that frames are written into. Nothing stays in the buffer when a connection's turn is over.
struct Http2Pool {
  static constexpr size_t kOutBytes = (128U << 10) + 64 * 1024;
  static constexpr size_t kFlushBytes = 128U << 10;

  Http2Pool();
  ~Http2Pool();
  Http2Pool(const Http2Pool&) = delete;
  Http2Pool& operator=(const Http2Pool&) = delete;

  Http2Memory memory;  ///< goes last: streams have texts in it
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks* padding_callbacks = nullptr;  ///< the same for connections with H2Padding
  nghttp2_option* option = nullptr;
  std::vector<std::unique_ptr<Http2Stream>> spare;
  size_t spare_bytes = 0;          ///< that they hold
  std::vector<nghttp2_nv> fields;  ///< of the answer that is begun
  std::string head;                ///< ... what they point into, as HTTP/1 would write it
  std::string common;              ///< "date: ...\r\nserver: ...\r\n"
  int64_t common_second = -1;
  std::vector<Http2Stream::Field> common_parts;
  std::string last_fields;   ///< of an answer, as its handler wrote them: mostly the next has the same
  std::string last_lowered;  ///< ... with their names in lower case
  std::vector<Http2Stream::Field> last_parts;  ///< ... what of it is sent
  int last_status = 0;                         ///< ... what else `head` was made of
  bool last_is_dated = false;
  std::optional<uint64_t> last_length;
  std::unique_ptr<char[]> out;
  size_t out_size = 0;
};

/// A connection that speaks HTTP/2: its session and its streams.
///
/// Every stream is answered by the same RequestHandler calls as a request of HTTP/1. What was read is worked through,
/// then the requests that are complete are answered, then what is to be sent goes out with one send(2) or a few.
///
/// Bounds  per connection: 1 MiB of request heads, more streams are refused; 1 MiB of answers that wait in memory for
///         the client, further requests wait; what came for a body that nobody takes yet: one window. A client that
///         makes work and takes no answers is told ENHANCE_YOUR_CALM (see Spend()).
/// Source  RFC 9113
class Http2 {
 public:
  using End = EventLoop::Http2End;

  Http2(EventLoop& loop, Connection* c, const Http2Terms& terms);
  ~Http2();
  Http2(const Http2&) = delete;
  Http2& operator=(const Http2&) = delete;

  // What they return says what has to become of the connection now; the caller sees to it.

  /// The first bytes. `upgrade` as in EventLoop::BeginHttp2(), `before` is sent before anything else.
  End Begin(std::string_view received, const http::RequestHead* upgrade, std::string_view before);
  End OnEvent(uint32_t events);
  End OnWoken(Http2Stream& stream);
  /// The connection's time is up.
  End OnDeadline();
  End OnStreamDeadline(Http2Stream& stream);
  /// No more requests: streams that have begun finish, then the connection ends.
  End Drain();

  /// The client is told to come again elsewhere, as far as its socket takes it: the connection is about to be closed.
  void SayGoodbye();
  /// Whatever is unfinished is logged as aborted.
  void GiveUp();
  /// Streams in progress, as the loop's InProgress().
  void TellInProgress(const std::function<void(const handover::CutRequest&)>& tell) const;
  Connection* connection() const { return c_; }

 private:
  friend struct Http2Pool;
  enum class Leaving : uint8_t { kNo, kNoticed, kTold };

  // ---- the session (http2.cc) ----
  static int OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd* frame, void* self);
  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value,
                      uint8_t flags, void* self);
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static int OnInvalidFrame(nghttp2_session*, const nghttp2_frame* frame, int error, void* self);
  static int OnData(nghttp2_session*, uint8_t flags, int32_t id, const uint8_t* data, size_t size, void* self);
  static int OnStreamClosed(nghttp2_session*, int32_t id, uint32_t error, void* self);
  static int OnFrameSent(nghttp2_session*, const nghttp2_frame* frame, void* self);
  static ssize_t ReadBody(nghttp2_session*, int32_t id, uint8_t*, size_t most, uint32_t* flags,
                          nghttp2_data_source* source, void* self);
  static int SendBody(nghttp2_session*, nghttp2_frame* frame, const uint8_t* head, size_t size,
                      nghttp2_data_source* source, void* self);
  static ssize_t SelectPadding(nghttp2_session*, const nghttp2_frame* frame, size_t most, void* self);
  static ssize_t FrameLength(nghttp2_session*, uint8_t type, int32_t id, int32_t session_window, int32_t stream_window,
                             uint32_t most, void* self);

  void Take(std::string_view received);
  void TakeUpgraded(const http::RequestHead& head);
  End Turn();      ///< answers, sends, and says how it goes on
  void Pump();     ///< frames into the pool's buffer
  End Flush();     ///< ... and out
  void SendOut();  ///< the buffer is empty afterwards
  End Settle();
  /// A frame that is no progress for anybody costs something; who has nothing left is told to calm down.
  void Spend(int cost);
  void Earn(int gain);
  void Terminate(uint32_t error);
  void StartLeaving();
  void FinalGoaway();

  // ---- streams (http2_head.cc, http2_stream.cc, http2_answer.cc) ----
  Http2Stream* NewStream(int32_t id);
  void Drop(Http2Stream* s);  ///< it is over, for the session too
  /// `name` and `value` stay where they are as long as the stream has its head. false: it does not need them
  bool AddField(Http2Stream& s, std::string_view name, std::string_view value);
  void TakeHead(Http2Stream& s, bool ends);
  void BuildHead(Http2Stream& s);
  void JoinCookies(Http2Stream& s);  ///< several fields are one that was cut. RFC 9113 8.2.3
  Request RequestOf(Http2Stream& s);
  void MakeReady(Http2Stream& s);  ///< its answer can be begun
  void AnswerReady();
  void Answer(Http2Stream& s);
  void BeginUpload(Http2Stream& s);
  void Feed(Http2Stream& s, std::string_view data);
  void WriteToSink(Http2Stream& s, std::string_view data);
  void EndBody(Http2Stream& s);
  void WaitForRest(Http2Stream& s);
  void AnswerBad(Http2Stream& s, int status, const char* reason);
  /// Begins to send. `response` is the loop's or the stream's own.
  void SendAnswer(Http2Stream& s, Response& response);
  void Submit(Http2Stream& s, Response& response);
  void AppendHead(const Response& response, std::optional<uint64_t> length);
  void AddParts(size_t at, const std::vector<Http2Stream::Field>& parts);  ///< of the text that is at `at` of the head
  /// The answer has to wait: it becomes the stream's own.
  void Own(Http2Stream& s);
  void Resume(Http2Stream& s, bool is_late);
  void Finish(Http2Stream& s, bool aborted);
  void Reset(Http2Stream& s, uint32_t error);
  void Arm(Http2Stream& s, uint64_t deadline_ms);
  void Recount(Http2Stream& s);
  uint64_t TimeoutOf(const Http2Stream& s) const;
  uint64_t ReadDeadline(const Http2Stream& s) const;
  bool FillSource(Http2Stream& s, size_t most);
  bool CopyBody(Http2Stream& s, char* to, size_t size);
  bool IsCrowded() const;

  EventLoop& loop_;
  Http2Pool& pool_;
  Connection* c_;
  Http2Terms terms_;
  nghttp2_session* session_ = nullptr;
  std::string upgrade_;  ///< fields of the HTTP/1 request that is stream 1
  std::vector<std::unique_ptr<Http2Stream>> streams_;
  std::vector<Http2Stream*> ready_;      ///< null: reset meanwhile
  std::vector<Http2Stream*> exhausted_;  ///< their sources have had their time in this turn
  Http2Stream* arriving_ = nullptr;      ///< whose head is
  Http2Stream* answering_ = nullptr;     ///< whose answer is the loop's own
  Http2Stream* sending_ = nullptr;       ///< whose DATA frame was written last
  std::string unsent_;
  size_t unsent_done_ = 0;
  std::unique_ptr<Timer> patience_;  ///< for the client's word that it has heard of our leaving
  size_t head_bytes_ = 0;
  size_t held_bytes_ = 0;
  uint64_t sent_ms_ = 0;  ///< when the socket last took something
  uint64_t idle_ms_ = 0;  ///< since when there is no stream
  uint64_t source_end_ns_ = 0;
  int credit_ = 0;
  uint64_t credit_ms_ = 0;
  uint32_t errors_ = 0;
  uint32_t trailer_bytes_ = 0;
  int idle_timeout_ms_;
  int timeout_ms_;
  Leaving leaving_ = Leaving::kNo;
  bool is_full_ = false;    ///< the buffer is; more waits in the session
  bool is_broken_ = false;  ///< nothing more is to be read
  bool is_gone_ = false;    ///< nothing more can be sent
};

}  // namespace httpd::net
