#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "handover/message.h"
#include "httpd/net/connection.h"
#include "httpd/net/event_loop.h"
#include "httpd/net/http2.h"
#include "os/socket.h"

namespace httpd::net {

bool EventLoop::ReceiveAdopted() {
  os::Fd loan(setup_.intake);  // a Result-returning call wants an owner; a copy would need a free descriptor
  auto message = handover::Receive(loan);
  [[maybe_unused]] const int still_theirs = loan.Release();
  if (!message) {
    if (message.error().kind == os::ErrorKind::kNotFound) {
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, setup_.intake, nullptr);
      intake_watched_ = false;
    } else if (message.error().kind == os::ErrorKind::kInvalid && setup_.on_trouble) {
      setup_.on_trouble(message.error().what);
    }
    return false;
  }
  if (setup_.on_counters && message.value().Get("ACCESSES")) setup_.on_counters(message.value());
  auto connections = handover::UnpackConnections(std::move(message).value());
  if (!connections) {
    if (setup_.on_trouble) setup_.on_trouble(connections.error().what);
    return true;
  }
  for (handover::PassedConnection& passed : connections.value()) {
    ::fcntl(passed.fd.get(), F_SETFL, ::fcntl(passed.fd.get(), F_GETFL) | O_NONBLOCK);
    Bump(setup_.slot->counters.adopted, 1);
    GoOnWith(std::move(passed));
  }
  return true;
}

void EventLoop::GoOnWith(handover::PassedConnection passed) {
  auto local = os::SocketAddress::OfSocket(passed.fd);
  auto peer = os::SocketAddress::OfPeer(passed.fd);
  Connection* c = NewConnection(std::move(passed.fd), local ? local.value().port() : 0, false);
  c->was_shared = true;
  const std::string host = peer ? peer.value().Host() : "-";  // who has left already has no name; its end is read soon
  c->address[host.copy(c->address, sizeof c->address - 1)] = '\0';
  if (peer) c->client_port = peer.value().port();
  if (passed.is_proxied) SetClient(c, passed.client, passed.client_port);
  c->requests = passed.requests;
  if (c->requests > 0) Bump(setup_.slot->counters.keepalive, 1);
  c->timeout_ms = handler_.FirstTimeoutMs();
  c->keep_alive_timeout_ms = handler_.IdleTimeoutMs();
  if (passed.unread.empty()) {
    BecomeIdle(c, passed.wait_ms);
  } else {
    Process(c, passed.unread.data(), passed.unread.size());
  }
}

bool EventLoop::CanPass(const Connection* c) const {
  return plan_.successor >= 0 && !c->is_private && !c->tls && !c->http2 && !c->awaits_proxy_header;
}

void EventLoop::Pass(Connection* c, uint64_t wait_ms) {
  handover::PassedConnection passed;
  passed.wait_ms = static_cast<uint32_t>(std::clamp<uint64_t>(wait_ms, 1, UINT32_MAX));
  if (c->events != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->fd.get(), nullptr);
  passed.unread = std::move(c->pending);
  passed.requests = c->requests;
  passed.is_proxied = c->peer != nullptr;
  if (passed.is_proxied) {
    passed.client = c->address;
    passed.client_port = c->client_port;
  }
  passed.fd = std::move(c->fd);
  Destroy(c);
  passing_.push_back(std::move(passed));
}

void EventLoop::FlushPassing() {
  while (!passing_.empty() && plan_.successor >= 0) {
    handover::Message message = handover::PackConnections(passing_);
    const size_t count = message.descriptors.size();
    os::Fd loan(plan_.successor);
    const os::Status sent = handover::Send(loan, message);
    [[maybe_unused]] const int still_theirs = loan.Release();
    if (sent) {
      Bump(setup_.slot->counters.passed, count);
      continue;
    }
    auto back = handover::UnpackConnections(std::move(message));
    if (back) {
      for (auto& passed : back.value()) passing_.push_back(std::move(passed));
    }
    if (sent.error().kind == os::ErrorKind::kBusy) return;  // the successor is slow to take: soon again
    if (setup_.on_trouble) setup_.on_trouble("hand connections over: " + sent.error().Text() + "; serving them here");
    break;
  }
  if (!passing_.empty()) NoSuccessorAnyMore();
}

void EventLoop::NoSuccessorAnyMore() {
  plan_.successor = -1;
  for (handover::PassedConnection& passed : std::exchange(passing_, {})) GoOnWith(std::move(passed));
}

void EventLoop::Drain(const DrainPlan& plan) {
  draining_ = true;
  plan_ = plan;
  setup_.slot->draining = 1;
  setup_.slot->accepting = 0;
  UpdateAccepting();
  if (intake_watched_ && !plan.read_intake) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, setup_.intake, nullptr);
    intake_watched_ = false;
    // As with listeners: a wake-up that was ours may have been meant for a connection that nobody else will hear of. It
    // is adopted here and passed on below, which wakes somebody who stays.
    while (ReceiveAdopted()) {
    }
  }
  for (auto& call : std::exchange(leaving_, {})) RunSoon(std::move(call));
  for (size_t i = connections_.size(); i > 0; --i) {
    Connection* c = connections_[i - 1];
    if (c->http2) GoOnWithHttp2(c, c->http2->Drain());
  }
  if (plan.successor < 0) {
    if (!passing_.empty()) NoSuccessorAnyMore();
    return;
  }
  for (size_t i = connections_.size(); i > 0; --i) {
    Connection* c = connections_[i - 1];
    const bool between = c->state == kIdle || (c->state == kReading && !c->working && !c->asked);
    if (between && CanPass(c) && c->pending.size() <= handover::kMaxUnreadBytes) {
      Pass(c, c->deadline_ms > now_ms_ ? c->deadline_ms - now_ms_ : 1);
    }
  }
  FlushPassing();
}

std::optional<handover::CutRequest> EventLoop::InProgress(const Connection* c) const {
  if (c->is_private || c->state == kIdle || c->state == kLingering || c->awaits_proxy_header) return std::nullopt;
  handover::CutRequest out;
  out.client = c->address;
  if (c->client_port != 0)
    out.client = (out.client.find(':') == std::string::npos ? out.client : "[" + out.client + "]") + ":" +
                 std::to_string(c->client_port);
  out.age_ms = (SteadyNs() - c->work_started_ns) / 1000000;
  if (c->transfer) {
    const Transfer& t = *c->transfer;
    const uint64_t done = t.response_head.size() + t.wire_sent;
    out.phase = handover::CutRequest::Phase::kAnswering;
    const uint64_t unsent = c->unsent ? c->unsent->text.size() : 0;
    out.bytes_sent = done - std::min<uint64_t>(done, unsent);
    if (!t.response.source) {
      uint64_t all = t.response_head.size();
      for (const Response::Part& part : t.response.parts) all += part.text.size() + part.length;
      out.bytes_left = all - *out.bytes_sent;
    } else if (t.stream.left) {
      out.bytes_left = unsent + t.stream.buffer.size() - t.stream.buffer_done + *t.stream.left;
    }
    out.request = t.head.line;
  } else if (c->state == kWriting) {
    out.phase = handover::CutRequest::Phase::kAnswering;
    out.bytes_sent = c->unsent ? c->unsent->sent : 0;
    out.bytes_left = c->unsent ? c->unsent->text.size() : 0;
    if (c->unsent) out.request = c->unsent->line;
  } else if (c->asked) {
    if (c->asked->is_answered) return std::nullopt;
    out.phase =
        c->asked->body.done() ? handover::CutRequest::Phase::kAnswering : handover::CutRequest::Phase::kReceiving;
    out.bytes_sent = 0;
    out.request = c->asked->head.line;
  } else {
    if (c->pending.empty()) return std::nullopt;
    out.phase = handover::CutRequest::Phase::kReceiving;
    out.bytes_sent = 0;
    out.request = c->pending.substr(0, c->pending.find_first_of("\r\n"));
    out.age_ms = now_ms_ - std::min(now_ms_, c->read_start_ms);
  }
  return out;
}

void EventLoop::CutAndStop(const std::function<void(const handover::CutRequest&)>& tell) {
  for (size_t i = connections_.size(); i > 0; --i) {
    Connection* c = connections_[i - 1];
    if (c->http2 && !c->is_private) {
      c->http2->TellInProgress(tell);
      GiveUp(c);
      Destroy(c);
      continue;
    }
    const auto request = InProgress(c);
    if (!request) continue;
    tell(*request);
    GiveUp(c);
    Destroy(c);
  }
  StopNow();
}

bool EventLoop::Finished() {
  if (setup_.may_end && !setup_.may_end()) return false;
  if (!connections_.empty() || !passing_.empty()) return false;
  // An exclusive wait may wake another loop for the end-of-file: look ourselves.
  if (intake_watched_) ReceiveAdopted();
  return !intake_watched_ && connections_.empty() && passing_.empty();
}

}  // namespace httpd::net
