#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/reader.h"
#include "httpd/modules/module.h"

namespace httpd::config {
namespace {

using testing::IsEmpty;

// The files that are shipped load without a complaint.
TEST(ShippedConfiguration, LoadsAndSoDoTheExamples) {
  modules::RegisterModules();
  const std::string root = BATON_SOURCE_DIR;
  FileSource source;
  source.read = [](const std::string& path) -> os::Result<std::string> {
    std::ifstream in(path);
    if (!in) return os::Error{os::ErrorKind::kNotFound, 2, "open " + path};
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  source.expand = [](const std::string&) -> os::Result<std::vector<std::string>> { return std::vector<std::string>{}; };
  source.is_directory = [](const std::string& path) {
    return path.ends_with("htdocs") || path.ends_with("example.com");
  };
  source.environment = [](const std::string&) { return std::optional<std::string>(); };
  ReadRequest request;
  request.server_root = root;
  request.directives_after = {"Include conf/extra/httpd-vhosts.conf", "Include conf/extra/httpd-default.conf",
                              "Include conf/extra/httpd-mpm.conf", "Include conf/extra/httpd-info.conf"};
  auto result = ReadConfiguration(request, source);
  ASSERT_TRUE(result) << (result ? "" : result.error().what);
  EXPECT_THAT(result.value().warnings, IsEmpty());
  EXPECT_EQ(result.value().virtual_hosts.size(), 2u);
  EXPECT_EQ(result.value().listen.size(), 1u);
  EXPECT_EQ(result.value().types_config, root + "/conf/mime.types");
}

TEST(RegisteredDirectives, ActSomewhereAndAreNamedOnce) {
  modules::RegisterModules();
  modules::RegisterModules();  // changes nothing
  std::set<std::string> names;
  for (const Directive& directive : Directives()) {
    EXPECT_TRUE(names.insert(directive.name).second) << directive.name;
    EXPECT_EQ(directive.apply == nullptr, directive.on_read != OnRead::kNo) << directive.name;
    EXPECT_NE(directive.contexts, 0u) << directive.name;
  }
}

}  // namespace
}  // namespace httpd::config
