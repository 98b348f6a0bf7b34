#include "orchestrator/report_page.h"

#include <Poco/DOM/AutoPtr.h>
#include <Poco/DOM/DOMParser.h>
#include <Poco/DOM/Document.h>
#include <Poco/Exception.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "orchestrator/report_chart.h"
#include "orchestrator/report_data.h"
#include "orchestrator/report_file.h"
#include "os/file.h"

namespace orchestrator {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

/// An upgrade of `length_ms`, asked every `tick_ms`.
Story Told(int64_t length_ms, int64_t tick_ms = 200) {
  Story story;
  story.id = "4711";
  story.began_unix_ms = 1795219200000;
  story.server_root = "/srv/baton";
  story.config_file = "/srv/baton/conf/httpd.conf";
  story.user = "root";
  story.party[0] = {1234, true, "2.4.1", "/usr/sbin/httpd"};
  story.party[1] = {1240, false, "2.4.2", "/usr/sbin/httpd"};
  for (const Step step : kSteps) {
    const int64_t at = static_cast<int64_t>(step) * length_ms / 8;
    story.steps.push_back({step, at, at + length_ms / 8, "a detail"});
  }
  story.switched_ms = length_ms / 2;
  story.committed_ms = length_ms * 3 / 4;
  story.ended_ms = length_ms;
  story.status = "done";
  story.keep = {"0.0.0.0:80"};
  story.add = {"[::]:81"};
  for (int64_t at = 0; at <= length_ms; at += tick_ms) {
    Sample sample;
    sample.at_ms = at;
    for (const Side side : kSides) {
      if (side == Side::kNew && at < length_ms / 4) continue;
      Reading reading;
      reading.at_ms = at;
      reading.state = "serving";
      reading.requests = at * 3 / 7;
      reading.accepted = at / 9;
      reading.connections = 10 + at % 5;
      sample.side[At(side)] = reading;
    }
    if (at < length_ms * 3 / 4) sample.queue = at % 3;
    story.timeline.Add(std::move(sample));
    if (length_ms == 0) break;
  }
  return story;
}

testing::AssertionResult IsWellFormed(const std::string& page) {
  try {
    Poco::XML::DOMParser parser;
    const Poco::XML::AutoPtr<Poco::XML::Document> document = parser.parseString(page);
    return testing::AssertionSuccess();
  } catch (const Poco::Exception& failed) {
    return testing::AssertionFailure() << failed.displayText();
  }
}

Poco::JSON::Object::Ptr Parsed(const std::string& json) {
  Poco::JSON::Parser parser;
  return parser.parse(json).extract<Poco::JSON::Object::Ptr>();
}

TEST(ReportPage, IsWellFormedNeedsNothingFromElsewhereAndSaysWhatHappened) {
  const std::string page = ReportPage(Told(12400));
  EXPECT_TRUE(IsWellFormed(page));
  EXPECT_THAT(page,
              HasSubstr("Replaced version 2.4.1 by version 2.4.2 in 12.4 s; the new instance accepted after 6.2 s; "
                        "no request failed."));
  for (const char* part :
       {"Steps", "baked", "Requests", "Accept queue", "Connections", "0.0.0.0:80", "[::]:81", "added"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  for (const char* outside : {"<script", "http-equiv", "src=", "href=", "url(", "@import"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
}

TEST(ReportPage, ForeignTextStaysText) {
  Story story = Told(3000);
  const std::string evil = "<script>alert(1)</script>\" onload='x' &amp; </style> \033[2J \xff\xc3";
  story.party[0].version = story.party[1].binary = story.server_root = story.config_file = story.user = evil;
  story.reason = evil;
  story.exit_status = 4;
  story.steps[0].detail = evil;
  story.notes.push_back({5, evil});
  story.cut.push_back("GET /" + evil);
  story.keep.push_back(evil);
  const std::string page = ReportPage(story);
  EXPECT_TRUE(IsWellFormed(page));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("' ")));
  EXPECT_THAT(page, Not(HasSubstr("\033")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39; &amp;amp;"));
  const auto json = Parsed(ReportJson(story));
  EXPECT_THAT(json->getValue<std::string>("reason"), HasSubstr("<script>alert(1)</script>\" onload='x'"));
}

TEST(ReportPage, AnUpgradeOfNoLengthAndOneOfAnHourAreBothReadableAndBounded) {
  const std::string none = ReportPage(Told(0));
  EXPECT_TRUE(IsWellFormed(none));
  EXPECT_THAT(none, Not(HasSubstr("nan")));
  EXPECT_THAT(none, Not(HasSubstr("inf")));
  const Story hour = Told(3600000);
  const std::string page = ReportPage(hour);
  EXPECT_TRUE(IsWellFormed(page));
  EXPECT_LT(page.size(), 100000u);
  EXPECT_LT(ReportJson(hour).size(), 600000u);
  EXPECT_THAT(page, HasSubstr("10 min"));
}

TEST(ReportPage, OneThatWasNeverSwitchedSaysSoAndWhy) {
  Story story = Told(2000);
  story.switched_ms.reset();
  story.committed_ms.reset();
  story.status = "rolled back";
  story.exit_status = 3;
  story.reason = "rolled back: probe / answered 503 instead of 200 to 399";
  story.steps.resize(4);
  story.steps.back().ended_ms.reset();
  const std::string page = ReportPage(story);
  EXPECT_TRUE(IsWellFormed(page));
  EXPECT_THAT(page, HasSubstr("Took the upgrade from version 2.4.1 to version 2.4.2 back"));
  EXPECT_THAT(page, HasSubstr("answered 503"));
  EXPECT_THAT(page, HasSubstr("class=\"detail\">failed<"));
  EXPECT_THAT(page, HasSubstr("never"));
}

TEST(ReportJson, TheIntervalsOfEachInstanceAddUpToItsTotals) {
  for (const int64_t length : {0, 1000, 3600000}) {
    const auto json = Parsed(ReportJson(Told(length)));
    EXPECT_EQ(json->getValue<std::string>("schema"), "baton.upgrade-report/1");
    for (const char* side : {"old", "new"}) {
      for (const char* what : {"requests", "accepted"}) {
        int64_t sum = 0;
        const auto samples = json->getArray("samples");
        for (unsigned i = 0; i < samples->size(); ++i) {
          const auto one = samples->getObject(i)->getObject(side);
          if (one) sum += one->getValue<int64_t>(what);
        }
        EXPECT_EQ(sum, json->getObject(side)->getValue<int64_t>(what)) << side << " " << what << " " << length;
      }
    }
  }
}

TEST(ReportChart, ScalesEndAtRoundNumbersAndNeverBelowTheData) {
  EXPECT_DOUBLE_EQ(NiceCeiling(10), 10);
  EXPECT_DOUBLE_EQ(NiceCeiling(11), 15);
  EXPECT_DOUBLE_EQ(NiceCeiling(999), 1000);
  EXPECT_DOUBLE_EQ(NiceCeiling(0.3), 0.3);
  for (double value = 0.01; value < 1e7; value *= 1.37) {
    EXPECT_GE(NiceCeiling(value), value);
    EXPECT_LE(NiceCeiling(value), value * 2.01);
  }
}

TEST(ReportFile, OnlyTheLastTwentyOfItsOwnStayAndNobodyElseReadsThem) {
  char name[] = "/tmp/baton-report.XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const fs::path root = name;
  Story story = Told(100);
  for (int i = 0; i < 23; ++i) {
    story.began_unix_ms += 1000;
    const ReportPlace place = PlaceReport(root, story);
    if (i == 0) {
      fs::create_directory(root / "reports");
      std::ofstream(root / "reports" / "mine.html") << "x";
    }
    ASSERT_TRUE(WriteReport(story, place));
    struct stat status {};
    ASSERT_EQ(::stat(place.html.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    ASSERT_EQ(::stat(place.json.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
  }
  EXPECT_TRUE(fs::exists(PlaceReport(root, story).html));
  EXPECT_EQ(os::ListDirectory(root / "reports").value().size(), 41u);
  EXPECT_TRUE(fs::exists(root / "reports" / "mine.html"));
  const ReportPlace chosen = PlaceReportAt(root / "my.html");
  EXPECT_EQ(chosen.html, root / "my.html");
  EXPECT_EQ(chosen.json, root / "my.json");
  EXPECT_EQ(PlaceReportAt(root / "release-1.2").html, root / "release-1.2.html");
  EXPECT_FALSE(WriteReport(story, PlaceReportAt(root / "no" / "such" / "place")));
  fs::remove_all(root);
}

}  // namespace
}  // namespace orchestrator
