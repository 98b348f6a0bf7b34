#include "rotatelogs/policy.h"

#include <gtest/gtest.h>

#include <sstream>

namespace rotatelogs {
namespace {

std::variant<Settings, StatusRequest, Refusal> Parse(const std::vector<std::string>& words) {
  std::vector<std::string> arguments = {"/usr/bin/rotatelogs"};
  arguments.insert(arguments.end(), words.begin(), words.end());
  return ParseCommandLine(arguments);
}

Settings Accepted(const std::vector<std::string>& words) {
  auto parsed = Parse(words);
  if (auto* refusal = std::get_if<Refusal>(&parsed)) {
    ADD_FAILURE() << refusal->message;
    return {};
  }
  return std::get<Settings>(parsed);
}

std::string RefusedWith(const std::vector<std::string>& words) {
  auto parsed = Parse(words);
  auto* refusal = std::get_if<Refusal>(&parsed);
  return refusal ? refusal->message : "(accepted)";
}

TEST(CommandLine, ASizeNeedsItsLetterLast) {
  EXPECT_EQ(Accepted({"log", "5M"}).max_bytes, 5U << 20);
  EXPECT_EQ(Accepted({"log", "100B"}).max_bytes, 100U);
  EXPECT_EQ(Accepted({"log", "1.5M"}).max_bytes, 1U << 20);
  for (const char* bad : {"5Mx", "M", "0M", "-5M", "MB5", "5BM"}) {
    EXPECT_EQ(RefusedWith({"log", bad}), "Invalid rotation size parameter") << bad;
  }
}

TEST(CommandLine, SizesAre64BitsWideAndMBMeansM) {
  EXPECT_EQ(Accepted({"log", "4G"}).max_bytes, uint64_t{4} << 30);
  EXPECT_EQ(Accepted({"log", "5G"}).max_bytes, uint64_t{5} << 30);
  EXPECT_EQ(Accepted({"log", "5MB"}).max_bytes, 5U << 20);
  EXPECT_EQ(RefusedWith({"log", "99999999999999999999G"}), "Invalid rotation size parameter");
}

TEST(CommandLine, WithStrictNumbersHave32BitsAndTheLastLetterCounts) {
  EXPECT_EQ(Accepted({"--strict", "log", "5MB"}).max_bytes, 5U);
  EXPECT_EQ(Accepted({"--strict", "log", "5G"}).max_bytes, 1U << 30);
  EXPECT_EQ(Accepted({"--strict", "log", "-5M"}).max_bytes, 4289724416U);
  EXPECT_EQ(RefusedWith({"--strict", "log", "4G"}), "Invalid rotation size parameter");
  EXPECT_EQ(Accepted({"--strict", "log", "99999999999"}).seconds, 1215752191);
  EXPECT_EQ(Accepted({"--strict", "log", "60", "99999999"}).utc_offset, 1705032644);
  EXPECT_EQ(Accepted({"log", "5MK"}).max_bytes, 5U << 10) << "the first letter in the order B, K, M, G is the one";
}

TEST(CommandLine, OurWordsComeFirstAndAreApachesEndOfOptionsBehindAnyOther) {
  EXPECT_TRUE(Accepted({"--strict", "-v", "log", "60"}).strict);
  EXPECT_EQ(Accepted({"--on-full=drop", "log", "60"}).on_full, OnFull::kDrop);
  EXPECT_EQ(Accepted({"--strict", "--on-full=drop", "--on-full=block", "log", "60"}).on_full, OnFull::kBlock);
  EXPECT_EQ(Accepted({"log", "60"}).on_full, OnFull::kBlock);
  const Settings behind = Accepted({"-v", "--strict", "log", "60"});
  EXPECT_FALSE(behind.strict);
  EXPECT_EQ(behind.file, "log");
  EXPECT_FALSE(Accepted({"--", "--strict", "60"}).strict);
  EXPECT_EQ(Accepted({"--strictly", "log", "60"}).file, "log");
  EXPECT_EQ(RefusedWith({"--on-full", "log", "60"}), "rotatelogs: --on-full: write --on-full=block or --on-full=drop");
}

TEST(CommandLine, StatusTakesOneTargetAndNothingElse) {
  const auto asked = [](const std::vector<std::string>& words) {
    auto parsed = Parse(words);
    auto* request = std::get_if<StatusRequest>(&parsed);
    return request ? request->target + (request->json ? " json" : "") : "(no request)";
  };
  EXPECT_EQ(asked({"--status", "a//./log"}), "a/log");
  EXPECT_EQ(asked({"--status", "--json", "log"}), "log json");
  EXPECT_EQ(asked({"--status", "log", "--json"}), "log json");
  EXPECT_EQ(asked({"-v", "--status", "log"}), "(no request)");
  EXPECT_EQ(RefusedWith({"--status", "log", "60"}),
            "rotatelogs: --status: 60 is too much: write --status [--json] <logfile>");
  EXPECT_EQ(RefusedWith({"--strict", "--status", "log"}), "rotatelogs: --status stands alone: --strict is for logging");
}

TEST(CommandLine, ABareNumberIsATimeInSecondsReadAsAtoiReadsIt) {
  EXPECT_EQ(Accepted({"log", "86400"}).seconds, 86400);
  EXPECT_EQ(Accepted({"log", " 60"}).seconds, 60);
  EXPECT_EQ(Accepted({"log", "+60"}).seconds, 60);
  EXPECT_EQ(Accepted({"log", "60s"}).seconds, 60);
  EXPECT_EQ(Accepted({"log", "5m"}).seconds, 5);
  EXPECT_EQ(Accepted({"log", "1e3"}).seconds, 1);
  EXPECT_EQ(Accepted({"log", "010"}).seconds, 10);
  for (const char* bad : {"0", "abc", "-1", "0x10", ""}) {
    EXPECT_EQ(RefusedWith({"log", bad}), "Invalid rotation time parameter") << bad;
  }
}

TEST(CommandLine, ALastBareNumberAfterATimeOrASizeIsTheOffsetInMinutes) {
  EXPECT_EQ(Accepted({"log", "86400", "-540"}).utc_offset, -32400);
  EXPECT_EQ(Accepted({"log", "5M", "86400"}).utc_offset, 86400 * 60);
  EXPECT_EQ(Accepted({"log", "86400", "86400"}).utc_offset, 86400 * 60);
  const Settings all = Accepted({"log", "86400", "5M", "-540"});
  EXPECT_EQ(all.seconds, 86400);
  EXPECT_EQ(all.max_bytes, 5U << 20);
  EXPECT_EQ(all.utc_offset, -32400);
  EXPECT_EQ(RefusedWith({"-l", "log", "86400", "60"}), "UTC offset parameter is not valid with -l");
}

TEST(CommandLine, EachKindOfOperandIsAllowedOnce) {
  EXPECT_EQ(RefusedWith({"log", "86400", "86400", "5M"}), "Rotation time parameter allowed only once");
  EXPECT_EQ(RefusedWith({"log", "5M", "5M"}), "Rotation size parameter allowed only once");
}

TEST(CommandLine, OptionsEndAtTheFirstOperandAndAtAnyDoubleDash) {
  EXPECT_EQ(RefusedWith({"log", "5M", "-n", "3"}), "Invalid rotation time parameter");
  EXPECT_EQ(RefusedWith({"--help"}), "Incorrect number of arguments");
  EXPECT_EQ(Accepted({"--", "-v", "60"}).file, "-v");
  EXPECT_EQ(Accepted({"--anything", "log", "60"}).file, "log");
  const Settings combined = Accepted({"-vlft", "log", "60"});
  EXPECT_TRUE(combined.verbose && combined.local_time && combined.open_first && combined.truncate);
  EXPECT_EQ(Accepted({"-Llink", "-p", "prog", "log", "60"}).link, "link");
}

TEST(CommandLine, MessagesNameTheProgramByItsBaseName) {
  EXPECT_EQ(RefusedWith({"-x"}), "rotatelogs: illegal option -- x");
  EXPECT_EQ(RefusedWith({"-L"}), "rotatelogs: option requires an argument -- L");
}

TEST(CommandLine, RingIsRefusedWithATemplateAndWithoutANumber) {
  for (const char* bad : {"0", "abc", "-1"}) EXPECT_EQ(RefusedWith({"-n", bad, "log", "5M"}), "Invalid -n argument");
  EXPECT_EQ(RefusedWith({"-n", "3", "log.%Y", "5M"}), "Cannot use -n with % in filename");
  EXPECT_EQ(Accepted({"-n", "3", "-n", "5", "log", "5M"}).ring, 5);
}

TEST(CommandLine, TwoToFourOperands) {
  EXPECT_EQ(RefusedWith({}), "Incorrect number of arguments");
  EXPECT_EQ(RefusedWith({"log"}), "Incorrect number of arguments");
  EXPECT_EQ(RefusedWith({"log", "1", "2M", "3", "4"}), "Incorrect number of arguments");
  EXPECT_EQ(RefusedWith({std::string(5000, 'x'), "60"}), "Invalid filename given");
}

TEST(Intervals, StartAtMultiplesOfTheRotationTime) {
  Settings settings;
  settings.seconds = 3600;
  const Interval first = NextInterval(settings, 7300, 0);
  EXPECT_EQ(first.start, 7200);
  EXPECT_EQ(first.end, 10800);
}

TEST(Intervals, ASecondFileWithinOneIntervalIsNamedByNow) {
  Settings settings;
  settings.seconds = 3600;
  EXPECT_EQ(NextInterval(settings, 7400, 10800).start, 7400);
  EXPECT_EQ(NextInterval(settings, 10801, 10800).start, 10800);
}

TEST(Rotation, IsDueOnlyWhenTheLimitIsPassedAndSizeComesFirst) {
  Settings settings;
  settings.seconds = 60;
  settings.max_bytes = 100;
  EXPECT_EQ(Due(settings, 59, 60, 100), Reason::kNone);
  EXPECT_EQ(Due(settings, 60, 60, 100), Reason::kTime);
  EXPECT_EQ(Due(settings, 60, 60, 101), Reason::kSize);
}

TEST(Rotation, AFileTakesLinesUntilOneMakesItLargerThanTheLimit) {
  EXPECT_EQ(Fitting(10, 0, "abc\ndef\nghi\njkl\n"), 12U);
  EXPECT_EQ(Fitting(8, 0, "abc\ndef\nghi\njkl\n"), 12U) << "8 bytes are not more than 8";
  EXPECT_EQ(Fitting(7, 0, "abc\ndef\nghi\njkl\n"), 8U);
  EXPECT_EQ(Fitting(16, 0, "abc\ndef\nghi\njkl\n"), 16U);
  EXPECT_EQ(Fitting(5, 5, "abc\ndef\n"), 4U);
  EXPECT_EQ(Fitting(0, 5, "abc\ndef\n"), 8U);
  EXPECT_EQ(Fitting(4, 0, "a line that is longer\nb\n"), 22U);
}

TEST(Verbose, DescribesTheSettingsInApachesColumns) {
  const std::string text = DescribeSettings(Accepted({"log", "86400"}));
  EXPECT_NE(text.find("Rotation time interval:             86400\n"), std::string::npos) << text;
  EXPECT_NE(text.find("Post-rotation prog:              not used\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace rotatelogs
