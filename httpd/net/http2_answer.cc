// Answers: what is sent of them when, and what is left of them.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "httpd/net/http2.h"
#include "httpd/net/scoreboard.h"

namespace httpd::net {

namespace {

constexpr uint64_t kSourceNs = 2'000'000;  // per turn and connection, as for HTTP/1
constexpr std::chrono::milliseconds kRateInterval(200);
constexpr size_t kPaddingBytes = 256;

}  // namespace

void Http2::SendAnswer(Http2Stream& s, Response& response) {
  if (!loop_.ReadAhead(response)) {
    AnswerBad(s, 500, "the body of the answer could not be made");
    return;
  }
  if (response.keeps_body && !response.source) loop_.handler_.Keep(RequestOf(s), response);
  Submit(s, response);
}

void Http2::Submit(Http2Stream& s, Response& response) {
  idle_timeout_ms_ = response.keep_alive_timeout_ms;
  timeout_ms_ = response.timeout_ms;
  if (pool_.out_size >= Http2Pool::kFlushBytes) SendOut();
  const bool streams = response.source && !response.without_body;
  const std::optional<uint64_t> length = loop_.LengthToTell(response);
  AppendHead(response, length);
  s.left = response.without_body || streams ? 0 : *length;
  if (streams) {
    s.source.left = length;
    s.source.ended = loop_.first_state_ == BodySource::State::kEnd;
    s.source.waiting = loop_.first_state_ == BodySource::State::kWait;
    AppendPiece(s.source, loop_.first_, s.source.ended);
  } else if (response.source) {
    response.source.reset();  // of a HEAD: whoever produces it is not needed any more
  }
  s.answer = &response;
  answering_ = &s;
  nghttp2_data_provider body = {{.ptr = &s}, ReadBody};
  const bool has_body = streams || s.left > 0;
  if (nghttp2_submit_response(session_, s.id, pool_.fields.data(), pool_.fields.size(), has_body ? &body : nullptr) !=
      0) {
    Reset(s, NGHTTP2_INTERNAL_ERROR);
  }
  Pump();  // the fields are read here, and a body that is only lent
  if (answering_ != &s) return;
  answering_ = nullptr;
  if (s.answer) Own(s);
}

void Http2::Own(Http2Stream& s) {
  if (s.answer == &loop_.response_) {
    std::swap(s.response, loop_.response_);  // each keeps the memory of the other
    s.answer = &s.response;
  }
  Response& response = s.response;
  if (response.lent_body.data() != nullptr) {
    response.body = response.lent_body;
    response.lent_body = {};
  }
  s.held_bytes = response.body.size();
  held_bytes_ += s.held_bytes;
  s.answer_head = pool_.head;
  s.head_ns = SteadyNs();
  Arm(s, loop_.now_ms_ + (s.source.waiting ? WaitMs(response) : TimeoutOf(s)));
  Recount(s);
}

void Http2::Finish(Http2Stream& s, bool aborted) {
  const uint64_t now_ns = SteadyNs();
  Response& response = s.answer ? *s.answer : s.response;
  Outcome outcome;
  outcome.bytes_in = s.bytes_in;
  outcome.body_bytes = s.body_sent;
  outcome.bytes_out = s.bytes_out;
  outcome.aborted = aborted;
  outcome.kept_alive = !aborted && leaving_ == Leaving::kNo && !is_broken_;
  outcome.duration = std::chrono::nanoseconds(now_ns - s.work_started_ns);
  outcome.first_byte = s.head_ns == 0 ? outcome.duration : std::chrono::nanoseconds(s.head_ns - s.work_started_ns);
  if (s.answer) outcome.response_head = answering_ == &s ? pool_.head : s.answer_head;
  loop_.handler_.Finish(RequestOf(s), response, outcome);
  loop_.CountOut(s, outcome.bytes_out, response.status, now_ns);
  Recount(s);
  ++c_->requests;
  held_bytes_ -= std::exchange(s.held_bytes, 0);
  s.answer = nullptr;
  s.sink.reset();
  s.held.clear();
  if (aborted) {
    s.response.source.reset();
    s.response.deferred.reset();
  }
}

bool Http2::FillSource(Http2Stream& s, size_t most) {
  Stream& source = s.source;
  source.buffer.clear();
  source.buffer_done = source.buffer_body = 0;
  if (source_end_ns_ == 0) source_end_ns_ = SteadyNs() + kSourceNs;
  std::string& piece = loop_.piece_;
  piece.clear();
  const size_t enough = std::max<size_t>(most, terms_.stream_memory);
  auto state = BodySource::State::kMore;
  while (state == BodySource::State::kMore && piece.size() < enough && SteadyNs() < source_end_ns_) {
    state = s.answer->source->Read(piece, Http2Stream::kPieceBytes);
  }
  source.ended = state == BodySource::State::kEnd;
  source.waiting = state == BodySource::State::kWait;
  return state != BodySource::State::kFailed && AppendPiece(source, piece, source.ended);
}

ssize_t Http2::ReadBody(nghttp2_session*, int32_t, uint8_t*, size_t most, uint32_t* flags, nghttp2_data_source* from,
                        void* user) {
  auto* self = static_cast<Http2*>(user);
  auto& s = *static_cast<Http2Stream*>(from->ptr);
  if (!s.answer) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  const uint64_t allowed = self->loop_.Allowance(*s.answer, s.allowance, s.refilled_ms);
  if (allowed == 0) {
    s.pause = self->loop_.After(kRateInterval, [self, &s] {
      nghttp2_session_resume_data(self->session_, s.id);
      self->pool_.out_size = 0;
      self->loop_.GoOnWithHttp2(self->c_, self->Turn());
    });
    s.deadline_ms = self->loop_.now_ms_ + static_cast<uint64_t>(kRateInterval.count()) + self->TimeoutOf(s);
    return NGHTTP2_ERR_DEFERRED;
  }
  if (s.answer->rate_limit != 0) most = static_cast<size_t>(std::min<uint64_t>(most, allowed));
  if (!s.answer->source) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(most, s.left));
    if (n == s.left) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }
  Stream& source = s.source;
  if (source.buffer_done == source.buffer.size() && !source.ended && !source.waiting && !self->FillSource(s, most)) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  const size_t there = source.buffer.size() - source.buffer_done;
  if (there == 0 && !source.ended) {
    if (source.waiting) {
      self->Arm(s, self->loop_.now_ms_ + WaitMs(*s.answer));
    } else {
      self->exhausted_.push_back(&s);  // the others' turn
    }
    return NGHTTP2_ERR_DEFERRED;
  }
  const size_t n = std::min(there, most);
  if (source.ended && n == there) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(n);
}

bool Http2::CopyBody(Http2Stream& s, char* to, size_t size) {
  Response& response = *s.answer;
  if (response.source) {
    std::memcpy(to, s.source.buffer.data() + s.source.buffer_done, size);
    s.source.buffer_done += size;
    return true;
  }
  s.left -= size;
  if (!response.has_file()) {
    std::memcpy(to, response.BodyText().data() + s.text_done, size);
    s.text_done += size;
    return true;
  }
  Cursor& at = s.cursor;
  while (size > 0) {
    const Response::Part& part = response.parts[at.part];
    if (at.text_done < part.text.size()) {
      const size_t n = part.text.copy(to, size, at.text_done);
      at.text_done += n;
      to += n;
      size -= n;
    } else if (at.file_done < part.length) {
      const size_t want = static_cast<size_t>(std::min<uint64_t>(size, part.length - at.file_done));
      const ssize_t n = ::pread(response.FileDescriptor(), to, want, static_cast<off_t>(part.offset + at.file_done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;  // it became shorter than we promised
      at.file_done += static_cast<uint64_t>(n);
      to += n;
      size -= static_cast<size_t>(n);
    } else {
      at = {at.part + 1, 0, 0};
    }
  }
  return true;
}

int Http2::SendBody(nghttp2_session*, nghttp2_frame* frame, const uint8_t* head, size_t size, nghttp2_data_source* from,
                    void* user) {
  constexpr size_t kFrameHead = 9;
  auto* self = static_cast<Http2*>(user);
  auto& s = *static_cast<Http2Stream*>(from->ptr);
  Http2Pool& pool = self->pool_;
  if (pool.out_size >= Http2Pool::kFlushBytes) {
    self->is_full_ = true;
    return NGHTTP2_ERR_WOULDBLOCK;
  }
  static_assert(Http2Pool::kOutBytes - Http2Pool::kFlushBytes >= 16384 + kFrameHead + kPaddingBytes);
  if (!s.answer) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  char* to = pool.out.get() + pool.out_size;
  std::memcpy(to, head, kFrameHead);
  to += kFrameHead;
  const size_t padding = frame->data.padlen;
  if (padding > 0) *to++ = static_cast<char>(padding - 1);
  if (!self->CopyBody(s, to, size)) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  to += size;
  if (padding > 1) {
    std::memset(to, 0, padding - 1);
    to += padding - 1;
  }
  pool.out_size = static_cast<size_t>(to - pool.out.get());
  s.body_sent += size;
  s.allowance -= std::min<uint64_t>(s.allowance, size);
  s.deadline_ms = std::max(s.deadline_ms == UINT64_MAX ? 0 : s.deadline_ms, self->loop_.now_ms_ + self->TimeoutOf(s));
  self->sending_ = &s;
  return 0;
}

}  // namespace httpd::net
