// What every row of the table of directives owes its readers: httpd -L and httpd.conf(5).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <string>

#include "httpd/config/directives.h"
#include "httpd/config/reference.h"
#include "httpd/modules/module.h"

namespace httpd {
namespace {

using config::Directive;
using config::Directives;
using ::testing::HasSubstr;
using ::testing::Not;

class DirectiveTable : public testing::Test {
 protected:
  static void SetUpTestSuite() { modules::RegisterModules(); }
};

TEST_F(DirectiveTable, EveryRowHasSyntaxAndHelp) {
  for (const Directive& directive : Directives()) {
    const bool may_be_empty = directive.arity == config::Arity::kNone || directive.name[0] == '<';  // <Else>
    EXPECT_TRUE(may_be_empty || !config::SyntaxOf(directive).empty()) << directive.name;
    EXPECT_GE(std::string(directive.help).size(), 5U) << directive.name;
  }
}

TEST_F(DirectiveTable, EveryRowIsNamedOnceActsAndNamesItsModule) {
  std::set<std::string> files;
  for (const config::ModuleName& module : config::BuiltInModules()) {
    EXPECT_TRUE(files.insert(module.file).second) << module.file << " is there twice";
  }
  files.insert("prefork.c");  // names of its directives are taken
  std::set<std::string> names;
  for (const Directive& directive : Directives()) {
    std::string name = directive.name;
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    EXPECT_TRUE(names.insert(name).second) << directive.name << " is there twice";
    EXPECT_EQ(directive.apply == nullptr, directive.on_read != config::OnRead::kNo) << directive.name;
    EXPECT_NE(directive.contexts, 0U) << directive.name;
    EXPECT_EQ(files.count(directive.module), 1U) << directive.name << " of " << directive.module;
  }
}

TEST_F(DirectiveTable, WhatApacheLetsHtaccessFilesSayMayBeSaidThere) {
  EXPECT_TRUE(config::FindDirective("SetEnv")->contexts & config::kOverrideFileInfo);
  EXPECT_TRUE(config::FindDirective("ExpiresActive")->contexts & config::kOverrideIndexes);
}

TEST_F(DirectiveTable, TheManualDescribesEveryRow) {
  const std::string manual = config::DirectiveReference();
  for (const Directive& directive : Directives()) {
    EXPECT_THAT(manual, HasSubstr("\n.It Ic \"\\&" + std::string(directive.name) + "\"")) << directive.name;
  }
}

TEST_F(DirectiveTable, TheManualNamesSyntaxDefaultContextsOverrideAndModule) {
  const std::string manual = config::DirectiveReference();
  const size_t at = manual.find(".It Ic \"\\&HttpProtocolOptions\"");
  ASSERT_NE(at, std::string::npos);
  const std::string entry = manual.substr(at, manual.find("\n.It", at) - at);
  EXPECT_THAT(entry, HasSubstr("Ar \"\\&[Strict|Unsafe] [RegisteredMethods|LenientMethods] [Allow0.9|Require1.0]\""));
  EXPECT_THAT(entry, HasSubstr("\nDefault: Strict LenientMethods Require1.0\n"));
  EXPECT_THAT(entry, HasSubstr("\nAllowed in: server, virtual host\n"));
  EXPECT_THAT(entry, HasSubstr("\nModule: core.c"));
  EXPECT_THAT(manual, HasSubstr("\nAllowed in: server, virtual host, section, .htaccess (FileInfo)\n"));
}

TEST_F(DirectiveTable, WhatHasNoMeaningHereStandsInASectionOfItsOwn) {
  const std::string manual = config::DirectiveReference();
  const size_t section = manual.find(".Sh DIRECTIVES WITHOUT MEANING HERE");
  ASSERT_NE(section, std::string::npos);
  EXPECT_THAT(manual.substr(section), HasSubstr("\\&ThreadStackSize"));
  EXPECT_THAT(manual.substr(0, section), Not(HasSubstr("\\&ThreadStackSize")));
}

}  // namespace
}  // namespace httpd
