#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "httpd/net/connection.h"
#include "httpd/net/event_loop.h"
#include "httpd/net/http2.h"

namespace httpd::net {

namespace {

constexpr uint64_t kHalfClosedMs = 5000;
constexpr size_t kMostSpareAsked = 64;

uint64_t WaitMs(const Connection* c, const Response& response) {
  return static_cast<uint64_t>(response.wait_timeout_ms > 0 ? response.wait_timeout_ms : c->timeout_ms);
}

}  // namespace

uint32_t EventLoop::BodyEvents(const Connection* c) {
  return c->asked && !c->asked->body.done() && !c->asked->sink_waits ? uint32_t{EPOLLIN} : 0;
}

std::unique_ptr<Asked> EventLoop::NewAsked() {
  if (spare_asked_.empty()) return std::make_unique<Asked>();
  std::unique_ptr<Asked> out = std::move(spare_asked_.back());
  spare_asked_.pop_back();
  return out;
}

void EventLoop::Recycle(std::unique_ptr<Asked> asked) {
  if (spare_asked_.size() >= kMostSpareAsked) return;
  asked->sink.reset();
  asked->response.Clear();
  asked->head.Clear();
  asked->sink_waits = asked->is_answered = asked->half_closed = false;
  asked->body = {};
  spare_asked_.push_back(std::move(asked));
}

bool EventLoop::Park(Connection* c, const http::RequestHead& head, std::string_view head_text, uint64_t bytes_in) {
  c->asked = NewAsked();
  Asked& asked = *c->asked;
  asked.head_text = head_text;
  asked.head = head;
  asked.head.MoveTo(head_text, asked.head_text.data());
  asked.bytes_in = bytes_in;
  asked.response = std::move(response_);
  asked.sink = std::move(asked.response.sink);
  switch (FlushOut(c, false)) {  // the answers before this one do not wait for it
    case Io::kBlocked:
      break;
    case Io::kDone:
      WaitForRest(c);
      break;
    case Io::kGone:
      GiveUp(c);
      LeaveWreck(c);
      break;
  }
  return false;
}

void EventLoop::WaitForRest(Connection* c) {
  Asked& asked = *c->asked;
  if (BodyEvents(c) != 0) {
    SetState(c, kUploading);
    c->deadline_ms =
        asked.response.holds_continue ? now_ms_ + WaitMs(c, asked.response) : ReadDeadline(c, asked.body.received());
    Want(c, kReadable);
    return;
  }
  SetState(c, kWaiting);
  c->deadline_ms = now_ms_ + WaitMs(c, asked.response);
  // Behind a body that is not read to its end, a client that stopped sending is one that has sent all of it.
  const bool is_heard = !asked.half_closed && asked.body.done();
  Want(c, !is_heard ? uint32_t{EPOLLERR} : c->events == 0 || c->events == kReadable ? kReadable : uint32_t{EPOLLRDHUP});
}

void EventLoop::OnHalfClosed(Connection* c) {
  // It may have left, or only said that it sends no more: TCP does not tell. A program that gives nothing for so long
  // is not kept for somebody who is likely gone; what it gives earlier is sent, and then TCP tells.
  if (c->transfer) c->transfer->stream.half_closed = true;
  if (c->asked) c->asked->half_closed = true;
  c->deadline_ms = std::min(c->deadline_ms, now_ms_ + kHalfClosedMs);
  Want(c, EPOLLERR);
}

void EventLoop::OnWoken(const WakeTarget& target) {
  Connection* c = target.connection;
  if (target.stream != nullptr) {
    GoOnWithHttp2(c, c->http2->OnWoken(*target.stream));
    return;
  }
  if (c->asked && c->asked->sink_waits && c->asked->sink->WantsMore()) {
    c->asked->sink_waits = false;
    c->read_start_ms += now_ms_ - c->asked->sink_waits_ms;  // the time that the sink took is not the client's
    const std::string rest = std::exchange(c->pending, {});
    if (c->transfer) {
      FeedWhileSending(c, rest);
    } else {
      Process(c, rest.data(), rest.size());
    }
    if (target.connection == nullptr) return;  // the exchange is over
  }
  if (c->transfer) {
    if (!std::exchange(c->transfer->stream.waiting, false)) return;
    // What was read is not all sent yet, or more than the rate allows: the source is asked when it is.
    if (c->transfer->stream.buffer.empty() && !c->unsent) OnWritable(c);
  } else if (c->asked && c->asked->response.deferred) {
    ResumeAnswer(c, false);
  }
}

void EventLoop::ResumeAnswer(Connection* c, bool is_late) {
  Response& response = c->asked->response;
  const bool held_continue = response.holds_continue;
  handler_.Resume(MakeRequest(c, c->asked->head), response, is_late);
  if (response.deferred) {
    if (held_continue && !response.holds_continue) BeginReading(c, &c->asked->head);  // the client's time begins now
    if (!is_late) {
      if (!response.interim.empty()) SendInterim(c);
      return;
    }
    GiveUp(c);
    Destroy(c);
    return;
  }
  // A client that was not asked for its body may send it, or not: nobody knows where its next request begins.
  const bool is_invited = !held_continue || (!response.holds_continue && !response.interim.empty());
  if (!is_invited && !c->asked->body.done()) response.close = true;
  out_ = std::exchange(response.interim, {});
  TakeTerms(c, response);
  const std::string line(c->asked->head.line);
  bool sent = false;
  const bool is_tunnel = c->asked->response.is_tunnel;
  if (is_tunnel) {
    c->asked->sink = std::move(c->asked->response.sink);
    c->asked->body.StartEndless();
  }
  if (c->asked->body.done()) {
    std::unique_ptr<Asked> complete = std::move(c->asked);
    sent = SendAsked(c, *complete);
    Recycle(std::move(complete));
  } else {
    c->asked->is_answered = true;
    sent = SendAsked(c, *c->asked);
    if (is_tunnel && c->transfer && !c->pending.empty()) FeedWhileSending(c, std::exchange(c->pending, {}));
  }
  if (!sent) return;
  switch (FlushOut(c, false)) {
    case Io::kGone:
      Destroy(c);
      break;
    case Io::kBlocked:
      c->unsent->line = line;
      break;
    case Io::kDone:
      AfterAnswer(c);
      break;
  }
}

void EventLoop::SendInterim(Connection* c) {
  out_ = std::exchange(c->asked->response.interim, {});
  switch (FlushOut(c, false)) {
    case Io::kBlocked:
      break;
    case Io::kDone:
      WaitForRest(c);
      break;
    case Io::kGone:
      GiveUp(c);
      Destroy(c);
      break;
  }
}

bool EventLoop::SendAsked(Connection* c, Asked& asked) {
  if (!ReadAhead(asked.response)) {
    head_ = asked.head;
    return AnswerBad(c, 500, "the body of the answer could not be made");
  }
  const bool keep = KeepsAfter(c, asked.head, asked.response);
  return Send(c, asked.response, asked.head, asked.head_text, asked.bytes_in, keep);
}

bool EventLoop::OnMoreBody(Connection* c) {
  if (BodyEvents(c) == 0) return true;  // of an event that was on its way when the sink had enough
  if (c->pending.size() == kScratchBytes) return FeedWhileSending(c, std::exchange(c->pending, {}));
  const size_t have = c->pending.copy(scratch_.get(), c->pending.size());
  const ssize_t n = Receive(c, scratch_.get() + have, kScratchBytes - have);
  if (n < 0 && errno == EAGAIN) return true;
  if (n == 0 && c->transfer && c->transfer->response.is_tunnel) {
    OnTunnelHalfClosed(c);
    return true;
  }
  if (n <= 0) {
    GiveUp(c);
    Destroy(c);
    return false;
  }
  return FeedWhileSending(c, {scratch_.get(), have + static_cast<size_t>(n)});
}

void EventLoop::OnTunnelHalfClosed(Connection* c) {
  if (c->asked->sink) c->asked->sink->End();
  c->asked->body.StartLength(0);
  c->transfer->stream.half_closed = true;
  Want(c, (c->events & EPOLLOUT) | EPOLLERR);
}

bool EventLoop::FeedWhileSending(Connection* c, std::string_view data) {
  const Fed fed = FeedBody(c, data);
  if (fed.bad_status != 0) {  // the answer has begun: only a close can say so
    GiveUp(c);
    Destroy(c);
    return false;
  }
  c->pending.assign(data.substr(fed.taken));
  if (c->transfer && c->transfer->response.is_tunnel) {
    c->deadline_ms = now_ms_ + WaitMs(c, c->transfer->response);
  } else {
    c->deadline_ms =
        BodyEvents(c) != 0 ? ReadDeadline(c, c->asked->bytes_in) : now_ms_ + static_cast<uint64_t>(c->timeout_ms);
  }
  const uint32_t others = c->events & ~static_cast<uint32_t>(EPOLLIN);
  Want(c, others | BodyEvents(c) | EPOLLERR);
  return true;
}

void EventLoop::GiveUp(Connection* c) {
  if (c->http2) {
    c->http2->GiveUp();
    return;
  }
  if (c->transfer) {
    FinishTransfer(c, true);
    return;
  }
  if (!c->asked || c->asked->is_answered || !c->asked->response.deferred) return;
  const std::unique_ptr<Asked> asked = std::move(c->asked);
  Outcome outcome;
  outcome.bytes_in = asked->bytes_in;
  outcome.aborted = true;
  outcome.duration = std::chrono::nanoseconds(SteadyNs() - c->work_started_ns);
  handler_.Finish(MakeRequest(c, asked->head), asked->response, outcome);
  EndWork(c, 0, asked->response.status);
  ++c->requests;
}

void EventLoop::LeaveWreck(Connection* c) {
  if (c->tls) c->tls->Break();
  c->close_after = true;
  c->linger = false;
  SetState(c, kWriting);
  c->deadline_ms = now_ms_;
  Want(c, EPOLLOUT);
}

}  // namespace httpd::net
