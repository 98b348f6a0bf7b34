#include "tests/e2e/server.h"

namespace {

using e2e::Outcome;

/// What two instances of a configuration would share, seen by the built programs.
class Check : public e2e::Server {};

TEST_F(Check, OfTheOrdinaryConfigurationFindsNothingDangerous) {
  for (const std::string& log : {std::string("logs/access.log"), PipedLog(), TimedLog()}) {
    Configure({.log = log});
    const Outcome checked = Orchestrator("check");
    EXPECT_EQ(checked.status, 0) << checked.All();
    EXPECT_EQ(checked.out, "nothing that two instances would share is dangerous\n");
  }
}

TEST_F(Check, NamesFileLineAndWhatToDo) {
  Configure({.log = "|/bin/cat -u", .more = "Mutex file:/tmp default OmitPID"});
  const std::string file = (root_ / "conf" / "httpd.conf").string();
  const Outcome checked = Orchestrator("check");
  EXPECT_EQ(checked.status, 1) << checked.All();
  EXPECT_NE(checked.out.find("danger  log-program  " + file + ":18: the log program \"|/bin/cat -u\""),
            std::string::npos)
      << checked.All();
  EXPECT_NE(checked.out.find("what to do: use the rotatelogs that comes with this server"), std::string::npos);
  EXPECT_NE(checked.out.find("notice  mutex-omitpid  " + file + ":22: Mutex file:/tmp default OmitPID"),
            std::string::npos)
      << checked.All();
  EXPECT_NE(checked.err.find("1 thing that two instances would share is dangerous"), std::string::npos);
}

TEST_F(Check, OfAConfigurationThatCannotBeReadGivesTheServersWords) {
  Configure({.more = "FcgidProcessTableFile /tmp/x"});
  const Outcome checked = Orchestrator("check");
  EXPECT_EQ(checked.status, 1);
  EXPECT_NE(checked.err.find("Invalid command 'FcgidProcessTableFile'"), std::string::npos) << checked.All();
}

TEST_F(Check, RefusesAnUpgradeBeforeAnythingIsChangedUnlessItIsAccepted) {
  Start();
  const pid_t pid = Pid();
  const auto files = RuntimeFiles();
  Configure({.log = "|/bin/cat -u"});
  Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
  EXPECT_EQ(upgraded.status, 1) << upgraded.All();
  EXPECT_NE(upgraded.err.find("two instances would share what they damage: log-program ("), std::string::npos)
      << upgraded.All();
  EXPECT_NE(upgraded.out.find("danger  log-program"), std::string::npos) << upgraded.All();
  EXPECT_EQ(Pid(), pid);
  EXPECT_EQ(Parents(), std::vector<pid_t>{pid});
  EXPECT_EQ(RuntimeFiles(), files);
  upgraded = Orchestrator("upgrade", {"--bake", "0", "--accept-shared", "log-shell"});
  EXPECT_EQ(upgraded.status, 1) << upgraded.All();
  EXPECT_NE(upgraded.out.find("--accept-shared log-shell is not needed"), std::string::npos) << upgraded.All();
  EXPECT_EQ(Orchestrator("upgrade", {"--accept-shared", "Log Program"}).status, 2);
  upgraded = Orchestrator("upgrade", {"--bake", "0", "--accept-shared", "log-shell", "--accept-shared", "log-program"});
  EXPECT_EQ(upgraded.status, 0) << upgraded.All();
  EXPECT_NE(Pid(), pid);
}

}  // namespace
