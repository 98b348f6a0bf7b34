#include "httpd/modules/site.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;

class SelectTest : public testing::Test {
 protected:
  void Configure(const std::string& text) {
    config_ = ConfigFrom("ServerRoot /\nListen 80\nDocumentRoot /\nErrorLog /dev/null\n" + text);
    auto site = Site::Build(config_, nullptr, "");
    ASSERT_TRUE(site) << site.error().Text();
    site_ = std::move(site).value();
  }
  int Select(const std::string& authority, uint16_t port = 80, const std::string& address = "127.0.0.1") {
    return site_->Select(port, authority, [&] { return address; });
  }
  config::ServerConfig config_;
  std::unique_ptr<Site> site_;
};

TEST_F(SelectTest, WithoutVirtualHostsTheMainServerAnswers) {
  Configure("");
  EXPECT_EQ(Select("anything"), 0);
}

TEST_F(SelectTest, ByNameAliasAndTheFirstForTheRest) {
  Configure(
      "<VirtualHost *:80>\nServerName one.example\n</VirtualHost>\n"
      "<VirtualHost *:80>\nServerName two.example\nServerAlias zwei.example\n</VirtualHost>\n");
  EXPECT_EQ(Select("one.example"), 1);
  EXPECT_EQ(Select("TWO.example:80"), 2);
  EXPECT_EQ(Select("two.example."), 2);
  EXPECT_EQ(Select("zwei.example"), 2);
  EXPECT_EQ(Select("unknown.example"), 1);
  EXPECT_EQ(Select(""), 1);
}

TEST_F(SelectTest, ARequestThatNamesNoHostGoesByServerPathAtASegmentBoundary) {
  Configure(
      "<VirtualHost *:80>\nServerName one.example\n</VirtualHost>\n"
      "<VirtualHost *:80>\nServerName two.example\nServerPath /two\n</VirtualHost>\n");
  const auto select = [this](const std::string& authority, const std::string& path) {
    return site_->Select(
        80, authority, [] { return std::string(); }, path);
  };
  EXPECT_EQ(select("", "/two"), 2);
  EXPECT_EQ(select("", "/two/a"), 2);
  EXPECT_EQ(select("", "/twofold"), 1);
  EXPECT_EQ(select("one.example", "/two/a"), 1);
}

TEST_F(SelectTest, APortThatNoVirtualHostNamesGoesToTheMainServer) {
  Configure("<VirtualHost *:80>\nServerName one.example\n</VirtualHost>\n");
  EXPECT_EQ(Select("one.example", 8080), 0);
}

TEST_F(SelectTest, TheFirstHostInTheConfigurationWinsEvenByAPattern) {
  Configure(
      "<VirtualHost *:80>\nServerName a.example\nServerAlias *.example\n</VirtualHost>\n"
      "<VirtualHost *:80>\nServerName b.example\n</VirtualHost>\n");
  EXPECT_EQ(Select("b.example"), 1);
  Configure(
      "<VirtualHost *:80>\nServerName b.example\n</VirtualHost>\n"
      "<VirtualHost *:80>\nServerName a.example\nServerAlias *.example\n</VirtualHost>\n");
  EXPECT_EQ(Select("b.example"), 1);
  EXPECT_EQ(Select("c.example"), 2);
}

TEST_F(SelectTest, AnAddressIsBetterThanAStar) {
  Configure(
      "<VirtualHost *:80>\nServerName star.example\n</VirtualHost>\n"
      "<VirtualHost 192.0.2.1:80>\nServerName one.example\n</VirtualHost>\n"
      "<VirtualHost 192.0.2.1:80>\nServerName two.example\n</VirtualHost>\n");
  EXPECT_EQ(Select("star.example", 80, "192.0.2.1"), 2);
  EXPECT_EQ(Select("two.example", 80, "192.0.2.1"), 3);
  EXPECT_EQ(Select("two.example", 80, "192.0.2.9"), 1);
}

TEST(Site, ABadPatternIsNamedWithItsLine) {
  const auto config = ConfigFrom("Listen 80\nErrorLog /dev/null\n<LocationMatch \"(\">\n</LocationMatch>\n");
  const auto site = Site::Build(config, nullptr, "");
  if (site) GTEST_SKIP() << "the reader refused it already";
  EXPECT_THAT(site.error().what, HasSubstr("Syntax error on line 3 of /test.conf:\nRegex could not be compiled"));
}

TEST(ServerField, SaysAsMuchAsServerTokensWants) {
  EXPECT_EQ(ServerField("Prod"), "Baton");
  EXPECT_EQ(ServerField("Major"), "Baton/0");
  EXPECT_EQ(ServerField("Minimal"), "Baton/0.1.0");
  EXPECT_EQ(ServerField("Full"), "Baton/0.1.0 (Unix)");
}

}  // namespace
}  // namespace httpd::modules
