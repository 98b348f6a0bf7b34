#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "httpd/net/connection.h"
#include "httpd/net/event_loop.h"
#include "httpd/net/http2.h"

namespace httpd::net {

namespace {

constexpr size_t kMaxHeadBytes = 60U << 10;  // one head; fits the scratch buffer with room to read on
constexpr int kLingerReads = 16;             // per turn: who sends without end must not own the loop

}  // namespace

ssize_t EventLoop::Receive(Connection* c, char* to, size_t most) {
  if (c->tls) return c->tls->Receive(to, most);
  for (;;) {
    const ssize_t n = ::recv(c->fd.get(), to, most, 0);
    if (n >= 0 || errno != EINTR) return n;
  }
}

void EventLoop::OnEvent(Connection* c, uint32_t events) {
  if (c->http2) {
    GoOnWithHttp2(c, c->http2->OnEvent(events));
    return;
  }
  if (c->state != kWriting && c->state != kWaiting) {
    OnReadable(c);
    return;
  }
  if (events & (EPOLLERR | EPOLLHUP)) {
    GiveUp(c);
    Destroy(c);
    return;
  }
  if ((events & EPOLLIN) != 0) {
    if (BodyEvents(c) == 0) {
      Want(c, (c->events & ~static_cast<uint32_t>(EPOLLIN)) | EPOLLERR);  // its next request has to wait
    } else if (!OnMoreBody(c)) {
      return;
    }
  }
  if ((events & EPOLLOUT) != 0) {
    OnWritable(c);
  } else if ((events & EPOLLRDHUP) != 0) {
    OnHalfClosed(c);
  }
}

void EventLoop::OnReadable(Connection* c) {
  if (c->awaits_proxy_header && !ReadProxyHeader(c)) return;
  if (c->tls && !c->tls->is_established() && !Handshake(c)) return;
  if (c->state == kLingering) {
    ssize_t n = 1;
    for (int i = 0; i < kLingerReads && n != 0; ++i) {
      n = Receive(c, scratch_.get(), kScratchBytes);
      if (n > 0) c->deadline_ms = std::min(now_ms_ + kLingerMs, c->linger_end_ms);
      if (n < 0) break;
    }
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
      Destroy(c);
    } else {
      Want(c, EPOLLIN);
    }
    return;
  }
  const size_t have = c->pending.size();
  std::memcpy(scratch_.get(), c->pending.data(), have);
  const ssize_t n = Receive(c, scratch_.get() + have, kScratchBytes - have);
  if (n < 0) {
    if (errno == EAGAIN) {
      Want(c, kReadable);
    } else {
      GiveUp(c);
      Destroy(c);
    }
    return;
  }
  if (n == 0) {
    GiveUp(c);
    Destroy(c);
    return;
  }
  c->pending.clear();
  Process(c, scratch_.get(), have + static_cast<size_t>(n));
}

void EventLoop::BeginReading(Connection* c, const http::RequestHead* body_of) {
  if (!body_of) head_.Clear();
  const Request request = MakeRequest(c, body_of ? *body_of : head_);
  c->read_timeout = c->tls && !c->tls->is_established() ? handler_.HandshakeTimeoutOf(request)
                                                        : handler_.ReadTimeoutOf(request, body_of != nullptr);
  c->read_start_ms = now_ms_;
  c->is_read_timed = true;
}

uint64_t EventLoop::ReadDeadline(const Connection* c, uint64_t bytes) const {
  const ReadTimeout& t = c->read_timeout;
  const auto between_reads = static_cast<uint64_t>(c->timeout_ms);
  if (t.initial_ms == 0) return now_ms_ + between_reads;
  auto allowed = static_cast<uint64_t>(t.initial_ms);
  if (t.min_rate > 0) {
    allowed += bytes / t.min_rate * 1000;
    if (t.most_ms > 0) allowed = std::min(allowed, static_cast<uint64_t>(t.most_ms));
  }
  return std::min(c->read_start_ms + allowed, now_ms_ + between_reads);
}

bool EventLoop::BeginUpload(Connection* c, std::string_view head_text) {
  c->asked = NewAsked();
  Asked& asked = *c->asked;
  asked.head_text = head_text;
  asked.head = head_;
  asked.head.MoveTo(head_text, asked.head_text.data());
  asked.bytes_in = head_text.size();
  BeginWork(c, asked.head);
  response_.Clear();
  handler_.Handle(MakeRequest(c, asked.head), response_);
  TakeTerms(c, response_);
  asked.response = std::move(response_);
  asked.sink = std::move(asked.response.sink);
  BeginReading(c, &asked.head);
  asked.body.Start(asked.head, asked.response.body_limit.value_or(handler_.BodyLimit()));
  if (!asked.head.expect_continue) return true;
  if (!asked.response.deferred && !asked.sink && asked.response.status >= 300) {
    // The client waits to be asked for a body that nobody wants. It may send it all the same, so this is the end.
    asked.response.close = true;
    const std::unique_ptr<Asked> refused = std::move(c->asked);
    return SendAsked(c, *refused);
  }
  if (asked.response.holds_continue && asked.response.deferred) return true;
  // A body that will be refused is not asked for.
  if (asked.body.Feed({}).state != http::BodyReader::Step::State::kBad) out_ += "HTTP/1.1 100 Continue\r\n\r\n";
  return true;
}

EventLoop::Fed EventLoop::FeedBody(Connection* c, std::string_view data) {
  Asked& asked = *c->asked;
  Fed fed;
  while (!asked.body.done() && !asked.sink_waits) {
    const http::BodyReader::Step step = asked.body.Feed(data.substr(fed.taken));
    fed.taken += step.consumed;
    asked.bytes_in += step.consumed;
    if (step.state == http::BodyReader::Step::State::kBad) {
      fed.bad_status = step.status;
      return fed;
    }
    if (asked.sink && !step.data.empty()) {
      const BodySink::State state = asked.sink->Write(step.data);
      if (state == BodySink::State::kEnough) asked.sink.reset();
      asked.sink_waits = state == BodySink::State::kWait;
      asked.sink_waits_ms = now_ms_;
    }
    if (asked.body.done() && asked.sink) asked.sink->End();
    if (step.consumed == 0 || fed.taken == data.size()) break;
  }
  return fed;
}

void EventLoop::Process(Connection* c, const char* data, size_t length) {
  size_t at = 0;
  out_.clear();
  bool answered = false;
  std::string asked_line;
  std::string_view last_line;  // of the last request answered here; lives in `data` or `asked_line`
  while (!c->close_after) {
    if (c->asked) {
      const Fed fed = FeedBody(c, {data + at, length - at});
      at += fed.taken;
      if (fed.bad_status != 0) {
        at = length;
        const std::unique_ptr<Asked> failed = std::move(c->asked);
        if (failed->is_answered) {
          c->close_after = c->linger = true;
          break;
        }
        head_ = failed->head;  // views into failed->head_text, alive until the answer is written
        if (!AnswerBad(c, fed.bad_status,
                       fed.bad_status == 413 ? "request body too large" : "malformed request body")) {
          return;
        }
        break;
      }
      if (!c->asked->body.done() || (c->asked->response.deferred && !c->asked->is_answered)) break;
      std::unique_ptr<Asked> complete = std::move(c->asked);
      SetState(c, kReading);
      answered = true;
      if (complete->is_answered) continue;
      asked_line = complete->head.line;
      last_line = asked_line;
      const bool is_sent = SendAsked(c, *complete);
      Recycle(std::move(complete));
      if (!is_sent) {
        c->pending.assign(data + at, length - at);
        return;
      }
      continue;
    }
    if (at == length) break;
    // Leaving: what was not begun yet is for the successor.
    if (draining_ && CanPass(c) && length - at <= handover::kMaxUnreadBytes) break;
    head_.Clear();
    const http::ParseResult parsed = http::ParseRequestHead({data + at, length - at}, handler_.Limits(), head_);
    if (parsed.state == http::ParseResult::State::kIncomplete) {
      if (length - at <= kMaxHeadBytes) break;
      if (!AnswerBad(c, 431, "request head larger than 60 KiB")) return;
      at = length;
      break;
    }
    if (parsed.state == http::ParseResult::State::kBad) {
      if (parsed.status == 505 && IsHttp2Preface(c, {data + at, length - at})) {
        BeginHttp2(c, {data + at, length - at}, nullptr);
        return;
      }
      if (!AnswerBad(c, parsed.status, parsed.reason)) return;
      at = length;
      break;
    }
    const std::string_view head_text(data + at, parsed.consumed);
    at += parsed.consumed;
    if (head_.chunked || (head_.content_length && *head_.content_length > 0)) {
      if (!BeginUpload(c, head_text)) {
        c->pending.assign(data + at, length - at);
        return;
      }
      continue;
    }
    if (head_.Has(http::Known::kUpgrade) && UpgradesToHttp2(c, head_)) {
      BeginHttp2(c, {data + at, length - at}, &head_);
      return;
    }
    BeginWork(c, head_);
    answered = true;
    last_line = head_.line;
    if (!Answer(c, head_, head_text, head_text.size())) {
      c->pending.assign(data + at, length - at);
      return;
    }
    if (out_.size() >= kOutFlushBytes) {
      const Io flushed = FlushOut(c, false);
      if (flushed == Io::kGone) {
        Destroy(c);
        return;
      }
      if (flushed == Io::kBlocked) {
        c->unsent->line = last_line;
        c->pending.assign(data + at, length - at);
        return;
      }
    }
  }
  // The last answer waits for the end of the stream, which follows at once, and leaves in one segment with it.
  // Not so a record: what the socket does not take would be lost with the stream.
  switch (FlushOut(c, c->close_after && !c->tls)) {
    case Io::kGone:
      Destroy(c);
      return;
    case Io::kBlocked:
      c->unsent->line = last_line;
      c->pending.assign(data + at, length - at);
      return;
    case Io::kDone:
      break;
  }
  if (c->close_after) {
    StartLinger(c);
    return;
  }
  c->pending.assign(data + at, length - at);
  if (c->asked) {
    WaitForRest(c);
    return;
  }
  if (c->pending.empty()) {
    BecomeIdle(c);
    return;
  }
  if (draining_ && CanPass(c) && c->pending.size() <= handover::kMaxUnreadBytes) {
    Pass(c, static_cast<uint64_t>(c->timeout_ms));
    return;
  }
  if (c->state != kReading || answered) {
    // The time for a head runs from its first byte, for the first one of a connection from the accept(2).
    if (c->requests > 0 || answered || !c->is_read_timed) BeginReading(c, nullptr);
    SetState(c, kReading);
  }
  c->deadline_ms = ReadDeadline(c, c->pending.size());
  Want(c, kReadable);
}

}  // namespace httpd::net
