#include "handover/cut_list.h"

#include <gtest/gtest.h>

namespace handover {
namespace {

TEST(CutList, ARequestComesBackAsItWas) {
  CutRequest request{"[::1]:4711", CutRequest::Phase::kAnswering, 4096, 100, 1500, "GET /x?a=b HTTP/1.1"};
  std::string line = FormatCut(request);
  ASSERT_EQ(line.back(), '\n');
  line.pop_back();
  EXPECT_EQ(ParseCut(line), request);
  request.bytes_sent.reset();
  request.bytes_left.reset();
  request.phase = CutRequest::Phase::kUnknown;
  request.request.clear();
  line = FormatCut(request);
  line.pop_back();
  EXPECT_EQ(ParseCut(line), request);
}

TEST(CutList, AClientCannotForgeALineOrAField) {
  const CutRequest request{"c", CutRequest::Phase::kReceiving, 0, {}, 1, "GET /\nx\ty\xff\x1b HTTP/1.1"};
  std::string line = FormatCut(request);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  line.pop_back();
  EXPECT_EQ(ParseCut(line)->request, "GET /\\x0ax\\x09y\\xff\\x1b HTTP/1.1");
  const CutRequest longest{"c", CutRequest::Phase::kReceiving, 0, {}, 1, std::string(60000, '\n')};
  EXPECT_LE(FormatCut(longest).size(), 9000U);
}

TEST(CutList, WhatACrashBrokeOffIsNoLine) {
  for (const char* text : {"", "c", "c\treceiving\t0\t-\t5", "c\teating\t0\t-\t5\tGET", "c\treceiving\tx\t-\t5\tGET",
                           "c\treceiving\t0\t-\t\tGET"}) {
    EXPECT_FALSE(ParseCut(text)) << text;
  }
}

TEST(CutList, ThePersonsSentenceSaysWhatIsKnown) {
  EXPECT_EQ(CutText({"1.2.3.4:5", CutRequest::Phase::kAnswering, 10, 20, 1530, "GET / HTTP/1.1"}),
            "\"GET / HTTP/1.1\" from 1.2.3.4:5, 10 bytes sent, 20 left, 1.5 s old");
  EXPECT_EQ(CutText({"", CutRequest::Phase::kUnknown, {}, {}, 0, ""}), "a request from an unknown client, 0.0 s old");
}

}  // namespace
}  // namespace handover
