// The session: frames in, frames out, and how a connection ends.
#include "httpd/net/http2.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "httpd/net/scoreboard.h"

namespace httpd::net {

namespace {

constexpr int32_t kConnectionWindow = 1 << 20;  // uploads at the same time; each stream has its own window besides
constexpr size_t kMostHeadBytes = 1U << 20;     // of all requests in progress
constexpr size_t kMostUnsent = 256U << 10;      // then nothing more is read, so that nothing more has to be answered
constexpr uint32_t kMostTrailerBytes = 16U << 10;
constexpr uint32_t kMostHeaderList = 60U << 10;  // as for HTTP/1
constexpr uint64_t kPatienceMs = 1000;           // until a client has heard that we are leaving
constexpr uint64_t kFarMs = 3600'000;
// Frames that are no request, no body and no answer. A client that cancels or that opens windows by single bytes gets
// along with these; nghttp2's own limit for resets (1,000, then 33 a second) comes after them.
constexpr int kMostCredit = 2000;
constexpr uint64_t kCreditPerSecond = 100;
constexpr int kResetCost = 5;
constexpr int kFrameGain = 2;  // a window update for the stream and one for the connection
constexpr size_t kFrameHead = 9;
constexpr uint8_t kPing[8] = {'l', 'e', 'a', 'v', 'i', 'n', 'g', '.'};

Http2Stream* StreamOf(nghttp2_session* session, int32_t id) {
  return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session, id));
}

}  // namespace

Http2Pool::Http2Pool() : out(new char[kOutBytes]) {
  for (nghttp2_session_callbacks** made : {&callbacks, &padding_callbacks}) {
    nghttp2_session_callbacks_new(made);
    nghttp2_session_callbacks_set_on_begin_frame_callback(*made, Http2::OnBeginFrame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(*made, Http2::OnBeginHeaders);
    nghttp2_session_callbacks_set_on_header_callback2(*made, Http2::OnHeader);
    nghttp2_session_callbacks_set_unpack_extension_callback(
        *made, [](nghttp2_session*, void**, const nghttp2_frame_hd*, void*) { return int{NGHTTP2_ERR_CANCEL}; });
    nghttp2_session_callbacks_set_on_frame_recv_callback(*made, Http2::OnFrame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(*made, Http2::OnInvalidFrame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(*made, Http2::OnData);
    nghttp2_session_callbacks_set_on_stream_close_callback(*made, Http2::OnStreamClosed);
    nghttp2_session_callbacks_set_on_frame_send_callback(*made, Http2::OnFrameSent);
    nghttp2_session_callbacks_set_send_data_callback(*made, Http2::SendBody);
    nghttp2_session_callbacks_set_data_source_read_length_callback(*made, Http2::FrameLength);
  }
  nghttp2_session_callbacks_set_select_padding_callback(padding_callbacks, Http2::SelectPadding);
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  // Not that anything would be made of unknown frames: only so that they are told of, see OnBeginFrame().
  for (unsigned type = NGHTTP2_CONTINUATION + 1; type < 256; ++type) {
    nghttp2_option_set_user_recv_extension_type(option, static_cast<uint8_t>(type));
  }
}

Http2Pool::~Http2Pool() {
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_session_callbacks_del(padding_callbacks);
  nghttp2_option_del(option);
}

void DropHttp2::operator()(Http2* http2) const {
  delete http2;
}
void DropHttp2::operator()(Http2Pool* pool) const {
  delete pool;
}
Work& WorkOf(Http2Stream& stream) {
  return stream;
}

Http2::Http2(EventLoop& loop, Connection* c, const Http2Terms& terms)
    : loop_(loop), pool_(loop.SharedOfHttp2()), c_(c), terms_(terms) {
  sent_ms_ = idle_ms_ = credit_ms_ = loop.now_ms_;
  credit_ = kMostCredit;
  idle_timeout_ms_ = c->keep_alive_timeout_ms;
  timeout_ms_ = c->timeout_ms;
  constexpr size_t kUsualHeaderBlock = 65536;
  nghttp2_option_set_max_send_header_block_length(
      pool_.option, terms.max_header_block > 0 ? terms.max_header_block : kUsualHeaderBlock);
  nghttp2_session_server_new3(&session_, terms.padding_bits > 0 ? pool_.padding_callbacks : pool_.callbacks, this,
                              pool_.option, pool_.memory.allocator());
}

Http2::~Http2() {
  // Before the streams: it calls nobody back about those that are open.
  nghttp2_session_del(session_);
  for (const auto& s : streams_) {
    if (s->client_bound) --loop_.client_bound_;
    if (s->working) loop_.CountOut(*s, 0, 0, SteadyNs());
  }
}

Http2::End Http2::Begin(std::string_view received, const http::RequestHead* upgrade, std::string_view before) {
  pool_.out_size = 0;
  unsent_ = before;
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, terms_.max_streams},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, terms_.window},
                                             {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMostHeaderList}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  if (upgrade) TakeUpgraded(*upgrade);
  if (loop_.draining_) {
    nghttp2_submit_shutdown_notice(session_);
    StartLeaving();
  }
  if (!received.empty()) Take(received);
  return Turn();
}

Http2::End Http2::OnEvent(uint32_t events) {
  pool_.out_size = 0;
  for (Http2Stream* s : std::exchange(exhausted_, {})) nghttp2_session_resume_data(session_, s->id);
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0 && !is_broken_ && unsent_.size() < kMostUnsent) {
    const ssize_t n = EventLoop::Receive(c_, loop_.scratch_.get(), kScratchBytes);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return End::kGone;
    if (n > 0) Take({loop_.scratch_.get(), static_cast<size_t>(n)});
  } else if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    return End::kGone;
  }
  return Turn();
}

void Http2::Take(std::string_view received) {
  const ssize_t n =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(received.data()), received.size());
  if (n >= 0) return;
  is_broken_ = true;
  if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC) return;
  nghttp2_session_terminate_session(session_,
                                    n == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_INTERNAL_ERROR);
}

Http2::End Http2::Turn() {
  source_end_ns_ = 0;
  AnswerReady();
  if (const End end = Flush(); end != End::kNone) return end;
  // The client has taken something: who waited for that goes on.
  while (!ready_.empty() && !IsCrowded()) {
    AnswerReady();
    if (const End end = Flush(); end != End::kNone) return end;
  }
  return Settle();
}

void Http2::Pump() {
  is_full_ = false;
  for (;;) {
    if (pool_.out_size >= Http2Pool::kFlushBytes) {
      is_full_ = true;
      return;
    }
    const uint8_t* data = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n < 0) is_gone_ = true;
    if (n <= 0) return;
    std::memcpy(pool_.out.get() + pool_.out_size, data, static_cast<size_t>(n));
    pool_.out_size += static_cast<size_t>(n);
  }
}

Http2::End Http2::Flush() {
  constexpr int kRounds = 2;  // a fast client must not own the loop
  for (int round = 0; round < kRounds && !is_gone_; ++round) {
    if (unsent_.empty()) Pump();
    SendOut();
    if (!is_full_ || !unsent_.empty()) break;
  }
  return is_gone_ ? End::kGone : End::kNone;
}

void Http2::SendOut() {
  if (!unsent_.empty()) unsent_.append(pool_.out.get(), pool_.out_size);
  std::string_view data = unsent_.empty() ? std::string_view(pool_.out.get(), pool_.out_size)
                                          : std::string_view(unsent_).substr(unsent_done_);
  pool_.out_size = 0;
  while (!data.empty() && !is_gone_) {
    const ssize_t n = EventLoop::SendBytes(c_, data, false);
    if (n < 0) {
      if (errno != EAGAIN) {
        is_gone_ = true;
        break;
      }
      if (unsent_.empty()) {
        unsent_ = data;
        unsent_done_ = 0;
      } else {
        unsent_done_ = static_cast<size_t>(data.data() - unsent_.data());
        if (unsent_done_ >= unsent_.size() / 2) {
          unsent_.erase(0, unsent_done_);
          unsent_done_ = 0;
        }
      }
      return;
    }
    sent_ms_ = loop_.now_ms_;
    data.remove_prefix(static_cast<size_t>(n));
  }
  if (unsent_.empty()) return;
  loop_.freed_bytes_ += unsent_.capacity();
  std::string().swap(unsent_);
  unsent_done_ = 0;
}

Http2::End Http2::Settle() {
  const bool wants_write = nghttp2_session_want_write(session_) != 0;
  const bool is_over = is_broken_ || nghttp2_session_want_read(session_) == 0;
  if (is_over && !wants_write && unsent_.empty()) return End::kLinger;
  if (arriving_ && arriving_->deadline_ms == UINT64_MAX) {
    loop_.head_.Clear();
    const ReadTimeout t = loop_.handler_.ReadTimeoutOf(loop_.MakeRequest(c_, loop_.head_), false);
    Arm(*arriving_, loop_.now_ms_ + static_cast<uint64_t>(t.initial_ms > 0 ? t.initial_ms : timeout_ms_));
  }
  const bool is_blocked = !unsent_.empty();
  const uint8_t state = streams_.empty() ? kIdle : is_blocked ? kWriting : kReading;
  if (c_->state != state) loop_.SetState(c_, state);
  if (is_blocked) {
    c_->deadline_ms = sent_ms_ + static_cast<uint64_t>(timeout_ms_);
  } else if (streams_.empty()) {
    c_->deadline_ms = idle_ms_ + static_cast<uint64_t>(c_->requests > 0 ? idle_timeout_ms_ : timeout_ms_);
  } else {
    c_->deadline_ms = loop_.now_ms_ + kFarMs;  // each stream has its own
  }
  uint32_t events = is_broken_ || unsent_.size() >= kMostUnsent ? EPOLLERR : EPOLLIN;
  if (is_blocked || is_full_ || !exhausted_.empty()) events |= EPOLLOUT;
  loop_.Want(c_, events);
  return End::kNone;
}

Http2::End Http2::OnDeadline() {
  pool_.out_size = 0;
  if (!unsent_.empty()) return End::kGone;  // the client takes nothing
  SayGoodbye();
  return End::kLinger;
}

void Http2::SayGoodbye() {
  if (leaving_ != Leaving::kTold) FinalGoaway();
  Pump();
  SendOut();
}

Http2::End Http2::Drain() {
  pool_.out_size = 0;
  if (leaving_ == Leaving::kNo) {
    nghttp2_submit_shutdown_notice(session_);
    StartLeaving();
  }
  return Turn();
}

void Http2::StartLeaving() {
  // What the client sends before it hears of this is served; its answer to the ping says that it has.
  leaving_ = Leaving::kNoticed;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kPing);
  patience_ = loop_.After(std::chrono::milliseconds(kPatienceMs), [this] {
    pool_.out_size = 0;
    if (leaving_ == Leaving::kNoticed) FinalGoaway();
    loop_.GoOnWithHttp2(c_, Turn());
  });
}

void Http2::FinalGoaway() {
  leaving_ = Leaving::kTold;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
}

void Http2::GiveUp() {
  for (const auto& s : streams_) {
    if (s->working) Finish(*s, true);
  }
}

void Http2::TellInProgress(const std::function<void(const handover::CutRequest&)>& tell) const {
  for (const auto& s : streams_) {
    if (!s->working) continue;
    handover::CutRequest out;
    out.client = c_->address;
    if (c_->client_port != 0) {
      out.client = (out.client.find(':') == std::string::npos ? out.client : "[" + out.client + "]") + ":" +
                   std::to_string(c_->client_port);
    }
    out.age_ms = (SteadyNs() - s->work_started_ns) / 1000000;
    out.phase = s->phase == Http2Stream::Phase::kBody ? handover::CutRequest::Phase::kReceiving
                                                      : handover::CutRequest::Phase::kAnswering;
    out.bytes_sent = s->bytes_out;
    if (s->answer && !s->answer->source) out.bytes_left = s->left;
    out.request = s->head.line;
    tell(out);
  }
}

void Http2::Spend(int cost) {
  if (loop_.now_ms_ > credit_ms_) {
    Earn(static_cast<int>(std::min<uint64_t>((loop_.now_ms_ - credit_ms_) * kCreditPerSecond / 1000, kMostCredit)));
    if (loop_.now_ms_ - credit_ms_ >= 1000 / kCreditPerSecond) credit_ms_ = loop_.now_ms_;
  }
  credit_ -= cost;
  if (credit_ < 0) Terminate(NGHTTP2_ENHANCE_YOUR_CALM);
}

void Http2::Earn(int gain) {
  credit_ = std::min(credit_ + gain, kMostCredit);
}

void Http2::Terminate(uint32_t error) {
  is_broken_ = true;
  nghttp2_session_terminate_session(session_, error);
}

int Http2::OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd* frame, void* user) {
  auto* self = static_cast<Http2*>(user);
  switch (frame->type) {
    case NGHTTP2_HEADERS:
      break;
    case NGHTTP2_DATA:
      if (frame->length == 0 && (frame->flags & NGHTTP2_FLAG_END_STREAM) == 0) self->Spend(1);
      break;
    case NGHTTP2_RST_STREAM:
      self->Spend(kResetCost);
      break;
    default:
      self->Spend(1);
  }
  return 0;
}

int Http2::OnBeginHeaders(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  auto* self = static_cast<Http2*>(user);
  if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
    self->trailer_bytes_ = 0;
    return 0;
  }
  if (self->head_bytes_ >= kMostHeadBytes || self->is_broken_) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
    return 0;
  }
  Http2Stream* s = self->NewStream(frame->hd.stream_id);
  nghttp2_session_set_stream_user_data(session, s->id, s);
  self->arriving_ = s;
  return 0;
}

int Http2::OnHeader(nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value,
                    uint8_t, void* user) {
  auto* self = static_cast<Http2*>(user);
  const nghttp2_vec name_text = nghttp2_rcbuf_get_buf(name);
  const nghttp2_vec value_text = nghttp2_rcbuf_get_buf(value);
  if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    Http2Stream* s = self->arriving_;
    if (!s || !self->AddField(*s, {reinterpret_cast<const char*>(name_text.base), name_text.len},
                              {reinterpret_cast<const char*>(value_text.base), value_text.len})) {
      return 0;
    }
    for (nghttp2_rcbuf* text : {name, value}) {
      if (nghttp2_rcbuf_is_static(text) != 0) continue;
      nghttp2_rcbuf_incref(text);
      s->kept.push_back(text);
    }
    return 0;
  }
  // Trailers are read past, as those of HTTP/1.
  self->trailer_bytes_ += static_cast<uint32_t>(name_text.len + value_text.len);
  if (self->trailer_bytes_ <= kMostTrailerBytes) return 0;
  nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_ENHANCE_YOUR_CALM);
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

int Http2::OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  auto* self = static_cast<Http2*>(user);
  const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS: {
      if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        Http2Stream* s = StreamOf(session, frame->hd.stream_id);
        if (s && ends) self->EndBody(*s);
        return 0;
      }
      Http2Stream* s = std::exchange(self->arriving_, nullptr);
      if (!s) return 0;
      s->bytes_in = frame->hd.length + kFrameHead;
      self->TakeHead(*s, ends);
      return 0;
    }
    case NGHTTP2_DATA:
      if (ends) {
        if (Http2Stream* s = StreamOf(session, frame->hd.stream_id)) self->EndBody(*s);
      }
      return 0;
    case NGHTTP2_PING:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 && self->leaving_ == Leaving::kNoticed &&
          std::memcmp(frame->ping.opaque_data, kPing, sizeof kPing) == 0) {
        self->FinalGoaway();
      }
      return 0;
    default:
      return 0;
  }
}

int Http2::OnInvalidFrame(nghttp2_session*, const nghttp2_frame*, int, void* user) {
  auto* self = static_cast<Http2*>(user);
  self->Spend(kResetCost);
  if (self->terms_.max_stream_errors > 0 && ++self->errors_ > self->terms_.max_stream_errors) {
    self->Terminate(NGHTTP2_ENHANCE_YOUR_CALM);
  }
  return 0;
}

int Http2::OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
  auto* self = static_cast<Http2*>(user);
  Http2Stream* s = StreamOf(session, id);
  if (!s) {
    nghttp2_session_consume(session, id, size);
    return 0;
  }
  self->Earn(1);
  self->Feed(*s, {reinterpret_cast<const char*>(data), size});
  return 0;
}

int Http2::OnStreamClosed(nghttp2_session* session, int32_t id, uint32_t, void* user) {
  auto* self = static_cast<Http2*>(user);
  if (Http2Stream* s = StreamOf(session, id)) self->Drop(s);
  return 0;
}

int Http2::OnFrameSent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  auto* self = static_cast<Http2*>(user);
  if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
  Http2Stream* s = frame->hd.type == NGHTTP2_DATA ? self->sending_ : self->answering_;
  if (!s || s->id != frame->hd.stream_id) s = StreamOf(session, frame->hd.stream_id);
  if (!s) return 0;
  self->Earn(kFrameGain);
  s->bytes_out += frame->hd.length + kFrameHead;
  if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
  self->Finish(*s, false);
  // The rest of its body is of no use to anybody. RFC 9113 8.1
  if (!s->body_ended) nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
  return 0;
}

ssize_t Http2::SelectPadding(nghttp2_session*, const nghttp2_frame* frame, size_t most, void* user) {
  auto* self = static_cast<Http2*>(user);
  if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) {
    return static_cast<ssize_t>(frame->hd.length);
  }
  const size_t range = size_t{1} << self->terms_.padding_bits;
  const size_t padding = ::arc4random_uniform(static_cast<uint32_t>(range));
  return static_cast<ssize_t>(std::min(most, frame->hd.length + padding));
}

ssize_t Http2::FrameLength(nghttp2_session*, uint8_t, int32_t, int32_t session_window, int32_t stream_window,
                           uint32_t most, void* user) {
  auto* self = static_cast<Http2*>(user);
  uint32_t length = std::min<uint32_t>(most, 16384);  // what is larger fits no TLS record and no fair share
  if (self->terms_.max_data_frame > 0) length = std::min(length, self->terms_.max_data_frame);
  return std::min<ssize_t>(length, std::min(session_window, stream_window));
}

// ---- the loop's part ---------------------------------------------------------------------------------------------

Http2Pool& EventLoop::SharedOfHttp2() {
  if (!http2_) http2_.reset(new Http2Pool);
  return *http2_;
}

bool EventLoop::IsHttp2Preface(Connection* c, std::string_view received) {
  if (c->requests > 0 || !out_.empty() || !received.starts_with("PRI * HTTP/2.0\r\n")) return false;
  head_.Clear();
  const Http2Terms& terms = handler_.Http2Of(MakeRequest(c, head_));
  return c->tls ? c->tls->Alpn() == "h2" : terms.over_plain && terms.direct;
}

void EventLoop::BeginHttp2(Connection* c, std::string_view received, const http::RequestHead* upgrade) {
  http::RequestHead none;
  const Request request = MakeRequest(c, upgrade ? *upgrade : none);
  if (upgrade) out_ += "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
  const std::string before = std::exchange(out_, {});
  c->is_read_timed = false;
  c->http2.reset(new Http2(*this, c, handler_.Http2Of(request)));
  GoOnWithHttp2(c, c->http2->Begin(received, upgrade, before));
}

void EventLoop::SweepStreams() {
  stream_deadlines_.PassTo(now_ms_);
  while (Deadline* due = stream_deadlines_.TakeDue()) {
    auto* s = static_cast<Http2Stream*>(due);
    if (s->deadline_ms > now_ms_) {
      if (s->deadline_ms != UINT64_MAX) stream_deadlines_.File(*s, s->deadline_ms);
      continue;
    }
    stream_deadlines_.File(*s, now_ms_ + kSweepMs);
    Http2* session = s->session;  // the stream may be no more when this returns
    const Http2End end = session->OnStreamDeadline(*s);
    GoOnWithHttp2(session->connection(), end);
  }
}

void EventLoop::GoOnWithHttp2(Connection* c, Http2End end) {
  if (end == Http2End::kNone) return;
  c->http2->GiveUp();
  c->http2.reset();
  if (end == Http2End::kGone) {
    Destroy(c);
    return;
  }
  c->linger = true;
  StartLinger(c);
}

}  // namespace httpd::net
