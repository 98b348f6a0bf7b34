#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>

#include "httpd/net/reactor.h"
#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// What a test wants to know of the answer to /custom and to tell it; outlives both. Of the loop's thread but for the
/// atomics.
struct Script {
  std::atomic<int> deferred = 0;  ///< alive
  std::atomic<int> sinks = 0;     ///< alive
  std::atomic<uint64_t> received = 0;
  std::atomic<bool> body_ended = false;
  std::atomic<int> late = 0;
  std::atomic<int> resumed = 0;
  std::string body;
  uint64_t room = UINT64_MAX;  ///< the sink wants no more when it has got so many bytes
  bool has_enough = false;
  bool is_ready = false;
  Waker waker;
};

class ScriptedSink final : public BodySink {
 public:
  explicit ScriptedSink(Script& script) : script_(script) { ++script_.sinks; }
  ~ScriptedSink() override { --script_.sinks; }
  State Write(std::string_view data) override {
    script_.body += data;
    script_.received += data.size();
    if (script_.has_enough) return State::kEnough;
    return WantsMore() ? State::kMore : State::kWait;
  }
  bool WantsMore() const override { return script_.received < script_.room; }
  void End() override { script_.body_ended = true; }

 private:
  Script& script_;
};

struct ScriptedAnswer final : Deferred {
  explicit ScriptedAnswer(Script& its_script) : script(its_script) { ++script.deferred; }
  ~ScriptedAnswer() override { --script.deferred; }
  Script& script;
};

class DeferredAnswer : public testing::Test {
 protected:
  DeferredAnswer() {
    handler_.answer = [this](const Request& request, Response& response) {
      script_.waker = request.reactor->WakerOf(request);
      response.deferred = std::make_unique<ScriptedAnswer>(script_);
      response.wait_timeout_ms = wait_timeout_ms_;
      if (takes_body_) response.sink = std::make_unique<ScriptedSink>(script_);
    };
    handler_.resume = [this](const Request& request, Response& response, bool is_late) {
      ++script_.resumed;
      if (is_late) ++script_.late;
      if (!script_.is_ready && !is_late) return;
      if (is_late && never_answers_) return;
      response.deferred.reset();
      response.status = is_late ? 504 : 200;
      response.body = is_late ? "late" : "answer to " + std::string(request.head->Find("X-Who"));
      if (answer_bytes_ != 0) response.body.assign(answer_bytes_, 'a');
    };
  }
  void Ready(RunningLoop& loop) {
    loop.Do([&](EventLoop&) {
      script_.is_ready = true;
      script_.waker.Wake();
    });
  }

  Script script_;
  FakeHandler handler_;
  bool takes_body_ = false;
  bool never_answers_ = false;
  int wait_timeout_ms_ = 0;
  size_t answer_bytes_ = 0;
};

constexpr std::string_view kGet = "GET /custom HTTP/1.1\r\nHost: x\r\nX-Who: me\r\n\r\n";
constexpr std::string_view kNext = "GET /5 HTTP/1.1\r\nHost: x\r\n\r\n";

std::string Post(size_t bytes, const std::string& more = "") {
  return "POST /custom HTTP/1.1\r\nHost: x\r\nX-Who: me\r\nContent-Length: " + std::to_string(bytes) + "\r\n" + more +
         "\r\n";
}

TEST_F(DeferredAnswer, IsSentWhenItIsThereInTheOrderOfTheRequests) {
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(std::string(kNext) + std::string(kGet) + std::string(kNext)));
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));  // it does not wait for the one behind it
  ASSERT_TRUE(loop.Until([&] { return script_.deferred == 1; }));
  EXPECT_EQ(loop.counters().busy, 1u);
  Client other(loop.port());
  ASSERT_TRUE(other.Send(kNext));
  EXPECT_THAT(other.Answer(), EndsWith("bbbbb"));
  Ready(loop);
  EXPECT_THAT(client.Answer(), EndsWith("answer to me"));
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
  EXPECT_EQ(script_.deferred, 0);
  ASSERT_TRUE(loop.Until([&] { return handler_.Log().size() == 4; }));
}

TEST_F(DeferredAnswer, WokenForNothingWaitsOn) {
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  ASSERT_TRUE(loop.Until([&] { return script_.deferred == 1; }));
  loop.Do([&](EventLoop&) {
    script_.waker.Wake();
    script_.waker.Wake();
  });
  ASSERT_TRUE(loop.Until([&] { return script_.resumed == 1; }));
  Ready(loop);
  EXPECT_THAT(client.Answer(), EndsWith("answer to me"));
  EXPECT_EQ(script_.resumed, 2);
}

TEST_F(DeferredAnswer, GoesWithAClientThatIsReset) {
  RunningLoop loop(handler_);
  {
    Client client(loop.port());
    ASSERT_TRUE(client.Send(kGet));
    ASSERT_TRUE(loop.Until([&] { return script_.deferred == 1; }));
    const linger reset{1, 0};
    ::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  ASSERT_TRUE(loop.Until([&] { return script_.deferred == 0; }));
  EXPECT_TRUE(loop.EverythingIsZero());
  ASSERT_EQ(handler_.Log().size(), 1u);
  EXPECT_TRUE(handler_.Log()[0].aborted);
  loop.Do([&](EventLoop&) { script_.waker.Wake(); });
}

TEST_F(DeferredAnswer, ReachesAClientThatOnlyStoppedSending) {
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  client.ShutDownWriting();
  ASSERT_TRUE(loop.Until([&] { return script_.deferred == 1; }));
  loop.Do([](EventLoop&) {});
  Ready(loop);
  EXPECT_THAT(client.Answer(), EndsWith("answer to me"));
}

TEST_F(DeferredAnswer, ThatIsLateIsAskedForTheLastTime) {
  wait_timeout_ms_ = 1;
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(std::string(kGet) + std::string(kNext)));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 504 "));
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
  EXPECT_EQ(script_.late, 1);
}

TEST_F(DeferredAnswer, ThatIsLateAndHasNoAnswerClosesTheConnection) {
  wait_timeout_ms_ = 1;
  never_answers_ = true;
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_TRUE(client.AtEnd());
  EXPECT_TRUE(loop.EverythingIsZero());
  EXPECT_EQ(script_.deferred, 0);
}

TEST_F(DeferredAnswer, GetsTheBodyAsItArrives) {
  takes_body_ = true;
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(Post(10) + "01234"));
  ASSERT_TRUE(loop.Until([&] { return script_.received == 5; }));
  EXPECT_FALSE(script_.body_ended);
  ASSERT_TRUE(client.Send("56789" + std::string(kNext)));
  ASSERT_TRUE(loop.Until([&] { return script_.body_ended.load(); }));
  EXPECT_EQ(script_.body, "0123456789");
  Ready(loop);
  EXPECT_THAT(client.Answer(), EndsWith("answer to me"));
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
  ASSERT_TRUE(loop.Until([&] { return handler_.Log().size() == 2; }));
  EXPECT_EQ(handler_.Log()[0].bytes_in, Post(10).size() + 10);
  EXPECT_EQ(script_.sinks, 0);
}

TEST_F(DeferredAnswer, OfARequestWithoutABodyIsToldSo) {
  takes_body_ = true;
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_TRUE(loop.Until([&] { return script_.body_ended.load(); }));
}

TEST_F(DeferredAnswer, SinkThatIsFullHoldsTheClientBack) {
  takes_body_ = true;
  script_.room = 1;
  handler_.body_limit = 0;
  RunningLoop loop(handler_);
  Client client(loop.port());
  constexpr size_t kBytes = 64U << 20;
  ASSERT_TRUE(client.Send(Post(kBytes)));
  std::jthread sender([&] { EXPECT_TRUE(client.Send(std::string(kBytes, 'u'))); });
  ASSERT_TRUE(loop.Until([&] { return script_.received > 0; }));
  uint64_t before = 0;
  ASSERT_TRUE(loop.Until([&] { return std::exchange(before, script_.received.load()) == script_.received; }));
  EXPECT_LE(script_.received, 65536u);
  EXPECT_EQ(loop.counters().busy, 1u);
  loop.Do([&](EventLoop&) {
    script_.room = UINT64_MAX;
    script_.waker.Wake();
  });
  sender.join();
  ASSERT_TRUE(loop.Until([&] { return script_.body_ended.load(); }));
  EXPECT_EQ(script_.received, kBytes);
  Ready(loop);
  EXPECT_THAT(client.Answer(), EndsWith("answer to me"));
}

TEST_F(DeferredAnswer, SinkThatHasEnoughIsLetGoAndTheRestIsReadPast) {
  takes_body_ = true;
  script_.has_enough = true;
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(Post(300'000) + std::string(300'000, 'u') + std::string(kNext)));
  ASSERT_TRUE(loop.Until([&] { return script_.received > 0 && script_.sinks == 0; }));
  Ready(loop);
  EXPECT_THAT(client.Answer(), EndsWith("answer to me"));
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
  EXPECT_FALSE(script_.body_ended);
}

TEST_F(DeferredAnswer, IsSentWhileTheBodyStillArrives) {
  takes_body_ = true;
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(Post(10) + "01234"));
  ASSERT_TRUE(loop.Until([&] { return script_.received == 5; }));
  Ready(loop);
  EXPECT_THAT(client.Answer(), EndsWith("answer to me"));
  ASSERT_TRUE(loop.Until([&] { return script_.sinks == 0; }));
  ASSERT_TRUE(client.Send("56789" + std::string(kNext)));
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
}

TEST_F(DeferredAnswer, LongOneAndABodyPassEachOther) {
  class Endless final : public BodySource {
   public:
    explicit Endless(Script& script) : script_(script) {}
    State Read(std::string& out, size_t most) override {
      if (script_.body_ended) return State::kEnd;
      if (given_ >= script_.received) return State::kWait;
      const size_t n = std::min<size_t>(most, script_.received - given_);
      given_ += n;
      out.append(n, 'e');
      return State::kMore;
    }

   private:
    Script& script_;
    uint64_t given_ = 0;
  };
  takes_body_ = true;
  handler_.resume = [this](const Request&, Response& response, bool) {
    response.deferred.reset();
    response.body.clear();
    response.source = std::make_unique<Endless>(script_);
  };
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(Post(200'000) + std::string(100'000, 'u')));
  ASSERT_TRUE(loop.Until([&] { return script_.received == 100'000; }));
  Ready(loop);
  const std::string begun = client.Read(100'000);  // of the answer, with half of the request sent
  EXPECT_THAT(begun.substr(0, 300), HasSubstr("Transfer-Encoding: chunked"));
  ASSERT_TRUE(client.Send(std::string(100'000, 'u')));
  ASSERT_TRUE(loop.Until([&] { return script_.body_ended.load(); }));
  loop.Do([&](EventLoop&) { script_.waker.Wake(); });
  std::string rest;
  while (!rest.ends_with("\r\n0\r\n\r\n")) {
    const std::string byte = client.Read(1);
    ASSERT_FALSE(byte.empty());
    rest += byte;
  }
  ASSERT_TRUE(client.Send(kNext));
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
  EXPECT_EQ(script_.sinks, 0);
}

TEST_F(DeferredAnswer, ClientThatLeavesInTheMiddleOfItsBodyTakesItAlong) {
  takes_body_ = true;
  RunningLoop loop(handler_);
  {
    Client client(loop.port());
    ASSERT_TRUE(client.Send(Post(10) + "01234"));
    ASSERT_TRUE(loop.Until([&] { return script_.received == 5; }));
  }
  ASSERT_TRUE(loop.Until([&] { return script_.deferred == 0 && script_.sinks == 0; }));
  EXPECT_FALSE(script_.body_ended);
  EXPECT_TRUE(loop.EverythingIsZero());
}

TEST_F(DeferredAnswer, BodyThatIsTooLargeOrMalformedEndsIt) {
  takes_body_ = true;
  handler_.body_limit = 8;
  RunningLoop loop(handler_);
  const std::string chunked = "POST /custom HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const auto& [body, status] :
       {std::pair{"5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", "413"}, {"5\r\n01234\r\nx", "400"}}) {
    Client client(loop.port());
    ASSERT_TRUE(client.Send(chunked + body));
    EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 " + std::string(status)));
    EXPECT_TRUE(client.AtEnd());
    ASSERT_TRUE(loop.Until([&] { return script_.deferred == 0 && script_.sinks == 0; }));
    EXPECT_FALSE(script_.body_ended);
  }
}

TEST_F(DeferredAnswer, LimitOfABodyIsTheAnswersOwn) {
  handler_.answer = [](const Request&, Response& response) {
    response.body = "small is fine";
    response.body_limit = 4;
  };
  RunningLoop loop(handler_);
  Client small(loop.port());
  ASSERT_TRUE(small.Send(Post(4) + "0123"));
  EXPECT_THAT(small.Answer(), EndsWith("small is fine"));
  ASSERT_TRUE(small.Send(Post(5)));  // nothing of the body: the length says it all
  EXPECT_THAT(small.Answer(), StartsWith("HTTP/1.1 413 "));
}

TEST_F(DeferredAnswer, BodyForAnErrorIsNotAskedFor) {
  handler_.answer = [](const Request&, Response& response) {
    response.status = 404;
    response.body = "no such thing";
  };
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(Post(5, "Expect: 100-continue\r\n")));
  const std::string answer = client.Answer();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(client.AtEnd());
}

TEST_F(DeferredAnswer, BodyForASinkIsAskedFor) {
  takes_body_ = true;
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(Post(5, "Expect: 100-continue\r\n")));
  EXPECT_EQ(client.Read(25), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(client.Send("01234"));
  ASSERT_TRUE(loop.Until([&] { return script_.body_ended.load(); }));
  Ready(loop);
  EXPECT_THAT(client.Answer(), EndsWith("answer to me"));
}

TEST_F(DeferredAnswer, LongOneInMemoryIsSentToASlowClient) {
  answer_bytes_ = 20U << 20;
  RunningLoop loop(handler_);
  Client client(loop.port(), 65536);
  ASSERT_TRUE(client.Send(std::string(kGet) + std::string(kNext)));
  ASSERT_TRUE(loop.Until([&] { return script_.deferred == 1; }));
  Ready(loop);
  EXPECT_GT(client.Answer().size(), answer_bytes_);
  EXPECT_THAT(client.Answer(), EndsWith("bbbbb"));
}

TEST_F(DeferredAnswer, DrainWaitsForItAndClosesAfterIt) {
  RunningLoop loop(handler_);
  Client client(loop.port());
  ASSERT_TRUE(client.Send(kGet));
  ASSERT_TRUE(loop.Until([&] { return script_.deferred == 1; }));
  loop.Do([](EventLoop& l) { l.Drain({}); });
  Ready(loop);
  const std::string answer = client.Answer();
  EXPECT_THAT(answer, EndsWith("answer to me"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  client.Close();
  EXPECT_TRUE(loop.Ended());
}

TEST_F(DeferredAnswer, InProgressIsToldWhenItIsCutAndEndsWithItsLoop) {
  {
    RunningLoop loop(handler_);
    Client client(loop.port());
    Client uploading(loop.port());
    ASSERT_TRUE(client.Send(kGet));
    ASSERT_TRUE(uploading.Send(Post(10) + "01234"));
    ASSERT_TRUE(loop.Until([&] { return script_.deferred == 2; }));
    std::vector<handover::CutRequest> cut;
    loop.Do([&](EventLoop& l) { l.CutAndStop([&](const handover::CutRequest& request) { cut.push_back(request); }); });
    ASSERT_EQ(cut.size(), 2u);
    if (cut[0].request.starts_with("GET")) std::swap(cut[0], cut[1]);
    EXPECT_EQ(cut[0].phase, handover::CutRequest::Phase::kReceiving);
    EXPECT_EQ(cut[1].phase, handover::CutRequest::Phase::kAnswering);
    EXPECT_EQ(cut[1].bytes_sent.value_or(1), 0u);
    EXPECT_EQ(script_.deferred, 0);
  }
  EXPECT_EQ(handler_.Log().size(), 2u);
}

}  // namespace
}  // namespace httpd::net
