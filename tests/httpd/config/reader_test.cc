#include "httpd/config/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "httpd/config/directives.h"
#include "tests/httpd/config/fake_files.h"

namespace httpd::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ServerConfig Good(const std::string& text) {
  FakeFiles files;
  auto result = files.Read(text);
  EXPECT_TRUE(result) << text << "\n" << (result ? "" : result.error().what);
  return result ? result.value() : ServerConfig{};
}

std::string Message(const os::Result<ServerConfig>& result) {
  return result ? "(no error)" : result.error().what;
}

TEST(ReadConfiguration, BadInputIsRefusedWithApachesWordsAndTheRightLine) {
  struct Case {
    const char* text;
    int line;
    const char* message;
  };
  const Case cases[] = {
      {"Foo bar\n", 1,
       "Invalid command 'Foo', perhaps misspelled or defined by a module not included in the server configuration"},
      {"\n# c\nKeepAlives On\n", 3,
       "Invalid command 'KeepAlives', perhaps misspelled or defined by a module not included in the server "
       "configuration (did you mean 'KeepAlive'?)"},
      {"Listne 80\n", 1,
       "Invalid command 'Listne', perhaps misspelled or defined by a module not included in the server configuration "
       "(did you mean 'Listen'?)"},
      {"<Foo>\n</Foo>\n", 1,
       "Invalid command '<Foo', perhaps misspelled or defined by a module not included in the server configuration"},
      {"Bar \\\nbaz\n", 2,
       "Invalid command 'Bar', perhaps misspelled or defined by a module not included in the server configuration"},
      {"# abc \\\nFoo\nServerName \\\n\\\n\n", 5, "ServerName takes one argument, The hostname and port of the server"},
      {"Listen\n", 1, "Listen requires 1 or 2 arguments."},
      {"Listen abc\n", 1, "Port must be specified"},
      {"Listen 0\n", 1, "Invalid address or port"},
      {"Listen 99999\n", 1, "Invalid address or port"},
      {"Listen [::1\n", 1, "Invalid address or port"},
      {"Listen 80\nListen 0.0.0.0:80\n", 2, "Cannot define multiple Listeners on the same IP:port"},
      {"Listen [::1]:80\nListen [0:0::1]:80\n", 2, "Cannot define multiple Listeners on the same IP:port"},
      {"Listen 443 ftp\n", 1, "Listen protocol 'ftp' is not spoken here, only http and https are"},
      {"<Directory /tmp>\nListenBacklog 5\n</Directory>\n", 2, "ListenBacklog not allowed in <Directory> context"},
      {"<Location /x>\nErrorLog x\n</Location>\n", 2, "ErrorLog not allowed in <Location> context"},
      {"<DirectoryMatch x>\nListen 1\n</DirectoryMatch>\n", 2, "Listen not allowed in <DirectoryMatch> context"},
      {"<VirtualHost *:80>\nStartServers 3\n</VirtualHost>\n", 2,
       "StartServers cannot occur within <VirtualHost> section"},
      {"<VirtualHost *>\n<VirtualHost *>\n</VirtualHost>\n</VirtualHost>\n", 2,
       "<VirtualHost> cannot occur within <VirtualHost> section"},
      {"<Location /a>\n<Files b>\n</Files>\n</Location>\n", 2, "<Files> cannot occur within <Location> section"},
      {"<Directory /a>\n<Location /b>\n</Location>\n</Directory>\n", 2, "<Location not allowed in <Directory> context"},
      {"AllowOverride None\n", 1, "AllowOverride not allowed here"},
      {"\n<VirtualHost *:80>\nServerName a\n", 2, "<VirtualHost> was not closed."},
      {"</Directory>\n", 1, "</Directory> without matching <Directory> section"},
      {"<Directory /tmp>\n<Files x>\n</Directory>\n</Files>\n", 3, "Expected </Files> but saw </Directory>"},
      {"<Directory /tmp\n</Directory>\n", 1, "<Directory> directive missing closing '>'"},
      {"<Directory>\n</Directory>\n", 1, "<Directory> directive requires additional arguments"},
      {"<Directory a b>\n</Directory>\n", 1, "Multiple <Directory> arguments not (yet) supported."},
      {"<IfDefine x>\nFoo\n", 1, "Expected </IfDefine> before end of configuration"},
      {"<IfDefine !x>\nServerName a\n", 1, "Expected </IfDefine> before end of configuration"},
      {"<IfModule mod_foo.c>\nFoo\n</IfModule>\n</IfModule>\n", 4, "</IfModule> without matching <IfModule> section"},
      {"<IfDefine x>\n<Files a>\n</Location>\n</IfDefine>\n", 3, "Expected </Files> but saw </Location>"},
      {"KeepAlive maybe\n", 1, "KeepAlive must be On or Off"},
      {"KeepAliveTimeout 5x\n", 1, "KeepAliveTimeout has wrong format"},
      {"StartServers x\n", 1, "StartServers \"x\" must be a number"},
      {"LimitRequestLine -1\n", 1, "LimitRequestLine \"-1\" must be a non-negative integer"},
      {"ListenBacklog 0\n", 1, "ListenBacklog must be > 0"},
      {"ServerName a b\n", 1, "ServerName takes one argument, The hostname and port of the server"},
      {"ServerName a:b\n", 1, "The port number \"a:b\" is outside the appropriate range (i.e., 1..65535)."},
      {"ServerAlias a\n", 1, "ServerAlias only used in <VirtualHost>"},
      {"LogLevel bogus\n", 1,
       "Log level keyword must be one of emerg/alert/crit/error/warn/notice/info/debug/trace1/.../trace8"},
      {"LogLevel info foo:warn\n", 1, "Cannot find module foo"},
      {"ErrorDocument 404\n", 1, "ErrorDocument takes two arguments, Change responses for HTTP errors"},
      {"CustomLog a\n", 1,
       "CustomLog takes two or three arguments, a file name, a custom log format string or format name, and an "
       "optional "
       "\"env=\" or \"expr=\" clause (see docs)"},
      {"CustomLog a b foo=x\n", 1, "error in condition clause"},
      {"CustomLog | b\n", 1, "CustomLog: the program after '|' is missing"},
      {"ErrorLog \"\"\n", 1, "ErrorLog takes one argument, The filename of the error log"},
      {"Options Foo\n", 1, "Illegal option Foo"},
      {"Options Indexes +Includes\n", 1, "Either all Options must start with + or -, or no Option may."},
      {"<Directory /a>\nAllowOverride Some\n</Directory>\n", 2, "Illegal override option Some"},
      {"<Directory /a>\nAllowOverride Options=Indexes,x\n</Directory>\n", 2, "Illegal option x"},
      {"<Directory /a>\nAllowOverride Nonfatal=some\n</Directory>\n", 2,
       "AllowOverride Nonfatal must be one of Override, Unknown or All, not 'some'"},
      {"Include /nonexist.conf\n", 1, "Could not open configuration file /nonexist.conf: No such file or directory"},
      {"Include /etc/*.conf\n", 1, "Include/IncludeOptional: No matches for the wildcard '*.conf' in '/etc', failing"},
      {"Include conf/httpd.conf\n", 1, "Exceeded maximum include depth of 128, There appears to be a recursion."},
      {"Error \"hello there\"\n", 1, "hello there"},
      {"Error\n", 1, "The Error directive was used with no message."},
      {"LoadModule php_module x.so\n", 1,
       "Cannot load x.so into server: php_module is not one of the modules of this server (httpd -M lists them)"},
      {"Define a:b\n", 1, "Variable name must not contain ':'"},
      {"ServerRoot /nonexist\n", 1, "ServerRoot must be a valid directory"},
      {"<VirtualHost *:x>\n</VirtualHost>\n", 1, "<VirtualHost *:x>: the port must be 1..65535 or *"},
      {"<IfVersion ~ 2>\n</IfVersion>\n", 1,
       "<IfVersion> takes an operator (=, ==, !=, <, <=, >, >=) and a version MAJOR[.MINOR[.PATCH]]"},
  };
  for (const Case& c : cases) {
    FakeFiles files;
    auto result = files.Read(c.text);
    EXPECT_EQ(Message(result),
              "AH00526: Syntax error on line " + std::to_string(c.line) + " of /srv/conf/httpd.conf:\n" + c.message)
        << c.text;
    if (!result) {
      EXPECT_EQ(result.error().kind, os::ErrorKind::kInvalid);
    }
  }
}

TEST(ReadConfiguration, DirectivesOfTheCommandLineAreCitedAsApacheDoes) {
  FakeFiles files;
  files.before = {"Define A 1", "Foo"};
  EXPECT_THAT(Message(files.Read("")), HasSubstr("Syntax error on line 2 of -c/-C directives:\nInvalid command 'Foo'"));
}

TEST(ReadConfiguration, DirectivesAfterWinOverTheFileAndThoseBeforeDoNot) {
  FakeFiles files;
  files.before = {"ServerAdmin before", "ServerName before"};
  files.after = {"ServerName after"};
  auto result = files.Read("ServerName file\nServerAdmin file\n");
  ASSERT_TRUE(result) << Message(result);
  EXPECT_EQ(result.value().main.server_name, "after");
  EXPECT_EQ(result.value().main.server_admin, "file");
}

TEST(ReadConfiguration, MissingMainFileIsNotFoundAndNamed) {
  FakeFiles files;
  ReadRequest request;
  request.server_root = "/srv";
  request.config_file = "conf/other.conf";
  auto result = ReadConfiguration(request, files.Source());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, os::ErrorKind::kNotFound);
  EXPECT_EQ(result.error().what,
            "httpd: Could not open configuration file /srv/conf/other.conf: No such file or directory");
}

TEST(ReadRuntimePlaces, AreFoundInAConfigurationThatIsBrokenElsewhere) {
  FakeFiles files;
  files.files["/srv/conf/httpd.conf"] =
      "Define WHERE rt\nBogus on\nDefaultRuntimeDir ${WHERE}\n<IfModule core.c>\nPidFile logs/our.pid\n</IfModule>\n"
      "ErrorLog\n";
  ReadRequest request;
  request.server_root = "/srv";
  request.config_file = "conf/httpd.conf";
  ASSERT_FALSE(ReadConfiguration(request, files.Source()));
  auto places = ReadRuntimePlaces(request, files.Source());
  ASSERT_TRUE(places) << places.error().what;
  EXPECT_EQ(places.value().runtime_dir, "/srv/rt");
  EXPECT_EQ(places.value().pid_file, "/srv/logs/our.pid");
  files.files["/srv/conf/httpd.conf"] = "PidFile logs/our.pid\n<Directory />\n";
  EXPECT_FALSE(ReadRuntimePlaces(request, files.Source())) << "a section without an end could hold anything";
}

TEST(ReadConfiguration, AnEmptyFileGivesDefaultsBelowServerRoot) {
  const ServerConfig c = Good("");
  EXPECT_EQ(c.server_root, "/srv");
  EXPECT_EQ(c.runtime_dir, "/srv/run");
  EXPECT_EQ(c.pid_file, "/srv/run/httpd.pid");
  EXPECT_EQ(c.main.document_root, "/srv/htdocs");
  EXPECT_EQ(c.main.error_log.text, "/srv/logs/error_log");
  EXPECT_EQ(c.files, std::vector<std::string>{"/srv/conf/httpd.conf"});
  EXPECT_THAT(c.listen, IsEmpty());
  EXPECT_THAT(c.warnings, IsEmpty());
}

TEST(ReadConfiguration, PidFileStandsInTheRuntimeDirUnlessSaid) {
  EXPECT_EQ(Good("DefaultRuntimeDir /var/run/x/\n").pid_file, "/var/run/x/httpd.pid");
  EXPECT_EQ(Good("DefaultRuntimeDir /x\nPidFile p\n").pid_file, "/srv/p");
}

TEST(ReadConfiguration, ContinuedLinesQuotesEscapesAndCarriageReturnsAreApaches) {
  const ServerConfig c = Good("ServerAdmin \\\r\n  \"a \\\"b\\\" c\\d\"\r\n  ServerName   'x.example'  \r\n");
  EXPECT_EQ(c.main.server_admin, "a \"b\" c\\d");
  EXPECT_EQ(c.main.server_name, "x.example");
  EXPECT_EQ(Good("ErrorDocument 404 \"open to the end\nServerName x\n").main.settings.error_documents.at(404),
            "open to the end");
  EXPECT_EQ(Good("ServerAdmin " + std::string(300000, 'x')).main.server_admin.size(), 300000u);
}

TEST(ReadConfiguration, VariablesComeFromDefineThenFromTheEnvironmentThenStay) {
  FakeFiles files;
  files.environment = {{"A", "env-a"}, {"B", "env-b"}};
  auto result = files.Read("Define A one\nDefine AB ${A}-${B}\nServerAdmin ${AB}${C}}\nUnDefine A\nServerName ${A}\n");
  ASSERT_TRUE(result) << Message(result);
  EXPECT_EQ(result.value().main.server_admin, "one-env-b${C}}");
  EXPECT_EQ(result.value().main.server_name, "env-a");
  EXPECT_THAT(result.value().warnings,
              ElementsAre("AH00111: Config variable ${C} is not defined (/srv/conf/httpd.conf:3)"));
}

TEST(ReadConfiguration, VariablesThatDoubleWithoutEndAreRefused) {
  FakeFiles files;
  std::string text = "Define A 0123456789\n";
  for (int i = 0; i < 60; ++i) text += "Define A ${A}${A}\n";
  EXPECT_THAT(Message(files.Read(text)), HasSubstr("Variables expand to more than 16 MiB"));
}

TEST(ReadConfiguration, ConditionsChooseAndNest) {
  FakeFiles files;
  files.defines = {"YES"};
  auto result = files.Read(
      "<IfDefine YES>\n<IfModule mpm_event_module>\nServerName a\n</IfModule>\n</IfDefine>\n"
      "<IfDefine !YES>\n<Foo>\nBad\n</Foo>\n</IfDefine>\n"
      "<IfModule !mod_php.c>\n<VirtualHost *:1>\n<IfVersion >= 2.4>\nServerName v\n</IfVersion>\n</VirtualHost>\n"
      "</IfModule>\n<IfVersion < 2.4.10>\nBad\n</IfVersion>\n<IfVersion 2.4>\nServerAdmin x\n</IfVersion>\n");
  ASSERT_TRUE(result) << Message(result);
  EXPECT_EQ(result.value().main.server_name, "a");
  EXPECT_EQ(result.value().main.server_admin, "x");
  ASSERT_EQ(result.value().virtual_hosts.size(), 1u);
  EXPECT_EQ(result.value().virtual_hosts[0].server_name, "v");
}

TEST(ReadConfiguration, IncludesAreReadInPlaceAndListedWithTheirLines) {
  FakeFiles files;
  files.directories.insert("/srv/conf/d");
  files.files = {{"/srv/conf/d/1.conf", "ServerName one\n"},
                 {"/srv/conf/d/2.conf", "ServerName two\nInclude conf/deep.conf\n"},
                 {"/srv/conf/deep.conf", "ServerAdmin deep\n"}};
  auto result = files.Read("ServerName main\nInclude conf/d/*.conf\nIncludeOptional conf/none.conf conf/none/*.x\n");
  ASSERT_TRUE(result) << Message(result);
  EXPECT_EQ(result.value().main.server_name, "two");
  EXPECT_EQ(result.value().main.server_admin, "deep");
  EXPECT_EQ(DumpIncludes(result.value()),
            "Included configuration files:\n  (*) /srv/conf/httpd.conf\n    (2) /srv/conf/d/1.conf\n"
            "    (2) /srv/conf/d/2.conf\n      (2) /srv/conf/deep.conf\n");
  auto by_directory = files.Read("Include conf/d\n");
  ASSERT_TRUE(by_directory) << Message(by_directory);
  EXPECT_EQ(by_directory.value().files.size(), 4u);
}

TEST(ReadConfiguration, ErrorsInIncludedFilesNameThatFile) {
  FakeFiles files;
  files.files["/x.conf"] = "\n<Files a>\n";
  EXPECT_EQ(Message(files.Read("Include /x.conf\n")),
            "AH00526: Syntax error on line 2 of /x.conf:\n<Files> was not closed.");
}

TEST(ReadConfiguration, ListenTakesPortsAddressesAndBrackets) {
  const ServerConfig c = Good("Listen 80\nListen 127.0.0.1:81 http\nListen [::1]:82\nListen *:83\n");
  ASSERT_EQ(c.listen.size(), 4u);
  EXPECT_EQ(c.listen[0].host, "");
  EXPECT_EQ(c.listen[0].port, 80);
  EXPECT_EQ(c.listen[1].host, "127.0.0.1");
  EXPECT_EQ(c.listen[2].host, "::1");
  EXPECT_EQ(c.listen[3].host, "");
  EXPECT_EQ(c.listen[3].where.line, 4);
}

TEST(ReadConfiguration, AWildcardAndAnAddressOnOnePortAreWarnedAbout) {
  const ServerConfig c = Good("Listen 80\nListen 127.0.0.1:80\nListen [::1]:80\n");
  ASSERT_EQ(c.warnings.size(), 1u);
  EXPECT_THAT(c.warnings[0], HasSubstr("Listen 127.0.0.1:80 collides with Listen 80 on line 1"));
}

TEST(ReadConfiguration, ProcessNumbersOutOfRangeAreCorrectedWithAWarning) {
  const ServerConfig c = Good("ServerLimit 0\nStartServers 0\nMinSpareThreads 0\nThreadsPerChild 9\nMaxClients 2\n");
  EXPECT_EQ(c.server_limit, 1);
  EXPECT_EQ(c.start_servers, 1);
  EXPECT_EQ(c.min_spare_threads, 1);
  EXPECT_EQ(c.max_request_workers, 9);
  ASSERT_EQ(c.warnings.size(), 5u);
  EXPECT_THAT(c.warnings[1], HasSubstr("AH00499: WARNING: ServerLimit of 0 not allowed, increasing to 1."));
}

TEST(ReadConfiguration, WhatHasNoMeaningHereLoadsWithAWarning) {
  const ServerConfig c = Good("ThreadLimit 64\nMutex default\n");
  EXPECT_THAT(c.warnings, ElementsAre(HasSubstr("ThreadLimit has no meaning here"), HasSubstr("Mutex has no")));
}

TEST(ReadConfiguration, TimeoutsTakeSecondsAndUnits) {
  EXPECT_EQ(Good("KeepAliveTimeout 7\n").main.keep_alive_timeout_ms, 7000);
  EXPECT_EQ(Good("KeepAliveTimeout 250ms\n").main.keep_alive_timeout_ms, 250);
  EXPECT_EQ(Good("Timeout 2min\n").main.timeout_ms, 120000);
}

TEST(ReadConfiguration, MissingDocumentRootIsAWarningUnlessNotChecked) {
  EXPECT_THAT(Good("DocumentRoot /nowhere/\n").warnings,
              ElementsAre(HasSubstr("AH00112: Warning: DocumentRoot [/nowhere]")));
  FakeFiles files;
  files.files["/srv/c"] = "DocumentRoot /nowhere\n";
  auto result = ReadConfiguration({"/srv", "c", {}, {}, {}, false}, files.Source());
  ASSERT_TRUE(result);
  EXPECT_THAT(result.value().warnings, IsEmpty());
}

TEST(ReadConfiguration, LogsResolveNicknamesWhereverTheyAreDefined) {
  const ServerConfig c = Good(
      "CustomLog logs/a nick env=!quiet\nTransferLog \"|bin/rotatelogs x 60\"\nLogFormat \"%h x\" nick\nLogFormat "
      "\"%U\"\n"
      "CustomLog \"|$cat >> y\" \"%m\"\nErrorLog \"||/bin/log -e\"\n");
  ASSERT_EQ(c.main.access_logs.size(), 3u);
  EXPECT_EQ(c.main.access_logs[0].target.text, "/srv/logs/a");
  EXPECT_EQ(c.main.access_logs[0].format, "%h x");
  EXPECT_EQ(c.main.access_logs[0].env, "quiet");
  EXPECT_TRUE(c.main.access_logs[0].env_negated);
  EXPECT_EQ(c.main.access_logs[1].target.kind, LogTarget::Kind::kProgram);
  EXPECT_EQ(c.main.access_logs[1].target.text, "bin/rotatelogs x 60");
  EXPECT_EQ(c.main.access_logs[1].format, "%U");
  EXPECT_EQ(c.main.access_logs[2].target.kind, LogTarget::Kind::kShell);
  EXPECT_EQ(c.main.access_logs[2].target.text, "cat >> y");
  EXPECT_EQ(c.main.error_log.kind, LogTarget::Kind::kProgram);
  EXPECT_EQ(c.main.error_log.text, "/bin/log -e");
  EXPECT_THAT(Good("CustomLog a combined\n").warnings, ElementsAre(HasSubstr("'combined' is not a nickname")));
}

TEST(ReadConfiguration, AVirtualHostInheritsWhatItDoesNotSay) {
  const ServerConfig c = Good(
      "ServerAdmin root\nErrorLog e\nCustomLog main \"%h\"\nOptions Indexes\nErrorDocument 404 /m\n"
      "<Directory /a/>\nOptions None\n</Directory>\n"
      "<VirtualHost *:80 [::1]:81 _default_:*>\nServerName http://V.example:8080\nServerAlias W.Example *.x\nKeepAlive "
      "Off\n"
      "CustomLog own \"%u\"\nOptions +ExecCGI -Indexes\nErrorDocument 404 /v\n<Location /b>\nOptions None\n"
      "</Location>\n</VirtualHost>\n<VirtualHost 10.0.0.1>\nServerName w\n</VirtualHost>\nKeepAliveTimeout 9\n");
  ASSERT_EQ(c.virtual_hosts.size(), 2u);
  const Host& v = c.virtual_hosts[0];
  ASSERT_EQ(v.addresses.size(), 3u);
  EXPECT_EQ(v.addresses[1].host, "::1");
  EXPECT_EQ(v.addresses[2].host, "*");
  EXPECT_EQ(v.addresses[2].port, 0);
  EXPECT_EQ(v.server_name, "V.example");
  EXPECT_EQ(v.server_port, 8080);
  EXPECT_THAT(v.server_aliases, ElementsAre("w.example", "*.x"));
  EXPECT_EQ(v.server_admin, "root");
  EXPECT_EQ(v.document_root, "/srv/htdocs");
  EXPECT_EQ(v.error_log.text, "/srv/e");
  EXPECT_FALSE(v.keep_alive);
  EXPECT_EQ(v.keep_alive_timeout_ms, 9000) << "said by the main server after the virtual host";
  ASSERT_EQ(v.access_logs.size(), 1u);
  EXPECT_EQ(v.access_logs[0].format, "%u");
  EXPECT_EQ(v.settings.options, std::optional<unsigned>(kOptExecCgi));
  EXPECT_EQ(v.settings.error_documents.at(404), "/v");
  ASSERT_EQ(v.sections.size(), 2u);
  EXPECT_EQ(v.sections[0]->pattern, "/a");
  EXPECT_EQ(v.sections[1]->kind, Section::Kind::kLocation);
  EXPECT_EQ(c.virtual_hosts[1].access_logs.size(), 1u);
  EXPECT_EQ(c.virtual_hosts[1].access_logs[0].format, "%h");
  EXPECT_EQ(c.main.access_logs.size(), 1u);
}

TEST(ReadConfiguration, SectionsKeepPatternKindAndNesting) {
  const ServerConfig c = Good(
      "<Directory ~ \"^/x\">\n</Directory>\n<Directory htdocs/*/a>\n<FilesMatch \"\\.ht\">\n"
      "</FilesMatch>\n</Directory>\n<Files *.bak>\n</Files>\n");
  ASSERT_EQ(c.main.sections.size(), 3u);
  EXPECT_TRUE(c.main.sections[0]->is_regex);
  const Section& d = *c.main.sections[1];
  EXPECT_EQ(d.pattern, "/srv/htdocs/*/a");
  EXPECT_TRUE(d.is_wildcard);
  ASSERT_EQ(d.nested.size(), 1u);
  EXPECT_TRUE(d.nested[0].is_regex);
  EXPECT_EQ(d.nested[0].pattern, "\\.ht");
}

TEST(Dumps, HostsLookAsApachePrintsThem) {
  const ServerConfig c = Good(
      "Define ABC x\nUser www-data\nGroup #33\n<VirtualHost *:18080>\nServerName a.example\nServerAlias *.a.example "
      "www.a.example\n</VirtualHost>\n<VirtualHost *:18080>\nServerName b.example\n</VirtualHost>\n"
      "<VirtualHost 127.0.0.1:18081>\nServerName c.example\n</VirtualHost>\n");
  EXPECT_EQ(DumpHosts(c, {33, 33, false}),
            "VirtualHost configuration:\n"
            "127.0.0.1:18081        c.example (/srv/conf/httpd.conf:11)\n"
            "*:18080                is a NameVirtualHost\n"
            "         default server a.example (/srv/conf/httpd.conf:4)\n"
            "         port 18080 namevhost a.example (/srv/conf/httpd.conf:4)\n"
            "                 alias www.a.example\n"
            "                 wild alias *.a.example\n"
            "         port 18080 namevhost b.example (/srv/conf/httpd.conf:8)\n"
            "ServerRoot: \"/srv\"\n"
            "Main DocumentRoot: \"/srv/htdocs\"\n"
            "Main ErrorLog: \"/srv/logs/error_log\"\n"
            "Mutex default: dir=\"/srv/run/\" mechanism=default \n"
            "PidFile: \"/srv/run/httpd.pid\"\n"
            "Define: ABC=x\n"
            "User: name=\"www-data\" id=33 not_used\n"
            "Group: name=\"#33\" id=33 not_used\n");
}

TEST(SharedState, IsNotedOnceWithItsLineAndOnlyWhereARowSaysSo) {
  const ServerConfig c = Good("Mutex default\nMutex file:/tmp ssl-cache omitpid\n");
  ASSERT_EQ(c.shared_state.size(), 1U);
  EXPECT_EQ(c.shared_state[0].id, "mutex-omitpid");
  EXPECT_FALSE(c.shared_state[0].dangerous);
  EXPECT_THAT(c.shared_state[0].text, HasSubstr("Mutex file:/tmp ssl-cache omitpid: "));
  EXPECT_EQ(c.shared_state[0].where.line, 2);
}

TEST(Dumps, DirectivesNameModuleHelpAndContext) {
  EXPECT_THAT(DumpDirectives(),
              HasSubstr("AllowOverride (core.c)\n\tControls what groups of directives can be configured by "
                        "per-directory config files\n\tAllowed in *.conf only inside "));
}

TEST(DirectiveTable, EveryRowActsSomewhereAndIsNamedOnce) {
  std::set<std::string> names;
  for (const Directive& directive : Directives()) {
    EXPECT_TRUE(names.insert(directive.name).second) << directive.name;
    EXPECT_EQ(directive.apply == nullptr, directive.on_read != OnRead::kNo) << directive.name;
    EXPECT_NE(directive.contexts, 0u) << directive.name;
  }
}

}  // namespace
}  // namespace httpd::config
