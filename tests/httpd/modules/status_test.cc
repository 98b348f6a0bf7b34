#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>
#include <set>
#include <sstream>

#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class StatusTest : public HandlerTest {
 protected:
  void SetUp() override {
    Configure("<Location /server-status>\nSetHandler server-status\n</Location>\n");
    const size_t slot = board_->Claim(0, 1, 4).value();
    loop_ = &board_->loop(slot);
    loop_->pid = ::getpid();
    board_->header().start_time = ::time(nullptr) - 100;
    board_->header().generation = 1;
  }
  std::vector<std::string> Keys(const std::string& text) {
    std::vector<std::string> keys;
    for (size_t at = text.find('\n') + 1; at < text.size(); at = text.find('\n', at) + 1) {
      keys.push_back(text.substr(at, text.find(':', at) - at));
    }
    return keys;
  }
  net::LoopSlot* loop_ = nullptr;
};

TEST_F(StatusTest, AutoHasApachesKeysInApachesOrder) {
  loop_->counters.accesses = 10;
  loop_->counters.bytes = 20480;
  loop_->counters.duration_us = 50000;
  const Answer answer = Get("/server-status?auto");
  EXPECT_THAT(answer.fields, HasSubstr("Content-Type: text/plain; charset=ISO-8859-1\r\n"));
  EXPECT_THAT(answer.body, testing::StartsWith("site.example\nServerVersion: Baton/0.1.0 (Unix)\nServerMPM: event\n"));
  std::vector<std::string> keys = Keys(answer.body);
  std::erase(keys, "CPULoad");  // only when some was used
  EXPECT_THAT(
      keys, ElementsAre("ServerVersion", "ServerMPM", "Server Built", "CurrentTime", "RestartTime",
                        "ParentServerConfigGeneration", "ParentServerMPMGeneration", "ServerUptimeSeconds",
                        "ServerUptime", "Load1", "Load5", "Load15", "Total Accesses", "Total kBytes", "Total Duration",
                        "CPUUser", "CPUSystem", "CPUChildrenUser", "CPUChildrenSystem", "Uptime", "ReqPerSec",
                        "BytesPerSec", "BytesPerReq", "DurationPerReq", "BusyWorkers", "GracefulWorkers", "IdleWorkers",
                        "Processes", "Stopping", "ConnsTotal", "ConnsAsyncWaitIO", "ConnsAsyncWriting",
                        "ConnsAsyncKeepAlive", "ConnsAsyncClosing", "Scoreboard", "LostLogLines"));
  EXPECT_THAT(answer.body, HasSubstr("\nTotal Accesses: 10\nTotal kBytes: 20\nTotal Duration: 50\n"));
  EXPECT_THAT(answer.body, HasSubstr("\nServerUptime: 1 minute 40 seconds\n"));
  EXPECT_THAT(answer.body, HasSubstr("\nBytesPerReq: 2048\nDurationPerReq: 5\n"));
}

TEST_F(StatusTest, WithoutRequestsThereIsNoAverage) {
  EXPECT_THAT(Get("/server-status?auto").body, Not(HasSubstr("PerReq")));
}

TEST_F(StatusTest, WithoutExtendedStatusTheNumbersAreLeftOut) {
  Configure("ExtendedStatus Off\n<Location /server-status>\nSetHandler server-status\n</Location>\n");
  EXPECT_THAT(Get("/server-status?auto").body, Not(HasSubstr("Total Accesses")));
  EXPECT_THAT(Get("/server-status?auto").body, HasSubstr("BusyWorkers"));
}

TEST_F(StatusTest, ALeavingLoopShowsG) {
  loop_->draining = 1;
  loop_->counters.busy = 1;
  loop_->worker[0].state = 'W';
  const std::string body = Get("/server-status?auto").body;
  EXPECT_THAT(body, HasSubstr("\nBusyWorkers: 0\nGracefulWorkers: 1\n"));
  EXPECT_THAT(body, HasSubstr("\nStopping: 1\n"));
  EXPECT_THAT(body, HasSubstr("\nScoreboard: G...\n"));
}

TEST_F(StatusTest, ThePageEscapesRequestsAndRefreshes) {
  loop_->worker[0].SetText("192.0.2.1", "h", "GET /<script> HTTP/1.1");
  loop_->worker[0].state = 'W';
  const Answer answer = Get("/server-status?refresh=3");
  EXPECT_THAT(answer.fields, HasSubstr("Refresh: 3\r\n"));
  EXPECT_THAT(answer.fields, HasSubstr("Content-Type: text/html; charset=ISO-8859-1\r\n"));
  EXPECT_THAT(answer.body, HasSubstr("<h1>Apache Server Status for site.example"));
  EXPECT_THAT(answer.body, Not(HasSubstr("<script>")));
}

TEST_F(StatusTest, JsonHoldsEverythingAndIsValidWhateverClientsSend) {
  loop_->counters.accesses = 3;
  loop_->counters.lost_log_lines = 2;
  loop_->worker[0].SetText("192.0.2.1", "h", "GET /\"\\\x01\xff");
  loop_->worker[0].state = 'W';
  const Answer answer = Get("/server-status?json");
  EXPECT_THAT(answer.fields, HasSubstr("Content-Type: application/json\r\n"));
  Poco::JSON::Parser parser;
  const auto report = parser.parse(answer.body).extract<Poco::JSON::Object::Ptr>();
  EXPECT_EQ(report->getValue<int>("accesses"), 3);
  EXPECT_EQ(report->getValue<int>("lost_log_lines"), 2);
  const auto process = report->getArray("processes")->getObject(0);
  EXPECT_EQ(process->getValue<int>("pid"), ::getpid());
  const auto worker = process->getArray("workers")->getObject(0);
  EXPECT_EQ(worker->getValue<std::string>("state"), "W");
  EXPECT_EQ(worker->getValue<std::string>("request"), "GET /\"\\\\\\x01\\xff");
}

TEST_F(StatusTest, MetricsFollowTheRulesOfOpenMetrics) {
  loop_->counters.accesses = 10;
  for (const auto& [target, fields] :
       {std::pair("/server-status?metrics", ""),
        {"/server-status", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n"}}) {
    const Answer answer = Get(target, fields);
    EXPECT_THAT(answer.fields, HasSubstr("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
    EXPECT_THAT(answer.body, HasSubstr("\nhttpd_requests_total 10\n"));
    EXPECT_THAT(answer.body, testing::EndsWith("\n# EOF\n"));
    std::istringstream lines(answer.body);
    std::string family;
    std::string kind;
    std::set<std::string> families;
    for (std::string line; std::getline(lines, line);) {
      if (line == "# EOF") break;
      std::istringstream words(line);
      std::string first;
      std::string second;
      std::string third;
      words >> first >> second >> third;
      if (second == "TYPE") {
        family = third;
        words >> kind;
        EXPECT_TRUE(families.insert(family).second) << family << " comes twice";
      } else if (first == "#") {
        EXPECT_EQ(third, family) << line;
        std::string unit;
        if (second == "UNIT") {
          words >> unit;
          EXPECT_TRUE(family.ends_with("_" + unit)) << line;
        }
      } else {
        const std::string name = first.substr(0, first.find('{'));
        EXPECT_EQ(name, family + (kind == "counter" ? "_total" : kind == "info" ? "_info" : "")) << line;
      }
    }
  }
}

TEST_F(StatusTest, WithoutTableEveryWorkerIsAParagraph) {
  loop_->worker[0].SetText("192.0.2.1", "h", "GET /<x> HTTP/1.1");
  loop_->worker[0].state = 'W';
  loop_->worker[0].accesses = 4;
  EXPECT_THAT(Get("/server-status?notable").body,
              HasSubstr("<b>Server 0-1</b> (" + std::to_string(::getpid()) + "): 0|4|4 [<b>Write</b>]"));
  EXPECT_THAT(Get("/server-status").body, HasSubstr("<td nowrap>GET /&lt;x&gt; HTTP/1.1</td></tr>"));
}

TEST_F(StatusTest, LostLinesAreCountedBeyondTheLifeOfTheirLoop) {
  loop_->counters.lost_log_lines = 5;
  board_->Release(0);
  EXPECT_THAT(Get("/server-status?auto").body, HasSubstr("\nLostLogLines: 5\n"));
  EXPECT_THAT(Get("/server-status").body, HasSubstr("Log lines lost: 5"));
}

TEST_F(StatusTest, HeadHasNoBody) {
  const Answer answer = Ask("HEAD", "/server-status?auto");
  EXPECT_TRUE(answer.without_body);
  EXPECT_GT(answer.content_length, 100u);
}

}  // namespace
}  // namespace httpd::modules
