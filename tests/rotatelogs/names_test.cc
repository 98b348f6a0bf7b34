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

TEST(SegmentPatterns, MatchWhatTheConversionsMake) {
  EXPECT_EQ(PatternsOf("log").name, "log");
  EXPECT_TRUE(PatternsOf("log").exact);
  EXPECT_EQ(PatternsOf("log").with_tail, "log.[0-9]*");
  EXPECT_EQ(PatternsOf("l.%H%%").name, "l.[0-9][0-9]%");
  EXPECT_FALSE(PatternsOf("l.%H").exact);
  EXPECT_TRUE(PatternsOf("100%%").exact);
  EXPECT_EQ(PatternsOf("%a/x").name, "[A-Z][a-z][a-z]/x");
  EXPECT_EQ(PatternsOf("%Z%-H").name, "**");
  EXPECT_EQ(PatternsOf("a%Q%").name, "a%Q%") << "no conversions: strftime(3) leaves them";
  EXPECT_EQ(PatternsOf("[a]*?").name, "\\[a\\]\\*\\?");
}

TEST(SegmentPatterns, OnlyNumbersMayFollowTheName) {
  for (const char* good : {"", ".1", ".1795269039", ".1795269039.2"}) EXPECT_TRUE(IsSegmentSuffix(good)) << good;
  for (const char* bad : {".", "x", ".1x", ".1.gz", ".1.2.3", "1", "..1", ".1."}) {
    EXPECT_FALSE(IsSegmentSuffix(bad)) << bad;
  }
}

TEST(MeetingPlaces, NameTheirTarget) {
  EXPECT_EQ(TargetOfMeetingPlace(MeetingPlaceOf("/var/log/access").name), "access");
  EXPECT_EQ(TargetOfMeetingPlace(MeetingPlaceOf("/var/%Y/access").name), "%Y/access");
  EXPECT_EQ(TargetOfMeetingPlace(".bashrc"), "");
}

}  // namespace
}  // namespace rotatelogs
