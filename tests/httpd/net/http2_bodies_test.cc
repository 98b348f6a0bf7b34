// Bodies that are taken or made while they are sent, and streams that are given up.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "httpd/net/reactor.h"
#include "tests/httpd/net/http2_client.h"
#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

/// Outlives the loop. Of the loop's thread but for the atomics.
struct Script {
  std::atomic<int> alive = 0;  ///< sinks, sources and answers
  std::atomic<uint64_t> received = 0;
  std::atomic<bool> body_ended = false;
  std::atomic<int> late = 0;
  uint64_t room = UINT64_MAX;
  std::string body;
  std::string more;  ///< what the source has
  bool has_ended = false;
  bool has_failed = false;
  bool is_ready = false;
  Waker waker;
};

struct ScriptedSink final : BodySink {
  explicit ScriptedSink(Script& its) : script(its) { ++script.alive; }
  ~ScriptedSink() override { --script.alive; }
  State Write(std::string_view data) override {
    script.body += data;
    script.received += data.size();
    return WantsMore() ? State::kMore : State::kWait;
  }
  bool WantsMore() const override { return script.received < script.room; }
  void End() override { script.body_ended = true; }
  Script& script;
};

struct ScriptedSource final : BodySource {
  explicit ScriptedSource(Script& its) : script(its) { ++script.alive; }
  ~ScriptedSource() override { --script.alive; }
  State Read(std::string& out, size_t most) override {
    const size_t n = std::min(most, script.more.size());
    out += script.more.substr(0, n);
    script.more.erase(0, n);
    if (!script.more.empty()) return State::kMore;
    return script.has_failed ? State::kFailed : script.has_ended ? State::kEnd : State::kWait;
  }
  Script& script;
};

struct ScriptedAnswer final : Deferred {
  explicit ScriptedAnswer(Script& its) : script(its) { ++script.alive; }
  ~ScriptedAnswer() override { --script.alive; }
  Script& script;
};

class Http2Bodies : public testing::Test {
 protected:
  Http2Bodies() {
    handler_.http2.over_plain = true;
    handler_.answer = [this](const Request& request, Response& response) {
      script_.waker = request.reactor->WakerOf(request);
      response.wait_timeout_ms = wait_timeout_ms_;
      response.rate_limit = rate_;
      if (takes_body_) response.sink = std::make_unique<ScriptedSink>(script_);
      if (has_source_) response.source = std::make_unique<ScriptedSource>(script_);
      if (is_deferred_) response.deferred = std::make_unique<ScriptedAnswer>(script_);
    };
    handler_.resume = [this](const Request& request, Response& response, bool is_late) {
      if (is_late) ++script_.late;
      if (!script_.is_ready && !is_late) return;
      response.deferred.reset();
      response.status = is_late ? 504 : 200;
      response.body = "to " + std::string(request.head->Find("X-Who"));
    };
  }
  void Wake(RunningLoop& loop, const std::function<void()>& change) {
    loop.Do([&](EventLoop&) {
      change();
      script_.waker.Wake();
    });
  }

  Script script_;
  FakeHandler handler_;
  bool takes_body_ = false;
  bool has_source_ = false;
  bool is_deferred_ = false;
  int wait_timeout_ms_ = 0;
  uint64_t rate_ = 0;
};

TEST_F(Http2Bodies, AreGivenToWhoTakesThem) {
  takes_body_ = true;
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const std::string body(300000, 'u');
  const int32_t id = client.Ask("/custom", "POST", {}, body);
  const int32_t empty = client.Ask("/5", "POST", {{"content-length", "0"}}, "");
  ASSERT_TRUE(client.UntilComplete(id));
  ASSERT_TRUE(client.UntilComplete(empty));
  EXPECT_EQ(script_.body, body);
  EXPECT_TRUE(script_.body_ended);
  EXPECT_EQ(client.Of(id).status, 200);
  ASSERT_TRUE(loop.Until([&] { return handler_.Log().size() == 2; }));
}

TEST_F(Http2Bodies, NoMoreThanAWindowComesWhileNobodyTakesIt) {
  takes_body_ = is_deferred_ = true;
  handler_.http2.window = 5000;
  script_.room = 1;
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  ASSERT_TRUE(client.UntilComplete(client.Ask("/5")));  // it knows the window now
  const std::string body(20000, 'u');
  const int32_t id = client.Ask("/custom", "POST", {{"x-who", "me"}}, body);
  const int32_t other = client.Ask("/5", "POST", {}, std::string(20000, 'o'));
  ASSERT_TRUE(client.UntilComplete(other));  // it goes on meanwhile
  EXPECT_LE(script_.received, 5000u);
  EXPECT_EQ(nghttp2_session_get_stream_remote_window_size(client.session(), id), 0);
  Wake(loop, [&] { script_.room = 8000; });
  Wake(loop, [&] { script_.room = UINT64_MAX; });
  ASSERT_TRUE(client.Until([&] { return script_.body_ended.load(); }));
  Wake(loop, [&] { script_.is_ready = true; });
  ASSERT_TRUE(client.UntilComplete(id));
  EXPECT_EQ(script_.body, body);
  EXPECT_EQ(client.Of(id).body, "to me");
  EXPECT_EQ(script_.alive, 0);
}

TEST_F(Http2Bodies, ManyThatNobodyTakesDoNotStopTheOthers) {
  takes_body_ = is_deferred_ = true;
  handler_.http2.window = 300000;
  script_.room = 1;
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  ASSERT_TRUE(client.UntilComplete(client.Ask("/5")));
  std::vector<int32_t> streams;
  for (int i = 0; i < 5; ++i) streams.push_back(client.Ask("/custom", "POST", {}, std::string(400000, 'u')));
  ASSERT_TRUE(client.Until([&] {  // a MiB and more came
    return std::all_of(streams.begin(), streams.end(), [&](int32_t id) {
      return nghttp2_session_get_stream_remote_window_size(client.session(), id) == 0;
    });
  }));
  const int32_t other = client.Ask("/5", "POST", {}, std::string(20000, 'o'));
  EXPECT_TRUE(client.UntilComplete(other));
}

TEST_F(Http2Bodies, AnAnswerMayComeBeforeTheBodyHas) {
  takes_body_ = is_deferred_ = true;
  handler_.http2.window = 5000;
  script_.room = 1;
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  ASSERT_TRUE(client.UntilComplete(client.Ask("/5")));
  const int32_t id = client.Ask("/custom", "POST", {{"x-who", "me"}}, std::string(20000, 'u'));
  client.Flush();
  ASSERT_TRUE(loop.Until([&] { return script_.received > 0; }));
  Wake(loop, [&] { script_.is_ready = true; });
  ASSERT_TRUE(client.Until([&] { return client.Of(id).is_closed; }));
  EXPECT_EQ(client.Of(id).body, "to me");
  EXPECT_EQ(client.Of(id).error, uint32_t{NGHTTP2_NO_ERROR});
  ASSERT_TRUE(loop.Until([&] { return script_.alive == 0; }));
  EXPECT_FALSE(handler_.Log()[1].aborted);
}

TEST_F(Http2Bodies, ThatAreTooLargeAreRefused) {
  handler_.body_limit = 1000;
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const int32_t said = client.Ask("/5", "POST", {{"content-length", "3000"}}, std::string(3000, 'u'));
  const int32_t unsaid = client.Ask("/5", "POST", {}, std::string(3000, 'u'));
  ASSERT_TRUE(client.UntilComplete(said));
  ASSERT_TRUE(client.UntilComplete(unsaid));
  EXPECT_EQ(client.Of(said).status, 413);
  EXPECT_EQ(client.Of(unsaid).status, 413);
  ASSERT_TRUE(client.UntilComplete(client.Ask("/5")));
}

TEST_F(Http2Bodies, ThatDoNotComeAreNotWaitedFor) {
  handler_.body_timeout = {200, 200, 0};
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  client.Flush();
  std::string head = "\x83\x86\x84";         // POST http /
  head += std::string("\x01\x01", 2) + "x";  // :authority
  ASSERT_TRUE(client.Send(Frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, head)));
  ASSERT_TRUE(loop.Until([&] { return handler_.Log().size() == 1; }));
  EXPECT_EQ(handler_.Log()[0].status, 408);
  EXPECT_TRUE(loop.Until([&] { return loop.counters().busy == 0; }));
}

TEST_F(Http2Bodies, AreAskedForWhereTheClientWaitsForThat) {
  takes_body_ = true;
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const int32_t id =
      client.Ask("/custom", "POST", {{"expect", "100-continue"}, {"content-length", "4"}}, std::string("body"));
  ASSERT_TRUE(client.UntilComplete(id));
  EXPECT_EQ(client.continues, 1);
  EXPECT_EQ(script_.body, "body");
}

TEST_F(Http2Bodies, AreSentAsTheyAreMade) {
  has_source_ = true;
  script_.more = "one ";
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const int32_t id = client.Ask("/custom");
  ASSERT_TRUE(client.Until([&] { return client.Of(id).body == "one "; }));
  const int32_t other = client.Ask("/5");
  ASSERT_TRUE(client.UntilComplete(other));
  Wake(loop, [&] { script_.more = std::string(200000, 'm'); });
  ASSERT_TRUE(client.Until([&] { return client.Of(id).body.size() == 200004; }));
  EXPECT_FALSE(client.Of(id).is_complete);
  Wake(loop, [&] { script_.has_ended = true; });
  ASSERT_TRUE(client.UntilComplete(id));
  EXPECT_EQ(client.Of(id).Field("content-length"), "(none)");
  ASSERT_TRUE(loop.Until([&] { return script_.alive == 0; }));
  EXPECT_EQ(handler_.Log().back().body_bytes, 200004u);
}

TEST_F(Http2Bodies, ThatCannotBeCompletedResetTheirStream) {
  has_source_ = true;
  script_.more = "one ";
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const int32_t id = client.Ask("/custom");
  ASSERT_TRUE(client.Until([&] { return client.Of(id).body == "one "; }));
  Wake(loop, [&] { script_.has_failed = true; });
  ASSERT_TRUE(client.Until([&] { return client.Of(id).is_closed; }));
  EXPECT_EQ(client.Of(id).error, uint32_t{NGHTTP2_INTERNAL_ERROR});
  ASSERT_TRUE(client.UntilComplete(client.Ask("/5")));
  EXPECT_TRUE(handler_.Log()[0].aborted);
}

TEST_F(Http2Bodies, GoNoFasterThanTheirRate) {
  rate_ = 100000;
  has_source_ = true;
  script_.has_ended = true;
  script_.more = std::string(50000, 'r');
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const auto begin = std::chrono::steady_clock::now();
  const int32_t id = client.Ask("/custom");
  const int32_t other = client.Ask("/5");
  ASSERT_TRUE(client.UntilComplete(other));
  EXPECT_FALSE(client.Of(id).is_complete);
  ASSERT_TRUE(client.UntilComplete(id));
  EXPECT_EQ(client.Of(id).body.size(), 50000u);
  // Half a second's worth, of which the first fifth is there at once: no less than a timer can be wrong about.
  EXPECT_GT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(150));
}

TEST_F(Http2Bodies, AnswersThatComeLaterHoldUpNobodyAndComeToTheRightStream) {
  is_deferred_ = true;
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const int32_t id = client.Ask("/custom", "GET", {{"x-who", "you"}});
  const int32_t other = client.Ask("/5");
  ASSERT_TRUE(client.UntilComplete(other));
  EXPECT_EQ(loop.counters().busy, 1u);
  Wake(loop, [&] { script_.is_ready = true; });
  ASSERT_TRUE(client.UntilComplete(id));
  EXPECT_EQ(client.Of(id).body, "to you");
}

TEST_F(Http2Bodies, AnAnswerThatIsLateIsAskedForOnce) {
  is_deferred_ = true;
  wait_timeout_ms_ = 200;
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  const int32_t id = client.Ask("/custom");
  ASSERT_TRUE(client.UntilComplete(id));
  EXPECT_EQ(client.Of(id).status, 504);
  EXPECT_EQ(script_.late, 1);
}

/// A stream that its client resets, in every state that it can be in.
enum class At { kBody, kSinkWaits, kDeferred, kSourceWaits, kSending };

class Resets : public Http2Bodies, public testing::WithParamInterface<At> {};

TEST_P(Resets, EndTheStreamWithWhateverWorksForIt) {
  takes_body_ = GetParam() == At::kBody || GetParam() == At::kSinkWaits;
  is_deferred_ = takes_body_ || GetParam() == At::kDeferred;
  has_source_ = GetParam() == At::kSourceWaits;
  script_.more = "x";
  if (GetParam() == At::kSinkWaits) script_.room = 1;
  RunningLoop loop(handler_);
  Http2Client client(loop.port(), {.window = 1000, .takes_data = false});
  int32_t id = 0;
  if (GetParam() == At::kSending) {
    id = client.Ask("/40000");
    ASSERT_TRUE(client.Until([&] { return client.Of(id).body.size() == 1000; }));
  } else if (takes_body_) {
    id = client.Ask("/custom", "POST", {{"content-length", "3"}}, std::string(200000, 'u'));
    nghttp2_session_set_local_window_size(client.session(), NGHTTP2_FLAG_NONE, 0, 1000);
    id = client.Ask("/custom", "POST", {}, std::string(200000, 'u'));
    client.Flush();
    ASSERT_TRUE(loop.Until([&] { return script_.received > 0; }));
  } else {
    id = client.Ask("/custom");
    client.Flush();
    ASSERT_TRUE(loop.Until([&] { return script_.alive == 1; }));
  }
  nghttp2_submit_rst_stream(client.session(), NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  client.Flush();
  ASSERT_TRUE(loop.Until([&] { return loop.counters().busy == 0 && script_.alive == 0; }));
  loop.Do([&](EventLoop&) { script_.waker.Wake(); });  // wakes nobody
  const auto log = handler_.Log();
  ASSERT_FALSE(log.empty());
  for (const auto& line : log) EXPECT_TRUE(line.aborted) << line.line;
  const int32_t next = client.Ask("/5");
  ASSERT_TRUE(client.UntilComplete(next));
}

INSTANTIATE_TEST_SUITE_P(Http2, Resets,
                         testing::Values(At::kBody, At::kSinkWaits, At::kDeferred, At::kSourceWaits, At::kSending));

TEST_F(Http2Bodies, AConnectionThatGoesTakesItsStreamsAlong) {
  is_deferred_ = true;
  RunningLoop loop(handler_);
  Http2Client client(loop.port());
  client.Ask("/custom");
  client.Ask("/custom");
  client.Flush();
  ASSERT_TRUE(loop.Until([&] { return script_.alive == 2; }));
  client.Close();
  ASSERT_TRUE(loop.EverythingIsZero());
  EXPECT_EQ(script_.alive, 0);
  ASSERT_THAT(handler_.Log(), SizeIs(2));
  EXPECT_TRUE(handler_.Log()[0].aborted);
}

}  // namespace
}  // namespace httpd::net
