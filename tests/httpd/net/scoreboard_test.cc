#include "httpd/net/scoreboard.h"

#include <gtest/gtest.h>

#include <string>

namespace httpd::net {
namespace {

TEST(Scoreboard, NumbersOfAnEndedLoopStayInTheSums) {
  auto board = Scoreboard::Make().value();
  const size_t slot = board->Claim(0, 1, 10).value();
  board->loop(slot).pid = 4711;
  board->loop(slot).counters.accesses = 7;
  board->loop(slot).counters.bytes = 700;
  EXPECT_EQ(board->Sum(0).accesses, 7u);
  board->Release(slot);
  EXPECT_EQ(board->Sum(0).accesses, 7u);
  EXPECT_EQ(board->Sum(0).bytes, 700u);
  EXPECT_EQ(board->loop(slot).counters.accesses, 0u);
}

TEST(Scoreboard, AResetForgetsTheDeadAndTheLiving) {
  auto board = Scoreboard::Make().value();
  const size_t first = board->Claim(0, 1, 10).value();
  board->loop(first).counters.accesses = 7;
  board->Release(first);
  const size_t second = board->Claim(0, 2, 10).value();
  board->loop(second).counters.accesses = 3;
  board->ResetStatistics();
  EXPECT_EQ(board->Sum(0).accesses, 0u);
}

TEST(Scoreboard, WhatAPredecessorCountedIsInTheSumAndNotInOurOwnNumbers) {
  auto board = Scoreboard::Make().value();
  const size_t slot = board->Claim(0, 1, 10).value();
  board->loop(slot).counters.accesses = 7;
  board->loop(slot).counters.adopted = 3;
  board->loop(slot).counters.passed = 2;
  Totals before;
  before.accesses = 1000;
  before.duration_us = 50;
  board->Inherit(before, 0);
  EXPECT_EQ(board->Sum(0).accesses, 1007u);
  EXPECT_EQ(board->Own(0).accesses, 7u);
  EXPECT_EQ(board->Own(0).duration_us, 0u);
  board->Release(slot);  // the numbers of a loop that has ended stay ours
  EXPECT_EQ(board->Own(0).accesses, 7u);
  EXPECT_EQ(board->Own(0).adopted, 3u);
  EXPECT_EQ(board->Own(0).passed, 2u);
  board->ResetStatistics();
  EXPECT_EQ(board->Sum(0).accesses, 0u);
}

TEST(Scoreboard, ASlotIsClaimedOnceAndTheLastOneIsRefusedInWords) {
  auto board = Scoreboard::Make().value();
  for (size_t i = 0; i < Scoreboard::kLoops; ++i) ASSERT_EQ(board->Claim(0, 1, 10).value(), i);
  const auto none = board->Claim(0, 1, 10);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, os::ErrorKind::kBusy);
  board->Release(5);
  EXPECT_EQ(board->Claim(0, 1, 10).value(), 5u);
}

TEST(Scoreboard, NoMoreWorkersAreShownThanThereAreRows) {
  auto board = Scoreboard::Make().value();
  const size_t slot = board->Claim(3, 2, 100000).value();
  EXPECT_EQ(board->loop(slot).workers, kWorkersPerLoop);
  EXPECT_EQ(board->loop(slot).child, 3u);
  EXPECT_EQ(board->loop(slot).generation, 2u);
}

TEST(Scoreboard, RequestsOfALeavingLoopCountAsGracefulAndTheOldestIsKnown) {
  auto board = Scoreboard::Make().value();
  const size_t slot = board->Claim(0, 1, 10).value();
  LoopSlot& loop = board->loop(slot);
  loop.draining = 1;
  loop.counters.busy = 2;
  loop.worker[0].state = 'W';
  loop.worker[0].started_ms = 1000;
  loop.worker[1].state = 'W';
  loop.worker[1].started_ms = 400;
  const Totals totals = board->Sum(1500);
  EXPECT_EQ(totals.busy, 2u);
  EXPECT_EQ(totals.graceful, 2u);
  EXPECT_EQ(totals.oldest_ms, 1100u);
}

TEST(Scoreboard, ATextThatIsTooLongIsCutAndEnded) {
  auto board = Scoreboard::Make().value();
  WorkerSlot& worker = board->loop(0).worker[0];
  worker.SetText(std::string(200, 'c'), std::string(200, 'h'), std::string(200, 'r'));
  EXPECT_LT(std::string(worker.client).size(), sizeof worker.client);
  EXPECT_LT(std::string(worker.request).size(), sizeof worker.request);
  worker.SetText("1.2.3.4", "h", "GET / HTTP/1.1");
  EXPECT_STREQ(worker.request, "GET / HTTP/1.1");
}

}  // namespace
}  // namespace httpd::net
