#include "httpd/lifecycle/parent_state.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace httpd::lifecycle {
namespace {

const std::vector<State> kStates = {State::kStarting, State::kStandby,  State::kServing, State::kPaused,
                                    State::kDraining, State::kStopping, State::kStopped};
const std::vector<Event> kEvents = {Event::kReady,     Event::kStartFailed, Event::kAccept,      Event::kPause,
                                    Event::kGraceful,  Event::kRestart,     Event::kDrain,       Event::kStop,
                                    Event::kOwnerGone, Event::kDeadline,    Event::kChildrenGone};

// How far a state is on the way out; nothing may ever lead back.
int Distance(State state) {
  switch (state) {
    case State::kStarting:
      return 0;
    case State::kStandby:
    case State::kServing:
    case State::kPaused:
      return 1;
    case State::kDraining:
      return 2;
    case State::kStopping:
      return 3;
    case State::kStopped:
      return 4;
  }
  return -1;
}

template <class Check>
void ForEveryPair(Check check) {
  for (const State state : kStates) {
    for (const Event event : kEvents) {
      SCOPED_TRACE(std::string(Name(state)) + " and event " + std::to_string(static_cast<int>(event)));
      check(state, event, Next(state, event));
    }
  }
}

TEST(ParentState, EveryPairAnswersWithTheStateAndEventThatWereAsked) {
  ForEveryPair([](State state, Event event, const Row& row) {
    EXPECT_EQ(row.from, state);
    EXPECT_EQ(row.on, event);
  });
}

TEST(ParentState, APairIsListedOnce) {
  std::set<std::pair<State, Event>> seen;
  for (const Row& row : kRows) EXPECT_TRUE(seen.insert({row.from, row.on}).second) << Name(row.from);
}

TEST(ParentState, WhatIsIgnoredChangesNothing) {
  ForEveryPair(
      [](State state, Event, const Row& row) { EXPECT_TRUE(row.action != Action::kIgnore || row.to == state); });
}

TEST(ParentState, NothingLeadsBackFromLeaving) {
  ForEveryPair([](State state, Event, const Row& row) { EXPECT_GE(Distance(row.to), Distance(state)); });
}

TEST(ParentState, StopWinsInEveryStateThatHasNotBegunToStop) {
  for (const State state : kStates) {
    if (Distance(state) >= Distance(State::kStopping)) continue;
    const Row row = Next(state, Event::kStop);
    EXPECT_EQ(row.to, State::kStopping) << Name(state);
    EXPECT_EQ(row.action, Action::kEndChildren) << Name(state);
  }
}

TEST(ParentState, AStoppedInstanceIgnoresEverything) {
  for (const Event event : kEvents) EXPECT_EQ(Next(State::kStopped, event).action, Action::kIgnore);
}

TEST(ParentState, ADrainingInstanceNeverAcceptsAgain) {
  for (const Event event : {Event::kAccept, Event::kPause, Event::kGraceful, Event::kRestart, Event::kDrain}) {
    EXPECT_EQ(Next(State::kDraining, event).action, Action::kIgnore);
  }
}

TEST(ParentState, ADrainCanBeMadeAHardStopAndEndsAtItsDeadline) {
  EXPECT_EQ(Next(State::kDraining, Event::kStop).to, State::kStopping);
  EXPECT_EQ(Next(State::kDraining, Event::kDeadline).to, State::kStopping);
  EXPECT_EQ(Next(State::kStopping, Event::kDeadline).action, Action::kKillChildren);
}

TEST(ParentState, PauseAndAcceptTurnEachOtherBack) {
  EXPECT_EQ(Next(State::kServing, Event::kPause).to, State::kPaused);
  EXPECT_EQ(Next(State::kPaused, Event::kAccept).to, State::kServing);
  EXPECT_EQ(Next(State::kStandby, Event::kAccept).to, State::kServing);
}

TEST(ParentState, RestartsKeepThePublicFaceOfAStandbyOrPausedInstance) {
  for (const State state : {State::kStandby, State::kServing, State::kPaused}) {
    EXPECT_EQ(Next(state, Event::kGraceful).to, state);
    EXPECT_EQ(Next(state, Event::kGraceful).action, Action::kNewGeneration);
    EXPECT_EQ(Next(state, Event::kRestart).to, state);
    EXPECT_EQ(Next(state, Event::kRestart).action, Action::kReplaceChildren);
  }
}

TEST(ParentState, AStandbyWithoutItsOrchestratorLeavesAndAServingOneStays) {
  EXPECT_EQ(Next(State::kStandby, Event::kOwnerGone).to, State::kStopping);
  EXPECT_EQ(Next(State::kStarting, Event::kOwnerGone).to, State::kStopping);
  EXPECT_EQ(Next(State::kServing, Event::kOwnerGone).action, Action::kIgnore);
  EXPECT_EQ(Next(State::kPaused, Event::kOwnerGone).action, Action::kIgnore);
}

TEST(ParentState, EveryStateCanReachStopped) {
  for (const State start : kStates) {
    std::set<State> reached = {start};
    for (size_t before = 0; before != reached.size();) {
      before = reached.size();
      for (const Row& row : kRows) {
        if (reached.contains(row.from)) reached.insert(row.to);
      }
    }
    EXPECT_TRUE(reached.contains(State::kStopped)) << Name(start);
  }
}

TEST(ParentState, EveryStateHasAWordOfItsOwn) {
  std::set<std::string> words;
  for (const State state : kStates) EXPECT_TRUE(words.insert(Name(state)).second) << Name(state);
  EXPECT_FALSE(words.contains("?"));
}

}  // namespace
}  // namespace httpd::lifecycle
