#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "handover/listen_fds.h"
#include "handover/readiness.h"
#include "orchestrator/context.h"
#include "orchestrator/departure.h"
#include "orchestrator/drivers/httpd.h"
#include "orchestrator/hooks.h"
#include "orchestrator/journal.h"
#include "orchestrator/newcomer.h"
#include "orchestrator/observe.h"
#include "orchestrator/options.h"
#include "orchestrator/plan.h"
#include "orchestrator/report.h"
#include "orchestrator/run_lock.h"
#include "orchestrator/versions.h"
#include "os/clock.h"
#include "os/poll.h"
#include "os/signals.h"

/// The upgrade while it runs. Private to upgrade*.cc: upgrade.cc has the frame and the way back, the others the steps.
namespace orchestrator {

/// How a step ended, and the sentence or the detail to tell.
struct Outcome {
  Event event = Event::kSucceeded;
  std::string text;
};

/// "30 s", "0.5 s"
std::string Seconds(std::chrono::milliseconds span);

class Upgrade {
 public:
  Upgrade(const Options& options, Report& report, os::Clock& clock)
      : options_(options), report_(report), clock_(clock) {}

  int Run();

 private:
  // steps
  Outcome Do(Step step);
  Outcome Plan();
  Outcome Launch();
  Outcome AwaitReady();
  Outcome ProbeNewcomer();
  Outcome Switch();
  Outcome Bake();
  Outcome Drain();
  Outcome AwaitOldGone();

  // what is shown and written down beside it (upgrade_watch.cc); none of it can fail an upgrade
  void StartObserving();
  void ObserveOld();
  void ObserveListeners(const ListenerDiff& diff);
  void ObserveNewcomer();
  void ObserveCountdown(const std::string& what, std::optional<std::chrono::milliseconds> span);
  std::string EndObserving(std::string_view status, int exit_status, const std::string& reason);

  // parts of planning
  Outcome TakeCharge();  ///< lock, journal, what was interrupted before
  Outcome LookAround();  ///< the same for --dry-run: nothing is taken, nothing written
  Outcome FindPrograms();
  Outcome FindPrevious();  ///< for a rollback
  os::Result<Version> PreviousVersion() const;
  Outcome KeepOld();
  int TellPlan();  ///< --dry-run
  std::string CheckDraining() const;
  std::string CheckHeadroom() const;
  Outcome CheckSharedState();  ///< what `orchestrator check` finds dangerous, unless accepted
  Outcome PrepareListeners();

  // hooks
  Outcome RunHooks(Step step, Hook::When when);
  Outcome RunHook(const Hook& hook);

  // parts of the others
  std::string CommandName() const { return options_.command == Command::kRollback ? "rollback" : "upgrade"; }
  std::string RunProbes();                   ///< "" = all passed
  std::filesystem::path NotifyPath() const;  ///< where the newcomer says READY=1
  os::Status RecordIntent();
  os::Status Record(Step step);
  int End(std::string_view status, int exit_status, const std::string& reason);
  bool OldWasKilled() const;
  void LeaveOpen();
  int TakeBack(Step at, const std::string& reason);
  void WatchOld();
  Outcome NewcomerEnded();
  void Commit();
  void KeepNewcomer();
  void RedirectDrainers(const os::Fd& intake, pid_t but_not);

  // a newcomer that dies after the commit point
  void MindNewcomer();
  Outcome Revive();

  /// Turns the loop until `true_now` or the end of `limit`; also ends when a signal asks to stop (before the commit
  /// point) or the newcomer has ended.
  enum class Woke { kTrue, kTimeout, kInterrupted, kNewcomerEnded };
  Woke Await(std::chrono::milliseconds limit, const std::function<bool()>& true_now);

  const Options& options_;
  Report& report_;
  os::Clock& clock_;
  std::unique_ptr<os::PollLoop> loop_;
  std::optional<os::SignalFd> signals_;
  std::optional<RunLock> lock_;
  std::optional<Journal> journal_;
  int64_t record_ = 0;  ///< of this upgrade in the journal; 0: none yet
  std::optional<handover::NotifySocket> notify_;

  httpd::Program program_;  ///< what the newcomer is
  httpd::RunConfig config_;
  httpd::Instance old_;
  std::optional<Version> old_version_;  ///< kept: the way back when old_ has gone
  std::optional<Version> target_;       ///< of a rollback
  Context context_;
  std::vector<handover::Listener> old_listeners_;  ///< until the commit point: a port that is removed must refuse
  /// The newcomer's; held until the old instance has gone, so that it can be started again in the newcomer's place.
  std::vector<handover::Listener> listeners_;
  ListenerDiff listener_diff_;
  std::optional<Newcomer> newcomer_;
  httpd::Control newcomer_control_;
  Traffic old_traffic_;
  uint32_t old_queue_ = 0;
  int64_t probes_sent_ = 0;
  std::optional<int64_t> switched_ms_;
  os::Clock::Steady drain_began_;
  std::optional<httpd::Status> last_status_;
  std::unique_ptr<Observer> observer_;  ///< after Run() has begun

  int interrupted_by_ = 0;
  bool locked_out_ = false;  ///< another command holds the lock
  bool committed_ = false;
  bool old_gone_ = false;
  bool old_gone_told_ = false;
  bool newcomer_gone_ = false;
  bool reviving_ = false;  ///< newcomer_ is the old version once more, and not serving yet
  bool revived_ = false;   ///< and now it serves
  std::string lost_;       ///< how the newcomer was lost after the commit point, and what became of that
  pid_t lost_pid_ = 0;     ///< of a newcomer that died after the commit point
  Losses losses_;
  bool cut_ = false;
  Cuts cuts_;
  std::string cut_text_;
};

}  // namespace orchestrator
