#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "httpd/http/request.h"
#include "httpd/http/response.h"
#include "httpd/modules/proxy_balancer.h"
#include "httpd/modules/proxy_pool.h"
#include "httpd/modules/proxy_settings.h"
#include "httpd/modules/request_state.h"

namespace httpd::modules::proxy {

/// CLOCK_MONOTONIC, milliseconds, not exact.
int64_t SteadyMs();
/// As APR words an errno at the beginning of a line; ETIME and 0 are the time-out and the end.
std::string ErrorText(int sys);
/// "host:port"
std::string PlaceOf(const Worker& worker);

/// One request that is passed to a backend, and its answer: finds a member and a connection, sends head and body,
/// reads the head of the answer, then what its source is asked for. Nothing of it blocks; bodies are never held as a
/// whole. Belongs to those who answer from it; without them its connection is closed.
///
/// Again   A request goes to another member while nothing could be sent. One that got no byte of an answer on a
///         connection that had been idle is sent again on a new one, if its method is idempotent (RFC 9110 9.2.2) and
///         at most 64 KiB of its body have come, or if nothing was sent.
class Exchange {
 public:
  static constexpr size_t kBodyBytes = 64U << 10;  ///< of the request's body that may wait here
  static constexpr int kMostInterims = 32;         ///< 1xx answers to one request; others are dropped

  explicit Exchange(Pool& pool) : pool_(pool) {}
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  void Clear();

  /// Begins with the request of `state`, whose proxy_url and proxy_worker are set; as the `handle` hook.
  static Verdict Begin(RequestState& state);

  /// As DeferredAnswer.
  std::optional<Verdict> Resume(RequestState& state, bool is_late);

  // For the pool.
  void OnReady(uint32_t events);
  void OnRoom();

  // The request's body.
  net::BodySink::State Write(std::string_view data);
  bool HasRoom() const { return body_.size() - body_done_ < kBodyBytes; }
  void EndBody();
  void CutBody();  ///< there will be no more of it

  // The answer's body.
  net::BodySource::State Read(std::string& out, size_t most);
  std::optional<uint64_t> Left() const;

  /// Whether there is a body that is not in the response already.
  bool HasMore() const;

  /// Nobody wants an answer any more.
  void Cancel();

 private:
  enum class Phase { kChoose, kAcquire, kResolve, kConnect, kConnecting, kShakeHands, kAwait, kBody, kOver };

  std::optional<Verdict> Go(RequestState& state, bool is_late);
  std::optional<Verdict> ChooseMember(RequestState& state);
  std::optional<Verdict> Acquire(RequestState& state, bool is_late);
  std::optional<Verdict> FindAddresses(RequestState& state, bool is_late);
  std::optional<Verdict> ConnectNext(RequestState& state);
  std::optional<Verdict> FinishConnecting(RequestState& state, bool is_late);
  std::optional<Verdict> BeginTls(RequestState& state);
  std::optional<Verdict> ShakeHands(RequestState& state, bool is_late);
  std::optional<Verdict> NotTrusted(RequestState& state, const std::string& why);
  void PutInError(const RequestState& state);
  std::optional<Verdict> FindTls(RequestState& state);
  std::optional<Verdict> NotConnected(RequestState& state, int sys);
  void WaitAtMost(int ms);  ///< then is_late_ is set, and we are woken
  std::optional<Verdict> AwaitHead(RequestState& state, bool is_late);
  std::optional<Verdict> ReadHead(RequestState& state, bool is_late);
  std::optional<Verdict> Unanswered(RequestState& state, int sys);
  void TakeLink(std::unique_ptr<Link> link, bool is_reused);
  void Flush();
  void DropWorker();
  void FinishLink(bool is_reusable);
  bool IsReusable() const;

  bool IsBodyHeld() const { return expects_ && !is_invited_; }
  void Invite();
  void PassInterim(RequestState& state);
  std::optional<Verdict> NoPing(RequestState& state);

  // proxy_head.cc
  std::string InterimHead() const;
  void BuildHead(RequestState& state);
  std::optional<Verdict> CheckMaxForwards(RequestState& state);
  void AppendFields(RequestState& state);
  std::string MappedLocation(RequestState& state, std::string_view url) const;
  /// The head of the answer stands; `rest` is what came behind it.
  Verdict Answer(RequestState& state, std::string_view rest);
  Verdict BeginTunnel(RequestState& state, std::string_view rest);
  void PassBody(RequestState& state, std::string_view rest);
  Verdict Fail(RequestState& state, int status, const std::string& message);
  static void Log(const RequestState& state, const char* module, std::string text);

  Pool& pool_;
  net::Waker waker_;
  Phase phase_ = Phase::kChoose;
  std::shared_ptr<const Worker> worker_;
  std::shared_ptr<const Balancer> balancer_;
  std::string balancer_path_;  ///< path and query behind the name of the balancer
  Session session_;
  std::vector<const Worker*> tried_;
  std::unique_ptr<Link> link_;
  TlsPlace tls_;
  bool is_distrusted_ = false;  ///< a member had no certificate that will do
  std::vector<os::SocketAddress> addresses_;
  size_t address_ = 0;
  std::unique_ptr<net::Timer> timer_;  ///< WaitAtMost()
  os::Fd name_event_;
  std::unique_ptr<net::Watch> name_watch_;
  bool is_late_ = false;    ///< the timer's time is up
  bool is_reused_ = false;  ///< the connection had been idle
  bool is_fresh_ = false;   ///< ... which the next must not have been
  bool is_readable_ = false;
  bool is_counted_ = false;  ///< in `busy` of the worker
  bool is_bound_ = false;    ///< no other member may be asked
  int timeout_ms_ = 0;

  // the request
  std::string head_;
  size_t head_done_ = 0;
  std::string body_;  ///< framed
  size_t body_done_ = 0;
  bool is_idempotent_ = false;
  bool is_head_ = false;
  bool has_body_ = false;
  bool is_chunked_ = false;  ///< the request's body
  bool expects_ = false;     ///< the backend is asked for 100 Continue, the head does not wait for the body ...
  bool is_invited_ = false;  ///< ... nor the body any more for that
  bool keeps_body_ = false;  ///< what was sent of it stays, to be sent again
  bool has_ended_ = false;   ///< all of the body is here
  bool is_broken_ = false;   ///< nothing more can be sent
  bool asks_upgrade_ = false;
  bool is_tunnel_ = false;

  // the answer
  std::string in_;  ///< head, as far as it came
  http::ResponseHead answer_;
  int interims_ = 0;  ///< 1xx answers that were passed on
  http::BodyReader reader_;
  std::string decoded_;  ///< of the body, not given out yet
  std::optional<uint64_t> length_;
  uint64_t given_ = 0;
  bool ends_at_close_ = false;
  bool source_waits_ = false;
  bool is_watched_ = true;  ///< for EPOLLIN
  int io_bytes_ = 0;
  const log::ErrorLog* error_log_ = nullptr;
  std::string client_;
};

}  // namespace httpd::modules::proxy
