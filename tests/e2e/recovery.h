#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/e2e/server.h"

namespace e2e {

/// BATON_LONG=1 asks for the whole matrix.
inline bool Long() {
  return std::getenv("BATON_LONG") != nullptr;
}

/// kill -9 of the orchestrator, and of what it works with, while it replaces an instance.
class Recovery : public Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    if (HasFatalFailure()) return;
    deaths_allowed_ = true;
    Configure({.log = PipedLog(), .graceful_shutdown = 20});
    Start();
    load_.emplace(root_, port_, [](support::LoadOptions& options) {
      const int each = Long() ? 3 : 2;
      options.connections = {each, each, each, each, each, each};
      options.rate = Long() ? 150 : 60;
      options.download_time = std::chrono::milliseconds(Long() ? 2000 : 400);
      options.upload_time = std::chrono::milliseconds(Long() ? 1000 : 200);
      options.think_max = std::chrono::milliseconds(400);
    });
  }

  void TearDown() override {
    load_.reset();
    Server::TearDown();
  }

  std::filesystem::path State() const { return root_ / "run" / "orchestrator"; }

  /// What of the state directory is neither journal nor lock nor a kept version.
  std::vector<std::string> StrayState() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(State())) {
      const std::string name = entry.path().filename().string();
      if (name != "journal.db" && name != "lock" && name != "reports" && name != "versions") out.push_back(name);
    }
    return out;
  }

  /// One instance that serves, named by the PidFile; no process and no file of anybody else.
  void ExpectOneInstance(const std::string& when) {
    SCOPED_TRACE(when);
    const pid_t pid = Pid();
    ASSERT_NE(pid, 0) << "nobody serves";
    EXPECT_TRUE(Eventually([&] { return Parents() == std::vector<pid_t>{pid}; }, std::chrono::seconds(25)))
        << Parents().size() << " instances are left, PidFile names " << pid;
    EXPECT_TRUE(Get("/index.html"));
    EXPECT_TRUE(Eventually([&] { return Processes().size() == 1 + Children(pid).size() + LogPrograms(pid).size(); }))
        << "an orphan is left";
    for (const std::string& name : RuntimeFiles()) {
      EXPECT_TRUE(name == "httpd.pid" || name.starts_with("httpd." + std::to_string(pid) + ".")) << name << " is left";
    }
    EXPECT_EQ(StrayState(), std::vector<std::string>());
  }

  /// resume, or the next upgrade, which does the same first.
  enum class By { kResume, kUpgrade };
  void Recover(By by, const std::string& when) {
    SCOPED_TRACE(when);
    if (by == By::kResume) {
      const Outcome resumed = Orchestrator("resume");
      EXPECT_TRUE(resumed.status == 0 || resumed.status == 3 || resumed.status == 4) << resumed.All();
      const Outcome again = Orchestrator("resume");
      EXPECT_EQ(again.status, 0) << again.All();
      EXPECT_NE(again.out.find("nothing to do"), std::string::npos) << again.All();
    } else {
      const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
      EXPECT_EQ(upgraded.status, 0) << upgraded.All();
    }
  }

  /// Waits until the running upgrade says in its lock file, or in what it prints, that `step` has begun.
  bool Begins(const std::string& step, const std::filesystem::path& output) const {
    // The lock is given back at the commit point; then the steps before say it.
    const std::string before = step == "draining" ? "\"step\":\"baked\"" : "\"step\":\"draining\"";
    return Eventually([&] {
      if (FileText(State() / "lock").find("step=" + step + "\n") != std::string::npos) return true;
      const std::string printed = FileText(output.string() + ".out");
      if (printed.find("\"event\":\"result\"") != std::string::npos) return true;  // too quick: killed after its end
      return (step == "draining" || step == "done") && printed.find(before) != std::string::npos;
    });
  }

  std::vector<std::string> Steps() const {
    return {"planned", "launched", "ready", "probed", "switched", "baked", "draining", "done"};
  }

  std::optional<Load> load_;
};

}  // namespace e2e
