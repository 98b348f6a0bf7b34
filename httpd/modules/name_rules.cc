#include "httpd/modules/name_rules.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>
#include <vector>

#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/cgi_environment.h"
#include "httpd/modules/core_settings.h"
#include "httpd/modules/module.h"

namespace httpd::modules {

namespace {

using Answer = NameLookup::Answer;

constexpr int kMostRepeats = 16;
constexpr int kPatienceMs = 20000;

/// %{names-waited-for}n
constexpr char kWaitsNote[] = "names-waited-for";

/// Of a look-up, which cannot wait.
class NotKnown final : public net::Deferred {};

/// false: it cannot wait.
bool WaitFor(RequestState& state, const NameQuestion& question) {
  net::Response& response = *state.response;
  if (auto* waiting = dynamic_cast<NameWait*>(response.deferred.get())) return waiting->Add(question);
  const auto note = state.notes.find(kWaitsNote);
  const int waits = note == state.notes.end() ? 0 : std::atoi(note->second.c_str());
  if (waits == kMostRepeats) return false;
  auto wait = NameWait::Begin(state);
  if (!wait || !wait->Add(question)) return false;
  state.notes[kWaitsNote] = std::to_string(waits + 1);
  if (waits == 0 && !IsBodyGone(state)) {
    wait->set_gate(std::make_shared<BodyGate>());
    response.sink = BodyGate::SinkOf(wait->gate());
    // The loop begins to read the body now, perhaps before the hook that says this was asked.
    const auto* core = SettingsFor<CoreSettings>(state);
    if (core && core->body_limit) response.body_limit = *core->body_limit;
  }
  response.deferred = std::move(wait);
  return true;
}

Answer AskAbout(RequestState& state, NameQuestion::Kind kind, std::string_view text) {
  const NameQuestion question{kind, std::string(text)};
  NameLookup& lookup = NameLookup::Shared();
  const bool is_look_up = state.is_subrequest();
  if (auto known = lookup.Find(question, is_look_up ? NameLookup::Age::kAny : NameLookup::Age::kFresh)) return *known;
  if (!state.request->reactor) return NameLookup::Resolve(question);
  if (!is_look_up) {
    WaitFor(state, question);
  } else if (lookup.Ask(question, -1)) {
    state.response->deferred = std::make_unique<NotKnown>();
  }
  return {};
}

}  // namespace

std::unique_ptr<NameWait> NameWait::Begin(const RequestState& state) {
  auto out = std::make_unique<NameWait>();
  out->event_ = os::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!out->event_.valid()) return nullptr;
  net::Reactor& reactor = *state.request->reactor;
  const net::Waker waker = reactor.WakerOf(*state.request);
  auto watch = reactor.WatchDescriptor(out->event_.get(), EPOLLIN, [fd = out->event_.get(), waker](uint32_t) {
    eventfd_t count = 0;
    ::eventfd_read(fd, &count);
    waker.Wake();
  });
  if (!watch) return nullptr;
  out->watch_ = std::move(watch).value();
  // Before the connection's own time is up: a program may have to answer after this.
  const std::chrono::milliseconds patience(std::min(kPatienceMs, state.response->timeout_ms / 2));
  out->patience_ = reactor.After(patience, [wait = out.get(), waker] {
    wait->is_over_ = true;
    waker.Wake();
  });
  return out;
}

bool NameWait::Add(const NameQuestion& question) {
  if (!NameLookup::Shared().Ask(question, event_.get())) return false;
  questions_.push_back(question);
  return true;
}

std::optional<Verdict> NameWait::Resume(RequestState&, bool is_late) {
  NameLookup& lookup = NameLookup::Shared();
  for (const NameQuestion& question : questions_) {
    if (lookup.Find(question)) continue;
    if (!is_late && !is_over_) return std::nullopt;
    lookup.GiveUp(question);
  }
  return Verdict::Declined();
}

bool WaitsForNames(const RequestState& state) {
  return dynamic_cast<const NameWait*>(state.response->deferred.get()) != nullptr;
}

void PassBodyOn(RequestState& state, const std::shared_ptr<BodyGate>& gate) {
  if (!gate) return;
  if (auto* again = dynamic_cast<NameWait*>(state.response->deferred.get())) {
    again->set_gate(gate);
    return;
  }
  gate->Open(std::move(state.response->sink));
  state.request->reactor->WakerOf(*state.request).Wake();
}

std::string ClientName(RequestState& state) {
  std::string_view client = state.client_address();
  client = client.substr(0, client.find('%'));
  if (!http::Network::Parse(client)) return "";  // the private socket
  Answer answer = AskAbout(state, NameQuestion::Kind::kNameOf, client);
  return answer.empty() ? "" : std::move(answer.front());
}

bool HasClientsAddress(RequestState& state, const std::string& name) {
  const Answer addresses = AskAbout(state, NameQuestion::Kind::kAddressesOf, name);
  return std::any_of(addresses.begin(), addresses.end(), [&state](const std::string& address) {
    const auto network = http::Network::Parse(address.substr(0, address.find('%')));
    return network && network.value().Holds(state.client_address());
  });
}

bool IsInDomain(std::string_view domain, std::string_view name) {
  if (domain.empty() || domain.size() > name.size()) return false;
  const size_t before = name.size() - domain.size();
  if (!http::EqualsIgnoreCase(name.substr(before), domain)) return false;
  return before == 0 || domain.front() == '.' || name[before - 1] == '.';
}

class BodyGate::Sink final : public net::BodySink {
 public:
  explicit Sink(std::shared_ptr<BodyGate> gate) : gate_(std::move(gate)) {}
  ~Sink() override { gate_->next_.reset(); }
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  State Write(std::string_view data) override { return gate_->Write(data); }
  bool WantsMore() const override { return gate_->is_open_ && (!gate_->next_ || gate_->next_->WantsMore()); }
  void End() override { gate_->End(); }

 private:
  std::shared_ptr<BodyGate> gate_;
};

std::unique_ptr<net::BodySink> BodyGate::SinkOf(std::shared_ptr<BodyGate> gate) {
  return std::make_unique<Sink>(std::move(gate));
}

net::BodySink::State BodyGate::Write(std::string_view data) {
  if (is_open_) return next_ ? next_->Write(data) : net::BodySink::State::kEnough;
  kept_ += data;
  return net::BodySink::State::kWait;
}

void BodyGate::End() {
  has_ended_ = true;
  if (next_) next_->End();
}

void BodyGate::Open(std::unique_ptr<net::BodySink> next) {
  is_open_ = true;
  next_ = std::move(next);
  const std::string kept = std::exchange(kept_, {});
  if (next_ && !kept.empty() && next_->Write(kept) == net::BodySink::State::kEnough) next_.reset();
  if (next_ && has_ended_) next_->End();
}

}  // namespace httpd::modules
