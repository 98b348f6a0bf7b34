#include "httpd/http/content_coding.h"

#include <gtest/gtest.h>

namespace httpd::http {
namespace {

TEST(CodingWeight, FollowsTheTableOfRfc9110) {
  const struct {
    const char* accept;
    int gzip;
    int brotli;
    int identity;
  } kRows[] = {
      {"gzip", 1000, 0, 1},
      {"GZip, deflate, BR", 1000, 1000, 1},
      {"x-gzip", 1000, 0, 1},
      {"x-br", 0, 0, 1},
      {"gzip;q=0", 0, 0, 1},
      {"gzip; q=0.000 , br ;Q=0.5", 0, 500, 1},
      {"gzip;q=0.001", 1, 0, 1},
      {"*", 1000, 1000, 1000},
      {"*;q=0", 0, 0, 0},
      {"br, *;q=0", 0, 1000, 0},
      {"*;q=0, identity;q=0.3", 0, 0, 300},
      {"identity;q=0", 0, 0, 0},
      {"identity;q=0, gzip;q=0.2", 200, 0, 0},
      {"identity, *;q=0.7, br;q=0.1", 700, 100, 1000},
      {"gzip;q=1.000", 1000, 0, 1},
      {"gzip;q=1.001", 0, 0, 1},
      {"gzip;q=2", 0, 0, 1},
      {"gzip;q=-1", 0, 0, 1},
      {"gzip;q=0.1234", 0, 0, 1},
      {"gzip;q=", 0, 0, 1},
      {"gzip;q", 0, 0, 1},
      {"gzip;q=x, gzip;q=0.4", 400, 0, 1},
      {"gzip;q=0, gzip", 0, 0, 1},
      {"gzip;level=9;q=0.5", 500, 0, 1},
      {",, ,gzip,,", 1000, 0, 1},
      {"gzipped, notbr", 0, 0, 1},
      {"gzip,br;q=0.9,*;q=0.1", 1000, 900, 100},
      {"", 0, 0, 1},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(CodingWeight(row.accept, "gzip"), row.gzip) << row.accept;
    EXPECT_EQ(CodingWeight(row.accept, "br"), row.brotli) << row.accept;
    EXPECT_EQ(CodingWeight(row.accept, "identity"), row.identity) << row.accept;
  }
  EXPECT_EQ(CodingWeight({}, "gzip"), 0);
}

TEST(ListHolds, ComparesWholeMembersWithoutCase) {
  EXPECT_TRUE(ListHolds("Accept, accept-ENCODING ,Cookie", "Accept-Encoding"));
  EXPECT_FALSE(ListHolds("Accept-Encoding-Not, Accept", "Accept-Encoding"));
  EXPECT_FALSE(ListHolds("", "Accept-Encoding"));
}

}  // namespace
}  // namespace httpd::http
