#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "httpd/net/connection.h"
#include "httpd/net/event_loop.h"

namespace httpd::net {

namespace {

constexpr uint64_t kSourceNs = 2'000'000;       // of a turn, as kSourceBytes
constexpr uint64_t kKeptSourceNs = 10'000'000;  // once, for a body that others get without this work
constexpr size_t kPieceBytes = 16U << 10;       // asked of a source at once
constexpr size_t kFillBytes = 64U << 10;        // read from it before the client is to take them
constexpr uint64_t kRateIntervalMs = 200;       // as mod_ratelimit
constexpr size_t kMostSpareTransfers = 64;

uint64_t RateInterval(uint64_t rate) {
  return std::max<uint64_t>(rate * kRateIntervalMs / 1000, 1);
}

}  // namespace

bool AppendPiece(Stream& stream, std::string_view piece, bool is_last) {
  if (stream.left) {
    if (piece.size() > *stream.left) return false;
    *stream.left -= piece.size();
    if (is_last && *stream.left != 0) return false;
  }
  stream.buffer_body += piece.size();
  if (stream.chunked && !piece.empty()) {
    char size[20];
    const auto end = std::to_chars(size, size + sizeof size, piece.size(), 16).ptr;
    stream.buffer.append(size, end).append("\r\n");
  }
  stream.buffer += piece;
  if (stream.chunked) stream.buffer += piece.empty() ? "" : "\r\n";
  if (stream.chunked && is_last) stream.buffer += "0\r\n\r\n";
  return true;
}

ssize_t EventLoop::SendBytes(Connection* c, std::string_view bytes, bool more) {
  if (c->tls) return c->tls->Send(bytes, more);
  for (;;) {
    const ssize_t n = ::send(c->fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (n >= 0 || errno != EINTR) return n;
  }
}

ssize_t EventLoop::SendFile(Connection* c, int file, uint64_t offset, size_t most, bool use_sendfile) {
  if (c->tls) return c->tls->SendFile(file, offset, most);
  auto at = static_cast<off_t>(offset);
  for (;;) {
    ssize_t n = 0;
    if (use_sendfile) {
      n = ::sendfile(c->fd.get(), file, &at, most);
    } else {
      char buffer[32768];
      n = ::pread(file, buffer, std::min(most, sizeof buffer), at);
      if (n > 0) return SendBytes(c, {buffer, static_cast<size_t>(n)}, false);
    }
    if (n >= 0 || errno != EINTR) return n;
  }
}

EventLoop::Io EventLoop::FlushOut(Connection* c, bool more) {
  // What is left from before goes first; then this turn's output.
  if (c->unsent) {
    c->unsent->text += out_;
    out_.clear();
  }
  const std::string_view data = c->unsent ? c->unsent->text : out_;
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t n = SendBytes(c, data.substr(done), more);
    if (n < 0) {
      if (errno != EAGAIN) {
        out_.clear();
        c->unsent.reset();
        return Io::kGone;
      }
      if (c->unsent) {
        c->unsent->text.erase(0, done);
      } else {
        c->unsent = std::make_unique<Unsent>();
        c->unsent->text = data.substr(done);
      }
      c->unsent->sent += done;
      out_.clear();
      SetState(c, kWriting);
      c->deadline_ms = now_ms_ + static_cast<uint64_t>(c->timeout_ms);
      Want(c, EPOLLOUT);
      return Io::kBlocked;
    }
    done += static_cast<size_t>(n);
  }
  out_.clear();
  if (c->unsent) {
    freed_bytes_ += c->unsent->text.capacity();
    c->unsent.reset();
  }
  return Io::kDone;
}

std::unique_ptr<Transfer> EventLoop::NewTransfer() {
  if (spare_transfers_.empty()) return std::make_unique<Transfer>();
  std::unique_ptr<Transfer> out = std::move(spare_transfers_.back());
  spare_transfers_.pop_back();
  return out;
}

void EventLoop::Recycle(std::unique_ptr<Transfer> transfer) {
  if (spare_transfers_.size() >= kMostSpareTransfers) return;
  transfer->response.Clear();
  transfer->head.Clear();
  transfer->cursor = {};
  transfer->stream = {};
  transfer->body_sent = transfer->wire_sent = transfer->allowance = transfer->refilled_ms = 0;
  transfer->pause.reset();
  spare_transfers_.push_back(std::move(transfer));
}

EventLoop::Io EventLoop::SendPart(Connection* c, const Response& response, size_t part, uint64_t most, uint64_t& done) {
  const uint64_t length = response.parts[part].length;
  const bool is_direct = response.use_sendfile && !c->tls;  // not in pieces of ours
  while (done < length) {
    if (most == 0) return Io::kBlocked;
    const size_t want = static_cast<size_t>(std::min(length - done, most));
    const ssize_t n =
        SendFile(c, response.FileDescriptor(), response.parts[part].offset + done, want, response.use_sendfile);
    if (n < 0) return errno == EAGAIN ? Io::kBlocked : Io::kGone;
    if (n == 0) return Io::kGone;  // the file became shorter than the length we promised: only a close can say so
    most -= static_cast<uint64_t>(n);
    done += static_cast<uint64_t>(n);
    // The buffer is full: the kernel would look up the next pages of the file before it said so again. If it was not,
    // EPOLLOUT comes at once.
    if (is_direct && static_cast<size_t>(n) < want) return Io::kBlocked;
  }
  return Io::kDone;
}

EventLoop::Io EventLoop::PumpTransfer(Connection* c) {
  return c->transfer->response.source ? PumpSource(c) : PumpFile(c);
}

EventLoop::Io EventLoop::WaitForClient(Connection* c) {
  if (c->state != kWriting) c->deadline_ms = now_ms_ + static_cast<uint64_t>(c->timeout_ms);
  SetState(c, kWriting);
  Want(c, EPOLLOUT | BodyEvents(c));
  return Io::kBlocked;
}

EventLoop::Io EventLoop::WaitForSource(Connection* c) {
  Transfer& t = *c->transfer;
  const int wait_ms = t.response.wait_timeout_ms > 0 ? t.response.wait_timeout_ms : c->timeout_ms;
  c->deadline_ms = now_ms_ + static_cast<uint64_t>(wait_ms);
  SetState(c, kWriting);
  // Who still sends its body is not asked whether it has stopped.
  const uint32_t body = BodyEvents(c);
  Want(c, body != 0                                                             ? body | EPOLLERR
          : t.stream.half_closed                                                ? uint32_t{EPOLLERR}
          : (c->events & kReadable) == kReadable && (c->events & EPOLLOUT) == 0 ? c->events
                                                                                : uint32_t{EPOLLRDHUP});
  return Io::kBlocked;
}

EventLoop::Io EventLoop::WaitForRate(Connection* c) {
  c->deadline_ms = now_ms_ + kRateIntervalMs + static_cast<uint64_t>(c->timeout_ms);
  SetState(c, kWriting);
  Want(c, EPOLLERR | BodyEvents(c));
  c->transfer->pause = After(std::chrono::milliseconds(kRateIntervalMs), [this, c] { OnWritable(c); });
  return Io::kBlocked;
}

uint64_t EventLoop::Allowance(const Response& response, uint64_t& allowance, uint64_t& refilled_ms) const {
  const uint64_t rate = response.rate_limit;
  if (rate == 0) return UINT64_MAX;
  const uint64_t interval = RateInterval(rate);
  if (refilled_ms == 0) {
    allowance = response.rate_burst + interval;
    refilled_ms = now_ms_;
  }
  // Credit is for a turn that came late, not for a client that was slow: two intervals at most.
  if (allowance < 2 * interval) {
    const uint64_t more = (now_ms_ - refilled_ms) * rate / 1000;
    allowance = std::min(allowance + more, 2 * interval);
    // Less than a byte is lost. To go on by what these bytes are worth, rounded down, would stand still: at 204,800 a
    // second, one millisecond is 204 bytes and 204 bytes are no millisecond.
    if (more > 0) refilled_ms = now_ms_;
  } else {
    refilled_ms = now_ms_;
  }
  return allowance;
}

EventLoop::Io EventLoop::PumpFile(Connection* c) {
  Transfer& t = *c->transfer;
  uint64_t budget = FileBytesInATurn(*c);
  auto sent = [&](uint64_t n) {
    t.body_sent += n;
    t.wire_sent += n;
    t.allowance -= std::min(t.allowance, n);
    c->deadline_ms = now_ms_ + static_cast<uint64_t>(c->timeout_ms);
  };
  while (t.cursor.part < t.response.parts.size()) {
    const Response::Part& part = t.response.parts[t.cursor.part];
    const bool last = t.cursor.part + 1 == t.response.parts.size();
    if (t.cursor.text_done < part.text.size()) {
      const uint64_t allowed = Allowance(t.response, t.allowance, t.refilled_ms);
      if (allowed == 0) return WaitForRate(c);
      const size_t want = static_cast<size_t>(std::min<uint64_t>(part.text.size() - t.cursor.text_done, allowed));
      const bool more = t.response.rate_limit == 0 && (part.length > 0 || !last);
      const ssize_t n = SendBytes(c, std::string_view(part.text).substr(t.cursor.text_done, want), more);
      if (n < 0) return errno == EAGAIN ? WaitForClient(c) : Io::kGone;
      t.cursor.text_done += static_cast<size_t>(n);
      sent(static_cast<uint64_t>(n));
    } else if (t.cursor.file_done < part.length) {
      if (budget == 0) return WaitForClient(c);
      const uint64_t allowed = Allowance(t.response, t.allowance, t.refilled_ms);
      if (allowed == 0) return WaitForRate(c);
      const uint64_t before = t.cursor.file_done;
      const uint64_t most = std::min(budget, allowed);
      const Io io = SendPart(c, t.response, t.cursor.part, most, t.cursor.file_done);
      const uint64_t n = t.cursor.file_done - before;
      budget -= n;
      sent(n);
      if (io == Io::kGone) return io;
      if (io == Io::kBlocked && n < most) return WaitForClient(c);
    } else {
      ++t.cursor.part;
      t.cursor.text_done = 0;
      t.cursor.file_done = 0;
    }
  }
  return Io::kDone;
}

bool EventLoop::ReadAhead(Response& response) {
  first_.clear();
  if (response.without_body) return true;
  if (response.rate_limit != 0 && !response.has_file()) response.source = response.TakeBody();
  if (!response.source) return true;
  const std::optional<uint64_t> left = response.source->Left();
  const uint64_t until_ns = SteadyNs() + (response.keeps_body ? kKeptSourceNs : kSourceNs);
  const size_t most = response.keeps_body ? kFillBytes : kPieceBytes;
  first_state_ = BodySource::State::kMore;
  while (first_state_ == BodySource::State::kMore && first_.size() < most && SteadyNs() < until_ns) {
    first_state_ = response.source->Read(first_, kPieceBytes);
  }
  if (first_state_ == BodySource::State::kFailed || (left && first_.size() > *left)) return false;
  if (first_state_ != BodySource::State::kEnd) return true;
  if (left && first_.size() != *left) return false;
  if (response.rate_limit != 0 && first_.size() > response.rate_burst + RateInterval(response.rate_limit)) return true;
  response.source.reset();
  response.body.swap(first_);
  return true;
}

BodySource::State EventLoop::ReadSource(Transfer& t, uint64_t until_ns) {
  Stream& stream = t.stream;
  piece_.clear();
  BodySource::State state = BodySource::State::kMore;
  while (state == BodySource::State::kMore && piece_.size() < kFillBytes && SteadyNs() < until_ns) {
    state = t.response.source->Read(piece_, kPieceBytes);
  }
  if (state == BodySource::State::kFailed) return state;
  if (!AppendPiece(stream, piece_, state == BodySource::State::kEnd)) return BodySource::State::kFailed;
  return state;
}

EventLoop::Io EventLoop::PumpSource(Connection* c) {
  Transfer& t = *c->transfer;
  Stream& stream = t.stream;
  const uint64_t until_ns = SteadyNs() + kSourceNs;
  uint64_t budget = kSourceBytes;
  for (;;) {
    while (stream.buffer_done < stream.buffer.size()) {
      const uint64_t allowed = Allowance(t.response, t.allowance, t.refilled_ms);
      if (allowed == 0) return WaitForRate(c);
      const size_t want = static_cast<size_t>(std::min<uint64_t>(stream.buffer.size() - stream.buffer_done, allowed));
      const ssize_t n = SendBytes(c, std::string_view(stream.buffer).substr(stream.buffer_done, want), false);
      if (n < 0) return errno == EAGAIN ? WaitForClient(c) : Io::kGone;
      stream.buffer_done += static_cast<size_t>(n);
      t.wire_sent += static_cast<uint64_t>(n);
      t.allowance -= std::min<uint64_t>(t.allowance, static_cast<uint64_t>(n));
      c->deadline_ms = now_ms_ + static_cast<uint64_t>(c->timeout_ms);
    }
    t.body_sent += std::exchange(stream.buffer_body, 0);
    stream.buffer.clear();
    stream.buffer_done = 0;
    if (stream.ended) return Io::kDone;
    if (stream.waiting) return WaitForSource(c);
    if (budget == 0 || SteadyNs() >= until_ns) return WaitForClient(c);
    switch (ReadSource(t, until_ns)) {
      case BodySource::State::kFailed:
        return Io::kGone;
      case BodySource::State::kEnd:
        stream.ended = true;
        break;
      case BodySource::State::kWait:
        stream.waiting = true;
        break;
      case BodySource::State::kMore:
        break;
    }
    budget -= std::min<uint64_t>(budget, stream.buffer_body);
  }
}

void EventLoop::FinishTransfer(Connection* c, bool aborted) {
  std::unique_ptr<Transfer> t = std::move(c->transfer);
  Outcome outcome;
  // Of a piece that the client took half of, the framing counts as not sent.
  const size_t untaken = t->stream.buffer.size() - t->stream.buffer_done;
  outcome.body_bytes = t->body_sent + t->stream.buffer_body - std::min(t->stream.buffer_body, untaken);
  outcome.bytes_out = t->response_head.size() + t->wire_sent;
  outcome.bytes_in = t->bytes_in;
  outcome.aborted = aborted;
  outcome.kept_alive = t->keep && !aborted;
  outcome.duration = std::chrono::nanoseconds(SteadyNs() - c->work_started_ns);
  outcome.first_byte = std::chrono::nanoseconds(t->head_ns - c->work_started_ns);
  outcome.response_head = t->response_head;
  handler_.Finish(MakeRequest(c, t->head), t->response, outcome);
  EndWork(c, outcome.bytes_out, t->response.status);
  ++c->requests;
  Recycle(std::move(t));
}

void EventLoop::OnWritable(Connection* c) {
  out_.clear();
  switch (FlushOut(c, c->transfer != nullptr)) {
    case Io::kBlocked:
      return;
    case Io::kGone:
      GiveUp(c);
      Destroy(c);
      return;
    case Io::kDone:
      break;
  }
  if (c->transfer) {
    switch (PumpTransfer(c)) {
      case Io::kBlocked:
        return;
      case Io::kGone:
        FinishTransfer(c, true);
        Destroy(c);
        return;
      case Io::kDone:
        FinishTransfer(c, false);
        break;
    }
  }
  AfterAnswer(c);
}

}  // namespace httpd::net
