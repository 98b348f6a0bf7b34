// Streams: a request's head and body in, its answer out.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "httpd/http/ascii.h"
#include "httpd/http/content_coding.h"
#include "httpd/http/values.h"
#include "httpd/net/http2.h"
#include "httpd/net/scoreboard.h"

namespace httpd::net {

namespace {

using Phase = Http2Stream::Phase;

constexpr size_t kMostHead = 60U << 10;  // of one request, as for HTTP/1
constexpr size_t kMostHeld = 1U << 20;   // of answers in memory that wait for the client, and of frames
constexpr size_t kMostSpare = 256;
constexpr size_t kSpareText = 4096;  // a longer one is not kept
constexpr size_t kPieceBytes = 16U << 10;
constexpr size_t kSinkBytes = 64U << 10;
constexpr uint64_t kSourceNs = 2'000'000;  // per turn and connection, as for HTTP/1
constexpr std::chrono::milliseconds kRateInterval(200);
constexpr size_t kPaddingBytes = 256;

Http2Stream::Span Append(std::string& text, std::string_view part) {
  const Http2Stream::Span span{static_cast<uint32_t>(text.size()), static_cast<uint32_t>(part.size())};
  text.append(part);
  return span;
}

std::string_view At(const std::string& text, Http2Stream::Span span) {
  return std::string_view(text).substr(span.at, span.size);
}

/// Of the connection, which HTTP/2 does not have. RFC 9113 8.2.2
bool IsForHttp1(std::string_view name) {
  switch (name.size()) {
    case 7:
      return name == "upgrade";
    case 10:
      return name == "connection" || name == "keep-alive";
    case 16:
      return name == "proxy-connection";
    case 17:
      return name == "transfer-encoding";
    case 14:
      return name == "http2-settings";
    default:
      return false;
  }
}

void Lower(char* text, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (text[i] >= 'A' && text[i] <= 'Z') text[i] = static_cast<char>(text[i] | 0x20);
  }
}

/// Lower-cases the names of fields as HTTP/1 has them. @return where those are that HTTP/2 has too
std::vector<Http2Stream::Field> LowerNames(std::string& fields) {
  std::vector<Http2Stream::Field> out;
  for (size_t at = 0; at < fields.size();) {
    const size_t end = std::min(fields.find("\r\n", at), fields.size());
    const size_t colon = std::min(fields.find(':', at), end);
    if (colon > at && colon < end) {
      Lower(fields.data() + at, colon - at);
      size_t value = colon + 1;
      while (value < end && (fields[value] == ' ' || fields[value] == '\t')) ++value;
      if (!IsForHttp1({fields.data() + at, colon - at})) {
        out.push_back({{static_cast<uint32_t>(at), static_cast<uint32_t>(colon - at)},
                       {static_cast<uint32_t>(value), static_cast<uint32_t>(end - value)}});
      }
    }
    at = end + 2;
  }
  return out;
}

uint64_t WaitMs(const Response& response) {
  return static_cast<uint64_t>(response.wait_timeout_ms > 0 ? response.wait_timeout_ms : response.timeout_ms);
}

/// base64url without padding, as HTTP2-Settings has it. RFC 7540 3.2.1
std::optional<std::string> DecodeSettings(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    int value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = c - 'A';
    } else if (c >= 'a' && c <= 'z') {
      value = c - 'a' + 26;
    } else if (c >= '0' && c <= '9') {
      value = c - '0' + 52;
    } else if (c == '-' || c == '_') {
      value = c == '-' ? 62 : 63;
    } else {
      return std::nullopt;
    }
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  if (out.size() % 6 != 0) return std::nullopt;
  return out;
}

}  // namespace

Http2Stream* Http2::NewStream(int32_t id) {
  std::unique_ptr<Http2Stream> made;
  if (pool_.spare.empty()) {
    made = std::make_unique<Http2Stream>();
  } else {
    made = std::move(pool_.spare.back());
    pool_.spare.pop_back();
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
  head_bytes_ -= s->text.size();
  std::unique_ptr<Http2Stream> spare = std::move(streams_[s->index]);
  if (s->index + 1 != streams_.size()) {
    streams_[s->index] = std::move(streams_.back());
    streams_[s->index]->index = s->index;
  }
  streams_.pop_back();
  if (streams_.empty()) idle_ms_ = loop_.now_ms_;
  if (pool_.spare.size() >= kMostSpare || s->text.capacity() > kSpareText || s->response.body.capacity() > kSpareText ||
      s->source.buffer.capacity() > 2 * kPieceBytes) {
    return;
  }
  s->Unfile();
  s->deadline_ms = UINT64_MAX;
  s->phase = Phase::kHead;
  s->text.clear();
  s->parts.clear();
  s->method = s->path = s->authority = {};
  s->has_authority = false;
  s->bad_status = 0;
  s->head.Clear();
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

void Http2::AddField(Http2Stream& s, std::string_view name, std::string_view value) {
  if (s.bad_status == 431) return;
  const http::HeadLimits& limits = loop_.handler_.Limits();
  const bool is_path = name == ":path";
  if (s.text.size() + name.size() + value.size() > kMostHead ||
      (!is_path && name.size() + value.size() + 2 > limits.field_size)) {
    s.bad_status = 431;
    s.bad_reason = "header field too long";
    return;
  }
  const size_t before = s.text.size();
  if (name[0] == ':') {
    const auto span = Append(s.text, value);
    if (is_path) {
      s.path = span;
    } else if (name == ":method") {
      s.method = span;
    } else if (name == ":authority") {
      s.authority = span;
      s.has_authority = true;
    }
  } else if (limits.fields != 0 && s.parts.size() == limits.fields) {
    s.bad_status = 431;
    s.bad_reason = "too many header fields";
  } else {
    const auto name_span = Append(s.text, name);
    s.parts.push_back({name_span, Append(s.text, value)});
  }
  head_bytes_ += s.text.size() - before;
}

void Http2::BuildHead(Http2Stream& s) {
  // Whatever `head` points into is appended first: then the text stays where it is.
  const size_t before = s.text.size();
  const Http2Stream::Span path = s.path.size > 0 ? s.path : s.authority;
  Http2Stream::Span line{static_cast<uint32_t>(before), s.method.size + path.size + 10};
  s.text.reserve(before + line.size);
  s.text.append(At(s.text, s.method)).append(" ").append(At(s.text, path)).append(" HTTP/2.0");
  // One Cookie field in pieces. RFC 9113 8.2.3
  Http2Stream::Field* cookie = nullptr;
  size_t cookies = 0;
  for (const Http2Stream::Field& part : s.parts) cookies += At(s.text, part.name) == "cookie";
  if (cookies > 1) {
    std::string joined;
    for (Http2Stream::Field& part : s.parts) {
      if (At(s.text, part.name) != "cookie") continue;
      if (cookie) joined += "; ";
      if (!cookie) cookie = &part;
      joined += At(s.text, part.value);
    }
    cookie->value = Append(s.text, joined);
  }
  head_bytes_ += s.text.size() - before;
  http::RequestHead& head = s.head;
  for (const Http2Stream::Field& part : s.parts) {
    const std::string_view name = At(s.text, part.name);
    if (cookie && &part != cookie && name == "cookie") continue;
    head.fields.push_back({name, At(s.text, part.value)});
  }
  head.line = At(s.text, line);
  head.method_text = head.line.substr(0, s.method.size);
  if (s.bad_status == 0 && line.size > loop_.handler_.Limits().line) {
    s.bad_status = 414;
    s.bad_reason = "request line too long";
  }
  if (s.bad_status != 0) return;
  const auto result = http::CompleteHead(head.method_text, head.line.substr(s.method.size + 1, path.size),
                                         s.has_authority ? At(s.text, s.authority) : std::string_view(), head);
  if (result.state != http::ParseResult::State::kBad) return;
  s.bad_status = result.status;
  s.bad_reason = result.reason;
}

void Http2::TakeHead(Http2Stream& s, bool ends) {
  s.body_ended = ends;
  const bool has_length = std::any_of(s.parts.begin(), s.parts.end(), [&s](const Http2Stream::Field& part) {
    return At(s.text, part.name) == "content-length";
  });
  s.head.chunked = !ends && !has_length;
  BuildHead(s);
  if (!ends && s.bad_status == 0) {
    BeginUpload(s);
  } else {
    MakeReady(s);
  }
}

void Http2::MakeReady(Http2Stream& s) {
  s.phase = Phase::kReady;
  ready_.push_back(&s);
}

void Http2::TakeUpgraded(const http::RequestHead& head) {
  const auto settings = DecodeSettings(head.Find("HTTP2-Settings"));
  const bool is_head = head.method == http::Method::kHead;
  if (!settings || nghttp2_session_upgrade2(session_, reinterpret_cast<const uint8_t*>(settings->data()),
                                            settings->size(), is_head ? 1 : 0, nullptr) != 0) {
    Terminate(NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  Http2Stream* s = NewStream(1);
  nghttp2_session_set_stream_user_data(session_, 1, s);
  AddField(*s, ":method", head.method_text);
  AddField(*s, ":path", head.target);
  std::string name;
  for (const http::HeaderField& field : head.fields) {
    name = field.name;
    Lower(name.data(), name.size());
    if (!IsForHttp1(name)) AddField(*s, name, field.value);
  }
  s->bytes_in = head.line.size();
  TakeHead(*s, true);
}

bool EventLoop::UpgradesToHttp2(Connection* c, const http::RequestHead& head) {
  if (c->tls) return false;  // h2 is a matter of ALPN there
  const http::HeaderField* settings = nullptr;
  for (const http::HeaderField& field : head.fields) {
    if (!http::EqualsIgnoreCase(field.name, "HTTP2-Settings")) continue;
    if (settings) return false;
    settings = &field;
  }
  if (!settings || head.minor < 1 || head.target.empty() || head.target[0] != '/' ||
      !http::ListHolds(head.Get(http::Known::kUpgrade), "h2c") ||
      !http::ListHolds(head.Get(http::Known::kConnection), "upgrade") ||
      !http::ListHolds(head.Get(http::Known::kConnection), "http2-settings") || !DecodeSettings(settings->value)) {
    return false;
  }
  const Http2Terms& terms = handler_.Http2Of(MakeRequest(c, head));
  return terms.over_plain && terms.upgrade;
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

void Http2::SendAnswer(Http2Stream& s, Response& response) {
  if (!loop_.ReadAhead(response)) {
    AnswerBad(s, 500, "the body of the answer could not be made");
    return;
  }
  if (response.keeps_body && !response.source) loop_.handler_.Keep(RequestOf(s), response);
  Submit(s, response);
}

void Http2::AddParts(size_t at, const std::vector<Http2Stream::Field>& parts) {
  char* text = pool_.head.data() + at;
  for (const Http2Stream::Field& part : parts) {
    pool_.fields.push_back({reinterpret_cast<uint8_t*>(text + part.name.at),
                            reinterpret_cast<uint8_t*>(text + part.value.at), part.name.size, part.value.size,
                            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE});
  }
}

void Http2::AppendHead(const Response& response, std::optional<uint64_t> length) {
  if (pool_.common_second != loop_.date_second_) {
    pool_.common_second = loop_.date_second_;
    pool_.common = loop_.date_line_;
    pool_.common_parts = LowerNames(pool_.common);
  }
  if (pool_.last_fields != response.fields) {
    pool_.last_fields = pool_.last_lowered = response.fields;
    pool_.last_parts = LowerNames(pool_.last_lowered);
  }
  static const std::vector<Http2Stream::Field> kLength = {{{0, 14}, {16, 0}}};
  static constexpr std::string_view kStatus = ":status";
  constexpr size_t kCodeAt = 9;  // behind "HTTP/1.1 "
  std::string& head = pool_.head;
  const std::string_view status_line = http::StatusLine(response.status);
  head = status_line;
  if (!response.is_dated) head += pool_.common;
  const size_t fields_at = head.size();
  head += pool_.last_lowered;
  const size_t length_at = head.size();
  const bool has_length = length && !response.without_length;
  if (has_length) {
    head += "content-length: ";
    char digits[24];
    head.append(digits, std::to_chars(digits, digits + sizeof digits, *length).ptr);
    head += "\r\n";
  }
  head += "\r\n";
  pool_.fields.clear();
  pool_.fields.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(kStatus.data())),
                          reinterpret_cast<uint8_t*>(head.data() + kCodeAt), kStatus.size(), 3,
                          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE});
  if (!response.is_dated) AddParts(status_line.size(), pool_.common_parts);
  AddParts(fields_at, pool_.last_parts);
  if (has_length) {
    AddParts(length_at, kLength);
    pool_.fields.back().valuelen = head.size() - 4 - (length_at + 16);
  }
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
    s.response = std::move(loop_.response_);
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
    state = s.answer->source->Read(piece, kPieceBytes);
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
