#pragma once

#include <array>

namespace httpd::lifecycle {

/// Life of one instance, as DESIGN 2 names it.
enum class State {
  kStarting,  ///< children of the first generation are not ready yet
  kStandby,   ///< fully started, answers on its private socket, does not accept from the public ones
  kServing,   ///< accepts
  kPaused,    ///< holds its listeners, does not accept, serves the connections it has
  kDraining,  ///< listeners closed for good, requests in progress finish
  kStopping,  ///< children were told to end at once
  kStopped,   ///< nothing is left; the process may exit
};

enum class Event {
  kReady,         ///< every child of the first generation answers
  kStartFailed,   ///< the first generation could not be started
  kAccept,        ///< accept ON=1
  kPause,         ///< accept ON=0
  kGraceful,      ///< USR1
  kRestart,       ///< HUP
  kDrain,         ///< WINCH, or the control verb `drain`
  kStop,          ///< TERM
  kOwnerGone,     ///< the orchestrator that launched a standby instance has closed its connection
  kDeadline,      ///< GracefulShutdownTimeout, or the patience with stopping children, is over
  kChildrenGone,  ///< the last child has been reaped
};

enum class Action {
  kIgnore,
  kAnnounceReady,    ///< readiness message; PidFile unless in standby
  kStartAccepting,   ///< children accept, PidFile names us
  kStopAccepting,    ///< children stop accepting; the answer goes out when all have
  kNewGeneration,    ///< check the configuration, start the next generation, then advise the old one
  kReplaceChildren,  ///< check the configuration, end the children at once, start new ones, statistics to zero
  kBeginDrain,       ///< close listeners, advise children, start the deadline
  kEndChildren,      ///< close listeners, end children at once
  kKillChildren,
  kExit,
};

struct Row {
  State from;
  Event on;
  State to;
  Action action;
};

/// Every move a parent process can make. A pair without a row is ignored, and the caller logs it.
/// A graceful stop can be made a hard one, never the reverse; stopping wins over everything.
inline constexpr auto kRows = std::to_array<Row>({
    {State::kStarting, Event::kReady, State::kServing, Action::kAnnounceReady},  // or kStandby: the parent knows which
    {State::kStarting, Event::kStartFailed, State::kStopping, Action::kEndChildren},
    {State::kStarting, Event::kStop, State::kStopping, Action::kEndChildren},
    {State::kStarting, Event::kDrain, State::kStopping, Action::kEndChildren},  // nothing accepted yet
    {State::kStarting, Event::kOwnerGone, State::kStopping, Action::kEndChildren},
    {State::kStarting, Event::kChildrenGone, State::kStopped, Action::kExit},

    {State::kStandby, Event::kAccept, State::kServing, Action::kStartAccepting},
    {State::kStandby, Event::kPause, State::kStandby, Action::kStopAccepting},
    {State::kStandby, Event::kGraceful, State::kStandby, Action::kNewGeneration},
    {State::kStandby, Event::kRestart, State::kStandby, Action::kReplaceChildren},
    {State::kStandby, Event::kDrain, State::kDraining, Action::kBeginDrain},
    {State::kStandby, Event::kStop, State::kStopping, Action::kEndChildren},
    {State::kStandby, Event::kOwnerGone, State::kStopping, Action::kEndChildren},

    {State::kServing, Event::kAccept, State::kServing, Action::kStartAccepting},  // PidFile again: idempotent
    {State::kServing, Event::kPause, State::kPaused, Action::kStopAccepting},
    {State::kServing, Event::kGraceful, State::kServing, Action::kNewGeneration},
    {State::kServing, Event::kRestart, State::kServing, Action::kReplaceChildren},
    {State::kServing, Event::kDrain, State::kDraining, Action::kBeginDrain},
    {State::kServing, Event::kStop, State::kStopping, Action::kEndChildren},

    {State::kPaused, Event::kAccept, State::kServing, Action::kStartAccepting},
    {State::kPaused, Event::kPause, State::kPaused, Action::kStopAccepting},
    {State::kPaused, Event::kGraceful, State::kPaused, Action::kNewGeneration},
    {State::kPaused, Event::kRestart, State::kPaused, Action::kReplaceChildren},
    {State::kPaused, Event::kDrain, State::kDraining, Action::kBeginDrain},
    {State::kPaused, Event::kStop, State::kStopping, Action::kEndChildren},

    {State::kDraining, Event::kChildrenGone, State::kStopped, Action::kExit},
    {State::kDraining, Event::kDeadline, State::kStopping, Action::kEndChildren},
    {State::kDraining, Event::kStop, State::kStopping, Action::kEndChildren},

    {State::kStopping, Event::kDeadline, State::kStopping, Action::kKillChildren},
    {State::kStopping, Event::kChildrenGone, State::kStopped, Action::kExit},
});

/// What follows from `event` in `state`; the pair without a row stays where it is with kIgnore. Pure.
constexpr Row Next(State state, Event event) {
  for (const Row& row : kRows) {
    if (row.from == state && row.on == event) return row;
  }
  return {state, event, state, Action::kIgnore};
}

/// "serving", "draining", ...: the words of `hello` and `status`.
constexpr const char* Name(State state) {
  switch (state) {
    case State::kStarting:
      return "starting";
    case State::kStandby:
      return "standby";
    case State::kServing:
      return "serving";
    case State::kPaused:
      return "paused";
    case State::kDraining:
      return "draining";
    case State::kStopping:
      return "stopping";
    case State::kStopped:
      return "stopped";
  }
  return "?";
}

}  // namespace httpd::lifecycle
