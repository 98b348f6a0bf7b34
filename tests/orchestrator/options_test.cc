#include "orchestrator/options.h"

#include <gtest/gtest.h>

namespace orchestrator {
namespace {

using namespace std::chrono_literals;

os::Result<Options> Parse(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "orchestrator");
  return ParseOptions(arguments);
}

TEST(CommandLineOptions, AnUpgradeHasTheDefaultsOfTheDesign) {
  auto options = Parse({"upgrade", "-d", "/srv", "-f", "httpd.conf"});
  ASSERT_TRUE(options) << options.error().what;
  EXPECT_EQ(options.value().command, Command::kUpgrade);
  EXPECT_EQ(options.value().server_root, "/srv");
  EXPECT_EQ(options.value().config_file, "httpd.conf");
  EXPECT_EQ(options.value().ready_timeout, 30s);
  EXPECT_EQ(options.value().bake, 10s);
  EXPECT_EQ(options.value().max_draining, 10);
  EXPECT_EQ(options.value().graceful_shutdown_timeout, std::nullopt);
  ASSERT_EQ(options.value().probes.size(), 1U);
  EXPECT_EQ(options.value().probes[0].path, "/");
  EXPECT_EQ(options.value().probes[0].highest, 499);
}

TEST(CommandLineOptions, ProbesAndDefinesMayBeRepeatedAndHoldCommas) {
  auto options = Parse({"upgrade", "--probe", "/a,b", "--probe=/c=404", "-D", "A,B", "-DC"});
  ASSERT_TRUE(options) << options.error().what;
  ASSERT_EQ(options.value().probes.size(), 2U);
  EXPECT_EQ(options.value().probes[0].path, "/a,b");
  EXPECT_EQ(options.value().probes[1].lowest, 404);
  EXPECT_EQ(options.value().defines, (std::vector<std::string>{"A,B", "C"}));
}

TEST(CommandLineOptions, AServerRootIsMadeAbsoluteAndAConfigurationFileIsNot) {
  auto options = Parse({"status", "-d", "x/../y", "-f", "conf/httpd.conf"});
  ASSERT_TRUE(options) << options.error().what;
  EXPECT_TRUE(options.value().server_root.starts_with('/'));
  EXPECT_TRUE(options.value().server_root.ends_with("/y"));
  EXPECT_EQ(options.value().config_file, "conf/httpd.conf");
}

struct Wrong {
  std::vector<std::string> arguments;
  std::string says;
};

TEST(CommandLineOptions, WhatIsWrongIsNamedInOneLine) {
  const std::vector<Wrong> all = {
      {{}, "a command is missing"},
      {{"upgrad"}, "\"upgrad\" is no command"},
      {{"-d", "/x", "upgrade"}, "given before the command"},
      {{"upgrade", "--no-such"}, "no-such"},
      {{"upgrade", "--bake"}, "bake"},
      {{"upgrade", "--bake", "x"}, "--bake: \"x\" is not a number of seconds"},
      {{"upgrade", "--bake", "-1"}, "bake"},
      {{"upgrade", "--ready-timeout", "0"}, "--ready-timeout"},
      {{"upgrade", "--graceful-shutdown-timeout", "1.5"}, "--graceful-shutdown-timeout"},
      {{"upgrade", "--max-draining", "many"}, "--max-draining"},
      {{"upgrade", "--probe", "health"}, "--probe \"health\""},
      {{"upgrade", "stray"}, "\"stray\" is not expected"},
      {{"upgrade", "-d", ""}, "--server-root: the value is empty"},
      {{"status", "--bake", "1"}, "bake"},
      {{"start", "--probe", "/"}, "probe"},
      {{"stop", "--detach"}, "detach"},
      {{"stop", "--graceful-shutdown-timeout", "3"}, "needs --graceful"},
      {{"upgrade", "--to", "0.1.0"}, "to"},
      {{"rollback", "--to", ""}, "--to: the value is empty"},
      {{"upgrade", "--hook", "switched"}, "--hook: \"switched\" has no ="},
      {{"upgrade", "--hook", "start=true"},
       "names no step: STEP=COMMAND or before-STEP=COMMAND is wanted, STEP one of planned"},
      {{"upgrade", "--hook", "done= "}, "has no command"},
      {{"rollback", "--detach", "--hook", "before-done=true"}, "--hook before-done: with --detach nobody waits"},
      {{"upgrade", "--hook-timeout", "0"}, "--hook-timeout"},
      {{"status", "--dry-run"}, "dry-run"},
  };
  for (const Wrong& wrong : all) {
    auto options = Parse(wrong.arguments);
    ASSERT_FALSE(options) << wrong.says;
    EXPECT_NE(options.error().what.find(wrong.says), std::string::npos) << options.error().what;
    EXPECT_EQ(options.error().what.find('\n'), std::string::npos);
  }
}

TEST(CommandLineOptions, HooksKeepTheirOrderAndTheirCommandsMayHoldAnything) {
  auto options = Parse({"rollback", "--hook", "before-switched=a=b, c", "--hook=done=d", "--to", "0.1.0", "--dry-run"});
  ASSERT_TRUE(options) << options.error().what;
  EXPECT_EQ(options.value().command, Command::kRollback);
  EXPECT_EQ(options.value().to, "0.1.0");
  EXPECT_TRUE(options.value().dry_run);
  ASSERT_EQ(options.value().hooks.size(), 2U);
  EXPECT_EQ(options.value().hooks[0].Name(), "before-switched");
  EXPECT_EQ(options.value().hooks[0].command, "a=b, c");
  EXPECT_EQ(options.value().hooks[1].Name(), "done");
}

TEST(CommandLineOptions, HelpIsAnsweredEverywhere) {
  EXPECT_EQ(Parse({"--help"}).value().command, Command::kHelp);
  EXPECT_EQ(Parse({"upgrade", "--help"}).value().command, Command::kHelp);
  EXPECT_EQ(Parse({"--version"}).value().command, Command::kVersion);
}

}  // namespace
}  // namespace orchestrator
