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
  EXPECT_THAT(ComplaintOf("RemoteIPProxyProtocol Optional\n"), HasSubstr("RemoteIPProxyProtocol must be On or Off"));
  EXPECT_THAT(ComplaintOf("RemoteIPProxyProtocolExceptions proxy.example\n"), HasSubstr("appears to be invalid"));
  EXPECT_THAT(ComplaintOf("RemoteIPTrustedProxy proxy.example\n"), HasSubstr("Error parsing IP proxy.example"));
  EXPECT_THAT(ComplaintOf("RemoteIPTrustedProxy 1.2.3.4/33\n"), HasSubstr("Error parsing IP 1.2.3.4/33"));
  EXPECT_THAT(ComplaintOf("RemoteIPHeader \"X Y\"\n"), HasSubstr("not the name of a request header"));
  EXPECT_THAT(ComplaintOf("RemoteIPInternalProxyList /nonexistent\n"), HasSubstr("Could not open trusted proxy list"));
  EXPECT_THAT(ConfigFrom("RemoteIPProxyProtocol Off\n").warnings, testing::Each(Not(HasSubstr("RemoteIP"))));
}

/// Which connections begin with a header, as text: "80 81 ..." of ports, when the peer is 192.0.2.1.
class ProxyProtocol : public HandlerTest {
 protected:
  std::string Expected(const std::string& directives, const std::string& peer = "192.0.2.1") {
    Configure(directives);
    std::string out;
    for (const uint16_t port : {80, 81, 82}) {
      if (site_->proxied() && site_->proxied()->Expects(-1, port, peer)) out += std::to_string(port) + " ";
    }
    return out;
  }
};

constexpr char kHosts[] =
    "<VirtualHost *:80>\nServerName a\n</VirtualHost>\n<VirtualHost *:80>\nServerName b\nRemoteIPProxyProtocol On\n"
    "</VirtualHost>\n<VirtualHost *:81>\nServerName c\nRemoteIPProxyProtocol Off\nRemoteIPHeader X\n</VirtualHost>\n";

TEST_F(ProxyProtocol, IsAMatterOfAddresses) {
  EXPECT_EQ(Expected(""), "");
  EXPECT_EQ(site_->proxied(), nullptr) << "nobody has to be asked";
  EXPECT_EQ(Expected("RemoteIPProxyProtocol Off\n"), "");
  EXPECT_EQ(Expected("RemoteIPProxyProtocol On\n"), "80 81 82 ");
  EXPECT_EQ(Expected(kHosts), "80 ") << "one of several hosts wants it";
  EXPECT_EQ(Expected(std::string("RemoteIPProxyProtocol Off\n") + kHosts), "80 ");
  EXPECT_EQ(Expected(std::string("RemoteIPProxyProtocol On\n") + kHosts), "80 82 ");
  EXPECT_EQ(
      Expected(std::string(kHosts) + "<VirtualHost *:80>\nServerName d\nRemoteIPProxyProtocol Off\n"
                                     "</VirtualHost>\n<VirtualHost *:82>\nRemoteIPProxyProtocol On\n</VirtualHost>\n"),
      "82 ")
      << "the last word of an address counts";
}

TEST_F(ProxyProtocol, ExceptionsSendNoHeader) {
  const std::string directives =
      "RemoteIPProxyProtocol On\nRemoteIPProxyProtocolExceptions 10.0.0.0/8 2001:db8::/32\n"
      "<VirtualHost *:80>\nRemoteIPProxyProtocolExceptions 192.0.2.9\n</VirtualHost>\n";
  EXPECT_EQ(Expected(directives), "80 81 82 ");
  EXPECT_EQ(Expected(directives, "10.1.2.3"), "");
  EXPECT_EQ(Expected(directives, "2001:db8::1"), "");
  EXPECT_EQ(Expected(directives, "192.0.2.9"), "");
  EXPECT_EQ(Expected(directives, "192.0.2.10"), "80 81 82 ");
}

}  // namespace
}  // namespace httpd::modules
