#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>

#include "tests/e2e/server.h"

namespace {

namespace fs = std::filesystem;
using e2e::Eventually;
using e2e::Load;
using e2e::Outcome;

int Rounds(int usual, int long_form) {
  return std::getenv("BATON_LONG") ? long_form : usual;
}

class Upgrade : public e2e::Server {
 protected:
  /// One upgrade; every third waits until the old instance has gone, every second changes the binary's path.
  void UpgradeOnce(int round) {
    const pid_t before = Pid();
    std::vector<std::string> arguments = {"--bake", "0", "--max-draining", "50"};
    if (round % 10 != 9) arguments.push_back("--detach");
    if (round % 2 == 1) arguments.insert(arguments.end(), {"--binary", other_.string()});
    if (round % 2 == 0) arguments.insert(arguments.end(), {"--binary", e2e::Program("httpd")});
    const Outcome upgraded = Orchestrator("upgrade", arguments);
    ASSERT_EQ(upgraded.status, 0) << "upgrade " << round << ": " << upgraded.All();
    ASSERT_NE(Pid(), before);
  }

  void CopyBinary() {
    other_ = outside_ / "httpd";
    fs::copy_file(e2e::Program("httpd"), other_);
  }

  /// processlogs over what rotation made: every closed segment once, whole, and nothing again. The newest may have been
  /// closed since.
  void ExpectSegmentsProcessedOnce() {
    // A draining instance may still write to a segment that others have left; the one that serves is to have the
    // newest.
    EXPECT_TRUE(Eventually([this] {
      return Parents().size() == 1 && Processes().size() == 1 + Children(Pid()).size() + LogPrograms(Pid()).size();
    })) << Parents().size()
        << " instances are left";
    ASSERT_TRUE(Get("/index.html?rid=the-last"));
    ASSERT_TRUE(Eventually([this] { return LoggedRids().contains("the-last"); }));
    const std::vector<fs::path> segments = AccessLogs();
    ASSERT_GT(segments.size(), 2U) << "the log was to rotate";
    const fs::path seen = outside_ / "seen";
    const std::vector<std::string> command = {e2e::Program("processlogs"),
                                              "run",
                                              "--ledger",
                                              (outside_ / "ledger").string(),
                                              "--out",
                                              (outside_ / "processed").string(),
                                              (root_ / "logs" / "access.log.*").string(),
                                              "--",
                                              "/bin/sh",
                                              "-c",
                                              "echo \"$SEGMENT\" >> '" + seen.string() + "'; cat"};
    for (int run = 0; run < 2; ++run) {
      const Outcome processed = e2e::Execute(command);
      ASSERT_EQ(processed.status, 0) << processed.All();
    }
    const std::string runs = e2e::FileText(seen);
    size_t outputs = 0;
    for (const auto& entry : fs::directory_iterator(outside_ / "processed")) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(".out")) continue;
      ++outputs;
      const fs::path segment = root_ / "logs" / name.substr(0, name.size() - 4);
      EXPECT_EQ(e2e::FileText(entry.path()), e2e::FileText(segment)) << name;
    }
    EXPECT_GE(outputs, segments.size() - 1);
    EXPECT_EQ(e2e::CountOf(runs, "\n"), outputs) << runs;
  }

  fs::path other_;
};

TEST_F(Upgrade, ThirtyUnderTheSixClientsFailNobodyAndLoseNoLogLine) {
  Configure({.log = PipedLog()});
  CopyBinary();
  Start();
  Load load(root_, port_);
  for (int round = 0; round < Rounds(30, 1000) && !HasFailure(); ++round) UpgradeOnce(round);
  load.ExpectFlawless([this] { return LoggedRids(); });
  ExpectSegmentsProcessedOnce();
}

TEST_F(Upgrade, WithALogThatRotatesEverySecondLosesNoLine) {
  Configure({.log = TimedLog()});
  CopyBinary();
  Start();
  Load load(root_, port_);
  for (int round = 0; round < 8 && !HasFailure(); ++round) UpgradeOnce(round);
  load.ExpectFlawless([this] { return LoggedRids(); });
  ExpectSegmentsProcessedOnce();
}

}  // namespace
