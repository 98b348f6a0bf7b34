#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace orchestrator {

/// Every place where a debug build dies by SIGKILL when ORCHESTRATOR_FAULT names it: between any two steps of an
/// upgrade and between any two effects within one, of the way back and of a recovery too. That is how the tests get a
/// crash wherever one can matter; tests/e2e visits all of them.
inline constexpr auto kUpgradeFaults = std::to_array<std::string_view>({
    "planned.locked",     // the lock is ours, nothing is recorded
    "planned.recorded",   // first step is in the journal
    "planned.listeners",  // old listeners are held, added ones bound
    "launched.recorded",  // nothing is started
    "launched.started",   // the newcomer runs, and the journal does not know its pid
    "launched.named",     //
    "ready.recorded",     //
    "ready.owned",        // the newcomer is in standby and knows us
    "probed.recorded",    //
    "probed.passed",      //
    "switched.recorded",  //
    "switched.accepts",   // both instances accept
    "switched.paused",    // old one is paused
    "baked.recorded",     //
    "baked.passed",       //
    "draining.recorded",  // the commit point is begun, old one knows nothing
    "draining.adopted",   // old one still knows nothing
    "draining.told",      // old one leaves
    "draining.noted",     // and so does the journal
    "done.recorded",      //
    "done.gone",          // old one has gone, its files may be there
    "ended",              // all done, the record is open
});
/// Reached when the newcomer is bad.
inline constexpr auto kTakeBackFaults = std::to_array<std::string_view>({
    "back.begun",    // nothing is taken back yet
    "back.resumed",  // old one accepts again, and so does the newcomer
    "back.retired",  // newcomer has passed its connections back
    "back.stopped",  // newcomer is gone, its files may be there
    "back.removed",  //
});
/// Reached when the old instance does not leave in time.
inline constexpr auto kDeadlineFaults = std::to_array<std::string_view>({"done.term", "done.kill"});
/// Reached by a recovery.
inline constexpr auto kResumeBackFaults = std::to_array<std::string_view>({
    "resume.taken-up",  // the record is ours
    "resume.resumed",   // as back.resumed
    "resume.retired",
    "resume.stopped",
    "resume.removed",
});
inline constexpr auto kResumeForwardFaults = std::to_array<std::string_view>({
    "resume.accepts",   // the newcomer accepts for certain
    "resume.recorded",  // draining is begun
    "resume.told",      // old one leaves
    "resume.gone",      // it has gone, its files may be there
});
inline constexpr auto kResumeStartFaults = std::to_array<std::string_view>({
    "resume.starting",
    "resume.started",
});

constexpr bool IsFault(std::string_view name) {
  const auto in = [name](const auto& list) { return std::find(list.begin(), list.end(), name) != list.end(); };
  return in(kUpgradeFaults) || in(kTakeBackFaults) || in(kDeadlineFaults) || in(kResumeBackFaults) ||
         in(kResumeForwardFaults) || in(kResumeStartFaults);
}

/// One of the names above: another one does not compile.
struct FaultPoint {
  template <size_t N>
  consteval FaultPoint(const char (&text)[N]) : name(text) {  // NOLINT(google-explicit-constructor)
    if (!IsFault(name)) throw "no such fault point";
  }
  std::string_view name;
};

/// Does not return when it is this one's turn. Nothing in a release build.
#ifdef BATON_FAULTS
void Fault(FaultPoint point);
#else
inline void Fault(FaultPoint) {}
#endif

}  // namespace orchestrator
