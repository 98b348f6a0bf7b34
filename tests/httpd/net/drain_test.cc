#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

#include "handover/passing.h"
#include "httpd/net/event_loop.h"
#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

void DrainTo(RunningLoop& loop, int successor, bool read_intake = false) {
  DrainPlan plan;
  plan.successor = successor;
  plan.read_intake = read_intake;
  loop.Do([plan](EventLoop& l) { l.Drain(plan); });
}

TEST(Drain, WithoutASuccessorTheNextAnswerSaysClose) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Answer(), Not(HasSubstr("Connection: close")));
  DrainTo(loop, -1);
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Answer(), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(client.AtEnd());
  client.Close();
  EXPECT_TRUE(loop.Ended());
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST(Drain, WithoutConnectionsItEndsAtOnce) {
  FakeHandler handler;
  RunningLoop loop(handler);
  DrainTo(loop, -1);
  EXPECT_TRUE(loop.Ended());
}

TEST(Drain, ARequestInProgressIsFinished) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port(), 4096);
  ASSERT_TRUE(client.Send("GET /file/5000000 HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  Client upload(loop.port());
  ASSERT_TRUE(upload.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab"));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().busy == 2; }));
  DrainTo(loop, -1);
  ASSERT_TRUE(upload.Send("cd"));
  EXPECT_THAT(upload.Answer(), HasSubstr("Connection: close\r\n"));
  EXPECT_GT(client.Answer().size(), 5000000u);
}

TEST(Drain, IdleConnectionsGoToTheSuccessorAndAreServedThere) {
  FakeHandler old_handler;
  FakeHandler new_handler;
  RunningLoop successor(new_handler);
  RunningLoop loop(old_handler);
  Client used(loop.port());
  ASSERT_TRUE(used.Send(kGet));
  EXPECT_THAT(used.Answer(), EndsWith("ok"));
  Client fresh(loop.port());
  EXPECT_TRUE(loop.Until([&] { return loop.counters().connections == 2; }));
  DrainTo(loop, successor.intake_sender());
  EXPECT_TRUE(loop.Ended());
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_EQ(loop.counters().passed, 2u);
  EXPECT_TRUE(successor.Until([&] { return successor.counters().adopted == 2; }));
  EXPECT_EQ(successor.counters().keepalive, 1u);
  for (Client* client : {&used, &fresh}) {
    ASSERT_TRUE(client->Send(kGet));
    const std::string answer = client->Answer();
    EXPECT_THAT(answer, EndsWith("ok"));
    EXPECT_THAT(answer, Not(HasSubstr("Connection: close")));
  }
  EXPECT_EQ(new_handler.Log()[0].requests_before, 1u) << "MaxKeepAliveRequests goes on counting";
  EXPECT_THAT(new_handler.Log()[0].client, StartsWith("127.0.0.1:"));
  used.Close();
  fresh.Close();
  EXPECT_TRUE(successor.EverythingIsZero());
}

TEST(Drain, BytesThatWereReadGoAlong) {
  FakeHandler old_handler;
  FakeHandler new_handler;
  RunningLoop successor(new_handler);
  RunningLoop loop(old_handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("GET /3 HTT"));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().connections == 1; }));
  for (int i = 0; i < 5; ++i) loop.Do([](EventLoop&) {});
  DrainTo(loop, successor.intake_sender());
  EXPECT_TRUE(loop.Ended());
  ASSERT_TRUE(client.Send("P/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_THAT(client.Answer(), EndsWith("\r\n\r\nbbb"));
  EXPECT_TRUE(old_handler.Log().empty());
}

TEST(Drain, PipelinedRequestsBehindATransferAreAnsweredByTheSuccessor) {
  FakeHandler old_handler;
  FakeHandler new_handler;
  RunningLoop successor(new_handler);
  RunningLoop loop(old_handler);
  Client client(loop.port(), 4096);
  ASSERT_TRUE(client.Send("GET /file/5000000 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  DrainTo(loop, successor.intake_sender());
  const std::string first = client.Answer();
  EXPECT_GT(first.size(), 5000000u);
  EXPECT_THAT(first.substr(0, 500), Not(HasSubstr("Connection: close")));
  EXPECT_THAT(client.Answer(), EndsWith("\r\n\r\nbbb"));
  EXPECT_TRUE(loop.Ended());
  EXPECT_EQ(old_handler.Log().size(), 1u);
  EXPECT_EQ(new_handler.Log().size(), 1u);
}

TEST(Drain, MoreConnectionsThanFitInOnePacketAllArrive) {
  FakeHandler old_handler;
  FakeHandler new_handler;
  RunningLoop successor(new_handler);
  RunningLoop loop(old_handler);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 250; ++i) {
    clients.push_back(std::make_unique<Client>(loop.port()));
    ASSERT_TRUE(clients.back()->Send("GET /" + std::string(3, '1')));
  }
  EXPECT_TRUE(loop.Until([&] { return loop.counters().connections == 250; }));
  DrainTo(loop, successor.intake_sender());
  EXPECT_TRUE(loop.Ended());
  EXPECT_EQ(loop.counters().passed, 250u);
  for (auto& client : clients) {
    ASSERT_TRUE(client->Send(" HTTP/1.1\r\nHost: h\r\n\r\n"));
    EXPECT_THAT(client->Answer(), EndsWith(std::string(111, 'b')));
  }
}

TEST(Drain, WhenTheSuccessorIsGoneConnectionsAreServedHereAndTold) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Answer(), EndsWith("ok"));
  Client partial(loop.port());
  ASSERT_TRUE(partial.Send("GET / HT"));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().connections == 2; }));
  auto gone = os::SocketPair(SOCK_SEQPACKET, SOCK_NONBLOCK).value();
  gone.first.Reset();
  DrainTo(loop, gone.second.get());
  EXPECT_THAT(loop.Troubles().at(0), HasSubstr("serving them here"));
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Answer(), HasSubstr("Connection: close\r\n"));
  ASSERT_TRUE(partial.Send("TP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_THAT(partial.Answer(), HasSubstr("Connection: close\r\n"));
  client.Close();
  partial.Close();
  EXPECT_TRUE(loop.Ended());
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_EQ(loop.counters().passed, 0u);
}

TEST(Drain, ASuccessorThatIsSlowToTakeGetsThemLater) {
  FakeHandler handler;
  RunningLoop loop(handler);
  auto slow = os::SocketPair(SOCK_SEQPACKET, SOCK_NONBLOCK).value();
  while (os::SendPacket(slow.second, std::string(1000, 'x'))) {
  }
  Client client(loop.port());
  EXPECT_TRUE(loop.Until([&] { return loop.counters().connections == 1; }));
  DrainTo(loop, slow.second.get());
  EXPECT_EQ(loop.counters().passed, 0u);
  while (loop.counters().passed == 0) {
    auto packet = os::ReceivePacket(slow.first);
    ASSERT_TRUE(packet || packet.error().kind == os::ErrorKind::kBusy);
    if (!packet) loop.Do([](EventLoop&) {});
  }
  EXPECT_TRUE(loop.Ended());
}

TEST(Drain, TheYoungestReadsItsIntakeToTheEnd) {
  FakeHandler old_handler;
  FakeHandler new_handler;
  RunningLoop successor(new_handler);
  RunningLoop loop(old_handler);
  const os::Fd sender = loop.TakeIntakeSender();
  DrainTo(loop, successor.intake_sender(), true);
  // Somebody older still passes a connection to us: it goes on to our successor.
  Client client(successor.port());
  EXPECT_TRUE(successor.Until([&] { return successor.counters().connections == 1; }));
  auto pair = os::SocketPair(SOCK_STREAM, 0).value();
  Client passed(std::move(pair.first));
  std::vector<handover::PassedConnection> list(1);
  list[0].fd = std::move(pair.second);
  list[0].requests = 1;
  list[0].unread = "GET /4 ";
  ASSERT_TRUE(handover::Send(sender, handover::PackConnections(list)));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().passed == 1; }));
  ASSERT_TRUE(passed.Send("HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_THAT(passed.Answer(), EndsWith("bbbb"));
  const_cast<os::Fd&>(sender).Reset();
  EXPECT_TRUE(loop.Ended());
}

TEST(Drain, AnAdoptedConnectionKeepsTheKeepAliveTimeItsClientWasTold) {
  FakeHandler handler;
  handler.timeout_ms = 150;
  handler.keep_alive_timeout_ms = 30000;
  RunningLoop loop(handler);
  auto pair = os::SocketPair(SOCK_STREAM, 0).value();
  Client client(std::move(pair.first));
  std::vector<handover::PassedConnection> list(1);
  list[0].fd = std::move(pair.second);
  list[0].requests = 1;
  const os::Fd sender = loop.TakeIntakeSender();
  ASSERT_TRUE(handover::Send(sender, handover::PackConnections(list)));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().keepalive == 1; }));
  // A silent connection that came later is closed by its time: the sweep has passed the adopted one, too.
  Client silent(loop.port());
  EXPECT_TRUE(silent.AtEnd());
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Answer(), EndsWith("ok"));
}

TEST(Drain, GarbageInTheIntakeIsReportedAndHarmless) {
  FakeHandler handler;
  RunningLoop loop(handler);
  const os::Fd sender = loop.TakeIntakeSender();
  ASSERT_TRUE(os::SendPacket(sender, "nonsense"));
  EXPECT_TRUE(loop.Until([&] { return !loop.Troubles().empty(); }));
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Answer(), EndsWith("ok"));
}

}  // namespace
}  // namespace httpd::net
