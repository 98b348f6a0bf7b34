// What brings existing Apache configurations in: every mistake at once, modules by name, conditions.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "httpd/config/directives.h"
#include "httpd/config/module_catalog.h"
#include "httpd/config/reader.h"
#include "tests/httpd/config/fake_files.h"

namespace httpd::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

/// Modules of the server that this program is not linked with.
const bool kRegistered = [] {
  RegisterModule({"mod_alias.c", "alias_module"},
                 {{"Alias", "mod_alias.c", kInHosts, Arity::kTwo, "a fakename and a realname", OnRead::kNo,
                   [](Builder&, Scope&, const Node&, const std::vector<std::string>&) { return Complaint(); }}});
  RegisterModule({"mod_dir.c", "dir_module"}, {});
  return true;
}();

ServerConfig Good(const std::string& text) {
  FakeFiles files;
  auto result = files.Read(text);
  EXPECT_TRUE(result) << text << "\n" << (result ? "" : result.error().what);
  return result ? result.value() : ServerConfig{};
}

std::string Wrong(const std::string& text) {
  FakeFiles files;
  auto result = files.Read(text);
  return result ? "(no error)" : result.error().what;
}

TEST(Mistakes, AllOfAConfigurationAreToldInTheOrderOfItsLines) {
  FakeFiles files;
  files.files["/srv/conf/a.conf"] = "KeepAlive maybe\n<Directory /x>\nListen 80\nOptions Foo\n</Directory>\n";
  auto result = files.Read("Foo\nLoadModule php_module x.so\nInclude conf/a.conf\nInclude /none\nTimeout x\n");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().what,
            "AH00526: Syntax error on line 1 of /srv/conf/httpd.conf:\nInvalid command 'Foo', perhaps misspelled or "
            "defined by a module not included in the server configuration\n"
            "AH00526: Syntax error on line 2 of /srv/conf/httpd.conf:\nCannot load x.so into server: php_module is not "
            "one of the modules of this server (httpd -M lists them)\n"
            "AH00526: Syntax error on line 1 of /srv/conf/a.conf:\nKeepAlive must be On or Off\n"
            "AH00526: Syntax error on line 3 of /srv/conf/a.conf:\nListen not allowed in <Directory> context\n"
            "AH00526: Syntax error on line 4 of /srv/conf/a.conf:\nIllegal option Foo\n"
            "AH00526: Syntax error on line 4 of /srv/conf/httpd.conf:\nCould not open configuration file /none: No "
            "such file or directory\n"
            "AH00526: Syntax error on line 5 of /srv/conf/httpd.conf:\nTimeout has wrong format");
}

TEST(Mistakes, ASectionOutOfOrderEndsItsFileAloneAndWhatItSaidIsStillChecked) {
  FakeFiles files;
  files.files["/srv/conf/a.conf"] = "<Directory /x>\nOptions Foo\n<Files y>\n</Directory>\nNever read\n";
  auto result = files.Read("Include conf/a.conf\nBar\n");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().what,
            "AH00526: Syntax error on line 2 of /srv/conf/a.conf:\nIllegal option Foo\n"
            "AH00526: Syntax error on line 4 of /srv/conf/a.conf:\nExpected </Files> but saw </Directory>\n"
            "AH00526: Syntax error on line 2 of /srv/conf/httpd.conf:\nInvalid command 'Bar', perhaps misspelled or "
            "defined by a module not included in the server configuration");
}

TEST(Mistakes, ThousandsOfThemAreCutAtAHundred) {
  std::string text;
  for (int i = 0; i < 1234; ++i) text += "KeepAlive maybe\n";
  const std::string told = Wrong(text);
  EXPECT_THAT(told, HasSubstr("line 100 of"));
  EXPECT_THAT(told, Not(HasSubstr("line 101 of")));
  EXPECT_TRUE(told.ends_with("\nAnd 1134 more errors.")) << told.substr(told.size() - 60);
}

TEST(Mistakes, FilesThatIncludeThemselvesTwiceEndTheReadingAtOnce) {
  EXPECT_EQ(Wrong("Include conf/httpd.conf\nInclude conf/httpd.conf\n"),
            "AH00526: Syntax error on line 1 of /srv/conf/httpd.conf:\nExceeded maximum include depth of 128, There "
            "appears to be a recursion.");
}

TEST(LoadModule, TakesWhatTheCoreDoesByItselfAndSaysSoWhereItMatters) {
  const ServerConfig c = Good(
      "LoadModule socache_shmcb_module modules/mod_socache_shmcb.so\nLoadModule slotmem_shm_module x.so\n"
      "LoadModule mpm_prefork_module modules/mod_mpm_prefork.so\nLoadModule watchdog_module x.so\n");
  EXPECT_THAT(c.warnings,
              ElementsAre(HasSubstr("WARNING: LoadModule mpm_prefork_module has no meaning here: there is one way")));
}

TEST(LoadModule, OfAModuleOfApacheThatIsNotHereNamesItAndWhatToDo) {
  EXPECT_THAT(Wrong("LoadModule md_module modules/mod_md.so\n"),
              HasSubstr("line 1 of /srv/conf/httpd.conf:\nCannot load modules/mod_md.so into server: md_module is a "
                        "module of Apache that this server does not have: certificates are made and renewed by a"));
  EXPECT_THAT(Wrong("LoadModule proxy_http_module x\n"), HasSubstr("put them into <IfModule proxy_http_module>"));
  EXPECT_THAT(Wrong("LoadModule foo x\n"), HasSubstr("foo is not one of the modules of this server"));
}

TEST(LoadModule, OfTheSameModuleTwiceIsSkippedWithAWarning) {
  EXPECT_THAT(Good("LoadModule alias_module a\nLoadModule alias_module a\n").warnings,
              ElementsAre("AH01574: module alias_module is already loaded, skipping (/srv/conf/httpd.conf:2)"));
}

TEST(IfModule, EveryModuleIsThereAsLongAsNothingWasLoaded) {
  EXPECT_TRUE(IsModuleThere("mod_alias.c", {}));
  EXPECT_TRUE(IsModuleThere("alias_module", {}));
  EXPECT_TRUE(IsModuleThere("event.c", {}));
  EXPECT_FALSE(IsModuleThere("prefork.c", {}));
  EXPECT_FALSE(IsModuleThere("mod_md.c", {}));
  EXPECT_FALSE(IsModuleThere("alias", {}));
}

TEST(IfModule, AConfigurationThatLoadsModulesHasThoseAndTheCompiledInOnes) {
  const std::vector<std::string> loaded = {"dir_module", "mpm_worker_module"};
  EXPECT_TRUE(IsModuleThere("mod_dir.c", loaded));
  EXPECT_FALSE(IsModuleThere("mod_alias.c", loaded));
  EXPECT_TRUE(IsModuleThere("mod_log_config.c", loaded));
  EXPECT_TRUE(IsModuleThere("core.c", loaded));
  EXPECT_TRUE(IsModuleThere("mpm_worker_module", loaded));
  EXPECT_FALSE(IsModuleThere("mpm_event_module", loaded));
  EXPECT_TRUE(IsModuleThere("mpm_event_module", {"dir_module"}));
  EXPECT_EQ(Good("LoadModule dir_module x\n<IfModule mod_alias.c>\nServerAdmin no\n</IfModule>\n"
                 "<IfModule !alias_module>\nServerName yes\n</IfModule>\n")
                .main.server_name,
            "yes");
}

TEST(IfDirectiveIfSectionIfFile, HoldWhenTheThingExists) {
  FakeFiles files;
  files.files["/srv/conf/here"] = "";
  auto result = files.Read(
      "<IfDirective Alias>\nServerName a\n</IfDirective>\n<IfDirective !Nonsense>\nServerAdmin b\n</IfDirective>\n"
      "<IfSection VirtualHost>\nListen 1\n</IfSection>\n<IfSection Nonsense>\nNonsense\n</IfSection>\n"
      "<IfFile conf/here>\nListen 2\n</IfFile>\n<IfFile !conf/gone>\nListen 3\n</IfFile>\n"
      "<IfFile conf/gone>\nNonsense\n</IfFile>\n");
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result.value().main.server_name, "a");
  EXPECT_EQ(result.value().main.server_admin, "b");
  EXPECT_EQ(result.value().listen.size(), 3U);
}

TEST(IfDirectiveIfSectionIfFile, ADirectiveOfAModuleThatWasNotLoadedDoesNotExist) {
  EXPECT_EQ(Good("LoadModule dir_module x\n<IfDirective Alias>\nServerName no\n</IfDirective>\n"
                 "<IfDirective ServerAlias>\nServerAdmin yes\n</IfDirective>\n")
                .main.server_name,
            "");
}

TEST(WithoutMeaning, DirectivesAreToldAboutOncePerName) {
  const ServerConfig c = Good(
      "ThreadLimit 64\nthreadlimit 65\nMutex default\nMutex file:/x ssl-cache\nMinSpareServers 5\nLoadFile x.so\n"
      "EnableMMAP Off\nScoreBoardFile logs/s\n");
  std::vector<std::string> names;
  for (const std::string& warning : c.warnings) {
    EXPECT_THAT(warning, HasSubstr(" has no meaning here: "));
    names.push_back(warning.substr(9, warning.find(" has") - 9));
  }
  EXPECT_THAT(names,
              ElementsAre("ThreadLimit", "Mutex", "MinSpareServers", "LoadFile", "EnableMMAP", "ScoreBoardFile"));
}

TEST(WithoutMeaning, WhatIsWrongForApacheIsStillWrong) {
  EXPECT_THAT(Wrong("Mutex foo\n"), HasSubstr("Invalid Mutex argument foo (Mutex mechanisms are: 'none', 'default',"));
  EXPECT_THAT(Wrong("EnableMMAP maybe\n"), HasSubstr("parameter must be 'on' or 'off'"));
}

TEST(Process, AcceptFilterIsOfAProtocolAndAllFiltersButNoneAreOne) {
  EXPECT_THAT(Good("AcceptFilter HTTP none\nAcceptFilter https none\nAcceptFilter https httpready\n").accept_filters,
              ElementsAre(Pair("http", false), Pair("https", true)));
}

TEST(Process, BufferSizesAndTheDirectoryOfCoreFilesAreTaken) {
  const ServerConfig c =
      Good("SendBufferSize 65536\nReceiveBufferSize 0\nListenTCPDeferAccept 3\nCoreDumpDirectory htdocs\n");
  EXPECT_EQ(c.send_buffer_size, 65536);
  EXPECT_EQ(c.receive_buffer_size, 0);
  EXPECT_EQ(c.defer_accept_s, 3);
  EXPECT_EQ(c.core_dump_directory, "/srv/htdocs");
  EXPECT_THAT(Wrong("SendBufferSize 511\n"),
              HasSubstr("SendBufferSize must be >= 512 bytes, or 0 for system default."));
  EXPECT_THAT(Wrong("CoreDumpDirectory /gone\n"), HasSubstr("CoreDumpDirectory /gone does not exist"));
}

TEST(HttpProtocolOptions, WhatIsStricterIsHonouredAndWhatIsLooserIsToldAbout) {
  EXPECT_FALSE(Good("HttpProtocolOptions Strict LenientMethods Require1.0\n").main.registered_methods_only);
  const ServerConfig c = Good(
      "HttpProtocolOptions Unsafe RegisteredMethods\nHttpProtocolOptions Allow0.9\n<VirtualHost *:1>\n"
      "</VirtualHost>\n<VirtualHost *:2>\nHttpProtocolOptions LenientMethods\n</VirtualHost>\n");
  EXPECT_TRUE(c.main.registered_methods_only);
  EXPECT_TRUE(c.virtual_hosts.at(0).registered_methods_only);
  EXPECT_FALSE(c.virtual_hosts.at(1).registered_methods_only);
  EXPECT_THAT(c.warnings, ElementsAre(HasSubstr("HttpProtocolOptions Unsafe is not honoured"),
                                      HasSubstr("HttpProtocolOptions Allow0.9 is not honoured")));
  EXPECT_THAT(Wrong("HttpProtocolOptions Strict Unsafe\n"),
              HasSubstr("HttpProtocolOptions 'Strict' and 'Unsafe' are mutually exclusive"));
  EXPECT_THAT(Wrong("HttpProtocolOptions Foo\n"), HasSubstr("HttpProtocolOptions accepts 'Unsafe' or 'Strict'"));
}

TEST(Protocols, MustNameTheOneThatIsSpoken) {
  EXPECT_THAT(Good("Protocols h2 http/1.1\nProtocolsHonorOrder On\n").warnings,
              ElementsAre(HasSubstr("Protocols h2 is not spoken here")));
  EXPECT_THAT(Wrong("Protocols h2\n"), HasSubstr("Protocols must name http/1.1"));
}

TEST(Warning, IsPrintedAndTheServerStarts) {
  EXPECT_THAT(Good("Warning \"look here\"\n").warnings, ElementsAre("look here (/srv/conf/httpd.conf:1)"));
  EXPECT_THAT(Wrong("Warning\n"), HasSubstr("The Warning directive was used with no message."));
}

TEST(Collisions, WhatOneLineAloneMaySayIsToldWhenAnotherReplacesIt) {
  const ServerConfig c =
      Good("User a\nUser b\nPidFile x\nPidFile x\n<VirtualHost *:80>\nServerName v\n</VirtualHost>\nServerName w\n");
  EXPECT_THAT(c.warnings, ElementsAre("WARNING: User was a on line 1 of /srv/conf/httpd.conf; this line replaces it "
                                      "(/srv/conf/httpd.conf:2)"));
  FakeFiles files;
  files.after = {"User c"};
  auto replaced = files.Read("User a\n");
  ASSERT_TRUE(replaced);
  EXPECT_THAT(replaced.value().warnings, IsEmpty()) << "-c is there to replace";
}

TEST(Collisions, AHostThatCanNeverAnswerIsTold) {
  const ServerConfig c = Good(
      "Listen 80\nServerName main\n<VirtualHost *:80>\nServerName a\nServerAlias b\n</VirtualHost>\n"
      "<VirtualHost *:80>\nServerName B\n</VirtualHost>\n<VirtualHost *:81>\n</VirtualHost>\n"
      "<VirtualHost *:80>\n</VirtualHost>\n<VirtualHost *:80 *>\n</VirtualHost>\n");
  EXPECT_THAT(c.warnings,
              ElementsAre("WARNING: <VirtualHost *:80> never answers for b: that is a name of the one on line 3 of "
                          "/srv/conf/httpd.conf (/srv/conf/httpd.conf:7)",
                          "WARNING: nothing listens on port 81 of <VirtualHost *:81>: it never answers "
                          "(/srv/conf/httpd.conf:10)"));
}

TEST(Dumps, ContextsAreWordedAsApachesListOfDirectives) {
  const std::string text = DumpDirectives();
  EXPECT_THAT(text, HasSubstr("Listen (event.c)\n\tA port number or a numeric IP address and a port number, and an "
                              "optional protocol\n\tAllowed in *.conf only outside <Directory>, <Files>, <Location>, "
                              "or <If>\n"));
  EXPECT_THAT(text,
              HasSubstr("\nEnableMMAP (core.c)\n\tControls whether memory-mapping may be used to read files\n"
                        "\tAllowed in *.conf anywhere and in .htaccess\n\twhen AllowOverride includes FileInfo\n"));
  EXPECT_THAT(text,
              HasSubstr("\n<IfModule (core.c)\n\tContainer for directives based on existence of specified "
                        "modules\n\tAllowed in *.conf anywhere and in .htaccess\n\twhen AllowOverride isn't None\n"));
}

TEST(Dumps, TheConfigurationIsPrintedWithFilesAndLinesAsModInfoDoes) {
  FakeFiles files;
  files.files["/srv/conf/a.conf"] = "ServerAdmin ${WHO}\n";
  files.files["/srv/conf/httpd.conf"] =
      "Define WHO me\n<IfDefine WHO>\n<Directory \"/x\">\n  Options None\n</Directory>\n</IfDefine>\n"
      "Include conf/a.conf\n<IfModule none>\nBad\n</IfModule>\n";
  ReadRequest request;
  request.server_root = "/srv";
  auto text = DumpConfig(request, files.Source());
  ASSERT_TRUE(text) << text.error().what;
  EXPECT_EQ(text.value(),
            "# In file: /srv/conf/httpd.conf\n#   3:\n<Directory \"/x\">\n  #   4:\n  Options None\n</Directory>\n"
            "# In file: /srv/conf/a.conf\n#   1:\nServerAdmin me\n");
}

}  // namespace
}  // namespace httpd::config
