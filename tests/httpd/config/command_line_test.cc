#include "httpd/config/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace httpd::config {
namespace {

using ::testing::ElementsAre;
using Action = Options::Action;

os::Result<Options> Parse(std::vector<std::string> words) {
  words.insert(words.begin(), "/usr/sbin/httpd");
  return ParseCommandLine(words);
}

Options Good(const std::vector<std::string>& words) {
  auto result = Parse(words);
  EXPECT_TRUE(result) << (result ? "" : result.error().what);
  return result ? result.value() : Options{};
}

TEST(CommandLine, EveryQuestionHasItsAction) {
  EXPECT_EQ(Good({}).action, Action::kRun);
  EXPECT_EQ(Good({"-t"}).action, Action::kTest);
  EXPECT_EQ(Good({"-S"}).action, Action::kDumpHosts);
  EXPECT_EQ(Good({"-t", "-D", "DUMP_VHOSTS"}).action, Action::kDumpHosts);
  EXPECT_EQ(Good({"-M"}).action, Action::kDumpModules);
  EXPECT_EQ(Good({"-tDDUMP_INCLUDES"}).action, Action::kDumpIncludes);
  EXPECT_EQ(Good({"-v"}).action, Action::kVersion);
  EXPECT_EQ(Good({"-V"}).action, Action::kBuild);
  EXPECT_EQ(Good({"-l"}).action, Action::kModules);
  EXPECT_EQ(Good({"-L"}).action, Action::kDirectives);
  EXPECT_EQ(Good({"-h"}).action, Action::kHelp);
  EXPECT_EQ(Good({"-?"}).action, Action::kHelp);
  EXPECT_EQ(Good({"-f", "x", "--run-config"}).action, Action::kDumpRunConfig);
}

TEST(CommandLine, VerbsOtherThanStartSignal) {
  EXPECT_EQ(Good({"-k", "start"}).action, Action::kRun);
  EXPECT_TRUE(Good({"-k", "start"}).verb_given);
  EXPECT_EQ(Good({"-kgraceful-stop"}).verb, Options::Verb::kGracefulStop);
  EXPECT_EQ(Good({"-k", "graceful", "--wait"}).action, Action::kSignal);
  EXPECT_TRUE(Good({"-k", "graceful", "--wait"}).wait);
  EXPECT_EQ(Good({"-t", "-k", "stop"}).action, Action::kTest);
}

TEST(CommandLine, ValuesMayFollowTheirLetterOrStandAlone) {
  const Options o =
      Good({"-d/srv", "-f", "c.conf", "-C", "A b", "-c", "C d", "-D", "X", "-DY", "-einfo", "-E", "log", "-TX"});
  EXPECT_EQ(o.server_root, "/srv");
  EXPECT_EQ(o.config_file, "c.conf");
  EXPECT_THAT(o.directives_before, ElementsAre("A b"));
  EXPECT_THAT(o.directives_after, ElementsAre("C d"));
  EXPECT_THAT(o.defines, ElementsAre("X", "Y", "DEBUG"));
  EXPECT_EQ(o.startup_level, LogLevel::kInfo);
  EXPECT_EQ(o.startup_log, "log");
  EXPECT_TRUE(o.skip_document_root_check);
  EXPECT_TRUE(o.one_process);
  EXPECT_TRUE(o.foreground);
  EXPECT_EQ(o.program, "httpd");
}

TEST(CommandLine, MagicDefinesSetTheMode) {
  EXPECT_TRUE(Good({"-D", "FOREGROUND"}).foreground);
  EXPECT_FALSE(Good({"-D", "FOREGROUND"}).one_process);
  EXPECT_TRUE(Good({"-DNO_DETACH"}).no_detach);
  EXPECT_TRUE(Good({"-DONE_PROCESS"}).one_process);
}

TEST(CommandLine, MistakesAreNamedAsGetoptDoes) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"-Z"}, "httpd: illegal option -- Z"},
      {{"-tZ"}, "httpd: illegal option -- Z"},
      {{"-:"}, "httpd: illegal option -- :"},
      {{"-f"}, "httpd: option requires an argument -- f"},
      {{"-k"}, "httpd: illegal option -- k"},
      {{"-k", "bogus"}, "httpd: illegal option -- k"},
      {{"-k", "stop", "-k", "start"}, "httpd: illegal option -- k"},
      {{"-e", "loud"}, "httpd: unknown level -- loud"},
      {{"--foo"}, "httpd: unrecognized option '--foo'"},
      {{"foo"}, "httpd: unexpected argument -- foo"},
      {{""}, "httpd: unexpected argument -- "},
      {{"-k", "stop", "--standby"},
       "httpd: --standby goes with a start, not with -k stop, restart, graceful or graceful-stop"},
  };
  for (const auto& [words, message] : cases) {
    auto result = Parse(words);
    ASSERT_FALSE(result) << message;
    EXPECT_EQ(result.error().what, message);
    EXPECT_EQ(result.error().kind, os::ErrorKind::kInvalid);
  }
}

TEST(CommandLine, UsageNamesEveryOption) {
  const std::string usage = Usage("httpd");
  for (const char* option : {"-D name", "-d dir", "-f file", "-C \"",        "-c \"",     "-e level", "-E file",
                             "-v ",     "-V ",    "-h ",     "-l ",          "-L ",       "-S ",      "-M ",
                             "-t ",     "-T ",    "-X ",     "--run-config", "--standby", "--wait"}) {
    EXPECT_NE(usage.find(option), std::string::npos) << option;
  }
}

}  // namespace
}  // namespace httpd::config
