// Streams: from their first frame to the last, the bodies of their requests, their time.
#include <algorithm>

#include "httpd/net/http2.h"
#include "httpd/net/scoreboard.h"

namespace httpd::net {

namespace {

using Phase = Http2Stream::Phase;

constexpr size_t kMostHeld = 1U << 20;  // of answers in memory that wait for the client, and of frames
constexpr size_t kMostSpare = 256;
constexpr size_t kMostSpareBytes = 1U << 20;  // of their texts
constexpr size_t kSinkBytes = 64U << 10;

}  // namespace

Http2Stream* Http2::NewStream(int32_t id) {
  std::unique_ptr<Http2Stream> made;
  if (pool_.spare.empty()) {
    made = std::make_unique<Http2Stream>();
  } else {
    made = std::move(pool_.spare.back());
    pool_.spare.pop_back();
    pool_.spare_bytes -= made->spare_bytes;
  }
  Http2Stream* s = made.get();
  s->session = this;
  s->id = id;
  s->index = static_cast<uint32_t>(streams_.size());
  streams_.push_back(std::move(made));
  return s;
}

void Http2::Drop(Http2Stream* s) {
  if (s->working) Finish(*s, true);
  if (s->phase == Phase::kReady) std::replace(ready_.begin(), ready_.end(), s, static_cast<Http2Stream*>(nullptr));
  if (!exhausted_.empty()) std::erase(exhausted_, s);
  if (arriving_ == s) arriving_ = nullptr;
  if (answering_ == s) answering_ = nullptr;
  if (sending_ == s) sending_ = nullptr;
  head_bytes_ -= s->head_bytes;
  std::unique_ptr<Http2Stream> spare = std::move(streams_[s->index]);
  if (s->index + 1 != streams_.size()) {
    streams_[s->index] = std::move(streams_.back());
    streams_[s->index]->index = s->index;
  }
  streams_.pop_back();
  if (streams_.empty()) idle_ms_ = loop_.now_ms_;
  s->spare_bytes = s->text.capacity() + s->response.body.capacity() + s->source.buffer.capacity();
  if (pool_.spare.size() >= kMostSpare || pool_.spare_bytes + s->spare_bytes > kMostSpareBytes) return;
  pool_.spare_bytes += s->spare_bytes;
  s->Unfile();
  s->deadline_ms = UINT64_MAX;
  s->phase = Phase::kHead;
  s->head.Clear();
  s->LetGo();
  s->text.clear();
  s->head_bytes = s->cookies = 0;
  s->method = s->path = s->authority = {};
  s->has_length = false;
  s->bad_status = 0;
  s->body_ended = s->sink_waits = s->is_submitted = false;
  s->received = s->bytes_in = s->body_limit = 0;
  s->pause.reset();
  s->response.Clear();
  s->sink.reset();
  s->held.clear();
  s->answer = nullptr;
  s->left = s->body_sent = s->bytes_out = s->head_ns = 0;
  s->text_done = s->held_bytes = 0;
  s->cursor = {};
  s->source.buffer.clear();
  s->source.buffer_done = s->source.buffer_body = 0;
  s->source.left.reset();
  s->source.ended = s->source.waiting = false;
  s->allowance = s->refilled_ms = 0;
  pool_.spare.push_back(std::move(spare));
}

void Http2::MakeReady(Http2Stream& s) {
  s.phase = Phase::kReady;
  ready_.push_back(&s);
}

Request Http2::RequestOf(Http2Stream& s) {
  Request request = loop_.MakeRequest(c_, s.head);
  request.stream = &s;
  request.stream_id = static_cast<uint32_t>(s.id);
  request.start = std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(s.work_wall_ns)));
  return request;
}

bool Http2::IsCrowded() const {
  return held_bytes_ + unsent_.size() >= kMostHeld;
}

void Http2::AnswerReady() {
  size_t done = 0;
  // Nothing is added meanwhile: streams come from what is read. Some may go.
  for (; done < ready_.size() && !is_gone_; ++done) {
    if (!ready_[done]) continue;
    if (IsCrowded()) break;
    Answer(*std::exchange(ready_[done], nullptr));
  }
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(done));
  for (Http2Stream* s : ready_) {
    if (s && s->deadline_ms == UINT64_MAX) Arm(*s, loop_.now_ms_ + static_cast<uint64_t>(timeout_ms_));
  }
}

void Http2::Answer(Http2Stream& s) {
  s.phase = Phase::kSending;
  if (s.bad_status != 0) {
    AnswerBad(s, s.bad_status, s.bad_reason);
    return;
  }
  if (s.working) {  // it stands since the head came
    SendAnswer(s, s.response);
    return;
  }
  if (c_->state == kIdle) loop_.SetState(c_, kReading);
  loop_.Count(s, c_->address, s.head);
  Response& response = loop_.response_;
  response.Clear();
  loop_.handler_.Handle(RequestOf(s), response);
  if (response.sink) response.sink->End();
  if (response.deferred) {
    s.response = std::move(response);
    s.sink = std::move(s.response.sink);
    s.phase = Phase::kWaiting;
    WaitForRest(s);
    return;
  }
  SendAnswer(s, response);
}

void Http2::BeginUpload(Http2Stream& s) {
  s.phase = Phase::kBody;
  if (c_->state == kIdle) loop_.SetState(c_, kReading);
  loop_.Count(s, c_->address, s.head);
  // Other streams may be answered before this one: what is lent would not stay.
  s.response.Clear();
  loop_.handler_.Handle(RequestOf(s), s.response);
  if (s.response.lent_body.data() != nullptr) {
    s.response.body = s.response.lent_body;
    s.response.lent_body = {};
  }
  s.sink = std::move(s.response.sink);
  s.read_timeout = loop_.handler_.ReadTimeoutOf(RequestOf(s), true);
  s.read_start_ms = loop_.now_ms_;
  s.body_limit = s.response.body_limit.value_or(loop_.handler_.BodyLimit());
  if (s.body_limit != 0 && s.head.content_length.value_or(0) > s.body_limit) {
    s.bad_status = 413;
    s.bad_reason = "request body too large";
    MakeReady(s);
    return;
  }
  if (s.head.expect_continue) {
    if (!s.response.deferred && !s.sink && s.response.status >= 300) {
      MakeReady(s);  // the client waits to be asked for a body that nobody wants
      return;
    }
    nghttp2_nv status = {};
    static constexpr char kName[] = ":status";
    static constexpr char kValue[] = "100";
    status.name = reinterpret_cast<uint8_t*>(const_cast<char*>(kName));
    status.value = reinterpret_cast<uint8_t*>(const_cast<char*>(kValue));
    status.namelen = sizeof kName - 1;
    status.valuelen = sizeof kValue - 1;
    nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, s.id, nullptr, &status, 1, nullptr);
  }
  WaitForRest(s);
}

void Http2::Feed(Http2Stream& s, std::string_view data) {
  s.bytes_in += data.size();
  s.received += data.size();
  const bool is_wanted = s.phase == Phase::kBody || (s.phase == Phase::kSending && s.sink);
  if (is_wanted && s.body_limit != 0 && s.received > s.body_limit) {
    s.sink.reset();
    s.held.clear();
    if (s.phase == Phase::kSending) {  // the answer has begun
      Reset(s, NGHTTP2_CANCEL);
    } else {
      s.bad_status = 413;
      s.bad_reason = "request body too large";
      MakeReady(s);
    }
  } else if (is_wanted && s.sink && s.sink_waits) {
    s.held += data;
    nghttp2_session_consume_connection(session_, data.size());  // one slow stream does not stop the others
    return;
  } else if (is_wanted && s.sink) {
    WriteToSink(s, data);
  }
  nghttp2_session_consume(session_, s.id, data.size());
  if (s.phase == Phase::kBody) WaitForRest(s);
}

void Http2::WriteToSink(Http2Stream& s, std::string_view data) {
  const BodySink::State state = s.sink->Write(data);
  if (state == BodySink::State::kEnough) s.sink.reset();
  s.sink_waits = state == BodySink::State::kWait;
  s.sink_waits_ms = loop_.now_ms_;
}

void Http2::EndBody(Http2Stream& s) {
  s.body_ended = true;
  if (!s.held.empty()) return;  // comes back when the sink has taken it
  if (s.sink && (s.phase == Phase::kBody || s.phase == Phase::kSending)) s.sink->End();
  if (s.phase != Phase::kBody) return;
  if (s.response.deferred) {
    s.phase = Phase::kWaiting;
    WaitForRest(s);
  } else {
    MakeReady(s);
  }
}

void Http2::WaitForRest(Http2Stream& s) {
  const bool waits_for_client = s.phase == Phase::kBody && !s.body_ended && !s.sink_waits;
  Arm(s, waits_for_client ? ReadDeadline(s) : loop_.now_ms_ + WaitMs(s.response));
  Recount(s);
}

Http2::End Http2::OnWoken(Http2Stream& s) {
  pool_.out_size = 0;
  if (s.sink_waits && s.sink && s.sink->WantsMore()) {
    s.sink_waits = false;
    s.read_start_ms += loop_.now_ms_ - s.sink_waits_ms;  // the time that the sink took is not the client's
    const std::string held = std::exchange(s.held, {});
    size_t done = 0;
    while (done < held.size() && s.sink && !s.sink_waits) {
      const std::string_view piece = std::string_view(held).substr(done, kSinkBytes);
      WriteToSink(s, piece);
      done += piece.size();
    }
    if (s.sink) {
      s.held = held.substr(done);
    } else {
      done = held.size();
    }
    if (done > 0) nghttp2_session_consume_stream(session_, s.id, done);
    if (s.body_ended) {
      EndBody(s);
    } else if (s.phase == Phase::kBody) {
      WaitForRest(s);
    }
  }
  if (s.phase == Phase::kSending) {
    if (std::exchange(s.source.waiting, false)) nghttp2_session_resume_data(session_, s.id);
  } else if (s.working && s.response.deferred) {
    Resume(s, false);
  }
  return Turn();
}

void Http2::Resume(Http2Stream& s, bool is_late) {
  loop_.handler_.Resume(RequestOf(s), s.response, is_late);
  if (s.response.deferred) {
    if (is_late) Reset(s, NGHTTP2_CANCEL);
    return;
  }
  s.phase = Phase::kSending;
  SendAnswer(s, s.response);
}

void Http2::AnswerBad(Http2Stream& s, int status, const char* reason) {
  s.phase = Phase::kSending;
  s.sink.reset();
  s.held.clear();
  s.answer = nullptr;
  s.response.Clear();
  if (c_->state == kIdle) loop_.SetState(c_, kReading);
  if (!s.working) loop_.Count(s, c_->address, s.head);
  Response& response = loop_.response_;
  response.Clear();
  loop_.handler_.HandleBad(RequestOf(s), status, reason, response);
  response.deferred.reset();
  if (!loop_.ReadAhead(response)) response.source.reset();
  Submit(s, response);
}

void Http2::Reset(Http2Stream& s, uint32_t error) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, s.id, error);
}

void Http2::Arm(Http2Stream& s, uint64_t deadline_ms) {
  s.deadline_ms = deadline_ms;
  if (deadline_ms < s.look_ms) loop_.stream_deadlines_.File(s, deadline_ms);
}

void Http2::Recount(Http2Stream& s) {
  // As EventLoop::Recount(): who only waits for its client takes memory, not time.
  const bool is_bound = s.working && ((s.phase == Phase::kBody && !s.sink && !s.response.deferred) ||
                                      (s.phase == Phase::kSending && s.answer && !s.answer->source));
  if (is_bound == s.client_bound) return;
  s.client_bound = is_bound;
  loop_.client_bound_ += is_bound ? 1 : -1;
}

uint64_t Http2::TimeoutOf(const Http2Stream& s) const {
  if (terms_.stream_timeout_ms > 0) return static_cast<uint64_t>(terms_.stream_timeout_ms);
  return static_cast<uint64_t>(s.answer ? s.answer->timeout_ms : timeout_ms_);
}

uint64_t Http2::ReadDeadline(const Http2Stream& s) const {
  const ReadTimeout& t = s.read_timeout;
  const uint64_t between_reads =
      static_cast<uint64_t>(terms_.stream_timeout_ms > 0 ? terms_.stream_timeout_ms : s.response.timeout_ms);
  if (t.initial_ms == 0) return loop_.now_ms_ + between_reads;
  auto allowed = static_cast<uint64_t>(t.initial_ms);
  if (t.min_rate > 0) {
    allowed += s.received / t.min_rate * 1000;
    if (t.most_ms > 0) allowed = std::min(allowed, static_cast<uint64_t>(t.most_ms));
  }
  return std::min(s.read_start_ms + allowed, loop_.now_ms_ + between_reads);
}

Http2::End Http2::OnStreamDeadline(Http2Stream& s) {
  pool_.out_size = 0;
  switch (s.phase) {
    case Phase::kHead:
      SayGoodbye();  // no other frame can come before the rest of this one
      return End::kLinger;
    case Phase::kReady:
      Reset(s, NGHTTP2_REFUSED_STREAM);
      break;
    case Phase::kBody:
      if (s.sink_waits && s.response.deferred) {
        Resume(s, true);
      } else {
        AnswerBad(s, 408, "Request body read timeout");
      }
      break;
    case Phase::kWaiting:
      Resume(s, true);
      break;
    case Phase::kSending:
      Reset(s, NGHTTP2_CANCEL);
      break;
  }
  return Turn();
}

}  // namespace httpd::net
