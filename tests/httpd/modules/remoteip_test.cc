#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "os/file.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules {
namespace {

using testing::HasSubstr;
using testing::Not;

/// What the server takes the client for, and what is left of the request, as fields of the answer.
class RemoteIp : public HandlerTest {
 protected:
  std::string Seen(const std::string& directives, const std::string& forwarded, const std::string& client) {
    Write("www/a.txt", "a");
    std::filesystem::remove(root() + "/log");
    Configure("RemoteIPHeader X-Forwarded-For\nCustomLog " + root() +
              "/log \"%a %{c}a [%{X-Forwarded-For}i] [%{X-By}i] %{remoteip-proxy-ip-list}n\"\nRemoteIPProxiesHeader "
              "X-By\n" +
              directives);
    Ask("GET", "/a.txt", forwarded.empty() ? "" : "X-Forwarded-For: " + forwarded + "\r\n", client);
    std::string line = os::ReadFile(root() + "/log").value();
    line.pop_back();
    return line;
  }
};

constexpr char kProxies[] = "RemoteIPTrustedProxy 192.0.2.0/24 2001:db8::/32\nRemoteIPInternalProxy 10.0.0.0/8\n";

TEST_F(RemoteIp, TheFieldIsReadFromItsEndAsLongAsProxiesAreTrusted) {
  EXPECT_EQ(Seen(kProxies, "8.8.4.4, 8.8.8.8", "192.0.2.1"), "8.8.8.8 192.0.2.1 [8.8.4.4] [192.0.2.1] 192.0.2.1");
  EXPECT_EQ(Seen(kProxies, "8.8.4.4, 192.0.2.7", "192.0.2.1"),
            "8.8.4.4 192.0.2.1 [-] [192.0.2.1, 192.0.2.7] 192.0.2.1, 192.0.2.7");
  EXPECT_EQ(Seen(kProxies, "2a00::1", "2001:db8::5"), "2a00::1 2001:db8::5 [-] [2001:db8::5] 2001:db8::5");
}

TEST_F(RemoteIp, AStrangerIsNotBelieved) {
  EXPECT_EQ(Seen(kProxies, "8.8.8.8", "198.51.100.1"), "198.51.100.1 198.51.100.1 [8.8.8.8] [-] -");
}

TEST_F(RemoteIp, OnlyAnInternalProxyMaySpeakOfPrivateAddresses) {
  EXPECT_EQ(Seen(kProxies, "192.168.1.1", "192.0.2.1"), "192.0.2.1 192.0.2.1 [192.168.1.1] [-] -");
  EXPECT_EQ(Seen(kProxies, "192.168.1.1", "10.1.1.1"), "192.168.1.1 10.1.1.1 [-] [-] -");
}

TEST_F(RemoteIp, WhatIsNoAddressEndsTheList) {
  EXPECT_EQ(Seen(kProxies, "8.8.8.8, evil\\n", "192.0.2.1"), "192.0.2.1 192.0.2.1 [8.8.8.8, evil\\\\n] [-] -");
  EXPECT_EQ(Seen(kProxies, "8.8.8.8,", "192.0.2.1"), "192.0.2.1 192.0.2.1 [8.8.8.8,] [-] -");
}

TEST_F(RemoteIp, ListsCanLieInFiles) {
  Write("list", "# ours\n192.0.2.0/255.255.255.0 # office\n\n10\n");
  EXPECT_EQ(Seen("RemoteIPTrustedProxyList " + root() + "/list\n", "8.8.8.8", "192.0.2.1"),
            "8.8.8.8 192.0.2.1 [-] [192.0.2.1] 192.0.2.1");
}

TEST_F(RemoteIp, AccessRulesSeeTheClient) {
  Write("www/a.txt", "a");
  Configure("RemoteIPHeader X-F\nRemoteIPTrustedProxy 192.0.2.1\n<Location />\nRequire ip 8.8.8.8\n</Location>\n");
  EXPECT_EQ(Get("/a.txt", "X-F: 8.8.8.8\r\n").status, 200);
  EXPECT_EQ(Get("/a.txt").status, 403);
}

TEST(RemoteIpDirectives, WhatCannotBeHonouredIsAnError) {
  EXPECT_THAT(ComplaintOf("RemoteIPProxyProtocol On\n"), HasSubstr("the PROXY protocol is not supported"));
  EXPECT_THAT(ComplaintOf("RemoteIPTrustedProxy proxy.example\n"), HasSubstr("Error parsing IP proxy.example"));
  EXPECT_THAT(ComplaintOf("RemoteIPTrustedProxy 1.2.3.4/33\n"), HasSubstr("Error parsing IP 1.2.3.4/33"));
  EXPECT_THAT(ComplaintOf("RemoteIPHeader \"X Y\"\n"), HasSubstr("not the name of a request header"));
  EXPECT_THAT(ComplaintOf("RemoteIPInternalProxyList /nonexistent\n"), HasSubstr("Could not open trusted proxy list"));
  EXPECT_THAT(ConfigFrom("RemoteIPProxyProtocol Off\n").warnings, testing::Each(Not(HasSubstr("RemoteIP"))));
}

}  // namespace
}  // namespace httpd::modules
