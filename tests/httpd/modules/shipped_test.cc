#include <gmock/gmock.h>

#include <fstream>
#include <iterator>

#include "httpd/config/reader.h"
#include "httpd/modules/module.h"

namespace httpd::modules {
namespace {

// The files that are shipped load without a complaint.
TEST(ShippedConfiguration, LoadsAndSoDoTheExamples) {
  RegisterModules();
  const std::string root = BATON_SOURCE_DIR;
  config::FileSource source;
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
  config::ReadRequest request;
  request.server_root = root;
  request.directives_after = {"Include conf/extra/httpd-vhosts.conf",   "Include conf/extra/httpd-default.conf",
                              "Include conf/extra/httpd-mpm.conf",      "Include conf/extra/httpd-info.conf",
                              "Include conf/extra/httpd-security.conf", "Include conf/extra/httpd-ssl.conf",
                              "Include conf/extra/httpd-http2.conf"};
  auto result = config::ReadConfiguration(request, source);
  ASSERT_TRUE(result) << result.error().Text();
  EXPECT_THAT(result.value().warnings, testing::IsEmpty());
  EXPECT_EQ(result.value().virtual_hosts.size(), 3u);
  EXPECT_EQ(result.value().listen.size(), 2u);
  EXPECT_EQ(result.value().types_config, root + "/conf/mime.types");
}

}  // namespace
}  // namespace httpd::modules
