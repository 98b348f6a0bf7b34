#include "httpd/config/method_set.h"

#include <gtest/gtest.h>

namespace httpd::config {
namespace {

TEST(MethodSet, HoldsEverythingUntilItIsLimited) {
  const MethodSet all;
  EXPECT_TRUE(all.Contains("GET"));
  EXPECT_TRUE(all.Contains("UNHEARD-OF"));
  EXPECT_FALSE(all.empty());
}

TEST(MethodSet, TakesHeadForGetAndMindsTheCase) {
  const MethodSet get = MethodSet::Of({"GET"});
  EXPECT_TRUE(get.Contains("HEAD"));
  EXPECT_TRUE(MethodSet::Of({"HEAD"}).Contains("GET"));
  EXPECT_FALSE(get.Contains("get"));
  EXPECT_FALSE(MethodSet::AllBut({"HEAD"}).Contains("GET"));
  EXPECT_TRUE(MethodSet::AllBut({"GET"}).Contains("UNHEARD-OF"));
}

TEST(MethodSet, IntersectsListsWithListsAndWithComplements) {
  const MethodSet two = MethodSet::Of({"POST", "GET"});
  EXPECT_EQ(two.And(MethodSet::Of({"PUT", "GET"})), MethodSet::Of({"GET"}));
  EXPECT_EQ(two.And(MethodSet::AllBut({"GET"})), MethodSet::Of({"POST"}));
  EXPECT_EQ(MethodSet::AllBut({"GET"}).And(two), MethodSet::Of({"POST"}));
  EXPECT_EQ(MethodSet::AllBut({"GET"}).And(MethodSet::AllBut({"PUT", "GET"})), MethodSet::AllBut({"PUT", "GET"}));
  EXPECT_EQ(MethodSet().And(two), two);
  EXPECT_TRUE(two.And(MethodSet::Of({"PUT"})).empty());
}

}  // namespace
}  // namespace httpd::config
