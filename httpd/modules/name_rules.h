#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "httpd/modules/name_lookup.h"
#include "httpd/modules/request_state.h"
#include "httpd/net/reactor.h"

namespace httpd::modules {

/// The name of the client, lower case, verified in both directions; "" = it has none, it is not known, or not yet.
/// Not yet: state.response->deferred is set, and nothing may be decided. A request that is no look-up waits for it
/// then.
std::string ClientName(RequestState& state);

/// Whether `name` has the client's address; false when it is not known yet, as above.
bool HasClientsAddress(RequestState& state, const std::string& name);

/// "example.org" matches itself and "www.example.org", ".example.org" the second only; without case.
bool IsInDomain(std::string_view domain, std::string_view name);

/// Stands between a request's body and whoever will take it, while that is not known: keeps what has come, not more
/// than one write of the loop, and lets the client wait.
class BodyGate {
 public:
  /// The sink to give to the loop.
  static std::unique_ptr<net::BodySink> SinkOf(std::shared_ptr<BodyGate> gate);

  /// From now on the body goes to `next`. Null: it is not wanted. The connection is to be woken after this.
  void Open(std::unique_ptr<net::BodySink> next);

 private:
  class Sink;
  net::BodySink::State Write(std::string_view data);
  void End();

  std::unique_ptr<net::BodySink> next_;
  std::string kept_;
  bool is_open_ = false;
  bool has_ended_ = false;
};

/// A request that waits for names. Its Resume() says Declined when all of them are known, or the time is up: the
/// request goes through the stations again from `translate`, 16 times at most; that is no redirect.
class NameWait final : public DeferredAnswer {
 public:
  /// nullptr: there is no descriptor left.
  static std::unique_ptr<NameWait> Begin(const RequestState& state);

  /// One more name. @return false: too many wait already
  bool Add(const NameQuestion& question);

  std::optional<Verdict> Resume(RequestState& state, bool is_late) override;

  /// Of the request's body; null: nobody wants it any more.
  std::shared_ptr<BodyGate> gate() const { return gate_; }
  void set_gate(std::shared_ptr<BodyGate> gate) { gate_ = std::move(gate); }

 private:
  std::vector<NameQuestion> questions_;
  std::shared_ptr<BodyGate> gate_;
  os::Fd event_;
  std::unique_ptr<net::Watch> watch_;
  std::unique_ptr<net::Timer> patience_;
  bool is_over_ = false;
};

bool WaitsForNames(const RequestState& state);

/// After another pass: the body is for whoever takes it now, or is kept on.
void PassBodyOn(RequestState& state, const std::shared_ptr<BodyGate>& gate);

}  // namespace httpd::modules
