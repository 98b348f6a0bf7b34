#include "httpd/modules/proxy_url.h"

#include <gtest/gtest.h>

namespace httpd::modules::proxy {
namespace {

TEST(ProxyPath, CoversAtSlashesAndTakesAnyNumberOfThem) {
  EXPECT_EQ(CoveredBy("/app", "/app"), 4u);
  EXPECT_EQ(CoveredBy("/app", "/app/x"), 4u);
  EXPECT_EQ(CoveredBy("/app/", "/app//x"), 6u);
  EXPECT_EQ(CoveredBy("/", "/x"), 1u);
  EXPECT_EQ(CoveredBy("/app", "/apple"), 0u);
  EXPECT_EQ(CoveredBy("/app/", "/app"), 0u);
  EXPECT_EQ(CoveredBy("/app", "/"), 0u);
}

TEST(ProxyPath, IsEncodedAgainForTheBackend) {
  EXPECT_EQ(CanonicalPath("/a b;c=d@&e'f(g)[h]", false), "/a%20b;c=d@&e'f(g)%5Bh%5D");
  EXPECT_EQ(CanonicalPath("/\xc3\xa4?#%", false), "/%C3%A4%3F%23%25");
  EXPECT_EQ(CanonicalPath("/a%2fb", true), "/a%2fb");
  EXPECT_EQ(CanonicalPath("/a%2", true), std::nullopt);
  EXPECT_FALSE(IsSendable("/a b"));
  EXPECT_FALSE(IsSendable("/a\r\nX: y"));
  EXPECT_TRUE(IsSendable("/a?b=%20"));
}

TEST(ProxyCookie, LastPathAndDomainAreReplacedWhole) {  // measured with Apache 2.4
  const Pairs paths{{"/app", "/"}, {"/x/", "/y/z/"}};
  const Pairs domains{{"back.local", "front.example"}};
  EXPECT_EQ(MapCookie("a=1; path=/app/foo; domain=back.local; Path=/app", paths, domains),
            "a=1; path=/app/foo; domain=front.example; Path=/");
  EXPECT_EQ(MapCookie("c=3; Domain=.back.local; Path=/x/1", paths, domains), "c=3; Domain=.back.local; Path=/y/z/");
  EXPECT_EQ(MapCookie("d=4; path=/other", paths, domains), "d=4; path=/other");
  EXPECT_EQ(MapCookie("path=/app", paths, domains), "path=/app");
}

TEST(ProxyLocation, BackendsOwnUrlsAreOurs) {
  const Pairs reverse{{"http://back:81/app", "/front"}, {"/inner", "/rel"}, {"balancer://b", "/bal"}};
  const auto members = [](std::string_view) { return std::vector<std::string>{"http://m1", "http://m2:82"}; };
  const auto origin = [] { return std::string("http://here"); };
  const auto map = [&](std::string_view url) { return MapLocation(url, reverse, members, origin); };
  EXPECT_EQ(map("http://back:81/app/z?q"), "http://here/front/z?q");
  EXPECT_EQ(map("HTTP://BACK:81/app"), "http://here/front");
  EXPECT_EQ(map("http://any/inner/t"), "http://here/rel/t");
  EXPECT_EQ(map("/inner/t"), "http://here/rel/t");
  EXPECT_EQ(map("http://m2:82/x"), "http://here/bal/x");
  EXPECT_EQ(map("http://elsewhere/x"), std::nullopt);
}

}  // namespace
}  // namespace httpd::modules::proxy
