#include <sys/epoll.h>

#include "httpd/net/connection.h"
#include "httpd/net/event_loop.h"

namespace httpd::net {

bool EventLoop::Handshake(Connection* c) {
  switch (c->tls->Handshake()) {
    case TlsStream::Step::kDone:
      BeginReading(c, nullptr);  // the time for the first head begins now
      c->deadline_ms = ReadDeadline(c, 0);
      return true;
    case TlsStream::Step::kWait:
      Want(c, c->tls->has_unsent() ? EPOLLIN | EPOLLOUT : EPOLLIN);
      return false;
    case TlsStream::Step::kFailed:
      setup_.tls->Failed(*c->tls, c->address);
      Destroy(c);
      return false;
    case TlsStream::Step::kPlainHttp:
      AnswerPlainHttp(c);
      return false;
  }
  return false;
}

void EventLoop::AnswerPlainHttp(Connection* c) {
  const std::string text = c->tls->plain();
  c->tls.reset();
  out_.clear();
  head_.Clear();
  http::ParseRequestHead(text, handler_.Limits(), head_);  // for the log, as far as it goes
  if (!AnswerBad(c, 400, kPlainHttp)) return;
  if (FlushOut(c, false) == Io::kDone) {
    StartLinger(c);
  } else {
    Destroy(c);
  }
}

uint32_t EventLoop::BeforeWaiting(Connection* c, uint32_t events) {
  if (c->tls->has_unsent()) c->tls->Flush();  // what fails here fails again when the connection is used
  if ((events & EPOLLIN) != 0 && c->tls->has_buffered() && !c->tls->is_queued) {
    c->tls->is_queued = true;
    buffered_.push_back(c);
  }
  return c->tls->has_unsent() && c->state == kWriting ? events | EPOLLOUT : events;
}

void EventLoop::RunBuffered() {
  for (Connection* c : std::exchange(buffered_, {})) {
    // It may have gone, and somebody else have come, since: who is not marked did not ask.
    if (!c->tls || !c->tls->is_queued) continue;
    c->tls->is_queued = false;
    if ((c->events & EPOLLIN) != 0) OnEvent(c, EPOLLIN);
  }
}

}  // namespace httpd::net
