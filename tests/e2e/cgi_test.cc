#include <signal.h>
#include <sys/socket.h>

#include <filesystem>

#include "tests/e2e/server.h"

namespace {

using e2e::Connection;
using e2e::Eventually;
using e2e::Outcome;

/// CGI programs under the whole server.
class CgiPrograms : public e2e::Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    std::filesystem::create_directories(root_ / "cgi");
    std::filesystem::create_directories(root_ / "out");  // where programs write, as the server's user
    std::filesystem::permissions(root_ / "out", std::filesystem::perms(0777));
    Settings settings;
    settings.more = "Alias /cgi/ \"" + (root_ / "cgi").string() + "/\"\n<Directory \"" + (root_ / "cgi").string() +
                    "\">\nRequire all granted\nOptions +ExecCGI\nSetHandler cgi-script\n</Directory>\n";
    Configure(settings);
    if (!HasFatalFailure()) Start();
  }

  void Program(const std::string& name, const std::string& body) {
    const auto path = root_ / "cgi" / name;
    e2e::WriteFile(path, "#!/bin/sh\n" + body);
    std::filesystem::permissions(path, std::filesystem::perms(0755));
  }

  /// The process id that a program has written to `file`; 0: it has not.
  pid_t PidIn(const std::string& file) const { return std::atoi(e2e::FileText(root_ / file).c_str()); }
  static bool Runs(pid_t pid) { return pid > 0 && os::Identify(pid).has_value(); }
};

TEST_F(CgiPrograms, FinishInTheOldServerWhileTheNewOneTakesOver) {
  // The program waits for a file, which is made when the old server has been told to go.
  Program("wait",
          "echo 'Content-Type: text/plain'; echo 'Content-Length: 6'; echo\n"
          "while ! [ -e '" +
              (root_ / "go").string() + "' ]; do sleep 0.05; done\necho done!\n");
  auto client = Connection::Open(port_);
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->Send("GET /cgi/wait HTTP/1.0\r\n\r\n"));
  ASSERT_TRUE(client->AwaitBytes());
  const pid_t old = Pid();
  const Outcome done = Orchestrator("upgrade", {"--bake", "0", "--detach"});
  ASSERT_EQ(done.status, 0) << done.All();
  ASSERT_NE(Pid(), old);
  EXPECT_TRUE(Get("/index.html"));
  e2e::WriteFile(root_ / "go", "");
  const std::string answer = client->ReadSome(1 << 20);
  EXPECT_EQ(answer.substr(answer.size() - std::min<size_t>(answer.size(), 6)), "done!\n") << answer;
  EXPECT_TRUE(Eventually([&] { return !Runs(old); }));
}

TEST_F(CgiPrograms, EndWithTheClientThatWaitsForThem) {
  Program("sleep", "echo $$ > '" + (root_ / "out" / "pid").string() + "'\nexec sleep 1000\n");
  {
    auto client = Connection::Open(port_);
    ASSERT_TRUE(client);
    ASSERT_TRUE(client->Send("GET /cgi/sleep HTTP/1.1\r\nHost: x\r\n\r\n"));
    ASSERT_TRUE(Eventually([&] { return Runs(PidIn("out/pid")); }));
  }
  EXPECT_TRUE(Eventually([&] { return !Runs(PidIn("out/pid")); }));
}

TEST_F(CgiPrograms, EndWithTheirServer) {
  deaths_allowed_ = true;
  Program("sleep", "echo $$ > '" + (root_ / "out" / "pid").string() + "'\nexec sleep 1000\n");
  auto client = Connection::Open(port_);
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->Send("GET /cgi/sleep HTTP/1.1\r\nHost: x\r\n\r\n"));
  ASSERT_TRUE(Eventually([&] { return Runs(PidIn("out/pid")); }));
  for (const pid_t child : Children(Pid())) ::kill(child, SIGKILL);
  EXPECT_TRUE(Eventually([&] { return !Runs(PidIn("out/pid")); }));
}

TEST_F(CgiPrograms, ThatAreKilledAreAnError500AndTheServerGoesOn) {
  Program("suicide", "kill -9 $$\n");
  const auto answer = Get("/cgi/suicide");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 500);
  EXPECT_NE(ErrorLog().find("End of script output before headers: suicide"), std::string::npos);
  EXPECT_TRUE(Get("/index.html"));
}

TEST_F(CgiPrograms, ThatWriteToStandardErrorAreInTheErrorLogLineByLine) {
  Program("words",
          "echo one >&2; printf 'two\\nthr' >&2; echo 'Content-Type: text/plain'; echo; echo ok; echo ee >&2\n");
  const auto answer = Get("/cgi/words");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  for (const char* word : {": one\n", ": two\n", ": three\n"}) {
    EXPECT_TRUE(Eventually([&] { return ErrorLog().find(word) != std::string::npos; })) << word;
  }
}

}  // namespace
