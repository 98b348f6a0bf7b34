// The built orchestrator on a pseudo-terminal: what its user sees, and what stays behind.
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "orchestrator/run_program.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/pid_file.h"
#include "os/process.h"
#include "os/socket.h"
#include "tests/orchestrator/terminal_model.h"

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class Terminal : public testing::Test {
 protected:
  void SetUp() override {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    char name[] = "/tmp/baton-terminal.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    fs::create_directory(root_ / "run");
    const int pid = ::getpid();
    address_ = "127." + std::to_string(128 + (pid >> 16) % 64) + "." + std::to_string((pid >> 8) & 255) + "." +
               std::to_string(pid & 255) + ":18080";
  }

  void TearDown() override {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    for (const std::string& name : os::ListDirectory("/proc").value()) {
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      auto line = os::ReadFile("/proc/" + name + "/cmdline");
      if (!line || !line.value().starts_with(FAKE_HTTPD)) continue;
      if (line.value().find(root_.string()) != std::string::npos) ::kill(std::stoi(name), SIGKILL);
    }
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
    fs::remove_all(root_);
  }

  void Configure(const std::string& version, const std::string& more = "") const {
    std::ofstream out(root_ / "fake.conf");
    out << "RuntimeDir " << (root_ / "run").string() << "\nPidFile " << (root_ / "httpd.pid").string() << "\nVersion "
        << version << "\nListen " << address_ << "\n"
        << more << "\n";
  }

  std::vector<std::string> Line(const std::string& command, const std::vector<std::string>& more) const {
    std::vector<std::string> out = {ORCHESTRATOR,        command,    "-d",      root_.string(), "-f",
                                    root_ / "fake.conf", "--binary", FAKE_HTTPD};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  orchestrator::Output Do(const std::string& command, const std::vector<std::string>& more = {}) const {
    os::SpawnOptions options;
    options.program = ORCHESTRATOR;
    options.arguments = Line(command, more);
    options.environment = os::Environment();
    auto output = orchestrator::RunProgram(std::move(options), 60s);
    EXPECT_TRUE(output) << output.error().Text();
    return output ? std::move(output).value() : orchestrator::Output();
  }

  void StartOld(const std::string& more = "") {
    Configure("one", more);
    const auto output = Do("start");
    ASSERT_EQ(output.exit.code, 0) << output.err;
    old_ = os::ReadPidFile(root_ / "httpd.pid").value();
  }

  /// `upgrade` on a terminal of this size.
  void Open(int columns, int rows, const std::vector<std::string>& more,
            const std::vector<std::string>& environment = {"TERM=xterm", "LANG=C.UTF-8"}) {
    screen_.emplace(columns, rows);
    winsize size{};
    size.ws_col = static_cast<unsigned short>(columns);
    size.ws_row = static_cast<unsigned short>(rows);
    std::vector<std::string> line = Line("upgrade", more);
    std::vector<char*> argv;
    for (std::string& word : line) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::vector<std::string> variables = environment;
    std::vector<char*> envp;
    for (std::string& word : variables) envp.push_back(word.data());
    envp.push_back(nullptr);
    int master = -1;
    pid_ = ::forkpty(&master, nullptr, nullptr, &size);
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      ::execve(ORCHESTRATOR, argv.data(), envp.data());
      ::_exit(127);
    }
    master_.Reset(master);
  }

  /// Reads what the terminal gets. @return false: nothing more will come
  bool Turn() {
    pollfd entry{master_.get(), POLLIN, 0};
    if (::poll(&entry, 1, 1000) <= 0) return true;
    char buffer[4096];
    const ssize_t n = ::read(master_.get(), buffer, sizeof buffer);
    if (n <= 0) return false;
    raw_.append(buffer, static_cast<size_t>(n));
    screen_->Feed(std::string(buffer, static_cast<size_t>(n)));
    return true;
  }

  testing::AssertionResult Sees(const std::string& what) {
    const os::SystemClock clock;
    const auto deadline = clock.SteadyNow() + 20s;
    while (screen_->Text().find(what) == std::string::npos) {
      if (clock.SteadyNow() > deadline) return testing::AssertionFailure() << "never seen; screen: " << screen_->Text();
      if (!Turn()) return testing::AssertionFailure() << "it ended; screen: " << screen_->Everything();
    }
    return testing::AssertionSuccess();
  }

  int Wait() {
    const os::SystemClock clock;
    const auto deadline = clock.SteadyNow() + 30s;
    while (clock.SteadyNow() < deadline && Turn()) {
    }
    int status = 0;
    if (::waitpid(pid_, &status, 0) != pid_) return -1;
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
  }

  fs::path Reports() const { return root_ / "run" / "orchestrator" / "reports"; }

  /// The JSON of the only report.
  Poco::JSON::Object::Ptr ReadReport() const {
    for (const std::string& name : os::ListDirectory(Reports()).value()) {
      if (!name.ends_with(".json")) continue;
      Poco::JSON::Parser parser;
      return parser.parse(os::ReadFile(Reports() / name).value()).extract<Poco::JSON::Object::Ptr>();
    }
    return nullptr;
  }

  fs::path root_;
  std::string address_;
  pid_t old_ = 0;
  pid_t pid_ = 0;
  os::Fd master_;
  std::string raw_;
  std::optional<TerminalModel> screen_;
};

TEST_F(Terminal, TheLiveViewIsDrawnInPlaceAndItsLastFrameStays) {
  StartOld();
  Configure("two");
  Open(80, 40, {"--bake", "1.5"});
  EXPECT_TRUE(Sees("▸ baking"));
  EXPECT_TRUE(Sees("serving"));
  EXPECT_TRUE(Sees("paused"));
  EXPECT_EQ(Wait(), 0);
  const std::string text = screen_->Everything();
  for (const char* part : {"one → two", "✓ planned", "✓ baked", "✓ done", "gone", "done: process", "report: "}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_EQ(text.find("✓ baked"), text.rfind("✓ baked")) << "an earlier frame is still there: " << text;
  EXPECT_THAT(text, Not(HasSubstr("▸")));
  EXPECT_TRUE(screen_->cursor_shown());
  EXPECT_EQ(screen_->scrolled(), 0);
  EXPECT_EQ(screen_->unknown(), 0);
  EXPECT_TRUE(screen_->coloured());
}

TEST_F(Terminal, FortyColumnsAndTenRowsAreEnough) {
  StartOld();
  Configure("two");
  Open(40, 10, {"--bake", "1", "--no-report"});
  EXPECT_TRUE(Sees("▸ baking"));
  EXPECT_TRUE(Sees("requests/s"));
  EXPECT_EQ(screen_->scrolled(), 0) << screen_->Everything();
  EXPECT_EQ(screen_->wrapped(), 0);
  EXPECT_EQ(Wait(), 0);
  EXPECT_THAT(screen_->Everything(), HasSubstr("✓ done"));
}

TEST_F(Terminal, ASignalTakesTheUpgradeBackAndLeavesTheTerminalAsItWas) {
  StartOld();
  Configure("two");
  Open(80, 40, {"--bake", "60"});
  EXPECT_TRUE(Sees("▸ baking"));
  EXPECT_EQ(::write(master_.get(), "\003", 1), 1);  // ^C: the terminal is in its usual mode
  EXPECT_EQ(Wait(), 3);
  EXPECT_TRUE(screen_->cursor_shown());
  EXPECT_THAT(screen_->Everything(), HasSubstr("✗ baked"));
  EXPECT_THAT(screen_->Everything(), HasSubstr("orchestrator: rolled back: stopped by signal 2"));
}

TEST_F(Terminal, EvenAKillLeavesTheCursorShown) {
  StartOld();
  Configure("two");
  Open(80, 40, {"--bake", "60"});
  EXPECT_TRUE(Sees("▸ baking"));
  ::kill(pid_, SIGKILL);
  Wait();
  EXPECT_TRUE(screen_->cursor_shown());
}

TEST_F(Terminal, AResizedTerminalGetsFramesThatFit) {
  StartOld();
  Configure("two");
  Open(100, 40, {"--bake", "60"});
  EXPECT_TRUE(Sees("▸ baking"));
  winsize size{};
  size.ws_col = 44;
  size.ws_row = 12;
  screen_.emplace(44, 12);  // what a terminal shows after it was cleared
  ASSERT_EQ(::ioctl(master_.get(), TIOCSWINSZ, &size), 0);
  EXPECT_TRUE(Sees("▸ baking"));
  const int wrapped = screen_->wrapped();  // a frame may have been under way
  const size_t before = raw_.size();
  while (raw_.size() < before + 2000 && Turn()) {
  }
  EXPECT_EQ(screen_->wrapped(), wrapped) << screen_->Text();
  EXPECT_THAT(screen_->Text(), HasSubstr("new "));
  ::kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), 3);
}

TEST_F(Terminal, NoColorAndALocaleWithoutUtf8AreRespected) {
  StartOld();
  Configure("two");
  Open(80, 40, {"--bake", "0.5"}, {"TERM=xterm", "LANG=C", "NO_COLOR=1"});
  EXPECT_TRUE(Sees("> baking"));
  EXPECT_EQ(Wait(), 0);
  EXPECT_FALSE(screen_->coloured());
  for (const char c : raw_) EXPECT_GE(c, 0);
  EXPECT_THAT(screen_->Everything(), HasSubstr("+ done"));
}

TEST_F(Terminal, ADumbTerminalNoLiveAndJsonGetPlainLines) {
  StartOld();
  const std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>> ways = {
      {{"--bake", "0"}, {"TERM=dumb"}},
      {{"--bake", "0", "--no-live"}, {"TERM=xterm"}},
      {{"--bake", "0", "--json"}, {"TERM=xterm"}}};
  for (const auto& [options, environment] : ways) {
    raw_.clear();
    Open(80, 40, options, environment);
    EXPECT_EQ(Wait(), 0) << raw_;
    EXPECT_THAT(raw_, Not(HasSubstr("\033")));
    EXPECT_THAT(raw_, HasSubstr("switched"));
  }
}

TEST_F(Terminal, AStoppedTerminalDelaysNoStep) {
  StartOld();
  Configure("two");
  Open(80, 40, {"--bake", "0.5", "--no-report"});
  EXPECT_TRUE(Sees("▸ baking"));
  EXPECT_EQ(::write(master_.get(), "\023", 1), 1);  // ^S: whoever writes there waits
  const os::SystemClock clock;
  const auto deadline = clock.SteadyNow() + 20s;
  while (::kill(old_, 0) == 0 && clock.SteadyNow() < deadline) ::waitpid(old_, nullptr, WNOHANG);
  EXPECT_NE(::kill(old_, 0), 0) << "the old instance was not replaced";
  EXPECT_EQ(::kill(pid_, 0), 0);
  EXPECT_EQ(::write(master_.get(), "\021", 1), 1);
  EXPECT_EQ(Wait(), 0);
  EXPECT_THAT(screen_->Everything(), HasSubstr("✓ done"));
}

TEST_F(Terminal, AnInstanceThatDoesNotAnswerTheObserverIsUpgradedAllTheSame) {
  StartOld("Misbehave mute-observers");
  Configure("two", "Misbehave mute-observers");
  const auto output = Do("upgrade", {"--bake", "0.3"});
  EXPECT_EQ(output.exit.code, 0) << output.err;
  const auto report = ReadReport();
  ASSERT_TRUE(report);
  EXPECT_LT(report->getValue<int64_t>("duration_ms"), 10000);
  EXPECT_EQ(report->getObject("old")->getValue<int64_t>("requests"), 0);
}

TEST_F(Terminal, TheReportOfAnUpgradeTellsBothInstancesAndAddsUp) {
  StartOld();
  Configure("two");
  const auto output = Do("upgrade", {"--bake", "0.7"});
  EXPECT_EQ(output.exit.code, 0) << output.err;
  EXPECT_THAT(output.out, HasSubstr("report: " + Reports().string()));
  const auto report = ReadReport();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->getValue<std::string>("status"), "done");
  EXPECT_EQ(report->getObject("old")->getValue<std::string>("version"), "one");
  EXPECT_EQ(report->getObject("old")->getValue<int64_t>("pid"), old_);
  EXPECT_TRUE(report->getObject("old")->getValue<bool>("gone"));
  EXPECT_EQ(report->getObject("new")->getValue<std::string>("version"), "two");
  EXPECT_GT(report->getObject("new")->getValue<int64_t>("requests"), 0) << "the probes";
  EXPECT_GT(report->getValue<int64_t>("peak_memory"), 0);
  EXPECT_EQ(report->getArray("steps")->size(), 8u);
  EXPECT_EQ(report->getObject("listeners")->getArray("keep")->getElement<std::string>(0), address_);
  int64_t sum = 0;
  const auto samples = report->getArray("samples");
  for (unsigned i = 0; i < samples->size(); ++i) {
    if (const auto one = samples->getObject(i)->getObject("new")) sum += one->getValue<int64_t>("requests");
  }
  EXPECT_EQ(sum, report->getObject("new")->getValue<int64_t>("requests"));
}

TEST_F(Terminal, ARollbackLeavesAReportARefusalNone) {
  StartOld();
  Configure("two", "Misbehave fails-probe");
  const fs::path place = root_ / "mine.html";
  EXPECT_EQ(Do("upgrade", {"--report", place}).exit.code, 3);
  EXPECT_TRUE(fs::exists(root_ / "mine.json"));
  EXPECT_THAT(os::ReadFile(place).value(), HasSubstr("answered 503"));
  EXPECT_FALSE(fs::exists(Reports()));
  Configure("two", "Misbehave bad-config");
  EXPECT_EQ(Do("upgrade").exit.code, 1);
  EXPECT_FALSE(fs::exists(Reports()));
  Configure("two");
  EXPECT_EQ(Do("upgrade", {"--bake", "0", "--no-report"}).exit.code, 0);
  EXPECT_FALSE(fs::exists(Reports()));
  const auto unwritable = Do("upgrade", {"--bake", "0", "--report", root_ / "none" / "r"});
  EXPECT_EQ(unwritable.exit.code, 0) << "a report is no reason for a failure";
  EXPECT_THAT(unwritable.out, HasSubstr("the report was not written"));
}

}  // namespace
