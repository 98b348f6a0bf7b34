#include "httpd/modules/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>

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
                        "ConnsAsyncKeepAlive", "ConnsAsyncClosing", "Scoreboard"));
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
  EXPECT_THAT(answer.body, HasSubstr("<h1>Server Status for site.example</h1>"));
  EXPECT_THAT(answer.body, Not(HasSubstr("<script>")));
}

TEST_F(StatusTest, HeadHasNoBody) {
  const Answer answer = Ask("HEAD", "/server-status?auto");
  EXPECT_TRUE(answer.without_body);
  EXPECT_GT(answer.content_length, 100u);
}

}  // namespace
}  // namespace httpd::modules
