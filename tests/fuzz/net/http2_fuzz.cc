// Whatever a client of HTTP/2 sends behind the preface: the loop ends, every answer that was begun is logged once, and
// nothing is counted that is no more. The first byte cuts the rest in two pieces, which are read one after the other.
#include <signal.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "handover/passing.h"
#include "httpd/net/event_loop.h"
#include "os/socket.h"

namespace {

using namespace httpd;

void Require(bool good) {
  if (!good) std::abort();
}

class Handler final : public net::RequestHandler {
 public:
  void Handle(const net::Request& request, net::Response& response) override {
    Require(request.head->major == 2 && request.stream_id != 0);
    ++begun;
    response.fields = "X-Path: " + std::string(request.head->path) + "\r\n";
    response.body.assign(request.head->path.size() * 1000, 'b');
    response.without_body = request.head->method == http::Method::kHead;
  }
  void Resume(const net::Request&, net::Response&, bool) override { Require(false); }
  void HandleBad(const net::Request&, int status, const char*, net::Response& response) override {
    ++bad;
    response.status = status;
  }
  void Keep(const net::Request&, net::Response&) override {}
  void Finish(const net::Request&, const net::Response&, const net::Outcome&) override { ++finished; }
  bool EndTurn() override { return true; }
  std::string_view ServerName() const override { return "Fuzz"; }
  net::ReadTimeout ReadTimeoutOf(const net::Request&, bool) const override { return {}; }
  int FirstTimeoutMs() const override { return 60000; }
  int IdleTimeoutMs() const override { return 5000; }
  uint64_t LostLogLines() const override { return 0; }
  uint64_t BodyLimit() const override { return 5000; }
  const http::HeadLimits& Limits() const override { return limits; }
  const net::Http2Terms& Http2Of(const net::Request&) const override { return terms; }

  http::HeadLimits limits{.line = 200, .fields = 8, .field_size = 200};
  net::Http2Terms terms{.over_plain = true, .max_streams = 5, .window = 3000, .padding_bits = 2};
  int begun = 0, bad = 0, finished = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 50000) return 0;
  static const bool is_set = ::signal(SIGPIPE, SIG_IGN) != SIG_ERR;
  Require(is_set);
  const std::string all =
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + std::string(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t cut = 16 + (all.size() - 16) * data[0] / 256;
  auto intake = os::SocketPair(SOCK_SEQPACKET, SOCK_NONBLOCK).value();
  auto client = os::SocketPair(SOCK_STREAM, 0).value();
  Handler handler;
  auto slot = std::make_unique<net::LoopSlot>();
  {
    net::EventLoop::Setup setup;
    setup.intake = intake.first.get();
    setup.slot = slot.get();
    net::EventLoop loop(std::move(setup), handler);
    Require(loop.Open().has_value());
    handover::PassedConnection passed;
    passed.fd = std::move(client.second);
    passed.unread = all.substr(0, cut);
    const std::string rest = all.substr(cut);
    Require(::send(client.first.get(), rest.data(), rest.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(rest.size()));
    ::shutdown(client.first.get(), SHUT_WR);
    std::vector<handover::PassedConnection> list;
    list.push_back(std::move(passed));
    Require(handover::Send(intake.second, handover::PackConnections(list)).has_value());
    intake.second.Reset();
    net::DrainPlan plan;
    plan.read_intake = true;
    loop.Drain(plan);
    loop.Run();
  }
  const net::LoopCounters& counters = slot->counters;
  Require(counters.connections == 0 && counters.busy == 0 && counters.writing == 0 && counters.keepalive == 0);
  Require(handler.finished >= handler.begun && handler.finished <= handler.begun + handler.bad);
  return 0;
}
