#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "os/error.h"

/// What an upgrade does next and what it takes back: values in, values out, no system calls.
namespace orchestrator {

/// Steps of an upgrade in their order (DESIGN 4). A step is recorded before its effect and reported after it.
enum class Step {
  kPlanned,   ///< lock, configuration checked by the new binary, headroom, listener diff; added listeners are bound
  kLaunched,  ///< new instance started in standby with the inherited listeners
  kReady,     ///< it said READY=1 itself, before the deadline
  kProbed,    ///< the checks passed on its private socket
  kSwitched,  ///< new accepts, old is paused, PidFile names the new one
  kBaked,     ///< nothing got worse during the bake time
  kDraining,  ///< the commit point: old was told to leave
  kDone,      ///< old has gone
};

inline constexpr std::array kSteps = {Step::kPlanned,  Step::kLaunched, Step::kReady,    Step::kProbed,
                                      Step::kSwitched, Step::kBaked,    Step::kDraining, Step::kDone};

std::string_view StepName(Step step);                  ///< "planned"
std::optional<Step> ParseStep(std::string_view name);  ///< nullopt: none of ours

/// How a step ended.
enum class Event {
  kSucceeded,
  kRefused,      ///< its effect did not happen at all (nothing to start, nothing was started)
  kFailed,       ///< its effect may have happened, its aim was not reached; the newcomer's death counts here
  kInterrupted,  ///< SIGINT, SIGTERM or SIGHUP reached us
  kOldEnded,     ///< the old instance ended by itself, so there is nothing to go back to
};

std::string_view EventName(Event event);  ///< "succeeded"

enum class Action {
  kGoOn,    ///< next step; after the last one: the upgrade is done
  kGiveUp,  ///< nothing was changed: say why, exit 1
  kUndo,    ///< take back what UndoOf() lists, exit 3
  kFinish,  ///< past the commit point: say so and carry on to the end
};

struct Row {
  Step at;
  Event on;
  Action action;
};

/// Every move of an upgrade. A pair without a row cannot happen.
/// kDraining/kFailed: the old one refused to leave, so nothing is committed yet. kDone has no way back.
inline constexpr std::array kRows = [] {
  using enum Step;
  using enum Event;
  using enum Action;
  return std::to_array<Row>({
      {kPlanned, kSucceeded, kGoOn},      {kPlanned, kRefused, kGiveUp},    {kPlanned, kInterrupted, kGiveUp},
      {kPlanned, kOldEnded, kGiveUp},  // nothing is left to upgrade: that is `start`
      {kLaunched, kSucceeded, kGoOn},     {kLaunched, kRefused, kGiveUp},   {kLaunched, kFailed, kUndo},
      {kLaunched, kInterrupted, kUndo},   {kLaunched, kOldEnded, kGoOn},  // the newcomer is needed all the more
      {kReady, kSucceeded, kGoOn},        {kReady, kFailed, kUndo},         {kReady, kInterrupted, kUndo},
      {kReady, kOldEnded, kGoOn},         {kProbed, kSucceeded, kGoOn},     {kProbed, kFailed, kUndo},
      {kProbed, kInterrupted, kUndo},     {kProbed, kOldEnded, kGoOn},      {kSwitched, kSucceeded, kGoOn},
      {kSwitched, kFailed, kUndo},        {kSwitched, kInterrupted, kUndo}, {kSwitched, kOldEnded, kGoOn},
      {kBaked, kSucceeded, kGoOn},        {kBaked, kFailed, kUndo},         {kBaked, kInterrupted, kUndo},
      {kBaked, kOldEnded, kGoOn},         {kDraining, kSucceeded, kGoOn},   {kDraining, kFailed, kUndo},
      {kDraining, kInterrupted, kFinish}, {kDraining, kOldEnded, kGoOn},    {kDone, kSucceeded, kGoOn},
      {kDone, kFailed, kFinish},          {kDone, kInterrupted, kFinish},
  });
}();

/// The row's action; nullopt: no such row.
constexpr std::optional<Action> Decide(Step at, Event on) {
  for (const Row& row : kRows) {
    if (row.at == at && row.on == on) return row.action;
  }
  return std::nullopt;
}

/// One thing to take back. Listeners that were bound for the newcomer close with us and need no entry.
enum class Undo {
  kResumeOld,            ///< old accepts again and PidFile names it: first, so that nobody waits
  kRetireNewcomer,       ///< new hands its idle connections to the old one and finishes what it has, a short while
  kStopNewcomer,         ///< stop, TERM, 5 s, KILL; wait until it is gone
  kRemoveNewcomerFiles,  ///< what it left in the runtime directory
};

struct UndoRow {
  Step at;  ///< the furthest step that was begun
  Undo undo;
};

/// In the order of doing.
inline constexpr std::array kUndoRows = [] {
  using enum Step;
  using enum Undo;
  return std::to_array<UndoRow>({
      {kLaunched, kStopNewcomer},
      {kLaunched, kRemoveNewcomerFiles},
      {kReady, kStopNewcomer},
      {kReady, kRemoveNewcomerFiles},
      {kProbed, kStopNewcomer},
      {kProbed, kRemoveNewcomerFiles},
      {kSwitched, kResumeOld},
      {kSwitched, kRetireNewcomer},
      {kSwitched, kStopNewcomer},
      {kSwitched, kRemoveNewcomerFiles},
      {kBaked, kResumeOld},
      {kBaked, kRetireNewcomer},
      {kBaked, kStopNewcomer},
      {kBaked, kRemoveNewcomerFiles},
      {kDraining, kResumeOld},
      {kDraining, kRetireNewcomer},
      {kDraining, kStopNewcomer},
      {kDraining, kRemoveNewcomerFiles},
  });
}();

std::vector<Undo> UndoOf(Step at);

// ---- recovery ------------------------------------------------------------------------------------------------------

/// What is found of an instance of an upgrade whose orchestrator died.
enum class Condition : uint8_t {
  kGone = 1,       ///< its process has ended, or never was
  kStandby = 2,    ///< newcomers only: fully started, has not accepted yet
  kAble = 4,       ///< accepts, or would if it were told to
  kLeaving = 8,    ///< was told to leave, or is on its way out: cannot accept again
  kMute = 16,      ///< its process runs and does not answer
  kReplaced = 32,  ///< newcomers only: gone or leaving, and a third instance serves (a later upgrade, a start)
};
inline constexpr std::array kOldConditions = {Condition::kGone, Condition::kAble, Condition::kLeaving,
                                              Condition::kMute};
inline constexpr std::array kNewConditions = {Condition::kGone,    Condition::kStandby, Condition::kAble,
                                              Condition::kLeaving, Condition::kMute,    Condition::kReplaced};
using ConditionSet = uint8_t;
constexpr ConditionSet operator|(Condition a, Condition b) {
  return static_cast<ConditionSet>(static_cast<ConditionSet>(a) | static_cast<ConditionSet>(b));
}
constexpr ConditionSet operator|(ConditionSet a, Condition b) {
  return static_cast<ConditionSet>(a | static_cast<ConditionSet>(b));
}

enum class Verdict {
  kNothing,   ///< somebody serves and nobody is left over: only the record is closed
  kTakeBack,  ///< UndoOf() the step: the old instance serves again, the newcomer goes
  kForward,   ///< the newcomer serves, the old one is told to leave and its deadline kept
  kStartOld,  ///< nobody can serve: the old binary and configuration are started once more
  kStuck,     ///< whether somebody serves cannot be told: a person has to end the mute process
};

struct RecoveryRow {
  Step first;  ///< last step that was begun is in [first, last]
  Step last;
  ConditionSet old_instance;
  ConditionSet newcomer;
  Verdict verdict;
};

/// What is done with an interrupted upgrade; exactly one row for each combination (CoversEverythingOnce below).
///
/// Before `draining` was begun the old instance wins whenever it can serve; from then on the newcomer does.
inline constexpr std::array kRecoveryRows = [] {
  using enum Step;
  using enum Condition;
  using enum Verdict;
  constexpr auto only = [](Condition found) { return static_cast<ConditionSet>(found); };
  return std::to_array<RecoveryRow>({
      // the old instance can serve
      {kPlanned, kBaked, only(kAble), kGone | kStandby | kAble | kLeaving | kMute, kTakeBack},
      {kDraining, kDone, only(kAble), only(kAble), kForward},
      {kDraining, kDone, only(kAble), kGone | kStandby | kLeaving | kMute, kTakeBack},  // a mute newcomer is no server
      // it cannot, and the newcomer can
      {kPlanned, kDone, kGone | kLeaving, kStandby | kAble, kForward},
      // neither can
      {kPlanned, kDone, kGone | kLeaving, kGone | kLeaving, kStartOld},
      {kPlanned, kDone, kGone | kLeaving, only(kMute), kStuck},
      // the old one does not answer; before the switch it was never asked for anything and serves as it did
      {kPlanned, kProbed, only(kMute), kGone | kStandby | kAble | kLeaving | kMute, kTakeBack},
      {kSwitched, kDone, only(kMute), kStandby | kAble, kForward},
      {kSwitched, kDone, only(kMute), kGone | kLeaving | kMute, kStuck},
      // somebody else serves: whoever of the two is left leaves
      {kPlanned, kDone, only(kGone), only(kReplaced), kNothing},
      {kPlanned, kDone, kAble | kLeaving | kMute, only(kReplaced), kForward},
  });
}();

/// The row's verdict; nullopt: no such combination (a newcomer cannot be an old instance's kStandby...).
constexpr std::optional<Verdict> JudgeRecovery(Step last_begun, Condition old_instance, Condition newcomer) {
  for (const RecoveryRow& row : kRecoveryRows) {
    if (last_begun >= row.first && last_begun <= row.last &&
        (row.old_instance & static_cast<ConditionSet>(old_instance)) != 0 &&
        (row.newcomer & static_cast<ConditionSet>(newcomer)) != 0) {
      return row.verdict;
    }
  }
  return std::nullopt;
}

/// For each step and pair of conditions, exactly one row.
constexpr bool CoversEverythingOnce() {
  for (const Step step : kSteps) {
    for (const Condition old_instance : kOldConditions) {
      for (const Condition newcomer : kNewConditions) {
        int rows = 0;
        for (const RecoveryRow& row : kRecoveryRows) {
          rows += step >= row.first && step <= row.last &&
                  (row.old_instance & static_cast<ConditionSet>(old_instance)) != 0 &&
                  (row.newcomer & static_cast<ConditionSet>(newcomer)) != 0;
        }
        if (rows != 1) return false;
      }
    }
  }
  return true;
}
static_assert(CoversEverythingOnce(), "a combination has no verdict, or two");

/// "its process has ended", for the sentence that explains a recovery.
std::string_view ConditionText(Condition found);

/// Exit statuses of the program (DESIGN 4).
enum Exit : int {
  kExitDone = 0,
  kExitFailed = 1,  ///< nothing changed
  kExitUsage = 2,
  kExitRolledBack = 3,
  kExitCut = 4,    ///< done, but requests were cut at the deadline
  kExitBusy = 75,  ///< another upgrade is running
};

// ---- what a person types -------------------------------------------------------------------------------------------

/// One check of a newcomer: GET `path` must answer within [lowest, highest].
struct Probe {
  std::string path;
  int lowest = 200;
  int highest = 399;
};

/// "PATH" (any 2xx or 3xx) or "PATH=STATUS". PATH starts with '/' and may hold '='; only a last "=" with three digits
/// after it is a status. @return kInvalid
os::Result<Probe> ParseProbe(std::string_view text);

/// The check that is made when none is asked for: GET / answers, and not with a 5xx.
Probe DefaultProbe();

std::string ProbeRange(const Probe& probe);  ///< "200", "200 to 399": for people

/// "30", "0.5": seconds, 0 to 86400, at most three decimals. @return kInvalid
os::Result<std::chrono::milliseconds> ParseSeconds(std::string_view text);

/// Whole number in [low, high]. @return kInvalid
os::Result<int> ParseCount(std::string_view text, int low, int high);

std::string CountOf(int64_t number, std::string_view thing);  ///< "1 request", "2 requests"

// ---- listeners -----------------------------------------------------------------------------------------------------

/// Old and new listeners by address text ("0.0.0.0:80"), in the order of the lists they come from.
struct ListenerDiff {
  std::vector<std::string> keep;    ///< handed on
  std::vector<std::string> add;     ///< bound before anything starts
  std::vector<std::string> remove;  ///< not handed on; closed when the old instance leaves
  std::string Text() const;         ///< "keep 2 listeners, add [::]:81, remove 0.0.0.0:82"
};
ListenerDiff CompareListeners(std::span<const std::string> old_ones, std::span<const std::string> wanted);

// ---- the newcomer's command line -----------------------------------------------------------------------------------

/// What of a running server's command line is not about this one start: everything but -k, -d, -f, -E, -X, --standby,
/// --wait, -D FOREGROUND and -D NO_DETACH. `arguments` includes argv[0], which is dropped.
std::vector<std::string> KeptArguments(std::span<const std::string> arguments);

/// `arguments` (KeptArguments) without -C and -c: what they say is in a configuration that the server wrote down
/// itself.
std::vector<std::string> WithoutDirectives(std::span<const std::string> arguments);

/// NUL-separated text as in /proc/PID/cmdline and /proc/PID/environ.
std::vector<std::string> SplitNul(std::string_view text);

/// An environment without what belongs to one start of one process: LISTEN_*, NOTIFY_SOCKET, WATCHDOG_*, MAINPID.
/// Adds BATON_NOTIFY_SOCKET, the service manager's socket: the newcomer sends it MAINPID when it takes over. Empty when
/// there is no service manager; kept as it is when the old instance was itself started by an upgrade, because that
/// one's NOTIFY_SOCKET was its orchestrator's.
std::vector<std::string> CleanEnvironment(std::vector<std::string> environment);

// ---- is the newcomer worse? ----------------------------------------------------------------------------------------

struct Traffic {
  int64_t requests = 0;
  int64_t errors = 0;  ///< answered with 5xx
};

/// True when the newcomer fails clearly more often than the old one did: at least 3 errors, and a rate above twice the
/// old rate plus half a per cent (so that one stray error on little traffic does not take an upgrade back).
bool IsErrorRateWorse(const Traffic& before, const Traffic& now);

/// Tells an accept queue that nobody empties from one that is merely busy. Samples come every 100 ms.
class QueueTrend {
 public:
  /// @param baseline  deepest the queue was while the old instance served
  explicit QueueTrend(uint32_t baseline = 0) : baseline_(baseline) {}

  /// @return true once ten samples in a row were deeper than the baseline, and none was shallower than the one before
  bool Add(uint32_t depth);

  /// The last sample was one of such a row: wait for the verdict before you ask the newcomer anything that it may not
  /// answer, clients are waiting.
  bool InDoubt() const { return run_ > 0; }

 private:
  static constexpr int kSamples = 10;
  uint32_t baseline_;
  uint32_t last_ = 0;
  int run_ = 0;
};

// ---- who holds the lock --------------------------------------------------------------------------------------------

/// Text in the lock file, for the message of who is refused.
struct Holder {
  long pid = 0;
  uint64_t start_time = 0;  ///< of that process, as in os::ProcessId
  std::string user;
  std::string command;  ///< "upgrade", "start", "stop"
  int64_t since = 0;    ///< unix seconds
  std::string step;
};
std::string FormatHolder(const Holder& holder);
/// What can be read of it; missing lines leave their defaults: the file may be caught half-written.
Holder ParseHolder(std::string_view text);

}  // namespace orchestrator
