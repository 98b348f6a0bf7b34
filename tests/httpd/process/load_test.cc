#include "httpd/process/load.h"

#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "httpd/modules/module.h"
#include "tests/httpd/process/temp_dir.h"

namespace httpd::process {
namespace {

using testing::HasSubstr;

class LoadTest : public testing::Test {
 protected:
  void Write(const std::string& text) {
    std::ofstream(dir_.path() + "/httpd.conf") << "ServerRoot " << dir_.path() << "\n" << text;
  }
  config::Options Options() {
    config::Options options;
    options.server_root = dir_.path();
    options.config_file = dir_.path() + "/httpd.conf";
    return options;
  }
  TempDir dir_;
};

TEST_F(LoadTest, RunConfigNamesWhatTheOrchestratorAsksFor) {
  Write(
      "Listen 127.0.0.1:8080\nListen [::1]:8081\nDefaultRuntimeDir run\nPidFile run/httpd.pid\nErrorLog logs/error\n"
      "CustomLog \"|/bin/cat x\" \"%h\"\nUser nobody\nGroup nogroup\nGracefulShutdownTimeout 7\n");
  auto loaded = Load(Options());
  ASSERT_TRUE(loaded) << loaded.error().Text();
  const auto json = Poco::JSON::Parser().parse(RunConfigJson(*loaded.value())).extract<Poco::JSON::Object::Ptr>();
  EXPECT_EQ(json->getValue<std::string>("server_root"), dir_.path());
  EXPECT_EQ(json->getValue<std::string>("runtime_dir"), dir_.path() + "/run");
  EXPECT_EQ(json->getValue<std::string>("pid_file"), dir_.path() + "/run/httpd.pid");
  EXPECT_EQ(json->getValue<std::string>("user"), "nobody");
  EXPECT_EQ(json->getValue<int>("graceful_shutdown_timeout"), 7);
  const auto listen = json->getArray("listen");
  ASSERT_EQ(listen->size(), 2u);
  EXPECT_EQ(listen->getObject(0)->getValue<std::string>("address"), "127.0.0.1:8080");
  EXPECT_EQ(listen->getObject(1)->getValue<std::string>("address"), "[::1]:8081");
  EXPECT_EQ(listen->getObject(1)->getValue<int>("line"), 3);
  const auto logs = json->getArray("logs");
  ASSERT_EQ(logs->size(), 2u);
  EXPECT_EQ(logs->getObject(0)->getValue<std::string>("kind"), "file");
  EXPECT_EQ(logs->getObject(0)->getValue<std::string>("text"), dir_.path() + "/logs/error");
  EXPECT_EQ(logs->getObject(1)->getValue<std::string>("kind"), "program");
  EXPECT_EQ(logs->getObject(1)->getValue<std::string>("text"), "/bin/cat x");
}

TEST_F(LoadTest, ATypesFileThatIsMissingIsAnError) {
  modules::RegisterModules();
  Write("Listen 127.0.0.1:8080\nTypesConfig none.types\n");
  const auto loaded = Load(Options());
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().what, HasSubstr("AH01597: could not open mime types config file"));
}

TEST_F(LoadTest, ALogFormatThatCannotBeCompiledNamesItsLine) {
  Write("Listen 127.0.0.1:8080\nErrorLog error\nCustomLog access \"%{x\"\n");
  const auto loaded = Load(Options());
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().what, HasSubstr("line 4 of " + dir_.path() + "/httpd.conf"));
}

TEST_F(LoadTest, TheCheckFindsALogDirectoryThatIsMissing) {
  Write("Listen 127.0.0.1:8080\nErrorLog none/error\n");
  auto loaded = Load(Options());
  ASSERT_TRUE(loaded) << loaded.error().Text();
  const auto checked = CheckSurroundings(*loaded.value());
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().what, HasSubstr("AH02297: Cannot access directory '" + dir_.path() + "/none/'"));
}

TEST_F(LoadTest, TheCheckFindsALogProgramThatCannotRun) {
  Write("Listen 127.0.0.1:8080\nErrorLog error\nCustomLog \"|bin/none -x\" \"%h\"\n");
  auto loaded = Load(Options());
  ASSERT_TRUE(loaded) << loaded.error().Text();
  const auto checked = CheckSurroundings(*loaded.value());
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().what, HasSubstr("log program 'bin/none' cannot be run: No such file or directory"));
}

TEST_F(LoadTest, NobodyServesAsRootUnderAnyOfItsNames) {
  for (const char* user : {"root", "#0"}) {
    Write(std::string("Listen 127.0.0.1:8080\nErrorLog error\nUser ") + user + "\n");
    auto loaded = Load(Options());
    ASSERT_TRUE(loaded) << loaded.error().Text();
    const auto checked = CheckSurroundings(*loaded.value());
    ASSERT_FALSE(checked) << user;
    EXPECT_THAT(checked.error().what, HasSubstr("does not serve as root"));
  }
}

}  // namespace
}  // namespace httpd::process
