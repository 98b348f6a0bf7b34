#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "httpd/http/content_coding.h"
#include "httpd/http/values.h"
#include "httpd/net/connection.h"
#include "httpd/net/event_loop.h"

namespace httpd::net {

namespace {

constexpr uint64_t kMaxLingerMs = 30000;      // in all; both as Apache
constexpr uint64_t kOneSegmentBytes = 60000;  // beside a head; offloaded segments end at 64 KiB

void AppendNumber(std::string& out, uint64_t number) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}

}  // namespace

void Response::Clear() {
  deferred.reset();  // before what it may know of
  sink.reset();
  body_limit.reset();
  interim.clear();
  holds_continue = false;
  status = 200;
  reason.clear();
  fields.clear();
  is_dated = false;
  body.clear();
  lent_body = {};
  file.Reset();
  shared_file.reset();
  parts.clear();
  source.reset();
  use_sendfile = true;
  without_body = false;
  without_length = false;
  content_length = 0;
  close = false;
  is_tunnel = false;
  keeps_body = false;
  rate_limit = 0;
  rate_burst = 0;
  keep_alive_timeout_ms = 5000;
  max_keep_alive_requests = 100;
  timeout_ms = 60000;
  wait_timeout_ms = 0;
  host = 0;
  note.reset();
}

Request EventLoop::MakeRequest(Connection* c, const http::RequestHead& head) {
  Request request;
  request.head = &head;
  request.client_address = c->address;
  request.client_port = c->client_port;
  request.peer = c->peer.get();
  request.local_port = c->local_port;
  request.fd = c->fd.get();
  request.is_private = c->is_private;
  request.is_tls = c->tls != nullptr;
  request.tls = c->tls.get();
  request.reactor = this;
  request.connection = c;
  request.requests_before = c->requests;
  request.start = std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(c->work_wall_ns)));
  return request;
}

void EventLoop::BeginWork(Connection* c, const http::RequestHead& head) {
  if (c->working) return;
  if (c->state == kIdle) SetState(c, kReading);
  Count(*c, c->address, head);
}

void EventLoop::Count(Work& work, const char* client, const http::RequestHead& head) {
  work.working = true;
  work.work_started_ns = SteadyNs();
  work.work_wall_ns = wall_ns_;
  Bump(setup_.slot->counters.busy, 1);
  if (!free_workers_.empty()) {
    work.worker = static_cast<int>(free_workers_.back());
    free_workers_.pop_back();
    WorkerSlot& worker = setup_.slot->worker[static_cast<size_t>(work.worker)];
    worker.started_ms.store(now_ms_, std::memory_order_relaxed);
    constexpr size_t kShown = sizeof worker.request - 1;
    const size_t hidden = setup_.show_request_tails && head.line.size() > kShown ? head.line.size() - kShown : 0;
    worker.SetText(client, head.authority, head.line.substr(hidden));
    worker.state.store('W', std::memory_order_relaxed);
  }
}

void EventLoop::Recount(Connection* c) {
  // A program that works on the request takes more than memory.
  const bool has_program = c->asked && (c->asked->sink || c->asked->response.deferred);
  const bool is_bound = c->working && ((c->state == kUploading && !has_program) ||
                                       (c->state == kWriting && !(c->transfer && c->transfer->response.source)));
  if (is_bound == c->client_bound) return;
  c->client_bound = is_bound;
  client_bound_ += is_bound ? 1 : -1;
}

void EventLoop::EndWork(Connection* c, uint64_t bytes, int status) {
  c->working = false;
  Recount(c);
  CountOut(*c, bytes, status, SteadyNs());
}

void EventLoop::CountOut(Work& work, uint64_t bytes, int status, uint64_t now_ns) {
  work.working = false;
  if (work.wake) {
    work.wake->connection = nullptr;
    work.wake.reset();
  }
  LoopCounters& counters = setup_.slot->counters;
  Bump(counters.busy, -1);
  const uint64_t duration_us = (now_ns - work.work_started_ns) / 1000;
  if (status != 0) {
    Bump(counters.accesses, 1);
    Bump(counters.bytes, bytes);
    Bump(counters.duration_us, duration_us);
    if (status >= 500) Bump(counters.errors, 1);
  }
  if (work.worker >= 0) {
    WorkerSlot& worker = setup_.slot->worker[static_cast<size_t>(work.worker)];
    worker.state.store('_', std::memory_order_relaxed);
    Bump(worker.accesses, 1);
    Bump(worker.bytes, bytes);
    Bump(worker.duration_ms, duration_us / 1000);
    worker.last_duration_ms.store(static_cast<uint32_t>(duration_us / 1000), std::memory_order_relaxed);
    free_workers_.push_back(static_cast<uint32_t>(work.worker));
    work.worker = -1;
  }
}
void EventLoop::TakeTerms(Connection* c, const Response& response) {
  c->keep_alive_timeout_ms = response.keep_alive_timeout_ms;
  c->timeout_ms = response.timeout_ms;
}

bool EventLoop::KeepsAfter(Connection* c, const http::RequestHead& head, const Response& response) {
  const bool limit_reached = response.max_keep_alive_requests > 0 &&
                             c->requests + 1 >= static_cast<uint32_t>(response.max_keep_alive_requests);
  const bool leaving = draining_ && !CanPass(c);
  const bool keep = head.keep_alive && !response.close && !limit_reached && !leaving;
  // A client that asked for the close sends no more; one that we close on may be sending its next request.
  if (!keep) c->linger = head.keep_alive;
  return keep;
}

bool EventLoop::Answer(Connection* c, const http::RequestHead& head, std::string_view head_text, uint64_t bytes_in) {
  response_.Clear();
  handler_.Handle(MakeRequest(c, head), response_);
  TakeTerms(c, response_);
  if (response_.sink) response_.sink->End();
  if (response_.deferred) return Park(c, head, head_text, bytes_in);
  if (!ReadAhead(response_)) {
    if (&head != &head_) head_ = head;
    return AnswerBad(c, 500, "the body of the answer could not be made");
  }
  if (response_.keeps_body && !response_.source) handler_.Keep(MakeRequest(c, head), response_);
  return Send(c, response_, head, head_text, bytes_in, KeepsAfter(c, head, response_));
}

bool EventLoop::AnswerBad(Connection* c, int status, const char* reason) {
  BeginWork(c, head_);
  response_.Clear();
  handler_.HandleBad(MakeRequest(c, head_), status, reason, response_);
  if (!ReadAhead(response_)) response_.source.reset();
  c->linger = true;
  response_.deferred.reset();  // somebody whose request was not understood does not wait for programs
  return Send(c, response_, head_, head_.line, head_.line.size(), false);
}

std::optional<uint64_t> EventLoop::LengthToTell(const Response& response) const {
  if (response.without_body && response.content_length != 0) return response.content_length;
  if (response.source) {
    std::optional<uint64_t> length = response.source->Left();
    if (length && !response.without_body) *length += first_.size();
    return length;
  }
  if (!response.has_file()) return response.BodyText().size();
  uint64_t length = 0;
  for (const Response::Part& part : response.parts) length += part.text.size() + part.length;
  return length;
}

bool EventLoop::Send(Connection* c, Response& response, const http::RequestHead& head, std::string_view head_text,
                     uint64_t bytes_in, bool keep) {
  const size_t head_start = out_.size();
  if (response.reason.empty()) {
    out_ += http::StatusLine(response.status);
  } else {
    out_ += "HTTP/1.1 ";
    AppendNumber(out_, static_cast<uint64_t>(response.status));
    out_ += ' ';
    out_.append(response.reason).append("\r\n");
  }
  if (!response.is_dated) out_ += date_line_;
  out_ += response.fields;
  const bool streams = response.source && !response.without_body;
  std::optional<uint64_t> length = LengthToTell(response);
  if (response.is_tunnel) length.reset();
  const bool chunked = streams && !length && head.minor >= 1 && !response.is_tunnel;
  if (streams && !length && !chunked) {
    c->linger = c->linger || keep;
    keep = false;  // the close is the end of the body
  }
  if (chunked) {
    out_ += "Transfer-Encoding: chunked\r\n";
  } else if (length && !response.without_length) {
    out_ += "Content-Length: ";
    AppendNumber(out_, *length);
    out_ += "\r\n";
  }
  if (!keep) {
    if (!response.is_tunnel) out_ += "Connection: close\r\n";
  } else if (head.Has(http::Known::kConnection) && http::ListHolds(head.Get(http::Known::kConnection), "keep-alive")) {
    // Apache tells the terms only to clients that ask by name.
    out_ += "Keep-Alive: timeout=";
    AppendNumber(out_, static_cast<uint64_t>(std::max(1, response.keep_alive_timeout_ms / 1000)));
    if (response.max_keep_alive_requests > 0) {
      out_ += ", max=";
      AppendNumber(out_, static_cast<uint64_t>(response.max_keep_alive_requests) - c->requests - 1);
    }
    out_ += "\r\nConnection: Keep-Alive\r\n";
  }
  out_ += "\r\n";
  const size_t head_bytes = out_.size() - head_start;
  c->close_after = !keep;

  // Without a Transfer. `head_ns`: when the head was written; 0 = with everything else, now
  const auto finish = [&](uint64_t body_bytes, uint64_t head_ns, std::string_view sent_head) {
    Outcome outcome;
    outcome.bytes_in = bytes_in;
    outcome.kept_alive = keep;
    outcome.body_bytes = body_bytes;
    outcome.bytes_out = head_bytes + body_bytes;
    outcome.duration = std::chrono::nanoseconds(SteadyNs() - c->work_started_ns);
    outcome.first_byte = head_ns == 0 ? outcome.duration : std::chrono::nanoseconds(head_ns - c->work_started_ns);
    outcome.response_head = sent_head;
    handler_.Finish(MakeRequest(c, head), response, outcome);
    EndWork(c, outcome.bytes_out, response.status);
    ++c->requests;
  };
  if (response.without_body || (!response.has_file() && !streams)) {
    const std::string_view body = response.without_body ? std::string_view() : response.BodyText();
    out_ += body;
    finish(body.size(), 0, std::string_view(out_).substr(head_start, head_bytes));
    response.source.reset();  // of a HEAD: whoever produces it is not needed any more
    return true;
  }

  const bool is_plain_file =
      !streams && response.rate_limit == 0 && response.parts.size() == 1 && response.parts[0].text.empty();
  uint64_t done = 0;
  Io io = Io::kDone;
  if (is_plain_file) {  // mostly the socket takes all of it: then nothing has to be kept
    sent_head_.assign(out_, head_start, head_bytes);
    const uint64_t head_ns = SteadyNs();
    // What fits into one segment of the kernel's leaves as one. Not more: pages behind bytes that wait then cost twice
    // as much time as a segment for the head alone. Records are copied anyway: there it goes with the first ones.
    const uint64_t length_of_file = response.parts[0].length;
    io = FlushOut(c, length_of_file > 0 && (c->tls != nullptr || length_of_file <= kOneSegmentBytes));
    if (io == Io::kDone) io = SendPart(c, response, 0, FileBytesInATurn(*c), done);
    if (io == Io::kDone) {
      finish(done, head_ns, sent_head_);
      return true;
    }
  }
  std::unique_ptr<Transfer> transfer = NewTransfer();
  if (is_plain_file) {
    transfer->response_head = sent_head_;
    transfer->cursor.file_done = transfer->body_sent = transfer->wire_sent = done;
  } else {
    transfer->response_head.assign(out_, head_start, head_bytes);
  }
  transfer->head_text = head_text;
  http::ParseRequestHead(transfer->head_text, handler_.Limits(), transfer->head);
  if (transfer->head.line.empty()) transfer->head.line = transfer->head_text;  // a bad one: all there is for the log
  transfer->response = std::move(response);
  transfer->bytes_in = bytes_in;
  transfer->keep = keep;
  transfer->head_ns = SteadyNs();
  if (streams) {
    Stream& stream = transfer->stream;
    stream.left = length;
    stream.chunked = chunked;
    stream.ended = first_state_ == BodySource::State::kEnd;
    stream.waiting = first_state_ == BodySource::State::kWait;
    AppendPiece(stream, first_, stream.ended);  // ReadAhead() has looked at its length
  }
  c->transfer = std::move(transfer);
  if (is_plain_file) {
    if (io == Io::kBlocked && !c->unsent) WaitForClient(c);
  } else {
    io = FlushOut(c, !streams || !c->transfer->stream.buffer.empty());
    if (io == Io::kDone) io = PumpTransfer(c);
  }
  switch (io) {
    case Io::kDone:
      FinishTransfer(c, false);
      return true;
    case Io::kBlocked:
      return false;
    case Io::kGone:
      FinishTransfer(c, true);
      LeaveWreck(c);
      return false;
  }
  return false;
}

void EventLoop::AfterAnswer(Connection* c) {
  if (c->close_after) {
    c->asked.reset();
    StartLinger(c);
    return;
  }
  if (c->asked && c->asked->is_answered) {  // whoever took the body is done: what is left of it is read past
    c->asked->sink.reset();
    c->asked->sink_waits = false;
  }
  SetState(c, kReading);
  if (!c->pending.empty() || c->asked) {
    // The time that the client took for the answer is not that of its next head.
    if (!c->asked) BeginReading(c, nullptr);
    const std::string rest = std::move(c->pending);
    c->pending.clear();
    Process(c, rest.data(), rest.size());
    return;
  }
  BecomeIdle(c);
}

void EventLoop::BecomeIdle(Connection* c, uint64_t wait_ms) {
  if (wait_ms == 0) wait_ms = static_cast<uint64_t>(c->requests == 0 ? c->timeout_ms : c->keep_alive_timeout_ms);
  if (draining_ && CanPass(c)) {
    Pass(c, wait_ms);
    return;
  }
  if (c->state != kIdle) SetState(c, kIdle);
  c->deadline_ms = now_ms_ + wait_ms;
  GiveBack(c);
  if (c->requests == 0 && c->is_read_timed) c->deadline_ms = std::min(c->deadline_ms, ReadDeadline(c, 0));
  Want(c, kReadable);
}

void EventLoop::StartLinger(Connection* c) {
  if (c->tls) {
    c->tls->Close();
    c->tls.reset();  // what still comes is dropped: nobody needs to decrypt it
  }
  if (!c->linger) {
    Destroy(c);
    return;
  }
  ::shutdown(c->fd.get(), SHUT_WR);
  SetState(c, kLingering);
  c->deadline_ms = now_ms_ + kLingerMs;
  c->linger_end_ms = now_ms_ + kMaxLingerMs;
  OnReadable(c);
}

}  // namespace httpd::net
