#include "tests/support/load_client.h"

#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "os/file.h"
#include "tests/support/scripted_server.h"

namespace support {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

const std::string kBody = "<p>the small page of the test</p>\n";

std::string RidOf(const std::string& head) {
  const size_t from = head.find("rid=");
  return from == std::string::npos ? "" : head.substr(from + 4, head.find(' ', from) - from - 4);
}

/// One client of one kind against scripts: the reference fetch is served well, then `scripts` run, one per connection,
/// then every further connection is served well and the first request on it ends the run.
class Against {
 public:
  explicit Against(ClientKind kind, std::vector<ScriptedServer::Script> scripts)
      : server_(WithReference(std::move(scripts)), [this](Peer& peer) { ServeWell(peer); }) {
    options_.server = server_.address();
    options_.connections[static_cast<size_t>(kind)] = 1;
    options_.small = {"/small.html"};
    options_.run = "t";
    options_.late = milliseconds(3000);
    options_.think_min = milliseconds(20);
    options_.think_max = milliseconds(30);
    options_.upload_time = milliseconds(100);
    options_.upload_bytes = 10'000;
    options_.ranges = false;
  }

  LoadOptions& options() { return options_; }
  ScriptedServer& server() { return server_; }
  LoadClient& client() { return *client_; }
  /// A script may end the run by itself; only the first call counts, because a second Stop() gives up what is in
  /// progress.
  void Stop() {
    if (!stopped_.exchange(true)) client_->Stop();
  }

  Report Run() {
    Prepare();
    return client_->Run();
  }
  void Prepare() {
    if (client_) return;
    auto client = LoadClient::Create(options_, clock_);
    if (!client) throw std::runtime_error(client.error().Text());
    client_ = std::move(client).value();
  }

  static void AnswerAll(Peer& peer) {
    for (std::string head; !(head = peer.ReadHead()).empty();) AnswerOne(peer, head);
  }
  static void AnswerOne(Peer& peer, const std::string& head, std::string_view headers = "") {
    std::string response = Response(kBody, headers);
    if (head.starts_with("HEAD ")) response.resize(response.size() - kBody.size());
    peer.Send(response);
  }

 private:
  static std::vector<ScriptedServer::Script> WithReference(std::vector<ScriptedServer::Script> scripts) {
    scripts.insert(scripts.begin(), AnswerAll);
    return scripts;
  }
  void ServeWell(Peer& peer) {
    for (std::string head; !(head = peer.ReadHead()).empty();) {
      Stop();
      if (head.find("Content-Length: ") != std::string::npos) {
        peer.ReadBytes(options_.upload_bytes);
      } else if (head.find("chunked") != std::string::npos) {
        peer.ReadChunked();
      }
      AnswerOne(peer, head);
    }
  }

  os::SystemClock clock_;
  LoadOptions options_;
  std::unique_ptr<LoadClient> client_;
  std::atomic<bool> stopped_ = false;
  ScriptedServer server_;  // last: its thread ends first
};

/// Exactly `count` failures of `kind`, and none of any other.
void ExpectOnly(const Report& report, FailureKind kind, uint64_t count = 1) {
  EXPECT_EQ(report.Count(kind), count);
  EXPECT_EQ(report.Failures(), count) << ToText(report, {}, 1);
}

TEST(LoadClient, ServerThatAnswersRightlyHasNoFailureOfAnyKind) {
  for (size_t kind = 0; kind < kClientKinds; ++kind) {
    if (static_cast<ClientKind>(kind) == ClientKind::kDownload) continue;  // has a test of its own
    SCOPED_TRACE(kClientKindNames[kind]);
    Against test(static_cast<ClientKind>(kind), {});
    const Report report = test.Run();
    EXPECT_EQ(report.Failures(), 0U) << ToText(report, {}, 1);
    EXPECT_GE(report.Answered(), 1U);
    EXPECT_EQ(report.Answered(), report.Requests());
  }
}

TEST(LoadClient, EveryConnectionToAClosedPortCountsAsRefused) {
  Against test(ClientKind::kFresh, {});
  test.Prepare();
  test.server().StopListening();
  test.options().duration = milliseconds(0);
  std::thread stopper([&test] {
    os::SystemClock().Sleep(milliseconds(400));  // the length of the run, not a synchronisation
    test.Stop();
  });
  const Report report = test.Run();
  stopper.join();
  EXPECT_GT(report.Requests(), 0U);
  ExpectOnly(report, FailureKind::kRefused, report.Requests());
}

TEST(LoadClient, CloseBeforeTheFirstByteOfTheFirstResponseCountsAsResetBeforeResponse) {
  Against test(ClientKind::kFresh, {[](Peer& peer) { peer.ReadHead(); }});
  ExpectOnly(test.Run(), FailureKind::kResetBefore);
}

TEST(LoadClient, ResetBeforeTheFirstByteOfTheFirstResponseCountsAsResetBeforeResponse) {
  Against test(ClientKind::kBusy, {[](Peer& peer) {
                 peer.ReadHead();
                 peer.Reset();
               }});
  ExpectOnly(test.Run(), FailureKind::kResetBefore);
}

TEST(LoadClient, CloseWithinTheBodyCountsAsCut) {
  Against test(ClientKind::kFresh, {[](Peer& peer) {
                 peer.ReadHead();
                 const auto response = Response(kBody);
                 peer.Send(std::string_view(response).substr(0, response.size() - 1));
               }});
  ExpectOnly(test.Run(), FailureKind::kCut);
}

TEST(LoadClient, ResetWithinTheHeadCountsAsCut) {
  Against test(ClientKind::kFresh, {[&test](Peer& peer) {
                 peer.ReadHead();
                 peer.Send("HTTP/1.1 200 ");
                 os::SystemClock().Sleep(milliseconds(50));  // a reset at once might overtake the bytes
                 peer.Reset();
               }});
  ExpectOnly(test.Run(), FailureKind::kCut);
}

TEST(LoadClient, ChunkedBodyWithoutItsLastChunkCountsAsCut) {
  Against test(ClientKind::kFresh, {[](Peer& peer) {
                 peer.ReadHead();
                 peer.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + kBody.substr(0, 5) + "\r\n");
               }});
  ExpectOnly(test.Run(), FailureKind::kCut);
}

TEST(LoadClient, NoAnswerWithinTheLimitCountsAsLate) {
  Against test(ClientKind::kBusy, {[](Peer& peer) { peer.AwaitClose(); }});
  test.options().late = milliseconds(150);
  const Report report = test.Run();
  ExpectOnly(report, FailureKind::kLate);
  EXPECT_GE(report.WorstBetween(report.started, report.started + 10), 150'000U);
}

TEST(LoadClient, OtherStatusCountsAsWrongStatusAndTheConnectionGoesOn) {
  Against test(ClientKind::kBusy, {[&test](Peer& peer) {
                 peer.ReadHead();
                 peer.Send(Response(kBody, "", 503));
                 const auto head = peer.ReadHead();
                 test.Stop();
                 Against::AnswerOne(peer, head);
                 peer.AwaitClose();
               }});
  const Report report = test.Run();
  ExpectOnly(report, FailureKind::kWrongStatus);
  EXPECT_EQ(report.Answered(), 1U);
}

TEST(LoadClient, BodyThatDiffersInOneByteCountsAsWrongBody) {
  Against test(ClientKind::kFresh, {[](Peer& peer) {
                 peer.ReadHead();
                 std::string other = kBody;
                 other.back() ^= 1;
                 peer.Send(Response(other));
                 peer.AwaitClose();
               }});
  ExpectOnly(test.Run(), FailureKind::kWrongBody);
}

TEST(LoadClient, WholeBodyThatIsShorterThanTheReferenceCountsAsWrongBody) {
  Against test(ClientKind::kFresh, {[](Peer& peer) {
                 peer.ReadHead();
                 peer.Send(Response(kBody.substr(1)));
                 peer.AwaitClose();
               }});
  ExpectOnly(test.Run(), FailureKind::kWrongBody);
}

TEST(LoadClient, UnannouncedCloseOfAnIdleConnectionCountsAsClosedIdleAndFailsNoRequest) {
  Against test(ClientKind::kIdle, {[](Peer& peer) { Against::AnswerOne(peer, peer.ReadHead()); }});
  const Report report = test.Run();
  ExpectOnly(report, FailureKind::kClosedIdle);
  EXPECT_EQ(report.Answered(), report.Requests());
}

TEST(LoadClient, ConnectionClosedBeforeItsPromisedKeepAliveTimeCountsAsClosedIdle) {
  Against test(ClientKind::kIdle,
               {[](Peer& peer) { Against::AnswerOne(peer, peer.ReadHead(), "Keep-Alive: timeout=5, max=100\r\n"); }});
  ExpectOnly(test.Run(), FailureKind::kClosedIdle);
}

TEST(LoadClient, ConnectionClosedAtTheEndOfItsPromisedKeepAliveTimeIsNoFailure) {
  Against test(ClientKind::kIdle, {[](Peer& peer) {
                 Against::AnswerOne(peer, peer.ReadHead(), "Keep-Alive: timeout=1\r\n");
                 os::SystemClock().Sleep(milliseconds(1000));  // what it promised
               }});
  test.options().think_min = test.options().think_max = milliseconds(1500);
  const Report report = test.Run();
  EXPECT_EQ(report.Failures(), 0U) << ToText(report, {}, 1);
  EXPECT_EQ(report.kinds[static_cast<size_t>(ClientKind::kIdle)].announced_closes, 1U);
}

TEST(LoadClient, UnannouncedCloseOfAKeptConnectionAfterARequestWasSentCountsAsClosedUnderRequest) {
  Against test(ClientKind::kBusy, {[](Peer& peer) {
                 Against::AnswerOne(peer, peer.ReadHead());
                 peer.ReadHead();
               }});
  ExpectOnly(test.Run(), FailureKind::kClosedUnderRequest);
}

TEST(LoadClient, AnnouncedCloseIsNoFailure) {
  Against test(ClientKind::kBusy,
               {[](Peer& peer) { Against::AnswerOne(peer, peer.ReadHead(), "Connection: close\r\n"); }});
  const Report report = test.Run();
  EXPECT_EQ(report.Failures(), 0U) << ToText(report, {}, 1);
  EXPECT_EQ(report.kinds[static_cast<size_t>(ClientKind::kBusy)].announced_closes, 1U);
}

TEST(LoadClient, CloseAfterAnHttp10ResponseIsNoFailure) {
  Against test(ClientKind::kBusy, {[](Peer& peer) {
                 peer.ReadHead();
                 peer.Send("HTTP/1.0 200 OK\r\n\r\n" + kBody);
               }});
  const Report report = test.Run();
  EXPECT_EQ(report.Failures(), 0U) << ToText(report, {}, 1);
  EXPECT_EQ(report.Answered(), report.Requests());
}

TEST(LoadClient, PipelinedRequestsBehindAnAnnouncedCloseAreSentAgainWithTheirRids) {
  std::vector<std::string> rids, again;
  Against* self = nullptr;
  Against test(ClientKind::kPipeline, {[&rids](Peer& peer) {
                                         const auto first = peer.ReadHead();
                                         rids.push_back(RidOf(first));
                                         Against::AnswerOne(peer, first, "Connection: close\r\n");
                                         // Everything was sent in one write, so it is all here.
                                         rids.push_back(RidOf(peer.ReadHead()));
                                       },
                                       [&again, &self](Peer& peer) {
                                         const auto head = peer.ReadHead();
                                         again.push_back(RidOf(head));
                                         self->Stop();
                                         Against::AnswerOne(peer, head);
                                         Against::AnswerAll(peer);
                                       }});
  self = &test;
  const Report report = test.Run();
  EXPECT_EQ(report.Failures(), 0U) << ToText(report, {}, 1);
  ASSERT_EQ(rids.size(), 2U);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0], rids[1]);
  EXPECT_NE(rids[0], rids[1]);
  EXPECT_EQ(report.Answered(), report.Requests());
}

TEST(LoadClient, UnannouncedCloseWithinAPipelineFailsEveryRequestThatWasNotAnswered) {
  Against test(ClientKind::kPipeline, {[](Peer& peer) {
                 Against::AnswerOne(peer, peer.ReadHead());
                 peer.Finish();  // a close with requests unread would be a reset, which may overtake the answer
                 peer.AwaitClose();
               }});
  const Report report = test.Run();
  const uint64_t lost = report.Count(FailureKind::kClosedUnderRequest);
  EXPECT_GE(lost, 1U);
  EXPECT_LE(lost, 7U);
  ExpectOnly(report, FailureKind::kClosedUnderRequest, lost);
  EXPECT_EQ(report.Answered() + lost, report.Requests());
}

TEST(LoadClient, PipelinedAnswersInTheWrongOrderCountAsWrongBody) {
  const std::string other = "another page";
  const auto answer = [&other](const std::string& head, bool swapped) {
    const bool first = head.find("/small.html") != std::string::npos;
    const std::string& body = first != swapped ? kBody : other;
    std::string response = Response(body);
    if (head.starts_with("HEAD ")) response.resize(response.size() - body.size());
    return response;
  };
  const auto serve = [&answer](Peer& peer) {
    for (std::string head; !(head = peer.ReadHead()).empty();) peer.Send(answer(head, false));
  };
  uint64_t swapped = 0;
  Against* self = nullptr;
  Against test(ClientKind::kPipeline, {serve, [&](Peer& peer) {
                                         for (std::string head; !(head = peer.ReadHead()).empty();) {
                                           self->Stop();
                                           swapped += head.starts_with("GET ") ? 1 : 0;
                                           peer.Send(answer(head, true));
                                         }
                                       }});
  self = &test;
  test.options().small = {"/small.html", "/other.html"};
  const Report report = test.Run();
  ExpectOnly(report, FailureKind::kWrongBody, swapped);
}

TEST(LoadClient, LineThatIsNotHttpCountsAsMalformed) {
  Against test(ClientKind::kFresh, {[](Peer& peer) {
                 peer.ReadHead();
                 peer.Send("220 smtp.example ESMTP\r\n");
                 peer.AwaitClose();
               }});
  ExpectOnly(test.Run(), FailureKind::kMalformed);
}

TEST(LoadClient, BytesBehindAWholeResponseCountAsMalformed) {
  Against test(ClientKind::kBusy, {[](Peer& peer) {
                 peer.ReadHead();
                 peer.Send(Response(kBody) + "more");
                 peer.AwaitClose();
               }});
  ExpectOnly(test.Run(), FailureKind::kMalformed);
}

TEST(LoadClient, UploadsArriveWholeWithLengthChunkedAndAfterContinue) {
  std::string expected;
  for (size_t i = 0; i < 10'000; ++i) expected += static_cast<char>('a' + i % 23);
  int whole = 0, lengths = 0, chunks = 0, continued = 0;
  Against* self = nullptr;
  Against test(ClientKind::kUpload, {[&](Peer& peer) {
                 for (int n = 0; n < 6; ++n) {
                   const auto head = peer.ReadHead();
                   EXPECT_TRUE(head.starts_with("POST /small.html?rid=")) << head;
                   if (head.find("Expect: 100-continue") != std::string::npos) {
                     peer.Send("HTTP/1.1 100 Continue\r\n\r\n");
                     ++continued;
                   }
                   const bool chunked = head.find("Transfer-Encoding: chunked") != std::string::npos;
                   ++(chunked ? chunks : lengths);
                   whole += (chunked ? peer.ReadChunked() : peer.ReadBytes(10'000)) == expected ? 1 : 0;
                   if (n == 5) self->Stop();
                   peer.Send(Response(kBody));
                 }
                 peer.AwaitClose();
               }});
  self = &test;
  const Report report = test.Run();
  EXPECT_EQ(report.Failures(), 0U) << ToText(report, {}, 1);
  EXPECT_EQ(whole, 6);
  EXPECT_EQ(lengths, 3);
  EXPECT_EQ(chunks, 3);
  EXPECT_EQ(continued, 2);
}

TEST(LoadClient, ResetUnderAnUploadCountsOnce) {
  Against test(ClientKind::kUpload, {[](Peer& peer) {
                 peer.ReadHead();
                 peer.ReadBytes(100);
                 peer.Reset();
               }});
  ExpectOnly(test.Run(), FailureKind::kResetBefore);
}

std::string BigBody() {
  std::string body(2'000'000, '\0');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 2654435761U >> 13);
  return body;
}

TEST(LoadClient, DownloadIsReadSlowlyAndComparedToItsLastByte) {
  std::string big = BigBody(), bad = big;
  bad.back() ^= 1;
  Against* self = nullptr;
  Against test(ClientKind::kDownload, {[&big](Peer& peer) {
                                         peer.ReadHead();
                                         peer.Send(Response(big));
                                       },
                                       [&](Peer& peer) {
                                         peer.ReadHead();
                                         peer.Send(Response(big));
                                         peer.ReadHead();
                                         self->Stop();
                                         peer.Send(Response(bad));
                                         peer.AwaitClose();
                                       }});
  self = &test;
  test.options().big = "/big.bin";
  test.options().download_time = milliseconds(300);
  const Report report = test.Run();
  ExpectOnly(report, FailureKind::kWrongBody);
  EXPECT_EQ(report.Answered(), 1U);
  EXPECT_GE(report.seconds, 0.55);  // two downloads
}

TEST(LoadClient, DownloadCutNearItsEndCountsAsCut) {
  std::string big = BigBody();
  Against* self = nullptr;
  Against test(ClientKind::kDownload, {[&big](Peer& peer) {
                                         peer.ReadHead();
                                         peer.Send(Response(big));
                                       },
                                       [&](Peer& peer) {
                                         peer.ReadHead();
                                         self->Stop();
                                         const auto response = Response(big);
                                         peer.Send(std::string_view(response).substr(0, response.size() - 10));
                                       }});
  self = &test;
  test.options().big = "/big.bin";
  test.options().download_time = milliseconds(200);
  ExpectOnly(test.Run(), FailureKind::kCut);
}

TEST(LoadClient, FilesNameEveryRequestTheServerSawOnceByHowItEnded) {
  char directory[] = "/tmp/loadclient.XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::filesystem::path base = directory;
  std::string failed_rid, answered_rid;
  Against* self = nullptr;
  Against test(ClientKind::kBusy, {[&failed_rid](Peer& peer) { failed_rid = RidOf(peer.ReadHead()); },
                                   [&](Peer& peer) {
                                     const auto head = peer.ReadHead();
                                     answered_rid = RidOf(head);
                                     self->Stop();
                                     Against::AnswerOne(peer, head);
                                     peer.AwaitClose();
                                   }});
  self = &test;
  test.options().answered_file = base / "answered";
  test.options().failed_file = base / "failed";
  test.options().started_file = base / "started";
  test.Run();
  EXPECT_EQ(os::ReadFile(base / "answered").value(), answered_rid + "\n");
  EXPECT_EQ(os::ReadFile(base / "failed").value(), failed_rid + " busy reset_before_response\n");
  EXPECT_TRUE(std::filesystem::exists(base / "started"));
  std::filesystem::remove_all(base);
}

TEST(LoadClient, ReferenceThatIsNotA200IsRefusedWithItsAddress) {
  ScriptedServer server({}, [](Peer& peer) {
    peer.ReadHead();
    peer.Send(Response("no", "", 404));
  });
  LoadOptions options;
  options.server = server.address();
  options.run = "t";
  options.connections[0] = 1;
  os::SystemClock clock;
  const auto client = LoadClient::Create(options, clock);
  ASSERT_FALSE(client);
  EXPECT_THAT(client.error().Text(), HasSubstr("status 404, not 200"));
  EXPECT_THAT(client.error().Text(), HasSubstr(server.address().Text()));
}

TEST(LoadReport, JsonHoldsCountsLatenciesAndMarks) {
  Report report;
  report.started = 1000;
  report.kinds[0].requests = 3;
  report.kinds[0].answered = 2;
  report.kinds[0].failures[static_cast<size_t>(FailureKind::kLate)] = 1;
  report.kinds[0].first_byte.Record(1500);
  report.notes.push_back({1002.5, ClientKind::kFresh, FailureKind::kLate, "t-1", "a \"quoted\"\nword"});
  report.worst_us.assign(500, 100);
  report.worst_us[250] = 70'000;  // 2.50 s after the start
  const auto parsed = Poco::JSON::Parser().parse(ToJson(report, {{1002.4, "switch"}, {1004.0, "quiet"}}, 0.5));
  const auto object = parsed.extract<Poco::JSON::Object::Ptr>();
  EXPECT_EQ(object->getValue<int>("failed"), 1);
  EXPECT_EQ(object->getObject("failures")->getValue<int>("late"), 1);
  EXPECT_DOUBLE_EQ(object->getObject("first_byte_ms")->getValue<double>("max"), 1.5);
  EXPECT_EQ(object->getArray("notes")->getObject(0)->getValue<std::string>("detail"), "a \"quoted\"\nword");
  const auto marks = object->getArray("marks");
  EXPECT_DOUBLE_EQ(marks->getObject(0)->getValue<double>("worst_ms"), 70.0);
  EXPECT_EQ(marks->getObject(0)->getValue<int>("failures"), 1);
  EXPECT_DOUBLE_EQ(marks->getObject(1)->getValue<double>("worst_ms"), 0.1);
  EXPECT_EQ(marks->getObject(1)->getValue<int>("failures"), 0);
}

TEST(LoadReport, MarksFileWithABadLineIsRefusedWithItsNumber) {
  char path[] = "/tmp/marks.XXXXXX";
  os::Fd fd(::mkstemp(path));
  ASSERT_TRUE(os::WriteAll(fd, "12.5 first one\n\n13\nsoon\n"));
  const auto marks = ReadMarks(path);
  ASSERT_FALSE(marks);
  EXPECT_THAT(marks.error().what, HasSubstr(":4: "));
  ASSERT_TRUE(os::RemoveFile(path));
}

TEST(Histogram, PercentilesAreNeverTooLowAndAtMostOnePercentTooHigh) {
  Histogram h;
  for (uint64_t us = 1; us <= 100'000; ++us) h.Record(us);
  for (const double p : {0.001, 0.5, 0.99, 0.999}) {
    const double exact = p * 100'000;
    EXPECT_GE(static_cast<double>(h.Percentile(p)), exact - 1e-6) << p;
    EXPECT_LE(static_cast<double>(h.Percentile(p)), exact * 1.01) << p;
  }
  EXPECT_EQ(h.Percentile(1), 100'000U);
  EXPECT_EQ(h.max(), 100'000U);
  EXPECT_EQ(Histogram().Percentile(0.5), 0U);
  h.Record(~uint64_t{0});
  EXPECT_EQ(h.max(), ~uint64_t{0});
}

}  // namespace
}  // namespace support
