#include "httpd/net/event_loop.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

std::string Get(const std::string& path, const std::string& fields = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n";
}

std::string BodyOf(const std::string& answer) {
  const size_t at = answer.find("\r\n\r\n");
  return at == std::string::npos ? "" : answer.substr(at + 4);
}

TEST(EventLoop, AnswersAndKeepsTheConnection) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  for (uint32_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.Send(kGet));
    const std::string answer = client.Answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\nDate: "));
    EXPECT_THAT(answer, HasSubstr("\r\nServer: Fake\r\nContent-Length: 2\r\n\r\nok"));
    EXPECT_THAT(answer, Not(HasSubstr("Connection:")));
  }
  EXPECT_TRUE(loop.Until([&] { return loop.counters().keepalive == 1; }));
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_EQ(loop.counters().accesses, 3u);
  EXPECT_EQ(loop.counters().accepted, 1u);
  EXPECT_EQ(handler.Log()[2].requests_before, 2u);
}

TEST(EventLoop, AHeadMayArriveByteByByte) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  for (const char byte : std::string(kGet)) {
    ASSERT_TRUE(client.Send(std::string_view(&byte, 1)));
    loop.Do([](EventLoop&) {});
  }
  EXPECT_THAT(client.Answer(), EndsWith("ok"));
  EXPECT_EQ(handler.Log().size(), 1u);
}

TEST(EventLoop, PipelinedRequestsAreAnsweredInTheirOrder) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  std::string requests;
  for (int i = 1; i <= 50; ++i) requests += Get("/" + std::to_string(i));
  // A transfer, an upload and a long body in the middle: each stops the batch in its own way.
  requests += Get("/file/300000") + "POST /7 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + Get("/400000") +
              Get("/3");
  ASSERT_TRUE(client.Send(requests));
  for (size_t i = 1; i <= 50; ++i) ASSERT_EQ(BodyOf(client.Answer()).size(), i);
  EXPECT_EQ(BodyOf(client.Answer()), std::string(300000, 'f'));
  EXPECT_EQ(BodyOf(client.Answer()).size(), 7u);
  EXPECT_EQ(BodyOf(client.Answer()).size(), 400000u);
  EXPECT_EQ(BodyOf(client.Answer()).size(), 3u);
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST(EventLoop, AClientThatShutsItsWritingSideStillGetsItsAnswer) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(Get("/file/3000000")));
  client.ShutDownWriting();
  EXPECT_EQ(BodyOf(client.Answer()).size(), 3000000u);
  EXPECT_TRUE(client.AtEnd());
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST(EventLoop, ConnectionCloseIsHonouredAndSaid) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(Get("/", "Connection: close\r\n")));
  EXPECT_THAT(client.Answer(), HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_TRUE(client.AtEnd());
}

TEST(EventLoop, AnOldClientGetsKeepAliveOnlyWhenItAsks) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client plain(loop.port());
  ASSERT_TRUE(plain.Send("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_THAT(plain.Answer(), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(plain.AtEnd());
  Client asking(loop.port());
  ASSERT_TRUE(asking.Send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  EXPECT_THAT(asking.Answer(), HasSubstr("Keep-Alive: timeout=5\r\nConnection: Keep-Alive\r\n"));
}

TEST(EventLoop, TheLastKeepAliveRequestSaysSo) {
  FakeHandler handler;
  handler.max_keep_alive_requests = 3;
  RunningLoop loop(handler);
  Client client(loop.port());
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(client.Send(Get("/", "Connection: keep-alive\r\n")));
    EXPECT_THAT(client.Answer(), HasSubstr("Keep-Alive: timeout=5, max=" + std::to_string(2 - i)));
  }
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Answer(), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(client.AtEnd());
}

TEST(EventLoop, AHeadAnswerHasTheLengthAndNoBody) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("HEAD /77 HTTP/1.1\r\nHost: h\r\n\r\n" + Get("/")));
  EXPECT_THAT(client.Answer(true), EndsWith("Content-Length: 77\r\n\r\n"));
  EXPECT_THAT(client.Answer(), EndsWith("\r\n\r\nok"));
}

// ---------------------------------------------------------------------------------------------------- uploads

TEST(EventLoop, ABodyIsReadBeforeTheNextRequest) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n01234"));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().busy == 1; }));
  ASSERT_TRUE(client.Send("56789" + Get("/2")));
  EXPECT_EQ(BodyOf(client.Answer()), "b");
  EXPECT_EQ(BodyOf(client.Answer()), "bb");
  EXPECT_EQ(handler.Log()[0].line, "POST /1 HTTP/1.1");
  EXPECT_EQ(handler.Log()[0].bytes_in, 49u + 10u);
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST(EventLoop, AChunkedBodyMayArriveInPieces) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  for (const char* piece : {"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r", "\nhel",
                            "lo\r\n0\r\n", "X-T: 1\r\n", "\r\nGET /2 HTTP/1.1\r\n", "Host: h\r\n\r\n"}) {
    ASSERT_TRUE(client.Send(piece));
    loop.Do([](EventLoop&) {});
  }
  EXPECT_EQ(BodyOf(client.Answer()), "b");
  EXPECT_EQ(BodyOf(client.Answer()), "bb");
}

TEST(EventLoop, ExpectIsAnsweredBeforeTheBody) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(client.Answer(), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(client.Send("abc"));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 200 OK"));
}

TEST(EventLoop, ABodyThatIsTooLargeIsRefusedAtOnceAndNotAskedFor) {
  FakeHandler handler;
  handler.body_limit = 1000;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n"));
  const std::string answer = client.Answer();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(client.AtEnd());
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST(EventLoop, AClientThatGoesOnSendingGetsTheRefusalAllTheSame) {
  FakeHandler handler;
  handler.body_limit = 1000;
  RunningLoop loop(handler);
  Client client(loop.port());
  // Without lingering the unread bytes would turn into a reset that overtakes the answer.
  ASSERT_TRUE(client.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n" + std::string(3000000, 'x')));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 413 "));
  EXPECT_TRUE(client.AtEnd());
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST(EventLoop, OtherConnectionsAreServedWhileOneIsSendingWithoutEnd) {
  FakeHandler handler;
  handler.body_limit = 1000;
  RunningLoop loop(handler);
  Client flood(loop.port());
  std::atomic<bool> stop = false;
  std::thread sender([&] {
    flood.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n");
    const std::string bytes(1 << 20, 'x');
    while (!stop && flood.Send(bytes)) {
    }
  });
  EXPECT_TRUE(loop.Until([&] { return loop.counters().closing == 1; }));
  for (int i = 0; i < 20; ++i) {
    Client client(loop.port());
    ASSERT_TRUE(client.Send(kGet));
    EXPECT_THAT(client.Answer(), EndsWith("ok"));
  }
  stop = true;
  sender.join();
}

TEST(EventLoop, AChunkedBodyThatGrowsTooLargeIsRefused) {
  FakeHandler handler;
  handler.body_limit = 1000;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"));
  ASSERT_TRUE(client.Send("200\r\n" + std::string(512, 'x') + "\r\n200\r\n" + std::string(512, 'x') + "\r\n"));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 413 "));
  EXPECT_TRUE(client.AtEnd());
}

TEST(EventLoop, ABodyThatCannotBeUnderstoodEndsTheConnection) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 400 "));
  EXPECT_TRUE(client.AtEnd());
  EXPECT_EQ(handler.Log()[0].line, "POST / HTTP/1.1");
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST(EventLoop, AClientThatLeavesInTheMiddleOfItsBodyLeavesNothingBehind) {
  FakeHandler handler;
  RunningLoop loop(handler);
  {
    Client client(loop.port());
    ASSERT_TRUE(client.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n012"));
    EXPECT_TRUE(loop.Until([&] { return loop.counters().busy == 1; }));
  }
  EXPECT_TRUE(loop.EverythingIsZero());
}

// ---------------------------------------------------------------------------------------------------- bad heads

TEST(EventLoop, ABadHeadIsAnsweredLoggedAndClosed) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\n\r\n"));  // no Host
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 400 "));
  EXPECT_TRUE(client.AtEnd());
  ASSERT_EQ(handler.Log().size(), 1u);
  EXPECT_EQ(handler.Log()[0].line, "GET / HTTP/1.1");
  EXPECT_FALSE(handler.Log()[0].kept_alive);
}

TEST(EventLoop, AHeadWithoutEndIsRefusedAndNotKept) {
  FakeHandler handler;
  handler.limits.fields = 0;
  handler.limits.field_size = 1U << 20;
  RunningLoop loop(handler);
  Client client(loop.port());
  client.Send("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(70000, 'x'));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 431 "));
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST(EventLoop, AnErrorDocumentFromAFileReachesASlowClientWholeAndIsLogged) {
  FakeHandler handler;
  handler.bad_file_bytes = 4000000;
  RunningLoop loop(handler);
  Client client(loop.port(), 4096);
  ASSERT_TRUE(client.Send("GET / HTTP/1.1\r\nNonsense\r\n\r\n"));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  EXPECT_EQ(BodyOf(client.Answer()).size(), 4000000u);
  EXPECT_TRUE(client.AtEnd());
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
  ASSERT_EQ(handler.Log().size(), 1u);
  EXPECT_EQ(handler.Log()[0].line, "GET / HTTP/1.1");
  EXPECT_EQ(handler.Log()[0].body_bytes, 4000000u);
}

// ---------------------------------------------------------------------------------------------------- transfers

class Transfers : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Ways, Transfers, testing::Values("/file/", "/read/"));

TEST_P(Transfers, ASlowReaderGetsTheWholeFile) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port(), 4096);
  ASSERT_TRUE(client.Send(Get(GetParam() + std::string("6000000"))));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  EXPECT_EQ(loop.counters().busy, 1u);
  EXPECT_TRUE(BodyOf(client.Answer()) == std::string(6000000, 'f'));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().keepalive == 1; }));
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Answer(), EndsWith("ok"));
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_EQ(handler.Log()[0].body_bytes, 6000000u);
  EXPECT_FALSE(handler.Log()[0].aborted);
}

TEST_P(Transfers, AReaderThatLeavesIsLoggedAsAborted) {
  FakeHandler handler;
  RunningLoop loop(handler);
  {
    Client client(loop.port(), 4096);
    ASSERT_TRUE(client.Send(Get(GetParam() + std::string("6000000"))));
    EXPECT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  }
  EXPECT_TRUE(loop.EverythingIsZero());
  ASSERT_EQ(handler.Log().size(), 1u);
  EXPECT_TRUE(handler.Log()[0].aborted);
  EXPECT_LT(handler.Log()[0].body_bytes, 6000000u);
}

TEST(EventLoop, PartsOfAFileComeWithTheirTexts) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(Get("/parts")));
  EXPECT_EQ(BodyOf(client.Answer()), "<ffffffffff|fffff>");
}

TEST(EventLoop, AFileThatBecameShorterEndsTheConnectionEarly) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(Get("/truncated") + Get("/")));
  const std::string got = client.Read(10000);
  EXPECT_THAT(got, HasSubstr("Content-Length: 100\r\n"));
  EXPECT_EQ(BodyOf(got).size(), 50u);
  EXPECT_TRUE(loop.EverythingIsZero());
  ASSERT_EQ(handler.Log().size(), 1u);
  EXPECT_TRUE(handler.Log()[0].aborted);
}

TEST(EventLoop, ALongBodyFromMemoryReachesASlowReader) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port(), 4096);
  ASSERT_TRUE(client.Send(Get("/5000000") + Get("/1")));
  EXPECT_EQ(BodyOf(client.Answer()).size(), 5000000u);
  EXPECT_EQ(BodyOf(client.Answer()), "b");
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

// ---------------------------------------------------------------------------------------------------- time

TEST(EventLoop, ARequestThatDoesNotArriveIsAnswered408) {
  FakeHandler handler;
  handler.timeout_ms = 150;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("GET / HTT"));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 408 "));
  EXPECT_TRUE(client.AtEnd());
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST(EventLoop, ABodyThatDoesNotArriveIsAnswered408AndLoggedUnderItsRequest) {
  FakeHandler handler;
  handler.timeout_ms = 150;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 408 "));
  EXPECT_TRUE(client.AtEnd());
  EXPECT_EQ(handler.Log()[0].line, "POST /slow HTTP/1.1");
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST(EventLoop, ASilentConnectionAndAnIdleOneAreClosedWithoutAWord) {
  FakeHandler handler;
  handler.timeout_ms = 150;
  handler.keep_alive_timeout_ms = 150;
  RunningLoop loop(handler);
  Client silent(loop.port());
  Client idle(loop.port());
  ASSERT_TRUE(idle.Send(kGet));
  EXPECT_THAT(idle.Answer(), EndsWith("ok"));
  EXPECT_TRUE(silent.AtEnd());
  EXPECT_TRUE(idle.AtEnd());
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_EQ(handler.Log().size(), 1u);
}

TEST(EventLoop, AReaderThatStandsStillIsGivenUp) {
  FakeHandler handler;
  handler.timeout_ms = 150;
  RunningLoop loop(handler);
  Client client(loop.port(), 4096);
  ASSERT_TRUE(client.Send(Get("/file/6000000")));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_TRUE(handler.Log()[0].aborted);
}

// ---------------------------------------------------------------------------------------------------- accepting

TEST(EventLoop, WithAcceptingOffConnectionsWaitInTheBacklog) {
  FakeHandler handler;
  RunningLoop loop(handler);
  loop.Do([](EventLoop& l) { l.SetAccepting(false); });
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  for (int i = 0; i < 20; ++i) loop.Do([](EventLoop&) {});
  EXPECT_EQ(loop.counters().accepted, 0u);
  loop.Do([](EventLoop& l) { l.SetAccepting(true); });
  EXPECT_THAT(client.Answer(), EndsWith("ok"));
}

/// A program that says nothing.
class SilentSource final : public BodySource {
 public:
  State Read(std::string&, size_t) override { return State::kWait; }
};

TEST(EventLoop, ABusyLoopAcceptsAgainWhenARequestIsDone) {
  FakeHandler handler;
  handler.answer = [](const Request&, Response& response) { response.source = std::make_unique<SilentSource>(); };
  RunningLoop loop(handler, [](EventLoop::Setup& setup) { setup.max_busy = 1; });
  Client busy(loop.port());
  ASSERT_TRUE(busy.Send(Get("/custom")));
  EXPECT_TRUE(loop.Until([&] { return loop.counters().busy == 1; }));
  Client waiting(loop.port());
  ASSERT_TRUE(waiting.Send(kGet));
  for (int i = 0; i < 20; ++i) loop.Do([](EventLoop&) {});
  EXPECT_EQ(loop.counters().accepted, 1u);
  busy.Close();
  EXPECT_THAT(waiting.Answer(), EndsWith("ok"));
}

TEST(EventLoop, ThePrivateSocketIsAnsweredWhileThePublicOnesAreNot) {
  FakeHandler handler;
  char directory[] = "/tmp/event_loop_test.XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::string path = std::string(directory) + "/http";
  const os::Fd listener = os::ListenUnix(path, SOCK_STREAM, 0600).value();
  {
    RunningLoop loop(handler, [&](EventLoop::Setup& setup) { setup.listeners.push_back({listener.get(), 0, true}); });
    loop.Do([](EventLoop& l) { l.SetAccepting(false); });
    { Client first(loop.port()); }  // leaves a port number in a Connection that may be used again
    Client client(os::ConnectUnix(path, SOCK_STREAM).value());
    ASSERT_TRUE(client.Send(kGet));
    EXPECT_THAT(client.Answer(), EndsWith("ok"));
    EXPECT_EQ(handler.Log()[0].client, "unix:0");
    EXPECT_EQ(loop.counters().accepted, 0u);
  }
  ::unlink(path.c_str());
  ::rmdir(directory);
}

TEST(EventLoop, WithoutDescriptorsConnectionsWaitAndAreServedLater) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());  // connected by the kernel; the loop has it, or will
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Answer(), EndsWith("ok"));
  ASSERT_TRUE(client.Send("G"));  // not idle: it would be given up
  EXPECT_TRUE(loop.Until([&] { return loop.counters().keepalive == 0; }));
  Client waiting(loop.port());
  // From here on no descriptor is free. The client's own socket exists already.
  loop.Do([](EventLoop& l) { l.SetAccepting(false); });
  Client late(loop.port());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int lowest = ::dup(0);
  ::close(lowest);
  rlimit small = before;
  small.rlim_cur = static_cast<rlim_t>(lowest);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &small), 0);
  ASSERT_TRUE(late.Send(kGet));
  loop.Do([](EventLoop& l) { l.SetAccepting(true); });
  EXPECT_TRUE(loop.Until([&] { return !loop.Troubles().empty(); }));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(loop.Troubles()[0], HasSubstr("Too many open files"));
  EXPECT_THAT(late.Answer(), EndsWith("ok"));
}

TEST(EventLoop, AChildThatHasServedEnoughAsksOnceToBeReplaced) {
  FakeHandler handler;
  std::atomic<int> asked = 0;
  RunningLoop loop(handler, [&](EventLoop::Setup& setup) {
    setup.max_connections = 2;
    setup.on_recycle = [&] { ++asked; };
  });
  for (int i = 0; i < 4; ++i) {
    Client client(loop.port());
    ASSERT_TRUE(client.Send(kGet));
    EXPECT_THAT(client.Answer(), EndsWith("ok"));
    EXPECT_EQ(asked, i < 1 ? 0 : 1);
  }
}

TEST(EventLoop, AClientIsKnownByTheAddressThatItComesFrom) {
  FakeHandler handler;
  RunningLoop loop(handler);
  for (const char* const address : {"127.0.0.1", "127.255.10.254", "127.0.100.99"}) {
    os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto from = os::SocketAddress::FromIp(address, 0);
    const auto to = os::SocketAddress::FromIp("127.0.0.1", loop.port());
    ASSERT_TRUE(from);
    ASSERT_TRUE(to);
    ASSERT_EQ(::bind(fd.get(), from.value().raw(), from.value().length()), 0);
    ASSERT_EQ(::connect(fd.get(), to.value().raw(), to.value().length()), 0);
    const auto own = os::SocketAddress::OfSocket(fd);
    ASSERT_TRUE(own);
    Client client(std::move(fd));
    ASSERT_TRUE(client.Send(kGet));
    EXPECT_THAT(client.Answer(), EndsWith("ok"));
    ASSERT_TRUE(loop.Until([&] { return !handler.Log().empty(); }));
    EXPECT_EQ(handler.Log().back().client, own.value().Text());
  }
}

TEST(EventLoop, WorkersShowTheRequestInProgress) {
  FakeHandler handler;
  RunningLoop loop(handler);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("POST /up HTTP/1.1\r\nHost: site\r\nContent-Length: 1\r\n\r\n"));
  EXPECT_TRUE(loop.Until([&] { return loop.slot().worker[0].state == 'W'; }));
  loop.Do([&](EventLoop&) {
    EXPECT_STREQ(loop.slot().worker[0].request, "POST /up HTTP/1.1");
    EXPECT_STREQ(loop.slot().worker[0].host, "site");
  });
  ASSERT_TRUE(client.Send("x"));
  EXPECT_THAT(client.Answer(), EndsWith("ok"));
  EXPECT_TRUE(loop.Until([&] { return loop.slot().worker[0].state == '_'; }));
}

}  // namespace
}  // namespace httpd::net
