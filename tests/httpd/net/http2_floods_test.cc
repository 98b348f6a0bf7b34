// Clients that make work and want nothing: each is told to calm down, or at least its connection ends.
#include <gmock/gmock.h>

#include "tests/httpd/net/http2_client.h"
#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

struct Flood {
  const char* name;
  std::string (*frames)(int round);  ///< sent 10,000 times at most
  std::vector<uint32_t> errors;      ///< one of these ends the connection
};

std::string Head(int32_t stream, uint8_t flags, std::string more = "") {
  std::string head = "\x82\x86\x84";
  head += std::string("\x01\x01", 2) + "x" + more;
  return Frame(NGHTTP2_HEADERS, flags, stream, head);
}

constexpr uint8_t kWhole = NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM;

const Flood kFloods[] = {
    {"Pings", [](int) { return Frame(NGHTTP2_PING, 0, 0, "12345678"); }, {NGHTTP2_ENHANCE_YOUR_CALM}},
    {"Settings", [](int) { return Frame(NGHTTP2_SETTINGS, 0, 0, ""); }, {NGHTTP2_ENHANCE_YOUR_CALM}},
    {"Windows",
     [](int) { return Frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string_view("\0\0\0\1", 4)); },
     {NGHTTP2_ENHANCE_YOUR_CALM}},
    {"UnknownFrames", [](int) { return Frame(77, 0, 0, ""); }, {NGHTTP2_ENHANCE_YOUR_CALM}},
    {"Priorities",
     [](int) { return Frame(NGHTTP2_PRIORITY, 0, 1, std::string_view("\0\0\0\0\1", 5)); },
     {NGHTTP2_ENHANCE_YOUR_CALM}},
    {"EmptyData",
     [](int round) { return (round == 0 ? Head(1, NGHTTP2_FLAG_END_HEADERS) : "") + Frame(NGHTTP2_DATA, 0, 1, ""); },
     {NGHTTP2_ENHANCE_YOUR_CALM}},
    {"RapidResets",
     [](int round) {
       const int32_t id = 1 + 2 * round;
       return Head(id, kWhole) + Frame(NGHTTP2_RST_STREAM, 0, id, std::string_view("\0\0\0\x8", 4));
     },
     {NGHTTP2_ENHANCE_YOUR_CALM}},
    {"Continuations",
     [](int round) {
       return (round == 0 ? Head(1, 0) : "") + Frame(NGHTTP2_CONTINUATION, 0, 1, std::string(10, '\x88'));
     },
     {NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_INTERNAL_ERROR}},
    {"EmptyContinuations",
     [](int round) { return (round == 0 ? Head(1, 0) : "") + Frame(NGHTTP2_CONTINUATION, 0, 1, ""); },
     {NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_INTERNAL_ERROR}},
    {"MadeResets",
     [](int round) {
       const int32_t id = 1 + 2 * round;
       return Head(id, NGHTTP2_FLAG_END_HEADERS) + Frame(NGHTTP2_WINDOW_UPDATE, 0, id, std::string_view("\0\0\0\0", 4));
     },
     {NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_PROTOCOL_ERROR}},
};

class Floods : public testing::TestWithParam<Flood> {};

TEST_P(Floods, EndTheConnection) {
  FakeHandler handler;
  handler.http2.over_plain = true;
  RunningLoop loop(handler);
  Http2Client client(loop.port());
  ASSERT_TRUE(client.Flush());
  bool sent = true;
  for (int round = 0; round < 10000 && sent; ++round) sent = client.Send(GetParam().frames(round));
  EXPECT_TRUE(client.UntilEnd());
  if (!client.goaways.empty()) {  // a reset of the connection may have taken it along
    EXPECT_THAT(GetParam().errors, testing::Contains(client.goaways.back().second));
  }
  client.Close();
  EXPECT_TRUE(loop.EverythingIsZero());
  Http2Client next(loop.port());
  EXPECT_TRUE(next.UntilComplete(next.Ask("/5")));
}

INSTANTIATE_TEST_SUITE_P(Http2, Floods, testing::ValuesIn(kFloods),
                         [](const auto& its) { return std::string(its.param.name); });

TEST(Http2Heads, ThatGrowWhenTheyAreUnpackedAreNotKept) {
  FakeHandler handler;
  handler.http2.over_plain = true;
  handler.limits.fields = 0;
  RunningLoop loop(handler);
  Http2Client client(loop.port());
  ASSERT_TRUE(client.Flush());
  // One field of 3,000 bytes goes into the table, then it is named 5,000 times in one byte each: 15 MB.
  std::string bomb = std::string("\x40\x01", 2) + "a" + std::string("\x7f\xb9\x16", 3) + std::string(3000, 'v');
  bomb += std::string(5000, '\xbe');
  ASSERT_TRUE(client.Send(Head(1, kWhole, bomb)));
  client.Until([&] { return client.Of(1).status != 0; });
  ASSERT_TRUE(loop.Until([&] { return handler.Log().size() == 1; }));
  EXPECT_EQ(handler.Log()[0].status, 431);
}

/// A server and a client of raw frames: what it is sent in return is only read.
class Http2Limits : public testing::Test {
 protected:
  Http2Limits() {
    handler_.http2.over_plain = true;
    handler_.limits.fields = 0;
  }
  void Run() {
    loop_ = std::make_unique<RunningLoop>(handler_);
    client_ = std::make_unique<Http2Client>(loop_->port());
    ASSERT_TRUE(client_->Flush());
  }
  /// Everything that the server has sent, when it is told a frame that ends the connection.
  std::string AtTheEnd() {
    client_->Send(Frame(NGHTTP2_DATA, 0, 0, "x"));
    return client_->ReadRaw();
  }
  static std::string Reset(int32_t stream, char error) {
    return Frame(NGHTTP2_RST_STREAM, 0, stream, std::string(3, '\0') + error);
  }
  /// A field of 3,000 bytes, `times` times.
  static std::string Fields(size_t times) {
    return std::string("\x40\x01", 2) + "a" + std::string("\x7f\xb9\x16", 3) + std::string(3000, 'v') +
           std::string(times - 1, '\xbe');
  }

  FakeHandler handler_;
  std::unique_ptr<RunningLoop> loop_;
  std::unique_ptr<Http2Client> client_;
};

TEST_F(Http2Limits, TrailersEndABodyAndAreNotKept) {
  Run();
  const std::string body = Head(1, NGHTTP2_FLAG_END_HEADERS) + Frame(NGHTTP2_DATA, 0, 1, "abc");
  ASSERT_TRUE(client_->Send(body + Frame(NGHTTP2_HEADERS, kWhole, 1, std::string("\0\1a\1b", 5))));
  ASSERT_TRUE(loop_->Until([&] { return handler_.Log().size() == 1; }));
  EXPECT_EQ(handler_.Log()[0].status, 200);
  EXPECT_FALSE(handler_.Log()[0].aborted);
  const std::string more = Head(3, NGHTTP2_FLAG_END_HEADERS) + Frame(NGHTTP2_DATA, 0, 3, "abc");
  ASSERT_TRUE(client_->Send(more + Frame(NGHTTP2_HEADERS, kWhole, 3, Fields(10))));
  ASSERT_TRUE(loop_->Until([&] { return handler_.Log().size() == 2; }));
  EXPECT_TRUE(handler_.Log()[1].aborted);
  EXPECT_THAT(AtTheEnd(), testing::HasSubstr(Reset(3, NGHTTP2_ENHANCE_YOUR_CALM)));
}

TEST_F(Http2Limits, ABodyThatWillBeTooLargeIsRefusedBeforeItComesAndTheClientToldToStop) {
  handler_.body_limit = 1000;
  Run();
  ASSERT_TRUE(client_->Send(Head(1, NGHTTP2_FLAG_END_HEADERS, std::string("\x0f\x0d\4", 3) + "5000")));
  ASSERT_TRUE(loop_->Until([&] { return handler_.Log().size() == 1; }));
  EXPECT_EQ(handler_.Log()[0].status, 413);
  EXPECT_THAT(AtTheEnd(), testing::HasSubstr(Reset(1, NGHTTP2_NO_ERROR)));
}

TEST_F(Http2Limits, NoMoreThanAMegabyteOfHeadsIsKeptForAConnection) {
  handler_.answer = [](const Request&, Response& response) {
    struct Never final : Deferred {};
    response.deferred = std::make_unique<Never>();
  };
  Run();
  constexpr int32_t kStreams = 30;  // 54,000 bytes each
  for (int32_t i = 0; i < kStreams; ++i) {
    const std::string path = std::string("\x04\x07", 2) + "/custom";
    ASSERT_TRUE(client_->Send(
        Frame(NGHTTP2_HEADERS, kWhole, 2 * i + 1,
              "\x82\x86" + path + std::string("\x01\x01", 2) + "x" + (i == 0 ? Fields(18) : std::string(18, '\xbe')))));
  }
  ASSERT_TRUE(loop_->Until([&] { return loop_->counters().busy >= 19; }));
  const std::string sent = AtTheEnd();
  EXPECT_THAT(sent, testing::HasSubstr(Reset(2 * kStreams - 1, NGHTTP2_REFUSED_STREAM)));
  EXPECT_THAT(sent, testing::Not(testing::HasSubstr(Reset(19, NGHTTP2_REFUSED_STREAM))));
}

TEST_F(Http2Limits, StreamsThatAreNoneEndTheConnection) {
  Run();
  for (int32_t i = 0; i < 12; ++i) {
    client_->Send(Head(2 * i + 1, kWhole, std::string("\0\1A\1b", 5)));  // a name in upper case
  }
  EXPECT_TRUE(client_->UntilEnd());
  ASSERT_FALSE(client_->goaways.empty());
  EXPECT_EQ(client_->goaways.back().second, uint32_t{NGHTTP2_ENHANCE_YOUR_CALM});
}

TEST_F(Http2Limits, WhoTakesWhatItAskedForMayOpenItsWindowAsOftenAsItHasTo) {
  Run();
  Http2Client client(loop_->port(), {.window = 500});
  const int32_t stream = client.Ask("/1500000");
  ASSERT_TRUE(client.UntilComplete(stream));
  EXPECT_EQ(client.Of(stream).body.size(), 1500000U);
  EXPECT_TRUE(client.goaways.empty());
}

TEST(Http2Garbage, EndsTheConnection) {
  FakeHandler handler;
  handler.http2.over_plain = true;
  RunningLoop loop(handler);
  for (const std::string& garbage :
       {std::string("\0\0\1\1\x05\0\0\0\1\xff", 10), Frame(NGHTTP2_DATA, 0, 0, "x"), Frame(NGHTTP2_HEADERS, 5, 2, ""),
        Frame(NGHTTP2_SETTINGS, 0, 1, ""), std::string(100, '\xff')}) {
    Http2Client client(loop.port());
    ASSERT_TRUE(client.Flush());
    client.Send(garbage);
    EXPECT_TRUE(client.UntilEnd());
    EXPECT_FALSE(client.goaways.empty());
  }
  Http2Client half(loop.port());
  half.Send(std::string(kPreface.substr(0, 20)) + "nonsense");
  EXPECT_TRUE(half.UntilEnd());
}

}  // namespace
}  // namespace httpd::net
