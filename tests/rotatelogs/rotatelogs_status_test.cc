// rotatelogs --status as a process.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <Poco/JSON/Parser.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <thread>

#include "tests/rotatelogs/harness.h"

namespace {

using harness::Child;
using harness::Execute;
using harness::Files;
using harness::Start;
using harness::TempDir;
using harness::Wait;
using harness::Write;
namespace fs = std::filesystem;

std::vector<std::string> Command(std::vector<std::string> words) {
  words.insert(words.begin(), ROTATELOGS);
  return words;
}

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

Poco::JSON::Object::Ptr Json(const fs::path& directory, const std::string& target) {
  const auto run = Execute({Command({"--status", "--json", target}), directory, {}, {}});
  EXPECT_EQ(run.status, 0) << run.err;
  return Poco::JSON::Parser().parse(run.out).extract<Poco::JSON::Object::Ptr>();
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Status, NamesEveryWriterWithItsParentAndTheCurrentSegment) {
  TempDir dir;
  std::vector<Child> writers;
  for (int i = 0; i < 3; ++i) {
    writers.push_back(Start({Command({"-n", "4", "log", "10B"}), dir.path(), {}, {}}));
    Write(writers.back().in, "a line of writer " + std::to_string(i) + "\n");
    ASSERT_TRUE(Eventually([&] { return fs::exists(dir.path() / (i == 0 ? "log" : "log." + std::to_string(i))); }));
  }
  const auto text = Execute({Command({"--status", "./log"}), dir.path(), {}, {}});
  EXPECT_EQ(text.status, 0);
  EXPECT_TRUE(text.out.starts_with("log: 3 writers, 3 files\n")) << text.out;
  for (const Child& writer : writers) {
    EXPECT_TRUE(Has(text.out, "  writer " + std::to_string(writer.process.pid()) + " (rotatelogs) started by " +
                                  std::to_string(::getpid()) + " (rotatelogs_status_test), since 2"))
        << text.out;
  }
  EXPECT_TRUE(Has(text.out, "  current log.2, 19 bytes, since 2")) << text.out;
  const auto json = Json(dir.path(), "log");
  EXPECT_EQ(json->getArray("writers")->size(), 3U);
  const auto segments = json->getArray("segments");
  ASSERT_EQ(segments->size(), 3U);
  EXPECT_EQ(segments->getObject(0)->getValue<std::string>("path"), "log.2");
  EXPECT_TRUE(segments->getObject(0)->getValue<bool>("current"));
  EXPECT_FALSE(segments->getObject(0)->getValue<bool>("sealed"));
  EXPECT_EQ(segments->getObject(0)->getValue<int>("bytes"), 19);
  for (Child& writer : writers) {
    writer.in.Reset();
    EXPECT_EQ(Wait(writer), 0);
  }
  EXPECT_EQ(Json(dir.path(), "log")->getArray("writers")->size(), 0U);
}

TEST(Status, ASegmentIsSealedOnceNoWriterHasItOpen) {
  TempDir dir;
  Child slow = Start({Command({"log.%Y", "10B"}), dir.path(), {}, {}});
  Write(slow.in, "one line and more\n");
  // Once its line is there it holds no lock: stopped earlier, with the file just made, it would keep everybody waiting.
  ASSERT_TRUE(Eventually([&] {
    const auto files = Files(dir.path());
    return files.size() == 1 && files.begin()->second == "one line and more\n";
  }));
  ASSERT_TRUE(slow.process.Signal(SIGSTOP));
  EXPECT_EQ(Execute({Command({"log.%Y", "10B"}), dir.path(), {}, {}}, "another of them\n").status, 0);
  const auto before = Json(dir.path(), "log.%Y")->getArray("segments");
  ASSERT_EQ(before->size(), 2U);
  EXPECT_FALSE(before->getObject(1)->getValue<bool>("current"));
  EXPECT_FALSE(before->getObject(1)->getValue<bool>("sealed"));
  EXPECT_TRUE(Has(before->getObject(1)->getValue<std::string>("reason"),
                  "process " + std::to_string(slow.process.pid()) + " (rotatelogs) logs to it"));
  ASSERT_TRUE(slow.process.Signal(SIGCONT));
  slow.in.Reset();
  EXPECT_EQ(Wait(slow), 0);
  const auto after = Json(dir.path(), "log.%Y")->getArray("segments");
  ASSERT_EQ(after->size(), 2U);
  EXPECT_TRUE(after->getObject(1)->getValue<bool>("sealed"));
  EXPECT_TRUE(after->getObject(1)->getValue<bool>("certain"));
}

TEST(Status, ShowsAForeignProcessThatHoldsASegment) {
  TempDir dir;
  EXPECT_EQ(Execute({Command({"-t", "log", "60"}), dir.path(), {}, {}}, "x\n").status, 0);
  std::ofstream holder(dir.path() / "log.1");
  holder << "y\n" << std::flush;
  const auto text = Execute({Command({"--status", "log"}), dir.path(), {}, {}});
  EXPECT_TRUE(Has(text.out, "segment log.1, 2 bytes")) << text.out;
  EXPECT_TRUE(Has(text.out, "process " + std::to_string(::getpid()) + " (")) << text.out;
  EXPECT_TRUE(Has(text.out, "has it open for writing")) << text.out;
}

TEST(Status, SaysThatAWriterDrainsItsInputAndStillNamesTheServerThatStartedIt) {
  TempDir dir;
  Child child = Start({Command({"-v", "-n", "9", "log", "1M"}), dir.path(), {}, {}});
  Write(child.in, "one\n");
  ASSERT_TRUE(Eventually([&] { return Files(dir.path())["log"] == "one\n"; }));
  ASSERT_TRUE(child.process.Signal(SIGTERM));
  EXPECT_EQ(Wait(child), 0);
  Write(child.in, "two\n");
  EXPECT_TRUE(Eventually([&] {
    const auto text = Execute({Command({"--status", "log"}), dir.path(), {}, {}});
    return Has(text.out, "drains the rest of its input") && Has(text.out, "started by " + std::to_string(::getpid()));
  }));
  child.in.Reset();
  harness::ReadToEnd(child.err);  // held by the draining child
}

TEST(Status, WorksForConversionsSpacesAndLongNames) {
  TempDir dir;
  const std::string deep = "%Y/%m %d/a log";
  EXPECT_EQ(Execute({Command({"-D", deep, "3B"}), dir.path(), {}, {}}, "aaaa\nbbbb\ncccc\n").status, 0);
  const auto conversions = Json(dir.path(), deep)->getArray("segments");
  EXPECT_EQ(conversions->size(), 3U);
  for (const std::string& name : {std::string(200, 'n'), std::string("[a]*?\\b\"c"), std::string("q\xff\xc3\xa9")}) {
    EXPECT_EQ(Execute({Command({name, "86400"}), dir.path(), {}, {}}, "x\n").status, 0);
    const auto json = Json(dir.path(), name);
    EXPECT_EQ(json->getArray("segments")->size(), 1U) << name;
    EXPECT_EQ(json->getArray("segments")->getObject(0)->getValue<int>("bytes"), 2);
  }
}

TEST(Status, ATargetOfWhichNothingIsKnownIsExitOneAndOneLineThatNamesTheOthers) {
  TempDir dir;
  EXPECT_EQ(Execute({Command({"access", "86400"}), dir.path(), {}, {}}, "x\n").status, 0);
  const auto run = Execute({Command({"--status", "acess"}), dir.path(), {}, {}});
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(run.err,
            "rotatelogs: nothing is known about acess: nobody logs to it, and it has no files; targets here: access\n");
  const auto known = Execute({Command({"--status", "access"}), dir.path(), {}, {}});
  EXPECT_EQ(known.status, 0);
  EXPECT_EQ(known.err, "");
}

TEST(Status, AnotherUserIsToldWhatItCannotSee) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  TempDir dir;
  EXPECT_EQ(Execute({Command({"-t", "log", "86400"}), dir.path(), {}, {}}, "x\n").status, 0);
  const auto run = Execute({Command({"--status", "log"}), dir.path(), {}, 65534});
  EXPECT_EQ(run.status, 0);
  EXPECT_TRUE(run.out.starts_with("log: writers not visible, 1 file\n")) << run.out;
  EXPECT_TRUE(Has(run.out, "not visible: writers: only user 0 and root may look into .log.rotate")) << run.out;
  EXPECT_TRUE(Has(run.out, "cannot be told whether it is sealed: only user 0 and root may ask")) << run.out;
}

TEST(Status, ChangesNothing) {
  TempDir dir;
  EXPECT_EQ(Execute({Command({"log", "86400"}), dir.path(), {}, {}}, "x\n").status, 0);
  const auto list = [&] {
    std::map<std::string, int64_t> out;
    for (const auto& entry : fs::recursive_directory_iterator(dir.path())) {
      out[entry.path().string()] = entry.last_write_time().time_since_epoch().count();
    }
    return out;
  };
  const auto before = list();
  EXPECT_EQ(Execute({Command({"--status", "log"}), dir.path(), {}, {}}).status, 0);
  EXPECT_EQ(list(), before);
}

}  // namespace
