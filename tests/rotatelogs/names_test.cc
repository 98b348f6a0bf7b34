#include "rotatelogs/names.h"

#include <gtest/gtest.h>

namespace rotatelogs {
namespace {

Settings For(const std::string& file) {
  Settings out;
  out.file = file;
  return out;
}

TEST(Names, APlainNameGetsTheIntervalsStartInTenDigits) {
  EXPECT_EQ(SegmentName(For("log"), 1795219200, 0, "UTC", 0), "log.1795219200");
  EXPECT_EQ(SegmentName(For("log"), 5, 0, "UTC", 0), "log.0000000005");
}

TEST(Names, ConversionsAreExpandedAlsoInDirectories) {
  EXPECT_EQ(SegmentName(For("%Y/log.%m%d"), 1795219200, 0, "UTC", 0), "2026/log.1121");
  EXPECT_EQ(SegmentName(For("100%%"), 0, 0, "UTC", 0), "100%");
  EXPECT_EQ(SegmentName(For("log%z%Z"), 0, 3600, "CET", 0), "log+0100CET");
}

TEST(Names, ARingNumbersItsFilesFromTheBareName) {
  Settings ring = For("log");
  ring.ring = 3;
  EXPECT_EQ(SegmentName(ring, 7, 0, "UTC", 0), "log");
  EXPECT_EQ(SegmentName(ring, 7, 0, "UTC", 2), "log.2");
}

TEST(Names, TruncatingKeepsTheBareName) {
  Settings truncating = For("log");
  truncating.truncate = true;
  EXPECT_EQ(SegmentName(truncating, 7, 0, "UTC", 0), "log");
}

TEST(Names, PathsAreResolvedTextually) {
  EXPECT_EQ(CanonicalPath("a//b/./c"), "a/b/c");
  EXPECT_EQ(CanonicalPath("a/../b"), "b");
  EXPECT_EQ(CanonicalPath("./log"), "log");
}

TEST(Names, ATakenNameCountsOnFromTheOneThatIsFull) {
  EXPECT_EQ(UniqueName("log.5", "log.5"), "log.5.1");
  EXPECT_EQ(UniqueName("log.5", "log.5.41"), "log.5.42");
  EXPECT_EQ(UniqueName("log.6", "log.5.41"), "log.6.1");
}

TEST(Names, WritersMeetBesideTheLogOrAboveTheFirstConversion) {
  EXPECT_EQ(MeetingPlaceOf("/var/log/access").Path(), "/var/log/.access.rotate");
  EXPECT_EQ(MeetingPlaceOf("access").Path(), ".access.rotate");
  EXPECT_EQ(MeetingPlaceOf("/var/log/%Y/access.%d").Path(), "/var/log/.%Y%2faccess.%d.rotate");
  EXPECT_TRUE(IsMeetingPlace(MeetingPlaceOf("x").name));
}

TEST(Names, AVeryLongTargetStillFitsIntoANameOfItsOwn) {
  const auto one = MeetingPlaceOf(std::string(250, 'x') + "a").name;
  const auto two = MeetingPlaceOf(std::string(250, 'x') + "b").name;
  EXPECT_LE(one.size(), 255U);
  EXPECT_NE(one, two);
}

}  // namespace
}  // namespace rotatelogs
