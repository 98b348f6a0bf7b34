#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "tests/e2e/server.h"

namespace {

namespace fs = std::filesystem;
using e2e::Eventually;
using e2e::Outcome;

std::string Find(const std::string& name) {
  const std::string path = "/usr/bin/" + name;
  return ::access(path.c_str(), X_OK) == 0 ? path : "";
}

/// Clients that other people wrote, while the server is restarted and upgraded under them.
class RealClient : public e2e::Server {
 protected:
  std::string Url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }

  /// Restarts and upgrades until the client has ended.
  Outcome RunWhileReplacing(const std::vector<std::string>& words) {
    e2e::Running client(words, outside_ / "client");
    for (int round = 0; !client.HasEnded() && !HasFailure() && round < 100; ++round) {
      const Outcome done =
          round % 2 == 0 ? Orchestrator("upgrade", {"--bake", "0", "--detach"}) : Httpd({"-k", "graceful", "--wait"});
      EXPECT_EQ(done.status, 0) << done.All();
      ++replaced_;
    }
    return client.Wait();
  }
  int replaced_ = 0;
};

TEST_F(RealClient, CurlComplainsAboutNothing) {
  const std::string curl = Find("curl");
  if (curl.empty()) GTEST_SKIP() << "curl is not installed";
  Start();
  std::vector<std::string> words = {curl,
                                    "--fail",
                                    "--silent",
                                    "--show-error",
                                    "--no-progress-meter",
                                    "--limit-rate",
                                    "200K",
                                    "--write-out",
                                    "%{http_code} %{size_download}\n"};
  for (int i = 0; i < 100; ++i) words.insert(words.end(), {"-o", "/dev/null", Url("/page.html?" + std::to_string(i))});
  const Outcome run = RunWhileReplacing(words);
  EXPECT_EQ(run.status, 0) << run.All();
  const std::string line = "200 " + std::to_string(fs::file_size(root_ / "site" / "page.html")) + "\n";
  EXPECT_EQ(e2e::CountOf(run.out, line), 100U) << run.All();
  EXPECT_EQ(run.err, "");
}

TEST_F(RealClient, ApacheBenchSeesNoFailedRequest) {
  const std::string ab = Find("ab");
  if (ab.empty()) GTEST_SKIP() << "ab is not installed";
  Start();
  for (const bool keep : {true, false}) {
    std::vector<std::string> words = {ab, "-q", "-n", "100000", "-t", "2", "-c", "8", "-s", "30"};
    if (keep) words.push_back("-k");
    words.push_back(Url("/page.html"));
    const Outcome run = RunWhileReplacing(words);
    EXPECT_EQ(run.status, 0) << run.All();
    EXPECT_NE(run.out.find("Failed requests:        0\n"), std::string::npos) << run.All();
    EXPECT_EQ(run.out.find("Non-2xx"), std::string::npos) << run.All();
    EXPECT_EQ(run.out.find("Write errors:           0") == std::string::npos &&
                  run.out.find("Write errors") != std::string::npos,
              false)
        << run.All();
  }
  EXPECT_GT(replaced_, 0);
}

TEST_F(RealClient, WrkSeesNoSocketError) {
  const std::string wrk = Find("wrk");
  if (wrk.empty()) GTEST_SKIP() << "wrk is not installed";
  Start();
  const Outcome run = RunWhileReplacing({wrk, "-t", "1", "-c", "8", "-d", "2s", "--timeout", "30s", Url("/page.html")});
  EXPECT_EQ(run.status, 0) << run.All();
  EXPECT_EQ(run.out.find("Socket errors"), std::string::npos) << run.All();
  EXPECT_EQ(run.out.find("Non-2xx"), std::string::npos) << run.All();
  EXPECT_GT(replaced_, 0);
}

TEST_F(RealClient, ChromiumShowsThePage) {
  const std::string chromium = Find("chromium");
  if (chromium.empty()) GTEST_SKIP() << "chromium is not installed";
  Start();
  const Outcome run =
      RunWhileReplacing({chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                         "--user-data-dir=" + (outside_ / "browser").string(), "--dump-dom", Url("/page.html")});
  EXPECT_EQ(run.status, 0) << run.All();
  EXPECT_NE(run.out.find("line 99 of a small page"), std::string::npos) << run.All();
}

/// Where a server may have to live.
class Place : public e2e::Server {
 protected:
  void StartUpgradeAndStop(const std::vector<std::string>& as = {}) {
    const auto run = [&](const std::vector<std::string>& words) {
      std::vector<std::string> all = as;
      all.insert(all.end(), words.begin(), words.end());
      return e2e::Execute(all);
    };
    const fs::path bin = outside_ / "bin";  // where every user may run them
    fs::create_directories(bin);
    for (const char* name : {"httpd", "orchestrator", "rotatelogs"}) fs::copy_file(e2e::Program(name), bin / name);
    const std::vector<std::string> where = {"-d", root_.string(), "-f", "conf/httpd.conf"};
    const auto command = [&](const std::string& program, std::vector<std::string> first,
                             std::vector<std::string> last) {
      std::vector<std::string> words = {(bin / program).string()};
      words.insert(words.end(), first.begin(), first.end());
      words.insert(words.end(), where.begin(), where.end());
      words.insert(words.end(), last.begin(), last.end());
      return words;
    };
    Outcome done = run(command("httpd", {}, {"-k", "start"}));
    ASSERT_EQ(done.status, 0) << done.All();
    auto idle = e2e::Connection::Open(port_);
    ASSERT_TRUE(idle);
    ASSERT_TRUE(idle->Send(e2e::GetRequest("/index.html?rid=before")));
    ASSERT_TRUE(idle->Read());
    const pid_t before = Pid();
    done = run(command("httpd", {}, {"-k", "graceful", "--wait"}));
    ASSERT_EQ(done.status, 0) << done.All();
    done = run(command("orchestrator", {"upgrade"}, {"--bake", "0"}));
    ASSERT_EQ(done.status, 0) << done.All();
    EXPECT_NE(Pid(), before);
    ASSERT_TRUE(idle->Send(e2e::GetRequest("/index.html?rid=after")));
    EXPECT_TRUE(idle->Read()) << idle->Why();
    idle.reset();
    done = run(command("orchestrator", {"status"}, {}));
    EXPECT_EQ(done.status, 0) << done.All();
    EXPECT_NE(done.out.find(std::to_string(Pid())), std::string::npos) << done.All();
    done = run(command("orchestrator", {"stop"}, {"--graceful"}));
    EXPECT_EQ(done.status, 0) << done.All();
    EXPECT_TRUE(Eventually([this] { return Processes().empty(); }));
    const auto rids = LoggedRids();
    EXPECT_TRUE(rids.contains("before") && rids.contains("after"));
  }

  std::string QuotedPipedLog() const {
    return "|\\\"" + (outside_ / "bin" / "rotatelogs").string() + "\\\" \\\"" +
           (root_ / "logs" / "access.log").string() + "\\\" 20K";
  }
};

TEST_F(Place, MayHaveAPathOfTwoHundredBytes) {
  std::string path = (outside_ / "long").string();
  while (path.size() < 199) path += path.size() % 60 == 0 ? "/x" : "x";
  UseRoot(path.substr(0, 200));
  Configure({.log = QuotedPipedLog()});
  StartUpgradeAndStop();
}

TEST_F(Place, MayHaveSpacesInItsPath) {
  UseRoot(outside_ / "a root with  spaces");
  Configure({.log = QuotedPipedLog()});
  StartUpgradeAndStop();
}

TEST_F(Place, MayBelongToAUserWhoIsNotRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "we are such a user already: every test shows it";
  const std::string setpriv = Find("setpriv");
  if (setpriv.empty()) GTEST_SKIP() << "setpriv is not installed";
  const uid_t nobody = 65534;
  Configure({.log = QuotedPipedLog()});
  ::chmod(outside_.c_str(), 0777);
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    ASSERT_EQ(::chown(entry.path().c_str(), nobody, nobody), 0);
  }
  ASSERT_EQ(::chown(root_.c_str(), nobody, nobody), 0);
  StartUpgradeAndStop({setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--"});
}

}  // namespace
