#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <thread>

#include "tests/e2e/server.h"

namespace {

namespace fs = std::filesystem;
using e2e::Connection;
using e2e::Eventually;
using e2e::Load;
using e2e::Outcome;
using std::chrono::milliseconds;
using support::FailureKind;

/// Ways back: before the commit point, after it, and years later.
class WayBack : public e2e::Server {
 protected:
  /// A download that keeps the instance that has it draining until the connection is dropped.
  std::optional<Connection> SlowDownload() const {
    auto connection = Connection::Open(port_, 4096);
    if (!connection || !connection->Send(e2e::GetRequest("/big.bin", "Connection: close\r\n"))) return std::nullopt;
    return connection->ReadSome(1000).size() == 1000 ? std::move(connection) : std::nullopt;
  }

  bool Says(const std::string& words) const {
    return Eventually([&] { return e2e::FileText(outside_ / "upgrade.out").find(words) != std::string::npos; });
  }

  /// Every failure that is not that of a request or a connection inside the process that was killed.
  static void ExpectNobodyTurnedAway(const support::Report& report) {
    for (const auto kind : {FailureKind::kRefused, FailureKind::kLate, FailureKind::kWrongStatus,
                            FailureKind::kWrongBody, FailureKind::kMalformed}) {
      EXPECT_EQ(report.Count(kind), 0U) << support::kFailureKindNames[static_cast<size_t>(kind)] << "\n"
                                        << support::ToText(report, {}, 1);
    }
    EXPECT_GT(report.Answered(), 0U);
  }

  /// A copy of httpd that calls itself 0.2.0 instead of 0.1.0.
  fs::path OtherVersion(const std::string& name) const {
    std::string text = e2e::FileText(e2e::Program("httpd"));
    for (size_t at = 0; (at = text.find("0.1.", at)) != std::string::npos; ++at) text[at + 2] = '2';
    e2e::WriteFile(outside_ / name, text);
    ::chmod((outside_ / name).c_str(), 0755);
    return outside_ / name;
  }
};

// Race 11: the old instance is deaf when the new one dies. The orchestrator holds the listeners, so clients wait in the
// accept queue while the old version is started again from what was kept.
class KilledAfterTheCommitPoint : public WayBack, public testing::WithParamInterface<int> {};

TEST_P(KilledAfterTheCommitPoint, IsReplacedByTheOldVersionAndNobodyIsTurnedAway) {
  deaths_allowed_ = true;
  Configure({.more = "ServerAdmin old@example.org"});
  Start();
  const pid_t first = Pid();
  const std::string old_config = e2e::FileText(root_ / "conf" / "httpd.conf");
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  Configure({.more = "ServerAdmin new@example.org"});
  Load load(root_, port_, [](support::LoadOptions& options) { options.download_time = milliseconds(500); });
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0"}), outside_ / "upgrade");
  ASSERT_TRUE(Says("draining"));
  std::this_thread::sleep_for(milliseconds(GetParam()));
  const pid_t second = Pid();
  ASSERT_NE(second, first);
  for (const pid_t child : Children(second)) ::kill(child, SIGKILL);
  ASSERT_EQ(::kill(second, SIGKILL), 0);
  ASSERT_TRUE(Says("was started again")) << e2e::FileText(outside_ / "upgrade.out");
  const pid_t third = Pid();
  EXPECT_NE(third, second);
  EXPECT_NE(third, first);
  EXPECT_FALSE(upgrade.HasEnded()) << "the first one still drains";
  ASSERT_TRUE(Eventually([&] {
    return Parents() == std::vector<pid_t>{std::min(first, third), std::max(first, third)};
  }));
  // The files on disk say something else by now: it is the old configuration all the same.
  const std::string runs = e2e::FileText(root_ / "run" / ("httpd." + std::to_string(third) + ".conf"));
  EXPECT_NE(runs.find("old@example.org"), std::string::npos) << runs;
  std::this_thread::sleep_for(milliseconds(300));
  ExpectNobodyTurnedAway(load.Stop());
  download.reset();
  const Outcome upgraded = upgrade.Wait();
  EXPECT_EQ(upgraded.status, 3) << upgraded.All();
  EXPECT_NE(upgraded.err.find("was killed by signal 9 (Killed) after the old one had been told to leave"),
            std::string::npos)
      << upgraded.err;
  EXPECT_EQ(std::count(upgraded.err.begin(), upgraded.err.end(), '\n'), 1) << upgraded.err;
  EXPECT_EQ(Pid(), third);
  EXPECT_EQ(Parents(), std::vector<pid_t>{third});
  EXPECT_TRUE(Get("/index.html"));
}
INSTANTIATE_TEST_SUITE_P(Milliseconds, KilledAfterTheCommitPoint, testing::Values(0, 40),
                         [](const auto& one) { return std::to_string(one.param); });

TEST_F(WayBack, AServiceThatIsStoppedDuringTheDrainIsNotStartedAgainAndRefusesItsClients) {
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0"}), outside_ / "upgrade");
  ASSERT_TRUE(Says("draining"));
  ASSERT_EQ(Httpd({"-k", "stop", "--wait"}).status, 0);
  EXPECT_TRUE(Eventually([this] { return !Connection::Open(port_); })) << "clients wait for a server that was stopped";
  EXPECT_FALSE(upgrade.HasEnded());
  download.reset();
  EXPECT_EQ(upgrade.Wait().status, 0);
  EXPECT_TRUE(Parents().empty());
}

TEST_F(WayBack, AGracefulStopOfTheNewcomerRefusesNewClientsThoughWeStillWaitForTheOldOne) {
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  e2e::Running upgrade(OrchestratorCommand("upgrade", {"--bake", "0"}), outside_ / "upgrade");
  ASSERT_TRUE(Says("draining"));
  auto second = SlowDownload();  // keeps the newcomer draining, too
  ASSERT_TRUE(second);
  ASSERT_EQ(Httpd({"-k", "graceful-stop"}).status, 0);
  EXPECT_TRUE(Eventually([this] { return !Connection::Open(port_); }));
  second.reset();
  download.reset();
  EXPECT_EQ(upgrade.Wait().status, 0);
  EXPECT_TRUE(Eventually([this] { return Parents().empty(); }));
}

TEST_F(WayBack, AnUpgradeThatALaterOneHasReplacedStartsNothingAgain) {
  deaths_allowed_ = true;
  Start();
  auto download = SlowDownload();
  ASSERT_TRUE(download);
  e2e::Running first(OrchestratorCommand("upgrade", {"--bake", "0"}), outside_ / "upgrade");
  ASSERT_TRUE(Says("draining"));
  const pid_t second_pid = Pid();
  e2e::Running later(OrchestratorCommand("upgrade", {"--bake", "30"}), outside_ / "later");
  ASSERT_TRUE(Eventually([&] { return Pid() != 0 && Pid() != second_pid; }));
  const pid_t third_pid = Pid();
  ASSERT_EQ(::kill(second_pid, SIGKILL), 0);  // paused: it is the later one's old instance
  EXPECT_EQ(later.Wait().status, 0);
  EXPECT_FALSE(first.HasEnded());
  EXPECT_EQ(Pid(), third_pid);
  download.reset();
  const Outcome upgraded = first.Wait();
  EXPECT_EQ(e2e::CountOf(upgraded.out, "was started again"), 0U) << upgraded.All();
  EXPECT_EQ(Parents(), std::vector<pid_t>{third_pid});
}

TEST_F(WayBack, TheConfigurationThatTheServerWritesDownReadsAsTheOneThatItRunsWith) {
  e2e::WriteFile(root_ / "conf" / "extra.conf", "ServerAdmin ${WHO}@example.org\nTimeout 50\n");
  Configure({.log = PipedLog(),
             .more = "Define WHO me\nInclude conf/extra.conf\n<IfDefine !NO>\nKeepAlive Off\n</IfDefine>"});
  const std::vector<std::string> more = {"-D", "YES", "-C", "ServerTokens Prod", "-c", "MaxKeepAliveRequests 7"};
  auto start = more;
  start.insert(start.end(), {"-k", "start"});
  ASSERT_EQ(Httpd(start).status, 0);
  const fs::path written = root_ / "run" / ("httpd." + std::to_string(Pid()) + ".conf");
  struct stat st {};
  ASSERT_EQ(::stat(written.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600U);
  const auto meaning = [](const Outcome& asked) {  // all but where it stands
    EXPECT_EQ(asked.status, 0) << asked.All();
    std::string out;
    std::istringstream lines(asked.out);
    for (std::string line; std::getline(lines, line);) {
      if (line.find("file\"") == std::string::npos && line.find("\"line\"") == std::string::npos) out += line + "\n";
    }
    return out;
  };
  auto ask = more;
  ask.emplace_back("--run-config");
  const std::string runs = meaning(Httpd(ask));
  EXPECT_NE(runs.find("config_id"), std::string::npos);
  const auto again = [&] {
    return meaning(e2e::Execute(
        {e2e::Program("httpd"), "-d", root_.string(), "-f", written.string(), "-D", "YES", "--run-config"}));
  };
  EXPECT_EQ(again(), runs);
  // A graceful restart that is refused leaves it as it is, one that works does not.
  e2e::WriteFile(root_ / "conf" / "extra.conf", "Nonsense\n");
  EXPECT_NE(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_EQ(again(), runs);
  e2e::WriteFile(root_ / "conf" / "extra.conf", "Timeout 51\n");
  EXPECT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_NE(e2e::FileText(written).find("Timeout 51\n"), std::string::npos);
}

// ---- rollback ------------------------------------------------------------------------------------------------------

class Rollback : public WayBack {
 protected:
  /// Serves 0.1.0 with "ServerAdmin one@", then 0.2.0 with "ServerAdmin two@".
  void StartAndUpgrade() {
    Configure({.log = PipedLog(), .more = "ServerAdmin one@example.org"});
    Start();
    Configure({.log = PipedLog(), .more = "ServerAdmin two@example.org"});
    other_ = OtherVersion("httpd-next");
    const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0", "--binary", other_.string()});
    ASSERT_EQ(upgraded.status, 0) << upgraded.All();
    ExpectServes("0.2.0", "two@example.org");
  }

  void ExpectServes(const std::string& version, const std::string& admin) const {
    const Outcome status = Orchestrator("status", {"--json"});
    EXPECT_EQ(status.status, 0) << status.All();
    const size_t at = status.out.find("\"state\":\"serving\"");
    EXPECT_NE(status.out.find("\"version\":\"" + version + "\"", at), std::string::npos) << status.out;
    const std::string runs = e2e::FileText(root_ / "run" / ("httpd." + std::to_string(Pid()) + ".conf"));
    EXPECT_NE(runs.find(admin), std::string::npos) << runs;
    EXPECT_TRUE(Get("/index.html"));
  }

  fs::path other_;
};

TEST_F(Rollback, GoesBackAndForthThoughTheFilesOnDiskHaveChangedAndNobodyNotices) {
  StartAndUpgrade();
  fs::remove(other_);
  Configure({.log = PipedLog(), .more = "ServerAdmin three@example.org"});
  Load load(root_, port_, [](support::LoadOptions& options) { options.download_time = milliseconds(500); });
  Outcome back = Orchestrator("rollback", {"--bake", "0"});
  EXPECT_EQ(back.status, 0) << back.All();
  EXPECT_NE(back.out.find("says something else now: the kept copy"), std::string::npos) << back.All();
  ExpectServes("0.1.0", "one@example.org");
  back = Orchestrator("rollback", {"--bake", "0"});
  EXPECT_EQ(back.status, 0) << back.All();
  EXPECT_NE(back.out.find("is another one now: the kept copy"), std::string::npos) << back.All();
  ExpectServes("0.2.0", "two@example.org");
  const Outcome graceful = Httpd({"-k", "graceful", "--wait"});  // reads the copy again
  EXPECT_EQ(graceful.status, 0) << graceful.All();
  ExpectServes("0.2.0", "two@example.org");
  back = Orchestrator("rollback", {"--bake", "0", "--to", "0.1.0"});
  EXPECT_EQ(back.status, 0) << back.All();
  ExpectServes("0.1.0", "one@example.org");
  load.ExpectFlawless([this] { return LoggedRids(); });
  // An ordinary upgrade follows the files on disk again.
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
  EXPECT_EQ(upgraded.status, 0) << upgraded.All();
  ExpectServes("0.1.0", "three@example.org");
}

TEST_F(Rollback, UsesTheInstalledFilesWhileTheyAreTheSame) {
  StartAndUpgrade();
  Configure({.log = PipedLog(), .more = "ServerAdmin one@example.org"});
  const Outcome back = Orchestrator("rollback", {"--bake", "0"});
  EXPECT_EQ(back.status, 0) << back.All();
  EXPECT_EQ(back.out.find("kept copy"), std::string::npos) << back.All();
  ExpectServes("0.1.0", "one@example.org");
  std::string words = e2e::FileText("/proc/" + std::to_string(Pid()) + "/cmdline");
  EXPECT_EQ(words.find("versions"), std::string::npos) << words;
}

TEST_F(Rollback, IsRefusedInASentenceWhenThereIsNothingToGoBackTo) {
  Start();
  const pid_t pid = Pid();
  Outcome back = Orchestrator("rollback", {"--bake", "0"});
  EXPECT_EQ(back.status, 1) << back.All();
  EXPECT_NE(back.err.find("there is no version to go back to"), std::string::npos) << back.All();
  back = Orchestrator("rollback", {"--bake", "0", "--to", "7.7.7"});
  EXPECT_EQ(back.status, 1) << back.All();
  EXPECT_NE(back.err.find("no version \"7.7.7\" is kept"), std::string::npos) << back.All();
  EXPECT_EQ(Orchestrator("upgrade", {"--bake", "0"}).status, 0);
  back = Orchestrator("rollback", {"--bake", "0"});
  EXPECT_EQ(back.status, 1) << "the upgrade changed nothing: " << back.All();
  back = Orchestrator("rollback", {"--bake", "0", "--to", "0.1.0"});
  EXPECT_EQ(back.status, 1) << back.All();
  EXPECT_NE(back.err.find("is what runs already"), std::string::npos) << back.All();
  EXPECT_NE(Pid(), pid);
}

// ---- --dry-run -----------------------------------------------------------------------------------------------------

TEST_F(WayBack, ADryRunTellsThePlanAndTouchesNothing) {
  Start();
  const auto everything = [this] {
    std::string out;
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      out += entry.path().string();
      if (entry.is_regular_file()) out += " " + std::to_string(entry.file_size());
      out += " " + std::to_string(fs::last_write_time(entry.path()).time_since_epoch().count()) + "\n";
    }
    return out;
  };
  const uint16_t second = e2e::FreePort();
  Configure({.ports = {second}});
  const fs::path other = OtherVersion("httpd-next");
  const pid_t pid = Pid();
  const std::string before = everything();
  const std::vector<std::string> arguments = {"--dry-run", "--binary", other.string(), "--hook", "switched=false"};
  const Outcome told = Orchestrator("upgrade", arguments);
  EXPECT_EQ(told.status, 0) << told.All();
  const std::string at = "127.0.0.1:";
  for (const std::string& words :
       {"process " + std::to_string(pid), other.string() + ", version 0.2.0, build ",
        at + std::to_string(second) + "  add", at + std::to_string(port_) + "  remove",
        std::string("MiB are copied to"), std::string("switched: false"), std::string("nothing was changed")}) {
    EXPECT_NE(told.out.find(words), std::string::npos) << words << " is not in\n" << told.All();
  }
  auto json = arguments;
  json.push_back("--json");
  const Outcome object = Orchestrator("upgrade", json);
  EXPECT_NE(object.out.find("\"add\":[\"" + at + std::to_string(second) + "\"]"), std::string::npos) << object.All();
  EXPECT_EQ(std::count(object.out.begin(), object.out.end(), '\n'), 2) << object.All();
  const Outcome back = Orchestrator("rollback", {"--dry-run"});
  EXPECT_EQ(back.status, 1) << back.All();
  auto taken = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", second).value(), 1);
  ASSERT_TRUE(taken);
  const Outcome refused = Orchestrator("upgrade", arguments);
  EXPECT_EQ(refused.status, 1) << refused.All();
  EXPECT_NE(refused.err.find(at + std::to_string(second)), std::string::npos) << refused.All();
  EXPECT_EQ(everything(), before);
  EXPECT_EQ(Parents(), std::vector<pid_t>{pid});
  Configure({});
}

// ---- hooks ---------------------------------------------------------------------------------------------------------

TEST_F(WayBack, HooksRunAroundTheirStepsWithWhatTheyNeedToKnow) {
  Start();
  const pid_t old_pid = Pid();
  const fs::path seen = outside_ / "seen";
  const std::string note =
      "echo $BATON_WHEN $BATON_STEP $BATON_OLD_PID $BATON_NEW_PID $BATON_RUNTIME_DIR >> " + seen.string();
  const Outcome upgraded =
      Orchestrator("upgrade", {"--bake", "0", "--hook", "before-planned=" + note, "--hook", "launched=" + note,
                               "--hook", "before-draining=" + note, "--hook", "done=" + note, "--hook",
                               "ready=echo out loud; echo and >&2; ls /proc/self/fd; readlink /proc/self/fd/0"});
  EXPECT_EQ(upgraded.status, 0) << upgraded.All();
  const std::string old_text = std::to_string(old_pid);
  const std::string both = old_text + " " + std::to_string(Pid()) + " " + (root_ / "run").string() + "\n";
  EXPECT_EQ(e2e::FileText(seen),
            "before planned\nafter launched " + both + "before draining " + both + "after done " + both);
  // ls holds one more, the directory that it reads.
  EXPECT_EQ(upgraded.err, "ready: out loud\nready: and\nready: 0\nready: 1\nready: 2\nready: 3\nready: /dev/null\n");
}

TEST_F(WayBack, AHookThatFailsBeforeTheCommitPointTakesTheUpgradeBack) {
  Start();
  const pid_t pid = Pid();
  Load load(root_, port_, [](support::LoadOptions& options) { options.download_time = milliseconds(500); });
  struct Case {
    std::string hook;
    int status;
    std::string words;
  };
  for (const Case& one : {Case{"planned=echo no luck; exit 9", 1, "the hook planned exited with status 9: no luck"},
                          Case{"before-launched=false", 1, "the hook before-launched exited with status 1"},
                          Case{"launched=false", 3, "rolled back: the hook launched exited with status 1"},
                          Case{"switched=kill -9 $$", 3, "rolled back: the hook switched was killed by signal 9"},
                          Case{"before-draining=sleep 600", 3, "the hook before-draining was killed after 0.3 s"}}) {
    const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0", "--hook-timeout", "0.3", "--hook", one.hook});
    EXPECT_EQ(upgraded.status, one.status) << upgraded.All();
    EXPECT_NE(upgraded.err.find(one.words), std::string::npos) << upgraded.All();
    EXPECT_EQ(Pid(), pid);
    EXPECT_EQ(Parents(), std::vector<pid_t>{pid});
  }
  load.ExpectFlawless([this] { return LoggedRids(); });
}

TEST_F(WayBack, AHookThatFailsAfterTheCommitPointIsOnlyNoted) {
  Start();
  const pid_t pid = Pid();
  const Outcome upgraded =
      Orchestrator("upgrade", {"--bake", "0", "--hook", "draining=false", "--hook", "done=exit 2"});
  EXPECT_EQ(upgraded.status, 0) << upgraded.All();
  EXPECT_NE(upgraded.out.find("note: the hook draining exited with status 1"), std::string::npos) << upgraded.All();
  EXPECT_NE(upgraded.out.find("note: the hook done exited with status 2"), std::string::npos) << upgraded.All();
  EXPECT_NE(Pid(), pid);
  for (const char* bad : {"switched", "nothing=true", "done=", "before-=x"}) {
    EXPECT_EQ(Orchestrator("upgrade", {"--hook", bad}).status, 2) << bad;
  }
  EXPECT_EQ(Orchestrator("upgrade", {"--detach", "--hook", "done=true"}).status, 2);
}

// ---- the bake time, with the real server ---------------------------------------------------------------------------

class BadBake : public WayBack {
 protected:
  void ExpectTakenBack(const Outcome& upgraded, const std::string& words, Load& load, pid_t pid) {
    EXPECT_EQ(upgraded.status, 3) << upgraded.All();
    EXPECT_NE(upgraded.err.find(words), std::string::npos) << upgraded.All();
    EXPECT_EQ(std::count(upgraded.err.begin(), upgraded.err.end(), '\n'), 1) << upgraded.err;
    EXPECT_EQ(Pid(), pid);
    EXPECT_EQ(Parents(), std::vector<pid_t>{pid});
    load.ExpectFlawless([this] { return LoggedRids(); });
  }
};

TEST_F(BadBake, AProbeThatStartsToFailAfterTheSwitchTakesTheUpgradeBackWithoutAFailedRequest) {
  Configure({.log = PipedLog()});
  Start();
  const pid_t pid = Pid();
  e2e::WriteFile(root_ / "site" / "health", "fine");
  Load load(root_, port_, [](support::LoadOptions& options) { options.download_time = milliseconds(500); });
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "30", "--probe", "/health=200", "--hook",
                                                    "switched=rm " + (root_ / "site" / "health").string()});
  ExpectTakenBack(upgraded, "during the bake time, probe /health answered 404 instead of 200", load, pid);
}

TEST_F(BadBake, ANewcomerThatLeavesConnectionsWaitingIsTakenBackAndTheyAreServed) {
  Configure({.log = PipedLog()});
  Start();
  const pid_t pid = Pid();
  Load load(root_, port_, [](support::LoadOptions& options) { options.connections = {20, 0, 0, 0, 0, 0}; });
  // They go on once the old one serves again, so that the newcomer can leave as any other does.
  const std::string hook =
      "c=$(cat /proc/$BATON_NEW_PID/task/$BATON_NEW_PID/children); kill -STOP $c; "
      "(while [ $(cat $BATON_RUNTIME_DIR/httpd.pid) = $BATON_NEW_PID ]; do sleep 0.05; done; "
      "kill -CONT $c) > /dev/null 2>&1 &";
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "30", "--hook", "before-baked=" + hook});
  ExpectTakenBack(upgraded, "the new instance leaves connections waiting", load, pid);
}

// ---- what a new configuration may change ---------------------------------------------------------------------------

class ChangedConfiguration : public WayBack {};

TEST_F(ChangedConfiguration, UserLogsAndDocumentRootChangeInOneUpgradeAndBackAgain) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may start a server that changes its user";
  for (const fs::path& path : {outside_, root_, root_ / "site"}) ::chmod(path.c_str(), 0755);
  fs::create_directories(root_ / "other");
  ::chmod((root_ / "other").c_str(), 0755);
  e2e::WriteFile(root_ / "other" / "index.html", "the other root\n");
  const auto user_of = [this] {
    struct stat st {};
    const auto children = Children(Pid());
    if (!children.empty()) ::stat(("/proc/" + std::to_string(children[0])).c_str(), &st);
    return children.empty() ? uid_t(-1) : st.st_uid;
  };
  Configure({.log = "logs/access.log", .more = "User www-data\nGroup www-data"});
  Start();
  const uid_t before = user_of();
  EXPECT_NE(before, 0U);
  const std::string page = Get("/index.html")->body;
  Configure({.log = "|" + e2e::Program("rotatelogs") + " " + (root_ / "logs" / "access.other").string() + " 1M",
             .more = "User nobody\nGroup nogroup\nDocumentRoot other\nErrorLog logs/other-error.log\n<Directory \"" +
                     (root_ / "other").string() + "\">\nRequire all granted\n</Directory>"});
  Outcome done = Orchestrator("upgrade", {"--bake", "0"});
  ASSERT_EQ(done.status, 0) << done.All();
  EXPECT_EQ(user_of(), 65534U);
  EXPECT_EQ(Get("/index.html?rid=after")->body, "the other root\n");
  EXPECT_TRUE(fs::exists(root_ / "logs" / "other-error.log"));
  EXPECT_TRUE(Eventually([this] { return LoggedRids().contains("after"); }));
  done = Orchestrator("rollback", {"--bake", "0"});
  ASSERT_EQ(done.status, 0) << done.All();
  EXPECT_EQ(user_of(), before);
  EXPECT_EQ(Get("/index.html")->body, page);
}

TEST_F(ChangedConfiguration, PortsAreAddedAndRemovedAndARollbackTurnsThatRound) {
  const uint16_t second = e2e::FreePort();
  Configure({.more = "ServerAdmin one@example.org"});
  Start();
  Configure({.ports = {second}});
  Outcome done = Orchestrator("upgrade", {"--bake", "0"});
  ASSERT_EQ(done.status, 0) << done.All();
  EXPECT_TRUE(Get("/index.html", second));
  EXPECT_FALSE(Connection::Open(port_)) << "a removed port refuses";
  done = Orchestrator("rollback", {"--bake", "0"});
  ASSERT_EQ(done.status, 0) << done.All();
  EXPECT_TRUE(Get("/index.html"));
  EXPECT_FALSE(Connection::Open(second));
}

}  // namespace
