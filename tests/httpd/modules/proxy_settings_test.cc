#include <gmock/gmock.h>

#include "httpd/modules/proxy_settings.h"
#include "tests/httpd/modules/handler_fixture.h"

namespace httpd::modules::proxy {
namespace {

using testing::HasSubstr;

TEST(ProxyDirectives, WhatCannotBeHonouredIsRefusedWithOneLine) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"ProxyPass /", "needs a path when not defined in a location"},
      {"ProxyPass / ajp://b/", "ajp:// is not supported"},
      {"ProxyPass / b", "is not a URL"},
      {"ProxyPass / http://b:99999/", "the port must be 1 to 65535"},
      {"ProxyPass / http://b/ foo=1", "unknown Worker parameter 'foo'"},
      {"ProxyPass / http://b/ ping=0", "ping must be at least 1"},
      {"ProxyPass / http://b/ timeout=x", "timeout must be at least 1"},
      {"ProxyPass / http://b/ loadfactor=101", "LoadFactor must be a number between 1..100"},
      {"ProxyPass / balancer://b/ lbmethod=heartbeat", "unknown lbmethod"},
      {"ProxyPass / http://b/${X}", "variables are not put into URLs"},
      {"ProxyPass / unix:/s", "a Unix socket is written"},
      {"ProxyRequests On", "ProxyRequests On is not supported"},
      {"ProxyVia Maybe", "ProxyVia must be one of"},
      {"ProxyStatus On", "is not supported"},
      {"ProxySet balancer://none lbmethod=byrequests", "can't find"},
      {"BalancerMember http://b", "must define balancer name"},
      {"<Directory /x>\nProxyPass http://b/\n</Directory>", "cannot occur within <Directory> section"},
      {"<Proxy balancer://b>\nBalancerMember http://b status=Q\n</Proxy>", "Unknown status parameter"},
  };
  for (const auto& [text, complaint] : cases) {
    EXPECT_THAT(ComplaintOf(std::string(text) + "\n"), HasSubstr(complaint)) << text;
  }
}

TEST(ProxyDirectives, ParametersWithoutAMeaningAreNamed) {
  const config::ServerConfig config = ConfigFrom(
      "Listen 8080\nProxyPass /a http://b min=2 smax=3 flushpackets=on\n"
      "ProxyPass /c http://c flushpackets=auto flushwait=20\n");
  EXPECT_THAT(config.warnings,
              testing::UnorderedElementsAre(HasSubstr("DocumentRoot"),
                                            HasSubstr("ProxyPass min= has no meaning here: it is about memory"),
                                            HasSubstr("ProxyPass flushpackets= has no meaning here: as in Apache"),
                                            HasSubstr("ProxyPass flushwait= has no meaning here: as in Apache")));
  EXPECT_THAT(ComplaintOf("ProxyPass / http://b/ flushpackets=often\n"), HasSubstr("must be on|off|auto"));
  EXPECT_THAT(ComplaintOf("ProxyPass / http://b/ smax=-1\n"), HasSubstr("smax must be a number"));
}

TEST(ProxyDirectives, ParametersOfOneBackendMeetWhereverTheyAreSaid) {
  const config::ServerConfig config = ConfigFrom(
      "Listen 8080\nProxyPass /a http://B.example:80/x timeout=5 connectiontimeout=300ms nocanon\nProxySet "
      "http://b.example/x ttl=7 max=3\n<VirtualHost *:8080>\nProxyPass /c !\n</VirtualHost>\n");
  const auto* main = config.main.settings.modules.Find<HostSettings>();
  ASSERT_TRUE(main);
  ASSERT_EQ(main->workers.size(), 1u);
  const Worker& worker = *main->workers[0];
  EXPECT_EQ(worker.name, "http://b.example/x");
  EXPECT_EQ(worker.authority, "b.example");
  EXPECT_EQ(worker.timeout_ms, 5000);
  EXPECT_EQ(worker.connect_timeout_ms, 300);
  EXPECT_EQ(worker.ttl_ms, 7000);
  EXPECT_EQ(worker.most, 3);
  EXPECT_TRUE(main->mappings[0].keeps_encoding);
  const auto* inner = config.virtual_hosts[0].settings.modules.Find<HostSettings>();
  ASSERT_EQ(inner->mappings.size(), 2u);
  EXPECT_TRUE(inner->mappings[0].is_exclusion());
}

TEST(ProxyDirectives, HostsInheritMappingsUnlessTheySayNo) {
  const config::ServerConfig config = ConfigFrom(
      "Listen 8080\nProxyPass /a http://b\n<VirtualHost *:8080>\nProxyPass /c http://b\n</VirtualHost>\n"
      "<VirtualHost *:8080>\nProxyPassInherit Off\nProxyPass /d http://b\n</VirtualHost>\n");
  EXPECT_EQ(config.virtual_hosts[0].settings.modules.Find<HostSettings>()->mappings.size(), 2U);
  EXPECT_EQ(config.virtual_hosts[1].settings.modules.Find<HostSettings>()->mappings.size(), 1U);
}

TEST(ProxyDirectives, ModulesCanBeLoadedAndAreListed) {
  EXPECT_TRUE(ConfigFrom("Listen 8080\nLoadModule proxy_module m.so\nLoadModule proxy_http_module m.so\nLoadModule "
                         "proxy_balancer_module m.so\nLoadModule lbmethod_byrequests_module m.so\nLoadModule "
                         "proxy_wstunnel_module m.so\nLoadModule slotmem_shm_module m.so\n<IfModule "
                         "mod_proxy.c>\nProxyTimeout 5\n</IfModule>\n")
                  .main.settings.modules.Find<HostSettings>());
  EXPECT_THAT(ComplaintOf("LoadModule proxy_fcgi_module m.so\n"),
              HasSubstr("reverse proxy for http://, https://, ws:// and wss://"));
}

}  // namespace
}  // namespace httpd::modules::proxy
