#include "httpd/modules/proxy_exchange.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "httpd/http/ascii.h"
#include "httpd/modules/module.h"

namespace httpd::modules::proxy {

using config::LogLevel;
using BodyState = net::BodySource::State;

int64_t SteadyMs() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1000000;
}

std::string ErrorText(int sys) {
  if (sys == ETIME) return "(70007)The timeout specified has expired: ";  // as APR says it
  if (sys == 0) return "(70014)End of file found: ";
  return "(" + std::to_string(sys) + ")" + std::strerror(sys) + ": ";
}

std::string PlaceOf(const Worker& worker) {
  return worker.host + ":" + std::to_string(worker.port);
}

Exchange::~Exchange() {
  Cancel();
}

void Exchange::Clear() {
  Cancel();
  waker_ = {};
  phase_ = Phase::kChoose;
  worker_.reset();
  balancer_.reset();
  session_ = {};
  tried_.clear();
  addresses_.clear();
  address_ = 0;
  tls_ = {};
  is_late_ = is_reused_ = is_fresh_ = is_readable_ = is_bound_ = is_distrusted_ = false;
  head_.clear();
  head_done_ = 0;
  body_.clear();
  body_done_ = 0;
  is_idempotent_ = is_head_ = has_body_ = is_chunked_ = expects_ = is_invited_ = keeps_body_ = has_ended_ = is_broken_ =
      false;
  asks_upgrade_ = is_tunnel_ = false;
  in_.clear();
  decoded_.clear();
  interims_ = 0;
  length_.reset();
  given_ = 0;
  ends_at_close_ = source_waits_ = false;
  is_watched_ = true;
  error_log_ = nullptr;
}

void Exchange::Cancel() {
  if (phase_ == Phase::kAcquire && worker_) pool_.Leave(*worker_, *this);
  phase_ = Phase::kOver;
  timer_.reset();
  name_watch_.reset();
  name_event_.Reset();
  FinishLink(false);
  DropWorker();
}

void Exchange::DropWorker() {
  if (is_counted_) worker_->shared->busy.fetch_sub(1, std::memory_order_relaxed);
  is_counted_ = false;
}

void Exchange::FinishLink(bool is_reusable) {
  if (link_) pool_.Release(std::move(link_), is_reusable);
}

void Exchange::Log(const RequestState& state, const char* module, std::string text) {
  state.engine->LogError(state, LogLevel::kError, module, std::move(text));
}

std::optional<Verdict> Exchange::Resume(RequestState& state, bool is_late) {
  return Go(state, is_late || is_late_);
}

std::optional<Verdict> Exchange::Go(RequestState& state, bool is_late) {
  for (;;) {
    const Phase before = phase_;
    std::optional<Verdict> verdict;
    switch (phase_) {
      case Phase::kChoose:
        verdict = ChooseMember(state);
        break;
      case Phase::kAcquire:
        verdict = Acquire(state, is_late);
        break;
      case Phase::kResolve:
        verdict = FindAddresses(state, is_late);
        break;
      case Phase::kConnect:
        verdict = ConnectNext(state);
        break;
      case Phase::kConnecting:
        verdict = FinishConnecting(state, is_late);
        break;
      case Phase::kShakeHands:
        verdict = ShakeHands(state, is_late);
        break;
      case Phase::kAwait:
        return AwaitHead(state, is_late);
      default:
        return Verdict::Status(500);
    }
    if (verdict) return verdict;
    if (phase_ == before && phase_ != Phase::kConnect && phase_ != Phase::kChoose) return std::nullopt;
    is_late = false;
  }
}

std::optional<Verdict> Exchange::ChooseMember(RequestState& state) {
  if (balancer_) {
    DropWorker();
    Choice choice;
    const size_t attempts = balancer_->most_attempts ? static_cast<size_t>(*balancer_->most_attempts) + 1 : SIZE_MAX;
    if (!is_bound_ && tried_.size() < attempts) choice = Choose(*balancer_, session_, tried_, SteadyMs());
    if (!choice.worker) {
      if (tried_.empty() || !is_bound_) {
        Log(state, "proxy_balancer",
            choice.is_bound
                ? "AH01167: " + balancer_->name + ": All workers are in error state for route (" + session_.route + ")"
                : "AH01167: " + balancer_->name + ": All workers are in error state");
      }
      if (is_distrusted_) return Fail(state, 502, "Error during SSL Handshake with remote server");
      return Verdict::Status(503);
    }
    is_bound_ = choice.is_bound;
    worker_ = choice.worker;
    state.proxy_url = worker_->name.substr(worker_->unix_path.empty() ? 0 : worker_->name.find('|') + 1);
    if (state.proxy_url.ends_with('/') && balancer_path_.starts_with('/')) state.proxy_url.pop_back();
    state.proxy_url += balancer_path_;
    Environment& environment = state.environment;
    if (!session_.id.empty()) {
      environment.Set("BALANCER_SESSION_STICKY", balancer_->sticky_cookie);
      environment.Set("BALANCER_SESSION_ROUTE", session_.route);
      if (!choice.is_by_route) environment.Set("BALANCER_ROUTE_CHANGED", "1");
    }
    environment.Set("BALANCER_NAME", balancer_->name);
    environment.Set("BALANCER_WORKER_NAME", worker_->name);
    environment.Set("BALANCER_WORKER_ROUTE", worker_->route);
  } else if ((worker_->status & (kDisabled | kStopped | kInError)) != 0) {
    Log(state, "proxy", "AH00940: http: disabled connection for (" + PlaceOf(*worker_) + ")");
    return Verdict::Status(503);
  }
  tried_.push_back(worker_.get());
  worker_->shared->busy.fetch_add(1, std::memory_order_relaxed);
  is_counted_ = true;
  const auto* host = HostSettingsFor<HostSettings>(state);
  timeout_ms_ =
      worker_->timeout_ms.value_or(host && host->timeout_ms ? *host->timeout_ms : state.host->host->timeout_ms);
  state.response->wait_timeout_ms = timeout_ms_;
  const int io = worker_->io_buffer != 0 ? worker_->io_buffer : host ? host->io_buffer.value_or(0) : 0;
  io_bytes_ = io != 0 ? io : static_cast<int>(Pool::kScratchBytes);
  tls_ = {};
  if (worker_->is_tls) {
    if (auto verdict = FindTls(state)) return verdict;
  }
  BuildHead(state);
  phase_ = Phase::kAcquire;
  return std::nullopt;
}

void Exchange::TakeLink(std::unique_ptr<Link> link, bool is_reused) {
  link_ = std::move(link);
  link_->user = this;
  is_reused_ = is_reused;
  is_readable_ = link_->has_buffered();
  is_broken_ = false;
  is_watched_ = true;
  timer_.reset();
  head_done_ = body_done_ = 0;
  keeps_body_ = is_reused && is_idempotent_ && has_body_;
  in_.clear();
  is_invited_ = false;
  phase_ = Phase::kAwait;
  if (!is_reused) link_->watch->Want(EPOLLIN);
  if (worker_->is_member && worker_->shared->failed_ms.load(std::memory_order_relaxed) != 0) {
    worker_->shared->failed_ms.store(0, std::memory_order_relaxed);
  }
  Flush();
  if (expects_ && worker_->ping_ms) WaitAtMost(*worker_->ping_ms);
  if (has_body_ && !has_ended_) waker_.Wake();  // what had to wait for the connection goes on
}

// ---------------------------------------------------------------------------------------------------- the request

void Exchange::Flush() {
  if (!link_ || is_broken_ || phase_ < Phase::kAwait) return;
  // The first of the body goes with the head.
  if (has_body_ && !has_ended_ && body_.empty() && head_done_ == 0 && !expects_) return;
  const std::string_view body = IsBodyHeld() ? std::string_view() : std::string_view(body_);
  while (head_done_ < head_.size() || body_done_ < body.size()) {
    const ssize_t n =
        link_->Send(std::string_view(head_).substr(head_done_), body.empty() ? body : body.substr(body_done_));
    if (n < 0 && errno == EAGAIN) {
      link_->watch->Want((is_watched_ ? uint32_t{EPOLLIN} : 0U) | EPOLLOUT);
      return;
    }
    if (n < 0) {  // perhaps it has answered already: reading tells
      is_broken_ = true;
      break;
    }
    worker_->shared->transferred.fetch_add(n, std::memory_order_relaxed);
    const size_t of_head = std::min(static_cast<size_t>(n), head_.size() - head_done_);
    head_done_ += of_head;
    body_done_ += static_cast<size_t>(n) - of_head;
  }
  if (is_broken_ || (!keeps_body_ && !IsBodyHeld())) {
    body_.clear();
    body_done_ = 0;
  }
  if (is_tunnel_ && has_ended_ && !is_broken_) link_->Finish();
  link_->watch->Want(is_watched_ ? uint32_t{EPOLLIN} : 0U);
}

net::BodySink::State Exchange::Write(std::string_view data) {
  using State = net::BodySink::State;
  if (phase_ == Phase::kOver || is_broken_) return State::kEnough;
  if (IsBodyHeld() && !worker_->ping_ms) expects_ = false;  // a client that does not wait: nor do we
  if (!is_chunked_ && link_ && phase_ >= Phase::kAwait && head_done_ == head_.size() && body_.empty() && !keeps_body_ &&
      !IsBodyHeld()) {
    const ssize_t n = link_->Send(data, {});  // without a copy
    if (n > 0) {
      worker_->shared->transferred.fetch_add(n, std::memory_order_relaxed);
      data.remove_prefix(static_cast<size_t>(n));
    }
    if (data.empty()) return State::kMore;
  }
  if (is_chunked_) {
    char size[20];
    const auto end = std::to_chars(size, size + sizeof size, data.size(), 16).ptr;
    body_.append(size, end).append("\r\n").append(data).append("\r\n");
  } else {
    body_ += data;
  }
  if (keeps_body_ && !IsBodyHeld() && body_.size() > kBodyBytes) {
    keeps_body_ = false;
    body_.erase(0, std::exchange(body_done_, 0));
  }
  Flush();
  if (is_broken_) return State::kEnough;
  return HasRoom() ? State::kMore : State::kWait;
}

void Exchange::EndBody() {
  has_ended_ = true;
  if (is_chunked_) body_ += "0\r\n\r\n";
  Flush();
}

void Exchange::CutBody() {
  if (!has_ended_) is_broken_ = true;
}

void Exchange::OnRoom() {
  waker_.Wake();
}

void Exchange::OnReady(uint32_t events) {
  if (phase_ == Phase::kConnecting || phase_ == Phase::kShakeHands) {
    is_readable_ = true;
    link_->watch->Want(0);
    waker_.Wake();
    return;
  }
  if ((events & EPOLLOUT) != 0) {
    const bool had_room = HasRoom();
    Flush();
    if (!had_room && HasRoom()) waker_.Wake();
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  if (phase_ == Phase::kAwait) {
    is_readable_ = true;
    waker_.Wake();
  } else if (std::exchange(source_waits_, false)) {
    waker_.Wake();
  } else {  // the client is slower: what comes stays in the kernel
    is_watched_ = false;
    const bool wants_out = head_done_ < head_.size() || body_done_ < body_.size();
    link_->watch->Want(wants_out && (events & (EPOLLHUP | EPOLLERR)) == 0 ? uint32_t{EPOLLOUT} : 0U);
  }
}

// ---------------------------------------------------------------------------------------------------- the answer

std::optional<Verdict> Exchange::AwaitHead(RequestState& state, bool is_late) {
  auto verdict = ReadHead(state, is_late);
  if (!verdict && phase_ == Phase::kChoose) return Go(state, false);
  while (!verdict && phase_ == Phase::kAwait && link_->has_buffered()) {
    is_readable_ = true;
    verdict = ReadHead(state, false);
  }
  return verdict;
}

std::optional<Verdict> Exchange::ReadHead(RequestState& state, bool is_late) {
  if (is_late) return IsBodyHeld() && worker_->ping_ms ? NoPing(state) : Unanswered(state, ETIME);
  if (!is_readable_) return std::nullopt;
  is_readable_ = false;
  char* scratch = pool_.scratch();
  const ssize_t n = link_->Receive(scratch, static_cast<size_t>(io_bytes_));
  if (n < 0 && errno == EAGAIN) return std::nullopt;
  if (n <= 0) return Unanswered(state, n < 0 ? errno : 0);
  worker_->shared->read.fetch_add(n, std::memory_order_relaxed);
  std::string_view data(scratch, static_cast<size_t>(n));
  if (!in_.empty()) {
    in_ += data;
    data = in_;
  }
  const auto* host = HostSettingsFor<HostSettings>(state);
  http::ResponseLimits limits;
  if (worker_->response_field != 0) limits.field_size = static_cast<size_t>(worker_->response_field);
  limits.head_size = std::max(limits.head_size, 4 * limits.field_size);
  if (host) limits.bad_lines = host->bad_lines.value_or(http::BadLine::kIsError);
  for (;;) {
    const http::ResponseResult result = http::ParseResponseHead(data, limits, answer_);
    if (result.state == http::ResponseResult::State::kIncomplete) {
      if (data.data() != in_.data() || data.size() != in_.size()) in_ = std::string(data);
      return std::nullopt;
    }
    if (result.state == http::ResponseResult::State::kBad) {
      Log(state, "proxy_http",
          std::string(result.is_status_line ? "AH01102: " : "AH01106: ") + result.reason + " (" + PlaceOf(*worker_) +
              "): " + std::string(result.line));
      FinishLink(false);
      phase_ = Phase::kOver;
      return Fail(state, 502, result.reason);
    }
    if (worker_->ping_ms && expects_) {
      timer_.reset();  // it is there
      is_late_ = false;
    }
    const std::string_view rest = data.substr(result.consumed);
    if (answer_.status >= 200 || answer_.status == 101) return Answer(state, rest);
    PassInterim(state);
    data = rest;  // another answer follows it
    if (data.empty()) {
      in_.clear();
      return std::nullopt;
    }
  }
}

void Exchange::Invite() {
  is_invited_ = true;
  timer_.reset();
  is_late_ = false;
  Flush();
  waker_.Wake();  // what had to wait goes on
}

/// Source  mod_proxy_http.c ap_proxy_http_process_response, protocol.c ap_send_interim_response
void Exchange::PassInterim(RequestState& state) {
  net::Response& response = *state.response;
  const bool is_continue = answer_.status == 100;
  if (is_continue && IsBodyHeld()) Invite();
  if (state.head().minor < 1 || state.request->stream || (is_continue && !response.holds_continue)) return;
  if (!is_continue) {
    if (const auto policy = state.environment.Find("proxy-interim-response");
        policy && http::EqualsIgnoreCase(*policy, "Suppress")) {
      return;
    }
    if (++interims_ > kMostInterims) return;
  }
  if (is_continue) response.holds_continue = false;
  response.interim += InterimHead();
}

/// The backend has not asked for the body in time: another may.
std::optional<Verdict> Exchange::NoPing(RequestState& state) {
  timer_.reset();
  is_late_ = false;
  FinishLink(false);
  Log(state, "proxy_http",
      "AH01103: read timeout: no 100 Continue from " + PlaceOf(*worker_) + " within its ping time");
  if (balancer_) {
    PutInError(state);
    phase_ = Phase::kChoose;
    return std::nullopt;
  }
  phase_ = Phase::kOver;
  return Fail(state, 503, "Timeout on 100-Continue");
}

/// No answer came: the connection ended, or the time is up.
std::optional<Verdict> Exchange::Unanswered(RequestState& state, int sys) {
  const bool is_late = sys == ETIME;
  const bool is_replayable = is_idempotent_ && (!has_body_ || keeps_body_);
  const bool is_unsent = head_done_ == 0;
  if (is_reused_ && in_.empty() && !is_late && (is_replayable || (is_unsent && !has_body_))) {
    FinishLink(false);
    is_fresh_ = true;
    phase_ = Phase::kAcquire;
    return Go(state, false);
  }
  FinishLink(false);
  phase_ = Phase::kOver;
  Log(state, "proxy_http",
      ErrorText(sys) + "AH01102: error reading status line from remote server " + PlaceOf(*worker_));
  if (is_late && balancer_ && balancer_->fails_on_timeout && (worker_->status & kIgnoreErrors) == 0) {
    worker_->shared->failed_ms.store(SteadyMs(), std::memory_order_relaxed);
  }
  return Fail(state, 502, "Error reading from remote server");
}

bool Exchange::IsReusable() const {
  return answer_.keep_alive && !is_broken_ && !ends_at_close_ && !is_tunnel_ && head_done_ == head_.size() &&
         body_done_ == body_.size() && (!has_body_ || has_ended_) && !IsBodyHeld();
}

BodyState Exchange::Read(std::string& out, size_t most) {
  if (!decoded_.empty()) {
    given_ += decoded_.size();
    out += decoded_;
    decoded_.clear();
    return BodyState::kMore;
  }
  if (phase_ != Phase::kBody || !link_) return BodyState::kFailed;
  char* scratch = pool_.scratch();
  const size_t want = std::min({most, static_cast<size_t>(io_bytes_), Pool::kScratchBytes});
  const ssize_t n = link_->Receive(scratch, want);
  if (n < 0 && errno == EAGAIN) {
    source_waits_ = true;
    if (!std::exchange(is_watched_, true)) {
      const bool wants_out = !is_broken_ && (head_done_ < head_.size() || body_done_ < body_.size());
      link_->watch->Want(wants_out ? uint32_t{EPOLLIN | EPOLLOUT} : uint32_t{EPOLLIN});
    }
    return BodyState::kWait;
  }
  const int sys = errno;
  if (n <= 0) {
    const bool is_end = n == 0 && ends_at_close_;
    if (!is_end && !is_tunnel_) {
      error_log_->Write(LogLevel::kError, "proxy_http",
                        ErrorText(n == 0 ? 0 : sys) + "AH01110: error reading response of " + PlaceOf(*worker_),
                        client_);
    }
    FinishLink(false);
    phase_ = Phase::kOver;
    return is_end || is_tunnel_ ? BodyState::kEnd : BodyState::kFailed;
  }
  worker_->shared->read.fetch_add(n, std::memory_order_relaxed);
  std::string_view data(scratch, static_cast<size_t>(n));
  while (!data.empty()) {
    const http::BodyReader::Step step = reader_.Feed(data);
    given_ += step.data.size();
    out += step.data;
    data.remove_prefix(step.consumed);
    if (step.state == http::BodyReader::Step::State::kBad) {
      error_log_->Write(LogLevel::kError, "proxy_http",
                        "AH01110: malformed chunk in the response of " + PlaceOf(*worker_), client_);
      FinishLink(false);
      phase_ = Phase::kOver;
      return BodyState::kFailed;
    }
    if (reader_.done()) {
      FinishLink(IsReusable() && data.empty());
      phase_ = Phase::kOver;
      DropWorker();
      return BodyState::kEnd;
    }
  }
  return BodyState::kMore;
}

std::optional<uint64_t> Exchange::Left() const {
  if (!length_) return std::nullopt;
  return *length_ - given_;
}

}  // namespace httpd::modules::proxy
