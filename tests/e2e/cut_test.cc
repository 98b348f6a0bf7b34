#include <signal.h>
#include <sys/time.h>

#include <cerrno>

#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::Eventually;
using e2e::Outcome;

/// What is in progress at the deadline of a drain is cut, and named one by one.
class Cut : public e2e::Server {
 protected:
  std::optional<Connection> SlowDownload(const std::string& path = "/big.bin?slow") {
    auto connection = Connection::Open(port_, 4096);
    if (!connection || !connection->Send(e2e::GetRequest(path, "Connection: close\r\n"))) return std::nullopt;
    return connection->ReadSome(1000).size() == 1000 ? std::move(connection) : std::nullopt;
  }

  static std::string Client(const Connection& connection) {
    return "127.0.0.1:" + std::to_string(connection.LocalPort());
  }

  /// The line of --json output that has `words`; "" when there is none.
  static std::string LineWith(const std::string& text, const std::string& words) {
    const size_t at = text.find(words);
    if (at == std::string::npos) return "";
    const size_t begin = text.rfind('\n', at) + 1;
    return text.substr(begin, text.find('\n', at) - begin);
  }

  /// Number after `"key":` in a line of JSON; -1: not there.
  static long long Number(const std::string& line, const std::string& key) {
    const size_t at = line.find("\"" + key + "\":");
    return at == std::string::npos ? -1 : std::atoll(line.c_str() + at + key.size() + 3);
  }
};

TEST_F(Cut, RequestsAreListedWithClientLineBytesAndAgeAndIdleConnectionsAreNot) {
  Start();
  auto download = SlowDownload();
  auto upload = Connection::Open(port_);
  auto head = Connection::Open(port_);
  auto idle = Connection::Open(port_);
  ASSERT_TRUE(download && upload && head && idle);
  ASSERT_TRUE(upload->Send("POST /page.html?up HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"));
  ASSERT_TRUE(idle->Send(e2e::GetRequest("/index.html")));
  ASSERT_TRUE(idle->Read());
  ASSERT_TRUE(Eventually([this] {  // the upload has been begun, and the status request itself
    const auto status = Status();
    return status.contains("BusyWorkers") && std::stoi(status.at("BusyWorkers")) >= 3;
  }));
  // Only while draining is an unfinished head served to its end by the old instance: before, it would be passed on.
  const pid_t old = Pid();
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0", "--graceful-shutdown-timeout", "1", "--json"});
  EXPECT_EQ(upgraded.status, 4) << upgraded.All();
  const std::string down = LineWith(upgraded.out, "/big.bin?slow");
  EXPECT_NE(down.find("{\"event\":\"cut\""), std::string::npos) << upgraded.All();
  EXPECT_EQ(Number(down, "pid"), old);
  EXPECT_NE(down.find("\"client\":\"" + Client(*download) + "\""), std::string::npos) << down;
  EXPECT_NE(down.find("\"phase\":\"answering\""), std::string::npos) << down;
  EXPECT_GE(Number(down, "bytes_sent"), 1000);
  EXPECT_GT(Number(down, "bytes_left"), 0);
  EXPECT_GT(Number(down, "bytes_sent") + Number(down, "bytes_left"), 20'000'000) << "head and body";
  EXPECT_GE(Number(down, "age_ms"), 1000);
  const std::string up = LineWith(upgraded.out, "\"request\":\"POST");
  EXPECT_NE(up.find("\"client\":\"" + Client(*upload) + "\""), std::string::npos) << upgraded.out;
  EXPECT_NE(up.find("\"phase\":\"receiving\""), std::string::npos) << up;
  EXPECT_NE(up.find("\"bytes_sent\":0"), std::string::npos) << up;
  EXPECT_EQ(e2e::CountOf(upgraded.out, "{\"event\":\"cut\""), 2U) << upgraded.out;
  const std::string result = LineWith(upgraded.out, "{\"event\":\"result\"");
  EXPECT_EQ(Number(result, "cut"), 2) << result;
  EXPECT_NE(result.find("\"cut_requests\":[{\"client\":"), std::string::npos) << result;
  EXPECT_NE(upgraded.err.find("2 requests of process " + std::to_string(old) + " were cut at the deadline of 1 s"),
            std::string::npos)
      << upgraded.All();
  EXPECT_NE(ErrorLog().find(":warn]"), std::string::npos);
  EXPECT_NE(ErrorLog().find("cut at the deadline: \"GET /big.bin?slow HTTP/1.1\" from " + Client(*download)),
            std::string::npos);
  // The client that was idle, and the one without a request, went on to the new instance.
  ASSERT_TRUE(idle->Send(e2e::GetRequest("/index.html")));
  EXPECT_TRUE(idle->Read()) << idle->Why();
  EXPECT_NE(e2e::FileText(root_ / "logs" / "access.log").find("/big.bin?slow"), std::string::npos)
      << "what was sent until the cut is logged";
}

TEST_F(Cut, AHeadThatHadNotArrivedIsListedWithWhatIsKnown) {
  Start();
  auto head = Connection::Open(port_);
  ASSERT_TRUE(head && head->Send("GET /half HTTP/1.1\r\nHos"));
  ASSERT_TRUE(Get("/index.html"));
  const Outcome stopped = Orchestrator("stop", {"--graceful", "--graceful-shutdown-timeout", "1", "--json"});
  EXPECT_EQ(stopped.status, 4) << stopped.All();
  const std::string line = LineWith(stopped.out, "{\"event\":\"cut\"");
  EXPECT_NE(line.find("\"request\":\"GET /half HTTP/1.1\""), std::string::npos) << stopped.All();
  EXPECT_NE(line.find("\"phase\":\"receiving\""), std::string::npos) << line;
  EXPECT_NE(stopped.err.find("1 request was cut at the deadline of 1 s"), std::string::npos) << stopped.All();
}

TEST_F(Cut, ByASignalsDeadlineIsInTheErrorLogAndLeavesNoList) {
  Configure({.graceful_shutdown = 1});
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  ASSERT_EQ(::kill(Pid(), SIGWINCH), 0);
  EXPECT_TRUE(Eventually([this] { return Processes().empty(); }));
  EXPECT_NE(ErrorLog().find("cut at the deadline: \"GET /big.bin?slow HTTP/1.1\" from " + Client(*download)),
            std::string::npos);
  EXPECT_TRUE(RuntimeFiles().empty());
}

TEST_F(Cut, ByAChildThatHadToBeKilledIsKnownFromTheScoreboard) {
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  for (const pid_t child : Children(Pid())) ASSERT_EQ(::kill(child, SIGSTOP), 0);
  const Outcome stopped = Orchestrator("stop", {"--graceful", "--graceful-shutdown-timeout", "1", "--json"});
  EXPECT_EQ(stopped.status, 4) << stopped.All();
  const std::string line = LineWith(stopped.out, "{\"event\":\"cut\"");
  EXPECT_NE(line.find("\"phase\":\"unknown\",\"request\":\"GET /big.bin?slow HTTP/1.1\""), std::string::npos)
      << stopped.All();
  EXPECT_EQ(line.find("bytes_sent"), std::string::npos) << "nobody knows: " << line;
  EXPECT_EQ(stopped.out.find("TERM"), std::string::npos) << "the parent did it by itself: " << stopped.out;
  EXPECT_TRUE(Processes().empty());
  EXPECT_NE(ErrorLog().find("AH00046: child process"), std::string::npos);
}

TEST_F(Cut, AnInstanceThatIsStuckGetsTermAndKillAndItsChildrenGoToo) {
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  const pid_t parent = Pid();
  e2e::Running stop(OrchestratorCommand("stop", {"--graceful", "--graceful-shutdown-timeout", "1"}), outside_ / "stop");
  ASSERT_TRUE(Eventually([this] { return Pid() == 0; })) << "it does not drain";
  for (const pid_t child : Children(parent)) {
    // The one without the download leaves by itself meanwhile.
    ASSERT_TRUE(::kill(child, SIGSTOP) == 0 || errno == ESRCH);
  }
  ASSERT_EQ(::kill(parent, SIGSTOP), 0);
  const Outcome stopped = stop.Wait();
  EXPECT_EQ(stopped.status, 4) << stopped.All();
  const std::string who = "process " + std::to_string(parent);
  EXPECT_NE(stopped.out.find(who + " is still there after its deadline: TERM"), std::string::npos) << stopped.All();
  EXPECT_NE(stopped.out.find(who + " ignores TERM: KILL"), std::string::npos) << stopped.All();
  EXPECT_NE(stopped.out.find("which " + who + " had started, does not end with it: KILL"), std::string::npos)
      << stopped.All();
  EXPECT_NE(stopped.err.find("1 request was cut at the deadline of 1 s, and a process had to be killed"),
            std::string::npos)
      << stopped.All();
  EXPECT_TRUE(Eventually([this] { return Processes().empty(); }));
}

TEST_F(Cut, NeverHappensWithoutALimitAndThatIsSaid) {
  Configure({.graceful_shutdown = 0});
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  e2e::Running stop(OrchestratorCommand("stop", {"--graceful"}), outside_ / "stop");
  ASSERT_TRUE(Eventually([&] { return e2e::FileText(outside_ / "stop.out").find("; no limit") != std::string::npos; }));
  EXPECT_NE(e2e::FileText(outside_ / "stop.out").find("no time limit"), std::string::npos);
  EXPECT_FALSE(stop.HasEnded());
  download.reset();  // the client gives up
  EXPECT_EQ(stop.Wait().status, 0);
}

TEST_F(Cut, ListsThatNobodyFetchedAreRemovedByTheNextCommand) {
  Start();
  const auto list = root_ / "run" / "httpd.4194300.cut";  // above any pid_max that a test machine has in use
  e2e::WriteFile(list, "");
  const timeval old[2] = {{1000000000, 0}, {1000000000, 0}};
  ASSERT_EQ(::utimes(list.c_str(), old), 0);
  EXPECT_EQ(Orchestrator("stop").status, 0);
  EXPECT_TRUE(RuntimeFiles().empty());
}

}  // namespace
