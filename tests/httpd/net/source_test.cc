#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>

#include "httpd/net/reactor.h"
#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

/// What a test wants to know of a source and to tell it; outlives both.
struct Script {
  std::atomic<uint64_t> given = 0;
  std::atomic<int> alive = 0;
  std::string ready;  ///< of the loop's thread: given at the next Read()
  bool ends = false;
  bool fails = false;
  Waker waker;
};

/// So many bytes, or what the script has ready.
class ScriptedSource final : public BodySource {
 public:
  ScriptedSource(Script& script, uint64_t bytes, bool tells_length = false)
      : script_(script), left_(bytes), tells_length_(tells_length) {
    ++script_.alive;
  }
  ~ScriptedSource() override { --script_.alive; }

  State Read(std::string& out, size_t most) override {
    if (left_ > 0) {
      const size_t n = static_cast<size_t>(std::min<uint64_t>(left_, most));
      out.append(n, 's');
      left_ -= n;
      script_.given += n;
      return left_ == 0 && !waits_ ? State::kEnd : State::kMore;
    }
    out += script_.ready;
    script_.given += script_.ready.size();
    script_.ready.clear();
    if (script_.fails) return State::kFailed;
    return script_.ends ? State::kEnd : State::kWait;
  }
  std::optional<uint64_t> Left() const override {
    if (tells_length_) return left_;
    return std::nullopt;
  }
  void WaitsAfterThat() { waits_ = true; }

 private:
  Script& script_;
  uint64_t left_;
  bool tells_length_;
  bool waits_ = false;
};

class Source : public testing::Test {
 protected:
  /// Every answer to /custom: `bytes` at once, then the end.
  void Give(uint64_t bytes, bool tells_length = false) {
    handler_.answer = [this, bytes, tells_length](const Request&, Response& response) {
      response.source = std::make_unique<ScriptedSource>(script_, bytes, tells_length);
    };
  }
  /// Every answer to /custom: `bytes` at once, then what script_ has ready.
  void GiveAndWait(uint64_t bytes) {
    handler_.answer = [this, bytes](const Request& request, Response& response) {
      auto source = std::make_unique<ScriptedSource>(script_, bytes);
      source->WaitsAfterThat();
      script_.waker = request.reactor->WakerOf(request);
      response.source = std::move(source);
    };
  }
  void More(RunningLoop& loop, const std::string& text, bool ends) {
    loop.Do([&](EventLoop&) {
      script_.ready += text;
      script_.ends = ends;
      script_.waker.Wake();
    });
  }

  Script script_;
  FakeHandler handler_;
};

/// Everything until the close.
std::string ReadAll(Client& client) {
  return client.Read(1U << 30);
}

/// Body of a chunked answer that the client reads; false in `complete`: no last chunk came.
std::string ReadChunked(Client& client, bool& complete) {
  std::string text;
  while (!text.ends_with("\r\n\r\n")) {
    const std::string byte = client.Read(1);
    if (byte.empty()) break;
    text += byte;
  }
  EXPECT_THAT(text, HasSubstr("Transfer-Encoding: chunked\r\n"));
  std::string body;
  for (complete = false;;) {
    std::string size;
    while (!size.ends_with("\r\n")) {
      const std::string byte = client.Read(1);
      if (byte.empty()) return body;
      size += byte;
    }
    const size_t bytes = std::stoul(size, nullptr, 16);
    const std::string chunk = client.Read(bytes + 2);
    if (chunk.size() < bytes + 2) return body + chunk;
    if (bytes == 0) {
      complete = true;
      return body;
    }
    body += chunk.substr(0, bytes);
  }
}

constexpr std::string_view kGet = "GET /custom HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr std::string_view kNext = "GET /5 HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(Source, ShortOneIsSentWithItsLengthAndTheConnectionIsKept) {
  Give(5000);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(std::string(kGet) + std::string(kNext)));
  const std::string answer = client.Answer();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5000\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("Transfer-Encoding")));
  EXPECT_THAT(answer, EndsWith("sssss"));
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
  EXPECT_EQ(script_.alive, 0);
}

TEST_F(Source, LongOneThatKnowsItsLengthTellsIt) {
  Give(3'000'000, true);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(std::string(kGet) + std::string(kNext)));
  const std::string answer = client.Answer();
  EXPECT_THAT(answer.substr(0, 300), HasSubstr("Content-Length: 3000000\r\n"));
  EXPECT_EQ(answer.size() - answer.find("\r\n\r\n") - 4, 3'000'000u);
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
  ASSERT_TRUE(loop.Until([&] { return handler_.Log().size() == 2; }));
  EXPECT_EQ(handler_.Log()[0].body_bytes, 3'000'000u);
}

TEST_F(Source, LongOneOfUnknownLengthComesInChunksAndIsLoggedWithoutTheirFraming) {
  Give(3'000'001);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(std::string(kGet) + std::string(kNext)));
  bool complete = false;
  EXPECT_EQ(ReadChunked(client, complete), std::string(3'000'001, 's'));
  EXPECT_TRUE(complete);
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
  ASSERT_TRUE(loop.Until([&] { return handler_.Log().size() == 2; }));
  EXPECT_EQ(handler_.Log()[0].body_bytes, 3'000'001u);
  EXPECT_FALSE(handler_.Log()[0].aborted);
  EXPECT_TRUE(handler_.Log()[0].kept_alive);
}

TEST_F(Source, ClientOfHttp10GetsItUntilTheClose) {
  Give(300'000);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("GET /custom HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  const std::string answer = ReadAll(client);
  EXPECT_THAT(answer.substr(0, 300), HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer.substr(0, 300), Not(HasSubstr("Transfer-Encoding")));
  EXPECT_THAT(answer.substr(0, 300), Not(HasSubstr("Content-Length")));
  EXPECT_EQ(answer.size() - answer.find("\r\n\r\n") - 4, 300'000u);
}

TEST_F(Source, HeadNeverReadsIt) {
  handler_.answer = [&](const Request&, Response& response) {
    response.source = std::make_unique<ScriptedSource>(script_, 300'000);
    response.without_body = true;
  };
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(std::string("HEAD /custom HTTP/1.1\r\nHost: x\r\n\r\n") + std::string(kNext)));
  const std::string answer = client.Answer(true);
  EXPECT_THAT(answer, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
  EXPECT_EQ(script_.given, 0u);
  EXPECT_EQ(script_.alive, 0);
}

TEST_F(Source, ThatWaitsIsAskedAgainWhenItWakesTheConnection) {
  GiveAndWait(3);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  std::string text;
  while (!text.ends_with("3\r\nsss\r\n")) {
    const std::string byte = client.Read(1);
    ASSERT_FALSE(byte.empty()) << text;
    text += byte;
  }
  EXPECT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  More(loop, "more", false);
  EXPECT_EQ(client.Read(9), "4\r\nmore\r\n");
  More(loop, "", false);  // nothing new: no empty chunk, which would be the end
  More(loop, "end", true);
  EXPECT_EQ(client.Read(13), "3\r\nend\r\n0\r\n\r\n");
  EXPECT_TRUE(loop.Until([&] { return loop.counters().busy == 0; }));
  EXPECT_EQ(handler_.Log()[0].body_bytes, 10u);
}

TEST_F(Source, WakerOfAnExchangeThatIsOverWakesNobody) {
  GiveAndWait(3);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  More(loop, "", true);
  ASSERT_TRUE(loop.Until([&] { return handler_.Log().size() == 1; }));
  const Waker old = script_.waker;
  script_.ends = false;
  ASSERT_TRUE(client.Send(kGet));  // the same connection, the next exchange
  ASSERT_TRUE(loop.Until([&] { return script_.alive == 1; }));
  loop.Do([&](EventLoop&) {
    script_.ready = "not yet";
    old.Wake();
  });
  loop.Do([](EventLoop&) {});
  EXPECT_EQ(script_.ready, "not yet");
  client.Close();
}

TEST_F(Source, GoesWithItsClientAndItsWakerMayStay) {
  GiveAndWait(3);
  RunningLoop loop(handler_);
  {
    Client client(loop.port());
    ASSERT_TRUE(client.Send(kGet));
    ASSERT_TRUE(loop.Until([&] { return script_.alive == 1; }));
    const linger reset{1, 0};
    ::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  ASSERT_TRUE(loop.Until([&] { return script_.alive == 0; }));
  loop.Do([&](EventLoop&) { script_.waker.Wake(); });
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_TRUE(handler_.Log()[0].aborted);
}

TEST_F(Source, ClientThatOnlyStoppedSendingGetsTheRest) {
  GiveAndWait(3);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  ASSERT_TRUE(loop.Until([&] { return script_.alive == 1; }));
  client.ShutDownWriting();
  loop.Do([](EventLoop&) {});
  More(loop, "rest", true);
  bool complete = false;
  EXPECT_EQ(ReadChunked(client, complete), "sssrest");
  EXPECT_TRUE(complete);
}

TEST_F(Source, ThatSaysNothingForItsTimeIsCut) {
  handler_.answer = [&](const Request&, Response& response) {
    auto source = std::make_unique<ScriptedSource>(script_, 3);
    source->WaitsAfterThat();
    response.source = std::move(source);
    response.wait_timeout_ms = 1;
  };
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  bool complete = true;
  EXPECT_EQ(ReadChunked(client, complete), "sss");
  EXPECT_FALSE(complete);
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_TRUE(handler_.Log()[0].aborted);
}

TEST_F(Source, ThatFailsBeforeAnythingWasSentIsAnError500) {
  script_.fails = true;
  GiveAndWait(3);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Answer(), HasSubstr("HTTP/1.1 500 "));
  EXPECT_TRUE(client.AtEnd());
  ASSERT_EQ(handler_.Log().size(), 1u);
  EXPECT_EQ(handler_.Log()[0].status, 500);
}

TEST_F(Source, ThatFailsLaterEndsWithoutALastChunk) {
  script_.fails = true;
  GiveAndWait(100'000);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  bool complete = true;
  ReadChunked(client, complete);
  EXPECT_FALSE(complete);
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_TRUE(handler_.Log()[0].aborted);
}

TEST_F(Source, ThatEndsBeforeItsPromiseIsCut) {
  class Liar final : public BodySource {
   public:
    State Read(std::string& out, size_t) override {
      out.append(20'000, 'l');
      return ++calls_ < 2 ? State::kMore : State::kEnd;
    }
    std::optional<uint64_t> Left() const override { return 50'000; }

   private:
    int calls_ = 0;
  };
  handler_.answer = [](const Request&, Response& response) { response.source = std::make_unique<Liar>(); };
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_EQ(client.Answer(), "");
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_TRUE(handler_.Log()[0].aborted);
}

TEST_F(Source, IsReadNoFasterThanTheClientTakesIt) {
  Give(uint64_t{1} << 30);
  RunningLoop loop(handler_);
  Client client(loop.port(), 65536);
  ASSERT_TRUE(client.Send(kGet));
  ASSERT_TRUE(loop.Until([&] { return loop.counters().writing == 1 && script_.given > 0; }));
  uint64_t before = 0;
  ASSERT_TRUE(loop.Until([&] { return std::exchange(before, script_.given.load()) == script_.given; }));
  EXPECT_LT(script_.given, uint64_t{32} << 20);         // the kernel's buffers and one piece
  EXPECT_EQ(client.Read(48U << 20).size(), 48U << 20);  // and it goes on
}

TEST_F(Source, ThatWorksHardLeavesTheLoopToOthers) {
  class Hard final : public BodySource {
   public:
    explicit Hard(std::atomic<bool>& stop) : stop_(stop) {}
    State Read(std::string& out, size_t) override {
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
      while (std::chrono::steady_clock::now() < end) {
      }
      out += "hard";
      return stop_ ? State::kEnd : State::kMore;
    }

   private:
    std::atomic<bool>& stop_;
  };
  std::atomic<bool> stop = false;
  handler_.answer = [&](const Request&, Response& response) { response.source = std::make_unique<Hard>(stop); };
  RunningLoop loop(handler_);
  Client hard(loop.port());
  ASSERT_TRUE(hard.Send(kGet));
  ASSERT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  Client other(loop.port());
  ASSERT_TRUE(other.Send(kNext));
  EXPECT_THAT(other.Answer(), EndsWith("bbbbb"));
  stop = true;
  bool complete = false;
  ReadChunked(hard, complete);
  EXPECT_TRUE(complete);
}

TEST_F(Source, RequestsInLineBehindItAreAnsweredAfterwards) {
  GiveAndWait(3);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(std::string(kGet) + std::string(kNext)));
  ASSERT_TRUE(loop.Until([&] { return script_.alive == 1; }));
  More(loop, "", true);
  bool complete = false;
  EXPECT_EQ(ReadChunked(client, complete), "sss");
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
}

TEST_F(Source, InProgressIsToldWhenItIsCut) {
  GiveAndWait(3);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  ASSERT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  std::vector<handover::CutRequest> cut;
  loop.Do([&](EventLoop& l) { l.CutAndStop([&](const handover::CutRequest& request) { cut.push_back(request); }); });
  ASSERT_EQ(cut.size(), 1u);
  EXPECT_EQ(cut[0].phase, handover::CutRequest::Phase::kAnswering);
  EXPECT_GT(cut[0].bytes_sent.value_or(0), 8u);
  EXPECT_FALSE(cut[0].bytes_left);
  EXPECT_EQ(cut[0].request, "GET /custom HTTP/1.1");
}

TEST_F(Source, DrainWaitsForIt) {
  GiveAndWait(3);
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  ASSERT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  loop.Do([](EventLoop& l) { l.Drain({}); });
  More(loop, "last", true);
  bool complete = false;
  EXPECT_EQ(ReadChunked(client, complete), "ssslast");
  EXPECT_TRUE(complete);
}

/// How long the client waits for the whole answer.
std::chrono::milliseconds TimeFor(RunningLoop& loop) {
  Client client(loop.port());
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(client.Send(kGet));
  const std::string answer = client.Answer();
  EXPECT_EQ(answer.size() - answer.find("\r\n\r\n") - 4, 30'000u);
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
}

TEST_F(Source, RateLimitSlowsSourcesTextsAndFiles) {
  for (const char* kind : {"source", "body", "file"}) {
    handler_.answer = [&](const Request&, Response& response) {
      response.rate_limit = 100'000;  // 20,000 at once, the rest after 200 ms
      if (std::string_view(kind) == "source") {
        response.source = std::make_unique<ScriptedSource>(script_, 30'000, true);
      } else if (std::string_view(kind) == "body") {
        response.body.assign(30'000, 'x');
      } else {
        response.file = handler_.OpenFile(30'000);
        response.parts.push_back({"", 0, 30'000});
      }
    };
    RunningLoop loop(handler_);
    EXPECT_GE(TimeFor(loop), std::chrono::milliseconds(190)) << kind;
  }
}

// A rate that is no whole number of bytes a millisecond was no limit once the first wait was over: the time that the
// bytes stood for was rounded down to none, and the same millisecond counted again and again.
TEST_F(Source, ARateOfKibsHoldsBeyondTheFirstWait) {
  handler_.answer = [&](const Request&, Response& response) {
    response.rate_limit = 50U << 10;  // 10,240 at once, 10,240 after 200 ms, the rest after 400 ms
    response.file = handler_.OpenFile(30'000);
    response.parts.push_back({"", 0, 30'000});
  };
  RunningLoop loop(handler_);
  EXPECT_GE(TimeFor(loop), std::chrono::milliseconds(380));
}

TEST_F(Source, BurstGoesBeforeTheRateLimit) {
  handler_.answer = [&](const Request&, Response& response) {
    response.rate_limit = 1000;
    response.rate_burst = 30'000;
    response.body.assign(30'000, 'x');
  };
  RunningLoop loop(handler_);
  EXPECT_LT(TimeFor(loop), std::chrono::seconds(4));  // not the thirty seconds of the rate
}

}  // namespace
}  // namespace httpd::net
