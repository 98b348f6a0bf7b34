#include <gmock/gmock.h>

#include <atomic>

#include "tests/httpd/net/http2_client.h"
#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::Pair;
using testing::SizeIs;
using testing::StartsWith;

class Http2Test : public testing::Test {
 protected:
  Http2Test() { handler_.http2.over_plain = true; }
  bool Logged(RunningLoop& loop, size_t lines) {
    return loop.Until([&] { return handler_.Log().size() >= lines; });
  }
  FakeHandler handler_;
};

TEST_F(Http2Test, AnswersManyStreamsOfOneConnection) {
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  std::vector<int32_t> streams;
  for (int i = 0; i < 100; ++i) streams.push_back(client.Ask("/" + std::to_string(i * 100)));
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.UntilComplete(streams[i]));
    const auto& answer = client.Of(streams[i]);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, std::string(i * 100, 'b'));
    EXPECT_EQ(answer.Field("content-length"), std::to_string(i * 100));
    EXPECT_EQ(answer.Field("server"), "Fake");
    EXPECT_EQ(answer.Field("connection"), "(none)");
  }
  ASSERT_TRUE(Logged(loop, 100));
  EXPECT_EQ(handler_.Log()[0].line, "GET /0 HTTP/2.0");
  EXPECT_FALSE(handler_.Log()[0].aborted);
  EXPECT_TRUE(loop.Until([&] { return loop.counters().keepalive == 1 && loop.counters().busy == 0; }));
  EXPECT_EQ(loop.counters().accesses, 100u);
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST_F(Http2Test, UnderstandsWhatIsTornAtAnyByte) {
  RunningLoop loop(handler_);
  std::string all;
  {
    Http2Client writer(loop.port());
    writer.Ask("/7", "GET", {{"cookie", "a=1"}, {"cookie", "b=2"}});
    writer.Ask("/5", "POST", {}, "body");
    all = writer.TakeOutput();
  }
  for (size_t cut = 1; cut < all.size(); ++cut) {
    Http2Client client(loop.port());
    client.Ask("/7", "GET", {{"cookie", "a=1"}, {"cookie", "b=2"}});
    client.Ask("/5", "POST", {}, "body");
    ASSERT_EQ(client.TakeOutput(), all);
    ASSERT_TRUE(client.Send(std::string_view(all).substr(0, cut)));
    loop.Do([](EventLoop&) {});
    ASSERT_TRUE(client.Send(std::string_view(all).substr(cut)));
    ASSERT_TRUE(client.UntilComplete(1)) << "cut at " << cut;
    ASSERT_TRUE(client.UntilComplete(3)) << "cut at " << cut;
    EXPECT_EQ(client.Of(1).body, "bbbbbbb");
    EXPECT_EQ(client.Of(3).body, "bbbbb");
  }
}

TEST_F(Http2Test, GivesTheHandlerTheHeadThatHttp1WouldHave) {
  std::string seen;
  handler_.answer = [&](const Request& request, Response& response) {
    const http::RequestHead& head = *request.head;
    seen = std::string(head.Protocol()) + " " + std::string(head.authority) + " " + std::string(head.Find("Host")) +
           " " + std::string(head.path) + "?" + std::string(head.query) + " " + std::string(head.Find("Cookie")) + " " +
           std::string(head.Get(http::Known::kUserAgent)) + " " + std::to_string(request.stream_id) + " of " +
           std::to_string(head.fields.size());
    response.status = 404;
    response.fields = "X-UPPER: Case\r\nConnection: close\r\nTransfer-Encoding: x\r\nKeep-Alive: 5\r\nEmpty:\r\n";
  };
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const int32_t id = client.Ask("/custom?q=1", "GET", {{"cookie", "a=1"}, {"user-agent", "me"}, {"cookie", "b=2"}});
  ASSERT_TRUE(client.UntilComplete(id));
  EXPECT_EQ(seen, "HTTP/2.0 x x /custom?q=1 a=1; b=2 me 1 of 3") << "user-agent, cookie, host";
  EXPECT_EQ(client.Of(id).status, 404);
  EXPECT_EQ(client.Of(id).Field("x-upper"), "Case");
  EXPECT_EQ(client.Of(id).Field("empty"), "");
  for (const char* gone : {"connection", "transfer-encoding", "keep-alive"}) {
    EXPECT_EQ(client.Of(id).Field(gone), "(none)");
  }
}

TEST_F(Http2Test, AnswersThatAreAlikeHaveTheirOwnFields) {
  handler_.answer = [](const Request& request, Response& response) {
    response.fields = "X-N: " + std::string(request.head->query) + "\r\n";
    response.is_dated = request.head->Find("X-Dated").data() != nullptr;
    response.body = "same";
  };
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const auto ask = [&](const std::string& path, const Http2Client::Fields& fields) {
    const int32_t id = client.Ask(path, "GET", fields);
    EXPECT_TRUE(client.UntilComplete(id));
    return client.Of(id).Field("x-n") + (client.Of(id).Field("server") == "(none)" ? "" : " dated");
  };
  EXPECT_EQ(ask("/custom?1", {}), "1 dated");
  EXPECT_EQ(ask("/custom?2", {}), "2 dated");
  EXPECT_EQ(ask("/custom?2", {{"x-dated", ""}}), "2");
  EXPECT_EQ(ask("/custom?2", {}), "2 dated");
}

TEST_F(Http2Test, RefusesHeadsThatAreNone) {
  handler_.limits = {.line = 100, .fields = 5, .field_size = 200};
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const auto status = [&](const Http2Client::Fields& fields) {
    const int32_t id = client.AskRaw(fields);
    EXPECT_TRUE(client.Until([&] { return client.Of(id).is_closed; }));
    return client.Of(id).status;
  };
  const std::pair<std::string, std::string> get{":method", "GET"}, scheme{":scheme", "http"}, path{":path", "/5"};
  EXPECT_EQ(status({get, scheme, path, {":authority", "x"}}), 200);
  EXPECT_EQ(status({get, scheme, path, {"host", "x"}}), 200);
  EXPECT_EQ(status({get, scheme, path, {":authority", "x"}, {"host", "X"}}), 200);
  EXPECT_EQ(status({get, scheme, path, {":authority", "x"}, {"host", "y"}}), 400);
  EXPECT_EQ(status({get, scheme, path, {":authority", "a b"}}), 0);  // nghttp2: a stream error
  EXPECT_EQ(status({get, scheme, path}), 0);
  EXPECT_EQ(status({get, scheme, {":path", "/#"}, {":authority", "x"}}), 400);
  EXPECT_EQ(status({get, scheme, {":path", "/" + std::string(100, 'a')}, {":authority", "x"}}), 414);
  EXPECT_EQ(status({get, scheme, path, {":authority", "x"}, {"a", std::string(200, 'v')}}), 431);
  EXPECT_EQ(
      status(
          {get, scheme, path, {":authority", "x"}, {"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}, {"e", ""}, {"f", ""}}),
      431);
  EXPECT_EQ(status({get, scheme, path, {":authority", "x"}, {"connection", "close"}}), 0);
  EXPECT_EQ(status({get, scheme, path, {":authority", "x"}}), 200);  // the connection is as good as before
}

TEST_F(Http2Test, SendsNoBodyWhereThereIsNone) {
  handler_.answer = [](const Request&, Response& response) {
    response.status = 304;
    response.without_body = response.without_length = true;
  };
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const int32_t head = client.Ask("/500", "HEAD");
  const int32_t unchanged = client.Ask("/custom");
  ASSERT_TRUE(client.UntilComplete(head));
  ASSERT_TRUE(client.UntilComplete(unchanged));
  EXPECT_EQ(client.Of(head).Field("content-length"), "500");
  EXPECT_EQ(client.Of(head).body, "");
  EXPECT_EQ(client.Of(unchanged).status, 304);
  EXPECT_EQ(client.Of(unchanged).Field("content-length"), "(none)");
}

TEST_F(Http2Test, SendsFilesAndTheirParts) {
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const int32_t large = client.Ask("/file/3000000");
  const int32_t parts = client.Ask("/parts");
  const int32_t cut = client.Ask("/truncated");
  ASSERT_TRUE(client.UntilComplete(large));
  ASSERT_TRUE(client.UntilComplete(parts));
  ASSERT_TRUE(client.Until([&] { return client.Of(cut).is_closed; }));
  EXPECT_EQ(client.Of(large).body, std::string(3000000, 'f'));
  EXPECT_EQ(client.Of(parts).body, "<ffffffffff|fffff>");
  EXPECT_EQ(client.Of(cut).error, uint32_t{NGHTTP2_INTERNAL_ERROR});
  ASSERT_TRUE(Logged(loop, 3));
}

TEST_F(Http2Test, AStreamThatItsClientDoesNotTakeHoldsUpNoOther) {
  RunningLoop loop(handler_);
  Http2Client client(loop.port(), {.window = 1000});
  client.Flush();
  nghttp2_session_set_local_window_size(client.session(), NGHTTP2_FLAG_NONE, 0, 1 << 20);
  const nghttp2_settings_entry none[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}};
  nghttp2_submit_settings(client.session(), NGHTTP2_FLAG_NONE, none, 1);
  const int32_t stuck = client.Ask("/50000");
  ASSERT_TRUE(client.Until([&] { return client.Of(stuck).status == 200; }));
  const nghttp2_settings_entry some[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}};
  nghttp2_submit_settings(client.session(), NGHTTP2_FLAG_NONE, some, 1);
  const int32_t other = client.Ask("/30000");
  nghttp2_session_set_local_window_size(client.session(), NGHTTP2_FLAG_NONE, other, 60000);
  client.Flush();
  nghttp2_submit_window_update(client.session(), NGHTTP2_FLAG_NONE, other, 60000);
  ASSERT_TRUE(client.UntilComplete(other));
  EXPECT_EQ(client.Of(other).body.size(), 30000u);
  EXPECT_EQ(client.Of(stuck).body, "");
  nghttp2_submit_window_update(client.session(), NGHTTP2_FLAG_NONE, stuck, 60000);
  ASSERT_TRUE(client.UntilComplete(stuck));
  EXPECT_EQ(client.Of(stuck).body, std::string(50000, 'b'));
}

TEST_F(Http2Test, AClientThatNeverTakesItsAnswersIsGivenUp) {
  handler_.timeout_ms = 300;
  handler_.keep_alive_timeout_ms = 300;
  RunningLoop loop(handler_);
  Http2Client client(loop.port(), {.window = 0, .takes_data = false});
  for (int i = 0; i < 60; ++i) client.Ask("/100000");  // 6 MB: most of them must not even be made
  client.Flush();
  ASSERT_TRUE(loop.Until([&] { return loop.counters().busy >= 10; }));
  loop.Do([](EventLoop&) {});
  EXPECT_LE(loop.counters().busy, 11u);
  ASSERT_TRUE(client.UntilEnd());
  EXPECT_FALSE(client.goaways.empty());
  client.Close();
  ASSERT_TRUE(loop.EverythingIsZero());
  const auto log = handler_.Log();
  EXPECT_GT(log.size(), 5u);
  for (const auto& line : log) EXPECT_TRUE(line.aborted);
}

TEST_F(Http2Test, MoreStreamsThanAllowedAreRefused) {
  handler_.http2.max_streams = 2;
  handler_.answer = [](const Request&, Response& response) {
    struct Never final : Deferred {};
    response.deferred = std::make_unique<Never>();
  };
  handler_.resume = [](const Request&, Response&, bool) {};
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  for (int i = 0; i < 3; ++i) client.Ask("/custom");
  ASSERT_TRUE(client.Until([&] { return client.Of(5).is_closed; }));
  EXPECT_EQ(client.Of(5).error, uint32_t{NGHTTP2_REFUSED_STREAM});
  EXPECT_EQ(loop.counters().busy, 2u);
}

TEST_F(Http2Test, IsNotSpokenWhereProtocolsDoesNotNameIt) {
  handler_.http2.over_plain = false;
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kPreface));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 505 "));
}

TEST_F(Http2Test, AnHttp1ConnectionBecomesOneOfHttp2WhenItsClientAsks) {
  RunningLoop loop(handler_);
  Client first(loop.port());
  const std::string ask =
      "GET /5 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"
      "AAQAAP__\r\n\r\n";
  ASSERT_TRUE(first.Send(ask));
  EXPECT_EQ(first.Answer(), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
  ASSERT_TRUE(first.Send(std::string(kPreface) + Frame(NGHTTP2_SETTINGS, 0, 0, "")));
  std::string bytes;
  for (std::string byte; bytes.find("bbbbb") == std::string::npos && !(byte = first.Read(1)).empty();) bytes += byte;
  EXPECT_THAT(bytes, HasSubstr("bbbbb"));
  ASSERT_TRUE(Logged(loop, 1));
  EXPECT_EQ(handler_.Log()[0].line, "GET /5 HTTP/2.0");
}

TEST_F(Http2Test, AnUpgradeThatIsNotAllowedIsAnOrdinaryRequest) {
  handler_.http2.upgrade = false;
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(
      "GET /5 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n"));
  EXPECT_THAT(client.Answer(), HasSubstr("bbbbb"));
}

TEST_F(Http2Test, AnIdleConnectionIsToldBeforeItIsClosed) {
  handler_.keep_alive_timeout_ms = 200;
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  ASSERT_TRUE(client.UntilComplete(client.Ask("/5")));
  ASSERT_TRUE(client.UntilEnd());
  EXPECT_THAT(client.goaways, ElementsAre(Pair(1, uint32_t{NGHTTP2_NO_ERROR})));
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST_F(Http2Test, AHeadThatDoesNotEndIsNotWaitedForForEver) {
  handler_.head_timeout = {200, 200, 0};
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  ASSERT_TRUE(client.Flush());
  ASSERT_TRUE(client.Send(Frame(NGHTTP2_HEADERS, 0, 1, "\x82")));  // without END_HEADERS
  ASSERT_TRUE(client.UntilEnd());
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST_F(Http2Test, IdleConnectionsMakeRoomForOthers) {
  RunningLoop loop(handler_, [](EventLoop::Setup& setup) { setup.max_held = 1; });
  Http2Client first(loop.port());
  ASSERT_TRUE(first.UntilComplete(first.Ask("/5")));
  ASSERT_TRUE(loop.Until([&] { return loop.counters().keepalive == 1; }));
  Http2Client second(loop.port());
  ASSERT_TRUE(second.UntilComplete(second.Ask("/5")));
  ASSERT_TRUE(first.UntilEnd());
  EXPECT_THAT(first.goaways, SizeIs(1));
}

// ---- leaving ------------------------------------------------------------------------------------------------------

TEST_F(Http2Test, DrainingTellsTwiceAndServesWhatComesBetween) {
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  ASSERT_TRUE(client.UntilComplete(client.Ask("/5")));
  client.holds_ping_acks = true;
  loop.Do([](EventLoop& its) { its.Drain({}); });
  ASSERT_TRUE(client.Until([&] { return client.goaways.size() == 1; }));
  EXPECT_EQ(client.goaways[0], std::pair(int32_t{0x7fffffff}, uint32_t{NGHTTP2_NO_ERROR}));
  // What the client had sent before it read that. Its own session would not send it any more.
  std::string head = "\x82\x86\x84";         // GET http /
  head += std::string("\x01\x01", 2) + "x";  // :authority
  ASSERT_TRUE(client.Send(Frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 3, head)));
  ASSERT_TRUE(Logged(loop, 2));
  ASSERT_TRUE(client.Send(Frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "leaving.")));
  const std::string rest = client.ReadRaw();  // to the end of the connection
  EXPECT_THAT(rest, HasSubstr("ok"));
  EXPECT_THAT(rest, HasSubstr(Frame(NGHTTP2_GOAWAY, 0, 0, std::string("\0\0\0\3\0\0\0\0", 8))));
  client.Close();
  EXPECT_TRUE(loop.Ended());
  for (const auto& line : handler_.Log()) EXPECT_FALSE(line.aborted);
}

TEST_F(Http2Test, DrainingWaitsForStreamsInProgress) {
  RunningLoop loop(handler_);
  Http2Client client(loop.port(), {.window = 1000, .takes_data = false});
  const int32_t id = client.Ask("/40000");
  ASSERT_TRUE(client.Until([&] { return client.Of(id).body.size() == 1000; }));
  loop.Do([](EventLoop& its) { its.Drain({}); });
  ASSERT_TRUE(client.Until([&] { return client.goaways.size() == 2; }));
  EXPECT_FALSE(client.Of(id).is_closed);
  nghttp2_submit_window_update(client.session(), NGHTTP2_FLAG_NONE, id, 60000);
  ASSERT_TRUE(client.UntilComplete(id));
  EXPECT_EQ(client.Of(id).body.size(), 40000u);
  EXPECT_TRUE(client.UntilEnd());
  client.Close();
  EXPECT_TRUE(loop.Ended());
}

TEST_F(Http2Test, StreamsThatAreCutAreTold) {
  RunningLoop loop(handler_);
  Http2Client client(loop.port(), {.window = 1000, .takes_data = false});
  const int32_t first = client.Ask("/40000");
  const int32_t second = client.Ask("/30000");
  ASSERT_TRUE(client.Until([&] { return client.Of(first).body.size() + client.Of(second).body.size() == 2000; }));
  std::vector<std::string> cut;
  std::vector<uint64_t> left;
  loop.Do([&](EventLoop& its) {
    its.CutAndStop([&](const handover::CutRequest& request) {
      cut.push_back(request.request);
      left.push_back(request.bytes_left.value_or(0));
    });
  });
  EXPECT_THAT(cut, ElementsAre("GET /40000 HTTP/2.0", "GET /30000 HTTP/2.0"));
  EXPECT_THAT(left, ElementsAre(39000u, 29000u));
  EXPECT_THAT(handler_.Log(), SizeIs(2));
}

}  // namespace
}  // namespace httpd::net
