// How a request gets a connection to its backend: a kept one, or a new one, with TLS where it is wanted.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "httpd/config/lexer.h"
#include "httpd/modules/access_log.h"
#include "httpd/modules/module.h"
#include "httpd/modules/name_lookup.h"
#include "httpd/modules/proxy_exchange.h"
#include "httpd/modules/site.h"

namespace httpd::modules::proxy {

namespace {

/// Whose certificate a backend must have, and what it is asked for. Source  proxy_util.c ap_proxy_determine_connection
std::string TlsNameOf(const RequestState& state, const Worker& worker) {
  const auto* place = SettingsFor<PlaceSettings>(state);
  if (!place || !place->preserves_host.value_or(false)) return worker.host;
  std::string_view name = HostOf(state.head().authority);
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  return name.empty() ? worker.host : config::LowerCase(std::string(name));
}

}  // namespace

std::optional<Verdict> Exchange::Acquire(RequestState& state, bool is_late) {
  while (!is_fresh_) {
    std::unique_ptr<Link> idle = pool_.TakeIdle(*worker_, tls_);
    if (!idle) break;
    // What must not be sent twice is not sent to who has left already.
    if (!is_idempotent_ && !idle->IsQuiet()) {
      pool_.Release(std::move(idle), false);
      continue;
    }
    pool_.Leave(*worker_, *this);
    TakeLink(std::move(idle), true);
    return std::nullopt;
  }
  if (pool_.HasRoom(*worker_)) {
    if (worker_->most != 0) pool_.Leave(*worker_, *this);
    timer_.reset();
    phase_ = Phase::kResolve;
    return std::nullopt;
  }
  if (is_late) {
    pool_.Leave(*worker_, *this);
    Log(state, "proxy",
        ErrorText(ETIME) + "AH00941: http: failed to acquire connection for (" + PlaceOf(*worker_) + ")");
    phase_ = Phase::kOver;
    return Verdict::Status(503);
  }
  pool_.Wait(*worker_, *this);
  if (worker_->acquire_ms && !timer_) WaitAtMost(*worker_->acquire_ms);
  return std::nullopt;
}

void Exchange::WaitAtMost(int ms) {
  timer_ = pool_.reactor().After(std::chrono::milliseconds(ms), [this] {
    is_late_ = true;
    waker_.Wake();
  });
}

std::optional<Verdict> Exchange::FindAddresses(RequestState& state, bool is_late) {
  addresses_.clear();
  address_ = 0;
  if (!worker_->unix_path.empty()) {
    auto address = os::SocketAddress::Parse("unix:" + worker_->unix_path);
    if (address) addresses_.push_back(std::move(address).value());
  } else if (auto numeric = os::SocketAddress::FromIp(worker_->host, worker_->port)) {
    addresses_.push_back(std::move(numeric).value());
  } else {
    const NameQuestion question{NameQuestion::Kind::kAddressesOf, worker_->host};
    NameLookup& names = NameLookup::Shared();
    auto answer = names.Find(question);
    if (!answer && !name_watch_) {
      answer = names.Find(question, NameLookup::Age::kAny);
      if (answer && !answer->empty()) {
        names.Ask(question, -1);  // for the next ones; meanwhile it is where it was
      } else {
        answer.reset();
      }
    }
    if (!answer && !is_late) {
      if (name_watch_) return std::nullopt;
      name_event_ = os::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      auto watch = pool_.reactor().WatchDescriptor(name_event_.get(), EPOLLIN, [this](uint32_t) {
        eventfd_t count = 0;
        ::eventfd_read(name_event_.get(), &count);
        waker_.Wake();
      });
      if (watch && names.Ask(question, name_event_.get())) {
        name_watch_ = std::move(watch).value();
        return std::nullopt;
      }
    }
    name_watch_.reset();
    name_event_.Reset();
    if (!answer) names.GiveUp(question);
    for (const std::string& text : answer.value_or(NameLookup::Answer{})) {
      auto address = os::SocketAddress::FromIp(text, worker_->port);
      if (address) addresses_.push_back(std::move(address).value());
    }
    if (addresses_.empty()) {
      phase_ = Phase::kOver;
      return Fail(state, 502, "DNS lookup failure for: " + worker_->host);
    }
  }
  phase_ = Phase::kConnect;
  return std::nullopt;
}

std::optional<Verdict> Exchange::ConnectNext(RequestState& state) {
  if (address_ >= addresses_.size()) return NotConnected(state, EINVAL);
  const auto* host = HostSettingsFor<HostSettings>(state);
  const int buffer = worker_->receive_buffer != 0 ? worker_->receive_buffer
                     : host                       ? host->receive_buffer.value_or(0)
                                                  : 0;
  bool is_connected = false;
  auto link = pool_.Connect(worker_, addresses_[address_], buffer, is_connected, tls_);
  if (!link) return NotConnected(state, link.error().sys);
  if (is_connected && !tls_.context) {
    TakeLink(std::move(link).value(), false);
    return std::nullopt;
  }
  link_ = std::move(link).value();
  link_->user = this;
  if (is_connected) return BeginTls(state);
  is_readable_ = false;
  phase_ = Phase::kConnecting;
  WaitAtMost(worker_->connect_timeout_ms.value_or(timeout_ms_));
  return std::nullopt;
}

std::optional<Verdict> Exchange::FinishConnecting(RequestState& state, bool is_late) {
  if (!is_readable_ && !is_late) return std::nullopt;
  int sys = 0;
  socklen_t length = sizeof sys;
  ::getsockopt(link_->fd.get(), SOL_SOCKET, SO_ERROR, &sys, &length);
  timer_.reset();
  is_late_ = false;
  if (sys != 0 || !is_readable_) {
    FinishLink(false);
    return NotConnected(state, sys != 0 ? sys : ETIME);
  }
  if (tls_.context) return BeginTls(state);
  TakeLink(std::move(link_), false);
  return std::nullopt;
}

std::optional<Verdict> Exchange::FindTls(RequestState& state) {
  const auto* settings = SettingsFor<TlsSettings>(state);
  if (!settings || !settings->engine.value_or(false)) {
    Log(state, "proxy",
        "AH00961: https: failed to enable ssl support for " + PlaceOf(*worker_) + ": SSLProxyEngine is not on");
    phase_ = Phase::kOver;
    return Verdict::Status(500);
  }
  auto found = state.engine->site().backend_tls().Find(*settings);
  if (!found) {
    Log(state, "proxy",
        "AH00961: https: failed to enable ssl support for " + PlaceOf(*worker_) + ": " + found.error().what);
    phase_ = Phase::kOver;
    return Verdict::Status(500);
  }
  tls_ = {found.value(), TlsNameOf(state, *worker_)};
  return std::nullopt;
}

std::optional<Verdict> Exchange::BeginTls(RequestState& state) {
  link_->BeginTls();
  phase_ = Phase::kShakeHands;
  is_readable_ = true;
  WaitAtMost(timeout_ms_);
  return ShakeHands(state, false);
}

std::optional<Verdict> Exchange::ShakeHands(RequestState& state, bool is_late) {
  if (is_late) return NotTrusted(state, "AH02003: SSL Proxy connect failed: the timeout specified has expired");
  if (!std::exchange(is_readable_, false)) return std::nullopt;
  net::TlsStream& tls = *link_->tls;
  switch (tls.Handshake()) {
    case net::TlsStream::Step::kWait:
      link_->watch->Want(tls.has_unsent() ? uint32_t{EPOLLIN | EPOLLOUT} : uint32_t{EPOLLIN});
      return std::nullopt;
    case net::TlsStream::Step::kDone:
      break;
    default:
      return NotTrusted(state, "AH02003: SSL Proxy connect failed: " + TlsContext::WhyFailed(tls));
  }
  if (const std::string objection = tls_.context->ObjectionTo(tls, tls_.name); !objection.empty()) {
    return NotTrusted(state, objection);
  }
  tls.Flush();  // what fails here fails again when the request is sent
  TakeLink(std::move(link_), false);
  return std::nullopt;
}

std::optional<Verdict> Exchange::NotTrusted(RequestState& state, const std::string& why) {
  timer_.reset();
  is_late_ = false;
  FinishLink(false);
  Log(state, "ssl", why + " (" + PlaceOf(*worker_) + ")");
  PutInError(state);
  if (balancer_) {
    is_distrusted_ = true;
    phase_ = Phase::kChoose;
    return std::nullopt;
  }
  phase_ = Phase::kOver;
  return Fail(state, 502, "Error during SSL Handshake with remote server");
}

void Exchange::PutInError(const RequestState& state) {
  if (!worker_->is_member || (worker_->status & kIgnoreErrors) != 0) return;
  worker_->shared->failed_ms.store(SteadyMs(), std::memory_order_relaxed);
  Log(state, "proxy",
      "AH00959: ap_proxy_connect_backend disabling worker for (" + PlaceOf(*worker_) + ") for " +
          std::to_string(worker_->retry_ms / 1000) + "s");
}

std::optional<Verdict> Exchange::NotConnected(RequestState& state, int sys) {
  const std::string place = PlaceOf(*worker_);
  const std::string where = address_ < addresses_.size() ? addresses_[address_].Text() : place;
  if (worker_->unix_path.empty()) {
    Log(state, "proxy", ErrorText(sys) + "AH00957: http: attempt to connect to " + where + " (" + place + ") failed");
  } else {
    Log(state, "proxy",
        ErrorText(sys) + "AH02454: http: attempt to connect to Unix domain socket " + worker_->unix_path + " (" +
            place + ") failed");
  }
  if (++address_ < addresses_.size()) {
    phase_ = Phase::kConnect;
    return std::nullopt;
  }
  PutInError(state);
  Log(state, "proxy_http", "AH01114: HTTP: failed to make connection to backend: " + worker_->host);
  if (!balancer_) {
    phase_ = Phase::kOver;
    return Verdict::Status(503);
  }
  phase_ = Phase::kChoose;
  return std::nullopt;
}

}  // namespace httpd::modules::proxy
