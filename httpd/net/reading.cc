#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "httpd/net/connection.h"
#include "httpd/net/event_loop.h"

namespace httpd::net {

namespace {

constexpr size_t kMaxHeadBytes = 60U << 10;  // one head; fits the scratch buffer with room to read on
constexpr int kLingerReads = 16;             // per turn: who sends without end must not own the loop

}  // namespace

void EventLoop::OnEvent(Connection* c, uint32_t events) {
  if (c->state == kWriting) {
    if (events & (EPOLLERR | EPOLLHUP)) {
      if (c->transfer) FinishTransfer(c, true);
      Destroy(c);
      return;
    }
    if ((events & EPOLLRDHUP) != 0 && c->transfer) {
      OnHalfClosed(c);
      return;
    }
    OnWritable(c);
  } else {
    OnReadable(c);
  }
}

void EventLoop::OnReadable(Connection* c) {
  if (c->state == kLingering) {
    ssize_t n = 1;
    for (int i = 0; i < kLingerReads && n != 0; ++i) {
      n = ::recv(c->fd.get(), scratch_.get(), kScratchBytes, 0);
      if (n > 0) c->deadline_ms = std::min(now_ms_ + kLingerMs, c->linger_end_ms);
      if (n < 0 && errno != EINTR) break;
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
      Destroy(c);
    } else {
      Want(c, EPOLLIN);
    }
    return;
  }
  const size_t have = c->pending.size();
  std::memcpy(scratch_.get(), c->pending.data(), have);
  ssize_t n;
  do {
    n = ::recv(c->fd.get(), scratch_.get() + have, kScratchBytes - have, 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno == EAGAIN) {
      Want(c, EPOLLIN);
    } else {
      Destroy(c);
    }
    return;
  }
  if (n == 0) {
    Destroy(c);
    return;
  }
  c->pending.clear();
  Process(c, scratch_.get(), have + static_cast<size_t>(n));
}

void EventLoop::BeginReading(Connection* c, const http::RequestHead* body_of) {
  if (!body_of) head_.Clear();
  c->read_timeout = handler_.ReadTimeoutOf(MakeRequest(c, body_of ? *body_of : head_), body_of != nullptr);
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

void EventLoop::BeginUpload(Connection* c, std::string_view head_text) {
  c->upload = std::make_unique<Upload>();
  Upload& upload = *c->upload;
  upload.head_text = head_text;
  http::ParseRequestHead(upload.head_text, handler_.Limits(), upload.head);  // it parsed before: the same again
  upload.bytes_in = head_text.size();
  upload.body.Start(upload.head, handler_.BodyLimit());
  BeginWork(c, upload.head);
  BeginReading(c, &upload.head);
  // A body that will be refused is not asked for.
  const bool refused = upload.body.Feed({}).state == http::BodyReader::Step::State::kBad;
  if (upload.head.expect_continue && !refused) out_ += "HTTP/1.1 100 Continue\r\n\r\n";
}

void EventLoop::Process(Connection* c, const char* data, size_t length) {
  size_t at = 0;
  out_.clear();
  bool answered = false;
  std::string upload_line;
  std::string_view last_line;  // of the last request answered here; lives in `data` or `upload_line`
  while (!c->close_after) {
    if (c->upload) {
      Upload& upload = *c->upload;
      http::BodyReader::Step step{};
      while (!upload.body.done()) {
        step = upload.body.Feed({data + at, length - at});
        at += step.consumed;
        upload.bytes_in += step.consumed;
        if (step.state == http::BodyReader::Step::State::kBad) break;
        if (step.consumed == 0 || (at == length && !upload.body.done())) break;
      }
      if (step.state == http::BodyReader::Step::State::kBad) {
        const std::unique_ptr<Upload> failed = std::move(c->upload);
        head_ = failed->head;  // views into failed->head_text, alive until the answer is written
        if (!AnswerBad(c, step.status, step.status == 413 ? "request body too large" : "malformed request body"))
          return;
        at = length;
        break;
      }
      if (!upload.body.done()) break;
      const std::unique_ptr<Upload> complete = std::move(c->upload);
      SetState(c, kReading);
      answered = true;
      upload_line = complete->head.line;
      last_line = upload_line;
      if (!Answer(c, complete->head, complete->head_text, complete->bytes_in, complete->body.received())) {
        c->pending.assign(data + at, length - at);
        return;
      }
      continue;
    }
    if (at == length) break;
    // Leaving: what was not begun yet is for the successor.
    if (draining_ && plan_.successor >= 0 && !c->is_private && length - at <= handover::kMaxUnreadBytes) break;
    head_.Clear();
    const http::ParseResult parsed = http::ParseRequestHead({data + at, length - at}, handler_.Limits(), head_);
    if (parsed.state == http::ParseResult::State::kIncomplete) {
      if (length - at <= kMaxHeadBytes) break;
      if (!AnswerBad(c, 431, "request head larger than 60 KiB")) return;
      at = length;
      break;
    }
    if (parsed.state == http::ParseResult::State::kBad) {
      if (!AnswerBad(c, parsed.status, parsed.reason)) return;
      at = length;
      break;
    }
    const std::string_view head_text(data + at, parsed.consumed);
    at += parsed.consumed;
    if (head_.chunked || (head_.content_length && *head_.content_length > 0)) {
      BeginUpload(c, head_text);
      continue;
    }
    BeginWork(c, head_);
    answered = true;
    last_line = head_.line;
    if (!Answer(c, head_, head_text, head_text.size(), 0)) {
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
        c->out_line = last_line;
        c->pending.assign(data + at, length - at);
        return;
      }
    }
  }
  switch (FlushOut(c, false)) {
    case Io::kGone:
      Destroy(c);
      return;
    case Io::kBlocked:
      c->out_line = last_line;
      c->pending.assign(data + at, length - at);
      return;
    case Io::kDone:
      break;
  }
  if (c->close_after) {
    StartLinger(c);
    return;
  }
  if (c->upload) {
    if (c->state != kUploading) SetState(c, kUploading);
    c->deadline_ms = ReadDeadline(c, c->upload->bytes_in);
    Want(c, EPOLLIN);
    return;
  }
  c->pending.assign(data + at, length - at);
  if (c->pending.empty()) {
    BecomeIdle(c);
    return;
  }
  if (draining_ && plan_.successor >= 0 && !c->is_private && c->pending.size() <= handover::kMaxUnreadBytes) {
    Pass(c, static_cast<uint64_t>(c->timeout_ms));
    return;
  }
  if (c->state != kReading || answered) {
    // The time for a head runs from its first byte, for the first one of a connection from the accept(2).
    if (c->requests > 0 || answered || !c->is_read_timed) BeginReading(c, nullptr);
    SetState(c, kReading);
  }
  c->deadline_ms = ReadDeadline(c, c->pending.size());
  Want(c, EPOLLIN);
}

}  // namespace httpd::net
