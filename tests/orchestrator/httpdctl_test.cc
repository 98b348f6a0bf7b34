// httpdctl with programs that only print what they were called with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "orchestrator/run_program.h"
#include "os/process.h"

namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Httpdctl : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/baton-httpdctl.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    fs::create_directories(root_ / "conf");
    Script("httpd",
           "echo httpd \"$@\"; for word in \"$@\"; do [ \"$word\" = -t ] && exit ${T_STATUS:-0}; done; exit 0");
    Script("orchestrator", "echo orchestrator \"$@\"; exit 3");
    fs::copy_file(HTTPDCTL, root_ / "httpdctl");
  }
  void TearDown() override { fs::remove_all(root_); }

  void Script(const std::string& name, const std::string& text) {
    std::ofstream(root_ / name) << "#!/bin/sh\n" << text << "\n";
    ::chmod((root_ / name).c_str(), 0755);
  }

  orchestrator::Output Run(const std::vector<std::string>& arguments, const std::vector<std::string>& more = {}) {
    os::SpawnOptions options;
    options.program = root_ / "httpdctl";
    options.arguments = {"httpdctl"};
    options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
    options.environment = {"PATH=/usr/bin:/bin"};
    options.environment.insert(options.environment.end(), more.begin(), more.end());
    auto output = orchestrator::RunProgram(std::move(options), std::chrono::seconds(10));
    EXPECT_TRUE(output) << output.error().Text();
    return output ? std::move(output).value() : orchestrator::Output();
  }

  fs::path root_;
};

TEST_F(Httpdctl, VerbsBecomeMinusKOfTheServerBesideTheScript) {
  for (const char* verb : {"start", "stop", "graceful-stop"}) {
    EXPECT_EQ(Run({verb}).out, "httpd -k " + std::string(verb) + "\n");
  }
}

TEST_F(Httpdctl, RestartsCheckTheConfigurationFirst) {
  for (const char* verb : {"restart", "graceful"}) {
    EXPECT_EQ(Run({verb}).out, "httpd -k " + std::string(verb) + "\n");
    const auto output = Run({verb}, {"T_STATUS=1"});
    EXPECT_EQ(output.exit.code, 1);
    EXPECT_EQ(output.out, "");
    EXPECT_EQ(output.err,
              "httpd -t\nAction '" + std::string(verb) + "' failed.\nThe error log may have more information.\n");
  }
}

TEST_F(Httpdctl, OptionsInFrontOfTheVerbGoAlong) {
  EXPECT_EQ(Run({"-d", "/srv/a b", "-f", "x.conf", "-DSSL", "stop"}).out,
            "httpd -d /srv/a b -f x.conf -DSSL -k stop\n");
  EXPECT_EQ(Run({"-d", "/srv", "configtest"}).out, "httpd -d /srv -t\n");
}

TEST_F(Httpdctl, UpgradeIsTheOrchestratorsWithItsExitStatus) {
  const auto output = Run({"-d", "/srv", "upgrade", "--bake", "0", "--probe", "/x y"});
  EXPECT_EQ(output.out, "orchestrator upgrade --bake 0 --probe /x y -d /srv\n");
  EXPECT_EQ(output.exit.code, 3);
}

TEST_F(Httpdctl, AnythingElseIsPassedToTheServerAsItIs) {
  EXPECT_EQ(Run({"-V"}).out, "httpd -V\n");
  EXPECT_EQ(Run({"-d", "/srv", "-k", "graceful"}).out, "httpd -d /srv -k graceful\n");
  EXPECT_EQ(Run({"-t", "-D", "DUMP_VHOSTS"}).out, "httpd -t -D DUMP_VHOSTS\n");
  EXPECT_EQ(Run({}).out, "httpd -h\n");
}

TEST_F(Httpdctl, EnvvarsBesideTheConfigurationIsRead) {
  std::ofstream(root_ / "conf" / "envvars") << "HTTPD_OPTIONS='-D FROM_ENVVARS'\n";
  EXPECT_EQ(Run({"-d", root_, "stop"}).out, "httpd -D FROM_ENVVARS -d " + root_.string() + " -k stop\n");
  EXPECT_EQ(Run({"-f", root_ / "conf" / "x.conf", "stop"}).out,
            "httpd -D FROM_ENVVARS -f " + (root_ / "conf/x.conf").string() + " -k stop\n");
}

TEST_F(Httpdctl, StatusShowsThePageUpToTheKeyAndFullstatusAllOfIt) {
  Script("show", "printf 'page of %s\\nScoreboard Key:\\nmore\\n' \"$1\"");
  const std::vector<std::string> tool = {"STATUSTOOL=" + (root_ / "show").string(), "STATUSURL=http://x/s"};
  EXPECT_EQ(Run({"status"}, tool).out, "page of http://x/s\nScoreboard Key:\n");
  EXPECT_EQ(Run({"fullstatus"}, tool).out, "page of http://x/s\nScoreboard Key:\nmore\n");
}

TEST_F(Httpdctl, WhatItRefusesIsSaid) {
  EXPECT_EQ(Run({"startssl"}).exit.code, 2);
  const auto output = Run({"stop", "now"});
  EXPECT_EQ(output.exit.code, 2);
  EXPECT_EQ(output.err, "httpdctl: nothing may follow 'stop'\n");
}

TEST_F(Httpdctl, FindsTheServerThroughASymbolicLink) {
  fs::create_directory(root_ / "other");
  fs::create_symlink("../httpdctl", root_ / "other" / "httpdctl");
  os::SpawnOptions options;
  options.program = root_ / "other" / "httpdctl";
  options.arguments = {options.program.string(), "stop"};
  options.environment = {"PATH=/usr/bin:/bin"};
  auto output = orchestrator::RunProgram(std::move(options), std::chrono::seconds(10));
  ASSERT_TRUE(output);
  EXPECT_EQ(output.value().out, "httpd -k stop\n");
}

}  // namespace
